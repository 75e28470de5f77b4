//! Carry: one contact from its desired record to a settled link. Resolve, decide, apply, record, in that order.
//!
//! What a crash leaves behind at each step is written beside it. A create is preceded by a committed intent and
//! followed by one transaction that stores the link and removes the intent; nothing in between is ever resent.

mod create;
mod decided;
mod record;
mod update;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::domain::base::WishDigests;
use crate::domain::contact::Contact;
use crate::domain::hash::Digest;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::outcome::{Outcome, SetAside, SetAsideKind};
use crate::domain::record::{DesiredRecord, FieldKey};
use crate::domain::target::TargetContact;
use crate::store::{
    Conflict, DeadLetter, Decision, Intent, JournalEntry, Link, LinkChild, Origin, SHARED, Standing, WriteOp,
};
use crate::sync::companies::CompanyOutcome;
use crate::sync::engine::{Engine, RunError};
use crate::sync::journal::{self, action};
use crate::sync::lists::ListsDone;
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::resolve::{Directory, Matched, Resolution};
use crate::sync::stamp::StampReading;

/// How often a record is read for an update that comes too late each time.
const LOOKS: u32 = 5;

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
    /// The fingerprint that says there is nothing left to do: what could not be looked up counts as unknown in it.
    pub settles: Digest,
    /// The company to link, once it was looked up.
    pub company: Option<i64>,
    /// Why there is none to link, although one is wished.
    pub company_outcome: Option<CompanyOutcome>,
    /// Its link, if it has one.
    pub link: Option<Link>,
    /// The doubt about its identity: undecided, decided, or with a decision that was carried out already.
    pub doubt: Option<Conflict>,
    /// Whether it has a dead letter that a success clears.
    pub dead_letter: Option<DeadLetter>,
    /// Customers with whom it may share its keys: a person decided so.
    pub may_share: BTreeSet<FirstLineId>,
    /// An earlier create whose absence was proven; the new one takes its place and is audited.
    pub superseded: Option<Intent>,
    /// Whether a person asked for this contact: its record is looked at, whatever is noted of it.
    pub asked: bool,
    /// The sweep that saw it.
    pub sweep: Option<i64>,
    /// Where look-ups go; the carrier sets it for contacts without a link, or with a decision.
    pub directory: Option<Arc<Directory>>,
}

impl Job {
    /// A person's decision about its identity that is to be carried out.
    pub fn decision(&self) -> Option<Decision> {
        self.doubt.as_ref()?.standing(self.link.as_ref())
    }

    /// The customer that a decision leads away from on the way to `chosen`, or to a new one: there its stamp is taken off. One
    /// that an earlier run did not come to goes first, whatever the doubt is about by now: the linked one is stamped after it.
    pub fn led_away_from(&self, chosen: Option<FirstLineId>) -> Option<FirstLineId> {
        let doubt = self.doubt.as_ref()?;
        let leads_away = self.decision().is_some() && !doubt.is_about_stamps();
        let linked = self.link.as_ref().map(|link| link.target).filter(|_| leads_away);
        doubt.left_behind.filter(|left| Some(*left) != chosen).or(linked.filter(|linked| Some(*linked) != chosen))
    }
}

/// What became of a job.
#[derive(Debug)]
pub struct Carried {
    /// The contact.
    pub id: LiveDeskId,
    /// The outcome.
    pub outcome: Outcome,
    /// The record that it was updated on.
    pub target: Option<FirstLineId>,
    /// Fields that both sides had changed.
    pub both_changed: Vec<BothChanged>,
    /// Fields left as FIRST LINE has them.
    pub kept: u64,
    /// Fields left as they are, because the record does not show what they hold.
    pub not_shown: Vec<FieldKey>,
    /// Whether this create repeated one whose absence was proven.
    pub recreated: bool,
    /// Whether it was adopted by a key although the customer's values of a key that goes before are others.
    pub apart: bool,
    /// What was done about its tags and its company.
    pub lists: ListsDone,
}

/// A field, or a list, that both sides had changed since it was last settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BothChanged {
    /// Which: `birth_at`, `cz_col 32`, `emails`.
    pub field: String,
    /// Whether its owner let LiveDesk's value in.
    pub written: bool,
}

impl Carried {
    pub(super) fn new(id: LiveDeskId, outcome: Outcome) -> Self {
        Self {
            id,
            outcome,
            target: None,
            both_changed: Vec::new(),
            kept: 0,
            not_shown: Vec::new(),
            recreated: false,
            apart: false,
            lists: ListsDone::default(),
        }
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Carries one contact. An error is one that ends the run; whatever concerns this contact alone is an outcome.
    pub async fn carry(&self, mut job: Job) -> Result<Carried, RunError> {
        self.resolve_company(&mut job).await?;
        let mut looks = 1;
        let result = loop {
            match self.carry_one(&job).await {
                // What was read is out of date: the record is read again, and decided on again.
                Err(RunError::Port(PortError::Stale)) if looks < LOOKS => {
                    looks += 1;
                    let id = job.contact.id;
                    job.link = self.store.links_for(&[id]).await?.remove(&id);
                    if job.doubt.is_some() {
                        job.doubt = self.store.conflict_for(&[id]).await?.remove(&id);
                    }
                }
                result => break result,
            }
        };
        let mut carried = match result {
            Err(RunError::Port(PortError::Stale)) => {
                let slow = "FIRST LINE takes so long to answer that what was read is out of date before it is written";
                self.set_aside(&job, reason(SetAsideKind::Unproven, None, None, slow)).await?
            }
            // A record that FIRST LINE cannot even show concerns this contact alone.
            Err(RunError::Port(PortError::Refused { status, fields })) => {
                self.set_aside(&job, refused(SetAsideKind::Refused, &fields, status)).await?
            }
            carried => carried?,
        };
        carried.lists.company = carried.lists.company.or(job.company_outcome);
        carried.outcome = self.tell_end(job.contact.id, carried.outcome).await?;
        Ok(carried)
    }

    async fn carry_one(&self, job: &Job) -> Result<Carried, RunError> {
        if let Some(decision) = job.decision() {
            return self.carry_decided(job, decision).await;
        }
        if let Some(link) = job.link.clone() {
            if !job.asked && link.fingerprint == Some(job.settles) && link.standing == Standing::Live {
                // All that is new is a company that is not there.
                let cleared = job.dead_letter.as_ref().map(|_| WriteOp::ClearDeadLetter(job.contact.id));
                self.store.write(cleared.into_iter().chain(sighting(job)).collect()).await?;
                return Ok(Carried::new(job.contact.id, Outcome::Unchanged));
            }
            return self.update(job, link, Outcome::Updated).await;
        }
        let mut resolution = self.look_up(job).await?;
        loop {
            resolution = match resolution {
                Resolution::Create => return self.create(job).await,
                Resolution::Relink(record) => return self.adopt(job, &record, Origin::Rebuilt, "stamp").await,
                Resolution::Adopt(record) => match self.link_to(job, &record, Origin::Adopted).await? {
                    Some(link) => {
                        let apart = self.matched(&job.record, &record).is_some_and(|matched| matched.apart);
                        let carried = self.update(job, link, Outcome::Adopted).await?;
                        return Ok(Carried { apart: apart && matches!(carried.outcome, Outcome::Adopted), ..carried });
                    }
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

    /// Links an existing record and fills its blanks; a conflict when it belongs to another contact. Crash in between:
    /// the link is there without a fingerprint, and the next run goes on from it.
    async fn adopt(
        &self,
        job: &Job,
        record: &TargetContact,
        origin: Origin,
        keys: &'static str,
    ) -> Result<Carried, RunError> {
        if let Some(link) = self.link_to(job, record, origin).await? {
            return self.update(job, link, Outcome::Adopted).await;
        }
        let own = job.link.as_ref().map(|link| link.target).filter(|own| *own != record.id);
        self.conflict(job, SHARED, own.into_iter().chain([record.id]).collect(), keys).await
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
        let (link, children) = self.link_for(id, record.id, origin).await?;
        // Somebody's record, found where an earlier create of ours was not: that may still turn up.
        let superseded = job.superseded.as_ref().map(|old| WriteOp::AuditIntent { seq: old.seq, target: record.id });
        let unlink = job.link.as_ref().map(|_| WriteOp::RemoveLink(id));
        let why = match origin {
            Origin::Rebuilt => "stamp found",
            Origin::Decided => "decided by a person",
            Origin::Adopted | Origin::Created => {
                self.matched(&job.record, record).map_or("matched by a key", Matched::text)
            }
        };
        let link_before = self.link_before(job.link.as_ref()).await?;
        let adopted = JournalEntry { link_before, ..self.entry(id, record.id, action::ADOPT, why) };
        let ops = superseded.into_iter().chain(unlink).chain([WriteOp::PutLink(link.clone())]);
        let ops = ops.chain(job.carried(Some(record.id), job.led_away_from(Some(record.id))));
        let ops = ops.chain(children.into_iter().map(WriteOp::PutChild));
        self.store.write(ops.chain([WriteOp::Journal(adopted)]).collect()).await?;
        Ok(Some(link))
    }

    /// The link to an existing record. One that we made, and that an undo left as it was, is known as it was known then.
    pub(super) async fn link_for(
        &self,
        id: LiveDeskId,
        target: FirstLineId,
        origin: Origin,
    ) -> Result<(Link, Vec<LinkChild>), RunError> {
        let link = self.unsettled_link(id, target, origin);
        if origin != Origin::Rebuilt {
            return Ok((link, Vec::new()));
        }
        let left = journal::left_standing(&self.store.journalled(id).await?, target);
        Ok(left.map_or_else(
            || (link.clone(), Vec::new()),
            |(left, children)| {
                let (fingerprint, updated_at, run) = (None, link.updated_at, link.run);
                (Link { fingerprint, updated_at, run, standing: Standing::Live, alias_of: None, ..left }, children)
            },
        ))
    }

    /// The link of a contact as the journal keeps it.
    pub(in crate::sync) async fn link_before(&self, link: Option<&Link>) -> Result<Option<String>, RunError> {
        let Some(link) = link else { return Ok(Some(journal::no_link())) };
        Ok(Some(journal::link_image(link, &self.store.children_of(link.livedesk_id).await?)))
    }
}

/// The row that says which sweep saw the contact.
pub(super) fn sighting(job: &Job) -> Vec<WriteOp> {
    job.sweep.map(|sweep| WriteOp::Sight { sweep, id: job.contact.id }).into_iter().collect()
}

pub(super) fn reason(kind: SetAsideKind, field: Option<&str>, status: Option<u16>, detail: &str) -> SetAside {
    SetAside { kind, field: field.map(str::to_owned), status, detail: detail.to_owned() }
}

pub(super) fn refused(kind: SetAsideKind, fields: &BTreeSet<String>, status: u16) -> SetAside {
    let names: Vec<&str> = fields.iter().map(String::as_str).collect();
    let detail = match status {
        // It was tried for long enough, and others were served meanwhile.
        0 | 502..=504 => "FIRST LINE gives no answer of use for it",
        _ => "FIRST LINE refused it",
    };
    SetAside {
        kind,
        field: (!names.is_empty()).then(|| names.join(", ")),
        status: Some(status).filter(|status| *status != 0),
        detail: detail.to_owned(),
    }
}

/// Whether a refusal comes of an answer that says so; without one, what was sent may have been applied.
pub(super) fn is_refused_by(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 499)
}

/// Milliseconds between two moments, never negative.
pub(super) fn elapsed_ms(from: Timestamp, to: Timestamp) -> i64 {
    (to.0 - from.0).max(0)
}
