//! The look before the first write of a run: are FIRST LINE's field definitions still those that the mapping was compiled
//! against? A run that writes nothing asks nothing.

use futures::future::BoxFuture;

use crate::sync::ports::PortError;

/// Looks once per run, before the first contact is carried that may need a write.
pub trait WriteGate: Send + Sync + 'static {
    /// Whether the definitions are as they were; else the run ends, and is begun anew with a mapping that fits.
    fn is_open(&self) -> BoxFuture<'_, Result<bool, PortError>>;
}
