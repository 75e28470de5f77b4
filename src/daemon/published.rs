//! What the service says of itself: the one place from which the outside (status, metrics, alarms) learns how it stands.
//!
//! Bounded: one entry per kind of work. What the state file knows (runs, dead letters, links) is read from there.

use std::collections::BTreeMap;

use serde_json::Value;

use super::due::Kind;
use crate::clock::Timestamp;
use crate::domain::ids::RunId;

/// Whether the service can do its work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has not spoken with both platforms yet.
    #[default]
    Starting,
    /// It does its work.
    Ready,
    /// Somebody has to act: wrong account, credentials refused, a state that does not fit. It is tried again at the next
    /// activation.
    Refused(String),
    /// A run was taken back, and nothing is carried until a person lifts the hold.
    Held(String),
}

/// What is about to become a run: both accounts are looked at first, and a platform that is down is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// `sync`, `sweep` or `backfill`.
    pub name: &'static str,
    /// Since when.
    pub since: Timestamp,
}

/// A run under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its number.
    pub run: RunId,
    /// `sync`, `sweep` or `backfill`.
    pub name: &'static str,
    /// Since when.
    pub since: Timestamp,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Its number; none when the state could not even take it down.
    pub run: Option<RunId>,
    /// What was asked for.
    pub kind: Kind,
    /// `sync`, `sweep` or `backfill`.
    pub name: &'static str,
    /// When.
    pub at: Timestamp,
    /// 0 done, 1 left over, 2 failed, 130 interrupted.
    pub exit: u8,
    /// The sweep's verdict.
    pub verdict: Option<String>,
    /// The counts as the state keeps them.
    pub counts: Value,
    /// Why it could not go on.
    pub failure: Option<String>,
}

/// Everything, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Published {
    /// Whether it can work.
    pub standing: Standing,
    /// What is about to become a run.
    pub beginning: Option<Beginning>,
    /// Runs under way: one, or a sweep that stands still and the sync within it.
    pub current: Vec<Current>,
    /// The last end of each kind.
    pub last: BTreeMap<Kind, Ended>,
    /// When each kind is due next.
    pub next: BTreeMap<Kind, Timestamp>,
    /// What happened before this, and a sync can see, was carried. Its distance from now is the lag of the fast lane.
    pub carried_until: Option<Timestamp>,
    /// When the last whole sweep began: every change before it was carried. Its distance from now is the lag of the sweep.
    pub swept_since: Option<Timestamp>,
    /// When the last whole sweep ended, and its verdict.
    pub last_sweep: Option<(Timestamp, String)>,
    /// When the last proven sweep ended.
    pub last_proven: Option<Timestamp>,
}

impl Published {
    /// Age of the oldest change that a sync can see and that may not have been carried.
    pub fn sync_lag_ms(&self, now: Timestamp) -> Option<i64> {
        let known = |at: Option<Timestamp>| at.and_then(|at| at.unless_ahead_of(now));
        let lag = known(self.carried_until).max(known(self.swept_since)).map(|until| now.0 - until.0);
        lag.map(|lag| lag.max(0))
    }

    /// Age of the oldest change of any kind that may not have been carried.
    pub fn sweep_lag_ms(&self, now: Timestamp) -> Option<i64> {
        self.swept_since.and_then(|since| since.unless_ahead_of(now)).map(|since| (now.0 - since.0).max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Published, Timestamp};

    #[test]
    fn a_lag_is_not_known_where_the_clock_was_set_back_behind_what_was_carried() {
        let day = 24 * 3_600_000;
        let mut board = Published {
            carried_until: Some(Timestamp(9 * day)),
            swept_since: Some(Timestamp(9 * day)),
            ..Published::default()
        };
        assert_eq!((board.sync_lag_ms(Timestamp(day)), board.sweep_lag_ms(Timestamp(day))), (None, None));
        board.swept_since = Some(Timestamp(day / 2));
        assert_eq!(board.sync_lag_ms(Timestamp(day)), Some(day / 2), "what is known of the other lane counts");
        // LiveDesk's clock may be a little ahead of ours.
        assert_eq!(board.sync_lag_ms(Timestamp(9 * day - 1_000)), Some(0));
    }
}
