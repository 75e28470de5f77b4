//! Every alarm: what raises it, what ends it, what leaves it as it is; what a restart remembers; what a webhook gets.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::alarm::Alarm;
use super::judge::{Finding, Limits, TOLERANCE, judge};
use super::memory::{Memory, News, Standing, notice};
use super::webhook::{Webhook, WebhookSettings};
use super::{Alerts, Delivery, Sender, distance};
use crate::clock::{TestClock, Timestamp};
use crate::domain::ids::RunId;
use crate::http::testserver::{Act, TestServer, answer, json as json_answer};
use crate::ops::Platform;
use crate::ops::board::{Board, HeldDeletes, Running};
use crate::ops::look::Facts;
use crate::ops::metrics::Metrics;
use crate::ops::trigger::Kind;
use crate::store::{Access, EndedRun, FinishedSweep, Store, Vitals};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const LIMITS: Limits = Limits {
    reached_within: Duration::from_mins(15),
    sweep_within: Some(Duration::from_hours(36)),
    dead_letters_above: 50,
    disk_low: 1_000,
};

/// A service at work, of which everything is known and nothing is wrong.
fn healthy(now: i64) -> Facts {
    let board = Board::new(Timestamp(0));
    for platform in Platform::ALL {
        board.answered(platform, Timestamp(now), false);
    }
    board.next(
        BTreeMap::from([(Kind::Sync, Timestamp(now + MINUTE)), (Kind::Sweep, Timestamp(now + HOUR))]),
        Timestamp(now),
    );
    board.deletes(HeldDeletes { held: 0, ceiling: 20 });
    Facts {
        now: Some(Timestamp(now)),
        board: board.snapshot(),
        vitals: Some(Vitals {
            last_sweep: Some(sweep("proven", now)),
            last_complete_sweep: Some(sweep("proven", now)),
            last_runs: vec![ended(9, "sync", 0), ended(8, "sweep", 1)],
            ..Vitals::default()
        }),
        state_bytes: Some(1),
        disk_free: Some(1_000_000),
    }
}

fn sweep(verdict: &str, at: i64) -> FinishedSweep {
    FinishedSweep {
        sweep: 1,
        run: RunId(8),
        started_at: Timestamp(0),
        ended_at: Timestamp(at),
        verdict: verdict.to_owned(),
    }
}

fn ended(id: i64, kind: &str, exit_code: i32) -> EndedRun {
    let (started_at, ended_at) = (Timestamp(0), Timestamp(id * 1_000));
    EndedRun { id: RunId(id), kind: kind.to_owned(), started_at, ended_at, exit_code }
}

fn vitals(facts: &mut Facts) -> &mut Vitals {
    facts.vitals.as_mut().unwrap()
}

fn findings(facts: &Facts) -> BTreeMap<Alarm, Finding> {
    judge(facts, &LIMITS, Timestamp(0), facts.now.unwrap()).into_iter().collect()
}

/// The alarms that these facts raise.
fn raised(facts: &Facts) -> Vec<&'static str> {
    let found = findings(facts).into_iter();
    found.filter(|(_, finding)| matches!(finding, Finding::Raised { .. })).map(|(alarm, _)| alarm.as_str()).collect()
}

#[test]
fn nothing_is_wrong_with_a_healthy_service() {
    let found = findings(&healthy(HOUR));
    assert_eq!(found.len(), 9);
    assert!(found.values().all(|finding| *finding == Finding::Fine), "{found:?}");
}

#[test]
fn each_fact_raises_its_own_alarm_and_no_other() {
    type Change = fn(&mut Facts);
    let changes: [(&str, Change); 12] = [
        ("run_failed", |facts| facts.board.held = Some(String::from("another account"))),
        ("run_missed", |facts| {
            facts.board.passed.insert(Kind::Sync, Timestamp(facts.now.unwrap().0 - 16 * MINUTE));
        }),
        ("run_failed", |facts| vitals(facts).last_runs = vec![ended(9, "sync", 2), ended(8, "sweep", 0)]),
        ("run_failed", |facts| vitals(facts).last_runs = vec![ended(9, "sync", 0), ended(8, "backfill", 2)]),
        ("run_missed", |facts| {
            facts.board.next.insert(Kind::Sync, Timestamp(facts.now.unwrap().0 - 16 * MINUTE));
        }),
        ("sweep_incomplete", |facts| vitals(facts).last_sweep = Some(sweep("short by 3", HOUR))),
        ("sweep_overdue", |facts| {
            facts.now = Some(Timestamp(HOUR * 100));
            facts.board.next.clear();
        }),
        ("delete_ceiling", |facts| facts.board.held_deletes = Some(HeldDeletes { held: 400, ceiling: 20 })),
        ("dead_letters", |facts| {
            vitals(facts).dead_letters_waiting = 30;
            vitals(facts).dead_letters_poisoned = 21;
        }),
        ("disk_low", |facts| facts.disk_free = Some(999)),
        ("platform_down", |facts| {
            facts.board.livedesk.failing_since = Some(Timestamp(facts.now.unwrap().0 - HOUR / 2));
        }),
        ("platform_down", |facts| {
            facts.board.firstline.failing_since = Some(Timestamp(facts.now.unwrap().0 - HOUR / 2));
        }),
    ];
    for (alarm, change) in changes {
        let mut facts = healthy(HOUR);
        change(&mut facts);
        assert_eq!(raised(&facts), [alarm]);
    }
}

#[test]
fn at_its_limit_nothing_is_an_alarm_yet() {
    let mut facts = healthy(HOUR);
    let now = facts.now.unwrap().0;
    let tolerance = i64::try_from(TOLERANCE.as_millis()).unwrap();
    facts.board.next.insert(Kind::Sync, Timestamp(now - tolerance));
    facts.board.livedesk.failing_since = Some(Timestamp(now - 15 * MINUTE));
    vitals(&mut facts).dead_letters_waiting = 50;
    vitals(&mut facts).last_complete_sweep = Some(sweep("counted", now - 36 * HOUR));
    facts.disk_free = Some(1_000);
    assert_eq!(raised(&facts), [""; 0]);
}

#[test]
fn a_run_that_is_late_because_it_is_under_way_was_not_missed() {
    let mut facts = healthy(HOUR * 30);
    facts.board.next.insert(Kind::Sweep, Timestamp(0));
    facts.board.running = vec![Running { run: RunId(1), kind: "sweep", since: Timestamp(0) }];
    assert_eq!(raised(&facts), [""; 0]);
    facts.board.running.clear();
    assert_eq!(raised(&facts), ["run_missed"]);
}

#[test]
fn a_run_that_something_is_in_the_way_of_was_not_missed_and_the_way_is_named_by_another_alarm() {
    let mut facts = healthy(HOUR * 30);
    let now = facts.now.unwrap();
    facts.board.passed.insert(Kind::Sweep, Timestamp(now.0 - 16 * MINUTE));
    let sync = Running { run: RunId(1), kind: "sync", since: Timestamp(now.0 - HOUR) };
    facts.board.running = vec![sync.clone()];
    assert_eq!(findings(&facts)[&Alarm::RunMissed], Finding::Unknown, "another run is at work");
    facts.board.livedesk.answered_at = Some(Timestamp(now.0 - 16 * MINUTE));
    facts.board.firstline.answered_at = Some(Timestamp(now.0 - 16 * MINUTE));
    assert_eq!(raised(&facts), ["run_missed"], "one that hangs is in the way of everything");
    facts.board.firstline.failing_since = Some(Timestamp(now.0 - 16 * MINUTE));
    assert_eq!(raised(&facts), ["platform_down"], "it waits out an outage");
    facts.board.running.clear();
    assert_eq!(raised(&facts), ["platform_down"], "or could not even begin");
    // The run that waited out the outage ends, and is looked at before the one that waited for it begins.
    (facts.board.firstline.failing_since, facts.board.firstline.answered_at) = (None, Some(now));
    facts.board.livedesk.answered_at = Some(now);
    facts.board.ran.insert(Kind::Sync, now);
    assert_eq!(findings(&facts)[&Alarm::RunMissed], Finding::Unknown, "its turn is next");
    facts.board.ran.insert(Kind::Sync, Timestamp(now.0 - MINUTE));
    assert_eq!(raised(&facts), ["run_missed"], "it had its turn, and did not take it");
}

#[test]
fn a_time_that_lies_ahead_because_the_clock_was_set_back_is_not_taken_for_a_fresh_one() {
    let mut facts = healthy(HOUR * 100);
    vitals(&mut facts).last_complete_sweep = Some(sweep("proven", HOUR * 10_000));
    assert_eq!(raised(&facts), ["sweep_overdue"]);
    facts.now = Some(Timestamp(HOUR * 100));
    vitals(&mut facts).last_complete_sweep = Some(sweep("proven", HOUR * 100 + 10_000));
    assert_eq!(raised(&facts), [""; 0], "clocks differ a little");
}

#[tokio::test]
async fn a_first_start_under_a_clock_that_was_ahead_does_not_put_off_an_overdue_sweep_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let store = state(&folder.path().join("state.db")).await;
    let (alerts, _) = opened(&store, 10_000 * HOUR, None).await;
    for (now, overdue) in [(HOUR, false), (36 * HOUR, false), (38 * HOUR, true)] {
        let mut facts = healthy(now);
        vitals(&mut facts).last_complete_sweep = None;
        alerts.tick(&facts).await;
        let standing = alerts.standing().to_string();
        assert_eq!(standing.contains("sweep_overdue"), overdue, "{standing}");
    }
}

#[test]
fn a_401_in_mid_run_is_a_token_that_is_renewed_and_one_that_ended_a_run_is_an_alarm() {
    let mut facts = healthy(HOUR);
    facts.board.firstline.refused = Some(true);
    assert_eq!(raised(&facts), [""; 0]);
    vitals(&mut facts).last_runs = vec![ended(9, "sync", 2)];
    assert_eq!(raised(&facts), ["run_failed", "credentials_refused"]);
    vitals(&mut facts).last_runs.clear();
    facts.board.held = Some(String::from("status 401"));
    assert_eq!(raised(&facts), ["run_failed", "credentials_refused"], "nor could one begin");
}

#[test]
fn what_is_not_known_leaves_an_alarm_as_it_is() {
    let blank = Facts { now: Some(Timestamp(MINUTE)), ..Facts::default() };
    let found = findings(&blank);
    assert!(found.values().all(|finding| *finding == Finding::Unknown), "{found:?}");
    let mut facts = healthy(HOUR);
    vitals(&mut facts).last_runs = vec![ended(9, "sync", 130)];
    assert_eq!(findings(&facts)[&Alarm::RunFailed], Finding::Unknown, "it was asked to stop");
    facts.disk_free = Some(1_050);
    assert_eq!(findings(&facts)[&Alarm::DiskLow], Finding::Unknown, "between the limit and a tenth above it");
}

#[test]
fn a_sweep_is_overdue_from_the_first_start_on_and_not_before_it_could_have_been() {
    let mut facts = healthy(HOUR);
    vitals(&mut facts).last_complete_sweep = None;
    let overdue = |now: i64| {
        let found: BTreeMap<Alarm, Finding> =
            judge(&facts, &LIMITS, Timestamp(10 * HOUR), Timestamp(now)).into_iter().collect();
        matches!(found[&Alarm::SweepOverdue], Finding::Raised { .. })
    };
    assert!(!overdue(46 * HOUR));
    assert!(overdue(46 * HOUR + 1));
}

#[test]
fn a_lane_that_was_switched_off_is_not_judged_by_its_last_run() {
    let mut facts = healthy(HOUR);
    vitals(&mut facts).last_runs = vec![ended(9, "sync", 2), ended(8, "sweep", 0)];
    assert_eq!(raised(&facts), ["run_failed"]);
    facts.board.next.remove(&Kind::Sync);
    assert_eq!(raised(&facts), [""; 0]);
    assert_eq!(findings(&facts)[&Alarm::RunFailed], Finding::Fine, "and one that stood is over");
    vitals(&mut facts).last_runs[1].exit_code = 2;
    assert_eq!(raised(&facts), ["run_failed"], "the other one is");
    // Where nothing is scheduled each run was asked for by somebody.
    facts.board.next.clear();
    assert_eq!(raised(&facts), ["run_failed"]);
}

#[test]
fn a_first_backfill_that_comes_forward_is_not_overdue_and_one_that_stands_still_is() {
    let mut facts = healthy(HOUR * 40);
    let now = facts.now.unwrap();
    let sweep_overdue = |facts: &Facts| findings(facts)[&Alarm::SweepOverdue].clone();
    vitals(&mut facts).last_complete_sweep = None;
    assert_eq!(raised(&facts), ["sweep_overdue"], "nothing is under way");
    let sync = Running { run: RunId(2), kind: "sync", since: now };
    facts.board.running = vec![sync.clone()];
    assert_eq!(raised(&facts), ["sweep_overdue"], "a sync is no sweep");
    facts.board.running = vec![Running { run: RunId(1), kind: "backfill", since: Timestamp(0) }, sync];
    vitals(&mut facts).sweep_moved_at = Some(Timestamp(now.0 - 6 * HOUR));
    assert_eq!(sweep_overdue(&facts), Finding::Unknown, "it raises nothing, and ends nothing");
    facts.board.firstline.failing_since = Some(Timestamp(now.0 - MINUTE));
    assert!(matches!(sweep_overdue(&facts), Finding::Raised { .. }), "a platform is in its way");
    facts.board.firstline.failing_since = None;
    vitals(&mut facts).sweep_moved_at = Some(Timestamp(now.0 - 6 * HOUR - 1));
    assert!(matches!(sweep_overdue(&facts), Finding::Raised { .. }), "it stands at one page");
    facts.board.running[0].since = Timestamp(now.0 - HOUR);
    assert_eq!(sweep_overdue(&facts), Finding::Unknown, "it was begun again, and reads FIRST LINE's list first");
}

#[test]
fn every_alarm_has_a_word_of_its_own_and_says_what_to_do() {
    for alarm in Alarm::ALL {
        assert_eq!(Alarm::parse(alarm.as_str()), Some(alarm));
        let same = Alarm::ALL.into_iter().filter(|other| other.remedy() == alarm.remedy());
        assert_eq!(same.count(), 1, "{alarm}");
    }
}

#[test]
fn who_is_told_hears_of_the_beginning_and_the_end_and_of_nothing_between() {
    let mut memory = Memory::new(Timestamp(0));
    let mut news = Vec::new();
    for (minute, free) in [(1, 2_000), (2, 900), (3, 800), (4, 1_050), (5, 700), (6, 2_000), (7, 2_000)] {
        let mut facts = healthy(minute * MINUTE);
        facts.disk_free = Some(free);
        let now = facts.now.unwrap();
        for change in memory.learn(judge(&facts, &LIMITS, Timestamp(0), now), now, true) {
            news.push((minute, change.alarm.as_str(), change.news.raised));
        }
    }
    assert_eq!(news, [(2, "disk_low", true), (6, "disk_low", false)]);
    assert_eq!(memory.outbox.len(), 1, "the newest news of an alarm takes the place of the one before it");
    assert!(!memory.outbox[&Alarm::DiskLow].raised);
}

#[test]
fn the_memory_is_read_as_it_was_written() {
    let mut memory = Memory::new(Timestamp(7));
    let mut facts = healthy(HOUR);
    facts.disk_free = Some(1);
    memory.learn(judge(&facts, &LIMITS, Timestamp(0), Timestamp(HOUR)), Timestamp(HOUR), true);
    assert_eq!(Memory::from_json(&memory.to_json(), Timestamp(99)), memory);
    let unknown =
        json!({ "standing": { "of_a_later_version": { "since": 1, "text": "x", "details": {} }, "disk_low": 3 } });
    assert_eq!(Memory::from_json(&unknown, Timestamp(99)), Memory::new(Timestamp(99)));
}

#[test]
fn a_notice_says_what_since_when_and_what_to_do() {
    let standing =
        Standing { since: Timestamp(0), text: String::from("it is full"), details: json!({ "free_bytes": 1 }) };
    let news = |raised| News { raised, at: Timestamp(5_000), standing: standing.clone() };
    let sent = notice(Alarm::DiskLow, &news(true), &json!({ "livedesk": "https://l.example" }));
    assert_eq!(
        (&sent["alarm"], &sent["state"], &sent["since"]),
        (&json!("disk_low"), &json!("raised"), &json!("1970-01-01T00:00:00Z"))
    );
    assert_eq!((&sent["program"], &sent["version"]), (&json!("deskferry"), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(sent["remedy"].as_str().unwrap().contains("free space"));
    let over = notice(Alarm::DiskLow, &news(false), &Value::Null);
    assert_eq!((&over["state"], &over["id"], &over["remedy"]), (&json!("recovered"), &sent["id"], &Value::Null));
}

#[test]
fn what_nobody_may_begin_is_told_once_and_not_as_missed_too() {
    let mut facts = healthy(HOUR);
    facts.board.held = Some(String::from("held since undo 9 took back run 8"));
    facts.board.next.insert(Kind::Sync, Timestamp(facts.now.unwrap().0 - 16 * MINUTE));
    assert_eq!(raised(&facts), ["run_failed"]);
}

#[test]
fn failed_deliveries_are_tried_again_at_growing_distance() {
    let seconds: Vec<u64> = (0..9).map(|failures| distance(failures).as_secs()).collect();
    assert_eq!(seconds, [15, 30, 60, 120, 240, 480, 900, 900, 900]);
    assert_eq!(distance(u32::MAX).as_secs(), 900);
}

async fn state(path: &Path) -> Store {
    let access = Access::Exclusive { holder: String::from("test") };
    Store::open(path, access, Arc::new(TestClock::default())).await.unwrap()
}

async fn opened(store: &Store, now: i64, url: Option<&Url>) -> (Alerts, Option<Sender>) {
    let settings = WebhookSettings { pause: Duration::from_millis(1), ..WebhookSettings::default() };
    let webhook = url.map(|url| Webhook::new(url, settings, Arc::new(TestClock::default())).unwrap());
    Alerts::open(LIMITS, store.clone(), Metrics::new(), Timestamp(now), webhook).await.unwrap()
}

fn full_disk(now: i64) -> Facts {
    Facts { disk_free: Some(1), ..healthy(now) }
}

#[tokio::test]
async fn a_restart_neither_repeats_an_alarm_nor_forgets_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = state(&path).await;
    let (alerts, _) = opened(&store, 0, None).await;
    assert_eq!(alerts.tick(&full_disk(HOUR)).await.len(), 1);
    drop(alerts);
    store.close().await;

    let store = state(&path).await;
    let (alerts, _) = opened(&store, 2 * HOUR, None).await;
    assert_eq!(alerts.standing()[0]["since"], "1970-01-01T01:00:00Z");
    assert!(alerts.metrics.text().contains("deskferry_alarm{alarm=\"disk_low\"} 1"));
    assert_eq!(alerts.tick(&full_disk(2 * HOUR)).await, []);
    let changes = alerts.tick(&healthy(3 * HOUR)).await;
    assert_eq!(
        changes.iter().map(|change| (change.alarm, change.news.raised)).collect::<Vec<_>>(),
        [(Alarm::DiskLow, false)]
    );
    assert!(alerts.metrics.text().contains("deskferry_alarm{alarm=\"disk_low\"} 0"));
    store.close().await;
}

#[tokio::test]
async fn the_first_start_is_remembered_so_that_restarts_do_not_put_off_an_overdue_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    for (start, overdue) in [(0, false), (20 * HOUR, false), (40 * HOUR, true)] {
        let store = state(&path).await;
        let (alerts, _) = opened(&store, start, None).await;
        let mut facts = healthy(start + MINUTE);
        vitals(&mut facts).last_complete_sweep = None;
        alerts.tick(&facts).await;
        let standing = alerts.standing().to_string();
        assert_eq!(standing.contains("sweep_overdue"), overdue, "{standing}");
        drop(alerts);
        store.close().await;
    }
}

#[tokio::test]
async fn what_cannot_be_delivered_is_tried_again_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let server = TestServer::with(|_| answer(500, &[], "")).await;
    let store = state(&path).await;
    let (alerts, sender) = opened(&store, 0, Some(&server.base_url)).await;
    alerts.tick(&full_disk(HOUR)).await;
    assert_eq!(sender.unwrap().deliver().await, Delivery::Failed);
    drop(alerts);
    store.close().await;

    let server = TestServer::with(|_| answer(200, &[], "ok")).await;
    let store = state(&path).await;
    let (alerts, sender) = opened(&store, 2 * HOUR, Some(&server.base_url)).await;
    let sender = sender.unwrap();
    assert_eq!(sender.deliver().await, Delivery::Clear);
    assert_eq!(sender.deliver().await, Delivery::Clear);
    let sent: Vec<Value> = server.seen().iter().map(|seen| seen.json()["state"].clone()).collect();
    assert_eq!(sent, ["raised"], "once");
    alerts.tick(&healthy(3 * HOUR)).await;
    assert_eq!(sender.deliver().await, Delivery::Clear);
    assert_eq!(server.seen().last().unwrap().json()["state"], "recovered");
    drop((alerts, sender));
    store.close().await;

    let store = state(&path).await;
    let (_, sender) = opened(&store, 4 * HOUR, Some(&server.base_url)).await;
    assert_eq!(sender.unwrap().deliver().await, Delivery::Clear);
    assert_eq!(server.seen().len(), 2, "what was delivered is not delivered again");
    store.close().await;
}

#[tokio::test]
async fn a_receiver_that_was_away_for_a_moment_gets_the_alarm_with_the_next_try() {
    let folder = tempfile::tempdir().unwrap();
    let store = state(&folder.path().join("state.db")).await;
    let away = Arc::new(AtomicBool::new(true));
    let is_away = Arc::clone(&away);
    let server =
        TestServer::with(move |_| if is_away.load(Ordering::SeqCst) { Act::Reset } else { answer(200, &[], "ok") })
            .await;
    let (alerts, sender) = opened(&store, 0, Some(&server.base_url)).await;
    let sender = sender.unwrap();
    alerts.tick(&full_disk(HOUR)).await;
    for _ in 0..3 {
        assert_eq!(sender.deliver().await, Delivery::Failed);
    }
    away.store(false, Ordering::SeqCst);
    assert_eq!(sender.deliver().await, Delivery::Clear);
    assert_eq!(server.seen().last().unwrap().json()["alarm"], "disk_low");
}

#[tokio::test]
async fn whatever_a_receiver_says_beside_its_success_the_alarm_has_arrived() {
    let large = "x".repeat(200_000);
    for act in [
        json_answer(200, &json!({ "code": 200, "message": "accepted" })),
        answer(202, &[("content-type", "text/html")], "<p>thank you</p>"),
        answer(200, &[], &large),
        Act::SendAndClose(b"HTTP/1.1 200 X\r\ncontent-length: 10\r\n\r\nok".to_vec()),
    ] {
        let server = TestServer::with(move |_| act.clone()).await;
        let settings = WebhookSettings { pause: Duration::from_millis(1), ..WebhookSettings::default() };
        let webhook = Webhook::new(&server.base_url, settings, Arc::new(TestClock::default())).unwrap();
        webhook.post(&json!({ "x": 1 })).await.unwrap();
        assert_eq!(server.seen().len(), 1, "once");
    }
}

#[tokio::test]
async fn a_webhook_gets_the_whole_of_its_address_and_no_message_repeats_it() {
    let server = TestServer::with(|_| answer(204, &[], "")).await;
    let mut url = server.base_url.join("/services/T0/s3cret-path?sig=s3cret%2Fquery").unwrap();
    url.set_username("amy").unwrap();
    url.set_password(Some("s3cret-password")).unwrap();
    let settings = WebhookSettings { pause: Duration::from_millis(1), ..WebhookSettings::default() };
    let webhook = Webhook::new(&url, settings.clone(), Arc::new(TestClock::default())).unwrap();
    webhook.post(&json!({ "x": 1 })).await.unwrap();
    let seen = server.seen().pop().unwrap();
    assert_eq!((seen.line().as_str(), seen.param("sig")), ("POST /services/T0/s3cret-path", Some("s3cret/query")));
    assert_eq!(seen.header("authorization"), "Basic YW15OnMzY3JldC1wYXNzd29yZA==");
    assert_eq!((seen.header("content-type"), seen.json()), ("application/json", json!({ "x": 1 })));

    for act in [
        answer(404, &[], "s3cret"),
        answer(302, &[("location", "/s3cret")], ""),
        Act::Reset,
        json_answer(500, &json!({})),
    ] {
        let server = TestServer::with(move |_| act.clone()).await;
        let mut away = server.base_url.clone();
        away.set_path("/s3cret-path");
        let webhook = Webhook::new(&away, settings.clone(), Arc::new(TestClock::default())).unwrap();
        let mut error: &dyn std::error::Error = &webhook.post(&Value::Null).await.unwrap_err();
        loop {
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
            match error.source() {
                Some(cause) => error = cause,
                None => break,
            }
        }
    }
}
