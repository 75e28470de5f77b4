//! The drift gate: a definition that changed since the last run stops its field, not the run.

use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::firstline::{Category, Column, ColumnKind, default_definitions};
use serde_json::{Value, json};

use crate::unhappy::{program, text};
use crate::world::World;

const MAPPING: &str = r#"
[contact]
first_name = "name"

[[cz_cols]]
id = 32
value = "custom_attributes.level"
options = { VIP = "platinum" }

[[cz_cols]]
id = 33
value = "custom_attributes.points"

[[cz_cols]]
id = 35
value = "custom_attributes.interests"

[[cz_cols]]
field = "Customer form / City"
value = "custom_attributes.city"
"#;

async fn world() -> World {
    world_with(MAPPING, default_definitions()).await
}

async fn world_with(mapping: &str, definitions: Vec<Category>) -> World {
    let mut world = World::start(SandboxConfig { contacts: 0, edge_cases: false, ..SandboxConfig::default() }).await;
    mapping.clone_into(&mut world.mapping);
    world.sandbox.firstline().set_definitions(definitions);
    for number in 0..3 {
        world
            .sandbox
            .livedesk()
            .add_contact(json!({ "name": format!("Person {number}"), "identifier": format!("p{number}"),
            "custom_attributes": { "level": "gold", "points": number, "interests": ["music"], "city": "Taipei" } }));
    }
    let end = world.backfill().await;
    assert_eq!((end.summary.created, end.summary.exit_code()), (3, 0), "{:?}", end.summary);
    world
}

/// Changes one column of the customer form, or takes it away.
fn change(world: &World, id: i64, change: impl FnOnce(&mut Vec<Column>, usize)) {
    world.sandbox.firstline().set_definitions(changed(default_definitions(), id, change));
}

fn changed(mut definitions: Vec<Category>, id: i64, change: impl FnOnce(&mut Vec<Column>, usize)) -> Vec<Category> {
    let columns = &mut definitions[0].columns;
    let at = columns.iter().position(|column| column.id == id).unwrap();
    change(columns, at);
    definitions
}

fn edit_all(world: &World, city: &str) {
    for id in world.sandbox.livedesk().listed_ids() {
        world.sandbox.livedesk().edit(id, |contact| {
            contact.insert(
                String::from("custom_attributes"),
                json!({ "level": "silver", "points": 77, "interests": ["food"], "city": city }),
            );
        });
    }
}

fn columns(world: &World) -> Value {
    world.sandbox.firstline().dump()[0]["cz_cols"].clone()
}

async fn run(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let output = program(world, args).output().await.unwrap();
    (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_was_renamed_retyped_or_removed_stops_its_field_and_is_shown() {
    type Change = fn(&mut Vec<Column>, usize);
    let rows: [(i64, Change, &str); 4] = [
        (33, |columns, at| columns[at].name = String::from("Score"), "is called Customer form / Score now"),
        (33, |columns, at| columns[at].kind = ColumnKind::Text, "was a number and is a text now"),
        (33, |columns, at| drop(columns.remove(at)), "is gone"),
        (42, |columns, at| columns[at].name = String::from("Town"), "is called Customer form / Town now"),
    ];
    for (field, drift, says) in rows {
        let world = world().await;
        let key = field.to_string();
        let before = columns(&world);
        change(&world, field, drift);
        let (code, shown) = run(&world, &["check"]).await;
        assert!(code == Some(0) && shown.contains(says) && shown.contains("mapping.toml:"), "{says}: {shown}");
        edit_all(&world, "Tainan");
        let (code, shown) = run(&world, &["--json", "backfill"]).await;
        assert_eq!(code, Some(1), "{shown}");
        assert!(shown.contains(says) && shown.contains("\"updated\":3"), "{says}: {shown}");
        let after = columns(&world);
        assert_eq!((&after[&key], &after["32"]), (&before[&key], &json!("silver")), "{says}");
        let (_, shown) = run(&world, &["status"]).await;
        assert!(shown.contains(says), "{shown}");
        // Nothing changed since, so nothing is read, and it still is said.
        world.sandbox.firstline().reset_counts();
        let (code, shown) = run(&world, &["backfill"]).await;
        assert!(code == Some(1) && shown.contains(says), "{shown}");
        let counts = world.sandbox.firstline().tally();
        assert_eq!((counts.writes(), counts.contact_update), (0, 0));
        // As it was: the field goes on where it stopped.
        world.sandbox.firstline().set_definitions(default_definitions());
        let (code, shown) = run(&world, &["backfill"]).await;
        assert_eq!(code, Some(0), "{shown}");
        assert_eq!(columns(&world)[&key], if field == 33 { json!(77) } else { json!("Tainan") }, "{says}");
        let (_, shown) = run(&world, &["status"]).await;
        assert!(!shown.contains(says), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_option_that_is_gone_stops_its_field_only_when_it_is_in_use() {
    let without = |lost: &'static str| {
        move |columns: &mut Vec<Column>, at: usize| columns[at].options.retain(|(_, value)| *value != lost)
    };
    for (field, lost, stops) in
        [(32, "bronze", false), (32, "gold", true), (32, "platinum", true), (35, "travel", true)]
    {
        let world = world().await;
        change(&world, field, without(lost));
        let end = world.backfill().await;
        assert_eq!(!end.summary.stopped_fields.is_empty(), stops, "{lost}: {:?}", end.summary.stopped_fields);
        assert_eq!(end.summary.exit_code(), u8::from(stops), "{lost}");
        if stops {
            assert!(end.summary.stopped_fields[0].contains(lost), "{:?}", end.summary.stopped_fields);
        }
    }
}

/// Gives the option of this value another text.
fn call(columns: &mut [Column], at: usize, value: &str, text: &str) {
    let option = columns[at].options.iter_mut().find(|(_, known)| *known == *value).unwrap();
    text.clone_into(&mut option.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_of_the_line_that_is_no_option_any_more_stops_its_field_and_not_the_run() {
    type Change = fn(&mut Vec<Column>, usize);
    let called = || {
        changed(default_definitions(), 32, |columns, at| {
            call(columns, at, "platinum", "白金卡");
            call(columns, at, "gold", "金卡");
        })
    };
    let translated = |word: &str| MAPPING.replace("VIP = \"platinum\"", &format!("VIP = \"{word}\""));
    let constant = MAPPING.replace("\"custom_attributes.level\"", "\"'金卡'\"");
    let rows: [(String, Change, &str); 5] = [
        (translated("白金卡"), |columns, at| call(columns, at, "platinum", "Best"), "called `白金卡` any more"),
        (constant, |columns, at| call(columns, at, "gold", "Good"), "called `'金卡'` any more"),
        (
            translated("PLATINUM"),
            |columns, at| columns[at].options.retain(|(_, value)| *value != "platinum"),
            "has lost the option platinum",
        ),
        (
            translated("白金卡"),
            |columns, at| {
                call(columns, at, "platinum", "Best");
                call(columns, at, "bronze", "白金卡");
            },
            "another option by `白金卡`",
        ),
        (
            translated("白金卡"),
            |columns, at| columns[at].options.push((String::from("白金卡"), json!("p2"))),
            "called `白金卡` any more",
        ),
    ];
    for (mapping, drift, says) in rows {
        let world = world_with(&mapping, called()).await;
        let before = columns(&world);
        world.sandbox.firstline().set_definitions(changed(called(), 32, drift));
        edit_all(&world, "Tainan");
        let (code, shown) = run(&world, &["check"]).await;
        assert!(code == Some(0) && shown.contains(says), "{says}: {shown}");
        let end = world.backfill().await;
        assert_eq!((end.summary.updated, end.summary.exit_code()), (3, 1), "{says}: {:?}", end.summary);
        assert!(end.summary.stopped_fields[0].contains(says), "{says}: {:?}", end.summary.stopped_fields);
        let after = columns(&world);
        assert_eq!((&after["32"], &after["42"]), (&before["32"], &json!("Tainan")), "{says}");
        // And so it is in the next run.
        assert_eq!(world.backfill().await.summary.stopped_fields.len(), 1, "{says}");
        world.sandbox.firstline().set_definitions(called());
        assert_eq!(world.backfill().await.summary.exit_code(), 0, "{says}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_field_of_the_same_name_stops_the_line_that_names_it_and_not_the_run() {
    let mut world = world_with(&MAPPING.replace("Customer form / City", "City"), default_definitions()).await;
    let before = columns(&world);
    let mut definitions = default_definitions();
    let second = vec![Column::new(71, "City", ColumnKind::Text)];
    definitions.push(Category::new(40, "Second form", 0, second));
    world.sandbox.firstline().set_definitions(definitions);
    edit_all(&world, "Tainan");
    for _ in 0..2 {
        let (code, shown) = run(&world, &["check"]).await;
        assert!(code == Some(0) && shown.contains("shares its name with cz_col 71 now"), "{shown}");
        // One contact is explained as a run would have it.
        let id = world.sandbox.livedesk().listed_ids()[0].to_string();
        let (code, shown) = run(&world, &["map", "explain", &id]).await;
        assert!(code == Some(0) && shown.contains("shares its name with cz_col 71 now"), "{shown}");
        assert!(shown.contains("cz_col 42 (Customer form / City), text: left out"), "{shown}");
        let end = world.backfill().await;
        assert_eq!((end.summary.stopped_fields.len(), end.summary.exit_code()), (1, 1), "{:?}", end.summary);
        let after = columns(&world);
        assert_eq!((&after["42"], &after["33"]), (&before["42"], &json!(77)));
        // The other field may be written by a line of its own meanwhile.
        world.mapping.push_str("\n[[cz_cols]]\nid = 71\nvalue = \"custom_attributes.city\"\n");
        let end = world.backfill().await;
        assert_eq!((end.summary.stopped_fields.len(), columns(&world)["71"].clone()), (1, json!("Tainan")));
        world.mapping.truncate(world.mapping.find("\n[[cz_cols]]\nid = 71").unwrap());
    }
    world.mapping = world.mapping.replace("field = \"City\"", "id = 42");
    let end = world.backfill().await;
    assert_eq!((end.summary.exit_code(), columns(&world)["42"].clone()), (0, json!("Tainan")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_was_mended_or_a_change_that_was_accepted_ends_the_stop() {
    // A line written for the new name.
    let mut one = world().await;
    change(&one, 42, |columns, at| columns[at].name = String::from("Town"));
    one.mapping = one.mapping.replace("Customer form / City", "Customer form / Town");
    edit_all(&one, "Tainan");
    let end = one.backfill().await;
    assert_eq!((end.summary.stopped_fields.len(), end.summary.exit_code()), (0, 0));
    assert_eq!(columns(&one)["42"], "Tainan");
    // A change that the operator takes as it is.
    let two = world().await;
    change(&two, 33, |columns, at| columns[at].name = String::from("Score"));
    assert_eq!(two.backfill().await.summary.exit_code(), 1);
    let (code, shown) = run(&two, &["fields", "--accept"]).await;
    assert_eq!(code, Some(0), "{shown}");
    edit_all(&two, "Tainan");
    assert_eq!(two.backfill().await.summary.exit_code(), 0);
    assert_eq!(columns(&two)["33"], json!(77));
    // Accepted, and yet wrong: a mistake of the mapping again, named before the first write.
    change(&two, 33, |columns, at| drop(columns.remove(at)));
    assert_eq!(run(&two, &["fields", "--accept"]).await.0, Some(0));
    two.sandbox.firstline().reset_counts();
    let (code, shown) = run(&two, &["backfill"]).await;
    assert!(code == Some(2) && shown.contains("no customer field with the id 33"), "{shown}");
    assert_eq!(two.sandbox.firstline().tally().writes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_was_never_right_is_a_mistake_and_no_drift() {
    let mut world = world().await;
    // It was defined in the last run, but no line wrote it then.
    change(&world, 39, |columns, at| drop(columns.remove(at)));
    world.mapping.push_str("\n[[cz_cols]]\nid = 39\nvalue = \"name\"\n");
    let (code, shown) = run(&world, &["backfill"]).await;
    assert!(code == Some(2) && shown.contains("no customer field with the id 39"), "{shown}");
}
