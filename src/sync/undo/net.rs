//! What the journal's rows of one contact and one run come to, and what has to be done about it. Pure.
//!
//! Rows are gone through newest first. Each says what stood there before and what was written; what stands there now must
//! be what was written, or nothing is restored: somebody has the last word since.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::hash::Digest;
use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId};
use crate::domain::record::FieldKey;
use crate::store::{ChildKind, JournalEntry, Link, LinkChild};
use crate::sync::decide::CurrentChild;
use crate::sync::journal::{COMPANIES, TAGS, action, read_link_image};

/// Somebody changed it since.
pub(super) const CHANGED: &str = "changed since";
/// What stood there was not shown when it was written over.
pub(super) const UNKNOWN_BEFORE: &str = "what was there before was not shown";
/// What stands there now is not shown.
pub(super) const NOT_SHOWN: &str = "not shown now";

/// One write of a field, newest first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FieldStep {
    /// What stood there; `None` where that was not shown.
    pub(super) before: Option<Value>,
    /// Digest of what was written.
    pub(super) after: Digest,
}

/// One change of a list of ids, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListStep {
    added: Vec<i64>,
    removed: Vec<i64>,
}

/// One change of an e-mail or phone row, newest first.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ChildStep {
    /// It was hung on, holding this.
    Added(Digest),
    /// It was changed from this to that.
    Changed(Value, Digest),
    /// It was removed, and held this.
    Removed(Value),
}

/// The link before a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum LinkWas {
    /// The run did not touch it.
    #[default]
    Untouched,
    /// There was none.
    None,
    /// This one.
    Link(Box<Link>, Vec<LinkChild>),
}

/// Everything that one run did with one contact.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Net {
    /// The record, the newest one where there were several.
    pub(super) target: Option<FirstLineId>,
    /// It was made by the run.
    pub(super) made: bool,
    /// It was deleted by the run.
    pub(super) deleted: bool,
    /// It was marked, because its contact was gone from LiveDesk.
    pub(super) marked: bool,
    /// That mark was taken off: it stays off.
    pub(super) unmarked: bool,
    pub(super) fields: BTreeMap<FieldKey, Vec<FieldStep>>,
    pub(super) tags: Vec<ListStep>,
    pub(super) companies: Vec<ListStep>,
    pub(super) children: BTreeMap<(ChildKind, ChildId), Vec<ChildStep>>,
    pub(super) link: LinkWas,
}

/// Folds the rows of one contact, newest first. `None` when a row cannot be read.
pub(super) fn net<'a>(id: LiveDeskId, rows: impl IntoIterator<Item = &'a JournalEntry>) -> Option<Net> {
    let mut net = Net::default();
    for row in rows {
        if let Some(image) = &row.link_before {
            // The oldest one that says anything has the last word.
            net.link = match read_link_image(id, image)? {
                None => LinkWas::None,
                Some((link, children)) => LinkWas::Link(Box::new(link), children),
            };
        }
        let target = *net.target.get_or_insert(row.target);
        if row.target != target {
            continue;
        }
        net.made |= row.action == action::CREATE;
        net.deleted |= row.action == action::DELETE;
        net.marked |= row.action == action::MARK;
        if row.action == action::UNMARK {
            net.unmarked = true;
            continue;
        }
        let before: Value = serde_json::from_str(&row.before).ok()?;
        let Some(after) = &row.after else { continue };
        let after: Value = serde_json::from_str(after).ok()?;
        if row.action == action::CHILDREN {
            net.note_children(&before, &after)?;
        } else {
            net.note_fields(&before, &after)?;
        }
    }
    Some(net)
}

impl Net {
    /// Whether the run did nothing with the record itself.
    pub(super) fn left_it_alone(&self) -> bool {
        let wrote = !(self.fields.is_empty() && self.tags.is_empty() && self.companies.is_empty());
        !(self.made || self.deleted || self.unmarked || wrote || !self.children.is_empty())
    }

    fn note_fields(&mut self, before: &Value, after: &Value) -> Option<()> {
        for (key, value) in after.as_object()? {
            match key.as_str() {
                TAGS => self.tags.push(list_step(value)?),
                COMPANIES => self.companies.push(list_step(value)?),
                _ => {
                    let step = FieldStep { before: before.get(key).cloned(), after: Digest::parse(value.as_str()?)? };
                    self.fields.entry(FieldKey::parse(key)?).or_default().push(step);
                }
            }
        }
        Some(())
    }

    fn note_children(&mut self, before: &Value, after: &Value) -> Option<()> {
        let image = |kind: ChildKind, id: i64| {
            let list = match kind {
                ChildKind::Email => "emails",
                ChildKind::Phone => "phones",
            };
            before[list].as_array().into_iter().flatten().find(|row| row["id"] == id).cloned()
        };
        for (word, rows) in after.as_object()? {
            for row in rows.as_array()? {
                let (kind, id) = (ChildKind::parse(row[0].as_str()?)?, row[1].as_i64()?);
                let key = || Digest::parse(row[2].as_str()?);
                let step = match word.as_str() {
                    "added" => ChildStep::Added(key()?),
                    "changed" => ChildStep::Changed(image(kind, id)?, key()?),
                    "removed" => ChildStep::Removed(image(kind, id)?),
                    _ => return None,
                };
                self.children.entry((kind, ChildId(id))).or_default().push(step);
            }
        }
        Some(())
    }
}

fn list_step(value: &Value) -> Option<ListStep> {
    let ids = |key: &str| value[key].as_array()?.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>();
    Some(ListStep { added: ids("added")?, removed: ids("removed")? })
}

/// What is done about one field: what is written back, and why not, or not all the way.
pub(super) fn field(
    steps: &[FieldStep],
    current: Option<&Value>,
    digest: impl Fn(&Value) -> Digest,
) -> (Option<Value>, Option<&'static str>) {
    let Some(current) = current else { return (None, Some(NOT_SHOWN)) };
    let held = digest(current);
    let first = steps.last().and_then(|step| step.before.as_ref());
    if first.is_some_and(|before| digest(before) == held) {
        return (None, None);
    }
    let (mut now, mut back) = (held, None);
    for step in steps {
        let before = step.before.as_ref().map(|before| (before, digest(before)));
        match before {
            Some((before, was)) if now == step.after => (now, back) = (was, Some(before.clone())),
            None if now == step.after => return (back, Some(UNKNOWN_BEFORE)),
            // It was never applied, or is taken back already.
            Some((_, was)) if now == was => {}
            _ => return (back, Some(CHANGED)),
        }
    }
    (back.filter(|_| now != held), None)
}

/// The list as it should be; `None` when it is.
pub(super) fn list(steps: &[ListStep], current: &[i64]) -> Option<Vec<i64>> {
    let mut list = current.to_vec();
    for step in steps {
        list.retain(|id| !step.added.contains(id));
        let missing: Vec<i64> = step.removed.iter().copied().filter(|id| !list.contains(id)).collect();
        list.extend(missing);
    }
    (list != current).then_some(list)
}

/// Ids that a run, or all of them, put into a list and did not take out again; `steps` newest first.
pub(super) fn put_there<'a>(steps: impl DoubleEndedIterator<Item = &'a ListStep>) -> Vec<i64> {
    let mut ids: Vec<i64> = Vec::new();
    for step in steps.rev() {
        ids.retain(|id| !step.removed.contains(id));
        ids.extend(&step.added);
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Rows that another undo hung on again: the numbers that the run knew, and those that they were `hung` on with.
pub(super) fn renumbered(
    net: &Net,
    hung: &BTreeMap<(ChildKind, Digest), ChildId>,
) -> BTreeMap<(ChildKind, ChildId), ChildId> {
    let made = |steps: &[ChildStep]| match steps.first() {
        Some(ChildStep::Added(key) | ChildStep::Changed(_, key)) => Some(*key),
        Some(ChildStep::Removed(_)) | None => None,
    };
    let other = |(kind, child): (ChildKind, ChildId), key: Digest| {
        hung.get(&(kind, key)).copied().filter(|other| *other != child)
    };
    let rows = net.children.iter();
    rows.filter_map(|(place, steps)| Some((*place, other(*place, made(steps)?)?))).collect()
}

/// What is done about one e-mail or phone row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ChildBack {
    /// It is as it should be.
    Nothing,
    /// It goes.
    Remove,
    /// It holds this again.
    Change(Value),
    /// One that holds this is hung on again.
    Hang(Value),
}

/// What is done about one row; `current` is what it holds now, `None` where it is not there. `key` gives the digest of a
/// row's image.
pub(super) fn child(
    steps: &[ChildStep],
    current: Option<Digest>,
    key: impl Fn(&Value) -> Option<Digest>,
) -> (ChildBack, Option<&'static str>) {
    let mut now: Option<(Digest, Option<&Value>)> = current.map(|key| (key, None));
    let mut kept = None;
    for step in steps {
        let held = now.map(|(key, _)| key);
        match (step, held) {
            (ChildStep::Added(made), Some(held)) if *made == held => now = None,
            // It was never removed.
            (ChildStep::Added(_), None) | (ChildStep::Removed(_), Some(_)) => {}
            (ChildStep::Changed(before, made), Some(held)) if *made == held => {
                now = key(before).map(|key| (key, Some(before)));
            }
            (ChildStep::Changed(before, _), Some(held)) if key(before) == Some(held) => {}
            (ChildStep::Removed(before), None) => now = key(before).map(|key| (key, Some(before))),
            (ChildStep::Added(_) | ChildStep::Changed(..), _) => {
                kept = Some(CHANGED);
                break;
            }
        }
    }
    let back = match (current, now) {
        (Some(_), None) => ChildBack::Remove,
        (Some(held), Some((key, Some(before)))) if held != key => ChildBack::Change(before.clone()),
        (None, Some((_, Some(before)))) => ChildBack::Hang(before.clone()),
        _ => ChildBack::Nothing,
    };
    (back, kept)
}

/// One row, and what is done about it.
pub(super) type RowTask = (ChildKind, ChildId, ChildBack);

/// What of it is left to do: what hangs there already is not hung on again. `held` are the rows of a kind as they stand.
///
/// A run that removed a value and hung it on again has two rows of it: the one that stands takes the other's place.
pub(super) fn rows(
    tasks: Vec<RowTask>,
    held: impl Fn(ChildKind) -> Vec<CurrentChild>,
    key: impl Fn(ChildKind, &Value) -> Option<Digest>,
) -> Vec<RowTask> {
    let (mut hangs, mut others): (Vec<RowTask>, Vec<RowTask>) =
        tasks.into_iter().partition(|(.., back)| matches!(back, ChildBack::Hang(_)));
    others.retain(|(.., back)| *back != ChildBack::Nothing);
    hangs.retain(|(kind, _, back)| {
        let ChildBack::Hang(image) = back else { return false };
        let wanted = key(*kind, image);
        let there: Vec<ChildId> =
            held(*kind).into_iter().filter(|row| Some(row.key) == wanted).map(|row| row.id).collect();
        let touched = |id: &ChildId| others.iter().position(|(of, child, _)| of == kind && child == id);
        if there.iter().any(|id| touched(id).is_none()) {
            return false;
        }
        let removed = there.iter().filter_map(touched).find(|at| others[*at].2 == ChildBack::Remove);
        match removed {
            Some(at) => drop(others.remove(at)),
            None => return true,
        }
        false
    });
    others.extend(hangs);
    others
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::domain::hash::HashKey;
    use crate::domain::ids::RunId;

    fn digest(value: &Value) -> Digest {
        HashKey::new([1; 32]).digest("value", value.to_string())
    }

    fn step(before: Option<Value>, after: &Value) -> FieldStep {
        FieldStep { before, after: digest(after) }
    }

    #[test]
    fn a_field_goes_back_only_from_what_was_written_and_not_twice() {
        let [a, b, c, x] = [json!("a"), json!("b"), json!("c"), json!("x")];
        let one = [step(Some(a.clone()), &b)];
        assert_eq!(field(&one, Some(&b), digest), (Some(a.clone()), None));
        assert_eq!(field(&one, Some(&a), digest), (None, None), "taken back, or never applied");
        assert_eq!(field(&one, Some(&x), digest), (None, Some(CHANGED)));
        assert_eq!(field(&one, None, digest), (None, Some(NOT_SHOWN)));
        assert_eq!(field(&[step(None, &b)], Some(&b), digest), (None, Some(UNKNOWN_BEFORE)));
        // Newest first: a, b, c.
        let two = [step(Some(b.clone()), &c), step(Some(a.clone()), &b)];
        assert_eq!(field(&two, Some(&c), digest), (Some(a.clone()), None));
        assert_eq!(field(&two, Some(&b), digest), (Some(a.clone()), None), "the second never arrived");
        assert_eq!(field(&two, Some(&a), digest), (None, None));
        // An agent wrote x between the two: that is as far as it goes.
        let between = [step(Some(x.clone()), &c), step(Some(a), &b)];
        assert_eq!(field(&between, Some(&c), digest), (Some(x), Some(CHANGED)));
    }

    #[test]
    fn lists_lose_what_was_added_and_get_back_what_was_removed_and_keep_what_agents_did() {
        let step = |added: &[i64], removed: &[i64]| ListStep { added: added.to_vec(), removed: removed.to_vec() };
        assert_eq!(list(&[step(&[3], &[1])], &[2, 3, 9]), Some(vec![2, 9, 1]));
        assert_eq!(list(&[step(&[3], &[1])], &[2, 9, 1]), None);
        assert_eq!(list(&[step(&[], &[3]), step(&[3], &[])], &[2]), None, "added, then taken off again");
        assert_eq!(put_there([step(&[4], &[3]), step(&[3, 5], &[])].iter()), [4, 5]);
    }

    #[test]
    fn rows_go_back_one_by_one() {
        let key = |row: &Value| Some(digest(&row["address"]));
        let (old, new) = (json!({ "id": 1, "address": "old" }), digest(&json!("new")));
        let held = |address: &str| Some(digest(&json!(address)));
        let added = [ChildStep::Added(new)];
        assert_eq!(child(&added, held("new"), key), (ChildBack::Remove, None));
        assert_eq!(child(&added, None, key), (ChildBack::Nothing, None));
        assert_eq!(child(&added, held("agent"), key), (ChildBack::Nothing, Some(CHANGED)));
        let changed = [ChildStep::Changed(old.clone(), new)];
        assert_eq!(child(&changed, held("new"), key), (ChildBack::Change(old.clone()), None));
        assert_eq!(child(&changed, held("old"), key), (ChildBack::Nothing, None));
        assert_eq!(child(&changed, held("agent"), key), (ChildBack::Nothing, Some(CHANGED)));
        assert_eq!(child(&changed, None, key), (ChildBack::Nothing, Some(CHANGED)), "somebody removed it");
        let removed = [ChildStep::Removed(old.clone())];
        assert_eq!(child(&removed, None, key), (ChildBack::Hang(old.clone()), None));
        assert_eq!(child(&removed, held("old"), key), (ChildBack::Nothing, None));
        // Hung on, changed and removed in one run: nothing was there, nothing is.
        let all = [
            ChildStep::Removed(json!({ "address": "new" })),
            changed[0].clone(),
            ChildStep::Added(digest(&json!("old"))),
        ];
        assert_eq!(child(&all, None, key), (ChildBack::Nothing, None));
    }

    #[test]
    fn the_oldest_row_that_speaks_of_the_link_says_what_it_was() {
        let row = |action: &str, link_before: Option<&str>, after: Option<Value>| JournalEntry {
            run: RunId(1),
            livedesk_id: LiveDeskId(1),
            target: FirstLineId(9),
            action: action.to_owned(),
            before: String::from(r#"{"first_name":"a"}"#),
            after: after.map(|after| after.to_string()),
            link_before: link_before.map(str::to_owned),
            why: String::new(),
            at: Timestamp(0),
        };
        let written =
            json!({ "first_name": digest(&json!("b")).to_string(), "tag_ids": { "added": [3], "removed": [] } });
        let rows = [row("update", None, Some(written)), row("create", Some("null"), None)];
        let net = net(LiveDeskId(1), &rows).unwrap();
        assert_eq!((net.made, net.deleted, &net.link), (true, false, &LinkWas::None));
        assert_eq!((net.fields.len(), net.tags.len()), (1, 1));
        assert_eq!(super::net(LiveDeskId(1), &[row("update", Some("{}"), None)]), None, "damaged");
    }
}
