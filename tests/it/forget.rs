//! `state forget`: nothing of a person is left in the state's files, and the contact is not carried again.

use std::fs;
use std::path::PathBuf;

use deskferry::clock::Timestamp;
use deskferry::domain::ids::{FirstLineId, LiveDeskId, RunId};
use deskferry::store::{Conflict, Decision, Intent, IntentKind, IntentState, WriteOp};
use serde_json::{Value, json};

use crate::cli_support::Desk;

/// A name that is nowhere else.
const NAME: &str = "Quorn Dieter";

/// The state's files that are there.
fn files(desk: &Desk) -> Vec<PathBuf> {
    let there = ["state.db", "state.db-wal", "state.db-shm"].map(|name| desk.path(name));
    there.into_iter().filter(|path| path.exists()).collect()
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// How `SQLite` writes a number as a key of a table: seven bits a byte, the highest first.
fn varint(id: u64) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(id & 0x7f).unwrap()];
    let mut rest = id >> 7;
    while rest > 0 {
        bytes.insert(0, u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes
}

/// Every form in which the files of a state can hold the id or a value of the person.
fn traces(id: u64) -> Vec<Vec<u8>> {
    let big: Vec<u8> = id.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    let values = ["Quorn", "Dieter", "quorn@example.com", "0900111222"].map(|text| text.as_bytes().to_vec());
    [id.to_string().into_bytes(), big, varint(id)].into_iter().chain(values).collect()
}

/// A desk where one contact, with an id that is like no other, left traces everywhere.
async fn person() -> (Desk, u64, u64) {
    let desk = Desk::new().await;
    let id = desk.sandbox.livedesk().add_contact(&json!({
        "name": NAME, "email": "quorn@example.com", "phone_number": "+886900111222", "identifier": "quorn",
    }));
    (desk, id, 0)
}

fn stamped(desk: &Desk, id: u64) -> Vec<u64> {
    let stamp = format!("LD-{id}");
    let dump = desk.sandbox.firstline().dump();
    let rows = dump["contacts"].as_array().cloned().unwrap_or_default();
    let ours = |row: &&Value| row["membership_no"].as_str() == Some(stamp.as_str());
    rows.iter().filter(ours).filter_map(|row| row["id"].as_u64()).collect()
}
