//! `deskferry retry`: contacts that were set aside, re-read from LiveDesk and mapped anew.

use std::collections::BTreeSet;

use serde_json::json;

use super::output::{Failure, note};
use super::session::Session;
use super::{Context, session};
use crate::domain::ids::LiveDeskId;
use crate::store::Standing;
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

/// Forgets the links of contacts whose record is known to be gone. A contact with a live link is refused: nobody has seen
/// that its record is not there.
async fn forget(session: &Session, ids: &BTreeSet<LiveDeskId>) -> Result<(), Failure> {
    let all: Vec<LiveDeskId> = ids.iter().copied().collect();
    let links = session.store.links_for(&all).await?;
    if let Some(live) = all.iter().filter_map(|id| links.get(id)).find(|link| link.standing == Standing::Live) {
        return Err(Failure::new(format!(
            "contact {} is linked to customer {}, which is not known to be gone; nothing was changed. `deskferry retry {0}` \
             looks whether it is there",
            live.livedesk_id, live.target
        )));
    }
    let forgotten = session.store.forget_vanished(&all).await?;
    note(format_args!("{forgotten} links to customers that are gone were forgotten"));
    Ok(())
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
    if args.recreate
        && let Err(failure) = forget(&session, &ids).await
    {
        return Err(session.refuse(failure).await);
    }
    // What was created again is still owed its look for twins.
    if ids.is_empty() && session.store.open_intents().await?.is_empty() {
        note("nothing is set aside, parked or decided");
        session.tell_begun();
        let nothing = RunEnd { summary: Summary::default(), failure: None };
        return session.end(nothing, context.json).await;
    }
    let pipeline = session.pipeline(mapping).await?;
    let entrants = Entrants::Only(ids);
    if let Err(error) = pipeline.preflight(&entrants).await {
        return Err(session.refuse(error.into()).await);
    }
    let end = pipeline.run(entrants).await;
    session.end(end, context.json).await
}
