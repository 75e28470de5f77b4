//! Every fault around a router that counts what it applied; what a socket sees is tested beside `Sandbox`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::header;
use axum::routing::get;
use serde_json::json;

use super::*;
use crate::sandbox::testing::{call, respond};

const PATH: &str = "/api/v1/contacts";

/// A plan, the router behind it, and how many requests were applied.
fn platform(platform: Platform, settings: FaultSettings) -> (Arc<FaultPlan>, Router, Arc<AtomicU64>) {
    let applied = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&applied);
    let handler = async move || {
        counter.fetch_add(1, Ordering::SeqCst);
        axum::Json(json!({ "data": { "id": 7 } }))
    };
    let router = Router::new()
        .route(PATH, get(handler.clone()).post(handler.clone()))
        .route("/api/v1/contacts/{id}", get(handler.clone()).post(handler));
    let plan = Arc::new(FaultPlan::new(platform, settings, 7));
    (Arc::clone(&plan), with_faults(router, plan), applied)
}

fn next(fault: Fault) -> FaultSettings {
    let next = NextFault { fault, times: 1, skip: 0, only: FaultFilter::default() };
    FaultSettings { next: vec![next], ..FaultSettings::default() }
}

#[tokio::test]
async fn each_fault_answers_and_applies_as_it_says() {
    let rows = [
        (Fault::Slow, 1, 200, "{\"data\":{\"id\":7}}"),
        (Fault::Reset, 0, 200, "closed"),
        (Fault::ResetAfter, 1, 200, "closed"),
        (Fault::Truncated, 1, 200, "{\"data\":"),
        (Fault::CutOff, 1, 200, "closed"),
        (Fault::Empty, 1, 200, ""),
        (Fault::Throttled, 0, 429, "{\"message\":\"Too Many Attempts.\"}"),
        (Fault::Expired, 0, 401, "{\"message\":\"Unauthenticated.\"}"),
        (Fault::Outage, 0, 503, "<html><body><h1>503 Service Unavailable</h1></body></html>"),
    ];
    for (fault, times, status, body) in rows {
        let (plan, router, applied) = platform(Platform::FirstLine, next(fault));
        assert_eq!(call(&router, "POST", PATH, None).await, (status, body.to_owned()), "{fault:?}");
        assert_eq!((applied.load(Ordering::SeqCst), plan.injected(fault)), (times, 1), "{fault:?}");
        assert_eq!(call(&router, "POST", PATH, None).await.0, 200, "only one was asked for");
    }
}

#[tokio::test]
async fn server_errors_come_without_effect_and_lost_acknowledgements_with_it() {
    for (fault, times) in [(Fault::Error, 0), (Fault::LostAck, 1)] {
        let (_, router, applied) = platform(Platform::FirstLine, next(fault));
        assert!(call(&router, "POST", PATH, None).await.0 >= 500);
        assert_eq!(applied.load(Ordering::SeqCst), times);
    }
    let (_, router, applied) = platform(Platform::FirstLine, next(Fault::Html));
    let (status, body) = call(&router, "POST", PATH, None).await;
    assert!(status == 200 && body.starts_with("<!DOCTYPE html>") && applied.load(Ordering::SeqCst) == 1);
}

#[tokio::test]
async fn a_late_write_is_applied_after_the_connection_is_gone() {
    let (plan, router, applied) = platform(Platform::FirstLine, FaultSettings { late_ms: 1, ..next(Fault::Late) });
    assert_eq!(call(&router, "POST", PATH, Some(json!({ "a": 1 }))).await.1, "closed");
    plan.tasks.close();
    plan.tasks.wait().await;
    assert!(plan.is_settled());
    assert_eq!(applied.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn stopping_drops_what_was_to_be_applied_later() {
    let (plan, router, applied) =
        platform(Platform::FirstLine, FaultSettings { late_ms: 600_000, ..next(Fault::Late) });
    call(&router, "POST", PATH, None).await;
    assert!(!plan.is_settled());
    plan.shut_down().await;
    assert_eq!(applied.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn livedesk_throttles_in_plain_text_without_retry_after() {
    let (_, router, _) = platform(Platform::LiveDesk, next(Fault::Throttled));
    let response = respond(&router, "GET", PATH, None).await;
    assert_eq!(response.status(), 429);
    assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/plain"));
    assert!(!response.headers().contains_key(header::RETRY_AFTER));
}

#[tokio::test]
async fn retry_after_comes_as_seconds_or_as_a_date() {
    let settings = FaultSettings { retry_after_seconds: 30, throttle_rate: 1.0, ..FaultSettings::default() };
    let (plan, router, _) = platform(Platform::FirstLine, settings);
    for (form, is_right) in [
        (RetryAfter::Seconds, (|text| text == "30") as fn(&str) -> bool),
        (RetryAfter::Date, |text| httpdate::parse_http_date(text).is_ok()),
    ] {
        plan.change(|it| it.retry_after = form);
        let response = respond(&router, "GET", PATH, None).await;
        assert!(is_right(response.headers()[header::RETRY_AFTER].to_str().unwrap()), "{form:?}");
    }
}

#[tokio::test]
async fn a_fault_meets_only_the_requests_it_is_meant_for() {
    let (plan, router, _) = platform(Platform::FirstLine, FaultSettings::default());
    plan.next(Fault::Throttled, 1, FaultFilter::on("POST", "/contacts"));
    plan.next(Fault::Expired, 1, FaultFilter::on("GET", "/contacts/*"));
    assert_eq!(call(&router, "GET", PATH, None).await.0, 200);
    assert_eq!(call(&router, "POST", "/api/v1/contacts/12", None).await.0, 200);
    assert_eq!(call(&router, "GET", "/api/v1/contacts/12", None).await.0, 401);
    assert_eq!(call(&router, "POST", PATH, None).await.0, 429);
    assert!(plan.settings().next.is_empty());
    assert_eq!(plan.requests_to("POST /contacts"), 1);
    assert_eq!(plan.requests_to("GET /contacts/{id}"), 1);
    let counts = plan.counts();
    assert_eq!(counts["requests"], 4);
    assert_eq!(counts["by_fault"], json!({ "throttled": 1, "expired": 1 }));
    assert_eq!(counts["by_status"], json!({ "200": 2, "401": 1, "429": 1 }));
    plan.reset_counts();
    assert_eq!(plan.requests(), 0);
}

#[tokio::test]
async fn a_fault_may_be_meant_for_what_the_query_says() {
    let (plan, router, _) = platform(Platform::LiveDesk, FaultSettings::default());
    plan.next(Fault::Expired, 1, FaultFilter::on("GET", "/contacts?sort=email"));
    let base = Platform::LiveDesk.base_path();
    let answer = |query: &'static str| {
        let (router, target) = (router.clone(), format!("{base}/contacts{query}"));
        async move { call(&router, "GET", &target, None).await.0 }
    };
    assert_ne!(answer("").await, 401);
    assert_ne!(answer("?page=1&sort=name").await, 401);
    assert_eq!(answer("?page=1&sort=email&direction=asc").await, 401);
    assert_eq!(plan.requests_to("GET /contacts"), 3, "the route knows no query");
}

#[tokio::test]
async fn skipped_requests_pass_before_the_fault_strikes() {
    let (plan, router, _) = platform(Platform::FirstLine, FaultSettings::default());
    plan.change(|it| it.next.push(NextFault { fault: Fault::Error, times: 2, skip: 2, only: FaultFilter::default() }));
    let mut failed = Vec::new();
    for _ in 0..6 {
        failed.push(call(&router, "GET", PATH, None).await.0 >= 500);
    }
    assert_eq!(failed, [false, false, true, true, false, false]);
}

#[tokio::test]
async fn outages_expiry_and_the_window_hold_until_they_are_lifted() {
    let (plan, router, _) = platform(Platform::FirstLine, FaultSettings::default());
    plan.start_outage();
    assert_eq!(call(&router, "GET", PATH, None).await.0, 503);
    plan.end_outage();
    assert_eq!(call(&router, "GET", PATH, None).await.0, 200);
    plan.set(FaultSettings { expire_from: 2, ..FaultSettings::default() });
    assert_eq!(call(&router, "GET", PATH, None).await.0, 200);
    assert_eq!(call(&router, "GET", PATH, None).await.0, 401);
    assert_eq!(call(&router, "GET", PATH, None).await.0, 401);
    plan.set(FaultSettings { window_limit: 3, window_ms: u64::MAX, ..FaultSettings::default() });
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(call(&router, "GET", PATH, None).await.0);
    }
    assert_eq!(answers, [200, 200, 200, 429, 429]);
    assert_eq!(plan.injected(Fault::OverLimit), 2);
}

#[test]
fn rates_are_kept_and_the_same_seed_draws_the_same_faults() {
    let settings = FaultSettings { error_rate: 0.02, lost_ack_rate: 0.01, late_rate: 0.05, ..FaultSettings::default() };
    let draw = || {
        let plan = FaultPlan::new(Platform::FirstLine, settings.clone(), 3);
        (0..5_000).map(|_| plan.decide("POST", PATH).fault).collect::<Vec<_>>()
    };
    let faults = draw();
    let share = |fault| faults.iter().filter(|it| **it == Some(fault)).count();
    assert!((70..130).contains(&share(Fault::Error)) && (30..75).contains(&share(Fault::LostAck)));
    assert!((200..300).contains(&share(Fault::Late)));
    assert_eq!(draw(), faults);
}
