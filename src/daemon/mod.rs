//! The service: one loop that does one thing at a time, for weeks.
//!
//! `schedule` and triggers only say what is `due`; the loop takes it and `works` plays it as a run. A sweep lets a quick
//! cycle that is due go first between two of its pages. Nothing else overlaps, ever. What the outside may know is
//! `published`. A failed run is recorded and the loop goes on; a refusal is kept as the standing of the service and tried
//! again at the next activation.

mod again;
pub mod due;
mod ending;
mod face;
mod lifecycle;
pub mod published;
pub mod schedule;
mod tell;
mod tidy;
mod within;
mod works;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::due::{Due, Kind};
use self::face::Face;
use self::lifecycle::Manager;
use self::published::{Published, Standing};
use self::schedule::{Schedule, ScheduleError};
use self::works::Works;
use crate::app::{self, AppError, Platforms, Sides, Surroundings};
use crate::clock::Timestamp;
use crate::config::Problems;
use crate::config::load::Loaded;
use crate::config::settings::Settings;
use crate::ops::OpsError;
use crate::store::{Store, StoreError};

pub use tell::Log;
pub use works::Outcome;

/// Why the service could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The parts could not be put together.
    #[error(transparent)]
    App(#[from] AppError),
    /// The mapping file.
    #[error(transparent)]
    Mapping(#[from] Problems),
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// What the service shows of itself.
    #[error(transparent)]
    Ops(#[from] OpsError),
    /// The mapping does not fit the tenant, at the first start.
    #[error("{0}")]
    Misfit(String),
}

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// What was in flight was finished.
    Clean,
    /// What was in flight took longer than `service.drain`; the state is as after a power cut.
    CutOff,
}

/// The service.
pub struct Service<P = Platforms> {
    works: Arc<Works<P>>,
    /// Until it is shown.
    face: Option<Face>,
    stop: CancellationToken,
}

impl Service {
    /// Puts the service together over a state that is held for its whole life. Sends nothing.
    pub async fn new(loaded: Loaded, store: Store, around: Surroundings) -> Result<Self, ServiceError> {
        let learned = app::learned(&store).await?;
        let connect =
            |settings: &Settings, inboxes, around: &Surroundings| app::connect(settings, inboxes, &learned, around);
        Self::over(loaded, store, around, connect).await
    }
}

impl<P: Sides> Service<P> {
    /// The same over other platforms; `connect` is told whether the mapping reads `contact_inboxes`.
    pub async fn over(
        loaded: Loaded,
        store: Store,
        around: Surroundings,
        connect: impl FnOnce(&Settings, bool, &Surroundings) -> Result<P, AppError>,
    ) -> Result<Self, ServiceError> {
        let Loaded { settings, mapping, .. } = loaded;
        let due = Due::default();
        let face = Face::open(&settings, store.clone(), Arc::clone(&around.clock), due.clone()).await?;
        let requests = Some(face.ops.watch());
        let around = Surroundings { leaves_doubts: true, no_wait: false, requests, ..around };
        let offline = app::compile_mapping(&settings, &mapping, None)?;
        let platforms = connect(&settings, offline.needs_inboxes(), &around)?;
        let stop = around.stop.clone();
        let works = Works::new(settings, mapping, store, platforms, around, due, face.ops.clone());
        works.close_orphans().await?;
        // Not with the first run: that may have to wait for a platform first, and its doubts with it.
        works.store.park_left_overs(works.now()).await?;
        works.look_at_lags().await;
        if let Some(held) = face::held_before(&works.store).await? {
            works.ops.board.deletes(held);
        }
        Ok(Self { works: Arc::new(works), face: Some(face), stop })
    }

    /// Where work is asked for: the schedule's and every trigger's way in.
    pub fn due(&self) -> Due {
        self.works.due.clone()
    }

    /// What the service says of itself, now and later.
    pub fn published(&self) -> watch::Receiver<Published> {
        self.works.board.subscribe()
    }

    /// The state, for whoever shows it.
    pub fn store(&self) -> &Store {
        &self.works.store
    }

    /// Asks for what a start owes: everything where no sweep came to its end yet, or one was slept through; else a sync.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let (store, schedule) = (&self.works.store, &self.works.settings.schedule);
        let now = self.works.around.clock.now();
        let missed = match store.last_whole_sweep().await? {
            None => true,
            Some(sweep) => schedule::came_round(schedule, Kind::Sweep, sweep.started_at, now),
        };
        if missed || store.open_sweep().await?.is_some() {
            self.works.due.ask(Kind::Sweep);
        }
        self.works.due.ask(Kind::Sync);
        Ok(())
    }

    /// Does the next thing that is due; `None` when nothing is.
    pub async fn step(&self) -> Option<Outcome> {
        let kind = self.works.due.take_next()?;
        Some(self.works.play(kind).await)
    }

    /// When each kind is due next, for whoever keeps the schedule instead of [`Self::run`].
    pub fn expects(&self, next: BTreeMap<Kind, Timestamp>) {
        self.keep_time(next);
        face::put(&self.works.ops, &self.works, &self.works.board.borrow());
    }

    /// Has the alarms judged once, as [`Self::run`] does after each run and once a minute; those that stand.
    pub async fn alarms(&self) -> serde_json::Value {
        face::put(&self.works.ops, &self.works, &self.works.board.borrow());
        self.works.ops.tick().await;
        self.works.ops.alerts.standing()
    }

    /// Works until it is stopped.
    pub async fn run(mut self) -> Result<Ending, ServiceError> {
        let (shown, mut tasks) = (CancellationToken::new(), JoinSet::new());
        if let Some(face) = self.face.take() {
            face.show(&self.works, &shown, &mut tasks);
        }
        let ending = self.work().await;
        // What is shown is shown until the last run has ended; then the state can be closed.
        shown.cancel();
        while tasks.join_next().await.is_some() {}
        let ending = ending?;
        if ending == Ending::Clean {
            self.works.store.clone().close().await;
            tracing::info!("the service is stopped");
        } else {
            tracing::warn!("what was in flight took longer than service.drain; the next start settles it");
        }
        Ok(ending)
    }

    async fn work(&self) -> Result<Ending, ServiceError> {
        self.catch_up().await?;
        let mut schedule =
            Schedule::start(&self.works.settings.schedule, self.due(), Arc::clone(&self.works.around.clock)).await?;
        let mut manager = Manager::from_environment();
        let mut beat = tokio::time::interval(manager.interval());
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        lifecycle::ready();
        tracing::info!("the service is up");
        let drain = self.works.settings.service.drain;
        let mut first = true;
        let ending = loop {
            let kind = tokio::select! {
                biased;
                () = self.stop.cancelled() => break Ending::Clean,
                _ = beat.tick() => {
                    self.turn(&mut schedule, &mut manager).await?;
                    continue;
                }
                kind = self.works.due.next() => kind,
            };
            let run = self.works.play(kind);
            tokio::pin!(run);
            let cut_off = self.drained();
            tokio::pin!(cut_off);
            let mut asked_to_stop = false;
            let outcome = loop {
                tokio::select! {
                    outcome = &mut run => break Some(outcome),
                    () = self.stop.cancelled(), if !asked_to_stop => {
                        asked_to_stop = true;
                        manager.stopping(drain);
                    }
                    _ = beat.tick() => self.turn(&mut schedule, &mut manager).await?,
                    () = &mut cut_off => break None,
                }
            };
            match outcome {
                None => break Ending::CutOff,
                Some(_) if self.stop.is_cancelled() => break Ending::Clean,
                Some(Outcome::Misfit(why)) if first => return Err(ServiceError::Misfit(why)),
                Some(Outcome::Ran(_)) => first = false,
                Some(Outcome::Misfit(_) | Outcome::Refused(_) | Outcome::Stopping) => {}
            }
        };
        manager.stopping(drain);
        schedule.end().await?;
        Ok(ending)
    }

    /// Ends when the service was asked to stop and what is in flight has had its time.
    async fn drained(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(self.works.settings.service.drain).await;
    }

    /// What is done every few seconds, whatever else is under way.
    async fn turn(&self, schedule: &mut Schedule, manager: &mut Manager) -> Result<(), ScheduleError> {
        schedule.look().await?;
        self.keep_time(Kind::ALL.into_iter().filter_map(|kind| Some((kind, schedule.next(kind)?))).collect());
        manager.beat(self.status());
        Ok(())
    }

    /// What is due next, and a sweep that is to be tried again.
    fn keep_time(&self, next: BTreeMap<Kind, Timestamp>) {
        self.works.ask_again();
        self.publish_next(next);
    }

    fn publish_next(&self, next: BTreeMap<Kind, Timestamp>) {
        self.works.board.send_if_modified(|board| {
            let changed = board.next != next;
            board.next = next;
            changed
        });
    }

    /// What the service does now, in a few words.
    fn status(&self) -> String {
        let board = self.works.board.borrow();
        if let Some(beginning) = board.beginning {
            return format!("{} begins", beginning.name);
        }
        match (&board.standing, board.current.as_slice()) {
            (_, [.., current]) => format!("{} (run {})", current.name, current.run),
            (Standing::Refused(why), []) => format!("refused: {why}"),
            (Standing::Held(why), []) => why.clone(),
            (Standing::Starting | Standing::Ready, []) => String::from("waiting for the next activation"),
        }
    }
}
