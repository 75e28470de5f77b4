//! `deskferry state ..`: looking after the state file.
//!
//! One file per group of actions. Whatever changes the state takes its lock; `check`, `backup` and `export` only read, and
//! work beside a running service.

mod check;
mod copies;
mod forget;
mod lists;
mod prune;
mod rebuild;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;

use super::Context;
use super::output::Failure;
use crate::app;
use crate::config::settings::Settings;
use crate::store::Store;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check the state file: integrity, references, permissions, what is left over
    Check {
        /// Put right what is safe to put right, and say what that was
        #[arg(long)]
        repair: bool,
    },
    /// Find the links again from the stamps in FIRST LINE
    Rebuild {
        /// Your word that all N customers that this state links to were deleted: if none is there any more, their links are
        /// marked gone. Nothing is written to FIRST LINE
        #[arg(long, value_name = "N")]
        gone: Option<u64>,
    },
    /// Copy the state to a file, beside a running service too; the copy is checked, and secret as the state is
    Backup {
        /// Where to; nothing is written over
        file: PathBuf,
    },
    /// Write the state as JSON lines; they hold the key of its hashes and are secret as the state is
    Export(copies::Export),
    /// Take an export into a state that is empty: all of it, or nothing
    Import {
        /// What `state export` wrote
        file: PathBuf,
    },
    /// Erase a person from the state, so that the contact is not carried again
    Forget(forget::Forget),
    /// Delete what is old and not needed to go on: before-images, and who was seen by sweeps long over
    Prune(prune::Prune),
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    match args.action {
        Action::Check { repair } => check::run(repair, context).await,
        Action::Rebuild { gone } => rebuild::run(gone, context).await,
        Action::Backup { file } => copies::backup(&file, context).await,
        Action::Export(export) => copies::export(&export, context).await,
        Action::Import { file } => copies::import(&file, context).await,
        Action::Forget(forget) => forget::run(&forget, context).await,
        Action::Prune(prune) => prune::run(&prune, context).await,
    }
}

/// Opens a state that exists: opening to write would make one where there is none.
async fn open_existing(context: &Context, settings: &Settings, holder: &str) -> Result<Store, Failure> {
    app::read_state(&settings.state.path, Arc::clone(&context.clock)).await?.close().await;
    context.open_state(settings, holder).await
}
