//! What FIRST LINE answers, read tolerantly: numbers as text, misspelt and missing keys, either of two shapes.
//!
//! Only what cannot be done without (an id) makes a row unreadable; a nested list that cannot be read counts as not
//! said, so that it is read from its own endpoint. These types never leave this folder and have no `Debug`: they
//! hold people's data.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};

use serde::Deserialize;
use serde_json::Value;

use super::lenient::{Int, Said, Text, is_list, present, soft, there};
use crate::domain::ids::{ChildId, FirstLineId};
use crate::domain::record::FieldKey;
use crate::domain::target::{NewContact, Part, Shown, TargetContact, TargetEmail, TargetPhone};
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

/// Parts of a contact that this tenant was seen to show. Only then does a full answer that lacks one say that it is
/// empty; before, it may be a part that the tenant, or the role, never shows.
#[derive(Default)]
pub(super) struct PartsSeen(AtomicU16);

impl PartsSeen {
    pub(super) fn from(shown: Shown) -> Self {
        Self(AtomicU16::new(shown.bits()))
    }

    pub(super) fn shown(&self) -> Shown {
        Shown::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn note(&self, part: Part, there: bool) {
        if there {
            self.0.fetch_or(Shown::default().and(part).bits(), Ordering::Relaxed);
        }
    }
}

impl ContactRow {
    pub(super) fn id(&self) -> FirstLineId {
        FirstLineId(self.id.0)
    }

    /// Remembers that the tenant has the keys by which a record is recognised. Of the others a list row, or the answer to a
    /// write, says nothing about what a full answer shows (notes FIRST LINE 3.1: the PUT sample alone names `tag_id`).
    pub(super) fn noted(self, seen: &PartsSeen) -> Self {
        seen.note(Part::Field(FieldKey::MembershipNo), self.membership_no.is_some());
        seen.note(COLUMNS, matches!(self.cz_cols, Said::This(_)));
        self
    }

    /// A full answer (notes FIRST LINE 3.5): what it leaves out is empty, where the tenant shows such a part at all, or
    /// leaves out whatever is empty: one that never wrote a `null`, and lacks more than one key here.
    pub(super) fn completed(mut self, seen: &PartsSeen) -> Self {
        if self.last_name.is_none() {
            self.last_name = self.last_namt.take();
        }
        let standard = [
            (FieldKey::FirstName, &mut self.first_name),
            (FieldKey::LastName, &mut self.last_name),
            (FieldKey::MembershipNo, &mut self.membership_no),
            (FieldKey::IdentityNo, &mut self.identity_no),
            (FieldKey::Gender, &mut self.gender),
            (FieldKey::BirthAt, &mut self.birth_at),
        ];
        seen.note(Part::Nulls, standard.iter().any(|(_, value)| value.as_ref().is_some_and(Value::is_null)));
        let lacking = standard.iter().filter(|(_, value)| value.is_none()).count();
        let leaves_out = lacking > 1 && !seen.shown().has(Part::Nulls);
        for (key, value) in standard {
            seen.note(Part::Field(key), value.is_some());
            // Of the stamp's own field nothing is guessed.
            let guessed = leaves_out && key != FieldKey::MembershipNo;
            if value.is_none() && (guessed || seen.shown().has(Part::Field(key))) {
                *value = Some(Value::Null);
            }
        }
        complete(&mut self.cz_cols, false, COLUMNS, seen);
        complete(&mut self.email_contacts, false, Part::Emails, seen);
        let elsewhere = [&self.tag_ids, &self.tag_id].into_iter().any(|list| !matches!(list, Said::Nothing));
        complete(&mut self.tags, elsewhere, Part::Tags, seen);
        let elsewhere = !matches!(self.company_ids, Said::Nothing);
        complete(&mut self.companies, elsewhere, Part::Companies, seen);
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
            custom_unreadable: matches!(self.cz_cols, Said::Unreadable),
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

/// Custom fields, as one part.
const COLUMNS: Part = Part::Field(FieldKey::Custom(0));

/// Completes one list of a full answer; `elsewhere` says that the answer has it under another key.
fn complete<T>(list: &mut Said<Vec<T>>, elsewhere: bool, part: Part, seen: &PartsSeen) {
    seen.note(part, elsewhere || matches!(list, Said::This(_)));
    if !elsewhere && matches!(list, Said::Nothing) && seen.shown().has(part) {
        *list = Said::This(Vec::new());
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
    pub(super) fn noted(self, seen: &PartsSeen) -> NewContact {
        seen.note(Part::Field(FieldKey::MembershipNo), self.membership_no);
        seen.note(COLUMNS, self.cz_cols);
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

    use super::{ContactRow, EmailRow, List, PartsSeen, PhoneRow};
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
        let keys = PartsSeen::default();
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
    fn a_field_that_a_role_never_shows_is_not_taken_for_blank() {
        let row = |value| serde_json::from_value::<ContactRow>(value).unwrap_or_else(|error| panic!("{error}"));
        let birth =
            |seen: &PartsSeen, value| row(value).completed(seen).into_contact().value(FieldKey::BirthAt).cloned();
        let rest = json!({ "id": 1, "first_name": "a", "last_name": null, "identity_no": "b", "membership_no": "c" });
        let seen = PartsSeen::default();
        assert_eq!(birth(&seen, rest.clone()), None, "others are null, so a key that is not there is hidden");
        assert_eq!(birth(&seen, json!({ "id": 2, "first_name": "a" })), None, "and stays so");
        assert_eq!(birth(&seen, json!({ "id": 3, "birth_at": "1990-05-17" })), Some(json!("1990-05-17")));
        assert_eq!(birth(&seen, rest), Some(Value::Null), "it was shown once");
        let terse = PartsSeen::default();
        assert_eq!(birth(&terse, json!({ "id": 1, "first_name": "a" })), Some(Value::Null), "nulls are left out here");
        assert_eq!(row(json!({ "id": 1, "tags": [] })).noted(&terse).tags.this().map(|tags| tags.len()), Some(0));
        let silent = row(json!({ "id": 2 })).completed(&terse).into_contact();
        assert_eq!(silent.tag_ids, None, "a list row, or the answer to a write, does not speak for a full answer");
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
