//! Tags: which labels stand for them, who has those, and what they are called at FIRST LINE.
//!
//! All of it is found out once, before the first contact is carried, one tag after the other: the search for a tag is fuzzy
//! and two tags may share a name (notes FIRST LINE 8), so nobody else may be making one meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use roaring::RoaringTreemap;
use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::base::name_digest;
use crate::domain::hash::Digest;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::record::{DesiredTags, Owner};
use crate::mapping::tags::TagLine;
use crate::store::WriteOp;
use crate::sync::decide::lists::TagRule;
use crate::sync::engine::{Engine, RunError};
use crate::sync::journal::action;
use crate::sync::labels::{Label, LabelReader};
use crate::sync::ports::{ContactSource, ContactTarget, Named, PortError};
use crate::sync::progress::{Phase, ProgressEvent};
use crate::sync::scan::Goal;

/// Profile keys of tags' creates that may be under way, before the digest of the name: when it was sent.
const TAG_INTENT: &str = "tag_intent";
/// Profile keys of tags that were made, before the digest of the name: their id and the name that FIRST LINE keeps them under.
const TAG_MADE: &str = "tag_made";

/// What a run did about tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TagSummary {
    /// Tags put on contacts.
    pub added: u64,
    /// Tags taken off contacts, because their label is gone.
    pub removed: u64,
    /// Contacts whose record does not show its tags, so that none could be added to them.
    pub not_shown: u64,
    /// Labels that could not be read, and why: their tags were left as they are.
    pub labels_unknown: BTreeMap<String, String>,
    /// Labels that no contact has, or that do not exist: their tags were left as they are.
    pub labels_empty: Vec<String>,
    /// Tags that FIRST LINE would not show or make, and why.
    pub refused: BTreeMap<String, String>,
    /// Contacts that were carried without such a tag, per tag.
    pub left_out: BTreeMap<String, u64>,
}

impl TagSummary {
    /// Whether something is left over.
    pub fn is_incomplete(&self) -> bool {
        !self.labels_unknown.is_empty() || !self.refused.is_empty() || self.not_shown > 0
    }
}

/// The ids of tags, kept between the runs of a service: one entry per tag of the mapping. Whoever keeps them looks at them
/// again before something is written (`gate`).
#[derive(Clone, Debug, Default)]
pub struct TagMemory(Arc<Mutex<BTreeMap<String, Vec<i64>>>>);

impl TagMemory {
    /// All of them.
    pub fn all(&self) -> BTreeMap<String, Vec<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets them: the next run looks them up.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn get(&self, name: &str) -> Option<Vec<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn put(&self, name: &str, ids: &[i64]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), ids.to_vec());
    }
}

/// Whether the search for a name still shows all of these tags, whatever they are called: FIRST LINE may alter names.
pub async fn shows_all(target: &impl ContactTarget, name: &str, ids: &[i64]) -> Result<bool, PortError> {
    let shown = target.tags(name).await?.unwrap_or_default();
    Ok(ids.iter().all(|id| shown.iter().any(|row| row.id == *id)))
}

/// The tags of one run.
#[derive(Debug, Default)]
pub struct TagTable {
    tags: Vec<Tag>,
}

#[derive(Debug)]
struct Tag {
    name: String,
    digest: Digest,
    owner: Owner,
    /// Who has one of its labels.
    labelled: RoaringTreemap,
    /// Whether nobody else has one.
    complete: bool,
    /// Its ids at FIRST LINE; none when it cannot be had.
    ids: Vec<i64>,
}

impl TagTable {
    /// What is known of a contact's tags. Tags that it should have and that cannot be had are counted.
    pub fn wish(&self, id: LiveDeskId, left_out: &mut BTreeMap<String, u64>) -> DesiredTags {
        let mut wish = DesiredTags::default();
        for tag in &self.tags {
            let labelled = tag.labelled.contains(id.0.unsigned_abs());
            match (labelled, tag.ids.is_empty()) {
                (true, true) => *left_out.entry(tag.name.clone()).or_default() += 1,
                (true, false) => wish.present.push(tag.digest),
                (false, false) if tag.complete => wish.absent.push(tag.digest),
                (false, _) => {}
            }
        }
        wish
    }

    /// What a tag is called.
    pub fn name(&self, digest: &Digest) -> Option<&str> {
        self.tags.iter().find(|tag| tag.digest == *digest).map(|tag| tag.name.as_str())
    }

    /// The tags of a contact, by name.
    pub fn names_of(&self, id: LiveDeskId) -> impl Iterator<Item = &str> {
        let tags = self.tags.iter().filter(move |tag| tag.labelled.contains(id.0.unsigned_abs()));
        tags.map(|tag| tag.name.as_str())
    }

    /// How a tag is known at FIRST LINE.
    pub fn rule(&self, digest: &Digest) -> Option<TagRule<'_>> {
        let tag = self.tags.iter().find(|tag| tag.digest == *digest)?;
        Some(TagRule { owner: tag.owner, ids: &tag.ids })
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Reads the labels of the mapping and resolves their tags. Without it, in a run that reads no labels, all tags are
    /// unknown.
    pub(super) async fn read_labels<S: ContactSource>(
        &self,
        source: &Arc<S>,
        max_rounds: u32,
        between: impl AsyncFn() -> Result<(), RunError>,
        summary: &mut TagSummary,
    ) -> Result<(), RunError> {
        if self.mapping.tags().is_empty() {
            return Ok(());
        }
        self.progress.event(ProgressEvent::Phase(Phase::Labels));
        let reader = LabelReader::start(Arc::clone(source)).await?;
        let mut table = TagTable::default();
        for line in self.mapping.tags() {
            let (labelled, complete) = self.labelled(&reader, line, max_rounds, &between, summary).await?;
            // A tag that nobody is to have is not made.
            let ids = if labelled.is_empty() { Vec::new() } else { self.tag_ids(&line.tag, summary).await? };
            let digest = name_digest(self.store.hash_key(), &line.tag);
            table.tags.push(Tag { name: line.tag.clone(), digest, owner: line.owner, labelled, complete, ids });
        }
        // Set once: a run reads labels once.
        let _ = self.tags.set(table);
        Ok(())
    }

    /// What the contacts' tags should be, and which of FIRST LINE's tags those are, without making any: for what only
    /// compares. A tag that is not there has no ids; one that FIRST LINE will not show is not in the table.
    pub(super) async fn look_up_tags<S: ContactSource>(
        &self,
        source: &Arc<S>,
        max_rounds: u32,
        summary: &mut TagSummary,
    ) -> Result<TagTable, RunError> {
        let mut table = TagTable::default();
        if self.mapping.tags().is_empty() {
            return Ok(table);
        }
        self.progress.event(ProgressEvent::Phase(Phase::Labels));
        let reader = LabelReader::start(Arc::clone(source)).await?;
        for line in self.mapping.tags() {
            let (labelled, complete) =
                self.labelled(&reader, line, max_rounds, &async || Ok(self.go_on()?), summary).await?;
            let shown = self.target.tags(&line.tag).await.and_then(|rows| rows.ok_or(PortError::NotFound));
            let rows = match shown {
                Ok(rows) => rows,
                Err(error) => {
                    let why = why_refused(error.into())?;
                    if !labelled.is_empty() {
                        summary.refused.insert(line.tag.clone(), why);
                    }
                    continue;
                }
            };
            let mut found = pick(&line.tag, &rows, None);
            self.add_made_tag(&line.tag, &rows, &mut found).await?;
            let digest = name_digest(self.store.hash_key(), &line.tag);
            table.tags.push(Tag {
                name: line.tag.clone(),
                digest,
                owner: line.owner,
                labelled,
                complete,
                ids: found.ids,
            });
        }
        Ok(table)
    }

    /// Who has one of the labels of a tag, and whether nobody else has.
    async fn labelled<S: ContactSource>(
        &self,
        reader: &LabelReader<S>,
        line: &TagLine,
        max_rounds: u32,
        between: &impl AsyncFn() -> Result<(), RunError>,
        summary: &mut TagSummary,
    ) -> Result<(RoaringTreemap, bool), RunError> {
        // What takes tags off judges by absence.
        let goal = if line.owner == Owner::Source { Goal::Proven } else { Goal::Counted };
        let (mut all, mut complete) = (RoaringTreemap::new(), true);
        for label in &line.labels {
            match reader.read(label, goal, max_rounds, between).await? {
                Label::Read(ids) if ids.is_empty() => {
                    // Nobody is no proof: a label that is misspelt or was renamed must not cost anybody a tag.
                    complete = false;
                    self.notice(format!(
                        "no contact in LiveDesk has the label \"{label}\", if there is one of that name; its tag is left \
                         as it is"
                    ));
                    summary.labels_empty.push(label.clone());
                }
                Label::Read(ids) => all |= ids,
                Label::Unknown(why) => {
                    complete = false;
                    self.notice(format!("the label \"{label}\" is not known in this run: {why}"));
                    summary.labels_unknown.insert(label.clone(), why);
                }
            }
        }
        Ok((all, complete))
    }

    /// The ids of a tag, which is made if it is not there; none when FIRST LINE will not have it.
    pub(super) async fn tag_ids(&self, name: &str, summary: &mut TagSummary) -> Result<Vec<i64>, RunError> {
        if let Some(ids) = self.tag_memory.as_ref().and_then(|memory| memory.get(name)) {
            return Ok(ids);
        }
        let found = match self.find_or_make_tag(name).await {
            Ok(found) => found,
            Err(error) => Err(why_refused(error)?),
        };
        if let (Some(memory), Ok(ids)) = (&self.tag_memory, &found) {
            memory.put(name, ids);
        }
        Ok(found.unwrap_or_else(|why| {
            self.notice(format!("FIRST LINE's tag \"{name}\" cannot be had: {why}; contacts are carried without it"));
            summary.refused.insert(name.to_owned(), why);
            Vec::new()
        }))
    }

    /// A create whose answer was lost is looked for, and only sent again once nothing can come of the first one.
    async fn find_or_make_tag(&self, name: &str) -> Result<Result<Vec<i64>, String>, RunError> {
        let mut sent = self.tag_intent(name).await?;
        for _ in 0..2 {
            let found = self.find_tag(name, sent.as_ref()).await?;
            if !found.ids.is_empty() {
                self.end_tag_intent(name, sent.is_some()).await?;
                return Ok(Ok(found.ids));
            }
            if sent.as_ref().is_some_and(|sent| self.now_ms() - sent.at < self.horizon_ms()) {
                break;
            }
            if !self.may_make_tag(name) {
                return Ok(Err(String::from("it is not there, and the plan does not make it")));
            }
            let intent = Intent { at: self.now_ms(), alike: Some(found.alike) };
            self.store.profile_put(&self.tag_key(TAG_INTENT, name), &intent.json()).await?;
            sent = Some(intent);
            match self.target.create_tag(name).await {
                Ok(made) => {
                    self.keep_made_tag(name, &made).await?;
                    self.note_made_tag(&made).await?;
                    self.end_tag_intent(name, true).await?;
                    return Ok(Ok(vec![made.id]));
                }
                // Sent, and nobody knows: round again, and look.
                Err(PortError::Doubt { .. }) => {}
                // Surely not applied.
                Err(error) => {
                    self.end_tag_intent(name, true).await?;
                    return Err(error.into());
                }
            }
        }
        Ok(Err(String::from("it was sent and is not there yet; a later run looks again")))
    }

    /// Looks for a tag; after a create in doubt for as long as it may still turn up, where this run may wait.
    async fn find_tag(&self, name: &str, sent: Option<&Intent>) -> Result<FoundTag, RunError> {
        loop {
            let rows = self.target.tags(name).await?.ok_or(PortError::NotFound)?;
            let mut found = pick(name, &rows, sent);
            if let Some(altered) = found.altered.take() {
                self.keep_made_tag(name, &altered).await?;
                self.note_made_tag(&altered).await?;
            }
            self.add_made_tag(name, &rows, &mut found).await?;
            let waiting = sent.is_some_and(|sent| self.now_ms() - sent.at < self.horizon_ms());
            if !found.ids.is_empty() || !waiting || !self.settings.wait {
                return Ok(found);
            }
            self.pause("the answer to a tag's create was lost; it is looked for", self.settings.settle).await?;
        }
    }

    /// Adds the tag that an earlier run made, wherever it is, if FIRST LINE altered its name or somebody renamed it since.
    async fn add_made_tag(&self, name: &str, rows: &[Named], found: &mut FoundTag) -> Result<(), RunError> {
        let Some(made) = self.made_tag(name).await? else { return Ok(()) };
        if found.ids.contains(&made.id) {
            return Ok(());
        }
        let mut there = rows.iter().find(|row| row.id == made.id).cloned();
        // The search need not find an altered name by the one that was sent.
        for other in [made.name.as_str(), ""] {
            if there.is_none() && found.ids.is_empty() && other != name {
                there = self.tags_if_shown(other).await?.into_iter().find(|row| row.id == made.id);
            }
        }
        match there {
            Some(row) if row.name == made.name => found.ids.push(row.id),
            // Another tag has the name by now: this one stands for something else.
            Some(_) if !found.ids.is_empty() => {}
            Some(row) => {
                self.notice(format!(
                    "the tag {} that was made for \"{name}\" is called \"{}\" in FIRST LINE now; it is used as it is",
                    row.id, row.name
                ));
                found.ids.push(row.id);
            }
            None => {}
        }
        found.ids.sort_unstable();
        Ok(())
    }

    /// Tags by a name; none where the search for it is refused.
    async fn tags_if_shown(&self, name: &str) -> Result<Vec<Named>, PortError> {
        match self.target.tags(name).await {
            Ok(rows) => Ok(rows.unwrap_or_default()),
            Err(PortError::Refused { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The tag that an earlier run made for a name.
    async fn made_tag(&self, name: &str) -> Result<Option<Named>, RunError> {
        let made = self.store.profile_get(&self.tag_key(TAG_MADE, name)).await?;
        Ok(made.and_then(|made| Some(Named { id: made["id"].as_i64()?, name: made["name"].as_str()?.to_owned() })))
    }

    /// Keeps what a create made, so that it is known again under whatever name.
    async fn keep_made_tag(&self, name: &str, made: &Named) -> Result<(), RunError> {
        if made.name != name {
            self.notice(format!(
                "FIRST LINE keeps the tag \"{name}\" as \"{}\"; it is used under that name",
                made.name
            ));
        }
        let row = json!({ "id": made.id, "name": made.name });
        Ok(self.store.profile_put(&self.tag_key(TAG_MADE, name), &row).await?)
    }

    /// A tag belongs to no contact; its id stands where a record's would.
    async fn note_made_tag(&self, made: &Named) -> Result<(), RunError> {
        let entry = self.entry(LiveDeskId(0), FirstLineId(made.id), action::TAG, "a label stands for it");
        Ok(self.store.write(vec![WriteOp::Journal(entry)]).await?)
    }

    /// A create of this tag whose answer was lost, in this run or an earlier one.
    async fn tag_intent(&self, name: &str) -> Result<Option<Intent>, RunError> {
        Ok(self.store.profile_get(&self.tag_key(TAG_INTENT, name)).await?.as_ref().and_then(Intent::from_json))
    }

    async fn end_tag_intent(&self, name: &str, sent: bool) -> Result<(), RunError> {
        if sent {
            self.store.profile_put(&self.tag_key(TAG_INTENT, name), &Value::Null).await?;
        }
        Ok(())
    }

    fn tag_key(&self, kind: &str, name: &str) -> String {
        format!("{kind} {}", name_digest(self.store.hash_key(), name))
    }
}

/// Why a tag cannot be had; what concerns more than tags is an error.
fn why_refused(error: RunError) -> Result<String, RunError> {
    match error {
        RunError::Port(PortError::Refused { status, .. }) => Ok(format!("refused with status {status}")),
        RunError::Port(PortError::NotFound) => Ok(String::from("FIRST LINE has no /contact-tag (status 404)")),
        error => Err(error),
    }
}

/// A create of a tag that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Intent {
    /// When.
    at: i64,
    /// The tags of a similar name that were there before, where they are known: another one is what it made.
    alike: Option<Vec<i64>>,
}

impl Intent {
    fn json(&self) -> Value {
        json!({ "at": self.at, "alike": self.alike })
    }

    /// Reads what [`Self::json`] wrote, or the time alone, as it was written once.
    fn from_json(stored: &Value) -> Option<Self> {
        let alike = stored["alike"].as_array().map(|ids| ids.iter().filter_map(Value::as_i64).collect());
        Some(Self { at: stored["at"].as_i64().or_else(|| stored.as_i64())?, alike })
    }
}

/// What a search for a tag came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct FoundTag {
    /// The tags to use, oldest first.
    ids: Vec<i64>,
    /// Tags whose name differs in case and spaces at most.
    alike: Vec<i64>,
    /// The tag that a create in doubt made, under another name than the one that was sent.
    altered: Option<Named>,
}

/// Picks among the rows of a search, which is fuzzy. Of several of one name the oldest is used.
fn pick(name: &str, rows: &[Named], sent: Option<&Intent>) -> FoundTag {
    let plain = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let alike: Vec<&Named> = rows.iter().filter(|row| plain(&row.name) == plain(name)).collect();
    let mut ids: Vec<i64> = rows.iter().filter(|row| row.name == name).map(|row| row.id).collect();
    ids.sort_unstable();
    let known = sent.and_then(|sent| sent.alike.as_ref());
    let altered = known.filter(|_| ids.is_empty()).and_then(|known| {
        let new = alike.iter().filter(|row| !known.contains(&row.id));
        new.min_by_key(|row| row.id).map(|row| (*row).clone())
    });
    FoundTag { ids, alike: alike.iter().map(|row| row.id).collect(), altered }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Intent, pick};
    use crate::sync::ports::Named;

    fn rows(rows: &[(i64, &str)]) -> Vec<Named> {
        rows.iter().map(|(id, name)| Named { id: *id, name: (*name).to_owned() }).collect()
    }

    #[test]
    fn only_the_exact_name_is_the_tag_unless_our_own_create_was_altered() {
        let found = rows(&[(9, "VIP"), (4, "VIP"), (3, "vip"), (2, "VIP gold")]);
        assert_eq!(pick("VIP", &found, None).ids, [4, 9]);
        let found = rows(&[(3, "vip"), (2, "VIP gold")]);
        let before = pick("VIP", &found, None);
        assert_eq!((before.ids.as_slice(), before.alike.as_slice(), &before.altered), (&[][..], &[3][..], &None));
        // A create in doubt, and one that looks like it more than before.
        let sent = Intent { at: 5, alike: Some(before.alike) };
        assert_eq!(pick("VIP", &found, Some(&sent)).altered, None);
        let found = rows(&[(3, "vip"), (7, " Vip ")]);
        assert_eq!(pick("VIP", &found, Some(&sent)).altered.map(|row| row.id), Some(7));
        assert_eq!(
            pick("VIP", &found, Some(&Intent { at: 5, alike: None })).altered,
            None,
            "what was there is not known"
        );
    }

    #[test]
    fn an_intent_comes_back_from_the_state_as_it_was() {
        let intent = Intent { at: 5, alike: Some(vec![1, 2]) };
        assert_eq!(Intent::from_json(&intent.json()), Some(intent));
        assert_eq!(Intent::from_json(&json!(5)), Some(Intent { at: 5, alike: None }));
        assert_eq!(Intent::from_json(&json!(null)), None);
    }
}
