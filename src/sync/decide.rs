//! Decide: a pure, three-way comparison of (desired, base, current, owner) per field and per child.
//!
//! Nothing here sends anything. What comes out is the smallest write that the owners allow, and the base that
//! holds once it was applied (design, section 4, Decide).

pub mod lists;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::base::{Base, BaseField, WishDigests, value_digest};
use crate::domain::field::FieldKind;
use crate::domain::hash::{Digest, HashKey};
use crate::domain::ids::ChildId;
use crate::domain::record::{Desired, DesiredField, DesiredRecord, FieldKey, FieldValue, Owner, canonical_current};
use crate::domain::target::{TargetContact, WriteValue};

/// Who made the record that a contact is linked to; it decides the default owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorship {
    /// This program created it: LiveDesk owns what it wrote.
    Ours,
    /// It was there before (adopted, or found again by its stamp without a base): only blanks are filled.
    Theirs,
}

/// What is to be written to the fields of one record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldDecision {
    /// The fields to send.
    pub write: BTreeMap<FieldKey, WriteValue>,
    /// The base that holds once `write` was applied.
    pub base: Base,
    /// Fields that both sides changed since the base, whatever their owner decided.
    pub both_changed: Vec<FieldKey>,
    /// Fields that differ and stay as they are at the target, because their owner says so.
    pub kept: Vec<FieldKey>,
}

/// The kind of every field that a mapping writes.
pub type Kinds = BTreeMap<FieldKey, FieldKind>;

/// The kind under which a field is compared.
pub fn kind_of(kinds: &Kinds, field: FieldKey) -> FieldKind {
    kinds.get(&field).copied().unwrap_or(match field {
        FieldKey::BirthAt => FieldKind::Date,
        FieldKey::Gender => FieldKind::Number,
        _ => FieldKind::Text,
    })
}

/// The fields of a create: every value that is known, whoever owns it afterwards; and their base.
pub fn creation(record: &DesiredRecord, digests: &WishDigests) -> FieldDecision {
    let mut decision = FieldDecision::default();
    for (field, wished) in &record.fields {
        let Some(&desired) = digests.fields.get(field) else { continue };
        if let Desired::Value(value) = &wished.value {
            decision.write.insert(*field, WriteValue::Typed(value.clone()));
        }
        decision.base.fields.insert(*field, BaseField { desired, target: desired });
    }
    decision
}

/// The fields of an update. `base` is what was last settled, if anything was.
pub fn update(
    record: &DesiredRecord,
    digests: &WishDigests,
    base: Option<&Base>,
    current: &TargetContact,
    authorship: Authorship,
    kinds: &Kinds,
    key: &HashKey,
) -> FieldDecision {
    let mut decision = FieldDecision { base: base.cloned().unwrap_or_default(), ..FieldDecision::default() };
    for (field, wished) in &record.fields {
        let Some(&desired) = digests.fields.get(field) else { continue };
        let kind = kind_of(kinds, *field);
        let stored = current.value(*field).and_then(|value| canonical_current(kind, value));
        let target = value_digest(key, stored.as_deref());
        let before = decision.base.fields.get(field).copied();
        let settled = match verdict(wished, desired, target, stored.is_none(), before, authorship) {
            FieldVerdict::Equal => BaseField { desired, target: desired },
            FieldVerdict::Keep => {
                decision.kept.push(*field);
                // The source's wish is noted, the target's state is not: a later change is still seen as both.
                before.unwrap_or(BaseField { desired, target })
            }
            FieldVerdict::Leave => BaseField { desired, target },
            FieldVerdict::Write { both } => {
                if both {
                    decision.both_changed.push(*field);
                }
                decision.write.insert(*field, write_value(&wished.value, wished.owner, kind, current.value(*field)));
                BaseField { desired, target: desired }
            }
        };
        decision.base.fields.insert(*field, settled);
    }
    decision
}

enum FieldVerdict {
    /// Both sides hold the same.
    Equal,
    /// They differ, and the source has not changed: the agent's value stays, base untouched.
    Keep,
    /// They differ, and the owner leaves the target as it is; the wish is noted as seen.
    Leave,
    /// The source's value is written.
    Write { both: bool },
}

fn verdict(
    wished: &DesiredField,
    desired: Digest,
    target: Digest,
    blank: bool,
    before: Option<BaseField>,
    authorship: Authorship,
) -> FieldVerdict {
    if desired == target {
        return FieldVerdict::Equal;
    }
    let empty = wished.value == Desired::Empty;
    let owner = match (wished.owner, authorship, before) {
        (Some(owner), _, _) => owner,
        // Without a base nobody knows who changed the field: an agent's word is not overwritten by default.
        (None, Authorship::Ours, Some(_)) => Owner::Source,
        (None, _, _) => Owner::FillBlank,
    };
    // The source has not changed it and the target has: an agent emptied it.
    let emptied = blank && before.is_some_and(|before| before.desired == desired && before.target != target);
    match owner {
        Owner::FillBlank if emptied => FieldVerdict::Keep,
        Owner::FillBlank if blank && !empty => FieldVerdict::Write { both: false },
        Owner::FillBlank | Owner::Target => FieldVerdict::Leave,
        Owner::Union if empty => FieldVerdict::Leave,
        Owner::Source | Owner::Union => match before {
            Some(before) if before.desired == desired => FieldVerdict::Keep,
            Some(before) => FieldVerdict::Write { both: before.target != target },
            // Clearing needs proof that the value was ours.
            None if empty => FieldVerdict::Leave,
            None => FieldVerdict::Write { both: !blank },
        },
    }
}

fn write_value(
    wished: &Desired<FieldValue>,
    owner: Option<Owner>,
    kind: FieldKind,
    current: Option<&Value>,
) -> WriteValue {
    match wished {
        Desired::Value(FieldValue::Choices(values)) if owner == Some(Owner::Union) => {
            let mut all = current_choices(kind, current);
            for value in values {
                if !all.contains(value) {
                    all.push(value.clone());
                }
            }
            WriteValue::Typed(FieldValue::Choices(all))
        }
        Desired::Value(value) => WriteValue::Typed(value.clone()),
        Desired::Empty | Desired::Unknown => WriteValue::Clear,
    }
}

fn current_choices(kind: FieldKind, current: Option<&Value>) -> Vec<Value> {
    match current {
        Some(Value::Array(values)) => values.clone(),
        Some(other) => {
            canonical_current(kind, other).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
        }
        None => Vec::new(),
    }
}

/// What is to be done with one list of children (e-mails or phones).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChildDecision {
    /// Wished children (by their place in the wished list) that the contact does not have.
    pub add: Vec<usize>,
    /// A child of ours whose value is no longer wished, and the wished one that takes its place.
    pub change: Vec<(ChildId, usize)>,
    /// Wished children that are there already, with their ids.
    pub present: Vec<(ChildId, usize)>,
}

/// A child as it stands at the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentChild {
    /// Its id.
    pub id: ChildId,
    /// Digest of its canonical value.
    pub key: Digest,
}

/// Compares children by the digests of their canonical values.
///
/// `ours` are the children that this program made on this contact (value digest and id); one of them that is
/// still there with its value unchanged, and no longer wished, is changed to a wished one that is missing.
/// Nothing is ever removed here, and a child that somebody else made or edited is left alone. One of ours that is
/// not there any more was removed or edited by somebody: it is not made again.
pub fn children(
    wished: &[Digest],
    current: &[CurrentChild],
    ours: &[(Digest, ChildId)],
    owner: Owner,
) -> ChildDecision {
    let mut decision = ChildDecision::default();
    if owner == Owner::Target || (owner == Owner::FillBlank && !current.is_empty()) {
        for (place, key) in wished.iter().enumerate() {
            if let Some(child) = current.iter().find(|child| child.key == *key) {
                decision.present.push((child.id, place));
            }
        }
        return decision;
    }
    let mut free: Vec<ChildId> = current
        .iter()
        .filter(|child| owner == Owner::Source && !wished.contains(&child.key))
        .filter(|child| ours.iter().any(|(key, id)| *id == child.id && *key == child.key))
        .map(|child| child.id)
        .collect();
    for (place, key) in wished.iter().enumerate() {
        match current.iter().find(|child| child.key == *key) {
            Some(child) => decision.present.push((child.id, place)),
            None if ours.iter().any(|(made, _)| made == key) => {}
            None => match free.pop() {
                Some(child) => decision.change.push((child, place)),
                None => decision.add.push(place),
            },
        }
    }
    decision
}

#[cfg(test)]
mod tests;
