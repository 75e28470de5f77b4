//! Putting a comparison together: both platforms, the mapping as a run would have it, and the state, if there is one, to read.

use std::sync::Arc;

use tempfile::TempDir;

use super::{
    AppError, Learned, Platforms, Surroundings, accounts, compile_mapping, connect, engine_settings, gate, learned,
    read_state, stamp_scheme,
};
use crate::beside;
use crate::config::Problems;
use crate::config::load::Loaded;
use crate::domain::ids::RunId;
use crate::firstline::target::FirstLine;
use crate::livedesk::source::LiveDesk;
use crate::mapping::Mapping;
use crate::store::{Access, Accounts, Side, Store, StoreError};
use crate::sync::engine::{Engine, RunError};
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::verify::{Options, Verifier};

/// A comparison that is ready to begin.
pub struct Comparison {
    /// What compares.
    pub verifier: Verifier<LiveDesk, FirstLine>,
    /// Both platforms.
    pub platforms: Platforms,
    /// Version of the mapping.
    pub mapping_version: String,
    /// The addresses of both accounts.
    pub accounts: Accounts,
    /// Why there is no state to explain differences; `None` where there is one.
    pub without_state: Option<&'static str>,
    store: Store,
    /// Where the key of the digests lives, where there is no state; gone with this.
    _folder: Option<TempDir>,
}

/// Why there is nothing to compare with.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The parts.
    #[error(transparent)]
    App(#[from] AppError),
    /// The mapping file.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The mapping, and the state that it is held against.
    #[error(transparent)]
    Gate(#[from] gate::GateError),
    /// A platform.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder for a comparison without a state.
    #[error("no temporary folder could be made; TMPDIR names where")]
    Folder(#[source] std::io::Error),
}

impl From<PortError> for VerifyError {
    fn from(error: PortError) -> Self {
        Self::Run(error.into())
    }
}

impl Comparison {
    /// Connects both sides. Writes to neither, and not to the state. With `ignore_state` the state does not even explain.
    pub async fn prepare(
        loaded: &Loaded,
        around: &Surroundings,
        options: Options,
        ignore_state: bool,
    ) -> Result<Self, VerifyError> {
        let settings = &loaded.settings;
        let offline = compile_mapping(settings, &loaded.mapping, None)?;
        let accounts = accounts(settings);
        let (state, why_not) = match read_state(&settings.state.path, Arc::clone(&around.clock)).await {
            Ok(store) => {
                is_of(&store, &accounts).await?;
                (Some(store), None)
            }
            Err(AppError::Store(StoreError::Missing { .. })) => (None, Some("there is no state")),
            Err(AppError::Store(StoreError::Older { .. })) => {
                (None, Some("the state is of an earlier version of deskferry; any run brings it up to date"))
            }
            Err(error) => return Err(error.into()),
        };
        let known = match &state {
            Some(store) => learned(store).await?,
            None => Learned::default(),
        };
        let platforms = connect(settings, offline.needs_inboxes(), &known, around)?;
        let definitions = platforms.firstline.definitions().await?;
        let mapping: Mapping = match &state {
            Some(store) => gate::preview(settings, &loaded.mapping, &definitions, store).await?,
            None => compile_mapping(settings, &loaded.mapping, Some(&definitions))?,
        };
        let mapping_version = mapping.version().to_owned();
        let without_state = why_not.or(ignore_state.then_some("--ignore-state"));
        let beside = beside::folder(&settings.state.path).to_owned();
        let (store, folder) = if let Some(store) = state {
            (store, None)
        } else {
            let folder = tempfile::tempdir_in(&beside).or_else(|_| tempfile::tempdir());
            let folder = folder.map_err(VerifyError::Folder)?;
            let access = Access::Exclusive { holder: String::from("verify") };
            let path = folder.path().join("empty.db");
            (Store::open(&path, access, Arc::clone(&around.clock)).await?, Some(folder))
        };
        let engine = Engine::new(
            Arc::clone(&platforms.firstline),
            store.clone(),
            Arc::new(mapping),
            stamp_scheme(settings),
            engine_settings(settings, around),
            Arc::clone(&around.clock),
            Arc::clone(&around.progress),
            around.stop.clone(),
            RunId(0),
        )
        .await?;
        let source = Arc::clone(&platforms.livedesk);
        let verifier = Verifier::new(source, engine, without_state.is_none(), options, &beside).await?;
        Ok(Self { verifier, platforms, mapping_version, accounts, without_state, store, _folder: folder })
    }

    /// Closes the state.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// Refuses a state of other accounts: what it says of these contacts would be about others.
async fn is_of(store: &Store, given: &Accounts) -> Result<(), StoreError> {
    let Some(bound) = store.bound_accounts().await? else { return Ok(()) };
    let sides =
        [(Side::LiveDesk, bound.livedesk, &given.livedesk), (Side::FirstLine, bound.firstline, &given.firstline)];
    match sides.into_iter().find(|(_, bound, given)| bound != *given) {
        None => Ok(()),
        Some((side, bound, given)) => Err(StoreError::OtherAccount { side, bound, given: given.clone() }),
    }
}
