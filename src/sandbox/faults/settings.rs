//! What a fault plan can be told to do. One-line descriptions for people are in `help`; a test keeps both equal.

use serde::{Deserialize, Serialize};

/// Whose errors are imitated: they differ in body, headers and path prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// LiveDesk: 429 is plain text.
    LiveDesk,
    /// FIRST LINE: every error is JSON with a `message`.
    FirstLine,
}

impl Platform {
    /// The part of the path that is the same for all requests.
    pub(crate) fn base_path(self) -> &'static str {
        match self {
            Self::LiveDesk => "/api/v2/accounts",
            Self::FirstLine => "/api/v1",
        }
    }
}

/// Faults of one platform. Rates are fractions of the requests that `only` lets through; their sum is at most 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultSettings {
    /// Every request waits this long before it is handled.
    pub latency_ms: u64,
    /// Share of requests handled at once and answered late.
    pub slow_rate: f64,
    /// How late a slow answer comes.
    pub slow_ms: u64,
    /// Share of 5xx without effect.
    pub error_rate: f64,
    /// Share of 5xx after the request was applied.
    pub lost_ack_rate: f64,
    /// Share of connections closed without effect.
    pub reset_rate: f64,
    /// Share of connections closed after the request was applied.
    pub reset_after_rate: f64,
    /// Share of applied requests whose JSON stops in the middle, under 200 and with a fitting length.
    pub truncated_rate: f64,
    /// Share of applied requests whose connection dies in the middle of the body, under 200.
    pub cut_off_rate: f64,
    /// Share of applied requests answered with an HTML page under 200.
    pub html_rate: f64,
    /// Share of applied requests answered with an empty body under 200.
    pub empty_rate: f64,
    /// Share of 429 without effect.
    pub throttle_rate: f64,
    /// What a 429 says about when to come back.
    pub retry_after: RetryAfter,
    /// The wait that a 429 names.
    pub retry_after_seconds: u64,
    /// Share of requests applied only after the connection was given up.
    pub late_rate: f64,
    /// How long after its arrival a late request is applied.
    pub late_ms: u64,
    /// How long the connection of a late request is held before it is closed (0 closes it at once).
    pub late_hold_ms: u64,
    /// 503 for everything while on.
    pub outage: bool,
    /// 401 from this request on, counted from when the settings were set (0 is never).
    pub expire_from: u64,
    /// Most requests per window; above it 429 (0 is no limit).
    pub window_limit: u64,
    /// Length of the fixed window.
    pub window_ms: u64,
    /// Which requests the rates above apply to.
    pub only: FaultFilter,
    /// Faults for exactly the next matching requests; they come before the rates.
    pub next: Vec<NextFault>,
}

impl FaultSettings {
    /// The faults that are drawn at random, with their rates.
    pub(super) fn rates(&self) -> [(Fault, f64); 11] {
        [
            (Fault::Slow, self.slow_rate),
            (Fault::Error, self.error_rate),
            (Fault::LostAck, self.lost_ack_rate),
            (Fault::Reset, self.reset_rate),
            (Fault::ResetAfter, self.reset_after_rate),
            (Fault::Truncated, self.truncated_rate),
            (Fault::CutOff, self.cut_off_rate),
            (Fault::Html, self.html_rate),
            (Fault::Empty, self.empty_rate),
            (Fault::Throttled, self.throttle_rate),
            (Fault::Late, self.late_rate),
        ]
    }
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Handled at once, answered after `slow_ms`.
    Slow,
    /// 500, 502 or 503 without effect.
    Error,
    /// 502 or 504 after the request was applied.
    LostAck,
    /// The connection closes without effect.
    Reset,
    /// The connection closes after the request was applied.
    ResetAfter,
    /// Half of the JSON, well delivered.
    Truncated,
    /// Half of the promised bytes, then the connection closes.
    CutOff,
    /// An HTML page under 200.
    Html,
    /// No body under 200.
    Empty,
    /// 429 without effect.
    Throttled,
    /// Applied after the connection was given up.
    Late,
    /// 401 without effect.
    Expired,
    /// 503 without effect, because the platform is down.
    Outage,
    /// 429 without effect, because the window is used up.
    OverLimit,
}

/// Which requests are meant. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultFilter {
    /// Methods, in capitals; empty is all.
    pub methods: Vec<String>,
    /// Path below the API's base, such as `/contacts` or `/contacts/7`; a `*` at its end makes it a prefix; empty is all.
    /// Behind a `?`: a text that the query must hold, such as `/contacts?sort=email`.
    pub path: String,
}

impl FaultFilter {
    /// Requests of `method` on exactly `path` (or below it, with a `*` at the end; and with the query behind a `?`).
    pub fn on(method: &str, path: &str) -> Self {
        Self { methods: vec![method.to_owned()], path: path.to_owned() }
    }

    /// `target` is the path below the API's base, with the query if there is one.
    pub(super) fn matches(&self, method: &str, target: &str) -> bool {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (wanted, held) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let path_fits = match wanted.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => wanted.is_empty() || wanted == path,
        };
        path_fits && query.contains(held) && (self.methods.is_empty() || self.methods.iter().any(|it| it == method))
    }
}

/// A fault for a number of coming requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextFault {
    /// What happens.
    pub fault: Fault,
    /// To how many matching requests.
    #[serde(default = "one")]
    pub times: u64,
    /// After letting this many matching requests pass.
    #[serde(default)]
    pub skip: u64,
    /// Which requests count.
    #[serde(default)]
    pub only: FaultFilter,
}

fn one() -> u64 {
    1
}

/// What a 429 says about when to come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// Nothing, as LiveDesk does.
    #[default]
    None,
    /// A number of seconds.
    Seconds,
    /// A date.
    Date,
}
