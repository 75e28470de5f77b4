//! The command line: what can be asked for, and how the answer becomes an exit code.
//!
//! One file per command. Results go to standard output, everything else to standard error. Exit codes: 0 done; 1 done,
//! but records are left over; 2 could not run; 130 interrupted and resumable (design, section 6).

pub mod backfill;
pub mod check;
pub mod compare;
pub mod completions;
pub mod conflicts;
mod consent;
pub mod demo;
pub mod explain;
pub mod fields;
pub mod health;
pub mod init;
pub mod live;
pub mod man;
pub mod map;
pub mod mask;
pub mod near;
pub mod output;
pub mod pending;
pub mod plan;
pub mod probe;
pub mod progress;
pub mod retry;
pub mod run;
pub mod runs;
pub mod sandbox;
pub mod session;
pub mod signals;
pub mod state;
pub mod status;
pub mod summary;
pub mod sync;
pub mod undo;
pub mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

use crate::app::{self, AppError, Budgets, Surroundings};
use crate::clock::{Clock, SystemClock};
use crate::config::load::{Loaded, load, process_environment};
use crate::config::settings::{LogFormat, Settings};
use crate::store::{Store, StoreError};
use crate::sync::ports::PortError;
use crate::sync::progress::Progress;
use crate::telemetry;

pub use output::Failure;

/// Between two looks at a state that another process uses.
const LOOK: std::time::Duration = std::time::Duration::from_millis(500);

/// Carries every contact of a LiveDesk account into FIRST LINE and keeps both in step.
#[derive(Debug, Parser)]
#[command(
    name = "deskferry",
    version,
    about,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done; 1 done, but records are left over (set aside, parked, in conflict, sweep not \
                  proven); 2 could not run; 130 interrupted and resumable."
)]
pub struct Cli {
    /// The configuration file
    #[arg(long, global = true, env = "DESKFERRY_CONFIG", default_value = "config/deskferry.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Answer with one JSON document (JSON lines for lists) instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Fail instead of waiting: for a platform that is down, and for doubtful creates to be settled
    #[arg(long, global = true)]
    pub no_wait: bool,
    /// Wait until no other process uses the state, instead of being refused
    #[arg(long, global = true, conflicts_with = "no_wait")]
    pub wait: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write commented configuration and mapping files, never over existing ones
    Init(init::Args),
    /// Check configuration, credentials, permissions, definitions, mapping and state: every problem at once
    Check(check::Args),
    /// Settle on scratch contacts how this tenant of FIRST LINE behaves, and keep it for every later run
    Probe(probe::Args),
    /// List FIRST LINE's custom fields beside the LiveDesk attributes seen, with mapping lines to paste
    Fields(fields::Args),
    /// Try the mapping file: its own tests, or one contact step by step
    Map(map::Args),
    /// Show what a backfill would do, per contact and field, without a single write
    Plan(plan::Args),
    /// Carry every contact that LiveDesk lists into FIRST LINE
    Backfill(backfill::Args),
    /// Carry who wrote lately and who is new: one quick cycle, now
    Sync(sync::Args),
    /// Keep both platforms in step until stopped: the service
    Run(run::Args),
    /// Compare both platforms as they are now: missing, extra, differing, with reasons; writes to neither
    Verify(verify::Args),
    /// Try contacts that were set aside again, re-read from LiveDesk
    Retry(retry::Args),
    /// Take a run back: what it wrote, as far as nobody changed it since, and what it made
    Undo(undo::Args),
    /// Show where the migration stands; works while another process writes
    Status(status::Args),
    /// Ask the running service whether it is well: exit code 0 or 1, for health checks
    Health(health::Args),
    /// List the latest runs
    Runs(runs::Args),
    /// List contacts whose identity is in doubt, look at one, decide one or many
    Conflicts(conflicts::Args),
    /// Tell everything about one contact: what was done, when and why, and what the next run would do
    Explain(explain::Args),
    /// Look after the state file
    State(state::Args),
    /// Simulate both platforms on loopback until interrupted
    Sandbox(Box<sandbox::Args>),
    /// Show the whole story against the sandbox; needs no credentials
    Demo(demo::Args),
    /// Print shell completions
    Completions(completions::Args),
    /// Print a manual page, or write all of them
    Man(man::Args),
}

impl Command {
    /// A client that waits for two platforms and a disk is faster on one thread: nothing has to be handed from core to
    /// core. What simulates platforms takes all there are.
    fn runtime(&self) -> tokio::runtime::Builder {
        match self {
            Self::Sandbox(_) | Self::Demo(_) => tokio::runtime::Builder::new_multi_thread(),
            _ => tokio::runtime::Builder::new_current_thread(),
        }
    }
}

/// What every command may need.
pub struct Context {
    /// The configuration file.
    pub config: PathBuf,
    /// Whether to answer in JSON.
    pub json: bool,
    /// Whether to fail instead of waiting.
    pub no_wait: bool,
    /// Whether to wait for another process that uses the state.
    pub wait: bool,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Cancelled at the first signal.
    pub stop: CancellationToken,
    /// What the process may ask of each platform.
    pub budgets: Budgets,
}

impl Context {
    /// Reads the configuration and sets up the log as it says.
    pub fn load(&self) -> Result<Loaded, Failure> {
        let loaded = load(&self.config, process_environment()).map_err(Failure::from)?;
        let shape = match loaded.settings.log.format {
            LogFormat::Human => telemetry::Shape::Human,
            LogFormat::Json => telemetry::Shape::Json,
        };
        start_log(shape, loaded.settings.log.level)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        Ok(loaded)
    }

    /// The same, for a command that is going to connect: missing credentials are problems too.
    pub fn load_to_connect(&self) -> Result<Loaded, Failure> {
        able_to_connect(self.load()?)
    }

    /// What the parts of a run are given.
    pub fn surroundings(&self, progress: Arc<dyn Progress>) -> Surroundings {
        Surroundings {
            clock: Arc::clone(&self.clock),
            progress,
            stop: self.stop.clone(),
            no_wait: self.no_wait,
            budgets: self.budgets.clone(),
            requests: None,
            leaves_doubts: false,
        }
    }

    /// Opens the state to write. Where another process has it, that one is named; with `--wait` it is waited for.
    pub async fn open_state(&self, settings: &Settings, holder: &str) -> Result<Store, Failure> {
        let mut told = false;
        loop {
            match app::open_state(settings, holder, Arc::clone(&self.clock)).await {
                Err(AppError::Store(error @ StoreError::Locked { .. })) if self.wait => {
                    if !told {
                        output::note(format_args!("{error}; waiting until it ends"));
                        told = true;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => {}
                        () = self.stop.cancelled() => return Err(PortError::Interrupted.into()),
                    }
                }
                opened => return Ok(opened?),
            }
        }
    }
}

/// A configuration with all that it takes to connect.
fn able_to_connect(loaded: Loaded) -> Result<Loaded, Failure> {
    let missing = loaded.settings.missing_credentials();
    if missing.is_empty() { Ok(loaded) } else { Err(crate::config::Problems(missing).into()) }
}

fn start_log(shape: telemetry::Shape, level: LevelFilter) -> Result<(), Failure> {
    let variable = std::env::var(telemetry::VARIABLE).ok();
    telemetry::init(shape, level, variable.as_deref()).map_err(|error| Failure::new(error.to_string()))
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    let runtime = match cli.command.runtime().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::report(&Failure::new(format!("the runtime could not be started: {error}")), json),
    };
    let result = runtime.block_on(async {
        let signals = signals::Signals::listen()?;
        let context = Context {
            config: cli.config,
            json: cli.json,
            no_wait: cli.no_wait,
            budgets: Budgets::default(),
            wait: cli.wait,
            clock: Arc::new(SystemClock),
            stop: signals.stop(),
        };
        tokio::select! {
            result = dispatch(cli.command, context) => result,
            () = signals.second() => Ok(output::INTERRUPTED),
        }
    });
    // What still runs after a second signal is not waited for: the state is as good as after a power cut.
    runtime.shutdown_background();
    match result {
        Ok(code) => output::exit(code),
        Err(failure) => output::report(&failure, json),
    }
}

async fn dispatch(command: Command, context: Context) -> Result<u8, Failure> {
    match command {
        Command::Init(args) => init::run(&args, &context),
        Command::Check(args) => check::run(args, &context).await,
        Command::Probe(args) => probe::run(args, &context).await,
        Command::Fields(args) => fields::run(args, &context).await,
        Command::Map(args) => map::run(args, &context).await,
        Command::Status(args) => status::run(args, &context).await,
        Command::Health(args) => health::run(args, &context).await,
        Command::Runs(args) => runs::run(args, &context).await,
        Command::Conflicts(args) => conflicts::run(args, &context).await,
        Command::Explain(args) => explain::run(&args, &context).await,
        Command::Sandbox(args) => sandbox::run(*args, &context).await,
        Command::Plan(args) => plan::run(args, &context).await,
        Command::Backfill(args) => backfill::run(args, &context).await,
        Command::Sync(args) => sync::run(args, &context).await,
        Command::Run(args) => run::run(args, &context).await,
        Command::Verify(args) => verify::run(args, &context).await,
        Command::Retry(args) => retry::run(args, &context).await,
        Command::Undo(args) => undo::run(args, &context).await,
        Command::State(args) => state::run(args, &context).await,
        Command::Demo(args) => demo::run(args, &context).await,
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
