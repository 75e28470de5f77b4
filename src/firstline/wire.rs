//! What FIRST LINE answers, read tolerantly: numbers as text, misspelt and missing keys, either of two shapes.
//!
//! Only what cannot be done without (an id) makes a row unreadable; a nested list that cannot be read counts as not
//! said, so that it is read from its own endpoint. These types never leave this folder and have no `Debug`: they
//! hold people's data.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use serde_json::Value;

use super::lenient::{Int, Said, Text, is_list, present, soft, there};
use crate::domain::ids::{ChildId, FirstLineId};
use crate::domain::record::FieldKey;
use crate::domain::target::{NewContact, TargetContact, TargetEmail, TargetPhone};
use crate::sync::ports::Named;

/// A single object.
#[derive(Deserialize)]
pub(super) struct One<T> {
    pub(super) data: T,
}

/// A single object that may be something else, such as `{status: 200}`.
#[derive(Deserialize)]
#[serde(bound = "T: serde::de::DeserializeOwned")]
pub(super) struct MaybeOne<T> {
    #[serde(default, deserialize_with = "soft")]
    pub(super) data: Option<T>,
}

/// A page of a list. `links` is ignored: it carries other hosts (notes FIRST LINE 2.1).
#[derive(Deserialize)]
pub(super) struct List<T> {
    pub(super) data: Vec<T>,
    #[serde(default, deserialize_with = "soft")]
    pub(super) meta: Option<Meta>,
}

#[derive(Deserialize)]
pub(super) struct Meta {
    #[serde(default, deserialize_with = "soft")]
    current_page: Option<Int>,
    #[serde(default, deserialize_with = "soft")]
    last_page: Option<Int>,
    #[serde(default, deserialize_with = "soft")]
    total: Option<Int>,
}

impl Meta {
    pub(super) fn current_page(&self) -> Option<u32> {
        self.current_page.and_then(|page| u32::try_from(page.0).ok())
    }

    pub(super) fn last_page(&self) -> Option<u32> {
        self.last_page.and_then(|page| u32::try_from(page.0).ok())
    }

    pub(super) fn total(&self) -> Option<u64> {
        self.total.and_then(|total| u64::try_from(total.0).ok())
    }
}

/// Answer of a login; some Laravel tenants wrap it in `data` like everything else.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum LoginAnswer {
    Bare(Login),
    Wrapped { data: Login },
}

#[derive(Deserialize)]
pub(super) struct Login {
    access_token: String,
    #[serde(default, deserialize_with = "soft")]
    expires_in: Option<Int>,
}

impl LoginAnswer {
    fn login(&self) -> &Login {
        match self {
            Self::Bare(login) | Self::Wrapped { data: login } => login,
        }
    }

    pub(super) fn token(&self) -> &str {
        &self.login().access_token
    }

    pub(super) fn expires_in(&self) -> Option<i64> {
        self.login().expires_in.map(|seconds| seconds.0)
    }
}

/// What is read of a JWT's payload.
#[derive(Deserialize)]
pub(super) struct Claims {
    #[serde(default, deserialize_with = "soft")]
    exp: Option<Int>,
}

impl Claims {
    pub(super) fn exp(&self) -> Option<i64> {
        self.exp.map(|exp| exp.0)
    }
}

/// A contact, from a list or in full.
#[derive(Deserialize)]
pub(super) struct ContactRow {
    id: Int,
    #[serde(default, deserialize_with = "present")]
    first_name: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    last_name: Option<Value>,
    /// How one page of the documentation spells it.
    #[serde(default, deserialize_with = "present")]
    last_namt: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    membership_no: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    identity_no: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    gender: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    birth_at: Option<Value>,
    #[serde(default, deserialize_with = "soft")]
    profile_id: Option<Int>,
    #[serde(default, deserialize_with = "soft")]
    profile: Option<ProfileRow>,
    #[serde(default)]
    cz_cols: Said<Vec<ColumnValue>>,
    #[serde(default)]
    email_contacts: Said<Vec<EmailRow>>,
    #[serde(default)]
    tags: Said<Vec<Reference>>,
    #[serde(default)]
    tag_ids: Said<Vec<Reference>>,
    #[serde(default)]
    tag_id: Said<Vec<Reference>>,
    #[serde(default)]
    companies: Said<Vec<Reference>>,
    #[serde(default)]
    company_ids: Said<Vec<Reference>>,
}

#[derive(Deserialize)]
struct ProfileRow {
    #[serde(default, deserialize_with = "soft")]
    id: Option<Int>,
    #[serde(default, deserialize_with = "soft")]
    phones: Option<Vec<PhoneRow>>,
}

#[derive(Deserialize)]
struct ColumnValue {
    id: Int,
    #[serde(default)]
    value: Value,
}

/// A tag or a company: its id, or an object with one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reference {
    Id(Int),
    Object { id: Int },
}

/// Keys of a contact that this tenant was seen to have. Only then does a full answer that lacks one say that it is
/// empty; before, it may be a key that the tenant, or the role, never shows.
#[derive(Default)]
pub(super) struct KeysSeen {
    membership_no: AtomicBool,
    cz_cols: AtomicBool,
    tags: AtomicBool,
    companies: AtomicBool,
    /// On a full answer.
    email_contacts: AtomicBool,
}

impl KeysSeen {
    fn note(&self, membership_no: bool, cz_cols: bool) {
        if membership_no {
            self.membership_no.store(true, Ordering::Relaxed);
        }
        if cz_cols {
            self.cz_cols.store(true, Ordering::Relaxed);
        }
    }

    fn note_lists(&self, tags: bool, companies: bool) {
        if tags {
            self.tags.store(true, Ordering::Relaxed);
        }
        if companies {
            self.companies.store(true, Ordering::Relaxed);
        }
    }
}

impl ContactRow {
    pub(super) fn id(&self) -> FirstLineId {
        FirstLineId(self.id.0)
    }

    /// Remembers which keys the row has.
    pub(super) fn noted(self, keys: &KeysSeen) -> Self {
        keys.note(self.membership_no.is_some(), matches!(self.cz_cols, Said::This(_)));
        let said = |list: &Said<Vec<Reference>>| matches!(list, Said::This(_));
        let tags = said(&self.tags) || said(&self.tag_ids) || said(&self.tag_id);
        keys.note_lists(tags, said(&self.companies) || said(&self.company_ids));
        self
    }

    /// A full answer (notes FIRST LINE 3.5): what it leaves out is empty, where the tenant has such a key at all.
    pub(super) fn completed(mut self, keys: &KeysSeen) -> Self {
        if self.membership_no.is_none() && keys.membership_no.load(Ordering::Relaxed) {
            self.membership_no = Some(Value::Null);
        }
        if matches!(self.cz_cols, Said::Nothing) && keys.cz_cols.load(Ordering::Relaxed) {
            self.cz_cols = Said::This(Vec::new());
        }
        let silent = |list: &Said<Vec<Reference>>| matches!(list, Said::Nothing);
        let tags = silent(&self.tags) && silent(&self.tag_ids) && silent(&self.tag_id);
        if tags && keys.tags.load(Ordering::Relaxed) {
            self.tags = Said::This(Vec::new());
        }
        if silent(&self.companies) && silent(&self.company_ids) && keys.companies.load(Ordering::Relaxed) {
            self.companies = Said::This(Vec::new());
        }
        match self.email_contacts {
            Said::This(_) => keys.email_contacts.store(true, Ordering::Relaxed),
            Said::Nothing if keys.email_contacts.load(Ordering::Relaxed) => {
                self.email_contacts = Said::This(Vec::new());
            }
            Said::Nothing | Said::Unreadable => {}
        }
        self
    }

    pub(super) fn into_contact(self) -> TargetContact {
        let id = self.id();
        let standard = [
            (FieldKey::FirstName, self.first_name),
            (FieldKey::LastName, self.last_name.or(self.last_namt)),
            (FieldKey::MembershipNo, self.membership_no),
            (FieldKey::IdentityNo, self.identity_no),
            (FieldKey::Gender, self.gender),
            (FieldKey::BirthAt, self.birth_at),
        ];
        let (profile_of_row, phones) = self.profile.map_or((None, None), |profile| (profile.id, profile.phones));
        let ids = |lists: Vec<Said<Vec<Reference>>>| {
            let list = lists.into_iter().find_map(Said::this);
            list.map(|list| list.into_iter().map(Reference::id).collect())
        };
        TargetContact {
            id,
            profile_id: self.profile_id.or(profile_of_row).map(|profile| profile.0),
            standard: standard.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
            custom: self.cz_cols.this().map(|columns| {
                columns.into_iter().map(|column| (column.id.0, column.value)).collect::<BTreeMap<_, _>>()
            }),
            emails: self.email_contacts.this().map(|rows| rows.into_iter().map(EmailRow::into_email).collect()),
            phones: phones.map(|rows| rows.into_iter().map(PhoneRow::into_phone).collect()),
            tag_ids: ids(vec![self.tags, self.tag_ids, self.tag_id]),
            company_ids: ids(vec![self.companies, self.company_ids]),
        }
    }
}

impl Reference {
    fn id(self) -> i64 {
        match self {
            Self::Id(id) | Self::Object { id } => id.0,
        }
    }
}

/// An e-mail row.
#[derive(Deserialize)]
pub(super) struct EmailRow {
    id: Int,
    #[serde(default)]
    address: Text,
    #[serde(default, deserialize_with = "soft")]
    contact_id: Option<Int>,
    #[serde(default, deserialize_with = "soft")]
    contact: Option<Created>,
}

impl EmailRow {
    pub(super) fn into_email(self) -> TargetEmail {
        let contact = self.contact_id.or(self.contact.map(|contact| contact.id));
        TargetEmail { id: ChildId(self.id.0), address: self.address.0, contact: contact.map(|id| FirstLineId(id.0)) }
    }
}

/// A phone row.
#[derive(Deserialize)]
pub(super) struct PhoneRow {
    id: Int,
    #[serde(default)]
    number: Text,
    #[serde(default, rename = "type", deserialize_with = "soft")]
    kind: Option<Int>,
    #[serde(default, deserialize_with = "soft")]
    contact_id: Option<Int>,
    #[serde(default, deserialize_with = "soft")]
    profile_id: Option<Int>,
    #[serde(default, deserialize_with = "soft")]
    phone_contact: Option<PhoneContact>,
}

#[derive(Deserialize)]
struct PhoneContact {
    #[serde(default, deserialize_with = "soft")]
    contact_id: Option<Int>,
}

impl PhoneRow {
    pub(super) fn into_phone(self) -> TargetPhone {
        let contact = self.contact_id.or(self.phone_contact.and_then(|link| link.contact_id));
        TargetPhone {
            id: ChildId(self.id.0),
            number: self.number.0,
            kind: self.kind.map(|kind| kind.0),
            contact: contact.map(|id| FirstLineId(id.0)),
            profile_id: self.profile_id.map(|id| id.0),
        }
    }
}

/// The answer to a contact's create. What was sent is known; only what FIRST LINE adds is read.
#[derive(Deserialize)]
pub(super) struct NewContactRow {
    id: Int,
    #[serde(default, deserialize_with = "there")]
    membership_no: bool,
    #[serde(default, deserialize_with = "is_list")]
    cz_cols: bool,
    #[serde(default, deserialize_with = "soft")]
    profile_id: Option<Int>,
    #[serde(default, deserialize_with = "soft")]
    profile: Option<Created>,
}

impl NewContactRow {
    /// What is worth keeping of it; remembers which keys it has.
    pub(super) fn noted(self, keys: &KeysSeen) -> NewContact {
        keys.note(self.membership_no, self.cz_cols);
        let profile_id = self.profile_id.or(self.profile.map(|profile| profile.id)).map(|profile| profile.0);
        NewContact { id: FirstLineId(self.id.0), profile_id }
    }
}

/// A tag or a company.
#[derive(Deserialize)]
pub(super) struct NamedRow {
    id: Int,
    #[serde(default)]
    name: Text,
}

impl NamedRow {
    pub(super) fn id(&self) -> i64 {
        self.id.0
    }

    pub(super) fn into_named(self) -> Named {
        Named { id: self.id.0, name: self.name.0 }
    }
}

/// Whatever was created: its id is all that counts.
#[derive(Deserialize)]
pub(super) struct Created {
    id: Int,
}

impl Created {
    pub(super) fn child(&self) -> ChildId {
        ChildId(self.id.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::{ContactRow, EmailRow, KeysSeen, List, PhoneRow};
    use crate::domain::ids::FirstLineId;
    use crate::domain::record::FieldKey;
    use crate::domain::target::TargetContact;

    fn contact(value: Value) -> TargetContact {
        serde_json::from_value::<ContactRow>(value).unwrap_or_else(|error| panic!("{error}")).into_contact()
    }

    #[test]
    fn a_full_contact_is_read_in_every_spelling_that_the_documents_have() {
        let read = contact(json!({
            "id": "12", "name": "陳 大華", "first_name": "陳", "last_namt": "大華", "membership_no": null,
            "gender": "1", "birth_at": "1985-08-27 00:00:00", "campaign_queues": [1], "fbs": {}, "sponsor": {"id": 1},
            "profile": {"id": "5", "phones": [
                {"id": 3, "type": "2", "number": 928_846_763, "profile_id": "5", "phone_contact": {"contact_id": "12"}},
            ]},
            "cz_cols": [{"id": 31, "value": "19999", "category_id": 2}, {"id": "32", "value": null}, {"id": 33}],
            "email_contacts": [{"id": 9, "address": "a@x.example", "contact": {"id": 12}}],
            "tags": [{"id": 101, "name": "vip"}, {"id": "102"}], "company_ids": [7],
        }));
        assert_eq!((read.id, read.profile_id), (FirstLineId(12), Some(5)));
        assert_eq!(read.value(FieldKey::LastName), Some(&json!("大華")));
        assert_eq!(read.value(FieldKey::MembershipNo), Some(&Value::Null));
        assert_eq!(read.value(FieldKey::IdentityNo), None);
        assert_eq!(read.value(FieldKey::Custom(31)), Some(&json!("19999")));
        assert_eq!(read.value(FieldKey::Custom(33)), Some(&Value::Null));
        let phones = read.phones.unwrap();
        assert_eq!((phones[0].number.as_str(), phones[0].kind), ("928846763", Some(2)));
        assert_eq!((phones[0].contact, phones[0].profile_id), (Some(FirstLineId(12)), Some(5)));
        assert_eq!(read.emails.unwrap()[0].contact, Some(FirstLineId(12)));
        assert_eq!((read.tag_ids, read.company_ids), (Some(vec![101, 102]), Some(vec![7])));
    }

    #[test]
    fn what_a_list_row_lacks_is_not_said_rather_than_empty() {
        let read = contact(json!({"id": 1, "first_name": "a", "profile": {"id": 2}}));
        assert_eq!((read.custom.as_ref(), read.emails.as_ref(), read.phones.as_ref()), (None, None, None));
        assert_eq!((read.tag_ids.as_ref(), read.profile_id), (None, Some(2)));
        assert_eq!(read.value(FieldKey::Custom(31)), None);
    }

    #[test]
    fn a_full_answer_is_completed_only_with_keys_that_were_seen() {
        let row = |value| serde_json::from_value::<ContactRow>(value).unwrap_or_else(|error| panic!("{error}"));
        let keys = KeysSeen::default();
        let bare = || row(json!({"id": 1})).completed(&keys).into_contact();
        assert_eq!((bare().value(FieldKey::MembershipNo), bare().custom), (None, None));
        let _ = row(json!({"id": 2, "membership_no": null})).noted(&keys);
        assert_eq!((bare().value(FieldKey::MembershipNo), bare().custom), (Some(&Value::Null), None));
        let _ = row(json!({"id": 2, "cz_cols": []})).noted(&keys);
        assert_eq!(bare().custom, Some(BTreeMap::new()));
        let unreadable = row(json!({"id": 3, "cz_cols": {"31": "x"}})).completed(&keys).into_contact();
        assert_eq!(unreadable.custom, None, "something is there");
    }

    #[test]
    fn a_nested_list_that_cannot_be_read_is_not_said() {
        let read = contact(json!({
            "id": 1, "cz_cols": {"31": "x"}, "email_contacts": [{"address": "no id"}], "profile": [], "tags": "none",
        }));
        assert_eq!((read.custom, read.emails, read.phones, read.tag_ids), (None, None, None, None));
    }

    #[test]
    fn tags_are_read_under_three_names() {
        for key in ["tags", "tag_ids", "tag_id"] {
            assert_eq!(contact(json!({"id": 1, key: [4, "5"]})).tag_ids, Some(vec![4, 5]), "{key}");
        }
    }

    #[test]
    fn a_row_without_an_id_is_unreadable() {
        for row in [json!({"first_name": "a"}), json!({"id": null}), json!({"id": "x"}), json!({"id": 1.5})] {
            assert!(serde_json::from_value::<ContactRow>(row).is_err());
        }
    }

    #[test]
    fn the_numbers_of_meta_may_be_text_and_meta_may_be_missing() {
        let list = |value| serde_json::from_value::<List<EmailRow>>(value).ok().unwrap();
        let meta = json!({"total": "31", "last_page": "3", "per_page": "15", "current_page": 1, "links": []});
        let meta = list(json!({"data": [], "meta": meta})).meta.unwrap();
        assert_eq!((meta.total(), meta.last_page(), meta.current_page()), (Some(31), Some(3), Some(1)));
        assert!(list(json!({"data": []})).meta.is_none());
        assert_eq!(list(json!({"data": [], "meta": []})).meta.and_then(|meta| meta.total()), None);
        assert!(serde_json::from_value::<List<PhoneRow>>(json!({"message": "x"})).is_err());
    }
}
