//! What a newcomer meets in the first evening: short answers, words of the configuration, and no silence when something is lost.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::cli_support::{Desk, Ended, deskferry};
use crate::plan::{desk_with, plan, plan_path};

#[tokio::test]
async fn init_names_the_steps_of_the_guide_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("config");
    let ended = deskferry(&["init", "--dir", dir.to_str().unwrap()]).await.expect(0);
    let steps = ["fields", "map test", "check", "probe", "plan", "backfill --limit 20", "backfill "];
    let places: Vec<_> = steps.iter().map(|step| ended.err.find(&format!("deskferry.toml {step}"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{}", ended.err);
}

/// People who differ in what they have, and customers of some.
async fn mixed(people: usize) -> Desk {
    let (desk, ids) = desk_with(people).await;
    let attributes = ["given", "passport", "points", "interests", "company"];
    for (at, id) in ids.iter().enumerate() {
        desk.sandbox.livedesk().edit(*id, |contact| {
            for (bit, attribute) in attributes.iter().enumerate() {
                if at >> bit & 1 == 1 {
                    contact["custom_attributes"].as_object_mut().unwrap().remove(*attribute);
                }
            }
            if at % 7 == 0 {
                contact.insert("phone_number".into(), Value::Null);
            }
        });
    }
    desk.sandbox.livedesk().edit(ids[5], |contact| {
        contact.insert("custom_attributes".into(), json!({ "points": "many" }));
    });
    desk
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_many_kinds_fits_two_screens_and_full_shows_all_of_it() {
    let desk = mixed(200).await;
    let short = desk.run(&["plan"]).await.expect(1);
    let lines = short.out.lines().count();
    assert!(lines <= 100, "{lines} lines:\n{}", short.out);
    for said in ["smaller groups with", "--full shows all", "1 reject x", "requests to LiveDesk", "e-mail: add"] {
        short.says(said);
    }
    short.says(&format!("  {:<14}{:>10}", "create", 199));
    let counts = short.out.lines().filter_map(|line| line.split_once(" create x")?.0.parse::<u64>().ok());
    let counts: Vec<u64> = counts.collect();
    assert!(counts.len() > 1 && counts.is_sorted_by(|one, next| one >= next), "largest first: {counts:?}");
    let full = desk.run(&["plan", "--full"]).await.expect(1);
    assert_eq!(full.out.matches("\n  create contact ").count(), 199, "{}", full.out);
    assert!(!full.out.contains("--full shows all"), "{}", full.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_refused_for_its_settings_names_them_as_the_configuration_does() {
    let (desk, _) = desk_with(3).await;
    plan(&desk, &[], 0).await;
    let settings = fs::read_to_string(desk.path("deskferry.toml")).unwrap();
    let settings = settings.replacen("timeout = \"5s\"\n\n[state]", "clear_form = \"empty\"\n\n[state]", 1);
    let identity = "phone_country = \"JP\"\n[deletes]\npolicy = \"tag\"\ntag = \"Gone\"\nceiling = 7\n";
    desk.write("deskferry.toml", &format!("{settings}{identity}"));
    let ended = desk.run(&["backfill", "--yes", "--plan", &plan_path(&desk)]).await.expect(2);
    for said in [
        "setting deletes.policy: the plan has `ignore`, here it is `tag`",
        "setting deletes.tag: the plan has `none`, here it is `Gone`",
        "setting deletes.ceiling: the plan has `20`, here it is `7`",
        "setting firstline.clear_form: the plan has `auto`, here it is `empty`",
        "setting identity.phone_country: the plan has `TW`, here it is `JP`",
    ] {
        ended.says(said);
    }
}

#[tokio::test]
async fn check_finds_a_state_that_cannot_be_written_and_a_secret_that_everybody_can_read() {
    let desk = Desk::new().await;
    desk.write("token", "sandbox-token");
    desk.replace("token = \"sandbox-token\"", "token_file = \"token\"");
    let well = desk.run(&["check"]).await.expect(0);
    assert!(!well.out.contains("everybody on this machine"), "{}", well.out);
    fs::set_permissions(desk.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let ended = desk.run(&["check"]).await.expect(0);
    ended.says("firstline.token_file: everybody on this machine can read the secret file");
    ended.says("chmod 640, or 600");
    // Nobody can make a file there, whatever the user.
    desk.replace("path = \"state.db\"", "path = \"/proc/deskferry.db\"");
    let ended = desk.run(&["check"]).await.expect(2);
    ended.says("nothing can be written in /proc");
    assert!(!ended.out.contains("is not there yet"), "{}", ended.out);
}

/// The same command with its results sent there.
async fn with_results_to(desk: &Desk, arguments: &[&str], stdout: impl Into<Stdio>) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskferry"));
    command.arg("--config").arg(desk.path("deskferry.toml")).args(arguments);
    command.env_clear().stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap().wait_with_output().await.unwrap().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_could_not_be_written_is_no_success_and_a_reader_that_went_away_is_no_failure() {
    let (desk, _) = desk_with(3).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    for arguments in [&["status"][..], &["--json", "plan"], &["plan"], &["runs"], &["completions", "bash"], &["man"]] {
        let full: File = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = with_results_to(&desk, arguments, full).await.expect(2);
        ended.says("error: the result could not be written to standard output");
        assert_eq!(ended.err.matches("error: ").count(), 1, "{}", ended.err);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = with_results_to(&desk, arguments, writer).await.expect(0);
        assert!(!ended.err.contains("error: "), "{arguments:?}: {}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_take_the_place_of_earlier_ones_and_of_nothing_else() {
    let (desk, _) = desk_with(3).await;
    let notes = "what we agreed on with the customer";
    let theirs = desk.path("notes.txt");
    desk.write("notes.txt", notes);
    let theirs = theirs.to_str().unwrap();
    let outputs: [&[&str]; 6] = [
        &["plan", "-o"],
        &["verify", "--report"],
        &["verify", "--csv"],
        &["verify", "--list"],
        &["probe", "--yes", "-o"],
        &["state", "export"],
    ];
    desk.run(&["plan"]).await.expect(0);
    for arguments in outputs {
        let refused = desk.run(&[arguments, &[theirs]].concat()).await.expect(2);
        refused.says("notes.txt");
        assert_eq!(fs::read_to_string(theirs).unwrap(), notes, "{arguments:?}");
    }
    assert_eq!(desk.sandbox.firstline().tally().contact_create, 0, "no probe was begun");
    // Nobody has to clear away what the last look has left, and is told that it is gone.
    for (arguments, code) in [(&["plan", "-o"], 0), (&["verify", "--report"], 1), (&["verify", "--csv"], 1)] {
        let file = desk.path(arguments[1]);
        let all = [&arguments[..], &[file.to_str().unwrap()]].concat();
        let first = desk.run(&all).await.expect(code);
        assert!(!first.err.contains("took the place"), "{}", first.err);
        desk.run(&all).await.expect(code).says("took the place of an earlier one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_nobody_knows_is_said_to_be_none_and_near_ones_are_named() {
    let (desk, ids) = desk_with(4).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let typed = format!("{}9", ids[1]);
    for arguments in [&["retry", &typed][..], &["backfill", "--yes", "--only", &typed]] {
        let ended = desk.run(&[&["--json"], arguments].concat()).await.expect(1);
        let counts = ended.json();
        assert_eq!((&counts["unknown"], &counts["set_aside"]), (&json!(1), &json!(0)), "{counts}");
        assert_eq!(counts["unknown_ids"], json!([typed.parse::<u64>().unwrap()]), "{counts}");
        let ended = desk.run(arguments).await.expect(1);
        ended.says(&format!(
            "contact {typed}: LiveDesk shows no such contact, and this state never had one; did you mean"
        ));
        ended.says(&ids[1].to_string());
    }
    // One that this state carried is another matter.
    desk.sandbox.livedesk().delete(ids[2]);
    let gone = desk.run(&["--json", "retry", &ids[2].to_string()]).await.expect(1).json();
    assert_eq!((&gone["unknown"], &gone["set_aside"]), (&json!(0), &json!(1)), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_says_beforehand_what_it_will_ask_and_is_not_far_off() {
    let (desk, ids) = desk_with(20).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    for (at, id) in ids.iter().enumerate() {
        desk.sandbox.livedesk().edit(*id, |contact| drop(contact.insert("name".into(), json!(format!("Other {at}")))));
    }
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let firstline = desk.sandbox.firstline();
    for arguments in [&["undo", "2", "--dry-run"][..], &["undo", "2", "--yes"], &["undo", "1", "--yes"]] {
        firstline.reset_counts();
        let ended = desk.run(arguments).await.expect(0);
        let told = ended.err.split_once("about ").and_then(|(_, rest)| rest.split_once(" requests to FIRST LINE: "));
        let told: u64 = told.unwrap_or_else(|| panic!("{}", ended.err)).0.parse().unwrap();
        let sent = firstline.tally().total;
        assert!(told * 2 >= sent && told <= sent * 2, "{arguments:?}: {told} were told, {sent} sent");
        ended.says("as fast as both platforms answer");
    }
}
