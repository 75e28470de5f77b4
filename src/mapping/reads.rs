//! Which attributes the lines of a mapping read, so that `rest(...)` knows what is left.
//!
//! A line that reads a whole object (or the whole contact) leaves nothing that could be told, which is a
//! problem of the file. `[select]` carries nothing, so what it reads is still left.

use std::collections::{BTreeMap, BTreeSet};

use super::MappingProblem;
use super::scan::{self, Read};

/// The objects whose rest can be asked for.
pub(super) const OBJECTS: [&str; 2] = ["custom_attributes", "additional_attributes"];

/// The keys that are read, by object.
pub(super) type Used = BTreeMap<&'static str, BTreeSet<String>>;

/// What all lines of a mapping read.
#[derive(Debug, Default)]
pub(super) struct Reads {
    used: Used,
    /// Places that read an object whole.
    whole: Vec<(&'static str, String)>,
    /// Places that ask for the rest of an object.
    rest: Vec<(&'static str, String, usize)>,
    problems: Vec<MappingProblem>,
}

impl Reads {
    /// Notes what the expression at `place` reads.
    pub(super) fn note(&mut self, place: &str, expression: &str) {
        for read in scan::reads(expression, OBJECTS) {
            match read {
                Read::Rest(object, column) => self.rest.push((object, place.to_owned(), column)),
                Read::NoRest(column) => self.problems.push(MappingProblem {
                    place: place.to_owned(),
                    column: Some(column),
                    message: String::from("`rest` needs the object whose rest is meant"),
                    help: Some(format!("write rest({}) or rest({})", OBJECTS[0], OBJECTS[1])),
                }),
                _ if place == "select.when" => {}
                Read::Key(object, key) => {
                    self.used.entry(object).or_default().insert(key);
                }
                Read::Whole(object) => self.whole.push((object, place.to_owned())),
            }
        }
    }

    /// The keys that are read, or what makes it impossible to say.
    pub(super) fn settle(mut self) -> Result<Used, Vec<MappingProblem>> {
        for (object, place, column) in &self.rest {
            if let Some((_, reader)) = self.whole.iter().find(|(whole, _)| whole == object) {
                self.problems.push(MappingProblem {
                    place: place.clone(),
                    column: Some(*column),
                    message: format!("nothing is left for rest({object}): {reader} reads all of it"),
                    help: Some(format!("name the keys there, as in {object}.city")),
                });
            }
        }
        if self.problems.is_empty() { Ok(self.used) } else { Err(self.problems) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use crate::domain::contact::Contact;
    use crate::domain::ids::LiveDeskId;
    use crate::domain::record::{Desired, FieldKey, FieldValue};
    use crate::mapping::compile::testing::{compile, definitions};
    use crate::mapping::{Mapping, explain};

    /// A mapping of these values to text fields 40 and 39, and a choice from `custom_attributes.vip`.
    fn with(values: &[&str]) -> Result<Mapping, Vec<String>> {
        let mut columns = vec![json!({ "id": 32, "value": "custom_attributes.vip" })];
        columns.extend([40, 39].iter().zip(values).map(|(id, value)| json!({ "id": id, "value": value })));
        let spec = json!({ "select": { "when": "not custom_attributes.spam" }, "contact": { "first_name": "name" },
            "cz_cols": columns });
        let definitions = definitions();
        compile(spec, Some(&definitions)).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    /// What `value` gives for a contact with these attributes, beside the lines that `with` has.
    fn rest(value: &str, custom: &Json, additional: &Json) -> Option<String> {
        let mapping = with(&[value]).expect("compiles");
        let Json::Object(fields) =
            json!({ "name": "N", "custom_attributes": custom, "additional_attributes": additional })
        else {
            unreachable!("an object")
        };
        let contact = Contact { id: LiveDeskId(7), created_at: None, last_activity_at: None, fields };
        let record = mapping.apply(&contact).expect("carried");
        explain::explain(&mapping, &contact, true);
        match &record.fields[&FieldKey::Custom(40)].value {
            Desired::Value(FieldValue::Text(text)) => Some(text.clone()),
            Desired::Empty => None,
            other => panic!("{other:?} {:?}", record.warnings),
        }
    }

    fn custom(custom: &Json) -> Option<String> {
        rest("rest(custom_attributes)", custom, &json!({}))
    }

    #[test]
    fn the_rest_is_what_no_line_reads_one_key_a_line_and_sorted() {
        let attributes = json!({ "vip": "gold", "spam": false, "b": " x\n y ", "a": 3.0, "Endereço de casa": "Rua 1",
            "list": ["p", 2], "nested": { "z": 1, "y": null }, "empty": "", "nothing": null, "none": [], "big": 9_007_199_254_740_993_u64 });
        let expected = "Endereço de casa: Rua 1\na: 3\nb: x y\nbig: 9007199254740993\nlist: [\"p\",2]\nnested: {\"z\":1}\nspam: false";
        assert_eq!(custom(&attributes).as_deref(), Some(expected));
        assert_eq!(custom(&json!({ "vip": "gold" })), None);
        for nothing in [json!({}), json!(null), json!(""), json!([])] {
            assert_eq!(custom(&nothing), None, "{nothing}");
        }
    }

    #[test]
    fn keys_of_one_object_are_not_taken_from_the_other() {
        let both = json!({ "vip": "gold" });
        assert_eq!(rest("rest(additional_attributes)", &both, &both).as_deref(), Some("vip: gold"));
    }

    #[test]
    fn addresses_and_keys_of_the_platform_stay_behind_unless_they_are_asked_for() {
        let attributes = json!({ "created_at_ip": "203.0.113.7", "last_ip": "x", "where": "2001:db8::1", "proxy": "203.0.113.7, 10.0.0.1",
            "port": "203.0.113.7:443", "browser": { "name": "Firefox" }, "Referer": "https://example.com", "initiated_at": { "t": 1 },
            "deep": { "ip": "x", "seen": ["203.0.113.7", "ok"] }, "ship": "Ever", "version": "1.2.3" });
        assert_eq!(custom(&attributes).as_deref(), Some("deep: {\"seen\":[\"ok\"]}\nship: Ever\nversion: 1.2.3"));
        let all = rest("rest(custom_attributes, system=true)", &attributes, &json!({})).expect("text");
        for kept in ["created_at_ip: 203.0.113.7", "where: 2001:db8::1", "browser: {\"name\":\"Firefox\"}", "Referer: "]
        {
            assert!(all.contains(kept), "{kept} in {all}");
        }
    }

    #[test]
    fn no_address_slips_through_in_company() {
        for value in [
            json!("203.0.113.7;10.0.0.1"),
            json!("IP: 203.0.113.7"),
            json!("IP:203.0.113.7"),
            json!("位址203.0.113.7，台北"),
            json!("203.0.113.7\n10.0.0.1"),
            json!("[2001:db8::1]"),
            json!("[2001:db8::1]:443"),
            json!("203.0.113.7/32"),
            json!("203.0.113.7."),
            json!("http://203.0.113.7/"),
            json!("https://203.0.113.7:8443/x?y=1"),
            json!("seen from 203.0.113.7 today"),
            json!("{\"ip\":\"203.0.113.7\"}"),
            json!("[\"203.0.113.7\"]"),
            json!("{\"seen\":{\"from\":\"fe80::1%eth0\"}}"),
        ] {
            assert_eq!(custom(&json!({ "x": value })), None, "{value}");
        }
        for key in [
            "clientIP",
            "ipAddress",
            "user_ip_address",
            "userAgent",
            "User-Agent",
            "browserLanguage",
            "browser_name",
            "IP",
            "Last IP",
            "X-Forwarded-For",
        ] {
            assert_eq!(custom(&json!({ key: "x" })), None, "{key}");
        }
        for (key, value) in [
            ("ship", "Ever Given"),
            ("zip", "106"),
            ("membership", "gold"),
            ("call", "12:30:45"),
            ("version", "1.2.3"),
            ("note", "see std: 10.5"),
            ("json", "{\"a\": 1}"),
            ("VIP", "yes"),
        ] {
            assert_eq!(custom(&json!({ key: value })), Some(format!("{key}: {value}")), "{key}");
        }
        let part = json!({ "x": "{\"ip\":\"203.0.113.7\",\"plan\":\"gold\"}" });
        assert_eq!(custom(&part).as_deref(), Some("x: {\"plan\":\"gold\"}"), "the rest of such a text is carried");
    }

    #[test]
    fn attributes_that_are_json_in_a_text_or_no_object_are_carried_too() {
        assert_eq!(custom(&json!("{\"vip\":\"gold\",\"ip\":\"203.0.113.7\"}")).as_deref(), Some("vip: gold"));
        assert_eq!(custom(&json!("just words")).as_deref(), Some("just words"));
        assert_eq!(custom(&json!(["a", "203.0.113.7"])).as_deref(), Some("[\"a\"]"));
    }

    #[test]
    fn a_rest_that_cannot_be_told_is_a_problem_of_the_file() {
        let problems = |values: &[&str]| with(values).expect_err("problems");
        for reader in [
            "custom_attributes",
            "contact | items | length",
            "custom_attributes[name]",
            "custom_attributes | items | length",
        ] {
            assert_eq!(
                problems(&["rest(custom_attributes)", reader]),
                [
                    "cz_cols[1].value: nothing is left for rest(custom_attributes): cz_cols[2].value reads all of it (at column 1); name the keys there, as in custom_attributes.city"
                ],
                "{reader}"
            );
        }
        let needs = "cz_cols[1].value: `rest` needs the object whose rest is meant (at column 1); write rest(custom_attributes) or rest(additional_attributes)";
        for wrong in ["rest(name)", "rest(custom_attributes.x)", "rest(contact)"] {
            assert_eq!(problems(&[wrong])[0], needs, "{wrong}");
        }
        assert_eq!(problems(&["rest()"]), ["cz_cols[1].value: rest takes custom_attributes or additional_attributes"]);
        assert_eq!(
            problems(&["rest(custom_attributes, sytem=true)"]),
            ["cz_cols[1].value: the filter has no argument `sytem`; it has: object, system"]
        );
        assert!(with(&["rest(custom_attributes)", "contact.custom_attributes.x ~ contact.group"]).is_ok());
    }

    #[test]
    fn another_line_that_reads_a_key_changes_the_version() {
        let version = |other| with(&["rest(custom_attributes)", other]).expect("compiles").version().to_owned();
        assert_ne!(version("name"), version("custom_attributes.x"));
    }

    #[test]
    fn channels_make_the_source_send_the_inboxes() {
        assert!(with(&["contact_inboxes | channels | join('\\n')"]).expect("compiles").needs_inboxes());
        assert!(!with(&["rest(custom_attributes)"]).expect("compiles").needs_inboxes());
    }
}
