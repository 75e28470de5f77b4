//! One run of the service, from what is due to what is recorded; and the quick cycle within a sweep.
//!
//! What costs requests and changes seldom is done once and kept: recognising both accounts, reading the definitions,
//! compiling the mapping. Before the first write of a run definitions that are older than a quarter of an hour are read
//! again, so a run that writes nothing asks FIRST LINE nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::sync::watch;

use super::again::Again;
use super::due::{Due, Kind};
use super::published::{Beginning, Current, Ended, Published, Standing};
use super::within::{Between, Definitions};
use crate::app::gate::{self, GateError};
use crate::app::{self, Platforms, Sides, Surroundings};
use crate::clock::Timestamp;
use crate::config::mapping_file::MappingSource;
use crate::config::settings::Settings;
use crate::domain::causes::with_causes;
use crate::domain::field::FieldDefinition;
use crate::domain::ids::{FirstLineId, RunId};
use crate::domain::sweep::Verdict;
use crate::mapping::Mapping;
use crate::ops::Ops;
use crate::store::{Hold, Store, StoreError};
use crate::sync::chronicle;
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::RunError;
use crate::sync::interlude::Played;
use crate::sync::pipeline::{Entrants, Pipeline, RunEnd};
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::scan::Goal;
use crate::sync::summary::Summary;
use crate::sync::tags::TagMemory;

/// A sweep has to be proven when the last proven one is older: a week, less half a day so that it is the same night.
const PROVEN_MS: i64 = 13 * 12 * 60 * 60 * 1000;
/// How often a run is begun anew, because the definitions changed under it, before it is left to the next activation.
const ANEW: u32 = 3;

/// What all runs of the service share.
pub(super) struct Works<P = Platforms> {
    pub(super) settings: Settings,
    pub(super) source: MappingSource,
    pub(super) store: Store,
    pub(super) platforms: P,
    pub(super) around: Surroundings,
    pub(super) due: Due,
    pub(super) ops: Ops,
    pub(super) board: watch::Sender<Published>,
    pub(super) tags: TagMemory,
    kept: Mutex<Kept>,
}

/// What is kept between runs.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) fit: Option<Fit>,
    /// Both accounts are those of the state.
    pub(super) recognised: bool,
    /// Requests of the quick cycles within the sweep under way, which are their own.
    aside: (u64, u64),
    /// A person asked for the sweep under way.
    proof: bool,
    /// Why a first backfill must not begin: tried again when a sweep is due or asked for, not with every sync.
    pub(super) held: Option<String>,
    /// The last sweep failed, and is to be tried again before the schedule says so.
    pub(super) again: Again,
}

/// The mapping, and the definitions that it was compiled against.
#[derive(Clone)]
pub(super) struct Fit {
    pub(super) mapping: Arc<Mapping>,
    pub(super) definitions: Arc<Vec<FieldDefinition>>,
    pub(super) read_at: Timestamp,
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

impl<P: Sides> Works<P> {
    pub(super) fn new(
        settings: Settings,
        source: MappingSource,
        store: Store,
        platforms: P,
        around: Surroundings,
        due: Due,
        ops: Ops,
    ) -> Self {
        let board = watch::Sender::new(Published::default());
        Self {
            ops,
            settings,
            source,
            store,
            platforms,
            around,
            due,
            board,
            tags: TagMemory::default(),
            kept: Mutex::default(),
        }
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.around.clock.now()
    }

    /// Plays what was asked for. Before anything was carried, that is a backfill.
    pub(super) async fn play(self: &Arc<Self>, asked: Kind) -> Outcome {
        match self.store.hold().await {
            Ok(Some(hold)) => return self.held(&hold),
            Ok(None) => self.board.send_if_modified(|board| {
                let held = matches!(board.standing, Standing::Held(_));
                if held {
                    board.standing = Standing::Starting;
                }
                held
            }),
            Err(error) => return self.refused(with_causes(&error)),
        };
        if asked == Kind::Sweep {
            self.kept().proof = self.due.take_proof();
        }
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
                let why = with_causes(&error);
                self.refused(why.clone());
                Outcome::Misfit(why)
            }
            Err(error) => self.refused(with_causes(&error)),
        }
    }

    /// Notes that a run was taken back, and that nothing is done until a person says so; says it once.
    fn held(&self, hold: &Hold) -> Outcome {
        let why = hold.to_string();
        if self.stands(Standing::Held(why.clone())) {
            tracing::warn!("{why}");
        }
        Outcome::Refused(why)
    }

    /// Notes how the service stands; whether that is news.
    fn stands(&self, standing: Standing) -> bool {
        self.board.send_if_modified(|board| {
            let is_new = board.standing != standing;
            board.standing = standing;
            is_new
        })
    }

    /// Notes that the service cannot work, and says so once.
    fn refused(&self, why: String) -> Outcome {
        if self.stands(Standing::Refused(why.clone())) {
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
    pub(super) async fn once(
        self: &Arc<Self>,
        kind: Kind,
        name: &'static str,
        directory: Option<&Arc<LazyDirectory>>,
    ) -> Result<(Ended, Played, Option<RunError>), NotBegun> {
        let since = self.now();
        self.board.send_modify(|board| board.beginning = Some(Beginning { name, since }));
        let begun = self.begin(name).await;
        let since = self.now();
        self.board.send_modify(|board| {
            board.beginning = None;
            board.current.extend(begun.iter().map(|(.., run)| Current { run: *run, name, since }));
        });
        let (fit, goal, run) = begun?;
        let before = self.platforms.requests();
        if directory.is_none() {
            self.kept().aside = (0, 0);
        }
        let result = self.carry(kind, run, fit, goal, directory).await;
        let (end, highest) = match result {
            Ok(ended) => ended,
            Err(error) => (RunEnd { summary: Summary::default(), failure: Some(error.into()) }, None),
        };
        let after = self.platforms.requests();
        let mut requests = (after.0 - before.0, after.1 - before.1);
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
        self.judge(&end, kind, name).await;
        let highest = highest.unwrap_or(FirstLineId(0));
        Ok((ended, Played { highest }, end.failure))
    }

    /// Whatever comes before a run has a number. A platform that is down is waited for here.
    async fn begin(self: &Arc<Self>, name: &'static str) -> Result<(Fit, Goal, RunId), NotBegun> {
        let fit = self.fit().await?;
        let goal = self.goal(name).await?;
        let run = self.store.begin_run(name, &json!({})).await?;
        chronicle::began(run, name);
        Ok((fit, goal, run))
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
            None => pipeline.with_interlude(Arc::new(Between::new(Arc::clone(self)))),
        };
        let entrants = match kind {
            Kind::Sync => Entrants::Recent,
            Kind::Sweep => Entrants::All,
        };
        let end = pipeline.run(entrants).await;
        Ok((end, Some(pipeline.highest())))
    }

    async fn pipeline(
        self: &Arc<Self>,
        run: RunId,
        mapping: Arc<Mapping>,
    ) -> Result<Pipeline<P::Source, P::Target>, StoreError> {
        let store = self.store.clone();
        let engine = app::engine(&self.settings, &self.platforms, store, mapping, &self.around, run).await?;
        let engine = engine.guarded_by(Arc::new(Definitions(Arc::clone(self)))).remembering(self.tags.clone());
        Ok(app::pipeline_of(&self.settings, Arc::clone(self.platforms.source()), engine))
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
        let definitions = self.platforms.target().definitions().await?;
        let mapping = gate::mapping(&self.settings, &self.source, &definitions, &self.store).await?;
        for stopped in mapping.stopped() {
            tracing::warn!("{stopped}; nothing is written to it, see `deskferry check`");
        }
        let fit = Fit { mapping: Arc::new(mapping), definitions: Arc::new(definitions), read_at: self.now() };
        if !self.kept().recognised {
            // No run yet, so its number is none; nothing is written under it.
            let pipeline = self.pipeline(RunId(0), Arc::clone(&fit.mapping)).await?;
            pipeline.preflight(&Entrants::All).await?;
            self.platforms.remember(&self.store).await?;
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

    /// A nightly sweep may end *counted*; once a week, the first time, and when a person asks, it has to be *proven*.
    async fn goal(&self, name: &str) -> Result<Goal, StoreError> {
        let proven = self.store.last_sweep_that_was(Verdict::Proven).await?;
        let ended = proven.and_then(|sweep| sweep.ended_at.unless_ahead_of(self.now()));
        let recent = ended.is_some_and(|at| self.now().0 - at.0 < PROVEN_MS);
        let asked = self.kept().proof;
        Ok(if recent && !asked && name == Kind::Sweep.as_str() { Goal::Counted } else { Goal::Proven })
    }
}
