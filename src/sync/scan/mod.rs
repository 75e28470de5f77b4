//! Reading every contact of the source: passes over its pages, and the sweep that proves them complete.
//!
//! Paging LiveDesk loses rows without a sign (platform notes LiveDesk 4), so one pass proves nothing. A [`Sweep`]
//! walks pass after pass in different orders and accounts by distinct ids until it can give its verdict
//! (design, section 3). It is driven one page at a time and spawns nothing but its page requests. It writes
//! nothing down: what was seen and where to go on is the caller's to record.

mod head;
mod ledger;
mod pass;
mod reader;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use roaring::RoaringTreemap;

use self::head::Head;
use self::ledger::Ledger;
use self::pass::{Believed, Pass, Taken};
use self::reader::Reader;
use super::ports::{ContactSource, MalformedRow, PageRequest, PortError, SourcePage};
use crate::domain::contact::Contact;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::{DirectionStyle, Order, PassReport, ScanPosition, SweepReport};

/// What is known of how descending order is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// Like this: it was seen to have its effect.
    Told(DirectionStyle),
    /// Nothing yet, and it does not matter: all contacts are on the first page.
    OnePage,
    /// Nothing: all contacts that are shown were created, and were active, at one time.
    Untold,
}

/// Finds out how descending order is spelled: by creation, or else by activity.
pub async fn spelling(source: &impl ContactSource) -> Result<Spelling, ScanError> {
    let head = Head::read(source).await?;
    if head.told {
        return Ok(Spelling::Told(head.style));
    }
    if head.page_size == 0 || head.count == Some(head.page_size as u64) {
        return Ok(Spelling::OnePage);
    }
    Ok(head::by_activity(source).await?.map_or(Spelling::Untold, Spelling::Told))
}

/// Why a sweep could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The source failed. The sweep stands where it stood: calling again asks for the same page again.
    #[error("a page of LiveDesk's contact list could not be read")]
    Source(#[from] PortError),
    /// Neither spelling of descending order has an effect.
    #[error(
        "LiveDesk ignores `sort` or `direction`: the newest contacts were asked for first, in both spellings \
         (direction=desc and sort=-created_at), and the rows do not descend"
    )]
    DirectionIgnored,
    /// The rows of a pass do not follow the order that was asked for.
    #[error("LiveDesk does not sort by {order}: {broken} of {pages} pages are out of order")]
    Unordered {
        /// The order asked for.
        order: Order,
        /// Pages with rows out of order.
        broken: u32,
        /// Pages looked at.
        pages: u32,
    },
    /// Some pages in a row came back as the one before them, each of them twice.
    #[error("LiveDesk answers page {page} ({order}) with the rows of the page before it: it is stuck")]
    Stuck {
        /// The order asked for.
        order: Order,
        /// The page.
        page: u32,
    },
    /// A pass went on far beyond what the list can hold.
    #[error("the list ({order}) has not ended after {ceiling} pages, far more than its contacts can fill")]
    Endless {
        /// The order asked for.
        order: Order,
        /// The ceiling.
        ceiling: u32,
    },
}

/// What a sweep is to reach before it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// *Proven*: needed for backfill, verify and whatever judges absence.
    Proven,
    /// *Counted* is enough: the nightly sweep.
    Counted,
}

/// How a sweep is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepPlan {
    /// When it may end.
    pub goal: Goal,
    /// Pages after which a pass is endless. `None`: twice what count, or the ids seen, can fill, and 100 more.
    pub max_pages: Option<u32>,
    /// Rounds through all orders after which the sweep says *short*, whatever was added.
    pub max_rounds: u32,
}

impl SweepPlan {
    /// A plan for `goal` with the usual ceilings.
    pub fn new(goal: Goal) -> Self {
        Self { goal, max_pages: None, max_rounds: 4 }
    }
}

/// Where an interrupted sweep goes on.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The first page that is not wholly recorded (`ScannedPage::next` of the last one that is). The pass goes
    /// on one page earlier.
    pub position: ScanPosition,
    /// Ids of the contacts that this sweep has recorded.
    pub seen: RoaringTreemap,
}

/// One page, as the engine takes it in.
#[derive(Clone, Debug)]
pub struct ScannedPage {
    /// Which page it is.
    pub position: ScanPosition,
    /// Where to go on once this page is recorded: the checkpoint. After a step back it lies before `position`.
    pub next: ScanPosition,
    /// The order of its pass.
    pub order: Order,
    /// Its contacts that this sweep had not seen before.
    pub fresh: Vec<Contact>,
    /// Its rows that are no contacts and had not been reported before.
    pub malformed: Vec<MalformedRow>,
    /// `meta.count` of this page.
    pub count: Option<u64>,
    /// Distinct ids seen in the whole sweep, this page included.
    pub distinct: u64,
}

/// What `Sweep::next` brings.
#[derive(Clone, Debug)]
pub enum SweepStep {
    /// A page.
    Page(ScannedPage),
    /// The end.
    Finished(SweepReport),
}

/// A sweep under way.
#[derive(Debug)]
pub struct Sweep<S> {
    reader: Reader<S>,
    plan: SweepPlan,
    style: DirectionStyle,
    ledger: Ledger,
    pass: Pass,
    passes: Vec<PassReport>,
    known: Option<LiveDeskId>,
    report: Option<SweepReport>,
}

impl<S: ContactSource> Sweep<S> {
    /// Looks at the newest contacts (which also shows how descending order is spelled) and stands before the
    /// first page.
    pub async fn start(source: Arc<S>, plan: SweepPlan, resume: Option<Resume>) -> Result<Self, ScanError> {
        let head = Head::read(source.as_ref()).await?;
        let (position, seen) = match resume {
            Some(Resume { position, seen }) => (position, seen),
            None => (ScanPosition { pass: 1, page: 1 }, RoaringTreemap::new()),
        };
        let pass = Pass::start(
            ScanPosition { pass: position.pass.max(1), page: position.page.saturating_sub(1).max(1) },
            head.page_size,
        );
        let mut ledger = Ledger::new(&head, seen);
        ledger.begin_pass(pass.is_full());
        Ok(Self {
            reader: Reader::new(source),
            plan,
            style: head.style,
            ledger,
            pass,
            passes: Vec::new(),
            known: head.known,
            report: None,
        })
    }

    /// The next page, or the report. Cancel-safe: a dropped call loses nothing that a page request brought. After
    /// the end it gives the report again.
    pub async fn next(&mut self) -> Result<SweepStep, ScanError> {
        loop {
            if let Some(report) = &self.report {
                return Ok(SweepStep::Finished(report.clone()));
            }
            let request = PageRequest { order: self.pass.order(), style: self.style, page: self.pass.next_page() };
            let answer = self.reader.read(request, self.pass.prefetch_until()).await;
            let answer = answer.map_err(|error| no_page_may_be_refused(error, request))?;
            if let Some(page) = self.accept(answer)? {
                return Ok(SweepStep::Page(page));
            }
        }
    }

    /// Forgets what was read ahead: the caller waited, and the list went on.
    pub fn read_anew(&mut self) {
        self.reader.discard();
    }

    /// The id of a contact that surely exists, when there is any: what a read by id is probed with.
    pub fn known_id(&self) -> Option<LiveDeskId> {
        self.known
    }

    /// Whether some page of this sweep has shown this contact.
    pub fn has_seen(&self, id: LiveDeskId) -> bool {
        self.ledger.has_seen(id)
    }

    /// Takes in one answer; `None` when it must be read again or ended its pass.
    fn accept(&mut self, answer: SourcePage) -> Result<Option<ScannedPage>, ScanError> {
        self.ledger.note_count(answer.count);
        match self.pass.take(answer)? {
            Taken::Again => Ok(None),
            Taken::End => {
                self.end_pass();
                Ok(None)
            }
            Taken::Page(believed) => {
                let page = self.record(believed);
                if page.next.page <= page.position.page {
                    // What was read ahead belongs to the list as it was before the rows shifted.
                    self.reader.discard();
                }
                self.check_ceiling(&page)?;
                Ok(Some(page))
            }
        }
    }

    fn record(&mut self, believed: Believed) -> ScannedPage {
        let Believed { page, mut malformed, rows, count, first_visit, miscounted } = believed;
        if miscounted {
            self.ledger.note_miscount();
        }
        if page == 1 && first_visit {
            self.ledger.open_baseline();
        }
        let (mut fresh, mut unreadable) = (Vec::new(), Vec::new());
        for row in rows {
            self.known = Some(row.id);
            if self.ledger.see(row.id, row.created_at, first_visit) {
                match row.contact() {
                    Ok(contact) => fresh.push(contact),
                    Err(row) => unreadable.push(row),
                }
            }
        }
        malformed.retain(|row| match row.id {
            Some(id) => self.ledger.see(id, None, first_visit),
            None => first_visit && self.ledger.see_nameless(),
        });
        malformed.extend(unreadable);
        let number = self.pass.number();
        ScannedPage {
            position: ScanPosition { pass: number, page },
            next: ScanPosition { pass: number, page: self.pass.next_page() },
            order: self.pass.order(),
            fresh,
            malformed,
            count,
            distinct: self.ledger.distinct(),
        }
    }

    fn check_ceiling(&self, page: &ScannedPage) -> Result<(), ScanError> {
        let rows = page.count.unwrap_or(0).max(self.ledger.distinct_in_pass());
        let ceiling = self.plan.max_pages.unwrap_or_else(|| self.pass.pages_for(rows).saturating_mul(2) + 100);
        if page.next.page > ceiling {
            return Err(ScanError::Endless { order: page.order, ceiling });
        }
        Ok(())
    }

    fn end_pass(&mut self) {
        self.reader.discard();
        let added = self.ledger.end_pass();
        self.passes.push(self.pass.report(added));
        let most_passes =
            usize::try_from(self.plan.max_rounds).unwrap_or(usize::MAX).saturating_mul(Order::ROUND.len());
        let exhausted = self.passes.len() >= most_passes;
        if let Some(verdict) = self.ledger.judge(self.plan.goal, exhausted) {
            self.report = Some(SweepReport {
                verdict,
                passes: self.passes.clone(),
                distinct: self.ledger.distinct(),
                count: self.ledger.last_count(),
                malformed: self.ledger.nameless(),
            });
        } else {
            let position = ScanPosition { pass: self.pass.number().saturating_add(1), page: 1 };
            self.pass = Pass::start(position, self.pass.page_size());
            self.ledger.begin_pass(true);
        }
    }
}

/// In a pass there is no other spelling to turn to, and without a page the list is not whole.
fn no_page_may_be_refused(error: PortError, request: PageRequest) -> PortError {
    let PortError::Refused { status, .. } = &error else { return error };
    let PageRequest { order, page, .. } = request;
    let message = format!(
        "LiveDesk refuses page {page} of the contact list, sorted by {order} (status {status}); this version of \
         LiveDesk may differ from the documents"
    );
    PortError::Stop { message, source: Some(error.into()) }
}
