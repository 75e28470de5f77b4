//! Holding a run against a plan: what is not what was planned is left alone and told.
//!
//! In memory stand, per line, an id, a digest of what is to be done and a place in the file: 48 bytes, 10 MB for 200,000
//! contacts; and a pair of ids per customer that is to be linked. What is different is looked up in the file itself, for the few contacts where something is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::format::{End, FORMAT, Header, Line, Pen, action_of};
use crate::domain::hash::{Digest, HashKey};
use crate::domain::ids::{FirstLineId, LiveDeskId, RunId};
use crate::domain::outcome::Outcome;
use crate::store::{Origin, Store, StoreError};
use crate::sync::engine::RunError;
use crate::sync::overseer::{Action, Approval, Overseer, Proposal};
use crate::sync::summary::LISTED;

/// Profile key: the plan that was last carried out, and the run that began it.
const BEGUN: &str = "plan_begun";
/// Links that are read at once.
const AT_ONCE: usize = 500;

/// Why a plan is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("the plan {} cannot be read", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no plan, or one of another format.
    #[error("{} is no plan that this program can carry out: {why}; nothing was done", .path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It was made for something else.
    #[error("the plan {} was made for something else; nothing was done. Make a new one. The differences:\n  {}", .path.display(), .differences.join("\n  "))]
    Other {
        /// Which.
        path: PathBuf,
        /// One sentence each.
        differences: Vec<String>,
    },
    /// A line is not as it was written.
    #[error("the plan {} is damaged in line {line}: {why}; nothing was done. Make a new one", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One line of the plan.
struct Entry {
    id: i64,
    afterwards: bool,
    deed: Digest,
    is_deed: bool,
    offset: u64,
    /// The contact came by.
    met: bool,
    /// It was as planned when it was asked for.
    granted: bool,
}

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
    /// The first run that carried this plan out, and when: one that was interrupted is gone on with.
    begun: (RunId, i64),
    entries: Mutex<Vec<Entry>>,
    /// Contacts that are not as planned and that are counted as something else.
    beside: Mutex<Beside>,
}

impl Guard {
    /// Reads a plan and holds it against what this run is made with. Nothing is done when a line is damaged.
    pub async fn open(path: &Path, now: &Header, store: Store, run: RunId) -> Result<Self, PlanError> {
        let Read { entries, adopted, end, mark } = read(path, now, store.hash_key())?;
        let names = super::field_names(&store).await?;
        let begun = begun(&store, &mark, run).await?;
        Ok(Self {
            store,
            names,
            path: path.to_owned(),
            adopted,
            tags: end.tags_made.into_iter().collect(),
            run,
            begun,
            entries: Mutex::new(entries),
            beside: Mutex::default(),
        })
    }

    /// Contacts that are not as planned beside those that the run counted as moved; and those of the plan that did not come
    /// up, up to `at_most` of them, with how many there are.
    pub async fn rest(&self, at_most: usize) -> Result<(Beside, Vec<LiveDeskId>, u64), StoreError> {
        let beside = std::mem::take(&mut *self.beside.lock().unwrap_or_else(PoisonError::into_inner));
        let open: Vec<LiveDeskId> = {
            let entries = self.entries();
            entries.iter().filter(|entry| entry.is_deed && !entry.met).map(|entry| LiveDeskId(entry.id)).collect()
        };
        let (mut listed, mut count) = (Vec::new(), 0);
        for ids in open.chunks(AT_ONCE) {
            let links = self.store.links_for(ids).await?;
            let forgotten = self.store.forgotten_among(ids).await?;
            for id in ids.iter().filter(|id| !forgotten.contains(id)) {
                if links.get(id).is_some_and(|link| link.run >= self.begun.0 || link.updated_at.0 >= self.begun.1) {
                    continue;
                }
                count += 1;
                if listed.len() < at_most {
                    listed.push(*id);
                }
            }
        }
        Ok((beside, listed, count))
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn judge(&self, proposal: Proposal) -> Result<Approval, RunError> {
        let id = proposal.id;
        let pen = Pen { key: self.store.hash_key(), names: &self.names, show: &|_| String::new() };
        let now = Line::of(&proposal, pen);
        let offset = {
            let mut entries = self.entries();
            let Some(entry) = find(&mut entries, id, now.is_afterwards()) else {
                let what = format!("not in the plan; now: {}", now.action);
                return Ok(Approval::Moved(vec![what]));
            };
            entry.met = true;
            if entry.granted || entry.deed == now.deed(self.store.hash_key()) {
                entry.granted = true;
                return Ok(Approval::Granted);
            }
            entry.offset
        };
        let planned = line_at(&self.path, offset);
        let planned = planned.map_err(|why| RunError::Refused(format!("the plan cannot be read any more: {why}")))?;
        if self.is_under_way(id, &planned).await? {
            return Ok(Approval::Granted);
        }
        Ok(Approval::Moved(planned.differences(&now)))
    }

    /// Whether an interrupted run of this plan left this contact half done: then it is finished.
    async fn is_under_way(&self, id: LiveDeskId, planned: &Line) -> Result<bool, StoreError> {
        let Some(link) = self.store.links_for(&[id]).await?.remove(&id) else { return Ok(false) };
        if link.fingerprint.is_some() || !planned.is_deed() {
            return Ok(false);
        }
        // A create whose answer was lost, and that was found just now.
        if link.run == self.run && link.origin == Origin::Created {
            return Ok(planned.action == Action::Create.as_str());
        }
        let earlier = |run: RunId| run >= self.begun.0 && run < self.run;
        let journal = self.store.journal_of_contact(id).await?;
        Ok(earlier(link.run) || journal.iter().any(|entry| earlier(entry.run)))
    }

    async fn hear(&self, id: LiveDeskId, outcome: Outcome) -> Result<Outcome, RunError> {
        let offset = {
            let mut entries = self.entries();
            let Some(entry) = find(&mut entries, id, false) else { return Ok(outcome) };
            let first = !entry.met;
            entry.met = true;
            // What is in doubt is counted as that, and gone on with once it is settled.
            let is_told = matches!(outcome, Outcome::Moved(_) | Outcome::Parked);
            if entry.granted || !entry.is_deed || is_told || !first {
                return Ok(outcome);
            }
            entry.offset
        };
        let done = |link: &crate::store::Link| link.run >= self.begun.0 || link.updated_at.0 >= self.begun.1;
        if outcome == Outcome::Unchanged && self.store.links_for(&[id]).await?.get(&id).is_some_and(done) {
            // An earlier run of this plan has done it.
            return Ok(outcome);
        }
        let planned = line_at(&self.path, offset).map_or_else(|_| String::from("something else"), |line| line.action);
        let what = format!("planned: {planned}; now: {}", action_of(&outcome).replace('_', " "));
        Ok(match outcome {
            Outcome::Unchanged | Outcome::NotSelected | Outcome::Conflict => Outcome::Moved(vec![what]),
            // What these say of themselves is counted, and judged later on.
            other => {
                let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
                beside.count += 1;
                if beside.rows.len() < LISTED {
                    beside.rows.push((id, what));
                }
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
        self.hear(id, outcome).boxed()
    }

    fn reserved_for(&self, target: FirstLineId) -> Option<LiveDeskId> {
        self.adopted.get(&target).copied()
    }

    fn may_make_tag(&self, name: &str) -> bool {
        self.tags.contains(name)
    }
}

fn find(entries: &mut [Entry], id: LiveDeskId, afterwards: bool) -> Option<&mut Entry> {
    let place = entries.binary_search_by_key(&(id.0, afterwards), |entry| (entry.id, entry.afterwards)).ok()?;
    entries.get_mut(place)
}

/// What a plan holds.
struct Read {
    entries: Vec<Entry>,
    adopted: HashMap<FirstLineId, LiveDeskId>,
    end: End,
    /// What it is known by.
    mark: String,
}

/// Every line, checked; the end; and what this plan is known by.
fn read(path: &Path, now: &Header, key: &HashKey) -> Result<Read, PlanError> {
    let unreadable = |source| PlanError::Unreadable { path: path.to_owned(), source };
    let not_ours = |why: &str| PlanError::NotOurs { path: path.to_owned(), why: why.to_owned() };
    let damaged = |line: u64, why: &str| PlanError::Damaged { path: path.to_owned(), line, why: why.to_owned() };
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut text = Vec::new();
    let mut offset = reader.read_until(b'\n', &mut text).map_err(unreadable)? as u64;
    let head: Value = serde_json::from_slice(&text).map_err(|_| not_ours("its first line is no header"))?;
    match head.get("deskferry_plan").and_then(Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => return Err(not_ours(&format!("it has format {format}, this program knows {FORMAT}"))),
        None => return Err(not_ours("its first line is no header")),
    }
    let mark = blake_of(key, &text);
    let header: Header = serde_json::from_value(head).map_err(|_| damaged(1, "it is no whole header"))?;
    let differences = header.differences(now);
    if !differences.is_empty() {
        return Err(PlanError::Other { path: path.to_owned(), differences });
    }
    let (mut entries, mut adopted): (Vec<Entry>, _) = (Vec::new(), HashMap::new());
    for number in 2_u64.. {
        text.clear();
        let length = reader.read_until(b'\n', &mut text).map_err(unreadable)? as u64;
        if length == 0 {
            return Err(damaged(number, "the file ends before the plan does"));
        }
        let line: Value = serde_json::from_slice(&text).map_err(|_| damaged(number, "it is no JSON object"))?;
        if let Some(end) = line.get("end") {
            let end: End = serde_json::from_value(end.clone()).map_err(|_| damaged(number, "it is no whole end"))?;
            if end.lines != entries.len() as u64 {
                let why = format!("the plan had {} lines of contacts, here are {}", end.lines, entries.len());
                return Err(damaged(number, &why));
            }
            entries.sort_unstable_by_key(|entry| (entry.id, entry.afterwards));
            let same = |pair: &&[Entry]| (pair[0].id, pair[0].afterwards) == (pair[1].id, pair[1].afterwards);
            if let Some(pair) = entries.windows(2).find(same) {
                return Err(damaged(number, &format!("contact {} stands in it twice", pair[0].id)));
            }
            return Ok(Read { entries, adopted, end, mark });
        }
        let line: Line = serde_json::from_value(line).map_err(|_| damaged(number, "it is no whole line"))?;
        if !line.is_whole(key) {
            return Err(damaged(number, "it was changed since it was written"));
        }
        if let Some(target) = line.firstline_id.filter(|_| line.action == Action::Adopt.as_str()) {
            adopted.insert(FirstLineId(target), LiveDeskId(line.livedesk_id));
        }
        entries.push(Entry {
            id: line.livedesk_id,
            afterwards: line.is_afterwards(),
            deed: line.deed(key),
            is_deed: line.is_deed(),
            offset,
            met: false,
            granted: false,
        });
        offset += length;
    }
    unreachable!("a file has an end")
}

fn blake_of(key: &HashKey, text: &[u8]) -> String {
    key.digest("plan header", text).to_string()
}

fn line_at(path: &Path, offset: u64) -> Result<Line, std::io::Error> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut text = String::new();
    BufReader::new(file).read_line(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// Since when this plan is carried out: an interrupted run of it is gone on with, not judged anew.
async fn begun(store: &Store, mark: &str, run: RunId) -> Result<(RunId, i64), StoreError> {
    let known = store.profile_get(BEGUN).await?;
    if let Some(known) = known.filter(|known| known["plan"] == mark)
        && let (Some(first), Some(at)) = (known["run"].as_i64(), known["at"].as_i64())
    {
        return Ok((RunId(first), at));
    }
    let at = store.run(run).await?.map_or(0, |run| run.started_at.0);
    store.profile_put(BEGUN, &json!({ "plan": mark, "run": run.0, "at": at })).await?;
    Ok((run, at))
}
