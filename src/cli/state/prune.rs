//! `deskferry state prune`: what is old and not needed to go on.
//!
//! Before-images are kept for as long as somebody may want to take a run back; sightings for as long as they say whether
//! a contact is gone. Neither is ever needed to carry anybody.

use std::time::Duration;

use serde_json::json;

use super::open_existing;
use crate::cli::Context;
use crate::cli::output::{DONE, Failure, say};
use crate::clock::Timestamp;

/// Arguments of `state prune`.
#[derive(Debug, clap::Args)]
pub(super) struct Prune {
    /// Before-images older than this go
    #[arg(long, value_name = "AGE", default_value = "90d", value_parser = humantime::parse_duration)]
    journal_older_than: Duration,
    /// Say what would go, and leave it
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(super) async fn run(args: &Prune, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let age = i64::try_from(args.journal_older_than.as_millis()).unwrap_or(i64::MAX);
    let before = Timestamp(context.clock.now().0.saturating_sub(age));
    let store = open_existing(context, &loaded.settings, "state prune").await?;
    let result = async {
        let (journal, sightings, sweep) = store.prunable(before).await?;
        if args.dry_run {
            return Ok((journal, sightings));
        }
        let sightings = match sweep {
            Some(sweep) => store.prune_sightings(sweep).await?,
            None => 0,
        };
        Ok::<_, Failure>((store.prune_journal(before).await?, sightings))
    }
    .await;
    store.close().await;
    let (journal, sightings) = result?;
    if context.json {
        say(json!({ "dry_run": args.dry_run, "before_images": journal, "sightings": sightings }));
    } else {
        let verb = if args.dry_run { "would be" } else { "were" };
        say(format_args!("{journal} before-images and {sightings} sightings {verb} deleted"));
    }
    Ok(DONE)
}
