//! The drift gate's way through the state: what the last run knew of the definitions, and what this one is to keep.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::compile_with;
use crate::config::Problems;
use crate::config::mapping_file::MappingSource;
use crate::config::settings::Settings;
use crate::domain::base::{Base, value_digest};
use crate::domain::field::FieldDefinition;
use crate::domain::ids::LiveDeskId;
use crate::domain::record::{FieldKey, canonical_choice};
use crate::mapping::Mapping;
use crate::mapping::drift::{Gate, Known, gate, lost_options};
use crate::mapping::spec::MappingSpec;
use crate::store::{Store, StoreError};

/// Profile keys: the custom fields that the last run's mapping wrote, and which of them stopped, in words.
const MAPPED: &str = "mapped_fields";
const STOPPED: &str = "stopped_fields";
/// Links that are read at once.
const LINKS: u32 = 1_000;

/// Why there is no mapping to run with.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The mapping file.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The mapping of a run: compiled, without the fields whose definitions have drifted. Keeps what the next run compares with.
pub async fn mapping(
    settings: &Settings,
    source: &MappingSource,
    definitions: &[FieldDefinition],
    store: &Store,
) -> Result<Mapping, GateError> {
    let spec: MappingSpec = source.parse()?;
    let gate = examine(&spec, definitions, store).await?;
    let mapping = compiled(settings, source, &gate)?;
    store.save_definitions(&gate.kept).await?;
    store.profile_put(MAPPED, &json!(mapping.used_definitions())).await?;
    store.profile_put(STOPPED, &json!(mapping.stopped())).await?;
    Ok(mapping)
}

/// The mapping that a run would have now. Writes nothing.
pub async fn preview(
    settings: &Settings,
    source: &MappingSource,
    definitions: &[FieldDefinition],
    store: &Store,
) -> Result<Mapping, GateError> {
    let gate = examine(&source.parse()?, definitions, store).await?;
    Ok(compiled(settings, source, &gate)?)
}

fn compiled(settings: &Settings, source: &MappingSource, gate: &Gate) -> Result<Mapping, Problems> {
    Ok(compile_with(settings, source, &gate.spec, Some(&gate.definitions))?.without(gate.stopped()))
}

/// Compares the definitions with those of the last run. Writes nothing.
pub async fn examine(spec: &MappingSpec, definitions: &[FieldDefinition], store: &Store) -> Result<Gate, StoreError> {
    let in_use = store.profile_get(MAPPED).await?.and_then(|ids| serde_json::from_value(ids).ok()).unwrap_or_default();
    let known = Known { definitions: store.definitions().await?, in_use };
    let written = written(lost_options(definitions, &known), store).await?;
    Ok(gate(spec, definitions, &known, &written))
}

/// Takes the definitions as they are now: what has changed since the last run is no drift any more.
pub async fn accept(definitions: &[FieldDefinition], store: &Store) -> Result<(), StoreError> {
    store.save_definitions(definitions).await?;
    store.profile_put(STOPPED, &json!([])).await
}

/// What stopped in the last run, in words.
pub async fn stopped(store: &Store) -> Result<Vec<String>, StoreError> {
    let stopped = store.profile_get(STOPPED).await?;
    Ok(stopped.and_then(|stopped| serde_json::from_value(stopped).ok()).unwrap_or_default())
}

/// Those of `options` that some record of ours was last given. The state keeps digests, which is enough to ask.
async fn written(options: Vec<(i64, Value)>, store: &Store) -> Result<Vec<(i64, Value)>, StoreError> {
    let digest = |option: &Value| value_digest(store.hash_key(), Some(&canonical_choice(option)));
    let mut wanted: Vec<_> = options.into_iter().map(|(id, option)| (id, digest(&option), option)).collect();
    let mut found = Vec::new();
    let mut after = LiveDeskId(-1);
    while !wanted.is_empty() {
        let links = store.links_page(after, LINKS).await?;
        let Some(last) = links.last() else { break };
        after = last.livedesk_id;
        let mut held = BTreeSet::new();
        for base in links.iter().filter_map(|link| Base::decode(&link.base)) {
            let of = |id: i64| base.fields.get(&FieldKey::Custom(id));
            held.extend(
                wanted
                    .iter()
                    .filter(|(id, digest, _)| of(*id).is_some_and(|base| base.desired == *digest))
                    .map(|(id, _, option)| (*id, canonical_choice(option))),
            );
        }
        let (yes, no) = wanted.into_iter().partition(|(id, _, option)| held.contains(&(*id, canonical_choice(option))));
        found.extend(Vec::<(i64, _, Value)>::into_iter(yes).map(|(id, _, option)| (id, option)));
        wanted = no;
    }
    Ok(found)
}
