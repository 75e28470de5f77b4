//! FIRST LINE: customers, their rows, tags, and the doors to them (FIRST LINE 2, 3, 6, 7, 8). What is written is judged in
//! `judge.rs` at the moment it arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use deskferry::domain::field::{ChoiceOption, FieldDefinition, FieldKind};
use deskferry::domain::ids::{ChildId, FirstLineId};
use deskferry::domain::record::{FieldKey, FieldValue, is_blank};
use deskferry::domain::target::{ContactWrite, NewContact, TargetContact, TargetEmail, TargetPhone, WriteValue};
use deskferry::sync::ports::{ChildFilter, ContactFilter, ContactTarget, FilterEncoding, Named, PortError, TargetPage};
use serde_json::{Value, json};

use super::operations::{Fate, Side, Watched};
use super::world::{FilterKind, Inner, World, doubt, unavailable};

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Program,
    Agent,
}

/// A field of a customer, and what the judge has to know of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub(super) value: Value,
    pub(super) agent_at: Option<i64>,
    pub(super) program_at: Option<i64>,
    /// What the program last wrote there; forgotten where the state may not know of it.
    pub(super) program: Option<Value>,
    /// The same, never forgotten.
    pub(super) left: Value,
    /// What an update that left it out took away.
    pub(super) reset: Option<Value>,
}

/// An e-mail or a phone.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) text: String,
    pub(super) by: By,
    /// An agent has changed it since.
    pub(super) edited: bool,
    pub(super) at: i64,
}

/// A customer.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: i64,
    pub(super) by: By,
    pub(super) made_at: i64,
    /// When the program last wrote to it.
    pub(super) written_at: i64,
    /// Searches show it from then on.
    pub(super) found_from: i64,
    pub(super) cells: BTreeMap<FieldKey, Cell>,
    pub(super) emails: Vec<Row>,
    pub(super) phones: Vec<Row>,
    pub(super) tags: BTreeMap<i64, By>,
    pub(super) tags_reset: Option<BTreeMap<i64, By>>,
    /// When an agent last put the tag on or took it off.
    pub(super) tagged_at: Option<i64>,
    /// An agent has taken the tag off once.
    pub(super) had_tag: bool,
    /// The program has put the tag on once.
    pub(super) tagged_once: bool,
    /// Values of rows that agents took away or overwrote, and when.
    pub(super) removed: Vec<(Watched, String, i64)>,
    /// When agents last changed the rows.
    pub(super) rows_at: [Option<i64>; 2],
    /// When the program last did.
    pub(super) our_rows_at: [i64; 2],
    /// Whose it is.
    pub(super) person: Option<i64>,
    /// An agent has merged the record of another contact into it.
    pub(super) took_in: bool,
}

/// A write that is applied after its client gave up.
#[derive(Clone, Debug)]
pub(super) enum LateWrite {
    Customer(ContactWrite),
    Row(i64, Watched, String),
    Tag(String),
}

impl Record {
    pub(super) fn value(&self, key: FieldKey) -> &Value {
        self.cells.get(&key).map_or(&Value::Null, |cell| &cell.value)
    }

    pub(super) fn rows(&self, kind: Watched) -> &Vec<Row> {
        if kind == Watched::Email { &self.emails } else { &self.phones }
    }

    pub(super) fn rows_mut(&mut self, kind: Watched) -> &mut Vec<Row> {
        if kind == Watched::Email { &mut self.emails } else { &mut self.phones }
    }

    /// The contact that its stamp names.
    pub(super) fn stamp(&self) -> Option<i64> {
        let number = self.value(FieldKey::MembershipNo).as_str().and_then(|text| text.strip_prefix("LD-"));
        number.or(self.value(FieldKey::Custom(31)).as_str()).and_then(|id| id.parse().ok())
    }
}

/// Equal texts mean the same e-mail or phone.
pub(super) fn canonical(kind: Watched, text: &str) -> String {
    if kind == Watched::Email {
        return text.trim().to_lowercase();
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    match digits.strip_prefix('0') {
        Some(rest) => format!("886{rest}"),
        None => digits,
    }
}

fn stored(value: &WriteValue) -> Value {
    match value {
        WriteValue::Clear => Value::Null,
        WriteValue::AsRead(value) => value.clone(),
        WriteValue::Typed(FieldValue::Choices(values)) => Value::Array(values.clone()),
        WriteValue::Typed(value) => Value::String(value.canonical()),
    }
}

impl Inner {
    pub(super) fn next_child(&mut self) -> i64 {
        self.next_child += 1;
        self.next_child
    }

    /// A customer of nobody yet.
    pub(super) fn new_record(&mut self, by: By) -> i64 {
        let gap = self.switches.id_gap;
        self.next_record += 1 + gap;
        let id = self.next_record;
        let found_from = self.now() + self.switches.lag_s * 1000;
        let record = Record {
            id,
            by,
            made_at: self.now(),
            written_at: 0,
            found_from,
            cells: BTreeMap::new(),
            emails: Vec::new(),
            phones: Vec::new(),
            tags: BTreeMap::new(),
            tags_reset: None,
            tagged_at: None,
            had_tag: false,
            tagged_once: false,
            removed: Vec::new(),
            rows_at: [None; 2],
            our_rows_at: [0; 2],
            person: None,
            took_in: false,
        };
        self.records.insert(id, record);
        id
    }

    fn answer(&self, record: &Record, in_list: bool) -> TargetContact {
        let switches = &self.switches;
        let whole = !(in_list && switches.list_omits_columns);
        let apart = switches.children_apart;
        let id = FirstLineId(record.id);
        TargetContact {
            id,
            profile_id: Some(record.id + 500_000),
            standard: FieldKey::STANDARD.into_iter().map(|key| (key, record.value(key).clone())).collect(),
            custom: whole.then(|| (31..=37).map(|id| (id, record.value(FieldKey::Custom(id)).clone())).collect()),
            custom_unreadable: false,
            emails: (!apart).then(|| record.emails.iter().map(|row| email(record.id, row)).collect()),
            phones: (!apart).then(|| record.phones.iter().map(|row| phone(record.id, row)).collect()),
            tag_ids: Some(record.tags.keys().copied().collect()),
            company_ids: Some(Vec::new()),
        }
    }

    fn matches(&self, record: &Record, filter: &ContactFilter) -> bool {
        let (held, wished) = match filter {
            ContactFilter::MembershipNo(number) => (record.value(FieldKey::MembershipNo), number),
            ContactFilter::CustomField { encoding: FilterEncoding::Json, .. } => return true,
            ContactFilter::CustomField { field, value, .. } => (record.value(FieldKey::Custom(*field)), value),
        };
        let held = held.as_str().unwrap_or_default();
        match self.switches.filter {
            FilterKind::Ignored => true,
            _ if record.found_from > self.now() => false,
            FilterKind::Exact => held == wished,
            FilterKind::Fuzzy => held.contains(wished.trim_start_matches("LD-")),
        }
    }

    fn page<T>(&self, rows: Vec<T>, page: u32) -> TargetPage<T> {
        let (total, size) = (rows.len(), self.switches.per_page);
        let rows = rows.into_iter().skip(size * (page.max(1) as usize - 1)).take(size).collect();
        let last = u32::try_from(total.div_ceil(size).max(1)).unwrap();
        TargetPage { rows, total: Some(total as u64), last_page: Some(last) }
    }

    fn child_rows(&mut self, kind: Watched, filter: &ChildFilter) -> Vec<(i64, Row)> {
        if let ChildFilter::Contact(id) = filter {
            self.read.insert(id.0);
        }
        let wished = |owner: i64, row: &Row| match filter {
            ChildFilter::All => true,
            ChildFilter::Value(value) => canonical(kind, &row.text) == canonical(kind, value),
            ChildFilter::Contact(id) => owner == id.0,
        };
        let all = self.records.values().flat_map(|record| record.rows(kind).iter().map(|row| (record.id, row)));
        all.filter(|(owner, row)| wished(*owner, row)).map(|(owner, row)| (owner, row.clone())).collect()
    }

    /// Writes fields and tags of a customer; nothing is judged here.
    fn put(&mut self, id: i64, write: &ContactWrite, replaces: bool) {
        let now = self.now();
        let found_from = now + self.switches.lag_s * 1000;
        let marks = self.marks();
        let Some(record) = self.records.get_mut(&id) else { return };
        record.written_at = now;
        if replaces {
            for (key, cell) in &mut record.cells {
                if !write.fields.contains_key(key) && *key != FieldKey::FirstName && !is_blank(&cell.value) {
                    cell.reset = Some(std::mem::take(&mut cell.value));
                }
            }
            if write.tag_ids.is_none() && !record.tags.is_empty() {
                record.tags_reset = Some(std::mem::take(&mut record.tags));
            }
        }
        for (key, value) in &write.fields {
            let value = stored(value);
            let cell = record.cells.entry(*key).or_default();
            if cell.reset.take().as_ref() == Some(&value) {
                cell.value = value;
            } else if cell.value != value {
                *cell = Cell {
                    value: value.clone(),
                    program_at: Some(now),
                    left: value.clone(),
                    program: Some(value),
                    ..cell.clone()
                };
            }
        }
        if let Some(ids) = &write.tag_ids {
            let before = record.tags_reset.take().unwrap_or_else(|| record.tags.clone());
            record.tagged_once |= ids.iter().any(|id| !before.contains_key(id) && !marks.contains(id));
            record.tags = ids.iter().map(|id| (*id, before.get(id).copied().unwrap_or(By::Program))).collect();
        }
        record.found_from = record.found_from.min(found_from);
    }

    fn make(&mut self, write: &ContactWrite) -> NewContact {
        let id = self.new_record(By::Program);
        self.put(id, write, false);
        let stamp = self.records[&id].stamp();
        if let Some(person) = stamp {
            self.records.get_mut(&id).unwrap().person = Some(person);
            self.record_of.insert(person, id);
        }
        self.arrived(id);
        NewContact { id: FirstLineId(id), profile_id: Some(id + 500_000) }
    }

    fn hang(&mut self, record: i64, kind: Watched, text: &str) -> Option<i64> {
        let (id, at) = (self.next_child(), self.now());
        let row = Row { id, text: text.to_owned(), by: By::Program, edited: false, at };
        let record_of = self.records.get_mut(&record)?;
        record_of.rows_mut(kind).push(row);
        record_of.our_rows_at[usize::from(kind == Watched::Phone)] = at;
        self.arrived(record);
        Some(id)
    }

    /// What was on its way for longer than its client waited.
    pub(super) fn arrive_late(&mut self) {
        let now = self.now();
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= now);
        self.late = later;
        for (_, write) in Vec::<(i64, LateWrite)>::into_iter(due) {
            match write {
                LateWrite::Customer(write) => {
                    self.make(&write);
                }
                LateWrite::Row(record, kind, text) => {
                    self.hang(record, kind, &text);
                }
                LateWrite::Tag(name) => {
                    self.make_tag(&name);
                }
            }
        }
    }

    fn make_tag(&mut self, name: &str) -> Named {
        let id = 900 + i64::try_from(self.tags.len()).unwrap();
        self.tags.push((id, name.to_owned()));
        Named { id, name: name.to_owned() }
    }

    /// What becomes of a creating request.
    fn fate(&mut self) -> Option<Fate> {
        self.fates.pop_front()
    }

    fn late(&mut self, seconds: i64, write: LateWrite) {
        self.late.push((self.now() + seconds * 1000, write));
    }

    fn row_mut(&mut self, kind: Watched, id: ChildId) -> Option<(i64, usize)> {
        self.records.values().find_map(|record| {
            let place = record.rows(kind).iter().position(|row| row.id == id.0)?;
            Some((record.id, place))
        })
    }

    fn change_row(&mut self, kind: Watched, id: ChildId, text: &str) -> Result<(), PortError> {
        self.writes += 1;
        let (record, place) = self.row_mut(kind, id).ok_or(PortError::NotFound)?;
        self.judge_row_change(record, kind, place);
        let at = self.now();
        let record_of = self.records.get_mut(&record).unwrap();
        let row = &mut record_of.rows_mut(kind)[place];
        text.clone_into(&mut row.text);
        // LiveDesk's word stands there again: what it drops later goes.
        row.edited = false;
        record_of.our_rows_at[usize::from(kind == Watched::Phone)] = at;
        self.arrived(record);
        self.torn()
    }

    fn remove_row(&mut self, kind: Watched, id: ChildId) -> Result<(), PortError> {
        self.writes += 1;
        if let Some((record, place)) = self.row_mut(kind, id) {
            self.judge_row_removal(record, kind, place);
            let at = self.now();
            let record_of = self.records.get_mut(&record).unwrap();
            record_of.rows_mut(kind).remove(place);
            record_of.our_rows_at[usize::from(kind == Watched::Phone)] = at;
            self.arrived(record);
        }
        self.torn()
    }

    /// A write that is safe to repeat was applied; its answer may not have come, and the platform went away.
    fn torn(&mut self) -> Result<(), PortError> {
        self.torn = match self.torn.checked_sub(1) {
            Some(left) => left,
            None => return Ok(()),
        };
        Err(unavailable())
    }

    fn create_row(&mut self, record: i64, kind: Watched, text: &str) -> Result<ChildId, PortError> {
        self.writes += 1;
        if !self.records.contains_key(&record) {
            return Err(PortError::NotFound);
        }
        self.judge_new_row(record, kind, text);
        let fate = self.fate();
        if fate.is_some()
            && let Some(person) = self.records[&record].person
        {
            self.doubted.insert(person, self.now());
            self.ever_unsure.insert(person);
        }
        match fate {
            None => Ok(ChildId(self.hang(record, kind, text).unwrap())),
            Some(Fate::Applied) => {
                self.hang(record, kind, text);
                Err(doubt())
            }
            Some(Fate::Lost) => Err(doubt()),
            Some(Fate::Late(seconds)) => {
                self.late(seconds, LateWrite::Row(record, kind, text.to_owned()));
                Err(doubt())
            }
        }
    }
}

fn email(record: i64, row: &Row) -> TargetEmail {
    TargetEmail { id: ChildId(row.id), address: row.text.clone(), contact: Some(FirstLineId(record)) }
}

fn phone(record: i64, row: &Row) -> TargetPhone {
    TargetPhone {
        id: ChildId(row.id),
        number: row.text.clone(),
        kind: Some(2),
        contact: Some(FirstLineId(record)),
        profile_id: Some(record + 500_000),
    }
}

/// The doors to it.
pub(super) struct Line(pub(super) Arc<World>);

impl Line {
    async fn answered<T>(
        &self,
        what: &'static str,
        id: i64,
        answer: impl FnOnce(&mut Inner) -> T,
    ) -> Result<T, PortError> {
        let entered = self.0.enter(Side::Line, what, id).await?;
        let answer = {
            let mut inner = self.0.now();
            let answer = answer(&mut inner);
            inner.watch(what);
            answer
        };
        self.0.leave(entered).await;
        Ok(answer)
    }
}

impl ContactTarget for Line {
    async fn contacts(
        &self,
        filter: Option<&ContactFilter>,
        page: u32,
    ) -> Result<TargetPage<TargetContact>, PortError> {
        self.answered("contacts", i64::from(page), |inner| {
            let records = inner.records.values().filter(|record| filter.is_none_or(|f| inner.matches(record, f)));
            inner.page(records.map(|record| inner.answer(record, true)).collect(), page)
        })
        .await
    }

    async fn contact(&self, id: FirstLineId) -> Result<Option<TargetContact>, PortError> {
        self.answered("contact", id.0, |inner| {
            inner.read.insert(id.0);
            inner.records.get(&id.0).map(|record| inner.answer(record, false))
        })
        .await
    }

    async fn emails(&self, filter: &ChildFilter, page: u32) -> Result<TargetPage<TargetEmail>, PortError> {
        self.answered("emails", i64::from(page), |inner| {
            let rows = inner.child_rows(Watched::Email, filter);
            inner.page(rows.iter().map(|(owner, row)| email(*owner, row)).collect(), page)
        })
        .await
    }

    async fn phones(&self, filter: &ChildFilter, page: u32) -> Result<TargetPage<TargetPhone>, PortError> {
        self.answered("phones", i64::from(page), |inner| {
            let rows = inner.child_rows(Watched::Phone, filter);
            inner.page(rows.iter().map(|(owner, row)| phone(*owner, row)).collect(), page)
        })
        .await
    }

    async fn definitions(&self) -> Result<Vec<FieldDefinition>, PortError> {
        self.answered("definitions", 0, |_| definitions()).await
    }

    async fn create(&self, write: &ContactWrite) -> Result<NewContact, PortError> {
        self.answered("create", super::judge::stamp_of(write).unwrap_or_default(), |inner| {
            inner.writes += 1;
            if is_refused(write) {
                return Err(refusal());
            }
            let person = inner.judge_create(write);
            let fate = inner.fate();
            if let (Some(_), Some(person)) = (fate, person) {
                let now = inner.now();
                inner.doubted.insert(person, now);
                inner.ever_unsure.insert(person);
            }
            match fate {
                None => Ok(inner.make(write)),
                Some(Fate::Applied) => {
                    inner.make(write);
                    Err(doubt())
                }
                Some(Fate::Lost) => Err(doubt()),
                Some(Fate::Late(seconds)) => {
                    inner.late(seconds, LateWrite::Customer(write.clone()));
                    Err(doubt())
                }
            }
        })
        .await?
    }

    async fn update(&self, id: FirstLineId, write: &ContactWrite) -> Result<TargetContact, PortError> {
        self.answered("update", id.0, |inner| {
            inner.writes += 1;
            if !inner.records.contains_key(&id.0) {
                return Err(PortError::NotFound);
            }
            if is_refused(write) {
                return Err(refusal());
            }
            inner.judge_update(id.0, write);
            inner.put(id.0, write, inner.switches.replaces);
            inner.arrived(id.0);
            inner.torn()?;
            Ok(inner.answer(&inner.records[&id.0], false))
        })
        .await?
    }

    async fn create_email(&self, contact: FirstLineId, address: &str) -> Result<ChildId, PortError> {
        self.answered("create_email", contact.0, |inner| inner.create_row(contact.0, Watched::Email, address)).await?
    }

    async fn update_email(&self, id: ChildId, address: &str) -> Result<(), PortError> {
        self.answered("update_email", id.0, |inner| inner.change_row(Watched::Email, id, address)).await?
    }

    async fn delete_email(&self, id: ChildId) -> Result<(), PortError> {
        self.answered("delete_email", id.0, |inner| inner.remove_row(Watched::Email, id)).await?
    }

    async fn delete_contact(&self, id: FirstLineId) -> Result<(), PortError> {
        self.answered("delete", id.0, |inner| {
            inner.writes += 1;
            if !inner.records.contains_key(&id.0) {
                return Err(PortError::NotFound);
            }
            inner.judge_deletion(id.0);
            inner.records.remove(&id.0);
            inner.torn()
        })
        .await?
    }

    async fn delete_phone(&self, id: ChildId) -> Result<(), PortError> {
        self.answered("delete_phone", id.0, |inner| inner.remove_row(Watched::Phone, id)).await?
    }

    async fn create_phone(
        &self,
        contact: FirstLineId,
        _profile_id: Option<i64>,
        number: &str,
        _kind: i64,
    ) -> Result<ChildId, PortError> {
        self.answered("create_phone", contact.0, |inner| inner.create_row(contact.0, Watched::Phone, number)).await?
    }

    async fn update_phone(&self, id: ChildId, _: FirstLineId, number: &str, _kind: i64) -> Result<(), PortError> {
        self.answered("update_phone", id.0, |inner| inner.change_row(Watched::Phone, id, number)).await?
    }

    async fn tags(&self, name: &str) -> Result<Option<Vec<Named>>, PortError> {
        self.answered("tags", 0, |inner| {
            let like = |tag: &&(i64, String)| tag.1.to_lowercase().contains(&name.to_lowercase());
            Some(inner.tags.iter().filter(like).map(|(id, name)| Named { id: *id, name: name.clone() }).collect())
        })
        .await
    }

    async fn create_tag(&self, name: &str) -> Result<Named, PortError> {
        self.answered("create_tag", 0, |inner| match inner.fate() {
            None => Ok(inner.make_tag(name)),
            Some(Fate::Lost) => Err(doubt()),
            Some(Fate::Applied) => {
                inner.make_tag(name);
                Err(doubt())
            }
            Some(Fate::Late(seconds)) => {
                inner.late(seconds, LateWrite::Tag(name.to_owned()));
                Err(doubt())
            }
        })
        .await?
    }

    async fn companies(&self, _name: &str) -> Result<Option<Vec<Named>>, PortError> {
        Ok(None)
    }
}

fn is_refused(write: &ContactWrite) -> bool {
    let name = write.fields.get(&FieldKey::FirstName).map(stored);
    name.is_some_and(|name| name.as_str().is_some_and(|name| name.contains('⛔')))
}

fn refusal() -> PortError {
    PortError::Refused { status: 422, fields: BTreeSet::from([String::from("first_name")]) }
}

/// The tenant's custom fields.
pub(super) fn definitions() -> Vec<FieldDefinition> {
    let field = |id: i64, name: &str, kind: FieldKind| FieldDefinition {
        id,
        category_id: 1,
        category: String::from("Customer form"),
        name: name.to_owned(),
        kind,
        required: false,
        options: Vec::new(),
        default: None,
    };
    let option = |text: &str| ChoiceOption { text: text.to_owned(), value: json!(text) };
    let mut interests = field(35, "Interests", FieldKind::MultipleChoice);
    interests.options = INTERESTS.into_iter().map(option).collect();
    vec![
        field(31, "LiveDesk ID", FieldKind::Text),
        field(32, "VIP", FieldKind::Text),
        field(33, "City", FieldKind::Text),
        field(34, "Note", FieldKind::Text),
        interests,
        field(36, "Topic", FieldKind::Text),
        field(37, "Gone", FieldKind::Text),
    ]
}

/// The options of cz_col 35.
pub(super) const INTERESTS: [&str; 4] = ["sports", "music", "travel", "food"];
