//! The base of a contact's link while a run is taken back, and after it where not all of it goes back. Pure.
//!
//! Whoever comes next, be it another run than the same undo, must neither take what was restored for an agent's word, nor
//! write over an agent's word because the link speaks of what stood there before it.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::base::{Base, BaseField, TagBase, open_list};
use crate::domain::hash::{Digest, HashKey};
use crate::domain::ids::ChildId;
use crate::domain::record::FieldKey;
use crate::store::ChildKind;

/// What of one record goes back, and what stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// Fields that go back, and the digest of what they hold then.
    pub(super) back: BTreeMap<FieldKey, Digest>,
    /// Fields that stay.
    pub(super) kept: BTreeSet<FieldKey>,
    /// Tags and companies: whether they go back, or stay; neither where the run did not touch them.
    pub(super) tags: Option<Way>,
    pub(super) companies: Option<Way>,
    /// E-mails and phones, rows of which go back.
    pub(super) lists: BTreeSet<ChildKind>,
    /// Rows that stay.
    pub(super) rows: BTreeSet<(ChildKind, ChildId)>,
}

/// Which way a list of ids goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Back,
    Stays,
}

impl Parts {
    /// Whether all of it goes back.
    pub(super) fn is_whole(&self) -> bool {
        let stays = [self.tags, self.companies].contains(&Some(Way::Stays));
        self.kept.is_empty() && self.rows.is_empty() && !stays
    }
}

/// The base while it is under way: whether a request arrived, the next look at the record says.
pub(super) fn half(now: &Base, before: &Base, parts: &Parts, key: &HashKey) -> Base {
    let mut base = now.clone();
    for (field, held) in &parts.back {
        if now.fields.contains_key(field) || now.sent.contains_key(field) {
            // Where nothing was settled before, the source's wish is a new one.
            let desired = before.fields.get(field).map_or_else(|| open_list(key), |entry| entry.desired);
            base.sent.insert(*field, BaseField { desired, target: *held });
        }
    }
    if parts.tags == Some(Way::Back) {
        let ours = |state: Option<&TagBase>| matches!(state, Some(TagBase::Ours | TagBase::Sent));
        for tag in now.tags.keys().chain(before.tags.keys()) {
            if ours(now.tags.get(tag)) != ours(before.tags.get(tag)) {
                base.tags.insert(*tag, TagBase::Sent);
            }
        }
    }
    if parts.companies == Some(Way::Back) {
        (base.company, base.company_owed) = (before.company, before.company_owed);
    }
    for list in &parts.lists {
        let settled = match list {
            ChildKind::Email => &mut base.emails,
            ChildKind::Phone => &mut base.phones,
        };
        *settled = settled.and(Some(open_list(key)));
    }
    base
}

/// The base once it is done: as before the run, and as it is now of what stays.
pub(super) fn done(now: &Base, before: &Base, parts: &Parts) -> Base {
    let mut base = before.clone();
    for field in &parts.kept {
        for (into, from) in [(&mut base.fields, &now.fields), (&mut base.sent, &now.sent)] {
            match from.get(field) {
                Some(entry) => drop(into.insert(*field, *entry)),
                None => drop(into.remove(field)),
            }
        }
    }
    if parts.tags == Some(Way::Stays) {
        base.tags.clone_from(&now.tags);
    }
    if parts.companies == Some(Way::Stays) {
        (base.company, base.company_owed) = (now.company, now.company_owed);
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::value_digest;

    const NAME: FieldKey = FieldKey::FirstName;
    const LAST: FieldKey = FieldKey::LastName;

    fn key() -> HashKey {
        HashKey::new([1; 32])
    }

    fn both(text: &str) -> BaseField {
        let digest = value_digest(&key(), Some(text));
        BaseField { desired: digest, target: digest }
    }

    #[test]
    fn what_goes_back_is_known_as_sent_and_what_stays_keeps_what_was_settled_last() {
        let (kept, tag, other) = (Digest([7; 16]), Digest([8; 16]), Digest([9; 16]));
        let before = Base {
            fields: [(NAME, both("a")), (LAST, both("x"))].into(),
            emails: Some(Digest([1; 16])),
            tags: [(kept, TagBase::Found), (other, TagBase::Ours)].into(),
            ..Base::default()
        };
        let now = Base {
            fields: [(NAME, both("b")), (LAST, both("y")), (FieldKey::Custom(3), both("z"))].into(),
            emails: Some(Digest([2; 16])),
            phones: Some(Digest([3; 16])),
            tags: [(kept, TagBase::Found), (tag, TagBase::Ours)].into(),
            company: Some(Digest([4; 16])),
            ..Base::default()
        };
        let blank = value_digest(&key(), None);
        let parts = Parts {
            back: [(NAME, both("a").target), (FieldKey::Custom(3), blank), (FieldKey::MembershipNo, blank)].into(),
            kept: [LAST].into(),
            tags: Some(Way::Back),
            companies: Some(Way::Back),
            lists: [ChildKind::Email].into(),
            rows: BTreeSet::new(),
        };
        let half = half(&now, &before, &parts, &key());
        // What the name held was settled with its wish; the column was settled with none, and the stamp is no field of the mapping.
        let column = BaseField { desired: open_list(&key()), target: blank };
        assert_eq!(half.sent, [(NAME, both("a")), (FieldKey::Custom(3), column)].into());
        assert_eq!((&half.fields, half.phones, half.company), (&now.fields, now.phones, None));
        assert_eq!(half.emails, Some(open_list(&key())));
        assert_eq!(half.tags, [(kept, TagBase::Found), (tag, TagBase::Sent), (other, TagBase::Sent)].into());

        let done = done(&now, &before, &parts);
        assert_eq!(done.fields, [(NAME, both("a")), (LAST, both("y"))].into());
        assert_eq!((done.emails, done.tags, done.company), (before.emails, before.tags.clone(), None));
        assert!(!parts.is_whole() && Parts { kept: BTreeSet::new(), ..parts }.is_whole());
    }
}
