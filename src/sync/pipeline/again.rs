//! Single contacts, read again from the source: what was asked for by id, and what an earlier run left over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Pipeline, RunEnd};
use crate::domain::ids::LiveDeskId;
use crate::domain::outcome::{Outcome, SetAside, SetAsideKind};
use crate::store::{Intent, Standing, WriteOp};
use crate::sync::carrier::{Carrier, Waiting};
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::RunError;
use crate::sync::lookup::{Lookup, known_beside};
use crate::sync::ports::{ByIdAnswer, ContactSource, ContactTarget, PortError};
use crate::sync::progress::ProgressEvent;
use crate::sync::summary::Summary;

impl<S: ContactSource, T: ContactTarget> Pipeline<S, T> {
    /// Carries one contact as a sweep does that comes by it: what waits for its time, or for a person, goes on waiting. For a
    /// run on trial; what else a run does before and after is left out.
    pub async fn carry_one(&self, id: LiveDeskId) -> RunEnd {
        let mut summary = Summary::default();
        let result = async {
            let directory = Arc::new(LazyDirectory::new(self.engine.store.is_empty().await?, 1));
            self.carry_ids(&directory, BTreeMap::from([(id, None)]), Waiting::Respect, &mut summary).await
        };
        let failure = Box::pin(result).await.err();
        RunEnd { summary, failure }
    }

    /// Forgets the links of contacts whose record is known to be gone, and says how many.
    pub async fn forget_vanished(&self, ids: &BTreeSet<LiveDeskId>) -> Result<u64, RunError> {
        self.engine.forget_vanished(&ids.iter().copied().collect::<Vec<_>>()).await
    }

    /// Carries single contacts, read again from the source: by id where that exists, else with a pass. Answers those
    /// that were not found although they may be there.
    pub(in crate::sync) async fn carry_ids(
        &self,
        directory: &Arc<LazyDirectory>,
        mut ids: BTreeMap<LiveDeskId, Option<Intent>>,
        waiting: Waiting,
        summary: &mut Summary,
    ) -> Result<BTreeSet<LiveDeskId>, RunError> {
        let engine = &self.engine;
        ids.retain(|id, _| !engine.was_refused(*id));
        let all: Vec<LiveDeskId> = ids.keys().copied().collect();
        for id in engine.store.forgotten_among(&all).await? {
            ids.remove(&id);
            summary.count(id, Outcome::Forgotten);
            engine.notice(format!("contact {id} was forgotten (`deskferry state forget`) and is not carried"));
        }
        let mut carrier = Carrier::new(Arc::clone(engine), Arc::clone(directory), waiting, None);
        carrier.summary = std::mem::take(summary);
        for id in ids.keys() {
            carrier.summary.unpark(*id);
        }
        let mut missing: BTreeSet<LiveDeskId> = ids.keys().copied().collect();
        let mut orphans = BTreeMap::new();
        for (id, intent) in ids {
            if let Some(intent) = intent {
                orphans.insert(id, intent.seq);
                carrier.supersede(id, intent);
            }
        }
        let result = self.read_again(&mut carrier, &mut missing).await;
        let drained = carrier.drain().await;
        *summary = std::mem::take(&mut carrier.summary);
        let doubtful = match (result, drained) {
            (Ok(doubtful), Ok(())) => doubtful,
            (Err(error), Ok(())) | (_, Err(error)) => return Err(error),
        };
        for id in missing {
            let (orphan, is_gone) = (orphans.get(&id).copied(), !doubtful.contains(&id));
            // Whom this state never had and LiveDesk does not show was never there: a slip of whoever asked.
            if is_gone && waiting == Waiting::TryAgain && !engine.store.traced(id).await?.is_known() {
                summary.unknown(id);
            } else {
                self.tell_unfound(id, orphan, is_gone, summary).await?;
            }
        }
        Ok(doubtful)
    }

    /// Tells of a contact that LiveDesk did not show. Where its absence is proven nobody is left to be created: the create that
    /// was to be repeated (`orphan`) has nothing to wait for.
    pub(super) async fn tell_unfound(
        &self,
        id: LiveDeskId,
        orphan: Option<i64>,
        proven: bool,
        summary: &mut Summary,
    ) -> Result<(), RunError> {
        let (kind, detail) = if proven {
            (SetAsideKind::Gone, "LiveDesk does not show this contact any more")
        } else {
            (SetAsideKind::Unproven, "LiveDesk did not show this contact, and its absence could not be proven")
        };
        summary.set_aside(Some(id), SetAside { kind, field: None, status: None, detail: detail.to_owned() });
        if proven {
            // Nobody is left to be created or tried again: the old intent and the dead letter have nothing to wait for.
            let mut ops: Vec<WriteOp> = orphan.map(|seq| WriteOp::CloseIntent { seq }).into_iter().collect();
            ops.push(WriteOp::ClearDeadLetter(id));
            self.engine.store.write(ops).await?;
        }
        Ok(())
    }

    /// Carries to their end contacts whose doubt was settled and that nobody came by since: they are linked, and their
    /// fields or children may be missing. Where LiveDesk reads nobody by id they wait for a sweep.
    pub(super) async fn carry_unfinished(
        &self,
        directory: &Arc<LazyDirectory>,
        mut ids: Vec<LiveDeskId>,
        summary: &mut Summary,
    ) -> Result<(), RunError> {
        let store = &self.engine.store;
        let links = store.links_for(&ids).await?;
        ids.retain(|id| {
            links.get(id).is_some_and(|link| link.fingerprint.is_none() && link.standing == Standing::Live)
        });
        // What was tried meanwhile, or waits for somebody, was told of.
        let (letters, conflicts) = (store.dead_letters_for(&ids).await?, store.conflict_for(&ids).await?);
        ids.retain(|id| !letters.contains_key(id) && !conflicts.contains_key(id));
        if ids.is_empty() || !self.reads_by_id(&ids).await? {
            return Ok(());
        }
        let again = ids.into_iter().map(|id| (id, None)).collect();
        self.carry_ids(directory, again, Waiting::Respect, summary).await?;
        Ok(())
    }

    /// Whether LiveDesk reads contacts like these by id. Where it does not, a single one takes a walk over everybody.
    pub(in crate::sync) async fn reads_by_id(&self, ids: &[LiveDeskId]) -> Result<bool, RunError> {
        let ids = ids.iter().copied().collect();
        let Some(known) = known_beside(&*self.source, &ids).await? else { return Ok(false) };
        match self.source.by_id(known, known).await {
            Ok(answer) => Ok(!matches!(answer, ByIdAnswer::Unsupported)),
            // It does, though not this one.
            Err(PortError::Refused { .. } | PortError::NotFound) => Ok(true),
            // The list was answered just now. They wait for a sweep.
            Err(PortError::Unavailable { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads these contacts again and takes out of `missing` what was found. Answers those of the others whose absence is
    /// not proven.
    async fn read_again(
        &self,
        carrier: &mut Carrier<T>,
        missing: &mut BTreeSet<LiveDeskId>,
    ) -> Result<BTreeSet<LiveDeskId>, RunError> {
        if missing.is_empty() {
            return Ok(BTreeSet::new());
        }
        self.engine.progress.event(ProgressEvent::Expect(missing.len() as u64));
        let mut lookup = Lookup::start(Arc::clone(&self.source), missing.clone(), self.sweep_rounds).await?;
        while let Some(found) = lookup.next().await? {
            self.engine.go_on()?;
            if !found.contacts.is_empty() || !found.malformed.is_empty() {
                carrier.feed(found.contacts, found.malformed, None).await?;
            }
        }
        missing.clone_from(lookup.missing());
        Ok(missing.iter().copied().filter(|id| !lookup.is_surely_gone(*id)).collect())
    }
}
