//! The real program as a process of its own, for scenarios that kill it. Both platforms live in the test process and
//! survive.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::World;

/// A process that needs longer than this hangs.
const HANGS: Duration = Duration::from_mins(2);
/// Between two looks at what a process has done so far.
const LOOK: Duration = Duration::from_millis(1);

/// A running `deskferry`.
pub(crate) struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// A `deskferry` that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// The exit code; none when it was killed.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Whether it said this, on either stream.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.out.contains(text) || self.err.contains(text)
    }

    /// The answer to `--json`.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl World {
    /// Starts `deskferry --config ... ARGS` with nothing of this process's environment.
    pub(crate) fn spawn(&self, args: &[&str]) -> Process {
        self.spawn_beside("", &[], args)
    }

    /// The same beside another process (its output goes to files of its own), with these variables.
    pub(crate) fn spawn_beside(&self, name: &str, env: &[(&str, &str)], args: &[&str]) -> Process {
        self.started(Command::new(env!("CARGO_BIN_EXE_deskferry")), name, env, args)
    }

    /// The same as `spawn`, by way of a program that becomes the one it is told to start.
    pub(crate) fn spawn_under(&self, program: &[&str], args: &[&str]) -> Process {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(env!("CARGO_BIN_EXE_deskferry"));
        self.started(command, "", &[], args)
    }

    fn started(&self, mut command: Command, name: &str, env: &[(&str, &str)], args: &[&str]) -> Process {
        let config = self.write_files();
        let (out, err) = (self.folder().join(format!("{name}stdout")), self.folder().join(format!("{name}stderr")));
        let child = command
            .arg("--config")
            .arg(config)
            .args(args)
            .env_clear()
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Process { child, out, err }
    }

    /// Runs `deskferry` to its end.
    pub(crate) async fn command(&self, args: &[&str]) -> Ended {
        self.spawn(args).end().await
    }
}

impl Process {
    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Ended {
        let waited = timeout(HANGS, self.child.wait()).await;
        let (out, err) = (fs::read_to_string(&self.out).unwrap(), fs::read_to_string(&self.err).unwrap());
        let Ok(status) = waited else { panic!("it hangs; stdout: {out}\nstderr: {err}") };
        Ended { status: status.unwrap(), out, err }
    }

    /// Lets it run until `reached`; false when it ended before.
    pub(crate) async fn until(&mut self, mut reached: impl FnMut() -> bool) -> bool {
        while !reached() {
            if timeout(LOOK, self.child.wait()).await.is_ok() {
                return false;
            }
        }
        true
    }

    /// Lets it run for a while; false when it ended before.
    pub(crate) async fn run_for(&mut self, time: Duration) -> bool {
        timeout(time, self.child.wait()).await.is_err()
    }

    /// Kills it: it cannot do anything about it.
    pub(crate) async fn kill(mut self) -> Ended {
        self.child.start_kill().unwrap();
        self.end().await
    }

    /// Sends it a signal by name, such as `INT`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs");
        let sent = Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status().await.unwrap();
        assert!(sent.success());
    }

    /// Its number, while it runs.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// What it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }
}
