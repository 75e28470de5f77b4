//! `deskferry state prune`: what is old and not needed to go on.
//!
//! Before-images are kept for as long as somebody may want to take a run back; runs and sweeps for as long as somebody may ask;
//! sightings for as long as they say whether a contact is gone. None is ever needed to carry anybody. The service does the
//! same by itself; who only runs commands does it here.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::open_existing;
use crate::app::plan::copy::Copy;
use crate::app::runs::{self, Pruned};
use crate::cli::Context;
use crate::cli::output::{DONE, Failure, say};
use crate::config::settings::Settings;
use crate::store::{Store, StoreError};

/// Arguments of `state prune`.
#[derive(Debug, clap::Args)]
pub(super) struct Prune {
    /// Before-images older than this go; as a rule what `state.journal_retention` says
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    journal_older_than: Option<Duration>,
    /// Say what would go, and leave it
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(super) async fn run(args: &Prune, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let mut settings = loaded.settings;
    if let Some(age) = args.journal_older_than {
        settings.state.journal_retention = age;
    }
    // What would go is found out on a copy, which is gone at the end.
    let copy = if args.dry_run {
        let copy = Copy::of(&settings.state.path, Arc::clone(&context.clock)).await;
        Some(copy.map_err(|error| Failure::chain(&error))?)
    } else {
        None
    };
    if let Some(copy) = &copy {
        settings.state.path = copy.state();
    }
    let store = open_existing(context, &settings, "state prune").await?;
    let result = prune(&settings, &store, context).await;
    store.close().await;
    let (images, Pruned { runs, sweeps, sightings }) = result?;
    if context.json {
        say(json!({
            "dry_run": args.dry_run,
            "before_images": images,
            "runs": runs,
            "sweeps": sweeps,
            "sightings": sightings,
        }));
    } else {
        let verb = if args.dry_run { "would be" } else { "were" };
        say(format_args!(
            "{images} before-images, {runs} runs, {sweeps} sweeps and {sightings} sightings {verb} deleted"
        ));
    }
    Ok(DONE)
}

async fn prune(settings: &Settings, store: &Store, context: &Context) -> Result<(u64, Pruned), StoreError> {
    let now = context.clock.now();
    let images = runs::prune_journal(settings, store, now, u32::MAX).await?;
    Ok((images, runs::prune(settings, store, now, u32::MAX).await?))
}
