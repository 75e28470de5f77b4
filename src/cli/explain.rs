//! `deskferry explain ID`: everything about one contact. What the state knows of it, what each run did and why, how its
//! customer stands now, and what the next run would do: the real pipeline over a copy of the state, with a FIRST LINE that is
//! not written to.
//!
//! No value of a person is shown but with `--show-values`, and then only where one has to be: in what would be written.

mod known;
mod told;

use std::sync::Arc;

use known::Known;
use told::{Now, Told};

use super::live::{Live, say_unreachable};
use super::output::{DONE, Failure, LEFT_OVER, note, say};
use super::{Context, near};
use crate::app;
use crate::config::load::Loaded;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::store::Store;
use crate::sync::stamp::StampReading;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The contact: its LiveDesk id, or `fl:ID` for the customer in FIRST LINE
    #[arg(value_name = "ID", value_parser = parse)]
    who: Who,
    /// The id is FIRST LINE's
    #[arg(long)]
    firstline: bool,
    /// Say what the state knows, and ask neither platform
    #[arg(long)]
    offline: bool,
    /// Show values too: personal data
    #[arg(long)]
    show_values: bool,
}

/// Whom it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Contact(LiveDeskId),
    Customer(FirstLineId),
}

fn parse(text: &str) -> Result<Who, String> {
    let number =
        |text: &str| text.parse::<i64>().map_err(|_| String::from("write a LiveDesk id, or fl: and a FIRST LINE id"));
    match text.strip_prefix("fl:") {
        Some(id) => number(id).map(|id| Who::Customer(FirstLineId(id))),
        None => number(text).map(|id| Who::Contact(LiveDeskId(id))),
    }
}

impl Args {
    fn who(&self) -> Who {
        match self.who {
            Who::Contact(id) if self.firstline => Who::Customer(FirstLineId(id.0)),
            who => who,
        }
    }
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let store = app::read_state(&loaded.settings.state.path, Arc::clone(&context.clock)).await?;
    let live = if args.offline { None } else { Some(Live::open(context, &loaded).await) };
    let (live, unreachable) = match live {
        None => (None, None),
        Some(Ok(live)) => (Some(live), None),
        Some(Err(failure)) => (None, Some(failure)),
    };
    let result = explain(args, &loaded, &store, live.as_ref(), unreachable).await;
    store.close().await;
    if let Some(live) = live {
        live.close().await;
    }
    let (told, unreachable) = result?;
    if let Some(failure) = &unreachable {
        say_unreachable(failure);
    }
    if context.json {
        say(told.json());
    } else {
        told.lines().into_iter().for_each(say);
        if told.has_values() && !args.show_values {
            note("values are masked; --show-values shows them");
        }
    }
    Ok(if unreachable.is_some() { LEFT_OVER } else { DONE })
}

/// What is told, and why neither platform could be asked, where that is so.
async fn explain(
    args: &Args,
    loaded: &Loaded,
    store: &Store,
    live: Option<&Live>,
    mut unreachable: Option<Failure>,
) -> Result<(Told, Option<Failure>), Failure> {
    let id = match args.who() {
        Who::Contact(id) => id,
        Who::Customer(target) => whose(store, live, target).await?,
    };
    let known = Known::read(store, id).await?;
    let mut now = None;
    if let Some(live) = live.filter(|_| known.forgotten_at.is_none()) {
        match Now::look(live, &known, args.show_values).await {
            Ok(found) => now = Some(found),
            Err(failure) => unreachable = Some(failure),
        }
    }
    if !known.is_known() && now.as_ref().is_none_or(|now| !now.is_listed()) {
        let near = near::contacts(store, id).await?;
        let customer = FirstLineId(id.0);
        let near = match store.source_of(&[customer]).await?.remove(&customer) {
            Some(of) => format!(
                "; customer {customer} in FIRST LINE is linked to contact {of}: `deskferry explain fl:{customer}`{near}"
            ),
            None => near,
        };
        let listed = if now.is_some() { ", and LiveDesk does not show it" } else { "" };
        return Err(Failure::new(format!("the state knows no contact {id}{listed}{near}")));
    }
    let stamp = app::stamp_scheme(&loaded.settings).fields(id);
    Ok((Told { known, now, stamp, offline: args.offline }, unreachable))
}

/// The contact of a customer: by its link, else by the stamp that it carries.
async fn whose(store: &Store, live: Option<&Live>, target: FirstLineId) -> Result<LiveDeskId, Failure> {
    if let Some(id) = store.source_of(&[target]).await?.remove(&target) {
        return Ok(id);
    }
    if let Some(live) = live {
        let evidence = live.engine().await?.candidate(None, target).await?;
        match (evidence.record, evidence.stamp) {
            (None, _) => {}
            (Some(_), StampReading::Of(id)) => {
                note(format_args!("customer {target} is linked to no contact; it carries the stamp of contact {id}"));
                return Ok(id);
            }
            (Some(_), _) => {
                return Err(Failure::new(format!(
                    "customer {target} is linked to no contact and carries no stamp of one: this program has nothing to do with it"
                )));
            }
        }
    }
    let near = near::customers(store, target).await?;
    let there = if live.is_some() { ", and FIRST LINE does not show it" } else { "" };
    Err(Failure::new(format!("customer {target} is linked to no contact{there}{near}")))
}
