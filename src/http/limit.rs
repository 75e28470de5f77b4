//! The rate: at most so many requests started per second, by all work on a platform together.
//!
//! A reservation per request (GCRA with a burst of one) rather than a bucket that waiters poll: each waiter sleeps
//! once, they go in the order in which they came, and no second ever sees more than the rate allows. Runs on tokio's
//! clock, so that a test can move it.

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
        if let Some(turn) = self.reserve() {
            sleep_until(turn).await;
        }
    }

    /// Books a turn; `None` means now.
    fn reserve(&self) -> Option<Instant> {
        let period = self.period?;
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + period);
        (turn > now).then_some(turn)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::Limiter;

    #[tokio::test(start_paused = true)]
    async fn requests_keep_their_distance_and_idle_time_is_not_saved_up() {
        let limiter = Limiter::per_second(4.0);
        let start = Instant::now();
        for _ in 0..5 {
            limiter.ready().await;
        }
        assert_eq!(start.elapsed().as_millis() / 10, 100);
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        let later = Instant::now();
        limiter.ready().await;
        limiter.ready().await;
        assert_eq!(later.elapsed().as_millis() / 10, 25);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let start = Instant::now();
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let limiter = Limiter::per_second(rate);
            limiter.ready().await;
            limiter.ready().await;
        }
        assert!(start.elapsed().is_zero());
    }
}
