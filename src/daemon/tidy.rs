//! What the service forgets after a sweep: old runs and sweeps, and who is nowhere any more. A little at a time; what is left over is for the
//! next sweep.

use super::works::Works;
use crate::app::Sides;
use crate::app::runs::{self, Pruned};
use crate::domain::causes::with_causes;

impl<P: Sides> Works<P> {
    /// Forgets what is older than the settings say. A state that cannot be written is told, and the service goes on.
    pub(super) async fn tidy(&self) {
        match runs::prune(&self.settings, &self.store, self.now(), runs::STEPS).await {
            Ok(Pruned { runs: 0, sightings: 0, .. }) => {}
            Ok(Pruned { runs, sightings, .. }) => {
                tracing::info!(runs, sightings, "forgotten, after state.runs_retention");
            }
            Err(error) => tracing::warn!("old runs could not be forgotten: {}", with_causes(&error)),
        }
    }
}
