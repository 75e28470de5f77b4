//! From the HTTP core's failures to the engine's, with the remedy that only this platform's notes know.

use std::collections::BTreeSet;

use crate::http::{ApiError, Decision};
use crate::sync::ports::PortError;

/// Name of the platform in messages.
pub(super) const PLATFORM: &str = "FIRST LINE";

/// Why something at FIRST LINE could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// A request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The account is not accepted: nothing will work until a person acts.
    #[error("{message}")]
    Account {
        /// What to tell the operator, with the remedy.
        message: String,
        /// The cause.
        source: ApiError,
    },
    /// The tenant does not answer as any documentation says.
    #[error("{0}")]
    Tenant(String),
    /// A list that everything rests on cannot be read.
    #[error("{PLATFORM}'s {path} cannot be read")]
    List {
        /// Which.
        path: String,
        /// The cause.
        source: ApiError,
    },
    /// A page of a list that is not answered, while others are.
    #[error("{PLATFORM} does not answer page {page} of {path}")]
    Page {
        /// Which list.
        path: String,
        /// Which page.
        page: u32,
        /// The cause.
        source: ApiError,
    },
    /// The tenant hangs phones on profiles, and this contact shows none.
    #[error("the contact has no profile to hang a phone on")]
    NoProfile,
}

impl Failure {
    /// The same, where no record but the whole run depends on the answer.
    pub(super) fn of_list(self, path: &str, page: u32) -> Self {
        match self {
            Self::Api(source) if source.is_unanswered() || source.decision() == Decision::Unavailable => {
                Self::Page { path: path.to_owned(), page, source }
            }
            Self::Api(source) if source.decision() == Decision::GiveUp => Self::List { path: path.to_owned(), source },
            other => other,
        }
    }

    /// HTTP status of the answer to the request itself; none when it was the login that failed, or a 404 of the
    /// login would read like a contact that does not exist.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Api(error) => error.status(),
            Self::Account { .. } | Self::Tenant(_) | Self::List { .. } | Self::Page { .. } | Self::NoProfile => None,
        }
    }

    /// Whether the named parameter may be what was refused: with its name, or with no name at all.
    pub(super) fn may_be_about(&self, parameter: &str) -> bool {
        match self {
            Self::Api(error) if matches!(error.status(), Some(400 | 422)) => {
                let fields = error.fields();
                fields.is_empty() || fields.contains(parameter)
            }
            _ => false,
        }
    }

    /// Whether this is a 422 that names nothing.
    pub(super) fn is_mute(&self) -> bool {
        matches!(self, Self::Api(error) if error.status() == Some(422) && error.fields().is_empty())
    }

    /// Whether this is a 422 that complains of the named field.
    pub(super) fn complains_of(&self, field: &str) -> bool {
        match self {
            Self::Api(error) => error.status() == Some(422) && error.fields().iter().any(|name| name == field),
            Self::Account { .. } | Self::Tenant(_) | Self::List { .. } | Self::Page { .. } | Self::NoProfile => false,
        }
    }
}

impl From<Failure> for PortError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Api(error) => port_error(error),
            Failure::Account { message, source } => Self::Stop { message, source: Some(Box::new(source)) },
            Failure::Tenant(message) => Self::Stop { message, source: None },
            Failure::List { path, source } => {
                let message = format!("{PLATFORM}'s {path} cannot be read; check firstline.base_url");
                Self::Stop { message, source: Some(Box::new(source)) }
            }
            Failure::Page { path, page, source } => {
                let message = if source.is_unanswered() {
                    format!(
                        "{PLATFORM} answers other requests, and not page {page} of {path}: raise firstline.timeout, or lower \
                         firstline.per_page"
                    )
                } else {
                    format!("{PLATFORM} could not be read (page {page} of {path})")
                };
                Self::Unavailable { message, source: Some(Box::new(source)) }
            }
            // What the tenant itself said, or would say, to the phone.
            Failure::NoProfile => Self::Refused { status: 422, fields: BTreeSet::from([String::from("profile_id")]) },
        }
    }
}

fn port_error(error: ApiError) -> PortError {
    match error.decision() {
        // `Retry` is never handed out for a finished request; if it were, the record alone would pay.
        Decision::GiveUp | Decision::Retry => {
            // Without an answer there is no status; 0 says so.
            PortError::Refused { status: error.status().unwrap_or(0), fields: error.fields() }
        }
        Decision::NotFound => PortError::NotFound,
        Decision::Stop => PortError::Stop { message: stop_message(&error), source: Some(Box::new(error)) },
        Decision::Doubt => PortError::Doubt { source: Some(Box::new(error)) },
        Decision::Unavailable => PortError::Unavailable { message: error.to_string(), source: Some(Box::new(error)) },
        Decision::Stale => PortError::Stale,
        Decision::Interrupted => PortError::Interrupted,
    }
}

fn stop_message(error: &ApiError) -> String {
    match error {
        ApiError::Redirect { host: Some(host), .. } => {
            format!("{PLATFORM} redirects to {host}: set firstline.base_url to the address of the API itself")
        }
        ApiError::Redirect { host: None, .. } => {
            format!("{PLATFORM} redirects: set firstline.base_url to the address of the API itself")
        }
        ApiError::Certificate { .. } => format!("the certificate of {PLATFORM} is not trusted: check ca_file"),
        _ => match error.status() {
            Some(403) => format!(
                "{PLATFORM} refuses access (status 403): the role of the account lacks a permission, or the address of \
                 this machine is not on the tenant's list of allowed addresses"
            ),
            Some(419) => format!("{PLATFORM} says that the session has expired (status 419): check the credentials"),
            Some(status) => format!("{PLATFORM} refuses the credentials (status {status})"),
            None => format!("{PLATFORM} cannot be used: {error}"),
        },
    }
}
