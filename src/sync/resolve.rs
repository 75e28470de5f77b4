//! Resolve: which FIRST LINE record belongs to a contact that has no link yet.
//!
//! Stamp first, then the match keys in their configured order. A candidate counts only after it was read and compared
//! here, and "none" only where the silence was proven (design, section 4, Resolve).

mod matched;
mod rows;
mod shared;
mod survivor;

use std::collections::BTreeSet;

use crate::domain::contact::Contact;
use crate::domain::hash::Digest;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::phone::{self, Phone};
use crate::domain::record::{DesiredEmail, DesiredRecord, canonical_email};
use crate::domain::target::{TargetContact, TargetEmail, TargetPhone};
use crate::store::{IndexKind, SHARED, STAMP};
use crate::sync::engine::{Engine, MatchKey, RunError, SharedKeys};
use crate::sync::finder::{FilterForm, QueryAnswer};
use crate::sync::ports::{ChildFilter, ContactTarget, PortError};
use crate::sync::stamp::StampReading;
use crate::sync::survey::{OWNERLESS, Survey};

pub(in crate::sync) use matched::Matched;
pub use shared::Holders;

use rows::filtered;

/// Where look-ups go in this run.
#[derive(Clone, Debug)]
pub enum Directory {
    /// The target was seen empty in this very run: nothing can be found.
    Empty,
    /// The target's lists were read into the state; how far they are proven.
    Indexed(Survey),
    /// Few look-ups are needed: ask the platform, with the filters that a positive control vouched for.
    Live(Vec<FilterForm>),
}

/// What is to become of a contact without a link.
#[derive(Debug)]
pub enum Resolution {
    /// Nothing there: create.
    Create,
    /// A record that carries this contact's own stamp: link it.
    Relink(Box<TargetContact>),
    /// A record that a match key leads to: adopt it.
    Adopt(Box<TargetContact>),
    /// Several candidates, or one that belongs to somebody else.
    Conflict {
        /// A stable word: `stamp`, `several`, `shared`.
        kind: &'static str,
        /// The records in question.
        candidates: Vec<FirstLineId>,
        /// Which keys hit, in words.
        keys: &'static str,
    },
    /// Nothing was found, but the silence proves nothing.
    Unproven(&'static str),
}

/// Why it proves nothing that a key led nowhere.
#[derive(Clone, Copy)]
enum Doubt {
    /// The list was not read to its end.
    Incomplete,
    /// The key is there, on a row that does not say whose it is.
    Ownerless,
}

/// The records that a key leads to, and what keeps their number from being final.
type Candidates = (BTreeSet<FirstLineId>, Option<Doubt>);

impl<T: ContactTarget> Engine<T> {
    /// Resolves a contact that has no link.
    pub async fn resolve(
        &self,
        contact: &Contact,
        record: &DesiredRecord,
        directory: &Directory,
    ) -> Result<Resolution, RunError> {
        if matches!(directory, Directory::Empty) {
            return Ok(Resolution::Create);
        }
        if let Some(resolution) = self.resolve_by_stamp(contact.id, directory, &BTreeSet::new()).await? {
            return Ok(resolution);
        }
        for key in &self.settings.match_keys {
            let (candidates, doubt) = match key {
                MatchKey::Email => self.email_candidates(record, directory).await?,
                MatchKey::Phone => self.phone_candidates(record, directory).await?,
            };
            if let Some(resolution) = self.choose(contact.id, record, *key, candidates).await? {
                return Ok(resolution);
            }
            if let Some(doubt) = doubt {
                return Ok(Resolution::Unproven(match (key, doubt) {
                    (MatchKey::Email, Doubt::Incomplete) => "the list of e-mails could not be read completely",
                    (MatchKey::Phone, Doubt::Incomplete) => "the list of phones could not be read completely",
                    (MatchKey::Email, Doubt::Ownerless) => {
                        "its e-mail is on a row of FIRST LINE that names no customer"
                    }
                    (MatchKey::Phone, Doubt::Ownerless) => "its phone is on a row of FIRST LINE that names no customer",
                }));
            }
        }
        Ok(Resolution::Create)
    }

    /// Resolves by the stamp alone, passing by the records that are `known`; `None` where nothing else carries it.
    pub(in crate::sync) async fn resolve_by_stamp(
        &self,
        id: LiveDeskId,
        directory: &Directory,
        known: &BTreeSet<FirstLineId>,
    ) -> Result<Option<Resolution>, RunError> {
        let (candidates, proven) = match directory {
            Directory::Empty => return Ok(None),
            Directory::Indexed(survey) => {
                let key = (IndexKind::Stamp, self.stamp_digest(id));
                let hits = self.store.index_lookup(&[key]).await?.remove(&key).unwrap_or_default();
                (hits, survey.contacts_proven)
            }
            Directory::Live(trusted) => {
                let mut hits = Vec::new();
                let mut proven = false;
                let filters = self.scheme.filters(id);
                for form in trusted {
                    match self.query_stamp(id, &filters[form.0]).await? {
                        // One that finds a record that is known, and no other, says as much as one that finds none.
                        QueryAnswer::Found(records) => {
                            proven |= records.iter().all(|record| known.contains(&record.id));
                            hits.extend(records.into_iter().map(|record| record.id));
                        }
                        QueryAnswer::NotFound => proven = true,
                        QueryAnswer::Unusable => {}
                    }
                }
                (hits, proven)
            }
        };
        let mut stamped = Vec::new();
        for candidate in candidates.into_iter().filter(|id| !known.contains(id)).collect::<BTreeSet<_>>() {
            if let Some(record) = self.target.contact(candidate).await?
                && self.scheme.read(&record) == StampReading::Of(id)
            {
                stamped.push(record);
            }
        }
        Ok(match stamped.len() {
            0 if proven => None,
            0 => Some(Resolution::Unproven("the list of customers could not be read completely")),
            1 => stamped.pop().map(|record| Resolution::Relink(Box::new(record))),
            _ => Some(Resolution::Conflict {
                kind: STAMP,
                candidates: stamped.iter().map(|record| record.id).collect(),
                keys: "stamp",
            }),
        })
    }

    /// Records that hold one of the wished e-mails; and whether there may be more.
    async fn email_candidates(&self, record: &DesiredRecord, directory: &Directory) -> Result<Candidates, RunError> {
        let addresses: Vec<String> = record.emails.items().iter().map(DesiredEmail::canonical).collect();
        match directory {
            Directory::Empty => Ok((BTreeSet::new(), None)),
            Directory::Indexed(survey) => {
                let keys = addresses.iter().map(|address| (IndexKind::Email, self.email_digest(address))).collect();
                self.indexed(keys, survey.emails_proven).await
            }
            Directory::Live(_) => {
                let mut candidates = BTreeSet::new();
                for address in &addresses {
                    let filter = ChildFilter::Value(address.clone());
                    let same = |row: &TargetEmail| Some(canonical_email(&row.address) == *address);
                    let (rows, ended) = filtered(|page| self.target.emails(&filter, page), same).await?;
                    candidates.extend(rows.into_iter().map(|row| row.contact.unwrap_or(OWNERLESS)));
                    if !ended {
                        return Ok(without_ownerless(candidates, false));
                    }
                }
                Ok(without_ownerless(candidates, true))
            }
        }
    }

    /// Records that hold one of the wished phones; and whether there may be more.
    async fn phone_candidates(&self, record: &DesiredRecord, directory: &Directory) -> Result<Candidates, RunError> {
        let home = self.settings.phone_country;
        let numbers: Vec<&str> = record.phones.items().iter().map(|phone| phone.number.as_str()).collect();
        match directory {
            Directory::Empty => Ok((BTreeSet::new(), None)),
            Directory::Indexed(survey) => {
                let digest = |number: &&str| self.phone_digest(&phone::canonical(number, home));
                let keys = numbers.iter().map(|number| (IndexKind::Phone, digest(number))).collect();
                self.indexed(keys, survey.phones_proven).await
            }
            Directory::Live(_) => {
                let mut candidates = BTreeSet::new();
                for number in numbers {
                    let canonical = phone::canonical(number, home);
                    // The filter may be exact, and agents type the national form (notes FIRST LINE 6).
                    let parsed = Phone::parse(number, home);
                    let national = parsed.as_ref().map(Phone::national_digits);
                    let spellings: BTreeSet<String> =
                        [Some(number.to_owned()), Some(canonical.clone()), national].into_iter().flatten().collect();
                    for spelling in spellings {
                        let filter = ChildFilter::Value(spelling);
                        let same = |row: &TargetPhone| Some(phone::canonical(&row.number, home) == canonical);
                        let (rows, ended) = filtered(|page| self.target.phones(&filter, page), same).await?;
                        candidates.extend(rows.into_iter().map(|row| row.contact.unwrap_or(OWNERLESS)));
                        if !ended {
                            return Ok(without_ownerless(candidates, false));
                        }
                    }
                }
                Ok(without_ownerless(candidates, true))
            }
        }
    }

    async fn indexed(&self, keys: Vec<(IndexKind, Digest)>, proven: bool) -> Result<Candidates, RunError> {
        if keys.is_empty() {
            return Ok((BTreeSet::new(), None));
        }
        let candidates = self.store.index_lookup(&keys).await?.into_values().flatten().collect();
        Ok(without_ownerless(candidates, proven))
    }

    /// Picks among candidates of one key; `None` when the next key is to be asked.
    async fn choose(
        &self,
        id: LiveDeskId,
        wished: &DesiredRecord,
        key: MatchKey,
        candidates: BTreeSet<FirstLineId>,
    ) -> Result<Option<Resolution>, RunError> {
        if candidates.is_empty() {
            return Ok(None);
        }
        let ids: Vec<FirstLineId> = candidates.iter().copied().collect();
        let linked = self.store.source_of(&ids).await?;
        let decided = self.store.decided_on(&ids).await?;
        let mut free = Vec::new();
        let mut taken: Vec<FirstLineId> = linked.keys().copied().collect();
        for candidate in ids.iter().filter(|candidate| !linked.contains_key(candidate)) {
            // A person's word, and a plan's, goes before a key.
            let promised = decided.get(candidate).is_some_and(|other| *other != id);
            if promised || self.is_reserved_for_another(id, *candidate) {
                taken.push(*candidate);
                continue;
            }
            let Some(record) = self.full_contact(*candidate).await? else { continue };
            if !self.still_matches(&record, wished, key) {
                continue;
            }
            match self.scheme.read(&record) {
                StampReading::Of(other) if other != id => taken.push(record.id),
                _ => free.push(record),
            }
        }
        let keys = match key {
            MatchKey::Email => "email",
            MatchKey::Phone => "phone",
        };
        Ok(match free.len() {
            0 if taken.is_empty() || self.settings.shared_keys == SharedKeys::Create => None,
            0 => Some(Resolution::Conflict { kind: SHARED, candidates: taken, keys }),
            1 => free.pop().map(|record| Resolution::Adopt(Box::new(record))),
            _ => Some(Resolution::Conflict {
                kind: "several",
                candidates: free.iter().map(|record| record.id).collect(),
                keys,
            }),
        })
    }

    /// The index is a moment old: the record itself must still hold the key.
    fn still_matches(&self, record: &TargetContact, wished: &DesiredRecord, key: MatchKey) -> bool {
        match key {
            // A list that was not read to its end may hold it.
            MatchKey::Email => record.emails.as_ref().is_none_or(|rows| {
                let held: BTreeSet<String> = rows.iter().map(|stored| canonical_email(&stored.address)).collect();
                wished.emails.items().iter().any(|email| held.contains(&email.canonical()))
            }),
            MatchKey::Phone => record.phones.as_ref().is_none_or(|rows| {
                let home = self.settings.phone_country;
                let held: BTreeSet<String> = rows.iter().map(|stored| phone::canonical(&stored.number, home)).collect();
                wished.phones.items().iter().any(|phone| held.contains(&phone::canonical(&phone.number, home)))
            }),
        }
    }

    /// One contact with its children, which are read from their own lists where the record does not embed them. A list
    /// that has no end within reach stays unsaid: its filter is ignored, and what it holds of this contact unknown. So
    /// does one with rows that do not say whose they are.
    pub async fn full_contact(&self, id: FirstLineId) -> Result<Option<TargetContact>, PortError> {
        let Some(mut record) = self.target.contact(id).await? else { return Ok(None) };
        self.saw(id);
        let filter = ChildFilter::Contact(id);
        if record.emails.is_none() {
            let here = |row: &TargetEmail| row.contact.map(|owner| owner == id);
            let (emails, ended) = filtered(|page| self.target.emails(&filter, page), here).await?;
            record.emails = ended.then_some(emails);
        }
        if record.phones.is_none() {
            let profile = record.profile_id;
            let here = |row: &TargetPhone| match row.contact {
                Some(owner) => Some(owner == id),
                None => row.profile_id.zip(profile).map(|(owner, profile)| owner == profile),
            };
            let (phones, ended) = filtered(|page| self.target.phones(&filter, page), here).await?;
            record.phones = ended.then_some(phones);
        }
        Ok(Some(record))
    }
}

fn without_ownerless(mut candidates: BTreeSet<FirstLineId>, proven: bool) -> Candidates {
    let ownerless = candidates.remove(&OWNERLESS).then_some(Doubt::Ownerless);
    (candidates, if proven { ownerless } else { Some(Doubt::Incomplete) })
}
