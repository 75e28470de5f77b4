//! What the state says of contacts and customers: it explains what differs, and has no part in finding it.

use std::collections::{HashMap, HashSet};

use super::Verifier;
use super::held::HeldRecord;
use crate::domain::contact::Contact;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::store::{Conflict, DeadLetter, Link};
use crate::sync::engine::RunError;
use crate::sync::ports::{ContactSource, ContactTarget};
use crate::sync::stamp::StampReading;

/// A contact made at LiveDesk so many seconds before a run began may have been missed by it: clocks differ.
const CLOCKS: i64 = 60;

/// What the state says of some contacts.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) links: HashMap<LiveDeskId, Link>,
    pub(super) dead_letters: HashMap<LiveDeskId, DeadLetter>,
    pub(super) conflicts: HashMap<LiveDeskId, Conflict>,
    pub(super) in_doubt: HashSet<LiveDeskId>,
    /// Whose customers are linked.
    pub(super) holders: HashMap<FirstLineId, LiveDeskId>,
}

impl Facts {
    /// The customers that may be a contact's own: stamped for it and not linked to another, or linked to it.
    pub(super) fn candidates<'a>(
        &self,
        id: LiveDeskId,
        held: &'a HashMap<FirstLineId, HeldRecord>,
    ) -> Vec<&'a HeldRecord> {
        let linked = self.links.get(&id).map(|link| link.target);
        let mut records: Vec<&HeldRecord> = held
            .values()
            .filter(|record| {
                let stamped = record.stamp == StampReading::Of(id)
                    && self.holders.get(&record.target).is_none_or(|holder| *holder == id);
                stamped || Some(record.target) == linked
            })
            .collect();
        records.sort_by_key(|record| record.target);
        records
    }

    /// The customer that a contact's own was merged into: it carries the contact's stamp, whosever it is, and the one that
    /// is linked to the contact is not there any more.
    pub(super) fn survivor(&self, id: LiveDeskId, held: &HashMap<FirstLineId, HeldRecord>) -> Option<FirstLineId> {
        let link = self.links.get(&id)?;
        if held.contains_key(&link.target) {
            return None;
        }
        held.values().filter(|record| record.stamp == StampReading::Of(id)).map(|record| record.target).min()
    }
}

impl<S: ContactSource, T: ContactTarget> Verifier<S, T> {
    /// What the state says of these contacts, and whose these customers are; nothing, without a state.
    pub(super) async fn facts(&self, ids: &[LiveDeskId], targets: &[FirstLineId]) -> Result<Facts, RunError> {
        if !self.with_state {
            return Ok(Facts::default());
        }
        let store = &self.engine.store;
        let traces = store.traces_of(ids).await?;
        let mut facts = Facts { in_doubt: traces.in_doubt, ..Facts::default() };
        if traces.linked {
            facts.links = store.links_for(ids).await?;
        }
        if traces.set_aside {
            facts.dead_letters = store.dead_letters_for(ids).await?;
        }
        if traces.in_conflict {
            facts.conflicts = store.conflict_for(ids).await?;
        }
        if !targets.is_empty() {
            facts.holders = store.source_of(targets).await?;
        }
        Ok(facts)
    }

    /// Whether a contact is so new that no run could have carried it.
    pub(super) fn is_new(&self, contact: &Contact) -> bool {
        contact.created_at.zip(self.since).is_some_and(|(made, since)| made >= since - CLOCKS)
    }

    /// Those of these contacts that a person had forgotten: they are counted, and neither compared nor named, whatever else
    /// the state may say.
    pub(super) async fn forgotten(&self, ids: &[LiveDeskId]) -> Result<HashSet<LiveDeskId>, RunError> {
        Ok(self.engine.store.forgotten_among(ids).await?)
    }

    pub(super) async fn is_forgotten(&self, id: LiveDeskId) -> Result<bool, RunError> {
        Ok(!self.forgotten(&[id]).await?.is_empty())
    }
}
