//! Ids that are like one which is not known: what a person may have meant.
//!
//! Two ways to be wrong are looked at, both over indexes and in bounded memory: one slip of the finger (a digit
//! changed, left out, doubled or swapped), and the neighbours in order.

use std::collections::BTreeSet;

use crate::domain::ids::{FirstLineId, LiveDeskId};

use super::Store;
use super::error::StoreError;
use super::rows::batch;

/// Neighbours that are looked at on each side.
const NEIGHBOURS: i64 = 3;

impl Store {
    /// Up to `limit` contacts that the state knows and whose ids are like `id`, the likest first.
    pub async fn contacts_near(&self, id: LiveDeskId, limit: usize) -> Result<Vec<LiveDeskId>, StoreError> {
        Ok(self.near(id.0, false, limit).await?.into_iter().map(LiveDeskId).collect())
    }

    /// Up to `limit` linked customers whose ids are like `id`, the likest first.
    pub async fn customers_near(&self, id: FirstLineId, limit: usize) -> Result<Vec<FirstLineId>, StoreError> {
        Ok(self.near(id.0, true, limit).await?.into_iter().map(FirstLineId).collect())
    }

    /// Among contacts, or among customers.
    async fn near(&self, id: i64, customers: bool, limit: usize) -> Result<Vec<i64>, StoreError> {
        let slips = batch(slips(id).into_iter());
        let found = sqlx::query_scalar!(
            r#"WITH known (id) AS (
                   SELECT livedesk_id FROM link WHERE NOT ?4 UNION ALL SELECT livedesk_id FROM dead_letter WHERE NOT ?4
                   UNION ALL SELECT livedesk_id FROM conflict WHERE NOT ?4
                   UNION ALL SELECT livedesk_id FROM sighting WHERE NOT ?4
                   UNION ALL SELECT target FROM link WHERE ?4)
               SELECT id AS "id!: i64" FROM known WHERE id IN (SELECT value FROM jsonb_each(?1))
               UNION SELECT * FROM (SELECT id FROM known WHERE id > ?2 ORDER BY id LIMIT ?3)
               UNION SELECT * FROM (SELECT id FROM known WHERE id < ?2 ORDER BY id DESC LIMIT ?3)"#,
            slips,
            id,
            NEIGHBOURS,
            customers
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(likest(id, found, limit))
    }
}

/// Numbers that are one slip of the finger away.
fn slips(id: i64) -> BTreeSet<i64> {
    let digits: Vec<char> = id.unsigned_abs().to_string().chars().collect();
    let mut texts: Vec<String> = Vec::new();
    for place in 0..=digits.len() {
        for digit in '0'..='9' {
            let mut longer = digits.clone();
            longer.insert(place, digit);
            texts.push(longer.iter().collect());
            if place < digits.len() {
                let mut other = digits.clone();
                other[place] = digit;
                texts.push(other.iter().collect());
            }
        }
        if place < digits.len() {
            let mut shorter = digits.clone();
            shorter.remove(place);
            texts.push(shorter.iter().collect());
        }
        if place + 1 < digits.len() {
            let mut swapped = digits.clone();
            swapped.swap(place, place + 1);
            texts.push(swapped.iter().collect());
        }
    }
    let numbers = texts.iter().filter_map(|text| text.parse::<i64>().ok());
    numbers.filter(|other| *other != id).collect()
}

fn likest(id: i64, mut found: Vec<i64>, limit: usize) -> Vec<i64> {
    let typed = id.to_string();
    let slip = slips(id);
    found.sort_by_key(|other| {
        let far = if slip.contains(other) { 1 } else { strsim::levenshtein(&other.to_string(), &typed).max(2) };
        (far, other.abs_diff(id))
    });
    found.dedup();
    found.truncate(limit);
    found
}

#[cfg(test)]
mod tests {
    use super::{likest, slips};

    #[test]
    fn a_slip_of_the_finger_is_likelier_than_a_neighbour() {
        let near = slips(1234);
        for meant in [1243, 2134, 1235, 124, 12_234, 12_340] {
            assert!(near.contains(&meant), "{meant}");
        }
        assert!(!near.contains(&1234) && !near.contains(&4321));
        assert_eq!(likest(1234, vec![1299, 2134, 9999, 1230], 3), [1230, 2134, 1299]);
        assert!(slips(0).contains(&1) && slips(i64::MAX).contains(&(i64::MAX / 10)));
    }
}
