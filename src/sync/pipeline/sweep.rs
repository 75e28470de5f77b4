//! A sweep as a run walks it: begun or gone on with, fed to the carrier page by page, ended with its verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringTreemap;
use serde_json::json;

use super::Pipeline;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::Verdict;
use crate::store::Intent;
use crate::sync::carrier::{Carrier, Waiting};
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::RunError;
use crate::sync::ports::{ContactSource, ContactTarget};
use crate::sync::progress::{Phase, ProgressEvent};
use crate::sync::scan::{Resume, Sweep, SweepPlan, SweepStep};
use crate::sync::summary::Summary;

/// An interrupted sweep that is older than this is not gone on with: what it has passed may have changed since. More than the
/// day between two nightly ones, so that the next goes on where the last one stood.
const RESUMABLE_MS: i64 = 36 * 60 * 60 * 1000;
/// Profile key under which the state keeps the mapping of the open sweep.
pub(super) const SWEEP_MAPPING: &str = "sweep_mapping";

impl<S: ContactSource, T: ContactTarget> Pipeline<S, T> {
    /// Walks a sweep, new or resumed, and carries what it brings. Answers whom to look for no more in this run: it would take
    /// another walk.
    pub(super) async fn sweep(
        &self,
        directory: &Arc<LazyDirectory>,
        left_over: BTreeMap<LiveDeskId, Option<Intent>>,
        summary: &mut Summary,
    ) -> Result<BTreeSet<LiveDeskId>, RunError> {
        let engine = &self.engine;
        let mut unfound = BTreeSet::new();
        let (number, resume) = self.open_sweep().await?;
        let mut passed = resume.as_ref().map(|resume| resume.seen.clone()).unwrap_or_default();
        let plan = SweepPlan { max_rounds: self.sweep_rounds, ..SweepPlan::new(self.goal) };
        let mut sweep = Sweep::start(Arc::clone(&self.source), plan, resume).await?;
        // What the sweep has passed it does not bring again.
        let mut again: BTreeMap<LiveDeskId, Option<Intent>> = match number {
            Some(number) => engine.store.unsettled(number).await?.into_iter().map(|id| (id, None)).collect(),
            None => BTreeMap::new(),
        };
        let decided = engine.store.decided().await?;
        again.extend(decided.into_iter().filter(|id| passed.contains(id.0.unsigned_abs())).map(|id| (id, None)));
        let mut in_order = Vec::new();
        for (id, intent) in left_over {
            if passed.contains(id.0.unsigned_abs()) {
                again.insert(id, intent);
            } else {
                in_order.extend(intent.map(|intent| (id, intent)));
            }
        }
        if !again.is_empty() {
            for id in again.keys() {
                passed.remove(id.0.unsigned_abs());
            }
            unfound.extend(self.carry_ids(directory, again, Waiting::Respect, summary).await?);
        }
        let mut carrier = Carrier::new(Arc::clone(engine), Arc::clone(directory), Waiting::Respect, number);
        carrier.summary = std::mem::take(summary);
        for (id, intent) in in_order {
            carrier.supersede(id, intent);
        }
        carrier.summary.goal = Some(self.goal);
        let result = self.walk(&mut sweep, &mut carrier, directory).await;
        let drained = carrier.drain().await;
        *summary = std::mem::take(&mut carrier.summary);
        let not_repeated = carrier.still_superseded();
        let report = match (result, drained) {
            (Ok(report), Ok(())) => report,
            (Err(error), Ok(())) | (_, Err(error)) => return Err(error),
        };
        if let (Some(report), Some(number)) = (report, number) {
            // A quick cycle may have settled what was in doubt when this walk passed it.
            let unsettled = engine.store.unsettled(number).await?;
            if !unsettled.is_empty() {
                let again = unsettled.into_iter().map(|id| (id, None)).collect();
                unfound.extend(self.carry_ids(directory, again, Waiting::Respect, summary).await?);
            }
            unfound.extend(self.tell_not_repeated(not_repeated, &sweep, report.verdict, summary).await?);
            engine.tell_passed(&passed, summary).await?;
            engine.store.finish_sweep(number, &report.verdict.to_string()).await?;
            summary.sweep = Some(report);
        }
        Ok(unfound)
    }

    /// Creates that this sweep was to repeat and did not. By id their contacts are asked for afterwards; where LiveDesk reads
    /// nobody by id this walk has told what there is to tell: answers them then.
    async fn tell_not_repeated(
        &self,
        not_repeated: BTreeMap<LiveDeskId, Intent>,
        sweep: &Sweep<S>,
        verdict: Verdict,
        summary: &mut Summary,
    ) -> Result<BTreeSet<LiveDeskId>, RunError> {
        let ids: Vec<LiveDeskId> = not_repeated.keys().copied().collect();
        if ids.is_empty() || self.reads_by_id(&ids).await? {
            return Ok(BTreeSet::new());
        }
        for (id, intent) in not_repeated {
            if !sweep.has_seen(id) {
                self.tell_unfound(id, Some(intent.seq), verdict == Verdict::Proven, summary).await?;
            }
        }
        Ok(ids.into_iter().collect())
    }

    /// The sweep to go on with, or a new one. A sweep belongs to the mapping that it was begun with: what it has passed
    /// was carried with that. One that is held against a plan belongs to its run alone: whom the plan does not have it passes
    /// uncarried.
    pub(super) async fn open_sweep(&self) -> Result<(Option<i64>, Option<Resume>), RunError> {
        let store = &self.engine.store;
        let mapping = &self.engine.mapping;
        let plan = self.engine.overseer.as_ref().map(|_| self.engine.run.0);
        let mapping = |sweep: i64| json!([sweep, mapping.version(), mapping.selection(), mapping.tags_text(), plan]);
        let begun_with = store.profile_get(SWEEP_MAPPING).await?;
        if let Some(open) = store.open_sweep().await?
            && begun_with == Some(mapping(open.sweep))
            && self.engine.now_ms() - open.started_at.0 < RESUMABLE_MS
        {
            let mut seen = RoaringTreemap::new();
            let mut see = |id: LiveDeskId| {
                seen.insert(id.0.unsigned_abs());
            };
            store.sighted(open.sweep, &mut see).await?;
            return Ok((Some(open.sweep), Some(Resume { position: open.position, seen })));
        }
        let sweep = store.begin_sweep(self.engine.run).await?;
        store.profile_put(SWEEP_MAPPING, &mapping(sweep)).await?;
        Ok((Some(sweep), None))
    }

    pub(super) async fn walk(
        &self,
        sweep: &mut Sweep<S>,
        carrier: &mut Carrier<T>,
        directory: &Arc<LazyDirectory>,
    ) -> Result<Option<crate::domain::sweep::SweepReport>, RunError> {
        loop {
            self.engine.go_on()?;
            if carrier.failed() {
                return Ok(None);
            }
            self.stand_still(sweep, carrier, directory).await?;
            match sweep.next().await? {
                SweepStep::Page(page) => {
                    self.engine.progress.event(ProgressEvent::PageRead);
                    if let (1, 1, Some(count)) = (page.position.pass, page.position.page, page.count) {
                        self.engine.progress.event(ProgressEvent::Expect(count));
                    }
                    carrier.feed(page.fresh, page.malformed, Some(page.next)).await?;
                }
                SweepStep::Finished(report) => return Ok(Some(report)),
            }
        }
    }

    /// Between two pages: plays what is due, with nothing of this walk under way, and takes note of what it did.
    async fn stand_still(
        &self,
        sweep: &mut Sweep<S>,
        carrier: &mut Carrier<T>,
        directory: &Arc<LazyDirectory>,
    ) -> Result<(), RunError> {
        if !self.interlude.as_ref().is_some_and(|interlude| interlude.due()) {
            return Ok(());
        }
        carrier.drain().await?;
        self.let_in(directory).await?;
        carrier.keep_superseded(&self.engine.store.open_intents().await?);
        // What was read ahead may show contacts as they were before.
        sweep.read_anew();
        self.engine.progress.event(ProgressEvent::Phase(Phase::Carry));
        Ok(())
    }
}
