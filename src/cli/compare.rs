//! Compares what both simulated platforms hold, without asking the state or the adapters' reading of FIRST LINE.
//!
//! The last word of `demo` and of the scenario tests: every listed contact is there exactly once, with the mapped
//! values. It looks into the sandbox's dumps, which no real platform offers; `verify` is for those.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::app;
use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId};
use crate::domain::phone::{self, Country};
use crate::domain::record::{Desired, DesiredRecord, FieldKey, canonical_current, canonical_email};
use crate::domain::target::{TargetContact, TargetEmail, TargetPhone};
use crate::mapping::Mapping;
use crate::sync::stamp::{StampReading, StampScheme};

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Contacts that LiveDesk lists.
    pub listed: u64,
    /// Of these, contacts that are there exactly once with the mapped values.
    pub right: u64,
    /// Contacts that the mapping does not select.
    pub not_selected: u64,
    /// Contacts that cannot be read or mapped: they must have been set aside.
    pub unmappable: Vec<i64>,
    /// Contacts that are not there.
    pub missing: Vec<i64>,
    /// Contacts that are there more than once, or carry a child twice.
    pub duplicated: Vec<i64>,
    /// Contacts with another value than the mapped one, and in which field.
    pub wrong: Vec<(i64, String)>,
    /// Records whose stamp names a contact that LiveDesk does not list.
    pub strangers: Vec<i64>,
}

impl Comparison {
    /// Whether nothing is lost, doubled or wrong.
    pub fn is_right(&self) -> bool {
        self.missing.is_empty() && self.duplicated.is_empty() && self.wrong.is_empty()
    }
}

/// Compares `livedesk` (`{contacts: [..]}`) with `firstline` (`[..]`).
pub fn compare(
    livedesk: &Value,
    firstline: &Value,
    mapping: &Mapping,
    scheme: &StampScheme,
    home: Country,
) -> Comparison {
    let mut records: BTreeMap<LiveDeskId, Vec<TargetContact>> = BTreeMap::new();
    for record in firstline.as_array().into_iter().flatten().filter_map(record) {
        if let StampReading::Of(id) = scheme.read(&record) {
            records.entry(id).or_default().push(record);
        }
    }
    let mut found = Comparison::default();
    for row in livedesk["contacts"].as_array().into_iter().flatten() {
        found.listed += 1;
        let raw = row["id"].as_i64().unwrap_or_default();
        let Ok(contact) = app::read_row(row.clone()) else {
            found.unmappable.push(raw);
            continue;
        };
        let held = records.remove(&contact.id).unwrap_or_default();
        match mapping.select(&contact) {
            Ok(true) => {}
            Ok(false) => {
                found.not_selected += 1;
                continue;
            }
            Err(_) => {
                found.unmappable.push(raw);
                continue;
            }
        }
        let Ok(wished) = mapping.apply(&contact) else {
            found.unmappable.push(raw);
            continue;
        };
        match held.as_slice() {
            [] => found.missing.push(raw),
            [record] => match difference(&wished, record, mapping, home) {
                Some(Difference::Twice) => found.duplicated.push(raw),
                Some(Difference::Field(field)) => found.wrong.push((raw, field)),
                None => found.right += 1,
            },
            _ => found.duplicated.push(raw),
        }
    }
    found.strangers = records.keys().map(|id| id.0).collect();
    found
}

enum Difference {
    Twice,
    Field(String),
}

fn difference(wished: &DesiredRecord, held: &TargetContact, mapping: &Mapping, home: Country) -> Option<Difference> {
    for (field, wish) in &wished.fields {
        let Desired::Value(value) = &wish.value else { continue };
        let kind = mapping.kinds().get(field).copied().unwrap_or_else(|| value.kind());
        let stored = held.value(*field).and_then(|stored| canonical_current(kind, stored));
        if stored.as_deref() != Some(value.canonical().as_str()) {
            return Some(Difference::Field(field.to_string()));
        }
    }
    let emails: Vec<String> = held.emails.iter().flatten().map(|email| canonical_email(&email.address)).collect();
    let phones: Vec<String> =
        held.phones.iter().flatten().map(|number| phone::canonical(&number.number, home)).collect();
    for email in wished.emails.items() {
        match emails.iter().filter(|stored| **stored == email.canonical()).count() {
            0 => return Some(Difference::Field(String::from("emails"))),
            1 => {}
            _ => return Some(Difference::Twice),
        }
    }
    for number in wished.phones.items() {
        let canonical = phone::canonical(&number.number, home);
        match phones.iter().filter(|stored| **stored == canonical).count() {
            0 => return Some(Difference::Field(String::from("phones"))),
            1 => {}
            _ => return Some(Difference::Twice),
        }
    }
    None
}

/// One record of the dump.
fn record(row: &Value) -> Option<TargetContact> {
    let custom = row["cz_cols"]
        .as_object()
        .map(|columns| columns.iter().filter_map(|(id, value)| Some((id.parse().ok()?, value.clone()))).collect());
    let standard =
        FieldKey::STANDARD.into_iter().filter_map(|key| Some((key, row.get(key.standard_name()?)?.clone()))).collect();
    let emails = row["emails"].as_array().into_iter().flatten();
    let phones = row["phones"].as_array().into_iter().flatten();
    Some(TargetContact {
        id: FirstLineId(row["id"].as_i64()?),
        profile_id: row["profile_id"].as_i64(),
        standard,
        custom,
        custom_unreadable: false,
        emails: Some(
            emails
                .filter_map(|email| {
                    let (id, address) = (email["id"].as_i64()?, email["address"].as_str()?.to_owned());
                    Some(TargetEmail { id: ChildId(id), address, contact: None })
                })
                .collect(),
        ),
        phones: Some(
            phones
                .filter_map(|phone| {
                    let (id, number) = (phone["id"].as_i64()?, phone["number"].as_str()?.to_owned());
                    Some(TargetPhone { id: ChildId(id), number, kind: None, contact: None, profile_id: None })
                })
                .collect(),
        ),
        tag_ids: None,
        company_ids: None,
    })
}
