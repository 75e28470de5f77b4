//! A FIRST LINE contact as it was read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ids::{ChildId, FirstLineId};
use super::record::{FieldKey, FieldValue};

/// An e-mail row of a contact.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetEmail {
    /// Its own id.
    pub id: ChildId,
    /// The address as stored.
    pub address: String,
    /// Whose it is; may be missing on rows embedded in a contact.
    pub contact: Option<FirstLineId>,
}

/// A phone row of a contact.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetPhone {
    /// Its own id.
    pub id: ChildId,
    /// The number as stored.
    pub number: String,
    /// 0 home, 1 company, 2 mobile, 3 fax, 4 other; may be missing.
    pub kind: Option<i64>,
    /// Whose it is (`contact_id` or `phone_contact.contact_id`), when the row says so.
    pub contact: Option<FirstLineId>,
    /// The profile it hangs on, when the row says so.
    pub profile_id: Option<i64>,
}

/// A part of a contact that a tenant, or the role of its key, may show or hide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A standard field, or all custom fields together.
    Field(FieldKey),
    /// The e-mail rows.
    Emails,
    /// The tags.
    Tags,
    /// The companies.
    Companies,
    /// No part: that it writes `null` where a standard field is empty, rather than leave the key out.
    Nulls,
}

/// The parts that a tenant was seen to show. Only of those does an answer that lacks one say that it is empty; of the
/// others it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown(u16);

impl Shown {
    /// What was kept of an earlier run.
    pub fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// To be kept.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// These parts and this one.
    #[must_use]
    pub fn and(self, part: Part) -> Self {
        Self(self.0 | Self::bit(part))
    }

    /// Whether the part was seen.
    pub fn has(self, part: Part) -> bool {
        self.0 & Self::bit(part) != 0
    }

    fn bit(part: Part) -> u16 {
        1 << match part {
            Part::Field(FieldKey::FirstName) => 0,
            Part::Field(FieldKey::LastName) => 1,
            Part::Field(FieldKey::MembershipNo) => 2,
            Part::Field(FieldKey::IdentityNo) => 3,
            Part::Field(FieldKey::Gender) => 4,
            Part::Field(FieldKey::BirthAt) => 5,
            Part::Field(FieldKey::Custom(_)) => 6,
            Part::Emails => 7,
            Part::Tags => 8,
            Part::Companies => 9,
            Part::Nulls => 10,
        }
    }
}

/// A contact as the target answered it. A list row may lack parts: `None` means "not said", never "empty".
#[derive(Clone, Debug, PartialEq)]
pub struct TargetContact {
    /// Its id.
    pub id: FirstLineId,
    /// `profile_id` (or `profile.id`), which phones hang on.
    pub profile_id: Option<i64>,
    /// Standard fields whose key was in the answer, `null` included.
    pub standard: BTreeMap<FieldKey, Value>,
    /// `cz_cols` by id, `null` included; `None` when the answer has no `cz_cols` at all.
    pub custom: Option<BTreeMap<i64, Value>>,
    /// There were `cz_cols`, and they could not be read: what they hold is not known, but they hold something.
    pub custom_unreadable: bool,
    /// `email_contacts`; `None` when the answer does not have them.
    pub emails: Option<Vec<TargetEmail>>,
    /// `profile.phones`; `None` when the answer does not have them.
    pub phones: Option<Vec<TargetPhone>>,
    /// Ids of its tags (`tags`, `tag_ids` or `tag_id`); `None` when not said.
    pub tag_ids: Option<Vec<i64>>,
    /// Ids of its companies; `None` when not said.
    pub company_ids: Option<Vec<i64>>,
}

/// A contact that was just made: what FIRST LINE alone decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewContact {
    /// Its id.
    pub id: FirstLineId,
    /// `profile_id` (or `profile.id`), which phones hang on.
    pub profile_id: Option<i64>,
}

impl TargetContact {
    /// Whether the answer says what this part holds, empty included.
    pub fn says(&self, part: Part) -> bool {
        match part {
            Part::Field(key) => self.value(key).is_some(),
            Part::Emails => self.emails.is_some(),
            Part::Tags => self.tag_ids.is_some(),
            Part::Companies => self.company_ids.is_some(),
            Part::Nulls => self.standard.values().any(Value::is_null),
        }
    }

    /// This read of the record; what it does not say is as the record's row in a list has it.
    #[must_use]
    pub fn or_as_listed(self, row: Self) -> Self {
        let mut standard = row.standard;
        standard.extend(self.standard);
        Self {
            id: self.id,
            profile_id: self.profile_id.or(row.profile_id),
            standard,
            custom: self.custom.or(row.custom),
            custom_unreadable: self.custom_unreadable,
            emails: self.emails.or(row.emails),
            phones: self.phones.or(row.phones),
            tag_ids: self.tag_ids.or(row.tag_ids),
            company_ids: self.company_ids.or(row.company_ids),
        }
    }

    /// What a create of it would have answered.
    pub fn identity(&self) -> NewContact {
        NewContact { id: self.id, profile_id: self.profile_id }
    }

    /// The stored value of a field; `None` when the answer does not say.
    pub fn value(&self, key: FieldKey) -> Option<&Value> {
        match key {
            FieldKey::Custom(id) => match &self.custom {
                // A full answer lists the columns that hold something; a column it leaves out holds nothing.
                Some(columns) => Some(columns.get(&id).unwrap_or(&Value::Null)),
                None => None,
            },
            _ => self.standard.get(&key),
        }
    }
}

/// One field in a write.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteValue {
    /// A value of ours; the adapter gives it the wire form of its kind.
    Typed(FieldValue),
    /// A value read from the target, sent back as it was (full merged updates).
    AsRead(Value),
    /// Clear the field, in the configured way.
    Clear,
}

/// The body of a create or an update. Fields that are absent are not sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContactWrite {
    /// Fields to send.
    pub fields: BTreeMap<FieldKey, WriteValue>,
    /// Tags to send (updates only, notes FIRST LINE 3.7).
    pub tag_ids: Option<Vec<i64>>,
    /// Companies to send.
    pub company_ids: Option<Vec<i64>>,
}
