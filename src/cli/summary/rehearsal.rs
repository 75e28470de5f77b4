//! What a rehearsal says at its end: whom to look at, why, and how to take it back.

use super::line;
use crate::domain::ids::RunId;
use crate::sync::rehearsal::Rehearsed;

/// Contacts that are named; `--json` has all.
const NAMED: usize = 50;

/// The contacts of a rehearsal. `changed_by` are the runs whose work on them stands, newest first.
pub(super) fn text(text: &mut String, run: RunId, changed_by: &[RunId], rehearsed: &[Rehearsed]) {
    line(text, "  look at these customers in FIRST LINE:");
    for row in rehearsed.iter().take(NAMED) {
        let customer = match row.firstline_id {
            Some(id) => format!("customer {id}"),
            None => String::from("no customer"),
        };
        let why = if row.why.is_empty() { String::from("one more") } else { row.why.join(", ") };
        line(text, format_args!("    {customer} (contact {}): {why}", row.livedesk_id));
    }
    if rehearsed.len() > NAMED {
        line(text, format_args!("    ... and {} more; see --json", rehearsed.len() - NAMED));
    }
    let earlier: Vec<String> =
        changed_by.iter().filter(|by| **by != run).map(|by| format!("`deskferry undo {by}`")).collect();
    match (changed_by.contains(&run), earlier.as_slice()) {
        (true, []) => line(text, format_args!("  to take all of it back: `deskferry undo {run}`")),
        (false, []) => line(text, "  nothing was changed, so there is nothing to take back"),
        (true, earlier) => line(
            text,
            format_args!(
                "  to take this run back: `deskferry undo {run}`; earlier runs made or changed some of these customers, and are \
                 taken back whole, after it: {}",
                earlier.join(", ")
            ),
        ),
        (false, earlier) => line(
            text,
            format_args!(
                "  this run changed nothing; earlier runs made or changed these customers, and are taken back whole: {}",
                earlier.join(", ")
            ),
        ),
    }
}
