//! The end of a run: what is in doubt is settled, what was created again is looked at for twins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use roaring::RoaringTreemap;

use super::{Entrants, Pipeline};
use crate::domain::ids::LiveDeskId;
use crate::domain::outcome::Outcome;
use crate::store::{Intent, IntentState};
use crate::sync::carrier::Waiting;
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::RunError;
use crate::sync::ports::{ContactSource, ContactTarget};
use crate::sync::progress::{Phase, ProgressEvent};
use crate::sync::summary::Summary;

/// Rounds of "settle, wait, carry again" at the end of a run that may bring nothing.
const SETTLE_ROUNDS: u32 = 20;
/// Doubt horizons that a run waits at its end, at most: what was created again can be doubtful again.
const SETTLE_HORIZONS: i64 = 6;

impl<S: ContactSource, T: ContactTarget> Pipeline<S, T> {
    /// Settles what is in doubt, waiting for it as long as that can help. Where contacts are `asked_for`, nobody else is
    /// carried. `unfound`: whom to look for no more in this run.
    pub(super) async fn settle_all(
        &self,
        directory: &Arc<LazyDirectory>,
        entrants: &Entrants,
        asked_for: Option<&RoaringTreemap>,
        mut unfound: BTreeSet<LiveDeskId>,
        summary: &mut Summary,
    ) -> Result<(), RunError> {
        let engine = &self.engine;
        engine.creates_are_answered().await?;
        engine.progress.event(ProgressEvent::Phase(Phase::Settle));
        let mut tried = BTreeSet::new();
        let give_up = engine.now_ms().saturating_add(engine.horizon_ms().saturating_mul(SETTLE_HORIZONS));
        let mut fruitless = 0;
        while fruitless < SETTLE_ROUNDS && engine.now_ms() <= give_up {
            let mut settlement = engine.settle_newest(entrants.doubts()).await?;
            settlement.again.retain(|id, _| asked_for.is_none_or(|ids| ids.contains(id.0.unsigned_abs())));
            // What could not be created again, because something else stands in its way, is not tried without end.
            settlement.again.retain(|_, old| old.as_ref().is_none_or(|old| tried.insert(old.seq)));
            for id in &settlement.twins {
                summary.unpark(*id);
                summary.count(*id, Outcome::Conflict);
            }
            // What LiveDesk did not show once waits for another run.
            settlement.again.retain(|id, _| !unfound.contains(id));
            self.leave_to_the_sweep(&mut settlement.again, entrants).await?;
            let settled_some = !settlement.again.is_empty();
            // Waiting for a horizon is no failure; looking again without one is.
            fruitless = if settled_some || settlement.next_horizon.is_some() { 0 } else { fruitless + 1 };
            if settled_some {
                unfound.extend(self.carry_ids(directory, settlement.again, Waiting::Respect, summary).await?);
            }
            if settlement.parked.is_empty() && !settled_some {
                break;
            }
            if !engine.settings.wait || (settlement.parked.is_empty() && settled_some) {
                if engine.settings.wait {
                    continue;
                }
                break;
            }
            if settlement.next_horizon.is_none() && !settled_some && !self.worth_waiting().await? {
                break;
            }
            engine.wait_for_doubt(settlement.next_horizon, settlement.parked.len()).await?;
        }
        engine.creates_are_answered().await?;
        engine.tell_parked(summary).await
    }

    /// A quick cycle carries so many at most, and nobody where that takes a walk over everybody: the sweep comes by them.
    async fn leave_to_the_sweep(
        &self,
        again: &mut BTreeMap<LiveDeskId, Option<Intent>>,
        entrants: &Entrants,
    ) -> Result<(), RunError> {
        if *entrants != Entrants::Recent || again.is_empty() {
            return Ok(());
        }
        let ids: Vec<LiveDeskId> = again.keys().copied().take(entrants.doubts()).collect();
        let carried = if self.reads_by_id(&ids).await? { ids.last().copied() } else { None };
        again.retain(|id, _| carried.is_some_and(|last| *id <= last));
        Ok(())
    }

    /// Doubts past their horizon that could not be judged are looked at for one more horizon, then left to a later run.
    pub(super) async fn worth_waiting(&self) -> Result<bool, RunError> {
        let parked = self.engine.store.open_intents().await?;
        let parked = parked.iter().filter(|intent| intent.state == IntentState::Parked);
        Ok(parked.filter_map(|intent| intent.parked_at).any(|since| !self.engine.is_hopeless(since)))
    }

    pub(super) async fn audit(&self, most: usize, summary: &mut Summary) -> Result<(), RunError> {
        self.engine.progress.event(ProgressEvent::Phase(Phase::Audit));
        if let (Some(due), true) = (self.engine.audit_due().await?, self.engine.settings.wait) {
            let left = u64::try_from(due.0 - self.engine.now_ms()).unwrap_or_default();
            if left > 0 {
                let why = "records were created again; they are looked at for twins once more time has passed";
                self.engine.pause(why, Duration::from_millis(left + 1)).await?;
            }
        }
        let (twins, unjudged) = self.engine.audit(most).await?;
        for id in twins {
            summary.count(id, Outcome::Conflict);
        }
        for id in unjudged {
            summary.count(id, Outcome::Parked);
        }
        Ok(())
    }
}
