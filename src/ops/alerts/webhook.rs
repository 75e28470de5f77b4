//! The way to the operator: one JSON document, posted. Its address is a secret and never in a message.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock::Clock;
use crate::http::client::BuildError;
use crate::http::observe::Silent;
use crate::http::retry::RetryPolicy;
use crate::http::secret::AuthHeader;
use crate::http::{ApiError, HttpClient, HttpSettings, Repeat, Request};

/// Limit of one notice, its repeats and the receiver's wishes to wait included.
const LIMIT: Duration = Duration::from_mins(2);

/// How the way is built.
#[derive(Clone)]
pub struct WebhookSettings {
    /// Proxy; `None`: as the environment says.
    pub proxy: Option<Url>,
    /// PEM file with certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// First wait between two attempts at one notice.
    pub pause: Duration,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self { proxy: None, ca_file: None, pause: Duration::from_secs(1) }
    }
}

/// Where notices go.
pub struct Webhook {
    client: HttpClient,
    path: String,
    auth: Option<AuthHeader>,
}

/// A notice that did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// It took too long, with all waits.
    #[error("the webhook took longer than two minutes")]
    Slow,
}

impl Webhook {
    /// The way to this address. Sends nothing. A user and password in it become Basic authentication.
    pub fn new(url: &Url, settings: WebhookSettings, clock: Arc<dyn Clock>) -> Result<Self, BuildError> {
        let WebhookSettings { proxy, ca_file, pause } = settings;
        let mut base_url = url.clone();
        base_url.set_query(None);
        base_url.set_fragment(None);
        base_url.set_path("");
        let has_user = !url.username().is_empty() || url.password().is_some();
        base_url.set_username("").and_then(|()| base_url.set_password(None)).map_err(|()| BuildError::BaseUrl)?;
        let auth = if has_user { Some(basic(url)?) } else { None };
        let path = match url.query() {
            Some(query) => [url.path(), "?", query].concat(),
            None => url.path().to_owned(),
        };
        let http = HttpSettings {
            timeout: Duration::from_secs(10),
            total_timeout: Duration::from_mins(1),
            requests_per_second: 1.0 / pause.as_secs_f64().max(0.001),
            concurrency: 1,
            proxy,
            ca_file,
            max_response_bytes: 64 * 1024,
            max_outage: Some(Duration::ZERO),
            throttle_wait: pause * 10,
            max_wait: pause * 60,
            retry: RetryPolicy::new(pause, pause * 8, 2).map_err(|_| BuildError::BaseUrl)?,
            ..HttpSettings::new("the webhook", base_url)
        };
        // It is stopped from outside: news of a stop may still be on its way.
        let client = HttpClient::new(&http, clock, Arc::new(Silent), CancellationToken::new())?;
        Ok(Self { client, path, auth })
    }

    /// Forgets that the receiver was away. Within a round of deliveries it is tried three times and no more; the next round
    /// begins anew.
    pub fn begin_round(&self) {
        self.client.forget_outage();
    }

    /// Posts one document. Any success will do; what is answered is not read. To post twice does no harm.
    pub async fn post(&self, document: &Value) -> Result<(), WebhookError> {
        let mut request = Request::post(&self.path, Repeat::Safe).json(document.to_string()).unread();
        if let Some(auth) = &self.auth {
            request = request.auth(auth.clone());
        }
        match timeout(LIMIT, self.client.send(&request)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(WebhookError::Slow),
        }
    }
}

fn basic(url: &Url) -> Result<AuthHeader, BuildError> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pair = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
    AuthHeader::new(&["Basic ", BASE64.encode(pair).as_str()].concat()).map_err(|_| BuildError::BaseUrl)
}
