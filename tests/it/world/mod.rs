//! The world of a scenario: both simulated platforms, a configuration and a state, and verbs to drive them.
//!
//! Runs happen in this process unless a scenario needs a real one to kill. At the end of every scenario the dumps of
//! both platforms are compared.

pub(crate) mod process;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deskferry::app::{self, Budgets, Surroundings, gate};
use deskferry::cli::compare::{Comparison, compare};
use deskferry::clock::{Clock, SystemClock};
use deskferry::config::load;
use deskferry::config::mapping_file::MappingSource;
use deskferry::config::settings::Settings;
use deskferry::http::observe::Watch;
use deskferry::mapping::Mapping;
use deskferry::sandbox::{Sandbox, SandboxConfig};
use deskferry::store::{RunResult, Store};
use deskferry::sync::engine::RunError;
use deskferry::sync::interlude::Interlude;
use deskferry::sync::pipeline::{Entrants, Preflight, RunEnd};
use deskferry::sync::ports::ContactTarget;
use deskferry::sync::progress::Silent;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The settings that every scenario begins with: no rate limit, short waits, everything else as an operator has it.
const SETTINGS: &str = r#"
mapping = "mapping.toml"
[livedesk]
base_url = "{livedesk}"
api_key = "sandbox-key"
api_secret = "sandbox-secret"
requests_per_second = 0.0
concurrency = 4
timeout = "5s"
throttle_wait = "20ms"
[firstline]
base_url = "{firstline}"
token = "sandbox-token"
requests_per_second = 0.0
concurrency = 8
timeout = "5s"
throttle_wait = "20ms"
[http]
retry_first = "1ms"
retry_ceiling = "20ms"
max_wait = "50ms"
[identity]
stamp = {stamp}
match = {match}
shared_keys = "{shared_keys}"
settle = "{settle}"
doubt_horizon = "{doubt_horizon}"
[ops]
listen = "127.0.0.1:0"
"#;

/// How often a state that is locked is opened again.
const LOCK_TRIES: u32 = 20;

/// What a scenario may set differently.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    pub(crate) stamp: &'static str,
    pub(crate) match_keys: &'static str,
    pub(crate) shared_keys: &'static str,
    pub(crate) settle: &'static str,
    pub(crate) doubt_horizon: &'static str,
    /// Settings that take the place of those above: pairs of text to find and text to put.
    pub(crate) instead: Vec<(&'static str, String)>,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            stamp: r#"{ membership_no = "LD-" }"#,
            match_keys: r#"["email", "phone"]"#,
            shared_keys: "create",
            settle: "10ms",
            doubt_horizon: "100ms",
            instead: Vec::new(),
        }
    }
}

/// Both platforms and everything a run needs.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) choices: Choices,
    pub(crate) mapping: String,
    pub(crate) clock: Arc<dyn Clock>,
    /// What may come between two pages.
    pub(crate) interlude: Option<Arc<dyn Interlude>>,
    pub(crate) stop: CancellationToken,
    pub(crate) wait: bool,
    pub(crate) requests: Option<Arc<dyn Watch>>,
    folder: TempDir,
}

impl World {
    /// Starts both platforms.
    pub(crate) async fn start(config: SandboxConfig) -> Self {
        Self {
            sandbox: Sandbox::start(config).await.unwrap(),
            choices: Choices::default(),
            mapping: std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mapping.toml"))
                .unwrap(),
            clock: Arc::new(SystemClock),
            interlude: None,
            stop: CancellationToken::new(),
            wait: true,
            requests: None,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A world with so many contacts and no faults.
    pub(crate) async fn with(contacts: u32) -> Self {
        Self::start(SandboxConfig { contacts, ..SandboxConfig::default() }).await
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn state_path(&self) -> PathBuf {
        self.folder.path().join("deskferry.db")
    }

    /// The text of the configuration file.
    pub(crate) fn config_text(&self) -> String {
        let choices = &self.choices;
        let mut text = SETTINGS
            .replace("{livedesk}", &self.sandbox.livedesk_url())
            .replace("{firstline}", &self.sandbox.firstline_url())
            .replace("{stamp}", choices.stamp)
            .replace("{match}", choices.match_keys)
            .replace("{shared_keys}", choices.shared_keys)
            .replace("{settle}", choices.settle)
            .replace("{doubt_horizon}", choices.doubt_horizon);
        for (from, to) in &choices.instead {
            assert!(text.contains(from), "{from} is not in the settings");
            text = text.replace(from, to);
        }
        text
    }

    /// Writes the configuration and mapping files, for a real process.
    pub(crate) fn write_files(&self) -> PathBuf {
        let path = self.folder.path().join("deskferry.toml");
        std::fs::write(&path, self.config_text()).unwrap();
        std::fs::write(self.folder.path().join("mapping.toml"), &self.mapping).unwrap();
        path
    }

    pub(crate) fn settings(&self) -> Settings {
        let path = self.folder.path().join("deskferry.toml");
        load::parse(&path, &self.config_text(), std::iter::empty()).unwrap()
    }

    pub(crate) fn mapping_source(&self) -> MappingSource {
        MappingSource::from_text(&self.folder.path().join("mapping.toml"), self.mapping.clone()).unwrap()
    }

    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings {
            clock: Arc::clone(&self.clock),
            progress: Arc::new(Silent),
            stop: self.stop.clone(),
            no_wait: !self.wait,
            budgets: Budgets::default(),
            requests: self.requests.clone(),
            leaves_doubts: false,
        }
    }

    /// The mapping, compiled against the definitions that FIRST LINE has now.
    pub(crate) async fn compiled(&self) -> Mapping {
        let settings = self.settings();
        let around = self.surroundings();
        let platforms = app::connect(&settings, false, &app::Learned::default(), &around).unwrap();
        let definitions = platforms.firstline.definitions().await.unwrap();
        app::compile_mapping(&settings, &self.mapping_source(), Some(&definitions)).unwrap()
    }

    pub(crate) async fn store(&self) -> Store {
        let mut tries = 0;
        loop {
            match app::open_state(&self.settings(), "scenario", Arc::clone(&self.clock)).await {
                // A process that another test is just starting has a hand on every lock of this one until it is itself.
                Err(error) if tries < LOCK_TRIES && format!("{error:?}").contains("Locked") => tries += 1,
                store => return store.unwrap(),
            }
        }
    }

    /// One run, from opening the state to closing it.
    pub(crate) async fn run(&self, entrants: Entrants) -> Result<(Preflight, RunEnd), RunError> {
        let settings = self.settings();
        let around = self.surroundings();
        let store = self.store().await;
        let learned = app::learned(&store).await.unwrap();
        let offline = app::compile_mapping(&settings, &self.mapping_source(), None).unwrap();
        let platforms = app::connect(&settings, offline.needs_inboxes(), &learned, &around).unwrap();
        let definitions = platforms.firstline.definitions().await.unwrap();
        let mapping = gate::mapping(&settings, &self.mapping_source(), &definitions, &store).await.unwrap();
        let run = store.begin_run("backfill", &json!({})).await.unwrap();
        let pipeline = app::pipeline(&settings, &platforms, store.clone(), mapping, &around, run).await.unwrap();
        let pipeline = match &self.interlude {
            Some(interlude) => pipeline.with_interlude(Arc::clone(interlude)),
            None => pipeline,
        };
        let end = match pipeline.preflight(&entrants).await {
            Ok(preflight) => Ok((preflight, pipeline.run(entrants).await)),
            Err(error) => Err(error),
        };
        let result = RunResult { exit_code: 0, verdict: None, counts: json!({}) };
        store.finish_run(run, result).await.unwrap();
        app::remember(&store, &platforms).await.unwrap();
        drop(pipeline);
        store.close().await;
        end
    }

    /// A backfill that must not fail.
    pub(crate) async fn backfill(&self) -> RunEnd {
        let (_, end) = self.run(Entrants::All).await.unwrap();
        assert!(end.failure.is_none(), "{:?}", end.failure);
        end
    }

    /// Compares the dumps of both sides.
    pub(crate) async fn compare(&self) -> Comparison {
        let settings = self.settings();
        compare(
            &self.sandbox.livedesk().dump(),
            &self.sandbox.firstline().dump(),
            &self.compiled().await,
            &app::stamp_scheme(&settings),
            settings.identity.phone_country,
        )
    }

    /// Nothing lost, nothing twice, nothing wrong.
    pub(crate) async fn assert_right(&self) {
        let found = self.compare().await;
        assert!(found.is_right(), "{found:?}");
    }
}
