//! What was in doubt when a run was taken back, and contacts that have to wait for one another.

use deskferry::domain::ids::{FirstLineId, LiveDeskId, RunId};
use deskferry::sandbox::faults::{Fault, FaultFilter, NextFault};
use deskferry::store::{Conflict, Decision, IntentState, Origin, WriteOp};
use serde_json::json;

use super::{Scene, assert_same, content};

fn creates() -> FaultFilter {
    FaultFilter::on("POST", "/contact")
}

fn livedesk_id(scene: &Scene, at: usize) -> LiveDeskId {
    LiveDeskId(scene.ids[at].cast_signed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_whose_create_was_found_later_is_deleted_with_the_company_that_went_along() {
    let mut scene = Scene::new(3, 0).await;
    scene.world.mapping = format!("companies = \"link\"\n{}", scene.world.mapping);
    let firstline = scene.world.sandbox.firstline();
    firstline.add_company("Alpha", None, &[]);
    let mut switches = firstline.switches();
    // What a create made is not found at once, so that its doubt is settled at the end.
    (switches.companies_shown, switches.search_lag_writes) = (true, 1_000);
    firstline.set_switches(switches);
    for at in 0..3 {
        scene.edit(at, "additional_attributes", json!({ "company": "Alpha" }));
    }
    scene.world.sandbox.firstline_faults().next(Fault::LostAck, 2, creates());
    scene.backfill().await;
    let companies: Vec<_> =
        content(&scene.dump()).into_values().filter(|row| row["company_ids"] != json!([])).collect();
    assert_eq!(companies.len(), 3);
    let store = scene.world.store().await;
    let mut found = 0;
    for at in 0..3 {
        let journal = store.journal_of_contact(livedesk_id(&scene, at)).await.unwrap();
        found += journal.iter().filter(|row| row.why == "its answer was lost, and its stamp found").count();
    }
    store.close().await;
    assert_eq!(found, 2, "two were found at the end");
    let end = scene.undo(&["1", "--delete-created"]).await;
    assert_eq!((end.code(), &end.json()["deleted"]), (Some(0), &json!(3)), "{end:?}");
    assert_eq!(scene.dump(), scene.before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_that_somebody_gave_to_a_customer_found_later_keeps_it() {
    let mut scene = Scene::new(1, 0).await;
    let firstline = scene.world.sandbox.firstline();
    let mut switches = firstline.switches();
    (switches.companies_shown, switches.search_lag_writes) = (true, 1_000);
    firstline.set_switches(switches);
    let (alpha, beta) = (firstline.add_company("Alpha", None, &[]), firstline.add_company("Beta", None, &[]));
    scene.world.mapping = format!("companies = \"link\"\n{}", scene.world.mapping);
    scene.edit(0, "additional_attributes", json!({ "company": "Alpha" }));
    scene.world.sandbox.firstline_faults().next(Fault::LostAck, 1, creates());
    scene.backfill().await;
    let target = scene.target(0).await;
    assert!(firstline.edit(target, "company_ids", json!([alpha, beta])));
    let end = scene.undo(&["1", "--delete-created"]).await;
    let told = end.json();
    assert_eq!((end.code(), &told["deleted"], &told["kept"]), (Some(1), &json!(0), &json!(1)), "{end:?}");
}

/// Contact 1 is linked to a customer that an agent stamps for contact 2; a person gives it to that one. The run that does so
/// comes to the first contact last of all.
async fn moved() -> Scene {
    let mut scene = Scene::new(2, 2).await;
    scene.world.choices.instead = vec![("concurrency = 8", String::from("concurrency = 1"))];
    scene.backfill().await;
    let target = FirstLineId(scene.target(1).await.cast_signed());
    scene.ids.push(scene.world.sandbox.livedesk().add_contact(json!({
        "name": "Second", "email": "second@example.com", "phone_number": "+886955555555", "created_at": 1_700_000_100,
    })));
    let firstline = scene.world.sandbox.firstline();
    assert!(firstline.edit(target.0.unsigned_abs(), "membership_no", json!(format!("LD-{}", scene.ids[2]))));
    let store = scene.world.store().await;
    let conflict = |at: usize, decision| {
        WriteOp::PutConflict(Conflict {
            livedesk_id: livedesk_id(&scene, at),
            kind: String::from("stamp"),
            candidates: vec![target],
            keys: String::from("link"),
            run: RunId(1),
            at: deskferry::clock::Timestamp(0),
            decision: Some(decision),
            carried_to: None,
            left_behind: None,
        })
    };
    store.write(vec![conflict(1, Decision::Create), conflict(2, Decision::Link(target))]).await.unwrap();
    store.close().await;
    scene.before = scene.dump();
    let mut switches = firstline.switches();
    switches.search_lag_writes = 1_000;
    firstline.set_switches(switches);
    let faults = scene.world.sandbox.firstline_faults();
    // Whoever gets the customer comes to it after it was let go of.
    faults.change(|settings| settings.slow_ms = 300);
    faults.next(Fault::Slow, 1_000, FaultFilter::on("GET", &format!("/contact/{target}")));
    faults.next(Fault::LostAck, 1, creates());
    scene.backfill().await;
    faults.clear();
    let links = [scene.target(1).await, scene.target(2).await];
    assert_eq!(links[1], target.0.unsigned_abs(), "it was given to the second");
    assert_ne!(links[0], links[1]);
    let store = scene.world.store().await;
    let newest = store.journal_of_run(RunId(2)).await.unwrap().remove(0);
    store.close().await;
    assert_eq!(newest.livedesk_id, livedesk_id(&scene, 1), "it comes first when the run is taken back");
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_a_run_gave_to_another_contact_goes_back_to_the_first() {
    let scene = moved().await;
    let target = scene.target(2).await;
    let look = scene.undo(&["2", "--delete-created", "--dry-run"]).await.json();
    let end = scene.undo(&["2", "--delete-created"]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    let done = end.json();
    for count in ["contacts", "relinked", "unlinked", "deleted", "kept", "left"] {
        assert_eq!(look[count], done[count], "{count}: {look} {done}");
    }
    assert_eq!((&done["contacts"], &done["relinked"], &done["unlinked"]), (&json!(2), &json!(1), &json!(1)));
    assert_same(&scene.dump(), &scene.before);
    let back = scene.link(1).await.unwrap();
    assert_eq!((back.target.0.unsigned_abs(), back.origin), (target, Origin::Adopted));
    assert_eq!(scene.link(2).await, None);
    assert!(scene.undo(&["2"]).await.out.contains("was taken back already"));
    // When that is taken back in turn the first keeps it: the customer that was made for it is deleted for good.
    let undo = done["run"].to_string();
    let end = scene.undo(&[undo.as_str()]).await;
    let told = end.json();
    assert_eq!((end.code(), &told["kept"], &told["left"]), (Some(1), &json!(2), &json!(0)), "{end:?}");
    assert_eq!((scene.target(1).await, scene.link(2).await), (target, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_whose_new_customer_is_in_doubt_gets_its_first_one_back_once_that_is_settled() {
    let mut scene = Scene::new(2, 2).await;
    scene.backfill().await;
    let target = scene.target(1).await;
    let firstline = scene.world.sandbox.firstline();
    assert!(firstline.edit(target, "membership_no", json!("LD-999999")));
    let before = scene.dump();
    let store = scene.world.store().await;
    let conflict = Conflict {
        livedesk_id: livedesk_id(&scene, 1),
        kind: String::from("stamp"),
        candidates: vec![FirstLineId(target.cast_signed())],
        keys: String::from("link"),
        run: RunId(1),
        at: deskferry::clock::Timestamp(0),
        decision: Some(Decision::Create),
        carried_to: None,
        left_behind: None,
    };
    store.write(vec![WriteOp::PutConflict(conflict)]).await.unwrap();
    store.close().await;
    scene.world.choices.doubt_horizon = "1h";
    let firstline = scene.world.sandbox.firstline();
    let lag = |writes: u64| {
        let mut switches = firstline.switches();
        switches.search_lag_writes = writes;
        firstline.set_switches(switches);
    };
    lag(1_000);
    scene.world.sandbox.firstline_faults().next(Fault::LostAck, 1, creates());
    let second = scene.world.command(&["--json", "--no-wait", "backfill", "--yes"]).await;
    assert_eq!((second.code(), &second.json()["parked"]), (Some(1), &json!(1)), "{second:?}");
    assert_eq!(scene.dump().as_array().unwrap().len(), before.as_array().unwrap().len() + 1, "it arrived");
    let end = scene.undo(&["2", "--no-wait", "--delete-created"]).await;
    let told = end.json();
    assert_eq!((end.code(), &told["in_doubt"], &told["left"]), (Some(1), &json!(1), &json!(1)), "{end:?}");
    let store = scene.world.store().await;
    assert_eq!(store.check().await.unwrap().problems(), Vec::<String>::new());
    store.close().await;
    // Now it is to be seen.
    lag(0);
    let end = scene.undo(&["2", "--no-wait", "--delete-created"]).await;
    assert_eq!((end.code(), &end.json()["deleted"]), (Some(0), &json!(1)), "{end:?}");
    assert_eq!((scene.target(1).await, scene.dump()), (target, before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_waits_for_whoever_has_its_customer_and_cannot_be_finished() {
    let scene = moved().await;
    let target = scene.target(2).await;
    let firstline = scene.world.sandbox.firstline();
    let unreadable = |ids: Vec<u64>| {
        let mut switches = firstline.switches();
        switches.unreadable_ids = ids;
        firstline.set_switches(switches);
    };
    unreadable(vec![target]);
    let end = scene.undo(&["2", "--delete-created"]).await;
    unreadable(Vec::new());
    let told = end.json();
    assert_eq!((&told["left"], &told["kept"], &told["contacts"]), (&json!(2), &json!(0), &json!(2)), "{end:?}");
    assert!(end.out.contains(&format!("its customer is linked to contact {}", scene.ids[2])), "{end:?}");
    let end = scene.undo(&["2", "--delete-created"]).await;
    assert_eq!((end.code(), scene.target(1).await), (Some(0), target), "{end:?}");
    assert_same(&scene.dump(), &scene.before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doubts_of_another_run_are_none_of_the_run_that_is_taken_back() {
    for (horizon, doubt) in [("1h", "in_doubt"), ("100ms", "never_arrived")] {
        let mut scene = Scene::new(2, 0).await;
        scene.world.choices.doubt_horizon = horizon;
        scene.backfill().await;
        scene.world.sandbox.livedesk().add_contact(json!({ "name": "Third", "email": "third@example.com" }));
        scene.world.sandbox.firstline_faults().next(Fault::Reset, 1, creates());
        let second = scene.world.command(&["--json", "--no-wait", "backfill", "--yes"]).await;
        assert_eq!((second.code(), &second.json()["parked"]), (Some(1), &json!(1)), "{second:?}");
        let wait: &[&str] = if horizon == "1h" { &["--no-wait"] } else { &[] };
        let end = scene.undo(&[wait, &["1", "--delete-created"]].concat()).await;
        let told = end.json();
        assert_eq!((end.code(), &told[doubt], &told["deleted"]), (Some(0), &json!(0), &json!(2)), "{end:?}");
        let list = std::fs::read_to_string(told["list_file"].as_str().unwrap()).unwrap();
        assert!(!list.contains("never arrived"), "{list}");
        if horizon == "1h" {
            let end = scene.undo(&["2", "--no-wait"]).await;
            assert_eq!((end.code(), &end.json()["in_doubt"]), (Some(1), &json!(1)), "its own: {end:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_undo_that_took_a_part_of_a_run_back_is_named() {
    let scene = Scene::new(6, 0).await;
    scene.backfill().await;
    let firstline = scene.world.sandbox.firstline();
    let mut switches = firstline.switches();
    // The first one, which shows that this is the right account.
    switches.unreadable_ids = vec![scene.target(0).await];
    firstline.set_switches(switches.clone());
    let end = scene.undo(&["1", "--delete-created"]).await;
    assert_eq!((end.code(), &end.json()["deleted"], &end.json()["left"]), (Some(1), &json!(5), &json!(1)), "{end:?}");
    switches.unreadable_ids.clear();
    firstline.set_switches(switches);
    let end = scene.undo(&["1", "--delete-created"]).await;
    assert_eq!((end.code(), &end.json()["deleted"]), (Some(0), &json!(1)), "{end:?}");
    let end = scene.undo(&["1"]).await;
    let said =
        "was taken back already, by undo 3 and undo 2; `deskferry undo 3`, then `deskferry undo 2` would put it back";
    assert!(end.code() == Some(0) && end.out.contains(said), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_whose_hanging_on_is_in_doubt_is_not_hung_on_a_second_time() {
    let mut scene = Scene::new(3, 0).await;
    scene.backfill().await;
    let carried = scene.dump();
    scene.edit(0, "phone_number", json!(""));
    scene.backfill().await;
    scene.world.choices.doubt_horizon = "1h";
    let faults = scene.world.sandbox.firstline_faults();
    let hanging = FaultFilter::on("POST", "/phone-number");
    faults.next(Fault::Reset, 100, hanging);
    for look in 1..=2 {
        let end = scene.undo(&["2", "--no-wait"]).await;
        let told = end.json();
        // What it leaves in doubt itself is told as left.
        let doubts = (&told["left"], &told["in_doubt"]);
        assert_eq!((end.code(), doubts), (Some(1), (&json!(1), &json!(look - 1))), "{end:?}");
        assert_eq!(faults.injected(Fault::Reset), 1, "look {look}: a create in doubt is never sent again");
    }
    let store = scene.world.store().await;
    let open: Vec<IntentState> = store.open_intents().await.unwrap().iter().map(|intent| intent.state).collect();
    store.close().await;
    assert_eq!(open, [IntentState::Parked]);
    faults.clear();
    // It had arrived, only late.
    scene.world.choices.doubt_horizon = "100ms";
    scene.world.sandbox.firstline().add_phone(scene.target(0).await, "+886900000000").unwrap();
    let end = scene.undo(&["2"]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    assert_same(&scene.dump(), &carried);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_told_once_however_often_its_record_is_read() {
    let mut scene = Scene::new(2, 1).await;
    scene.world.choices.instead = vec![("timeout = \"5s\"", String::from("timeout = \"100ms\""))];
    scene.backfill().await;
    let target = scene.target(0).await;
    let firstline = scene.world.sandbox.firstline();
    assert!(firstline.edit(target, "identity_no", json!("Agentwrote")));
    let route = format!("/contact/{target}");
    let only = FaultFilter { methods: vec![String::from("PUT"), String::from("POST")], path: route.clone() };
    let faults = scene.world.sandbox.firstline_faults();
    faults.change(|settings| settings.next.push(NextFault { fault: Fault::Throttled, times: 8, skip: 0, only }));
    let end = scene.undo(&["1", "--delete-created"]).await;
    let told = end.json();
    assert_eq!(faults.injected(Fault::Throttled), 8, "it had to wait for longer than a read is believed");
    assert_eq!((end.code(), &told["kept"], &told["left"]), (Some(1), &json!(1), &json!(0)), "{end:?}");
    let list = std::fs::read_to_string(told["list_file"].as_str().unwrap()).unwrap();
    assert_eq!(list.matches(",identity_no,kept,").count(), 1, "{list}");
}
