//! `deskferry map test | explain`: the mapping file on trial. Nothing is written anywhere.

use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};

use super::Context;
use super::live::look_up;
use super::output::{DONE, Failure, LEFT_OVER, note, say};
use super::progress::Bar;
use crate::app::{self, Learned};
use crate::domain::ids::LiveDeskId;
use crate::mapping::explain::{ExplainedLine, Explanation, explain};
use crate::store::{Store, StoreError};
use crate::sync::ports::ContactTarget;
use crate::sync::progress::Progress;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run the tests of the mapping file, offline
    Test,
    /// Read one contact from LiveDesk and show what becomes of it, line by line
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
struct Explain {
    /// The contact (LiveDesk id)
    id: i64,
    /// Show values too: the contact's personal data
    #[arg(long)]
    show_values: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    match args.action {
        Action::Test => test(context),
        Action::Explain(args) => explain_one(&args, context).await,
    }
}

fn test(context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let mapping = app::compile_mapping(&loaded.settings, &loaded.mapping, None)?;
    let reports = mapping.run_fixtures();
    let failed = reports.iter().filter(|report| !report.passed()).count();
    if context.json {
        let tests: Vec<Value> = reports
            .iter()
            .map(|report| json!({ "name": report.name, "passed": report.passed(), "differences": report.differences }))
            .collect();
        say(json!({ "tests": tests, "failed": failed }));
    } else {
        for report in &reports {
            say(format_args!("{}  {}", if report.passed() { "ok    " } else { "FAILED" }, report.name));
            for difference in &report.differences {
                say(format_args!("          {difference}"));
            }
        }
        say(format_args!("{} tests, {failed} failed", reports.len()));
    }
    if reports.is_empty() {
        note("the mapping file has no [[tests]]; a few invented contacts keep a later change honest");
    }
    Ok(if failed == 0 { DONE } else { LEFT_OVER })
}

async fn explain_one(args: &Explain, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load_to_connect()?;
    let settings = &loaded.settings;
    let offline = app::compile_mapping(settings, &loaded.mapping, None)?;
    let bar = Arc::new(Bar::on_stderr());
    let around = context.surroundings(Arc::clone(&bar) as Arc<dyn Progress>);
    let state = state(context, settings).await?;
    let learned = match &state {
        Some(store) => app::learned(store).await?,
        None => Learned::default(),
    };
    let platforms = app::connect(settings, offline.needs_inboxes(), &learned, &around)?;
    let definitions = platforms.firstline.definitions().await?;
    // As a run would have it: without the fields that have changed in FIRST LINE since the last one.
    let mapping = match &state {
        Some(store) => app::gate::preview(settings, &loaded.mapping, &definitions, store).await?,
        None => app::compile_mapping(settings, &loaded.mapping, Some(&definitions))?,
    };
    if let Some(store) = state {
        store.close().await;
    }
    let found = look_up(Arc::clone(&platforms.livedesk), LiveDeskId(args.id), settings.sweep.max_rounds).await;
    bar.finish();
    let Some(contact) = found? else {
        return Err(Failure::new(format!("LiveDesk does not show a contact {}", args.id)));
    };
    let explanation = explain(&mapping, &contact, args.show_values);
    if context.json {
        say(as_json(args.id, &explanation));
    } else {
        lines(args.id, &explanation).into_iter().for_each(say);
        if !args.show_values {
            note("values are shown with --show-values");
        }
    }
    Ok(DONE)
}

/// What earlier runs found out, when there is a state that can be read.
async fn state(context: &Context, settings: &crate::config::settings::Settings) -> Result<Option<Store>, Failure> {
    match app::read_state(&settings.state.path, Arc::clone(&context.clock)).await {
        Ok(store) => Ok(Some(store)),
        Err(app::AppError::Store(StoreError::Missing { .. } | StoreError::Older { .. })) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn lines(id: i64, explanation: &Explanation) -> Vec<String> {
    let select = explanation.select.as_deref().unwrap_or("no [select]: every contact is carried");
    let mut lines = vec![match &explanation.selected {
        Ok(true) => format!("contact {id}: carried ({select})"),
        Ok(false) => format!("contact {id}: not carried ({select})"),
        Err(problem) => format!("contact {id}: set aside, because [select] cannot be judged: {problem}"),
    }];
    for line in &explanation.lines {
        let name = line.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        lines.push(format!("{}{name}, {}: {}", line.field, line.kind, line.outcome.as_str()));
        lines.push(format!("    {} gave {}", line.expression, line.gave.unwrap_or("an error")));
        if let Some(problem) = &line.problem {
            lines.push(format!("    {problem}"));
        }
        if let Some(values) = &line.values {
            lines.push(format!("    {} becomes {}", values.expression, values.result));
        }
    }
    for tag in &explanation.tags {
        let labels = tag.labels.join(", ");
        lines.push(format!(
            "tag {}: for whoever has the label {labels}, which is read by a backfill and not here",
            tag.tag
        ));
    }
    lines
}

fn as_json(id: i64, explanation: &Explanation) -> Value {
    let line = |line: &ExplainedLine| {
        let mut row = json!({
            "field": line.field,
            "name": line.name,
            "type": line.kind,
            "expression": line.expression,
            "gave": line.gave,
            "outcome": line.outcome.as_str(),
            "problem": line.problem,
        });
        if let Some(values) = &line.values {
            row["values"] = json!({ "expression": values.expression, "result": values.result });
        }
        row
    };
    json!({
        "id": id,
        "selected": explanation.selected.as_ref().ok(),
        "select": explanation.select,
        "select_problem": explanation.selected.as_ref().err(),
        "lines": explanation.lines.iter().map(line).collect::<Vec<_>>(),
        "tags": explanation.tags.iter().map(|tag| json!({ "tag": tag.tag, "labels": tag.labels })).collect::<Vec<_>>(),
    })
}
