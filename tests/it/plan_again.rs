//! What a plan is held against a second time: a contact that had to wait, a plan that was interrupted or taken back, an
//! adoption that was refused.

use std::collections::BTreeSet;

use deskferry::config::settings::I_UNDERSTAND;
use deskferry::domain::ids::{LiveDeskId, RunId};
use deskferry::sandbox::faults::{Fault, FaultFilter};
use deskferry::store::Store;
use serde_json::{Value, json};

use crate::cli_support::{Desk, Ended};
use crate::plan::{desk_with, earlier_customers, plan, plan_path, records};

async fn carry_out(desk: &Desk, code: i32) -> Value {
    desk.run(&["--json", "backfill", "--yes", "--plan", &plan_path(desk)]).await.expect(code).json()
}

fn moved(summary: &Value) -> Vec<(u64, String)> {
    let row = |row: &Value| (row["livedesk_id"].as_u64().unwrap(), row["what"].as_str().unwrap().to_owned());
    summary["moved_contacts"].as_array().unwrap().iter().map(row).collect()
}

fn set(desk: &Desk, id: u64, attribute: &str, value: &str) {
    assert!(desk.sandbox.livedesk().edit(id, |contact| {
        contact["custom_attributes"].as_object_mut().unwrap().insert(attribute.to_owned(), json!(value));
    }));
}

fn customer(desk: &Desk, id: u64) -> u64 {
    records(desk)[&id]["id"].as_u64().unwrap()
}

fn contact(id: u64) -> LiveDeskId {
    LiveDeskId(id.cast_signed())
}

async fn undo(desk: &Desk, arguments: &[&str]) -> Ended {
    let mut all = vec!["undo", "--yes", "--i-understand", I_UNDERSTAND];
    all.extend(arguments);
    desk.run(&all).await
}

/// Carries the plan out while FIRST LINE takes no writes at first, then goes away for longer than an update may wait;
/// meanwhile somebody does this.
pub(crate) async fn carry_out_late(desk: &Desk, meanwhile: impl FnOnce(), code: i32) -> Value {
    let calm = "token = \"sandbox-token\"\nrequests_per_second = 0\ntimeout = \"5s\"";
    let hasty = calm.replace("5s", "100ms");
    let hasty = format!("{hasty}\nthrottle_wait = \"20ms\"\n[http]\nretry_first = \"1ms\"\nretry_ceiling = \"20ms\"");
    let settings = std::fs::read_to_string(desk.path("deskferry.toml")).unwrap();
    desk.write("deskferry.toml", &settings.replacen(calm, &hasty, 1));
    let faults = desk.sandbox.firstline_faults();
    let writes = |of: &Value| -> u64 {
        let routes = of["by_route"].as_object().unwrap().iter();
        routes.filter(|(route, _)| route.starts_with('P')).map(|(_, count)| count.as_u64().unwrap()).sum()
    };
    let before = writes(&faults.counts());
    let only = FaultFilter { methods: vec![String::from("POST"), String::from("PUT")], path: String::new() };
    faults.next(Fault::Error, u64::MAX, only);
    let run = carry_out(desk, code);
    let trouble = async {
        faults.until(|| writes(&faults.counts()) > before).await;
        faults.start_outage();
        meanwhile();
        let reached = faults.requests() + 20;
        faults.until(|| faults.requests() >= reached).await;
        faults.clear();
    };
    tokio::pin!(run);
    tokio::select! {
        () = trouble => {}
        summary = &mut run => panic!("the run did not wait: {summary}"),
    }
    run.await
}

/// Plans, and carries that out but for the e-mails of so many contacts, which get no answer: their records are made.
async fn half_done(desk: &Desk, many: u64) -> Value {
    plan(desk, &[], 0).await;
    desk.replace("doubt_horizon = \"1s\"", "doubt_horizon = \"1h\"");
    desk.sandbox.firstline_faults().next(Fault::Reset, many, FaultFilter::on("POST", "/email-contact"));
    let path = plan_path(desk);
    let ended = desk.run(&["--no-wait", "--json", "backfill", "--yes", "--plan", &path]).await.expect(1).json();
    desk.replace("doubt_horizon = \"1h\"", "doubt_horizon = \"1s\"");
    ended
}

fn has_email(desk: &Desk, id: u64) -> bool {
    !records(desk)[&id]["emails"].as_array().unwrap().is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_had_to_wait_is_held_against_the_plan_as_it_was_the_first_time() {
    let (desk, ids) = desk_with(4).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    set(&desk, ids[1], "given", "New");
    let (_, lines, _) = plan(&desk, &[], 0).await;
    assert_eq!(lines[&ids[1]]["action"], "update");
    let target = customer(&desk, ids[1]);
    let agent = || assert!(desk.sandbox.firstline().edit(target, "last_name", json!("Agent")));
    let summary = carry_out_late(&desk, agent, 1).await;
    let what = "begun, and the rest is not as planned: last_name: FIRST LINE holds another value now";
    assert_eq!(moved(&summary), [(ids[1], what.to_owned())], "{summary}");
    assert_eq!(records(&desk)[&ids[1]]["last_name"], "Agent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_had_to_wait_and_did_not_move_is_done_as_planned() {
    let (desk, ids) = desk_with(4).await;
    earlier_customers(&desk, 2);
    let (_, _, end) = plan(&desk, &[], 0).await;
    assert_eq!(end["contacts"], json!({ "adopt": 2, "create": 2 }));
    let summary = carry_out_late(&desk, || {}, 0).await;
    assert_eq!((&summary["adopted"], &summary["created"], &summary["moved"]), (&json!(2), &json!(2), &json!(0)));
    assert_eq!(records(&desk).len(), ids.len());
    let (_, lines, end) = plan(&desk, &[], 0).await;
    assert_eq!(lines.len(), 0, "{end}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_was_taken_back_is_carried_out_anew_and_judged_anew() {
    let (desk, ids) = desk_with(6).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    for (at, id) in ids.iter().enumerate().take(4) {
        desk.sandbox.livedesk().edit(*id, |contact| drop(contact.insert("name".into(), json!(format!("Other {at}")))));
        set(&desk, *id, "given", "New");
    }
    plan(&desk, &[], 0).await;
    let first = carry_out(&desk, 0).await;
    assert_eq!((&first["run"], &first["updated"]), (&json!(2), &json!(4)), "{first}");
    // An agent has the last word on one field of the first, so that is not taken back.
    assert!(desk.sandbox.firstline().edit(customer(&desk, ids[0]), "last_name", json!("Agent")));
    undo(&desk, &["2"]).await.expect(1);
    let name = |at: usize| records(&desk)[&ids[at]]["first_name"].clone();
    assert_eq!((name(0), name(3)), (json!("Person 0"), json!("Person 3")));
    // LiveDesk goes on with the first, and takes the second back.
    desk.sandbox.livedesk().edit(ids[0], |contact| drop(contact.insert("name".into(), json!("Third 0"))));
    desk.sandbox.livedesk().edit(ids[1], |contact| drop(contact.insert("name".into(), json!("Person 1"))));
    set(&desk, ids[1], "given", "Given1");
    let again = carry_out(&desk, 1).await;
    let told: BTreeSet<u64> = moved(&again).into_iter().map(|(id, _)| id).collect();
    assert_eq!(told, [ids[0], ids[1]].into(), "{again}");
    assert_eq!(again["updated"], 2, "{again}");
    let names: Vec<Value> = (0..4).map(name).collect();
    assert_eq!(names, ["Person 0", "Person 1", "Other 2", "Other 3"]);
    // And what an interrupted run of it has done is done: nothing is told of that.
    let third = carry_out(&desk, 1).await;
    assert_eq!((moved(&third).len(), &third["updated"]), (2, &json!(0)), "{third}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_interrupted_run_left_half_done_is_finished_only_as_far_as_it_was_planned() {
    let (desk, ids) = desk_with(6).await;
    let first = half_done(&desk, 2).await;
    assert_eq!((&first["parked"], &first["moved"]), (&json!(2), &json!(0)), "{first}");
    let open: Vec<u64> = ids.iter().filter(|id| !has_email(&desk, **id)).copied().collect();
    assert_eq!(open.len(), 2);
    set(&desk, open[0], "given", "New");
    let second = carry_out(&desk, 1).await;
    let what = "begun, and the rest is not as planned: last_name: LiveDesk holds another value now";
    assert_eq!(moved(&second), [(open[0], what.to_owned())], "{second}");
    assert!(has_email(&desk, open[1]) && !has_email(&desk, open[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_plan_that_was_refused_or_not_confirmed_does_not_forget_one_that_was_begun() {
    let (desk, ids) = desk_with(6).await;
    let first = half_done(&desk, 2).await;
    assert_eq!((&first["created"], &first["parked"]), (&json!(4), &json!(2)), "{first}");
    let other = desk.path("other.jsonl");
    let other = other.to_str().unwrap();
    desk.run(&["plan", "-o", other]).await;
    let refused = desk.run(&["backfill", "--plan", other, "--expect-total", "777"]).await.expect(2);
    refused.says("--expect-total says 777; nothing was written");
    let second = carry_out(&desk, 0).await;
    assert_eq!((moved(&second), &second["unmet"]), (Vec::new(), &json!(0)), "{second}");
    assert!(ids.iter().all(|id| has_email(&desk, *id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_plan_did_meanwhile_is_not_taken_for_this_ones() {
    let (desk, ids) = desk_with(6).await;
    half_done(&desk, 1).await;
    // LiveDesk goes on with one that is done, and another plan carries that out.
    let done = *ids.iter().find(|id| has_email(&desk, **id)).unwrap();
    set(&desk, done, "given", "New");
    let other = desk.path("other.jsonl");
    let other = other.to_str().unwrap();
    desk.run(&["plan", "-o", other]).await;
    desk.run(&["backfill", "--yes", "--plan", other]).await;
    assert_eq!(records(&desk)[&done]["last_name"], "New");
    set(&desk, done, "given", "Newer");
    let again = carry_out(&desk, 1).await;
    let told: Vec<u64> = moved(&again).into_iter().map(|(id, _)| id).collect();
    assert_eq!(told, [done], "{again}");
    assert_eq!(records(&desk)[&done]["last_name"], "New", "the other plan's work is not gone on with by this one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adoption_that_was_refused_leaves_nothing_that_a_later_run_is_built_upon() {
    let (desk, ids) = desk_with(8).await;
    let customers = earlier_customers(&desk, 3);
    plan(&desk, &[], 0).await;
    assert!(desk.sandbox.firstline().edit(customers[0], "cz_cols.39", json!("Agents Ltd")));
    let summary = carry_out(&desk, 1).await;
    assert_eq!(moved(&summary).len(), 1, "{summary}");
    let only = ids[0].to_string();
    desk.run(&["backfill", "--yes", "--only", &only]).await.expect(0);
    let store = desk.lock().await;
    let rows = store.journal_of_contact(contact(ids[0])).await.unwrap();
    store.close().await;
    assert!(rows.iter().all(|row| row.run == RunId(2)), "{rows:?}");
    assert!(!rows.is_empty());
    undo(&desk, &["1", "--dry-run"]).await.expect(0);
}

async fn children(store: &Store, id: u64) -> Vec<i64> {
    let mut rows: Vec<i64> = store.children_of(contact(id)).await.unwrap().iter().map(|row| row.child.0).collect();
    rows.sort_unstable();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decided_link_that_was_refused_leaves_the_one_before_with_the_rows_that_hang_there() {
    let (desk, ids) = desk_with(6).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let firstline = desk.sandbox.firstline();
    let other = firstline.add_contact(&json!({ "first_name": "Other" }), &[], &[], &[(39, Value::Null)]);
    // The record of one is stamped for somebody else: a person says where it belongs.
    assert!(firstline.edit(customer(&desk, ids[3]), "membership_no", json!("LD-999999")));
    set(&desk, ids[3], "given", "New");
    desk.run(&["backfill", "--yes"]).await.expect(1);
    let id = ids[3].to_string();
    desk.run(&["conflicts", "resolve", &id, "--link", &other.to_string()]).await.expect(0);
    let (_, lines, _) = plan(&desk, &[], 0).await;
    assert_eq!((&lines[&ids[3]]["action"], &lines[&ids[3]]["firstline_id"]), (&json!("adopt"), &json!(other)));
    let store = desk.lock().await;
    let before = (store.links_for(&[contact(ids[3])]).await.unwrap(), children(&store, ids[3]).await);
    store.close().await;
    assert_eq!(before.1.len(), 2);
    assert!(firstline.edit(other, "cz_cols.39", json!("Agents Ltd")));
    let summary = carry_out(&desk, 1).await;
    assert_eq!(moved(&summary).len(), 1, "{summary}");
    let store = desk.lock().await;
    let after = (store.links_for(&[contact(ids[3])]).await.unwrap(), children(&store, ids[3]).await);
    store.close().await;
    assert_eq!(after, before);
}

/// Six people of whom nothing hangs on a record; the create of one arrived after its run was over.
async fn arrived_late(desk: &Desk, ids: &[u64], arguments: &[&str]) {
    desk.replace("doubt_horizon = \"1s\"", "doubt_horizon = \"5s\"");
    let faults = desk.sandbox.firstline_faults();
    faults.change(|settings| settings.late_ms = 1_200);
    faults.next(Fault::Late, 1, FaultFilter::on("POST", "/contact"));
    let mut all = vec!["--no-wait", "--json", "backfill", "--yes"];
    all.extend(arguments);
    let first = desk.run(&all).await.expect(1).json();
    assert_eq!((&first["parked"], &first["moved"]), (&json!(1), &json!(0)), "{first}");
    faults.until(|| records(desk).len() >= ids.len()).await;
}

async fn desk_with_bare(people: usize) -> (Desk, Vec<u64>) {
    let (desk, ids) = desk_with(people).await;
    for id in &ids {
        desk.sandbox.livedesk().edit(*id, |contact| {
            contact.insert("email".into(), Value::Null);
            contact.insert("phone_number".into(), Value::Null);
            contact.insert("identifier".into(), json!(format!("known-{id}")));
        });
    }
    (desk, ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_that_an_interrupted_run_sent_and_that_is_found_late_is_as_planned() {
    let (desk, ids) = desk_with_bare(6).await;
    plan(&desk, &[], 0).await;
    arrived_late(&desk, &ids, &["--plan", &plan_path(&desk)]).await;
    let second = carry_out(&desk, 0).await;
    assert_eq!((&second["moved"], &second["unmet"], &second["parked"]), (&json!(0), &json!(0), &json!(0)), "{second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_of_an_earlier_run_that_the_plan_found_is_found_as_planned() {
    let (desk, ids) = desk_with_bare(6).await;
    arrived_late(&desk, &ids, &[]).await;
    let (_, _, end) = plan(&desk, &[], 0).await;
    assert_eq!(end["contacts"], json!({ "create": 1, "nothing": 5 }));
    let ended = carry_out(&desk, 0).await;
    assert_eq!((&ended["moved"], &ended["unmet"], &ended["created"]), (&json!(0), &json!(0), &json!(1)), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_a_person_decided_on_is_adopted_as_planned_though_it_had_to_wait() {
    let (desk, ids) = desk_with(2).await;
    let firstline = desk.sandbox.firstline();
    let email: &[&str] = &["person1@example.com"];
    let [one, _] = [1, 2].map(|number| {
        let fields = json!({ "first_name": "Earlier", "identity_no": format!("X{number}") });
        firstline.add_contact(&fields, email, &[], &[(39, Value::Null)])
    });
    desk.run(&["backfill", "--yes"]).await.expect(1);
    desk.run(&["conflicts", "resolve", &ids[1].to_string(), "--link", &one.to_string()]).await.expect(0);
    let (_, lines, _) = plan(&desk, &[], 0).await;
    assert_eq!((&lines[&ids[1]]["action"], &lines[&ids[1]]["firstline_id"]), (&json!("adopt"), &json!(one)));
    let summary = carry_out_late(&desk, || {}, 0).await;
    assert_eq!((&summary["adopted"], &summary["updated"], &summary["moved"]), (&json!(1), &json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_plan_tells_of_no_run_that_the_state_does_not_have() {
    let (desk, _) = desk_with(2).await;
    let planned = desk.run(&["plan"]).await.expect(0);
    assert!(!planned.err.contains("run began"), "{}", planned.err);
    desk.run(&["backfill", "--yes"]).await.expect(0).says("run began run=1 kind=\"backfill\"");
}
