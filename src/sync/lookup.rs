//! Finding a few contacts at the source by their ids: by id where LiveDesk can, else with a sweep until all are found.
//!
//! It only reads. What is still missing at the end is not listed any more, or is hidden from the list.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::contact::Contact;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::{Direction, DirectionStyle, Order, SortKey};
use crate::sync::ports::{ByIdAnswer, ContactSource, PageRequest};
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
    /// A contact that surely exists.
    known: Option<LiveDeskId>,
    max_rounds: u32,
    sweep: Option<Sweep<S>>,
}

impl<S: ContactSource> Lookup<S> {
    /// Looks for these contacts; `max_rounds` bounds a sweep, should one be needed.
    pub async fn start(source: Arc<S>, ids: BTreeSet<LiveDeskId>, max_rounds: u32) -> Result<Self, ScanError> {
        let known = if ids.is_empty() {
            None
        } else {
            source.page(OLDEST_FIRST).await?.contacts.first().map(|contact| contact.id)
        };
        Ok(Self { source, left: ids.clone(), missing: ids, known, max_rounds, sweep: None })
    }

    /// The next contacts that were found; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Contact>>, ScanError> {
        let Some(known) = self.known else { return Ok(None) };
        while self.sweep.is_none() {
            let Some(id) = self.left.pop_first() else { return Ok(None) };
            match self.source.by_id(id, known).await? {
                ByIdAnswer::Found(contact) => {
                    self.missing.remove(&id);
                    return Ok(Some(vec![*contact]));
                }
                ByIdAnswer::Missing => {}
                ByIdAnswer::Unsupported => {
                    let plan = SweepPlan { max_rounds: self.max_rounds, ..SweepPlan::new(Goal::Proven) };
                    self.sweep = Some(Sweep::start(Arc::clone(&self.source), plan, None).await?);
                }
            }
        }
        let Some(sweep) = &mut self.sweep else { return Ok(None) };
        while !self.missing.is_empty() {
            match sweep.next().await? {
                SweepStep::Page(page) => {
                    let found: Vec<Contact> =
                        page.fresh.into_iter().filter(|contact| self.missing.remove(&contact.id)).collect();
                    if !found.is_empty() {
                        return Ok(Some(found));
                    }
                }
                SweepStep::Finished(_) => break,
            }
        }
        Ok(None)
    }

    /// What was not found so far.
    pub fn missing(&self) -> &BTreeSet<LiveDeskId> {
        &self.missing
    }
}
