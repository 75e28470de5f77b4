//! SIGINT, SIGTERM and SIGHUP on the real program: the first finishes what is in flight, the second ends at once, and a
//! terminal that is closed is never a second one.

use std::time::{Duration, Instant};

use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::FaultSettings;

use crate::world::World;

/// Whoever starts the tests may have had SIGHUP ignored, as `nohup` does.
const HEARING: &[&str] = &["env", "--default-signal=HUP"];
/// Both platforms answer after this long, so that something is in flight at every moment.
const LATENCY_MS: u64 = 20;

async fn world(latency_ms: u64) -> World {
    let firstline_faults = FaultSettings { latency_ms, ..FaultSettings::default() };
    World::start(SandboxConfig { contacts: 200, edge_cases: false, firstline_faults, ..SandboxConfig::default() }).await
}

async fn finishes_what_is_in_flight(signal: &str) {
    let world = world(LATENCY_MS).await;
    let mut process = world.spawn_under(HEARING, &["--json", "backfill"]);
    assert!(process.until(|| world.sandbox.firstline().tally().contact_create >= 50).await);
    process.signal(signal).await;
    let end = process.end().await;
    assert_eq!(end.code(), Some(130), "{end:?}");
    assert!(end.err.contains("second signal"), "{end:?}");
    let counts = end.json();
    assert_eq!(counts["interrupted"], true);
    let store = world.store().await;
    let made = counts["created"].as_u64().unwrap() + counts["adopted"].as_u64().unwrap();
    assert_eq!(made, store.link_count().await.unwrap(), "whose customer is there is counted: {counts}");
    let report = store.check().await.unwrap();
    assert_eq!((report.problems(), report.open_intents), (Vec::new(), 0), "nothing is left in doubt");
    assert_eq!(store.link_count().await.unwrap(), world.sandbox.firstline().len() as u64);
    assert!(world.sandbox.firstline().len() < 200, "it was interrupted");
    store.close().await;

    world.sandbox.firstline_faults().clear();
    let end = world.command(&["--json", "backfill"]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    world.assert_right().await;
    assert_eq!(world.sandbox.firstline().tally().contact_create, world.sandbox.firstline().len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_sigint_finishes_what_is_in_flight_and_the_next_run_completes() {
    finishes_what_is_in_flight("INT").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_sigterm_finishes_what_is_in_flight_and_the_next_run_completes() {
    finishes_what_is_in_flight("TERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_is_closed_ends_a_command_as_the_first_signal_does() {
    finishes_what_is_in_flight("HUP").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_is_closed_is_no_second_signal_and_takes_the_copy_of_a_plan_and_the_token_along() {
    let mut world = world(LATENCY_MS).await;
    let login = String::from("name = \"ferry\"\npassword = \"sandbox-password\"");
    world.choices.instead.push(("token = \"sandbox-token\"", login));
    let mut process = world.spawn_under(HEARING, &["plan"]);
    let beside = || names(&world).into_iter().filter(|name| name.contains(".plan-") || name.contains(".login")).count();
    // The copy, the token and the turn to log in.
    assert!(process.until(|| beside() == 3).await);
    // The kernel sends one, the shell another.
    for _ in 0..3 {
        process.signal("HUP").await;
    }
    let end = process.end().await;
    assert_eq!((end.code(), beside()), (Some(130), 0), "{end:?}");
    assert!(end.says("interrupted; "), "it ended at once, not in order: {end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_that_is_interrupted_does_not_say_that_the_run_was_taken_back() {
    let world = world(0).await;
    assert_eq!(world.command(&["backfill", "--yes"]).await.code(), Some(0));
    let faults = world.sandbox.firstline_faults();
    faults.change(|settings| settings.latency_ms = LATENCY_MS);
    let before = faults.requests();
    let mut undo = world.spawn(&["undo", "1", "--yes"]);
    assert!(undo.until(|| faults.requests() >= before + 60).await);
    undo.signal("INT").await;
    let end = undo.end().await;
    assert_eq!(end.code(), Some(130), "{end:?}");
    assert!(end.says("took a part of run 1 back") && !end.says("took run 1 back"), "{end:?}");
    faults.clear();
    let end = world.command(&["undo", "1", "--yes"]).await;
    assert!(end.code() == Some(0) && end.says("took run 1 back"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_a_command_with_nohup_may_close_the_terminal() {
    let world = world(LATENCY_MS).await;
    let mut process = world.spawn_under(&["nohup"], &["--json", "backfill"]);
    assert!(process.until(|| world.sandbox.firstline().tally().contact_create >= 20).await);
    process.signal("HUP").await;
    let end = process.end().await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    world.assert_right().await;
}

/// What lies in the folder of the state.
fn names(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.folder()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_signal_ends_at_once_and_the_next_run_completes() {
    for (first, second) in [("INT", "INT"), ("TERM", "INT"), ("INT", "TERM")] {
        let world = world(0).await;
        let faults = world.sandbox.firstline_faults();
        let mut process = world.spawn(&["--json", "backfill"]);
        assert!(process.until(|| world.sandbox.firstline().tally().contact_create >= 20).await);
        faults.change(|settings| {
            settings.slow_rate = 1.0;
            settings.slow_ms = 12_000;
        });
        let requests = faults.requests();
        assert!(process.until(|| faults.requests() >= requests + 4).await);
        process.signal(first).await;
        assert!(process.until(|| process_said(&world)).await);
        let asked = Instant::now();
        process.signal(second).await;
        let end = process.end().await;
        assert_eq!(end.code(), Some(130), "{end:?}");
        assert!(asked.elapsed() < Duration::from_secs(8), "it waited for what was in flight");
        faults.clear();
        let end = world.command(&["--json", "backfill"]).await;
        assert_eq!(end.code(), Some(0), "{end:?}");
        world.assert_right().await;
    }
}

/// Whether the process has taken the first signal.
fn process_said(world: &World) -> bool {
    std::fs::read_to_string(world.folder().join("stderr")).unwrap().contains("second signal")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_while_a_platform_is_down_ends_the_wait_as_an_interruption() {
    // Before the run begins, before its first write, and in its middle.
    for (livedesk, requests, creates) in [(false, 1, 0), (true, 1, 0), (false, 0, 30), (true, 0, 30)] {
        let world = world(1).await;
        let (faults, counted) = if livedesk {
            (world.sandbox.livedesk_faults(), "LiveDesk")
        } else {
            (world.sandbox.firstline_faults(), "FIRST LINE")
        };
        if creates == 0 {
            faults.start_outage();
        }
        let mut process = world.spawn(&["--json", "backfill"]);
        if creates > 0 {
            assert!(process.until(|| world.sandbox.firstline().tally().contact_create >= creates).await);
            faults.start_outage();
        }
        let before = if creates > 0 { faults.requests() } else { 0 };
        if creates == 0 || !livedesk {
            assert!(process.until(|| faults.requests() >= before + requests + 2).await, "{counted}");
        }
        process.signal("INT").await;
        let end = process.end().await;
        assert_eq!(end.code(), Some(130), "{counted} down after {creates} creates: {end:?}");
        faults.end_outage();
        let end = world.command(&["--json", "backfill"]).await;
        assert_eq!(end.code(), Some(0), "{end:?}");
        world.assert_right().await;
    }
}
