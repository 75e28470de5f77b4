//! What the tests of the command line share: a sandbox in this process, a folder with a configuration for it, and the
//! real binary.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use deskferry::clock::SystemClock;
use deskferry::config::template;
use deskferry::sandbox::{Sandbox, SandboxConfig};
use deskferry::store::{Access, Accounts, Store};
use tempfile::TempDir;
use tokio::process::Command;

/// A folder to work in, and both platforms.
pub(crate) struct Desk {
    pub(crate) folder: TempDir,
    pub(crate) sandbox: Sandbox,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "does not say \"{text}\"\nstdout:\n{}\nstderr:\n{}",
            self.out,
            self.err
        );
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Desk {
    /// A small, well-behaved sandbox and a configuration that fits.
    pub(crate) async fn new() -> Self {
        let config = SandboxConfig { contacts: 20, edge_cases: false, ..SandboxConfig::default() };
        let desk = Self { folder: tempfile::tempdir().unwrap(), sandbox: Sandbox::start(config).await.unwrap() };
        desk.write("deskferry.toml", &desk.settings());
        desk.write("mapping.toml", template::MAPPING);
        desk
    }

    /// A configuration that fits the sandbox, with quick settling.
    pub(crate) fn settings(&self) -> String {
        format!(
            r#"mapping = "mapping.toml"

[livedesk]
base_url = "{}"
api_key = "sandbox-key"
api_secret = "sandbox-secret"
requests_per_second = 0
timeout = "5s"

[firstline]
base_url = "{}"
token = "sandbox-token"
requests_per_second = 0
timeout = "5s"

[state]
path = "state.db"

[identity]
stamp = {{ membership_no = "LD-" }}
settle = "10ms"
doubt_horizon = "1s"
"#,
            self.sandbox.livedesk_url(),
            self.sandbox.firstline_url()
        )
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Changes the configuration.
    #[track_caller]
    pub(crate) fn replace(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("deskferry.toml")).unwrap();
        assert!(text.contains(from), "{from}");
        self.write("deskferry.toml", &text.replacen(from, to, 1));
    }

    /// Files in the folder, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs the binary with this folder's configuration.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        let config = self.path("deskferry.toml");
        let mut all = vec!["--config", config.to_str().unwrap()];
        all.extend(arguments);
        deskferry(&all).await
    }

    /// Creates made at FIRST LINE since the start.
    pub(crate) fn creates(&self) -> u64 {
        self.sandbox.firstline().tally().contact_create
    }

    /// The state, opened for writing: locked for everyone else while it is held.
    pub(crate) async fn lock(&self) -> Store {
        let access = Access::Exclusive { holder: String::from("the test") };
        Store::open(&self.path("state.db"), access, Arc::new(SystemClock)).await.unwrap()
    }

    /// Makes a state that belongs to other accounts.
    pub(crate) async fn make_foreign_state(&self) {
        let store = self.lock().await;
        let livedesk = String::from("https://other.example/api/v2/accounts");
        let accounts = Accounts { livedesk, firstline: self.sandbox.firstline_url() };
        store.bind_accounts(&accounts).await.unwrap();
        store.close().await;
    }
}

/// Runs the binary, without any variable of ours or of a proxy.
pub(crate) async fn deskferry(arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskferry"));
    command.args(arguments).env_clear().kill_on_drop(true).stdin(std::process::Stdio::null());
    command.output().await.unwrap().into()
}
