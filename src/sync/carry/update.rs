//! A contact that is linked: read, decide, write only what is owned, then the children.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{BothChanged, Carried, Job, reason, refused, sighting};
use crate::domain::base::{Base, BaseField};
use crate::domain::outcome::{Outcome, SetAside, SetAsideKind};
use crate::domain::record::{FieldKey, is_blank};
use crate::domain::target::{TargetContact, WriteValue};
use crate::store::{JournalEntry, Link, Origin, Standing, WriteOp};
use crate::sync::children::{ChildPlan, Family, list_name};
use crate::sync::decide::{self, Authorship, Rules};
use crate::sync::engine::{Engine, RunError, UpdateSemantics};
use crate::sync::lists::ListPlan;
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::resolve::{Holders, SHARED};
use crate::sync::stamp::StampReading;

impl<T: ContactTarget> Engine<T> {
    /// Brings a linked record in step: read, decide, write only what is owned, then the children.
    pub(super) async fn update(&self, job: &Job, mut link: Link, changed: Outcome) -> Result<Carried, RunError> {
        let id = job.contact.id;
        let Some(current) = self.full_contact(link.target).await? else {
            return self.vanished(job, &link).await;
        };
        // It is there after all: a person asked for another look.
        (link.standing, link.alias_of) = (Standing::Live, None);
        match self.scheme.read(&current) {
            StampReading::Of(other) if other != id => {
                return self.conflict(job, "stamp", vec![current.id], "link").await;
            }
            _ => {}
        }
        let authorship = match link.origin {
            Origin::Created => Authorship::Ours,
            Origin::Adopted | Origin::Rebuilt | Origin::Decided => Authorship::Theirs,
        };
        let rules =
            Rules { authorship, kinds: self.mapping.kinds(), key: self.store.hash_key(), clears: self.settings.clears };
        let before = Base::decode(&link.base).map(|base| decide::arrived(base, &current, rules));
        let decision = decide::update(&job.record, &job.digests, before.as_ref(), &current, rules);
        let both_changed: Vec<BothChanged> = (decision.both_changed.iter())
            .map(|field| BothChanged { field: field.to_string(), written: decision.write.contains_key(field) })
            .collect();
        let mut write = decision.write;
        for (field, stamp) in self.scheme.fields(id) {
            if current.value(field).is_some_and(is_blank) {
                write.insert(field, WriteValue::Typed(stamp));
            }
        }
        let lists = self.plan_lists(job, before.as_ref(), current.tag_ids.as_deref(), current.company_ids.as_deref());
        let unsettled = link.fingerprint.is_none();
        let wrote_fields = !write.is_empty() || lists.writes();
        // What is told of it, however it ends from here on.
        let mut carried = Carried {
            target: Some(current.id),
            kept: decision.kept.len() as u64,
            not_shown: decision.not_shown,
            ..Carried::new(id, Outcome::Unchanged)
        };
        if wrote_fields && current.custom_unreadable && self.update_semantics() != UpdateSemantics::Partial {
            let why = "its custom fields could not be read, and what an update leaves out may be reset";
            return self.aside(job, reason(SetAsideKind::Unproven, Some("cz_cols"), None, why), carried).await;
        }
        if wrote_fields {
            // From here on the record is not what the fingerprint says, should this end in between; what the fields hold if
            // this arrives, and which tags are ours, is known whatever the answer.
            let sent: BTreeMap<FieldKey, BaseField> =
                write.keys().filter_map(|field| Some((*field, *decision.base.fields.get(field)?))).collect();
            let sending = |base: Base| Base { sent: base.sent.into_iter().chain(sent.clone()).collect(), ..base };
            link.base = sending(lists.marked(before.as_ref())).encode();
            link.fingerprint = None;
            let journal = self.before_image(job, &current, write.keys(), &lists);
            self.store.write(vec![WriteOp::PutLink(link.clone()), WriteOp::Journal(journal)]).await?;
            let mut answer = self.send_update(id, &current, lists.with(write.clone()), authorship).await;
            if let Err(RunError::Port(PortError::Refused { status, fields })) = answer {
                let resent = lists.are_named_by(&fields) && !write.is_empty();
                // Of what was refused by its status nothing was applied, so no tag is ours that was not.
                if is_refused_by(status) {
                    let untouched = before.clone().unwrap_or_default();
                    link.base = if resent { sending(untouched) } else { untouched }.encode();
                    self.store.write(vec![WriteOp::PutLink(link.clone())]).await?;
                }
                if resent {
                    // A list that is refused must not keep the fields back.
                    answer = self.send_update(id, &current, ListPlan::default().with(write), authorship).await;
                    match answer {
                        Ok(()) => carried.both_changed = both_changed,
                        Err(RunError::Port(PortError::NotFound)) => {
                            return self.vanished_after(job, &link, carried).await;
                        }
                        Err(RunError::Port(PortError::Refused { .. })) => {}
                        Err(error) => return Err(error),
                    }
                }
                return self.aside(job, refused(SetAsideKind::Refused, &fields, status), carried).await;
            }
            match answer {
                Ok(()) => {}
                Err(RunError::Port(PortError::NotFound)) => return self.vanished_after(job, &link, carried).await,
                Err(error) => return Err(error),
            }
        }
        carried.both_changed = both_changed;
        carried.lists = lists.done();
        let ours = self.store.children_of(id).await?;
        let family = Family {
            target: current.id,
            current: Some(&current),
            ours: &ours,
            authorship,
            before: before.as_ref(),
            same_lines: link.mapping_version.as_deref().is_none_or(|mark| self.mapping.has_lists_of(mark)),
            unfinished: unsettled && link.origin == Origin::Created,
        };
        let mut plan = match self.plan_children(job, family) {
            Ok(plan) => plan,
            Err(unproven) => return self.aside(job, unproven, carried).await,
        };
        match self.holders_of_new(job, &plan, current.id).await? {
            Holders::Nobody => {}
            Holders::Others { candidates, keys } => {
                let conflict = self.conflict(job, SHARED, candidates, keys).await?;
                return Ok(Carried { outcome: conflict.outcome, ..carried });
            }
            Holders::Unproven(why) => {
                return self.aside(job, reason(SetAsideKind::Unproven, None, None, why), carried).await;
            }
        }
        carried.both_changed.extend(
            plan.both_changed
                .iter()
                .map(|kind| BothChanged { field: list_name(*kind).to_owned(), written: plan.writes(*kind) }),
        );
        let wrote = wrote_fields || !plan.is_empty();
        // A create of this run whose answer was lost and found is a create.
        let unchanged = match (&changed, link.origin) {
            (Outcome::Adopted, _) => Outcome::Adopted,
            (_, Origin::Created) if unsettled && link.run == self.run => Outcome::Created,
            (_, Origin::Adopted) if unsettled && link.run == self.run => Outcome::Adopted,
            _ => Outcome::Unchanged,
        };
        carried.kept += plan.kept;
        carried.outcome = if wrote && unchanged == Outcome::Unchanged { changed } else { unchanged };
        let company_owed = lists.company_owed(decision.base.company_owed);
        let base = Base { tags: lists.tags.base, company_owed, ..decision.base };
        let mut ops = plan.opening(|rows| self.children_image(id, current.id, rows));
        if plan.is_empty() {
            ops.extend(self.settled(job, &mut link, base, current.id));
            self.store.write(ops).await?;
            return Ok(carried);
        }
        link.base = plan.opened(&base, self.store.hash_key()).encode();
        link.fingerprint = None;
        ops.insert(0, WriteOp::PutLink(link.clone()));
        self.store.write(ops).await?;
        self.finish_children(job, link, base, current.profile_id, plan, &mut carried, false).await?;
        Ok(carried)
    }

    /// Sets the contact aside, and tells what was done before.
    async fn aside(&self, job: &Job, reason: SetAside, carried: Carried) -> Result<Carried, RunError> {
        let aside = self.set_aside(job, reason).await?;
        Ok(Carried { outcome: aside.outcome, ..carried })
    }

    async fn vanished_after(&self, job: &Job, link: &Link, carried: Carried) -> Result<Carried, RunError> {
        let vanished = self.vanished(job, link).await?;
        Ok(Carried { outcome: vanished.outcome, ..carried })
    }

    /// Hangs the children, and the tags of a record that was just `made`, and records the contact as settled; the
    /// outcome says so when something is left over.
    #[expect(clippy::too_many_arguments, reason = "the two ways to a settled record end here")]
    pub(super) async fn finish_children(
        &self,
        job: &Job,
        mut link: Link,
        mut base: Base,
        profile_id: Option<i64>,
        plan: ChildPlan,
        carried: &mut Carried,
        made: bool,
    ) -> Result<(), RunError> {
        let target = link.target;
        let done = self.run_children(job, target, profile_id, plan).await?;
        let mut ops = done.ops;
        // A doubt comes first: once it is settled the contact is carried again, and what is refused then is told.
        if done.parked {
            ops.extend(sighting(job));
            carried.outcome = Outcome::Parked;
        } else if let Some(reason) = done.refused {
            ops.extend(self.dead_letter(job, &reason));
            carried.outcome = Outcome::SetAside(reason);
        } else if made && !job.record.tags.present.is_empty() {
            self.store.write(std::mem::take(&mut ops)).await?;
            match self.tag_made(job, &mut link, &mut base, &mut carried.lists).await? {
                None => ops.extend(self.settled(job, &mut link, base, target)),
                Some(reason) => {
                    ops.extend(self.dead_letter(job, &reason));
                    carried.outcome = Outcome::SetAside(reason);
                }
            }
        } else {
            ops.extend(self.settled(job, &mut link, base, target));
        }
        Ok(self.store.write(ops).await?)
    }

    fn before_image<'a>(
        &self,
        job: &Job,
        current: &TargetContact,
        fields: impl Iterator<Item = &'a FieldKey>,
        lists: &ListPlan,
    ) -> JournalEntry {
        // What the record did not say cannot be put back.
        let mut before: Map<String, Value> =
            fields.filter_map(|field| Some((field.to_string(), current.value(*field)?.clone()))).collect();
        before.extend(lists.before(current));
        JournalEntry {
            run: self.run,
            livedesk_id: job.contact.id,
            target: current.id,
            action: String::from("update"),
            before: Value::Object(before).to_string(),
            at: self.clock.now(),
        }
    }
}

/// Whether a refusal comes of an answer that says so; without one, what was sent may have been applied.
fn is_refused_by(status: u16) -> bool {
    (400..500).contains(&status)
}
