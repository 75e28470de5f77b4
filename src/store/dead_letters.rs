//! Dead letters: contacts that were set aside, with the reason and never their payload.
//!
//! Written in the same call as whatever else is recorded about the contact, so that the checkpoint may pass it.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::domain::hash::Digest;
use crate::domain::ids::{LiveDeskId, RunId};
use crate::domain::outcome::{SetAside, SetAsideKind};

use super::Store;
use super::absence::ProvenSweep;
use super::error::StoreError;
use super::op::WriteOp;
use super::rows::{Statement, batch, hex_digest, maybe_digest, number, statement, word};

/// A contact that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which.
    pub livedesk_id: LiveDeskId,
    /// Why, as a word.
    pub kind: SetAsideKind,
    /// The field concerned, when one is.
    pub field: Option<String>,
    /// HTTP status, when the target refused it.
    pub status: Option<u16>,
    /// One sentence, without any value of the contact.
    pub detail: String,
    /// Fingerprint of what was refused: while it is unchanged there is no use in trying again.
    pub fingerprint: Option<Digest>,
    /// How often it was tried with this fingerprint. Stored as at least one more than before.
    pub attempts: u32,
    /// First time. An earlier stored one is kept.
    pub first_at: Timestamp,
    /// Last time.
    pub last_at: Timestamp,
    /// The run that set it aside last.
    pub run: RunId,
    /// When a run that comes by may try it again.
    pub next_at: Timestamp,
    /// Since when it is not tried again by itself.
    pub poisoned_at: Option<Timestamp>,
    /// Version of the mapping that made what was refused.
    pub mapping_version: Option<String>,
}

impl DeadLetter {
    /// The reason as the engine gives it.
    pub fn reason(&self) -> SetAside {
        SetAside { kind: self.kind, field: self.field.clone(), status: self.status, detail: self.detail.clone() }
    }
}

struct DeadLetterRow {
    livedesk_id: i64,
    kind: String,
    field: Option<String>,
    status: Option<i64>,
    detail: String,
    fingerprint: Option<Vec<u8>>,
    attempts: i64,
    first_at: i64,
    last_at: i64,
    run: i64,
    next_at: i64,
    poisoned_at: Option<i64>,
    mapping_version: Option<String>,
}

impl DeadLetterRow {
    fn letter(self) -> Result<DeadLetter, StoreError> {
        Ok(DeadLetter {
            livedesk_id: LiveDeskId(self.livedesk_id),
            kind: word(SetAsideKind::parse(&self.kind), "dead_letter.kind")?,
            field: self.field,
            status: self.status.map(|status| number(status, "dead_letter.status")).transpose()?,
            detail: self.detail,
            fingerprint: maybe_digest(self.fingerprint, "dead_letter.fingerprint")?,
            attempts: number(self.attempts, "dead_letter.attempts")?,
            first_at: Timestamp(self.first_at),
            last_at: Timestamp(self.last_at),
            run: RunId(self.run),
            next_at: Timestamp(self.next_at),
            poisoned_at: self.poisoned_at.map(Timestamp),
            mapping_version: self.mapping_version,
        })
    }
}

pub(super) fn put(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::PutDeadLetter(letter) => (
        letter.livedesk_id.0,
        letter.kind.as_str(),
        &letter.field,
        letter.status,
        &letter.detail,
        hex_digest(letter.fingerprint),
        letter.attempts,
        letter.first_at.0,
        letter.last_at.0,
        letter.run.0,
        letter.next_at.0,
        letter.poisoned_at.map(|at| at.0),
        &letter.mapping_version,
    );
        "INSERT INTO dead_letter (livedesk_id, kind, field, status, detail, fingerprint, attempts, first_at, last_at, run,
             next_at, poisoned_at, mapping_version)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, unhex(value ->> 5), value ->> 6,
             value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12
         FROM jsonb_each(?) WHERE true
         ON CONFLICT (livedesk_id) DO UPDATE SET kind = excluded.kind, field = excluded.field,
             status = excluded.status, detail = excluded.detail, fingerprint = excluded.fingerprint,
             attempts = CASE WHEN dead_letter.fingerprint IS excluded.fingerprint
                 THEN max(dead_letter.attempts + 1, excluded.attempts) ELSE excluded.attempts END,
             first_at = min(dead_letter.first_at, excluded.first_at), last_at = excluded.last_at, run = excluded.run,
             next_at = excluded.next_at, poisoned_at = excluded.poisoned_at, mapping_version = excluded.mapping_version"
    )
}

pub(super) fn clear(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::ClearDeadLetter(id) => id.0;
        "DELETE FROM dead_letter WHERE livedesk_id IN (SELECT value FROM jsonb_each(?))"
    )
}

impl Store {
    /// Every contact that is set aside, ascending by contact.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        let rows = sqlx::query_as!(DeadLetterRow, "SELECT * FROM dead_letter ORDER BY livedesk_id")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        rows.into_iter().map(DeadLetterRow::letter).collect()
    }

    /// Contacts whose time to be tried again has come, the longest due first: at most `limit`. What the mapping rejected is not
    /// among them: it is tried whenever the contact comes by.
    pub async fn dead_letters_due(&self, now: Timestamp, limit: u32) -> Result<Vec<LiveDeskId>, StoreError> {
        // A last try that lies ahead was noted before the clock was set back.
        let not_ahead = now.not_ahead().0;
        let ids = sqlx::query_scalar!(
            "SELECT livedesk_id FROM dead_letter
             WHERE poisoned_at IS NULL AND fingerprint IS NOT NULL AND (next_at <= ?1 OR last_at > ?2)
             ORDER BY next_at, livedesk_id LIMIT ?3",
            now.0,
            not_ahead,
            limit
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(ids.into_iter().map(LiveDeskId).collect())
    }

    /// Strikes out dead letters of contacts that no sweep has shown since `cut` began: they are gone from LiveDesk, or hidden,
    /// and are carried anew should they come back. Says how many.
    pub async fn clear_dead_letters_unseen_since(&self, cut: ProvenSweep) -> Result<u64, StoreError> {
        self.transact(move |conn| {
            Box::pin(async move {
                let done = sqlx::query!(
                    "DELETE FROM dead_letter WHERE last_at < ?1 AND NOT EXISTS (
                         SELECT 1 FROM sighting s WHERE s.livedesk_id = dead_letter.livedesk_id AND s.sweep >= ?2)",
                    cut.started_at.0,
                    cut.sweep
                )
                .execute(conn)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }

    /// Those of these contacts that are set aside.
    pub async fn dead_letters_for(&self, ids: &[LiveDeskId]) -> Result<HashMap<LiveDeskId, DeadLetter>, StoreError> {
        let ids = batch(ids.iter().map(|id| id.0));
        let rows = sqlx::query_as!(
            DeadLetterRow,
            "SELECT * FROM dead_letter WHERE livedesk_id IN (SELECT value FROM jsonb_each(?1))",
            ids
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        rows.into_iter().map(|row| row.letter().map(|letter| (letter.livedesk_id, letter))).collect()
    }
}
