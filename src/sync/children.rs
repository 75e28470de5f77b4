//! E-mails and phones: rows of their own at FIRST LINE, hung on a contact after it exists.
//!
//! A child create obeys the same rule as a contact create: its intent is committed first, and a doubtful one is read
//! back through the contact, never resent within the doubt horizon. Rows are changed and removed only where this program
//! made them and the list's owner is the source; what they held goes into the journal first.

mod send;
mod steps;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::domain::base::{Base, open_list};
use crate::domain::hash::{Digest, HashKey};
use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId};
use crate::domain::outcome::{SetAside, SetAsideKind};
use crate::domain::phone;
use crate::domain::record::{DesiredRecord, Owner, canonical_email};
use crate::domain::target::TargetContact;
use crate::store::{ChildKind, Intent, IntentKind, IntentState, JournalEntry, LinkChild, WriteOp};
use crate::sync::carry::{Job, reason};
use crate::sync::decide::{self, Authorship, ChildDecision, CurrentChild};
use crate::sync::engine::Engine;
use crate::sync::journal::{ChildrenAfter, action};
use crate::sync::ports::{ContactTarget, PortError};

/// What is to be sent for the children of one contact.
#[derive(Debug, Default)]
pub struct ChildPlan {
    tasks: Vec<ChildTask>,
    /// What the state is to know whether anything is sent or not.
    rows: Vec<WriteOp>,
    /// What the rows held that are to be changed or removed.
    before: Map<String, Value>,
    /// What becomes of those.
    after: ChildrenAfter,
    /// The link before, where no earlier row of the journal has it.
    link_before: Option<String>,
    /// Lists in which what is new was never looked for.
    unsought: Vec<ChildKind>,
    /// Lists of which both sides changed a row.
    pub both_changed: Vec<ChildKind>,
    /// Rows that stay as FIRST LINE has them.
    pub kept: u64,
}

#[derive(Debug)]
struct ChildTask {
    kind: ChildKind,
    /// Its place in the wished list; of a removal, behind its end.
    place: usize,
    key: Digest,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Add(Intent),
    Change { child: ChildId, from: Digest },
    Remove(ChildId),
}

/// A contact's children as they stand, and what is known of how they came to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family<'a> {
    /// The record.
    pub(super) target: FirstLineId,
    /// The record as it was read; `None` when it was created just now.
    pub(super) current: Option<&'a TargetContact>,
    /// The rows that this program made.
    pub(super) ours: &'a [LinkChild],
    /// Who made the record.
    pub(super) authorship: Authorship,
    /// What was last settled.
    pub(super) before: Option<&'a Base>,
    /// Whether the lists' lines are those that made the rows: only then is what is missing gone at the source.
    pub(super) same_lines: bool,
    /// The record was created and its children were never settled: creation goes on.
    pub(super) unfinished: bool,
}

impl ChildPlan {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// What is to be committed before anything is sent: intents, the before-image, and which rows are ours no more.
    pub(super) fn opening(
        &mut self,
        journal: impl FnOnce(Map<String, Value>, &ChildrenAfter) -> JournalEntry,
    ) -> Vec<WriteOp> {
        let mut ops = std::mem::take(&mut self.rows);
        ops.extend(self.tasks.iter().filter_map(|task| match &task.step {
            Step::Add(intent) => Some(WriteOp::OpenIntent(intent.clone())),
            Step::Change { .. } | Step::Remove(_) => None,
        }));
        if !self.after.is_empty() {
            let entry = journal(std::mem::take(&mut self.before), &self.after);
            ops.push(WriteOp::Journal(JournalEntry { link_before: self.link_before.clone(), ..entry }));
        }
        ops
    }

    /// What the journal says of the link in the rows of this plan.
    pub(super) fn with_link_before(mut self, link_before: Option<String>) -> Self {
        self.link_before = link_before;
        self
    }

    /// The base while this is sent: a list that is half changed is as no wish left it, so that even the one before is compared
    /// with what is there.
    pub(super) fn opened(&self, base: &Base, key: &HashKey) -> Base {
        let open =
            |kind, settled: Option<Digest>| if self.writes(kind) { settled.and(Some(open_list(key))) } else { settled };
        let (emails, phones) = (open(ChildKind::Email, base.emails), open(ChildKind::Phone, base.phones));
        Base { emails, phones, ..base.clone() }
    }

    /// Whether anything of this list is sent.
    pub(super) fn writes(&self, kind: ChildKind) -> bool {
        self.tasks.iter().any(|task| task.kind == kind)
    }

    /// Places in the wished list of what is new at the target and was never looked for.
    pub(super) fn new_places(&self, kind: ChildKind) -> Vec<usize> {
        if !self.unsought.contains(&kind) {
            return Vec::new();
        }
        let new = self.tasks.iter().filter(|task| task.kind == kind && !matches!(task.step, Step::Remove(_)));
        new.map(|task| task.place).collect()
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Compares the wished children with what is there. Pure but for the intents' numbers.
    pub(super) fn plan_children(&self, job: &Job, family: Family<'_>) -> Result<ChildPlan, SetAside> {
        let mut plan = ChildPlan::default();
        for kind in [ChildKind::Email, ChildKind::Phone] {
            let (wished, settled, owner) = match kind {
                ChildKind::Email => {
                    (job.digests.emails, family.before.and_then(|before| before.emails), job.record.emails.owner)
                }
                ChildKind::Phone => {
                    (job.digests.phones, family.before.and_then(|before| before.phones), job.record.phones.owner)
                }
            };
            // Not looked at in this run, or not changed at the source since it was settled: what agents made of it stays.
            if wished.is_none() || wished == settled {
                continue;
            }
            // The keys of a contact that is new were looked for when it was resolved; of one that was there, only the key
            // that led to it.
            plan.unsought.extend((family.current.is_some() && !family.unfinished).then_some(kind));
            // Adding a child overwrites nothing: on a record that is not ours the list is united with ours.
            let owner = owner.unwrap_or(match family.authorship {
                Authorship::Ours => Owner::Source,
                Authorship::Theirs => Owner::Union,
            });
            // "Never after creation" means: at creation, yes.
            let creation = family.current.is_none() || (family.unfinished && settled.is_none());
            let owner = if creation && owner != Owner::Union { Owner::Source } else { owner };
            let held = match family.current {
                None => Vec::new(),
                Some(current) => self.current_children(current, kind).ok_or_else(|| {
                    let why = "its list of e-mails or phones in FIRST LINE could not be read completely";
                    reason(SetAsideKind::Unproven, Some(list_name(kind)), None, why)
                })?,
            };
            let of_kind = family.ours.iter().filter(|child| child.kind == kind);
            let ours: Vec<(Digest, ChildId)> = of_kind.map(|child| (child.key, child.child)).collect();
            let keys = self.wished_keys(&job.record, kind);
            let decision = decide::children(&keys, &held, &ours, owner, family.same_lines);
            self.note(&mut plan, job, family, (kind, &keys, &ours), decision);
        }
        Ok(plan)
    }

    /// Turns the decision on one list into tasks and rows.
    fn note(
        &self,
        plan: &mut ChildPlan,
        job: &Job,
        family: Family<'_>,
        (kind, keys, ours): (ChildKind, &[Digest], &[(Digest, ChildId)]),
        decision: ChildDecision,
    ) {
        let livedesk_id = job.contact.id;
        let ChildDecision { add, change, remove, renamed, forget, kept, both_changed, present: _ } = decision;
        let made_with = |child: ChildId| ours.iter().find(|(_, id)| *id == child).map(|(key, _)| *key);
        for place in add {
            let intent = self.child_intent(job, kind, keys[place], family.target);
            plan.tasks.push(ChildTask { kind, place, key: keys[place], step: Step::Add(intent) });
        }
        let mut touched = Vec::new();
        for (child, place) in change {
            let from = made_with(child).unwrap_or(keys[place]);
            touched.push(child);
            plan.after.change(kind, child, keys[place]);
            plan.tasks.push(ChildTask { kind, place, key: keys[place], step: Step::Change { child, from } });
        }
        plan.kept += kept;
        for child in remove {
            let Some(key) = made_with(child) else { continue };
            if self.settings.clears {
                touched.push(child);
                plan.after.remove(kind, child);
                plan.tasks.push(ChildTask { kind, place: keys.len(), key, step: Step::Remove(child) });
            } else {
                plan.kept += 1;
            }
        }
        plan.both_changed.extend(both_changed.then_some(kind));
        plan.rows.extend(forget.into_iter().map(|key| WriteOp::RemoveChild { livedesk_id, kind, key }));
        for (from, key, child) in renamed {
            plan.rows.push(WriteOp::RemoveChild { livedesk_id, kind, key: from });
            plan.rows.push(WriteOp::PutChild(LinkChild { livedesk_id, kind, key, child }));
        }
        let images = family.current.map(|current| images(current, kind, &touched)).unwrap_or_default();
        if !images.is_empty() {
            plan.before.insert(list_name(kind).to_owned(), Value::Array(images));
        }
    }

    /// The before-image of rows that are about to be changed or removed.
    pub(super) fn children_image(
        &self,
        id: LiveDeskId,
        target: FirstLineId,
        rows: Map<String, Value>,
        after: &ChildrenAfter,
    ) -> JournalEntry {
        JournalEntry {
            before: Value::Object(rows).to_string(),
            after: Some(after.json().to_string()),
            ..self.entry(id, target, action::CHILDREN, "source changed")
        }
    }

    /// Looks for a child through the contact itself. A list that was not read to its end says nothing: `Refused`.
    pub(super) async fn find_child(
        &self,
        target: FirstLineId,
        kind: ChildKind,
        key: Digest,
    ) -> Result<Option<ChildId>, PortError> {
        let Some(contact) = self.full_contact(target).await? else { return Ok(None) };
        let unread = || PortError::Refused { status: 0, fields: BTreeSet::new() };
        let held = self.current_children(&contact, kind).ok_or_else(unread)?;
        Ok(held.into_iter().find(|child| child.key == key).map(|child| child.id))
    }

    /// What hangs on the contact; `None` when that could not be read completely.
    pub(super) fn current_children(&self, contact: &TargetContact, kind: ChildKind) -> Option<Vec<CurrentChild>> {
        Some(match kind {
            ChildKind::Email => {
                let rows = contact.emails.as_ref()?.iter();
                let key = |address: &str| self.email_digest(&canonical_email(address));
                rows.map(|row| CurrentChild { id: row.id, key: key(&row.address) }).collect()
            }
            ChildKind::Phone => {
                let rows = contact.phones.as_ref()?.iter();
                let key = |number: &str| self.phone_digest(&phone::canonical(number, self.settings.phone_country));
                rows.map(|row| CurrentChild { id: row.id, key: key(&row.number) }).collect()
            }
        })
    }

    /// The digests of the wished children, in the order of the list.
    pub(super) fn wished_keys(&self, record: &DesiredRecord, kind: ChildKind) -> Vec<Digest> {
        match kind {
            ChildKind::Email => {
                record.emails.items().iter().map(|email| self.email_digest(&email.canonical())).collect()
            }
            ChildKind::Phone => record
                .phones
                .items()
                .iter()
                .map(|wished| self.phone_digest(&phone::canonical(&wished.number, self.settings.phone_country)))
                .collect(),
        }
    }

    fn child_intent(&self, job: &Job, kind: ChildKind, key: Digest, target: FirstLineId) -> Intent {
        Intent {
            seq: self.store.next_intent_seq(),
            livedesk_id: job.contact.id,
            kind: match kind {
                ChildKind::Email => IntentKind::Email,
                ChildKind::Phone => IntentKind::Phone,
            },
            stamp: self.scheme.text(job.contact.id),
            key: Some(key),
            target: Some(target),
            high_water: 0,
            opened_at: self.clock.now(),
            parked_at: None,
            state: IntentState::Open,
            recreated: false,
            base: Vec::new(),
        }
    }
}

/// The rows of a contact as they were read.
pub(super) fn images(current: &TargetContact, kind: ChildKind, ids: &[ChildId]) -> Vec<Value> {
    match kind {
        ChildKind::Email => {
            let rows = current.emails.iter().flatten().filter(|row| ids.contains(&row.id));
            rows.map(|row| json!({ "id": row.id.0, "address": row.address })).collect()
        }
        ChildKind::Phone => {
            let rows = current.phones.iter().flatten().filter(|row| ids.contains(&row.id));
            rows.map(|row| json!({ "id": row.id.0, "number": row.number, "type": row.kind })).collect()
        }
    }
}

/// How people know a list.
pub(super) fn list_name(kind: ChildKind) -> &'static str {
    match kind {
        ChildKind::Email => "emails",
        ChildKind::Phone => "phones",
    }
}
