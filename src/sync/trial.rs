//! The trial of a partial update, made safe against a crash.
//!
//! Whether fields that an update leaves out survive is tried once, on a record that we created. Until the answer was read
//! and acted upon, that record may lack what was left out, and agents may have written some of it. So the whole record
//! goes into the journal first, and a run that finds an unfinished trial puts it right before anything else.

use serde_json::{Map, Value, json};

use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::record::{FieldKey, is_blank};
use crate::domain::target::{ContactWrite, TargetContact};
use crate::store::{JournalEntry, StoreError, WriteOp};
use crate::sync::carry::merged;
use crate::sync::engine::{Engine, RunError};
use crate::sync::ports::ContactTarget;

/// Profile key of a trial that has begun: on which record, for whom; no values.
const TRIAL: &str = "update_trial";
/// What the journal calls the before-image of a trial.
const ACTION: &str = "trial";
/// Keys of the before-image that are no fields.
const TAGS: &str = "tag_ids";
const COMPANIES: &str = "company_ids";

impl<T: ContactTarget> Engine<T> {
    /// Writes down the whole record, and that a trial on it has begun.
    pub(super) async fn begin_trial(&self, id: LiveDeskId, current: &TargetContact) -> Result<(), RunError> {
        self.finish_trial().await?;
        let custom = current.custom.iter().flatten().map(|(column, value)| (FieldKey::Custom(*column), value));
        let fields = current.standard.iter().map(|(key, value)| (*key, value)).chain(custom);
        let mut before: Map<String, Value> =
            fields.filter(|(_, value)| !is_blank(value)).map(|(key, value)| (key.to_string(), value.clone())).collect();
        before.extend(current.tag_ids.as_ref().map(|ids| (TAGS.to_owned(), json!(ids))));
        before.extend(current.company_ids.as_ref().map(|ids| (COMPANIES.to_owned(), json!(ids))));
        let entry = JournalEntry {
            run: self.run,
            livedesk_id: id,
            target: current.id,
            action: ACTION.to_owned(),
            before: Value::Object(before).to_string(),
            at: self.clock.now(),
        };
        self.store.write(vec![WriteOp::Journal(entry)]).await?;
        Ok(self.store.profile_put(TRIAL, &json!({ "livedesk_id": id.0, "target": current.id.0 })).await?)
    }

    /// The record is as it should be, whatever the trial did to it.
    pub(super) async fn end_trial(&self) -> Result<(), StoreError> {
        self.store.profile_put(TRIAL, &Value::Null).await
    }

    /// Puts the record of an unfinished trial right: what it held then and lacks now is written back.
    pub(super) async fn finish_trial(&self) -> Result<(), RunError> {
        let Some(trial) = self.store.profile_get(TRIAL).await? else { return Ok(()) };
        let id = |key: &str| trial.get(key).and_then(Value::as_i64);
        let (Some(contact), Some(target)) = (id("livedesk_id"), id("target").map(FirstLineId)) else { return Ok(()) };
        let journal = self.store.journal_of_contact(LiveDeskId(contact)).await?;
        let before = journal.iter().find(|entry| entry.action == ACTION && entry.target == target);
        let before: Option<Map<String, Value>> = before.and_then(|entry| serde_json::from_str(&entry.before).ok());
        if let (Some(before), Some(now)) = (before, self.target.contact(target).await?)
            && let Some(whole) = restored(&before, now)
        {
            self.notice(format!("customer {target} lost fields to a trial that did not end; they are written back"));
            self.target.update(target, &merged(&whole, ContactWrite::default())).await?;
        }
        Ok(self.end_trial().await?)
    }
}

/// The record with what it lost in its places; `None` when it lost nothing.
fn restored(before: &Map<String, Value>, now: TargetContact) -> Option<TargetContact> {
    let mut lost = false;
    let mut whole = now;
    for (key, value) in before {
        let Some(key) = FieldKey::parse(key) else { continue };
        if whole.value(key).is_none_or(is_blank) {
            lost = true;
            match key {
                FieldKey::Custom(column) => whole.custom.get_or_insert_default().insert(column, value.clone()),
                standard => whole.standard.insert(standard, value.clone()),
            };
        }
    }
    for (key, held) in [(TAGS, &mut whole.tag_ids), (COMPANIES, &mut whole.company_ids)] {
        let ids = before.get(key).and_then(|ids| serde_json::from_value::<Vec<i64>>(ids.clone()).ok());
        if let Some(ids) = ids.filter(|ids| !ids.is_empty() && held.as_ref().is_none_or(Vec::is_empty)) {
            lost = true;
            *held = Some(ids);
        }
    }
    lost.then_some(whole)
}
