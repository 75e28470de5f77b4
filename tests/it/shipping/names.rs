//! The metrics and alarms of the service: the contract between what it exports and what watches it.
//!
//! A test in `monitoring` holds the list against what a running service answers.

/// A metric.
pub(super) struct Metric {
    pub(super) name: &'static str,
    /// Whether it comes as `_bucket`, `_sum` and `_count`.
    pub(super) histogram: bool,
    /// Its labels, and the values that each may have; none: any.
    pub(super) labels: &'static [(&'static str, &'static [&'static str])],
}

const ANY: &[&str] = &[];
const PLATFORM: (&str, &[&str]) = ("platform", &["livedesk", "firstline"]);

const fn metric(name: &'static str, labels: &'static [(&'static str, &'static [&'static str])]) -> Metric {
    Metric { name, histogram: false, labels }
}

/// Every metric there is.
pub(super) const METRICS: &[Metric] = &[
    metric("deskferry_build_info", &[("version", ANY)]),
    metric("deskferry_http_requests_total", &[PLATFORM, ("route", ANY), ("status", ANY)]),
    Metric { name: "deskferry_http_request_duration_seconds", histogram: true, labels: &[PLATFORM, ("route", ANY)] },
    metric("deskferry_http_throttled_total", &[PLATFORM]),
    metric("deskferry_budget_requests_per_second", &[PLATFORM, ("kind", &["ceiling", "current"])]),
    metric("deskferry_platform_up", &[PLATFORM]),
    metric("deskferry_platform_last_answer_timestamp_seconds", &[PLATFORM]),
    metric("deskferry_contacts_total", &[("outcome", ANY)]),
    metric("deskferry_runs_total", &[("kind", ANY), ("verdict", &["done", "left_over", "failed", "interrupted"])]),
    metric("deskferry_run_last_end_timestamp_seconds", &[("kind", ANY)]),
    metric("deskferry_run_in_progress", &[("kind", ANY)]),
    metric("deskferry_next_activation_timestamp_seconds", &[("kind", ANY)]),
    metric("deskferry_sweep_last_complete_timestamp_seconds", &[]),
    metric("deskferry_sweep_unseen", &[]),
    metric("deskferry_sync_lag_seconds", &[]),
    metric("deskferry_dead_letters", &[("state", &["waiting", "poisoned"])]),
    metric("deskferry_conflicts", &[]),
    metric("deskferry_parked", &[]),
    metric("deskferry_links", &[("standing", &["live", "alias", "gone"])]),
    metric("deskferry_absent_contacts", &[]),
    metric("deskferry_state_readable", &[]),
    metric("deskferry_state_bytes", &[]),
    metric("deskferry_disk_free_bytes", &[]),
    metric("deskferry_alarm", &[("alarm", ALARMS)]),
];

/// Every alarm there is.
pub(super) const ALARMS: &[&str] = &[
    "run_failed",
    "run_missed",
    "sweep_incomplete",
    "sweep_overdue",
    "delete_ceiling",
    "credentials_refused",
    "dead_letters",
    "disk_low",
    "platform_down",
];
