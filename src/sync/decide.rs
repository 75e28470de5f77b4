//! Decide: a pure, three-way comparison of (desired, base, current, owner) per field and per child.
//!
//! Nothing here sends anything. What comes out is the smallest write that the owners allow, and the base that
//! holds once it was applied (design, section 4, Decide).

mod children;
pub mod lists;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::base::{Base, BaseField, WishDigests, value_digest};
use crate::domain::field::FieldKind;
use crate::domain::hash::{Digest, HashKey};
use crate::domain::record::{
    Desired, DesiredField, DesiredRecord, FieldKey, FieldValue, Owner, canonical_choice, canonical_current,
};
use crate::domain::target::{TargetContact, WriteValue};

pub use children::{ChildDecision, CurrentChild, children};

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
    /// Fields that the record does not show, and that their owner lets be written only where they are known to be blank.
    pub not_shown: Vec<FieldKey>,
    /// Of every field that is written, or that differs and is not: who decided, and why so.
    pub grounds: BTreeMap<FieldKey, Ground>,
}

/// Who decided about a field, and why so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ground {
    /// Whose word it is.
    pub owner: Owner,
    /// Why it is written, or left.
    pub why: Why,
}

/// Why a field is written, or left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The record is new.
    New,
    /// It is the stamp.
    Stamp,
    /// The source changed it.
    Changed,
    /// Both sides changed it.
    BothChanged,
    /// The target held nothing.
    Filled,
    /// Its owner was named since it was last settled, or nobody knows who wrote what is there.
    Claimed,
    /// The target's value was edited, and the source has not changed.
    Edited,
    /// Its owner leaves it as it is.
    Owned,
    /// The source emptied it, and nothing is to be cleared.
    NotCleared,
    /// The record does not show it.
    NotShown,
    /// What the source holds could not be looked at or converted in this run.
    Unknown,
    /// Its definition has drifted: nothing is written to it.
    Stopped,
    /// The contact is gone from the source.
    Gone,
    /// The contact is back at the source.
    Back,
    /// A trial of an update that did not end took it away.
    Lost,
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

/// What a record holds for one field, as every comparison sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its canonical text; `None` when it holds nothing.
    pub canonical: Option<String>,
    /// The digest of that.
    pub digest: Digest,
}

impl Held {
    /// What stands in an answer for a field of this kind.
    pub fn of(key: &HashKey, kind: FieldKind, answered: &Value) -> Self {
        let canonical = canonical_current(kind, answered);
        let digest = value_digest(key, canonical.as_deref());
        Self { canonical, digest }
    }
}

/// The fields of a create: every value that is known, whoever owns it afterwards; and their base.
pub fn creation(record: &DesiredRecord, digests: &WishDigests) -> FieldDecision {
    let mut decision = FieldDecision::default();
    for (field, wished) in &record.fields {
        let stand_in = || digests.stand_ins.get(field);
        let Some(&desired) = digests.fields.get(field).or_else(stand_in) else { continue };
        if let Desired::Value(value) = &wished.value {
            decision.write.insert(*field, WriteValue::Typed(value.clone()));
        }
        decision.base.fields.insert(*field, BaseField { desired, target: desired });
    }
    decision
}

/// What an update of fields goes by, beside the values.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Who made the record.
    pub authorship: Authorship,
    /// How fields are compared.
    pub kinds: &'a Kinds,
    /// Key of all digests.
    pub key: &'a HashKey,
    /// Whether a value that the source emptied is cleared at the target at all (`clear_form`).
    pub clears: bool,
}

/// One field as both sides hold it, and as they held it when it was last settled.
#[derive(Clone, Copy)]
struct Sides {
    desired: Digest,
    target: Digest,
    /// The target holds nothing.
    blank: bool,
    before: Option<BaseField>,
}

impl Sides {
    /// Both changed since the base, and not to the same value.
    fn both_changed(&self) -> bool {
        let changed = |before: BaseField| before.desired != self.desired && before.target != self.target;
        self.desired != self.target && self.before.is_some_and(changed)
    }
}

/// What became of a write of which nobody knows whether it arrived: where the record holds what was sent, it did. What the
/// record does not show stays open.
pub fn arrived(mut base: Base, current: &TargetContact, rules: Rules<'_>) -> Base {
    for (field, entry) in std::mem::take(&mut base.sent) {
        let held = current
            .value(field)
            .map(|held| value_digest(rules.key, canonical_current(kind_of(rules.kinds, field), held).as_deref()));
        match held {
            None => drop(base.sent.insert(field, entry)),
            Some(held) if held == entry.target => drop(base.fields.insert(field, entry)),
            Some(_) => {}
        }
    }
    base
}

/// The fields of an update. `base` is what was last settled, if anything was.
pub fn update(
    record: &DesiredRecord,
    digests: &WishDigests,
    base: Option<&Base>,
    current: &TargetContact,
    rules: Rules<'_>,
) -> FieldDecision {
    let mut decision = FieldDecision { base: base.cloned().unwrap_or_default(), ..FieldDecision::default() };
    for (field, wished) in &record.fields {
        // Unknown in this run: neither compared nor written, and its base stays.
        let Some(&desired) = digests.fields.get(field) else { continue };
        let kind = kind_of(rules.kinds, *field);
        let before = decision.base.fields.get(field).copied();
        let Some(held) = current.value(*field) else {
            // Something else may stand there by now than what is wished again.
            let sent = decision.base.sent.get(field).copied().filter(|sent| sent.desired != desired);
            let before = sent.filter(|_| before.is_none_or(|before| before.desired == desired)).or(before);
            let owner = owner(wished, before, rules);
            match blind(wished, desired, before, rules) {
                Blind::Nothing => {}
                Blind::NotShown => {
                    decision.not_shown.push(*field);
                    decision.grounds.insert(*field, Ground { owner, why: Why::NotShown });
                }
                Blind::Write => {
                    decision.grounds.insert(*field, Ground { owner, why: Why::Changed });
                    let value = known(&wished.value);
                    decision.write.insert(*field, value.map_or(WriteValue::Clear, WriteValue::Typed));
                    decision.base.sent.remove(field);
                    decision.base.fields.insert(*field, BaseField { desired, target: desired });
                }
            }
            continue;
        };
        let Held { canonical: stored, digest: target } = Held::of(rules.key, kind, held);
        let sides = Sides { desired, target, blank: stored.is_none(), before };
        let united = united(wished, kind, held);
        let adds_nothing = united.as_ref().is_some_and(|all| Some(all.canonical()) == stored);
        let mut both = sides.both_changed();
        let verdict = verdict(wished, &sides, adds_nothing, rules);
        if let Some(why) = why(&verdict, &sides) {
            decision.grounds.insert(*field, Ground { owner: owner(wished, before, rules), why });
        }
        let settled = match verdict {
            FieldVerdict::Equal => BaseField { desired, target: desired },
            FieldVerdict::Keep => {
                decision.kept.push(*field);
                // The source's wish is noted, the target's state is not: a later change is still seen as both.
                before.unwrap_or(BaseField { desired, target })
            }
            FieldVerdict::Leave => BaseField { desired, target },
            FieldVerdict::NotCleared => {
                decision.kept.push(*field);
                BaseField { desired, target }
            }
            FieldVerdict::Write => {
                // Without a base nobody knows who wrote what is overwritten; and where an owner was named since, what an
                // earlier one let stand goes.
                both |= !sides.blank && before.is_none_or(|before| before.desired == desired);
                let target = united.as_ref().map_or(desired, |all| value_digest(rules.key, Some(&all.canonical())));
                let value = united.or_else(|| known(&wished.value));
                decision.write.insert(*field, value.map_or(WriteValue::Clear, WriteValue::Typed));
                BaseField { desired, target }
            }
        };
        if both {
            decision.both_changed.push(*field);
        }
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
    /// The source emptied it, and the operator wants nothing cleared.
    NotCleared,
    /// The source's value is written.
    Write,
}

/// Why a field ends as it does; nothing is to be told where both sides hold the same.
fn why(verdict: &FieldVerdict, sides: &Sides) -> Option<Why> {
    let same_wish = sides.before.is_some_and(|before| before.desired == sides.desired);
    let edited = sides.before.is_some_and(|before| before.target != sides.target);
    Some(match verdict {
        FieldVerdict::Equal => return None,
        FieldVerdict::Keep | FieldVerdict::Leave if edited && same_wish => Why::Edited,
        FieldVerdict::Keep | FieldVerdict::Leave => Why::Owned,
        FieldVerdict::NotCleared => Why::NotCleared,
        FieldVerdict::Write if sides.both_changed() => Why::BothChanged,
        FieldVerdict::Write if sides.before.is_none() && sides.blank => Why::Filled,
        FieldVerdict::Write if sides.before.is_some() && !same_wish => Why::Changed,
        FieldVerdict::Write => Why::Claimed,
    })
}

/// What is done about a field of which the record does not say what it holds.
enum Blind {
    Nothing,
    NotShown,
    Write,
}

/// Only the source's own change may go over what cannot be seen: it would be written whatever stands there.
fn blind(wished: &DesiredField, desired: Digest, before: Option<BaseField>, rules: Rules<'_>) -> Blind {
    let empty = wished.value == Desired::Empty;
    match (owner(wished, before, rules), before) {
        (_, Some(before)) if before.desired == desired => Blind::Nothing,
        (Owner::Target, _) => Blind::Nothing,
        (Owner::Source, Some(_)) if !empty || rules.clears => Blind::Write,
        (Owner::Source, None) if !empty => Blind::Write,
        (_, _) if empty => Blind::Nothing,
        (_, _) => Blind::NotShown,
    }
}

/// Who decides about a field.
fn owner(wished: &DesiredField, before: Option<BaseField>, rules: Rules<'_>) -> Owner {
    match (wished.owner, rules.authorship, before) {
        (Some(owner), _, _) => owner,
        // Without a base nobody knows who changed the field: an agent's word is not overwritten by default.
        (None, Authorship::Ours, Some(_)) => Owner::Source,
        (None, _, _) => Owner::FillBlank,
    }
}

fn verdict(wished: &DesiredField, sides: &Sides, adds_nothing: bool, rules: Rules<'_>) -> FieldVerdict {
    let Sides { desired, target, blank, before } = *sides;
    if desired == target {
        return FieldVerdict::Equal;
    }
    let empty = wished.value == Desired::Empty;
    let owner = owner(wished, before, rules);
    // The source has not changed it and the target has: an agent emptied it.
    let emptied = blank && before.is_some_and(|before| before.desired == desired && before.target != target);
    match owner {
        Owner::FillBlank if emptied => FieldVerdict::Keep,
        Owner::FillBlank if blank && !empty => FieldVerdict::Write,
        Owner::FillBlank | Owner::Target => FieldVerdict::Leave,
        Owner::Union if empty || adds_nothing => FieldVerdict::Leave,
        Owner::Source | Owner::Union => match before {
            // Neither has changed it: an earlier owner left them apart. One that the mapping names now decides anew.
            Some(before) if before.desired == desired && before.target == target => {
                if wished.owner.is_some() && !empty { FieldVerdict::Write } else { FieldVerdict::Keep }
            }
            Some(before) if before.desired == desired => FieldVerdict::Keep,
            // Clearing needs proof that the value was ours.
            None if empty => FieldVerdict::Leave,
            Some(_) if empty && !rules.clears => FieldVerdict::NotCleared,
            Some(_) | None => FieldVerdict::Write,
        },
    }
}

/// What a union writes: what is there, and what is wished beside it.
fn united(wished: &DesiredField, kind: FieldKind, current: &Value) -> Option<FieldValue> {
    let (Desired::Value(FieldValue::Choices(values)), Some(Owner::Union)) = (&wished.value, wished.owner) else {
        return None;
    };
    let mut all = current_choices(kind, current);
    for value in values {
        if !all.iter().any(|held| canonical_choice(held) == canonical_choice(value)) {
            all.push(value.clone());
        }
    }
    Some(FieldValue::Choices(all))
}

fn known(wished: &Desired<FieldValue>) -> Option<FieldValue> {
    match wished {
        Desired::Value(value) => Some(value.clone()),
        Desired::Empty | Desired::Unknown => None,
    }
}

/// The options that a record holds.
pub(super) fn current_choices(kind: FieldKind, current: &Value) -> Vec<Value> {
    match current {
        Value::Array(values) => values.clone(),
        other => canonical_current(kind, other).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
