//! A request before it is sent: what is asked, and whether asking twice does harm.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;

use super::secret::AuthHeader;

/// Everything but the unreserved characters of RFC 3986: a `+` in a phone number must arrive as one, not as a space
/// (notes LiveDesk 2), and brackets in keys may arrive encoded.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Whether a request may be sent again when it is not known what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Reads, and updates that give the same result twice.
    Safe,
    /// Creating requests: sent again only after an answer that surely applied nothing.
    OnlyIfNotApplied,
}

/// A request to one path of a platform.
pub struct Request {
    pub(super) method: Method,
    /// Path and query, starting with a slash, already encoded.
    pub(super) target: String,
    pub(super) auth: Option<AuthHeader>,
    pub(super) body: Option<Bytes>,
    pub(super) repeat: Repeat,
    /// How long it may wait for the platform before what it says may be out of date.
    pub(super) fresh_for: Option<Duration>,
    /// Whether the body of a success is left unread.
    pub(super) unread: bool,
}

impl Request {
    /// A read.
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path, Repeat::Safe)
    }

    /// A POST; `repeat` says whether it creates.
    pub fn post(path: &str, repeat: Repeat) -> Self {
        Self::new(Method::POST, path, repeat)
    }

    /// A real PUT.
    pub fn put(path: &str) -> Self {
        Self::new(Method::PUT, path, Repeat::Safe)
    }

    /// A deletion: the second one finds nothing left to delete.
    pub fn delete(path: &str) -> Self {
        Self::new(Method::DELETE, path, Repeat::Safe)
    }

    fn new(method: Method, path: &str, repeat: Repeat) -> Self {
        debug_assert!(path.starts_with('/'), "paths start with a slash");
        Self { method, target: path.to_owned(), auth: None, body: None, repeat, fresh_for: None, unread: false }
    }

    /// What is asked, whichever record it is about: requests of one route take about the same time.
    pub(super) fn route(&self) -> u64 {
        let path = self.target.split('?').next().unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        self.method.hash(&mut hasher);
        path.bytes().filter(|byte| !byte.is_ascii_digit()).for_each(|byte| byte.hash(&mut hasher));
        hasher.finish()
    }

    /// Adds a query pair, encoded.
    #[must_use]
    pub fn query(mut self, key: &str, value: &str) -> Self {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.extend(utf8_percent_encode(key, QUERY));
        self.target.push('=');
        self.target.extend(utf8_percent_encode(value, QUERY));
        self
    }

    /// Sets the JSON body, already written out.
    #[must_use]
    pub fn json(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Gives it up as stale, rather than send it (again), once it has waited for so long for a platform that is down, throttles
    /// or fails. Waiting for its turn in the budget does not count.
    #[must_use]
    pub fn fresh_for(mut self, limit: Duration) -> Self {
        self.fresh_for = Some(limit);
        self
    }

    /// Takes any success for one, whatever its body is or says.
    #[must_use]
    pub fn unread(mut self) -> Self {
        self.unread = true;
        self
    }

    /// Sets the `Authorization` header.
    #[must_use]
    pub fn auth(mut self, header: AuthHeader) -> Self {
        self.auth = Some(header);
        self
    }
}

impl fmt::Debug for Request {
    /// Method and path; query and body hold people's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{} {path}", self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::Request;

    #[test]
    fn query_values_arrive_as_they_were_written() {
        let request = Request::get("/contacts").query("q", "+886 9&x=é").query("labels[]", "a");
        assert_eq!(request.target, "/contacts?q=%2B886%209%26x%3D%C3%A9&labels%5B%5D=a");
        assert_eq!(format!("{request:?}"), "GET /contacts");
    }
}
