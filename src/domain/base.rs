//! Base and fingerprint: what was last wished and written, as keyed hashes (design, section 3).
//!
//! The base answers "who changed this field since?", the fingerprint "is there anything to do at all?".

use std::collections::{BTreeMap, BTreeSet};

use super::hash::{Digest, HashKey};
use super::phone::{self, Country};
use super::record::{Desired, DesiredRecord, FieldKey, Owner};
use super::target::{Part, Shown};

/// Digest domain of field values.
const VALUE: &str = "value";
/// Digest domain of child lists.
const LIST: &str = "list";
/// Digest domain of names of tags and companies.
const NAME: &str = "name";
/// Codes of groups beside the fields, in base and fingerprint; no field has one of these.
const TAG_CODES: [(i64, TagBase); 4] =
    [(-20, TagBase::Found), (-21, TagBase::Ours), (-22, TagBase::Owed), (-23, TagBase::Sent)];
const COMPANY_CODE: i64 = -30;
/// The company, of a record that does not show whether it has it.
const COMPANY_OWED_CODE: i64 = -31;
/// The id of the company that went along with a create.
const COMPANY_SENT_CODE: i64 = -32;
/// Added to the code of a field whose write was sent and not recorded. No id comes near it.
const SENT: i64 = -(1 << 62);

/// What both sides held for one field when it was last settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseField {
    /// What the mapping wished.
    pub desired: Digest,
    /// What the target held.
    pub target: Digest,
}

/// How a tag that was wished came to stand on the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagBase {
    /// It was there already: somebody else's, never taken away.
    Found,
    /// This program put it there.
    Ours,
    /// It was about to be put there: whether the request arrived, the record says.
    Sent,
    /// It was not put there, because the record does not show its tags.
    Owed,
}

/// The base of one link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// Per field.
    pub fields: BTreeMap<FieldKey, BaseField>,
    /// Per field that was about to be written: what holds if the request arrived, which the record says.
    pub sent: BTreeMap<FieldKey, BaseField>,
    /// The wished e-mails as a whole.
    pub emails: Option<Digest>,
    /// The wished phones as a whole.
    pub phones: Option<Digest>,
    /// The tags that were wished, by the digest of their name.
    pub tags: BTreeMap<Digest, TagBase>,
    /// The wished company.
    pub company: Option<Digest>,
    /// The company was not linked, because the record does not show its companies.
    pub company_owed: bool,
    /// The company that went along with a create, by its id; of an intent alone: the journal has it once the create is known.
    pub company_sent: Option<i64>,
}

/// Digest of a value's canonical text; the empty text stands for "nothing".
pub fn value_digest(key: &HashKey, canonical: Option<&str>) -> Digest {
    key.digest(VALUE, canonical.unwrap_or(""))
}

/// Digest of a list that is being changed: no wish has it, so that the next one is compared with what is there.
pub fn open_list(key: &HashKey) -> Digest {
    key.digest(LIST, "\0")
}

/// Digest of a tag's or a company's name.
pub fn name_digest(key: &HashKey, name: &str) -> Digest {
    key.digest(NAME, name)
}

/// Canonical forms of the wished e-mails, sorted.
pub fn canonical_emails(record: &DesiredRecord) -> Vec<String> {
    let mut emails: Vec<String> = record.emails.items().iter().map(super::record::DesiredEmail::canonical).collect();
    emails.sort_unstable();
    emails
}

/// Canonical forms of the wished phones, sorted.
pub fn canonical_phones(record: &DesiredRecord, home: Country) -> Vec<String> {
    let mut phones: Vec<String> =
        record.phones.items().iter().map(|wished| phone::canonical(&wished.number, home)).collect();
    phones.sort_unstable();
    phones
}

/// Digests of all that is wished for one contact; what is unknown in this run has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WishDigests {
    /// Per field.
    pub fields: BTreeMap<FieldKey, Digest>,
    /// Per field whose value only stands in for one that could not be read: for a create.
    pub stand_ins: BTreeMap<FieldKey, Digest>,
    /// The e-mails as a whole.
    pub emails: Option<Digest>,
    /// The phones as a whole, their types included.
    pub phones: Option<Digest>,
    /// The company.
    pub company: Option<Digest>,
}

impl WishDigests {
    /// The digests of a record.
    pub fn of(key: &HashKey, record: &DesiredRecord, home: Country) -> Self {
        let nothing = value_digest(key, None);
        let all = record.fields.iter().filter_map(|(field, wished)| {
            let digest = match &wished.value {
                Desired::Unknown => return None,
                Desired::Empty => nothing,
                Desired::Value(value) => value_digest(key, Some(&value.canonical())),
            };
            Some((*field, digest))
        });
        let (stand_ins, fields) = all.partition(|(field, _)| record.stand_ins.contains(field));
        // A list that is only added to is not settled the way that a whole one is: it is looked at again.
        let lines = |mut lines: Vec<String>, owner: Option<Owner>| {
            lines.extend((owner == Some(Owner::Union)).then(|| String::from("+")));
            lines.join("\n")
        };
        let emails = (record.emails.value != Desired::Unknown)
            .then(|| key.digest(LIST, lines(canonical_emails(record), record.emails.owner)));
        let phones = (record.phones.value != Desired::Unknown).then(|| {
            let phones = record.phones.items().iter();
            let mut wished: Vec<String> =
                phones.map(|wished| format!("{} {}", phone::canonical(&wished.number, home), wished.kind)).collect();
            wished.sort_unstable();
            key.digest(LIST, lines(wished, record.phones.owner))
        });
        let company = match &record.company {
            Desired::Unknown => None,
            Desired::Empty => Some(nothing),
            Desired::Value(name) => Some(name_digest(key, name)),
        };
        Self { fields, stand_ins, emails, phones, company }
    }

    /// Hash of all that is wished and of the mapping's version. Parts that are unknown in this run are taken from
    /// `base`, so that not looking at something is never a change. What `base` says is owed, because the record did not show
    /// how it stands, counts with whether the tenant has `shown` such a part: once it has, it is another fingerprint.
    pub fn fingerprint(
        &self,
        key: &HashKey,
        record: &DesiredRecord,
        base: Option<&Base>,
        mapping_version: &str,
        shown: Shown,
    ) -> Digest {
        let mut bytes = Vec::with_capacity(mapping_version.len() + 8 + 25 * (record.fields.len() + 2));
        bytes.extend_from_slice(&(mapping_version.len() as u64).to_le_bytes());
        bytes.extend_from_slice(mapping_version.as_bytes());
        push_digest(&mut bytes, self.emails.or_else(|| base.and_then(|base| base.emails)));
        push_digest(&mut bytes, self.phones.or_else(|| base.and_then(|base| base.phones)));
        for field in record.fields.keys() {
            let last = || base.and_then(|base| base.fields.get(field)).map(|entry| entry.desired);
            bytes.extend_from_slice(&field_code(*field).to_le_bytes());
            push_digest(&mut bytes, self.fields.get(field).copied().or_else(last));
        }
        // Groups that hold nothing leave no trace, so that whoever uses none keeps the fingerprints there are.
        for tag in wished_tags(record, base) {
            bytes.extend_from_slice(&TAG_CODES[0].0.to_le_bytes());
            push_digest(&mut bytes, Some(tag));
        }
        let company = self.company.or_else(|| base.and_then(|base| base.company));
        if let Some(company) = company.filter(|company| *company != value_digest(key, None)) {
            bytes.extend_from_slice(&COMPANY_CODE.to_le_bytes());
            push_digest(&mut bytes, Some(company));
        }
        for part in base.map(|base| self.owed(record, base)).unwrap_or_default() {
            let code = match part {
                Part::Field(field) => field_code(field),
                Part::Tags | Part::Emails | Part::Nulls => TAG_CODES[2].0,
                Part::Companies => COMPANY_OWED_CODE,
            };
            bytes.extend_from_slice(&code.to_le_bytes());
            bytes.extend_from_slice(&[b'?', u8::from(shown.has(part))]);
        }
        key.digest("fingerprint", &bytes)
    }
}

impl WishDigests {
    /// What could not be settled because the record did not show how it stands, in a stable order.
    pub fn owed(&self, record: &DesiredRecord, base: &Base) -> Vec<Part> {
        let wanted = |field: &&FieldKey| {
            let wished = record.fields.get(field);
            wished.is_some_and(|wished| wished.owner != Some(Owner::Target) && wished.value != Desired::Empty)
        };
        let fields = self.fields.keys().filter(|field| !base.fields.contains_key(field)).filter(wanted);
        let mut owed: Vec<Part> = fields.map(|field| Part::Field(*field)).collect();
        let tag = base.tags.iter().any(|(tag, state)| match state {
            TagBase::Owed => true,
            // Ours, to be taken off, and not taken off.
            TagBase::Ours | TagBase::Sent => record.tags.absent.contains(tag),
            TagBase::Found => false,
        });
        owed.extend(tag.then_some(Part::Tags));
        owed.extend(base.company_owed.then_some(Part::Companies));
        owed
    }
}

/// The tags that are wished, sorted: those that are known to be, and of the unknown ones those that were. One whose request
/// may never have arrived is none of these: whoever knows again that it is wished has to look.
fn wished_tags(record: &DesiredRecord, base: Option<&Base>) -> BTreeSet<Digest> {
    let before = base.into_iter().flat_map(|base| &base.tags).filter(|(_, state)| **state != TagBase::Sent);
    let before = before.map(|(tag, _)| tag).filter(|tag| !record.tags.absent.contains(tag));
    before.chain(&record.tags.present).copied().collect()
}

impl Base {
    /// Compact form for the store: after the two list digests, per field its code (8 bytes), the wished digest (16), and
    /// what the target held: 0 for the same, or 1 and its digest (16). What was sent, tags and the company are entries of the
    /// same form, under codes that no field has.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 + 32 + self.fields.len() * 41);
        push_digest(&mut bytes, self.emails);
        push_digest(&mut bytes, self.phones);
        let sent = self.sent.iter().map(|(field, entry)| (SENT + field_code(*field), entry));
        for (code, entry) in self.fields.iter().map(|(field, entry)| (field_code(*field), entry)).chain(sent) {
            bytes.extend_from_slice(&code.to_le_bytes());
            bytes.extend_from_slice(&entry.desired.0);
            push_digest(&mut bytes, (entry.target != entry.desired).then_some(entry.target));
        }
        let tags = self.tags.iter().filter_map(|(tag, state)| {
            TAG_CODES.iter().find(|(_, known)| known == state).map(|(code, _)| (*code, *tag))
        });
        let company = if self.company_owed { COMPANY_OWED_CODE } else { COMPANY_CODE };
        for (code, digest) in tags.chain(self.company.map(|digest| (company, digest))) {
            bytes.extend_from_slice(&code.to_le_bytes());
            bytes.extend_from_slice(&digest.0);
            push_digest(&mut bytes, None);
        }
        if let Some(company) = self.company_sent {
            bytes.extend_from_slice(&COMPANY_SENT_CODE.to_le_bytes());
            bytes.extend_from_slice(&i128::from(company).to_le_bytes());
            push_digest(&mut bytes, None);
        }
        bytes
    }

    /// Reads what `encode` wrote; `None` when the bytes are not that.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (emails, rest) = take_digest(bytes)?;
        let (phones, mut rest) = take_digest(rest)?;
        let mut base = Self { emails, phones, ..Self::default() };
        while !rest.is_empty() {
            let (code, after) = rest.split_first_chunk()?;
            let (desired, after) = after.split_first_chunk()?;
            let (target, after) = take_digest(after)?;
            let (code, desired) = (i64::from_le_bytes(*code), Digest(*desired));
            rest = after;
            if let Some((_, state)) = TAG_CODES.iter().find(|(tag, _)| *tag == code) {
                base.tags.insert(desired, *state);
            } else if matches!(code, COMPANY_CODE | COMPANY_OWED_CODE) {
                base.company = Some(desired);
                base.company_owed = code == COMPANY_OWED_CODE;
            } else if code == COMPANY_SENT_CODE {
                base.company_sent = Some(i64::try_from(i128::from_le_bytes(desired.0)).ok()?);
            } else {
                let field = BaseField { desired, target: target.unwrap_or(desired) };
                match code.checked_sub(SENT).filter(|_| code < SENT / 2) {
                    Some(code) => base.sent.insert(field_of(code)?, field),
                    None => base.fields.insert(field_of(code)?, field),
                };
            }
        }
        Some(base)
    }
}

fn push_digest(bytes: &mut Vec<u8>, digest: Option<Digest>) {
    match digest {
        Some(digest) => {
            bytes.push(1);
            bytes.extend_from_slice(&digest.0);
        }
        None => bytes.push(0),
    }
}

fn take_digest(bytes: &[u8]) -> Option<(Option<Digest>, &[u8])> {
    match bytes.split_first()? {
        (0, rest) => Some((None, rest)),
        (1, rest) => rest.split_first_chunk().map(|(digest, rest)| (Some(Digest(*digest)), rest)),
        _ => None,
    }
}

/// Standard fields are negative; custom fields keep their id, which is not.
fn field_code(field: FieldKey) -> i64 {
    match field {
        FieldKey::FirstName => -1,
        FieldKey::LastName => -2,
        FieldKey::MembershipNo => -3,
        FieldKey::IdentityNo => -4,
        FieldKey::Gender => -5,
        FieldKey::BirthAt => -6,
        FieldKey::Custom(id) => id,
    }
}

fn field_of(code: i64) -> Option<FieldKey> {
    if code >= 0 {
        return Some(FieldKey::Custom(code));
    }
    FieldKey::STANDARD.into_iter().find(|field| field_code(*field) == code)
}

#[cfg(test)]
mod tests {
    use super::{Base, BaseField, TagBase, WishDigests, name_digest, value_digest};
    use crate::domain::hash::HashKey;
    use crate::domain::phone::Country;
    use crate::domain::record::{Desired, DesiredField, DesiredRecord, DesiredTags, FieldKey, FieldValue};
    use crate::domain::target::Shown;

    fn record(points: Desired<FieldValue>) -> DesiredRecord {
        let mut record = DesiredRecord::default();
        record.fields.insert(FieldKey::Custom(33), DesiredField { value: points, owner: None });
        record
    }

    #[test]
    fn a_base_survives_its_compact_form() {
        let key = HashKey::new([3; 32]);
        let digest = value_digest(&key, Some("x"));
        let mut base = Base { emails: Some(digest), ..Base::default() };
        for field in FieldKey::STANDARD.into_iter().chain([FieldKey::Custom(33)]) {
            base.fields.insert(field, BaseField { desired: digest, target: value_digest(&key, None) });
        }
        base.fields.insert(FieldKey::Custom(34), BaseField { desired: digest, target: digest });
        assert_eq!(Base::decode(&base.encode()), Some(base.clone()));
        for (name, state) in [("a", TagBase::Found), ("b", TagBase::Ours), ("c", TagBase::Owed), ("d", TagBase::Sent)] {
            base.tags.insert(name_digest(&key, name), state);
        }
        base.company = Some(name_digest(&key, "Example Ltd"));
        base.company_sent = Some(i64::MAX);
        for field in [FieldKey::BirthAt, FieldKey::Custom(0), FieldKey::Custom(33)] {
            base.sent.insert(field, BaseField { desired: digest, target: value_digest(&key, Some("y")) });
        }
        assert_eq!(Base::decode(&base.encode()), Some(base.clone()));
        assert_eq!(Base::decode(&base.encode()[1..]), None);
        assert_eq!(Base::decode(&[]), None);
    }

    #[test]
    fn unknown_never_changes_a_fingerprint() {
        let key = HashKey::new([3; 32]);
        let digest = value_digest(&key, Some("7"));
        let mut base = Base::default();
        base.fields.insert(FieldKey::Custom(33), BaseField { desired: digest, target: digest });
        let print = |points| {
            let record = record(points);
            WishDigests::of(&key, &record, Country::TAIWAN).fingerprint(
                &key,
                &record,
                Some(&base),
                "1",
                Shown::default(),
            )
        };
        let known = print(Desired::Value(FieldValue::Text("7".into())));
        assert_eq!(known, print(Desired::Unknown));
        assert_ne!(known, print(Desired::Empty));
        assert_ne!(known, print(Desired::Value(FieldValue::Text("8".into()))));
    }

    #[test]
    fn a_tag_that_is_unknown_never_changes_a_fingerprint() {
        let key = HashKey::new([3; 32]);
        let [vip, news] = ["vip", "news"].map(|name| name_digest(&key, name));
        let base = Base { tags: [(vip, TagBase::Ours)].into(), ..Base::default() };
        let print = |present: &[_], absent: &[_]| {
            let mut record = record(Desired::Empty);
            record.tags = DesiredTags { present: present.to_vec(), absent: absent.to_vec() };
            WishDigests::of(&key, &record, Country::TAIWAN).fingerprint(
                &key,
                &record,
                Some(&base),
                "1",
                Shown::default(),
            )
        };
        let known = print(&[vip], &[news]);
        for (present, absent) in [(&[][..], &[][..]), (&[], &[news]), (&[vip], &[])] {
            assert_eq!(print(present, absent), known);
        }
        let changed = [print(&[vip, news], &[]), print(&[], &[vip]), print(&[news], &[vip])];
        assert!(changed.iter().all(|print| *print != known));
        assert_ne!(changed[0], changed[1]);
    }

    /// A process was killed before the request arrived, and a run that reads no labels settled the contact meanwhile.
    #[test]
    fn a_tag_whose_request_may_not_have_arrived_is_looked_at_as_soon_as_it_is_known_again() {
        let key = HashKey::new([3; 32]);
        let vip = name_digest(&key, "vip");
        let base = Base { tags: [(vip, TagBase::Sent)].into(), ..Base::default() };
        let print = |present: &[_], absent: &[_]| {
            let mut record = record(Desired::Empty);
            record.tags = DesiredTags { present: present.to_vec(), absent: absent.to_vec() };
            let digests = WishDigests::of(&key, &record, Country::TAIWAN);
            digests.fingerprint(&key, &record, Some(&base), "1", Shown::default())
        };
        let unknown = print(&[], &[]);
        assert_ne!(print(&[vip], &[]), unknown, "it may not be there");
        assert_ne!(print(&[], &[vip]), unknown, "it may be there");
    }

    #[test]
    fn a_contact_without_tags_and_company_keeps_the_fingerprint_it_had_before_there_were_any() {
        let key = HashKey::new([3; 32]);
        let plain = record(Desired::Empty);
        let print = |record: &DesiredRecord| {
            WishDigests::of(&key, record, Country::TAIWAN).fingerprint(&key, record, None, "1", Shown::default())
        };
        let nobody = DesiredTags { present: vec![], absent: vec![name_digest(&key, "vip")] };
        let read = DesiredRecord { tags: nobody, company: Desired::Empty, ..plain.clone() };
        assert_eq!(print(&plain), print(&read));
        assert_ne!(print(&plain), print(&DesiredRecord { company: Desired::Value("A".into()), ..plain.clone() }));
    }

    #[test]
    fn another_mapping_version_is_another_fingerprint() {
        let key = HashKey::new([3; 32]);
        let record = record(Desired::Empty);
        let digests = WishDigests::of(&key, &record, Country::TAIWAN);
        assert_ne!(
            digests.fingerprint(&key, &record, None, "1", Shown::default()),
            digests.fingerprint(&key, &record, None, "2", Shown::default())
        );
    }
}
