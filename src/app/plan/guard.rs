//! Holding a run against a plan: what is not what was planned is left alone and told.
//!
//! In memory stand, per line, an id, a digest of what is to be done and a place in the file: 48 bytes, 10 MB for 200,000
//! contacts; and a pair of ids per customer that is to be linked. What is different is looked up in the file itself, for the few contacts where something is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use roaring::RoaringTreemap;

use super::format::{Header, Line, Pen, action_of};
use super::reading::{Entry, PlanError, Read, line_at, read};
use crate::domain::hash::Digest;
use crate::domain::ids::{FirstLineId, LiveDeskId, RunId};
use crate::domain::outcome::Outcome;
use crate::store::{Store, StoreError};
use crate::sync::engine::RunError;
use crate::sync::overseer::{Action, Approval, Overseer, Proposal, Stage};
use crate::sync::summary::LISTED;

/// Links that are read at once.
const AT_ONCE: usize = 500;

/// Contacts that are not as planned and that are counted as something else: some of them, and how many.
#[derive(Debug, Default)]
pub struct Beside {
    /// Which, and what is different.
    pub rows: Vec<(LiveDeskId, String)>,
    /// How many.
    pub count: u64,
}

/// What is refused because it is not as planned.
pub struct Guard {
    store: Store,
    names: BTreeMap<i64, String>,
    path: PathBuf,
    /// Customers that the plan links, and to whom.
    adopted: HashMap<FirstLineId, LiveDeskId>,
    tags: BTreeSet<String>,
    run: RunId,
    /// What the plan is known by: what an interrupted run of it did is done, and not judged anew.
    mark: String,
    entries: Mutex<Vec<Entry>>,
    /// Contacts that are not as planned and that are counted as something else.
    beside: Mutex<Beside>,
    /// Contacts that were refused.
    refused: Mutex<RoaringTreemap>,
}

impl Guard {
    /// Reads a plan and holds it against what this run is made with. Nothing is done when a line is damaged.
    pub async fn open(path: &Path, now: &Header, store: Store, run: RunId) -> Result<Self, PlanError> {
        let Read { entries, adopted, end, mark } = read(path, now, store.hash_key())?;
        let names = super::field_names(&store).await?;
        Ok(Self {
            store,
            names,
            path: path.to_owned(),
            adopted,
            tags: end.tags_made.into_iter().collect(),
            run,
            mark,
            entries: Mutex::new(entries),
            beside: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    /// Notes that the run carries the plan out: before its first write, and after everybody agreed.
    pub async fn begin(&self) -> Result<(), StoreError> {
        self.store.carries_out(self.run, &self.mark).await
    }

    /// Contacts that are not as planned beside those that the run counted as moved; and those of the plan that did not come
    /// up, up to `at_most` of them, with how many there are.
    pub async fn rest(&self, at_most: usize) -> Result<(Beside, Vec<LiveDeskId>, u64), StoreError> {
        let beside = std::mem::take(&mut *self.beside.lock().unwrap_or_else(PoisonError::into_inner));
        // A repair that did not come up has nothing to repair.
        let open: Vec<(LiveDeskId, Stage)> = {
            let entries = self.entries();
            let open = entries.iter().filter(|entry| entry.is_deed && !entry.met && entry.stage != Stage::Before);
            open.map(|entry| (LiveDeskId(entry.id), entry.stage)).collect()
        };
        let (mut listed, mut count) = (Vec::new(), 0);
        for entries in open.chunks(AT_ONCE) {
            let ids: Vec<LiveDeskId> = entries.iter().map(|(id, _)| *id).collect();
            let done = self.done(&ids).await?;
            let forgotten = self.store.forgotten_among(&ids).await?;
            for entry in entries.iter().filter(|entry| !forgotten.contains(&entry.0) && !done.contains(entry)) {
                count += 1;
                if listed.len() < at_most {
                    listed.push(entry.0);
                }
            }
        }
        Ok((beside, listed, count))
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, RoaringTreemap> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a contact that is counted as something else.
    fn tell_beside(&self, id: LiveDeskId, what: String) {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        beside.count += 1;
        if beside.rows.len() < LISTED {
            beside.rows.push((id, what));
        }
    }

    async fn judge(&self, proposal: Proposal) -> Result<Approval, RunError> {
        let id = proposal.id;
        let pen = Pen { key: self.store.hash_key(), names: &self.names, show: &|_| String::new() };
        let now = Line::of(&proposal, pen);
        let answer = self.compare(id, &now).await?;
        // Of a contact that comes by it is heard how it ended.
        if let Approval::Moved(what) = &answer
            && now.stage() != Stage::Contact
        {
            self.tell_beside(id, what.join("; "));
        }
        Ok(answer)
    }

    async fn compare(&self, id: LiveDeskId, now: &Line) -> Result<Approval, RunError> {
        let (offset, deed, granted) = {
            let mut entries = self.entries();
            let Some(entry) = find(&mut entries, id, now.stage()) else {
                let what = format!("not in the plan; now: {}", now.action);
                return Ok(Approval::Moved(vec![what]));
            };
            entry.met = true;
            if entry.deed == now.deed(self.store.hash_key()) {
                entry.granted = true;
                return Ok(Approval::Granted);
            }
            (entry.offset, entry.deed, entry.granted)
        };
        let planned = self.planned(id, offset, deed)?;
        if !planned.is_deed() || !self.is_half_done(id, granted).await? {
            return Ok(Approval::Moved(planned.differences(now)));
        }
        let beyond = planned.beyond(now);
        if !beyond.is_empty() {
            let what = format!("begun, and the rest is not as planned: {}", beyond.join("; "));
            return Ok(Approval::Moved(vec![what]));
        }
        if let Some(entry) = find(&mut self.entries(), id, now.stage()) {
            entry.granted = true;
        }
        Ok(Approval::Granted)
    }

    /// The line of a contact, read again.
    fn planned(&self, id: LiveDeskId, offset: u64, deed: Digest) -> Result<Line, RunError> {
        let refuse =
            |why: &str| RunError::Refused(format!("the plan {} cannot be gone on with: {why}", self.path.display()));
        let line = line_at(&self.path, offset).map_err(|why| refuse(&why.to_string()))?;
        if line.livedesk_id != id.0 || line.deed(self.store.hash_key()) != deed {
            return Err(refuse("the file was changed meanwhile"));
        }
        Ok(line)
    }

    /// Whether this plan left the contact half done, in this run or in one that was interrupted: then the rest is finished.
    async fn is_half_done(&self, id: LiveDeskId, granted: bool) -> Result<bool, StoreError> {
        let Some(link) = self.store.links_for(&[id]).await?.remove(&id) else { return Ok(false) };
        let is_open = link.fingerprint.is_none();
        Ok(is_open && (granted || !self.store.planned_changes(&[id], &self.mark, self.run).await?.is_empty()))
    }

    /// What this plan has done so far and nobody took back.
    async fn done(&self, ids: &[LiveDeskId]) -> Result<HashSet<(LiveDeskId, Stage)>, StoreError> {
        let changes = self.store.planned_changes(ids, &self.mark, RunId(self.run.0 + 1)).await?;
        let stage = |action: &str| Action::parse(action).map_or(Stage::Contact, Action::stage);
        Ok(changes.into_iter().map(|(id, action)| (id, stage(&action))).collect())
    }

    async fn hear(&self, id: LiveDeskId, outcome: Outcome) -> Result<Outcome, RunError> {
        let offset = {
            let mut entries = self.entries();
            let Some(entry) = find(&mut entries, id, Stage::Contact) else { return Ok(outcome) };
            let first = !entry.met;
            entry.met = true;
            // What is in doubt is counted as that, and gone on with once it is settled.
            let is_told = matches!(outcome, Outcome::Moved(_) | Outcome::Parked);
            // A create that an earlier run sent is found in the plan, too, and nothing is left to be asked about.
            let is_bare = entry.deed == Line::bare(id.0, &outcome).deed(self.store.hash_key());
            if entry.granted || !entry.is_deed || is_told || is_bare || !first {
                return Ok(outcome);
            }
            entry.offset
        };
        let well = matches!(outcome, Outcome::Unchanged | Outcome::Created | Outcome::Adopted | Outcome::Updated);
        if well && self.done(&[id]).await?.contains(&(id, Stage::Contact)) {
            // An earlier run of this plan has done it.
            return Ok(outcome);
        }
        let planned = line_at(&self.path, offset).map_or_else(|_| String::from("something else"), |line| line.action);
        let what = format!("planned: {planned}; now: {}", action_of(&outcome).replace('_', " "));
        Ok(match outcome {
            Outcome::Unchanged | Outcome::NotSelected | Outcome::Conflict => Outcome::Moved(vec![what]),
            // What these say of themselves is counted, and judged later on.
            other => {
                self.tell_beside(id, what);
                other
            }
        })
    }
}

impl Overseer for Guard {
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<Approval, RunError>> {
        self.judge(proposal).boxed()
    }

    fn ended(&self, id: LiveDeskId, outcome: Outcome) -> BoxFuture<'_, Result<Outcome, RunError>> {
        self.hear(id, outcome)
            .inspect_ok(move |outcome| {
                if matches!(outcome, Outcome::Moved(_)) {
                    self.refused().insert(id.0.unsigned_abs());
                }
            })
            .boxed()
    }

    fn reserved_for(&self, target: FirstLineId) -> Option<LiveDeskId> {
        self.adopted.get(&target).copied()
    }

    fn has_refused(&self, id: LiveDeskId) -> bool {
        self.refused().contains(id.0.unsigned_abs())
    }

    fn may_make_tag(&self, name: &str) -> bool {
        self.tags.contains(name)
    }
}

fn find(entries: &mut [Entry], id: LiveDeskId, stage: Stage) -> Option<&mut Entry> {
    let place = entries.binary_search_by_key(&(id.0, stage), |entry| (entry.id, entry.stage)).ok()?;
    entries.get_mut(place)
}
