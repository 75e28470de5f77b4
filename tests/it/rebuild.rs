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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stamp_that_an_agent_typed_over_is_a_conflict_and_no_other_tenant() {
    let world = World::start(SandboxConfig { contacts: 20, edge_cases: false, ..SandboxConfig::default() }).await;
    world.backfill().await;
    let mut contacts = world.sandbox.livedesk().listed_ids();
    contacts.sort_unstable();
    let mut carried = contacts.into_iter().filter_map(|id| Some((id, stamped(&world, id).pop()?)));
    let (lowest, other) = (carried.next().unwrap(), carried.next().unwrap());
    assert!(world.sandbox.firstline().edit(lowest.1, "membership_no", "LD-77".into()));
    for (id, _) in [lowest, other] {
        assert!(world.sandbox.livedesk().edit(id, |row| drop(row.insert("name".into(), "王大明".into()))));
    }
    let end = world.command(&["--json", "backfill"]).await;
    assert_eq!(end.code(), Some(1), "{end:?}");
    assert_eq!((&end.json()["updated"], &end.json()["conflicts"]), (&1.into(), &1.into()), "{end:?}");
}

/// Customers that carry a contact's stamp.
fn stamped(world: &World, contact: u64) -> Vec<u64> {
    let stamp = format!("LD-{contact}");
    let all = world.sandbox.firstline().contacts();
    all.iter().filter(|row| row.membership_no.as_deref() == Some(stamp.as_str())).map(|row| row.id).collect()
}

async fn rebuilt(world: &World, code: i32) -> serde_json::Value {
    let end = world.command(&["--json", "state", "rebuild"]).await;
    assert_eq!(end.code(), Some(code), "{end:?}");
    end.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_was_made_again_since_an_export_takes_the_place_of_the_one_that_is_gone() {
    let world = World::start(SandboxConfig { contacts: 20, edge_cases: false, ..SandboxConfig::default() }).await;
    let (livedesk, firstline) = (world.sandbox.livedesk(), world.sandbox.firstline());
    world.backfill().await;
    let export = world.folder().join("export.jsonl").to_str().unwrap().to_owned();
    assert_eq!(world.command(&["state", "export", "-o", &export]).await.code(), Some(0));
    let contacts = livedesk.listed_ids();
    let again = contacts.iter().copied().find(|id| !stamped(&world, *id).is_empty()).unwrap();
    assert!(livedesk.edit(again, |row| drop(row.insert("name".into(), "王大明".into()))));
    let first = stamped(&world, again)[0];
    assert!(firstline.delete(first));
    assert_eq!(world.command(&["backfill", "--yes"]).await.code(), Some(1));
    assert_eq!(world.command(&["retry", &again.to_string(), "--recreate"]).await.code(), Some(0));
    let second = stamped(&world, again);
    assert!(second.len() == 1 && second[0] != first, "{second:?}");

    lose_state(&world);
    assert_eq!(world.command(&["state", "import", &export]).await.code(), Some(0));
    let before = firstline.dump();
    let found = rebuilt(&world, 0).await;
    assert_eq!((&found["relinked"], &found["linked"], &found["twins"]), (&1.into(), &0.into(), &0.into()), "{found}");
    assert_eq!(firstline.dump(), before);
    let told = world.command(&["--json", "explain", &again.to_string()]).await.json();
    assert_eq!((&told["link"]["firstline_id"], &told["conflict"]), (&second[0].into(), &serde_json::Value::Null));
    // What hung on the one that is gone is not taken for a part of the other.
    assert_eq!((&told["link"]["emails"], &told["link"]["phones"]), (&0.into(), &0.into()), "{told}");
    world.backfill().await;
    assert_eq!(firstline.dump(), before);
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twins_are_a_conflict_while_both_are_there_and_none_once_one_is_deleted() {
    let world = World::start(SandboxConfig { contacts: 20, edge_cases: false, ..SandboxConfig::default() }).await;
    let firstline = world.sandbox.firstline();
    world.backfill().await;
    let contact =
        world.sandbox.livedesk().listed_ids().into_iter().find(|id| !stamped(&world, *id).is_empty()).unwrap();
    let first = stamped(&world, contact)[0];
    let twin = serde_json::json!({ "first_name": "Twin", "membership_no": format!("LD-{contact}") });
    let twin = firstline.add_contact(&twin, &[], &[], &[]);
    // The one that is linked cannot be read now: nobody knows whether it is there.
    firstline.set_switches(FirstLineSwitches { unreadable_ids: vec![first], ..FirstLineSwitches::default() });
    assert_eq!(rebuilt(&world, 1).await["twins"], 1);
    firstline.set_switches(FirstLineSwitches::default());
    assert_eq!(rebuilt(&world, 1).await["twins"], 1);
    let listed = world.command(&["conflicts", "list"]).await;
    assert!(listed.says(&format!("contact {contact}: twins (stamp); candidates {first}, {twin}")), "{listed:?}");
    assert!(firstline.delete(first));
    let found = rebuilt(&world, 0).await;
    assert_eq!((&found["relinked"], &found["twins"]), (&1.into(), &0.into()), "{found}");
    assert!(world.command(&["conflicts", "list"]).await.says("no conflicts"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stamp_that_a_merge_brought_to_another_contacts_customer_links_nobody_to_it() {
    let mut world = World::start(SandboxConfig { contacts: 20, edge_cases: false, ..SandboxConfig::default() }).await;
    world.choices.match_keys = r#"["email"]"#;
    let (livedesk, firstline) = (world.sandbox.livedesk().clone(), world.sandbox.firstline().clone());
    let adopted = livedesk.add_contact(serde_json::json!({ "name": "陳小華", "email": "hua@example.com" }));
    let prior = serde_json::json!({ "first_name": "林", "membership_no": "M-1" });
    let prior = firstline.add_contact(&prior, &["hua@example.com"], &[], &[]);
    world.backfill().await;
    let contact = livedesk.listed_ids().into_iter().find(|id| !stamped(&world, *id).is_empty()).unwrap();
    let gone = stamped(&world, contact)[0];
    assert!(firstline.edit(prior, "membership_no", serde_json::Value::Null) && firstline.merge(prior, gone));
    for (code, foreign, known) in [(1, 1, false), (0, 0, true)] {
        let found = rebuilt(&world, code).await;
        let counts = (&found["foreign"], &found["relinked"], &found["linked"], &found["twins"]);
        assert_eq!(counts, (&foreign.into(), &0.into(), &0.into(), &0.into()), "noticed: {known}");
        let store = world.store().await;
        let id = deskferry::domain::ids::LiveDeskId(adopted.cast_signed());
        let link = store.links_for(&[id]).await.unwrap().remove(&id).unwrap();
        assert_eq!((link.target.0, link.base.is_empty()), (prior.cast_signed(), false));
        store.close().await;
        // A run that has to write to it notices the merge; from then on the link is an alias, and stays one.
        assert!(livedesk.edit(contact, |row| drop(row.insert("name".into(), "王大明".into()))));
        world.backfill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_that_an_undo_left_standing_are_known_after_a_rebuild_as_they_were() {
    for rebuilds in [false, true] {
        let world = World::start(SandboxConfig { contacts: 20, edge_cases: false, ..SandboxConfig::default() }).await;
        let (livedesk, firstline) = (world.sandbox.livedesk(), world.sandbox.firstline());
        world.backfill().await;
        let contact = livedesk.listed_ids().into_iter().find(|id| !stamped(&world, *id).is_empty()).unwrap();
        let end = world.command(&["undo", "1", "--yes"]).await;
        assert_eq!(end.code(), Some(0), "{end:?}");
        assert!(livedesk.edit(contact, |row| drop(row.insert("name".into(), "王大明".into()))));
        if rebuilds {
            assert_eq!(rebuilt(&world, 0).await["linked"], firstline.len() as u64);
        }
        let end = world.command(&["backfill", "--yes"]).await;
        assert_eq!(end.code(), Some(0), "{end:?}");
        let row = firstline.contact(stamped(&world, contact)[0]).unwrap();
        assert_eq!((row.first_name.as_str(), row.last_name.as_deref()), ("王", Some("大明")), "rebuilt: {rebuilds}");
    }
}
