//! What the service shows, beside its work: the board of `ops` follows what is published, and alarms are judged after each
//! run and once a minute.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::due::{Due, Kind};
use super::published::{Published, Standing};
use super::works::Works;
use crate::app::{self, AppError, Sides};
use crate::clock::{Clock, Timestamp};
use crate::config::settings::Settings;
use crate::domain::sweep::Verdict;
use crate::ops::alerts::Sender;
use crate::ops::board::{self, HeldDeletes, Running};
use crate::ops::server::Server;
use crate::ops::trigger::{Accepted, Trigger};
use crate::ops::{self, Ops, Platform};
use crate::store::{Store, StoreError};
use crate::sync::summary::Summary;

use super::ServiceError;

/// How often alarms are judged when nothing happens: silence is one of them.
const TICK: Duration = Duration::from_mins(1);

/// The address that was bound, and what is to be run on it.
pub(super) struct Face {
    pub(super) ops: Ops,
    server: Server,
    sender: Option<Sender>,
}

impl Face {
    /// Binds the address. What is asked for over HTTP goes straight to what is due.
    pub(super) async fn open(
        settings: &Settings,
        store: Store,
        clock: Arc<dyn Clock>,
        due: Due,
    ) -> Result<Self, ServiceError> {
        let trigger = Trigger::new(move |kind| {
            Ok(if due.ask_for_proof(kind) { Accepted::Queued } else { Accepted::AlreadyWaiting })
        });
        let webhook = app::ops::webhook(settings, Arc::clone(&clock))
            .map_err(|source| AppError::Client { platform: "the webhook of alarms", source })?;
        let (ops, server, sender) = Ops::open(app::ops::settings(settings), store, clock, trigger, webhook).await?;
        Ok(Self { ops, server, sender })
    }

    /// Serves and judges until `stop`.
    pub(super) fn show<P: Sides>(self, works: &Arc<Works<P>>, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
        let Self { ops, server, sender } = self;
        let until = stop.clone();
        tasks.spawn(async move {
            if let Err(error) = ops::serve(server, sender, until).await {
                tracing::error!("nothing is shown on ops.listen any more: {error}");
            }
        });
        tasks.spawn(follow(ops, Arc::clone(works), stop.clone()));
    }
}

/// Copies what is published to the board, and has the alarms judged.
async fn follow<P: Sides>(ops: Ops, works: Arc<Works<P>>, stop: CancellationToken) {
    let mut published = works.board.subscribe();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = None;
    loop {
        let now = published.borrow_and_update().clone();
        put(&ops, &works, &now);
        let runs: Vec<_> = now.last.values().map(|ended| ended.run).collect();
        let judge = ended.as_ref() != Some(&runs);
        ended = Some(runs);
        if judge {
            ops.tick().await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => ops.tick().await,
            changed = published.changed() => if changed.is_err() { return },
        }
    }
}

pub(super) fn put<P: Sides>(ops: &Ops, works: &Works<P>, now: &Published) {
    let running =
        now.current.iter().map(|current| Running { run: current.run, kind: current.name, since: current.since });
    ops.board.running(running.collect());
    ops.board.beginning(now.beginning.map(|what| board::Beginning { kind: what.name, since: what.since }));
    ops.board.next(now.next.clone(), works.now());
    let known = |at: Option<Timestamp>| at.and_then(|at| at.unless_ahead_of(works.now()));
    ops.board.carried_until(known(now.carried_until).max(known(now.swept_since)));
    ops.board.held(match &now.standing {
        Standing::Refused(why) | Standing::Held(why) => Some(why.clone()),
        Standing::Starting | Standing::Ready => None,
    });
    let (livedesk, firstline) = works.platforms.paces();
    for (platform, pace) in [(Platform::LiveDesk, livedesk), (Platform::FirstLine, firstline)] {
        ops.metrics.budget(platform, pace.ceiling.unwrap_or_default(), pace.current.unwrap_or_default());
    }
}

/// What a run that judged absence holds back; `None` where it judged nothing.
pub(super) fn held_deletes(summary: &Summary, kind: Kind) -> Option<HeldDeletes> {
    if let Some(over) = &summary.delete_ceiling {
        return Some(HeldDeletes { held: over.candidates, ceiling: over.ceiling });
    }
    // Only a proven sweep judges absence.
    let proven = summary.sweep.as_ref().is_some_and(|sweep| sweep.verdict == Verdict::Proven);
    (kind == Kind::Sweep && proven).then(HeldDeletes::default)
}

/// The same of a run as the state keeps it: of the last one that judged absence, whoever ran it.
pub(super) async fn held_before(store: &Store) -> Result<Option<HeldDeletes>, StoreError> {
    let run = store.last_run_that_was(&Verdict::Proven.to_string()).await?;
    Ok(run.map(|run| {
        let number = |key: &str| run.counts["delete_ceiling"][key].as_u64().unwrap_or_default();
        HeldDeletes { held: number("candidates"), ceiling: number("ceiling") }
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::TestClock;
    use crate::domain::sweep::SweepReport;
    use crate::store::{Access, RunResult};

    #[tokio::test]
    async fn another_process_knows_what_the_last_proven_sweep_held_back_whoever_ran_it() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::Exclusive { holder: String::from("test") };
        let store = Store::open(&folder.path().join("state.db"), access, Arc::new(TestClock::default())).await.unwrap();
        assert_eq!(held_before(&store).await.unwrap(), None);
        let over = json!({ "delete_ceiling": { "candidates": 7, "ceiling": 3 } });
        let none = json!({ "delete_ceiling": null });
        let held = HeldDeletes { held: 7, ceiling: 3 };
        for (kind, verdict, counts, expected) in [
            ("sweep", Some("proven"), &over, held),
            ("sweep", Some("counted"), &none, held),
            ("sync", None, &none, held),
            ("backfill", Some("proven"), &none, HeldDeletes::default()),
        ] {
            let run = store.begin_run(kind, &json!({})).await.unwrap();
            let verdict = verdict.map(str::to_owned);
            store.finish_run(run, RunResult { exit_code: 1, verdict, counts: counts.clone() }).await.unwrap();
            assert_eq!(held_before(&store).await.unwrap(), Some(expected), "after a {kind}");
        }
    }

    #[test]
    fn only_a_proven_sweep_says_that_no_delete_is_held_back_any_more() {
        let after = |verdict| {
            let sweep = SweepReport { verdict, passes: Vec::new(), distinct: 9, count: None, malformed: 0 };
            held_deletes(&Summary { sweep: Some(sweep), ..Summary::default() }, Kind::Sweep)
        };
        assert_eq!(after(Verdict::Counted), None, "it judged nobody");
        assert_eq!(after(Verdict::Short { missing: 1 }), None);
        assert_eq!(after(Verdict::Proven).map(|deletes| deletes.held), Some(0));
    }
}
