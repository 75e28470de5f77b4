//! `deskferry backfill`: everything that LiveDesk lists, or a part of it.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::consent::confirmed;
use super::output::{Failure, note};
use super::{Context, session};
use crate::app::plan::{self, guard::Guard};
use crate::domain::ids::LiveDeskId;
use crate::mapping::Mapping;
use crate::sync::overseer::Overseer;
use crate::sync::pipeline::{Entrants, Preflight, RunEnd};
use crate::sync::summary::LISTED;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rehearse with N contacts: a spread of all kinds that there are, each with the reason why it was picked
    #[arg(long, value_name = "N", conflicts_with = "only")]
    limit: Option<u64>,
    /// Carry only this contact (LiveDesk id); may be given several times
    #[arg(long, value_name = "ID")]
    only: Vec<i64>,
    /// Do what this plan says and nothing else; contacts that are not as planned are left alone and listed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "limit"])]
    plan: Option<PathBuf>,
    /// Refuse to begin unless FIRST LINE shows exactly N customers, those made by an earlier run not counted
    #[arg(long, value_name = "N")]
    expect_total: Option<u64>,
    /// In this run, mark or delete the records of up to N contacts that are gone from LiveDesk, and believe up to N
    /// customers gone from FIRST LINE, whatever their share
    #[arg(long, value_name = "N")]
    deletes_ceiling: Option<u64>,
    /// Do not ask before the first write (nobody is asked without a terminal, as from cron)
    #[arg(long, short)]
    yes: bool,
}

impl Args {
    fn entrants(&self) -> Entrants {
        if !self.only.is_empty() {
            return Entrants::Only(self.only.iter().copied().map(LiveDeskId).collect::<BTreeSet<_>>());
        }
        self.limit.map_or(Entrants::All, Entrants::First)
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load_to_connect()?;
    let mut options = json!({ "limit": args.limit, "only": args.only, "expect_total": args.expect_total });
    if let Some(ceiling) = args.deletes_ceiling {
        options["deletes_ceiling"] = json!(ceiling);
    }
    if let Some(plan) = &args.plan {
        options["plan"] = json!(plan);
    }
    let (mut session, mapping) = session::begin(context, loaded, "backfill", &options).await?;
    let guard = match &args.plan {
        Some(path) => match guard(path, &session, &mapping, context).await {
            Ok(guard) => Some(guard),
            Err(failure) => return Err(session.refuse(failure).await),
        },
        None => None,
    };
    if let Some(ceiling) = args.deletes_ceiling {
        session.settings.deletes.allow_for_one_run(ceiling);
    }
    let pipeline = match &guard {
        Some(guard) => session.guarded(mapping, Arc::clone(guard) as Arc<dyn Overseer>).await?,
        None => session.pipeline(mapping).await?,
    };
    let entrants = args.entrants();
    let preflight = match pipeline.preflight(&entrants).await {
        Ok(preflight) => preflight,
        Err(error) => return Err(session.refuse(error.into()).await),
    };
    let rates =
        (session.settings.livedesk.limits.requests_per_second, session.settings.firstline.limits.requests_per_second);
    note(outlook(&preflight, rates));
    if let Some(expected) = args.expect_total
        && expected != preflight.target_total
        && !preflight.earlier_customers.contains(&expected)
    {
        let message = format!(
            "FIRST LINE shows {} customers ({} without those made here), --expect-total says {expected}; nothing was \
             written. A role that sees only its own customers shows fewer than there are",
            preflight.target_total,
            preflight.earlier_customers.end()
        );
        return Err(session.decline(Failure::new(message)).await);
    }
    // Where nobody sits (cron, a pipe), nobody is asked.
    if io::stdin().is_terminal() && !args.yes && args.expect_total.is_none() {
        if !io::stderr().is_terminal() {
            let message =
                "the question would not be seen, as standard error is not shown here; add --yes (nothing was written)";
            return Err(session.decline(Failure::new(message)).await);
        }
        match confirmed(context).await {
            Ok(true) => {}
            Ok(false) => return Err(session.decline(Failure::new("not confirmed; nothing was written")).await),
            Err(failure) => return Err(session.decline(failure).await),
        }
    }
    // Single contacts are a person's wish, and so is a rehearsal; only a backfill that goes over everybody says that the account
    // is to be carried again.
    if entrants == Entrants::All {
        if let Some(hold) = session.store.release_hold().await? {
            note(format_args!("the hold of undo {} (of run {}) is lifted by this backfill", hold.undo, hold.of));
        }
    } else if let Some(hold) = session.store.hold().await? {
        note(format_args!(
            "the hold of undo {} stays: nobody is carried beside those who are asked for here",
            hold.undo
        ));
    }
    if let Some(guard) = &guard
        && let Err(error) = guard.begin().await
    {
        return Err(session.refuse(error.into()).await);
    }
    let mut end = pipeline.run(entrants).await;
    if let Some(guard) = &guard {
        tell_moved(guard, &mut end).await?;
    }
    session.end(end, context.json).await
}

/// The plan that this run is held against.
async fn guard(
    path: &Path,
    session: &session::Session,
    mapping: &Mapping,
    context: &Context,
) -> Result<Arc<Guard>, Failure> {
    let store = session.store.clone();
    let now = plan::header(&session.settings, mapping, store.hash_key(), context.clock.now().0);
    let guard = Guard::open(path, &now, store, session.run).await;
    Ok(Arc::new(guard.map_err(|error| Failure::chain(&error))?))
}

/// Adds to the summary what the plan says and the run did not come upon.
async fn tell_moved(guard: &Guard, end: &mut RunEnd) -> Result<(), Failure> {
    let (beside, unmet, count) = guard.rest(LISTED).await?;
    end.summary.moved += beside.count - beside.rows.len() as u64;
    for (id, what) in beside.rows {
        end.summary.moved(Some(id), what);
    }
    // Whoever did not get that far met nobody.
    if end.failure.is_none() && !end.summary.interrupted {
        end.summary.unmet = count;
        let rows = unmet.into_iter().map(|id| (Some(id.0), String::from("planned, and did not come up")));
        end.summary.moved_rows.extend(rows);
    }
    Ok(())
}

/// What is about to happen, before the first write.
fn outlook(preflight: &Preflight, (livedesk_rate, firstline_rate): (f64, f64)) -> String {
    let listed = preflight.source_count.map_or_else(|| String::from("an unknown number of"), |count| count.to_string());
    let requests = [(preflight.source_requests, livedesk_rate), (preflight.target_requests, firstline_rate)];
    let time = at_least(longest(&requests));
    format!(
        "LiveDesk lists {listed} contacts, {} of all are linked already; FIRST LINE shows {} customers to this account \
         (a role that sees only its own makes a full tenant look empty)\nabout {} requests to LiveDesk and {} to FIRST \
         LINE: {time}",
        preflight.linked, preflight.target_total, preflight.source_requests, preflight.target_requests
    )
}

/// Seconds that so many requests take at these rates, side by side; `None` where no rate holds them back.
pub(super) fn longest(requests: &[(u64, f64)]) -> Option<u64> {
    requests.iter().filter_map(|(requests, rate)| seconds(*requests, *rate)).max()
}

/// The same in words.
pub(super) fn at_least(longest: Option<u64>) -> String {
    match longest {
        Some(longest) => {
            format!("at least {}", humantime::format_duration(std::time::Duration::from_secs(longest)))
        }
        None => String::from("as fast as both platforms answer"),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an estimate for people"
)]
fn seconds(requests: u64, rate: f64) -> Option<u64> {
    (rate > 0.0).then(|| (requests as f64 / rate) as u64)
}
