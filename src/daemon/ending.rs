//! The end of a run: recorded, told in one line, and what it says of the service.

use serde_json::Value;

use super::due::Kind;
use super::face::held_deletes;
use super::published::{Ended, Standing};
use super::works::Works;
use crate::app::{Sides, runs};
use crate::clock::Timestamp;
use crate::domain::causes::with_causes;
use crate::domain::ids::RunId;
use crate::domain::outcome::RunVerdict;
use crate::domain::sweep::Verdict;
use crate::store::{DIED, RunResult, StoreError};
use crate::sync::chronicle;
use crate::sync::engine::RunError;
use crate::sync::pipeline::RunEnd;

/// So many runs of one kind that died one after the other are no accident: something in them kills the process.
const ACCIDENTS: u32 = 3;

impl<P: Sides> Works<P> {
    /// Records the end of a run, and tells it in one line. A state that cannot be written is told, and the service goes on.
    pub(super) async fn record(
        &self,
        kind: Kind,
        name: &'static str,
        run: RunId,
        since: Timestamp,
        end: &RunEnd,
        requests: (u64, u64),
    ) -> Ended {
        let at = self.now();
        let exit = runs::exit_code(end);
        let failure = end.failure.as_ref().map(|failure| with_causes(failure));
        let counts = runs::counts(&end.summary, failure.as_deref(), requests, at.0 - since.0);
        let ended = Ended {
            run: Some(run),
            kind,
            name,
            at,
            exit,
            verdict: runs::verdict(&end.summary),
            counts: counts.clone(),
            failure,
        };
        let result = RunResult { exit_code: i32::from(exit), verdict: ended.verdict.clone(), counts };
        let written = async {
            self.store.finish_run(run, result).await?;
            self.platforms.remember(&self.store).await?;
            runs::prune_journal(&self.settings, &self.store, at, runs::STEPS).await
        };
        if let Err(error) = written.await {
            tracing::error!(run = run.0, "the end of the run could not be recorded: {}", with_causes(&error));
        }
        chronicle::ended(run, name, at.0 - since.0, end);
        if let Some(held) = held_deletes(&end.summary, kind) {
            self.ops.board.deletes(held);
        }
        self.ops.run_ended(name, RunVerdict::of_exit(i32::from(exit)), &ended.counts);
        self.board.send_modify(|board| {
            board.last.insert(kind, ended.clone());
        });
        self.look_at_lags().await;
        if kind == Kind::Sweep {
            self.tidy().await;
        }
        ended
    }

    /// What a run's end says of the service, and of what is kept.
    pub(super) async fn judge(&self, end: &RunEnd, kind: Kind, name: &str) {
        if kind == Kind::Sweep {
            let passes = end.failure.as_ref().is_some_and(|failure| {
                !failure.is_for_a_person() && !failure.is_interruption() && !matches!(failure, RunError::Drifted)
            });
            if passes {
                self.kept().again.failed(self.now());
            } else {
                self.kept().again.over();
            }
        }
        match &end.failure {
            None if end.summary.interrupted => {}
            None => self.board.send_modify(|board| board.standing = Standing::Ready),
            Some(RunError::Drifted) => self.kept().fit = None,
            Some(failure) if failure.is_for_a_person() => {
                // Both accounts are looked at again before anything else is done.
                let empty = self.store.is_empty().await.unwrap_or_default();
                let mut kept = self.kept();
                kept.recognised = false;
                kept.fit = None;
                if empty && name == "backfill" {
                    kept.held = Some(with_causes(failure));
                }
                drop(kept);
                self.board.send_modify(|board| board.standing = Standing::Refused(with_causes(failure)));
            }
            // A failure of another kind says nothing about the next run.
            Some(_) => {}
        }
    }

    /// Asks for a sweep that failed, when it is time: it goes on where that one stood.
    pub(super) fn ask_again(&self) {
        if self.kept().again.is_due(self.now()) {
            self.due.ask(Kind::Sweep);
        }
    }

    /// Reads from the state how far both lanes have come.
    pub(super) async fn look_at_lags(&self) {
        let read = async {
            let lane = self.store.lane().await?;
            let whole = self.store.last_whole_sweep().await?;
            let proven = self.store.last_sweep_that_was(Verdict::Proven).await?;
            Ok::<_, StoreError>((lane, whole, proven))
        };
        match read.await {
            Ok((lane, whole, proven)) => self.board.send_modify(|board| {
                board.carried_until = lane.and_then(|lane| lane.carried_until);
                board.swept_since = whole.as_ref().map(|sweep| sweep.started_at);
                board.last_sweep = whole.map(|sweep| (sweep.ended_at, sweep.verdict));
                board.last_proven = proven.map(|sweep| sweep.ended_at);
            }),
            Err(error) => tracing::error!("the state could not be read: {}", with_causes(&error)),
        }
    }

    /// Ends a run that nobody ended: the process that began it died. That happens; where the runs of one kind before it died
    /// as well, it is no accident, and the run has failed.
    pub(super) async fn close_orphans(&self) -> Result<(), StoreError> {
        // Oldest first: what died before counts for the one after it. However many runs ended since: each sync within a sweep
        // is one.
        for run in self.store.open_runs().await?.into_iter().rev() {
            let earlier = self.store.runs_before(&run.kind, run.id, ACCIDENTS - 1).await?;
            let all_died = earlier.iter().all(|earlier| earlier.counts.get(DIED).is_some());
            let accident = earlier.len() + 1 < ACCIDENTS as usize || !all_died;
            let exit = if accident { runs::INTERRUPTED } else { runs::COULD_NOT_GO_ON };
            let mut counts = run.counts.as_object().cloned().unwrap_or_default();
            counts.insert(DIED.to_owned(), true.into());
            let result = RunResult { exit_code: i32::from(exit), verdict: None, counts: Value::Object(counts) };
            self.store.finish_run(run.id, result).await?;
        }
        Ok(())
    }
}
