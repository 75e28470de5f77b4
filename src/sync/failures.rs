//! Failures over time: when a contact that was set aside is tried again, and when it is given up.
//!
//! *Waiting*: a later run tries it when its time has come, at growing distances. *Poisoned*: tried so often that only a person, or a
//! change, helps. A contact that changed at the source, and a mapping that changed, give it a new chance at once. What the mapping
//! itself rejects costs no request, so it is tried whenever it comes by and is never poisoned. The rules are pure; the engine's and the
//! pipeline's parts in them stand below.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::domain::hash::Digest;
use crate::domain::ids::LiveDeskId;
use crate::domain::outcome::{SetAside, SetAsideKind};
use crate::store::{DeadLetter, WriteOp};
use crate::sync::carrier::Waiting;
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::{Engine, RunError};
use crate::sync::pipeline::Pipeline;
use crate::sync::ports::{ContactSource, ContactTarget};
use crate::sync::summary::Summary;

/// Contacts that were set aside and are tried again by one run that does not see everybody, at most.
const DUE_A_RUN: u32 = 100;
/// Of those, read and tried together.
const TOGETHER: usize = 20;
/// A run begins no more of them once it was at it for this long: what is recent must not wait behind what failed.
const AT_MOST_MS: i64 = 60 * 1000;

/// How often, and how soon, a contact that was set aside is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePolicy {
    /// Distance between the first try and the second; it doubles from there.
    pub retry_first: Duration,
    /// Longest distance.
    pub retry_ceiling: Duration,
    /// Tries after which it is poisoned.
    pub poison_after: u32,
}

impl Default for FailurePolicy {
    fn default() -> Self {
        Self { retry_first: Duration::from_mins(15), retry_ceiling: Duration::from_hours(24), poison_after: 8 }
    }
}

impl FailurePolicy {
    /// When it may be tried again after so many tries. A quarter of the distance depends on the id, so that contacts that were set
    /// aside together do not come back together.
    pub fn next_at(&self, id: LiveDeskId, attempts: u32, now: Timestamp) -> Timestamp {
        let doublings = attempts.saturating_sub(1).min(20);
        let distance = self.retry_first.saturating_mul(1 << doublings).min(self.retry_ceiling);
        let later = distance.mul_f64(share(id, attempts) / 4.0);
        now.later_by(distance + later)
    }
}

/// A share in 0..1 that an id has, another one after each try.
fn share(id: LiveDeskId, attempts: u32) -> f64 {
    // SplitMix64: neighbouring ids come out far apart.
    let mut mixed = id.0.unsigned_abs().wrapping_add(u64::from(attempts).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let top = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default();
    f64::from(top) / 4_294_967_296.0
}

/// Whether a contact with a dead letter is to be tried now, by a run that comes by. `fingerprint` is that of what would be written.
pub fn has_chance(letter: &DeadLetter, fingerprint: Digest, mapping_version: &str, now: Timestamp) -> bool {
    let changed = letter.fingerprint != Some(fingerprint)
        || letter.mapping_version.as_deref().is_some_and(|version| version != mapping_version);
    // A last try that lies ahead was noted before the clock was set back: when the next one is due nobody knows.
    let is_due = letter.next_at <= now || letter.last_at.unless_ahead_of(now).is_none();
    // What could not be proven says nothing about the contact.
    changed || letter.kind == SetAsideKind::Unproven || (letter.poisoned_at.is_none() && is_due)
}

impl<T: ContactTarget> Engine<T> {
    /// The dead letter of a contact that is set aside now; `before` is the one that it had. Without a fingerprint it did not even
    /// become a record.
    pub(super) fn letter(
        &self,
        id: LiveDeskId,
        reason: &SetAside,
        fingerprint: Option<Digest>,
        before: Option<&DeadLetter>,
    ) -> DeadLetter {
        let (now, policy) = (self.clock.now(), &self.settings.failures);
        let earlier = before.filter(|before| before.fingerprint == fingerprint).map_or(0, |before| before.attempts);
        let attempts = earlier.saturating_add(1);
        let may_poison = fingerprint.is_some() && reason.kind != SetAsideKind::Unproven;
        DeadLetter {
            livedesk_id: id,
            kind: reason.kind,
            field: reason.field.clone(),
            status: reason.status,
            detail: reason.detail.clone(),
            fingerprint,
            attempts,
            first_at: now,
            last_at: now,
            run: self.run,
            next_at: policy.next_at(id, attempts, now),
            poisoned_at: (may_poison && attempts >= policy.poison_after).then_some(now),
            mapping_version: Some(self.mapping.version().to_owned()),
        }
    }
}

impl<S: ContactSource, T: ContactTarget> Pipeline<S, T> {
    /// Tries contacts that were set aside and whose time has come, read again from the source: some of them in each run that does
    /// not see everybody. A whole sweep tries them as they come by, and it alone does where LiveDesk reads nobody by id.
    pub async fn carry_due(&self, directory: &Arc<LazyDirectory>, summary: &mut Summary) -> Result<(), RunError> {
        let engine = &self.engine;
        let began = engine.now_ms();
        let due = engine.store.dead_letters_due(engine.clock.now(), DUE_A_RUN).await?;
        if due.is_empty() || !self.reads_by_id(&due).await? {
            return Ok(());
        }
        for due in due.chunks(TOGETHER) {
            let again = due.iter().map(|id| (*id, None)).collect();
            self.carry_ids(directory, again, Waiting::Respect, summary).await?;
            engine.put_off(due).await?;
            if engine.now_ms() - began >= AT_MOST_MS {
                break;
            }
        }
        Ok(())
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Those of these dead letters that were due and were not touched: LiveDesk did not show their contacts. They wait
    /// like any that was tried.
    pub(super) async fn put_off(&self, due: &[LiveDeskId]) -> Result<(), RunError> {
        let now = self.clock.now();
        let letters = self.store.dead_letters_for(due).await?;
        let untouched = letters.values().filter(|letter| letter.run != self.run && letter.next_at <= now);
        let ops = untouched.map(|letter| {
            let again = self.letter(letter.livedesk_id, &letter.reason(), letter.fingerprint, Some(letter));
            WriteOp::PutDeadLetter(again)
        });
        Ok(self.store.write(ops.collect()).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FailurePolicy, has_chance};
    use crate::clock::Timestamp;
    use crate::domain::hash::Digest;
    use crate::domain::ids::{LiveDeskId, RunId};
    use crate::domain::outcome::SetAsideKind;
    use crate::store::DeadLetter;

    const MINUTE_MS: i64 = 60_000;
    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const SAME: Digest = Digest([1; 16]);

    fn letter() -> DeadLetter {
        DeadLetter {
            livedesk_id: LiveDeskId(7),
            kind: SetAsideKind::Refused,
            field: None,
            status: Some(422),
            detail: "FIRST LINE refused it".into(),
            fingerprint: Some(SAME),
            attempts: 1,
            first_at: NOW,
            last_at: NOW,
            run: RunId(1),
            next_at: Timestamp(NOW.0 + 15 * MINUTE_MS),
            poisoned_at: None,
            mapping_version: Some("v1".into()),
        }
    }

    #[test]
    fn distances_double_up_to_the_ceiling_and_are_spread_by_id() {
        let policy = FailurePolicy::default();
        let minutes = |id, attempts| (policy.next_at(LiveDeskId(id), attempts, NOW).0 - NOW.0) / MINUTE_MS;
        for (attempts, least) in [(1, 15), (2, 30), (3, 60), (4, 120), (7, 960), (8, 1440), (30, 1440)] {
            for id in 1..200 {
                let wait = minutes(id, attempts);
                assert!((least..=least + least / 4).contains(&wait), "{attempts} tries of {id}: {wait} minutes");
            }
        }
        let spread: std::collections::BTreeSet<i64> = (1..500).map(|id| minutes(id, 8)).collect();
        assert!(spread.len() > 200, "five hundred contacts come back at {} different minutes", spread.len());
        let none = FailurePolicy { retry_first: Duration::ZERO, ..policy };
        assert_eq!(none.next_at(LiveDeskId(1), 3, NOW), NOW);
    }

    #[test]
    fn a_letter_waits_for_its_time_and_a_poisoned_one_for_a_change() {
        let poisoned = DeadLetter { poisoned_at: Some(NOW), ..letter() };
        let unproven = DeadLetter { kind: SetAsideKind::Unproven, ..letter() };
        // Written before there were times and versions.
        let old = DeadLetter { next_at: Timestamp(0), mapping_version: None, ..letter() };
        let (later, other) = (Timestamp(NOW.0 + 20 * MINUTE_MS), Digest([2; 16]));
        let rows = [
            (letter(), SAME, "v1", NOW, false),
            (letter(), SAME, "v1", later, true),
            (letter(), other, "v1", NOW, true),
            (letter(), SAME, "v2", NOW, true),
            (poisoned.clone(), SAME, "v1", later, false),
            (poisoned.clone(), other, "v1", NOW, true),
            (poisoned, SAME, "v2", NOW, true),
            (unproven, SAME, "v1", NOW, true),
            (old, SAME, "v1", NOW, true),
            // Set aside before the clock was set back by a day.
            (letter(), SAME, "v1", Timestamp(NOW.0 - 24 * 60 * MINUTE_MS), true),
            (letter(), SAME, "v1", Timestamp(NOW.0 - MINUTE_MS), false),
        ];
        for (row, (letter, fingerprint, version, now, expected)) in rows.into_iter().enumerate() {
            assert_eq!(has_chance(&letter, fingerprint, version, now), expected, "row {row}");
        }
    }
}
