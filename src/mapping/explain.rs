//! One contact through the mapping, line by line: what `map explain` shows.
//!
//! Values are in it only on request; without them it may be pasted into a ticket.

use serde_json::Value as Json;

use super::apply::{Mapping, list_texts};
use super::convert::{Converted, to_json};
use super::tags::COMPANY;
use crate::domain::contact::Contact;
use crate::domain::record::{Desired, DesiredRecord, FieldKey, FieldValue, Owner};

/// What became of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A value is wished.
    Value,
    /// The source holds nothing.
    Empty,
    /// A stand-in is used for a required field (`first_name`).
    StandIn,
    /// Left out with a warning.
    LeftOut,
    /// The contact is set aside because of it.
    Rejects,
}

impl Outcome {
    /// The outcome in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Empty => "empty",
            Self::StandIn => "stand-in",
            Self::LeftOut => "left out",
            Self::Rejects => "rejects the contact",
        }
    }
}

/// The values of a line, which are people's.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownValues {
    /// What the expression gave.
    pub expression: Json,
    /// What is wished of the target.
    pub result: Json,
}

/// One line of the mapping, applied.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedLine {
    /// The field: `birth_at`, `cz_col 32`, `emails[0]`.
    pub field: String,
    /// `Category / Name` of a custom field, when known.
    pub name: Option<String>,
    /// Type of the target field, in words.
    pub kind: &'static str,
    /// The expression.
    pub expression: String,
    /// Type of what the expression gave, in words; `None` when it failed.
    pub gave: Option<&'static str>,
    /// What became of it.
    pub outcome: Outcome,
    /// Its owner, when the line names one.
    pub owner: Option<Owner>,
    /// What is wrong or worth knowing, without any value.
    pub problem: Option<String>,
    /// The values, when they were asked for.
    pub values: Option<ShownValues>,
}

/// One contact through the mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Whether `[select]` carries it, or why that cannot be said.
    pub selected: Result<bool, String>,
    /// The expression of `[select]`.
    pub select: Option<String>,
    /// Its lines, in the order of writing.
    pub lines: Vec<ExplainedLine>,
}

/// Explains what `mapping` makes of `contact`; `show_values` puts the values in.
pub fn explain(mapping: &Mapping, contact: &Contact, show_values: bool) -> Explanation {
    let view = mapping.view(contact);
    let record = mapping.apply(contact).ok();
    let rejects = |on_error: super::apply::OnError| on_error == super::apply::OnError::Reject;
    let mut lines = Vec::new();

    for line in &mapping.parts.fields {
        let given = line.evaluate(&view);
        let converted = given.clone().and_then(|value| line.convert(&value, mapping.settings()));
        let required = line.target.key == FieldKey::FirstName;
        let (outcome, problem, mut result) = match converted {
            Ok(Converted { value: Desired::Value(value), remark }) => (Outcome::Value, remark, shown(&value)),
            Ok(_) if required && rejects(line.on_error) => {
                (Outcome::Rejects, Some(String::from("is empty, and FIRST LINE requires it")), Json::Null)
            }
            Ok(_) if required => (Outcome::StandIn, None, Json::Null),
            Ok(_) => (Outcome::Empty, None, Json::Null),
            Err(problem) if rejects(line.on_error) => (Outcome::Rejects, Some(problem), Json::Null),
            Err(problem) if required => (Outcome::StandIn, Some(problem), Json::Null),
            Err(problem) => (Outcome::LeftOut, Some(problem), Json::Null),
        };
        if outcome == Outcome::StandIn
            && let Some(Desired::Value(value)) =
                record.as_ref().and_then(|record| record.fields.get(&line.target.key)).map(|field| &field.value)
        {
            result = shown(value);
        }
        lines.push(ExplainedLine {
            field: line.target.label.clone(),
            name: line.target.name.clone(),
            kind: line.target.kind_name(),
            expression: line.expression.text().to_owned(),
            gave: given.as_ref().ok().map(kind_name),
            outcome,
            owner: line.owner,
            problem,
            values: show_values.then(|| ShownValues { expression: raw(&given), result }),
        });
    }

    let emails = mapping.parts.emails.iter().map(|line| {
        (line.label.as_str(), "e-mail", &line.expression, rejects(line.on_error), mapping.parts.emails_owner)
    });
    let phones = mapping.parts.phones.iter().map(|line| {
        (line.label.as_str(), "phone", &line.expression, rejects(line.on_error), mapping.parts.phones_owner)
    });
    // Checks of single addresses are those of `apply`: its warnings are asked instead of judging twice.
    let verdicts = mapping.list_problems(contact);
    for (label, kind, expression, rejects, owner) in emails.chain(phones) {
        let given = expression.evaluate(&view);
        let texts = given.clone().and_then(|value| list_texts(&value));
        let problem = verdicts.iter().find(|problem| problem.field == label).map(|problem| problem.problem.clone());
        let outcome = match (&problem, &texts) {
            (Some(_), _) if rejects => Outcome::Rejects,
            (Some(_), _) => Outcome::LeftOut,
            (None, Ok(texts)) if texts.is_empty() => Outcome::Empty,
            (None, _) => Outcome::Value,
        };
        lines.push(ExplainedLine {
            field: label.to_owned(),
            name: None,
            kind,
            expression: expression.text().to_owned(),
            gave: given.as_ref().ok().map(kind_name),
            outcome,
            owner,
            problem,
            values: show_values
                .then(|| ShownValues { expression: raw(&given), result: Json::from(texts.unwrap_or_default()) }),
        });
    }

    lines.extend(company_line(mapping, &view, record.as_ref(), show_values));

    Explanation {
        selected: mapping.select(contact).map_err(|problem| problem.problem),
        select: mapping.parts.select.as_ref().map(|select| select.text().to_owned()),
        lines,
    }
}

fn company_line(
    mapping: &Mapping,
    view: &minijinja::Value,
    record: Option<&DesiredRecord>,
    show_values: bool,
) -> Option<ExplainedLine> {
    let expression = mapping.parts.company.as_ref()?;
    let given = expression.evaluate(view);
    let problem = record.and_then(|record| record.warnings.iter().find(|warning| warning.field == COMPANY));
    let (outcome, result) = match record.map(|record| &record.company) {
        Some(Desired::Value(name)) => (Outcome::Value, Json::from(name.as_str())),
        Some(Desired::Empty) => (Outcome::Empty, Json::Null),
        Some(Desired::Unknown) | None => (Outcome::LeftOut, Json::Null),
    };
    Some(ExplainedLine {
        field: COMPANY.to_owned(),
        name: None,
        kind: "name of a company",
        expression: expression.text().to_owned(),
        gave: given.as_ref().ok().map(kind_name),
        outcome,
        owner: None,
        problem: problem.map(|problem| problem.problem.clone()),
        values: show_values.then(|| ShownValues { expression: raw(&given), result }),
    })
}

/// A typed value as it would be sent.
pub(super) fn shown(value: &FieldValue) -> Json {
    match value {
        FieldValue::Text(text) | FieldValue::Date(text) | FieldValue::Time(text) | FieldValue::DateTime(text) => {
            Json::from(text.as_str())
        }
        FieldValue::Number(number) => Json::Number(number.clone()),
        FieldValue::Boolean(yes) => Json::Bool(*yes),
        FieldValue::Choice(value) => value.clone(),
        FieldValue::Choices(values) => Json::Array(values.clone()),
    }
}

fn raw(given: &Result<minijinja::Value, String>) -> Json {
    given.as_ref().ok().and_then(|value| to_json(value).ok()).unwrap_or_default()
}

fn kind_name(value: &minijinja::Value) -> &'static str {
    use minijinja::value::ValueKind;
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => "nothing",
        ValueKind::Bool => "yes or no",
        ValueKind::Number => "number",
        ValueKind::String => "text",
        ValueKind::Seq | ValueKind::Iterable => "list",
        ValueKind::Map => "object",
        _ => "something else",
    }
}
