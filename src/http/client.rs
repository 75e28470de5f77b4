//! The client of one platform: the loop of attempts around a request.
//!
//! For each attempt: the gate (is the platform paused?), a permit, the limiter's turn, then send, then classify. Shutdown
//! interrupts waiting, never a request under way: its outcome would be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::classify;
use super::error::{ApiError, Decision};
use super::gate::{Gate, OutageTooLong, Pass};
use super::limit::{Limiter, PaceView};
use super::observe::{Counters, HttpCounts, HttpObserver, route};
use super::pace::Ticket;
use super::request::{Repeat, Request};
use super::response::{Reply, Response};
use super::retry::{Distances, Jitter, RetryPolicy, wait_for};
use super::settings::HttpSettings;
pub use super::transport::BuildError;
use super::transport::{Received, Transport};
use crate::clock::Clock;

/// A failure that nobody else's success speaks against gets this many times the usual number of attempts.
const PATIENCE: u32 = 4;
/// So many requests that fail at the same time, or were given up in a row, with no answer of use between: then the platform is
/// what is broken, and not the records.
const ALL_FAIL: u32 = 3;

/// Client of one platform. Clones share everything.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

struct Shared {
    platform: &'static str,
    transport: Transport,
    limiter: Arc<Limiter>,
    permits: Semaphore,
    concurrency: usize,
    gate: Gate,
    retry: RetryPolicy,
    jitter: Jitter,
    total_timeout: Duration,
    throttle_wait: Duration,
    max_wait: Duration,
    counters: Counters,
    timeout: Duration,
    /// Requests that have failed and are being tried again, and requests given up since the last answer of use.
    failing: AtomicU32,
    given_up: AtomicU32,
    observer: Arc<dyn HttpObserver>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
}

/// Looks into a success; an error makes it a failed attempt.
type Check<'a> = dyn FnMut(&Received) -> Result<(), ApiError> + Send + 'a;

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

    /// Asks again as if the platform had never been away. For a client that does not wait for one that is down: nothing else
    /// would let a request of it through again.
    pub fn forget_outage(&self) {
        self.0.gate.answered(Instant::now());
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

/// What one request has been through.
#[derive(Default)]
struct Trials<'a> {
    attempts: u32,
    /// Failures that count towards giving up: not throttling, not a platform that is down for all.
    failures: u32,
    /// Successes of all work when this request first failed.
    successes_before: u64,
    distances: Option<Distances>,
    /// Time in attempts and own waits.
    spent: Duration,
    /// Time before the closed gate.
    held: Duration,
    failing: Option<Failing<'a>>,
}

/// Counts a request among those that are failing, for as long as it lives.
struct Failing<'a>(&'a AtomicU32);

impl<'a> Failing<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    async fn run(&self, request: &Request, check: &mut Check<'_>) -> Result<Response, ApiError> {
        let url = self.transport.url(request);
        let mut trials = Trials::default();
        let mut last: Option<ApiError> = None;
        loop {
            let (pass, permit, ticket) = self.leave_to_send(&mut last, &mut trials.held).await?;
            if request.fresh_for.is_some_and(|limit| trials.spent + trials.held > limit) {
                return Err(ApiError::Stale);
            }
            let started = Instant::now();
            let result = self.attempt(request, url.clone(), check, trials.attempts).await;
            drop(permit);
            trials.attempts += 1;
            let took = started.elapsed();
            trials.spent += took;
            self.tell_observer(request, &result, took);
            let error = match result {
                Ok(response) => {
                    self.given_up.store(0, Ordering::Relaxed);
                    self.limiter.answered(ticket, request.route(), took);
                    self.gate.succeeded(Instant::now());
                    return Ok(response);
                }
                Err(error) => error,
            };
            match self.tell_gate(&error) {
                Some(pause) => self.limiter.throttled(ticket, pause, error.retry_after().is_some()),
                None if error.status().is_some_and(|status| (300..500).contains(&status)) => {
                    self.given_up.store(0, Ordering::Relaxed);
                    self.limiter.answered(ticket, request.route(), took);
                }
                None => {}
            }
            drop(pass);
            let wait = self.judge(request, error, &mut trials, &mut last)?;
            if !wait.is_zero() {
                trials.spent += wait;
                self.or_shutdown(sleep(wait)).await?;
            }
        }
    }

    /// Gate, permit, turn; and the gate again, because it may have closed while this request queued. The turn comes last:
    /// requests that had theirs and then waited for a permit would go out in a bunch.
    async fn leave_to_send(
        &self,
        last: &mut Option<ApiError>,
        held: &mut Duration,
    ) -> Result<(Pass, SemaphorePermit<'_>, Ticket), ApiError> {
        loop {
            let (from, closed) = (Instant::now(), !self.gate.is_open(Instant::now()));
            let pass = self.or_shutdown(self.gate.pass()).await?;
            *held += if closed { from.elapsed() } else { Duration::ZERO };
            let pass = match pass {
                Ok(pass) => pass,
                Err(OutageTooLong(after)) => {
                    let last = last.take().map(Box::new);
                    return Err(ApiError::Unavailable { platform: self.platform, after, last });
                }
            };
            let permit = match self.permits.try_acquire() {
                Ok(permit) => permit,
                // Never closed, so the only error is none.
                Err(_) => self.or_shutdown(self.permits.acquire()).await?.map_err(|_| ApiError::Interrupted)?,
            };
            let ticket = self.or_shutdown(self.limiter.ready(|| self.clock.now())).await?;
            if pass.is_probe() || self.gate.is_open(Instant::now()) {
                return Ok((pass, permit, ticket));
            }
        }
    }

    async fn attempt(
        &self,
        request: &Request,
        url: url::Url,
        check: &mut Check<'_>,
        before: u32,
    ) -> Result<Response, ApiError> {
        Counters::add(&self.counters.requests);
        if before > 0 {
            Counters::add(&self.counters.retries);
        }
        let received = self.transport.attempt(request, url, &*self.clock).await?;
        check(&received)?;
        Ok(received.response)
    }

    fn tell_observer(&self, request: &Request, result: &Result<Response, ApiError>, took: Duration) {
        let status = result.as_ref().map_or_else(ApiError::status, |response| Some(response.status));
        let (route, took_ms) = (route(&request.target), took.as_millis());
        tracing::trace!(platform = self.platform, method = %request.method, route, status, took_ms, "answered");
        self.observer.answered(&route, status, took);
    }

    /// Answers for how long everything stops, where that is what the platform asks for.
    fn tell_gate(&self, error: &ApiError) -> Option<Duration> {
        let now = Instant::now();
        match error {
            ApiError::RateLimited { retry_after } => {
                self.counters.throttled.fetch_add(1, Ordering::Relaxed);
                self.gate.answered(now);
                return Some(self.gate.throttle(*retry_after, self.throttle_wait, now));
            }
            error if error.is_outage() => self.gate.failed(error.retry_after(), now),
            _ => self.gate.answered(now),
        }
        None
    }

    /// After a failed attempt: how long to wait for the next one, or the error that ends it.
    fn judge<'a>(
        &'a self,
        request: &Request,
        error: ApiError,
        trials: &mut Trials<'a>,
        last: &mut Option<ApiError>,
    ) -> Result<Duration, ApiError> {
        if request.repeat == Repeat::OnlyIfNotApplied && !error.surely_not_applied() {
            return Err(ApiError::Doubtful { cause: Box::new(error) });
        }
        if error.decision() != Decision::Retry {
            return Err(error);
        }
        if matches!(error, ApiError::RateLimited { .. }) {
            // The gate makes everybody wait, this request included.
            *last = Some(error);
            return Ok(Duration::ZERO);
        }
        if trials.failures == 0 {
            trials.successes_before = self.gate.successes();
        }
        trials.failures += 1;
        trials.failing.get_or_insert_with(|| Failing::new(&self.failing));
        if self.is_exhausted(&error, trials) {
            if self.all_fail(trials) {
                let (platform, after) = (self.platform, trials.spent);
                return Err(ApiError::Unavailable { platform, after, last: Some(Box::new(error)) });
            }
            return Err(ApiError::Exhausted { attempts: trials.attempts, last: Box::new(error) });
        }
        let distance = trials.distances.get_or_insert_with(|| self.retry.distances()).next();
        let asked = error.retry_after();
        let outage = error.is_outage();
        *last = Some(error);
        if outage && !self.gate.is_open(Instant::now()) {
            return Ok(Duration::ZERO);
        }
        Ok(wait_for(self.jitter.of(distance), asked, self.max_wait))
    }

    /// Whether this request, rather than the platform, is the trouble. A platform that is down for all is waited for
    /// without end; a request that fails while others succeed is not, and a server that answers this request with
    /// 500 and no other request at all gets more patience, but not for ever.
    fn is_exhausted(&self, error: &ApiError, trials: &Trials<'_>) -> bool {
        let others_succeed = self.gate.successes() > trials.successes_before;
        let usual = self.retry.give_up_after();
        let (limit, timed) = match (error.is_outage(), others_succeed) {
            (false, true) => (usual, true),
            (false, false) | (true, true) => (usual.saturating_mul(PATIENCE), true),
            (true, false) => (u32::MAX, false),
        };
        trials.failures >= limit || (timed && trials.spent >= self.total_timeout)
    }

    /// Whether a request that is given up says something about the platform and nothing about its record: nobody else had an
    /// answer of use while it was tried, and it is not the only one.
    fn all_fail(&self, trials: &Trials<'_>) -> bool {
        if self.gate.successes() > trials.successes_before {
            return false;
        }
        let given_up = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
        given_up >= ALL_FAIL || self.failing.load(Ordering::Relaxed) >= ALL_FAIL
    }

    async fn or_shutdown<T>(&self, wait: impl Future<Output = T>) -> Result<T, ApiError> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(ApiError::Interrupted),
            done = wait => Ok(done),
        }
    }
}
