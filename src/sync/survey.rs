//! The survey: the target's own lists, read once into the state's index, and how far their silence may be believed.
//!
//! A list read page by page proves an absence only when its distinct ids reach `meta.total` (design, section 4,
//! Resolve); where there is no total, when a whole further walk found nothing new and nothing twice. What is kept are keyed hashes of stamps and match keys, never a value.

use std::future::Future;

use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use roaring::RoaringTreemap;

use crate::domain::hash::Digest;
use crate::domain::ids::FirstLineId;
use crate::domain::phone;
use crate::domain::record::canonical_email;
use crate::domain::target::{TargetContact, TargetEmail, TargetPhone};
use crate::store::{IndexKind, WriteOp};
use crate::sync::engine::{Engine, MatchKey, RunError};
use crate::sync::ports::{ChildFilter, ContactTarget, PortError, TargetPage};
use crate::sync::progress::{Phase, ProgressEvent};
use crate::sync::stamp::StampReading;

/// How often a list that falls short of its total is read at least.
const WALKS: u32 = 4;
/// How often it is read at most, while it falls short by less each time or every other time. What customers come in meanwhile
/// is no reason to go on: of them each walk finds some.
const MOST_WALKS: u32 = 12;
/// Ids of foreign stamps that are named in the refusal.
const NAMED: usize = 10;
/// Records that are read again together; where none of them says more than before, the rest is not asked.
const AGAIN: usize = 100;
/// Stands in the index for the owner of a row that names none, or one that is not listed. No record has this id.
pub(super) const OWNERLESS: FirstLineId = FirstLineId(0);
/// Pages assumed where a list says neither its last page nor its total; it ends on its first empty page.
const ENDLESS: u32 = 1_000_000;

/// What the survey found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// `meta.total` of the contact list.
    pub total: u64,
    /// Whether the contact list was read completely, stamps included.
    pub contacts_proven: bool,
    /// Whether the e-mail list was read completely; a row without an owner casts doubt on its own address only.
    pub emails_proven: bool,
    /// Whether the phone list was read completely; a row without an owner casts doubt on its own number only.
    pub phones_proven: bool,
    /// Records that carry a stamp of ours and are not linked in this state.
    pub stamped_unlinked: u64,
    /// Records that hold something that is not ours where our stamp would stand.
    pub foreign_stamps: u64,
    /// A few of their ids.
    pub foreign_ids: Vec<FirstLineId>,
}

/// What one list owes: its distinct ids against its total, or, where it tells none, a walk that found nothing new.
#[derive(Default)]
pub(super) struct Tally {
    seen: RoaringTreemap,
    total: Option<u64>,
    /// Whether a whole further walk added nothing and repeated nothing.
    quiet: bool,
}

impl Tally {
    pub(super) fn is_proven(&self) -> bool {
        self.total.map_or(self.quiet, |total| self.seen.len() >= total)
    }

    /// Distinct ids.
    pub(super) fn distinct(&self) -> u64 {
        self.seen.len()
    }

    /// What the list says that there are.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }
}

/// Reads a list page by page, several at once, handing each page's rows to `take`; again while it is not proven.
pub(super) async fn walk<R, Fetched>(
    jobs: usize,
    fetch: impl Fn(u32) -> Fetched,
    id_of: impl Fn(&R) -> i64,
    mut take: impl AsyncFnMut(Vec<R>) -> Result<(), RunError>,
) -> Result<Tally, RunError>
where
    Fetched: Future<Output = Result<TargetPage<R>, PortError>>,
{
    let jobs = u32::try_from(jobs.max(1)).unwrap_or(u32::MAX);
    let mut tally = Tally::default();
    // The least that was missing after a walk, and how many walks have not made it less.
    let (mut least, mut stalled) = (u64::MAX, 0);
    for round in 0..MOST_WALKS {
        if round >= WALKS && stalled >= 2 {
            break;
        }
        tally.total = None;
        let (known, mut rows) = (tally.seen.len(), 0);
        let mut walked = RoaringTreemap::new();
        let mut whole = true;
        let mut next = 1_u32;
        let mut last = 1;
        while next <= last {
            let upto = last.min(next.saturating_add(jobs - 1));
            let mut ended = false;
            for page in try_join_all((next..=upto).map(&fetch)).await? {
                tally.total = tally.total.max(page.total);
                let empty = page.rows.is_empty();
                // Pages were promised behind this one.
                whole &= !empty || next == 1 || page.last_page.is_none();
                if next == 1 {
                    last = page.last_page.unwrap_or_else(|| pages_of(page.total, page.rows.len()));
                }
                rows += page.rows.len() as u64;
                let before = walked.len();
                let mut fresh = Vec::new();
                for row in page.rows {
                    let id = u64::try_from(id_of(&row)).unwrap_or_default();
                    walked.insert(id);
                    if tally.seen.insert(id) {
                        fresh.push(row);
                    }
                }
                // A page that only repeats ends a list that nothing else would end, and proves nothing.
                ended |= empty || (last == ENDLESS && walked.len() == before);
                if !fresh.is_empty() {
                    take(fresh).await?;
                }
            }
            if ended {
                break;
            }
            next = upto + 1;
        }
        // Of a list without a total only what a walk adds tells how far it was from its end.
        let added = tally.seen.len() - known;
        let short = tally.total.map_or(added, |total| total.saturating_sub(tally.seen.len()));
        stalled = if short < least { 0 } else { stalled + 1 };
        least = least.min(short);
        tally.quiet = round > 0 && whole && tally.seen.len() == known && walked.len() == known && rows == known;
        if tally.is_proven() {
            break;
        }
    }
    Ok(tally)
}

fn pages_of(total: Option<u64>, size: usize) -> u32 {
    match total {
        _ if size == 0 => 1,
        Some(total) => u32::try_from(total.div_ceil(size as u64)).unwrap_or(ENDLESS),
        None => ENDLESS,
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Reads FIRST LINE's lists into the index and says what may be concluded from them.
    pub async fn survey(&self) -> Result<Survey, RunError> {
        self.progress.event(ProgressEvent::Phase(Phase::Survey));
        self.store.index_clear().await?;
        let mut survey = Survey::default();
        let mut unread = Vec::new();
        let mut embedded = (true, true);
        let tally = walk(
            self.settings.jobs,
            |page| self.target.contacts(None, page),
            |row: &TargetContact| row.id.0,
            async |rows| {
                self.progress.event(ProgressEvent::PageRead);
                let rows = self.with_stamps(rows, &mut unread).await?;
                embedded.0 &= rows.iter().all(|row| row.emails.is_some());
                embedded.1 &= rows.iter().all(|row| row.phones.is_some());
                self.index_contacts(&rows, &mut survey).await
            },
        )
        .await?;
        survey.total = tally.total.unwrap_or_default();
        let (late, unread) = self.read_again(unread).await?;
        self.index_contacts(&late, &mut survey).await?;
        self.notice_unread(&unread);
        survey.contacts_proven = tally.is_proven() && unread.is_empty();
        survey.emails_proven = survey.contacts_proven && embedded.0;
        survey.phones_proven = survey.contacts_proven && embedded.1;
        if !survey.emails_proven && self.settings.match_keys.contains(&MatchKey::Email) {
            survey.emails_proven = self.survey_emails().await?;
        }
        if !survey.phones_proven && self.settings.match_keys.contains(&MatchKey::Phone) {
            survey.phones_proven = self.survey_phones().await?;
        }
        self.store.index_finish(tally.seen.len(), tally.total).await?;
        Ok(survey)
    }

    /// Reads by id the rows that do not say their stamp. A row that does not say it even then stays as it is, and its
    /// id is added to `unread`.
    pub(super) async fn with_stamps(
        &self,
        rows: Vec<TargetContact>,
        unread: &mut Vec<FirstLineId>,
    ) -> Result<Vec<TargetContact>, RunError> {
        let complete: Vec<Option<TargetContact>> = stream::iter(rows)
            .map(|row| async move {
                if self.scheme.read(&row) != StampReading::NotSaid {
                    return Ok(Some(row));
                }
                match self.target.contact(row.id).await {
                    // A record that FIRST LINE cannot show must not end the run for all the others.
                    Err(PortError::Refused { .. }) => Ok(Some(row)),
                    answer => answer,
                }
            })
            .buffered(self.settings.jobs.max(1))
            .try_collect()
            .await?;
        let rows: Vec<TargetContact> = complete.into_iter().flatten().collect();
        unread.extend(rows.iter().filter(|row| self.scheme.read(row) == StampReading::NotSaid).map(|row| row.id));
        Ok(rows)
    }

    /// Reads once more, at the end of the list, what did not say its stamp: what an answer that leaves out empty keys
    /// means may have become clear since. Gives the records that say it now, and the ids that still matter: a record
    /// that is linked in this state needs no stamp.
    pub(super) async fn read_again(
        &self,
        unread: Vec<FirstLineId>,
    ) -> Result<(Vec<TargetContact>, Vec<FirstLineId>), RunError> {
        let linked = self.store.source_of(&unread).await?;
        let mut left: Vec<FirstLineId> = unread.into_iter().filter(|id| !linked.contains_key(id)).collect();
        let (mut said, mut silent) = (Vec::new(), Vec::new());
        while !left.is_empty() {
            let some = left.split_off(left.len().saturating_sub(AGAIN));
            let answers: Vec<(FirstLineId, Option<TargetContact>)> = stream::iter(some)
                .map(|id| async move {
                    match self.target.contact(id).await {
                        Err(PortError::Refused { .. }) => Ok((id, None)),
                        answer => answer.map(|record| (id, record)),
                    }
                })
                .buffered(self.settings.jobs.max(1))
                .try_collect()
                .await?;
            let before = said.len();
            for (id, record) in answers {
                match record.filter(|record| self.scheme.read(record) != StampReading::NotSaid) {
                    Some(record) => said.push(record),
                    None => silent.push(id),
                }
            }
            if said.len() == before {
                silent.append(&mut left);
            }
        }
        Ok((said, silent))
    }

    /// Names the records whose stamp nobody can read.
    pub(super) fn notice_unread(&self, unread: &[FirstLineId]) {
        if unread.is_empty() {
            return;
        }
        let ids: Vec<String> = unread.iter().take(NAMED).map(ToString::to_string).collect();
        self.notice(format!(
            "{} customers in FIRST LINE do not show whether they carry our stamp (ids {}{})",
            unread.len(),
            ids.join(", "),
            if unread.len() > ids.len() { ", ..." } else { "" },
        ));
    }

    async fn index_contacts(&self, rows: &[TargetContact], survey: &mut Survey) -> Result<(), RunError> {
        let ids: Vec<FirstLineId> = rows.iter().map(|row| row.id).collect();
        let linked = self.store.source_of(&ids).await?;
        let mut ops = Vec::new();
        for row in rows {
            self.saw(row.id);
            match self.scheme.read(row) {
                StampReading::Of(id) => {
                    survey.stamped_unlinked += u64::from(!linked.contains_key(&row.id));
                    ops.push(WriteOp::IndexAdd { kind: IndexKind::Stamp, key: self.stamp_digest(id), target: row.id });
                }
                StampReading::Foreign => {
                    survey.foreign_stamps += 1;
                    if survey.foreign_ids.len() < NAMED {
                        survey.foreign_ids.push(row.id);
                    }
                }
                StampReading::None | StampReading::NotSaid => {}
            }
            for email in row.emails.iter().flatten() {
                ops.push(self.index_email(&email.address, row.id));
            }
            for number in row.phones.iter().flatten() {
                ops.push(self.index_phone(&number.number, row.id));
            }
            if let Some(profile) = row.profile_id {
                let key = self.profile_digest(profile);
                ops.push(WriteOp::IndexAdd { kind: IndexKind::Profile, key, target: row.id });
            }
        }
        Ok(self.store.write(ops).await?)
    }

    async fn survey_emails(&self) -> Result<bool, RunError> {
        let tally = walk(
            self.settings.jobs,
            |page| self.target.emails(&ChildFilter::All, page),
            |row: &TargetEmail| row.id.0,
            async |rows| {
                self.progress.event(ProgressEvent::PageRead);
                let owner = |row: &TargetEmail| row.contact.unwrap_or(OWNERLESS);
                let ops = rows.iter().map(|row| self.index_email(&row.address, owner(row))).collect();
                Ok(self.store.write(ops).await?)
            },
        )
        .await?;
        Ok(tally.is_proven())
    }

    async fn survey_phones(&self) -> Result<bool, RunError> {
        let tally = walk(
            self.settings.jobs,
            |page| self.target.phones(&ChildFilter::All, page),
            |row: &TargetPhone| row.id.0,
            async |rows| {
                self.progress.event(ProgressEvent::PageRead);
                let profiles: Vec<(IndexKind, Digest)> = rows
                    .iter()
                    .filter(|row| row.contact.is_none())
                    .filter_map(|row| row.profile_id)
                    .map(|profile| (IndexKind::Profile, self.profile_digest(profile)))
                    .collect();
                let owners = self.store.index_lookup(&profiles).await?;
                let mut ops = Vec::new();
                for row in &rows {
                    let by_profile = || {
                        let key = self.profile_digest(row.profile_id?);
                        owners.get(&(IndexKind::Profile, key))?.first().copied()
                    };
                    let owner = row.contact.or_else(by_profile).unwrap_or(OWNERLESS);
                    ops.push(self.index_phone(&row.number, owner));
                }
                Ok(self.store.write(ops).await?)
            },
        )
        .await?;
        Ok(tally.is_proven())
    }

    /// The index row of an e-mail.
    pub fn index_email(&self, address: &str, target: FirstLineId) -> WriteOp {
        WriteOp::IndexAdd { kind: IndexKind::Email, key: self.email_digest(&canonical_email(address)), target }
    }

    /// The index row of a phone.
    pub fn index_phone(&self, number: &str, target: FirstLineId) -> WriteOp {
        let canonical = phone::canonical(number, self.settings.phone_country);
        WriteOp::IndexAdd { kind: IndexKind::Phone, key: self.phone_digest(&canonical), target }
    }

    /// Digest of a canonical e-mail address.
    pub fn email_digest(&self, canonical: &str) -> Digest {
        self.store.hash_key().digest("email", canonical)
    }

    /// Digest of a canonical phone number.
    pub fn phone_digest(&self, canonical: &str) -> Digest {
        self.store.hash_key().digest("phone", canonical)
    }

    fn profile_digest(&self, profile: i64) -> Digest {
        self.store.hash_key().digest("profile", profile.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::walk;
    use crate::sync::ports::TargetPage;

    /// Whether a list is believed, and how many pages were asked for.
    async fn walked(last_page: Option<u32>, page: impl Fn(u32, u32) -> Vec<i64>) -> (bool, u32) {
        let asked = Cell::new(0);
        let fetch = |number| {
            asked.set(asked.get() + 1);
            let rows = page(number, asked.get());
            async move { Ok(TargetPage { rows, total: None, last_page }) }
        };
        let tally = walk(2, fetch, |row: &i64| *row, async |_| Ok(())).await.unwrap();
        (tally.is_proven(), asked.get())
    }

    #[tokio::test]
    async fn without_a_total_a_second_whole_walk_speaks() {
        let whole =
            |number, _| if number <= 2 { vec![i64::from(number) * 2, i64::from(number) * 2 + 1] } else { vec![] };
        assert_eq!(walked(Some(2), whole).await, (true, 4));
        assert!(walked(None, whole).await.0);
        assert!(walked(None, |_, _| vec![]).await.0, "an empty list, seen twice");
        assert!(!walked(Some(4), whole).await.0, "more pages were promised");
    }

    #[tokio::test]
    async fn a_list_without_an_order_is_read_for_as_long_as_each_walk_finds_more() {
        let asked = Cell::new(0_i64);
        let fetch = |number: u32| {
            asked.set(asked.get() + 1);
            let mut rows: Vec<i64> = (1..=200).collect();
            let at = asked.get();
            rows.sort_by_key(|id| (id * id * 7_919 + at * at * 104_729 + id * at * 31_337) * (id * at + 17) % 100_003);
            let from = (number as usize - 1) * 10;
            let rows = rows[from..from + 10].to_vec();
            async move { Ok(TargetPage { rows, total: Some(200), last_page: Some(20) }) }
        };
        let tally = walk(2, fetch, |row: &i64| *row, async |_| Ok(())).await.unwrap();
        assert!(tally.is_proven() && asked.get() > 80, "{} after {} pages", tally.distinct(), asked.get());
        // Where nothing more comes, four walks are enough to say so.
        let asked = Cell::new(0);
        let fetch = |_| {
            asked.set(asked.get() + 1);
            async move { Ok(TargetPage { rows: vec![1, 2], total: Some(3), last_page: Some(1) }) }
        };
        let tally = walk(2, fetch, |row: &i64| *row, async |_| Ok(())).await.unwrap();
        assert!(!tally.is_proven() && asked.get() == 4, "{}", asked.get());
    }

    /// Walks over a list, 20 pages of ten at first, to which somebody comes in with every page that is read. `order` says where
    /// each id stands on the list as it is at that moment.
    async fn walks_of_a_busy_list(order: impl Fn(i64, i64) -> i64) -> (bool, i64) {
        let (asked, walks) = (Cell::new(0_i64), Cell::new(0_i64));
        let fetch = |number: u32| {
            asked.set(asked.get() + 1);
            walks.set(walks.get() + i64::from(number == 1));
            let mut rows: Vec<i64> = (1..=200 + asked.get()).collect();
            rows.sort_by_key(|id| order(*id, asked.get()));
            let (total, pages) = (rows.len(), rows.len().div_ceil(10));
            let rows = rows.into_iter().skip((number as usize - 1) * 10).take(10).collect();
            let total = Some(total as u64);
            async move { Ok(TargetPage { rows, total, last_page: u32::try_from(pages).ok() }) }
        };
        let tally = walk(2, fetch, |row: &i64| *row, async |_| Ok(())).await.unwrap();
        (tally.is_proven(), walks.get())
    }

    #[tokio::test]
    async fn customers_who_come_in_all_the_time_are_no_reason_to_walk_a_list_again_and_again() {
        assert_eq!(walks_of_a_busy_list(|id, _| -id).await, (false, 4), "newest first");
        let scattered =
            |id: i64, at: i64| (id * id * 7_919 + at * at * 104_729 + id * at * 31_337) * (id * at + 17) % 100_003;
        let (proven, walks) = walks_of_a_busy_list(scattered).await;
        assert!(!proven && walks <= 8, "never in order: {walks}");
    }

    #[tokio::test]
    async fn without_a_total_a_list_that_repeats_or_grows_is_not_believed() {
        assert!(!walked(Some(2), |number, _| vec![1, 1 + i64::from(number)]).await.0);
        assert!(!walked(Some(2), |_, asked| vec![i64::from(asked)]).await.0);
        let (proven, asked) = walked(None, |_, _| vec![1, 2]).await;
        assert!(!proven && asked < 20, "a list that ignores the page must end: {asked}");
    }
}
