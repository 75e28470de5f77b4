//! What an earlier run left behind: creates in doubt, contacts half carried, contacts that wait for somebody.
//!
//! A run that goes on with an open sweep does not walk what that sweep has passed. Whatever stands there unfinished is
//! found here, in the state, so that it is carried, and told at the end, all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use roaring::RoaringTreemap;

use crate::clock::Timestamp;
use crate::domain::ids::LiveDeskId;
use crate::domain::outcome::Outcome;
use crate::store::Intent;
use crate::sync::engine::{Engine, RunError, SharedKeys};
use crate::sync::ports::ContactTarget;
use crate::sync::summary::Summary;

/// Contacts that are looked up in the state at once.
const AT_ONCE: usize = 1_000;

/// What a look at the left-overs brought.
#[derive(Debug, Default)]
pub(super) struct LeftOvers {
    /// Contacts to be carried again, with the create that is to be repeated.
    pub(super) again: BTreeMap<LiveDeskId, Option<Intent>>,
    /// Contacts found on more than one record.
    pub(super) twins: Vec<LiveDeskId>,
}

impl<T: ContactTarget> Engine<T> {
    /// Looks at what is in doubt before anything else is done, and says which contacts are to be carried again.
    ///
    /// One look at the newest, at so many at most, is enough, unless a shared key is a conflict: then whoever comes first in the
    /// scan has the key, so it must be known whether its record is there before the others are looked at.
    pub(super) async fn settle_left_overs(&self, most: usize) -> Result<LeftOvers, RunError> {
        let mut left = LeftOvers::default();
        loop {
            let settlement = self.settle_newest(most).await?;
            left.again.extend(settlement.again);
            left.twins.extend(settlement.twins);
            let can_wait = self.settings.wait && self.settings.shared_keys == SharedKeys::Conflict;
            match settlement.next_horizon {
                Some(horizon) if can_wait => self.wait_for_doubt(Some(horizon), settlement.parked.len()).await?,
                _ => return Ok(left),
            }
        }
    }

    /// Waits until it is worth to look at the doubts again.
    pub(super) async fn wait_for_doubt(&self, horizon: Option<Timestamp>, parked: usize) -> Result<(), RunError> {
        let settle = self.settings.settle.max(Duration::from_millis(10));
        let wait = match horizon {
            // Found settles a doubt at once, so it is worth looking before the horizon too, at growing distances.
            Some(horizon) => {
                let until = Duration::from_millis(u64::try_from(horizon.0 - self.now_ms()).unwrap_or_default());
                (until / 3).max(settle).min(until.max(Duration::from_millis(1)))
            }
            None => settle,
        };
        let why = format!("{parked} creates are in doubt; nothing is sent twice before that is settled");
        Ok(self.pause(&why, wait).await?)
    }

    /// Counts what waits for somebody among the contacts that an open sweep has passed in an earlier run.
    pub(super) async fn tell_passed(&self, passed: &RoaringTreemap, summary: &mut Summary) -> Result<(), RunError> {
        let mut passed = passed.iter().filter_map(|id| i64::try_from(id).ok()).map(LiveDeskId);
        loop {
            let ids: Vec<LiveDeskId> = passed.by_ref().take(AT_ONCE).collect();
            if ids.is_empty() {
                return Ok(());
            }
            let (letters, conflicts) = (self.store.dead_letters_for(&ids).await?, self.store.conflict_for(&ids).await?);
            for id in ids {
                if let Some(letter) = letters.get(&id) {
                    summary.count(id, Outcome::SetAside(letter.reason()));
                }
                if conflicts.get(&id).is_some_and(|conflict| conflict.decision.is_none()) {
                    summary.count(id, Outcome::Conflict);
                }
            }
        }
    }
}
