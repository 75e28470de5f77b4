//! `explain ID`: for every contact the program can say what it did, when, why, and what it would do next.

use deskferry::sandbox::livedesk::LiveDeskSwitches;
use serde_json::{Value, json};

use crate::cli_support::Desk;

async fn carried() -> (Desk, String) {
    carried_by(Desk::new().await).await
}

async fn carried_by(desk: Desk) -> (Desk, String) {
    let person = json!({ "name": "Quorn Dieter", "email": "quorn@example.com", "phone_number": "+886900111222" });
    let id = desk.sandbox.livedesk().add_contact(person).to_string();
    desk.run(&["backfill", "--yes"]).await.expect(0);
    (desk, id)
}

async fn told(desk: &Desk, id: &str) -> Value {
    desk.run(&["explain", id, "--json"]).await.expect(0).json()
}

fn rename(desk: &Desk, id: &str, name: &str) {
    let name = json!(name);
    desk.sandbox.livedesk().edit(id.parse().unwrap(), |contact| drop(contact.insert(String::from("name"), name)));
}

#[tokio::test]
async fn a_carried_contact_is_told_with_link_stamp_runs_and_what_comes_next() {
    let (desk, id) = carried().await;
    let first = told(&desk, &id).await;
    let customer = first["link"]["firstline_id"].to_string();
    assert_eq!((&first["link"]["origin"], &first["link"]["settled"]), (&json!("created"), &json!(true)), "{first}");
    assert_eq!(
        first["stamp"],
        json!({ "expected": { "membership_no": format!("LD-{id}") }, "found": id.parse::<i64>().unwrap() })
    );
    assert_eq!(first["last_seen"]["sweep"], 1);
    assert_eq!(first["next"]["action"], "nothing", "{first}");
    assert_eq!(
        (&first["runs"][0]["kind"], &first["runs"][0]["changes"][0]["action"]),
        (&json!("backfill"), &json!("create"))
    );

    rename(&desk, &id, "Quorn Wilhelm");
    let files = desk.files();
    let writes = desk.sandbox.firstline().tally().writes();
    let next = told(&desk, &id).await;
    assert_eq!(next["next"]["action"], "update", "{next}");
    assert_eq!(next["next"]["plan"]["firstline_id"].to_string(), customer);
    assert_eq!((desk.sandbox.firstline().tally().writes(), desk.files()), (writes, files), "a look leaves nothing");
    let text = desk.run(&["explain", &id]).await.expect(0);
    text.says("next run    update");
    text.says("(changed in LiveDesk");
    text.says("--show-values shows them");
    for value in ["Quorn", "Wilhelm", "Dieter", "quorn@", "0900111222"] {
        assert!(
            !text.out.contains(value) && !text.err.contains(value) && !next.to_string().contains(value),
            "{}",
            text.out
        );
    }
    desk.run(&["explain", &id, "--show-values"]).await.expect(0).says("Wilhelm");

    desk.run(&["backfill", "--yes"]).await.expect(0);
    let done = told(&desk, &id).await;
    assert_eq!(done["next"]["action"], "nothing", "{done}");
    let (made, written) = (&done["runs"][0], &done["runs"][1]);
    assert_eq!((&done["link"]["made_by"], &made["notes"]), (&json!(1), &json!(["made the link"])), "{done}");
    assert_eq!(written["notes"], json!([]));
    let changes = written["changes"].as_array().unwrap();
    assert_eq!((&changes[0]["action"], &changes[0]["why"]), (&json!("update"), &json!("source changed")), "{done}");
    assert!(
        changes[0]["parts"].as_array().unwrap().iter().any(|part| part == "first_name" || part == "last_name"),
        "{done}"
    );
    let text = desk.run(&["explain", &id]).await.expect(0);
    assert!(!text.out.contains("Dieter") && !text.out.contains("Wilhelm"), "{}", text.out);

    // By the customer's id, in both spellings.
    for command in
        [&["explain", &format!("fl:{customer}"), "--json"][..], &["explain", "--firstline", &customer, "--json"]]
    {
        assert_eq!(desk.run(command).await.expect(0).json()["livedesk_id"].to_string(), id);
    }
    let offline = desk.run(&["explain", &id, "--offline", "--json"]).await.expect(0).json();
    assert_eq!(
        (&offline["next"], &offline["link"]),
        (&Value::Null, &{
            let mut link = done["link"].clone();
            link.as_object_mut().unwrap().remove("there");
            link
        })
    );
}

#[tokio::test]
async fn while_a_hold_stands_the_next_run_does_nothing_and_what_comes_after_it_is_told_too() {
    let (desk, id) = carried().await;
    rename(&desk, &id, "Quorn Wilhelm");
    desk.run(&["backfill", "--yes"]).await.expect(0);
    desk.run(&["undo", "2", "--yes"]).await.expect(0);
    let held = told(&desk, &id).await;
    assert_eq!((&held["hold"]["undo"], &held["hold"]["of"]), (&json!(3), &json!(2)), "{held}");
    assert_eq!((&held["next"]["action"], &held["next"]["plan"]), (&json!("nothing"), &Value::Null), "{held}");
    assert_eq!(held["after_hold"]["action"], "update", "{held}");
    assert!(held["after_hold"]["plan"]["fields"].is_array(), "{held}");
    // The undo put the link back; it did not make it.
    assert_eq!((&held["link"]["made_by"], &held["runs"][0]["notes"]), (&json!(1), &json!(["made the link"])), "{held}");
    let text = desk.run(&["explain", &id]).await.expect(0);
    text.says(" by run 1, last written");
    text.says("next run    nothing: held since undo 3 took back run 2");
    text.says("after that  update");
    let offline = desk.run(&["explain", &id, "--offline"]).await.expect(0);
    offline.says("next run    nothing: held since undo 3 took back run 2");
    let offline = desk.run(&["explain", &id, "--offline", "--json"]).await.expect(0).json();
    assert_eq!((&offline["hold"]["undo"], &offline["next"]), (&json!(3), &held["next"]), "{offline}");
    desk.run(&["undo", "--release"]).await.expect(0);
    let released = told(&desk, &id).await;
    assert_eq!((&released["hold"], &released["next"]), (&Value::Null, &held["after_hold"]), "{released}");
    assert!(released.get("after_hold").is_none());
}

#[tokio::test]
async fn who_made_a_link_is_not_said_where_nobody_knows_it_any_more() {
    let (desk, id) = carried().await;
    rename(&desk, &id, "Quorn Wilhelm");
    desk.run(&["backfill", "--yes"]).await.expect(0);
    desk.run(&["state", "prune", "--journal-older-than", "0s"]).await.expect(0);
    let known = told(&desk, &id).await;
    assert_eq!(known["link"]["made_by"], Value::Null, "{known}");
    let text = desk.run(&["explain", &id]).await.expect(0);
    assert!(!text.out.contains("made the link") && !text.out.contains("by run"), "{}", text.out);
}

#[tokio::test]
async fn what_keeps_a_contact_from_being_carried_is_told() {
    let (desk, id) = carried().await;
    desk.replace("[firstline]", "[deletes]\npolicy = \"ignore\"\n\n[firstline]");
    let mapping = deskferry::config::template::MAPPING
        .replace("on_error = \"skip\", owner = \"fill_blank\"", "on_error = \"reject\", owner = \"fill_blank\"");
    assert_ne!(mapping, deskferry::config::template::MAPPING);
    desk.write("mapping.toml", &mapping);
    desk.sandbox.livedesk().edit(id.parse().unwrap(), |contact| {
        contact.insert(String::from("custom_attributes"), json!({ "birthday": "no date at all" }));
    });
    desk.run(&["backfill", "--yes"]).await.expect(1);
    let aside = told(&desk, &id).await;
    assert_eq!(
        (&aside["dead_letter"]["kind"], &aside["dead_letter"]["field"]),
        (&json!("mapping"), &json!("birth_at")),
        "{aside}"
    );
    assert!(aside["dead_letter"]["next_at"].is_string(), "{aside}");
    assert_eq!(aside["next"]["action"], "reject", "{aside}");
    let text = desk.run(&["explain", &id]).await.expect(0);
    text.says("set aside   mapping birth_at");
    text.says("1 attempts since");
    assert!(!text.out.contains("no date at all"), "{}", text.out);

    // Gone from LiveDesk: two proven sweeps say so.
    desk.sandbox.livedesk().delete(id.parse().unwrap());
    for _ in 0..2 {
        let _left_over = desk.run(&["backfill", "--yes"]).await;
    }
    let gone = told(&desk, &id).await;
    assert_eq!((&gone["listed"], &gone["next"]), (&json!(false), &Value::Null), "{gone}");
    assert!(gone["absence"]["since"].is_string(), "{gone}");
    desk.run(&["explain", &id]).await.expect(0).says("LiveDesk does not show the contact");
}

#[tokio::test]
async fn a_contact_whose_row_cannot_be_read_is_said_to_be_set_aside_by_the_next_run() {
    for (by_id, listed, action, why) in [
        (false, json!(true), "reject", "`name` is no text"),
        // Read by its id it cannot be told from one that LiveDesk does not show now.
        (true, Value::Null, "unknown", "its absence could not be proven"),
    ] {
        let desk = Desk::new().await;
        desk.sandbox.livedesk().set_switches(LiveDeskSwitches { by_id, ..desk.sandbox.livedesk().switches() });
        let (desk, id) = carried_by(desk).await;
        let broken = json!(["no", "text"]);
        desk.sandbox.livedesk().edit(id.parse().unwrap(), |contact| drop(contact.insert(String::from("name"), broken)));
        let next = told(&desk, &id).await;
        assert_eq!((&next["listed"], &next["next"]["action"]), (&listed, &json!(action)), "{next}");
        desk.run(&["explain", &id]).await.expect(0).says(why);
    }
}

#[tokio::test]
async fn a_merged_customer_and_a_foreign_stamp_are_told() {
    let (desk, id) = carried().await;
    let link = told(&desk, &id).await["link"]["firstline_id"].as_u64().unwrap();
    desk.sandbox.firstline().edit(link, "membership_no", json!("LD-77"));
    let foreign = told(&desk, &id).await;
    assert_eq!(foreign["stamp"]["found"], 77, "{foreign}");
    desk.run(&["explain", &id]).await.expect(0).says("carries another contact's");
    desk.sandbox.firstline().delete(link);
    let gone = told(&desk, &id).await;
    assert_eq!((&gone["link"]["there"], &gone["stamp"]["found"]), (&json!(false), &Value::Null), "{gone}");
}

#[tokio::test]
async fn a_contact_that_the_state_does_not_know_yet_is_looked_for_and_an_unknown_one_names_near_ones() {
    let (desk, id) = carried().await;
    let fresh =
        desk.sandbox.livedesk().add_contact(json!({ "name": "Vail Petra", "email": "vail@example.com" })).to_string();
    let new = told(&desk, &fresh).await;
    assert_eq!((&new["link"], &new["next"]["action"]), (&Value::Null, &json!("create")), "{new}");
    desk.run(&["explain", &fresh, "--offline"])
        .await
        .expect(2)
        .says(&format!("knows no contact {fresh}; did you mean "));
    let unknown = format!("{id}0");
    let refused = desk.run(&["explain", &unknown]).await.expect(2);
    refused.says(&format!("knows no contact {unknown}, and LiveDesk does not show it; did you mean {id}"));
    desk.run(&["explain", "fl:4"])
        .await
        .expect(2)
        .says("customer 4 is linked to no contact, and FIRST LINE does not show it");
    let stranger = desk.sandbox.firstline().add_contact(&json!({ "first_name": "Stranger" }), &[], &[], &[]);
    desk.run(&["explain", &format!("fl:{stranger}")]).await.expect(2).says("carries no stamp of one");
    // An id of FIRST LINE, written as one of LiveDesk.
    let customer = told(&desk, &id).await["link"]["firstline_id"].to_string();
    desk.run(&["explain", &customer]).await.expect(2).says(&format!(
        "customer {customer} in FIRST LINE is linked to contact {id}: `deskferry explain fl:{customer}`"
    ));
    for wrong in ["quorn@example.com", "fl:", "12x"] {
        desk.run(&["explain", wrong]).await.expect(2).says("write a LiveDesk id");
    }
}

#[tokio::test]
async fn a_forgotten_contact_is_said_to_be_that_and_nothing_more() {
    let (desk, id) = carried().await;
    desk.run(&["state", "forget", &id, "--yes"]).await.expect(0);
    let told = told(&desk, &id).await;
    assert_eq!(told.as_object().unwrap().len(), 2, "{told}");
    assert!(told["forgotten_at"].is_string());
    let text = desk.run(&["explain", &id]).await.expect(0);
    assert_eq!(text.out.lines().count(), 1);
    text.says("was forgotten at");
}

#[tokio::test]
async fn a_state_that_is_not_there_damaged_or_of_another_version_is_said() {
    let desk = Desk::new().await;
    for command in [&["explain", "1"][..], &["conflicts", "show", "1"], &["conflicts", "reopen", "1"]] {
        desk.run(command).await.expect(2).says("there is no state file");
    }
    std::fs::write(desk.path("state.db"), vec![b'x'; 8192]).unwrap();
    for command in [&["explain", "1"][..], &["state", "backup", "/tmp/never"], &["state", "export"]] {
        desk.run(command).await.expect(2).says("is damaged or no state file");
    }
}
