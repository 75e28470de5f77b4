//! What one request has been through, and when it is enough. Pure: it is told what happened.
//!
//! A request that fails as all do while a platform is down says little by itself. Where the adapter named a request that the
//! platform surely answers (the *known* one), that one is asked before anybody draws a conclusion: unanswered, the platform
//! is down, and what failed meanwhile counts for nothing; answered right before and right after the last failure of this
//! request, it is this request that is bad.

use std::time::Duration;

use super::error::ApiError;
use super::retry::{Distances, RetryPolicy};

/// A failure that nobody else's success speaks against, or that is an outage's by its look, gets this many times the usual
/// number of attempts; so does one that is always asked to slow down.
const PATIENCE: u32 = 4;

/// What is to be done after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It may pass: again, at the next distance.
    Again,
    /// The known request has the word; `Trials::heard` says what follows.
    Ask,
    /// It is enough.
    GiveUp,
}

/// What one request has been through.
#[derive(Debug, Default)]
pub(super) struct Trials {
    /// Attempts made.
    pub(super) attempts: u32,
    /// Time in attempts and own waits since it began to count.
    pub(super) spent: Duration,
    /// All time since the first attempt, the turns of the budget aside.
    pub(super) waited: Duration,
    /// Failures that count towards giving up: not throttling, not a platform that is down for all.
    failures: u32,
    /// Refusals with 429 in a row.
    throttles: u32,
    /// Successes of all work when this request first failed.
    successes_before: u64,
    distances: Option<Distances>,
    /// The last attempt failed as requests do when the platform is down, or throttled for too often: the known request is to be asked.
    asks: bool,
    /// The known request was answered since this one last failed, and was before that.
    vouched: bool,
    vouched_before: bool,
    /// The platform answered the known request while this one failed: its failures say nothing about the platform any more.
    is_suspect: bool,
    /// Enough, if the known request is answered once more.
    is_over: bool,
    /// Successes of all work when the known request was last not answered.
    unheard_at: Option<u64>,
}

impl Trials {
    /// Whether its failures say nothing about the platform, which answered the known request meanwhile.
    pub(super) fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    /// The known request was not answered. Whether the platform is there all the same: others succeeded since it last was not.
    pub(super) fn is_served_beside(&mut self, successes: u64) -> bool {
        let before = *self.unheard_at.get_or_insert(successes);
        let served = successes > before;
        if !served {
            self.unheard_at = Some(successes);
        }
        served
    }

    /// Whether the known request is to be asked before this one is sent again; `ends` says that it will not be sent again.
    pub(super) fn asks(&self, ends: bool) -> bool {
        self.asks || (ends && !self.vouched)
    }

    /// Whether somebody else succeeded since this request first failed.
    pub(super) fn others_succeeded(&self, successes: u64) -> bool {
        successes > self.successes_before
    }

    /// How long to wait for the next attempt, before jitter.
    pub(super) fn distance(&mut self, policy: &RetryPolicy) -> Duration {
        self.distances.get_or_insert_with(|| policy.distances()).next()
    }

    /// It took so long, in an attempt or in a wait of its own.
    pub(super) fn took(&mut self, time: Duration) {
        self.spent += time;
        self.waited += time;
    }

    /// Everybody is asked to slow down, and it may be this request alone. `has_known`: there is a known request.
    pub(super) fn throttled(&mut self, has_known: bool, policy: &RetryPolicy) -> Next {
        self.throttles += 1;
        self.failed_again();
        // Without anything to compare it with it is waited for, as everybody waits.
        if has_known && self.throttles >= policy.give_up_after().saturating_mul(PATIENCE) {
            return self.enough();
        }
        Next::Again
    }

    /// A failure that may pass. A platform that is down for all is waited for without end; a request that fails while others
    /// succeed is not, and a server that answers this request with 500 and no other request at all gets more patience,
    /// but not for ever.
    pub(super) fn failed(
        &mut self,
        error: &ApiError,
        successes: u64,
        has_known: bool,
        (policy, total_timeout): (&RetryPolicy, Duration),
    ) -> Next {
        if self.failures == 0 {
            self.successes_before = successes;
        }
        self.failures += 1;
        self.throttles = 0;
        self.failed_again();
        let (usual, outage, others) = (policy.give_up_after(), error.is_outage(), self.others_succeeded(successes));
        let limit = match (outage, others) {
            (false, true) => usual,
            (true, false) if !has_known => return Next::Again,
            _ => usual.saturating_mul(PATIENCE),
        };
        if self.failures < limit && self.spent < total_timeout {
            return Next::Again;
        }
        if outage && has_known { self.enough() } else { Next::GiveUp }
    }

    /// The known request was asked. Whether it is enough now: it was answered on both sides of the last failure.
    pub(super) fn heard(&mut self, answered: bool) -> bool {
        self.asks = false;
        if !answered {
            // What failed while the platform was down for all does not count.
            (self.failures, self.throttles, self.spent, self.distances) = (0, 0, Duration::ZERO, None);
            (self.vouched, self.is_suspect, self.is_over) = (false, false, false);
            return false;
        }
        self.vouched = true;
        self.is_suspect |= self.failures > 0;
        self.is_over
    }

    fn failed_again(&mut self) {
        self.vouched_before = std::mem::take(&mut self.vouched);
    }

    fn enough(&mut self) -> Next {
        self.asks = true;
        self.is_over = self.vouched_before;
        Next::Ask
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::error::{ApiError, ErrorShape};
    use super::super::retry::RetryPolicy;
    use super::{Next, Trials};

    const SECOND: Duration = Duration::from_secs(1);
    const TEN_MINUTES: Duration = Duration::from_mins(10);

    fn status(status: u16) -> ApiError {
        let fields = std::collections::BTreeSet::new();
        ApiError::Status { status, fields, code: None, retry_after: None, shape: ErrorShape::Empty }
    }

    /// What follows a failure after an attempt of so many seconds, with a known request or without one.
    fn fail(trials: &mut Trials, code: u16, seconds: u32, known: bool, successes: u64) -> Next {
        trials.took(SECOND * seconds);
        trials.failed(&status(code), successes, known, (&RetryPolicy::default(), TEN_MINUTES))
    }

    /// How many failures there are until something else than another try follows; at most a thousand.
    fn until(trials: &mut Trials, code: u16, seconds: u32, known: bool, successes: u64) -> (u32, Next) {
        let found = (1..=1000).find_map(|nth| match fail(trials, code, seconds, known, successes) {
            Next::Again => None,
            next => Some((nth, next)),
        });
        found.unwrap_or((1000, Next::Again))
    }

    #[test]
    fn without_a_known_request_an_outage_is_waited_for_without_end_and_a_500_is_not() {
        assert_eq!(until(&mut Trials::default(), 502, 20, false, 0), (1000, Next::Again));
        assert_eq!(until(&mut Trials::default(), 500, 0, false, 0), (20, Next::GiveUp));
        assert_eq!(until(&mut Trials::default(), 500, 0, true, 0), (20, Next::GiveUp), "the platform answers");
        assert_eq!(until(&mut Trials::default(), 500, 60, false, 0), (10, Next::GiveUp), "the time of all attempts");
    }

    #[test]
    fn while_others_succeed_a_500_has_the_usual_attempts_and_an_outage_more() {
        for (code, expected) in [(500, 4), (502, 19)] {
            let mut trials = Trials::default();
            fail(&mut trials, code, 0, false, 7);
            assert_eq!(until(&mut trials, code, 0, false, 8), (expected, Next::GiveUp), "{code}");
        }
    }

    #[test]
    fn it_is_enough_when_the_known_request_was_answered_on_both_sides_of_the_last_failure() {
        for (seconds, failures) in [(0, 20), (20, 20), (60, 10)] {
            let mut trials = Trials::default();
            let (nth, next) = until(&mut trials, 504, seconds, true, 0);
            assert_eq!((nth, next), (failures, Next::Ask), "{seconds} s each");
            assert!(trials.asks(false));
            assert!(!trials.heard(true), "answered after it, and nobody knows of before: one more try");
            assert!(!trials.asks(false) && trials.is_suspect());
            assert_eq!(fail(&mut trials, 504, seconds, true, 0), Next::Ask);
            assert!(trials.heard(true), "now it is");
        }
    }

    #[test]
    fn what_failed_while_the_known_request_failed_too_counts_for_nothing() {
        let mut trials = Trials::default();
        assert_eq!(until(&mut trials, 504, 20, true, 0), (20, Next::Ask));
        assert!(!trials.heard(false));
        assert!(!trials.asks(false) && !trials.is_suspect() && trials.spent.is_zero());
        assert!(trials.waited > Duration::ZERO, "what it says is as old as before");
        assert_eq!(until(&mut trials, 504, 20, true, 0), (20, Next::Ask), "it has all its attempts again");
        assert!(!trials.heard(true));
        assert_eq!(fail(&mut trials, 504, 20, true, 0), Next::Ask);
        assert!(!trials.heard(false), "down after all");
        assert!(!trials.heard(true), "and up again: it is tried");
        assert_eq!(fail(&mut trials, 504, 20, true, 0), Next::Again);
    }

    #[test]
    fn a_request_that_is_always_asked_to_slow_down_is_given_up_only_where_the_known_one_is_not() {
        let policy = RetryPolicy::default();
        let mut trials = Trials::default();
        assert!((0..1000).all(|_| trials.throttled(false, &policy) == Next::Again));
        let mut trials = Trials::default();
        let row = |trials: &mut Trials| (1..100).find(|_| trials.throttled(true, &policy) == Next::Ask);
        assert_eq!(row(&mut trials), Some(20));
        assert!(!trials.heard(false), "everybody is");
        assert_eq!(row(&mut trials), Some(20));
        assert!(!trials.heard(true), "the spell may have just ended: it is tried once more");
        assert_eq!(trials.throttled(true, &policy), Next::Ask);
        assert!(trials.heard(true));
    }

    #[test]
    fn a_request_that_ends_for_another_reason_asks_whether_its_failure_was_the_platforms() {
        let mut trials = Trials::default();
        fail(&mut trials, 504, 20, true, 0);
        assert!(trials.asks(true) && !trials.asks(false));
        assert!(!trials.heard(true));
        assert!(!trials.asks(true), "it was answered since");
    }
}
