//! The doors through which the engine reaches both platforms, and the clock-free error language it understands.
//!
//! Adapters (`livedesk`, `firstline`) implement these traits; tests implement them with doubles. Waiting,
//! pacing and repeating of what is safe to repeat happens behind them: a read that returns `Unavailable` has
//! already waited as long as the operator allows.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;

use crate::domain::contact::Contact;
use crate::domain::field::FieldDefinition;
use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId};
use crate::domain::sweep::{DirectionStyle, Order};
use crate::domain::target::{ContactWrite, NewContact, Shown, TargetContact, TargetEmail, TargetPhone};

/// Boxed cause, kept for the error chain.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What the engine must do about a failure. The variant is the decision (style, 4.7).
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The whole run must stop (401, 403, 419, a redirect, a wrong base URL). Nothing was applied.
    #[error("{message}")]
    Stop {
        /// What to tell the operator, with the remedy.
        message: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// This record was refused (other 4xx) and surely not applied; the rest goes on.
    #[error("refused with status {status}{}", fields_suffix(.fields))]
    Refused {
        /// HTTP status.
        status: u16,
        /// Names of the fields that the answer complains of; empty when it names none. Never a value.
        fields: BTreeSet<String>,
    },
    /// The id in the path is unknown to the platform (404).
    #[error("not found")]
    NotFound,
    /// A write was sent and it is not known whether it was applied. It must not be sent again.
    #[error("the outcome of a write is in doubt")]
    Doubt {
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// An update or a deletion waited for so long that what it was made of may have changed. It is not known whether an earlier attempt
    /// was applied: read, and decide again.
    #[error("the change waited for too long to be still right")]
    Stale,
    /// The platform stayed unreachable for longer than the operator allows (`--no-wait`), or does not answer this read while it
    /// answers others. Nothing was applied.
    #[error("{message}")]
    Unavailable {
        /// Which platform, and what was tried.
        message: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// The program is shutting down. Nothing was applied.
    #[error("interrupted")]
    Interrupted,
}

fn fields_suffix(fields: &BTreeSet<String>) -> String {
    if fields.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = fields.iter().map(String::as_str).collect();
    format!(" ({})", names.join(", "))
}

/// One request for a page of the source's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Sort order.
    pub order: Order,
    /// How descending is spelled.
    pub style: DirectionStyle,
    /// Page number, from 1.
    pub page: u32,
}

/// How the list is asked for the contacts of one label (notes LiveDesk 3.1: a text or a list of texts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelStyle {
    /// `labels[]=..`
    List,
    /// `labels=..`
    Text,
}

/// A row that could not be read as a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedRow {
    /// Its id, when at least that could be read.
    pub id: Option<LiveDeskId>,
    /// What is wrong, without any value.
    pub problem: String,
}

/// A row of the source's list. Most rows of a sweep's later passes are of contacts that it has seen: of those the id is
/// all that counts, so the rest is read only when it is asked for.
#[derive(Clone)]
pub struct SourceRow {
    /// Its id.
    pub id: LiveDeskId,
    /// Seconds since the epoch; `None` when missing or unreadable.
    pub created_at: Option<i64>,
    /// As `created_at`.
    pub last_activity_at: Option<i64>,
    body: RowBody,
}

#[derive(Clone)]
enum RowBody {
    Read(Box<Contact>),
    Unread { json: Box<str>, read: fn(&str) -> Result<Contact, MalformedRow> },
}

impl SourceRow {
    /// A row whose contact is read from `json` when it is asked for.
    pub fn unread(
        id: LiveDeskId,
        times: (Option<i64>, Option<i64>),
        json: Box<str>,
        read: fn(&str) -> Result<Contact, MalformedRow>,
    ) -> Self {
        let (created_at, last_activity_at) = times;
        Self { id, created_at, last_activity_at, body: RowBody::Unread { json, read } }
    }

    /// The contact.
    pub fn contact(self) -> Result<Contact, MalformedRow> {
        match self.body {
            RowBody::Read(contact) => Ok(*contact),
            // What even breaks the reader has the id that it was counted under.
            RowBody::Unread { json, read } => {
                read(&json).map_err(|row| MalformedRow { id: row.id.or(Some(self.id)), ..row })
            }
        }
    }
}

impl From<Contact> for SourceRow {
    fn from(contact: Contact) -> Self {
        let (id, created_at, last_activity_at) = (contact.id, contact.created_at, contact.last_activity_at);
        Self { id, created_at, last_activity_at, body: RowBody::Read(Box::new(contact)) }
    }
}

impl fmt::Debug for SourceRow {
    /// Its id; the rest is a person's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceRow").field("id", &self.id).finish_non_exhaustive()
    }
}

/// One page of the source's list.
#[derive(Clone, Debug, Default)]
pub struct SourcePage {
    /// Its rows, in the order received.
    pub rows: Vec<SourceRow>,
    /// Rows that are surely no contacts: without a readable id, as a rule.
    pub malformed: Vec<MalformedRow>,
    /// `meta.count`, when given.
    pub count: Option<u64>,
    /// The server's own clock at the answer (`Date`), epoch seconds, when given.
    pub server_date: Option<i64>,
}

impl SourcePage {
    /// Rows received, readable or not.
    pub fn len(&self) -> usize {
        self.rows.len() + self.malformed.len()
    }

    /// Whether no row was received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Answer of a read by id at the source.
#[derive(Clone, Debug)]
pub enum ByIdAnswer {
    /// The contact.
    Found(Box<Contact>),
    /// The endpoint exists and says there is no such contact.
    Missing,
    /// This LiveDesk has no read by id (platform notes LiveDesk 6).
    Unsupported,
}

/// LiveDesk.
pub trait ContactSource: Send + Sync + 'static {
    /// One page of the list. `Refused` says that the spelling of descending order with a minus is not taken (400,
    /// 422); every other failure of a page stops the run.
    fn page(&self, request: PageRequest) -> impl Future<Output = Result<SourcePage, PortError>> + Send;

    /// One page of the contacts that have a label. A filter that is not known is ignored, so what comes may be everybody.
    /// `Refused` says that this filter is not taken.
    fn labelled_page(
        &self,
        label: &str,
        style: LabelStyle,
        request: PageRequest,
    ) -> impl Future<Output = Result<SourcePage, PortError>> + Send;

    /// One contact. `known` is the id of a contact that surely exists; the adapter uses it, once, to find out
    /// whether a read by id exists at all.
    fn by_id(&self, id: LiveDeskId, known: LiveDeskId) -> impl Future<Output = Result<ByIdAnswer, PortError>> + Send;

    /// How many pages may usefully be asked for at once.
    fn concurrency(&self) -> usize;
}

/// One page of a list at the target. `total` and `last_page` are read back, never assumed (notes FIRST LINE 2.1).
#[derive(Clone, Debug)]
pub struct TargetPage<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// `meta.total`, when given.
    pub total: Option<u64>,
    /// `meta.last_page`, when given.
    pub last_page: Option<u32>,
}

/// How the filter on a custom field is written (notes FIRST LINE 2.2: unknown, two readings).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FilterEncoding {
    /// `cz_cols[0][id]=..&cz_cols[0][op]==&cz_cols[0][val]=..`
    Brackets,
    /// `cz_cols=[{"id":..,"op":"=","val":".."}]`
    Json,
}

/// A filter on the target's contact list. Its answer is a set of candidates: filters may be fuzzy or ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContactFilter {
    /// `membership_no=`
    MembershipNo(String),
    /// `cz_cols` with op `=`.
    CustomField {
        /// `cz_col` id.
        field: i64,
        /// The text to find.
        value: String,
        /// How it is written.
        encoding: FilterEncoding,
    },
}

/// A filter on e-mail or phone rows; fuzzy or ignored like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildFilter {
    /// Every row of the tenant.
    All,
    /// By address or number.
    Value(String),
    /// Of one contact.
    Contact(FirstLineId),
}

/// A tag or a company: what its list says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// FIRST LINE.
pub trait ContactTarget: Send + Sync + 'static {
    /// One page of the contact list, unfiltered or filtered.
    fn contacts(
        &self,
        filter: Option<&ContactFilter>,
        page: u32,
    ) -> impl Future<Output = Result<TargetPage<TargetContact>, PortError>> + Send;

    /// One contact in full; `None` on 404.
    fn contact(&self, id: FirstLineId) -> impl Future<Output = Result<Option<TargetContact>, PortError>> + Send;

    /// One page of e-mail rows.
    fn emails(
        &self,
        filter: &ChildFilter,
        page: u32,
    ) -> impl Future<Output = Result<TargetPage<TargetEmail>, PortError>> + Send;

    /// One page of phone rows.
    fn phones(
        &self,
        filter: &ChildFilter,
        page: u32,
    ) -> impl Future<Output = Result<TargetPage<TargetPhone>, PortError>> + Send;

    /// Which parts of a contact it was seen to show, in this run or an earlier one.
    fn shown(&self) -> Shown {
        Shown::default()
    }

    /// Custom fields of customers (category type 0).
    fn definitions(&self) -> impl Future<Output = Result<Vec<FieldDefinition>, PortError>> + Send;

    /// Creates a contact: one attempt whose outcome may be in doubt. A wait for the rate, or a repeat after
    /// an answer that surely applied nothing (429, connection refused), happens inside.
    fn create(&self, write: &ContactWrite) -> impl Future<Output = Result<NewContact, PortError>> + Send;

    /// Updates fields of a contact; safe to repeat, so never in doubt.
    fn update(
        &self,
        id: FirstLineId,
        write: &ContactWrite,
    ) -> impl Future<Output = Result<TargetContact, PortError>> + Send;

    /// Deletes a contact that this program made and nobody changed; one that is not there is no error, so it is safe to
    /// repeat. `Refused` also where the account may not delete.
    fn delete_contact(&self, id: FirstLineId) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Hangs an e-mail on a contact; outcome may be in doubt, as with `create`.
    fn create_email(
        &self,
        contact: FirstLineId,
        address: &str,
    ) -> impl Future<Output = Result<ChildId, PortError>> + Send;

    /// Changes the address of an e-mail row; safe to repeat.
    fn update_email(&self, id: ChildId, address: &str) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Deletes an e-mail row that we made; one that is not there is no error, so it is safe to repeat.
    fn delete_email(&self, id: ChildId) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Deletes a phone row that we made, as `delete_email`.
    fn delete_phone(&self, id: ChildId) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Hangs a phone on a contact; outcome may be in doubt. `profile_id` is used where the tenant asks for it.
    fn create_phone(
        &self,
        contact: FirstLineId,
        profile_id: Option<i64>,
        number: &str,
        kind: i64,
    ) -> impl Future<Output = Result<ChildId, PortError>> + Send;

    /// Changes a phone row; safe to repeat.
    fn update_phone(
        &self,
        id: ChildId,
        contact: FirstLineId,
        number: &str,
        kind: i64,
    ) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Tags whose name may be this one: the search is fuzzy, or ignored. `None` where there are no tags at all.
    fn tags(&self, name: &str) -> impl Future<Output = Result<Option<Vec<Named>>, PortError>> + Send;

    /// Creates a tag; outcome may be in doubt, as with `create`.
    fn create_tag(&self, name: &str) -> impl Future<Output = Result<Named, PortError>> + Send;

    /// Companies whose name may be this one, as with `tags`. `None` where there are no companies at all.
    fn companies(&self, name: &str) -> impl Future<Output = Result<Option<Vec<Named>>, PortError>> + Send;
}
