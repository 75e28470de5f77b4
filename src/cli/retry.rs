//! `deskferry retry`: contacts that were set aside, re-read from LiveDesk and mapped anew.

use std::collections::BTreeSet;

use serde_json::json;

use super::output::{Failure, note};
use super::{Context, session};
use crate::domain::ids::LiveDeskId;
use crate::sync::pipeline::{Entrants, RunEnd};
use crate::sync::summary::Summary;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// LiveDesk ids; without any, everything that is set aside, parked, or a decided conflict
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    /// Of contacts whose FIRST LINE customer is gone or was merged: forget it, and carry them as if they were new (an
    /// existing customer is found by stamp or keys, else one is created)
    #[arg(long, requires = "ids")]
    recreate: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load_to_connect()?;
    let (session, mapping) =
        session::begin(context, loaded, "retry", &json!({ "ids": args.ids, "recreate": args.recreate })).await?;
    let session = session.unless_held().await?;
    let ids: BTreeSet<LiveDeskId> = if args.ids.is_empty() {
        let letters = session.store.dead_letters().await?.into_iter().map(|letter| letter.livedesk_id);
        let decided = session.store.decided().await?;
        letters.chain(session.store.parked_contacts().await?).chain(decided).collect()
    } else {
        args.ids.into_iter().map(LiveDeskId).collect()
    };
    // What was created again is still owed its look for twins.
    if ids.is_empty() && session.store.open_intents().await?.is_empty() {
        note("nothing is set aside, parked or decided");
        session.tell_begun();
        let nothing = RunEnd { summary: Summary::default(), failure: None };
        return session.end(nothing, context.json).await;
    }
    let pipeline = session.pipeline(mapping).await?;
    if args.recreate {
        match pipeline.forget_vanished(&ids).await {
            Ok(forgotten) => note(format_args!("{forgotten} links to customers that are gone were forgotten")),
            Err(error) => return Err(session.refuse(error.into()).await),
        }
    }
    let entrants = Entrants::Only(ids);
    if let Err(error) = pipeline.preflight(&entrants).await {
        return Err(session.refuse(error.into()).await);
    }
    let end = pipeline.run(entrants).await;
    session.end(end, context.json).await
}
