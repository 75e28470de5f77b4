//! Where text leaves the program: results to standard output, the rest to standard error.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use crate::app::AppError;
use crate::app::gate::GateError;
use crate::config::Problems;
use crate::config::settings::Settings;
use crate::domain::causes::with_causes;
use crate::store::{self, StoreError};
use crate::sync::engine::RunError;
use crate::sync::ports::PortError;

/// Exit code: done, nothing left over.
pub const DONE: u8 = 0;
/// Exit code: done, but something is left over.
pub const LEFT_OVER: u8 = 1;
/// Exit code: could not run.
pub const COULD_NOT_RUN: u8 = 2;
/// Exit code: interrupted and resumable.
pub const INTERRUPTED: u8 = 130;

/// Why a command could not run, or did not: one message, or several problems.
#[derive(Debug)]
pub struct Failure {
    message: String,
    interrupted: bool,
    passing: bool,
}

impl Failure {
    /// A failure in words.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), interrupted: false, passing: false }
    }

    /// The exit code for it.
    pub fn code(&self) -> u8 {
        if self.interrupted { INTERRUPTED } else { COULD_NOT_RUN }
    }

    /// Whether it may pass by itself: another process has the state, or its disk is full. Starting again may help.
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// A failure with its whole chain of causes.
    pub fn chain(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(with_causes(error))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::new(problems.to_string())
    }
}

macro_rules! from_error {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::chain(&error)
            }
        })+
    };
}

from_error!(GateError, io::Error);

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { passing: error.is_passing(), ..Self::chain(&error) }
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        let passing = matches!(&error, AppError::Store(error) if error.is_passing());
        Self { passing, ..Self::chain(&error) }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self { interrupted: error.is_interruption(), ..Self::chain(&error) }
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        RunError::from(error).into()
    }
}

/// Prints a failure and gives the exit code for it. With `--json` standard output holds a document in every ending.
pub fn report(failure: &Failure, json: bool) -> ExitCode {
    if json {
        let error = failure.to_string();
        say(serde_json::json!({ "error": error, "exit_code": failure.code(), "interrupted": failure.interrupted }));
    }
    if failure.interrupted {
        note("interrupted; run the same command again to go on");
    } else {
        note(format_args!("error: {failure}"));
    }
    ExitCode::from(failure.code())
}

/// Why the result could not be written, the first time that it could not.
static LOST: OnceLock<String> = OnceLock::new();

/// A line of the result.
pub fn say(text: impl Display) {
    said(writeln!(io::stdout().lock(), "{text}"));
}

/// Notes how a write to standard output ended. A reader that went away (`| head`) is not our failure; a full disk is one.
pub fn said(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _the_first_counts = LOST.set(error.to_string());
    }
}

/// The exit code of a command that came to its end with this one, if its result arrived.
pub fn exit(code: u8) -> ExitCode {
    said(io::stdout().flush());
    match LOST.get() {
        Some(why) => {
            note(format_args!("error: the result could not be written to standard output: {why}"));
            ExitCode::from(if code == INTERRUPTED { code } else { COULD_NOT_RUN })
        }
        None => ExitCode::from(code),
    }
}

/// Refuses to write results to a file that this program lives on: what stands there would be lost.
pub fn not_over_ours(file: &Path, settings: &Settings) -> Result<(), Failure> {
    let state = ["", "-wal", "-shm", ".lock", ".login", ".login-turn"];
    let state = state.map(|suffix| store::beside(&settings.state.path, suffix));
    let given = placed(file);
    if state.iter().chain([&settings.file, &settings.mapping]).any(|ours| placed(ours) == given) {
        let why = "is a file that deskferry lives on: name another one; nothing was done";
        return Err(Failure::new(format!("{} {why}", file.display())));
    }
    Ok(())
}

/// Where a file is, or would be, however it is written.
fn placed(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let there = file.canonicalize().ok();
    let would = || Some(folder.canonicalize().ok()?.join(file.file_name()?));
    there.or_else(would).unwrap_or_else(|| file.to_owned())
}

/// A line beside the result.
pub fn note(text: impl Display) {
    let _reader_gone = writeln!(io::stderr().lock(), "{text}");
}
