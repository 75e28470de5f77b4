//! Rewriting: how an update is sent so that what it does not name survives (notes FIRST LINE 3.7).
//!
//! Whether fields that are not sent are kept is tried on a record that we created, never first on a customer's; until
//! it is known, the whole record is sent, which is right under both readings.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::field::FieldKind;
use crate::domain::record::{FieldKey, FieldValue, canonical_current, is_blank};
use crate::domain::target::{ContactWrite, TargetContact, WriteValue};
use crate::sync::decide::{self, Authorship};
use crate::sync::engine::{Engine, RunError, UpdateSemantics};
use crate::sync::ports::{ContactTarget, PortError};

impl<T: ContactTarget> Engine<T> {
    /// Sends an update in the way that keeps what it does not name (notes FIRST LINE 3.7, design section 4, Apply).
    pub(super) async fn send_update(
        &self,
        current: &TargetContact,
        write: BTreeMap<FieldKey, WriteValue>,
        authorship: Authorship,
    ) -> Result<(), RunError> {
        let partial = ContactWrite { fields: write, ..ContactWrite::default() };
        match (self.update_semantics(), authorship) {
            (UpdateSemantics::Partial, _) => {
                self.target.update(current.id, &partial).await?;
            }
            (UpdateSemantics::Unknown, Authorship::Ours) => self.try_partial_update(current, partial).await?,
            // Never first on a customer's record: the whole of it is right under both readings.
            (UpdateSemantics::Unknown | UpdateSemantics::Replace, _) => {
                self.target.update(current.id, &self.merged(current, partial)).await?;
            }
        }
        Ok(())
    }

    /// The first partial update of a tenant, on a record that we created: read back what became of the fields that
    /// were not sent, and put them right if they are gone.
    async fn try_partial_update(&self, current: &TargetContact, partial: ContactWrite) -> Result<(), RunError> {
        let _one_at_a_time = self.experiment.lock().await;
        if self.update_semantics() != UpdateSemantics::Unknown {
            let write = match self.update_semantics() {
                UpdateSemantics::Partial => partial,
                UpdateSemantics::Unknown | UpdateSemantics::Replace => self.merged(current, partial),
            };
            self.target.update(current.id, &write).await?;
            return Ok(());
        }
        let whole = self.merged(current, partial.clone());
        let Some(trial) = Trial::of(&whole, partial) else {
            // This record cannot answer the question; the whole of it is right under both readings.
            self.target.update(current.id, &whole).await?;
            return Ok(());
        };
        match self.target.update(current.id, &trial.write).await {
            Ok(_) => {
                let kept = self.target.contact(current.id).await?.is_some_and(|after| {
                    trial.witnesses.iter().all(|key| after.value(*key).is_some_and(|value| !is_blank(value)))
                });
                if kept {
                    self.learn_update_semantics(UpdateSemantics::Partial).await?;
                    return Ok(());
                }
            }
            // Either this tenant wants the whole record, or a value is refused: then the whole is refused as well.
            Err(PortError::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.target.update(current.id, &whole).await?;
        self.learn_update_semantics(UpdateSemantics::Replace).await?;
        self.notice("FIRST LINE resets fields that an update leaves out; from now on whole records are sent");
        Ok(())
    }

    /// The whole record as it should be after the write: what was read, with the written fields in their places.
    fn merged(&self, current: &TargetContact, partial: ContactWrite) -> ContactWrite {
        let custom = current.custom.iter().flatten().map(|(id, value)| (FieldKey::Custom(*id), value));
        let standard = current.standard.iter().map(|(key, value)| (*key, value));
        let mut fields: BTreeMap<FieldKey, WriteValue> = standard
            .chain(custom)
            .filter(|(_, value)| !is_blank(value))
            .map(|(key, value)| (key, written_back(decide::kind_of(&self.kinds, key), value)))
            .collect();
        fields.extend(partial.fields);
        ContactWrite { fields, tag_ids: current.tag_ids.clone(), company_ids: current.company_ids.clone() }
    }
}

/// A partial update that shows whether fields that are not sent survive: standard fields and columns are two questions
/// (notes FIRST LINE 3.7), so it needs a witness of each that is not sent, and a column that is.
struct Trial {
    write: ContactWrite,
    witnesses: Vec<FieldKey>,
}

impl Trial {
    /// `None` when this record cannot answer both questions.
    fn of(whole: &ContactWrite, partial: ContactWrite) -> Option<Self> {
        let is_column = |key: &FieldKey| matches!(key, FieldKey::Custom(_));
        let mut write = partial;
        if !write.fields.keys().any(is_column) {
            let (key, value) = whole.fields.iter().find(|(key, _)| is_column(key))?;
            write.fields.insert(*key, value.clone());
        }
        // A required field may survive for that reason alone.
        let unsent = |key: &&FieldKey| !write.fields.contains_key(key) && **key != FieldKey::FirstName;
        let witnesses: Vec<FieldKey> = whole.fields.keys().filter(unsent).copied().collect();
        let speaks_for_both = witnesses.iter().any(is_column) && !witnesses.iter().all(is_column);
        speaks_for_both.then_some(Self { write, witnesses })
    }
}

/// A value that was read, in a form that can be sent: answers hold numbers and booleans as text (notes FIRST LINE 4.3).
fn written_back(kind: FieldKind, value: &Value) -> WriteValue {
    let typed = canonical_current(kind, value).and_then(|text| match kind {
        FieldKind::Number => text.parse().ok().map(FieldValue::Number),
        FieldKind::Boolean => ["0", "1"].iter().position(|form| *form == text).map(|yes| FieldValue::Boolean(yes == 1)),
        FieldKind::Date => Some(FieldValue::Date(text)),
        FieldKind::Time => Some(FieldValue::Time(text)),
        FieldKind::DateTime => Some(FieldValue::DateTime(text)),
        FieldKind::MultipleChoice if !value.is_array() => serde_json::from_str(&text).ok().map(FieldValue::Choices),
        _ => None,
    });
    typed.map_or_else(|| WriteValue::AsRead(value.clone()), WriteValue::Typed)
}
