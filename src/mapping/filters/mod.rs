//! Filters of our own, on top of minijinja's. Each is shown with an example in `docs/mapping.md`.
//!
//! A missing value passes through every filter as missing; arguments are checked even then, so that a wrong
//! one is found when the mapping is compiled. Errors never quote the value.

mod channels;
pub(super) mod choice;
pub(super) mod date;
pub(super) mod names;
mod phone;
mod rest;
pub(super) mod text;

use jiff::tz::TimeZone;
use minijinja::value::{Kwargs, Object, Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State};

use super::context;
use super::reads::Used;
use crate::domain::phone::Country;

/// What differs between mappings and filters must know.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The tenant's time zone.
    pub(super) zone: TimeZone,
    /// Country of phone numbers that do not name theirs.
    pub(super) country: Country,
    /// The attributes that some line reads, for `rest`.
    pub(super) used: Used,
}

impl Default for Settings {
    fn default() -> Self {
        Self { zone: TimeZone::UTC, country: Country::TAIWAN, used: Used::new() }
    }
}

impl Object for Settings {}

/// Why a filter failed. Neither form holds a value of a contact.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    /// A wrong argument: a mistake in the mapping file.
    #[error("{0}")]
    Argument(String),
    /// A value that the filter cannot use.
    #[error("{0}")]
    Value(String),
}

impl From<FilterError> for Error {
    fn from(error: FilterError) -> Self {
        Self::new(ErrorKind::InvalidOperation, "a filter failed").with_source(error)
    }
}

type FilterResult = Result<Value, FilterError>;
type Filter = fn(&Settings, &Value, &[Value]) -> FilterResult;

/// Our filters.
const OURS: [(&str, Filter); 16] = [
    ("family_name", names::family_name),
    ("given_name", names::given_name),
    ("real_name", names::real_name),
    ("phone", phone::phone),
    ("channels", channels::channels),
    ("date", date::date),
    ("time", date::time),
    ("datetime", date::datetime),
    ("epoch", date::epoch),
    ("choice", choice::choice),
    ("number", text::number),
    ("boolean", text::boolean),
    ("digits", text::digits),
    ("squeeze", text::squeeze),
    ("truncate_text", text::truncate_text),
    ("email_name", text::email_name),
];

/// minijinja's filters that make sense for values.
const BUILTIN: [&str; 45] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "trim",
    "unique",
    "upper",
    "zip",
    "escape",
    "e",
    "safe",
];

/// Every filter that an expression may name.
pub(super) fn names() -> Vec<&'static str> {
    OURS.iter().map(|(name, _)| *name).chain(BUILTIN).collect()
}

/// Our functions, which an expression calls by name.
pub(super) const FUNCTIONS: [&str; 1] = ["rest"];

/// Adds our filters and functions.
pub(super) fn register(environment: &mut Environment<'static>) {
    for (name, filter) in OURS {
        environment.add_filter(
            name,
            move |state: &State<'_, '_>, value: &Value, arguments: Rest<ValueOrKwargs>| -> Result<Value, Error> {
                let arguments: Vec<Value> = arguments.iter().map(|argument| Value::clone(argument)).collect();
                Ok(filter(&context::settings(state), value, &arguments)?)
            },
        );
    }
    environment.add_function(
        FUNCTIONS[0],
        |state: &State<'_, '_>, arguments: Rest<ValueOrKwargs>| -> Result<Value, Error> {
            let arguments: Vec<Value> = arguments.iter().map(|argument| Value::clone(argument)).collect();
            Ok(rest::rest(&context::settings(state), &arguments)?)
        },
    );
}

/// Sorts a filter's arguments, positional or by name, into the order of `names`.
fn arguments<const N: usize>(given: &[Value], names: [&str; N]) -> Result<[Option<Value>; N], FilterError> {
    let mut sorted = [const { None }; N];
    let (positional, named) = match given.split_last() {
        Some((last, positional)) if last.is_kwargs() => (positional, Kwargs::try_from(last.clone()).ok()),
        _ => (given, None),
    };
    if positional.len() > N {
        return Err(FilterError::Argument(format!("the filter takes at most {N} arguments")));
    }
    for (slot, value) in sorted.iter_mut().zip(positional) {
        *slot = Some(value.clone());
    }
    for name in named.iter().flat_map(Kwargs::args) {
        let Some(at) = names.iter().position(|known| *known == name) else {
            let known = if names.is_empty() { String::from("none") } else { names.join(", ") };
            return Err(FilterError::Argument(format!("the filter has no argument `{name}`; it has: {known}")));
        };
        sorted[at] = named.as_ref().and_then(|named| named.get(name).ok());
    }
    Ok(sorted)
}

/// An argument that is one of a few words.
fn word<const N: usize>(
    given: Option<&Value>,
    argument: &str,
    words: [&'static str; N],
) -> Result<&'static str, FilterError> {
    let Some(given) = given else { return Ok(words[0]) };
    given
        .as_str()
        .and_then(|text| words.into_iter().find(|word| *word == text))
        .ok_or_else(|| FilterError::Argument(format!("`{argument}` must be one of: {}", words.join(", "))))
}

/// The text of a scalar; `None` for what is missing or blank, an error for lists and objects.
fn scalar_text(value: &Value) -> Result<Option<String>, FilterError> {
    let text = match value.kind() {
        ValueKind::Undefined | ValueKind::None => return Ok(None),
        ValueKind::String | ValueKind::Number | ValueKind::Bool => value.to_string(),
        _ => return Err(FilterError::Value(String::from("is a list or an object, not a single value"))),
    };
    let trimmed = text.trim();
    Ok(if trimmed.is_empty() { None } else { Some(trimmed.to_owned()) })
}

#[cfg(test)]
pub(super) mod testing {
    use std::sync::Arc;

    use serde_json::{Value as Json, json};

    use super::super::context::view;
    use super::super::expression::{Compiled, names_of};
    use super::Settings;

    /// Evaluates `expression` over a contact whose `name` is `input`, in Taipei; a missing result is null.
    pub(crate) fn run(expression: &str, input: &Json) -> Result<Json, String> {
        let zone = jiff::tz::TimeZone::get("Asia/Taipei").expect("bundled");
        let settings = Arc::new(Settings { zone, ..Settings::default() });
        let compiled = Compiled::new(expression, &settings).map_err(|problems| format!("compile: {problems:?}"))?;
        let row = json!({ "name": input });
        let view = view(row.as_object().expect("an object"), &names_of(std::iter::once(&compiled)), &settings);
        compiled.evaluate(&view).map(|value| serde_json::to_value(&value).expect("plain data"))
    }

    /// Checks rows of (expression, input, expected).
    pub(crate) fn check(rows: impl IntoIterator<Item = (&'static str, Json, Json)>) {
        for (expression, input, expected) in rows {
            assert_eq!(run(expression, &input), Ok(expected), "{expression} over {input}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::{check, run};
    use super::{BUILTIN, OURS};

    #[test]
    fn the_guide_shows_every_filter() {
        let guide = include_str!("../../../docs/mapping.md");
        for (name, _) in OURS {
            assert!(guide.contains(&format!("### `{name}`")), "docs/mapping.md has no section for {name}");
            assert!(guide.contains(&format!("| {name}")), "docs/mapping.md has no example of {name}");
        }
        for name in BUILTIN {
            assert!(guide.contains(&format!("`{name}`")), "docs/mapping.md does not list {name}");
        }
    }

    #[test]
    fn the_guide_shows_every_function() {
        let guide = include_str!("../../../docs/mapping.md");
        for name in super::FUNCTIONS {
            assert!(guide.contains(&format!("### `{name}`")), "docs/mapping.md has no section for {name}");
        }
    }

    #[test]
    fn every_builtin_that_is_offered_exists() {
        let environment = minijinja::Environment::new();
        for name in BUILTIN {
            let error = environment.empty_state().apply_filter(name, &[]).err();
            assert_ne!(error.map(|error| error.kind()), Some(minijinja::ErrorKind::UnknownFilter), "{name}");
        }
    }

    #[test]
    fn a_missing_value_stays_missing_through_every_filter() {
        for (name, _) in OURS {
            let expression = if name == "choice" {
                String::from("name | choice({'a': 'b'})")
            } else if name == "truncate_text" {
                String::from("name | truncate_text(5)")
            } else {
                format!("name | {name}")
            };
            assert_eq!(run(&expression, &json!(null)), Ok(json!(null)), "{name}");
        }
        check([
            ("name | int", json!(null), json!(null)),
            ("name | int(default=3)", json!(null), json!(3)),
            ("name | upper", json!(null), json!(null)),
            ("name | split(',')", json!(null), json!(null)),
            ("name | float(default=1.5)", json!(null), json!(1.5)),
            ("name | upper", json!("x"), json!("X")),
            ("name | default('x')", json!(null), json!("x")),
            ("name ~ '!'", json!(null), json!("!")),
            ("name.a.b.c", json!(null), json!(null)),
            ("name is none", json!(null), json!(true)),
            ("name is not none", json!("x"), json!(true)),
        ]);
    }

    #[test]
    fn wrong_arguments_are_found_before_any_contact() {
        for expression in [
            "name | phone('Taiwan')",
            "name | phone(form='e.164')",
            "name | date(frmat='%Y')",
            "name | family_name('a', 'b', 'c')",
            "name | truncate_text",
            "name | choice",
        ] {
            let error = run(expression, &json!("x")).expect_err(expression);
            assert!(error.starts_with("compile"), "{expression}: {error}");
        }
    }
}
