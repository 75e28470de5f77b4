//! Who took the place of a record that vanished: what merges in FIRST LINE leave behind (notes FIRST LINE 3.9).
//!
//! A merge moves e-mails and phones to the primary customer, and our stamp only where its own field was blank. So the
//! survivor carries the stamp, or holds every match key of the contact.

use std::collections::BTreeSet;

use crate::domain::ids::FirstLineId;
use crate::domain::phone;
use crate::domain::record::canonical_email;
use crate::domain::target::TargetContact;
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
            {
                holders.insert(candidate);
            }
        }
        Ok(only(&holders))
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
