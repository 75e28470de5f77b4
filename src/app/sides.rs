//! Both platforms as the service sees them: over HTTP, or in process behind the same ports, where a test lives through months.

use std::future::Future;
use std::sync::Arc;

use super::{Platforms, probe, remember};
use crate::firstline::target::FirstLine;
use crate::http::limit::PaceView;
use crate::livedesk::source::LiveDesk;
use crate::store::{Store, StoreError};
use crate::sync::ports::{ContactSource, ContactTarget};

/// A pair of platforms.
pub trait Sides: Send + Sync + 'static {
    /// Where contacts come from.
    type Source: ContactSource;
    /// Where they go.
    type Target: ContactTarget;

    /// Where contacts come from.
    fn source(&self) -> &Arc<Self::Source>;

    /// Where they go.
    fn target(&self) -> &Arc<Self::Target>;

    /// Requests sent to the source and to the target.
    fn requests(&self) -> (u64, u64);

    /// The budgets of both, and what is used of them now.
    fn paces(&self) -> (PaceView, PaceView);

    /// Forgets what another way of updating taught, before the engine of a run is made.
    fn before_run(&self, store: &Store) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Stores what was found out about the platforms.
    fn remember(&self, store: &Store) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl Sides for Platforms {
    type Source = LiveDesk;
    type Target = FirstLine;

    fn source(&self) -> &Arc<LiveDesk> {
        &self.livedesk
    }

    fn target(&self) -> &Arc<FirstLine> {
        &self.firstline
    }

    fn requests(&self) -> (u64, u64) {
        let (livedesk, firstline) = self.counts();
        (livedesk.requests, firstline.requests)
    }

    fn paces(&self) -> (PaceView, PaceView) {
        self.paces()
    }

    async fn before_run(&self, store: &Store) -> Result<(), StoreError> {
        probe::forget_other_method(store, self.firstline.profile().update).await
    }

    async fn remember(&self, store: &Store) -> Result<(), StoreError> {
        remember(store, self).await
    }
}
