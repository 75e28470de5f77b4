//! One run from its first look to its summary. Every command that moves contacts goes through here; they differ only
//! in which contacts enter. `preflight` looks before the first write, `sweep` walks everything, `rehearse` picks a spread, `recent` what
//! moved lately, `again` carries single contacts, `settle` ends a run.

mod again;
mod preflight;
mod recent;
mod rehearse;
mod settle;
mod sweep;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use roaring::RoaringTreemap;
use serde_json::json;
use tracing::Instrument as _;

use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::outcome::Outcome;
use crate::sync::carrier::Waiting;
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::{Engine, RunError};
use crate::sync::interlude::Interlude;
use crate::sync::left_overs::LeftOvers;
use crate::sync::lookup::OLDEST_FIRST;
use crate::sync::ports::{ContactSource, ContactTarget};
use crate::sync::progress::{Phase, ProgressEvent};
use crate::sync::scan::Goal;
use crate::sync::settle::DOUBTS_A_RUN;
use crate::sync::summary::Summary;

pub use preflight::Preflight;

/// Look-ups that a quick cycle is taken to need: it meets a few new contacts, as a rule none.
const FEW: u64 = 15;
/// Dead letters that are counted as look-ups, at most.
const DUE: u32 = 10_000;

/// Which contacts enter a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entrants {
    /// Everything that LiveDesk lists.
    All,
    /// So many of them: a spread of all kinds.
    First(u64),
    /// These; dead letters and conflicts among them are tried again.
    Only(BTreeSet<LiveDeskId>),
    /// Those that wrote lately, and those that are new.
    Recent,
}

impl Entrants {
    /// How many doubts are looked at: a quick cycle stays quick, whatever earlier runs have left.
    fn doubts(&self) -> usize {
        if *self == Self::Recent { DOUBTS_A_RUN } else { usize::MAX }
    }
}

/// A run that is ready to begin.
pub struct Pipeline<S, T> {
    pub(super) source: Arc<S>,
    pub(super) engine: Arc<Engine<T>>,
    sweep_rounds: u32,
    goal: Goal,
    overlap: Duration,
    interlude: Option<Arc<dyn Interlude>>,
    directory: Option<Arc<LazyDirectory>>,
}

/// How a run ended: what it did until then, and the failure that ended it early, if one did.
#[derive(Debug)]
pub struct RunEnd {
    /// What was done.
    pub summary: Summary,
    /// Why it could not go on.
    pub failure: Option<RunError>,
}

impl<S: ContactSource, T: ContactTarget> Pipeline<S, T> {
    /// A run over these platforms.
    pub fn new(source: Arc<S>, engine: Arc<Engine<T>>, sweep_rounds: u32) -> Self {
        Self {
            source,
            engine,
            sweep_rounds,
            goal: Goal::Proven,
            overlap: Duration::ZERO,
            interlude: None,
            directory: None,
        }
    }

    /// What a sweep is to reach; *proven* where nothing else is said.
    #[must_use]
    pub fn with_goal(self, goal: Goal) -> Self {
        Self { goal, ..self }
    }

    /// How far the quick cycle looks back behind its mark.
    #[must_use]
    pub fn with_overlap(self, overlap: Duration) -> Self {
        Self { overlap, ..self }
    }

    /// What may come between two pages of a sweep.
    #[must_use]
    pub fn with_interlude(self, interlude: Arc<dyn Interlude>) -> Self {
        Self { interlude: Some(interlude), ..self }
    }

    /// Looks contacts up where the run looks that stands still for this one: what one of them creates, the other knows of.
    #[must_use]
    pub fn sharing(self, directory: Arc<LazyDirectory>) -> Self {
        Self { directory: Some(directory), ..self }
    }

    /// The highest target id that this run knows of.
    pub fn highest(&self) -> FirstLineId {
        FirstLineId(self.engine.highest())
    }

    /// Runs it. The state is resumable whatever happens.
    pub async fn run(&self, entrants: Entrants) -> RunEnd {
        let mut summary = Summary { stopped_fields: self.engine.mapping.stopped(), ..Summary::default() };
        let span = tracing::info_span!("run", run = self.engine.run.0);
        // A run is large; whoever waits for it need not be.
        let result = Box::pin(self.run_into(entrants, &mut summary).instrument(span)).await;
        let result = result.and(self.engine.keep_shown().await.map_err(RunError::from));
        let failure = match result {
            Ok(()) => None,
            Err(error) if error.is_interruption() => {
                summary.interrupted = true;
                None
            }
            Err(error) => Some(error),
        };
        if summary.interrupted || failure.is_some() {
            // What the run did not come to tell. A state that cannot be read is what the failure tells of.
            let _told = self.engine.tell_parked(&mut summary).await;
        }
        RunEnd { summary, failure }
    }

    async fn run_into(&self, entrants: Entrants, summary: &mut Summary) -> Result<(), RunError> {
        let engine = &self.engine;
        engine.progress.event(ProgressEvent::Phase(Phase::LeftOvers));
        let fresh = engine.store.is_empty().await?;
        if fresh && entrants == Entrants::Recent && self.directory.is_none() {
            return Err(RunError::Refused(
                "nothing was carried yet: a sync keeps in step what a first `deskferry backfill` has carried".into(),
            ));
        }
        engine.store.park_left_overs(engine.clock.now()).await?;
        engine.finish_trial().await?;
        let directory = match &self.directory {
            Some(shared) => Arc::clone(shared),
            None => Arc::new(LazyDirectory::new(fresh, self.look_ups(&entrants).await?)),
        };
        if fresh && self.directory.is_none() {
            // Nothing at the target may look like our stamp before the first write.
            engine.directory(&directory).await?;
        }
        if !matches!(entrants, Entrants::Only(_) | Entrants::Recent) {
            // A few contacts are not worth a walk over everybody who has a label: their tags stay as they are. Many labels take
            // long, so a quick cycle that is due is let in; what it leaves in doubt is settled after it.
            let between = async || {
                engine.go_on()?;
                self.let_in(&directory).await
            };
            engine.read_labels(&self.source, self.sweep_rounds, between, &mut summary.tags).await?;
        }
        engine.progress.event(ProgressEvent::Phase(Phase::LeftOvers));
        let LeftOvers { again: mut left_over, twins } = engine.settle_left_overs(entrants.doubts()).await?;
        // While a hold stands only those are carried for whom a person asked.
        let held = entrants != Entrants::All && engine.store.hold().await?.is_some();
        left_over.retain(|id, _| !held || matches!(&entrants, Entrants::Only(ids) if ids.contains(id)));
        if entrants != Entrants::All {
            // A whole sweep comes by and counts them.
            for id in twins {
                summary.count(id, Outcome::Conflict);
            }
        }
        engine.progress.event(ProgressEvent::Phase(Phase::Carry));
        let mut rehearsed = RoaringTreemap::new();
        let unfound = match &entrants {
            Entrants::All => self.sweep(&directory, left_over, summary).await?,
            Entrants::First(limit) => self.rehearse(&directory, left_over, *limit, &mut rehearsed, summary).await?,
            Entrants::Only(ids) => {
                let again = ids.iter().map(|id| (*id, None)).chain(left_over).collect();
                self.carry_ids(&directory, again, Waiting::TryAgain, summary).await?
            }
            Entrants::Recent => {
                let unfinished = left_over.iter().filter(|(_, intent)| intent.is_none()).map(|(id, _)| *id).collect();
                self.recent(&directory, left_over, summary).await?;
                self.carry_unfinished(&directory, unfinished, summary).await?;
                self.carry_due(&directory, summary).await?;
                BTreeSet::new()
            }
        };
        let asked_for = held.then(|| match &entrants {
            Entrants::Only(ids) => ids.iter().map(|id| id.0.unsigned_abs()).collect(),
            _ => rehearsed,
        });
        self.settle_all(&directory, &entrants, asked_for.as_ref(), unfound, summary).await?;
        self.audit(entrants.doubts(), summary).await?;
        self.name_records(summary).await?;
        engine.judge_absence(&*self.source, summary).await?;
        engine.settle_vanished(summary).await
    }

    /// Lets the quick cycle in, if one is due. Nothing of this run may be under way.
    pub(super) async fn let_in(&self, directory: &Arc<LazyDirectory>) -> Result<(), RunError> {
        let Some(interlude) = self.interlude.as_ref().filter(|interlude| interlude.due()) else { return Ok(()) };
        let played = interlude.play(directory).await?;
        Ok(self.engine.catch_up(played.highest).await?)
    }

    /// How many contacts are expected to need a look-up.
    async fn look_ups(&self, entrants: &Entrants) -> Result<u64, RunError> {
        Ok(match entrants {
            Entrants::Only(ids) => ids.len() as u64,
            Entrants::First(limit) => *limit,
            Entrants::Recent => FEW,
            Entrants::All => {
                let (store, mapping) = (&self.engine.store, &self.engine.mapping);
                let listed = self.source.page(OLDEST_FIRST).await?.count.unwrap_or(u64::MAX);
                // Another mapping may select those whom the last one did not.
                let last = store.profile_get(sweep::SWEEP_MAPPING).await?.unwrap_or_default();
                let known = if last[1] == mapping.version() && last[2] == json!(mapping.selection()) {
                    store.linked_or_sighted_lately().await?
                } else {
                    store.link_count().await?
                };
                let due = store.dead_letters_due(self.engine.clock.now(), DUE).await?.len() as u64;
                listed.saturating_sub(known).saturating_add(due)
            }
        })
    }
}
