//! Counters of this process, and the text that a scraper reads.
//!
//! Names are a contract with rules and dashboards (deploy/). Labels are bounded: two platforms, routes that are
//! templates (at most 64 a platform), statuses, kinds and words of our own. Counters that a rule may ask for are there
//! from the start, at 0. Gauges about the state are made anew at each scrape, from [`super::look`]: what could not be
//! read is left out rather than stale.

mod gauges;
mod plain;

pub(in crate::ops) use gauges::unseen;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde_json::Value;

use crate::domain::outcome::RunVerdict;

use super::Platform;
use super::look::Facts;

/// Routes that are told apart, per platform; there are about twenty.
const ROUTES: usize = 64;
/// Seconds. A request takes tens of milliseconds; the last bucket is the usual limit of an attempt.
const BUCKETS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 20.0];
/// Kinds of runs that exist from the start, whether or not one has ended yet.
const KINDS: [&str; 3] = ["sync", "sweep", "backfill"];
/// Further kinds that are told apart.
const OTHER_KINDS: [&str; 5] = ["retry", "verify", "undo", "rebuild", "forget"];
/// What may become of a contact, and the key of a run's counts that says how many.
const OUTCOMES: [(&str, &str); 9] = [
    ("created", "created"),
    ("adopted", "adopted"),
    ("updated", "updated"),
    ("unchanged", "unchanged"),
    ("not_selected", "not_selected"),
    ("set_aside", "set_aside"),
    ("parked", "parked"),
    ("conflict", "conflicts"),
    ("forgotten", "forgotten"),
];
/// Type of the plain exposition format.
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Type of the format that a newer scraper asks for.
const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];
type Decimal = Gauge<f64, AtomicU64>;

/// The counters. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<Labels<3>, Counter>,
    durations: Family<Labels<2>, Histogram>,
    throttled: Family<Labels<1>, Counter>,
    budget: Family<Labels<2>, Decimal>,
    up: Family<Labels<1>, Gauge>,
    contacts: Family<Labels<1>, Counter>,
    runs: Family<Labels<2>, Counter>,
    alarm: Family<Labels<1>, Gauge>,
    routes: Mutex<BTreeSet<(Platform, String)>>,
}

/// A scrape's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposition {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its body.
    pub text: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters at 0.
    pub fn new() -> Self {
        let (mut registry, requests) = (Registry::with_prefix("deskferry"), Family::default());
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let (throttled, budget, up) = (Family::default(), Family::default(), Family::default());
        let (contacts, runs, alarm) = (Family::default(), Family::default(), Family::default());
        let build: Family<Labels<1>, Gauge> = Family::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION").into())]).set(1);
        registry.register("build_info", "The version that runs", build);
        registry.register("http_requests", "Requests sent, repeats included, by answer", Family::clone(&requests));
        let help = "Time from sending a request to the last byte of its answer";
        registry.register("http_request_duration_seconds", help, Family::clone(&durations));
        registry.register("http_throttled", "Answers with status 429", Family::clone(&throttled));
        let help = "Requests that may be sent in a second: as configured, and as adapted now; 0 is no limit";
        registry.register("budget_requests_per_second", help, Family::clone(&budget));
        registry.register("platform_up", "0 while a platform is waited for", Family::clone(&up));
        registry.register(
            "contacts",
            "Contacts by what became of them, added when a run ends",
            Family::clone(&contacts),
        );
        registry.register("runs", "Runs that ended, by how", Family::clone(&runs));
        registry.register("alarm", "1 while the alarm stands", Family::clone(&alarm));
        let metrics = Self(Arc::new(Inner {
            registry,
            requests,
            durations,
            throttled,
            budget,
            up,
            contacts,
            runs,
            alarm,
            routes: Mutex::default(),
        }));
        metrics.begin_at_zero();
        metrics
    }

    fn begin_at_zero(&self) {
        for platform in Platform::ALL {
            drop(self.0.throttled.get_or_create(&[("platform", platform.as_str().into())]));
        }
        for (outcome, _) in OUTCOMES {
            drop(self.0.contacts.get_or_create(&[("outcome", outcome.into())]));
        }
        for kind in KINDS {
            for verdict in RunVerdict::ALL {
                drop(self.0.runs.get_or_create(&[("kind", kind.into()), ("verdict", verdict.as_str().into())]));
            }
        }
    }

    /// One attempt at a request is over.
    pub fn answered(&self, platform: Platform, route: &str, status: Option<u16>, took: Duration) {
        let route = self.known_route(platform, route);
        let status = status.map_or(Cow::Borrowed("error"), |status| Cow::Owned(status.to_string()));
        let of: (&'static str, Cow<'static, str>) = ("platform", platform.as_str().into());
        if status == "429" {
            self.0.throttled.get_or_create(&[("platform", platform.as_str().into())]).inc();
        }
        self.0.durations.get_or_create(&[of.clone(), ("route", route.clone())]).observe(took.as_secs_f64());
        self.0.requests.get_or_create(&[of, ("route", route), ("status", status)]).inc();
    }

    /// The route, or `other` where there are too many: a label must not grow without end.
    fn known_route(&self, platform: Platform, route: &str) -> Cow<'static, str> {
        let mut routes = self.0.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = (platform, route.to_owned());
        if routes.contains(&entry) {
            return Cow::Owned(entry.1);
        }
        if routes.iter().filter(|(of, _)| *of == platform).count() >= ROUTES {
            return Cow::Borrowed("other");
        }
        routes.insert(entry);
        Cow::Owned(route.to_owned())
    }

    /// Whether a platform answers.
    pub fn platform_up(&self, platform: Platform, up: bool) {
        self.0.up.get_or_create(&[("platform", platform.as_str().into())]).set(i64::from(up));
    }

    /// What may be asked of a platform in a second: as configured, and as adapted now.
    pub fn budget(&self, platform: Platform, ceiling: f64, current: f64) {
        for (kind, value) in [("ceiling", ceiling), ("current", current)] {
            self.0.budget.get_or_create(&[("platform", platform.as_str().into()), ("kind", kind.into())]).set(value);
        }
    }

    /// A run is over; `counts` are those that the state keeps.
    pub fn run_ended(&self, kind: &str, verdict: RunVerdict, counts: &Value) {
        self.0.runs.get_or_create(&[("kind", kind_label(kind)), ("verdict", verdict.as_str().into())]).inc();
        for (outcome, key) in OUTCOMES {
            let count = counts.get(key).and_then(Value::as_u64).unwrap_or(0);
            self.0.contacts.get_or_create(&[("outcome", outcome.into())]).inc_by(count);
        }
    }

    /// Whether an alarm stands.
    pub fn alarm(&self, alarm: &'static str, stands: bool) {
        self.0.alarm.get_or_create(&[("alarm", alarm.into())]).set(i64::from(stands));
    }

    /// What a scraper reads; `accept` is what it asks for.
    pub fn scrape(&self, facts: &Facts, accept: Option<&str>) -> Exposition {
        let mut text = self.text();
        let gauges = gauges::registry(facts);
        // Writing to a String cannot fail.
        let _written = text::encode_registry(&mut text, &gauges);
        if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            let _written = text::encode_eof(&mut text);
            Exposition { content_type: OPEN, text }
        } else {
            Exposition { content_type: PLAIN, text: plain::from_open(&text) }
        }
    }

    /// The counters alone.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _written = text::encode_registry(&mut text, &self.0.registry);
        text
    }
}

/// The label of a kind of run. One that this program does not have stands in an old state.
fn kind_label(kind: &str) -> Cow<'static, str> {
    let known = KINDS.into_iter().chain(OTHER_KINDS).find(|known| *known == kind);
    Cow::Borrowed(known.unwrap_or("other"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{Metrics, RunVerdict};
    use crate::ops::Platform;
    use crate::ops::look::Facts;

    fn lines(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    #[test]
    fn requests_are_counted_by_platform_route_and_status() {
        let metrics = Metrics::new();
        for status in [Some(200), Some(200), Some(429), None] {
            metrics.answered(Platform::LiveDesk, "/contacts/{id}", status, Duration::from_millis(30));
        }
        let text = metrics.text();
        for line in [
            r#"deskferry_http_requests_total{platform="livedesk",route="/contacts/{id}",status="200"} 2"#,
            r#"deskferry_http_requests_total{platform="livedesk",route="/contacts/{id}",status="429"} 1"#,
            r#"deskferry_http_requests_total{platform="livedesk",route="/contacts/{id}",status="error"} 1"#,
            r#"deskferry_http_request_duration_seconds_count{platform="livedesk",route="/contacts/{id}"} 4"#,
            r#"deskferry_http_request_duration_seconds_bucket{le="0.05",platform="livedesk",route="/contacts/{id}"} 4"#,
            r#"deskferry_http_throttled_total{platform="livedesk"} 1"#,
            r#"deskferry_http_throttled_total{platform="firstline"} 0"#,
        ] {
            assert!(lines(&text).contains(&line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_platform_that_had_thousands_of_routes_would_not_fill_the_memory() {
        let metrics = Metrics::new();
        for number in 0..1_000 {
            metrics.answered(Platform::FirstLine, &format!("/odd-{number}"), Some(200), Duration::ZERO);
        }
        let text = metrics.text();
        let series = lines(&text).into_iter().filter(|line| line.starts_with("deskferry_http_requests_total")).count();
        assert_eq!(series, 65);
        assert!(text.contains(r#"route="other",status="200"} 936"#), "{text}");
    }

    #[test]
    fn a_run_adds_its_counts_and_its_verdict() {
        let metrics = Metrics::new();
        let counts = json!({ "created": 3, "conflicts": 1, "reasons": { "x": 2 }, "unchanged": 7 });
        metrics.run_ended("sweep", RunVerdict::LeftOver, &counts);
        metrics.run_ended("sweep", RunVerdict::LeftOver, &counts);
        metrics.run_ended("something old", RunVerdict::Done, &counts);
        let text = metrics.text();
        for line in [
            r#"deskferry_contacts_total{outcome="created"} 9"#,
            r#"deskferry_contacts_total{outcome="conflict"} 3"#,
            r#"deskferry_contacts_total{outcome="parked"} 0"#,
            r#"deskferry_runs_total{kind="sweep",verdict="left_over"} 2"#,
            r#"deskferry_runs_total{kind="sync",verdict="failed"} 0"#,
            r#"deskferry_runs_total{kind="other",verdict="done"} 1"#,
        ] {
            assert!(lines(&text).contains(&line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_scraper_gets_the_format_that_it_asks_for() {
        let metrics = Metrics::new();
        let open = metrics.scrape(&Facts::default(), Some("application/openmetrics-text;version=1.0.0,*/*;q=0.1"));
        assert!(open.content_type.starts_with("application/openmetrics-text") && open.text.ends_with("# EOF\n"));
        let plain = metrics.scrape(&Facts::default(), None);
        assert_eq!(plain.content_type, "text/plain; version=0.0.4; charset=utf-8");
        assert!(!plain.text.contains("EOF"));
        for line in plain.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        }
    }
}
