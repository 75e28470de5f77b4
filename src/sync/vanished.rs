//! Records that vanished from FIRST LINE: merged into another one, or deleted, by an agent.
//!
//! A 404 is believed only while another known record answers, and judged only at the end of the run, after a second look;
//! more of them than agents delete in a day are an account problem (another tenant, a role that sees less, a page in front of
//! the API), and stop the run. A record that is believed gone becomes an *alias* of the one that took its place, or
//! *gone*. Nothing is written through either, and nothing is made again by itself (docs/adr/0012).

use serde::Serialize;

use crate::clock::Timestamp;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::outcome::{Outcome, SetAside, SetAsideKind};
use crate::store::{JournalEntry, Link, Origin, Standing, WriteOp};
use crate::sync::carry::{Carried, Job, reason};
use crate::sync::engine::{Engine, RunError};
use crate::sync::finder::Sight;
use crate::sync::journal::action;
use crate::sync::ports::ContactTarget;
use crate::sync::summary::{LISTED, Summary};
use crate::sync::witness::Testimony;

/// Records that may vanish within a day before it is an account problem, whatever the share.
const PER_DAY: u64 = 20;
/// The same as a share of all links: one in so many.
const ONE_IN: u64 = 100;
/// Records that a sweep looks at again.
const AGAIN: u32 = 100;
/// For how long after it was found gone a record is looked at again.
const WEEK_MS: i64 = 7 * DAY_MS;
/// How long ago that has to be: a part of the platform that answers wrongly does so for minutes.
const HOUR_MS: i64 = DAY_MS / 24;
/// A day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Witnesses that must all be gone before that is held against the account, and not against chance.
const WITNESSES: usize = 3;

/// When a 404 was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noticed {
    /// While its contact was carried.
    Carrying,
    /// While its contact, which is gone from LiveDesk, was judged: nobody is left over.
    Judging,
}

/// A record that answered 404 in this run, not judged yet.
#[derive(Clone, Copy, Debug)]
pub struct Vanished {
    livedesk_id: LiveDeskId,
    target: FirstLineId,
    alias_of: Option<FirstLineId>,
    /// Whether its link said so before: somebody asked for another look.
    known: bool,
    noticed: Noticed,
}

/// One link that leads nowhere, in the list for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VanishedRow {
    /// The contact.
    pub livedesk_id: i64,
    /// The record that is not there.
    pub firstline_id: i64,
    /// `alias` or `gone`.
    pub standing: &'static str,
    /// The record that took its place.
    pub alias_of: Option<i64>,
}

/// Links that lead nowhere, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VanishedSummary {
    /// Contacts of this run whose record was merged into another one: not written to.
    pub aliases: u64,
    /// Contacts of this run whose record is gone: not made again.
    pub gone: u64,
    /// Of the aliases, found in this run.
    pub new_aliases: u64,
    /// Of the gone ones, found in this run.
    pub new_gone: u64,
    /// Records that answered 404 and could not be judged.
    pub unjudged: u64,
    /// Records that were taken for gone and are there after all: the next run carries their contacts.
    pub found_again: u64,
    /// All links that lead nowhere, up to a bound.
    #[serde(skip)]
    pub rows: Vec<VanishedRow>,
}

/// Whether so many vanished records are more than agents delete in a day. `allowed` is a number that an operator named.
pub fn is_account_problem(vanished: u64, links: u64, allowed: Option<u64>) -> bool {
    vanished > PER_DAY.max(links / ONE_IN).max(allowed.unwrap_or(0))
}

impl<T: ContactTarget> Engine<T> {
    /// A contact whose linked record answered 404.
    pub(super) async fn vanished(&self, job: &Job, link: &Link) -> Result<Carried, RunError> {
        let id = job.contact.id;
        if self.was_deleted_by_us(link).await? {
            // It came back before the deletion was recorded.
            self.store.write(vec![WriteOp::RemoveLink(id)]).await?;
            let again = "its record was deleted while it was gone from LiveDesk; the next run creates it anew";
            return self.set_aside(job, reason(SetAsideKind::Unproven, None, Some(404), again)).await;
        }
        if !self.stop_unless_vouched(link).await? {
            let alone = "the linked record answers 404, and no other known record is there to vouch for that";
            return self.set_aside(job, reason(SetAsideKind::Unproven, None, Some(404), alone)).await;
        }
        let survivor = self.survivor(job, link.target).await?;
        self.note_vanished(link, survivor, Noticed::Carrying).await?;
        // Should this run end before it is judged, the next one looks again.
        let waiting =
            "the linked record answers 404 (merged or deleted in FIRST LINE); it is judged at the end of the run";
        let letter = reason(SetAsideKind::Unproven, None, Some(404), waiting);
        self.store.write(self.dead_letter(job, &letter)).await?;
        Ok(Carried::new(id, Outcome::Vanished))
    }

    async fn was_deleted_by_us(&self, link: &Link) -> Result<bool, RunError> {
        let journal = self.store.journal_of_contact(link.livedesk_id).await?;
        Ok(journal.iter().any(|entry| entry.action == action::DELETE && entry.target == link.target))
    }

    /// The positive control of a 404: whether another record that is known to be there answers now. `false` where nobody
    /// can vouch. That all of several are gone is no chance, and ends the run.
    pub(super) async fn stop_unless_vouched(&self, link: &Link) -> Result<bool, RunError> {
        // A role may hide what others made: only a record of the same origin vouches, where there is one.
        let made = link.origin == Origin::Created;
        let mut witnesses = self.store.live_witnesses(made, link.livedesk_id).await?;
        if witnesses.is_empty() {
            witnesses = self.store.live_witnesses(!made, link.livedesk_id).await?;
        }
        let mut missing = 0;
        for witness in &witnesses {
            match self.sight(witness.target).await? {
                Sight::Record(record) if self.testimony(witness, &record) != Testimony::Other => return Ok(true),
                Sight::Record(_) | Sight::Unreadable => {}
                Sight::Nothing => missing += 1,
            }
        }
        if missing >= WITNESSES && missing == witnesses.len() {
            return Err(RunError::Refused(format!(
                "FIRST LINE answers 404 for customer {} and for {missing} others that this state knows: this account does \
                 not see them any more; check its role, the tenant and firstline.base_url. Nothing was recorded as gone",
                link.target
            )));
        }
        Ok(false)
    }

    /// Keeps a vanished record for the judgement at the end of the run; more than a day brings ends the run.
    pub(super) async fn note_vanished(
        &self,
        link: &Link,
        alias_of: Option<FirstLineId>,
        noticed: Noticed,
    ) -> Result<(), RunError> {
        let known = link.standing != Standing::Live;
        let entry = Vanished { livedesk_id: link.livedesk_id, target: link.target, alias_of, known, noticed };
        let fresh = {
            let mut vanished = self.vanishing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if vanished.iter().all(|other| other.livedesk_id != entry.livedesk_id) {
                vanished.push(entry);
            }
            vanished.iter().filter(|entry| !entry.known).count() as u64
        };
        let links = self.store.link_count().await?;
        let since = Timestamp(self.now_ms() - DAY_MS);
        let of_the_day = self.store.vanished_since(since).await?.saturating_add(fresh);
        let rules = &self.settings.deletes;
        let allowed = rules.ceiling_percent.is_none().then_some(rules.ceiling);
        if !known && is_account_problem(of_the_day, links, allowed) {
            return Err(RunError::Refused(format!(
                "FIRST LINE answers 404 for {of_the_day} linked customers within a day: this account may not see them any \
                 more; check its role, the tenant and firstline.base_url. Those of this run were not recorded as gone. If \
                 agents did delete or merge that many, run `deskferry backfill --deletes-ceiling {}`",
                of_the_day * 2
            )));
        }
        Ok(())
    }

    /// Judges what vanished in this run, after one more look at each. A run that finds some, and every sweep, lists all links
    /// that lead nowhere.
    pub(super) async fn settle_vanished(&self, summary: &mut Summary) -> Result<(), RunError> {
        let vanished = {
            let mut vanished = self.vanishing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::take(&mut *vanished)
        };
        for entry in vanished {
            self.judge_vanished(entry, summary).await?;
        }
        if summary.sweep.is_some() {
            self.look_again(summary).await?;
        }
        let counts = &summary.vanished;
        if counts.new_aliases + counts.new_gone > 0 || (counts.aliases + counts.gone > 0 && summary.sweep.is_some()) {
            let links = self.store.vanished(u32::try_from(LISTED).unwrap_or(u32::MAX)).await?;
            summary.vanished.rows = links.iter().map(VanishedRow::of).collect();
        }
        Ok(())
    }

    /// Forgets the links of contacts whose record is known to be gone, and says how many: whoever carries them next takes them
    /// for new. A contact with a live link is refused: nobody has seen that its record is not there.
    pub(super) async fn forget_vanished(&self, ids: &[LiveDeskId]) -> Result<u64, RunError> {
        let links = self.store.links_for(ids).await?;
        if let Some(live) = ids.iter().filter_map(|id| links.get(id)).find(|link| link.standing == Standing::Live) {
            return Err(RunError::Refused(format!(
                "contact {} is linked to customer {}, which is not known to be gone; nothing was changed. `deskferry retry \
                 {0}` looks whether it is there",
                live.livedesk_id, live.target
            )));
        }
        let mut ops = Vec::new();
        for link in links.values() {
            let link_before = self.link_before(Some(link)).await?;
            let entry = self.entry(link.livedesk_id, link.target, action::UNLINK, "to be carried anew");
            ops.extend([
                WriteOp::RemoveLink(link.livedesk_id),
                WriteOp::Journal(JournalEntry { link_before, ..entry }),
            ]);
        }
        self.store.write(ops).await?;
        Ok(links.len() as u64)
    }

    /// A 404 of minutes (one of several servers that is not well) must not part a contact from its record for ever: for a
    /// week each sweep looks again at what was found gone.
    async fn look_again(&self, summary: &mut Summary) -> Result<(), RunError> {
        let now = self.now_ms();
        let (since, until) = (Timestamp(now - WEEK_MS), Timestamp(now - HOUR_MS));
        for link in self.store.vanished_between(since, until, AGAIN).await? {
            self.go_on()?;
            let Sight::Record(record) = self.sight(link.target).await? else { continue };
            if self.testimony(&link, &record) == Testimony::Other {
                continue;
            }
            let (updated_at, run) = (self.clock.now(), self.run);
            let back = Link { standing: Standing::Live, alias_of: None, fingerprint: None, updated_at, run, ..link };
            self.store.write(vec![WriteOp::PutLink(back)]).await?;
            summary.vanished.found_again += 1;
        }
        if summary.vanished.found_again > 0 {
            self.notice(format!(
                "{} customers that were taken for gone are there after all; the next run carries their contacts",
                summary.vanished.found_again
            ));
        }
        Ok(())
    }

    async fn judge_vanished(&self, entry: Vanished, summary: &mut Summary) -> Result<(), RunError> {
        let id = entry.livedesk_id;
        let Some(link) = self.store.links_for(&[id]).await?.remove(&id) else { return Ok(()) };
        let carried = entry.noticed == Noticed::Carrying;
        summary.vanished.unjudged -= u64::from(carried);
        let still_missing = link.target == entry.target && matches!(self.sight(link.target).await?, Sight::Nothing);
        if !still_missing || !self.stop_unless_vouched(&link).await? {
            if !carried {
                return Ok(());
            }
            let flapping = "the linked record answered 404 once, and not the next time; a later run looks again";
            summary.set_aside(Some(id), reason(SetAsideKind::Unproven, None, Some(404), flapping));
            return Ok(());
        }
        let standing = if entry.alias_of.is_some() { Standing::Alias } else { Standing::Gone };
        let same = link.standing == standing && link.alias_of == entry.alias_of;
        // A contact that is gone from LiveDesk was not seen because its record is looked at.
        let updated_at = if same || !carried { link.updated_at } else { self.clock.now() };
        let link = Link { standing, alias_of: entry.alias_of, updated_at, run: self.run, ..link };
        self.store.write(vec![WriteOp::PutLink(link), WriteOp::ClearDeadLetter(id)]).await?;
        let counts = &mut summary.vanished;
        match standing {
            Standing::Alias => {
                counts.aliases += 1;
                counts.new_aliases += u64::from(!entry.known);
            }
            Standing::Gone | Standing::Live => {
                counts.gone += 1;
                counts.new_gone += u64::from(!entry.known);
                if !carried {
                    return Ok(());
                }
                let gone = "the linked record is not there any more (merged or deleted in FIRST LINE); `deskferry retry ID \
                            --recreate` carries the contact anew";
                summary.set_aside(
                    Some(id),
                    SetAside { status: Some(404), ..reason(SetAsideKind::Gone, None, None, gone) },
                );
            }
        }
        Ok(())
    }
}

impl VanishedRow {
    fn of(link: &Link) -> Self {
        Self {
            livedesk_id: link.livedesk_id.0,
            firstline_id: link.target.0,
            standing: link.standing.as_str(),
            alias_of: link.alias_of.map(|id| id.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_account_problem;

    #[test]
    fn a_handful_is_agents_work_and_a_mass_is_an_account_problem() {
        for (vanished, links, allowed, problem) in [
            (1, 1, None, false),
            (20, 100, None, false),
            (21, 100, None, true),
            (1_000, 100_000, None, false),
            (1_001, 100_000, None, true),
            (100_000, 100_000, None, true),
            (50, 100, Some(60), false),
            (61, 100, Some(60), true),
        ] {
            assert_eq!(is_account_problem(vanished, links, allowed), problem, "{vanished} of {links}");
        }
    }
}
