//! One contact and its customers as they are now, each read in full.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::finding::{Class, Finding};
use super::held::{HeldRecord, print};
use super::look::Looked;
use super::{Verifier, held_of};
use crate::domain::contact::Contact;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::store::{ChildKind, Link};
use crate::sync::engine::RunError;
use crate::sync::ports::{ByIdAnswer, ContactSource, ContactTarget, PortError};
use crate::sync::stamp::StampReading;

impl<S: ContactSource, T: ContactTarget> Verifier<S, T> {
    /// Compares a contact with what FIRST LINE shows of its customers now, each read in full.
    pub(super) async fn look_live(&self, contact: &Contact) -> Result<Looked, RunError> {
        let id = contact.id;
        let mut targets: BTreeSet<FirstLineId> =
            held_of(&self.notes.stamped_for(&[id]).await?).into_iter().map(|record| record.target).collect();
        let links = self.facts(&[id], &[]).await?.links;
        targets.extend(links.get(&id).map(|link| link.target));
        let mut held = HashMap::new();
        let mut refused = Vec::new();
        self.read(targets, &mut held, &mut refused).await?;
        let found = if !held.values().any(|record| record.stamp == StampReading::Of(id)) && refused.is_empty() {
            // It may have been made since the list was read, or the list was not.
            let found = self.engine.ask_for_stamped(id).await?;
            let is_carried = || matches!(self.engine.mapping.map(contact), Ok(Some(_)));
            if found.is_none() && held.is_empty() && self.listed.is_none() && is_carried() {
                return Ok(Looked { unasked: true, ..Looked::default() });
            }
            found.unwrap_or_default()
        } else if self.options.sample.is_some() {
            self.engine.find_stamped(id).await?
        } else {
            BTreeMap::new()
        };
        let others = found.keys().copied().filter(|id| !held.contains_key(id)).collect();
        self.read(others, &mut held, &mut refused).await?;
        for (target, row) in found {
            if let Some(record) = held.get_mut(&target) {
                record.add_listed(self.engine.hold(&row, self.options.values));
            }
        }
        self.add_listed(&mut held).await?;
        let targets: Vec<FirstLineId> = held.keys().copied().collect();
        let facts = self.facts(&[id], &targets).await?;
        let mut looked = self.look(contact, &held, &facts).await?;
        looked.overlooked = match links.get(&id) {
            Some(link) if held.get(&link.target).is_some_and(|record| record.target == link.target) => {
                self.was_overlooked(link).await?
            }
            _ => false,
        };
        if let Some((target, status)) = refused.first() {
            // What cannot be read is not missing.
            looked.findings.retain(|finding| finding.class != Class::Missing);
            let finding = Finding::new(Class::Unread, id.0, None, format!("status {status}"));
            looked.findings.push(finding.with([target.0]));
        }
        for (place, kind, key) in std::mem::take(&mut looked.lost) {
            if let Some(other) = self.stands_on_another(id, kind, key, &held).await? {
                let finding = &mut looked.findings[place];
                finding.class = Class::WrongOwner;
                finding.firstline_ids.push(other.0);
                finding.detail = format!("it stands on customer {other}");
            }
        }
        Ok(looked)
    }

    /// Whether the list should have named this customer, which is there, and has not.
    async fn was_overlooked(&self, link: &Link) -> Result<bool, RunError> {
        // One that was written to since may have been made since, too.
        let was_there = self.listed.is_some_and(|began| link.updated_at < began);
        Ok(was_there && self.notes.customers(&[link.target]).await?.is_empty())
    }

    /// Adds what a read by id does not say of customers that the list says it of.
    async fn add_listed(&self, held: &mut HashMap<FirstLineId, HeldRecord>) -> Result<(), RunError> {
        let lacking = held.values().filter(|record| record.lacks_parts()).map(|record| record.target);
        let noted = held_of(&self.notes.customers(&lacking.collect::<Vec<_>>()).await?);
        let targets = noted.iter().map(|record| record.target).collect();
        for listed in noted {
            if let Some(record) = held.get_mut(&listed.target) {
                record.add_listed(listed);
            }
        }
        self.add_children(held, targets).await
    }

    /// Adds the e-mails and phones that those of these customers do not say themselves which the list has, where lists of
    /// their own said all.
    pub(super) async fn add_children(
        &self,
        held: &mut HashMap<FirstLineId, HeldRecord>,
        mut listed: Vec<FirstLineId>,
    ) -> Result<(), RunError> {
        let lacks = |record: &HeldRecord| record.emails.is_none() || record.phones.is_none();
        listed.retain(|target| held.get(target).is_some_and(lacks));
        if listed.is_empty() || !self.children_proven {
            return Ok(());
        }
        let mut rows: HashMap<FirstLineId, (Vec<i64>, Vec<i64>)> = HashMap::new();
        for (owner, kind, key) in self.notes.children_of(&listed).await? {
            let (emails, phones) = rows.entry(owner).or_default();
            match kind {
                ChildKind::Email => emails.push(key),
                ChildKind::Phone => phones.push(key),
            }
        }
        for owner in listed {
            let (emails, phones) = rows.remove(&owner).unwrap_or_default();
            if let Some(record) = held.get_mut(&owner) {
                record.add_children(emails, phones);
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        targets: BTreeSet<FirstLineId>,
        held: &mut HashMap<FirstLineId, HeldRecord>,
        refused: &mut Vec<(FirstLineId, u16)>,
    ) -> Result<(), RunError> {
        for target in targets {
            match self.engine.full_contact(target).await {
                Ok(Some(record)) => drop(held.insert(target, self.engine.hold(&record, self.options.values))),
                Ok(None) => {}
                Err(PortError::Refused { status, .. }) => refused.push((target, status)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The customer of somebody else on whom an e-mail or phone stands that this one lacks. Where that somebody has the
    /// same one (families share), it is their own.
    async fn stands_on_another(
        &self,
        id: LiveDeskId,
        kind: ChildKind,
        key: i64,
        own: &HashMap<FirstLineId, HeldRecord>,
    ) -> Result<Option<FirstLineId>, RunError> {
        for holder in self.notes.holders(kind, key).await? {
            if own.contains_key(&holder) {
                continue;
            }
            let record = match self.engine.full_contact(holder).await {
                Ok(Some(record)) => self.engine.hold(&record, false),
                Ok(None) | Err(PortError::Refused { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            if !record.children(kind).is_some_and(|rows| rows.contains(&key)) {
                continue;
            }
            match record.stamp {
                StampReading::Of(other) if self.is_forgotten(other).await? => {}
                StampReading::Of(other) if other != id && self.wishes(other, kind, key).await? => {}
                _ => return Ok(Some(holder)),
            }
        }
        Ok(None)
    }

    /// Whether a contact itself has this e-mail or phone. One that cannot be asked about is given the benefit of the doubt.
    async fn wishes(&self, id: LiveDeskId, kind: ChildKind, key: i64) -> Result<bool, RunError> {
        let Some(known) = self.known else { return Ok(true) };
        let contact = match self.source.by_id(id, known).await {
            Ok(ByIdAnswer::Found(contact)) => contact,
            Ok(ByIdAnswer::Missing) => return Ok(false),
            Ok(ByIdAnswer::Unsupported) | Err(PortError::Refused { .. }) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let Ok(Some(record)) = self.engine.mapping.map(&contact) else { return Ok(true) };
        Ok(self.engine.wished_keys(&record, kind).into_iter().map(print).any(|wished| wished == key))
    }
}
