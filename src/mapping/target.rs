//! Finds the field of FIRST LINE that a mapping line means, and says so when there is none.

use super::convert::{SHORTEST_MAX, TEXT_LENGTH};
use super::expression::nearest;
use super::spec::CzColSpec;
use crate::domain::field::{ChoiceOption, FieldDefinition, FieldKind};
use crate::domain::record::FieldKey;

/// What a value must become.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TargetKind {
    /// A short text of one line, a name: cut where it is too long.
    Line,
    /// A short text of one line that is another one when it is cut: numbers of documents and members.
    WholeLine,
    /// FIRST LINE's gender code, 0 or 1.
    Gender,
    /// A custom field of a known kind, with its options.
    Custom(FieldKind, Vec<ChoiceOption>),
    /// A custom field whose definition is not at hand (`map test` offline).
    Untyped,
}

/// One field of the target.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    /// Its key; offline, a field given by name has a negative id of no meaning.
    pub(super) key: FieldKey,
    /// How problems name it: `birth_at`, `cz_col 32`.
    pub(super) label: String,
    /// `Category / Name`, when known.
    pub(super) name: Option<String>,
    /// What a value must become.
    pub(super) kind: TargetKind,
    /// Characters that a text may have.
    pub(super) max: usize,
}

impl Target {
    /// A line of `[contact]`.
    pub(super) fn standard(name: &str) -> Result<Self, (String, Option<String>)> {
        let Some(key) = FieldKey::STANDARD.into_iter().find(|key| key.standard_name() == Some(name)) else {
            let known: Vec<&str> = FieldKey::STANDARD.into_iter().filter_map(FieldKey::standard_name).collect();
            let help = nearest(name, known.iter().copied());
            let help = help.unwrap_or_else(|| format!("the fields are {}; others are [[cz_cols]]", known.join(", ")));
            return Err((format!("FIRST LINE has no contact field `{name}`"), Some(help)));
        };
        let kind = match key {
            FieldKey::BirthAt => TargetKind::Custom(FieldKind::Date, Vec::new()),
            FieldKey::Gender => TargetKind::Gender,
            FieldKey::IdentityNo | FieldKey::MembershipNo => TargetKind::WholeLine,
            _ => TargetKind::Line,
        };
        Ok(Self { key, label: key.to_string(), name: None, kind, max: TEXT_LENGTH })
    }

    /// A `[[cz_cols]]` entry; `at` is its number in the file.
    pub(super) fn custom(
        spec: &CzColSpec,
        at: usize,
        definitions: Option<&[FieldDefinition]>,
    ) -> Result<Self, (String, Option<String>)> {
        let target = Self::named(spec, at, definitions)?;
        let Some(max) = spec.max.and_then(|max| usize::try_from(max).ok()) else { return Ok(target) };
        if !matches!(target.kind, TargetKind::Untyped | TargetKind::Custom(FieldKind::Text, _)) {
            return Err((format!("`max` is for texts, and {} is a {}", target.label, target.kind_name()), None));
        }
        if max < SHORTEST_MAX {
            let help = format!("write {SHORTEST_MAX} or more; the filter truncate_text cuts shorter, without a mark");
            return Err((format!("`max = {max}` leaves no room for the mark of a cut"), Some(help)));
        }
        Ok(Self { max, ..target })
    }

    fn named(
        spec: &CzColSpec,
        at: usize,
        definitions: Option<&[FieldDefinition]>,
    ) -> Result<Self, (String, Option<String>)> {
        match (spec.id, spec.field.as_deref(), definitions) {
            (None, None, _) => Err((String::from("the line names no custom field"), Some(String::from(NAME_IT)))),
            (Some(_), Some(_), _) => Err((
                String::from("the line names its field twice"),
                Some(String::from("give `id` or `field`, not both")),
            )),
            (Some(id), None, None) => Ok(Self::untyped(FieldKey::Custom(id), None)),
            (None, Some(name), None) => {
                let placeholder = i64::try_from(at).map_or(i64::MIN, |at| -1 - at);
                Ok(Self::untyped(FieldKey::Custom(placeholder), Some(tidy(name))))
            }
            (Some(id), None, Some(definitions)) => {
                let found = definitions.iter().find(|definition| definition.id == id).map(Self::defined);
                found.ok_or_else(|| {
                    let message = format!("FIRST LINE has no customer field with the id {id}");
                    (
                        message,
                        Some(String::from(
                            "`deskferry fields` lists them; fields of tables and tickets cannot be mapped",
                        )),
                    )
                })
            }
            (None, Some(name), Some(definitions)) => by_name(&tidy(name), definitions),
        }
    }

    fn untyped(key: FieldKey, name: Option<String>) -> Self {
        Self {
            key,
            label: name.clone().unwrap_or_else(|| key.to_string()),
            name,
            kind: TargetKind::Untyped,
            max: TEXT_LENGTH,
        }
    }

    fn defined(definition: &FieldDefinition) -> Self {
        let key = FieldKey::Custom(definition.id);
        let kind = TargetKind::Custom(definition.kind, definition.options.clone());
        Self { key, label: key.to_string(), name: Some(full_name(definition)), kind, max: TEXT_LENGTH }
    }

    /// Whether a person may mean this field by `word`.
    pub(super) fn is_called(&self, word: &str) -> bool {
        self.label == word || self.key.to_string() == word || self.name.as_deref() == Some(&tidy(word))
    }

    /// Kind in words, for people.
    pub(super) fn kind_name(&self) -> &'static str {
        match &self.kind {
            TargetKind::Line | TargetKind::WholeLine => "text",
            TargetKind::Gender => "gender (0 or 1)",
            TargetKind::Custom(kind, _) => kind.as_str(),
            TargetKind::Untyped => "unknown (no definitions at hand)",
        }
    }
}

const NAME_IT: &str = "give `id = 32` or `field = \"Category / Name\"`";

/// The fields that a person may mean by this name: as `Category / Name`, else by the name alone.
pub(super) fn called<'a>(name: &str, definitions: &'a [FieldDefinition]) -> Vec<&'a FieldDefinition> {
    let name = tidy(name);
    let full: Vec<&FieldDefinition> = definitions.iter().filter(|definition| full_name(definition) == name).collect();
    if full.is_empty() {
        definitions.iter().filter(|definition| tidy(&definition.name) == name).collect()
    } else {
        full
    }
}

fn by_name(name: &str, definitions: &[FieldDefinition]) -> Result<Target, (String, Option<String>)> {
    match called(name, definitions).as_slice() {
        [one] => Ok(Target::defined(one)),
        [] => {
            let names: Vec<String> = definitions.iter().map(full_name).collect();
            let known =
                names.iter().map(String::as_str).chain(definitions.iter().map(|definition| definition.name.as_str()));
            let help = nearest(name, known).unwrap_or_else(|| String::from("`deskferry fields` lists them"));
            Err((format!("FIRST LINE has no customer field `{name}`"), Some(help)))
        }
        several => {
            let ids: Vec<String> = several.iter().map(|one| format!("{} ({})", one.id, full_name(one))).collect();
            let help = format!("give the `id` of one of them: {}", ids.join(", "));
            Err((format!("more than one field is called `{name}`"), Some(help)))
        }
    }
}

pub(super) fn full_name(definition: &FieldDefinition) -> String {
    tidy(&format!("{} / {}", definition.category, definition.name))
}

/// White space made single, and one space on each side of a slash between category and name.
fn tidy(name: &str) -> String {
    let words = name.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.contains(" / ") {
        words
    } else {
        words.replacen('/', " / ", 1).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
