//! Failures that months have found, each as short as it got.

use super::driver::{Plan, Report, simulate};
use super::operations::{Fate, Moment, Op, Operation, Side, Watched};
use super::world::{Ceiling, Deletes, FilterKind, Switches};

/// Platforms without surprises.
const PLAIN: Switches = Switches {
    people: 12,
    page_size: 5,
    shuffled_ties: false,
    minus_only: false,
    by_id: true,
    per_page: 15,
    replaces: false,
    list_omits_columns: false,
    children_apart: false,
    filter: FilterKind::Exact,
    lag_s: 0,
    id_gap: 0,
    stamp_number: true,
    stamp_column: false,
    requests_at_once: 1,
    prefetch: 1,
    deletes: Deletes::Ignore,
    ceiling: Ceiling::High,
    grace_h: 0,
};

/// Lives through these operations.
fn month_of(switches: Switches, list: &[(i64, Op)]) -> Report {
    let operations: Vec<Operation> = list.iter().map(|(at, op)| Operation { at: *at, op: *op }).collect();
    let days = list.last().map_or(1, |(at, _)| at / 86_400 + 2);
    simulate(&Plan { seed: 1, switches, days, operations }).unwrap_or_else(|failure| panic!("{failure}"))
}

/// The same again and again, every eight hours; `time` says how far the kill of that time is away.
fn times<const N: usize>(what: impl Fn(u32) -> [(i64, Op); N]) -> Vec<(i64, Op)> {
    let at_time = |time: u32| what(time).map(|(at, op)| (i64::from(time) * 28_800 + at, op));
    (0..18).flat_map(at_time).collect()
}

#[test]
fn a_month_in_which_nothing_happens_is_quiet() {
    month_of(PLAIN, &[]);
}

/// The link was settled without a base, so the message was taken for what had always been there, and never carried.
#[test]
fn what_changes_between_a_lost_answer_and_the_look_for_its_record_is_carried() {
    let switches = Switches { lag_s: 30, ..PLAIN };
    month_of(switches, &[(57_000, Op::Create(1)), (57_000, Op::Doubt(Fate::Applied, 1)), (57_700, Op::Message(12))]);
}

/// The next sync took the page that was carried for the tail that it knows, and the rest waited for a sweep.
#[test]
fn an_import_of_which_a_killed_sync_carried_a_part_is_carried_by_the_next_sync() {
    month_of(PLAIN, &times(|time| [(5_395, Op::Import(11)), (5_396, Op::Kill(4 + 2 * time, Moment::After))]));
}

/// A sync, which reads no labels, settled the contact meanwhile, and the tag was never sent again.
#[test]
fn a_tag_whose_request_died_with_its_process_is_put_on_after_all() {
    let label = |time| Op::Edit(6 + time % 6, Watched::Label);
    month_of(PLAIN, &times(|time| [(28_700, label(time)), (28_790, Op::Kill(3 + time, Moment::Before))]));
}

/// What the dead process had sent counted as doubtful only from when its platform was back, so another run passed over it.
#[test]
fn a_doubt_grows_old_while_the_process_that_found_it_waits_for_a_platform() {
    let faults = |time| {
        [(5_100, Op::Create(1)), (5_395, Op::Kill(3 + time, Moment::Before)), (5_420, Op::Outage(Side::Line, 60, true))]
    };
    month_of(PLAIN, &times(faults));
}

#[test]
fn what_is_gone_is_deleted_in_the_end_and_what_is_hidden_or_an_agent_changed_stays() {
    let switches = Switches { deletes: Deletes::Delete, grace_h: 24, ..PLAIN };
    // An agent changes everybody, then one more comes; one of those and that one are deleted.
    let mut list: Vec<(i64, Op)> = (0..12).map(|who| (40_000, Op::AgentEdit(who, Watched::City))).collect();
    list.extend([(50_000, Op::Hide(5)), (60_000, Op::Create(1)), (90_000, Op::Delete(3)), (90_000, Op::Delete(11))]);
    assert_eq!(month_of(switches, &list).deleted, 1);
}

#[test]
fn a_full_disk_stops_runs_and_raises_an_alarm_and_both_are_over_when_there_is_room() {
    let report = month_of(PLAIN, &[(5_000, Op::DiskFull(100)), (9_000, Op::Message(3))]);
    if report.tally.contains_key("disk full") {
        assert!(report.disk_full > 0);
        assert_eq!((report.raised["disk_low"], report.cleared["disk_low"]), (1, 1));
    }
}

#[test]
fn a_key_that_dies_and_an_outage_raise_their_alarms_and_both_end() {
    let outage = (100_000, Op::Outage(Side::Desk, 120, true));
    let report = month_of(PLAIN, &[(5_000, Op::Token(Side::Line, 200)), (5_100, Op::Message(3)), outage]);
    for alarm in ["credentials_refused", "platform_down", "run_failed"] {
        assert_eq!((alarm, report.raised.get(alarm)), (alarm, Some(&1)));
        assert_eq!((alarm, report.cleared.get(alarm)), (alarm, Some(&1)));
    }
}
