//! The engine: what a run does, from scanning the source to recording the result.
//!
//! `ports` are the doors to both platforms; the stages are one file each; this module knows neither HTTP
//! nor SQL text nor the terminal.

pub mod ports;
pub mod scan;
