//! Putting a proposal together from what was decided, and asking whoever oversees the run.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::outcome::Outcome;
use crate::domain::record::{Desired, FieldKey, FieldValue, Owner, canonical_current, is_blank};
use crate::domain::target::{ContactWrite, TargetContact, WriteValue};
use crate::store::Seen;
use crate::sync::carry::{Carried, Job, sighting};
use crate::sync::children::ChildPlan;
use crate::sync::decide::{self, Ground, Why};
use crate::sync::engine::{Engine, RunError};
use crate::sync::lists::ListPlan;
use crate::sync::overseer::{Action, Approval, FieldStep, Proposal, RowStep};
use crate::sync::ports::ContactTarget;
use crate::sync::resolve::Matched;
use crate::sync::stamp::StampReading;

/// What is decided about a linked record, before anything of it is sent.
pub(super) struct Considered<'a> {
    /// The record as read.
    pub(super) current: &'a TargetContact,
    /// The fields to send.
    pub(super) write: &'a BTreeMap<FieldKey, WriteValue>,
    /// Who decided about which field.
    pub(super) grounds: &'a BTreeMap<FieldKey, Ground>,
    /// Tags and companies.
    pub(super) lists: &'a ListPlan,
    /// E-mails and phones, where they could be decided on.
    pub(super) children: Option<&'a ChildPlan>,
}

impl<T: ContactTarget> Engine<T> {
    /// Tells the overseer how a contact ended; what it makes of that is counted.
    pub(super) async fn tell_end(&self, id: LiveDeskId, outcome: Outcome) -> Result<Outcome, RunError> {
        match &self.overseer {
            Some(overseer) => overseer.ended(id, outcome).await,
            None => Ok(outcome),
        }
    }

    /// Whether a record is set aside for another contact.
    pub(super) fn is_reserved_for_another(&self, id: LiveDeskId, target: FirstLineId) -> bool {
        let holder = self.overseer.as_ref().and_then(|overseer| overseer.reserved_for(target));
        holder.is_some_and(|holder| holder != id)
    }

    /// Whether a contact was refused in this run.
    pub(super) fn was_refused(&self, id: LiveDeskId) -> bool {
        self.overseer.as_ref().is_some_and(|overseer| overseer.has_refused(id))
    }

    /// Whether a tag may be made.
    pub(super) fn may_make_tag(&self, name: &str) -> bool {
        self.overseer.as_ref().is_none_or(|overseer| overseer.may_make_tag(name))
    }

    /// Asks before a create; `Some` when it is not to be.
    pub(super) async fn ask_create(&self, job: &Job, write: &ContactWrite) -> Result<Option<Carried>, RunError> {
        if self.overseer.is_none() {
            return Ok(None);
        }
        let mut proposal = Proposal::new(job.contact.id, Action::Create, None);
        proposal.fields = write
            .fields
            .iter()
            .map(|(field, value)| FieldStep {
                field: *field,
                written: true,
                old: None,
                new: canonical_write(value),
                owner: owner_of(job, *field),
                why: if self.scheme.holds(*field) { Why::Stamp } else { Why::New },
            })
            .collect();
        self.add_unknown(job, &mut proposal);
        let added = |new: &String| RowStep { old: None, new: Some(new.clone()) };
        proposal.emails = job.record.emails.items().iter().map(|email| added(&email.address)).collect();
        proposal.phones = job.record.phones.items().iter().map(|phone| added(&phone.number)).collect();
        let lists = self.plan_lists(job, None, Some(&[]), None);
        self.add_lists(&lists, &mut proposal);
        proposal.company = job.company.and_then(|_| company_name(job));
        proposal.leaves = job.led_away_from(None);
        self.ask(job, proposal).await
    }

    /// Asks before an update, or before what an adoption fills; `Some` when it is not to be.
    pub(super) async fn ask_update(
        &self,
        job: &Job,
        adopting: bool,
        considered: Considered<'_>,
    ) -> Result<Option<Carried>, RunError> {
        if self.overseer.is_none() {
            return Ok(None);
        }
        let Considered { current, write, grounds, lists, children } = considered;
        let action = if adopting { Action::Adopt } else { Action::Update };
        let mut proposal = Proposal::new(job.contact.id, action, Some(current.id));
        let by_key = adopting && job.decision().is_none() && !matches!(self.scheme.read(current), StampReading::Of(_));
        proposal.matched = by_key.then(|| self.matched(&job.record, current)).flatten().map(Matched::text);
        let old = |field: FieldKey| self.old_value(current, field);
        for (field, value) in write {
            let ground = grounds.get(field);
            let stamp = self.scheme.holds(*field);
            proposal.fields.push(FieldStep {
                field: *field,
                written: true,
                old: old(*field),
                new: canonical_write(value),
                owner: ground.map(|ground| ground.owner),
                why: ground.map_or(if stamp { Why::Stamp } else { Why::Changed }, |ground| ground.why),
            });
        }
        for (field, ground) in grounds.iter().filter(|(field, _)| !write.contains_key(field)) {
            proposal.fields.push(FieldStep {
                field: *field,
                written: false,
                old: old(*field),
                new: job.record.fields.get(field).and_then(|wished| canonical_wish(&wished.value)),
                owner: Some(ground.owner),
                why: ground.why,
            });
        }
        self.add_unknown(job, &mut proposal);
        if let Some(plan) = children {
            (proposal.emails, proposal.phones) = plan.steps(job, Some(current));
        }
        self.add_lists(lists, &mut proposal);
        proposal.company = lists.links_company().then(|| company_name(job)).flatten();
        proposal.leaves = job.led_away_from(Some(current.id));
        if proposal.sends_nothing() && !adopting {
            return Ok(None);
        }
        self.ask(job, proposal).await
    }

    /// Asks before a mark is put on the record of a contact that is gone, or is taken off one that is back: a field is
    /// written, or the tag that is called `tag` comes or goes.
    pub(super) async fn ask_mark(
        &self,
        action: Action,
        seen: &Seen,
        record: &TargetContact,
        (write, tag): (&ContactWrite, &str),
    ) -> Result<Option<Vec<String>>, RunError> {
        let Some(overseer) = &self.overseer else { return Ok(None) };
        let mut proposal = Proposal::new(seen.livedesk_id, action, Some(seen.target));
        let fields = write.fields.iter();
        proposal.fields = fields.map(|(field, value)| self.absent_step(action, record, *field, Some(value))).collect();
        let tag = || Some(tag.to_owned());
        let step = if action == Action::Mark { (None, tag()) } else { (tag(), None) };
        proposal.tags = write.tag_ids.iter().map(|_| RowStep { old: step.0.clone(), new: step.1.clone() }).collect();
        Ok(refused(overseer.propose(proposal).await?))
    }

    /// Asks before the record of a contact that is gone is deleted: all that it shows goes.
    pub(super) async fn ask_delete(
        &self,
        seen: &Seen,
        record: &TargetContact,
    ) -> Result<Option<Vec<String>>, RunError> {
        let Some(overseer) = &self.overseer else { return Ok(None) };
        let mut proposal = Proposal::new(seen.livedesk_id, Action::Delete, Some(seen.target));
        proposal.fields =
            shown(record).map(|(field, _)| self.absent_step(Action::Delete, record, field, None)).collect();
        let gone = |old: &String| RowStep { old: Some(old.clone()), new: None };
        proposal.emails = record.emails.iter().flatten().map(|row| gone(&row.address)).collect();
        proposal.phones = record.phones.iter().flatten().map(|row| gone(&row.number)).collect();
        Ok(refused(overseer.propose(proposal).await?))
    }

    /// Asks before what a record lost to a trial is written back.
    pub(super) async fn ask_repair(
        &self,
        id: LiveDeskId,
        now: &TargetContact,
        whole: &TargetContact,
    ) -> Result<Option<Vec<String>>, RunError> {
        let Some(overseer) = &self.overseer else { return Ok(None) };
        let mut proposal = Proposal::new(id, Action::Repair, Some(now.id));
        let lost = shown(whole).filter(|(field, value)| now.value(*field) != Some(*value));
        let step = |field| FieldStep {
            field,
            written: true,
            old: self.old_value(now, field),
            new: self.old_value(whole, field),
            owner: None,
            why: Why::Lost,
        };
        proposal.fields = lost.map(|(field, _)| step(field)).collect();
        let tags = whole.tag_ids.iter().flatten().filter(|id| !now.tag_ids.iter().flatten().any(|held| held == *id));
        proposal.tags = tags.map(|id| RowStep { old: None, new: Some(format!("tag {id}")) }).collect();
        Ok(refused(overseer.propose(proposal).await?))
    }

    fn absent_step(
        &self,
        action: Action,
        record: &TargetContact,
        field: FieldKey,
        value: Option<&WriteValue>,
    ) -> FieldStep {
        let why = if action == Action::Unmark { Why::Back } else { Why::Gone };
        let (old, new) = (self.old_value(record, field), value.and_then(canonical_write));
        FieldStep { field, written: true, old, new, owner: None, why }
    }

    /// What a record holds, in its canonical form.
    pub(super) fn old_value(&self, record: &TargetContact, field: FieldKey) -> Option<String> {
        let kind = decide::kind_of(&self.kinds, field);
        record.value(field).and_then(|held| canonical_current(kind, held))
    }

    async fn ask(&self, job: &Job, proposal: Proposal) -> Result<Option<Carried>, RunError> {
        let Some(overseer) = &self.overseer else { return Ok(None) };
        match overseer.propose(proposal).await? {
            Approval::Granted => Ok(None),
            Approval::Moved(what) => {
                self.store.write(sighting(job)).await?;
                Ok(Some(Carried::new(job.contact.id, Outcome::Moved(what))))
            }
        }
    }

    /// Fields that are unknown in this run: they stay, whatever FIRST LINE holds.
    fn add_unknown(&self, job: &Job, proposal: &mut Proposal) {
        for (&field, wished) in &job.record.fields {
            if wished.value != Desired::Unknown || proposal.fields.iter().any(|step| step.field == field) {
                continue;
            }
            let why = if self.mapping.is_stopped(field) { Why::Stopped } else { Why::Unknown };
            proposal.fields.push(FieldStep { field, written: false, old: None, new: None, owner: wished.owner, why });
        }
    }

    fn add_lists(&self, lists: &ListPlan, proposal: &mut Proposal) {
        let name = |tag| self.tags.get().and_then(|table| table.name(tag)).unwrap_or_default().to_owned();
        proposal.tags.extend(lists.tags.put.iter().map(|tag| RowStep { old: None, new: Some(name(tag)) }));
        proposal.tags.extend(lists.tags.taken.iter().map(|tag| RowStep { old: Some(name(tag)), new: None }));
    }
}

/// The fields that hold something.
fn shown(record: &TargetContact) -> impl Iterator<Item = (FieldKey, &Value)> {
    let columns = record.custom.iter().flatten().map(|(id, value)| (FieldKey::Custom(*id), value));
    let fields = record.standard.iter().map(|(field, value)| (*field, value)).chain(columns);
    fields.filter(|(_, value)| !is_blank(value))
}

/// What is different, where it was refused.
fn refused(answer: Approval) -> Option<Vec<String>> {
    match answer {
        Approval::Granted => None,
        Approval::Moved(what) => Some(what),
    }
}

fn owner_of(job: &Job, field: FieldKey) -> Option<Owner> {
    let wished = job.record.fields.get(&field)?;
    Some(wished.owner.unwrap_or(Owner::Source))
}

fn company_name(job: &Job) -> Option<String> {
    match &job.record.company {
        Desired::Value(name) => Some(name.clone()),
        Desired::Empty | Desired::Unknown => None,
    }
}

fn canonical_wish(wished: &Desired<FieldValue>) -> Option<String> {
    match wished {
        Desired::Value(value) => Some(value.canonical()),
        Desired::Empty | Desired::Unknown => None,
    }
}

fn canonical_write(value: &WriteValue) -> Option<String> {
    match value {
        WriteValue::Typed(value) => Some(value.canonical()),
        WriteValue::AsRead(value) => Some(value.to_string()),
        WriteValue::Clear => None,
    }
}
