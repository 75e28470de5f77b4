//! `deskferry undo RUN`: takes a run back; `--release` lifts the hold that it leaves.
//!
//! What cannot be done is said before a run begins: an unknown run, one whose before-images are gone, one that later runs
//! built upon. The list of everything that was done or kept goes into a file beside the state, as it comes.

mod list;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use self::list::List;
use super::backfill::{at_least, longest};
use super::consent::ask;
use super::output::{DONE, Failure, note, say};
use super::runs::moment;
use super::session::Session;
use super::{Context, session};
use crate::app;
use crate::config::settings::{I_UNDERSTAND, Settings};
use crate::domain::ids::RunId;
use crate::mapping::Mapping;
use crate::store::{BuiltUpon, Run, RunTraces, Store};
use crate::sync::engine::RunError;
use crate::sync::undo::{Doubts, UndoLine, UndoOrder, UndoSummary};

/// Kind of the run.
const KIND: &str = "undo";
/// Runs that are named when one is not known.
const NEAR: usize = 3;
/// Runs among which near ones are looked for.
const LATEST: u32 = 200;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run to take back, as `deskferry runs` numbers it
    #[arg(value_name = "RUN", required_unless_present = "release")]
    run: Option<i64>,
    /// Show what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete the customers that the run made, if nobody changed them since; without it they are tagged
    #[arg(long)]
    delete_created: bool,
    /// Do not ask before the first write
    #[arg(long, short)]
    yes: bool,
    /// With --yes and --delete-created: what you know of deletions, word for word as deletes.i_understand has it
    #[arg(long, value_name = "SENTENCE")]
    i_understand: Option<String>,
    /// Lift the hold that an undo left: from then on contacts are carried again
    #[arg(long, conflicts_with_all = ["run", "dry_run", "delete_created", "yes", "i_understand"])]
    release: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let Some(of) = args.run.map(RunId) else { return release(context).await };
    let loaded = context.load_to_connect()?;
    // Opening to write would make a state where there is none.
    let store = app::read_state(&loaded.settings.state.path, Arc::clone(&context.clock)).await?;
    let looked = look(&store, of, &loaded.settings).await;
    store.close().await;
    let (found, traces) = match looked? {
        Looked::Ready(found, traces) => (found, traces),
        Looked::Nothing(why) => {
            if context.json {
                say(json!({ "of": of.0, "nothing": why }));
            } else {
                say(why);
            }
            return Ok(DONE);
        }
    };
    note(outlook(&found, &traces, &args, loaded.settings.firstline.limits.requests_per_second));
    agreed(&args, loaded.settings.deletes.i_understand.as_deref(), context).await?;
    let options = json!({ "of": of.0, "delete_created": args.delete_created, "dry_run": args.dry_run });
    let (session, mapping) = session::begin(context, loaded, KIND, &options).await?;
    let tag = session.settings.undo.tag.as_ref().map(|tag| format!("{tag}-{of}"));
    let order = UndoOrder { of, delete_created: args.delete_created, dry_run: args.dry_run, tag };
    let list = match List::create(&session.settings.state.path, session.run) {
        Ok(list) => list,
        Err(failure) => return Err(session.refuse(failure).await),
    };
    let (summary, failure) = match take_back(&session, mapping, (&order, found.kind == KIND), &list).await {
        Ok(ended) => ended,
        Err(failure) => {
            list.discard();
            return Err(session.refuse(failure).await);
        }
    };
    end(session, &order, &summary, failure, list, context.json).await
}

/// Settles what is in doubt as the run that sent it, then takes the run back, unless later runs turn out to stand on it:
/// one of them may have sent what was in doubt, or come in while the state was waited for.
async fn take_back(
    session: &Session,
    mapping: Mapping,
    (order, is_undo): (&UndoOrder, bool),
    list: &List,
) -> Result<(UndoSummary, Option<RunError>), Failure> {
    let engine = session.engine(mapping).await?;
    if !order.dry_run {
        engine.settle_before_undo().await?;
    }
    let doubts = Doubts::of(&session.store, order.of).await?;
    doubts.lines().for_each(|line| list.add(&line));
    let built = session.store.built_upon(order.of, is_undo).await?;
    if !built.is_empty() {
        return Err(Failure::new(order_needed(order.of, &built)));
    }
    let (mut summary, failure) = engine.undo(order, &|line| list.add(line)).await?;
    summary.in_doubt = doubts.parked;
    summary.never_arrived = doubts.absent.len() as u64;
    Ok((summary, failure))
}

async fn end(
    session: Session,
    order: &UndoOrder,
    summary: &UndoSummary,
    failure: Option<RunError>,
    list: List,
    json: bool,
) -> Result<u8, Failure> {
    session.bar.finish();
    let failure = failure.map(Failure::from);
    let exit = failure.as_ref().map_or(summary.exit_code(), Failure::code);
    let (file, kept) = list.finish();
    if json {
        let mut document = json!(summary);
        document["run"] = json!(session.run.0);
        document["of"] = json!(order.of.0);
        document["dry_run"] = json!(order.dry_run);
        document["exit_code"] = json!(exit);
        document["error"] = json!(failure.as_ref().map(ToString::to_string));
        document["list_file"] = json!(file);
        document["kept_lines"] = json!(kept);
        say(document);
    } else {
        let is_whole = failure.is_none() && !summary.interrupted;
        say(text(&session, order, (summary, is_whole), &kept, &file));
    }
    if let Some(failure) = &failure {
        note(format_args!(
            "error: {failure}; what was done until then is recorded, run the same command again to go on"
        ));
    }
    if summary.interrupted {
        note("interrupted; run the same command again to go on");
    }
    let counts = json!(summary);
    session.close(exit, None, counts).await?;
    Ok(exit)
}

/// Lifts the hold.
async fn release(context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    app::read_state(&loaded.settings.state.path, Arc::clone(&context.clock)).await?.close().await;
    let store = context.open_state(&loaded.settings, "undo --release").await?;
    let released = store.release_hold().await;
    store.close().await;
    let released = released?;
    if context.json {
        say(json!({ "released": released.map(|hold| json!({ "undo": hold.undo.0, "of": hold.of.0 })) }));
    } else {
        match released {
            Some(hold) => say(format_args!(
                "the hold of undo {} is lifted: the service, `deskferry sync` and `deskferry retry` carry contacts again",
                hold.undo
            )),
            None => say("there is no hold"),
        }
    }
    Ok(DONE)
}

enum Looked {
    Ready(Run, RunTraces),
    Nothing(String),
}

/// Whether the run can be taken back at all.
async fn look(store: &Store, of: RunId, settings: &Settings) -> Result<Looked, Failure> {
    let Some(run) = store.run(of).await? else { return Err(Failure::new(unknown(of, &store.runs(LATEST).await?))) };
    let since = store.journal_since().await?;
    if of < since {
        return Err(Failure::new(format!(
            "run {of} cannot be taken back: what was there before it is not kept any more (state.journal_retention is {} \
             days, and runs of older versions kept less); the first run that can be is {since}",
            settings.state.journal_retention.as_secs() / 86_400
        )));
    }
    let traces = store.traces_of_run(of).await?;
    if traces.contacts == 0 && Doubts::of(store, of).await?.parked == 0 {
        let each = |pattern: fn(&RunId) -> String| traces.undone_by.iter().map(pattern).collect::<Vec<_>>();
        return Ok(Looked::Nothing(if traces.undone_by.is_empty() {
            format!("run {of} ({}) changed nothing in FIRST LINE; there is nothing to take back", run.kind)
        } else {
            format!(
                "run {of} was taken back already, by {}; {} would put it back",
                each(|undo| format!("undo {undo}")).join(" and "),
                each(|undo| format!("`deskferry undo {undo}`")).join(", then ")
            )
        }));
    }
    let built = store.built_upon(of, run.kind == KIND).await?;
    if !built.is_empty() {
        return Err(Failure::new(order_needed(of, &built)));
    }
    Ok(Looked::Ready(run, traces))
}

fn unknown(of: RunId, runs: &[Run]) -> String {
    let typed = of.to_string();
    let mut near: Vec<&Run> = runs.iter().collect();
    near.sort_by_key(|run| (run.id.0.abs_diff(of.0), strsim::levenshtein(&run.id.to_string(), &typed)));
    near.truncate(NEAR);
    if near.is_empty() {
        return format!("there is no run {of}; nothing was run with this state yet");
    }
    let near: Vec<String> =
        near.iter().map(|run| format!("{} ({}, {})", run.id, run.kind, moment(run.started_at))).collect();
    format!("there is no run {of}; did you mean {}? `deskferry runs` has all", near.join(", "))
}

fn order_needed(of: RunId, built: &[BuiltUpon]) -> String {
    let mut text = format!(
        "run {of} cannot be taken back yet: later runs changed the same customers. Take those back first, the latest first:"
    );
    for later in built {
        let _ = write!(
            text,
            "\n  deskferry undo {}   ({}, {} of the same contacts)",
            later.run, later.kind, later.contacts
        );
    }
    text
}

/// What is about to happen.
fn outlook(run: &Run, traces: &RunTraces, args: &Args, rate: f64) -> String {
    let of = |action: &str| traces.actions.iter().find(|(word, _)| word == action).map_or(0, |(_, contacts)| *contacts);
    let made = of("create");
    let mut text = format!(
        "run {} ({}, {}): {} contacts; {made} customers made, {} found and linked, {} with fields or lists written, {} with \
         e-mails or phones changed, {} deleted",
        run.id,
        run.kind,
        moment(run.started_at),
        traces.contacts,
        of("adopt"),
        of("update"),
        of("children"),
        of("delete")
    );
    if args.delete_created {
        let _ = write!(
            text,
            "\nthe customers that it made are deleted where nobody changed them since. Know that {I_UNDERSTAND}"
        );
    } else if made > 0 {
        let _ = write!(
            text,
            "\n{made} customers stay, tagged; --delete-created deletes them where nobody changed them since"
        );
    }
    let requests = requests(traces, made, args.dry_run);
    let _ = write!(text, "\nabout {requests} requests to FIRST LINE: {}", at_least(longest(&[(requests, rate)])));
    text
}

/// What taking a run back asks of FIRST LINE, about: each customer is read; what the run made is tagged or deleted, what it
/// changed is written to and read once more, to see whether that was taken.
fn requests(traces: &RunTraces, made: u64, dry_run: bool) -> u64 {
    let changed = traces.contacts.saturating_sub(made);
    traces.contacts + if dry_run { 0 } else { made + 2 * changed }
}

/// A person's word before the first write.
async fn agreed(args: &Args, configured: Option<&str>, context: &Context) -> Result<(), Failure> {
    if args.dry_run {
        return Ok(());
    }
    if args.yes {
        let word = args.i_understand.as_deref().or(configured);
        if args.delete_created && word != Some(I_UNDERSTAND) {
            return Err(Failure::new(format!(
                "deletions need your word that you know what they take along: add --i-understand \"{I_UNDERSTAND}\", or set \
                 deletes.i_understand to it; nothing was written"
            )));
        }
        return Ok(());
    }
    ask(context, "add --yes, after a look with --dry-run", "nothing was written").await
}

fn text(
    session: &Session,
    order: &UndoOrder,
    (summary, is_whole): (&UndoSummary, bool),
    kept: &[UndoLine],
    file: &Path,
) -> String {
    let mut text = match (order.dry_run, is_whole) {
        (true, _) => format!("run {}: what taking back run {} would do; nothing was written", session.run, order.of),
        (false, true) => format!("run {}: took run {} back", session.run, order.of),
        (false, false) => {
            format!("run {}: took a part of run {} back, and did not come to its end", session.run, order.of)
        }
    };
    let counts = [
        (summary.contacts, "contacts looked at"),
        (summary.restored, "fields and lists as they were"),
        (summary.rows_removed, "e-mails and phones removed"),
        (summary.rows_restored, "e-mails and phones as they were"),
        (summary.deleted, "customers deleted"),
        (summary.tagged, "customers tagged"),
        (summary.relinked, "links as they were"),
        (summary.unlinked, "links removed"),
        (summary.gone, "customers that are gone by now"),
        (summary.kept, "parts kept: somebody has the last word since, or nobody knows what was there"),
        (summary.unconfirmed, "parts written back that FIRST LINE does not show yet: look at them"),
        (summary.left, "left: run the same command again to try them again"),
        (summary.in_doubt, "creates in doubt: run the same command again once they are settled"),
        (summary.never_arrived, "creates that never arrived: they are sent again when contacts are carried again"),
        (summary.tags_made, "tags that the run made stay: delete them by hand, if nobody else uses them"),
        (summary.set_aside, "set-aside contacts forgotten"),
        (summary.conflicts, "conflicts forgotten"),
    ];
    for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, "\n  {count:>8}  {what}");
    }
    for line in kept {
        let _ = write!(
            text,
            "\n  {} contact {} customer {}: {} ({})",
            line.done, line.livedesk_id, line.firstline_id, line.part, line.why
        );
    }
    if summary.kept + summary.unconfirmed + summary.left > kept.len() as u64 {
        text.push_str("\n  ...");
    }
    let _ = write!(text, "\n  everything is listed in {}", file.display());
    if !order.dry_run {
        text.push_str(
            "\n  nothing is carried from now on: `deskferry undo --release` or a new `deskferry backfill` ends that",
        );
    }
    text
}

/// What status says of a hold.
pub(super) fn hold_json(hold: crate::store::Hold) -> Value {
    json!({ "undo": hold.undo.0, "of": hold.of.0, "since": moment(hold.at) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn run(id: i64) -> Run {
        Run {
            id: RunId(id),
            kind: String::from("backfill"),
            options: json!({}),
            started_at: Timestamp(0),
            ended_at: None,
            exit_code: None,
            verdict: None,
            counts: json!({}),
        }
    }

    #[test]
    fn an_unknown_run_names_near_ones() {
        let runs: Vec<Run> = [40, 12, 11, 3].map(run).into();
        let text = unknown(RunId(13), &runs);
        assert!(text.starts_with("there is no run 13; did you mean 12 (backfill, "), "{text}");
        assert!(unknown(RunId(1), &[]).contains("nothing was run"));
    }

    #[test]
    fn the_order_is_named_latest_first() {
        let later = |run, contacts| BuiltUpon { run: RunId(run), kind: String::from("sync"), contacts };
        let text = order_needed(RunId(3), &[later(9, 2), later(5, 40)]);
        assert!(text.contains("deskferry undo 9   (sync, 2 of the same contacts)\n  deskferry undo 5"), "{text}");
    }
}
