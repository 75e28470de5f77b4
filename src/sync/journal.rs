//! What a run writes into the journal: one row per change at FIRST LINE, with what was there, what is there now as keyed
//! digests, and the link as it was.
//!
//! Rows go into the transaction of the intent or of the link that they belong to, so a kill leaves neither without the
//! other. `undo` reads them, and what it reads it takes from here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::domain::base::value_digest;
use crate::domain::hash::{Digest, HashKey};
use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId, RunId};
use crate::domain::record::{FieldKey, canonical_current};
use crate::domain::target::{ContactWrite, WriteValue};
use crate::store::{ChildKind, JournalEntry, Journalled, Link, LinkChild, Origin, Standing, StoreError, WriteOp};
use crate::sync::decide::{Kinds, kind_of};
use crate::sync::engine::Engine;

/// Tags, in the before-images and what was written.
pub const TAGS: &str = "tag_ids";
/// Companies, in the same places.
pub const COMPANIES: &str = "company_ids";

/// The journal's words for what was done.
pub mod action {
    /// A record was made.
    pub const CREATE: &str = "create";
    /// A record that was there was linked.
    pub const ADOPT: &str = "adopt";
    /// A link was removed, so that its contact gets another record.
    pub const UNLINK: &str = "unlink";
    /// Fields, tags or companies were written.
    pub const UPDATE: &str = "update";
    /// E-mails or phones were hung on, changed or removed.
    pub const CHILDREN: &str = "children";
    /// An absent contact's record was marked.
    pub const MARK: &str = "mark";
    /// That mark was taken off.
    pub const UNMARK: &str = "unmark";
    /// A record was deleted.
    pub const DELETE: &str = "delete";
    /// A tag was made; it has no contact, and its id stands for the record's.
    pub const TAG: &str = "tag";
    /// What a record held before a trial of an update; no change of its own.
    pub const TRIAL: &str = "trial";
    /// An undo put a link back as it was.
    pub const RESTORE: &str = "restore";
}

/// There was no link.
pub(super) fn no_link() -> String {
    String::from("null")
}

/// A link and its children as a row keeps them.
pub(super) fn link_image(link: &Link, children: &[LinkChild]) -> String {
    let children: Vec<Value> =
        children.iter().map(|row| json!([row.kind.as_str(), row.key.to_string(), row.child.0])).collect();
    json!({
        "target": link.target.0,
        "origin": link.origin.as_str(),
        "fingerprint": link.fingerprint.map(|digest| digest.to_string()),
        "base": hex(&link.base),
        "mapping_version": link.mapping_version,
        "intent_seq": link.intent_seq,
        "linked_at": link.linked_at.0,
        "updated_at": link.updated_at.0,
        "run": link.run.0,
        "standing": link.standing.as_str(),
        "alias_of": link.alias_of.map(|id| id.0),
        "children": children,
    })
    .to_string()
}

/// Reads what `link_image` wrote: `Some(None)` where there was no link, `None` where the text is neither.
pub fn read_link_image(id: LiveDeskId, image: &str) -> Option<Option<(Link, Vec<LinkChild>)>> {
    let image: Value = serde_json::from_str(image).ok()?;
    if image.is_null() {
        return Some(None);
    }
    let fingerprint = match &image["fingerprint"] {
        Value::Null => None,
        text => Some(Digest::parse(text.as_str()?)?),
    };
    let link = Link {
        livedesk_id: id,
        target: FirstLineId(image["target"].as_i64()?),
        origin: Origin::parse(image["origin"].as_str()?)?,
        fingerprint,
        base: unhex(image["base"].as_str()?)?,
        mapping_version: image["mapping_version"].as_str().map(str::to_owned),
        intent_seq: image["intent_seq"].as_i64(),
        linked_at: Timestamp(image["linked_at"].as_i64()?),
        updated_at: Timestamp(image["updated_at"].as_i64()?),
        run: RunId(image["run"].as_i64()?),
        standing: Standing::parse(image["standing"].as_str()?)?,
        alias_of: image["alias_of"].as_i64().map(FirstLineId),
    };
    let mut children = Vec::new();
    for row in image["children"].as_array()? {
        children.push(LinkChild {
            livedesk_id: id,
            kind: ChildKind::parse(row[0].as_str()?)?,
            key: Digest::parse(row[1].as_str()?)?,
            child: ChildId(row[2].as_i64()?),
        });
    }
    Some(Some((link, children)))
}

/// E-mails and phones that these rows hung on, by kind and value: their numbers. `rows` newest first.
pub(super) fn hung<'a>(rows: impl Iterator<Item = &'a JournalEntry>) -> BTreeMap<(ChildKind, Digest), ChildId> {
    let mut hung = BTreeMap::new();
    for row in rows.filter(|row| row.action == action::CHILDREN) {
        let Some(Ok(after)) = row.after.as_deref().map(serde_json::from_str::<Value>) else { continue };
        for row in after["added"].as_array().into_iter().flatten() {
            let kind = row[0].as_str().and_then(ChildKind::parse);
            if let (Some(kind), Some(id), Some(key)) = (kind, row[1].as_i64(), row[2].as_str().and_then(Digest::parse))
            {
                hung.entry((kind, key)).or_insert(ChildId(id));
            }
        }
    }
    hung
}

/// The link, with its rows, of a record that we made, that an undo left standing as it was, and that nothing has happened to since
/// but what was taken back; `rows` are all of a contact, newest first.
pub(super) fn left_standing(rows: &[Journalled], target: FirstLineId) -> Option<(Link, Vec<LinkChild>)> {
    let of_target = || rows.iter().filter(|row| row.entry.target == target && row.entry.action != action::TRIAL);
    let mut undos: BTreeSet<RunId> = BTreeSet::new();
    for row in of_target() {
        let entry = &row.entry;
        if row.undone_by.is_some() || undos.contains(&entry.run) {
            continue;
        }
        if entry.action != action::RESTORE {
            return None;
        }
        let made = |row: &Journalled| row.undone_by == Some(entry.run) && row.entry.action == action::CREATE;
        if of_target().any(made) {
            let (link, mut children) = read_link_image(entry.livedesk_id, entry.link_before.as_deref()?)??;
            // What was removed since, and hung on again, has a number of its own.
            let numbers = hung(of_target().map(|row| &row.entry).filter(|entry| undos.contains(&entry.run)));
            for row in &mut children {
                row.child = numbers.get(&(row.kind, row.key)).copied().unwrap_or(row.child);
            }
            return (link.target == target && link.origin == Origin::Created).then_some((link, children));
        }
        // It took back what a later run had written, so that the record is as an earlier undo left it.
        undos.insert(entry.run);
    }
    None
}

/// What a write puts into fields and lists; `held` are the lists before.
pub(super) fn written(
    write: &ContactWrite,
    (tags, companies): (Option<&[i64]>, Option<&[i64]>),
    kinds: &Kinds,
    key: &HashKey,
) -> Map<String, Value> {
    let digest = |field: FieldKey, value: &WriteValue| match value {
        WriteValue::Typed(value) => value_digest(key, Some(&value.canonical())),
        WriteValue::AsRead(value) => value_digest(key, canonical_current(kind_of(kinds, field), value).as_deref()),
        WriteValue::Clear => value_digest(key, None),
    };
    let mut after: Map<String, Value> = write
        .fields
        .iter()
        .map(|(field, value)| (field.to_string(), Value::String(digest(*field, value).to_string())))
        .collect();
    for (list, sent, held) in [(TAGS, &write.tag_ids, tags), (COMPANIES, &write.company_ids, companies)] {
        if let Some(sent) = sent {
            after.insert(list.to_owned(), list_change(held.unwrap_or_default(), sent));
        }
    }
    after
}

/// What was put into a list of ids and taken out of it.
pub(super) fn list_change(held: &[i64], sent: &[i64]) -> Value {
    let added: Vec<i64> = sent.iter().copied().filter(|id| !held.contains(id)).collect();
    let removed: Vec<i64> = held.iter().copied().filter(|id| !sent.contains(id)).collect();
    json!({ "added": added, "removed": removed })
}

/// Rows that hang on the record now: their ids, and the digests of what they hold.
#[derive(Debug, Default)]
pub(super) struct ChildrenAfter {
    added: BTreeMap<(ChildKind, ChildId), Digest>,
    changed: BTreeMap<(ChildKind, ChildId), Digest>,
    removed: Vec<(ChildKind, ChildId)>,
}

impl ChildrenAfter {
    pub(super) fn add(&mut self, kind: ChildKind, child: ChildId, key: Digest) {
        self.added.insert((kind, child), key);
    }

    pub(super) fn change(&mut self, kind: ChildKind, child: ChildId, key: Digest) {
        self.changed.insert((kind, child), key);
    }

    pub(super) fn remove(&mut self, kind: ChildKind, child: ChildId) {
        self.removed.push((kind, child));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    pub(super) fn json(&self) -> Value {
        let rows = |rows: &BTreeMap<(ChildKind, ChildId), Digest>| -> Vec<Value> {
            rows.iter().map(|((kind, child), key)| json!([kind.as_str(), child.0, key.to_string()])).collect()
        };
        let removed: Vec<Value> = self.removed.iter().map(|(kind, child)| json!([kind.as_str(), child.0])).collect();
        json!({ "added": rows(&self.added), "changed": rows(&self.changed), "removed": removed })
    }
}

/// The record stands: nobody may take a deletion of it that is written down for one that took place, whatever becomes of the
/// record later.
pub(super) fn not_deleted(livedesk_id: LiveDeskId, target: FirstLineId) -> WriteOp {
    WriteOp::NotDone { run: None, livedesk_id, target, action: action::DELETE }
}

impl<T> Engine<T> {
    /// A row of this run that says nothing yet but what was done, and why.
    pub(super) fn entry(&self, id: LiveDeskId, target: FirstLineId, action: &str, why: &str) -> JournalEntry {
        JournalEntry {
            run: self.run,
            livedesk_id: id,
            target,
            action: action.to_owned(),
            before: String::from("{}"),
            after: None,
            link_before: None,
            why: why.to_owned(),
            at: self.clock.now(),
        }
    }

    /// A record was made for a contact without a link. `companies` are those that went along.
    pub(super) fn made(&self, id: LiveDeskId, target: FirstLineId, companies: &[i64], why: &str) -> JournalEntry {
        let after = (!companies.is_empty()).then(|| json!({ COMPANIES: list_change(&[], companies) }).to_string());
        JournalEntry { after, link_before: Some(no_link()), ..self.entry(id, target, action::CREATE, why) }
    }

    /// The run that sent a request which is settled only now: what it did is its own.
    pub(super) async fn sender(&self, sent: Timestamp) -> Result<RunId, StoreError> {
        Ok(self.store.run_at(sent).await?.unwrap_or(self.run))
    }

    /// Rows that were hung on a record, with their ids.
    pub(super) fn hung(
        &self,
        id: LiveDeskId,
        target: FirstLineId,
        after: &ChildrenAfter,
        link_before: Option<String>,
        why: &str,
    ) -> JournalEntry {
        let after = Some(after.json().to_string());
        JournalEntry { after, link_before, ..self.entry(id, target, action::CHILDREN, why) }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::FieldValue;

    fn link() -> Link {
        Link {
            livedesk_id: LiveDeskId(1),
            target: FirstLineId(100),
            origin: Origin::Adopted,
            fingerprint: Some(Digest([3; 16])),
            base: vec![0, 255, 16],
            mapping_version: Some(String::from("v")),
            intent_seq: None,
            linked_at: Timestamp(5),
            updated_at: Timestamp(6),
            run: RunId(2),
            standing: Standing::Alias,
            alias_of: Some(FirstLineId(7)),
        }
    }

    #[test]
    fn a_link_comes_back_from_its_image_as_it_was_with_its_children() {
        let child =
            LinkChild { livedesk_id: LiveDeskId(1), kind: ChildKind::Phone, key: Digest([9; 16]), child: ChildId(44) };
        for link in [link(), Link { fingerprint: None, mapping_version: None, intent_seq: Some(4), ..link() }] {
            let image = link_image(&link, std::slice::from_ref(&child));
            assert_eq!(read_link_image(LiveDeskId(1), &image), Some(Some((link, vec![child.clone()]))));
        }
        assert_eq!(read_link_image(LiveDeskId(1), "null"), Some(None));
        for damaged in ["", "{}", r#"{"target":1}"#, "[]"] {
            assert_eq!(read_link_image(LiveDeskId(1), damaged), None, "{damaged}");
        }
    }

    #[test]
    fn a_record_that_an_undo_left_standing_has_the_link_that_it_had_until_something_else_happens_to_it() {
        let image = |base: u8| link_image(&Link { origin: Origin::Created, base: vec![base], ..link() }, &[]);
        let row = |run: i64, action: &str, link_before: Option<String>, undone_by: Option<i64>| Journalled {
            id: 0,
            undone_by: undone_by.map(RunId),
            entry: JournalEntry {
                run: RunId(run),
                livedesk_id: LiveDeskId(1),
                target: FirstLineId(100),
                action: action.to_owned(),
                before: String::from("{}"),
                after: None,
                link_before,
                why: String::new(),
                at: Timestamp(0),
            },
        };
        let made = [row(1, action::CHILDREN, None, Some(2)), row(1, action::CREATE, Some(no_link()), Some(2))];
        let tagged = [row(2, action::RESTORE, Some(image(1)), None), row(2, action::UPDATE, Some(image(1)), None)];
        let again = [row(3, action::UPDATE, None, Some(4)), row(3, action::ADOPT, Some(no_link()), Some(4))];
        let back = [row(4, action::RESTORE, Some(image(3)), None), row(4, action::UPDATE, Some(image(3)), None)];
        let left =
            |groups: &[&[Journalled]]| left_standing(&groups.concat(), FirstLineId(100)).map(|(link, _)| link.base);
        assert_eq!(left(&[&tagged, &made]), Some(vec![1]));
        assert_eq!(left(&[&back, &again, &tagged, &made]), Some(vec![1]), "what the later run wrote was restored");
        assert_eq!(left_standing(&[tagged.clone(), made.clone()].concat(), FirstLineId(7)), None, "another record");
        let by = |rows: &[Journalled], undone_by: Option<i64>| -> Vec<Journalled> {
            let undone_by = undone_by.map(RunId);
            rows.iter().cloned().map(|row| Journalled { undone_by, ..row }).collect()
        };
        let (undone, stands) = (by(&tagged, Some(5)), by(&made, None));
        let put_back = row(5, action::RESTORE, Some(no_link()), None);
        assert_eq!(left(&[&[put_back], &undone, &stands]), None, "the undo was taken back");
        assert_eq!(left(&[&[row(6, action::UPDATE, None, None)], &tagged, &made]), None, "somebody else wrote since");
        assert_eq!(left(&[&made]), None);
    }

    #[test]
    fn what_was_written_is_kept_as_digests_and_as_ids_that_came_and_went() {
        let key = HashKey::new([1; 32]);
        let write = ContactWrite {
            fields: [
                (FieldKey::FirstName, WriteValue::Typed(FieldValue::Text(String::from("Planted")))),
                (FieldKey::Custom(31), WriteValue::Clear),
            ]
            .into(),
            tag_ids: Some(vec![1, 3]),
            company_ids: None,
        };
        let after = Value::Object(written(&write, (Some(&[1, 2]), None), &Kinds::new(), &key));
        assert_eq!(after["tag_ids"], json!({ "added": [3], "removed": [2] }));
        assert_eq!(after["cz_col 31"], json!(value_digest(&key, None).to_string()));
        assert!(!after.to_string().contains("Planted") && after.get("company_ids").is_none());
    }
}
