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
    /// Fields that stay, or go back to what somebody else wrote.
    pub(super) kept: BTreeSet<FieldKey>,
    /// Fields that were sent back, and do not show it.
    pub(super) unconfirmed: BTreeSet<FieldKey>,
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
    /// It was sent back, and does not show it.
    Unconfirmed,
}

impl Parts {
    /// Whether all of it goes back.
    pub(super) fn is_whole(&self) -> bool {
        let lists = is_back(self.tags) && is_back(self.companies);
        self.kept.is_empty() && self.unconfirmed.is_empty() && self.rows.is_empty() && lists
    }
}

/// Whether a list was sent back.
fn is_sent(way: Option<Way>) -> bool {
    way.is_some_and(|way| way != Way::Stays)
}

/// Whether a list is as it was before the run, as far as anybody knows.
fn is_back(way: Option<Way>) -> bool {
    way.is_none_or(|way| way == Way::Back)
}

/// The base while it is under way: whether a request arrived, the next look at the record says.
pub(super) fn half(now: &Base, before: &Base, parts: &Parts, key: &HashKey) -> Base {
    let mut base = now.clone();
    // What somebody else wrote is theirs, whoever puts it back.
    for (field, held) in parts.back.iter().filter(|(field, _)| !parts.kept.contains(field)) {
        if now.fields.contains_key(field) || now.sent.contains_key(field) {
            // Where nothing was settled before, the source's wish is a new one.
            let desired = before.fields.get(field).map_or_else(|| open_list(key), |entry| entry.desired);
            base.sent.insert(*field, BaseField { desired, target: *held });
        }
    }
    if is_sent(parts.tags) {
        let ours = |state: Option<&TagBase>| matches!(state, Some(TagBase::Ours | TagBase::Sent));
        for tag in now.tags.keys().chain(before.tags.keys()) {
            if ours(now.tags.get(tag)) != ours(before.tags.get(tag)) {
                base.tags.insert(*tag, TagBase::Sent);
            }
        }
    }
    if is_sent(parts.companies) {
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

/// The base once it is done: as before the run, and as it is now of what stays. Of what was sent and is not seen it says what
/// holds if it arrived: the next look at the record decides that, and neither takes it for an agent's word nor goes over one.
pub(super) fn done(now: &Base, before: &Base, parts: &Parts, key: &HashKey) -> Base {
    let now = half(now, before, parts, key);
    let mut base = before.clone();
    for field in parts.kept.iter().chain(&parts.unconfirmed) {
        for (into, from) in [(&mut base.fields, &now.fields), (&mut base.sent, &now.sent)] {
            match from.get(field) {
                Some(entry) => drop(into.insert(*field, *entry)),
                None => drop(into.remove(field)),
            }
        }
    }
    if !is_back(parts.tags) {
        base.tags = now.tags;
    }
    if !is_back(parts.companies) {
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
            unconfirmed: BTreeSet::new(),
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

        let restored = done(&now, &before, &parts, &key());
        assert_eq!(restored.fields, [(NAME, both("a")), (LAST, both("y"))].into());
        assert_eq!((restored.emails, &restored.tags, restored.company), (before.emails, &before.tags, None));
        assert_eq!(restored.sent, BTreeMap::new());
        assert!(!parts.is_whole() && Parts { kept: BTreeSet::new(), ..parts.clone() }.is_whole());

        // The same, and neither the name nor the tags show it.
        let unseen = Parts { unconfirmed: [NAME].into(), tags: Some(Way::Unconfirmed), ..parts.clone() };
        let open = done(&now, &before, &unseen, &key());
        assert_eq!((&open.fields, &open.tags), (&[(NAME, both("b")), (LAST, both("y"))].into(), &half.tags));
        assert_eq!(open.sent, [(NAME, both("a"))].into());
        assert!(!Parts { kept: BTreeSet::new(), ..unseen }.is_whole());

        // The name goes back to what an agent wrote between two writes of the run: that is no word of ours.
        let theirs = Parts { kept: [NAME, LAST].into(), ..parts };
        assert_eq!(super::half(&now, &before, &theirs, &key()).sent.get(&NAME), None);
        let kept = done(&now, &before, &theirs, &key());
        assert_eq!((kept.fields.get(&NAME), kept.sent), (Some(&both("b")), BTreeMap::new()));
    }
}
