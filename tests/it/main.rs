//! Integration tests: one binary.

#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is the report; clippy only knows the test functions themselves"
)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "benchmarks print, and a test that is skipped says so")]

mod architecture;
mod backfill;
mod bench;
mod beside;
mod brake;
mod check;
mod cli;
mod cli_support;
mod corrections;
mod dead_ends;
mod decisions;
mod deletes;
mod doubt;
mod drift_gate;
mod evening;
mod explain;
mod failures;
mod forget;
mod health;
mod hold;
mod households;
mod identity;
mod inboxes;
mod journal;
mod kill;
mod mapping_example;
mod month;
mod names_and_phones;
mod ops;
mod owners;
mod plan;
mod plan_again;
mod plan_gone;
mod privacy;
mod probe;
mod profiles;
mod rebuild;
mod repository;
mod resume;
mod service;
mod shipping;
mod signals;
mod source_text;
mod state_care;
mod stuck;
mod tags;
mod tie;
mod trial_repair;
mod undo;
mod unhappy;
mod verify;
mod verify_everywhere;
mod verify_lists;
mod verify_report;
mod verify_state;
mod world;
