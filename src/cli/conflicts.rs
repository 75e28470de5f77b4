//! `deskferry conflicts list | resolve`: doubts about identity, and what a person decides about them.
//!
//! A decision is only stored here; the next `backfill` or `retry` carries it out.

use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};

use super::Context;
use super::output::{DONE, Failure, note, say};
use super::runs::moment;
use crate::app;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::store::{Conflict, Decision, Store, WriteOp};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List contacts whose identity is in doubt: ids and reasons, no personal data
    List,
    /// Decide what one of them is; the next backfill or retry carries it out
    Resolve(Resolve),
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["link", "create", "skip"])))]
struct Resolve {
    /// The contact (LiveDesk id)
    id: i64,
    /// It is this FIRST LINE customer
    #[arg(long, value_name = "TARGET")]
    link: Option<i64>,
    /// It is nobody of them: create it
    #[arg(long)]
    create: bool,
    /// Do not carry it
    #[arg(long)]
    skip: bool,
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
        Action::List => list(context).await,
        Action::Resolve(resolve) => decide(&resolve, context).await,
    }
}

async fn list(context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let store = app::read_state(&loaded.settings.state.path, Arc::clone(&context.clock)).await?;
    let conflicts = store.conflicts().await?;
    let waiting = store.decided().await?;
    store.close().await;
    if conflicts.is_empty() && !context.json {
        say("no conflicts");
    }
    for conflict in &conflicts {
        if context.json {
            say(as_json(conflict, waiting.contains(&conflict.livedesk_id)));
        } else {
            say(as_line(conflict, waiting.contains(&conflict.livedesk_id)));
        }
    }
    if conflicts.iter().any(|conflict| conflict.decision.is_none()) {
        note("decide with `deskferry conflicts resolve ID --link TARGET`, `--create` or `--skip`");
    }
    Ok(DONE)
}

async fn decide(resolve: &Resolve, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let path = &loaded.settings.state.path;
    // Opening to write would make a state where there is none.
    app::read_state(path, Arc::clone(&context.clock)).await?.close().await;
    let store = context.open_state(&loaded.settings, "conflicts resolve").await?;
    let result = async {
        let conflicts = store.conflicts().await?;
        let Some(conflict) = conflicts.iter().find(|conflict| conflict.livedesk_id.0 == resolve.id) else {
            return Err(Failure::new(unknown(resolve.id, &conflicts)));
        };
        let decision = resolve.decision();
        if let Decision::Link(target) = decision {
            taken(&store, conflict.livedesk_id, target).await?;
            if !conflict.candidates.contains(&target) {
                note(format_args!("customer {target} is none of the candidates ({}); taken as said", ids(conflict)));
            }
        }
        let decided = Conflict { decision: Some(decision), ..conflict.clone() };
        store.write(vec![WriteOp::PutConflict(decided)]).await?;
        Ok(decision)
    }
    .await;
    store.close().await;
    let decision = result?;
    if context.json {
        say(json!({ "livedesk_id": resolve.id, "decision": decision_json(decision) }));
    } else {
        let next = match decision {
            Decision::Skip => String::from("a backfill leaves it out"),
            _ => format!("`deskferry retry {}` or the next backfill carries it out", resolve.id),
        };
        say(format_args!("contact {}: {}; {next}", resolve.id, decision_text(decision)));
    }
    Ok(DONE)
}

/// One customer cannot be two contacts: better said now than refused by the next run.
async fn taken(store: &Store, id: LiveDeskId, target: FirstLineId) -> Result<(), Failure> {
    match store.source_of(&[target]).await?.get(&target) {
        Some(other) if *other != id => Err(Failure::new(format!(
            "FIRST LINE customer {target} is linked to LiveDesk contact {other} already; nothing was changed"
        ))),
        _ => Ok(()),
    }
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
    format!("contact {id} is not in conflict; did you mean {}? `deskferry conflicts list` has all", near.join(", "))
}

fn ids(conflict: &Conflict) -> String {
    let ids: Vec<String> = conflict.candidates.iter().map(ToString::to_string).collect();
    if ids.is_empty() { String::from("none") } else { ids.join(", ") }
}

fn decision_text(decision: Decision) -> String {
    match decision {
        Decision::Link(target) => format!("decided: it is customer {target}"),
        Decision::Create => String::from("decided: create it"),
        Decision::Skip => String::from("decided: do not carry it"),
    }
}

fn decision_json(decision: Decision) -> Value {
    match decision {
        Decision::Link(target) => json!({ "link": target.0 }),
        Decision::Create => json!("create"),
        Decision::Skip => json!("skip"),
    }
}

fn as_line(conflict: &Conflict, waiting: bool) -> String {
    let mut decision = conflict.decision.map_or_else(|| String::from("undecided"), decision_text);
    if waiting {
        decision.push_str(" (not carried out yet)");
    }
    format!(
        "contact {}: {} ({}); candidates {}; found by run {}; {decision}",
        conflict.livedesk_id,
        conflict.kind,
        conflict.keys,
        ids(conflict),
        conflict.run
    )
}

fn as_json(conflict: &Conflict, waiting: bool) -> Value {
    json!({
        "livedesk_id": conflict.livedesk_id.0,
        "kind": conflict.kind,
        "keys": conflict.keys,
        "candidates": conflict.candidates.iter().map(|id| id.0).collect::<Vec<_>>(),
        "run": conflict.run.0,
        "found_at": moment(conflict.at),
        "decision": conflict.decision.map(decision_json),
        "waiting": waiting,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::domain::ids::RunId;

    fn conflict(id: i64) -> Conflict {
        Conflict {
            livedesk_id: LiveDeskId(id),
            kind: String::from("several"),
            candidates: vec![FirstLineId(7), FirstLineId(9)],
            keys: String::from("email"),
            run: RunId(1),
            at: Timestamp(0),
            decision: None,
        }
    }

    #[test]
    fn an_unknown_id_names_the_nearest_ones() {
        let known: Vec<Conflict> = [12, 1234, 1243, 99_999].map(conflict).into();
        assert!(unknown(1235, &known).contains("did you mean 1234, "));
        assert!(unknown(1, &[]).contains("there are no conflicts"));
    }

    #[test]
    fn a_line_names_ids_and_keys() {
        let line = as_line(&Conflict { decision: Some(Decision::Link(FirstLineId(9))), ..conflict(12) }, true);
        assert!(line.starts_with("contact 12: several (email); candidates 7, 9; found by run 1; "), "{line}");
        assert!(line.ends_with("decided: it is customer 9 (not carried out yet)"), "{line}");
    }
}
