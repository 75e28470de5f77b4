//! The budget: how many requests all work on a platform may start together, now.
//!
//! Below the ceiling of the settings, which may be another one in quiet hours, the law in `pace` decides. Requests go in the
//! order in which they came; only the first of them waits for its turn, so that whoever comes next waits at the pace that is right
//! then. Clients of one platform in one process share their budget ([`Budgets`]), and what was learned stays until the process ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep_until};

use super::pace::{Pace, Ticket};
use super::quiet::QuietHours;
use crate::clock::Timestamp;

/// A request that queued may take a turn that passed this long ago: on a busy machine nobody wakes up in time, and each
/// turn that was missed would be lost. It is no more than this, so that a stall does not end in a bunch.
const LATENESS: Duration = Duration::from_millis(40);

/// What a platform's budget is, and what of it is used: requests per second. `None`: no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaceView {
    /// The highest rate that the settings allow now.
    pub ceiling: Option<f64>,
    /// The rate at which requests are started now.
    pub current: Option<f64>,
}

/// Paces the requests of one platform.
#[derive(Debug)]
pub struct Limiter {
    /// By day, and outside quiet hours: infinite for no limit.
    ceiling: f64,
    quiet: Option<QuietHours>,
    pace: Mutex<Pace>,
    /// Held by the request whose turn is next. Fair.
    head: AsyncMutex<()>,
}

impl Limiter {
    /// A limiter for this many requests per second; none for 0 (or anything that is no rate).
    pub fn per_second(rate: f64, quiet: Option<QuietHours>) -> Self {
        let ceiling = ceiling_of(rate);
        Self { ceiling, quiet, pace: Mutex::new(Pace::new(ceiling)), head: AsyncMutex::new(()) }
    }

    /// Waits for this request's turn. `clock` says whether these are quiet hours.
    pub(super) async fn ready(&self, clock: impl Fn() -> Timestamp) -> Ticket {
        let queued = Instant::now();
        let _head = self.head.lock().await;
        let asked = Instant::now().checked_sub(LATENESS).map_or(queued, |earliest| queued.max(earliest));
        loop {
            match self.take(asked, Instant::now(), &clock) {
                Ok(ticket) => return ticket,
                Err(turn) => sleep_until(turn).await,
            }
        }
    }

    /// Takes a turn for a request at the head since `asked`, or answers when to come again.
    fn take(&self, asked: Instant, now: Instant, clock: impl Fn() -> Timestamp) -> Result<Ticket, Instant> {
        let mut pace = self.lock();
        if self.quiet.is_some() {
            pace.set_ceiling(self.ceiling_at(clock()));
        }
        let turn = pace.turn(asked);
        if turn > now { Err(turn) } else { Ok(pace.on_sent(turn)) }
    }

    /// A request was answered, with anything but a 429.
    pub(super) fn answered(&self, ticket: Ticket, route: u64, took: Duration) {
        self.lock().on_answer(ticket, Instant::now(), route, took);
    }

    /// A request was refused with a 429; everything stops for `pause`, which the platform `named`, or else is ours.
    pub(super) fn throttled(&self, ticket: Ticket, pause: Duration, named: bool) {
        let (before, after) = {
            let mut pace = self.lock();
            let before = pace.rate();
            pace.on_throttled(ticket, Instant::now(), pause, named);
            (before, pace.rate())
        };
        if after < before && after.is_finite() {
            tracing::debug!(before, after, "asked to slow down: requests per second lowered");
        }
    }

    /// What is allowed and what is used.
    pub fn view(&self, now: Timestamp) -> PaceView {
        let some = |rate: f64| rate.is_finite().then_some(rate);
        let ceiling = self.ceiling_at(now);
        let mut pace = self.lock();
        pace.set_ceiling(ceiling);
        PaceView { ceiling: some(ceiling), current: some(pace.rate()) }
    }

    fn ceiling_at(&self, now: Timestamp) -> f64 {
        self.quiet.as_ref().filter(|quiet| quiet.hold_at(now)).map_or(self.ceiling, |quiet| ceiling_of(quiet.rate))
    }

    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ceiling_of(rate: f64) -> f64 {
    if rate > 0.0 && rate.is_finite() { rate } else { f64::INFINITY }
}

/// The budgets of one process, one per platform. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Budgets(Arc<Mutex<Vec<Budget>>>);

#[derive(Debug)]
struct Budget {
    address: String,
    platform: &'static str,
    limiter: Arc<Limiter>,
}

impl Budgets {
    /// The budget of the platform at this address; made by the first who asks. At most as many as there are platforms.
    pub(super) fn of(&self, platform: &'static str, address: &str, make: impl FnOnce() -> Limiter) -> Arc<Limiter> {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = budgets.iter().find(|known| known.address == address) {
            return Arc::clone(&known.limiter);
        }
        let limiter = Arc::new(make());
        budgets.push(Budget { address: address.to_owned(), platform, limiter: Arc::clone(&limiter) });
        limiter
    }

    /// Every platform's pace, for metrics.
    pub fn paces(&self, now: Timestamp) -> Vec<(&'static str, PaceView)> {
        let budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.iter().map(|budget| (budget.platform, budget.limiter.view(now))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::tz::TimeZone;
    use tokio::time::Instant;

    use super::{Budgets, Limiter, PaceView};
    use crate::clock::Timestamp;
    use crate::http::quiet::QuietHours;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long each of four requests waits that come at the same moment, in milliseconds.
    fn waits(limiter: &Limiter, start: Instant, clock: Timestamp) -> Vec<u128> {
        let mut now = start;
        let mut wait = || {
            let asked = now;
            while let Err(turn) = limiter.take(asked, now, || clock) {
                now = turn;
            }
            (now - start).as_millis()
        };
        (0..4).map(|_| wait()).collect()
    }

    #[test]
    fn requests_keep_their_distance_and_idle_time_is_not_saved_up() {
        let (limiter, start) = (Limiter::per_second(4.0, None), Instant::now());
        let waits = |start| waits(&limiter, start, Timestamp(0));
        assert_eq!(waits(start), [0, 250, 500, 750]);
        assert_eq!(waits(start + Duration::from_secs(10)), [0, 250, 500, 750]);
    }

    #[test]
    fn waking_up_late_costs_no_turn() {
        let (limiter, start) = (Limiter::per_second(50.0, None), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        let turns: Vec<bool> = [(0, 0), (0, 45), (5, 45), (5, 45), (45, 60)]
            .map(|(asked, now)| limiter.take(at(asked), at(now), || Timestamp(0)).is_ok())
            .into();
        assert_eq!(turns, [true, true, true, false, true], "turns at 0, 20, 40 and 60 ms, whoever was late");
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let limiter = Limiter::per_second(rate, None);
            assert_eq!(waits(&limiter, Instant::now(), Timestamp(0)), [0, 0, 0, 0]);
            assert_eq!(limiter.view(Timestamp(0)), PaceView { ceiling: None, current: None });
        }
    }

    #[test]
    fn in_quiet_hours_another_rate_is_the_ceiling() {
        let quiet = QuietHours::parse("22:00-07:00", TimeZone::UTC, 0.5).unwrap();
        let (limiter, start) = (Limiter::per_second(4.0, Some(quiet)), Instant::now());
        let hour = |hour: i64| Timestamp(hour * 3_600_000);
        assert_eq!(waits(&limiter, start, hour(12)), [0, 250, 500, 750]);
        assert_eq!(waits(&limiter, start + SECOND * 10, hour(23)), [0, 2000, 4000, 6000]);
        assert_eq!(limiter.view(hour(23)), PaceView { ceiling: Some(0.5), current: Some(0.5) });
        assert_eq!(waits(&limiter, start + SECOND * 30, hour(31)), [0, 250, 500, 750]);
        assert_eq!(limiter.view(hour(31)), PaceView { ceiling: Some(4.0), current: Some(4.0) });
    }

    #[test]
    fn everything_in_a_process_shares_one_budget_per_platform() {
        let budgets = Budgets::default();
        let four = || Limiter::per_second(4.0, None);
        let one = budgets.of("LiveDesk", "http://a.example/", four);
        let again = budgets.clone().of("LiveDesk", "http://a.example/", four);
        let other = budgets.of("FIRST LINE", "http://b.example/", || Limiter::per_second(1.0, None));
        assert!(Arc::ptr_eq(&one, &again) && !Arc::ptr_eq(&one, &other));
        let now = Instant::now();
        let ticket = one.take(now, now, || Timestamp(0)).unwrap();
        one.throttled(ticket, SECOND, true);
        let paces = budgets.paces(Timestamp(0));
        assert_eq!(paces[0].0, "LiveDesk");
        assert!(paces[0].1.current < Some(4.0), "what one client learned, all know: {paces:?}");
        assert_eq!(paces[1], ("FIRST LINE", PaceView { ceiling: Some(1.0), current: Some(1.0) }));
        assert!(again.take(now, now, || Timestamp(0)).is_err(), "the pause is shared too");
    }
}
