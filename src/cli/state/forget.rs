//! `deskferry state forget ID`: a person is erased from the state and from the lists beside it, and not carried again.
//!
//! It says before what will be erased, and after what it did not touch: the customer in FIRST LINE, and copies.

use serde_json::{Value, json};

use super::lists::{self, Lists};
use super::open_existing;
use crate::app::plan::copy::remove_left_overs;
use crate::cli::output::{DONE, Failure, note, say};
use crate::cli::runs::moment;
use crate::cli::{Context, able_to_connect, consent, near, session};
use crate::config::load::Loaded;
use crate::domain::ids::LiveDeskId;
use crate::store::{Forgotten, Store, Traced};

/// Arguments of `state forget`.
#[derive(Debug, clap::Args)]
pub(super) struct Forget {
    /// The contact (LiveDesk id)
    id: i64,
    /// Also a contact that the state does not know: it is never carried
    #[arg(long, conflicts_with = "take_back")]
    ahead: bool,
    /// Let a contact that was forgotten be carried again, as one that was never seen
    #[arg(long)]
    take_back: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Runs the command.
pub(super) async fn run(args: &Forget, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let id = LiveDeskId(args.id);
    let mut store = open_existing(context, &loaded.settings, "state forget").await?;
    if !args.take_back && store.traced(id).await?.to_be_made {
        // Whether its customer is there is asked once more, in a run of its own.
        store.close().await;
        Box::pin(look_for_customer(id, loaded.clone(), context)).await?;
        store = open_existing(context, &loaded.settings, "state forget").await?;
    }
    let result =
        if args.take_back { take_back(&store, id, context).await } else { forget(&store, id, args, context).await };
    store.close().await;
    result.map(|()| DONE)
}

/// Looks for the customer of a contact whose create is not settled, or is to be repeated. Where it is found it is linked.
async fn look_for_customer(id: LiveDeskId, loaded: Loaded, context: &Context) -> Result<(), Failure> {
    let (session, mapping) = session::begin(context, able_to_connect(loaded)?, "forget", &json!({})).await?;
    let looked = match session.engine(mapping).await {
        Ok(engine) => engine.settle_for_good(id).await.map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    match looked {
        Ok(looked) if looked.parked.is_empty() => {
            for conflict in session.store.conflict_for(&looked.twins).await?.into_values() {
                let customers: Vec<String> = conflict.candidates.iter().map(ToString::to_string).collect();
                note(format_args!(
                    "contact {id}: its create arrived more than once: customers {}",
                    customers.join(", ")
                ));
            }
            session.close(DONE, None, json!({})).await
        }
        Ok(_) => {
            let failure = format!(
                "contact {id}: its create was looked for, and neither found nor proven absent, so a customer may be there \
                 that nobody else could find; nothing was erased. Forget it again later"
            );
            Err(session.refuse(Failure::new(failure)).await)
        }
        Err(failure) => Err(session.refuse(failure).await),
    }
}

async fn forget(store: &Store, id: LiveDeskId, args: &Forget, context: &Context) -> Result<(), Failure> {
    let traced = store.traced(id).await?;
    if traced.in_doubt {
        let when = if store.hold().await?.is_some() { " once the hold is lifted" } else { "" };
        return Err(Failure::new(format!(
            "contact {id}: what was sent for it to FIRST LINE is not settled, so something may be there that nobody else \
             could find; nothing was erased. `deskferry retry {id}` settles it{when}, then forget it"
        )));
    }
    if !traced.is_known() && traced.forgotten_at.is_none() && !args.ahead {
        let near = near::contacts(store, id).await?;
        return Err(Failure::new(format!(
            "the state knows no contact {id}{near}; nothing was erased. A contact that was not carried yet is kept from it \
             with --ahead"
        )));
    }
    // Copies of the state that killed processes left hold the person as well.
    remove_left_overs(store.path());
    let found = lists::find(store.path(), id)?;
    ask(id, &traced, &found, args, context).await?;
    let forgotten =
        if traced.is_known() || traced.forgotten_at.is_none() { store.forget(id).await? } else { Forgotten::default() };
    // Also of one who was forgotten before: that run may have died before the file was written anew.
    let log_emptied = store.compact().await.map_err(|error| {
        Failure::new(format!(
            "contact {id} is erased and not carried again, but the file could not be written anew: {}; run the same \
             command again",
            Failure::chain(&error)
        ))
    })?;
    let erased = lists::erase(&found, id)?;
    let told = Told { id, traced, forgotten, lists: found, erased, log_emptied };
    if context.json {
        say(told.json());
    } else {
        told.lines().into_iter().for_each(say);
    }
    Ok(())
}

async fn ask(id: LiveDeskId, traced: &Traced, lists: &Lists, args: &Forget, context: &Context) -> Result<(), Failure> {
    if args.yes || !traced.is_known() {
        return Ok(());
    }
    let rows: Vec<String> = traced.rows.iter().map(|(name, count)| format!("{count} {name}")).collect();
    note(format_args!("contact {id}: {} will be erased, and rows of {} lists", rows.join(", "), lists.naming.len()));
    consent::ask(context, "say --yes", "nothing was erased").await
}

async fn take_back(store: &Store, id: LiveDeskId, context: &Context) -> Result<(), Failure> {
    if !store.unforget(id).await? {
        return Err(Failure::new(format!("contact {id} was not forgotten; nothing was changed")));
    }
    if context.json {
        say(json!({ "livedesk_id": id.0, "taken_back": true }));
    } else {
        say(format_args!(
            "contact {id} may be carried again; the next run finds its customer by the stamp, or makes one"
        ));
    }
    Ok(())
}

/// What is told at the end.
struct Told {
    id: LiveDeskId,
    traced: Traced,
    forgotten: Forgotten,
    lists: Lists,
    erased: u64,
    log_emptied: bool,
}

impl Told {
    fn json(&self) -> Value {
        let rows: serde_json::Map<String, Value> =
            self.forgotten.rows.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
        json!({
            "livedesk_id": self.id.0,
            "forgotten_before": self.traced.forgotten_at.map(moment),
            "erased": rows,
            "runs": self.forgotten.runs,
            "lists": self.lists.naming,
            "list_rows": self.erased,
            "log_emptied": self.log_emptied,
            "firstline_id": self.traced.target.map(|id| id.0),
            "not_touched": self.lists.others,
        })
    }

    fn lines(&self) -> Vec<String> {
        let id = self.id;
        let mut lines = Vec::new();
        if let Some(at) = self.traced.forgotten_at {
            lines.push(format!("contact {id} was forgotten at {} already", moment(at)));
        }
        let rows: Vec<String> = self.forgotten.rows.iter().map(|(name, count)| format!("{count} {name}")).collect();
        if !rows.is_empty() {
            lines.push(format!("contact {id}: erased {}", rows.join(", ")));
        }
        if self.forgotten.runs > 0 {
            lines.push(format!("its id was taken out of the records of {} runs", self.forgotten.runs));
        }
        for list in &self.lists.naming {
            lines.push(format!("its rows were taken out of {}", list.display()));
        }
        lines.push(String::from("it is not carried again; all that is kept is a keyed hash of its id"));
        if !self.log_emptied {
            lines.push(String::from(
                "another process reads the state just now, so its -wal file may still hold what was erased: run the same \
                 command again when it is done",
            ));
        }
        lines.push(match self.traced.target {
            Some(target) => format!("not touched: customer {target} in FIRST LINE, and the contact in LiveDesk"),
            None => String::from("not touched: FIRST LINE and LiveDesk"),
        });
        lines.push(String::from("not touched: logs, exports, backups, plans and reports that were made before"));
        for other in &self.lists.others {
            lines.push(format!("not touched, look at it: {}", other.display()));
        }
        lines
    }
}
