//! Which alarms have to stand, told from what happened and without the program: what the door knows of the platforms, when
//! runs were due and began, how they ended, and whether the disk is full.

use std::collections::{BTreeMap, BTreeSet};

use deskferry::daemon::Outcome;
use deskferry::daemon::due::Kind;
use deskferry::daemon::published::Ended;
use serde_json::Value;

use super::world::Inner;

/// The limits of `[ops]` in the month.
pub(super) const DEAD_LETTERS_ABOVE: u64 = 2;
const REACHED_WITHIN_MS: i64 = 15 * 60_000;
const SWEEP_WITHIN_MS: i64 = 36 * 3_600_000;
const BEGUN_WITHIN_MS: i64 = 15 * 60_000;

const TURN_WITHIN_MS: i64 = 15_000;

/// How the last run of a lane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Exit(u8),
    /// Killed, or its end may not have been recorded.
    Unsure,
}

/// What is remembered of what happened.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    last: BTreeMap<Kind, Last>,
    /// Whether no run can begin; `None` where it is not sure.
    held: Option<bool>,
    /// Activations that nobody served, of the process under way.
    waiting: BTreeMap<Kind, i64>,
    /// Kinds of which nobody can say whether an activation was tried: no run could begin, and none of theirs did since.
    tried: BTreeSet<Kind>,
    /// Kinds of runs under way.
    running: BTreeSet<Kind>,
    /// When a run last ended: what waited for it has its turn next.
    ended_at: Option<i64>,
    /// The verdict of the last sweep, where it is known.
    verdict: Option<String>,
    /// When a sweep was last complete, and whether another one may have been since.
    complete_at: Option<i64>,
    watched_since: Option<i64>,
    unsure_of_sweeps: bool,
    /// Whether the last proven sweep was held by the ceiling.
    ceiling: Option<bool>,
    /// Whether that was recorded: another process knows it from the state.
    ceiling_unsure: bool,
    standing: BTreeSet<String>,
    pub(super) raised: BTreeMap<String, u32>,
    pub(super) cleared: BTreeMap<String, u32>,
    pub(super) looks: u32,
}

/// What the look knows beside what happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) dead_letters: u64,
    pub(super) disk_full: bool,
}

impl Oracle {
    pub(super) fn process_begins(&mut self, now: i64) {
        self.held = Some(false);
        self.ceiling = self.ceiling.filter(|_| !self.ceiling_unsure);
        self.waiting.clear();
        self.tried.clear();
        self.running.clear();
        self.watched_since.get_or_insert(now);
    }

    /// An activation comes round.
    pub(super) fn due(&mut self, kind: Kind, at: i64) {
        if !self.running.contains(&kind) {
            self.waiting.entry(kind).or_insert(at);
        }
    }

    /// Runs under way, as they are seen; whether they are others than before.
    pub(super) fn running(&mut self, kinds: BTreeSet<Kind>) -> bool {
        self.waiting.retain(|kind, _| !kinds.contains(kind));
        let before = std::mem::replace(&mut self.running, kinds);
        before != self.running
    }

    /// A run ended.
    pub(super) fn ended(&mut self, ended: &Ended, disk_was_full: bool) {
        self.ended_at = self.ended_at.max(Some(ended.at.0));
        self.waiting.remove(&ended.kind);
        self.tried.remove(&ended.kind);
        self.running.remove(&ended.kind);
        let exit = if disk_was_full { Last::Unsure } else { Last::Exit(ended.exit) };
        self.last.insert(ended.kind, exit);
        match &ended.failure {
            None if ended.exit == 130 => {}
            None => self.held = Some(false),
            Some(why) if why.contains("key was refused") => self.no_run_can_begin(),
            Some(why) if why.contains("is down") => {}
            Some(_) => self.held = None,
        }
        let Some(verdict) = ended.verdict.clone().filter(|_| ended.kind == Kind::Sweep) else {
            self.unsure_of_sweeps |= ended.kind == Kind::Sweep && ended.exit != 0;
            return;
        };
        // Only a proven sweep judges who is gone.
        let held = !ended.counts["delete_ceiling"].is_null();
        if held || verdict == "proven" {
            self.ceiling = Some(held);
            self.ceiling_unsure = disk_was_full;
        }
        if verdict.starts_with("short") {
            self.unsure_of_sweeps = false;
        } else {
            self.complete_at = Some(ended.at.0);
            self.unsure_of_sweeps = false;
        }
        self.verdict = Some(verdict);
    }

    /// What came of an activation, besides runs.
    pub(super) fn came_to(&mut self, outcome: &Outcome) {
        if let Outcome::Refused(_) | Outcome::Misfit(_) = outcome {
            self.no_run_can_begin();
        }
    }

    /// Each activation is tried all the same, so none is missed.
    fn no_run_can_begin(&mut self) {
        self.held = Some(true);
        self.tried = Kind::ALL.into();
    }

    /// The process was killed with these runs under way.
    pub(super) fn killed(&mut self) {
        for kind in std::mem::take(&mut self.running) {
            self.last.insert(kind, Last::Unsure);
            self.unsure_of_sweeps |= kind == Kind::Sweep;
            if kind == Kind::Sweep {
                self.ceiling = None;
            }
        }
    }

    /// Whether an alarm has to stand; `None` where both are right.
    fn expected(&self, alarm: &str, inner: &Inner, now: Now) -> Option<bool> {
        let at = inner.now();
        match alarm {
            "run_failed" => {
                let failed = self.last.values().any(|last| *last == Last::Exit(2));
                let sure = self.last.values().all(|last| matches!(last, Last::Exit(0 | 1)));
                match self.held {
                    Some(true) => Some(true),
                    _ if failed => Some(true),
                    Some(false) if sure && !self.last.is_empty() => Some(false),
                    _ => None,
                }
            }
            "run_missed" => {
                let late = |(_, due): (&Kind, &i64)| at - due;
                // What waits for a platform, or for a run that is at work, is not missed.
                let just_ended = self.ended_at.is_some_and(|ended| at - ended <= TURN_WITHIN_MS);
                let excused = inner.failing_since != [None; 2] || !self.running.is_empty() || just_ended;
                let sure = self.waiting.iter().filter(|(kind, _)| !self.tried.contains(kind)).map(late).max();
                if sure.is_some_and(|late| late > BEGUN_WITHIN_MS + 60_000) {
                    return (!excused).then_some(true);
                }
                let latest = self.waiting.iter().map(late).max().unwrap_or_default();
                (latest < BEGUN_WITHIN_MS).then_some(false)
            }
            "sweep_incomplete" if self.unsure_of_sweeps => None,
            "sweep_incomplete" => self.verdict.as_ref().map(|verdict| verdict.starts_with("short")),
            "sweep_overdue" => {
                let since = self.complete_at.max(self.watched_since)?;
                if at - since <= SWEEP_WITHIN_MS {
                    return Some(false);
                }
                // One that is under way may take its time, while both platforms answer.
                let works = self.running.contains(&Kind::Sweep) && inner.failing_since == [None; 2];
                (!self.unsure_of_sweeps && !works).then_some(true)
            }
            "delete_ceiling" => self.ceiling,
            "credentials_refused" => {
                let failed = self.last.values().any(|last| *last == Last::Exit(2)) || self.held == Some(true);
                if inner.refused.contains(&Some(true)) {
                    return failed.then_some(true);
                }
                (inner.refused == [Some(false); 2]).then_some(false)
            }
            "dead_letters" => Some(now.dead_letters > DEAD_LETTERS_ABOVE),
            "disk_low" => Some(now.disk_full),
            "platform_down" => {
                if inner.failing_since.iter().flatten().any(|since| at - since > REACHED_WITHIN_MS) {
                    return Some(true);
                }
                let answered = inner.refused.iter().all(Option::is_some) && inner.failing_since == [None; 2];
                answered.then_some(false)
            }
            _ => None,
        }
    }

    /// Holds the alarms that stand against those that have to; what is wrong.
    pub(super) fn judge(&mut self, standing: &Value, inner: &Inner, now: Now) -> Vec<String> {
        self.looks += 1;
        let named = standing.as_array().into_iter().flatten();
        let found: BTreeSet<String> = named.filter_map(|alarm| Some(alarm["alarm"].as_str()?.to_owned())).collect();
        for alarm in found.difference(&self.standing) {
            *self.raised.entry(alarm.clone()).or_default() += 1;
        }
        for alarm in self.standing.difference(&found) {
            *self.cleared.entry(alarm.clone()).or_default() += 1;
        }
        let mut wrong = Vec::new();
        for alarm in deskferry::ops::alerts::alarm::Alarm::ALL {
            let alarm = alarm.as_str();
            match (self.expected(alarm, inner, now), found.contains(alarm)) {
                (Some(true), false) => wrong.push(format!("the alarm {alarm} is missing ({self:?}, {now:?})")),
                (Some(false), true) => {
                    wrong.push(format!("the alarm {alarm} is false ({self:?}, {now:?}, {standing})"));
                }
                // The rest is right, or nobody can say.
                _ => {}
            }
        }
        self.standing = found;
        wrong
    }

    /// Alarms that stand.
    pub(super) fn standing(&self) -> &BTreeSet<String> {
        &self.standing
    }
}
