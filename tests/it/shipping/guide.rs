//! What the guide tells an operator to do on a bad day, done: back up, lose, restore, move.

use std::fs;

use crate::cli_support::Desk;

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
    desk.run(&["state", "backup", desk.path("copy.db").to_str().unwrap()]).await.expect(0);
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
