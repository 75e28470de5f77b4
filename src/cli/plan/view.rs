//! A plan for people: contacts grouped by what is done with them and by the fields that are touched, with samples.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::app::plan::format::{End, FieldLine, Header, Line, RowLine};
use crate::cli::backfill::at_least;
use crate::cli::output::say;
use crate::sync::summary::Summary;

/// Groups that are told apart; the rest is one group.
const GROUPS: usize = 100;
/// Groups that are shown beside the largest of each action, unless everything is; and other lists are cut there, too.
const SHOWN: usize = 5;
const LISTED: usize = 8;
/// Contacts that are shown of each group, and lines of each from both ends.
const SAMPLES: usize = 2;
const FIRST: usize = 4;
const LAST: usize = 2;

#[derive(Debug, Default)]
struct Group {
    count: u64,
    samples: Vec<Line>,
}

/// The plan as it grows, in groups. Bounded, however many contacts there are.
#[derive(Debug, Default)]
pub(super) struct View {
    groups: BTreeMap<(String, String), Group>,
    /// Fields that differ and stay, by why.
    kept: BTreeMap<(String, String), u64>,
}

impl View {
    /// Takes one contact.
    pub(super) fn add(&mut self, line: &Line) {
        for field in line.fields.iter().filter(|field| !field.written) {
            *self.kept.entry((named(field), field.why.clone())).or_default() += 1;
        }
        let mut key = (line.action.clone(), touched(line));
        if self.groups.len() >= GROUPS && !self.groups.contains_key(&key) {
            key.1 = String::from("other fields");
        }
        let group = self.groups.entry(key).or_default();
        group.count += 1;
        if group.samples.len() < SAMPLES {
            group.samples.push(line.clone());
        }
    }

    /// Prints the plan.
    pub(super) fn print(&self, header: &Header, end: &End, summary: &Summary, full: bool) {
        let sweep = header.sweep.as_deref().unwrap_or("not to its end");
        say(format_args!("plan of {}: nothing was written; sweep: {sweep}", header.made_at));
        for (action, count) in &end.contacts {
            say(format_args!("  {:<14}{count:>10}", action.replace('_', " ")));
        }
        self.print_groups(full);
        if !self.kept.is_empty() {
            say("\nfields that differ or are unknown, and stay as FIRST LINE has them:");
        }
        let mut kept: Vec<_> = self.kept.iter().collect();
        kept.sort_by_key(|(_, count)| Reverse(**count));
        list(kept.into_iter().map(|((field, why), count)| format!("{count} x {field}: {why}")), full);
        list(header.stopped.iter().map(|stopped| format!("stopped: {stopped}; nothing is written to it")), full);
        let mut left_out: Vec<_> = summary.skipped_values.iter().collect();
        left_out.sort_by_key(|(_, count)| Reverse(**count));
        list(left_out.into_iter().map(|(problem, count)| format!("left out: {count} x {problem}")), full);
        list(end.tags_made.iter().map(|tag| format!("the tag \"{tag}\" is made first")), full);
        say(cost(end));
        if header.masked {
            say("values are masked; --show-values shows them");
        }
    }
}

impl View {
    /// The largest groups with samples, and of each action the largest; or all, without: their contacts follow.
    fn print_groups(&self, full: bool) {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(_, group)| Reverse(group.count));
        let mut actions = BTreeSet::new();
        let (mut hidden, mut contacts) = (0, 0);
        for (at, ((action, fields), group)) in groups.into_iter().enumerate() {
            let is_first = actions.insert(action);
            if !full && !is_first && at >= SHOWN {
                hidden += 1;
                contacts += group.count;
                continue;
            }
            let fields = if fields.is_empty() { String::new() } else { format!(": {fields}") };
            say(format_args!("\n{} {} x{fields}", group.count, action.replace('_', " ")));
            if full {
                continue;
            }
            for line in &group.samples {
                say(shortened(&contact(line)));
            }
            let more = group.count - group.samples.len() as u64;
            if more > 0 {
                say(format_args!("  ... and {more} more; --full shows all"));
            }
        }
        if hidden > 0 {
            say(format_args!("\n... and {hidden} smaller groups with {contacts} contacts; --full shows all"));
        }
    }
}

/// The first lines of a contact, and the last, where its e-mails and phones stand.
fn shortened(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let more = lines.len().saturating_sub(FIRST + LAST);
    if more <= 1 {
        return text.to_owned();
    }
    let (first, last) = (lines[..FIRST].join("\n"), lines[FIRST + more..].join("\n"));
    format!("{first}\n    ... and {more} lines more\n{last}")
}

/// Some lines of a list, and how many more there are.
fn list(lines: impl ExactSizeIterator<Item = String>, full: bool) {
    let more = if full { 0 } else { lines.len().saturating_sub(LISTED) };
    let shown = lines.len() - more;
    for line in lines.take(shown) {
        say(format_args!("  {line}"));
    }
    if more > 0 {
        say(format_args!("  ... and {more} more; --full shows all"));
    }
}

/// What it costs.
fn cost(end: &End) -> String {
    let parts = |counts: &BTreeMap<String, u64>| {
        let parts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if parts.is_empty() { String::from("none") } else { parts.join(", ") }
    };
    let time = at_least(end.seconds);
    format!(
        "\na backfill now: {} requests to LiveDesk, {} to FIRST LINE; {time} at the configured rates\n  reads: {}\n  writes: {}",
        end.livedesk_requests,
        end.firstline_requests,
        parts(&end.reads),
        parts(&end.writes)
    )
}

/// The fields and lists that are written, as one text.
fn touched(line: &Line) -> String {
    let fields = line.fields.iter().filter(|field| field.written).map(named);
    let lists = [("e-mails", &line.emails), ("phones", &line.phones), ("tags", &line.tags), ("company", &line.company)];
    let lists = lists.into_iter().filter(|(_, rows)| !rows.is_empty()).map(|(name, _)| name.to_owned());
    fields.chain(lists).collect::<Vec<_>>().join(", ")
}

fn named(field: &FieldLine) -> String {
    match &field.name {
        Some(name) => format!("{} ({name})", field.field),
        None => field.field.clone(),
    }
}

/// One contact, field by field.
pub(in crate::cli) fn contact(line: &Line) -> String {
    let record = match line.firstline_id {
        Some(id) => format!(" -> customer {id}"),
        None => String::new(),
    };
    let mut text = format!("  {} contact {}{record}", line.action.replace('_', " "), line.livedesk_id);
    if let Some(why) = &line.left_over {
        let _ = write!(text, ": {why}");
    }
    if let Some(matched) = &line.matched {
        let _ = write!(text, "\n    {matched}");
    }
    if let Some(left) = line.leaves {
        let _ = write!(text, "\n    leaves customer {left}: the contact's stamp is taken off there, the rest stays");
    }
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| String::from("nothing"));
    for field in &line.fields {
        let owner = field.owner.as_ref().map(|owner| format!(", owner {owner}")).unwrap_or_default();
        let (old, new) = (value(&field.old), value(&field.new));
        let change = match (field.written, &field.old, &field.new) {
            (true, ..) => format!("{old} -> {new}"),
            (false, None, None) => String::from("stays"),
            (false, ..) => format!("stays {old}, not {new}"),
        };
        let _ = write!(text, "\n    {}: {change} ({}{owner})", named(field), field.why);
    }
    for (list, rows) in
        [("e-mail", &line.emails), ("phone", &line.phones), ("tag", &line.tags), ("company", &line.company)]
    {
        for row in rows {
            let _ = write!(text, "\n    {list}: {}", row_text(row));
        }
    }
    text
}

fn row_text(row: &RowLine) -> String {
    match (&row.old, &row.new) {
        (Some(old), Some(new)) => format!("{old} -> {new}"),
        (None, Some(new)) => format!("add {new}"),
        (Some(old), None) => format!("remove {old}"),
        (None, None) => String::from("nothing"),
    }
}
