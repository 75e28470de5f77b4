//! The brake: where FIRST LINE answers reads and no create, one contact after the other would end in doubt, and each of them
//! would be looked for, and sent again, by every later run.
//!
//! After some creates of one kind in a row without an answer they go one at a time; after so many more the run creates nothing
//! of that kind and ends as failed. The next run sends one ahead, and the others follow once that is answered; when an hour has
//! passed one by one up to a hundred may go ahead, should it be those in front whose creates are never answered. A refusal is
//! an answer; so is a record that is found where its create was not answered. A contact that failed before while others after it
//! were created is in trouble of its own, and says nothing about the platform.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

use crate::clock::Timestamp;
use crate::domain::ids::FirstLineId;
use crate::store::{Intent, IntentKind, Store, StoreError};
use crate::sync::engine::{Engine, RunError};
use crate::sync::ports::ContactTarget;

/// Profile key of the kinds of creates that were not answered when last tried.
const UNANSWERED: &str = "unanswered_creates";
/// After this long more than one may go ahead, and so many then.
const LONG_MS: i64 = 60 * 60 * 1000;
const AHEAD: u32 = 100;
/// Since when creates of a kind are unanswered, where they are not.
const NEVER: i64 = i64::MAX;
/// Each kind has a door of its own at FIRST LINE, and may be broken alone.
const KINDS: [IntentKind; 3] = [IntentKind::Contact, IntentKind::Email, IntentKind::Phone];

/// What the creates of a run came to lately. Three rows of counters, whatever the account holds.
#[derive(Debug, Default)]
pub(super) struct Brake {
    rows: [Row; 3],
    /// The highest id that a create of ours got.
    arrived: AtomicI64,
}

/// The creates of one kind.
#[derive(Debug, Default)]
struct Row {
    /// Creates since the last answer that ended in doubt.
    doubts: AtomicU32,
    /// Those of them that had gone ahead alone, and how many may.
    alone: AtomicU32,
    most: AtomicU32,
    /// Since when the state holds that they are not answered, in milliseconds; [`NEVER`] where it does not.
    since: AtomicI64,
    /// Held by the one that goes ahead.
    ahead: Mutex<()>,
}

/// Leave to send one create. Whoever holds it says what came of it; dropped, it says nothing.
#[derive(Debug)]
pub(super) struct Leave<'a> {
    kind: IntentKind,
    ahead: Option<MutexGuard<'a, ()>>,
}

/// Whether a refusal shows that creates arrive: one that was never received, or was to wait, does not.
pub(super) fn is_answer(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 425 | 429)
}

impl Brake {
    /// The brake as the last run left it: what was not answered then is tried with one create.
    pub(super) async fn of(store: &Store, most: u32, now: Timestamp) -> Result<Self, StoreError> {
        let kept = store.profile_get(UNANSWERED).await?;
        let brake = Self::default();
        for link in store.newest_created(1).await? {
            brake.arrived.store(link.target.0, Ordering::Relaxed);
        }
        for kind in KINDS {
            let (row, since) = (brake.row(kind), kept.as_ref().and_then(|kept| kept[kind.as_str()].as_i64()));
            row.since.store(since.unwrap_or(NEVER), Ordering::Relaxed);
            row.most.store(most, Ordering::Relaxed);
            if let Some(since) = since {
                let is_long = !(since..since.saturating_add(LONG_MS)).contains(&now.0);
                row.doubts.store(most, Ordering::Relaxed);
                row.most.store(if is_long { AHEAD } else { 1 }, Ordering::Relaxed);
            }
        }
        Ok(brake)
    }

    fn row(&self, kind: IntentKind) -> &Row {
        match kind {
            IntentKind::Contact => &self.rows[0],
            IntentKind::Email => &self.rows[1],
            IntentKind::Phone => &self.rows[2],
        }
    }

    /// Notes that a create of ours got this id.
    pub(super) fn saw_created(&self, id: FirstLineId) {
        self.arrived.fetch_max(id.0, Ordering::Relaxed);
    }

    /// Whether a contact is created again that failed before, while others after it were created.
    pub(super) fn is_own_trouble(&self, superseded: Option<&Intent>) -> bool {
        superseded.is_some_and(|old| self.arrived.load(Ordering::Relaxed) > old.high_water)
    }

    async fn keep(&self, store: &Store) -> Result<(), StoreError> {
        let since = KINDS.map(|kind| (kind.as_str(), self.row(kind).since.load(Ordering::Relaxed)));
        let kept: BTreeMap<&str, i64> = since.into_iter().filter(|(_, since)| *since != NEVER).collect();
        store.profile_put(UNANSWERED, &json!(kept)).await
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Asked before a create, and before its intent where that can wait. While creates go one at a time, it waits for the one
    /// that is ahead.
    pub(super) async fn leave_to_create(&self, kind: IntentKind) -> Result<Leave<'_>, RunError> {
        let (row, most) = (self.brake.row(kind), self.settings.doubts_in_a_row);
        let is_slow = || row.doubts.load(Ordering::Relaxed) >= most;
        if !is_slow() {
            return Ok(Leave { kind, ahead: None });
        }
        let ahead = row.ahead.lock().await;
        self.holds(kind).await?;
        Ok(Leave { kind, ahead: is_slow().then_some(ahead) })
    }

    /// A create was answered, or its record found.
    pub(super) async fn create_answered(&self, leave: Leave<'_>) -> Result<(), StoreError> {
        self.creates_arrive(leave.kind).await
    }

    /// Creates of this kind arrive: the others may follow.
    pub(super) async fn creates_arrive(&self, kind: IntentKind) -> Result<(), StoreError> {
        let row = self.brake.row(kind);
        row.doubts.store(0, Ordering::Relaxed);
        row.alone.store(0, Ordering::Relaxed);
        row.most.store(self.settings.doubts_in_a_row, Ordering::Relaxed);
        if row.since.swap(NEVER, Ordering::Relaxed) != NEVER {
            self.brake.keep(&self.store).await?;
        }
        Ok(())
    }

    /// A create was not answered, and nothing is to be seen of its record.
    pub(super) async fn create_in_doubt(&self, leave: Leave<'_>) -> Result<(), StoreError> {
        let row = self.brake.row(leave.kind);
        row.doubts.fetch_add(1, Ordering::Relaxed);
        if leave.ahead.is_none() {
            return Ok(());
        }
        let alone = row.alone.fetch_add(1, Ordering::Relaxed) + 1;
        let most = row.most.load(Ordering::Relaxed);
        if alone >= most {
            // One that was sent ahead in vain makes it no younger; a hundred that were do.
            if most != 1 || row.since.load(Ordering::Relaxed) == NEVER {
                row.since.store(self.now_ms(), Ordering::Relaxed);
            }
            self.brake.keep(&self.store).await?;
        }
        Ok(())
    }

    /// An error where creates of some kind are not answered any more: this run does better to end.
    pub(super) async fn creates_are_answered(&self) -> Result<(), RunError> {
        for kind in KINDS {
            self.holds(kind).await?;
        }
        Ok(())
    }

    async fn holds(&self, kind: IntentKind) -> Result<(), RunError> {
        let row = self.brake.row(kind);
        if row.alone.load(Ordering::Relaxed) < row.most.load(Ordering::Relaxed) {
            return Ok(());
        }
        let route = match kind {
            IntentKind::Contact => "/contact",
            IntentKind::Email => "/email-contact",
            IntentKind::Phone => "/phone-number",
        };
        let in_doubt = self.store.parked_contacts().await?.len();
        Err(RunError::Unanswered { route, in_doubt })
    }
}
