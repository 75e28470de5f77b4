//! What comes after an undo: one that died in the middle and is followed by something else, a new backfill over what was
//! tagged, marks that stay off, a customer that was to be made again.

use std::collections::BTreeMap;

use deskferry::config::settings::I_UNDERSTAND;
use deskferry::domain::ids::{ChildId, LiveDeskId};
use deskferry::sandbox::faults::{Fault, FaultFilter};
use deskferry::store::{JournalEntry, LinkChild, Origin, Standing, WriteOp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::{Scene, content, kills};

/// Requests of an undo of twelve contacts of whom everything changed: one that is to be killed is killed before that.
const UNDO_REQUESTS: u64 = 50;

/// Everybody is renamed and moves, and drops a number.
fn edit_all(scene: &Scene) {
    for at in 0..scene.ids.len() {
        scene.edit(at, "name", json!(format!("Renamed {at}")));
        scene.edit(at, "email", json!(format!("moved{at}@example.com")));
        scene.edit(at, "phone_number", json!(""));
    }
}

/// An undo that is killed as soon as so many of its requests met this fault.
async fn die(scene: &Scene, args: &[&str], (fault, times): (Fault, u64), only: FaultFilter) {
    let faults = scene.world.sandbox.firstline_faults();
    let before = faults.injected(fault);
    faults.next(fault, 10_000, only);
    let all = [&["undo", "--yes", "--i-understand", I_UNDERSTAND], args].concat();
    let mut undo = scene.world.spawn(&all);
    assert!(undo.until(|| faults.injected(fault) >= before + times).await, "{}", undo.stderr());
    undo.kill().await;
    faults.clear();
}

#[track_caller]
fn assert_content(now: &Value, before: &Value, when: &str) {
    let (now, before): (BTreeMap<_, _>, _) = (content(now), content(before));
    for (id, record) in &before {
        assert_eq!(now.get(id), Some(record), "customer {id} {when}");
    }
    assert_eq!(now.len(), before.len(), "{when}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_after_a_half_done_undo_takes_nothing_that_was_restored_for_an_agents_word() {
    // What fails in the middle, and whether it arrives all the same.
    for (method, path, fault) in [
        ("", "/email-contact/*", Fault::Outage),
        ("", "/email-contact/*", Fault::LostAck),
        ("POST", "/phone-number", Fault::Outage),
        ("POST", "/phone-number", Fault::ResetAfter),
    ] {
        let scene = Scene::new(12, 4).await;
        scene.backfill().await;
        edit_all(&scene);
        scene.backfill().await;
        let carried = scene.dump();
        let methods = if method.is_empty() { Vec::new() } else { vec![method.to_owned()] };
        let only = FaultFilter { methods, path: path.to_owned() };
        let when = format!("after {path} {fault:?}");
        die(&scene, &["2"], (fault, 3), only).await;
        assert_ne!(scene.dump(), carried, "{when}: nothing was taken back");
        scene.backfill().await;
        assert_content(&scene.dump(), &carried, &when);
        scene.backfill().await;
        assert_content(&scene.dump(), &carried, &when);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_was_half_given_back_is_adopted_again_as_it_was() {
    for (run, path) in [("1", "/phone-number/*"), ("2", "/email-contact/*")] {
        let scene = Scene::new(6, 6).await;
        scene.backfill().await;
        if run == "2" {
            edit_all(&scene);
            scene.backfill().await;
        }
        let carried = scene.dump();
        die(&scene, &[run], (Fault::Outage, 3), FaultFilter::on("DELETE", path)).await;
        assert_ne!(scene.dump(), carried, "{path}");
        scene.backfill().await;
        assert_content(&scene.dump(), &carried, path);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_after_an_undo_that_was_killed_at_a_random_point_carries_all_of_it_again() {
    let (mut done, mut seed) = (0, 1_000);
    while done < kills() {
        seed += 1;
        let mut rng = StdRng::seed_from_u64(seed);
        let scene = Scene::new(12, 4).await;
        scene.backfill().await;
        edit_all(&scene);
        scene.backfill().await;
        let carried = scene.dump();
        let counts = scene.world.sandbox.firstline_faults();
        let begun = counts.requests();
        let until = begun + rng.random_range(3..UNDO_REQUESTS);
        let mut process = scene.world.spawn(&["undo", "2", "--yes"]);
        if process.until(|| counts.requests() >= until).await {
            process.kill().await;
            done += 1;
        } else {
            eprintln!("the whole undo took {} requests", counts.requests() - begun);
        }
        scene.backfill().await;
        assert_content(&scene.dump(), &carried, &format!("seed {seed}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_changed_since_stays_through_the_undo_and_the_backfill_after_it() {
    let scene = Scene::new(12, 4).await;
    scene.backfill().await;
    edit_all(&scene);
    scene.backfill().await;
    let carried = content(&scene.dump());
    let firstline = scene.world.sandbox.firstline();
    let [named, emptied] = [scene.target(5).await, scene.target(6).await];
    assert!(firstline.edit(named, "first_name", json!("Agentnamed")));
    assert!(firstline.remove_email(firstline.contact(emptied).unwrap().emails[0].id));
    let end = scene.undo(&["2"]).await;
    assert_eq!((end.code(), &end.json()["kept"]), (Some(1), &json!(2)), "{end:?}");
    scene.backfill().await;
    let mut expected = carried;
    expected.get_mut(&named).unwrap()["first_name"] = json!("Agentnamed");
    expected.get_mut(&emptied).unwrap()["emails"] = json!([]);
    let now = content(&scene.dump());
    for (id, record) in &expected {
        assert_eq!(now.get(id), Some(record), "customer {id}");
    }
    // The next change of LiveDesk goes over it, as it does everywhere.
    scene.edit(5, "name", json!("Third"));
    scene.backfill().await;
    assert_eq!(content(&scene.dump())[&named]["first_name"], json!("Third"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_default_undo_a_backfill_takes_up_what_it_had_made_as_it_was_left() {
    let scene = Scene::new(8, 2).await;
    scene.backfill().await;
    let mut made = Vec::new();
    for at in 2..8 {
        made.push(scene.target(at).await);
    }
    assert_eq!(scene.undo(&["1"]).await.code(), Some(0));
    let firstline = scene.world.sandbox.firstline();
    // An agent has the last word about one of them, LiveDesk goes on with all.
    assert!(firstline.edit(made[0], "last_name", json!("Agentnamed")));
    for at in 2..8 {
        scene.edit(
            at,
            "custom_attributes",
            json!({ "given": format!("Other {at}"), "passport": format!("P{at}"), "points": at }),
        );
        scene.edit(at, "email", json!(format!("moved{at}@example.com")));
        scene.edit(at, "phone_number", json!(""));
    }
    scene.edit(2, "custom_attributes", json!({ "given": "Given 2", "passport": "Q2", "points": 2 }));
    scene.backfill().await;
    let carried = content(&scene.dump());
    for (at, id) in (2..8).zip(&made) {
        let (record, link) = (&carried[id], scene.link(at).await.unwrap());
        assert_eq!((link.target.0.unsigned_abs(), link.origin), (*id, Origin::Created), "{at}");
        let last = if at == 2 { String::from("Agentnamed") } else { format!("Other {at}") };
        assert_eq!(record["last_name"], json!(last), "{at}");
        let emails: Vec<&Value> = record["emails"].as_array().unwrap().iter().map(|row| &row["address"]).collect();
        assert_eq!((emails, &record["phones"]), (vec![&json!(format!("moved{at}@example.com"))], &json!([])), "{at}");
    }
    assert_eq!(carried[&made[0]]["identity_no"], json!("Q2"));

    // Once more: what the second backfill wrote is restored, its links go, and a third one carries all of it again.
    let end = scene.undo(&["3"]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    assert_eq!(content(&scene.dump())[&made[1]]["last_name"], json!("Given 3"));
    scene.backfill().await;
    let again = content(&scene.dump());
    for id in &made {
        assert_eq!(again[id], carried[id], "customer {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_a_run_took_off_stays_off_when_the_run_is_taken_back() {
    for field in [false, true] {
        let mut scene = Scene::new(10, 0).await;
        let mark = if field { "field = 42" } else { "tag = \"gone from LiveDesk\"" };
        let deletes = format!("[deletes]\npolicy = \"tag\"\n{mark}\nceiling_percent = 100.0\ngrace = \"0s\"\n[http]");
        scene.world.choices.instead = vec![("[http]", deletes)];
        scene.backfill().await;
        let plain = scene.dump();
        assert!(scene.world.sandbox.livedesk().delete(scene.ids[3]));
        for _ in 0..2 {
            scene.backfill().await;
        }
        assert_ne!(scene.dump(), plain, "it is marked");
        assert!(scene.world.sandbox.livedesk().restore(scene.ids[3]));
        scene.backfill().await;
        assert_eq!(scene.dump(), plain, "the mark is off again");
        let end = scene.undo(&["4"]).await;
        let told = end.json();
        assert_eq!((end.code(), &told["kept"]), (Some(1), &json!(1)), "{end:?}");
        assert!(
            std::fs::read_to_string(told["list_file"].as_str().unwrap()).unwrap().contains(",mark,kept,"),
            "{told}"
        );
        assert_eq!(scene.dump(), plain);
        assert!(scene.undo(&["4"]).await.out.contains("was taken back already"));
        scene.backfill().await;
        assert_eq!(scene.dump(), plain);
        // The run that put it there can be taken back as well, and nothing is left to take off.
        let store = scene.world.store().await;
        assert_eq!(store.absence_counts().await.unwrap().absent, 0);
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_was_made_again_is_not_made_once_more_after_that_was_taken_back() {
    let scene = Scene::new(6, 0).await;
    scene.backfill().await;
    let firstline = scene.world.sandbox.firstline();
    let gone = scene.link(2).await.unwrap();
    assert!(firstline.delete(scene.target(2).await));
    scene.edit(2, "name", json!("Renamed"));
    assert_eq!(scene.world.command(&["backfill", "--yes"]).await.code(), Some(1));
    let known = scene.link(2).await.unwrap();
    assert_eq!((known.standing, known.target), (Standing::Gone, gone.target));
    let before = scene.dump();
    let id = scene.ids[2].to_string();
    let made = scene.world.command(&["--json", "retry", &id, "--recreate"]).await;
    assert_eq!((made.code(), &made.json()["created"]), (Some(0), &json!(1)), "{made:?}");
    let store = scene.world.store().await;
    let journal = store.journal_of_contact(LiveDeskId(scene.ids[2].cast_signed())).await.unwrap();
    store.close().await;
    assert!(
        journal.iter().any(|row| row.action == "unlink" && row.target == gone.target && row.run.0 == 3),
        "{journal:?}"
    );

    let end = scene.undo(&["3", "--delete-created"]).await;
    assert_eq!((end.code(), &end.json()["deleted"]), (Some(0), &json!(1)), "{end:?}");
    assert_eq!(scene.dump(), before);
    let back = scene.link(2).await.unwrap();
    assert_eq!((back.standing, back.target, &back.base), (Standing::Gone, gone.target, &known.base));
    scene.world.command(&["backfill", "--yes"]).await;
    scene.edit(2, "name", json!("Third"));
    let end = scene.world.command(&["--json", "backfill", "--yes"]).await;
    assert_eq!((&end.json()["created"], scene.dump()), (&json!(0), before), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_died_before_it_made_anything_is_taken_back_although_its_customer_answers_404() {
    let scene = Scene::new(6, 0).await;
    scene.backfill().await;
    assert!(scene.world.sandbox.firstline().delete(scene.target(2).await));
    scene.edit(2, "name", json!("Renamed"));
    assert_eq!(scene.world.command(&["backfill", "--yes"]).await.code(), Some(1));
    scene.world.sandbox.firstline_faults().next(Fault::Throttled, 10_000, FaultFilter::on("POST", "/contact"));
    let faults = scene.world.sandbox.firstline_faults();
    let mut retry = scene.world.spawn(&["retry", &scene.ids[2].to_string(), "--recreate"]);
    assert!(retry.until(|| faults.injected(Fault::Throttled) > 0).await);
    retry.kill().await;
    faults.clear();
    assert_eq!(scene.link(2).await, None);
    let end = scene.undo(&["3"]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    assert_eq!(scene.link(2).await.unwrap().standing, Standing::Gone);
    // Its create, which never arrived, is not waited for any more.
    let again = scene.world.command(&["--json", "backfill", "--yes"]).await;
    assert_eq!((&again.json()["parked"], &again.json()["created"]), (&json!(0), &json!(0)), "{again:?}");
    let store = scene.world.store().await;
    assert_eq!(store.check().await.unwrap().problems(), Vec::<String>::new());
    store.close().await;
}

/// Whether anything stands in the journal of so many contacts that says that their customer was deleted.
async fn deletions(scene: &Scene) -> usize {
    let store = scene.world.store().await;
    let mut found = 0;
    for id in &scene.ids {
        let journal = store.journal_of_contact(LiveDeskId(id.cast_signed())).await.unwrap();
        found += journal.iter().filter(|row| row.action == "delete").count();
    }
    store.close().await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_is_refused_is_none_and_the_link_stays_as_it_was() {
    let scene = Scene::new(6, 0).await;
    scene.backfill().await;
    let link = scene.link(2).await.unwrap();
    let firstline = scene.world.sandbox.firstline();
    let mut switches = firstline.switches();
    switches.delete_contact_status = 403;
    firstline.set_switches(switches.clone());
    let end = scene.undo(&["1", "--delete-created"]).await;
    assert_eq!((end.code(), &end.json()["left"]), (Some(1), &json!(6)), "{end:?}");
    assert_eq!((scene.link(2).await, deletions(&scene).await), (Some(link), 0));
    // An agent deletes one of them: it is gone, and not made again as one of ours would be.
    let (released, target) = (scene.world.command(&["undo", "--release"]).await, scene.target(2).await);
    assert_eq!(released.code(), Some(0));
    assert!(firstline.delete(target));
    scene.edit(2, "name", json!("Renamed"));
    for _ in 0..2 {
        scene.world.command(&["backfill", "--yes"]).await;
    }
    assert_eq!((scene.link(2).await.unwrap().standing, firstline.len()), (Standing::Gone, super::EARLIER + 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_404_is_no_deletion_that_died_where_no_customer_can_be_read_by_its_id() {
    let scene = Scene::new(4, 0).await;
    let firstline = scene.world.sandbox.firstline();
    firstline.contacts().iter().for_each(|customer| assert!(firstline.delete(customer.id)));
    let before = scene.dump();
    let by_id_is_late = |writes: u64| {
        let mut switches = firstline.switches();
        switches.get_lag_writes = writes;
        firstline.set_switches(switches);
    };
    by_id_is_late(100_000);
    scene.backfill().await;
    by_id_is_late(0);
    // The first undo dies as its deletions are sent, and they never arrive.
    let deletion = FaultFilter::on("DELETE", "/contact/*");
    while deletions(&scene).await < 4 {
        die(&scene, &["1", "--delete-created"], (Fault::Outage, 4), deletion.clone()).await;
    }
    by_id_is_late(100_000);
    let blind = scene.undo(&["1", "--delete-created"]).await;
    assert_eq!(
        (blind.code(), &blind.json()["deleted"], &blind.json()["left"]),
        (Some(1), &json!(0), &json!(4)),
        "{blind:?}"
    );
    assert_eq!(blind.json()["contacts"], json!(4), "each is counted once");
    assert!(scene.link(0).await.is_some());
    by_id_is_late(0);
    let end = scene.undo(&["1", "--delete-created"]).await;
    assert_eq!((end.code(), &end.json()["deleted"]), (Some(0), &json!(4)), "{end:?}");
    assert_eq!(scene.dump(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_deletion_of_an_undo_that_died_is_believed_although_nothing_of_ours_is_left() {
    for earlier in [true, false] {
        let scene = Scene::new(1, 0).await;
        let firstline = scene.world.sandbox.firstline();
        if !earlier {
            firstline.contacts().iter().for_each(|customer| assert!(firstline.delete(customer.id)));
        }
        let before = scene.dump();
        scene.backfill().await;
        let deletion = FaultFilter::on("DELETE", "/contact/*");
        die(&scene, &["1", "--delete-created"], (Fault::Outage, 1), deletion).await;
        assert_eq!(deletions(&scene).await, 1);
        assert!(firstline.delete(scene.target(0).await));
        let end = scene.undo(&["1", "--delete-created"]).await;
        assert_eq!((end.code(), &end.json()["deleted"]), (Some(0), &json!(1)), "{end:?}");
        assert_eq!((scene.dump(), scene.link(0).await), (before, None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_a_half_done_undo_took_off_is_put_on_again_and_still_known_for_ours() {
    for fault in [Fault::LostAck, Fault::Outage] {
        let mut scene = Scene::new(10, 0).await;
        let deletes = "[deletes]\npolicy = \"tag\"\ntag = \"gone from LiveDesk\"\nceiling_percent = 100.0\n[http]";
        scene.world.choices.instead = vec![("[http]", deletes.to_owned())];
        scene.backfill().await;
        let plain = scene.dump();
        assert!(scene.world.sandbox.livedesk().delete(scene.ids[3]));
        for _ in 0..2 {
            scene.backfill().await;
        }
        let marked = scene.dump();
        assert_ne!(marked, plain);
        let methods = vec![String::from("POST"), String::from("PUT")];
        let only = FaultFilter { methods, path: format!("/contact/{}", scene.target(3).await) };
        die(&scene, &["3"], (fault, 1), only).await;
        assert_eq!(scene.dump() == plain, fault == Fault::LostAck);
        scene.backfill().await;
        assert_eq!(scene.dump(), marked, "{fault:?}");
        assert!(scene.world.sandbox.livedesk().restore(scene.ids[3]));
        scene.backfill().await;
        assert_eq!(scene.dump(), plain, "{fault:?}: the mark was ours to take off");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_whose_create_arrives_after_its_run_was_taken_back_stops_no_later_run() {
    let mut scene = Scene::new(1, 1).await;
    scene.world.choices.doubt_horizon = "1h";
    let faults = scene.world.sandbox.firstline_faults();
    faults.next(Fault::Reset, 1, FaultFilter::on("POST", "/phone-number"));
    let first = scene.world.command(&["backfill", "--yes", "--no-wait"]).await;
    assert_eq!(first.code(), Some(1), "{first:?}");
    let target = scene.target(0).await;
    let end = scene.undo(&["1", "--no-wait"]).await;
    assert_eq!((&end.json()["in_doubt"], scene.link(0).await), (&json!(1), None), "{end:?}");
    let firstline = scene.world.sandbox.firstline();
    firstline.add_phone(target, "+886900000000").unwrap();
    let end = scene.undo(&["1", "--no-wait"]).await;
    assert_eq!((end.code(), &end.json()["rows_removed"]), (Some(0), &json!(1)), "{end:?}");
    assert_eq!(scene.dump(), scene.before);
    scene.backfill().await;
    assert_eq!(scene.target(0).await, target);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_that_waits_for_the_state_sees_what_was_built_upon_its_run_meanwhile() {
    let scene = Scene::new(3, 0).await;
    scene.backfill().await;
    let carried = scene.dump();
    let store = scene.world.store().await;
    let mut undo = scene.world.spawn(&["undo", "1", "--yes", "--wait"]);
    let waits = || undo_says(&scene, "waiting until it ends");
    assert!(undo.until(waits).await, "{}", undo.stderr());
    // Whoever has the state carries one of the contacts meanwhile.
    let id = LiveDeskId(scene.ids[1].cast_signed());
    let later = store.begin_run("sync", &json!({})).await.unwrap();
    let first = store.journal_of_contact(id).await.unwrap().remove(0);
    store.write(vec![WriteOp::Journal(JournalEntry { run: later, ..first })]).await.unwrap();
    store.close().await;
    let end = undo.end().await;
    assert!(end.code() == Some(2) && end.err.contains(&format!("deskferry undo {later}   (sync, 1 of")), "{end:?}");
    assert_eq!(scene.dump(), carried);
    let store = scene.world.store().await;
    assert_eq!(store.hold().await.unwrap(), None);
    store.close().await;
}

fn undo_says(scene: &Scene, text: &str) -> bool {
    std::fs::read_to_string(scene.world.folder().join("stderr")).unwrap_or_default().contains(text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_a_run_deleted_for_good_does_not_keep_the_runs_before_it_from_being_taken_back() {
    let mut scene = Scene::new(10, 2).await;
    let deletes = format!(
        "[deletes]\npolicy = \"delete\"\nceiling_percent = 100.0\ngrace = \"0s\"\ni_understand = \"{I_UNDERSTAND}\"\n[http]"
    );
    scene.world.choices.instead = vec![("[http]", deletes)];
    scene.backfill().await;
    assert!(scene.world.sandbox.livedesk().delete(scene.ids[3]));
    for _ in 0..2 {
        scene.backfill().await;
    }
    assert_eq!(deletions(&scene).await, 1);
    let end = scene.undo(&["1", "--delete-created"]).await;
    assert!(end.code() == Some(2) && end.err.contains("deskferry undo 3   (backfill, 1 of"), "{end:?}");
    let end = scene.undo(&["3"]).await;
    assert_eq!((end.code(), &end.json()["kept"]), (Some(1), &json!(1)), "{end:?}");
    assert_eq!(scene.link(3).await, None);
    let end = scene.undo(&["1", "--delete-created"]).await;
    assert_eq!((end.code(), &end.json()["deleted"], &end.json()["gone"]), (Some(0), &json!(7), &json!(1)), "{end:?}");
    assert_eq!(scene.dump(), scene.before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_one_run_removed_and_hung_on_again_is_there_after_it_was_taken_back() {
    let scene = Scene::new(2, 0).await;
    scene.backfill().await;
    let carried = scene.dump();
    let firstline = scene.world.sandbox.firstline();
    let (target, id) = (scene.target(0).await, LiveDeskId(scene.ids[0].cast_signed()));
    // LiveDesk took the address away and gave it back while the second run went on.
    let first = firstline.contact(target).unwrap().emails[0].id;
    assert!(firstline.remove_email(first));
    let second = firstline.add_email(target, "person0@example.com").unwrap();
    let store = scene.world.store().await;
    let run = store.begin_run("backfill", &json!({})).await.unwrap();
    let row = store.children_of(id).await.unwrap().into_iter().find(|row| row.child.0.unsigned_abs() == first).unwrap();
    let model = store.journal_of_contact(id).await.unwrap().remove(0);
    let before = json!({ "emails": [{ "id": first, "address": "person0@example.com" }] }).to_string();
    let removed = json!({ "added": [], "changed": [], "removed": [["email", first]] }).to_string();
    let added = json!({ "added": [["email", second, row.key.to_string()]], "changed": [], "removed": [] }).to_string();
    let entry = |before: String, after: String| {
        let model = model.clone();
        WriteOp::Journal(JournalEntry { run, before, after: Some(after), link_before: None, ..model })
    };
    let again = LinkChild { child: ChildId(second.cast_signed()), ..row };
    store.write(vec![entry(before, removed), WriteOp::PutChild(again)]).await.unwrap();
    store.write(vec![entry(String::from("{}"), added)]).await.unwrap();
    store.close().await;
    let end = scene.undo(&[&run.to_string()]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    super::assert_same(&scene.dump(), &carried);
    scene.backfill().await;
    super::assert_same(&scene.dump(), &carried);
}
