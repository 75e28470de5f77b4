//! One walk over all pages in one order: what to ask for next, and which answers to believe.
//!
//! A short or empty page, a repeat of the page before, and a count that falls by more than a page are read
//! again before they are believed; a server that goes on repeating is stuck. A falling count means that rows shifted towards pages already read:
//! the pass steps back. It ends on a believed empty page and on nothing else. It keeps no set of ids.

use super::ScanError;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::{Direction, Order, PassReport, ScanPosition, SortKey};
use crate::sync::ports::{MalformedRow, SourcePage, SourceRow};

/// Steps back without reaching a new page after which a falling count is taken for noise (two servers that disagree).
/// The accounts of the sweep do not rest on steps back; they only save passes.
const MOST_STEPS_BACK: u32 = 8;

/// Pages in a row with the rows of the page before them, each of them read twice, after which the server is stuck. One or two are contacts that
/// were inserted meanwhile, a page of them: the page behind shows who was pushed on.
const MOST_REPEATS: u32 = 3;

/// Pages out of order that are put up with, and the share of all above which they are not.
const TOLERATED_BROKEN_PAGES: u32 = 1;

/// A page that is believed.
#[derive(Debug)]
pub(super) struct Believed {
    /// Its number.
    pub(super) page: u32,
    /// Its rows, those of an answer that was doubted included.
    pub(super) rows: Vec<SourceRow>,
    /// Its rows that are no contacts.
    pub(super) malformed: Vec<MalformedRow>,
    /// Its count.
    pub(super) count: Option<u64>,
    /// Whether the pass had not been there before.
    pub(super) first_visit: bool,
    /// Whether its rows, with those of the pages before it, exceed its own count.
    pub(super) miscounted: bool,
}

/// What became of an answer.
#[derive(Debug)]
pub(super) enum Taken {
    /// Doubtful: the same page is wanted again.
    Again,
    /// A page.
    Page(Believed),
    /// The pass is over.
    End,
}

/// A pass under way.
#[derive(Debug)]
pub(super) struct Pass {
    position: ScanPosition,
    order: Order,
    full: bool,
    page_size: usize,
    /// Furthest page believed.
    furthest: u32,
    /// Rows of the pages up to there, as they were when first visited.
    rows: u64,
    doubted: Option<SourcePage>,
    tail: Option<Tail>,
    count: Option<u64>,
    fruitless_steps: u32,
    /// Pages in a row that repeated the one before them.
    repeats: u32,
    checked: u32,
    broken: u32,
    pages: u64,
    steps_back: u64,
}

/// What the next page is compared with.
#[derive(Debug)]
struct Tail {
    page: u32,
    ids: Vec<LiveDeskId>,
    last_time: Option<i64>,
}

impl Pass {
    /// A pass that begins at `position`. `page_size` is that of the pass before, until page 1 has been read.
    pub(super) fn start(position: ScanPosition, page_size: usize) -> Self {
        let round = u32::try_from(Order::ROUND.len()).unwrap_or(1);
        let index = position.pass.saturating_sub(1) % round;
        Self {
            position,
            order: Order::ROUND[usize::try_from(index).unwrap_or(0)],
            full: position.page == 1,
            page_size,
            furthest: 0,
            rows: 0,
            doubted: None,
            tail: None,
            count: None,
            fruitless_steps: 0,
            repeats: 0,
            checked: 0,
            broken: 0,
            pages: 0,
            steps_back: 0,
        }
    }

    /// Whether it is walked from its first page.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn number(&self) -> u32 {
        self.position.pass
    }

    pub(super) fn order(&self) -> Order {
        self.order
    }

    pub(super) fn next_page(&self) -> u32 {
        self.position.page
    }

    pub(super) fn page_size(&self) -> usize {
        self.page_size
    }

    /// Pages that so many rows fill.
    pub(super) fn pages_for(&self, rows: u64) -> u32 {
        u32::try_from(rows.div_ceil(self.page_size.max(1) as u64)).unwrap_or(u32::MAX)
    }

    /// The last page worth asking for ahead: none before the first one is in (its count must be older than
    /// any other row of the pass), later the empty one behind the last.
    pub(super) fn prefetch_until(&self) -> u32 {
        match self.count {
            _ if self.furthest == 0 => 0,
            Some(count) => self.pages_for(count).saturating_add(1),
            None => u32::MAX,
        }
    }

    pub(super) fn report(&self, added: u64) -> PassReport {
        PassReport { order: self.order, pages: self.pages, added, steps_back: self.steps_back }
    }

    /// Takes in the answer for `next_page`.
    pub(super) fn take(&mut self, answer: SourcePage) -> Result<Taken, ScanError> {
        self.pages += 1;
        let (answer, other) = match self.doubted.take() {
            None if self.is_doubtful(&answer) => {
                self.doubted = Some(answer);
                return Ok(Taken::Again);
            }
            None => (answer, None),
            Some(first) if first.len() > answer.len() && !self.repeats_the_page_before(&first) => (first, Some(answer)),
            Some(first) => (answer, Some(first)),
        };
        if !answer.is_empty() && self.repeats_the_page_before(&answer) {
            self.repeats += 1;
            if self.repeats == MOST_REPEATS {
                let page = self.position.page.saturating_sub(MOST_REPEATS - 1);
                return Err(ScanError::Stuck { order: self.order, page });
            }
        } else {
            self.repeats = 0;
        }
        self.check_order(&answer)?;
        Ok(self.believe(answer, other))
    }

    fn is_doubtful(&self, answer: &SourcePage) -> bool {
        let short = answer.len() < self.page_size || answer.is_empty();
        // All there is on one page, as the count says: not short.
        let whole = self.position.page == 1 && !answer.is_empty() && answer.count == Some(answer.len() as u64);
        (short && !whole)
            || self.fallen_by(answer.count) > self.page_size as u64
            || (!answer.is_empty() && self.repeats_the_page_before(answer))
    }

    fn fallen_by(&self, count: Option<u64>) -> u64 {
        self.count.zip(count).map_or(0, |(before, now)| before.saturating_sub(now))
    }

    fn repeats_the_page_before(&self, answer: &SourcePage) -> bool {
        self.tail_before().is_some_and(|tail| !tail.ids.is_empty() && tail.ids == ids(answer))
    }

    /// The page before this one, when it was the last one read.
    fn tail_before(&self) -> Option<&Tail> {
        self.tail.as_ref().filter(|tail| tail.page.checked_add(1) == Some(self.position.page))
    }

    fn believe(&mut self, answer: SourcePage, other: Option<SourcePage>) -> Taken {
        let page = self.position.page;
        let first_visit = page > self.furthest;
        let count = answer.count.or(other.as_ref().and_then(|other| other.count));
        let fallen = self.fallen_by(count);
        let other_count = other.as_ref().and_then(|other| other.count);
        self.page_size = if page == 1 && first_visit { answer.len() } else { self.page_size.max(answer.len()) };
        self.count = count.or(self.count);
        self.rows += if first_visit { answer.len() as u64 } else { 0 };
        // Of two answers the larger count: a delete may fall between the rows and the count of one.
        let miscounted =
            first_visit && !answer.is_empty() && count.max(other_count).is_some_and(|count| self.rows > count);
        if first_visit {
            self.furthest = page;
            self.fruitless_steps = 0;
        }
        if fallen > 0 && page > 1 && self.fruitless_steps < MOST_STEPS_BACK {
            self.steps_back += 1;
            self.fruitless_steps += 1;
            self.position.page = page.saturating_sub(self.pages_for(fallen)).max(1);
        } else if answer.is_empty() {
            return Taken::End;
        } else {
            self.position.page = page.saturating_add(1);
        }
        self.tail = Some(Tail { page, ids: ids(&answer), last_time: self.times(&answer).last().copied() });
        let mut rows = answer.rows;
        // A row of the answer that was not believed is a contact all the same.
        for row in other.into_iter().flat_map(|other| other.rows) {
            if !rows.iter().any(|known| known.id == row.id) {
                rows.push(row);
            }
        }
        Taken::Page(Believed { page, rows, malformed: answer.malformed, count, first_visit, miscounted })
    }

    /// Only time keys can be checked: the collation of texts is the database's own. One answer is one query, so rows
    /// out of order within a page mean a server that does not sort; across pages a row may have moved meanwhile.
    fn check_order(&mut self, answer: &SourcePage) -> Result<(), ScanError> {
        let times = self.times(answer);
        if times.len() < 2 {
            return Ok(());
        }
        self.checked += 1;
        let falls_behind = self.tail_before().and_then(|tail| tail.last_time).is_some_and(|last| {
            // The whole page lies before the page before it: no single row moved.
            times.iter().all(|time| self.is_out_of_order(last, *time))
        });
        if falls_behind || times.windows(2).any(|pair| self.is_out_of_order(pair[0], pair[1])) {
            self.broken += 1;
        }
        if self.broken > TOLERATED_BROKEN_PAGES && self.broken.saturating_mul(2) > self.checked {
            return Err(ScanError::Unordered { order: self.order, broken: self.broken, pages: self.checked });
        }
        Ok(())
    }

    fn is_out_of_order(&self, first: i64, second: i64) -> bool {
        match self.order.direction {
            Direction::Ascending => first > second,
            Direction::Descending => first < second,
        }
    }

    /// The page's values of a time key; rows without one sort last and say nothing. Empty for a text key.
    fn times(&self, page: &SourcePage) -> Vec<i64> {
        let rows = page.rows.iter();
        match self.order.key {
            SortKey::CreatedAt => rows.filter_map(|row| row.created_at).collect(),
            SortKey::LastActivityAt => rows.filter_map(|row| row.last_activity_at).collect(),
            SortKey::Email | SortKey::PhoneNumber | SortKey::Name => Vec::new(),
        }
    }
}

/// The ids of a page, in the order received; rows without one are left out.
fn ids(page: &SourcePage) -> Vec<LiveDeskId> {
    let malformed = page.malformed.iter().filter_map(|row| row.id);
    page.rows.iter().map(|row| row.id).chain(malformed).collect()
}
