//! What a run says of contacts that are gone from LiveDesk and customers that are gone from FIRST LINE.

use super::{line, shown};
use crate::sync::summary::Summary;

/// Contacts and customers that are gone, where any are.
pub(super) fn text(text: &mut String, summary: &Summary) {
    let (absence, vanished) = (&summary.absence, &summary.vanished);
    let remarks = [
        (vanished.aliases, "contacts were not carried: their customer was merged into another one"),
        (vanished.gone, "contacts were not carried: their customer is gone from FIRST LINE"),
        (vanished.found_again, "customers that were taken for gone are there: the next run carries their contacts"),
        (vanished.unjudged, "contacts were not carried: their customer answered 404, and that was not judged"),
        (absence.absent, "linked contacts are not listed by LiveDesk any more"),
        (absence.new, "of these were judged absent for the first time"),
        (absence.hidden, "of these are hidden from the list, not deleted"),
        (absence.back, "contacts are back that were absent"),
        (absence.marked, "customers were marked, because their contact is gone"),
        (absence.unmarked, "customers lost their mark, because their contact is there"),
        (absence.deleted, "customers were deleted, because their contact is gone and nobody had changed them"),
    ];
    for (count, remark) in remarks.iter().filter(|(count, _)| *count > 0) {
        line(text, format_args!("  {count} {remark}"));
    }
    for (reason, count) in &absence.resting {
        line(text, format_args!("  absent, and nothing done: {count} x {reason}"));
    }
    for (reason, count) in &absence.failed {
        line(text, format_args!("  absent, and it failed: {count} x {reason}"));
    }
    if let Some(hit) = summary.delete_ceiling {
        line(
            text,
            format_args!(
                "  ALARM: {} customers were to be marked or deleted, the ceiling is {}: nothing was done; if that is right, \
                 run `deskferry backfill --deletes-ceiling {}`",
                hit.candidates, hit.ceiling, hit.candidates
            ),
        );
    }
}

/// The rows of the list of absent contacts.
pub(super) fn absent(summary: &Summary) -> impl ExactSizeIterator<Item = [String; 4]> {
    summary.absence.rows.iter().map(|row| {
        [row.livedesk_id.to_string(), row.firstline_id.to_string(), row.finding.to_owned(), row.outcome.clone()]
    })
}

/// The rows of the list of customers that are gone.
pub(super) fn vanished(summary: &Summary) -> impl ExactSizeIterator<Item = [String; 4]> {
    summary.vanished.rows.iter().map(|row| {
        [row.livedesk_id.to_string(), row.firstline_id.to_string(), row.standing.to_owned(), shown(row.alias_of)]
    })
}
