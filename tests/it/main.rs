//! Integration tests: one binary.

<<<<<<< HEAD
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is the report; clippy only knows the test functions themselves"
)]

mod architecture;
mod repository;
mod source_text;
=======
mod mapping_example;
>>>>>>> h/mapping
