//! What the client lets others see while it works: counters, and a voice when it waits.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Why all work on a platform is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The platform answered 429.
    Throttled,
    /// The platform cannot be reached, or answers 502, 503 or 504.
    Down,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Throttled => "asked to slow down",
            Self::Down => "not answering",
        })
    }
}

/// Is told when a platform is paused, so that the operator can be.
pub trait HttpObserver: Send + Sync {
    /// All work on the platform waits; called again whenever the wait is prolonged.
    fn waiting(&self, reason: WaitReason, wait: Duration);
    /// Work goes on.
    fn resumed(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl HttpObserver for Silent {
    fn waiting(&self, _reason: WaitReason, _wait: Duration) {}
    fn resumed(&self) {}
}

/// Running totals of one client.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) throttled: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> HttpCounts {
        HttpCounts {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            throttled: self.throttled.load(Ordering::Relaxed),
        }
    }
}

/// What a client has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpCounts {
    /// Requests sent, repeats included.
    pub requests: u64,
    /// Repeats among them.
    pub retries: u64,
    /// Answers with status 429.
    pub throttled: u64,
}
