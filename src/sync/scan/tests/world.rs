//! A source in memory: sorted lists whose ties come out anyhow, writes between any two pages, counts that lie.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::Map;

use crate::domain::contact::Contact;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::{Direction, DirectionStyle, SortKey, SweepReport};
use crate::sync::ports::{
    ByIdAnswer, ContactSource, LabelStyle, MalformedRow, PageRequest, PortError, SourcePage, SourceRow,
};
use crate::sync::scan::{Goal, Resume, ScanError, ScannedPage, Sweep, SweepPlan, SweepStep};

/// Deterministic dice (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) id: i64,
    pub(super) created: i64,
    pub(super) active: Option<i64>,
    pub(super) email: Option<u64>,
    pub(super) phone: Option<u64>,
    pub(super) name: u64,
    /// Whether the adapter can read its row.
    pub(super) readable: bool,
}

/// How equal keys come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ties {
    Stable,
    /// In another order on every page, the same whenever that page is asked for again (plans kept).
    PerPage,
    /// In another order in every answer (plans made anew).
    PerAnswer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Both,
    MinusOnly,
    Neither,
}

/// What the platform says of its count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    True,
    Off(i64),
    Missing,
}

/// A write to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Insert,
    Delete,
    Edit,
    Message,
    Merge,
    /// A delete hidden by an insert: the count never moves.
    Swap,
}

/// A planned oddity of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oddity {
    Empty,
    Cut(usize),
    /// The rows of the page before.
    PageBefore,
    Count(u64),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) people: Vec<Person>,
    pub(super) next_id: i64,
    pub(super) now: i64,
    pub(super) dice: Dice,
    pub(super) ties: Ties,
    pub(super) spelling: Spelling,
    /// How the spelling with a minus fails, where it does.
    pub(super) minus_fails: Option<fn() -> PortError>,
    pub(super) counting: Counting,
    pub(super) sorts: bool,
    pub(super) size: usize,
    /// One write on average in so many answers; 0: none.
    pub(super) drift_every: usize,
    /// Writes before the nth answer.
    pub(super) planned: BTreeMap<usize, Vec<(Op, usize)>>,
    /// Oddities of the nth answer.
    pub(super) odd: BTreeMap<usize, Oddity>,
    pub(super) stuck_from: Option<u32>,
    pub(super) endless: bool,
    pub(super) nameless_rows: usize,
    pub(super) log: Vec<PageRequest>,
    pub(super) inserted: BTreeSet<i64>,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) state: Mutex<State>,
    pub(super) window: usize,
}

impl World {
    /// `n` contacts a minute apart, with keys that are all different.
    pub(super) fn quiet(n: usize) -> State {
        let people = (1..=n as i64)
            .map(|id| Person {
                id,
                created: 1_700_000_000 + id * 60,
                active: Some(1_750_000_000 + mix(id as u64) as i64 % 1_000_000),
                email: Some(mix(id as u64 + 1_000_000)),
                phone: Some(mix(id as u64 + 2_000_000)),
                name: mix(id as u64 + 3_000_000),
                readable: true,
            })
            .collect();
        State {
            people,
            next_id: n as i64 + 1,
            now: 1_800_000_000,
            dice: Dice(7),
            ties: Ties::Stable,
            spelling: Spelling::Both,
            minus_fails: None,
            counting: Counting::True,
            sorts: true,
            size: 15,
            drift_every: 0,
            planned: BTreeMap::new(),
            odd: BTreeMap::new(),
            stuck_from: None,
            endless: false,
            nameless_rows: 0,
            log: Vec::new(),
            inserted: BTreeSet::new(),
        }
    }

    /// As section 4 of the platform notes: half in import batches, 60 % never active, 30 % without e-mail.
    pub(super) fn tied(n: usize, seed: u64) -> State {
        let mut state = Self::quiet(n);
        let mut dice = Dice(seed);
        let batch = (n / 8).max(2);
        for (index, person) in state.people.iter_mut().enumerate() {
            if (index / batch) % 2 == usize::from(seed.is_multiple_of(2)) {
                person.created = 1_700_000_000 + (index / batch * batch) as i64 * 60;
            }
            if dice.below(10) < 6 {
                person.active = None;
            }
            if dice.below(10) < 3 {
                person.email = None;
            }
            if dice.below(10) < 4 {
                person.phone = None;
            }
            person.name %= (n / 2) as u64;
        }
        state.ties = if seed.is_multiple_of(3) { Ties::PerPage } else { Ties::PerAnswer };
        state.dice = dice;
        state
    }
}

impl State {
    pub(super) fn world(self) -> Arc<World> {
        self.world_with_window(1)
    }

    pub(super) fn world_with_window(self, window: usize) -> Arc<World> {
        Arc::new(World { state: Mutex::new(self), window })
    }

    pub(super) fn apply(&mut self, op: Op, at: usize) {
        match op {
            Op::Insert => self.insert(),
            Op::Delete => self.delete(at),
            Op::Edit => {
                let fresh = self.dice.roll();
                if let Some(person) = self.at(at) {
                    person.email = Some(fresh);
                    person.phone = None;
                }
            }
            Op::Message => {
                let now = self.now;
                if let Some(person) = self.at(at) {
                    person.active = Some(now);
                }
            }
            Op::Merge => {
                let email = self.at(at).and_then(|gone| gone.email);
                self.delete(at);
                if let Some(base) = self.at(at / 2) {
                    base.email = base.email.or(email);
                }
            }
            Op::Swap => {
                self.delete(at);
                self.insert();
            }
        }
    }

    fn at(&mut self, at: usize) -> Option<&mut Person> {
        let len = self.people.len();
        self.people.get_mut(at % len.max(1))
    }

    fn delete(&mut self, at: usize) {
        if !self.people.is_empty() {
            self.people.remove(at % self.people.len());
        }
    }

    fn insert(&mut self) {
        let id = self.next_id;
        self.next_id += 1;
        self.inserted.insert(id);
        self.people.push(Person {
            id,
            created: self.now,
            active: (self.dice.below(2) == 0).then_some(self.now),
            email: Some(self.dice.roll()),
            phone: None,
            name: self.dice.roll(),
            readable: true,
        });
    }

    fn drift(&mut self) {
        if self.drift_every > 0 && self.dice.below(self.drift_every) == 0 {
            let op = [Op::Insert, Op::Delete, Op::Edit, Op::Message, Op::Merge, Op::Swap][self.dice.below(6)];
            let at = self.dice.roll() as usize;
            self.apply(op, at);
        }
    }

    fn count(&self) -> Option<u64> {
        let rows = (self.people.len() + self.nameless_rows) as i64;
        match self.counting {
            Counting::True => Some(rows as u64),
            Counting::Off(by) => Some((rows + by).max(0) as u64),
            Counting::Missing => None,
        }
    }

    fn rows(&mut self, request: PageRequest, page: u32) -> Vec<Person> {
        let descending = request.order.direction == Direction::Descending
            && match self.spelling {
                Spelling::Both => true,
                Spelling::MinusOnly => request.style == DirectionStyle::Minus,
                Spelling::Neither => false,
            };
        let salt = match self.ties {
            Ties::Stable => None,
            Ties::PerPage => Some(u64::from(page) * 31 + request.order.key as u64),
            Ties::PerAnswer => Some(self.dice.roll()),
        };
        let mut rows: Vec<((bool, u64), u64, Person)> = self
            .people
            .iter()
            .map(|person| {
                let key = match request.order.key {
                    _ if !self.sorts => Some(mix(person.id as u64)),
                    SortKey::CreatedAt => Some(person.created as u64),
                    SortKey::LastActivityAt => person.active.map(|time| time as u64),
                    SortKey::Email => person.email,
                    SortKey::PhoneNumber => person.phone,
                    SortKey::Name => Some(person.name),
                };
                let key = (key.is_none(), key.map_or(0, |key| if descending { u64::MAX - key } else { key }));
                (key, salt.map_or(person.id as u64, |salt| mix(salt ^ person.id as u64)), person.clone())
            })
            .collect();
        rows.sort_by_key(|(key, tie, _)| (*key, *tie));
        let page = if self.endless { (page - 1) % 3 + 1 } else { page };
        rows.into_iter().skip((page as usize - 1) * self.size).take(self.size).map(|(_, _, person)| person).collect()
    }

    fn answer(&mut self, request: PageRequest) -> SourcePage {
        let nth = self.log.len();
        self.log.push(request);
        for (op, at) in self.planned.remove(&nth).unwrap_or_default() {
            self.apply(op, at);
        }
        // Rows and count are two queries: a write may fall between them.
        let between = self.dice.below(4) == 0;
        if !between {
            self.drift();
        }
        let page = match (self.stuck_from, self.odd.get(&nth)) {
            (Some(from), _) if request.page >= from => from,
            (_, Some(Oddity::PageBefore)) => request.page - 1,
            _ => request.page,
        };
        let mut rows = self.rows(request, page);
        if between {
            self.drift();
        }
        let mut count = self.count();
        match self.odd.get(&nth) {
            Some(Oddity::Empty) => rows.clear(),
            Some(Oddity::Cut(rest)) => rows.truncate(*rest),
            Some(Oddity::Count(said)) => count = Some(*said),
            Some(Oddity::PageBefore) | None => {}
        }
        let (readable, broken): (Vec<Person>, Vec<Person>) = rows.into_iter().partition(|person| person.readable);
        let mut malformed: Vec<MalformedRow> = broken
            .into_iter()
            .map(|person| MalformedRow { id: Some(LiveDeskId(person.id)), problem: "no object".into() })
            .collect();
        if page == 1 {
            malformed.extend((0..self.nameless_rows).map(|_| MalformedRow { id: None, problem: "no id".into() }));
        }
        SourcePage {
            rows: readable.iter().map(contact).map(SourceRow::from).collect(),
            malformed,
            count,
            server_date: None,
        }
    }
}

fn contact(person: &Person) -> Contact {
    Contact {
        id: LiveDeskId(person.id),
        created_at: Some(person.created),
        last_activity_at: person.active,
        fields: Map::new(),
    }
}

impl ContactSource for World {
    async fn page(&self, request: PageRequest) -> Result<SourcePage, PortError> {
        // Answers of pages asked for together come in any order.
        let pauses = self.state.lock().unwrap().dice.below(self.window * 2);
        for _ in 0..pauses {
            tokio::task::yield_now().await;
        }
        let mut state = self.state.lock().unwrap();
        let has_minus = request.style == DirectionStyle::Minus && request.order.direction == Direction::Descending;
        match state.minus_fails {
            Some(error) if has_minus => Err(error()),
            _ => Ok(state.answer(request)),
        }
    }

    async fn labelled_page(
        &self,
        _label: &str,
        _style: LabelStyle,
        request: PageRequest,
    ) -> Result<SourcePage, PortError> {
        self.page(request).await
    }

    async fn by_id(&self, _id: LiveDeskId, _known: LiveDeskId) -> Result<ByIdAnswer, PortError> {
        Ok(ByIdAnswer::Unsupported)
    }

    fn concurrency(&self) -> usize {
        self.window
    }
}

/// A whole sweep.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) report: SweepReport,
    /// Ids in the order in which they were handed out.
    pub(super) handed_out: Vec<i64>,
    pub(super) pages: Vec<ScannedPage>,
}

impl Walk {
    pub(super) fn seen(&self) -> BTreeSet<i64> {
        self.handed_out.iter().copied().collect()
    }
}

pub(super) async fn walk(world: &Arc<World>) -> Result<Walk, ScanError> {
    walk_with(world, SweepPlan::new(Goal::Proven), None).await
}

pub(super) async fn walk_with(world: &Arc<World>, plan: SweepPlan, resume: Option<Resume>) -> Result<Walk, ScanError> {
    let mut sweep = Sweep::start(Arc::clone(world), plan, resume).await?;
    let mut handed_out = Vec::new();
    let mut pages = Vec::new();
    loop {
        match sweep.next().await? {
            SweepStep::Page(page) => {
                handed_out.extend(page.fresh.iter().map(|contact| contact.id.0));
                handed_out.extend(page.malformed.iter().filter_map(|row| row.id).map(|id| id.0));
                pages.push(page);
            }
            SweepStep::Finished(report) => return Ok(Walk { report, handed_out, pages }),
        }
    }
}

/// Ids in the account now.
pub(super) fn ids(world: &World) -> BTreeSet<i64> {
    world.state.lock().unwrap().people.iter().map(|person| person.id).collect()
}
