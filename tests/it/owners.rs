//! Who owns a field: what agents and the source each changed, and what stands after a run, field by field.

use std::collections::BTreeMap;

use deskferry::domain::outcome::SetAsideKind;
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::{Fault, FaultFilter};
use deskferry::sandbox::firstline::{ClearBy, FilterMode, FirstLineSwitches, PhoneCheck};
use deskferry::sync::pipeline::{Entrants, RunEnd};
use serde_json::{Value, json};

use crate::unhappy::{program, text};
use crate::world::World;

/// One field per owner, and one that names none.
const MAPPING: &str = r#"
[contact]
first_name = "(custom_attributes.full or name) | squeeze"
last_name = { value = "custom_attributes.given", owner = "source" }
identity_no = { value = "custom_attributes.passport", owner = "target" }

[[cz_cols]]
id = 33
value = "custom_attributes.points | number"

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

async fn bare(firstline: FirstLineSwitches, mapping: &str) -> World {
    let config = SandboxConfig { contacts: 0, edge_cases: false, firstline, ..SandboxConfig::default() };
    let mut world = World::start(config).await;
    mapping.clone_into(&mut world.mapping);
    world
}

fn attributes(number: usize, version: &str) -> Value {
    json!({ "given": format!("Given{version}"), "passport": format!("P{version}"), "points": number,
        "interests": ["music"], "company": format!("Company{version}") })
}

fn person(number: usize) -> Value {
    json!({ "name": format!("Person {number}"), "email": format!("person{number}@example.com"),
        "phone_number": format!("+8869120{number:05}"), "custom_attributes": attributes(number, "") })
}

fn edit(world: &World, id: u64, field: &str, value: Value) {
    assert!(world.sandbox.livedesk().edit(id, |contact| drop(contact.insert(field.to_owned(), value))));
}

/// Every record by its stamp.
fn records(world: &World) -> BTreeMap<String, Value> {
    let Value::Array(dump) = world.sandbox.firstline().dump() else { panic!("a list") };
    dump.into_iter().map(|record| (record["membership_no"].as_str().unwrap().to_owned(), record)).collect()
}

/// The record of a contact.
fn record(world: &World, id: u64) -> Value {
    let stamp = format!("LD-{id}");
    let dump = world.sandbox.firstline().dump();
    dump.as_array().unwrap().iter().find(|record| record["membership_no"] == stamp.as_str()).unwrap().clone()
}

fn values(record: &Value, list: &str) -> Vec<String> {
    let key = if list == "emails" { "address" } else { "number" };
    record[list].as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
}

async fn one(firstline: FirstLineSwitches, mapping: &str) -> (World, u64, u64) {
    let world = bare(firstline, mapping).await;
    let id = world.sandbox.livedesk().add_contact(person(1));
    let end = world.backfill().await;
    assert_eq!(end.summary.created, 1, "{:?}", end.summary);
    let target = record(&world, id)["id"].as_u64().unwrap();
    (world, id, target)
}

/// What an agent does to a record.
fn agent_edits(world: &World, target: u64) {
    let firstline = world.sandbox.firstline();
    for (field, value) in [
        ("last_name", json!("Agent")),
        ("identity_no", json!("PAgent")),
        ("cz_cols.33", json!(999)),
        ("cz_cols.35", json!(["food"])),
        ("cz_cols.39", json!("Agents Ltd")),
        ("cz_cols.40", json!("an agent's note")),
    ] {
        assert!(firstline.edit(target, field, value));
    }
    firstline.add_email(target, &format!("agent{target}@example.com")).unwrap();
    firstline.add_phone(target, &format!("+8869330{target:05}")).unwrap();
}

/// What the source changes.
fn source_edits(world: &World, id: u64, number: usize) {
    let mut attributes = attributes(number + 1000, "New");
    attributes["interests"] = json!(["travel"]);
    edit(world, id, "custom_attributes", attributes);
    edit(world, id, "email", json!(format!("new{number}@example.com")));
    edit(world, id, "phone_number", json!(format!("+8869550{number:05}")));
}

/// 500 contacts: agents edit 100, the source 100, both another 50.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_edits_on_both_sides_each_owners_rule_holds_field_by_field_and_a_second_run_writes_nothing() {
    let world = bare(FirstLineSwitches::default(), MAPPING).await;
    let (firstline, livedesk) = (world.sandbox.firstline(), world.sandbox.livedesk());
    let ids: Vec<u64> = (0..500).map(|number| livedesk.add_contact(person(number))).collect();
    let end = world.backfill().await;
    assert_eq!(end.summary.created, 500, "{:?}", end.summary);
    let before = records(&world);
    let targets: Vec<u64> = ids.iter().map(|id| before[&format!("LD-{id}")]["id"].as_u64().unwrap()).collect();
    for number in (0..100).chain(200..250) {
        agent_edits(&world, targets[number]);
    }
    for number in (100..200).chain(200..250) {
        source_edits(&world, ids[number], number);
    }
    firstline.reset_counts();
    let end = world.backfill().await;
    assert_eq!((end.summary.updated, end.summary.exit_code()), (150, 0), "{:?}", end.summary);
    assert_eq!(firstline.tally().contact_create + firstline.tally().contact_delete, 0);
    let after = records(&world);
    for (number, id) in ids.iter().enumerate() {
        let now = &after[&format!("LD-{id}")];
        let (target, column) = (targets[number], |id: &str| now["cz_cols"][id].clone());
        let (agent, source) =
            ((0..100).contains(&number) || (200..250).contains(&number), (100..250).contains(&number));
        // source: what the source changed, else what the agent changed.
        let last_name = if source {
            "GivenNew"
        } else if agent {
            "Agent"
        } else {
            "Given"
        };
        assert_eq!(now["last_name"], last_name, "{number}");
        let points = if source {
            json!(number + 1000)
        } else if agent {
            json!(999)
        } else {
            json!(number)
        };
        assert_eq!(column("33"), points, "{number}");
        // target: never after creation.
        assert_eq!(now["identity_no"], if agent { "PAgent" } else { "P" }, "{number}");
        // fill_blank: never over a value.
        assert_eq!(column("39"), if agent { "Agents Ltd" } else { "Company" }, "{number}");
        // union: nothing of the agent's is taken away.
        let mut interests: Vec<String> = serde_json::from_value(column("35")).unwrap();
        interests.sort();
        let expected: &[&str] = match (agent, source) {
            (false, false) => &["music"],
            (true, false) => &["food"],
            (false, true) => &["music", "travel"],
            (true, true) => &["food", "travel"],
        };
        assert_eq!(interests, expected, "{number}");
        // Nobody maps it.
        assert_eq!(column("40"), if agent { json!("an agent's note") } else { Value::Null }, "{number}");
        let own = if source { format!("new{number}@example.com") } else { format!("person{number}@example.com") };
        let agents = agent.then(|| format!("agent{target}@example.com"));
        assert_eq!(values(now, "emails"), [own].into_iter().chain(agents).collect::<Vec<_>>(), "{number}");
        let phones = [format!("+8869120{number:05}")].into_iter();
        let phones = phones.chain(agent.then(|| format!("+8869330{target:05}")));
        let phones = phones.chain(source.then(|| format!("+8869550{number:05}")));
        assert_eq!(values(now, "phones"), phones.collect::<Vec<_>>(), "{number}");
    }
    // Five fields of each of the fifty were changed on both sides; lists that agents only added to are none of them.
    assert_eq!(end.summary.both_changed, 250, "{:?}", end.summary.both_changed_rows.first());
    let written = |field: &str| {
        let rows = end.summary.both_changed_rows.iter().filter(|row| row.field == field);
        rows.map(|row| row.written).collect::<Vec<_>>()
    };
    for (field, stands) in
        [("last_name", true), ("cz_col 33", true), ("cz_col 35", true), ("identity_no", false), ("cz_col 39", false)]
    {
        assert_eq!(written(field), [stands; 50], "{field}");
    }
    firstline.reset_counts();
    let end = world.backfill().await;
    assert_eq!((firstline.tally().writes(), end.summary.unchanged), (0, 500), "{:?}", end.summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_changed_on_both_sides_are_listed_by_id_and_field_and_never_by_value() {
    let (world, id, target) = one(FirstLineSwitches::default(), MAPPING).await;
    agent_edits(&world, target);
    source_edits(&world, id, 1);
    let output = program(&world, &["--json", "backfill"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["both_changed"], 5, "{summary}");
    let rows = summary["both_changed_fields"].as_array().unwrap();
    let first = json!({ "livedesk_id": id, "firstline_id": target, "field": "last_name", "written": true });
    assert!(rows.contains(&first), "{rows:?}");
    let csv = std::fs::read_to_string(summary["both_changed_file"].as_str().unwrap()).unwrap();
    assert!(csv.contains(&format!("{id},{target},identity_no,FIRST LINE")), "{csv}");
    for value in ["Agent", "GivenNew", "PNew"] {
        assert!(!csv.contains(value) && !text(&output.stdout).contains(value), "{csv}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_of_the_whole_file_holds_for_every_line_that_names_none() {
    let mapping = format!(
        "owner = \"target\"\n{}",
        MAPPING.replace("owner = \"union\"\n", "").replace("owner = \"fill_blank\"\n", "")
    );
    let (mut world, id, target) = one(FirstLineSwitches::default(), &mapping).await;
    let before = record(&world, id);
    source_edits(&world, id, 1);
    world.backfill().await;
    let after = record(&world, id);
    assert_eq!(after["last_name"], "GivenNew", "the line that names its owner");
    for (field, rest) in [("cz_cols", &after["cz_cols"]), ("emails", &after["emails"]), ("phones", &after["phones"])] {
        assert_eq!(*rest, before[field], "{target}");
    }
    // An owner that the file names later is owed what an earlier one left.
    world.mapping = world.mapping.replacen("\"target\"", "\"source\"", 1);
    world.backfill().await;
    let after = record(&world, id);
    assert_eq!((after["cz_cols"]["33"].clone(), after["cz_cols"]["39"].clone()), (json!(1001), json!("CompanyNew")));
    assert_eq!(after["identity_no"], "P", "the line that names its owner");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_never_clears_whether_unreadable_unmapped_or_not_read() {
    let (mut world, id, _) = one(FirstLineSwitches::default(), MAPPING).await;
    let before = record(&world, id);
    // Not convertible: points that are no number, a name that is no text, an address that is none.
    let mut unreadable = attributes(1, "");
    unreadable["points"] = json!("many");
    unreadable["given"] = json!("GivenNew");
    unreadable["full"] = json!(["Person"]);
    edit(&world, id, "custom_attributes", unreadable);
    edit(&world, id, "email", json!("no address"));
    let end = world.backfill().await;
    assert_eq!((end.summary.updated, end.summary.skipped_values.len()), (1, 3), "{:?}", end.summary);
    let mut expected = before.clone();
    expected["last_name"] = json!("GivenNew");
    assert_eq!(record(&world, id), expected);
    // Lines that were taken out.
    for line in [
        "last_name = { value = \"custom_attributes.given\", owner = \"source\" }\n",
        "[[cz_cols]]\nid = 33\nvalue = \"custom_attributes.points | number\"\n",
        "[[emails]]\nvalue = \"email\"\n",
    ] {
        assert!(world.mapping.contains(line));
        world.mapping = world.mapping.replace(line, "");
    }
    edit(&world, id, "custom_attributes", attributes(1, "New"));
    world.backfill().await;
    assert_eq!(record(&world, id), expected);
    // The name is legible again, and so it is written again.
    edit(&world, id, "name", json!("Person One"));
    world.backfill().await;
    assert_eq!(record(&world, id)["first_name"], "Person One");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_a_list_that_was_taken_out_takes_nothing_away() {
    let mapping = format!("{MAPPING}\n[[emails]]\nvalue = \"custom_attributes.second\"\n");
    let mut world = bare(FirstLineSwitches::default(), &mapping).await;
    let mut contact = person(1);
    contact["custom_attributes"]["second"] = json!("second@example.com");
    let id = world.sandbox.livedesk().add_contact(contact);
    world.backfill().await;
    MAPPING.clone_into(&mut world.mapping);
    edit(&world, id, "name", json!("Person One"));
    world.backfill().await;
    assert_eq!(values(&record(&world, id), "emails"), ["person1@example.com", "second@example.com"]);
    // Nor later: it is not ours any more.
    edit(&world, id, "email", json!("new@example.com"));
    world.backfill().await;
    assert_eq!(values(&record(&world, id), "emails"), ["new@example.com", "second@example.com"]);
}

async fn emptied(owner: &str, firstline: FirstLineSwitches, agent: impl Fn(&World, &Value)) -> (World, u64, RunEnd) {
    let mapping = MAPPING.replace("value = \"email\"\n", &format!("value = \"email\"\nowner = \"{owner}\"\n"));
    let (world, id, _) = one(firstline, &mapping).await;
    agent(&world, &record(&world, id));
    edit(&world, id, "email", Value::Null);
    let end = world.backfill().await;
    assert_eq!((end.summary.set_aside, end.summary.exit_code()), (0, 0), "{:?}", end.summary);
    (world, id, end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_left_the_source_is_removed_only_where_it_is_ours_and_the_source_owns_it() {
    let quiet = |_: &World, _: &Value| {};
    for (owner, left) in [("source", 0), ("union", 1), ("fill_blank", 1), ("target", 1)] {
        let (world, id, _) = emptied(owner, FirstLineSwitches::default(), quiet).await;
        assert_eq!(values(&record(&world, id), "emails").len(), left, "{owner}");
        world.sandbox.firstline().reset_counts();
        world.backfill().await;
        assert_eq!(world.sandbox.firstline().tally().writes(), 0, "{owner}");
    }
    // The before-image is kept, for `undo`.
    let (world, id, _) = emptied("source", FirstLineSwitches::default(), quiet).await;
    let store = world.store().await;
    let journal = store.journal_of_contact(deskferry::domain::ids::LiveDeskId(id.cast_signed())).await.unwrap();
    assert!(journal[0].action == "children" && journal[0].before.contains("person1@example.com"));
    store.close().await;
    // What an agent added stays; what an agent edited is not removed, and is told.
    let row = |record: &Value| record["emails"][0]["id"].as_u64().unwrap();
    let add = |world: &World, record: &Value| {
        world.sandbox.firstline().add_email(record["id"].as_u64().unwrap(), "agent@example.com").unwrap();
    };
    let (world, id, _) = emptied("source", FirstLineSwitches::default(), add).await;
    assert_eq!(values(&record(&world, id), "emails"), ["agent@example.com"]);
    // Gone already: nothing to remove, and no error.
    let remove = |world: &World, record: &Value| assert!(world.sandbox.firstline().remove_email(row(record)));
    let (world, id, end) = emptied("source", FirstLineSwitches::default(), remove).await;
    assert_eq!((values(&record(&world, id), "emails").len(), end.summary.both_changed), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_an_agent_corrected_goes_by_its_owner_when_the_source_changes_it_too() {
    for (owner, expected) in [
        ("source", vec!["+886966000001"]),
        ("union", vec!["+886955000001", "+886966000001"]),
        ("fill_blank", vec!["+886955000001"]),
        ("target", vec!["+886955000001"]),
    ] {
        let mapping = MAPPING.replace(
            "value = \"phone_number\"\nowner = \"union\"",
            &format!("value = \"phone_number\"\nowner = \"{owner}\""),
        );
        let (world, id, target) = one(FirstLineSwitches::default(), &mapping).await;
        let row = record(&world, id)["phones"][0]["id"].as_u64().unwrap();
        assert!(world.sandbox.firstline().edit_phone(target, row, "+886955000001"));
        edit(&world, id, "phone_number", json!("+886966000001"));
        let end = world.backfill().await;
        assert_eq!(values(&record(&world, id), "phones"), expected, "{owner}");
        let listed = &end.summary.both_changed_rows;
        let written = matches!(owner, "source" | "union");
        assert_eq!((listed.len(), listed[0].field.as_str(), listed[0].written), (1, "phones", written), "{owner}");
        // And a number that the source takes back is not removed when an agent wrote it.
        if owner == "source" {
            assert!(world.sandbox.firstline().edit_phone(target, row, "+886977000001"));
            edit(&world, id, "phone_number", Value::Null);
            world.backfill().await;
            assert_eq!(values(&record(&world, id), "phones"), ["+886977000001"]);
        }
    }
}

/// Every type of field, emptied at the source, in each way of clearing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_of_any_type_is_cleared_in_the_configured_way_or_left() {
    let mut mapping = String::from(
        r#"
[contact]
first_name = "name"
last_name = "custom_attributes.a"
identity_no = "custom_attributes.b"
gender = "custom_attributes.c"
birth_at = "custom_attributes.d"

[[emails]]
value = "email"
"#,
    );
    for id in 32..=39 {
        mapping.push_str("[[cz_cols]]\n");
        mapping
            .push_str(&["id = ", &id.to_string(), "\nvalue = \"custom_attributes.x", &id.to_string(), "\"\n"].concat());
    }
    let full = json!({ "a": "Given", "b": "P1", "c": 1, "d": "1990-05-17", "x32": "gold", "x33": 5, "x34": true,
        "x35": ["music"], "x36": "2024-02-02", "x37": "08:30", "x38": "2024-02-02 08:30:00", "x39": "text" });
    for (form, clear_by) in [
        ("null", ClearBy::Both),
        ("empty", ClearBy::Both),
        ("null", ClearBy::Null),
        ("empty", ClearBy::EmptyText),
        ("leave", ClearBy::Both),
    ] {
        let switches = FirstLineSwitches { clear_by, ..FirstLineSwitches::default() };
        let mut world = bare(switches, &mapping).await;
        world.choices.instead = vec![(
            "throttle_wait = \"20ms\"\n[http]",
            format!("throttle_wait = \"20ms\"\nclear_form = \"{form}\"\n[http]"),
        )];
        let contact = json!({ "name": "N", "identifier": "n", "email": "amy@example.com", "custom_attributes": full });
        let id = world.sandbox.livedesk().add_contact(contact);
        world.backfill().await;
        let before = record(&world, id);
        assert_eq!(before["cz_cols"].as_object().unwrap().len(), 8, "{before}");
        edit(&world, id, "custom_attributes", json!({}));
        edit(&world, id, "email", Value::Null);
        let end = world.backfill().await;
        let after = record(&world, id);
        if form == "leave" {
            assert_eq!((after, end.summary.kept), (before, 13), "{:?}", end.summary);
        } else {
            assert_eq!(end.summary.set_aside, 0, "{form} {clear_by:?}: {:?}", end.summary);
            assert_eq!(after["cz_cols"], json!({}), "{form} {clear_by:?}");
            for field in ["last_name", "identity_no", "gender", "birth_at"] {
                assert_eq!(after[field], Value::Null, "{form} {clear_by:?}: {field}");
            }
            assert_eq!(after["emails"], json!([]));
        }
        world.sandbox.firstline().reset_counts();
        world.backfill().await;
        assert_eq!(world.sandbox.firstline().tally().writes(), 0, "{form} {clear_by:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_number_that_sits_on_another_customer_follows_shared_keys() {
    for policy in ["create", "conflict"] {
        let mut world = bare(FirstLineSwitches::default(), MAPPING).await;
        world.choices.shared_keys = if policy == "create" { "create" } else { "conflict" };
        let livedesk = world.sandbox.livedesk();
        let (id, _other) = (livedesk.add_contact(person(1)), livedesk.add_contact(person(2)));
        world.backfill().await;
        edit(&world, id, "phone_number", json!("+886912000002"));
        let end = world.backfill().await;
        let phones = values(&record(&world, id), "phones");
        if policy == "create" {
            assert_eq!((phones.len(), end.summary.conflicts), (2, 0));
            continue;
        }
        assert_eq!((phones.len(), end.summary.conflicts, end.summary.exit_code()), (1, 1, 1));
        // A person decides that it may share the number.
        let own = record(&world, id)["id"].to_string();
        let id = id.to_string();
        let output = program(&world, &["conflicts", "resolve", &id, "--link", &own]).output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
        let (_, end) = world.run(Entrants::All).await.unwrap();
        assert_eq!((end.summary.updated, end.summary.conflicts), (1, 0), "{:?}", end.summary);
        assert_eq!(values(&record(&world, id.parse().unwrap()), "phones").len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_found_by_one_key_takes_no_other_key_from_a_third_where_that_is_a_conflict() {
    let mut world = bare(FirstLineSwitches::default(), MAPPING).await;
    world.choices.shared_keys = "conflict";
    world.sandbox.livedesk().add_contact(person(1));
    let person = person(1);
    let (email, phone) = (person["email"].as_str().unwrap(), person["phone_number"].as_str().unwrap());
    let firstline = world.sandbox.firstline();
    firstline.add_contact(&json!({ "first_name": "Theirs", "membership_no": "M1" }), &[email], &[], &[]);
    firstline.add_contact(&json!({ "first_name": "Third", "membership_no": "M2" }), &[], &[phone], &[]);
    let end = world.backfill().await;
    assert_eq!((end.summary.conflicts, end.summary.exit_code()), (1, 1), "{:?}", end.summary);
    let holders = records(&world).values().filter(|record| !values(record, "phones").is_empty()).count();
    assert_eq!(holders, 1, "the number went to nobody else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_agents_do_while_an_update_waits_for_first_line_is_not_undone_by_it() {
    let mut world = bare(FirstLineSwitches::default(), MAPPING).await;
    world.choices.instead.push(("timeout = \"5s\"", String::from("timeout = \"50ms\"")));
    let mut newcomer = person(1);
    newcomer["custom_attributes"] = json!({ "given": "Given" });
    let id = world.sandbox.livedesk().add_contact(newcomer);
    world.backfill().await;
    edit(&world, id, "custom_attributes", json!({ "given": "GivenNew", "company": "Source Ltd" }));

    // The record was read and its update is refused for now; then FIRST LINE goes away, and comes back much later.
    let faults = world.sandbox.firstline_faults();
    let only = FaultFilter { methods: vec![String::from("POST"), String::from("PUT")], path: String::new() };
    faults.next(Fault::Error, u64::MAX, only);
    let run = world.run(Entrants::All);
    tokio::pin!(run);
    let mut step = 0;
    let upto = |more: u64| faults.requests() + more;
    let mut waiting_for = upto(4);
    let (_, end) = loop {
        if let Ok(end) = tokio::time::timeout(std::time::Duration::from_millis(1), &mut run).await {
            break end.unwrap();
        }
        if faults.requests() < waiting_for {
            continue;
        }
        if step == 0 {
            faults.start_outage();
            let target = record(&world, id)["id"].as_u64().unwrap();
            assert!(world.sandbox.firstline().edit(target, "cz_cols.39", json!("Agents Ltd")));
            waiting_for = upto(10);
        } else if step == 1 {
            faults.change(|settings| settings.next.clear());
            faults.end_outage();
        }
        step += 1;
    };
    assert!(step >= 2, "the run did not wait");
    assert_eq!((end.summary.updated, end.summary.exit_code()), (1, 0), "{:?}", end.summary);
    let record = record(&world, id);
    assert_eq!((&record["last_name"], &record["cz_cols"]["39"]), (&json!("GivenNew"), &json!("Agents Ltd")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_has_no_end_within_reach_is_not_taken_for_the_whole_list() {
    // The record names no e-mails, the filter by contact is ignored, and the list of everybody's is long.
    let switches = FirstLineSwitches {
        nulls_left_out: true,
        filter_contact_id: FilterMode::Ignored,
        per_page_max: 1,
        ..FirstLineSwitches::default()
    };
    let (world, id, target) = one(FirstLineSwitches::default(), MAPPING).await;
    let firstline = world.sandbox.firstline();
    firstline.seed_customers(30, 1, &[], &[]);
    assert!(firstline.remove_email(record(&world, id)["emails"][0]["id"].as_u64().unwrap()));
    firstline.set_switches(switches);
    edit(&world, id, "email", json!("new@example.com"));
    let end = world.backfill().await;
    assert_eq!((end.summary.set_aside, end.summary.exit_code()), (1, 1), "{:?}", end.summary);
    assert_eq!(end.summary.set_aside_rows[0].reason.kind, SetAsideKind::Unproven);
    assert_eq!(values(&record(&world, id), "emails").len(), 0, "{target}");
    firstline.set_switches(FirstLineSwitches::default());
    let end = world.backfill().await;
    assert_eq!((end.summary.set_aside, values(&record(&world, id), "emails").len()), (0, 1), "{:?}", end.summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_with_one_child_refused_and_another_in_doubt_is_told_once() {
    let switches = FirstLineSwitches { phone_check: PhoneCheck::Taiwan, ..FirstLineSwitches::default() };
    let world = bare(switches, MAPPING).await;
    let faults = world.sandbox.firstline_faults();
    faults.change(|settings| settings.late_ms = 40);
    faults.next(Fault::Late, 1, FaultFilter::on("POST", "/email-contact"));
    let id = world.sandbox.livedesk().add_contact(person(1));
    let end = world.backfill().await;
    assert_eq!((end.summary.set_aside, end.summary.parked, end.summary.exit_code()), (1, 0, 1), "{:?}", end.summary);
    assert_eq!(end.summary.set_aside_rows.len(), 1);
    assert_eq!(values(&record(&world, id), "emails"), ["person1@example.com"]);
    world.sandbox.firstline().set_switches(FirstLineSwitches::default());
    let only = deskferry::domain::ids::LiveDeskId(id.cast_signed());
    let (_, end) = world.run(Entrants::Only([only].into())).await.unwrap();
    assert_eq!((end.summary.set_aside, end.summary.exit_code()), (0, 0), "{:?}", end.summary);
    let now = record(&world, id);
    assert_eq!((values(&now, "emails").len(), values(&now, "phones").len()), (1, 1));
}
