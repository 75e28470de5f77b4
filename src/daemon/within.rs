//! What comes up within a run: the quick cycle between two pages of a sweep, and the look before the first write.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, LocalBoxFuture};
use tokio::time::Instant;

use super::due::Kind;
use super::works::{NotBegun, Works};
use crate::app::Sides;
use crate::domain::causes::with_causes;
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::RunError;
use crate::sync::gate::WriteGate;
use crate::sync::interlude::{Interlude, Played};
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::tags;

/// Definitions that are older are read again before the first write of a run.
const FRESH_MS: i64 = 15 * 60 * 1000;

/// The quick cycle between two pages of a sweep.
pub(super) struct Between<P: Sides> {
    works: Arc<Works<P>>,
    turns: Mutex<Turns>,
}

impl<P: Sides> Between<P> {
    pub(super) fn new(works: Arc<Works<P>>) -> Self {
        Self { works, turns: Mutex::default() }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose turn it is. After a cycle the walk has as long as that took: cycles that are always due leave it half of the time.
#[derive(Default)]
struct Turns {
    /// When the last cycle ended, and how long it took.
    last: Option<(Instant, Duration)>,
}

impl Turns {
    fn is_of_the_cycle(&self, now: Instant) -> bool {
        self.last.is_none_or(|(ended, took)| now.saturating_duration_since(ended) >= took)
    }
}

impl<P: Sides> Interlude for Between<P> {
    fn due(&self) -> bool {
        self.works.due.is_due(Kind::Sync) && self.turns().is_of_the_cycle(Instant::now())
    }

    fn play<'a>(&'a self, directory: &'a Arc<LazyDirectory>) -> LocalBoxFuture<'a, Result<Played, RunError>> {
        Box::pin(async move {
            self.works.due.take(Kind::Sync);
            let began = Instant::now();
            let played = self.works.once(Kind::Sync, Kind::Sync.as_str(), Some(directory)).await;
            self.turns().last = Some((Instant::now(), began.elapsed()));
            match played {
                Ok((_, _, Some(RunError::Drifted))) => {
                    // Both begin anew.
                    self.works.due.ask(Kind::Sync);
                    Err(RunError::Drifted)
                }
                Ok((_, played, _)) => Ok(played),
                Err(NotBegun::Run(error)) => Err(error),
                Err(error @ NotBegun::Mapping(_)) => Err(RunError::Refused(with_causes(&error))),
            }
        })
    }
}

/// The look at the definitions, and at the tags, before the first write of a run.
pub(super) struct Definitions<P: Sides>(pub(super) Arc<Works<P>>);

impl<P: Sides> WriteGate for Definitions<P> {
    fn is_open(&self) -> BoxFuture<'_, Result<bool, PortError>> {
        Box::pin(async move {
            let works = &self.0;
            let Some(fit) = works.kept().fit.clone() else {
                // A cycle within this run let go of it: of a platform that refuses everything, so this run says so as well.
                works.platforms.target().definitions().await?;
                return Ok(false);
            };
            let now = works.now();
            if fit.read_at.unless_ahead_of(now).is_some_and(|at| now.0 - at.0 < FRESH_MS) {
                return Ok(true);
            }
            let found = works.platforms.target().definitions().await?;
            let mut same = found == *fit.definitions;
            for (name, ids) in works.tags.all() {
                // What is refused now is for the next try to tell of.
                same &= matches!(tags::shows_all(works.platforms.target().as_ref(), &name, &ids).await, Ok(true));
            }
            if !same {
                works.tags.forget();
            }
            if let (true, Some(fit)) = (same, &mut works.kept().fit) {
                fit.read_at = now;
            }
            Ok(same)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cycles_that_are_always_due_leave_a_sweep_half_of_the_time() {
        let minute = |minutes: u64| Duration::from_secs(60 * minutes);
        let start = Instant::now();
        let mut turns = Turns::default();
        assert!(turns.is_of_the_cycle(start), "the first one goes at once");
        turns.last = Some((start + minute(6), minute(6)));
        for (at, cycle) in [(6, false), (11, false), (12, true), (60, true)] {
            assert_eq!(turns.is_of_the_cycle(start + minute(at)), cycle, "after {at} minutes");
        }
        turns.last = Some((start + minute(6), Duration::ZERO));
        assert!(turns.is_of_the_cycle(start + minute(6)), "one that costs nothing is played whenever it is due");
    }
}
