//! One contact against one customer: what differs, and what explains it. Pure.
//!
//! What differs is judged by the two platforms alone, with the comparisons that `decide` uses. The state only explains:
//! without one the same differences are found, and fewer of them have a reason.

use crate::domain::base::{Base, BaseField, TagBase, WishDigests, value_digest};
use crate::domain::hash::{Digest, HashKey};
use crate::domain::record::{Desired, DesiredField, DesiredRecord, FieldKey, FieldValue, Owner, canonical_choice};
use crate::domain::target::Part;
use crate::store::{ChildKind, Link, Origin};
use crate::sync::children::list_name;
use crate::sync::verify::finding::{Class, Reason};
use crate::sync::verify::held::{HeldField, HeldRecord, print};

/// What is wished for a contact.
pub(super) struct Wish<'a> {
    pub(super) record: &'a DesiredRecord,
    pub(super) digests: &'a WishDigests,
    /// Its e-mails and phones: shortened digest and text, in the order of the lists.
    pub(super) emails: Vec<(i64, String)>,
    pub(super) phones: Vec<(i64, String)>,
    /// Its tags: their digest, name and ids; none of a tag that FIRST LINE does not have.
    pub(super) tags: Vec<(Digest, String, Vec<i64>)>,
    /// The company that it should be linked to; `Err` where it is not to be had.
    pub(super) company: Option<Result<i64, ()>>,
}

/// What the state says of it; nothing, without one.
#[derive(Default)]
pub(super) struct Known {
    pub(super) link: Option<Link>,
    pub(super) base: Option<Base>,
    /// It has a dead letter.
    pub(super) set_aside: bool,
    /// It waits for a person.
    pub(super) in_conflict: bool,
    /// A person decided not to carry it.
    pub(super) left_out: bool,
}

/// What the comparison goes by, beside both sides.
pub(super) struct Rules<'a> {
    pub(super) key: &'a HashKey,
    /// Whether a value that the source emptied is cleared at all.
    pub(super) clears: bool,
    /// Whether a field was taken out, because its definition drifted.
    pub(super) is_stopped: &'a dyn Fn(FieldKey) -> bool,
    /// How people know a field.
    pub(super) name: &'a dyn Fn(FieldKey) -> String,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) class: Class,
    pub(super) field: String,
    /// The part that the answer does not show, where it is one that a read in full may.
    pub(super) unsaid: Option<Part>,
    pub(super) reason: Option<Reason>,
    /// The e-mail or phone that is not there, or is there twice.
    pub(super) row: Option<(ChildKind, i64)>,
    pub(super) livedesk_value: Option<String>,
    pub(super) firstline_value: Option<String>,
}

impl Difference {
    fn new(class: Class, field: String, reason: Option<Reason>) -> Self {
        Self { class, field, unsaid: None, reason, row: None, livedesk_value: None, firstline_value: None }
    }
}

/// What differs between a contact and its customer; and the fields and lists that were compared.
pub(super) fn differences(
    wish: &Wish<'_>,
    held: &HeldRecord,
    known: &Known,
    rules: &Rules<'_>,
) -> (Vec<Difference>, Vec<String>) {
    let (mut found, mut compared) = (Vec::new(), Vec::new());
    for (key, wished) in &wish.record.fields {
        if (rules.is_stopped)(*key) {
            continue;
        }
        let name = (rules.name)(*key);
        let Some(&desired) = wish.digests.fields.get(key) else {
            found.push(Difference::new(Class::Field, name, Some(Reason::SkippedValue)));
            continue;
        };
        compared.push(name.clone());
        let Some(stored) = held.fields.get(key) else {
            if wished.value != Desired::Empty {
                let unsaid = Difference::new(Class::Field, name, Some(Reason::NotShown));
                found.push(Difference { unsaid: Some(Part::Field(*key)), ..unsaid });
            }
            continue;
        };
        if print(desired) == stored.print || adds_nothing(wished, stored, rules.key) {
            continue;
        }
        let before = known.base.as_ref().and_then(|base| base.fields.get(key)).copied();
        let reason = field_reason(wished, desired, stored, before, known, rules);
        let livedesk_value = match &wished.value {
            Desired::Value(value) => Some(value.canonical()),
            Desired::Empty | Desired::Unknown => None,
        };
        let firstline_value = stored.text.clone();
        found.push(Difference { livedesk_value, firstline_value, ..Difference::new(Class::Field, name, reason) });
    }
    for kind in [ChildKind::Email, ChildKind::Phone] {
        if children(wish, held, known, kind, &mut found) {
            compared.push(list_name(kind).to_owned());
        }
    }
    tags(wish, held, known, &mut found, &mut compared);
    company(wish, held, known, &mut found, &mut compared);
    // What is left out, set aside or waits is not carried, whatever else may be said of it.
    for difference in &mut found {
        if matches!(difference.reason, None | Some(Reason::NotCarriedYet)) {
            difference.reason = match known {
                Known { left_out: true, .. } => Some(Reason::Decided),
                Known { set_aside: true, .. } => Some(Reason::SetAside),
                Known { in_conflict: true, .. } => Some(Reason::Conflict),
                _ => difference.reason,
            };
        }
    }
    (found, compared)
}

/// Whether a list that is only added to holds everything that is wished.
fn adds_nothing(wished: &DesiredField, held: &HeldField, key: &HashKey) -> bool {
    if wished.owner != Some(Owner::Union) {
        return false;
    }
    match &wished.value {
        Desired::Value(FieldValue::Choices(values)) => {
            values.iter().all(|value| held.parts.contains(&print(value_digest(key, Some(&canonical_choice(value))))))
        }
        Desired::Empty => true,
        Desired::Value(_) | Desired::Unknown => false,
    }
}

fn field_reason(
    wished: &DesiredField,
    desired: Digest,
    held: &HeldField,
    before: Option<BaseField>,
    known: &Known,
    rules: &Rules<'_>,
) -> Option<Reason> {
    match wished.owner {
        Some(Owner::Target) => return Some(Reason::OwnerTarget),
        Some(Owner::FillBlank) if !held.blank => return Some(Reason::FillBlank),
        _ => {}
    }
    let link = known.link.as_ref()?;
    if link.origin != Origin::Created && wished.owner.is_none() && !held.blank {
        return Some(Reason::Adopted);
    }
    let before = before?;
    if before.desired != desired {
        let empty = wished.value == Desired::Empty;
        return Some(if empty && !rules.clears { Reason::NotCleared } else { Reason::NotCarriedYet });
    }
    Some(if print(before.target) == held.print { Reason::KeptApart } else { Reason::EditedAtTarget })
}

/// Compares one list of children; gives whether it was.
fn children(wish: &Wish<'_>, held: &HeldRecord, known: &Known, kind: ChildKind, found: &mut Vec<Difference>) -> bool {
    let name = || list_name(kind).to_owned();
    let base = known.base.as_ref();
    let (wished, owner, now, before, lost) = match kind {
        ChildKind::Email => {
            let list = &wish.record.emails;
            (&wish.emails, list.owner, wish.digests.emails, base.and_then(|base| base.emails), Class::LostEmail)
        }
        ChildKind::Phone => {
            let list = &wish.record.phones;
            (&wish.phones, list.owner, wish.digests.phones, base.and_then(|base| base.phones), Class::LostPhone)
        }
    };
    if wish.record.warnings.iter().any(|warning| warning.field.starts_with(list_name(kind))) {
        found.push(Difference::new(Class::Field, name(), Some(Reason::SkippedValue)));
    }
    if now.is_none() {
        return false;
    }
    let Some(rows) = held.children(kind) else {
        if !wished.is_empty() {
            found.push(Difference::new(lost, name(), Some(Reason::NotShown)));
        }
        return true;
    };
    for (key, text) in wished {
        let class = match rows.iter().filter(|row| *row == key).count() {
            1 => continue,
            0 => lost,
            _ => Class::Twice,
        };
        let reason = match (class, owner, before) {
            (Class::Twice, ..) => None,
            (_, Some(Owner::Target), _) => Some(Reason::OwnerTarget),
            (_, Some(Owner::FillBlank), _) if !rows.is_empty() => Some(Reason::FillBlank),
            (.., None) => None,
            (.., Some(before)) if Some(before) != now => Some(Reason::NotCarriedYet),
            // It stood there when the two were last in step.
            (.., Some(_)) => Some(Reason::EditedAtTarget),
        };
        let livedesk_value = Some(text.clone());
        found.push(Difference { row: Some((kind, *key)), livedesk_value, ..Difference::new(class, name(), reason) });
    }
    true
}

fn tags(wish: &Wish<'_>, held: &HeldRecord, known: &Known, found: &mut Vec<Difference>, compared: &mut Vec<String>) {
    for (digest, tag, ids) in &wish.tags {
        let name = format!("tag {tag}");
        compared.push(name.clone());
        let reason = match &held.tags {
            Some(held) if ids.iter().any(|id| held.contains(id)) => continue,
            None if !ids.is_empty() => Some(Reason::NotShown),
            _ => match known.base.as_ref().map(|base| base.tags.get(digest)) {
                None => None,
                Some(Some(TagBase::Found | TagBase::Ours)) => Some(Reason::EditedAtTarget),
                Some(Some(TagBase::Owed)) => Some(Reason::NotShown),
                Some(Some(TagBase::Sent) | None) => Some(Reason::NotCarriedYet),
            },
        };
        let unsaid = (held.tags.is_none() && reason == Some(Reason::NotShown)).then_some(Part::Tags);
        found.push(Difference { unsaid, ..Difference::new(Class::Tag, name, reason) });
    }
}

fn company(wish: &Wish<'_>, held: &HeldRecord, known: &Known, found: &mut Vec<Difference>, compared: &mut Vec<String>) {
    let Some(company) = wish.company else { return };
    let name = String::from("company");
    compared.push(name.clone());
    let reason = match (company, &held.companies) {
        (Err(()), _) => Some(Reason::NoSuchCompany),
        (Ok(id), Some(held)) if held.contains(&id) => return,
        (Ok(_), None) => Some(Reason::NotShown),
        (Ok(_), Some(_)) => known.base.as_ref().map(|base| {
            let settled = base.company == wish.digests.company && !base.company_owed;
            if settled { Reason::EditedAtTarget } else { Reason::NotCarriedYet }
        }),
    };
    let unsaid = (reason == Some(Reason::NotShown)).then_some(Part::Companies);
    found.push(Difference { unsaid, ..Difference::new(Class::Company, name, reason) });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::{Difference, Known, Rules, Wish, differences};
    use crate::clock::Timestamp;
    use crate::domain::base::{Base, BaseField, WishDigests, value_digest};
    use crate::domain::hash::HashKey;
    use crate::domain::ids::{FirstLineId, LiveDeskId, RunId};
    use crate::domain::phone::Country;
    use crate::domain::record::{
        Desired, DesiredEmail, DesiredField, DesiredList, DesiredRecord, FieldKey, FieldValue, Owner,
    };
    use crate::domain::target::TargetContact;
    use crate::store::{ChildKind, Link, Origin, Standing};
    use crate::sync::decide::{self, Authorship, Kinds};
    use crate::sync::stamp::StampReading;
    use crate::sync::verify::finding::{Class, Reason};
    use crate::sync::verify::held::{HeldField, HeldRecord, print};

    const FIELD: FieldKey = FieldKey::Custom(33);

    fn key() -> HashKey {
        HashKey::new([9; 32])
    }

    fn text(value: &str) -> Desired<FieldValue> {
        if value.is_empty() { Desired::Empty } else { Desired::Value(FieldValue::Text(value.into())) }
    }

    fn wished(value: Desired<FieldValue>, owner: Option<Owner>) -> DesiredRecord {
        let mut record = DesiredRecord::default();
        record.fields.insert(FIELD, DesiredField { value, owner });
        record
    }

    fn holding(value: &str) -> HeldRecord {
        let canonical = (!value.is_empty()).then_some(value);
        let field = HeldField {
            print: print(value_digest(&key(), canonical)),
            blank: canonical.is_none(),
            parts: Vec::new(),
            text: canonical.map(str::to_owned),
        };
        HeldRecord {
            target: FirstLineId(5),
            stamp: StampReading::Of(LiveDeskId(1)),
            fields: BTreeMap::from([(FIELD, field)]),
            emails: Some(Vec::new()),
            phones: None,
            tags: None,
            companies: None,
            listed: Vec::new(),
        }
    }

    fn known(origin: Origin, base: Option<(&str, &str)>) -> Known {
        let at = Timestamp(0);
        let digest = |value: &str| value_digest(&key(), (!value.is_empty()).then_some(value));
        let base = base.map(|(desired, target)| {
            let mut base = Base::default();
            base.fields.insert(FIELD, BaseField { desired: digest(desired), target: digest(target) });
            base
        });
        let link = Link {
            livedesk_id: LiveDeskId(1),
            target: FirstLineId(5),
            origin,
            fingerprint: None,
            base: Vec::new(),
            mapping_version: None,
            intent_seq: None,
            linked_at: at,
            updated_at: at,
            run: RunId(1),
            standing: Standing::Live,
            alias_of: None,
        };
        Known { link: Some(link), base, set_aside: false, in_conflict: false, left_out: false }
    }

    fn found(record: &DesiredRecord, held: &HeldRecord, known: &Known, clears: bool) -> Vec<Difference> {
        let key = key();
        let digests = WishDigests::of(&key, record, Country::TAIWAN);
        let emails = record.emails.items().iter();
        let wish = Wish {
            record,
            digests: &digests,
            emails: emails.map(|email| (print(key.digest("email", email.canonical())), email.canonical())).collect(),
            phones: Vec::new(),
            tags: Vec::new(),
            company: None,
        };
        let rules = Rules { key: &key, clears, is_stopped: &|_| false, name: &|field: FieldKey| field.to_string() };
        differences(&wish, held, known, &rules).0
    }

    /// What, wished, owner, held, what the state says, whether anything is cleared; then what is told, if anything is.
    type Situation = (&'static str, &'static str, Option<Owner>, &'static str, Known, bool, Option<Option<Reason>>);

    #[test]
    fn what_explains_a_difference_is_who_owns_it_and_who_changed_it() {
        use Origin::{Adopted, Created};
        use Reason as R;
        let owner = Some;
        let rows: [Situation; 16] = [
            ("equal", "a", None, "a", Known::default(), true, None),
            ("another value, and no state to ask", "a", None, "x", Known::default(), true, Some(None)),
            ("nothing wished, something there, no state", "", None, "x", Known::default(), true, Some(None)),
            ("agents own it", "a", owner(Owner::Target), "x", Known::default(), true, Some(Some(R::OwnerTarget))),
            ("only blanks", "a", owner(Owner::FillBlank), "x", Known::default(), true, Some(Some(R::FillBlank))),
            ("a blank that was not filled", "a", owner(Owner::FillBlank), "", Known::default(), true, Some(None)),
            (
                "an agent edited it",
                "a",
                None,
                "x",
                known(Created, Some(("a", "a"))),
                true,
                Some(Some(R::EditedAtTarget)),
            ),
            (
                "LiveDesk changed it",
                "b",
                None,
                "a",
                known(Created, Some(("a", "a"))),
                true,
                Some(Some(R::NotCarriedYet)),
            ),
            ("both did", "b", None, "x", known(Created, Some(("a", "a"))), true, Some(Some(R::NotCarriedYet))),
            ("it stood so before", "a", None, "x", known(Created, Some(("a", "x"))), true, Some(Some(R::KeptApart))),
            ("it was there before", "a", None, "x", known(Adopted, None), true, Some(Some(R::Adopted))),
            ("an adopted blank that was not filled", "a", None, "", known(Adopted, None), true, Some(None)),
            (
                "LiveDesk emptied it",
                "",
                None,
                "a",
                known(Created, Some(("a", "a"))),
                true,
                Some(Some(R::NotCarriedYet)),
            ),
            (
                "and nothing is cleared",
                "",
                None,
                "a",
                known(Created, Some(("a", "a"))),
                false,
                Some(Some(R::NotCleared)),
            ),
            ("ours, of which nothing is known", "a", None, "x", known(Created, None), true, Some(None)),
            ("only ever added to", "", owner(Owner::Union), "x", Known::default(), true, None),
        ];
        for (what, value, owner, held, known, clears, expected) in rows {
            let found = found(&wished(text(value), owner), &holding(held), &known, clears);
            assert_eq!(found.first().map(|difference| difference.reason), expected, "{what}");
        }
    }

    #[test]
    fn what_is_called_explained_is_what_a_run_would_leave_as_it_is() {
        let kinds = Kinds::new();
        let key = key();
        for value in ["a", "b", ""] {
            for owner in [None, Some(Owner::Source), Some(Owner::FillBlank), Some(Owner::Target)] {
                for held in ["a", "x", ""] {
                    for base in [("a", "a"), ("a", "x"), ("b", "b")] {
                        let record = wished(text(value), owner);
                        let known = known(Origin::Created, Some(base));
                        let found = found(&record, &holding(held), &known, true);
                        let left = matches!(
                            found.first().map(|difference| difference.reason),
                            None | Some(Some(
                                Reason::OwnerTarget | Reason::FillBlank | Reason::EditedAtTarget | Reason::KeptApart
                            ))
                        );
                        let current = TargetContact {
                            id: FirstLineId(5),
                            profile_id: None,
                            standard: BTreeMap::new(),
                            custom: Some(BTreeMap::from([(33, json!(held))])),
                            custom_unreadable: false,
                            emails: None,
                            phones: None,
                            tag_ids: None,
                            company_ids: None,
                        };
                        let digests = WishDigests::of(&key, &record, Country::TAIWAN);
                        let rules =
                            decide::Rules { authorship: Authorship::Ours, kinds: &kinds, key: &key, clears: true };
                        let written = decide::update(&record, &digests, known.base.as_ref(), &current, rules).write;
                        // A mapping that names the source anew lets it write what was left apart.
                        let anew = owner == Some(Owner::Source)
                            && found.first().is_some_and(|difference| difference.reason == Some(Reason::KeptApart));
                        assert!(!left || written.is_empty() || anew, "{value:?} {owner:?} {held:?} {base:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_email_is_lost_or_there_twice_and_one_that_an_agent_added_is_nothing() {
        let emails = vec![DesiredEmail { address: "A@example.com".into() }];
        let record =
            DesiredRecord { emails: DesiredList { value: Desired::Value(emails), owner: None }, ..Default::default() };
        let one = print(key().digest("email", "a@example.com"));
        let with = |rows: &[i64]| HeldRecord { emails: Some(rows.to_vec()), ..holding("") };
        let classes = |rows: &[i64], known: &Known| {
            let found = found(&record, &with(rows), known, true);
            found.iter().map(|difference| (difference.class, difference.reason)).collect::<Vec<_>>()
        };
        let no_state = Known::default();
        assert_eq!(classes(&[one, 77], &no_state), []);
        assert_eq!(classes(&[77], &no_state), [(Class::LostEmail, None)]);
        assert_eq!(classes(&[one, one], &no_state), [(Class::Twice, None)]);
        assert_eq!(found(&record, &with(&[]), &no_state, true)[0].row, Some((ChildKind::Email, one)));
        let settled = WishDigests::of(&key(), &record, Country::TAIWAN).emails;
        let mut state = known(Origin::Created, None);
        state.base = Some(Base { emails: settled, ..Base::default() });
        assert_eq!(classes(&[77], &state), [(Class::LostEmail, Some(Reason::EditedAtTarget))]);
        state.base = Some(Base { emails: Some(key().digest("list", "another")), ..Base::default() });
        assert_eq!(classes(&[77], &state), [(Class::LostEmail, Some(Reason::NotCarriedYet))]);
        state.set_aside = true;
        assert_eq!(classes(&[77], &state), [(Class::LostEmail, Some(Reason::SetAside))]);
        let mute = HeldRecord { emails: None, ..holding("") };
        assert_eq!(found(&record, &mute, &no_state, true)[0].reason, Some(Reason::NotShown));
    }
}
