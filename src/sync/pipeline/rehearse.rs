//! A rehearsal: a few contacts of every kind that there are, before everybody is carried.
//!
//! A bounded number of pages, spread over the account, is read and picked from; who is picked is carried as always. A
//! rehearsal is no sweep: it leaves an interrupted one as it is, and proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringTreemap;

use super::Pipeline;
use crate::domain::contact::Contact;
use crate::domain::ids::LiveDeskId;
use crate::store::Intent;
use crate::sync::carrier::{Carrier, Waiting};
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::RunError;
use crate::sync::lookup::OLDEST_FIRST;
use crate::sync::ports::{ContactSource, ContactTarget, LabelStyle, PageRequest, PortError, SourceRow};
use crate::sync::progress::ProgressEvent;
use crate::sync::rehearsal::{Candidate, Rehearsed, candidate, pick, spread};
use crate::sync::scan::{Sweep, SweepPlan, SweepStep};
use crate::sync::summary::Summary;

/// Pages that are picked from.
const PAGES: u32 = 30;
/// Contacts that are picked. Whoever asks for more gets the first ones beside them.
const PICKED: usize = 200;
/// Contacts with a label that are picked from, per tag.
const LABELLED: usize = 3;

impl<S: ContactSource, T: ContactTarget> Pipeline<S, T> {
    /// Carries so many contacts, and notes who they are. Answers whom LiveDesk did not show although they may be there.
    pub(super) async fn rehearse(
        &self,
        directory: &Arc<LazyDirectory>,
        left_over: BTreeMap<LiveDeskId, Option<Intent>>,
        limit: u64,
        rehearsed: &mut RoaringTreemap,
        summary: &mut Summary,
    ) -> Result<BTreeSet<LiveDeskId>, RunError> {
        let mut unfound = BTreeSet::new();
        if !left_over.is_empty() {
            unfound = self.carry_ids(directory, left_over, Waiting::Respect, summary).await?;
        }
        if limit == 0 {
            return Ok(unfound);
        }
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let picked = self.picked(wanted.min(PICKED)).await?;
        self.engine.progress.event(ProgressEvent::Expect(limit));
        let mut carrier = Carrier::new(Arc::clone(&self.engine), Arc::clone(directory), Waiting::Respect, None);
        carrier.summary = std::mem::take(summary);
        let (reasons, contacts): (Vec<_>, Vec<_>) = picked.into_iter().unzip();
        carrier.summary.rehearsed = reasons;
        rehearsed.extend(contacts.iter().map(|contact: &Contact| contact.id.0.unsigned_abs()));
        let left = wanted - contacts.len();
        let result = match carrier.feed(contacts, Vec::new(), None).await {
            Ok(()) if left > 0 => self.carry_first(&mut carrier, left, rehearsed).await,
            result => result,
        };
        let drained = carrier.drain().await;
        *summary = std::mem::take(&mut carrier.summary);
        match (result, drained) {
            (Ok(()), Ok(())) => Ok(unfound),
            (Err(error), Ok(())) | (_, Err(error)) => Err(error),
        }
    }

    /// Carries the first contacts that are not rehearsed yet.
    async fn carry_first(
        &self,
        carrier: &mut Carrier<T>,
        mut left: usize,
        rehearsed: &mut RoaringTreemap,
    ) -> Result<(), RunError> {
        let plan = SweepPlan { max_rounds: self.sweep_rounds, ..SweepPlan::new(self.goal) };
        let mut sweep = Sweep::start(Arc::clone(&self.source), plan, None).await?;
        while left > 0 && !carrier.failed() {
            self.engine.go_on()?;
            let SweepStep::Page(mut page) = sweep.next().await? else { return Ok(()) };
            page.fresh.retain(|contact| !rehearsed.contains(contact.id.0.unsigned_abs()));
            page.fresh.truncate(left);
            left -= page.fresh.len();
            rehearsed.extend(page.fresh.iter().map(|contact| contact.id.0.unsigned_abs()));
            carrier.feed(page.fresh, page.malformed, None).await?;
        }
        Ok(())
    }

    /// Picks a spread of contacts, with the reason for each, in the order of the list.
    async fn picked(&self, wanted: usize) -> Result<Vec<(Rehearsed, Contact)>, RunError> {
        let mut pool: Vec<(Contact, Candidate)> = Vec::new();
        let mut seen = BTreeSet::new();
        let first = self.source.page(OLDEST_FIRST).await?;
        let pages = first
            .count
            .map_or(PAGES, |count| u32::try_from(count.div_ceil(first.len().max(1) as u64)).unwrap_or(u32::MAX));
        self.take_in(first.rows, &mut pool, &mut seen);
        for page in spread(pages, PAGES).into_iter().filter(|page| *page > 1) {
            self.engine.go_on()?;
            let answer = self.source.page(PageRequest { page, ..OLDEST_FIRST }).await?;
            let empty = answer.is_empty();
            self.take_in(answer.rows, &mut pool, &mut seen);
            if empty {
                break;
            }
        }
        self.take_in_labelled(&mut pool, &mut seen).await?;
        let ids: Vec<LiveDeskId> = seen.iter().copied().collect();
        let forgotten = self.engine.store.forgotten_among(&ids).await?;
        pool.retain(|(contact, _)| !forgotten.contains(&contact.id));
        let candidates: Vec<Candidate> = pool.iter().map(|(_, candidate)| candidate.clone()).collect();
        let mut why: BTreeMap<usize, Vec<String>> =
            pick(&candidates, wanted).into_iter().map(|pick| (pick.place, pick.why)).collect();
        let contacts = pool.into_iter().enumerate();
        Ok(contacts
            .filter_map(|(place, (contact, _))| Some((Rehearsed::new(contact.id, why.remove(&place)?), contact)))
            .collect())
    }

    fn take_in(&self, rows: Vec<SourceRow>, pool: &mut Vec<(Contact, Candidate)>, seen: &mut BTreeSet<LiveDeskId>) {
        for row in rows {
            // A row that cannot be read is nobody to look at.
            let Ok(contact) = row.contact() else { continue };
            if seen.insert(contact.id) {
                let labels = self.engine.tags.get().into_iter().flat_map(|table| table.names_of(contact.id));
                let found = candidate(&self.engine.mapping, &contact, labels);
                pool.push((contact, found));
            }
        }
    }

    /// Few contacts have a label: some of those are looked at, too.
    async fn take_in_labelled(
        &self,
        pool: &mut Vec<(Contact, Candidate)>,
        seen: &mut BTreeSet<LiveDeskId>,
    ) -> Result<(), RunError> {
        let Some(table) = self.engine.tags.get() else { return Ok(()) };
        for label in self.engine.mapping.tags().iter().filter_map(|line| line.labels.first()) {
            let mut rows = Vec::new();
            for style in [LabelStyle::List, LabelStyle::Text] {
                match self.source.labelled_page(label, style, OLDEST_FIRST).await {
                    Ok(page) => rows.extend(page.rows),
                    Err(PortError::Refused { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            rows.retain(|row| table.names_of(row.id).next().is_some());
            rows.truncate(LABELLED);
            self.take_in(rows, pool, seen);
        }
        Ok(())
    }

    /// Names the records of a rehearsal, once they are there.
    pub(super) async fn name_records(&self, summary: &mut Summary) -> Result<(), RunError> {
        let ids: Vec<LiveDeskId> = summary.rehearsed.iter().map(|row| LiveDeskId(row.livedesk_id)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let links = self.engine.store.links_for(&ids).await?;
        for row in &mut summary.rehearsed {
            row.firstline_id = links.get(&LiveDeskId(row.livedesk_id)).map(|link| link.target.0);
        }
        Ok(())
    }
}
