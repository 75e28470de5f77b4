//! A plan: what a backfill would do, without a single write; and a backfill that does what the plan says and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::cli_support::Desk;

/// One field per owner, two custom fields, e-mails and phones.
const MAPPING: &str = r#"
[select]
when = "not blocked"

[contact]
first_name = "(custom_attributes.full or name) | squeeze"
last_name = { value = "custom_attributes.given", owner = "source" }
identity_no = { value = "custom_attributes.passport", owner = "target" }

[[cz_cols]]
id = 33
value = "custom_attributes.points | number"
on_error = "reject"

[[cz_cols]]
id = 35
value = "custom_attributes.interests"
owner = "union"

[[cz_cols]]
id = 39
value = "custom_attributes.company"
owner = "fill_blank"

[[emails]]
value = "email"

[[phones]]
value = "phone_number"
owner = "union"
"#;

fn person(number: usize) -> Value {
    json!({ "name": format!("Person {number}"), "email": format!("person{number}@example.com"),
        "phone_number": format!("+8869120{number:05}"),
        "custom_attributes": { "given": format!("Given{number}"), "passport": format!("P{number}"), "points": number,
            "interests": ["music"], "company": format!("Company{number}") } })
}

/// So many people at LiveDesk, nobody at FIRST LINE.
async fn desk_with(people: usize) -> (Desk, Vec<u64>) {
    let desk = Desk::new().await;
    for id in desk.sandbox.livedesk().listed_ids() {
        desk.sandbox.livedesk().delete(id);
    }
    desk.write("mapping.toml", MAPPING);
    let ids = (0..people).map(|number| desk.sandbox.livedesk().add_contact(person(number))).collect();
    (desk, ids)
}

fn plan_path(desk: &Desk) -> String {
    desk.path("plan.jsonl").to_str().unwrap().to_owned()
}

/// Makes a plan and reads it: header, lines by contact, end. Nothing is written at FIRST LINE.
async fn plan(desk: &Desk, arguments: &[&str], code: i32) -> (Value, BTreeMap<u64, Value>, Value) {
    let firstline = desk.sandbox.firstline();
    let before = (firstline.tally().writes(), firstline.dump());
    let path = plan_path(desk);
    let mut all = vec!["plan", "-o", &path];
    all.extend(arguments);
    let ended = desk.run(&all).await.expect(code);
    assert_eq!(firstline.tally().writes(), before.0, "a plan wrote: {}", ended.out);
    assert_eq!(firstline.dump(), before.1);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (head, rest) = lines.split_first().unwrap();
    let (end, contacts) = rest.split_last().unwrap();
    let by_id = |line: &Value| (line["livedesk_id"].as_u64().unwrap(), line.clone());
    (head.clone(), contacts.iter().map(by_id).collect(), end["end"].clone())
}

fn actions(lines: &BTreeMap<u64, Value>) -> BTreeMap<u64, &str> {
    lines.iter().map(|(id, line)| (*id, line["action"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_for_a_fresh_target_writes_nothing_and_the_backfill_does_exactly_that() {
    let (desk, ids) = desk_with(40).await;
    desk.sandbox.livedesk().edit(ids[3], |contact| drop(contact.insert("blocked".into(), json!(true))));
    desk.sandbox.livedesk().edit(ids[4], |contact| {
        contact.insert("custom_attributes".into(), json!({ "points": "many" }));
    });
    let (head, lines, end) = plan(&desk, &["--show-values"], 1).await;
    assert_eq!((&head["deskferry_plan"], &head["sweep"]), (&json!(1), &json!("proven")));
    assert_eq!(end["contacts"], json!({ "create": 38, "not_selected": 1, "reject": 1 }), "{end}");
    assert_eq!(lines[&ids[4]]["action"], "reject");
    let line = &lines[&ids[0]];
    assert_eq!((&line["firstline_id"], &line["emails"][0]["new"]), (&Value::Null, &json!("person0@example.com")));
    let mode = fs::metadata(desk.path("plan.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!desk.files().iter().any(|name| name.contains(".plan-")), "{:?}", desk.files());
    let writes = end["writes"].as_object().unwrap();
    let planned: u64 = writes.values().map(|count| count.as_u64().unwrap()).sum();
    desk.run(&["backfill", "--yes", "--plan", &plan_path(&desk)]).await.expect(1);
    assert_eq!(desk.sandbox.firstline().tally().writes(), planned, "{end}");
    assert_eq!(desk.creates(), 38);
    let (_, again, end) = plan(&desk, &[], 1).await;
    assert_eq!(end["contacts"], json!({ "nothing": 38, "not_selected": 1, "reject": 1 }));
    assert_eq!(actions(&again), [(ids[3], "not_selected"), (ids[4], "reject")].into());
}
