//! What the service forgets after a sweep: old runs and sweeps, and who is nowhere any more. A little at a time; what is left over is for the
//! next sweep.

use super::works::Works;
use crate::clock::Timestamp;
use crate::domain::causes::with_causes;
use crate::store::StoreError;

/// Transactions of each kind after one sweep: months of what a service adds in a day.
const STEPS: u32 = 40;

impl Works {
    /// Forgets what is older than the settings say. A state that cannot be written is told, and the service goes on.
    pub(super) async fn tidy(&self) {
        let kept = i64::try_from(self.settings.state.runs_retention.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp(self.now().0.saturating_sub(kept));
        if let Err(error) = self.forget(before).await {
            tracing::warn!("old runs could not be forgotten: {}", with_causes(&error));
        }
    }

    async fn forget(&self, before: Timestamp) -> Result<(), StoreError> {
        let (mut runs, mut sightings) = (0, 0);
        for _ in 0..STEPS {
            let sweeps = self.store.prune_sweeps(before).await?;
            let some = self.store.prune_runs(before).await?;
            let unseen = self.store.prune_sightings().await?;
            (runs, sightings) = (runs + some, sightings + unseen);
            if sweeps + some + unseen == 0 {
                break;
            }
        }
        if runs + sightings > 0 {
            tracing::info!(runs, sightings, "forgotten, after state.runs_retention");
        }
        Ok(())
    }
}
