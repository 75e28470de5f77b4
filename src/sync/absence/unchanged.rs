//! Whether a record is exactly as this program left it: the question before a deletion. Pure.
//!
//! Every field, child and tag that FIRST LINE shows is held against what was last settled. Whatever cannot be compared
//! counts as changed. What it never shows (conversations, channel identities; often companies and owners) cannot be held
//! against anything: that is what the operator has to understand before deletions are allowed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::domain::base::{Base, TagBase, value_digest};
use crate::domain::hash::{Digest, HashKey};
use crate::domain::ids::ChildId;
use crate::domain::record::{FieldKey, canonical_current};
use crate::domain::target::TargetContact;
use crate::sync::decide::{Kinds, kind_of};

/// What this program knows of a record that it made.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What was last settled.
    pub base: &'a Base,
    /// The stamp, by field.
    pub stamp: &'a BTreeMap<FieldKey, String>,
    /// The e-mail rows that we made, with the digest of their value.
    pub emails: &'a BTreeSet<(ChildId, Digest)>,
    /// The phone rows that we made.
    pub phones: &'a BTreeSet<(ChildId, Digest)>,
    /// The ids of each tag that the base speaks of.
    pub tags: &'a BTreeMap<Digest, Vec<i64>>,
    /// Columns that the tenant fills in by itself when a record is made.
    pub defaults: &'a BTreeMap<i64, Value>,
    /// A tag that we put there because the contact is absent.
    pub own_tag: Option<i64>,
    /// A field that we wrote because the contact is absent, and what.
    pub own_field: Option<(FieldKey, &'a str)>,
    /// How fields are compared.
    pub kinds: &'a Kinds,
    /// Key of all digests.
    pub key: &'a HashKey,
}

/// The children of a record as they stand: ids, and the digests of their values; `None` when they could not be read.
#[derive(Clone, Debug, Default)]
pub struct Children {
    /// E-mails.
    pub emails: Option<BTreeSet<(ChildId, Digest)>>,
    /// Phones.
    pub phones: Option<BTreeSet<(ChildId, Digest)>>,
}

/// What is not as it was left: a stable word (a field, a list, or what is not shown). `None` when all of it is.
pub fn changed(record: &TargetContact, children: &Children, known: Known<'_>) -> Option<String> {
    let Some(columns) = &record.custom else { return Some(String::from("cz_cols not shown")) };
    let mut fields: BTreeSet<FieldKey> = FieldKey::STANDARD.into_iter().collect();
    fields.extend(columns.keys().map(|id| FieldKey::Custom(*id)));
    fields.extend(known.base.fields.keys());
    if let Some(field) = fields.into_iter().find(|field| !is_as_left(record, *field, known)) {
        return Some(field.to_string());
    }
    match &children.emails {
        None => return Some(String::from("emails not shown")),
        Some(held) if held != known.emails => return Some(String::from("emails")),
        Some(_) => {}
    }
    match &children.phones {
        None => return Some(String::from("phones not shown")),
        Some(held) if held != known.phones => return Some(String::from("phones")),
        Some(_) => {}
    }
    let Some(tags) = &record.tag_ids else { return Some(String::from("tags not shown")) };
    if !tags_are_as_left(tags, known) {
        return Some(String::from("tags"));
    }
    // Which company was linked is not kept, so one that is there may be an agent's.
    let companies = record.company_ids.as_ref().is_some_and(|ids| !ids.is_empty());
    companies.then(|| String::from("companies"))
}

fn is_as_left(record: &TargetContact, field: FieldKey, known: Known<'_>) -> bool {
    let kind = kind_of(known.kinds, field);
    let held = record.value(field).and_then(|value| canonical_current(kind, value));
    if let Some(stamp) = known.stamp.get(&field) {
        return held.as_deref() == Some(stamp);
    }
    if let Some(base) = known.base.fields.get(&field) {
        let held = value_digest(known.key, held.as_deref());
        // What was wished and what was there differ where an agent's word was left standing.
        return held == base.desired && held == base.target;
    }
    let Some(held) = held else { return true };
    let default = match field {
        FieldKey::Custom(id) => known.defaults.get(&id).and_then(|value| canonical_current(kind, value)),
        _ => None,
    };
    default.as_ref() == Some(&held) || known.own_field.is_some_and(|(own, text)| own == field && text == held)
}

fn tags_are_as_left(held: &[i64], known: Known<'_>) -> bool {
    let ids = |tag: &Digest| known.tags.get(tag).map_or(&[][..], Vec::as_slice);
    let ours = |state: &TagBase| matches!(state, TagBase::Ours | TagBase::Sent);
    let (made, others): (Vec<_>, Vec<_>) = known.base.tags.iter().partition(|(_, state)| ours(state));
    // One that was found there is somebody's; one that we put there and that is not there was taken off.
    let all_there = made.iter().all(|(tag, _)| ids(tag).iter().any(|id| held.contains(id)));
    let none_of_others = others.iter().all(|(_, state)| **state == TagBase::Owed);
    let explained = |id: &i64| known.own_tag == Some(*id) || made.iter().any(|(tag, _)| ids(tag).contains(id));
    all_there && none_of_others && held.iter().all(explained)
}
