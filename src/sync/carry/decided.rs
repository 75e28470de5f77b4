//! What a person decided about a contact's identity, carried out.
//!
//! "Nobody of them" answers the keys, never the stamp: a record that carries the contact's own is taken up, so that no create
//! is repeated. A decision that leads away from a linked customer takes the contact's stamp off there before anything else carries
//! it; whatever else was written there stays. A customer that was made for the contact is not left for another one. Crash at
//! any point: the decision stands, or says whom it left behind, and the next run goes through the same steps.

use std::collections::BTreeMap;

use super::{Carried, Job, reason, refused, sighting};
use crate::domain::ids::FirstLineId;
use crate::domain::outcome::{Outcome, SetAside, SetAsideKind};
use crate::domain::target::{ContactWrite, TargetContact, WriteValue};
use crate::store::{Decision, JournalEntry, Leaving, Origin, STAMP, Standing, WriteOp};
use crate::sync::carrier::vanished;
use crate::sync::decide::Authorship;
use crate::sync::engine::{Engine, RunError, UpdateSemantics};
use crate::sync::lists::ListPlan;
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::resolve::Resolution;
use crate::sync::stamp::StampReading;

const GONE: &str = "the customer that was decided on is not there: decide again with `deskferry conflicts resolve`";
const SECOND_COPY: &str = "another customer carries this contact's stamp, and would be left as a second copy: merge it in FIRST LINE into the one \
    that was decided on, or empty its stamp there; then `deskferry retry ID`";
const UNVOUCHED: &str = "the linked record answers 404, and no other known record is there to vouch for that";
const STAMP_STAYS: &str = "the customer that the decision leads away from keeps this contact's stamp: empty it there; then `deskferry retry ID`";

impl Job {
    /// The row that says where its decision led, if it has one, and which customer is still to lose its stamp.
    pub(super) fn carried(&self, carried_to: Option<FirstLineId>, left_behind: Option<FirstLineId>) -> Option<WriteOp> {
        let livedesk_id = self.contact.id;
        self.decision().map(|_| WriteOp::DecisionCarried { livedesk_id, carried_to, left_behind })
    }
}

impl<T: ContactTarget> Engine<T> {
    pub(super) async fn carry_decided(&self, job: &Job, decision: Decision) -> Result<Carried, RunError> {
        match decision {
            Decision::Link(target) => self.carry_link(job, target).await,
            Decision::Create => self.carry_create(job).await,
            Decision::Skip => {
                self.store.write(sighting(job)).await?;
                Ok(Carried::new(job.contact.id, Outcome::NotSelected))
            }
        }
    }

    async fn carry_link(&self, job: &Job, target: FirstLineId) -> Result<Carried, RunError> {
        let Some(link) = job.link.clone().filter(|link| link.target == target) else {
            let Some(record) = self.full_contact(target).await? else {
                return self.set_aside(job, reason(SetAsideKind::Gone, None, Some(404), GONE)).await;
            };
            return match self.second_copy(job, target).await? {
                Some(why) => self.set_aside(job, why).await,
                None => self.adopt(job, &record, Origin::Decided, "decision").await,
            };
        };
        // An undo may have left a customer that a run made for the contact.
        match self.second_copy(job, target).await? {
            Some(why) => self.set_aside(job, why).await,
            None => self.update(job, link, Outcome::Updated).await,
        }
    }

    async fn carry_create(&self, job: &Job) -> Result<Carried, RunError> {
        if let (Some(doubt), Some(link)) = (&job.doubt, &job.link) {
            match vanished(link) {
                // Somebody may have put right what the doubt was about.
                None if doubt.is_its_own(link)
                    || doubt.kind == STAMP
                        && self.stamp_on(link.target).await? == Some(StampReading::Of(job.contact.id)) =>
                {
                    return self.update(job, link.clone(), Outcome::Updated).await;
                }
                // Merged or deleted since: only a person has it made anew.
                Some(outcome) if doubt.is_its_own(link) => {
                    self.store.write(sighting(job)).await?;
                    return Ok(Carried::new(job.contact.id, outcome));
                }
                _ => {}
            }
        }
        match self.stamped_beside(job, None).await? {
            None | Some(Resolution::Create) => self.create(job).await,
            Some(Resolution::Conflict { kind, candidates, keys }) => self.conflict(job, kind, candidates, keys).await,
            Some(Resolution::Relink(record) | Resolution::Adopt(record)) => {
                self.adopt(job, &record, Origin::Rebuilt, "stamp").await
            }
            Some(Resolution::Unproven(why)) => {
                self.set_aside(job, reason(SetAsideKind::Unproven, None, None, why)).await
            }
        }
    }

    /// What stands where a record carries its stamp; `None` where there is no record.
    async fn stamp_on(&self, id: FirstLineId) -> Result<Option<StampReading>, PortError> {
        Ok(self.target.contact(id).await?.map(|record| self.scheme.read(&record)))
    }

    /// Records with the contact's stamp, but for the one that was chosen and the one that loses it.
    async fn stamped_beside(&self, job: &Job, chosen: Option<FirstLineId>) -> Result<Option<Resolution>, RunError> {
        let Some(directory) = &job.directory else {
            return Ok(Some(Resolution::Unproven("there is nowhere to look it up")));
        };
        let linked = job.link.as_ref().map(|link| link.target);
        let known = [chosen, linked, job.led_away_from(chosen)].into_iter().flatten().collect();
        self.resolve_by_stamp(job.contact.id, directory, &known).await
    }

    /// Why the contact is not linked to another customer than the one that was made for it: that one would be left as a
    /// second copy.
    async fn second_copy(&self, job: &Job, chosen: FirstLineId) -> Result<Option<SetAside>, RunError> {
        let Some(doubt) = job.doubt.as_ref().filter(|doubt| !doubt.is_about_stamps()) else { return Ok(None) };
        let second_copy = || Some(reason(SetAsideKind::Unproven, None, None, SECOND_COPY));
        let link = job.link.as_ref();
        if let (Some(Leaving::Made { own, .. }), Some(link)) = (doubt.leaving(link), link) {
            match self.stamp_on(own).await? {
                Some(StampReading::NotSaid) => return Ok(second_copy()),
                Some(StampReading::Of(id)) if id == job.contact.id => return Ok(second_copy()),
                Some(_) => {}
                None if link.standing != Standing::Live || self.stop_unless_vouched(link).await? => {}
                None => return Ok(Some(reason(SetAsideKind::Unproven, None, Some(404), UNVOUCHED))),
            }
        }
        Ok(match self.stamped_beside(job, Some(chosen)).await? {
            Some(Resolution::Relink(_) | Resolution::Conflict { .. }) => second_copy(),
            _ => None,
        })
    }

    /// Takes the contact's stamp off the customer that its decision leads away from, on the way to `chosen`; nothing else is
    /// written there. `Some` when the stamp stays: then nobody else may get it.
    pub(super) async fn leave_behind(
        &self,
        job: &Job,
        chosen: Option<FirstLineId>,
    ) -> Result<Option<SetAside>, RunError> {
        let Some(left) = job.led_away_from(chosen) else { return Ok(None) };
        let ours = StampReading::Of(job.contact.id);
        let stays = || reason(SetAsideKind::Refused, None, None, STAMP_STAYS);
        if let Some(record) = self.full_contact(left).await?.filter(|record| self.scheme.read(record) == ours) {
            let unreadable = record.custom_unreadable && self.update_semantics() != UpdateSemantics::Partial;
            if unreadable || !self.settings.clears {
                return Ok(Some(stays()));
            }
            match self.take_stamp_off(job, &record).await {
                Ok(()) | Err(RunError::Port(PortError::NotFound)) => {}
                Err(RunError::Port(PortError::Refused { status, fields })) => {
                    let detail = STAMP_STAYS.to_owned();
                    return Ok(Some(SetAside { detail, ..refused(SetAsideKind::Refused, &fields, status) }));
                }
                Err(error) => return Err(error),
            }
            // A tenant may take an empty value, and keep what it had.
            if self.stamp_on(left).await? == Some(ours) {
                return Ok(Some(stays()));
            }
        }
        self.store.write(job.carried(chosen, None).into_iter().collect()).await?;
        Ok(None)
    }

    async fn take_stamp_off(&self, job: &Job, record: &TargetContact) -> Result<(), RunError> {
        let id = job.contact.id;
        let stamp = self.scheme.fields(id).into_iter();
        let ours = stamp.filter(|(field, stamp)| self.old_value(record, *field) == Some(stamp.canonical()));
        let fields: BTreeMap<_, _> = ours.map(|(field, _)| (field, WriteValue::Clear)).collect();
        let write = ContactWrite { fields, ..ContactWrite::default() };
        let entry = self.before_image(job, record, &write, &ListPlan::default());
        let why = String::from("decided by a person: its stamp is taken off");
        self.store.write(vec![WriteOp::Journal(JournalEntry { why, ..entry })]).await?;
        self.send_update(id, record, write, Authorship::Theirs).await
    }
}
