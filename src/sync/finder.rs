//! Finding a record by its stamp, and proving that there is none.
//!
//! A filter may be fuzzy, ignored, or answer from an index that lags behind writes (notes FIRST LINE 2.2), so a hit
//! counts only after it was compared here, and an absence only after the same form of query has shown that it can
//! find something newer. Ids that no query can vouch for are read one by one.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::target::TargetContact;
use crate::domain::tenant::StampFilter;
use crate::sync::engine::{Engine, RunError};
use crate::sync::ports::{ContactFilter, ContactTarget, FilterEncoding, PortError};
use crate::sync::stamp::StampReading;

/// Pages of a filtered answer that are read before the filter is held to be ignored.
const FILTERED_PAGES: u32 = 3;
/// List rows without their custom fields that are read by id, per query.
const CONFIRMED_ROWS: usize = 5;
/// Ids beyond the highest known one that are tried at least, when nothing newer marks the end.
const LEAST_TAIL: i64 = 20;
/// Ids that are held against the links at once.
const WALK_CHUNK: i64 = 5_000;
/// Records of ours whose ids tell how far apart ids are handed out.
const RECENT: u32 = 50;

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

/// What reading ids one by one found.
#[derive(Debug, Default)]
pub struct Walk {
    /// The records that carry a stamp.
    pub stamps: BTreeMap<LiveDeskId, BTreeSet<FirstLineId>>,
    /// Whether every id in question was read and answered for: only then silence means absence. Not so where there
    /// are more ids than the limit allows, where one cannot be read, or where a list shows what a read does not.
    pub complete: bool,
    /// The newest record that the list shows now.
    pub newest: Option<FirstLineId>,
}

impl<T: ContactTarget> Engine<T> {
    /// Asks one form of filter for a contact's stamp.
    pub async fn query_stamp(&self, id: LiveDeskId, filter: &ContactFilter) -> Result<QueryAnswer, PortError> {
        if self.tenant.is_useless(form_of(filter)) {
            // A probe has seen it ignored or refused: its answer would say nothing.
            return Ok(QueryAnswer::Unusable);
        }
        let mut found = Vec::new();
        let mut confirmed = 0;
        let mut unread = false;
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
                        match self.sight(row.id).await? {
                            Sight::Record(record) => Some(*record),
                            Sight::Nothing => None,
                            Sight::Unreadable => {
                                unread = true;
                                None
                            }
                        }
                    }
                    StampReading::Of(of) if of == id => Some(row),
                    _ => None,
                };
                found.extend(record.filter(|record| self.scheme.read(record) == StampReading::Of(id)));
            }
            if ended {
                // Rows may shift from page to page; what was not read in full says nothing.
                let whole = page == 1 || total.is_some_and(|total| seen.len() as u64 >= total);
                let silence = if whole && !unread { QueryAnswer::NotFound } else { QueryAnswer::Unusable };
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
        Ok(self.ask_for_stamped(id).await?.unwrap_or_default())
    }

    /// The same; `None` where none is found, and no form of filter let so little through that this says anything.
    pub async fn ask_for_stamped(
        &self,
        id: LiveDeskId,
    ) -> Result<Option<BTreeMap<FirstLineId, TargetContact>>, PortError> {
        let mut none = None;
        for filter in self.scheme.filters(id) {
            match self.query_stamp(id, &filter).await? {
                QueryAnswer::Found(found) => {
                    return Ok(Some(found.into_iter().map(|record| (record.id, record)).collect()));
                }
                QueryAnswer::NotFound => none = Some(BTreeMap::new()),
                QueryAnswer::Unusable => {}
            }
        }
        Ok(none)
    }

    /// The records that a search names for a stamp and that, read by id, carry it, and whether all could be read: a search may be a
    /// moment old, and still name a customer that the stamp was taken off from.
    pub(super) async fn stamped_now(&self, id: LiveDeskId) -> Result<(Vec<FirstLineId>, bool), PortError> {
        let (mut stamped, mut readable) = (Vec::new(), true);
        for named in self.find_stamped(id).await?.into_keys() {
            match self.sight(named).await? {
                Sight::Record(record) if self.scheme.read(&record) != StampReading::Of(id) => {}
                Sight::Record(_) => stamped.push(named),
                _ => {
                    readable = false;
                    stamped.push(named);
                }
            }
        }
        Ok((stamped, readable))
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
    pub async fn walk_ids(&self, from: i64) -> Result<Walk, RunError> {
        let Some(listed) = self.look_at_the_ends().await? else { return Ok(Walk::default()) };
        let tail = self.tail().await?;
        let mut walk = Walk { newest: listed.last().copied(), complete: true, ..Walk::default() };
        let mut left = self.settings.id_walk_limit;
        let mut next = from + 1;
        loop {
            let last = self.highest().max(from) + tail;
            if next > last {
                return Ok(walk);
            }
            // Counted before anything is read: a walk that cannot be ended costs no requests.
            let Some(unknown) = self.unlinked(next, last, left).await? else {
                walk.complete = false;
                return Ok(walk);
            };
            left -= unknown.len();
            let records: Vec<(FirstLineId, Sight)> = stream::iter(unknown)
                .map(|id| async move { Ok::<_, PortError>((id, self.sight(id).await?)) })
                .buffer_unordered(self.settings.jobs.max(1))
                .try_collect()
                .await?;
            for (id, sight) in records {
                match sight {
                    Sight::Record(record) => {
                        self.saw(record.id);
                        if let StampReading::Of(of) = self.scheme.read(&record) {
                            walk.stamps.entry(of).or_default().insert(record.id);
                        }
                    }
                    Sight::Nothing if listed.contains(&id) => walk.complete = false,
                    Sight::Nothing => {}
                    Sight::Unreadable => walk.complete = false,
                }
            }
            next = last + 1;
        }
    }

    /// The ids from `first` to `last` that are not linked; `None` where there are more than `limit`.
    async fn unlinked(&self, first: i64, last: i64, limit: usize) -> Result<Option<Vec<FirstLineId>>, RunError> {
        let mut unknown = Vec::new();
        let mut next = first;
        while next <= last {
            let end = last.min(next + WALK_CHUNK - 1);
            let ids: Vec<FirstLineId> = (next..=end).map(FirstLineId).collect();
            let linked = self.store.source_of(&ids).await?;
            unknown.extend(ids.into_iter().filter(|id| !linked.contains_key(id)));
            if unknown.len() > limit {
                return Ok(None);
            }
            next = end + 1;
        }
        Ok(Some(unknown))
    }

    /// Reads one record. One that is refused says nothing, and costs nothing but what hangs on it.
    pub(super) async fn sight(&self, id: FirstLineId) -> Result<Sight, PortError> {
        match self.target.contact(id).await {
            Ok(Some(record)) => Ok(Sight::Record(Box::new(record))),
            Ok(None) | Err(PortError::NotFound) => Ok(Sight::Nothing),
            Err(PortError::Refused { .. }) => Ok(Sight::Unreadable),
            Err(error) => Err(error),
        }
    }

    /// The ids on the first and the last page of the list: by whatever it is sorted, the newest is on one of them.
    /// `None` where the list is refused.
    async fn look_at_the_ends(&self) -> Result<Option<BTreeSet<FirstLineId>>, PortError> {
        let mut listed = BTreeSet::new();
        let mut page = 1;
        loop {
            let answer = match self.target.contacts(None, page).await {
                Ok(answer) => answer,
                Err(PortError::Refused { .. } | PortError::NotFound) => return Ok(None),
                Err(error) => return Err(error),
            };
            for row in &answer.rows {
                self.saw(row.id);
                listed.insert(row.id);
            }
            match answer.last_page {
                Some(last) if page == 1 && last > 1 => page = last,
                _ => return Ok(Some(listed)),
            }
        }
    }

    /// How far beyond the highest known id a create of ours could lie: a few times the widest gap between ids that
    /// were handed to us lately. Records that we adopted were handed to others, at any time.
    async fn tail(&self) -> Result<i64, RunError> {
        let recent = self.store.newest_created(RECENT).await?;
        let recent: BTreeSet<i64> = recent.iter().map(|link| link.target.0).collect();
        let widest = recent.iter().zip(recent.iter().skip(1)).map(|(low, high)| high - low).max().unwrap_or(1);
        Ok((widest * 3).max(LEAST_TAIL))
    }
}

/// What reading one id brought.
#[derive(Debug)]
pub(super) enum Sight {
    /// There it is.
    Record(Box<TargetContact>),
    /// There is no such record.
    Nothing,
    /// Refused, or in a shape that cannot be read.
    Unreadable,
}

fn found_or(found: Vec<TargetContact>, otherwise: QueryAnswer) -> QueryAnswer {
    if found.is_empty() { otherwise } else { QueryAnswer::Found(found) }
}

fn form_of(filter: &ContactFilter) -> StampFilter {
    match filter {
        ContactFilter::MembershipNo(_) => StampFilter::MembershipNo,
        ContactFilter::CustomField { encoding: FilterEncoding::Brackets, .. } => StampFilter::Brackets,
        ContactFilter::CustomField { encoding: FilterEncoding::Json, .. } => StampFilter::Json,
    }
}

/// A form of filter, by its place in [`crate::sync::stamp::StampScheme::filters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilterForm(pub usize);
