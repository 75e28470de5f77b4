//! Integration tests: one binary.

mod mapping_example;
