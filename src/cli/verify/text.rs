//! A comparison in words, for people and as JSON.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Occasion;
use super::groups::{Group, Groups, Kind, whom};
use crate::domain::sweep::Verdict;
use crate::sync::verify::finding::{Finding, Reason, Tally};
use crate::sync::verify::{CustomersRead, Verification};

/// The one sentence.
pub(super) fn verdict(found: &Verification) -> String {
    let faults = found.tally.faults();
    let many = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut parts = Vec::new();
    if faults == 0 {
        parts.push(String::from("nothing unexplained"));
    } else {
        let Tally { faulty_contacts, faulty_customers, .. } = found.tally;
        let mut on = Vec::new();
        on.extend((faulty_contacts > 0).then(|| many(faulty_contacts, "contact")));
        on.extend((faulty_customers > 0).then(|| format!("{} of nobody", many(faulty_customers, "customer"))));
        parts.push(format!("{} without an explanation, on {}", many(faults, "finding"), on.join(" and ")));
    }
    if found.sweep.verdict != Verdict::Proven {
        parts.push(format!("LiveDesk's list was not read completely ({})", found.sweep.verdict));
    }
    if let Some(customers) = found.customers
        && !customers.proven
    {
        parts.push(format!("FIRST LINE's list was not read completely ({})", customers_text(customers)));
    }
    match found.not_compared() {
        0 => {}
        1 => parts.push(String::from("1 field or label could not be compared")),
        many => parts.push(format!("{many} fields and labels could not be compared")),
    }
    if !found.tags.refused.is_empty() {
        parts.push(format!("{} could not be compared", many(found.tags.refused.len() as u64, "tag")));
    }
    match found.tally.children_not_compared {
        0 => {}
        1 => parts.push(String::from("the e-mails or phones of 1 contact could not be compared")),
        many => parts.push(format!("the e-mails or phones of {many} contacts could not be compared")),
    }
    parts.join("; ")
}

/// What a sample says of the others.
pub(super) fn confidence(found: &Verification) -> Option<String> {
    let sample = found.sample?;
    let faulty = found.tally.faulty_contacts;
    let among = match faulty {
        0 => String::from("no fault"),
        1 => String::from("1 faulty contact"),
        many => format!("{many} faulty contacts"),
    };
    if sample.drawn >= sample.of {
        return Some(format!("the sample is everybody: {among} among {}", sample.of));
    }
    Some(format!(
        "{among} among {} of {} contacts (seed {}): with 95 % confidence fewer than {} % of all are faulty (Clopper-Pearson; \
         drawing without putting back can only make it fewer)",
        sample.drawn,
        sample.of,
        sample.seed,
        percent(sample.at_most),
    ))
}

/// A share as a percentage that is never rounded to less than it is.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = if percent >= 10.0 {
        0
    } else if percent >= 1.0 {
        1
    } else if percent >= 0.1 {
        2
    } else {
        4
    };
    let scale = 10_f64.powi(digits);
    format!("{}", (percent * scale).ceil() / scale)
}

/// What is to be said of FIRST LINE's list beside whether it was proven.
pub(super) fn children_text(customers: CustomersRead) -> &'static str {
    if customers.children_proven { "" } else { "; its lists of e-mails and phones were not read completely" }
}

fn customers_text(customers: CustomersRead) -> String {
    let read = match customers.total {
        Some(total) => format!("{} of {total}", customers.distinct),
        None => format!("{} seen, and the list names no total", customers.distinct),
    };
    format!("{read}{}", overlooked_text(customers))
}

/// What is to be said of customers that are there and that the list does not name.
pub(super) fn overlooked_text(customers: CustomersRead) -> String {
    match customers.overlooked {
        0 => String::new(),
        many => format!(", and at least {many} more that are there and that the list does not name"),
    }
}

/// The summary for people.
pub(super) fn lines(found: &Verification, groups: &Groups, occasion: &Occasion) -> Vec<String> {
    let sweep = &found.sweep;
    let counted = sweep.count.map(|count| format!(", which counts {count}")).unwrap_or_default();
    let mut lines = vec![format!(
        "LiveDesk {}: {} contacts seen{counted}; sweep {}",
        occasion.livedesk, sweep.distinct, sweep.verdict
    )];
    lines.push(match found.customers {
        Some(customers) => format!(
            "FIRST LINE {}: {} customers; list {}{}",
            occasion.firstline,
            customers_text(customers),
            if customers.proven { "proven" } else { "not proven" },
            children_text(customers)
        ),
        None => format!("FIRST LINE {}: asked for each contact of the sample", occasion.firstline),
    });
    let Tally { faulty_contacts, explained, not_carried, .. } = found.tally;
    lines.push(format!(
        "{} contacts compared: {} the same, {explained} with differences that are explained, {faulty_contacts} with some that \
         are not; {not_carried} are not to be carried, or cannot be",
        found.checked,
        found.same(),
    ));
    if found.unstamped > 0 {
        lines.push(format!(
            "{} customers were there before and kept their own number: known by the state alone",
            found.unstamped
        ));
    }
    if found.hidden > 0 {
        lines.push(format!(
            "{} contacts exist that LiveDesk's list does not show; they were compared too",
            found.hidden
        ));
    }
    if found.forgotten > 0 {
        lines.push(format!("{} people were forgotten (`deskferry state forget`): not compared", found.forgotten));
    }
    for (explained, head) in [(false, "not explained:"), (true, "explained:")] {
        let some: Vec<String> = groups.that_are(explained).map(|(kind, group)| group_line(kind, group)).collect();
        if !some.is_empty() {
            lines.push(head.to_owned());
            lines.extend(some);
        }
    }
    lines.extend(found.stopped.iter().map(|stopped| format!("not compared: {stopped}")));
    let unknown = found.tags.labels_unknown.iter();
    lines.extend(unknown.map(|(label, why)| format!("not compared: whoever has the label \"{label}\": {why}")));
    let refused = found.tags.refused.iter();
    lines.extend(refused.map(|(tag, why)| format!("not compared: FIRST LINE's tag \"{tag}\": {why}")));
    if found.again.left > 0 {
        lines.push(format!(
            "{} contacts more differ and were looked at once only (--recheck); some may have changed meanwhile",
            found.again.left
        ));
    }
    if let Some(why) = occasion.without_state {
        lines.push(format!("nothing was explained by the state: {why}"));
    }
    lines.extend(confidence(found));
    lines.push(format!("verdict: {}", verdict(found)));
    lines
}

fn group_line(kind: &Kind, group: &Group) -> String {
    let field = kind.field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
    let meaning = kind.reason.map_or_else(|| kind.class.meaning(), |reason| reason.meaning());
    let mut ids: Vec<String> = group.samples.iter().map(sample).collect();
    if group.count > ids.len() as u64 {
        ids.push(String::from("..."));
    }
    let reason = kind.reason.map(Reason::as_str).filter(|reason| *reason != kind.class.as_str());
    let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
    format!("  {:>7}  {}{field}{reason} ({meaning}): {}", group.count, kind.class.as_str(), ids.join(", "))
}

fn sample(finding: &Finding) -> String {
    let detail = if finding.detail.is_empty() { String::new() } else { format!(" [{}]", finding.detail) };
    let values = match (&finding.livedesk_value, &finding.firstline_value) {
        (None, None) => String::new(),
        (livedesk, firstline) => format!(
            " (LiveDesk {}, FIRST LINE {})",
            livedesk.as_deref().map_or_else(|| String::from("nothing"), |value| format!("{value:?}")),
            firstline.as_deref().map_or_else(|| String::from("nothing"), |value| format!("{value:?}")),
        ),
    };
    format!("{}{detail}{values}", whom(finding))
}

/// The same as one document.
pub(super) fn as_json(found: &Verification, groups: &Groups, occasion: &Occasion, written: &[PathBuf]) -> Value {
    let fields: serde_json::Map<String, Value> = found
        .tally
        .fields
        .iter()
        .map(|(name, tally)| {
            let row = json!({
                "compared": tally.compared,
                "same": tally.same(),
                "explained": tally.explained,
                "unexplained": tally.unexplained,
                "left_out": tally.left_out,
            });
            (name.clone(), row)
        })
        .collect();
    let groups: Vec<Value> = groups
        .all()
        .map(|(kind, group)| {
            json!({
                "finding": kind.class,
                "field": kind.field,
                "explained_by": kind.reason,
                "count": group.count,
                "samples": group.samples,
            })
        })
        .collect();
    json!({
        "verdict": verdict(found),
        "clean": found.is_clean(),
        "began": occasion.began,
        "ended": occasion.ended,
        "livedesk": {
            "account": occasion.livedesk,
            "contacts": found.sweep.distinct,
            "count": found.sweep.count,
            "sweep": found.sweep.verdict.to_string(),
            "passes": found.sweep.passes.len(),
            "requests": occasion.requests.0,
        },
        "firstline": {
            "account": occasion.firstline,
            "customers": found.customers.map(|customers| customers.distinct),
            "total": found.customers.and_then(|customers| customers.total),
            "proven": found.customers.map(|customers| customers.proven),
            "children_proven": found.customers.map(|customers| customers.children_proven),
            "read_by_id": found.customers.map(|customers| customers.by_id),
            "not_on_the_list": found.customers.map(|customers| customers.overlooked),
            "requests": occasion.requests.1,
        },
        "mapping_version": occasion.mapping_version,
        "deskferry": env!("CARGO_PKG_VERSION"),
        "with_state": found.with_state,
        "contacts": {
            "compared": found.checked,
            "same": found.same(),
            "explained": found.tally.explained,
            "faulty": found.tally.faulty_contacts,
            "not_carried": found.tally.not_carried,
            "children_not_compared": found.tally.children_not_compared,
            "known_by_link_alone": found.unstamped,
            "hidden": found.hidden,
            "forgotten": found.forgotten,
        },
        "customers_of_nobody": found.tally.faulty_customers,
        "unexplained": found.tally.faults(),
        "second_look": { "looked": found.again.looked, "settled": found.again.settled, "left": found.again.left },
        "sample": found.sample.map(|sample| json!({
            "drawn": sample.drawn, "of": sample.of, "seed": sample.seed, "faulty_at_most": sample.at_most,
        })),
        "fields": fields,
        "groups": groups,
        "not_compared": found.stopped,
        "labels_unknown": found.tags.labels_unknown,
        "tags_unknown": found.tags.refused,
        "files": written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn a_bound_is_never_rounded_down() {
        for (share, text) in
            [(0.005_974, "0.6"), (0.046_562, "4.7"), (0.000_031_2, "0.0032"), (0.25, "25"), (0.101, "11")]
        {
            assert_eq!(percent(share), text, "{share}");
        }
    }
}
