//! FIRST LINE over HTTP: implements the engine's `ContactTarget`.
//!
//! Reading order: [`settings`], [`target`] (the port), [`api`] (endpoints), [`auth`] (the token; `shared`: with other commands), [`profile`] (what was
//! found out about this tenant), `wire` and `fields` (what travels, and how it is read and written), [`error`].
//! Facts about the platform are in the platform notes; where they contradict each other, both readings are accepted.
//! [`probe`] settles what they leave open, on scratch contacts that it deletes again. Nothing follows `links`, and no filter
//! is believed.

pub mod api;
pub mod auth;
pub mod error;
pub mod probe;
pub mod profile;
pub mod settings;
pub mod shared;
pub mod target;

mod definitions;
mod fields;
mod lenient;
mod wire;

#[cfg(test)]
mod tests;

pub use settings::{BooleanForm, ClearForm, Credentials, FirstLineSettings};
pub use target::FirstLine;
