//! The look for twins of what was created again, once a request that was given up could not be applied any more.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::store::{Intent, IntentState, WriteOp};
use crate::sync::engine::{Engine, RunError};
use crate::sync::ports::ContactTarget;

impl<T: ContactTarget> Engine<T> {
    /// When everything that was created again can be looked at for twins: a request that outlived its horizon once is
    /// given another one.
    pub async fn audit_due(&self) -> Result<Option<Timestamp>, RunError> {
        let intents = self.store.open_intents().await?;
        let audits = intents.iter().filter(|intent| intent.state == IntentState::Audit);
        Ok(audits.map(|intent| self.horizon_of(intent)).max())
    }

    /// Looks for twins of everything that was created again. What cannot be judged stays for a later run.
    /// Returns the contacts with twins and those that could not be judged. It looks at the newest, at so many at most.
    pub async fn audit(&self, most: usize) -> Result<(Vec<LiveDeskId>, Vec<LiveDeskId>), RunError> {
        let mut older: Vec<Intent> =
            self.store.open_intents().await?.into_iter().filter(|intent| intent.state == IntentState::Audit).collect();
        let audits = older.split_off(older.len().saturating_sub(most));
        let mut twins = Vec::new();
        let mut unjudged: Vec<LiveDeskId> = older.into_iter().map(|intent| intent.livedesk_id).collect();
        if audits.is_empty() {
            return Ok((twins, unjudged));
        }
        let from = audits.iter().map(|intent| intent.high_water).min().unwrap_or_default();
        let walked = self.walk_ids(from).await?;
        for intent in audits {
            let id = intent.livedesk_id;
            // What was made may have been taken back, or led away from, since; who is linked to nobody is looked for by the stamp.
            let link = self.store.links_for(&[id]).await?.remove(&id);
            let own = link.map(|link| link.alias_of.unwrap_or(link.target));
            let known = [own, intent.target];
            let (stamped, _) = self.stamped_now(id).await?;
            let by_query = known.iter().flatten().any(|record| stamped.contains(record));
            let stamped = stamped.into_iter().chain(walked.stamps.get(&id).into_iter().flatten().copied());
            let others: BTreeSet<FirstLineId> = stamped.filter(|record| !known.contains(&Some(*record))).collect();
            if let Some(own) = own.filter(|_| !others.is_empty()) {
                let twin = self.twin_conflict(id, others.into_iter().chain([own]).collect());
                self.store.write(vec![twin, WriteOp::CloseIntent { seq: intent.seq }]).await?;
                twins.push(id);
            } else if (by_query || walked.complete) && self.horizon_of(&intent) <= self.clock.now() {
                self.store.write(vec![WriteOp::CloseIntent { seq: intent.seq }]).await?;
            } else {
                unjudged.push(id);
            }
        }
        Ok((twins, unjudged))
    }
}
