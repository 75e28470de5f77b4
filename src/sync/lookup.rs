//! Finding a few contacts at the source by their ids: by id where LiveDesk can, else with a sweep until all are found.
//!
//! It only reads. What is still missing at the end is not listed any more, or is hidden from the list; or it is one that
//! LiveDesk cannot show, which says nothing about it and concerns nobody else.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::contact::Contact;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::{Direction, DirectionStyle, Order, SortKey, Verdict};
use crate::sync::ports::{ByIdAnswer, ContactSource, MalformedRow, PageRequest, PortError};
use crate::sync::scan::{Goal, ScanError, Sweep, SweepPlan, SweepStep};

/// The order of the page by which the source is recognised and counted.
pub const OLDEST_FIRST: PageRequest = PageRequest {
    order: Order { key: SortKey::CreatedAt, direction: Direction::Ascending },
    style: DirectionStyle::Parameter,
    page: 1,
};

/// A look-up under way.
#[derive(Debug)]
pub struct Lookup<S> {
    source: Arc<S>,
    missing: BTreeSet<LiveDeskId>,
    /// Ids that were not asked for one by one yet.
    left: BTreeSet<LiveDeskId>,
    /// Ids that LiveDesk could not be asked for.
    unread: BTreeSet<LiveDeskId>,
    /// A contact that surely exists.
    known: Option<LiveDeskId>,
    max_rounds: u32,
    sweep: Option<Sweep<S>>,
    verdict: Option<Verdict>,
}

/// What one step of a look-up found.
#[derive(Debug, Default)]
pub struct Found {
    /// Contacts that were looked for.
    pub contacts: Vec<Contact>,
    /// Rows of contacts that were looked for and cannot be read.
    pub malformed: Vec<MalformedRow>,
}

impl<S: ContactSource> Lookup<S> {
    /// Looks for these contacts; `max_rounds` bounds a sweep, should one be needed.
    pub async fn start(source: Arc<S>, ids: BTreeSet<LiveDeskId>, max_rounds: u32) -> Result<Self, ScanError> {
        let known = if ids.is_empty() { None } else { known_beside(&*source, &ids).await? };
        let (left, unread) = (ids.clone(), BTreeSet::new());
        Ok(Self { source, left, missing: ids, unread, known, max_rounds, sweep: None, verdict: None })
    }

    /// The next step; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Found>, ScanError> {
        while self.sweep.is_none() {
            let Some(id) = self.left.pop_first() else { return Ok(None) };
            let answer = match self.known {
                Some(known) => read_one(&*self.source, id, known).await?,
                // An empty first page is for a sweep to judge.
                None => Some(ByIdAnswer::Unsupported),
            };
            let Some(answer) = answer else {
                self.unread.insert(id);
                continue;
            };
            match answer {
                ByIdAnswer::Found(contact) => {
                    self.missing.remove(&id);
                    return Ok(Some(Found { contacts: vec![*contact], malformed: Vec::new() }));
                }
                ByIdAnswer::Missing => {}
                ByIdAnswer::Unsupported => {
                    let plan = SweepPlan { max_rounds: self.max_rounds, ..SweepPlan::new(Goal::Proven) };
                    self.sweep = Some(Sweep::start(Arc::clone(&self.source), plan, None).await?);
                }
            }
        }
        let Some(sweep) = &mut self.sweep else { return Ok(None) };
        if self.missing.is_empty() {
            return Ok(None);
        }
        match sweep.next().await? {
            SweepStep::Page(mut page) => {
                page.fresh.retain(|contact| self.missing.remove(&contact.id));
                page.malformed.retain(|row| row.id.is_some_and(|id| self.missing.remove(&id)));
                // A step that found nobody lets the caller look up from its work, and stop.
                Ok(Some(Found { contacts: page.fresh, malformed: page.malformed }))
            }
            SweepStep::Finished(report) => {
                self.verdict = Some(report.verdict);
                Ok(None)
            }
        }
    }

    /// What was not found so far.
    pub fn missing(&self) -> &BTreeSet<LiveDeskId> {
        &self.missing
    }

    /// Whether, at the end, one that is missing is surely not listed: it was asked for, or a sweep was proven.
    pub fn is_surely_gone(&self, id: LiveDeskId) -> bool {
        match &self.sweep {
            None => !self.unread.contains(&id),
            Some(_) => self.verdict == Some(Verdict::Proven),
        }
    }
}

/// A contact that surely exists; best one that is not in question itself.
pub(super) async fn known_beside<S: ContactSource>(
    source: &S,
    ids: &BTreeSet<LiveDeskId>,
) -> Result<Option<LiveDeskId>, ScanError> {
    let listed = source.page(OLDEST_FIRST).await?;
    let mut listed = listed.rows.iter().map(|row| row.id);
    let first = listed.next();
    Ok(first.into_iter().chain(listed).find(|id| !ids.contains(id)).or(first))
}

/// Reads one contact by its id. `None`: LiveDesk cannot show this one, and says nothing about the others by that. `known` is
/// a contact that surely exists.
pub(super) async fn read_one<S: ContactSource>(
    source: &S,
    id: LiveDeskId,
    known: LiveDeskId,
) -> Result<Option<ByIdAnswer>, PortError> {
    match source.by_id(id, known).await {
        Ok(answer) => Ok(Some(answer)),
        Err(PortError::Refused { .. } | PortError::NotFound) => Ok(None),
        // Where another one is answered for, it is not LiveDesk that is in trouble.
        Err(error @ PortError::Unavailable { .. }) if id != known => match source.by_id(known, known).await {
            Ok(ByIdAnswer::Found(_)) | Err(PortError::Refused { .. }) => Ok(None),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}
