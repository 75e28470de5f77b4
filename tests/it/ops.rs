//! The service's own server over a real socket: who may ask, what is answered, and that the names of metrics are those
//! that rules and dashboards were written for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deskferry::app;
use deskferry::clock::{TestClock, Timestamp};
use deskferry::config::load;
use deskferry::domain::ids::RunId;
use deskferry::domain::outcome::RunVerdict;
use deskferry::ops::board::{HeldDeletes, Running};
use deskferry::ops::server::BindError;
use deskferry::ops::trigger::{Accepted, Kind, Refused, Trigger};
use deskferry::ops::{Ops, OpsError, OpsSettings, Platform};
use deskferry::store::{Access, Hold, RunResult, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends these bytes and reads to the end of the connection.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// A read, with further header lines.
pub(crate) async fn get_with(address: SocketAddr, path: &str, headers: &str) -> Answer {
    raw(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n")).await
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    get_with(address, path, "").await
}

pub(crate) async fn post(address: SocketAddr, kind: &str, body: &str) -> Answer {
    let length = body.len();
    let head =
        format!("POST /api/runs HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n");
    raw(address, &format!("{head}\r\n{body}")).await
}

/// What was asked for and has not begun; `None` once the service stops.
type Due = Arc<Mutex<Option<BTreeSet<Kind>>>>;

/// The way to it.
fn trigger(due: &Due) -> Trigger {
    let due = Arc::clone(due);
    Trigger::new(move |kind| match due.lock().unwrap().as_mut() {
        None => Err(Refused::Stopping),
        Some(due) => Ok(if due.insert(kind) { Accepted::Queued } else { Accepted::AlreadyWaiting }),
    })
}

/// A server over an empty state, running.
struct Service {
    ops: Ops,
    due: Due,
    store: Store,
    clock: TestClock,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<std::io::Result<()>>,
    _folder: TempDir,
}

/// Settings as a configuration with these lines has them.
fn settings(lines: &str) -> OpsSettings {
    let text = format!(
        "firstline.base_url = \"https://t.example/api/v1\"\nidentity.stamp = {{ membership_no = \"LD-\" }}\n[ops]\n{lines}\n"
    );
    app::ops::settings(&load::parse("deskferry.toml".as_ref(), &text, std::iter::empty()).unwrap())
}

async fn serve(lines: &str) -> Service {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::default();
    clock.advance_ms(1_000_000);
    let access = Access::Exclusive { holder: String::from("test") };
    let store = Store::open(&folder.path().join("state.db"), access, Arc::new(clock.clone())).await.unwrap();
    let settings = settings(&format!("listen = \"127.0.0.1:0\"\n{lines}"));
    let due = Arc::new(Mutex::new(Some(BTreeSet::new())));
    let opened = Ops::open(settings, store.clone(), Arc::new(clock.clone()), trigger(&due), None).await;
    let (ops, server, _) = opened.unwrap();
    let (address, stop, mut tasks) = (server.local_addr().unwrap(), CancellationToken::new(), JoinSet::new());
    tasks.spawn(server.run(stop.clone()));
    Service { ops, due, store, clock, address, stop, tasks, _folder: folder }
}

impl Service {
    async fn run_of(&self, kind: &str, exit_code: i32, sweep: Option<&str>, counts: Value) -> RunId {
        let run = self.store.begin_run(kind, &json!({})).await.unwrap();
        if let Some(verdict) = sweep {
            let number = self.store.begin_sweep(run).await.unwrap();
            self.store.finish_sweep(number, verdict).await.unwrap();
        }
        let result = RunResult { exit_code, verdict: sweep.map(str::to_owned), counts };
        self.store.finish_run(run, result).await.unwrap();
        run
    }

    /// Both platforms answer.
    fn reach(&self) {
        for platform in ["LiveDesk", "FIRST LINE"] {
            self.ops.watch().of(platform).answered("/contacts/{id}", Some(200), Duration::from_millis(20));
        }
    }
}

#[tokio::test]
async fn a_service_is_alive_at_once_and_ready_when_it_has_something_to_show() {
    let service = serve("").await;
    let alive = get(service.address, "/healthz").await;
    assert_eq!((alive.status, &alive.json()["status"]), (200, &json!("alive")));
    let answer = get(service.address, "/readyz").await;
    let reasons: Vec<Value> =
        answer.json()["reasons"].as_array().unwrap().iter().map(|r| r["reason"].clone()).collect();
    assert_eq!(answer.status, 503);
    assert_eq!(reasons, ["platform_not_reached", "platform_not_reached", "no_complete_sweep"]);
    service.reach();
    service.run_of("sweep", 0, Some("proven"), json!({})).await;
    assert_eq!(get(service.address, "/readyz").await.status, 200);
    service.clock.advance_ms(37 * 3_600_000);
    let answer = get(service.address, "/readyz").await;
    assert_eq!((answer.status, &answer.json()["reasons"][0]["reason"]), (503, &json!("sweep_overdue")));
}

#[tokio::test]
async fn with_a_token_everything_but_the_pulse_asks_for_it() {
    let service = serve("token = \"a-token-of-operators\"").await;
    let paths = ["/readyz", "/metrics", "/api/status", "/api/runs", "/api/runs/1", "/nowhere"];
    for path in paths {
        for headers in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic YTpi\r\n"] {
            let answer = get_with(service.address, path, headers).await;
            assert_eq!(answer.status, 401, "{path} {headers}");
            assert!(answer.head.contains("\r\nwww-authenticate: bearer"), "{}", answer.head);
            assert!(!answer.body.contains("a-token-of-operators"));
        }
        let answer = get_with(service.address, path, "Authorization: Bearer a-token-of-operators\r\n").await;
        assert_ne!(answer.status, 401, "{path}");
    }
    assert_eq!(get(service.address, "/healthz").await.status, 200);
    assert_eq!(post(service.address, "application/json", "{\"kind\":\"sync\"}").await.status, 401);
}

#[tokio::test]
async fn on_loopback_a_page_that_calls_us_by_its_own_name_gets_nothing() {
    let service = serve("").await;
    let ask =
        async |path: &str, host: &str| raw(service.address, &format!("GET {path} HTTP/1.1\r\n{host}\r\n")).await.status;
    for path in ["/healthz", "/api/status", "/metrics"] {
        for host in [
            "Host: evil.example\r\n",
            "Host: 127.0.0.1.evil.example:8787\r\n",
            "Host: localhost\r\nHost: evil.example\r\n",
        ] {
            let status = ask(path, host).await;
            assert!(matches!(status, 400 | 421), "{path} {host}: {status}");
        }
        for host in ["Host: localhost:8787\r\n", "Host: [::1]\r\n", "Host: 127.0.0.1\r\n"] {
            assert_eq!(ask(path, host).await, 200, "{path} {host}");
        }
    }
}

#[tokio::test]
async fn a_run_is_asked_for_as_json_and_the_answer_says_what_happens() {
    let service = serve("").await;
    let (address, json_type) = (service.address, "application/json");
    for (kind, body, status) in [
        ("text/plain", "{\"kind\":\"sync\"}", 415),
        ("application/x-www-form-urlencoded", "kind=sync", 415),
        (json_type, "", 400),
        (json_type, "{\"kind\":\"everything\"}", 400),
        (json_type, "{\"kind\":\"sync\",\"force\":true}", 400),
        (json_type, &format!("{{\"kind\":\"sync\"}}{}", " ".repeat(5_000)), 413),
    ] {
        assert_eq!(post(address, kind, body).await.status, status, "{kind}");
    }
    let ask = async |kind: &str| {
        let answer = post(address, "application/json; charset=utf-8", &format!("{{\"kind\":\"{kind}\"}}")).await;
        (answer.status, answer.json()["what"].clone())
    };
    assert_eq!(ask("sync").await, (202, json!("queued")));
    assert_eq!(ask("sync").await, (202, json!("already_waiting")));
    assert_eq!(*service.due.lock().unwrap(), Some(BTreeSet::from([Kind::Sync])));
    service.ops.board.running(vec![Running { run: RunId(7), kind: "backfill", since: Timestamp(0) }]);
    assert_eq!(ask("sync").await.0, 202, "it goes in between");
    let answer = post(address, json_type, "{\"kind\":\"sweep\"}").await;
    assert_eq!((answer.status, &answer.json()["run"]), (409, &json!(7)));
    service.ops.board.running(Vec::new());
    assert_eq!(ask("sweep").await, (202, json!("queued")));
    *service.due.lock().unwrap() = None;
    assert_eq!(ask("sync").await.0, 503);
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_shown_one_by_one() {
    let service = serve("").await;
    for exit_code in [0, 1, 2] {
        let counts = json!({ "created": 3, "requests": { "livedesk": 4 }, "reasons": { "refused (422): x": 1 } });
        service.run_of("sync", exit_code, None, counts).await;
    }
    let verdicts = async |path: &str| {
        let answer = get(service.address, path).await.json();
        let runs = answer["runs"].as_array().unwrap().iter();
        runs.map(|run| (run["run"].as_i64().unwrap(), run["verdict"].as_str().unwrap().to_owned())).collect::<Vec<_>>()
    };
    let all = [(3, "failed"), (2, "left_over"), (1, "done")].map(|(run, verdict)| (run, String::from(verdict)));
    assert_eq!(verdicts("/api/runs").await, all);
    assert_eq!(verdicts("/api/runs?limit=1").await, all[..1]);
    assert_eq!(get(service.address, "/api/runs?limit=0").await.status, 400);
    let run = get(service.address, "/api/runs/2").await.json();
    assert_eq!((&run["counts"]["created"], &run["requests"]["livedesk"]), (&json!(3), &json!(4)));
    for path in ["/api/runs/9", "/api/runs/x", "/api", "/"] {
        assert_eq!(get(service.address, path).await.status, 404, "{path}");
    }
    let delete = format!("DELETE /api/runs HTTP/1.1\r\nHost: {}\r\n\r\n", service.address);
    assert_eq!(raw(service.address, &delete).await.status, 405);
}

/// The contract with deploy/: rules and dashboards use these names.
const NAMES: [&str; 29] = [
    "build_info{version=",
    "http_requests_total{platform=\"livedesk\",route=\"/contacts/{id}\",status=\"200\"} 1",
    "http_request_duration_seconds_bucket{le=\"0.025\",platform=\"livedesk\",route=\"/contacts/{id}\"} 1",
    "http_throttled_total{platform=\"firstline\"} 0",
    "budget_requests_per_second{platform=\"firstline\",kind=\"ceiling\"} 1.0",
    "budget_requests_per_second{platform=\"livedesk\",kind=\"current\"} 4.0",
    "platform_up{platform=\"livedesk\"} 1",
    "platform_last_answer_timestamp_seconds{platform=\"firstline\"} 1000",
    "contacts_total{outcome=\"created\"} 3",
    "contacts_total{outcome=\"conflict\"} 0",
    "runs_total{kind=\"sweep\",verdict=\"left_over\"} 1",
    "runs_total{kind=\"sync\",verdict=\"interrupted\"} 0",
    "run_last_end_timestamp_seconds{kind=\"sweep\"} 1000",
    "run_in_progress{kind=\"sync\"} 1",
    "next_activation_timestamp_seconds{kind=\"sync\"} 1300",
    "sweep_last_complete_timestamp_seconds 1000",
    "sweep_unseen 4",
    "sync_lag_seconds 90",
    "dead_letters{state=\"waiting\"} 0",
    "dead_letters{state=\"poisoned\"} 0",
    "conflicts 0",
    "parked 0",
    "links{standing=\"live\"} 0",
    "links{standing=\"alias\"} 0",
    "links{standing=\"gone\"} 0",
    "absent_contacts 0",
    "alarm{alarm=\"sweep_incomplete\"} 1",
    "alarm{alarm=\"credentials_refused\"} 0",
    "state_readable 1",
];

#[tokio::test]
async fn the_metrics_have_the_names_that_rules_and_dashboards_use() {
    let service = serve("").await;
    service.reach();
    service.run_of("sweep", 0, Some("counted"), json!({})).await;
    let counts = json!({ "created": 3 });
    service.run_of("sweep", 1, Some("short by 4"), counts.clone()).await;
    service.ops.run_ended("sweep", RunVerdict::LeftOver, &counts);
    service.ops.board.running(vec![Running { run: RunId(9), kind: "sync", since: Timestamp(0) }]);
    service.ops.board.next(BTreeMap::from([(Kind::Sync, Timestamp(1_300_000))]), Timestamp(1_000_000));
    service.ops.board.carried_until(Some(Timestamp(910_000)));
    service.ops.tick().await;
    let answer = get(service.address, "/metrics").await;
    assert!(answer.head.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8"), "{}", answer.head);
    for name in NAMES {
        let line = format!("deskferry_{name}");
        assert!(answer.body.lines().any(|found| found.starts_with(&line)), "{line}\n{}", answer.body);
    }
    for name in ["deskferry_state_bytes ", "deskferry_disk_free_bytes "] {
        let value = answer.body.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert!(value.parse::<u64>().unwrap() > 0, "{name}{value}");
    }
    for alarm in deskferry::ops::alerts::alarm::Alarm::ALL {
        assert!(answer.body.contains(&format!("deskferry_alarm{{alarm=\"{alarm}\"}} ")), "{alarm}");
    }
    let open = get_with(service.address, "/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n").await;
    assert!(open.head.contains("\r\ncontent-type: application/openmetrics-text") && open.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_status_says_what_runs_what_is_next_and_what_is_wrong() {
    let service = serve("").await;
    service.reach();
    service.run_of("sweep", 2, None, json!({})).await;
    service.ops.board.running(vec![Running { run: RunId(2), kind: "sync", since: Timestamp(1_000_000) }]);
    service.ops.board.next(BTreeMap::from([(Kind::Sweep, Timestamp(2_000_000))]), Timestamp(1_000_000));
    service.ops.board.deletes(HeldDeletes { held: 40, ceiling: 20 });
    service.ops.tick().await;
    let status = get(service.address, "/api/status").await.json();
    assert_eq!(status["running"][0], json!({ "run": 2, "kind": "sync", "since": "1970-01-01T00:16:40Z" }));
    assert_eq!(status["next"], json!({ "sweep": "1970-01-01T00:33:20Z" }));
    assert_eq!(status["platforms"]["livedesk"]["last_answer"], "1970-01-01T00:16:40Z");
    assert_eq!((&status["ready"], &status["reasons"][0]["reason"]), (&json!(false), &json!("no_complete_sweep")));
    let alarms: Vec<&Value> = status["alarms"].as_array().unwrap().iter().map(|alarm| &alarm["alarm"]).collect();
    assert_eq!(alarms, ["run_failed", "delete_ceiling"]);
}

#[tokio::test]
async fn a_run_that_is_asked_for_while_a_run_that_was_taken_back_holds_everything_is_refused_with_the_reason() {
    let service = serve("").await;
    service.run_of("backfill", 0, Some("proven"), json!({})).await;
    let hold = Hold { undo: RunId(2), of: RunId(1), at: Timestamp(1_000_000) };
    service.store.begin_undo(hold).await.unwrap();
    let answer = post(service.address, "application/json", "{\"kind\": \"sync\"}").await;
    assert!(answer.head.starts_with("http/1.1 409"), "{}", answer.head);
    assert!(answer.body.contains("deskferry undo --release"), "{}", answer.body);
    assert!(service.due.lock().unwrap().as_ref().unwrap().is_empty(), "nothing waits for the hold's end");
    service.store.release_hold().await.unwrap();
    let answer = post(service.address, "application/json", "{\"kind\": \"sync\"}").await;
    assert!(answer.head.starts_with("http/1.1 202"), "{}", answer.head);
}

#[tokio::test]
async fn a_port_that_is_taken_and_an_open_door_are_refused_by_name() {
    let service = serve("").await;
    let open = async |listen: SocketAddr| {
        let settings = OpsSettings { listen, ..settings("") };
        match Ops::open(settings, service.store.clone(), Arc::new(service.clock.clone()), trigger(&service.due), None)
            .await
        {
            Err(OpsError::Bind(error)) => error,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it listens on {listen}"),
        }
    };
    let taken = open(service.address).await;
    assert!(
        matches!(taken, BindError::InUse { .. }) && taken.to_string().contains(&service.address.to_string()),
        "{taken}"
    );
    assert!(matches!(open(([0, 0, 0, 0], 0).into()).await, BindError::Open { .. }));
    let elsewhere = OpsSettings { listen: ([192, 0, 2, 1], 0).into(), token: Some(String::from("t")), ..settings("") };
    let refused =
        Ops::open(elsewhere, service.store.clone(), Arc::new(service.clock.clone()), trigger(&service.due), None).await;
    assert!(matches!(refused, Err(OpsError::Bind(BindError::Other { .. }))));
}

#[tokio::test]
async fn a_state_that_was_closed_keeps_nobody_waiting_and_says_so() {
    let service = serve("").await;
    service.reach();
    service.store.clone().close().await;
    let answer = get(service.address, "/readyz").await;
    assert_eq!((answer.status, &answer.json()["reasons"][0]["reason"]), (503, &json!("state_unreadable")));
    assert!(get(service.address, "/metrics").await.body.contains("deskferry_state_readable 0\n"));
    assert_eq!(get(service.address, "/api/runs").await.status, 503);
    assert_eq!(get(service.address, "/healthz").await.status, 200);
}

#[tokio::test]
async fn a_stop_ends_the_server() {
    let mut service = serve("").await;
    assert_eq!(get(service.address, "/healthz").await.status, 200);
    service.stop.cancel();
    service.tasks.join_next().await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(service.address).await.is_err(), "nobody listens any more");
}

#[test]
fn both_platforms_are_known_by_the_names_of_their_clients() {
    for (name, platform) in [("LiveDesk", Platform::LiveDesk), ("FIRST LINE", Platform::FirstLine)] {
        assert_eq!(Platform::of_client(name), Some(platform));
    }
    assert_eq!(Platform::of_client("the webhook"), None);
}
