//! The tags and the company of one contact: what is sent for them, and what is told of it.
//!
//! Tags are taken on update only (notes FIRST LINE 3.7), so a record that was just made gets one more request for them. A
//! crash in between costs nothing: the fingerprint is stored last, and the next run looks again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::domain::base::Base;
use crate::domain::outcome::{SetAside, SetAsideKind};
use crate::domain::record::FieldKey;
use crate::domain::target::{ContactWrite, TargetContact, WriteValue};
use crate::store::{JournalEntry, Link, WriteOp};
use crate::sync::carry::{Job, reason, refused};
use crate::sync::companies::CompanyOutcome;
use crate::sync::decide::Authorship;
use crate::sync::decide::lists::{self, CompanyDecision, TagDecision};
use crate::sync::engine::{Engine, RunError};
use crate::sync::journal::{self, COMPANIES, TAGS, action};
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::summary::Summary;

/// Looks at a record that was just made and is not shown yet.
const LOOKS: u32 = 5;

/// What was done about the tags and the company of one contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListsDone {
    added: u64,
    removed: u64,
    tags_not_shown: bool,
    pub(super) company: Option<CompanyOutcome>,
}

impl ListsDone {
    /// Counts it.
    pub fn count_into(self, summary: &mut Summary) {
        summary.tags.added += self.added;
        summary.tags.removed += self.removed;
        summary.tags.not_shown += u64::from(self.tags_not_shown);
        if let Some(outcome) = self.company {
            summary.companies.count(outcome);
        }
    }
}

/// What is to be sent for the lists of one record.
#[derive(Debug, Default)]
pub(super) struct ListPlan {
    pub(super) tags: TagDecision,
    company_ids: Option<Vec<i64>>,
    company: Option<CompanyOutcome>,
    company_looked_at: bool,
}

impl ListPlan {
    /// Whether anything is to be sent.
    pub(super) fn writes(&self) -> bool {
        self.tags.write.is_some() || self.company_ids.is_some()
    }

    /// Whether a company is to be linked.
    pub(super) fn links_company(&self) -> bool {
        self.company_ids.is_some()
    }

    /// The write of these fields, and of the lists.
    pub(super) fn with(&self, fields: BTreeMap<FieldKey, WriteValue>) -> ContactWrite {
        ContactWrite { fields, tag_ids: self.tags.write.clone(), company_ids: self.company_ids.clone() }
    }

    /// The base before, with the tags that are about to be sent.
    pub(super) fn marked(&self, before: Option<&Base>) -> Base {
        let before = before.cloned().unwrap_or_default();
        Base { tags: lists::about_to_send(&before.tags, &self.tags.base), ..before }
    }

    /// Whether the company is still to be linked, once the record shows its companies. `before`: whether it was.
    pub(super) fn company_owed(&self, before: bool) -> bool {
        match self.company {
            Some(CompanyOutcome::NotShown) => true,
            Some(_) => false,
            None => before && !self.company_looked_at,
        }
    }

    /// Whether a refusal complains of a list that is sent.
    pub(super) fn are_named_by(&self, fields: &BTreeSet<String>) -> bool {
        let sent = [(TAGS, self.tags.write.is_some()), (COMPANIES, self.company_ids.is_some())];
        sent.iter().any(|(key, sent)| *sent && fields.iter().any(|field| field.starts_with(key)))
    }

    /// What the lists held that are written, for the journal.
    pub(super) fn before(&self, current: &TargetContact) -> impl Iterator<Item = (String, Value)> + use<> {
        let tags = self.tags.write.is_some().then(|| (TAGS.to_owned(), json!(current.tag_ids)));
        let companies = self.company_ids.is_some().then(|| (COMPANIES.to_owned(), json!(current.company_ids)));
        tags.into_iter().chain(companies)
    }

    /// What is told once it was sent.
    pub(super) fn done(&self) -> ListsDone {
        ListsDone {
            added: self.tags.added,
            removed: self.tags.removed,
            tags_not_shown: self.tags.not_shown,
            company: self.company,
        }
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Compares the lists of one record with what is wished. Sends nothing.
    pub(super) fn plan_lists(
        &self,
        job: &Job,
        before: Option<&Base>,
        tags: Option<&[i64]>,
        companies: Option<&[i64]>,
    ) -> ListPlan {
        let rule = |tag: &_| self.tags.get().and_then(|table| table.rule(tag));
        let before = before.map(|base| base.tags.clone()).unwrap_or_default();
        let tags = lists::tags(&job.record.tags, rule, tags, &before);
        let (company, company_ids) = match job.company.map(|id| lists::company(id, companies)) {
            None | Some(CompanyDecision::Linked) => (None, None),
            Some(CompanyDecision::NotShown) => (Some(CompanyOutcome::NotShown), None),
            Some(CompanyDecision::Write(ids)) => (Some(CompanyOutcome::Linked), Some(ids)),
        };
        ListPlan { tags, company_ids, company, company_looked_at: job.company.is_some() }
    }

    /// Puts its tags on a record that was just made; a reason when it could not be done.
    pub(super) async fn tag_made(
        &self,
        job: &Job,
        link: &mut Link,
        base: &mut Base,
        done: &mut ListsDone,
    ) -> Result<Option<SetAside>, RunError> {
        let Some(current) = self.look_at_made(link).await? else {
            let hidden = "FIRST LINE does not show the record that it just made, so its tags wait for a later run";
            return Ok(Some(reason(SetAsideKind::Unproven, Some(TAGS), Some(404), hidden)));
        };
        // Nobody has worked on it yet: what it does not show it does not have.
        let held = current.tag_ids.clone().unwrap_or_default();
        let plan = self.plan_lists(job, Some(base), Some(&held), None);
        let marked = plan.marked(Some(base));
        let untouched = base.encode();
        base.tags = plan.tags.base;
        if let Some(ids) = plan.tags.write {
            link.base = marked.encode();
            let entry = JournalEntry {
                before: json!({ TAGS: current.tag_ids }).to_string(),
                after: Some(json!({ TAGS: journal::list_change(&held, &ids) }).to_string()),
                ..self.entry(job.contact.id, link.target, action::UPDATE, "tags of a new contact")
            };
            self.store.write(vec![WriteOp::PutLink(link.clone()), WriteOp::Journal(entry)]).await?;
            // What the create linked goes along, where the record does not show it: lists alone may be reset, too.
            let company_ids = job.company.filter(|_| current.company_ids.is_none()).map(|id| vec![id]);
            let write = ContactWrite { tag_ids: Some(ids), company_ids, ..ContactWrite::default() };
            match self.send_update(job.contact.id, &current, write, Authorship::Ours).await {
                Ok(()) => {}
                Err(RunError::Port(PortError::Refused { status, fields })) => {
                    // Nothing of it was applied, so no tag is ours.
                    link.base = untouched;
                    self.store.write(vec![WriteOp::PutLink(link.clone())]).await?;
                    return Ok(Some(refused(SetAsideKind::Refused, &fields, status)));
                }
                Err(RunError::Port(PortError::NotFound)) => {
                    let gone = "the record vanished before it had its tags; the next run looks again";
                    return Ok(Some(reason(SetAsideKind::Unproven, None, Some(404), gone)));
                }
                Err(error) => return Err(error),
            }
            done.added += plan.tags.added;
        }
        Ok(None)
    }

    /// Reads may lag behind writes.
    async fn look_at_made(&self, link: &Link) -> Result<Option<TargetContact>, RunError> {
        for look in 0..LOOKS {
            if look > 0 {
                self.pause("FIRST LINE does not show a record yet that it just made", self.settings.settle).await?;
            }
            if let Some(record) = self.full_contact(link.target).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}
