//! What a client is built from. A plain struct: `app` fills it from the configuration.
//!
//! The defaults are those of a careful guest; only the platform's name and base URL have none.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::limit::Budgets;
use super::quiet::QuietHours;
use super::retry::RetryPolicy;

/// Settings of one platform's client. No `Debug`: a proxy's address may hold a password.
#[derive(Clone)]
pub struct HttpSettings {
    /// Name of the platform in messages: `LiveDesk`.
    pub platform: &'static str,
    /// Where paths start; a slash at its end does not matter.
    pub base_url: Url,
    /// `User-Agent`.
    pub user_agent: String,
    /// Limit of one attempt, from connecting to the last byte of the body.
    pub timeout: Duration,
    /// Limit of all attempts of one request together, its own back-off included. Time in which the whole platform is
    /// paused does not count: a pause has its own limit, `max_outage`.
    pub total_timeout: Duration,
    /// Requests that may be started in a second by all work together, at most; 0 means no limit.
    pub requests_per_second: f64,
    /// Hours with another such rate.
    pub quiet_hours: Option<QuietHours>,
    /// Where clients of one process find their common budget.
    pub budgets: Budgets,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Proxy for every request; `None`: as the environment says.
    pub proxy: Option<Url>,
    /// PEM file with certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Largest body that is read, after decompression.
    pub max_response_bytes: usize,
    /// How long a platform may be down before requests fail; `None`: for ever. Zero is `--no-wait`.
    pub max_outage: Option<Duration>,
    /// Pause after a 429 that names no time. LiveDesk counts in fixed minutes and names none (notes LiveDesk 2).
    pub throttle_wait: Duration,
    /// Longest pause that a `Retry-After` may ask for.
    pub max_wait: Duration,
    /// Distances between attempts.
    pub retry: RetryPolicy,
    /// Seed of the jitter; `None`: from the operating system.
    pub jitter_seed: Option<u64>,
}

impl HttpSettings {
    /// The defaults for a platform.
    pub fn new(platform: &'static str, base_url: Url) -> Self {
        Self {
            platform,
            base_url,
            user_agent: concat!("deskferry/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout: Duration::from_secs(20),
            total_timeout: Duration::from_mins(10),
            requests_per_second: 1.0,
            quiet_hours: None,
            budgets: Budgets::default(),
            concurrency: 2,
            proxy: None,
            ca_file: None,
            max_response_bytes: 16 * 1024 * 1024,
            max_outage: None,
            throttle_wait: Duration::from_mins(1),
            max_wait: Duration::from_mins(15),
            retry: RetryPolicy::default(),
            jitter_seed: None,
        }
    }

    /// For tests with sockets: no rate limit and no delay anywhere.
    #[cfg(test)]
    pub(crate) fn without_delays(platform: &'static str, base_url: Url) -> Self {
        Self {
            timeout: Duration::from_secs(5),
            requests_per_second: 0.0,
            concurrency: 4,
            throttle_wait: Duration::ZERO,
            max_wait: Duration::ZERO,
            retry: RetryPolicy::without_delays(),
            jitter_seed: Some(7),
            ..Self::new(platform, base_url)
        }
    }
}
