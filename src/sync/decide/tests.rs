//! The table of the three-way decision: one row per situation an operator would argue about.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Authorship, CurrentChild, Kinds, children, creation, update};
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
            false,
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
        let decision = update(&wished, &digests(&wished), base.as_ref(), &held, authorship, &kinds, &key());
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
    let first = update(&wished, &digests(&wished), None, &holding(&json!(null)), Authorship::Ours, &kinds, &key());
    assert_eq!(first.write.len(), 1);
    let again =
        update(&wished, &digests(&wished), Some(&first.base), &holding(&json!("5")), Authorship::Ours, &kinds, &key());
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
    let decision = update(&wished, &digests(&wished), Some(&before), &current, Authorship::Ours, &Kinds::new(), &key());
    assert_eq!(decision.write.keys().copied().collect::<Vec<_>>(), [other]);
    assert_eq!(decision.base.fields[&FIELD], before.fields[&FIELD]);
}

#[test]
fn a_union_adds_to_what_is_there() {
    let kinds = Kinds::from([(FIELD, FieldKind::MultipleChoice)]);
    let wished = wish(Desired::Value(FieldValue::Choices(vec![json!("a"), json!("b")])), Some(Owner::Union));
    let decision =
        update(&wished, &digests(&wished), None, &holding(&json!(["b", "c"])), Authorship::Theirs, &kinds, &key());
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
    let decision = children(&[digest("a")], &[child(1, "a"), child(2, "x")], &[], Owner::Source);
    assert_eq!(decision.present, [(ChildId(1), 0)]);
    assert!(decision.add.is_empty() && decision.change.is_empty());
}

#[test]
fn a_changed_address_changes_our_row_and_not_an_agents() {
    let ours = [(digest("old"), ChildId(1))];
    let decision = children(&[digest("new")], &[child(1, "old"), child(2, "x")], &ours, Owner::Source);
    assert_eq!(decision.change, [(ChildId(1), 0)]);
    let edited = children(&[digest("new")], &[child(1, "edited by an agent")], &ours, Owner::Source);
    assert_eq!(edited.add, [0], "a row that an agent edited is theirs now");
    let union = children(&[digest("new")], &[child(1, "old")], &ours, Owner::Union);
    assert_eq!(union.add, [0]);
}

#[test]
fn a_blank_filler_adds_children_only_where_there_are_none() {
    assert!(children(&[digest("a")], &[child(1, "x")], &[], Owner::FillBlank).add.is_empty());
    assert_eq!(children(&[digest("a")], &[], &[], Owner::FillBlank).add, [0]);
}
