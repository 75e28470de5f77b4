//! The probe over a real state: where its scratch records are written down, what becomes of what it found out, and how that
//! stands to the configuration.
//!
//! What the operator wrote wins over the profile; a difference between the two is said. What the profile does not know is done
//! as without one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{AppError, Surroundings, connect_firstline, learned};
use crate::config::settings::{self, FirstLine as FirstLineConfig, MatchKey, Settings};
use crate::domain::tenant::{PROFILE_KEY, Question, Reading, Scratch, StampFilter, TenantReport};
use crate::firstline::probe::{Ended, LATE, Ledger, ProbeSettings, probe};
use crate::firstline::profile::{UpdateChoice, UpdateMethod};
use crate::firstline::settings::{BooleanForm, ClearForm};
use crate::store::{Store, StoreError};
use crate::sync::engine::{UPDATE_SEMANTICS, keep_shown};
use crate::sync::journal::TAGS;
use crate::sync::ports::{Cause, ContactTarget};
use crate::sync::trial::LISTS_KEPT;

/// Profile key under which scratch records are written down while they exist.
const SCRATCHES: &str = "probe_scratches";
/// Profile key of the method with which it was seen what updates do.
const SEMANTICS_METHOD: &str = "update_semantics_seen_with";

struct StateLedger<'a>(&'a Store);

impl Ledger for StateLedger<'_> {
    async fn write(&self, scratches: &[Scratch]) -> Result<(), Cause> {
        let rows: Vec<Value> = scratches.iter().map(Scratch::json).collect();
        self.0.profile_put(SCRATCHES, &Value::Array(rows)).await.map_err(Cause::from)
    }
}

/// A probe that ended, with what it cost.
#[derive(Debug)]
pub struct Probed {
    /// How it ended.
    pub ended: Ended,
    /// Requests sent.
    pub requests: u64,
    /// Whether what it found out is the profile now: only a probe that came to its end replaces what an earlier one found.
    pub stored: bool,
}

/// Does a probe and keeps what it found out.
pub async fn run(
    settings: &Settings,
    store: &Store,
    around: &Surroundings,
    max_wait: Duration,
) -> Result<Probed, AppError> {
    let known = learned(store).await?;
    let (target, http) = connect_firstline(settings, &known, around)?;
    // A signal ends the probe, and must not end its cleaning up.
    let unstopped = Surroundings { stop: CancellationToken::new(), ..around.clone() };
    let (cleanup, cleanup_http) = connect_firstline(settings, &known, &unstopped)?;
    let probe_settings = ProbeSettings {
        max_wait,
        settle: settings.identity.settle,
        time_zone: settings.firstline.time_zone.clone(),
        stamp_column: settings.identity.stamp.cz_col,
        fixed_method: fixed_method(&settings.firstline),
    };
    let earlier = store.profile_get(SCRATCHES).await?;
    let earlier = earlier.iter().flat_map(|rows| rows.as_array().into_iter().flatten());
    let earlier: Vec<Scratch> = earlier.filter_map(Scratch::from_json).collect();
    let doors = (target.as_ref(), cleanup.as_ref());
    let ended =
        probe(doors, &StateLedger(store), earlier, probe_settings, Arc::clone(&around.clock), around.stop.clone())
            .await;
    let stored = ended.failure.is_none();
    // What its scratch customers were shown with holds, however it ended.
    keep_shown(store, target.shown()).await?;
    if stored {
        keep(settings, store, &ended.report, around.clock.now().0).await?;
    }
    Ok(Probed { ended, requests: http.counts().requests + cleanup_http.counts().requests, stored })
}

/// Stores what a probe found out. What runs find out themselves about the method is only replaced by what is known; what
/// updates do is taken back where this probe could not tell, because the worse case is the safe one.
async fn keep(settings: &Settings, store: &Store, report: &TenantReport, at_ms: i64) -> Result<(), StoreError> {
    let mut row = report.json();
    row["at"] = json!(at_ms);
    store.profile_put(PROFILE_KEY, &row).await?;
    let method = report.word(Question::UpdateMethod);
    if let Some(method) = method {
        store.profile_put(super::UPDATE_METHOD, &json!(method)).await?;
    }
    let semantics = report.word(Question::UpdateSemantics);
    let seen_with = fixed_method(&settings.firstline).map(UpdateMethod::as_str).or(method);
    store.profile_put(UPDATE_SEMANTICS, &json!(semantics)).await?;
    store.profile_put(SEMANTICS_METHOD, &json!(semantics.and(seen_with))).await?;
    // A partial update was seen to leave tags alone; companies cannot be made to try it on.
    let kept = if semantics == Some("partial") { json!({ TAGS: true }) } else { Value::Null };
    store.profile_put(LISTS_KEPT, &kept).await
}

/// The update method that the operator fixed.
fn fixed_method(config: &FirstLineConfig) -> Option<UpdateMethod> {
    match config.update_method {
        settings::UpdateMethod::Auto => None,
        settings::UpdateMethod::PostBody => Some(UpdateMethod::PostBody),
        settings::UpdateMethod::PostQuery => Some(UpdateMethod::PostQuery),
        settings::UpdateMethod::Put => Some(UpdateMethod::Put),
    }
}

fn method_of(update: UpdateChoice) -> Option<&'static str> {
    match update {
        UpdateChoice::Open => None,
        UpdateChoice::Found(method) | UpdateChoice::Fixed(method) => Some(method.as_str()),
    }
}

/// Forgets what updates do where it was seen with another method than the one that is used now.
pub(super) async fn forget_other_method(store: &Store, update: UpdateChoice) -> Result<(), StoreError> {
    let seen_with = store.profile_get(SEMANTICS_METHOD).await?;
    let seen_with = seen_with.as_ref().and_then(Value::as_str);
    if let (Some(seen_with), Some(used)) = (seen_with, method_of(update))
        && seen_with != used
    {
        tracing::info!(seen_with, used, "what updates leave out has to be looked at again");
        for key in [UPDATE_SEMANTICS, SEMANTICS_METHOD, LISTS_KEPT] {
            store.profile_put(key, &Value::Null).await?;
        }
    }
    Ok(())
}

/// Notes with which method a run saw what updates do.
pub(super) async fn note_method(store: &Store, update: UpdateChoice) -> Result<(), StoreError> {
    let known =
        async |key: &str| Ok::<_, StoreError>(store.profile_get(key).await?.is_some_and(|value| !value.is_null()));
    if let Some(used) = method_of(update)
        && known(UPDATE_SEMANTICS).await?
        && !known(SEMANTICS_METHOD).await?
    {
        store.profile_put(SEMANTICS_METHOD, &json!(used)).await?;
    }
    Ok(())
}

/// What the latest probe found out, if there was one.
pub async fn stored(store: &Store) -> Result<Option<TenantReport>, StoreError> {
    Ok(store.profile_get(PROFILE_KEY).await?.as_ref().map(TenantReport::from_json))
}

/// Rows a page to ask for.
pub(super) fn per_page(config: &FirstLineConfig, report: &TenantReport) -> u32 {
    let found = || report.number(Question::PerPageMax).and_then(|found| u32::try_from(found).ok());
    config.per_page.or_else(found).unwrap_or(settings::USUAL_PER_PAGE)
}

/// How yes and no are written.
pub(super) fn boolean_form(config: &FirstLineConfig, report: &TenantReport) -> BooleanForm {
    match (config.boolean_form, report.word(Question::BooleanForm)) {
        (settings::BooleanForm::Bool, _) | (settings::BooleanForm::Auto, Some("bool")) => BooleanForm::TrueFalse,
        (settings::BooleanForm::Text, _) | (settings::BooleanForm::Auto, Some("text")) => BooleanForm::Text,
        (settings::BooleanForm::Number | settings::BooleanForm::Auto, _) => BooleanForm::OneZero,
    }
}

/// How a field is emptied.
pub(super) fn clear_form(config: &FirstLineConfig, report: &TenantReport) -> ClearForm {
    match (config.clear_form, report.word(Question::ClearForm)) {
        (settings::ClearForm::Empty, _) | (settings::ClearForm::Auto, Some("empty")) => ClearForm::EmptyText,
        (settings::ClearForm::Auto, Some("left_out")) => ClearForm::LeftOut,
        // With `leave` nothing is cleared, so the form of clearing is never used.
        (settings::ClearForm::Null | settings::ClearForm::Leave | settings::ClearForm::Auto, _) => ClearForm::Null,
    }
}

/// Where the configuration says something else than a probe found; the configuration holds.
pub fn differences(settings: &Settings, report: &TenantReport) -> Vec<String> {
    let config = &settings.firstline;
    let method = fixed_method(config).map(UpdateMethod::as_str);
    let boolean = match config.boolean_form {
        settings::BooleanForm::Auto => None,
        settings::BooleanForm::Number => Some("number"),
        settings::BooleanForm::Bool => Some("bool"),
        settings::BooleanForm::Text => Some("text"),
    };
    let clear = match config.clear_form {
        settings::ClearForm::Auto | settings::ClearForm::Leave => None,
        settings::ClearForm::Null => Some("null"),
        settings::ClearForm::Empty => Some("empty"),
    };
    let words = [
        ("update_method", method, Question::UpdateMethod),
        ("boolean_form", boolean, Question::BooleanForm),
        ("clear_form", clear, Question::ClearForm),
    ];
    let mut found = Vec::new();
    for (key, fixed, question) in words {
        if let (Some(fixed), Some(probed)) = (fixed, report.word(question))
            && fixed != probed
            // A form that works as well is no difference.
            && !works_as_well(report, question, fixed)
        {
            found.push(format!(
                "firstline.{key} is \"{fixed}\", and the probe found \"{probed}\"; the configuration holds: \"auto\" takes what \
                 was found"
            ));
        }
    }
    if let (Some(fixed), Some(most)) = (config.per_page, report.number(Question::PerPageMax))
        && u64::from(fixed) > most
    {
        found.push(format!(
            "firstline.per_page is {fixed}, and the probe found that FIRST LINE gives {most} at most; the configuration holds: \
             \"auto\" takes what was found"
        ));
    }
    let (lag, settle) = (report.number(Question::SearchLagMs).map(Duration::from_millis), settings.identity.settle);
    if let Some(lag) = lag.filter(|lag| *lag > settle)
        && report.detail_of(Question::SearchLagMs) == Some(LATE)
    {
        let [settle, seconds] = [settle, Duration::from_secs(lag.as_secs() + 1)].map(humantime::format_duration);
        found.push(format!(
            "identity.settle is {settle}, and the probe found that search shows a new customer only after {} ms: earlier looks \
             are in vain; write identity.settle = \"{seconds}\"",
            lag.as_millis()
        ));
    }
    found
}

/// Whether the detail of an answer names the fixed form among those that work.
fn works_as_well(report: &TenantReport, question: Question, fixed: &str) -> bool {
    let detail = report.detail_of(question).unwrap_or_default();
    match question {
        Question::ClearForm => {
            let name = if fixed == "empty" { "\"\"" } else { fixed };
            detail.contains(&format!("{name}: standard fields emptied, custom fields emptied"))
        }
        _ => detail.split([':', ',', ' ']).any(|word| word == fixed),
    }
}

/// A filter that this configuration needs and this tenant does not follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// What is done instead.
    pub instead: &'static str,
}

/// Look-ups without a filter on the stamp.
const LISTS_INSTEAD: &str = "instead contacts without a link are looked up in FIRST LINE's own list, read once a run and compared \
                             here, and a create in doubt is looked for by reading the ids above the highest known one \
                             (identity.id_walk_limit)";

/// The filters that this configuration needs and this tenant does not follow, as far as the report knows.
pub fn missing(settings: &Settings, report: &TenantReport) -> Vec<Missing> {
    let stamp = &settings.identity.stamp;
    let number_fails = stamp.membership_no.is_some() && report.is_useless(StampFilter::MembershipNo);
    let column_fails =
        stamp.cz_col.is_some() && report.is_useless(StampFilter::Brackets) && report.is_useless(StampFilter::Json);
    let verb = |question| if report.word(question) == Some("refused") { "refuses" } else { "ignores" };
    let mut found = Vec::new();
    if number_fails {
        found.push(Missing {
            what: format!(
                "FIRST LINE {} the filter on membership_no, which the stamp needs",
                verb(Question::FilterMembershipNo)
            ),
            instead: if stamp.cz_col.is_some() && !column_fails {
                "instead the stamp is looked up by its custom field"
            } else {
                LISTS_INSTEAD
            },
        });
    }
    if column_fails {
        found.push(Missing {
            what: format!(
                "FIRST LINE {} the filter on custom fields, which the stamp needs",
                verb(Question::FilterColumn)
            ),
            instead: if stamp.membership_no.is_some() && !number_fails {
                "instead the stamp is looked up by membership_no"
            } else {
                LISTS_INSTEAD
            },
        });
    }
    let address_fails = matches!(report.word(Question::FilterAddress), Some("ignored" | "refused"));
    if address_fails && settings.identity.match_keys.contains(&MatchKey::Email) {
        found.push(Missing {
            what: format!(
                "FIRST LINE {} the filter on e-mail addresses, which identity.match needs",
                verb(Question::FilterAddress)
            ),
            instead: "instead the whole list of e-mails is read and compared here",
        });
    }
    found
}

/// The report as lines for people.
pub fn lines(report: &TenantReport) -> Vec<String> {
    let line = |question: &Question| {
        let answer = match report.reading(*question)? {
            Reading::Known(Value::String(word)) => word.clone(),
            Reading::Known(Value::Bool(yes)) => String::from(if *yes { "yes" } else { "no" }),
            Reading::Known(value) => value.to_string(),
            Reading::Unknown(reason) => format!("unknown: {reason}"),
        };
        let detail = report.detail_of(*question).map(|detail| format!("  ({detail})")).unwrap_or_default();
        Some(format!("{:<36}{answer}{detail}", question.title()))
    };
    Question::ALL.iter().filter_map(line).collect()
}
