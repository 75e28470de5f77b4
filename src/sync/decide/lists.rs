//! Decide, for what a record holds as a list of ids: tags and companies. Pure.
//!
//! What is sent becomes the whole list at some tenants and is added to it at others (notes FIRST LINE 3.7), so the whole
//! list is sent, made of what is there. Where a record does not show its list nothing can be united, and nothing is sent.

use std::collections::BTreeMap;

use crate::domain::base::TagBase;
use crate::domain::hash::Digest;
use crate::domain::record::{DesiredTags, Owner};

/// A tag as FIRST LINE knows it.
#[derive(Clone, Copy, Debug)]
pub struct TagRule<'a> {
    /// Who decides.
    pub owner: Owner,
    /// Its id; several where several tags have its name: whoever has one of them has the tag.
    pub ids: &'a [i64],
}

/// What is to be done with the tags of one record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagDecision {
    /// The whole list to send, if it changes.
    pub write: Option<Vec<i64>>,
    /// The base that holds once it was sent.
    pub base: BTreeMap<Digest, TagBase>,
    /// Tags put on.
    pub added: u64,
    /// Tags taken off.
    pub removed: u64,
    /// Which were put on.
    pub put: Vec<Digest>,
    /// Which were taken off.
    pub taken: Vec<Digest>,
    /// Whether something is wished of a record that does not show its tags.
    pub not_shown: bool,
}

/// The base to store before a decision is sent: nothing is done yet, and what will be ours is known whatever the answer.
pub fn about_to_send(
    before: &BTreeMap<Digest, TagBase>,
    after: &BTreeMap<Digest, TagBase>,
) -> BTreeMap<Digest, TagBase> {
    let mut base = before.clone();
    let added = after.iter().filter(|(tag, state)| **state == TagBase::Ours && before.get(tag) != Some(state));
    base.extend(added.map(|(tag, _)| (*tag, TagBase::Sent)));
    base
}

/// Compares the tags of one record. `current` is `None` where the record does not say.
pub fn tags<'a>(
    wished: &DesiredTags,
    rule: impl Fn(&Digest) -> Option<TagRule<'a>>,
    current: Option<&[i64]>,
    before: &BTreeMap<Digest, TagBase>,
) -> TagDecision {
    let mut decision = TagDecision { base: before.clone(), ..TagDecision::default() };
    let mut list = current.unwrap_or_default().to_vec();
    for tag in &wished.present {
        let Some(TagRule { ids, .. }) = rule(tag) else { continue };
        let Some(first) = ids.first() else { continue };
        match (before.get(tag), current) {
            // An agent who took it off again has the last word for as long as the label stays.
            (Some(TagBase::Found | TagBase::Ours), _) => {}
            (_, None) => {
                decision.not_shown = true;
                decision.base.insert(*tag, TagBase::Owed);
            }
            (sent, Some(_)) if ids.iter().any(|id| list.contains(id)) => {
                let ours = sent == Some(&TagBase::Sent);
                decision.base.insert(*tag, if ours { TagBase::Ours } else { TagBase::Found });
            }
            (_, Some(_)) => {
                list.push(*first);
                decision.added += 1;
                decision.put.push(*tag);
                decision.base.insert(*tag, TagBase::Ours);
            }
        }
    }
    for tag in &wished.absent {
        let was = decision.base.remove(tag);
        let Some(TagRule { owner: Owner::Source, ids }) = rule(tag) else { continue };
        let Some(ours @ (TagBase::Ours | TagBase::Sent)) = was else { continue };
        if current.is_none() {
            // Whether it still stands there is not said: it is owed until it is.
            decision.not_shown = true;
            decision.base.insert(*tag, ours);
            continue;
        }
        let held = list.len();
        list.retain(|id| !ids.contains(id));
        if list.len() < held {
            decision.removed += 1;
            decision.taken.push(*tag);
        }
    }
    if decision.added + decision.removed > 0 {
        decision.write = Some(list);
    }
    decision
}

/// What is to be done to link one company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompanyDecision {
    /// It is linked already.
    Linked,
    /// The whole list to send.
    Write(Vec<i64>),
    /// The record does not show its companies.
    NotShown,
}

/// Links a company beside those that are there; none is ever taken away.
pub fn company(id: i64, current: Option<&[i64]>) -> CompanyDecision {
    match current {
        None => CompanyDecision::NotShown,
        Some(held) if held.contains(&id) => CompanyDecision::Linked,
        Some(held) => CompanyDecision::Write(held.iter().copied().chain([id]).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{CompanyDecision, TagDecision, TagRule, company, tags};
    use crate::domain::base::TagBase;
    use crate::domain::hash::Digest;
    use crate::domain::record::{DesiredTags, Owner};

    const VIP: Digest = Digest([1; 16]);
    const NEWS: Digest = Digest([2; 16]);

    fn decide(
        owner: Owner,
        (present, absent): (&[Digest], &[Digest]),
        current: Option<&[i64]>,
        before: &[(Digest, TagBase)],
    ) -> TagDecision {
        let wished = DesiredTags { present: present.to_vec(), absent: absent.to_vec() };
        // Two tags bear the name of VIP.
        let rule = |tag: &Digest| Some(TagRule { owner, ids: if *tag == VIP { &[7, 8] } else { &[9] } });
        tags(&wished, rule, current, &before.iter().copied().collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn a_tag_is_added_to_those_that_are_there() {
        let found = decide(Owner::Union, (&[VIP, NEWS], &[]), Some(&[3, 9]), &[]);
        assert_eq!((found.write, found.added), (Some(vec![3, 9, 7]), 1));
        assert_eq!(found.base, [(VIP, TagBase::Ours), (NEWS, TagBase::Found)].into());
        let twin = decide(Owner::Union, (&[VIP], &[]), Some(&[8]), &[]);
        assert_eq!((twin.write, twin.base), (None, [(VIP, TagBase::Found)].into()));
    }

    #[test]
    fn a_synced_pair_needs_nothing_and_what_is_unknown_touches_nothing() {
        let base = [(VIP, TagBase::Ours), (NEWS, TagBase::Found)];
        for wished in [(&[VIP, NEWS][..], &[][..]), (&[], &[])] {
            for owner in [Owner::Union, Owner::Source] {
                let found = decide(owner, wished, Some(&[3, 7, 9]), &base);
                assert_eq!(found, TagDecision { base: base.into(), ..TagDecision::default() });
            }
        }
    }

    #[test]
    fn a_tag_that_an_agent_took_off_stays_off_until_the_label_comes_again() {
        let kept = decide(Owner::Source, (&[VIP], &[]), Some(&[3]), &[(VIP, TagBase::Ours)]);
        assert_eq!((kept.write, kept.base.len()), (None, 1));
        let gone = decide(Owner::Union, (&[], &[VIP]), Some(&[3]), &[(VIP, TagBase::Ours)]);
        assert_eq!((gone.write, gone.base.len()), (None, 0));
        assert_eq!(decide(Owner::Union, (&[VIP], &[]), Some(&[3]), &[]).write, Some(vec![3, 7]));
    }

    #[test]
    fn a_request_that_may_not_have_arrived_is_sent_again_or_found_to_be_ours() {
        let before = [(NEWS, TagBase::Ours)].into();
        let after = decide(Owner::Source, (&[VIP], &[NEWS]), Some(&[9]), &[(NEWS, TagBase::Ours)]);
        let marked = super::about_to_send(&before, &after.base);
        assert_eq!(marked, [(NEWS, TagBase::Ours), (VIP, TagBase::Sent)].into());
        let marked: Vec<_> = marked.into_iter().collect();
        let lost = decide(Owner::Source, (&[VIP], &[NEWS]), Some(&[9]), &marked);
        assert_eq!((lost.write, lost.base), (Some(vec![7]), after.base.clone()));
        let arrived = decide(Owner::Source, (&[VIP], &[NEWS]), Some(&[7]), &marked);
        assert_eq!((arrived.write, arrived.base), (None, after.base));
        let gone = decide(Owner::Source, (&[], &[VIP]), Some(&[7, 3]), &[(VIP, TagBase::Sent)]);
        assert_eq!(gone.write, Some(vec![3]));
    }

    #[test]
    fn only_what_we_put_on_is_taken_off_and_only_where_the_source_owns_it() {
        let ours = [(VIP, TagBase::Ours)];
        let found = decide(Owner::Source, (&[], &[VIP]), Some(&[3, 7]), &ours);
        assert_eq!((found.write, found.removed, found.base.len()), (Some(vec![3]), 1, 0));
        for (owner, state) in [(Owner::Union, TagBase::Ours), (Owner::Source, TagBase::Found)] {
            assert_eq!(decide(owner, (&[], &[VIP]), Some(&[3, 7]), &[(VIP, state)]).write, None);
        }
    }

    #[test]
    fn a_record_that_does_not_show_its_tags_is_left_alone_until_it_does() {
        let found = decide(Owner::Source, (&[VIP], &[NEWS]), None, &[(NEWS, TagBase::Ours)]);
        assert_eq!((found.write, found.not_shown), (None, true));
        assert_eq!(found.base, [(VIP, TagBase::Owed), (NEWS, TagBase::Ours)].into());
        let shown = decide(Owner::Source, (&[VIP], &[]), Some(&[]), &[(VIP, TagBase::Owed)]);
        assert_eq!((shown.write, shown.base), (Some(vec![7]), [(VIP, TagBase::Ours)].into()));
    }

    #[test]
    fn a_company_is_linked_beside_the_others() {
        assert_eq!(company(5, Some(&[1, 2])), CompanyDecision::Write(vec![1, 2, 5]));
        assert_eq!(company(5, Some(&[5])), CompanyDecision::Linked);
        assert_eq!(company(5, None), CompanyDecision::NotShown);
    }
}
