//! Undo: takes a run back, contact by contact, the newest change first, as far as nobody changed it since.
//!
//! It is a run of its own: what it does goes into the journal before it is sent, and what it took back is marked in the
//! transaction that puts the link back. A run that dies in between is gone on with by the next one: all of it is looked
//! at again before it is written, and doing it twice does no harm. Deletions are in `delete`, the reckoning in `net`.

mod contact;
mod delete;
mod doubts;
mod link;
mod net;
mod restore;
mod rows;
mod vouch;
mod wait;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use futures::stream::{self, StreamExt};
use serde::Serialize;
use tokio::sync::OnceCell;

use crate::domain::ids::{FirstLineId, LiveDeskId, RunId};
use crate::store::{Hold, Intent, IntentState, Journalled, WriteOp};
use crate::sync::engine::{Engine, RunError};
use crate::sync::journal::{self, action};
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::progress::{Phase, ProgressEvent};
use crate::sync::tags::TagSummary;

pub use doubts::Doubts;

use wait::Waiting;

/// Rows of the journal that are read at once.
const PAGE: u32 = 500;
/// How often a record is read for an update that comes too late each time.
const LOOKS: u32 = 5;

/// What is to be taken back, and how.
#[derive(Clone, Debug)]
pub struct UndoOrder {
    /// The run.
    pub of: RunId,
    /// Whether records that it made are deleted; else they are tagged.
    pub delete_created: bool,
    /// Whether nothing is written at all.
    pub dry_run: bool,
    /// The tag for records that it made; `None`: they are only listed.
    pub tag: Option<String>,
}

/// One line of the list: what was done, or not done, about one part of one contact. No values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UndoLine {
    /// The contact; 0 for what belongs to none.
    pub livedesk_id: i64,
    /// The record.
    pub firstline_id: i64,
    /// A field, a list, `customer` or `link`.
    pub part: String,
    /// `restored`, `removed`, `deleted`, `tagged`, `unlinked`; `kept`: somebody has the last word since; `unconfirmed`: it was
    /// written back, and FIRST LINE does not show it; `left`: to be tried again; `never arrived`: a create that is not there.
    pub done: &'static str,
    /// Why it was kept or left.
    pub why: String,
}

/// What an undo did, or in a dry run would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UndoSummary {
    /// Contacts that were looked at.
    pub contacts: u64,
    /// Fields, tags and companies written back.
    pub restored: u64,
    /// E-mails and phones that are gone again.
    pub rows_removed: u64,
    /// E-mails and phones that hold again what they held, or are there again.
    pub rows_restored: u64,
    /// Customers deleted.
    pub deleted: u64,
    /// Customers tagged.
    pub tagged: u64,
    /// Links removed, because there was none before.
    pub unlinked: u64,
    /// Links as they were before.
    pub relinked: u64,
    /// Parts that stay, because somebody changed them since or nobody knows what was there.
    pub kept: u64,
    /// Parts that were written back and accepted, and that FIRST LINE still shows as they were.
    pub unconfirmed: u64,
    /// Customers that are gone from FIRST LINE by now.
    pub gone: u64,
    /// Contacts that could not be finished: the same command tries them again.
    pub left: u64,
    /// Tags that the run made: others may use them by now.
    pub tags_made: u64,
    /// Creates that are still in doubt.
    pub in_doubt: u64,
    /// Creates that surely never arrived: they are sent again when contacts are carried again.
    pub never_arrived: u64,
    /// Contacts set aside by the run, and forgotten.
    pub set_aside: u64,
    /// Conflicts found by the run, and forgotten.
    pub conflicts: u64,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

impl UndoSummary {
    /// 0: all of it taken back; 1: something was kept or left, or is not confirmed; 130: interrupted.
    pub fn exit_code(&self) -> u8 {
        let remains = self.kept + self.unconfirmed + self.left + self.in_doubt;
        if self.interrupted { 130 } else { u8::from(remains > 0) }
    }
}

/// Takes lines as they come.
pub type Told<'a> = &'a (dyn Fn(&UndoLine) + Send + Sync);

/// An undo under way.
struct Undo<'a, T> {
    engine: &'a Engine<T>,
    order: &'a UndoOrder,
    told: Told<'a>,
    summary: Mutex<UndoSummary>,
    tag: OnceCell<Option<i64>>,
    /// Whether a record that was made here, and one that was not, has answered: then a 404 is believed of another.
    vouched: [AtomicBool; 2],
    /// Whether any record has answered at all: then a 404 is believed of one whose deletion is in the journal.
    reads: AtomicBool,
    /// Contacts that are looked at again once all others were, and what they wait for.
    put_off: Mutex<Waiting>,
    failed: AtomicBool,
}

impl<T: ContactTarget> Engine<T> {
    /// Takes a run back. What was done until a failure is in the summary; an error is one from before anything was done.
    pub async fn undo(&self, order: &UndoOrder, told: Told<'_>) -> Result<(UndoSummary, Option<RunError>), RunError> {
        let undo = Undo {
            engine: self,
            order,
            told,
            summary: Mutex::default(),
            tag: OnceCell::new(),
            vouched: Default::default(),
            reads: AtomicBool::new(false),
            put_off: Mutex::default(),
            failed: AtomicBool::new(false),
        };
        undo.recognise().await?;
        let result = Box::pin(undo.run()).await;
        let mut summary = undo.summary.into_inner().unwrap_or_else(PoisonError::into_inner);
        match result {
            Err(error) if error.is_interruption() => {
                summary.interrupted = true;
                Ok((summary, None))
            }
            result => Ok((summary, result.err())),
        }
    }
}

impl<T: ContactTarget> Undo<'_, T> {
    async fn run(&self) -> Result<(), RunError> {
        let (engine, store) = (self.engine, &self.engine.store);
        if !self.order.dry_run {
            let hold = Hold { undo: engine.run, of: self.order.of, at: engine.clock.now() };
            store.begin_undo(hold).await?;
            let (letters, conflicts) = store.forget_left_over_by(self.order.of).await?;
            self.count(|summary| (summary.set_aside, summary.conflicts) = (letters, conflicts));
        }
        engine.progress.event(ProgressEvent::Phase(Phase::Undo));
        engine.progress.event(ProgressEvent::Expect(store.traces_of_run(self.order.of).await?.contacts));
        let mut before = i64::MAX;
        loop {
            let rows = store.standing_rows(self.order.of, before, PAGE).await?;
            let Some((last, _)) = rows.last() else { break };
            before = *last;
            self.all(rows).await?;
        }
        self.all_put_off().await
    }

    /// Many contacts at once. After a failure those on their way are finished.
    async fn all(&self, rows: Vec<(i64, LiveDeskId)>) -> Result<(), RunError> {
        let mut failure: Option<RunError> = None;
        let jobs = self.engine.settings.jobs.max(1);
        let mut done = stream::iter(rows).map(|(row, id)| self.contact(row, id)).buffer_unordered(jobs);
        while let Some(result) = done.next().await {
            if let Err(error) = result {
                self.failed.store(true, Ordering::Relaxed);
                // The first failure that is not a mere interruption is the one to tell.
                if failure.as_ref().is_none_or(RunError::is_interruption) {
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn contact(&self, row: i64, id: LiveDeskId) -> Result<(), RunError> {
        if self.engine.stop.is_cancelled() || self.failed.load(Ordering::Relaxed) {
            return Err(PortError::Interrupted.into());
        }
        let mut looks = 0;
        loop {
            // What an attempt wrote down is part of the next one.
            let Some(case) = self.case(row, id).await? else { return Ok(()) };
            let result = self.take_back(&case).await;
            looks += 1;
            if matches!(result, Err(RunError::Port(PortError::Stale))) && looks < LOOKS {
                continue;
            }
            if result.is_ok() && self.is_put_off(id) {
                return Ok(());
            }
            self.count(|summary| summary.contacts += 1);
            self.engine.progress.event(ProgressEvent::Advance(1));
            let why = match result {
                Err(RunError::Port(PortError::Stale)) => String::from(
                    "FIRST LINE takes so long to answer that what was read is out of date before it is written",
                ),
                Err(RunError::Port(PortError::Refused { status, .. })) => format!("refused with status {status}"),
                result => return result,
            };
            self.tell(id, case.target, "customer", "left", &why);
            return Ok(());
        }
    }

    /// A contact that this row stands for, as the state knows it; tags are told of at once.
    async fn case(&self, row: i64, id: LiveDeskId) -> Result<Option<contact::Case>, RunError> {
        let store = &self.engine.store;
        let all = store.journalled(id).await?;
        let of = self.order.of;
        let rows: Vec<&Journalled> = all.iter().filter(|row| self.stands(row)).collect();
        // The newest row of a contact stands for all of them.
        if rows.first().is_none_or(|newest| newest.id != row) {
            return Ok(None);
        }
        if id == LiveDeskId(0) {
            self.tags_made(&rows).await?;
            return Ok(None);
        }
        let Some(net) = net::net(id, rows.iter().map(|row| &row.entry)) else {
            self.count(|summary| summary.contacts += 1);
            self.tell(id, FirstLineId(0), "journal", "left", "its rows cannot be read");
            return Ok(None);
        };
        let Some(target) = net.target else { return Ok(None) };
        let link = store.links_for(&[id]).await?.remove(&id);
        let link_before = self.engine.link_before(link.as_ref()).await?;
        // An undo before this one was about to delete it.
        let deleting = all.iter().any(|found| {
            let entry = &found.entry;
            found.id > row && entry.action == action::DELETE && entry.target == target && found.undone_by.is_none()
        });
        let ours = store.children_of(id).await?;
        let open = self.unsettled(id).await?;
        let since = all.iter().filter(|found| found.id > row && found.entry.run != of && found.undone_by.is_none());
        let hung = journal::hung(since.map(|found| &found.entry));
        let renumbered = net::renumbered(&net, &hung);
        let hung = Mutex::new(hung);
        let case =
            contact::Case { row, id, target, net, link, link_before, ours, renumbered, hung, open, deleting, all };
        Ok(Some(case))
    }

    /// Whether a row is one of the run that is not taken back yet.
    fn stands(&self, row: &Journalled) -> bool {
        row.entry.run == self.order.of && row.undone_by.is_none() && row.entry.action != action::TRIAL
    }

    /// What was sent for a contact and is not settled.
    async fn unsettled(&self, id: LiveDeskId) -> Result<Vec<Intent>, RunError> {
        let store = &self.engine.store;
        if store.traces_of(&[id]).await?.in_doubt.is_empty() {
            return Ok(Vec::new());
        }
        let open = store.open_intents().await?.into_iter();
        Ok(open.filter(|intent| intent.livedesk_id == id && intent.state != IntentState::Audit).collect())
    }

    /// Tags that the run made stay: others may use them by now.
    async fn tags_made(&self, rows: &[&Journalled]) -> Result<(), RunError> {
        for row in rows {
            self.count(|summary| summary.tags_made += 1);
            let why = "others may use it by now: delete it by hand, if not";
            self.tell(LiveDeskId(0), row.entry.target, "tag", "stays", why);
        }
        if !self.order.dry_run {
            self.engine.store.write(vec![self.taken_back(LiveDeskId(0))]).await?;
        }
        Ok(())
    }

    fn taken_back(&self, livedesk_id: LiveDeskId) -> WriteOp {
        WriteOp::TakenBack { run: self.order.of, livedesk_id, by: self.engine.run }
    }

    /// The tag for what the run made; looked up, or made, once.
    async fn tag(&self) -> Result<Option<i64>, RunError> {
        let Some(name) = &self.order.tag else { return Ok(None) };
        let tag = self.tag.get_or_try_init(async || {
            let ids = self.engine.tag_ids(name, &mut TagSummary::default()).await?;
            Ok::<_, RunError>(ids.first().copied())
        });
        Ok(*tag.await?)
    }

    fn count(&self, count: impl FnOnce(&mut UndoSummary)) {
        count(&mut self.summary.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Lists one part, and counts what was kept or left, or is not confirmed.
    fn tell(&self, id: LiveDeskId, target: FirstLineId, part: &str, done: &'static str, why: &str) {
        self.count(|summary| match done {
            "kept" => summary.kept += 1,
            "unconfirmed" => summary.unconfirmed += 1,
            "left" => summary.left += 1,
            _ => {}
        });
        (self.told)(&UndoLine {
            livedesk_id: id.0,
            firstline_id: target.0,
            part: part.to_owned(),
            done,
            why: why.to_owned(),
        });
    }
}
