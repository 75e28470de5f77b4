//! Who took the place of a record that vanished: what merges in FIRST LINE leave behind (notes FIRST LINE 3.9).
//!
//! A merge moves e-mails and phones to the primary customer, and our stamp only where its own field was blank. So the
//! survivor carries the stamp, or holds every match key of the contact. Families share keys, so of a record that another
//! contact is linked to that says something only where the other has not those keys by itself.

use std::collections::BTreeSet;

use crate::domain::ids::FirstLineId;
use crate::domain::phone;
use crate::domain::record::canonical_email;
use crate::domain::target::TargetContact;
use crate::store::{ChildKind, Origin};
use crate::sync::carry::Job;
use crate::sync::engine::{Engine, MatchKey, RunError};
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::resolve::Directory;

/// Records that are read to find the one. More of them share a key than a merge explains.
const CANDIDATES: usize = 10;

impl<T: ContactTarget> Engine<T> {
    /// The one record that took the place of `vanished`; `None` when there is none, or more than one could be.
    pub(in crate::sync) async fn survivor(
        &self,
        job: &Job,
        vanished: FirstLineId,
    ) -> Result<Option<FirstLineId>, RunError> {
        let stamped = match self.find_stamped(job.contact.id).await {
            Err(PortError::Refused { .. } | PortError::NotFound) => BTreeSet::new(),
            found => found?.into_keys().filter(|id| *id != vanished).collect(),
        };
        if !stamped.is_empty() {
            return Ok(only(&stamped));
        }
        let live = Directory::Live(Vec::new());
        let mut candidates = BTreeSet::new();
        for key in &self.settings.match_keys {
            let (found, _) = match key {
                MatchKey::Email => self.email_candidates(&job.record, &live).await?,
                MatchKey::Phone => self.phone_candidates(&job.record, &live).await?,
            };
            candidates.extend(found);
        }
        candidates.remove(&vanished);
        let mut holders = BTreeSet::new();
        for candidate in candidates.into_iter().take(CANDIDATES) {
            if let Some(record) = self.full_contact(candidate).await?
                && self.holds_all_keys(&record, job)
                && self.took_over(&record, job).await?
            {
                holders.insert(candidate);
            }
        }
        Ok(only(&holders))
    }

    /// Whether the keys came to this record with the merge: always, where no other contact is linked to it. Where one is,
    /// it holds a row that we hung on the record that vanished, or a key that we did not give it for the other.
    async fn took_over(&self, record: &TargetContact, job: &Job) -> Result<bool, RunError> {
        let Some(other) = self.store.source_of(&[record.id]).await?.remove(&record.id) else { return Ok(true) };
        let held = |kind| self.current_children(record, kind).unwrap_or_default();
        let (ours, theirs) = (self.store.children_of(job.contact.id).await?, self.store.children_of(other).await?);
        if ours.iter().any(|child| held(child.kind).iter().any(|row| row.id == child.child)) {
            return Ok(true);
        }
        let made = self.store.links_for(&[other]).await?.remove(&other);
        let all_known = made.is_some_and(|link| link.origin == Origin::Created);
        let given = |kind, key| theirs.iter().any(|child| child.kind == kind && child.key == key);
        let has = |key| self.settings.match_keys.contains(&key);
        let new = |kind| self.wished_keys(&job.record, kind).into_iter().any(|key| !given(kind, key));
        Ok(all_known
            && (has(MatchKey::Email) && new(ChildKind::Email) || has(MatchKey::Phone) && new(ChildKind::Phone)))
    }

    fn holds_all_keys(&self, record: &TargetContact, job: &Job) -> bool {
        let home = self.settings.phone_country;
        self.settings.match_keys.iter().all(|key| match key {
            MatchKey::Email => {
                let held: BTreeSet<String> =
                    record.emails.iter().flatten().map(|row| canonical_email(&row.address)).collect();
                job.record.emails.items().iter().all(|email| held.contains(&email.canonical()))
            }
            MatchKey::Phone => {
                let held: BTreeSet<String> =
                    record.phones.iter().flatten().map(|row| phone::canonical(&row.number, home)).collect();
                job.record.phones.items().iter().all(|wished| held.contains(&phone::canonical(&wished.number, home)))
            }
        })
    }
}

fn only(ids: &BTreeSet<FirstLineId>) -> Option<FirstLineId> {
    ids.first().copied().filter(|_| ids.len() == 1)
}
