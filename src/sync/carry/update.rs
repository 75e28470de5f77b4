//! A contact that is linked: read, decide, write only what is owned, then the children.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{BothChanged, Carried, Job, is_refused_by, reason, refused, sighting};
use crate::domain::base::{Base, BaseField};
use crate::domain::ids::FirstLineId;
use crate::domain::outcome::{Outcome, SetAside, SetAsideKind};
use crate::domain::record::{FieldKey, is_blank};
use crate::domain::target::{ContactWrite, TargetContact, WriteValue};
use crate::store::{Conflict, Decision, JournalEntry, Link, LinkChild, Origin, SHARED, STAMP, Standing, WriteOp};
use crate::sync::children::{ChildPlan, Family, list_name};
use crate::sync::decide::{self, Authorship, Rules};
use crate::sync::engine::{Engine, RunError, UpdateSemantics};
use crate::sync::journal::{self, action};
use crate::sync::lists::ListPlan;
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::proposal::Considered;
use crate::sync::resolve::Holders;
use crate::sync::stamp::StampReading;

const OTHER_STAMP: &str = "the customer that was decided on carries another contact's stamp, which is not written over: empty it in FIRST LINE, or \
    write this contact's there; then `deskferry retry ID`";

/// What is decided about the children of a linked record.
enum Children {
    /// This is to be sent.
    Plan(ChildPlan),
    /// They could not be read completely.
    Unproven(SetAside),
    /// What is new hangs on other records already.
    Shared { candidates: Vec<FirstLineId>, keys: &'static str },
}

impl Children {
    fn plan(&self) -> Option<&ChildPlan> {
        match self {
            Self::Plan(plan) => Some(plan),
            Self::Unproven(_) | Self::Shared { .. } => None,
        }
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Brings a linked record in step: read, decide, write only what is owned, then the children.
    pub(super) async fn update(&self, job: &Job, mut link: Link, changed: Outcome) -> Result<Carried, RunError> {
        let id = job.contact.id;
        let Some(current) = self.full_contact(link.target).await? else {
            return self.vanished(job, &link).await;
        };
        let was = link.clone();
        // It is there after all: a person asked for another look.
        (link.standing, link.alias_of) = (Standing::Live, None);
        let is_answered = |doubt: &Conflict| {
            doubt.kind == STAMP && doubt.decision == Some(Decision::Link(current.id)) && doubt.carried_to.is_none()
        };
        match self.scheme.read(&current) {
            // A person knows whose it is, but what an agent wrote is not written over.
            StampReading::Of(other) if other != id && job.doubt.as_ref().is_some_and(is_answered) => {
                return self.set_aside(job, reason(SetAsideKind::Unproven, None, None, OTHER_STAMP)).await;
            }
            StampReading::Of(other) if other != id => {
                return self.conflict(job, STAMP, vec![current.id], "link").await;
            }
            _ => {}
        }
        let authorship = authorship_of(&link);
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
        let ours = self.store.children_of(id).await?;
        // Somebody who is asked first is shown all that is decided; else the children are looked at once the fields stand.
        let mut early = None;
        if self.overseer.is_some() {
            let decided = self.children_of_linked(job, (&was, &ours), &current, before.as_ref()).await?;
            let considered = Considered {
                current: &current,
                write: &write,
                grounds: &decision.grounds,
                lists: &lists,
                children: decided.plan(),
            };
            if let Some(moved) = self.ask_update(job, changed == Outcome::Adopted, considered).await? {
                return self.left_alone(job, &was, moved).await;
            }
            early = Some(decided);
        }
        if let Some(why) = self.leave_behind(job, Some(current.id)).await? {
            return self.aside(job, why, carried).await;
        }
        let mut link_before = None;
        if wrote_fields {
            link_before = Some(journal::link_image(&was, &ours));
            // From here on the record is not what the fingerprint says, should this end in between; what the fields hold if
            // this arrives, and which tags are ours, is known whatever the answer.
            let sent: BTreeMap<FieldKey, BaseField> =
                write.keys().filter_map(|field| Some((*field, *decision.base.fields.get(field)?))).collect();
            let sending = |base: Base| Base { sent: base.sent.into_iter().chain(sent.clone()).collect(), ..base };
            link.base = sending(lists.marked(before.as_ref())).encode();
            link.fingerprint = None;
            let whole = lists.with(write.clone());
            let entry = self.before_image(job, &current, &whole, &lists);
            let why = if was.fingerprint.is_none() { "not settled yet" } else { "source changed" };
            let entry = JournalEntry { link_before: link_before.clone(), why: why.to_owned(), ..entry };
            self.store.write(vec![WriteOp::PutLink(link.clone()), WriteOp::Journal(entry)]).await?;
            let mut answer = self.send_update(id, &current, whole, authorship).await;
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
        let decided = match early {
            Some(decided) => decided,
            None => self.children_of_linked(job, (&was, &ours), &current, before.as_ref()).await?,
        };
        let mut plan = match decided {
            Children::Plan(plan) => plan,
            Children::Unproven(unproven) => return self.aside(job, unproven, carried).await,
            Children::Shared { candidates, keys } => {
                let conflict = self.conflict(job, SHARED, candidates, keys).await?;
                return Ok(Carried { outcome: conflict.outcome, ..carried });
            }
        };
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
            // One that was linked by this run and had to wait is an adoption, however its record was found.
            (_, Origin::Adopted | Origin::Rebuilt | Origin::Decided) if unsettled && link.run == self.run => {
                Outcome::Adopted
            }
            _ => Outcome::Unchanged,
        };
        carried.kept += plan.kept;
        carried.outcome = if wrote && unchanged == Outcome::Unchanged { changed } else { unchanged };
        let company_owed = lists.company_owed(decision.base.company_owed);
        let base = Base { tags: lists.tags.base, company_owed, ..decision.base };
        if !plan.is_empty() {
            let link_before = link_before.unwrap_or_else(|| journal::link_image(&was, &ours));
            plan = plan.with_link_before(Some(link_before));
        }
        let mut ops = plan.opening(|rows, after| self.children_image(id, current.id, rows, after));
        if unsettled {
            // It stands, so a deletion that an undo wrote down, and that nobody went on with, did not take place.
            ops.push(journal::not_deleted(id, current.id));
        }
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

    /// What is to be done about the children of a linked record. Sends nothing but look-ups.
    async fn children_of_linked(
        &self,
        job: &Job,
        (link, ours): (&Link, &[LinkChild]),
        current: &TargetContact,
        before: Option<&Base>,
    ) -> Result<Children, RunError> {
        let family = Family {
            target: current.id,
            current: Some(current),
            ours,
            authorship: authorship_of(link),
            before,
            same_lines: link.mapping_version.as_deref().is_none_or(|mark| self.mapping.has_lists_of(mark)),
            unfinished: link.fingerprint.is_none() && link.origin == Origin::Created,
        };
        let plan = match self.plan_children(job, family) {
            Ok(plan) => plan,
            Err(unproven) => return Ok(Children::Unproven(unproven)),
        };
        Ok(match self.holders_of_new(job, &plan, current.id).await? {
            Holders::Nobody => Children::Plan(plan),
            Holders::Others { candidates, keys } => Children::Shared { candidates, keys },
            Holders::Unproven(why) => Children::Unproven(reason(SetAsideKind::Unproven, None, None, why)),
        })
    }

    /// The contact is left as it was: so is its link, where this look has put another one in its place.
    async fn left_alone(&self, job: &Job, link: &Link, moved: Carried) -> Result<Carried, RunError> {
        let mut ops = Vec::new();
        if job.link.as_ref() != Some(link) {
            ops = self.not_linked(link).await?;
            ops.extend(job.carried(None, job.doubt.as_ref().and_then(|doubt| doubt.left_behind)));
        }
        // An earlier create that it was to take the place of is still to be repeated.
        ops.extend(job.superseded.as_ref().map(|old| WriteOp::AbsentIntent { seq: old.seq }));
        self.store.write(ops).await?;
        Ok(moved)
    }

    /// Puts back what stood before a link that this run has just made, and strikes it out of the journal.
    async fn not_linked(&self, link: &Link) -> Result<Vec<WriteOp>, RunError> {
        let (id, run, target) = (link.livedesk_id, self.run, link.target);
        let journal = self.store.journal_of_contact(id).await?;
        let row = journal.iter().find(|row| row.run == run && row.target == target && row.action == action::ADOPT);
        let was = row.and_then(|row| journal::read_link_image(id, row.link_before.as_deref()?)).flatten();
        let mut ops = vec![
            WriteOp::RemoveLink(id),
            WriteOp::NotDone { run: Some(run), livedesk_id: id, target, action: action::ADOPT },
        ];
        if let Some((link, children)) = was {
            ops.push(WriteOp::PutLink(link));
            ops.extend(children.into_iter().map(WriteOp::PutChild));
        }
        Ok(ops)
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

    pub(super) fn before_image(
        &self,
        job: &Job,
        current: &TargetContact,
        write: &ContactWrite,
        lists: &ListPlan,
    ) -> JournalEntry {
        // What the record did not say cannot be put back.
        let fields = write.fields.keys();
        let mut before: Map<String, Value> =
            fields.filter_map(|field| Some((field.to_string(), current.value(*field)?.clone()))).collect();
        before.extend(lists.before(current));
        let held = (current.tag_ids.as_deref(), current.company_ids.as_deref());
        let after = journal::written(write, held, &self.kinds, self.store.hash_key());
        JournalEntry {
            before: Value::Object(before).to_string(),
            after: Some(Value::Object(after).to_string()),
            ..self.entry(job.contact.id, current.id, action::UPDATE, "source changed")
        }
    }
}

fn authorship_of(link: &Link) -> Authorship {
    match link.origin {
        Origin::Created => Authorship::Ours,
        Origin::Adopted | Origin::Rebuilt | Origin::Decided => Authorship::Theirs,
    }
}
