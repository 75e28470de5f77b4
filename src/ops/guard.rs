//! Who may ask: the token, and on loopback the name by which we are called.
//!
//! The token is compared over hashes in constant time, so that neither its letters nor its length can be measured. The
//! name keeps out a web page that has its own name point at this machine (DNS rebinding): such a request is called by the page's
//! name. A page cannot post here either: `application/json` needs a permission that is never given.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONNECTION, HOST, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use super::server::PATIENCE;

/// Rules of the door.
#[derive(Clone)]
pub(super) struct Guard(Arc<Rules>);

struct Rules {
    token: Option<blake3::Hash>,
    /// Whether only names of this machine are ours.
    loopback: bool,
}

impl Guard {
    pub(super) fn new(token: Option<&str>, loopback: bool) -> Self {
        Self(Arc::new(Rules { token: token.map(|token| blake3::hash(token.as_bytes())), loopback }))
    }
}

/// An error as every answer has it.
pub(super) fn refusal(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

/// Stands before every route, those that do not exist included.
pub(super) async fn stand(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.0.objection(&request) {
        Some(objection) => objection,
        None => timeout(PATIENCE, next.run(request))
            .await
            .unwrap_or_else(|_| refusal(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long")),
    };
    let headers = response.headers_mut();
    // One request a connection: a connection's age is then the age of its request, and both have one limit.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl Rules {
    fn objection(&self, request: &Request) -> Option<Response> {
        if self.loopback && !is_called_by_our_name(request) {
            let error = "the Host header must be localhost or a loopback address; a proxy in front has to set it so";
            return Some(refusal(StatusCode::MISDIRECTED_REQUEST, error));
        }
        let expected = self.token?;
        if request.uri().path() == "/healthz" || carries(request.headers(), expected) {
            return None;
        }
        let mut response = refusal(StatusCode::UNAUTHORIZED, "a bearer token is needed: the one of ops.token");
        let challenge = HeaderValue::from_static("Bearer realm=\"deskferry\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        Some(response)
    }
}

fn carries(headers: &HeaderMap, expected: blake3::Hash) -> bool {
    let Some(written) = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes) else { return false };
    let Some((scheme, token)) = written.split_at_checked("Bearer ".len()) else { return false };
    let given = blake3::hash(token.trim_ascii());
    scheme.eq_ignore_ascii_case(b"Bearer ") & bool::from(given.as_bytes().ct_eq(expected.as_bytes()))
}

/// Exactly one `Host`, and it means this machine; so does the address line, where it has a host.
fn is_called_by_our_name(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    host.to_str().is_ok_and(is_loopback_host)
        && request.uri().authority().is_none_or(|authority| is_loopback_host(authority.as_str()))
}

fn is_loopback_host(written: &str) -> bool {
    let name = match written.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => written.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::header::AUTHORIZATION;
    use axum::http::{HeaderMap, HeaderValue};

    use super::{carries, is_loopback_host};

    #[test]
    fn only_names_of_this_machine_are_ours() {
        for host in ["localhost", "LocalHost:8787", "127.0.0.1:8787", "127.9.9.9", "[::1]:8787", "[::1]"] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:8787", "127.0.0.1.evil.example", "10.0.0.1", "[::2]"] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn the_token_is_taken_whole_or_not_at_all() {
        let expected = blake3::hash(b"s3cret-token");
        let given = |text: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(text))]);
            carries(&headers, expected)
        };
        assert!(given("Bearer s3cret-token") && given("bearer s3cret-token"));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer s3cret-toke",
            "Bearer s3cret-token2",
            "Basic s3cret-token",
            "s3cret-token",
        ] {
            assert!(!given(wrong), "{wrong}");
        }
        assert!(!carries(&HeaderMap::new(), expected));
    }
}
