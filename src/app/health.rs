//! Asks a running service how it is: one GET from outside, for the health checks of containers and for people.
//!
//! It reads `[ops]` and nothing else of the configuration, so that a service goes on being well while its mapping file
//! is being edited. It decides nothing: what alive and ready mean is the service's to say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::{AppError, Surroundings};
use crate::config::settings::Ops;
use crate::http::observe::Silent;
use crate::http::retry::RetryPolicy;
use crate::http::secret::AuthHeader;
use crate::http::{ApiError, HttpClient, HttpSettings, Request};

/// Name of the other side in messages.
const SERVICE: &str = "the service";
/// A server on the same machine that has not answered by then does not answer. Three attempts fit into ten seconds,
/// the time that the Dockerfile gives a health check.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the process does its work at all: `/healthz`.
    Alive,
    /// Whether the state is open, both platforms were reached lately and the last sweep is not too old: `/readyz`.
    Ready,
}

impl Question {
    fn path(self) -> &'static str {
        match self {
            Self::Alive => "/healthz",
            Self::Ready => "/readyz",
        }
    }
}

/// Why the answer was not yes.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// The token is another one than the service's.
    #[error("the service does not take the token of [ops] (status {status})")]
    Token {
        /// HTTP status.
        status: u16,
    },
    /// It answers, and the answer is no.
    #[error("the service answers with status {status}")]
    Status {
        /// HTTP status.
        status: u16,
    },
    /// It does not answer.
    #[error("the service cannot be asked")]
    Unreachable(#[source] ApiError),
    /// The question could not be put.
    #[error(transparent)]
    App(#[from] AppError),
    /// The token cannot be sent.
    #[error("the token of [ops] has characters that a header cannot carry")]
    Unsendable,
}

/// Asks the service that these settings describe.
#[expect(clippy::missing_panics_doc, reason = "every address makes a URL")]
pub async fn ask(ops: &Ops, question: Question, around: &Surroundings) -> Result<(), Unwell> {
    let base = Url::parse(&format!("http://{}", reachable(ops.listen))).expect("an address makes a URL");
    let mut request = Request::get(question.path()).unread();
    if let Some(token) = &ops.token {
        let header = AuthHeader::new(&format!("Bearer {}", token.expose())).map_err(|_| Unwell::Unsendable)?;
        request = request.auth(header);
    }
    send(base, &request, around).await.map_err(|unwell| match unwell {
        Unwell::Status { status: status @ (401 | 403) } => Unwell::Token { status },
        unwell => unwell,
    })
}

/// Asks whether anything is well that answers a GET to `url` with a success. It is given no token.
pub async fn ask_url(url: &Url, around: &Surroundings) -> Result<(), Unwell> {
    let mut base = url.clone();
    base.set_path("");
    base.set_query(None);
    base.set_fragment(None);
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| [url.path(), query].join("?"));
    send(base, &Request::get(&target).unread(), around).await
}

async fn send(base: Url, request: &Request, around: &Surroundings) -> Result<(), Unwell> {
    let settings = HttpSettings {
        timeout: PATIENCE,
        total_timeout: PATIENCE,
        requests_per_second: 0.0,
        concurrency: 1,
        max_outage: Some(Duration::ZERO),
        throttle_wait: PAUSE,
        max_wait: PAUSE,
        retry: RetryPolicy::new(PAUSE, PAUSE, 1).expect("constants that make a policy"),
        ..HttpSettings::new(SERVICE, base)
    };
    let client = HttpClient::new(&settings, Arc::clone(&around.clock), Arc::new(Silent), around.stop.clone())
        .map_err(|source| AppError::Client { platform: SERVICE, source })?;
    // What is in the answer is for people; the status is the answer.
    match client.send(request).await {
        Ok(()) => Ok(()),
        Err(error) => Err(match error.status() {
            Some(status) => Unwell::Status { status },
            None => Unwell::Unreachable(match error {
                // How long it has been waited for is nothing: it was asked once.
                ApiError::Unavailable { last: Some(last), .. } => *last,
                error => error,
            }),
        }),
    }
}

/// Where a server that listens on every address is asked from the same machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn a_server_on_every_address_is_asked_over_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8787", "127.0.0.1:8787"),
            ("[::]:8787", "[::1]:8787"),
            ("127.0.0.1:9", "127.0.0.1:9"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
