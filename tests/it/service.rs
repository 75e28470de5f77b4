//! The service against both simulated platforms: what arrives when, what an idle cycle costs, one thing at a time, and
//! how it lives and dies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use deskferry::app::{self, Surroundings};
use deskferry::clock::{Clock, SystemClock, Timestamp};
use deskferry::config::load::Loaded;
use deskferry::daemon::due::Kind;
use deskferry::daemon::published::{Ended, Standing};
use deskferry::daemon::{Outcome, Service};
use deskferry::domain::hash::Digest;
use deskferry::domain::ids::{FirstLineId, LiveDeskId, RunId};
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::{Fault, FaultFilter, FaultSettings};
use deskferry::sandbox::firstline::{FirstLineSwitches, default_definitions};
use deskferry::sandbox::livedesk::{LiveDeskSwitches, Ties};
use deskferry::store::{self, Link, Origin, RunResult, WriteOp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::ops;
use crate::world::World;
use crate::world::process::Process;

const YEAR_2099: i64 = 4_070_908_800;
const HOUR_MS: i64 = 60 * 60 * 1000;

/// The system's clock, and how far it was moved on.
#[derive(Default)]
pub(crate) struct Moved(pub(crate) AtomicI64);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }
}

/// A service in this process, over a world.
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) service: Service,
    pub(crate) clock: Arc<Moved>,
}

impl Desk {
    pub(crate) async fn over(world: World) -> Self {
        let clock = Arc::new(Moved::default());
        let service = service(&world, Arc::clone(&clock)).await;
        Self { world, service, clock }
    }

    async fn with(contacts: u32) -> Self {
        Self::over(World::start(SandboxConfig { contacts, edge_cases: false, ..SandboxConfig::default() }).await).await
    }

    /// A service that has carried everybody, and whose lane has made its first cycle.
    async fn in_step(contacts: u32) -> Self {
        let desk = Self::with(contacts).await;
        desk.play(Kind::Sweep).await;
        desk.play(Kind::Sync).await;
        desk.world.assert_right().await;
        desk
    }

    /// Asks for this and plays it; nothing else may be due.
    pub(crate) async fn play(&self, kind: Kind) -> Ended {
        self.service.due().ask(kind);
        let outcome = self.service.step().await;
        let Some(Outcome::Ran(ended)) = outcome else { panic!("{outcome:?}") };
        ended
    }

    async fn refused(&self, kind: Kind) -> String {
        self.service.due().ask(kind);
        match self.service.step().await {
            Some(Outcome::Refused(why) | Outcome::Ran(Ended { failure: Some(why), .. })) => why,
            outcome => panic!("{outcome:?}"),
        }
    }

    /// Requests to LiveDesk and to FIRST LINE while `kind` is played.
    async fn cost(&self, kind: Kind) -> (u64, u64) {
        let before = self.requests();
        let ended = self.play(kind).await;
        assert_eq!(ended.exit, 0, "{ended:?}");
        let after = self.requests();
        (after.0 - before.0, after.1 - before.1)
    }

    pub(crate) fn requests(&self) -> (u64, u64) {
        let sandbox = &self.world.sandbox;
        (sandbox.livedesk_faults().requests(), sandbox.firstline_faults().requests())
    }

    /// Moves the clock on.
    pub(crate) fn pass(&self, hours: i64) {
        self.clock.0.fetch_add(hours * HOUR_MS, Ordering::SeqCst);
    }

    /// Renames the last contact of the list as an agent would.
    pub(crate) fn rename(&self, id: u64, name: &str) {
        assert!(self.world.sandbox.livedesk().edit(id, |contact| {
            contact.insert(String::from("name"), name.into());
        }));
    }

    fn some_id(&self) -> u64 {
        self.world.sandbox.livedesk().listed_ids()[0]
    }

    async fn is_right(&self) -> bool {
        self.world.compare().await.is_right()
    }
}

async fn service(world: &World, clock: Arc<Moved>) -> Service {
    let loaded = Loaded { settings: world.settings(), mapping: world.mapping_source(), warnings: Vec::new() };
    let around = Surroundings { clock, ..world.surroundings() };
    let clock = Arc::clone(&around.clock);
    let store = app::open_state(&loaded.settings, "run, the service", clock).await.unwrap();
    Service::new(loaded, store, around).await.unwrap()
}

#[tokio::test]
async fn a_first_start_with_an_empty_state_carries_everybody_once() {
    let desk = Desk::with(60).await;
    desk.service.catch_up().await.unwrap();
    let Some(Outcome::Ran(ended)) = desk.service.step().await else { panic!("nothing was due") };
    assert_eq!((ended.name, ended.exit, ended.verdict.as_deref()), ("backfill", 0, Some("proven")));
    assert!(desk.service.step().await.is_none(), "one backfill is enough");
    desk.world.assert_right().await;
    assert_eq!(desk.service.published().borrow().standing, Standing::Ready);
}

#[tokio::test]
async fn a_message_and_a_new_contact_arrive_with_the_next_sync_an_edit_with_the_next_sweep() {
    let desk = Desk::in_step(60).await;
    let livedesk = desk.world.sandbox.livedesk();
    let ids = livedesk.listed_ids();
    desk.rename(ids[3], "Wren Quiet");
    desk.rename(ids[7], "Sol Speaker");
    assert!(livedesk.message(ids[7]));
    livedesk.add_contact(json!({ "name": "Nova Newcomer", "identifier": "never-wrote" }));
    let ended = desk.play(Kind::Sync).await;
    assert_eq!((ended.exit, &ended.counts["created"], &ended.counts["updated"]), (0, &json!(1), &json!(1)));
    let found = desk.world.compare().await;
    assert_eq!(found.wrong.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [i64::try_from(ids[3]).unwrap()]);
    let ended = desk.play(Kind::Sweep).await;
    assert_eq!((ended.name, ended.exit, &ended.counts["updated"]), ("sweep", 0, &json!(1)));
    desk.world.assert_right().await;
}

#[tokio::test]
async fn an_idle_sync_costs_three_requests_at_most_and_an_idle_sweep_its_pages_and_first_line_none() {
    let desk = Desk::in_step(90).await;
    for _ in 0..2 {
        let (livedesk, firstline) = desk.cost(Kind::Sync).await;
        assert!(livedesk <= 3 && firstline == 0, "{livedesk} {firstline}");
    }
    // Without ties one pass is enough.
    desk.world.sandbox.livedesk().set_switches(LiveDeskSwitches { ties: Ties::Stable, ..Default::default() });
    // Six pages; the newest ones first to learn the spelling, the first for the count, an empty one believed twice.
    let (livedesk, firstline) = desk.cost(Kind::Sweep).await;
    assert!((6..=11).contains(&livedesk) && firstline == 0, "{livedesk} {firstline}");
    let (livedesk, firstline) = desk.cost(Kind::Sync).await;
    assert!(livedesk <= 3 && firstline == 0, "{livedesk} {firstline}");
}

#[tokio::test]
async fn an_idle_sync_stays_cheap_where_more_than_a_page_wrote_within_the_overlap() {
    let desk = Desk::with(90).await;
    for id in desk.world.sandbox.livedesk().listed_ids().into_iter().take(50) {
        assert!(desk.world.sandbox.livedesk().message(id));
    }
    desk.play(Kind::Sweep).await;
    desk.play(Kind::Sync).await;
    let (livedesk, firstline) = desk.cost(Kind::Sync).await;
    assert!(livedesk <= 3 && firstline == 0, "{livedesk} {firstline}");
}

#[tokio::test]
async fn what_a_sync_that_died_did_not_reach_the_next_one_carries() {
    let desk = Desk::in_step(60).await;
    let (livedesk, firstline) = (desk.world.sandbox.livedesk(), desk.world.sandbox.firstline());
    let before = firstline.tally().contact_create;
    let now = SystemClock.now().0 / 1000;
    for number in 0..60 {
        let (identifier, created_at) = (format!("import-{number}"), now - number);
        livedesk.add_contact(json!({ "name": "Silent Import", "identifier": identifier, "created_at": created_at }));
    }
    // The key expires after the newest of them were read.
    let faults = desk.world.sandbox.livedesk_faults();
    faults.change(|faults| faults.expire_from = 5);
    assert!(desk.refused(Kind::Sync).await.contains("401"));
    faults.clear();
    let created = firstline.tally().contact_create - before;
    assert!((15..60).contains(&created), "the first sync came half way: {created}");
    let ended = desk.play(Kind::Sync).await;
    assert_eq!((ended.exit, &ended.counts["created"]), (0, &json!(60 - created)), "{ended:?}");
    desk.world.assert_right().await;
}

#[tokio::test]
async fn contacts_whose_activity_lies_in_the_year_2099_do_not_silence_the_lane() {
    let desk = Desk::in_step(90).await;
    let livedesk = desk.world.sandbox.livedesk();
    let ids = livedesk.listed_ids();
    for id in &ids[..20] {
        assert!(livedesk.edit(*id, |contact| {
            contact.insert(String::from("last_activity_at"), YEAR_2099.into());
        }));
    }
    assert_eq!(desk.play(Kind::Sync).await.exit, 0);
    let mark = desk.service.store().lane().await.unwrap().unwrap();
    assert!(mark.activity.is_none_or(|time| time < YEAR_2099), "{mark:?}");
    for (turn, id) in ids[40..43].iter().enumerate() {
        desk.rename(*id, &format!("Speaker {turn}"));
        assert!(livedesk.message(*id));
        let ended = desk.play(Kind::Sync).await;
        assert_eq!(ended.counts["updated"], json!(1), "{ended:?}");
        desk.world.assert_right().await;
    }
    let (livedesk, firstline) = desk.cost(Kind::Sync).await;
    assert!(livedesk <= 3 && firstline == 0, "{livedesk} {firstline}");
}

#[tokio::test]
async fn a_livedesk_that_ignores_the_order_is_said_and_the_sweep_carries_what_the_sync_cannot_see() {
    let desk = Desk::with(60).await;
    desk.play(Kind::Sweep).await;
    let livedesk = desk.world.sandbox.livedesk();
    livedesk.set_switches(LiveDeskSwitches { ignore_sort: true, ..livedesk.switches() });
    let before = desk.requests().0;
    let ended = desk.play(Kind::Sync).await;
    assert_eq!(ended.counts["lane"]["sorted"], json!(false), "{ended:?}");
    assert!(desk.requests().0 - before <= 5, "it does not walk over everybody");
    let board = desk.service.published().borrow().clone();
    assert_eq!(board.carried_until, None, "the lane does not claim what it cannot see");
}

#[tokio::test]
async fn where_all_contacts_are_of_one_instant_no_order_is_believed_until_a_new_one_shows_it() {
    let desk = Desk::with(60).await;
    let livedesk = desk.world.sandbox.livedesk();
    for id in livedesk.listed_ids() {
        assert!(livedesk.edit(id, |contact| {
            contact.insert(String::from("created_at"), 1_700_000_000.into());
            contact.insert(String::from("last_activity_at"), serde_json::Value::Null);
        }));
    }
    desk.play(Kind::Sweep).await;
    let ended = desk.play(Kind::Sync).await;
    assert_eq!((ended.exit, &ended.counts["lane"]["sorted"]), (0, &json!(false)), "{ended:?}");
    assert_eq!(desk.service.published().borrow().carried_until, None, "the lane does not claim what it cannot see");
    livedesk.add_contact(json!({ "name": "Nova Newcomer", "identifier": "never-wrote" }));
    let ended = desk.play(Kind::Sync).await;
    assert_eq!((&ended.counts["created"], &ended.counts["lane"]["sorted"]), (&json!(1), &json!(true)), "{ended:?}");
    desk.world.assert_right().await;
}

/// Plays a sweep, and asks for a sync once LiveDesk has served so many pages of it.
async fn sweep_and_ask_within(desk: &Desk, pages: u64, asks: u32) {
    let due = desk.service.due();
    let start = desk.requests().0;
    due.ask(Kind::Sweep);
    let ask = async {
        while desk.requests().0 < start + pages {
            tokio::task::yield_now().await;
        }
        desk.world.sandbox.livedesk().add_contact(json!({ "name": "Midway Newcomer", "identifier": "midway" }));
        for _ in 0..asks {
            due.ask(Kind::Sync);
        }
    };
    let (outcome, ()) = tokio::join!(desk.service.step(), ask);
    let Some(Outcome::Ran(ended)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((ended.exit, ended.failure), (0, None));
}

#[tokio::test]
async fn a_sync_that_is_due_during_a_long_sweep_is_played_once_before_the_sweep_ends_and_nobody_is_made_twice() {
    for carried_before in [false, true] {
        let desk = Desk::with(150).await;
        if carried_before {
            desk.play(Kind::Sweep).await;
        }
        sweep_and_ask_within(&desk, 7, 5).await;
        assert!(desk.service.step().await.is_none(), "five activations are one");
        let runs = desk.service.store().runs(3).await.unwrap();
        let (sync, sweep) = (&runs[0], &runs[1]);
        assert_eq!((sync.kind.as_str(), sync.exit_code), ("sync", Some(0)));
        assert!(sync.ended_at.unwrap() <= sweep.ended_at.unwrap(), "{sync:?} {sweep:?}");
        assert!(sync.counts["created"].as_u64() >= Some(1), "{sync:?}");
        desk.world.assert_right().await;
        let firstline = desk.world.sandbox.firstline();
        assert_eq!(firstline.tally().contact_create, firstline.len() as u64);
    }
}

#[tokio::test]
async fn what_a_sync_settles_between_two_pages_of_a_sweep_that_has_passed_it_is_carried_to_its_end() {
    for (path, search, reads, by_id) in
        [("/contact", 60, 0, true), ("/contact", 60, 0, false), ("/email-contact", 0, 60, true)]
    {
        let desk = Desk::with(150).await;
        let (livedesk, firstline) = (desk.world.sandbox.livedesk(), desk.world.sandbox.firstline());
        livedesk.set_switches(LiveDeskSwitches { by_id, ..livedesk.switches() });
        // An answer is lost, and what was made is out of sight for a while.
        let lagging = FirstLineSwitches {
            search_lag_writes: search,
            list_lag_writes: search,
            get_lag_writes: reads,
            ..firstline.switches()
        };
        firstline.set_switches(lagging);
        desk.world.sandbox.firstline_faults().next(Fault::LostAck, 4, FaultFilter::on("POST", path));
        let ask = async {
            while firstline.len() < 60 {
                tokio::task::yield_now().await;
            }
            assert!(!desk.service.store().open_intents().await.unwrap().is_empty(), "{path}: something is in doubt");
            desk.service.due().ask(Kind::Sync);
        };
        let (ended, ()) = tokio::join!(desk.play(Kind::Sweep), ask);
        assert_eq!(ended.exit, 0, "{ended:?}");
        let runs = desk.service.store().runs(2).await.unwrap();
        assert_eq!(runs[0].kind, "sync", "{runs:?}");
        let links = desk.service.store().links_page(LiveDeskId(-1), 1_000).await.unwrap();
        let open: Vec<_> =
            links.iter().filter(|link| link.fingerprint.is_none()).map(|link| link.livedesk_id).collect();
        assert!(open.is_empty(), "{path}: {open:?}");
        desk.world.assert_right().await;
    }
}

#[tokio::test]
async fn a_sync_completes_what_it_finds_of_a_create_that_an_earlier_life_left_in_doubt() {
    let mut world = World::start(SandboxConfig { contacts: 60, edge_cases: false, ..SandboxConfig::default() }).await;
    world.choices.doubt_horizon = "10m";
    let desk = Desk::over(world).await;
    desk.play(Kind::Sweep).await;
    desk.play(Kind::Sync).await;
    let livedesk = desk.world.sandbox.livedesk();
    let id = livedesk.add_contact(json!({ "name": "Nova Newcomer", "email": "nova@example.com" }));
    let firstline = desk.world.sandbox.firstline();
    firstline.set_switches(FirstLineSwitches { search_lag_writes: 1, ..firstline.switches() });
    desk.world.sandbox.firstline_faults().next(Fault::LostAck, 1, FaultFilter::on("POST", "/contact"));
    let ended = desk.play(Kind::Sync).await;
    assert_eq!((ended.exit, firstline.len()), (1, 61), "{ended:?}");
    firstline.set_switches(FirstLineSwitches::default());
    // The lane has nothing more to say of it.
    assert!(livedesk.edit(id, |contact| {
        contact.insert(String::from("created_at"), json!(1_500_000_000));
        contact.insert(String::from("last_activity_at"), json!(1_500_000_000));
    }));
    let ended = desk.play(Kind::Sync).await;
    assert_eq!((ended.exit, &ended.counts["created"]), (0, &json!(1)), "{ended:?}");
    desk.world.assert_right().await;
}

#[tokio::test]
async fn a_first_backfill_of_days_looks_for_customers_that_agents_made_meanwhile() {
    let desk = Desk::with(150).await;
    let livedesk = desk.world.sandbox.livedesk();
    livedesk.add_contact(json!({ "name": "Wan Walkin", "email": "walk-in@example.com" }));
    let firstline = desk.world.sandbox.firstline();
    let agent = async {
        while firstline.len() < 30 {
            tokio::task::yield_now().await;
        }
        firstline.add_contact(&json!({ "first_name": "Wan" }), &["walk-in@example.com"], &[], &[]);
        desk.clock.0.fetch_add(16 * 60 * 1000, Ordering::SeqCst);
    };
    let (ended, ()) = tokio::join!(desk.play(Kind::Sweep), agent);
    assert_eq!((ended.exit, &ended.counts["adopted"]), (0, &json!(1)), "{ended:?}");
    assert_eq!(firstline.tally().contact_create + 1, firstline.len() as u64);
}

#[tokio::test]
async fn a_contact_edited_while_its_page_was_read_ahead_keeps_the_newer_value() {
    let desk = Desk::in_step(150).await;
    let livedesk = desk.world.sandbox.livedesk();
    // All but the first pages are still before the sweep when the sync carries them.
    let ids = livedesk.listed_ids();
    let due = desk.service.due();
    let start = desk.requests().0;
    due.ask(Kind::Sweep);
    let edit = async {
        while desk.requests().0 < start + 5 {
            tokio::task::yield_now().await;
        }
        for id in &ids[30..140] {
            desk.rename(*id, "Newer Name");
            assert!(livedesk.message(*id));
        }
        due.ask(Kind::Sync);
    };
    let (outcome, ()) = tokio::join!(desk.service.step(), edit);
    assert!(matches!(outcome, Some(Outcome::Ran(_))), "{outcome:?}");
    desk.world.assert_right().await;
}

#[tokio::test]
async fn credentials_that_are_refused_are_the_standing_of_the_service_until_they_are_taken_again() {
    let desk = Desk::in_step(30).await;
    let livedesk = desk.world.sandbox.livedesk();
    let switches = livedesk.switches();
    livedesk.set_switches(LiveDeskSwitches { api_key: String::from("another"), ..switches.clone() });
    for _ in 0..2 {
        let why = desk.refused(Kind::Sync).await;
        assert!(why.contains("401") && why.contains("livedesk.api_key"), "{why}");
        let standing = desk.service.published().borrow().standing.clone();
        assert!(matches!(&standing, Standing::Refused(why) if why.contains("401")), "{standing:?}");
    }
    livedesk.set_switches(switches);
    desk.rename(desk.some_id(), "Back Again");
    assert!(livedesk.message(desk.some_id()));
    assert_eq!(desk.play(Kind::Sync).await.counts["updated"], json!(1));
    assert_eq!(desk.service.published().borrow().standing, Standing::Ready);
    assert!(desk.is_right().await);
}

#[tokio::test]
async fn an_empty_state_before_a_target_that_holds_our_stamps_asks_for_a_rebuild_and_stays_up() {
    let world = World::start(SandboxConfig { contacts: 30, edge_cases: false, ..SandboxConfig::default() }).await;
    world.backfill().await;
    for file in ["", "-wal", "-shm", ".lock"] {
        let _ = std::fs::remove_file(format!("{}{file}", world.state_path().display()));
    }
    let desk = Desk::over(world).await;
    desk.service.catch_up().await.unwrap();
    desk.service.step().await.unwrap();
    let standing = desk.service.published().borrow().standing.clone();
    assert!(matches!(&standing, Standing::Refused(why) if why.contains("state rebuild")), "{standing:?}");
    let creates = desk.world.sandbox.firstline().tally().contact_create;
    let before = desk.requests();
    assert!(desk.refused(Kind::Sync).await.contains("state rebuild"));
    assert_eq!(desk.requests(), before, "a sync does not read FIRST LINE's whole list again to hear the same");
    assert_eq!(desk.world.sandbox.firstline().tally().contact_create, creates);
}

#[tokio::test]
async fn definitions_that_changed_are_seen_before_the_first_write_and_the_run_is_begun_anew_at_once() {
    let desk = Desk::in_step(30).await;
    let firstline = desk.world.sandbox.firstline();
    let mut definitions = default_definitions();
    definitions[0].columns.iter_mut().find(|column| column.id == 33).unwrap().name = String::from("Score");
    firstline.set_definitions(definitions);
    desk.clock.0.fetch_add(16 * 60 * 1000, Ordering::SeqCst);
    let (_, requests) = desk.cost(Kind::Sync).await;
    assert_eq!(requests, 0, "who writes nothing asks nothing");
    let id = desk.some_id();
    assert!(desk.world.sandbox.livedesk().edit(id, |contact| {
        contact.insert(String::from("name"), "Quinn Drift".into());
        contact.insert(String::from("custom_attributes"), json!({ "points": 4711 }));
    }));
    assert!(desk.world.sandbox.livedesk().message(id));
    let ended = desk.play(Kind::Sync).await;
    assert_eq!((ended.exit, &ended.counts["updated"]), (1, &json!(1)), "{ended:?}");
    assert!(ended.counts["stopped_fields"][0].as_str().unwrap().contains("Score"), "{ended:?}");
    let runs = desk.service.store().runs(2).await.unwrap();
    assert_eq!(runs[1].exit_code, Some(130), "the first try was given up: {runs:?}");
    assert!(!firstline.dump().to_string().contains("4711"));
}

#[tokio::test]
async fn a_nightly_sweep_may_be_counted_and_one_a_week_is_proven() {
    let desk = Desk::in_step(60).await;
    let mut verdicts = Vec::new();
    for _ in 0..8 {
        desk.clock.0.fetch_add(24 * HOUR_MS, Ordering::SeqCst);
        let ended = desk.play(Kind::Sweep).await;
        assert_eq!(ended.exit, 0, "{ended:?}");
        verdicts.push(ended.verdict.unwrap());
    }
    assert_eq!(verdicts.iter().filter(|verdict| *verdict == "proven").count(), 1, "{verdicts:?}");
    assert_eq!(verdicts[6], "proven", "{verdicts:?}");
}

#[tokio::test]
async fn a_proven_sweep_of_before_the_clock_was_set_back_does_not_put_off_the_next_one() {
    let desk = Desk::in_step(60).await;
    desk.clock.0.fetch_sub(30 * 24 * HOUR_MS, Ordering::SeqCst);
    assert_eq!(desk.play(Kind::Sweep).await.verdict.as_deref(), Some("proven"));
}

#[tokio::test]
async fn both_lags_grow_with_the_clock_and_fall_with_their_lane() {
    let desk = Desk::in_step(30).await;
    let lags = || {
        let board = desk.service.published().borrow().clone();
        let now = desk.clock.now();
        (board.sync_lag_ms(now).unwrap(), board.sweep_lag_ms(now).unwrap())
    };
    desk.clock.0.fetch_add(2 * HOUR_MS, Ordering::SeqCst);
    assert!(lags().0 >= 2 * HOUR_MS && lags().1 >= 2 * HOUR_MS, "{:?}", lags());
    desk.play(Kind::Sync).await;
    assert!(lags().0 < HOUR_MS && lags().1 >= 2 * HOUR_MS, "{:?}", lags());
    desk.play(Kind::Sweep).await;
    assert!(lags().1 < HOUR_MS, "{:?}", lags());
}

#[tokio::test]
async fn a_sync_reads_no_labels_and_leaves_tags_as_they_are() {
    let mut world = World::start(SandboxConfig { contacts: 30, edge_cases: false, ..SandboxConfig::default() }).await;
    world.mapping.push_str("\n[[tags]]\nlabel = \"gold customer\"\ntag = \"Gold\"\nowner = \"source\"\n");
    let desk = Desk::over(world).await;
    let livedesk = desk.world.sandbox.livedesk();
    let id = desk.some_id();
    livedesk.set_labels(id, &["gold customer"]);
    assert_eq!(desk.play(Kind::Sweep).await.counts["tags"]["added"], json!(1));
    desk.rename(id, "Tag Keeper");
    assert!(livedesk.message(id));
    livedesk.reset_counts();
    let ended = desk.play(Kind::Sync).await;
    assert_eq!((ended.exit, &ended.counts["updated"]), (0, &json!(1)), "{ended:?}");
    assert_eq!(ended.counts["tags"]["removed"], json!(0));
    let ended = desk.play(Kind::Sweep).await;
    assert_eq!((&ended.counts["updated"], &ended.counts["tags"]["added"]), (&json!(0), &json!(0)), "{ended:?}");
    desk.world.assert_right().await;
    let before = desk.requests().1;
    desk.play(Kind::Sweep).await;
    assert_eq!(desk.requests().1, before, "an idle sweep asks FIRST LINE nothing, tags or not");
    // Long after, the tag is looked at again before somebody is given it.
    desk.clock.0.fetch_add(16 * 60 * 1000, Ordering::SeqCst);
    let other = livedesk.listed_ids()[1];
    livedesk.set_labels(other, &["gold customer"]);
    let ended = desk.play(Kind::Sweep).await;
    assert_eq!(ended.counts["tags"]["added"], json!(1), "{ended:?}");
}

#[tokio::test]
async fn an_outage_fails_no_run_and_what_came_meanwhile_is_played_once() {
    let desk = Desk::in_step(30).await;
    let id = desk.some_id();
    desk.rename(id, "Patient Person");
    assert!(desk.world.sandbox.livedesk().message(id));
    let faults = desk.world.sandbox.firstline_faults();
    faults.start_outage();
    let due = desk.service.due();
    due.ask(Kind::Sync);
    let before = faults.requests();
    let back = async {
        while faults.requests() < before + 3 {
            tokio::task::yield_now().await;
        }
        due.ask(Kind::Sync);
        faults.end_outage();
    };
    let (outcome, ()) = tokio::join!(desk.service.step(), back);
    let Some(Outcome::Ran(ended)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((ended.exit, &ended.counts["updated"], &ended.counts["set_aside"]), (0, &json!(1), &json!(0)));
    assert!(matches!(desk.service.step().await, Some(Outcome::Ran(_))));
    assert!(desk.service.step().await.is_none());
    desk.world.assert_right().await;
}

#[tokio::test]
async fn a_run_that_dies_again_and_again_has_failed_and_is_no_interruption() {
    let world = World::start(SandboxConfig { contacts: 5, ..SandboxConfig::default() }).await;
    let clock = Arc::new(Moved::default());
    let mut codes = Vec::new();
    for life in 0..5 {
        let service = service(&world, Arc::clone(&clock)).await;
        let died = service.store().runs(9).await.unwrap();
        codes.extend(died.first().map(|run| (run.kind.clone(), run.exit_code)));
        if life == 3 {
            let sync = service.store().begin_run("sync", &json!({})).await.unwrap();
            let result = RunResult { exit_code: 0, verdict: None, counts: json!({}) };
            service.store().finish_run(sync, result).await.unwrap();
        }
        service.store().begin_run("sweep", &json!({})).await.unwrap();
        service.store().clone().close().await;
    }
    let sweep = |code| (String::from("sweep"), Some(code));
    assert_eq!(codes, [sweep(130), sweep(130), sweep(2), sweep(2)], "a quick cycle in between mends nothing");
}

#[tokio::test]
async fn a_sweep_that_died_with_many_syncs_within_it_is_ended_and_counts_as_one_that_died() {
    let world = World::start(SandboxConfig { contacts: 5, ..SandboxConfig::default() }).await;
    let clock = Arc::new(Moved::default());
    let mut codes = Vec::new();
    for _ in 0..4 {
        let service = service(&world, Arc::clone(&clock)).await;
        let runs = service.store().runs(500).await.unwrap();
        assert!(runs.iter().all(|run| run.ended_at.is_some()), "none is shown as under way for ever");
        codes = runs.iter().rev().filter(|run| run.kind == "sweep").filter_map(|run| run.exit_code).collect();
        service.store().begin_run("sweep", &json!({})).await.unwrap();
        for _ in 0..60 {
            let sync = service.store().begin_run("sync", &json!({})).await.unwrap();
            let result = RunResult { exit_code: 0, verdict: None, counts: json!({}) };
            service.store().finish_run(sync, result).await.unwrap();
        }
        service.store().clone().close().await;
    }
    assert_eq!(codes, [130, 130, 2]);
}

#[tokio::test]
async fn an_outage_from_the_start_on_is_one_alarm_and_no_run_was_missed() {
    let world = World::start(SandboxConfig { contacts: 20, edge_cases: false, ..SandboxConfig::default() }).await;
    world.backfill().await;
    let desk = Desk::over(world).await;
    let faults = desk.world.sandbox.firstline_faults();
    faults.start_outage();
    let before = faults.requests();
    let (due, now) = (desk.service.due(), desk.clock.now());
    let next = |minutes: i64| {
        let at = Timestamp(now.0 + minutes * 60_000);
        BTreeMap::from([(Kind::Sync, at), (Kind::Sweep, at)])
    };
    desk.service.expects(next(1));
    due.ask(Kind::Sync);
    let watch = async {
        while faults.requests() < before + 3 {
            tokio::task::yield_now().await;
        }
        for minute in [2, 20] {
            desk.clock.0.store(minute * 60_000, Ordering::SeqCst);
            desk.service.expects(next(minute + 1));
        }
        let alarms = desk.service.alarms().await.to_string();
        let beginning = desk.service.published().borrow().beginning;
        faults.end_outage();
        (alarms, beginning)
    };
    let (outcome, (alarms, beginning)) = tokio::join!(desk.service.step(), watch);
    assert!(alarms.contains("platform_down") && !alarms.contains("run_missed"), "{alarms}");
    assert_eq!(beginning.map(|beginning| beginning.name), Some("sync"));
    assert!(matches!(&outcome, Some(Outcome::Ran(ended)) if ended.exit == 0), "{outcome:?}");
    assert_eq!(desk.service.published().borrow().beginning, None);
}

/// How often the service is killed when nothing else is asked for; `DESKFERRY_DAEMON_KILLS` says otherwise.
const KILLS: u32 = 4;

/// A world whose service has a sync every second and sweeps when it starts.
async fn busy_world(contacts: u32, latency_ms: u64) -> World {
    let firstline_faults = FaultSettings { latency_ms, ..FaultSettings::default() };
    let config = SandboxConfig { contacts, edge_cases: false, firstline_faults, ..SandboxConfig::default() };
    let mut world = World::start(config).await;
    let schedule = "[schedule]\nsync = \"* * * * * *\"\n[service]\ndrain = \"20s\"\n[http]";
    world.choices.instead.push(("[http]", String::from(schedule)));
    world
}

/// The newest run that the state knows, and whether a run after `before` came to its end with a whole sweep on record.
async fn has_swept(world: &World, before: RunId) -> (RunId, bool) {
    let Ok(store) = app::read_state(&world.state_path(), Arc::new(SystemClock)).await else { return (before, false) };
    let runs = store.runs(20).await.unwrap_or_default();
    let swept = store.last_whole_sweep().await.is_ok_and(|sweep| sweep.is_some());
    store.close().await;
    let ended = runs.iter().any(|run| run.id > before && matches!(run.exit_code, Some(0 | 1)));
    (runs.first().map_or(before, |run| run.id), swept && ended)
}

/// Lets the service run until it has swept and, where an earlier life of it swept already, has ended a run in this one.
async fn until_swept(world: &World, process: &mut Process) {
    let (before, _) = has_swept(world, RunId(0)).await;
    for _ in 0..600 {
        if has_swept(world, before).await.1 {
            return;
        }
        assert!(process.run_for(Duration::from_millis(50)).await, "it ended: {}", process.stderr());
    }
    panic!("it does not come to the end of a sweep: {}", process.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_wants_the_state_beside_the_service_is_refused_with_its_name_or_waits() {
    let world = busy_world(20, 0).await;
    let mut service = world.spawn_beside("service-", &[], &["run"]);
    until_swept(&world, &mut service).await;
    // A second service may be the first one's successor: whoever starts it does so again.
    for (command, code) in [("backfill", 2), ("sync", 2), ("retry", 2), ("run", 1)] {
        let end = world.command(&[command]).await;
        assert_eq!(end.code(), Some(code), "{command}: {end:?}");
        assert!(end.says("run, the service"), "{command}: {end:?}");
    }
    let end = world.command(&["--json", "status"]).await;
    assert_eq!(end.code(), Some(0), "looking is free: {end:?}");
    let mut waits = world.spawn(&["--wait", "sync"]);
    assert!(waits.until(|| waits_said(&world)).await, "it did not wait");
    service.signal("TERM").await;
    assert_eq!(service.end().await.code(), Some(0));
    let end = waits.end().await;
    assert_eq!(end.code(), Some(0), "{end:?}");
}

fn waits_said(world: &World) -> bool {
    std::fs::read_to_string(world.folder().join("stderr")).unwrap().contains("waiting until it ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_before_anything_was_carried_asks_for_a_backfill_and_after_it_is_one_quick_cycle() {
    let world = World::start(SandboxConfig { contacts: 20, edge_cases: false, ..SandboxConfig::default() }).await;
    let end = world.command(&["sync"]).await;
    assert!(end.code() == Some(2) && end.says("deskferry backfill"), "{end:?}");
    assert!(world.sandbox.firstline().is_empty());
    let end = world.command(&["backfill"]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    world.sandbox.livedesk().add_contact(json!({ "name": "Nova Newcomer", "identifier": "new" }));
    let end = world.command(&["--json", "sync"]).await;
    assert_eq!((end.code(), &end.json()["created"], &end.json()["lane"]["sorted"]), (Some(0), &json!(1), &json!(true)));
    world.assert_right().await;
    let end = world.command(&["status"]).await;
    assert!(end.says("last sync"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_that_a_person_asks_for_is_proven_and_the_status_shows_what_stands() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut world = busy_world(20, 0).await;
    world.choices.instead.push(("listen = \"127.0.0.1:0\"", format!("listen = \"{address}\"")));
    let mut service = world.spawn_beside("service-", &[], &["run"]);
    until_swept(&world, &mut service).await;
    // The first backfill may still be under way.
    while ops::post(address, "application/json", "{\"kind\":\"sweep\"}").await.status != 202 {
        assert!(service.run_for(Duration::from_millis(50)).await, "{}", service.stderr());
    }
    let verdicts = async || {
        let runs = ops::get(address, "/api/runs?limit=50").await.json();
        let runs = runs["runs"].as_array().unwrap().clone();
        let sweeps = runs.into_iter().filter(|run| run["kind"] == "sweep" && !run["ended_at"].is_null());
        sweeps.map(|run| run["sweep"].clone()).collect::<Vec<_>>()
    };
    while verdicts().await.is_empty() {
        assert!(service.run_for(Duration::from_millis(50)).await, "{}", service.stderr());
    }
    assert_eq!(verdicts().await, ["proven"]);
    service.signal("TERM").await;
    assert_eq!(service.end().await.code(), Some(0));

    let end = world.command(&["status"]).await;
    assert!(!end.says("alarm"), "{end:?}");
    let store = world.store().await;
    let standing = json!({ "since": 1_772_323_200_000_i64, "text": "1 MiB are free", "details": {} });
    let memory = json!({ "watched_since": 0, "standing": { "disk_low": standing }, "outbox": {} });
    store.profile_put("alarms", &memory).await.unwrap();
    store.close().await;
    let end = world.command(&["status"]).await;
    assert!(end.says("alarm       disk_low since 2026-03-01T00:00:00Z: 1 MiB are free"), "{end:?}");
    let end = world.command(&["--json", "status"]).await;
    assert_eq!(end.json()["alarms"][0]["alarm"], "disk_low");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_in_the_middle_of_a_run_finishes_what_is_in_flight_and_ends_clean() {
    let world = busy_world(200, 10).await;
    let mut service = world.spawn(&["run"]);
    assert!(service.until(|| world.sandbox.firstline().tally().contact_create >= 50).await, "{}", service.stderr());
    service.signal("TERM").await;
    let end = service.end().await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    let store = world.store().await;
    let report = store.check().await.unwrap();
    assert_eq!((report.problems(), report.open_intents, report.unfinished_runs), (Vec::new(), 0, 0));
    assert_eq!(store.link_count().await.unwrap(), world.sandbox.firstline().len() as u64);
    assert_eq!(store.runs(9).await.unwrap().last().unwrap().exit_code, Some(130));
    store.close().await;
    assert!(world.sandbox.firstline().len() < 200, "it was interrupted");

    world.sandbox.firstline_faults().clear();
    let mut service = world.spawn(&["run"]);
    until_swept(&world, &mut service).await;
    service.signal("INT").await;
    assert_eq!(service.end().await.code(), Some(0));
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_longer_than_the_drain_is_cut_off_and_the_next_start_settles_it() {
    let mut world = busy_world(60, 0).await;
    world.choices.instead.push(("drain = \"20s\"", String::from("drain = \"100ms\"")));
    let mut service = world.spawn(&["run"]);
    assert!(service.until(|| world.sandbox.firstline().tally().contact_create >= 10).await, "{}", service.stderr());
    let faults = world.sandbox.firstline_faults();
    faults.change(|settings| {
        settings.slow_rate = 1.0;
        settings.slow_ms = 4_000;
    });
    let requests = faults.requests();
    assert!(service.until(|| faults.requests() >= requests + 4).await);
    service.signal("TERM").await;
    let end = service.end().await;
    assert_eq!(end.code(), Some(130), "{end:?}");
    faults.clear();
    let mut service = world.spawn(&["run"]);
    until_swept(&world, &mut service).await;
    service.signal("TERM").await;
    assert_eq!(service.end().await.code(), Some(0));
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_killed_again_and_again_loses_nobody_and_makes_nobody_twice() {
    let kills = std::env::var("DESKFERRY_DAEMON_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let mut rng = StdRng::seed_from_u64(4);
    let world = busy_world(150, 1).await;
    world.sandbox.firstline_faults().change(|settings| {
        settings.lost_ack_rate = 0.05;
        settings.reset_after_rate = 0.02;
        settings.error_rate = 0.02;
    });
    let livedesk = world.sandbox.livedesk();
    for kill in 0..kills {
        let mut service = world.spawn(&["run"]);
        let id =
            livedesk.add_contact(json!({ "name": format!("Visitor {kill}"), "identifier": format!("kill-{kill}") }));
        let ids = livedesk.listed_ids();
        let spoken = ids[rng.random_range(0..ids.len())];
        livedesk.edit(spoken, |contact| {
            contact.insert(String::from("name"), format!("Speaker {kill}").into());
        });
        assert!(livedesk.message(spoken) && livedesk.contact(id).is_some());
        let time = Duration::from_millis(rng.random_range(20..1_500));
        assert!(service.run_for(time).await, "it ended by itself: {}", service.stderr());
        service.kill().await;
    }
    world.sandbox.firstline_faults().clear();
    // Doubts are the next run's; two sweeps settle whatever the last kill left.
    let mut service = world.spawn(&["run"]);
    until_swept(&world, &mut service).await;
    service.signal("TERM").await;
    assert_eq!(service.end().await.code(), Some(0));
    let end = world.command(&["--json", "backfill"]).await;
    assert!(matches!(end.code(), Some(0 | 1)), "{end:?}");
    assert_eq!((&end.json()["parked"], &end.json()["conflicts"]), (&json!(0), &json!(0)), "{end:?}");
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_manager_hears_ready_a_beat_while_a_run_waits_and_stopping() {
    let world = busy_world(60, 0).await;
    world.sandbox.firstline_faults().start_outage();
    let path = world.folder().join("notify");
    let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
    let env = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")];
    let service = world.spawn_beside("", &env, &["run"]);
    let mut heard = Vec::new();
    let mut buffer = [0; 500];
    let mut beats = 0;
    while beats < 5 {
        let read = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut buffer)).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
        beats += u32::from(text.contains("WATCHDOG=1"));
        heard.push(text);
    }
    assert!(heard[0].contains("READY=1"), "{heard:?}");
    service.signal("TERM").await;
    while !heard.iter().any(|text| text.contains("STOPPING=1")) {
        let read = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut buffer)).await.unwrap().unwrap();
        heard.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
    }
    assert_eq!(service.end().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_that_does_not_fit_the_tenant_ends_the_first_start() {
    let mut world = busy_world(5, 0).await;
    world.mapping = world.mapping.replace("id = 33", "id = 9933");
    let end = world.command(&["run"]).await;
    assert_eq!(end.code(), Some(2), "{end:?}");
    assert!(end.err.contains("9933") && end.err.contains("mapping.toml"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_many_links_is_soon_at_work() {
    let links: i64 = std::env::var("DESKFERRY_RESTART_LINKS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let world = busy_world(30, 0).await;
    world.backfill().await;
    let store = world.store().await;
    let now = SystemClock.now();
    for first in (0..links).step_by(2_000) {
        let link = |number: i64| Link {
            livedesk_id: LiveDeskId(10_000_000 + number),
            target: FirstLineId(20_000_000 + number),
            origin: Origin::Rebuilt,
            fingerprint: Some(Digest([7; 16])),
            base: vec![0; 120],
            mapping_version: Some(String::from("0")),
            intent_seq: None,
            linked_at: now,
            updated_at: now,
            run: RunId(1),
            standing: store::Standing::Live,
            alias_of: None,
        };
        let sight = |number: i64| WriteOp::Sight { sweep: 1, id: LiveDeskId(10_000_000 + number) };
        let numbers = first..links.min(first + 2_000);
        let ops = numbers.clone().map(|number| WriteOp::PutLink(link(number))).chain(numbers.map(sight));
        store.write(ops.collect()).await.unwrap();
    }
    store.close().await;
    let (livedesk, firstline) = (world.sandbox.livedesk_faults(), world.sandbox.firstline_faults());
    let before = (livedesk.requests(), firstline.requests());
    let started = Instant::now();
    let mut service = world.spawn(&["run"]);
    assert!(service.until(|| firstline.requests() > before.1).await, "{}", service.stderr());
    let spoke = started.elapsed();
    // One for the source to be recognised; the next one is of the first sync.
    assert!(service.until(|| livedesk.requests() > before.0 + 1).await, "{}", service.stderr());
    let worked = started.elapsed();
    println!("{links} links: first request after {spoke:?}, first request of a run after {worked:?}");
    service.signal("TERM").await;
    assert_eq!(service.end().await.code(), Some(0));
    let limit = if cfg!(debug_assertions) { Duration::from_secs(10) } else { Duration::from_secs(1) };
    assert!(worked < limit, "{worked:?}");
}

/// Resident memory of a process, in KiB.
fn resident(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Means that stand for the last three quarters of the soak, and by how many pairs more of them may rise than fall where they
/// differ by chance alone (Mann and Kendall: 2.33 times the standard deviation, 14.6; one step early or late is fewer).
const BLOCKS: usize = 12;
const BY_CHANCE: i32 = 34;

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap())
}

/// How many pairs of these rise, less those that fall.
fn rising(values: &[f64]) -> i32 {
    let pairs = (0..values.len()).flat_map(|at| values[at + 1..].iter().map(move |later| later.total_cmp(&values[at])));
    pairs.map(|order| order as i32).sum()
}

#[test]
fn a_trend_is_told_from_noise_and_from_one_step() {
    assert_eq!(rising(&[1.0, 2.0, 3.0, 3.0]), 5);
    assert!(rising(&[5.0, 7.0, 5.0, 7.0, 5.0, 7.0, 5.0, 7.0, 5.0, 7.0, 5.0, 7.0]) <= BY_CHANCE);
    assert!(rising(&[5.0, 5.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0]) <= BY_CHANCE);
    assert!(rising(&[5.0, 7.0, 7.0, 9.0, 8.0, 11.0, 10.0, 13.0, 12.0, 15.0, 14.0, 17.0]) > BY_CHANCE);
    assert!(rising(&[5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0]) > BY_CHANCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_quick_cycles_takes_no_more_memory_at_its_end_than_after_its_first_quarter() {
    let Ok(seconds) = std::env::var("DESKFERRY_SOAK_SECONDS") else {
        eprintln!("skipped: DESKFERRY_SOAK_SECONDS=300 runs it, with a sync every second and a sweep every minute");
        return;
    };
    let seconds: u32 = seconds.parse().unwrap();
    let mut world = busy_world(600, 0).await;
    world
        .choices
        .instead
        .push(("sync = \"* * * * * *\"", String::from("sync = \"* * * * * *\"\nsweep = \"0 * * * * *\"")));
    let mut service = world.spawn(&["run"]);
    until_swept(&world, &mut service).await;
    let livedesk = world.sandbox.livedesk();
    let mut samples = Vec::new();
    for second in 0..seconds {
        let ids = livedesk.listed_ids();
        let id = ids[usize::try_from(second).unwrap() * 7 % ids.len()];
        livedesk.edit(id, |contact| {
            contact.insert(String::from("name"), format!("Speaker {second}").into());
        });
        livedesk.message(id);
        assert!(service.run_for(Duration::from_secs(1)).await, "{}", service.stderr());
        samples.push(resident(service.id()));
    }
    service.signal("TERM").await;
    assert_eq!(service.end().await.code(), Some(0));
    let late = &samples[samples.len() / 4..];
    let means: Vec<f64> = late.chunks_exact((late.len() / BLOCKS).max(1)).map(mean).collect();
    let told: Vec<String> = means.iter().map(|mean| format!("{mean:.0}")).collect();
    let rising = rising(&means);
    println!("resident, in KiB: {}; of 66 pairs {rising} more rise than fall", told.join(", "));
    assert!(rising <= BY_CHANCE, "memory grows: of 66 pairs {rising} more rise than fall: {told:?}");
}
