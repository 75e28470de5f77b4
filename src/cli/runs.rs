//! `deskferry runs`: what was run, how it ended and what it counted.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Context;
use super::output::{DONE, Failure, say};
use crate::app;
use crate::app::runs::FAILURE;
use crate::clock::Timestamp;
use crate::store::{DIED, Run};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show this many of the latest
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
}

/// Counts that a line names, when they are not 0.
const NAMED: [&str; 9] =
    ["created", "adopted", "updated", "unchanged", "not_selected", "set_aside", "parked", "conflicts", "forgotten"];

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let store = app::read_state(&loaded.settings.state.path, Arc::clone(&context.clock)).await?;
    let runs = store.runs(args.limit).await?;
    if runs.is_empty() && !context.json {
        say("no runs yet");
    }
    for run in &runs {
        if context.json {
            say(as_json(run));
        } else {
            say(as_line(run));
        }
    }
    store.close().await;
    Ok(DONE)
}

/// One run as JSON.
pub fn as_json(run: &Run) -> Value {
    json!({
        "run": run.id.0,
        "kind": run.kind,
        "options": run.options,
        "started_at": moment(run.started_at),
        "ended_at": run.ended_at.map(moment),
        "exit_code": run.exit_code,
        "verdict": run.verdict,
        "counts": run.counts,
    })
}

/// One run as a line.
pub fn as_line(run: &Run) -> String {
    let end = match (run.ended_at, run.exit_code) {
        (Some(at), Some(_)) if run.counts.get(DIED).is_some() => format!("its process died {}", moment(at)),
        (Some(at), Some(code)) => format!("ended {} with exit {code}", moment(at)),
        _ => String::from("not ended: under way, or killed"),
    };
    let counts: Vec<String> = NAMED
        .iter()
        .filter_map(|name| Some((name, run.counts.get(*name)?.as_u64()?)))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {}", name.replace('_', " ")))
        .collect();
    let counts = if counts.is_empty() { String::new() } else { format!("; {}", counts.join(", ")) };
    let verdict = run.verdict.as_ref().map(|verdict| format!("; sweep {verdict}")).unwrap_or_default();
    let of = run.options["of"].as_i64().map(|of| format!(" of run {of}")).unwrap_or_default();
    let dry = if run.options["dry_run"] == true { " (dry run)" } else { "" };
    let failure = run.counts[FAILURE].as_str().map(|failure| format!("; {failure}")).unwrap_or_default();
    format!("run {}  {}{of}{dry}  began {}, {end}{verdict}{counts}{failure}", run.id, run.kind, moment(run.started_at))
}

/// A time for people and machines, to the second.
pub fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.0.div_euclid(1000)).map_or_else(|_| String::from("?"), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::RunId;

    #[test]
    fn a_run_without_an_end_says_so_and_counts_of_zero_are_not_named() {
        let mut run = Run {
            id: RunId(7),
            kind: String::from("backfill"),
            options: json!({}),
            started_at: Timestamp(1_500),
            ended_at: None,
            exit_code: None,
            verdict: None,
            counts: json!({ "created": 3, "set_aside": 1, "parked": 0 }),
        };
        assert_eq!(
            as_line(&run),
            "run 7  backfill  began 1970-01-01T00:00:01Z, not ended: under way, or killed; 3 created, 1 set aside"
        );
        (run.ended_at, run.exit_code, run.verdict) = (Some(Timestamp(2_000)), Some(0), Some(String::from("proven")));
        assert!(as_line(&run).contains("ended 1970-01-01T00:00:02Z with exit 0; sweep proven"));
    }

    #[test]
    fn a_run_that_failed_names_the_cause_and_an_undo_its_run() {
        let mut run = Run {
            id: RunId(9),
            kind: String::from("undo"),
            options: json!({ "of": 7, "delete_created": false, "dry_run": true }),
            started_at: Timestamp(1_500),
            ended_at: Some(Timestamp(2_000)),
            exit_code: Some(2),
            verdict: None,
            counts: json!({ "failure": "FIRST LINE is down: status 503" }),
        };
        let line = as_line(&run);
        assert!(line.starts_with("run 9  undo of run 7 (dry run)  began "), "{line}");
        assert!(line.ends_with("with exit 2; FIRST LINE is down: status 503"), "{line}");
        run.options = json!({ "of": 7, "delete_created": true, "dry_run": false });
        assert!(as_line(&run).starts_with("run 9  undo of run 7  began "));
    }
}
