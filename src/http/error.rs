//! What can go wrong with a request, and what is to be done about it.
//!
//! The plain variants say what one attempt ran into. The wrapping ones (`Exhausted`, `Doubtful`, `Unavailable`) are
//! the client's own conclusions. No variant holds a body, a query or a header: they may hold people's data.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may pass: the client itself tries again where that is safe. Never handed out for a finished request.
    Retry,
    /// This request will not succeed; the rest may. Nothing was applied, or what was can be applied again.
    GiveUp,
    /// The id in the path is unknown.
    NotFound,
    /// No request will succeed until a person acts.
    Stop,
    /// A creating request may or may not have been applied: look, never resend.
    Doubt,
    /// It was not sent for so long that it may be wrong now: look again.
    Stale,
    /// The platform stayed down for longer than allowed. Nothing was applied.
    Unavailable,
    /// The program is shutting down. Nothing was applied.
    Interrupted,
}

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No connection could be made: nothing was sent.
    #[error("cannot connect")]
    Connect {
        /// The cause, without the address.
        #[source]
        source: reqwest::Error,
    },
    /// The other side's certificate was not accepted: nothing was sent.
    #[error("the certificate of the server is not trusted (a private authority belongs in `ca_file`)")]
    Certificate {
        /// The cause, without the address.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke after the request may have been sent.
    #[error("connection lost")]
    Transport {
        /// The cause, without the address.
        #[source]
        source: reqwest::Error,
    },
    /// No complete answer in time.
    #[error("no answer within {}", Seconds(*.after))]
    Timeout {
        /// The limit of one attempt.
        after: Duration,
    },
    /// A status that is no success, or a success whose envelope says otherwise.
    #[error("status {status}{}", details(.code.as_ref(), .fields))]
    Status {
        /// HTTP status.
        status: u16,
        /// Names of the fields that the answer complains of. Never a value.
        fields: BTreeSet<String>,
        /// The envelope's `code`, when it has one that is not zero.
        code: Option<i64>,
        /// When to come back, if the answer says so.
        retry_after: Option<Duration>,
        /// The shape of the body; none of its text.
        shape: ErrorShape,
    },
    /// Status 429.
    #[error("asked to slow down (status 429)")]
    RateLimited {
        /// When to come back, if the answer says so.
        retry_after: Option<Duration>,
    },
    /// A success whose body is not what an API answers.
    #[error("status {status} with an unusable body: {why}, {size} bytes{}", of_type(.content_type.as_ref()))]
    BadBody {
        /// HTTP status.
        status: u16,
        /// What is wrong with it.
        why: BadBody,
        /// How much of it there was.
        size: usize,
        /// Its declared type.
        content_type: Option<String>,
    },
    /// The body is larger than allowed.
    #[error("status {status} with a body of more than {limit} bytes")]
    TooLarge {
        /// HTTP status.
        status: u16,
        /// The limit.
        limit: usize,
    },
    /// A redirect. It is not followed: the credentials would travel along.
    #[error("redirected (status {status}){}", to_host(.host.as_ref()))]
    Redirect {
        /// HTTP status.
        status: u16,
        /// The host it points at.
        host: Option<String>,
    },
    /// Given up after several attempts while the platform answered others, or for too long.
    #[error("given up after {attempts} attempts")]
    Exhausted {
        /// Attempts made.
        attempts: u32,
        /// The last failure.
        #[source]
        last: Box<ApiError>,
    },
    /// A creating request whose outcome is not known.
    #[error("it is not known whether the request was applied")]
    Doubtful {
        /// What happened.
        #[source]
        cause: Box<ApiError>,
    },
    /// A request that waited for so long that what it says may be out of date; it was not sent (again).
    #[error("waited for too long to be still true")]
    Stale,
    /// The platform stayed down for longer than allowed.
    #[error("{platform} has not been answering for {}", Seconds(*.after))]
    Unavailable {
        /// The platform's name.
        platform: &'static str,
        /// How long.
        after: Duration,
        /// The last failure of this request, if it was sent at all.
        #[source]
        last: Option<Box<ApiError>>,
    },
    /// The program is shutting down.
    #[error("interrupted")]
    Interrupted,
}

/// The shape of a refusal's body: what `probe` reports, and all that is kept of it beside field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorShape {
    /// Nothing.
    Empty,
    /// An object with an `errors` object, as Laravel writes it.
    Laravel,
    /// An object with a `message` and no `errors`.
    Message,
    /// Any other JSON.
    OtherJson,
    /// A page for people.
    Html,
    /// Anything else.
    Text,
}

impl ErrorShape {
    /// A stable word for reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Laravel => "laravel",
            Self::Message => "message",
            Self::OtherJson => "other_json",
            Self::Html => "html",
            Self::Text => "text",
        }
    }
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBody {
    /// There is none.
    Empty,
    /// A page for people.
    Html,
    /// It ends too early.
    Truncated,
    /// It is not JSON.
    NotJson,
    /// It is JSON of another shape than the one expected.
    Shape,
}

impl fmt::Display for BadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Html => "HTML",
            Self::Truncated => "truncated",
            Self::NotJson => "not JSON",
            Self::Shape => "not the expected shape",
        })
    }
}

impl ApiError {
    /// What to do about it. Of a finished request this is never `Retry`.
    pub fn decision(&self) -> Decision {
        match self {
            Self::Connect { .. } | Self::Transport { .. } | Self::Timeout { .. } | Self::RateLimited { .. } => {
                Decision::Retry
            }
            Self::Status { status, .. } => decision_of_status(*status),
            // A shape does not change by asking again; the other defects come from something in between.
            Self::BadBody { why: BadBody::Shape, .. } | Self::TooLarge { .. } | Self::Exhausted { .. } => {
                Decision::GiveUp
            }
            Self::BadBody { .. } => Decision::Retry,
            Self::Certificate { .. } | Self::Redirect { .. } => Decision::Stop,
            Self::Doubtful { .. } => Decision::Doubt,
            Self::Stale => Decision::Stale,
            Self::Unavailable { .. } => Decision::Unavailable,
            Self::Interrupted => Decision::Interrupted,
        }
    }

    /// Whether a creating request that got this was surely not applied (design, section 4, Apply). An unknown
    /// status is not sure.
    pub(super) fn surely_not_applied(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Certificate { .. }
            | Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::Interrupted => true,
            // The design's list, and the refusals of a request's form (400, 406, 413, 415), which no server applies first.
            Self::Status { status, .. } => matches!(status, 400 | 401 | 403..=406 | 413 | 415 | 419 | 422),
            // A framework may redirect after it has created.
            Self::Redirect { .. }
            | Self::Transport { .. }
            | Self::Timeout { .. }
            | Self::BadBody { .. }
            | Self::TooLarge { .. }
            | Self::Exhausted { .. }
            | Self::Stale
            | Self::Doubtful { .. } => false,
        }
    }

    /// Whether it looks as if the whole platform were down, rather than this request bad.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Transport { .. } | Self::Timeout { .. } => true,
            Self::Status { status, .. } => matches!(status, 502..=504),
            _ => false,
        }
    }

    /// Whether it was given up for want of an answer, while the platform answered others: a time-out, or a gateway that gave up.
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Exhausted { last, .. } if last.is_outage())
    }

    /// When to come back, if the answer says so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. }
            | Self::BadBody { status, .. }
            | Self::TooLarge { status, .. }
            | Self::Redirect { status, .. } => Some(*status),
            Self::RateLimited { .. } => Some(429),
            Self::Exhausted { last, .. } => last.status(),
            Self::Doubtful { cause } => cause.status(),
            Self::Unavailable { last, .. } => last.as_ref().and_then(|last| last.status()),
            Self::Connect { .. }
            | Self::Certificate { .. }
            | Self::Transport { .. }
            | Self::Timeout { .. }
            | Self::Stale
            | Self::Interrupted => None,
        }
    }

    /// The shape of the refusal's body, if there was a refusal.
    pub fn shape(&self) -> Option<ErrorShape> {
        match self {
            Self::Status { shape, .. } => Some(*shape),
            Self::Exhausted { last, .. } => last.shape(),
            Self::Doubtful { cause } => cause.shape(),
            _ => None,
        }
    }

    /// Names of the fields that the answer complains of; empty when it names none.
    pub fn fields(&self) -> BTreeSet<String> {
        match self {
            Self::Status { fields, .. } => fields.clone(),
            Self::Exhausted { last, .. } => last.fields(),
            Self::Doubtful { cause } => cause.fields(),
            _ => BTreeSet::new(),
        }
    }
}

/// 4xx not named here was read by the server and refused.
fn decision_of_status(status: u16) -> Decision {
    match status {
        401 | 403 | 419 => Decision::Stop,
        404 => Decision::NotFound,
        408 | 425 | 499 => Decision::Retry,
        400..=499 | 501 => Decision::GiveUp,
        // A success here means an envelope that reports a failure; it may pass like a 500.
        _ => Decision::Retry,
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

fn details(code: Option<&i64>, fields: &BTreeSet<String>) -> String {
    let code = code.map(|code| format!(", code {code}")).unwrap_or_default();
    if fields.is_empty() {
        return code;
    }
    let names: Vec<&str> = fields.iter().map(String::as_str).collect();
    format!("{code} ({})", names.join(", "))
}

fn of_type(content_type: Option<&String>) -> String {
    content_type.map(|name| format!(" of {name}")).unwrap_or_default()
}

fn to_host(host: Option<&String>) -> String {
    host.map(|host| format!(" to {host}")).unwrap_or_default()
}
