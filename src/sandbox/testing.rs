//! What the sandbox's own tests share: a call on a router without a socket.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, header};
use serde_json::Value;
use tower::ServiceExt;

pub(super) async fn respond(router: &Router, method: &str, path: &str, body: Option<Value>) -> Response<Body> {
    let credential = "Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=";
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, credential)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.map_or_else(Body::empty, |it| Body::from(it.to_string())))
        .unwrap();
    router.clone().oneshot(request).await.unwrap()
}

/// Status and text; a body that fails is the text "closed".
pub(super) async fn call(router: &Router, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
    let response = respond(router, method, path, body).await;
    let status = response.status().as_u16();
    let text = to_bytes(response.into_body(), usize::MAX).await;
    (status, text.map_or_else(|_| "closed".to_owned(), |it| String::from_utf8(it.to_vec()).unwrap()))
}

pub(super) async fn call_json(router: &Router, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let (status, text) = call(router, method, path, body).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}
