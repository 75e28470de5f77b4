//! What may come between two pages of a long walk: the quick cycle, so that hours of sweeping do not starve it.

use std::sync::Arc;

use futures::future::LocalBoxFuture;

use crate::domain::ids::FirstLineId;
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::RunError;

/// Something short that is played while a walk stands still. Nothing of the walk is under way then.
pub trait Interlude: Send + Sync + 'static {
    /// Whether it is time.
    fn due(&self) -> bool;

    /// Plays it, as a run of its own. It looks contacts up where the walk does: what one of the two creates, the other
    /// knows of. An error ends the walk too; what only concerns the cycle is no error here.
    fn play<'a>(&'a self, directory: &'a Arc<LazyDirectory>) -> LocalBoxFuture<'a, Result<Played, RunError>>;
}

/// What the walk has to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Played {
    /// The highest target id that was seen.
    pub highest: FirstLineId,
}
