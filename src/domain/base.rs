//! Base and fingerprint: what was last wished and written, as keyed hashes (design, section 3).
//!
//! The base answers "who changed this field since?", the fingerprint "is there anything to do at all?".

use std::collections::BTreeMap;

use super::hash::{Digest, HashKey};
use super::phone::{self, Country};
use super::record::{Desired, DesiredRecord, FieldKey, Owner};

/// Digest domain of field values.
const VALUE: &str = "value";
/// Digest domain of child lists.
const LIST: &str = "list";

/// What both sides held for one field when it was last settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseField {
    /// What the mapping wished.
    pub desired: Digest,
    /// What the target held.
    pub target: Digest,
}

/// The base of one link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// Per field.
    pub fields: BTreeMap<FieldKey, BaseField>,
    /// The wished e-mails as a whole.
    pub emails: Option<Digest>,
    /// The wished phones as a whole.
    pub phones: Option<Digest>,
}

/// Digest of a value's canonical text; the empty text stands for "nothing".
pub fn value_digest(key: &HashKey, canonical: Option<&str>) -> Digest {
    key.digest(VALUE, canonical.unwrap_or(""))
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
        Self { fields, stand_ins, emails, phones }
    }

    /// Hash of all that is wished and of the mapping's version. Parts that are unknown in this run are taken from
    /// `base`, so that not looking at something is never a change.
    pub fn fingerprint(
        &self,
        key: &HashKey,
        record: &DesiredRecord,
        base: Option<&Base>,
        mapping_version: &str,
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
        key.digest("fingerprint", &bytes)
    }
}

impl Base {
    /// Compact form for the store: after the two list digests, per field its code (8 bytes), the wished digest (16), and
    /// what the target held: 0 for the same, or 1 and its digest (16).
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 + 32 + self.fields.len() * 41);
        push_digest(&mut bytes, self.emails);
        push_digest(&mut bytes, self.phones);
        for (field, entry) in &self.fields {
            bytes.extend_from_slice(&field_code(*field).to_le_bytes());
            bytes.extend_from_slice(&entry.desired.0);
            push_digest(&mut bytes, (entry.target != entry.desired).then_some(entry.target));
        }
        bytes
    }

    /// Reads what `encode` wrote; `None` when the bytes are not that.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (emails, rest) = take_digest(bytes)?;
        let (phones, mut rest) = take_digest(rest)?;
        let mut base = Self { fields: BTreeMap::new(), emails, phones };
        while !rest.is_empty() {
            let (code, after) = rest.split_first_chunk()?;
            let (desired, after) = after.split_first_chunk()?;
            let (target, after) = take_digest(after)?;
            let desired = Digest(*desired);
            let field = BaseField { desired, target: target.unwrap_or(desired) };
            base.fields.insert(field_of(i64::from_le_bytes(*code))?, field);
            rest = after;
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
    use super::{Base, BaseField, WishDigests, value_digest};
    use crate::domain::hash::HashKey;
    use crate::domain::phone::Country;
    use crate::domain::record::{Desired, DesiredField, DesiredRecord, FieldKey, FieldValue};

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
            WishDigests::of(&key, &record, Country::TAIWAN).fingerprint(&key, &record, Some(&base), "1")
        };
        let known = print(Desired::Value(FieldValue::Text("7".into())));
        assert_eq!(known, print(Desired::Unknown));
        assert_ne!(known, print(Desired::Empty));
        assert_ne!(known, print(Desired::Value(FieldValue::Text("8".into()))));
    }

    #[test]
    fn another_mapping_version_is_another_fingerprint() {
        let key = HashKey::new([3; 32]);
        let record = record(Desired::Empty);
        let digests = WishDigests::of(&key, &record, Country::TAIWAN);
        assert_ne!(digests.fingerprint(&key, &record, None, "1"), digests.fingerprint(&key, &record, None, "2"));
    }
}
