//! The pause that all work on a platform shares.
//!
//! Two reasons close the gate. *Throttled*: a 429 stops everything until the time it names. *Down*: after a run of
//! connection failures or 502 to 504 without a success between, one request at a time goes through, at growing
//! distance, in the order of arrival; everything else waits for it to be answered. It does not send and does not
//! classify.

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
}

enum View {
    Open,
    Throttled(Instant),
    Down { next_probe: Instant, for_so_long: Duration },
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

    /// Waits until a request may be sent.
    pub(super) async fn pass(&self) -> Result<Pass, OutageTooLong> {
        loop {
            match self.view() {
                View::Open => return Ok(Pass { probe: None }),
                View::Throttled(until) => sleep_until(until).await,
                View::Down { .. } => {
                    let turn = Arc::clone(&self.probe).lock_owned().await;
                    // While this request queued, the one before it may have opened the gate or moved the next try.
                    if let View::Down { next_probe, for_so_long } = self.view() {
                        if self.max_outage.is_some_and(|limit| for_so_long >= limit) {
                            return Err(OutageTooLong(for_so_long));
                        }
                        sleep_until(next_probe).await;
                        if matches!(self.view(), View::Down { .. }) {
                            return Ok(Pass { probe: Some(turn) });
                        }
                    }
                }
            }
        }
    }

    /// Whether an ordinary request may be sent now.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.view(), View::Open)
    }

    /// Successes so far: by comparing, a request that keeps failing learns whether others do not.
    pub(super) fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// A request succeeded.
    pub(super) fn succeeded(&self) {
        self.successes.fetch_add(1, Ordering::Relaxed);
        self.answered_and(|state| state.throttles = 0);
    }

    /// The platform answered, even if with a refusal: it is there.
    pub(super) fn answered(&self) {
        self.answered_and(|_| ());
    }

    fn answered_and(&self, also: impl FnOnce(&mut State)) {
        if !self.troubled.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.lock();
        also(&mut state);
        state.failures = 0;
        state.failing_since = None;
        state.down = None;
        if state.throttled_until.is_some_and(|until| until > Instant::now()) {
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
    pub(super) fn failed(&self, asked: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.lock();
        self.troubled.store(true, Ordering::Release);
        state.failures += 1;
        state.failing_since.get_or_insert(now);
        if state.failures < DOWN_AFTER {
            return;
        }
        let down = state.down.get_or_insert_with(|| Down { next_probe: now, distances: self.policy.distances() });
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
    pub(super) fn throttle(&self, asked: Option<Duration>, default_wait: Duration) {
        let now = Instant::now();
        let mut state = self.lock();
        self.troubled.store(true, Ordering::Release);
        let paused = state.throttled_until.is_some_and(|until| until > now);
        if !paused {
            state.throttles = state.throttles.saturating_add(1);
        }
        let factor = 1 << (state.throttles - 1).min(8);
        let wait = asked.unwrap_or(default_wait * factor).min(self.max_wait);
        let until = now + wait;
        if state.throttled_until.is_some_and(|already| already >= until) {
            return;
        }
        state.throttled_until = Some(until);
        state.announced = true;
        drop(state);
        self.observer.waiting(WaitReason::Throttled, wait);
    }

    fn view(&self) -> View {
        if !self.troubled.load(Ordering::Acquire) {
            return View::Open;
        }
        let now = Instant::now();
        let state = self.lock();
        match (state.throttled_until, &state.down) {
            (Some(until), _) if until > now => View::Throttled(until),
            (_, Some(down)) => View::Down {
                next_probe: down.next_probe,
                for_so_long: state.failing_since.map_or(Duration::ZERO, |since| now - since),
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

    use tokio::time::{Instant, advance};

    use super::super::observe::{HttpObserver, Silent, WaitReason};
    use super::super::retry::RetryPolicy;
    use super::{Gate, OutageTooLong};

    const SECOND: Duration = Duration::from_secs(1);

    fn gate(max_outage: Option<Duration>) -> Gate {
        gate_with(max_outage, Arc::new(Silent))
    }

    fn gate_with(max_outage: Option<Duration>, observer: Arc<dyn HttpObserver>) -> Gate {
        Gate::new(RetryPolicy::new(SECOND, SECOND * 60, 5).unwrap(), max_outage, SECOND * 900, observer)
    }

    fn bring_down(gate: &Gate) {
        for _ in 0..3 {
            gate.failed(None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_or_two_failures_do_not_close_it() {
        let gate = gate(None);
        gate.failed(None);
        gate.failed(None);
        assert!(gate.is_open());
        gate.answered();
        gate.failed(None);
        gate.failed(None);
        assert!(gate.is_open());
        gate.failed(None);
        assert!(!gate.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn while_down_one_request_at_a_time_goes_through_at_growing_distance() {
        let gate = gate(None);
        bring_down(&gate);
        let start = Instant::now();
        let mut waited = Vec::new();
        for _ in 0..4 {
            let pass = gate.pass().await.unwrap();
            assert!(pass.is_probe());
            assert!(tokio::time::timeout(SECOND * 1000, gate.pass()).await.is_err(), "a second one got through");
            waited.push(start.elapsed().as_secs());
            gate.failed(None);
        }
        assert_eq!(waited, [1001, 2003, 3007, 4015]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_opens_it_for_all() {
        let gate = Arc::new(gate(None));
        bring_down(&gate);
        let probe = gate.pass().await.unwrap();
        let waiting = (gate.pass(), gate.pass(), gate.pass());
        gate.answered();
        drop(probe);
        let (a, b, c) = tokio::join!(waiting.0, waiting.1, waiting.2);
        assert!(![a, b, c].into_iter().any(|pass| pass.unwrap().is_probe()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_beyond_the_limit_is_an_error_and_without_a_limit_it_is_not() {
        let limited = gate(Some(Duration::ZERO));
        bring_down(&limited);
        assert_eq!(limited.pass().await.unwrap_err(), OutageTooLong(Duration::ZERO));
        let patient = gate(None);
        bring_down(&patient);
        advance(SECOND * 86_400).await;
        assert!(patient.pass().await.unwrap().is_probe());
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_stops_everybody_for_as_long_as_it_says() {
        let gate = gate(None);
        let start = Instant::now();
        gate.throttle(Some(SECOND * 30), SECOND * 60);
        gate.throttle(Some(SECOND * 10), SECOND * 60);
        let (a, b) = tokio::join!(gate.pass(), gate.pass());
        assert!(!a.unwrap().is_probe() && !b.unwrap().is_probe());
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_time_a_429_waits_the_default_and_longer_when_it_comes_again() {
        let gate = gate(None);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            gate.throttle(None, SECOND * 60);
            gate.throttle(None, SECOND * 60);
            gate.pass().await.unwrap();
            seen.push(start.elapsed().as_secs());
        }
        assert_eq!(seen, [60, 120, 240]);
        gate.succeeded();
        let start = Instant::now();
        gate.throttle(Some(SECOND * 86_400), SECOND * 60);
        gate.pass().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 900, "clamped");
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

    #[tokio::test(start_paused = true)]
    async fn the_observer_hears_of_every_wait_and_of_its_end() {
        let notes = Arc::new(Notes::default());
        let gate = gate_with(None, notes.clone());
        bring_down(&gate);
        gate.failed(None);
        drop(gate.pass().await.unwrap());
        gate.failed(None);
        gate.succeeded();
        gate.succeeded();
        gate.throttle(None, SECOND * 60);
        gate.pass().await.unwrap();
        gate.succeeded();
        let expected = ["not answering 1", "not answering 2", "resumed", "asked to slow down 60", "resumed"];
        assert_eq!(*notes.0.lock().unwrap(), expected);
    }
}
