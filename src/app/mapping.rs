//! The mapping file, compiled against the tenant: every problem of it at once, with file and line.

use super::deletes;
use crate::config::mapping_file::MappingSource;
use crate::config::settings::Settings;
use crate::config::{Problem, Problems};
use crate::domain::field::{FieldDefinition, FieldKind};
use crate::mapping::compile::compile;
use crate::mapping::spec::MappingSpec;
use crate::mapping::{CompileContext, Mapping, MappingProblem, StampFields};

/// Compiles the mapping; without definitions, what depends on them is not checked.
pub fn compile_mapping(
    settings: &Settings,
    source: &MappingSource,
    definitions: Option<&[FieldDefinition]>,
) -> Result<Mapping, Problems> {
    compile_with(settings, source, &source.parse()?, definitions)
}

pub(super) fn compile_with(
    settings: &Settings,
    source: &MappingSource,
    spec: &MappingSpec,
    definitions: Option<&[FieldDefinition]>,
) -> Result<Mapping, Problems> {
    let mut problems: Vec<Problem> = Vec::new();
    if let Some(definitions) = definitions {
        problems.extend(stamp_problem(settings, definitions));
        problems.extend(deletes::field_problem(settings, definitions));
    }
    match compile(spec, &compile_context(settings, definitions)) {
        Ok(mapping) => {
            problems.extend(settings.inboxes_problem(mapping.needs_inboxes()));
            problems.extend(deletes::mapped_problem(settings, &mapping));
            if problems.is_empty() { Ok(mapping) } else { Err(Problems(problems)) }
        }
        Err(found) => {
            problems.extend(found.into_iter().map(|problem| {
                let place = problem.place.clone();
                placed(source, &place, problem)
            }));
            Err(Problems(problems))
        }
    }
}

/// What a mapping is compiled against.
pub fn compile_context<'a>(settings: &Settings, definitions: Option<&'a [FieldDefinition]>) -> CompileContext<'a> {
    let stamp = &settings.identity.stamp;
    CompileContext {
        definitions,
        stamp: StampFields { membership_no: stamp.membership_no.is_some(), cz_col: stamp.cz_col },
        time_zone: settings.firstline.time_zone.clone(),
        phone_country: settings.identity.phone_country,
    }
}

/// The compiler's complaint with file and line; `place` is where in the file it stands.
pub fn placed(source: &MappingSource, place: &str, problem: MappingProblem) -> Problem {
    let message = match problem.column {
        Some(column) => format!("{} (column {column})", problem.message),
        None => problem.message,
    };
    source.problem(place, message, problem.help.unwrap_or_default())
}

/// The stamp's own field must exist and be a text.
pub fn stamp_problem(settings: &Settings, definitions: &[FieldDefinition]) -> Option<Problem> {
    let id = settings.identity.stamp.cz_col?;
    let (message, remedy) = match definitions.iter().find(|definition| definition.id == id) {
        Some(definition) if definition.kind == FieldKind::Text => return None,
        Some(definition) => (
            format!("cz_col {id} is a {} field; the stamp needs a text field", definition.kind.as_str()),
            "make a text field for customers in FIRST LINE and name its id",
        ),
        None => (
            format!("FIRST LINE has no custom field {id} for customers"),
            "`deskferry fields` lists the ids; make a text field for the stamp, or use membership_no",
        ),
    };
    Some(Problem {
        file: settings.file.clone(),
        line: None,
        key: String::from("identity.stamp.cz_col"),
        message,
        remedy: remedy.to_owned(),
    })
}
