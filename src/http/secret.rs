//! A text that must not be seen: a token, a password, an API secret.
//!
//! It has no `Display`, and its `Debug` shows nothing. `expose` is the only way to the text, so that a search for
//! it finds every use.

use std::fmt;

use reqwest::header::{HeaderValue, InvalidHeaderValue};

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; for requests alone.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A value for the `Authorization` header, made once and shared; its `Debug` shows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthHeader(pub(super) HeaderValue);

impl AuthHeader {
    /// A header value such as `Bearer <token>`. Fails when the text holds a line break or the like.
    pub fn new(value: &str) -> Result<Self, InvalidHeaderValue> {
        let mut value = HeaderValue::from_str(value)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::{AuthHeader, Secret};

    #[test]
    fn debug_output_shows_no_secret() {
        let secret = Secret::new("hunter2");
        let header = AuthHeader::new("Bearer hunter2").unwrap();
        assert!(!format!("{secret:?} {header:?}").contains("hunter2"));
    }
}
