//! The step after a sweep: judges every link, asks LiveDesk about those that are absent, and does what may be done.
//!
//! It runs when everything that the sweep brought is carried, so that whoever survived a merge stands at FIRST LINE before
//! the other one is touched. Links are read page by page; what is kept in memory is bounded by the ceiling and by
//! [`ASKED`].

use std::collections::BTreeMap;

use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::Verdict;
use crate::store::{Absence, Deletion, Finding, Mark, ProvenSweep, Seen, WriteOp};
use crate::sync::absence::{
    AbsenceSummary, DeleteCeiling, DeleteRules, Judgement, Next, Policy, Rest, allowed, judge, within_ceiling,
};
use crate::sync::engine::{Engine, RunError};
use crate::sync::lookup::{OLDEST_FIRST, read_one};
use crate::sync::ports::{ByIdAnswer, ContactSource, ContactTarget, PortError};
use crate::sync::summary::Summary;

/// Links that are judged at once.
const AT_ONCE: u32 = 500;
/// Contacts that one run asks LiveDesk about by id, beside those that it is about to do something about.
const ASKED: usize = 200;
/// Contacts that are asked about between two looks at a known one.
const PER_CONTROL: usize = 10;
/// A contact that was found hidden, or that could not be asked about, is asked about again after this long.
pub(super) const ASK_AGAIN_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// What a walk over the links found.
#[derive(Default)]
struct Found {
    /// What is to be done, as far as it is kept.
    candidates: Vec<Candidate>,
    /// How much that is in all.
    wanted: u64,
    /// What came to nothing before, and is to be tried again: where the ceiling leaves room.
    again: Vec<Candidate>,
    /// Contacts to ask about, although nothing is to be done about them now.
    curious: Vec<Seen>,
}

/// An absent contact about which something is to be done.
pub(super) struct Candidate {
    pub(super) seen: Seen,
    pub(super) absence: Absence,
    pub(super) next: Next,
}

impl<T: ContactTarget> Engine<T> {
    /// Judges absence after a sweep that came to its end, and acts as the policy says. Sweeps that are not proven judge
    /// nobody, but show who is back.
    pub(in crate::sync) async fn judge_absence<S: ContactSource>(
        &self,
        source: &S,
        summary: &mut Summary,
    ) -> Result<(), RunError> {
        let Some(report) = &summary.sweep else { return Ok(()) };
        let rules = &self.settings.deletes;
        let proven = match report.verdict {
            Verdict::Proven => self.store.proven_sweeps(rules.absences.max(1)).await?,
            Verdict::Counted | Verdict::Short { .. } => Vec::new(),
        };
        let mut told = AbsenceSummary::default();
        if let Some(cut) = rules.cut(&proven) {
            // What waits for somebody who is gone would keep its record from being marked or deleted for ever.
            told.letters = self.store.clear_dead_letters_unseen_since(cut).await?;
        }
        let result = self.judge_and_act(source, &proven, &mut told, &mut summary.delete_ceiling).await;
        if let Some(hit) = &summary.delete_ceiling {
            self.notice(ceiling_text(*hit, rules));
        }
        summary.absence = told;
        result
    }

    async fn judge_and_act<S: ContactSource>(
        &self,
        source: &S,
        proven: &[ProvenSweep],
        told: &mut AbsenceSummary,
        ceiling: &mut Option<DeleteCeiling>,
    ) -> Result<(), RunError> {
        let mut found = self.judge_links(proven, told).await?;
        if found.candidates.is_empty() && found.again.is_empty() && found.curious.is_empty() {
            return Ok(());
        }
        let links = self.store.standings().await?.live;
        let rules = &self.settings.deletes;
        let Some(known) = self.known_contact(source).await? else {
            // Nobody at all is listed: there is nothing to hold an absence against.
            return Ok(());
        };
        // So many that not all are kept: asking could not bring them below the ceiling.
        if found.wanted == found.candidates.len() as u64 {
            self.ask_about(source, known, &mut found.candidates).await?;
        }
        self.ask_curious(source, known, &found.curious, told).await?;
        let kept = found.candidates.len() as u64;
        let mut due = self.let_through(found.candidates, told).await?;
        let wanted = due.len() as u64 + (found.wanted - kept);
        if let Err(hit) = within_ceiling(wanted, rules, links) {
            for candidate in &due {
                told.list(&candidate.seen, candidate.absence.finding, "above the ceiling");
            }
            *ceiling = Some(hit);
        }
        // What FIRST LINE would not have before stands in nobody's way.
        let room = if ceiling.is_some() { 0 } else { rules.limit(links).saturating_sub(wanted) };
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(found.again.len());
        for Candidate { seen, absence, .. } in found.again.drain(room..) {
            rest(told, &seen, absence.finding, Rest::Refused.as_str());
        }
        if ceiling.is_some() {
            return Ok(());
        }
        self.ask_about(source, known, &mut found.again).await?;
        due.extend(self.let_through(found.again, told).await?);
        self.act(source, known, due, told).await
    }

    /// Those of whom a read by id allows what is to be done.
    async fn let_through(
        &self,
        candidates: Vec<Candidate>,
        told: &mut AbsenceSummary,
    ) -> Result<Vec<Candidate>, RunError> {
        let mut due = Vec::new();
        for candidate in candidates {
            let Candidate { seen, absence, next } = &candidate;
            if allowed(*next, absence.finding) {
                due.push(candidate);
            } else if absence.finding == Finding::Hidden {
                told.hidden += 1;
                rest(told, seen, absence.finding, Rest::Hidden.as_str());
                self.take_mark_off_hidden(seen, absence, told).await?;
            } else {
                // Without a read by id that says 404 nothing is deleted.
                rest(told, seen, absence.finding, "unproven");
            }
        }
        Ok(due)
    }

    /// Judges every link that may be absent or was; deals with those that are back; notes those that are newly absent.
    async fn judge_links(&self, proven: &[ProvenSweep], told: &mut AbsenceSummary) -> Result<Found, RunError> {
        let rules = &self.settings.deletes;
        let cut = rules.cut(proven);
        let keep = usize::try_from(rules.ceiling).unwrap_or(usize::MAX).saturating_add(ASKED);
        let now = self.clock.now();
        let mut found = Found::default();
        let mut after = LiveDeskId(i64::MIN);
        loop {
            let page = self.store.maybe_absent(cut, after, AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = last.livedesk_id;
            let mut ops = Vec::new();
            for seen in page {
                let next = match judge(&seen, proven, rules, now) {
                    Judgement::Present => continue,
                    Judgement::Back => {
                        told.back += 1;
                        self.welcome_back(&seen, told).await?;
                        continue;
                    }
                    Judgement::Absent(next) => next,
                };
                told.absent += 1;
                let absence = seen.absence.clone().unwrap_or_else(|| {
                    told.new += 1;
                    let absence = self.first_judged(seen.livedesk_id);
                    ops.push(WriteOp::PutAbsence(absence.clone()));
                    absence
                });
                match next {
                    Next::Rest(reason) => {
                        told.hidden += u64::from(reason == Rest::Hidden);
                        rest(told, &seen, absence.finding, reason.as_str());
                        // When those are tried again they are asked about.
                        let is_curious = reason != Rest::Refused && is_worth_asking(&absence, now.0);
                        if found.curious.len() < ASKED && is_curious {
                            found.curious.push(Seen { absence: Some(absence), ..seen });
                        }
                    }
                    Next::Mark | Next::Delete if absence.has_failed() => {
                        if found.again.len() < keep {
                            found.again.push(Candidate { seen, absence, next });
                        } else {
                            rest(told, &seen, absence.finding, Rest::Refused.as_str());
                        }
                    }
                    Next::Mark | Next::Delete => {
                        found.wanted += 1;
                        if found.candidates.len() < keep {
                            found.candidates.push(Candidate { seen, absence, next });
                        }
                    }
                }
            }
            self.store.write(ops).await?;
        }
    }

    fn first_judged(&self, id: LiveDeskId) -> Absence {
        Absence {
            livedesk_id: id,
            since: self.clock.now(),
            finding: Finding::Unasked,
            asked_at: None,
            mark: Mark::None,
            place: None,
            deletion: Deletion::None,
            why: None,
            run: self.run,
        }
    }

    /// A contact that LiveDesk lists now.
    async fn known_contact<S: ContactSource>(&self, source: &S) -> Result<Option<LiveDeskId>, RunError> {
        Ok(source.page(OLDEST_FIRST).await?.rows.first().map(|row| row.id))
    }

    async fn ask_about<S: ContactSource>(
        &self,
        source: &S,
        known: LiveDeskId,
        candidates: &mut [Candidate],
    ) -> Result<(), RunError> {
        for group in candidates.chunks_mut(PER_CONTROL) {
            let ids: Vec<LiveDeskId> = group.iter().map(|candidate| candidate.seen.livedesk_id).collect();
            let findings = self.findings(source, known, &ids).await?;
            let mut ops = Vec::new();
            for candidate in group {
                candidate.absence = self.asked(&candidate.absence, &findings);
                ops.push(WriteOp::PutAbsence(candidate.absence.clone()));
            }
            self.store.write(ops).await?;
        }
        Ok(())
    }

    async fn ask_curious<S: ContactSource>(
        &self,
        source: &S,
        known: LiveDeskId,
        curious: &[Seen],
        told: &mut AbsenceSummary,
    ) -> Result<(), RunError> {
        for group in curious.chunks(PER_CONTROL) {
            let ids: Vec<LiveDeskId> = group.iter().map(|seen| seen.livedesk_id).collect();
            let findings = self.findings(source, known, &ids).await?;
            let mut ops = Vec::new();
            for seen in group {
                let Some(before) = &seen.absence else { continue };
                let after = self.asked(before, &findings);
                told.hidden += u64::from(after.finding == Finding::Hidden && before.finding != Finding::Hidden);
                told.refine(seen.livedesk_id, after.finding);
                ops.push(WriteOp::PutAbsence(after.clone()));
                self.store.write(std::mem::take(&mut ops)).await?;
                if after.finding == Finding::Hidden {
                    self.take_mark_off_hidden(seen, &after, told).await?;
                }
            }
        }
        Ok(())
    }

    fn asked(&self, before: &Absence, findings: &BTreeMap<LiveDeskId, Finding>) -> Absence {
        let finding = findings.get(&before.livedesk_id).copied().unwrap_or(Finding::Unknown);
        Absence { finding, asked_at: Some(self.clock.now()), run: self.run, ..before.clone() }
    }

    /// Asks LiveDesk about these contacts by id. A known contact is asked about last; where that is not found, the others'
    /// absence says nothing.
    pub(super) async fn findings<S: ContactSource>(
        &self,
        source: &S,
        known: LiveDeskId,
        ids: &[LiveDeskId],
    ) -> Result<BTreeMap<LiveDeskId, Finding>, RunError> {
        let mut findings = BTreeMap::new();
        for id in ids {
            self.go_on()?;
            let finding = match read_one(source, *id, known).await? {
                Some(ByIdAnswer::Found(_)) => Finding::Hidden,
                Some(ByIdAnswer::Missing) => Finding::Missing,
                Some(ByIdAnswer::Unsupported) | None => Finding::Unknown,
            };
            findings.insert(*id, finding);
        }
        if findings.values().any(|finding| *finding == Finding::Missing) {
            let vouched = match source.by_id(known, known).await {
                Ok(ByIdAnswer::Found(contact)) => contact.id == known,
                Ok(_) | Err(PortError::Refused { .. } | PortError::NotFound) => false,
                Err(error) => return Err(error.into()),
            };
            if !vouched {
                let missing = findings.values_mut().filter(|finding| **finding == Finding::Missing);
                missing.for_each(|finding| *finding = Finding::Unknown);
            }
        }
        Ok(findings)
    }
}

impl AbsenceSummary {
    /// What was found out about a contact that is listed already.
    fn refine(&mut self, id: LiveDeskId, finding: Finding) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.livedesk_id == id.0) {
            row.finding = finding.as_str();
        }
    }
}

fn rest(told: &mut AbsenceSummary, seen: &Seen, finding: Finding, reason: &str) {
    *told.resting.entry(reason.to_owned()).or_default() += 1;
    told.list(seen, finding, reason);
}

/// An id is never used again, so what was missing once stays so; whoever is hidden may be deleted later.
fn is_worth_asking(absence: &Absence, now: i64) -> bool {
    match absence.finding {
        Finding::Missing => false,
        Finding::Unasked => true,
        Finding::Hidden | Finding::Unknown => absence.asked_at.is_none_or(|at| now - at.0 >= ASK_AGAIN_MS),
    }
}

fn ceiling_text(hit: DeleteCeiling, rules: &DeleteRules) -> String {
    let what = match rules.policy {
        Policy::Delete => "deleted",
        Policy::Mark(_) | Policy::Ignore => "marked",
    };
    format!(
        "{} records would be {what} because their contact is gone from LiveDesk, the ceiling is {}: nothing was done; look at \
         the list of absent contacts, and if it is right run `deskferry backfill --deletes-ceiling {}`, or raise \
         deletes.ceiling and deletes.ceiling_percent",
        hit.candidates, hit.ceiling, hit.candidates
    )
}
