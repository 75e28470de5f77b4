//! Intents: what was about to be created when the power went, and what is still in doubt.
//!
//! An intent is committed before its request is sent and closed in the same call that stores the outcome. A crash
//! before the first leaves nothing at the target; a crash between leaves the intent, which the next start settles.
//! Sending again means, in one call: close the old intent and open a new one with `recreated`, because the
//! positive control compares numbers; it stays, in state `audit`, until the look for twins is done.

use crate::clock::Timestamp;
use crate::domain::hash::Digest;
use crate::domain::ids::{FirstLineId, LiveDeskId};

use super::Store;
use super::error::StoreError;
use super::op::WriteOp;
use super::rows::{Statement, hex_digest, maybe_digest, statement, word, words};

/// What was to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IntentKind {
    /// The contact itself.
    Contact,
    /// An e-mail on it.
    Email,
    /// A phone on it.
    Phone,
}
words!(IntentKind { Contact = "contact", Email = "email", Phone = "phone" });

/// How far an intent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntentState {
    /// Its request may be under way.
    Open,
    /// Its doubt cannot be settled yet.
    Parked,
    /// Its request was surely not applied; the contact is to be created again.
    Absent,
    /// The record was created again, and is to be looked at for a twin.
    Audit,
}
words!(IntentState { Open = "open", Parked = "parked", Absent = "absent", Audit = "audit" });

/// The row committed before a create is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its number, from [`Store::next_intent_seq`].
    pub seq: i64,
    /// Whose.
    pub livedesk_id: LiveDeskId,
    /// What is created.
    pub kind: IntentKind,
    /// The stamp as sent: the `membership_no`, or the id as text.
    pub stamp: String,
    /// Digest of a child's canonical value; `None` for a contact.
    pub key: Option<Digest>,
    /// The record that a child hangs on; `None` for a contact.
    pub target: Option<FirstLineId>,
    /// The highest id of its kind seen at the target before.
    pub high_water: i64,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Since when nobody waits for its answer any more; the doubt horizon counts from here.
    pub parked_at: Option<Timestamp>,
    /// How far it is.
    pub state: IntentState,
    /// Whether a doubtful request went before it.
    pub recreated: bool,
    /// What was sent, as the base of the link-to-be; empty for a child.
    pub base: Vec<u8>,
}

pub(super) fn open(ops: &[&WriteOp]) -> Statement {
    statement!(ops, bases, WriteOp::OpenIntent(intent) => {
        // SQLite takes no bytes at all for NULL.
        if bases.is_empty() {
            bases.push(0);
        }
        let before = bases.len();
        bases.extend_from_slice(&intent.base);
        (
            intent.seq,
            intent.livedesk_id.0,
            intent.kind.as_str(),
            &intent.stamp,
            hex_digest(intent.key),
            intent.target.map(|id| id.0),
            intent.high_water,
            intent.opened_at.0,
            intent.parked_at.map(|at| at.0),
            intent.state.as_str(),
            i64::from(intent.recreated),
            before + 1,
            intent.base.len(),
        )
    };
        "INSERT INTO intent (seq, livedesk_id, kind, stamp, key, target, high_water, opened_at, parked_at, state,
             recreated, base)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, unhex(value ->> 4), value ->> 5, value ->> 6,
             value ->> 7, value ->> 8, value ->> 9, value ->> 10, substr(?, value ->> 11, value ->> 12)
         FROM jsonb_each(?) WHERE true
         ON CONFLICT (seq) DO UPDATE SET livedesk_id = excluded.livedesk_id, kind = excluded.kind,
             stamp = excluded.stamp, key = excluded.key, target = excluded.target, high_water = excluded.high_water,
             opened_at = excluded.opened_at, parked_at = excluded.parked_at, state = excluded.state,
             recreated = excluded.recreated, base = excluded.base"
    )
}

pub(super) fn park(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::ParkIntent { seq, at } => (seq, at.0);
        "UPDATE intent SET state = 'parked', parked_at = parked.value ->> 1
         FROM jsonb_each(?) AS parked WHERE intent.seq = parked.value ->> 0"
    )
}

pub(super) fn absent(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::AbsentIntent { seq } => *seq;
        "UPDATE intent SET state = 'absent' WHERE seq IN (SELECT value FROM jsonb_each(?))"
    )
}

pub(super) fn audit(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::AuditIntent { seq, target } => (seq, target.0);
        "UPDATE intent SET state = 'audit', target = audited.value ->> 1
         FROM jsonb_each(?) AS audited WHERE intent.seq = audited.value ->> 0"
    )
}

pub(super) fn close(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::CloseIntent { seq } => *seq;
        "DELETE FROM intent WHERE seq IN (SELECT value FROM jsonb_each(?))"
    )
}

impl Store {
    /// Every intent that is left over, in order of number.
    pub async fn open_intents(&self) -> Result<Vec<Intent>, StoreError> {
        let rows = sqlx::query!("SELECT * FROM intent ORDER BY seq")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        rows.into_iter()
            .map(|row| {
                Ok(Intent {
                    seq: row.seq,
                    livedesk_id: LiveDeskId(row.livedesk_id),
                    kind: word(IntentKind::parse(&row.kind), "intent.kind")?,
                    stamp: row.stamp,
                    key: maybe_digest(row.key, "intent.key")?,
                    target: row.target.map(FirstLineId),
                    high_water: row.high_water,
                    opened_at: Timestamp(row.opened_at),
                    state: word(IntentState::parse(&row.state), "intent.state")?,
                    parked_at: row.parked_at.map(Timestamp),
                    recreated: row.recreated != 0,
                    base: row.base,
                })
            })
            .collect()
    }

    /// Creates that were on their way when an earlier process ended are in doubt from now on. Nobody else may be at work: the
    /// caller holds the state.
    pub async fn park_left_overs(&self, now: Timestamp) -> Result<(), StoreError> {
        let open = self.open_intents().await?.into_iter().filter(|intent| intent.state == IntentState::Open);
        self.write(open.map(|intent| WriteOp::ParkIntent { seq: intent.seq, at: now }).collect()).await
    }

    /// Contacts whose create, or the create of one of their children, is in doubt; ascending.
    pub async fn parked_contacts(&self) -> Result<Vec<LiveDeskId>, StoreError> {
        let rows = sqlx::query_scalar!(
            "SELECT DISTINCT livedesk_id FROM intent WHERE state IN ('open', 'parked', 'absent') ORDER BY livedesk_id"
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(LiveDeskId).collect())
    }
}
