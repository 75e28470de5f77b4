//! The drift gate: definitions of FIRST LINE that are not what they were when the mapping last used them.
//!
//! A field that was right in the last run and whose definition was renamed, retyped or removed since, or lost an option in
//! use, stops; the run goes on without it. What was never right is no drift: the compiler refuses it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::spec::{CzColSpec, MappingSpec};
use super::target::{Target, full_name};
use crate::domain::field::{FieldDefinition, FieldKind};
use crate::domain::record::{FieldKey, canonical_choice};

/// What the state knows of the last run.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The definitions as they were.
    pub definitions: Vec<FieldDefinition>,
    /// Ids of the fields that the mapping wrote then.
    pub in_use: BTreeSet<i64>,
}

/// A field that stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Its id.
    pub field: i64,
    /// The line of the mapping that writes it: `cz_cols[2]`.
    pub place: String,
    /// The field and the difference, in words.
    pub difference: String,
}

/// What a mapping is compiled against, and which of its fields stop.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// The present definitions, but those of stopped fields as they were: what the state keeps, too.
    pub definitions: Vec<FieldDefinition>,
    /// What stops.
    pub drifts: Vec<Drift>,
}

impl Gate {
    /// The stopped fields, with the difference of each.
    pub fn stopped(&self) -> BTreeMap<FieldKey, String> {
        self.drifts.iter().map(|drift| (FieldKey::Custom(drift.field), drift.difference.clone())).collect()
    }
}

/// Options of single choices that are gone: whether one was ever written is for the state to say.
pub fn lost_options(now: &[FieldDefinition], known: &Known) -> Vec<(i64, Value)> {
    let used = known.definitions.iter().filter(|before| known.in_use.contains(&before.id));
    let pairs = used.filter_map(|before| now.iter().find(|now| now.id == before.id).map(|now| (before, now)));
    let single = pairs.filter(|(before, _)| before.kind == FieldKind::SingleChoice);
    single.flat_map(|(before, now)| lost(before, now).into_iter().map(|option| (before.id, option.clone()))).collect()
}

/// Compares `now` with what the last run knew. `written` are the lost options that are on records of ours.
pub fn gate(spec: &MappingSpec, now: &[FieldDefinition], known: &Known, written: &[(i64, Value)]) -> Gate {
    let mut gate = Gate { definitions: now.to_vec(), drifts: Vec::new() };
    for (at, line) in spec.cz_cols.iter().enumerate() {
        let (was, is) = (meant(line, at, &known.definitions), meant(line, at, now));
        // A line that was written for the new name is right; what else changed in its field is still a difference.
        let Some(before) = known.definitions.iter().find(|before| Some(before.id) == was.or(is)) else { continue };
        if !known.in_use.contains(&before.id) || gate.drifts.iter().any(|drift| drift.field == before.id) {
            continue;
        }
        let present = now.iter().find(|now| now.id == before.id);
        let Some(change) = difference(line, before, present, is, written) else { continue };
        gate.definitions.retain(|definition| definition.id != before.id && Some(definition.id) != is);
        gate.definitions.push(before.clone());
        gate.drifts.push(Drift {
            field: before.id,
            place: format!("cz_cols[{at}]"),
            difference: format!("cz_col {} ({}) {change}", before.id, full_name(before)),
        });
    }
    gate.definitions.sort_by_key(|definition| definition.id);
    gate
}

fn difference(
    line: &CzColSpec,
    before: &FieldDefinition,
    now: Option<&FieldDefinition>,
    means: Option<i64>,
    written: &[(i64, Value)],
) -> Option<String> {
    let Some(now) = now else { return Some(String::from("is gone")) };
    if now.kind != before.kind {
        return Some(format!("was a {} and is a {} now", before.kind.as_str(), now.kind.as_str()));
    }
    if line.field.is_some() {
        match means {
            Some(other) if other != before.id => return Some(format!("has given its name to cz_col {other}")),
            Some(_) => {}
            None => return Some(format!("is called {} now", full_name(now))),
        }
    } else if full_name(now) != full_name(before) {
        return Some(format!("is called {} now", full_name(now)));
    }
    let translated = |option: &Value| {
        let text = before.options.iter().find(|known| known.value == *option).map(|known| known.text.as_str());
        line.options.values().any(|word| canonical_choice(word) == canonical_choice(option) || word.as_str() == text)
    };
    // A set is kept as one digest, so that nobody can say which of its options are in use: each may be.
    let in_use = |option: &&Value| {
        now.kind == FieldKind::MultipleChoice
            || translated(option)
            || written.iter().any(|(id, value)| *id == before.id && value == *option)
    };
    let lost: Vec<String> = lost(before, now).into_iter().filter(in_use).map(canonical_choice).collect();
    (!lost.is_empty()).then(|| format!("has lost the option {}, which is in use", lost.join(", ")))
}

fn lost<'a>(before: &'a FieldDefinition, now: &FieldDefinition) -> Vec<&'a Value> {
    let there = |option: &Value| now.options.iter().any(|now| canonical_choice(&now.value) == canonical_choice(option));
    before.options.iter().map(|option| &option.value).filter(|option| !there(option)).collect()
}

/// The field that a line means among these.
fn meant(line: &CzColSpec, at: usize, definitions: &[FieldDefinition]) -> Option<i64> {
    match Target::custom(line, at, Some(definitions)).ok()?.key {
        FieldKey::Custom(id) => Some(id),
        _ => None,
    }
}
