//! Runs: every execution that touches contacts, with its options, counts and verdict.
//!
//! A run without an end was killed or is under way; which of the two, the lock says.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::domain::ids::RunId;

use super::Store;
use super::error::StoreError;
use super::op::WriteOp;
use super::rows::{Statement, json, number, statement};

/// What the counts of a run say whose process died.
pub const DIED: &str = "died";

/// One execution.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// The command.
    pub kind: String,
    /// Its options, as the engine gave them.
    pub options: Value,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// The verdict of its sweep, or another word on how it ended.
    pub verdict: Option<String>,
    /// Its counts.
    pub counts: Value,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    /// Its exit code.
    pub exit_code: i32,
    /// The verdict of its sweep, or another word on how it ended.
    pub verdict: Option<String>,
    /// Its counts.
    pub counts: Value,
}

struct RunRow {
    id: i64,
    kind: String,
    options: String,
    started_at: i64,
    ended_at: Option<i64>,
    exit_code: Option<i64>,
    verdict: Option<String>,
    counts: String,
}

impl RunRow {
    fn run(self) -> Result<Run, StoreError> {
        Ok(Run {
            id: RunId(self.id),
            kind: self.kind,
            options: json(&self.options, "run.options")?,
            started_at: Timestamp(self.started_at),
            ended_at: self.ended_at.map(Timestamp),
            exit_code: self.exit_code.map(|code| number(code, "run.exit_code")).transpose()?,
            verdict: self.verdict,
            counts: json(&self.counts, "run.counts")?,
        })
    }
}

pub(super) fn count(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::CountRun { run, counts } => (run.0, counts.to_string());
        "UPDATE run SET counts = counted.value ->> 1
         FROM jsonb_each(?) AS counted WHERE run.id = counted.value ->> 0"
    )
}

impl Store {
    /// Begins a run.
    pub async fn begin_run(&self, kind: &str, options: &Value) -> Result<RunId, StoreError> {
        let (kind, options, now) = (kind.to_owned(), options.to_string(), self.now().0);
        self.transact(move |conn| {
            Box::pin(async move {
                let row =
                    sqlx::query!("INSERT INTO run (kind, options, started_at) VALUES (?1, ?2, ?3)", kind, options, now)
                        .execute(conn)
                        .await?;
                Ok(RunId(row.last_insert_rowid()))
            })
        })
        .await
    }

    /// Notes which plan a run carries out: what an interrupted run of the same plan did is done.
    pub async fn carries_out(&self, run: RunId, plan: &str) -> Result<(), StoreError> {
        let plan = plan.to_owned();
        self.transact(move |conn| {
            Box::pin(async move {
                sqlx::query!(
                    "UPDATE run SET options = json_set(options, '$.plan_mark', ?2) WHERE id = ?1",
                    run.0,
                    plan
                )
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Ends a run.
    pub async fn finish_run(&self, run: RunId, result: RunResult) -> Result<(), StoreError> {
        let (counts, now) = (result.counts.to_string(), self.now().0);
        self.transact(move |conn| {
            Box::pin(async move {
                sqlx::query!(
                    "UPDATE run SET ended_at = ?2, exit_code = ?3, verdict = ?4, counts = ?5 WHERE id = ?1",
                    run.0,
                    now,
                    result.exit_code,
                    result.verdict,
                    counts
                )
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Takes back a run that did nothing. Refused by the state where anything names it.
    pub async fn drop_run(&self, run: RunId) -> Result<(), StoreError> {
        self.transact(move |conn| {
            Box::pin(async move {
                sqlx::query!("DELETE FROM run WHERE id = ?1", run.0).execute(conn).await?;
                Ok(())
            })
        })
        .await
    }

    /// The latest runs, newest first.
    pub async fn runs(&self, limit: u32) -> Result<Vec<Run>, StoreError> {
        let rows = sqlx::query_as!(RunRow, "SELECT * FROM run ORDER BY id DESC LIMIT ?1", limit)
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        rows.into_iter().map(RunRow::run).collect()
    }

    /// Runs that nobody ended, newest first: they were killed, or are under way.
    pub async fn open_runs(&self) -> Result<Vec<Run>, StoreError> {
        let rows = sqlx::query_as!(RunRow, "SELECT * FROM run WHERE ended_at IS NULL ORDER BY id DESC")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        rows.into_iter().map(RunRow::run).collect()
    }

    /// The runs of a kind before this one, newest first.
    pub async fn runs_before(&self, kind: &str, id: RunId, limit: u32) -> Result<Vec<Run>, StoreError> {
        let rows = sqlx::query_as!(
            RunRow,
            "SELECT * FROM run WHERE kind = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
            kind,
            id.0,
            limit
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        rows.into_iter().map(RunRow::run).collect()
    }

    /// The latest run whose sweep ended with this verdict, whoever ran it.
    pub async fn last_run_that_was(&self, verdict: &str) -> Result<Option<Run>, StoreError> {
        let row = sqlx::query_as!(RunRow, "SELECT * FROM run WHERE verdict = ?1 ORDER BY id DESC LIMIT 1", verdict)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        row.map(RunRow::run).transpose()
    }

    /// The run that was under way at a moment; the inner one where one stood still for another.
    pub async fn run_at(&self, at: Timestamp) -> Result<Option<RunId>, StoreError> {
        let id = sqlx::query_scalar!(
            r#"SELECT max(id) AS "id: i64" FROM run
               WHERE started_at <= ?1 AND (ended_at IS NULL OR ended_at >= ?1)
                   AND coalesce(options ->> 'dry_run', 0) = 0"#,
            at.0
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(id.map(RunId))
    }

    /// One run.
    pub async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        let row = sqlx::query_as!(RunRow, "SELECT * FROM run WHERE id = ?1", id.0)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        row.map(RunRow::run).transpose()
    }
}
