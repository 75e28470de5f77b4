//! Failures over time: what was set aside is tried again by later runs, in its time, and given up in the end.

use std::sync::Arc;

use deskferry::app;
use deskferry::domain::ids::LiveDeskId;
use deskferry::domain::outcome::SetAsideKind;
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::firstline::FirstLineSwitches;
use deskferry::sandbox::livedesk::LiveDeskSwitches;
use deskferry::store::{DeadLetter, RunResult};
use deskferry::sync::directory::LazyDirectory;
use deskferry::sync::pipeline::Entrants;
use deskferry::sync::summary::Summary;
use serde_json::json;

use crate::unhappy::{program, text};
use crate::world::World;

/// A tenant that refuses long names, and a contact that has one.
async fn world_with_a_refused_contact(failures: &str) -> (World, u64) {
    let firstline = FirstLineSwitches { name_max: 24, ..FirstLineSwitches::default() };
    let config = SandboxConfig { contacts: 0, edge_cases: false, firstline, ..SandboxConfig::default() };
    let mut world = World::start(config).await;
    world.choices.instead = vec![("[http]", format!("[failures]\n{failures}\n[http]"))];
    let livedesk = world.sandbox.livedesk();
    let id = livedesk.add_contact(json!({ "name": "Maximiliana-Josephine-Karoline Lin", "email": "maxi@example.com" }));
    livedesk.add_contact(json!({ "name": "Ben Lin", "email": "ben@example.com" }));
    (world, id)
}

async fn letter(world: &World) -> Option<DeadLetter> {
    let store = world.store().await;
    let letters = store.dead_letters().await.unwrap();
    store.close().await;
    assert!(letters.len() <= 1, "{letters:?}");
    letters.into_iter().next()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_is_left_alone_until_its_time_unless_the_contact_changes() {
    let (world, id) = world_with_a_refused_contact("").await;
    assert_eq!(world.backfill().await.summary.set_aside, 1);
    let first = letter(&world).await.unwrap();
    let wait_ms = first.next_at.0 - first.last_at.0;
    assert!((900_000..=1_125_000).contains(&wait_ms), "{wait_ms}");
    world.sandbox.firstline().reset_counts();
    let end = world.backfill().await;
    assert_eq!((end.summary.set_aside, end.summary.exit_code()), (1, 1), "it is still told of");
    assert_eq!(world.sandbox.firstline().tally().writes(), 0);
    assert_eq!(letter(&world).await.unwrap(), first, "not tried, not touched");
    world.sandbox.livedesk().edit(id, |contact| drop(contact.insert("name".into(), json!("Maxi Lin"))));
    let end = world.backfill().await;
    assert_eq!((end.summary.created, end.summary.exit_code()), (1, 0), "{:?}", end.summary);
    assert_eq!(letter(&world).await, None);
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_again_and_again_is_given_up_until_something_changes() {
    let failures = "retry_first = \"1ms\"\nretry_ceiling = \"1ms\"\npoison_after = 3";
    let (mut world, id) = world_with_a_refused_contact(failures).await;
    for attempt in 1..=3 {
        world.backfill().await;
        let letter = letter(&world).await.unwrap();
        assert_eq!((letter.attempts, letter.poisoned_at.is_some()), (attempt, attempt == 3));
    }
    let poisoned = letter(&world).await.unwrap();
    assert_eq!((poisoned.kind, poisoned.field.as_deref()), (SetAsideKind::Refused, Some("last_name")));
    assert_eq!(world.backfill().await.summary.set_aside, 1);
    assert_eq!(letter(&world).await.unwrap(), poisoned, "given up: no run tries it by itself");
    let output = program(&world, &["--json", "status"]).output().await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["poisoned"], 1);
    assert_eq!((&status["failures"][0]["poisoned"], &status["failures"][0]["samples"]), (&json!(1), &json!([id])));
    let output = program(&world, &["status"]).output().await.unwrap();
    let line = format!("1 x refused last_name (422): FIRST LINE refused it, 1 of them given up (contacts {id})");
    assert!(text(&output.stdout).contains(&line), "{}", text(&output.stdout));

    // Another name, refused as well: it begins anew.
    let name = json!("Maximiliana-Josephine-Karolina Lin");
    world.sandbox.livedesk().edit(id, |contact| drop(contact.insert("name".into(), name)));
    world.backfill().await;
    let anew = letter(&world).await.unwrap();
    assert_eq!((anew.attempts, anew.poisoned_at, anew.first_at), (1, None, poisoned.first_at));
    for _ in 0..2 {
        world.backfill().await;
    }
    assert!(letter(&world).await.unwrap().poisoned_at.is_some());
    // A line more in the mapping is another mapping.
    let fixtures = "# Invented contacts";
    let (lines, _) = world.mapping.split_once(fixtures).unwrap();
    world.mapping = format!("{lines}\n[[phones]]\nvalue = \"identifier | phone\"\n");
    world.backfill().await;
    let anew = letter(&world).await.unwrap();
    assert_eq!((anew.attempts, anew.poisoned_at), (1, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_tries_what_was_given_up() {
    let (world, _) = world_with_a_refused_contact("poison_after = 1").await;
    world.backfill().await;
    assert!(letter(&world).await.unwrap().poisoned_at.is_some());
    let output = program(&world, &["--json", "retry"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let again = letter(&world).await.unwrap();
    assert_eq!((again.attempts, again.poisoned_at.is_some()), (2, true), "it was tried, and is given up again");
    world.sandbox.firstline().set_switches(FirstLineSwitches::default());
    let output = program(&world, &["--json", "retry"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(letter(&world).await, None);
    world.assert_right().await;
}

/// What a run that does not see everybody does about what was set aside.
async fn carry_due(world: &World) -> Summary {
    let (settings, around, mapping) = (world.settings(), world.surroundings(), world.compiled().await);
    let store = world.store().await;
    let learned = app::learned(&store).await.unwrap();
    let platforms = app::connect(&settings, false, &learned, &around).unwrap();
    let run = store.begin_run("sync", &json!({})).await.unwrap();
    let pipeline = app::pipeline(&settings, &platforms, store.clone(), mapping, &around, run).await.unwrap();
    let mut summary = Summary::default();
    let directory = Arc::new(LazyDirectory::new(false, 1));
    pipeline.carry_due(&directory, &mut summary).await.unwrap();
    store.finish_run(run, RunResult { exit_code: 0, verdict: None, counts: json!({}) }).await.unwrap();
    drop(pipeline);
    store.close().await;
    summary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_does_not_see_everybody_tries_what_is_due_by_id_and_nothing_else() {
    let (world, id) = world_with_a_refused_contact("").await;
    world.backfill().await;
    let asked = world.sandbox.livedesk_faults().requests();
    assert_eq!(carry_due(&world).await.handled(), 0, "its time has not come");
    assert_eq!(world.sandbox.livedesk_faults().requests(), asked, "LiveDesk was not asked");
    assert!(world.sandbox.livedesk().contact(id).is_some());

    let failures = "retry_first = \"1ms\"\nretry_ceiling = \"1ms\"";
    let (world, _) = world_with_a_refused_contact(failures).await;
    world.backfill().await;
    let summary = carry_due(&world).await;
    assert_eq!((summary.handled(), summary.set_aside), (1, 1), "tried, and refused again: {summary:?}");
    assert_eq!(letter(&world).await.unwrap().attempts, 2);
    // Where LiveDesk reads nobody by id it would take a walk over everybody: that is the sweep's.
    let livedesk = world.sandbox.livedesk();
    livedesk.set_switches(LiveDeskSwitches { by_id: false, ..livedesk.switches() });
    assert_eq!(carry_due(&world).await.handled(), 0);
    livedesk.set_switches(LiveDeskSwitches { by_id: true, ..livedesk.switches() });

    world.sandbox.firstline().set_switches(FirstLineSwitches::default());
    let summary = carry_due(&world).await;
    assert_eq!((summary.handled(), summary.created), (1, 1), "{summary:?}");
    assert_eq!(letter(&world).await, None);
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_and_gone_from_livedesk_is_told_once_and_struck_out() {
    let failures = "retry_first = \"1ms\"\nretry_ceiling = \"1ms\"\npoison_after = 3";
    let (world, id) = world_with_a_refused_contact(failures).await;
    world.backfill().await;
    world.sandbox.livedesk().delete(id);
    let summary = carry_due(&world).await;
    assert_eq!(summary.set_aside_rows[0].reason.kind, SetAsideKind::Gone, "{summary:?}");
    assert_eq!(letter(&world).await, None, "nobody is left to be tried");
    assert_eq!(carry_due(&world).await.handled(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_set_aside_and_is_gone_is_struck_out_after_two_proven_sweeps_where_nobody_is_read_by_id() {
    let (world, id) = world_with_a_refused_contact("").await;
    let livedesk = world.sandbox.livedesk();
    livedesk.set_switches(LiveDeskSwitches { by_id: false, ..livedesk.switches() });
    world.backfill().await;
    livedesk.delete(id);
    assert_eq!(world.backfill().await.summary.absence.letters, 0, "one look is not enough");
    assert!(letter(&world).await.is_some());
    assert_eq!(world.backfill().await.summary.absence.letters, 1);
    assert_eq!(letter(&world).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_contact_that_livedesk_cannot_show_by_id_keeps_nobody_else_from_being_tried() {
    for status in [410, 422, 500, 504] {
        let failures = "retry_first = \"1ms\"\nretry_ceiling = \"1ms\"";
        let (world, first) = world_with_a_refused_contact(failures).await;
        let livedesk = world.sandbox.livedesk();
        let long = "Maximiliana-Josephine-Karoline Chen";
        let other = livedesk.add_contact(json!({ "name": long, "email": "chen@example.com" }));
        assert_eq!(world.backfill().await.summary.set_aside, 2);
        world.sandbox.firstline().set_switches(FirstLineSwitches::default());
        livedesk.set_switches(LiveDeskSwitches { by_id_fails: [(first, status)].into(), ..livedesk.switches() });
        let summary = carry_due(&world).await;
        assert_eq!((summary.created, summary.set_aside), (1, 1), "{status}: {summary:?}");
        let row = &summary.set_aside_rows[0];
        assert_eq!(row.reason.kind, SetAsideKind::Unproven, "{status}: it is not called gone");
        let left = letter(&world).await.unwrap();
        assert_eq!(left.livedesk_id.0.unsigned_abs(), first, "{status}");
        assert_eq!(left.attempts, 2, "{status}: it waits like any that was tried");
        // Asked for by its id, it is told of and the others are carried.
        let ids = [first, other].map(|id| LiveDeskId(id.try_into().unwrap()));
        let (_, end) = world.run(Entrants::Only(ids.into())).await.unwrap();
        assert!(end.failure.is_none(), "{status}: {:?}", end.failure);
        assert_eq!((end.summary.set_aside, end.summary.unchanged), (1, 1), "{status}: {:?}", end.summary);
    }
}
