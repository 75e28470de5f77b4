//! One contact of a run that is taken back: read, reckon, write what may be written, put the link back.
//!
//! Crash before the first commit: nothing happened. Later: the rows of the run stand, so the next undo reads the record
//! and goes through the same steps; what is as it was before the run is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::Undo;
use super::net::{self, LinkWas, NOT_SHOWN, Net};
use crate::domain::base::value_digest;
use crate::domain::hash::Digest;
use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId};
use crate::domain::record::{canonical_current, is_blank};
use crate::domain::target::{ContactWrite, TargetContact, WriteValue};
use crate::store::{ChildKind, JournalEntry, Journalled, Link, LinkChild, Origin, WriteOp};
use crate::sync::absence::authorship;
use crate::sync::decide::kind_of;
use crate::sync::engine::RunError;
use crate::sync::journal::{self, COMPANIES, TAGS, action};
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::stamp::StampReading;
use crate::sync::trial::written_back;

/// Why this is done, in the journal.
pub(super) const WHY: &str = "a run was taken back";

/// One contact of the run.
pub(super) struct Case<'a> {
    /// Its newest row.
    pub(super) row: i64,
    pub(super) id: LiveDeskId,
    pub(super) target: FirstLineId,
    pub(super) net: Net,
    /// The link as it is now.
    pub(super) link: Option<Link>,
    /// The same, for the journal.
    pub(super) link_before: Option<String>,
    /// Rows that were removed and hung on again since: their numbers now.
    pub(super) renumbered: BTreeMap<(ChildKind, ChildId), ChildId>,
    /// Rows that this undo, or one before it that died, hung on again: their numbers.
    pub(super) hung: Mutex<BTreeMap<(ChildKind, Digest), ChildId>>,
    /// Whether its deletion may have been sent already.
    pub(super) deleting: bool,
    /// Everything that was ever done with it, newest first.
    pub(super) all: &'a [Journalled],
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
    pub(super) async fn take_back(&self, case: &Case<'_>) -> Result<(), RunError> {
        let Some(record) = self.engine.full_contact(case.target).await? else { return self.not_there(case).await };
        let made = case.link.as_ref().is_some_and(|link| link.origin == Origin::Created);
        self.vouched[usize::from(made)].store(true, Ordering::Relaxed);
        if let StampReading::Of(other) = self.engine.scheme.read(&record)
            && other != case.id
        {
            self.tell(case.id, case.target, "customer", "kept", "it carries the stamp of another contact now");
            return self.finish(case, false).await;
        }
        if !case.net.made {
            return self.restore(case, &record).await;
        }
        if self.order.delete_created {
            return self.delete(case, record).await;
        }
        self.mark(case, &record).await
    }

    /// The record answers 404.
    async fn not_there(&self, case: &Case<'_>) -> Result<(), RunError> {
        if case.deleting {
            self.count(|summary| summary.deleted += 1);
            self.tell(case.id, case.target, "customer", "deleted", "");
            return self.finish(case, true).await;
        }
        if case.net.deleted {
            let why = "it was deleted, and cannot be brought back; a backfill makes a new one";
            self.tell(case.id, case.target, "customer", "kept", why);
            return Ok(());
        }
        let made = case.link.as_ref().is_some_and(|link| link.origin == Origin::Created);
        // A role may hide what others made: only a record of the same origin vouches.
        if !self.vouched[usize::from(made)].load(Ordering::Relaxed) {
            self.unvouched.lock().unwrap_or_else(PoisonError::into_inner).push((case.row, case.id));
            return Ok(());
        }
        self.count(|summary| summary.gone += 1);
        self.tell(case.id, case.target, "customer", "gone", "it is not there any more");
        self.finish(case, false).await
    }

    /// Tags a record that the run made.
    async fn mark(&self, case: &Case<'_>, record: &TargetContact) -> Result<(), RunError> {
        let keep = |why: &str| self.tell(case.id, case.target, "customer", "kept", why);
        let Some(held) = &record.tag_ids else {
            keep("it was made by the run, and does not show its tags");
            return self.finish(case, false).await;
        };
        if self.order.dry_run {
            match &self.order.tag {
                Some(_) => {
                    self.count(|summary| summary.tagged += 1);
                    self.tell(case.id, case.target, "customer", "tagged", "");
                }
                None => keep("it was made by the run"),
            }
            return self.finish(case, false).await;
        }
        let Some(tag) = self.tag().await? else {
            keep("it was made by the run, and there is no tag for it");
            return self.finish(case, false).await;
        };
        if !held.contains(&tag) {
            let sent: Vec<i64> = held.iter().copied().chain([tag]).collect();
            let write = ContactWrite { tag_ids: Some(sent), ..ContactWrite::default() };
            match self.send(case, record, write).await? {
                Sent::Done => {}
                Sent::Left => return self.leave(case).await,
                Sent::Gone => return self.not_there(case).await,
            }
        }
        self.count(|summary| summary.tagged += 1);
        self.tell(case.id, case.target, "customer", "tagged", "");
        self.finish(case, false).await
    }

    /// Writes back what the run wrote over, on a record that was there before it.
    async fn restore(&self, case: &Case<'_>, record: &TargetContact) -> Result<(), RunError> {
        let engine = self.engine;
        let (mut write, mut parts, mut whole) = (ContactWrite::default(), Vec::new(), true);
        let mut keep = |part: &str, why: &str| {
            whole = false;
            self.tell(case.id, case.target, part, "kept", why);
        };
        for (field, steps) in &case.net.fields {
            let kind = kind_of(&engine.kinds, *field);
            let key = engine.store.hash_key();
            let digest = |value: &Value| value_digest(key, canonical_current(kind, value).as_deref());
            let (back, why) = net::field(steps, record.value(*field), digest);
            if let Some(why) = why {
                keep(&field.to_string(), why);
            }
            match back {
                Some(back) if is_blank(&back) && !engine.settings.clears => {
                    keep(&field.to_string(), "it was empty, and firstline.clear_form says that nothing is cleared");
                }
                Some(back) => {
                    let value = if is_blank(&back) { WriteValue::Clear } else { written_back(kind, &back) };
                    write.fields.insert(*field, value);
                    parts.push(field.to_string());
                }
                None => {}
            }
        }
        for (name, steps, held, sent) in [
            (TAGS, &case.net.tags, &record.tag_ids, &mut write.tag_ids),
            (COMPANIES, &case.net.companies, &record.company_ids, &mut write.company_ids),
        ] {
            match held {
                _ if steps.is_empty() => {}
                None => keep(name, NOT_SHOWN),
                Some(held) => {
                    *sent = net::list(steps, held);
                    parts.extend(sent.is_some().then(|| name.to_owned()));
                }
            }
        }
        let (tasks, rows_whole) = self.rows(case, record);
        whole &= rows_whole;
        if !parts.is_empty() && !self.order.dry_run {
            match self.send(case, record, write).await? {
                Sent::Done => {}
                Sent::Left => return self.leave(case).await,
                Sent::Gone => return self.not_there(case).await,
            }
        }
        for part in parts {
            self.count(|summary| summary.restored += 1);
            self.tell(case.id, case.target, &part, "restored", "");
        }
        if self.send_rows(case, record, tasks).await? == Sent::Left {
            return self.leave(case).await;
        }
        self.finish(case, whole).await
    }

    /// Writes to the record, after the journal.
    async fn send(&self, case: &Case<'_>, record: &TargetContact, write: ContactWrite) -> Result<Sent, RunError> {
        let engine = self.engine;
        let mut before: Map<String, Value> = (write.fields.keys())
            .filter_map(|field| Some((field.to_string(), record.value(*field)?.clone())))
            .collect();
        before.extend(write.tag_ids.is_some().then(|| (TAGS.to_owned(), json!(record.tag_ids))));
        before.extend(write.company_ids.is_some().then(|| (COMPANIES.to_owned(), json!(record.company_ids))));
        let held = (record.tag_ids.as_deref(), record.company_ids.as_deref());
        let after = journal::written(&write, held, &engine.kinds, engine.store.hash_key());
        let entry = JournalEntry {
            before: Value::Object(before).to_string(),
            after: Some(Value::Object(after).to_string()),
            link_before: case.link_before.clone(),
            ..engine.entry(case.id, case.target, action::UPDATE, WHY)
        };
        let ops = [WriteOp::Journal(entry)].into_iter().chain(open(case));
        engine.store.write(ops.collect()).await?;
        let authorship = authorship(case.link.as_ref().map_or(Origin::Adopted, |link| link.origin));
        match engine.send_update(case.id, record, write, authorship).await {
            Ok(()) => Ok(Sent::Done),
            Err(RunError::Port(PortError::NotFound)) => Ok(Sent::Gone),
            Err(RunError::Port(PortError::Refused { status, .. })) => {
                self.tell(case.id, case.target, "customer", "left", &format!("refused with status {status}"));
                Ok(Sent::Left)
            }
            Err(error) => Err(error),
        }
    }

    /// It is to be tried again: its rows stand, and its link says that nothing is settled.
    pub(super) async fn leave(&self, case: &Case<'_>) -> Result<(), RunError> {
        if self.order.dry_run {
            return Ok(());
        }
        Ok(self.engine.store.write(open(case).collect()).await?)
    }

    /// Puts the link back as it was, and marks the rows of the run as taken back. `whole`: the record is as it was, too, so the
    /// link may say that there is nothing to do.
    pub(super) async fn finish(&self, case: &Case<'_>, whole: bool) -> Result<(), RunError> {
        let (engine, id) = (self.engine, case.id);
        let mut ops = Vec::new();
        let mut was = &case.net.link;
        if let LinkWas::Link(link, _) = was
            && let Some(holder) = engine.store.source_of(&[link.target]).await?.get(&link.target)
            && *holder != id
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
                ops.push(WriteOp::PutLink(Link { fingerprint, run: engine.run, ..(**link).clone() }));
                let now = engine.store.children_of(id).await?;
                let place = |row: &LinkChild| (row.kind, row.key);
                let places: BTreeSet<(ChildKind, Digest)> = children.iter().map(place).collect();
                ops.extend(now.iter().filter(|row| !places.contains(&place(row))).map(|row| WriteOp::RemoveChild {
                    livedesk_id: id,
                    kind: row.kind,
                    key: row.key,
                }));
                // What was hung on again has a number of its own by now.
                let stands = |row: &&LinkChild| now.iter().any(|other| place(other) == place(row));
                let hung = case.hung.lock().unwrap_or_else(PoisonError::into_inner).clone();
                ops.extend(children.iter().filter(|row| !stands(row)).map(|row| {
                    let other = hung.get(&place(row)).or_else(|| case.renumbered.get(&(row.kind, row.child)));
                    WriteOp::PutChild(LinkChild { child: other.copied().unwrap_or(row.child), ..row.clone() })
                }));
            }
        }
        if self.order.dry_run {
            return Ok(());
        }
        if !ops.is_empty() {
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

/// From here on the record is not what its fingerprint says.
pub(super) fn open(case: &Case<'_>) -> impl Iterator<Item = WriteOp> + use<> {
    case.link.clone().map(|link| WriteOp::PutLink(Link { fingerprint: None, ..link })).into_iter()
}
