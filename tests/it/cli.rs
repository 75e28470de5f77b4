//! The commands as people run them: the real binary against a sandbox in this process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use deskferry::clock::Timestamp;
use deskferry::domain::ids::{FirstLineId, LiveDeskId};
use deskferry::store::{Conflict, WriteOp};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::cli_support::{Desk, deskferry};

const COMMANDS: &[&[&str]] = &[
    &[],
    &["init"],
    &["check"],
    &["fields"],
    &["map"],
    &["map", "test"],
    &["map", "explain"],
    &["backfill"],
    &["retry"],
    &["status"],
    &["health"],
    &["runs"],
    &["conflicts"],
    &["conflicts", "list"],
    &["conflicts", "resolve"],
    &["conflicts", "show"],
    &["conflicts", "reopen"],
    &["explain"],
    &["state"],
    &["state", "check"],
    &["state", "rebuild"],
    &["state", "backup"],
    &["state", "export"],
    &["state", "import"],
    &["state", "forget"],
    &["state", "prune"],
    &["sandbox"],
    &["demo"],
    &["completions"],
    &["man"],
];

#[tokio::test]
async fn every_command_explains_itself() {
    for command in COMMANDS {
        let ended = deskferry(&[command, &["--help"][..]].concat()).await.expect(0);
        assert!(ended.out.contains("Usage: deskferry"), "{command:?}: {}", ended.out);
    }
    let ended = deskferry(&["sandbox", "--help"]).await.expect(0);
    for switch in ["ties", "drift", "lost_ack_rate", "filter_membership_no", "[\"sandbox-token\"]"] {
        ended.says(switch);
    }
}

#[tokio::test]
async fn every_command_has_a_page_in_the_manual() {
    let folder = tempfile::tempdir().unwrap();
    deskferry(&["man", "-o", folder.path().to_str().unwrap()]).await.expect(0);
    for command in COMMANDS {
        let page = std::iter::once("deskferry").chain(command.iter().copied()).collect::<Vec<_>>().join("-");
        assert!(folder.path().join(format!("{page}.1")).exists(), "{page}");
    }
    let page = deskferry(&["man", "conflicts", "resolve"]).await.expect(0);
    page.says(".TH");
    page.says("deskferry\\-conflicts\\-resolve");
    let ended = deskferry(&["man", "conflicts", "solve"]).await.expect(2);
    ended.says("has no command \"solve\"; it has: list, show, resolve, reopen");
    deskferry(&["man", "-o", "/proc/nowhere"]).await.expect(2).says("/proc/nowhere");
}

#[tokio::test]
async fn init_twice_leaves_what_was_written_between_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("config");
    let arguments = ["init", "--dir", dir.to_str().unwrap()];
    let ended = deskferry(&arguments).await.expect(0);
    ended.says("written: ");
    ended.says("next: ");
    let settings = dir.join("deskferry.toml");
    assert_eq!(fs::metadata(&settings).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&settings, "mine").unwrap();
    fs::remove_file(dir.join("mapping.toml")).unwrap();
    let ended = deskferry(&arguments).await.expect(0);
    ended.says("left as it is: ");
    assert_eq!(fs::read_to_string(&settings).unwrap(), "mine");
    assert!(dir.join("mapping.toml").exists());
}

#[tokio::test]
async fn an_unknown_key_is_named_with_file_line_and_suggestion() {
    let desk = Desk::new().await;
    desk.replace("token = ", "tokn = ");
    for command in ["backfill", "status", "runs"] {
        let ended = desk.run(&[command]).await.expect(2);
        ended.says("deskferry.toml:12: firstline.tokn: unknown key; did you mean \"token\"?");
    }
}

#[tokio::test]
async fn a_wrong_key_ends_a_backfill_before_anything_is_created() {
    for (right, wrong) in [("sandbox-secret", "guess"), ("sandbox-token", "guess")] {
        let desk = Desk::new().await;
        desk.replace(right, wrong);
        let ended = desk.run(&["backfill", "--yes"]).await.expect(2);
        ended.says("401");
        assert!(!ended.err.contains(wrong), "{}", ended.err);
        assert_eq!(desk.sandbox.firstline().tally().writes(), 0);
    }
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_holds_the_state() {
    let desk = Desk::new().await;
    let store = desk.lock().await;
    for command in [&["backfill", "--yes"][..], &["retry"], &["state", "rebuild"]] {
        let ended = desk.run(command).await.expect(2);
        ended.says("is in use by process");
        ended.says("(the test)");
    }
    assert_eq!(desk.creates(), 0);
    let status = desk.run(&["status"]).await.expect(0);
    status.says("in use by process");
    status.says("(the test)");
    assert!(desk.run(&["status", "--json"]).await.expect(0).json()["holder"].is_string());
    store.close().await;
    assert_eq!(desk.run(&["status", "--json"]).await.expect(0).json()["holder"], Value::Null);
}

#[tokio::test]
async fn the_state_of_another_account_is_refused() {
    let desk = Desk::new().await;
    desk.make_foreign_state().await;
    let ended = desk.run(&["backfill", "--yes"]).await.expect(2);
    ended.says("the state was made for the LiveDesk account https://other.example/api/v2/accounts");
    assert_eq!(desk.creates(), 0);
}

#[tokio::test]
async fn a_corrupt_state_is_refused_by_all_and_names_the_way_back() {
    let desk = Desk::new().await;
    let rubbish = vec![b'x'; 8192];
    fs::write(desk.path("state.db"), &rubbish).unwrap();
    for command in [&["backfill", "--yes"][..], &["status"], &["check"], &["state", "check"]] {
        let ended = desk.run(command).await.expect(2);
        ended.says("state.db is damaged or no state file");
        ended.says("state rebuild");
    }
    assert_eq!(fs::read(desk.path("state.db")).unwrap(), rubbish);
    assert_eq!(desk.creates(), 0);
}

#[tokio::test]
async fn the_state_of_a_newer_version_is_refused_and_left_alone() {
    let desk = Desk::new().await;
    desk.lock().await.close().await;
    let url = format!("sqlite://{}", desk.path("state.db").display());
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
                 VALUES (999, 'later', CURRENT_TIMESTAMP, 1, x'00', 0)";
    sqlx::query(newer).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    for command in [&["backfill", "--yes"][..], &["status"], &["check"], &["runs"]] {
        desk.run(command).await.expect(2).says("has version 999");
    }
    assert_eq!(desk.creates(), 0);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_said_before_anything_is_created() {
    let desk = Desk::new().await;
    // Root may write into any folder, but nobody into this one.
    desk.replace("path = \"state.db\"", "path = \"/proc/deskferry.db\"");
    desk.run(&["backfill", "--yes"]).await.expect(2).says("cannot be opened for writing");
    desk.run(&["check"]).await.expect(2).says("nothing can be written in /proc");
    desk.replace("/proc/deskferry.db", "missing/state.db");
    desk.run(&["backfill", "--yes"]).await.expect(2).says("cannot be opened for writing");
    desk.run(&["check"]).await.expect(2).says("make the folder, or check [state] path");
    assert_eq!(desk.creates(), 0);
    assert!(!desk.path("missing").exists());
}

#[tokio::test]
async fn status_and_runs_tell_what_a_backfill_did() {
    let desk = Desk::new().await;
    desk.run(&["status"]).await.expect(2).says("there is no state file");
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let status = desk.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["accounts"]["firstline"], json!(desk.sandbox.firstline_url()));
    assert_eq!(status["last_sweep"]["verdict"], "proven");
    assert_eq!(status["links"], json!(desk.creates()));
    assert_eq!(
        status["left_over"],
        json!({
            "set_aside": 0, "parked": 0, "conflicts_undecided": 0, "conflicts_waiting": 0,
        })
    );
    desk.run(&["status"]).await.expect(0).says("last sweep  proven (run 1");
    let runs = desk.run(&["runs", "--json", "--limit", "1"]).await.expect(0);
    let run = runs.json();
    assert_eq!((&run["kind"], &run["exit_code"]), (&json!("backfill"), &json!(0)));
    desk.run(&["runs"]).await.expect(0).says("run 1  backfill");
}

#[tokio::test]
async fn a_decided_conflict_is_carried_out_by_retry() {
    let desk = Desk::new().await;
    let ids = desk.sandbox.livedesk().listed_ids();
    let (first, second) = (ids[0], ids[1]);
    let target = desk.sandbox.firstline().add_contact(&json!({ "first_name": "Known" }), &[], &[], &[]);
    desk.run(&["backfill", "--yes", "--limit", "0"]).await.expect(0);
    let store = desk.lock().await;
    let conflict = |id: u64| {
        WriteOp::PutConflict(Conflict {
            livedesk_id: LiveDeskId(id.cast_signed()),
            kind: String::from("several"),
            candidates: vec![FirstLineId(target.cast_signed())],
            keys: String::from("email"),
            run: deskferry::domain::ids::RunId(1),
            at: Timestamp(0),
            decision: None,
            carried_to: None,
            left_behind: None,
        })
    };
    store.write(vec![conflict(first), conflict(second)]).await.unwrap();
    store.close().await;

    let listed = desk.run(&["conflicts", "list", "--json"]).await.expect(0);
    let rows: Vec<Value> = listed.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["candidates"], json!([target]));
    let unknown = desk.run(&["conflicts", "resolve", "987654", "--skip"]).await.expect(2);
    unknown.says("contact 987654 is not in conflict; did you mean ");
    desk.run(&["conflicts", "resolve", &first.to_string()]).await.expect(2);
    desk.run(&["conflicts", "resolve", &first.to_string(), "--link", &target.to_string()]).await.expect(0);
    desk.run(&["conflicts", "resolve", &second.to_string(), "--create"]).await.expect(0);
    desk.run(&["conflicts", "list"])
        .await
        .expect(0)
        .says(&format!("decided: it is customer {target} (not carried out yet)"));

    desk.run(&["retry"]).await.expect(0);
    assert_eq!(desk.creates(), 1);
    let linked = desk.sandbox.firstline().contact(target).unwrap();
    assert_eq!(linked.membership_no.as_deref(), Some(format!("LD-{first}").as_str()));
    let carried = desk.run(&["conflicts", "list"]).await.expect(0);
    assert!(!carried.out.contains("not carried out yet"), "{}", carried.out);
    desk.run(&["retry"]).await.expect(0).says("nothing is set aside");
}

#[tokio::test]
async fn deciding_a_conflict_makes_no_state_and_needs_the_lock() {
    let desk = Desk::new().await;
    let before = desk.files();
    desk.run(&["conflicts", "resolve", "1", "--skip"]).await.expect(2).says("there is no state file");
    assert_eq!(desk.files(), before);
    let store = desk.lock().await;
    desk.run(&["conflicts", "resolve", "1", "--skip"]).await.expect(2).says("is in use by process");
    store.close().await;
}

#[tokio::test]
async fn fields_shows_both_sides_and_no_value() {
    let desk = Desk::new().await;
    let names: Vec<String> = desk
        .sandbox
        .livedesk()
        .contacts()
        .filter_map(|contact| contact.get("email")?.as_str().map(str::to_owned))
        .filter(|email| !email.is_empty())
        .collect();
    assert!(!names.is_empty());
    for flags in [&["fields"][..], &["fields", "--json"]] {
        let ended = desk.run(flags).await.expect(0);
        ended.says("VIP level");
        ended.says("phone_number");
        assert!(names.iter().all(|email| !ended.out.contains(email) && !ended.err.contains(email)));
    }
    let fields = desk.run(&["fields", "--json", "--sample", "5"]).await.expect(0).json();
    assert_eq!(fields["sampled"], 5);
    assert_eq!(fields["fields"][1]["use"], "mapped");
    assert!(fields["fields"][0]["line"].as_str().unwrap().contains("id = 31 # Customer form / LiveDesk ID, text"));
}

#[tokio::test]
async fn map_test_works_offline_and_fails_with_exit_1() {
    let desk = Desk::new().await;
    desk.replace("api_key = \"sandbox-key\"\n", "");
    desk.run(&["map", "test"]).await.expect(0).says("5 tests, 0 failed");
    let broken =
        deskferry::config::template::MAPPING.replace("last_name = \"小明\", \"cz", "last_name = \"大明\", \"cz");
    desk.write("mapping.toml", &broken);
    let ended = desk.run(&["map", "test"]).await.expect(1);
    ended.says("FAILED  compound surname");
    ended.says("last_name is \"小明\", expected \"大明\"");
    assert_eq!(desk.run(&["map", "test", "--json"]).await.expect(1).json()["failed"], 1);
}

#[tokio::test]
async fn map_explain_shows_values_only_on_request_with_and_without_a_read_by_id() {
    let desk = Desk::new().await;
    let ids = desk.sandbox.livedesk().listed_ids();
    let id = *ids.last().unwrap();
    let name = "Ravel Maurice";
    desk.sandbox.livedesk().edit(id, |contact| drop(contact.insert(String::from("name"), json!(name))));
    let before = desk.files();
    for by_id in [true, false] {
        let switches = deskferry::sandbox::livedesk::LiveDeskSwitches { by_id, ..desk.sandbox.livedesk().switches() };
        desk.sandbox.livedesk().set_switches(switches);
        let explain = desk.run(&["map", "explain", &id.to_string()]).await.expect(0);
        explain.says("first_name");
        assert!(!explain.out.contains("Maurice") && !explain.err.contains("Maurice"));
        desk.run(&["map", "explain", &id.to_string(), "--show-values"]).await.expect(0).says("Maurice");
        let json = desk.run(&["map", "explain", &id.to_string(), "--json"]).await.expect(0).json();
        assert_eq!(json["selected"], true);
        assert!(json["lines"].as_array().unwrap().iter().all(|line| line.get("values").is_none()));
        let missing = desk.run(&["map", "explain", "987654321"]).await.expect(2);
        missing.says("LiveDesk does not show a contact 987654321");
    }
    assert_eq!(desk.files(), before);
}

#[tokio::test]
async fn the_sandbox_writes_a_configuration_that_works_and_ends_at_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c");
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskferry"));
    command.args(["sandbox", "--contacts", "9", "--no-edge-cases", "--json", "--set", "livedesk.page_size=4"]);
    command.args(["--write-config", config.to_str().unwrap()]).env_clear().kill_on_drop(true);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let place: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(place["firstline"]["token"], "sandbox-token");
    let settings = config.join("deskferry.toml");
    let arguments = ["--config", settings.to_str().unwrap()];
    let ended = deskferry(&[&arguments[..], &["check"]].concat()).await.expect(0);
    ended.says("9 contacts listed, 4 a page");
    let again = ["sandbox", "--write-config", config.to_str().unwrap()];
    deskferry(&again).await.expect(2).says("exists already");
    deskferry(&["sandbox", "--set", "livedesk.tise=anew"]).await.expect(2).says("unknown field `tise`");
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
}
