//! What a rehearsal says at its end: whom to look at, why, and how to take it back.

use super::line;
use crate::domain::ids::RunId;
use crate::sync::rehearsal::Rehearsed;

/// Contacts that are named; `--json` has all.
const NAMED: usize = 50;

/// The contacts of a rehearsal.
pub(super) fn text(text: &mut String, run: RunId, rehearsed: &[Rehearsed]) {
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
    line(text, format_args!("  to take all of it back: `deskferry undo {run}`"));
}
