//! STUB, to be replaced whole by the FIRST LINE simulation that is written beside this branch.
//!
//! It has the agreed shape and an empty model, so that the rest of the sandbox compiles and can be tested.

use axum::Router;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// Switches of the FIRST LINE simulation (stub).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FirstLineSwitches {}

/// The simulated FIRST LINE (stub).
#[derive(Clone, Debug)]
pub struct FirstLine(Arc<Mutex<FirstLineSwitches>>);

impl FirstLine {
    /// An empty tenant.
    pub fn new(switches: FirstLineSwitches, _seed: u64) -> Self {
        Self(Arc::new(Mutex::new(switches)))
    }

    /// The paths below `/api/v1`.
    pub fn router(&self) -> Router {
        Router::new().route("/api/v1/contacts", axum::routing::get(|| async { axum::Json(json!({ "data": [] })) }))
    }

    /// The switches as they are now.
    pub fn switches(&self) -> FirstLineSwitches {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the switches while running.
    pub fn set_switches(&self, switches: FirstLineSwitches) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = switches;
    }

    /// Everything the tenant holds.
    pub fn dump(&self) -> Value {
        json!({ "contacts": [] })
    }

    /// What was done so far.
    pub fn counts(&self) -> Value {
        json!({})
    }

    /// Starts counting again.
    pub fn reset_counts(&self) {}
}
