//! What the running service says of itself: which run is under way, what comes next, and how the platforms answer.
//!
//! Plain setters behind one lock that is never held for longer than a copy. What the state knows (runs, links, sweeps)
//! is not here; it is read from the state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::domain::ids::RunId;

use super::Platform;
use super::trigger::Kind;

/// Runs under way at once, at most: a sweep and the quick cycle that it lets through.
const RUNNING: usize = 4;

/// The schedule knows whole seconds: a run that ended so shortly before its time was begun by it.
const EARLY_MS: i64 = 1_000;

/// The board. Clones share it.
#[derive(Clone, Debug)]
pub struct Board(Arc<Mutex<Snapshot>>);

/// Everything on the board at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// When the service began.
    pub started_at: Option<Timestamp>,
    /// What is about to become a run: both platforms are looked at first, and may have to be waited for.
    pub beginning: Option<Beginning>,
    /// Runs under way, the outer one first.
    pub running: Vec<Running>,
    /// The next activation of each kind that is on.
    pub next: BTreeMap<Kind, Timestamp>,
    /// The earliest activation of each kind that passed, and since which no run of that kind was under way.
    pub passed: BTreeMap<Kind, Timestamp>,
    /// When a run that served each kind last ended.
    pub ran: BTreeMap<Kind, Timestamp>,
    /// Why no run can begin at all, until somebody acts.
    pub held: Option<String>,
    /// How LiveDesk answers.
    pub livedesk: Reach,
    /// How FIRST LINE answers.
    pub firstline: Reach,
    /// The moment up to which changes of active contacts are carried.
    pub carried_until: Option<Timestamp>,
    /// Deletions that stand above the ceiling; `None` while no sweep has judged.
    pub held_deletes: Option<HeldDeletes>,
}

/// A run under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub run: RunId,
    /// Its kind.
    pub kind: &'static str,
    /// Since when.
    pub since: Timestamp,
}

/// What is about to become a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Its kind.
    pub kind: &'static str,
    /// Since when.
    pub since: Timestamp,
}

/// Contacts that are proven gone, and how many a run may act on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldDeletes {
    /// Contacts that would be acted on; 0: nothing is held back.
    pub held: u64,
    /// The ceiling.
    pub ceiling: u64,
}

/// How one platform answers, since this process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// When it last answered.
    pub answered_at: Option<Timestamp>,
    /// Since when it was asked in vain, 429 included; `None` when an answer of use came after that.
    pub failing_since: Option<Timestamp>,
    /// Its last status was 401, 403 or 419, or a refused login.
    pub refused: Option<bool>,
}

impl Snapshot {
    /// How a platform answers.
    pub fn reach(&self, platform: Platform) -> &Reach {
        match platform {
            Platform::LiveDesk => &self.livedesk,
            Platform::FirstLine => &self.firstline,
        }
    }

    /// Whether a run of this name is under way, or about to be.
    pub fn is_running(&self, name: &str) -> bool {
        self.at_work().any(|kind| kind == name)
    }

    /// The activation that should have begun by now and has not.
    pub fn overdue(&self, kind: Kind, now: Timestamp) -> Option<Timestamp> {
        if self.is_served(kind) {
            return None;
        }
        // A service that hangs does not even move its next activation on.
        let stuck = self.next.get(&kind).filter(|at| **at <= now);
        self.passed.get(&kind).or(stuck).copied()
    }
}

impl Board {
    /// An empty board of a service that begins now.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Snapshot { started_at: Some(now), ..Snapshot::default() })))
    }

    /// A copy.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    /// The runs under way now.
    pub fn running(&self, runs: Vec<Running>) {
        let mut board = self.lock();
        for kind in runs.iter().filter_map(|run| Kind::of_run(run.kind)) {
            board.passed.remove(&kind);
        }
        board.running = runs;
        board.running.truncate(RUNNING);
    }

    /// What is about to become a run.
    pub fn beginning(&self, what: Option<Beginning>) {
        let mut board = self.lock();
        if let Some(kind) = what.and_then(|what| Kind::of_run(what.kind)) {
            board.passed.remove(&kind);
        }
        board.beginning = what;
    }

    /// A run of this name was under way at this time, and may have been too short to be seen.
    pub fn ran(&self, name: &str, at: Timestamp) {
        let Some(kind) = Kind::of_run(name) else { return };
        let mut board = self.lock();
        board.ran.insert(kind, at);
        if board.passed.get(&kind).is_some_and(|passed| *passed <= at) {
            board.passed.remove(&kind);
        }
    }

    /// When each kind that is on is due next. What was due before and is past now is expected to begin.
    pub fn next(&self, next: BTreeMap<Kind, Timestamp>, now: Timestamp) {
        let mut board = self.lock();
        let before = std::mem::replace(&mut board.next, next);
        for (kind, at) in before {
            let moved = board.next.get(&kind).is_some_and(|next| *next != at);
            // An end that lies ahead was told by a clock that was set back since.
            let ran = board.ran.get(&kind).is_some_and(|ran| *ran <= now && at.0 <= ran.0.saturating_add(EARLY_MS));
            if moved && at <= now && !ran && !board.is_served(kind) {
                board.passed.entry(kind).or_insert(at);
            }
        }
        let on: Vec<Kind> = board.next.keys().copied().collect();
        board.passed.retain(|kind, _| on.contains(kind));
    }

    /// Why no run can begin at all; `None`: one can.
    pub fn held(&self, why: Option<String>) {
        self.lock().held = why;
    }

    /// Changes up to this moment are carried; `None` while nothing was.
    pub fn carried_until(&self, at: Option<Timestamp>) {
        self.lock().carried_until = at;
    }

    /// What a sweep that judged absence holds back, because it is above the ceiling.
    pub fn deletes(&self, held: HeldDeletes) {
        self.lock().held_deletes = Some(held);
    }

    /// A platform answered; `refused` says whether it did not accept our credentials.
    pub fn answered(&self, platform: Platform, now: Timestamp, refused: bool) {
        let mut board = self.lock();
        *board.reach_mut(platform) = Reach { answered_at: Some(now), failing_since: None, refused: Some(refused) };
    }

    /// A platform answered that it takes no requests now. It is there, and of no use for as long as it says nothing else.
    pub fn throttled(&self, platform: Platform, now: Timestamp) {
        let mut board = self.lock();
        let reach = board.reach_mut(platform);
        let failing_since = Some(reach.failing_since.unwrap_or(now));
        *reach = Reach { answered_at: Some(now), failing_since, refused: Some(false) };
    }

    /// A platform was asked and did not answer.
    pub fn unanswered(&self, platform: Platform, now: Timestamp) {
        self.lock().reach_mut(platform).failing_since.get_or_insert(now);
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    /// Whether a run that serves this kind is under way.
    fn is_served(&self, kind: Kind) -> bool {
        self.at_work().any(|name| Kind::of_run(name) == Some(kind))
    }

    fn at_work(&self) -> impl Iterator<Item = &'static str> {
        self.running.iter().map(|running| running.kind).chain(self.beginning.map(|beginning| beginning.kind))
    }

    fn reach_mut(&mut self, platform: Platform) -> &mut Reach {
        match platform {
            Platform::LiveDesk => &mut self.livedesk,
            Platform::FirstLine => &mut self.firstline,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Board, Running, Timestamp};
    use crate::domain::ids::RunId;
    use crate::ops::Platform;
    use crate::ops::trigger::Kind;

    fn run(id: i64, kind: &'static str) -> Running {
        Running { run: RunId(id), kind, since: Timestamp(0) }
    }

    fn sync_at(ms: i64) -> BTreeMap<Kind, Timestamp> {
        BTreeMap::from([(Kind::Sync, Timestamp(ms))])
    }

    #[test]
    fn failures_count_from_the_first_one_after_an_answer() {
        let board = Board::new(Timestamp(0));
        let reach = || board.snapshot().livedesk;
        board.unanswered(Platform::LiveDesk, Timestamp(5));
        board.unanswered(Platform::LiveDesk, Timestamp(9));
        assert_eq!(reach().failing_since, Some(Timestamp(5)));
        board.answered(Platform::LiveDesk, Timestamp(10), false);
        assert_eq!((reach().failing_since, reach().answered_at), (None, Some(Timestamp(10))));
        assert_eq!(board.snapshot().firstline.answered_at, None);
    }

    #[test]
    fn an_activation_that_passed_is_overdue_until_a_run_of_its_kind_is_seen_or_was() {
        let board = Board::new(Timestamp(0));
        let overdue = |now| board.snapshot().overdue(Kind::Sync, Timestamp(now));
        board.next(sync_at(100), Timestamp(0));
        assert_eq!((overdue(99), overdue(100)), (None, Some(Timestamp(100))), "a service that hangs moves nothing on");
        board.next(sync_at(200), Timestamp(101));
        board.next(sync_at(300), Timestamp(201));
        assert_eq!(overdue(202), Some(Timestamp(100)), "the earliest one");
        board.running(vec![run(1, "sweep")]);
        assert_eq!(overdue(203), Some(Timestamp(100)), "a sweep is no sync");
        board.running(vec![run(1, "sweep"), run(2, "sync")]);
        assert_eq!(overdue(203), None);
        board.running(Vec::new());
        assert_eq!(overdue(204), None, "it was served");
        board.next(sync_at(400), Timestamp(301));
        board.ran("sync", Timestamp(299));
        assert_eq!(overdue(302), Some(Timestamp(300)), "a run before it does not serve it");
        board.ran("sync", Timestamp(302));
        assert_eq!(overdue(303), None, "one too short to be seen does");
    }

    #[test]
    fn a_sync_that_ended_before_the_schedule_was_looked_at_again_was_not_missed() {
        let board = Board::new(Timestamp(0));
        let overdue = |now| board.snapshot().overdue(Kind::Sync, Timestamp(now));
        board.next(sync_at(100), Timestamp(0));
        board.ran("sync", Timestamp(101));
        board.next(sync_at(200_000), Timestamp(103));
        assert_eq!(overdue(104), None);
        // The scheduler knows whole seconds, and may be a little early.
        board.ran("sync", Timestamp(199_400));
        board.next(sync_at(300_000), Timestamp(200_001));
        assert_eq!(overdue(200_002), None);
        board.next(sync_at(400_000), Timestamp(300_001));
        assert_eq!(overdue(300_002), Some(Timestamp(300_000)), "the run before the last one does not serve it");
    }

    #[test]
    fn a_run_of_before_the_clock_was_set_back_serves_nothing_that_comes_after() {
        let board = Board::new(Timestamp(0));
        board.ran("sync", Timestamp(9_000_000));
        board.next(sync_at(1_000_000), Timestamp(900_000));
        board.next(sync_at(2_000_000), Timestamp(1_000_001));
        assert_eq!(board.snapshot().overdue(Kind::Sync, Timestamp(1_000_002)), Some(Timestamp(1_000_000)));
    }

    #[test]
    fn a_backfill_serves_a_sweep_and_what_is_switched_off_is_never_overdue() {
        let board = Board::new(Timestamp(0));
        let sweep = |ms| BTreeMap::from([(Kind::Sweep, Timestamp(ms))]);
        board.running(vec![run(1, "backfill")]);
        board.next(sweep(10), Timestamp(0));
        board.next(sweep(20), Timestamp(11));
        board.running(Vec::new());
        assert_eq!(board.snapshot().overdue(Kind::Sweep, Timestamp(12)), None);
        board.next(sweep(30), Timestamp(21));
        assert_eq!(board.snapshot().overdue(Kind::Sweep, Timestamp(22)), Some(Timestamp(20)));
        board.next(BTreeMap::new(), Timestamp(23));
        assert_eq!(board.snapshot().overdue(Kind::Sweep, Timestamp(24)), None);
    }
}
