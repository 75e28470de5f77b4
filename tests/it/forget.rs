//! `state forget`: nothing of a person is left in the state's files, and the contact is not carried again.

use std::fs;
use std::path::PathBuf;

use deskferry::clock::Timestamp;
use deskferry::config::settings::I_UNDERSTAND;
use deskferry::domain::ids::{ChildId, FirstLineId, LiveDeskId, RunId};
use deskferry::domain::outcome::SetAsideKind;
use deskferry::sandbox::faults::{Fault, FaultFilter};
use deskferry::sandbox::firstline::FilterMode;
use deskferry::store::{
    Absence, ChildKind, Conflict, DeadLetter, Decision, Deletion, Finding, IndexKind, Intent, IntentKind, IntentState,
    JournalEntry, Link, LinkChild, Mark, Origin, RunResult, Standing, WriteOp,
};
use serde_json::json;

use crate::cli_support::Desk;
use crate::plan::{desk_with, records};

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

/// An id, and a customer's, that are like no other number in the file.
const ID: i64 = 0x5afe_c0de_1234;
const TARGET: i64 = 0x7ace_d00d_5678;

/// Every form in which the files of a state can hold the id or a value of the person.
fn traces() -> Vec<Vec<u8>> {
    let big: Vec<u8> = ID.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    let values = [NAME, "quorn@example.com"].map(|text| text.as_bytes().to_vec());
    [ID.to_string().into_bytes(), big, varint(ID.unsigned_abs())].into_iter().chain(values).collect()
}

fn found(desk: &Desk) -> usize {
    let bytes: Vec<Vec<u8>> = files(desk).iter().map(|file| fs::read(file).unwrap()).collect();
    traces().iter().filter(|trace| bytes.iter().any(|file| holds(file, trace))).count()
}

fn journal_entry(run: RunId, id: LiveDeskId, before: String, at: Timestamp) -> WriteOp {
    WriteOp::Journal(JournalEntry {
        run,
        livedesk_id: id,
        target: FirstLineId(TARGET),
        action: String::from("update"),
        before,
        after: None,
        link_before: None,
        why: String::new(),
        at,
    })
}

/// A state where one person left traces in every table, and among others.
async fn everywhere() -> Desk {
    let desk = Desk::new().await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let store = desk.lock().await;
    let (id, at) = (LiveDeskId(ID), Timestamp(1_700_000_000_000));
    let run = store.begin_run("retry", &json!({ "ids": [ID, 12], "recreate": false })).await.unwrap();
    let counts = json!({ "created": 12, "parked_ids": [ID], "conflict_ids": [7, ID] });
    store.finish_run(run, RunResult { exit_code: 1, verdict: None, counts }).await.unwrap();
    let link = Link {
        livedesk_id: id,
        target: FirstLineId(TARGET),
        origin: Origin::Created,
        fingerprint: None,
        base: vec![1],
        mapping_version: None,
        intent_seq: Some(900),
        linked_at: at,
        updated_at: at,
        run,
        standing: Standing::Live,
        alias_of: None,
    };
    let conflict = Conflict {
        livedesk_id: id,
        kind: String::from("several"),
        candidates: vec![FirstLineId(TARGET), FirstLineId(7)],
        keys: String::from("email"),
        run,
        at,
        decision: None,
        carried_to: None,
        left_behind: None,
    };
    let mut ops: Vec<WriteOp> = Vec::new();
    // Enough before-images that the person's rows are moved about in the file.
    for change in 0..40 {
        let before = json!({ "first_name": NAME, "change": change, "emails": ["quorn@example.com"] }).to_string();
        ops.push(WriteOp::PutLink(Link { updated_at: Timestamp(at.0 + change), ..link.clone() }));
        ops.push(journal_entry(run, id, before, at));
    }
    let key = store.hash_key().digest("email", "quorn@example.com");
    ops.extend([
        WriteOp::PutChild(LinkChild { livedesk_id: id, kind: ChildKind::Email, key, child: ChildId(5) }),
        WriteOp::Sight { sweep: 1, id },
        WriteOp::PutConflict(conflict.clone()),
        WriteOp::IndexAdd { kind: IndexKind::Email, key, target: FirstLineId(TARGET) },
        WriteOp::PutAbsence(Absence {
            livedesk_id: id,
            since: at,
            finding: Finding::Unasked,
            asked_at: None,
            mark: Mark::None,
            place: None,
            deletion: Deletion::None,
            why: None,
            run,
        }),
    ]);
    store.write(ops).await.unwrap();
    store.decide(vec![Conflict { decision: Some(Decision::Create), ..conflict }], Some("op")).await.unwrap();
    // The decision came to nothing.
    let letter = DeadLetter {
        livedesk_id: id,
        kind: SetAsideKind::Refused,
        field: None,
        status: Some(422),
        detail: String::from("refused"),
        fingerprint: None,
        attempts: 1,
        first_at: at,
        last_at: at,
        run,
        next_at: at,
        poisoned_at: None,
        mapping_version: None,
    };
    store.write(vec![WriteOp::PutDeadLetter(letter)]).await.unwrap();
    store.close().await;
    desk.write("deskferry-set-aside-2.csv", &format!("livedesk_id,kind\n12,refused\n{ID},refused\n"));
    desk.write("deskferry-absent-2.csv", "livedesk_id,firstline_id\n12,13\n");
    desk.write("state.db.backup-v1", "an older copy");
    desk
}

#[tokio::test]
async fn nothing_of_a_forgotten_person_is_left_in_the_file_its_log_or_the_lists() {
    let desk = everywhere().await;
    let id = ID.to_string();
    assert_eq!(found(&desk), traces().len(), "the test looks for what is there");
    desk.run(&["state", "forget", &id]).await.expect(2).says("say --yes; nothing was erased");
    assert_eq!(found(&desk), traces().len());

    let told = desk.run(&["state", "forget", &id, "--yes"]).await.expect(0);
    told.says("erased 1 links, 1 e-mails and phones, 40 before-images, 1 dead letters, 1 conflicts, 1 decisions, 1 absences, 1 sightings");
    told.says("its id was taken out of the records of 1 runs");
    told.says("deskferry-set-aside-2.csv");
    told.says("state.db.backup-v1");
    assert_eq!(told.out.matches(&TARGET.to_string()).count(), 1, "{}", told.out);
    assert_eq!(found(&desk), 0);
    assert_eq!(fs::read_to_string(desk.path("deskferry-set-aside-2.csv")).unwrap(), "livedesk_id,kind\n12,refused\n");
    assert!(!told.out.contains("deskferry-absent-2.csv"));

    desk.run(&["state", "check"]).await.expect(0).says("the state is sound");
    let run = desk.run(&["runs", "--json", "--limit", "1"]).await.expect(0).json();
    assert_eq!(run["options"]["ids"], json!([12]));
    assert_eq!(run["counts"], json!({ "created": 12, "parked_ids": [], "conflict_ids": [7] }));
    // Asking for it again writes nothing down, and says that it is done.
    desk.run(&["state", "forget", &id, "--yes"]).await.expect(0).says("already");
    desk.run(&["backfill", "--yes", "--only", &id]).await.expect(0).says("was forgotten");
    assert_eq!(found(&desk), 0);
}

#[tokio::test]
async fn forgetting_is_refused_while_a_create_is_in_doubt_and_for_an_id_that_nobody_knows() {
    let desk = everywhere().await;
    let store = desk.lock().await;
    let intent = Intent {
        seq: store.next_intent_seq(),
        livedesk_id: LiveDeskId(ID),
        kind: IntentKind::Email,
        stamp: String::new(),
        key: Some(store.hash_key().digest("email", "x")),
        target: Some(FirstLineId(TARGET)),
        high_water: 0,
        opened_at: Timestamp(0),
        parked_at: None,
        state: IntentState::Open,
        recreated: false,
        base: Vec::new(),
    };
    store.write(vec![WriteOp::OpenIntent(intent)]).await.unwrap();
    store.close().await;
    let refused = desk.run(&["state", "forget", &ID.to_string(), "--yes"]).await.expect(2);
    refused.says(&format!("`deskferry retry {ID}` settles it"));
    assert_eq!(found(&desk), traces().len());

    let unknown = (ID + 1).to_string();
    let refused = desk.run(&["state", "forget", &unknown, "--yes"]).await.expect(2);
    refused.says(&format!("the state knows no contact {unknown}; did you mean {ID}"));
    desk.run(&["state", "forget", &unknown, "--take-back"]).await.expect(2).says("was not forgotten");
    desk.run(&["state", "forget", &unknown, "--ahead", "--yes"]).await.expect(0).says("it is not carried again");
}

/// Customers that carry the stamp of a contact.
fn stamped(desk: &Desk, id: u64) -> Vec<u64> {
    let stamp = format!("LD-{id}");
    let all = desk.sandbox.firstline().contacts();
    let ours = all.iter().filter(|row| row.membership_no.as_deref() == Some(stamp.as_str()));
    ours.map(|row| row.id).collect()
}

#[tokio::test]
async fn a_forgotten_person_is_not_carried_linked_or_deleted_by_any_later_run() {
    let desk = Desk::new().await;
    let person = desk.sandbox.livedesk().add_contact(json!({ "name": NAME, "email": "quorn@example.com" }));
    let (id, carried) = (person.to_string(), desk.sandbox.livedesk().listed_ids().len());
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let record = stamped(&desk, person);
    assert_eq!(record.len(), 1);
    desk.run(&["state", "forget", &id, "--yes"]).await.expect(0);

    let others = json!(carried - 1);
    let again = desk.run(&["backfill", "--yes", "--json"]).await.expect(0).json();
    assert_eq!(
        (&again["created"], &again["unchanged"], &again["forgotten"]),
        (&json!(0), &others, &json!(1)),
        "{again}"
    );
    desk.sandbox.livedesk().edit(person, |contact| drop(contact.insert(String::from("name"), json!("Other Name"))));
    desk.sandbox.livedesk().message(person);
    let delete = format!(
        "[deletes]\npolicy = \"delete\"\ni_understand = \"{I_UNDERSTAND}\"\ngrace = \"0s\"\nceiling_percent = 100.0\n\n[identity]"
    );
    desk.replace("[identity]", &delete);
    let before = desk.sandbox.firstline().dump();
    desk.run(&["sync"]).await.expect(0).says("1 were forgotten");
    for command in [&["backfill", "--yes", "--only", &id][..], &["retry", &id]] {
        let ended = desk.run(command).await.expect(0);
        ended.says(&format!("contact {id} was forgotten"));
    }
    // Nor when a sweep is broken off, nor when the contact is gone for longer than absences are waited for.
    for _ in 0..3 {
        desk.run(&["backfill", "--yes"]).await.expect(0).says("1 were forgotten");
    }
    desk.sandbox.livedesk().delete(person);
    for _ in 0..3 {
        desk.run(&["backfill", "--yes"]).await.expect(0);
    }
    assert_eq!(desk.sandbox.firstline().dump(), before);

    let rebuilt = desk.run(&["state", "rebuild", "--json"]).await.expect(0).json();
    assert_eq!((&rebuilt["forgotten"], &rebuilt["linked"], &rebuilt["known"]), (&json!(1), &json!(0), &others));
    let exported = desk.path("export");
    desk.run(&["state", "export", "-o", exported.to_str().unwrap()]).await.expect(0);
    desk.sandbox.livedesk().restore(person);
    desk.replace("path = \"state.db\"", "path = \"other.db\"");
    desk.run(&["state", "import", exported.to_str().unwrap()]).await.expect(0);
    desk.run(&["backfill", "--yes"]).await.expect(0).says("1 were forgotten");

    // Taken back: the record is found by its stamp, and no second one is made.
    desk.run(&["state", "forget", &id, "--take-back"]).await.expect(0).says("may be carried again");
    let back = desk.run(&["backfill", "--yes", "--json"]).await.expect(0).json();
    assert_eq!((&back["forgotten"], &back["created"], &back["adopted"]), (&json!(0), &json!(0), &json!(1)), "{back}");
    assert_eq!(stamped(&desk, person), record);
}

#[tokio::test]
async fn a_forgotten_person_is_named_by_no_rehearsal_and_no_run_of_an_earlier_plan() {
    let desk = Desk::new().await;
    let plan = desk.path("plan.jsonl");
    desk.run(&["plan", "-o", plan.to_str().unwrap()]).await.expect(0);
    let id = desk.sandbox.livedesk().listed_ids()[0];
    desk.run(&["state", "forget", &id.to_string(), "--ahead", "--yes"]).await.expect(0);
    let rehearsed = desk.run(&["backfill", "--yes", "--json", "--limit", "19"]).await.expect(0).json();
    let named = rehearsed["rehearsed"].as_array().unwrap();
    assert_eq!(named.len(), 19, "{rehearsed}");
    assert!(named.iter().all(|row| row["livedesk_id"] != json!(id)), "{rehearsed}");
    let ended = desk.run(&["backfill", "--yes", "--json", "--plan", plan.to_str().unwrap()]).await.json();
    assert_eq!(ended["unmet"], 0, "{ended}");
    assert!(!ended.to_string().contains(&id.to_string()), "{ended}");
}

#[tokio::test]
async fn a_copy_of_the_state_that_a_killed_process_left_is_gone_with_the_person() {
    let desk = everywhere().await;
    let left = desk.path("state.db.plan-4999999");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("state.db"), NAME).unwrap();
    fs::write(left.join("lock"), "").unwrap();
    desk.run(&["state", "forget", &ID.to_string(), "--yes"]).await.expect(0);
    assert!(!left.exists());
}

#[tokio::test]
async fn a_source_whose_first_page_holds_only_forgotten_people_is_still_known() {
    let desk = Desk::new().await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let ids = desk.sandbox.livedesk().listed_ids();
    for id in &ids[1..] {
        desk.sandbox.livedesk().delete(*id);
    }
    let last = ids[0].to_string();
    desk.run(&["state", "forget", &last, "--yes"]).await.expect(0);
    let ended = desk.run(&["backfill", "--yes", "--json"]).await.expect(0).json();
    assert_eq!((&ended["forgotten"], &ended["created"]), (&json!(1), &json!(0)));
}

/// Somebody whose create never arrived, which an undo has proven; nobody is carried while its hold stands.
async fn never_arrived() -> (Desk, u64) {
    let (desk, ids) = desk_with(8).await;
    desk.sandbox.firstline_faults().next(Fault::Reset, 1, FaultFilter::on("POST", "/contact"));
    desk.run(&["--no-wait", "backfill", "--yes"]).await.expect(1);
    let there = records(&desk);
    let waiting = *ids.iter().find(|id| !there.contains_key(id)).unwrap();
    let undone = desk.run(&["undo", "1", "--yes", "--delete-created", "--i-understand", I_UNDERSTAND]).await.expect(0);
    undone.says("1  creates that never arrived");
    let store = desk.lock().await;
    let states: Vec<_> = store.open_intents().await.unwrap().iter().map(|intent| intent.state).collect();
    store.close().await;
    assert_eq!(states, [IntentState::Absent]);
    (desk, waiting)
}

/// Everything that carries contacts; whoever was forgotten is not among them.
async fn carry_all(desk: &Desk, forgotten: u64) {
    let id = forgotten.to_string();
    desk.run(&["backfill", "--yes"]).await.expect(0).says("1 were forgotten");
    for command in [&["retry"][..], &["retry", &id], &["backfill", "--yes", "--only", &id], &["sync"]] {
        desk.run(command).await.expect(0);
    }
    let store = desk.lock().await;
    assert_eq!(store.open_intents().await.unwrap(), []);
    store.close().await;
    desk.run(&["state", "check"]).await.expect(0).says("the state is sound");
}

#[tokio::test]
async fn a_person_whose_create_never_arrived_is_forgotten_and_never_made() {
    let (desk, waiting) = never_arrived().await;
    let told = desk.run(&["state", "forget", &waiting.to_string(), "--yes"]).await.expect(0);
    told.says("1 intents");
    told.says("not touched: FIRST LINE and LiveDesk");
    assert_eq!(desk.sandbox.firstline().len(), 0);
    carry_all(&desk, waiting).await;
    assert_eq!((stamped(&desk, waiting), records(&desk).len()), (Vec::new(), 7));
}

#[tokio::test]
async fn a_create_that_arrived_after_all_is_named_when_its_person_is_forgotten_and_not_made_again() {
    let (desk, waiting) = never_arrived().await;
    let fields = json!({ "first_name": "Late", "membership_no": format!("LD-{waiting}") });
    let late = desk.sandbox.firstline().add_contact(&fields, &[], &[], &[]);
    let told = desk.run(&["state", "forget", &waiting.to_string(), "--yes"]).await.expect(0);
    told.says(&format!("not touched: customer {late} in FIRST LINE"));
    carry_all(&desk, waiting).await;
    assert_eq!((stamped(&desk, waiting), desk.sandbox.firstline().len()), (vec![late], 8));
}

#[tokio::test]
async fn nobody_is_forgotten_while_it_cannot_be_told_whether_a_create_arrived() {
    let (desk, waiting) = never_arrived().await;
    let id = waiting.to_string();
    // Nothing can be looked for: the ids are too many to be read, and no filter has an effect.
    let firstline = desk.sandbox.firstline();
    let mut switches = firstline.switches();
    switches.filter_membership_no = FilterMode::Ignored;
    firstline.set_switches(switches);
    desk.replace("doubt_horizon = \"1s\"", "doubt_horizon = \"1s\"\nid_walk_limit = 3");
    for _ in 0..30 {
        firstline.add_contact(&json!({ "first_name": "Other" }), &[], &[], &[]);
    }
    let refused = desk.run(&["state", "forget", &id, "--yes"]).await.expect(2);
    refused.says("nothing was erased");
    let store = desk.lock().await;
    assert_eq!(store.open_intents().await.unwrap().len(), 1);
    assert_eq!(store.forgotten_count().await.unwrap(), 0);
    store.close().await;
}
