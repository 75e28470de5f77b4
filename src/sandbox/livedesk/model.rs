//! The contacts of the account: generated rows, what was changed since, and the sorted indexes over them.
//!
//! Only differences from the generator are stored. Each index is built when it is first asked for and then follows
//! every change by binary search, so no request ever sorts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::order::{Field, Key, Order};
use crate::sandbox::people::{ContactObject, People, id_of, is_listed, row_of};

/// All contacts. One lock around it is held for microseconds: rendering happens outside.
pub(crate) struct Model {
    people: People,
    rows: u32,
    /// Rows that differ from what the generator says.
    changed: HashMap<u32, Arc<ContactObject>>,
    gone: HashSet<u32>,
    deleted: Vec<u64>,
    /// Deleted contacts that had been added or edited, for `restore`.
    buried: HashMap<u32, Arc<ContactObject>>,
    /// Where an edited row lies now; a row that was never edited lies at its row number.
    places: HashMap<u32, i64>,
    next_place: i64,
    orders: HashMap<Field, Order>,
    hidden: usize,
}

/// A contact as stored: cheap to take out of the lock, rendered later.
#[derive(Clone)]
pub(crate) enum Stored {
    Generated(u32),
    Changed(Arc<ContactObject>),
}

impl Stored {
    #[cfg(test)]
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Generated(row) => id_of(*row),
            Self::Changed(contact) => contact["id"].as_u64().unwrap(),
        }
    }

    pub(crate) fn render(&self, people: People) -> ContactObject {
        match self {
            Self::Generated(row) => people.contact(*row),
            Self::Changed(contact) => ContactObject::clone(contact),
        }
    }
}

impl Model {
    pub(crate) fn new(people: People) -> Self {
        let changed: HashMap<_, _> = people.edge_rows().map(|(row, contact)| (row, Arc::new(contact))).collect();
        let hidden = changed.values().filter(|contact| !is_listed(contact)).count();
        Self {
            people,
            rows: people.count,
            changed,
            gone: HashSet::new(),
            deleted: Vec::new(),
            buried: HashMap::new(),
            places: HashMap::new(),
            next_place: i64::from(u32::MAX),
            orders: HashMap::new(),
            hidden,
        }
    }

    /// How many contacts the list shows.
    pub(crate) fn listed(&self) -> usize {
        self.rows as usize - self.gone.len() - self.hidden
    }

    pub(crate) fn hidden(&self) -> usize {
        self.hidden
    }

    /// Ids deleted or merged away, oldest first.
    pub(crate) fn deleted(&self) -> &[u64] {
        &self.deleted
    }

    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// The index over `field`, built now if nobody has asked before.
    pub(crate) fn order(&mut self, field: Field) -> &Order {
        if !self.orders.contains_key(&field) {
            let rows = (0..self.rows).filter(|row| self.lists(*row)).map(|row| (self.key(row, field), row));
            let order = Order::new(rows);
            self.orders.insert(field, order);
        }
        &self.orders[&field]
    }

    #[cfg(test)]
    pub(crate) fn forget_orders(&mut self) {
        self.orders.clear();
    }

    /// The row of an id that exists.
    pub(crate) fn find(&self, id: u64) -> Option<u32> {
        row_of(id).filter(|row| self.exists(*row))
    }

    pub(crate) fn exists(&self, row: u32) -> bool {
        row < self.rows && !self.gone.contains(&row)
    }

    /// Whether the list shows this row.
    pub(crate) fn lists(&self, row: u32) -> bool {
        self.exists(row) && self.changed.get(&row).is_none_or(|contact| is_listed(contact))
    }

    pub(crate) fn stored(&self, row: u32) -> Stored {
        self.changed.get(&row).map_or(Stored::Generated(row), |contact| Stored::Changed(Arc::clone(contact)))
    }

    /// Every existing row, in order of ids.
    pub(crate) fn existing(&self) -> impl Iterator<Item = u32> {
        (0..self.rows).filter(|row| self.exists(*row))
    }

    /// Adds a contact made by `make` for its row; the id is always the sandbox's own.
    pub(crate) fn insert(&mut self, make: impl FnOnce(u32) -> ContactObject) -> u64 {
        let row = self.rows;
        let mut contact = make(row);
        contact.insert("id".to_owned(), id_of(row).into());
        self.rows += 1;
        // The new row lies behind everything that was edited before.
        self.places.insert(row, self.next_place);
        self.next_place += 1;
        self.hidden += usize::from(!is_listed(&contact));
        self.changed.insert(row, Arc::new(contact));
        self.index(row);
        id_of(row)
    }

    /// Changes one contact; the database writes its row anew, behind all others.
    pub(crate) fn edit(&mut self, row: u32, change: impl FnOnce(&mut ContactObject)) -> bool {
        if !self.exists(row) {
            return false;
        }
        self.unindex(row);
        let mut contact = self.stored(row).render(self.people);
        self.hidden -= usize::from(!is_listed(&contact));
        change(&mut contact);
        contact.insert("id".to_owned(), id_of(row).into());
        self.hidden += usize::from(!is_listed(&contact));
        self.changed.insert(row, Arc::new(contact));
        self.places.insert(row, self.next_place);
        self.next_place += 1;
        self.index(row);
        true
    }

    /// Deletes one contact. Its id is never used again.
    pub(crate) fn delete(&mut self, row: u32) -> bool {
        if !self.exists(row) {
            return false;
        }
        self.unindex(row);
        self.hidden -= usize::from(!self.lists(row));
        if let Some(contact) = self.changed.remove(&row) {
            self.buried.insert(row, contact);
        }
        self.gone.insert(row);
        self.deleted.push(id_of(row));
        true
    }

    /// Brings a deleted contact back; what was edited since it was generated comes back as it was generated.
    pub(crate) fn restore(&mut self, id: u64) -> bool {
        let Some(row) = row_of(id).filter(|row| self.gone.remove(row)) else { return false };
        self.deleted.retain(|deleted| *deleted != id);
        if let Some(contact) = self.buried.remove(&row) {
            self.hidden += usize::from(!is_listed(&contact));
            self.changed.insert(row, contact);
        }
        self.index(row);
        true
    }

    /// `mergee` vanishes into `base`: base's values win, its blanks are filled, nested objects are merged.
    pub(crate) fn merge(&mut self, base: u32, mergee: u32) -> bool {
        if base == mergee || !self.exists(base) || !self.exists(mergee) {
            return false;
        }
        let taken = self.stored(mergee).render(self.people);
        // The mergee goes first: e-mail and identifier are unique per account.
        self.delete(mergee);
        self.edit(base, |contact| absorb(contact, taken))
    }

    fn index(&mut self, row: u32) {
        self.each_order(row, Order::insert);
    }

    fn unindex(&mut self, row: u32) {
        self.each_order(row, Order::remove);
    }

    fn each_order(&mut self, row: u32, change: impl Fn(&mut Order, Option<Key>, u32)) {
        if !self.lists(row) {
            return;
        }
        let mut orders = std::mem::take(&mut self.orders);
        for (field, order) in &mut orders {
            change(order, self.key(row, *field), row);
        }
        self.orders = orders;
    }

    fn key(&self, row: u32, field: Field) -> Option<Key> {
        if field == Field::Unsorted {
            return Some(Key::Number(self.places.get(&row).copied().unwrap_or_else(|| i64::from(row))));
        }
        match self.changed.get(&row) {
            Some(contact) => key_of(contact, field),
            None => self.generated_key(row, field),
        }
    }

    fn generated_key(&self, row: u32, field: Field) -> Option<Key> {
        match field {
            // These three are read from what a contact is made of, without rendering it.
            Field::Email | Field::Phone | Field::Name | Field::LastActivity | Field::Created => {
                let person = self.people.person(row);
                match field {
                    Field::Email => person.email.as_deref().map(text),
                    Field::Phone => person.phone.as_deref().map(text),
                    Field::Name => Some(name_key(&person.name)),
                    Field::LastActivity => person.last_activity_at.map(Key::Number),
                    _ => Some(Key::Number(person.created_at)),
                }
            }
            _ => key_of(&self.people.contact(row), field),
        }
    }
}

fn key_of(contact: &ContactObject, field: Field) -> Option<Key> {
    let at = |key: &str| contact.get(key);
    let more = |key: &str| at("additional_attributes")?.get(key)?.as_str().map(text);
    match field {
        Field::Email => at("email")?.as_str().map(text),
        Field::Phone => at("phone_number")?.as_str().map(text),
        Field::Name => at("name")?.as_str().map(name_key),
        Field::LastActivity => number(at("last_activity_at")?),
        Field::Created => number(at("created_at")?),
        Field::Company => more("company_name"),
        Field::City => more("city"),
        Field::Country => more("country"),
        Field::Unsorted => None,
    }
}

fn number(value: &Value) -> Option<Key> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).map(Key::Number)
}

fn text(value: &str) -> Key {
    Key::Text(value.to_lowercase().into())
}

/// Names that start with a plus or a digit are meant to come last.
fn name_key(name: &str) -> Key {
    if name.starts_with(|first: char| first == '+' || first.is_ascii_digit()) {
        Key::Text(format!("\u{10ffff}{name}").into())
    } else {
        text(name)
    }
}

fn absorb(base: &mut ContactObject, taken: ContactObject) {
    for (key, value) in taken {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(own)), Value::Object(other)) => absorb(own, other),
            (Some(Value::Array(own)), Value::Array(other)) => own.extend(other),
            (Some(own), value) if own.is_null() || own == "" => *own = value,
            (None, value) if key != "last_activity_at" => {
                base.insert(key, value);
            }
            _ => {}
        }
    }
}
