//! A contact that is not there yet: intent, create, link; and what a doubtful or refused create leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Carried, Job, refused, sighting};
use crate::clock::Timestamp;
use crate::domain::base::Base;
use crate::domain::outcome::{Outcome, SetAsideKind};
use crate::domain::target::{ContactWrite, NewContact, WriteValue};
use crate::store::{Intent, IntentKind, IntentState, JournalEntry, Link, Origin, Standing, WriteOp};
use crate::sync::brake::is_answer;
use crate::sync::children::Family;
use crate::sync::companies::CompanyOutcome;
use crate::sync::decide::{self, Authorship, FieldDecision};
use crate::sync::engine::{Engine, RunError};
use crate::sync::finder::Sight;
use crate::sync::journal::action;
use crate::sync::ports::{ContactTarget, PortError};

impl<T: ContactTarget> Engine<T> {
    /// Creates a record. Crash before the intent is committed: nothing happened. Crash after: the next start finds
    /// the intent and looks for the stamp before anything else.
    pub(super) async fn create(&self, job: &Job) -> Result<Carried, RunError> {
        let id = job.contact.id;
        let FieldDecision { write: fields, base, .. } = decide::creation(&job.record, &job.digests);
        let mut write = ContactWrite { fields, tag_ids: None, company_ids: job.company.map(|id| vec![id]) };
        write.fields.extend(self.scheme.fields(id).into_iter().map(|(key, value)| (key, WriteValue::Typed(value))));
        if let Some(moved) = self.ask_create(job, &write).await? {
            return Ok(moved);
        }
        if let Some(why) = self.leave_behind(job, None).await? {
            return self.set_aside(job, why).await;
        }
        let leave = self.leave_to_create(IntentKind::Contact).await?;
        let intent = self.contact_intent(job, &base);
        let (seq, opened_at, high_water) = (intent.seq, intent.opened_at, intent.high_water);
        let superseded = job.superseded.as_ref().map(|old| WriteOp::CloseIntent { seq: old.seq });
        // A person decided against the record that it was linked to.
        let mut ops: Vec<WriteOp> = superseded.into_iter().collect();
        if let Some(link) = &job.link {
            let link_before = self.link_before(Some(link)).await?;
            let entry = self.entry(id, link.target, action::UNLINK, "decided by a person");
            ops.extend([WriteOp::RemoveLink(id), WriteOp::Journal(JournalEntry { link_before, ..entry })]);
        }
        ops.push(WriteOp::OpenIntent(intent));
        self.store.write(ops).await?;
        // A create that takes the place of a doubtful one is still owed its look for twins.
        let unsent =
            if job.superseded.is_some() { WriteOp::AbsentIntent { seq } } else { WriteOp::CloseIntent { seq } };
        match self.target.create(&write).await {
            Ok(created) => {
                self.create_answered(leave).await?;
                self.created(job, created, base, (seq, opened_at)).await
            }
            Err(PortError::Refused { status, fields }) => {
                if is_answer(status) {
                    self.create_answered(leave).await?;
                }
                let holder =
                    if self.names_the_stamp(&fields) { self.stamped_now(id).await?.0.into_iter().next() } else { None };
                if let Some(holder) = holder
                    && let Sight::Record(record) = self.sight(holder).await?
                {
                    let carried = self.adopt(job, &record, Origin::Rebuilt, "stamp").await;
                    if matches!(carried, Ok(_) | Err(RunError::Port(PortError::Stale))) {
                        self.store.write(vec![WriteOp::CloseIntent { seq }]).await?;
                    }
                    return carried;
                }
                // The stamp is taken though the doubtful create before was not found: it has turned up, out of sight yet.
                if self.names_the_stamp(&fields) && job.superseded.is_some() {
                    let ops = [WriteOp::ParkIntent { seq, at: self.clock.now() }].into_iter().chain(sighting(job));
                    self.store.write(ops.collect()).await?;
                    return Ok(Carried::new(id, Outcome::Parked));
                }
                // Together: a contact that the sweep has passed must not lose both its intent and its reason.
                let reason = refused(SetAsideKind::Refused, &fields, status);
                let ops = [WriteOp::CloseIntent { seq }].into_iter().chain(self.dead_letter(job, &reason));
                self.store.write(ops.collect()).await?;
                Ok(Carried::new(id, Outcome::SetAside(reason)))
            }
            Err(PortError::Doubt { .. }) => {
                // An answer that was lost is the common case: look once, now; this read also waits while the platform is down.
                self.store.write(vec![WriteOp::ParkIntent { seq, at: self.clock.now() }]).await?;
                let mut found = match self.find_stamped(id).await {
                    // What cannot be read now is for the look at all doubts.
                    Err(PortError::Refused { .. }) => BTreeMap::new(),
                    found => found?,
                };
                // A search may be a moment old, and still name a customer that the stamp was taken off from: this one is new.
                found.retain(|target, _| target.0 > high_water);
                if !found.is_empty() {
                    self.create_answered(leave).await?;
                } else if !self.brake.is_own_trouble(job.superseded.as_ref()) {
                    self.create_in_doubt(leave).await?;
                }
                let mut found = found.into_values();
                if let (Some(record), None) = (found.next(), found.next()) {
                    return self.created(job, record.identity(), base, (seq, opened_at)).await;
                }
                // Nothing to be seen yet, or twins: both are for the look at all doubts.
                self.store.write(sighting(job)).await?;
                Ok(Carried::new(id, Outcome::Parked))
            }
            Err(PortError::NotFound) => {
                self.store.write(vec![unsent]).await?;
                Err(RunError::Refused(
                    "FIRST LINE has no /contact under firstline.base_url (404); check the address, it must end in /api/v1".into(),
                ))
            }
            Err(
                error @ (PortError::Stop { .. }
                | PortError::Stale
                | PortError::Unavailable { .. }
                | PortError::Interrupted),
            ) => {
                self.store.write(vec![unsent]).await?;
                Err(error.into())
            }
        }
    }

    /// Records a create that is known to have been applied, then hangs its children on it.
    async fn created(
        &self,
        job: &Job,
        created: NewContact,
        base: Base,
        (seq, opened_at): (i64, Timestamp),
    ) -> Result<Carried, RunError> {
        self.saw(created.id);
        self.brake.saw_created(created.id);
        let id = job.contact.id;
        let family = Family {
            target: created.id,
            current: None,
            ours: &[],
            authorship: Authorship::Ours,
            before: None,
            same_lines: true,
            unfinished: true,
        };
        let mut plan = match self.plan_children(job, family) {
            Ok(plan) => plan,
            Err(unproven) => return self.set_aside(job, unproven).await,
        };
        let recreated = job.superseded.is_some();
        let closing =
            if recreated { WriteOp::AuditIntent { seq, target: created.id } } else { WriteOp::CloseIntent { seq } };
        let mut link = Link {
            livedesk_id: id,
            target: created.id,
            origin: Origin::Created,
            fingerprint: None,
            base: base.encode(),
            mapping_version: Some(self.mapping.mark()),
            intent_seq: Some(seq),
            linked_at: opened_at,
            updated_at: self.clock.now(),
            run: self.run,
            standing: Standing::Live,
            alias_of: None,
        };
        let mut carried = Carried { recreated, ..Carried::new(id, Outcome::Created) };
        carried.lists.company = job.company.map(|_| CompanyOutcome::Linked);
        let companies: Vec<i64> = job.company.into_iter().collect();
        let why = if recreated { "created again" } else { "new contact" };
        let made = WriteOp::Journal(self.made(id, created.id, &companies, why));
        if plan.is_empty() && job.record.tags.present.is_empty() {
            let mut ops = vec![closing, made];
            ops.extend(self.settled(job, &mut link, base, created.id));
            self.store.write(ops).await?;
            return Ok(carried);
        }
        let mut ops = vec![closing, made, WriteOp::PutLink(link.clone())];
        ops.extend(job.carried(Some(created.id), None));
        ops.extend(plan.opening(|rows, after| self.children_image(id, created.id, rows, after)));
        self.store.write(ops).await?;
        self.finish_children(job, link, base, created.profile_id, plan, &mut carried, true).await?;
        Ok(carried)
    }

    /// The intent, with what is sent as its base. The company is settled with the create, whenever that is found.
    fn contact_intent(&self, job: &Job, base: &Base) -> Intent {
        let company = job.company.and(job.digests.company);
        let base = Base { company, company_sent: job.company, ..base.clone() };
        Intent {
            seq: self.store.next_intent_seq(),
            livedesk_id: job.contact.id,
            kind: IntentKind::Contact,
            stamp: self.scheme.text(job.contact.id),
            key: None,
            target: None,
            high_water: job.superseded.as_ref().map_or(self.highest(), |old| old.high_water),
            opened_at: self.clock.now(),
            parked_at: None,
            state: IntentState::Open,
            recreated: job.superseded.is_some(),
            base: base.encode(),
        }
    }

    fn names_the_stamp(&self, fields: &BTreeSet<String>) -> bool {
        fields.iter().any(|name| {
            (self.scheme.membership_prefix.is_some() && name.starts_with("membership_no"))
                || (self.scheme.custom_field.is_some() && name.starts_with("cz_cols"))
        })
    }
}
