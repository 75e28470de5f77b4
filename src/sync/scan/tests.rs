//! The sweep against an in-memory source that is as hostile as a real one on a bad day.

mod drift;
mod ledger;
mod steps;
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "small made-up numbers, made into keys and indexes"
)]
mod world;
