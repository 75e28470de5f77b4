//! What the guide tells an operator to do on a bad day, done: back up, lose, restore, move.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sqlx::{Connection, SqliteConnection};

use crate::cli_support::Desk;

/// `VACUUM INTO`, as the guide says, beside whoever uses the state.
async fn back_up(desk: &Desk, copy: &str) {
    let mut connection = SqliteConnection::connect(desk.path("state.db").to_str().unwrap()).await.unwrap();
    let copy = desk.path(copy);
    sqlx::query("VACUUM INTO ?1").bind(copy.to_str().unwrap()).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[test]
fn the_guide_hands_sqlite_a_file_name_and_no_name_of_a_column() {
    let guide = super::read("docs/operations.md");
    let line = guide.lines().find(|line| line.contains("VACUUM INTO") && line.contains("sh -c")).unwrap();
    let typed = line.strip_prefix("sudo -u deskferry ").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stub = folder.path().join("sqlite3");
    fs::write(&stub, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
    fs::set_permissions(&stub, fs::Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let output = std::process::Command::new("sh").args(["-c", typed]).env("PATH", path).output().unwrap();
    let given = String::from_utf8(output.stdout).unwrap();
    assert_eq!(given, "/var/lib/deskferry/deskferry.db\nVACUUM INTO '/var/lib/deskferry/backup.db'\n", "{line}");
}

fn remove_state(desk: &Desk) {
    for suffix in ["", "-wal", "-shm"] {
        let _not_there = fs::remove_file(desk.path(&format!("state.db{suffix}")));
    }
}

#[tokio::test]
async fn an_old_copy_restored_as_the_guide_says_makes_no_second_copy_of_anybody() {
    let desk = Desk::new().await;
    desk.run(&["backfill", "--limit", "8"]).await.expect(0);
    let held = desk.lock().await;
    back_up(&desk, "copy.db").await;
    held.close().await;
    desk.run(&["backfill"]).await.expect(0);
    assert_eq!(desk.creates(), 20);

    remove_state(&desk);
    fs::rename(desk.path("copy.db"), desk.path("state.db")).unwrap();
    desk.run(&["status"]).await.expect(0).says("linked      8 contacts");
    desk.run(&["state", "rebuild"]).await.expect(0).says("12 links found again, 8 known already");
    desk.run(&["state", "check"]).await.expect(0).says("the state is sound");
    desk.run(&["backfill"]).await.expect(0).says("proven");
    assert_eq!(desk.creates(), 20);
    desk.run(&["status"]).await.expect(0).says("linked      20 contacts");
}

#[tokio::test]
async fn a_state_copied_with_its_log_works_from_another_folder() {
    let desk = Desk::new().await;
    desk.run(&["backfill"]).await.expect(0);
    let elsewhere = desk.path("moved");
    fs::create_dir(&elsewhere).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (desk.path(&format!("state.db{suffix}")), elsewhere.join(format!("state.db{suffix}")));
        if from.exists() {
            fs::copy(from, to).unwrap();
        }
    }
    remove_state(&desk);
    desk.replace("path = \"state.db\"", "path = \"moved/state.db\"");
    desk.run(&["state", "check"]).await.expect(0).says("the state is sound");
    desk.run(&["backfill"]).await.expect(0).says("proven");
    assert_eq!(desk.creates(), 20);
}
