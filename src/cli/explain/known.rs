//! What the state knows of one contact, in one place.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::output::Failure;
use crate::clock::Timestamp;
use crate::domain::ids::{LiveDeskId, RunId};
use crate::store::{
    Absence, ChildKind, Conflict, DeadLetter, DecisionMade, Hold, Intent, Journalled, Link, LinkChild, Run, Store,
};
use crate::sync::journal::action::{ADOPT, CREATE};

/// Everything.
pub(super) struct Known {
    pub(super) id: LiveDeskId,
    pub(super) forgotten_at: Option<Timestamp>,
    pub(super) link: Option<Link>,
    children: Vec<LinkChild>,
    pub(super) seen: Option<(i64, Option<Timestamp>)>,
    pub(super) journal: Vec<Journalled>,
    pub(super) decisions: Vec<DecisionMade>,
    pub(super) dead_letter: Option<DeadLetter>,
    pub(super) conflict: Option<Conflict>,
    pub(super) absence: Option<Absence>,
    pub(super) intents: Vec<Intent>,
    /// Nobody is carried while it stands.
    pub(super) hold: Option<Hold>,
    /// Every run that is named by one of these.
    pub(super) runs: BTreeMap<RunId, Option<Run>>,
    traces: bool,
}

impl Known {
    pub(super) async fn read(store: &Store, id: LiveDeskId) -> Result<Self, Failure> {
        let traced = store.traced(id).await?;
        let link = store.links_for(&[id]).await?.remove(&id);
        // An absence hangs on its link; the page begins at this contact.
        let absent = store.maybe_absent(None, LiveDeskId(id.0.saturating_sub(1)), 1).await?.pop();
        let intents = store.open_intents().await?;
        let mut known = Self {
            id,
            forgotten_at: traced.forgotten_at,
            children: store.children_of(id).await?,
            seen: store.last_sighting(id).await?,
            journal: store.journalled(id).await?,
            decisions: store.decisions_of(id).await?,
            dead_letter: store.dead_letters_for(&[id]).await?.remove(&id),
            conflict: store.conflict_for(&[id]).await?.remove(&id),
            absence: absent.filter(|seen| seen.livedesk_id == id).and_then(|seen| seen.absence),
            intents: intents.into_iter().filter(|intent| intent.livedesk_id == id).collect(),
            hold: store.hold().await?,
            link,
            runs: BTreeMap::new(),
            traces: traced.is_known(),
        };
        for run in known.named_runs() {
            known.runs.insert(run, store.run(run).await?);
        }
        Ok(known)
    }

    /// Whether the state knows the contact, or knows that it was forgotten.
    pub(super) fn is_known(&self) -> bool {
        self.traces || self.forgotten_at.is_some()
    }

    pub(super) fn children(&self, kind: ChildKind) -> usize {
        self.children.iter().filter(|child| child.kind == kind).count()
    }

    fn named_runs(&self) -> BTreeSet<RunId> {
        let journal = self.journal.iter().flat_map(|row| [Some(row.entry.run), row.undone_by]).flatten();
        let rest = [
            self.link.as_ref().map(|link| link.run),
            self.dead_letter.as_ref().map(|letter| letter.run),
            self.conflict.as_ref().map(|conflict| conflict.run),
            self.absence.as_ref().map(|absence| absence.run),
        ];
        journal.chain(rest.into_iter().flatten()).collect()
    }

    /// The run that made the link, where the journal still says so, or nothing touched it since.
    pub(super) fn maker(&self) -> Option<RunId> {
        let link = self.link.as_ref()?;
        let made = |row: &&Journalled| {
            let entry = &row.entry;
            entry.target == link.target && matches!(entry.action.as_str(), CREATE | ADOPT) && row.undone_by.is_none()
        };
        let untouched = link.linked_at == link.updated_at;
        self.journal.iter().find(made).map(|row| row.entry.run).or_else(|| untouched.then_some(link.run))
    }

    /// What a run did with the contact, the oldest change first.
    pub(super) fn changes(&self, run: RunId) -> impl Iterator<Item = &Journalled> {
        self.journal.iter().rev().filter(move |row| row.entry.run == run)
    }

    /// What else names a run, in words.
    pub(super) fn marks(&self, run: RunId) -> Vec<&'static str> {
        let mut marks = Vec::new();
        if self.maker() == Some(run) {
            marks.push("made the link");
        } else if self.link.as_ref().is_some_and(|link| link.run == run) {
            marks.push("touched the link");
        }
        if self.dead_letter.as_ref().is_some_and(|letter| letter.run == run) {
            marks.push("set it aside");
        }
        if self.conflict.as_ref().is_some_and(|conflict| conflict.run == run) {
            marks.push("found its conflict");
        }
        if self.absence.as_ref().is_some_and(|absence| absence.run == run) {
            marks.push("judged its absence last");
        }
        if self.journal.iter().any(|row| row.undone_by == Some(run)) {
            marks.push("took changes back");
        }
        marks
    }
}
