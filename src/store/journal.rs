//! The journal: before-images of what a run changed. What `undo` and `explain` read.
//!
//! The one place that keeps values of people, for as long as its retention says; deleted rows are overwritten
//! with zeros (`secure_delete`).

use crate::clock::Timestamp;
use crate::domain::ids::{FirstLineId, LiveDeskId, RunId};

use super::Store;
use super::error::StoreError;
use super::op::WriteOp;
use super::rows::{Statement, statement};

/// One change at the target. Its `Debug` form leaves the before-image out.
#[derive(Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The run that made it.
    pub run: RunId,
    /// Whose.
    pub livedesk_id: LiveDeskId,
    /// The record that changed.
    pub target: FirstLineId,
    /// What was done, one word.
    pub action: String,
    /// What was there before, as JSON text.
    pub before: String,
    /// When.
    pub at: Timestamp,
}

impl std::fmt::Debug for JournalEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalEntry")
            .field("run", &self.run)
            .field("livedesk_id", &self.livedesk_id)
            .field("target", &self.target)
            .field("action", &self.action)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

struct JournalRow {
    run: i64,
    livedesk_id: i64,
    target: i64,
    action: String,
    before: String,
    at: i64,
}

impl From<JournalRow> for JournalEntry {
    fn from(row: JournalRow) -> Self {
        Self {
            run: RunId(row.run),
            livedesk_id: LiveDeskId(row.livedesk_id),
            target: FirstLineId(row.target),
            action: row.action,
            before: row.before,
            at: Timestamp(row.at),
        }
    }
}

pub(super) fn add(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::Journal(entry) => (
        entry.run.0,
        entry.livedesk_id.0,
        entry.target.0,
        &entry.action,
        &entry.before,
        entry.at.0,
    );
        "INSERT INTO journal (run, livedesk_id, target, action, before, at)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM jsonb_each(?)"
    )
}

impl Store {
    /// What a run changed, newest first.
    pub async fn journal_of_run(&self, run: RunId) -> Result<Vec<JournalEntry>, StoreError> {
        let rows = sqlx::query_as!(
            JournalRow,
            "SELECT run, livedesk_id, target, action, before, at FROM journal WHERE run = ?1 ORDER BY id DESC",
            run.0
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(JournalEntry::from).collect())
    }

    /// What was done with a contact, newest first.
    pub async fn journal_of_contact(&self, id: LiveDeskId) -> Result<Vec<JournalEntry>, StoreError> {
        let rows = sqlx::query_as!(
            JournalRow,
            "SELECT run, livedesk_id, target, action, before, at FROM journal WHERE livedesk_id = ?1 ORDER BY id DESC",
            id.0
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(JournalEntry::from).collect())
    }

    /// Deletes before-images older than `before` and says how many.
    pub async fn prune_journal(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.transact(move |conn| {
            Box::pin(async move {
                let done = sqlx::query!("DELETE FROM journal WHERE at < ?1", before.0).execute(conn).await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }
}
