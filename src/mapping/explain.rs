//! One contact through the mapping, line by line: what `map explain` shows.
//!
//! Values are in it only on request; without them it may be pasted into a ticket.

use serde_json::Value as Json;

use super::apply::{Mapping, NO_FIRST_NAME, Reading};
use super::convert::to_json;
use super::tags::{COMPANY, TagLine};
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
    /// Its tags. Whether the contact has their labels is read by a backfill only, for all contacts at once.
    pub tags: Vec<TagLine>,
}

/// Explains what `mapping` makes of `contact`; `show_values` puts the values in.
pub fn explain(mapping: &Mapping, contact: &Contact, show_values: bool) -> Explanation {
    let view = mapping.view(contact);
    let record = mapping.apply(contact).ok();
    let rejects = |on_error: super::apply::OnError| on_error == super::apply::OnError::Reject;
    let mut lines = Vec::new();

    for line in &mapping.parts.fields {
        let given = line.evaluate(&view);
        let required = line.target.key == FieldKey::FirstName;
        let (outcome, problem, mut result) = match line.read(&view, mapping.settings()) {
            _ if mapping.why_stopped(line.target.key).is_some() => {
                (Outcome::LeftOut, mapping.why_stopped(line.target.key).cloned(), Json::Null)
            }
            Reading::Read(Desired::Value(value), remark) => (Outcome::Value, remark, shown(&value)),
            Reading::Rejected(problem) => (Outcome::Rejects, Some(problem), Json::Null),
            Reading::Read(..) | Reading::Unknown(_) if required && rejects(line.on_error) => {
                (Outcome::Rejects, Some(String::from(NO_FIRST_NAME)), Json::Null)
            }
            Reading::Read(..) if required => (Outcome::StandIn, None, Json::Null),
            Reading::Read(..) => (Outcome::Empty, None, Json::Null),
            Reading::Unknown(problem) if required => (Outcome::StandIn, Some(problem), Json::Null),
            Reading::Unknown(problem) => (Outcome::LeftOut, Some(problem), Json::Null),
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
    // What is kept is for `apply` to say: it is asked instead of judging twice.
    let readings = mapping.list_readings(&view);
    for ((label, kind, expression, rejects, owner), (texts, problem)) in emails.chain(phones).zip(readings) {
        let given = expression.evaluate(&view);
        let outcome = match &problem {
            Some(_) if rejects && expression.can_see(&view) => Outcome::Rejects,
            Some(_) if texts.is_empty() => Outcome::LeftOut,
            None if texts.is_empty() => Outcome::Empty,
            _ => Outcome::Value,
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
            values: show_values.then(|| ShownValues { expression: raw(&given), result: Json::from(texts) }),
        });
    }

    lines.extend(company_line(mapping, &view, record.as_ref(), show_values));

    Explanation {
        selected: mapping.select(contact).map_err(|problem| problem.problem),
        select: mapping.parts.select.as_ref().map(|select| select.text().to_owned()),
        lines,
        tags: mapping.tags().to_vec(),
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
