//! `deskferry state ..`: looking after the state file.
//!
//! One file per group of actions. Whatever changes the state takes its lock; `check`, `backup` and `export` only read, and
//! work beside a running service.

mod check;
mod copies;
mod forget;
mod lists;
mod prune;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::output::{DONE, Failure, LEFT_OVER, say};
use super::{Context, session};
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
    Rebuild,
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
        Action::Rebuild => rebuild(context).await,
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

async fn rebuild(context: &Context) -> Result<u8, Failure> {
    let loaded = context.load_to_connect()?;
    let (session, mapping) = session::begin(context, loaded, "rebuild", &json!({})).await?;
    let engine = session.engine(mapping).await?;
    let rebuilt = match engine.rebuild().await {
        Ok(rebuilt) => rebuilt,
        Err(error) => return Err(session.refuse(error.into()).await),
    };
    session.bar.finish();
    let exit = if rebuilt.proven && rebuilt.twins + rebuilt.foreign == 0 { DONE } else { LEFT_OVER };
    if context.json {
        say(json!(rebuilt));
    } else {
        say(format_args!(
            "{} links found again, {} known already; {} customers without a stamp",
            rebuilt.linked, rebuilt.known, rebuilt.unstamped
        ));
        if rebuilt.relinked > 0 {
            say(format_args!(
                "{} links led to customers that are gone: now to those that carry the stamp",
                rebuilt.relinked
            ));
        }
        if rebuilt.forgotten > 0 {
            say(format_args!("{} customers are of people who were forgotten: not linked", rebuilt.forgotten));
        }
        if rebuilt.twins > 0 {
            say(format_args!(
                "{} contacts are stamped on more than one customer; see `deskferry conflicts list`",
                rebuilt.twins
            ));
        }
        if rebuilt.foreign > 0 {
            say(format_args!(
                "{} customers hold something else where our stamp would stand, or another contact's",
                rebuilt.foreign
            ));
        }
        if !rebuilt.proven {
            say("FIRST LINE's list could not be read completely: links may be missing, run it again");
        }
    }
    session.close(exit, None, json!(rebuilt)).await?;
    Ok(exit)
}
