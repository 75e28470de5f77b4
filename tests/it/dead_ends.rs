//! Where nothing went on: each place names one way out, and that way works.

use deskferry::config::settings::I_UNDERSTAND;
use deskferry::domain::ids::LiveDeskId;
use deskferry::sandbox::firstline::{FirstLineSwitches, ListsShownIn};
use serde_json::{Value, json};

use crate::cli_support::{Desk, Ended};
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

/// A contact that is linked, and a customer of another person with a phone that the contact gets later.
async fn shared() -> (Desk, u64, u64, String) {
    let (desk, ids) = desk_with(8).await;
    desk.replace("[identity]\n", "[identity]\nshared_keys = \"conflict\"\n");
    let id = ids[0];
    (desk, id, ids[1], id.to_string())
}

fn set(desk: &Desk, id: u64, key: &str, value: Value) {
    assert!(desk.sandbox.livedesk().edit(id, |contact| drop(contact.insert(key.into(), value))));
}

const PHONE: &str = "+886911222333";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_that_a_person_leaves_out_is_not_promised_by_verify() {
    let (desk, id, _, name) = shared().await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    desk.sandbox.firstline().add_contact(&json!({ "first_name": "Other" }), &[], &[PHONE], &[]);
    set(&desk, id, "phone_number", json!(PHONE));
    desk.run(&["backfill", "--yes"]).await.expect(1);
    desk.run(&["conflicts", "resolve", &name, "--skip"]).await.expect(0);
    set(&desk, id, "name", json!("Never Carried"));
    let told = desk.run(&["verify"]).await.expect(0);
    told.says("decided (a person decided not to carry it)");
    assert!(!told.out.contains("not_carried_yet"), "{}", told.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_stood_twice_on_an_adopted_customer_is_explained() {
    let (desk, ids) = desk_with(3).await;
    let firstline = desk.sandbox.firstline();
    let own = |at: usize| (format!("person{at}@example.com"), format!("+8869120{at:05}"));
    let (email, phone) = own(0);
    firstline.add_contact(&json!({ "first_name": "Before" }), &[&email], &[&phone, &phone], &[]);
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let told = desk.run(&["verify"]).await.expect(0);
    told.says("twice phones, adopted");
    // One of ours and one beside it is a fault as before.
    let stamp = Some(format!("LD-{}", ids[1]));
    let made = firstline.contacts().iter().find(|row| row.membership_no == stamp).unwrap().id;
    firstline.add_phone(made, &own(1).1);
    desk.run(&["verify"]).await.expect(1).says("twice phones (");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_question_about_the_same_customers_is_asked_and_not_answered_by_the_old_decision() {
    let (desk, id, _, name) = shared().await;
    let firstline = desk.sandbox.firstline();
    let email = "person0@example.com";
    let chosen = firstline.add_contact(&json!({ "first_name": "A" }), &[email], &[], &[]);
    let other = firstline.add_contact(&json!({ "first_name": "B" }), &[email], &[PHONE], &[]);
    desk.run(&["backfill", "--yes"]).await.expect(1);
    desk.run(&["conflicts", "resolve", &name, "--link", &chosen.to_string()]).await.expect(0);
    desk.run(&["backfill", "--yes"]).await.expect(0);
    set(&desk, id, "phone_number", json!(PHONE));
    for _ in 0..2 {
        desk.run(&["backfill", "--yes"]).await.expect(1);
        let listed = desk.run(&["conflicts", "list"]).await.expect(0);
        listed.says(&format!("contact {name}: shared (phone); candidates {chosen}, {other}"));
        listed.says("undecided");
    }
    let phones = |customer: u64| {
        let rows = firstline.dump();
        let row = rows.as_array().unwrap().iter().find(|row| row["id"] == customer).unwrap().to_string();
        row.contains(PHONE)
    };
    assert!(!phones(chosen), "nobody said that it is shared");
    // One that is still to be carried out stays, and so does one on the same question.
    desk.run(&["conflicts", "resolve", &name, "--create"]).await.expect(0);
    desk.run(&["backfill", "--yes"]).await.expect(0);
    assert!(phones(chosen));
    desk.run(&["backfill", "--yes"]).await.expect(0);
}

fn says_how_to_mend(told: &Ended, own: u64) {
    told.says(&format!("customer {own}"));
    told.says("stamp");
    told.says("in FIRST LINE");
    told.says("deskferry retry");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_for_the_linked_customer_with_a_typed_over_stamp_says_what_helps_and_is_asked_once() {
    let (desk, ids) = desk_with(3).await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let name = ids[0].to_string();
    let firstline = desk.sandbox.firstline();
    let stamp = format!("LD-{name}");
    let own = firstline.contacts().iter().find(|row| row.membership_no.as_deref() == Some(&stamp)).unwrap().id;
    assert!(firstline.edit(own, "membership_no", json!("LD-999999")));
    set(&desk, ids[0], "name", json!("Changed Name"));
    desk.run(&["backfill", "--yes"]).await.expect(1);
    let decided = desk.run(&["conflicts", "resolve", &name, "--link", &own.to_string()]).await.expect(0);
    says_how_to_mend(&decided, own);
    for _ in 0..2 {
        let ended = json_of(&desk, &["backfill", "--yes"], 1).await;
        assert_eq!((&ended["conflicts"], &ended["set_aside"]), (&json!(0), &json!(1)), "{ended}");
        let listed = desk.run(&["conflicts", "list"]).await.expect(0);
        says_how_to_mend(&listed, own);
        assert!(!listed.out.contains("undecided"), "{}", listed.out);
    }
    assert!(firstline.edit(own, "membership_no", Value::Null));
    desk.run(&["retry", &name]).await.expect(0);
    let now = firstline.contacts().iter().find(|row| row.id == own).unwrap().membership_no.clone();
    assert_eq!(now, Some(stamp));
    desk.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_was_found_by_a_phone_and_has_another_email_is_named_wherever_it_is_told() {
    let (desk, ids) = desk_with(3).await;
    let firstline = desk.sandbox.firstline();
    let relative = firstline.add_contact(&json!({}), &["relative@example.com"], &["+886912000000"], &[]);
    firstline.add_contact(&json!({}), &["person1@example.com"], &[], &[]);
    let apart = "matched by its phone; the customer has another e-mail";
    for told in [&["plan"][..], &["plan", "--full"], &["explain", &ids[0].to_string()]] {
        let ended = desk.run(told).await.expect(0);
        ended.says(apart);
        assert!(!ended.out.contains("relative"), "{}", ended.out);
    }
    let ended = desk.run(&["backfill", "--yes"]).await.expect(0);
    ended.says(&format!(
        "1 of the adopted share one key with their customer, and another key that goes before differs: {}",
        ids[0]
    ));
    let told = desk.run(&["explain", &ids[0].to_string()]).await.expect(0);
    told.says(&format!("adopt customer {relative} ({apart})"));
    desk.run(&["explain", &ids[1].to_string()]).await.expect(0).says("(matched by its e-mail)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_does_not_show_its_tags_is_kept_and_nobody_is_said_to_have_changed_it() {
    let (desk, _) = desk_with(3).await;
    let lists_shown_in = ListsShownIn::Rows;
    desk.sandbox.firstline().set_switches(FirstLineSwitches { lists_shown_in, ..FirstLineSwitches::default() });
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let ended = desk.run(&["undo", "1", "--delete-created", "--yes", "--i-understand", I_UNDERSTAND]).await.expect(1);
    ended.says("made by the run, and could not be compared: FIRST LINE does not show its tags");
    assert!(!ended.out.contains("changed since"), "{}", ended.out);
}
