//! What is heard of requests: every answer and every pause goes into the counters and onto the board.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::http::observe::{HttpObserver, Silent, WaitReason, Watch};

use super::Platform;
use super::board::Board;
use super::metrics::Metrics;

/// Listens to both platforms' clients.
pub struct Watcher {
    metrics: Metrics,
    board: Board,
    clock: Arc<dyn Clock>,
}

impl Watcher {
    /// Writes down what it hears here.
    pub fn new(metrics: Metrics, board: Board, clock: Arc<dyn Clock>) -> Self {
        Self { metrics, board, clock }
    }
}

impl Watch for Watcher {
    fn of(&self, platform: &'static str) -> Arc<dyn HttpObserver> {
        match Platform::of_client(platform) {
            Some(platform) => Arc::new(Ear {
                platform,
                metrics: self.metrics.clone(),
                board: self.board.clone(),
                clock: Arc::clone(&self.clock),
                is_down: AtomicBool::new(false),
            }),
            None => Arc::new(Silent),
        }
    }
}

/// Listens to one platform's client.
struct Ear {
    platform: Platform,
    metrics: Metrics,
    board: Board,
    clock: Arc<dyn Clock>,
    /// Whether the log was told of an outage, and not of its end.
    is_down: AtomicBool,
}

impl HttpObserver for Ear {
    fn waiting(&self, reason: WaitReason, _wait: Duration) {
        if reason == WaitReason::Down {
            self.metrics.platform_up(self.platform, false);
            if !self.is_down.swap(true, Ordering::Relaxed) {
                tracing::warn!(platform = self.platform.as_str(), "the platform does not answer and is waited for");
            }
        }
    }

    fn resumed(&self) {
        if self.is_down.swap(false, Ordering::Relaxed) {
            tracing::info!(platform = self.platform.as_str(), "the platform answers again");
        }
    }

    fn answered(&self, route: &str, status: Option<u16>, took: Duration) {
        self.metrics.answered(self.platform, route, status, took);
        let now = self.clock.now();
        match status {
            // What stands before the platform answered, not the platform.
            None | Some(502..=504) => self.board.unanswered(self.platform, now),
            Some(429) => {
                self.metrics.platform_up(self.platform, true);
                self.board.throttled(self.platform, now);
            }
            Some(status) => {
                self.metrics.platform_up(self.platform, true);
                self.board.answered(self.platform, now, is_refusal(route, status));
            }
        }
    }
}

/// Whether the platform did not accept who we are. A login that is refused may say so with any 4xx.
fn is_refusal(route: &str, status: u16) -> bool {
    matches!(status, 401 | 403 | 419) || (route == "/auth" && (400..500).contains(&status) && status != 429)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Watch, Watcher};
    use crate::clock::{TestClock, Timestamp};
    use crate::http::observe::{HttpObserver, WaitReason};
    use crate::ops::board::Board;
    use crate::ops::metrics::Metrics;

    fn ear(platform: &'static str) -> (Arc<dyn HttpObserver>, Board, Metrics, TestClock) {
        let (board, metrics, clock) = (Board::new(Timestamp(0)), Metrics::new(), TestClock::default());
        let watcher = Watcher::new(metrics.clone(), board.clone(), Arc::new(clock.clone()));
        (watcher.of(platform), board, metrics, clock)
    }

    #[test]
    fn an_answer_of_a_gateway_is_no_answer_of_the_platform() {
        let (ear, board, _, clock) = ear("FIRST LINE");
        clock.advance_ms(70);
        ear.answered("/contact", Some(503), Duration::ZERO);
        ear.answered("/contact", None, Duration::ZERO);
        assert_eq!(board.snapshot().firstline.failing_since, Some(Timestamp(70)));
        ear.answered("/contact", Some(422), Duration::ZERO);
        assert_eq!((board.snapshot().firstline.failing_since, board.snapshot().firstline.refused), (None, Some(false)));
    }

    #[test]
    fn a_platform_that_says_nothing_but_429_answers_and_is_of_no_use() {
        let (ear, board, _, clock) = ear("LiveDesk");
        let reach = || board.snapshot().livedesk;
        ear.answered("/contacts", Some(200), Duration::ZERO);
        for _ in 0..3 {
            clock.advance_ms(50);
            ear.answered("/contacts", Some(429), Duration::ZERO);
        }
        assert_eq!((reach().failing_since, reach().answered_at), (Some(Timestamp(50)), Some(Timestamp(150))));
        ear.answered("/contacts", Some(404), Duration::ZERO);
        assert_eq!(reach().failing_since, None, "an answer of use ends it");
    }

    #[test]
    fn a_refused_login_and_a_dead_token_are_refusals_and_a_bad_record_is_none() {
        let (ear, board, ..) = ear("FIRST LINE");
        for (route, status, refused) in [
            ("/auth", 422, true),
            ("/auth", 429, false),
            ("/contact", 422, false),
            ("/contact", 401, true),
            ("/contact", 419, true),
            ("/contact", 200, false),
        ] {
            ear.answered(route, Some(status), Duration::ZERO);
            assert_eq!(board.snapshot().firstline.refused, Some(refused), "{route} {status}");
        }
    }

    #[test]
    fn a_platform_that_is_waited_for_is_down_until_it_answers() {
        let (ear, _, metrics, _) = ear("LiveDesk");
        ear.waiting(WaitReason::Throttled, Duration::from_secs(1));
        ear.answered("/contacts", Some(429), Duration::from_millis(1));
        assert!(metrics.text().contains("deskferry_platform_up{platform=\"livedesk\"} 1"));
        ear.waiting(WaitReason::Down, Duration::from_secs(1));
        assert!(metrics.text().contains("deskferry_platform_up{platform=\"livedesk\"} 0"));
        assert!(metrics.text().contains("deskferry_http_throttled_total{platform=\"livedesk\"} 1"));
    }
}
