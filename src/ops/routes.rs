//! What is answered. Numbers, words and times; of contacts and runs their ids; never a value of a person.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::clock::Timestamp;
use crate::domain::ids::RunId;
use crate::domain::outcome::RunVerdict;
use crate::store::{FinishedSweep, Run, Store, StoreError};

use super::alerts::Alerts;
use super::alerts::judge::Limits;
use super::board::Board;
use super::guard::{self, Guard, refusal};
use super::look::{Facts, Looker};
use super::metrics::Metrics;
use super::ready::reasons;
use super::trigger::{Kind, Trigger};
use super::{Platform, moment};

/// A trigger is a few dozen bytes.
const BODY_MAX: usize = 4 * 1024;
/// Runs that one answer shows, unless asked for otherwise, and at most.
const RUNS: u32 = 20;
/// At most so many.
const RUNS_MAX: u32 = 200;
/// The state is asked for no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is shown.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) board: Board,
    pub(super) metrics: Metrics,
    pub(super) trigger: Trigger,
    pub(super) alerts: Arc<Alerts>,
    pub(super) looker: Arc<Looker>,
    pub(super) store: Store,
    pub(super) limits: Limits,
}

pub(super) fn router(shown: Shown, guard: Guard) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/status", get(status))
        .route("/api/runs", get(runs).post(ask))
        .route("/api/runs/{id}", get(run))
        .fallback(async || refusal(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || refusal(StatusCode::METHOD_NOT_ALLOWED, "not with this method"))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(guard, guard::stand))
        .with_state(shown)
}

/// The process is there and answers. It says nothing about its work: who restarts on it must not restart an outage.
async fn healthz() -> Json<Value> {
    Json(json!({ "status": "alive", "version": env!("CARGO_PKG_VERSION") }))
}

async fn readyz(State(shown): State<Shown>) -> Response {
    let facts = shown.looker.look().await;
    let reasons = reasons(&facts, &shown.limits, now(&facts));
    if reasons.is_empty() {
        return Json(json!({ "status": "ready" })).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "not_ready", "reasons": reasons }))).into_response()
}

async fn metrics(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    let facts = shown.looker.look().await;
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let exposition = shown.metrics.scrape(&facts, accept);
    ([(CONTENT_TYPE, exposition.content_type)], exposition.text).into_response()
}

async fn status(State(shown): State<Shown>) -> Json<Value> {
    let facts = shown.looker.look().await;
    let (board, now) = (&facts.board, now(&facts));
    let reasons = reasons(&facts, &shown.limits, now);
    let running = board.running.iter();
    let next = board.next.iter().map(|(kind, at)| (kind.as_str().to_owned(), json!(moment(*at))));
    let overdue = Kind::ALL
        .into_iter()
        .filter_map(|kind| board.overdue(kind, now).map(|since| (kind.as_str().to_owned(), json!(moment(since)))));
    let platforms = Platform::ALL.into_iter().map(|platform| {
        let reach = board.reach(platform);
        let shown = json!({
            "last_answer": reach.answered_at.map(moment),
            "failing_since": reach.failing_since.map(moment),
            "credentials_refused": reach.refused,
        });
        (platform.as_str().to_owned(), shown)
    });
    let vitals = facts.vitals.as_ref();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": moment(now),
        "started_at": board.started_at.map(moment),
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "beginning": board.beginning.map(|what| json!({ "kind": what.kind, "since": moment(what.since) })),
        "running": running
            .map(|run| json!({ "run": run.run.0, "kind": run.kind, "since": moment(run.since) }))
            .collect::<Vec<_>>(),
        "next": next.collect::<Map<String, Value>>(),
        "overdue": overdue.collect::<Map<String, Value>>(),
        "platforms": platforms.collect::<Map<String, Value>>(),
        "carried_until": board.carried_until.map(moment),
        "sync_lag_s": board.carried_until.map(|until| (now.0 - until.0).max(0) / 1000),
        "last_sweep": vitals.and_then(|vitals| vitals.last_sweep.as_ref()).map(sweep_json),
        "last_complete_sweep": vitals.and_then(|vitals| vitals.last_complete_sweep.as_ref()).map(sweep_json),
        "links": vitals.map(|vitals| json!({
            "live": vitals.links_live,
            "alias": vitals.links_alias,
            "gone": vitals.links_gone,
        })),
        "left_over": vitals.map(|vitals| json!({
            "dead_letters_waiting": vitals.dead_letters_waiting,
            "dead_letters_poisoned": vitals.dead_letters_poisoned,
            "conflicts": vitals.conflicts,
            "parked": vitals.parked,
            "absent": vitals.absent,
        })),
        "alarms": shown.alerts.standing(),
        "state": { "bytes": facts.state_bytes, "disk_free_bytes": facts.disk_free },
    }))
}

async fn runs(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let Some(limit) = limit(query.as_deref().unwrap_or_default()) else {
        return refusal(StatusCode::BAD_REQUEST, "limit is a number from 1 to 200, and the only parameter");
    };
    match in_time(shown.store.runs(limit)).await {
        Ok(runs) => Json(json!({ "runs": runs.iter().map(run_json).collect::<Vec<_>>() })).into_response(),
        Err(response) => response,
    }
}

/// The limit that a query asks for; `None` when it asks for something else.
fn limit(query: &str) -> Option<u32> {
    let mut limit = RUNS;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        limit = pair.strip_prefix("limit=")?.parse().ok().filter(|limit| (1..=RUNS_MAX).contains(limit))?;
    }
    Some(limit)
}

async fn run(State(shown): State<Shown>, Path(id): Path<String>) -> Response {
    let missing = || refusal(StatusCode::NOT_FOUND, "there is no such run");
    let Ok(id) = id.parse() else { return missing() };
    match in_time(shown.store.run(RunId(id))).await {
        Ok(Some(run)) => Json(run_json(&run)).into_response(),
        Ok(None) => missing(),
        Err(response) => response,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    kind: String,
}

async fn ask(State(shown): State<Shown>, headers: HeaderMap, body: Bytes) -> Response {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be application/json");
    }
    let wish = serde_json::from_slice::<Wish>(&body).ok();
    let Some(kind) = wish.and_then(|wish| Kind::parse(&wish.kind)) else {
        return refusal(StatusCode::BAD_REQUEST, "write {\"kind\": \"sync\"} or {\"kind\": \"sweep\"}");
    };
    let running = shown.board.snapshot().running;
    if kind == Kind::Sweep
        && let Some(run) = running.iter().find(|run| Kind::of_run(run.kind) == Some(Kind::Sweep))
    {
        let answer = json!({ "error": "a sweep is under way", "run": run.run.0, "since": moment(run.since) });
        return (StatusCode::CONFLICT, Json(answer)).into_response();
    }
    match in_time(shown.store.hold()).await {
        Ok(None) => {}
        Ok(Some(hold)) => return refusal(StatusCode::CONFLICT, &hold.to_string()),
        Err(response) => return response,
    }
    match shown.trigger.ask(kind) {
        Ok(accepted) => {
            tracing::info!(kind = kind.as_str(), what = accepted.as_str(), "a run was asked for");
            let behind = running.first().map(|run| run.run.0);
            let answer = json!({ "kind": kind.as_str(), "what": accepted.as_str(), "behind_run": behind });
            (StatusCode::ACCEPTED, Json(answer)).into_response()
        }
        Err(refused) => refusal(StatusCode::SERVICE_UNAVAILABLE, &refused.to_string()),
    }
}

async fn in_time<T>(read: impl Future<Output = Result<T, StoreError>>) -> Result<T, Response> {
    match timeout(PATIENCE, read).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the state could not be read for an answer");
            Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "the state cannot be read; the log says why"))
        }
        Err(_) => Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "the state does not answer in time")),
    }
}

fn now(facts: &Facts) -> Timestamp {
    facts.now.unwrap_or(Timestamp(0))
}

fn sweep_json(sweep: &FinishedSweep) -> Value {
    json!({
        "run": sweep.run.0,
        "started_at": moment(sweep.started_at),
        "ended_at": moment(sweep.ended_at),
        "verdict": sweep.verdict,
    })
}

/// A run with its numbers, and the reasons for which contacts were set aside. Names of labels and files are left out.
fn run_json(run: &Run) -> Value {
    let numbers = |value: &Value| -> Map<String, Value> {
        let fields = value.as_object().into_iter().flatten().filter(|(_, value)| value.is_number());
        fields.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let nothing = Value::Null;
    let part = |key: &str| numbers(run.counts.get(key).unwrap_or(&nothing));
    json!({
        "run": run.id.0,
        "kind": run.kind,
        "started_at": moment(run.started_at),
        "ended_at": run.ended_at.map(moment),
        "exit_code": run.exit_code,
        "verdict": run.exit_code.map(|code| RunVerdict::of_exit(code).as_str()),
        "sweep": run.verdict,
        "counts": numbers(&run.counts),
        "requests": part("requests"),
        "reasons": part("reasons"),
    })
}

#[cfg(test)]
mod tests {
    use super::{Run, RunId, Timestamp, json, limit, run_json};

    #[test]
    fn a_limit_that_is_none_is_refused() {
        assert_eq!([limit(""), limit("limit=7"), limit("limit=200")], [Some(20), Some(7), Some(200)]);
        for query in ["limit=0", "limit=201", "limit=x", "limit=", "limt=7", "limit=7&offset=2"] {
            assert_eq!(limit(query), None, "{query}");
        }
    }

    #[test]
    fn a_run_shows_its_numbers_and_none_of_its_texts() {
        let run = Run {
            id: RunId(4),
            kind: String::from("sweep"),
            options: json!({ "plan": "/home/amy/plan.json" }),
            started_at: Timestamp(0),
            ended_at: Some(Timestamp(1000)),
            exit_code: Some(1),
            verdict: Some(String::from("proven")),
            counts: json!({
                "created": 2,
                "reasons": { "refused (422): FIRST LINE refused it": 1 },
                "requests": { "livedesk": 9 },
                "tags": { "labels_unknown": { "a label": "why" } },
                "stopped_fields": ["x"],
            }),
        };
        let shown = run_json(&run);
        assert_eq!((&shown["verdict"], &shown["counts"]), (&json!("left_over"), &json!({ "created": 2 })));
        assert_eq!((&shown["requests"]["livedesk"], &shown["sweep"]), (&json!(9), &json!("proven")));
        let text = shown.to_string();
        assert!(!text.contains("amy") && !text.contains("label") && text.contains("FIRST LINE refused it"), "{text}");
    }
}
