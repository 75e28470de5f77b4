//! One run of the service, from what is due to what is recorded; and the quick cycle within a sweep.
//!
//! What costs requests and changes seldom is done once and kept: recognising both accounts, reading the definitions,
//! compiling the mapping. Before the first write of a run definitions that are older than a quarter of an hour are read
//! again, so a run that writes nothing asks FIRST LINE nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, LocalBoxFuture};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::due::{Due, Kind};
use super::published::{Current, Ended, Published, Standing};
use crate::app::gate::{self, GateError};
use crate::app::{self, Platforms, Run, Surroundings, runs};
use crate::clock::Timestamp;
use crate::config::mapping_file::MappingSource;
use crate::config::settings::Settings;
use crate::domain::field::FieldDefinition;
use crate::domain::ids::{FirstLineId, RunId};
use crate::domain::sweep::Verdict;
use crate::mapping::Mapping;
use crate::store::{RunResult, Store, StoreError};
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::RunError;
use crate::sync::gate::WriteGate;
use crate::sync::interlude::{Interlude, Played};
use crate::sync::pipeline::{Entrants, RunEnd};
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::scan::Goal;
use crate::sync::summary::Summary;

/// Definitions that are older are read again before the first write of a run.
const FRESH_MS: i64 = 15 * 60 * 1000;
/// A sweep has to be proven when the last proven one is older: a week, less half a day so that it is the same night.
const PROVEN_MS: i64 = 13 * 12 * 60 * 60 * 1000;
/// How often a run is begun anew, because the definitions changed under it, before it is left to the next activation.
const ANEW: u32 = 3;

/// What all runs of the service share.
pub(super) struct Works {
    pub(super) settings: Settings,
    pub(super) source: MappingSource,
    pub(super) store: Store,
    pub(super) platforms: Platforms,
    pub(super) around: Surroundings,
    pub(super) due: Due,
    pub(super) board: watch::Sender<Published>,
    kept: Mutex<Kept>,
}

/// What is kept between runs.
#[derive(Default)]
struct Kept {
    fit: Option<Fit>,
    /// Both accounts are those of the state.
    recognised: bool,
    /// Requests of the quick cycles within the sweep under way, which are their own.
    aside: (u64, u64),
    /// Why a first backfill must not begin: tried again when a sweep is due or asked for, not with every sync.
    held: Option<String>,
}

/// The mapping, and the definitions that it was compiled against.
#[derive(Clone)]
struct Fit {
    mapping: Arc<Mapping>,
    definitions: Arc<Vec<FieldDefinition>>,
    read_at: Timestamp,
}

/// Why a run could not be begun.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotBegun {
    /// The mapping does not fit the tenant.
    #[error(transparent)]
    Mapping(#[from] GateError),
    /// A platform or the state.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<PortError> for NotBegun {
    fn from(error: PortError) -> Self {
        Self::Run(error.into())
    }
}

impl From<StoreError> for NotBegun {
    fn from(error: StoreError) -> Self {
        Self::Run(error.into())
    }
}

/// What came of an activation.
#[derive(Debug)]
pub enum Outcome {
    /// A run was played; how it ended.
    Ran(Ended),
    /// None was begun, and why.
    Refused(String),
    /// None was begun: the mapping does not fit the tenant's definitions.
    Misfit(String),
    /// The service is being stopped.
    Stopping,
}

impl Works {
    pub(super) fn new(
        settings: Settings,
        source: MappingSource,
        store: Store,
        platforms: Platforms,
        around: Surroundings,
    ) -> Self {
        let (due, board) = (Due::default(), watch::Sender::new(Published::default()));
        Self { settings, source, store, platforms, around, due, board, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.around.clock.now()
    }

    /// Plays what was asked for. Before anything was carried, that is a backfill.
    pub(super) async fn play(self: &Arc<Self>, asked: Kind) -> Outcome {
        let result = match self.what_for(asked).await {
            Ok(Ok((kind, name))) => {
                let mut last = self.once(kind, name, None).await;
                for _ in 1..ANEW {
                    if !matches!(last, Ok((_, _, Some(RunError::Drifted)))) {
                        break;
                    }
                    last = self.once(kind, name, None).await;
                }
                last.map(|(ended, ..)| ended)
            }
            Ok(Err(held)) => return self.refused(held),
            Err(error) => Err(error.into()),
        };
        match result {
            Ok(ended) => Outcome::Ran(ended),
            Err(NotBegun::Run(error)) if error.is_interruption() => Outcome::Stopping,
            Err(error @ NotBegun::Mapping(GateError::Problems(_))) => {
                let why = chain(&error);
                self.refused(why.clone());
                Outcome::Misfit(why)
            }
            Err(error) => self.refused(chain(&error)),
        }
    }

    /// Notes that the service cannot work, and says so once.
    fn refused(&self, why: String) -> Outcome {
        let standing = Standing::Refused(why.clone());
        let is_new = self.board.send_if_modified(|board| {
            let is_new = board.standing != standing;
            board.standing = standing;
            is_new
        });
        if is_new {
            tracing::error!("{why}; tried again at the next activation");
        }
        Outcome::Refused(why)
    }

    /// What an activation comes to: as what it is played, or why it is not.
    async fn what_for(&self, asked: Kind) -> Result<Result<(Kind, &'static str), String>, StoreError> {
        let empty = self.store.is_empty().await?;
        if !empty {
            self.kept().held = None;
            let whole = self.store.last_whole_sweep().await?.is_some();
            let name = match asked {
                Kind::Sweep if !whole => "backfill",
                kind => kind.as_str(),
            };
            return Ok(Ok((asked, name)));
        }
        if !self.settings.service.startup_backfill {
            return Ok(Err(String::from(
                "nothing was carried yet, and service.startup_backfill is off: run `deskferry backfill` first",
            )));
        }
        if asked == Kind::Sync
            && let Some(held) = self.kept().held.clone()
        {
            return Ok(Err(held));
        }
        // A backfill carries whatever a sync would, and is the sweep that is due.
        for kind in Kind::ALL {
            self.due.take(kind);
        }
        Ok(Ok((Kind::Sweep, "backfill")))
    }

    /// One run. Its own failure is told in what it gives; an error says that it was not begun at all.
    async fn once(
        self: &Arc<Self>,
        kind: Kind,
        name: &'static str,
        directory: Option<&Arc<LazyDirectory>>,
    ) -> Result<(Ended, Played, Option<RunError>), NotBegun> {
        let fit = self.fit().await?;
        let goal = self.goal(name).await?;
        let run = self.store.begin_run(name, &json!({})).await?;
        let since = self.now();
        self.board.send_modify(|board| board.current.push(Current { run, name, since }));
        let before = self.platforms.counts();
        if directory.is_none() {
            self.kept().aside = (0, 0);
        }
        let result = self.carry(kind, run, fit, goal, directory).await;
        let (end, highest) = match result {
            Ok(ended) => ended,
            Err(error) => (RunEnd { summary: Summary::default(), failure: Some(error.into()) }, None),
        };
        let after = self.platforms.counts();
        let mut requests = (after.0.requests - before.0.requests, after.1.requests - before.1.requests);
        {
            let aside = &mut self.kept().aside;
            if directory.is_some() {
                *aside = (aside.0 + requests.0, aside.1 + requests.1);
            } else {
                requests = (requests.0 - aside.0, requests.1 - aside.1);
            }
        }
        let ended = self.record(kind, name, run, since, &end, requests).await;
        self.board.send_modify(|board| board.current.retain(|current| current.run != run));
        self.judge(&end, name).await;
        let highest = highest.unwrap_or(FirstLineId(0));
        Ok((ended, Played { highest }, end.failure))
    }

    async fn carry(
        self: &Arc<Self>,
        kind: Kind,
        run: RunId,
        fit: Fit,
        goal: Goal,
        directory: Option<&Arc<LazyDirectory>>,
    ) -> Result<(RunEnd, Option<FirstLineId>), StoreError> {
        let pipeline = self.pipeline(run, fit.mapping).await?.with_goal(goal);
        let pipeline = match directory {
            Some(directory) => pipeline.sharing(Arc::clone(directory)),
            None => pipeline.with_interlude(Arc::new(Between(Arc::clone(self)))),
        };
        let entrants = match kind {
            Kind::Sync => Entrants::Recent,
            Kind::Sweep => Entrants::All,
        };
        let end = pipeline.run(entrants).await;
        Ok((end, Some(pipeline.highest())))
    }

    async fn pipeline(self: &Arc<Self>, run: RunId, mapping: Arc<Mapping>) -> Result<Run, StoreError> {
        let store = self.store.clone();
        let engine = app::engine(&self.settings, &self.platforms, store, mapping, &self.around, run).await?;
        let engine = engine.guarded_by(Arc::new(Definitions(Arc::clone(self))));
        Ok(app::pipeline_of(&self.settings, &self.platforms, engine))
    }

    /// The mapping to run with: the one that is kept, or one that fits the definitions as they are now, after a look at
    /// both accounts.
    async fn fit(self: &Arc<Self>) -> Result<Fit, NotBegun> {
        let kept = {
            let kept = self.kept();
            kept.fit.clone().filter(|_| kept.recognised)
        };
        if let Some(fit) = kept {
            return Ok(fit);
        }
        let definitions = self.platforms.firstline.definitions().await?;
        let mapping = gate::mapping(&self.settings, &self.source, &definitions, &self.store).await?;
        for stopped in mapping.stopped() {
            tracing::warn!("{stopped}; nothing is written to it, see `deskferry check`");
        }
        let fit = Fit { mapping: Arc::new(mapping), definitions: Arc::new(definitions), read_at: self.now() };
        if !self.kept().recognised {
            // No run yet, so its number is none; nothing is written under it.
            let pipeline = self.pipeline(RunId(0), Arc::clone(&fit.mapping)).await?;
            pipeline.preflight(&Entrants::All).await?;
            app::remember(&self.store, &self.platforms).await?;
        }
        let mut kept = self.kept();
        kept.recognised = true;
        kept.fit = Some(fit.clone());
        drop(kept);
        // A first backfill takes hours, and is what it is there for.
        self.board.send_if_modified(|board| {
            let starting = board.standing == Standing::Starting;
            if starting {
                board.standing = Standing::Ready;
            }
            starting
        });
        Ok(fit)
    }

    /// A nightly sweep may end *counted*; once a week, and the first time, it has to be *proven*.
    async fn goal(&self, name: &str) -> Result<Goal, StoreError> {
        let proven = self.store.last_sweep_that_was(Verdict::Proven).await?;
        let recent = proven.is_some_and(|sweep| self.now().0 - sweep.ended_at.0 < PROVEN_MS);
        Ok(if recent && name == Kind::Sweep.as_str() { Goal::Counted } else { Goal::Proven })
    }

    /// Records the end of a run, and tells it in one line. A state that cannot be written is told, and the service goes on.
    async fn record(
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
        let counts = runs::counts(&end.summary, requests, at.0 - since.0);
        let ended = Ended {
            run: Some(run),
            kind,
            name,
            at,
            exit,
            verdict: runs::verdict(&end.summary),
            counts: counts.clone(),
            failure: end.failure.as_ref().map(|failure| chain(failure)),
        };
        let result = RunResult { exit_code: i32::from(exit), verdict: ended.verdict.clone(), counts };
        let written = async {
            self.store.finish_run(run, result).await?;
            app::remember(&self.store, &self.platforms).await
        };
        if let Err(error) = written.await {
            tracing::error!(run = run.0, "the end of the run could not be recorded: {}", chain(&error));
        }
        let summary = &end.summary;
        let (livedesk, firstline) = requests;
        let line = format!(
            "{} created, {} adopted, {} updated, {} unchanged, {} set aside, {} parked, {} in conflict",
            summary.created,
            summary.adopted,
            summary.updated,
            summary.unchanged,
            summary.set_aside,
            summary.parked,
            summary.conflicts
        );
        let verdict = ended.verdict.as_deref();
        let ms = at.0 - since.0;
        match &ended.failure {
            Some(why) if exit == runs::COULD_NOT_GO_ON => {
                tracing::error!(run = run.0, kind = name, exit, livedesk, firstline, ms, "{why}; {line}");
            }
            _ => tracing::info!(run = run.0, kind = name, exit, verdict, livedesk, firstline, ms, "{line}"),
        }
        self.board.send_modify(|board| {
            board.last.insert(kind, ended.clone());
        });
        self.look_at_lags().await;
        ended
    }

    /// What a run's end says of the service, and of what is kept.
    async fn judge(&self, end: &RunEnd, name: &str) {
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
                    kept.held = Some(chain(failure));
                }
                drop(kept);
                self.board.send_modify(|board| board.standing = Standing::Refused(chain(failure)));
            }
            // A failure of another kind says nothing about the next run.
            Some(_) => {}
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
            Err(error) => tracing::error!("the state could not be read: {}", chain(&error)),
        }
    }

    /// Ends a run that nobody ended: the process that began it died.
    pub(super) async fn close_orphans(&self) -> Result<(), StoreError> {
        for run in self.store.runs(ORPHANS).await? {
            if run.ended_at.is_none() {
                let counts = Value::Object(Map::new());
                let result = RunResult { exit_code: i32::from(runs::INTERRUPTED), verdict: None, counts };
                self.store.finish_run(run.id, result).await?;
            }
        }
        Ok(())
    }
}

/// Runs that are looked at for one that nobody ended: two can be open at most, a sweep and the sync within it.
const ORPHANS: u32 = 10;

/// A failure with its causes.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// The quick cycle between two pages of a sweep.
struct Between(Arc<Works>);

impl Interlude for Between {
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
                Err(error @ NotBegun::Mapping(_)) => Err(RunError::Refused(chain(&error))),
            }
        })
    }
}

/// The look at the definitions before the first write of a run.
struct Definitions(Arc<Works>);

impl WriteGate for Definitions {
    fn is_open(&self) -> BoxFuture<'_, Result<bool, PortError>> {
        Box::pin(async move {
            let works = &self.0;
            let Some(fit) = works.kept().fit.clone() else { return Ok(false) };
            let now = works.now();
            if now.0 - fit.read_at.0 < FRESH_MS {
                return Ok(true);
            }
            let found = works.platforms.firstline.definitions().await?;
            let same = found == *fit.definitions;
            if let (true, Some(fit)) = (same, &mut works.kept().fit) {
                fit.read_at = now;
            }
            Ok(same)
        })
    }
}
