//! Contacts of a run that wait for others of it: for one that vouches for a 404, or that has their customer.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Undo;
use super::contact::Case;
use super::net::{self, LinkWas};
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::sync::engine::RunError;
use crate::sync::ports::ContactTarget;

/// What a contact waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PutOff {
    /// Its record answered 404 before any other had vouched for this account.
    Unvouched,
    /// The run gave its customer to this contact, of which that is not taken back yet.
    Behind(LiveDeskId),
}

/// Contacts that wait: their newest rows, and for what.
pub(super) type Waiting = BTreeMap<LiveDeskId, (i64, PutOff)>;

/// Whoever has the customer of another contact now.
pub(super) struct Holder {
    pub(super) id: LiveDeskId,
    /// The run gave it to them, and that is still to be taken back.
    pub(super) gives_up: bool,
}

impl<T: ContactTarget> Undo<'_, T> {
    /// Looks at a contact again once all others were.
    pub(super) fn put_off(&self, case: &Case, until: PutOff) {
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner).insert(case.id, (case.row, until));
    }

    pub(super) fn is_put_off(&self, id: LiveDeskId) -> bool {
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    /// Those that had to wait, as long as that brings any of them further.
    pub(super) async fn all_put_off(&self) -> Result<(), RunError> {
        let mut waited = usize::MAX;
        loop {
            let waiting = std::mem::take(&mut *self.put_off.lock().unwrap_or_else(PoisonError::into_inner));
            if waiting.len() >= waited {
                self.tell_left(waiting);
                return Ok(());
            }
            waited = waiting.len();
            if waiting.values().any(|(_, until)| *until == PutOff::Unvouched) && !self.reads.load(Ordering::Relaxed) {
                self.reads.store(self.can_read().await?, Ordering::Relaxed);
            }
            self.all(waiting.into_iter().map(|(id, (row, _))| (row, id)).collect()).await?;
        }
    }

    fn tell_left(&self, waiting: Waiting) {
        for (id, (_, until)) in waiting {
            self.count(|summary| summary.contacts += 1);
            let why = match until {
                PutOff::Unvouched => {
                    String::from("it answers 404, and no other known customer is there to vouch for that")
                }
                PutOff::Behind(holder) => {
                    format!("its customer is linked to contact {holder}, of which that could not be taken back")
                }
            };
            self.tell(id, FirstLineId(0), "customer", "left", &why);
        }
    }

    /// Whoever has the customer that goes back to this contact, where it is somebody else.
    pub(super) async fn holder(&self, case: &Case) -> Result<Option<Holder>, RunError> {
        let LinkWas::Link(link, _) = &case.net.link else { return Ok(None) };
        let store = &self.engine.store;
        let Some(id) = store.source_of(&[link.target]).await?.remove(&link.target).filter(|id| *id != case.id) else {
            return Ok(None);
        };
        let rows = store.journalled(id).await?;
        let net = net::net(id, rows.iter().filter(|row| self.stands(row)).map(|row| &row.entry)).unwrap_or_default();
        // Whose record was deleted does not get it back, and stays as they are.
        let gives_up = match net.link {
            _ if net.deleted => false,
            LinkWas::Untouched => false,
            LinkWas::None => true,
            LinkWas::Link(was, _) => was.target != link.target,
        };
        Ok(Some(Holder { id, gives_up }))
    }
}
