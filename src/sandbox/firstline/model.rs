//! The tenant in memory: contacts with their e-mails and phones, tags, companies, and the indexes over them.
//!
//! Lists need rows by position and look-ups need rows by value, both at 150,000 contacts, so ids are kept in order
//! beside the table and every value that has an exact filter is indexed. Rules of the API are not applied here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::definitions::Category;
use super::lag::{Lag, Recent};

/// Distance of a contact's profile id from its own id: different numbers, so that a mix-up shows.
const PROFILE_OFFSET: u64 = 3_000_000;

/// An e-mail row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Email {
    /// Its id.
    pub id: u64,
    /// Address as stored.
    pub address: String,
    /// Label.
    pub name: Option<String>,
    /// Remark.
    pub description: Option<String>,
}

/// A phone row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phone {
    /// Its id.
    pub id: u64,
    /// 0 home, 1 company, 2 mobile, 3 fax, 4 other.
    pub kind: i64,
    /// Number as stored.
    pub number: String,
    /// Extension.
    pub extension: Option<String>,
    /// Remark.
    pub description: Option<String>,
}

/// A customer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contact {
    /// Its id.
    pub id: u64,
    /// Family name.
    pub first_name: String,
    /// Given name.
    pub last_name: Option<String>,
    /// Customer number.
    pub membership_no: Option<String>,
    /// National id.
    pub identity_no: Option<String>,
    /// 0 or 1.
    pub gender: Option<i64>,
    /// `YYYY-MM-DD`.
    pub birth_at: Option<String>,
    /// Column id and value as sent, in id order; no nulls.
    pub cz_cols: Vec<(i64, Value)>,
    /// Tags.
    pub tag_ids: Vec<u64>,
    /// Companies.
    pub company_ids: Vec<u64>,
    /// Its e-mails.
    pub emails: Vec<Email>,
    /// Its phones.
    pub phones: Vec<Phone>,
    /// When it was made.
    pub created_ms: i64,
    /// When it was last written.
    pub updated_ms: i64,
    /// Made over the API, so that a restricted role sees it.
    pub own: bool,
}

impl Contact {
    /// The profile that its phones hang on.
    pub fn profile_id(&self) -> u64 {
        self.id + PROFILE_OFFSET
    }

    /// The contact that a profile belongs to; an id that no contact has when there is none.
    pub(super) fn of_profile(profile: u64) -> u64 {
        profile.saturating_sub(PROFILE_OFFSET)
    }

    /// Value of a column.
    pub fn cz_col(&self, id: i64) -> Option<&Value> {
        let at = self.cz_cols.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.cz_cols[at].1)
    }

    /// Sets or (with `None`) clears a column.
    pub(super) fn set_cz_col(&mut self, id: i64, value: Option<Value>) {
        match (self.cz_cols.binary_search_by_key(&id, |(id, _)| *id), value) {
            (Ok(at), Some(value)) => self.cz_cols[at].1 = value,
            (Err(at), Some(value)) => self.cz_cols.insert(at, (id, value)),
            (Ok(at), None) => drop(self.cz_cols.remove(at)),
            (Err(_), None) => {}
        }
    }
}

/// A tag.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) description: Option<String>,
}

/// A company.
#[derive(Clone, Debug)]
pub(super) struct Company {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) sn: Option<String>,
    pub(super) domains: Vec<String>,
}

/// Contact ids by a text value, whatever its case.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<Box<str>, Vec<u64>>);

impl Index {
    fn add(&mut self, value: &str, id: u64) {
        self.0.entry(value.to_lowercase().into()).or_default().push(id);
    }

    fn remove(&mut self, value: &str, id: u64) {
        let key = value.to_lowercase();
        if let Some(ids) = self.0.get_mut(key.as_str()) {
            if let Some(at) = ids.iter().position(|&known| known == id) {
                ids.swap_remove(at);
            }
            if ids.is_empty() {
                self.0.remove(key.as_str());
            }
        }
    }

    /// Contacts with this value; one that has it twice occurs twice.
    pub(super) fn get(&self, value: &str) -> &[u64] {
        self.0.get(value.to_lowercase().as_str()).map_or(&[], Vec::as_slice)
    }
}

/// Child id and contact id, in the order of child ids.
#[derive(Debug, Default)]
pub(super) struct Owners(Vec<(u64, u64)>);

impl Owners {
    pub(super) fn all(&self) -> &[(u64, u64)] {
        &self.0
    }

    pub(super) fn owner(&self, child: u64) -> Option<u64> {
        let at = self.0.binary_search_by_key(&child, |(child, _)| *child).ok()?;
        Some(self.0[at].1)
    }

    fn push(&mut self, contact: u64) -> u64 {
        let child = self.0.last().map_or(1, |(last, _)| last + 1);
        self.0.push((child, contact));
        child
    }

    fn remove(&mut self, child: u64) {
        if let Ok(at) = self.0.binary_search_by_key(&child, |(child, _)| *child) {
            self.0.remove(at);
        }
    }

    fn give(&mut self, child: u64, contact: u64) {
        if let Ok(at) = self.0.binary_search_by_key(&child, |(child, _)| *child) {
            self.0[at].1 = contact;
        }
    }
}

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    pub(super) now_ms: i64,
    /// Over the API: how long a lagging reader may miss it. `None`: a test's verb, seen at once.
    pub(super) longest_lag: Option<Lag>,
}

/// Everything the tenant holds.
#[derive(Debug)]
pub(super) struct Model {
    contacts: HashMap<u64, Arc<Contact>>,
    order: Vec<u64>,
    last_id: u64,
    random: u64,
    pub(super) emails: Owners,
    pub(super) phones: Owners,
    pub(super) membership: Index,
    pub(super) addresses: Index,
    pub(super) numbers: Index,
    columns: HashMap<i64, Index>,
    tag_use: HashMap<u64, u64>,
    company_use: HashMap<u64, u64>,
    pub(super) tags: Vec<Tag>,
    pub(super) companies: Vec<Company>,
    pub(super) definitions: Arc<Vec<Category>>,
    pub(super) recent: Recent,
}

impl Model {
    pub(super) fn new(seed: u64, definitions: Vec<Category>) -> Self {
        Self {
            contacts: HashMap::new(),
            order: Vec::new(),
            last_id: 0,
            random: seed,
            emails: Owners::default(),
            phones: Owners::default(),
            membership: Index::default(),
            addresses: Index::default(),
            numbers: Index::default(),
            columns: HashMap::new(),
            tag_use: HashMap::new(),
            company_use: HashMap::new(),
            tags: Vec::new(),
            companies: Vec::new(),
            definitions: Arc::new(definitions),
            recent: Recent::default(),
        }
    }

    /// Ids of all contacts, ascending.
    pub(super) fn order(&self) -> &[u64] {
        &self.order
    }

    /// A contact as it is now.
    pub(super) fn contact(&self, id: u64) -> Option<&Arc<Contact>> {
        self.contacts.get(&id)
    }

    /// A contact as a lagging reader sees it.
    pub(super) fn seen(&self, id: u64, lag: Lag, now_ms: i64) -> Option<&Arc<Contact>> {
        match self.recent.image(id, lag, now_ms) {
            Some(before) => before.as_ref(),
            None => self.contact(id),
        }
    }

    /// Number of contacts with a tag.
    pub(super) fn tag_use(&self, tag: u64) -> u64 {
        self.tag_use.get(&tag).copied().unwrap_or(0)
    }

    /// Number of contacts of a company.
    pub(super) fn company_use(&self, company: u64) -> u64 {
        self.company_use.get(&company).copied().unwrap_or(0)
    }

    /// Contacts by the text of a column, when the column is indexed.
    pub(super) fn column(&self, id: i64) -> Option<&Index> {
        self.columns.get(&id)
    }

    /// Starts an index over a column (once it is searched, it will be searched often).
    pub(super) fn index_column(&mut self, id: i64) {
        if self.columns.contains_key(&id) {
            return;
        }
        let mut index = Index::default();
        for contact in self.contacts.values() {
            if let Some(text) = contact.cz_col(id).and_then(scalar_text) {
                index.add(&text, contact.id);
            }
        }
        self.columns.insert(id, index);
    }

    /// Adds a contact under the next id: one more than the last, plus a random gap.
    pub(super) fn insert(&mut self, mut contact: Contact, id_start: u64, id_gap: u64, write: Write) -> u64 {
        let gap = if id_gap == 0 { 0 } else { self.next_random() % (id_gap + 1) };
        let id = (self.last_id + 1).max(id_start) + gap;
        self.last_id = id;
        contact.id = id;
        contact.created_ms = write.now_ms;
        contact.updated_ms = write.now_ms;
        contact.own = write.longest_lag.is_some();
        self.remember(id, None, write);
        self.index(&contact);
        self.order.push(id);
        self.contacts.insert(id, Arc::new(contact));
        id
    }

    /// Changes a contact; `None` when there is none.
    pub(super) fn edit<R>(&mut self, id: u64, write: Write, change: impl FnOnce(&mut Contact) -> R) -> Option<R> {
        let mut contact = self.contacts.remove(&id)?;
        self.remember(id, Some(&contact), write);
        self.unindex(&contact);
        let changed = Arc::make_mut(&mut contact);
        let result = change(changed);
        changed.updated_ms = write.now_ms;
        self.index(&contact);
        self.contacts.insert(id, contact);
        Some(result)
    }

    /// Deletes a contact with its rows.
    pub(super) fn remove(&mut self, id: u64, write: Write) -> Option<Arc<Contact>> {
        let contact = self.contacts.remove(&id)?;
        self.remember(id, Some(&contact), write);
        self.unindex(&contact);
        if let Ok(at) = self.order.binary_search(&id) {
            self.order.remove(at);
        }
        for email in &contact.emails {
            self.emails.remove(email.id);
        }
        for phone in &contact.phones {
            self.phones.remove(phone.id);
        }
        Some(contact)
    }

    /// Hangs an e-mail on a contact; the row's own id is given here.
    pub(super) fn add_email(&mut self, contact: u64, mut email: Email, write: Write) -> Option<u64> {
        self.contacts.get(&contact)?;
        let id = self.emails.push(contact);
        email.id = id;
        self.edit(contact, write, |contact| contact.emails.push(email))?;
        Some(id)
    }

    /// Hangs a phone on a contact; the row's own id is given here.
    pub(super) fn add_phone(&mut self, contact: u64, mut phone: Phone, write: Write) -> Option<u64> {
        self.contacts.get(&contact)?;
        let id = self.phones.push(contact);
        phone.id = id;
        self.edit(contact, write, |contact| contact.phones.push(phone))?;
        Some(id)
    }

    /// Deletes an e-mail row.
    pub(super) fn remove_email(&mut self, id: u64, write: Write) -> Option<()> {
        let owner = self.emails.owner(id)?;
        self.edit(owner, write, |contact| contact.emails.retain(|email| email.id != id))?;
        self.emails.remove(id);
        Some(())
    }

    /// Deletes a phone row.
    pub(super) fn remove_phone(&mut self, id: u64, write: Write) -> Option<()> {
        let owner = self.phones.owner(id)?;
        self.edit(owner, write, |contact| contact.phones.retain(|phone| phone.id != id))?;
        self.phones.remove(id);
        Some(())
    }

    /// Merges two contacts as the back office does: the secondary is deleted, its rows move, blanks of the primary
    /// are filled and tags united.
    pub(super) fn merge(&mut self, primary: u64, secondary: u64, write: Write) -> Option<()> {
        if primary == secondary || self.contact(primary).is_none() {
            return None;
        }
        let gone = self.remove(secondary, write)?;
        let gone = Arc::unwrap_or_clone(gone);
        for email in &gone.emails {
            insert_owner(&mut self.emails, email.id, primary);
        }
        for phone in &gone.phones {
            insert_owner(&mut self.phones, phone.id, primary);
        }
        self.edit(primary, write, |contact| {
            contact.last_name = contact.last_name.take().or(gone.last_name);
            contact.membership_no = contact.membership_no.take().or(gone.membership_no);
            contact.identity_no = contact.identity_no.take().or(gone.identity_no);
            contact.gender = contact.gender.or(gone.gender);
            contact.birth_at = contact.birth_at.take().or(gone.birth_at);
            for (id, value) in gone.cz_cols {
                if contact.cz_col(id).is_none() {
                    contact.set_cz_col(id, Some(value));
                }
            }
            unite(&mut contact.tag_ids, &gone.tag_ids);
            unite(&mut contact.company_ids, &gone.company_ids);
            contact.emails.extend(gone.emails);
            contact.phones.extend(gone.phones);
        })
    }

    fn remember(&mut self, id: u64, before: Option<&Arc<Contact>>, write: Write) {
        if let Some(longest) = write.longest_lag {
            self.recent.remember(id, before, write.now_ms, longest);
        }
    }

    fn index(&mut self, contact: &Contact) {
        self.each_key(contact, Index::add);
        for tag in &contact.tag_ids {
            *self.tag_use.entry(*tag).or_default() += 1;
        }
        for company in &contact.company_ids {
            *self.company_use.entry(*company).or_default() += 1;
        }
    }

    fn unindex(&mut self, contact: &Contact) {
        self.each_key(contact, Index::remove);
        for tag in &contact.tag_ids {
            *self.tag_use.entry(*tag).or_default() -= 1;
        }
        for company in &contact.company_ids {
            *self.company_use.entry(*company).or_default() -= 1;
        }
    }

    fn each_key(&mut self, contact: &Contact, apply: fn(&mut Index, &str, u64)) {
        if let Some(number) = &contact.membership_no {
            apply(&mut self.membership, number, contact.id);
        }
        for email in &contact.emails {
            apply(&mut self.addresses, &email.address, contact.id);
        }
        for phone in &contact.phones {
            apply(&mut self.numbers, &phone.number, contact.id);
        }
        for (column, index) in &mut self.columns {
            if let Some(text) = contact.cz_col(*column).and_then(scalar_text) {
                apply(index, &text, contact.id);
            }
        }
    }

    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.random)
    }
}

/// Puts a moved row back in its place among the owners.
fn insert_owner(owners: &mut Owners, child: u64, contact: u64) {
    match owners.0.binary_search_by_key(&child, |(child, _)| *child) {
        Ok(_) => owners.give(child, contact),
        Err(at) => owners.0.insert(at, (child, contact)),
    }
}

/// A value that is no list, as text.
pub(super) fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "1" } else { "0" })),
        _ => None,
    }
}

/// Adds what is not yet there.
pub(super) fn unite(list: &mut Vec<u64>, more: &[u64]) {
    for id in more {
        if !list.contains(id) {
            list.push(*id);
        }
    }
}

/// Scrambles a number (the finaliser of splitmix64): enough for test data, and the same on every machine.
pub(super) fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
