//! The main job on both simulated platforms: economy, adoption, selection, what is set aside.

use deskferry::domain::sweep::Verdict;
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::firstline::FirstLineSwitches;
use deskferry::sync::pipeline::Entrants;
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_listed_contact_is_there_exactly_once_with_its_mapped_values() {
    let world = World::with(400).await;
    let end = world.backfill().await;
    let sweep = end.summary.sweep.clone().unwrap();
    assert_eq!(sweep.verdict, Verdict::Proven, "{sweep:?}");
    world.assert_right().await;
    assert_eq!(end.summary.exit_code(), u8::from(end.summary.set_aside > 0), "{:?}", end.summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_target_costs_one_create_per_contact_and_child_and_no_look_up() {
    let world = World::with(400).await;
    let end = world.backfill().await;
    let counts = world.sandbox.firstline().tally();
    assert_eq!(counts.contact_create, end.summary.created + end.summary.set_aside);
    assert_eq!(counts.contact_get, 0);
    assert_eq!(counts.lookups, 0);
    assert_eq!(counts.contact_update, 0);
    assert!(counts.contact_list <= 4, "{counts:?}");
    let records = world.sandbox.firstline().contacts();
    let emails: usize = records.iter().map(|record| record.emails.len()).sum();
    assert_eq!(counts.email_create, emails as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_with_nothing_changed_writes_nothing_and_asks_for_no_contact() {
    let world = World::with(400).await;
    world.backfill().await;
    world.sandbox.firstline().reset_counts();
    let end = world.backfill().await;
    let counts = world.sandbox.firstline().tally();
    assert_eq!(counts.writes(), 0, "{counts:?}");
    assert_eq!(counts.contact_get, 3.min(counts.contact_get), "only the witnesses of the account: {counts:?}");
    assert_eq!(end.summary.created + end.summary.updated + end.summary.adopted, 0);
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_carries_no_more_than_that() {
    let world = World::with(200).await;
    let (_, end) = world.run(Entrants::First(20)).await.unwrap();
    assert!(end.failure.is_none());
    assert_eq!(end.summary.handled(), 20);
    assert!(world.sandbox.firstline().len() <= 20);
    world.backfill().await;
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_new_contacts_does_not_read_the_targets_lists() {
    let world = World::with(400).await;
    world.backfill().await;
    world.sandbox.firstline().reset_counts();
    world.backfill().await;
    let counts = world.sandbox.firstline().tally();
    assert_eq!(counts.email_list + counts.phone_list, 0, "{counts:?}");
    assert!(counts.contact_list <= 2, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_known_not_to_be_carried_makes_no_run_read_the_targets_lists_for_one_new_contact() {
    let firstline = FirstLineSwitches { per_page_max: 10, ..FirstLineSwitches::default() };
    let config = SandboxConfig { contacts: 200, edge_cases: false, firstline, ..SandboxConfig::default() };
    let world = World::start(config).await;
    let livedesk = world.sandbox.livedesk();
    for number in 0..60 {
        let email = format!("blocked{number}@example.com");
        livedesk.add_contact(json!({ "name": format!("Blocked {number}"), "email": email, "blocked": true }));
    }
    let first = world.backfill().await.summary;
    assert!(first.not_selected >= 60, "{first:?}");
    livedesk.add_contact(json!({ "name": "Nova Lin", "email": "nova@example.com" }));
    world.sandbox.firstline().reset_counts();
    assert_eq!(world.backfill().await.summary.created, 1);
    let counts = world.sandbox.firstline().tally();
    assert!(counts.contact_list + counts.email_list + counts.phone_list < 20, "{counts:?}");
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_read_is_set_aside_and_forgotten_once_it_can() {
    let world = World::start(SandboxConfig { contacts: 40, edge_cases: false, ..SandboxConfig::default() }).await;
    let id = world.sandbox.livedesk().add_contact(serde_json::json!({ "name": "Row Odd", "email": "odd@example.com" }));
    world.sandbox.livedesk().edit(id, |row| drop(row.insert("name".into(), serde_json::json!({ "not": "a text" }))));
    let end = world.backfill().await;
    assert_eq!((end.summary.set_aside, end.summary.exit_code()), (1, 1), "{:?}", end.summary.reasons);
    let letters = async || {
        let store = world.store().await;
        let letters = store.dead_letters().await.unwrap();
        store.close().await;
        letters.len()
    };
    assert_eq!(letters().await, 1);
    world.sandbox.livedesk().edit(id, |row| drop(row.insert("name".into(), serde_json::json!("Row Even"))));
    let end = world.backfill().await;
    assert_eq!((end.summary.set_aside, end.summary.created, letters().await), (0, 1, 0), "{:?}", end.summary);
    world.assert_right().await;
}
