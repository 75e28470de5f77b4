//! The simulated FIRST LINE, driven through its router: one test per documented endpoint and per switch.

mod contacts;
mod probe;
mod rows;
mod search;
mod session;
mod tables;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use super::*;

/// A tenant and the way to it.
struct Tenant {
    world: FirstLine,
}

/// An answer, read.
struct Reply {
    status: u16,
    body: Value,
    text: String,
    location: Option<String>,
}

impl Reply {
    fn data(&self) -> &Value {
        &self.body["data"]
    }

    fn id(&self) -> u64 {
        self.body["data"]["id"].as_u64().expect("the answer has an id")
    }

    /// Ids of a list, in its order.
    fn ids(&self) -> Vec<u64> {
        self.data().as_array().expect("a list").iter().map(|row| row["id"].as_u64().unwrap()).collect()
    }

    fn total(&self) -> u64 {
        self.body["meta"]["total"].as_u64().expect("a total")
    }

    /// Names of the fields that a 422 complains of.
    fn errors(&self) -> Vec<String> {
        assert_eq!(self.status, 422, "{}", self.text);
        self.body["errors"].as_object().expect("errors").keys().cloned().collect()
    }
}

impl Tenant {
    /// A tenant with some switches changed.
    fn with(changes: Value) -> Self {
        Self { world: FirstLine::new(switches(changes), 7) }
    }

    fn new() -> Self {
        Self::with(json!({}))
    }

    /// Changes switches on the way.
    fn switch(&self, changes: Value) {
        let Value::Object(mut all) = serde_json::to_value(self.world.switches()).unwrap() else { unreachable!() };
        let Value::Object(changes) = changes else { unreachable!() };
        all.extend(changes);
        self.world.set_switches(serde_json::from_value(Value::Object(all)).unwrap());
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.world.router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let location = response.headers().get(header::LOCATION).map(|l| l.to_str().unwrap().to_owned());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Reply { status, body: serde_json::from_str(&text).unwrap_or(Value::Null), text, location }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        self.call_as("sandbox-token", method, path, body).await
    }

    async fn call_as(&self, token: &str, method: &str, path: &str, body: Value) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header("host", "sandbox.test")
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"));
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.send(request.body(body).unwrap()).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, body).await
    }

    /// An update with `_method` in the body.
    async fn put(&self, path: &str, mut body: Value) -> Reply {
        body["_method"] = json!("put");
        self.post(path, body).await
    }

    /// A list with one filter, its value encoded.
    async fn find(&self, path: &str, filters: &[(&str, &str)]) -> Reply {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(filters).finish();
        self.get(&format!("{path}?{query}")).await
    }

    /// A contact with only a name.
    fn named(&self, name: &str) -> u64 {
        self.world.add_contact(&json!({ "first_name": name }), &[], &[], &[])
    }
}

fn switches(changes: Value) -> FirstLineSwitches {
    serde_json::from_value(changes).expect("switches that exist")
}

/// Value of a column in an answer.
fn column(contact: &Value, id: i64) -> Value {
    let columns = contact["cz_cols"].as_array().expect("cz_cols");
    columns.iter().find(|column| column["id"] == id).map_or(Value::Null, |column| column["value"].clone())
}

#[test]
fn every_switch_is_described_and_every_description_has_a_switch() {
    let Value::Object(fields) = serde_json::to_value(FirstLineSwitches::default()).unwrap() else { unreachable!() };
    let mut names: Vec<&str> = SWITCHES.iter().map(|(name, _)| *name).collect();
    assert!(SWITCHES.iter().all(|(_, text)| !text.is_empty() && !text.contains('\n')));
    names.sort_unstable();
    let fields: Map<String, Value> = fields.into_iter().collect();
    let mut known: Vec<&str> = fields.keys().map(String::as_str).collect();
    known.sort_unstable();
    assert_eq!(names, known);
}

#[test]
fn an_unknown_switch_is_refused() {
    let unknown: Result<FirstLineSwitches, _> = serde_json::from_value(json!({ "serch_lag_ms": 1 }));
    assert!(unknown.is_err());
}
