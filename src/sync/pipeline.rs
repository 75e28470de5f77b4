//! One run from its first look to its summary. Every command that moves contacts goes through here; they differ only
//! in which contacts enter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use roaring::RoaringTreemap;
use serde_json::json;

use crate::domain::ids::LiveDeskId;
use crate::domain::outcome::{Outcome, SetAside, SetAsideKind};
use crate::store::{Intent, IntentKind, IntentState, WriteOp};
use crate::sync::carrier::{Carrier, Waiting};
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::{Engine, RunError};
use crate::sync::left_overs::LeftOvers;
use crate::sync::lookup::{Lookup, OLDEST_FIRST};
use crate::sync::ports::{ByIdAnswer, ContactSource, ContactTarget, PageRequest, PortError, SourceRow};
use crate::sync::progress::{Phase, ProgressEvent};
use crate::sync::scan::{Goal, Resume, Sweep, SweepPlan, SweepStep};
use crate::sync::summary::Summary;
use crate::sync::witness::Testimony;

/// Rounds of "settle, wait, carry again" at the end of a run that may bring nothing.
const SETTLE_ROUNDS: u32 = 20;
/// Doubt horizons that a run waits at its end, at most: what was created again can be doubtful again.
const SETTLE_HORIZONS: i64 = 6;
/// An interrupted sweep that is older than this is not gone on with: what it has passed may have changed since.
const RESUMABLE_MS: i64 = 24 * 60 * 60 * 1000;
/// Profile key under which the state keeps the mapping of the open sweep.
const SWEEP_MAPPING: &str = "sweep_mapping";
/// Pages on which a contact of the state is looked for before the source is refused. An import stamps a thousand contacts
/// with one time, and which of them come first may be another matter tomorrow.
const RECOGNISED_BY: u32 = 100;
/// Links that are tried as witnesses of the account before it is refused.
const WITNESSES: u32 = 3;
/// Which contacts enter a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entrants {
    /// Everything that LiveDesk lists.
    All,
    /// The first so many of them.
    First(u64),
    /// These; dead letters and conflicts among them are tried again.
    Only(BTreeSet<LiveDeskId>),
}

/// What is known before the first write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// Contacts that LiveDesk says it lists.
    pub source_count: Option<u64>,
    /// Customers that FIRST LINE shows to this key.
    pub target_total: u64,
    /// Customers that were there before this program made any: one number, or a range while creates are in doubt.
    pub earlier_customers: std::ops::RangeInclusive<u64>,
    /// Contacts that are linked already.
    pub linked: u64,
    /// Contacts that this run is expected to carry.
    pub expected: u64,
    /// Requests to FIRST LINE that are expected, at least.
    pub target_requests: u64,
    /// Requests to LiveDesk that are expected, at least.
    pub source_requests: u64,
}

/// A run that is ready to begin.
pub struct Pipeline<S, T> {
    pub(super) source: Arc<S>,
    pub(super) engine: Arc<Engine<T>>,
    sweep_rounds: u32,
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
        Self { source, engine, sweep_rounds }
    }

    /// Looks at both sides without writing: are these the accounts of this state, and how much is there to do?
    pub async fn preflight(&self, entrants: &Entrants) -> Result<Preflight, RunError> {
        let first = self.source.page(OLDEST_FIRST).await?;
        let total = self.engine.target.contacts(None, 1).await?;
        for row in &total.rows {
            self.engine.saw(row.id);
        }
        self.recognise_source(&first.rows).await?;
        self.recognise_target().await?;
        let linked = self.engine.store.link_count().await?;
        let made = self.engine.store.made_count().await?;
        let doubtful = self.engine.store.open_intents().await?;
        let doubtful = doubtful.iter().filter(|intent| intent.kind == IntentKind::Contact).count() as u64;
        let listed = first.count.unwrap_or_default();
        let expected = match entrants {
            Entrants::All => listed.saturating_sub(linked),
            Entrants::First(limit) => listed.saturating_sub(linked).min(*limit),
            Entrants::Only(ids) => ids.len() as u64,
        };
        let target_total = total.total.unwrap_or(total.rows.len() as u64);
        let lists = 1 + self.engine.settings.match_keys.len() as u64;
        let survey = target_total.div_ceil(total.rows.len().max(1) as u64) * lists;
        let children = u64::from(self.engine.mapping.writes_children());
        Ok(Preflight {
            source_count: first.count,
            target_total,
            earlier_customers: target_total.saturating_sub(made + doubtful)..=target_total.saturating_sub(made),
            linked,
            expected,
            target_requests: survey + expected * (1 + children),
            source_requests: 2 * listed.div_ceil(first.len().max(1) as u64),
        })
    }

    /// Runs it. The state is resumable whatever happens.
    pub async fn run(&self, entrants: Entrants) -> RunEnd {
        let mut summary = Summary { stopped_fields: self.engine.mapping.stopped(), ..Summary::default() };
        let result = self.run_into(entrants, &mut summary).await;
        let failure = match result {
            Ok(()) => None,
            Err(error) if error.is_interruption() => {
                summary.interrupted = true;
                None
            }
            Err(error) => Some(error),
        };
        RunEnd { summary, failure }
    }

    async fn run_into(&self, entrants: Entrants, summary: &mut Summary) -> Result<(), RunError> {
        let engine = &self.engine;
        engine.progress.event(ProgressEvent::Phase(Phase::LeftOvers));
        let fresh = engine.store.is_empty().await?;
        engine.park_left_overs().await?;
        engine.finish_trial().await?;
        let LeftOvers { again: left_over, twins } = engine.settle_left_overs().await?;
        if entrants != Entrants::All {
            // A whole sweep comes by and counts them.
            for id in twins {
                summary.count(id, Outcome::Conflict);
            }
        }
        let directory = Arc::new(LazyDirectory::new(fresh, self.look_ups(&entrants).await?));
        if fresh {
            // Nothing at the target may look like our stamp before the first write.
            engine.directory(&directory).await?;
        }
        if !matches!(entrants, Entrants::Only(_)) {
            // A few contacts are not worth a walk over everybody who has a label: their tags stay as they are.
            engine.read_labels(&self.source, self.sweep_rounds, &mut summary.tags).await?;
        }
        engine.progress.event(ProgressEvent::Phase(Phase::Carry));
        match &entrants {
            Entrants::All | Entrants::First(_) => {
                let limit = match entrants {
                    Entrants::First(limit) => Some(limit),
                    _ => None,
                };
                self.sweep(&directory, left_over, limit, summary).await?;
            }
            Entrants::Only(ids) => {
                let again = ids.iter().map(|id| (*id, None)).chain(left_over).collect();
                self.carry_ids(&directory, again, Waiting::TryAgain, summary).await?;
            }
        }
        self.settle_all(&directory, summary).await?;
        self.audit(summary).await
    }

    /// How many contacts are expected to need a look-up.
    async fn look_ups(&self, entrants: &Entrants) -> Result<u64, RunError> {
        Ok(match entrants {
            Entrants::Only(ids) => ids.len() as u64,
            Entrants::First(limit) => *limit,
            Entrants::All => {
                let listed = self.source.page(OLDEST_FIRST).await?.count.unwrap_or(u64::MAX);
                listed.saturating_sub(self.engine.store.link_count().await?)
            }
        })
    }

    /// Is this the LiveDesk account of the state? One of the contacts that it shows early must be known.
    async fn recognise_source(&self, shown: &[SourceRow]) -> Result<(), RunError> {
        let store = &self.engine.store;
        let Some(witness) = store.links_page(LiveDeskId(-1), 1).await?.pop() else { return Ok(()) };
        let Some(known) = shown.first().map(|row| row.id) else { return Ok(()) };
        if self.knows_any(shown).await? {
            return Ok(());
        }
        if let ByIdAnswer::Found(_) = self.source.by_id(witness.livedesk_id, known).await? {
            return Ok(());
        }
        for page in 2..=RECOGNISED_BY {
            let answer = self.source.page(PageRequest { page, ..OLDEST_FIRST }).await?;
            if self.knows_any(&answer.rows).await? {
                return Ok(());
            }
            if answer.is_empty() {
                break;
            }
        }
        Err(RunError::Refused(
            "LiveDesk shows none of the contacts that this state knows: it belongs to another account; use another \
             state.path for this one"
                .into(),
        ))
    }

    /// Whether the state has seen or linked one of these. `--only` and `state rebuild` link without a sweep.
    async fn knows_any(&self, shown: &[SourceRow]) -> Result<bool, RunError> {
        let store = &self.engine.store;
        let ids: Vec<LiveDeskId> = shown.iter().map(|row| row.id).collect();
        Ok(store.sighted_among(&ids).await? > 0 || !store.links_for(&ids).await?.is_empty())
    }

    /// Is this the FIRST LINE of the state? A linked record must be there and must not carry another contact's stamp.
    async fn recognise_target(&self) -> Result<(), RunError> {
        let engine = &self.engine;
        let mut witnesses = engine.store.links_page(LiveDeskId(-1), WITNESSES).await?;
        witnesses.extend(engine.store.latest_created_link().await?);
        let mut accepted = witnesses.is_empty();
        for link in &witnesses {
            if let Some(record) = engine.target.contact(link.target).await? {
                match engine.testimony(link, &record) {
                    Testimony::Same => return Ok(()),
                    Testimony::Other => {
                        accepted = false;
                        break;
                    }
                    Testimony::Doubtful => {}
                    Testimony::Nothing => accepted = true,
                }
            }
        }
        if accepted {
            return Ok(());
        }
        Err(RunError::Refused(
            "FIRST LINE does not hold the records that this state links to: it belongs to another tenant, or they were \
             deleted; use another state.path for another tenant, or `deskferry state rebuild` for this one"
                .into(),
        ))
    }

    /// Walks a sweep, new or resumed, and carries what it brings.
    async fn sweep(
        &self,
        directory: &Arc<LazyDirectory>,
        left_over: BTreeMap<LiveDeskId, Option<Intent>>,
        limit: Option<u64>,
        summary: &mut Summary,
    ) -> Result<(), RunError> {
        let engine = &self.engine;
        // A limited run is no sweep: it leaves an interrupted one as it is.
        let (number, resume) = match limit {
            Some(_) => (None, None),
            None => self.open_sweep().await?,
        };
        let mut passed = resume.as_ref().map(|resume| resume.seen.clone()).unwrap_or_default();
        let plan = SweepPlan { max_rounds: self.sweep_rounds, ..SweepPlan::new(Goal::Proven) };
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
            // Nor does a limited one reach them.
            if limit.is_some() || passed.contains(id.0.unsigned_abs()) {
                again.insert(id, intent);
            } else {
                in_order.extend(intent.map(|intent| (id, intent)));
            }
        }
        if !again.is_empty() {
            for id in again.keys() {
                passed.remove(id.0.unsigned_abs());
            }
            self.carry_ids(directory, again, Waiting::Respect, summary).await?;
        }
        let mut carrier = Carrier::new(Arc::clone(engine), Arc::clone(directory), Waiting::Respect, number);
        carrier.summary = std::mem::take(summary);
        for (id, intent) in in_order {
            carrier.supersede(id, intent);
        }
        let result = self.walk(&mut sweep, &mut carrier, limit).await;
        let drained = carrier.drain().await;
        *summary = std::mem::take(&mut carrier.summary);
        let report = match (result, drained) {
            (Ok(report), Ok(())) => report,
            (Err(error), Ok(())) | (_, Err(error)) => return Err(error),
        };
        if let (Some(report), Some(number)) = (report, number) {
            engine.tell_passed(&passed, summary).await?;
            engine.store.finish_sweep(number, &report.verdict.to_string()).await?;
            summary.sweep = Some(report);
        }
        Ok(())
    }

    /// The sweep to go on with, or a new one. A sweep belongs to the mapping that it was begun with: what it has passed
    /// was carried with that.
    async fn open_sweep(&self) -> Result<(Option<i64>, Option<Resume>), RunError> {
        let store = &self.engine.store;
        let mapping = &self.engine.mapping;
        let mapping = |sweep: i64| json!([sweep, mapping.version(), mapping.selection(), mapping.tags_text()]);
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

    async fn walk(
        &self,
        sweep: &mut Sweep<S>,
        carrier: &mut Carrier<T>,
        limit: Option<u64>,
    ) -> Result<Option<crate::domain::sweep::SweepReport>, RunError> {
        let mut left = limit.unwrap_or(u64::MAX);
        loop {
            if self.engine.stop.is_cancelled() {
                return Err(PortError::Interrupted.into());
            }
            if carrier.failed() || left == 0 {
                return Ok(None);
            }
            match sweep.next().await? {
                SweepStep::Page(mut page) => {
                    self.engine.progress.event(ProgressEvent::PageRead);
                    if let (1, 1, Some(count)) = (page.position.pass, page.position.page, page.count) {
                        self.engine.progress.event(ProgressEvent::Expect(count.min(left)));
                    }
                    let whole = page.fresh.len() as u64 <= left;
                    page.fresh.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    left -= page.fresh.len() as u64;
                    carrier.feed(page.fresh, page.malformed, whole.then_some(page.next)).await?;
                }
                SweepStep::Finished(report) => return Ok(Some(report)),
            }
        }
    }

    /// Carries single contacts, read again from the source: by id where that exists, else with a pass. Answers those
    /// that were not found although they may be there.
    pub(super) async fn carry_ids(
        &self,
        directory: &Arc<LazyDirectory>,
        ids: BTreeMap<LiveDeskId, Option<Intent>>,
        waiting: Waiting,
        summary: &mut Summary,
    ) -> Result<BTreeSet<LiveDeskId>, RunError> {
        let engine = &self.engine;
        let mut carrier = Carrier::new(Arc::clone(engine), Arc::clone(directory), waiting, None);
        carrier.summary = std::mem::take(summary);
        for id in ids.keys() {
            carrier.summary.unpark(*id);
        }
        let mut missing: BTreeSet<LiveDeskId> = ids.keys().copied().collect();
        let mut orphans = Vec::new();
        for (id, intent) in ids {
            if let Some(intent) = intent {
                orphans.push((id, intent.seq));
                carrier.supersede(id, intent);
            }
        }
        let result = self.read_again(&mut carrier, &mut missing).await;
        let drained = carrier.drain().await;
        *summary = std::mem::take(&mut carrier.summary);
        let proven = match (result, drained) {
            (Ok(proven), Ok(())) => proven,
            (Err(error), Ok(())) | (_, Err(error)) => return Err(error),
        };
        let (kind, detail) = if proven {
            (SetAsideKind::Gone, "LiveDesk does not show this contact any more")
        } else {
            (SetAsideKind::Unproven, "LiveDesk did not show this contact, and its list could not be read completely")
        };
        for id in missing.iter().copied() {
            summary.set_aside(Some(id), SetAside { kind, field: None, status: None, detail: detail.to_owned() });
            // Nobody is left to be created: the old intent has nothing to wait for.
            if let Some((_, seq)) = orphans.iter().find(|(orphan, _)| proven && *orphan == id) {
                engine.store.write(vec![WriteOp::CloseIntent { seq: *seq }]).await?;
            }
        }
        Ok(if proven { BTreeSet::new() } else { missing })
    }

    /// Reads these contacts again and takes out of `missing` what was found. Answers whether the absence of the others
    /// is proven.
    async fn read_again(&self, carrier: &mut Carrier<T>, missing: &mut BTreeSet<LiveDeskId>) -> Result<bool, RunError> {
        if missing.is_empty() {
            return Ok(true);
        }
        self.engine.progress.event(ProgressEvent::Expect(missing.len() as u64));
        let mut lookup = Lookup::start(Arc::clone(&self.source), missing.clone(), self.sweep_rounds).await?;
        while let Some(found) = lookup.next().await? {
            if self.engine.stop.is_cancelled() {
                return Err(PortError::Interrupted.into());
            }
            if !found.contacts.is_empty() || !found.malformed.is_empty() {
                carrier.feed(found.contacts, found.malformed, None).await?;
            }
        }
        missing.clone_from(lookup.missing());
        Ok(missing.is_empty() || lookup.absence_is_proven())
    }

    /// Settles what is in doubt, waiting for it as long as that can help.
    async fn settle_all(&self, directory: &Arc<LazyDirectory>, summary: &mut Summary) -> Result<(), RunError> {
        let engine = &self.engine;
        engine.progress.event(ProgressEvent::Phase(Phase::Settle));
        let (mut unfound, mut tried) = (BTreeSet::new(), BTreeSet::new());
        let give_up = engine.now_ms().saturating_add(engine.horizon_ms().saturating_mul(SETTLE_HORIZONS));
        let mut fruitless = 0;
        while fruitless < SETTLE_ROUNDS && engine.now_ms() <= give_up {
            let mut settlement = engine.settle().await?;
            // What could not be created again, because something else stands in its way, is not tried without end.
            settlement.again.retain(|_, old| old.as_ref().is_none_or(|old| tried.insert(old.seq)));
            for id in &settlement.twins {
                summary.unpark(*id);
                summary.count(*id, Outcome::Conflict);
            }
            // What LiveDesk did not show once waits for another run.
            settlement.again.retain(|id, _| !unfound.contains(id));
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
        // What is parked now is what the state says, whoever parked it.
        let parked: BTreeSet<LiveDeskId> = engine.store.parked_contacts().await?.into_iter().collect();
        summary.parked = parked.len() as u64;
        summary.parked_ids = parked.iter().take(crate::sync::summary::LISTED).map(|id| id.0).collect();
        Ok(())
    }

    /// Doubts past their horizon that could not be judged are looked at for one more horizon, then left to a later run.
    async fn worth_waiting(&self) -> Result<bool, RunError> {
        let parked = self.engine.store.open_intents().await?;
        let parked = parked.iter().filter(|intent| intent.state == IntentState::Parked);
        Ok(parked.filter_map(|intent| intent.parked_at).any(|since| !self.engine.is_hopeless(since)))
    }

    async fn audit(&self, summary: &mut Summary) -> Result<(), RunError> {
        self.engine.progress.event(ProgressEvent::Phase(Phase::Audit));
        if let (Some(due), true) = (self.engine.audit_due().await?, self.engine.settings.wait) {
            let left = u64::try_from(due.0 - self.engine.now_ms()).unwrap_or_default();
            if left > 0 {
                let why = "records were created again; they are looked at for twins once more time has passed";
                self.engine.pause(why, Duration::from_millis(left + 1)).await?;
            }
        }
        let (twins, unjudged) = self.engine.audit().await?;
        for id in twins {
            summary.count(id, Outcome::Conflict);
        }
        for id in unjudged {
            summary.count(id, Outcome::Parked);
        }
        Ok(())
    }
}
