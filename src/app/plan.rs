//! Planning: the real pipeline over a copy of the state, with a target that writes down instead of writing.
//!
//! `format` is the plan as lines, `draft` makes them, `guard` holds a run against them (`reading` reads, `deed` compares), `copy`
//! is the state to plan on.

pub mod copy;
pub mod deed;
pub mod draft;
pub mod format;
pub mod guard;
mod reading;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Platforms, Sides, Surroundings, accounts, engine_over, pipeline_of};
use crate::config::settings::Settings;
use crate::domain::hash::HashKey;
use crate::domain::ids::RunId;
use crate::domain::record::FieldKey;
use crate::firstline::target::FirstLine;
use crate::livedesk::source::LiveDesk;
use crate::mapping::Mapping;
use crate::store::{Store, StoreError};
use crate::sync::overseer::Overseer;
use crate::sync::pipeline::Pipeline;
use crate::sync::recording::Recording;
use format::{FORMAT, Header, owner_word};

/// A FIRST LINE that is not written to.
pub type PlanTarget = Recording<FirstLine>;

/// A run that writes nothing to FIRST LINE.
pub type PlanRun = Pipeline<LiveDesk, PlanTarget>;

/// The pipeline of a plan, and what it would ask of FIRST LINE.
pub async fn pipeline(
    settings: &Settings,
    platforms: &Platforms,
    store: Store,
    mapping: impl Into<Arc<Mapping>>,
    around: &Surroundings,
    (run, overseer): (RunId, Arc<dyn Overseer>),
) -> Result<(PlanRun, Arc<PlanTarget>), StoreError> {
    let target = Arc::new(Recording::over(Arc::clone(&platforms.firstline)));
    // A plan has nothing to wait for: what is in doubt is shown as that.
    let around = Surroundings { leaves_doubts: true, ..around.clone() };
    platforms.before_run(&store).await?;
    let engine = engine_over(settings, Arc::clone(&target), store, mapping, &around, run).await?;
    let pipeline = pipeline_of(settings, Arc::clone(&platforms.livedesk), engine.overseen_by(overseer));
    Ok((pipeline, target))
}

/// What a plan of this configuration says of itself.
pub fn header(settings: &Settings, mapping: &Mapping, key: &HashKey, made_at: i64) -> Header {
    let bound = accounts(settings);
    let owners = mapping.owners().into_iter().map(|(line, owner)| (line, owner_word(owner).to_owned())).collect();
    Header {
        deskferry_plan: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: jiff::Timestamp::from_millisecond(made_at).map_or_else(|_| String::new(), |at| at.to_string()),
        state: key.digest("plan", "state").to_string(),
        livedesk: bound.livedesk,
        firstline: bound.firstline,
        mapping: mapping.version().to_owned(),
        selection: mapping.selection().to_owned(),
        tags: mapping.tags_text(),
        owners,
        settings: decisive(settings),
        stopped: mapping.stopped(),
        sweep: None,
        masked: true,
    }
}

/// The settings that decide what a run does with a contact.
fn decisive(settings: &Settings) -> BTreeMap<String, String> {
    let (identity, deletes) = (&settings.identity, &settings.deletes);
    let keys: Vec<&str> = identity.match_keys.iter().map(|key| key.word()).collect();
    let none = || String::from("none");
    let stamp = &identity.stamp;
    let membership = stamp.membership_no.as_ref().map(|prefix| format!("membership_no {prefix}"));
    let column = stamp.cz_col.map(|id| FieldKey::Custom(id).to_string());
    let stamp: Vec<String> = membership.into_iter().chain(column).collect();
    [
        ("identity.stamp", stamp.join(", ")),
        ("identity.match", keys.join(", ")),
        ("identity.shared_keys", identity.shared_keys.word().to_owned()),
        ("identity.phone_country", identity.phone_country.to_string()),
        ("firstline.clear_form", settings.firstline.clear_form.word().to_owned()),
        ("deletes.policy", deletes.policy.word().to_owned()),
        ("deletes.absences", deletes.absences.to_string()),
        ("deletes.ceiling", deletes.ceiling.to_string()),
        ("deletes.ceiling_percent", deletes.ceiling_percent.map_or_else(none, |percent| percent.to_string())),
        ("deletes.grace", humantime::format_duration(deletes.grace).to_string()),
        ("deletes.tag", deletes.tag.clone().unwrap_or_else(none)),
        ("deletes.field", deletes.field.map_or_else(none, |id| id.to_string())),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// The names of custom fields, by id.
pub async fn field_names(store: &Store) -> Result<BTreeMap<i64, String>, StoreError> {
    let fields = store.definitions().await?.into_iter();
    Ok(fields.map(|field| (field.id, format!("{} / {}", field.category, field.name))).collect())
}
