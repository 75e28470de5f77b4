//! One request that is never answered while everything else is: it is given up, and nobody else waits for it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use deskferry::daemon::Outcome;
use deskferry::daemon::due::Kind;
use deskferry::daemon::published::Ended;
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::{Fault, FaultFilter};
use serde_json::json;

use crate::service::Desk;
use crate::world::World;

const MINUTE_MS: i64 = 60_000;
/// Whatever waits for longer than this would wait for ever.
const AT_MOST: Duration = Duration::from_secs(40);

/// A service that is in step, with these settings of a platform's or of all requests.
async fn in_step(instead: &[(&'static str, &str)]) -> Desk {
    let mut world = World::start(SandboxConfig { contacts: 12, edge_cases: false, ..SandboxConfig::default() }).await;
    world.choices.instead = instead.iter().map(|(from, to)| (*from, String::from(*to))).collect();
    let desk = Desk::over(world).await;
    play(&desk, Kind::Sweep).await;
    play(&desk, Kind::Sync).await;
    desk.world.assert_right().await;
    desk
}

async fn play(desk: &Desk, kind: Kind) -> Ended {
    tokio::time::timeout(AT_MOST, desk.play(kind)).await.expect("the run waits for ever")
}

/// A change that the next sync sees.
fn change(desk: &Desk, id: u64, name: &str) {
    desk.rename(id, name);
    assert!(desk.world.sandbox.livedesk().message(id));
}

/// The path of a contact's record.
fn record(desk: &Desk, id: u64) -> String {
    let stamp = format!("LD-{id}");
    let customers = desk.world.sandbox.firstline().contacts();
    let of = |record: &str| customers.iter().find(|it| it.membership_no.as_deref() == Some(record)).map(|it| it.id);
    format!("/contact/{}", of(&stamp).unwrap())
}

/// The alarms that stand on a quiet night, so many minutes later.
async fn alarms(desk: &Desk, minutes: i64) -> String {
    desk.clock.0.fetch_add(minutes * MINUTE_MS, Ordering::SeqCst);
    desk.service.alarms().await.to_string()
}

#[tokio::test]
async fn a_record_that_first_line_cannot_show_is_set_aside_and_the_next_contact_is_carried() {
    let desk = in_step(&[]).await;
    let ids = desk.world.sandbox.livedesk().listed_ids();
    let (broken, other) = (ids[3], ids[5]);
    change(&desk, broken, "Broken Person");
    let faults = desk.world.sandbox.firstline_faults();
    // Nothing but 502 and 504.
    faults.next(Fault::LostAck, u64::MAX, FaultFilter::on("GET", &record(&desk, broken)));

    let ended = play(&desk, Kind::Sync).await;
    assert_eq!((ended.exit, &ended.counts["set_aside"]), (1, &json!(1)), "{ended:?}");
    assert!(faults.injected(Fault::LostAck) <= 25, "{}", faults.injected(Fault::LostAck));

    let before = faults.injected(Fault::LostAck);
    change(&desk, other, "Other Person");
    let ended = play(&desk, Kind::Sync).await;
    assert_eq!((ended.exit, &ended.counts["updated"]), (1, &json!(1)), "{ended:?}");
    assert_eq!(faults.injected(Fault::LostAck), before, "its time has not come: it is told of, and not tried");

    // In its time it is tried again, alone.
    desk.clock.0.fetch_add(20 * MINUTE_MS, Ordering::SeqCst);
    let ended = play(&desk, Kind::Sync).await;
    assert_eq!((ended.exit, &ended.counts["set_aside"]), (1, &json!(1)), "{ended:?}");
    assert!(faults.injected(Fault::LostAck) > before, "it was tried");
    // Its last try was not answered, and nothing is asked any more; FIRST LINE is up all the same.
    let standing = alarms(&desk, 20).await;
    assert!(!standing.contains("platform_down"), "{standing}");

    faults.clear();
    desk.clock.0.fetch_add(60 * MINUTE_MS, Ordering::SeqCst);
    let ended = play(&desk, Kind::Sync).await;
    assert_eq!((ended.exit, &ended.counts["updated"]), (0, &json!(1)), "{ended:?}");
    desk.world.assert_right().await;
}

#[tokio::test]
async fn a_page_that_livedesk_never_answers_fails_the_run_by_its_name_and_the_next_one_goes_on() {
    let slow = ("concurrency = 4\ntimeout = \"5s\"", "concurrency = 4\ntimeout = \"1s\"");
    let desk = in_step(&[slow, ("[http]", "[http]\ntotal_timeout = \"3s\"")]).await;
    let id = desk.world.sandbox.livedesk().listed_ids()[0];
    change(&desk, id, "Patient Person");
    let faults = desk.world.sandbox.livedesk_faults();
    faults.change(|settings| settings.slow_ms = 600_000);
    faults.next(Fault::Slow, u64::MAX, FaultFilter::on("GET", "/contacts?last_activity_at"));

    desk.service.due().ask(Kind::Sync);
    let outcome = tokio::time::timeout(AT_MOST, desk.service.step()).await.expect("the run waits for ever");
    let Some(Outcome::Ran(Ended { failure: Some(why), .. })) = outcome else { panic!("{outcome:?}") };
    for named in ["page 1 of the contact list", "last_activity_at", "1.0 s", "livedesk.timeout", "livedesk.page_size"] {
        assert!(why.contains(named), "{named}: {why}");
    }
    let standing = alarms(&desk, 20).await;
    assert!(standing.contains("run_failed") && !standing.contains("platform_down"), "{standing}");

    faults.clear();
    let ended = play(&desk, Kind::Sync).await;
    assert_eq!((ended.exit, &ended.counts["updated"]), (0, &json!(1)), "{ended:?}");
    desk.world.assert_right().await;
}

#[tokio::test]
async fn a_witness_that_first_line_cannot_show_keeps_no_service_from_starting() {
    let desk = in_step(&[]).await;
    let ids = desk.world.sandbox.livedesk().listed_ids();
    let first = ids.iter().min().copied().unwrap();
    let faults = desk.world.sandbox.firstline_faults();
    faults.next(Fault::LostAck, u64::MAX, FaultFilter::on("GET", &record(&desk, first)));
    let Desk { world, service, .. } = desk;
    service.store().clone().close().await;
    drop(service);
    let desk = Desk::over(world).await;
    change(&desk, ids.iter().max().copied().unwrap(), "Patient Person");
    let ended = play(&desk, Kind::Sync).await;
    assert_eq!((ended.exit, &ended.counts["updated"]), (0, &json!(1)), "{ended:?}");
}
