//! `verify` and the state: what the state explains, and what it keeps from being compared at all.

use std::sync::Arc;

use deskferry::clock::{Clock, SystemClock, TestClock};
use deskferry::sandbox::livedesk::{LabelFilter, LiveDeskSwitches};
use deskferry::sync::pipeline::Entrants;
use serde_json::{Value, json};

use crate::cli_support::Desk;
use crate::verify::{Customer, Told, customers, verified};
use crate::world::World;

/// A finding about a contact as a whole.
fn about(class: &str, contact: u64) -> Told {
    (class.to_owned(), contact.cast_signed(), String::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_person_is_counted_and_neither_compared_nor_named_whatever_became_of_them() {
    let world = World::with(60).await;
    world.backfill().await;
    let (livedesk, firstline) = (world.sandbox.livedesk(), world.sandbox.firstline());
    let mut rest = customers(&world.sandbox);
    rest.retain(|customer| customer.contact > 0 && customer.email().is_some());
    let [there, left, odd, hidden, mate, twin]: [Customer; 6] = rest.split_off(rest.len() - 6).try_into().unwrap();
    for person in [&there, &left, &odd, &hidden] {
        let id = person.contact.to_string();
        assert_eq!(world.command(&["state", "forget", &id, "--yes"]).await.code(), Some(0));
    }
    let edit = |id: u64, key: &str, value: Value| {
        assert!(livedesk.edit(id, |row| drop(row.insert(key.to_owned(), value))));
    };
    edit(there.contact, "name", json!("王大明"));
    assert!(livedesk.delete(left.contact));
    edit(odd.contact, "name", json!(["no", "text"]));
    for key in ["email", "phone_number", "identifier"] {
        edit(hidden.contact, key, Value::Null);
    }
    // What others lack stands on their customers.
    let (row, address) = mate.email().unwrap();
    assert!(firstline.remove_email(row) && firstline.add_email(there.id, &address).is_some());
    assert!(firstline.edit(twin.id, "membership_no", json!(format!("LD-{}", left.contact))));

    let csv = world.folder().join("findings.csv").to_str().unwrap().to_owned();
    let report = world.folder().join("report.html").to_str().unwrap().to_owned();
    let files = ["--csv", &csv, "--report", &report];
    for (arguments, forgotten, mates) in [
        (&[][..], 4, "lost_email"),
        (&["--show-values"], 4, "lost_email"),
        (&["--ignore-state"], 4, "lost_email"),
        // Who left, or is hidden, is in no list that a sample is drawn from.
        (&["--sample", "1000"], 2, "lost_email"),
        (&["--sample", "1000", "--ignore-state"], 2, "lost_email"),
    ] {
        let (_, document, found) = verified(&world, &[arguments, &files].concat()).await;
        assert_eq!(document["contacts"]["forgotten"], forgotten, "{arguments:?}: {document:#}");
        let page = std::fs::read_to_string(&report).unwrap();
        assert!(page.contains(&format!("<span id=\"forgotten\">{forgotten}</span>")), "{arguments:?}");
        let listed = document["livedesk"]["contacts"].as_u64().unwrap();
        let compared = json!(listed - 2);
        assert_eq!(document["contacts"]["compared"], compared, "{arguments:?}: {document:#}");
        let lists = ["findings.jsonl", "findings.csv"].map(|name| world.folder().join(name));
        let lists = lists.map(|path| std::fs::read_to_string(path).unwrap());
        for person in [&there, &left, &odd, &hidden] {
            for text in [&document.to_string(), &page, &lists[0], &lists[1]] {
                for id in [person.contact, person.id] {
                    let named = text.split(|letter: char| !letter.is_ascii_digit()).any(|word| word == id.to_string());
                    assert!(!named, "{arguments:?}: {id} is named in {text}");
                }
            }
        }
        let told = (mates.to_owned(), mate.contact.cast_signed(), String::from("emails"));
        assert!(found.contains_key(&told), "{arguments:?}: {found:?}");
        let alone = if arguments.contains(&"--ignore-state") { "missing" } else { "foreign_stamp" };
        assert_eq!(found[&about(alone, twin.contact)], None, "{arguments:?}: {found:?}");
    }
    let end = world.command(&["verify"]).await;
    assert!(end.says("4 people were forgotten (`deskferry state forget`): not compared"), "{end:?}");
}

#[tokio::test]
async fn nothing_is_written_over_the_state_the_settings_the_mapping_or_another_output() {
    let desk = Desk::new().await;
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let read = || ["state.db", "deskferry.toml", "mapping.toml"].map(|name| std::fs::read(desk.path(name)).unwrap());
    let before = read();
    for name in ["state.db", "./state.db", "state.db-wal", "state.db.lock", "deskferry.toml", "mapping.toml"] {
        let file = desk.folder.path().join(name);
        let file = file.to_str().unwrap();
        for command in [
            &["verify", "--csv", file][..],
            &["verify", "--list", file],
            &["verify", "--report", file],
            &["plan", "-o", file],
            &["probe", "--yes", "-o", file],
        ] {
            let end = desk.run(command).await.expect(2);
            end.says(&format!("{file} is a file that deskferry lives on"));
        }
    }
    assert_eq!(read(), before);
    let list = desk.path("list").to_str().unwrap().to_owned();
    let twice = desk.run(&["verify", "--csv", &list, "--list", &list]).await.expect(2);
    twice.says(&format!("{list} is named twice"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_run_that_could_have_carried_a_contact_says_that_it_is_missing() {
    let mut world = World::with(30).await;
    let hours_ago = |hours: i64| SystemClock.now().0 - hours * 3_600_000;
    let clock = TestClock::default();
    clock.advance_ms(hours_ago(3));
    world.clock = Arc::new(clock);
    world.backfill().await;
    let plan = world.folder().join("plan.jsonl").to_str().unwrap().to_owned();
    assert_eq!(world.command(&["plan", "-o", &plan]).await.code(), Some(0));
    let livedesk = world.sandbox.livedesk();
    let add = |name: &str, hours: i64| {
        let row =
            json!({ "name": name, "email": format!("{name}@example.com"), "created_at": hours_ago(hours) / 1000 });
        livedesk.add_contact(row)
    };
    let other = livedesk.listed_ids()[5].to_string();
    let told = about("missing", add("new", 2));
    for (run, code) in [
        (&["backfill", "--yes", "--only", &other][..], 0),
        (&["backfill", "--yes"], 130),
        (&["backfill", "--yes", "--plan", &plan], 1),
    ] {
        let faults = world.sandbox.livedesk_faults();
        faults.change(|faults| faults.latency_ms = 30);
        let from = faults.requests();
        let mut process = world.spawn(run);
        assert!(process.until(|| faults.requests() > from + 2).await);
        if code == 130 {
            process.signal("INT").await;
        }
        let end = process.end().await;
        faults.clear();
        assert_eq!(end.code(), Some(code), "{run:?}: {end:?}");
        let (code, document, found) = verified(&world, &[]).await;
        assert_eq!((code, found[&told].as_deref()), (Some(0), Some("not_carried_yet")), "{run:?}: {document:#}");
    }
    // A sweep that could have: whoever was there before it, and has no customer, is missing.
    assert_eq!(world.command(&["backfill", "--yes"]).await.code(), Some(0));
    assert_eq!(verified(&world, &[]).await.0, Some(0));
    let late = about("missing", add("late", 1));
    let (code, _, found) = verified(&world, &[]).await;
    assert_eq!((code, &found[&late]), (Some(1), &None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quick_cycle_could_have_carried_whoever_was_there_when_it_began() {
    let mut world = World::with(30).await;
    let ago = |minutes: i64| SystemClock.now().0 - minutes * 60_000;
    let clock = TestClock::default();
    clock.advance_ms(ago(180));
    world.clock = Arc::new(clock.clone());
    world.backfill().await;
    let livedesk = world.sandbox.livedesk();
    let add = |name: &str, minutes: i64| {
        let row = json!({ "name": name, "email": format!("{name}@example.com"), "created_at": ago(minutes) / 1000 });
        livedesk.add_contact(row)
    };
    let carried = about("missing", add("carried", 90));
    assert_eq!(verified(&world, &[]).await.2[&carried].as_deref(), Some("not_carried_yet"));
    clock.advance_ms(120 * 60_000);
    assert!(world.run(Entrants::Recent).await.unwrap().1.failure.is_none());
    let (late, new) = (about("missing", add("late", 70)), about("missing", add("new", 30)));
    let (code, _, found) = verified(&world, &[]).await;
    assert_eq!((code, found.get(&carried), &found[&late]), (Some(1), None, &None));
    assert_eq!(found[&new].as_deref(), Some("not_carried_yet"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_is_told_as_one_wherever_the_stamp_went_and_before_a_run_noticed_it_too() {
    let mut world = World::with(120).await;
    world.choices.match_keys = r#"["email"]"#;
    let livedesk = world.sandbox.livedesk().clone();
    let firstline = world.sandbox.firstline().clone();
    // One customer that was there before and is linked without a stamp of its own.
    let adopted = livedesk.add_contact(json!({ "name": "陳小華", "email": "hua@example.com" }));
    let prior = json!({ "first_name": "林", "membership_no": "M-1" });
    let prior = firstline.add_contact(&prior, &["hua@example.com"], &[], &[]);
    world.backfill().await;
    let rest: Vec<Customer> =
        customers(&world.sandbox).into_iter().filter(|row| row.contact > 0 && row.email().is_some()).collect();
    let (kept, moved, taken) = (rest[20].clone(), rest[21].clone(), rest[22].clone());
    // Into a customer of nobody, which takes the stamp; into another contact's, which keeps its own.
    let theirs = firstline.add_contact(&json!({ "first_name": "Prior", "last_name": "Other" }), &[], &[], &[]);
    assert!(firstline.merge(theirs, moved.id) && firstline.merge(kept.id, taken.id));
    let given = rest[23].clone();
    // Into another contact's, which takes the stamp.
    assert!(firstline.edit(prior, "membership_no", Value::Null) && firstline.merge(prior, given.id));

    let expect = |found: &std::collections::BTreeMap<Told, Option<String>>, noticed: bool| {
        let merged = Some(String::from("merged_at_target"));
        for contact in [moved.contact, given.contact] {
            let mine: Vec<_> = found.iter().filter(|(told, _)| told.1 == contact.cast_signed()).collect();
            assert_eq!(mine, [(&about("missing", contact), &merged)], "noticed: {noticed}");
        }
        assert_eq!(found[&about("foreign_stamp", adopted)], merged, "noticed: {noticed}");
        // Whose stamp is nowhere any more could have been deleted as well, until a run looks for its keys.
        let deleted = &found[&about("missing", taken.contact)];
        assert_eq!(deleted, if noticed { &merged } else { &None }, "noticed: {noticed}");
    };
    let (code, document, found) = verified(&world, &[]).await;
    expect(&found, false);
    assert_eq!((code, &document["unexplained"]), (Some(1), &json!(1)), "{document:#}");
    let (_, _, sampled) = verified(&world, &["--sample", "1000"]).await;
    expect(&sampled, false);
    for contact in [moved.contact, taken.contact, given.contact] {
        assert!(livedesk.edit(contact, |row| drop(row.insert("name".into(), json!("王大明")))));
    }
    world.backfill().await;
    let (code, document, found) = verified(&world, &[]).await;
    expect(&found, true);
    assert_eq!(code, Some(0), "{document:#}");
    let end = world.command(&["verify"]).await;
    assert!(end.says(&format!("its customer {} is part of {theirs}", moved.id)), "{end:?}");
    // Gone from LiveDesk too, it is a customer that was carried once, wherever its stamp stands.
    assert!(livedesk.delete(moved.contact));
    let (code, document, found) = verified(&world, &[]).await;
    assert_eq!(
        (code, found[&about("extra", moved.contact)].as_deref()),
        (Some(0), Some("gone_at_source")),
        "{document:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_compared_is_no_clean_comparison() {
    let mut world = World::with(40).await;
    world.mapping.push_str("\n[[tags]]\nlabel = \"vip\"\ntag = \"VIP\"\n");
    let livedesk = world.sandbox.livedesk();
    livedesk.set_labels(livedesk.listed_ids()[20], &["vip"]);
    world.backfill().await;
    assert_eq!(verified(&world, &[]).await.0, Some(0));
    livedesk.set_switches(LiveDeskSwitches { labels: LabelFilter::Ignored, ..livedesk.switches() });
    let (code, document, _) = verified(&world, &[]).await;
    let told = (&document["clean"], &document["unexplained"], &document["verdict"]);
    let verdict = json!("nothing unexplained; 1 field or label could not be compared");
    assert_eq!((code, told), (Some(1), (&json!(false), &json!(0), &verdict)), "{document:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_linked_customer_with_another_stamp_is_named_wherever_else_the_contacts_own_stamp_stands() {
    let mut world = World::with(60).await;
    world.choices.match_keys = r#"["email"]"#;
    let (livedesk, firstline) = (world.sandbox.livedesk().clone(), world.sandbox.firstline().clone());
    // One customer that was there before and is linked without a stamp of its own.
    let adopted = livedesk.add_contact(json!({ "name": "陳小華", "email": "hua@example.com" }));
    let prior = json!({ "first_name": "林", "membership_no": "M-1" });
    let prior = firstline.add_contact(&prior, &["hua@example.com"], &[], &[]);
    world.backfill().await;
    let mut rest = customers(&world.sandbox);
    rest.retain(|customer| customer.contact > 0 && customer.email().is_some());
    let [other, wrong, odd, bare, twice]: [Customer; 5] = rest.split_off(rest.len() - 5).try_into().unwrap();
    let stamp = |id: u64, number: Value| assert!(firstline.edit(id, "membership_no", number));
    stamp(wrong.id, json!(format!("LD-{}", other.contact)));
    stamp(odd.id, json!("LD-GOLD"));
    stamp(bare.id, Value::Null);
    stamp(twice.id, json!(format!("LD-{}", other.contact)));
    let twin = |contact: u64| {
        let row = json!({ "first_name": "Twin", "membership_no": format!("LD-{contact}") });
        firstline.add_contact(&row, &[], &[], &[])
    };
    for contact in [wrong.contact, odd.contact, bare.contact] {
        twin(contact);
    }
    let twins = [twin(twice.contact), twin(twice.contact)];
    let copy = twin(adopted);
    for arguments in [&[][..], &["--sample", "1000"]] {
        let (code, document, found) = verified(&world, arguments).await;
        let named = |class: &str, contact: u64| {
            let list = std::fs::read_to_string(world.folder().join("findings.jsonl")).unwrap();
            let rows = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let mut rows = rows.filter(|row| row["class"] == class);
            rows.find(|row| row["livedesk_id"] == contact).map(|row| row["firstline_ids"].clone())
        };
        for customer in [&wrong, &odd, &bare, &twice] {
            assert_eq!(
                found.get(&about("foreign_stamp", customer.contact)),
                Some(&None),
                "{arguments:?}: {document:#}"
            );
            assert_eq!(named("foreign_stamp", customer.contact), Some(json!([customer.id])), "{arguments:?}");
        }
        // Whoever is linked without a stamp has two customers all the same.
        assert_eq!(found.get(&about("duplicate", adopted)), Some(&None), "{arguments:?}: {document:#}");
        assert_eq!(named("duplicate", adopted), Some(json!([prior, copy])), "{arguments:?}");
        assert_eq!(named("duplicate", twice.contact), Some(json!(twins)), "{arguments:?}");
        assert!(!found.contains_key(&about("duplicate", other.contact)), "{arguments:?}: {document:#}");
        assert_eq!(code, Some(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_is_lost_is_not_explained_by_an_email_or_an_identity_in_doubt() {
    use deskferry::domain::ids::{FirstLineId, LiveDeskId};
    use deskferry::store::{Conflict, Intent, IntentKind, IntentState, WriteOp};
    let world = World::with(30).await;
    world.backfill().await;
    let mut rest = customers(&world.sandbox);
    rest.retain(|customer| customer.contact > 0 && customer.email().is_some());
    let (doubtful, unsure) = (rest.remove(0), rest.remove(0));
    let store = world.store().await;
    let (run, at) = (store.runs(1).await.unwrap()[0].id, SystemClock.now());
    let intent = Intent {
        seq: store.next_intent_seq(),
        livedesk_id: LiveDeskId(doubtful.contact.cast_signed()),
        kind: IntentKind::Email,
        stamp: format!("LD-{}", doubtful.contact),
        key: Some(deskferry::domain::hash::Digest([1; 16])),
        target: Some(FirstLineId(doubtful.id.cast_signed())),
        high_water: 0,
        opened_at: at,
        parked_at: Some(at),
        state: IntentState::Parked,
        recreated: false,
        base: Vec::new(),
    };
    let conflict = Conflict {
        livedesk_id: LiveDeskId(unsure.contact.cast_signed()),
        kind: String::from("twins"),
        keys: String::from("stamp"),
        candidates: vec![FirstLineId(unsure.id.cast_signed())],
        decision: None,
        carried_to: None,
        left_behind: None,
        at,
        run,
    };
    store.write(vec![WriteOp::OpenIntent(intent), WriteOp::PutConflict(conflict)]).await.unwrap();
    store.close().await;
    for customer in [&doubtful, &unsure] {
        assert!(world.sandbox.firstline().delete(customer.id));
    }
    let (code, document, found) = verified(&world, &[]).await;
    for customer in [&doubtful, &unsure] {
        assert_eq!(found.get(&about("missing", customer.contact)), Some(&None), "{document:#}");
    }
    assert_eq!(code, Some(1));
}
