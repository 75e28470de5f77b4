//! LiveDesk's endpoints that we use, and what their failures mean to the operator.
//!
//! `GET {base}/contacts` and `GET {base}/contacts/{id}`, with Basic authentication (platform notes LiveDesk 2, 3.1, 6).
//! Nothing is ever written to LiveDesk. Pacing and repeating are the http core's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::wire;
use crate::domain::contact::Contact;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::{Direction, DirectionStyle};
use crate::http::secret::AuthHeader;
use crate::http::{ApiError, Decision, HttpClient, Request, Secret};
use crate::sync::ports::{LabelStyle, MalformedRow, PageRequest, PortError, SourcePage};

/// The label that a list is asked for, if it is.
pub(super) type Label<'a> = Option<(&'a str, LabelStyle)>;

/// What the adapter is built from, besides its client.
#[derive(Clone, Debug)]
pub struct LiveDeskSettings {
    /// API Key.
    pub api_key: Secret,
    /// API Secret.
    pub api_secret: Secret,
    /// Whether the mapping reads `contact_inboxes`: they enlarge every page (notes 10, point 16).
    pub include_contact_inboxes: bool,
    /// `page_size` to send. `None`, the default, sends none: whether it has an effect is not documented.
    pub page_size: Option<u32>,
}

/// Key and secret cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The user name of Basic authentication ends at the first colon.
    #[error("livedesk.api_key holds a colon or is empty: it is not an API Key")]
    Key,
    /// There is none.
    #[error("livedesk.api_secret is empty")]
    Secret,
}

/// An answer that is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    /// The request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// JSON of another shape; the text says what is wrong, without any value.
    #[error("the answer is not what LiveDesk documents: {0}")]
    Shape(&'static str),
}

/// The endpoints.
pub(super) struct Api {
    client: HttpClient,
    auth: AuthHeader,
    include_contact_inboxes: &'static str,
    page_size: Option<String>,
}

impl Api {
    pub(super) fn new(client: HttpClient, settings: &LiveDeskSettings) -> Result<Self, CredentialsError> {
        let (key, secret) = (settings.api_key.expose(), settings.api_secret.expose());
        if key.is_empty() || key.contains(':') {
            return Err(CredentialsError::Key);
        }
        if secret.is_empty() {
            return Err(CredentialsError::Secret);
        }
        // The lightest page that there is: where this one is not answered, nothing can be done here.
        let lightest = Request::get("/contacts").query("page", "1").query("include_contact_inboxes", "false");
        client.know(&lightest.query("sort", "created_at").query("direction", "asc"));
        let encoded = BASE64.encode([key, secret].join(":"));
        let auth = AuthHeader::new(&["Basic ", encoded.as_str()].concat()).map_err(|_| CredentialsError::Key)?;
        Ok(Self {
            client,
            auth,
            include_contact_inboxes: if settings.include_contact_inboxes { "true" } else { "false" },
            page_size: settings.page_size.map(|size| size.to_string()),
        })
    }

    pub(super) fn client(&self) -> &HttpClient {
        &self.client
    }

    /// One page of the list.
    pub(super) async fn list(&self, page: PageRequest, label: Label<'_>) -> Result<wire::ListAnswer, AnswerError> {
        let key = page.order.key.as_str();
        let descending = page.order.direction == Direction::Descending;
        let mut request = Request::get("/contacts")
            .query("page", &page.page.to_string())
            .query("include_contact_inboxes", if label.is_some() { "false" } else { self.include_contact_inboxes });
        request = match page.style {
            DirectionStyle::Parameter => {
                request.query("sort", key).query("direction", if descending { "desc" } else { "asc" })
            }
            DirectionStyle::Minus if descending => request.query("sort", &["-", key].concat()),
            DirectionStyle::Minus => request.query("sort", key),
        };
        request = match label {
            Some((label, LabelStyle::List)) => request.query("labels[]", label),
            Some((label, LabelStyle::Text)) => request.query("labels", label),
            None => request,
        };
        if let Some(size) = &self.page_size {
            request = request.query("page_size", size);
        }
        let reply = self.client.dated_body(&request.auth(self.auth.clone()), wire::list).await??;
        let mut answer = reply.value;
        answer.page.server_date = reply.server_date;
        Ok(answer)
    }

    /// One contact.
    pub(super) async fn contact(&self, id: LiveDeskId) -> Result<Result<Contact, MalformedRow>, AnswerError> {
        let request = Request::get(&format!("/contacts/{id}"))
            .query("include_contact_inboxes", self.include_contact_inboxes)
            .auth(self.auth.clone());
        self.client.body(&request, wire::single).await?
    }
}

/// What a failed read of a page means. That the spelling with a minus is refused says nothing about the list itself,
/// and is told as `Refused`, as a filter is that is refused; page 1 surely exists, and a later one that does not has no rows.
pub(super) fn page_or_error(
    error: AnswerError,
    request: PageRequest,
    label: Label<'_>,
) -> Result<SourcePage, PortError> {
    let has_minus = request.style == DirectionStyle::Minus && request.order.direction == Direction::Descending;
    match &error {
        AnswerError::Api(ApiError::Status { status: 404, .. }) if request.page > 1 => Ok(SourcePage::default()),
        AnswerError::Api(api @ ApiError::Status { status: status @ (400 | 422), .. })
            if has_minus || label.is_some() =>
        {
            Err(PortError::Refused { status: *status, fields: api.fields() })
        }
        // A filter that is not answered is as good as none.
        AnswerError::Api(api) if api.is_unanswered() && label.is_some() => {
            Err(PortError::Refused { status: api.status().unwrap_or(0), fields: api.fields() })
        }
        _ => {
            let what = format!("page {} of the contact list, sorted by {}", request.page, request.order);
            Err(match error {
                AnswerError::Api(api) if api.is_unanswered() => {
                    unanswered(api, &what, "raise livedesk.timeout, or lower livedesk.page_size if LiveDesk heeds it")
                }
                error => port_error(error, &what),
            })
        }
    }
}

/// One read that is not answered, while LiveDesk answers others.
fn unanswered(api: ApiError, what: &str, remedy: &str) -> PortError {
    let message = format!("LiveDesk answers other requests, and not this one ({what}): {remedy}");
    PortError::Unavailable { message, source: Some(api.into()) }
}

/// What a failed read means to the engine. `what` names the thing read, without a value.
pub(super) fn port_error(error: AnswerError, what: &str) -> PortError {
    let api = match error {
        AnswerError::Api(api) => api,
        shape @ AnswerError::Shape(_) => {
            let message = format!(
                "LiveDesk's answer for {what} is not the documented one: check that livedesk.base_url ends in \
                 /api/v2/accounts"
            );
            return PortError::Stop { message, source: Some(shape.into()) };
        }
    };
    if api.is_unanswered() {
        return unanswered(api, what, "raise livedesk.timeout");
    }
    let message = match (api.decision(), api.status()) {
        (Decision::Interrupted, _) => return PortError::Interrupted,
        (Decision::NotFound, _) => {
            format!("LiveDesk has no {what} (status 404): check that livedesk.base_url ends in /api/v2/accounts")
        }
        (Decision::Stop, Some(401)) => "LiveDesk does not accept the API key (status 401): check livedesk.api_key and \
             livedesk.api_secret against EngageLab's console, Project Settings, API Management; a suspended account \
             answers the same"
            .into(),
        (Decision::Stop, Some(status @ (403 | 419))) => format!(
            "LiveDesk does not let this API key read {what} (status {status}): give the key of livedesk.api_key access \
             to contacts in EngageLab's console, Project Settings, API Management"
        ),
        (Decision::Stop, Some(status @ 300..=399)) => format!(
            "LiveDesk answers {what} with a redirect (status {status}), which is not followed: set livedesk.base_url to \
             the address it points at"
        ),
        (Decision::Stop, _) => format!("no trusted connection to LiveDesk for {what}"),
        (Decision::GiveUp, Some(status @ 400..=499)) => {
            format!("LiveDesk refuses {what} (status {status}); this version of LiveDesk may differ from the documents")
        }
        // Whatever is left may pass: the run can be resumed where it stands.
        (Decision::GiveUp | Decision::Unavailable | Decision::Retry | Decision::Doubt | Decision::Stale, _) => {
            return PortError::Unavailable {
                message: format!("LiveDesk could not be read ({what})"),
                source: Some(api.into()),
            };
        }
    };
    PortError::Stop { message, source: Some(api.into()) }
}
