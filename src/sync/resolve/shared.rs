//! Keys that a linked contact is about to get, and that sit on records of others (`shared_keys = "conflict"`).

use super::Directory;
use crate::domain::ids::FirstLineId;
use crate::domain::record::{Desired, DesiredList, DesiredRecord};
use crate::store::ChildKind;
use crate::sync::carry::Job;
use crate::sync::children::ChildPlan;
use crate::sync::engine::{Engine, MatchKey, RunError, SharedKeys};
use crate::sync::ports::ContactTarget;

/// Who else holds what is about to be added.
#[derive(Debug)]
pub enum Holders {
    /// Nobody, or it does not matter.
    Nobody,
    /// These records; a person has to decide.
    Others {
        /// They, and the contact's own record.
        candidates: Vec<FirstLineId>,
        /// Which key hit.
        keys: &'static str,
    },
    /// The lists could not be read far enough to say.
    Unproven(&'static str),
}

impl<T: ContactTarget> Engine<T> {
    /// Looks for the addresses and numbers that `plan` adds to `own` on other records.
    pub(in crate::sync) async fn holders_of_new(
        &self,
        job: &Job,
        plan: &ChildPlan,
        own: FirstLineId,
    ) -> Result<Holders, RunError> {
        if self.settings.shared_keys == SharedKeys::Create {
            return Ok(Holders::Nobody);
        }
        for key in &self.settings.match_keys {
            let mut wished = DesiredRecord::default();
            let kind = match key {
                MatchKey::Email => ChildKind::Email,
                MatchKey::Phone => ChildKind::Phone,
            };
            let places = plan.new_places(kind);
            if places.is_empty() {
                continue;
            }
            let live = Directory::Live(Vec::new());
            let ((mut candidates, doubt), keys) = match key {
                MatchKey::Email => {
                    let all = job.record.emails.items();
                    let new = places.iter().filter_map(|place| all.get(*place).cloned()).collect();
                    wished.emails = DesiredList { value: Desired::Value(new), ..DesiredList::default() };
                    (self.email_candidates(&wished, &live).await?, "email")
                }
                MatchKey::Phone => {
                    let all = job.record.phones.items();
                    let new = places.iter().filter_map(|place| all.get(*place).cloned()).collect();
                    wished.phones = DesiredList { value: Desired::Value(new), ..DesiredList::default() };
                    (self.phone_candidates(&wished, &live).await?, "phone")
                }
            };
            candidates.retain(|candidate| *candidate != own && !job.may_share.contains(candidate));
            if !candidates.is_empty() {
                candidates.insert(own);
                return Ok(Holders::Others { candidates: candidates.into_iter().collect(), keys });
            }
            if doubt.is_some() {
                let why = "whether another customer holds its new e-mail or phone could not be read completely";
                return Ok(Holders::Unproven(why));
            }
        }
        Ok(Holders::Nobody)
    }
}
