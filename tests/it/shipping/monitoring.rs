//! The alert rules and the dashboard speak of what the service exports, and of all its alarms.

use std::collections::BTreeSet;

use deskferry::sandbox::SandboxConfig;
use serde_json::Value;

use super::names::{ALARMS, METRICS};
use super::promql::{complaints, metrics};
use super::read;
use crate::world::World;

const RULES: &str = "deploy/prometheus/deskferry.rules.yml";
const RULES_TEST: &str = "deploy/prometheus/deskferry.test.yml";
const DASHBOARD: &str = "deploy/grafana/deskferry.json";
const GUIDE: &str = "docs/operations.md";

struct Alert {
    name: String,
    expression: String,
    /// Everything else that it says.
    text: String,
}

/// The alerts of the file: `- alert:` begins one, `expr:` has its expression behind it or indented below.
fn alerts() -> Vec<Alert> {
    let rules = read(RULES);
    let mut parts = rules.split("- alert: ");
    parts.next();
    let found: Vec<Alert> = parts
        .map(|part| {
            let (name, rest) = part.split_once('\n').unwrap();
            let (_, rest) = rest.split_once("expr: ").unwrap();
            let (first, below) = rest.split_once('\n').unwrap();
            let deep = |line: &&str| line.starts_with("          ");
            let expression = if first == ">-" {
                below.lines().take_while(deep).map(str::trim).collect::<Vec<_>>().join(" ")
            } else {
                first.to_owned()
            };
            Alert { name: name.trim().to_owned(), expression, text: rest.to_owned() }
        })
        .collect();
    assert_eq!(found.len(), rules.matches("expr: ").count(), "an alert that this test does not see");
    found
}

/// Labels that a text shows: `{{ $labels.kind }}` of Prometheus, `{{kind}}` of Grafana.
fn shown(text: &str) -> Vec<String> {
    let inside = text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(inside, _)| inside.trim());
    let labels = inside.filter(|inside| !inside.starts_with("$value"));
    labels.map(|inside| inside.trim_start_matches("$labels.").to_owned()).collect()
}

#[test]
fn every_alert_names_metrics_and_labels_that_the_service_exports() {
    for alert in alerts() {
        let wrong = complaints(&alert.expression, &shown(&alert.text));
        assert!(wrong.is_empty(), "{RULES}: {}: {}", alert.name, wrong.join("; "));
        assert!(alert.text.contains("severity: "), "{}", alert.name);
    }
}

#[test]
fn every_alarm_has_one_alert_and_one_section_of_the_guide() {
    let (alerts, guide) = (alerts(), read(GUIDE));
    for alarm in ALARMS {
        let expression = format!("deskferry_alarm{{alarm=\"{alarm}\"}} == 1");
        let of_alarm: Vec<&Alert> = alerts.iter().filter(|alert| alert.expression == expression).collect();
        assert_eq!(of_alarm.len(), 1, "alerts for {alarm} in {RULES}");
        assert!(of_alarm[0].text.contains(&format!("runbook: {GUIDE}#{alarm}\n")), "{alarm}");
        assert!(guide.contains(&format!("\n### {alarm}\n")), "{GUIDE} has no section for {alarm}");
    }
}

#[test]
fn every_alert_leads_to_a_heading_of_the_guide() {
    let guide = read(GUIDE);
    for alert in alerts() {
        let (_, anchor) = alert.text.split_once(&format!("runbook: {GUIDE}#")).expect(&alert.name);
        let anchor = anchor.lines().next().unwrap();
        let headings = guide.lines().filter(|line| line.starts_with('#'));
        let found = headings.map(super::documents::anchor).any(|heading| heading == anchor);
        assert!(found, "{}: {GUIDE} has no heading for #{anchor}", alert.name);
    }
}

#[test]
fn the_rules_watch_the_state_and_expect_nothing_of_what_is_switched_off_or_waits_out_an_outage() {
    let expression = |name: &str| {
        let found = alerts().into_iter().find(|alert| alert.name == name);
        found.unwrap_or_else(|| panic!("no alert {name}")).expression
    };
    assert_eq!(expression("DeskferryStateUnreadable"), "deskferry_state_readable == 0");
    let scheduled = "and on (instance) deskferry_next_activation_timestamp_seconds{kind=\"sync\"}";
    assert!(expression("DeskferrySyncLag").ends_with(scheduled), "{}", expression("DeskferrySyncLag"));
    let down = "unless on (instance) (deskferry_platform_up == 0)";
    assert!(expression("DeskferryStuck").ends_with(down), "{}", expression("DeskferryStuck"));
}

#[test]
fn the_tests_of_the_rules_name_alerts_and_metrics_that_exist() {
    let (tests, names) = (read(RULES_TEST), alerts().into_iter().map(|alert| alert.name).collect::<BTreeSet<_>>());
    for part in tests.split("alertname: ").skip(1) {
        let name = part.split([',', '\n', ' ']).next().unwrap();
        assert!(names.contains(name), "{RULES_TEST}: {name}");
    }
    for part in tests.split("- series: ").skip(1) {
        let wrong = complaints(part.lines().next().unwrap(), &[]);
        assert!(wrong.is_empty(), "{RULES_TEST}: {}", wrong.join("; "));
    }
}

/// Title, expression and legend of everything that the dashboard asks.
fn queries(dashboard: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels
        .flat_map(|panel| {
            let targets = panel["targets"].as_array().into_iter().flatten();
            targets.map(|target| (text(&panel["title"]), text(&target["expr"]), text(&target["legendFormat"])))
        })
        .collect()
}

#[test]
fn every_panel_of_the_dashboard_asks_for_what_the_service_exports() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let queries = queries(&dashboard);
    for (title, expression, legend) in &queries {
        let wrong = complaints(expression, &shown(legend));
        assert!(wrong.is_empty(), "{DASHBOARD}: {title}: {}", wrong.join("; "));
    }
    let asked: BTreeSet<&str> = queries.iter().flat_map(|(_, expression, _)| metrics(expression)).collect();
    for metric in METRICS {
        assert!(asked.contains(metric.name), "{DASHBOARD} does not show {}", metric.name);
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
            let (metric, label) = inside.split_once(", ").unwrap();
            assert_eq!(complaints(metric, &[label.to_owned()]), Vec::<String>::new(), "{DASHBOARD}: {query}");
        }
    }
}

#[test]
fn no_two_panels_of_the_dashboard_share_an_id_or_a_place() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut cells = BTreeSet::new();
    for panel in panels {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in side("x")..side("x") + side("w") {
            assert!(x < 24, "{}", panel["title"]);
            for y in side("y")..side("y") + side("h") {
                assert!(cells.insert((x, y)), "{} lies over another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn the_guide_explains_every_metric_and_no_other() {
    let guide = read(GUIDE);
    for metric in METRICS {
        assert!(guide.contains(&format!("| `{}", metric.name)), "{GUIDE} does not explain {}", metric.name);
    }
    for part in guide.split("deskferry_").skip(1) {
        let end = part.find(|next: char| !next.is_ascii_alphanumeric() && next != '_').unwrap_or(part.len());
        let name = format!("deskferry_{}", &part[..end]);
        assert!(METRICS.iter().any(|metric| metric.name == name), "{GUIDE} speaks of {name}, which does not exist");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_service_exports_exactly_the_metrics_that_rules_and_dashboard_may_use() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let config = SandboxConfig { contacts: 30, ..SandboxConfig::default() };
    let mut world = World::start(config).await;
    world.choices.instead.push(("listen = \"127.0.0.1:0\"", format!("listen = \"{address}\"")));
    let mut service = world.spawn(&["run"]);
    let up = service.until(|| std::net::TcpStream::connect(address).is_ok()).await;
    assert!(up, "{}", service.stderr());
    let ready = async || crate::ops::get(address, "/readyz").await.status == 200;
    while !ready().await {
        assert!(service.run_for(std::time::Duration::from_millis(20)).await, "{}", service.stderr());
    }
    // A first sweep leaves a sync behind it.
    let synced = async || crate::ops::get(address, "/metrics").await.body.contains("deskferry_sync_lag_seconds ");
    while !synced().await {
        assert!(service.run_for(std::time::Duration::from_millis(20)).await, "{}", service.stderr());
    }

    let text = crate::ops::get(address, "/metrics").await.body;
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let names: BTreeSet<&str> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();
    let expected: BTreeSet<String> = METRICS
        .iter()
        .flat_map(|metric| {
            let ends: &[&str] = if metric.histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
            ends.iter().map(|end| format!("{}{end}", metric.name))
        })
        .collect();
    assert_eq!(names, expected.iter().map(String::as_str).collect());

    service.signal("TERM").await;
    let end = service.end().await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
    world.assert_right().await;
}
