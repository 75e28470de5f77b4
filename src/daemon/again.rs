//! When a sweep that failed is tried again: before its next activation, which may be a day away.

use std::time::Duration;

use crate::clock::Timestamp;

/// The distance to the first try.
const FIRST: Duration = Duration::from_hours(1);
/// Each try doubles it, up to this many times: then the schedule comes round as soon.
const DOUBLINGS: u32 = 4;

/// A sweep that failed, and is to be tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Again {
    failures: u32,
    at: Option<Timestamp>,
}

impl Again {
    /// One failed, for a reason that may pass.
    pub(super) fn failed(&mut self, now: Timestamp) {
        let distance = FIRST.saturating_mul(1 << self.failures.min(DOUBLINGS));
        self.failures = self.failures.saturating_add(1);
        self.at = Some(now.later_by(distance));
    }

    /// One came to its end, or a person has to act first.
    pub(super) fn over(&mut self) {
        *self = Self::default();
    }

    /// Whether it is time; says so once.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_sweep_is_tried_again_after_an_hour_and_then_at_growing_distance_until_one_ends() {
        const MINUTE: i64 = 60_000;
        let mut again = Again::default();
        assert!(!again.is_due(Timestamp(i64::MAX)), "nothing failed");
        let mut now = 0;
        for hours in [1, 2, 4, 8, 16, 16] {
            again.failed(Timestamp(now));
            now += hours * 60 * MINUTE;
            assert!(!again.is_due(Timestamp(now - 1)), "{hours}");
            assert!(again.is_due(Timestamp(now)), "{hours}");
            assert!(!again.is_due(Timestamp(now)), "it is asked for once");
        }
        again.failed(Timestamp(now));
        again.over();
        assert!(!again.is_due(Timestamp(i64::MAX)));
        again.failed(Timestamp(0));
        assert!(again.is_due(Timestamp(60 * MINUTE)), "the first distance anew");
    }
}
