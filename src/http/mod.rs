//! One API client core for both platforms: pace, send, classify, repeat what is safe to repeat, pause when told to.
//!
//! Reading order: [`settings`], [`request`], [`response`], [`error`] (what a failure means), [`client`], `attempts` (the loop
//! around a request), `trials` (when it is enough), [`gate`] (the pause that all work on a platform shares), [`limit`] (the budget),
//! `pace` (its law), [`retry`] (how long to wait). It knows no platform: authentication, paths and wire types are the adapters'. It never follows a redirect,
//! and it never sends a creating request twice unless the first one was surely not applied.

pub mod client;
pub mod error;
pub mod gate;
pub mod limit;
pub mod observe;
pub mod quiet;
pub mod request;
pub mod response;
pub mod retry;
pub mod secret;
pub mod settings;

mod attempts;
mod classify;
mod latency;
mod pace;
mod transport;
mod trials;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod testserver;

pub use client::HttpClient;
pub use error::{ApiError, Decision, ErrorShape};
pub use request::{Repeat, Request};
pub use response::{Reply, Response};
pub use secret::Secret;
pub use settings::HttpSettings;
