//! What a run did, in numbers and ids; never in values of people.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::outcome::{Outcome, SetAside};
use crate::domain::sweep::{SweepReport, Verdict};
use crate::sync::carry::BothChanged;
use crate::sync::companies::CompanySummary;
use crate::sync::scan::Goal;
use crate::sync::tags::TagSummary;

/// One contact that was set aside in this run, or still is from an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAsideRow {
    /// The contact; `None` when not even its id could be read.
    pub id: Option<LiveDeskId>,
    /// Why.
    pub reason: SetAside,
}

/// A field that both sides had changed, and whose value stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BothChangedRow {
    /// The contact.
    pub livedesk_id: i64,
    /// Its record.
    pub firstline_id: Option<i64>,
    /// The field, or the list.
    pub field: String,
    /// Whether LiveDesk's value was written; else FIRST LINE's stays.
    pub written: bool,
}

/// Ids are kept up to this many per list, so that memory stays bounded; the state holds all of them.
pub const LISTED: usize = 10_000;

/// Counts of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Records created.
    pub created: u64,
    /// Existing records linked.
    pub adopted: u64,
    /// Linked records changed.
    pub updated: u64,
    /// Contacts with nothing to do.
    pub unchanged: u64,
    /// Contacts that `[select]` leaves out.
    pub not_selected: u64,
    /// Of these, contacts that were carried earlier and are left as they are.
    pub left_as_is: u64,
    /// Contacts set aside.
    pub set_aside: u64,
    /// Contacts whose create is in doubt and not settled.
    pub parked: u64,
    /// Contacts that wait for a person's decision.
    pub conflicts: u64,
    /// Values left out because they could not be converted (`on_error = "skip"`), per field.
    pub skipped_values: BTreeMap<String, u64>,
    /// Fields that both sides had changed, decided by their owner.
    pub both_changed: u64,
    /// Which: the rows of the CSV.
    #[serde(skip)]
    pub both_changed_rows: Vec<BothChangedRow>,
    /// Fields that differ and stay as FIRST LINE has them.
    pub kept: u64,
    /// Records that were created again after a doubt was settled as "not there".
    pub recreated: u64,
    /// Fields that stood still, because their definition is not what it was: which, and the difference.
    pub stopped_fields: Vec<String>,
    /// Tags.
    pub tags: TagSummary,
    /// Companies.
    pub companies: CompanySummary,
    /// Reasons of the set-aside contacts, grouped.
    pub reasons: BTreeMap<String, u64>,
    /// Ids of parked contacts, for people.
    pub parked_ids: Vec<i64>,
    /// Ids of contacts in conflict, for people.
    pub conflict_ids: Vec<i64>,
    /// The set-aside rows, for the CSV.
    #[serde(skip)]
    pub set_aside_rows: Vec<SetAsideRow>,
    /// What the sweep says of itself; absent where no sweep was walked to its end.
    #[serde(skip)]
    pub sweep: Option<SweepReport>,
    /// What the sweep was to reach.
    #[serde(skip)]
    pub goal: Option<Goal>,
    /// What the fast lane says of itself; absent in other runs.
    pub lane: Option<LaneReport>,
    /// Whether the run was interrupted.
    pub interrupted: bool,
}

/// What the fast lane says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LaneReport {
    /// Pages read.
    pub pages: u64,
    /// Whether LiveDesk sorted as it was asked to; else only sweeps are sure to see changes.
    pub sorted: bool,
}

impl Summary {
    /// Counts one contact.
    pub fn count(&mut self, id: LiveDeskId, outcome: Outcome) {
        match outcome {
            Outcome::Created => self.created += 1,
            Outcome::Adopted => self.adopted += 1,
            Outcome::Updated => self.updated += 1,
            Outcome::Unchanged => self.unchanged += 1,
            Outcome::NotSelected => self.not_selected += 1,
            Outcome::SetAside(reason) => self.set_aside(Some(id), reason),
            Outcome::Parked => {
                self.parked += 1;
                push_bounded(&mut self.parked_ids, id.0);
            }
            Outcome::Conflict => {
                self.conflicts += 1;
                push_bounded(&mut self.conflict_ids, id.0);
            }
        }
    }

    /// Counts a contact, or an unreadable row, that was set aside.
    pub fn set_aside(&mut self, id: Option<LiveDeskId>, reason: SetAside) {
        self.set_aside += 1;
        let field = reason.field.as_deref().map(|field| format!(" {field}")).unwrap_or_default();
        let status = reason.status.map(|status| format!(" ({status})")).unwrap_or_default();
        *self.reasons.entry(format!("{}{field}{status}: {}", reason.kind, reason.detail)).or_default() += 1;
        push_bounded(&mut self.set_aside_rows, SetAsideRow { id, reason });
    }

    /// Counts and lists the fields of one contact that both sides had changed.
    pub fn both_changed(&mut self, id: LiveDeskId, target: Option<FirstLineId>, fields: Vec<BothChanged>) {
        self.both_changed += fields.len() as u64;
        for BothChanged { field, written } in fields {
            let row = BothChangedRow { livedesk_id: id.0, firstline_id: target.map(|id| id.0), field, written };
            push_bounded(&mut self.both_changed_rows, row);
        }
    }

    /// Takes a parked contact back, because it was settled or is handled again.
    pub fn unpark(&mut self, id: LiveDeskId) {
        if let Some(place) = self.parked_ids.iter().position(|parked| *parked == id.0) {
            self.parked_ids.swap_remove(place);
            self.parked -= 1;
        }
    }

    /// Contacts handled.
    pub fn handled(&self) -> u64 {
        self.created
            + self.adopted
            + self.updated
            + self.unchanged
            + self.not_selected
            + self.set_aside
            + self.parked
            + self.conflicts
    }

    /// 0: all done; 1: done, but something is left over; 130: interrupted (design, section 6).
    pub fn exit_code(&self) -> u8 {
        if self.interrupted {
            return 130;
        }
        let short = self.sweep.as_ref().is_some_and(|sweep| match sweep.verdict {
            Verdict::Proven => false,
            Verdict::Counted => self.goal != Some(Goal::Counted),
            Verdict::Short { .. } => true,
        });
        let left_over = self.set_aside + self.parked + self.conflicts > 0;
        u8::from(short || self.tags.is_incomplete() || !self.stopped_fields.is_empty() || left_over)
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    if list.len() < LISTED {
        list.push(item);
    }
}
