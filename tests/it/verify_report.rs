//! The protocol of `verify`, opened in a real browser as the person who files it would: its counts are read from the page.
//!
//! Where no browser is found the test says so and passes; `DESKFERRY_REQUIRE_BROWSER=1` (set by `.ci/run`) makes that a failure.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;

use crate::world::World;

/// Chromium under the names that it is installed by.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
/// A browser that needs longer hangs.
const HANGS: Duration = Duration::from_mins(2);

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    BROWSERS.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()))
}

/// The page as the browser has it after reading it, or as it would print it.
async fn rendered(browser: &Path, home: &Path, arguments: &[&str], page: &Path) -> String {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        // Nothing of it could be fetched, whatever it asked for.
        .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking"])
        .arg(format!("--user-data-dir={}", home.display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .env("HOME", home)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(HANGS, output).await.expect("the browser ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The text of the element with this id.
fn text<'a>(dom: &'a str, id: &str) -> &'a str {
    let at = dom.split(&format!("id=\"{id}\"")).nth(1).unwrap_or_else(|| panic!("there is no {id}"));
    at.split_once('>').unwrap().1.split('<').next().unwrap()
}

/// A world with one missing contact, one duplicate, and a wrong value that an agent is to blame for.
async fn with_faults() -> World {
    let world = World::with(120).await;
    world.backfill().await;
    let firstline = world.sandbox.firstline();
    let dump = firstline.dump();
    let ids: Vec<u64> = dump.as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert!(firstline.delete(ids[70]));
    let twin = dump[75]["membership_no"].clone();
    firstline.add_contact(&json!({ "first_name": "Twin", "membership_no": twin }), &[], &[], &[]);
    assert!(firstline.edit(ids[80], "first_name", json!("<b>Wrong</b>")));
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_the_counts_of_the_protocol_which_needs_nothing_from_outside() {
    let world = with_faults().await;
    let page = world.folder().join("protocol.html");
    let end = world.command(&["--json", "verify", "--report", page.to_str().unwrap()]).await;
    assert_eq!(end.code(), Some(1), "{end:?}");
    let document = end.json();
    let html = std::fs::read_to_string(&page).unwrap();
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "<iframe", "<img"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(!html.contains("Wrong"), "no value of a person");
    let host = world.sandbox.firstline_url().split_once("://").unwrap().1.to_owned();
    assert!(html.contains(&host), "{host}");
    // Which customers are one too many is said wherever somebody looks.
    let duplicate =
        document["groups"].as_array().unwrap().iter().find(|group| group["finding"] == "duplicate").unwrap();
    let twins = duplicate["samples"][0]["firstline_ids"].as_array().unwrap();
    let twins = format!("customers {}, {} all carry its stamp", twins[0], twins[1]);
    assert!(html.contains(&twins), "{twins}");
    let end = world.command(&["verify"]).await;
    assert!(end.says(&twins), "{twins}: {end:?}");

    let Some(browser) = browser() else {
        assert!(
            std::env::var_os("DESKFERRY_REQUIRE_BROWSER").is_none(),
            "DESKFERRY_REQUIRE_BROWSER is set, and none of {BROWSERS:?} is installed"
        );
        eprintln!("skipped: the protocol was not opened, because none of {BROWSERS:?} is installed");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let dom = rendered(&browser, home.path(), &["--dump-dom"], &page).await;
    for (id, expected) in [
        ("unexplained-missing", json!(1)),
        ("unexplained-duplicate", json!(1)),
        ("unexplained-extra", json!(0)),
        ("unexplained-field", json!(0)),
        ("unexplained", document["unexplained"].clone()),
        ("compared", document["contacts"]["compared"].clone()),
        ("contacts-same", document["contacts"]["same"].clone()),
        ("contacts-explained", document["contacts"]["explained"].clone()),
        ("contacts-faulty", json!(2)),
        ("contacts-not-carried", document["contacts"]["not_carried"].clone()),
    ] {
        assert_eq!(text(&dom, id), expected.to_string(), "{id}");
    }
    assert!(text(&dom, "contacts").contains("sweep proven complete"), "{}", text(&dom, "contacts"));
    assert!(text(&dom, "mapping").len() > 8 && text(&dom, "program").starts_with("deskferry "));
    assert!(dom.contains("2 findings without an explanation, on 2 contacts."));
    let explained: u64 = document["groups"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|group| group["explained_by"] == "edited_at_target")
        .map(|group| group["count"].as_u64().unwrap())
        .sum();
    assert_eq!(explained, 1, "{document:#}");

    let picture = home.path().join("protocol.png");
    let shot = format!("--screenshot={}", picture.display());
    rendered(&browser, home.path(), &[&shot, "--window-size=1000,1400"], &page).await;
    assert!(std::fs::metadata(picture).unwrap().len() > 20_000, "something was drawn");
    if let Some(keep) = std::env::var_os("DESKFERRY_KEEP_REPORT") {
        std::fs::copy(&page, keep).unwrap();
    }
}
