//! How long to wait before the next attempt. The only file that knows the `backoff` crate (unmaintained,
//! RUSTSEC-2025-0012), so that changing it is a change of one file.
//!
//! `backoff` gives the growing ceiling; the jitter is ours, because the crate's own is neither full nor seedable.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Distances between attempts; valid by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    first: Duration,
    ceiling: Duration,
    give_up_after: u32,
}

/// Why a policy makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The first distance is above the ceiling.
    #[error("the first distance between attempts is longer than the longest one")]
    FirstAboveCeiling,
    /// A request would be given up before it was sent twice.
    #[error("a request needs at least one attempt")]
    NoAttempt,
}

impl RetryPolicy {
    /// Distances grow from `first` by doubling up to `ceiling`; a request that fails `give_up_after` times while the
    /// platform serves others is given up.
    pub fn new(first: Duration, ceiling: Duration, give_up_after: u32) -> Result<Self, PolicyError> {
        if first > ceiling {
            return Err(PolicyError::FirstAboveCeiling);
        }
        if give_up_after == 0 {
            return Err(PolicyError::NoAttempt);
        }
        Ok(Self { first, ceiling, give_up_after })
    }

    /// No distance at all: for tests with sockets.
    #[cfg(test)]
    pub(crate) fn without_delays() -> Self {
        Self { first: Duration::ZERO, ceiling: Duration::ZERO, give_up_after: 5 }
    }

    pub(super) fn first(&self) -> Duration {
        self.first
    }

    pub(super) fn give_up_after(&self) -> u32 {
        self.give_up_after
    }

    /// The ceilings in turn.
    pub(super) fn distances(&self) -> Distances {
        Distances(ExponentialBackoff {
            current_interval: self.first,
            initial_interval: self.first,
            randomization_factor: 0.0,
            multiplier: 2.0,
            max_interval: self.ceiling,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), ceiling: Duration::from_mins(1), give_up_after: 5 }
    }
}

/// Growing distances.
#[derive(Debug)]
pub(super) struct Distances(ExponentialBackoff);

impl Distances {
    pub(super) fn next(&mut self) -> Duration {
        // `None` means that the elapsed time is used up, and there is no such limit here.
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }
}

/// Full jitter: anything between nothing and the distance, so that workers that failed together part.
#[derive(Debug)]
pub(super) struct Jitter(Mutex<StdRng>);

impl Jitter {
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(seed.map_or_else(rand::make_rng, StdRng::seed_from_u64)))
    }

    pub(super) fn of(&self, distance: Duration) -> Duration {
        let part: f64 = self.0.lock().unwrap_or_else(PoisonError::into_inner).random();
        distance.mul_f64(part)
    }
}

/// What the server asks for, within reason; the larger of it and our own wish.
pub(super) fn wait_for(own: Duration, asked: Option<Duration>, max_wait: Duration) -> Duration {
    asked.map_or(own, |asked| own.max(asked.min(max_wait)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Jitter, PolicyError, RetryPolicy, wait_for};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn distances_double_up_to_the_ceiling() {
        let mut distances = RetryPolicy::new(SECOND, SECOND * 5, 5).unwrap().distances();
        let seen: Vec<u64> = (0..5).map(|_| distances.next().as_secs()).collect();
        assert_eq!(seen, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_refused() {
        assert_eq!(RetryPolicy::new(SECOND * 2, SECOND, 5), Err(PolicyError::FirstAboveCeiling));
        assert_eq!(RetryPolicy::new(SECOND, SECOND, 0), Err(PolicyError::NoAttempt));
    }

    #[test]
    fn jitter_is_full_and_comes_from_its_seed() {
        let draw = |seed| {
            let jitter = Jitter::new(Some(seed));
            (0..200).map(|_| jitter.of(SECOND)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).iter().all(|wait| *wait <= SECOND));
        assert!(draw(1).iter().any(|wait| *wait < SECOND / 10) && draw(1).iter().any(|wait| *wait > SECOND * 9 / 10));
    }

    #[test]
    fn the_larger_wait_wins_and_the_servers_wish_is_clamped() {
        let rows = [
            (SECOND, None, SECOND),
            (SECOND, Some(SECOND * 3), SECOND * 3),
            (SECOND * 5, Some(SECOND * 3), SECOND * 5),
            (SECOND, Some(SECOND * 9_000), SECOND * 900),
        ];
        for (own, asked, expected) in rows {
            assert_eq!(wait_for(own, asked, SECOND * 900), expected);
        }
    }
}
