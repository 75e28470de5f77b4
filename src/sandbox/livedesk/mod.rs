//! The simulated LiveDesk account: a shared model with verbs for tests and the documented paths for clients.
//!
//! `order` and `model` hold the contacts, `api` speaks HTTP, `wire` spells values as the switches say. It follows the
//! platform notes, sections 2 to 6 and 8; it never asks who the client is.

mod api;
mod model;
mod order;
mod switches;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use api::dump_body;
pub use switches::{DirectionStyle, LabelFilter, LiveDeskSwitches, PageStyle, Spelling, Ties};

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use serde_json::{Value, json};

use self::model::{Model, Stored};
use self::order::{Field, Sort};
use crate::sandbox::clock;
use crate::sandbox::drift::{Change, Drift};
use crate::sandbox::people::{ContactObject, People, id_of, is_listed, object};
use crate::sandbox::rng::{Permutation, below, mix};

/// The simulated account. A clone is another handle on the same account.
#[derive(Clone)]
pub struct LiveDesk(Arc<Shared>);

impl std::fmt::Debug for LiveDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveDesk").finish_non_exhaustive()
    }
}

struct Shared {
    people: People,
    seed: u64,
    state: Mutex<State>,
}

struct State {
    model: Model,
    switches: Arc<LiveDeskSwitches>,
    drift: Drift,
    /// Labels that were set; everybody else has those of the generator.
    labels: BTreeMap<u64, Vec<String>>,
    /// List requests ever, never reset: what a plan made anew depends on.
    served: u64,
    counts: BTreeMap<&'static str, u64>,
}

/// One page, taken out of the lock.
pub(crate) struct Page {
    rows: Vec<Stored>,
    total: usize,
    /// Which list request this was.
    served: u64,
    switches: Arc<LiveDeskSwitches>,
}

impl LiveDesk {
    /// An account that holds `people`.
    pub fn new(people: People, switches: LiveDeskSwitches, seed: u64) -> Self {
        let state = State {
            model: Model::new(people),
            switches: Arc::new(switches),
            drift: Drift::default(),
            labels: BTreeMap::new(),
            served: 0,
            counts: BTreeMap::new(),
        };
        Self(Arc::new(Shared { people, seed, state: Mutex::new(state) }))
    }

    /// The documented paths, below `/api/v2/accounts`.
    pub fn router(&self) -> Router {
        api::router(self.clone())
    }

    /// The switches as they are now.
    pub fn switches(&self) -> LiveDeskSwitches {
        LiveDeskSwitches::clone(&self.state().switches)
    }

    /// Changes the switches while running.
    pub fn set_switches(&self, switches: LiveDeskSwitches) {
        self.state().switches = Arc::new(switches);
    }

    /// Adds a contact; its id is chosen by the account and returned. `created_at` is now unless it is given; other
    /// missing fields stay missing.
    pub fn add_contact(&self, contact: Value) -> u64 {
        let mut contact = object(contact);
        contact.entry("created_at").or_insert_with(|| clock::now_seconds().into());
        self.state().model.insert(|_| contact)
    }

    /// Edits a contact as an agent would: no timestamp moves. False when there is no such contact.
    pub fn edit(&self, id: u64, change: impl FnOnce(&mut ContactObject)) -> bool {
        let mut state = self.state();
        state.model.find(id).is_some_and(|row| state.model.edit(row, change))
    }

    /// Deletes a contact. False when there is no such contact.
    pub fn delete(&self, id: u64) -> bool {
        let mut state = self.state();
        state.model.find(id).is_some_and(|row| state.model.delete(row))
    }

    /// Brings a deleted contact back as it was last stored, as a restored backup would. False when it was not deleted.
    pub fn restore(&self, id: u64) -> bool {
        self.state().model.restore(id)
    }

    /// Merges `mergee` into `base`; the mergee's id vanishes. False when either does not exist.
    pub fn merge(&self, base: u64, mergee: u64) -> bool {
        let mut state = self.state();
        match (state.model.find(base), state.model.find(mergee)) {
            (Some(base), Some(mergee)) => state.model.merge(base, mergee),
            _ => false,
        }
    }

    /// Gives a contact these labels and no others, as an agent would: no timestamp moves.
    pub fn set_labels(&self, id: u64, labels: &[&str]) {
        self.state().labels.insert(id, labels.iter().map(|label| (*label).to_owned()).collect());
    }

    /// The labels of a contact.
    pub fn labels(&self, id: u64) -> Vec<String> {
        let state = self.state();
        let row = state.model.find(id);
        row.map(|row| state.labels_of(self.0.people, row)).unwrap_or_default()
    }

    /// Whether some contact has this label.
    pub(crate) fn has_label(&self, label: &str) -> bool {
        let state = self.state();
        let mut rows = state.model.existing();
        rows.any(|row| state.labels_of(self.0.people, row).iter().any(|it| it == label))
    }

    /// The contact sends a message: `last_activity_at` becomes now.
    pub fn message(&self, id: u64) -> bool {
        self.edit(id, |contact| {
            contact.insert("last_activity_at".to_owned(), clock::now_seconds().into());
        })
    }

    /// One contact, hidden or not, spelled plainly (ids and times as numbers).
    pub fn contact(&self, id: u64) -> Option<ContactObject> {
        let stored = {
            let state = self.state();
            state.model.find(id).map(|row| state.model.stored(row))
        };
        stored.map(|stored| stored.render(self.0.people))
    }

    /// Ids of the contacts that the list shows now, ascending.
    pub fn listed_ids(&self) -> Vec<u64> {
        let state = self.state();
        state.model.existing().filter(|row| state.model.lists(*row)).map(id_of).collect()
    }

    /// Ids deleted or merged away so far, oldest first.
    pub fn deleted_ids(&self) -> Vec<u64> {
        self.state().model.deleted().to_vec()
    }

    /// Of the ids listed `earlier`, those that are listed still: what a scan between then and now must have seen.
    pub fn survivors(&self, earlier: &[u64]) -> Vec<u64> {
        let now: HashSet<u64> = self.listed_ids().into_iter().collect();
        earlier.iter().copied().filter(|id| now.contains(id)).collect()
    }

    /// Everything the account holds, plainly spelled: `contacts` (listed), `hidden`, and `deleted` ids.
    pub fn dump(&self) -> Value {
        let (listed, hidden): (Vec<_>, Vec<_>) = self.contacts().partition(is_listed);
        json!({ "contacts": listed, "hidden": hidden, "deleted": self.deleted_ids() })
    }

    /// Every contact as it is at the time of the call, rendered one by one.
    pub fn contacts(&self) -> impl Iterator<Item = ContactObject> + Send + use<> {
        let people = self.0.people;
        let all: Vec<Stored> = {
            let state = self.state();
            state.model.existing().map(|row| state.model.stored(row)).collect()
        };
        all.into_iter().map(move |stored| stored.render(people))
    }

    /// Contacts by kind, requests served, and drift by kind.
    pub fn counts(&self) -> Value {
        let state = self.state();
        json!({
            "listed": state.model.listed(), "hidden": state.model.hidden(), "deleted": state.model.deleted().len(),
            "drift_operations": state.drift.done(), "served": state.counts,
        })
    }

    /// Starts counting requests again; contacts and drift stay.
    pub fn reset_counts(&self) {
        self.state().counts.clear();
    }

    fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    /// Serves one page of the plain list; drift strikes first.
    fn page(&self, sort: Sort, page: u64, size: u32) -> Page {
        let mut state = self.state();
        state.drift(self.0.people, self.0.seed);
        let served = state.served;
        state.served += 1;
        let switches = Arc::clone(&state.switches);
        let size = size as usize;
        let start = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(size);
        let total = state.model.listed();
        let scramble = scramble(switches.ties, self.0.seed, sort, start..start.saturating_add(size), total, served);
        let rows = if start < total {
            state.model.order(sort.field).rows(sort, start..start + size, scramble)
        } else {
            Vec::new()
        };
        let rows = rows.into_iter().map(|row| state.model.stored(row)).collect();
        Page { rows, total, served, switches }
    }

    /// Serves one page of a search or of a label's contacts. It looks at every contact, as the real one does.
    fn search(
        &self,
        sort: Sort,
        page: u64,
        size: u32,
        labels: &[String],
        matches: impl Fn(&ContactObject) -> bool,
    ) -> Page {
        let people = self.0.people;
        let (candidates, switches, served) = {
            let mut state = self.state();
            state.served += 1;
            let len = state.model.listed();
            let mut rows = state.model.order(sort.field).rows(sort, 0..len, None);
            if state.switches.search_counts_page {
                rows.extend(state.model.existing().filter(|row| !state.model.lists(*row)));
            }
            rows.retain(|row| labels.is_empty() || state.labels_of(people, *row).iter().any(|it| labels.contains(it)));
            let stored: Vec<_> = rows.into_iter().map(|row| state.model.stored(row)).collect();
            (stored, Arc::clone(&state.switches), state.served)
        };
        let hits: Vec<Stored> = candidates.into_iter().filter(|stored| matches(&stored.render(people))).collect();
        let total = hits.len();
        let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(size as usize);
        Page { rows: hits.into_iter().skip(skip).take(size as usize).collect(), total, served, switches }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn labels_of(&self, people: People, row: u32) -> Vec<String> {
        let generated = || people.labels(row).into_iter().map(str::to_owned).collect();
        self.labels.get(&id_of(row)).cloned().unwrap_or_else(generated)
    }

    fn drift(&mut self, people: People, seed: u64) {
        let switches = Arc::clone(&self.switches);
        let Some((change, draw)) = self.drift.before_list(&switches.drift, seed) else { return };
        let now = clock::now_seconds();
        let victim = self.any_listed(draw);
        let name = match change {
            Change::Insert => {
                self.model.insert(|row| people.newcomer(row, now));
                "drift_insert"
            }
            Change::Edit => {
                victim.map(|row| self.model.edit(row, |contact| touch(contact, draw)));
                "drift_edit"
            }
            Change::Delete => {
                victim.map(|row| self.model.delete(row));
                "drift_delete"
            }
            Change::Merge => {
                let mergee = self.any_listed(mix(&[draw, 1]));
                victim.zip(mergee).map(|(base, mergee)| self.model.merge(base, mergee));
                "drift_merge"
            }
            Change::Message => {
                let at = Value::from(now);
                victim.map(|row| self.model.edit(row, |it| drop(it.insert("last_activity_at".to_owned(), at))));
                "drift_message"
            }
            Change::Swap => {
                if victim.is_some_and(|row| self.model.delete(row)) {
                    self.model.insert(|row| people.newcomer(row, now));
                }
                "drift_swap"
            }
        };
        *self.counts.entry(name).or_default() += 1;
    }

    /// A listed row, found by walking a permutation of all rows: deletions make it slower, never wrong.
    fn any_listed(&self, draw: u64) -> Option<u32> {
        let all = u64::from(self.model.rows());
        let walk = Permutation::new(draw, all);
        let rows = (0..all).map(|at| u32::try_from(walk.at(at)).unwrap_or(0));
        rows.into_iter().find(|row| self.model.lists(*row))
    }
}

/// The key of the order inside tie groups for one page; `None` where the order is kept.
///
/// As measured on a real database: early pages come from a heap whose tie order changes with every page, late pages
/// from one full sort. With plans made anew, nearly every request sorts differently; a tenth does not, so that a
/// repeat of the same order never gets everything.
fn scramble(ties: Ties, seed: u64, sort: Sort, rows: std::ops::Range<usize>, total: usize, served: u64) -> Option<u64> {
    let page = rows.start as u64;
    let kept = mix(&[seed, sort.code(), page]);
    match (ties, sort.field, sort.descending) {
        // A plain index serves these two in one fixed order.
        (Ties::Stable, ..) | (_, Field::Unsorted, _) | (Ties::Kept, Field::LastActivity, true) => None,
        (Ties::Kept, ..) if rows.start < total / 2 => Some(kept),
        (Ties::Kept, ..) => Some(mix(&[seed, sort.code()])),
        (Ties::Anew, ..) if rows.start < total / 10 => Some(kept),
        (Ties::Anew, ..) => Some(mix(&[kept, served])),
    }
}

fn touch(contact: &mut ContactObject, draw: u64) {
    let custom = contact.entry("custom_attributes").or_insert_with(|| json!({}));
    if !custom.is_object() {
        *custom = json!({});
    }
    custom["points"] = below(draw, 20_000).into();
    custom["edited"] = true.into();
}
