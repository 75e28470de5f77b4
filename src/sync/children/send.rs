//! Sending a plan of children, one row after the other, and what became of each.

use std::collections::BTreeSet;

use super::{ChildPlan, ChildTask, Step, list_name};
use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId};
use crate::domain::outcome::{SetAside, SetAsideKind};
use crate::store::{ChildKind, LinkChild, StoreError, WriteOp};
use crate::sync::brake::is_answer;
use crate::sync::carry::{Job, refused};
use crate::sync::engine::{Engine, RunError};
use crate::sync::journal::ChildrenAfter;
use crate::sync::ports::{ContactTarget, PortError};

/// What became of the children.
#[derive(Debug, Default)]
pub(in crate::sync) struct ChildrenDone {
    /// Rows to record.
    pub(in crate::sync) ops: Vec<WriteOp>,
    /// Whether a child's create is in doubt.
    pub(in crate::sync) parked: bool,
    /// The first refusal, if one was refused.
    pub(in crate::sync) refused: Option<SetAside>,
    /// The rows that were hung on.
    hung: ChildrenAfter,
}

impl<T: ContactTarget> Engine<T> {
    /// Sends the plan, one child after the other. When the run has to end in between, the intents of children that
    /// were not sent are closed, so that the next start need not doubt them. A change or a removal that was sent and not
    /// recorded is seen by the next look at the contact.
    pub(in crate::sync) async fn run_children(
        &self,
        job: &Job,
        target: FirstLineId,
        profile_id: Option<i64>,
        plan: ChildPlan,
    ) -> Result<ChildrenDone, RunError> {
        let mut done = ChildrenDone::default();
        let livedesk_id = job.contact.id;
        let link_before = plan.link_before;
        let note_hung = |done: &mut ChildrenDone| {
            if !done.hung.is_empty() {
                let why = if link_before.is_some() { "source changed" } else { "new contact" };
                let hung = self.hung(livedesk_id, target, &done.hung, link_before.clone(), why);
                done.ops.push(WriteOp::Journal(hung));
            }
        };
        let mut tasks = plan.tasks.into_iter();
        while let Some(task) = tasks.next() {
            let mut leave = match &task.step {
                Step::Add(intent) => match self.leave_to_create(intent.kind).await {
                    Ok(leave) => Some(leave),
                    Err(error) => {
                        done.ops.extend(closing(&task.step));
                        note_hung(&mut done);
                        self.leave_off(done.ops, tasks).await?;
                        return Err(error);
                    }
                },
                Step::Change { .. } | Step::Remove(_) => None,
            };
            let result = match &task.step {
                Step::Add(_) => self.add_child(job, target, profile_id, &task).await.map(Some),
                Step::Change { child, .. } => {
                    self.change_child(job, target, &task, *child).await.map(|()| Some(*child))
                }
                Step::Remove(child) => self.remove_child(task.kind, *child).await.map(|()| None),
            };
            let is_answered = match &result {
                Ok(_) | Err(PortError::NotFound) => true,
                Err(PortError::Refused { status, .. }) => is_answer(*status),
                Err(_) => false,
            };
            if is_answered && let Some(leave) = leave.take() {
                self.create_answered(leave).await?;
            }
            match result {
                Ok(child) => done.record(livedesk_id, &task, child),
                Err(PortError::Refused { status, fields }) => done.refuse(&task, &fields, status),
                Err(PortError::NotFound) => done.refuse(&task, &BTreeSet::new(), 404),
                Err(error @ PortError::Doubt { .. }) => {
                    let (Step::Add(intent), Some(leave)) = (&task.step, leave) else {
                        // Safe to repeat, so never in doubt; were it so, the next run would look at the contact again.
                        note_hung(&mut done);
                        self.leave_off(done.ops, tasks).await?;
                        return Err(error.into());
                    };
                    self.store.write(vec![WriteOp::ParkIntent { seq: intent.seq, at: self.clock.now() }]).await?;
                    match self.find_child(target, task.kind, task.key).await {
                        Ok(Some(child)) => {
                            self.create_answered(leave).await?;
                            done.record(livedesk_id, &task, Some(child));
                        }
                        // Not there yet, or not to be read: for the look at all doubts.
                        Ok(None) | Err(PortError::Refused { .. } | PortError::NotFound) => {
                            self.create_in_doubt(leave).await?;
                            done.parked = true;
                        }
                        Err(error) => {
                            note_hung(&mut done);
                            self.leave_off(done.ops, tasks).await?;
                            return Err(error.into());
                        }
                    }
                }
                Err(error) => {
                    done.ops.extend(closing(&task.step));
                    note_hung(&mut done);
                    self.leave_off(done.ops, tasks).await?;
                    return Err(error.into());
                }
            }
        }
        note_hung(&mut done);
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

    async fn remove_child(&self, kind: ChildKind, child: ChildId) -> Result<(), PortError> {
        match kind {
            ChildKind::Email => self.target.delete_email(child).await,
            ChildKind::Phone => self.target.delete_phone(child).await,
        }
    }
}

impl ChildrenDone {
    fn record(&mut self, livedesk_id: LiveDeskId, task: &ChildTask, child: Option<ChildId>) {
        if let (Step::Add(_), Some(child)) = (&task.step, child) {
            self.hung.add(task.kind, child, task.key);
        }
        self.ops.extend(recorded(livedesk_id, task, child));
    }

    fn refuse(&mut self, task: &ChildTask, fields: &BTreeSet<String>, status: u16) {
        self.ops.extend(closing(&task.step));
        let mut reason = refused(SetAsideKind::ChildRefused, fields, status);
        reason.field = Some(match task.step {
            Step::Remove(_) => list_name(task.kind).to_owned(),
            Step::Add(_) | Step::Change { .. } => format!("{}[{}]", list_name(task.kind), task.place),
        });
        self.refused.get_or_insert(reason);
    }
}

/// The rows of a task that was carried out; `child` is what hangs there now.
fn recorded(livedesk_id: LiveDeskId, task: &ChildTask, child: Option<ChildId>) -> Vec<WriteOp> {
    let (kind, key) = (task.kind, task.key);
    let gone = |key| WriteOp::RemoveChild { livedesk_id, kind, key };
    let before = match &task.step {
        Step::Add(intent) => WriteOp::CloseIntent { seq: intent.seq },
        Step::Change { from, .. } => gone(*from),
        Step::Remove(_) => gone(key),
    };
    let there = child.map(|child| WriteOp::PutChild(LinkChild { livedesk_id, kind, key, child }));
    [before].into_iter().chain(there).collect()
}

fn closing(step: &Step) -> Option<WriteOp> {
    match step {
        Step::Add(intent) => Some(WriteOp::CloseIntent { seq: intent.seq }),
        Step::Change { .. } | Step::Remove(_) => None,
    }
}
