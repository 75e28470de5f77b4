//! E-mails and phones: rows of their own at FIRST LINE, hung on a contact after it exists.
//!
//! A child create obeys the same rule as a contact create: its intent is committed first, and a doubtful one is read
//! back through the contact, never resent within the doubt horizon.

use crate::domain::base::Base;
use std::collections::BTreeSet;

use crate::domain::hash::Digest;
use crate::domain::ids::{ChildId, FirstLineId};
use crate::domain::outcome::{SetAside, SetAsideKind};
use crate::domain::phone;
use crate::domain::record::{Owner, canonical_email};
use crate::domain::target::TargetContact;
use crate::store::{ChildKind, Intent, IntentKind, IntentState, LinkChild, StoreError, WriteOp};
use crate::sync::carry::{Job, refused};
use crate::sync::decide::{self, Authorship, ChildDecision, CurrentChild};
use crate::sync::engine::{Engine, RunError};
use crate::sync::ports::{ContactTarget, PortError};

/// What is to be sent for the children of one contact.
#[derive(Debug, Default)]
pub struct ChildPlan {
    tasks: Vec<ChildTask>,
}

#[derive(Debug)]
struct ChildTask {
    kind: ChildKind,
    /// Its place in the wished list.
    place: usize,
    key: Digest,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Add(Intent),
    Change { child: ChildId, from: Digest },
}

impl ChildPlan {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The intents to commit before anything is sent.
    pub fn intents(&self) -> Vec<WriteOp> {
        self.tasks
            .iter()
            .filter_map(|task| match &task.step {
                Step::Add(intent) => Some(WriteOp::OpenIntent(intent.clone())),
                Step::Change { .. } => None,
            })
            .collect()
    }
}

/// What became of the children.
#[derive(Debug, Default)]
pub struct ChildrenDone {
    /// Rows to record.
    pub ops: Vec<WriteOp>,
    /// Whether a child's create is in doubt.
    pub parked: bool,
    /// The first refusal, if one was refused.
    pub refused: Option<SetAside>,
}

impl<T: ContactTarget> Engine<T> {
    /// Compares the wished children with what is there. Pure but for the intents' numbers.
    pub(super) fn plan_children(
        &self,
        job: &Job,
        target: FirstLineId,
        current: Option<&TargetContact>,
        ours: &[LinkChild],
        authorship: Authorship,
        before: Option<&Base>,
    ) -> ChildPlan {
        let mut plan = ChildPlan::default();
        for kind in [ChildKind::Email, ChildKind::Phone] {
            let (wished, settled, owner) = match kind {
                ChildKind::Email => {
                    (job.digests.emails, before.and_then(|before| before.emails), job.record.emails.owner)
                }
                ChildKind::Phone => {
                    (job.digests.phones, before.and_then(|before| before.phones), job.record.phones.owner)
                }
            };
            // Not looked at in this run, or not changed at the source since it was settled: what agents made of it stays.
            if wished.is_none() || wished == settled {
                continue;
            }
            // Adding a child overwrites nothing: on a record that is not ours the list is united with ours.
            let owner = owner.unwrap_or(match authorship {
                Authorship::Ours => Owner::Source,
                Authorship::Theirs => Owner::Union,
            });
            // "Never after creation" means: at creation, yes.
            let owner = if current.is_none() { Owner::Source } else { owner };
            let wished = self.wished_keys(job, kind);
            let held = current.map(|current| self.current_children(current, kind)).unwrap_or_default();
            let ours: Vec<(Digest, ChildId)> =
                ours.iter().filter(|child| child.kind == kind).map(|child| (child.key, child.child)).collect();
            let ChildDecision { add, change, .. } = decide::children(&wished, &held, &ours, owner);
            for place in add {
                let intent = self.child_intent(job, kind, wished[place], target);
                plan.tasks.push(ChildTask { kind, place, key: wished[place], step: Step::Add(intent) });
            }
            for (child, place) in change {
                let from = ours.iter().find(|(_, id)| *id == child).map_or(wished[place], |(key, _)| *key);
                plan.tasks.push(ChildTask { kind, place, key: wished[place], step: Step::Change { child, from } });
            }
        }
        plan
    }

    /// Sends the plan, one child after the other. When the run has to end in between, the intents of children that
    /// were not sent are closed, so that the next start need not doubt them.
    pub(super) async fn run_children(
        &self,
        job: &Job,
        target: FirstLineId,
        profile_id: Option<i64>,
        plan: ChildPlan,
    ) -> Result<ChildrenDone, RunError> {
        let mut done = ChildrenDone::default();
        let mut tasks = plan.tasks.into_iter();
        while let Some(task) = tasks.next() {
            let result = match &task.step {
                Step::Add(_) => self.add_child(job, target, profile_id, &task).await.map(Some),
                Step::Change { child, .. } => {
                    self.change_child(job, target, &task, *child).await.map(|()| Some(*child))
                }
            };
            match (result, task.step) {
                (Ok(child), step) => {
                    match step {
                        Step::Add(intent) => done.ops.push(WriteOp::CloseIntent { seq: intent.seq }),
                        Step::Change { from, .. } => done.ops.push(WriteOp::RemoveChild {
                            livedesk_id: job.contact.id,
                            kind: task.kind,
                            key: from,
                        }),
                    }
                    if let Some(child) = child {
                        let livedesk_id = job.contact.id;
                        done.ops.push(WriteOp::PutChild(LinkChild {
                            livedesk_id,
                            kind: task.kind,
                            key: task.key,
                            child,
                        }));
                    }
                }
                (Err(PortError::Refused { status, fields }), step) => {
                    done.ops.extend(closing(&step));
                    let mut reason = refused(SetAsideKind::ChildRefused, &fields, status);
                    reason.field = Some(format!("{}[{}]", list_name(task.kind), task.place));
                    done.refused.get_or_insert(reason);
                }
                (Err(PortError::NotFound), step) => {
                    done.ops.extend(closing(&step));
                    let mut reason = refused(SetAsideKind::ChildRefused, &BTreeSet::new(), 404);
                    reason.field = Some(format!("{}[{}]", list_name(task.kind), task.place));
                    done.refused.get_or_insert(reason);
                }
                (Err(PortError::Doubt { .. }), Step::Add(intent)) => {
                    self.store.write(vec![WriteOp::ParkIntent { seq: intent.seq, at: self.clock.now() }]).await?;
                    match self.find_child(target, task.kind, task.key).await {
                        Ok(Some(child)) => {
                            let livedesk_id = job.contact.id;
                            done.ops.push(WriteOp::CloseIntent { seq: intent.seq });
                            done.ops.push(WriteOp::PutChild(LinkChild {
                                livedesk_id,
                                kind: task.kind,
                                key: task.key,
                                child,
                            }));
                        }
                        // Not there yet, or not to be read: for the look at all doubts.
                        Ok(None) | Err(PortError::Refused { .. } | PortError::NotFound) => done.parked = true,
                        Err(error) => {
                            self.leave_off(done.ops, tasks).await?;
                            return Err(error.into());
                        }
                    }
                }
                (Err(error), step) => {
                    done.ops.extend(closing(&step));
                    self.leave_off(done.ops, tasks).await?;
                    return Err(error.into());
                }
            }
        }
        Ok(done)
    }

    /// The run ends here: records what was done, and that the rest was never sent.
    async fn leave_off(
        &self,
        mut ops: Vec<WriteOp>,
        unsent: impl Iterator<Item = ChildTask>,
    ) -> Result<(), StoreError> {
        ops.extend(unsent.filter_map(|task| closing(&task.step)));
        self.store.write(ops).await
    }

    async fn add_child(
        &self,
        job: &Job,
        target: FirstLineId,
        profile_id: Option<i64>,
        task: &ChildTask,
    ) -> Result<ChildId, PortError> {
        match task.kind {
            ChildKind::Email => self.target.create_email(target, &job.record.emails.items()[task.place].address).await,
            ChildKind::Phone => {
                let phone = &job.record.phones.items()[task.place];
                self.target.create_phone(target, profile_id, &phone.number, phone.kind).await
            }
        }
    }

    async fn change_child(
        &self,
        job: &Job,
        target: FirstLineId,
        task: &ChildTask,
        child: ChildId,
    ) -> Result<(), PortError> {
        match task.kind {
            ChildKind::Email => self.target.update_email(child, &job.record.emails.items()[task.place].address).await,
            ChildKind::Phone => {
                let phone = &job.record.phones.items()[task.place];
                self.target.update_phone(child, target, &phone.number, phone.kind).await
            }
        }
    }

    /// Looks for a child through the contact itself.
    pub(super) async fn find_child(
        &self,
        target: FirstLineId,
        kind: ChildKind,
        key: Digest,
    ) -> Result<Option<ChildId>, PortError> {
        let Some(contact) = self.full_contact(target).await? else { return Ok(None) };
        Ok(self.current_children(&contact, kind).into_iter().find(|child| child.key == key).map(|child| child.id))
    }

    fn current_children(&self, contact: &TargetContact, kind: ChildKind) -> Vec<CurrentChild> {
        match kind {
            ChildKind::Email => contact
                .emails
                .iter()
                .flatten()
                .map(|row| CurrentChild { id: row.id, key: self.email_digest(&canonical_email(&row.address)) })
                .collect(),
            ChildKind::Phone => contact
                .phones
                .iter()
                .flatten()
                .map(|row| {
                    let canonical = phone::canonical(&row.number, self.settings.phone_country);
                    CurrentChild { id: row.id, key: self.phone_digest(&canonical) }
                })
                .collect(),
        }
    }

    fn wished_keys(&self, job: &Job, kind: ChildKind) -> Vec<Digest> {
        match kind {
            ChildKind::Email => {
                job.record.emails.items().iter().map(|email| self.email_digest(&email.canonical())).collect()
            }
            ChildKind::Phone => job
                .record
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
        }
    }
}

fn closing(step: &Step) -> Option<WriteOp> {
    match step {
        Step::Add(intent) => Some(WriteOp::CloseIntent { seq: intent.seq }),
        Step::Change { .. } => None,
    }
}

fn list_name(kind: ChildKind) -> &'static str {
    match kind {
        ChildKind::Email => "emails",
        ChildKind::Phone => "phones",
    }
}
