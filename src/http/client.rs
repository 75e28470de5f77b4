//! The client of one platform, as adapters use it; `attempts` is what it does with a request.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::classify;
use super::error::ApiError;
use super::gate::Gate;
use super::limit::{Limiter, PaceView};
use super::observe::{Counters, HttpCounts, HttpObserver};
use super::request::Request;
use super::response::Reply;
use super::retry::{Jitter, RetryPolicy};
use super::settings::HttpSettings;
pub use super::transport::BuildError;
use super::transport::Transport;
use crate::clock::Clock;

/// Client of one platform. Clones share everything.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

pub(super) struct Shared {
    pub(super) platform: &'static str,
    pub(super) transport: Transport,
    pub(super) limiter: Arc<Limiter>,
    pub(super) permits: Semaphore,
    pub(super) concurrency: usize,
    pub(super) gate: Gate,
    pub(super) retry: RetryPolicy,
    pub(super) jitter: Jitter,
    pub(super) total_timeout: Duration,
    pub(super) throttle_wait: Duration,
    pub(super) max_wait: Duration,
    pub(super) counters: Counters,
    pub(super) timeout: Duration,
    /// Requests that have failed and are being tried again, and requests given up since the last answer of use.
    pub(super) failing: AtomicU32,
    pub(super) given_up: AtomicU32,
    /// Passes through the closed gate.
    pub(super) probes: AtomicU32,
    /// Path and query of the known request.
    pub(super) known: OnceLock<String>,
    pub(super) observer: Arc<dyn HttpObserver>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shutdown: CancellationToken,
}

impl HttpClient {
    /// Builds the client. Sends nothing.
    pub fn new(
        settings: &HttpSettings,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn HttpObserver>,
        shutdown: CancellationToken,
    ) -> Result<Self, BuildError> {
        if settings.concurrency == 0 {
            return Err(BuildError::Concurrency);
        }
        Ok(Self(Arc::new(Shared {
            platform: settings.platform,
            transport: Transport::new(settings)?,
            limiter: settings.budgets.of(settings.platform, settings.base_url.as_str(), || {
                Limiter::per_second(settings.requests_per_second, settings.quiet_hours.clone())
            }),
            permits: Semaphore::new(settings.concurrency.min(Semaphore::MAX_PERMITS)),
            concurrency: settings.concurrency,
            gate: Gate::new(settings.retry.clone(), settings.max_outage, settings.max_wait, Arc::clone(&observer)),
            retry: settings.retry.clone(),
            jitter: Jitter::new(settings.jitter_seed),
            total_timeout: settings.total_timeout,
            throttle_wait: settings.throttle_wait,
            max_wait: settings.max_wait,
            counters: Counters::default(),
            timeout: settings.timeout,
            failing: AtomicU32::new(0),
            given_up: AtomicU32::new(0),
            probes: AtomicU32::new(0),
            known: OnceLock::new(),
            observer,
            clock,
            shutdown,
        })))
    }

    /// Name of the platform, for messages.
    pub fn platform(&self) -> &'static str {
        self.0.platform
    }

    /// Requests that may be under way at once.
    pub fn concurrency(&self) -> usize {
        self.0.concurrency
    }

    /// Limit of one attempt.
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Names a cheap read that the platform answers whenever it answers anything. Where a request fails as all do while a
    /// platform is down, this one is asked in its place, with its credentials: it says which of the two it is.
    pub fn know(&self, read: &Request) {
        // The first word stands: there is one adapter to a client.
        let _ = self.0.known.set(read.target.clone());
    }

    /// Asks again as if the platform had never been away. For a client that does not wait for one that is down: nothing else
    /// would let a request of it through again.
    pub fn forget_outage(&self) {
        self.0.gate.answered(Instant::now());
    }

    /// Waits for something that is no request, unless whoever uses the client is asked to stop.
    pub async fn or_stopped<T>(&self, wait: impl Future<Output = T>) -> Result<T, ApiError> {
        self.0.or_shutdown(wait).await
    }

    /// What has been sent so far.
    pub fn counts(&self) -> HttpCounts {
        self.0.counters.read()
    }

    /// The budget, and what is used of it now.
    pub fn pace(&self) -> PaceView {
        self.0.limiter.view(self.0.clock.now())
    }

    /// Sends a request and reads the answer as `T`. An empty answer is a failed attempt.
    #[expect(clippy::missing_panics_doc, reason = "a success without a value cannot happen")]
    pub async fn json<T: DeserializeOwned + Send>(&self, request: &Request) -> Result<Reply<T>, ApiError> {
        let mut value = None;
        let response = self
            .0
            .run(request, &mut |received| {
                value = Some(classify::parse::<T>(&received.response, received.content_type.as_deref())?);
                Ok(())
            })
            .await?;
        let value = value.expect("the last attempt succeeded, so its answer was read");
        Ok(Reply { value, status: response.status, server_date: response.server_date })
    }

    /// Sends a write that may be answered with nothing (204); what is answered must still be a `T`.
    pub async fn json_if_any<T: DeserializeOwned + Send>(&self, request: &Request) -> Result<Option<T>, ApiError> {
        let mut value = None;
        self.0
            .run(request, &mut |received| {
                if !received.response.bytes.is_empty() {
                    value = Some(classify::parse::<T>(&received.response, received.content_type.as_deref())?);
                }
                Ok(())
            })
            .await?;
        Ok(value)
    }

    /// Sends a request and reads its body with `reader`, which may be more lenient about texts than serde. What the
    /// reader cannot read is a failed attempt when it is not whole, or not JSON by its syntax.
    pub async fn body<T: Send, E: Send>(
        &self,
        request: &Request,
        reader: impl Fn(&[u8]) -> Result<T, E> + Send + Sync,
    ) -> Result<Result<T, E>, ApiError> {
        Ok(self.dated_body(request, reader).await?.map(|reply| reply.value))
    }

    /// As `body`, with the server's clock beside the value.
    #[expect(clippy::missing_panics_doc, reason = "a success without a value cannot happen")]
    pub async fn dated_body<T: Send, E: Send>(
        &self,
        request: &Request,
        reader: impl Fn(&[u8]) -> Result<T, E> + Send + Sync,
    ) -> Result<Result<Reply<T>, E>, ApiError> {
        let mut value = None;
        let response = self
            .0
            .run(request, &mut |received| {
                let content_type = received.content_type.as_deref();
                classify::envelope(&received.response)?;
                let read = reader(&received.response.bytes);
                if read.is_err() {
                    classify::parse::<IgnoredAny>(&received.response, content_type)?;
                }
                value = Some(read);
                Ok(())
            })
            .await?;
        let value = value.expect("the last attempt succeeded, so its answer was read");
        Ok(value.map(|value| Reply { value, status: response.status, server_date: response.server_date }))
    }

    /// Sends a request whose answer is only a yes: any JSON, or nothing.
    pub async fn send(&self, request: &Request) -> Result<(), ApiError> {
        self.json_if_any::<IgnoredAny>(request).await.map(|_| ())
    }
}
