//! The fast lane: contacts that wrote lately, and contacts that are new. Pure: the caller reads the pages.
//!
//! Two lists, newest first, each down to what the last whole cycle carried, less an overlap: by activity, and by creation
//! (who never wrote has no activity time). That a contact is known ends no walk: this cycle, or one that died, may have
//! carried it by the other list, or without what stands below it. It is an accelerator: edits, merges and deletions are
//! seen by a sweep only (notes LiveDesk 5). Rows that lie in the future, by the server's own clock, are handed out; they
//! neither raise a mark nor keep a walk from ending.

use std::collections::HashSet;
use std::fmt::Write as _;

use roaring::RoaringTreemap;

use crate::domain::contact::Contact;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::{Direction, DirectionStyle, Order, SortKey};
use crate::sync::ports::{MalformedRow, PageRequest, SourcePage, SourceRow};
use crate::sync::scan::ScanError;

/// Steps back over a falling count in one cycle.
const MOST_STEPS_BACK: u32 = 8;
/// Pages in a row with the rows of the page before them, each read twice, after which the server is stuck (one or two: contacts that came
/// meanwhile pushed a page on).
const MOST_REPEATS: u32 = 3;
/// Pages beyond twice what the list can fill, after which it is endless.
const SPARE_PAGES: u64 = 100;

/// How far down the lists a cycle looks: epoch seconds by LiveDesk's clock, the overlap taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floors {
    /// Of activity.
    pub activity: i64,
    /// Of creation.
    pub created: i64,
    /// Whether an earlier cycle saw a time of activity: whoever has one stands before those who have none.
    pub dated: bool,
}

/// What the lane wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum Want {
    /// This page.
    Page(PageRequest),
    /// A look at what the first pages of both lists showed: where it is what the last cycle saw, it may rest.
    Heads(String),
    /// Nothing more.
    End(Reached),
}

/// What a page brings.
#[derive(Debug, Default)]
pub struct LanePage {
    /// Contacts that this cycle had not seen: nobody is handed out twice, however often rows move.
    pub contacts: Vec<Contact>,
    /// Rows that are no contacts, with an id. Those without one are for a sweep to tell of.
    pub malformed: Vec<MalformedRow>,
}

/// What a whole cycle learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Newest activity that is not in the future.
    pub activity: Option<i64>,
    /// Newest creation that is not in the future.
    pub created: Option<i64>,
    /// Pages read.
    pub pages: u64,
    /// Whether both lists came in the order that was asked for.
    pub sorted: bool,
}

/// One of the two lists.
#[derive(Debug)]
struct Stretch {
    key: SortKey,
    floor: i64,
    next: u32,
    /// Newest time seen that is not in the future.
    newest: Option<i64>,
    /// Whether its head has been read: its first pages, down to a row that is not in the future.
    has_head: bool,
    done: bool,
    count: Option<u64>,
    last_ids: Vec<LiveDeskId>,
    /// Whether the last answer was doubted: empty, or the page before it once more.
    doubted: bool,
    /// Pages in a row that repeated the one before them.
    repeats: u32,
}

impl Stretch {
    fn new(key: SortKey) -> Self {
        Self {
            key,
            floor: i64::MIN,
            next: 1,
            newest: None,
            has_head: false,
            done: false,
            count: None,
            last_ids: Vec::new(),
            doubted: false,
            repeats: 0,
        }
    }

    fn time(&self, row: &SourceRow) -> Option<i64> {
        match self.key {
            SortKey::LastActivityAt => row.last_activity_at,
            _ => row.created_at,
        }
    }

    fn end(&mut self) {
        (self.done, self.has_head) = (true, true);
    }
}

/// A cycle under way.
#[derive(Debug)]
pub struct Lane {
    style: DirectionStyle,
    /// By the server.
    now: Option<i64>,
    activity: Stretch,
    created: Stretch,
    heads: String,
    seen: RoaringTreemap,
    steps_back: u32,
    pages: u64,
    sorted: bool,
    /// See [`Floors::dated`].
    dated: bool,
}

impl Lane {
    /// A cycle whose descending order is spelled like this.
    pub fn new(style: DirectionStyle) -> Self {
        Self {
            style,
            now: None,
            activity: Stretch::new(SortKey::LastActivityAt),
            created: Stretch::new(SortKey::CreatedAt),
            heads: String::new(),
            seen: RoaringTreemap::new(),
            steps_back: 0,
            pages: 0,
            sorted: true,
            dated: false,
        }
    }

    /// Whether the server's clock is still to be set: before the first page is taken.
    pub fn is_timeless(&self) -> bool {
        self.now.is_none()
    }

    /// Sets the server's clock and how far down the lists this cycle looks.
    pub fn set_floors(&mut self, now: i64, floors: Floors) {
        self.now = Some(now);
        (self.activity.floor, self.created.floor) = (floors.activity, floors.created);
        self.dated = floors.dated;
    }

    /// What is wanted next.
    pub fn want(&mut self) -> Want {
        let stretch = if !self.activity.has_head {
            &self.activity
        } else if !self.created.has_head {
            &self.created
        } else if !self.heads.is_empty() {
            return Want::Heads(std::mem::take(&mut self.heads));
        } else if !self.activity.done {
            &self.activity
        } else if !self.created.done {
            &self.created
        } else {
            return Want::End(Reached {
                activity: self.activity.newest,
                created: self.created.newest,
                pages: self.pages,
                sorted: self.sorted,
            });
        };
        let order = Order { key: stretch.key, direction: Direction::Descending };
        Want::Page(PageRequest { order, style: self.style, page: stretch.next })
    }

    /// Nothing moved since the last cycle: nothing more is wanted.
    pub fn rest(&mut self) {
        self.activity.end();
        self.created.end();
    }

    /// Takes a page in. `known` are those of its contacts that the state knows.
    pub fn take(
        &mut self,
        request: PageRequest,
        answer: SourcePage,
        known: &HashSet<LiveDeskId>,
    ) -> Result<LanePage, ScanError> {
        self.pages += 1;
        let by_activity = request.order.key == SortKey::LastActivityAt;
        let now = self.now.unwrap_or(i64::MAX);
        let stretch = if by_activity { &mut self.activity } else { &mut self.created };
        let ids: Vec<LiveDeskId> = answer.rows.iter().map(|row| row.id).collect();
        if answer.is_empty() {
            // Read again before it is believed.
            if stretch.doubted {
                stretch.end();
            }
            stretch.doubted = true;
            return Ok(LanePage::default());
        }
        if request.page > 1 && ids == stretch.last_ids && !ids.is_empty() {
            if !std::mem::replace(&mut stretch.doubted, true) {
                return Ok(LanePage::default());
            }
            stretch.repeats += 1;
            if stretch.repeats == MOST_REPEATS {
                let page = request.page.saturating_sub(MOST_REPEATS - 1);
                return Err(ScanError::Stuck { order: request.order, page });
            }
        } else {
            stretch.repeats = 0;
        }
        stretch.doubted = false;
        let rows = answer.count.unwrap_or(self.seen.len());
        let ceiling = rows.div_ceil(answer.len() as u64) * 2 + SPARE_PAGES;
        if u64::from(request.page) > ceiling {
            let ceiling = u32::try_from(ceiling).unwrap_or(u32::MAX);
            return Err(ScanError::Endless { order: request.order, ceiling });
        }
        // Within one answer only: between two of them, rows move.
        let times = answer.rows.iter().map(|row| stretch.time(row));
        // By activity, no time is the least of all times: who never wrote stands last. Of creation, everybody should have one.
        let times: Vec<Option<i64>> = times.filter(|time| by_activity || time.is_some()).collect();
        let silent_first = by_activity && request.page == 1 && self.dated && times.first() == Some(&None);
        let rises = silent_first || times.windows(2).any(|pair| pair[0] < pair[1]);
        let (mut below, mut dated, mut ahead) = (false, false, false);
        let mut undated_are_known = !answer.rows.is_empty();
        for row in &answer.rows {
            let time = stretch.time(row);
            if time.is_some_and(|time| time > now) {
                ahead = true;
                continue;
            }
            stretch.newest = stretch.newest.max(time);
            // Who has no time stands behind everybody who has one; of creation, everybody should have one.
            below |= time.map_or(by_activity, |time| time < stretch.floor);
            dated |= time.is_some();
            undated_are_known &= time.is_some() || known.contains(&row.id);
        }
        if !stretch.has_head {
            let _ = write!(self.heads, "{} of {:?}:", stretch.key.as_str(), answer.count);
            for row in &answer.rows {
                let _ = write!(self.heads, " {}@{:?}", row.id, stretch.time(row));
            }
            // A page of rows that all lie in the future shows nothing of the present.
            stretch.has_head = below || dated || !ahead;
        }
        let fell = stretch.count.zip(answer.count).is_some_and(|(before, count)| count < before);
        stretch.count = answer.count.or(stretch.count);
        if rises {
            // What is asked for is not what comes: to go on would be to walk over everybody.
            self.sorted = false;
            stretch.end();
        } else if fell && request.page > 1 && self.steps_back < MOST_STEPS_BACK {
            // A deletion pulled later rows onto a page that was read already.
            self.steps_back += 1;
            stretch.next = request.page - 1;
            stretch.last_ids.clear();
        } else {
            stretch.last_ids = ids;
            // Where nobody has a time of creation, only that all are known can end the walk.
            stretch.done = below || (undated_are_known && !dated && !ahead);
            stretch.next = request.page.saturating_add(1);
        }
        Ok(self.hand_out(answer))
    }

    fn hand_out(&mut self, answer: SourcePage) -> LanePage {
        let mut page = LanePage::default();
        for row in answer.malformed {
            if row.id.is_some_and(|id| self.seen.insert(id.0.unsigned_abs())) {
                page.malformed.push(row);
            }
        }
        for row in answer.rows {
            if self.seen.insert(row.id.0.unsigned_abs()) {
                match row.contact() {
                    Ok(contact) => page.contacts.push(contact),
                    Err(row) => page.malformed.push(row),
                }
            }
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;
    const YEAR_2099: i64 = 4_070_908_800;

    /// A row of a contact with these times.
    fn row(id: i64, created: i64, activity: Option<i64>) -> SourceRow {
        let unread = |_: &str| Err(MalformedRow { id: None, problem: String::from("a test reads no rows") });
        SourceRow::unread(LiveDeskId(id), (Some(created), activity), "{}".into(), unread)
    }

    /// A server with these contacts, pages of three.
    struct Server {
        contacts: Vec<(i64, i64, Option<i64>)>,
        ignores_sort: bool,
    }

    impl Server {
        fn page(&self, request: PageRequest) -> SourcePage {
            let mut contacts = self.contacts.clone();
            if !self.ignores_sort {
                contacts.sort_by_key(|(id, created, activity)| match request.order.key {
                    SortKey::LastActivityAt => (activity.map_or(i64::MAX, |time| -time), *id),
                    _ => (-created, *id),
                });
            }
            let from = usize::try_from(request.page - 1).unwrap() * 3;
            let rows = contacts.iter().skip(from).take(3).map(|(id, created, activity)| row(*id, *created, *activity));
            SourcePage { rows: rows.collect(), count: Some(self.contacts.len() as u64), ..SourcePage::default() }
        }
    }

    /// Walks a whole cycle: who was shown, what was reached, and the heads.
    fn walk(
        server: &mut Server,
        floor: i64,
        known: &[i64],
        mut between: impl FnMut(&mut Server, u64),
    ) -> (Vec<i64>, Reached) {
        let known: HashSet<LiveDeskId> = known.iter().copied().map(LiveDeskId).collect();
        let mut lane = Lane::new(DirectionStyle::Parameter);
        lane.set_floors(NOW, Floors { activity: floor, created: floor, dated: true });
        let mut shown = Vec::new();
        for turn in 0.. {
            match lane.want() {
                Want::Page(request) => {
                    let page = lane.take(request, server.page(request), &known).unwrap();
                    // Rows of this test cannot be read: they come as what is no contact.
                    assert!(page.contacts.is_empty());
                    shown.extend(page.malformed.iter().filter_map(|row| row.id).map(|id| id.0));
                    between(server, turn);
                }
                Want::Heads(_) => {}
                Want::End(reached) => {
                    shown.sort_unstable();
                    return (shown, reached);
                }
            }
            assert!(turn < 100, "it does not end");
        }
        unreachable!("the loop returns")
    }

    fn server(contacts: Vec<(i64, i64, Option<i64>)>) -> Server {
        Server { contacts, ignores_sort: false }
    }

    #[test]
    fn who_wrote_since_the_last_cycle_is_shown_and_nobody_far_below() {
        let mut server = server((1..=30).map(|id| (id, id, Some(id * 10))).collect());
        let (shown, reached) = walk(&mut server, 250, &(1..=30).collect::<Vec<_>>(), |_, _| {});
        assert_eq!(shown, (22..=30).collect::<Vec<_>>(), "25 and above, and the rest of their page");
        assert_eq!((reached.activity, reached.created, reached.sorted), (Some(300), Some(30), true));
        assert_eq!(reached.pages, 4, "three by activity, one by creation");
    }

    #[test]
    fn a_contact_that_never_wrote_is_found_by_its_creation() {
        let mut contacts: Vec<_> = (1..=20).map(|id| (id, id * 10, Some(5))).collect();
        contacts.extend((21..=26).map(|id| (id, id * 10, None)));
        let known: Vec<i64> = (1..=20).collect();
        let (shown, _) = walk(&mut server(contacts), 100, &known, |_, _| {});
        assert!((21..=26).all(|id| shown.contains(&id)), "{shown:?}");
    }

    #[test]
    fn a_server_that_shows_who_never_wrote_first_is_not_in_order_and_hides_nobody_in_silence() {
        let order = Order { key: SortKey::LastActivityAt, direction: Direction::Descending };
        let request = |page| PageRequest { order, style: DirectionStyle::Parameter, page };
        let sorted_after = |dated: bool, pages: &[&[Option<i64>]]| {
            let mut lane = Lane::new(DirectionStyle::Parameter);
            lane.set_floors(NOW, Floors { activity: 100, created: 100, dated });
            for (page, times) in (1..).zip(pages) {
                let rows = (0..).zip(*times).map(|(id, time)| row(i64::from(page) * 10 + id, 1, *time)).collect();
                let answer = SourcePage { rows, count: Some(9), ..SourcePage::default() };
                lane.take(request(page), answer, &HashSet::new()).unwrap();
            }
            lane.sorted
        };
        assert!(!sorted_after(false, &[&[None, Some(900), Some(800)]]), "within a page");
        assert!(!sorted_after(false, &[&[Some(900), Some(800)], &[Some(700), None, Some(600)]]), "or on a later one");
        assert!(!sorted_after(true, &[&[None, None, None]]), "where somebody is known to have written");
        // Nobody has ever written, or they stand at the end, as they should.
        assert!(sorted_after(false, &[&[None, None, None]]));
        assert!(sorted_after(true, &[&[Some(900), Some(800), None]]));
        assert!(sorted_after(true, &[&[Some(900), Some(800)], &[None, None]]));
    }

    #[test]
    fn silent_contacts_below_a_page_of_visitors_that_this_cycle_carried_are_found() {
        let mut contacts: Vec<_> = (1..=20).map(|id| (id, id, Some(id))).collect();
        contacts.extend((21..=23).map(|id| (id, 100 + id, None)));
        contacts.extend((24..=29).map(|id| (id, 100 + id, Some(200 + id))));
        // Everybody is in the state by the time the page comes, but for those whom nobody was shown yet.
        let known: Vec<i64> = (1..=29).filter(|id| !(21..=23).contains(id)).collect();
        let (shown, reached) = walk(&mut server(contacts), 100, &known, |_, _| {});
        assert!((21..=29).all(|id| shown.contains(&id)), "{shown:?}");
        assert_eq!(reached.created, Some(129));
    }

    #[test]
    fn contacts_below_a_page_that_a_cycle_carried_which_died_are_found() {
        let contacts: Vec<_> = (1..=30).map(|id| (id, id * 10, None)).collect();
        let known: Vec<i64> = (1..=20).chain(25..=30).collect();
        let (shown, _) = walk(&mut server(contacts), 200, &known, |_, _| {});
        assert!((20..=30).all(|id| shown.contains(&id)), "{shown:?}");
        assert!(shown.len() < 16, "it still ends: {shown:?}");
    }

    #[test]
    fn where_nobody_has_a_time_of_creation_a_page_of_contacts_that_are_known_ends_the_walk() {
        let known = |id: i64| LiveDeskId(id);
        let mut lane = Lane::new(DirectionStyle::Parameter);
        lane.set_floors(NOW, Floors { activity: 0, created: 0, dated: false });
        let unread = |_: &str| Err(MalformedRow { id: None, problem: String::from("a test reads no rows") });
        for (page, state, ends) in [(1..=3, &[][..], false), (4..=6, &[4, 5], false), (7..=9, &[7, 8, 9], true)] {
            let rows = page.map(|id| SourceRow::unread(LiveDeskId(id), (None, None), "{}".into(), unread)).collect();
            let state: HashSet<LiveDeskId> = state.iter().copied().map(known).collect();
            let order = Order { key: SortKey::CreatedAt, direction: Direction::Descending };
            let request = PageRequest { order, style: DirectionStyle::Parameter, page: lane.created.next };
            lane.take(request, SourcePage { rows, count: Some(90), ..SourcePage::default() }, &state).unwrap();
            assert_eq!(lane.created.done, ends);
        }
    }

    #[test]
    fn activity_in_the_year_2099_raises_no_mark_and_hides_nobody() {
        let mut contacts: Vec<_> = (1..=7).map(|id| (id, YEAR_2099, Some(YEAR_2099 + id))).collect();
        contacts.extend((8..=30).map(|id| (id, id, Some(id))));
        let known: Vec<i64> = (1..=30).filter(|id| *id != 30).collect();
        let (shown, reached) = walk(&mut server(contacts), 28, &known, |_, _| {});
        assert_eq!((reached.activity, reached.created), (Some(30), Some(30)));
        assert!([28, 29, 30].iter().all(|id| shown.contains(id)), "{shown:?}");
        assert!(shown.len() < 16, "the walk ends where it would without them: {shown:?}");
    }

    #[test]
    fn rows_that_a_deletion_pulls_onto_a_page_already_read_are_seen() {
        let mut server = server((1..=30).map(|id| (id, 1, Some(id))).collect());
        let known: Vec<i64> = (1..=30).collect();
        let (shown, _) = walk(&mut server, 15, &known, |server, turn| {
            if turn == 3 {
                server.contacts.retain(|(id, ..)| *id < 28);
            }
        });
        assert!((15..=30).all(|id| shown.contains(&id)), "{shown:?}");
    }

    #[test]
    fn a_message_between_two_pages_shows_nobody_twice_and_loses_nobody() {
        let mut server = server((1..=30).map(|id| (id, 1, Some(id))).collect());
        let known: Vec<i64> = (1..=30).collect();
        let (shown, reached) = walk(&mut server, 15, &known, |server, turn| {
            if turn == 2 {
                server.contacts[9].2 = Some(500);
            }
        });
        assert!((15..=30).all(|id| shown.contains(&id)), "{shown:?}");
        assert!(shown.windows(2).all(|pair| pair[0] < pair[1]), "{shown:?}");
        assert_eq!(reached.activity, Some(30), "the next cycle sees the message");
    }

    #[test]
    fn a_server_that_ignores_the_order_is_not_walked_to_its_end() {
        let mut server = server((1..=60).map(|id| (id, id, Some(id))).collect());
        server.ignores_sort = true;
        let (shown, reached) = walk(&mut server, 0, &[], |_, _| {});
        assert!(!reached.sorted);
        assert_eq!((shown.len(), reached.pages), (3, 2));
    }

    #[test]
    fn a_page_of_contacts_that_write_between_two_pages_ends_no_cycle() {
        let mut server = server((1..=30).map(|id| (id, id, Some(id))).collect());
        let known: Vec<i64> = (1..=30).collect();
        let (shown, _) = walk(&mut server, 15, &known, |server, turn| {
            if turn == 0 {
                // Exactly a page of them, all from far below: the second page is now what the first one was.
                (1..=3).for_each(|id| server.contacts[id].2 = Some(500));
            }
        });
        assert!((15..=30).all(|id| shown.contains(&id)), "{shown:?}");
    }

    #[test]
    fn the_same_page_again_and_again_is_an_error_not_a_loop() {
        let mut lane = Lane::new(DirectionStyle::Parameter);
        lane.set_floors(NOW, Floors { activity: 0, created: 0, dated: false });
        let mut turns = 0;
        let error = loop {
            turns += 1;
            assert!(turns < 10);
            let Want::Page(request) = lane.want() else { continue };
            let rows = (1..=3).map(|id| row(id, 5, Some(5))).collect();
            let page = SourcePage { rows, count: Some(30), ..SourcePage::default() };
            if let Err(error) = lane.take(request, page, &HashSet::new()) {
                break error;
            }
        };
        assert!(matches!(error, ScanError::Stuck { .. }), "{error:?}");
    }
}
