//! `deskferry state check | rebuild`.

use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::output::{DONE, Failure, LEFT_OVER, say};
use super::{Context, session};
use crate::app;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check the state file: integrity, references, permissions, what is left over
    Check,
    /// Find the links again from the stamps in FIRST LINE
    Rebuild,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    match args.action {
        Action::Check => check(context).await,
        Action::Rebuild => rebuild(context).await,
    }
}

async fn check(context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let store = app::read_state(&loaded.settings.state.path, Arc::clone(&context.clock)).await?;
    let report = store.check().await?;
    let problems = report.problems();
    if context.json {
        let counts: serde_json::Map<String, serde_json::Value> =
            report.counts.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
        say(json!({
            "problems": problems,
            "counts": counts,
            "open_intents": report.open_intents,
            "parked_intents": report.parked_intents,
            "unsettled_links": report.unsettled_links,
            "unfinished_runs": report.unfinished_runs,
        }));
    } else {
        for (name, count) in &report.counts {
            say(format_args!("{name:<20}{count:>10}"));
        }
        for problem in &problems {
            say(format_args!("problem: {problem}"));
        }
        say(if problems.is_empty() {
            "the state is sound"
        } else {
            "the state is damaged; `deskferry state rebuild` with a new state.path finds the links again"
        });
    }
    Ok(if problems.is_empty() { DONE } else { LEFT_OVER })
}

async fn rebuild(context: &Context) -> Result<u8, Failure> {
    let loaded = context.load_to_connect()?;
    let (session, mapping) = session::begin(context, loaded, "rebuild", &json!({})).await?;
    let engine = session.engine(mapping).await?;
    let rebuilt = match engine.rebuild().await {
        Ok(rebuilt) => rebuilt,
        Err(error) => return Err(session.refuse(error.into()).await),
    };
    session.bar.finish();
    let exit = if rebuilt.proven && rebuilt.twins + rebuilt.foreign == 0 { DONE } else { LEFT_OVER };
    if context.json {
        say(json!(rebuilt));
    } else {
        say(format_args!(
            "{} links found again, {} known already; {} customers without a stamp",
            rebuilt.linked, rebuilt.known, rebuilt.unstamped
        ));
        if rebuilt.twins > 0 {
            say(format_args!(
                "{} contacts are stamped on more than one customer; see `deskferry conflicts list`",
                rebuilt.twins
            ));
        }
        if rebuilt.foreign > 0 {
            say(format_args!("{} customers hold something else where our stamp would stand", rebuilt.foreign));
        }
        if !rebuilt.proven {
            say("FIRST LINE's list could not be read completely: links may be missing, run it again");
        }
    }
    session.close(exit, None, json!(rebuilt)).await?;
    Ok(exit)
}
