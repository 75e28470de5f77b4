//! Life between two pages: on every k-th list request something is inserted, edited, deleted or merged.
//!
//! The plan is drawn from the seed and the number of the operation, so a run can be repeated. It decides only; the
//! LiveDesk model carries it out and keeps the log of what vanished.

use serde::{Deserialize, Serialize};

use crate::sandbox::rng::mix;

/// How much happens, and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftSwitches {
    /// Something happens before every k-th list request; 0 is off.
    pub every: u64,
    /// Nothing happens any more after this many operations; 0 is without end.
    pub limit: u64,
    /// Weight of a new contact.
    pub insert: u32,
    /// Weight of an edited attribute (no timestamp moves).
    pub edit: u32,
    /// Weight of a deletion.
    pub delete: u32,
    /// Weight of a merge of two contacts.
    pub merge: u32,
    /// Weight of a message: `last_activity_at` becomes now.
    pub message: u32,
    /// Weight of a deletion and an insert between the same two pages, so that the count does not change.
    pub swap: u32,
}

impl Default for DriftSwitches {
    fn default() -> Self {
        Self { every: 0, limit: 0, insert: 3, edit: 3, delete: 1, merge: 1, message: 3, swap: 1 }
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Insert,
    Edit,
    Delete,
    Merge,
    Message,
    Swap,
}

/// Counts requests and says when something happens.
#[derive(Debug, Default)]
pub(crate) struct Drift {
    requests: u64,
    done: u64,
}

impl Drift {
    /// What happens before this list request, with the number that its random choices come from.
    pub(crate) fn before_list(&mut self, switches: &DriftSwitches, seed: u64) -> Option<(Change, u64)> {
        if switches.every == 0 || (switches.limit > 0 && self.done >= switches.limit) {
            return None;
        }
        self.requests += 1;
        if !self.requests.is_multiple_of(switches.every) {
            return None;
        }
        let draw = mix(&[seed, 0xd21f, self.done]);
        let change = choose(switches, draw)?;
        self.done += 1;
        Some((change, draw))
    }

    /// Operations so far.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }
}

fn choose(switches: &DriftSwitches, draw: u64) -> Option<Change> {
    let weights = [
        (Change::Insert, switches.insert),
        (Change::Edit, switches.edit),
        (Change::Delete, switches.delete),
        (Change::Merge, switches.merge),
        (Change::Message, switches.message),
        (Change::Swap, switches.swap),
    ];
    let total: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut left = draw.checked_rem(total)?;
    for (change, weight) in weights {
        match left.checked_sub(u64::from(weight)) {
            Some(rest) => left = rest,
            None => return Some(change),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_strikes_on_every_kth_request_until_its_limit_and_by_weight() {
        let switches =
            DriftSwitches { every: 3, limit: 2, insert: 0, edit: 0, merge: 0, message: 0, swap: 0, delete: 5 };
        let mut drift = Drift::default();
        let struck: Vec<bool> = (0..12).map(|_| drift.before_list(&switches, 1).is_some()).collect();
        assert_eq!(struck.iter().filter(|it| **it).count(), 2);
        assert!(struck[2] && struck[5]);
        assert_eq!(choose(&switches, 77), Some(Change::Delete));
        assert_eq!(drift.done(), 2);
    }

    #[test]
    fn without_weights_nothing_happens() {
        let switches =
            DriftSwitches { every: 1, insert: 0, edit: 0, merge: 0, message: 0, swap: 0, delete: 0, limit: 0 };
        assert_eq!(Drift::default().before_list(&switches, 1), None);
    }
}
