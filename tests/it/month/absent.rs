//! What may, and what must, be done about the records of contacts that are gone: told without the program.

use deskferry::domain::record::{FieldKey, is_blank};

use super::desk::Person;
use super::judge::{FIELDS, key_of, wish};
use super::line::{By, Record};
use super::operations::Watched;
use super::world::{Ceiling, Deletes, Inner};

/// The tag, and the field, of `[deletes]`.
pub(super) const MARK_TAG: &str = "Gone from LiveDesk";
pub(super) const MARK_FIELD: FieldKey = FieldKey::Custom(37);
/// How long before the end of its run a sweep may have been judged.
const JUDGED_BEFORE_MS: i64 = 12 * 3_600_000;

impl Inner {
    /// The ids of the tag that marks.
    pub(super) fn marks(&self) -> Vec<i64> {
        self.tags.iter().filter(|tag| tag.1 == MARK_TAG).map(|tag| tag.0).collect()
    }

    fn in_run(&self, at: i64) -> bool {
        self.run_since.is_some_and(|since| at >= since)
    }

    /// When the proven sweeps ended that missed a contact: begun after a page last showed it, or at least not over by then.
    fn proofs(&self, person: i64) -> Vec<i64> {
        let shown = self.shown.get(&person).copied().unwrap_or_default();
        let proofs = self.sweeps.iter().zip(&self.saw);
        let missed = proofs.filter(|((since, end), saw)| *since > shown || (*end > shown && !saw.contains(&person)));
        missed.map(|((_, end), _)| *end).collect()
    }

    /// What an agent did to a record and stands.
    fn touched_by_agents(record: &Record) -> Option<String> {
        let same =
            |one: &serde_json::Value, other: &serde_json::Value| one == other || is_blank(one) && is_blank(other);
        let field = record.cells.iter().find(|(_, cell)| !same(&cell.value, &cell.left));
        if let Some((key, cell)) = field {
            return Some(format!("{key}: {cell:?}"));
        }
        for kind in [Watched::Email, Watched::Phone] {
            if let Some(row) = record.rows(kind).iter().find(|row| row.by == By::Agent || row.edited) {
                return Some(format!("{kind:?}: {row:?}"));
            }
            let ours = record.our_rows_at[usize::from(kind == Watched::Phone)];
            if let Some(gone) = record.removed.iter().find(|(of, _, at)| *of == kind && *at > ours) {
                return Some(format!("an agent took {gone:?} away"));
            }
        }
        let tag = record.tags.values().any(|by| *by == By::Agent);
        tag.then(|| format!("tags: {:?}", record.tags))
    }

    /// A deletion by the program: only what it made, as it left it, of a contact that is proven gone, after the grace.
    pub(super) fn judge_deletion(&mut self, id: i64) {
        let record = self.records[&id].clone();
        let mut wrong = Vec::new();
        if self.switches.deletes != Deletes::Delete {
            wrong.push(String::from("nobody wants deletions"));
        }
        if !self.switches.by_id {
            wrong.push(String::from("no read by id said so"));
        }
        if record.by == By::Agent {
            wrong.push(String::from("an agent made it"));
        }
        let shared = self.record_of.iter().any(|(person, of)| *of == id && self.people.contains_key(person));
        if shared {
            wrong.push(String::from("it is the record of a contact that is there"));
        }
        let gone = record.person.and_then(|person| Some((person, *self.gone.get(&person)?)));
        match gone {
            None => wrong.push(String::from("its contact is there")),
            Some((person, at)) => {
                let proofs = self.proofs(person);
                let grace = self.switches.grace_h * 3_600_000;
                // The sweep of the run under way is one of them, and not among these.
                let enough = if grace == 0 { !proofs.is_empty() } else { proofs.len() >= 2 };
                let waited =
                    grace == 0 || proofs.get(1).is_some_and(|end| self.now() >= end - JUDGED_BEFORE_MS + grace);
                if !enough || !waited {
                    wrong.push(format!("gone at {at}, proofs {proofs:?}"));
                }
            }
        }
        wrong.extend(Self::touched_by_agents(&record));
        for wrong in wrong {
            self.violation(&format!("customer {id} (contact {:?}) is deleted: {wrong}", record.person));
        }
        self.count("customers deleted");
        let now = self.now();
        self.deleted.push((id, record.person.unwrap_or_default(), now));
    }

    /// A mark is put on a record, or taken off.
    pub(super) fn judge_mark(&mut self, record: &Record, put: bool) {
        let person = record.person.and_then(|person| self.people.get(&person));
        let just = person.is_some_and(|person| self.in_run(person.touched));
        let gone_at = record.person.and_then(|person| self.gone.get(&person).copied());
        let wrong = if put {
            let policy = matches!(self.switches.deletes, Deletes::Tag | Deletes::Field);
            let hidden = person.is_some_and(|person| !person.is_listed() && !self.switches.by_id);
            let proven = record.person.is_some_and(|person| !self.proofs(person).is_empty());
            !policy || !((proven && (gone_at.is_some() || hidden)) || just)
        } else {
            let back = person.is_some_and(|person| person.is_listed() || self.switches.by_id);
            !(back || just || gone_at.is_some_and(|at| self.in_run(at)))
        };
        self.count(if put { "marks put" } else { "marks taken off" });
        if wrong {
            let what = if put { "put on" } else { "taken off" };
            let (id, person) = (record.id, record.person);
            self.violation(&format!("a mark is {what} customer {id} (contact {person:?}, gone at {gone_at:?})"));
        }
    }

    fn is_marked(&self, record: &Record) -> bool {
        let field = record.cells.get(&MARK_FIELD).is_some_and(|cell| !is_blank(&cell.value));
        field || self.marks().iter().any(|mark| record.tags.contains_key(mark))
    }

    /// When all has come to rest: what had to be done about contacts that are gone was done.
    pub(super) fn absent_disagreements(&self) -> Vec<String> {
        let mut found = Vec::new();
        let policy = self.switches.deletes;
        for (person, at) in &self.gone {
            let known = self.record_of.get(person).and_then(|id| self.records.get(id));
            let Some(record) = known.filter(|_| !self.ever_unsure.contains(person)) else { continue };
            // Agents merged others into it, and it may be theirs as well, or the contact's link leads elsewhere.
            if record.took_in || record.person != Some(*person) || record.stamp() != Some(*person) {
                continue;
            }
            let pristine = record.by == By::Program
                && record.cells.values().all(|cell| cell.agent_at.is_none())
                && record.rows_at == [None; 2]
                && record.tagged_at.is_none()
                && self.departed.get(person).is_some_and(|person| agrees(person, record))
                && Self::touched_by_agents(record).is_none();
            let done = match policy {
                Deletes::Ignore => continue,
                Deletes::Delete => !self.switches.by_id || !pristine,
                Deletes::Tag | Deletes::Field => self.is_marked(record),
            };
            if !done && self.switches.ceiling == Ceiling::High {
                found.push(format!(
                    "contact {person} is gone since {at}, and nothing was done about customer {} ({policy:?})",
                    record.id
                ));
            }
        }
        for person in self.people.values().filter(|person| person.is_listed()) {
            let Some(record) = self.record_of.get(&person.id).and_then(|id| self.records.get(id)) else { continue };
            let tag = self.marks().iter().any(|mark| record.tags.get(mark) == Some(&By::Program));
            let cell = record.cells.get(&MARK_FIELD);
            let field = cell.is_some_and(|cell| !is_blank(&cell.value) && cell.agent_at.is_none());
            if tag || field {
                found.push(format!("contact {} is there, and customer {} is marked", person.id, record.id));
            }
        }
        found
    }
}

/// Whether the record holds what its contact last said. One that had another word which its owner did not let through is
/// kept, as an agent's would be: the state does not know whose it is.
fn agrees(person: &Person, record: &Record) -> bool {
    FIELDS.into_iter().all(|watched| {
        let (held, wished) = (key_of(watched).map(|key| record.value(key)), wish(person, watched));
        held.is_some_and(|held| *held == wished || is_blank(held) && is_blank(&wished))
    })
}
