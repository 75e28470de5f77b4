//! Conflicts: doubts about identity that wait for a person, and the person's decisions.
//!
//! The engine may find the same conflict again before it has used a decision. The decision then stays as long as
//! the candidates are the same; with other candidates it is a new question.

use std::collections::{BTreeSet, HashMap};

use crate::clock::Timestamp;
use crate::domain::ids::{FirstLineId, LiveDeskId, RunId};

use super::Store;
use super::error::StoreError;
use super::op::WriteOp;
use super::rows::{Statement, batch, json, statement};

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Link the contact with this record.
    Link(FirstLineId),
    /// Create a record of its own.
    Create,
    /// Do not carry it.
    Skip,
}

/// Identity in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Whose.
    pub livedesk_id: LiveDeskId,
    /// Which doubt, in words.
    pub kind: String,
    /// The records it could be; kept in ascending order.
    pub candidates: Vec<FirstLineId>,
    /// Which keys hit, in words; no values.
    pub keys: String,
    /// The run that found it.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// What a person decided.
    pub decision: Option<Decision>,
}

/// The kind of a conflict about several records with one stamp.
pub const TWINS: &str = "twins";

impl Conflict {
    /// The decision that is still to be carried out for a contact that is linked to `linked` now. One that was carried
    /// out is kept, because it says why the contact is where it is; and twins are never made triplets.
    pub fn standing(&self, linked: Option<FirstLineId>) -> Option<Decision> {
        let decision = self.decision?;
        let Some(linked) = linked else { return Some(decision) };
        let about_this_record = self.candidates.contains(&linked);
        let stands = match decision {
            Decision::Link(target) => target != linked,
            Decision::Create => about_this_record && self.kind != TWINS,
            Decision::Skip => about_this_record,
        };
        stands.then_some(decision)
    }
}

struct ConflictRow {
    livedesk_id: i64,
    kind: String,
    candidates: String,
    keys: String,
    run: i64,
    at: i64,
    decision: Option<String>,
    decision_target: Option<i64>,
}

impl ConflictRow {
    fn conflict(self) -> Result<Conflict, StoreError> {
        let candidates: Vec<i64> = json(&self.candidates, "conflict.candidates")?;
        let decision = match (self.decision.as_deref(), self.decision_target) {
            (None, None) => None,
            (Some("link"), Some(target)) => Some(Decision::Link(FirstLineId(target))),
            (Some("create"), None) => Some(Decision::Create),
            (Some("skip"), None) => Some(Decision::Skip),
            _ => return Err(StoreError::Unexpected { place: "conflict.decision" }),
        };
        Ok(Conflict {
            livedesk_id: LiveDeskId(self.livedesk_id),
            kind: self.kind,
            candidates: candidates.into_iter().map(FirstLineId).collect(),
            keys: self.keys,
            run: RunId(self.run),
            at: Timestamp(self.at),
            decision,
        })
    }
}

pub(super) fn put(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::PutConflict(conflict) => {
        let (decision, target) = match conflict.decision {
            None => (None, None),
            Some(Decision::Link(target)) => (Some("link"), Some(target.0)),
            Some(Decision::Create) => (Some("create"), None),
            Some(Decision::Skip) => (Some("skip"), None),
        };
        // Sorted, so that the same candidates are the same text.
        let mut candidates: Vec<i64> = conflict.candidates.iter().map(|id| id.0).collect();
        candidates.sort_unstable();
        let candidates = batch(candidates.into_iter());
        (
            conflict.livedesk_id.0,
            &conflict.kind,
            candidates,
            &conflict.keys,
            conflict.run.0,
            conflict.at.0,
            decision,
            target,
        )
    };
        "INSERT INTO conflict (livedesk_id, kind, candidates, keys, run, at, decision, decision_target)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
         FROM jsonb_each(?) WHERE true
         ON CONFLICT (livedesk_id) DO UPDATE SET kind = excluded.kind, candidates = excluded.candidates,
             keys = excluded.keys, run = excluded.run, at = excluded.at,
             decision = CASE WHEN excluded.decision IS NULL AND excluded.candidates = conflict.candidates
                 THEN conflict.decision ELSE excluded.decision END,
             decision_target = CASE WHEN excluded.decision IS NULL AND excluded.candidates = conflict.candidates
                 THEN conflict.decision_target ELSE excluded.decision_target END"
    )
}

pub(super) fn clear(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::ClearConflict(id) => id.0;
        "DELETE FROM conflict WHERE livedesk_id IN (SELECT value FROM jsonb_each(?))"
    )
}

impl Store {
    /// Every conflict, ascending by contact.
    pub async fn conflicts(&self) -> Result<Vec<Conflict>, StoreError> {
        let rows = sqlx::query_as!(ConflictRow, "SELECT * FROM conflict ORDER BY livedesk_id")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        rows.into_iter().map(ConflictRow::conflict).collect()
    }

    /// Contacts with a decision to link or to create that is still to be carried out. Leaving one out is done by
    /// doing nothing.
    pub async fn decided(&self) -> Result<BTreeSet<LiveDeskId>, StoreError> {
        let conflicts = self.conflicts().await?;
        let ids: Vec<LiveDeskId> = conflicts.iter().map(|conflict| conflict.livedesk_id).collect();
        let links = self.links_for(&ids).await?;
        let stands = |conflict: &&Conflict| {
            let linked = links.get(&conflict.livedesk_id).map(|link| link.target);
            conflict.standing(linked).is_some_and(|decision| decision != Decision::Skip)
        };
        Ok(conflicts.iter().filter(stands).map(|conflict| conflict.livedesk_id).collect())
    }

    /// The conflicts of these contacts.
    pub async fn conflict_for(&self, ids: &[LiveDeskId]) -> Result<HashMap<LiveDeskId, Conflict>, StoreError> {
        let ids = batch(ids.iter().map(|id| id.0));
        let rows = sqlx::query_as!(
            ConflictRow,
            "SELECT * FROM conflict WHERE livedesk_id IN (SELECT value FROM jsonb_each(?1))",
            ids
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        rows.into_iter().map(|row| row.conflict().map(|conflict| (conflict.livedesk_id, conflict))).collect()
    }
}
