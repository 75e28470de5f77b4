//! Where nothing went on: each place names one way out, and that way works.

use deskferry::domain::ids::LiveDeskId;
use serde_json::{Value, json};

use crate::cli_support::Desk;
use crate::plan::desk_with;

/// A rehearsal of six among twenty, whose customers somebody deleted by hand.
async fn deleted_by_hand() -> (Desk, Vec<u64>) {
    let (desk, ids) = desk_with(20).await;
    desk.run(&["backfill", "--limit", "6", "--yes"]).await.expect(0);
    for customer in desk.sandbox.firstline().contacts() {
        assert!(desk.sandbox.firstline().delete(customer.id));
    }
    (desk, ids)
}

async fn rehearsed(desk: &Desk) -> Vec<String> {
    let store = desk.lock().await;
    let links = store.links_page(LiveDeskId(-1), 100).await.unwrap();
    store.close().await;
    links.iter().map(|link| link.livedesk_id.to_string()).collect()
}

async fn json_of(desk: &Desk, arguments: &[&str], code: i32) -> Value {
    desk.run(&[arguments, &["--json"]].concat()).await.expect(code).json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rehearsal_that_was_deleted_by_hand_is_called_gone_on_a_persons_word_and_then_carried_anew() {
    let (desk, ids) = deleted_by_hand().await;
    let creates = desk.creates();
    for refused in [&["backfill", "--yes"][..], &["undo", "1", "--yes"], &["plan"], &["backfill", "--yes"]] {
        let ended = desk.run(refused).await.expect(2);
        ended.says("`deskferry state rebuild`");
        assert_eq!(ended.out, "", "{refused:?}");
    }
    // Nothing was begun, so there is no list of it and no hold.
    assert!(!desk.files().iter().any(|name| name.starts_with("deskferry-undo-")), "{:?}", desk.files());
    assert_eq!(json_of(&desk, &["status"], 0).await["hold"], Value::Null);

    let looked = desk.run(&["state", "rebuild"]).await.expect(1);
    looked.says("none of the 6 customers that this state links to is there any more");
    looked.says("FIRST LINE lists 0 customers");
    looked.says("`deskferry state rebuild --gone 6`");
    // To look was no word.
    desk.run(&["backfill", "--yes"]).await.expect(2);
    desk.run(&["state", "rebuild", "--gone", "5"]).await.expect(2).says("--gone says 5");
    desk.run(&["backfill", "--yes"]).await.expect(2);
    let said = desk.run(&["state", "rebuild", "--gone", "6"]).await.expect(0);
    said.says("`deskferry undo RUN`");
    said.says("--recreate");

    let undone = desk.run(&["undo", "1", "--yes"]).await.expect(0);
    undone.says("took run 1 back");
    undone.says("6  customers that are gone by now");
    assert_eq!(desk.creates(), creates);
    let ended = json_of(&desk, &["backfill", "--yes"], 0).await;
    assert_eq!(ended["created"], ids.len(), "{ended}");
    desk.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_called_gone_is_not_made_again_but_by_name() {
    let (desk, ids) = deleted_by_hand().await;
    desk.run(&["state", "rebuild", "--gone", "6"]).await.expect(0);
    let ended = desk.run(&["backfill", "--yes", "--json"]).await;
    let ended = ended.json();
    assert_eq!(ended["created"], ids.len() - 6, "{ended}");
    let rehearsed: Vec<String> = {
        let all = rehearsed(&desk).await;
        let mut gone = Vec::new();
        for id in all {
            let told = json_of(&desk, &["explain", &id, "--offline"], 0).await;
            if told["link"]["standing"] == "gone" {
                gone.push(id);
            }
        }
        gone
    };
    assert_eq!(rehearsed.len(), 6);
    let names: Vec<&str> = rehearsed.iter().map(String::as_str).collect();
    let ended = json_of(&desk, &[&["retry", "--recreate"], &names[..]].concat(), 0).await;
    assert_eq!(ended["created"], 6, "{ended}");
    desk.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_called_gone_while_one_of_the_customers_is_there() {
    let (desk, _) = desk_with(12).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let customers = desk.sandbox.firstline().contacts();
    for customer in &customers[1..] {
        assert!(desk.sandbox.firstline().delete(customer.id));
    }
    for count in ["11", "12"] {
        let refused = desk.run(&["state", "rebuild", "--gone", count]).await.expect(2);
        refused.says("nothing was marked");
    }
    let store = desk.lock().await;
    assert_eq!(store.standings().await.unwrap().gone, 0);
    store.close().await;
    // Its stamp is off, so that no list shows that it is ours; it still answers.
    assert!(desk.sandbox.firstline().edit(customers[0].id, "membership_no", Value::Null));
    let refused = desk.run(&["state", "rebuild", "--gone", "12"]).await.expect(2);
    refused.says("nothing was marked");
}
