//! The accounts alone: what must not count as proof.

use roaring::RoaringTreemap;

use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::{DirectionStyle, Verdict};
use crate::sync::scan::Goal;
use crate::sync::scan::head::Head;
use crate::sync::scan::ledger::Ledger;

fn ledger(max_id: u64, newest: i64, count: Option<u64>) -> Ledger {
    let head = Head {
        told: true,
        style: DirectionStyle::Parameter,
        page_size: 10,
        max_id: Some(max_id),
        newest: Some(newest),
        count,
        known: None,
    };
    Ledger::new(&head, RoaringTreemap::new())
}

/// Walks one full pass whose rows are `(id, created_at)`.
fn pass(ledger: &mut Ledger, count: Option<u64>, rows: &[(i64, i64)]) -> Option<Verdict> {
    ledger.begin_pass(true);
    ledger.note_count(count);
    ledger.open_baseline();
    for (id, created_at) in rows {
        ledger.see(LiveDeskId(*id), Some(*created_at), true);
    }
    ledger.note_count(count);
    ledger.end_pass();
    ledger.judge(Goal::Proven, false)
}

#[test]
fn a_contact_of_the_second_of_the_first_look_may_have_come_after_it() {
    // 3 was lost by both passes; 4 took the place of 5, which was deleted, within the second of the first look.
    let mut ledger = ledger(5, 1_000, Some(4));
    let rows = [(1, 0), (2, 0), (6, 1_000)];
    assert_eq!(pass(&mut ledger, Some(4), &[&rows[..], &[(5, 1_000)]].concat()), None);
    assert_eq!(pass(&mut ledger, Some(4), &rows), None);
}

#[test]
fn creation_times_speak_while_nothing_moves() {
    // Ids do not follow creation times here, as after an import: 9 is older than the first look's newest.
    let rows = [(1, 0), (2, 0), (9, 100), (5, 1_000)];
    let mut quiet = ledger(5, 1_000, Some(4));
    assert_eq!(pass(&mut quiet, Some(4), &rows), None);
    assert_eq!(pass(&mut quiet, Some(4), &rows[..3]), Some(Verdict::Proven));

    let mut moved = ledger(5, 1_000, Some(4));
    assert_eq!(pass(&mut moved, Some(4), &rows), None);
    moved.note_count(Some(5));
    assert_eq!(pass(&mut moved, Some(4), &rows[..3]), None);
}

#[test]
fn without_a_count_a_pass_that_repeats_a_row_is_no_proof() {
    let rows = [(1, 0), (2, 0), (3, 0)];
    let repeating = [(1, 0), (2, 0), (2, 0), (3, 0)];
    let mut ledger = ledger(3, 1_000, None);
    assert_eq!(pass(&mut ledger, None, &repeating), None);
    assert_eq!(pass(&mut ledger, None, &rows), None);
    assert_eq!(pass(&mut ledger, None, &rows), Some(Verdict::Proven));
}

#[test]
fn without_a_count_a_pass_that_misses_a_known_row_is_no_proof() {
    let rows = [(1, 0), (2, 0), (3, 0)];
    let mut ledger = ledger(3, 1_000, None);
    assert_eq!(pass(&mut ledger, None, &rows), None);
    assert_eq!(pass(&mut ledger, None, &rows[..2]), None);
    assert_eq!(pass(&mut ledger, None, &rows), None);
    assert_eq!(pass(&mut ledger, None, &rows), Some(Verdict::Proven));
}

#[test]
fn a_count_that_was_higher_just_before_the_pass_is_the_one_to_reach() {
    let rows = [(1, 0), (2, 0), (3, 0)];
    let mut ledger = ledger(4, 1_000, Some(4));
    assert_eq!(pass(&mut ledger, Some(3), &rows), None);
    // The second pass begins after the count has settled.
    assert_eq!(pass(&mut ledger, Some(3), &rows), Some(Verdict::Proven));
}

#[test]
fn a_contact_that_was_hidden_when_it_was_counted_takes_nobodys_place() {
    // 5 is lost by every pass; 4 and 6 come out of hiding during the first one, 0 during the second.
    let rows = [(1, 0), (2, 0), (3, 0), (4, 0), (6, 0)];
    let mut ledger = ledger(7, 1_000, Some(4));
    assert_eq!(pass(&mut ledger, Some(4), &rows), None);
    let rows = [&rows[..], &[(0, 0)]].concat();
    assert_eq!(pass(&mut ledger, Some(6), &rows), None);
    // The second pass has its number of contacts, but not those that were counted.
    assert_eq!(pass(&mut ledger, Some(7), &rows), None);
    let rows = [&rows[..], &[(5, 0)]].concat();
    assert_eq!(pass(&mut ledger, Some(7), &rows), None);
    assert_eq!(pass(&mut ledger, Some(7), &rows), Some(Verdict::Proven));
}

#[test]
fn a_count_that_its_rows_exceed_is_none() {
    let rows = [(1, 0), (2, 0), (3, 0)];
    let mut ledger = ledger(4, 1_000, Some(3));
    ledger.note_miscount();
    assert_eq!(pass(&mut ledger, Some(3), &[&rows[..], &[(3, 0)]].concat()), None);
    assert_eq!(pass(&mut ledger, Some(3), &rows), None, "4 may be what the repeat of 3 stands for");
    assert_eq!(pass(&mut ledger, Some(3), &rows), Some(Verdict::Proven), "two clean passes");
}
