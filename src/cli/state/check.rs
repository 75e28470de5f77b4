//! `deskferry state check [--repair]`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::open_existing;
use crate::app;
use crate::cli::Context;
use crate::cli::output::{DONE, Failure, LEFT_OVER, say};
use crate::store::{CheckReport, Repaired};

/// Runs the command.
pub(super) async fn run(repair: bool, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let path = &loaded.settings.state.path;
    let store = app::read_state(path, Arc::clone(&context.clock)).await?;
    let mut report = store.check().await?;
    store.close().await;
    let mut repaired = Vec::new();
    if repair {
        // Opening to write shuts others out of the files.
        let shut = report.open_modes.len() as u64;
        let store = open_existing(context, &loaded.settings, "state check --repair").await?;
        let result = async {
            repaired = store.repair().await?;
            let shut = shut + store.shut_copies()?;
            if shut > 0 {
                let done = "files that others could read: only their owner can now";
                repaired.push(Repaired { what: "open_modes", count: shut, done });
            }
            store.check().await
        }
        .await;
        store.close().await;
        report = result?;
    }
    if context.json {
        say(as_json(&report, repair.then_some(&repaired)));
    } else {
        lines(&report, repair.then_some(&repaired)).into_iter().for_each(say);
    }
    Ok(if report.problems().is_empty() { DONE } else { LEFT_OVER })
}

fn as_json(report: &CheckReport, repaired: Option<&Vec<Repaired>>) -> Value {
    let counts: serde_json::Map<String, Value> =
        report.counts.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
    let mut document = json!({
        "problems": report.problems(),
        "counts": counts,
        "open_intents": report.open_intents,
        "parked_intents": report.parked_intents,
        "unsettled_links": report.unsettled_links,
        "unfinished_runs": report.unfinished_runs,
    });
    if let Some(repaired) = repaired {
        let row = |one: &Repaired| json!({ "what": one.what, "count": one.count, "done": one.done });
        document["repaired"] = repaired.iter().map(row).collect();
    }
    document
}

fn lines(report: &CheckReport, repaired: Option<&Vec<Repaired>>) -> Vec<String> {
    let mut lines: Vec<String> = report.counts.iter().map(|(name, count)| format!("{name:<20}{count:>10}")).collect();
    for one in repaired.into_iter().flatten() {
        lines.push(format!("repaired: {} {}", one.count, one.done));
    }
    if repaired.is_some_and(Vec::is_empty) {
        lines.push(String::from("nothing to repair"));
    }
    let problems = report.problems();
    lines.extend(problems.iter().map(|problem| format!("problem: {problem}")));
    let broken = !report.integrity.is_empty();
    lines.push(String::from(match (problems.is_empty(), broken, repaired) {
        (true, ..) => "the state is sound",
        (false, false, None) => "`deskferry state check --repair` puts right what is safe to put right",
        _ => {
            "the state is damaged beyond what can be put right here; put a copy back, or use a new state.path and \
             `deskferry state rebuild`, which finds the links again"
        }
    }));
    lines
}
