//! The deletion of a record that the run made: the third and last place that deletes a record (docs/adr/0013).
//!
//! Only one that this program made for this contact, that carries its stamp, and that is exactly as it was left: every field,
//! e-mail, phone, tag and company that FIRST LINE shows. What cannot be compared counts as changed.

use serde_json::Value;

use super::Undo;
use super::contact::{Case, WHY, open};
use super::link::Parts;
use super::net::{self, Net};
use crate::domain::base::Base;
use crate::domain::target::TargetContact;
use crate::store::{JournalEntry, Origin, Standing, WriteOp};
use crate::sync::absence::whole;
use crate::sync::carry::is_refused_by;
use crate::sync::engine::RunError;
use crate::sync::journal::{self, action};
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::stamp::StampReading;

impl<T: ContactTarget> Undo<'_, T> {
    /// Deletes it, if it is as it was left. Crash between the journal and the end: the next undo finds the row, and a record
    /// that is not there then counts as deleted.
    pub(super) async fn delete(&self, case: &Case, record: TargetContact) -> Result<(), RunError> {
        let engine = self.engine;
        if let Some(what) = self.changed(case, &record).await? {
            let why = match what.strip_suffix(" not shown") {
                Some(part) => {
                    format!("made by the run, and could not be compared: FIRST LINE does not show its {part}")
                }
                None => format!("made by the run, and changed since: {what}"),
            };
            self.tell(case.id, case.target, "customer", "kept", &why);
            return self.finish(case, false, &Parts::default()).await;
        }
        if self.order.dry_run {
            self.count(|summary| summary.deleted += 1);
            self.tell(case.id, case.target, "customer", "deleted", "");
            return self.finish(case, true, &Parts::default()).await;
        }
        let entry = JournalEntry {
            before: Value::Object(whole(&record)).to_string(),
            link_before: case.link_before.clone(),
            ..engine.entry(case.id, case.target, action::DELETE, WHY)
        };
        engine.store.write([WriteOp::Journal(entry)].into_iter().chain(open(case.link.as_ref())).collect()).await?;
        match engine.target.delete_contact(case.target).await {
            Ok(()) | Err(PortError::NotFound) => {}
            Err(PortError::Refused { status, .. }) => {
                let why = format!("its deletion is refused with status {status}");
                self.tell(case.id, case.target, "customer", "left", &why);
                if !is_refused_by(status) {
                    return Ok(());
                }
                // It is as it was, and nothing says otherwise.
                let none = journal::not_deleted(case.id, case.target);
                let link = case.link.clone().map(WriteOp::PutLink);
                return Ok(engine.store.write([none].into_iter().chain(link).collect()).await?);
            }
            Err(error) => return Err(error.into()),
        }
        if !engine.is_deleted(case.target).await? {
            self.tell(case.id, case.target, "customer", "left", "its deletion was accepted, and it is still there");
            return Ok(());
        }
        self.count(|summary| summary.deleted += 1);
        self.tell(case.id, case.target, "customer", "deleted", "");
        self.finish(case, true, &Parts::default()).await
    }

    /// What is not as it was left: a stable word.
    async fn changed(&self, case: &Case, record: &TargetContact) -> Result<Option<String>, RunError> {
        let engine = self.engine;
        let found = |what: &str| Ok(Some(what.to_owned()));
        let Some(link) = &case.link else { return found("it has no link") };
        if link.target != case.target || link.origin != Origin::Created || link.standing != Standing::Live {
            return found("it is linked otherwise");
        }
        if engine.scheme.read(record) != StampReading::Of(case.id) {
            return found("its stamp");
        }
        let Some(base) = Base::decode(&link.base) else { return found("nothing is known of it") };
        let rows = case.all.iter().map(|row| &row.entry).filter(|entry| entry.target == case.target);
        let Some(Net { tags, companies, .. }) = net::net(case.id, rows) else { return found("its journal") };
        // The journal knows every tag and company that was put there, by its id; the rest is held against the base.
        let mut record = record.clone();
        let put = net::put_there(tags.iter());
        if let Some(held) = &mut record.tag_ids {
            if !put.iter().all(|id| held.contains(id)) {
                return found("tags");
            }
            held.retain(|id| !put.contains(id));
        }
        let put = net::put_there(companies.iter());
        if let Some(held) = &mut record.company_ids {
            if !put.iter().all(|id| held.contains(id)) {
                return found("companies");
            }
            held.retain(|id| !put.contains(id));
        }
        let base = Base { tags: std::collections::BTreeMap::new(), ..base };
        engine.changed_since_left(link, &base, &record, (None, None)).await
    }
}
