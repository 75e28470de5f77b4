//! The rate: at most so many requests started per second, by all work on a platform together.
//!
//! A reservation per request (GCRA with a burst of one) rather than a bucket that waiters poll: each waiter sleeps
//! once, they go in the order in which they came, and no second ever sees more than the rate allows. Booking is told the time,
//! so that tests need not wait.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Paces the requests of one platform.
#[derive(Debug)]
pub struct Limiter {
    /// Distance between two requests; `None`: no limit.
    period: Option<Duration>,
    /// When the next request may start.
    next: Mutex<Option<Instant>>,
}

impl Limiter {
    /// A limiter for this many requests per second; none for 0 (or anything that is no rate).
    pub fn per_second(rate: f64) -> Self {
        let period = (rate > 0.0 && rate.is_finite()).then(|| Duration::from_secs_f64((1.0 / rate).min(3600.0)));
        Self { period, next: Mutex::new(None) }
    }

    /// Waits for this request's turn.
    pub async fn ready(&self) {
        if let Some(turn) = self.reserve(Instant::now()) {
            sleep_until(turn).await;
        }
    }

    /// Books a turn; `None` means now.
    fn reserve(&self, now: Instant) -> Option<Instant> {
        let period = self.period?;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + period);
        (turn > now).then_some(turn)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Limiter;

    #[test]
    fn requests_keep_their_distance_and_idle_time_is_not_saved_up() {
        let (limiter, start) = (Limiter::per_second(4.0), Instant::now());
        let waits = |now| {
            let wait = |_| limiter.reserve(now).map_or(0, |turn| (turn - now).as_millis());
            (0..4).map(wait).collect::<Vec<_>>()
        };
        assert_eq!(waits(start), [0, 250, 500, 750]);
        assert_eq!(waits(start + Duration::from_secs(10)), [0, 250, 500, 750]);
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let limiter = Limiter::per_second(rate);
            assert_eq!([limiter.reserve(Instant::now()), limiter.reserve(Instant::now())], [None, None]);
        }
    }
}
