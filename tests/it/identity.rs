//! Which FIRST LINE record belongs to a contact, and what may be written to it: adoption, conflicts, look-ups, and the
//! three-way comparison.
//!
//! The words of both platforms are set up by verbs of the sandbox, so that each scenario says whose value is whose.

use std::collections::{BTreeMap, BTreeSet};

use deskferry::domain::ids::{FirstLineId, LiveDeskId};
use deskferry::domain::outcome::SetAsideKind;
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::{Fault, FaultFilter};
use deskferry::sandbox::firstline::{
    ColumnFilter, FilterMode, FirstLineSwitches, MethodOverride, PhoneOwner, Sort, UnsetColumns,
};
use deskferry::store::{Decision, Link, WriteOp};
use deskferry::sync::pipeline::{Entrants, RunEnd};
use serde_json::{Value, json};

use crate::world::World;

const BY_COLUMN: &str = "{ cz_col = 31 }";

/// Both platforms without a single contact.
async fn bare(firstline: FirstLineSwitches) -> World {
    World::start(SandboxConfig { contacts: 0, edge_cases: false, firstline, ..SandboxConfig::default() }).await
}

fn contact(world: &World, fields: Value) -> LiveDeskId {
    LiveDeskId(i64::try_from(world.sandbox.livedesk().add_contact(fields)).unwrap())
}

fn edit_source(world: &World, id: LiveDeskId, key: &str, value: Value) {
    let id = u64::try_from(id.0).unwrap();
    assert!(world.sandbox.livedesk().edit(id, |contact| drop(contact.insert(key.to_owned(), value))));
}

fn record(world: &World, id: u64) -> Value {
    let dump = world.sandbox.firstline().dump();
    dump.as_array().unwrap().iter().find(|record| record["id"] == id).cloned().unwrap_or(Value::Null)
}

/// The one record that carries a contact's stamp, wherever it stands.
fn stamped(world: &World, id: LiveDeskId) -> Value {
    let dump = world.sandbox.firstline().dump();
    let mut found =
        dump.as_array().unwrap().iter().filter(|record| {
            record["membership_no"] == format!("LD-{id}") || record["cz_cols"]["31"] == id.to_string()
        });
    let record = found.next().cloned().unwrap_or(Value::Null);
    assert!(found.next().is_none(), "{id} is there twice");
    record
}

async fn link(world: &World, id: LiveDeskId) -> Option<Link> {
    let store = world.store().await;
    let link = store.links_for(&[id]).await.unwrap().remove(&id);
    store.close().await;
    link
}

async fn target(world: &World, id: LiveDeskId) -> u64 {
    u64::try_from(link(world, id).await.unwrap().target.0).unwrap()
}

async fn decide(world: &World, id: LiveDeskId, decision: Decision) {
    let store = world.store().await;
    let mut conflict = store.conflict_for(&[id]).await.unwrap().remove(&id).unwrap();
    conflict.decision = Some(decision);
    store.write(vec![WriteOp::PutConflict(conflict)]).await.unwrap();
    store.close().await;
}

async fn only(world: &World, id: LiveDeskId) -> RunEnd {
    let (_, end) = world.run(Entrants::Only(BTreeSet::from([id]))).await.unwrap();
    assert!(end.failure.is_none(), "{:?}", end.failure);
    end
}

/// Nothing that stood in a record before is gone or different; blanks may have been filled, rows added.
fn assert_only_blanks_filled(before: &Value, after: &Value) {
    for (field, value) in before.as_object().unwrap() {
        match field.as_str() {
            "cz_cols" => {
                for (column, value) in value.as_object().unwrap() {
                    assert_eq!(&after["cz_cols"][column], value, "column {column} of {}", before["id"]);
                }
            }
            "emails" | "phones" => {
                let rows = after[field].as_array().unwrap();
                assert!(value.as_array().unwrap().iter().all(|row| rows.contains(row)), "{field} of {}", before["id"]);
            }
            _ if value.is_null() => {}
            _ => assert_eq!(&after[field], value, "{field} of {}", before["id"]),
        }
    }
}

fn by_id(dump: &Value) -> BTreeMap<u64, Value> {
    dump.as_array().unwrap().iter().map(|record| (record["id"].as_u64().unwrap(), record.clone())).collect()
}

/// 200 earlier customers, of whom some hold an e-mail or (in its national form) a phone of a contact.
fn earlier_customers(world: &World) -> Vec<u64> {
    let contacts: Vec<_> = world.sandbox.livedesk().contacts().collect();
    let text = |contact: &serde_json::Map<String, Value>, key: &str| {
        contact[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let emails: Vec<String> =
        contacts.iter().skip(150).filter_map(|it| text(it, "email")).step_by(3).take(50).collect();
    let phones: Vec<String> = contacts
        .iter()
        .skip(151)
        .filter_map(|it| text(it, "phone_number"))
        .filter_map(|number| Some(format!("0{}", number.strip_prefix("+886")?)))
        .step_by(3)
        .take(80)
        .collect();
    let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
    let phones: Vec<&str> = phones.iter().map(String::as_str).collect();
    world.sandbox.firstline().seed_customers(200, 7, &emails, &phones)
}

/// Carries 300 contacts into a tenant of 200 customers and checks every record of theirs.
async fn adopt_among_customers(mut world: World, stamp: &'static str) -> World {
    world.choices.stamp = stamp;
    let theirs = earlier_customers(&world);
    let before = by_id(&world.sandbox.firstline().dump());
    let end = world.backfill().await;
    let after = by_id(&world.sandbox.firstline().dump());
    assert!(end.summary.adopted >= 30, "{:?}", end.summary);
    assert_eq!(after.len() as u64, 200 + end.summary.created);
    for id in &theirs {
        assert_only_blanks_filled(&before[id], &after[id]);
    }
    world.sandbox.firstline().reset_counts();
    let again = world.backfill().await;
    assert_eq!(world.sandbox.firstline().tally().writes(), 0, "{:?}", again.summary);
    assert_eq!(by_id(&world.sandbox.firstline().dump()), after);
    assert_eq!(again.summary.unchanged, end.summary.created + end.summary.adopted);
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn earlier_customers_are_adopted_and_nothing_of_theirs_is_overwritten() {
    let world = adopt_among_customers(World::with(300).await, BY_COLUMN).await;
    let mut stamps = BTreeSet::new();
    for record in world.sandbox.firstline().dump().as_array().unwrap() {
        let Some(stamp) = record["cz_cols"]["31"].as_str() else { continue };
        assert!(stamps.insert(stamp.to_owned()), "{stamp} is there twice");
        let source = world.sandbox.livedesk().contact(stamp.parse().unwrap()).unwrap();
        let holds = |rows: &str, key: &str, wanted: &str| {
            record[rows].as_array().unwrap().iter().any(|row| row[key].as_str().unwrap().to_lowercase() == wanted)
        };
        if let Some(email) = source["email"].as_str().filter(|email| !email.is_empty()) {
            assert!(holds("emails", "address", &email.to_lowercase()), "{stamp}");
        }
    }
    assert!(stamps.len() > 280, "{}", stamps.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_with_a_number_of_its_own_is_adopted_without_a_stamp_and_only_once() {
    let world = adopt_among_customers(World::with(300).await, r#"{ membership_no = "LD-" }"#).await;
    let records = world.sandbox.firstline().contacts();
    assert!(records.iter().any(|record| record.membership_no.as_deref().is_some_and(|number| number.starts_with('M'))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn match_keys_are_asked_in_their_order() {
    for (keys, by_email) in [(r#"["email", "phone"]"#, true), (r#"["phone", "email"]"#, false)] {
        let mut world = bare(FirstLineSwitches::default()).await;
        world.choices.match_keys = keys;
        let firstline = world.sandbox.firstline();
        let one = firstline.add_contact(&json!({ "first_name": "One" }), &["Shared@Example.com"], &[], &[]);
        let other = firstline.add_contact(&json!({ "first_name": "Other" }), &[], &["0912-345-678"], &[]);
        let fields = json!({ "name": "Amy Lin", "email": "shared@example.com", "phone_number": "+886912345678" });
        let id = contact(&world, fields);
        let end = world.backfill().await;
        assert_eq!(end.summary.adopted, 1, "{:?}", end.summary);
        assert_eq!(target(&world, id).await, if by_email { one } else { other });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_match_keys_nothing_is_adopted() {
    let mut world = bare(FirstLineSwitches::default()).await;
    world.choices.match_keys = "[]";
    world.sandbox.firstline().add_contact(&json!({ "first_name": "One" }), &["amy@example.com"], &[], &[]);
    contact(&world, json!({ "name": "Amy Lin", "email": "amy@example.com" }));
    let end = world.backfill().await;
    assert_eq!((end.summary.created, end.summary.adopted), (1, 0), "{:?}", end.summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_contacts_that_lead_to_one_customer_by_different_keys_adopt_it_once() {
    let world = bare(FirstLineSwitches::default()).await;
    for number in 0..40 {
        let (email, phone) = (format!("home{number}@example.com"), format!("09120000{number:02}"));
        let home = json!({ "first_name": "Home" });
        world.sandbox.firstline().add_contact(&home, &[email.as_str()], &[phone.as_str()], &[]);
        contact(&world, json!({ "name": "Amy Lin", "email": email }));
        contact(
            &world,
            json!({ "name": "Ben Lin", "phone_number": format!("+88691200 00{number:02}").replace(' ', "") }),
        );
    }
    let end = world.backfill().await;
    assert_eq!((end.summary.adopted, end.summary.created), (40, 40), "{:?}", end.summary);
    assert_eq!(world.sandbox.firstline().len(), 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_candidates_wait_for_a_decision_that_the_next_run_carries_out() {
    for choice in ["link", "create", "skip"] {
        let world = bare(FirstLineSwitches::default()).await;
        let firstline = world.sandbox.firstline();
        let both: Vec<u64> = ["One", "Other"]
            .map(|name| firstline.add_contact(&json!({ "first_name": name }), &["both@example.com"], &[], &[]))
            .to_vec();
        let id = contact(&world, json!({ "name": "Amy Lin", "email": "both@example.com" }));
        let end = world.backfill().await;
        assert_eq!((end.summary.conflicts, end.summary.conflict_ids.clone()), (1, vec![id.0]));
        assert_eq!(end.summary.exit_code(), 1);
        firstline.reset_counts();
        let end = world.backfill().await;
        assert_eq!(end.summary.conflicts, 1);
        let counts = firstline.tally();
        assert_eq!((counts.writes(), counts.contact_get, counts.lookups), (0, 0, 0), "{counts:?}");

        let decision = match choice {
            "link" => Decision::Link(FirstLineId(i64::try_from(both[1]).unwrap())),
            "create" => Decision::Create,
            _ => Decision::Skip,
        };
        decide(&world, id, decision).await;
        let end = world.backfill().await;
        assert_eq!((end.summary.conflicts, end.summary.exit_code()), (0, 0), "{choice}: {:?}", end.summary);
        match choice {
            "link" => assert_eq!((end.summary.adopted, target(&world, id).await), (1, both[1])),
            "create" => assert_eq!((end.summary.created, firstline.len()), (1, 3)),
            _ => assert_eq!((end.summary.not_selected, firstline.len()), (1, 2)),
        }
        firstline.reset_counts();
        let end = world.backfill().await;
        assert_eq!((firstline.tally().writes(), end.summary.conflicts), (0, 0), "{choice}");
        // A later change is an update, not the decision carried out once more.
        edit_source(&world, id, "additional_attributes", json!({ "city": "Tainan" }));
        world.backfill().await;
        assert_eq!(firstline.len(), if choice == "create" { 3 } else { 2 }, "{choice}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_for_a_record_that_belongs_to_another_contact_is_asked_again() {
    let mut world = bare(FirstLineSwitches::default()).await;
    world.choices.shared_keys = "conflict";
    let home = world.sandbox.firstline().add_contact(&json!({ "first_name": "Lin" }), &[], &["0912345678"], &[]);
    let first =
        contact(&world, json!({ "name": "Amy Lin", "phone_number": "+886912345678", "created_at": 1_700_000_000 }));
    let second =
        contact(&world, json!({ "name": "Ben Lin", "phone_number": "+886912345678", "created_at": 1_700_000_060 }));
    let end = world.backfill().await;
    assert_eq!((end.summary.adopted, end.summary.conflicts), (1, 1), "{:?}", end.summary);
    assert_eq!(target(&world, first).await, home);
    decide(&world, second, Decision::Link(FirstLineId(i64::try_from(home).unwrap()))).await;
    let end = world.backfill().await;
    assert_eq!(end.summary.conflicts, 1, "{:?}", end.summary);
    assert_eq!(target(&world, first).await, home);
    decide(&world, second, Decision::Create).await;
    let end = world.backfill().await;
    assert_eq!((end.summary.created, end.summary.conflicts), (1, 0), "{:?}", end.summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_keys_make_a_record_of_their_own_or_a_conflict_as_configured() {
    for (policy, created, conflicts) in [("create", 1, 0), ("conflict", 0, 1)] {
        let mut world = bare(FirstLineSwitches::default()).await;
        world.choices.shared_keys = policy;
        world.sandbox.firstline().add_contact(&json!({ "first_name": "Lin" }), &[], &["0912345678"], &[]);
        for name in ["Amy Lin", "Ben Lin"] {
            contact(&world, json!({ "name": name, "phone_number": "+886912345678" }));
        }
        let end = world.backfill().await;
        let counts = (end.summary.adopted, end.summary.created, end.summary.conflicts);
        assert_eq!(counts, (1, created, conflicts), "{policy}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_is_stamped_for_another_source_is_no_candidate() {
    let world = bare(FirstLineSwitches::default()).await;
    let first = contact(&world, json!({ "name": "Amy Lin", "identifier": "a" }));
    world.backfill().await;
    // Stamped for a contact of LiveDesk that this state has never seen.
    let stranger = json!({ "first_name": "Lin", "membership_no": "LD-999999" });
    world.sandbox.firstline().add_contact(&stranger, &["ben@example.com"], &[], &[]);
    let second = contact(&world, json!({ "name": "Ben Lin", "email": "ben@example.com" }));
    let end = world.backfill().await;
    assert_eq!((end.summary.created, end.summary.adopted), (1, 0), "{:?}", end.summary);
    assert_ne!(stamped(&world, first)["id"], stamped(&world, second)["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_are_recognised_whatever_the_lists_leave_out() {
    let variants = [
        FirstLineSwitches { list_omits_cz_cols: true, ..FirstLineSwitches::default() },
        FirstLineSwitches { list_omits_cz_cols: true, list_omits_children: true, ..FirstLineSwitches::default() },
        FirstLineSwitches { list_omits_children: true, ..FirstLineSwitches::default() },
        FirstLineSwitches { phone_rows_name_contact: false, ..FirstLineSwitches::default() },
        FirstLineSwitches { phone_owner: PhoneOwner::ProfileId, ..FirstLineSwitches::default() },
        FirstLineSwitches { filter_address: FilterMode::Substring, ..FirstLineSwitches::default() },
        FirstLineSwitches { sort: Sort::IdDesc, per_page_max: 10, ..FirstLineSwitches::default() },
    ];
    for (number, switches) in variants.into_iter().enumerate() {
        for stamp in [BY_COLUMN, r#"{ membership_no = "LD-" }"#] {
            let mut world = bare(switches.clone()).await;
            world.choices.stamp = stamp;
            for place in 0..12 {
                let (email, phone) = (format!("mail{place}@example.com"), format!("09120000{place:02}"));
                let name = json!({ "first_name": "Earlier" });
                world.sandbox.firstline().add_contact(&name, &[email.as_str()], &[phone.as_str()], &[]);
                let wide = format!("+8869120000{place:02}");
                match place % 3 {
                    0 => contact(&world, json!({ "name": "Amy Lin", "email": email })),
                    1 => contact(&world, json!({ "name": "Amy Lin", "phone_number": wide })),
                    _ => contact(&world, json!({ "name": "Amy Lin", "email": format!("new{place}@example.com") })),
                };
            }
            let end = world.backfill().await;
            let counts = (end.summary.adopted, end.summary.created, end.summary.set_aside);
            assert_eq!(counts, (8, 4, 0), "variant {number} {stamp}: {:?}", end.summary);
            assert_eq!(world.sandbox.firstline().len(), 16, "variant {number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stamps_that_are_not_ours_are_refused_at_the_first_run_by_their_ids() {
    let world = bare(FirstLineSwitches::default()).await;
    let gold = world.sandbox.firstline().add_contact(
        &json!({ "first_name": "Lin", "membership_no": "LD-GOLD" }),
        &[],
        &[],
        &[],
    );
    contact(&world, json!({ "name": "Amy Lin", "identifier": "a" }));
    let (_, end) = world.run(Entrants::All).await.unwrap();
    let message = end.failure.unwrap().to_string();
    assert!(message.contains(&gold.to_string()) && message.contains("identity.stamp"), "{message}");
    assert_eq!(world.sandbox.firstline().tally().writes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_state_does_not_begin_before_a_target_that_holds_our_stamps() {
    let world = bare(FirstLineSwitches::default()).await;
    contact(&world, json!({ "name": "Amy Lin", "identifier": "a" }));
    world.backfill().await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", world.state_path().display()));
    }
    world.sandbox.firstline().reset_counts();
    for _ in 0..2 {
        let (_, end) = world.run(Entrants::All).await.unwrap();
        let message = end.failure.unwrap().to_string();
        assert!(message.contains("state rebuild"), "{message}");
    }
    assert_eq!(world.sandbox.firstline().tally().writes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_contact_into_a_big_target_costs_a_few_requests() {
    for stamp in [BY_COLUMN, r#"{ membership_no = "LD-" }"#] {
        for (trusted, matched) in [(true, false), (true, true), (false, true)] {
            let mut world = bare(FirstLineSwitches::default()).await;
            world.choices.stamp = stamp;
            contact(&world, json!({ "name": "Amy Lin", "email": "amy@example.com", "phone_number": "+886900000001" }));
            world.backfill().await;
            let firstline = world.sandbox.firstline();
            firstline.seed_customers(1_500, 7, &["known@example.com"], &["0912345678"]);
            if !trusted {
                firstline.set_switches(FirstLineSwitches {
                    filter_membership_no: FilterMode::Ignored,
                    filter_cz_cols: ColumnFilter::Ignored,
                    filter_address: FilterMode::Ignored,
                    ..firstline.switches()
                });
            }
            firstline.reset_counts();
            let name = if matched { "known@example.com" } else { "new@example.com" };
            let id = contact(&world, json!({ "name": "Ben Lin", "email": name, "phone_number": "+886900000002" }));
            let end = only(&world, id).await;
            let expected = if matched { (1, 0) } else { (0, 1) };
            assert_eq!((end.summary.adopted, end.summary.created), expected, "{stamp}: {:?}", end.summary);
            let counts = firstline.tally();
            let lists = counts.contact_list + counts.email_list + counts.phone_list;
            if trusted {
                assert!(lists < 20 && counts.total < 30, "{counts:?}");
            } else {
                assert!(lists > 30, "only the whole list can tell: {counts:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_created_blindly_into_a_list_that_cannot_be_proven() {
    // No total, and an order that shows some customers twice and others never.
    let sort = Sort::UnstableTies;
    let switches = FirstLineSwitches { total_left_out: true, sort, per_page_max: 10, ..FirstLineSwitches::default() };
    let world = bare(switches).await;
    world.sandbox.firstline().add_contact(&json!({ "first_name": "Lin" }), &["known@example.com"], &[], &[]);
    for _ in 1..60 {
        world.sandbox.firstline().add_contact(&json!({ "first_name": "Lin" }), &[], &[], &[]);
    }
    let known = contact(&world, json!({ "name": "Amy Lin", "email": "known@example.com" }));
    for number in 0..5 {
        contact(&world, json!({ "name": "Ben Lin", "email": format!("new{number}@example.com") }));
    }
    for _ in 0..2 {
        let end = world.backfill().await;
        assert_eq!((end.summary.created, end.summary.exit_code()), (0, 1), "{:?}", end.summary);
        assert!(end.summary.set_aside_rows.iter().all(|row| row.reason.kind == SetAsideKind::Unproven));
        assert!(end.summary.set_aside >= 5, "{:?}", end.summary);
        assert_eq!(world.sandbox.firstline().len(), 60);
    }
    world.sandbox.firstline().set_switches(FirstLineSwitches::default());
    let end = world.backfill().await;
    assert_eq!((end.summary.created, end.summary.set_aside, end.summary.exit_code()), (5, 0, 0), "{:?}", end.summary);
    assert!(link(&world, known).await.is_some());
    assert_eq!(world.sandbox.firstline().len(), 65);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_without_a_total_is_believed_when_a_second_whole_walk_finds_nothing_new() {
    let without = [
        FirstLineSwitches { total_left_out: true, per_page_max: 25, ..FirstLineSwitches::default() },
        FirstLineSwitches { meta_left_out: true, per_page_max: 25, ..FirstLineSwitches::default() },
        FirstLineSwitches { meta_left_out: true, list_omits_children: true, ..FirstLineSwitches::default() },
    ];
    for (number, switches) in without.into_iter().enumerate() {
        for customers in [0, 60] {
            let world = bare(switches.clone()).await;
            world.sandbox.firstline().seed_customers(customers, 7, &["known@example.com"], &[]);
            for name in ["known", "new"] {
                contact(&world, json!({ "name": "Amy Lin", "email": format!("{name}@example.com") }));
            }
            let end = world.backfill().await;
            let adopted = u64::from(customers > 0);
            let counts = (end.summary.adopted, end.summary.created, end.summary.set_aside);
            assert_eq!(counts, (adopted, 2 - adopted, 0), "variant {number}, {customers}: {:?}", end.summary);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_without_an_owner_casts_doubt_on_its_own_key_only() {
    let world = bare(FirstLineSwitches { list_omits_children: true, ..FirstLineSwitches::default() }).await;
    let firstline = world.sandbox.firstline();
    firstline.seed_customers(20, 7, &["known@example.com"], &["0912345678"]);
    firstline.add_ownerless_email("lost@example.com");
    firstline.add_ownerless_phone("0987654321");
    // A row of somebody, too: that one may be believed.
    firstline.add_ownerless_email("known@example.com");
    contact(&world, json!({ "name": "Amy Lin", "email": "known@example.com" }));
    contact(&world, json!({ "name": "Ben Lin", "email": "new@example.com", "phone_number": "+886911111111" }));
    let lost = [
        contact(&world, json!({ "name": "Cat Lin", "email": "Lost@example.com" })),
        contact(&world, json!({ "name": "Dan Lin", "phone_number": "+886987654321" })),
    ];
    let end = world.backfill().await;
    let counts = (end.summary.adopted, end.summary.created, end.summary.set_aside);
    assert_eq!(counts, (1, 1, 2), "{:?}", end.summary);
    for row in &end.summary.set_aside_rows {
        assert!(row.id.is_some_and(|id| lost.contains(&id)), "{row:?}");
        assert_eq!(row.reason.kind, SetAsideKind::Unproven);
        assert!(format!("{:?}", row.reason).contains("names no customer"), "{row:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_leave_out_empty_keys_prove_absences_and_let_adopted_records_be_stamped() {
    for stamp in [BY_COLUMN, r#"{ membership_no = "LD-" }"#] {
        let switches = FirstLineSwitches {
            nulls_left_out: true,
            unset_cz_cols: UnsetColumns::LeftOut,
            per_page_max: 10,
            ..FirstLineSwitches::default()
        };
        let mut world = bare(switches).await;
        world.choices.stamp = stamp;
        let firstline = world.sandbox.firstline();
        let known = firstline.add_contact(&json!({ "first_name": "Amy" }), &["known@example.com"], &[], &[]);
        for number in 0..30 {
            firstline.add_contact(&json!({ "first_name": "Lin" }), &[&format!("other{number}@example.com")], &[], &[]);
        }
        // The only one that shows that the tenant has such keys, on the last page.
        let gold = json!({ "first_name": "Lin", "membership_no": "M1" });
        firstline.add_contact(&gold, &[], &[], &[(42, json!("Taipei"))]);
        let amy = contact(&world, json!({ "name": "Amy Lin", "email": "known@example.com" }));
        contact(&world, json!({ "name": "Ben Lin", "email": "new@example.com" }));
        let end = world.backfill().await;
        let counts = (end.summary.adopted, end.summary.created, end.summary.set_aside);
        assert_eq!(counts, (1, 1, 0), "{stamp}: {:?}", end.summary);
        assert_eq!(stamped(&world, amy)["id"], known, "{stamp}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_shown_does_not_end_the_survey() {
    let mut world = bare(FirstLineSwitches { list_omits_cz_cols: true, ..FirstLineSwitches::default() }).await;
    world.choices.stamp = BY_COLUMN;
    let firstline = world.sandbox.firstline();
    let known = firstline.add_contact(&json!({ "first_name": "Amy" }), &["known@example.com"], &[], &[]);
    let broken = firstline.add_contact(&json!({ "first_name": "Lin" }), &["lin@example.com"], &[], &[]);
    firstline.set_switches(FirstLineSwitches { unreadable_ids: vec![broken], ..firstline.switches() });
    contact(&world, json!({ "name": "Amy Lin", "email": "new@example.com" }));
    let end = world.backfill().await;
    assert_eq!((end.summary.created, end.summary.set_aside), (0, 1), "it may carry our stamp: {:?}", end.summary);
    firstline.set_switches(FirstLineSwitches { unreadable_ids: Vec::new(), ..firstline.switches() });
    contact(&world, json!({ "name": "Ben Lin", "email": "known@example.com" }));
    let end = world.backfill().await;
    assert_eq!((end.summary.adopted, end.summary.created, end.summary.set_aside), (1, 1, 0), "{:?}", end.summary);
    // A record that is linked already needs no stamp to be known.
    firstline.set_switches(FirstLineSwitches {
        unreadable_ids: vec![known],
        filter_cz_cols: ColumnFilter::Ignored,
        ..firstline.switches()
    });
    contact(&world, json!({ "name": "Cat Lin", "email": "cat@example.com" }));
    let end = world.backfill().await;
    assert_eq!((end.summary.created, end.summary.set_aside), (1, 0), "{:?}", end.summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_with_unstable_ties_is_read_until_it_is_whole_or_nothing_is_created() {
    let switches = FirstLineSwitches { sort: Sort::UnstableTies, per_page_max: 10, ..FirstLineSwitches::default() };
    let world = bare(switches).await;
    let emails: Vec<String> = (0..60).map(|number| format!("known{number}@example.com")).collect();
    for email in &emails {
        world.sandbox.firstline().add_contact(&json!({ "first_name": "Lin" }), &[email.as_str()], &[], &[]);
        contact(&world, json!({ "name": "Amy Lin", "email": email }));
    }
    let end = world.backfill().await;
    assert_eq!(end.summary.created, 0, "{:?}", end.summary);
    assert_eq!(end.summary.adopted + end.summary.set_aside, 60, "{:?}", end.summary);
    assert_eq!(world.sandbox.firstline().len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_sees_only_its_own_customers_is_told_how_many_those_are() {
    let world = bare(FirstLineSwitches { hidden_share: 1.0, ..FirstLineSwitches::default() }).await;
    world.sandbox.firstline().seed_customers(60, 7, &[], &[]);
    contact(&world, json!({ "name": "Amy Lin", "identifier": "a" }));
    let (preflight, _) = world.run(Entrants::All).await.unwrap();
    assert_eq!(preflight.target_total, 0, "what the role sees, so that it can be compared with what it should be");
}

/// A tenant with one contact carried into it: the contact, and its record.
async fn one_carried(switches: FirstLineSwitches, stamp: &'static str) -> (World, LiveDeskId, u64) {
    let mut world = bare(switches).await;
    world.choices.stamp = stamp;
    let id = contact(
        &world,
        json!({ "name": "Amy Lin", "email": "amy@example.com", "phone_number": "+886912345678",
            "additional_attributes": { "city": "Taipei", "company_name": "Example Ltd" },
            "custom_attributes": { "points": 7, "newsletter": true, "vip_level": "gold", "interests": ["music"],
                "birthday": "1990-05-17" } }),
    );
    world.backfill().await;
    let record = target(&world, id).await;
    (world, id, record)
}

fn attributes(city: &str) -> Value {
    json!({ "city": city, "company_name": "Example Ltd" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_word_survives_an_unrelated_change_and_yields_only_where_both_changed_the_field() {
    let (world, id, target) = one_carried(FirstLineSwitches::default(), BY_COLUMN).await;
    let firstline = world.sandbox.firstline();
    assert!(firstline.edit(target, "cz_cols.39", json!("Agents Ltd")));
    edit_source(&world, id, "additional_attributes", attributes("Tainan"));
    let end = world.backfill().await;
    assert_eq!((end.summary.updated, end.summary.kept, end.summary.both_changed), (1, 1, 0), "{:?}", end.summary);
    let after = record(&world, target);
    assert_eq!(
        (after["cz_cols"]["42"].clone(), after["cz_cols"]["39"].clone()),
        (json!("Tainan"), json!("Agents Ltd"))
    );

    assert!(firstline.edit(target, "cz_cols.42", json!("Agents City")));
    edit_source(&world, id, "additional_attributes", attributes("Hualien"));
    let end = world.backfill().await;
    assert_eq!((end.summary.updated, end.summary.both_changed), (1, 1), "{:?}", end.summary);
    assert_eq!(record(&world, target)["cz_cols"]["42"], "Hualien");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_of_the_mapping_decides_where_both_changed_a_field() {
    let (mut world, id, target) = one_carried(FirstLineSwitches::default(), BY_COLUMN).await;
    let city = "field = \"Customer form / City\"\n";
    assert!(world.mapping.contains(city));
    world.mapping = world.mapping.replace(city, &format!("{city}owner = \"target\"\n"));
    world.sandbox.firstline().edit(target, "cz_cols.42", json!("Agents City"));
    edit_source(&world, id, "additional_attributes", attributes("Hualien"));
    let end = world.backfill().await;
    assert_eq!(end.summary.set_aside, 0);
    assert_eq!(record(&world, target)["cz_cols"]["42"], "Agents City");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_emptied_at_the_source_is_cleared_only_where_it_is_ours() {
    let (world, id, target) = one_carried(FirstLineSwitches::default(), BY_COLUMN).await;
    edit_source(&world, id, "additional_attributes", json!({ "city": "", "company_name": "Example Ltd" }));
    world.backfill().await;
    assert_eq!(record(&world, target)["cz_cols"]["42"], Value::Null);

    let theirs = bare(FirstLineSwitches::default()).await;
    let customer = theirs.sandbox.firstline().add_contact(
        &json!({ "first_name": "Lin" }),
        &["amy@example.com"],
        &[],
        &[(42, json!("Agents City"))],
    );
    let id = contact(
        &theirs,
        json!({ "name": "Amy Lin", "email": "amy@example.com", "additional_attributes": attributes("Taipei") }),
    );
    theirs.backfill().await;
    edit_source(&theirs, id, "additional_attributes", json!({}));
    theirs.backfill().await;
    assert_eq!(record(&theirs, customer)["cz_cols"]["42"], "Agents City");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_mapping_writes_only_the_fields_that_differ() {
    let (mut world, _, target) = one_carried(FirstLineSwitches::default(), BY_COLUMN).await;
    let firstline = world.sandbox.firstline();
    firstline.edit(target, "last_name", json!("Agents Name"));
    let before = record(&world, target);
    let line = "value = \"additional_attributes.city\"";
    assert!(world.mapping.contains(line));
    world.mapping = world.mapping.replace(line, "value = \"'City of ' ~ additional_attributes.city\"");
    let end = world.backfill().await;
    assert_eq!(end.summary.updated, 1, "{:?}", end.summary);
    let mut expected = before;
    expected["cz_cols"]["42"] = json!("City of Taipei");
    assert_eq!(record(&world, target), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_find_the_method_that_the_tenant_takes() {
    let tenants = [
        (MethodOverride::Body, false),
        (MethodOverride::Query, false),
        (MethodOverride::Nowhere, true),
        (MethodOverride::Both, false),
    ];
    for (update_override, update_put) in tenants {
        let switches = FirstLineSwitches { update_override, update_put, ..FirstLineSwitches::default() };
        let (world, id, target) = one_carried(switches, BY_COLUMN).await;
        let firstline = world.sandbox.firstline();
        for (round, city) in ["Tainan", "Hualien"].into_iter().enumerate() {
            firstline.reset_counts();
            edit_source(&world, id, "additional_attributes", attributes(city));
            let end = world.backfill().await;
            assert_eq!(end.summary.updated, 1, "{update_override:?}: {:?}", end.summary);
            assert_eq!(record(&world, target)["cz_cols"]["42"], city);
            let counts = firstline.tally();
            assert_eq!(counts.contact_create, 0, "an update must never create: {counts:?}");
            if round == 1 {
                assert_eq!(counts.method_refused, 0, "it was found out in the first round: {counts:?}");
            }
        }
        assert_eq!(firstline.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_costs_one_read_and_one_write() {
    let world = World::with(120).await;
    world.backfill().await;
    let ids = world.sandbox.livedesk().listed_ids();
    let change = |city: &str| {
        for id in &ids {
            world.sandbox.livedesk().edit(*id, |contact| {
                contact.insert(String::from("additional_attributes"), json!({ "city": city }));
            });
        }
    };
    change("Tainan");
    world.backfill().await;
    world.sandbox.firstline().reset_counts();
    change("Hualien");
    let end = world.backfill().await;
    let counts = world.sandbox.firstline().tally();
    assert!(end.summary.updated > 80, "{:?}", end.summary);
    assert_eq!(counts.contact_update, end.summary.updated, "{counts:?}");
    assert!(counts.contact_get <= end.summary.updated + 1, "one read each, and a witness of the account: {counts:?}");
    assert_eq!(counts.email_list + counts.phone_list + counts.email_create + counts.phone_create, 0, "{counts:?}");
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_that_reset_what_they_leave_out_cost_nobody_a_value() {
    let replaces = FirstLineSwitches { update_replaces: true, ..FirstLineSwitches::default() };
    let columns = FirstLineSwitches { update_replaces_cz_cols: true, ..FirstLineSwitches::default() };
    for switches in [replaces, columns] {
        for stamp in [BY_COLUMN, r#"{ membership_no = "LD-" }"#] {
            let (world, id, target) = one_carried(switches.clone(), stamp).await;
            let firstline = world.sandbox.firstline();
            let theirs = json!({ "last_name": "Given", "identity_no": "A123", "first_name": "Family", "gender": 1 });
            let customer = firstline.add_contact(
                &theirs,
                &["ben@example.com"],
                &[],
                &[(33, json!(5)), (34, json!(1)), (35, json!(["food"])), (40, json!("note"))],
            );
            let before = record(&world, customer);
            let adopted = contact(
                &world,
                json!({ "name": "Ben Lin", "email": "ben@example.com", "additional_attributes": attributes("Taipei") }),
            );
            // The adoption comes before anything is known about updates.
            let end = world.backfill().await;
            assert_eq!((end.summary.adopted, end.summary.set_aside), (1, 0), "{:?}", end.summary);
            assert_only_blanks_filled(&before, &record(&world, customer));
            let mut wanted = record(&world, target);
            // A change of a standard field alone says nothing about columns.
            edit_source(&world, id, "name", json!("Amelia Lin"));
            let end = world.backfill().await;
            assert_eq!((end.summary.updated, end.summary.set_aside), (1, 0), "{:?}", end.summary);
            wanted["last_name"] = json!("Amelia");
            assert_eq!(record(&world, target), wanted);
            edit_source(&world, id, "additional_attributes", attributes("Hualien"));
            edit_source(&world, adopted, "identifier", json!("ben-1"));
            let end = world.backfill().await;
            assert_eq!((end.summary.updated, end.summary.set_aside), (2, 0), "{:?}", end.summary);
            wanted["cz_cols"]["42"] = json!("Hualien");
            assert_eq!(record(&world, target), wanted);
            assert_only_blanks_filled(&before, &record(&world, customer));
            assert_eq!(record(&world, customer)["cz_cols"]["41"], "ben-1");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_update_does_not_teach_that_updates_reset_fields() {
    let (world, id, target) = one_carried(FirstLineSwitches::default(), BY_COLUMN).await;
    let firstline = world.sandbox.firstline();
    firstline.set_switches(FirstLineSwitches { name_max: 10, ..firstline.switches() });
    edit_source(&world, id, "name", json!("Maximiliana Lin"));
    let end = world.backfill().await;
    assert_eq!(end.summary.set_aside, 1, "{:?}", end.summary);
    let store = world.store().await;
    assert_eq!(store.profile_get("update_semantics").await.unwrap(), None);
    store.close().await;
    edit_source(&world, id, "name", json!("Ann Lin"));
    let end = world.backfill().await;
    assert_eq!((end.summary.updated, end.summary.set_aside), (1, 0), "{:?}", end.summary);
    assert_eq!(record(&world, target)["last_name"], "Ann");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_email_changed_at_the_source_changes_our_row_and_leaves_an_agents() {
    let (world, id, target) = one_carried(FirstLineSwitches::default(), BY_COLUMN).await;
    let firstline = world.sandbox.firstline();
    let ours = record(&world, target)["emails"][0]["id"].clone();
    let agents = firstline.add_email(target, "agent@example.com").unwrap();
    edit_source(&world, id, "email", json!("amy.new@example.com"));
    edit_source(&world, id, "phone_number", json!("+886987654321"));
    let end = world.backfill().await;
    assert_eq!(end.summary.updated, 1, "{:?}", end.summary);
    let after = record(&world, target);
    assert_eq!(
        after["emails"],
        json!([{ "id": ours, "address": "amy.new@example.com" }, { "id": agents, "address": "agent@example.com" }])
    );
    assert_eq!(after["phones"].as_array().unwrap().len(), 1);
    assert_eq!(after["phones"][0]["number"], "+886987654321");
    firstline.reset_counts();
    world.backfill().await;
    assert_eq!(firstline.tally().writes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_removed_or_corrected_is_not_brought_back_by_an_unrelated_change() {
    for adopted in [false, true] {
        let (world, id, target) = one_carried(FirstLineSwitches::default(), BY_COLUMN).await;
        let (id, target) = if adopted {
            let home = json!({ "first_name": "Lin" });
            let customer = world.sandbox.firstline().add_contact(&home, &["ben@example.com"], &[], &[]);
            let fields = json!({ "name": "Ben Lin", "email": "ben@example.com", "phone_number": "+886922333444",
                "custom_attributes": { "birthday": "1991-02-03" } });
            let id = contact(&world, fields);
            world.backfill().await;
            (id, customer)
        } else {
            (id, target)
        };
        let firstline = world.sandbox.firstline();
        let before = record(&world, target);
        let row = |rows: &str| before[rows][0]["id"].as_u64().unwrap();
        assert!(firstline.remove_email(row("emails")));
        assert!(firstline.edit_phone(target, row("phones"), "+886955555555"));
        assert!(firstline.edit(target, "birth_at", Value::Null));
        edit_source(&world, id, "identifier", json!("changed"));
        let end = world.backfill().await;
        assert_eq!((end.summary.updated, end.summary.kept), (1, 1), "{:?}", end.summary);
        let after = record(&world, target);
        assert_eq!((after["emails"].clone(), after["birth_at"].clone()), (json!([]), Value::Null));
        assert_eq!(after["phones"].as_array().unwrap().len(), 1, "{after}");
        assert_eq!(after["phones"][0]["number"], "+886955555555");
        // A new address at the source is a change of its own; the phone that the agent corrected stays.
        edit_source(&world, id, "email", json!("new.one@example.com"));
        world.backfill().await;
        let after = record(&world, target);
        assert_eq!(after["emails"].as_array().unwrap().len(), 1, "{after}");
        assert_eq!(after["phones"].as_array().unwrap().len(), 1, "{after}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn households_in_an_empty_tenant_end_as_configured_whatever_the_timing() {
    for (policy, created, conflicts) in [("create", 60, 0), ("conflict", 30, 30)] {
        let mut world = bare(FirstLineSwitches::default()).await;
        world.choices.shared_keys = policy;
        for number in 0..30 {
            for name in ["Amy Lin", "Ben Lin"] {
                contact(&world, json!({ "name": name, "phone_number": format!("+8869120000{number:02}") }));
            }
        }
        for _ in 0..2 {
            let end = world.backfill().await;
            assert_eq!(end.summary.conflicts, conflicts, "{policy}: {:?}", end.summary);
            assert_eq!(world.sandbox.firstline().len(), created);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_look_up_compares_what_a_fuzzy_filter_answers_and_knows_the_national_form() {
    let switches = FirstLineSwitches {
        filter_address: FilterMode::Substring,
        filter_number: FilterMode::Substring,
        ..FirstLineSwitches::default()
    };
    let world = bare(switches).await;
    contact(&world, json!({ "name": "Amy Lin", "email": "amy@example.com", "phone_number": "+886900000001" }));
    world.backfill().await;
    let firstline = world.sandbox.firstline();
    firstline.seed_customers(400, 7, &["known@example.com.tw", "unknown@example.com"], &["0912345678"]);
    let near =
        contact(&world, json!({ "name": "Ben Lin", "email": "known@example.com", "phone_number": "+886900000002" }));
    let national =
        contact(&world, json!({ "name": "Cem Lin", "email": "cem@example.com", "phone_number": "+886912345678" }));
    firstline.reset_counts();
    let end = only(&world, near).await;
    assert_eq!((end.summary.created, end.summary.adopted), (1, 0), "{:?}", end.summary);
    let end = only(&world, national).await;
    assert_eq!((end.summary.created, end.summary.adopted), (0, 1), "{:?}", end.summary);
    assert!(firstline.tally().total < 60, "{:?}", firstline.tally());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_half_refused_and_then_taken_back_is_taken_back_at_the_target_too() {
    let (world, id, target) =
        one_carried(FirstLineSwitches { email_unique: true, ..FirstLineSwitches::default() }, BY_COLUMN).await;
    world.sandbox.firstline().add_contact(&json!({ "first_name": "Lin" }), &["taken@example.com"], &[], &[]);
    let before = record(&world, target);
    edit_source(&world, id, "additional_attributes", attributes("Hualien"));
    edit_source(&world, id, "email", json!("taken@example.com"));
    let end = world.backfill().await;
    assert_eq!(end.summary.set_aside, 1, "{:?}", end.summary);
    assert_eq!(record(&world, target)["cz_cols"]["42"], "Hualien");
    edit_source(&world, id, "additional_attributes", attributes("Taipei"));
    edit_source(&world, id, "email", json!("amy@example.com"));
    let end = world.backfill().await;
    assert_eq!((end.summary.updated, end.summary.exit_code()), (1, 0), "{:?}", end.summary);
    assert_eq!(record(&world, target), before);
    let store = world.store().await;
    assert!(store.dead_letters().await.unwrap().is_empty());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_which_one_child_was_refused_is_taken_back_with_the_source() {
    let switches = FirstLineSwitches { phone_unique: true, ..FirstLineSwitches::default() };
    let (world, id, target) = one_carried(switches, BY_COLUMN).await;
    world.sandbox.firstline().add_contact(&json!({ "first_name": "Lin" }), &[], &["+886955000111"], &[]);
    let before = record(&world, target);
    edit_source(&world, id, "email", json!("another@example.com"));
    edit_source(&world, id, "phone_number", json!("+886955000111"));
    let end = world.backfill().await;
    assert_eq!(end.summary.set_aside, 1, "{:?}", end.summary);
    assert_eq!(record(&world, target)["emails"][0]["address"], "another@example.com");
    edit_source(&world, id, "email", json!("amy@example.com"));
    edit_source(&world, id, "phone_number", json!("+886912345678"));
    let end = world.backfill().await;
    assert_eq!((end.summary.updated, end.summary.exit_code()), (1, 0), "{:?}", end.summary);
    assert_eq!(record(&world, target), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_sent_without_an_answer_and_then_taken_back_is_taken_back_at_the_target_too() {
    let (world, id, target) = one_carried(FirstLineSwitches::default(), BY_COLUMN).await;
    // How this tenant takes updates is known.
    edit_source(&world, id, "additional_attributes", attributes("Tainan"));
    assert_eq!(world.backfill().await.summary.updated, 1);
    let before = record(&world, target);
    edit_source(&world, id, "additional_attributes", attributes("Hualien"));
    let faults = world.sandbox.firstline_faults();
    faults.next(Fault::Html, 10_000, FaultFilter::on("POST", "/contact/*"));
    let (_, end) = world.run(Entrants::All).await.unwrap();
    assert!(end.failure.is_some() || end.summary.set_aside == 1, "{:?}", end.summary);
    faults.clear();
    assert_eq!(record(&world, target)["cz_cols"]["42"], "Hualien", "it was applied all the same");
    edit_source(&world, id, "additional_attributes", attributes("Tainan"));
    let end = world.backfill().await;
    assert_eq!((end.summary.updated, end.summary.exit_code()), (1, 0), "{:?}", end.summary);
    assert_eq!(record(&world, target), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_empty_for_once_is_not_believed_by_a_state_that_knows_customers() {
    let world = bare(FirstLineSwitches::default()).await;
    for number in 0..50 {
        contact(&world, json!({ "name": "Amy Lin", "email": format!("amy{number}@example.com") }));
    }
    world.backfill().await;
    let firstline = world.sandbox.firstline();
    firstline.add_contact(&json!({ "first_name": "Prior" }), &["known@example.com"], &[], &[]);
    contact(&world, json!({ "name": "Ben Lin", "email": "known@example.com" }));
    firstline.set_switches(FirstLineSwitches { list_empty: true, ..firstline.switches() });
    let (_, end) = world.run(Entrants::All).await.unwrap();
    let why = end.failure.map(|failure| failure.to_string()).unwrap_or_default();
    assert!(why.contains("shows no customer"), "{why} {:?}", end.summary);
    assert_eq!(firstline.len(), 51, "nobody is made twice");
    firstline.set_switches(FirstLineSwitches::default());
    let end = world.backfill().await;
    assert_eq!((end.summary.adopted, end.summary.created, firstline.len()), (1, 0, 51), "{:?}", end.summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_child_sets_the_contact_aside_with_its_link_and_a_retry_completes_it() {
    let world = bare(FirstLineSwitches { email_unique: true, ..FirstLineSwitches::default() }).await;
    let mut world = world;
    world.choices.match_keys = r#"["phone"]"#;
    let firstline = world.sandbox.firstline();
    let holder = firstline.add_contact(&json!({ "first_name": "Lin" }), &["amy@example.com"], &[], &[]);
    let id = contact(&world, json!({ "name": "Amy Lin", "email": "amy@example.com", "phone_number": "+886912345678" }));
    let end = world.backfill().await;
    assert_eq!((end.summary.set_aside, end.summary.exit_code()), (1, 1), "{:?}", end.summary);
    let row = &end.summary.set_aside_rows[0].reason;
    assert_eq!(
        (row.kind, row.field.as_deref(), row.status),
        (SetAsideKind::ChildRefused, Some("emails[0]"), Some(422))
    );
    let linked = target(&world, id).await;
    assert_eq!(record(&world, linked)["phones"].as_array().unwrap().len(), 1, "the other child goes on");
    firstline.reset_counts();
    let end = world.backfill().await;
    assert_eq!(end.summary.set_aside, 1);
    assert_eq!((firstline.tally().writes(), end.summary.created), (0, 0));
    assert!(firstline.delete(holder));
    let end = only(&world, id).await;
    assert_eq!((end.summary.set_aside, end.summary.exit_code()), (0, 0), "{:?}", end.summary);
    let after = record(&world, linked);
    assert_eq!((after["emails"].as_array().unwrap().len(), after["phones"].as_array().unwrap().len()), (1, 1));
    world.backfill().await;
    assert_eq!(firstline.len(), 1);
    let store = world.store().await;
    assert!(store.dead_letters().await.unwrap().is_empty());
    store.close().await;
}
