//! What the client lets others see while it works: counters, a voice when it waits, and a word on every answer.

use std::fmt;
use std::sync::Arc;
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
    /// One attempt is over. `route` is a template such as `/contacts/{id}`, never with an id or a query; without a
    /// status no answer came, or none that could be read to its end.
    fn answered(&self, _route: &str, _status: Option<u16>, _took: Duration) {}
}

/// Watches every platform of a process: gives each client its observer.
pub trait Watch: Send + Sync {
    /// Who watches this platform, by the name that its client has in messages.
    fn of(&self, platform: &'static str) -> Arc<dyn HttpObserver>;
}

/// The template of a path: numbers in it are ids. The query is cut off, it holds people's data.
pub(super) fn route(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let is_id = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = path.split('/').map(|part| if is_id(&part) { "{id}" } else { part }).collect();
    parts.join("/")
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

#[cfg(test)]
mod tests {
    use super::route;

    #[test]
    fn a_route_has_neither_ids_nor_a_query() {
        for (target, expected) in [
            ("/contacts/42", "/contacts/{id}"),
            ("/contact/7/contact-email/12", "/contact/{id}/contact-email/{id}"),
            ("/contact?email=a%40example.com&page=1", "/contact"),
            ("/cz-col", "/cz-col"),
            ("/", "/"),
        ] {
            assert_eq!(route(target), expected);
        }
    }
}
