//! LiveDesk (EngageLab): the source. Implements the engine's `ContactSource` over the http core.
//!
//! [`api`] holds the endpoints and what their failures mean, [`wire`] reads what they answer (whatever its types,
//! platform notes LiveDesk 3.2), [`source`] is the port. Nothing here judges completeness: that is the sweep's.

pub mod api;
pub mod source;
pub mod wire;

#[cfg(test)]
mod tests;

pub use api::{CredentialsError, LiveDeskSettings};
pub use source::{ByIdSupport, LiveDesk};
