//! The journal: every change that a run made at the target, with what was there before. What `undo` and `explain` read.
//!
//! A row is written in the transaction that records its change, or the intent of it. The one place that keeps values of
//! people, for as long as its retention says; deleted rows are overwritten with zeros (`secure_delete`).

use crate::clock::Timestamp;
use crate::domain::ids::{FirstLineId, LiveDeskId, RunId};

use super::Store;
use super::error::StoreError;
use super::op::WriteOp;
use super::prune::AT_ONCE;
use super::rows::{Statement, batch, statement};

/// One change at the target. Its `Debug` form leaves the before-image out.
///
/// What is in `after` and not in `before` was not shown by the record: what it held is not known.
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
    /// What was written, as JSON text: keyed digests per field, ids per list. `None` where the row says nothing of it; what a
    /// record was made of is the base of its link.
    pub after: Option<String>,
    /// The link before the change, as JSON text; `null` where there was none. `None` where the row says nothing of it: the
    /// link was not touched, or an earlier row of the same run has it.
    pub link_before: Option<String>,
    /// Why, in a few words without values.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// A row as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journalled {
    /// Its number: later changes have higher ones.
    pub id: i64,
    /// The undo that took it back.
    pub undone_by: Option<RunId>,
    /// The change.
    pub entry: JournalEntry,
}

impl std::fmt::Debug for JournalEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalEntry")
            .field("run", &self.run)
            .field("livedesk_id", &self.livedesk_id)
            .field("target", &self.target)
            .field("action", &self.action)
            .field("why", &self.why)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

struct JournalRow {
    id: i64,
    run: i64,
    livedesk_id: i64,
    target: i64,
    action: String,
    before: String,
    after: Option<String>,
    link_before: Option<String>,
    why: String,
    undone_by: Option<i64>,
    at: i64,
}

impl From<JournalRow> for Journalled {
    fn from(row: JournalRow) -> Self {
        Self {
            id: row.id,
            undone_by: row.undone_by.map(RunId),
            entry: JournalEntry {
                run: RunId(row.run),
                livedesk_id: LiveDeskId(row.livedesk_id),
                target: FirstLineId(row.target),
                action: row.action,
                before: row.before,
                after: row.after,
                link_before: row.link_before,
                why: row.why,
                at: Timestamp(row.at),
            },
        }
    }
}

/// Profile key: runs from this number on have their whole journal.
pub(super) const SINCE: &str = "journal_since";

pub(super) fn add(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::Journal(entry) => (
        entry.run.0,
        entry.livedesk_id.0,
        entry.target.0,
        &entry.action,
        &entry.before,
        &entry.after,
        &entry.link_before,
        &entry.why,
        entry.at.0,
    );
        "INSERT INTO journal (run, livedesk_id, target, action, before, after, link_before, why, at)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
             value ->> 8
         FROM jsonb_each(?)"
    )
}

pub(super) fn not_done(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::NotDone { run, livedesk_id, target, action } =>
        (livedesk_id.0, target.0, action, run.map(|run| run.0));
        "DELETE FROM journal WHERE id IN (
             SELECT journal.id FROM jsonb_each(?) AS undone JOIN journal
                 ON journal.livedesk_id = undone.value ->> 0 AND journal.target = undone.value ->> 1
                     AND journal.action = undone.value ->> 2
                     AND (undone.value ->> 3 IS NULL OR journal.run = undone.value ->> 3))"
    )
}

pub(super) fn take_back(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::TakenBack { run, livedesk_id, by } => (livedesk_id.0, run.0, by.0);
        "UPDATE journal SET undone_by = iif(journal.run = taken.value ->> 1, taken.value ->> 2, NULL)
         FROM jsonb_each(?) AS taken
         WHERE journal.livedesk_id = taken.value ->> 0
             AND (journal.run = taken.value ->> 1 OR journal.undone_by = taken.value ->> 1)"
    )
}

impl Store {
    /// What a run changed, newest first.
    pub async fn journal_of_run(&self, run: RunId) -> Result<Vec<JournalEntry>, StoreError> {
        let rows = sqlx::query_as!(JournalRow, "SELECT * FROM journal WHERE run = ?1 ORDER BY id DESC", run.0)
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(|row| Journalled::from(row).entry).collect())
    }

    /// What was done with a contact, newest first.
    pub async fn journal_of_contact(&self, id: LiveDeskId) -> Result<Vec<JournalEntry>, StoreError> {
        let rows = self.journalled(id).await?;
        Ok(rows.into_iter().map(|row| row.entry).collect())
    }

    /// The same, with what became of each row.
    pub async fn journalled(&self, id: LiveDeskId) -> Result<Vec<Journalled>, StoreError> {
        let rows = sqlx::query_as!(JournalRow, "SELECT * FROM journal WHERE livedesk_id = ?1 ORDER BY id DESC", id.0)
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(Journalled::from).collect())
    }

    /// What runs before this one did to these contacts, as far as they carried out this plan (`Store::carries_out`) and nobody
    /// took it back: contacts and words.
    pub async fn planned_changes(
        &self,
        ids: &[LiveDeskId],
        plan: &str,
        before: RunId,
    ) -> Result<Vec<(LiveDeskId, String)>, StoreError> {
        let ids = batch(ids.iter().map(|id| id.0));
        let rows = sqlx::query!(
            "SELECT DISTINCT livedesk_id, action FROM journal JOIN run ON run.id = journal.run
             WHERE livedesk_id IN (SELECT value FROM json_each(?1)) AND run.options ->> 'plan_mark' = ?2
                 AND journal.run < ?3 AND undone_by IS NULL AND action <> 'trial'",
            ids,
            plan,
            before.0
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(|row| (LiveDeskId(row.livedesk_id), row.action)).collect())
    }

    /// The runs that did something to one of these contacts that nobody took back, newest first. Not those that took runs back.
    pub async fn runs_that_changed(&self, ids: &[LiveDeskId]) -> Result<Vec<RunId>, StoreError> {
        let ids = batch(ids.iter().map(|id| id.0));
        let runs = sqlx::query_scalar!(
            "SELECT DISTINCT journal.run FROM journal JOIN run ON run.id = journal.run
             WHERE livedesk_id IN (SELECT value FROM json_each(?1)) AND undone_by IS NULL AND action <> 'trial'
                 AND run.kind <> 'undo'
             ORDER BY journal.run DESC",
            ids
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(runs.into_iter().map(RunId).collect())
    }

    /// Deletes some rows older than `before`, before-images and all, and says how many; 0 when none is left. Their runs cannot be
    /// taken back any more.
    pub async fn prune_journal(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.transact(move |conn| {
            Box::pin(async move {
                sqlx::query!(
                    "UPDATE profile SET value = CAST(max(CAST(value AS INTEGER), coalesce((SELECT max(run) + 1 FROM
                         (SELECT run FROM journal WHERE at < ?2 ORDER BY id LIMIT ?3)), 0)) AS TEXT)
                     WHERE key = ?1",
                    SINCE,
                    before.0,
                    AT_ONCE
                )
                .execute(&mut *conn)
                .await?;
                let done = sqlx::query!(
                    "DELETE FROM journal WHERE id IN (SELECT id FROM journal WHERE at < ?1 ORDER BY id LIMIT ?2)",
                    before.0,
                    AT_ONCE
                )
                .execute(conn)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }

    /// When the oldest row was written.
    pub async fn oldest_journal_entry(&self) -> Result<Option<Timestamp>, StoreError> {
        let at = sqlx::query_scalar!("SELECT at FROM journal ORDER BY id LIMIT 1")
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(at.map(Timestamp))
    }

    /// The first run that has its whole journal.
    pub async fn journal_since(&self) -> Result<RunId, StoreError> {
        Ok(RunId(self.profile_get(SINCE).await?.and_then(|since| since.as_i64()).unwrap_or_default()))
    }
}
