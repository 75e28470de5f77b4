//! One attempt over the wire: the only code that touches the HTTP library.
//!
//! Connections are kept and reused; no redirect is followed; the library's own retries are off, because it does not
//! know which requests create.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, InvalidHeaderValue};
use url::{Host, Url};

use super::classify;
use super::error::{ApiError, BadBody};
use super::request::Request;
use super::response::Response;
use super::settings::HttpSettings;
use crate::clock::Clock;

/// Servers close idle connections after 60 seconds or so; a request on a closing connection is a request in doubt.
const IDLE: Duration = Duration::from_secs(30);
/// Nothing has been sent while a connection is being made, so a short limit costs no certainty.
const CONNECT: Duration = Duration::from_secs(10);
/// Enough of an error body to find field names in.
const ERROR_BODY_MAX: usize = 64 * 1024;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The base URL cannot be used.
    #[error("base_url must start with https:// or http:// and have neither query nor user name")]
    BaseUrl,
    /// No request would ever be sent.
    #[error("concurrency must be at least 1")]
    Concurrency,
    /// The file with certificates cannot be read.
    #[error("cannot read ca_file {}", .path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file with certificates holds none.
    #[error("ca_file {} holds no PEM certificate", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The proxy cannot be used.
    #[error("the proxy address cannot be used")]
    Proxy,
    /// The user agent has characters that a header cannot carry.
    #[error("the user agent cannot be sent as a header")]
    UserAgent(#[source] InvalidHeaderValue),
    /// TLS or the system's certificates could not be set up.
    #[error("cannot set up the HTTP client (are the system's CA certificates installed?)")]
    Client(#[source] reqwest::Error),
}

/// The wire to one platform.
pub(super) struct Transport {
    client: reqwest::Client,
    base_url: Url,
    /// Its path without a slash at the end.
    base_path: String,
    timeout: Duration,
    max_bytes: usize,
}

/// A success with its declared type, not yet looked into.
pub(super) struct Received {
    pub(super) response: Response,
    pub(super) content_type: Option<String>,
}

impl Transport {
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, BuildError> {
        let base_url = settings.base_url.clone();
        let usable = matches!(base_url.scheme(), "http" | "https") && base_url.query().is_none();
        let anonymous = base_url.username().is_empty() && base_url.password().is_none();
        if !usable || !anonymous || base_url.host().is_none() {
            return Err(BuildError::BaseUrl);
        }
        // Fails when the process has a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            client: client(settings)?,
            base_path: base_url.path().trim_end_matches('/').to_owned(),
            base_url,
            timeout: settings.timeout,
            max_bytes: settings.max_response_bytes,
        })
    }

    /// The full address of a request, whose path and query are encoded already. The host is not read anew.
    pub(super) fn url(&self, request: &Request) -> Url {
        let (path, query) = match request.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.target.as_str(), None),
        };
        let mut url = self.base_url.clone();
        url.set_path(&[self.base_path.as_str(), path].concat());
        url.set_query(query);
        url
    }

    /// Sends once and reads the answer to its end.
    pub(super) async fn attempt(&self, request: &Request, url: Url, clock: &dyn Clock) -> Result<Received, ApiError> {
        tokio::time::timeout(self.timeout, self.exchange(request, url, clock))
            .await
            .unwrap_or(Err(ApiError::Timeout { after: self.timeout }))
    }

    async fn exchange(&self, request: &Request, url: Url, clock: &dyn Clock) -> Result<Received, ApiError> {
        let mut message = reqwest::Request::new(request.method.clone(), url);
        if let Some(auth) = &request.auth {
            message.headers_mut().insert(AUTHORIZATION, auth.0.clone());
        }
        if let Some(body) = &request.body {
            *message.body_mut() = Some(body.clone().into());
        }
        let mut answer = self.client.execute(message).await.map_err(send_error)?;
        let status = answer.status().as_u16();
        if (300..400).contains(&status) {
            return Err(classify::redirect(status, answer.headers(), &self.base_url));
        }
        if !(200..300).contains(&status) {
            let body =
                read(&mut answer, ERROR_BODY_MAX).await.ok().flatten().map(classify::without_mark).unwrap_or_default();
            return Err(classify::refusal(status, answer.headers(), &body, clock));
        }
        let content_type = classify::content_type(answer.headers());
        let server_date = classify::server_date(answer.headers());
        if request.unread {
            return Ok(Received { response: Response { status, bytes: Bytes::new(), server_date }, content_type });
        }
        match read(&mut answer, self.max_bytes).await {
            Ok(Some(bytes)) => {
                let bytes = classify::without_mark(bytes);
                Ok(Received { response: Response { status, bytes, server_date }, content_type })
            }
            Ok(None) => Err(ApiError::TooLarge { status, limit: self.max_bytes }),
            Err(_) => Err(ApiError::BadBody { status, why: BadBody::Truncated, size: 0, content_type }),
        }
    }
}

/// Reads a body; `None` when it is larger than `limit`. A body that arrives in one piece is not copied.
async fn read(answer: &mut reqwest::Response, limit: usize) -> Result<Option<Bytes>, reqwest::Error> {
    let Some(first) = answer.chunk().await? else { return Ok(Some(Bytes::new())) };
    if first.len() > limit {
        return Ok(None);
    }
    let Some(second) = answer.chunk().await? else { return Ok(Some(first)) };
    let mut all = BytesMut::with_capacity((first.len() + second.len()) * 2);
    all.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if all.len() + chunk.len() > limit {
            return Ok(None);
        }
        all.extend_from_slice(&chunk);
        next = answer.chunk().await?;
    }
    Ok(Some(all.freeze()))
}

/// The address is cut from the error: its query may hold an e-mail or a phone number.
fn send_error(error: reqwest::Error) -> ApiError {
    let source = error.without_url();
    if is_certificate_error(&source) {
        ApiError::Certificate { source }
    } else if source.is_connect() {
        ApiError::Connect { source }
    } else {
        ApiError::Transport { source }
    }
}

/// Looks for rustls's verdict on a certificate in the chain of causes, I/O wrappers included.
fn is_certificate_error(error: &(dyn StdError + 'static)) -> bool {
    if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref::<rustls::Error>() {
        return true;
    }
    let inner = match error.downcast_ref::<std::io::Error>() {
        Some(wrapper) => wrapper.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    };
    inner.is_some_and(is_certificate_error)
}

fn client(settings: &HttpSettings) -> Result<reqwest::Client, BuildError> {
    let json = HeaderValue::from_static("application/json");
    let agent = HeaderValue::from_str(&settings.user_agent).map_err(BuildError::UserAgent)?;
    // Both platforms want both headers on every request (notes LiveDesk 2, FIRST LINE 1.3).
    let headers = HeaderMap::from_iter([(ACCEPT, json.clone()), (CONTENT_TYPE, json)]);
    #[expect(clippy::disallowed_methods, reason = "the one place that builds clients")]
    let mut builder = reqwest::Client::builder()
        .user_agent(agent)
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .http1_only()
        .tcp_nodelay(true)
        .gzip(true)
        .referer(false)
        .connect_timeout(CONNECT.min(settings.timeout / 2))
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(settings.concurrency);
    builder = match &settings.proxy {
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(|_| BuildError::Proxy)?),
        // A proxy from the environment is for the world outside, not for the sandbox on this machine.
        None if is_loopback(&settings.base_url) => builder.no_proxy(),
        None => builder,
    };
    if settings.base_url.scheme() == "http" {
        // No TLS will happen: a machine without CA certificates can still run the sandbox.
        builder = builder.tls_certs_only([]);
    } else if let Some(path) = &settings.ca_file {
        builder = builder.tls_certs_merge(certificates(path)?);
    }
    builder.build().map_err(BuildError::Client)
}

fn certificates(path: &std::path::Path) -> Result<Vec<reqwest::Certificate>, BuildError> {
    let pem = std::fs::read(path).map_err(|source| BuildError::CaFile { path: path.to_owned(), source })?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(BuildError::NoCertificate { path: path.to_owned() }),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
