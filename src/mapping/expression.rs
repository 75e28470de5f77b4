//! One expression of the mapping file: compiled once, evaluated for every contact.
//!
//! The language is MiniJinja's expressions over the normalised LiveDesk row (`context.rs`). Everything that can
//! be found wrong without a contact is found when it is compiled. Messages made here hold no value of a contact.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::fmt;
use std::sync::{Arc, LazyLock};

use minijinja::value::{Rest, Value, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Expression, UndefinedBehavior};
use serde_json::Map;

use super::context::{INBOXES, WHOLE_ROW, has_inboxes, view};
use super::filters::{self, FilterError, Settings};
use super::scan;

/// Top-level keys of a LiveDesk row (platform notes LiveDesk 3.2); others are read through `contact`.
const ROW_KEYS: [&str; 15] = [
    "id",
    "name",
    "email",
    "phone_number",
    "identifier",
    "first_name",
    "last_name",
    "blocked",
    "created_at",
    "last_activity_at",
    "custom_attributes",
    "additional_attributes",
    "contact_inboxes",
    "thumbnail",
    "availability_status",
];
/// minijinja's own tests, the words after `is`.
const TESTS: [&str; 34] = [
    "undefined",
    "defined",
    "none",
    "safe",
    "escaped",
    "boolean",
    "odd",
    "even",
    "divisibleby",
    "number",
    "integer",
    "int",
    "float",
    "string",
    "sequence",
    "iterable",
    "mapping",
    "startingwith",
    "endingwith",
    "lower",
    "upper",
    "sameas",
    "eq",
    "equalto",
    "ne",
    "lt",
    "lessthan",
    "le",
    "gt",
    "greaterthan",
    "ge",
    "in",
    "true",
    "false",
];

/// Every mapping shares one environment: filters get what differs through the context.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_debug(false);
    // `'no' | bool` is true; ours is `boolean`.
    environment.remove_filter("bool");
    environment.remove_global("debug");
    environment.remove_global("namespace");
    environment.add_test("none", |value: &Value| value.is_none() || value.is_undefined());
    for name in MISSING_STAYS_MISSING {
        environment.add_filter(name, move |value: &Value, arguments: Rest<ValueOrKwargs>| {
            keep_missing(name, value, &arguments)
        });
    }
    filters::register(&mut environment);
    environment
});

/// minijinja's filters that would fail on a missing value, or make a value of it (`missing | int` is 0 there: a
/// customer without points must not get zero of them).
const MISSING_STAYS_MISSING: [&str; 22] = [
    "abs",
    "capitalize",
    "count",
    "dictsort",
    "first",
    "float",
    "format",
    "indent",
    "int",
    "items",
    "last",
    "length",
    "lines",
    "lower",
    "replace",
    "reverse",
    "round",
    "split",
    "string",
    "title",
    "trim",
    "upper",
];

/// minijinja as it comes, for the filters that are wrapped.
static BUILTIN: LazyLock<Environment<'static>> = LazyLock::new(Environment::new);

fn keep_missing(filter: &str, value: &Value, arguments: &[ValueOrKwargs]) -> Result<Value, Error> {
    // int and float have a default of their own.
    let has_default = matches!(filter, "int" | "float") && !arguments.is_empty();
    if value.is_undefined() && !has_default {
        return Ok(Value::UNDEFINED);
    }
    let all: Vec<Value> = std::iter::once(value).chain(arguments.iter().map(|argument| &**argument)).cloned().collect();
    BUILTIN.empty_state().apply_filter(filter, &all)
}

/// Something wrong with an expression itself.
#[derive(Debug, PartialEq)]
pub(super) struct ExpressionProblem {
    /// Column in the expression, in characters from 1.
    pub(super) column: Option<usize>,
    /// What is wrong.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: Option<String>,
}

/// A compiled expression.
pub(super) struct Compiled {
    text: String,
    expression: Expression<'static, 'static>,
    variables: Vec<String>,
    reads_inboxes: bool,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Compiled").field(&self.text).finish()
    }
}

impl Compiled {
    /// Compiles `text` and looks for every mistake that shows without a contact.
    pub(super) fn new(text: &str, settings: &Arc<Settings>) -> Result<Self, Vec<ExpressionProblem>> {
        let text = text.trim();
        let problem = |column, message: String, help| ExpressionProblem { column, message, help };
        if text.is_empty() {
            return Err(vec![problem(None, String::from("the expression is empty"), None)]);
        }
        let expression = ENVIRONMENT.compile_expression_owned(text.to_owned()).map_err(|error| {
            let column =
                error.range().and_then(|range| text.get(..range.start)).map(|before| before.chars().count() + 1);
            let detail = error.detail().unwrap_or("it cannot be read").to_owned();
            vec![problem(column, format!("syntax error: {detail}"), None)]
        })?;

        let mut problems = Vec::new();
        let mentions = scan::mentions(text);
        let known = filters::names();
        for (name, column) in mentions.filters {
            if !known.contains(&name) {
                problems.push(problem(
                    Some(column),
                    format!("unknown filter `{name}`"),
                    nearest(name, known.iter().copied()),
                ));
            }
        }
        for (name, column) in mentions.tests {
            if !TESTS.contains(&name) {
                problems.push(problem(Some(column), format!("unknown test `{name}`"), nearest(name, TESTS)));
            }
        }
        if let Some(column) = mentions.none_comparison {
            let help = String::from("write `x is none` or `x is not none`");
            let message = String::from("a missing value is undefined, so comparing with `none` never holds");
            problems.push(problem(Some(column), message, Some(help)));
        }
        let mut variables: Vec<String> = expression.undeclared_variables(false).into_iter().collect();
        variables.sort_unstable();
        variables
            .retain(|name| !matches!(name.as_str(), "range" | "dict") && !filters::FUNCTIONS.contains(&name.as_str()));
        for name in &variables {
            if name != WHOLE_ROW && !ROW_KEYS.contains(&name.as_str()) {
                let suggestion = nearest(name, ROW_KEYS.into_iter().chain([WHOLE_ROW]));
                let message = format!("a LiveDesk contact has no `{name}` at its top level");
                let help = suggestion.unwrap_or_else(|| {
                    format!("write `custom_attributes.{name}`, or `contact.{name}` if your account really sends it")
                });
                problems.push(problem(scan::column_of(text, name), message, Some(help)));
            }
        }
        // `contact | items` and the like see every key, so the whole row counts, unless its key is spelled out.
        let reads_inboxes = expression.undeclared_variables(true).iter().any(|path| {
            path == WHOLE_ROW
                || path.split('.').next() == Some(INBOXES)
                || path.strip_prefix("contact.").is_some_and(|rest| rest.starts_with(INBOXES))
        });
        let compiled = Self { text: text.to_owned(), expression, variables, reads_inboxes };
        if problems.is_empty() {
            // A contact of which nothing is known: what fails now for a reason of form fails always.
            let nobody = view(&Map::new(), &Arc::from(compiled.variables.clone()), settings);
            if let Err(error) = compiled.expression.eval(nobody)
                && let Some(message) = mistake_of_form(&error)
            {
                problems.push(problem(None, message, None));
            }
        }
        if problems.is_empty() { Ok(compiled) } else { Err(problems) }
    }

    /// The expression's text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Top-level keys of the row that it reads.
    pub(super) fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Whether it may read the contact's inboxes.
    pub(super) fn needs_inboxes(&self) -> bool {
        self.reads_inboxes
    }

    /// Whether all that it reads was asked of LiveDesk: inboxes are not in every answer.
    pub(super) fn can_see(&self, view: &Value) -> bool {
        !self.reads_inboxes || has_inboxes(view)
    }

    /// The filter that makes its result, when that is plain to see.
    pub(super) fn last_filter(&self) -> Option<&str> {
        scan::mentions(&self.text).last_filter
    }

    /// Its value where that is the same for every contact.
    pub(super) fn constant(&self, settings: &Arc<Settings>) -> Option<Result<Value, String>> {
        self.variables.is_empty().then(|| self.evaluate(&view(&Map::new(), &names_of(std::iter::empty()), settings)))
    }

    /// Its value for one contact; the error says why without any value.
    pub(super) fn evaluate(&self, view: &Value) -> Result<Value, String> {
        if !self.can_see(view) {
            return Err(String::from("reads the contact's inboxes, which LiveDesk did not send"));
        }
        self.expression.eval(view.clone()).map_err(|error| describe(&error))
    }
}

/// The message of an error that no contact can cure.
fn mistake_of_form(error: &Error) -> Option<String> {
    if let Some(FilterError::Argument(message)) = filter_error(error) {
        return Some(message.clone());
    }
    match error.kind() {
        ErrorKind::UnknownFilter
        | ErrorKind::UnknownTest
        | ErrorKind::UnknownFunction
        | ErrorKind::UnknownMethod
        | ErrorKind::TooManyArguments
        | ErrorKind::MissingArgument => Some(error.to_string()),
        _ => None,
    }
}

/// An error during evaluation, without minijinja's own words: they may quote the value.
fn describe(error: &Error) -> String {
    if let Some(error) = filter_error(error) {
        return error.to_string();
    }
    String::from(match error.kind() {
        ErrorKind::InvalidOperation => "the expression cannot be computed from this contact's values",
        ErrorKind::UnknownFilter => "the expression names an unknown filter",
        ErrorKind::UnknownTest => "the expression names an unknown test",
        ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => "the expression calls something that does not exist",
        ErrorKind::TooManyArguments => "a filter of the expression has too many arguments",
        ErrorKind::MissingArgument => "a filter of the expression lacks an argument",
        _ => "the expression failed on this contact's values",
    })
}

fn filter_error(error: &Error) -> Option<&FilterError> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        source = cause.source();
    }
    None
}

/// "did you mean", when one of `known` is near enough to be a slip.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// Names in use by any of `expressions`, sorted.
pub(super) fn names_of<'a>(expressions: impl Iterator<Item = &'a Compiled>) -> Arc<[String]> {
    let names: BTreeSet<&str> = expressions.flat_map(Compiled::variables).map(String::as_str).collect();
    names.into_iter().map(str::to_owned).collect()
}
