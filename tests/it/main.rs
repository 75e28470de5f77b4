//! Integration tests: one binary.

#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is the report; clippy only knows the test functions themselves"
)]

mod architecture;
mod backfill;
mod identity;
mod mapping_example;
mod privacy;
mod repository;
mod source_text;
mod unhappy;
mod world;
