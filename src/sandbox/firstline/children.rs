//! `/email-contact` and `/phone-number`: the rows that hang on a contact.
//!
//! The two resources differ in their fields and in the key that names their owner; listing, reading and deleting
//! is the same and written once over [`Child`]. Creating and changing them is in `child_writes`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::FirstLine;
use super::contacts::standard;
use super::index::{Index, Owners};
use super::lag::Lag;
use super::model::{Model, Write};
use super::records::{Contact, Email, Phone};
use super::search::{compare, in_force};
use super::switches::{FilterMode, FirstLineSwitches};
use super::wire::{Answer, Call, Paging, Refusal};

/// A row that hangs on a contact.
pub(super) trait Child: Sized + 'static {
    /// Query parameter that filters by [`Child::value`].
    const VALUE: &'static str;
    /// Query parameters that filter by other fields.
    const OTHERS: &'static [&'static str];

    fn id(&self) -> u64;
    fn value(&self) -> &str;
    fn other(&self, name: &str) -> Option<String>;
    fn render(&self, contact: &Contact, switches: &FirstLineSwitches) -> Value;
    fn rows(contact: &Contact) -> &[Self];
    fn owners(model: &Model) -> &Owners;
    fn index(model: &Model) -> &Index;
    fn mode(switches: &FirstLineSwitches) -> FilterMode;
    fn remove(model: &mut Model, id: u64, write: Write) -> Option<()>;
}

impl Child for Email {
    const VALUE: &'static str = "address";
    const OTHERS: &'static [&'static str] = &["name", "description"];

    fn id(&self) -> u64 {
        self.id
    }

    fn value(&self) -> &str {
        &self.address
    }

    fn other(&self, name: &str) -> Option<String> {
        if name == "name" { self.name.clone() } else { self.description.clone() }
    }

    fn render(&self, contact: &Contact, switches: &FirstLineSwitches) -> Value {
        let named = if switches.email_rows_name_contact { contact.id } else { 0 };
        let mut row = render_email(self, named);
        row["contact"] = if named == 0 { Value::Null } else { Value::Object(standard(contact, switches)) };
        row
    }

    fn rows(contact: &Contact) -> &[Self] {
        &contact.emails
    }

    fn owners(model: &Model) -> &Owners {
        &model.emails
    }

    fn index(model: &Model) -> &Index {
        &model.addresses
    }

    fn mode(switches: &FirstLineSwitches) -> FilterMode {
        switches.filter_address
    }

    fn remove(model: &mut Model, id: u64, write: Write) -> Option<()> {
        model.remove_email(id, write)
    }
}

impl Child for Phone {
    const VALUE: &'static str = "number";
    const OTHERS: &'static [&'static str] = &["type", "extension", "description"];

    fn id(&self) -> u64 {
        self.id
    }

    fn value(&self) -> &str {
        &self.number
    }

    fn other(&self, name: &str) -> Option<String> {
        match name {
            "type" => Some(self.kind.to_string()),
            "extension" => self.extension.clone(),
            _ => self.description.clone(),
        }
    }

    fn render(&self, contact: &Contact, switches: &FirstLineSwitches) -> Value {
        render_phone(self, contact, switches)
    }

    fn rows(contact: &Contact) -> &[Self] {
        &contact.phones
    }

    fn owners(model: &Model) -> &Owners {
        &model.phones
    }

    fn index(model: &Model) -> &Index {
        &model.numbers
    }

    fn mode(switches: &FirstLineSwitches) -> FilterMode {
        switches.filter_number
    }

    fn remove(model: &mut Model, id: u64, write: Write) -> Option<()> {
        model.remove_phone(id, write)
    }
}

/// An e-mail row without its contact.
pub(super) fn render_email(email: &Email, contact: u64) -> Value {
    json!({
        "id": email.id, "address": email.address, "contact_id": (contact != 0).then_some(contact), "draft": null,
        "name": email.name, "description": email.description,
    })
}

/// A phone row.
pub(super) fn render_phone(phone: &Phone, contact: &Contact, switches: &FirstLineSwitches) -> Value {
    let mut row = json!({
        "id": phone.id, "type": phone.kind, "number": phone.number, "extension": phone.extension,
        "description": phone.description, "profile_id": contact.profile_id(),
    });
    if switches.phone_rows_name_contact && contact.id != 0 {
        row["phone_contact"] =
            json!({ "id": phone.id, "contact_id": contact.id, "phone_number_id": phone.id, "is_visible": true });
    }
    row
}

/// A row among those of its contact.
pub(super) fn find<C: Child>(contact: &Contact, id: u64) -> Option<&C> {
    C::rows(contact).iter().find(|row| row.id() == id)
}

/// `GET` of the list.
pub(super) fn list<C: Child>(world: &FirstLine, call: &Call) -> Result<Answer, Refusal> {
    let s = &call.switches;
    let paging = Paging::of(call)?;
    let asked = |name: &str, mode| match call.param(name) {
        Some(value) if in_force(mode, name)? => Ok(Some(value)),
        _ => Ok(None),
    };
    let contact = asked("contact_id", s.filter_contact_id)?.map(|text| text.parse::<u64>().unwrap_or(0));
    let value = asked(C::VALUE, C::mode(s))?;
    let mut others = Vec::new();
    for name in C::OTHERS {
        if let Some(value) = asked(name, s.filter_others)? {
            others.push((*name, value));
        }
    }
    let filtered = contact.is_some() || value.is_some() || !others.is_empty();
    let lag = if filtered { Lag::of_search(s) } else { Lag::of_list(s) };

    let model = world.read();
    let mut owned: Vec<(u64, u64)>;
    let rows = if !filtered && lag == Lag::NONE && s.hidden_share <= 0.0 {
        C::owners(&model).all()
    } else {
        let matches = |row: &C| {
            value.is_none_or(|value| compare(C::mode(s), row.value(), value, s.exact_ignores_case))
                && others.iter().all(|(name, value)| row.other(name).as_deref() == Some(*value))
        };
        owned = Vec::new();
        for id in owners::<C>(&model, call, lag, contact, value) {
            let Some(contact) = model.seen(id, lag, call.now_ms).filter(|contact| world.visible(contact, call)) else {
                continue;
            };
            owned.extend(C::rows(contact).iter().filter(|row| matches(row)).map(|row| (row.id(), id)));
        }
        owned.sort_unstable();
        &owned
    };
    let shown = rows[paging.range(rows.len())].iter().filter_map(|(row, contact)| {
        let contact = model.seen(*contact, lag, call.now_ms)?;
        Some(find::<C>(contact, *row)?.render(contact, s))
    });
    let counted = rows.len() + if filtered { 0 } else { s.child_total_offset };
    Ok(paging.answer(call, shown.collect(), counted))
}

/// Contacts among which the owners of all hits are, each once.
fn owners<C: Child>(model: &Model, call: &Call, lag: Lag, contact: Option<u64>, value: Option<&str>) -> Vec<u64> {
    let mut ids = match (contact, value) {
        (Some(contact), _) => return vec![contact],
        (None, Some(value)) if C::mode(&call.switches) == FilterMode::Exact => C::index(model).get(value).to_vec(),
        _ => model.order().to_vec(),
    };
    ids.extend(model.recent.unseen(lag, call.now_ms));
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// `GET` of one row.
pub(super) fn get<C: Child>(world: &FirstLine, call: &Call, id: u64) -> Result<Answer, Refusal> {
    let model = world.read();
    let owner = C::owners(&model).owner(id).and_then(|id| model.seen(id, Lag::of_get(&call.switches), call.now_ms));
    let contact = owner.filter(|contact| world.visible(contact, call)).ok_or_else(Refusal::not_found)?;
    let row = find::<C>(contact, id).ok_or_else(Refusal::not_found)?;
    Ok(Answer::data(row.render(contact, &call.switches)))
}

/// `DELETE` of one row.
pub(super) fn delete<C: Child>(world: &FirstLine, call: &Call, id: u64) -> Result<Answer, Refusal> {
    let mut model = world.write();
    owner::<C>(world, &model, call, id)?;
    C::remove(&mut model, id, world.api_write(call)).ok_or_else(Refusal::not_found)?;
    Ok(Answer::nothing())
}

/// The visible contact that a row hangs on.
pub(super) fn owner<C: Child>(world: &FirstLine, model: &Model, call: &Call, id: u64) -> Result<Arc<Contact>, Refusal> {
    let contact = C::owners(model).owner(id).and_then(|owner| model.contact(owner));
    contact.filter(|contact| world.visible(contact, call)).cloned().ok_or_else(Refusal::not_found)
}
