//! What a run did, in numbers and ids; never in values of people.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::outcome::{Outcome, SetAside};
use crate::domain::sweep::{SweepReport, Verdict};
use crate::domain::target::Part;
use crate::sync::absence::{AbsenceSummary, DeleteCeiling};
use crate::sync::carry::BothChanged;
use crate::sync::companies::CompanySummary;
use crate::sync::rehearsal::Rehearsed;
use crate::sync::scan::Goal;
use crate::sync::tags::TagSummary;
use crate::sync::vanished::VanishedSummary;

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

/// Contacts that were set aside for one reason: five thousand equal failures are one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureGroup {
    /// How many.
    pub count: u64,
    /// Ids of some of them.
    pub samples: Vec<i64>,
}

/// The set-aside contacts by reason; what comes after so many reasons is only counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    groups: BTreeMap<SetAside, FailureGroup>,
    /// Contacts with reasons that are not told apart any more.
    others: u64,
}

impl Reasons {
    fn add(&mut self, id: Option<LiveDeskId>, reason: SetAside) {
        if self.groups.len() >= GROUPS && !self.groups.contains_key(&reason) {
            self.others += 1;
            return;
        }
        let group = self.groups.entry(reason).or_default();
        group.count += 1;
        if let Some(id) = id.filter(|_| group.samples.len() < SAMPLES) {
            group.samples.push(id.0);
        }
    }

    /// Each reason, in their own order.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&SetAside, &FailureGroup)> {
        self.groups.iter()
    }

    /// The most frequent reasons first.
    pub fn most_frequent(&self) -> Vec<(&SetAside, &FailureGroup)> {
        let mut groups: Vec<_> = self.groups().collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
        groups
    }

    /// Contacts whose reasons are in no group.
    pub fn others(&self) -> u64 {
        self.others
    }
}

impl Serialize for Reasons {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let groups = self.groups.iter().map(|(reason, group)| (reason.to_string(), group.count));
        let others = (self.others > 0).then(|| (String::from("further reasons"), self.others));
        serializer.collect_map(groups.chain(others))
    }
}

/// Groups that are told apart, and ids that each of them names.
const GROUPS: usize = 200;
const SAMPLES: usize = 5;

/// Counts of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Records created.
    pub created: u64,
    /// Existing records linked.
    pub adopted: u64,
    /// Of these, found by one key although their values of a key that goes before are others.
    pub adopted_apart: u64,
    /// Their contacts, up to a bound.
    pub adopted_apart_ids: Vec<i64>,
    /// Linked records changed.
    pub updated: u64,
    /// Of the created and adopted, those of which something is left to do, because the run ended.
    pub unfinished: u64,
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
    /// Contacts of people who were forgotten: not carried.
    pub forgotten: u64,
    /// Contacts that a person asked for, and that nobody knows: LiveDesk shows none of that id, and this state never had one.
    pub unknown: u64,
    /// Their ids, for people.
    pub unknown_ids: Vec<i64>,
    /// Contacts that are not as the plan says: they were left alone.
    pub moved: u64,
    /// Contacts that the plan has and that did not come up.
    pub unmet: u64,
    /// Both of them, and what is different.
    #[serde(skip)]
    pub moved_rows: Vec<(Option<i64>, String)>,
    /// The contacts of a rehearsal, and why each of them was picked.
    #[serde(skip)]
    pub rehearsed: Vec<Rehearsed>,
    /// Values left out because they could not be converted (`on_error = "skip"`), per field.
    pub skipped_values: BTreeMap<String, u64>,
    /// Fields that both sides had changed, decided by their owner.
    pub both_changed: u64,
    /// Which: the rows of the CSV.
    #[serde(skip)]
    pub both_changed_rows: Vec<BothChangedRow>,
    /// Fields that differ and stay as FIRST LINE has them.
    pub kept: u64,
    /// Contacts whose field stays as it is, because FIRST LINE does not show what it holds; per field.
    pub not_shown: BTreeMap<String, u64>,
    /// Records that were created again after a doubt was settled as "not there".
    pub recreated: u64,
    /// Fields that stood still, because their definition is not what it was: which, and the difference.
    pub stopped_fields: Vec<String>,
    /// Tags.
    pub tags: TagSummary,
    /// Companies.
    pub companies: CompanySummary,
    /// Contacts that are gone from LiveDesk, and what was done about their records.
    pub absence: AbsenceSummary,
    /// More records than the ceiling allows were to be marked or deleted: nothing was done, and somebody has to look.
    pub delete_ceiling: Option<DeleteCeiling>,
    /// Links whose record is not there any more.
    pub vanished: VanishedSummary,
    /// Reasons of the set-aside contacts, grouped.
    pub reasons: Reasons,
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
            Outcome::Vanished => self.vanished.unjudged += 1,
            Outcome::Alias => self.vanished.aliases += 1,
            Outcome::Gone => self.vanished.gone += 1,
            Outcome::Forgotten => self.forgotten += 1,
            Outcome::Moved(what) => self.moved(Some(id), what.join("; ")),
        }
    }

    /// Lists a contact whose customer was found by one key, and has other values of a key that goes before.
    pub fn adopted_apart(&mut self, id: LiveDeskId) {
        self.adopted_apart += 1;
        push_bounded(&mut self.adopted_apart_ids, id.0);
    }

    /// Counts and lists a contact that a plan and this run do not agree on.
    pub fn moved(&mut self, id: Option<LiveDeskId>, what: String) {
        self.moved += 1;
        push_bounded(&mut self.moved_rows, (id.map(|id| id.0), what));
    }

    /// Counts a contact, or an unreadable row, that was set aside.
    pub fn set_aside(&mut self, id: Option<LiveDeskId>, reason: SetAside) {
        self.set_aside += 1;
        self.reasons.add(id, reason.clone().without_numbers());
        push_bounded(&mut self.set_aside_rows, SetAsideRow { id, reason });
    }

    /// Counts and lists a contact that nobody knows.
    pub fn unknown(&mut self, id: LiveDeskId) {
        self.unknown += 1;
        push_bounded(&mut self.unknown_ids, id.0);
    }

    /// Counts what one contact is owed, because FIRST LINE does not show how it stands there.
    pub fn not_shown(&mut self, part: Part) {
        match part {
            Part::Field(field) => *self.not_shown.entry(field.to_string()).or_default() += 1,
            Part::Tags | Part::Emails | Part::Nulls => self.tags.not_shown += 1,
            Part::Companies => self.companies.not_shown += 1,
        }
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
            + self.forgotten
            + self.unknown
            + self.moved
            + self.vanished.aliases
            + (self.vanished.gone - self.vanished.new_gone)
            + self.vanished.unjudged
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
        let deletes = self.delete_ceiling.is_some() || !self.absence.failed.is_empty();
        let left_over = self.set_aside
            + self.parked
            + self.conflicts
            + self.unknown
            + self.moved
            + self.unmet
            + self.vanished.unjudged
            > 0
            || deletes;
        u8::from(short || self.tags.is_incomplete() || !self.stopped_fields.is_empty() || left_over)
    }
}

pub(super) fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    if list.len() < LISTED {
        list.push(item);
    }
}
