//! The carrier: takes contacts page by page, carries many at once, keeps the order that matters, and counts.
//!
//! Two contacts that share a match key are never resolved at the same time: each waits for the one before it, so that
//! families end the same way whatever the timing. The checkpoint moves only over pages whose contacts are all recorded.

mod cut_short;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::Shared;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::domain::base::{Base, WishDigests};
use crate::domain::contact::Contact;
use crate::domain::hash::Digest;
use crate::domain::ids::LiveDeskId;
use crate::domain::outcome::{Outcome, SetAside, SetAsideKind};
use crate::domain::phone;
use crate::domain::sweep::ScanPosition;
use crate::domain::target::Part;
use crate::store::{Conflict, DeadLetter, Decision, Intent, IntentState, Link, SHARED, Standing, TWINS, WriteOp};
use crate::sync::carry::{Carried, Job};
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::{Engine, RunError, SharedKeys};
use crate::sync::failures;
use crate::sync::ports::{ContactTarget, MalformedRow};
use crate::sync::progress::ProgressEvent;
use crate::sync::summary::Summary;

/// Pages between two checkpoints. What lies between is carried again after a crash, which costs no request: its
/// links are there.
const CHECKPOINT_PAGES: u64 = 16;
/// Lanes kept before finished ones are swept out.
const LANES: usize = 4_096;

/// What to do with contacts that wait for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Leave dead letters whose time has not come, and conflicts that are not decided, as they are.
    Respect,
    /// Try them again: the operator asked for it.
    TryAgain,
}

/// A page of contacts on its way.
struct PageOnItsWay {
    number: u64,
    /// Where to go on once this page and all before it are recorded.
    next: Option<ScanPosition>,
    outstanding: usize,
}

type Lane = Shared<oneshot::Receiver<()>>;

enum Finished {
    Contact(Box<Carried>),
    /// It is not finished: what was done to it by then, and what ended it.
    CutShort(LiveDeskId, Outcome, RunError),
    Written(u64),
}

/// Carries contacts concurrently. Owned by one task.
pub struct Carrier<T> {
    engine: Arc<Engine<T>>,
    directory: Arc<LazyDirectory>,
    waiting: Waiting,
    sweep: Option<i64>,
    /// What was done so far.
    pub summary: Summary,
    tasks: JoinSet<(u64, Result<Finished, RunError>)>,
    pages: VecDeque<PageOnItsWay>,
    next_page: u64,
    since_checkpoint: u64,
    lanes: HashMap<Digest, Lane>,
    superseded: HashMap<LiveDeskId, Intent>,
    failure: Option<RunError>,
}

/// What the state knows of the contacts of one page.
#[derive(Default)]
struct Known {
    links: HashMap<LiveDeskId, Link>,
    dead_letters: HashMap<LiveDeskId, DeadLetter>,
    conflicts: HashMap<LiveDeskId, Conflict>,
    in_doubt: std::collections::HashSet<LiveDeskId>,
}

impl<T: ContactTarget> Carrier<T> {
    /// A carrier for one sweep, or for single contacts (`sweep` is `None`).
    pub fn new(engine: Arc<Engine<T>>, directory: Arc<LazyDirectory>, waiting: Waiting, sweep: Option<i64>) -> Self {
        Self {
            engine,
            directory,
            waiting,
            sweep,
            summary: Summary::default(),
            tasks: JoinSet::new(),
            pages: VecDeque::new(),
            next_page: 0,
            since_checkpoint: 0,
            lanes: HashMap::new(),
            superseded: HashMap::new(),
            failure: None,
        }
    }

    /// Tells the carrier that a contact's next create takes the place of one whose absence was proven.
    pub fn supersede(&mut self, id: LiveDeskId, intent: Intent) {
        self.superseded.insert(id, intent);
    }

    /// Whether there are creates to be repeated whose contacts have not come by.
    pub fn repeats_any(&self) -> bool {
        !self.superseded.is_empty()
    }

    /// The creates to be repeated whose contacts did not come by, or did and were not created again.
    pub fn still_superseded(&mut self) -> BTreeMap<LiveDeskId, Intent> {
        self.superseded.drain().collect()
    }

    /// Forgets the creates that another run has settled meanwhile: `open` are those that are still to be repeated.
    pub fn keep_superseded(&mut self, open: &[Intent]) {
        let absent = |seq| open.iter().any(|intent| intent.seq == seq && intent.state == IntentState::Absent);
        self.superseded.retain(|_, intent| absent(intent.seq));
    }

    /// Takes the contacts of one page. Returns once they are on their way; waits while too many are.
    pub async fn feed(
        &mut self,
        contacts: Vec<Contact>,
        malformed: Vec<MalformedRow>,
        next: Option<ScanPosition>,
    ) -> Result<(), RunError> {
        let page = self.next_page;
        self.next_page += 1;
        // The page itself is one outstanding part, so that it cannot finish while it is being fed.
        self.pages.push_back(PageOnItsWay { number: page, next, outstanding: 1 });
        let mut rows = Vec::new();
        let ids: Vec<LiveDeskId> = contacts.iter().map(|contact| contact.id).collect();
        let named: Vec<LiveDeskId> = ids.iter().copied().chain(malformed.iter().filter_map(|row| row.id)).collect();
        let forgotten = self.engine.store.forgotten_among(&named).await?;
        for row in malformed {
            if let Some(id) = row.id.filter(|id| forgotten.contains(id)) {
                self.summary.count(id, Outcome::Forgotten);
                continue;
            }
            let reason = SetAside { kind: SetAsideKind::Unreadable, field: None, status: None, detail: row.problem };
            if let Some(id) = row.id {
                self.engine.tell_end(id, Outcome::SetAside(reason.clone())).await?;
                rows.push(self.unmapped_letter(id, &reason));
                rows.extend(self.sweep.map(|sweep| WriteOp::Sight { sweep, id }));
            }
            self.summary.set_aside(row.id, reason);
        }
        let mut known = self.known(&ids).await?;
        let mut at_once = 0;
        for contact in contacts {
            let id = contact.id;
            if forgotten.contains(&id) {
                // Not even that it was seen is written down.
                self.summary.count(id, Outcome::Forgotten);
                continue;
            }
            match self.prepare(contact, &mut known) {
                Prepared::Done { outcome, ops } => {
                    at_once += 1;
                    let outcome = self.engine.tell_end(id, outcome).await?;
                    self.summary.count(id, outcome);
                    rows.extend(ops);
                    rows.extend(self.sweep.map(|sweep| WriteOp::Sight { sweep, id }));
                }
                Prepared::Job(job) => self.start(page, *job).await?,
            }
        }
        if !rows.is_empty() {
            self.begin(page);
            let engine = Arc::clone(&self.engine);
            self.tasks.spawn(async move {
                let written = engine.store.write(rows).await;
                (page, written.map(|()| Finished::Written(at_once)).map_err(RunError::from))
            });
        }
        self.part_done(page);
        while let Some(result) = self.tasks.try_join_next() {
            self.take(result);
        }
        self.checkpoint().await
    }

    /// Waits for everything that is on its way, and moves the checkpoint.
    pub async fn drain(&mut self) -> Result<(), RunError> {
        while let Some(result) = self.tasks.join_next().await {
            self.take(result);
        }
        self.since_checkpoint = CHECKPOINT_PAGES;
        match self.failure.take() {
            Some(failure) => {
                // The checkpoint covers only what was recorded, so it may move even now.
                self.checkpoint().await?;
                Err(failure)
            }
            None => self.checkpoint().await,
        }
    }

    /// Whether a failure that ends the run has come back.
    pub fn failed(&self) -> bool {
        self.failure.is_some()
    }

    async fn known(&self, ids: &[LiveDeskId]) -> Result<Known, RunError> {
        // Later passes bring mostly pages without anybody new.
        if ids.is_empty() {
            return Ok(Known::default());
        }
        let store = &self.engine.store;
        let traces = store.traces_of(ids).await?;
        let mut known = Known { in_doubt: traces.in_doubt, ..Known::default() };
        if traces.linked {
            known.links = store.links_for(ids).await?;
        }
        if traces.set_aside {
            known.dead_letters = store.dead_letters_for(ids).await?;
        }
        if traces.in_conflict {
            known.conflicts = store.conflict_for(ids).await?;
        }
        Ok(known)
    }

    /// Everything that needs no request: selection, mapping, fingerprint, what waits.
    fn prepare(&mut self, contact: Contact, known: &mut Known) -> Prepared {
        let engine = &self.engine;
        let id = contact.id;
        let link = known.links.remove(&id);
        let dead_letter = known.dead_letters.remove(&id);
        let conflict = known.conflicts.remove(&id);
        let mut record = match engine.mapping.map(&contact) {
            Ok(Some(record)) => record,
            Ok(None) => {
                let superseded = self.superseded.remove(&id);
                return self.left_out(link.as_ref(), superseded, dead_letter.map(|_| id));
            }
            Err(reason) => return self.unmapped(id, reason),
        };
        for warning in &record.warnings {
            let key = format!("{}: {}", warning.field, warning.problem);
            *self.summary.skipped_values.entry(key).or_default() += 1;
        }
        let superseded = self.superseded.remove(&id);
        if superseded.is_none() && known.in_doubt.contains(&id) {
            return Prepared::Done { outcome: Outcome::Parked, ops: Vec::new() };
        }
        if let Some(tags) = engine.tags.get() {
            record.tags = tags.wish(id, &mut self.summary.tags.left_out);
        }
        let base = link.as_ref().and_then(|link| Base::decode(&link.base));
        let key = engine.store.hash_key();
        let digests = WishDigests::of(key, &record, engine.settings.phone_country);
        let fingerprint = digests.fingerprint(key, &record, base.as_ref(), engine.mapping.version(), engine.shown);
        // Twins are not gone because somebody looks again, and where a decision was taken back nothing is written before another.
        let again = self.waiting == Waiting::TryAgain;
        let waits = |found: &Conflict| {
            !again || found.kind == TWINS || link.as_ref().is_some_and(|link| !found.stood_before(link))
        };
        if conflict.as_ref().is_some_and(|found| found.decision.is_none() && waits(found)) {
            return Prepared::Done { outcome: Outcome::Conflict, ops: Vec::new() };
        }
        let decision = conflict.as_ref().and_then(|found| found.standing(link.as_ref()));
        if decision == Some(Decision::Skip) {
            return self.left_out(link.as_ref(), superseded, dead_letter.map(|_| id));
        }
        if let Some(outcome) = link.as_ref().and_then(vanished)
            && decision.is_none()
            && superseded.is_none()
            && !again
        {
            let ops = dead_letter.map(|_| WriteOp::ClearDeadLetter(id)).into_iter().collect();
            return Prepared::Done { outcome, ops };
        }
        // Whom a person asks for is looked at, whatever is noted of it.
        let settled = |link: &Link| !again && link.fingerprint == Some(fingerprint) && link.standing == Standing::Live;
        if decision.is_none() && link.as_ref().is_some_and(settled) {
            for part in base.iter().flat_map(|base| digests.owed(&record, base)) {
                self.summary.not_shown(part);
            }
            // What was in the way once is not any more.
            let ops = dead_letter.map(|_| WriteOp::ClearDeadLetter(id)).into_iter().collect();
            return Prepared::Done { outcome: Outcome::Unchanged, ops };
        }
        if let Some(letter) = &dead_letter
            && superseded.is_none()
            && self.waiting == Waiting::Respect
            && !failures::has_chance(letter, fingerprint, engine.mapping.version(), engine.clock.now())
        {
            return Prepared::Done { outcome: Outcome::SetAside(letter.reason()), ops: Vec::new() };
        }
        let shared = conflict.as_ref().filter(|found| found.kind == SHARED && found.decision.is_some());
        let may_share = shared.map(|found| found.candidates.iter().copied().collect()).unwrap_or_default();
        Prepared::Job(Box::new(Job {
            contact,
            record,
            digests,
            fingerprint,
            settles: fingerprint,
            company: None,
            company_outcome: None,
            link,
            dead_letter,
            doubt: conflict,
            may_share,
            superseded,
            asked: again,
            sweep: self.sweep,
            directory: None,
        }))
    }

    /// A contact that is not wanted, or not wanted any more.
    fn left_out(&mut self, link: Option<&Link>, superseded: Option<Intent>, letter: Option<LiveDeskId>) -> Prepared {
        self.summary.left_as_is += u64::from(link.is_some());
        // An earlier create that is not there is not waited for.
        let settled = superseded.map(|old| WriteOp::CloseIntent { seq: old.seq });
        let ops = settled.into_iter().chain(letter.map(WriteOp::ClearDeadLetter)).collect();
        Prepared::Done { outcome: Outcome::NotSelected, ops }
    }

    fn unmapped(&self, id: LiveDeskId, reason: SetAside) -> Prepared {
        let ops = vec![self.unmapped_letter(id, &reason)];
        Prepared::Done { outcome: Outcome::SetAside(reason), ops }
    }

    /// The dead letter of a contact that did not even become a record.
    fn unmapped_letter(&self, id: LiveDeskId, reason: &SetAside) -> WriteOp {
        WriteOp::PutDeadLetter(self.engine.letter(id, reason, None, None))
    }

    /// Sends a job on its way, behind every earlier job that shares one of its match keys.
    async fn start(&mut self, page: u64, mut job: Job) -> Result<(), RunError> {
        self.engine.pass_gate().await?;
        if job.link.is_none() || job.decision().is_some() {
            if self.directory.has_lapsed(self.engine.now_ms()) {
                // What is there is looked at while nobody is being made.
                while let Some(result) = self.tasks.join_next().await {
                    self.take(result);
                }
            }
            job.directory = Some(self.engine.directory(&self.directory).await?);
        }
        while self.tasks.len() >= self.engine.settings.jobs.max(1) {
            if let Some(result) = self.tasks.join_next().await {
                self.take(result);
            }
        }
        let (done, lane) = oneshot::channel::<()>();
        let lane = lane.shared();
        let mut before: Vec<Lane> = Vec::new();
        for key in self.shared_keys(&job) {
            before.extend(self.lanes.insert(key, lane.clone()));
        }
        if self.lanes.len() > LANES {
            // A lane is only polled by who comes after it; one that nobody came after has to be asked.
            self.lanes.retain(|_, lane| lane.clone().now_or_never().is_none());
        }
        self.begin(page);
        let span = tracing::info_span!("contact", contact = job.contact.id.0);
        let engine = Arc::clone(&self.engine);
        let (id, linked) = (job.contact.id, job.link.as_ref().map(|link| link.target));
        let carried = Box::pin(async move {
            for lane in before {
                // A dropped sender means the earlier job ended, which is all that is waited for.
                let _ = lane.await;
            }
            let result = match engine.carry(job).await {
                Ok(carried) => Ok(Finished::Contact(Box::new(carried))),
                Err(error) => match engine.done_by_now(id, linked).await {
                    Some(outcome) => Ok(Finished::CutShort(id, outcome, error)),
                    None => Err(error),
                },
            };
            drop(done);
            (page, result)
        });
        self.tasks.spawn(carried.instrument(span));
        Ok(())
    }

    /// Keys that another contact on its way could share; none where nothing is looked up by them.
    fn shared_keys(&self, job: &Job) -> Vec<Digest> {
        let engine = &self.engine;
        if engine.settings.match_keys.is_empty() || self.directory.is_empty() {
            return Vec::new();
        }
        // A linked contact looks nothing up; but where a shared key is a conflict, its own keys must stand at the
        // target before others look for them, and a run that died may have left them to this one.
        if job.link.is_some() && engine.settings.shared_keys == SharedKeys::Create {
            return Vec::new();
        }
        let home = engine.settings.phone_country;
        let emails = job.record.emails.items().iter().map(|email| engine.email_digest(&email.canonical()));
        let phones = job.record.phones.items().iter().map(|wished| {
            let canonical = phone::canonical(&wished.number, home);
            engine.phone_digest(&canonical)
        });
        emails.chain(phones).collect()
    }

    fn begin(&mut self, page: u64) {
        if let Some(on_its_way) = self.pages.iter_mut().find(|on_its_way| on_its_way.number == page) {
            on_its_way.outstanding += 1;
        }
    }

    fn part_done(&mut self, page: u64) {
        if let Some(on_its_way) = self.pages.iter_mut().find(|on_its_way| on_its_way.number == page) {
            on_its_way.outstanding -= 1;
        }
    }

    /// Takes a finished task. After a failure nothing more is started, and no page behind it counts as recorded.
    fn take(&mut self, result: Result<(u64, Result<Finished, RunError>), tokio::task::JoinError>) {
        let (page, result) = match result {
            Ok(finished) => finished,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return,
            },
        };
        match result {
            Ok(Finished::Contact(carried)) => {
                tracing::debug!(contact = carried.id.0, outcome = carried.outcome.as_str(), "contact carried");
                self.summary.both_changed(carried.id, carried.target, carried.both_changed);
                self.summary.kept += carried.kept;
                for field in &carried.not_shown {
                    self.summary.not_shown(Part::Field(*field));
                }
                self.summary.recreated += u64::from(carried.recreated);
                if carried.apart {
                    self.summary.adopted_apart(carried.id);
                }
                carried.lists.count_into(&mut self.summary);
                self.summary.count(carried.id, carried.outcome);
                self.engine.progress.event(ProgressEvent::Advance(1));
                self.part_done(page);
            }
            Ok(Finished::Written(contacts)) => {
                self.engine.progress.event(ProgressEvent::Advance(contacts));
                self.part_done(page);
            }
            Ok(Finished::CutShort(id, outcome, error)) => {
                self.summary.unfinished += 1;
                self.summary.count(id, outcome);
                self.fail(error);
            }
            Err(error) => self.fail(error),
        }
    }

    /// The first failure that is not a mere interruption is the one to tell.
    fn fail(&mut self, error: RunError) {
        if self.failure.as_ref().is_none_or(RunError::is_interruption) {
            self.failure = Some(error);
        }
    }

    async fn checkpoint(&mut self) -> Result<(), RunError> {
        let mut reached = None;
        while self.pages.front().is_some_and(|page| page.outstanding == 0) {
            if let Some(page) = self.pages.pop_front() {
                self.since_checkpoint += 1;
                reached = page.next.or(reached);
            }
        }
        if let (Some(sweep), Some(position), true) = (self.sweep, reached, self.since_checkpoint >= CHECKPOINT_PAGES) {
            self.since_checkpoint = 0;
            self.engine.store.write(vec![WriteOp::Checkpoint { sweep, position }]).await?;
        }
        Ok(())
    }
}

/// A record that is not there gets no request, whatever its contact holds now.
pub(super) fn vanished(link: &Link) -> Option<Outcome> {
    match link.standing {
        Standing::Live => None,
        Standing::Alias => Some(Outcome::Alias),
        Standing::Gone => Some(Outcome::Gone),
    }
}

enum Prepared {
    Done { outcome: Outcome, ops: Vec<WriteOp> },
    Job(Box<Job>),
}
