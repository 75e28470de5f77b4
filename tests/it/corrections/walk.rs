//! Decisions, runs, kills and undos in any order: a contact has one customer with its stamp, or a person is told why not.
//!
//! `DESKFERRY_DECISION_WALKS` says how many (2), `DESKFERRY_DECISION_FIRST` with which seed they begin.

use deskferry::sandbox::faults::{Fault, FaultFilter, FaultSettings};
use deskferry::sandbox::firstline::FirstLineSwitches;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Doubt, WORDS, Word};

const STEPS: usize = 7;
/// Requests of a backfill: one that is to be killed is killed before that.
const REQUESTS: u64 = 30;
/// A create that is applied so late was taken for absent; the look for twins comes after that.
const LATE_MS: u64 = 130;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

struct Walk {
    doubt: Doubt,
    rng: StdRng,
    edits: u32,
    /// What was done, for the report.
    steps: Vec<String>,
}

impl Walk {
    async fn new(seed: u64) -> Self {
        let walk = Self { doubt: Doubt::new().await, rng: StdRng::seed_from_u64(seed), edits: 0, steps: vec![] };
        let rates = FaultSettings { lost_ack_rate: 0.03, reset_after_rate: 0.02, ..FaultSettings::default() };
        let faults = FaultSettings { latency_ms: 1, late_ms: LATE_MS, ..rates };
        walk.doubt.world.sandbox.firstline_faults().change(|settings| *settings = faults);
        // In every other walk no search sees what was written since.
        let firstline = walk.doubt.world.sandbox.firstline();
        let search_lag_ms = if seed.is_multiple_of(2) { 600_000 } else { 0 };
        firstline.set_switches(FirstLineSwitches { search_lag_ms, ..firstline.switches() });
        walk
    }

    /// Decides, where there is something to decide.
    async fn decide(&mut self) -> Option<Word> {
        let word = WORDS[self.rng.random_range(0..WORDS.len())];
        let store = self.doubt.world.store().await;
        let asked = store.conflict_for(&[self.doubt.id]).await.unwrap().contains_key(&self.doubt.id);
        store.close().await;
        self.steps.push(format!("{word:?}, asked {asked}"));
        if asked {
            self.doubt.decide(word).await;
        }
        asked.then_some(word)
    }

    async fn step(&mut self) {
        let (id, doubt) = (self.doubt.id.to_string(), &self.doubt);
        match self.rng.random_range(0..12) {
            10 | 11 => {
                let fault = if self.rng.random_bool(0.5) { Fault::Late } else { Fault::Reset };
                self.steps.push(format!("{fault:?}"));
                doubt.world.sandbox.firstline_faults().next(fault, 1, FaultFilter::on("POST", "/contact"));
            }
            0..3 => drop(self.decide().await),
            3 => {
                self.edits += 1;
                self.steps.push(String::from("edit"));
                doubt.edit(self.edits);
            }
            4 | 5 => {
                let counts = doubt.world.sandbox.firstline_faults();
                let until = counts.requests() + self.rng.random_range(1..REQUESTS);
                let args: &[&str] = if self.rng.random_bool(0.5) { &["backfill", "--yes"] } else { &["retry", &id] };
                let mut process = doubt.world.spawn(args);
                let killed = process.until(|| counts.requests() >= until).await;
                if killed {
                    process.kill().await;
                }
                self.steps.push(format!("{}, killed {killed}", args[0]));
            }
            6 | 7 => {
                let run = doubt.last_run().await.to_string();
                let delete = self.rng.random_bool(0.5);
                let mut args = vec!["undo", &run, "--yes", "--i-understand", deskferry::config::settings::I_UNDERSTAND];
                args.extend(delete.then_some("--delete-created"));
                let end = doubt.run(&args).await;
                self.steps.push(format!("undo {run}, delete {delete}: {:?}", end.code()));
                doubt.run(&["undo", "--release"]).await;
            }
            8 => {
                self.steps.push(String::from("rebuild"));
                doubt.run(&["state", "rebuild"]).await;
            }
            _ => {
                self.steps.push(String::from("backfill"));
                doubt.run(&["backfill", "--yes"]).await;
                self.look().await;
            }
        }
    }

    /// Whether a person is told that something is left to do about the contact.
    async fn is_named(&self) -> bool {
        let (store, id) = (self.doubt.world.store().await, self.doubt.id);
        let asked = store.conflict_for(&[id]).await.unwrap().values().any(|found| found.decision.is_none());
        let told = asked || store.dead_letters_for(&[id]).await.unwrap().contains_key(&id);
        store.close().await;
        told
    }

    async fn look(&self) {
        let stamped = self.doubt.stamped();
        assert!(stamped.len() <= 1 || self.is_named().await, "{stamped:?} in silence after {:#?}", self.steps);
    }

    /// What was decided last is done, or a person is told why not; nothing is made without end.
    async fn end(mut self) {
        let faults = self.doubt.world.sandbox.firstline_faults();
        faults.clear();
        while !faults.is_settled() {
            tokio::task::yield_now().await;
        }
        self.doubt.run(&["backfill", "--yes"]).await;
        let word = self.decide().await;
        let id = self.doubt.id.to_string();
        for _ in 0..3 {
            self.doubt.run(&["backfill", "--yes"]).await;
            self.doubt.run(&["retry", &id]).await;
        }
        self.look().await;
        let (stamped, target) = (self.doubt.stamped(), self.doubt.target().await);
        let steps = &self.steps;
        if word != Some(Word::Skip) && !self.is_named().await {
            assert_eq!(stamped, target.into_iter().collect::<Vec<_>>(), "linked to {target:?} after {steps:#?}");
            assert!(target.is_some(), "it is nowhere after {steps:#?}");
            match word {
                Some(Word::One) => assert_eq!(target, Some(self.doubt.one), "{steps:#?}"),
                Some(Word::Stranger) => assert_eq!(target, Some(self.doubt.stranger), "{steps:#?}"),
                Some(Word::Create | Word::Skip) | None => {}
            }
        }
        let customers = self.doubt.world.sandbox.firstline().len();
        self.doubt.run(&["backfill", "--yes"]).await;
        assert_eq!(self.doubt.world.sandbox.firstline().len(), customers, "{steps:#?}");
        let store = self.doubt.world.store().await;
        assert_eq!(store.check().await.unwrap().problems(), Vec::<String>::new(), "{steps:#?}");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_runs_kills_and_undos_in_any_order_leave_one_customer_or_a_word_about_it() {
    let first = number("DESKFERRY_DECISION_FIRST", 1);
    for seed in first..first + number("DESKFERRY_DECISION_WALKS", 2) {
        eprintln!("walk {seed}");
        let mut walk = Walk::new(seed).await;
        for _ in 0..STEPS {
            walk.step().await;
        }
        walk.end().await;
    }
}
