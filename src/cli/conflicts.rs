//! `deskferry conflicts list | show | resolve | reopen`: doubts about identity, and what people decide about them.
//!
//! A decision is only stored here; the next `backfill` or `retry` carries it out.

mod many;
mod show;
mod words;

pub(super) use show::stamp_json;
pub(super) use words::{as_json, as_line, made_json, made_text};

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::Context;
use super::output::{DONE, Failure, note, say};
use crate::app;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::store::{Conflict, Decision, Link, Store};
use words::{consequence, decision_json, decision_text, ids, taken_back};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List contacts whose identity is in doubt: ids and reasons, no personal data
    List {
        /// Also those whose decision was carried out
        #[arg(long)]
        all: bool,
    },
    /// Show what speaks for each candidate, as both platforms have it now; values are masked
    Show(show::Show),
    /// Decide what one of them is, or many from a file; the next backfill or retry carries it out
    Resolve(Resolve),
    /// Take a decision back: the contact waits for another one
    Reopen {
        /// The contact (LiveDesk id)
        id: i64,
    },
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["link", "create", "skip", "from"])))]
struct Resolve {
    /// The contact (LiveDesk id)
    #[arg(required_unless_present = "from")]
    id: Option<i64>,
    /// It is this FIRST LINE customer
    #[arg(long, value_name = "TARGET")]
    link: Option<i64>,
    /// It is nobody of them: it keeps its own customer, or gets one
    #[arg(long)]
    create: bool,
    /// Do not carry it
    #[arg(long)]
    skip: bool,
    /// Many decisions: a CSV file with the columns id, decision (link, create or skip) and target. All of them, or none
    #[arg(long, value_name = "FILE", conflicts_with = "id")]
    from: Option<PathBuf>,
}

impl Resolve {
    fn decision(&self) -> Decision {
        match self.link {
            Some(target) => Decision::Link(FirstLineId(target)),
            None if self.skip => Decision::Skip,
            None => Decision::Create,
        }
    }
}

/// Ids that are named when one is not known.
const NEAR: usize = 3;

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    match args.action {
        Action::List { all } => list(all, context).await,
        Action::Show(show) => show::run(&show, context).await,
        Action::Resolve(resolve) => decide(&resolve, context).await,
        Action::Reopen { id } => reopen(LiveDeskId(id), context).await,
    }
}

async fn list(all: bool, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let store = app::read_state(&loaded.settings.state.path, Arc::clone(&context.clock)).await?;
    let mut conflicts = store.conflicts().await?;
    let ids: Vec<LiveDeskId> = conflicts.iter().map(|conflict| conflict.livedesk_id).collect();
    let links = store.links_for(&ids).await?;
    store.close().await;
    let known = conflicts.len();
    if !all {
        let is_open = |conflict: &Conflict| match conflict.standing(links.get(&conflict.livedesk_id)) {
            Some(Decision::Skip) => false,
            standing => conflict.decision.is_none() || standing.is_some(),
        };
        conflicts.retain(is_open);
    }
    if conflicts.is_empty() && !context.json {
        say("no conflicts");
    }
    for conflict in &conflicts {
        let link = links.get(&conflict.livedesk_id);
        if context.json {
            say(as_json(conflict, link));
        } else {
            say(as_line(conflict, link));
        }
    }
    if known > conflicts.len() {
        note(format_args!(
            "{} more were decided, and nothing is left to do for them: --all lists them",
            known - conflicts.len()
        ));
    }
    if conflicts.iter().any(|conflict| conflict.decision.is_none()) {
        note(
            "look with `deskferry conflicts show ID`, decide with `deskferry conflicts resolve ID --link TARGET`, `--create` or `--skip`",
        );
    }
    Ok(DONE)
}

/// Opens the state to write; opening it would make one where there is none.
async fn open(context: &Context, holder: &str) -> Result<Store, Failure> {
    let loaded = context.load()?;
    app::read_state(&loaded.settings.state.path, Arc::clone(&context.clock)).await?.close().await;
    context.open_state(&loaded.settings, holder).await
}

async fn decide(resolve: &Resolve, context: &Context) -> Result<u8, Failure> {
    let store = open(context, "conflicts resolve").await?;
    let result = match (&resolve.from, resolve.id) {
        (Some(file), _) => many::decide(&store, file).await,
        (None, Some(id)) => decide_one(&store, id, resolve.decision()).await.map(|conflict| vec![conflict]),
        (None, None) => Err(Failure::new("say which contact, or --from FILE")),
    };
    let result = match result {
        Ok(decided) => keep(&store, decided).await,
        Err(failure) => Err(failure),
    };
    store.close().await;
    let (decided, links) = result?;
    for conflict in decided {
        let id = conflict.livedesk_id;
        let Some(decision) = conflict.decision else { continue };
        let link = links.get(&id);
        if let Decision::Link(target) = decision
            && !conflict.candidates.contains(&target)
        {
            note(format_args!(
                "customer {target} is none of the candidates of contact {id} ({}) and was not looked at; taken as said. If it is \
                 not there, the contact is set aside and nothing is written",
                ids(&conflict)
            ));
        }
        if context.json {
            say(json!({
                "livedesk_id": id.0,
                "decision": decision_json(decision),
                "linked_to": link.map(|link| link.target.0),
                "consequence": consequence(&conflict, link),
            }));
            continue;
        }
        let next = match (decision, link) {
            (Decision::Skip, None) => String::from("a backfill leaves it out"),
            (Decision::Skip, Some(link)) => {
                let target = link.target;
                format!(
                    "it stays linked to customer {target}, so that nothing is created, and nothing is written there; {}",
                    taken_back(id)
                )
            }
            _ => format!("`deskferry retry {id}` or the next backfill carries it out"),
        };
        let consequence = consequence(&conflict, link).map(|what| format!("; {what}")).unwrap_or_default();
        say(format_args!("contact {id}: {}; {next}{consequence}", decision_text(decision)));
    }
    Ok(DONE)
}

/// Stores decisions; as they stand then, and the links of their contacts.
async fn keep(store: &Store, decided: Vec<Conflict>) -> Result<(Vec<Conflict>, HashMap<LiveDeskId, Link>), Failure> {
    store.decide(decided.clone(), Some(&who())).await?;
    let ids: Vec<LiveDeskId> = decided.iter().map(|conflict| conflict.livedesk_id).collect();
    let anew = decided.into_iter().map(|conflict| Conflict { carried_to: None, ..conflict }).collect();
    Ok((anew, store.links_for(&ids).await?))
}

async fn decide_one(store: &Store, id: i64, decision: Decision) -> Result<Conflict, Failure> {
    let conflict = one(store, LiveDeskId(id)).await?;
    if let Decision::Link(target) = decision {
        if let Some(other) = taken(store, conflict.livedesk_id, target).await? {
            return Err(Failure::new(format!(
                "FIRST LINE customer {target} is linked to LiveDesk contact {other} already; nothing was changed. `deskferry \
                 explain {other}` says why. If it is not that one's, take back the run that linked it (`deskferry undo RUN`), or \
                 decide `--create` here and part the two in FIRST LINE"
            )));
        }
        let others = store.conflicts().await?.into_iter().filter(|other| other.livedesk_id != conflict.livedesk_id);
        if let Some(other) = given(others, target) {
            return Err(Failure::new(format!(
                "FIRST LINE customer {target} was given to contact {other} already (`deskferry conflicts reopen {other}` takes \
                 that back); nothing was changed"
            )));
        }
    }
    Ok(Conflict { decision: Some(decision), ..conflict })
}

async fn reopen(id: LiveDeskId, context: &Context) -> Result<u8, Failure> {
    let store = open(context, "conflicts reopen").await?;
    let result = async {
        let conflict = one(&store, id).await?;
        let Some(before) = conflict.decision else {
            return Err(Failure::new(format!("contact {id} was not decided; nothing was changed")));
        };
        store.decide(vec![Conflict { decision: None, ..conflict }], Some(&who())).await?;
        Ok((before, store.links_for(&[id]).await?.remove(&id)))
    }
    .await;
    store.close().await;
    let (before, link) = result?;
    if context.json {
        say(json!({ "livedesk_id": id.0, "decision": null, "before": decision_json(before) }));
        return Ok(DONE);
    }
    say(format_args!("contact {id}: taken back ({}); it waits for another decision", decision_text(before)));
    if let Some(link) = link {
        say(format_args!(
            "it stays linked to customer {}; nothing is written to it until it is decided. {}",
            link.target,
            taken_back(id)
        ));
    }
    Ok(DONE)
}

/// The conflict of a contact, or who may have been meant.
async fn one(store: &Store, id: LiveDeskId) -> Result<Conflict, Failure> {
    match store.conflict_for(&[id]).await?.remove(&id) {
        Some(conflict) => Ok(conflict),
        None => Err(Failure::new(unknown(id.0, &store.conflicts().await?))),
    }
}

/// Whom a customer is linked to, if that is another contact. One customer cannot be two contacts: better said now than
/// refused by the next run.
async fn taken(store: &Store, id: LiveDeskId, target: FirstLineId) -> Result<Option<LiveDeskId>, Failure> {
    Ok(store.source_of(&[target]).await?.remove(&target).filter(|other| *other != id))
}

/// The one of these contacts that was decided to be this customer.
fn given(others: impl IntoIterator<Item = Conflict>, target: FirstLineId) -> Option<LiveDeskId> {
    let to_it = |other: &Conflict| other.decision == Some(Decision::Link(target));
    others.into_iter().find(to_it).map(|other| other.livedesk_id)
}

/// Who decides, for the record: the login that runs this, or its number.
fn who() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        std::fs::metadata("/proc/self").map_or_else(|_| String::from("unknown"), |me| format!("user {}", me.uid()))
    })
}

fn unknown(id: i64, conflicts: &[Conflict]) -> String {
    let mut near: Vec<i64> = conflicts.iter().map(|conflict| conflict.livedesk_id.0).collect();
    let as_typed = id.to_string();
    near.sort_by_key(|other| (strsim::levenshtein(&other.to_string(), &as_typed), other.abs_diff(id)));
    near.truncate(NEAR);
    if near.is_empty() {
        return format!("contact {id} is not in conflict; there are no conflicts");
    }
    let near: Vec<String> = near.iter().map(ToString::to_string).collect();
    format!(
        "contact {id} is not in conflict; did you mean {}? `deskferry conflicts list --all` has all",
        near.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::words::tests::conflict;
    use super::*;

    #[test]
    fn an_unknown_id_names_the_nearest_ones() {
        let known: Vec<Conflict> = [12, 1234, 1243, 99_999].map(conflict).into();
        assert!(unknown(1235, &known).contains("did you mean 1234, "));
        assert!(unknown(1, &[]).contains("there are no conflicts"));
    }
}
