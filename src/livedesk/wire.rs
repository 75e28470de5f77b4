//! What LiveDesk answers, read with every type clash that its documents and samples hold (platform notes 3.2, 11).
//!
//! A row becomes a [`Contact`] as that type's documentation says, or a [`MalformedRow`]; one bad row never spoils
//! its page. A value that cannot be read is never passed over where that would make it look empty: then the whole row
//! is malformed. Of inboxes only five plain fields are kept: older releases put mail passwords beside them.
//! No message here holds a value.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::api::AnswerError;
use crate::domain::contact::Contact;
use crate::domain::ids::LiveDeskId;
use crate::sync::ports::{MalformedRow, SourcePage, SourceRow};

/// Texts of a row; missing ones become null.
const TEXTS: [&str; 8] =
    ["name", "first_name", "last_name", "email", "phone_number", "identifier", "thumbnail", "availability_status"];

/// What is kept of an inbox.
const INBOX_FIELDS: [&str; 5] = ["id", "channel_id", "name", "channel_type", "provider"];

/// A page as it came.
#[derive(Debug)]
pub(super) struct ListAnswer {
    pub(super) page: SourcePage,
    /// `meta.current_page`: the page that the server believes to have answered.
    pub(super) current_page: Option<u64>,
}

/// The answer as it is documented, its rows not read yet.
#[derive(Deserialize)]
struct Documented<'a> {
    #[serde(borrow)]
    payload: Vec<&'a RawValue>,
    #[serde(default)]
    meta: Value,
}

/// What is read of every row.
#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    created_at: Value,
    #[serde(default)]
    last_activity_at: Value,
}

/// Reads the answer of the list.
pub(super) fn list(body: &[u8]) -> Result<ListAnswer, AnswerError> {
    // serde would take an array for the fields of a struct, one by one.
    let documented = body.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(body).ok()).flatten();
    let Some(Documented { payload, meta }) = documented else { return any_list(body) };
    Ok(list_of(payload.into_iter().map(|row| outline(row.get())), Some(&meta)))
}

fn outline(row: &str) -> Result<SourceRow, MalformedRow> {
    // What is no object, or breaks off, is for the thorough reader to name.
    let outline = row.starts_with('{').then(|| serde_json::from_str(row).ok()).flatten();
    let Some(Outline { id, created_at, last_activity_at }) = outline else { return read(row).map(SourceRow::from) };
    let times = (time(Some(&created_at)), time(Some(&last_activity_at)));
    Ok(SourceRow::unread(row_id(Some(&id))?, times, row.into(), read))
}

/// Reads one row from its text.
fn read(row: &str) -> Result<Contact, MalformedRow> {
    let row = parse(row.as_bytes()).map_err(|_| MalformedRow { id: None, problem: "the row is no JSON".into() })?;
    contact(row)
}

fn list_of(rows: impl Iterator<Item = Result<SourceRow, MalformedRow>>, meta: Option<&Value>) -> ListAnswer {
    let count = meta.and_then(|meta| whole(meta.get("count")?));
    let mut page = SourcePage { count, ..SourcePage::default() };
    for row in rows {
        match row {
            Ok(row) => page.rows.push(row),
            Err(malformed) => page.malformed.push(malformed),
        }
    }
    ListAnswer { page, current_page: meta.and_then(|meta| whole(meta.get("current_page")?)) }
}

/// Reads an answer of another shape, or with texts that are no Unicode.
fn any_list(body: &[u8]) -> Result<ListAnswer, AnswerError> {
    let mut answer = object(body)?;
    // Tickets come inside `{code, message, data}` (notes 2); should contacts ever do, they are still contacts.
    if !answer.contains_key("payload")
        && let Some(Value::Object(inner)) = answer.remove("data")
    {
        answer = inner;
    }
    let rows = match answer.remove("payload") {
        Some(Value::Array(rows)) => rows,
        // The documents call the payload an object. No rows is an empty page, which a pass reads twice.
        Some(Value::Null) => Vec::new(),
        Some(Value::Object(mut payload)) => match payload.remove("contacts") {
            Some(Value::Array(rows)) => rows,
            None if payload.is_empty() => Vec::new(),
            _ => return Err(AnswerError::Shape("`payload` holds no list of contacts")),
        },
        Some(_) => return Err(AnswerError::Shape("`payload` is no list")),
        None => return Err(AnswerError::Shape("it has no `payload`")),
    };
    Ok(list_of(rows.into_iter().map(|row| contact(row).map(SourceRow::from)), answer.get("meta")))
}

/// Reads the answer of a read by id: `{payload: contact}`, `{payload: {contact}}` or the bare contact.
pub(super) fn single(body: &[u8]) -> Result<Result<Contact, MalformedRow>, AnswerError> {
    let mut value = Value::Object(object(body)?);
    for wrapping in ["data", "payload", "contact"] {
        let inner = value.as_object_mut().filter(|outer| !outer.contains_key("id"));
        if let Some(inner @ Value::Object(_)) = inner.and_then(|outer| outer.remove(wrapping)) {
            value = inner;
        }
    }
    if value.get("id").is_none() {
        return Err(AnswerError::Shape("it holds no contact"));
    }
    Ok(contact(value))
}

/// Normalises one row.
pub fn contact(row: Value) -> Result<Contact, MalformedRow> {
    let Value::Object(mut fields) = row else {
        return Err(MalformedRow { id: None, problem: "the row is not an object".into() });
    };
    let id = row_id(fields.get("id"))?;
    normalise(&mut fields).map_err(|problem| MalformedRow { id: Some(id), problem })?;
    let created_at = time(fields.get("created_at"));
    let last_activity_at = time(fields.get("last_activity_at"));
    *slot(&mut fields, "id") = id.0.into();
    *slot(&mut fields, "created_at") = created_at.into();
    *slot(&mut fields, "last_activity_at") = last_activity_at.into();
    Ok(Contact { id, created_at, last_activity_at, fields })
}

fn row_id(value: Option<&Value>) -> Result<LiveDeskId, MalformedRow> {
    let id = value.and_then(whole).and_then(|id| i64::try_from(id).ok());
    id.map(LiveDeskId).ok_or_else(|| MalformedRow { id: None, problem: "the row has no readable `id`".into() })
}

fn normalise(fields: &mut Map<String, Value>) -> Result<(), String> {
    for key in TEXTS {
        let value = slot(fields, key);
        match value {
            Value::String(_) | Value::Null => {}
            Value::Number(number) => *value = Value::String(number.to_string()),
            Value::Bool(flag) => *value = Value::String(flag.to_string()),
            Value::Array(_) | Value::Object(_) => return Err(format!("`{key}` is no text")),
        }
    }
    for key in ["custom_attributes", "additional_attributes"] {
        let value = slot(fields, key);
        let attributes = attributes(value.take()).ok_or_else(|| format!("`{key}` is neither an object nor empty"))?;
        *value = Value::Object(attributes);
    }
    let blocked = slot(fields, "blocked");
    *blocked = flag(blocked).ok_or("`blocked` is neither true nor false")?.into();
    // Only there when it was asked for: what is not there is unknown, not none.
    if let Some(entries) = fields.remove("contact_inboxes").filter(|entries| !entries.is_null()) {
        fields.insert("contact_inboxes".into(), inboxes(entries).into());
    }
    Ok(())
}

/// The value under a key; null when there was none.
fn slot<'a>(fields: &'a mut Map<String, Value>, key: &str) -> &'a mut Value {
    if !fields.contains_key(key) {
        fields.insert(key.to_owned(), Value::Null);
    }
    &mut fields[key]
}

/// `{}`, null, "", nothing, an object, or a text that holds an object (notes 11, row 20).
fn attributes(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Null => Some(Map::new()),
        Value::Object(map) => Some(map),
        Value::Array(items) if items.is_empty() => Some(Map::new()),
        Value::String(text) if text.trim().is_empty() => Some(Map::new()),
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(Value::Object(map)) => Some(map),
            Ok(Value::Null) => Some(Map::new()),
            _ => None,
        },
        _ => None,
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Null => Some(false),
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_i64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "yes" => Some(true),
            "false" | "f" | "0" | "no" | "" => Some(false),
            _ => None,
        },
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Channel identities with the plain fields of their inbox, in an order of our own: theirs is not defined.
fn inboxes(value: Value) -> Vec<Value> {
    let entries = match value {
        Value::Array(entries) => entries,
        entry @ Value::Object(_) => vec![entry],
        _ => Vec::new(),
    };
    let mut kept: Vec<Value> = entries
        .into_iter()
        .filter_map(|entry| {
            let Value::Object(mut entry) = entry else { return None };
            let inbox = entry.get("inbox");
            let inbox: Map<String, Value> =
                INBOX_FIELDS.iter().map(|field| ((*field).into(), plain(inbox.and_then(|i| i.get(field))))).collect();
            let source_id = entry.remove("source_id");
            Some(Value::Object(Map::from_iter([
                ("source_id".into(), plain(source_id.as_ref())),
                ("inbox".into(), inbox.into()),
            ])))
        })
        .collect();
    kept.sort_by_cached_key(Value::to_string);
    kept
}

/// A scalar, or null: what is nested is not kept.
fn plain(value: Option<&Value>) -> Value {
    match value {
        Some(scalar @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => scalar.clone(),
        _ => Value::Null,
    }
}

/// A whole number that is not negative: a number, a float without a fraction, or numeric text.
fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => {
            number.as_u64().or_else(|| floor(number).filter(|_| is_whole(number))?.try_into().ok())
        }
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn is_whole(number: &Number) -> bool {
    number.as_f64().is_some_and(|float| float.fract() == 0.0)
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked, and a fraction is meant to go")]
fn floor(number: &Number) -> Option<i64> {
    /// Largest integer up to which every one has a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.as_i64().or_else(|| number.as_f64().map(f64::floor).filter(|float| float.abs() <= EXACT).map(|f| f as i64))
}

/// Epoch seconds from a number, numeric text or ISO text; anything else is no time.
fn time(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => floor(number),
        Value::String(text) => {
            let text = text.trim();
            let number = || text.parse::<f64>().ok().and_then(Number::from_f64).as_ref().and_then(floor);
            text.parse().ok().or_else(number).or_else(|| iso(text))
        }
        _ => None,
    }
}

/// With a zone as it says; without one as UTC, which is what Rails writes.
fn iso(text: &str) -> Option<i64> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(instant.as_second());
    }
    let local: jiff::civil::DateTime = text.trim_end_matches("UTC").trim_end().parse().ok()?;
    Some(local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

fn object(body: &[u8]) -> Result<Map<String, Value>, AnswerError> {
    match parse(body)? {
        Value::Object(map) => Ok(map),
        Value::Array(rows) => Ok(Map::from_iter([("payload".into(), rows.into())])),
        _ => Err(AnswerError::Shape("it is no object")),
    }
}

/// Reads JSON; when a text in it is no Unicode (stray bytes, half a surrogate pair), that spot is replaced, so that
/// one broken name does not take the page with it.
fn parse(body: &[u8]) -> Result<Value, AnswerError> {
    serde_json::from_slice(body)
        .or_else(|_| serde_json::from_str(&mend(&String::from_utf8_lossy(body))))
        .map_err(|_| AnswerError::Shape("it is not readable as JSON"))
}

/// Replaces escapes of lone surrogates by that of the replacement character.
fn mend(text: &str) -> String {
    let unit = |at: usize| -> Option<u32> {
        let escape = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(escape, 16).ok()
    };
    let mut mended = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        let escape = at + found;
        mended.push_str(&text[at..escape]);
        let length = match (unit(escape), unit(escape + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                mended.push_str("\\ufffd");
                at = escape + 6;
                continue;
            }
            // The escape's own character goes along, so that an escaped backslash starts nothing.
            _ => 1 + text[escape + 1..].chars().next().map_or(0, char::len_utf8),
        };
        mended.push_str(&text[escape..escape + length]);
        at = escape + length;
    }
    mended.push_str(&text[at..]);
    mended
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{contact, list, single, time};
    use crate::domain::contact::Contact;
    use crate::domain::ids::LiveDeskId;
    use crate::sync::ports::{MalformedRow, SourcePage, SourceRow};

    fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/data/livedesk/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn read(row: Value) -> Contact {
        contact(row).unwrap()
    }

    /// The contacts of a page, and all its rows that are none.
    fn all(page: SourcePage) -> (Vec<Contact>, Vec<MalformedRow>) {
        let mut malformed = page.malformed;
        let (contacts, unreadable): (Vec<_>, Vec<_>) =
            page.rows.into_iter().map(SourceRow::contact).partition(Result::is_ok);
        malformed.extend(unreadable.into_iter().filter_map(Result::err));
        (contacts.into_iter().filter_map(Result::ok).collect(), malformed)
    }

    #[test]
    fn a_documented_page_is_read_with_all_its_type_clashes() {
        let answer = list(&fixture("list.json")).unwrap();
        assert_eq!((answer.page.count, answer.current_page), (Some(4), Some(1)));
        let (contacts, malformed) = all(answer.page);
        assert!(malformed.is_empty(), "{malformed:?}");
        let [mei, tina, gold, number] = contacts.as_slice() else { panic!("four contacts") };

        assert_eq!((mei.id, mei.created_at), (LiveDeskId(318_763), Some(1_737_453_297)));
        assert_eq!(mei.fields["custom_attributes"]["Cpf"], 2);
        assert_eq!(mei.fields["custom_attributes"]["CPF"], "1");
        assert_eq!(mei.fields["identifier"], Value::Null);

        assert_eq!(tina.id, LiveDeskId(99_999_999_999_999));
        assert_eq!(tina.fields["id"], 99_999_999_999_999_i64);
        assert_eq!((tina.created_at, tina.last_activity_at), (Some(1_737_453_298), None));
        assert_eq!(tina.fields["blocked"], false);
        assert_eq!(tina.fields["name"], "Tina O'Lunney ");
        assert_eq!(tina.fields["identifier"], "00042");
        assert_eq!(tina.fields["group_type"], 3, "unknown keys are kept");
        assert_eq!(tina.fields["custom_attributes"], json!({}));
        assert_eq!(tina.fields["additional_attributes"], json!({}));
        assert_eq!(tina.fields.get("contact_inboxes"), None, "not sent is not none");
        assert_eq!(tina.fields["last_activity_at"], Value::Null, "never missing");

        assert_eq!(gold.fields["blocked"], true);
        assert_eq!(gold.fields["custom_attributes"]["big"], 9_007_199_254_740_993_i64, "numbers stay exact");
        assert_eq!((gold.created_at, gold.last_activity_at), (Some(1_737_453_298), Some(1_737_453_297)));

        assert_eq!(number.fields["name"], "4155550100");
        assert_eq!(number.text("email"), Some("nul\0byte@example.com"));
        assert_eq!((number.created_at, number.last_activity_at), (None, None));
    }

    #[test]
    fn of_an_inbox_only_plain_fields_are_kept() {
        let answer = list(&fixture("list.json")).unwrap();
        let mei = &all(answer.page).0[0];
        assert!(!format!("{mei:?}").contains("never-keep-me"));
        let inboxes = mei.fields["contact_inboxes"].as_array().unwrap();
        let channels: Vec<&Value> = inboxes.iter().map(|entry| &entry["inbox"]["channel_type"]).collect();
        assert_eq!(channels, [&json!("Channel::Odd"), &json!("Channel::Email")], "in an order of their own");
        assert_eq!(inboxes[1]["source_id"], "lin.mei@example.com");
        assert_eq!(inboxes[0]["inbox"]["provider"], Value::Null);
    }

    #[test]
    fn a_row_that_is_no_contact_does_not_take_its_page_with_it() {
        let answer = list(&fixture("list_with_broken_rows.json")).unwrap();
        assert_eq!((answer.page.count, answer.page.len()), (Some(7), 10));
        let (contacts, malformed) = all(answer.page);
        assert_eq!(contacts.iter().map(|contact| contact.id.0).collect::<Vec<_>>(), [74]);
        let ids: Vec<Option<i64>> = malformed.iter().map(|row| row.id.map(|id| id.0)).collect();
        assert_eq!(ids, [None, None, None, None, None, Some(70), Some(71), Some(72), Some(73)]);
        let problems = format!("{malformed:?}");
        assert!(!problems.contains("secret") && !problems.contains("perhaps"), "{problems}");
    }

    #[test]
    fn every_kind_of_envelope_is_a_page() {
        let rows = json!([{ "id": 1 }]);
        for body in [
            json!({ "payload": rows }),
            json!({ "payload": { "contacts": rows }, "meta": null }),
            json!({ "code": 0, "message": "ok", "data": { "payload": rows, "meta": {} } }),
            rows.clone(),
        ] {
            let answer = list(body.to_string().as_bytes()).unwrap();
            assert_eq!((answer.page.rows.len(), answer.page.count), (1, None), "{body}");
        }
        for empty in [json!({ "payload": [] }), json!({ "payload": {} }), json!({ "payload": null })] {
            assert!(list(empty.to_string().as_bytes()).unwrap().page.is_empty());
        }
        for none in [json!({}), json!({ "error": "x" }), json!("x"), json!({ "payload": 3 })] {
            assert!(list(none.to_string().as_bytes()).is_err(), "{none}");
        }
    }

    #[test]
    fn texts_that_are_no_unicode_are_mended() {
        let mut body = br#"{"payload":[{"id":1,"name":"J\u00f6hn \ud83d \\ud83d \ud83c\udfe0 ","email":""#.to_vec();
        body.extend([0xC3, 0x28]);
        body.extend(br#""}]}"#);
        let answer = list(&body).unwrap();
        let fields = &all(answer.page).0[0].fields;
        assert_eq!(fields["name"], "Jöhn \u{fffd} \\ud83d 🏠 ");
        assert_eq!(fields["email"], "\u{fffd}(");
    }

    #[test]
    fn a_row_is_known_by_its_id_before_it_is_read() {
        let body = br#"{"payload":[{"id":"5","created_at":"17","email":["x"]},[6],{"id":7,"id":8,"name":"\ud83d"}]}"#;
        let page = list(body).unwrap().page;
        assert_eq!(
            page.rows.iter().map(|row| (row.id.0, row.created_at)).collect::<Vec<_>>(),
            [(5, Some(17)), (8, None)]
        );
        assert_eq!(page.malformed.len(), 1, "a list is no row, whatever it begins with");
        let (contacts, malformed) = all(page);
        assert_eq!(contacts[0].fields["name"], "\u{fffd}");
        assert_eq!(malformed[1].id, Some(LiveDeskId(5)));
        assert!(!format!("{:?}", list(body).unwrap().page).contains("created"), "a row does not print what it holds");

        let unreadable = br#"{"payload":[{"id":5,"custom_attributes":{"x":1e400}},{"id":6}]}"#;
        let (contacts, malformed) = all(list(unreadable).unwrap().page);
        assert_eq!((contacts[0].id, malformed[0].id), (LiveDeskId(6), Some(LiveDeskId(5))), "it can be named");
    }

    #[test]
    fn a_time_is_read_from_whatever_holds_one() {
        let rows = [
            (json!(0), Some(0)),
            (json!(1.9), Some(1)),
            (json!(4_102_444_800_i64), Some(4_102_444_800)),
            (json!("17"), Some(17)),
            (json!(" 17.5 "), Some(17)),
            (json!("1970-01-02"), Some(86_400)),
            (json!("1970-01-01 00:01:00"), Some(60)),
            (json!("1970-01-01 00:01:00 UTC"), Some(60)),
            (json!("1970-01-01T08:00:01+08:00"), Some(1)),
            (json!("2024-02-01T00:00:00.000Z"), Some(1_706_745_600)),
            (json!(""), None),
            (json!("inf"), None),
            (json!(1e300), None),
            (json!(true), None),
            (json!(null), None),
            (json!({}), None),
        ];
        for (value, expected) in rows {
            assert_eq!(time(Some(&value)), expected, "{value}");
        }
    }

    #[test]
    fn an_id_is_a_number_however_it_is_written() {
        for id in [json!(5), json!("5"), json!(5.0), json!(" 5 ")] {
            assert_eq!(read(json!({ "id": id })).id, LiveDeskId(5));
        }
        for id in [json!(5.5), json!(""), json!("5a"), json!(null), json!(true), json!(-1), json!(u64::MAX)] {
            assert!(contact(json!({ "id": id })).is_err_and(|row| row.id.is_none()), "{id}");
        }
    }

    #[test]
    fn a_single_contact_comes_wrapped_or_bare() {
        let row = json!({ "id": 7, "name": "x" });
        for body in [
            row.clone(),
            json!({ "payload": row }),
            json!({ "payload": { "contact": row } }),
            json!({ "code": 0, "data": { "payload": row } }),
        ] {
            assert_eq!(single(body.to_string().as_bytes()).unwrap().unwrap().id, LiveDeskId(7), "{body}");
        }
        assert!(single(&fixture("contact.json")).unwrap().is_ok());
        assert!(single(b"{\"payload\": []}").is_err());
    }
}
