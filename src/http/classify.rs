//! From an answer to a success or an [`ApiError`], without keeping any of its text.
//!
//! Error bodies are undocumented on both sides (notes LiveDesk 2, FIRST LINE 1.5). What is read from them is the
//! names of fields (keys of Laravel's `errors`, entries of Chatwoot's `attributes`) and an envelope's `code`.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, LOCATION, RETRY_AFTER};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_json::error::Category;
use url::Url;

use super::error::{ApiError, BadBody, ErrorShape};
use super::response::Response;
use crate::clock::Clock;

/// An envelope that reports a failure under a success is short; a page of contacts need not be searched for it.
const ENVELOPE_MAX_BYTES: usize = 4096;
/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Field names kept from one answer.
const FIELDS_MAX: usize = 20;
/// Longest thing that is believed to be the name of a field.
const FIELD_NAME_MAX: usize = 64;

/// The server's clock, epoch seconds.
pub(super) fn server_date(headers: &HeaderMap) -> Option<i64> {
    epoch(headers.get(DATE)?.to_str().ok()?)
}

/// `Retry-After` in both its forms; seconds also with a fraction, which the standard does not know.
pub(super) fn retry_after(headers: &HeaderMap, clock: &dyn Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let fraction = || text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if let Some(wait) = text.parse().ok().map(Duration::from_secs).or_else(fraction) {
        return Some(wait);
    }
    let until_ms = epoch(text)?.saturating_mul(1000);
    Some(Duration::from_millis(u64::try_from(until_ms.saturating_sub(clock.now().0)).unwrap_or(0)))
}

fn epoch(http_date: &str) -> Option<i64> {
    let since = httpdate::parse_http_date(http_date).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// Where a redirect points, host only.
pub(super) fn redirect(status: u16, headers: &HeaderMap, base: &Url) -> ApiError {
    let target = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let host = target.and_then(|text| base.join(text).ok()).and_then(|url| url.host_str().map(str::to_owned));
    ApiError::Redirect { status, host }
}

/// A status that is no success. `body` may be empty or cut off.
pub(super) fn refusal(status: u16, headers: &HeaderMap, body: &[u8], clock: &dyn Clock) -> ApiError {
    let retry_after = retry_after(headers, clock);
    if status == 429 {
        return ApiError::RateLimited { retry_after };
    }
    let complaint: Complaint = serde_json::from_slice(body).unwrap_or_default();
    ApiError::Status { status, fields: complaint.fields(), code: complaint.code(), retry_after, shape: shape(body) }
}

/// What a refusal's body looks like.
fn shape(body: &[u8]) -> ErrorShape {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => return ErrorShape::Empty,
        Some(b'<') => return ErrorShape::Html,
        Some(_) => {}
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(object)) if object.get("errors").is_some_and(Value::is_object) => ErrorShape::Laravel,
        Ok(Value::Object(object)) if object.contains_key("message") => ErrorShape::Message,
        Ok(_) => ErrorShape::OtherJson,
        Err(_) => ErrorShape::Text,
    }
}

/// A body without the byte order mark that some servers put before their JSON, and that no reader of JSON takes.
pub(super) fn without_mark(body: Bytes) -> Bytes {
    if body.starts_with(BYTE_ORDER_MARK) { body.slice(BYTE_ORDER_MARK.len()..) } else { body }
}

/// The declared type without parameters, when it is one.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
    let plain = text.len() <= 60 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/+-.".contains(&byte));
    plain.then(|| text.to_ascii_lowercase())
}

/// Looks for an envelope that reports a failure under a success.
pub(super) fn envelope(response: &Response) -> Result<(), ApiError> {
    let bytes = &response.bytes;
    if bytes.len() <= ENVELOPE_MAX_BYTES
        && memchr::memmem::find(bytes, b"\"code\"").is_some()
        && let Ok(complaint) = serde_json::from_slice::<Complaint>(bytes)
        && let Some(code) = complaint.code()
    {
        let fields = complaint.fields();
        return Err(ApiError::Status {
            status: response.status,
            fields,
            code: Some(code),
            retry_after: None,
            shape: shape(bytes),
        });
    }
    Ok(())
}

/// Reads a success as JSON of the expected shape.
pub(super) fn parse<T: DeserializeOwned>(response: &Response, content_type: Option<&str>) -> Result<T, ApiError> {
    let bytes = &response.bytes;
    let bad = |why| ApiError::BadBody {
        status: response.status,
        why,
        size: bytes.len(),
        content_type: content_type.map(str::to_owned),
    };
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => return Err(bad(BadBody::Empty)),
        Some(b'<') => return Err(bad(BadBody::Html)),
        Some(_) => {}
    }
    envelope(response)?;
    serde_json::from_slice(bytes).map_err(|error| {
        bad(match error.classify() {
            Category::Eof => BadBody::Truncated,
            Category::Syntax | Category::Io => BadBody::NotJson,
            // A wrong shape at the front may hide a broken end.
            Category::Data if serde_json::from_slice::<IgnoredAny>(bytes).is_err() => BadBody::Truncated,
            Category::Data => BadBody::Shape,
        })
    })
}

/// Whatever an error body may say that is no value of a person.
#[derive(Default, Deserialize)]
struct Complaint {
    #[serde(default)]
    errors: Value,
    #[serde(default)]
    attributes: Value,
    #[serde(default)]
    code: Value,
}

impl Complaint {
    /// The envelope's code when it reports a failure. A text that is no number is some other `code`.
    fn code(&self) -> Option<i64> {
        let code = self.code.as_i64().or_else(|| self.code.as_str()?.parse().ok())?;
        (code != 0).then_some(code)
    }

    fn fields(&self) -> BTreeSet<String> {
        let keys = self.errors.as_object().into_iter().flat_map(|errors| errors.keys().map(String::as_str));
        let names = self.attributes.as_array().into_iter().flatten().filter_map(Value::as_str);
        keys.chain(names).filter(|name| is_field_name(name)).take(FIELDS_MAX).map(str::to_owned).collect()
    }
}

/// A name of ours or theirs, never a sentence or a value: letters, digits, and what paths into a body are made of.
fn is_field_name(text: &str) -> bool {
    let starts_like_one = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts_like_one
        && text.len() <= FIELD_NAME_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-[]".contains(&byte))
}
