//! What the log says of a run: a line when it begins, a line when it ends, and a line per reason for which contacts were
//! set aside. Field names are documented in docs/logging.md. Ids, counts and reasons; never a value of a contact.

use crate::domain::causes::with_causes;
use crate::domain::ids::RunId;
use crate::domain::outcome::RunVerdict;
use crate::domain::sweep::Verdict;
use crate::sync::pipeline::RunEnd;
use crate::sync::summary::Summary;

/// Ids that one line names.
const NAMED: usize = 5;

impl RunEnd {
    /// How it ended, in one word.
    pub fn verdict(&self) -> RunVerdict {
        match (&self.failure, self.summary.exit_code()) {
            (Some(_), _) => RunVerdict::Failed,
            (None, code) => RunVerdict::of_exit(i32::from(code)),
        }
    }
}

/// A run begins.
pub fn began(run: RunId, kind: &str) {
    tracing::info!(run = run.0, kind, "run began");
}

/// A run is over. What waits for a person is a warning; a run that could not go on is an error.
pub fn ended(run: RunId, kind: &str, took_ms: i64, end: &RunEnd) {
    let run = run.0;
    left_over(run, &end.summary);
    let Summary { created, adopted, updated, unchanged, not_selected, set_aside, parked, conflicts, .. } = end.summary;
    let sweep = end.summary.sweep.as_ref().map(|sweep| sweep.verdict.to_string());
    let verdict = end.verdict().as_str();
    let error = end.failure.as_ref().map(|failure| with_causes(failure));
    // The level of a line cannot be a variable.
    macro_rules! tell {
        ($level:ident) => {
            tracing::$level!(
                run,
                kind,
                verdict,
                took_ms,
                created,
                adopted,
                updated,
                unchanged,
                not_selected,
                set_aside,
                parked,
                conflicts,
                sweep,
                error,
                "run ended"
            )
        };
    }
    if error.is_some() { tell!(error) } else { tell!(info) }
}

fn left_over(run: i64, summary: &Summary) {
    for (reason, group) in summary.reasons.groups() {
        let (kind, field, status) = (reason.kind.as_str(), reason.field.as_deref(), reason.status);
        let (count, contacts) = (group.count, ids(&group.samples));
        tracing::warn!(
            run,
            reason = kind,
            field,
            status,
            count,
            contacts,
            detail = reason.detail,
            "contacts set aside"
        );
    }
    if summary.reasons.others() > 0 {
        tracing::warn!(run, count = summary.reasons.others(), "contacts set aside for further reasons");
    }
    if summary.conflicts > 0 {
        let (count, contacts) = (summary.conflicts, ids(&summary.conflict_ids));
        tracing::warn!(run, count, contacts, "contacts wait for a decision: `deskferry conflicts list`");
    }
    if summary.moved + summary.unmet > 0 {
        let (moved, unmet) = (summary.moved, summary.unmet);
        tracing::warn!(run, moved, unmet, "contacts are not as planned and were left alone");
    }
    if summary.parked > 0 {
        let (count, contacts) = (summary.parked, ids(&summary.parked_ids));
        tracing::info!(run, count, contacts, "creates in doubt; a later run settles them");
    }
    if let Some(Verdict::Short { missing }) = summary.sweep.as_ref().map(|sweep| sweep.verdict) {
        tracing::warn!(run, unseen = missing, "the sweep may have missed contacts");
    }
    for stopped in &summary.stopped_fields {
        tracing::warn!(run, "nothing is written to a field: {stopped}");
    }
}

fn ids(ids: &[i64]) -> String {
    ids.iter().take(NAMED).map(ToString::to_string).collect::<Vec<String>>().join(",")
}

#[cfg(test)]
mod tests {
    use crate::domain::ids::LiveDeskId;
    use crate::domain::outcome::{Outcome, RunVerdict, SetAside, SetAsideKind};
    use crate::sync::engine::RunError;
    use crate::sync::pipeline::RunEnd;
    use crate::sync::summary::Summary;

    fn refused(field: &str) -> Outcome {
        Outcome::SetAside(SetAside {
            kind: SetAsideKind::Refused,
            field: Some(field.to_owned()),
            status: Some(422),
            detail: String::from("FIRST LINE refused it"),
        })
    }

    #[test]
    fn five_thousand_equal_failures_are_one_group_with_a_few_ids() {
        let mut summary = Summary::default();
        for id in 1..=5_000 {
            summary.count(LiveDeskId(id), refused("first_name"));
        }
        summary.count(LiveDeskId(9_999), refused("birth_at"));
        let groups: Vec<(u64, Vec<i64>)> =
            summary.reasons.groups().map(|(_, group)| (group.count, group.samples.clone())).collect();
        assert_eq!(groups, [(1, vec![9_999]), (5_000, vec![1, 2, 3, 4, 5])]);
    }

    #[test]
    fn groups_are_bounded_whatever_a_platform_complains_of() {
        let mut summary = Summary::default();
        for id in 1..=1_000 {
            summary.count(LiveDeskId(id), refused(&format!("field {id}")));
        }
        assert_eq!((summary.reasons.groups().len(), summary.set_aside), (200, 1_000));
        let counts = serde_json::to_value(&summary).unwrap()["reasons"].clone();
        assert_eq!((counts.as_object().unwrap().len(), &counts["further reasons"]), (201, &serde_json::json!(800)));
    }

    #[test]
    fn a_run_ends_with_one_of_four_verdicts() {
        let end = |summary: Summary, failure| RunEnd { summary, failure }.verdict();
        let mut left = Summary::default();
        left.count(LiveDeskId(1), refused("x"));
        assert_eq!(end(Summary::default(), None), RunVerdict::Done);
        assert_eq!(end(left, None), RunVerdict::LeftOver);
        assert_eq!(end(Summary { interrupted: true, ..Summary::default() }, None), RunVerdict::Interrupted);
        assert_eq!(end(Summary::default(), Some(RunError::Refused(String::new()))), RunVerdict::Failed);
    }
}
