//! The sandbox's own time: it plays another company's server, so it does not share the program's clock.
//!
//! Read only where the model needs "now" (a new contact, a message) and for the date form of `Retry-After`.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now.
#[expect(clippy::disallowed_methods, reason = "the sandbox is a server of its own and keeps its own time")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Now, in seconds since the Unix epoch.
pub(crate) fn now_seconds() -> i64 {
    now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
