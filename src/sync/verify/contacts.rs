//! LiveDesk's contacts, swept to a proven end and compared page by page; or a sample of them.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::finding::{Class, Finding, Reason};
use super::held::HeldRecord;
use super::look::Looked;
use super::sample::Draw;
use super::{CustomersRead, Verifier, held_of};
use crate::domain::contact::Contact;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::sweep::SweepReport;
use crate::store::Note;
use crate::sync::engine::RunError;
use crate::sync::finder::QueryAnswer;
use crate::sync::ports::{ContactSource, ContactTarget, MalformedRow};
use crate::sync::progress::{Phase, ProgressEvent};
use crate::sync::scan::{Goal, Sweep, SweepPlan, SweepStep};

/// Contacts of a sample that are looked for by their stamp, to see whether FIRST LINE can be asked at all.
const CONTROLS: usize = 5;

impl<S: ContactSource, T: ContactTarget> Verifier<S, T> {
    /// Sweeps LiveDesk and compares whatever it brings with the notebook.
    pub(super) async fn compare_contacts(&mut self) -> Result<SweepReport, RunError> {
        self.walk(async |this, contacts, malformed| {
            this.take_note_of(&malformed).await?;
            this.compare_page(contacts).await
        })
        .await
    }

    /// Sweeps LiveDesk and draws a sample of its contacts.
    pub(super) async fn draw(&mut self, size: usize) -> Result<(SweepReport, Vec<Contact>), RunError> {
        let mut draw = Draw::new(size, self.options.seed);
        let report = self
            .walk(async |_, contacts, _| {
                for contact in contacts {
                    draw.offer(contact);
                }
                Ok(())
            })
            .await?;
        Ok((report, draw.contacts()))
    }

    /// Sweeps LiveDesk to its proven end and hands each page to `take`. Whoever was forgotten is counted and left out.
    async fn walk(
        &mut self,
        mut take: impl AsyncFnMut(&mut Self, Vec<Contact>, Vec<MalformedRow>) -> Result<(), RunError>,
    ) -> Result<SweepReport, RunError> {
        self.engine.progress.event(ProgressEvent::Phase(Phase::Compare));
        let plan = SweepPlan { max_rounds: self.options.max_rounds, ..SweepPlan::new(Goal::Proven) };
        let mut sweep = Sweep::start(Arc::clone(&self.source), plan, None).await?;
        loop {
            self.engine.go_on()?;
            match sweep.next().await? {
                SweepStep::Page(page) => {
                    if let (1, 1, Some(count)) = (page.position.pass, page.position.page, page.count) {
                        self.engine.progress.event(ProgressEvent::Expect(count));
                    }
                    let (mut contacts, mut malformed) = (page.fresh, page.malformed);
                    let many = contacts.len() as u64;
                    let ids: Vec<LiveDeskId> = contacts.iter().map(|contact| contact.id).collect();
                    let ids = [ids, malformed.iter().filter_map(|row| row.id).collect()].concat();
                    self.seen.extend(ids.iter().map(|id| id.0.unsigned_abs()));
                    let forgotten = self.forgotten(&ids).await?;
                    self.forgotten += forgotten.len() as u64;
                    contacts.retain(|contact| !forgotten.contains(&contact.id));
                    malformed.retain(|row| row.id.is_none_or(|id| !forgotten.contains(&id)));
                    take(self, contacts, malformed).await?;
                    self.engine.progress.event(ProgressEvent::Advance(many));
                }
                SweepStep::Finished(report) => {
                    self.known = sweep.known_id();
                    return Ok(report);
                }
            }
        }
    }

    /// Compares a sample, by asking FIRST LINE for each contact; where that cannot be asked, by its whole list.
    pub(super) async fn compare_sample(&mut self, contacts: Vec<Contact>) -> Result<Option<CustomersRead>, RunError> {
        let customers = if contacts.is_empty() || self.can_be_asked(&contacts).await? {
            None
        } else {
            self.engine.notice("FIRST LINE cannot be asked for single stamps: its whole list is read");
            Some(self.read_customers().await?)
        };
        let unasked = self.compare_live(contacts).await?;
        if unasked.is_empty() {
            return Ok(customers);
        }
        self.engine.notice("FIRST LINE finds more stamps than it was asked for: its whole list is read");
        let customers = self.read_customers().await?;
        self.compare_live(unasked).await?;
        Ok(Some(customers))
    }

    /// Compares contacts one by one. Gives back those whose stamp FIRST LINE can only be asked for in vain: they wait for its
    /// list.
    async fn compare_live(&mut self, contacts: Vec<Contact>) -> Result<Vec<Contact>, RunError> {
        self.engine.progress.event(ProgressEvent::Phase(Phase::Again));
        self.engine.progress.event(ProgressEvent::Expect(contacts.len() as u64));
        let mut unasked = Vec::new();
        for some in contacts.chunks(100) {
            self.engine.go_on()?;
            let looked: Vec<Looked> = stream::iter(some)
                .map(|contact| self.look_live(contact))
                .buffered(self.engine.settings.jobs.max(1))
                .try_collect()
                .await?;
            for (contact, looked) in some.iter().zip(looked) {
                if looked.unasked {
                    unasked.push(contact.clone());
                } else {
                    self.take(looked).await?;
                }
            }
            self.engine.progress.event(ProgressEvent::Advance(some.len() as u64));
        }
        Ok(unasked)
    }

    /// Whether FIRST LINE answers for single stamps: it finds those of some of these contacts, and does not answer with
    /// everybody when nobody is asked for.
    async fn can_be_asked(&self, contacts: &[Contact]) -> Result<bool, RunError> {
        let nobody = LiveDeskId(i64::MAX);
        let mut silent = false;
        for filter in self.engine.scheme.filters(nobody) {
            silent = silent || matches!(self.engine.query_stamp(nobody, &filter).await?, QueryAnswer::NotFound);
        }
        for contact in contacts.iter().take(CONTROLS).filter(|_| silent) {
            if !self.engine.find_stamped(contact.id).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Rows that are no contacts.
    async fn take_note_of(&mut self, malformed: &[MalformedRow]) -> Result<(), RunError> {
        let mut notes = Vec::new();
        for row in malformed {
            let Some(id) = row.id else { continue };
            self.checked += 1;
            let finding = Finding::new(Class::Unmapped, id.0, Some(Reason::SetAside), &*row.problem);
            notes.push(note_of(&finding, false));
        }
        Ok(self.notes.put_notes(&notes).await?)
    }

    async fn compare_page(&mut self, contacts: Vec<Contact>) -> Result<(), RunError> {
        if contacts.is_empty() {
            return Ok(());
        }
        let ids: Vec<LiveDeskId> = contacts.iter().map(|contact| contact.id).collect();
        let mut held: HashMap<FirstLineId, HeldRecord> = HashMap::new();
        let stamped = held_of(&self.notes.stamped_for(&ids).await?);
        held.extend(stamped.into_iter().map(|record| (record.target, record)));
        let targets: Vec<FirstLineId> = held.keys().copied().collect();
        let facts = self.facts(&ids, &targets).await?;
        let linked: Vec<FirstLineId> =
            facts.links.values().map(|link| link.target).filter(|target| !held.contains_key(target)).collect();
        if !linked.is_empty() {
            let linked = held_of(&self.notes.customers(&linked).await?);
            held.extend(linked.into_iter().map(|record| (record.target, record)));
        }
        let noted = held.keys().copied().collect();
        self.add_children(&mut held, noted).await?;
        let mut notes = Vec::new();
        for contact in &contacts {
            let looked = self.look(contact, &held, &facts).await?;
            self.count(&looked);
            let mut open = looked.incomplete || looked.findings.iter().any(Self::is_open);
            for (_, kind, key) in &looked.lost {
                // It may stand on somebody else.
                open = open || !self.notes.holders(*kind, *key).await?.is_empty();
            }
            notes.extend(looked.findings.iter().map(|finding| note_of(finding, open)));
        }
        Ok(self.notes.put_notes(&notes).await?)
    }

    /// Whether a finding of the first look is looked at again: what nothing explains, what may have been carried meanwhile,
    /// and what a list did not say.
    fn is_open(finding: &Finding) -> bool {
        match finding.reason {
            None | Some(Reason::NotCarriedYet) => true,
            Some(_) => finding.is_of_unread_children(),
        }
    }

    pub(super) fn count(&mut self, looked: &Looked) {
        self.checked += 1;
        self.unstamped += u64::from(looked.by_link);
        for field in &looked.compared {
            match self.compared.get_mut(field) {
                Some(count) => *count += 1,
                None => drop(self.compared.insert(field.clone(), 1)),
            }
        }
    }

    /// Counts and notes what one contact came to.
    pub(super) async fn take(&mut self, looked: Looked) -> Result<(), RunError> {
        self.count(&looked);
        self.overlooked += u64::from(looked.overlooked);
        let notes: Vec<Note> = looked.findings.iter().map(|finding| note_of(finding, finding.is_fault())).collect();
        Ok(self.notes.put_notes(&notes).await?)
    }
}

/// A finding, as the notebook keeps it.
pub(super) fn note_of(finding: &Finding, open: bool) -> Note {
    let body = serde_json::to_string(finding).expect("words, numbers and texts always become JSON");
    Note { contact: finding.livedesk_id.map(LiveDeskId), open, body }
}
