//! Alarms: judged from the facts, remembered in the state, told to a webhook.
//!
//! [`alarm`] names them, [`judge`](mod@judge) says when something is one and [`memory`] what is new about it, both pure. A look
//! does three things: learn, remember, and wake the sender, which runs beside it and tries for as long as it takes; of
//! each alarm only the newest news counts. News arrives at least once: a crash between delivery and its note sends it again, with the same `id`.

pub mod alarm;
pub mod judge;
pub mod memory;
pub mod webhook;

#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::store::{Store, StoreError};

use super::look::Facts;
use super::metrics::Metrics;
use super::moment;

use self::alarm::Alarm;
use self::judge::{Limits, judge};
use self::memory::{Change, Memory, News, notice};
use self::webhook::Webhook;

/// Profile key of the memory.
const KEY: &str = "alarms";
/// First wait after news that could not be delivered; it doubles up to [`CEILING`].
const FIRST: Duration = Duration::from_secs(15);
/// Longest wait between two tries.
const CEILING: Duration = Duration::from_mins(15);

/// Judges and remembers.
pub struct Alerts {
    limits: Limits,
    metrics: Metrics,
    desk: Arc<Desk>,
}

/// What judge and sender share.
struct Desk {
    store: Store,
    memory: Mutex<Memory>,
    /// One store of the memory at a time, so that an older one never overwrites a newer one.
    storing: AsyncMutex<()>,
    /// Whether the state does not hold what the memory does.
    is_new: AtomicBool,
    news: Notify,
    has_webhook: bool,
}

/// Delivers. Runs beside the service as one task.
pub struct Sender {
    desk: Arc<Desk>,
    webhook: Webhook,
    accounts: Value,
}

/// What became of one round of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing is left to deliver.
    Clear,
    /// Something could not be delivered, and stays.
    Failed,
}

impl Alerts {
    /// Remembers what was known before the restart.
    pub async fn open(
        limits: Limits,
        store: Store,
        metrics: Metrics,
        now: Timestamp,
        webhook: Option<Webhook>,
    ) -> Result<(Self, Option<Sender>), StoreError> {
        let stored = store.profile_get(KEY).await?;
        // From the first start on, a sweep can be overdue.
        let is_new = AtomicBool::new(stored.is_none());
        let memory = stored.map_or_else(|| Memory::new(now), |stored| Memory::from_json(&stored, now));
        for alarm in Alarm::ALL {
            metrics.alarm(alarm.as_str(), memory.standing.contains_key(&alarm));
        }
        let accounts = store
            .bound_accounts()
            .await?
            .map_or(Value::Null, |accounts| json!({ "livedesk": accounts.livedesk, "firstline": accounts.firstline }));
        let desk = Arc::new(Desk {
            store,
            memory: Mutex::new(memory),
            storing: AsyncMutex::new(()),
            is_new,
            news: Notify::new(),
            has_webhook: webhook.is_some(),
        });
        let sender = webhook.map(|webhook| Sender { desk: Arc::clone(&desk), webhook, accounts });
        Ok((Self { limits, metrics, desk }, sender))
    }

    /// Judges the facts and says what changed. Called after each run and once a minute.
    pub async fn tick(&self, facts: &Facts) -> Vec<Change> {
        let Some(now) = facts.now else { return Vec::new() };
        let changes = {
            let mut memory = self.desk.memory();
            let before = memory.clone();
            // A first start under a clock that was ahead would put everything off until it is reached again.
            if memory.watched_since.unless_ahead_of(now).is_none() {
                memory.watched_since = now;
            }
            let findings = judge(facts, &self.limits, memory.watched_since, now);
            let changes = memory.learn(findings, now, self.desk.has_webhook);
            if *memory != before {
                self.desk.is_new.store(true, Ordering::Release);
            }
            changes
        };
        for Change { alarm, news } in &changes {
            self.metrics.alarm(alarm.as_str(), news.raised);
            let (name, since, text) = (alarm.as_str(), moment(news.standing.since), &news.standing.text);
            if news.raised {
                tracing::error!(alarm = name, since, details = %news.standing.details, remedy = alarm.remedy(), "alarm: {text}");
            } else {
                tracing::info!(alarm = name, since, "alarm over: {text}");
            }
        }
        self.desk.remember().await;
        if !changes.is_empty() {
            self.desk.news.notify_one();
        }
        changes
    }

    /// Alarms that stand, for who asks.
    pub fn standing(&self) -> Value {
        standing(&self.desk.memory())
    }
}

/// What this state's service remembers; none, where none ever ran.
pub async fn remembered(store: &Store) -> Result<Option<Memory>, StoreError> {
    // Only what stands is asked for, and that has its own times.
    Ok(store.profile_get(KEY).await?.map(|stored| Memory::from_json(&stored, Timestamp(0))))
}

/// Alarms that stand, for who asks.
pub fn standing(memory: &Memory) -> Value {
    let alarms = memory.standing.iter().map(|(alarm, standing)| {
        json!({
            "alarm": alarm.as_str(),
            "since": moment(standing.since),
            "text": standing.text,
            "remedy": alarm.remedy(),
            "details": standing.details,
        })
    });
    alarms.collect()
}

impl Desk {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the memory as it is now, if there is anything new in it. News goes out whether or not that succeeds, and
    /// the next look tries again.
    async fn remember(&self) {
        let _one_at_a_time = self.storing.lock().await;
        if !self.is_new.swap(false, Ordering::AcqRel) {
            return;
        }
        let stored = self.memory().to_json();
        if let Err(error) = self.store.profile_put(KEY, &stored).await {
            tracing::warn!(%error, "alarms could not be remembered; after a restart one may come twice");
            self.is_new.store(true, Ordering::Release);
        }
    }
}

impl Sender {
    /// Delivers until `stop`. What is left then is delivered after the next start.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            let work = async {
                match self.deliver().await {
                    Delivery::Clear => {
                        failures = 0;
                        self.desk.news.notified().await;
                    }
                    Delivery::Failed => {
                        let wait = distance(failures);
                        failures = failures.saturating_add(1);
                        // Newer news does not wait behind older news that somebody refuses.
                        tokio::select! {
                            () = tokio::time::sleep(wait) => {}
                            () = self.desk.news.notified() => {}
                        }
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    /// One round over everything that is not delivered.
    pub async fn deliver(&self) -> Delivery {
        let waiting: Vec<(Alarm, News)> =
            self.desk.memory().outbox.iter().map(|(alarm, news)| (*alarm, news.clone())).collect();
        self.webhook.begin_round();
        let mut delivery = Delivery::Clear;
        for (alarm, news) in waiting {
            match self.webhook.post(&notice(alarm, &news, &self.accounts)).await {
                Ok(()) => {
                    self.desk.memory().delivered(alarm, &news);
                    self.desk.is_new.store(true, Ordering::Release);
                    self.desk.remember().await;
                }
                Err(error) => {
                    let cause = error.source().map(ToString::to_string);
                    tracing::warn!(alarm = alarm.as_str(), %error, cause, "an alarm could not be delivered; it is tried again");
                    delivery = Delivery::Failed;
                }
            }
        }
        // What came up meanwhile is waiting already.
        if delivery == Delivery::Clear && !self.desk.memory().outbox.is_empty() {
            self.desk.news.notify_one();
        }
        delivery
    }
}

/// How long to wait after so many failures in a row.
fn distance(failures: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(CEILING)
}
