//! The port: LiveDesk as the engine sees it.
//!
//! Whether a read by id exists is not documented (platform notes LiveDesk 6). It is found out once, by asking for a
//! contact that surely exists, and can be remembered by the caller between runs.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::api::{AnswerError, Api, CredentialsError, Label, LiveDeskSettings, page_or_error, port_error};
use super::wire::ListAnswer;
use crate::domain::contact::Contact;
use crate::domain::ids::LiveDeskId;
use crate::http::{ApiError, Decision, HttpClient};
use crate::sync::ports::{ByIdAnswer, ContactSource, LabelStyle, PageRequest, PortError, SourcePage};

/// What is known about the read by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByIdSupport {
    /// Not tried yet.
    Unknown,
    /// It exists: a 404 means that the contact does not.
    Supported,
    /// There is none.
    Unsupported,
}

impl ByIdSupport {
    const ALL: [Self; 3] = [Self::Unknown, Self::Supported, Self::Unsupported];
}

/// LiveDesk.
pub struct LiveDesk {
    api: Api,
    /// Index into `ByIdSupport::ALL`.
    by_id: AtomicU8,
    /// `meta.current_page` has been found not to be the page that was asked for.
    page_echo_is_wrong: AtomicBool,
}

impl LiveDesk {
    /// The adapter. Sends nothing. The client's base URL ends in `/api/v2/accounts`.
    pub fn new(client: HttpClient, settings: &LiveDeskSettings) -> Result<Self, CredentialsError> {
        Ok(Self {
            api: Api::new(client, settings)?,
            by_id: AtomicU8::new(0),
            page_echo_is_wrong: AtomicBool::new(false),
        })
    }

    /// What is known about the read by id, to be remembered.
    pub fn by_id_support(&self) -> ByIdSupport {
        ByIdSupport::ALL[usize::from(self.by_id.load(Ordering::Relaxed)) % ByIdSupport::ALL.len()]
    }

    /// What an earlier run found out about it.
    pub fn set_by_id_support(&self, support: ByIdSupport) {
        let index = ByIdSupport::ALL.iter().position(|known| *known == support);
        self.by_id.store(index.and_then(|index| u8::try_from(index).ok()).unwrap_or(0), Ordering::Relaxed);
    }

    /// The client, for its counters.
    pub fn client(&self) -> &HttpClient {
        self.api.client()
    }

    /// Asks for a contact that surely exists, and hands it out if it can be read. Only that contact is a yes, even one
    /// that cannot be carried; whatever refuses the path is a no.
    async fn probe(&self, known: LiveDeskId) -> Result<Option<Box<Contact>>, PortError> {
        let (support, answer) = match self.api.contact(known).await {
            Ok(Ok(contact)) if contact.id == known => (ByIdSupport::Supported, Some(Box::new(contact))),
            Ok(Err(row)) if row.id == Some(known) => (ByIdSupport::Supported, None),
            Ok(_) | Err(AnswerError::Shape(_)) => (ByIdSupport::Unsupported, None),
            Err(AnswerError::Api(error)) if is_no_endpoint(&error) => (ByIdSupport::Unsupported, None),
            Err(error) => return Err(port_error(error, "a contact by its id")),
        };
        self.set_by_id_support(support);
        Ok(answer)
    }
}

/// Whether a failed probe says that there is no such endpoint, or none for this key.
fn is_no_endpoint(error: &ApiError) -> bool {
    match error {
        ApiError::BadBody { .. } | ApiError::Redirect { .. } | ApiError::Status { status: 403 | 501, .. } => true,
        // Routers answer unknown paths with a page for people.
        ApiError::Exhausted { last, .. } => matches!(**last, ApiError::BadBody { .. }),
        ApiError::Status { status: 400..=499, .. } => {
            matches!(error.decision(), Decision::NotFound | Decision::GiveUp)
        }
        _ => false,
    }
}

impl LiveDesk {
    async fn listed(&self, request: PageRequest, label: Label<'_>) -> Result<SourcePage, PortError> {
        let is_another = |answer: &ListAnswer| {
            answer.current_page.is_some_and(|page| page != u64::from(request.page))
                && !self.page_echo_is_wrong.load(Ordering::Relaxed)
        };
        match self.api.list(request, label).await {
            Ok(answer) if !is_another(&answer) => return Ok(answer.page),
            // No list, or another page than the one asked for: a proxy's doing, perhaps.
            Ok(_) | Err(AnswerError::Shape(_)) => {}
            Err(error) => return page_or_error(error, request, label),
        }
        // Asked again, the rows are taken as they are: a server may just echo a wrong number, and one that ignores
        // `page` gives the same rows for every page, which a pass detects by their ids.
        let again = match self.api.list(request, label).await {
            Ok(again) => again,
            Err(error) => return page_or_error(error, request, label),
        };
        if is_another(&again) {
            self.page_echo_is_wrong.store(true, Ordering::Relaxed);
            tracing::warn!(
                page = request.page,
                current_page = again.current_page,
                "LiveDesk names another page than the one asked for"
            );
        }
        Ok(again.page)
    }
}

impl ContactSource for LiveDesk {
    async fn page(&self, request: PageRequest) -> Result<SourcePage, PortError> {
        self.listed(request, None).await
    }

    async fn labelled_page(
        &self,
        label: &str,
        style: LabelStyle,
        request: PageRequest,
    ) -> Result<SourcePage, PortError> {
        self.listed(request, Some((label, style))).await
    }

    async fn by_id(&self, id: LiveDeskId, known: LiveDeskId) -> Result<ByIdAnswer, PortError> {
        if self.by_id_support() == ByIdSupport::Unknown {
            let found = self.probe(known).await?;
            if let Some(contact) = found.filter(|contact| contact.id == id) {
                return Ok(ByIdAnswer::Found(contact));
            }
        }
        if self.by_id_support() == ByIdSupport::Unsupported {
            return Ok(ByIdAnswer::Unsupported);
        }
        match self.api.contact(id).await {
            Ok(Ok(contact)) if contact.id == id => Ok(ByIdAnswer::Found(Box::new(contact))),
            // Another contact, as after a merge: says nothing about this one, so a pass must look.
            Ok(Ok(_)) => Ok(ByIdAnswer::Unsupported),
            Ok(Err(_)) | Err(AnswerError::Shape(_)) => {
                Err(PortError::Refused { status: 200, fields: ["payload".to_owned()].into() })
            }
            Err(AnswerError::Api(error)) if error.decision() == Decision::NotFound => Ok(ByIdAnswer::Missing),
            // Only this contact is refused (410, 422, ...): no reason to stop the run.
            Err(AnswerError::Api(error @ ApiError::Status { status: status @ 400..=499, .. }))
                if error.decision() == Decision::GiveUp =>
            {
                Err(PortError::Refused { status, fields: error.fields() })
            }
            Err(error) => Err(port_error(error, "a contact by its id")),
        }
    }

    fn concurrency(&self) -> usize {
        self.api.client().concurrency()
    }
}
