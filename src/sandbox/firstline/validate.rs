//! Checks of request bodies, and the contact fields that they yield.
//!
//! A field that is not sent is not the same as one that is cleared ([`Sent`]). All problems of a body are reported
//! together, keyed as Laravel keys them (`cz_cols.0.value`).

use serde_json::{Map, Value, json};

use super::definitions::{Column, contact_column, is_date, is_date_time, problem};
use super::model::{Model, unite};
use super::records::Contact;
use super::switches::{ClearBy, FirstLineSwitches, ListSync, TagsOnCreate, Types};
use super::wire::{Call, Refusal, number};

/// What a body says of a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Sent<T> {
    /// Nothing.
    #[default]
    No,
    /// That it is to be empty.
    Clear,
    /// Its value.
    Value(T),
}

impl<T> Sent<T> {
    pub(super) fn fill(self, field: &mut Option<T>) {
        match self {
            Self::No => {}
            Self::Clear => *field = None,
            Self::Value(value) => *field = Some(value),
        }
    }

    fn map<U>(self, convert: impl FnOnce(T) -> U) -> Sent<U> {
        match self {
            Self::No => Sent::No,
            Self::Clear => Sent::Clear,
            Self::Value(value) => Sent::Value(convert(value)),
        }
    }
}

/// Problems of a body, collected.
pub(super) struct Check<'a> {
    body: &'a Map<String, Value>,
    switches: &'a FirstLineSwitches,
    errors: Map<String, Value>,
}

impl<'a> Check<'a> {
    pub(super) fn new(call: &'a Call) -> Self {
        Self { body: &call.body, switches: &call.switches, errors: Map::new() }
    }

    pub(super) fn fail(&mut self, field: &str, message: &str) {
        self.errors.insert(field.to_owned(), json!([format!("The {field} {message}.")]));
    }

    pub(super) fn finish(self) -> Result<(), Refusal> {
        if self.errors.is_empty() { Ok(()) } else { Err(Refusal::fields(self.errors)) }
    }

    /// A text field.
    pub(super) fn text(&mut self, key: &str) -> Sent<String> {
        let Some(value) = self.body.get(key) else { return Sent::No };
        let text = match value {
            Value::Null => return self.cleared(key, value),
            Value::String(text) if text.is_empty() => return self.cleared(key, value),
            Value::String(text) => text.clone(),
            Value::Number(number) if self.switches.types == Types::Lenient => number.to_string(),
            _ => {
                self.fail(key, "must be a string");
                return Sent::No;
            }
        };
        if text.chars().count() > self.switches.name_max {
            self.fail(key, "is too long");
            return Sent::No;
        }
        Sent::Value(text)
    }

    /// A text field that must be there and hold something.
    pub(super) fn required_text(&mut self, key: &str) -> String {
        let blank = match self.body.get(key) {
            None | Some(Value::Null) => true,
            Some(value) => value.as_str().is_some_and(|text| text.trim().is_empty()),
        };
        if blank {
            self.fail(key, "field is required");
            return String::new();
        }
        match self.text(key) {
            Sent::Value(text) => text,
            Sent::No | Sent::Clear => String::new(),
        }
    }

    fn integer(&mut self, key: &str) -> Sent<i64> {
        let Some(value) = self.body.get(key) else { return Sent::No };
        let lenient = || value.as_str().filter(|_| self.switches.types == Types::Lenient)?.parse().ok();
        match value.as_i64().or_else(lenient) {
            Some(number) => Sent::Value(number),
            None if value.is_null() => self.cleared(key, value).map(|_| 0),
            // As everywhere: the framework makes null of an empty text, unless the tenant stores it.
            None if value == "" && self.switches.clear_by != ClearBy::Null => Sent::Clear,
            None => {
                self.fail(key, "must be an integer");
                Sent::No
            }
        }
    }

    fn ids(&mut self, key: &str) -> Option<Vec<u64>> {
        let value = self.body.get(key)?;
        let ids = value.as_array().and_then(|ids| ids.iter().map(|id| number(id, self.switches.types)).collect());
        if ids.is_none() {
            self.fail(key, "must be an array of integers");
        }
        ids
    }

    /// What null or empty text means for a field.
    fn cleared(&mut self, key: &str, value: &Value) -> Sent<String> {
        match (self.switches.clear_by, value) {
            (ClearBy::Null, Value::String(text)) => Sent::Value(text.clone()),
            (ClearBy::EmptyText, Value::Null) | (ClearBy::Neither, _) => {
                self.fail(key, "must be a string");
                Sent::No
            }
            _ => Sent::Clear,
        }
    }
}

/// Columns of a body by id; `None` clears.
pub(super) type Columns = Vec<(i64, Option<Value>)>;

/// Columns of a body, checked against those that `find` knows.
pub(super) fn columns<'d>(check: &mut Check<'_>, find: impl Fn(i64) -> Option<&'d Column>) -> Option<Columns> {
    let value = check.body.get("cz_cols")?;
    let Some(items) = value.as_array() else {
        check.fail("cz_cols", "must be an array");
        return None;
    };
    let mut columns = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let id = item.get("id").and_then(|id| number(id, check.switches.types)).and_then(|id| i64::try_from(id).ok());
        let Some(column) = id.and_then(&find) else {
            check.fail(&format!("cz_cols.{at}.id"), "is invalid");
            continue;
        };
        let key = format!("cz_cols.{at}.value");
        match item.get("value") {
            None => check.fail(&key, "field is required"),
            Some(value) if value.is_null() || value == "" => match check.cleared(&key, value) {
                Sent::No => {}
                Sent::Clear => columns.push((column.id, None)),
                Sent::Value(text) => columns.push((column.id, Some(Value::String(text)))),
            },
            Some(value) => match problem(column, value, check.switches) {
                Some(problem) => check.fail(&key, problem),
                None => columns.push((column.id, Some(value.clone()))),
            },
        }
    }
    Some(columns)
}

/// A contact's body, read.
#[derive(Debug, Default)]
pub(super) struct ContactInput {
    first_name: Option<String>,
    last_name: Sent<String>,
    membership_no: Sent<String>,
    identity_no: Sent<String>,
    gender: Sent<i64>,
    birth_at: Sent<String>,
    cz_cols: Option<Columns>,
    tag_ids: Option<Vec<u64>>,
    company_ids: Option<Vec<u64>>,
}

/// Reads and checks a contact's body. `existing` is the contact that an update is for.
pub(super) fn contact(call: &Call, model: &Model, existing: Option<u64>) -> Result<ContactInput, Refusal> {
    let switches = &call.switches;
    let mut check = Check::new(call);
    let mut input = ContactInput::default();
    if existing.is_none() || call.body.contains_key("first_name") {
        input.first_name = Some(check.required_text("first_name"));
    }
    input.last_name = check.text("last_name");
    input.membership_no = check.text("membership_no");
    if matches!((&input.membership_no, switches.membership_no_max), (Sent::Value(no), Some(max)) if no.chars().count() > max)
    {
        check.fail("membership_no", "is too long");
    }
    input.identity_no = check.text("identity_no");
    input.gender = check.integer("gender");
    if matches!(input.gender, Sent::Value(gender) if !(0..=1).contains(&gender)) {
        check.fail("gender", "is invalid");
    }
    input.birth_at = check.text("birth_at");
    if let Sent::Value(date) = &mut input.birth_at {
        if is_date(date) || is_date_time(date) {
            date.truncate(10);
        } else if switches.types == Types::Strict {
            check.fail("birth_at", "is not a valid date");
        }
    }
    input.cz_cols = columns(&mut check, |id| contact_column(&model.definitions, id).map(|(_, column)| column));
    if existing.is_none() && switches.required_columns {
        let forms = model.definitions.iter().filter(|category| category.kind == 0);
        for column in forms.flat_map(|category| &category.columns).filter(|column| !column.allows_null) {
            let sent = input.cz_cols.iter().flatten().any(|(id, value)| *id == column.id && value.is_some());
            if !sent {
                check.fail("cz_cols", "lacks a required column");
            }
        }
    }
    input.tag_ids = match switches.tags_on_create {
        _ if existing.is_some() => check.ids("tag_ids"),
        TagsOnCreate::Accepted => check.ids("tag_ids"),
        TagsOnCreate::Ignored => None,
        TagsOnCreate::Rejected => {
            if call.body.contains_key("tag_ids") {
                check.fail("tag_ids", "is prohibited");
            }
            None
        }
    };
    if input.tag_ids.iter().flatten().any(|id| model.tags.iter().all(|tag| tag.id != *id)) {
        check.fail("tag_ids.0", "is invalid");
    }
    input.company_ids = check.ids("company_ids");
    if input.company_ids.iter().flatten().any(|id| model.companies.iter().all(|company| company.id != *id)) {
        check.fail("company_ids.0", "is invalid");
    }
    if switches.membership_no_unique
        && let Sent::Value(number) = &input.membership_no
    {
        let same = |id: &&u64| {
            let stored = model.contact(**id).and_then(|contact| contact.membership_no.as_deref());
            switches.exact_ignores_case || stored == Some(number.as_str())
        };
        if model.membership.get(number).iter().filter(same).any(|id| Some(*id) != existing) {
            check.fail("membership_no", "has already been taken");
        }
    }
    check.finish()?;
    Ok(input)
}

impl ContactInput {
    /// The contact that a create makes.
    pub(super) fn create(self) -> Contact {
        let mut contact = Contact::default();
        self.fill(&mut contact);
        contact
    }

    /// Applies an update.
    pub(super) fn update(mut self, contact: &mut Contact, switches: &FirstLineSwitches) {
        if switches.update_replaces {
            // `first_name` is required of a contact, so it is the one field that stays.
            contact.last_name = None;
            contact.membership_no = None;
            contact.identity_no = None;
            contact.gender = None;
            contact.birth_at = None;
            contact.cz_cols.clear();
            contact.tag_ids.clear();
            contact.company_ids.clear();
        }
        if switches.update_replaces_cz_cols && self.cz_cols.is_some() {
            contact.cz_cols.clear();
        }
        if switches.update_resets_lists {
            // As `sync($request->tag_ids ?? [])` does.
            if self.tag_ids.is_none() {
                contact.tag_ids.clear();
            }
            if self.company_ids.is_none() {
                contact.company_ids.clear();
            }
        }
        if switches.tags_on_update == ListSync::Union {
            unite(&mut contact.tag_ids, &self.tag_ids.take().unwrap_or_default());
        }
        if switches.companies_on_update == ListSync::Union {
            unite(&mut contact.company_ids, &self.company_ids.take().unwrap_or_default());
        }
        self.fill(contact);
    }

    fn fill(self, contact: &mut Contact) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut contact.first_name, self.first_name);
        self.last_name.fill(&mut contact.last_name);
        self.membership_no.fill(&mut contact.membership_no);
        self.identity_no.fill(&mut contact.identity_no);
        self.gender.fill(&mut contact.gender);
        self.birth_at.fill(&mut contact.birth_at);
        set(&mut contact.tag_ids, self.tag_ids.as_deref().map(distinct));
        set(&mut contact.company_ids, self.company_ids.as_deref().map(distinct));
        for (id, value) in self.cz_cols.into_iter().flatten() {
            contact.set_cz_col(id, value);
        }
    }
}

fn distinct(ids: &[u64]) -> Vec<u64> {
    let mut list = Vec::with_capacity(ids.len());
    unite(&mut list, ids);
    list
}
