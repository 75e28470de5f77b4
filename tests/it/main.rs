//! Integration tests: one binary.

#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is the report; clippy only knows the test functions themselves"
)]

mod architecture;
mod check;
mod cli;
mod cli_support;
mod mapping_example;
mod repository;
mod source_text;
