//! The sweep against an in-memory source that is as hostile as a real one on a bad day.

mod drift;
mod ledger;
mod steps;
mod world;
