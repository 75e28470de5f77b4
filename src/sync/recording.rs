//! A target that writes down instead of writing: reads go through, writes are answered as the platform would have.
//!
//! What was "written" is remembered for as long as a run may read it back: the newest records, a bounded number. Ids that it
//! gives out lie above every id that a platform hands out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::domain::field::FieldDefinition;
use crate::domain::ids::{ChildId, FirstLineId};
use crate::domain::record::{FieldKey, FieldValue};
use crate::domain::target::{ContactWrite, NewContact, Shown, TargetContact, TargetEmail, TargetPhone, WriteValue};
use crate::sync::ports::{ChildFilter, ContactFilter, ContactTarget, Named, PortError, TargetPage};

/// The first id that is given out. Far above what a database counts up to, far below where sums overflow.
const FIRST_ID: i64 = 1 << 52;
/// Records that are remembered. Far more than are under way at any time.
const REMEMBERED: usize = 2_000;

/// What a run asks of the target, by kind: requests that were sent, and those that a real run would send in their place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Reads, those that were answered from memory included.
    pub reads: BTreeMap<&'static str, u64>,
    /// Writes that were not sent.
    pub writes: BTreeMap<&'static str, u64>,
    /// Tags that would be made.
    pub tags: Vec<String>,
}

impl Asked {
    /// Requests in all.
    pub fn total(&self) -> u64 {
        self.reads.values().sum::<u64>() + self.writes.values().sum::<u64>()
    }
}

/// The newest records, by id.
#[derive(Debug, Default)]
struct Newest {
    order: VecDeque<FirstLineId>,
    records: HashMap<FirstLineId, TargetContact>,
}

impl Newest {
    fn put(&mut self, record: TargetContact) {
        let id = record.id;
        if self.records.insert(id, record).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.records.remove(&oldest);
        }
    }
}

#[derive(Debug, Default)]
struct Memory {
    asked: Asked,
    /// As they would stand after what was "written".
    written: Newest,
    /// As they were read.
    read: Newest,
    deleted: std::collections::BTreeSet<FirstLineId>,
    tags: Vec<Named>,
}

/// Writes down instead of writing.
#[derive(Debug)]
pub struct Recording<T> {
    inner: Arc<T>,
    next: AtomicI64,
    memory: Mutex<Memory>,
}

impl<T: ContactTarget> Recording<T> {
    /// Reads of `inner`, writes of nothing.
    pub fn over(inner: Arc<T>) -> Self {
        Self { inner, next: AtomicI64::new(FIRST_ID), memory: Mutex::default() }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Asked {
        self.memory().asked.clone()
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn invent(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn count_read(&self, kind: &'static str) {
        *self.memory().asked.reads.entry(kind).or_default() += 1;
    }

    fn count_write(&self, kind: &'static str) {
        *self.memory().asked.writes.entry(kind).or_default() += 1;
    }

    /// The record as it stands now, ours on it.
    async fn standing(&self, id: FirstLineId) -> Result<Option<TargetContact>, PortError> {
        {
            let memory = self.memory();
            if memory.deleted.contains(&id) {
                return Ok(None);
            }
            if let Some(record) = memory.written.records.get(&id).or_else(|| memory.read.records.get(&id)) {
                return Ok(Some(record.clone()));
            }
        }
        if is_invented(id) {
            return Err(forgotten());
        }
        self.inner.contact(id).await
    }

    /// Changes what is remembered of a record, where anything is.
    fn change(&self, id: FirstLineId, change: impl FnOnce(&mut TargetContact)) {
        let mut memory = self.memory();
        let found = memory.written.records.get(&id).or_else(|| memory.read.records.get(&id)).cloned();
        if let Some(mut record) = found {
            change(&mut record);
            memory.written.put(record);
        }
    }

    /// Changes the record that one of these rows hangs on.
    fn change_holder(&self, holds: impl Fn(&TargetContact) -> bool, change: impl FnOnce(&mut TargetContact)) {
        let holder = {
            let memory = self.memory();
            let all = memory.written.records.values().chain(memory.read.records.values());
            all.filter(|record| holds(record)).map(|record| record.id).next()
        };
        if let Some(id) = holder {
            self.change(id, change);
        }
    }
}

impl<T: ContactTarget> ContactTarget for Recording<T> {
    async fn contacts(
        &self,
        filter: Option<&ContactFilter>,
        page: u32,
    ) -> Result<TargetPage<TargetContact>, PortError> {
        self.count_read(if filter.is_some() { "customers by filter" } else { "pages of customers" });
        self.inner.contacts(filter, page).await
    }

    async fn contact(&self, id: FirstLineId) -> Result<Option<TargetContact>, PortError> {
        self.count_read("customers");
        {
            let memory = self.memory();
            if memory.deleted.contains(&id) {
                return Ok(None);
            }
            if let Some(record) = memory.written.records.get(&id) {
                return Ok(Some(record.clone()));
            }
        }
        if is_invented(id) {
            return Err(forgotten());
        }
        let record = self.inner.contact(id).await?;
        if let Some(record) = &record {
            self.memory().read.put(record.clone());
        }
        Ok(record)
    }

    async fn emails(&self, filter: &ChildFilter, page: u32) -> Result<TargetPage<TargetEmail>, PortError> {
        self.count_read("pages of e-mails");
        match filter {
            ChildFilter::Contact(id) if is_invented(*id) => {
                let rows = self.standing(*id).await?.and_then(|record| record.emails).unwrap_or_default();
                Ok(TargetPage { total: Some(rows.len() as u64), rows, last_page: Some(1) })
            }
            _ => self.inner.emails(filter, page).await,
        }
    }

    async fn phones(&self, filter: &ChildFilter, page: u32) -> Result<TargetPage<TargetPhone>, PortError> {
        self.count_read("pages of phones");
        match filter {
            ChildFilter::Contact(id) if is_invented(*id) => {
                let rows = self.standing(*id).await?.and_then(|record| record.phones).unwrap_or_default();
                Ok(TargetPage { total: Some(rows.len() as u64), rows, last_page: Some(1) })
            }
            _ => self.inner.phones(filter, page).await,
        }
    }

    fn shown(&self) -> Shown {
        self.inner.shown()
    }

    async fn definitions(&self) -> Result<Vec<FieldDefinition>, PortError> {
        self.count_read("definitions");
        self.inner.definitions().await
    }

    async fn create(&self, write: &ContactWrite) -> Result<NewContact, PortError> {
        self.count_write("creates");
        let id = FirstLineId(self.invent());
        let mut record = TargetContact {
            id,
            profile_id: Some(self.invent()),
            standard: FieldKey::STANDARD.into_iter().map(|field| (field, Value::Null)).collect(),
            custom: Some(BTreeMap::new()),
            custom_unreadable: false,
            emails: Some(Vec::new()),
            phones: Some(Vec::new()),
            tag_ids: Some(Vec::new()),
            company_ids: Some(Vec::new()),
        };
        apply(&mut record, write);
        let made = record.identity();
        self.memory().written.put(record);
        Ok(made)
    }

    async fn update(&self, id: FirstLineId, write: &ContactWrite) -> Result<TargetContact, PortError> {
        self.count_write("updates");
        let Some(mut record) = self.standing(id).await? else { return Err(PortError::NotFound) };
        apply(&mut record, write);
        self.memory().written.put(record.clone());
        Ok(record)
    }

    async fn delete_contact(&self, id: FirstLineId) -> Result<(), PortError> {
        self.count_write("deletions");
        self.memory().deleted.insert(id);
        Ok(())
    }

    async fn create_email(&self, contact: FirstLineId, address: &str) -> Result<ChildId, PortError> {
        self.count_write("e-mails");
        let id = ChildId(self.invent());
        let row = TargetEmail { id, address: address.to_owned(), contact: Some(contact) };
        self.change(contact, |record| record.emails.get_or_insert_default().push(row));
        Ok(id)
    }

    async fn update_email(&self, id: ChildId, address: &str) -> Result<(), PortError> {
        self.count_write("e-mails changed");
        let holds = |record: &TargetContact| record.emails.iter().flatten().any(|row| row.id == id);
        self.change_holder(holds, |record| {
            for row in record.emails.iter_mut().flatten().filter(|row| row.id == id) {
                address.clone_into(&mut row.address);
            }
        });
        Ok(())
    }

    async fn delete_email(&self, id: ChildId) -> Result<(), PortError> {
        self.count_write("e-mails removed");
        let holds = |record: &TargetContact| record.emails.iter().flatten().any(|row| row.id == id);
        self.change_holder(holds, |record| {
            if let Some(rows) = &mut record.emails {
                rows.retain(|row| row.id != id);
            }
        });
        Ok(())
    }

    async fn delete_phone(&self, id: ChildId) -> Result<(), PortError> {
        self.count_write("phones removed");
        let holds = |record: &TargetContact| record.phones.iter().flatten().any(|row| row.id == id);
        self.change_holder(holds, |record| {
            if let Some(rows) = &mut record.phones {
                rows.retain(|row| row.id != id);
            }
        });
        Ok(())
    }

    async fn create_phone(
        &self,
        contact: FirstLineId,
        profile_id: Option<i64>,
        number: &str,
        kind: i64,
    ) -> Result<ChildId, PortError> {
        self.count_write("phones");
        let id = ChildId(self.invent());
        let row = TargetPhone { id, number: number.to_owned(), kind: Some(kind), contact: Some(contact), profile_id };
        self.change(contact, |record| record.phones.get_or_insert_default().push(row));
        Ok(id)
    }

    async fn update_phone(&self, id: ChildId, contact: FirstLineId, number: &str, kind: i64) -> Result<(), PortError> {
        self.count_write("phones changed");
        self.change(contact, |record| {
            for row in record.phones.iter_mut().flatten().filter(|row| row.id == id) {
                number.clone_into(&mut row.number);
                row.kind = Some(kind);
            }
        });
        Ok(())
    }

    async fn tags(&self, name: &str) -> Result<Option<Vec<Named>>, PortError> {
        self.count_read("tags");
        let mut rows = self.inner.tags(name).await?;
        if let Some(rows) = &mut rows {
            rows.extend(self.memory().tags.iter().cloned());
        }
        Ok(rows)
    }

    async fn create_tag(&self, name: &str) -> Result<Named, PortError> {
        self.count_write("tags");
        let tag = Named { id: self.invent(), name: name.to_owned() };
        let mut memory = self.memory();
        memory.asked.tags.push(name.to_owned());
        memory.tags.push(tag.clone());
        Ok(tag)
    }

    async fn companies(&self, name: &str) -> Result<Option<Vec<Named>>, PortError> {
        self.count_read("companies");
        self.inner.companies(name).await
    }
}

/// Whether an id is one that was given out here.
pub fn is_invented(id: FirstLineId) -> bool {
    id.0 >= FIRST_ID
}

/// A record that was made here and is not remembered any more: nothing can be said of it.
fn forgotten() -> PortError {
    PortError::Refused { status: 0, fields: std::collections::BTreeSet::new() }
}

/// What the record holds after a write.
fn apply(record: &mut TargetContact, write: &ContactWrite) {
    for (field, value) in &write.fields {
        let value = match value {
            WriteValue::Typed(value) => answered(value),
            WriteValue::AsRead(value) => value.clone(),
            WriteValue::Clear => Value::Null,
        };
        match field {
            FieldKey::Custom(id) => record.custom.get_or_insert_default().insert(*id, value),
            standard => record.standard.insert(*standard, value),
        };
    }
    if let Some(ids) = &write.tag_ids {
        record.tag_ids = Some(ids.clone());
    }
    if let Some(ids) = &write.company_ids {
        record.company_ids = Some(ids.clone());
    }
}

/// A value as an answer holds it.
fn answered(value: &FieldValue) -> Value {
    match value {
        FieldValue::Number(number) => Value::Number(number.clone()),
        FieldValue::Choice(value) => value.clone(),
        FieldValue::Choices(values) => Value::Array(values.clone()),
        other => Value::String(other.canonical()),
    }
}
