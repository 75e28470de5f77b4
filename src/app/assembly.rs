//! The parts of a run, put together from settings and platforms.

use std::sync::Arc;

use super::{Platforms, Run, Sides, Surroundings, deletes};
use crate::config::settings::{self, Settings};
use crate::domain::ids::RunId;
use crate::mapping::Mapping;
use crate::store::{Store, StoreError};
use crate::sync::engine::{Engine, EngineSettings, MatchKey, SharedKeys};
use crate::sync::failures::FailurePolicy;
use crate::sync::pipeline::Pipeline;
use crate::sync::ports::{ContactSource, ContactTarget};
use crate::sync::stamp::StampScheme;

/// Contacts worked on per request that may be under way: while two wait for the disk, one can send.
const JOBS_PER_REQUEST: usize = 3;

/// Where the stamp is written.
pub fn stamp_scheme(settings: &Settings) -> StampScheme {
    StampScheme {
        membership_prefix: settings.identity.stamp.membership_no.clone(),
        custom_field: settings.identity.stamp.cz_col,
    }
}

/// A run over both platforms, ready to begin.
pub async fn pipeline(
    settings: &Settings,
    platforms: &Platforms,
    store: Store,
    mapping: Mapping,
    around: &Surroundings,
    run: RunId,
) -> Result<Run, StoreError> {
    let engine = engine(settings, platforms, store, mapping, around, run).await?;
    Ok(pipeline_of(settings, Arc::clone(&platforms.livedesk), engine))
}

/// A run of this engine.
pub fn pipeline_of<S: ContactSource, T: ContactTarget>(
    settings: &Settings,
    source: Arc<S>,
    engine: Engine<T>,
) -> Pipeline<S, T> {
    Pipeline::new(source, Arc::new(engine), settings.sweep.max_rounds).with_overlap(settings.service.overlap)
}

/// The engine of one run.
pub async fn engine<P: Sides>(
    settings: &Settings,
    platforms: &P,
    store: Store,
    mapping: impl Into<Arc<Mapping>>,
    around: &Surroundings,
    run: RunId,
) -> Result<Engine<P::Target>, StoreError> {
    platforms.before_run(&store).await?;
    engine_over(settings, Arc::clone(platforms.target()), store, mapping, around, run).await
}

/// The engine of one run over this target.
pub(super) async fn engine_over<T: ContactTarget>(
    settings: &Settings,
    target: Arc<T>,
    store: Store,
    mapping: impl Into<Arc<Mapping>>,
    around: &Surroundings,
    run: RunId,
) -> Result<Engine<T>, StoreError> {
    Engine::new(
        target,
        store,
        mapping.into(),
        stamp_scheme(settings),
        engine_settings(settings, around),
        Arc::clone(&around.clock),
        Arc::clone(&around.progress),
        around.stop.clone(),
        run,
    )
    .await
}

/// The engine's part of the settings.
pub(super) fn engine_settings(settings: &Settings, around: &Surroundings) -> EngineSettings {
    let identity = &settings.identity;
    EngineSettings {
        match_keys: identity
            .match_keys
            .iter()
            .map(|key| match key {
                settings::MatchKey::Email => MatchKey::Email,
                settings::MatchKey::Phone => MatchKey::Phone,
            })
            .collect(),
        shared_keys: match identity.shared_keys {
            settings::SharedKeys::Create => SharedKeys::Create,
            settings::SharedKeys::Conflict => SharedKeys::Conflict,
        },
        settle: identity.settle,
        doubt_horizon: identity.doubt_horizon,
        id_walk_limit: usize::try_from(identity.id_walk_limit).unwrap_or(usize::MAX),
        doubts_in_a_row: identity.doubts_in_a_row,
        phone_country: identity.phone_country,
        clears: settings.firstline.clear_form != settings::ClearForm::Leave,
        failures: FailurePolicy {
            retry_first: settings.failures.retry_first,
            retry_ceiling: settings.failures.retry_ceiling,
            poison_after: settings.failures.poison_after,
        },
        jobs: settings.firstline.limits.concurrency * JOBS_PER_REQUEST,
        wait: !around.no_wait && !around.leaves_doubts,
        deletes: deletes::rules(&settings.deletes),
    }
}
