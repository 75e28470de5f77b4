//! `state check`: is the file sound, does what it says fit together, and how much is in it.
//!
//! It only looks; mending is for `state rebuild` and the next run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::Store;
use super::error::StoreError;
use super::lock::beside;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// What SQLite's integrity check complains of; empty when sound.
    pub integrity: Vec<String>,
    /// Rows that point at rows that are not there.
    pub dangling: u64,
    /// Intents for contacts that are linked already, and intents for e-mails and phones of contacts that are not.
    pub stray_intents: u64,
    /// Files that others may read, with their modes.
    pub open_modes: Vec<(PathBuf, u32)>,
    /// Rows per table.
    pub counts: Vec<(&'static str, u64)>,
    /// Intents that are open; the next run settles them first.
    pub open_intents: u64,
    /// Intents that are parked.
    pub parked_intents: u64,
    /// Links whose record or children are not settled.
    pub unsettled_links: u64,
    /// Runs without an end.
    pub unfinished_runs: u64,
    /// Sizes.
    pub sizes: Sizes,
}

/// Sizes of the state's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The database file.
    pub database_bytes: u64,
    /// Its write-ahead log.
    pub wal_bytes: u64,
    /// Part of the database file that holds nothing.
    pub free_bytes: u64,
}

impl CheckReport {
    /// What is wrong, one sentence each; empty when all is well. Left-over intents are not wrong: the next run
    /// settles them.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> =
            self.integrity.iter().map(|complaint| format!("the file is damaged: {complaint}")).collect();
        if self.dangling > 0 {
            problems.push(format!("{} rows point at rows that are not there", self.dangling));
        }
        if self.stray_intents > 0 {
            problems.push(format!("{} intents do not fit the links", self.stray_intents));
        }
        for (path, mode) in &self.open_modes {
            problems.push(format!("{} can be read by others (mode {mode:o}, should be 600)", path.display()));
        }
        problems
    }
}

impl Store {
    /// Checks everything that can be checked without a request. Reads the whole file.
    pub async fn check(&self) -> Result<CheckReport, StoreError> {
        let failed = |source| self.failed(source);
        let mut guard = self.reader().await?;
        let reader = &mut *guard;
        let integrity: Vec<String> =
            sqlx::query_scalar("PRAGMA integrity_check(20)").fetch_all(&mut *reader).await.map_err(failed)?;
        let dangling = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut *reader).await.map_err(failed)?.len();
        let row = sqlx::query!(
            r#"SELECT (SELECT count(*) FROM run) AS "runs!: i64", (SELECT count(*) FROM link) AS "links!: i64",
               (SELECT count(*) FROM link_child) AS "children!: i64", (SELECT count(*) FROM intent) AS "intents!: i64",
               (SELECT count(*) FROM journal) AS "journal!: i64",
               (SELECT count(*) FROM dead_letter) AS "dead_letters!: i64",
               (SELECT count(*) FROM conflict) AS "conflicts!: i64",
               (SELECT count(*) FROM sighting) AS "sightings!: i64",
               (SELECT count(*) FROM absence) AS "absences!: i64",
               (SELECT count(*) FROM target_index) AS "index_keys!: i64",
               (SELECT count(*) FROM field_definition) AS "definitions!: i64",
               (SELECT count(*) FROM intent WHERE state <> 'open') AS "parked!: i64",
               (SELECT count(*) FROM intent i WHERE i.state <> 'audit' AND (i.kind = 'contact') =
                   EXISTS (SELECT 1 FROM link l WHERE l.livedesk_id = i.livedesk_id)) AS "stray!: i64",
               (SELECT count(*) FROM link WHERE fingerprint IS NULL) AS "unsettled!: i64",
               (SELECT count(*) FROM run WHERE ended_at IS NULL) AS "unfinished!: i64""#
        )
        .fetch_one(reader)
        .await
        .map_err(failed)?;
        drop(guard);
        let count = i64::unsigned_abs;
        Ok(CheckReport {
            integrity: integrity.into_iter().filter(|line| line != "ok").collect(),
            dangling: dangling as u64,
            stray_intents: count(row.stray),
            open_modes: self.open_modes(),
            counts: vec![
                ("runs", count(row.runs)),
                ("links", count(row.links)),
                ("e-mails and phones", count(row.children)),
                ("intents", count(row.intents)),
                ("journal entries", count(row.journal)),
                ("dead letters", count(row.dead_letters)),
                ("conflicts", count(row.conflicts)),
                ("sightings", count(row.sightings)),
                ("absent contacts", count(row.absences)),
                ("target index keys", count(row.index_keys)),
                ("field definitions", count(row.definitions)),
            ],
            open_intents: count(row.intents - row.parked),
            parked_intents: count(row.parked),
            unsettled_links: count(row.unsettled),
            unfinished_runs: count(row.unfinished),
            sizes: self.sizes().await?,
        })
    }

    /// Whether no run ever wrote: no link, no intent, no before-image, nobody forgotten.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        let used = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM link) OR EXISTS (SELECT 1 FROM intent) OR EXISTS (SELECT 1 FROM journal)
               OR EXISTS (SELECT 1 FROM forgotten) AS "used!: bool""#
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(!used)
    }

    /// Sizes of the state's files.
    pub async fn sizes(&self) -> Result<Sizes, StoreError> {
        let failed = |source| self.failed(source);
        let free: i64 =
            sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *self.reader().await?).await.map_err(failed)?;
        let page: i64 =
            sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut *self.reader().await?).await.map_err(failed)?;
        let bytes = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.len());
        Ok(Sizes {
            database_bytes: bytes(self.path().to_owned()),
            wal_bytes: bytes(beside(self.path(), "-wal")),
            free_bytes: (free * page).unsigned_abs(),
        })
    }

    fn open_modes(&self) -> Vec<(PathBuf, u32)> {
        ["", "-wal", "-shm", ".lock"]
            .into_iter()
            .map(|suffix| beside(self.path(), suffix))
            .filter_map(|path| {
                let mode = fs::metadata(&path).ok()?.permissions().mode() & 0o777;
                (mode & 0o077 != 0).then_some((path, mode))
            })
            .collect()
    }
}
