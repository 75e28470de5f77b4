//! Decides for each request whether something goes wrong, and counts what came and what was done to it.
//!
//! The decision is drawn from the seed and the number of the request, so the same requests in the same order meet the
//! same faults. The lock is held for the decision only.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::{Fault, FaultFilter, FaultSettings, NextFault, Platform};
use crate::sandbox::rng::{fraction, mix};

/// The faults of one platform, changeable while it serves.
#[derive(Debug)]
pub struct FaultPlan {
    platform: Platform,
    seed: u64,
    started: Instant,
    inner: Mutex<Inner>,
    /// Told of each request that came in or was answered, and of each write that was applied late.
    pub(super) happened: Notify,
    /// Runs what outlives its request.
    pub(super) tasks: TaskTracker,
    /// Ends every wait when the sandbox stops.
    pub(super) stop: CancellationToken,
}

#[derive(Debug)]
struct Inner {
    settings: FaultSettings,
    /// Requests ever: what the draw depends on.
    seen: u64,
    /// Requests since the settings were last set.
    since_set: u64,
    window: (u128, u64),
    requests: u64,
    by_route: BTreeMap<String, u64>,
    by_fault: BTreeMap<Fault, u64>,
    by_status: BTreeMap<u16, u64>,
}

/// What to do with one request.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) latency: Duration,
    pub(super) fault: Option<Fault>,
    /// A number to vary the fault by.
    pub(super) draw: u64,
    pub(super) settings: Waits,
}

/// The settings that carrying out a fault needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    pub(super) slow: Duration,
    pub(super) late: Duration,
    pub(super) late_hold: Duration,
    pub(super) retry_after: super::RetryAfter,
    pub(super) retry_after_seconds: u64,
}

impl FaultPlan {
    /// A plan for `platform` that draws from `seed`.
    pub fn new(platform: Platform, settings: FaultSettings, seed: u64) -> Self {
        let inner = Inner {
            settings,
            seen: 0,
            since_set: 0,
            window: (0, 0),
            requests: 0,
            by_route: BTreeMap::new(),
            by_fault: BTreeMap::new(),
            by_status: BTreeMap::new(),
        };
        Self {
            platform,
            seed,
            started: Instant::now(),
            inner: Mutex::new(inner),
            happened: Notify::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// The settings as they are now; `next` shows what is still to come.
    pub fn settings(&self) -> FaultSettings {
        self.inner().settings.clone()
    }

    /// Replaces the settings.
    pub fn set(&self, settings: FaultSettings) {
        let mut inner = self.inner();
        inner.settings = settings;
        inner.since_set = 0;
    }

    /// Changes some of the settings.
    pub fn change(&self, change: impl FnOnce(&mut FaultSettings)) {
        let mut inner = self.inner();
        change(&mut inner.settings);
        inner.since_set = 0;
    }

    /// The next `times` requests that match `only` meet `fault`.
    pub fn next(&self, fault: Fault, times: u64, only: FaultFilter) {
        self.inner().settings.next.push(NextFault { fault, times, skip: 0, only });
    }

    /// Switches 503 for everything on.
    pub fn start_outage(&self) {
        self.change(|settings| settings.outage = true);
    }

    /// Switches it off again.
    pub fn end_outage(&self) {
        self.change(|settings| settings.outage = false);
    }

    /// Nothing goes wrong from now on.
    pub fn clear(&self) {
        self.set(FaultSettings::default());
    }

    /// `requests`, `by_route` ("POST /contacts"), `by_fault` and `by_status` (0 is no answer).
    pub fn counts(&self) -> Value {
        let inner = self.inner();
        json!({ "requests": inner.requests, "by_route": inner.by_route, "by_fault": inner.by_fault,
            "by_status": inner.by_status })
    }

    /// Requests of one route class, such as `"POST /contacts"` or `"GET /contacts/{id}"`.
    pub fn requests_to(&self, route: &str) -> u64 {
        self.inner().by_route.get(route).copied().unwrap_or_default()
    }

    /// All requests since the counters were reset.
    pub fn requests(&self) -> u64 {
        self.inner().requests
    }

    /// How often `fault` was done.
    pub fn injected(&self, fault: Fault) -> u64 {
        self.inner().by_fault.get(&fault).copied().unwrap_or_default()
    }

    /// Starts counting again. The draws go on.
    pub fn reset_counts(&self) {
        let mut inner = self.inner();
        inner.requests = 0;
        inner.by_route.clear();
        inner.by_fault.clear();
        inner.by_status.clear();
    }

    /// Whether writes that will be applied late are still under way.
    pub fn is_settled(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(super) fn platform(&self) -> Platform {
        self.platform
    }

    /// Waits until something is so, looking whenever a request has come in or was answered.
    pub async fn until(&self, mut reached: impl FnMut() -> bool) {
        loop {
            let next = self.happened.notified();
            if reached() {
                return;
            }
            next.await;
        }
    }

    pub(super) fn answered(&self, status: u16) {
        *self.inner().by_status.entry(status).or_default() += 1;
        self.happened.notify_waiters();
    }

    /// Ends all waits: what was to be applied late is not applied at all.
    pub(crate) fn stop_waiting(&self) {
        self.stop.cancel();
    }

    /// Ends all waits and waits for what is under way.
    pub(crate) async fn shut_down(&self) {
        self.stop_waiting();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Waits, unless the sandbox stops first.
    pub(super) async fn pause(&self, time: Duration) {
        if !time.is_zero() {
            let _ended_early = tokio::time::timeout(time, self.stop.cancelled()).await;
        }
    }

    /// `target` is path and query of the request.
    pub(super) fn decide(&self, method: &str, target: &str) -> Verdict {
        let target = target.strip_prefix(self.platform.base_path()).unwrap_or(target);
        let route = route_class(method, target.split('?').next().unwrap_or_default());
        let elapsed = self.started.elapsed().as_millis();
        let mut inner = self.inner();
        inner.requests += 1;
        inner.seen += 1;
        inner.since_set += 1;
        *inner.by_route.entry(route).or_default() += 1;
        let draw = mix(&[self.seed, inner.seen, 0xfa17]);
        let fault = inner.choose(method, target, draw, elapsed);
        if let Some(fault) = fault {
            *inner.by_fault.entry(fault).or_default() += 1;
        }
        let settings = &inner.settings;
        let settings_for_fault = Waits {
            slow: Duration::from_millis(settings.slow_ms),
            late: Duration::from_millis(settings.late_ms),
            late_hold: Duration::from_millis(settings.late_hold_ms),
            retry_after: settings.retry_after,
            retry_after_seconds: settings.retry_after_seconds,
        };
        self.happened.notify_waiters();
        Verdict { latency: Duration::from_millis(settings.latency_ms), fault, draw, settings: settings_for_fault }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn choose(&mut self, method: &str, target: &str, draw: u64, elapsed_ms: u128) -> Option<Fault> {
        if self.settings.outage {
            return Some(Fault::Outage);
        }
        if self.settings.window_limit > 0 && self.over_limit(elapsed_ms) {
            return Some(Fault::OverLimit);
        }
        if self.settings.expire_from > 0 && self.since_set >= self.settings.expire_from {
            return Some(Fault::Expired);
        }
        self.exact(method, target).or_else(|| self.drawn(method, target, draw))
    }

    /// A refused request uses up nothing, as with a fixed-window counter that is checked first.
    fn over_limit(&mut self, elapsed_ms: u128) -> bool {
        let window = elapsed_ms / u128::from(self.settings.window_ms.max(1));
        if self.window.0 != window {
            self.window = (window, 0);
        }
        let over = self.window.1 >= self.settings.window_limit;
        self.window.1 += u64::from(!over);
        over
    }

    fn exact(&mut self, method: &str, target: &str) -> Option<Fault> {
        let at = self.settings.next.iter().position(|next| next.only.matches(method, target))?;
        let next = &mut self.settings.next[at];
        if next.skip > 0 {
            next.skip -= 1;
            return None;
        }
        let fault = (next.times > 0).then_some(next.fault);
        next.times = next.times.saturating_sub(1);
        if next.times == 0 {
            self.settings.next.remove(at);
        }
        fault
    }

    fn drawn(&self, method: &str, target: &str, draw: u64) -> Option<Fault> {
        if !self.settings.only.matches(method, target) {
            return None;
        }
        let mut at = fraction(&[draw]);
        self.settings.rates().into_iter().find_map(|(fault, rate)| {
            at -= rate;
            (at < 0.0).then_some(fault)
        })
    }
}

/// Method and path with ids taken out, so that there are few of them.
fn route_class(method: &str, path: &str) -> String {
    let parts = path.trim_end_matches('/').split('/').map(|part| {
        let is_id = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if is_id { "{id}" } else { part }
    });
    format!("{method} {}", parts.collect::<Vec<_>>().join("/"))
}
