//! What a request is once it has been read, what an answer is before it is written, and how lists are paged.
//!
//! It knows nothing of contacts. Refusals take the shape that the switches ask for, so that a client that depends on
//! one shape of error body is found out.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::switches::{ErrorBody, FirstLineSwitches, Links, PerPageAbove, Types};

/// Rows on a page when the request does not say (platform notes 2.1).
const PER_PAGE_DEFAULT: u64 = 15;

/// Method of a request after `_method` was taken into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Put,
    Delete,
    Other,
}

/// A request, read.
pub(super) struct Call {
    pub(super) verb: Verb,
    /// Below `/api/v1/`.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Map<String, Value>,
    pub(super) host: String,
    pub(super) token: Option<String>,
    pub(super) now_ms: i64,
    /// Another number for every request.
    pub(super) nonce: u64,
    pub(super) switches: Arc<FirstLineSwitches>,
}

impl Call {
    /// A query parameter; an empty one counts as absent (Laravel makes it null).
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A number in the body, as a JSON number or, when types are lenient, as text.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        number(self.body.get(key)?, self.switches.types)
    }
}

/// Reads a non-negative integer.
pub(super) fn number(value: &Value, types: Types) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) if types == Types::Lenient => text.trim().parse().ok(),
        _ => None,
    }
}

/// A success, before it is written.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
}

impl Answer {
    /// 200 with `{data}`.
    pub(super) fn data(data: Value) -> Self {
        Self::with_status(200, data)
    }

    /// `{data}` under another status.
    pub(super) fn with_status(status: u16, data: Value) -> Self {
        // The macro would serialise the value anew.
        let body = Map::from_iter([("data".to_owned(), data)]);
        Self { status, body: Some(Value::Object(body)) }
    }

    /// 204.
    pub(super) fn nothing() -> Self {
        Self { status: 204, body: None }
    }

    pub(super) fn into_response(self) -> Response {
        match self.body {
            Some(body) => respond(self.status, "application/json", body.to_string()),
            None => respond(self.status, "application/json", String::new()),
        }
    }
}

/// A refusal, before it is written.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    message: String,
    errors: Map<String, Value>,
}

impl Refusal {
    pub(super) fn new(status: u16, message: &str) -> Self {
        Self { status, message: message.to_owned(), errors: Map::new() }
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "Not Found.")
    }

    pub(super) fn method() -> Self {
        Self::new(405, "The method is not supported for this route.")
    }

    /// 422 that complains of one field.
    pub(super) fn field(name: &str, message: &str) -> Self {
        Self::fields(Map::from_iter([(name.to_owned(), json!([message]))]))
    }

    /// 422 that complains of several fields.
    pub(super) fn fields(errors: Map<String, Value>) -> Self {
        Self { status: 422, message: "The given data was invalid.".to_owned(), errors }
    }

    pub(super) fn into_response(self, shape: ErrorBody) -> Response {
        let Self { status, message, errors } = self;
        let mut response = match shape {
            ErrorBody::Laravel if errors.is_empty() => {
                respond(status, "application/json", json!({ "message": message }).to_string())
            }
            ErrorBody::Laravel => {
                respond(status, "application/json", json!({ "message": message, "errors": errors }).to_string())
            }
            ErrorBody::Text => respond(status, "text/plain; charset=utf-8", with_names(&message, &errors)),
            ErrorBody::Error => {
                respond(status, "application/json", json!({ "error": with_names(&message, &errors) }).to_string())
            }
            ErrorBody::Message => {
                respond(status, "application/json", json!({ "message": with_names(&message, &errors) }).to_string())
            }
            ErrorBody::Empty => respond(status, "application/json", String::new()),
            ErrorBody::Html => respond(status, "text/html; charset=utf-8", page(&with_names(&message, &errors))),
        };
        if status == 405 {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, DELETE"));
        }
        response
    }
}

fn with_names(message: &str, errors: &Map<String, Value>) -> String {
    let names: Vec<&str> = errors.keys().map(String::as_str).collect();
    if names.is_empty() { message.to_owned() } else { format!("{message} ({})", names.join(", ")) }
}

/// A page for people.
pub(super) fn page(text: &str) -> String {
    format!("<!DOCTYPE html><html><head><title>FIRST LINE</title></head><body><p>{text}</p></body></html>")
}

pub(super) fn respond(status: u16, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Which rows a list request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paging {
    page: u64,
    per_page: u64,
}

impl Paging {
    pub(super) fn of(call: &Call) -> Result<Self, Refusal> {
        let switches = &call.switches;
        let read = |name: &str, default: u64| match call.param(name) {
            None => Ok(default),
            Some(text) => match text.parse::<u64>() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(Refusal::field(name, "must be a positive integer")),
            },
        };
        let asked = read("per_page", PER_PAGE_DEFAULT)?;
        let per_page = match switches.per_page_above {
            _ if asked <= switches.per_page_max => asked,
            PerPageAbove::Clamp => switches.per_page_max,
            PerPageAbove::Ignore => PER_PAGE_DEFAULT.min(switches.per_page_max),
            PerPageAbove::Reject => return Err(Refusal::field("per_page", "is too large")),
        };
        Ok(Self { page: read("page", 1)?, per_page: per_page.max(1) })
    }

    /// The rows of this page among `total`.
    pub(super) fn range(self, total: usize) -> std::ops::Range<usize> {
        let start = (self.page - 1).saturating_mul(self.per_page);
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(total);
        let length = usize::try_from(self.per_page).unwrap_or(usize::MAX);
        start..start.saturating_add(length).min(total)
    }

    /// The page, with `links` and `meta`.
    pub(super) fn answer(self, call: &Call, rows: Vec<Value>, total: usize) -> Answer {
        let switches = &call.switches;
        let range = self.range(total);
        let last_page = u64::try_from(total).unwrap_or(u64::MAX).div_ceil(self.per_page).max(1);
        let base = match switches.links {
            Links::Foreign => format!("http://elsewhere.invalid/api/{}", call.path),
            _ => format!("http://{}/api/v1/{}", call.host, call.path),
        };
        let per_page = if switches.per_page_as_text { json!(self.per_page.to_string()) } else { json!(self.per_page) };
        let mut meta = json!({
            "current_page": self.page,
            "from": (!range.is_empty()).then_some(range.start + 1),
            "last_page": last_page,
            "path": base,
            "per_page": per_page,
            "to": (!range.is_empty()).then_some(range.end),
        });
        if !switches.total_left_out {
            meta["total"] = json!(total);
        }
        let mut body = Map::from_iter([("data".to_owned(), Value::Array(rows))]);
        if !switches.meta_left_out {
            body.insert("meta".to_owned(), meta);
        }
        if switches.links != Links::Absent {
            let link = |page: u64| format!("{base}?page={page}");
            let links = json!({
                "first": link(1),
                "last": link(last_page),
                "prev": (self.page > 1).then(|| link(self.page - 1)),
                "next": (self.page < last_page).then(|| link(self.page + 1)),
            });
            body.insert("links".to_owned(), links);
        }
        Answer { status: 200, body: Some(Value::Object(body)) }
    }
}
