//! The unhappy path: refusals, wrong credentials, platforms that are down or throttle, answers that are none.
//!
//! What an operator sees is asserted on the real program; what becomes of the contacts, on both platforms' dumps.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Output, Stdio};

use deskferry::domain::ids::LiveDeskId;
use deskferry::domain::outcome::SetAsideKind;
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::{Fault, FaultFilter, FaultSettings, NextFault, RetryAfter};
use deskferry::sandbox::firstline::FirstLineSwitches;
use deskferry::sandbox::livedesk::LiveDeskSwitches;
use deskferry::sync::engine::RunError;
use deskferry::sync::pipeline::Entrants;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::world::World;

/// The real program on this world's files.
pub(crate) fn program(world: &World, args: &[&str]) -> Command {
    let config = world.write_files();
    on_files(&config, args)
}

fn on_files(config: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskferry"));
    command.arg("--config").arg(config).args(args).stdin(Stdio::null()).kill_on_drop(true);
    command.env_remove("DESKFERRY_LOG").env("NO_PROXY", "127.0.0.1");
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// It could not run: exit code 2, one error, nothing that looks like a crash.
fn assert_could_not_run(output: &Output, says: &[&str]) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}{}", text(&output.stdout));
    let all = format!("{stderr}{}", text(&output.stdout));
    assert_eq!(all.lines().filter(|line| line.starts_with("error:")).count(), 1, "{all}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    for part in says {
        assert!(all.contains(part), "{part} is not in: {all}");
    }
}

fn writes(world: &World) -> u64 {
    world.sandbox.firstline().tally().writes()
}

async fn bare(firstline: FirstLineSwitches) -> World {
    World::start(SandboxConfig { contacts: 0, edge_cases: false, firstline, ..SandboxConfig::default() }).await
}

async fn dead_letters(world: &World) -> usize {
    let store = world.store().await;
    let letters = store.dead_letters().await.unwrap().len();
    store.close().await;
    letters
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_contact_is_set_aside_by_field_and_the_rest_goes_on() {
    let world = bare(FirstLineSwitches { name_max: 24, cz_text_max: Some(40), ..FirstLineSwitches::default() }).await;
    let livedesk = world.sandbox.livedesk();
    livedesk.add_contact(json!({ "name": "Maximiliana-Josephine-Karoline Lin", "email": "maxi@example.com" }));
    livedesk.add_contact(json!({ "name": "Amy Lin", "email": "amy@example.com",
        "additional_attributes": { "city": "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch" } }));
    for number in 0..20 {
        livedesk.add_contact(json!({ "name": "Ben Lin", "email": format!("ben{number}@example.com") }));
    }
    let output = program(&world, &["--json", "backfill"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((summary["created"].clone(), summary["set_aside"].clone()), (json!(20), json!(2)), "{summary}");
    let csv = std::fs::read_to_string(summary["set_aside_file"].as_str().unwrap()).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 3, "{csv}");
    assert!(csv.contains("refused,last_name,422") && csv.contains("cz_cols."), "{csv}");
    for personal in ["Maximiliana", "maxi@", "amy@", "Llan"] {
        assert!(!csv.contains(personal), "{csv}");
    }

    world.sandbox.firstline().reset_counts();
    let output = program(&world, &["--json", "backfill"]).output().await.unwrap();
    assert_eq!((output.status.code(), writes(&world)), (Some(1), 0), "{}", text(&output.stdout));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((summary["unchanged"].clone(), summary["set_aside"].clone()), (json!(20), json!(2)), "{summary}");

    world.sandbox.firstline().set_switches(FirstLineSwitches::default());
    let output = program(&world, &["--json", "retry"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(dead_letters(&world).await, 0);
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_cannot_be_mapped_rejects_its_contact_where_the_field_says_so() {
    let mut world = bare(FirstLineSwitches::default()).await;
    assert!(world.mapping.contains(r#"on_error = "skip""#));
    world.mapping = world.mapping.replace(r#"on_error = "skip""#, r#"on_error = "reject""#);
    // The fixtures of the file speak of the other policy.
    world.mapping = world.mapping.split("# Invented contacts").next().unwrap().to_owned();
    let livedesk = world.sandbox.livedesk();
    let attributes = json!({ "birthday": "03/04/1990" });
    let id = livedesk.add_contact(json!({ "name": "Amy Lin", "identifier": "a", "custom_attributes": attributes }));
    livedesk.add_contact(json!({ "name": "Ben Lin", "identifier": "b" }));
    for _ in 0..2 {
        let end = world.backfill().await;
        assert_eq!((end.summary.set_aside, end.summary.exit_code()), (1, 1), "{:?}", end.summary);
        let row = &end.summary.set_aside_rows[0];
        assert_eq!((row.reason.kind, row.reason.field.as_deref()), (SetAsideKind::Mapping, Some("birth_at")));
        assert!(!row.reason.detail.contains("03/04"), "{:?}", row.reason);
        assert_eq!(world.sandbox.firstline().len(), 1);
    }
    livedesk.edit(id, |contact| drop(contact.insert("custom_attributes".into(), json!({ "birthday": "1990-04-03" }))));
    let end = world.backfill().await;
    assert_eq!((end.summary.created, end.summary.exit_code()), (1, 0), "{:?}", end.summary);
    assert_eq!(dead_letters(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_one_clear_error_and_nothing_is_written() {
    for status in [401, 403, 419] {
        let world = World::with(60).await;
        let refused = FirstLineSwitches { tokens: Vec::new(), auth_status: status, ..FirstLineSwitches::default() };
        world.sandbox.firstline().set_switches(refused);
        let output = program(&world, &["backfill"]).output().await.unwrap();
        assert_could_not_run(&output, &["FIRST LINE", &status.to_string()]);
        assert_eq!((writes(&world), world.sandbox.firstline().len()), (0, 0));
    }
    let world = World::with(60).await;
    let other = LiveDeskSwitches { api_secret: "another".into(), ..world.sandbox.livedesk().switches() };
    world.sandbox.livedesk().set_switches(other);
    let output = program(&world, &["backfill"]).output().await.unwrap();
    assert_could_not_run(&output, &["LiveDesk", "401"]);
    assert!(!text(&output.stderr).contains("sandbox-secret"));
    assert_eq!((writes(&world), dead_letters(&world).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_cannot_be_reached_ends_the_run_where_waiting_is_not_allowed() {
    let world = World::with(20).await;
    let config = world.write_files();
    let whole = world.config_text();
    for url in [world.sandbox.livedesk_url(), world.sandbox.firstline_url()] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = format!("http://{}/api/v1", listener.local_addr().unwrap());
        drop(listener);
        std::fs::write(&config, whole.replace(&url, &closed)).unwrap();
        let _ = std::fs::remove_file(world.state_path());
        let output = on_files(&config, &["--no-wait", "backfill"]).output().await.unwrap();
        assert_could_not_run(&output, &["connect"]);
        assert_eq!(writes(&world), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_is_down_is_waited_for_and_the_run_goes_on_when_it_comes_back() {
    for livedesk in [true, false] {
        let world = World::with(60).await;
        let faults = if livedesk { world.sandbox.livedesk_faults() } else { world.sandbox.firstline_faults() };
        faults.start_outage();
        let mut command = program(&world, &["backfill"]);
        let command = command.env("DESKFERRY_LOG", "debug").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = None;
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("waiting") {
                said = Some(line);
                break;
            }
        }
        let said = said.expect("it says that it waits");
        assert!(said.contains(if livedesk { "LiveDesk" } else { "FIRST LINE" }), "{said}");
        faults.end_outage();
        while lines.next_line().await.unwrap().is_some() {}
        let mut stdout = String::new();
        child.stdout.take().unwrap().read_to_string(&mut stdout).await.unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(0), "{stdout}");
        world.assert_right().await;
    }
}

fn outages(filter: &FaultFilter) -> FaultSettings {
    let outage = |skip| NextFault { fault: Fault::Outage, times: 25, skip, only: filter.clone() };
    FaultSettings { next: vec![outage(60), outage(60)], ..FaultSettings::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_in_the_middle_of_a_run_set_nothing_aside_and_double_nothing() {
    let world = World::with(250).await;
    world.sandbox.livedesk_faults().set(FaultSettings {
        next: vec![NextFault { fault: Fault::Outage, times: 20, skip: 8, only: FaultFilter::default() }],
        ..FaultSettings::default()
    });
    world.sandbox.firstline_faults().set(outages(&FaultFilter::default()));
    let end = world.backfill().await;
    assert_eq!((end.summary.set_aside, end.summary.parked), (0, 0), "{:?}", end.summary);
    assert_eq!(world.sandbox.livedesk_faults().injected(Fault::Outage), 20);
    assert_eq!(world.sandbox.firstline_faults().injected(Fault::Outage), 50);
    world.assert_right().await;
    assert_eq!(dead_letters(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storms_of_429_slow_the_run_down_and_set_nothing_aside() {
    for retry_after in [RetryAfter::None, RetryAfter::Seconds, RetryAfter::Date] {
        let world = World::with(150).await;
        let limits = FaultSettings {
            window_limit: 30,
            window_ms: 40,
            retry_after,
            retry_after_seconds: 1,
            ..FaultSettings::default()
        };
        world.sandbox.livedesk_faults().set(FaultSettings { throttle_rate: 0.2, ..limits.clone() });
        world.sandbox.firstline_faults().set(FaultSettings { throttle_rate: 0.05, ..limits });
        let end = world.backfill().await;
        assert_eq!((end.summary.set_aside, end.summary.parked, end.summary.conflicts), (0, 0, 0), "{:?}", end.summary);
        let faults = world.sandbox.firstline_faults();
        let throttled = faults.injected(Fault::OverLimit) + faults.injected(Fault::Throttled);
        assert!(throttled > 0);
        // A pause is about as long as the window, so between two windows nobody but those under way is refused.
        assert!(throttled * 2 < faults.requests(), "{throttled} of {} were refused", faults.requests());
        world.assert_right().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_expire_in_the_middle_stop_the_run_and_make_no_dead_letters() {
    for livedesk in [true, false] {
        let world = World::with(200).await;
        let faults = if livedesk { world.sandbox.livedesk_faults() } else { world.sandbox.firstline_faults() };
        faults.change(|settings| settings.expire_from = if livedesk { 10 } else { 120 });
        let (_, end) = world.run(Entrants::All).await.unwrap();
        assert!(matches!(end.failure, Some(RunError::Port(_) | RunError::Scan(_))), "{:?}", end.failure);
        assert_eq!((end.summary.set_aside, dead_letters(&world).await), (0, 0), "{:?}", end.summary);
        faults.clear();
        let end = world.backfill().await;
        assert_eq!(end.summary.set_aside, 0);
        world.assert_right().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_loses_its_rights_in_the_middle_stops_the_run_with_exit_code_2() {
    let world = World::with(200).await;
    let firstline = world.sandbox.firstline();
    let mut child = program(&world, &["backfill"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while firstline.len() < 60 && child.try_wait().unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    firstline.set_switches(FirstLineSwitches { tokens: Vec::new(), auth_status: 403, ..FirstLineSwitches::default() });
    let output = child.wait_with_output().await.unwrap();
    assert_could_not_run(&output, &["FIRST LINE", "403"]);
    assert_eq!(dead_letters(&world).await, 0);
    assert!(firstline.len() < 150, "{}", firstline.len());
    firstline.set_switches(FirstLineSwitches::default());
    let end = world.backfill().await;
    assert_eq!(end.summary.set_aside, 0, "{:?}", end.summary);
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_and_mistyped_custom_fields_are_all_named_before_the_first_write() {
    let mut world = World::with(20).await;
    world.mapping.push_str(
        "\n[[cz_cols]]\nid = 991\nvalue = \"name\"\n[[cz_cols]]\nid = 992\nvalue = \"name\"\n\
         [[cz_cols]]\nfield = \"Customer form / Nonsense\"\nvalue = \"name\"\n",
    );
    let output = program(&world, &["backfill"]).output().await.unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for part in ["991", "992", "Nonsense", "mapping.toml"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert_eq!(writes(&world), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_total_than_the_expected_one_writes_nothing() {
    let world = World::with(20).await;
    world.sandbox.firstline().seed_customers(30, 1, &[], &[]);
    let output = program(&world, &["backfill", "--expect-total", "31"]).output().await.unwrap();
    assert_could_not_run(&output, &["30", "--expect-total"]);
    assert_eq!(writes(&world), 0);
    let output = program(&world, &["backfill", "--expect-total", "30"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    // The same command again goes on: what an earlier run made is not counted.
    let output = program(&world, &["backfill", "--expect-total", "30"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = program(&world, &["--json", "backfill", "--expect-total", "29"]).output().await.unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (document["exit_code"].as_i64(), document["interrupted"].as_bool()),
        (Some(2), Some(false)),
        "{document}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_that_was_not_wanted_leaves_no_run_behind_that_failed() {
    let world = World::with(20).await;
    let output = program(&world, &["backfill", "--expect-total", "31"]).output().await.unwrap();
    assert_could_not_run(&output, &["--expect-total"]);
    let store = world.store().await;
    assert_eq!(store.runs(9).await.unwrap(), []);
    store.close().await;
}

#[tokio::test]
async fn the_outlook_counts_what_a_changed_mapping_has_to_look_at_again() {
    let mut world = World::with(30).await;
    world.backfill().await;
    let (unchanged, _) = world.run(Entrants::All).await.unwrap();
    world.mapping.insert_str(0, "owner = \"fill_blank\"\n");
    let (changed, _) = world.run(Entrants::All).await.unwrap();
    assert!(changed.target_requests >= unchanged.target_requests + changed.linked, "{unchanged:?} {changed:?}");
    let (settled, _) = world.run(Entrants::All).await.unwrap();
    assert_eq!(settled.target_requests, unchanged.target_requests);
}

/// A server that gives one answer to whatever it is asked, until the test ends.
fn answering(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 16_384]);
            let _ = stream.write_all(&answer);
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_no_api_end_the_run_before_it_writes() {
    let page = "<html><body>Welcome</body></html>";
    let html = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://other.example/login?user=amy\r\ncontent-length: 0\r\n\
                     connection: close\r\n\r\n";
    let mut huge =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"data\":[".to_vec();
    huge.resize(200_000, b' ');
    let answers: [(&str, Vec<u8>); 3] =
        [("HTML", html.into_bytes()), ("other.example", elsewhere.into()), ("more than 65536 bytes", huge)];
    let world = World::with(20).await;
    let config = world.write_files();
    let whole = world.config_text().replace("[http]", "[http]\nmax_response = \"64KiB\"");
    for (says, answer) in answers {
        for url in [world.sandbox.livedesk_url(), world.sandbox.firstline_url()] {
            let stranger = answering(answer.clone());
            std::fs::write(&config, whole.replace(&url, &stranger)).unwrap();
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{suffix}", world.state_path().display()));
            }
            let output = on_files(&config, &["--no-wait", "backfill"]).output().await.unwrap();
            assert_could_not_run(&output, &[says]);
            assert!(!text(&output.stderr).contains("user=amy"));
            assert_eq!(writes(&world), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configured_rate_is_never_exceeded() {
    let mut world = World::with(120).await;
    let rates = "requests_per_second = 0.0\nconcurrency = ";
    world.choices.instead = vec![
        ("requests_per_second = 0.0\nconcurrency = 4", "requests_per_second = 60.0\nconcurrency = 4".to_owned()),
        ("requests_per_second = 0.0\nconcurrency = 8", "requests_per_second = 120.0\nconcurrency = 8".to_owned()),
    ];
    assert!(!world.config_text().contains(rates));
    // A window that lets through a tenth more than the rate, and counts what is above.
    let window = |limit| FaultSettings { window_limit: limit, window_ms: 500, ..FaultSettings::default() };
    world.sandbox.livedesk_faults().set(window(33));
    world.sandbox.firstline_faults().set(window(66));
    let end = world.backfill().await;
    assert_eq!(end.summary.set_aside, 0);
    for faults in [world.sandbox.livedesk_faults(), world.sandbox.firstline_faults()] {
        assert_eq!(faults.injected(Fault::OverLimit), 0, "of {}", faults.requests());
    }
    let sent = world.sandbox.firstline_faults().requests();
    assert!(sent > 150, "enough to fill windows: {sent}");
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_read_stops_only_its_own_contact() {
    let world = World::with(60).await;
    world.backfill().await;
    let ids = world.sandbox.livedesk().listed_ids();
    let change = |city: &str| {
        for id in &ids {
            world.sandbox.livedesk().edit(*id, |contact| {
                contact.insert(String::from("additional_attributes"), json!({ "city": city }));
            });
        }
    };
    change("Tainan");
    let broken = world.sandbox.firstline().contacts()[20].id;
    let only = FaultFilter::on("GET", &format!("/contact/{broken}"));
    let faults = world.sandbox.firstline_faults();
    faults.next(Fault::Html, 1_000, only);
    let end = world.backfill().await;
    assert_eq!((end.summary.set_aside, end.summary.exit_code()), (1, 1), "{:?}", end.summary);
    assert!(end.summary.updated > 30, "{:?}", end.summary);
    faults.clear();
    let (_, end) =
        world.run(Entrants::Only(BTreeSet::from([end.summary.set_aside_rows[0].id.unwrap()]))).await.unwrap();
    assert_eq!((end.summary.updated, end.summary.exit_code()), (1, 0), "{:?}", end.summary);
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_that_vanished_from_the_source_or_the_target_is_set_aside_by_name() {
    let world = bare(FirstLineSwitches::default()).await;
    let livedesk = world.sandbox.livedesk();
    let ids: Vec<u64> = (0..5)
        .map(|number| livedesk.add_contact(json!({ "name": "Amy Lin", "identifier": format!("a{number}") })))
        .collect();
    world.backfill().await;
    let stamp = format!("LD-{}", ids[3]);
    let records = world.sandbox.firstline().contacts();
    let gone = records.iter().find(|record| record.membership_no.as_ref() == Some(&stamp)).unwrap().id;
    world.sandbox.firstline().delete(gone);
    livedesk.edit(ids[3], |contact| drop(contact.insert("identifier".into(), json!("changed"))));
    let end = world.backfill().await;
    assert_eq!((end.summary.set_aside, end.summary.created), (1, 0), "{:?}", end.summary);
    assert_eq!(end.summary.set_aside_rows[0].reason.kind, SetAsideKind::Gone);
    livedesk.delete(ids[4]);
    let id = LiveDeskId(i64::try_from(ids[4]).unwrap());
    let (_, end) = world.run(Entrants::Only(BTreeSet::from([id]))).await.unwrap();
    assert_eq!((end.summary.set_aside, end.summary.exit_code()), (1, 1), "{:?}", end.summary);
}
