//! What is shipped beside the program, held against the program: image, rehearsal, unit, alerts, dashboard, documents.
//!
//! None of it is compiled, so a name that moves would be found on the evening of an installation. No file format is
//! parsed in full: the files are written plainly, and the readers here know that plainness and fail on more.

mod documents;
mod guide;
mod image;
mod monitoring;
mod names;
mod promql;
mod rehearsal;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::CommandFactory;
use clap::error::ErrorKind;
use deskferry::cli::Cli;
use deskferry::config::load;
use deskferry::config::settings::Settings;

/// Commands that the brief of issue 4 gives to others, until the branches meet.
const PENDING_COMMANDS: &[&str] = &[];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Whether a program that is called so, with these arguments, would understand them; or its complaint.
fn understood(arguments: &[&str]) -> Result<(), String> {
    let mut command = Cli::command();
    let is_pending = |word: &&str| PENDING_COMMANDS.contains(word) && command.find_subcommand(word).is_none();
    if arguments.iter().any(is_pending) {
        return Ok(());
    }
    match command.try_get_matches_from_mut(["deskferry"].iter().chain(arguments)) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => Ok(()),
        Err(error) => Err(format!("deskferry {}: {error}", arguments.join(" "))),
    }
}

#[track_caller]
fn assert_understood(arguments: &[&str], file: &str) {
    if let Err(complaint) = understood(arguments) {
        panic!("{file}: {complaint}");
    }
}

/// The sample settings with these variables over them; every variable must name a key.
#[track_caller]
fn settings_with(variables: &[(String, String)], file: &str) -> Settings {
    let sample = root().join("config/deskferry.toml");
    let text = fs::read_to_string(&sample).unwrap();
    load::parse(&sample, &text, variables.iter().cloned()).unwrap_or_else(|problems| panic!("{file}: {problems}"))
}

/// The longest time that the service may take to stop by itself: the sample's `service.drain`, or its default.
fn drain() -> Duration {
    let sample = read("config/deskferry.toml");
    let line = sample.lines().find_map(|line| line.strip_prefix("drain = "));
    let text = line.map_or("60s", |line| line.split('"').nth(1).unwrap());
    humantime::parse_duration(text).unwrap()
}

/// A file of this repository that others name by its path in it.
#[track_caller]
fn assert_exists(path: &str, named_by: &str) -> PathBuf {
    let full = root().join(path);
    assert!(full.exists(), "{named_by} names {path}, which is not there");
    full
}

#[test]
fn a_command_that_does_not_exist_is_not_understood() {
    for wrong in [&["helth"][..], &["health", "--now"], &["backfill", "--limit", "x"], &["state", "mend"]] {
        assert!(understood(wrong).is_err(), "{wrong:?}");
    }
    for right in [&["health", "--ready"][..], &["--config", "a.toml", "backfill", "--limit", "20"], &["--help"]] {
        assert_eq!(understood(right), Ok(()), "{right:?}");
    }
}
