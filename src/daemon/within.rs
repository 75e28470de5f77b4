//! What comes up within a run: the quick cycle between two pages of a sweep, and the look before the first write.

use std::sync::Arc;

use futures::future::{BoxFuture, LocalBoxFuture};

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
pub(super) struct Between<P: Sides>(pub(super) Arc<Works<P>>);

impl<P: Sides> Interlude for Between<P> {
    fn due(&self) -> bool {
        self.0.due.is_due(Kind::Sync)
    }

    fn play<'a>(&'a self, directory: &'a Arc<LazyDirectory>) -> LocalBoxFuture<'a, Result<Played, RunError>> {
        Box::pin(async move {
            self.0.due.take(Kind::Sync);
            match self.0.once(Kind::Sync, Kind::Sync.as_str(), Some(directory)).await {
                Ok((_, _, Some(RunError::Drifted))) => {
                    // Both begin anew.
                    self.0.due.ask(Kind::Sync);
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
            let Some(fit) = works.kept().fit.clone() else { return Ok(false) };
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
