//! Failures that months have found, each as short as it got.

use super::driver::{Plan, simulate};
use super::operations::{Fate, Op, Operation};
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
    concurrency: 1,
    prefetch: 1,
    deletes: Deletes::Ignore,
    ceiling: Ceiling::High,
    grace_h: 0,
};

/// Lives through these operations.
fn month_of(switches: Switches, list: &[(i64, Op)]) {
    let operations = list.iter().map(|(at, op)| Operation { at: *at, op: *op }).collect();
    if let Err(failure) = simulate(&Plan { seed: 1, switches, operations }) {
        panic!("{failure}");
    }
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
