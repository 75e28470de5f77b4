//! Definitions of FIRST LINE's custom fields (`cz_cols`), read from the live tenant.

use serde_json::Value;

/// Type of a custom field (platform notes FIRST LINE 4.1: codes 0 to 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldKind {
    /// 0: number.
    Number,
    /// 1: text.
    Text,
    /// 2: boolean.
    Boolean,
    /// 3: date, `YYYY-MM-DD`.
    Date,
    /// 4: time, `HH:MM`.
    Time,
    /// 5: date-time, `YYYY-MM-DD HH:MM:SS` in the tenant's zone.
    DateTime,
    /// 6: one of the options' values.
    SingleChoice,
    /// 7: a set of the options' values.
    MultipleChoice,
}

impl FieldKind {
    /// The kind behind a `type` code, or `None` for a code that the notes do not list.
    pub fn from_code(code: i64) -> Option<Self> {
        Some(match code {
            0 => Self::Number,
            1 => Self::Text,
            2 => Self::Boolean,
            3 => Self::Date,
            4 => Self::Time,
            5 => Self::DateTime,
            6 => Self::SingleChoice,
            7 => Self::MultipleChoice,
            _ => return None,
        })
    }

    /// The `type` code of this kind.
    pub fn code(self) -> i64 {
        match self {
            Self::Number => 0,
            Self::Text => 1,
            Self::Boolean => 2,
            Self::Date => 3,
            Self::Time => 4,
            Self::DateTime => 5,
            Self::SingleChoice => 6,
            Self::MultipleChoice => 7,
        }
    }

    /// The kind in words, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "text",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Time => "time",
            Self::DateTime => "date-time",
            Self::SingleChoice => "single choice",
            Self::MultipleChoice => "multiple choice",
        }
    }
}

/// One option of a choice field. What is stored and sent is `value`; `text` is what people see.
#[derive(Clone, Debug, PartialEq)]
pub struct ChoiceOption {
    /// Shown to people.
    pub text: String,
    /// Stored and sent; a string or a number.
    pub value: Value,
}

/// A custom field of customers (category type 0), as the tenant defines it.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldDefinition {
    /// `cz_col` id.
    pub id: i64,
    /// Id of its category.
    pub category_id: i64,
    /// Name of its category.
    pub category: String,
    /// Name of the field; not known to be unique.
    pub name: String,
    /// Its type.
    pub kind: FieldKind,
    /// `is_allowed_null` is false.
    pub required: bool,
    /// Options of a choice field; empty for the others.
    pub options: Vec<ChoiceOption>,
    /// Default that the platform may fill in at creation.
    pub default: Option<Value>,
}
