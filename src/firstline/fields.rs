//! What we send: the wire form of every value, written straight into the body.
//!
//! Numbers travel as JSON numbers (text can fail validation, notes FIRST LINE 1.3), choices as the option's value,
//! and only fields that are in the write are sent.

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::Value;

use super::profile::UpdateMethod;
use super::settings::{BooleanForm, ClearForm};
use crate::domain::record::{FieldKey, FieldValue};
use crate::domain::target::{ContactWrite, WriteValue};

/// How values are written at this tenant.
#[derive(Clone, Copy)]
pub(super) struct Forms {
    pub(super) boolean: BooleanForm,
    pub(super) clear: ClearForm,
}

impl Forms {
    /// Whether a value is in the body at all.
    fn sends(self, value: &WriteValue) -> bool {
        !(self.clear == ClearForm::LeftOut && matches!(value, WriteValue::Clear))
    }
}

/// A body, as bytes.
pub(super) fn body(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("maps with text keys and no foreign types always serialise")
}

/// The body of a contact's create or update.
pub(super) struct ContactBody<'a> {
    pub(super) write: &'a ContactWrite,
    pub(super) forms: Forms,
}

impl Serialize for ContactBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let sent = |(_, value): &(&FieldKey, &WriteValue)| self.forms.sends(value);
        for (key, value) in self.write.fields.iter().filter(sent) {
            if let Some(name) = key.standard_name() {
                map.serialize_entry(name, &Wire(value, self.forms))?;
            }
        }
        if self.write.fields.iter().filter(sent).any(|(key, _)| matches!(key, FieldKey::Custom(_))) {
            map.serialize_entry("cz_cols", &Columns(self.write, self.forms))?;
        }
        if let Some(ids) = &self.write.tag_ids {
            map.serialize_entry("tag_ids", ids)?;
        }
        if let Some(ids) = &self.write.company_ids {
            map.serialize_entry("company_ids", ids)?;
        }
        map.end()
    }
}

struct Columns<'a>(&'a ContactWrite, Forms);

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (key, value) in &self.0.fields {
            if let FieldKey::Custom(id) = key
                && self.1.sends(value)
            {
                list.serialize_element(&Column { id: *id, value: Wire(value, self.1) })?;
            }
        }
        list.end()
    }
}

#[derive(serde::Serialize)]
struct Column<'a> {
    id: i64,
    value: Wire<'a>,
}

struct Wire<'a>(&'a WriteValue, Forms);

impl Serialize for Wire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0, self.1.clear) {
            (WriteValue::Typed(value), _) => typed(value, self.1.boolean, serializer),
            (WriteValue::AsRead(value), _) => value.serialize(serializer),
            (WriteValue::Clear, ClearForm::Null | ClearForm::LeftOut) => serializer.serialize_unit(),
            (WriteValue::Clear, ClearForm::EmptyText) => serializer.serialize_str(""),
        }
    }
}

fn typed<S: Serializer>(value: &FieldValue, boolean: BooleanForm, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        FieldValue::Text(text) | FieldValue::Date(text) | FieldValue::Time(text) | FieldValue::DateTime(text) => {
            serializer.serialize_str(text)
        }
        FieldValue::Number(number) => number.serialize(serializer),
        FieldValue::Boolean(yes) => match boolean {
            BooleanForm::OneZero => serializer.serialize_u8(u8::from(*yes)),
            BooleanForm::TrueFalse => serializer.serialize_bool(*yes),
            BooleanForm::Text => serializer.serialize_str(if *yes { "1" } else { "0" }),
        },
        FieldValue::Choice(value) => value.serialize(serializer),
        FieldValue::Choices(values) => values.serialize(serializer),
    }
}

/// An update's body with `_method` in it, where the method asks for that.
pub(super) struct UpdateBody<'a, T> {
    pub(super) method: UpdateMethod,
    pub(super) inner: &'a T,
}

impl<T: Serialize> Serialize for UpdateBody<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Tunnelled<'a, T> {
            #[serde(rename = "_method")]
            method: &'static str,
            #[serde(flatten)]
            inner: &'a T,
        }
        match self.method {
            UpdateMethod::PostBody => Tunnelled { method: "put", inner: self.inner }.serialize(serializer),
            UpdateMethod::PostQuery | UpdateMethod::Put => self.inner.serialize(serializer),
        }
    }
}

/// The body of a tag's create.
#[derive(serde::Serialize)]
pub(super) struct TagBody<'a> {
    pub(super) name: &'a str,
}

/// The body of an e-mail's create or update. Address is always sent: two statements on whether an update needs it.
#[derive(serde::Serialize)]
pub(super) struct EmailBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) contact_id: Option<i64>,
    pub(super) address: &'a str,
}

/// The body of a phone's create or update.
#[derive(serde::Serialize)]
pub(super) struct PhoneBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) contact_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile_id: Option<i64>,
    #[serde(rename = "type")]
    pub(super) kind: i64,
    pub(super) number: &'a str,
}

/// The filter on a custom field as JSON text.
pub(super) fn json_filter(field: i64, value: &str) -> String {
    Value::from(vec![serde_json::json!({"id": field, "op": "=", "val": value})]).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ContactBody, Forms, UpdateBody, body};
    use crate::domain::record::{FieldKey, FieldValue};
    use crate::domain::target::{ContactWrite, WriteValue};
    use crate::firstline::profile::UpdateMethod;
    use crate::firstline::settings::{BooleanForm, ClearForm};

    fn forms(boolean: BooleanForm, clear: ClearForm) -> Forms {
        Forms { boolean, clear }
    }

    fn written(value: WriteValue, forms: Forms) -> Value {
        let write = ContactWrite { fields: [(FieldKey::Custom(5), value)].into(), ..ContactWrite::default() };
        let sent: Value = serde_json::from_slice(&body(&ContactBody { write: &write, forms })).unwrap();
        sent["cz_cols"][0]["value"].clone()
    }

    #[test]
    fn every_kind_of_value_has_its_wire_form() {
        let usual = forms(BooleanForm::OneZero, ClearForm::Null);
        let rows = [
            (FieldValue::Text("x".into()), json!("x")),
            (FieldValue::Number(60.into()), json!(60)),
            (FieldValue::Boolean(true), json!(1)),
            (FieldValue::Boolean(false), json!(0)),
            (FieldValue::Date("1985-08-27".into()), json!("1985-08-27")),
            (FieldValue::Time("08:30".into()), json!("08:30")),
            (FieldValue::DateTime("2024-02-01 10:00:00".into()), json!("2024-02-01 10:00:00")),
            (FieldValue::Choice(json!(2)), json!(2)),
            (FieldValue::Choices(vec![json!("a"), json!(2)]), json!(["a", 2])),
        ];
        for (value, expected) in rows {
            assert_eq!(written(WriteValue::Typed(value), usual), expected);
        }
        let other = forms(BooleanForm::TrueFalse, ClearForm::EmptyText);
        assert_eq!(written(WriteValue::Typed(FieldValue::Boolean(true)), other), json!(true));
        assert_eq!((written(WriteValue::Clear, usual), written(WriteValue::Clear, other)), (json!(null), json!("")));
        assert_eq!(written(WriteValue::AsRead(json!("19999")), usual), json!("19999"));
    }

    #[test]
    fn a_field_that_is_cleared_by_leaving_it_out_is_not_sent() {
        let write = ContactWrite {
            fields: [
                (FieldKey::LastName, WriteValue::Clear),
                (FieldKey::Custom(5), WriteValue::Clear),
                (FieldKey::Custom(6), WriteValue::Typed(FieldValue::Boolean(true))),
            ]
            .into(),
            ..ContactWrite::default()
        };
        let forms = forms(BooleanForm::Text, ClearForm::LeftOut);
        let sent: Value = serde_json::from_slice(&body(&ContactBody { write: &write, forms })).unwrap();
        assert_eq!(sent, json!({"cz_cols": [{"id": 6, "value": "1"}]}));
    }

    #[test]
    fn only_what_is_in_the_write_is_sent() {
        let write = ContactWrite {
            fields: [(FieldKey::FirstName, WriteValue::Typed(FieldValue::Text("陳".into())))].into(),
            tag_ids: Some(vec![1, 2]),
            company_ids: None,
        };
        let inner = ContactBody { write: &write, forms: forms(BooleanForm::OneZero, ClearForm::Null) };
        let sent = |method| -> Value { serde_json::from_slice(&body(&UpdateBody { method, inner: &inner })).unwrap() };
        assert_eq!(sent(UpdateMethod::Put), json!({"first_name": "陳", "tag_ids": [1, 2]}));
        let tunnelled = json!({"_method": "put", "first_name": "陳", "tag_ids": [1, 2]});
        assert_eq!(sent(UpdateMethod::PostBody), tunnelled);
    }
}
