//! The inboxes of a contact: only in some answers, and what is not in an answer is unknown.

use deskferry::sandbox::SandboxConfig;
use serde_json::json;

use crate::unhappy::{program, text};
use crate::world::World;

const MAPPING: &str = r#"
owner = "source"

[contact]
first_name = "name"

[[cz_cols]]
id = 39
value = "contact_inboxes | channels | join(', ')"
"#;

/// One contact with one inbox, carried.
async fn world() -> World {
    let mut world = World::start(SandboxConfig { contacts: 0, edge_cases: false, ..SandboxConfig::default() }).await;
    MAPPING.clone_into(&mut world.mapping);
    let inbox = json!({ "id": 1, "name": "Shop", "channel_type": "Channel::Line" });
    world.sandbox.livedesk().add_contact(json!({ "name": "Person", "identifier": "p",
        "contact_inboxes": [{ "source_id": "U1", "inbox": inbox }] }));
    let (code, shown) = run(&world, &["backfill"]).await;
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(channels(&world), json!("Line: U1 (Shop)"));
    world
}

fn channels(world: &World) -> serde_json::Value {
    world.sandbox.firstline().dump()[0]["cz_cols"]["39"].clone()
}

async fn run(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let output = program(world, args).output().await.unwrap();
    (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_that_is_read_by_its_id_keeps_its_channels() {
    let world = world().await;
    let id = world.sandbox.livedesk().listed_ids()[0];
    world.sandbox.livedesk().edit(id, |contact| drop(contact.insert(String::from("name"), json!("Amy"))));
    let (code, shown) = run(&world, &["backfill", "--only", &id.to_string()]).await;
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(world.sandbox.firstline().dump()[0]["first_name"], "Amy");
    assert_eq!(channels(&world), json!("Line: U1 (Shop)"));
    assert!(world.sandbox.livedesk().counts()["served"]["by_id"].as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_without_inboxes_are_refused_before_the_first_write() {
    let mut world = world().await;
    world.choices.instead.push(("[livedesk]", String::from("[livedesk]\ninclude_inboxes = false")));
    for command in ["check", "backfill"] {
        let (code, shown) = run(&world, &[command]).await;
        let said = "livedesk.include_inboxes: false, but a line of the mapping reads contact_inboxes";
        assert!(code == Some(2) && shown.contains(said), "{command}: {code:?} {shown}");
    }
    assert_eq!(channels(&world), json!("Line: U1 (Shop)"));
}
