//! What the run wrote over goes back, on a record that was there before it: fields, lists, and rows (in `rows`).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Undo;
use super::contact::{Case, Sent, WHY, open};
use super::link::{self, Parts, Way};
use super::net::{self, LinkWas, NOT_SHOWN};
use crate::domain::base::{Base, value_digest};
use crate::domain::record::{FieldKey, canonical_current, is_blank};
use crate::domain::target::{ContactWrite, TargetContact, WriteValue};
use crate::store::{Absence, JournalEntry, Link, Mark, Origin, WriteOp};
use crate::sync::absence::authorship;
use crate::sync::decide::kind_of;
use crate::sync::engine::RunError;
use crate::sync::journal::{self, COMPANIES, TAGS, action};
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::trial::written_back;

/// Why a part stays although it was sent.
const NOT_TAKEN: &str = "FIRST LINE answered that it was done, and shows another value";
/// Why nobody knows whether it stays.
const NOT_SEEN: &str =
    "FIRST LINE answered that it was done, and still shows what stood there before: look at it later";

impl<T: ContactTarget> Undo<'_, T> {
    /// Writes back what the run wrote over, on a record that was there before it.
    pub(super) async fn restore(&self, case: &Case, record: &TargetContact) -> Result<(), RunError> {
        let engine = self.engine;
        let (mut write, mut names, mut parts) = (ContactWrite::default(), Vec::new(), Parts::default());
        // Told at the end: a record that has to wait is read again.
        let mut stays: Vec<(String, &'static str)> = Vec::new();
        let mut unconfirmed = Vec::new();
        let key = engine.store.hash_key();
        for (field, steps) in &case.net.fields {
            let kind = kind_of(&engine.kinds, *field);
            let digest = |value: &Value| value_digest(key, canonical_current(kind, value).as_deref());
            let (back, mut why) = net::field(steps, record.value(*field), digest);
            match back {
                Some(back) if is_blank(&back) && !engine.settings.clears => {
                    why = Some("it was empty, and firstline.clear_form says that nothing is cleared");
                }
                Some(back) => {
                    parts.back.insert(*field, digest(&back));
                    let value = if is_blank(&back) { WriteValue::Clear } else { written_back(kind, &back) };
                    write.fields.insert(*field, value);
                    names.push(field.to_string());
                }
                None => {}
            }
            if let Some(why) = why {
                parts.kept.insert(*field);
                stays.push((field.to_string(), why));
            }
        }
        for (name, steps, held, sent, way) in [
            (TAGS, &case.net.tags, &record.tag_ids, &mut write.tag_ids, &mut parts.tags),
            (COMPANIES, &case.net.companies, &record.company_ids, &mut write.company_ids, &mut parts.companies),
        ] {
            match held {
                _ if steps.is_empty() => {}
                None => {
                    *way = Some(Way::Stays);
                    stays.push((name.to_owned(), NOT_SHOWN));
                }
                Some(held) => {
                    *way = Some(Way::Back);
                    *sent = net::list(steps, held);
                    names.extend(sent.is_some().then(|| name.to_owned()));
                }
            }
        }
        if case.net.unmarked {
            let why = "it says that its contact is gone from LiveDesk: a sweep puts it on again where that is so";
            stays.push((String::from("mark"), why));
        }
        let (tasks, kept) = self.rows(case, record, &mut parts);
        stays.extend(kept.into_iter().map(|(name, why)| (name.to_owned(), why)));
        let opened = self.half(case, &parts);
        if !names.is_empty() && !self.order.dry_run {
            match self.send(case, record, write.clone(), opened.as_ref()).await? {
                Sent::Done => {}
                Sent::Left => return Ok(()),
                Sent::Gone => return self.not_there(case).await,
            }
            for (name, is_as_before) in self.not_taken(case, record, &write, &mut parts).await? {
                names.retain(|sent| *sent != name);
                if is_as_before {
                    unconfirmed.push(name);
                } else {
                    stays.push((name, NOT_TAKEN));
                }
            }
        }
        for name in names {
            self.count(|summary| summary.restored += 1);
            self.tell(case.id, case.target, &name, "restored", "");
        }
        if self.send_rows(case, record, tasks, opened.as_ref()).await? == Sent::Left {
            return Ok(());
        }
        for (name, why) in stays {
            self.tell(case.id, case.target, &name, "kept", why);
        }
        for name in unconfirmed {
            self.tell(case.id, case.target, &name, "unconfirmed", NOT_SEEN);
        }
        self.finish(case, parts.is_whole(), &parts).await
    }

    /// What the record does not hold after a write that was answered as done (notes FIRST LINE 3.7: the tags of an update may be
    /// added to those that are there), and of each whether it shows what it held before. What is not shown is believed.
    async fn not_taken(
        &self,
        case: &Case,
        record: &TargetContact,
        sent: &ContactWrite,
        parts: &mut Parts,
    ) -> Result<Vec<(String, bool)>, RunError> {
        let engine = self.engine;
        let mut names = self.differing(case, record, sent, parts).await?;
        if !names.is_empty() {
            // A read may be a moment old.
            engine.pause("FIRST LINE does not show yet what was put back", engine.settings.settle).await?;
            names = self.differing(case, record, sent, parts).await?;
        }
        for (name, _) in &names {
            match name.as_str() {
                TAGS => parts.tags = Some(Way::Unconfirmed),
                COMPANIES => parts.companies = Some(Way::Unconfirmed),
                _ => parts.unconfirmed.extend(FieldKey::parse(name)),
            }
        }
        Ok(names)
    }

    /// The parts of a write that the record shows with another value, and whether that is the one of the `record` before.
    async fn differing(
        &self,
        case: &Case,
        record: &TargetContact,
        sent: &ContactWrite,
        parts: &Parts,
    ) -> Result<Vec<(String, bool)>, RunError> {
        let engine = self.engine;
        let Some(now) = engine.full_contact(case.target).await? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for field in sent.fields.keys() {
            let kind = kind_of(&engine.kinds, *field);
            let digest = |record: &TargetContact| {
                let held = record.value(*field)?;
                Some(value_digest(engine.store.hash_key(), canonical_current(kind, held).as_deref()))
            };
            let holds = digest(&now);
            if holds.is_some() && parts.back.get(field).is_some_and(|back| Some(*back) != holds) {
                names.push((field.to_string(), holds == digest(record)));
            }
        }
        for (name, sent, held, before) in [
            (TAGS, &sent.tag_ids, &now.tag_ids, &record.tag_ids),
            (COMPANIES, &sent.company_ids, &now.company_ids, &record.company_ids),
        ] {
            let ids = |list: &Option<Vec<i64>>| list.iter().flatten().copied().collect::<BTreeSet<i64>>();
            if sent.is_some() && held.is_some() && ids(sent) != ids(held) {
                names.push((name.to_owned(), ids(held) == ids(before)));
            }
        }
        Ok(names)
    }

    /// The link from the first request to the last.
    fn half(&self, case: &Case, parts: &Parts) -> Option<Link> {
        let link = case.link.as_ref()?;
        let before = match &case.net.link {
            LinkWas::Link(before, _) if before.target == case.target => Base::decode(&before.base),
            LinkWas::Link(..) | LinkWas::Untouched => return Some(link.clone()),
            LinkWas::None => None,
        };
        let now = Base::decode(&link.base).filter(|_| link.target == case.target);
        let Some(now) = now else { return Some(link.clone()) };
        let base = link::half(&now, &before.unwrap_or_default(), parts, self.engine.store.hash_key()).encode();
        Some(Link { base, ..link.clone() })
    }

    /// Writes to the record, after the journal. `link` is what holds while it is under way.
    pub(super) async fn send(
        &self,
        case: &Case,
        record: &TargetContact,
        write: ContactWrite,
        link: Option<&Link>,
    ) -> Result<Sent, RunError> {
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
        let mut ops: Vec<WriteOp> = [WriteOp::Journal(entry)].into_iter().chain(open(link)).collect();
        // Should this end in between, the next sweep puts the mark on again or finds it there, and knows it for ours.
        if case.net.marked
            && let Some(absence) = engine.store.absence_of(case.id).await?
            && absence.mark == Mark::Ours
        {
            ops.push(WriteOp::PutAbsence(Absence { mark: Mark::Putting, run: engine.run, ..absence }));
        }
        engine.store.write(ops).await?;
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
}
