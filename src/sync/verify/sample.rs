//! A sample of contacts: which ones, and how much they say about the others. Pure.

use std::collections::BinaryHeap;

use crate::domain::contact::Contact;
use crate::domain::hash::{Digest, HashKey};
use crate::domain::ids::LiveDeskId;

/// How sure the bound is to hold.
pub const CONFIDENCE: f64 = 0.95;

/// The contacts whose numbers, drawn from the seed and their id, are the smallest: each set of so many is as likely as any
/// other, and the same seed draws the same contacts whatever order they come in.
pub(super) struct Draw {
    size: usize,
    key: HashKey,
    drawn: BinaryHeap<Drawn>,
}

struct Drawn(Digest, LiveDeskId, Contact);

impl PartialEq for Drawn {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Drawn {}

impl PartialOrd for Drawn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Drawn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

impl Draw {
    pub(super) fn new(size: usize, seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self { size, key: HashKey::new(key), drawn: BinaryHeap::new() }
    }

    pub(super) fn offer(&mut self, contact: Contact) {
        let number = self.key.digest("sample", contact.id.to_string());
        if self.drawn.len() == self.size && self.drawn.peek().is_none_or(|largest| number >= largest.0) {
            return;
        }
        self.drawn.push(Drawn(number, contact.id, contact));
        if self.drawn.len() > self.size {
            self.drawn.pop();
        }
    }

    /// The contacts that were drawn, by id.
    pub(super) fn contacts(self) -> Vec<Contact> {
        let mut contacts: Vec<Contact> = self.drawn.into_iter().map(|drawn| drawn.2).collect();
        contacts.sort_by_key(|contact| contact.id);
        contacts
    }
}

/// The largest share of faulty contacts with which `faulty` or fewer among `drawn` would still be as likely as 5 in 100:
/// the exact one-sided bound of Clopper and Pearson. The sample is drawn without putting back, from which the true bound can
/// only be lower.
pub fn at_most(drawn: u64, faulty: u64) -> f64 {
    if drawn == 0 || faulty >= drawn {
        return 1.0;
    }
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if cumulative(drawn, faulty, middle) > 1.0 - CONFIDENCE {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The chance of `most` or fewer among `of`, each with this chance.
#[expect(clippy::cast_precision_loss, reason = "samples are far smaller than 2^52")]
fn cumulative(of: u64, most: u64, chance: f64) -> f64 {
    if chance <= 0.0 {
        return 1.0;
    }
    if chance >= 1.0 {
        return 0.0;
    }
    // Summed as logarithms: the first term alone may be too small for a float.
    let mut term = of as f64 * (1.0 - chance).ln();
    let mut sum = term.exp();
    for k in 1..=most {
        term += ((of - k + 1) as f64 / k as f64).ln() + chance.ln() - (1.0 - chance).ln();
        sum += term.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::{Draw, at_most};
    use crate::domain::contact::Contact;
    use crate::domain::ids::LiveDeskId;

    fn contact(id: i64) -> Contact {
        Contact { id: LiveDeskId(id), created_at: None, last_activity_at: None, fields: Map::new() }
    }

    fn drawn(seed: u64, ids: impl Iterator<Item = i64>) -> Vec<i64> {
        let mut draw = Draw::new(20, seed);
        ids.for_each(|id| draw.offer(contact(id)));
        draw.contacts().iter().map(|contact| contact.id.0).collect()
    }

    #[test]
    fn a_seed_draws_the_same_contacts_in_whatever_order_they_come() {
        let one = drawn(7, 0..1_000);
        assert_eq!(one.len(), 20);
        assert_eq!(drawn(7, (0..1_000).rev()), one);
        assert_ne!(drawn(8, 0..1_000), one);
        assert_eq!(drawn(7, 0..5), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn every_contact_is_as_likely_as_any_other() {
        let mut low = 0;
        for seed in 0..400 {
            low += drawn(seed, 0..200).iter().filter(|id| **id < 100).count();
        }
        assert!((3_700..4_300).contains(&low), "{low} of 8000");
    }

    #[test]
    fn the_bound_is_the_one_of_the_tables() {
        for (drawn, faulty, expected) in
            [(500, 0, 0.005_974), (100, 0, 0.029_513), (100, 1, 0.046_562), (1_000, 5, 0.010_482), (20, 20, 1.0)]
        {
            let bound = at_most(drawn, faulty);
            assert!((bound - expected).abs() < 0.000_05, "{drawn} {faulty}: {bound}");
        }
        assert!((at_most(0, 0) - 1.0).abs() < f64::EPSILON);
        assert!(at_most(100_000, 3) < 0.000_08);
    }
}
