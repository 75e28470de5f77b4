//! A LiveDesk contact as the rest of the program sees it: normalised once, at the edge.

use serde_json::{Map, Value};

use super::ids::LiveDeskId;

/// A person record at the source.
///
/// `fields` is the whole row after normalising (platform notes LiveDesk 3.2): `id` a number, `blocked` a
/// boolean, `created_at` and `last_activity_at` epoch seconds or null, `custom_attributes`,
/// `additional_attributes` always objects, `contact_inboxes` an array or missing (not every answer has it), texts either
/// text or null (never missing). Unknown top-level keys are kept. It is what mapping expressions read.
#[derive(Clone, Debug, PartialEq)]
pub struct Contact {
    /// The id that the stamp carries.
    pub id: LiveDeskId,
    /// Creation time, epoch seconds.
    pub created_at: Option<i64>,
    /// Time of the last inbound message, epoch seconds; not an update time (notes, section 5).
    pub last_activity_at: Option<i64>,
    /// The normalised row.
    pub fields: Map<String, Value>,
}

impl Contact {
    /// A top-level text that is neither missing, null nor empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }
}
