//! Definitions of custom fields, from either of the two endpoints that give them (notes FIRST LINE 4.2).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::lenient::{Flag, Int, Row, Text, soft};
use crate::domain::field::{ChoiceOption, FieldDefinition, FieldKind};

/// A category of custom fields with its columns.
#[derive(Deserialize)]
pub(super) struct CategoryRow {
    id: Int,
    #[serde(default)]
    name: Text,
    #[serde(default, rename = "type", deserialize_with = "soft")]
    kind: Option<Int>,
    #[serde(default, deserialize_with = "soft")]
    cols: Option<Vec<Row<ColumnRow>>>,
}

/// A custom field's definition.
#[derive(Deserialize)]
pub(super) struct ColumnRow {
    id: Int,
    #[serde(default)]
    name: Text,
    #[serde(default, rename = "type", deserialize_with = "soft")]
    kind: Option<Int>,
    #[serde(default, deserialize_with = "soft")]
    is_allowed_null: Option<Flag>,
    #[serde(default)]
    default: Value,
    #[serde(default, deserialize_with = "soft")]
    options: Option<Vec<Row<OptionRow>>>,
    #[serde(default, deserialize_with = "soft")]
    category_id: Option<Int>,
    #[serde(default, deserialize_with = "soft")]
    category: Option<Box<CategoryRow>>,
}

#[derive(Deserialize)]
struct OptionRow {
    #[serde(default)]
    text: Text,
    #[serde(default)]
    value: Value,
}

/// The category type of fields that are written through `contact.cz_cols` (notes FIRST LINE 4.1).
const CUSTOMER_FORM: i64 = 0;

impl CategoryRow {
    pub(super) fn id(&self) -> i64 {
        self.id.0
    }

    fn is_customer_form(&self) -> bool {
        self.kind == Some(Int(CUSTOMER_FORM))
    }

    /// Whether it is a customer form that does not say what its fields are.
    pub(super) fn lacks_columns(&self) -> bool {
        self.is_customer_form() && self.cols.is_none()
    }

    /// The fields of a customer form; none of any other category.
    pub(super) fn into_definitions(self) -> Vec<FieldDefinition> {
        if !self.is_customer_form() {
            return Vec::new();
        }
        let (id, name) = (self.id.0, self.name.0);
        let columns = self.cols.unwrap_or_default().into_iter();
        columns.filter_map(|column| column.or_warn("cz_col")?.into_definition(id, name.clone())).collect()
    }
}

/// The fields by both lists: what one side does not have is taken from the other.
pub(super) fn merged(categories: Vec<CategoryRow>, columns: Vec<ColumnRow>) -> Vec<FieldDefinition> {
    // The name of every customer form; `None` for any other category.
    let forms: BTreeMap<i64, Option<String>> = categories
        .iter()
        .map(|category| (category.id(), category.is_customer_form().then(|| category.name.0.clone())))
        .collect();
    let mut fields: Vec<FieldDefinition> = categories.into_iter().flat_map(CategoryRow::into_definitions).collect();
    for mut column in columns.into_iter().filter_map(ColumnRow::into_own_definition) {
        match forms.get(&column.category_id) {
            // The list was asked for customer forms only, but filters may be ignored.
            Some(None) => continue,
            Some(Some(name)) if column.category.is_empty() => column.category.clone_from(name),
            _ => {}
        }
        match fields.iter_mut().find(|field| field.id == column.id) {
            Some(field) if field.options.is_empty() => field.options = column.options,
            Some(_) => {}
            None => fields.push(column),
        }
    }
    fields
}

impl ColumnRow {
    pub(super) fn id(&self) -> i64 {
        self.id.0
    }

    /// A row of the flat list. The list was asked for customer forms; a row that says otherwise is believed.
    pub(super) fn into_own_definition(mut self) -> Option<FieldDefinition> {
        match self.category.take() {
            Some(category) if category.kind.is_some() && !category.is_customer_form() => None,
            Some(category) => self.into_definition(category.id.0, category.name.0),
            None => {
                let id = self.category_id.map_or(0, |id| id.0);
                self.into_definition(id, String::new())
            }
        }
    }

    fn into_definition(self, category_id: i64, category: String) -> Option<FieldDefinition> {
        let Some(kind) = self.kind.and_then(|code| FieldKind::from_code(code.0)) else {
            tracing::warn!(cz_col = self.id.0, "custom field of an unknown type is left out");
            return None;
        };
        let options = self.options.unwrap_or_default().into_iter();
        Some(FieldDefinition {
            id: self.id.0,
            category_id,
            category,
            name: self.name.0,
            kind,
            required: self.is_allowed_null == Some(Flag(false)),
            options: options
                .filter_map(|option| option.or_warn("option"))
                .map(|option| ChoiceOption { text: option.text.0, value: option.value })
                .collect(),
            default: Some(self.default).filter(|default| !default.is_null()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::CategoryRow;
    use crate::domain::field::FieldKind;

    #[test]
    fn definitions_are_those_of_customer_forms_with_a_known_type() {
        let category = |kind: Value| -> CategoryRow {
            serde_json::from_value(json!({"id": "2", "name": "VIP", "type": kind, "cols": [
                {"id": 31, "name": "Level", "type": "6", "is_allowed_null": "0", "default": 1, "creater": {"id": 1},
                 "options": [{"text": "Gold", "value": 1}, {"text": 2, "value": "s"}]},
                {"id": 32, "name": "Note", "type": 1, "is_allowed_null": true, "options": null},
                {"id": 33, "name": "Odd", "type": 99},
            ]}))
            .ok()
            .unwrap()
        };
        let fields = category(json!("0")).into_definitions();
        assert_eq!(fields.iter().map(|field| field.id).collect::<Vec<_>>(), [31, 32]);
        assert_eq!((fields[0].kind, fields[0].required, fields[0].category_id), (FieldKind::SingleChoice, true, 2));
        assert_eq!((fields[0].options[0].value.clone(), fields[0].default.clone()), (json!(1), Some(json!(1))));
        assert_eq!(fields[0].options[1].text, "2");
        assert_eq!((fields[1].kind, fields[1].required), (FieldKind::Text, false));
        for other in [json!(1), json!(2), json!(null)] {
            assert!(category(other).into_definitions().is_empty());
        }
    }
}
