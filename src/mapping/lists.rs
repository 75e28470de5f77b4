//! The lines that make a list, of e-mail addresses or of phone numbers, applied to one contact.

use std::collections::BTreeSet;

use minijinja::value::{Value, ValueKind};
use serde_json::Value as Json;

use super::apply::{ListLine, Mapping, OnError, set_aside};
use super::convert::to_json;
use crate::domain::outcome::SetAside;
use crate::domain::phone;
use crate::domain::record::{Desired, DesiredEmail, DesiredList, DesiredPhone, FieldProblem, Owner};

/// Digits of a phone number at least, in whatever form: two behind a plus reach nobody.
const FEWEST_DIGITS: usize = 5;

type Check = fn(&str) -> Result<(), &'static str>;

impl Mapping {
    /// The e-mail addresses of a contact.
    pub(super) fn emails(
        &self,
        view: &Value,
        warnings: &mut Vec<FieldProblem>,
    ) -> Result<DesiredList<DesiredEmail>, SetAside> {
        let found = collect(&self.parts.emails, view, warnings, is_email)?;
        let emails = found.items.into_iter().map(|(address, ())| DesiredEmail { address });
        let emails = without_repeats(emails, DesiredEmail::canonical);
        Ok(desired_list(emails, self.parts.emails.is_empty(), found.incomplete, self.parts.emails_owner))
    }

    /// The phone numbers of a contact.
    pub(super) fn phones(
        &self,
        view: &Value,
        warnings: &mut Vec<FieldProblem>,
    ) -> Result<DesiredList<DesiredPhone>, SetAside> {
        let found = collect(&self.parts.phones, view, warnings, is_phone)?;
        let mut phones: Vec<_> = found.items.into_iter().map(|(number, kind)| DesiredPhone { number, kind }).collect();
        if phones.len() > 1 {
            let country = self.settings().country;
            phones = without_repeats(phones.into_iter(), |phone| phone::canonical(&phone.number, country));
        }
        Ok(desired_list(phones, self.parts.phones.is_empty(), found.incomplete, self.parts.phones_owner))
    }

    /// What each e-mail and phone line gives for this contact, whatever its `on_error`: in the order of the file, without
    /// what is refused and what an earlier line gave.
    pub(super) fn list_readings(&self, view: &Value) -> Vec<(Vec<String>, Option<String>)> {
        let country = self.settings().country;
        let mut seen = BTreeSet::new();
        let mut readings = Vec::new();
        for line in &self.parts.emails {
            let (mut texts, problem) = read_line(line, view, is_email);
            texts.retain(|text| seen.insert(DesiredEmail { address: text.clone() }.canonical()));
            readings.push((texts, problem));
        }
        seen.clear();
        for line in &self.parts.phones {
            let (mut texts, problem) = read_line(line, view, is_phone);
            texts.retain(|text| seen.insert(phone::canonical(text, country)));
            readings.push((texts, problem));
        }
        readings
    }
}

impl<T> ListLine<T> {
    fn problem(&self, problem: String) -> FieldProblem {
        FieldProblem { field: self.label.clone(), problem }
    }
}

/// What the lines of a list found.
struct Found<T> {
    items: Vec<(String, T)>,
    /// Some line could not be read.
    incomplete: bool,
}

fn collect<T: Copy>(
    lines: &[ListLine<T>],
    view: &Value,
    warnings: &mut Vec<FieldProblem>,
    check: Check,
) -> Result<Found<T>, SetAside> {
    let mut found = Found { items: Vec::new(), incomplete: false };
    for line in lines {
        let (texts, problem) = read_line(line, view, check);
        found.items.extend(texts.into_iter().map(|text| (text, line.kind)));
        match (problem, line.on_error) {
            (None, _) => {}
            (Some(problem), OnError::Reject) if line.expression.can_see(view) => {
                return Err(set_aside(&line.label, problem));
            }
            (Some(problem), _) => {
                found.incomplete = true;
                warnings.push(line.problem(problem));
            }
        }
    }
    Ok(found)
}

/// The usable texts of one line, and what is wrong with the others.
fn read_line<T>(line: &ListLine<T>, view: &Value, check: Check) -> (Vec<String>, Option<String>) {
    match line.expression.evaluate(view).and_then(|value| list_texts(&value)) {
        Ok(mut texts) => {
            let problem = texts.iter().find_map(|text| check(text).err()).map(str::to_owned);
            texts.retain(|text| check(text).is_ok());
            (texts, problem)
        }
        Err(problem) => (Vec::new(), Some(problem)),
    }
}

/// A list that could not be read whole is only added to, never taken from: what is missing in it may exist.
fn desired_list<T>(items: Vec<T>, no_lines: bool, incomplete: bool, owner: Option<Owner>) -> DesiredList<T> {
    let value = match (no_lines, items.is_empty(), incomplete) {
        (true, _, _) | (_, true, true) => Desired::Unknown,
        (_, true, false) => Desired::Empty,
        (_, false, _) => Desired::Value(items),
    };
    let owner = match owner {
        None | Some(Owner::Source) if incomplete => Some(Owner::Union),
        owner => owner,
    };
    DesiredList { value, owner }
}

/// The texts of a line of a list: one value or several, blanks left out.
fn list_texts(value: &Value) -> Result<Vec<String>, String> {
    const NO_TEXT: &str = "is not a text or a list of texts";

    let text = |json: &Json| match json {
        Json::Null => Ok(None),
        Json::String(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Json::Number(number) => Ok(Some(number.to_string())),
        _ => Err(String::from(NO_TEXT)),
    };
    if value.kind() == ValueKind::Map {
        return Err(String::from(NO_TEXT));
    }
    match to_json(value)? {
        Json::Array(items) => items.iter().filter_map(|item| text(item).transpose()).collect(),
        other => Ok(text(&other)?.into_iter().collect()),
    }
}

fn is_email(address: &str) -> Result<(), &'static str> {
    let whole =
        address.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    let clean = !address.contains(|sign: char| sign.is_whitespace() || sign.is_control());
    if whole && clean { Ok(()) } else { Err("is not an e-mail address") }
}

fn is_phone(number: &str) -> Result<(), &'static str> {
    let digits = number.chars().filter(char::is_ascii_digit).count();
    let before_plus = number.find('+').map_or("", |at| &number[..at]);
    let clean = digits >= FEWEST_DIGITS && before_plus.trim_matches([' ', '(']).is_empty();
    if clean && !number.contains(char::is_control) { Ok(()) } else { Err("is not a phone number") }
}

fn without_repeats<T>(items: impl Iterator<Item = T>, canonical: impl Fn(&T) -> String) -> Vec<T> {
    let mut seen = BTreeSet::new();
    items.filter(|item| seen.insert(canonical(item))).collect()
}
