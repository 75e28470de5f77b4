//! The mark on the record of an absent contact: put there beside what is there, taken off when the contact is back.
//!
//! A tag, or a field of its own. What somebody else put there first, or changed since, is not touched.

use serde_json::json;

use super::act::{Attempt, LOOKS, Nothing, WAITED, authorship};
use super::{AbsenceSummary, MarkWith, Policy};
use crate::clock::Timestamp;
use crate::domain::field::FieldKind;
use crate::domain::record::{FieldKey, FieldValue, canonical_current};
use crate::domain::target::{ContactWrite, WriteValue};
use crate::store::{Absence, Deletion, Mark, Seen, WriteOp};
use crate::sync::engine::{Engine, RunError};
use crate::sync::journal::{self, TAGS, action};
use crate::sync::overseer::Action;
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::summary::Summary;

/// Where a mark goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tag(i64),
    Field(i64),
}

/// What came of taking a mark off.
enum Off {
    /// It is off.
    Done,
    /// There was nothing to take off.
    Nothing,
    /// It is not what was planned, and stays.
    NotAsPlanned,
}

impl Place {
    pub(super) fn text(self) -> String {
        match self {
            Self::Tag(id) => format!("tag {id}"),
            Self::Field(id) => FieldKey::Custom(id).to_string(),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(id) = text.strip_prefix("tag ") {
            return id.parse().ok().map(Self::Tag);
        }
        match FieldKey::parse(text)? {
            FieldKey::Custom(id) => Some(Self::Field(id)),
            _ => None,
        }
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Where marks go; `None` when the tag cannot be had. Made once per run.
    pub(super) async fn place(&self) -> Result<Option<Place>, RunError> {
        match &self.settings.deletes.policy {
            Policy::Mark(MarkWith::Tag(name)) => {
                let mut told = Summary::default();
                Ok(self.tag_ids(name, &mut told.tags).await?.first().map(|id| Place::Tag(*id)))
            }
            Policy::Mark(MarkWith::Field(id)) => Ok(Some(Place::Field(*id))),
            Policy::Ignore | Policy::Delete => Ok(None),
        }
    }

    /// Puts the mark on one record. One that had to wait for the platform is looked at anew: an agent may have changed it.
    pub(super) async fn mark(
        &self,
        seen: &Seen,
        absence: &Absence,
        place: Place,
        told: &mut AbsenceSummary,
    ) -> Result<Attempt, RunError> {
        let mut absence = absence.clone();
        for _ in 0..LOOKS {
            match self.mark_now(seen, &absence, place, told).await {
                Err(RunError::Port(PortError::Stale)) => {
                    (absence.mark, absence.place) = (Mark::Putting, Some(place.text()));
                }
                attempt => return attempt,
            }
        }
        Ok(Err(Nothing::for_now(WAITED)))
    }

    async fn mark_now(
        &self,
        seen: &Seen,
        absence: &Absence,
        place: Place,
        told: &mut AbsenceSummary,
    ) -> Result<Attempt, RunError> {
        let Some(record) = self.record_of(seen).await? else { return Ok(Err(Nothing::for_now("vanished"))) };
        if self.is_of_another(seen, &record) {
            return Ok(Err(Nothing::of_record("stamp of another")));
        }
        let begun = absence.mark == Mark::Putting && absence.place.as_deref() == Some(&place.text());
        let (write, before) = match place {
            Place::Tag(tag) => {
                let Some(held) = &record.tag_ids else { return Ok(Err(Nothing::of_record("tags not shown"))) };
                let all = (!held.contains(&tag)).then(|| held.iter().copied().chain([tag]).collect());
                (ContactWrite { tag_ids: all, ..ContactWrite::default() }, (TAGS.to_owned(), json!(held)))
            }
            Place::Field(id) => {
                let field = FieldKey::Custom(id);
                let Some(held) = record.value(field) else { return Ok(Err(Nothing::of_record("cz_cols not shown"))) };
                let Some(value) = self.field_mark(id, absence.since) else {
                    return Ok(Err(Nothing::of_record("the field is no text and no boolean")));
                };
                let text = canonical_current(value.kind(), held);
                let same = text.as_deref() == Some(&value.canonical());
                let free = text.is_none() || text.as_deref() == Some("0") && value.kind() == FieldKind::Boolean;
                if !same && !free {
                    return Ok(Err(Nothing::of_record("the field holds something else")));
                }
                let fields = (!same).then_some((field, WriteValue::Typed(value))).into_iter().collect();
                (ContactWrite { fields, ..ContactWrite::default() }, (field.to_string(), held.clone()))
            }
        };
        let row = |mark| {
            WriteOp::PutAbsence(Absence {
                mark,
                place: Some(place.text()),
                why: None,
                run: self.run,
                ..absence.clone()
            })
        };
        if write == ContactWrite::default() {
            // It is there: ours if it was on its way, else somebody was first.
            self.store.write(vec![row(if begun { Mark::Ours } else { Mark::Found })]).await?;
            told.marked += u64::from(begun);
            return Ok(Ok(String::from(if begun { "marked" } else { "marked by somebody else" })));
        }
        let tag = match &self.settings.deletes.policy {
            Policy::Mark(MarkWith::Tag(name)) => name.as_str(),
            _ => "",
        };
        if let Some(moved) = self.ask_mark(Action::Mark, seen, &record, (&write, tag)).await? {
            return Ok(Err(Nothing::for_now(moved.join("; "))));
        }
        let journal = self.marking(seen, (action::MARK, "gone from LiveDesk"), before, (&write, &record));
        self.store.write(vec![journal, row(Mark::Putting)]).await?;
        self.send_update(seen.livedesk_id, &record, write, authorship(seen.origin)).await?;
        self.store.write(vec![row(Mark::Ours)]).await?;
        told.marked += 1;
        Ok(Ok(String::from("marked")))
    }

    /// A contact is back: our mark is taken off, and its absence forgotten. Where its record was about to be deleted, that
    /// waits until the contact was carried: then the record was seen to stand.
    pub(super) async fn welcome_back(&self, seen: &Seen, told: &mut AbsenceSummary) -> Result<(), RunError> {
        let Some(absence) = &seen.absence else { return Ok(()) };
        let deleting = absence.deletion == Deletion::UnderWay;
        if (deleting && !seen.settled) || !self.take_mark_off(seen, absence, told).await? {
            return Ok(());
        }
        let (livedesk_id, target) = (seen.livedesk_id, seen.target);
        let stands = deleting.then_some(journal::not_deleted(livedesk_id, target));
        Ok(self.store.write([WriteOp::ClearAbsence(livedesk_id)].into_iter().chain(stands).collect()).await?)
    }

    /// A contact that was marked turns out to be hidden: nothing is done about those, so the mark goes.
    pub(super) async fn take_mark_off_hidden(
        &self,
        seen: &Seen,
        absence: &Absence,
        told: &mut AbsenceSummary,
    ) -> Result<(), RunError> {
        if matches!(absence.mark, Mark::Ours | Mark::Putting) && self.take_mark_off(seen, absence, told).await? {
            let row = Absence { mark: Mark::None, place: None, run: self.run, ..absence.clone() };
            self.store.write(vec![WriteOp::PutAbsence(row)]).await?;
        }
        Ok(())
    }

    /// Takes our mark off; whether there is none of ours now.
    async fn take_mark_off(&self, seen: &Seen, absence: &Absence, told: &mut AbsenceSummary) -> Result<bool, RunError> {
        let place = absence.place.as_deref().and_then(Place::parse);
        let (Mark::Ours | Mark::Putting, Some(place)) = (absence.mark, place) else { return Ok(true) };
        let mut looks = 1;
        let result = loop {
            match self.try_mark_off(seen, absence, place).await {
                Err(RunError::Port(PortError::Stale)) if looks < LOOKS => looks += 1,
                result => break result,
            }
        };
        match result {
            Ok(Off::Done) => told.unmarked += 1,
            Ok(Off::Nothing) => {}
            Ok(Off::NotAsPlanned) => {
                *told.failed.entry(String::from("mark not taken off: not as planned")).or_default() += 1;
                return Ok(false);
            }
            Err(RunError::Port(PortError::Refused { status, .. })) => {
                *told.failed.entry(format!("mark not taken off ({status})")).or_default() += 1;
                return Ok(false);
            }
            Err(RunError::Port(PortError::Stale)) => {
                *told.failed.entry(format!("mark not taken off: {WAITED}")).or_default() += 1;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    async fn try_mark_off(&self, seen: &Seen, absence: &Absence, place: Place) -> Result<Off, RunError> {
        let Some(record) = self.full_contact(seen.target).await? else { return Ok(Off::Nothing) };
        if self.is_of_another(seen, &record) {
            return Ok(Off::Nothing);
        }
        let (write, before) = match place {
            Place::Tag(tag) => {
                let held = record.tag_ids.clone().unwrap_or_default();
                if !held.contains(&tag) {
                    return Ok(Off::Nothing);
                }
                let others = held.iter().copied().filter(|id| *id != tag).collect();
                (ContactWrite { tag_ids: Some(others), ..ContactWrite::default() }, (TAGS.to_owned(), json!(held)))
            }
            Place::Field(id) => {
                let field = FieldKey::Custom(id);
                let (Some(value), Some(held)) = (self.field_mark(id, absence.since), record.value(field)) else {
                    return Ok(Off::Nothing);
                };
                // What an agent made of it stays.
                if canonical_current(value.kind(), held).as_deref() != Some(&value.canonical()) {
                    return Ok(Off::Nothing);
                }
                let off = match value {
                    FieldValue::Boolean(_) => WriteValue::Typed(FieldValue::Boolean(false)),
                    _ => WriteValue::Clear,
                };
                let write = ContactWrite { fields: [(field, off)].into(), ..ContactWrite::default() };
                (write, (field.to_string(), held.clone()))
            }
        };
        if self.ask_mark(Action::Unmark, seen, &record, (&write, &place.text())).await?.is_some() {
            return Ok(Off::NotAsPlanned);
        }
        let back = (action::UNMARK, "back in LiveDesk");
        self.store.write(vec![self.marking(seen, back, before, (&write, &record))]).await?;
        match self.send_update(seen.livedesk_id, &record, write, authorship(seen.origin)).await {
            Ok(()) => Ok(Off::Done),
            Err(RunError::Port(PortError::NotFound)) => Ok(Off::Nothing),
            Err(error) => Err(error),
        }
    }

    /// What a field says of an absent contact: the same at every time, so that it is recognised when it is taken off.
    pub(super) fn field_mark(&self, id: i64, since: Timestamp) -> Option<FieldValue> {
        match self.kinds.get(&FieldKey::Custom(id))? {
            FieldKind::Boolean => Some(FieldValue::Boolean(true)),
            FieldKind::Text => {
                let day = jiff::Timestamp::from_millisecond(since.0).ok()?.strftime("%Y-%m-%d").to_string();
                Some(FieldValue::Text(format!("not in LiveDesk any more ({day})")))
            }
            _ => None,
        }
    }
}
