//! The loop of attempts around a request.
//!
//! For each attempt: the gate (is the platform paused?), a permit, the limiter's turn, then send, then classify. Shutdown
//! interrupts waiting, never a request under way: its outcome would be lost.
//!
//! One bad request must not look like a platform that is down, nor the other way round. So what tries a platform that is down,
//! and what is asked before a request is given up, is the *known* request: one that the adapter named because the platform
//! surely answers it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep};

use super::client::Shared;
use super::error::{ApiError, Decision};
use super::gate::{OutageTooLong, Pass};
use super::observe::{Counters, route};
use super::pace::Ticket;
use super::request::{Repeat, Request};
use super::response::Response;
use super::retry::wait_for;
use super::transport::Received;
use super::trials::{Next, Trials};

/// So many requests that fail at the same time, or were given up in a row, with no answer of use between: then the platform is
/// what is broken, and not the records.
const ALL_FAIL: u32 = 3;
/// Of so many passes through a closed gate one is that of a request that waits, and not of the known one.
const OWN_TURN: u32 = 30;

/// Looks into a success; an error makes it a failed attempt.
pub(super) type Check<'a> = dyn FnMut(&Received) -> Result<(), ApiError> + Send + 'a;

/// Leave to send: the gate's, a permit, and the turn that was taken.
struct Leave<'a> {
    pass: Pass,
    permit: SemaphorePermit<'a>,
    ticket: Ticket,
}

/// What the outcome of a request says of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// All that an outcome can say.
    Work,
    /// Nothing by its failures: the platform answered the known request meanwhile.
    Suspect,
    /// Whether the platform is there; that anybody's work succeeds it does not say.
    Known,
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
    pub(super) async fn run(&self, request: &Request, check: &mut Check<'_>) -> Result<Response, ApiError> {
        let mut trials = Trials::default();
        let mut failing = None;
        let mut last: Option<ApiError> = None;
        let known = self.known_beside(request);
        loop {
            let leave = self.leave_to_send(known.is_some(), &mut last, &mut trials).await?;
            let is_stale = request.fresh_for.is_some_and(|limit| trials.waited > limit);
            if let Some(known) = &known
                && ((leave.pass.is_probe() && self.leaves_gate_to_known())
                    || trials.asks(is_stale && last.as_ref().is_some_and(ApiError::is_outage)))
            {
                let answered =
                    self.ask(known, leave, &mut trials).await || trials.is_served_beside(self.gate.successes());
                if trials.heard(answered)
                    && let Some(error) = last
                {
                    return Err(self.given_up(request, error, &trials));
                }
                continue;
            }
            if is_stale {
                return Err(ApiError::Stale);
            }
            let role = if trials.is_suspect() { Role::Suspect } else { Role::Work };
            let error = match self.send(request, check, leave, role, &mut trials).await {
                Ok(response) => {
                    self.given_up.store(0, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(error) => error,
            };
            let status = error.status();
            if status.is_some_and(|status| (300..500).contains(&status) && status != 429) {
                self.given_up.store(0, Ordering::Relaxed);
            }
            if status != Some(429) && error.decision() == Decision::Retry {
                failing.get_or_insert_with(|| Failing::new(&self.failing));
            }
            let wait = self.judge(request, error, &mut trials, &mut last)?;
            if !wait.is_zero() {
                trials.took(wait);
                self.or_shutdown(sleep(wait)).await?;
            }
        }
    }

    /// Whether the known request is to try the closed gate this time. Now and then the one that waits does itself, should the known
    /// one alone be broken.
    fn leaves_gate_to_known(&self) -> bool {
        !(self.probes.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(OWN_TURN)
    }

    /// The known request, with the credentials of this one. A request without any, such as a login, has none beside it:
    /// where that is not answered, nothing can be done.
    fn known_beside(&self, request: &Request) -> Option<Request> {
        Some(Request::get(self.known.get()?).auth(request.auth.clone()?))
    }

    /// Asks the known request; answers whether the platform is there. A 429 is no answer: nothing can be concluded from it.
    async fn ask(&self, known: &Request, leave: Leave<'_>, trials: &mut Trials) -> bool {
        let mut own = Trials::default();
        let answer = self.send(known, &mut |_| Ok(()), leave, Role::Known, &mut own).await;
        trials.waited += own.waited;
        let answered = !answer.is_err_and(|error| error.is_outage() || error.status() == Some(429));
        if !answered {
            self.gate.missed_known();
        }
        answered
    }

    /// Gate, permit, turn; and the gate again, because it may have closed while this request queued. The turn comes last:
    /// requests that had theirs and then waited for a permit would go out in a bunch.
    async fn leave_to_send(
        &self,
        has_known: bool,
        last: &mut Option<ApiError>,
        trials: &mut Trials,
    ) -> Result<Leave<'_>, ApiError> {
        loop {
            let (from, closed) = (Instant::now(), !self.gate.is_open(Instant::now()));
            let pass = self.or_shutdown(self.gate.pass(has_known)).await?;
            trials.waited += if closed { from.elapsed() } else { Duration::ZERO };
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
                return Ok(Leave { pass, permit, ticket });
            }
        }
    }

    /// Sends once, and tells everybody who learns from what came of it.
    async fn send(
        &self,
        request: &Request,
        check: &mut Check<'_>,
        Leave { pass, permit, ticket }: Leave<'_>,
        role: Role,
        trials: &mut Trials,
    ) -> Result<Response, ApiError> {
        let started = Instant::now();
        let result = self.attempt(request, check, trials.attempts).await;
        drop(permit);
        trials.attempts += 1;
        let took = started.elapsed();
        trials.took(took);
        self.tell_observer(request, &result, took);
        let now = Instant::now();
        match &result {
            Ok(_) => {
                self.limiter.answered(ticket, request.route(), took);
                if role == Role::Known { self.gate.answered(now) } else { self.gate.succeeded(now) }
            }
            Err(ApiError::RateLimited { retry_after }) => {
                self.counters.throttled.fetch_add(1, Ordering::Relaxed);
                self.gate.answered(now);
                let pause = self.gate.throttle(*retry_after, self.throttle_wait, now);
                self.limiter.throttled(ticket, pause, retry_after.is_some());
            }
            Err(error) if error.is_outage() => {
                if role != Role::Suspect {
                    self.gate.failed(error.retry_after(), now);
                }
            }
            Err(error) => {
                if error.status().is_some_and(|status| (300..500).contains(&status)) {
                    self.limiter.answered(ticket, request.route(), took);
                }
                self.gate.answered(now);
            }
        }
        drop(pass);
        result
    }

    async fn attempt(&self, request: &Request, check: &mut Check<'_>, before: u32) -> Result<Response, ApiError> {
        Counters::add(&self.counters.requests);
        if before > 0 {
            Counters::add(&self.counters.retries);
        }
        let received = self.transport.attempt(request, self.transport.url(request), &*self.clock).await?;
        check(&received)?;
        Ok(received.response)
    }

    fn tell_observer(&self, request: &Request, result: &Result<Response, ApiError>, took: Duration) {
        let status = result.as_ref().map_or_else(ApiError::status, |response| Some(response.status));
        let (route, took_ms) = (route(&request.target), took.as_millis());
        tracing::trace!(platform = self.platform, method = %request.method, route, status, took_ms, "answered");
        self.observer.answered(&route, status, took);
    }

    /// After a failed attempt: how long to wait for the next one, or the error that ends it.
    fn judge(
        &self,
        request: &Request,
        error: ApiError,
        trials: &mut Trials,
        last: &mut Option<ApiError>,
    ) -> Result<Duration, ApiError> {
        if request.repeat == Repeat::OnlyIfNotApplied && !error.surely_not_applied() {
            return Err(ApiError::Doubtful { cause: Box::new(error) });
        }
        if error.decision() != Decision::Retry {
            return Err(error);
        }
        let has_known = self.known.get().is_some() && request.auth.is_some();
        let is_throttled = matches!(error, ApiError::RateLimited { .. });
        let next = if is_throttled {
            trials.throttled(has_known, &self.retry)
        } else {
            trials.failed(&error, self.gate.successes(), has_known, (&self.retry, self.total_timeout))
        };
        if next == Next::GiveUp {
            return Err(self.given_up(request, error, trials));
        }
        let (asked, outage) = (error.retry_after(), error.is_outage());
        *last = Some(error);
        // Before the gate everybody waits, this request included.
        if is_throttled || next == Next::Ask || (outage && !self.gate.is_open(Instant::now())) {
            return Ok(Duration::ZERO);
        }
        Ok(wait_for(self.jitter.of(trials.distance(&self.retry)), asked, self.max_wait))
    }

    /// The end of a request that was tried for long enough.
    fn given_up(&self, request: &Request, error: ApiError, trials: &Trials) -> ApiError {
        let (attempts, route) = (trials.attempts, route(&request.target));
        tracing::warn!(platform = self.platform, route, attempts, "a request is given up: {error}");
        // That it is asked to slow down says nothing about its record either.
        if matches!(error, ApiError::RateLimited { .. }) || self.all_fail(trials) {
            let (platform, after) = (self.platform, trials.spent);
            return ApiError::Unavailable { platform, after, last: Some(Box::new(error)) };
        }
        ApiError::Exhausted { attempts, last: Box::new(error) }
    }

    /// Whether a request that is given up says something about the platform and nothing about its record: nobody else had an
    /// answer of use while it was tried, and it is not the only one.
    fn all_fail(&self, trials: &Trials) -> bool {
        if trials.others_succeeded(self.gate.successes()) {
            return false;
        }
        let given_up = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
        given_up >= ALL_FAIL || self.failing.load(Ordering::Relaxed) >= ALL_FAIL
    }

    pub(super) async fn or_shutdown<T>(&self, wait: impl Future<Output = T>) -> Result<T, ApiError> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(ApiError::Interrupted),
            done = wait => Ok(done),
        }
    }
}
