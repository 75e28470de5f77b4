//! What the service shows of the state: a handful of numbers, read at every scrape and every minute.
//!
//! Counts over indexes and the newest rows only, so that a look costs milliseconds with hundreds of thousands of links.

use crate::clock::Timestamp;
use crate::domain::ids::RunId;

use super::Store;
use super::checkpoints::{FinishedSweep, SweepRow};
use super::error::StoreError;
use super::rows::number;

/// Numbers of the state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Contacts with a record that is theirs.
    pub links_live: u64,
    /// Contacts whose record was merged into another one.
    pub links_alias: u64,
    /// Contacts whose record is gone.
    pub links_gone: u64,
    /// Contacts that are set aside and tried again.
    pub dead_letters_waiting: u64,
    /// Contacts that are set aside and not tried again until something changes.
    pub dead_letters_poisoned: u64,
    /// Conflicts that wait for a person.
    pub conflicts: u64,
    /// Contacts with a create in doubt.
    pub parked: u64,
    /// Contacts that LiveDesk does not show any more.
    pub absent: u64,
    /// The latest sweep that came to a verdict, whatever it was.
    pub last_sweep: Option<FinishedSweep>,
    /// The latest sweep that was complete: proven or counted.
    pub last_complete_sweep: Option<FinishedSweep>,
    /// The latest run of each kind that came to its end.
    pub last_runs: Vec<EndedRun>,
    /// When the sweep that is open last left a page behind it.
    pub sweep_moved_at: Option<Timestamp>,
}

/// A run that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRun {
    /// Its number.
    pub id: RunId,
    /// Which kind.
    pub kind: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Its exit code.
    pub exit_code: i32,
}

impl Store {
    /// The numbers of now.
    pub async fn vitals(&self) -> Result<Vitals, StoreError> {
        let failed = |source| self.failed(source);
        let mut guard = self.reader().await?;
        let reader = &mut *guard;
        let row = sqlx::query!(
            r#"SELECT (SELECT count(*) FROM link) AS "links!: i64",
               (SELECT count(*) FROM link WHERE standing = 'alias') AS "aliases!: i64",
               (SELECT count(*) FROM link WHERE standing = 'gone') AS "gone!: i64",
               (SELECT count(*) FROM absence) AS "absent!: i64",
               (SELECT count(*) FROM dead_letter) AS "dead_letters!: i64",
               (SELECT count(*) FROM dead_letter WHERE poisoned_at IS NOT NULL) AS "poisoned!: i64",
               (SELECT count(*) FROM conflict WHERE decision IS NULL) AS "conflicts!: i64",
               (SELECT count(DISTINCT livedesk_id) FROM intent WHERE state IN ('open', 'parked', 'absent'))
                   AS "parked!: i64""#
        )
        .fetch_one(&mut *reader)
        .await
        .map_err(failed)?;
        let sweeps = sqlx::query_as!(
            SweepRow,
            r#"SELECT id, run, started_at, ended_at AS "ended_at!", coalesce(verdict, '') AS "verdict!: String" FROM sweep
               WHERE id IN ((SELECT max(id) FROM sweep WHERE ended_at IS NOT NULL AND verdict <> 'abandoned'),
                            (SELECT max(id) FROM sweep WHERE verdict IN ('proven', 'counted')))
               ORDER BY id DESC"#
        )
        .fetch_all(&mut *reader)
        .await
        .map_err(failed)?;
        let sweeps: Vec<FinishedSweep> = sweeps.into_iter().map(SweepRow::sweep).collect();
        let runs = sqlx::query!(
            r#"SELECT id, kind, started_at, ended_at AS "ended_at!", coalesce(exit_code, 2) AS "exit_code!: i64" FROM run
               WHERE id IN (SELECT max(id) FROM run WHERE ended_at IS NOT NULL GROUP BY kind)
               ORDER BY id DESC"#
        )
        .fetch_all(&mut *reader)
        .await
        .map_err(failed)?;
        let sweep_moved_at = sqlx::query_scalar!(r#"SELECT max(updated_at) AS "at: i64" FROM checkpoint"#)
            .fetch_one(&mut *reader)
            .await
            .map_err(failed)?;
        let last_runs = runs
            .into_iter()
            .map(|row| {
                Ok(EndedRun {
                    id: RunId(row.id),
                    kind: row.kind,
                    started_at: Timestamp(row.started_at),
                    ended_at: Timestamp(row.ended_at),
                    exit_code: number(row.exit_code, "run.exit_code")?,
                })
            })
            .collect::<Result<Vec<EndedRun>, StoreError>>()?;
        let is_complete = |sweep: &&FinishedSweep| matches!(sweep.verdict.as_str(), "proven" | "counted");
        Ok(Vitals {
            links_live: (row.links - row.aliases - row.gone).unsigned_abs(),
            links_alias: row.aliases.unsigned_abs(),
            links_gone: row.gone.unsigned_abs(),
            dead_letters_waiting: (row.dead_letters - row.poisoned).unsigned_abs(),
            dead_letters_poisoned: row.poisoned.unsigned_abs(),
            absent: row.absent.unsigned_abs(),
            conflicts: row.conflicts.unsigned_abs(),
            parked: row.parked.unsigned_abs(),
            last_complete_sweep: sweeps.iter().find(is_complete).cloned(),
            last_sweep: sweeps.into_iter().next(),
            last_runs,
            sweep_moved_at: sweep_moved_at.map(Timestamp),
        })
    }
}
