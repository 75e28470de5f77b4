//! Applies a compiled mapping to one contact.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use minijinja::value::Value;
use serde_json::Value as Json;

use super::compile::version as version_of;
use super::context::view;
use super::convert::{self, Converted, convert, limited};
use super::expression::{Compiled, names_of};
use super::filters::Settings;
use super::spec::{FixtureSpec, Translation};
use super::tags::{COMPANY, TagLine};
use super::target::{Target, TargetKind};
use crate::domain::contact::Contact;
use crate::domain::field::FieldKind;
use crate::domain::outcome::{SetAside, SetAsideKind};
use crate::domain::record::{Desired, DesiredField, DesiredRecord, FieldKey, FieldProblem, FieldValue, Owner};

/// Why a contact is set aside whose name must not be stood in for.
pub(super) const NO_FIRST_NAME: &str = "is empty, and FIRST LINE requires it";

/// What happens to a value that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnError {
    /// The field is left out with a warning: *unknown*.
    Skip,
    /// The contact is set aside.
    Reject,
}

impl OnError {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Reject => "reject",
        }
    }
}

/// A line that makes a field.
#[derive(Debug)]
pub(super) struct FieldLine {
    pub(super) target: Target,
    pub(super) expression: Compiled,
    pub(super) on_error: OnError,
    pub(super) owner: Option<Owner>,
    pub(super) options: Translation,
}

/// A line that adds to a list; `kind` is the phone type.
#[derive(Debug)]
pub(super) struct ListLine<T> {
    pub(super) label: String,
    pub(super) expression: Compiled,
    pub(super) on_error: OnError,
    pub(super) kind: T,
}

/// The compiled lines of a mapping file.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) select: Option<Compiled>,
    pub(super) fields: Vec<FieldLine>,
    pub(super) emails: Vec<ListLine<()>>,
    pub(super) emails_owner: Option<Owner>,
    pub(super) phones: Vec<ListLine<i64>>,
    pub(super) phones_owner: Option<Owner>,
    pub(super) tags: Vec<TagLine>,
    pub(super) company: Option<Compiled>,
}

/// A compiled mapping. Cheap to share, made once per run.
pub struct Mapping {
    pub(super) parts: Parts,
    settings: Arc<Settings>,
    /// Top-level keys that some expression reads.
    names: Arc<[String]>,
    version: String,
    /// Changes when the lines of e-mails or phones do.
    lists: String,
    kinds: BTreeMap<FieldKey, FieldKind>,
    /// Fields whose definition has drifted, and how: unknown in this run.
    stopped: BTreeMap<FieldKey, String>,
    pub(super) fixtures: Vec<FixtureSpec>,
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Parts {
    fn expressions(&self) -> impl Iterator<Item = &Compiled> {
        let fields = self.fields.iter().map(|line| &line.expression);
        let emails = self.emails.iter().map(|line| &line.expression);
        let phones = self.phones.iter().map(|line| &line.expression);
        self.select.iter().chain(fields).chain(emails).chain(phones).chain(&self.company)
    }
}

impl Mapping {
    pub(super) fn assemble(
        parts: Parts,
        settings: Arc<Settings>,
        canonical: Vec<Json>,
        fixtures: Vec<FixtureSpec>,
    ) -> Self {
        let names = names_of(parts.expressions());
        let lists = canonical.iter().filter(|line| line.get("list").is_some()).cloned().collect();
        let lists = version_of(lists, &settings);
        let version = version_of(canonical, &settings);
        let kinds = parts
            .fields
            .iter()
            .filter_map(|line| match &line.target.kind {
                TargetKind::Custom(kind, _) => Some((line.target.key, *kind)),
                TargetKind::Line | TargetKind::WholeLine | TargetKind::Gender | TargetKind::Untyped => None,
            })
            .collect();
        Self { parts, settings, names, version, lists, kinds, stopped: BTreeMap::new(), fixtures }
    }

    /// Stable text for fingerprints: it changes when what the mapping makes of contacts may change.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What is kept with a link: the version, and a short mark of the lines that made its e-mails and phones.
    pub fn mark(&self) -> String {
        format!("{}/{}", self.version, self.lists_mark())
    }

    /// Whether the lines that made a link's e-mails and phones are those of this mapping. `mark` is what was kept.
    pub fn has_lists_of(&self, mark: &str) -> bool {
        mark.split_once('/').map_or(mark == self.version, |(_, lists)| lists == self.lists_mark())
    }

    /// What is kept with a link that was settled with this mapping, when `previous` was kept before: as long as a list
    /// could not be read whole, the lines that made its rows are the earlier ones.
    pub fn mark_after(&self, previous: Option<&str>, record: &DesiredRecord) -> String {
        let emails = self.parts.emails.is_empty()
            || (record.emails.value != Desired::Unknown && record.emails.owner == self.parts.emails_owner);
        let phones = self.parts.phones.is_empty()
            || (record.phones.value != Desired::Unknown && record.phones.owner == self.parts.phones_owner);
        let whole = emails && phones;
        match previous.filter(|mark| !whole && !self.has_lists_of(mark)) {
            Some(mark) => format!("{}/{}", self.version, mark.split_once('/').map_or("", |(_, lists)| lists)),
            None => self.mark(),
        }
    }

    fn lists_mark(&self) -> &str {
        self.lists.get(..8).unwrap_or(&self.lists)
    }

    /// Takes these fields out of this run: whatever the contact holds, they are unknown. The version stays.
    #[must_use]
    pub fn without(mut self, stopped: BTreeMap<FieldKey, String>) -> Self {
        self.kinds.retain(|key, _| !stopped.contains_key(key));
        self.stopped = stopped;
        self
    }

    /// Whether a field is left alone in this run, because its definition drifted.
    pub fn is_stopped(&self, field: FieldKey) -> bool {
        self.stopped.contains_key(&field)
    }

    /// Why fields were taken out of this run, one sentence each.
    pub fn stopped(&self) -> Vec<String> {
        self.stopped.values().cloned().collect()
    }

    /// The expression that selects contacts; empty when all are carried.
    pub fn selection(&self) -> &str {
        self.parts.select.as_ref().map_or("", Compiled::text)
    }

    /// The kinds of the typed fields that it writes: how they are compared with what the target holds.
    pub fn kinds(&self) -> &BTreeMap<FieldKey, FieldKind> {
        &self.kinds
    }

    /// Whether it writes e-mails or phones, which cost requests of their own.
    pub fn writes_children(&self) -> bool {
        !self.parts.emails.is_empty() || !self.parts.phones.is_empty()
    }

    /// The tags that labels stand for.
    pub fn tags(&self) -> &[TagLine] {
        &self.parts.tags
    }

    /// One text per meaning of the tags.
    pub fn tags_text(&self) -> String {
        let lines: Vec<_> = self.parts.tags.iter().map(|line| (&line.tag, &line.labels)).collect();
        format!("{lines:?}")
    }

    /// Whether existing companies are linked.
    pub fn links_companies(&self) -> bool {
        self.parts.company.is_some()
    }

    /// The owners that its lines name, by field or list.
    pub fn owners(&self) -> BTreeMap<String, Owner> {
        let fields = self.parts.fields.iter();
        let fields = fields.filter_map(|line| Some((line.target.key.to_string(), line.owner?)));
        let lists = [("emails", self.parts.emails_owner), ("phones", self.parts.phones_owner)];
        let lists = lists.into_iter().filter_map(|(list, owner)| Some((list.to_owned(), owner?)));
        let tags = self.parts.tags.iter().map(|line| (format!("tag {}", line.tag), line.owner));
        fields.chain(lists).chain(tags).collect()
    }

    /// Ids of the custom fields that it writes.
    pub fn used_definitions(&self) -> BTreeSet<i64> {
        let custom = |line: &FieldLine| match line.target.key {
            FieldKey::Custom(id) => Some(id),
            _ => None,
        };
        self.parts.fields.iter().filter_map(custom).collect()
    }

    /// The fields that it writes, but for those that were taken out of this run.
    pub fn written_fields(&self) -> impl Iterator<Item = FieldKey> {
        self.parts.fields.iter().map(|line| line.target.key).filter(|key| !self.stopped.contains_key(key))
    }

    /// Whether some expression reads `contact_inboxes`, so that the source must ask for them.
    pub fn needs_inboxes(&self) -> bool {
        self.parts.expressions().any(Compiled::needs_inboxes)
    }

    /// How people know a field: `Category / Name` for a custom field whose name is known.
    pub fn field_name(&self, key: FieldKey) -> String {
        let line = self.parts.fields.iter().find(|line| line.target.key == key);
        line.and_then(|line| line.target.name.clone()).unwrap_or_else(|| key.to_string())
    }

    /// The record that FIRST LINE should hold for the contact; `None` when it is not to be carried.
    pub fn map(&self, contact: &Contact) -> Result<Option<DesiredRecord>, SetAside> {
        let view = self.view(contact);
        match self.selects(&view) {
            Ok(true) => self.record(contact, &view).map(Some),
            Ok(false) => Ok(None),
            Err(problem) => Err(set_aside(&problem.field, problem.problem)),
        }
    }

    /// Whether the contact is to be carried.
    pub fn select(&self, contact: &Contact) -> Result<bool, FieldProblem> {
        self.selects(&self.view(contact))
    }

    /// The record that FIRST LINE should hold for the contact, were it selected.
    pub fn apply(&self, contact: &Contact) -> Result<DesiredRecord, SetAside> {
        self.record(contact, &self.view(contact))
    }

    fn selects(&self, view: &Value) -> Result<bool, FieldProblem> {
        let Some(when) = &self.parts.select else { return Ok(true) };
        match when.evaluate(view) {
            Ok(value) => Ok(value.is_true()),
            Err(problem) => Err(FieldProblem { field: String::from("select.when"), problem }),
        }
    }

    fn record(&self, contact: &Contact, view: &Value) -> Result<DesiredRecord, SetAside> {
        let mut record = DesiredRecord::default();
        for line in &self.parts.fields {
            if self.stopped.contains_key(&line.target.key) {
                let unknown = DesiredField { value: Desired::Unknown, owner: line.owner };
                record.fields.insert(line.target.key, unknown);
                continue;
            }
            let (mut value, problem) = match line.read(view, &self.settings) {
                Reading::Read(value, remark) => (value, remark),
                Reading::Unknown(problem) => (Desired::Unknown, Some(problem)),
                Reading::Rejected(problem) => return Err(set_aside(&line.target.label, problem)),
            };
            let mut warn = |problem: Option<String>| {
                let field = || line.target.label.clone();
                record.warnings.extend(problem.map(|problem| FieldProblem { field: field(), problem }));
            };
            warn(problem);
            if line.target.key == FieldKey::FirstName && !matches!(value, Desired::Value(_)) {
                if line.on_error == OnError::Reject {
                    return Err(set_aside(&line.target.label, String::from(NO_FIRST_NAME)));
                }
                if value == Desired::Unknown {
                    record.stand_ins.insert(FieldKey::FirstName);
                }
                let (name, cut) = stand_in_name(contact);
                warn(cut);
                value = Desired::Value(FieldValue::Text(name));
            }
            record.fields.insert(line.target.key, DesiredField { value, owner: line.owner });
        }
        record.emails = self.emails(view, &mut record.warnings)?;
        record.phones = self.phones(view, &mut record.warnings)?;
        record.company = self.company(view, &mut record.warnings);
        Ok(record)
    }

    /// The evaluation context of one contact.
    pub(super) fn view(&self, contact: &Contact) -> Value {
        view(&contact.fields, &self.names, &self.settings)
    }

    /// Why this field was taken out of the run.
    pub(super) fn why_stopped(&self, key: FieldKey) -> Option<&String> {
        self.stopped.get(&key)
    }

    /// What conversions need to know.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn company(&self, view: &Value, warnings: &mut Vec<FieldProblem>) -> Desired<String> {
        let Some(expression) = &self.parts.company else { return Desired::Unknown };
        let named = expression
            .evaluate(view)
            .and_then(|value| convert(&value, &TargetKind::Line, &Translation::new(), &self.settings));
        let problem = |problem| FieldProblem { field: COMPANY.to_owned(), problem };
        match named {
            Ok(Converted { value: Desired::Value(FieldValue::Text(name)), remark: None }) => Desired::Value(name),
            Ok(Converted { remark: None, .. }) => Desired::Empty,
            // A name that had to be cut is another name.
            Ok(Converted { remark: Some(remark), .. }) => {
                warnings.push(problem(remark));
                Desired::Unknown
            }
            Err(error) => {
                warnings.push(problem(error));
                Desired::Unknown
            }
        }
    }
}

/// What one line makes of a contact.
pub(super) enum Reading {
    /// A value or nothing, and a remark when it is not quite what the source holds.
    Read(Desired<FieldValue>, Option<String>),
    /// It cannot be used, and is left out.
    Unknown(String),
    /// It cannot be used, and sets the contact aside.
    Rejected(String),
}

impl FieldLine {
    /// Evaluates and converts. What LiveDesk was not asked for is unknown, and no fault of the contact.
    pub(super) fn read(&self, view: &Value, settings: &Settings) -> Reading {
        let rejects = self.on_error == OnError::Reject && self.expression.can_see(view);
        match self.evaluate(view).and_then(|value| self.convert(&value, settings)) {
            Ok(Converted { remark: Some(remark), .. }) if rejects => Reading::Rejected(remark),
            Ok(Converted { value, remark }) => Reading::Read(value, remark),
            Err(problem) if rejects => Reading::Rejected(problem),
            Err(problem) => Reading::Unknown(problem),
        }
    }

    pub(super) fn evaluate(&self, view: &Value) -> Result<Value, String> {
        self.expression.evaluate(view)
    }

    pub(super) fn convert(&self, value: &Value, settings: &Settings) -> Result<Converted, String> {
        convert(value, &self.target.kind, &self.options, settings).map(|converted| limited(converted, self.target.max))
    }
}

pub(super) fn set_aside(field: &str, problem: String) -> SetAside {
    SetAside { kind: SetAsideKind::Mapping, field: Some(field.to_owned()), status: None, detail: problem }
}

/// `first_name` is required: e-mail name, phone, identifier, or the id stand in for it; and a remark when it was cut.
fn stand_in_name(contact: &Contact) -> (String, Option<String>) {
    let email = contact.text("email").and_then(|email| email.split('@').next());
    let texts = [email, contact.text("phone_number"), contact.text("identifier")];
    let usable = texts.into_iter().flatten().find_map(|text| {
        let text: String = text.chars().filter(|sign| !sign.is_control()).collect();
        let text = text.trim();
        if text.is_empty() { None } else { Some(convert::line(text)) }
    });
    let (name, cut) = usable.unwrap_or_else(|| (format!("LiveDesk {}", contact.id), None));
    (name, cut.map(|cut| format!("its stand-in {cut}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::Mapping;
    use crate::domain::contact::Contact;
    use crate::domain::ids::LiveDeskId;
    use crate::domain::outcome::SetAsideKind;
    use crate::domain::record::{Desired, DesiredRecord, FieldKey, FieldValue, Owner};
    use crate::mapping::compile::testing::mapping;
    use crate::mapping::explain::{Outcome, explain};

    fn contact(fields: Json) -> Contact {
        let Json::Object(fields) = fields else { panic!("a row is an object") };
        Contact { id: LiveDeskId(7), created_at: None, last_activity_at: None, fields }
    }

    fn apply(mapping: &Mapping, fields: Json) -> DesiredRecord {
        mapping.apply(&contact(fields)).expect("carried")
    }

    /// A mapping of one custom field that copies `custom_attributes.x`.
    fn copy_to(id: i64) -> Mapping {
        mapping(
            json!({ "contact": { "first_name": "name" }, "cz_cols": [{ "id": id, "value": "custom_attributes.x" }] }),
        )
    }

    fn custom(mapping: &Mapping, id: i64, x: &Json) -> Result<Option<Json>, String> {
        let record = apply(mapping, json!({ "name": "N", "custom_attributes": { "x": x } }));
        match &record.fields[&FieldKey::Custom(id)].value {
            Desired::Unknown => Err(record.warnings[0].problem.clone()),
            Desired::Empty => Ok(None),
            Desired::Value(value) => Ok(Some(super::super::explain::shown(value))),
        }
    }

    #[test]
    fn each_kind_of_field_takes_what_fits_it() {
        let rows = [
            (33, json!(12), json!(12)),
            (33, json!("12"), json!(12)),
            (33, json!(3.5), json!(3.5)),
            (33, json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_993_i64)),
            (33, json!(18_446_744_073_709_551_615_u64), json!(18_446_744_073_709_551_615_u64)),
            (34, json!(true), json!(true)),
            (34, json!("No"), json!(false)),
            (34, json!(1), json!(true)),
            (36, json!("2024-02-01T20:00:00Z"), json!("2024-02-02")),
            (37, json!("8:05:59"), json!("08:05")),
            (38, json!("2024-02-01"), json!("2024-02-01 00:00:00")),
            (32, json!("gold"), json!("gold")),
            (32, json!("GOLD!"), json!("gold")),
            (32, json!("Silver"), json!("silver")),
            (35, json!(["music", "sports", "music"]), json!(["music", "sports"])),
            (35, json!("music, FOOD!"), json!(["music", "food"])),
            (35, json!("[\"travel\"]"), json!(["travel"])),
            (39, json!(3.0), json!("3")),
            (39, json!(true), json!("true")),
            (39, json!({ "b": [1, "x"] }), json!("{\"b\":[1,\"x\"]}")),
            (39, json!(" a\u{0}b\u{7}\r\nc\t "), json!("ab\nc")),
            (39, json!("👨‍👩‍👧 مرحبا"), json!("👨‍👩‍👧 مرحبا")),
        ];
        for (id, given, expected) in rows {
            assert_eq!(custom(&copy_to(id), id, &given), Ok(Some(expected)), "{given} into {id}");
        }
    }

    #[test]
    fn nothing_at_the_source_is_empty_and_never_an_error() {
        for id in 32..=39 {
            for nothing in [json!(null), json!(""), json!("  "), json!([])] {
                assert_eq!(custom(&copy_to(id), id, &nothing), Ok(None), "{nothing} into {id}");
            }
        }
        let record = apply(&copy_to(39), json!({ "name": "N" }));
        assert_eq!(record.fields[&FieldKey::Custom(39)].value, Desired::Empty);
        let record = apply(&copy_to(39), json!({ "name": "N", "custom_attributes": "not an object" }));
        assert_eq!(record.fields[&FieldKey::Custom(39)].value, Desired::Empty);
    }

    #[test]
    fn what_does_not_fit_is_left_out_with_a_warning_that_holds_no_value() {
        let rows = [
            (33, json!("1,234")),
            (33, json!(true)),
            (33, json!({ "secret": 1 })),
            (34, json!("secret")),
            (34, json!(2)),
            (36, json!("03/04/2024")),
            (36, json!(1_706_745_600)),
            (36, json!("2023-02-29")),
            (37, json!("secret")),
            (38, json!("secret")),
            (32, json!("secret")),
            (32, json!(["gold"])),
            (35, json!(["gold"])),
            (35, json!({ "secret": 1 })),
        ];
        for (id, given) in rows {
            let problem = custom(&copy_to(id), id, &given).expect_err(&given.to_string());
            assert!(!problem.contains("secret") && !problem.contains("1,234"), "{problem}");
        }
    }

    #[test]
    fn a_rejecting_line_sets_the_contact_aside_with_its_field() {
        let mapping = mapping(json!({ "contact": {
            "first_name": "name", "birth_at": { "value": "custom_attributes.b", "on_error": "reject" } } }));
        let aside = mapping.apply(&contact(json!({ "name": "N", "custom_attributes": { "b": "soon" } })));
        let aside = aside.expect_err("set aside");
        assert_eq!((aside.kind, aside.field.as_deref()), (SetAsideKind::Mapping, Some("birth_at")));
        assert!(!aside.detail.contains("soon"));
    }

    #[test]
    fn an_error_inside_an_expression_does_not_quote_the_value() {
        let mapping = mapping(
            json!({ "contact": { "first_name": "name", "last_name": "name - 1", "identity_no": "name | round" } }),
        );
        let record = apply(&mapping, json!({ "name": "Secret" }));
        assert_eq!(record.warnings.len(), 2);
        assert!(record.warnings.iter().all(|warning| !warning.problem.to_lowercase().contains("secret")));
    }

    #[test]
    fn a_required_first_name_always_finds_a_stand_in() {
        let mapping = mapping(json!({ "contact": { "first_name": "name | family_name" } }));
        let first_name = |fields: Json| match &apply(&mapping, fields).fields[&FieldKey::FirstName].value {
            Desired::Value(FieldValue::Text(text)) => text.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(first_name(json!({ "name": " ", "email": "amy@example.com", "phone_number": "+1" })), "amy");
        assert_eq!(first_name(json!({ "name": null, "phone_number": "+886912345678" })), "+886912345678");
        assert_eq!(first_name(json!({ "name": ["x"], "identifier": "u-1" })), "u-1");
        assert_eq!(first_name(json!({})), "LiveDesk 7");
        assert_eq!(apply(&mapping, json!({ "name": ["x"] })).warnings.len(), 1);

        let strict = super::super::compile::testing::mapping(
            json!({ "contact": { "first_name": { "value": "name", "on_error": "reject" } } }),
        );
        assert!(strict.apply(&contact(json!({ "name": "" }))).is_err());
    }

    #[test]
    fn a_long_name_is_cut_between_characters_with_a_warning() {
        let mapping = mapping(json!({ "contact": { "first_name": "name" } }));
        let record = apply(&mapping, json!({ "name": format!("{}👨‍👩‍👧", "長".repeat(253)) }));
        let Desired::Value(FieldValue::Text(text)) = &record.fields[&FieldKey::FirstName].value else { panic!() };
        assert_eq!((text.chars().count(), text.ends_with("長…")), (254, true), "the mark stands for what is missing");
        assert_eq!(record.warnings[0].problem, "was cut to 255 characters");
        let record = apply(&mapping, json!({ "name": "x".repeat(255) }));
        assert!(record.warnings.is_empty(), "{:?}", record.warnings);
    }

    #[test]
    fn what_would_be_cut_sets_the_contact_aside_where_the_line_says_reject() {
        let long = "A".repeat(260);
        let row = json!({ "name": long, "custom_attributes": { "x": "y".repeat(3_000) } });
        for file in [
            json!({ "contact": { "first_name": { "value": "name", "on_error": "reject" } } }),
            json!({ "contact": { "first_name": "'x'", "identity_no": { "value": "name", "on_error": "reject" } } }),
            json!({ "contact": { "first_name": "'x'" },
                "cz_cols": [{ "id": 39, "value": "custom_attributes.x", "on_error": "reject" }] }),
        ] {
            let compiled = mapping(file);
            let set_aside = compiled.apply(&contact(row.clone())).expect_err("too long");
            let told = explain(&compiled, &contact(row.clone()), false);
            let line = told.lines.iter().find(|line| line.outcome == Outcome::Rejects).expect("a line rejects it");
            assert_eq!(
                (set_aside.field.as_deref(), Some(set_aside.detail)),
                (Some(&*line.field), line.problem.clone())
            );
        }
        let number = mapping(json!({ "contact": { "first_name": "'x'", "identity_no": "name" } }));
        let record = apply(&number, row);
        let unknown = &record.fields[&FieldKey::IdentityNo].value;
        assert_eq!((unknown, record.warnings.len()), (&Desired::Unknown, 1), "a number that is cut is another number");
    }

    #[test]
    fn a_stand_in_that_is_cut_says_so() {
        let mapping = mapping(json!({ "contact": { "first_name": "name" } }));
        let record = apply(&mapping, json!({ "name": "", "identifier": "i".repeat(300) }));
        let Desired::Value(FieldValue::Text(text)) = &record.fields[&FieldKey::FirstName].value else { panic!() };
        assert_eq!((text.chars().count(), text.ends_with("i…")), (255, true));
        assert_eq!(record.warnings[0].problem, "its stand-in was cut to 255 characters");
    }

    #[test]
    fn inboxes_that_were_not_read_leave_a_field_as_it_is() {
        let mapping = mapping(json!({ "contact": { "first_name": "name" },
            "cz_cols": [{ "id": 39, "value": "contact_inboxes | channels | join(', ')", "on_error": "reject" },
                { "id": 40, "value": "contact.contact_inboxes | length" }, { "id": 33, "value": "id" }],
            "emails": [{ "value": "contact_inboxes | channels('source_id')", "on_error": "reject" }] }));
        let record = apply(&mapping, json!({ "id": 7, "name": "N" }));
        for id in [39, 40] {
            assert_eq!(record.fields[&FieldKey::Custom(id)].value, Desired::Unknown, "{id}");
        }
        assert_eq!(record.fields[&FieldKey::Custom(33)].value, Desired::Value(FieldValue::Number(7.into())));
        assert_eq!(record.emails.value, Desired::Unknown);
        let problems: Vec<&str> = record.warnings.iter().map(|warning| warning.problem.as_str()).collect();
        assert_eq!(problems, ["reads the contact's inboxes, which LiveDesk did not send"; 3]);
        let record = apply(&mapping, json!({ "id": 7, "name": "N", "contact_inboxes": [] }));
        assert_eq!(record.fields[&FieldKey::Custom(39)].value, Desired::Empty, "read, and there are none");
        assert_eq!((record.emails.value, record.warnings.len()), (Desired::Empty, 0));
    }

    #[test]
    fn an_explanation_shows_of_a_list_only_what_a_run_writes() {
        let mapping = mapping(json!({ "contact": { "first_name": "name" },
            "emails": [{ "value": "email" }, { "value": "custom_attributes.more | split(',')" }],
            "phones": [{ "value": "phone_number" }, { "value": "custom_attributes.tel" }] }));
        let person = contact(json!({ "name": "N", "email": "a@example.com", "phone_number": "+12",
            "custom_attributes": { "more": "A@example.com,none,b@example.com", "tel": "0912345678" } }));
        let told = explain(&mapping, &person, true);
        let shown: Vec<_> = told.lines[1..]
            .iter()
            .map(|line| (line.field.as_str(), line.outcome, line.values.as_ref().map(|values| values.result.clone())))
            .collect();
        assert_eq!(
            shown,
            [
                ("emails[0]", Outcome::Value, Some(json!(["a@example.com"]))),
                ("emails[1]", Outcome::Value, Some(json!(["b@example.com"]))),
                ("phones[0]", Outcome::LeftOut, Some(json!([]))),
                ("phones[1]", Outcome::Value, Some(json!(["0912345678"]))),
            ]
        );
        assert_eq!(told.lines[2].problem.as_deref(), Some("is not an e-mail address"));
        let record = apply(&mapping, serde_json::Value::Object(person.fields.clone()));
        let written: Vec<&str> = record.emails.items().iter().map(|email| email.address.as_str()).collect();
        assert_eq!(written, ["a@example.com", "b@example.com"]);
    }

    #[test]
    fn options_translate_words_of_the_source() {
        let mapping = mapping(json!({ "contact": {
                "first_name": "name", "gender": { "value": "custom_attributes.sex", "options": { "m": 0, "f": 1 } } },
            "cz_cols": [
                { "id": 32, "value": "custom_attributes.level", "options": { "VIP": "gold" } },
                { "id": 35, "value": "custom_attributes.likes", "options": { "Essen": "food" } },
            ] }));
        let record = apply(
            &mapping,
            json!({ "name": "N",
            "custom_attributes": { "sex": "F", "level": "vip", "likes": "music, Essen" } }),
        );
        let value = |key| record.fields[&key].value.clone();
        assert_eq!(value(FieldKey::Gender), Desired::Value(FieldValue::Number(1.into())));
        assert_eq!(value(FieldKey::Custom(32)), Desired::Value(FieldValue::Choice(json!("gold"))));
        assert_eq!(
            value(FieldKey::Custom(35)),
            Desired::Value(FieldValue::Choices(vec![json!("music"), json!("food")]))
        );
    }

    #[test]
    fn a_text_that_reaches_nobody_is_no_phone_number() {
        let phones = mapping(json!({ "contact": { "first_name": "name" },
            "phones": [{ "value": "phone_number", "on_error": "reject" }] }));
        for text in ["+12", "12", "none", "ext 5 +886912000115", "1 +886912000115"] {
            let set_aside = phones.apply(&contact(json!({ "name": "N", "phone_number": text }))).expect_err(text);
            assert_eq!(set_aside.field.as_deref(), Some("phones[0]"), "{text}");
        }
        for text in ["+123456789", "12345", "(+886) 912345678", "0912345678 (Amy)"] {
            assert_eq!(apply(&phones, json!({ "name": "N", "phone_number": text })).phones.items().len(), 1, "{text}");
        }
    }

    #[test]
    fn emails_and_phones_are_lists_without_repeats() {
        let mapping = mapping(json!({ "contact": { "first_name": "name" },
            "emails": [{ "value": "email" }, { "value": "custom_attributes.more | split(',')" }],
            "phones": [{ "value": "phone_number" }, { "value": "custom_attributes.tel", "type": "home" }] }));
        let record = apply(
            &mapping,
            json!({ "name": "N", "email": " A@example.com ", "phone_number": "+886912345678",
            "custom_attributes": { "more": "a@EXAMPLE.com, b@example.com,", "tel": "0912-345-678" } }),
        );
        let addresses: Vec<&str> = record.emails.items().iter().map(|email| email.address.as_str()).collect();
        assert_eq!(addresses, ["A@example.com", "b@example.com"]);
        assert_eq!(record.phones.items().len(), 1);
        assert_eq!((record.phones.items()[0].kind, record.phones.owner), (2, None));

        let record = apply(&mapping, json!({ "name": "N" }));
        assert_eq!((record.emails.value, record.phones.value), (Desired::Empty, Desired::Empty));
    }

    #[test]
    fn a_list_that_cannot_be_read_whole_is_only_added_to() {
        let mapping = mapping(json!({ "contact": { "first_name": "name" },
            "emails": [{ "value": "email" }, { "value": "custom_attributes.other" }] }));
        let record = apply(&mapping, json!({ "email": "a@example.com", "custom_attributes": { "other": "a b@c" } }));
        assert_eq!((record.emails.items().len(), record.emails.owner), (1, Some(Owner::Union)));
        assert_eq!(record.warnings[0].field, "emails[1]");
        let record = apply(&mapping, json!({ "email": "none" }));
        assert_eq!(record.emails.value, Desired::Unknown);
        assert_eq!(record.phones.value, Desired::Unknown, "no line looked at phones");
    }

    #[test]
    fn a_mapping_is_shared_by_workers() {
        fn shared<T: Send + Sync + 'static>() {}
        shared::<Mapping>();
    }

    #[test]
    fn a_result_that_is_no_number_is_left_out() {
        let mapping = mapping(json!({ "contact": { "first_name": "name" },
            "cz_cols": [{ "id": 33, "value": "custom_attributes.x * 1e308 * 10" }, { "id": 39, "value": "custom_attributes.x / 0" }] }));
        let record = apply(&mapping, json!({ "name": "N", "custom_attributes": { "x": 5 } }));
        assert_eq!(record.fields[&FieldKey::Custom(33)].value, Desired::Unknown);
        assert_eq!(record.warnings.len(), 2);
    }

    #[test]
    fn a_selection_is_a_truth_value_of_the_contact() {
        let mapping =
            mapping(json!({ "select": { "when": "not blocked and email" }, "contact": { "first_name": "name" } }));
        let select = |fields: Json| mapping.select(&contact(fields)).expect("decidable");
        assert!(select(json!({ "blocked": false, "email": "a@example.com" })));
        assert!(!select(json!({ "blocked": true, "email": "a@example.com" })));
        assert!(!select(json!({ "blocked": false, "email": null })));
    }

    #[test]
    fn an_explanation_shows_values_only_on_request() {
        let mapping =
            mapping(json!({ "contact": { "first_name": "name | family_name", "birth_at": "custom_attributes.b" },
            "emails": [{ "value": "email" }] }));
        let person = contact(json!({ "name": "王小明", "email": "nobody", "custom_attributes": { "b": "soon" } }));
        let told = explain(&mapping, &person, false);
        assert!(!format!("{told:?}").contains("王") && !format!("{told:?}").contains("soon"));
        let outcomes: Vec<Outcome> = told.lines.iter().map(|line| line.outcome).collect();
        assert_eq!(outcomes, [Outcome::Value, Outcome::LeftOut, Outcome::LeftOut]);
        let shown = explain(&mapping, &person, true);
        let values = shown.lines[0].values.as_ref().expect("asked for");
        assert_eq!((&values.expression, &values.result), (&json!("王"), &json!("王")));
    }

    /// Any JSON, as hostile as a row can be.
    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            "\\PC{0,12}".prop_map(Json::from),
            "[0-9/.:TZ+ -]{0,20}".prop_map(Json::from),
            any::<String>().prop_map(Json::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_contact_makes_the_mapping_panic_and_equal_contacts_give_equal_records(
            name in any_json(), email in any_json(), phone in any_json(), created in any_json(), x in any_json(),
        ) {
            let mut columns: Vec<Json> = (32..=39).map(|id| json!({ "id": id, "value": "custom_attributes.x" })).collect();
            columns.push(json!({ "id": 40, "value": "created_at | datetime" }));
            columns.push(json!({ "id": 43, "value": "name | phone | default(name | number) | truncate_text(5)" }));
            let mapping = mapping(json!({
                "select": { "when": "name and email is not none" },
                "contact": { "first_name": "name | family_name", "last_name": "name | given_name", "birth_at": "custom_attributes.x | date" },
                "cz_cols": columns,
                "emails": [{ "value": "email" }],
                "phones": [{ "value": "phone_number | phone('TW')" }, { "value": "phone_number" }],
            }));
            let person = contact(json!({ "name": name, "email": email, "phone_number": phone, "created_at": created,
                "custom_attributes": { "x": x } }));
            let first = mapping.apply(&person);
            prop_assert!(matches!(&first, Ok(record) if matches!(record.fields[&FieldKey::FirstName].value, Desired::Value(_))));
            prop_assert_eq!(&first, &mapping.apply(&person));
            prop_assert_eq!(mapping.select(&person), mapping.select(&person));
            explain(&mapping, &person, true);
        }
    }
}
