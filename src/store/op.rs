//! What can be written, and in which order a group of writes may be carried out.
//!
//! Many workers write small things about different contacts. One statement per kind of write is far cheaper than
//! one per row, so a group is re-ordered by kind, but never in a way that could be seen: see [`arrange`].

use std::collections::HashMap;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::domain::hash::Digest;
use crate::domain::ids::{FirstLineId, LiveDeskId, RunId};
use crate::domain::sweep::ScanPosition;

use super::absence::Absence;
use super::conflicts::Conflict;
use super::dead_letters::DeadLetter;
use super::index::IndexKind;
use super::intents::Intent;
use super::journal::JournalEntry;
use super::links::{ChildKind, Link, LinkChild};

/// One write. All writes of one call are committed together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteOp {
    /// Opens an intent, or replaces the one with the same number.
    OpenIntent(Intent),
    /// Parks an intent: its doubt cannot be settled yet. Nothing happens when it is closed already.
    ParkIntent {
        /// Its number.
        seq: i64,
        /// When its answer was given up.
        at: Timestamp,
    },
    /// The request of an intent was surely not applied: its contact is to be created again.
    AbsentIntent {
        /// Its number.
        seq: i64,
    },
    /// A record was created again under this intent: it is to be looked at for a twin.
    AuditIntent {
        /// Its number.
        seq: i64,
        /// The record.
        target: FirstLineId,
    },
    /// Removes an intent: its outcome is known and recorded.
    CloseIntent {
        /// Its number.
        seq: i64,
    },
    /// Stores a link, or replaces the contact's link. Its children stay.
    PutLink(Link),
    /// Removes a link and its children.
    RemoveLink(LiveDeskId),
    /// Stores the id of an e-mail or phone row, or replaces it. The link must exist or come in the same call.
    PutChild(LinkChild),
    /// Forgets an e-mail or phone row.
    RemoveChild {
        /// Whose.
        livedesk_id: LiveDeskId,
        /// E-mail or phone.
        kind: ChildKind,
        /// Digest of its canonical value.
        key: Digest,
    },
    /// Notes that a linked contact is absent from LiveDesk, and what was done about it. The link must exist.
    PutAbsence(Absence),
    /// The contact is back.
    ClearAbsence(LiveDeskId),
    /// Adds a change to the journal.
    Journal(JournalEntry),
    /// What was about to be done and written down was not done: the rows go.
    NotDone {
        /// Of this run; of any where there is none.
        run: Option<RunId>,
        /// The contact.
        livedesk_id: LiveDeskId,
        /// The record.
        target: FirstLineId,
        /// What was not done, in the journal's word.
        action: &'static str,
    },
    /// What a run did with a contact was taken back by an undo; what `run` itself had taken back holds again.
    TakenBack {
        /// The run.
        run: RunId,
        /// The contact.
        livedesk_id: LiveDeskId,
        /// The undo.
        by: RunId,
    },
    /// Sets a contact aside; a contact that is set aside again keeps its first time, and its attempts grow.
    PutDeadLetter(DeadLetter),
    /// The contact is well again.
    ClearDeadLetter(LiveDeskId),
    /// Records a doubt about identity, or a person's decision on it.
    PutConflict(Conflict),
    /// The doubt is gone.
    ClearConflict(LiveDeskId),
    /// A person's decision was carried out; without a record, it is to be carried out again. Nothing happens to one that led
    /// elsewhere.
    DecisionCarried {
        /// The contact.
        livedesk_id: LiveDeskId,
        /// The record that it led to.
        carried_to: Option<FirstLineId>,
        /// The record that it led away from, while the contact's stamp is to be taken off there.
        left_behind: Option<FirstLineId>,
    },
    /// A sweep saw this contact.
    Sight {
        /// The sweep.
        sweep: i64,
        /// The contact.
        id: LiveDeskId,
    },
    /// Where a sweep goes on. Write it in the same call as the last records that it covers, or in a later one.
    Checkpoint {
        /// The sweep.
        sweep: i64,
        /// The first page that is not wholly recorded.
        position: ScanPosition,
    },
    /// Adds one record of the target to the index.
    IndexAdd {
        /// What the key is.
        kind: IndexKind,
        /// Digest of its canonical value.
        key: Digest,
        /// The record that has it.
        target: FirstLineId,
    },
    /// The counts of a run so far (an object).
    CountRun {
        /// The run.
        run: RunId,
        /// All its counts; they replace the ones before.
        counts: Value,
    },
}

/// The things that writes touch. Writes that touch different things can change places unseen.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Touched {
    Intent(i64),
    Contact(LiveDeskId),
    DeadLetter(LiveDeskId),
    Conflict(LiveDeskId),
    Sighting(LiveDeskId),
    Sweep(i64),
    Run(RunId),
}

impl WriteOp {
    /// What it touches; `None` for a write that only adds.
    fn touched(&self) -> Option<Touched> {
        Some(match self {
            Self::OpenIntent(Intent { seq, .. })
            | Self::ParkIntent { seq, .. }
            | Self::AbsentIntent { seq }
            | Self::AuditIntent { seq, .. }
            | Self::CloseIntent { seq } => Touched::Intent(*seq),
            Self::PutLink(Link { livedesk_id, .. })
            | Self::RemoveLink(livedesk_id)
            | Self::PutChild(LinkChild { livedesk_id, .. })
            | Self::PutAbsence(Absence { livedesk_id, .. })
            | Self::ClearAbsence(livedesk_id)
            | Self::NotDone { livedesk_id, .. }
            | Self::TakenBack { livedesk_id, .. }
            | Self::RemoveChild { livedesk_id, .. } => Touched::Contact(*livedesk_id),
            Self::PutDeadLetter(DeadLetter { livedesk_id, .. }) | Self::ClearDeadLetter(livedesk_id) => {
                Touched::DeadLetter(*livedesk_id)
            }
            Self::PutConflict(Conflict { livedesk_id, .. })
            | Self::ClearConflict(livedesk_id)
            | Self::DecisionCarried { livedesk_id, .. } => Touched::Conflict(*livedesk_id),
            Self::Sight { id, .. } => Touched::Sighting(*id),
            Self::Checkpoint { sweep, .. } => Touched::Sweep(*sweep),
            Self::CountRun { run, .. } => Touched::Run(*run),
            Self::Journal(_) | Self::IndexAdd { .. } => return None,
        })
    }

    /// Place of its kind in a round. Links go before their children, removals before what may take their place.
    fn rank(&self) -> u8 {
        match self {
            Self::OpenIntent(_) => 0,
            Self::ParkIntent { .. } => 1,
            Self::AbsentIntent { .. } => 2,
            Self::AuditIntent { .. } => 3,
            Self::CloseIntent { .. } => 4,
            Self::RemoveLink(_) => 5,
            Self::PutLink(_) => 6,
            Self::RemoveChild { .. } => 7,
            Self::PutChild(_) => 8,
            Self::PutDeadLetter(_) => 9,
            Self::ClearDeadLetter(_) => 10,
            Self::PutConflict(_) => 11,
            Self::ClearConflict(_) => 12,
            Self::Journal(_) => 13,
            Self::IndexAdd { .. } => 14,
            Self::Sight { .. } => 15,
            Self::Checkpoint { .. } => 16,
            Self::CountRun { .. } => 17,
            Self::PutAbsence(_) => 18,
            Self::ClearAbsence(_) => 19,
            Self::TakenBack { .. } => 20,
            Self::NotDone { .. } => 21,
            Self::DecisionCarried { .. } => 22,
        }
    }

    /// Whether a statement may hold two of this kind for one thing: an upsert goes row by row and the last wins;
    /// an update joined with its rows would take any of them.
    fn repeatable(&self) -> bool {
        !matches!(
            self,
            Self::ParkIntent { .. }
                | Self::AuditIntent { .. }
                | Self::CountRun { .. }
                | Self::TakenBack { .. }
                | Self::DecisionCarried { .. }
        )
    }
}

/// Sorts `ops` (in order of arrival) by rounds, in each round by kind, and within a kind by arrival, so that each
/// thing is touched in the order of arrival.
///
/// A write goes into the first round in which everything that touched the same thing before it comes before it. As
/// a rule that is round 0 for all of them, which makes one statement per kind.
pub(super) fn arrange<'a>(ops: &[&'a WriteOp]) -> Vec<Vec<&'a WriteOp>> {
    let mut last: HashMap<Touched, (u32, u8)> = HashMap::with_capacity(ops.len());
    let mut places: Vec<(u32, u8, usize)> = Vec::with_capacity(ops.len());
    for (index, op) in ops.iter().enumerate() {
        let rank = op.rank();
        let mut round = 0;
        if let Some(touched) = op.touched() {
            if let Some(&(last_round, last_rank)) = last.get(&touched) {
                let after = rank > last_rank || (rank == last_rank && op.repeatable());
                round = if after { last_round } else { last_round + 1 };
            }
            last.insert(touched, (round, rank));
        }
        places.push((round, rank, index));
    }
    places.sort_unstable();
    places.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).map(|run| run.iter().map(|place| ops[place.2]).collect()).collect()
}
