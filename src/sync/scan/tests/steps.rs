//! Single rules of passes and sweeps, one world each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringTreemap;

use super::world::{Counting, Oddity, Op, Spelling, State, Ties, Walk, World, ids, walk, walk_with};
use crate::domain::sweep::{Direction, DirectionStyle, Order, ScanPosition, Verdict};
use crate::sync::ports::PortError;
use crate::sync::scan::pass::Pass;
use crate::sync::scan::{self, Goal, Resume, ScanError, Sweep, SweepPlan, SweepStep};

/// Answers of a sweep are numbered from 0; the head is the first, so page n of the first pass is number n.
const HEAD: usize = 1;

fn orders(walk: &Walk) -> Vec<String> {
    walk.report.passes.iter().map(|pass| pass.order.to_string()).collect()
}

fn pages_asked(world: &World, order: Order) -> Vec<u32> {
    let state = world.state.lock().unwrap();
    state.log.iter().skip(HEAD).filter(|request| request.order == order).map(|request| request.page).collect()
}

async fn proven(state: State) -> (Arc<World>, Walk) {
    let world = state.world();
    let walk = walk(&world).await.unwrap();
    assert_eq!(walk.report.verdict, Verdict::Proven, "{:#?}", walk.report);
    (world, walk)
}

#[tokio::test]
async fn a_quiet_account_is_proven_by_two_passes_in_different_orders() {
    let (world, walk) = proven(World::quiet(40)).await;
    assert_eq!(orders(&walk), ["created_at asc", "email asc"]);
    assert_eq!(walk.seen(), ids(&world));
    assert_eq!((walk.report.distinct, walk.report.count), (40, Some(40)));
    // The short page and the empty one are each read twice.
    assert_eq!(pages_asked(&world, Order::ROUND[0]), [1, 2, 3, 3, 4, 4]);
}

#[tokio::test]
async fn an_empty_account_is_proven_empty() {
    let (_, walk) = proven(World::quiet(0)).await;
    assert_eq!(walk.report.distinct, 0);
}

#[tokio::test]
async fn a_sweep_counts_what_a_single_pass_loses() {
    for seed in 0..20 {
        let (world, walk) = proven(World::tied(150, seed)).await;
        assert_eq!(walk.seen(), ids(&world));
        assert!(walk.report.passes.len() > 2);
    }
}

#[tokio::test]
async fn counted_is_enough_when_it_is_the_goal() {
    let world = World::quiet(40).world();
    let walk = walk_with(&world, SweepPlan::new(Goal::Counted), None).await.unwrap();
    assert_eq!(walk.report.verdict, Verdict::Counted);
    assert_eq!(walk.report.passes.len(), 1);
}

#[tokio::test]
async fn the_page_size_is_learned_and_never_assumed() {
    for size in [1, 10, 15, 100] {
        let mut state = World::quiet(45);
        state.size = size;
        let (world, walk) = proven(state).await;
        assert_eq!(walk.seen(), ids(&world), "page size {size}");
    }
}

#[tokio::test]
async fn a_server_that_ignores_direction_is_asked_with_a_minus() {
    for mut state in [World::quiet(40), World::tied(60, 2), World::tied(60, 3)] {
        state.spelling = Spelling::MinusOnly;
        let (world, _) = proven(state).await;
        let log = &world.state.lock().unwrap().log;
        let last = log.iter().rfind(|request| request.order.direction == Direction::Descending);
        assert_eq!(last.map(|request| request.style), Some(DirectionStyle::Minus));
    }
}

#[tokio::test]
async fn a_server_without_any_descending_order_is_refused() {
    let mut state = World::quiet(40);
    state.spelling = Spelling::Neither;
    assert!(matches!(walk(&state.world()).await, Err(ScanError::DirectionIgnored)));
}

fn minus_is_refused() -> PortError {
    PortError::Refused { status: 422, fields: BTreeSet::new() }
}

#[tokio::test]
async fn a_spelling_that_is_refused_is_only_no_spelling() {
    // A single contact, and an import of one instant: the direction cannot be told, and the minus is no help.
    for n in [1, 40] {
        let mut state = World::quiet(n);
        state.minus_fails = Some(minus_is_refused);
        for person in &mut state.people {
            person.created = 1_700_000_000;
        }
        let (_, walk) = proven(state).await;
        assert_eq!(walk.report.distinct, n as u64);
    }
    let mut ignored = World::quiet(40);
    ignored.spelling = Spelling::MinusOnly;
    ignored.minus_fails = Some(minus_is_refused);
    assert!(matches!(walk(&ignored.world()).await, Err(ScanError::DirectionIgnored)));
}

#[tokio::test]
async fn another_failure_of_a_spelling_ends_the_sweep() {
    let mut state = World::quiet(1);
    state.minus_fails = Some(|| PortError::Stop { message: "status 401".into(), source: None });
    let error = walk(&state.world()).await.unwrap_err();
    assert!(matches!(error, ScanError::Source(PortError::Stop { .. })), "{error:?}");
}

#[tokio::test]
async fn a_page_of_a_pass_that_is_refused_stops_with_a_clear_message() {
    let mut state = World::quiet(40);
    state.spelling = Spelling::MinusOnly;
    let world = state.world();
    let mut sweep = Sweep::start(Arc::clone(&world), SweepPlan::new(Goal::Proven), None).await.unwrap();
    sweep.pass = Pass::start(ScanPosition { pass: 3, page: 1 }, 15);
    world.state.lock().unwrap().minus_fails = Some(minus_is_refused);
    match sweep.next().await {
        Err(ScanError::Source(PortError::Stop { message, .. })) => {
            assert!(message.contains("page 1") && message.contains("status 422"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_ignored_direction_that_ties_hid_at_first_is_found_in_its_pass() {
    let mut state = World::quiet(60);
    state.spelling = Spelling::Neither;
    for person in state.people.iter_mut().take(20) {
        person.created = 1_700_000_000;
    }
    // The head shows only the tied ones, in every spelling.
    let world = state.world();
    let mut sweep = Sweep::start(world, SweepPlan::new(Goal::Proven), None).await.unwrap();
    // The sweep would be proven before it walks a descending order: look at that pass itself.
    sweep.pass = Pass::start(ScanPosition { pass: 3, page: 1 }, 15);
    let error = loop {
        match sweep.next().await {
            Ok(SweepStep::Page(_)) => {}
            Ok(SweepStep::Finished(report)) => panic!("finished: {report:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ScanError::Unordered { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_sort_is_refused() {
    let mut state = World::quiet(200);
    state.sorts = false;
    let error = walk(&state.world()).await.unwrap_err();
    assert!(matches!(error, ScanError::DirectionIgnored | ScanError::Unordered { .. }), "{error}");
}

#[tokio::test]
async fn contacts_of_one_instant_are_no_reason_to_refuse() {
    let mut state = World::quiet(40);
    state.people.iter_mut().for_each(|person| person.created = 1_700_000_000);
    state.ties = Ties::PerAnswer;
    let (world, walk) = proven(state).await;
    assert_eq!(walk.seen(), ids(&world));
}

#[tokio::test]
async fn a_stuck_server_is_an_error_and_not_a_loop() {
    let mut state = World::quiet(100);
    state.stuck_from = Some(3);
    let error = walk(&state.world()).await.unwrap_err();
    assert!(matches!(error, ScanError::Stuck { page: 4, .. }), "{error}");
}

#[tokio::test]
async fn a_page_of_contacts_inserted_between_two_pages_is_not_taken_for_a_stuck_server() {
    for pages in [1, 2] {
        let mut state = World::quiet(100);
        // The newest first: all of them come before what was read already, and again before the next page.
        for page in 1..=pages {
            state.planned.insert(HEAD + 2 * page - 1, vec![(Op::Insert, 0); 15]);
        }
        let world = state.world();
        let mut sweep = Sweep::start(Arc::clone(&world), SweepPlan::new(Goal::Proven), None).await.unwrap();
        sweep.pass = Pass::start(ScanPosition { pass: 3, page: 1 }, 15);
        let mut seen = BTreeSet::new();
        while let SweepStep::Page(page) = sweep.next().await.unwrap() {
            seen.extend(page.fresh.iter().map(|contact| contact.id.0));
        }
        assert_eq!(seen, ids(&world), "{pages}");
    }
}

#[tokio::test]
async fn how_descending_order_is_spelled_is_told_by_activity_where_all_were_created_at_one_time() {
    let told = async |spelling, contacts, active: bool| {
        let mut state = World::quiet(contacts);
        state.spelling = spelling;
        for person in &mut state.people {
            person.created = 1_700_000_000;
            person.active = person.active.filter(|_| active);
        }
        scan::spelling(state.world().as_ref()).await.unwrap()
    };
    assert_eq!(told(Spelling::Both, 40, true).await, scan::Spelling::Told(DirectionStyle::Parameter));
    assert_eq!(told(Spelling::MinusOnly, 40, true).await, scan::Spelling::Told(DirectionStyle::Minus));
    assert_eq!(told(Spelling::Neither, 40, true).await, scan::Spelling::Untold);
    assert_eq!(told(Spelling::MinusOnly, 40, false).await, scan::Spelling::Untold);
    assert_eq!(told(Spelling::MinusOnly, 15, false).await, scan::Spelling::OnePage);
    assert_eq!(told(Spelling::MinusOnly, 0, false).await, scan::Spelling::OnePage);
}

#[tokio::test]
async fn a_page_that_repeats_the_one_before_once_is_read_again() {
    let mut state = World::quiet(100);
    state.odd.insert(4, Oddity::PageBefore);
    let (world, walk) = proven(state).await;
    assert_eq!(walk.seen(), ids(&world));
    assert_eq!(walk.report.passes.len(), 2);
}

#[tokio::test]
async fn a_server_that_goes_round_in_circles_meets_the_ceiling() {
    let mut state = World::quiet(100);
    state.endless = true;
    let error = walk(&state.world()).await.unwrap_err();
    assert!(matches!(error, ScanError::Endless { ceiling: 114, .. }), "{error}");
}

#[tokio::test]
async fn a_count_far_too_low_is_no_ceiling() {
    let mut state = World::quiet(2_000);
    state.counting = Counting::Off(-1_999);
    let (world, walk) = proven(state).await;
    assert_eq!(walk.seen(), ids(&world));
}

#[tokio::test]
async fn an_empty_page_in_the_middle_is_read_again_before_it_is_believed() {
    let mut state = World::quiet(100);
    state.odd.insert(3, Oddity::Empty);
    let (world, walk) = proven(state).await;
    assert_eq!(walk.seen(), ids(&world));
    assert_eq!(walk.report.passes.len(), 2);
    assert_eq!(pages_asked(&world, Order::ROUND[0])[..5], [1, 2, 3, 3, 4]);
}

#[tokio::test]
async fn a_short_page_is_read_again_and_the_full_answer_replaces_it() {
    let mut state = World::quiet(100);
    state.odd.insert(1, Oddity::Cut(4));
    state.odd.insert(4, Oddity::Cut(7));
    let (world, walk) = proven(state).await;
    assert_eq!(walk.seen(), ids(&world));
    assert_eq!(walk.report.passes.len(), 2);
    assert!(walk.report.passes.iter().all(|pass| pass.added % 50 == 0), "the first pass lost nothing");
}

#[tokio::test]
async fn a_confirmed_short_page_does_not_end_the_pass() {
    let mut state = World::quiet(100);
    state.odd.insert(3, Oddity::Cut(7));
    state.odd.insert(4, Oddity::Cut(7));
    let (world, walk) = proven(state).await;
    assert_eq!(walk.seen(), ids(&world));
    assert_eq!(pages_asked(&world, Order::ROUND[0]).last(), Some(&8));
}

#[tokio::test]
async fn a_falling_count_steps_back_to_the_rows_that_shifted() {
    for window in [1, 4] {
        let mut state = World::quiet(100);
        // Before page 4: one contact of page 1 goes. Before page 6: twenty go at once.
        state.planned.insert(4, vec![(Op::Delete, 0)]);
        state.planned.insert(9, (0..20).map(|_| (Op::Delete, 1)).collect());
        let world = state.world_with_window(window);
        let walk = walk(&world).await.unwrap();
        assert_eq!(walk.report.verdict, Verdict::Proven);
        assert_eq!(walk.report.passes[0].steps_back, 2, "window {window}");
        assert_eq!(walk.report.passes[0].added, walk.report.distinct, "the first pass lost nothing");
        assert!(ids(&world).is_subset(&walk.seen()));
    }
}

#[tokio::test]
async fn a_delete_before_the_empty_page_is_not_the_end_of_the_pass() {
    let mut state = World::quiet(31);
    state.planned.insert(3, vec![(Op::Delete, 0)]);
    let (world, walk) = proven(state).await;
    assert_eq!(walk.report.passes[0].added, 31 - 1 + 1, "the last contact shifted to page 2 and was caught there");
    assert!(ids(&world).is_subset(&walk.seen()));
}

#[tokio::test]
async fn a_delete_hidden_by_an_insert_is_made_good_by_another_pass() {
    let mut state = World::quiet(100);
    state.planned.insert(4, vec![(Op::Swap, 0)]);
    let (world, walk) = proven(state).await;
    assert_eq!(walk.report.passes[0].steps_back, 0, "nothing shows in the count");
    assert!(walk.report.passes[1].added > 0, "the first pass lost one");
    assert!(ids(&world).is_subset(&walk.seen()));
}

#[tokio::test]
async fn a_count_that_flickers_does_not_hold_the_pass_up() {
    let mut state = World::quiet(100);
    state.odd = (2..4_000).step_by(2).map(|nth| (nth, Oddity::Count(99))).collect::<BTreeMap<_, _>>();
    let world = state.world();
    let walk = walk(&world).await.unwrap();
    assert_eq!(walk.seen(), ids(&world));
}

#[tokio::test]
async fn one_wild_count_is_read_again_before_the_pass_steps_back() {
    let mut state = World::quiet(100);
    state.odd.insert(5, Oddity::Count(0));
    let (_, walk) = proven(state).await;
    assert_eq!(walk.report.passes[0].steps_back, 0);
}

#[tokio::test]
async fn pages_read_ahead_are_read_again_after_a_step_back() {
    let mut state = World::quiet(150);
    state.planned.insert(5, vec![(Op::Delete, 0)]);
    let world = state.world_with_window(4);
    let walk = walk(&world).await.unwrap();
    assert_eq!(walk.report.passes[0].added, walk.report.distinct);
    let asked = pages_asked(&world, Order::ROUND[0]);
    let twice: BTreeSet<u32> =
        asked.iter().copied().filter(|page| asked.iter().filter(|p| *p == page).count() > 1).collect();
    assert!(twice.len() >= 3, "{asked:?}");
}

#[tokio::test]
async fn a_sweep_resumed_anywhere_loses_nothing() {
    for seed in [1, 2, 3] {
        for stop_after in [1, 2, 7, 16, 33] {
            let mut state = World::tied(120, seed);
            state.size = 10;
            let world = state.world_with_window(2);
            let mut sweep = Sweep::start(Arc::clone(&world), SweepPlan::new(Goal::Proven), None).await.unwrap();
            let (mut seen, mut next) = (RoaringTreemap::new(), ScanPosition { pass: 1, page: 1 });
            for _ in 0..stop_after {
                let SweepStep::Page(page) = sweep.next().await.unwrap() else { break };
                seen.extend(page.fresh.iter().map(|contact| contact.id.0.cast_unsigned()));
                next = page.next;
            }
            drop(sweep);
            let resume = Resume { position: next, seen: seen.clone() };
            let walk = walk_with(&world, SweepPlan::new(Goal::Proven), Some(resume)).await.unwrap();
            assert_eq!(walk.report.verdict, Verdict::Proven);
            let first = walk.pages.first().map(|page| page.position);
            let earlier = ScanPosition { page: next.page.saturating_sub(1).max(1), ..next };
            assert_eq!(first, Some(earlier));
            let handed_out: RoaringTreemap = walk.handed_out.iter().map(|id| id.cast_unsigned()).collect();
            assert!(seen.is_disjoint(&handed_out), "nothing recorded is handed out again");
            assert_eq!(seen.len() + handed_out.len(), 120);
        }
    }
}

#[tokio::test]
async fn a_pass_resumed_in_the_middle_proves_nothing_and_counts_nothing() {
    for goal in [Goal::Proven, Goal::Counted] {
        let world = World::quiet(60).world();
        let resume = Resume { position: ScanPosition { pass: 1, page: 3 }, seen: (1..=30).collect::<RoaringTreemap>() };
        let walk = walk_with(&world, SweepPlan::new(goal), Some(resume)).await.unwrap();
        let full_passes = walk.report.passes.len() - 1;
        assert_eq!(full_passes, if goal == Goal::Proven { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_missing_count_leaves_the_verdict_to_two_clean_passes() {
    let mut state = World::quiet(100);
    state.counting = Counting::Missing;
    let (world, walk) = proven(state).await;
    assert_eq!(walk.seen(), ids(&world));
    assert_eq!(walk.report.count, None);
}

#[tokio::test]
async fn without_a_count_a_lossy_pass_proves_nothing() {
    for seed in 0..10 {
        let mut state = World::tied(80, seed);
        state.counting = Counting::Missing;
        let world = state.world();
        let walk = walk(&world).await.unwrap();
        assert!(walk.report.verdict != Verdict::Proven || walk.seen() == ids(&world));
    }
}

#[tokio::test]
async fn a_count_below_the_ids_seen_cannot_be_used() {
    let mut state = World::quiet(100);
    state.counting = Counting::Off(-10);
    let (world, walk) = proven(state).await;
    assert_eq!(walk.seen(), ids(&world));
}

#[tokio::test]
async fn a_count_too_low_is_not_met_by_what_was_lost() {
    for seed in 0..30 {
        let mut state = World::tied(80, seed);
        state.counting = Counting::Off(-1);
        let world = state.world();
        let walk = walk(&world).await.unwrap();
        assert!(walk.report.verdict != Verdict::Proven || walk.seen() == ids(&world), "seed {seed}");
    }
}

#[tokio::test]
async fn a_count_above_the_ids_seen_is_short_after_two_barren_rounds() {
    let mut state = World::quiet(40);
    state.counting = Counting::Off(3);
    let world = state.world();
    let walk = walk(&world).await.unwrap();
    assert_eq!(walk.report.verdict, Verdict::Short { missing: 3 });
    assert_eq!(walk.report.passes.len(), 13);
}

#[tokio::test]
async fn the_rounds_are_limited() {
    let mut state = World::quiet(40);
    state.counting = Counting::Off(3);
    let plan = SweepPlan { max_rounds: 1, ..SweepPlan::new(Goal::Proven) };
    let walk = walk_with(&state.world(), plan, None).await.unwrap();
    assert_eq!(walk.report.passes.len(), 6);
    assert_eq!(walk.report.verdict, Verdict::Short { missing: 3 });
}

#[tokio::test]
async fn an_unreadable_row_with_an_id_is_seen_and_reported_once() {
    let mut state = World::quiet(40);
    state.people[20].readable = false;
    let (world, walk) = proven(state).await;
    assert_eq!(walk.seen(), ids(&world));
    assert_eq!(walk.pages.iter().map(|page| page.malformed.len()).sum::<usize>(), 1);
    assert_eq!(walk.report.malformed, 0);
}

#[tokio::test]
async fn rows_without_an_id_leave_the_sweep_short_by_their_number() {
    let mut state = World::quiet(40);
    state.nameless_rows = 2;
    let world = state.world();
    let walk = walk(&world).await.unwrap();
    assert_eq!(walk.report.verdict, Verdict::Short { missing: 2 });
    assert_eq!(walk.report.malformed, 2);
    assert_eq!(walk.pages.iter().map(|page| page.malformed.len()).sum::<usize>(), 2, "each is reported once");
}

#[tokio::test]
async fn a_dropped_call_loses_no_page() {
    let world = World::quiet(100).world_with_window(3);
    let mut sweep = Sweep::start(Arc::clone(&world), SweepPlan::new(Goal::Proven), None).await.unwrap();
    let mut seen = BTreeSet::new();
    loop {
        // Polled once and dropped, over and over; only a call that is ready at once gets through.
        let step = tokio::select! {
            biased;
            step = sweep.next() => step.unwrap(),
            () = tokio::task::yield_now() => continue,
        };
        match step {
            SweepStep::Page(page) => seen.extend(page.fresh.iter().map(|contact| contact.id.0)),
            SweepStep::Finished(report) => {
                assert_eq!(report.verdict, Verdict::Proven);
                break;
            }
        }
    }
    assert_eq!(seen, ids(&world));
    assert!(sweep.known_id().is_some());
}

#[tokio::test]
async fn a_sweep_can_be_driven_from_a_task() {
    let mut sweep = Sweep::start(World::quiet(40).world(), SweepPlan::new(Goal::Proven), None).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { sweep.next().await });
    assert!(matches!(tasks.join_next().await, Some(Ok(Ok(SweepStep::Page(_))))));
}

#[tokio::test]
async fn no_page_is_read_ahead_before_the_first_one_has_named_its_count() {
    let world = World::quiet(100).world_with_window(4);
    let mut sweep = Sweep::start(Arc::clone(&world), SweepPlan::new(Goal::Proven), None).await.unwrap();
    assert!(matches!(sweep.next().await, Ok(SweepStep::Page(_))));
    assert_eq!(pages_asked(&world, Order::ROUND[0]), [1]);
}
