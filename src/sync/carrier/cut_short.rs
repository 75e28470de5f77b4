//! A contact whose run ended while it was being carried: what was done to it by then counts, whatever is left to do.

use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::outcome::Outcome;
use crate::store::Origin;
use crate::sync::engine::{Engine, RunError};
use crate::sync::ports::ContactTarget;
use crate::sync::summary::{LISTED, Summary};

impl<T: ContactTarget> Engine<T> {
    /// What became of a contact that was linked to this record, or to none, when it set out: its record was made, or found, and
    /// linked, and the rest is for the next run. `None`: nothing that would not be done again.
    pub(super) async fn done_by_now(&self, id: LiveDeskId, before: Option<FirstLineId>) -> Option<Outcome> {
        // What cannot be read now is told by the failure that ended the run.
        let link = self.store.links_for(&[id]).await.ok()?.remove(&id)?;
        let is_new = link.run == self.run && link.fingerprint.is_none() && Some(link.target) != before;
        is_new.then_some(if link.origin == Origin::Created { Outcome::Created } else { Outcome::Adopted })
    }

    /// What is parked now is what the state says, whoever parked it.
    pub(in crate::sync) async fn tell_parked(&self, summary: &mut Summary) -> Result<(), RunError> {
        let parked = self.store.parked_contacts().await?;
        summary.parked = parked.len() as u64;
        summary.parked_ids = parked.iter().take(LISTED).map(|id| id.0).collect();
        Ok(())
    }
}
