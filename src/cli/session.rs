//! What every command that moves contacts does first and last: open the state, connect, compile, begin a run; end it.

use std::sync::Arc;

use serde_json::Value;

use super::output::Failure;
use super::progress::Bar;
use super::summary::{Lists, NAMED, Report};
use super::{Context, near, output};
use crate::app::plan::{self, PlanRun, PlanTarget};
use crate::app::{self, Platforms, Surroundings, gate, runs};
use crate::clock::Timestamp;
use crate::config::load::Loaded;
use crate::config::settings::Settings;
use crate::domain::ids::{LiveDeskId, RunId};
use crate::mapping::Mapping;
use crate::store::{RunResult, Store};
use crate::sync::chronicle;
use crate::sync::overseer::Overseer;
use crate::sync::pipeline::RunEnd;
use crate::sync::ports::ContactTarget;
use crate::sync::progress::Progress;

/// The kind of run that writes to a copy of the state and to no platform.
pub const PLAN: &str = "plan";

/// A run that has begun.
pub struct Session {
    /// Settings.
    pub settings: Settings,
    /// The state.
    pub store: Store,
    /// Both platforms.
    pub platforms: Platforms,
    /// The run's number.
    pub run: RunId,
    /// Where it is shown.
    pub bar: Arc<Bar>,
    kind: String,
    around: Surroundings,
    started: Timestamp,
}

/// Connects and begins a run of this kind. Every problem of configuration and mapping is found before anything is
/// written to FIRST LINE.
pub async fn begin(
    context: &Context,
    loaded: Loaded,
    kind: &str,
    options: &Value,
) -> Result<(Session, Mapping), Failure> {
    let settings = loaded.settings;
    let bar = Arc::new(if kind == PLAN { Bar::of_a_plan() } else { Bar::on_stderr() });
    let around = context.surroundings(Arc::clone(&bar) as Arc<dyn Progress>);
    let offline = app::compile_mapping(&settings, &loaded.mapping, None)?;
    let store = context.open_state(&settings, kind).await?;
    let learned = app::learned(&store).await?;
    let platforms = app::connect(&settings, offline.needs_inboxes(), &learned, &around)?;
    let definitions = platforms.firstline.definitions().await?;
    let mapping = gate::mapping(&settings, &loaded.mapping, &definitions, &store).await?;
    for stopped in mapping.stopped() {
        output::note(format_args!("warning: {stopped}; nothing is written to it in this run, see `deskferry check`"));
    }
    let run = store.begin_run(kind, &store.without_forgotten(options.clone()).await?).await?;
    let started = context.clock.now();
    Ok((Session { settings, store, platforms, run, bar, kind: kind.to_owned(), around, started }, mapping))
}

impl Session {
    /// The pipeline of this run.
    pub async fn pipeline(&self, mapping: Mapping) -> Result<app::Run, Failure> {
        self.tell_begun();
        let store = self.store.clone();
        Ok(app::pipeline(&self.settings, &self.platforms, store, mapping, &self.around, self.run).await?)
    }

    /// The pipeline of a plan, and what it would ask of FIRST LINE.
    pub async fn planning(
        &self,
        mapping: Mapping,
        overseer: Arc<dyn Overseer>,
    ) -> Result<(PlanRun, Arc<PlanTarget>), Failure> {
        let store = self.store.clone();
        let run = (self.run, overseer);
        Ok(plan::pipeline(&self.settings, &self.platforms, store, mapping, &self.around, run).await?)
    }

    /// The pipeline of this run, asked before the first write of each contact.
    pub async fn guarded(&self, mapping: Mapping, overseer: Arc<dyn Overseer>) -> Result<app::Run, Failure> {
        let engine = self.engine(mapping).await?.overseen_by(overseer);
        Ok(app::pipeline_of(&self.settings, Arc::clone(&self.platforms.livedesk), engine))
    }

    /// The engine alone, for commands that carry no contacts.
    pub async fn engine(&self, mapping: Mapping) -> Result<app::TargetEngine, Failure> {
        self.tell_begun();
        let store = self.store.clone();
        Ok(app::engine(&self.settings, &self.platforms, store, mapping, &self.around, self.run).await?)
    }

    /// Tells the log that the run begins. Not of a plan: its number is one of the copy.
    pub fn tell_begun(&self) {
        if !self.bar.is_drawn() {
            chronicle::began(self.run, &self.kind);
        }
    }

    /// A command that carries contacts says so while a hold stands, and ends; it was no run.
    pub async fn unless_held(self) -> Result<Self, Failure> {
        match self.store.hold().await? {
            None => Ok(self),
            Some(hold) => {
                let message = format!("the state is {hold}; nothing was done");
                Err(self.decline(Failure::new(message)).await)
            }
        }
    }

    /// Records the end of the run, prints it, and gives the exit code.
    pub async fn end(self, end: RunEnd, json: bool) -> Result<u8, Failure> {
        self.bar.finish();
        let exit = runs::exit_code(&end);
        let (livedesk, firstline) = self.platforms.counts();
        let rehearsed: Vec<LiveDeskId> = end.summary.rehearsed.iter().map(|row| LiveDeskId(row.livedesk_id)).collect();
        let mut unknown = Vec::new();
        for id in end.summary.unknown_ids.iter().take(NAMED) {
            unknown.push((*id, near::contacts(&self.store, LiveDeskId(*id)).await?));
        }
        let report = Report {
            unknown,
            run: self.run,
            exit,
            summary: &end.summary,
            livedesk_requests: livedesk.requests,
            firstline_requests: firstline.requests,
            duration_ms: self.around.clock.now().0 - self.started.0,
            failure: end.failure.as_ref().map(|failure| Failure::chain(failure).to_string()),
            rehearsed_by: self.store.runs_that_changed(&rehearsed).await?,
        };
        if !self.bar.is_drawn() {
            chronicle::ended(self.run, &self.kind, report.duration_ms, &end);
        }
        // A list that cannot be written must not cost the report of the run.
        let lists = report.write_lists(&self.settings.state.path).unwrap_or_else(|failure| {
            output::note(format_args!("error: {failure}"));
            Lists::default()
        });
        if json {
            output::say(report.json(&lists));
        } else {
            output::say(report.text(&lists));
        }
        if let Some(failure) = &report.failure {
            output::note(format_args!("error: {failure}"));
        }
        self.close(exit, report.verdict(), report.counts()).await?;
        Ok(exit)
    }

    /// Ends the run without a summary.
    pub async fn close(self, exit: u8, verdict: Option<String>, counts: Value) -> Result<(), Failure> {
        let result = RunResult { exit_code: i32::from(exit), verdict, counts };
        self.store.finish_run(self.run, result).await?;
        app::remember(&self.store, &self.platforms).await?;
        runs::prune_journal(&self.settings, &self.store, self.around.clock.now(), runs::STEPS).await?;
        self.store.close().await;
        Ok(())
    }

    /// Takes back a run that a person did not want before it wrote anything: it says nothing about how the next one would go.
    pub async fn decline(self, failure: Failure) -> Failure {
        self.bar.finish();
        match self.store.drop_run(self.run).await {
            Ok(()) => {
                self.store.close().await;
                failure
            }
            Err(_) => self.refuse(failure).await,
        }
    }

    /// Ends a run that was refused before it wrote anything.
    pub async fn refuse(self, failure: Failure) -> Failure {
        self.bar.finish();
        match self.close(failure.code(), None, Value::Object(serde_json::Map::new())).await {
            Ok(()) => failure,
            Err(other) => Failure::new(format!("{failure}; and the state could not be written: {other}")),
        }
    }
}
