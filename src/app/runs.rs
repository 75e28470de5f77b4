//! The end of a run as the state keeps it, whoever ran it.

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::config::settings::Settings;
use crate::store::{Store, StoreError};
use crate::sync::engine::RunError;
use crate::sync::pipeline::RunEnd;
use crate::sync::summary::Summary;

/// Exit code of a run that could not go on.
pub const COULD_NOT_GO_ON: u8 = 2;
/// Exit code of a run that was interrupted and can be resumed.
pub const INTERRUPTED: u8 = 130;

/// The exit code of a run (design, section 6).
pub fn exit_code(end: &RunEnd) -> u8 {
    match &end.failure {
        // It is begun anew at once, or at the next start.
        Some(RunError::Drifted) => INTERRUPTED,
        Some(_) => COULD_NOT_GO_ON,
        None => end.summary.exit_code(),
    }
}

/// Transactions of each kind after one run: months of what a service adds in a day.
pub const STEPS: u32 = 40;

/// Deletes before-images that are older than the operator wants them kept, in up to so many small transactions: three months
/// after a backfill hundreds of thousands grow old in one night.
pub async fn prune_journal(settings: &Settings, store: &Store, now: Timestamp, steps: u32) -> Result<u64, StoreError> {
    let before = now.earlier_by(settings.state.journal_retention);
    let mut pruned = 0;
    for _ in 0..steps {
        // As a rule there is nothing to delete, and looking through all of it costs more than a look at the first.
        if store.oldest_journal_entry().await?.is_none_or(|oldest| oldest >= before) {
            break;
        }
        match store.prune_journal(before).await? {
            0 => break,
            some => pruned += some,
        }
    }
    Ok(pruned)
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs that nothing refers to.
    pub runs: u64,
    /// Sweeps that nothing is judged by.
    pub sweeps: u64,
    /// Sightings of contacts that are nowhere any more.
    pub sightings: u64,
}

/// Forgets runs and sweeps that are older than the operator wants them kept, and sightings that say nothing any more, in up to
/// so many small transactions of each kind.
pub async fn prune(settings: &Settings, store: &Store, now: Timestamp, steps: u32) -> Result<Pruned, StoreError> {
    let before = now.earlier_by(settings.state.runs_retention);
    let mut pruned = Pruned::default();
    for _ in 0..steps {
        let sweeps = store.prune_sweeps(before).await?;
        let runs = store.prune_runs(before).await?;
        let sightings = store.prune_sightings().await?;
        pruned.sweeps += sweeps;
        pruned.runs += runs;
        pruned.sightings += sightings;
        if sweeps + runs + sightings == 0 {
            break;
        }
    }
    Ok(pruned)
}

/// The verdict of the sweep in words.
pub fn verdict(summary: &Summary) -> Option<String> {
    summary.sweep.as_ref().map(|sweep| sweep.verdict.to_string())
}

/// Where the counts of a run say why it could not go on.
pub const FAILURE: &str = "failure";

/// The counts as the state keeps them, with the cause of a failure. `requests` are those to LiveDesk and to FIRST LINE.
pub fn counts(summary: &Summary, failure: Option<&str>, requests: (u64, u64), duration_ms: i64) -> Value {
    let mut counts = json!(summary);
    if let Some(failure) = failure {
        counts[FAILURE] = json!(failure);
    }
    counts["requests"] = json!({ "livedesk": requests.0, "firstline": requests.1 });
    counts["duration_ms"] = json!(duration_ms);
    counts
}
