//! By which key a customer was found, in words. Families and offices share a phone, so a person is told where the values of a
//! key that goes before are others: then the customer may be a relative's.

use crate::domain::record::DesiredRecord;
use crate::domain::target::TargetContact;
use crate::sync::engine::{Engine, MatchKey};
use crate::sync::ports::ContactTarget;

/// How a customer and a contact came together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sync) struct Matched {
    by: MatchKey,
    /// Both hold values of a key that goes before, and none in common.
    pub(in crate::sync) apart: bool,
}

impl Matched {
    /// In words, without values.
    pub(in crate::sync) fn text(self) -> &'static str {
        match (self.by, self.apart) {
            (MatchKey::Email, false) => "matched by its e-mail",
            (MatchKey::Email, true) => "matched by its e-mail; the customer has another phone",
            (MatchKey::Phone, false) => "matched by its phone",
            (MatchKey::Phone, true) => "matched by its phone; the customer has another e-mail",
        }
    }
}

impl<T: ContactTarget> Engine<T> {
    /// By which key a customer is a contact's; `None` where it shares none of them.
    pub(in crate::sync) fn matched(&self, wished: &DesiredRecord, record: &TargetContact) -> Option<Matched> {
        let mut apart = false;
        for key in &self.settings.match_keys {
            let (wishes, holds) = match key {
                MatchKey::Email => (!wished.emails.items().is_empty(), record.emails.as_ref().map(Vec::is_empty)),
                MatchKey::Phone => (!wished.phones.items().is_empty(), record.phones.as_ref().map(Vec::is_empty)),
            };
            if !wishes || holds != Some(false) {
                continue;
            }
            if self.still_matches(record, wished, *key) {
                return Some(Matched { by: *key, apart });
            }
            apart = true;
        }
        None
    }
}
