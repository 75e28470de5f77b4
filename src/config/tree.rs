//! The configuration as one tree of values, each of which knows where it was written.
//!
//! The file gives the tree, the environment is laid over it. Nothing is judged here except syntax; which keys
//! exist and what they mean is the business of `settings`.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::Problem;
use super::schema::Report;

/// What the names of our variables begin with.
pub(super) const PREFIX: &str = "DESKFERRY__";

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file, on this line; `None` when the file does not mention it.
    File(Option<usize>),
    /// In the variable of this name.
    Variable(String),
}

/// A value as written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    /// A TOML string.
    Text(String),
    /// A variable's text, which stands for whatever type its key has.
    Variable(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML float.
    Float(f64),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array.
    List(Vec<Raw>),
    /// A table.
    Table(Table),
    /// Something that no key of ours takes: a date, or a number out of range.
    Other,
}

/// A table and where its keys stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table(pub(super) BTreeMap<String, (Place, Raw)>);

/// Line of a byte offset, from 1.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// What the parser complains of, once a line: after its first complaint it is guessing.
pub(super) fn syntax_problems(file: &Path, text: &str, errors: &[toml::de::Error]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for error in errors {
        let line = error.span().map(|span| line_at(text, span.start));
        if problems.last().is_none_or(|last| last.line != line) {
            problems.push(Problem {
                file: file.to_owned(),
                line,
                key: String::new(),
                message: format!("not TOML: {}", error.message()),
                remedy: String::new(),
            });
        }
    }
    problems
}

/// Parses a file. What is wrong with its syntax goes to the report; what could be read comes back.
pub(super) fn parse(text: &str, report: &mut Report) -> Table {
    let (document, errors) = DeTable::parse_recoverable(text);
    report.problems.extend(syntax_problems(&report.file, text, &errors));
    table(text, document.get_ref())
}

fn table(text: &str, table: &DeTable<'_>) -> Table {
    let entries = table.iter().map(|(key, value)| {
        let place = Place::File(Some(line_at(text, key.span().start)));
        (key.get_ref().to_string(), (place, raw(text, value.get_ref())))
    });
    Table(entries.collect())
}

fn raw(text: &str, value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(string) => Raw::Text(string.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Raw::Other, Raw::Integer)
        }
        DeValue::Float(number) => number.as_str().parse().map_or(Raw::Other, Raw::Float),
        DeValue::Boolean(yes) => Raw::Boolean(*yes),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(text, item.get_ref())).collect()),
        DeValue::Table(inner) => Raw::Table(self::table(text, inner)),
        DeValue::Datetime(_) => Raw::Other,
    }
}

/// Lays the variables that are ours over the tree: `DESKFERRY__FIRSTLINE__TOKEN` is `firstline.token`.
pub(super) fn overlay(tree: &mut Table, env: impl Iterator<Item = (String, String)>, report: &mut Report) {
    // Sorted, so that the report does not depend on the order in which the system lists them.
    let ours: BTreeMap<String, String> = env.filter(|(name, _)| is_meant_for_us(name)).collect();
    for (name, value) in ours {
        let path = name.strip_prefix(PREFIX).map(str::to_lowercase);
        let keys: Vec<&str> = path.iter().flat_map(|path| path.split("__")).collect();
        if !set(tree, &keys, &name, value) {
            report.problems.push(Problem {
                file: "environment".into(),
                line: None,
                key: name,
                message: String::from("does not name a key"),
                remedy: format!("write {PREFIX}SECTION__KEY, as in {PREFIX}FIRSTLINE__TOKEN"),
            });
        }
    }
}

/// Whether a variable begins as ours do, or would with one underscore more: then somebody relies on it.
fn is_meant_for_us(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX.trim_end_matches('_'));
    rest.is_some_and(|rest| rest.starts_with("__") || (rest.starts_with('_') && rest.contains("__")))
}

/// Whether there was a place to set it: a key inside something that is no table has none.
fn set(table: &mut Table, keys: &[&str], name: &str, value: String) -> bool {
    match keys {
        [] | ["", ..] => false,
        [key] => {
            table.0.insert((*key).to_owned(), (Place::Variable(name.to_owned()), Raw::Variable(value)));
            true
        }
        [key, rest @ ..] => {
            let place = Place::Variable(name.to_owned());
            let (_, inner) = table.0.entry((*key).to_owned()).or_insert_with(|| (place, Raw::Table(Table::default())));
            match inner {
                Raw::Table(inner) => set(inner, rest, name, value),
                _ => false,
            }
        }
    }
}
