//! The end of a run, for people, for scripts, and as a list of what was set aside.

mod gone;
mod rehearsal;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::HumanDuration;
use serde_json::{Value, json};

use super::output::{COULD_NOT_RUN, Failure, INTERRUPTED};
use crate::app::runs;
use crate::domain::ids::RunId;
use crate::domain::sweep::{SweepReport, Verdict};
use crate::sync::summary::Summary;

/// Ids that the text names; the state and `--json` have the rest.
pub const NAMED: usize = 10;
/// Reasons that the text lists.
const REASONS: usize = 20;

/// Everything that is told at the end of a run.
pub struct Report<'a> {
    /// The run.
    pub run: RunId,
    /// Exit code.
    pub exit: u8,
    /// Counts.
    pub summary: &'a Summary,
    /// Requests sent to LiveDesk.
    pub livedesk_requests: u64,
    /// Requests sent to FIRST LINE.
    pub firstline_requests: u64,
    /// How long it took.
    pub duration_ms: i64,
    /// Why it ended early.
    pub failure: Option<String>,
    /// Contacts that were asked for and that nobody knows, and which ones may have been meant.
    pub unknown: Vec<(i64, String)>,
    /// The runs whose work on the contacts of a rehearsal stands, newest first.
    pub rehearsed_by: Vec<RunId>,
}

impl Report<'_> {
    /// The verdict of the sweep in words.
    pub fn verdict(&self) -> Option<String> {
        runs::verdict(self.summary)
    }

    /// The counts as the state keeps them.
    pub fn counts(&self) -> Value {
        runs::counts(
            self.summary,
            self.failure.as_deref(),
            (self.livedesk_requests, self.firstline_requests),
            self.duration_ms,
        )
    }

    /// One JSON document.
    pub fn json(&self, lists: &Lists) -> Value {
        let mut document = self.counts();
        document["run"] = json!(self.run.0);
        document["exit_code"] = json!(self.exit);
        document["error"] = json!(self.failure);
        document["set_aside_file"] = json!(lists.set_aside);
        document["both_changed_file"] = json!(lists.both_changed);
        document["rehearsed"] = json!(self.summary.rehearsed);
        document["rehearsed_by"] = self.rehearsed_by.iter().map(|run| run.0).collect();
        document["moved_file"] = json!(lists.moved);
        document["moved_contacts"] = json!(summary_moved(self.summary));
        document["absent_file"] = json!(lists.absent);
        document["vanished_file"] = json!(lists.vanished);
        document["both_changed_fields"] = json!(self.summary.both_changed_rows);
        let ids = self.summary.set_aside_rows.iter().filter_map(|row| row.id).map(|id| id.0);
        document["set_aside_ids"] = json!(ids.collect::<Vec<_>>());
        document["sweep"] = self.summary.sweep.as_ref().map_or(Value::Null, sweep_json);
        document
    }

    /// Some lines for people.
    pub fn text(&self, lists: &Lists) -> String {
        let summary = self.summary;
        let mut text = String::new();
        let state = match (self.exit, &self.failure) {
            (_, Some(_)) => "could not go on",
            (INTERRUPTED, _) => "interrupted; run the same command again to go on",
            (0, _) => "done",
            _ => "done, but something is left over",
        };
        line(&mut text, format_args!("run {}: {state}", self.run));
        let counts = [
            ("created", summary.created),
            ("adopted", summary.adopted),
            ("updated", summary.updated),
            ("unchanged", summary.unchanged),
            ("not selected", summary.not_selected),
            ("set aside", summary.set_aside),
            ("parked", summary.parked),
            ("conflicts", summary.conflicts),
        ];
        let moved = [("moved", summary.moved), ("did not come up", summary.unmet), ("not known", summary.unknown)];
        let moved = moved.into_iter().filter(|(_, count)| *count > 0);
        for (name, count) in counts.into_iter().chain(moved) {
            line(&mut text, format_args!("  {name:<14}{count:>10}"));
        }
        self.remarks(&mut text);
        if let Some(sweep) = &summary.sweep {
            line(&mut text, sweep_text(sweep));
        }
        let ids = |ids: &[i64]| {
            let named: Vec<String> = ids.iter().take(NAMED).map(ToString::to_string).collect();
            format!("{}{}", named.join(", "), if ids.len() > NAMED { ", ..." } else { "" })
        };
        for (id, near) in &self.unknown {
            line(
                &mut text,
                format_args!("  contact {id}: LiveDesk shows no such contact, and this state never had one{near}"),
            );
        }
        if summary.adopted_apart > 0 {
            let (count, apart) = (summary.adopted_apart, ids(&summary.adopted_apart_ids));
            line(
                &mut text,
                format_args!(
                    "  {count} of the adopted share one key with their customer, and another key that goes before differs: \
                     {apart}; it may be a relative's, see `deskferry explain ID`"
                ),
            );
        }
        if summary.parked > 0 {
            let parked = ids(&summary.parked_ids);
            line(&mut text, format_args!("  parked contacts: {parked}; a later run settles them"));
        }
        if summary.conflicts > 0 {
            let conflicts = ids(&summary.conflict_ids);
            line(&mut text, format_args!("  conflicts: {conflicts}; see `deskferry conflicts list`"));
        }
        if !summary.rehearsed.is_empty() {
            rehearsal::text(&mut text, self.run, &self.rehearsed_by, &summary.rehearsed);
        }
        for (id, what) in summary.moved_rows.iter().take(NAMED) {
            line(&mut text, format_args!("  not as planned: contact {}: {what}", shown(*id)));
        }
        if let Some(csv) = &lists.moved {
            line(&mut text, format_args!("  contacts that are not as planned are listed in {}", csv.display()));
        }
        if let Some(csv) = &lists.set_aside {
            line(&mut text, format_args!("  set-aside contacts are listed in {}", csv.display()));
        }
        if let Some(csv) = &lists.both_changed {
            line(&mut text, format_args!("  fields changed on both sides are listed in {}", csv.display()));
        }
        for (csv, what) in
            [(&lists.absent, "contacts gone from LiveDesk"), (&lists.vanished, "customers gone from FIRST LINE")]
        {
            if let Some(csv) = csv {
                line(&mut text, format_args!("  {what} are listed in {}", csv.display()));
            }
        }
        let took = HumanDuration(Duration::from_millis(u64::try_from(self.duration_ms).unwrap_or_default()));
        line(
            &mut text,
            format_args!(
                "  requests: {} to LiveDesk, {} to FIRST LINE; took {took}",
                self.livedesk_requests, self.firstline_requests
            ),
        );
        text.trim_end().to_owned()
    }

    fn remarks(&self, text: &mut String) {
        let summary = self.summary;
        let remarks = [
            (summary.unfinished, "of the created and adopted are not finished: the next run goes on with them"),
            (summary.left_as_is, "of the not selected were carried earlier and are left as they are"),
            (summary.forgotten, "were forgotten (`deskferry state forget`) and are not carried"),
            (summary.recreated, "creates were repeated after the first one was proven not to be there"),
            (summary.both_changed, "fields were changed on both sides and decided by their owner"),
            (summary.kept, "fields differ and stay as FIRST LINE has them"),
        ];
        for (count, remark) in remarks.iter().filter(|(count, _)| *count > 0) {
            line(text, format_args!("  {count} {remark}"));
        }
        for stopped in &summary.stopped_fields {
            line(text, format_args!("  stopped: {stopped}; nothing was written to it"));
        }
        for (field, count) in most(&summary.not_shown) {
            line(
                text,
                format_args!("  {count} x {field} stays as it is: FIRST LINE does not show it (see `deskferry probe`)"),
            );
        }
        gone::text(text, summary);
        lists_text(text, summary);
        for (reason, group) in summary.reasons.most_frequent().into_iter().take(REASONS) {
            line(text, format_args!("  set aside: {} x {reason}{}", group.count, samples(&group.samples, group.count)));
        }
        if summary.reasons.others() > 0 {
            line(text, format_args!("  set aside: {} x for further reasons", summary.reasons.others()));
        }
        for (problem, count) in most(&summary.skipped_values) {
            line(text, format_args!("  left out: {count} x {problem}"));
        }
    }

    /// Writes what is to be looked at by people as CSV files beside the state: ids, fields and reasons, no personal data.
    pub fn write_lists(&self, state: &Path) -> Result<Lists, Failure> {
        if self.exit == COULD_NOT_RUN && self.summary.handled() == 0 {
            return Ok(Lists::default());
        }
        let aside = self.summary.set_aside_rows.iter().map(|row| {
            let field = row.reason.field.clone().unwrap_or_default();
            [
                shown(row.id),
                row.reason.kind.as_str().to_owned(),
                field,
                shown(row.reason.status),
                row.reason.detail.clone(),
            ]
        });
        let both = self.summary.both_changed_rows.iter().map(|row| {
            let stands = if row.written { "LiveDesk" } else { "FIRST LINE" };
            [row.livedesk_id.to_string(), shown(row.firstline_id), row.field.clone(), stands.to_owned()]
        });
        let head = ["livedesk_id", "kind", "field", "status", "detail"];
        let (absent, vanished) = (gone::absent(self.summary), gone::vanished(self.summary));
        let moved = self.summary.moved_rows.iter().map(|(id, what)| [shown(*id), what.clone()]);
        Ok(Lists {
            moved: self.write_list(state, "moved", ["livedesk_id", "what"], moved)?,
            set_aside: self.write_list(state, "set-aside", head, aside)?,
            both_changed: self.write_list(
                state,
                "both-changed",
                ["livedesk_id", "firstline_id", "field", "stands"],
                both,
            )?,
            absent: self.write_list(state, "absent", ["livedesk_id", "firstline_id", "by_id", "outcome"], absent)?,
            vanished: self.write_list(
                state,
                "vanished",
                ["livedesk_id", "firstline_id", "standing", "alias_of"],
                vanished,
            )?,
        })
    }

    /// `None` when there is nothing to list.
    fn write_list<const N: usize>(
        &self,
        state: &Path,
        what: &str,
        head: [&str; N],
        rows: impl ExactSizeIterator<Item = [String; N]>,
    ) -> Result<Option<PathBuf>, Failure> {
        if rows.len() == 0 {
            return Ok(None);
        }
        let path = state.with_file_name(format!("deskferry-{what}-{}.csv", self.run));
        let failed = |error: csv::Error| Failure::new(format!("{} could not be written: {error}", path.display()));
        let mut writer = csv::Writer::from_path(&path).map_err(failed)?;
        writer.write_record(head).map_err(failed)?;
        for row in rows {
            writer.write_record(row).map_err(failed)?;
        }
        writer.flush()?;
        Ok(Some(path))
    }
}

/// Where the lists of a run stand.
#[derive(Debug, Default)]
pub struct Lists {
    /// What was not as planned.
    pub moved: Option<PathBuf>,
    /// What was set aside.
    pub set_aside: Option<PathBuf>,
    /// Fields that both sides had changed.
    pub both_changed: Option<PathBuf>,
    /// Contacts that are gone from LiveDesk.
    pub absent: Option<PathBuf>,
    /// Customers that are gone from FIRST LINE.
    pub vanished: Option<PathBuf>,
}

/// What was not as planned, for scripts.
fn summary_moved(summary: &Summary) -> Vec<Value> {
    summary.moved_rows.iter().map(|(id, what)| json!({ "livedesk_id": id, "what": what })).collect()
}

fn shown(value: Option<impl std::fmt::Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn line(text: &mut String, line: impl std::fmt::Display) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}

/// ` (contacts 1, 2, ...)`
fn samples(ids: &[i64], count: u64) -> String {
    if ids.is_empty() {
        return String::new();
    }
    let named: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!(" (contacts {}{})", named.join(", "), if count > ids.len() as u64 { ", ..." } else { "" })
}

/// The most frequent entries first.
fn most(entries: &std::collections::BTreeMap<String, u64>) -> Vec<(&String, u64)> {
    let mut entries: Vec<(&String, u64)> = entries.iter().map(|(text, count)| (text, *count)).collect();
    entries.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    entries.truncate(REASONS);
    entries
}

/// What was done about tags and companies, where anything was.
fn lists_text(text: &mut String, summary: &Summary) {
    let (tags, companies) = (&summary.tags, &summary.companies);
    let remarks = [
        (tags.added, "tags were put on contacts"),
        (tags.removed, "tags were taken off contacts whose label is gone"),
        (tags.not_shown, "contacts got no tags, because FIRST LINE does not show which they have"),
        (companies.linked, "contacts were linked to their company"),
        (companies.not_found, "contacts name a company that FIRST LINE does not have"),
        (companies.several, "contacts name a company that FIRST LINE has more than once"),
        (companies.unknown, "contacts name a company that could not be looked up"),
        (companies.not_shown, "contacts were linked to no company, because FIRST LINE does not show theirs"),
    ];
    for (count, remark) in remarks.iter().filter(|(count, _)| *count > 0) {
        line(text, format_args!("  {count} {remark}"));
    }
    for (label, why) in &tags.labels_unknown {
        line(text, format_args!("  label \"{label}\" not read, its tag is as it was: {why}"));
    }
    for label in &tags.labels_empty {
        line(text, format_args!("  label \"{label}\": no contact has it, its tag is as it was"));
    }
    for (tag, why) in &tags.refused {
        let without = tags.left_out.get(tag).copied().unwrap_or_default();
        line(text, format_args!("  tag \"{tag}\" cannot be had ({why}): {without} contacts were carried without it"));
    }
}

fn sweep_text(sweep: &SweepReport) -> String {
    let passes: Vec<String> = sweep.passes.iter().map(|pass| format!("{} +{}", pass.order, pass.added)).collect();
    let count = sweep.count.map_or_else(|| String::from("no count"), |count| format!("count {count}"));
    let meaning = match sweep.verdict {
        Verdict::Proven => String::from("every contact that LiveDesk lists was seen"),
        Verdict::Counted => String::from("the number of contacts fits, but no second pass confirmed it"),
        Verdict::Short { missing } => format!("up to {missing} contacts may not have been seen"),
    };
    format!(
        "  sweep: {} ({meaning}); {} distinct, {count}; passes: {}",
        sweep.verdict,
        sweep.distinct,
        passes.join(", ")
    )
}

fn sweep_json(sweep: &SweepReport) -> Value {
    let missing = match sweep.verdict {
        Verdict::Short { missing } => missing,
        Verdict::Proven | Verdict::Counted => 0,
    };
    let word = match sweep.verdict {
        Verdict::Proven => "proven",
        Verdict::Counted => "counted",
        Verdict::Short { .. } => "short",
    };
    let passes: Vec<Value> = sweep
        .passes
        .iter()
        .map(|pass| {
            json!({
                "order": pass.order.to_string(),
                "pages": pass.pages,
                "added": pass.added,
                "steps_back": pass.steps_back,
            })
        })
        .collect();
    json!({
        "verdict": word,
        "missing": missing,
        "distinct": sweep.distinct,
        "count": sweep.count,
        "malformed": sweep.malformed,
        "passes": passes,
    })
}
