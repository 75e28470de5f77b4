//! When something is an alarm. Pure: facts, limits and the time in, a finding per alarm out.
//!
//! A finding is `Unknown` where the facts do not say; then an alarm stays as it was. So a restart, of which the first
//! minute knows little, neither raises nor ends anything.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::{Timestamp, millis};
use crate::domain::outcome::RunVerdict;
use crate::ops::look::Facts;
use crate::ops::metrics::unseen;
use crate::ops::trigger::Kind;
use crate::ops::{Platform, moment};
use crate::store::{EndedRun, Vitals};

use super::alarm::Alarm;

/// How long after its time a run may begin: a long page, a reconnect, a quick cycle that waits for a page boundary.
pub const TOLERANCE: Duration = Duration::from_mins(15);

/// How soon what is due has its turn once what was in its way has ended.
const NEXT_TURN: Duration = Duration::from_secs(15);

/// How long a sweep may stay at one page: where FIRST LINE's list is read first, and companies, that is an hour or two at one
/// request a second.
const STANDSTILL: Duration = Duration::from_hours(6);

/// When something is an alarm; what `ready` judges by, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a platform may be asked in vain.
    pub reached_within: Duration,
    /// Age of the last complete sweep; `None` where no sweep is scheduled.
    pub sweep_within: Option<Duration>,
    /// Contacts that may be set aside.
    pub dead_letters_above: u64,
    /// Free bytes on the state's disk.
    pub disk_low: u64,
}

/// What the facts say about one alarm.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// Nothing: it stays as it is.
    Unknown,
    /// All is well.
    Fine,
    /// It is one.
    Raised {
        /// Since when, where that is older than this look.
        since: Option<Timestamp>,
        /// What happened, for people.
        text: String,
        /// The same for machines.
        details: Value,
    },
}

/// Judges everything. `watched_since` is when this state was first watched: before it nothing can be overdue.
pub fn judge(facts: &Facts, limits: &Limits, watched_since: Timestamp, now: Timestamp) -> Vec<(Alarm, Finding)> {
    let find = |alarm| match alarm {
        Alarm::RunFailed => run_failed(facts),
        Alarm::RunMissed => run_missed(facts, now),
        Alarm::SweepIncomplete => sweep_incomplete(facts),
        Alarm::SweepOverdue => sweep_overdue(facts, limits, watched_since, now),
        Alarm::DeleteCeiling => delete_ceiling(facts),
        Alarm::CredentialsRefused => credentials_refused(facts),
        Alarm::DeadLetters => dead_letters(facts, limits),
        Alarm::DiskLow => disk_low(facts, limits),
        Alarm::PlatformDown => platform_down(facts, limits, now),
    };
    Alarm::ALL.into_iter().map(|alarm| (alarm, find(alarm))).collect()
}

/// The runs that the schedule asks for: the quick cycle, and the walk over everything, by whichever name it ran.
fn latest(facts: &Facts) -> Option<Vec<&EndedRun>> {
    let runs = &facts.vitals.as_ref()?.last_runs;
    let lanes: [&[&str]; 2] = [&["sync"], &["sweep", "backfill"]];
    // Newest first, as the store gives them.
    Some(lanes.iter().filter_map(|lane| runs.iter().find(|run| lane.contains(&run.kind.as_str()))).collect())
}

fn run_failed(facts: &Facts) -> Finding {
    if let Some(why) = &facts.board.held {
        return Finding::Raised {
            since: None,
            text: format!("no run can begin: {why}"),
            details: json!({ "held": true }),
        };
    }
    let Some(mut latest) = latest(facts) else { return Finding::Unknown };
    // Of a lane that was switched off nothing is expected any more. Where all are, somebody asks for each run.
    let next = &facts.board.next;
    latest.retain(|run| next.is_empty() || Kind::of_run(&run.kind).is_some_and(|kind| next.contains_key(&kind)));
    let verdict = |run: &EndedRun| RunVerdict::of_exit(run.exit_code);
    let failed: Vec<&EndedRun> = latest.iter().copied().filter(|run| verdict(run) == RunVerdict::Failed).collect();
    let Some(first) = failed.first() else {
        // A run that was asked to stop says nothing about the one before it.
        let interrupted = latest.iter().any(|run| verdict(run) == RunVerdict::Interrupted);
        return if interrupted { Finding::Unknown } else { Finding::Fine };
    };
    let names: Vec<String> = failed.iter().map(|run| format!("{} run {}", run.kind, run.id)).collect();
    let details = failed.iter().map(|run| json!({ "run": run.id.0, "kind": run.kind, "exit_code": run.exit_code }));
    Finding::Raised {
        since: Some(first.ended_at),
        text: format!("the last {} could not go on", names.join(" and the last ")),
        details: json!({ "runs": details.collect::<Vec<Value>>() }),
    }
}

fn run_missed(facts: &Facts, now: Timestamp) -> Finding {
    let overdue = |kind: Kind| facts.board.overdue(kind, now).map(|at| (kind, at));
    let missed: Vec<(Kind, Timestamp)> =
        Kind::ALL.into_iter().filter_map(overdue).filter(|(_, at)| older(*at, TOLERANCE, now)).collect();
    if !missed.is_empty() && is_in_the_way(facts, now) {
        return Finding::Unknown;
    }
    let Some((_, first)) = missed.iter().min_by_key(|(_, at)| *at) else {
        // Of a service that has just begun nobody has said yet what is due.
        let fresh = facts.board.started_at.is_none_or(|at| !older(at, TOLERANCE, now));
        return if facts.board.next.is_empty() && fresh { Finding::Unknown } else { Finding::Fine };
    };
    let names: Vec<String> =
        missed.iter().map(|(kind, at)| format!("the {} of {}", kind.as_str(), moment(*at))).collect();
    let details = missed.iter().map(|(kind, at)| json!({ "kind": kind.as_str(), "due": moment(*at) }));
    Finding::Raised {
        since: Some(*first),
        text: format!("{} did not begin", names.join(" and ")),
        details: json!({ "missed": details.collect::<Vec<Value>>() }),
    }
}

/// Whether whatever is due has to wait: for a platform or for a person, of which other alarms speak, or for a run that is at work
/// or has only just ended.
fn is_in_the_way(facts: &Facts, now: Timestamp) -> bool {
    let reaches = Platform::ALL.map(|of| facts.board.reach(of));
    let is_at_work = reaches.iter().any(|reach| reach.answered_at.is_some_and(|at| !older(at, TOLERANCE, now)));
    let has_just_ended = facts.board.ran.values().any(|at| !older(*at, NEXT_TURN, now));
    reaches.iter().any(|reach| reach.failing_since.is_some())
        || facts.board.held.is_some()
        || (!facts.board.running.is_empty() && is_at_work)
        || has_just_ended
}

fn sweep_incomplete(facts: &Facts) -> Finding {
    let Some(vitals) = &facts.vitals else { return Finding::Unknown };
    let Some(sweep) = &vitals.last_sweep else { return Finding::Fine };
    match unseen(&sweep.verdict) {
        0 => Finding::Fine,
        missing => Finding::Raised {
            since: Some(sweep.ended_at),
            text: format!("the last sweep may have missed {missing} contacts"),
            details: json!({ "run": sweep.run.0, "unseen": missing }),
        },
    }
}

fn sweep_overdue(facts: &Facts, limits: &Limits, watched_since: Timestamp, now: Timestamp) -> Finding {
    let Some(within) = limits.sweep_within else { return Finding::Fine };
    let Some(vitals) = &facts.vitals else { return Finding::Unknown };
    let ended = vitals.last_complete_sweep.as_ref().map(|sweep| sweep.ended_at);
    let complete = ended.and_then(|at| at.unless_ahead_of(now));
    let reference = complete.map_or(watched_since, |at| Timestamp(at.0.max(watched_since.0)));
    if !older(reference, within, now) {
        return Finding::Fine;
    }
    if is_getting_on(facts, vitals, now) {
        // A first backfill of a large account takes days: nothing is wrong, and nobody can do anything about it.
        return Finding::Unknown;
    }
    let within_text = humantime::format_duration(Duration::from_secs(within.as_secs()));
    Finding::Raised {
        since: Some(reference.later_by(within)),
        text: match (complete, ended) {
            (Some(at), _) => {
                format!("no sweep was complete for more than {within_text}; the last one ended {}", moment(at))
            }
            (None, Some(at)) => format!(
                "when the last sweep was complete is not known: it is noted for {}, and the clock was set back since",
                moment(at)
            ),
            (None, None) => format!("no sweep was ever complete, and more than {within_text} have passed"),
        },
        details: json!({ "last_complete": complete.map(moment), "within_s": within.as_secs() }),
    }
}

/// Whether everything is being walked over just now: both platforms answer, and it comes forward.
fn is_getting_on(facts: &Facts, vitals: &Vitals, now: Timestamp) -> bool {
    let since =
        facts.board.running.iter().filter(|run| Kind::of_run(run.kind) == Some(Kind::Sweep)).map(|run| run.since);
    let Some(since) = since.max() else { return false };
    let came_forward = vitals.sweep_moved_at.map_or(since, |at| at.max(since));
    let answer = |of| {
        let reach = facts.board.reach(of);
        reach.answered_at.is_some() && reach.failing_since.is_none()
    };
    !older(came_forward, STANDSTILL, now) && Platform::ALL.into_iter().all(answer)
}

fn delete_ceiling(facts: &Facts) -> Finding {
    match facts.board.held_deletes {
        None => Finding::Unknown,
        Some(deletes) if deletes.held == 0 => Finding::Fine,
        Some(deletes) => Finding::Raised {
            since: None,
            text: format!(
                "{} contacts are proven gone from LiveDesk, more than the ceiling of {} for one run; nothing was done \
                 about any of them",
                deletes.held, deletes.ceiling
            ),
            details: json!({ "held": deletes.held, "ceiling": deletes.ceiling }),
        },
    }
}

/// Refused, and a run ended because of it: one 401 in mid-run is a token that is being renewed.
fn credentials_refused(facts: &Facts) -> Finding {
    let refused: Vec<Platform> =
        Platform::ALL.into_iter().filter(|of| facts.board.reach(*of).refused == Some(true)).collect();
    if refused.is_empty() {
        let known = Platform::ALL.into_iter().all(|of| facts.board.reach(of).refused.is_some());
        return if known { Finding::Fine } else { Finding::Unknown };
    }
    let Some(latest) = latest(facts) else { return Finding::Unknown };
    let failed = latest.iter().any(|run| RunVerdict::of_exit(run.exit_code) == RunVerdict::Failed);
    if !failed && facts.board.held.is_none() {
        return Finding::Unknown;
    }
    let names: Vec<String> = refused.iter().map(ToString::to_string).collect();
    Finding::Raised {
        since: None,
        text: format!("{} does not accept the credentials of this service", names.join(" and ")),
        details: json!({ "platforms": refused.iter().map(|of| of.as_str()).collect::<Vec<_>>() }),
    }
}

fn dead_letters(facts: &Facts, limits: &Limits) -> Finding {
    let Some(vitals) = &facts.vitals else { return Finding::Unknown };
    let (waiting, poisoned) = (vitals.dead_letters_waiting, vitals.dead_letters_poisoned);
    if waiting + poisoned <= limits.dead_letters_above {
        return Finding::Fine;
    }
    Finding::Raised {
        since: None,
        text: format!(
            "{} contacts are set aside, more than the {} that ops.dead_letters_above allows",
            waiting + poisoned,
            limits.dead_letters_above
        ),
        details: json!({ "waiting": waiting, "poisoned": poisoned, "above": limits.dead_letters_above }),
    }
}

fn disk_low(facts: &Facts, limits: &Limits) -> Finding {
    let Some(free) = facts.disk_free else { return Finding::Unknown };
    if free >= limits.disk_low {
        // Room that comes and goes around the limit is one alarm, not one a minute.
        let clear = limits.disk_low.saturating_add(limits.disk_low / 10);
        return if free >= clear { Finding::Fine } else { Finding::Unknown };
    }
    let size = |bytes: u64| format!("{} MiB", bytes / (1024 * 1024));
    Finding::Raised {
        since: None,
        text: format!("{} are free on the disk of the state, less than {}", size(free), size(limits.disk_low)),
        details: json!({ "free_bytes": free, "below_bytes": limits.disk_low }),
    }
}

fn platform_down(facts: &Facts, limits: &Limits, now: Timestamp) -> Finding {
    let since = |of: &Platform| facts.board.reach(*of).failing_since;
    let down: Vec<(Platform, Timestamp)> = Platform::ALL
        .into_iter()
        .filter_map(|of| since(&of).map(|since| (of, since)))
        .filter(|(_, since)| older(*since, limits.reached_within, now))
        .collect();
    let Some((_, first)) = down.iter().min_by_key(|(_, since)| *since) else {
        // One that was not asked since the start, or has only begun to fail, may be down since before.
        let known = Platform::ALL.into_iter().all(|of| {
            let reach = facts.board.reach(of);
            reach.answered_at.is_some() && (reach.failing_since.is_none() || reach.answered_at >= reach.failing_since)
        });
        return if known { Finding::Fine } else { Finding::Unknown };
    };
    let names: Vec<String> = down.iter().map(|(of, since)| format!("{of} since {}", moment(*since))).collect();
    let details = down.iter().map(|(of, since)| json!({ "platform": of.as_str(), "since": moment(*since) }));
    Finding::Raised {
        since: Some(*first),
        text: format!("no answer of use from {}", names.join(" and from ")),
        details: json!({ "platforms": details.collect::<Vec<Value>>() }),
    }
}

fn older(at: Timestamp, than: Duration, now: Timestamp) -> bool {
    now.0.saturating_sub(at.0) > millis(than)
}
