//! Conflicts: doubts about identity that wait for a person, and the person's decisions.
//!
//! The engine may find the same conflict again before it has used a decision. The decision then stays as long as
//! the candidates are the same; with other candidates it is a new question, and so is another doubt about the same ones once
//! the decision was carried out. That a decision was carried out is written
//! down with the link that it led to, never guessed from it: merges, undos and later decisions move links, too.

use std::collections::{BTreeSet, HashMap};

use crate::clock::Timestamp;
use crate::domain::ids::{FirstLineId, LiveDeskId, RunId};

use super::Store;
use super::error::StoreError;
use super::links::{Link, Origin};
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
    /// The record that this decision led to; `None` while it is to be carried out.
    pub carried_to: Option<FirstLineId>,
    /// The record that it led away from, until the contact's stamp is off there.
    pub left_behind: Option<FirstLineId>,
}

/// The kind of a conflict about several records with one stamp.
pub const TWINS: &str = "twins";
/// The kind of a conflict about keys that are on records of others.
pub const SHARED: &str = "shared";
/// The kind of a conflict about whose stamp a record carries.
pub const STAMP: &str = "stamp";

/// What carrying a decision out does to the record that its contact is linked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It loses the contact's stamp, and is not written to any more.
    Behind(FirstLineId),
    /// It was made for the contact: while it carries the stamp, it is not left for the other one as a second copy.
    Made {
        /// It.
        own: FirstLineId,
        /// The record that was decided on.
        chosen: FirstLineId,
    },
}

impl Conflict {
    /// The decision that is still to be carried out for a contact with this link. One that was carried out stays to say why
    /// the contact is where it is, and stands again once its link is gone. Leaving a contact out is never done with.
    pub fn standing(&self, link: Option<&Link>) -> Option<Decision> {
        let is_done = self.carried_to.is_some() && self.left_behind.is_none() && link.is_some();
        self.decision.filter(|decision| *decision == Decision::Skip || !is_done)
    }

    /// Whether "it is nobody of them" leaves a contact where it is linked: its customer was made for it, is its own beside
    /// those of others that hold its key, or is one of twins, which are never made triplets.
    pub fn is_its_own(&self, link: &Link) -> bool {
        self.kind == TWINS || self.kind != STAMP && is_made(link) || self.kind == SHARED && self.stood_before(link)
    }

    /// Whether a link stood when the doubt was found; else a decision on it made the link.
    pub fn stood_before(&self, link: &Link) -> bool {
        link.linked_at <= self.at && self.candidates.contains(&link.target)
    }

    /// Whether the doubt is about records that all carry the contact's stamp: who decides knows of them.
    pub fn is_about_stamps(&self) -> bool {
        self.kind == TWINS || self.kind == STAMP
    }

    /// What becomes of the linked record when the decision that stands is carried out; `None` where it stays linked.
    pub fn leaving(&self, link: Option<&Link>) -> Option<Leaving> {
        let link = link?;
        let own = link.target;
        match self.standing(Some(link))? {
            Decision::Link(chosen) if chosen == own => None,
            Decision::Link(chosen) if is_made(link) && !self.is_about_stamps() => Some(Leaving::Made { own, chosen }),
            Decision::Create if self.is_its_own(link) => None,
            Decision::Link(_) | Decision::Create => Some(Leaving::Behind(own)),
            Decision::Skip => None,
        }
    }
}

/// Whether a record was made for its contact, or may have been: a state that was lost does not know.
fn is_made(link: &Link) -> bool {
    matches!(link.origin, Origin::Created | Origin::Rebuilt)
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
    carried_to: Option<i64>,
    left_behind: Option<i64>,
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
            carried_to: self.carried_to.map(FirstLineId),
            left_behind: self.left_behind.map(FirstLineId),
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
            conflict.carried_to.map(|id| id.0),
            conflict.left_behind.map(|id| id.0),
        )
    };
        "INSERT INTO conflict (livedesk_id, kind, candidates, keys, run, at, decision, decision_target, carried_to, left_behind)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
             value ->> 8, value ->> 9
         FROM jsonb_each(?) WHERE true
         ON CONFLICT (livedesk_id) DO UPDATE SET kind = excluded.kind, candidates = excluded.candidates,
             keys = excluded.keys, run = excluded.run, at = excluded.at,
             decision = CASE WHEN excluded.decision IS NULL AND excluded.candidates = conflict.candidates
                     AND (conflict.carried_to IS NULL OR excluded.kind = conflict.kind AND conflict.kind <> 'stamp')
                 THEN conflict.decision ELSE excluded.decision END,
             decision_target = CASE WHEN excluded.decision IS NULL AND excluded.candidates = conflict.candidates
                     AND (conflict.carried_to IS NULL OR excluded.kind = conflict.kind AND conflict.kind <> 'stamp')
                 THEN conflict.decision_target ELSE excluded.decision_target END,
             carried_to = CASE WHEN excluded.decision IS NULL AND excluded.candidates = conflict.candidates
                     AND (conflict.carried_to IS NULL OR excluded.kind = conflict.kind AND conflict.kind <> 'stamp')
                 THEN conflict.carried_to ELSE excluded.carried_to END,
             left_behind = coalesce(excluded.left_behind, conflict.left_behind)"
    )
}

pub(super) fn carried(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::DecisionCarried { livedesk_id, carried_to, left_behind } => {
        (livedesk_id.0, carried_to.map(|id| id.0), left_behind.map(|id| id.0))
    };
        "UPDATE conflict SET carried_to = done.value ->> 1, left_behind = done.value ->> 2
         FROM jsonb_each(?) AS done
         WHERE conflict.livedesk_id = done.value ->> 0 AND conflict.decision <> 'skip'
             AND (done.value ->> 1 IS NULL OR conflict.decision = 'create' OR conflict.decision_target = done.value ->> 1)"
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
            conflict.standing(links.get(&conflict.livedesk_id)).is_some_and(|decision| decision != Decision::Skip)
        };
        Ok(conflicts.iter().filter(stands).map(|conflict| conflict.livedesk_id).collect())
    }

    /// Whom a person decided to link to these records, where that is still to be carried out.
    pub async fn decided_on(&self, targets: &[FirstLineId]) -> Result<HashMap<FirstLineId, LiveDeskId>, StoreError> {
        let targets = batch(targets.iter().map(|id| id.0));
        let rows = sqlx::query!(
            r#"SELECT decision_target AS "target!: i64", livedesk_id FROM conflict
            WHERE decision = 'link' AND carried_to IS NULL AND decision_target IN (SELECT value FROM jsonb_each(?1))"#,
            targets
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(|row| (FirstLineId(row.target), LiveDeskId(row.livedesk_id))).collect())
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
