//! The mapping file as plain data, before anything in it is checked.
//!
//! Words that have few legal values (`on_error`, `owner`, `type`) stay text here, so that [`super::compile()`]
//! can report every wrong one at once. The TOML text itself is read by `config`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Words of the source, and the option (or value) of the target that each stands for.
pub type Translation = BTreeMap<String, Value>;

/// A whole mapping file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MappingSpec {
    /// Owner of every line that names none: `source`, `fill_blank` or `target`.
    pub owner: Option<String>,
    /// Which contacts are carried; all of them without it.
    pub select: Option<SelectSpec>,
    /// Standard fields by their FIRST LINE name.
    pub contact: BTreeMap<String, FieldSpec>,
    /// Custom fields.
    pub cz_cols: Vec<CzColSpec>,
    /// E-mail addresses, one line per source of them.
    pub emails: Vec<EmailSpec>,
    /// Phone numbers, one line per source of them.
    pub phones: Vec<PhoneSpec>,
    /// Tags, one line per LiveDesk label.
    pub tags: Vec<TagSpec>,
    /// `off` (default) or `link`: whether existing companies are linked.
    pub companies: Option<String>,
    /// The name of a contact's company.
    pub company: Option<CompanySpec>,
    /// Fixtures for `map test`.
    pub tests: Vec<FixtureSpec>,
}

/// `[select]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectSpec {
    /// An expression; a contact is carried when it is true.
    pub when: String,
}

/// A line of `[contact]`: an expression alone, or a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldSpec {
    /// The expression.
    pub value: String,
    /// `skip` (default) or `reject`.
    pub on_error: Option<String>,
    /// `source`, `fill_blank`, `target` or `union`.
    pub owner: Option<String>,
    /// Translation of values.
    pub options: Translation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldTable {
    value: String,
    on_error: Option<String>,
    owner: Option<String>,
    #[serde(default)]
    options: Translation,
}

impl<'de> Deserialize<'de> for FieldSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Line;

        impl<'de> Visitor<'de> for Line {
            type Value = FieldSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an expression in quotes, or a table such as { value = \"...\", on_error = \"skip\" }")
            }

            fn visit_str<E>(self, value: &str) -> Result<FieldSpec, E> {
                Ok(FieldSpec { value: value.to_owned(), ..FieldSpec::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldSpec, A::Error> {
                let FieldTable { value, on_error, owner, options } =
                    FieldTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(FieldSpec { value, on_error, owner, options })
            }
        }

        deserializer.deserialize_any(Line)
    }
}

/// A `[[cz_cols]]` entry. Exactly one of `id` and `field` names the custom field.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CzColSpec {
    /// The custom field by its id.
    pub id: Option<i64>,
    /// The custom field as `Category / Name`.
    pub field: Option<String>,
    /// The expression.
    pub value: String,
    /// `skip` (default) or `reject`.
    pub on_error: Option<String>,
    /// `source`, `fill_blank`, `target` or `union` (multiple choice only).
    pub owner: Option<String>,
    /// Translation of values.
    #[serde(default)]
    pub options: Translation,
    /// Characters of a text, past which it is cut with a mark.
    pub max: Option<u32>,
}

/// An `[[emails]]` entry.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailSpec {
    /// The expression: one address or a list of them.
    pub value: String,
    /// `skip` (default) or `reject`.
    pub on_error: Option<String>,
    /// Owner of the whole list.
    pub owner: Option<String>,
}

/// A `[[phones]]` entry.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhoneSpec {
    /// The expression: one number or a list of them.
    pub value: String,
    /// `home`, `company`, `mobile` (default), `fax`, `other`, or FIRST LINE's code 0 to 4.
    #[serde(rename = "type")]
    pub kind: Option<Value>,
    /// `skip` (default) or `reject`.
    pub on_error: Option<String>,
    /// Owner of the whole list.
    pub owner: Option<String>,
}

/// A `[[tags]]` entry.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagSpec {
    /// The label in LiveDesk.
    pub label: String,
    /// The tag in FIRST LINE; without it, the label's own name.
    pub tag: Option<String>,
    /// `union` (default) or `source`.
    pub owner: Option<String>,
}

/// `[company]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompanySpec {
    /// The expression.
    pub value: String,
}

/// A `[[tests]]` entry: an invented contact and what the mapping must make of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixtureSpec {
    /// What it shows.
    pub name: String,
    /// The contact; keys that are left out are missing at the source.
    pub contact: Value,
    /// Expected values by field; see `docs/mapping.md`.
    #[serde(default)]
    pub expect: BTreeMap<String, Value>,
}
