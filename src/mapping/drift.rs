//! The drift gate: definitions of FIRST LINE that are not what they were when the mapping last used them.
//!
//! A field that was right in the last run and whose definition was renamed, retyped or removed since, or lost an option in
//! use, stops; the run goes on without it. What was never right is no drift: the compiler refuses it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::convert::{Converted, convert, option, plain};
use super::expression::Compiled;
use super::filters::Settings;
use super::spec::{CzColSpec, MappingSpec};
use super::target::{Target, TargetKind, called, full_name};
use crate::domain::field::{FieldDefinition, FieldKind};
use crate::domain::record::{Desired, FieldKey, canonical_choice};

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
    /// The mapping file, its stopped lines by the ids of their fields: their names may mean nothing any more, or two fields.
    pub spec: MappingSpec,
    /// The present definitions, but those of stopped fields as the lines were written for them.
    pub definitions: Vec<FieldDefinition>,
    /// What the state keeps for the next run: stopped fields as they were, and none that has taken the name of one.
    pub kept: Vec<FieldDefinition>,
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
    let mut gate = Gate { spec: spec.clone(), definitions: now.to_vec(), kept: now.to_vec(), drifts: Vec::new() };
    for (at, line) in spec.cz_cols.iter().enumerate() {
        let (was, is) = (meant(line, at, &known.definitions), meant(line, at, now));
        // A line that was written for the new name is right; what else changed in its field is still a difference.
        let Some(before) = known.definitions.iter().find(|before| Some(before.id) == was.or(is)) else { continue };
        if !known.in_use.contains(&before.id) || gate.drifts.iter().any(|drift| drift.field == before.id) {
            continue;
        }
        let present = now.iter().find(|now| now.id == before.id);
        let Some(change) = difference(line, before, present, is, now, written) else { continue };
        let namesakes: Vec<i64> =
            line.field.iter().flat_map(|name| called(name, now)).map(|definition| definition.id).collect();
        gate.kept.retain(|kept| kept.id != before.id && !namesakes.contains(&kept.id));
        gate.kept.push(before.clone());
        gate.definitions.retain(|definition| definition.id != before.id);
        gate.definitions.push(present.filter(|now| is_for(line, before, now)).unwrap_or(before).clone());
        if let Some(line) = gate.spec.cz_cols.get_mut(at) {
            (line.field, line.id) = (None, Some(before.id));
        }
        gate.drifts.push(Drift {
            field: before.id,
            place: format!("cz_cols[{at}]"),
            difference: format!("cz_col {} ({}) {change}", before.id, full_name(before)),
        });
    }
    gate.definitions.sort_by_key(|definition| definition.id);
    gate.kept.sort_by_key(|definition| definition.id);
    gate
}

/// Whether the words of a stopped line are those of the field as it is now, and not as it was.
fn is_for(line: &CzColSpec, before: &FieldDefinition, now: &FieldDefinition) -> bool {
    let known = |field| meanings(line, field).iter().all(|(_, meaning)| meaning.is_some());
    now.kind == before.kind && !known(before) && known(now)
}

fn difference(
    line: &CzColSpec,
    before: &FieldDefinition,
    now: Option<&FieldDefinition>,
    means: Option<i64>,
    all: &[FieldDefinition],
    written: &[(i64, Value)],
) -> Option<String> {
    let Some(now) = now else { return Some(String::from("is gone")) };
    if now.kind != before.kind {
        return Some(format!("was a {} and is a {} now", before.kind.as_str(), now.kind.as_str()));
    }
    if let Some(name) = &line.field {
        let namesakes = called(name, all);
        let twin = namesakes.iter().find(|other| other.id != now.id);
        match (means, twin) {
            (Some(other), _) if other != before.id => return Some(format!("has given its name to cz_col {other}")),
            (Some(_), _) => {}
            (None, Some(twin)) if namesakes.iter().any(|known| known.id == now.id) => {
                return Some(format!(
                    "shares its name with cz_col {} now; give the `id` of the one that is meant",
                    twin.id
                ));
            }
            (None, _) => return Some(format!("is called {} now", full_name(now))),
        }
    } else if full_name(now) != full_name(before) {
        return Some(format!("is called {} now", full_name(now)));
    }
    let (meant, means) = (meanings(line, before), meanings(line, now));
    // A set is kept as one digest, so that nobody can say which of its options are in use: each may be.
    let in_use = |option: &&Value| {
        now.kind == FieldKind::MultipleChoice
            || meant.iter().any(|(_, meaning)| *meaning == Some(canonical_choice(option)))
            || written.iter().any(|(id, value)| *id == before.id && value == *option)
    };
    let lost: Vec<String> = lost(before, now).into_iter().filter(in_use).map(canonical_choice).collect();
    if !lost.is_empty() {
        return Some(format!("has lost the option {}, which is in use", lost.join(", ")));
    }
    let mut words = meant.iter().zip(&means).filter(|((_, was), (_, is))| was.is_some() && was != is);
    words.next().map(|((word, _), (_, is))| match is {
        Some(_) => format!("means another option by `{word}` now"),
        None => format!("has no option that is called `{word}` any more"),
    })
}

/// The line's own words, and the option that each means in this field: those of its translation, and its value where
/// that is the same for everybody.
fn meanings(line: &CzColSpec, field: &FieldDefinition) -> Vec<(String, Option<String>)> {
    if !matches!(field.kind, FieldKind::SingleChoice | FieldKind::MultipleChoice) {
        return Vec::new();
    }
    let words = line.options.values().filter(|value| !(value.is_array() || value.is_object() || value.is_null()));
    let mut meanings: Vec<(String, Option<String>)> = words
        .map(plain)
        .map(|word| {
            let meaning = option(&word, &field.options).ok().map(|option| canonical_choice(&option));
            (word, meaning)
        })
        .collect();
    let settings = Arc::new(Settings::default());
    if let Some(Ok(value)) = Compiled::new(&line.value, &settings).ok().and_then(|value| value.constant(&settings)) {
        let kind = TargetKind::Custom(field.kind, field.options.clone());
        let meaning = match convert(&value, &kind, &line.options, &settings) {
            Ok(Converted { value: Desired::Value(value), .. }) => Some(value.canonical()),
            _ => None,
        };
        meanings.push((line.value.trim().to_owned(), meaning));
    }
    meanings
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
