//! Sending an update, and the trial that shows how partial ones behave, made safe against a crash.
//!
//! Whether fields that an update leaves out survive is tried once, on a record that we created. Until the answer was read
//! and acted upon, that record may lack what was left out, and agents may have written some of it. So the whole record
//! goes into the journal first, and a run that finds an unfinished trial puts it right before anything else.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use crate::domain::field::FieldKind;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::record::{FieldKey, FieldValue, canonical_current, is_blank};
use crate::domain::target::{ContactWrite, TargetContact, WriteValue};
use crate::store::{JournalEntry, StoreError, UPDATE_TRIAL, WriteOp};
use crate::sync::decide::{self, Authorship};
use crate::sync::engine::{Engine, RunError, UpdateSemantics};
use crate::sync::journal::{COMPANIES, TAGS, action};
use crate::sync::ports::{ContactTarget, PortError};

/// What the journal calls the before-image of a trial.
const ACTION: &str = action::TRIAL;
/// Profile key of the lists that were seen to survive an update that leaves them out.
pub const LISTS_KEPT: &str = "update_lists_kept";

impl<T: ContactTarget> Engine<T> {
    /// Sends an update in the way that keeps what it does not name (notes FIRST LINE 3.7, design section 4, Apply).
    pub(super) async fn send_update(
        &self,
        id: LiveDeskId,
        current: &TargetContact,
        partial: ContactWrite,
        authorship: Authorship,
    ) -> Result<(), RunError> {
        match (self.update_semantics(), authorship) {
            (UpdateSemantics::Partial, _) => {
                self.target.update(current.id, &self.with_lists(current, partial).await?).await?;
            }
            (UpdateSemantics::Unknown, Authorship::Ours) => self.try_partial_update(id, current, partial).await?,
            // Never first on a customer's record: the whole of it is right under both readings.
            (UpdateSemantics::Unknown | UpdateSemantics::Replace, _) => {
                if self.update_semantics() == UpdateSemantics::Replace {
                    self.tell_unseen(current);
                }
                self.target.update(current.id, &self.merged(current, partial)).await?;
            }
        }
        Ok(())
    }

    /// The write with the lists that may not survive being left out, as they were read: fields that survive say nothing of
    /// them, because `sync(tag_ids ?? [])` is one line of code beside another.
    async fn with_lists(&self, current: &TargetContact, mut write: ContactWrite) -> Result<ContactWrite, StoreError> {
        let left_out = |held: &Option<Vec<i64>>, sent: &Option<Vec<i64>>| sent.is_none() && is_held(held.as_deref());
        let tags = left_out(&current.tag_ids, &write.tag_ids);
        let companies = left_out(&current.company_ids, &write.company_ids);
        if tags || companies {
            let kept = self.store.profile_get(LISTS_KEPT).await?.unwrap_or_default();
            let may_go = |list: &str| kept.get(list).and_then(Value::as_bool) != Some(true);
            if tags && may_go(TAGS) {
                write.tag_ids.clone_from(&current.tag_ids);
            }
            if companies && may_go(COMPANIES) {
                write.company_ids.clone_from(&current.company_ids);
            }
        }
        Ok(write)
    }

    /// The first partial update of a tenant, on a record that we created: read back what became of the fields that
    /// were not sent, and put them right if they are gone.
    async fn try_partial_update(
        &self,
        id: LiveDeskId,
        current: &TargetContact,
        partial: ContactWrite,
    ) -> Result<(), RunError> {
        let _one_at_a_time = self.experiment.lock().await;
        if self.update_semantics() != UpdateSemantics::Unknown {
            let write = match self.update_semantics() {
                UpdateSemantics::Partial => self.with_lists(current, partial).await?,
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
        if !self.begin_trial(id, current).await? {
            // Another record is owed its repair first.
            self.target.update(current.id, &whole).await?;
            return Ok(());
        }
        match self.target.update(current.id, &trial.write).await {
            Ok(_) => {
                if self.target.contact(current.id).await?.is_some_and(|after| trial.is_survived_by(&after)) {
                    self.store.profile_put(LISTS_KEPT, &trial.lists_kept()).await?;
                    self.learn_update_semantics(UpdateSemantics::Partial).await?;
                    return Ok(self.end_trial().await?);
                }
            }
            // Either this tenant wants the whole record, or a value is refused: then the whole is refused as well.
            Err(PortError::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.target.update(current.id, &whole).await?;
        self.learn_update_semantics(UpdateSemantics::Replace).await?;
        self.notice("FIRST LINE resets fields or lists that an update leaves out; from now on whole records are sent");
        Ok(self.end_trial().await?)
    }

    /// Says once what a whole record cannot bring back, because this tenant does not show it.
    fn tell_unseen(&self, current: &TargetContact) {
        let unseen = match (current.tag_ids.is_none(), current.company_ids.is_none()) {
            (false, false) => return,
            (true, false) => "tags",
            (false, true) => "companies",
            (true, true) => "tags and companies",
        };
        if !self.unseen_told.swap(true, Ordering::Relaxed) {
            self.notice(format!(
                "FIRST LINE resets what an update leaves out, and does not show the {unseen} of customer {}: if it has \
                 some, an update may lose them",
                current.id
            ));
        }
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
        ContactWrite {
            fields,
            tag_ids: partial.tag_ids.or_else(|| current.tag_ids.clone()),
            company_ids: partial.company_ids.or_else(|| current.company_ids.clone()),
        }
    }

    /// Writes down the whole record, and that a trial on it has begun; not while another one is open.
    async fn begin_trial(&self, id: LiveDeskId, current: &TargetContact) -> Result<bool, RunError> {
        if !self.finish_trial().await? {
            return Ok(false);
        }
        let custom = current.custom.iter().flatten().map(|(column, value)| (FieldKey::Custom(*column), value));
        let fields = current.standard.iter().map(|(key, value)| (*key, value)).chain(custom);
        let mut before: Map<String, Value> =
            fields.filter(|(_, value)| !is_blank(value)).map(|(key, value)| (key.to_string(), value.clone())).collect();
        before.extend(current.tag_ids.as_ref().map(|ids| (TAGS.to_owned(), json!(ids))));
        before.extend(current.company_ids.as_ref().map(|ids| (COMPANIES.to_owned(), json!(ids))));
        let entry = JournalEntry {
            before: Value::Object(before).to_string(),
            ..self.entry(id, current.id, ACTION, "how this tenant takes updates")
        };
        self.store.write(vec![WriteOp::Journal(entry)]).await?;
        self.store.profile_put(UPDATE_TRIAL, &json!({ "livedesk_id": id.0, "target": current.id.0 })).await?;
        Ok(true)
    }

    /// The record is as it should be, whatever the trial did to it.
    async fn end_trial(&self) -> Result<(), StoreError> {
        self.store.profile_put(UPDATE_TRIAL, &Value::Null).await
    }

    /// Puts the record of an unfinished trial right: what it held then and lacks now is written back. Whether none is open now.
    pub(super) async fn finish_trial(&self) -> Result<bool, RunError> {
        let Some(trial) = self.store.profile_get(UPDATE_TRIAL).await? else { return Ok(true) };
        let id = |key: &str| trial.get(key).and_then(Value::as_i64);
        let (Some(contact), Some(target)) = (id("livedesk_id"), id("target").map(FirstLineId)) else { return Ok(true) };
        let journal = self.store.journal_of_contact(LiveDeskId(contact)).await?;
        let before = journal.iter().find(|entry| entry.action == ACTION && entry.target == target);
        let before: Option<Map<String, Value>> = before.and_then(|entry| serde_json::from_str(&entry.before).ok());
        let now = match self.target.contact(target).await {
            Ok(now) => now,
            Err(PortError::Refused { status, .. }) => {
                self.notice(format!(
                    "customer {target} may lack fields after a trial that did not end, and cannot be read (status \
                     {status}); the next run looks again"
                ));
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        if let (Some(before), Some(now)) = (before, now)
            && let Some(whole) = restored(&before, now.clone())
        {
            if self.ask_repair(LiveDeskId(contact), &now, &whole).await?.is_some() {
                self.notice(format!(
                    "customer {target} lost fields to a trial that did not end, and its repair is not what was planned; \
                     the next run looks again"
                ));
                return Ok(false);
            }
            match self.target.update(target, &self.merged(&whole, ContactWrite::default())).await {
                Ok(_) => self.notice(format!(
                    "customer {target} lost fields to a trial that did not end; they are written back"
                )),
                // One record must not stop every run; what it held is in the journal.
                Err(PortError::Refused { .. } | PortError::NotFound) => self.notice(format!(
                    "customer {target} lost fields to a trial that did not end, and FIRST LINE refuses to take them \
                     back; the journal holds what was there"
                )),
                // FIRST LINE was away meanwhile: whoever comes next looks afresh.
                Err(PortError::Stale) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        self.end_trial().await?;
        Ok(true)
    }
}

/// A partial update that shows whether fields that are not sent survive: standard fields and columns are two questions
/// (notes FIRST LINE 3.7), so it needs a witness of each that is not sent, and a column that is. Tags and companies are
/// a third and a fourth one: where the record holds some that are not sent, they are witnesses, too.
struct Trial {
    write: ContactWrite,
    witnesses: Vec<FieldKey>,
    tags: Option<Vec<i64>>,
    companies: Option<Vec<i64>>,
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
        let unsent = |whole: &Option<Vec<i64>>, sent: &Option<Vec<i64>>| {
            whole.clone().filter(|ids| sent.is_none() && is_held(Some(ids)))
        };
        let tags = unsent(&whole.tag_ids, &write.tag_ids);
        let companies = unsent(&whole.company_ids, &write.company_ids);
        speaks_for_both.then_some(Self { write, witnesses, tags, companies })
    }

    /// Whether everything that was not sent is there after the update.
    fn is_survived_by(&self, after: &TargetContact) -> bool {
        let holds = |now: &Option<Vec<i64>>, before: &Option<Vec<i64>>| {
            before.iter().flatten().all(|id| now.as_ref().is_some_and(|now| now.contains(id)))
        };
        self.witnesses.iter().all(|key| after.value(*key).is_some_and(|value| !is_blank(value)))
            && holds(&after.tag_ids, &self.tags)
            && holds(&after.company_ids, &self.companies)
    }

    /// The lists that this trial speaks for.
    fn lists_kept(&self) -> Value {
        let lists = [(TAGS, &self.tags), (COMPANIES, &self.companies)];
        lists.iter().filter(|(_, ids)| ids.is_some()).map(|(list, _)| ((*list).to_owned(), json!(true))).collect()
    }
}

/// Whether a list is known and not empty.
fn is_held(list: Option<&[i64]>) -> bool {
    list.is_some_and(|ids| !ids.is_empty())
}

/// A value that was read, in a form that can be sent: answers hold numbers and booleans as text (notes FIRST LINE 4.3).
pub(super) fn written_back(kind: FieldKind, value: &Value) -> WriteValue {
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
