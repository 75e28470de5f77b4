//! One contact of a run that is taken back: read, reckon, write what may be written, put the link back.
//!
//! Crash before the first commit: nothing happened. Later: the rows of the run stand, so the next undo reads the record
//! and goes through the same steps; what is as it was before the run is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Undo;
use super::link::{self, Parts};
use super::net::{LinkWas, Net};
use super::wait::{Holder, PutOff};
use crate::domain::base::Base;
use crate::domain::hash::{Digest, HashKey};
use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId};
use crate::domain::target::{ContactWrite, TargetContact};
use crate::store::{
    ChildKind, Intent, IntentKind, IntentState, JournalEntry, Journalled, Link, LinkChild, Origin, Standing, WriteOp,
};
use crate::sync::engine::RunError;
use crate::sync::journal::{self, action};
use crate::sync::ports::ContactTarget;
use crate::sync::settle::settled_by_link;
use crate::sync::stamp::StampReading;

/// Why this is done, in the journal.
pub(super) const WHY: &str = "a run was taken back";

/// One contact of the run.
pub(super) struct Case {
    /// Its newest row.
    pub(super) row: i64,
    pub(super) id: LiveDeskId,
    pub(super) target: FirstLineId,
    pub(super) net: Net,
    /// The link as it is now.
    pub(super) link: Option<Link>,
    /// The same, for the journal.
    pub(super) link_before: Option<String>,
    /// The rows that the state knows of it.
    pub(super) ours: Vec<LinkChild>,
    /// Rows that were removed and hung on again since: their numbers now.
    pub(super) renumbered: BTreeMap<(ChildKind, ChildId), ChildId>,
    /// Rows that this undo, or one before it that died, hung on again: their numbers.
    pub(super) hung: Mutex<BTreeMap<(ChildKind, Digest), ChildId>>,
    /// What was sent for it and is not settled.
    pub(super) open: Vec<Intent>,
    /// Whether its deletion may have been sent already.
    pub(super) deleting: bool,
    /// Everything that was ever done with it, newest first.
    pub(super) all: Vec<Journalled>,
}

impl Case {
    /// Creates of a customer for it that are not settled, or proven absent.
    fn creates(&self) -> impl Iterator<Item = &Intent> {
        self.open.iter().filter(|intent| intent.kind == IntentKind::Contact)
    }
}

/// What came of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Done,
    /// It is to be tried again.
    Left,
    /// The record is gone.
    Gone,
}

impl<T: ContactTarget> Undo<'_, T> {
    pub(super) async fn take_back(&self, case: &Case) -> Result<(), RunError> {
        if case.creates().any(|intent| intent.state != IntentState::Absent) {
            self.tell(case.id, case.target, "customer", "left", "the create of a customer for it is in doubt");
            return Ok(());
        }
        self.until_shown(case).await?;
        if let Some(Holder { id, gives_up: true }) = self.holder(case).await?
            && !self.order.dry_run
        {
            self.put_off(case, PutOff::Behind(id));
            return Ok(());
        }
        let Some(record) = self.engine.full_contact(case.target).await? else { return self.not_there(case).await };
        let made = case.link.as_ref().is_some_and(|link| link.origin == Origin::Created);
        self.vouched[usize::from(made)].store(true, Ordering::Relaxed);
        self.reads.store(true, Ordering::Relaxed);
        // An undo before this one was about to delete it, and here it is.
        if case.deleting && !self.order.dry_run {
            self.engine.store.write(vec![journal::not_deleted(case.id, case.target)]).await?;
        }
        if let StampReading::Of(other) = self.engine.scheme.read(&record)
            && other != case.id
            && !case.net.left_it_alone()
        {
            self.tell(case.id, case.target, "customer", "kept", "it carries the stamp of another contact now");
            return self.finish(case, false, &Parts::default()).await;
        }
        if !case.net.made {
            return self.restore(case, &record).await;
        }
        if self.order.delete_created {
            return self.delete(case, record).await;
        }
        self.mark(case, &record).await
    }

    /// A read may be a moment old: right after its run it would show what stood before that.
    async fn until_shown(&self, case: &Case) -> Result<(), RunError> {
        let (engine, settle) = (self.engine, self.engine.settings.settle);
        let Some(newest) = case.all.first() else { return Ok(()) };
        let left = newest.entry.at.later_by(settle).0 - engine.now_ms();
        if left > 0 {
            // A clock that was set back makes it wait no longer than that.
            let wait = settle.min(Duration::from_millis(left.unsigned_abs()));
            engine.pause("the run has only just written; what it wrote may not be shown yet", wait).await?;
        }
        Ok(())
    }

    /// The record answers 404.
    pub(super) async fn not_there(&self, case: &Case) -> Result<(), RunError> {
        if (case.deleting || case.net.deleted) && !self.reads.load(Ordering::Relaxed) {
            self.put_off(case, PutOff::Unvouched);
            return Ok(());
        }
        if case.deleting {
            self.count(|summary| summary.deleted += 1);
            self.tell(case.id, case.target, "customer", "deleted", "");
            return self.finish(case, true, &Parts::default()).await;
        }
        if case.net.left_it_alone() {
            return self.finish(case, true, &Parts::default()).await;
        }
        if case.net.deleted {
            let why = "it was deleted, and cannot be brought back; a backfill makes a new one";
            self.tell(case.id, case.target, "customer", "kept", why);
            // Nothing more can be done about it, and nothing before it has to wait for that. What an undo deleted stays taken back.
            let is_undo = case.all.iter().any(|row| row.undone_by == Some(self.order.of));
            if !is_undo && !self.order.dry_run {
                self.engine.store.write(vec![self.taken_back(case.id)]).await?;
            }
            return Ok(());
        }
        let made = case.link.as_ref().is_some_and(|link| link.origin == Origin::Created);
        // What a run, or a person, found gone is gone. A role may hide what others made: only a record of the same origin vouches.
        let known =
            case.link.as_ref().is_some_and(|link| link.target == case.target && link.standing == Standing::Gone);
        if !known && !self.vouched[usize::from(made)].load(Ordering::Relaxed) {
            self.put_off(case, PutOff::Unvouched);
            return Ok(());
        }
        self.count(|summary| summary.gone += 1);
        self.tell(case.id, case.target, "customer", "gone", "it is not there any more");
        self.finish(case, false, &Parts::default()).await
    }

    /// Tags a record that the run made.
    async fn mark(&self, case: &Case, record: &TargetContact) -> Result<(), RunError> {
        let keep = |why: &str| self.tell(case.id, case.target, "customer", "kept", why);
        let Some(held) = &record.tag_ids else {
            keep("it was made by the run, and does not show its tags");
            return self.finish(case, false, &Parts::default()).await;
        };
        if self.order.dry_run {
            match &self.order.tag {
                Some(_) => {
                    self.count(|summary| summary.tagged += 1);
                    self.tell(case.id, case.target, "customer", "tagged", "");
                }
                None => keep("it was made by the run"),
            }
            return self.finish(case, false, &Parts::default()).await;
        }
        let Some(tag) = self.tag().await? else {
            keep("it was made by the run, and there is no tag for it");
            return self.finish(case, false, &Parts::default()).await;
        };
        if !held.contains(&tag) {
            let sent: Vec<i64> = held.iter().copied().chain([tag]).collect();
            let write = ContactWrite { tag_ids: Some(sent), ..ContactWrite::default() };
            match self.send(case, record, write, case.link.as_ref()).await? {
                Sent::Done => {}
                Sent::Left => return Ok(()),
                Sent::Gone => return self.not_there(case).await,
            }
        }
        self.count(|summary| summary.tagged += 1);
        self.tell(case.id, case.target, "customer", "tagged", "");
        self.finish(case, false, &Parts::default()).await
    }

    /// Puts the link back as it was, and marks the rows of the run as taken back. `whole`: the record is as it was, too, so the
    /// link may say that there is nothing to do. What stays of `parts` is known as it is now.
    pub(super) async fn finish(&self, case: &Case, whole: bool, parts: &Parts) -> Result<(), RunError> {
        let (engine, id) = (self.engine, case.id);
        let mut ops = Vec::new();
        let mut was = &case.net.link;
        if let LinkWas::Link(link, _) = was
            && let Some(Holder { id: holder, gives_up: false }) = self.holder(case).await?
        {
            let why = format!("its customer is linked to contact {holder} now");
            self.tell(id, link.target, "link", "kept", &why);
            was = &LinkWas::None;
        }
        match was {
            LinkWas::Untouched => {}
            LinkWas::None => {
                if case.link.is_some() {
                    self.count(|summary| summary.unlinked += 1);
                    self.tell(id, case.target, "link", "unlinked", "");
                    ops.push(WriteOp::RemoveLink(id));
                }
            }
            LinkWas::Link(link, children) => {
                self.count(|summary| summary.relinked += 1);
                let fingerprint = link.fingerprint.filter(|_| whole);
                let base = base_of(case, link, parts, engine.store.hash_key());
                ops.push(WriteOp::PutLink(Link { fingerprint, base, run: engine.run, ..(**link).clone() }));
                // One that was to take the place of this customer never arrived, and is not wanted any more.
                ops.extend(case.creates().map(|intent| settled_by_link(intent, link)));
                let now = engine.store.children_of(id).await?;
                let place = |row: &LinkChild| (row.kind, row.key);
                let stays = |row: &&LinkChild| parts.rows.contains(&(row.kind, row.child));
                let number =
                    |row: &LinkChild| case.renumbered.get(&(row.kind, row.child)).copied().unwrap_or(row.child);
                let children: Vec<&LinkChild> =
                    children.iter().filter(|row| !parts.rows.contains(&(row.kind, number(row)))).collect();
                let kept = now.iter().filter(stays);
                let places: BTreeSet<(ChildKind, Digest)> = children.iter().copied().chain(kept).map(place).collect();
                ops.extend(now.iter().filter(|row| !places.contains(&place(row))).map(|row| WriteOp::RemoveChild {
                    livedesk_id: id,
                    kind: row.kind,
                    key: row.key,
                }));
                // What was hung on again has a number of its own by now.
                let stands = |row: &&LinkChild| now.iter().any(|other| place(other) == place(row));
                let hung = case.hung.lock().unwrap_or_else(PoisonError::into_inner).clone();
                ops.extend(children.into_iter().filter(|row| !stands(row)).map(|row| {
                    let child = hung.get(&place(row)).copied().unwrap_or_else(|| number(row));
                    WriteOp::PutChild(LinkChild { child, ..row.clone() })
                }));
            }
        }
        if self.order.dry_run {
            return Ok(());
        }
        if !ops.is_empty() {
            // A decision that led here is to be carried out again.
            if !matches!(was, LinkWas::Link(link, _) if link.target == case.target) {
                let doubt = engine.store.conflict_for(&[id]).await?.remove(&id);
                ops.extend(doubt.map(|doubt| {
                    let left_behind = doubt.left_behind;
                    WriteOp::DecisionCarried { livedesk_id: id, carried_to: None, left_behind }
                }));
            }
            let link_before = case.link_before.clone();
            ops.push(WriteOp::Journal(JournalEntry {
                link_before,
                ..engine.entry(id, case.target, action::RESTORE, WHY)
            }));
        }
        if case.net.marked {
            ops.push(WriteOp::ClearAbsence(id));
        }
        ops.push(self.taken_back(id));
        Ok(engine.store.write(ops).await?)
    }
}

/// The base of the link that is put back.
fn base_of(case: &Case, before: &Link, parts: &Parts, key: &HashKey) -> Vec<u8> {
    let now = case.link.as_ref().filter(|now| now.target == before.target && !parts.is_whole());
    let bases = now.and_then(|now| Base::decode(&now.base)).zip(Base::decode(&before.base));
    bases.map_or_else(|| before.base.clone(), |(now, was)| link::done(&now, &was, parts, key).encode())
}

/// From here on the record is not what the fingerprint of its link says.
pub(super) fn open(link: Option<&Link>) -> impl Iterator<Item = WriteOp> + use<> {
    link.map(|link| WriteOp::PutLink(Link { fingerprint: None, ..link.clone() })).into_iter()
}
