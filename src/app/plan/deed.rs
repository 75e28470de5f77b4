//! What a line of a plan says is to be done, held against what is about to be done: the same, the rest of it, or something
//! else. What is different is told in words, without values.

use std::collections::BTreeMap;

use super::format::{FieldLine, Line, RowLine, bytes};
use crate::domain::hash::{Digest, HashKey};
use crate::sync::overseer::Action;

/// Digests of what a field holds, and of what it is to hold.
type Step<'a> = (Option<&'a String>, Option<&'a String>);

const NOT_PLANNED: &str = "to be written now, and not planned";
const NOT_NOW: &str = "planned, and not to be written now";
const TARGET_MOVED: &str = "FIRST LINE holds another value now";
const SOURCE_MOVED: &str = "LiveDesk holds another value now";
const OTHER_ROWS: &str = "something else is to be done now";

impl Line {
    /// What is to be done, as one digest: two of these are equal when the same is done to the same.
    pub fn deed(&self, key: &HashKey) -> Digest {
        let fields: Vec<_> = self.written().map(|field| (&field.field, &field.old_digest, &field.new_digest)).collect();
        let rows = self.lists().map(|(_, rows)| digests(rows));
        let deed = (&self.action, self.firstline_id, self.leaves, fields, rows);
        key.digest("plan deed", bytes(&deed))
    }

    /// What is different, in words and without values. `self` is the plan's.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.action != now.action {
            found.push(format!("planned: {}; now: {}", self.action, now.action));
        }
        found.extend(self.other_target(now));
        found.extend(self.other_left(now));
        if !found.is_empty() {
            return found;
        }
        let (planned, here) = (self.steps(), now.steps());
        for field in planned.keys().chain(here.keys().filter(|field| !planned.contains_key(*field))) {
            match (planned.get(field), here.get(field)) {
                (Some(planned), Some(now)) => found.extend(changed(field, *planned, *now)),
                (Some(_), None) => found.push(format!("{field}: {NOT_NOW}")),
                (None, _) => found.push(format!("{field}: {NOT_PLANNED}")),
            }
        }
        for ((list, planned), (_, here)) in self.lists().into_iter().zip(now.lists()) {
            if digests(planned) != digests(here) {
                found.push(format!("{list}: {OTHER_ROWS}"));
            }
        }
        found
    }

    /// What of `now` is not a part of this line, in words and without values: nothing where `now` is what is left to be done of
    /// it after some of it was sent. `self` is the plan's.
    pub fn beyond(&self, now: &Self) -> Vec<String> {
        if self.action != now.action && now.action != Action::Update.as_str() {
            return vec![format!("planned: {}; now: {}", self.action, now.action)];
        }
        let mut found: Vec<String> = self.other_target(now).into_iter().chain(self.other_left(now)).collect();
        let planned = self.steps();
        for field in &now.fields {
            let name = &field.field;
            match (planned.get(name.as_str()), field.written) {
                (Some(planned), true) => {
                    let (old, new) = step(field);
                    // What was sent may have arrived.
                    let old = if old == planned.1 { planned.0 } else { old };
                    found.extend(changed(name, *planned, (old, new)));
                }
                (None, true) => found.push(format!("{name}: {NOT_PLANNED}")),
                // It holds something that is neither what it held nor what was sent.
                (Some((_, new)), false) if *new != field.old_digest.as_ref() => {
                    found.push(format!("{name}: {NOT_NOW}"));
                }
                (_, false) => {}
            }
        }
        for ((list, planned), (_, here)) in self.lists().into_iter().zip(now.lists()) {
            let planned = digests(planned);
            if digests(here).iter().any(|row| !planned.contains(row)) {
                found.push(format!("{list}: {OTHER_ROWS}"));
            }
        }
        found
    }

    fn written(&self) -> impl Iterator<Item = &FieldLine> {
        self.fields.iter().filter(|field| field.written)
    }

    fn steps(&self) -> BTreeMap<&str, Step<'_>> {
        self.written().map(|field| (field.field.as_str(), step(field))).collect()
    }

    fn lists(&self) -> [(&'static str, &[RowLine]); 4] {
        [("emails", &self.emails), ("phones", &self.phones), ("tags", &self.tags), ("company", &self.company)]
    }

    fn other_target(&self, now: &Self) -> Option<String> {
        let (planned, here) = (self.firstline_id?, now.firstline_id?);
        (planned != here).then(|| format!("planned for customer {planned}; now for {here}"))
    }

    /// A customer that is left by now, and was not to be.
    fn other_left(&self, now: &Self) -> Option<String> {
        let left = now.leaves.filter(|_| self.leaves != now.leaves)?;
        Some(format!("it leaves customer {left} now, which is not planned"))
    }
}

fn step(field: &FieldLine) -> Step<'_> {
    (field.old_digest.as_ref(), field.new_digest.as_ref())
}

/// Which side moved, of a field that is to be written both times.
fn changed(field: &str, planned: Step<'_>, now: Step<'_>) -> impl Iterator<Item = String> {
    let target = (planned.0 != now.0).then(|| format!("{field}: {TARGET_MOVED}"));
    let source = (planned.1 != now.1).then(|| format!("{field}: {SOURCE_MOVED}"));
    target.into_iter().chain(source)
}

fn digests(rows: &[RowLine]) -> Vec<(&Option<String>, &Option<String>)> {
    rows.iter().map(|row| (&row.old_digest, &row.new_digest)).collect()
}
