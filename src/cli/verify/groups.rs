//! Findings that say the same, together: how many, and a few of their ids.

use std::collections::BTreeMap;

use crate::sync::verify::finding::{Class, Finding, Reason};

/// Ids that are named per group.
const NAMED: usize = 5;

/// What findings have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) class: Class,
    pub(super) field: Option<String>,
    pub(super) reason: Option<Reason>,
}

/// One group.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) count: u64,
    /// The first of them.
    pub(super) samples: Vec<Finding>,
}

/// All groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups(BTreeMap<Kind, Group>);

impl Groups {
    pub(super) fn add(&mut self, finding: &Finding) {
        let kind = Kind { class: finding.class, field: finding.field.clone(), reason: finding.reason };
        let group = self.0.entry(kind).or_default();
        group.count += 1;
        if group.samples.len() < NAMED {
            group.samples.push(finding.clone());
        }
    }

    /// Those that nothing explains, or the others.
    pub(super) fn that_are(&self, explained: bool) -> impl Iterator<Item = (&Kind, &Group)> {
        self.0.iter().filter(move |(kind, _)| kind.reason.is_some() == explained)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Kind, &Group)> {
        self.0.iter()
    }
}

/// Whom a finding is about: the contact, or else the customer.
pub(super) fn whom(finding: &Finding) -> String {
    let customers: Vec<String> = finding.firstline_ids.iter().map(ToString::to_string).collect();
    match finding.livedesk_id {
        None => format!("customer {}", customers.join(", ")),
        Some(id) => id.to_string(),
    }
}
