//! deskferry carries every contact of a LiveDesk account into FIRST LINE and keeps both in step.
//!
//! Modules in reading order: [`domain`] (the words), [`mapping`] (contact to desired record, pure),
//! [`sync`] (the engine and its ports), [`store`] (SQLite), [`http`] (one API client core), [`livedesk`] and
//! [`firstline`] (the adapters), [`config`], [`ops`] (what the service shows of itself), [`app`] (wiring), [`daemon`] (the
//! service), [`cli`] (commands), [`sandbox`] (both platforms, simulated; knows nothing of the client side); [`beside`] is where
//! files beside the state are.

pub mod app;
pub mod beside;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod firstline;
pub mod http;
pub mod livedesk;
pub mod mapping;
pub mod ops;
pub mod sandbox;
pub mod store;
pub mod sync;
pub mod telemetry;
