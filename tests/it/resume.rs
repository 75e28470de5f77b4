//! What a run that goes on with an interrupted sweep must not forget.

use std::sync::Arc;

use deskferry::domain::ids::LiveDeskId;
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::{Fault, FaultFilter, NextFault};
use deskferry::store::{Decision, WriteOp};
use deskferry::sync::directory::LazyDirectory;
use deskferry::sync::engine::RunError;
use deskferry::sync::interlude::{Interlude, Played};
use deskferry::sync::pipeline::{Entrants, RunEnd};
use futures::future::LocalBoxFuture;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// A run that is interrupted once FIRST LINE has taken so many contacts.
async fn interrupted_after(world: &mut World, creates: u64) -> RunEnd {
    world.stop = CancellationToken::new();
    let stop = world.stop.clone();
    let firstline = world.sandbox.firstline().clone();
    let end = tokio::join!(world.run(Entrants::All), async move {
        while firstline.tally().contact_create < creates {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    })
    .0
    .unwrap()
    .1;
    world.stop = CancellationToken::new();
    assert_eq!(end.summary.exit_code(), 130);
    end
}

/// Interrupts a run where it would let something else in.
struct Interrupting(CancellationToken);

impl Interlude for Interrupting {
    fn due(&self) -> bool {
        self.0.cancel();
        false
    }

    fn play<'a>(&'a self, _: &'a Arc<LazyDirectory>) -> LocalBoxFuture<'a, Result<Played, RunError>> {
        unreachable!("nothing is ever due")
    }
}

async fn world() -> World {
    World::start(SandboxConfig { contacts: 300, edge_cases: false, ..SandboxConfig::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_run_says_what_is_parked_though_it_did_not_come_by() {
    let mut world = world().await;
    (world.choices.doubt_horizon, world.wait) = ("1h", false);
    // Of the last ones, so that their page is not reached.
    let lost = NextFault { fault: Fault::Reset, times: 2, skip: 290, only: FaultFilter::on("POST", "/contact") };
    world.sandbox.firstline_faults().change(|settings| settings.next.push(lost));
    assert_eq!(world.backfill().await.summary.parked, 2);
    world.interlude = Some(Arc::new(Interrupting(world.stop.clone())));
    let (_, end) = world.run(Entrants::All).await.unwrap();
    let told = (end.summary.interrupted, end.summary.parked, end.summary.parked_ids.len());
    assert_eq!(told, (true, 2, 2), "{:?}", end.summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_on_a_contact_that_was_passed_already_is_carried_out() {
    let mut world = world().await;
    let row = world.sandbox.livedesk().contacts().find(|row| row["email"].is_string()).unwrap();
    let (id, email) = (row["id"].as_i64().unwrap(), row["email"].as_str().unwrap().to_owned());
    for name in ["One", "Two"] {
        world.sandbox.firstline().add_contact(&json!({ "first_name": name }), &[&email], &[], &[]);
    }
    interrupted_after(&mut world, 150).await;
    let store = world.store().await;
    let mut conflict = store.conflict_for(&[LiveDeskId(id)]).await.unwrap().remove(&LiveDeskId(id)).unwrap();
    conflict.decision = Some(Decision::Create);
    store.write(vec![WriteOp::PutConflict(conflict)]).await.unwrap();
    store.close().await;
    let end = world.backfill().await;
    assert_eq!(end.summary.conflicts, 0, "{:?}", end.summary);
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mended_mapping_reaches_the_contacts_that_were_passed_already() {
    let mut world = world().await;
    interrupted_after(&mut world, 150).await;
    world.mapping = world.mapping.replace("value = \"identifier\"", "value = \"'ID ' ~ (identifier or 'none')\"");
    world.backfill().await;
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_a_stopped_run_of_a_plan_left_alone_is_carried_by_the_next_backfill() {
    let world = world().await;
    let plan = world.folder().join("plan.jsonl").to_str().unwrap().to_owned();
    assert_eq!(world.command(&["plan", "-o", &plan]).await.code(), Some(0));
    // On the first page of all.
    let early = json!({ "name": "Early", "email": "early@example.com", "created_at": 1_000_000_000 });
    let early = world.sandbox.livedesk().add_contact(early);
    world.sandbox.firstline_faults().change(|faults| faults.latency_ms = 20);
    let mut process = world.spawn(&["backfill", "--yes", "--plan", &plan]);
    assert!(process.until(|| world.sandbox.firstline().tally().contact_create > 100).await);
    process.signal("INT").await;
    assert_eq!(process.end().await.code(), Some(130));
    world.sandbox.firstline_faults().clear();
    let end = world.command(&["backfill", "--yes"]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    let found = world.command(&["verify"]).await;
    assert!(!found.says(&early.to_string()), "{found:?}");
    world.assert_right().await;
}
