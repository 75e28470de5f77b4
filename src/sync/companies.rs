//! Companies: linking a contact to one that is there, by its exact name.
//!
//! Names are searched fuzzily or not at all (notes FIRST LINE 9) and compared here. What was found is kept for the run, by
//! the digest of the name. None is ever made: FIRST LINE does not document how.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use tokio::sync::Mutex;

use crate::domain::base::{Base, name_digest};
use crate::domain::hash::Digest;
use crate::domain::record::Desired;
use crate::sync::carry::Job;
use crate::sync::engine::{Engine, RunError};
use crate::sync::ports::{ContactTarget, Named, PortError};

/// Names that are kept; the rest is asked for again.
const KEPT: usize = 100_000;
/// A name that no company has.
pub const NO_SUCH_COMPANY: &str = "deskferry-no-such-company";

/// What a run did about companies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CompanySummary {
    /// Contacts that were linked to their company.
    pub linked: u64,
    /// Contacts whose company is not there.
    pub not_found: u64,
    /// Contacts whose company is there more than once: not linked.
    pub several: u64,
    /// Contacts whose company could not be looked up.
    pub unknown: u64,
    /// Contacts whose record does not show its companies, so that none could be added to them.
    pub not_shown: u64,
}

/// What became of one contact's company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompanyOutcome {
    /// Linked in this run.
    Linked,
    /// Not there.
    NotFound,
    /// There more than once.
    Several,
    /// Could not be looked up.
    Unknown,
    /// The record does not show its companies.
    NotShown,
}

impl CompanySummary {
    /// Counts one contact.
    pub fn count(&mut self, outcome: CompanyOutcome) {
        match outcome {
            CompanyOutcome::Linked => self.linked += 1,
            CompanyOutcome::NotFound => self.not_found += 1,
            CompanyOutcome::Several => self.several += 1,
            CompanyOutcome::Unknown => self.unknown += 1,
            CompanyOutcome::NotShown => self.not_shown += 1,
        }
    }
}

/// A company as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    One(i64),
    Several,
}

/// What is known of the companies in this run.
#[derive(Debug, Default)]
pub(super) struct Companies(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By the digest of the name; `None`: not there.
    found: HashMap<Digest, Option<Found>>,
    /// The filter was found to be ignored: `found` holds every company.
    whole: bool,
    /// Whether the filter has been tried.
    tried: bool,
    /// There are no companies here, or not for this account.
    missing: bool,
}

impl Known {
    fn note(&mut self, digest: impl Fn(&str) -> Digest, rows: &[Named]) {
        let mut seen = HashSet::new();
        for row in rows {
            let name = digest(&row.name);
            let found = if seen.insert(name) { Found::One(row.id) } else { Found::Several };
            self.found.insert(name, Some(found));
        }
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Looks the company of a contact up, where it is to be linked anew. What cannot be linked is unknown in this run, so
    /// that the next one looks again.
    pub(super) async fn resolve_company(&self, job: &mut Job) -> Result<(), RunError> {
        let Desired::Value(name) = &job.record.company else { return Ok(()) };
        let before = job.link.as_ref().and_then(|link| Base::decode(&link.base));
        let settled = |base: &Base| !base.company_owed && base.company.is_some() && base.company == job.digests.company;
        if before.as_ref().is_some_and(settled) {
            return Ok(());
        }
        let outcome = match self.find_company(name).await? {
            Ok(id) => {
                job.company = Some(id);
                return Ok(());
            }
            Err(outcome) => outcome,
        };
        job.company_outcome = Some(outcome);
        job.record.company = Desired::Unknown;
        job.digests.company = None;
        job.settles = self.fingerprint(job, before.as_ref());
        Ok(())
    }

    /// The company of this name, asked for once.
    pub(super) async fn find_company(&self, name: &str) -> Result<Result<i64, CompanyOutcome>, RunError> {
        let digest = |name: &str| name_digest(self.store.hash_key(), name);
        // One at a time: many contacts of one company come together.
        let mut known = self.companies.0.lock().await;
        if known.missing {
            return Ok(Err(CompanyOutcome::Unknown));
        }
        let wanted = digest(name);
        if !known.whole && !known.found.contains_key(&wanted) {
            if known.found.len() >= KEPT {
                known.found.clear();
            }
            match self.target.companies(name).await {
                Ok(Some(rows)) => {
                    self.try_filter(&mut known, name, &rows).await?;
                    let exact: Vec<Named> = rows.into_iter().filter(|row| row.name == name).collect();
                    known.found.insert(wanted, None);
                    known.note(digest, &exact);
                }
                Ok(None) | Err(PortError::Refused { status: 403, .. }) => {
                    known.missing = true;
                    self.notice(
                        "FIRST LINE has no /company for this account (an old tenant, or the role): no company is linked",
                    );
                    return Ok(Err(CompanyOutcome::Unknown));
                }
                Err(PortError::Refused { .. } | PortError::NotFound) => return Ok(Err(CompanyOutcome::Unknown)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(match known.found.get(&wanted).copied().flatten() {
            Some(Found::One(id)) => Ok(id),
            Some(Found::Several) => Err(CompanyOutcome::Several),
            None => Err(CompanyOutcome::NotFound),
        })
    }

    /// A filter that lets others through may be ignored: then one answer is the whole list, and enough for the run.
    async fn try_filter(&self, known: &mut Known, name: &str, rows: &[Named]) -> Result<(), RunError> {
        let part = |row: &Named| row.name.to_lowercase().contains(&name.to_lowercase());
        if known.tried || rows.iter().all(part) {
            return Ok(());
        }
        known.tried = true;
        match self.target.companies(NO_SUCH_COMPANY).await {
            Ok(Some(all)) if !all.is_empty() && all.len() >= rows.len() => {
                known.whole = true;
                known.note(|name| name_digest(self.store.hash_key(), name), &all);
                Ok(())
            }
            Ok(_) | Err(PortError::Refused { .. } | PortError::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
