//! The table of the three-way decision: one row per situation an operator would argue about.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Authorship, CurrentChild, Kinds, Rules, arrived, children, creation, update};
use crate::domain::base::{Base, BaseField, WishDigests, value_digest};
use crate::domain::field::FieldKind;
use crate::domain::hash::{Digest, HashKey};
use crate::domain::ids::{ChildId, FirstLineId};
use crate::domain::phone::Country;
use crate::domain::record::{Desired, DesiredField, DesiredRecord, FieldKey, FieldValue, Owner};
use crate::domain::target::{TargetContact, WriteValue};

const FIELD: FieldKey = FieldKey::Custom(33);

fn key() -> HashKey {
    HashKey::new([9; 32])
}

fn rules(authorship: Authorship, kinds: &Kinds) -> Rules<'_> {
    static KEY: std::sync::LazyLock<HashKey> = std::sync::LazyLock::new(key);
    Rules { authorship, kinds, key: &KEY, clears: true }
}

fn wish(value: Desired<FieldValue>, owner: Option<Owner>) -> DesiredRecord {
    let mut record = DesiredRecord::default();
    record.fields.insert(FIELD, DesiredField { value, owner });
    record
}

fn text(value: &str) -> Desired<FieldValue> {
    Desired::Value(FieldValue::Text(value.into()))
}

fn digests(record: &DesiredRecord) -> WishDigests {
    WishDigests::of(&key(), record, Country::TAIWAN)
}

fn holding(value: &Value) -> TargetContact {
    TargetContact {
        id: FirstLineId(1),
        profile_id: None,
        standard: BTreeMap::new(),
        custom: Some(BTreeMap::from([(33, value.clone())])),
        custom_unreadable: false,
        emails: None,
        phones: None,
        tag_ids: None,
        company_ids: None,
    }
}

fn base(desired: &str, target: &str) -> Base {
    let digest = |value: &str| value_digest(&key(), Some(value));
    let mut base = Base::default();
    base.fields.insert(FIELD, BaseField { desired: digest(desired), target: digest(target) });
    base
}

#[test]
fn a_write_of_which_nobody_knows_whether_it_arrived_is_taken_back_with_the_source() {
    let kinds = Kinds::from([(FIELD, FieldKind::Text)]);
    let rules = rules(Authorship::Ours, &kinds);
    // "b" was sent in the place of "a", and then the source took it back or went on.
    let sent = Base { sent: base("b", "b").fields, ..base("a", "a") };
    let silent = TargetContact { custom: None, ..holding(&Value::Null) };
    let rows = [
        ("a", Some("b"), Some("a")),
        ("a", Some("a"), None),
        ("a", Some("an agent's"), None),
        ("b", Some("b"), None),
        ("b", Some("a"), Some("b")),
        ("c", Some("b"), Some("c")),
        // The record does not show the field.
        ("a", None, Some("a")),
        ("b", None, Some("b")),
    ];
    for (wished, held, written) in rows {
        let record = wish(text(wished), None);
        let current = held.map_or_else(|| silent.clone(), |held| holding(&json!(held)));
        let before = arrived(sent.clone(), &current, rules);
        let decision = update(&record, &digests(&record), Some(&before), &current, rules);
        let expected = written.map(|value| WriteValue::Typed(FieldValue::Text(value.into())));
        assert_eq!(decision.write.get(&FIELD), expected.as_ref(), "{wished} over {held:?}");
        assert!(decision.base.sent.is_empty() && decision.both_changed.is_empty(), "{wished} over {held:?}");
    }
}

/// What, wished, owner, base, held, authorship; then what is written, and whether both changed or the field is kept.
type Situation = (
    &'static str,
    Desired<FieldValue>,
    Option<Owner>,
    Option<Base>,
    Value,
    Authorship,
    Option<&'static str>,
    bool,
    bool,
);

#[test]
fn what_a_record_does_not_show_is_only_written_by_its_source_and_never_taken_for_blank() {
    use Authorship::{Ours, Theirs};
    let rows = [
        ("adopted, and nobody knows what stands there", text("b"), None, None, Theirs, None, true),
        ("to be filled if blank", text("b"), Some(Owner::FillBlank), Some(base("a", "a")), Ours, None, true),
        ("to be united with what stands there", text("b"), Some(Owner::Union), None, Theirs, None, true),
        ("the source changed its own field", text("b"), None, Some(base("a", "a")), Ours, Some("b"), false),
        ("the mapping says that the source owns it", text("b"), Some(Owner::Source), None, Theirs, Some("b"), false),
        ("the source did not change it", text("a"), Some(Owner::Source), Some(base("a", "a")), Ours, None, false),
        ("the target owns it", text("b"), Some(Owner::Target), None, Ours, None, false),
        ("nothing is wished", Desired::Empty, None, None, Theirs, None, false),
    ];
    for (what, value, owner, before, authorship, written, told) in rows {
        let wished = wish(value, owner);
        let mute = TargetContact { custom: None, ..holding(&json!("an agent's")) };
        let decision = update(&wished, &digests(&wished), before.as_ref(), &mute, rules(authorship, &Kinds::new()));
        let expected = written.map(|text| WriteValue::Typed(FieldValue::Text(text.into())));
        assert_eq!(decision.write.get(&FIELD), expected.as_ref(), "{what}");
        assert_eq!(!decision.not_shown.is_empty(), told, "{what}");
        assert!(decision.both_changed.is_empty(), "{what}");
        if written.is_none() {
            assert_eq!(decision.base.fields.get(&FIELD), before.unwrap_or_default().fields.get(&FIELD), "{what}");
        }
    }
}

#[test]
fn each_situation_is_decided_by_who_changed_and_who_owns() {
    use Authorship::{Ours, Theirs};
    let rows: Vec<Situation> = vec![
        ("equal", text("a"), None, Some(base("a", "a")), json!("a"), Ours, None, false, false),
        ("source changed", text("b"), None, Some(base("a", "a")), json!("a"), Ours, Some("b"), false, false),
        ("agent changed", text("a"), None, Some(base("a", "a")), json!("x"), Ours, None, false, true),
        ("both changed, source owns", text("b"), None, Some(base("a", "a")), json!("x"), Ours, Some("b"), true, false),
        (
            "both changed, target owns",
            text("b"),
            Some(Owner::Target),
            Some(base("a", "a")),
            json!("x"),
            Ours,
            None,
            true,
            false,
        ),
        (
            "target owns, source changed",
            text("b"),
            Some(Owner::Target),
            Some(base("a", "a")),
            json!("a"),
            Ours,
            None,
            false,
            false,
        ),
        ("adopted, blank", text("a"), None, None, json!(null), Theirs, Some("a"), false, false),
        ("adopted, held", text("a"), None, None, json!("x"), Theirs, None, false, false),
        (
            "adopted, source owns by mapping",
            text("a"),
            Some(Owner::Source),
            None,
            json!("x"),
            Theirs,
            Some("a"),
            true,
            false,
        ),
        ("ours, no base, blank", text("a"), None, None, json!(""), Ours, Some("a"), false, false),
        ("ours, no base, an agent's word", text("a"), None, None, json!("x"), Ours, None, false, false),
        ("unknown never writes", Desired::Unknown, None, Some(base("a", "a")), json!("a"), Ours, None, false, false),
        (
            "source emptied what was ours",
            Desired::Empty,
            None,
            Some(base("a", "a")),
            json!("a"),
            Ours,
            Some("<clear>"),
            false,
            false,
        ),
        ("source is empty, never ours", Desired::Empty, None, None, json!("x"), Ours, None, false, false),
        (
            "source empty, blank filler",
            Desired::Empty,
            Some(Owner::FillBlank),
            Some(base("a", "a")),
            json!("a"),
            Ours,
            None,
            false,
            false,
        ),
    ];
    for (what, wished, owner, base, held, authorship, written, both, kept) in rows {
        let kinds = Kinds::from([(FIELD, FieldKind::Text)]);
        let wished = wish(wished, owner);
        let held = holding(&held);
        let decision = update(&wished, &digests(&wished), base.as_ref(), &held, rules(authorship, &kinds));
        let got = decision.write.get(&FIELD).map(|value| match value {
            WriteValue::Typed(value) => value.canonical(),
            WriteValue::Clear => "<clear>".into(),
            WriteValue::AsRead(_) => "<as read>".into(),
        });
        assert_eq!(got.as_deref(), written, "{what}");
        assert_eq!(!decision.both_changed.is_empty(), both, "{what}: both changed");
        assert_eq!(!decision.kept.is_empty(), kept, "{what}: kept");
    }
}

#[test]
fn deciding_again_after_writing_finds_nothing_to_do() {
    let kinds = Kinds::from([(FIELD, FieldKind::Number)]);
    let wished = wish(Desired::Value(FieldValue::Number(5.into())), None);
    let first = update(&wished, &digests(&wished), None, &holding(&json!(null)), rules(Authorship::Ours, &kinds));
    assert_eq!(first.write.len(), 1);
    let again =
        update(&wished, &digests(&wished), Some(&first.base), &holding(&json!("5")), rules(Authorship::Ours, &kinds));
    assert!(again.write.is_empty());
    assert_eq!(again.base, first.base);
}

#[test]
fn an_unrelated_change_at_the_source_leaves_an_agents_edit_alone() {
    let mut wished = wish(text("a"), None);
    let other = FieldKey::Custom(34);
    wished.fields.insert(other, DesiredField { value: text("new"), owner: None });
    let mut before = base("a", "a");
    before.fields.insert(
        other,
        BaseField { desired: value_digest(&key(), Some("old")), target: value_digest(&key(), Some("old")) },
    );
    let mut current = holding(&json!("agent"));
    current.custom.as_mut().expect("set above").insert(34, json!("old"));
    let decision = update(&wished, &digests(&wished), Some(&before), &current, rules(Authorship::Ours, &Kinds::new()));
    assert_eq!(decision.write.keys().copied().collect::<Vec<_>>(), [other]);
    assert_eq!(decision.base.fields[&FIELD], before.fields[&FIELD]);
}

#[test]
fn a_union_adds_to_what_is_there() {
    let kinds = Kinds::from([(FIELD, FieldKind::MultipleChoice)]);
    let wished = wish(Desired::Value(FieldValue::Choices(vec![json!("a"), json!("b")])), Some(Owner::Union));
    let decision =
        update(&wished, &digests(&wished), None, &holding(&json!(["b", "c"])), rules(Authorship::Theirs, &kinds));
    let expected = WriteValue::Typed(FieldValue::Choices(vec![json!("b"), json!("c"), json!("a")]));
    assert_eq!(decision.write.get(&FIELD), Some(&expected));
}

#[test]
fn a_create_sends_every_known_value_and_no_empty_one() {
    let mut record = wish(text("a"), Some(Owner::Target));
    record.fields.insert(FieldKey::LastName, DesiredField { value: Desired::Empty, owner: None });
    record.fields.insert(FieldKey::BirthAt, DesiredField { value: Desired::Unknown, owner: None });
    let decision = creation(&record, &digests(&record));
    assert_eq!(decision.write.keys().copied().collect::<Vec<_>>(), [FIELD]);
    assert_eq!(decision.base.fields.len(), 2, "unknown has no base");
}

fn digest(text: &str) -> Digest {
    key().digest("email", text)
}

fn child(id: i64, text: &str) -> CurrentChild {
    CurrentChild { id: ChildId(id), key: digest(text) }
}

#[test]
fn a_child_that_is_there_is_not_added_again() {
    let decision = children(&[digest("a")], &[child(1, "a"), child(2, "x")], &[], Owner::Source, true);
    assert_eq!(decision.present, [(ChildId(1), 0)]);
    assert!(decision.add.is_empty() && decision.change.is_empty());
}

#[test]
fn a_changed_address_changes_our_row_and_not_an_agents() {
    let ours = [(digest("old"), ChildId(1))];
    let decision = children(&[digest("new")], &[child(1, "old"), child(2, "x")], &ours, Owner::Source, true);
    assert_eq!(decision.change, [(ChildId(1), 0)]);
    let edited = children(&[digest("new")], &[child(1, "edited by an agent")], &ours, Owner::Source, true);
    assert_eq!(edited.change, [(ChildId(1), 0)], "both changed it, and the source owns it");
    assert!(edited.both_changed && edited.add.is_empty());
    let union = children(&[digest("new")], &[child(1, "old")], &ours, Owner::Union, true);
    assert_eq!(union.add, [0]);
}

#[test]
fn a_blank_filler_adds_children_only_where_there_are_none() {
    assert!(children(&[digest("a")], &[child(1, "x")], &[], Owner::FillBlank, true).add.is_empty());
    assert_eq!(children(&[digest("a")], &[], &[], Owner::FillBlank, true).add, [0]);
}

#[test]
fn a_row_of_ours_that_left_the_source_is_removed_only_where_it_is_as_we_left_it() {
    let ours = [(digest("a"), ChildId(1)), (digest("b"), ChildId(2)), (digest("c"), ChildId(3))];
    let current = [child(1, "a"), child(2, "edited"), child(9, "an agent's")];
    let decision = children(&[], &current, &ours, Owner::Source, true);
    assert_eq!((decision.remove.as_slice(), decision.forget.len()), ([ChildId(1)].as_slice(), 2));
    assert!(decision.both_changed, "the second was edited, the third removed");
    let other_lines = children(&[], &current, &ours, Owner::Source, false);
    assert_eq!((other_lines.remove.len(), other_lines.forget.len()), (0, 3));
    for owner in [Owner::Union, Owner::FillBlank, Owner::Target] {
        let decision = children(&[], &current, &ours, owner, true);
        assert!(decision.remove.is_empty() && decision.change.is_empty(), "{owner:?}");
    }
}

#[test]
fn a_change_that_was_sent_and_not_recorded_is_recognised() {
    let ours = [(digest("old"), ChildId(1))];
    let decision = children(&[digest("new")], &[child(1, "new")], &ours, Owner::Source, true);
    assert_eq!(decision.renamed, [(digest("old"), digest("new"), ChildId(1))]);
    assert!(decision.add.is_empty() && decision.change.is_empty() && !decision.both_changed);
}

#[test]
fn an_owner_that_the_mapping_names_now_is_owed_what_an_earlier_one_left() {
    let kinds = Kinds::from([(FIELD, FieldKind::Text)]);
    let left = base("a", "x");
    for (owner, held, writes) in [
        (Some(Owner::Source), "x", true),
        (None, "x", false),
        (Some(Owner::Source), "y", false),
        (Some(Owner::Target), "x", false),
    ] {
        let wished = wish(text("a"), owner);
        let held = holding(&json!(held));
        let decision = update(&wished, &digests(&wished), Some(&left), &held, rules(Authorship::Ours, &kinds));
        assert_eq!(!decision.write.is_empty(), writes, "{owner:?} {held:?}");
    }
}

#[test]
fn a_union_that_adds_nothing_writes_nothing() {
    let kinds = Kinds::from([(FIELD, FieldKind::MultipleChoice)]);
    let wished = wish(Desired::Value(FieldValue::Choices(vec![json!(1)])), Some(Owner::Union));
    let held = holding(&json!(["2", "1"]));
    let decision = update(&wished, &digests(&wished), None, &held, rules(Authorship::Theirs, &kinds));
    assert!(decision.write.is_empty(), "{:?}", decision.write);
}

#[test]
fn what_the_source_emptied_stays_where_nothing_is_to_be_cleared() {
    let kinds = Kinds::from([(FIELD, FieldKind::Text)]);
    let wished = wish(Desired::Empty, None);
    let held = holding(&json!("a"));
    let rules = Rules { clears: false, ..rules(Authorship::Ours, &kinds) };
    let decision = update(&wished, &digests(&wished), Some(&base("a", "a")), &held, rules);
    assert_eq!((decision.write.len(), decision.kept.as_slice()), (0, [FIELD].as_slice()));
}

#[test]
fn a_stand_in_is_written_at_creation_and_unknown_ever_after() {
    let mut wished = wish(text("a"), None);
    wished.stand_ins.insert(FIELD);
    let known = digests(&wished);
    assert_eq!(creation(&wished, &known).write.len(), 1);
    let kinds = Kinds::from([(FIELD, FieldKind::Text)]);
    let decision =
        update(&wished, &known, Some(&base("b", "b")), &holding(&json!("b")), rules(Authorship::Ours, &kinds));
    assert!(decision.write.is_empty() && decision.base == base("b", "b"));
}

mod properties {
    use proptest::prelude::*;
    use serde_json::Number;

    use super::*;

    const OWNERS: [Option<Owner>; 5] =
        [None, Some(Owner::Source), Some(Owner::FillBlank), Some(Owner::Target), Some(Owner::Union)];

    /// A value of any type.
    fn any_value() -> impl Strategy<Value = FieldValue> {
        prop_oneof![
            "[a-z字]{1,6}".prop_map(FieldValue::Text),
            any::<i64>().prop_map(|number| FieldValue::Number(number.into())),
            (-1.0e12..1.0e12_f64).prop_map(|number| FieldValue::Number(Number::from_f64(number).expect("finite"))),
            any::<bool>().prop_map(FieldValue::Boolean),
            "20[0-9]{2}-0[1-9]-1[0-9]".prop_map(FieldValue::Date),
            "[01][0-9]:[0-5][0-9]".prop_map(FieldValue::Time),
            "20[0-9]{2}-0[1-9]-1[0-9] 1[0-9]:[0-5][0-9]:00".prop_map(FieldValue::DateTime),
            (0..5_i64).prop_map(|option| FieldValue::Choice(json!(option))),
            prop::collection::vec(0..5_i64, 1..4)
                .prop_map(|options| FieldValue::Choices(options.into_iter().map(|option| json!(option)).collect())),
        ]
    }

    fn any_wish() -> impl Strategy<Value = Desired<FieldValue>> {
        prop_oneof![1 => Just(Desired::Unknown), 2 => Just(Desired::Empty), 7 => any_value().prop_map(Desired::Value)]
    }

    /// How FIRST LINE may show what was written (notes 2.3, 3.1, 4.3).
    fn shown(value: &FieldValue, form: u8) -> Value {
        match (value, form % 3) {
            (FieldValue::Number(number), 0) => json!(number.to_string()),
            (FieldValue::Number(number), _) => json!(number),
            (FieldValue::Boolean(yes), 0) => json!(u8::from(*yes)),
            (FieldValue::Boolean(yes), 1) => json!(u8::from(*yes).to_string()),
            (FieldValue::Boolean(yes), _) => json!(yes),
            (FieldValue::Date(date), 0) => json!(format!("{date} 00:00:00")),
            (FieldValue::Date(date), 1) => json!(format!("{date}T00:00:00.000000Z")),
            (FieldValue::Time(time), 0) => json!(format!("{time}:00")),
            (FieldValue::DateTime(time), 0) => json!(time.replacen(' ', "T", 1)),
            (FieldValue::DateTime(time), 1) => json!(time.strip_suffix(":00").unwrap_or(time)),
            (
                FieldValue::Text(text) | FieldValue::Date(text) | FieldValue::Time(text) | FieldValue::DateTime(text),
                _,
            ) => {
                json!(text)
            }
            (FieldValue::Choice(option), 0) => json!(option.to_string()),
            (FieldValue::Choice(option), _) => option.clone(),
            (FieldValue::Choices(options), 0) => {
                json!(options.iter().rev().map(ToString::to_string).collect::<Vec<_>>())
            }
            (FieldValue::Choices(options), 1) => {
                json!(options.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
            (FieldValue::Choices(options), _) => json!(Value::from(options.clone()).to_string()),
        }
    }

    fn held_after(decision: &super::super::FieldDecision, held: &Value, form: u8) -> Value {
        match decision.write.get(&FIELD) {
            None => held.clone(),
            Some(WriteValue::Typed(value)) => shown(value, form),
            Some(WriteValue::Clear) => Value::Null,
            Some(WriteValue::AsRead(value)) => value.clone(),
        }
    }

    fn kind(values: [&Desired<FieldValue>; 2]) -> FieldKind {
        values
            .iter()
            .find_map(|wish| if let Desired::Value(value) = wish { Some(value.kind()) } else { None })
            .unwrap_or(FieldKind::Text)
    }

    proptest! {
        #[test]
        fn what_first_line_shows_of_a_value_is_that_value(value in any_value(), form in 0..3_u8) {
            let read = crate::domain::record::canonical_current(value.kind(), &shown(&value, form));
            prop_assert_eq!(read, Some(value.canonical()));
        }

        #[test]
        fn a_pair_that_was_just_synced_needs_nothing(
            wished in any_wish(), earlier in any_wish(), held in prop::option::of(any_value()), owner in 0..5_usize,
            theirs in any::<bool>(), known in any::<bool>(), clears in any::<bool>(), form in 0..3_u8,
        ) {
            // A union is for lists alone; the mapping refuses it elsewhere.
            let list = matches!(&wished, Desired::Value(FieldValue::Choices(_)));
            let owner = if owner == 4 && !list { None } else { OWNERS[owner] };
            let kinds = Kinds::from([(FIELD, kind([&wished, &earlier]))]);
            let authorship = if theirs { Authorship::Theirs } else { Authorship::Ours };
            let rules = Rules { clears, ..rules(authorship, &kinds) };
            let before = known.then(|| creation(&wish(earlier.clone(), owner), &digests(&wish(earlier, owner))).base);
            let held = held.map_or(Value::Null, |value| shown(&value, form));
            let wished = wish(wished, owner);
            let first = update(&wished, &digests(&wished), before.as_ref(), &holding(&held), rules);
            let now = holding(&held_after(&first, &held, form));
            let again = update(&wished, &digests(&wished), Some(&first.base), &now, rules);
            prop_assert!(again.write.is_empty(), "{:?} then {:?}", first.write, again.write);
            prop_assert!(again.both_changed.is_empty());
        }

        #[test]
        fn a_field_that_the_target_owns_is_never_written_after_creation(
            wished in any_wish(), earlier in any_wish(), held in prop::option::of(any_value()), theirs in any::<bool>(),
            known in any::<bool>(),
        ) {
            let kinds = Kinds::from([(FIELD, kind([&wished, &earlier]))]);
            let authorship = if theirs { Authorship::Theirs } else { Authorship::Ours };
            let before = known.then(|| creation(&wish(earlier.clone(), None), &digests(&wish(earlier, None))).base);
            let held = holding(&held.map_or(Value::Null, |value| shown(&value, 0)));
            let wished = wish(wished, Some(Owner::Target));
            let decision = update(&wished, &digests(&wished), before.as_ref(), &held, rules(authorship, &kinds));
            prop_assert!(decision.write.is_empty());
        }

        #[test]
        fn base_equal_to_both_sides_means_no_request(
            value in prop::option::of(any_value()), owner in 0..5_usize, theirs in any::<bool>(), form in 0..3_u8,
        ) {
            let list = matches!(&value, Some(FieldValue::Choices(_)));
            let owner = if owner == 4 && !list { None } else { OWNERS[owner] };
            let wished = wish(value.clone().map_or(Desired::Empty, Desired::Value), owner);
            let kinds = Kinds::from([(FIELD, value.as_ref().map_or(FieldKind::Text, FieldValue::kind))]);
            let held = holding(&value.as_ref().map_or(Value::Null, |value| shown(value, form)));
            let base = creation(&wished, &digests(&wished)).base;
            let authorship = if theirs { Authorship::Theirs } else { Authorship::Ours };
            let decision = update(&wished, &digests(&wished), Some(&base), &held, rules(authorship, &kinds));
            prop_assert!(decision.write.is_empty() && decision.kept.is_empty() && decision.both_changed.is_empty());
            prop_assert_eq!(decision.base, base);
        }

        #[test]
        fn children_that_were_just_synced_need_nothing_and_strangers_are_never_touched(
            wished in prop::collection::btree_set(0..6_u8, 0..4), ours in prop::collection::btree_set(0..6_u8, 0..4),
            strangers in prop::collection::btree_set(0..6_u8, 0..3), edited in any::<u8>(), owner in 1..5_usize,
            takes in any::<bool>(),
        ) {
            let key_of = |value: &u8| digest(&value.to_string());
            let owner = OWNERS[owner].unwrap_or(Owner::Source);
            let wished: Vec<Digest> = wished.iter().map(key_of).collect();
            let made: Vec<(Digest, ChildId)> = ours.iter().map(|value| (key_of(value), ChildId(i64::from(*value)))).collect();
            let mut current: Vec<CurrentChild> = strangers.iter().map(|value| CurrentChild { id: ChildId(100 + i64::from(*value)), key: key_of(value) }).collect();
            for (at, (key, id)) in made.iter().enumerate() {
                let key = if edited >> at & 1 == 1 { digest(&format!("edited {at}")) } else { *key };
                current.push(CurrentChild { id: *id, key });
            }
            let first = children(&wished, &current, &made, owner, takes);
            let touched = first.change.iter().map(|(id, _)| *id).chain(first.remove.iter().copied());
            for id in touched {
                prop_assert!(made.iter().any(|(_, own)| *own == id));
                prop_assert!(owner == Owner::Source && takes);
            }
            let mut now = current.clone();
            let mut own: Vec<(Digest, ChildId)> = made.iter().filter(|(key, _)| !first.forget.contains(key)).copied().collect();
            now.retain(|child| !first.remove.contains(&child.id));
            own.retain(|(_, id)| !first.remove.contains(id));
            for (id, place) in &first.change {
                now.iter_mut().filter(|child| child.id == *id).for_each(|child| child.key = wished[*place]);
                own.iter_mut().filter(|(_, child)| child == id).for_each(|(key, _)| *key = wished[*place]);
            }
            for (at, place) in (200..).zip(&first.add) {
                now.push(CurrentChild { id: ChildId(at), key: wished[*place] });
                own.push((wished[*place], ChildId(at)));
            }
            let again = children(&wished, &now, &own, owner, takes);
            prop_assert!(again.add.is_empty() && again.change.is_empty() && again.remove.is_empty(), "{:?} then {:?}", first, again);
        }
    }
}
