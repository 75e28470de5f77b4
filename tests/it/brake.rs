//! Creates that are not answered while reads are, and doubts where LiveDesk reads nobody by id: neither parks everybody, walks
//! without end or goes unnoticed.

use deskferry::daemon::due::Kind;
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::{Fault, FaultFilter, FaultSettings};
use deskferry::sandbox::firstline::FirstLineSwitches;
use deskferry::sandbox::livedesk::LiveDeskSwitches;
use deskferry::store::IntentState;
use deskferry::sync::pipeline::Entrants;
use serde_json::json;

use crate::service::Desk;
use crate::world::World;

/// A world in which creates go to FIRST LINE as with the settings that an operator has.
async fn world_of(contacts: u32) -> World {
    let config = SandboxConfig { contacts, edge_cases: false, ..SandboxConfig::default() };
    let mut world = World::start(config).await;
    world.choices.instead = vec![("concurrency = 8", String::from("concurrency = 2"))];
    world
}

async fn open_intents(world: &World) -> usize {
    let store = world.store().await;
    let open = store.open_intents().await.unwrap().len();
    store.close().await;
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_answers_no_create_ends_the_run_and_the_next_one_sends_one_ahead() {
    let rows = [("/contact", "POST /contact)", 500), ("/email-contact", "POST /email-contact)", 60)];
    for (path, says, contacts) in rows {
        let world = world_of(contacts).await;
        let faults = world.sandbox.firstline_faults();
        faults.next(Fault::Error, u64::MAX, FaultFilter::on("POST", path));
        let (_, end) = world.run(Entrants::All).await.unwrap();
        let failure = end.failure.expect("the run has failed").to_string();
        for part in [says, "though it answers reads", "are in doubt", "Nothing is lost", "one create ahead"] {
            assert!(failure.contains(part), "{path}: {part}: {failure}");
        }
        // Five, then five one at a time; and what was under way beside the first five.
        let open = open_intents(&world).await;
        assert!((10..=15).contains(&open), "{path}: {open} creates are open");

        let before = faults.injected(Fault::Error);
        let (_, end) = world.run(Entrants::All).await.unwrap();
        assert!(end.failure.expect("the run has failed").to_string().contains(says), "{path}");
        assert_eq!(faults.injected(Fault::Error) - before, 1, "{path}: one went ahead");
        assert!(open_intents(&world).await <= open + 1, "{path}");

        faults.clear();
        let end = world.backfill().await;
        assert_eq!((end.summary.parked, end.summary.exit_code()), (0, 0), "{path}: {:?}", end.summary);
        world.assert_right().await;
        assert_eq!(open_intents(&world).await, 0, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_that_are_refused_or_found_though_unanswered_end_no_run() {
    let world = world_of(60).await;
    let faults = world.sandbox.firstline_faults();
    faults.next(Fault::LostAck, u64::MAX, FaultFilter::on("POST", ""));
    let end = world.backfill().await;
    assert_eq!(end.summary.exit_code(), 0, "{:?}", end.summary);
    world.assert_right().await;
    faults.clear();
    let firstline = world.sandbox.firstline();
    firstline.set_switches(FirstLineSwitches { name_max: 10, ..firstline.switches() });
    for number in 0..30 {
        let person = json!({ "name": "Maximiliana-Josephine Lin", "email": format!("maxi{number}@example.com") });
        world.sandbox.livedesk().add_contact(person);
    }
    let end = world.backfill().await;
    assert_eq!(end.summary.set_aside, 30, "{:?}", end.summary);
}

#[tokio::test]
async fn contacts_whose_own_create_always_fails_do_not_stand_for_the_platform() {
    let mut world = world_of(120).await;
    world.choices.doubt_horizon = "10m";
    let desk = Desk::over(world).await;
    let faults = desk.world.sandbox.firstline_faults();
    let only = FaultFilter::on("POST", "/contact");
    faults.set(FaultSettings { error_rate: 0.2, only: only.clone(), ..FaultSettings::default() });
    let ended = desk.play(Kind::Sweep).await;
    assert!(ended.exit == 1 && ended.counts["parked"].as_u64() >= Some(12), "{ended:?}");
    // They alone are left, and each of them fails again.
    faults.clear();
    faults.next(Fault::Error, u64::MAX, only);
    for _ in 0..2 {
        desk.pass(1);
        let before = faults.injected(Fault::Error);
        let ended = desk.play(Kind::Sweep).await;
        assert_eq!((ended.exit, ended.failure), (1, None));
        let failed = faults.injected(Fault::Error) - before;
        assert!(failed >= 12, "{failed} were tried again");
    }
    faults.clear();
    for exit in [1, 0] {
        // What was made again is looked at for a twin an hour later.
        desk.pass(1);
        assert_eq!(desk.play(Kind::Sweep).await.exit, exit);
    }
    desk.world.assert_right().await;
}

#[tokio::test]
async fn a_service_before_a_platform_that_answers_no_create_says_run_failed_until_it_does() {
    let desk = Desk::over(world_of(60).await).await;
    let faults = desk.world.sandbox.firstline_faults();
    faults.next(Fault::Error, u64::MAX, FaultFilter::on("POST", "/contact"));
    let ended = desk.play(Kind::Sweep).await;
    let why = ended.failure.clone().unwrap_or_default();
    assert!(ended.exit == 2 && why.contains("answers no create (POST /contact)"), "{ended:?}");
    assert!(desk.service.alarms().await.to_string().contains("run_failed"));
    faults.clear();
    let ended = desk.play(Kind::Sweep).await;
    assert!(ended.exit <= 1 && ended.failure.is_none(), "{ended:?}");
    assert!(!desk.service.alarms().await.to_string().contains("run_failed"));
    for _ in 0..3 {
        desk.pass(1);
        desk.play(Kind::Sync).await;
    }
    desk.world.assert_right().await;
}

#[tokio::test]
async fn creates_in_front_that_are_never_answered_do_not_keep_the_others_back_for_ever() {
    let desk = Desk::over(world_of(60).await).await;
    let faults = desk.world.sandbox.firstline_faults();
    let only = FaultFilter::on("POST", "/email-contact");
    faults.next(Fault::Error, u64::MAX, only.clone());
    assert_eq!(desk.play(Kind::Sweep).await.exit, 2);
    faults.clear();
    faults.next(Fault::Error, 12, only);
    let ended = desk.play(Kind::Sweep).await;
    assert!(ended.exit == 2 && faults.injected(Fault::Error) > 0, "one goes ahead in vain: {ended:?}");
    desk.pass(2);
    let ended = desk.play(Kind::Sweep).await;
    assert!(ended.failure.is_none() && ended.exit <= 1, "they are passed by after an hour: {ended:?}");
    for _ in 0..3 {
        desk.pass(1);
        desk.play(Kind::Sweep).await;
    }
    desk.world.assert_right().await;
}

/// A service in step with a LiveDesk that reads nobody by id, and a new contact whose create is in doubt.
async fn desk_with_a_doubt(fault: Fault) -> (Desk, u64) {
    let mut world = World::start(SandboxConfig { contacts: 150, edge_cases: false, ..SandboxConfig::default() }).await;
    world.choices.doubt_horizon = "10m";
    let livedesk = world.sandbox.livedesk();
    livedesk.set_switches(LiveDeskSwitches { by_id: false, ..livedesk.switches() });
    let desk = Desk::over(world).await;
    desk.play(Kind::Sweep).await;
    desk.play(Kind::Sync).await;
    let id = desk.world.sandbox.livedesk().add_contact(json!({ "name": "Nova Newcomer", "email": "nova@example.com" }));
    let firstline = desk.world.sandbox.firstline();
    firstline.set_switches(FirstLineSwitches { search_lag_writes: 1, ..firstline.switches() });
    desk.world.sandbox.firstline_faults().next(fault, 1, FaultFilter::on("POST", "/contact"));
    let ended = desk.play(Kind::Sync).await;
    assert_eq!(ended.exit, 1, "{ended:?}");
    firstline.set_switches(FirstLineSwitches::default());
    // The lane has nothing more to say of it: it lies amid the others.
    let amid = desk.world.sandbox.livedesk().contact(desk.world.sandbox.livedesk().listed_ids()[110]).unwrap();
    assert!(desk.world.sandbox.livedesk().edit(id, |contact| {
        for time in ["created_at", "last_activity_at"] {
            contact.insert(time.to_owned(), amid.get(time).cloned().unwrap_or_default());
        }
    }));
    (desk, id)
}

/// Requests to LiveDesk while `kind` is played.
async fn asked(desk: &Desk, kind: Kind) -> u64 {
    let before = desk.requests().0;
    desk.play(kind).await;
    desk.requests().0 - before
}

#[tokio::test]
async fn a_sync_walks_over_nobody_for_a_doubt_that_it_settles_where_livedesk_reads_nobody_by_id() {
    for fault in [Fault::LostAck, Fault::Error] {
        let (desk, _) = desk_with_a_doubt(fault).await;
        desk.pass(1);
        for _ in 0..3 {
            let asked = asked(&desk, Kind::Sync).await;
            assert!(asked <= 6, "{fault:?}: a sync asked LiveDesk {asked} times");
        }
        desk.play(Kind::Sweep).await;
        // What was made again is looked at for a twin.
        desk.pass(1);
        let ended = desk.play(Kind::Sweep).await;
        assert_eq!(ended.exit, 0, "{fault:?}: {ended:?}");
        desk.world.assert_right().await;
    }
}

#[tokio::test]
async fn a_sync_comes_by_all_whose_creates_it_is_to_repeat_though_nothing_is_new_in_front() {
    let mut world = World::start(SandboxConfig { contacts: 60, edge_cases: false, ..SandboxConfig::default() }).await;
    world.choices.doubt_horizon = "10m";
    world.choices.instead.push(("[identity]", String::from("[identity]\ndoubts_in_a_row = 1000")));
    let livedesk = world.sandbox.livedesk();
    livedesk.set_switches(LiveDeskSwitches { by_id: false, ..livedesk.switches() });
    let desk = Desk::over(world).await;
    desk.play(Kind::Sweep).await;
    desk.play(Kind::Sync).await;
    // An import of more than a page, all at one time, while FIRST LINE creates nobody.
    let newest = desk.world.sandbox.livedesk().contacts().filter_map(|row| row["created_at"].as_i64()).max().unwrap();
    for at in 0..40 {
        let person =
            json!({ "name": format!("Nova {at}"), "email": format!("nova{at}@example.com"), "created_at": newest + 1 });
        desk.world.sandbox.livedesk().add_contact(person);
    }
    let faults = desk.world.sandbox.firstline_faults();
    faults.next(Fault::Error, u64::MAX, FaultFilter::on("POST", "/contact"));
    assert_eq!(desk.play(Kind::Sync).await.exit, 1);
    faults.clear();
    desk.pass(1);
    let owed = desk.service.store().open_intents().await.unwrap().len();
    assert!(owed > 20, "more than a page: {owed}");
    let ended = desk.play(Kind::Sync).await;
    assert_eq!(ended.counts["recreated"], owed, "{ended:?}");
    // They are looked at for twins; whose create was refused as well is tried again by a sweep.
    desk.pass(1);
    assert_eq!(desk.play(Kind::Sweep).await.exit, 0);
    desk.world.assert_right().await;
}

#[tokio::test]
async fn a_create_to_be_repeated_whose_contact_left_ends_with_the_sweep_that_missed_it() {
    let (desk, id) = desk_with_a_doubt(Fault::Error).await;
    desk.pass(1);
    assert!(desk.world.sandbox.livedesk().delete(id));
    let livedesk = desk.world.sandbox.livedesk();
    let honest = livedesk.switches();
    // Counts more than it lists: no sweep is proven.
    livedesk.set_switches(LiveDeskSwitches { count_offset: 2, ..honest.clone() });
    let mut costs = Vec::new();
    for _ in 0..2 {
        costs.push(asked(&desk, Kind::Sweep).await);
        let open = desk.service.store().open_intents().await.unwrap();
        assert_eq!(open.iter().map(|intent| intent.state).collect::<Vec<_>>(), [IntentState::Absent]);
    }
    livedesk.set_switches(honest);
    // One sweep a week is proven.
    desk.pass(7 * 24);
    let ended = desk.play(Kind::Sweep).await;
    assert_eq!((ended.exit, &ended.counts["set_aside"]), (1, &json!(1)), "{ended:?}");
    assert!(ended.counts["reasons"].to_string().contains("LiveDesk does not show this contact any more"), "{ended:?}");
    assert!(desk.service.store().open_intents().await.unwrap().is_empty());
    assert_eq!(desk.play(Kind::Sweep).await.exit, 0);
    livedesk.set_switches(LiveDeskSwitches { count_offset: 2, ..livedesk.switches() });
    let idle = asked(&desk, Kind::Sweep).await;
    assert!(costs.iter().all(|cost| *cost <= idle + 4), "{costs:?} with it, {idle} without");
}
