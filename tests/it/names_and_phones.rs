//! The tables of names and phone numbers: what the filters make of each, with the reason beside it.
//!
//! `tests/data/names.csv` and `phones.csv` are the place for a new case. Signs that are not seen are written as
//! `\u{200B}`. What should be left out is empty; `!` is an error that leaves the field out with a warning.

use deskferry::domain::contact::Contact;
use deskferry::domain::ids::LiveDeskId;
use deskferry::domain::phone::Country;
use deskferry::domain::record::{Desired, FieldKey, FieldValue};
use deskferry::mapping::{CompileContext, Mapping, MappingSpec, StampFields, compile};
use serde::Deserialize;
use serde_json::{Value, json};

/// Compiles `expressions` as custom fields 0, 1, ... of no known type.
fn mapping(expressions: &[String]) -> Mapping {
    let columns: Vec<Value> =
        expressions.iter().enumerate().map(|(id, value)| json!({ "id": id, "value": value })).collect();
    let spec: MappingSpec =
        serde_json::from_value(json!({ "contact": { "first_name": "'x'" }, "cz_cols": columns })).unwrap();
    let context = CompileContext {
        definitions: None,
        stamp: StampFields::default(),
        time_zone: jiff::tz::TimeZone::UTC,
        phone_country: Country::TAIWAN,
    };
    compile(&spec, &context).unwrap()
}

/// What the mapping makes of a contact of this name; nothing is the empty text, an error is `!`.
fn made(mapping: &Mapping, columns: i64, name: &str) -> Vec<String> {
    let Value::Object(fields) = json!({ "name": name }) else { unreachable!("an object") };
    let contact = Contact { id: LiveDeskId(1), created_at: None, last_activity_at: None, fields };
    let record = mapping.apply(&contact).unwrap();
    let text = |id| match &record.fields[&FieldKey::Custom(id)].value {
        Desired::Value(FieldValue::Text(text)) => text.clone(),
        Desired::Empty => String::new(),
        Desired::Unknown => String::from("!"),
        other @ Desired::Value(_) => panic!("{other:?}"),
    };
    (0..columns).map(text).collect()
}

fn rows<T: for<'de> Deserialize<'de>>(table: &str) -> Vec<T> {
    csv::Reader::from_reader(table.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap()
}

/// `\u{200B}` as the character it means.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u{");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').unwrap();
        whole.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
        whole.push_str(rest);
    }
    whole
}

#[derive(Deserialize)]
struct NameRow {
    name: String,
    order: String,
    family: String,
    given: String,
    real: String,
    reason: String,
}

#[test]
fn every_name_of_the_table_is_split_or_left_whole_as_its_reason_says() {
    let rows: Vec<NameRow> = rows(include_str!("../data/names.csv"));
    assert!(rows.len() >= 150, "{}", rows.len());
    let mut wrong = Vec::new();
    for order in ["", "western", "family_first"] {
        let argument = if order.is_empty() { String::new() } else { format!("(order='{order}')") };
        let expressions = ["family_name", "given_name", "real_name"].map(|filter| match filter {
            "real_name" => String::from("name | real_name"),
            filter => format!("name | {filter}{argument}"),
        });
        let mapping = mapping(&expressions);
        for row in rows.iter().filter(|row| row.order == order) {
            assert!(!row.reason.is_empty(), "{} has no reason", row.name);
            let made = made(&mapping, 3, &unescaped(&row.name));
            let real = if made[2].is_empty() { "no" } else { "yes" };
            let expected = [unescaped(&row.family), unescaped(&row.given), row.real.clone()];
            let found = [made[0].clone(), made[1].clone(), real.to_owned()];
            if found != expected {
                wrong.push(format!("{}: {found:?} and not {expected:?} ({})", row.name, row.reason));
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[derive(Deserialize)]
struct PhoneRow {
    phone: String,
    country: String,
    form: String,
    invalid: String,
    expected: String,
    reason: String,
}

#[test]
fn every_phone_of_the_table_gets_its_form_or_is_refused_as_its_reason_says() {
    let rows: Vec<PhoneRow> = rows(include_str!("../data/phones.csv"));
    assert!(rows.len() >= 80, "{}", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        assert!(!row.reason.is_empty(), "{} has no reason", row.phone);
        let option = |argument: &str, word: &str| {
            if word.is_empty() { String::new() } else { format!(", {argument}='{word}'") }
        };
        let options = option("form", &row.form) + &option("invalid", &row.invalid);
        let expression = format!("name | phone('{}'{options})", row.country);
        let found = made(&mapping(&[expression]), 1, &unescaped(&row.phone)).remove(0);
        if found != row.expected {
            wrong.push(format!("{}: {found} and not {} ({})", row.phone, row.expected, row.reason));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}
