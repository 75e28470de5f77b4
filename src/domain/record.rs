//! The desired record: what the mapping wants one FIRST LINE contact to be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Number, Value};

use super::field::FieldKind;
use super::hash::Digest;

/// Three states of a wish. *Unknown* (not looked at, or not convertible) never clears and never counts as a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Desired<T> {
    /// Nothing is known in this run.
    #[default]
    Unknown,
    /// The source holds nothing.
    Empty,
    /// The source holds this.
    Value(T),
}

/// Who decides when both sides changed a field (design, section 4, Decide).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// LiveDesk decides; the default.
    Source,
    /// Written only where FIRST LINE holds nothing; the default on adopted records.
    FillBlank,
    /// Written at creation, never after.
    Target,
    /// Lists: add, never remove.
    Union,
}

/// A field of a FIRST LINE contact. Its order is the order of writing and of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldKey {
    /// `first_name`: the family name (notes FIRST LINE 3.2).
    FirstName,
    /// `last_name`: the given name.
    LastName,
    /// `membership_no`.
    MembershipNo,
    /// `identity_no`.
    IdentityNo,
    /// `gender`; codes contradict each other (notes FIRST LINE 3.3).
    Gender,
    /// `birth_at`, a date.
    BirthAt,
    /// A `cz_col` by its id.
    Custom(i64),
}

impl FieldKey {
    /// The standard fields, in order.
    pub const STANDARD: [Self; 6] =
        [Self::FirstName, Self::LastName, Self::MembershipNo, Self::IdentityNo, Self::Gender, Self::BirthAt];

    /// The wire name of a standard field; `None` for a custom field.
    pub fn standard_name(self) -> Option<&'static str> {
        Some(match self {
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::MembershipNo => "membership_no",
            Self::IdentityNo => "identity_no",
            Self::Gender => "gender",
            Self::BirthAt => "birth_at",
            Self::Custom(_) => return None,
        })
    }

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(id) = text.strip_prefix("cz_col ") {
            return id.parse().ok().map(Self::Custom);
        }
        Self::STANDARD.into_iter().find(|key| key.standard_name() == Some(text))
    }
}

impl std::fmt::Display for FieldKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.standard_name(), self) {
            (Some(name), _) => f.write_str(name),
            (None, Self::Custom(id)) => write!(f, "cz_col {id}"),
            (None, _) => unreachable!("every other key has a standard name"),
        }
    }
}

/// A typed value. The kind is part of it, so that it can be compared with what the target answers.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// Any text; not empty.
    Text(String),
    /// A JSON number.
    Number(Number),
    /// Yes or no.
    Boolean(bool),
    /// `YYYY-MM-DD`.
    Date(String),
    /// `HH:MM`.
    Time(String),
    /// `YYYY-MM-DD HH:MM:SS`, in the tenant's zone.
    DateTime(String),
    /// The value (not the text) of one option.
    Choice(Value),
    /// The values of several options; a set.
    Choices(Vec<Value>),
}

impl FieldValue {
    /// The kind of this value.
    pub fn kind(&self) -> FieldKind {
        match self {
            Self::Text(_) => FieldKind::Text,
            Self::Number(_) => FieldKind::Number,
            Self::Boolean(_) => FieldKind::Boolean,
            Self::Date(_) => FieldKind::Date,
            Self::Time(_) => FieldKind::Time,
            Self::DateTime(_) => FieldKind::DateTime,
            Self::Choice(_) => FieldKind::SingleChoice,
            Self::Choices(_) => FieldKind::MultipleChoice,
        }
    }

    /// One text per value: equal texts mean equal values.
    pub fn canonical(&self) -> String {
        match self {
            Self::Number(number) => canonical_number(number),
            Self::Boolean(yes) => String::from(if *yes { "1" } else { "0" }),
            Self::Text(text) | Self::Date(text) | Self::Time(text) | Self::DateTime(text) => text.clone(),
            Self::Choice(value) => canonical_scalar(value),
            Self::Choices(values) => canonical_set(values.iter().map(canonical_scalar)),
        }
    }
}

/// What the target answered for a field, in the canonical form of `kind`; `None` when it holds nothing.
///
/// Normalises what the notes list (FIRST LINE 3.1, 2.3, 4.3): numbers as text, booleans as 0/1/"1"/true,
/// dates with a zero time, times with seconds, multiple choice as array, text with commas or JSON text.
pub fn canonical_current(kind: FieldKind, current: &Value) -> Option<String> {
    if is_blank(current) {
        return None;
    }
    let text = canonical_scalar(current);
    Some(match kind {
        FieldKind::Text | FieldKind::SingleChoice => text,
        FieldKind::Number => text.trim().parse::<Number>().map_or(text, |number| canonical_number(&number)),
        FieldKind::Boolean => match text.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" => String::from("1"),
            "0" | "false" | "no" => String::from("0"),
            _ => text,
        },
        FieldKind::Date => match text.get(..10) {
            Some(date) if text.len() == 10 || text[10..].starts_with([' ', 'T']) => date.to_owned(),
            _ => text,
        },
        FieldKind::Time => match text.get(..5) {
            Some(time) if text.len() == 5 || text[5..].starts_with(":00") => time.to_owned(),
            _ => text,
        },
        FieldKind::DateTime => canonical_date_time(&text),
        FieldKind::MultipleChoice => match current {
            Value::Array(values) => canonical_set(values.iter().map(canonical_scalar)),
            _ => match serde_json::from_str::<Vec<Value>>(&text) {
                Ok(values) => canonical_set(values.iter().map(canonical_scalar)),
                Err(_) => canonical_set(text.split(',').map(|part| part.trim().to_owned())),
            },
        },
    })
}

/// Whether the target's answer means "nothing": null, an empty text, an empty array.
pub fn is_blank(current: &Value) -> bool {
    match current {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

/// Equal texts mean the same option of a choice.
pub fn canonical_choice(value: &Value) -> String {
    canonical_scalar(value)
}

fn canonical_scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => canonical_number(number),
        Value::Bool(yes) => String::from(if *yes { "1" } else { "0" }),
        other => other.to_string(),
    }
}

/// 3.0 and 3 are one number; integers stay exact beyond 2^53, fractions to 15 digits, which is what survives a way
/// through texts and databases.
fn canonical_number(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    let is_whole = |float: f64| float.fract() == 0.0 && float.abs() < 9.0e15;
    let float = if is_whole(float) { float } else { format!("{float:.14e}").parse().unwrap_or(float) };
    // Fifteen digits may leave no fraction.
    if is_whole(float) {
        return format!("{float:.0}");
    }
    Number::from_f64(float).map_or_else(|| number.to_string(), |float| float.to_string())
}

fn canonical_date_time(text: &str) -> String {
    let text = text.replacen('T', " ", 1);
    match text.len() {
        10 => format!("{text} 00:00:00"),
        16 => format!("{text}:00"),
        _ => text,
    }
}

fn canonical_set(values: impl Iterator<Item = String>) -> String {
    let set: BTreeSet<String> = values.filter(|value| !value.is_empty()).collect();
    Value::from(set.into_iter().collect::<Vec<_>>()).to_string()
}

/// A wished field with its owner.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredField {
    /// What is wished.
    pub value: Desired<FieldValue>,
    /// Who decides; `None`: the default for the record's origin (`source` if created, `fill_blank` if adopted).
    pub owner: Option<Owner>,
}

/// An e-mail address to hang on the contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredEmail {
    /// As it is written.
    pub address: String,
}

impl DesiredEmail {
    /// The form in which two spellings of one address are equal: trimmed, lower case.
    pub fn canonical(&self) -> String {
        canonical_email(&self.address)
    }
}

/// Canonical form of an e-mail address: trimmed, lower case (LiveDesk stores it lower-cased, notes LiveDesk 8).
pub fn canonical_email(address: &str) -> String {
    address.trim().to_lowercase()
}

/// A phone number to hang on the contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPhone {
    /// As it is written.
    pub number: String,
    /// FIRST LINE's phone type: 0 home, 1 company, 2 mobile, 3 fax, 4 other.
    pub kind: i64,
}

/// A wished list of children.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredList<T> {
    /// *Unknown* when no mapping line looked; *Empty* when the source holds none.
    pub value: Desired<Vec<T>>,
    /// Who decides; `None`: the default for the record's origin.
    pub owner: Option<Owner>,
}

impl<T> DesiredList<T> {
    /// The wished children; none when unknown or empty.
    pub fn items(&self) -> &[T] {
        match &self.value {
            Desired::Value(items) => items,
            Desired::Unknown | Desired::Empty => &[],
        }
    }
}

impl<T> Default for DesiredList<T> {
    fn default() -> Self {
        Self { value: Desired::Unknown, owner: None }
    }
}

/// Tags, each by itself, as the digest of its name: a label that could not be read says nothing of its own tag, and
/// takes nothing from the others. A tag that is in neither list is *unknown*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredTags {
    /// Tags whose label the contact has.
    pub present: Vec<Digest>,
    /// Tags whose label was read, and the contact does not have it.
    pub absent: Vec<Digest>,
}

impl DesiredTags {
    /// Whether nothing is known of any tag, as in a run that reads no labels.
    pub fn is_unknown(&self) -> bool {
        self.present.is_empty() && self.absent.is_empty()
    }
}

/// Why one value of one contact could not be used. Holds no value of the contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// The mapping line, as people know it: `birth_at`, `cz_col 32`, `emails[0]`.
    pub field: String,
    /// What is wrong, without the value.
    pub problem: String,
}

/// The FIRST LINE record that the mapping wants for one contact.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DesiredRecord {
    /// Standard and custom fields. A field that no mapping line names is absent.
    pub fields: BTreeMap<FieldKey, DesiredField>,
    /// E-mail addresses, without repeats.
    pub emails: DesiredList<DesiredEmail>,
    /// Phone numbers, without repeats.
    pub phones: DesiredList<DesiredPhone>,
    /// Fields whose value could not be read and only stands in for it: written at creation, unknown ever after.
    pub stand_ins: BTreeSet<FieldKey>,
    /// Tags. The mapping knows nothing of them; a run that reads labels puts them in.
    pub tags: DesiredTags,
    /// The name of its company.
    pub company: Desired<String>,
    /// Values that were left out (`on_error = "skip"`).
    pub warnings: Vec<FieldProblem>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{FieldKey, FieldValue, canonical_current};
    use crate::domain::field::FieldKind;

    #[test]
    fn what_the_target_answers_equals_what_was_written() {
        let almost_whole = serde_json::Number::from_f64(-878_945_920_213.000_2).expect("finite");
        let rows = [
            (FieldValue::Number(70.into()), json!("70")),
            (FieldValue::Number(serde_json::Number::from_f64(3.0).expect("finite")), json!(3)),
            (FieldValue::Number(9_007_199_254_740_993_i64.into()), json!("9007199254740993")),
            (FieldValue::Number(almost_whole.clone()), json!("-878945920213.0002")),
            (FieldValue::Number(almost_whole), json!(-878_945_920_213_i64)),
            // Seventeen digits, just short of the half of the fifteenth: one unit off in reading is another number.
            (
                FieldValue::Number(serde_json::Number::from_f64(446_879_101_072.460_45).expect("finite")),
                json!("446879101072.46045"),
            ),
            (FieldValue::Boolean(true), json!("1")),
            (FieldValue::Boolean(false), json!(0)),
            (FieldValue::Boolean(true), json!(true)),
            (FieldValue::Date("1985-08-27".into()), json!("1985-08-27 00:00:00")),
            (FieldValue::Time("08:30".into()), json!("08:30:00")),
            (FieldValue::DateTime("2024-02-01 00:00:00".into()), json!("2024-02-01T00:00:00")),
            (FieldValue::Choice(json!(2)), json!("2")),
            (FieldValue::Choices(vec![json!("b"), json!("a")]), json!(["a", "b"])),
            (FieldValue::Choices(vec![json!("b"), json!("a")]), json!("a,b")),
            (FieldValue::Choices(vec![json!(1), json!(2)]), json!("[\"2\",\"1\"]")),
        ];
        for (written, answered) in rows {
            assert_eq!(canonical_current(written.kind(), &answered), Some(written.canonical()), "{answered}");
        }
    }

    #[test]
    fn nothing_is_null_empty_text_or_empty_array() {
        for answered in [json!(null), json!(""), json!([])] {
            assert_eq!(canonical_current(FieldKind::Text, &answered), None);
        }
        assert_eq!(canonical_current(FieldKind::Number, &json!(0)), Some("0".into()));
    }

    #[test]
    fn a_key_survives_its_text_form() {
        for key in FieldKey::STANDARD.into_iter().chain([FieldKey::Custom(31)]) {
            assert_eq!(FieldKey::parse(&key.to_string()), Some(key));
        }
    }
}
