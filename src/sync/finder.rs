//! Finding a record by its stamp, and proving that there is none.
//!
//! A filter may be fuzzy, ignored, or answer from an index that lags behind writes (notes FIRST LINE 2.2), so a hit
//! counts only after it was compared here, and an absence only after the same form of query has shown that it can
//! find something newer. Ids that no query can vouch for are read one by one.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::target::TargetContact;
use crate::sync::engine::{Engine, RunError};
use crate::sync::ports::{ContactFilter, ContactTarget, PortError};
use crate::sync::stamp::StampReading;

/// Pages of a filtered answer that are read before the filter is held to be ignored.
const FILTERED_PAGES: u32 = 3;
/// List rows without their custom fields that are read by id, per query.
const CONFIRMED_ROWS: usize = 5;
/// Ids beyond the highest known one that are tried at least, when nothing newer marks the end.
const LEAST_TAIL: i64 = 20;

/// What one filtered query says about one stamp.
#[derive(Debug)]
pub enum QueryAnswer {
    /// Records that carry the stamp; compared on our side.
    Found(Vec<TargetContact>),
    /// Everything the filter let through was read, and none carries it.
    NotFound,
    /// The filter is refused, or lets everything through: it says nothing.
    Unusable,
}

/// What reading ids one by one found, by stamp. `None` where there were more ids than the limit allows.
pub type WalkedIds = Option<BTreeMap<LiveDeskId, BTreeSet<FirstLineId>>>;

impl<T: ContactTarget> Engine<T> {
    /// Asks one form of filter for a contact's stamp.
    pub async fn query_stamp(&self, id: LiveDeskId, filter: &ContactFilter) -> Result<QueryAnswer, PortError> {
        let mut found = Vec::new();
        let mut confirmed = 0;
        let mut seen = BTreeSet::new();
        for page in 1.. {
            let answer = match self.target.contacts(Some(filter), page).await {
                Ok(answer) => answer,
                Err(PortError::Refused { .. } | PortError::NotFound) => return Ok(QueryAnswer::Unusable),
                Err(error) => return Err(error),
            };
            let ended = answer.rows.is_empty() || answer.last_page.is_some_and(|last| page >= last);
            let total = answer.total;
            for row in answer.rows {
                self.saw(row.id);
                seen.insert(row.id);
                let record = match self.scheme.read(&row) {
                    StampReading::NotSaid if confirmed == CONFIRMED_ROWS => {
                        return Ok(found_or(found, QueryAnswer::Unusable));
                    }
                    StampReading::NotSaid => {
                        confirmed += 1;
                        self.target.contact(row.id).await?
                    }
                    StampReading::Of(of) if of == id => Some(row),
                    _ => None,
                };
                found.extend(record.filter(|record| self.scheme.read(record) == StampReading::Of(id)));
            }
            if ended {
                // Rows may shift from page to page; what was not read in full says nothing.
                let whole = page == 1 || total.is_some_and(|total| seen.len() as u64 >= total);
                let silence = if whole { QueryAnswer::NotFound } else { QueryAnswer::Unusable };
                return Ok(found_or(found, silence));
            }
            if page == FILTERED_PAGES {
                break;
            }
        }
        Ok(found_or(found, QueryAnswer::Unusable))
    }

    /// Every record that any form of filter finds for a stamp, by id.
    pub async fn find_stamped(&self, id: LiveDeskId) -> Result<BTreeMap<FirstLineId, TargetContact>, PortError> {
        let mut records = BTreeMap::new();
        for filter in self.scheme.filters(id) {
            if let QueryAnswer::Found(found) = self.query_stamp(id, &filter).await? {
                records.extend(found.into_iter().map(|record| (record.id, record)));
                break;
            }
        }
        Ok(records)
    }

    /// Whether some form of filter finds the stamp of a contact that is known to be there: the positive control.
    /// Returns the forms that do.
    pub async fn trusted_filters(&self, known: LiveDeskId, record: FirstLineId) -> Result<Vec<FilterForm>, PortError> {
        let mut trusted = Vec::new();
        for (form, filter) in self.scheme.filters(known).iter().enumerate() {
            if let QueryAnswer::Found(found) = self.query_stamp(known, filter).await?
                && found.iter().any(|candidate| candidate.id == record)
            {
                trusted.push(FilterForm(form));
            }
        }
        Ok(trusted)
    }

    /// Reads every id above `from` that is not linked, up to the highest known one and a tail beyond it, and
    /// returns the stamps found. Reading by id knows neither filters nor a lagging index.
    ///
    /// What others created meanwhile, and what was applied late, moves the end: the ends of the list are looked at
    /// first, and each record found beyond the highest known one makes the walk longer.
    pub async fn walk_ids(&self, from: i64) -> Result<WalkedIds, RunError> {
        self.look_at_the_ends().await?;
        let tail = self.tail().await?;
        let limit = self.settings.id_walk_limit;
        let mut stamps: BTreeMap<LiveDeskId, BTreeSet<FirstLineId>> = BTreeMap::new();
        let mut next = from + 1;
        let mut read = 0;
        loop {
            let last = self.highest().max(from) + tail;
            if next > last {
                return Ok(Some(stamps));
            }
            if usize::try_from(last - from).is_ok_and(|range| range > 64 * limit) {
                return Ok(None);
            }
            let ids: Vec<FirstLineId> = (next..=last).map(FirstLineId).collect();
            let linked = self.store.source_of(&ids).await?;
            let unknown: Vec<FirstLineId> = ids.into_iter().filter(|id| !linked.contains_key(id)).collect();
            read += unknown.len();
            if read > limit {
                return Ok(None);
            }
            let records: Vec<Option<TargetContact>> = stream::iter(unknown)
                .map(|id| self.target.contact(id))
                .buffer_unordered(self.settings.jobs.max(1))
                .try_collect()
                .await?;
            for record in records.into_iter().flatten() {
                self.saw(record.id);
                if let StampReading::Of(id) = self.scheme.read(&record) {
                    stamps.entry(id).or_default().insert(record.id);
                }
            }
            next = last + 1;
        }
    }

    /// Notes the ids on the first and the last page of the list: by whatever it is sorted, the newest is on one of them.
    async fn look_at_the_ends(&self) -> Result<(), RunError> {
        let first = self.target.contacts(None, 1).await?;
        let rest = match first.last_page {
            Some(last) if last > 1 => self.target.contacts(None, last).await?.rows,
            _ => Vec::new(),
        };
        for row in first.rows.iter().chain(&rest) {
            self.saw(row.id);
        }
        Ok(())
    }

    /// How far beyond the highest known id a create of ours could lie: a few times the widest gap between ids that
    /// were handed to us lately.
    async fn tail(&self) -> Result<i64, RunError> {
        let recent = self.store.recent_targets(50).await?;
        let widest = recent.windows(2).map(|pair| (pair[0].0 - pair[1].0).abs()).max().unwrap_or(1);
        Ok((widest * 3).max(LEAST_TAIL))
    }
}

fn found_or(found: Vec<TargetContact>, otherwise: QueryAnswer) -> QueryAnswer {
    if found.is_empty() { otherwise } else { QueryAnswer::Found(found) }
}

/// A form of filter, by its place in [`crate::sync::stamp::StampScheme::filters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilterForm(pub usize);
