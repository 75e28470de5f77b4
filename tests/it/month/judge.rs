//! The owners' rules, told a second time and without the program: what each write may do at the moment it arrives, and what
//! both sides must hold once a sweep has seen everything.

use deskferry::domain::record::{FieldKey, FieldValue, is_blank};
use deskferry::domain::target::{ContactWrite, WriteValue};
use serde_json::{Value, json};

use super::absent::MARK_FIELD;
use super::desk::Person;
use super::line::{By, Cell, LateWrite, Record, canonical};
use super::operations::Watched;
use super::world::{Inner, Lane, Pending};

/// A doubt may be as old as its horizon, and a run later it must be settled.
pub(super) const DOUBT_MS: i64 = 6 * 60 * 1000;

/// What a run can be held to.
#[derive(Clone, Debug)]
pub(super) struct Sure {
    /// It could read the labels and had the tag.
    pub(super) of_tags: bool,
    /// No process was killed right before: what it had sent is in doubt from the next start on.
    pub(super) of_creates: bool,
    /// Whom it saw, where it is not proven that it saw everybody.
    pub(super) saw: Option<std::collections::BTreeSet<i64>>,
    /// Contacts whose absence could not be proven: somebody else was writing to the list.
    pub(super) not_of: std::collections::BTreeSet<i64>,
}

/// Who decides about a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Source,
    FillBlank,
    Target,
    Union,
    Stamp,
    /// Nobody maps it.
    Foreign,
}

fn rule(key: FieldKey, record: &Record) -> Rule {
    match key {
        FieldKey::FirstName | FieldKey::BirthAt | FieldKey::Custom(36) if record.by == By::Program => Rule::Source,
        FieldKey::FirstName | FieldKey::BirthAt | FieldKey::Custom(33 | 36) => Rule::FillBlank,
        FieldKey::Custom(32) => Rule::Source,
        FieldKey::Custom(34) => Rule::Target,
        FieldKey::Custom(35) => Rule::Union,
        FieldKey::MembershipNo | FieldKey::Custom(31) => Rule::Stamp,
        _ => Rule::Foreign,
    }
}

/// Where a watched value stands at the target; `None` for rows and tags.
pub(super) fn key_of(watched: Watched) -> Option<FieldKey> {
    Some(match watched {
        Watched::Name => FieldKey::FirstName,
        Watched::Vip => FieldKey::Custom(32),
        Watched::City => FieldKey::Custom(33),
        Watched::Note => FieldKey::Custom(34),
        Watched::Interests => FieldKey::Custom(35),
        Watched::Topic => FieldKey::Custom(36),
        Watched::Email | Watched::Phone | Watched::Label => return None,
    })
}

pub(super) const FIELDS: [Watched; 6] =
    [Watched::Name, Watched::Vip, Watched::City, Watched::Note, Watched::Interests, Watched::Topic];

/// What the source says of a field.
pub(super) fn wish(person: &Person, watched: Watched) -> Value {
    let text = match watched {
        Watched::Name => &person.name,
        Watched::Vip => &person.vip,
        Watched::City => &person.city,
        Watched::Note => &person.note,
        Watched::Topic => &person.topic,
        Watched::Interests if person.interests.is_empty() => return Value::Null,
        Watched::Interests => return json!(person.interests),
        Watched::Email | Watched::Phone | Watched::Label => return Value::Null,
    };
    if text.is_empty() { Value::Null } else { json!(text) }
}

fn row_wish(person: &Person, kind: Watched) -> Option<String> {
    let text = if kind == Watched::Email { &person.email } else { &person.phone };
    text.as_ref().map(|text| canonical(kind, text))
}

fn options(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    value.as_array().map(|items| items.iter().map(text).collect()).unwrap_or_default()
}

fn side(kind: Watched) -> usize {
    usize::from(kind == Watched::Phone)
}

pub(super) fn stamp_of(write: &ContactWrite) -> Option<i64> {
    let text = |key| match write.fields.get(&key) {
        Some(WriteValue::Typed(FieldValue::Text(text))) => Some(text.as_str()),
        _ => None,
    };
    let number = text(FieldKey::MembershipNo).and_then(|text| text.strip_prefix("LD-"));
    number.or(text(FieldKey::Custom(31))).and_then(|id| id.parse().ok())
}

impl Inner {
    /// Promise 1: no second record, whatever was lost, killed or deleted by others. Answers whose record it is to be.
    pub(super) fn judge_create(&mut self, write: &ContactWrite) -> Option<i64> {
        let Some(person) = stamp_of(write) else {
            self.violation("a customer is made without a stamp");
            return None;
        };
        let on_its_way = |(_, late): &(i64, LateWrite)| match late {
            LateWrite::Customer(write) => stamp_of(write) == Some(person),
            _ => false,
        };
        if self.late.iter().any(on_its_way) {
            self.violation(&format!("contact {person} is created again while its first create is on its way"));
        }
        match self.record_of.get(&person).copied() {
            Some(record) if self.records.contains_key(&record) => {
                self.violation(&format!("contact {person} is created again beside customer {record}"));
            }
            // One that agents deleted before the program ever heard of it is no record of its.
            Some(record) if !self.doubted.contains_key(&person) => {
                self.violation(&format!("contact {person} is created again though agents removed customer {record}"));
            }
            _ => {}
        }
        if let (Some(found), Some(since)) = (self.people.get(&person), self.run_since) {
            let lag = self.switches.lag_s * 1000;
            let known = |kind: Watched| found.changed.get(&kind).is_none_or(|at| *at < since);
            let holds = |record: &Record, kind: Watched| {
                let wished = row_wish(found, kind);
                let old = |at: i64| at + lag < since;
                wished.is_some()
                    && known(kind)
                    && record.rows(kind).iter().any(|row| old(row.at) && wished == Some(canonical(kind, &row.text)))
            };
            let free = |record: &&Record| record.by == By::Agent && record.person.is_none() && record.stamp().is_none();
            let mut free = self.records.values().filter(free);
            let double = free.find(|record| holds(record, Watched::Email) || holds(record, Watched::Phone));
            if let Some(id) = double.map(|record| record.id) {
                self.violation(&format!("contact {person} is created although customer {id} has its e-mail or phone"));
            }
        }
        Some(person)
    }

    /// Promise 3, field by field.
    pub(super) fn judge_update(&mut self, id: i64, write: &ContactWrite) {
        self.judge_owner(id, write);
        let record = self.records[&id].clone();
        for (key, value) in &write.fields {
            let value = match value {
                WriteValue::Clear => Value::Null,
                WriteValue::AsRead(value) => value.clone(),
                WriteValue::Typed(FieldValue::Choices(values)) => Value::Array(values.clone()),
                WriteValue::Typed(value) => Value::String(value.canonical()),
            };
            let cell = record.cells.get(key).cloned().unwrap_or_default();
            if *key == MARK_FIELD {
                if cell.value != value && cell.reset.as_ref() != Some(&value) {
                    self.judge_mark(&record, !is_blank(&value));
                }
                continue;
            }
            if let Some(wrong) = judge_field(rule(*key, &record), &cell, &value) {
                let person = record.person;
                self.violation(&format!("{key} of customer {id} (contact {person:?}): {wrong} ({cell:?} <- {value})"));
            }
        }
        if let Some(ids) = &write.tag_ids {
            self.judge_tags(&record, ids);
        }
    }

    /// Whose record is written to: its contact's, or one that a contact may adopt.
    fn judge_owner(&mut self, id: i64, write: &ContactWrite) {
        let record = &self.records[&id];
        if record.person.is_some() {
            return;
        }
        let shares = |person: &&Person| {
            [Watched::Email, Watched::Phone].into_iter().any(|kind| {
                // A link may be older than this run, and both sides may have changed since.
                let wished = person.past.iter().filter(|(of, _)| *of == kind).map(|(_, text)| text.clone());
                let wished: Vec<String> = wished.chain(row_wish(person, kind)).collect();
                let held = record.rows(kind).iter().map(|row| canonical(kind, &row.text));
                let gone = record.removed.iter().filter(|(of, ..)| *of == kind).map(|(_, text, _)| text.clone());
                held.chain(gone).any(|held| wished.contains(&held))
            })
        };
        let person = match stamp_of(write) {
            Some(stamp) => self.people.get(&stamp).filter(shares).map(|person| person.id),
            None => self.people.values().find(|p| shares(p) && !self.record_of.contains_key(&p.id)).map(|p| p.id),
        };
        let Some(person) = person else {
            // A contact that vanished in this run was read before.
            if stamp_of(write).is_none_or(|stamp| self.people.contains_key(&stamp)) {
                self.violation(&format!("customer {id} is written to and is nobody's: {write:?}"));
            }
            return;
        };
        if let Some(other) = self.record_of.get(&person).filter(|other| **other != id) {
            let text = format!("contact {person} of customer {other} adopts customer {id}");
            self.violation(&text);
        }
        self.records.get_mut(&id).unwrap().person = Some(person);
        self.record_of.insert(person, id);
    }

    fn judge_tags(&mut self, record: &Record, ids: &[i64]) {
        let marks = self.marks();
        let mut before = record.tags_reset.clone().unwrap_or_else(|| record.tags.clone());
        for mark in &marks {
            if before.remove(mark).is_some() != ids.contains(mark) {
                self.judge_mark(record, ids.contains(mark));
            }
        }
        let before = &before;
        let ids: Vec<i64> = ids.iter().copied().filter(|id| !marks.contains(id)).collect();
        let person = record.person.and_then(|person| self.people.get(&person));
        let in_run = |at: i64| self.run_since.is_some_and(|since| at >= since);
        // Labels are read once, at the start; who was hidden then has none.
        let just_changed = person.is_none_or(|person| in_run(person.touched));
        let labelled = person.is_some_and(|person| person.labelled);
        let mut wrong = Vec::new();
        for (id, by) in before.iter().filter(|(id, _)| !ids.contains(id)) {
            if (*by == By::Agent && !record.tagged_once) || (labelled && !just_changed) {
                wrong.push(format!("tag {id} is taken off customer {}, where {by:?} put it", record.id));
            }
        }
        for id in ids.iter().filter(|id| !before.contains_key(id)) {
            let since = person.and_then(|person| person.changed.get(&Watched::Label).copied());
            let taken_off = record.tagged_at.is_some_and(|at| since.is_none_or(|since| at > since));
            let had = taken_off && record.cells.values().any(|cell| cell.program_at.is_some()) && record.had_tag;
            if !(labelled || just_changed) || had {
                let of = person.map(|person| person.id);
                wrong.push(format!("tag {id} is put on customer {} of {of:?} (labelled: {labelled})", record.id));
            }
        }
        for wrong in wrong {
            self.violation(&wrong);
        }
    }

    pub(super) fn judge_row_change(&mut self, id: i64, kind: Watched, place: usize) {
        let row = self.records[&id].rows(kind)[place].clone();
        if row.by == By::Agent {
            self.violation(&format!("{kind:?} {} of customer {id}, which an agent made, is changed", row.id));
        }
    }

    pub(super) fn judge_row_removal(&mut self, id: i64, kind: Watched, place: usize) {
        let row = self.records[&id].rows(kind)[place].clone();
        if row.by == By::Agent || row.edited {
            self.violation(&format!("{kind:?} {} of customer {id}, which an agent wrote, is removed", row.id));
        }
    }

    pub(super) fn judge_new_row(&mut self, id: i64, kind: Watched, text: &str) {
        let record = &self.records[&id];
        let value = canonical(kind, text);
        let late = |(_, late): &(i64, LateWrite)| match late {
            LateWrite::Row(owner, row, text) => *owner == id && *row == kind && canonical(kind, text) == value,
            _ => false,
        };
        let mut wrong = Vec::new();
        if record.rows(kind).iter().any(|row| canonical(kind, &row.text) == value) || self.late.iter().any(late) {
            wrong.push(format!("customer {id} gets {kind:?} {text} a second time"));
        }
        let changed = record.person.and_then(|person| self.people.get(&person)?.changed.get(&kind).copied());
        let again = |(row, old, at): &(Watched, String, i64)| {
            *row == kind && *old == value && changed.is_some_and(|changed| *at > changed)
        };
        let unsure = |person: i64| self.doubted.contains_key(&person) || self.unsure.contains(&person);
        if record.removed.iter().any(again) && !record.person.is_some_and(unsure) {
            wrong.push(format!("customer {id} gets {kind:?} {text} back, which an agent took away"));
        }
        if record.person.is_none() {
            wrong.push(format!("customer {id} is nobody's and gets {kind:?} {text}"));
        }
        for wrong in wrong {
            self.violation(&wrong);
        }
    }

    /// Notes what of a contact has arrived at its record.
    pub(super) fn arrived(&mut self, id: i64) {
        let now = self.now();
        let Some(record) = self.records.get(&id) else { return };
        let Some(person) = record.person.and_then(|person| self.people.get(&person)) else { return };
        self.latencies.extend(self.unmade.remove(&person.id).map(|unmade| (unmade.lane, now - unmade.at)));
        let marks = self.marks();
        let mut done = Vec::new();
        for ((of, watched), pending) in self.pending.range((person.id, Watched::Name)..=(person.id, Watched::Label)) {
            let there = match (key_of(*watched), watched) {
                (Some(FieldKey::Custom(35)), _) => {
                    let held = options(record.value(FieldKey::Custom(35)));
                    person.interests.iter().all(|option| held.iter().any(|held| held == option))
                }
                (Some(key), _) => *record.value(key) == wish(person, *watched),
                (None, Watched::Label) => person.labelled == record.tags.keys().any(|tag| !marks.contains(tag)),
                (None, kind) => match row_wish(person, *kind) {
                    Some(wished) => record.rows(*kind).iter().any(|row| canonical(*kind, &row.text) == wished),
                    None => record.rows(*kind).iter().all(|row| row.by == By::Agent),
                },
            };
            if there {
                done.push(((*of, *watched), (pending.lane, now - pending.at)));
            }
        }
        for (key, latency) in done {
            self.pending.remove(&key);
            self.latencies.push(latency);
        }
    }

    /// Promise 1 as it stands now: nobody has two records, no record has a row twice.
    pub(super) fn judge_twins(&mut self) {
        let mut seen = std::collections::BTreeMap::new();
        let mut wrong = Vec::new();
        for record in self.records.values().filter(|record| record.by == By::Program) {
            let Some(person) = record.person else { continue };
            if let Some(first) = seen.insert(person, record.id) {
                wrong.push(format!("contact {person} has customers {first} and {}", record.id));
            }
        }
        for record in self.records.values() {
            for kind in [Watched::Email, Watched::Phone] {
                let ours = record.rows(kind).iter().filter(|row| row.by == By::Program);
                let mut values: Vec<String> = ours.map(|row| canonical(kind, &row.text)).collect();
                values.sort_unstable();
                if values.windows(2).any(|pair| pair[0] == pair[1]) {
                    wrong.push(format!("customer {} has a {kind:?} twice: {values:?}", record.id));
                }
            }
        }
        for wrong in wrong {
            self.violation(&wrong);
        }
    }

    /// Whether a run that began then can be held to what a contact is.
    fn is_judged(&self, person: &Person, since: i64, sure: &Sure) -> bool {
        let excused = person.blocked || person.spoilt || person.is_forbidden() || !person.is_listed();
        let doubtful = self.doubted.get(&person.id).is_some_and(|at| *at > since - DOUBT_MS);
        // A sweep that only counted may have missed one.
        let unseen = sure.saw.as_ref().is_some_and(|saw| !saw.contains(&person.id));
        !(excused || doubtful || unseen || sure.not_of.contains(&person.id) || person.touched >= since)
    }

    /// Strikes out what has not arrived though a run that owed it agrees: an agent's word, or its owner's rule, stands against
    /// it, and so nobody owes it any more.
    pub(super) fn strike_out(&mut self, since: i64, lane: Option<Lane>, sure: &Sure) {
        let of = |pending: &Pending| lane.is_none_or(|lane| pending.lane == lane) && pending.at < since;
        let done = |(id, pending): (&(i64, Watched), &Pending)| {
            let judged = self.people.get(&id.0).is_none_or(|person| self.is_judged(person, since, sure));
            (of(pending) && judged).then_some(*id)
        };
        let done: Vec<(i64, Watched)> = self.pending.iter().filter_map(done).collect();
        for key in done.into_iter().filter(|_| sure.of_creates && (lane.is_some() || sure.of_tags)) {
            self.pending.remove(&key);
        }
    }

    /// Where both sides disagree by their owners' rules, among the contacts that have not changed since `since`. With
    /// `lane`, only about changes that this lane owed.
    pub(super) fn disagreements(&self, since: i64, lane: Option<Lane>, sure: &Sure) -> Vec<String> {
        let mut found = Vec::new();
        let marks = self.marks();
        for person in self.people.values() {
            if !self.is_judged(person, since, sure) {
                continue;
            }
            let owed = |watched: Watched| match lane {
                None => true,
                Some(lane) => self.pending.get(&(person.id, watched)).is_some_and(|pending| pending.lane == lane),
            };
            let Some(record) = self.record_of.get(&person.id) else {
                let owed =
                    lane.is_none_or(|lane| self.unmade.get(&person.id).is_some_and(|unmade| unmade.lane == lane));
                if sure.of_creates && owed {
                    found.push(format!("contact {} has no customer", person.id));
                }
                continue;
            };
            let Some(record) = self.records.get(record) else { continue };
            let name = |watched: Watched| format!("contact {} at customer {}, {watched:?}", person.id, record.id);

            for watched in FIELDS.into_iter().filter(|watched| owed(*watched)) {
                if let Some(wrong) = self.field_disagrees(person, record, watched) {
                    found.push(format!("{}: {wrong}", name(watched)));
                }
            }
            for kind in [Watched::Email, Watched::Phone].into_iter().filter(|kind| sure.of_creates && owed(*kind)) {
                let changed = person.changed.get(&kind).copied().unwrap_or_default();
                let agents_last = record.rows_at[side(kind)].is_some_and(|at| at >= changed);
                let held = |wished: &String| record.rows(kind).iter().any(|row| canonical(kind, &row.text) == *wished);
                let ours = || record.rows(kind).iter().any(|row| row.by == By::Program && !row.edited);
                match row_wish(person, kind) {
                    Some(wished) if !agents_last && !held(&wished) => {
                        found.push(format!("{}: {wished} is not there: {:?}", name(kind), record.rows(kind)));
                    }
                    None if !agents_last && record.by == By::Program && ours() => {
                        found.push(format!("{}: it is gone, and still there: {:?}", name(kind), record.rows(kind)));
                    }
                    _ => {}
                }
            }
            let nobody = !self.people.values().any(|person| person.labelled && person.is_listed());
            let changed = person.changed.get(&Watched::Label).copied().unwrap_or_default();
            if sure.of_tags && owed(Watched::Label) && !nobody && record.tagged_at.is_none_or(|at| at < changed) {
                let vip = record.tags.iter().find(|(id, _)| !marks.contains(id)).map(|(_, by)| *by);
                if person.labelled && vip.is_none() || !person.labelled && vip == Some(By::Program) {
                    found.push(format!(
                        "{}: labelled {}, tags {:?}",
                        name(Watched::Label),
                        person.labelled,
                        record.tags
                    ));
                }
            }
        }
        found
    }

    fn field_disagrees(&self, person: &Person, record: &Record, watched: Watched) -> Option<String> {
        let key = key_of(watched)?;
        let cell = record.cells.get(&key).cloned().unwrap_or_default();
        let wished = wish(person, watched);
        let changed = person.changed.get(&watched).copied().unwrap_or_default();
        let agents_last = cell.agent_at.is_some_and(|at| at >= changed);
        let wrong = match rule(key, record) {
            Rule::Source if !agents_last && is_blank(&wished) => {
                // Clearing needs proof that the value was the program's.
                let adopted = record.by == By::Agent && cell.program_at.is_none();
                !is_blank(&cell.value) && cell.agent_at.is_none() && !adopted
            }
            Rule::Source if !agents_last => cell.value != wished,
            Rule::Source => {
                let at = cell.agent_at.unwrap_or_default();
                // Only a sweep that saw it has carried it: who was hidden then was not.
                let due = changed.max(person.carried_from);
                let mut sweeps = self.sweeps.iter().zip(&self.saw);
                let carried = sweeps.any(|((since, end), saw)| *since > due && *end < at && saw.contains(&person.id));
                carried && cell.program_at.is_some_and(|program| program > at)
            }
            Rule::FillBlank => !is_blank(&wished) && is_blank(&cell.value) && !agents_last,
            Rule::Union => {
                let held = options(&cell.value);
                // Gone and come back between two looks is no change.
                let before = cell.program.as_ref().map(options).unwrap_or_default();
                let missing = |option: &String| !held.contains(option) && !before.contains(option);
                !agents_last && options(&wished).iter().any(missing)
            }
            Rule::Target | Rule::Stamp | Rule::Foreign => false,
        };
        let what = if agents_last { "an agent's word is overwritten" } else { "a change is not carried" };
        wrong.then(|| format!("{what}: wished {wished} (changed {changed}), held {cell:?}"))
    }
}

/// What is wrong with a write to a field.
fn judge_field(rule: Rule, cell: &Cell, new: &Value) -> Option<&'static str> {
    if cell.value == *new || cell.reset.as_ref() == Some(new) {
        return None;
    }
    let by_agent = cell.agent_at.is_some() && cell.agent_at > cell.program_at;
    let again = !is_blank(new) && cell.program.as_ref() == Some(new);
    match rule {
        Rule::Source => (by_agent && again).then_some("an agent's word is overwritten by what was there before"),
        Rule::FillBlank if !is_blank(&cell.value) => Some("it was not blank"),
        Rule::FillBlank => (by_agent && again).then_some("what an agent emptied is filled again"),
        Rule::Target => Some("it is written once, at creation"),
        Rule::Union => {
            let new = options(new);
            options(&cell.value).iter().any(|held| !new.contains(held)).then_some("something is taken away")
        }
        Rule::Stamp => (!is_blank(&cell.value)).then_some("there is a number already"),
        Rule::Foreign => Some("nobody maps it"),
    }
}
