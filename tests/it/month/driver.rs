//! Lives through the month: processes of the service that start, do what is due, are killed and start again, on a real
//! state. The service is the product's own, with its loop turned by hand and the cron crate left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use deskferry::clock::{Clock, Timestamp};
use deskferry::daemon::due::Kind;
use deskferry::daemon::published::Ended;
use deskferry::daemon::{Outcome, Service};
use deskferry::domain::base::Base;
use deskferry::domain::ids::{LiveDeskId, RunId};
use deskferry::domain::outcome::SetAsideKind;
use deskferry::store::Store;
use deskferry::sync::engine::RunError;
use tokio_util::sync::CancellationToken;

use super::alarms::{Now, Oracle};
use super::judge::{DOUBT_MS, Sure};
use super::operations::{Moment, Operation, SWEEP_EVERY_S, SYNC_EVERY_S};
use super::process::{Home, Pair};
use super::world::{Lane, START_MS, Switches, World, elapsed_s};

/// An import of just a page's contacts between two pages shows the page before again, also when it is read again.
const STUCK: &str = "it is stuck";
/// Weeks at the end, in good weather, until both sides must agree; and those that it takes to prove an absence, to wait for
/// the grace, and to act.
const LAST_WEEKS: u32 = 8;
const WEEKS_TO_ACT: u32 = 4;
/// How often alarms are looked at when no run ends.
const LOOK_EVERY_S: i64 = 16 * 60;
/// How long it takes until somebody starts a process again that died, and one that could not begin.
const RESTART_S: i64 = 30;
const RESTART_FULL_S: i64 = 600;

/// A month.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) switches: Switches,
    /// How long it is.
    pub(super) days: i64,
    pub(super) operations: Vec<Operation>,
}

/// What a month came to.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) processes: u32,
    pub(super) kills: u32,
    pub(super) syncs: u32,
    /// Syncs between two pages of a sweep, among these.
    pub(super) between: u32,
    pub(super) sweeps: u32,
    pub(super) proven: u32,
    pub(super) failed: u32,
    pub(super) refused: u32,
    pub(super) disk_full: u32,
    pub(super) deleted: usize,
    pub(super) contacts: usize,
    pub(super) customers: usize,
    pub(super) requests: u64,
    pub(super) looks: u32,
    pub(super) raised: BTreeMap<String, u32>,
    pub(super) cleared: BTreeMap<String, u32>,
    pub(super) latencies: Vec<(Lane, i64)>,
    pub(super) tally: BTreeMap<&'static str, u64>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Nothing is due any more.
    Over,
    /// Somebody has to start it again after so many seconds.
    Ended(i64),
}

/// What came of one activation.
enum Came {
    ToAnEnd,
    /// The process was killed.
    Killed,
}

struct Month {
    world: Arc<World>,
    home: Home,
    /// Until when the service works, in seconds.
    end_s: i64,
    /// When each kind is due next, and alarms are looked at next, in seconds.
    next: BTreeMap<Kind, i64>,
    next_look: i64,
    disk_is_full: bool,
    /// It was full at some time during the activation.
    disk_was_full: bool,
    /// Whether a sweep was not walked to its end yet, and every run of it had labels and tags.
    sweep_open: bool,
    /// When the activation began that began the last sweep: labels are read first.
    sweep_since: i64,
    sure_of_tags: bool,
    /// The process before was killed; until when what it had sent is in doubt, which begins with the next start.
    reborn: bool,
    in_doubt_until: i64,
    /// Runs whose end the oracle knows.
    heard: BTreeSet<Option<RunId>>,
    seen: BTreeSet<RunId>,
    oracle: Oracle,
    /// Commits when the request was let in at which the process dies.
    commits: u64,
    report: Report,
    failure: Option<String>,
}

/// Lives through it. The error says what is wrong.
pub(super) fn simulate(plan: &Plan) -> Result<Report, String> {
    let home = Home::new(&plan.switches);
    let world = World::new(plan.seed, plan.switches, &plan.operations, home.has_disk());
    let mut month = Month {
        world,
        home,
        end_s: plan.days * 24 * 3600,
        next: BTreeMap::new(),
        next_look: 0,
        disk_is_full: false,
        disk_was_full: false,
        sweep_open: false,
        sweep_since: 0,
        sure_of_tags: true,
        reborn: false,
        in_doubt_until: 0,
        heard: BTreeSet::new(),
        seen: BTreeSet::new(),
        oracle: Oracle::default(),
        commits: 0,
        report: Report::default(),
        failure: None,
    };
    month.process(|month| Box::pin(async { month.home.prepare(Arc::new(month.world.clock.clone())).await }));
    while month.failure.is_none() {
        month.report.processes += 1;
        match month.process(|month| Box::pin(month.live())) {
            Life::Over => break,
            Life::Ended(seconds) => month.rest(seconds),
        }
    }
    month.last_weeks();
    if let Some(failure) = month.failure {
        return Err(failure);
    }
    let mut report = month.report;
    let inner = month.world.now();
    report.contacts = inner.people.len();
    report.customers = inner.records.len();
    report.deleted = inner.deleted.len();
    report.latencies.clone_from(&inner.latencies);
    report.tally.clone_from(&inner.tally);
    report.requests = inner.requests;
    (report.looks, report.raised, report.cleared) = (month.oracle.looks, month.oracle.raised, month.oracle.cleared);
    Ok(report)
}

impl Month {
    /// A process has a runtime of its own, so that a kill leaves nothing of it behind.
    fn process<T>(
        &mut self,
        work: impl for<'m> FnOnce(&'m mut Month) -> std::pin::Pin<Box<dyn Future<Output = T> + 'm>>,
    ) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let result = runtime.block_on(work(self));
        drop(runtime);
        result
    }

    fn now_s(&self) -> i64 {
        elapsed_s(&self.world.clock)
    }

    /// Nothing runs for so long.
    fn rest(&mut self, seconds: i64) {
        self.world.idle_until(self.now_s() + seconds);
        if self.world.now().disk_until.is_none_or(|until| until <= self.world.clock.now().0) {
            self.make_room();
        }
    }

    fn make_room(&mut self) {
        self.home.empty();
        self.disk_is_full = false;
        self.world.now().disk_until = None;
    }

    fn fail(&mut self, failure: String) {
        self.failure.get_or_insert(failure);
    }

    /// One process, until nothing is due before the end.
    async fn live(&mut self) -> Life {
        let stop = CancellationToken::new();
        self.world.now().token = stop.clone();
        self.oracle.process_begins(self.world.clock.now().0);
        let service = match self.home.begin(&self.world, &stop).await {
            Ok(service) => service,
            Err(why) if why.contains("full") && self.disk_is_full => {
                self.report.disk_full += 1;
                return Life::Ended(RESTART_FULL_S);
            }
            Err(why) => {
                self.fail(format!("the service cannot begin: {why}"));
                return Life::Over;
            }
        };
        if std::mem::take(&mut self.reborn) {
            self.in_doubt_until = self.world.clock.now().0 + DOUBT_MS;
        }
        for (kind, every) in [(Kind::Sync, SYNC_EVERY_S), (Kind::Sweep, SWEEP_EVERY_S)] {
            self.next.insert(kind, (self.now_s() / every + 1) * every);
        }
        loop {
            self.turn(&service).await;
            if self.failure.is_some() {
                return Life::Over;
            }
            if !Kind::ALL.into_iter().any(|kind| service.due().is_due(kind)) {
                let next = self.next.values().copied().min().unwrap_or_default().min(self.next_look);
                if next > self.end_s {
                    service.store().clone().close().await;
                    return Life::Over;
                }
                self.world.idle_until(next);
                continue;
            }
            match self.activation(&service).await {
                Came::Killed => return Life::Ended(RESTART_S),
                Came::ToAnEnd if stop.is_cancelled() => {
                    service.store().clone().close().await;
                    return Life::Ended(RESTART_S);
                }
                Came::ToAnEnd => {}
            }
        }
    }

    /// What goes on beside the runs: the disk, the schedule, and once in a while a look at the alarms.
    async fn turn(&mut self, service: &Service<Pair>) {
        self.look_at_disk().await;
        let now = self.now_s();
        self.see(service);
        for (kind, every) in [(Kind::Sync, SYNC_EVERY_S), (Kind::Sweep, SWEEP_EVERY_S)] {
            while self.next[&kind] <= now {
                let at = self.next[&kind];
                service.due().ask(kind);
                self.oracle.due(kind, START_MS + at * 1000);
                self.next.insert(kind, at + every);
            }
        }
        service.expects(self.next.iter().map(|(kind, at)| (*kind, Timestamp(START_MS + at * 1000))).collect());
        if now >= self.next_look {
            self.look(service).await;
        }
    }

    async fn look_at_disk(&mut self) {
        let now = self.world.clock.now().0;
        let until = self.world.now().disk_until;
        match until {
            Some(until) if until > now && !self.disk_is_full => {
                self.home.fill().await;
                self.disk_is_full = true;
            }
            Some(until) if until <= now => self.make_room(),
            _ => {}
        }
        self.disk_was_full |= self.disk_is_full;
    }

    /// Holds the alarms that stand against those that have to.
    async fn look(&mut self, service: &Service<Pair>) {
        self.next_look = self.now_s() + LOOK_EVERY_S;
        let standing = loop {
            self.hear(service);
            let standing = service.alarms().await;
            // A run may have begun or ended while the alarms were judged.
            if !self.hear(service) && !self.see(service) {
                break standing;
            }
        };
        let Ok((waiting, poisoned)) = service.store().dead_letter_counts().await else { return };
        let now = Now { dead_letters: waiting + poisoned, disk_full: self.disk_is_full };
        let wrong = self.oracle.judge(&standing, &self.world.now(), now);
        if !wrong.is_empty() {
            let minute = self.now_s() / 60;
            self.fail(format!("at minute {minute} of the service:\n  {}", wrong.join("\n  ")));
        }
    }

    /// Tells the oracle of the runs under way, and of one that is about to begin; whether they are others than before.
    fn see(&mut self, service: &Service<Pair>) -> bool {
        let kinds = {
            let published = service.published();
            let published = published.borrow();
            let beginning = published.beginning.iter().map(|beginning| beginning.name);
            published.current.iter().map(|run| run.name).chain(beginning).filter_map(kind_of).collect()
        };
        self.oracle.running(kinds)
    }

    /// Tells the oracle of runs that have ended, of those within a sweep too; whether there were any.
    fn hear(&mut self, service: &Service<Pair>) -> bool {
        let mut ended = last_ended(service);
        ended.retain(|ended| self.heard.insert(ended.run));
        for ended in &ended {
            self.oracle.ended(ended, self.disk_was_full);
        }
        !ended.is_empty()
    }

    /// Lets the platforms' requests in one by one, until the process is killed.
    async fn keep_door(&mut self, service: &Service<Pair>) {
        let store = service.store();
        loop {
            self.world.calm(store).await;
            let dying = self.world.now().dying;
            match dying {
                Some(Moment::Before | Moment::After) => return,
                Some(Moment::Commits(more)) if store.commits() >= self.commits + u64::from(more) => return,
                Some(Moment::Commits(_)) => {}
                None => {
                    self.turn(service).await;
                    self.commits = store.commits();
                }
            }
            if !self.world.let_in() {
                // Somebody waits for a timer of its own.
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    }

    /// One activation and what is asked of it.
    async fn activation(&mut self, service: &Service<Pair>) -> Came {
        let stop = self.world.now().token.clone();
        self.world.begin_run(&stop);
        self.disk_was_full = self.disk_is_full;
        let since = self.world.clock.now().0;
        if !self.sweep_open {
            self.sweep_since = since;
        }
        let outcome = {
            let step = service.step();
            tokio::pin!(step);
            tokio::select! {
                biased;
                () = self.keep_door(service) => None,
                outcome = &mut step => outcome,
            }
        };
        let killed = outcome.is_none() || self.world.now().dying.is_some();
        let ended = self.ended(service);
        let clean = |ended: &Ended| ended.failure.is_none() && ended.exit != 130;
        if killed || ended.is_empty() || !ended.iter().all(clean) {
            self.world.now().note_unrecorded(since, killed);
        }
        self.world.end_run();
        self.world.now().judge_twins();
        if let Some(id) = *super::WATCHED {
            let link = service.store().links_for(&[LiveDeskId(id)]).await;
            let link = link.ok().and_then(|mut links| links.remove(&LiveDeskId(id)));
            let tags = link.as_ref().and_then(|link| Base::decode(&link.base)).map(|base| base.tags);
            let link = link.map(|link| (link.target, link.fingerprint, link.updated_at, link.run, link.standing));
            eprintln!("  {link:?}, {tags:?}");
            eprintln!("  {since} to {}: killed {killed}, {}", self.world.clock.now().0, told(outcome.as_ref()));
        }
        let mut wrong = std::mem::take(&mut self.world.now().violations);
        for ended in &ended {
            let failure = ended.failure.as_deref();
            // It was begun anew at once, and that is judged below.
            let anew = matches!(outcome, Some(Outcome::Refused(_))) && failure == Some(&RunError::Drifted.to_string());
            wrong.extend(self.excuse(failure.filter(|_| !anew), ended.name));
        }
        self.hear(service);
        match &outcome {
            Some(outcome) => self.oracle.came_to(outcome),
            None => self.oracle.killed(),
        }
        if let Some(Outcome::Refused(why) | Outcome::Misfit(why)) = &outcome {
            self.report.refused += 1;
            wrong.extend(self.excuse(Some(why), "activation"));
        }
        if self.disk_was_full && !(ended.iter().all(clean) && matches!(outcome, Some(Outcome::Ran(_)))) {
            self.report.disk_full += 1;
        }
        self.learn_of_proofs(service.store()).await;
        let not_of = unproven(service.store()).await;
        let of_creates = since >= self.in_doubt_until;
        self.reborn |= killed;
        let mut sure = Sure { of_tags: false, saw: None, of_creates, not_of };
        for ended in &ended {
            wrong.extend(self.judge_run(service.store(), ended, since, clean(ended), &mut sure).await);
        }
        // A sweep that is gone on with does not come by those again whom it has passed without their tags.
        self.sweep_open = service.store().open_sweep().await.is_ok_and(|open| open.is_some());
        self.sure_of_tags &= !(killed && self.sweep_open);
        if !wrong.is_empty() {
            let minute = (since - START_MS) / 60_000;
            let wrong: Vec<&str> = wrong.iter().take(5).map(String::as_str).collect();
            let open = service.store().open_intents().await.unwrap_or_default();
            let open: Vec<_> = open
                .iter()
                .map(|intent| (intent.livedesk_id.0, intent.opened_at.0, intent.state, intent.parked_at.map(|at| at.0)))
                .collect();
            self.fail(format!(
                "after the activation at minute {minute} (killed: {killed}):\n  {}\n  in doubt: {open:?}\n  {}",
                wrong.join("\n  "),
                told(outcome.as_ref()),
            ));
        }
        self.report.kills += u32::from(killed);
        match outcome {
            Some(_) if !killed => {
                self.look(service).await;
                Came::ToAnEnd
            }
            _ => Came::Killed,
        }
    }

    /// Sweeps that were proven, also where their run came to no end.
    async fn learn_of_proofs(&self, store: &Store) {
        // No more than one comes to its end in one activation.
        let Some(sweep) = store.finished_sweeps(1).await.unwrap_or_default().pop() else { return };
        let proof = (sweep.started_at.0, sweep.ended_at.0);
        if sweep.verdict == "proven" && !self.world.now().sweeps.contains(&proof) {
            let saw = saw(store).await;
            let mut inner = self.world.now();
            inner.sweeps.push(proof);
            inner.saw.push(saw);
        }
    }

    /// Runs that ended in this activation, the inner ones first.
    fn ended(&mut self, service: &Service<Pair>) -> Vec<Ended> {
        let mut ended = last_ended(service);
        ended.retain(|ended| ended.run.is_some_and(|run| self.seen.insert(run)));
        ended.sort_by_key(|ended| std::cmp::Reverse(ended.run));
        ended
    }

    /// A run may only fail when something is wrong outside.
    fn excuse(&self, failure: Option<&str>, name: &str) -> Option<String> {
        let failure = failure?;
        let excused = ["down", "key was refused", STUCK].iter().any(|word| failure.contains(word));
        let full = self.disk_was_full && failure.contains("full");
        (!excused && !full).then(|| format!("the {name} failed: {failure}"))
    }

    /// Holds both sides against each other after a run, as far as that run has to have brought them together.
    async fn judge_run(
        &mut self,
        store: &Store,
        ended: &Ended,
        since: i64,
        clean: bool,
        sure: &mut Sure,
    ) -> Vec<String> {
        self.report.failed += u32::from(!clean);
        let took = ended.counts["duration_ms"].as_i64().unwrap_or_default();
        let began = ended.at.0 - took;
        if ended.kind == Kind::Sync {
            self.report.syncs += 1;
            self.report.between += u32::from(began > since);
            // Before everything was carried once a sync keeps nothing in step; nor where it says itself that no order can be
            // told, and only sweeps carry.
            let sorted = ended.counts["lane"]["sorted"] != false;
            if clean && sorted && self.report.proven > 0 {
                return self.agrees(began, Some(Lane::Sync), sure);
            }
            return Vec::new();
        }
        self.report.sweeps += 1;
        let tags = &ended.counts["tags"];
        let nothing = |key: &str| tags[key].as_object().is_none_or(serde_json::Map::is_empty);
        let read = nothing("labels_unknown") && nothing("refused") && tags["not_shown"].as_u64().unwrap_or(0) == 0;
        let of_tags = read && tags["labels_empty"].as_array().is_none_or(Vec::is_empty) && tags.is_object();
        sure.of_tags = of_tags && (!self.sweep_open || self.sure_of_tags);
        self.sure_of_tags = sure.of_tags;
        let Some(verdict) = ended.verdict.as_deref().filter(|_| clean) else { return Vec::new() };
        let since = self.sweep_since;
        let proven = verdict == "proven";
        self.report.proven += u32::from(proven);
        sure.saw = if proven { None } else { Some(saw(store).await) };
        let inner = self.world.now();
        if !proven && verdict != "counted" {
            let all_shown = inner.listed.iter().all(|id| inner.shown.get(id).is_some_and(|at| *at >= since));
            let still = inner.list_changed_at < since && all_shown;
            return still
                .then(|| format!("the sweep ended {verdict}, though it was shown everybody"))
                .into_iter()
                .collect();
        }
        drop(inner);
        self.agrees(since, None, sure)
    }

    /// Holds both sides against each other, as far as a run that began then owes it.
    fn agrees(&self, since: i64, lane: Option<Lane>, sure: &Sure) -> Vec<String> {
        let mut inner = self.world.now();
        let wrong = inner.disagreements(since, lane, sure);
        if wrong.is_empty() {
            inner.strike_out(since, lane, sure);
        }
        wrong
    }

    /// The month is over and nothing goes wrong any more: both sides come to agree, and then there is nothing to do. The
    /// service is started once a week, so that each of its sweeps has to be proven.
    fn last_weeks(&mut self) {
        self.world.now().calm();
        self.make_room();
        let mut quiet = false;
        for week in 1..=LAST_WEEKS {
            if self.failure.is_some() {
                return;
            }
            self.rest(7 * 24 * 3600);
            self.end_s = self.now_s();
            let (writes, proven) = (self.world.now().writes, self.report.proven);
            self.process(|month| Box::pin(month.live()));
            quiet = self.world.now().writes == writes && self.report.proven > proven;
            if quiet && week >= WEEKS_TO_ACT {
                break;
            }
        }
        if self.failure.is_some() {
            return;
        }
        let wrong = self.process(|month| Box::pin(month.at_rest(quiet)));
        if let Some(wrong) = wrong {
            self.fail(wrong);
        }
    }

    /// What must hold when all has come to rest.
    async fn at_rest(&mut self, quiet: bool) -> Option<String> {
        let stop = CancellationToken::new();
        let service = match self.home.begin(&self.world, &stop).await {
            Ok(service) => service,
            Err(why) => return Some(format!("the service cannot begin: {why}")),
        };
        let open = service.store().open_intents().await.unwrap_or_default();
        let report = service.store().check().await;
        let seen = service.store().maybe_absent(None, LiveDeskId(0), 10_000).await.unwrap_or_default();
        let letters = service.store().dead_letters().await.unwrap_or_default();
        service.store().clone().close().await;
        if !quiet || !open.is_empty() {
            return Some(format!("the month does not come to rest (quiet: {quiet}, in doubt: {open:?})"));
        }
        match report {
            Ok(report) if report.problems().is_empty() => {}
            report => return Some(format!("the state is not sound: {report:?}")),
        }
        let inner = self.world.now();
        let wrong = inner.absent_disagreements();
        if !wrong.is_empty() {
            return Some(format!("at rest:\n  {}\n{seen:?}", wrong.join("\n  ")));
        }
        let ill = |id: i64| inner.people.get(&id).is_some_and(|person| person.spoilt || person.is_forbidden());
        if let Some(letter) = letters.iter().find(|letter| !ill(letter.livedesk_id.0)) {
            return Some(format!("at rest:\n  set aside though nothing is wrong with it any more: {letter:?}"));
        }
        // Whose reasons are gone; contacts that nobody put right stay set aside, and what is above the ceiling stays so.
        let may_stand = ["dead_letters", "delete_ceiling"];
        let stands = self.oracle.standing().iter().find(|alarm| !may_stand.contains(&alarm.as_str()));
        stands.map(|alarm| format!("at rest:\n  the alarm {alarm} still stands"))
    }
}

/// How the last run of each kind ended, where the process knows it.
fn last_ended(service: &Service<Pair>) -> Vec<Ended> {
    let published = service.published().borrow().clone();
    published.last.into_values().filter(|ended| ended.run.is_some()).collect()
}

fn kind_of(name: &str) -> Option<Kind> {
    if name == "backfill" { Some(Kind::Sweep) } else { Kind::parse(name) }
}

fn told(outcome: Option<&Outcome>) -> String {
    match outcome {
        Some(Outcome::Ran(ended)) => {
            let Ended { name, exit, verdict, failure, counts, .. } = ended;
            let (tags, reasons) = (&counts["tags"], &counts["reasons"]);
            format!("{name} ended {exit} ({verdict:?}): {failure:?}, tags {tags}, reasons {reasons}")
        }
        outcome => format!("{outcome:?}"),
    }
}

/// Whom the last sweep that came to its end saw.
async fn saw(store: &Store) -> BTreeSet<i64> {
    let mut saw = BTreeSet::new();
    let last = store.finished_sweeps(1).await.unwrap_or_default().pop();
    if let Some(last) = last {
        let _none_if_unreadable = store.sighted(last.sweep, |id| saw.extend([id.0])).await;
    }
    saw
}

/// Contacts whose absence could not be proven.
async fn unproven(store: &Store) -> BTreeSet<i64> {
    let letters = store.dead_letters().await.unwrap_or_default();
    let unproven = letters.into_iter().filter(|letter| letter.kind == SetAsideKind::Unproven);
    unproven.map(|letter| letter.livedesk_id.0).collect()
}
