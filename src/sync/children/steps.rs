//! A plan of children in words that people can be shown: what is added, changed and removed.

use super::{ChildPlan, Step};
use crate::domain::ids::ChildId;
use crate::domain::target::TargetContact;
use crate::store::ChildKind;
use crate::sync::carry::Job;
use crate::sync::overseer::RowStep;

impl ChildPlan {
    /// The e-mails and the phones that the plan adds, changes and removes. `current` is the record as it was read.
    pub(in crate::sync) fn steps(&self, job: &Job, current: Option<&TargetContact>) -> (Vec<RowStep>, Vec<RowStep>) {
        let of = |kind: ChildKind| {
            let tasks = self.tasks.iter().filter(move |task| task.kind == kind);
            let wished = |place: usize| match kind {
                ChildKind::Email => job.record.emails.items().get(place).map(|email| email.address.clone()),
                ChildKind::Phone => job.record.phones.items().get(place).map(|phone| phone.number.clone()),
            };
            let steps = tasks.map(|task| match &task.step {
                Step::Add(_) => RowStep { old: None, new: wished(task.place) },
                Step::Change { child, .. } => RowStep { old: held(current, kind, *child), new: wished(task.place) },
                Step::Remove(child) => RowStep { old: held(current, kind, *child), new: None },
            });
            steps.collect()
        };
        (of(ChildKind::Email), of(ChildKind::Phone))
    }
}

/// What a row holds.
fn held(current: Option<&TargetContact>, kind: ChildKind, child: ChildId) -> Option<String> {
    let current = current?;
    match kind {
        ChildKind::Email => current.emails.iter().flatten().find(|row| row.id == child).map(|row| row.address.clone()),
        ChildKind::Phone => current.phones.iter().flatten().find(|row| row.id == child).map(|row| row.number.clone()),
    }
}
