//! The journal: every change that a run makes at FIRST LINE is a row, once, with the link as it was and digests of what
//! was written; and no value of a person in what is not a before-image.

use deskferry::domain::ids::{FirstLineId, LiveDeskId};
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::{Fault, FaultFilter};
use deskferry::store::{JournalEntry, Link, Store, WriteOp};
use deskferry::sync::journal::read_link_image;
use serde_json::{Value, json};

use crate::world::World;

const MAPPING: &str = r#"
[contact]
first_name = { value = "name", owner = "source" }
identity_no = "custom_attributes.passport"
[[emails]]
value = "email"
owner = "source"
[[phones]]
value = "phone_number"
type = "mobile"
"#;

async fn world() -> World {
    let config = SandboxConfig { contacts: 0, edge_cases: false, ..SandboxConfig::default() };
    let mut world = World::start(config).await;
    MAPPING.clone_into(&mut world.mapping);
    world
}

fn person(number: usize) -> Value {
    json!({ "name": format!("Person {number}"), "email": format!("person{number}@example.com"),
        "phone_number": format!("+8869120{number:05}"), "custom_attributes": { "passport": format!("P{number}") } })
}

fn edit(world: &World, id: u64, field: &str, value: Value) {
    assert!(world.sandbox.livedesk().edit(id, |contact| drop(contact.insert(field.to_owned(), value))));
}

/// What was done with a contact, oldest first.
async fn journal(store: &Store, id: u64) -> Vec<JournalEntry> {
    let mut rows = store.journal_of_contact(LiveDeskId(id.cast_signed())).await.unwrap();
    rows.reverse();
    rows
}

fn actions(rows: &[JournalEntry]) -> Vec<(i64, &str, &str)> {
    rows.iter().map(|row| (row.run.0, row.action.as_str(), row.why.as_str())).collect()
}

fn after(row: &JournalEntry) -> Value {
    serde_json::from_str(row.after.as_deref().unwrap()).unwrap()
}

fn before(row: &JournalEntry) -> Value {
    serde_json::from_str(&row.before).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_a_run_is_a_row_with_the_link_as_it_was() {
    let world = world().await;
    let firstline = world.sandbox.firstline();
    let earlier = firstline.add_contact(&json!({ "first_name": "Earlier" }), &["person2@example.com"], &[], &[]);
    let [made, adopted] = [1, 2].map(|number| world.sandbox.livedesk().add_contact(person(number)));
    world.backfill().await;
    edit(&world, made, "name", json!("Renamed"));
    edit(&world, made, "email", json!("moved@example.com"));
    world.backfill().await;

    let store = world.store().await;
    let rows = journal(&store, made).await;
    assert_eq!(
        actions(&rows),
        [
            (1, "create", "new contact"),
            (1, "children", "new contact"),
            (2, "update", "source changed"),
            (2, "children", "source changed")
        ]
    );
    let target = rows[0].target;
    assert_eq!(rows[0].link_before.as_deref(), Some("null"), "there was no link before it was made");
    let record = firstline.contact(u64::try_from(target.0).unwrap()).unwrap();
    let hung = after(&rows[1])["added"].clone();
    let ids: Vec<u64> = hung.as_array().unwrap().iter().map(|row| row[1].as_u64().unwrap()).collect();
    assert_eq!(ids, [record.emails[0].id, record.phones[0].id], "{hung}");
    assert_eq!(before(&rows[2]), json!({ "first_name": "Person 1" }));
    assert_eq!(before(&rows[3])["emails"][0]["address"], "person1@example.com");
    assert_eq!(after(&rows[3])["changed"][0][1], json!(record.emails[0].id));
    // The link as the first run left it, with its rows.
    let (link, children) =
        read_link_image(LiveDeskId(made.cast_signed()), rows[2].link_before.as_deref().unwrap()).unwrap().unwrap();
    assert_eq!((link.target, link.run.0, link.fingerprint.is_some(), children.len()), (target, 1, true, 2));
    let all: String = rows.iter().filter_map(|row| row.after.clone()).collect();
    assert!(!all.contains("Renamed") && !all.contains("moved@example.com"), "{all}");

    let rows = journal(&store, adopted).await;
    assert_eq!(
        actions(&rows),
        [(1, "adopt", "matched by its e-mail"), (1, "update", "not settled yet"), (1, "children", "source changed")]
    );
    assert_eq!((rows[0].target, rows[0].link_before.as_deref()), (FirstLineId(earlier.cast_signed()), Some("null")));
    let filled = after(&rows[1]);
    assert!(filled.get("identity_no").is_some() && filled.get("membership_no").is_some(), "{filled}");
    assert_eq!(before(&rows[1])["identity_no"], json!(null), "it was blank, and shown to be");
    store.close().await;

    // Nothing to do, nothing to write down.
    world.backfill().await;
    let store = world.store().await;
    assert_eq!((journal(&store, made).await.len(), journal(&store, adopted).await.len()), (4, 3));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_whose_answer_was_lost_is_in_the_journal_once() {
    let world = world().await;
    let id = world.sandbox.livedesk().add_contact(person(1));
    let faults = world.sandbox.firstline_faults();
    faults.next(Fault::LostAck, 1, FaultFilter::on("POST", "/contact"));
    faults.next(Fault::LostAck, 1, FaultFilter::on("POST", "/email-contact"));
    world.backfill().await;
    world.backfill().await;
    let store = world.store().await;
    let rows = journal(&store, id).await;
    let creates = rows.iter().filter(|row| row.action == "create").count();
    let hung: usize = rows
        .iter()
        .filter(|row| row.action == "children")
        .map(|row| after(row)["added"].as_array().unwrap().len())
        .sum();
    assert_eq!((creates, hung), (1, 2), "{:?}", actions(&rows));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_older_than_their_retention_are_deleted_at_the_end_of_a_run() {
    let world = world().await;
    let id = world.sandbox.livedesk().add_contact(person(1));
    world.backfill().await;
    let store = world.store().await;
    let mut old = journal(&store, id).await.remove(0);
    old.at = deskferry::clock::Timestamp(0);
    store.prune_journal(deskferry::clock::Timestamp(i64::MAX)).await.unwrap();
    store.write(vec![deskferry::store::WriteOp::Journal(old)]).await.unwrap();
    store.close().await;
    assert_eq!(world.command(&["backfill", "--yes"]).await.code(), Some(0));
    let store = world.store().await;
    assert!(journal(&store, id).await.is_empty());
    store.close().await;
}

#[tokio::test]
async fn runs_whose_rows_were_deleted_are_known_to_lack_them() {
    let world = world().await;
    world.sandbox.livedesk().add_contact(person(1));
    world.backfill().await;
    let store = world.store().await;
    assert_eq!(store.journal_since().await.unwrap().0, 1, "a new state keeps everything from its first run on");
    assert_eq!(store.prune_journal(deskferry::clock::Timestamp(i64::MAX)).await.unwrap(), 2);
    assert_eq!(store.journal_since().await.unwrap().0, 2);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_is_written_down_and_was_never_sent_goes_when_its_record_is_seen_to_stand() {
    let world = world().await;
    let id = world.sandbox.livedesk().add_contact(person(1));
    world.backfill().await;
    let store = world.store().await;
    let made = journal(&store, id).await.remove(0);
    let link = store.links_for(&[made.livedesk_id]).await.unwrap().remove(&made.livedesk_id).unwrap();
    // As an undo leaves it that dies before its request.
    let begun = JournalEntry { action: String::from("delete"), ..made };
    let link = Link { fingerprint: None, ..link };
    store.write(vec![WriteOp::PutLink(link), WriteOp::Journal(begun)]).await.unwrap();
    store.close().await;
    world.backfill().await;
    let store = world.store().await;
    assert!(journal(&store, id).await.iter().all(|row| row.action != "delete"));
    store.close().await;
}
