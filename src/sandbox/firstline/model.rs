//! The tenant in memory: contacts with their e-mails and phones, tags, companies, and the indexes over them.
//!
//! Lists need rows by position and look-ups need rows by value, both at 150,000 contacts, so ids are kept in order
//! beside the table and every value that has an exact filter is indexed. Rules of the API are not applied here.

use std::collections::HashMap;
use std::sync::Arc;

use super::definitions::Category;
use super::index::{Index, Owners, scalar_text};
use super::lag::{Lag, Recent};
use super::records::{Company, Contact, Email, Phone, TableRow, Tag};

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
    last_table_row: u64,
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
    /// The id of a deleted tag is not given again.
    pub(super) last_tag: u64,
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
            last_table_row: 0,
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
            last_tag: 0,
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

    /// Makes sure that there is somebody whom ownerless rows hang on: on no list, under id 0.
    pub(super) fn nobody(&mut self) -> u64 {
        self.contacts.entry(0).or_default();
        0
    }

    /// Hangs an e-mail on a contact; the row's own id is given here.
    pub(super) fn add_email(&mut self, contact: u64, mut email: Email, write: Write) -> Option<u64> {
        self.contacts.get(&contact)?;
        let id = self.emails.push(contact);
        email.id = id;
        self.edit(contact, write, |contact| push_one(&mut contact.emails, email))?;
        Some(id)
    }

    /// Hangs a phone on a contact; the row's own id is given here.
    pub(super) fn add_phone(&mut self, contact: u64, mut phone: Phone, write: Write) -> Option<u64> {
        self.contacts.get(&contact)?;
        let id = self.phones.push(contact);
        phone.id = id;
        self.edit(contact, write, |contact| push_one(&mut contact.phones, phone))?;
        Some(id)
    }

    /// Adds a row to a customer table of a contact; the row's own id is given here.
    pub(super) fn add_table_row(&mut self, contact: u64, mut row: TableRow, write: Write) -> Option<u64> {
        self.contacts.get(&contact)?;
        self.last_table_row += 1;
        let id = self.last_table_row;
        row.id = id;
        self.edit(contact, write, |contact| push_one(&mut contact.table_rows, row))?;
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
            self.emails.give(email.id, primary);
        }
        for phone in &gone.phones {
            self.phones.give(phone.id, primary);
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
            contact.table_rows.extend(gone.table_rows);
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

/// Most lists hold one element; room for four of them would double the memory of 150,000 contacts.
pub(super) fn push_one<T>(list: &mut Vec<T>, element: T) {
    list.reserve_exact(1);
    list.push(element);
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
