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

/// The board. Clones share it.
#[derive(Clone, Debug)]
pub struct Board(Arc<Mutex<Snapshot>>);

/// Everything on the board at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// When the service began.
    pub started_at: Option<Timestamp>,
    /// Runs under way, the outer one first.
    pub running: Vec<Running>,
    /// The next activation of each kind: one in the past was due and has not begun yet.
    pub next: BTreeMap<Kind, Timestamp>,
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
    /// Since when it was asked in vain; `None` when its last answer came after that.
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

    /// Whether a run of this kind is under way.
    pub fn is_running(&self, kind: &str) -> bool {
        self.running.iter().any(|running| running.kind == kind)
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

    /// A run begins.
    pub fn run_began(&self, run: RunId, kind: &'static str, now: Timestamp) {
        let mut board = self.lock();
        if board.running.len() < RUNNING {
            board.running.push(Running { run, kind, since: now });
        }
    }

    /// A run is over.
    pub fn run_ended(&self, run: RunId) {
        self.lock().running.retain(|running| running.run != run);
    }

    /// When a kind is due next, or was due without having begun; `None` when it is off.
    pub fn next(&self, kind: Kind, at: Option<Timestamp>) {
        let mut board = self.lock();
        match at {
            Some(at) => drop(board.next.insert(kind, at)),
            None => drop(board.next.remove(&kind)),
        }
    }

    /// Changes up to this moment are carried.
    pub fn carried_until(&self, at: Timestamp) {
        self.lock().carried_until = Some(at);
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

    /// A platform was asked and did not answer.
    pub fn unanswered(&self, platform: Platform, now: Timestamp) {
        self.lock().reach_mut(platform).failing_since.get_or_insert(now);
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    fn reach_mut(&mut self, platform: Platform) -> &mut Reach {
        match platform {
            Platform::LiveDesk => &mut self.livedesk,
            Platform::FirstLine => &mut self.firstline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Board, Timestamp};
    use crate::domain::ids::RunId;
    use crate::ops::Platform;
    use crate::ops::trigger::Kind;

    #[test]
    fn a_quick_cycle_within_a_sweep_is_shown_beside_it_and_ends_alone() {
        let board = Board::new(Timestamp(1));
        board.run_began(RunId(1), "sweep", Timestamp(2));
        board.run_began(RunId(2), "sync", Timestamp(3));
        assert!(board.snapshot().is_running("sweep") && board.snapshot().is_running("sync"));
        board.run_ended(RunId(2));
        assert!(board.snapshot().is_running("sweep") && !board.snapshot().is_running("sync"));
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
    fn a_kind_that_is_switched_off_has_no_next_activation() {
        let board = Board::new(Timestamp(0));
        board.next(Kind::Sweep, Some(Timestamp(7)));
        board.next(Kind::Sweep, None);
        assert!(board.snapshot().next.is_empty());
    }
}
