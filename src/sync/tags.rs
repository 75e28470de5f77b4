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
use crate::domain::ids::LiveDeskId;
use crate::domain::record::{DesiredTags, Owner};
use crate::mapping::tags::TagLine;
use crate::sync::decide::lists::TagRule;
use crate::sync::engine::{Engine, RunError};
use crate::sync::labels::{Label, LabelReader};
use crate::sync::ports::{ContactSource, ContactTarget, PortError};
use crate::sync::progress::{Phase, ProgressEvent};
use crate::sync::scan::Goal;

/// Profile keys of tags' creates that may be under way, before the digest of the name: when it was sent.
const TAG_INTENT: &str = "tag_intent";

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

/// The ids of the tags of exactly this name, the oldest first; `None` where there are no tags at all. The search is fuzzy.
pub async fn ids_of(target: &impl ContactTarget, name: &str) -> Result<Option<Vec<i64>>, PortError> {
    Ok(target.tags(name).await?.map(|rows| {
        let mut ids: Vec<i64> = rows.into_iter().filter(|row| row.name == name).map(|row| row.id).collect();
        ids.sort_unstable();
        ids
    }))
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
        summary: &mut TagSummary,
    ) -> Result<(), RunError> {
        if self.mapping.tags().is_empty() {
            return Ok(());
        }
        self.progress.event(ProgressEvent::Phase(Phase::Labels));
        let reader = LabelReader::start(Arc::clone(source)).await?;
        let mut table = TagTable::default();
        for line in self.mapping.tags() {
            let (labelled, complete) = self.labelled(&reader, line, max_rounds, summary).await?;
            // A tag that nobody is to have is not made.
            let ids = if labelled.is_empty() { Vec::new() } else { self.tag_ids(&line.tag, summary).await? };
            let digest = name_digest(self.store.hash_key(), &line.tag);
            table.tags.push(Tag { name: line.tag.clone(), digest, owner: line.owner, labelled, complete, ids });
        }
        // Set once: a run reads labels once.
        let _ = self.tags.set(table);
        Ok(())
    }

    /// Who has one of the labels of a tag, and whether nobody else has.
    async fn labelled<S: ContactSource>(
        &self,
        reader: &LabelReader<S>,
        line: &TagLine,
        max_rounds: u32,
        summary: &mut TagSummary,
    ) -> Result<(RoaringTreemap, bool), RunError> {
        // What takes tags off judges by absence.
        let goal = if line.owner == Owner::Source { Goal::Proven } else { Goal::Counted };
        let (mut all, mut complete) = (RoaringTreemap::new(), true);
        for label in &line.labels {
            match reader.read(label, goal, max_rounds, &self.stop).await? {
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
    async fn tag_ids(&self, name: &str, summary: &mut TagSummary) -> Result<Vec<i64>, RunError> {
        if let Some(ids) = self.tag_memory.as_ref().and_then(|memory| memory.get(name)) {
            return Ok(ids);
        }
        let found = match self.find_or_make_tag(name).await {
            Ok(found) => found,
            Err(RunError::Port(PortError::Refused { status, .. })) => Err(format!("refused with status {status}")),
            Err(RunError::Port(PortError::NotFound)) => {
                Err(String::from("FIRST LINE has no /contact-tag (status 404)"))
            }
            Err(error) => return Err(error),
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
        let mut sent_at = self.tag_intent(name).await?;
        for _ in 0..2 {
            let ids = self.find_tag(name, sent_at).await?;
            if !ids.is_empty() {
                self.end_tag_intent(name, sent_at).await?;
                return Ok(Ok(ids));
            }
            if sent_at.is_some_and(|at| self.now_ms() - at < self.horizon_ms()) {
                break;
            }
            let now = self.now_ms();
            self.store.profile_put(&self.tag_intent_key(name), &json!(now)).await?;
            sent_at = Some(now);
            match self.target.create_tag(name).await {
                Ok(made) => {
                    self.end_tag_intent(name, sent_at).await?;
                    return Ok(Ok(vec![made.id]));
                }
                // Sent, and nobody knows: round again, and look.
                Err(PortError::Doubt { .. }) => {}
                // Surely not applied.
                Err(error) => {
                    self.end_tag_intent(name, sent_at).await?;
                    return Err(error.into());
                }
            }
        }
        Ok(Err(String::from("it was sent and is not there yet; a later run looks again")))
    }

    /// Looks for a tag; after a create in doubt for as long as it may still turn up, where this run may wait.
    async fn find_tag(&self, name: &str, sent_at: Option<i64>) -> Result<Vec<i64>, RunError> {
        loop {
            // Of several of one name the oldest is used.
            let ids = ids_of(self.target.as_ref(), name).await?.ok_or(PortError::NotFound)?;
            let waiting = sent_at.is_some_and(|at| self.now_ms() - at < self.horizon_ms());
            if !ids.is_empty() || !waiting || !self.settings.wait {
                return Ok(ids);
            }
            self.pause("the answer to a tag's create was lost; it is looked for", self.settings.settle).await?;
        }
    }

    /// When a create of this tag was sent whose answer was lost, in this run or an earlier one.
    async fn tag_intent(&self, name: &str) -> Result<Option<i64>, RunError> {
        Ok(self.store.profile_get(&self.tag_intent_key(name)).await?.and_then(|at| at.as_i64()))
    }

    async fn end_tag_intent(&self, name: &str, sent_at: Option<i64>) -> Result<(), RunError> {
        if sent_at.is_some() {
            self.store.profile_put(&self.tag_intent_key(name), &Value::Null).await?;
        }
        Ok(())
    }

    fn tag_intent_key(&self, name: &str) -> String {
        format!("{TAG_INTENT} {}", name_digest(self.store.hash_key(), name))
    }
}
