//! A state that is lost, or belongs to somebody else: nothing is written before the links are found again.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use deskferry::sandbox::firstline::FirstLineSwitches;
use deskferry::sandbox::{Sandbox, SandboxConfig};

use crate::world::World;

const STAMPS: [&str; 3] =
    [r#"{ membership_no = "LD-" }"#, "{ cz_col = 31 }", r#"{ membership_no = "LD-", cz_col = 31 }"#];

/// Deletes the state with everything beside it.
fn lose_state(world: &World) {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let mut name = world.state_path().into_os_string();
        name.push(suffix);
        drop(fs::remove_file(name));
    }
    assert!(!world.state_path().exists());
}

/// A backfill without a state is refused; after a rebuild one creates nothing and adds no child twice.
async fn rebuilt_and_carried_again(world: &World, whole: bool) {
    world.sandbox.firstline().reset_counts();
    let end = world.command(&["backfill"]).await;
    assert_eq!(end.code(), Some(2), "{end:?}");
    assert!(end.says("state rebuild"), "{end:?}");
    assert_eq!(world.sandbox.firstline().tally().writes(), 0);
    // The refused run must not make the next one believe that this state is nobody's.
    let end = world.command(&["backfill"]).await;
    assert_eq!(end.code(), Some(2), "{end:?}");
    assert_eq!(world.sandbox.firstline().tally().writes(), 0);

    let records = world.sandbox.firstline().len() as u64;
    let end = world.command(&["--json", "state", "rebuild"]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    assert_eq!(end.json()["linked"], records, "{end:?}");
    assert_eq!(world.sandbox.firstline().tally().writes(), 0);

    let before = world.sandbox.firstline().dump();
    let end = world.command(&["--json", "backfill"]).await;
    assert!(matches!(end.code(), Some(0 | 1)), "{end:?}");
    let counts = world.sandbox.firstline().tally();
    if whole {
        assert_eq!(counts.writes() - counts.contact_create, 0, "{counts:?}");
        assert_eq!(world.sandbox.firstline().dump(), before);
        assert_eq!(end.json()["created"], 0);
    }
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_state_is_rebuilt_from_the_stamps_and_the_next_backfill_creates_nothing() {
    for stamp in STAMPS {
        for list_omits_cz_cols in [false, true] {
            let firstline = FirstLineSwitches { list_omits_cz_cols, ..FirstLineSwitches::default() };
            let mut world =
                World::start(SandboxConfig { contacts: 120, edge_cases: false, firstline, ..SandboxConfig::default() })
                    .await;
            world.choices.stamp = stamp;
            world.backfill().await;
            lose_state(&world);
            rebuilt_and_carried_again(&world, true).await;
            assert_eq!(world.sandbox.firstline().tally().contact_create, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_rebuilt_completely_where_lists_tell_no_total_and_answers_leave_out_empty_keys() {
    for stamp in STAMPS {
        let firstline = FirstLineSwitches { meta_left_out: true, nulls_left_out: true, ..FirstLineSwitches::default() };
        let mut world =
            World::start(SandboxConfig { contacts: 30, edge_cases: false, firstline, ..SandboxConfig::default() })
                .await;
        world.choices.stamp = stamp;
        world.backfill().await;
        let records = world.sandbox.firstline().len() as u64;
        world.sandbox.firstline().seed_customers(20, 7, &[], &[]);
        lose_state(&world);
        let end = world.command(&["--json", "state", "rebuild"]).await;
        assert_eq!(end.code(), Some(0), "{end:?}");
        let found = end.json();
        assert_eq!((&found["linked"], &found["proven"]), (&records.into(), &true.into()), "{stamp}: {end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuilt_state_carries_the_edge_cases_as_the_lost_one_did() {
    let world = World::with(200).await;
    world.backfill().await;
    let records = world.sandbox.firstline().len();
    lose_state(&world);
    rebuilt_and_carried_again(&world, true).await;
    assert_eq!(world.sandbox.firstline().len(), records);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_lost_in_the_middle_of_a_backfill_is_rebuilt_and_the_rest_follows() {
    for creates in [1, 40, 100] {
        let world = World::start(SandboxConfig { contacts: 150, edge_cases: false, ..SandboxConfig::default() }).await;
        let mut process = world.spawn(&["backfill"]);
        assert!(process.until(|| world.sandbox.firstline().tally().contact_create >= creates).await);
        process.kill().await;
        lose_state(&world);
        rebuilt_and_carried_again(&world, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_is_killed_leaves_a_state_that_makes_no_second_copy() {
    for requests in [2, 6, 12, 20] {
        let firstline = FirstLineSwitches { per_page_max: 10, ..FirstLineSwitches::default() };
        let world =
            World::start(SandboxConfig { contacts: 150, edge_cases: false, firstline, ..SandboxConfig::default() })
                .await;
        world.backfill().await;
        lose_state(&world);
        let before = world.sandbox.firstline().dump();
        world.sandbox.firstline().reset_counts();
        let faults = world.sandbox.firstline_faults();
        let upto = faults.requests() + requests;
        let mut process = world.spawn(&["state", "rebuild"]);
        process.until(|| faults.requests() >= upto).await;
        process.kill().await;
        // Without another rebuild: refused while no link is there, else each contact is found by its stamp.
        let end = world.command(&["backfill"]).await;
        assert!(end.code() == Some(0) || (end.code() == Some(2) && end.says("state rebuild")), "{end:?}");
        let end = world.command(&["state", "rebuild"]).await;
        assert_eq!(end.code(), Some(0), "{end:?}");
        let end = world.command(&["backfill"]).await;
        assert_eq!(end.code(), Some(0), "{end:?}");
        let counts = world.sandbox.firstline().tally();
        assert_eq!(counts.writes(), 0, "after {requests} requests: {counts:?}");
        assert_eq!(world.sandbox.firstline().dump(), before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_refused_for_other_addresses() {
    let mut world = World::with(60).await;
    world.backfill().await;
    world.sandbox = Sandbox::start(SandboxConfig { contacts: 60, seed: 2, ..SandboxConfig::default() }).await.unwrap();
    let end = world.command(&["backfill"]).await;
    assert_eq!(end.code(), Some(2), "{end:?}");
    assert!(end.says("account"), "{end:?}");
    assert_eq!(world.sandbox.firstline().tally().writes(), 0);
    let end = world.command(&["state", "rebuild"]).await;
    assert_eq!(end.code(), Some(2), "{end:?}");
}

/// A loopback address that is this process's alone: no connection of another test takes a port that was given up there.
fn own_address() -> IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 77, high, low))
}

/// Other accounts behind the same addresses.
async fn moved_in(mut world: World) -> World {
    let port = |url: String| url::Url::parse(&url).unwrap().port().unwrap();
    let config = SandboxConfig {
        contacts: 60,
        listen: own_address(),
        livedesk_port: port(world.sandbox.livedesk_url()),
        firstline_port: port(world.sandbox.firstline_url()),
        ..SandboxConfig::default()
    };
    let elsewhere = Sandbox::start(SandboxConfig::default()).await.unwrap();
    std::mem::replace(&mut world.sandbox, elsewhere).shut_down().await;
    world.sandbox = Sandbox::start(config).await.unwrap();
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenant_behind_the_same_address_is_refused_before_a_write() {
    let world = World::start(SandboxConfig { contacts: 60, listen: own_address(), ..SandboxConfig::default() }).await;
    world.backfill().await;
    // An empty tenant, then one whose customers have the ids that the state links to.
    let world = moved_in(world).await;
    for customers in [0, 100] {
        world.sandbox.firstline().seed_customers(customers, 5, &[], &[]);
        let end = world.command(&["backfill"]).await;
        assert_eq!(end.code(), Some(2), "{customers}: {end:?}");
        assert!(end.says("another tenant"), "{end:?}");
        assert_eq!(world.sandbox.firstline().tally().writes(), 0);
    }
}
