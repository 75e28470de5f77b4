//! Runs the `[[tests]]` of a mapping file: invented contacts and what the mapping must make of them.
//!
//! Differences show values, because the operator made them up; nothing here ever sees a real contact.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::apply::Mapping;
use super::explain::shown;
use super::expression::nearest;
use super::spec::FixtureSpec;
use super::tags::COMPANY;
use crate::domain::contact::Contact;
use crate::domain::ids::LiveDeskId;
use crate::domain::outcome::SetAside;
use crate::domain::phone::canonical;
use crate::domain::record::{Desired, DesiredRecord, FieldKey, canonical_current, canonical_email, is_blank};

/// What became of one fixture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixtureReport {
    /// Its name.
    pub name: String,
    /// What differs, one sentence each; none when it passed.
    pub differences: Vec<String>,
}

impl FixtureReport {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Expectations that are no fields.
const SPECIAL: [&str; 6] = ["emails", "phones", "company", "selected", "rejected", "left_out"];

impl Mapping {
    /// Runs the mapping file's own tests.
    pub fn run_fixtures(&self) -> Vec<FixtureReport> {
        self.fixtures
            .iter()
            .map(|fixture| FixtureReport { name: fixture.name.clone(), differences: self.differences(fixture) })
            .collect()
    }

    fn differences(&self, fixture: &FixtureSpec) -> Vec<String> {
        let contact = match contact_of(&fixture.contact) {
            Ok(contact) => contact,
            Err(problem) => return vec![problem],
        };
        if fixture.expect.is_empty() {
            return vec![String::from("the test expects nothing, so it cannot fail; give `expect = { ... }`")];
        }
        let selected = self.select(&contact);
        let applied = self.apply(&contact);
        let mut differences = Vec::new();
        if let Err(rejected) = &applied
            && !fixture.expect.contains_key("rejected")
        {
            let field = rejected.field.as_deref().unwrap_or("the contact");
            return vec![format!("the contact is rejected: {field} {}", rejected.detail)];
        }
        for (word, expected) in &fixture.expect {
            let expected = &plain_dates(expected);
            let difference = match word.as_str() {
                "selected" => compare(word, expected, &selected.as_ref().map_or(Json::Null, |yes| json!(yes))),
                "rejected" => compare(word, expected, &rejected_field(applied.as_ref().err())),
                _ => match &applied {
                    Ok(record) => self.difference(word, expected, record),
                    Err(_) => Some(format!("{word} cannot be compared: the contact is rejected")),
                },
            };
            differences.extend(difference);
        }
        differences
    }

    fn difference(&self, word: &str, expected: &Json, record: &DesiredRecord) -> Option<String> {
        match word {
            "emails" => {
                let addresses = record.emails.items().iter().map(|email| email.address.as_str());
                let actual: Vec<Json> = addresses.clone().map(|address| json!(canonical_email(address))).collect();
                let expected = each(expected, |text| json!(canonical_email(text)));
                compare(word, &expected, &Json::Array(actual))
            }
            "phones" => {
                let country = self.settings().country;
                let phones = record.phones.items().iter();
                // A bare number stands for the canonical one; a table also fixes the spelling and the type.
                let detailed = expected.as_array().is_some_and(|items| items.iter().any(Json::is_object));
                let actual: Vec<Json> = phones
                    .map(|phone| {
                        if detailed {
                            json!({ "number": phone.number, "type": phone.kind })
                        } else {
                            json!(canonical(&phone.number, country))
                        }
                    })
                    .collect();
                let expected =
                    if detailed { expected.clone() } else { each(expected, |text| json!(canonical(text, country))) };
                compare(word, &expected, &Json::Array(actual))
            }
            COMPANY => match &record.company {
                Desired::Value(name) => compare(word, expected, &json!(name)),
                Desired::Empty if is_blank(expected) => None,
                Desired::Empty => Some(format!("{word} is empty, expected {expected}")),
                Desired::Unknown => Some(format!("{word} is not linked or could not be read, expected {expected}")),
            },
            "left_out" => {
                let actual: BTreeSet<&str> = record.warnings.iter().map(|warning| warning.field.as_str()).collect();
                let expected: BTreeSet<String> = match expected {
                    Json::Array(items) => {
                        items.iter().filter_map(Json::as_str).map(|word| self.label_of(word)).collect()
                    }
                    other => other.as_str().map(|word| self.label_of(word)).into_iter().collect(),
                };
                compare(word, &json!(expected), &json!(actual))
            }
            _ => self.field_difference(word, expected, record),
        }
    }

    fn label_of(&self, word: &str) -> String {
        let line = self.parts.fields.iter().find(|line| line.target.is_called(word));
        line.map_or_else(|| word.to_owned(), |line| line.target.label.clone())
    }

    fn field_difference(&self, word: &str, expected: &Json, record: &DesiredRecord) -> Option<String> {
        let Some(line) = self.parts.fields.iter().find(|line| line.target.is_called(word)) else {
            if FieldKey::parse(word).is_some_and(|key| key.standard_name().is_some()) && is_blank(expected) {
                return None;
            }
            let names: Vec<String> = self
                .parts
                .fields
                .iter()
                .flat_map(|line| [Some(line.target.key.to_string()), line.target.name.clone()])
                .flatten()
                .collect();
            let hint = nearest(word, names.iter().map(String::as_str).chain(SPECIAL)).unwrap_or_default();
            return Some(format!("no mapping line writes `{word}` {hint}").trim_end().to_owned());
        };
        match record.fields.get(&line.target.key).map_or(&Desired::Unknown, |field| &field.value) {
            Desired::Value(value) if canonical_current(value.kind(), expected) == Some(value.canonical()) => None,
            Desired::Value(value) => compare(word, expected, &shown(value)),
            Desired::Empty if is_blank(expected) => None,
            Desired::Empty => Some(format!("{word} is empty, expected {expected}")),
            Desired::Unknown => {
                let why = record.warnings.iter().find(|warning| warning.field == line.target.label);
                let why = why.map_or("it could not be read", |warning| warning.problem.as_str());
                Some(format!("{word} is left out ({why}), expected {expected}"))
            }
        }
    }
}

fn compare(word: &str, expected: &Json, actual: &Json) -> Option<String> {
    if expected == actual { None } else { Some(format!("{word} is {actual}, expected {expected}")) }
}

fn rejected_field(rejected: Option<&SetAside>) -> Json {
    rejected.map_or(Json::Bool(false), |rejected| json!(rejected.field))
}

/// A list, or one text as a list of one.
fn each(expected: &Json, form: impl Fn(&str) -> Json) -> Json {
    match expected {
        Json::Array(items) => items.iter().map(|item| item.as_str().map_or_else(|| item.clone(), &form)).collect(),
        Json::String(text) if text.is_empty() => json!([]),
        Json::String(text) => json!([form(text)]),
        other => other.clone(),
    }
}

/// A contact as the LiveDesk adapter would hand it over; what the fixture leaves out is missing.
fn contact_of(row: &Json) -> Result<Contact, String> {
    let Json::Object(mut fields) = plain_dates(row) else {
        return Err(String::from("`contact` must be a table of LiveDesk's keys"));
    };
    let id = fields.get("id").and_then(Json::as_i64).unwrap_or(1);
    fields.insert(String::from("id"), json!(id));
    for (key, missing) in [
        ("blocked", json!(false)),
        ("custom_attributes", Json::Object(Map::new())),
        ("additional_attributes", Json::Object(Map::new())),
        ("contact_inboxes", json!([])),
    ] {
        fields.entry(key).or_insert(missing);
    }
    let time = |key: &str| fields.get(key).and_then(Json::as_i64);
    Ok(Contact {
        id: LiveDeskId(id),
        created_at: time("created_at"),
        last_activity_at: time("last_activity_at"),
        fields,
    })
}

/// TOML's own dates arrive as a table with one key; people mean the text.
fn plain_dates(json: &Json) -> Json {
    match json {
        Json::Object(map) if map.len() == 1 && map.contains_key("$__toml_private_datetime") => {
            map["$__toml_private_datetime"].clone()
        }
        Json::Object(map) => map.iter().map(|(key, value)| (key.clone(), plain_dates(value))).collect(),
        Json::Array(items) => items.iter().map(plain_dates).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use crate::mapping::compile::testing::{compile, mapping};

    fn run(contact: &Json, expect: &Json) -> Vec<String> {
        let mapping = mapping(json!({
            "select": { "when": "not blocked" },
            "contact": { "first_name": "name | family_name", "last_name": "name | given_name",
                "birth_at": "custom_attributes.b", "identity_no": { "value": "identifier | int", "on_error": "reject" } },
            "cz_cols": [{ "field": "VIP level", "value": "custom_attributes.vip" }],
            "emails": [{ "value": "email" }],
            "phones": [{ "value": "phone_number" }],
            "tests": [{ "name": "t", "contact": contact, "expect": expect }],
        }));
        mapping.run_fixtures().remove(0).differences
    }

    #[test]
    fn a_fixture_passes_when_every_expectation_holds() {
        let contact = json!({ "id": 1, "name": "歐陽小明", "email": "A@example.com", "phone_number": "0912345678",
            "custom_attributes": { "b": { "$__toml_private_datetime": "1990-01-02" }, "vip": "GOLD!" } });
        let expect = json!({ "first_name": "歐陽", "last_name": "小明", "birth_at": "1990-01-02", "cz_col 32": "gold",
            "Customer form/VIP level": "gold", "emails": "a@example.com", "phones": ["+886912345678"], "selected": true,
            "rejected": false, "left_out": [], "identity_no": "" });
        assert_eq!(run(&contact, &expect), Vec::<String>::new());
        assert!(run(&json!({ "name": "x", "identifier": "y" }), &json!({ "rejected": "identity_no" })).is_empty());
        assert!(run(&json!({ "custom_attributes": { "b": "?" } }), &json!({ "left_out": ["birth_at"] })).is_empty());
    }

    #[test]
    fn every_difference_is_told() {
        let contact = json!({ "name": "王小明", "blocked": true, "custom_attributes": { "b": "soon" } });
        let expect = json!({ "first_name": "李", "last_name": "", "birth_at": "1990-01-02", "cz_col 32": "gold",
            "selected": true, "emails": ["a@example.com"], "frst_name": "x" });
        let differences = run(&contact, &expect);
        assert_eq!(
            differences,
            [
                "birth_at is left out (is not a date or time that can be read; give its form, as in date('%d/%m/%Y')), expected \"1990-01-02\"",
                "cz_col 32 is empty, expected \"gold\"",
                "emails is [], expected [\"a@example.com\"]",
                "first_name is \"王\", expected \"李\"",
                "no mapping line writes `frst_name` did you mean `first_name`?",
                "last_name is \"小明\", expected \"\"",
                "selected is false, expected true",
            ]
        );
        assert_eq!(run(&json!({ "identifier": "y" }), &json!({ "first_name": "x" })).len(), 1);
        assert_eq!(run(&json!("x"), &json!({ "first_name": "x" })).len(), 1);
        assert_eq!(run(&json!({}), &json!({})).len(), 1);
    }

    #[test]
    fn fixtures_run_without_definitions() {
        let mapping = compile(
            json!({ "contact": { "first_name": "name" },
            "cz_cols": [{ "field": "Any / Thing", "value": "id" }],
            "tests": [{ "name": "t", "contact": { "id": 5, "name": "x" }, "expect": { "Any / Thing": 5 } }] }),
            None,
        );
        assert!(mapping.expect("valid").run_fixtures()[0].passed());
    }
}
