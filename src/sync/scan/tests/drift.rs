//! Many small worlds: never *proven* while a contact that was there from the start to the end is unseen.

use std::collections::BTreeSet;

use super::world::{Dice, State, World, ids, walk};
use crate::domain::sweep::Verdict;

/// Walks the worlds and answers how many sweeps were proven, and their passes.
async fn proven_of(worlds: impl Iterator<Item = (State, usize)>) -> (usize, usize, u64) {
    let (mut proven, mut all, mut passes) = (0, 0, 0);
    for (seed, (state, window)) in worlds.enumerate() {
        let world = state.world_with_window(window);
        let at_start = ids(&world);
        let walk = walk(&world).await.unwrap();
        let seen = walk.seen();
        assert_eq!(seen.len(), walk.handed_out.len(), "seed {seed}: a contact was handed out twice");
        let lost: BTreeSet<i64> =
            at_start.intersection(&ids(&world)).copied().filter(|id| !seen.contains(id)).collect();
        all += 1;
        passes += walk.report.passes.len() as u64;
        if walk.report.verdict == Verdict::Proven {
            proven += 1;
            assert!(lost.is_empty(), "seed {seed}: proven, but {lost:?} were not seen\n{:#?}", walk.report);
        } else {
            assert!(matches!(walk.report.verdict, Verdict::Short { missing } if missing > 0));
        }
    }
    (proven, all, passes)
}

fn tied(n: usize, seeds: std::ops::Range<u64>, drift_every: usize) -> impl Iterator<Item = (State, usize)> {
    seeds.map(move |seed| {
        let mut state = World::tied(n, seed);
        state.size = 10;
        state.drift_every = drift_every;
        if seed.is_multiple_of(5) {
            // Inserts within the second of the newest contact, or with clocks that are behind.
            state.now = state.people.last().unwrap().created - i64::from(seed % 2 == 1);
        }
        (state, [1, 2, 3][usize::from(seed.is_multiple_of(3)) + usize::from(seed.is_multiple_of(4))])
    })
}

#[tokio::test]
async fn quiet_worlds_with_unstable_ties_end_proven_with_every_contact() {
    let (proven, all, passes) = proven_of(tied(150, 0..60, 0)).await;
    assert_eq!(proven, all, "{passes} passes");
}

#[tokio::test]
async fn a_proven_sweep_missed_nobody_at_light_drift() {
    for (every, seeds) in [(50, 0..100), (10, 100..150)] {
        let (proven, all, passes) = proven_of(tied(150, seeds, every)).await;
        eprint_share(&format!("a write in {every} pages"), proven, all, passes);
        assert!(proven * 2 > all, "{proven} of {all}");
    }
}

#[tokio::test]
async fn a_proven_sweep_missed_nobody_at_heavy_drift() {
    for every in [3, 1] {
        let (proven, all, passes) = proven_of(tied(150, 1_000..1_025, every)).await;
        eprint_share(&format!("a write in {every} pages"), proven, all, passes);
    }
    let no_ties = (0..25).map(|seed| {
        let mut state = World::quiet(150);
        (state.size, state.drift_every, state.dice) = (10, 1, Dice(seed));
        (state, 2)
    });
    let (proven, all, passes) = proven_of(no_ties).await;
    eprint_share("a write on every page, no ties", proven, all, passes);
}

#[expect(clippy::print_stderr, reason = "the share of proven sweeps is worth reading with --nocapture")]
fn eprint_share(what: &str, proven: usize, all: usize, passes: u64) {
    eprintln!("{what}: {proven} of {all} proven, {passes} passes");
}
