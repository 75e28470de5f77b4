//! Evidence: what speaks for a record being a contact's own, read afresh, for the person who decides.
//!
//! It only reads. What it gives holds values of people; whoever shows it masks them.

use std::collections::BTreeSet;

use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::phone;
use crate::domain::record::{DesiredEmail, DesiredRecord, canonical_email};
use crate::domain::target::TargetContact;
use crate::sync::engine::{Engine, RunError};
use crate::sync::ports::ContactTarget;
use crate::sync::stamp::StampReading;

/// A value of a record, and whether the contact has it too.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    /// As FIRST LINE holds it.
    pub value: String,
    /// Whether it is the contact's.
    pub hit: bool,
}

/// One record, held against a contact.
#[derive(Clone)]
pub struct Evidence {
    /// The record as it is now; `None` when it is not there.
    pub record: Option<TargetContact>,
    /// Its e-mails; `None` when they are not shown.
    pub emails: Option<Vec<Held>>,
    /// Its phones; `None` when they are not shown.
    pub phones: Option<Vec<Held>>,
    /// Whose stamp it carries.
    pub stamp: StampReading,
    /// Whom it is linked to.
    pub linked_to: Option<LiveDeskId>,
}

impl<T: ContactTarget> Engine<T> {
    /// Reads a record with its children and holds its keys against those that the mapping gives the contact, where it is
    /// known.
    pub async fn candidate(&self, wished: Option<&DesiredRecord>, id: FirstLineId) -> Result<Evidence, RunError> {
        let linked_to = self.store.source_of(&[id]).await?.remove(&id);
        let record = self.full_contact(id).await?;
        let home = self.settings.phone_country;
        let emails: BTreeSet<String> =
            wished.iter().flat_map(|wished| wished.emails.items()).map(DesiredEmail::canonical).collect();
        let phones: BTreeSet<String> = wished
            .iter()
            .flat_map(|wished| wished.phones.items())
            .map(|wished| phone::canonical(&wished.number, home))
            .collect();
        let shown = record.as_ref();
        Ok(Evidence {
            emails: shown.and_then(|record| record.emails.as_ref()).map(|rows| {
                let held =
                    |value: &String| Held { value: value.clone(), hit: emails.contains(&canonical_email(value)) };
                rows.iter().map(|row| held(&row.address)).collect()
            }),
            phones: shown.and_then(|record| record.phones.as_ref()).map(|rows| {
                let hit = |value: &String| phones.contains(&phone::canonical(value, home));
                let held = |value: &String| Held { value: value.clone(), hit: hit(value) };
                rows.iter().map(|row| held(&row.number)).collect()
            }),
            stamp: shown.map_or(StampReading::NotSaid, |record| self.scheme.read(record)),
            linked_to,
            record,
        })
    }
}
