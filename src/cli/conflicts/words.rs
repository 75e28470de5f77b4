//! A conflict, what was decided about it, and what comes of that, as a line and as JSON. No values of people.

use serde_json::{Value, json};

use crate::cli::runs::moment;
use crate::domain::ids::LiveDeskId;
use crate::store::{Conflict, Decision, DecisionMade, Leaving, Link, Made, STAMP};

pub(in crate::cli) fn ids(conflict: &Conflict) -> String {
    let ids: Vec<String> = conflict.candidates.iter().map(ToString::to_string).collect();
    if ids.is_empty() { String::from("none") } else { ids.join(", ") }
}

pub(in crate::cli) fn decision_text(decision: Decision) -> String {
    match decision {
        Decision::Link(target) => format!("decided: it is customer {target}"),
        Decision::Create => String::from("decided: create it"),
        Decision::Skip => String::from("decided: do not carry it"),
    }
}

/// A decision of the past as a line.
pub(in crate::cli) fn made_text(made: &DecisionMade) -> String {
    let what = match made.made {
        Made::Link(target) => decision_text(Decision::Link(target)),
        Made::Create => decision_text(Decision::Create),
        Made::Skip => decision_text(Decision::Skip),
        Made::Reopened => String::from("taken back"),
    };
    let by = made.by.as_deref().unwrap_or("somebody");
    format!("{} by {by}: {what} ({})", moment(made.at), made.kind)
}

/// A decision of the past as JSON.
pub(in crate::cli) fn made_json(made: &DecisionMade) -> Value {
    let decision = match made.made {
        Made::Link(target) => decision_json(Decision::Link(target)),
        Made::Create => decision_json(Decision::Create),
        Made::Skip => decision_json(Decision::Skip),
        Made::Reopened => json!("reopened"),
    };
    json!({
        "decision": decision,
        "at": moment(made.at),
        "by": made.by,
        "kind": made.kind,
        "candidates": made.candidates.iter().map(|id| id.0).collect::<Vec<_>>(),
    })
}

pub(super) fn decision_json(decision: Decision) -> Value {
    match decision {
        Decision::Link(target) => json!({ "link": target.0 }),
        Decision::Create => json!("create"),
        Decision::Skip => json!("skip"),
    }
}

/// What was written stays: how it is taken back.
pub(super) fn taken_back(id: LiveDeskId) -> String {
    format!(
        "What was written there stays: `deskferry explain {id}` names the runs, `deskferry undo RUN` takes one back"
    )
}

/// What carrying the decision out does to the customer that the contact is linked to, where that is not plain.
pub(super) fn consequence(conflict: &Conflict, link: Option<&Link>) -> Option<String> {
    let id = conflict.livedesk_id;
    match (conflict.leaving(link), conflict.standing(link), link) {
        (Some(Leaving::Behind(left)), ..) => {
            Some(format!("it leaves customer {left}: the contact's stamp is taken off there. {}", taken_back(id)))
        }
        (Some(Leaving::Made { own, chosen }), ..) => Some(format!(
            "customer {own} was made for it: merge it into customer {chosen} in FIRST LINE, or empty its stamp there; until \
             then it is not carried out, so that no second copy is left"
        )),
        (None, Some(Decision::Link(own)), Some(_)) if conflict.kind == STAMP => Some(format!(
            "customer {own} carried another contact's stamp, which is not written over: empty it in FIRST LINE, or write this \
             contact's there, then `deskferry retry {id}`; until then it is not carried out"
        )),
        (None, Some(Decision::Create), Some(link)) => {
            Some(format!("customer {} stays its own: it is nobody of the others", link.target))
        }
        _ => None,
    }
}

pub(in crate::cli) fn as_line(conflict: &Conflict, link: Option<&Link>) -> String {
    let mut decision = conflict.decision.map_or_else(|| String::from("undecided"), decision_text);
    match (conflict.standing(link), conflict.carried_to) {
        (Some(Decision::Skip), _) | (None, None) => {}
        (Some(_), _) => decision.push_str(" (not carried out yet)"),
        (None, Some(target)) => decision = format!("{decision} (carried out: customer {target})"),
    }
    if let Some(consequence) = consequence(conflict, link) {
        decision = format!("{decision}; {consequence}");
    }
    if let Some(left) = conflict.left_behind {
        decision = format!("{decision}; the contact's stamp is still to be taken off customer {left}");
    }
    format!(
        "contact {}: {} ({}); candidates {}; found by run {}; {decision}",
        conflict.livedesk_id,
        conflict.kind,
        conflict.keys,
        ids(conflict),
        conflict.run
    )
}

pub(in crate::cli) fn as_json(conflict: &Conflict, link: Option<&Link>) -> Value {
    json!({
        "livedesk_id": conflict.livedesk_id.0,
        "kind": conflict.kind,
        "keys": conflict.keys,
        "candidates": conflict.candidates.iter().map(|id| id.0).collect::<Vec<_>>(),
        "run": conflict.run.0,
        "found_at": moment(conflict.at),
        "decision": conflict.decision.map(decision_json),
        "waiting": conflict.standing(link).is_some(),
        "carried_to": conflict.carried_to.map(|id| id.0),
        "left_behind": conflict.left_behind.map(|id| id.0),
        "consequence": consequence(conflict, link),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::domain::ids::{FirstLineId, RunId};

    /// An undecided conflict between two customers.
    pub(in crate::cli::conflicts) fn conflict(id: i64) -> Conflict {
        Conflict {
            livedesk_id: LiveDeskId(id),
            kind: String::from("several"),
            candidates: vec![FirstLineId(7), FirstLineId(9)],
            keys: String::from("email"),
            run: RunId(1),
            at: Timestamp(0),
            decision: None,
            carried_to: None,
            left_behind: None,
        }
    }

    #[test]
    fn a_line_names_ids_and_keys() {
        let line = as_line(&Conflict { decision: Some(Decision::Link(FirstLineId(9))), ..conflict(12) }, None);
        assert!(line.starts_with("contact 12: several (email); candidates 7, 9; found by run 1; "), "{line}");
        assert!(line.ends_with("decided: it is customer 9 (not carried out yet)"), "{line}");
    }
}
