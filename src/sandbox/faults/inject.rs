//! Carries out what the plan decided, around any router.
//!
//! A closed connection is a body that fails before its first byte: the server then drops the connection, and nothing of
//! the answer has been sent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::plan::{FaultPlan, Verdict};
use super::settings::{Fault, Platform, RetryAfter};
use crate::sandbox::clock;
use crate::sandbox::rng::pick;

/// Largest body that is held back for a late request, or mangled.
const LARGEST_BODY_BYTES: usize = 64 << 20;
const HTML: &str =
    "<!DOCTYPE html>\n<html><head><title>Just a moment</title></head><body><h1>Welcome</h1></body></html>\n";

/// `router`, with everything going wrong that `plan` says.
pub fn with_faults(router: Router, plan: Arc<FaultPlan>) -> Router {
    router.layer(from_fn_with_state(plan, inject))
}

async fn inject(State(plan): State<Arc<FaultPlan>>, request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map_or(request.uri().path(), |target| target.as_str());
    let verdict = plan.decide(request.method().as_str(), target);
    plan.pause(verdict.latency).await;
    let response = carry_out(&plan, &verdict, request, next).await;
    if let Some(response) = response {
        plan.answered(response.status().as_u16());
        response
    } else {
        plan.answered(0);
        closed()
    }
}

/// The answer, or nothing at all.
async fn carry_out(plan: &Arc<FaultPlan>, verdict: &Verdict, request: Request, next: Next) -> Option<Response> {
    let platform = plan.platform();
    let Some(fault) = verdict.fault else { return Some(next.run(request).await) };
    Some(match fault {
        Fault::Slow => {
            // Handled first: a client that gives up meanwhile is in doubt, and rightly so.
            let response = next.run(request).await;
            plan.pause(verdict.settings.slow).await;
            response
        }
        Fault::Error => error(platform, pick(&[500, 502, 503], verdict.draw)),
        Fault::LostAck => {
            next.run(request).await;
            error(platform, pick(&[502, 504], verdict.draw))
        }
        Fault::Reset => return None,
        Fault::ResetAfter => {
            next.run(request).await;
            return None;
        }
        Fault::Truncated => truncated(next.run(request).await).await,
        Fault::CutOff => cut_off(next.run(request).await).await,
        Fault::Html => {
            next.run(request).await;
            ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], HTML).into_response()
        }
        Fault::Empty => {
            next.run(request).await;
            StatusCode::OK.into_response()
        }
        Fault::Throttled | Fault::OverLimit => throttled(platform, verdict),
        Fault::Late => {
            later(plan, verdict, request, next).await;
            return None;
        }
        Fault::Expired => match platform {
            Platform::LiveDesk => (StatusCode::UNAUTHORIZED, axum::Json(json!({ "error": "Invalid Access Token" }))),
            Platform::FirstLine => (StatusCode::UNAUTHORIZED, axum::Json(json!({ "message": "Unauthenticated." }))),
        }
        .into_response(),
        Fault::Outage => error(platform, 503),
    })
}

/// The request is taken in, the client loses sight of it, and it is applied after its time.
async fn later(plan: &Arc<FaultPlan>, verdict: &Verdict, request: Request, next: Next) {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY_BYTES).await else { return };
    let request = Request::from_parts(head, Body::from(body));
    let (own, late) = (Arc::clone(plan), verdict.settings.late);
    plan.tasks.spawn(async move {
        own.pause(late).await;
        if !own.stop.is_cancelled() {
            next.run(request).await;
            own.happened.notify_waiters();
        }
    });
    plan.pause(verdict.settings.late_hold).await;
}

fn error(platform: Platform, status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match platform {
        // A proxy in front answers for a server that is not there.
        _ if status != StatusCode::INTERNAL_SERVER_ERROR => {
            let page = format!("<html><body><h1>{status}</h1></body></html>");
            (status, [(header::CONTENT_TYPE, "text/html")], page).into_response()
        }
        Platform::LiveDesk => (status, axum::Json(json!({ "error": "Internal server error" }))).into_response(),
        Platform::FirstLine => (status, axum::Json(json!({ "message": "Server Error" }))).into_response(),
    }
}

fn throttled(platform: Platform, verdict: &Verdict) -> Response {
    let mut response = match platform {
        Platform::LiveDesk => (StatusCode::TOO_MANY_REQUESTS, "Retry later\n").into_response(),
        Platform::FirstLine => {
            (StatusCode::TOO_MANY_REQUESTS, axum::Json(json!({ "message": "Too Many Attempts." }))).into_response()
        }
    };
    let seconds = verdict.settings.retry_after_seconds;
    let text = match verdict.settings.retry_after {
        RetryAfter::None => return response,
        RetryAfter::Seconds => seconds.to_string(),
        RetryAfter::Date => httpdate::fmt_http_date(clock::now() + Duration::from_secs(seconds)),
    };
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// Nothing is sent and the connection closes.
fn closed() -> Response {
    let promised = [(header::CONTENT_LENGTH, "1")];
    (promised, Body::from_stream(futures::stream::iter([Err::<Bytes, _>(reset())]))).into_response()
}

async fn truncated(response: Response) -> Response {
    let (mut head, bytes) = taken_apart(response).await;
    head.status = StatusCode::OK;
    Response::from_parts(head, Body::from(bytes.slice(..bytes.len() / 2)))
}

async fn cut_off(response: Response) -> Response {
    let (mut head, bytes) = taken_apart(response).await;
    head.status = StatusCode::OK;
    // At least one byte is promised and not sent, even where there was no body.
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len().max(1)));
    let half = bytes.slice(..bytes.len() / 2);
    Response::from_parts(head, Body::from_stream(futures::stream::iter([Ok(half), Err(reset())])))
}

async fn taken_apart(response: Response) -> (axum::http::response::Parts, Bytes) {
    let (mut head, body) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    (head, to_bytes(body, LARGEST_BODY_BYTES).await.unwrap_or_default())
}

fn reset() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}
