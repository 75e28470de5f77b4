//! The pause that all work on a platform shares.
//!
//! Two reasons close the gate. *Throttled*: a 429 stops everything until the time it names. *Down*: after a run of
//! connection failures or 502 to 504 without a success between, one request at a time goes through, at growing
//! distance, in the order of arrival; everything else waits for it to be answered. Where the adapter named one that the platform
//! surely answers, the client sends that one in its place. It does not send and does not classify. Everything but `pass` is told the time, so that tests need not wait.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep_until};

use super::observe::{HttpObserver, WaitReason};
use super::retry::{Distances, RetryPolicy, wait_for};

/// Failures in a row that mean *down*: one or two are weather.
const DOWN_AFTER: u32 = 3;

/// Leave to send. Of a platform that is down it is the only one.
#[derive(Debug)]
pub(super) struct Pass {
    probe: Option<OwnedMutexGuard<()>>,
}

impl Pass {
    pub(super) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

/// The platform has been down for longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutageTooLong(pub(super) Duration);

/// The gate of one platform.
pub(super) struct Gate {
    policy: RetryPolicy,
    max_outage: Option<Duration>,
    max_wait: Duration,
    observer: Arc<dyn HttpObserver>,
    /// Whether `state` says anything; lets the usual case pass without a lock.
    troubled: AtomicBool,
    successes: AtomicU64,
    state: Mutex<State>,
    /// Held by the one request that may try a platform that is down. Fair, so that one bad request cannot keep it.
    probe: Arc<AsyncMutex<()>>,
}

#[derive(Default)]
struct State {
    throttled_until: Option<Instant>,
    /// Pauses by 429 since the last success.
    throttles: u32,
    /// Outage-like failures since the last answer, and when the first was.
    failures: u32,
    failing_since: Option<Instant>,
    down: Option<Down>,
    announced: bool,
}

struct Down {
    next_probe: Instant,
    distances: Distances,
    /// The known request was not answered either.
    is_certain: bool,
}

enum View {
    Open,
    Throttled(Instant),
    Down { next_probe: Instant, for_so_long: Duration, is_certain: bool },
}

impl Gate {
    pub(super) fn new(
        policy: RetryPolicy,
        max_outage: Option<Duration>,
        max_wait: Duration,
        observer: Arc<dyn HttpObserver>,
    ) -> Self {
        Self {
            policy,
            max_outage,
            max_wait,
            observer,
            troubled: AtomicBool::new(false),
            successes: AtomicU64::new(0),
            state: Mutex::default(),
            probe: Arc::default(),
        }
    }

    /// Waits until a request may be sent. `has_known`: a known request goes in its place, and has its word before an outage is
    /// said to be too long.
    pub(super) async fn pass(&self, has_known: bool) -> Result<Pass, OutageTooLong> {
        loop {
            match self.view(Instant::now()) {
                View::Open => return Ok(Pass { probe: None }),
                View::Throttled(until) => sleep_until(until).await,
                View::Down { .. } => {
                    let turn = Arc::clone(&self.probe).lock_owned().await;
                    // While this request queued, the one before it may have opened the gate or moved the next try.
                    if let View::Down { next_probe, for_so_long, is_certain } = self.view(Instant::now()) {
                        let counts = is_certain || !has_known;
                        if counts && self.max_outage.is_some_and(|limit| for_so_long >= limit) {
                            return Err(OutageTooLong(for_so_long));
                        }
                        sleep_until(next_probe).await;
                        if matches!(self.view(Instant::now()), View::Down { .. }) {
                            return Ok(Pass { probe: Some(turn) });
                        }
                    }
                }
            }
        }
    }

    /// Whether an ordinary request may be sent now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        matches!(self.view(now), View::Open)
    }

    /// When a throttled platform may be asked again; `None`: now.
    #[cfg(test)]
    pub(super) fn closed_until(&self, now: Instant) -> Option<Instant> {
        match self.view(now) {
            View::Throttled(until) => Some(until),
            View::Open | View::Down { .. } => None,
        }
    }

    /// Successes so far: by comparing, a request that keeps failing learns whether others do not.
    pub(super) fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// A request succeeded.
    pub(super) fn succeeded(&self, now: Instant) {
        self.successes.fetch_add(1, Ordering::Relaxed);
        self.answered_and(now, |state| state.throttles = 0);
    }

    /// The platform answered, even if with a refusal: it is there.
    pub(super) fn answered(&self, now: Instant) {
        self.answered_and(now, |_| ());
    }

    /// The known request was not answered either: it is not one bad request that failed.
    pub(super) fn missed_known(&self) {
        if let Some(down) = &mut self.lock().down {
            down.is_certain = true;
        }
    }

    fn answered_and(&self, now: Instant, also: impl FnOnce(&mut State)) {
        if !self.troubled.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.lock();
        also(&mut state);
        state.failures = 0;
        state.failing_since = None;
        state.down = None;
        if state.throttled_until.is_some_and(|until| until > now) {
            return;
        }
        state.throttled_until = None;
        self.troubled.store(state.throttles > 0, Ordering::Release);
        if std::mem::take(&mut state.announced) {
            drop(state);
            self.observer.resumed();
        }
    }

    /// A request failed as requests do when the platform is down; `asked` is its `Retry-After`.
    pub(super) fn failed(&self, asked: Option<Duration>, now: Instant) {
        let mut state = self.lock();
        self.troubled.store(true, Ordering::Release);
        state.failures += 1;
        state.failing_since.get_or_insert(now);
        if state.failures < DOWN_AFTER {
            return;
        }
        let down = state.down.get_or_insert_with(|| Down {
            next_probe: now,
            distances: self.policy.distances(),
            is_certain: false,
        });
        // Requests that were under way when it went down fail together; they are one failure, not many.
        if down.next_probe > now {
            return;
        }
        let distance = wait_for(down.distances.next(), asked, self.max_wait);
        down.next_probe = now + distance;
        state.announced = true;
        drop(state);
        self.observer.waiting(WaitReason::Down, distance);
    }

    /// A 429: everything stops for `wait`, longer when it was not the first in a row and nobody named a time.
    /// Answers how long everything stops from now on.
    pub(super) fn throttle(&self, asked: Option<Duration>, default_wait: Duration, now: Instant) -> Duration {
        let mut state = self.lock();
        self.troubled.store(true, Ordering::Release);
        let paused = state.throttled_until.is_some_and(|until| until > now);
        if !paused {
            state.throttles = state.throttles.saturating_add(1);
        }
        // A success that was under way may have reset the count while the pause goes on.
        let factor = 1 << state.throttles.saturating_sub(1).min(8);
        // A server that keeps saying "in no time" is not believed either: our own distance grows under its wish.
        let own = if asked.is_some() { self.policy.first() } else { default_wait } * factor;
        let wait = wait_for(own, asked, self.max_wait).min(self.max_wait);
        let until = now + wait;
        if let Some(already) = state.throttled_until.filter(|already| *already >= until) {
            return already - now;
        }
        state.throttled_until = Some(until);
        state.announced = true;
        drop(state);
        self.observer.waiting(WaitReason::Throttled, wait);
        wait
    }

    fn view(&self, now: Instant) -> View {
        if !self.troubled.load(Ordering::Acquire) {
            return View::Open;
        }
        let state = self.lock();
        match (state.throttled_until, &state.down) {
            (Some(until), _) if until > now => View::Throttled(until),
            (_, Some(down)) => View::Down {
                next_probe: down.next_probe,
                for_so_long: state.failing_since.map_or(Duration::ZERO, |since| now - since),
                is_certain: down.is_certain,
            },
            _ => View::Open,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio::time::Instant;

    use super::super::observe::{HttpObserver, Silent, WaitReason};
    use super::super::retry::RetryPolicy;
    use super::{Gate, OutageTooLong, View};

    const SECOND: Duration = Duration::from_secs(1);

    fn gate(first: Duration, max_outage: Option<Duration>, observer: Arc<dyn HttpObserver>) -> Gate {
        Gate::new(RetryPolicy::new(first, first * 60, 5).unwrap(), max_outage, SECOND * 900, observer)
    }

    fn slow_gate() -> Gate {
        gate(SECOND, None, Arc::new(Silent))
    }

    fn bring_down(gate: &Gate, now: Instant) {
        for _ in 0..3 {
            gate.failed(None, now);
        }
    }

    fn bring_down_again(gate: &Gate, now: Instant) {
        gate.answered(now);
        bring_down(gate, now);
    }

    /// Seconds until the next try, or until the end of the throttling.
    fn wait(gate: &Gate, now: Instant) -> Option<u64> {
        match gate.view(now) {
            View::Open => None,
            View::Throttled(until) | View::Down { next_probe: until, .. } => Some((until - now).as_secs()),
        }
    }

    #[test]
    fn a_429_after_a_success_within_the_pause_is_the_first_in_its_row() {
        let (gate, now) = (slow_gate(), Instant::now());
        gate.throttle(None, SECOND * 2, now);
        gate.succeeded(now);
        gate.throttle(None, SECOND * 2, now + SECOND);
        assert_eq!(wait(&gate, now + SECOND), Some(2));
    }

    #[test]
    fn one_or_two_failures_do_not_close_it() {
        let (gate, now) = (slow_gate(), Instant::now());
        gate.failed(None, now);
        gate.failed(None, now);
        assert!(gate.is_open(now));
        gate.answered(now);
        gate.failed(None, now);
        gate.failed(None, now);
        assert!(gate.is_open(now));
        gate.failed(None, now);
        assert!(!gate.is_open(now));
    }

    #[test]
    fn while_down_the_distance_of_tries_grows_and_a_retry_after_lengthens_it() {
        let (gate, mut now) = (slow_gate(), Instant::now());
        bring_down(&gate, now);
        gate.failed(None, now);
        let mut waits = Vec::new();
        for asked in [None, None, Some(30), None] {
            let seconds = wait(&gate, now).unwrap();
            waits.push(seconds);
            now += SECOND * u32::try_from(seconds).unwrap();
            gate.failed(asked.map(Duration::from_secs), now);
        }
        assert_eq!(waits, [1, 2, 4, 30], "failures of the same moment count once");
    }

    #[test]
    fn an_hour_of_outage_is_probed_about_once_a_minute_and_ends_with_the_first_answer() {
        let policy = RetryPolicy::default();
        let gate = Gate::new(policy, None, SECOND * 900, Arc::new(Silent));
        let (start, mut tries) = (Instant::now(), 0);
        bring_down(&gate, start);
        let mut now = start;
        while now < start + SECOND * 3600 {
            let View::Down { next_probe, .. } = gate.view(now) else { panic!("it opened by itself") };
            // The try goes out, and 20 s later nobody has answered.
            now = next_probe.max(now) + SECOND * 20;
            gate.failed(None, now);
            tries += 1;
        }
        assert!((40..70).contains(&tries), "{tries} tries in an hour");
        gate.answered(now);
        assert!(gate.is_open(now), "everybody goes on at once");
    }

    #[tokio::test]
    async fn while_down_one_request_at_a_time_goes_through() {
        let gate = gate(Duration::ZERO, None, Arc::new(Silent));
        bring_down(&gate, Instant::now());
        let probe = gate.pass(false).await.unwrap();
        assert!(probe.is_probe());
        let mut second = Box::pin(gate.pass(false));
        assert!(second.as_mut().now_or_never().is_none(), "a second one got through");
        drop(probe);
        assert!(second.await.unwrap().is_probe(), "the next in turn");
    }

    #[tokio::test]
    async fn the_first_answer_opens_it_for_all() {
        let gate = gate(Duration::ZERO, None, Arc::new(Silent));
        bring_down(&gate, Instant::now());
        let probe = gate.pass(false).await.unwrap();
        let (a, b, ()) = tokio::join!(gate.pass(false), gate.pass(false), async {
            gate.answered(Instant::now());
            drop(probe);
        });
        assert!(!a.unwrap().is_probe() && !b.unwrap().is_probe());
    }

    #[tokio::test]
    async fn an_outage_beyond_the_limit_is_an_error_and_without_a_limit_it_is_not() {
        let long_ago = Instant::now() - SECOND * 86_400;
        let limited = gate(Duration::ZERO, Some(SECOND * 60), Arc::new(Silent));
        bring_down(&limited, Instant::now());
        assert!(limited.pass(false).await.unwrap().is_probe(), "not yet");
        limited.answered(Instant::now());
        bring_down(&limited, long_ago);
        let OutageTooLong(lasted) = limited.pass(false).await.unwrap_err();
        assert!(lasted >= SECOND * 86_400);
        bring_down_again(&limited, long_ago);
        assert!(limited.pass(true).await.unwrap().is_probe(), "one bad request may be all that it was");
        limited.missed_known();
        assert!(limited.pass(true).await.is_err(), "the known one was not answered either");
        let patient = slow_gate();
        bring_down(&patient, long_ago);
        assert!(patient.pass(false).await.unwrap().is_probe());
    }

    #[test]
    fn a_success_that_comes_in_during_a_pause_makes_the_next_429_a_first_one() {
        let (gate, now) = (slow_gate(), Instant::now());
        gate.throttle(None, SECOND * 10, now);
        gate.succeeded(now);
        gate.throttle(None, SECOND * 20, now);
        assert_eq!(wait(&gate, now), Some(20));
    }

    #[test]
    fn a_429_stops_everybody_for_as_long_as_the_longest_says() {
        let (gate, now) = (slow_gate(), Instant::now());
        gate.throttle(Some(SECOND * 30), SECOND * 60, now);
        gate.throttle(Some(SECOND * 10), SECOND * 60, now);
        assert_eq!(wait(&gate, now), Some(30));
        gate.succeeded(now);
        assert_eq!(wait(&gate, now), Some(30), "a straggler's success does not end it");
        assert!(gate.is_open(now + SECOND * 30));
    }

    #[test]
    fn without_a_time_a_429_waits_the_default_and_longer_when_it_comes_again() {
        let (gate, mut now) = (slow_gate(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..5 {
            gate.throttle(None, SECOND * 60, now);
            gate.throttle(None, SECOND * 60, now);
            let seconds = wait(&gate, now).unwrap();
            waits.push(seconds);
            now += SECOND * u32::try_from(seconds).unwrap();
        }
        assert_eq!(waits, [60, 120, 240, 480, 900]);
        gate.succeeded(now);
        gate.throttle(None, SECOND * 60, now);
        assert_eq!(wait(&gate, now), Some(60), "a success ends the row");
        gate.throttle(Some(SECOND * 86_400), SECOND * 60, now);
        assert_eq!(wait(&gate, now), Some(900), "clamped");
    }

    #[test]
    fn a_429_that_names_no_time_at_all_is_waited_for_longer_and_longer() {
        let (gate, mut now) = (slow_gate(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..4 {
            gate.throttle(Some(Duration::ZERO), SECOND * 60, now);
            let seconds = wait(&gate, now).unwrap();
            waits.push(seconds);
            now += SECOND * u32::try_from(seconds).unwrap();
        }
        assert_eq!(waits, [1, 2, 4, 8]);
    }

    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl HttpObserver for Notes {
        fn waiting(&self, reason: WaitReason, wait: Duration) {
            self.0.lock().unwrap().push(format!("{reason} {}", wait.as_secs()));
        }
        fn resumed(&self) {
            self.0.lock().unwrap().push("resumed".into());
        }
    }

    #[test]
    fn the_observer_hears_of_every_wait_and_of_its_end() {
        let (notes, now) = (Arc::new(Notes::default()), Instant::now());
        let gate = gate(SECOND, None, Arc::<Notes>::clone(&notes));
        bring_down(&gate, now);
        gate.failed(None, now);
        gate.failed(None, now + SECOND);
        gate.succeeded(now + SECOND * 2);
        gate.succeeded(now + SECOND * 2);
        gate.throttle(None, SECOND * 60, now);
        gate.succeeded(now + SECOND * 60);
        let expected = ["not answering 1", "not answering 2", "resumed", "asked to slow down 60", "resumed"];
        assert_eq!(*notes.0.lock().unwrap(), expected);
    }
}
