//! Where time comes from. The system clock is read here and nowhere else (clippy.toml forbids the rest).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// So far ahead of ours another clock may be: LiveDesk's, or ours before it was corrected.
const AHEAD_MS: i64 = 15 * 60 * 1000;

/// A span of time as the state and the platforms count it: in milliseconds.
#[must_use]
pub fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl Timestamp {
    /// So much earlier.
    #[must_use]
    pub fn earlier_by(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// So much later.
    #[must_use]
    pub fn later_by(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// Up to here a stored time is of now, at most: see [`Self::unless_ahead_of`].
    #[must_use]
    pub fn not_ahead(self) -> Self {
        Self(self.0.saturating_add(AHEAD_MS))
    }

    /// This stored time, unless it lies well ahead of `now`: then the clock was set back since, and it says nothing.
    #[must_use]
    pub fn unless_ahead_of(self, now: Self) -> Option<Self> {
        (self <= now.not_ahead()).then_some(self)
    }
}

/// A source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(millis(since))
    }
}

/// A clock that a test moves by hand.
#[derive(Clone, Debug, Default)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// Moves the clock.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
