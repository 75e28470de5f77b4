//! One contact: which customer is its own, what differs from it, and what the state knows to say about that.

use std::collections::{BTreeMap, HashMap};

use super::Verifier;
use super::facts::Facts;
use super::finding::{Class, Finding, Reason};
use super::held::{HeldRecord, print};
use super::judge::{self, Difference, Known, Rules, Wish};
use crate::domain::base::{Base, WishDigests, name_digest};
use crate::domain::contact::Contact;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::record::{Desired, DesiredRecord};
use crate::store::{ChildKind, Conflict, Decision, Link, Origin, Standing};
use crate::sync::engine::RunError;
use crate::sync::finder::Sight;
use crate::sync::ports::{ContactSource, ContactTarget};
use crate::sync::stamp::StampReading;

/// What a look at one contact came to.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) findings: Vec<Finding>,
    /// Fields and lists that were compared.
    pub(super) compared: Vec<String>,
    /// Its customer may say more than was read of it.
    pub(super) incomplete: bool,
    /// Its customer is known by its link alone.
    pub(super) by_link: bool,
    /// FIRST LINE could not be asked which customer it is.
    pub(super) unasked: bool,
    /// The list should have named its customer.
    pub(super) overlooked: bool,
    /// E-mails and phones that are not where they should be.
    pub(super) lost: Vec<(usize, ChildKind, i64)>,
}

impl<S: ContactSource, T: ContactTarget> Verifier<S, T> {
    /// Compares a contact with those of these customers that may be its own.
    pub(super) async fn look(
        &self,
        contact: &Contact,
        held: &HashMap<FirstLineId, HeldRecord>,
        facts: &Facts,
    ) -> Result<Looked, RunError> {
        let id = contact.id;
        let mut looked = Looked::default();
        let mut record = match self.engine.mapping.map(contact) {
            Ok(Some(record)) => record,
            Ok(None) => {
                looked.findings.push(Finding::new(Class::NotSelected, id.0, Some(Reason::NotSelected), ""));
                return Ok(looked);
            }
            Err(aside) => {
                looked.findings.push(Finding::new(Class::Unmapped, id.0, Some(Reason::SetAside), aside.to_string()));
                return Ok(looked);
            }
        };
        let survivor = facts.survivor(id, held);
        if survivor.is_some() {
            // Nothing is written to it. The list may have left the contact's own out, so it is looked for once more.
            looked.findings.push(self.missing(contact, facts, survivor));
            looked.incomplete = true;
            return Ok(looked);
        }
        let mut untagged = BTreeMap::new();
        record.tags = self.tags.wish(id, &mut untagged);
        let records = facts.candidates(id, held);
        let link = facts.links.get(&id);
        let linked = link.and_then(|link| records.iter().copied().find(|record| record.target == link.target));
        let stamped: Vec<&HeldRecord> =
            records.iter().copied().filter(|record| record.stamp == StampReading::Of(id)).collect();
        // Linked to it, and without its stamp.
        let odd = linked.filter(|linked| linked.stamp != StampReading::Of(id));
        let wrong = match odd {
            Some(odd) => self.wrong_stamp(id, odd, link).await?,
            None => None,
        };
        let own = match (stamped.as_slice(), linked) {
            ([], None) => {
                looked.findings.push(self.missing(contact, facts, None));
                return Ok(looked);
            }
            ([], Some(own)) => {
                looked.by_link = wrong.is_none();
                vec![own]
            }
            ([own], _) => {
                if let (Some(odd), None) = (odd, &wrong) {
                    let detail =
                        format!("customer {} is linked to it, and {} carries its stamp", odd.target, own.target);
                    let finding = Finding::new(Class::Duplicate, id.0, None, detail);
                    looked.findings.push(finding.with([odd.target.0, own.target.0]));
                }
                vec![*own]
            }
            (several, linked) => {
                let customers: Vec<String> = several.iter().map(|record| record.target.to_string()).collect();
                let detail = format!("customers {} all carry its stamp", customers.join(", "));
                let finding = Finding::new(Class::Duplicate, id.0, None, detail);
                looked.findings.push(finding.with(several.iter().map(|record| record.target.0)));
                linked.map_or_else(|| several.to_vec(), |own| vec![own])
            }
        };
        looked.findings.extend(wrong);
        let best = self.closest(id, &record, &untagged, &own, facts).await?;
        let Some((target, differences, compared)) = best else { return Ok(looked) };
        looked.compared = compared;
        for difference in differences {
            let Difference { class, field, unsaid, mut reason, row, livedesk_value, firstline_value } = difference;
            // Others were seen to show it: a read in full may.
            looked.incomplete |= unsaid.is_some_and(|part| self.engine.target.shown().has(part));
            if class == Class::Twice {
                let link = facts.links.get(&id).filter(|link| link.target == target);
                if let (None, Some(row), Some(link)) = (reason, row, link)
                    && self.stood_twice_before(link, row).await?
                {
                    reason = Some(Reason::Adopted);
                }
            } else if let Some((kind, key)) = row {
                let listed = own.iter().any(|held| held.target == target && held.listed.contains(&kind));
                if listed && self.notes.is_ownerless(kind, key).await? {
                    // It is there, and may be its own.
                    reason = Some(Reason::NotShown);
                } else {
                    looked.lost.push((looked.findings.len(), kind, key));
                }
            }
            let shown = |value: Option<String>| value.filter(|_| self.options.values);
            let finding = Finding {
                field: Some(field),
                livedesk_value: shown(livedesk_value),
                firstline_value: shown(firstline_value),
                ..Finding::new(class, id.0, reason, "")
            };
            looked.findings.push(finding.with([target.0]));
        }
        Ok(looked)
    }

    /// The customer from which least differs. Of twins any may be the one that was written.
    async fn closest(
        &self,
        id: LiveDeskId,
        record: &DesiredRecord,
        untagged: &BTreeMap<String, u64>,
        own: &[&HeldRecord],
        facts: &Facts,
    ) -> Result<Option<(FirstLineId, Vec<Difference>, Vec<String>)>, RunError> {
        let engine = &self.engine;
        let digests = WishDigests::of(engine.store.hash_key(), record, engine.settings.phone_country);
        let keys = |kind| engine.wished_keys(record, kind).into_iter().map(print);
        let company = match &record.company {
            Desired::Value(name) => Some(engine.find_company(name).await?.map_err(|_| ())),
            Desired::Empty | Desired::Unknown => None,
        };
        let tags = record.tags.present.iter().filter_map(|digest| {
            let rule = self.tags.rule(digest)?;
            Some((*digest, self.tags.name(digest)?.to_owned(), rule.ids.to_vec()))
        });
        // FIRST LINE has no such tag.
        let untagged =
            untagged.keys().map(|name| (name_digest(engine.store.hash_key(), name), name.clone(), Vec::new()));
        let wish = Wish {
            record,
            digests: &digests,
            emails: keys(ChildKind::Email).zip(record.emails.items().iter().map(|row| row.address.clone())).collect(),
            phones: keys(ChildKind::Phone).zip(record.phones.items().iter().map(|row| row.number.clone())).collect(),
            tags: tags.chain(untagged).collect(),
            company,
        };
        let rules = Rules {
            key: engine.store.hash_key(),
            clears: engine.settings.clears,
            is_stopped: &|field| engine.mapping.is_stopped(field),
            name: &|field| engine.mapping.field_name(field),
        };
        let decided = facts.conflicts.get(&id).map(|conflict| conflict.decision);
        let compared = own.iter().map(|held| {
            let link = facts.links.get(&id).filter(|link| link.target == held.target).cloned();
            let known = Known {
                base: link.as_ref().and_then(|link| Base::decode(&link.base)),
                link,
                set_aside: facts.dead_letters.contains_key(&id),
                in_conflict: decided == Some(None),
                left_out: decided == Some(Some(Decision::Skip)),
            };
            let (differences, compared) = judge::differences(&wish, held, &known, &rules);
            (held.target, differences, compared)
        });
        Ok(compared.min_by_key(|(_, differences, _)| {
            (differences.iter().filter(|difference| difference.reason.is_none()).count(), differences.len())
        }))
    }

    /// Whether none of two equal e-mails or phones is ours, on a customer that was there before: a second number with an extension
    /// of its own, say, which nobody here takes away.
    async fn stood_twice_before(&self, link: &Link, (kind, key): (ChildKind, i64)) -> Result<bool, RunError> {
        if !matches!(link.origin, Origin::Adopted | Origin::Decided) {
            return Ok(false);
        }
        let ours = self.engine.store.children_of(link.livedesk_id).await?;
        Ok(!ours.iter().any(|row| row.kind == kind && print(row.key) == key))
    }

    /// A contact without a customer of its own, and why, as far as the state knows.
    fn missing(&self, contact: &Contact, facts: &Facts, survivor: Option<FirstLineId>) -> Finding {
        let id = contact.id;
        let link = facts.links.get(&id);
        let conflict = facts.conflicts.get(&id);
        let letter = facts.dead_letters.get(&id);
        // What is in doubt, or was refused, of a customer that was there does not explain that it is not.
        let was_there = link.is_some_and(|link| link.standing == Standing::Live);
        let (reason, detail) = match (conflict, link, letter) {
            (Some(conflict), ..) if !was_there && conflict.decision.is_none() => {
                (Some(Reason::Conflict), conflict.kind.clone())
            }
            (Some(Conflict { decision: Some(Decision::Skip), .. }), None, _) => (Some(Reason::Decided), String::new()),
            (.., Some(letter)) if !was_there => (Some(Reason::SetAside), letter.reason().to_string()),
            _ if !was_there && facts.in_doubt.contains(&id) => (Some(Reason::InDoubt), String::new()),
            (_, Some(link), _) => {
                let gone = format!("its customer {} is not there any more", link.target);
                match (link.standing, survivor.or(link.alias_of)) {
                    (_, Some(survivor)) => {
                        (Some(Reason::MergedAtTarget), format!("its customer {} is part of {survivor}", link.target))
                    }
                    (Standing::Live, None) => (None, gone),
                    (Standing::Gone, None) => (Some(Reason::DeletedAtTarget), gone),
                    (Standing::Alias, None) => (Some(Reason::MergedAtTarget), gone),
                }
            }
            (Some(Conflict { decision: Some(_), .. }), None, _) => (Some(Reason::NotCarriedYet), String::new()),
            (_, None, _) if self.is_new(contact) => (Some(Reason::NotCarriedYet), String::new()),
            (_, None, _) if self.with_state => (None, String::from("no run has linked it")),
            (_, None, _) => (None, String::new()),
        };
        Finding::new(Class::Missing, id.0, reason, detail).with(link.map(|link| link.target.0))
    }

    /// What is wrong with the stamp of a customer that is a contact's by its link alone; nothing is, where it was there
    /// before and kept a number of its own.
    async fn wrong_stamp(
        &self,
        id: LiveDeskId,
        own: &HeldRecord,
        link: Option<&Link>,
    ) -> Result<Option<Finding>, RunError> {
        let (reason, detail) = match own.stamp {
            StampReading::Of(other) if self.is_forgotten(other).await? => {
                (None, String::from("linked to this contact and stamped for another one"))
            }
            StampReading::Of(other) if self.came_with_a_merge(other, own.target).await? => {
                let detail = format!("the customer of contact {other} was merged into it, and brought its stamp");
                (Some(Reason::MergedAtTarget), detail)
            }
            StampReading::Of(other) => (None, format!("linked to this contact and stamped for {other}")),
            StampReading::Foreign => (None, String::from("something that is no stamp of ours stands in its place")),
            StampReading::None if link.is_some_and(|link| link.origin == Origin::Created) => {
                (None, String::from("the stamp that was written is not there any more"))
            }
            StampReading::None | StampReading::NotSaid => return Ok(None),
        };
        Ok(Some(Finding::new(Class::ForeignStamp, id.0, reason, detail).with([own.target.0])))
    }

    /// Whether the customer that is linked to this contact is not there any more, so that it was merged into the one that
    /// carries its stamp.
    pub(super) async fn came_with_a_merge(&self, id: LiveDeskId, survivor: FirstLineId) -> Result<bool, RunError> {
        let Some(link) = self.facts(&[id], &[]).await?.links.remove(&id) else { return Ok(false) };
        Ok(link.alias_of == Some(survivor) || matches!(self.engine.sight(link.target).await?, Sight::Nothing))
    }
}
