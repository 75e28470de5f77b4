//! Commands beside each other with a login instead of a token: they use one token, so none ends the other's.

use serde_json::json;

use crate::cli_support::{Desk, Ended};
use crate::plan::desk_with;

const CALM: &str = "token = \"sandbox-token\"\nrequests_per_second = 0";

/// People at LiveDesk, and a configuration that logs in and sends so many requests a second.
async fn desk_with_login(people: usize, rate: u32) -> (Desk, Vec<u64>) {
    let (desk, ids) = desk_with(people).await;
    let login = format!("name = \"ferry\"\npassword = \"sandbox-password\"\nrequests_per_second = {rate}");
    desk.replace(CALM, &login);
    (desk, ids)
}

fn logins(desk: &Desk) -> u64 {
    desk.sandbox.firstline_faults().counts()["by_route"]["POST /auth"].as_u64().unwrap_or_default()
}

#[track_caller]
fn went_through(ended: &Ended) {
    assert!(matches!(ended.code, Some(0 | 1)), "{:?}\n{}\n{}", ended.code, ended.out, ended.err);
    // What the sandbox's tokens begin with.
    assert!(
        !ended.out.contains("eyJ") && !ended.err.contains("eyJ"),
        "a token is shown:\n{}\n{}",
        ended.out,
        ended.err
    );
}

fn leaves_no_token(desk: &Desk) {
    let left: Vec<String> = desk.files().into_iter().filter(|name| name.contains("login")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_that_logged_in_goes_on_beside_every_command_that_looks() {
    let (desk, ids) = desk_with_login(40, 20).await;
    let first = ids[0].to_string();
    let beside = async {
        desk.sandbox.firstline_faults().until(|| desk.creates() >= 3).await;
        let mut looked = 0;
        for command in [&["plan"][..], &["check"], &["explain", &first], &["fields"], &["verify"]] {
            went_through(&desk.run(command).await);
            // What began and ended while the backfill was at work used its login.
            if desk.creates() < 40 {
                assert_eq!(logins(&desk), 1, "{command:?}");
                looked += 1;
            }
        }
        looked
    };
    let (ended, looked) = tokio::join!(desk.run(&["backfill", "--yes"]), beside);
    ended.expect(0);
    assert_eq!(desk.creates(), 40);
    leaves_no_token(&desk);
    desk.run(&["verify"]).await.expect(0);
    assert!(looked > 0, "nobody looked while the backfill was at work");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_logged_in_goes_on_beside_other_looks_while_nobody_holds_the_state() {
    let (desk, ids) = desk_with_login(30, 0).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    for id in &ids {
        desk.sandbox.livedesk().edit(*id, |contact| drop(contact.insert("name".into(), json!("Somebody Else"))));
    }
    desk.replace(
        "requests_per_second = 0\ntimeout = \"5s\"\n\n[state]",
        "requests_per_second = 15\ntimeout = \"5s\"\n\n[state]",
    );
    let before = logins(&desk);
    let first = ids[0].to_string();
    let beside = async {
        desk.sandbox.firstline_faults().until(|| logins(&desk) > before).await;
        for _ in 0..3 {
            went_through(&desk.run(&["explain", &first]).await);
        }
    };
    let (planned, ()) = tokio::join!(desk.run(&["--json", "plan"]), beside);
    let planned = planned.expect(0);
    assert_eq!(planned.out.lines().count(), 32, "{}", planned.out);
    assert_eq!(logins(&desk), before + 1);
    leaves_no_token(&desk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_command_left_is_not_taken_for_a_token() {
    let (desk, _) = desk_with_login(2, 0).await;
    desk.write("state.db.login", "eyJ-of-a-killed-command");
    desk.run(&["backfill", "--yes"]).await.expect(0);
    assert_eq!(logins(&desk), 1);
    leaves_no_token(&desk);
}
