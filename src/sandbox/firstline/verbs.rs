//! Verbs for tests and for the control API: what agents, administrators and time do to the tenant.
//!
//! They bypass the API: nothing is counted or checked, and every reader sees the result at once, whatever its lag.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::FirstLine;
use super::definitions::Category;
use super::model::Write;
use super::model::{Model, mix};
use super::records::{Company, Contact, Email, Phone, Tag};

/// Kind of a phone when a verb adds one: mobile.
const MOBILE: i64 = 2;
/// Age of the customers that were there before the migration.
const SEEDED_AGE_MS: i64 = 400 * 86_400_000;

impl FirstLine {
    /// Adds a contact with fields named as in the API (`first_name`, `membership_no`, ...), its e-mails, phones and
    /// columns, and answers its id.
    pub fn add_contact(&self, fields: &Value, emails: &[&str], phones: &[&str], cz_cols: &[(i64, Value)]) -> u64 {
        let mut contact = Contact::default();
        for (field, value) in fields.as_object().into_iter().flatten() {
            set_field(&mut contact, field, value.clone());
        }
        for (id, value) in cz_cols {
            contact.set_cz_col(*id, Some(value.clone()));
        }
        self.add(contact, emails, phones, self.now_ms())
    }

    fn add(&self, contact: Contact, emails: &[&str], phones: &[&str], now_ms: i64) -> u64 {
        let switches = self.shared_switches();
        let write = Write { now_ms, longest_lag: None };
        let mut model = self.write();
        let id = model.insert(contact, switches.id_start, switches.id_gap, write);
        for address in emails {
            model.add_email(id, Email { address: (*address).to_owned(), ..Email::default() }, write);
        }
        for number in phones {
            model.add_phone(id, Phone { number: (*number).to_owned(), kind: MOBILE, ..Phone::default() }, write);
        }
        id
    }

    /// Customers from before the migration. The first of them have the e-mails and phones given, one each; the ids
    /// are answered in the order of creation.
    pub fn seed_customers(&self, count: usize, seed: u64, emails: &[&str], phones: &[&str]) -> Vec<u64> {
        const FAMILY: [&str; 8] = ["陳", "林", "黃", "張", "李", "王", "歐陽", "Smith"];
        const GIVEN: [&str; 8] = ["大華", "小明", "美玲", "志豪", "雅婷", "怡君", "家豪", "Anna"];
        let oldest = self.now_ms() - SEEDED_AGE_MS;
        let customer = |number: usize| {
            let random = mix(seed ^ mix(number as u64));
            let pick =
                |names: [&str; 8], shift: u32| names[usize::from((random >> shift).to_le_bytes()[0] % 8)].to_owned();
            let mut contact = Contact {
                first_name: pick(FAMILY, 0),
                last_name: Some(pick(GIVEN, 8)),
                membership_no: (random >> 16).is_multiple_of(2).then(|| format!("M{:08}", random >> 32)),
                ..Contact::default()
            };
            if (random >> 24).is_multiple_of(3) {
                contact.set_cz_col(42, Some(json!("Taipei")));
            }
            let email = emails.get(number).map_or_else(|| format!("customer{number}@example.tw"), |e| (*e).to_owned());
            let phone = phones.get(number).map_or_else(|| format!("09{:08}", random >> 38), |p| (*p).to_owned());
            let created = oldest + i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(1000);
            self.add(contact, &[&email], &[&phone], created)
        };
        (0..count).map(customer).collect()
    }

    /// An agent's edit. The field is named as in the API; `cz_cols.31` is a column. Null clears. Answers whether
    /// there is such a contact and such a field.
    pub fn edit(&self, id: u64, field: &str, value: Value) -> bool {
        self.write().edit(id, self.verb_write(), |contact| set_field(contact, field, value)).unwrap_or(false)
    }

    /// Hangs an e-mail on a contact.
    pub fn add_email(&self, contact: u64, address: &str) -> Option<u64> {
        let email = Email { address: address.to_owned(), ..Email::default() };
        self.write().add_email(contact, email, self.verb_write())
    }

    /// Hangs a phone on a contact.
    pub fn add_phone(&self, contact: u64, number: &str) -> Option<u64> {
        let phone = Phone { number: number.to_owned(), kind: MOBILE, ..Phone::default() };
        self.write().add_phone(contact, phone, self.verb_write())
    }

    /// Leaves an e-mail row behind that hangs on no contact.
    pub fn add_ownerless_email(&self, address: &str) -> Option<u64> {
        let nobody = self.write().nobody();
        self.add_email(nobody, address)
    }

    /// Leaves a phone row behind whose profile belongs to no contact.
    pub fn add_ownerless_phone(&self, number: &str) -> Option<u64> {
        let nobody = self.write().nobody();
        self.add_phone(nobody, number)
    }

    /// Deletes an e-mail row. Answers whether there was one.
    pub fn remove_email(&self, id: u64) -> bool {
        self.write().remove_email(id, self.verb_write()).is_some()
    }

    /// An agent's correction of a contact's phone row. Answers whether there is such a row.
    pub fn edit_phone(&self, contact: u64, id: u64, number: &str) -> bool {
        let change = |contact: &mut Contact| {
            contact.phones.iter_mut().find(|phone| phone.id == id).map(|phone| number.clone_into(&mut phone.number))
        };
        self.write().edit(contact, self.verb_write(), change).flatten().is_some()
    }

    /// Deletes a contact with its rows. Answers whether there was one.
    pub fn delete(&self, id: u64) -> bool {
        self.write().remove(id, self.verb_write()).is_some()
    }

    /// Merges two contacts as the back office does: the secondary is gone afterwards.
    pub fn merge(&self, primary: u64, secondary: u64) -> bool {
        self.write().merge(primary, secondary, self.verb_write()).is_some()
    }

    /// Adds a tag.
    pub fn add_tag(&self, name: &str) -> u64 {
        self.write().add_tag(name.to_owned(), None)
    }

    /// An administrator's change of a tag's name. Answers whether there is such a tag.
    pub fn rename_tag(&self, id: u64, name: &str) -> bool {
        let mut model = self.write();
        model.tags.iter_mut().find(|tag| tag.id == id).map(|tag| name.clone_into(&mut tag.name)).is_some()
    }

    /// An administrator's deletion of a tag, which contacts lose too. Answers whether there was one.
    pub fn remove_tag(&self, id: u64) -> bool {
        self.write().remove_tag(id, self.verb_write()).is_some()
    }

    /// Every tag, as id and name, oldest first.
    pub fn tags(&self) -> Vec<(u64, String)> {
        self.read().tags.iter().map(|tag| (tag.id, tag.name.clone())).collect()
    }

    /// Adds a company.
    pub fn add_company(&self, name: &str, sn: Option<&str>, domains: &[&str]) -> u64 {
        let mut model = self.write();
        let id = model.companies.last().map_or(1, |company| company.id + 1);
        let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        model.companies.push(Company { id, name: name.to_owned(), sn: sn.map(str::to_owned), domains });
        id
    }

    /// The definitions in force.
    pub fn definitions(&self) -> Arc<Vec<Category>> {
        Arc::clone(&self.read().definitions)
    }

    /// Replaces the definitions, as an administrator could.
    pub fn set_definitions(&self, definitions: Vec<Category>) {
        self.write().definitions = Arc::new(definitions);
    }

    /// Lets every lagging reader catch up.
    pub fn settle(&self) {
        self.write().recent.settle();
    }

    /// Kills the token of the latest login, as a login elsewhere would.
    pub fn revoke_login(&self) {
        self.tokens().revoke_login();
    }

    /// Number of contacts.
    pub fn len(&self) -> usize {
        self.read().order().len()
    }

    /// Whether there is no contact.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A contact as it is now.
    pub fn contact(&self, id: u64) -> Option<Arc<Contact>> {
        self.read().contact(id).cloned()
    }

    /// Every contact as it is now, in id order.
    pub fn contacts(&self) -> Vec<Arc<Contact>> {
        let model = self.read();
        model.order().iter().filter_map(|id| model.contact(*id)).cloned().collect()
    }

    /// Every contact with its fields, `cz_cols` (by column id, as stored), e-mails and phones, in id order.
    pub fn dump(&self) -> Value {
        Value::Array(self.contacts().iter().map(|contact| dump_contact(contact)).collect())
    }

    fn verb_write(&self) -> Write {
        Write { now_ms: self.now_ms(), longest_lag: None }
    }
}

impl Model {
    /// Adds a tag.
    pub(super) fn add_tag(&mut self, name: String, description: Option<String>) -> u64 {
        let id = (self.last_tag + 1).max(101);
        self.last_tag = id;
        self.tags.push(Tag { id, name, description });
        id
    }

    /// Deletes a tag, and takes it off its contacts.
    pub(super) fn remove_tag(&mut self, id: u64, write: Write) -> Option<()> {
        let place = self.tags.iter().position(|tag| tag.id == id)?;
        let tagged = |contact: &u64| self.contact(*contact).is_some_and(|contact| contact.tag_ids.contains(&id));
        let contacts: Vec<u64> = self.order().iter().copied().filter(tagged).collect();
        for contact in contacts {
            self.edit(contact, write, |contact| contact.tag_ids.retain(|tag| *tag != id));
        }
        self.tags.remove(place);
        Some(())
    }
}

fn set_field(contact: &mut Contact, field: &str, value: Value) -> bool {
    let text = || value.as_str().map(str::to_owned);
    let ids = || value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    match field {
        "first_name" => contact.first_name = text().unwrap_or_default(),
        "last_name" => contact.last_name = text(),
        "membership_no" => contact.membership_no = text(),
        "identity_no" => contact.identity_no = text(),
        "gender" => contact.gender = value.as_i64(),
        "birth_at" => contact.birth_at = text(),
        "tag_ids" => contact.tag_ids = ids(),
        "company_ids" => contact.company_ids = ids(),
        _ => {
            let Some(column) = field.strip_prefix("cz_cols.").and_then(|id| id.parse().ok()) else { return false };
            contact.set_cz_col(column, Some(value).filter(|value| !value.is_null()));
        }
    }
    true
}

fn dump_contact(contact: &Contact) -> Value {
    let columns: Map<String, Value> = contact.cz_cols.iter().map(|(id, v)| (id.to_string(), v.clone())).collect();
    let emails: Vec<Value> =
        contact.emails.iter().map(|email| json!({ "id": email.id, "address": email.address })).collect();
    let phones: Vec<Value> = (contact.phones.iter())
        .map(|phone| json!({ "id": phone.id, "type": phone.kind, "number": phone.number }))
        .collect();
    json!({
        "id": contact.id,
        "profile_id": contact.profile_id(),
        "first_name": contact.first_name,
        "last_name": contact.last_name,
        "membership_no": contact.membership_no,
        "identity_no": contact.identity_no,
        "gender": contact.gender,
        "birth_at": contact.birth_at,
        "cz_cols": columns,
        "emails": emails,
        "phones": phones,
        "tag_ids": contact.tag_ids,
        "company_ids": contact.company_ids,
    })
}
