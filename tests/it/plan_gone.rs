//! What a plan says of contacts that are gone from LiveDesk, or back: values and all.

use std::fs;

use deskferry::config::settings::I_UNDERSTAND;
use serde_json::{Value, json};

use crate::cli_support::Desk;
use crate::plan::{actions, desk_with, plan, plan_path, records};
use crate::plan_again::carry_out_late;

/// Twelve people, three of whom are gone for long enough that something is done about them.
async fn gone(policy: &str) -> (Desk, Vec<u64>) {
    let (desk, ids) = desk_with(12).await;
    let settings = fs::read_to_string(desk.path("deskferry.toml")).unwrap();
    let deletes = format!("[deletes]\n{policy}\nceiling_percent = 100.0\ngrace = \"0s\"\n");
    desk.write("deskferry.toml", &format!("{settings}\n{deletes}"));
    desk.run(&["backfill", "--yes"]).await.expect(0);
    for id in &ids[3..6] {
        desk.sandbox.livedesk().delete(*id);
    }
    desk.run(&["backfill", "--yes"]).await.expect(0);
    (desk, ids)
}

fn edit(desk: &Desk, id: u64, field: &str, value: Value) {
    let target = records(desk)[&id]["id"].as_u64().unwrap();
    assert!(desk.sandbox.firstline().edit(target, field, value));
}

async fn carry_out(desk: &Desk, code: i32) -> Value {
    desk.run(&["--json", "backfill", "--yes", "--plan", &plan_path(desk)]).await.expect(code).json()
}

fn field<'a>(line: &'a Value, name: &str) -> &'a Value {
    line["fields"].as_array().unwrap().iter().find(|field| field["field"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_is_planned_with_what_it_writes_and_only_where_there_is_something_to_write() {
    let (desk, ids) = gone("policy = \"tag\"\ntag = \"gone\"").await;
    let (_, lines, _) = plan(&desk, &[], 0).await;
    assert_eq!(lines.len(), 3);
    let tags = &lines[&ids[4]]["tags"];
    assert_eq!((&tags[0]["new"], &tags[0]["old"]), (&json!("gone"), &Value::Null));
    carry_out(&desk, 0).await;
    // They are back, and an agent has taken one of the marks off.
    edit(&desk, ids[3], "tag_ids", json!([]));
    for id in &ids[3..6] {
        assert!(desk.sandbox.livedesk().restore(*id));
    }
    let (_, lines, _) = plan(&desk, &[], 0).await;
    assert_eq!(actions(&lines), [(ids[4], "unmark"), (ids[5], "unmark")].into());
    let tags = &lines[&ids[4]]["tags"][0];
    assert!(tags["old"].as_str().is_some_and(|tag| tag.starts_with("tag ")) && tags["new"].is_null(), "{tags}");
    // Another agent is faster than the run.
    edit(&desk, ids[5], "tag_ids", json!([]));
    let ended = carry_out(&desk, 1).await;
    assert_eq!((&ended["absence"]["unmarked"], &ended["unmet"]), (&json!(1), &json!(1)), "{ended}");
    assert_eq!(ended["moved_contacts"][0]["livedesk_id"], ids[5], "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_in_a_field_shows_the_field_before_and_after() {
    let (desk, ids) = gone("policy = \"tag\"\nfield = 40").await;
    let (_, lines, _) = plan(&desk, &["--show-values"], 0).await;
    let mark = field(&lines[&ids[4]], "cz_col 40");
    assert!(mark["old"].is_null() && mark["new"].as_str().unwrap().starts_with("not in LiveDesk any more"), "{mark}");
    assert_eq!((&mark["why"], &mark["written"]), (&json!("gone from LiveDesk"), &json!(true)));
    carry_out(&desk, 0).await;
    assert!(desk.sandbox.livedesk().restore(ids[4]));
    let (_, lines, _) = plan(&desk, &["--show-values"], 0).await;
    let off = field(&lines[&ids[4]], "cz_col 40");
    assert_eq!((&off["old"], &off["new"], &off["why"]), (&mark["new"], &Value::Null, &json!("back in LiveDesk")));
    carry_out(&desk, 0).await;
    assert!(records(&desk)[&ids[4]]["cz_cols"]["40"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_is_planned_with_all_that_goes() {
    let (desk, ids) = gone(&format!("policy = \"delete\"\ni_understand = \"{I_UNDERSTAND}\"")).await;
    let (_, masked, _) = plan(&desk, &[], 0).await;
    assert!(!json!(masked).to_string().contains("Person 4"));
    let (_, lines, _) = plan(&desk, &["--show-values"], 0).await;
    let line = &lines[&ids[4]];
    let name = field(line, "first_name");
    assert_eq!((&line["action"], &name["old"], &name["new"]), (&json!("delete"), &json!("Person 4"), &Value::Null));
    assert_eq!((&line["emails"][0]["old"], &line["emails"][0]["new"]), (&json!("person4@example.com"), &Value::Null));
    assert_eq!(field(line, "cz_col 39")["old"], "Company4");
    let shown = desk.run(&["plan", "--show-values", "--full"]).await.expect(0);
    shown.says("first_name: Person 4 -> nothing (gone from LiveDesk)");
    let ended = carry_out(&desk, 0).await;
    assert_eq!((&ended["absence"]["deleted"], &ended["unmet"], &ended["moved"]), (&json!(3), &json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_had_to_wait_is_put_on_and_taken_off_all_the_same() {
    let (desk, ids) = gone("policy = \"tag\"\ntag = \"gone\"").await;
    // The tag is there, so the first write that waits is that of a mark.
    desk.sandbox.firstline().add_tag("gone");
    plan(&desk, &[], 0).await;
    let ended = carry_out_late(&desk, || {}, 0).await;
    assert_eq!((&ended["absence"]["marked"], &ended["absence"]["failed"]), (&json!(3), &json!({})), "{ended}");
    for id in &ids[3..6] {
        assert!(desk.sandbox.livedesk().restore(*id));
    }
    plan(&desk, &[], 0).await;
    let ended = carry_out_late(&desk, || {}, 0).await;
    assert_eq!((&ended["absence"]["unmarked"], &ended["absence"]["failed"]), (&json!(3), &json!({})), "{ended}");
}
