//! Carry: one contact from its desired record to a settled link. Resolve, decide, apply, record, in that order.
//!
//! What a crash leaves behind at each step is written beside it. A create is preceded by a committed intent and
//! followed by one transaction that stores the link and removes the intent; nothing in between is ever resent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::domain::base::{Base, WishDigests};
use crate::domain::contact::Contact;
use crate::domain::hash::Digest;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::outcome::{Outcome, SetAside, SetAsideKind};
use crate::domain::record::{Desired, DesiredRecord, FieldKey, is_blank};
use crate::domain::target::{ContactWrite, NewContact, TargetContact, WriteValue};
use crate::store::{
    Conflict, DeadLetter, Decision, Intent, IntentKind, IntentState, JournalEntry, Link, Origin, WriteOp,
};
use crate::sync::children::ChildPlan;
use crate::sync::companies::CompanyOutcome;
use crate::sync::decide::{self, Authorship, FieldDecision};
use crate::sync::engine::{Engine, RunError, SharedKeys};
use crate::sync::lists::{ListPlan, ListsDone};
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::resolve::{Directory, Resolution};
use crate::sync::stamp::StampReading;

/// One contact with what the state knows of it.
#[derive(Debug)]
pub struct Job {
    /// The contact as read.
    pub contact: Contact,
    /// What the mapping wants.
    pub record: DesiredRecord,
    /// The digests of that.
    pub digests: WishDigests,
    /// Its fingerprint.
    pub fingerprint: Digest,
    /// The fingerprint that is stored once it is settled: what could not be looked up counts as unknown in it.
    pub settles: Digest,
    /// The company to link, once it was looked up.
    pub company: Option<i64>,
    /// Why there is none to link, although one is wished.
    pub company_outcome: Option<CompanyOutcome>,
    /// Its link, if it has one.
    pub link: Option<Link>,
    /// A person's decision about its identity.
    pub decision: Option<Decision>,
    /// Whether it has a dead letter that a success clears.
    pub dead_letter: Option<DeadLetter>,
    /// Whether it has a conflict that a success clears.
    pub in_conflict: bool,
    /// An earlier create whose absence was proven; the new one takes its place and is audited.
    pub superseded: Option<Intent>,
    /// The sweep that saw it.
    pub sweep: Option<i64>,
    /// Where look-ups go; the carrier sets it for contacts without a link.
    pub directory: Option<Arc<Directory>>,
}

/// What became of a job.
#[derive(Debug)]
pub struct Carried {
    /// The contact.
    pub id: LiveDeskId,
    /// The outcome.
    pub outcome: Outcome,
    /// Fields that both sides had changed.
    pub both_changed: u64,
    /// Fields left as FIRST LINE has them.
    pub kept: u64,
    /// Whether this create repeated one whose absence was proven.
    pub recreated: bool,
    /// What was done about its tags and its company.
    pub lists: ListsDone,
}

impl Carried {
    fn new(id: LiveDeskId, outcome: Outcome) -> Self {
        Self { id, outcome, both_changed: 0, kept: 0, recreated: false, lists: ListsDone::default() }
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Carries one contact. An error is one that ends the run; whatever concerns this contact alone is an outcome.
    pub async fn carry(&self, mut job: Job) -> Result<Carried, RunError> {
        self.resolve_company(&mut job).await?;
        let mut carried = match self.carry_one(&job).await {
            // A record that FIRST LINE cannot even show concerns this contact alone.
            Err(RunError::Port(PortError::Refused { status, fields })) => {
                self.set_aside(&job, refused(SetAsideKind::Refused, &fields, status)).await?
            }
            carried => carried?,
        };
        carried.lists.company = carried.lists.company.or(job.company_outcome);
        Ok(carried)
    }

    async fn carry_one(&self, job: &Job) -> Result<Carried, RunError> {
        if let Some(link) = job.link.clone()
            && job.decision.is_none()
        {
            if link.fingerprint == Some(job.settles) {
                // All that is new is a company that is not there.
                let cleared = job.dead_letter.as_ref().map(|_| WriteOp::ClearDeadLetter(job.contact.id));
                self.store.write(cleared.into_iter().chain(sighting(job)).collect()).await?;
                return Ok(Carried::new(job.contact.id, Outcome::Unchanged));
            }
            return self.update(job, link, Outcome::Updated).await;
        }
        let mut resolution = match job.decision {
            Some(Decision::Create) => Resolution::Create,
            Some(Decision::Skip) => {
                // Nothing is left to wait for an earlier create that is not there.
                let settled = job.superseded.as_ref().map(|old| WriteOp::CloseIntent { seq: old.seq });
                self.store.write(settled.into_iter().chain(sighting(job)).collect()).await?;
                return Ok(Carried::new(job.contact.id, Outcome::NotSelected));
            }
            Some(Decision::Link(target)) => {
                let Some(record) = self.full_contact(target).await? else {
                    let gone = "the record that was decided on is not there any more";
                    return self.set_aside(job, reason(SetAsideKind::Gone, None, Some(404), gone)).await;
                };
                Resolution::Adopt(Box::new(record))
            }
            None => self.look_up(job).await?,
        };
        loop {
            resolution = match resolution {
                Resolution::Create => return self.create(job).await,
                Resolution::Relink(record) => return self.adopt(job, &record, Origin::Rebuilt, "stamp").await,
                Resolution::Adopt(record) if job.decision.is_some() => {
                    return self.adopt(job, &record, Origin::Decided, "decision").await;
                }
                Resolution::Adopt(record) => match self.link_to(job, &record, Origin::Adopted).await? {
                    Some(link) => return self.update(job, link, Outcome::Adopted).await,
                    // Another contact was led here by another key and was first: it is no candidate any more.
                    None => self.look_up(job).await?,
                },
                Resolution::Conflict { kind, candidates, keys } => {
                    return self.conflict(job, kind, candidates, keys).await;
                }
                Resolution::Unproven(why) => {
                    return self.set_aside(job, reason(SetAsideKind::Unproven, None, None, why)).await;
                }
            };
        }
    }

    async fn look_up(&self, job: &Job) -> Result<Resolution, RunError> {
        match &job.directory {
            Some(directory) => self.resolve(&job.contact, &job.record, directory).await,
            None => Ok(Resolution::Unproven("there is nowhere to look it up")),
        }
    }

    /// Creates a record. Crash before the intent is committed: nothing happened. Crash after: the next start finds
    /// the intent and looks for the stamp before anything else.
    async fn create(&self, job: &Job) -> Result<Carried, RunError> {
        let id = job.contact.id;
        let FieldDecision { write: fields, base, .. } = decide::creation(&job.record, &job.digests);
        let mut write = ContactWrite { fields, tag_ids: None, company_ids: job.company.map(|id| vec![id]) };
        write.fields.extend(self.scheme.fields(id).into_iter().map(|(key, value)| (key, WriteValue::Typed(value))));
        let intent = self.contact_intent(job);
        let (seq, opened_at) = (intent.seq, intent.opened_at);
        let superseded = job.superseded.as_ref().map(|old| WriteOp::CloseIntent { seq: old.seq });
        // A person decided against the record that it was linked to.
        let unlink = job.link.as_ref().map(|_| WriteOp::RemoveLink(id));
        self.store.write(superseded.into_iter().chain(unlink).chain([WriteOp::OpenIntent(intent)]).collect()).await?;
        // A create that takes the place of a doubtful one is still owed its look for twins.
        let unsent =
            if job.superseded.is_some() { WriteOp::AbsentIntent { seq } } else { WriteOp::CloseIntent { seq } };
        match self.target.create(&write).await {
            Ok(created) => self.created(job, created, base, (seq, opened_at)).await,
            Err(PortError::Refused { status, fields }) => {
                if self.names_the_stamp(&fields)
                    && let Some(record) = self.find_stamped(id).await?.into_values().next()
                {
                    let carried = self.adopt(job, &record, Origin::Rebuilt, "stamp").await?;
                    self.store.write(vec![WriteOp::CloseIntent { seq }]).await?;
                    return Ok(carried);
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
                let found = match self.find_stamped(id).await {
                    // What cannot be read now is for the look at all doubts.
                    Err(PortError::Refused { .. }) => BTreeMap::new(),
                    found => found?,
                };
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
            Err(error @ (PortError::Stop { .. } | PortError::Unavailable { .. } | PortError::Interrupted)) => {
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
        let id = job.contact.id;
        let plan = self.plan_children(job, created.id, None, &[], Authorship::Ours, None);
        let recreated = job.superseded.is_some();
        let closing =
            if recreated { WriteOp::AuditIntent { seq, target: created.id } } else { WriteOp::CloseIntent { seq } };
        let mut link = Link {
            livedesk_id: id,
            target: created.id,
            origin: Origin::Created,
            fingerprint: None,
            base: base.encode(),
            mapping_version: Some(self.mapping.version().to_owned()),
            intent_seq: Some(seq),
            linked_at: opened_at,
            updated_at: self.clock.now(),
            run: self.run,
        };
        let mut carried = Carried { recreated, ..Carried::new(id, Outcome::Created) };
        carried.lists.company = job.company.map(|_| CompanyOutcome::Linked);
        if plan.is_empty() && job.record.tags.present.is_empty() {
            let mut ops = vec![closing];
            ops.extend(self.settled(job, &mut link, base, created.id));
            self.store.write(ops).await?;
            return Ok(carried);
        }
        let mut ops = vec![closing, WriteOp::PutLink(link.clone())];
        ops.extend(plan.intents());
        self.store.write(ops).await?;
        self.finish_children(job, link, base, created.profile_id, plan, &mut carried, true).await?;
        Ok(carried)
    }

    /// Links an existing record and fills its blanks; a conflict when it belongs to another contact. Crash in between:
    /// the link is there without a fingerprint, and the next run goes on from it.
    async fn adopt(
        &self,
        job: &Job,
        record: &TargetContact,
        origin: Origin,
        keys: &'static str,
    ) -> Result<Carried, RunError> {
        match self.link_to(job, record, origin).await? {
            Some(link) => self.update(job, link, Outcome::Adopted).await,
            None => self.conflict(job, "shared", vec![record.id], keys).await,
        }
    }

    /// Links an existing record; `None` when it is linked to, or stamped for, another contact. One at a time: two
    /// contacts can be led to one record at the same moment, by different keys.
    async fn link_to(&self, job: &Job, record: &TargetContact, origin: Origin) -> Result<Option<Link>, RunError> {
        self.saw(record.id);
        let id = job.contact.id;
        if matches!(self.scheme.read(record), StampReading::Of(other) if other != id) {
            return Ok(None);
        }
        let _one_at_a_time = self.linking.lock().await;
        if self.store.source_of(&[record.id]).await?.get(&record.id).is_some_and(|holder| *holder != id) {
            return Ok(None);
        }
        let link = self.unsettled_link(id, record.id, origin);
        // Somebody's record, found where an earlier create of ours was not: that may still turn up.
        let superseded = job.superseded.as_ref().map(|old| WriteOp::AuditIntent { seq: old.seq, target: record.id });
        let unlink = job.link.as_ref().map(|_| WriteOp::RemoveLink(id));
        let ops = superseded.into_iter().chain(unlink).chain([WriteOp::PutLink(link.clone())]).collect();
        self.store.write(ops).await?;
        Ok(Some(link))
    }

    /// Brings a linked record in step: read, decide, write only what is owned, then the children.
    async fn update(&self, job: &Job, mut link: Link, changed: Outcome) -> Result<Carried, RunError> {
        let id = job.contact.id;
        let Some(current) = self.full_contact(link.target).await? else {
            let gone = "the linked record is not there any more (merged or deleted in FIRST LINE)";
            return self.set_aside(job, reason(SetAsideKind::Gone, None, Some(404), gone)).await;
        };
        match self.scheme.read(&current) {
            StampReading::Of(other) if other != id => {
                return self.conflict(job, "stamp", vec![current.id], "link").await;
            }
            _ => {}
        }
        let authorship = match link.origin {
            Origin::Created => Authorship::Ours,
            Origin::Adopted | Origin::Rebuilt | Origin::Decided => Authorship::Theirs,
        };
        let before = Base::decode(&link.base);
        let decision = decide::update(
            &job.record,
            &job.digests,
            before.as_ref(),
            &current,
            authorship,
            self.mapping.kinds(),
            self.store.hash_key(),
        );
        let mut write = decision.write;
        for (field, stamp) in self.scheme.fields(id) {
            if current.value(field).is_some_and(is_blank) {
                write.insert(field, WriteValue::Typed(stamp));
            }
        }
        let lists = self.plan_lists(job, before.as_ref(), current.tag_ids.as_deref(), current.company_ids.as_deref());
        let unsettled = link.fingerprint.is_none();
        let wrote_fields = !write.is_empty() || lists.writes();
        if wrote_fields {
            // From here on the record is not what the fingerprint says, should this end in between; and which tags are
            // ours is known whatever the answer.
            link.fingerprint = None;
            link.base = lists.marked(before.as_ref()).encode();
            let journal = self.before_image(job, &current, write.keys(), &lists);
            self.store.write(vec![WriteOp::PutLink(link.clone()), WriteOp::Journal(journal)]).await?;
            match self.send_update(id, &current, lists.with(write.clone()), authorship).await {
                Ok(()) => {}
                Err(RunError::Port(PortError::Refused { status, fields })) if lists.are_named_by(&fields) => {
                    // A list that is refused must not keep the fields back.
                    if !write.is_empty() {
                        self.send_update(id, &current, ListPlan::default().with(write), authorship).await?;
                    }
                    return self.set_aside(job, refused(SetAsideKind::Refused, &fields, status)).await;
                }
                Err(RunError::Port(PortError::Refused { status, fields })) => {
                    return self.set_aside(job, refused(SetAsideKind::Refused, &fields, status)).await;
                }
                Err(RunError::Port(PortError::NotFound)) => {
                    let gone = "the linked record vanished while it was being updated";
                    return self.set_aside(job, reason(SetAsideKind::Gone, None, Some(404), gone)).await;
                }
                Err(error) => return Err(error),
            }
        }
        let ours = self.store.children_of(id).await?;
        let plan = self.plan_children(job, current.id, Some(&current), &ours, authorship, before.as_ref());
        let wrote = wrote_fields || !plan.is_empty();
        // A create of this run whose answer was lost and found is a create.
        let unchanged = match (&changed, link.origin) {
            (Outcome::Adopted, _) => Outcome::Adopted,
            (_, Origin::Created) if unsettled && link.run == self.run => Outcome::Created,
            _ => Outcome::Unchanged,
        };
        let mut carried = Carried {
            both_changed: decision.both_changed.len() as u64,
            kept: decision.kept.len() as u64,
            lists: lists.done(),
            ..Carried::new(id, if wrote && unchanged == Outcome::Unchanged { changed } else { unchanged })
        };
        let base = Base { tags: lists.tags.base, ..decision.base };
        if plan.is_empty() {
            let ops = self.settled(job, &mut link, base, current.id);
            self.store.write(ops).await?;
            return Ok(carried);
        }
        link.base = base.encode();
        link.fingerprint = None;
        let mut ops = vec![WriteOp::PutLink(link.clone())];
        ops.extend(plan.intents());
        self.store.write(ops).await?;
        self.finish_children(job, link, base, current.profile_id, plan, &mut carried, false).await?;
        Ok(carried)
    }

    /// Hangs the children, and the tags of a record that was just `made`, and records the contact as settled; the
    /// outcome says so when something is left over.
    #[expect(clippy::too_many_arguments, reason = "the two ways to a settled record end here")]
    async fn finish_children(
        &self,
        job: &Job,
        mut link: Link,
        mut base: Base,
        profile_id: Option<i64>,
        plan: ChildPlan,
        carried: &mut Carried,
        made: bool,
    ) -> Result<(), RunError> {
        let target = link.target;
        let done = self.run_children(job, target, profile_id, plan).await?;
        let mut ops = done.ops;
        if let Some(reason) = done.refused {
            ops.extend(self.dead_letter(job, &reason));
            carried.outcome = Outcome::SetAside(reason);
        } else if done.parked {
            ops.extend(sighting(job));
            carried.outcome = Outcome::Parked;
        } else if made && !job.record.tags.present.is_empty() {
            self.store.write(std::mem::take(&mut ops)).await?;
            match self.tag_made(job, &mut link, &mut base, &mut carried.lists).await? {
                None => ops.extend(self.settled(job, &mut link, base, target)),
                Some(reason) => {
                    ops.extend(self.dead_letter(job, &reason));
                    carried.outcome = Outcome::SetAside(reason);
                }
            }
        } else {
            ops.extend(self.settled(job, &mut link, base, target));
        }
        Ok(self.store.write(ops).await?)
    }

    fn contact_intent(&self, job: &Job) -> Intent {
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
        }
    }

    /// The rows that say "this contact is done": link with fingerprint, sighting, nothing left over.
    fn settled(&self, job: &Job, link: &mut Link, mut base: Base, target: FirstLineId) -> Vec<WriteOp> {
        base.emails = job.digests.emails.or(base.emails);
        base.phones = job.digests.phones.or(base.phones);
        match job.record.company {
            Desired::Unknown => {}
            Desired::Empty => base.company = None,
            Desired::Value(_) => base.company = job.digests.company,
        }
        link.base = base.encode();
        link.fingerprint = Some(job.settles);
        link.mapping_version = Some(self.mapping.version().to_owned());
        link.updated_at = self.clock.now();
        let mut ops = vec![WriteOp::PutLink(link.clone())];
        if job.dead_letter.is_some() {
            ops.push(WriteOp::ClearDeadLetter(job.contact.id));
        }
        if job.in_conflict {
            ops.push(WriteOp::ClearConflict(job.contact.id));
        }
        if self.settings.shared_keys == SharedKeys::Conflict {
            ops.extend(job.record.emails.items().iter().map(|email| self.index_email(&email.address, target)));
            ops.extend(job.record.phones.items().iter().map(|phone| self.index_phone(&phone.number, target)));
        }
        ops.extend(sighting(job));
        ops
    }

    fn dead_letter(&self, job: &Job, reason: &SetAside) -> Vec<WriteOp> {
        let now = self.clock.now();
        let letter = DeadLetter {
            livedesk_id: job.contact.id,
            kind: reason.kind,
            field: reason.field.clone(),
            status: reason.status,
            detail: reason.detail.clone(),
            fingerprint: Some(job.fingerprint),
            attempts: 1,
            first_at: now,
            last_at: now,
            run: self.run,
        };
        let mut ops = vec![WriteOp::PutDeadLetter(letter)];
        ops.extend(sighting(job));
        ops
    }

    async fn set_aside(&self, job: &Job, reason: SetAside) -> Result<Carried, RunError> {
        self.store.write(self.dead_letter(job, &reason)).await?;
        Ok(Carried::new(job.contact.id, Outcome::SetAside(reason)))
    }

    async fn conflict(
        &self,
        job: &Job,
        kind: &str,
        candidates: Vec<FirstLineId>,
        keys: &str,
    ) -> Result<Carried, RunError> {
        let conflict = Conflict {
            livedesk_id: job.contact.id,
            kind: kind.to_owned(),
            candidates,
            keys: keys.to_owned(),
            run: self.run,
            at: self.clock.now(),
            decision: None,
        };
        // A decision that led to another conflict is used up: this is a new question.
        let answered = job.decision.map(|_| WriteOp::ClearConflict(job.contact.id));
        let mut ops: Vec<WriteOp> = answered.into_iter().chain([WriteOp::PutConflict(conflict)]).collect();
        ops.extend(sighting(job));
        self.store.write(ops).await?;
        Ok(Carried::new(job.contact.id, Outcome::Conflict))
    }

    fn before_image<'a>(
        &self,
        job: &Job,
        current: &TargetContact,
        fields: impl Iterator<Item = &'a FieldKey>,
        lists: &ListPlan,
    ) -> JournalEntry {
        let mut before: Map<String, Value> =
            fields.map(|field| (field.to_string(), current.value(*field).cloned().unwrap_or(Value::Null))).collect();
        before.extend(lists.before(current));
        JournalEntry {
            run: self.run,
            livedesk_id: job.contact.id,
            target: current.id,
            action: String::from("update"),
            before: Value::Object(before).to_string(),
            at: self.clock.now(),
        }
    }

    fn names_the_stamp(&self, fields: &BTreeSet<String>) -> bool {
        fields.iter().any(|name| {
            (self.scheme.membership_prefix.is_some() && name.starts_with("membership_no"))
                || (self.scheme.custom_field.is_some() && name.starts_with("cz_cols"))
        })
    }
}

/// The row that says which sweep saw the contact.
fn sighting(job: &Job) -> Vec<WriteOp> {
    job.sweep.map(|sweep| WriteOp::Sight { sweep, id: job.contact.id }).into_iter().collect()
}

pub(super) fn reason(kind: SetAsideKind, field: Option<&str>, status: Option<u16>, detail: &str) -> SetAside {
    SetAside { kind, field: field.map(str::to_owned), status, detail: detail.to_owned() }
}

pub(super) fn refused(kind: SetAsideKind, fields: &BTreeSet<String>, status: u16) -> SetAside {
    let names: Vec<&str> = fields.iter().map(String::as_str).collect();
    SetAside {
        kind,
        field: (!names.is_empty()).then(|| names.join(", ")),
        status: Some(status),
        detail: String::from("FIRST LINE refused it"),
    }
}

/// Milliseconds between two moments, never negative.
pub(super) fn elapsed_ms(from: Timestamp, to: Timestamp) -> i64 {
    (to.0 - from.0).max(0)
}
