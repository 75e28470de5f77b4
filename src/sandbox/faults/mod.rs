//! Everything that can go wrong between a client and a platform, on request and repeatable.
//!
//! A [`FaultPlan`] belongs to one platform. `settings` say what may happen, `plan` decides per request, `inject` does
//! it around any router. The router behind it does not know: a fault after the handler leaves the write applied.

mod inject;
mod plan;
mod settings;

pub use inject::with_faults;
pub use plan::FaultPlan;
pub use settings::{Fault, FaultFilter, FaultSettings, NextFault, Platform, RetryAfter};

#[cfg(test)]
mod tests;
