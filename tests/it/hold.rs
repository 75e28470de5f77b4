//! While a hold stands nobody is carried but on a person's word.

use std::collections::BTreeSet;
use std::fs;

use deskferry::config::settings::I_UNDERSTAND;
use deskferry::domain::ids::LiveDeskId;
use deskferry::sandbox::faults::{Fault, FaultFilter, NextFault};
use deskferry::store::IntentState;
use serde_json::json;

use crate::plan::{desk_with, records};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_hold_stands_only_those_who_are_named_are_carried_and_undo_tells_who_waits() {
    let (desk, ids) = desk_with(8).await;
    desk.sandbox.firstline_faults().next(Fault::Reset, 1, FaultFilter::on("POST", "/contact"));
    desk.run(&["--no-wait", "backfill", "--yes"]).await.expect(1);
    let there: BTreeSet<u64> = records(&desk).into_keys().collect();
    let waiting = *ids.iter().find(|id| !there.contains(id)).unwrap();
    let named = *there.first().unwrap();
    let ended = desk.run(&["undo", "1", "--yes", "--delete-created", "--i-understand", I_UNDERSTAND]).await.expect(0);
    ended.says("1  creates that never arrived");
    let list = desk.files().into_iter().find(|name| name.starts_with("deskferry-undo-")).unwrap();
    let list = fs::read_to_string(desk.path(&list)).unwrap();
    assert!(list.lines().any(|line| line.starts_with(&format!("{waiting},0,customer,never arrived"))), "{list}");
    assert!(records(&desk).is_empty());
    desk.run(&["undo", "1", "--yes"]).await.expect(0).says("was taken back already");
    let ended = desk.run(&["--json", "backfill", "--yes", "--only", &named.to_string()]).await.expect(1).json();
    let now: Vec<u64> = records(&desk).into_keys().collect();
    assert_eq!(now, [named], "{ended}");
    assert_eq!((&ended["created"], &ended["parked"]), (&json!(1), &json!(1)), "{ended}");
    let store = desk.lock().await;
    let open = store.open_intents().await.unwrap();
    store.close().await;
    let states: Vec<_> = open.iter().map(|intent| (intent.livedesk_id, intent.state)).collect();
    assert_eq!(states, [(LiveDeskId(waiting.cast_signed()), IntentState::Absent)]);
    // Whoever names it has it made, and the lift of the hold makes all of them.
    desk.run(&["backfill", "--yes", "--only", &waiting.to_string()]).await.expect(0);
    assert_eq!(records(&desk).len(), 2);
    desk.run(&["backfill", "--yes"]).await.expect(0);
    assert_eq!(records(&desk).len(), ids.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rehearsal_while_a_hold_stands_carries_its_own_and_leaves_the_hold() {
    let (desk, ids) = desk_with(20).await;
    let late = NextFault { fault: Fault::Reset, times: 1, skip: 12, only: FaultFilter::on("POST", "/contact") };
    desk.sandbox.firstline_faults().change(|settings| settings.next.push(late));
    desk.run(&["--no-wait", "backfill", "--yes"]).await.expect(1);
    desk.run(&["undo", "1", "--yes", "--delete-created", "--i-understand", I_UNDERSTAND]).await.expect(0);
    let ended = desk.run(&["backfill", "--yes", "--limit", "3"]).await.expect(1);
    ended.says("the hold of undo 2 stays");
    assert_eq!(records(&desk).len(), 3, "{}", ended.out);
    desk.run(&["sync"]).await.expect(2).says("held since undo 2");
    // Everybody is carried by a backfill of everybody.
    desk.run(&["backfill", "--yes"]).await.expect(0).says("is lifted by this backfill");
    assert_eq!(records(&desk).len(), ids.len());
}

/// Contacts of which a spread is picked by a rehearsal; the others are the first ones.
const PICKED: u64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_rehearsal_while_a_hold_stands_repeats_the_creates_of_all_its_contacts() {
    let (desk, ids) = desk_with(210).await;
    desk.run(&["backfill", "--yes", "--only", &ids[0].to_string()]).await.expect(0);
    desk.run(&["undo", "1", "--yes", "--delete-created", "--i-understand", I_UNDERSTAND]).await.expect(0);
    // One of the last, who is not of the picked ones, never arrives at first.
    let late = NextFault { fault: Fault::Reset, times: 1, skip: PICKED + 3, only: FaultFilter::on("POST", "/contact") };
    desk.sandbox.firstline_faults().change(|settings| settings.next.push(late));
    let ended = desk.run(&["--json", "backfill", "--yes", "--limit", "205"]).await.expect(0).json();
    assert_eq!((&ended["parked"], records(&desk).len()), (&json!(0), 205), "{ended}");
    desk.run(&["sync"]).await.expect(2).says("held since undo 2");
}
