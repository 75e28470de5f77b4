//! Looking after the state: copies, exports, repair and pruning, as an operator runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};

use crate::cli_support::{Desk, Ended};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap()
}

/// Executes statements in a state that nobody has open.
async fn tamper(desk: &Desk, statements: &str) {
    let mut conn = raw(&desk.path("state.db")).await;
    sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut conn).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

async fn carried() -> Desk {
    let desk = Desk::new().await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    desk
}

fn lines(desk: &Desk, name: &str) -> Vec<String> {
    fs::read_to_string(desk.path(name)).unwrap().lines().map(str::to_owned).collect()
}

/// Writes the lines with a last one that fits them.
fn write_with_right_end(desk: &Desk, name: &str, lines: &[String]) {
    let body = format!("{}\n", lines.join("\n"));
    let digest = blake3::hash(body.as_bytes()).to_hex().to_string();
    let end = json!({ "end": true, "lines": lines.len(), "digest": digest });
    desk.write(name, &format!("{body}{end}\n"));
}

async fn import_elsewhere(desk: &Desk, file: &str) -> Ended {
    let file = desk.path(file);
    desk.run(&["state", "import", file.to_str().unwrap()]).await
}

#[tokio::test]
async fn a_backup_is_taken_beside_a_process_that_writes_and_is_a_state_of_its_own() {
    let desk = carried().await;
    let holder = desk.lock().await;
    let copy = desk.path("copy.db");
    let made = desk.run(&["state", "backup", copy.to_str().unwrap(), "--json"]).await.expect(0).json();
    assert_eq!(made["bytes"], json!(fs::metadata(&copy).unwrap().len()));
    assert_eq!(mode(&copy), 0o600);
    holder.close().await;
    desk.run(&["state", "backup", copy.to_str().unwrap()]).await.expect(2).says("exists already");
    desk.run(&["state", "backup", desk.folder.path().to_str().unwrap()]).await.expect(2).says("is a folder");
    let missing = desk.path("none/copy.db");
    desk.run(&["state", "backup", missing.to_str().unwrap()]).await.expect(2).says("check that its folder exists");
    assert!(!desk.files().iter().any(|name| name.contains("part")), "{:?}", desk.files());

    desk.replace("path = \"state.db\"", "path = \"copy.db\"");
    desk.run(&["state", "check"]).await.expect(0).says("the state is sound");
    let again = desk.run(&["backfill", "--yes", "--json"]).await.expect(0).json();
    assert_eq!((&again["created"], &again["unchanged"]), (&json!(0), &json!(desk.creates())));
}

#[tokio::test]
async fn without_a_state_there_is_nothing_to_copy_export_repair_prune_or_forget() {
    let desk = Desk::new().await;
    let before = desk.files();
    let copy = desk.path("copy");
    for command in [
        &["state", "backup", copy.to_str().unwrap()][..],
        &["state", "export"],
        &["state", "export", "-o", copy.to_str().unwrap()],
        &["state", "check", "--repair"],
        &["state", "prune"],
        &["state", "forget", "1", "--yes"],
    ] {
        desk.run(command).await.expect(2).says("there is no state file");
    }
    desk.run(&["state", "import", copy.to_str().unwrap()]).await.expect(2).says("cannot be read");
    assert_eq!(desk.files(), before);
}

#[tokio::test]
async fn what_changes_the_state_is_refused_while_another_process_has_it() {
    let desk = carried().await;
    let export = desk.path("export");
    desk.run(&["state", "export", "-o", export.to_str().unwrap()]).await.expect(0);
    let store = desk.lock().await;
    for command in [
        &["state", "check", "--repair"][..],
        &["state", "prune"],
        &["state", "forget", "1", "--yes"],
        &["state", "import", export.to_str().unwrap()],
    ] {
        desk.run(command).await.expect(2).says("is in use by process");
    }
    store.close().await;
}

#[tokio::test]
async fn an_export_goes_on_in_another_state_as_if_nothing_had_happened() {
    for journal in [false, true] {
        let desk = carried().await;
        let id = desk.sandbox.livedesk().listed_ids()[3];
        desk.sandbox.livedesk().edit(id, |contact| drop(contact.insert(String::from("name"), json!("Vail Petra"))));
        desk.run(&["backfill", "--yes"]).await.expect(0);
        let export = desk.path("export.jsonl");
        let mut command = vec!["--json", "state", "export", "-o", export.to_str().unwrap()];
        command.extend(journal.then_some("--journal"));
        let made = desk.run(&command).await.expect(0).json();
        assert_eq!(made["tables"]["link"], json!(desk.creates()));
        assert_eq!(mode(&export), 0o600);
        desk.run(&command).await.expect(2).says("exists already");

        desk.replace("path = \"state.db\"", "path = \"other.db\"");
        let imported = import_elsewhere(&desk, "export.jsonl").await.expect(0);
        imported.says("rows of ");
        desk.run(&["state", "check"]).await.expect(0).says("the state is sound");
        let creates = desk.creates();
        let again = desk.run(&["backfill", "--yes", "--json"]).await.expect(0).json();
        assert_eq!((&again["created"], &again["unchanged"]), (&json!(0), &json!(creates)), "{again}");
        assert_eq!(again["run"], 3, "the runs go on in their numbers");
        assert_eq!(desk.creates(), creates);

        let (mut one, mut other) = (raw(&desk.path("state.db")).await, raw(&desk.path("other.db")).await);
        for (sql, same) in [
            ("SELECT count(*) FROM journal", journal),
            (
                "SELECT hex(group_concat(key, '')) FROM (SELECT key FROM link_child ORDER BY livedesk_id, kind, key)",
                true,
            ),
            ("SELECT seq FROM sqlite_sequence WHERE name = 'intent'", true),
            ("SELECT hex(hash_key) || livedesk || firstline FROM account", true),
        ] {
            let cast = format!("SELECT CAST(({sql}) AS TEXT)");
            let a: String = sqlx::query_scalar(sqlx::AssertSqlSafe(cast.clone())).fetch_one(&mut one).await.unwrap();
            let b: String = sqlx::query_scalar(sqlx::AssertSqlSafe(cast)).fetch_one(&mut other).await.unwrap();
            assert_eq!(a == b, same, "{sql}: {a} and {b}");
        }
    }
}

#[tokio::test]
async fn an_export_holds_no_value_of_a_person_but_in_before_images() {
    let desk = carried().await;
    let id = desk.sandbox.livedesk().listed_ids()[3];
    for name in ["Vail Petra", "Quorn Dieter"] {
        desk.sandbox.livedesk().edit(id, |contact| drop(contact.insert(String::from("name"), json!(name))));
        desk.run(&["backfill", "--yes"]).await.expect(0);
    }
    let plain = desk.run(&["state", "export"]).await.expect(0);
    assert!(!plain.out.contains("Petra") && !plain.out.contains("\"table\":\"journal\""));
    plain.says("keep it as the state itself");
    let full = desk.run(&["state", "export", "--journal"]).await.expect(0);
    assert!(full.out.contains("Petra") && !full.out.contains("Dieter"));
    full.says("before-images of customers");
}

/// What is done to the lines of an export, at this one.
type Damage = fn(&mut Vec<String>, usize);

#[tokio::test]
async fn a_damaged_export_line_is_named_and_nothing_is_imported() {
    let desk = carried().await;
    let export = desk.path("export");
    desk.run(&["state", "export", "-o", export.to_str().unwrap()]).await.expect(0);
    let good = lines(&desk, "export");
    let (end, body) = good.split_last().unwrap();
    let link = body.iter().position(|line| line.contains("\"table\":\"link\"")).unwrap();
    let at = |number: usize| format!("line {}", number + 1);
    desk.replace("path = \"state.db\"", "path = \"other.db\"");
    let before = desk.files();

    // What is done to the lines; whether the end is made to fit; where it is said, and what.
    let kinds: &[(Damage, bool, usize, &str)] = &[
        (
            |lines, n| {
                let cut = lines[n].len() / 2;
                lines[n].truncate(cut);
            },
            true,
            link,
            "cut off in the middle",
        ),
        (|lines, n| lines[n].replace_range(5..6, "\u{0}"), true, link, "no JSON from character"),
        (
            |lines, n| lines[n] = lines[n].replacen("\"link\"", "\"lnk\"", 1),
            true,
            link,
            "a table that a state does not have",
        ),
        (
            |lines, n| lines[n] = lines[n].replacen("\"target\"", "\"tarket\"", 1),
            true,
            link,
            "link has no column \"tarket\"",
        ),
        (
            |lines, n| lines[n] = lines[n].replacen("\"target\":", "\"target\":\"x\",\"old\":", 1),
            true,
            link,
            "link has no column \"old\"",
        ),
        (
            |lines, n| lines[n] = lines[n].replacen("\"origin\":\"created\"", "\"origin\":7", 1),
            true,
            link,
            "link.origin is no text",
        ),
        (
            |lines, n| lines[n] = lines[n].replacen("\"origin\":\"created\"", "\"origin\":null", 1),
            true,
            link,
            "link.origin is null",
        ),
        (
            |lines, n| lines[n] = lines[n].replacen("\"origin\":\"created\"", "\"origin\":\"found\"", 1),
            true,
            link,
            "a rule of the state refuses it",
        ),
        (|lines, n| lines[n] = lines[n].replacen("\"run\":1", "\"run\":999", 1), true, link, "FOREIGN KEY"),
        (
            |lines, n| lines[n] = lines[n].replacen("\"base\":\"", "\"base\":\"xyz", 1),
            true,
            link,
            "link.base is no hexadecimal text",
        ),
        (
            |lines, n| {
                let twice = lines[n].clone();
                lines.insert(n, twice);
            },
            true,
            link + 1,
            "UNIQUE constraint",
        ),
        (|lines, n| drop(lines.remove(n)), false, body.len() - 1, "it says that"),
        (
            |lines, n| lines[n] = lines[n].replacen("\"target\":", "\"target\":1", 1),
            false,
            body.len(),
            "their digest differs",
        ),
        (|lines, _| lines[0] = lines[0].replacen("\"format\":1", "\"format\":2", 1), true, 0, "written by deskferry"),
        (|lines, _| lines[0] = lines[0].replacen("\"schema\":", "\"schema\":9", 1), true, 0, "takes version"),
        (|lines, _| lines[0] = String::from("{}"), true, 0, "it is no header"),
        (
            |lines, _| lines[0] = lines[0].replacen("\"hash_key\":\"", "\"hash_key\":\"0", 1),
            true,
            0,
            "hash_key is missing, or is no key",
        ),
        (
            |lines, n| lines[n] = String::from(r#"{"table":"journal","row":{}}"#),
            true,
            link,
            "the header says that there are none",
        ),
    ];
    for (number, (damage, fit, place, said)) in kinds.iter().enumerate() {
        let mut damaged = body.to_vec();
        damage(&mut damaged, link);
        assert_ne!(damaged, body, "damage {number} did nothing");
        if *fit {
            write_with_right_end(&desk, "damaged", &damaged);
        } else {
            desk.write("damaged", &format!("{}\n{end}\n", damaged.join("\n")));
        }
        let refused = import_elsewhere(&desk, "damaged").await.expect(2);
        assert!(refused.err.contains(said), "damage {number}: {}", refused.err);
        assert!(refused.err.contains(&at(*place)), "damage {number} is at {}: {}", at(*place), refused.err);
        fs::remove_file(desk.path("damaged")).unwrap();
        assert_eq!(desk.files(), before, "damage {number} left something");
    }
    // The end: missing, doubled, cut.
    for (text, said) in [
        (format!("{}\n", body.join("\n")), "the line that ends an export is missing"),
        (format!("{}\n{end}\n{end}\n", body.join("\n")), "behind the line that ends the export"),
        (format!("{}\n{end}", body.join("\n")), "it does not end"),
        (String::new(), "the file is empty"),
    ] {
        desk.write("damaged", &text);
        import_elsewhere(&desk, "damaged").await.expect(2).says(said);
        fs::remove_file(desk.path("damaged")).unwrap();
        assert_eq!(desk.files(), before, "{said}");
    }
    import_elsewhere(&desk, "export").await.expect(0);
}

#[tokio::test]
async fn an_export_goes_into_an_empty_state_of_the_same_accounts_alone() {
    let desk = carried().await;
    let export = desk.path("export");
    desk.run(&["state", "export", "-o", export.to_str().unwrap()]).await.expect(0);
    let before = fs::read(desk.path("state.db")).unwrap();
    import_elsewhere(&desk, "export").await.expect(2).says("is not empty (it has rows in run)");
    assert_eq!(fs::read(desk.path("state.db")).unwrap(), before);
    let other = Desk::new().await;
    let refused = other.run(&["state", "import", export.to_str().unwrap()]).await.expect(2);
    refused.says("the state was made for the LiveDesk account");
    assert!(!other.path("state.db").exists());
}

#[tokio::test]
async fn repair_puts_right_what_is_safe_says_what_and_leaves_the_rest_to_a_person() {
    let desk = carried().await;
    let none = desk.run(&["state", "check", "--repair"]).await.expect(0);
    none.says("nothing to repair");
    tamper(
        &desk,
        "INSERT INTO run (id, kind, options, started_at) VALUES (7, 'sync', '{}', 1700000000000);
         INSERT INTO link_child VALUES (987654, 'email', zeroblob(16), 1);
         INSERT INTO absence VALUES (987654, 1, 'unasked', NULL, 'none', NULL, 'none', NULL, 1);
         INSERT INTO checkpoint VALUES (1, 1, 1, 1);
         DELETE FROM target_walk;
         INSERT OR IGNORE INTO target_index VALUES ('email', zeroblob(16), 1);",
    )
    .await;
    desk.write("state.db.backup-part", "half");
    desk.write("state.db.backup-v1", "a copy");
    for open in ["state.db", "state.db.backup-v1"] {
        fs::set_permissions(desk.path(open), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let found = desk.run(&["state", "check"]).await.expect(1);
    found.says("--repair` puts right what is safe");
    let repaired = desk.run(&["state", "check", "--repair", "--json"]).await.expect(0).json();
    assert_eq!(repaired["problems"], json!([]));
    assert_eq!(repaired["unfinished_runs"], 0);
    let what: Vec<(&str, u64)> = repaired["repaired"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["what"].as_str().unwrap(), row["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        what,
        [
            ("dead_runs", 1),
            ("stray_children", 1),
            ("stray_absences", 1),
            ("old_checkpoints", 1),
            ("half_index", 1),
            ("half_copy", 1),
            // The file, what a reader made beside it, and the copy.
            ("open_modes", 4)
        ]
    );
    assert_eq!((mode(&desk.path("state.db")), mode(&desk.path("state.db.backup-v1"))), (0o600, 0o600));
    assert!(!desk.path("state.db.backup-part").exists());
    let run = desk.run(&["runs", "--limit", "1"]).await.expect(0);
    run.says("its process died 2023-11-14T22:13:20Z");

    // A link of a run that is not there: nobody knows which it was.
    tamper(&desk, "UPDATE link SET run = 4242").await;
    let left = desk.run(&["state", "check", "--repair"]).await.expect(1);
    left.says("problem: ");
    left.says("beyond what can be put right here");
}

#[tokio::test]
async fn prune_deletes_old_before_images_and_says_before_what_it_would() {
    let desk = carried().await;
    let id = desk.sandbox.livedesk().listed_ids()[0];
    desk.sandbox.livedesk().edit(id, |contact| drop(contact.insert(String::from("name"), json!("Vail Petra"))));
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let images = |out: &Value| out["before_images"].as_u64().unwrap();
    let dry = desk.run(&["state", "prune", "--dry-run", "--journal-older-than", "0s", "--json"]).await.expect(0).json();
    assert!(images(&dry) > 0, "{dry}");
    assert_eq!(images(&desk.run(&["state", "prune", "--json"]).await.expect(0).json()), 0, "none is 90 days old");
    let pruned = desk.run(&["state", "prune", "--journal-older-than", "0s", "--json"]).await.expect(0).json();
    assert_eq!(images(&pruned), images(&dry));
    let again = desk.run(&["state", "prune", "--journal-older-than", "0s"]).await.expect(0);
    again.says("0 before-images, 0 runs, 0 sweeps and 0 sightings were deleted");
    desk.run(&["state", "prune", "--journal-older-than", "soon"]).await.expect(2);
}
