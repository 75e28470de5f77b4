//! What a reader does not see yet: before-images of the writes that a lagging search has still to take in.
//!
//! A lag counts milliseconds, later writes, or both. Without any lag nothing is kept here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::records::Contact;
use super::switches::FirstLineSwitches;

/// How far a reader is behind. A write is seen once both have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lag {
    pub(super) ms: i64,
    pub(super) writes: u64,
}

impl Lag {
    pub(super) const NONE: Self = Self { ms: 0, writes: 0 };

    pub(super) fn of_search(switches: &FirstLineSwitches) -> Self {
        Self { ms: switches.search_lag_ms, writes: switches.search_lag_writes }
    }

    pub(super) fn of_list(switches: &FirstLineSwitches) -> Self {
        Self { ms: switches.list_lag_ms, writes: switches.list_lag_writes }
    }

    pub(super) fn of_get(switches: &FirstLineSwitches) -> Self {
        Self { ms: switches.get_lag_ms, writes: switches.get_lag_writes }
    }

    /// The longest of all: how long before-images are needed.
    pub(super) fn longest(switches: &FirstLineSwitches) -> Self {
        let all = [Self::of_search(switches), Self::of_list(switches), Self::of_get(switches)];
        all.into_iter().fold(Self::NONE, |a, b| Self { ms: a.ms.max(b.ms), writes: a.writes.max(b.writes) })
    }
}

#[derive(Clone, Copy, Debug)]
struct Stamp {
    number: u64,
    ms: i64,
}

/// A before-image; `None` when the contact did not exist.
type Before = Option<Arc<Contact>>;

/// The writes that some reader may not see yet.
#[derive(Debug, Default)]
pub(super) struct Recent {
    writes: u64,
    queue: VecDeque<(Stamp, u64)>,
    before: HashMap<u64, VecDeque<(Stamp, Before)>>,
}

impl Recent {
    /// Notes that a write to contact `id` is about to happen.
    pub(super) fn remember(&mut self, id: u64, before: Option<&Arc<Contact>>, now_ms: i64, longest: Lag) {
        self.writes += 1;
        if longest != Lag::NONE {
            let stamp = Stamp { number: self.writes, ms: now_ms };
            self.queue.push_back((stamp, id));
            self.before.entry(id).or_default().push_back((stamp, before.cloned()));
        }
        while let Some(&(stamp, id)) = self.queue.front() {
            if !self.settled(stamp, longest, now_ms) {
                break;
            }
            self.queue.pop_front();
            if let Some(images) = self.before.get_mut(&id) {
                images.pop_front();
                if images.is_empty() {
                    self.before.remove(&id);
                }
            }
        }
    }

    /// Makes every write visible to every reader.
    pub(super) fn settle(&mut self) {
        self.queue.clear();
        self.before.clear();
    }

    /// Contact `id` as a reader with this lag sees it, when that is not as it is now.
    pub(super) fn image(&self, id: u64, lag: Lag, now_ms: i64) -> Option<&Before> {
        if lag == Lag::NONE {
            return None;
        }
        let unseen = self.before.get(&id)?.iter().find(|(stamp, _)| !self.settled(*stamp, lag, now_ms))?;
        Some(&unseen.1)
    }

    /// Contacts with a write that a reader with this lag does not see; with repetitions.
    pub(super) fn unseen(&self, lag: Lag, now_ms: i64) -> impl Iterator<Item = u64> {
        let none = lag == Lag::NONE;
        let writes = self.queue.iter().rev().take_while(move |(stamp, _)| !none && !self.settled(*stamp, lag, now_ms));
        writes.map(|(_, id)| *id)
    }

    fn settled(&self, stamp: Stamp, lag: Lag, now_ms: i64) -> bool {
        self.writes - stamp.number >= lag.writes && now_ms >= stamp.ms.saturating_add(lag.ms)
    }
}
