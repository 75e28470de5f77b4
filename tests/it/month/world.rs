//! Both platforms in one process: what they hold, and the weather. Requests come through the door (`door.rs`).
//!
//! No HTTP and no sandbox: plain maps behind one lock, so that a month costs seconds. Time is what requests take, and what
//! the driver lets go by in between, so the same list of operations brings the same month. Operations happen at the first request
//! after their time, in the middle of a run as well; those of agents about a record that this run has read wait for its
//! end, because FIRST LINE has no conditional update and that race is known (docs/ARCHITECTURE.md, "An update").

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use deskferry::clock::{Clock, TestClock};
use deskferry::sync::ports::PortError;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_util::sync::CancellationToken;

use super::desk::Person;
use super::door::Door;
use super::line::{LateWrite, Record};
use super::operations::{Fate, Moment, Op, Operation, Watched};

/// Midnight in Taipei, the first of March 2026.
pub(super) const START_MS: i64 = 1_772_294_400_000;

/// Seconds since the month began.
pub(super) fn elapsed_s(clock: &TestClock) -> i64 {
    (clock.now().0 - START_MS).div_euclid(1000)
}

/// How a stamp filter behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FilterKind {
    Exact,
    Fuzzy,
    Ignored,
}

/// What the notes leave open, drawn from the seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switches {
    /// Contacts when the month begins.
    pub(super) people: u32,
    pub(super) page_size: usize,
    /// Rows of one time come in another order on every page.
    pub(super) shuffled_ties: bool,
    /// Descending is spelled with a minus only.
    pub(super) minus_only: bool,
    /// LiveDesk has a read by id.
    pub(super) by_id: bool,
    pub(super) per_page: usize,
    /// An update resets what it leaves out.
    pub(super) replaces: bool,
    pub(super) list_omits_columns: bool,
    pub(super) children_apart: bool,
    pub(super) filter: FilterKind,
    /// Searches show writes so many seconds late.
    pub(super) lag_s: i64,
    pub(super) id_gap: i64,
    pub(super) stamp_number: bool,
    pub(super) stamp_column: bool,
    /// Requests to FIRST LINE at once.
    pub(super) requests_at_once: usize,
    pub(super) prefetch: usize,
    pub(super) deletes: Deletes,
    pub(super) ceiling: Ceiling,
    /// Hours between the first judgement and a deletion.
    pub(super) grace_h: i64,
}

/// What the program may do about contacts that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deletes {
    Ignore,
    Tag,
    Field,
    Delete,
}

/// How many of them one run may do something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ceiling {
    /// The default: at an account of this size, one or two.
    Low,
    /// All of them.
    High,
}

impl Switches {
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x0073_7769_7463_6865);
        let stamp = rng.random_range(0..3);
        Self {
            people: [12, 40][rng.random_range(0..2)],
            page_size: [5, 15][rng.random_range(0..2)],
            shuffled_ties: rng.random_bool(0.5),
            minus_only: rng.random_bool(0.3),
            by_id: rng.random_bool(0.6),
            per_page: [5, 15][rng.random_range(0..2)],
            replaces: rng.random_bool(0.4),
            list_omits_columns: rng.random_bool(0.4),
            children_apart: rng.random_bool(0.3),
            filter: [FilterKind::Exact, FilterKind::Fuzzy, FilterKind::Ignored][rng.random_range(0..3)],
            lag_s: [0, 0, 30][rng.random_range(0..3)],
            id_gap: [0, 0, 3][rng.random_range(0..3)],
            stamp_number: stamp != 1,
            stamp_column: stamp != 0,
            requests_at_once: [1, 1, 2][rng.random_range(0..3)],
            prefetch: [1, 2][rng.random_range(0..2)],
            deletes: [Deletes::Ignore, Deletes::Tag, Deletes::Field, Deletes::Delete, Deletes::Delete]
                [rng.random_range(0..5)],
            ceiling: [Ceiling::Low, Ceiling::High][rng.random_range(0..2)],
            grace_h: [0, 24][rng.random_range(0..2)],
        }
    }
}

/// What one platform suffers, until when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub(super) down_until: i64,
    /// Whether requests wait for the platform, or give up at once.
    pub(super) patient: bool,
    pub(super) throttled_until: i64,
    pub(super) locked_until: i64,
}

/// Which lane a change at the source is owed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// The next sync: a message, a new contact.
    Sync,
    /// The next sweep: an edit that moves no time.
    Sweep,
}

/// A change that has not arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) at: i64,
    pub(super) lane: Lane,
}

/// Everything there is.
pub(super) struct Inner {
    pub(super) switches: Switches,
    pub(super) queue: VecDeque<Operation>,
    pub(super) deferred: Vec<Operation>,
    /// When the run under way began.
    pub(super) run_since: Option<i64>,
    pub(super) read: BTreeSet<i64>,
    pub(super) kill: Option<(u32, Moment)>,
    pub(super) stop: Option<u32>,
    /// How the process under way is about to be killed.
    pub(super) dying: Option<Moment>,
    /// When a side was first asked in vain, and whether its last answer was a refusal; of the process under way.
    pub(super) failing_since: [Option<i64>; 2],
    pub(super) refused: [Option<bool>; 2],
    /// E-mails and phones of agents' customers who are still to write.
    pub(super) promised: Vec<(Option<String>, Option<String>)>,
    pub(super) token: CancellationToken,
    pub(super) weather: [Weather; 2],
    pub(super) fates: VecDeque<Fate>,
    pub(super) torn: u32,
    /// Whether there is a disk that can be filled.
    pub(super) has_disk: bool,
    /// Until when it is full.
    pub(super) disk_until: Option<i64>,
    pub(super) people: BTreeMap<i64, Person>,
    /// Contacts that were deleted or merged away, and when.
    pub(super) gone: BTreeMap<i64, i64>,
    /// As they were when they went.
    pub(super) departed: BTreeMap<i64, Person>,
    /// Contacts that the list shows.
    pub(super) listed: BTreeSet<i64>,
    /// When a page of the whole list last showed a contact, of all that there ever were.
    pub(super) shown: BTreeMap<i64, i64>,
    pub(super) next_person: i64,
    pub(super) salt: u64,
    pub(super) records: BTreeMap<i64, Record>,
    /// Records that agents deleted or merged away.
    pub(super) lost: BTreeMap<i64, i64>,
    pub(super) next_record: i64,
    pub(super) next_child: i64,
    pub(super) tags: Vec<(i64, String)>,
    pub(super) late: Vec<(i64, LateWrite)>,
    /// For values that were never there before.
    pub(super) fresh: u64,
    /// The record that was made, or adopted, for a contact.
    pub(super) record_of: BTreeMap<i64, i64>,
    /// Contacts whose create got no answer, and when.
    pub(super) doubted: BTreeMap<i64, i64>,
    /// Contacts whose rows may be unknown to the state.
    pub(super) unsure: BTreeSet<i64>,
    pub(super) pending: BTreeMap<(i64, Watched), Pending>,
    /// Contacts that have no customer yet.
    pub(super) unmade: BTreeMap<i64, Pending>,
    pub(super) latencies: Vec<(Lane, i64)>,
    /// When who LiveDesk lists last changed.
    pub(super) list_changed_at: i64,
    /// Customers that the program deleted, of whom, and when.
    pub(super) deleted: Vec<(i64, i64, i64)>,
    /// Contacts whose create was in doubt once, whose rows were unknown once, or that were in somebody's care.
    pub(super) ever_unsure: BTreeSet<i64>,
    /// Sweeps that saw everything: when they began, and when they ended.
    pub(super) sweeps: Vec<(i64, i64)>,
    /// Whom each of them saw.
    pub(super) saw: Vec<BTreeSet<i64>>,
    pub(super) violations: Vec<String>,
    /// Requests, and those of them that wrote to FIRST LINE.
    pub(super) requests: u64,
    pub(super) writes: u64,
    pub(super) tally: BTreeMap<&'static str, u64>,
    /// How the contact stood that is watched.
    pub(super) watched: String,
    pub(super) now: i64,
}

impl Inner {
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub(super) fn violation(&mut self, text: &str) {
        let hour = (self.now - START_MS) / 3_600_000;
        self.violations.push(format!("hour {hour}: {text}"));
    }

    /// A value that was never there before.
    pub(super) fn fresh(&mut self, word: &str) -> String {
        self.fresh += 1;
        format!("{word}{}", self.fresh)
    }
}

/// Both platforms.
pub(super) struct World {
    pub(super) clock: TestClock,
    pub(super) inner: Mutex<Inner>,
    pub(super) door: Door,
}

impl World {
    pub(super) fn new(seed: u64, switches: Switches, operations: &[Operation], has_disk: bool) -> Arc<Self> {
        let inner = Inner {
            switches,
            queue: operations.iter().copied().collect(),
            deferred: Vec::new(),
            run_since: None,
            read: BTreeSet::new(),
            kill: None,
            stop: None,
            dying: None,
            failing_since: [None; 2],
            refused: [None; 2],
            promised: Vec::new(),
            token: CancellationToken::new(),
            weather: [Weather::default(); 2],
            fates: VecDeque::new(),
            torn: 0,
            has_disk,
            disk_until: None,
            people: BTreeMap::new(),
            gone: BTreeMap::new(),
            departed: BTreeMap::new(),
            listed: BTreeSet::new(),
            shown: BTreeMap::new(),
            next_person: 100,
            salt: seed,
            records: BTreeMap::new(),
            lost: BTreeMap::new(),
            next_record: 1,
            next_child: 1,
            tags: Vec::new(),
            late: Vec::new(),
            fresh: 0,
            record_of: BTreeMap::new(),
            doubted: BTreeMap::new(),
            unsure: BTreeSet::new(),
            pending: BTreeMap::new(),
            unmade: BTreeMap::new(),
            latencies: Vec::new(),
            list_changed_at: START_MS,
            deleted: Vec::new(),
            ever_unsure: BTreeSet::new(),
            sweeps: Vec::new(),
            saw: Vec::new(),
            violations: Vec::new(),
            requests: 0,
            writes: 0,
            tally: BTreeMap::new(),
            watched: String::new(),
            now: START_MS,
        };
        let mut inner = inner;
        // An account in use: what is new to it must not look like another account.
        for draw in 0..switches.people {
            inner.apply(Operation { at: 0, op: Op::Create(draw) });
            // Of one instant, nobody could tell how descending order is spelled.
            let hours = i64::from(switches.people - draw);
            for person in inner.people.values_mut().filter(|person| person.created_s == START_MS / 1000) {
                person.created_s -= hours * 3600;
                person.active_s = Some(person.created_s);
            }
        }
        let clock = TestClock::default();
        clock.advance_ms(START_MS);
        Arc::new(Self { clock, inner: Mutex::new(inner), door: Door::default() })
    }

    /// Everything, at this moment: what was due has happened.
    pub(super) fn now(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap();
        inner.now = self.clock.now().0;
        inner.happen();
        inner
    }

    /// Time goes by while nothing runs, operation by operation.
    pub(super) fn idle_until(&self, at_s: i64) {
        loop {
            let next = self.now().queue.front().map_or(at_s, |operation| operation.at.min(at_s));
            let left = next - elapsed_s(&self.clock);
            if left > 0 {
                self.clock.advance_ms(left * 1000);
            }
            drop(self.now());
            if next >= at_s {
                return;
            }
        }
    }

    /// A run begins.
    pub(super) fn begin_run(&self, token: &CancellationToken) {
        let mut inner = self.now();
        inner.token = token.clone();
        inner.run_since = Some(inner.now);
    }

    /// It ended, by itself or not: what agents waited for happens.
    pub(super) fn end_run(&self) {
        let mut inner = self.now();
        inner.run_since = None;
        inner.read.clear();
        let deferred = std::mem::take(&mut inner.deferred);
        for operation in deferred {
            inner.apply(operation);
        }
    }
}

impl Inner {
    /// A run did not end well: what it made and wrote may be unknown to the state.
    pub(super) fn note_unrecorded(&mut self, since: i64, killed: bool) {
        for record in self.records.values_mut() {
            for cell in record.cells.values_mut() {
                if cell.program_at.is_some_and(|at| at >= since) {
                    cell.program = None;
                }
            }
            let Some(person) = record.person else { continue };
            if killed && record.by == super::line::By::Program && record.made_at >= since {
                self.doubted.insert(person, self.now);
                self.ever_unsure.insert(person);
            }
            let rows = record.emails.iter().chain(&record.phones);
            let hung = rows.into_iter().any(|row| row.by == super::line::By::Program && row.at >= since);
            if hung || record.written_at >= since {
                self.unsure.insert(person);
                self.ever_unsure.insert(person);
            }
        }
    }

    /// What is due happens.
    pub(super) fn happen(&mut self) {
        self.arrive_late();
        while self.queue.front().is_some_and(|operation| START_MS + operation.at * 1000 <= self.now) {
            if let Some(operation) = self.queue.pop_front() {
                self.apply(operation);
            }
        }
    }
}

/// A platform that cannot be reached.
pub(super) fn unavailable() -> PortError {
    PortError::Unavailable { message: String::from("the platform is down"), source: None }
}

pub(super) fn stop() -> PortError {
    PortError::Stop { message: String::from("the key was refused"), source: None }
}

/// No answer came.
pub(super) fn doubt() -> PortError {
    PortError::Doubt { source: None }
}
