//! From `[deletes]` to the engine's rules, and what is wrong with its field at this tenant.

use crate::config::Problem;
use crate::config::settings::{DeletePolicy, Deletes, Settings};
use crate::domain::field::{FieldDefinition, FieldKind};
use crate::domain::record::FieldKey;
use crate::mapping::Mapping;
use crate::sync::absence::{DeleteRules, MarkWith, Policy};

/// The engine's rules.
pub fn rules(deletes: &Deletes) -> DeleteRules {
    let policy = match (deletes.policy, &deletes.tag, deletes.field) {
        (DeletePolicy::Ignore, ..) | (DeletePolicy::Tag, None, None) => Policy::Ignore,
        (DeletePolicy::Tag, Some(tag), _) => Policy::Mark(MarkWith::Tag(tag.clone())),
        (DeletePolicy::Tag, None, Some(field)) => Policy::Mark(MarkWith::Field(field)),
        (DeletePolicy::Delete, ..) => Policy::Delete,
    };
    DeleteRules {
        policy,
        absences: deletes.absences,
        ceiling: deletes.ceiling,
        ceiling_percent: deletes.ceiling_percent,
        grace: deletes.grace,
    }
}

/// The field of the mark must exist, and hold a yes or a text.
pub fn field_problem(settings: &Settings, definitions: &[FieldDefinition]) -> Option<Problem> {
    let id = settings.deletes.field?;
    let message = match definitions.iter().find(|definition| definition.id == id).map(|definition| definition.kind) {
        Some(FieldKind::Text | FieldKind::Boolean) => return None,
        Some(kind) => format!("cz_col {id} is a {} field; the mark needs a boolean or a text field", kind.as_str()),
        None => format!("FIRST LINE has no custom field {id} for customers"),
    };
    Some(problem(settings, message, "`deskferry fields` lists the ids; make a boolean field for it, or use a tag"))
}

/// A field that the mapping writes as well would be fought over.
pub fn mapped_problem(settings: &Settings, mapping: &Mapping) -> Option<Problem> {
    let id = settings.deletes.field.filter(|id| mapping.kinds().contains_key(&FieldKey::Custom(*id)))?;
    Some(problem(settings, format!("cz_col {id} is written by the mapping"), "name a field of its own"))
}

fn problem(settings: &Settings, message: String, remedy: &str) -> Problem {
    let key = String::from("deletes.field");
    Problem { file: settings.file.clone(), line: None, key, message, remedy: remedy.to_owned() }
}
