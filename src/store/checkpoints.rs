//! Sweeps: how far one has come, and whom it has seen.
//!
//! A checkpoint moves in the same transaction as the last records that it covers, or later; so after a crash a
//! sweep goes on at a page whose contacts may be recorded already, never behind one whose contacts are not.
//! There is one sighting per contact: the last sweep that saw it.

use crate::clock::Timestamp;
use crate::domain::ids::{LiveDeskId, RunId};
use crate::domain::sweep::{ScanPosition, Verdict};

use super::Store;
use super::error::StoreError;
use super::op::WriteOp;
use super::rows::{Statement, json, number, statement};

/// A sweep that did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSweep {
    /// Its number.
    pub sweep: i64,
    /// The run that began it.
    pub run: RunId,
    /// When it began.
    pub started_at: Timestamp,
    /// The first page that is not wholly recorded.
    pub position: ScanPosition,
}

/// A sweep that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedSweep {
    /// Its number.
    pub sweep: i64,
    /// The run that began it.
    pub run: RunId,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Its verdict, or `abandoned`.
    pub verdict: String,
}

/// A finished sweep as it is stored.
pub(super) struct SweepRow {
    pub(super) id: i64,
    pub(super) run: i64,
    pub(super) started_at: i64,
    pub(super) ended_at: i64,
    pub(super) verdict: String,
}

impl SweepRow {
    pub(super) fn sweep(self) -> FinishedSweep {
        FinishedSweep {
            sweep: self.id,
            run: RunId(self.run),
            started_at: Timestamp(self.started_at),
            ended_at: Timestamp(self.ended_at),
            verdict: self.verdict,
        }
    }
}

/// Ids that are read at once while sightings are streamed.
const SIGHTINGS_AT_ONCE: i64 = 20_000;

/// Verdict of a sweep that was given up for a new one.
pub(super) const ABANDONED: &str = "abandoned";

pub(super) fn sight(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::Sight { sweep, id } => (id.0, *sweep);
        "INSERT INTO sighting (livedesk_id, sweep) SELECT value ->> 0, value ->> 1 FROM jsonb_each(?) WHERE true
         ON CONFLICT (livedesk_id) DO UPDATE SET sweep = excluded.sweep"
    )
}

pub(super) fn checkpoint(ops: &[&WriteOp], now: Timestamp) -> Statement {
    statement!(ops, WriteOp::Checkpoint { sweep, position } => (*sweep, position.pass, position.page, now.0);
        "INSERT INTO checkpoint (sweep, pass, page, updated_at)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM jsonb_each(?) WHERE true
         ON CONFLICT (sweep) DO UPDATE SET pass = excluded.pass, page = excluded.page,
             updated_at = excluded.updated_at"
    )
}

impl Store {
    /// Begins a sweep and gives up any that is still open.
    pub async fn begin_sweep(&self, run: RunId) -> Result<i64, StoreError> {
        let now = self.now().0;
        self.transact(move |conn| {
            Box::pin(async move {
                sqlx::query!("UPDATE sweep SET ended_at = ?1, verdict = ?2 WHERE ended_at IS NULL", now, ABANDONED)
                    .execute(&mut *conn)
                    .await?;
                sqlx::query!("DELETE FROM checkpoint").execute(&mut *conn).await?;
                let row = sqlx::query!("INSERT INTO sweep (run, started_at) VALUES (?1, ?2)", run.0, now)
                    .execute(conn)
                    .await?;
                Ok(row.last_insert_rowid())
            })
        })
        .await
    }

    /// The sweep to go on with, if one did not come to its end.
    pub async fn open_sweep(&self) -> Result<Option<OpenSweep>, StoreError> {
        let row = sqlx::query!(
            r#"SELECT s.id, s.run, s.started_at, coalesce(c.pass, 1) AS "pass!: i64", coalesce(c.page, 1) AS "page!: i64"
               FROM sweep s LEFT JOIN checkpoint c ON c.sweep = s.id
               WHERE s.ended_at IS NULL ORDER BY s.id DESC LIMIT 1"#
        )
        .fetch_optional(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        row.map(|row| {
            Ok(OpenSweep {
                sweep: row.id,
                run: RunId(row.run),
                started_at: Timestamp(row.started_at),
                position: ScanPosition {
                    pass: number(row.pass, "checkpoint.pass")?,
                    page: number(row.page, "checkpoint.page")?,
                },
            })
        })
        .transpose()
    }

    /// Ends a sweep with its verdict.
    pub async fn finish_sweep(&self, sweep: i64, verdict: &str) -> Result<(), StoreError> {
        let (verdict, now) = (verdict.to_owned(), self.now().0);
        self.transact(move |conn| {
            Box::pin(async move {
                sqlx::query!("UPDATE sweep SET ended_at = ?2, verdict = ?3 WHERE id = ?1", sweep, now, verdict)
                    .execute(&mut *conn)
                    .await?;
                sqlx::query!("DELETE FROM checkpoint WHERE sweep = ?1", sweep).execute(conn).await?;
                Ok(())
            })
        })
        .await
    }

    /// The latest sweeps that came to an end, newest first.
    pub async fn finished_sweeps(&self, limit: u32) -> Result<Vec<FinishedSweep>, StoreError> {
        let rows = sqlx::query_as!(
            SweepRow,
            r#"SELECT id, run, started_at, ended_at AS "ended_at!", coalesce(verdict, '') AS "verdict!: String"
               FROM sweep WHERE ended_at IS NOT NULL ORDER BY id DESC LIMIT ?1"#,
            limit
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(SweepRow::sweep).collect())
    }

    /// The latest sweep that ended with this verdict.
    pub async fn last_sweep_that_was(&self, verdict: Verdict) -> Result<Option<FinishedSweep>, StoreError> {
        let verdict = verdict.to_string();
        let row = sqlx::query_as!(
            SweepRow,
            r#"SELECT id, run, started_at, ended_at AS "ended_at!", coalesce(verdict, '') AS "verdict!: String"
               FROM sweep WHERE ended_at IS NOT NULL AND verdict = ?1 ORDER BY id DESC LIMIT 1"#,
            verdict
        )
        .fetch_optional(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(row.map(SweepRow::sweep))
    }

    /// The latest sweep that was walked to its end, whatever its verdict.
    pub async fn last_whole_sweep(&self) -> Result<Option<FinishedSweep>, StoreError> {
        let row = sqlx::query_as!(
            SweepRow,
            r#"SELECT id, run, started_at, ended_at AS "ended_at!", coalesce(verdict, '') AS "verdict!: String"
               FROM sweep WHERE ended_at IS NOT NULL AND verdict <> ?1 ORDER BY id DESC LIMIT 1"#,
            ABANDONED
        )
        .fetch_optional(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(row.map(SweepRow::sweep))
    }

    /// When the latest run began that could have carried everybody who was there by then: a sweep that was walked to its
    /// end, or a quick cycle; not one that was held against a plan.
    pub async fn carried_since(&self) -> Result<Option<Timestamp>, StoreError> {
        let at = sqlx::query_scalar!(
            r#"SELECT max(at) AS "at: i64" FROM (
                   SELECT sweep.started_at AS at FROM sweep JOIN run ON run.id = sweep.run
                   WHERE sweep.ended_at IS NOT NULL AND sweep.verdict <> ?1 AND run.options ->> 'plan' IS NULL
                   UNION ALL SELECT carried_until FROM lane)"#,
            ABANDONED
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(at.map(Timestamp))
    }

    /// Gives `seen` every contact that this sweep was the last to see, ascending, with bounded memory.
    pub async fn sighted(&self, sweep: i64, mut seen: impl FnMut(LiveDeskId)) -> Result<(), StoreError> {
        let mut after = i64::MIN;
        loop {
            // One text per many ids: a row each would cost more than the ids are worth.
            let ids = sqlx::query_scalar!(
                r#"SELECT json_group_array(livedesk_id) AS "ids!: String" FROM (
                       SELECT livedesk_id FROM sighting WHERE livedesk_id > ?1 AND sweep = ?2
                       ORDER BY livedesk_id LIMIT ?3)"#,
                after,
                sweep,
                SIGHTINGS_AT_ONCE
            )
            .fetch_one(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
            let ids: Vec<i64> = json(&ids, "sighting.livedesk_id")?;
            let Some(&last) = ids.last() else { return Ok(()) };
            after = last;
            ids.into_iter().map(LiveDeskId).for_each(&mut seen);
        }
    }

    /// The last sweep that saw a contact, and when that began, where it is still known.
    pub async fn last_sighting(&self, id: LiveDeskId) -> Result<Option<(i64, Option<Timestamp>)>, StoreError> {
        let row = sqlx::query!(
            r#"SELECT s.sweep, w.started_at AS "started_at?: i64" FROM sighting s LEFT JOIN sweep w ON w.id = s.sweep
               WHERE s.livedesk_id = ?1"#,
            id.0
        )
        .fetch_optional(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(row.map(|row| (row.sweep, row.started_at.map(Timestamp))))
    }

    /// How many contacts are linked, or were seen by the last whole sweep or one since.
    pub async fn linked_or_sighted_lately(&self) -> Result<u64, StoreError> {
        let last = self.last_whole_sweep().await?.map_or(i64::MAX, |last| last.sweep);
        let count = sqlx::query_scalar!(
            "SELECT count(*) FROM (SELECT livedesk_id FROM sighting WHERE sweep >= ?1 UNION SELECT livedesk_id FROM link)",
            last
        )
            .fetch_one(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(count.unsigned_abs())
    }

    /// How many of these contacts any sweep ever saw.
    pub async fn sighted_among(&self, ids: &[LiveDeskId]) -> Result<u64, StoreError> {
        let ids = super::rows::batch(ids.iter().map(|id| id.0));
        let count = sqlx::query_scalar!(
            "SELECT count(*) FROM sighting WHERE livedesk_id IN (SELECT value FROM jsonb_each(?1))",
            ids
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(count.unsigned_abs())
    }
}
