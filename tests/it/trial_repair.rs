//! The repair of a record that a trial of an update left without some of its fields: planned, done as planned, and owed
//! until it is done.

use deskferry::clock::Timestamp;
use deskferry::domain::ids::{FirstLineId, LiveDeskId, RunId};
use deskferry::sandbox::firstline::FirstLineSwitches;
use deskferry::store::{JournalEntry, UPDATE_TRIAL, WriteOp};
use serde_json::{Value, json};

use crate::cli_support::Desk;
use crate::plan::{actions, desk_with, plan, plan_path, records};

/// A process died in the middle of a trial on this contact's record, which has lost a name and a custom field.
async fn cut_off(desk: &Desk, id: u64) -> u64 {
    let target = records(desk)[&id]["id"].as_u64().unwrap();
    let before = json!({ "first_name": "Person 2", "last_name": "Given2", "cz_col 39": "Company2" });
    let entry = JournalEntry {
        run: RunId(1),
        livedesk_id: LiveDeskId(id.cast_signed()),
        target: FirstLineId(target.cast_signed()),
        action: String::from("trial"),
        before: before.to_string(),
        after: None,
        link_before: None,
        why: String::from("how this tenant takes updates"),
        at: Timestamp(1),
    };
    let store = desk.lock().await;
    store.write(vec![WriteOp::Journal(entry)]).await.unwrap();
    store.profile_put(UPDATE_TRIAL, &json!({ "livedesk_id": id, "target": target })).await.unwrap();
    store.close().await;
    for field in ["last_name", "cz_cols.39"] {
        assert!(desk.sandbox.firstline().edit(target, field, Value::Null));
    }
    target
}

fn held(desk: &Desk, id: u64) -> (Value, Value) {
    let record = &records(desk)[&id];
    (record["last_name"].clone(), record["cz_cols"]["39"].clone())
}

async fn carry_out(desk: &Desk, code: i32) -> Value {
    desk.run(&["--json", "backfill", "--yes", "--plan", &plan_path(desk)]).await.expect(code).json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_repair_of_a_trial_that_did_not_end_is_planned_and_done_as_planned() {
    let (desk, ids) = desk_with(5).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let early = desk.path("early.jsonl");
    desk.run(&["plan", "-o", early.to_str().unwrap()]).await.expect(0);
    let target = cut_off(&desk, ids[2]).await;
    let (_, lines, _) = plan(&desk, &["--show-values"], 0).await;
    assert_eq!(actions(&lines), [(ids[2], "repair")].into());
    let line = &lines[&ids[2]];
    let fields: Vec<(&str, &Value, &Value)> = (line["fields"].as_array().unwrap().iter())
        .map(|field| (field["field"].as_str().unwrap(), &field["old"], &field["new"]))
        .collect();
    let nothing = &Value::Null;
    let lost = [("last_name", nothing, &json!("Given2")), ("cz_col 39", nothing, &json!("Company2"))];
    assert_eq!((&line["firstline_id"], fields), (&json!(target), lost.to_vec()));
    // A plan from before it does not have it: it is left alone, and told.
    let path = early.to_str().unwrap();
    let ended = desk.run(&["--json", "backfill", "--yes", "--plan", path]).await.expect(1).json();
    let moved = &ended["moved_contacts"][0];
    assert_eq!((&moved["livedesk_id"], &moved["what"]), (&json!(ids[2]), &json!("not in the plan; now: repair")));
    assert_eq!(held(&desk, ids[2]), (Value::Null, Value::Null));
    let ended = carry_out(&desk, 0).await;
    assert_eq!((&ended["moved"], &ended["unmet"]), (&json!(0), &json!(0)), "{ended}");
    assert_eq!(held(&desk, ids[2]), (json!("Given2"), json!("Company2")));
    // Once more, and nothing is left to repair.
    carry_out(&desk, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_that_has_to_wait_is_still_owed_after_another_record_was_updated() {
    let (desk, ids) = desk_with(5).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let target = cut_off(&desk, ids[2]).await;
    let hidden = FirstLineSwitches { unreadable_ids: vec![target], ..FirstLineSwitches::default() };
    desk.sandbox.firstline().set_switches(hidden);
    desk.sandbox.livedesk().edit(ids[1], |contact| drop(contact.insert("name".into(), json!("Other"))));
    desk.run(&["backfill", "--yes"]).await.expect(0).says("the next run looks again");
    assert_eq!(records(&desk)[&ids[1]]["first_name"], "Other");
    desk.sandbox.firstline().set_switches(FirstLineSwitches::default());
    desk.run(&["backfill", "--yes"]).await.expect(0).says("they are written back");
    assert_eq!(held(&desk, ids[2]), (json!("Given2"), json!("Company2")));
}
