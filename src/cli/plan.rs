//! `deskferry plan`: what a backfill would do, per contact and field, without a single write.

pub(super) mod view;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::backfill::longest;
use super::mask::mask;
use super::output::{DONE, Failure, INTERRUPTED, LEFT_OVER, not_over_ours, note, said, say};
use super::pending::{Ours, Pending};
use super::{Context, session};
use crate::app::plan::copy::Copy;
use crate::app::plan::draft::Draft;
use crate::app::plan::format::{End, Header, Line};
use crate::app::plan::{self, field_names};
use crate::app::runs;
use crate::domain::causes::with_causes;
use crate::domain::sweep::Verdict;
use crate::store::holder;
use crate::sync::overseer::Overseer;
use crate::sync::pipeline::{Entrants, RunEnd};
use view::View;

/// A plan as a file.
const FILE: Ours = &["{\"deskferry_plan\":"];

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write the plan to this file, for `deskferry backfill --plan FILE`
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show every contact, not only samples
    #[arg(long)]
    full: bool,
    /// Show the values of people, instead of masking them; they stand in the plan file too, then
    #[arg(long)]
    show_values: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let mut loaded = context.load_to_connect()?;
    let state = loaded.settings.state.path.clone();
    if let Some(file) = &args.output {
        not_over_ours(file, &loaded.settings)?;
    }
    // A plan that cannot be written is found before an hour of reading.
    let output = args.output.as_deref().map(|path| Pending::open(path, FILE)).transpose()?;
    if !state.exists() {
        // Digests need a key that the backfill will have as well.
        context.open_state(&loaded.settings, session::PLAN).await?.close().await;
        note(format_args!("there was no state yet: {} was made, empty", state.display()));
    } else if let Some(holder) = holder(&state) {
        note(format_args!(
            "the state is in use ({holder}); this plan is of the state as it is now, and may be out of date when it is made"
        ));
    }
    let copy = Copy::of(&state, Arc::clone(&context.clock)).await.map_err(|error| Failure::chain(&error))?;
    loaded.settings.state.path = copy.state();
    let made_at = context.clock.now().0;
    let (session, mapping) = session::begin(context, loaded, session::PLAN, &json!({})).await?;
    let key = session.store.hash_key().clone();
    let mut header = plan::header(&session.settings, &mapping, &key, made_at);
    header.masked = !args.show_values;
    let view = Arc::new(Mutex::new(View::default()));
    let listener = {
        let view = Arc::clone(&view);
        Box::new(move |line: &Line| view.lock().unwrap_or_else(PoisonError::into_inner).add(line))
    };
    let show: plan::draft::Shown = if args.show_values { Box::new(str::to_owned) } else { Box::new(mask) };
    let names = field_names(&session.store).await?;
    let draft = Arc::new(Draft::begin(&copy.lines(), key, names, show, listener)?);
    let (pipeline, target) = session.planning(mapping, Arc::clone(&draft) as Arc<dyn Overseer>).await?;
    if let Err(error) = pipeline.preflight(&Entrants::All).await {
        return Err(session.refuse(error.into()).await);
    }
    let run = pipeline.run(Entrants::All).await;
    let rates =
        (session.settings.livedesk.limits.requests_per_second, session.settings.firstline.limits.requests_per_second);
    let (livedesk, _) = session.platforms.counts();
    session.bar.finish();
    session.close(runs::exit_code(&run), None, json!({})).await?;
    if let Some(failure) = &run.failure {
        return Err(Failure::new(format!("the plan could not be made: {}", with_causes(failure))));
    }
    if run.summary.interrupted {
        note("interrupted; no plan was made");
        return Ok(INTERRUPTED);
    }
    let (lines, contacts) = draft.finish()?;
    let asked = target.asked();
    let asked_in_all = asked.total();
    let words = |counts: std::collections::BTreeMap<&str, u64>| {
        counts.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect()
    };
    let end = End {
        lines,
        contacts,
        livedesk_requests: livedesk.requests,
        firstline_requests: asked_in_all,
        reads: words(asked.reads),
        writes: words(asked.writes),
        tags_made: asked.tags,
        seconds: longest(&[(livedesk.requests, rates.0), (asked_in_all, rates.1)]),
    };
    header.sweep = runs::verdict(&run.summary);
    if let Some(mut file) = output {
        compose(&mut file, &header, draft.path(), &end).map_err(|error| file.failed(&error))?;
        file.finish()?;
    }
    if context.json {
        let mut out = BufWriter::new(io::stdout().lock());
        said(compose(&mut out, &header, draft.path(), &end).and_then(|()| out.flush()));
    } else {
        let view = view.lock().unwrap_or_else(PoisonError::into_inner);
        view.print(&header, &end, &run.summary, args.full);
        if args.full {
            print_all(draft.path())?;
        }
        if let Some(file) = &args.output {
            say(format_args!(
                "the plan stands in {}; `deskferry backfill --plan {0}` does it and nothing else",
                file.display()
            ));
        }
    }
    Ok(exit_code(&run, &end))
}

/// 1 where something is left over that no backfill does by itself.
fn exit_code(run: &RunEnd, end: &End) -> u8 {
    let short = matches!(&run.summary.sweep, Some(sweep) if matches!(sweep.verdict, Verdict::Short { .. }));
    let waiting = ["reject", "conflict", "parked", "vanished"];
    let waits = waiting.iter().any(|action| end.contacts.get(*action).is_some_and(|count| *count > 0));
    if short || waits || run.summary.delete_ceiling.is_some() { LEFT_OVER } else { DONE }
}

/// Header, lines and end, in their order.
fn compose(out: &mut impl Write, header: &Header, lines: &Path, end: &End) -> io::Result<()> {
    writeln!(out, "{}", json!(header))?;
    io::copy(&mut File::open(lines)?, out)?;
    writeln!(out, "{}", json!({ "end": end }))
}

/// Every contact of the plan.
fn print_all(lines: &Path) -> Result<(), Failure> {
    for text in BufReader::new(File::open(lines)?).lines() {
        let line: Line = serde_json::from_str(&text?).map_err(io::Error::from)?;
        say(view::contact(&line));
    }
    Ok(())
}
