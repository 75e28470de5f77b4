//! The accounts of a sweep: which ids were seen, in which pass last, and what that proves.
//!
//! The proof. At the start of a pass the platform names its count `c`; ids are given out in increasing order and
//! never again, so an id that is not above the largest one seen *before* belongs to a contact created before. Let `S`
//! be such ids seen from that start on. They were all in the list at that start, so when `S` holds `c` ids, it is
//! that list, whole: nothing that existed then was missed. Deletes afterwards do no harm, inserts do
//! not enter `S`, and a delete hidden by an insert hides nothing. Every pass walked from its first page makes such a
//! *baseline*. One thing the list cannot tell: a contact that it hid (platform notes LiveDesk 3.5) and shows since
//! looks like one that was there; the demand that the last pass adds nothing stands against that. Once a set `S` has
//! grown beyond its `c` such contacts are about, and only a baseline into whose set nobody new has come counts.
//! A count that an answer's own rows exceed is none: one too low could be met by what was lost.
//!
//! Pure: no requests, no waiting.

use roaring::RoaringTreemap;

use super::Goal;
use super::head::Head;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::{Order, Verdict};

/// Creation times this much older than the newest one at the start are surely not those of later inserts, whatever
/// the clocks of the platform's servers. Seconds.
const CLOCK_MARGIN_S: i64 = 300;

/// Whole rounds without an addition after which a sweep gives up (design, section 4).
const BARREN_ROUNDS: usize = 2;

/// What is known of the list as it was at the start of a pass.
#[derive(Debug)]
struct Baseline {
    /// The pass, as an index into `last_seen`.
    since: usize,
    /// The count.
    count: u64,
    /// Ids up to this one existed.
    max_id: Option<u64>,
    /// Ids up to that one which the sweep saw first since: they were there, or were hidden then.
    first_seen: u64,
}

/// A pass that ended.
#[derive(Debug)]
struct Walked {
    full: bool,
    /// Contacts it added that may have existed when the sweep began.
    added_old: u64,
    /// Whether it saw every id of the sweep, and none of them twice.
    clean: bool,
    /// Whether its distinct ids equal the count at its start and at its end.
    counted: bool,
}

/// The pass under way.
#[derive(Debug, Default)]
struct Open {
    full: bool,
    /// Largest id seen before it.
    max_id_before: Option<u64>,
    count_at_start: Option<u64>,
    added: u64,
    added_old: u64,
    repeated: u64,
    nameless: u64,
}

/// The accounts.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Every seen id, in the set of the pass that saw it last. The first set is what an interrupted run had seen.
    last_seen: Vec<RoaringTreemap>,
    /// Ids above `begin_max_id` whose creation time says that they existed when the sweep began.
    old_by_time: RoaringTreemap,
    max_id: Option<u64>,
    begin_max_id: Option<u64>,
    begin_newest: Option<i64>,
    /// Count of the answer before the last one, and of the last one.
    counts: [Option<u64>; 2],
    /// Whether nothing has been seen to change since the sweep began.
    quiet: bool,
    /// Whether an answer held more rows, with the pages before it, than its own count.
    miscounted: bool,
    baselines: Vec<Baseline>,
    open: Open,
    walked: Vec<Walked>,
    nameless: u64,
}

impl Ledger {
    pub(super) fn new(head: &Head, seen_before: RoaringTreemap) -> Self {
        let max_id = head.max_id.max(seen_before.max());
        Self {
            last_seen: vec![seen_before],
            old_by_time: RoaringTreemap::new(),
            max_id,
            begin_max_id: max_id,
            begin_newest: head.newest,
            counts: [None, head.count],
            quiet: true,
            miscounted: false,
            baselines: Vec::new(),
            open: Open::default(),
            walked: Vec::new(),
            nameless: 0,
        }
    }

    /// A pass begins; `full` when at its first page.
    pub(super) fn begin_pass(&mut self, full: bool) {
        self.last_seen.push(RoaringTreemap::new());
        self.open = Open { full, max_id_before: self.max_id, ..Open::default() };
    }

    /// The count of an answer, re-reads included.
    pub(super) fn note_count(&mut self, count: Option<u64>) {
        self.quiet &= count == self.counts[1];
        self.counts = [self.counts[1], count];
    }

    /// The first page of a full pass is about to be recorded.
    ///
    /// Rows and count of one answer come from two queries, with room for a delete between them; the larger of
    /// its count and the one of the answer before can only make the proof harder.
    pub(super) fn open_baseline(&mut self) {
        self.open.count_at_start = self.counts[1];
        if let Some(count) = self.counts[1].map(|count| count.max(self.counts[0].unwrap_or(0))) {
            let since = self.last_seen.len() - 1;
            self.baselines.push(Baseline { since, count, max_id: self.open.max_id_before, first_seen: 0 });
        }
    }

    /// An answer's rows exceed its own count.
    pub(super) fn note_miscount(&mut self) {
        self.miscounted = true;
    }

    /// Takes in a row; whether the sweep had not seen it. A page that is read again on purpose is no first visit, and
    /// its repeats say nothing.
    pub(super) fn see(&mut self, id: LiveDeskId, created_at: Option<i64>, first_visit: bool) -> bool {
        let id = id.0.cast_unsigned();
        let (current, earlier) = self.last_seen.split_last_mut().expect("begin_pass comes before any row");
        if !current.insert(id) {
            self.open.repeated += u64::from(first_visit);
            return false;
        }
        let since_begin = self.begin_newest.is_some() && created_at > self.begin_newest;
        self.quiet &= !since_begin;
        self.max_id = self.max_id.max(Some(id));
        if earlier.iter_mut().rev().any(|pass| pass.remove(id)) {
            return false;
        }
        let above = Some(id) > self.begin_max_id;
        let old = created_at.zip(self.begin_newest).is_some_and(|(created, newest)| created <= newest - CLOCK_MARGIN_S);
        if above && old {
            self.old_by_time.insert(id);
        }
        for baseline in self.baselines.iter_mut().filter(|baseline| Some(id) <= baseline.max_id) {
            baseline.first_seen += 1;
        }
        self.open.added += 1;
        self.open.added_old += u64::from(!(above && since_begin));
        true
    }

    /// Whether any pass has seen it.
    pub(super) fn has_seen(&self, id: LiveDeskId) -> bool {
        self.last_seen.iter().any(|pass| pass.contains(id.0.cast_unsigned()))
    }

    /// Takes in a row without an id; whether it is one more than any earlier pass had, so that each is reported once.
    pub(super) fn see_nameless(&mut self) -> bool {
        self.open.nameless += 1;
        let more = self.open.nameless > self.nameless;
        self.nameless = self.nameless.max(self.open.nameless);
        more
    }

    /// The pass has ended. Answers the contacts that it added.
    pub(super) fn end_pass(&mut self) -> u64 {
        let own = self.distinct_in_pass();
        let open = std::mem::take(&mut self.open);
        self.walked.push(Walked {
            full: open.full,
            added_old: open.added_old,
            clean: own == self.distinct() && open.repeated == 0,
            counted: open.nameless == 0 && Some(own) == open.count_at_start && Some(own) == self.counts[1],
        });
        open.added
    }

    /// The verdict, when the walked passes are enough for one. `exhausted` when no further pass is allowed.
    pub(super) fn judge(&self, goal: Goal, exhausted: bool) -> Option<Verdict> {
        let last = self.walked.last()?;
        if self.is_proven() {
            return Some(Verdict::Proven);
        }
        if goal == Goal::Counted && last.full && last.counted {
            return Some(Verdict::Counted);
        }
        let barren = self.walked.iter().rev().take_while(|pass| pass.full && pass.added_old == 0).count();
        (exhausted || barren >= BARREN_ROUNDS * Order::ROUND.len()).then(|| Verdict::Short { missing: self.missing() })
    }

    /// Distinct ids of the sweep.
    pub(super) fn distinct(&self) -> u64 {
        self.last_seen.iter().map(RoaringTreemap::len).sum()
    }

    /// Distinct ids of the pass under way.
    pub(super) fn distinct_in_pass(&self) -> u64 {
        self.last_seen.last().map_or(0, RoaringTreemap::len)
    }

    /// The last count that came.
    pub(super) fn last_count(&self) -> Option<u64> {
        self.counts[1].or(self.counts[0])
    }

    /// Rows without an id.
    pub(super) fn nameless(&self) -> u64 {
        self.nameless
    }

    fn is_proven(&self) -> bool {
        let [.., before, last] = self.walked.as_slice() else { return false };
        if !before.full || !last.full || last.added_old > 0 {
            return false;
        }
        if self.count_is_usable() {
            let hidden_before = self.has_shown_the_hidden();
            self.baselines.iter().any(|baseline| {
                self.seen_of(baseline) == baseline.count && (baseline.first_seen == 0 || !hidden_before)
            })
        } else {
            // Without a count only passes speak: two in a row, in different orders, each of which saw everything
            // that was ever seen and nothing twice. (On quiet data a lost row is always paid for by a repeat.)
            before.clean && last.clean && self.nameless == 0
        }
    }

    /// Whether there is a count, and none that is below the rows it should count.
    fn count_is_usable(&self) -> bool {
        !self.baselines.is_empty() && !self.miscounted
    }

    /// Whether contacts have come into the list that are older than the count they should be in.
    fn has_shown_the_hidden(&self) -> bool {
        self.baselines.iter().any(|baseline| self.seen_of(baseline) > baseline.count)
    }

    /// Contacts of the list as it was at a baseline that were seen since.
    fn seen_of(&self, baseline: &Baseline) -> u64 {
        let max_id = baseline.max_id;
        let by_id = max_id.map_or(0, |max| self.last_seen[baseline.since..].iter().map(|pass| pass.rank(max)).sum());
        // Creation times speak only for the sweep's own begin, and only while nothing moves.
        let by_time = if self.quiet && baseline.since == 1 { self.old_by_time.len() } else { 0 };
        by_id + by_time
    }

    fn missing(&self) -> u64 {
        let unseen = if self.count_is_usable() {
            let hidden_before = self.has_shown_the_hidden();
            let certain = |baseline: &Baseline| {
                self.seen_of(baseline).saturating_sub(if hidden_before { baseline.first_seen } else { 0 })
            };
            self.baselines.iter().map(|baseline| baseline.count.saturating_sub(certain(baseline))).min()
        } else {
            Some(self.distinct().saturating_sub(self.distinct_in_pass()))
        };
        unseen.unwrap_or(0).max(1)
    }
}
