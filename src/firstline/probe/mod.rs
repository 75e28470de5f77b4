//! `probe`: settles what the documents of FIRST LINE leave open, on scratch contacts that it makes and removes.
//!
//! Reading order: here (the order of the steps), `calls` (requests), `judge` (what answers mean, pure), `contacts`,
//! `filters`, `updates`, `lists`, and `cleanup`, which deletes nothing but what a probe has made and that was just
//! read as such. Every scratch record is written down through the [`Ledger`] before it is made.

mod calls;
mod cleanup;
mod contacts;
mod filters;
mod judge;
mod lists;
mod updates;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::error::Failure;
use super::profile::UpdateMethod;
use super::target::FirstLine;
use crate::clock::Clock;
use crate::domain::field::{FieldDefinition, FieldKind};
use crate::domain::ids::FirstLineId;
use crate::domain::tenant::{SCRATCH_PREFIX, Scratch, TenantReport};
use crate::http::ErrorShape;
use crate::sync::ports::{Cause, ContactTarget as _, PortError};

pub use cleanup::LeftOver;
use cleanup::Origin;
pub use filters::LATE;

/// Where scratch records are written down before they are made, so that a later probe finds what a crash left.
pub trait Ledger: Send + Sync {
    /// Replaces what is written down.
    fn write(&self, scratches: &[Scratch]) -> impl Future<Output = Result<(), Cause>> + Send;
}

/// How a probe is done.
#[derive(Clone, Debug)]
pub struct ProbeSettings {
    /// How long a search is given to find a contact.
    pub max_wait: Duration,
    /// Pause before something that is not as expected is read again.
    pub settle: Duration,
    /// The tenant's zone.
    pub time_zone: TimeZone,
    /// The custom field of the stamp: not written to where there is another.
    pub stamp_column: Option<i64>,
    /// How runs send updates, where the operator says so: what updates do is seen with that method.
    pub fixed_method: Option<UpdateMethod>,
}

/// Why a probe could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The platform stopped it.
    #[error(transparent)]
    Port(#[from] PortError),
    /// What it was about to make could not be written down.
    #[error("the state could not be written")]
    Ledger(#[source] Cause),
    /// No scratch contact could be made.
    #[error("{0}")]
    Refused(String),
}

impl ProbeError {
    /// Whether this is a shutdown rather than a failure.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Port(PortError::Interrupted))
    }
}

impl From<Failure> for ProbeError {
    fn from(failure: Failure) -> Self {
        Self::Port(failure.into())
    }
}

/// How a probe ended.
#[derive(Debug)]
pub struct Ended {
    /// What was found out, as far as it came.
    pub report: TenantReport,
    /// Why it came no further.
    pub failure: Option<ProbeError>,
    /// What is still at FIRST LINE, or may be.
    pub left_over: Vec<LeftOver>,
    /// Records of an earlier probe that were removed, or are gone.
    pub cleared: usize,
}

/// The custom fields that scratch contacts are written with.
#[derive(Debug, Default)]
struct Columns {
    /// A text field.
    text: Option<i64>,
    /// Another field, with a value that it takes.
    second: Option<(i64, Value)>,
    boolean: Option<i64>,
    /// Values for the fields that must not be empty.
    required: Vec<(i64, Value)>,
}

impl Columns {
    fn of(definitions: &[FieldDefinition], stamp_column: Option<i64>) -> Self {
        let free = |field: &&FieldDefinition| Some(field.id) != stamp_column && !field.required;
        let texts = || definitions.iter().filter(|field| field.kind == FieldKind::Text);
        // The stamp's own field only where there is no other: what stands there is read as a stamp.
        let text = texts().find(free).or_else(|| texts().find(|field| Some(field.id) == stamp_column));
        let text = text.map(|field| field.id);
        let second = definitions.iter().filter(free).find(|field| {
            Some(field.id) != text && matches!(field.kind, FieldKind::Text | FieldKind::Number | FieldKind::Date)
        });
        let required = definitions.iter().filter(|field| field.required && Some(field.id) != text);
        Self {
            text,
            second: second.and_then(|field| Some((field.id, sample(field)?))),
            boolean: definitions.iter().find(|field| field.kind == FieldKind::Boolean).map(|field| field.id),
            required: required.filter_map(|field| Some((field.id, sample(field)?))).collect(),
        }
    }
}

/// A harmless value that a field takes.
fn sample(field: &FieldDefinition) -> Option<Value> {
    Some(match field.kind {
        FieldKind::Text => json!("probe"),
        FieldKind::Number => json!(7),
        FieldKind::Boolean => json!(1),
        FieldKind::Date => json!("2000-01-31"),
        FieldKind::Time => json!("08:00"),
        FieldKind::DateTime => json!("2000-01-31 08:00:00"),
        FieldKind::SingleChoice => field.options.first()?.value.clone(),
        FieldKind::MultipleChoice => json!([field.options.first()?.value]),
    })
}

/// A scratch contact of this probe: its id comes from the answer to its own create.
#[derive(Clone, Debug)]
struct Made {
    id: FirstLineId,
    stamp: String,
    /// Its membership_no after the create.
    number: String,
    /// When the create was answered.
    at_ms: i64,
}

impl Made {
    fn email(&self) -> String {
        email_of(&self.stamp)
    }
}

/// The address of a scratch contact; nobody's, by RFC 2606.
fn email_of(stamp: &str) -> String {
    format!("{stamp}@example.com")
}

/// A membership_no of a scratch contact: a text that is the stamp's alone, and a count, which tells updates apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number<'s>(&'s str);

impl Number<'_> {
    /// All of them have the same length: where the create's is taken, those of the updates are.
    fn of(self, count: u32) -> String {
        format!("{}-{count:02}", self.0)
    }
}

/// How many forms of a number there are.
const NUMBERS: usize = 3;

/// The numbers of a stamp, longest first: FIRST LINE may allow fewer characters than the stamp has.
fn numbers(stamp: &str) -> [Number<'_>; NUMBERS] {
    let digits = stamp.strip_prefix(SCRATCH_PREFIX).unwrap_or(stamp);
    [stamp, digits, digits.get(..8).unwrap_or(digits)].map(Number)
}

/// The form of the number to go on with where the one that was sent is stored as `stored`.
fn shorter(stamp: &str, sent: usize, stored: &str) -> usize {
    let fits = |form: &usize| numbers(stamp)[*form].of(0).len() <= stored.len();
    (sent..NUMBERS).find(fits).unwrap_or(NUMBERS - 1)
}

/// A probe at work.
pub struct Probe<'a, L> {
    target: &'a FirstLine,
    ledger: &'a L,
    settings: ProbeSettings,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    columns: Columns,
    scratches: Vec<Scratch>,
    report: TenantReport,
    /// Shape of the first refusal of a body.
    shape: Option<ErrorShape>,
    /// Which form of the number this tenant takes.
    number: usize,
    /// Makes every update of the scratch contact tell itself from the one before.
    count: u32,
}

/// Does a probe from beginning to end. `cleanup` is a second connection, which a signal does not cut off; `earlier` is what
/// the ledger still holds from probes that were cut off.
pub async fn probe<L: Ledger>(
    (target, cleanup): (&FirstLine, &FirstLine),
    ledger: &L,
    earlier: Vec<Scratch>,
    settings: ProbeSettings,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> Ended {
    let mut probe = Probe {
        target,
        ledger,
        settings,
        clock,
        stop,
        columns: Columns::default(),
        scratches: earlier,
        report: TenantReport::default(),
        shape: None,
        number: 0,
        count: 0,
    };
    let before = probe.scratches.len();
    let mut left_over = probe.clean_up(target, Origin::Earlier).await;
    let cleared = before - probe.scratches.len();
    let failure = if let Some(kept) = left_over.first() {
        let text = format!("what an earlier probe made is still there, so no new scratch contact is made: {kept}");
        Some(ProbeError::Refused(text))
    } else {
        let failure = probe.steps().await.err();
        left_over = probe.clean_up(cleanup, Origin::Now).await;
        failure
    };
    probe.report.close("the probe did not come so far");
    Ended { report: probe.report, failure, left_over, cleared }
}

impl<L: Ledger> Probe<'_, L> {
    async fn steps(&mut self) -> Result<(), ProbeError> {
        let definitions = self.target.definitions().await?;
        self.columns = Columns::of(&definitions, self.settings.stamp_column);
        self.largest_page().await?;
        let tags = self.make_tags().await?;
        let made = self.first_contact(tags.as_ref().ok().copied()).await?;
        self.search_filters(&made).await?;
        self.email_filters(&made).await?;
        self.tags_of_create(&made, tags.as_ref()).await?;
        self.second_contact(&made).await?;
        if let Some(method) = self.update_methods(&made).await? {
            let replaces = self.update_semantics(&made, method, tags.as_ref()).await?;
            self.tags_of_update(&made, method, tags.as_ref()).await?;
            self.boolean_forms(&made, method).await?;
            self.clear_forms(&made, method, replaces).await?;
        }
        self.error_body().await
    }

    /// A name that nothing else carries.
    fn stamp() -> String {
        let random: u64 = rand::random();
        format!("{SCRATCH_PREFIX}{random:016x}")
    }

    async fn write_down(&self) -> Result<(), ProbeError> {
        self.ledger.write(&self.scratches).await.map_err(ProbeError::Ledger)
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().0
    }

    /// Waits, unless a signal comes first.
    async fn pause(&self, wait: Duration) -> Result<(), ProbeError> {
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.stop.cancelled() => Err(PortError::Interrupted.into()),
        }
    }
}

fn put_columns(body: &mut Map<String, Value>, columns: Vec<(i64, Value)>) {
    if !columns.is_empty() {
        let columns = columns.into_iter().map(|(id, value)| json!({ "id": id, "value": value })).collect();
        body.insert(String::from("cz_cols"), Value::Array(columns));
    }
}

/// How an update is sent, once that is known.
type Method = UpdateMethod;

#[cfg(test)]
mod tests {
    use super::{NUMBERS, numbers, shorter};

    #[test]
    fn the_number_of_a_scratch_contact_has_one_length_and_shorter_forms() {
        let stamp = "deskferry-probe-0123456789abcdef";
        let forms = numbers(stamp).map(|number| number.of(0));
        assert_eq!(forms, ["deskferry-probe-0123456789abcdef-00", "0123456789abcdef-00", "01234567-00"]);
        assert!(numbers(stamp).iter().all(|number| number.of(7).len() == number.of(99).len()));
        assert_eq!(numbers("short").map(|number| number.of(1)), ["short-01"; NUMBERS]);
    }

    #[test]
    fn a_number_that_is_stored_cut_is_followed_by_shorter_ones() {
        let stamp = "deskferry-probe-0123456789abcdef";
        let sent = numbers(stamp)[0].of(0);
        for (length, form) in [(35, 0), (34, 1), (19, 1), (18, 2), (11, 2), (5, 2)] {
            assert_eq!(shorter(stamp, 0, &sent[..length]), form, "{length}");
        }
        assert_eq!(shorter(stamp, 2, "01234567-00"), 2);
    }
}
