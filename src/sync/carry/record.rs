//! The rows that say what became of a contact: settled, set aside, in conflict.

use super::{Carried, Job, sighting};
use crate::domain::base::Base;
use crate::domain::hash::Digest;
use crate::domain::ids::FirstLineId;
use crate::domain::outcome::{Outcome, SetAside};
use crate::domain::record::Desired;
use crate::store::{Conflict, Link, WriteOp};
use crate::sync::engine::{Engine, RunError, SharedKeys};
use crate::sync::ports::ContactTarget;

impl<T: ContactTarget> Engine<T> {
    /// The rows that say "this contact is done": link with fingerprint, sighting, nothing left over.
    pub(super) fn settled(&self, job: &Job, link: &mut Link, mut base: Base, target: FirstLineId) -> Vec<WriteOp> {
        base.emails = job.digests.emails.or(base.emails);
        base.phones = job.digests.phones.or(base.phones);
        match job.record.company {
            Desired::Unknown => {}
            Desired::Empty => (base.company, base.company_owed) = (None, false),
            Desired::Value(_) => base.company = job.digests.company,
        }
        link.base = base.encode();
        link.fingerprint = Some(self.fingerprint(job, Some(&base)));
        link.mapping_version = Some(self.mapping.mark_after(link.mapping_version.as_deref(), &job.record));
        link.updated_at = self.clock.now();
        let mut ops = vec![WriteOp::PutLink(link.clone())];
        if job.dead_letter.is_some() {
            ops.push(WriteOp::ClearDeadLetter(job.contact.id));
        }
        if job.doubt.as_ref().is_some_and(|doubt| doubt.decision.is_none()) {
            ops.push(WriteOp::ClearConflict(job.contact.id));
        }
        ops.extend(job.carried(Some(target), None));
        if self.settings.shared_keys == SharedKeys::Conflict {
            ops.extend(job.record.emails.items().iter().map(|email| self.index_email(&email.address, target)));
            ops.extend(job.record.phones.items().iter().map(|phone| self.index_phone(&phone.number, target)));
        }
        ops.extend(sighting(job));
        ops
    }

    /// The fingerprint of what a job wishes, beside this base.
    pub(in crate::sync) fn fingerprint(&self, job: &Job, base: Option<&Base>) -> Digest {
        job.digests.fingerprint(self.store.hash_key(), &job.record, base, self.mapping.version(), self.shown)
    }

    pub(in crate::sync) fn dead_letter(&self, job: &Job, reason: &SetAside) -> Vec<WriteOp> {
        let letter = self.letter(job.contact.id, reason, Some(job.fingerprint), job.dead_letter.as_ref());
        let mut ops = vec![WriteOp::PutDeadLetter(letter)];
        ops.extend(sighting(job));
        ops
    }

    pub(in crate::sync) async fn set_aside(&self, job: &Job, reason: SetAside) -> Result<Carried, RunError> {
        self.store.write(self.dead_letter(job, &reason)).await?;
        Ok(Carried::new(job.contact.id, Outcome::SetAside(reason)))
    }

    pub(super) async fn conflict(
        &self,
        job: &Job,
        kind: &str,
        candidates: Vec<FirstLineId>,
        keys: &str,
    ) -> Result<Carried, RunError> {
        let id = job.contact.id;
        // Whom an earlier decision left behind is not forgotten with it.
        let known = self.store.conflict_for(&[id]).await?.remove(&id);
        let conflict = Conflict {
            livedesk_id: id,
            kind: kind.to_owned(),
            candidates,
            keys: keys.to_owned(),
            run: self.run,
            at: self.clock.now(),
            decision: None,
            carried_to: None,
            left_behind: known.and_then(|known| known.left_behind),
        };
        // A decision that led to another conflict is used up: this is a new question.
        let answered = job.decision().map(|_| WriteOp::ClearConflict(id));
        let mut ops: Vec<WriteOp> = answered.into_iter().chain([WriteOp::PutConflict(conflict)]).collect();
        ops.extend(sighting(job));
        self.store.write(ops).await?;
        Ok(Carried::new(id, Outcome::Conflict))
    }
}
