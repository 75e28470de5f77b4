//! What each operation does to the world.

use std::collections::BTreeSet;

use deskferry::domain::record::{FieldKey, is_blank};
use serde_json::{Value, json};

use super::desk::Person;
use super::judge::key_of;
use super::line::{By, Cell, INTERESTS, Row, canonical};
use super::operations::{Op, Operation, Side, Watched};
use super::world::{Inner, Lane, Pending};

const ALL: [Watched; 9] = [
    Watched::Name,
    Watched::Vip,
    Watched::City,
    Watched::Note,
    Watched::Interests,
    Watched::Topic,
    Watched::Email,
    Watched::Phone,
    Watched::Label,
];

impl Inner {
    /// It happens, unless it is about a record that the run under way has read.
    pub(super) fn apply(&mut self, operation: Operation) {
        let now = self.now();
        match operation.op {
            Op::Create(draw) => self.create_person(draw),
            Op::Import(count) => {
                for _ in 0..count {
                    let id = self.new_person(None);
                    // Of more contacts of one instant than a page holds, a list without a tie-breaker may show none.
                    let lane = if self.switches.shuffled_ties { Lane::Sweep } else { Lane::Sync };
                    self.unmade.insert(id, Pending { at: now, lane });
                }
            }
            Op::Edit(who, watched) => self.on_person(who, |inner, id| inner.edit(id, watched, Lane::Sweep)),
            Op::Clear(who, watched) => self.on_person(who, |inner, id| inner.clear(id, watched)),
            Op::Message(who) => self.on_person(who, |inner, id| {
                inner.person(id).active_s = Some(now / 1000);
                inner.edit(id, Watched::Topic, Lane::Sync);
            }),
            Op::Delete(who) => self.on_person(who, Self::forget_person),
            Op::Merge(who, other) => self.on_person(who, |inner, base| inner.merge_people(base, other)),
            Op::Hide(who) => self.on_person(who, |inner, id| {
                let person = inner.person(id);
                person.identifier = None;
                for kind in [Watched::Email, Watched::Phone] {
                    person.rewrite(kind, None);
                    person.changed.insert(kind, now);
                }
                inner.unmeasured(id);
            }),
            Op::Show(who) => self.on_person(who, |inner, id| {
                if !inner.person(id).is_listed() {
                    inner.edit(id, Watched::Email, Lane::Sweep);
                    inner.unmeasured(id);
                }
            }),
            Op::Block(who) => self.on_person(who, |inner, id| {
                let person = inner.person(id);
                person.blocked = !person.blocked;
                inner.unmeasured(id);
            }),
            Op::Spoil(who) => self.on_person(who, |inner, id| {
                inner.person(id).spoilt = true;
                inner.ever_unsure.insert(id);
                inner.unmeasured(id);
            }),
            Op::Forbid(who) => self.on_person(who, |inner, id| {
                let name = inner.fresh("⛔");
                let person = inner.person(id);
                person.name = name;
                person.changed.insert(Watched::Name, now);
                inner.ever_unsure.insert(id);
                inner.unmeasured(id);
            }),
            Op::Heal(who) => {
                let ill = |person: &&Person| person.spoilt || person.is_forbidden();
                let ill: Vec<i64> = self.people.values().filter(ill).map(|person| person.id).collect();
                if let Some(id) = pick(&ill, who) {
                    self.person(id).spoilt = false;
                    self.edit(id, Watched::Name, Lane::Sweep);
                    self.unmeasured(id);
                }
            }
            Op::AgentEdit(who, _)
            | Op::AgentClear(who, _)
            | Op::AgentAdds(who, _)
            | Op::AgentChanges(who, _)
            | Op::AgentRemoves(who, _)
            | Op::AgentTags(who)
            | Op::AgentMerges(who, _) => {
                let ids: Vec<i64> = self.records.keys().copied().collect();
                match pick(&ids, who) {
                    Some(id) if self.run_since.is_some() && self.read.contains(&id) => self.deferred.push(operation),
                    Some(id) => self.agent(id, operation.op),
                    None => {}
                }
            }
            Op::AgentCreates(draw) => self.agent_creates(draw),
            Op::AgentDeletes(who) => {
                let ids: Vec<i64> = self.records.keys().copied().collect();
                // A tenant that holds next to nothing of ours is refused for another one, on purpose.
                if let Some(id) = pick(&ids, who).filter(|_| self.record_of.len() >= 12) {
                    self.count("agents deleted");
                    self.records.remove(&id);
                    self.lost.insert(id, now);
                }
            }
            weather => self.weather(weather),
        }
        self.note_listed();
        self.watch(&format!("{:?}", operation.op));
    }

    /// Prints what became of the contact that `DESKFERRY_MONTH_WATCH` names.
    pub(super) fn watch(&mut self, what: &str) {
        let Some(id) = *super::WATCHED else { return };
        let record = self.record_of.get(&id).and_then(|id| self.records.get(id));
        let stands = format!("{:?}\n      {record:?}", self.people.get(&id));
        if stands != self.watched {
            eprintln!("{} {what}\n      {stands}", self.now());
            self.watched = stands;
        }
    }

    /// Notes who is in LiveDesk's list now.
    fn note_listed(&mut self) {
        let now = self.now();
        let listed: BTreeSet<i64> =
            self.people.values().filter(|person| person.is_listed()).map(|person| person.id).collect();
        if listed != self.listed {
            self.list_changed_at = now;
            self.listed = listed;
        }
    }

    fn weather(&mut self, op: Op) {
        let now = self.now();
        let until = |minutes: u32| now + i64::from(minutes) * 60_000;
        match op {
            Op::Outage(side, minutes, patient) => {
                self.count("outages");
                let until = until(minutes);
                let weather = &mut self.weather[side as usize];
                (weather.down_until, weather.patient) = (weather.down_until.max(until), patient);
            }
            Op::Throttle(side, minutes) => {
                self.count("throttled");
                self.weather[side as usize].throttled_until = until(minutes);
            }
            Op::Token(side, minutes) => {
                self.count("keys refused");
                self.weather[side as usize].locked_until = until(minutes);
            }
            Op::Doubt(fate, times) if self.fates.len() < 4 => {
                self.count("answers lost");
                self.fates.extend((0..times).map(|_| fate));
            }
            Op::Torn(times) => {
                self.count("torn");
                self.torn = times;
            }
            Op::DiskFull(minutes) if self.has_disk => {
                self.count("disk full");
                self.disk_until = Some(until(minutes));
            }
            Op::Kill(calls, moment) if self.kill.is_none() => self.kill = Some((calls, moment)),
            Op::Stop(calls) => self.stop = Some(calls),
            _ => {}
        }
    }

    /// The month is over: nothing goes wrong any more.
    pub(super) fn calm(&mut self) {
        for side in [Side::Desk, Side::Line] {
            self.weather[side as usize] = super::world::Weather::default();
        }
        self.queue.clear();
        self.fates.clear();
        (self.torn, self.kill, self.stop) = (0, None, None);
        self.disk_until = None;
    }

    pub(super) fn person(&mut self, id: i64) -> &mut Person {
        self.people.get_mut(&id).unwrap()
    }

    fn on_person(&mut self, who: u32, what: impl FnOnce(&mut Self, i64)) {
        let ids: Vec<i64> = self.people.keys().copied().collect();
        if let Some(id) = pick(&ids, who) {
            self.person(id).touched = self.now();
            what(self, id);
        }
    }

    fn new_person(&mut self, active_s: Option<i64>) -> i64 {
        self.count("contacts");
        let now = self.now();
        self.next_person += 1;
        let id = self.next_person;
        let person = Person {
            id,
            created_s: now / 1000,
            active_s,
            name: self.fresh("Name"),
            email: Some(format!("{}@example.com", self.fresh("mail"))),
            city: if id % 2 == 0 { self.fresh("City") } else { String::new() },
            note: self.fresh("Note"),
            topic: self.fresh("Topic"),
            interests: vec![INTERESTS[usize::try_from(id).unwrap() % 4]],
            labelled: id % 4 == 0,
            changed: ALL.into_iter().map(|watched| (watched, now)).collect(),
            touched: now,
            ..Person::default()
        };
        self.people.insert(id, person);
        id
    }

    fn create_person(&mut self, draw: u32) {
        let id = self.new_person(Some(self.now() / 1000));
        let phones: Vec<String> = self.people.values().filter_map(|person| person.phone.clone()).collect();
        let promised = if draw.is_multiple_of(2) { self.promised.pop() } else { None };
        let phone = match draw % 5 {
            // Families share a phone.
            0 if !phones.is_empty() => Some(phones[draw as usize % phones.len()].clone()),
            1 | 2 => Some(self.fresh_phone()),
            _ => None,
        };
        let person = self.person(id);
        person.phone = phone;
        if let Some((email, phone)) = promised {
            person.email = email.or(person.email.take());
            person.phone = phone.or(person.phone.take());
        }
        // All of a new contact is owed by the next sync.
        self.unmade.insert(id, Pending { at: self.now(), lane: Lane::Sync });
    }

    fn fresh_phone(&mut self) -> String {
        self.fresh += 1;
        format!("+8869{:08}", self.fresh)
    }

    /// Nothing of it is measured any more: it waits for more than a run.
    fn unmeasured(&mut self, id: i64) {
        let now = self.now();
        if let Some(person) = self.people.get_mut(&id) {
            person.carried_from = now;
        }
        self.unmade.remove(&id);
        self.pending.retain(|(of, _), _| *of != id);
    }

    fn edit(&mut self, id: i64, watched: Watched, lane: Lane) {
        self.count(if lane == Lane::Sync { "messages" } else { "edits" });
        let now = self.now();
        let text = match watched {
            Watched::Email => format!("{}@example.com", self.fresh("mail")),
            Watched::Phone => self.fresh_phone(),
            _ => self.fresh(&format!("{watched:?}")),
        };
        let person = self.person(id);
        let was_forbidden = person.is_forbidden();
        match watched {
            Watched::Name => person.name = text,
            Watched::Vip => person.vip = text,
            Watched::City => person.city = text,
            Watched::Note => person.note = text,
            Watched::Topic => person.topic = text,
            Watched::Email | Watched::Phone => person.rewrite(watched, Some(text)),
            Watched::Label => person.labelled = !person.labelled,
            Watched::Interests => {
                let option = INTERESTS[usize::try_from(now / 1000 % 4).unwrap()];
                if !person.interests.contains(&option) {
                    person.interests.push(option);
                }
            }
        }
        self.changed(id, watched, lane);
        if was_forbidden && watched == Watched::Name {
            self.unmeasured(id);
        }
    }

    fn changed(&mut self, id: i64, watched: Watched, lane: Lane) {
        let now = self.now();
        let person = self.person(id);
        person.changed.insert(watched, now);
        person.touched = now;
        let listed = person.is_listed() && !person.blocked && !person.spoilt && !person.is_forbidden();
        if listed {
            let pending = self.pending.entry((id, watched)).or_insert(Pending { at: now, lane });
            // What a message has set again is owed by the faster lane from now on.
            if lane < pending.lane {
                *pending = Pending { at: now, lane };
            }
        }
    }

    fn clear(&mut self, id: i64, watched: Watched) {
        let person = self.person(id);
        let others = |person: &Person, kind: Watched| {
            person.identifier.is_some()
                || (kind == Watched::Email && person.phone.is_some())
                || (kind == Watched::Phone && person.email.is_some())
        };
        match watched {
            Watched::Vip => person.vip.clear(),
            Watched::City => person.city.clear(),
            Watched::Note => person.note.clear(),
            Watched::Topic => person.topic.clear(),
            Watched::Interests => person.interests.clear(),
            Watched::Label => person.labelled = false,
            Watched::Email | Watched::Phone if others(person, watched) => person.rewrite(watched, None),
            Watched::Name | Watched::Email | Watched::Phone => return,
        }
        self.count("cleared");
        self.changed(id, watched, Lane::Sweep);
    }

    fn forget_person(&mut self, id: i64) {
        self.count("contacts deleted");
        let person = self.people.remove(&id).unwrap();
        self.departed.insert(id, person);
        let now = self.now();
        self.gone.insert(id, now);
        self.unmeasured(id);
    }

    fn merge_people(&mut self, base: i64, other: u32) {
        let ids: Vec<i64> = self.people.keys().copied().filter(|id| *id != base).collect();
        let Some(other) = pick(&ids, other) else { return };
        self.count("contacts merged");
        let merged = self.people[&other].clone();
        self.forget_person(other);
        let person = self.person(base);
        let was_listed = person.is_listed();
        let mut gained = Vec::new();
        if person.email.is_none() && merged.email.is_some() {
            person.email = merged.email;
            gained.push(Watched::Email);
        }
        if person.phone.is_none() && merged.phone.is_some() {
            person.phone = merged.phone;
            gained.push(Watched::Phone);
        }
        person.identifier = person.identifier.take().or(merged.identifier);
        for watched in gained {
            self.changed(base, watched, Lane::Sweep);
        }
        if !was_listed {
            self.unmeasured(base);
        }
    }

    fn agent(&mut self, id: i64, op: Op) {
        self.count("agents' edits");
        let now = self.now();
        match op {
            Op::AgentEdit(_, watched) => {
                let Some(key) = key_of(watched) else { return };
                let text = self.fresh("Agent");
                let record = self.records.get_mut(&id).unwrap();
                let value = if watched == Watched::Interests {
                    let mut options = record.value(key).as_array().cloned().unwrap_or_default();
                    let option = json!(INTERESTS[usize::try_from(now / 1000 % 4).unwrap()]);
                    match options.iter().position(|held| *held == option) {
                        Some(place) => drop(options.remove(place)),
                        None => options.push(option),
                    }
                    Value::Array(options)
                } else {
                    json!(text)
                };
                record.set(key, value, now);
            }
            Op::AgentClear(_, watched) if watched != Watched::Name => {
                let Some(key) = key_of(watched) else { return };
                let record = self.records.get_mut(&id).unwrap();
                if !is_blank(record.value(key)) {
                    record.set(key, Value::Null, now);
                }
            }
            Op::AgentAdds(_, kind) => {
                let text = if kind == Watched::Email {
                    format!("{}@example.org", self.fresh("agent"))
                } else {
                    self.fresh_phone().replacen("+886", "0", 1)
                };
                let row = Row { id: self.next_child(), text, by: By::Agent, edited: false, at: now };
                let record = self.records.get_mut(&id).unwrap();
                record.rows_mut(kind).push(row);
                record.rows_at[usize::from(kind == Watched::Phone)] = Some(now);
            }
            Op::AgentChanges(_, kind) | Op::AgentRemoves(_, kind) => {
                let text = if kind == Watched::Email {
                    format!("{}@example.net", self.fresh("edited"))
                } else {
                    self.fresh_phone()
                };
                let record = self.records.get_mut(&id).unwrap();
                let Some(first) = record.rows_mut(kind).first_mut() else { return };
                let old = canonical(kind, &first.text);
                if matches!(op, Op::AgentChanges(..)) {
                    (first.text, first.edited, first.at) = (text, true, now);
                } else {
                    record.rows_mut(kind).remove(0);
                }
                record.removed.push((kind, old, now));
                record.rows_at[usize::from(kind == Watched::Phone)] = Some(now);
            }
            Op::AgentTags(_) => {
                let Some(tag) = self.tags.iter().find(|tag| tag.1 == "VIP").map(|tag| tag.0) else { return };
                let record = self.records.get_mut(&id).unwrap();
                let unsure = record.person.is_some_and(|person| self.unsure.contains(&person));
                match record.tags.remove(&tag) {
                    None => drop(record.tags.insert(tag, By::Agent)),
                    Some(by) => record.had_tag = by == By::Program && !unsure,
                }
                record.tagged_at = Some(now);
            }
            Op::AgentMerges(_, other) => self.agents_merge(id, other),
            _ => {}
        }
    }

    fn agents_merge(&mut self, id: i64, other: u32) {
        let ids: Vec<i64> = self.records.keys().copied().filter(|record| *record != id).collect();
        let Some(other) = pick(&ids, other).filter(|_| self.record_of.len() >= 12) else { return };
        self.count("agents merged");
        let now = self.now();
        let merged = self.records.remove(&other).unwrap();
        self.lost.insert(other, now);
        let record = self.records.get_mut(&id).unwrap();
        record.took_in |= merged.person.is_some() || merged.took_in;
        for (key, cell) in merged.cells {
            if is_blank(record.value(key)) && !is_blank(&cell.value) {
                record.set(key, cell.value, now);
            }
        }
        for (kind, rows) in [(Watched::Email, merged.emails), (Watched::Phone, merged.phones)] {
            let rows = rows.into_iter().map(|row| Row { by: By::Agent, ..row });
            record.rows_mut(kind).extend(rows);
            record.rows_at[usize::from(kind == Watched::Phone)] = Some(now);
        }
        for tag in merged.tags.into_keys() {
            record.tags.entry(tag).or_insert(By::Agent);
            record.tagged_at = Some(now);
        }
    }

    fn agent_creates(&mut self, draw: u32) {
        self.count("agents made");
        let (name, now) = (self.fresh("Walkin"), self.now());
        let email = (!draw.is_multiple_of(3)).then(|| format!("{}@example.com", self.fresh("walkin")));
        let phone = (draw.is_multiple_of(3)).then(|| self.fresh_phone());
        let id = self.new_record(By::Agent);
        let rows = [(Watched::Email, email.clone()), (Watched::Phone, phone.clone())];
        for (kind, text) in rows {
            let Some(text) = text else { continue };
            let row = Row { id: self.next_child(), text, by: By::Agent, edited: false, at: now };
            self.records.get_mut(&id).unwrap().rows_mut(kind).push(row);
        }
        let record = self.records.get_mut(&id).unwrap();
        record.set(FieldKey::FirstName, json!(name), now);
        record.set(FieldKey::LastName, json!("Foreign"), now);
        if draw.is_multiple_of(2) {
            self.promised.push((email, phone));
        }
    }
}

impl Person {
    /// Its e-mail or phone becomes another.
    fn rewrite(&mut self, kind: Watched, text: Option<String>) {
        let slot = if kind == Watched::Email { &mut self.email } else { &mut self.phone };
        if let Some(old) = std::mem::replace(slot, text) {
            self.past.push((kind, canonical(kind, &old)));
        }
    }
}

impl super::line::Record {
    /// An agent writes a field.
    fn set(&mut self, key: FieldKey, value: Value, now: i64) {
        let cell = self.cells.entry(key).or_default();
        *cell = Cell { value, agent_at: Some(now), reset: None, ..cell.clone() };
    }
}

fn pick(ids: &[i64], who: u32) -> Option<i64> {
    (!ids.is_empty()).then(|| ids[who as usize % ids.len()])
}
