//! What is done to the record of one absent contact: a mark (`mark`), or its deletion, which is here.
//!
//! Each is written down before it is sent, with what the record held, and recorded after. A run that died in between is
//! gone on with by the next one: what is under way is looked at, never guessed at, and sending twice does no harm.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::mark::Place;
use super::step::Candidate;
use super::unchanged::{Children, Known, changed};
use super::{AbsenceSummary, Next, Rest};
use crate::domain::base::Base;
use crate::domain::hash::Digest;
use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId};
use crate::domain::record::{FieldKey, is_blank};
use crate::domain::target::{ContactWrite, TargetContact};
use crate::store::{Absence, ChildKind, Deletion, Finding, JournalEntry, Link, Mark, Origin, Seen, WriteOp};
use crate::sync::carry::is_refused_by;
use crate::sync::decide::Authorship;
use crate::sync::engine::{Engine, RunError};
use crate::sync::journal::{self, COMPANIES, TAGS, action};
use crate::sync::ports::{ContactSource, ContactTarget, PortError};
use crate::sync::stamp::StampReading;
use crate::sync::vanished::Noticed;

/// Looks at a record that was deleted and is still shown, because reads may lag behind writes; or that had to wait each time.
pub(super) const LOOKS: u32 = 3;
/// Why an attempt came to nothing that had to wait each time.
pub(super) const WAITED: &str = "it had to wait for FIRST LINE each time";

/// What was done, in words; or why the attempt came to nothing.
pub(super) type Attempt = Result<String, Nothing>;

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(super) enum Nothing {
    /// Something about this record that will be the same tomorrow: it rests.
    OfRecord(String),
    /// Something that passes, or that is dealt with elsewhere: the next sweep tries again.
    ForNow(String),
}

impl Nothing {
    pub(super) fn of_record(why: impl Into<String>) -> Self {
        Self::OfRecord(why.into())
    }

    pub(super) fn for_now(why: impl Into<String>) -> Self {
        Self::ForNow(why.into())
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Does what is due, one record after the other.
    pub(super) async fn act<S: ContactSource>(
        &self,
        source: &S,
        known: LiveDeskId,
        due: Vec<Candidate>,
        told: &mut AbsenceSummary,
    ) -> Result<(), RunError> {
        if due.is_empty() {
            return Ok(());
        }
        let place = self.place().await?;
        for Candidate { seen, absence, next } in due {
            self.go_on()?;
            let attempt = match (next, place) {
                (Next::Delete, _) => self.delete(source, known, seen.clone(), absence.clone(), told).await,
                (Next::Mark, Some(place)) => self.mark(&seen, &absence, place, told).await,
                (Next::Mark, None) => Ok(Err(Nothing::for_now("the mark cannot be had"))),
                (Next::Rest(_), _) => continue,
            };
            let attempt = match attempt {
                // One record that FIRST LINE will not show or change concerns that record alone.
                Err(RunError::Port(PortError::Refused { status, .. })) => {
                    Err(Nothing::of_record(format!("refused ({status})")))
                }
                Err(RunError::Port(PortError::NotFound)) => Err(Nothing::for_now("vanished")),
                attempt => attempt?,
            };
            match attempt {
                Ok(done) => told.list(&seen, absence.finding, done),
                Err(nothing) => {
                    let why = match nothing {
                        Nothing::OfRecord(why) => {
                            self.lay_to_rest(&seen, &why).await?;
                            why
                        }
                        Nothing::ForNow(why) => why,
                    };
                    told.list(&seen, absence.finding, format!("failed: {why}"));
                    *told.failed.entry(why).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    /// Notes why an attempt came to nothing, so that it rests: else a few that FIRST LINE never lets go of would fill the ceiling,
    /// and nothing would be done for anybody.
    async fn lay_to_rest(&self, seen: &Seen, why: &str) -> Result<(), RunError> {
        let id = seen.livedesk_id;
        let found = self.store.maybe_absent(None, LiveDeskId(id.0.saturating_sub(1)), 1).await?.pop();
        let row = found.filter(|found| found.livedesk_id == id).and_then(|found| found.absence);
        let Some(row) = row.filter(|row| row.deletion != Deletion::Kept) else { return Ok(()) };
        Ok(self
            .store
            .write(vec![WriteOp::PutAbsence(Absence { why: Some(why.to_owned()), run: self.run, ..row })])
            .await?)
    }

    /// Deletes one record. One that had to wait for the platform is looked at anew: an agent may have changed it meanwhile.
    async fn delete<S: ContactSource>(
        &self,
        source: &S,
        known: LiveDeskId,
        mut seen: Seen,
        mut absence: Absence,
        told: &mut AbsenceSummary,
    ) -> Result<Attempt, RunError> {
        for _ in 0..LOOKS {
            match self.delete_now(source, known, &seen, &absence, told).await {
                Err(RunError::Port(PortError::Stale)) => {
                    absence.deletion = Deletion::UnderWay;
                    seen.absence = Some(absence.clone());
                }
                attempt => return attempt,
            }
        }
        Ok(Err(Nothing::for_now(WAITED)))
    }

    /// Deletes one record, if a look at both sides, now, still says that it may be.
    ///
    /// Crash before the first commit: nothing happened. Between it and the last: the row says `under_way`, and the next
    /// run goes through the same steps; a record that is not there then counts as deleted.
    async fn delete_now<S: ContactSource>(
        &self,
        source: &S,
        known: LiveDeskId,
        seen: &Seen,
        absence: &Absence,
        told: &mut AbsenceSummary,
    ) -> Result<Attempt, RunError> {
        let id = seen.livedesk_id;
        let Some(link) = self.store.links_for(&[id]).await?.remove(&id) else {
            return Ok(Err(Nothing::for_now("no link")));
        };
        let begun = absence.deletion == Deletion::UnderWay;
        if begun && self.record_of(seen).await?.is_none() {
            if self.stop_unless_vouched(&link).await? {
                self.store.write(vec![WriteOp::RemoveLink(id)]).await?;
                told.deleted += 1;
                return Ok(Ok(String::from("deleted")));
            }
            return Ok(Err(Nothing::for_now("vanished")));
        }
        if self.findings(source, known, &[id]).await?.remove(&id) != Some(Finding::Missing) {
            return Ok(Err(Nothing::for_now("unproven")));
        }
        // LiveDesk may have been waited for: the look at the record stands right before its deletion.
        let Some(record) = self.record_of(seen).await? else { return Ok(Err(Nothing::for_now("vanished"))) };
        if let Some(what) = self.changed_since(&link, absence, &record).await? {
            let kept = Absence { deletion: Deletion::Kept, why: Some(what.clone()), run: self.run, ..absence.clone() };
            self.store
                .write(vec![WriteOp::PutAbsence(kept), journal::not_deleted(link.livedesk_id, link.target)])
                .await?;
            *told.resting.entry(Rest::Changed.as_str().to_owned()).or_default() += 1;
            return Ok(Ok(format!("kept: changed ({what})")));
        }
        if let Some(moved) = self.ask_delete(seen, &record).await? {
            return Ok(Err(Nothing::for_now(moved.join("; "))));
        }
        let under_way = Absence { deletion: Deletion::UnderWay, why: None, run: self.run, ..absence.clone() };
        // Without its fingerprint the contact is looked at should it come back before this is recorded.
        let open = Link { fingerprint: None, ..link.clone() };
        let entry = JournalEntry {
            before: Value::Object(whole(&record)).to_string(),
            link_before: self.link_before(Some(&link)).await?,
            ..self.entry(id, seen.target, action::DELETE, "gone from LiveDesk")
        };
        self.store.write(vec![WriteOp::Journal(entry), WriteOp::PutLink(open), WriteOp::PutAbsence(under_way)]).await?;
        match self.target.delete_contact(seen.target).await {
            Ok(()) | Err(PortError::NotFound) => {}
            Err(PortError::Refused { status, .. }) => {
                let why = format!("refused ({status})");
                if !is_refused_by(status) {
                    // It may have been applied all the same: the next run looks.
                    return Ok(Err(Nothing::OfRecord(why)));
                }
                let row = Absence { deletion: Deletion::None, run: self.run, ..absence.clone() };
                self.store
                    .write(vec![
                        journal::not_deleted(link.livedesk_id, link.target),
                        WriteOp::PutLink(link),
                        WriteOp::PutAbsence(row),
                    ])
                    .await?;
                return Ok(Err(Nothing::OfRecord(why)));
            }
            Err(error) => return Err(error.into()),
        }
        if !self.is_deleted(seen.target).await? {
            return Ok(Err(Nothing::of_record("accepted, and it is still there")));
        }
        self.store.write(vec![WriteOp::RemoveLink(id)]).await?;
        told.deleted += 1;
        Ok(Ok(String::from("deleted")))
    }

    /// A 404 may also come of a path that does not take deletions.
    pub(in crate::sync) async fn is_deleted(&self, target: FirstLineId) -> Result<bool, RunError> {
        for look in 0..LOOKS {
            if look > 0 {
                self.pause("FIRST LINE still shows a record that was deleted", self.settings.settle).await?;
            }
            if self.target.contact(target).await?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The record of an absent contact; one that is not there is handed to those that vanished.
    pub(super) async fn record_of(&self, seen: &Seen) -> Result<Option<TargetContact>, RunError> {
        let record = self.full_contact(seen.target).await?;
        let begun = seen.absence.as_ref().is_some_and(|absence| absence.deletion == Deletion::UnderWay);
        if record.is_none() && !begun {
            let id = seen.livedesk_id;
            if let Some(link) = self.store.links_for(&[id]).await?.remove(&id)
                && self.stop_unless_vouched(&link).await?
            {
                self.note_vanished(&link, None, Noticed::Judging).await?;
            }
        }
        Ok(record)
    }

    pub(super) fn is_of_another(&self, seen: &Seen, record: &TargetContact) -> bool {
        matches!(self.scheme.read(record), StampReading::Of(other) if other != seen.livedesk_id)
    }

    /// What is not as we left it.
    async fn changed_since(
        &self,
        link: &Link,
        absence: &Absence,
        record: &TargetContact,
    ) -> Result<Option<String>, RunError> {
        if link.origin != Origin::Created {
            return Ok(Some(String::from("not ours")));
        }
        let Some(base) = Base::decode(&link.base) else { return Ok(Some(String::from("no base"))) };
        let place = absence.place.as_deref().and_then(Place::parse).filter(|_| absence.mark == Mark::Ours);
        let own_tag = match place {
            Some(Place::Tag(id)) => Some(id),
            _ => None,
        };
        let own_field = match place {
            Some(Place::Field(id)) => {
                self.field_mark(id, absence.since).map(|value| (FieldKey::Custom(id), value.canonical()))
            }
            _ => None,
        };
        self.changed_since_left(link, &base, record, (own_tag, own_field)).await
    }

    /// What of a record that we made is not as `base` and the rows that we hung on say, beside a mark of our own.
    pub(in crate::sync) async fn changed_since_left(
        &self,
        link: &Link,
        base: &Base,
        record: &TargetContact,
        (own_tag, own_field): (Option<i64>, Option<(FieldKey, String)>),
    ) -> Result<Option<String>, RunError> {
        let ours = self.store.children_of(link.livedesk_id).await?;
        let of_kind = |kind| -> BTreeSet<(ChildId, Digest)> {
            ours.iter().filter(|child| child.kind == kind).map(|child| (child.child, child.key)).collect()
        };
        let held = |kind| {
            let rows = self.current_children(record, kind)?;
            Some(rows.into_iter().map(|row| (row.id, row.key)).collect::<BTreeSet<_>>())
        };
        let children = Children { emails: held(ChildKind::Email), phones: held(ChildKind::Phone) };
        let stamp = self.scheme.fields(link.livedesk_id).into_iter();
        let stamp = stamp.map(|(field, value)| (field, value.canonical())).collect();
        let table = self.tags.get();
        let tags: BTreeMap<Digest, Vec<i64>> =
            (base.tags.keys()).filter_map(|tag| Some((*tag, table?.rule(tag)?.ids.to_vec()))).collect();
        let defaults = self.store.definitions().await?.into_iter();
        let defaults = defaults.filter_map(|field| Some((field.id, field.default?))).collect();
        let known = Known {
            base,
            stamp: &stamp,
            emails: &of_kind(ChildKind::Email),
            phones: &of_kind(ChildKind::Phone),
            tags: &tags,
            defaults: &defaults,
            own_tag,
            own_field: own_field.as_ref().map(|(field, text)| (*field, text.as_str())),
            kinds: &self.kinds,
            key: self.store.hash_key(),
        };
        Ok(changed(record, &children, known))
    }

    /// The row of a mark, put there or taken off.
    pub(super) fn marking(
        &self,
        seen: &Seen,
        (action, why): (&str, &str),
        before: (String, Value),
        (write, record): (&ContactWrite, &TargetContact),
    ) -> WriteOp {
        let held = (record.tag_ids.as_deref(), record.company_ids.as_deref());
        let after = journal::written(write, held, &self.kinds, self.store.hash_key());
        WriteOp::Journal(JournalEntry {
            before: Value::Object(Map::from_iter([before])).to_string(),
            after: Some(Value::Object(after).to_string()),
            ..self.entry(seen.livedesk_id, seen.target, action, why)
        })
    }
}

pub(in crate::sync) fn authorship(origin: Origin) -> Authorship {
    match origin {
        Origin::Created => Authorship::Ours,
        Origin::Adopted | Origin::Rebuilt | Origin::Decided => Authorship::Theirs,
    }
}

/// Everything that the record shows, for the journal.
pub(in crate::sync) fn whole(record: &TargetContact) -> Map<String, Value> {
    let columns = record.custom.iter().flatten().map(|(id, value)| (FieldKey::Custom(*id), value));
    let fields = record.standard.iter().map(|(key, value)| (*key, value)).chain(columns);
    let mut image: Map<String, Value> =
        fields.filter(|(_, value)| !is_blank(value)).map(|(key, value)| (key.to_string(), value.clone())).collect();
    let emails = record.emails.iter().flatten().map(|row| json!({ "id": row.id.0, "address": row.address }));
    let phones = record.phones.iter().flatten();
    let phones = phones.map(|row| json!({ "id": row.id.0, "number": row.number, "type": row.kind }));
    image.insert(String::from("emails"), emails.collect());
    image.insert(String::from("phones"), phones.collect());
    image.insert(TAGS.to_owned(), json!(record.tag_ids));
    image.insert(COMPANIES.to_owned(), json!(record.company_ids));
    image
}
