//! The store against real files: what a crash leaves, what bad files get, how groups commit.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::lock::beside;
use super::*;
use crate::beside::resolved;
use crate::clock::TestClock;
use crate::domain::field::{ChoiceOption, FieldDefinition, FieldKind};
use crate::domain::hash::Digest;
use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId, RunId};
use crate::domain::outcome::SetAsideKind;
use crate::domain::sweep::ScanPosition;

const RUN: RunId = RunId(1);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    (folder, path)
}

async fn try_open(path: &Path) -> Result<Store, StoreError> {
    Store::open(path, Access::Exclusive { holder: "deskferry test".into() }, Arc::new(TestClock::default())).await
}

async fn read(path: &Path) -> Result<Store, StoreError> {
    Store::open(path, Access::ReadOnly, Arc::new(TestClock::default())).await
}

/// A state with run 1 begun.
async fn begun(path: &Path) -> Store {
    let store = try_open(path).await.unwrap();
    assert_eq!(store.begin_run("backfill", &json!({})).await.unwrap(), RUN);
    store
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap()
}

fn link(id: i64, target: i64) -> Link {
    Link {
        livedesk_id: LiveDeskId(id),
        target: FirstLineId(target),
        origin: Origin::Created,
        fingerprint: Some(Digest([7; 16])),
        base: vec![0, 1, 255],
        mapping_version: Some("v1".into()),
        intent_seq: Some(id),
        linked_at: Timestamp(1),
        updated_at: Timestamp(2),
        run: RUN,
        standing: Standing::Live,
        alias_of: None,
    }
}

fn intent(seq: i64, id: i64) -> Intent {
    Intent {
        seq,
        livedesk_id: LiveDeskId(id),
        kind: IntentKind::Contact,
        stamp: format!("LD-{id}"),
        key: None,
        target: None,
        high_water: 40,
        opened_at: Timestamp(5),
        parked_at: None,
        state: IntentState::Open,
        recreated: false,
        base: vec![seq.to_le_bytes()[0], 0, 255],
    }
}

fn child(id: i64, key: u8, child: i64) -> LinkChild {
    LinkChild { livedesk_id: LiveDeskId(id), kind: ChildKind::Email, key: Digest([key; 16]), child: ChildId(child) }
}

fn letter(id: i64, at: i64) -> DeadLetter {
    DeadLetter {
        livedesk_id: LiveDeskId(id),
        kind: SetAsideKind::Refused,
        field: Some("birth_at".into()),
        status: Some(422),
        detail: "refused with status 422".into(),
        fingerprint: None,
        attempts: 1,
        first_at: Timestamp(at),
        last_at: Timestamp(at),
        run: RUN,
        next_at: Timestamp(at + 900_000),
        poisoned_at: None,
        mapping_version: None,
    }
}

fn absence(id: i64, since: i64) -> Absence {
    Absence {
        livedesk_id: LiveDeskId(id),
        since: Timestamp(since),
        finding: Finding::Missing,
        asked_at: Some(Timestamp(since)),
        mark: Mark::None,
        place: None,
        deletion: Deletion::None,
        why: Some("changed".into()),
        run: RUN,
    }
}

fn conflict(id: i64, candidates: &[i64]) -> Conflict {
    Conflict {
        livedesk_id: LiveDeskId(id),
        kind: "several candidates".into(),
        candidates: candidates.iter().copied().map(FirstLineId).collect(),
        keys: "email".into(),
        run: RUN,
        at: Timestamp(3),
        decision: None,
        carried_to: None,
        left_behind: None,
    }
}

#[tokio::test]
async fn everything_written_is_there_after_closing_and_opening_again() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let key = *store.hash_key().as_bytes();
    let parked = Intent { kind: IntentKind::Email, key: Some(Digest([3; 16])), ..intent(9, 1) };
    let entry = JournalEntry {
        run: RUN,
        livedesk_id: LiveDeskId(1),
        target: FirstLineId(100),
        action: "update".into(),
        before: r#"{"first_name":"王"}"#.into(),
        after: None,
        link_before: None,
        why: String::new(),
        at: Timestamp(6),
    };
    let sweep = store.begin_sweep(RUN).await.unwrap();
    let position = ScanPosition { pass: 2, page: 17 };
    store
        .write(vec![
            WriteOp::PutLink(link(1, 100)),
            WriteOp::PutChild(child(1, 1, 900)),
            WriteOp::OpenIntent(intent(8, 2)),
            WriteOp::OpenIntent(parked.clone()),
            WriteOp::ParkIntent { seq: 9, at: Timestamp(7) },
            WriteOp::OpenIntent(intent(10, 5)),
            WriteOp::AuditIntent { seq: 10, target: FirstLineId(105) },
            WriteOp::OpenIntent(intent(11, 6)),
            WriteOp::AbsentIntent { seq: 11 },
            WriteOp::Journal(entry.clone()),
            WriteOp::PutDeadLetter(letter(3, 10)),
            WriteOp::PutConflict(conflict(4, &[102, 101])),
            WriteOp::Sight { sweep, id: LiveDeskId(1) },
            WriteOp::Sight { sweep, id: LiveDeskId(-2) },
            WriteOp::Checkpoint { sweep, position },
            WriteOp::CountRun { run: RUN, counts: json!({ "created": 1 }) },
        ])
        .await
        .unwrap();
    store.close().await;
    assert!(!beside(&path, "-wal").exists(), "closing folds the log in");

    let store = try_open(&path).await.unwrap();
    assert_eq!(*store.hash_key().as_bytes(), key);
    let ids = [LiveDeskId(1), LiveDeskId(2)];
    assert_eq!(store.links_for(&ids).await.unwrap(), [(LiveDeskId(1), link(1, 100))].into());
    assert_eq!(store.links_page(LiveDeskId(0), 10).await.unwrap(), [link(1, 100)]);
    assert_eq!(store.source_of(&[FirstLineId(100)]).await.unwrap(), [(FirstLineId(100), LiveDeskId(1))].into());
    assert_eq!(store.children_of(LiveDeskId(1)).await.unwrap(), [child(1, 1, 900)]);
    assert_eq!(store.link_count().await.unwrap(), 1);
    assert_eq!(store.max_target_id().await.unwrap(), Some(FirstLineId(100)));
    let parked = Intent { state: IntentState::Parked, parked_at: Some(Timestamp(7)), ..parked };
    let audited = Intent { state: IntentState::Audit, target: Some(FirstLineId(105)), ..intent(10, 5) };
    let absent = Intent { state: IntentState::Absent, ..intent(11, 6) };
    assert_eq!(store.open_intents().await.unwrap(), [intent(8, 2), parked, audited, absent]);
    let asked = [LiveDeskId(2), LiveDeskId(5), LiveDeskId(7)];
    assert_eq!(store.traces_of(&asked).await.unwrap().in_doubt, [LiveDeskId(2)].into(), "an audit is no doubt");
    assert_eq!(store.traces_of(&[LiveDeskId(99)]).await.unwrap(), Traces::default());
    let set_aside = Traces { set_aside: true, ..Traces::default() };
    assert_eq!(store.traces_of(&[LiveDeskId(3), LiveDeskId(99)]).await.unwrap(), set_aside);
    let in_conflict = Traces { in_conflict: true, ..Traces::default() };
    assert_eq!(store.traces_of(&[LiveDeskId(4)]).await.unwrap(), in_conflict);
    assert!(store.traces_of(&[LiveDeskId(1)]).await.unwrap().linked);
    assert_eq!(store.parked_contacts().await.unwrap(), [1, 2, 6].map(LiveDeskId));
    assert_eq!(store.journal_of_run(RUN).await.unwrap(), std::slice::from_ref(&entry));
    assert_eq!(store.journal_of_contact(LiveDeskId(1)).await.unwrap(), [entry]);
    assert_eq!(store.dead_letters().await.unwrap(), [letter(3, 10)]);
    assert_eq!(store.conflicts().await.unwrap(), [conflict(4, &[101, 102])]);
    assert_eq!(store.open_sweep().await.unwrap().map(|open| (open.sweep, open.position)), Some((sweep, position)));
    let mut seen = Vec::new();
    store.sighted(sweep, |id| seen.push(id.0)).await.unwrap();
    assert_eq!(seen, [-2, 1]);
    assert_eq!(store.run(RUN).await.unwrap().unwrap().counts, json!({ "created": 1 }));
    assert!(!store.is_empty().await.unwrap());
    assert_eq!(store.check().await.unwrap().problems(), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let (folder, path) = folder();
    let store = begun(&path).await;
    store.write(vec![WriteOp::OpenIntent(intent(1, 1))]).await.unwrap();
    let copy = folder.path().join("after-the-kill.db");
    fs::copy(&path, &copy).unwrap();
    fs::copy(beside(&path, "-wal"), beside(&copy, "-wal")).unwrap();
    let revived = try_open(&copy).await.unwrap();
    assert_eq!(revived.open_intents().await.unwrap(), [intent(1, 1)]);
    assert_eq!(revived.hash_key().as_bytes(), store.hash_key().as_bytes());
}

#[tokio::test]
async fn a_torn_log_loses_no_more_than_its_torn_commit() {
    let (folder, path) = folder();
    let store = begun(&path).await;
    store.write(vec![WriteOp::PutLink(link(1, 100))]).await.unwrap();
    let before = fs::metadata(beside(&path, "-wal")).unwrap().len();
    store.write(vec![WriteOp::PutLink(link(2, 101)), WriteOp::PutLink(link(3, 102))]).await.unwrap();
    let log = fs::read(beside(&path, "-wal")).unwrap();
    let before = usize::try_from(before).unwrap();
    assert!(log.len() > before);
    let copy = folder.path().join("torn.db");
    fs::copy(&path, &copy).unwrap();
    fs::write(beside(&copy, "-wal"), &log[..log.len() - 100]).unwrap();
    let revived = try_open(&copy).await.unwrap();
    assert_eq!(revived.link_count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_dropped_store_can_be_opened_again_at_once() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    store.write(vec![WriteOp::PutLink(link(1, 100))]).await.unwrap();
    drop(store);
    assert_eq!(try_open(&path).await.unwrap().link_count().await.unwrap(), 1);
}

#[tokio::test]
async fn numbers_of_intents_go_on_above_every_committed_one() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    assert_eq!((store.next_intent_seq(), store.next_intent_seq()), (1, 2));
    store.write(vec![WriteOp::OpenIntent(intent(2, 1)), WriteOp::CloseIntent { seq: 2 }]).await.unwrap();
    assert_eq!(store.open_intents().await.unwrap(), []);
    store.close().await;
    assert_eq!(try_open(&path).await.unwrap().next_intent_seq(), 3);
}

#[tokio::test]
async fn a_second_writer_is_refused_and_told_who_writes() {
    let (_folder, path) = folder();
    assert_eq!(holder(&path), None);
    let store = begun(&path).await;
    let refusal = try_open(&path).await.unwrap_err();
    let pid = std::process::id().to_string();
    assert!(
        matches!(&refusal, StoreError::Locked { holder, .. } if holder.contains(&pid) && holder.contains("deskferry test"))
    );
    assert!(holder(&path).unwrap().contains(&pid));
    store.close().await;
    assert_eq!(holder(&path), None);
    try_open(&path).await.unwrap();
}

#[tokio::test]
async fn a_state_that_links_lead_to_has_one_writer_whichever_path_is_named() {
    let (folder, path) = folder();
    let (folder, links) = (folder.path(), folder.path().join("links"));
    fs::create_dir(&links).unwrap();
    std::os::unix::fs::symlink("../state.db", links.join("link.db")).unwrap();
    std::os::unix::fs::symlink("link.db", links.join("again.db")).unwrap();
    std::os::unix::fs::symlink(folder, folder.join("same")).unwrap();
    let others = ["links/link.db", "links/again.db", "same/state.db", "links/../state.db"].map(|to| folder.join(to));
    // The first of them is there before the state is: its link leads nowhere yet.
    let store = begun(&others[0]).await;
    assert!(path.exists() && beside(&path, ".lock").exists());
    for other in others.iter().chain([&path]) {
        let refusal = try_open(other).await.unwrap_err();
        assert!(matches!(&refusal, StoreError::Locked { path, .. } if path == other), "{refusal}");
        assert!(holder(other).is_some());
        assert_eq!(resolved(other), path.canonicalize().unwrap());
    }
    let names = fs::read_dir(&links).unwrap().count();
    assert_eq!(names, 2, "nothing is put beside a link");
    store.close().await;
    // And the other way round, with a state that is there.
    let store = try_open(&path).await.unwrap();
    assert!(matches!(try_open(&others[1]).await, Err(StoreError::Locked { .. })));
    store.close().await;
}

#[tokio::test]
async fn a_writer_whose_lock_was_deleted_takes_it_back_or_writes_no_more() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let lock = beside(&path, ".lock");
    fs::remove_file(&lock).unwrap();
    // Nobody was there: it goes on, and others are refused again.
    store.write(vec![WriteOp::PutLink(link(1, 100))]).await.unwrap();
    assert!(holder(&path).is_some_and(|text| text.contains("deskferry test")));
    assert!(matches!(try_open(&path).await, Err(StoreError::Locked { .. })));
    // Somebody was, and may have written: neither a run nor a write is begun.
    fs::remove_file(&lock).unwrap();
    let other = try_open(&path).await.unwrap();
    other.write(vec![WriteOp::PutLink(link(2, 200))]).await.unwrap();
    let refusal = store.write(vec![WriteOp::PutLink(link(3, 300))]).await.unwrap_err();
    assert!(matches!(&refusal, StoreError::Displaced { .. }), "{refusal}");
    assert!(refusal.to_string().contains(&path.display().to_string()));
    assert!(matches!(store.begin_run("sync", &json!({})).await, Err(StoreError::Displaced { .. })));
    other.close().await;
    assert!(matches!(store.begin_run("sync", &json!({})).await, Err(StoreError::Displaced { .. })), "its view is old");
}

#[tokio::test]
async fn a_reader_looks_while_a_writer_writes_and_cannot_write() {
    let (_folder, path) = folder();
    assert!(matches!(read(&path).await, Err(StoreError::Missing { .. })));
    let store = begun(&path).await;
    let reader = read(&path).await.unwrap();
    store.write(vec![WriteOp::PutLink(link(1, 100))]).await.unwrap();
    assert_eq!(reader.link_count().await.unwrap(), 1);
    assert_eq!(reader.hash_key().as_bytes(), store.hash_key().as_bytes());
    assert!(matches!(reader.write(vec![WriteOp::RemoveLink(LiveDeskId(1))]).await, Err(StoreError::NotWriting)));
    assert!(matches!(reader.begin_run("x", &json!({})).await, Err(StoreError::NotWriting)));
    // The writer's own transaction is open: a reader still reads, and sees what was committed before.
    let mut other = raw(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    sqlx::query("DELETE FROM link").execute(&mut other).await.unwrap();
    assert_eq!(reader.link_count().await.unwrap(), 1);
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    store.close().await;
    let late = read(&path).await.unwrap();
    assert_eq!(late.link_count().await.unwrap(), 1);
}

#[tokio::test]
async fn the_state_of_another_account_is_refused() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let accounts = Accounts { livedesk: "https://a|1".into(), firstline: "https://b|2".into() };
    assert_eq!(store.bound_accounts().await.unwrap(), None);
    store.bind_accounts(&accounts).await.unwrap();
    store.bind_accounts(&accounts).await.unwrap();
    let other = Accounts { firstline: "https://c|3".into(), ..accounts.clone() };
    let refusal = store.bind_accounts(&other).await.unwrap_err();
    assert!(matches!(
        &refusal,
        StoreError::OtherAccount { side: Side::FirstLine, bound, given } if bound == "https://b|2" && given == "https://c|3"
    ));
    let other = Accounts { livedesk: "https://d|4".into(), ..accounts.clone() };
    assert!(matches!(store.bind_accounts(&other).await, Err(StoreError::OtherAccount { side: Side::LiveDesk, .. })));
    assert_eq!(store.bound_accounts().await.unwrap(), Some(accounts));
}

#[tokio::test]
async fn the_state_of_a_newer_version_is_refused_and_left_as_it_is() {
    let (_folder, path) = folder();
    begun(&path).await.close().await;
    let mut conn = raw(&path).await;
    sqlx::query(
        "UPDATE _sqlx_migrations SET version = 9999 WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    conn.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    let latest = MIGRATOR.iter().map(|migration| migration.version).max().unwrap();
    for refused in [try_open(&path).await, read(&path).await] {
        assert!(matches!(refused, Err(StoreError::Newer { found: 9999, known, .. }) if known == latest));
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_as_it_is() {
    let (_folder, path) = folder();
    let mut conn = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path).create_if_missing(true))
        .await
        .unwrap();
    sqlx::query("CREATE TABLE shopping (item TEXT)").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(try_open(&path).await, Err(StoreError::NotOurs { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_the_way_back() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    store.write((1..2000).map(|id| WriteOp::PutLink(link(id, id))).collect()).await.unwrap();
    store.close().await;
    let sound = fs::read(&path).unwrap();
    let garbage: Vec<u8> = b"no database, however it is called\n".repeat(500);
    let mut scribbled = sound.clone();
    let middle = scribbled.len() / 2;
    scribbled[middle..].fill(0xa5);
    for (what, bytes) in [("garbage", garbage), ("truncated", sound[..middle].to_vec()), ("scribbled", scribbled)] {
        fs::write(&path, &bytes).unwrap();
        let refusal = try_open(&path).await.expect_err(what);
        assert!(matches!(refusal, StoreError::Corrupt { .. }), "{what}: {refusal:?}");
        assert!(refusal.to_string().contains("deskferry state rebuild"), "{what}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what} is left as it is");
    }
    fs::write(&path, sound).unwrap();
    assert_eq!(try_open(&path).await.unwrap().link_count().await.unwrap(), 1999);
}

#[tokio::test]
async fn a_place_where_no_file_can_be_is_refused_in_words() {
    let (folder, _) = folder();
    let missing = folder.path().join("no/such/folder/state.db");
    for place in [missing.as_path(), folder.path(), Path::new("/proc/state.db")] {
        let refusal = try_open(place).await.unwrap_err();
        assert!(matches!(refusal, StoreError::NotWritable { .. }), "{refusal:?}");
        assert!(refusal.to_string().contains("check that its folder exists"));
    }
    assert!(!missing.parent().unwrap().exists(), "the folder is not created");
    assert!(matches!(read(folder.path()).await, Err(StoreError::NotReadable { .. })));
}

#[tokio::test]
async fn files_are_for_their_owner_alone() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let mode = |suffix| fs::metadata(beside(&path, suffix)).unwrap().permissions().mode() & 0o777;
    for suffix in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(suffix), 0o600, "{suffix}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(store.check().await.unwrap().open_modes, [(path.clone(), 0o644)]);
    store.close().await;
    let _store = try_open(&path).await.unwrap();
    assert_eq!(mode(""), 0o600, "opening mends it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_share_few_commits() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let mut calls = JoinSet::new();
    for id in 1..=64 {
        let store = store.clone();
        calls.spawn(async move { store.write(vec![WriteOp::OpenIntent(intent(id, id))]).await });
    }
    for result in calls.join_all().await {
        result.unwrap();
    }
    assert_eq!(store.open_intents().await.unwrap().len(), 64);
    assert!(store.commits() <= 32, "{} commits for 64 calls", store.commits());
}

#[tokio::test]
async fn a_call_that_breaks_a_rule_fails_alone_and_wholly() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let (one, twin, two) = tokio::join!(
        store.write(vec![WriteOp::PutLink(link(1, 100))]),
        store.write(vec![WriteOp::PutDeadLetter(letter(9, 1)), WriteOp::PutLink(link(2, 100))]),
        store.write(vec![WriteOp::PutLink(link(3, 102))]),
    );
    assert!(one.is_ok() && two.is_ok());
    assert!(matches!(twin, Err(StoreError::Refused { .. })));
    assert_eq!(store.link_count().await.unwrap(), 2);
    assert_eq!(store.dead_letters().await.unwrap(), []);
    let orphan = store.write(vec![WriteOp::PutChild(child(77, 1, 1))]).await;
    assert!(matches!(orphan, Err(StoreError::Refused { .. })));
}

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_the_state_intact() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    store.write(vec![WriteOp::PutLink(link(1, 100))]).await.unwrap();
    let limit = |pages: &'static str| {
        store.transact(move |conn| Box::pin(async move { sqlx::query(pages).execute(conn).await.map(|_| ()) }))
    };
    limit("PRAGMA max_page_count = 1").await.unwrap();
    let many = |from: i64| (from..from + 3000).map(|id| WriteOp::PutLink(link(id, id * 10))).collect::<Vec<_>>();
    let (big, small) = tokio::join!(store.write(many(100)), store.write(vec![WriteOp::OpenIntent(intent(1, 1))]));
    for refused in [big, small] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, StoreError::DiskFull { .. }), "{refused:?}");
        assert!(refused.to_string().contains("free some space"));
    }
    assert_eq!((store.link_count().await.unwrap(), store.open_intents().await.unwrap()), (1, vec![]));
    limit("PRAGMA max_page_count = 1000000").await.unwrap();
    store.write(many(100)).await.unwrap();
    assert_eq!(store.link_count().await.unwrap(), 3001);
    assert_eq!(store.check().await.unwrap().integrity, Vec::<String>::new());
}

#[tokio::test]
async fn no_value_of_a_person_reaches_the_file_but_through_the_journal() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let values = ["planted.person@example.com", "+886912345678"];
    let [email, phone] = values.map(|value| store.hash_key().digest("value", value));
    let entry = |before: &str| JournalEntry {
        run: RUN,
        livedesk_id: LiveDeskId(1),
        target: FirstLineId(100),
        action: "update".into(),
        before: before.into(),
        after: None,
        link_before: None,
        why: String::new(),
        at: Timestamp(6),
    };
    store
        .write(vec![
            WriteOp::PutLink(Link { fingerprint: Some(email), base: phone.0.to_vec(), ..link(1, 100) }),
            WriteOp::PutChild(LinkChild { key: email, ..child(1, 1, 900) }),
            WriteOp::IndexAdd { kind: IndexKind::Phone, key: phone, target: FirstLineId(100) },
            WriteOp::OpenIntent(Intent { key: Some(email), ..intent(1, 1) }),
            WriteOp::Journal(entry(r#"{"first_name":"Plantedname"}"#)),
        ])
        .await
        .unwrap();
    let planted = |needle: &str| {
        ["", "-wal"].iter().any(|suffix| {
            let bytes = fs::read(beside(&path, suffix)).unwrap_or_default();
            bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
        })
    };
    assert!(values.iter().all(|value| !planted(value)));
    assert!(planted("Plantedname"), "the search finds what is there");
    assert!(!format!("{:?}", entry("Plantedname")).contains("Plantedname"));
    assert_eq!(store.prune_journal(Timestamp(7)).await.unwrap(), 1);
    store.close().await;
    assert!(!planted("Plantedname"), "pruned before-images are overwritten");
}

#[tokio::test]
async fn the_positive_control_is_the_newest_record_that_we_created() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    assert_eq!(store.latest_created_link().await.unwrap(), None);
    store
        .write(vec![
            WriteOp::PutLink(link(1, 100)),
            WriteOp::PutLink(link(5, 105)),
            WriteOp::PutLink(Link { origin: Origin::Adopted, intent_seq: None, ..link(6, 106) }),
        ])
        .await
        .unwrap();
    assert_eq!(store.latest_created_link().await.unwrap(), Some(link(5, 105)));
    assert_eq!(store.created_after(4).await.unwrap(), Some(link(5, 105)));
    assert_eq!(store.created_after(5).await.unwrap(), None);
}

#[tokio::test]
async fn a_contact_set_aside_again_keeps_its_first_time_and_counts_up() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    store.write(vec![WriteOp::PutDeadLetter(letter(1, 10))]).await.unwrap();
    store.write(vec![WriteOp::PutDeadLetter(letter(1, 20))]).await.unwrap();
    let stored = store.dead_letters_for(&[LiveDeskId(1), LiveDeskId(2)]).await.unwrap();
    let expected = DeadLetter { attempts: 2, last_at: Timestamp(20), next_at: Timestamp(900_020), ..letter(1, 10) };
    assert_eq!(stored, [(LiveDeskId(1), expected)].into());
    store.write(vec![WriteOp::ClearDeadLetter(LiveDeskId(1))]).await.unwrap();
    assert_eq!(store.dead_letters().await.unwrap(), []);
}

#[tokio::test]
async fn a_decision_stays_as_long_as_the_candidates_do() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let decided = Conflict { decision: Some(Decision::Link(FirstLineId(102))), ..conflict(1, &[101, 102]) };
    store.write(vec![WriteOp::PutConflict(decided.clone())]).await.unwrap();
    store.write(vec![WriteOp::PutConflict(conflict(1, &[102, 101]))]).await.unwrap();
    assert_eq!(store.conflict_for(&[LiveDeskId(1)]).await.unwrap(), [(LiveDeskId(1), decided)].into());
    store.write(vec![WriteOp::PutConflict(conflict(1, &[101, 103]))]).await.unwrap();
    assert_eq!(store.conflicts().await.unwrap(), [conflict(1, &[101, 103])]);
    store.write(vec![WriteOp::ClearConflict(LiveDeskId(1))]).await.unwrap();
    assert_eq!(store.conflicts().await.unwrap(), []);
}

#[tokio::test]
async fn a_decision_stands_until_it_was_carried_out_and_again_once_its_link_is_gone_or_it_is_made_anew() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let id = LiveDeskId(1);
    let open = Conflict { at: Timestamp(3), ..conflict(1, &[101, 102]) };
    store.write(vec![WriteOp::PutConflict(open.clone())]).await.unwrap();
    let decide = async |decision| store.decide(vec![Conflict { decision, ..open.clone() }], None).await.unwrap();
    let carried = async |carried_to: Option<i64>| {
        let carried_to = carried_to.map(FirstLineId);
        let op = WriteOp::DecisionCarried { livedesk_id: id, carried_to, left_behind: None };
        store.write(vec![op]).await.unwrap();
    };
    let standing = async |link: Option<&Link>| store.conflict_for(&[id]).await.unwrap()[&id].standing(link);
    let (made, chosen) = (link(1, 900), Link { origin: Origin::Decided, ..link(1, 101) });

    // Nobody decided: there is nothing to carry out.
    carried(Some(101)).await;
    assert_eq!(standing(Some(&chosen)).await, None);
    decide(Some(Decision::Link(FirstLineId(101)))).await;
    // Where a link leads says nothing; and another record is not where this decision led.
    assert_eq!(standing(Some(&chosen)).await, Some(Decision::Link(FirstLineId(101))));
    carried(Some(900)).await;
    assert!(standing(Some(&made)).await.is_some());
    carried(Some(101)).await;
    assert_eq!((standing(Some(&chosen)).await, standing(Some(&made)).await), (None, None), "a merge moved the link");
    assert!(standing(None).await.is_some());
    decide(Some(Decision::Create)).await;
    assert_eq!(standing(Some(&chosen)).await, Some(Decision::Create));
    carried(Some(900)).await;
    // The same doubt found again is the same question; a taken-back run opens it.
    store.write(vec![WriteOp::PutConflict(open.clone())]).await.unwrap();
    assert_eq!(standing(Some(&made)).await, None);
    carried(None).await;
    assert_eq!(standing(Some(&made)).await, Some(Decision::Create));
    // Who is left out is never done with.
    decide(Some(Decision::Skip)).await;
    carried(Some(900)).await;
    assert_eq!(standing(Some(&made)).await, Some(Decision::Skip));
    store.close().await;
}

#[test]
fn nobody_of_them_keeps_what_was_made_and_a_chosen_customer_does_not_leave_it_as_a_second_copy() {
    let decided = |decision, kind: &str| {
        let found = conflict(1, &[101, 102]);
        Conflict { decision: Some(decision), kind: kind.into(), at: Timestamp(3), ..found }
    };
    let own = |origin, linked_at| Link { origin, linked_at: Timestamp(linked_at), ..link(1, 101) };
    let (to_it, other) = (Decision::Link(FirstLineId(101)), Decision::Link(FirstLineId(102)));
    let made = Leaving::Made { own: FirstLineId(101), chosen: FirstLineId(102) };
    let behind = Leaving::Behind(FirstLineId(101));
    for (decision, kind, origin, linked_at, leaving) in [
        (to_it, "several", Origin::Decided, 4, None),
        (other, "several", Origin::Decided, 4, Some(behind)),
        (other, SHARED, Origin::Created, 1, Some(made)),
        (other, SHARED, Origin::Adopted, 1, Some(behind)),
        // Who decides about twins knows of both.
        (other, TWINS, Origin::Created, 1, Some(behind)),
        (Decision::Create, TWINS, Origin::Adopted, 1, None),
        (Decision::Create, "several", Origin::Created, 4, None),
        (Decision::Create, "several", Origin::Decided, 4, Some(behind)),
        // Its own since before the doubt, or chosen because of it.
        (Decision::Create, SHARED, Origin::Adopted, 1, None),
        (Decision::Create, SHARED, Origin::Decided, 4, Some(behind)),
        // It carries somebody else's stamp.
        (Decision::Create, STAMP, Origin::Created, 1, Some(behind)),
        (Decision::Skip, "several", Origin::Decided, 4, None),
    ] {
        let found = decided(decision, kind).leaving(Some(&own(origin, linked_at)));
        assert_eq!(found, leaving, "{decision:?} of {kind}, {origin:?}");
        assert_eq!(decided(decision, kind).leaving(None), None);
    }
}

#[tokio::test]
async fn an_index_speaks_of_itself_only_after_a_whole_walk() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let key = (IndexKind::Email, Digest([1; 16]));
    let add = |target| WriteOp::IndexAdd { kind: key.0, key: key.1, target: FirstLineId(target) };
    assert_eq!(store.index_clear().await.unwrap(), 1);
    store.write(vec![add(2), add(1), add(2)]).await.unwrap();
    assert_eq!(store.index_state().await.unwrap(), None);
    store.index_finish(2, Some(2)).await.unwrap();
    assert_eq!(store.index_state().await.unwrap().map(|state| (state.distinct, state.total)), Some((2, Some(2))));
    let missing = (IndexKind::Phone, key.1);
    let found = store.index_lookup(&[key, missing, key]).await.unwrap();
    assert_eq!(found, [(key, vec![FirstLineId(1), FirstLineId(2)])].into());
    assert_eq!(store.index_clear().await.unwrap(), 2);
    assert_eq!(store.index_state().await.unwrap(), None);
    assert!(store.index_lookup(&[key]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_new_sweep_gives_up_the_open_one_and_sightings_follow_the_last() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let first = store.begin_sweep(RUN).await.unwrap();
    let start = ScanPosition { pass: 1, page: 1 };
    assert_eq!(store.open_sweep().await.unwrap().map(|open| open.position), Some(start));
    let sights = |sweep, ids: &[i64]| ids.iter().map(|id| WriteOp::Sight { sweep, id: LiveDeskId(*id) }).collect();
    store.write(sights(first, &[1, 2, 3])).await.unwrap();
    let second = store.begin_sweep(RUN).await.unwrap();
    store.write(sights(second, &[2, 3])).await.unwrap();
    store.finish_sweep(second, "proven").await.unwrap();
    assert_eq!(store.open_sweep().await.unwrap(), None);
    let verdicts: Vec<_> = store.finished_sweeps(9).await.unwrap().into_iter().map(|sweep| sweep.verdict).collect();
    assert_eq!(verdicts, ["proven", "abandoned"]);
    let mut seen = Vec::new();
    store.sighted(first, |id| seen.push(id.0)).await.unwrap();
    assert_eq!(seen, [1]);
    // Two more proven sweeps that do not see it, and it is forgotten; but not if anything else is known of it.
    for (nth, left) in [(2, 0), (3, 1)] {
        let next = store.begin_sweep(RUN).await.unwrap();
        store.write(sights(next, &[2, 3])).await.unwrap();
        store.finish_sweep(next, "proven").await.unwrap();
        assert_eq!(store.prune_sightings().await.unwrap(), left, "after {nth} proven sweeps");
    }
    assert_eq!(store.sighted_among(&[1, 2, 3].map(LiveDeskId)).await.unwrap(), 2);
    store.write(sights(first, &[7])).await.unwrap();
    store.write(vec![WriteOp::PutLink(link(7, 70))]).await.unwrap();
    assert_eq!(store.prune_sightings().await.unwrap(), 0, "the absence of a linked contact is judged by it");
}

#[tokio::test]
async fn a_year_of_runs_is_forgotten_in_small_steps_but_for_what_is_referred_to() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let mut conn = raw(&path).await;
    // A sync every five minutes for a year, a sweep each night, all ended; run 2 wrote a link, run 3 has before-images.
    sqlx::query(
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 105000)
         INSERT INTO run (id, kind, options, started_at, ended_at, exit_code, counts)
         SELECT i, 'sync', '{}', i * 300000, i * 300000 + 1000, 0, '{}' FROM n",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO sweep (run, started_at, ended_at, verdict)
         SELECT id, started_at, ended_at, iif(id % 288 = 0, 'counted', 'proven') FROM run WHERE id % 144 = 0",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    store.write(vec![WriteOp::PutLink(Link { run: RunId(2), ..link(5, 50) })]).await.unwrap();
    sqlx::query(
        "INSERT INTO journal (run, livedesk_id, target, action, before, at) VALUES (3, 5, 50, 'update', '{}', 1)",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    store.write(vec![WriteOp::Sight { sweep: 9, id: LiveDeskId(5) }]).await.unwrap();
    let before = Timestamp(95_000 * 300_000);
    let (mut sweeps, mut runs) = (Vec::new(), Vec::new());
    loop {
        sweeps.push(store.prune_sweeps(before).await.unwrap());
        runs.push(store.prune_runs(before).await.unwrap());
        if (sweeps.last(), runs.last()) == (Some(&0), Some(&0)) {
            break;
        }
    }
    assert!(sweeps.iter().chain(&runs).all(|some| *some <= 500), "small steps: {sweeps:?} {runs:?}");
    assert_eq!(sweeps.iter().sum::<u64>(), 658, "659 ended before, and one of them was the last to see a contact");
    let kept = store.runs(200_000).await.unwrap();
    let old: Vec<i64> = kept.iter().map(|run| run.id.0).filter(|id| *id < 95_000).collect();
    // Run 1 has not ended; run 1296 is that of sweep 9.
    assert_eq!(old, [1_296, 3, 2, 1]);
    assert_eq!(kept.len(), 4 + 10_001);
    assert!(store.check().await.unwrap().problems().is_empty());
}

#[tokio::test]
async fn every_column_that_refers_to_a_run_keeps_it() {
    let (_folder, path) = folder();
    drop(begun(&path).await);
    let referring: Vec<String> = sqlx::query_scalar(
        "SELECT m.name || '.' || f.\"from\" FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f ON true
         WHERE m.type = 'table' AND f.\"table\" = 'run' ORDER BY 1",
    )
    .fetch_all(&mut raw(&path).await)
    .await
    .unwrap();
    assert_eq!(referring, prune::REFERRING, "see the query of `Store::prune_runs`");
}

#[tokio::test]
async fn runs_profile_and_definitions_come_back_as_they_were() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    assert!(store.is_empty().await.unwrap(), "a run that wrote nothing leaves the state empty");
    let result = RunResult { exit_code: 1, verdict: Some("short by 3".into()), counts: json!({ "parked": 2 }) };
    store.finish_run(RUN, result).await.unwrap();
    store.begin_run("sync", &json!({ "limit": 5 })).await.unwrap();
    let runs = store.runs(5).await.unwrap();
    assert_eq!(
        runs.iter().map(|run| (run.kind.as_str(), run.exit_code)).collect::<Vec<_>>(),
        [("sync", None), ("backfill", Some(1))]
    );
    assert_eq!(runs[1].verdict.as_deref(), Some("short by 3"));

    store.profile_put("update_method", &json!("put")).await.unwrap();
    store.profile_put("update_method", &json!({ "method": "post_body" })).await.unwrap();
    assert_eq!(store.profile_get("update_method").await.unwrap(), Some(json!({ "method": "post_body" })));
    assert_eq!(store.profile_get("unknown").await.unwrap(), None);

    let definition = FieldDefinition {
        id: 32,
        category_id: 4,
        category: "Basics".into(),
        name: "VIP".into(),
        kind: FieldKind::SingleChoice,
        required: true,
        options: vec![ChoiceOption { text: "Gold".into(), value: json!(2) }],
        default: Some(json!("x")),
    };
    let plain = FieldDefinition { id: 33, options: vec![], default: None, ..definition.clone() };
    store.save_definitions(std::slice::from_ref(&plain)).await.unwrap();
    store.save_definitions(&[definition.clone(), plain.clone()]).await.unwrap();
    assert_eq!(store.definitions().await.unwrap(), [definition, plain]);
}

#[tokio::test]
async fn dead_letters_come_due_in_their_order_and_what_the_mapping_rejects_never_does() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let refused = |id: i64, next_at: i64| DeadLetter {
        fingerprint: Some(Digest([1; 16])),
        next_at: Timestamp(next_at),
        ..letter(id, 1)
    };
    let poisoned = DeadLetter { poisoned_at: Some(Timestamp(1)), ..refused(4, 1) };
    let letters = [
        refused(1, 30),
        refused(2, 20),
        refused(3, 40),
        poisoned,
        DeadLetter { next_at: Timestamp(0), ..letter(5, 1) },
    ];
    store.write(letters.into_iter().map(WriteOp::PutDeadLetter).collect()).await.unwrap();
    let due = async |now: i64, limit| {
        let due = store.dead_letters_due(Timestamp(now), limit).await.unwrap();
        due.into_iter().map(|id| id.0).collect::<Vec<_>>()
    };
    assert_eq!((due(19, 9).await, due(30, 9).await, due(99, 2).await), (vec![], vec![2, 1], vec![2, 1]));
    assert_eq!(store.dead_letter_counts().await.unwrap(), (4, 1));
    // One of before the clock was set back: when it would be due nobody knows.
    store
        .write(vec![WriteOp::PutDeadLetter(DeadLetter { last_at: Timestamp(9_000_000), ..refused(3, 9_900_000) })])
        .await
        .unwrap();
    assert_eq!(due(19, 9).await, [3]);
    store.write(vec![WriteOp::PutDeadLetter(refused(3, 40))]).await.unwrap();
    // Another fingerprint is another beginning; the first time it was set aside stays.
    let other = DeadLetter { fingerprint: Some(Digest([2; 16])), first_at: Timestamp(50), ..refused(4, 90) };
    store.write(vec![WriteOp::PutDeadLetter(other.clone())]).await.unwrap();
    let stored = store.dead_letters_for(&[LiveDeskId(4)]).await.unwrap();
    assert_eq!(stored[&LiveDeskId(4)], DeadLetter { first_at: Timestamp(1), ..other });
}

#[tokio::test]
async fn five_thousand_equal_failures_are_one_group() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let mut letters: Vec<DeadLetter> = (1..=5_000).rev().map(|id| letter(id, 1)).collect();
    for letter in letters.iter_mut().take(40) {
        letter.poisoned_at = Some(Timestamp(2));
    }
    letters.extend((6_001..=6_003).map(|id| DeadLetter {
        kind: SetAsideKind::Gone,
        field: None,
        status: None,
        detail: format!("record {id} is not there any more"),
        ..letter(id, 1)
    }));
    store.write(letters.into_iter().map(WriteOp::PutDeadLetter).collect()).await.unwrap();
    let groups = store.failure_groups().await.unwrap();
    let lines: Vec<String> = groups.iter().map(super::FailureGroup::line).collect();
    assert_eq!(
        lines,
        [
            "5000 x refused birth_at (422): refused with status 422, 40 of them given up (contacts 1, 2, 3, 4, 5, ...)",
            "3 x gone: record # is not there any more (contacts 6001, 6002, 6003)",
        ]
    );
    assert_eq!((groups[0].waiting, groups[0].poisoned), (4_960, 40));
    assert!(groups[0].code.len() == 8 && groups[0].code != groups[1].code);
}

#[tokio::test]
async fn every_migration_carries_the_rows_of_the_versions_before_it() {
    let (_folder, path) = folder();
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true).foreign_keys(true);
    let mut conn = SqliteConnection::connect_with(&options).await.unwrap();
    for migration in MIGRATOR.iter() {
        let name = format!("{:04}_{}.sql", migration.version, migration.description.replace(' ', "_"));
        let rows = fs::read_to_string(Path::new("tests/data/migrations").join(&name))
            .unwrap_or_else(|_| panic!("sample rows tests/data/migrations/{name} are missing"));
        MIGRATOR.run_to(migration.version, &mut conn).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&mut conn).await.unwrap();
        let empty: Vec<String> = empty_tables(&mut conn).await;
        assert_eq!(empty, Vec::<String>::new(), "{name} has no row for these");
    }
    conn.close().await.unwrap();
    let store = try_open(&path).await.unwrap();
    let report = store.check().await.unwrap();
    assert_eq!((report.integrity, report.dangling), (vec![], 0));
    assert_eq!(store.links_page(LiveDeskId(0), 9).await.unwrap().len(), 2);
    assert_eq!(store.open_intents().await.unwrap().len(), 3);
    assert_eq!(store.conflicts().await.unwrap().len(), 2);
    assert_eq!(store.dead_letters().await.unwrap().len(), 2);
    assert_eq!(store.definitions().await.unwrap().len(), 2);
    assert_eq!(store.journal_of_run(RUN).await.unwrap().len(), 1);
    assert_eq!(store.next_intent_seq(), 10);
}

#[tokio::test]
async fn decisions_of_earlier_versions_count_as_carried_out_where_the_link_can_come_of_them() {
    let (_folder, path) = folder();
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true).foreign_keys(true);
    let mut conn = SqliteConnection::connect_with(&options).await.unwrap();
    MIGRATOR.run_to(12, &mut conn).await.unwrap();
    let mut rows = String::from("INSERT INTO run VALUES (1, 'backfill', '{}', 1, 2, 0, NULL, '{}');");
    let cases = [
        ("several", "'link', 603", "decided", 603_i64, true),
        ("several", "'link', 603", "decided", 601, false),
        ("several", "'create', NULL", "created", 700, true),
        ("several", "'create', NULL", "rebuilt", 700, true),
        // Made by an earlier decision, which this one was to correct.
        ("several", "'create', NULL", "decided", 700, false),
        ("shared", "'create', NULL", "created", 601, false),
        ("twins", "'create', NULL", "created", 601, true),
        ("several", "'skip', NULL", "decided", 603, false),
        ("several", "NULL, NULL", "created", 700, false),
    ];
    for (at, (kind, decision, origin, target, _)) in (0_i64..).zip(&cases) {
        let far = 1_000 * at;
        let (target, decision) = (target + far, decision.replace("603", &(603 + far).to_string()));
        let candidates = format!("[{},{}]", 601 + far, 602 + far);
        write!(
            rows,
            "INSERT INTO conflict VALUES ({at}, '{kind}', '{candidates}', 'email', 1, 1, {decision});
             INSERT INTO link (livedesk_id, target, origin, base, linked_at, updated_at, run)
                 VALUES ({at}, {target}, '{origin}', x'', 1, 1, 1);"
        )
        .unwrap();
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let store = try_open(&path).await.unwrap();
    for (found, (at, case)) in store.conflicts().await.unwrap().iter().zip((0_i64..).zip(&cases)) {
        let expected = case.4.then_some(FirstLineId(case.3 + 1_000 * at));
        assert_eq!((found.livedesk_id.0, found.carried_to), (at, expected), "{case:?}");
    }
    store.close().await;
}

#[tokio::test]
async fn an_older_state_is_copied_before_it_is_brought_up_and_a_new_one_is_not() {
    let (_folder, path) = folder();
    let copy = beside(&path, ".backup-v1");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true).foreign_keys(true);
    let mut conn = SqliteConnection::connect_with(&options).await.unwrap();
    MIGRATOR.run_to(1, &mut conn).await.unwrap();
    let rows = fs::read_to_string("tests/data/migrations/0001_state.sql").unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();

    let store = try_open(&path).await.unwrap();
    assert_eq!((store.link_count().await.unwrap(), store.lane().await.unwrap()), (2, None));
    store.close().await;
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let mut old = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&copy)).await.unwrap();
    let versions: i64 =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut old).await.unwrap();
    let links: i64 = sqlx::query_scalar("SELECT count(*) FROM link").fetch_one(&mut old).await.unwrap();
    assert_eq!((versions, links), (1, 2));
    old.close().await.unwrap();
    // The copy is the way back.
    fs::rename(&copy, &path).unwrap();
    try_open(&path).await.unwrap().close().await;

    let (_folder, new) = folder();
    try_open(&new).await.unwrap().close().await;
    let folder = new.parent().unwrap();
    assert!(fs::read_dir(folder).unwrap().all(|entry| !entry.unwrap().path().to_string_lossy().contains("backup")));
}

async fn empty_tables(conn: &mut SqliteConnection) -> Vec<String> {
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'")
            .fetch_all(&mut *conn)
            .await
            .unwrap();
    let mut empty = Vec::new();
    for table in tables {
        let query = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let count: i64 = sqlx::query_scalar(query).fetch_one(&mut *conn).await.unwrap();
        if count == 0 {
            empty.push(table);
        }
    }
    empty
}

/// Writes about few things, so that they meet each other often.
fn some_op() -> impl Strategy<Value = WriteOp> {
    let id = 1..4_i64;
    prop_oneof![
        (id.clone(), 1..4_i64)
            .prop_map(|(seq, high_water)| WriteOp::OpenIntent(Intent { high_water, ..intent(seq, 1) })),
        (id.clone(), 1..9_i64).prop_map(|(seq, at)| WriteOp::ParkIntent { seq, at: Timestamp(at) }),
        id.clone().prop_map(|seq| WriteOp::AbsentIntent { seq }),
        (id.clone(), 1..9_i64).prop_map(|(seq, target)| WriteOp::AuditIntent { seq, target: FirstLineId(target) }),
        id.clone().prop_map(|seq| WriteOp::CloseIntent { seq }),
        (id.clone(), 0..3_u8).prop_map(|(id, base)| WriteOp::PutLink(Link { base: vec![base], ..link(id, id * 10) })),
        id.clone().prop_map(|id| WriteOp::RemoveLink(LiveDeskId(id))),
        (id.clone(), 1..3_u8, 1..9_i64).prop_map(|(id, key, row)| WriteOp::PutChild(child(id, key, row))),
        (id.clone(), 1..3_u8).prop_map(|(id, key)| WriteOp::RemoveChild {
            livedesk_id: LiveDeskId(id),
            kind: ChildKind::Email,
            key: Digest([key; 16]),
        }),
        (id.clone(), 1..9_i64).prop_map(|(id, at)| WriteOp::PutDeadLetter(letter(id, at))),
        id.clone().prop_map(|id| WriteOp::ClearDeadLetter(LiveDeskId(id))),
        (id.clone(), 1..3_i64).prop_map(|(id, candidate)| WriteOp::PutConflict(conflict(id, &[candidate]))),
        id.clone().prop_map(|id| {
            WriteOp::PutConflict(Conflict { decision: Some(Decision::Create), ..conflict(id, &[1]) })
        }),
        (id.clone(), proptest::option::of(1..3_i64)).prop_map(|(id, target)| WriteOp::DecisionCarried {
            livedesk_id: LiveDeskId(id),
            carried_to: target.map(FirstLineId),
            left_behind: None,
        }),
        id.clone().prop_map(|id| WriteOp::ClearConflict(LiveDeskId(id))),
        (id.clone(), 1..5_i64).prop_map(|(id, since)| WriteOp::PutAbsence(absence(id, since))),
        id.clone().prop_map(|id| WriteOp::ClearAbsence(LiveDeskId(id))),
        (id, 1..5_i64).prop_map(|(id, sweep)| WriteOp::Sight { sweep, id: LiveDeskId(id) }),
        (1..9_u32).prop_map(|page| WriteOp::Checkpoint { sweep: 1, position: ScanPosition { pass: 1, page } }),
        (1..9_i64).prop_map(|count| WriteOp::CountRun { run: RUN, counts: json!({ "created": count }) }),
    ]
}

async fn contents(store: &Store) -> String {
    let mut seen = Vec::new();
    for sweep in 1..5 {
        store.sighted(sweep, |id| seen.push((sweep, id))).await.unwrap();
    }
    let links = store.links_page(LiveDeskId(0), 99).await.unwrap();
    let mut children = Vec::new();
    for link in &links {
        children.extend(store.children_of(link.livedesk_id).await.unwrap());
    }
    format!(
        "{links:?} {children:?} {:?} {:?} {:?} {:?} {seen:?} {:?} {:?}",
        store.maybe_absent(None, LiveDeskId(0), 99).await.unwrap(),
        store.open_intents().await.unwrap(),
        store.dead_letters().await.unwrap(),
        store.conflicts().await.unwrap(),
        store.open_sweep().await.unwrap(),
        store.run(RUN).await.unwrap().unwrap().counts,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_call_with_many_writes_equals_many_calls_with_one(ops in prop::collection::vec(some_op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_folder, path) = folder();
            let (_other_folder, other_path) = folder();
            let (single, together) = (begun(&path).await, begun(&other_path).await);
            for store in [&single, &together] {
                store.begin_sweep(RUN).await.unwrap();
            }
            // A child without its link is refused when it stands alone; leave it out of both.
            let mut accepted = Vec::new();
            for op in ops {
                if single.write(vec![op.clone()]).await.is_ok() {
                    accepted.push(op);
                }
            }
            together.write(accepted).await.unwrap();
            assert_eq!(contents(&together).await, contents(&single).await);
        });
    }
}

#[test]
fn writes_about_different_contacts_need_one_statement_per_kind() {
    let ops: Vec<WriteOp> = (1..=32)
        .flat_map(|id| {
            [WriteOp::PutChild(child(id, 1, id)), WriteOp::PutLink(link(id, id)), WriteOp::CloseIntent { seq: id }]
        })
        .collect();
    let sorted: Vec<WriteOp> = ops.iter().filter(|op| !matches!(op, WriteOp::PutChild(_))).cloned().collect();
    assert_eq!(op::arrange(&sorted.iter().collect::<Vec<_>>()).len(), 2);
    // A child named before its link costs one more round, not one per contact.
    assert_eq!(op::arrange(&ops.iter().collect::<Vec<_>>()).len(), 3);
}

/// Printed, not asserted: `cargo test --lib store::tests::speed -- --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "a measurement for people")]
async fn speed_of_link_writes() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let (calls, workers) = (10_000_i64, 32);
    let cpu = cpu_ticks();
    let start = std::time::Instant::now();
    let mut tasks = JoinSet::new();
    for worker in 0..workers {
        let store = store.clone();
        tasks.spawn(async move {
            for id in (worker + 1..=calls).step_by(32) {
                store.write(vec![WriteOp::OpenIntent(intent(id, id))]).await.unwrap();
                store.write(vec![WriteOp::PutLink(link(id, id)), WriteOp::CloseIntent { seq: id }]).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let per_contact = start.elapsed().as_micros() / 10_000;
    let cpu = (cpu_ticks() - cpu) * 10_000 / 10_000;
    eprintln!(
        "{calls} contacts, {workers} workers: {per_contact} µs (CPU about {cpu} µs) each, {} commits",
        store.commits()
    );
    assert_eq!(store.link_count().await.unwrap(), 10_000);
}

/// User and system time of this process in ticks of 10 ms; other tests that run at the same time count too.
fn cpu_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    stat.rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<u64>().ok())
        .sum()
}

#[tokio::test]
async fn only_contacts_last_seen_before_the_cut_may_be_absent() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let later = Link { updated_at: Timestamp(50), ..link(5, 105) };
    let links = [link(1, 101), link(2, 102), link(3, 103), link(4, 104), later];
    store.write(links.into_iter().map(WriteOp::PutLink).collect()).await.unwrap();
    store.write(vec![WriteOp::PutAbsence(absence(4, 9))]).await.unwrap();
    // 1 was seen by the cut itself, 2 before it, 3 never, 4 was absent once and is seen, 5 was read after the cut began.
    let sights = [(1, 7), (2, 6), (4, 8)];
    let sights = sights.map(|(id, sweep)| WriteOp::Sight { sweep, id: LiveDeskId(id) });
    store.write(sights.into()).await.unwrap();
    let ids = async |cut| {
        let seen = store.maybe_absent(cut, LiveDeskId(0), 9).await.unwrap();
        seen.into_iter().map(|seen| (seen.livedesk_id.0, seen.absence.is_some())).collect::<Vec<_>>()
    };
    let cut = ProvenSweep { sweep: 7, started_at: Timestamp(40) };
    assert_eq!(ids(Some(cut)).await, [(2, false), (3, false), (4, true)]);
    assert_eq!(ids(None).await, [(4, true)]);
    assert_eq!(store.absence_counts().await.unwrap().missing, 1);
    // Another contact's record was merged into that of 2: it is not the record of somebody who is gone.
    let trouble = async || {
        let seen = store.maybe_absent(Some(cut), LiveDeskId(0), 9).await.unwrap();
        seen.into_iter().filter(|seen| seen.in_trouble).map(|seen| seen.livedesk_id.0).collect::<Vec<_>>()
    };
    assert_eq!(trouble().await, Vec::<i64>::new());
    let alias = Link { standing: Standing::Alias, alias_of: Some(FirstLineId(102)), ..link(5, 105) };
    let alias = Link { updated_at: Timestamp(50), ..alias };
    store.write(vec![WriteOp::PutLink(alias), WriteOp::PutDeadLetter(letter(3, 1))]).await.unwrap();
    assert_eq!(trouble().await, [2, 3]);
    // The row goes with its link.
    store.write(vec![WriteOp::RemoveLink(LiveDeskId(4))]).await.unwrap();
    assert_eq!(ids(None).await, []);
}

#[tokio::test]
async fn links_that_lead_nowhere_are_told_apart_and_none_of_them_vouches() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let gone = Link { standing: Standing::Gone, ..link(2, 102) };
    let alias = Link { standing: Standing::Alias, alias_of: Some(FirstLineId(101)), ..link(9, 109) };
    let links = [link(1, 101), gone.clone(), link(5, 105), alias.clone()];
    store.write(links.into_iter().map(WriteOp::PutLink).collect()).await.unwrap();
    assert_eq!(store.standings().await.unwrap(), Standings { live: 2, alias: 1, gone: 1 });
    assert_eq!(store.vanished(9).await.unwrap(), [gone, alias]);
    assert_eq!(store.latest_created_link().await.unwrap(), Some(link(5, 105)));
    assert_eq!(store.live_witnesses(true, LiveDeskId(5)).await.unwrap(), [link(1, 101)]);
    assert_eq!(store.live_witnesses(false, LiveDeskId(5)).await.unwrap(), []);
    store.write(vec![WriteOp::RemoveLink(LiveDeskId(2))]).await.unwrap();
    assert_eq!(store.standings().await.unwrap(), Standings { live: 2, alias: 1, gone: 0 });
    // An alias names who took its place, and nobody else does.
    let bad = Link { alias_of: Some(FirstLineId(7)), ..link(5, 105) };
    assert!(store.write(vec![WriteOp::PutLink(bad)]).await.is_err());
}

#[tokio::test]
async fn the_vitals_are_those_of_the_last_verdict_the_last_complete_sweep_and_the_last_run_of_each_kind() {
    let (_folder, path) = folder();
    let store = try_open(&path).await.unwrap();
    let vitals = store.vitals().await.unwrap();
    assert_eq!(vitals, Vitals::default(), "an empty state has none");
    for (kind, exit_code, verdict) in
        [("backfill", 0, Some("proven")), ("sweep", 1, Some("short by 2")), ("sync", 0, None), ("sync", 2, None)]
    {
        let run = store.begin_run(kind, &json!({})).await.unwrap();
        if let Some(verdict) = verdict {
            let sweep = store.begin_sweep(run).await.unwrap();
            store.finish_sweep(sweep, verdict).await.unwrap();
        }
        store.finish_run(run, RunResult { exit_code, verdict: None, counts: json!({}) }).await.unwrap();
    }
    // A sweep that was given up says nothing, and one that is under way not yet; nor does a run without an end.
    for _ in 0..2 {
        let run = store.begin_run("sweep", &json!({})).await.unwrap();
        store.begin_sweep(run).await.unwrap();
    }
    let vitals = store.vitals().await.unwrap();
    let verdict = |sweep: Option<FinishedSweep>| sweep.map(|sweep| (sweep.run.0, sweep.verdict));
    assert_eq!(verdict(vitals.last_sweep), Some((2, String::from("short by 2"))));
    assert_eq!(verdict(vitals.last_complete_sweep), Some((1, String::from("proven"))));
    let runs: Vec<(i64, &str, i32)> =
        vitals.last_runs.iter().map(|run| (run.id.0, run.kind.as_str(), run.exit_code)).collect();
    assert_eq!(runs, [(4, "sync", 2), (2, "sweep", 1), (1, "backfill", 0)], "newest first");
    store.write(vec![WriteOp::PutLink(link(1, 11)), WriteOp::OpenIntent(intent(1, 2))]).await.unwrap();
    let vitals = store.vitals().await.unwrap();
    assert_eq!((vitals.links_live, vitals.parked, vitals.conflicts, vitals.dead_letters_waiting), (1, 1, 0, 0));
}

#[tokio::test]
async fn a_failed_sweep_is_known_however_many_quick_cycles_came_after_it() {
    let (_folder, path) = folder();
    let store = try_open(&path).await.unwrap();
    let failed = store.begin_run("sweep", &json!({})).await.unwrap();
    let result = RunResult { exit_code: 2, verdict: None, counts: json!({}) };
    store.finish_run(failed, result).await.unwrap();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
                INSERT INTO run (kind, options, started_at, ended_at, exit_code) SELECT 'sync', '{}', i, i, 0 FROM n";
    sqlx::query(many).execute(&mut raw(&path).await).await.unwrap();
    let last_runs = store.vitals().await.unwrap().last_runs;
    assert_eq!(last_runs.iter().map(|run| (run.id, run.exit_code)).next_back(), Some((failed, 2)));
}

#[tokio::test]
async fn a_repaired_run_ended_no_earlier_than_its_last_create_was_sent() {
    let (_folder, path) = folder();
    let store = begun(&path).await;
    let sent = Intent { opened_at: Timestamp(9_000), ..intent(1, 7) };
    store.write(vec![WriteOp::OpenIntent(sent)]).await.unwrap();
    store.repair().await.unwrap();
    assert_eq!(store.run_at(Timestamp(9_000)).await.unwrap(), Some(RUN));
}
