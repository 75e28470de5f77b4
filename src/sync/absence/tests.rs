//! Judgement by tables and properties: never without proof, never above the ceiling, never what is not ours to delete.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::unchanged::{Children, Known, changed};
use super::{DeleteRules, Judgement, MarkWith, Next, Policy, Rest, allowed, judge, within_ceiling};
use crate::clock::Timestamp;
use crate::domain::base::{Base, BaseField, TagBase, name_digest, value_digest};
use crate::domain::field::FieldKind;
use crate::domain::hash::{Digest, HashKey};
use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId, RunId};
use crate::domain::record::FieldKey;
use crate::domain::target::TargetContact;
use crate::store::{Absence, Deletion, Finding, Mark, Origin, ProvenSweep, Seen, Standing};

fn rules(policy: Policy) -> DeleteRules {
    DeleteRules { policy, grace: Duration::from_millis(10), ..DeleteRules::default() }
}

fn marking() -> Policy {
    Policy::Mark(MarkWith::Tag("gone".into()))
}

/// Sweep 5 at 500, sweep 4 at 400 and so on; the newest first.
fn proven(sweeps: &[i64]) -> Vec<ProvenSweep> {
    let sweeps = sweeps.iter().rev();
    sweeps.map(|sweep| ProvenSweep { sweep: *sweep, started_at: Timestamp(sweep * 100) }).collect()
}

/// Linked at 50 by this program, settled, and last seen by sweep 3.
fn seen() -> Seen {
    Seen {
        livedesk_id: LiveDeskId(1),
        target: FirstLineId(101),
        origin: Origin::Created,
        standing: Standing::Live,
        settled: true,
        in_trouble: false,
        touched_at: Timestamp(50),
        last_sweep: Some(3),
        sighted_at: Some(Timestamp(300)),
        absence: None,
    }
}

fn absence(since: i64) -> Absence {
    Absence {
        livedesk_id: LiveDeskId(1),
        since: Timestamp(since),
        finding: Finding::Missing,
        asked_at: None,
        mark: Mark::None,
        place: None,
        deletion: Deletion::None,
        why: None,
        run: RunId(1),
    }
}

#[test]
fn who_was_seen_by_one_of_the_last_proven_sweeps_or_read_since_is_present() {
    let rules = rules(Policy::Delete);
    let now = Timestamp(900);
    let waiting = Judgement::Absent(Next::Rest(Rest::Waiting));
    let rows = [
        (seen(), &[4, 5][..], waiting),
        (seen(), &[5], Judgement::Present),
        (seen(), &[], Judgement::Present),
        // Sweeps that were not proven do not count, but what they saw does.
        (Seen { last_sweep: Some(6), sighted_at: Some(Timestamp(600)), ..seen() }, &[4, 5], Judgement::Present),
        (Seen { last_sweep: Some(4), sighted_at: Some(Timestamp(400)), ..seen() }, &[4, 5], Judgement::Present),
        // Linked by a quick cycle, and never seen by a sweep.
        (Seen { last_sweep: None, sighted_at: None, touched_at: Timestamp(399), ..seen() }, &[4, 5], waiting),
        (
            Seen { last_sweep: None, sighted_at: None, touched_at: Timestamp(400), ..seen() },
            &[4, 5],
            Judgement::Present,
        ),
        // Written by a quick cycle while sweep 4 went on.
        (Seen { touched_at: Timestamp(450), ..seen() }, &[4, 5], Judgement::Present),
        // It was absent and was seen again, whatever happened since.
        (Seen { absence: Some(absence(299)), ..seen() }, &[4, 5], Judgement::Back),
        (Seen { absence: Some(absence(301)), touched_at: Timestamp(302), ..seen() }, &[], Judgement::Back),
        (Seen { absence: Some(absence(301)), ..seen() }, &[], Judgement::Present),
    ];
    for (seen, sweeps, expected) in rows {
        assert_eq!(judge(&seen, &proven(sweeps), &rules, now), expected, "{seen:?} {sweeps:?}");
    }
}

#[test]
fn who_is_seen_again_is_back_though_the_absence_was_noted_before_the_clock_was_set_back() {
    let rules = rules(Policy::Delete);
    let ahead = Some(absence(100 * 3_600_000));
    let back = Seen { last_sweep: Some(5), sighted_at: Some(Timestamp(500)), absence: ahead.clone(), ..seen() };
    assert_eq!(judge(&back, &proven(&[4, 5]), &rules, Timestamp(900)), Judgement::Back);
    let still_gone = Seen { absence: ahead, ..seen() };
    assert!(matches!(judge(&still_gone, &proven(&[4, 5]), &rules, Timestamp(900)), Judgement::Absent(_)));
}

#[test]
fn what_is_done_depends_on_the_policy_and_on_whose_the_record_is() {
    let known = |change: fn(&mut Absence)| {
        let mut absence = absence(800);
        change(&mut absence);
        Seen { absence: Some(absence), ..seen() }
    };
    let rest = |reason| Judgement::Absent(Next::Rest(reason));
    let delete = Judgement::Absent(Next::Delete);
    let mark = Judgement::Absent(Next::Mark);
    let rows = [
        (Policy::Ignore, known(|_| {}), rest(Rest::Ignored)),
        (Policy::Delete, known(|_| {}), delete),
        (Policy::Delete, known(|row| row.since = Timestamp(895)), rest(Rest::Waiting)),
        (Policy::Delete, known(|row| row.finding = Finding::Hidden), rest(Rest::Hidden)),
        (Policy::Delete, known(|row| row.deletion = Deletion::Kept), rest(Rest::Changed)),
        (Policy::Delete, Seen { origin: Origin::Adopted, ..known(|_| {}) }, rest(Rest::NotOurs)),
        (Policy::Delete, Seen { origin: Origin::Rebuilt, ..known(|_| {}) }, rest(Rest::NotOurs)),
        (Policy::Delete, Seen { origin: Origin::Decided, ..known(|_| {}) }, rest(Rest::NotOurs)),
        (Policy::Delete, Seen { in_trouble: true, ..known(|_| {}) }, rest(Rest::InTrouble)),
        (Policy::Delete, Seen { settled: false, ..known(|_| {}) }, rest(Rest::InTrouble)),
        // Begun by a run that died: gone on with.
        (Policy::Delete, Seen { settled: false, ..known(|row| row.deletion = Deletion::UnderWay) }, delete),
        (Policy::Delete, Seen { standing: Standing::Alias, ..known(|_| {}) }, rest(Rest::Vanished)),
        (marking(), Seen { standing: Standing::Gone, ..known(|_| {}) }, rest(Rest::Vanished)),
        (marking(), Seen { origin: Origin::Adopted, ..known(|_| {}) }, mark),
        (marking(), known(|row| row.mark = Mark::Ours), rest(Rest::Marked)),
        (marking(), known(|row| row.mark = Mark::Found), rest(Rest::Marked)),
        (marking(), known(|row| row.mark = Mark::Putting), mark),
        (marking(), known(|row| row.finding = Finding::Hidden), rest(Rest::Hidden)),
    ];
    for (policy, seen, expected) in rows {
        assert_eq!(
            judge(&seen, &proven(&[4, 5]), &rules(policy.clone()), Timestamp(900)),
            expected,
            "{policy:?} {seen:?}"
        );
    }
}

#[test]
fn what_came_to_nothing_rests_the_longer_the_longer_its_contact_is_gone_and_is_tried_again() {
    const HOUR: i64 = 3_600_000;
    let tried = |since: i64, tried: i64, deletion| {
        let why = Some(String::from("refused (422)"));
        let row = Absence { since: Timestamp(since), asked_at: Some(Timestamp(tried)), why, deletion, ..absence(0) };
        Seen { absence: Some(row), settled: false, ..seen() }
    };
    let at = |seen: &Seen, policy: Policy, hour: i64| {
        judge(seen, &proven(&[4, 5]), &rules(policy), Timestamp(500 + hour * HOUR))
    };
    let refused = Judgement::Absent(Next::Rest(Rest::Refused));
    for (gone_for, rests_for) in [(0, 12), (20, 20), (100, 100), (24 * 300, 24 * 7)] {
        let since = 500;
        let seen = tried(since, since + gone_for * HOUR, Deletion::UnderWay);
        let over = gone_for + rests_for;
        assert_eq!(at(&seen, Policy::Delete, over - 1), refused, "{gone_for}");
        assert_eq!(at(&seen, Policy::Delete, over), Judgement::Absent(Next::Delete), "{gone_for}");
        assert_eq!(at(&seen, marking(), over - 1), refused, "{gone_for}");
        assert_eq!(at(&seen, marking(), over), Judgement::Absent(Next::Mark), "{gone_for}");
    }
    let seen = Seen { settled: true, ..tried(500, 500 + 99 * HOUR, Deletion::None) };
    assert_eq!(at(&seen, Policy::Delete, 1), Judgement::Absent(Next::Delete), "the clock was set back since");
}

#[test]
fn the_ceiling_is_the_lower_of_number_and_share_and_at_least_one() {
    let with = |ceiling, percent| DeleteRules { ceiling, ceiling_percent: percent, ..DeleteRules::default() };
    for (ceiling, percent, links, limit) in [
        (20, Some(1.0), 100_000, 20),
        (20, Some(1.0), 1_000, 10),
        (20, Some(1.0), 30, 1),
        (20, Some(1.0), 0, 0),
        (20, Some(0.0), 1_000, 0),
        (0, Some(1.0), 1_000, 0),
        (500, None, 30, 500),
    ] {
        assert_eq!(with(ceiling, percent).limit(links), limit, "{ceiling} {percent:?} {links}");
    }
}

fn some_seen() -> impl Strategy<Value = Seen> {
    let origin =
        prop_oneof![Just(Origin::Created), Just(Origin::Adopted), Just(Origin::Rebuilt), Just(Origin::Decided)];
    let standing = prop_oneof![Just(Standing::Live), Just(Standing::Alias), Just(Standing::Gone)];
    let finding =
        prop_oneof![Just(Finding::Unasked), Just(Finding::Missing), Just(Finding::Hidden), Just(Finding::Unknown)];
    let deletion = prop_oneof![Just(Deletion::None), Just(Deletion::UnderWay), Just(Deletion::Kept)];
    let mark = prop_oneof![Just(Mark::None), Just(Mark::Putting), Just(Mark::Ours), Just(Mark::Found)];
    let row = (0..1_000_i64, finding, deletion, mark);
    let sight = prop::option::of(1..9_i64);
    (origin, standing, any::<bool>(), any::<bool>(), 0..1_000_i64, sight, prop::option::of(row)).prop_map(
        |(origin, standing, settled, in_trouble, touched, last_sweep, row)| Seen {
            origin,
            standing,
            settled,
            in_trouble,
            touched_at: Timestamp(touched),
            last_sweep,
            sighted_at: last_sweep.map(|sweep| Timestamp(sweep * 100)),
            absence: row.map(|(since, finding, deletion, mark)| Absence { finding, mark, deletion, ..absence(since) }),
            ..seen()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_done_without_as_many_proven_sweeps_after_the_last_sight(
        seen in some_seen(),
        sweeps in prop::collection::btree_set(1..9_i64, 0..5),
        absences in 2..5_u32,
        deletes in any::<bool>(),
        finding in prop_oneof![Just(Finding::Missing), Just(Finding::Hidden), Just(Finding::Unknown)],
    ) {
        let policy = if deletes { Policy::Delete } else { marking() };
        let rules = DeleteRules { absences, ..rules(policy) };
        let sweeps: Vec<i64> = sweeps.into_iter().collect();
        let now = Timestamp(1_000);
        let Judgement::Absent(next) = judge(&seen, &proven(&sweeps), &rules, now) else { return Ok(()) };
        // Told from the other side: every one of these sweeps began after each sign of life.
        let last_sight = seen.last_sweep.map_or(seen.touched_at.0, |sweep| (sweep * 100).max(seen.touched_at.0));
        let missed = sweeps.iter().filter(|sweep| **sweep * 100 > last_sight).count();
        prop_assert!(missed >= usize::try_from(absences).unwrap(), "{missed}");
        if next == Next::Delete {
            prop_assert_eq!(seen.origin, Origin::Created);
            prop_assert_eq!(seen.standing, Standing::Live);
            prop_assert!(!seen.in_trouble);
            let row = seen.absence.as_ref();
            prop_assert!(row.is_some_and(|row| row.since.0 + 10 <= now.0 && row.deletion != Deletion::Kept));
            prop_assert_eq!(allowed(next, finding), finding == Finding::Missing);
        }
        if !matches!(next, Next::Rest(_)) {
            prop_assert!(!allowed(next, Finding::Hidden));
            prop_assert!(seen.absence.as_ref().is_none_or(|row| row.finding != Finding::Hidden));
        }
    }

    #[test]
    fn never_more_than_the_ceiling(
        candidates in 0..2_000_u64,
        ceiling in 0..100_u64,
        percent in prop::option::of(0.0..5.0_f64),
        links in 0..5_000_u64,
    ) {
        let rules = DeleteRules { ceiling, ceiling_percent: percent, ..DeleteRules::default() };
        let limit = rules.limit(links);
        prop_assert!(limit <= ceiling);
        match within_ceiling(candidates, &rules, links) {
            Ok(()) => prop_assert!(candidates <= limit),
            Err(hit) => prop_assert!(hit.candidates == candidates && hit.ceiling == limit && candidates > limit),
        }
    }
}

/// A record that this program made, as it left it, and what it knows of it.
struct Made {
    key: HashKey,
    record: TargetContact,
    base: Base,
    emails: BTreeSet<(ChildId, Digest)>,
    tags: BTreeMap<Digest, Vec<i64>>,
}

impl Made {
    fn new() -> Self {
        let key = HashKey::new([3; 32]);
        let record = TargetContact {
            id: FirstLineId(101),
            profile_id: None,
            standard: BTreeMap::from([
                (FieldKey::FirstName, json!("Lin")),
                (FieldKey::LastName, Value::Null),
                (FieldKey::MembershipNo, json!("LD-1")),
            ]),
            custom: Some(BTreeMap::from([(32, json!("7")), (33, Value::Null), (34, json!("Taipei"))])),
            custom_unreadable: false,
            emails: Some(Vec::new()),
            phones: Some(Vec::new()),
            tag_ids: Some(vec![5]),
            company_ids: None,
        };
        let held = |text| {
            let digest = value_digest(&key, text);
            BaseField { desired: digest, target: digest }
        };
        let mut base = Base::default();
        base.fields.insert(FieldKey::FirstName, held(Some("Lin")));
        base.fields.insert(FieldKey::LastName, held(None));
        base.fields.insert(FieldKey::Custom(32), held(Some("7")));
        let vip = name_digest(&key, "vip");
        base.tags.insert(vip, TagBase::Ours);
        let emails = BTreeSet::from([(ChildId(9), Digest([9; 16]))]);
        Self { key, record, base, emails, tags: BTreeMap::from([(vip, vec![5])]) }
    }

    fn changed(&self, emails: Option<BTreeSet<(ChildId, Digest)>>) -> Option<String> {
        let children = Children { emails, phones: Some(BTreeSet::new()) };
        let known = Known {
            base: &self.base,
            stamp: &BTreeMap::from([(FieldKey::MembershipNo, String::from("LD-1"))]),
            emails: &self.emails,
            phones: &BTreeSet::new(),
            tags: &self.tags,
            // The tenant fills this one in by itself.
            defaults: &BTreeMap::from([(34, json!("Taipei"))]),
            own_tag: Some(77),
            own_field: Some((FieldKey::Custom(35), "1")),
            kinds: &BTreeMap::from([
                (FieldKey::Custom(32), FieldKind::Number),
                (FieldKey::Custom(35), FieldKind::Boolean),
            ]),
            key: &self.key,
        };
        changed(&self.record, &children, known)
    }

    fn with(change: impl FnOnce(&mut TargetContact)) -> Option<String> {
        let mut made = Self::new();
        change(&mut made.record);
        made.changed(Some(made.emails.clone()))
    }
}

#[test]
fn a_record_is_unchanged_only_if_every_field_child_and_tag_is_as_it_was_left() {
    assert_eq!(Made::with(|_| {}), None);
    // Our own marks are no change.
    assert_eq!(Made::with(|record| record.tag_ids = Some(vec![5, 77])), None);
    assert_eq!(Made::with(|record| drop(record.custom.as_mut().unwrap().insert(35, json!("1")))), None);
    // A number may be spelt in another way.
    assert_eq!(Made::with(|record| drop(record.custom.as_mut().unwrap().insert(32, json!(7.0)))), None);
    let rows: Vec<(Option<String>, &str)> = vec![
        (Made::with(|record| drop(record.standard.insert(FieldKey::FirstName, json!("Chen")))), "first_name"),
        (Made::with(|record| drop(record.standard.insert(FieldKey::LastName, json!("Amy")))), "last_name"),
        (Made::with(|record| drop(record.standard.insert(FieldKey::BirthAt, json!("1985-08-27")))), "birth_at"),
        (Made::with(|record| drop(record.standard.insert(FieldKey::MembershipNo, json!("M-1")))), "membership_no"),
        (Made::with(|record| drop(record.custom.as_mut().unwrap().insert(33, json!("x")))), "cz_col 33"),
        (Made::with(|record| drop(record.custom.as_mut().unwrap().insert(34, json!("Tainan")))), "cz_col 34"),
        (Made::with(|record| drop(record.custom.as_mut().unwrap().remove(&32))), "cz_col 32"),
        (Made::with(|record| record.custom = None), "cz_cols not shown"),
        (Made::with(|record| record.tag_ids = Some(vec![5, 6])), "tags"),
        (Made::with(|record| record.tag_ids = Some(vec![])), "tags"),
        (Made::with(|record| record.tag_ids = None), "tags not shown"),
        (Made::with(|record| record.company_ids = Some(vec![4])), "companies"),
    ];
    for (found, expected) in rows {
        assert_eq!(found.as_deref(), Some(expected));
    }
    let mut made = Made::new();
    let another = BTreeSet::from([(ChildId(9), Digest([8; 16]))]);
    let more: BTreeSet<_> = made.emails.iter().copied().chain([(ChildId(10), Digest([8; 16]))]).collect();
    for held in [another, more, BTreeSet::new()] {
        assert_eq!(made.changed(Some(held)).as_deref(), Some("emails"));
    }
    assert_eq!(made.changed(None).as_deref(), Some("emails not shown"));
    // An agent's word that was left standing is the agent's, although it has not changed since.
    let theirs = BaseField { desired: value_digest(&made.key, Some("8")), target: value_digest(&made.key, Some("7")) };
    made.base.fields.insert(FieldKey::Custom(32), theirs);
    assert_eq!(made.changed(Some(made.emails.clone())).as_deref(), Some("cz_col 32"));
}
