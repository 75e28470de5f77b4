//! `verify` at tenants whose lists and reads say less than one another: what one of them says is not lost over the other, and
//! what none of them says is no clean comparison.

use std::collections::{BTreeMap, BTreeSet};

use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::firstline::{FilterMode, FirstLineSwitches, ListsShownIn, Sort};
use serde_json::{Value, json};

use crate::verify::{Customer, Told, customers, verified};
use crate::world::World;

type Found = BTreeMap<Told, Option<String>>;

/// A finding about a list.
fn of_list(class: &str, contact: u64, list: &str) -> Told {
    (class.to_owned(), contact.cast_signed(), list.to_owned())
}

/// No answer about a customer embeds e-mails and phones.
fn apart() -> FirstLineSwitches {
    FirstLineSwitches { list_omits_children: true, get_omits_children: true, ..FirstLineSwitches::default() }
}

/// A world that was carried whole before its tenant became what it is.
async fn carried(contacts: u32, switches: FirstLineSwitches) -> World {
    let world = World::start(SandboxConfig { contacts, edge_cases: false, ..SandboxConfig::default() }).await;
    world.backfill().await;
    world.sandbox.firstline().set_switches(switches);
    world
}

/// The customers with an e-mail, by id.
fn with_email(world: &World) -> Vec<Customer> {
    customers(&world.sandbox).into_iter().filter(|customer| customer.email().is_some()).collect()
}

/// Contacts of which an e-mail or a phone could not be compared.
fn not_compared(found: &Found) -> u64 {
    let unread = |(told, reason): &(&Told, &Option<String>)| {
        told.0.starts_with("lost_") && reason.as_deref() == Some("not_shown")
    };
    found.iter().filter(unread).map(|(told, _)| told.1).collect::<BTreeSet<_>>().len() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emails_and_phones_whose_lists_cannot_be_proven_are_read_one_by_one_or_said_not_to_be_compared() {
    let world = carried(60, FirstLineSwitches { child_total_offset: 2, ..apart() }).await;
    let (code, document, found) = verified(&world, &[]).await;
    assert_eq!((code, &document["clean"], not_compared(&found)), (Some(0), &json!(true), 0), "{document:#}");
    assert_eq!(document["firstline"]["children_proven"], false);

    // Whoever would lack an e-mail is among those that are not looked at again.
    let last = with_email(&world).pop().unwrap();
    assert!(world.sandbox.firstline().remove_email(last.email().unwrap().0));
    let page = world.folder().join("report.html").to_str().unwrap().to_owned();
    for alone in [&[][..], &["--ignore-state"]] {
        let few = [&["--recheck", "3", "--report", &page], alone].concat();
        let (code, document, found) = verified(&world, &few).await;
        let many = not_compared(&found);
        assert!(many > 30, "{many}");
        let verdict = format!("nothing unexplained; the e-mails or phones of {many} contacts could not be compared");
        let told = (&document["clean"], &document["unexplained"], &document["verdict"]);
        assert_eq!((code, told), (Some(1), (&json!(false), &json!(0), &json!(verdict))), "{document:#}");
        assert_eq!(document["contacts"]["children_not_compared"], many);
        let html = std::fs::read_to_string(&page).unwrap();
        assert!(html.contains("Not in everything") && html.contains(&format!("phones of {many} contacts could not")));
        assert!(html.contains("its lists of e-mails and phones were not read completely"), "{html}");
        let end = world.command(&[&["verify"][..], &few].concat()).await;
        assert!(end.says("its lists of e-mails and phones were not read completely"), "{end:?}");
    }
    let (_, document, found) = verified(&world, &["--ignore-state"]).await;
    assert_eq!(found[&of_list("lost_email", last.contact, "emails")], None, "{document:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_lacks_customers_who_are_read_by_their_id_is_not_proven() {
    let nothing = FirstLineSwitches {
        list_empty: true,
        filter_membership_no: FilterMode::Ignored,
        ..FirstLineSwitches::default()
    };
    let world = carried(40, nothing).await;
    let linked = customers(&world.sandbox).len();
    let page = world.folder().join("report.html");
    let (code, document, _) = verified(&world, &["--report", page.to_str().unwrap()]).await;
    let told = (&document["clean"], &document["firstline"]["proven"], &document["firstline"]["not_on_the_list"]);
    assert_eq!((code, told), (Some(1), (&json!(false), &json!(false), &json!(linked))), "{document:#}");
    let said = format!("0 of 0, and at least {linked} more that are there and that the list does not name");
    assert!(document["verdict"].as_str().unwrap().contains(&said), "{document:#}");
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("list not read completely") && html.contains("that the list does not name"), "{html}");
    let end = world.command(&["verify"]).await;
    assert!(end.says("list not proven") && end.says(&said), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_email_that_the_list_lacks_stays_lost_where_a_single_customer_cannot_be_asked_for_its_own() {
    // More than the twenty pages after which a filter is held to be ignored, and it is.
    let switches = FirstLineSwitches { filter_contact_id: FilterMode::Ignored, per_page_max: 4, ..apart() };
    let world = carried(120, switches).await;
    let (code, document, clean) = verified(&world, &["--ignore-state"]).await;
    assert_eq!((code, &document["unexplained"]), (Some(0), &json!(0)), "{document:#}");
    let lost = with_email(&world)[40].clone();
    assert!(world.sandbox.firstline().remove_email(lost.email().unwrap().0));
    for (arguments, reason) in [
        (&["--ignore-state"][..], None),
        (&[], Some("edited_at_target")),
        (&["--show-values"], Some("edited_at_target")),
    ] {
        let (_, document, found) = verified(&world, arguments).await;
        let new: Vec<_> = found.iter().filter(|(told, _)| !clean.contains_key(*told)).collect();
        let expected = of_list("lost_email", lost.contact, "emails");
        assert_eq!(new, [(&expected, &reason.map(str::to_owned))], "{arguments:?}: {document:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_name_no_customer_say_neither_that_an_email_is_lost_nor_that_it_is_there() {
    let nameless = FirstLineSwitches { email_rows_name_contact: false, ..apart() };
    let world = carried(40, nameless).await;
    for arguments in [&[][..], &["--ignore-state"]] {
        let (code, document, found) = verified(&world, arguments).await;
        let emails: Vec<_> = found.iter().filter(|(told, _)| told.0 == "lost_email").collect();
        assert_eq!(emails.len(), with_email(&world).len(), "{arguments:?}: {document:#}");
        assert!(emails.iter().all(|(_, reason)| reason.as_deref() == Some("not_shown")), "{arguments:?}: {emails:?}");
        assert_eq!((code, &document["unexplained"]), (Some(1), &json!(0)), "{arguments:?}: {document:#}");
    }

    // One such row that nobody wants hinders nothing; one with somebody's address does not stand in for it.
    let firstline = world.sandbox.firstline();
    firstline.set_switches(apart());
    assert!(firstline.add_ownerless_email("nobody@example.com").is_some());
    assert_eq!(verified(&world, &["--ignore-state"]).await.0, Some(0));
    let lost = with_email(&world)[20].clone();
    let (row, address) = lost.email().unwrap();
    assert!(firstline.remove_email(row) && firstline.add_ownerless_email(&address).is_some());
    let (code, document, found) = verified(&world, &["--ignore-state"]).await;
    let told = of_list("lost_email", lost.contact, "emails");
    assert_eq!((code, &found[&told]), (Some(1), &None), "{document:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_was_taken_off_is_missed_whichever_answers_name_the_tags() {
    let usual = FirstLineSwitches::default;
    for (what, switches) in [
        ("rows of the list alone", FirstLineSwitches { lists_shown_in: ListsShownIn::Rows, ..usual() }),
        ("reads of one customer alone", FirstLineSwitches { lists_shown_in: ListsShownIn::Reads, ..usual() }),
        ("all answers, but no empty list", FirstLineSwitches { nulls_left_out: true, ..usual() }),
    ] {
        let config = SandboxConfig { contacts: 60, edge_cases: false, firstline: switches, ..SandboxConfig::default() };
        let mut world = World::start(config).await;
        world.mapping.push_str("\n[[tags]]\nlabel = \"vip\"\ntag = \"VIP\"\n");
        let listed = world.sandbox.livedesk().listed_ids();
        listed[20..50].iter().for_each(|id| world.sandbox.livedesk().set_labels(*id, &["vip"]));
        world.backfill().await;
        let firstline = world.sandbox.firstline();
        assert_eq!(verified(&world, &["--ignore-state"]).await.0, Some(0), "{what}");
        let bare = customers(&world.sandbox).into_iter().find(|customer| customer.contact == listed[30]).unwrap();
        assert!(firstline.edit(bare.id, "tag_ids", json!([])));
        let told = of_list("tag", bare.contact, "tag VIP");
        for (arguments, reason) in [
            (&["--ignore-state"][..], None),
            (&["--ignore-state", "--sample", "1000"], None),
            (&[], Some("edited_at_target")),
            (&["--sample", "1000"], Some("edited_at_target")),
            (&["--recheck", "9"], None),
        ] {
            if arguments.contains(&"--recheck") {
                // Nor does anything remember what this tenant shows.
                std::fs::remove_file(world.state_path()).unwrap();
            }
            let (_, document, found) = verified(&world, arguments).await;
            let tags: Vec<_> = found.iter().filter(|(told, _)| told.0 == "tag").collect();
            assert_eq!(tags, [(&told, &reason.map(str::to_owned))], "{what} {arguments:?}: {document:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_firstline_does_not_have_is_missing_from_everybody_who_should_have_it() {
    let mut world = World::start(SandboxConfig { contacts: 40, edge_cases: false, ..SandboxConfig::default() }).await;
    world.mapping.push_str("\n[[tags]]\nlabel = \"vip\"\ntag = \"VIP\"\n");
    let listed = world.sandbox.livedesk().listed_ids();
    listed[10..13].iter().for_each(|id| world.sandbox.livedesk().set_labels(*id, &["vip"]));
    world.backfill().await;
    let firstline = world.sandbox.firstline();
    let tag = firstline.tags().into_iter().find(|(_, name)| name == "VIP").unwrap().0;
    let has_it = |customer: &Customer| firstline.contact(customer.id).unwrap().tag_ids.contains(&tag);
    let tagged: BTreeSet<i64> =
        customers(&world.sandbox).iter().filter(|row| has_it(row)).map(|row| row.contact.cast_signed()).collect();
    assert!(tagged.len() > 3 && firstline.remove_tag(tag));
    for (arguments, code, reason) in [(&["--ignore-state"][..], 1, None), (&[], 0, Some("edited_at_target"))] {
        let (exit, document, found) = verified(&world, arguments).await;
        let tags: Vec<_> = found.iter().filter(|(told, _)| told.0 == "tag").map(|(told, why)| (told.1, why)).collect();
        let reason = reason.map(str::to_owned);
        let expected: Vec<_> = tagged.iter().map(|id| (*id, &reason)).collect();
        assert_eq!((exit, tags), (Some(code), expected), "{arguments:?}: {document:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_that_firstline_will_not_show_are_said_not_to_be_compared() {
    let mut world = World::start(SandboxConfig { contacts: 20, edge_cases: false, ..SandboxConfig::default() }).await;
    world.mapping.push_str("\n[[tags]]\nlabel = \"vip\"\ntag = \"VIP\"\n");
    let listed = world.sandbox.livedesk().listed_ids();
    world.sandbox.livedesk().set_labels(listed[10], &["vip"]);
    world.backfill().await;
    world.sandbox.firstline().set_switches(FirstLineSwitches { tags_missing: true, ..FirstLineSwitches::default() });
    let (code, document, found) = verified(&world, &[]).await;
    assert_eq!(found.keys().filter(|told| told.0 == "tag").count(), 0, "{document:#}");
    let verdict = json!("nothing unexplained; 1 tag could not be compared");
    assert_eq!((code, &document["verdict"]), (Some(1), &verdict), "{document:#}");
    assert_eq!(document["tags_unknown"]["VIP"], Value::from("FIRST LINE has no /contact-tag (status 404)"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_calls_nobody_missing_whose_stamp_the_filter_only_half_finds() {
    let switches = FirstLineSwitches {
        filter_membership_no: FilterMode::Prefix,
        per_page_max: 2,
        sort: Sort::IdDesc,
        ..FirstLineSwitches::default()
    };
    let world = carried(60, switches).await;
    let all = customers(&world.sandbox);
    let (there, gone) = (all[20].clone(), all[30].clone());
    // Stamps of more than three pages begin as theirs do.
    for contact in [there.contact, gone.contact] {
        for digit in 0..10 {
            let row = json!({ "first_name": "X", "membership_no": format!("LD-{contact}{digit}") });
            world.sandbox.firstline().add_contact(&row, &[], &[], &[]);
        }
    }
    let everybody = ["--sample", "1000", "--ignore-state"];
    let (code, document, found) = verified(&world, &everybody).await;
    assert_eq!((code, found.keys().filter(|told| told.0 == "missing").count()), (Some(0), 0), "{document:#}");
    assert_eq!(document["contacts"]["compared"], document["livedesk"]["contacts"], "each once");
    assert!(world.sandbox.firstline().delete(gone.id));
    let (code, document, found) = verified(&world, &everybody).await;
    let missing: Vec<i64> = found.keys().filter(|told| told.0 == "missing").map(|told| told.1).collect();
    assert_eq!((code, missing), (Some(1), vec![gone.contact.cast_signed()]), "{document:#}");
}
