//! Absence: which linked contacts are gone from LiveDesk, and what may be done about their records. Pure.
//!
//! LiveDesk tells nobody that it deleted a contact, and its paging loses rows (notes LiveDesk 4, 5). So a contact is judged
//! *absent* only when as many proven sweeps as `deletes.absences` says were begun after it was last seen, and nothing is
//! done about more of them at once than the ceiling allows. A contact that a read by id still finds is *hidden*, not
//! deleted. What an agent has touched is never deleted, nor is what this program did not make (docs/adr/0012).

mod act;
mod mark;
mod step;
#[cfg(test)]
mod tests;
pub mod unchanged;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::clock::{Timestamp, millis};
use crate::store::{Absence, Deletion, Finding, Mark, Origin, ProvenSweep, Seen, Standing};
use crate::sync::summary::{LISTED, push_bounded};

pub(in crate::sync) use act::{authorship, whole};

/// How long what came to nothing rests at least: it is due again the night after.
const REST_FIRST_MS: i64 = 12 * 60 * 60 * 1000;
/// And at most: as long as who is hidden is not asked about again.
const REST_CEILING_MS: i64 = step::ASK_AGAIN_MS;

/// What is done about a contact that is proven absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// It is counted and listed.
    #[default]
    Ignore,
    /// Its record is marked, and the mark is taken off when it comes back.
    Mark(MarkWith),
    /// Its record is deleted, if this program made it and nobody has changed it since.
    Delete,
}

/// The mark on the record of an absent contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkWith {
    /// The tag of this name.
    Tag(String),
    /// This custom field: yes where it is a boolean, a sentence where it is a text.
    Field(i64),
}

/// Settings of this module, checked by `config`.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteRules {
    /// What is done.
    pub policy: Policy,
    /// Proven sweeps that must have missed a contact; at least 1.
    pub absences: u32,
    /// Most records that one run does something about.
    pub ceiling: u64,
    /// The same in percent of all links, where that is less; `None` where an operator named a number for this run.
    pub ceiling_percent: Option<f64>,
    /// Time between the first judgement and a deletion.
    pub grace: Duration,
}

impl Default for DeleteRules {
    fn default() -> Self {
        Self {
            policy: Policy::Ignore,
            absences: 2,
            ceiling: 20,
            ceiling_percent: Some(1.0),
            grace: Duration::from_hours(7 * 24),
        }
    }
}

impl DeleteRules {
    /// Most records that a run over so many links does something about. A share that comes to less than one is one, so
    /// that a small account is not without the feature; a number or a share of nothing is none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count: never negative, and exact far beyond any account"
    )]
    pub fn limit(&self, links: u64) -> u64 {
        match self.ceiling_percent {
            None => self.ceiling,
            Some(percent) if percent <= 0.0 || links == 0 => 0,
            Some(percent) => self.ceiling.min(((links as f64 * percent / 100.0) as u64).max(1)),
        }
    }

    /// The sweep since whose beginning an absent contact was not seen; `proven` are the proven ones, newest first.
    pub fn cut(&self, proven: &[ProvenSweep]) -> Option<ProvenSweep> {
        proven.get(usize::try_from(self.absences.max(1)).unwrap_or(usize::MAX) - 1).copied()
    }

    fn grace_ms(&self) -> i64 {
        millis(self.grace)
    }
}

/// What is said of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Seen lately, as far as proven sweeps can tell.
    Present,
    /// It was judged absent and has been seen since.
    Back,
    /// Absent.
    Absent(Next),
}

/// What is to be done about an absent contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, and why.
    Rest(Rest),
    /// Mark its record.
    Mark,
    /// Delete its record.
    Delete,
}

/// Why nothing is done about an absent contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rest {
    /// The policy says so.
    Ignored,
    /// A read by id finds it: it is hidden from the list.
    Hidden,
    /// Its record carries the mark.
    Marked,
    /// Its grace period runs.
    Waiting,
    /// This program did not make its record.
    NotOurs,
    /// Somebody changed its record.
    Changed,
    /// Something of it is in doubt, set aside, in conflict or not settled, or its record is another contact's as well.
    InTrouble,
    /// Its record vanished from FIRST LINE.
    Vanished,
    /// The last attempt came to nothing, for reasons of its record: tried again at growing distance.
    Refused,
}

impl Rest {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ignored => "ignored",
            Self::Hidden => "hidden",
            Self::Marked => "marked",
            Self::Waiting => "waiting",
            Self::NotOurs => "not_ours",
            Self::Changed => "changed",
            Self::InTrouble => "in_trouble",
            Self::Vanished => "vanished",
            Self::Refused => "refused",
        }
    }
}

/// Judges one link. `proven` are the latest proven sweeps, newest first.
pub fn judge(seen: &Seen, proven: &[ProvenSweep], rules: &DeleteRules, now: Timestamp) -> Judgement {
    let last_seen = seen.sighted_at.map_or(seen.touched_at, |at| at.max(seen.touched_at));
    if seen.absence.as_ref().is_some_and(|absence| absence.since < last_seen) {
        return Judgement::Back;
    }
    let Some(cut) = rules.cut(proven) else { return Judgement::Present };
    let sighted = seen.last_sweep.is_some_and(|sweep| sweep >= cut.sweep);
    if sighted || last_seen >= cut.started_at {
        // Judged before the clock was set back: the order of the sweeps says what times cannot.
        let judged_ahead = seen.absence.as_ref().is_some_and(|absence| absence.since.unless_ahead_of(now).is_none());
        return if judged_ahead { Judgement::Back } else { Judgement::Present };
    }
    Judgement::Absent(next(seen, rules, now))
}

fn next(seen: &Seen, rules: &DeleteRules, now: Timestamp) -> Next {
    let absence = seen.absence.as_ref();
    let deletion = absence.map_or(Deletion::None, |absence| absence.deletion);
    let begun = deletion == Deletion::UnderWay;
    let rest = if seen.standing != Standing::Live {
        Rest::Vanished
    } else if absence.is_some_and(|absence| absence.finding == Finding::Hidden) {
        Rest::Hidden
    } else if rules.policy == Policy::Ignore {
        Rest::Ignored
    } else if seen.in_trouble {
        Rest::InTrouble
    } else if let Policy::Mark(_) = rules.policy {
        match absence.map_or(Mark::None, |absence| absence.mark) {
            Mark::Ours | Mark::Found => Rest::Marked,
            Mark::None | Mark::Putting if rests_refused(absence, now) => Rest::Refused,
            Mark::None | Mark::Putting => return Next::Mark,
        }
    } else if seen.origin != Origin::Created {
        Rest::NotOurs
    } else if deletion == Deletion::Kept {
        Rest::Changed
    } else if !seen.settled && !begun {
        Rest::InTrouble
    } else if absence.map_or(now, |absence| absence.since).0.saturating_add(rules.grace_ms()) > now.0 {
        Rest::Waiting
    } else if rests_refused(absence, now) {
        Rest::Refused
    } else {
        return Next::Delete;
    };
    Next::Rest(rest)
}

/// Whether the last attempt came to nothing, and it is too early for another: the longer its contact is gone, the longer it rests.
fn rests_refused(absence: Option<&Absence>, now: Timestamp) -> bool {
    let Some(absence) = absence.filter(|absence| absence.has_failed()) else { return false };
    let Some(tried) = absence.asked_at.and_then(|at| at.unless_ahead_of(now)) else { return false };
    let gone_for = tried.0.saturating_sub(absence.since.0);
    now.0 < tried.0.saturating_add(gone_for.clamp(REST_FIRST_MS, REST_CEILING_MS))
}

/// Whether a read by id allows what is to be done. A deletion needs a 404 that a known contact vouches for; a mark can
/// be taken off again, so it only must not be contradicted.
pub fn allowed(next: Next, finding: Finding) -> bool {
    match next {
        Next::Rest(_) => false,
        Next::Mark => finding != Finding::Hidden,
        Next::Delete => finding == Finding::Missing,
    }
}

/// The ceiling was exceeded: nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeleteCeiling {
    /// Records that something was to be done about.
    pub candidates: u64,
    /// How many it may be.
    pub ceiling: u64,
}

/// Holds what is to be done against the ceiling: all of it or none.
pub fn within_ceiling(candidates: u64, rules: &DeleteRules, links: u64) -> Result<(), DeleteCeiling> {
    let ceiling = rules.limit(links);
    if candidates > ceiling { Err(DeleteCeiling { candidates, ceiling }) } else { Ok(()) }
}

/// One absent contact in the list for people: ids and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsentRow {
    /// The contact.
    pub livedesk_id: i64,
    /// Its record.
    pub firstline_id: i64,
    /// What a read by id said.
    pub finding: &'static str,
    /// What was done, or why nothing was.
    pub outcome: String,
}

/// What a run found out about absent contacts, and did about their records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AbsenceSummary {
    /// Linked contacts that are absent.
    pub absent: u64,
    /// Of these, judged absent for the first time.
    pub new: u64,
    /// Of these, found by id: hidden from LiveDesk's list, not deleted.
    pub hidden: u64,
    /// Contacts that were absent and are back.
    pub back: u64,
    /// Records that were marked.
    pub marked: u64,
    /// Records whose mark was taken off.
    pub unmarked: u64,
    /// Records that were deleted.
    pub deleted: u64,
    /// Dead letters that were struck out, because their contact is gone.
    pub letters: u64,
    /// Absent contacts about which nothing was done, by reason.
    pub resting: BTreeMap<String, u64>,
    /// Attempts that came to nothing, by reason.
    pub failed: BTreeMap<String, u64>,
    /// The list, up to a bound.
    #[serde(skip)]
    pub rows: Vec<AbsentRow>,
}

impl AbsenceSummary {
    pub(super) fn list(&mut self, seen: &Seen, finding: Finding, outcome: impl Into<String>) {
        if self.rows.len() < LISTED {
            let row = AbsentRow {
                livedesk_id: seen.livedesk_id.0,
                firstline_id: seen.target.0,
                finding: finding.as_str(),
                outcome: outcome.into(),
            };
            push_bounded(&mut self.rows, row);
        }
    }
}
