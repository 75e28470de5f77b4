//! `deskferry status`: where the migration stands, as the state says. Sends nothing, and works while another process
//! writes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Context;
use super::output::{DONE, Failure, say};
use super::runs::{as_json, as_line, moment};
use super::undo::hold_json;
use crate::app::{self, gate};
use crate::store::{
    AbsenceCounts, Accounts, FailureGroup, FinishedSweep, Hold, LaneMark, OpenSweep, Run, Standings, Store, holder,
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs that are shown.
const LATEST: u32 = 5;

/// Reasons for which contacts were set aside that the text lists.
const GROUPS: usize = 10;

/// What is told.
struct Status {
    path: String,
    holder: Option<String>,
    accounts: Option<Accounts>,
    links: u64,
    set_aside: u64,
    poisoned: u64,
    failures: Vec<FailureGroup>,
    standings: Standings,
    absence: AbsenceCounts,
    parked: usize,
    undecided: usize,
    decided: usize,
    forgotten: u64,
    open_sweep: Option<OpenSweep>,
    last_sweep: Option<FinishedSweep>,
    lane: Option<LaneMark>,
    stopped: Vec<String>,
    alarms: Value,
    runs: Vec<Run>,
    hold: Option<Hold>,
}

/// Runs the command.
pub async fn run(_args: Args, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let path = &loaded.settings.state.path;
    let store = app::read_state(path, Arc::clone(&context.clock)).await?;
    let status = Status::read(&store, holder(path)).await?;
    store.close().await;
    if context.json {
        say(status.json());
    } else {
        status.lines().into_iter().for_each(say);
    }
    Ok(DONE)
}

impl Status {
    async fn read(store: &Store, holder: Option<String>) -> Result<Self, Failure> {
        let conflicts = store.conflicts().await?;
        let decided = store.decided().await?.len();
        let (waiting, poisoned) = store.dead_letter_counts().await?;
        Ok(Self {
            path: store.path().display().to_string(),
            holder,
            accounts: store.bound_accounts().await?,
            links: store.link_count().await?,
            set_aside: waiting + poisoned,
            poisoned,
            failures: store.failure_groups().await?,
            standings: store.standings().await?,
            absence: store.absence_counts().await?,
            parked: store.parked_contacts().await?.len(),
            undecided: conflicts.iter().filter(|conflict| conflict.decision.is_none()).count(),
            decided,
            forgotten: store.forgotten_count().await?,
            open_sweep: store.open_sweep().await?,
            last_sweep: store.finished_sweeps(1).await?.pop(),
            lane: store.lane().await?,
            stopped: gate::stopped(store).await?,
            alarms: app::ops::standing_alarms(store).await?,
            runs: store.runs(LATEST).await?,
            hold: store.hold().await?,
        })
    }

    fn json(&self) -> Value {
        json!({
            "state": self.path,
            "holder": self.holder,
            "accounts": self.accounts.as_ref().map(|accounts| json!({
                "livedesk": accounts.livedesk,
                "firstline": accounts.firstline,
            })),
            "links": self.links,
            "standings": {
                "live": self.standings.live,
                "alias": self.standings.alias,
                "gone": self.standings.gone,
            },
            "absent": {
                "absent": self.absence.absent,
                "hidden": self.absence.hidden,
                "missing": self.absence.missing,
                "marked": self.absence.marked,
                "kept": self.absence.kept,
            },
            "left_over": {
                "set_aside": self.set_aside,
                "parked": self.parked,
                "conflicts_undecided": self.undecided,
                "conflicts_waiting": self.decided,
            },
            "poisoned": self.poisoned,
            "forgotten": self.forgotten,
            "failures": self.failures.iter().map(failure).collect::<Vec<_>>(),
            "open_sweep": self.open_sweep.as_ref().map(|sweep| json!({
                "run": sweep.run.0,
                "started_at": moment(sweep.started_at),
                "pass": sweep.position.pass,
                "page": sweep.position.page,
            })),
            "last_sweep": self.last_sweep.as_ref().map(|sweep| json!({
                "run": sweep.run.0,
                "ended_at": moment(sweep.ended_at),
                "verdict": sweep.verdict,
            })),
            "sync": self.lane.as_ref().map(|lane| json!({
                "run": lane.run.0,
                "carried_until": lane.carried_until.map(moment),
                "sorted": lane.sees(),
            })),
            "stopped_fields": self.stopped,
            "hold": self.hold.map(hold_json),
            "alarms": self.alarms,
            "runs": self.runs.iter().map(as_json).collect::<Vec<_>>(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![match &self.holder {
            Some(holder) => format!("state       {} (in use by {holder})", self.path),
            None => format!("state       {} (not in use)", self.path),
        }];
        if let Some(hold) = self.hold {
            lines.push(format!("HELD        {hold}"));
        }
        if let Some(accounts) = &self.accounts {
            lines.push(format!("LiveDesk    {}", accounts.livedesk));
            lines.push(format!("FIRST LINE  {}", accounts.firstline));
        }
        lines.push(format!("linked      {} contacts", self.links));
        let Standings { live: _, alias, gone } = self.standings;
        if alias + gone > 0 {
            lines.push(format!(
                "vanished    {alias} customers were merged into others, {gone} are gone; nothing is written for their contacts"
            ));
        }
        let absence = self.absence;
        if absence.absent > 0 {
            lines.push(format!(
                "absent      {} linked contacts are not listed by LiveDesk any more: {} gone, {} hidden; {} marked, {} kept \
                 because their customer was changed",
                absence.absent, absence.missing, absence.hidden, absence.marked, absence.kept
            ));
        }
        lines.push(format!(
            "left over   {} set aside, {} parked, {} conflicts undecided, {} decided and not carried out",
            self.set_aside, self.parked, self.undecided, self.decided
        ));
        if self.forgotten > 0 {
            lines.push(format!("forgotten   {} people, who are not carried", self.forgotten));
        }
        lines.extend(self.failures.iter().take(GROUPS).map(|group| format!("set aside   {}", group.line())));
        if self.failures.len() > GROUPS {
            lines.push(format!("set aside   {} more reasons; see --json", self.failures.len() - GROUPS));
        }
        if let Some(sweep) = &self.last_sweep {
            lines.push(format!("last sweep  {} (run {}, {})", sweep.verdict, sweep.run, moment(sweep.ended_at)));
        }
        if let Some(lane) = &self.lane {
            let until =
                lane.carried_until.map_or_else(|| String::from("nothing yet"), |at| format!("up to {}", moment(at)));
            let blind = if lane.sees() {
                ""
            } else {
                "; LiveDesk does not sort, as far as can be seen, so changes arrive with sweeps"
            };
            lines.push(format!("last sync   messages and new contacts carried: {until} (run {}){blind}", lane.run));
        }
        if let Some(sweep) = &self.open_sweep {
            lines.push(format!(
                "open sweep  pass {}, page {} (run {}); a backfill goes on there",
                sweep.position.pass, sweep.position.page, sweep.run
            ));
        }
        lines.extend(self.stopped.iter().map(|stopped| format!("stopped     {stopped}")));
        let text = |alarm: &Value, key: &str| alarm[key].as_str().unwrap_or_default().to_owned();
        lines.extend(self.alarms.as_array().into_iter().flatten().map(|alarm| {
            format!("alarm       {} since {}: {}", text(alarm, "alarm"), text(alarm, "since"), text(alarm, "text"))
        }));
        lines.extend(self.runs.iter().map(as_line));
        lines
    }
}

fn failure(group: &FailureGroup) -> Value {
    json!({
        "code": group.code,
        "kind": group.reason.kind.as_str(),
        "field": group.reason.field,
        "status": group.reason.status,
        "detail": group.reason.detail,
        "waiting": group.waiting,
        "poisoned": group.poisoned,
        "samples": group.samples.iter().map(|id| id.0).collect::<Vec<_>>(),
    })
}
