//! `deskferry init`: commented configuration and mapping files to start from. Never over existing ones.

use std::path::PathBuf;

use serde_json::json;

use super::Context;
use super::output::{DONE, Failure, note, say};
use crate::config::template;

/// What comes next, as the README has it.
const STEPS: [(&str, &str); 7] = [
    ("fields", "FIRST LINE's fields beside LiveDesk's, with mapping lines to paste"),
    ("map test", "the mapping's own examples"),
    ("check", "everything that is wrong, at once"),
    ("probe", "how this tenant behaves, found out on scratch customers"),
    ("plan", "what a backfill would do, without a single write"),
    ("backfill --limit 20", "a rehearsal, and how to take it back"),
    ("backfill", "everybody; then verify"),
];

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to write to; made when it is not there
    #[arg(long, value_name = "FOLDER", default_value = "config")]
    dir: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let written = template::write(&args.dir).map_err(|error| Failure::chain(&error))?;
    let kept: Vec<PathBuf> = ["deskferry.toml", "mapping.toml"]
        .into_iter()
        .map(|name| args.dir.join(name))
        .filter(|path| !written.contains(path))
        .collect();
    if context.json {
        say(json!({ "written": written, "kept": kept }));
        return Ok(DONE);
    }
    for path in &written {
        say(format_args!("written: {}", path.display()));
    }
    for path in &kept {
        say(format_args!("left as it is: {}", path.display()));
    }
    let settings = args.dir.join("deskferry.toml");
    let flag = if settings == context.config { String::new() } else { format!(" --config {}", settings.display()) };
    let width = "deskferry backfill --limit 20".len() + flag.len() + 1;
    note(format_args!(
        "next: put the keys of both platforms into {} (or into secret files, or the environment), adapt {}, then run{}",
        settings.display(),
        args.dir.join("mapping.toml").display(),
        STEPS.map(|(step, what)| format!("\n  {:<width$} {what}", format!("deskferry{flag} {step}"))).concat()
    ));
    Ok(DONE)
}
