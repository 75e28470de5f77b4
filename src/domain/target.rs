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
