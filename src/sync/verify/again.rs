//! The second look: what differs is read again on both sides, so that what changed while the lists were walked is no fault.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::contacts::note_of;
use super::look::Looked;
use super::{Again, Verifier};
use crate::domain::contact::Contact;
use crate::domain::ids::LiveDeskId;
use crate::store::Note;
use crate::sync::engine::RunError;
use crate::sync::lookup::Lookup;
use crate::sync::ports::{ContactSource, ContactTarget, PortError};
use crate::sync::progress::{Phase, ProgressEvent};
use crate::sync::scan::ScanError;

/// Contacts that are taken from the notebook at once.
const AT_ONCE: u32 = 1_000;

impl<S: ContactSource, T: ContactTarget> Verifier<S, T> {
    /// Looks again at the contacts of which something is not explained; at all that differ, where values are to be shown.
    pub(super) async fn look_again(&mut self) -> Result<Again, RunError> {
        let (suspects, left) = self.suspects().await?;
        let mut again = Again { left, ..Again::default() };
        if suspects.is_empty() {
            return Ok(again);
        }
        let engine = &self.engine;
        engine.progress.event(ProgressEvent::Phase(Phase::Again));
        engine.progress.event(ProgressEvent::Expect(suspects.len() as u64));
        let mut lookup = Lookup::start(Arc::clone(&self.source), suspects, self.options.max_rounds).await?;
        let mut waiting: Vec<Contact> = Vec::new();
        let jobs = engine.settings.jobs.max(1);
        loop {
            self.engine.go_on()?;
            let found = match lookup.next().await {
                Ok(found) => found,
                // A contact that LiveDesk will not show by its id stays as the list had it.
                Err(ScanError::Source(PortError::Refused { .. })) => continue,
                Err(error) => return Err(error.into()),
            };
            let ended = found.is_none();
            waiting.extend(found.into_iter().flat_map(|found| found.contacts));
            if waiting.len() < jobs && !ended {
                continue;
            }
            let some = std::mem::take(&mut waiting);
            let looked: Vec<Looked> =
                stream::iter(&some).map(|contact| self.look_live(contact)).buffered(jobs).try_collect().await?;
            for (contact, looked) in some.iter().zip(looked) {
                again.looked += 1;
                again.settled += u64::from(looked.findings.is_empty());
                self.overlooked += u64::from(looked.overlooked);
                self.replace(contact.id, &looked).await?;
                self.engine.progress.event(ProgressEvent::Advance(1));
            }
            if ended {
                break;
            }
        }
        // They left LiveDesk meanwhile: what is at FIRST LINE is judged with the others that belong to nobody.
        let gone: Vec<LiveDeskId> = lookup.missing().iter().copied().filter(|id| lookup.is_surely_gone(*id)).collect();
        if !gone.is_empty() {
            for id in &gone {
                self.seen.remove(id.0.unsigned_abs());
            }
            self.notes.drop_notes(&gone).await?;
            self.checked = self.checked.saturating_sub(gone.len() as u64);
            again.looked += gone.len() as u64;
            again.settled += gone.len() as u64;
        }
        Ok(again)
    }

    /// The contacts to look at again, as many as may be, and how many more there are.
    async fn suspects(&self) -> Result<(BTreeSet<LiveDeskId>, u64), RunError> {
        let most = usize::try_from(self.options.again).unwrap_or(usize::MAX);
        let (mut suspects, mut left) = (BTreeSet::new(), 0);
        let mut after = LiveDeskId(-1);
        loop {
            let page = self.notes.open_contacts(after, self.options.values, AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok((suspects, left)) };
            after = *last;
            for id in page {
                if suspects.len() < most {
                    suspects.insert(id);
                } else {
                    left += 1;
                }
            }
        }
    }

    /// Puts what the second look said in the place of what the first one did.
    async fn replace(&self, id: LiveDeskId, looked: &Looked) -> Result<(), RunError> {
        self.notes.drop_notes(&[id]).await?;
        let notes: Vec<Note> = looked.findings.iter().map(|finding| note_of(finding, finding.is_fault())).collect();
        Ok(self.notes.put_notes(&notes).await?)
    }
}
