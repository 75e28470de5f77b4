//! A plan: what a backfill would do, without a single write; and a backfill that does what the plan says and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use deskferry::config::settings::I_UNDERSTAND;
use deskferry::config::template;
use deskferry::domain::ids::LiveDeskId;
use deskferry::domain::record::FieldValue;
use deskferry::sandbox::faults::{Fault, FaultFilter};
use deskferry::sandbox::firstline::FirstLineSwitches;
use deskferry::sandbox::{Sandbox, SandboxConfig};
use deskferry::store::Origin;
use serde_json::{Value, json};

use crate::cli_support::Desk;

/// One field per owner, two custom fields, e-mails and phones.
pub(crate) const MAPPING: &str = r#"
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

pub(crate) fn person(number: usize) -> Value {
    json!({ "name": format!("Person {number}"), "email": format!("person{number}@example.com"),
        "phone_number": format!("+8869120{number:05}"), "created_at": 1_700_000_000 + number,
        "custom_attributes": { "given": format!("Given{number}"), "passport": format!("P{number}"), "points": number,
            "interests": ["music"], "company": format!("Company{number}") } })
}

/// So many people at LiveDesk, nobody at FIRST LINE.
pub(crate) async fn desk_with(people: usize) -> (Desk, Vec<u64>) {
    let desk = Desk::new().await;
    for id in desk.sandbox.livedesk().listed_ids() {
        desk.sandbox.livedesk().delete(id);
    }
    desk.write("mapping.toml", MAPPING);
    let ids = (0..people).map(|number| desk.sandbox.livedesk().add_contact(person(number))).collect();
    (desk, ids)
}

pub(crate) fn plan_path(desk: &Desk) -> String {
    desk.path("plan.jsonl").to_str().unwrap().to_owned()
}

/// Makes a plan and reads it: header, lines by contact, end. Nothing is written at FIRST LINE.
pub(crate) async fn plan(desk: &Desk, arguments: &[&str], code: i32) -> (Value, BTreeMap<u64, Value>, Value) {
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

pub(crate) fn actions(lines: &BTreeMap<u64, Value>) -> BTreeMap<u64, &str> {
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
    desk.sandbox.firstline().reset_counts();
    desk.run(&["backfill", "--yes", "--plan", &plan_path(&desk)]).await.expect(1);
    let tally = desk.sandbox.firstline().tally();
    assert_eq!(tally.writes(), planned, "{end}");
    // Beside what it forecast it read the definitions.
    assert!(tally.total.abs_diff(end["firstline_requests"].as_u64().unwrap()) <= 3, "{} {end}", tally.total);
    assert_eq!(desk.creates(), 38);
    let (_, again, end) = plan(&desk, &[], 1).await;
    assert_eq!(end["contacts"], json!({ "nothing": 38, "not_selected": 1, "reject": 1 }));
    assert_eq!(actions(&again), [(ids[3], "not_selected"), (ids[4], "reject")].into());
}

/// Every record by its stamp.
pub(crate) fn records(desk: &Desk) -> BTreeMap<u64, Value> {
    let Value::Array(dump) = desk.sandbox.firstline().dump() else { panic!("a list") };
    let stamped = dump.into_iter().filter_map(|record| {
        let id = record["membership_no"].as_str()?.strip_prefix("LD-")?.parse().ok()?;
        Some((id, record))
    });
    stamped.collect()
}

/// What a record holds where a line names a field.
fn held(record: &Value, field: &str) -> String {
    let value = match field.strip_prefix("cz_col ") {
        Some(id) => &record["cz_cols"][id],
        None => &record[field],
    };
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Number(number) => FieldValue::Number(number.clone()).canonical(),
        Value::Array(values) => FieldValue::Choices(values.clone()).canonical(),
        Value::Bool(yes) => u8::from(*yes).to_string(),
        other @ Value::Object(_) => other.to_string(),
    }
}

/// Every contact that the plan names was done as it says: the record, each field, each e-mail and phone.
#[track_caller]
fn assert_done(line: &Value, record: &Value) {
    if let Some(id) = line["firstline_id"].as_u64() {
        assert_eq!(record["id"], id, "{line}");
    }
    for field in line["fields"].as_array().unwrap() {
        let name = field["field"].as_str().unwrap();
        let now = held(record, name);
        let stays = if field["written"] == true { "new" } else { "old" };
        let expected = field[stays].as_str().unwrap_or_default();
        // A value that is not known in this run stays whatever it is.
        if field["written"] == true || !expected.is_empty() {
            assert_eq!(now, expected, "{name} of {line}");
        }
    }
    for (list, key) in [("emails", "address"), ("phones", "number")] {
        for row in line[list].as_array().into_iter().flatten() {
            let held = |value: &Value| record[list].as_array().unwrap().iter().any(|held| held[key] == *value);
            assert!(row["new"].is_null() || held(&row["new"]), "{row} of {line} in {record}");
            assert!(row["old"].is_null() || !held(&row["old"]), "{row} of {line} in {record}");
        }
    }
}

/// Customers of an earlier system for the first so many people, some blank, some with values of their own.
pub(crate) fn earlier_customers(desk: &Desk, people: usize) -> Vec<u64> {
    let firstline = desk.sandbox.firstline();
    let make = |number: usize| {
        let email = format!("person{number}@example.com");
        let fields = match number % 3 {
            0 => json!({ "first_name": "Earlier" }),
            1 => json!({ "first_name": "Earlier", "last_name": "Kunde", "identity_no": "X1" }),
            _ => json!({ "first_name": format!("Person {number}") }),
        };
        let company: &[(i64, Value)] = if number % 3 == 1 { &[(39, Value::Null)] } else { &[] };
        firstline.add_contact(&fields, &[&email], &[], company)
    };
    (0..people).map(make).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_that_are_there_are_adopted_as_planned_and_a_second_plan_has_nothing_to_do() {
    let (desk, ids) = desk_with(30).await;
    let customers = earlier_customers(&desk, 12);
    let (_, lines, end) = plan(&desk, &["--show-values"], 0).await;
    assert_eq!(end["contacts"], json!({ "adopt": 12, "create": 18 }), "{end}");
    for (id, customer) in ids.iter().zip(&customers) {
        assert_eq!(lines[id]["firstline_id"], *customer);
    }
    let why = |id: u64, field: &str| {
        let fields = lines[&id]["fields"].as_array().unwrap();
        let found = fields.iter().find(|found| found["field"] == field).unwrap_or_else(|| panic!("{field}"));
        (found["owner"].as_str().unwrap_or("").to_owned(), found["why"].as_str().unwrap().to_owned())
    };
    let words = |owner: &str, why: &str| (owner.to_owned(), why.to_owned());
    assert_eq!(why(ids[0], "first_name"), words("fill_blank", "its owner leaves it as it is"));
    assert_eq!(why(ids[1], "last_name"), words("source", "its owner takes it over"));
    assert_eq!(why(ids[1], "identity_no"), words("target", "its owner leaves it as it is"));
    assert_eq!(why(ids[0], "cz_col 39"), words("fill_blank", "blank in FIRST LINE, filled"));
    assert_eq!(why(ids[0], "membership_no"), words("", "the stamp"));
    assert_eq!(why(ids[20], "last_name"), words("source", "the record is new"));
    let named =
        lines[&ids[0]]["fields"].as_array().unwrap().iter().find(|field| field["field"] == "cz_col 39").unwrap();
    assert!(named["name"].as_str().unwrap().contains(" / "), "{named}");
    desk.run(&["backfill", "--yes", "--plan", &plan_path(&desk)]).await.expect(0);
    let after = records(&desk);
    assert_eq!(after.len(), 30);
    for (id, line) in &lines {
        assert_done(line, &after[id]);
    }
    let (_, lines, end) = plan(&desk, &[], 0).await;
    assert_eq!((lines.len(), &end["contacts"]), (0, &json!({ "nothing": 30 })), "{end}");
    assert_eq!(end["writes"], json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_edits_on_both_sides_exactly_the_planned_fields_are_written() {
    let (desk, ids) = desk_with(24).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let (firstline, livedesk) = (desk.sandbox.firstline(), desk.sandbox.livedesk());
    let before = records(&desk);
    for number in (0..6).chain(12..18) {
        let target = before[&ids[number]]["id"].as_u64().unwrap();
        assert!(firstline.edit(target, "last_name", json!("Agent")));
        assert!(firstline.edit(target, "cz_cols.39", json!("Agents Ltd")));
        firstline.add_email(target, &format!("agent{number}@example.com")).unwrap();
    }
    for (number, id) in ids.iter().enumerate().take(18).skip(6) {
        livedesk.edit(*id, |contact| {
            let custom = contact["custom_attributes"].as_object_mut().unwrap();
            custom.insert("given".into(), json!(format!("New{number}")));
            custom.insert("interests".into(), json!(["music", "travel"]));
            contact.insert("email".into(), json!(format!("new{number}@example.com")));
        });
    }
    let untouched = records(&desk);
    let (_, lines, end) = plan(&desk, &["--show-values"], 0).await;
    assert_eq!(end["contacts"], json!({ "nothing": 12, "update": 12 }), "{end}");
    let why = |id: u64, field: &str| -> String {
        let fields = lines[&id]["fields"].as_array().unwrap();
        fields.iter().find(|found| found["field"] == field).unwrap()["why"].as_str().unwrap().to_owned()
    };
    assert_eq!(why(ids[8], "last_name"), "changed in LiveDesk");
    assert_eq!(why(ids[14], "last_name"), "changed on both sides");
    assert_eq!(why(ids[14], "cz_col 39"), "edited in FIRST LINE, stays");
    assert_eq!(lines[&ids[8]]["emails"][0]["old"], json!("person8@example.com"));
    desk.run(&["backfill", "--yes", "--plan", &plan_path(&desk)]).await.expect(0);
    let after = records(&desk);
    let changed: Vec<u64> = ids.iter().copied().filter(|id| after[id] != untouched[id]).collect();
    assert_eq!(changed, ids[6..18].to_vec());
    for (id, line) in &lines {
        assert_done(line, &after[id]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_contacts_that_moved_since_the_plan_are_refused_and_listed() {
    let (desk, ids) = desk_with(40).await;
    let customers = earlier_customers(&desk, 12);
    let (_, lines, _) = plan(&desk, &[], 0).await;
    let (firstline, livedesk) = (desk.sandbox.firstline(), desk.sandbox.livedesk());
    // An agent fills what was to be filled, deletes a record, and makes a second one for the same e-mail.
    assert!(firstline.edit(customers[0], "cz_cols.39", json!("Agents Ltd")));
    assert!(firstline.delete(customers[3]));
    firstline.add_contact(&json!({ "first_name": "Twin" }), &["person6@example.com"], &[], &[]);
    firstline.add_contact(&json!({ "first_name": "New here" }), &["person25@example.com"], &[], &[]);
    // A field that the plan does not touch is nobody's business.
    assert!(firstline.edit(customers[5], "cz_cols.40", json!("an agent's note")));
    // And the source goes on.
    livedesk.edit(ids[30], |contact| drop(contact.insert("name".into(), json!("Another Name"))));
    livedesk.edit(ids[31], |contact| drop(contact.insert("blocked".into(), json!(true))));
    let new = livedesk.add_contact(person(90));
    livedesk.delete(ids[32]);
    let before: BTreeMap<u64, Value> = firstline.dump().as_array().unwrap().iter().map(by_id).collect();
    let ended = desk.run(&["--json", "backfill", "--yes", "--plan", &plan_path(&desk)]).await.expect(1);
    let summary = ended.json();
    let moved = [ids[0], ids[3], ids[6], ids[25], ids[30], ids[31], ids[32], new];
    let mut told: Vec<u64> = (summary["moved_contacts"].as_array().unwrap().iter())
        .map(|row| row["livedesk_id"].as_u64().unwrap())
        .collect();
    told.sort_unstable();
    assert_eq!(told, moved, "{summary}");
    assert_eq!((&summary["moved"], &summary["unmet"], &summary["set_aside"]), (&json!(7), &json!(1), &json!(0)));
    let what = |id: u64| {
        let rows = summary["moved_contacts"].as_array().unwrap();
        rows.iter().find(|row| row["livedesk_id"] == id).unwrap()["what"].as_str().unwrap().to_owned()
    };
    assert_eq!(what(ids[0]), "cz_col 39: planned, and not to be written now");
    assert_eq!(what(ids[3]), "planned: adopt; now: create");
    assert_eq!(what(ids[6]), "planned: adopt; now: conflict");
    assert!(what(ids[25]).starts_with("planned: create; now: adopt"), "{}", what(ids[25]));
    assert_eq!(what(ids[30]), "first_name: LiveDesk holds another value now");
    assert_eq!(what(ids[31]), "planned: create; now: not selected");
    assert_eq!(what(ids[32]), "planned, and did not come up");
    assert_eq!(what(new), "not in the plan; now: create");
    let after = records(&desk);
    for (id, line) in &lines {
        assert_eq!(after.contains_key(id), !moved.contains(id), "{line}");
    }
    // Who was refused is as they were, to the letter, and no link to them is left behind.
    let now: BTreeMap<u64, Value> = firstline.dump().as_array().unwrap().iter().map(by_id).collect();
    for (id, record) in &before {
        let adopted = now[id]["membership_no"].as_str().is_some_and(|stamp| stamp.starts_with("LD-"));
        assert!(adopted || now[id] == *record, "{record}");
    }
    let status = desk.run(&["--json", "status"]).await.expect(0).json();
    assert_eq!(status["links"], 33, "{status}");
    assert!(desk.files().iter().any(|name| name.starts_with("deskferry-moved-")), "{:?}", desk.files());
    // What is left over is for the next plan.
    let (_, lines, _) = plan(&desk, &[], 1).await;
    let left: Vec<u64> = lines.keys().copied().collect();
    assert_eq!(left, [ids[0], ids[3], ids[6], ids[25], ids[30], ids[31], new]);
}

fn by_id(record: &Value) -> (u64, Value) {
    (record["id"].as_u64().unwrap(), record.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_something_else_or_a_damaged_one_is_refused_and_nothing_is_written() {
    let (desk, _) = desk_with(12).await;
    plan(&desk, &[], 0).await;
    let path = plan_path(&desk);
    let good = fs::read_to_string(&path).unwrap();
    let refused = async |text: &str, says: &[&str]| {
        desk.write("plan.jsonl", text);
        let ended = desk.run(&["backfill", "--yes", "--plan", &path]).await.expect(2);
        for part in says {
            ended.says(part);
        }
        assert_eq!(desk.sandbox.firstline().tally().writes(), 0);
    };
    let lines: Vec<&str> = good.lines().collect();
    let version = format!("\"program\":\"{}\"", env!("CARGO_PKG_VERSION"));
    refused(&good.replacen(&version, "\"program\":\"9.9.9\"", 1), &["program version", "9.9.9"]).await;
    refused(
        &good.replacen(&desk.sandbox.firstline_url(), "https://other.example/api/v1", 1),
        &["FIRST LINE account", "https://other.example/api/v1"],
    )
    .await;
    refused(&good.replacen("\"deskferry_plan\":1", "\"deskferry_plan\":2", 1), &["format 2"]).await;
    refused(
        &good.replacen("\"action\":\"create\"", "\"action\":\"adopt\"", 1),
        &["line 2", "changed since it was written"],
    )
    .await;
    refused(&good.replacen(lines[4], &lines[4][..lines[4].len() / 2], 1), &["damaged in line 5"]).await;
    refused(&lines[..6].join("\n"), &["damaged in line 7", "ends before the plan does"]).await;
    refused(&good.replacen(&format!("{}\n", lines[3]), "", 1), &["12 lines of contacts, here are 11"]).await;
    refused("no plan at all\n", &["its first line is no header"]).await;
    refused("", &["its first line is no header"]).await;
    desk.run(&["backfill", "--yes", "--plan", "nowhere.jsonl"]).await.expect(2).says("nowhere.jsonl cannot be read");
    desk.write("plan.jsonl", &good);
    desk.write("mapping.toml", &MAPPING.replace("owner = \"union\"\n\n[[cz_cols]]\nid = 39", "\n[[cz_cols]]\nid = 39"));
    let ended = desk.run(&["backfill", "--yes", "--plan", &path]).await.expect(2);
    ended.says("owner of cz_col 35: the plan has `union`, here it is ``");
    desk.write("mapping.toml", &MAPPING.replace("given", "nick"));
    desk.run(&["backfill", "--yes", "--plan", &path]).await.expect(2).says("mapping version");
    desk.write("mapping.toml", MAPPING);
    desk.replace("LD-", "XX-");
    desk.run(&["backfill", "--yes", "--plan", &path]).await.expect(2).says("setting identity.stamp");
    desk.replace("XX-", "LD-");
    assert_eq!(desk.sandbox.firstline().tally().writes(), 0);
    desk.run(&["backfill", "--yes", "--plan", &path]).await.expect(0);
    assert_eq!(desk.creates(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_shows_no_value_of_a_person_unless_it_is_asked_to() {
    let (desk, ids) = desk_with(12).await;
    earlier_customers(&desk, 4);
    let values = ["Person 8", "person8@example.com", "+886912000008", "Given8", "Company8", "Earlier"];
    for arguments in [&["plan"][..], &["plan", "--full"], &["--json", "plan"]] {
        let ended = desk.run(arguments).await.expect(0);
        for value in values {
            assert!(!ended.out.contains(value) && !ended.err.contains(value), "{value}: {}", ended.out);
        }
    }
    plan(&desk, &[], 0).await;
    let file = fs::read_to_string(desk.path("plan.jsonl")).unwrap();
    for value in values {
        assert!(!file.contains(value), "{value}: {file}");
    }
    let full = desk.run(&["plan", "--full", "--show-values"]).await.expect(0);
    for value in values {
        assert!(full.out.contains(value), "{value}: {}", full.out);
    }
    for id in &ids {
        full.says(&format!("contact {id}"));
    }
    let shown = desk.run(&["plan"]).await.expect(0);
    for said in ["adopt", "create", "requests to LiveDesk", "first_name", "values are masked", "p…@….com"] {
        shown.says(said);
    }
    // A masked plan is as good as one with values.
    desk.run(&["backfill", "--yes", "--plan", &plan_path(&desk)]).await.expect(0);
    assert_eq!((desk.creates(), records(&desk).len()), (8, 12));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_that_would_be_made_are_planned_and_made_as_planned() {
    let (desk, ids) = desk_with(12).await;
    desk.write("mapping.toml", &format!("{MAPPING}\n[[tags]]\nlabel = \"gold\"\ntag = \"VIP\"\n"));
    for id in &ids[..4] {
        desk.sandbox.livedesk().set_labels(*id, &["gold"]);
    }
    let (_, lines, end) = plan(&desk, &[], 0).await;
    assert_eq!((&end["tags_made"], &end["writes"]["tags"]), (&json!(["VIP"]), &json!(1)));
    assert_eq!((&lines[&ids[0]]["tags"][0]["new"], &lines[&ids[5]]["tags"]), (&json!("VIP"), &Value::Null));
    assert!(desk.sandbox.firstline().tags().is_empty());
    let writes: u64 = end["writes"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    desk.run(&["backfill", "--yes", "--plan", &plan_path(&desk)]).await.expect(0);
    assert_eq!(desk.sandbox.firstline().tally().writes(), writes);
    let tagged = records(&desk);
    let has = |id: &u64| tagged[id]["tags"].as_array().or(tagged[id]["tag_ids"].as_array()).map_or(0, Vec::len);
    assert_eq!(ids.iter().map(has).sum::<usize>(), 4, "{:?}", tagged[&ids[0]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_about_a_contact_that_is_gone_is_planned_and_done_as_planned() {
    let understood = format!("policy = \"delete\"\ni_understand = \"{I_UNDERSTAND}\"");
    for (policy, action, done) in
        [("policy = \"tag\"\ntag = \"gone\"", "mark", "were marked"), (understood.as_str(), "delete", "were deleted")]
    {
        let (desk, ids) = desk_with(12).await;
        let settings = fs::read_to_string(desk.path("deskferry.toml")).unwrap();
        let deletes = format!("[deletes]\n{policy}\nceiling_percent = 100.0\ngrace = \"0s\"\n");
        desk.write("deskferry.toml", &format!("{settings}\n{deletes}"));
        desk.run(&["backfill", "--yes"]).await.expect(0);
        desk.sandbox.livedesk().delete(ids[4]);
        desk.run(&["backfill", "--yes"]).await.expect(0);
        desk.sandbox.firstline().reset_counts();
        let (_, lines, end) = plan(&desk, &[], 0).await;
        assert_eq!(actions(&lines), [(ids[4], action)].into(), "{end}");
        desk.run(&["backfill", "--yes", "--plan", &plan_path(&desk)]).await.expect(0).says(done);
        let tally = desk.sandbox.firstline().tally();
        assert_eq!(tally.contact_update + tally.contact_delete, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_goes_on_beside_a_process_that_has_the_state_and_changes_nothing_in_it() {
    let (desk, _) = desk_with(12).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let held = desk.lock().await;
    let runs = held.runs(10).await.unwrap();
    let (_, _, end) = plan(&desk, &[], 0).await;
    assert_eq!(end["contacts"], json!({ "nothing": 12 }));
    desk.run(&["plan"]).await.expect(0).says("the state is in use");
    assert_eq!(held.runs(10).await.unwrap(), runs);
    held.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_in_doubt_is_shown_as_that_and_a_stopped_run_of_a_plan_is_gone_on_with() {
    let (desk, ids) = desk_with(30).await;
    desk.replace("doubt_horizon = \"1s\"", "doubt_horizon = \"1h\"");
    plan(&desk, &[], 0).await;
    let faults = desk.sandbox.firstline_faults();
    let creates = FaultFilter::on("POST", "/contact");
    faults.next(Fault::Reset, 1, creates);
    let first =
        desk.run(&["--no-wait", "--json", "backfill", "--yes", "--plan", &plan_path(&desk)]).await.expect(1).json();
    assert_eq!((&first["parked"], &first["moved"]), (&json!(1), &json!(0)), "{first}");
    let beside = desk.path("second.jsonl");
    let writes = desk.sandbox.firstline().tally().writes();
    desk.run(&["plan", "-o", beside.to_str().unwrap()]).await.expect(1).says("parked");
    assert_eq!(desk.sandbox.firstline().tally().writes(), writes);
    desk.replace("doubt_horizon = \"1h\"", "doubt_horizon = \"1s\"");
    // The same plan once more: what is done is done, and what was in doubt is finished.
    let second = desk.run(&["--json", "backfill", "--yes", "--plan", &plan_path(&desk)]).await.expect(0).json();
    assert_eq!((&second["moved"], &second["unmet"], &second["parked"]), (&json!(0), &json!(0), &json!(0)), "{second}");
    assert_eq!(records(&desk).len(), ids.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rehearsal_picks_a_spread_and_names_whom_to_look_at_and_how_to_undo_it() {
    let mut picked = Vec::new();
    for _ in 0..2 {
        let (desk, ids) = desk_with(120).await;
        let livedesk = desk.sandbox.livedesk();
        livedesk.edit(ids[70], |contact| drop(contact.insert("blocked".into(), json!(true))));
        livedesk.edit(ids[81], |contact| drop(contact.insert("email".into(), Value::Null)));
        livedesk.edit(ids[92], |contact| drop(contact.insert("name".into(), json!("Person <b>&amp;</b> \u{1f600}"))));
        livedesk.edit(ids[99], |contact| {
            contact.insert("custom_attributes".into(), json!({ "points": "many" }));
        });
        livedesk.edit(ids[103], |contact| drop(contact.insert("custom_attributes".into(), json!({}))));
        livedesk.edit(ids[110], |contact| drop(contact.insert("phone_number".into(), json!("+886912000003"))));
        let ended = desk.run(&["backfill", "--yes", "--limit", "12"]).await.expect(1);
        for said in
            ["look at these customers in FIRST LINE", "deskferry undo 1", "blocked", "odd characters", "no e-mail"]
        {
            ended.says(said);
        }
        assert_eq!(desk.creates(), 10, "one is blocked, one is rejected: {}", ended.out);
        let again = desk.run(&["--json", "backfill", "--yes", "--limit", "12"]).await.expect(1).json();
        let rows = again["rehearsed"].as_array().unwrap();
        assert_eq!(rows.len(), 12);
        let places = |row: &Value| ids.iter().position(|id| row["livedesk_id"] == *id).unwrap();
        let places: Vec<usize> = rows.iter().map(places).collect();
        for special in [70, 81, 92, 99, 103, 110] {
            assert!(places.contains(&special), "{special}: {ended}", ended = ended.out);
        }
        assert_eq!(again["rehearsed_by"], json!([1]), "{again}");
        let third = desk.run(&["backfill", "--yes", "--limit", "12"]).await.expect(1);
        third.says("this run changed nothing");
        third.says("taken back whole: `deskferry undo 1`");
        assert!(!third.out.contains("undo 3"), "{}", third.out);
        let records = records(&desk);
        for row in rows {
            let record = records.get(&row["livedesk_id"].as_u64().unwrap());
            assert_eq!(record.map(|record| &record["id"]), Some(&row["firstline_id"]).filter(|id| !id.is_null()));
            assert!(!row["why"].as_array().unwrap().is_empty(), "{row}");
        }
        picked.push(places);
    }
    assert_eq!(picked[0], picked[1], "the same account, the same picks");
}

/// 200 people of all kinds before a tenant with 60 customers, some of whom are among them.
async fn crowd(firstline: FirstLineSwitches) -> Desk {
    let config = SandboxConfig { contacts: 200, edge_cases: true, firstline, ..SandboxConfig::default() };
    let desk = Desk { folder: tempfile::tempdir().unwrap(), sandbox: Sandbox::start(config).await.unwrap() };
    desk.write("deskferry.toml", &desk.settings());
    desk.write("mapping.toml", template::MAPPING);
    let known = |key: &str| -> Vec<String> {
        let values = desk.sandbox.livedesk().contacts().filter_map(|contact| Some(contact[key].as_str()?.to_owned()));
        values.filter(|value| !value.is_empty()).step_by(7).take(20).collect()
    };
    let (emails, phones) = (known("email"), known("phone_number"));
    let (emails, phones): (Vec<&str>, Vec<&str>) =
        (emails.iter().map(String::as_str).collect(), phones.iter().map(String::as_str).collect());
    desk.sandbox.firstline().seed_customers(60, 7, &emails, &phones);
    desk
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_crowd_of_all_kinds_each_contact_gets_the_action_that_was_planned_for_it() {
    let sparing = FirstLineSwitches {
        update_replaces: true,
        list_omits_cz_cols: true,
        get_omits_children: true,
        ..FirstLineSwitches::default()
    };
    for firstline in [FirstLineSwitches::default(), sparing] {
        let desk = crowd(firstline).await;
        let (_, lines, end) = plan(&desk, &["--show-values"], 0).await;
        let planned = |action: &str| end["contacts"][action].as_u64().unwrap_or_default();
        assert!(planned("create") > 100 && planned("adopt") > 10, "{end}");
        let ended = desk.run(&["--json", "backfill", "--yes", "--plan", &plan_path(&desk)]).await.expect(0).json();
        assert_eq!((&ended["moved"], &ended["unmet"]), (&json!(0), &json!(0)), "{ended}");
        for (count, action) in
            [("created", "create"), ("adopted", "adopt"), ("set_aside", "reject"), ("conflicts", "conflict")]
        {
            assert_eq!(ended[count], planned(action), "{count}: {ended} {end}");
        }
        let store = desk.lock().await;
        let links = store.links_page(LiveDeskId(-1), 1_000).await.unwrap();
        store.close().await;
        let done: BTreeMap<u64, &str> = (links.iter())
            .map(|link| {
                (link.livedesk_id.0.unsigned_abs(), if link.origin == Origin::Created { "create" } else { "adopt" })
            })
            .collect();
        let mut deeds = actions(&lines);
        deeds.retain(|_, action| matches!(*action, "create" | "adopt"));
        assert_eq!(deeds, done);
        for link in links.iter().filter(|link| link.origin != Origin::Created) {
            assert_eq!(lines[&link.livedesk_id.0.unsigned_abs()]["firstline_id"], link.target.0);
        }
        let after: BTreeMap<u64, Value> =
            desk.sandbox.firstline().dump().as_array().unwrap().iter().map(by_id).collect();
        for link in &links {
            assert_done(&lines[&link.livedesk_id.0.unsigned_abs()], &after[&link.target.0.unsigned_abs()]);
        }
        let (_, again, end) = plan(&desk, &[], 0).await;
        assert!(
            again
                .values()
                .all(|line| ["reject", "conflict", "not_selected"].contains(&line["action"].as_str().unwrap())),
            "{end}"
        );
    }
}
