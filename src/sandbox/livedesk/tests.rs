//! The LiveDesk simulation against the platform notes: transport, list rules, ties, drift.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::*;
use crate::sandbox::drift::DriftSwitches;
use crate::sandbox::testing::{call, call_json};

const ORDERS: [(Field, bool); 6] = [
    (Field::Created, false),
    (Field::Created, true),
    (Field::LastActivity, true),
    (Field::Email, false),
    (Field::Phone, false),
    (Field::Name, false),
];

fn desk(count: u32, switches: LiveDeskSwitches) -> LiveDesk {
    LiveDesk::new(People::new(1, count), switches, 1)
}

fn with_ties(count: u32, ties: Ties) -> LiveDesk {
    desk(count, LiveDeskSwitches { ties, ..LiveDeskSwitches::default() })
}

fn id(contact: &Value) -> u64 {
    contact["id"].as_u64().unwrap()
}

async fn get(desk: &LiveDesk, query: &str) -> Value {
    let (status, body) = call_json(&desk.router(), "GET", &format!("/api/v2/accounts/contacts?{query}"), None).await;
    assert_eq!(status, 200);
    body
}

async fn ids(desk: &LiveDesk, query: &str) -> Vec<u64> {
    get(desk, query).await["payload"].as_array().unwrap().iter().map(id).collect()
}

/// One pass until the empty page, as a client that trusts its pages makes it: rows seen, and distinct ids.
fn pass(desk: &LiveDesk, (field, descending): (Field, bool)) -> (usize, HashSet<u64>) {
    let (mut rows, mut distinct) = (0, HashSet::new());
    for number in 1.. {
        let page = desk.page(Sort { field, descending }, number, 15);
        if page.rows.is_empty() {
            break;
        }
        let last = rows + page.rows.len() == page.total;
        assert!(page.rows.len() == 15 || last, "every page but the last is full");
        rows += page.rows.len();
        let of_page: HashSet<u64> = page.rows.iter().map(Stored::id).collect();
        assert_eq!(of_page.len(), page.rows.len(), "no page repeats a contact in itself");
        distinct.extend(of_page);
    }
    (rows, distinct)
}

#[test]
fn with_plans_kept_a_pass_loses_contacts_in_silence_and_a_repeat_loses_the_same() {
    let desk = with_ties(20_000, Ties::Kept);
    let listed: HashSet<u64> = desk.listed_ids().into_iter().collect();
    let (rows, first) = pass(&desk, ORDERS[0]);
    assert_eq!(rows, listed.len(), "the rows add up to the count");
    let lost = listed.len() - first.len();
    assert!((500..5_000).contains(&lost), "{lost}");
    assert_eq!(pass(&desk, ORDERS[0]).1, first, "a repeat brings nothing new");
    let (_, other) = pass(&desk, ORDERS[1]);
    let missing: Vec<_> = listed.iter().filter(|id| !other.contains(id)).collect();
    assert!(missing.len() > 100);
    assert!(missing.iter().filter(|id| first.contains(id)).count() > missing.len() / 2, "another order loses others");
    let mut union = first;
    union.extend(other);
    let after_two = listed.len() - union.len();
    union.extend(ORDERS[2..].iter().flat_map(|order| pass(&desk, *order).1));
    assert_eq!(union.len(), listed.len(), "all orders together lose nothing; two still lost {after_two}");
}

#[test]
fn with_plans_made_anew_a_repeat_loses_others_and_never_all_are_found_in_one_order() {
    let desk = with_ties(20_000, Ties::Anew);
    let listed: HashSet<u64> = desk.listed_ids().into_iter().collect();
    let lost = |seen: &HashSet<u64>| listed.difference(seen).copied().collect::<HashSet<u64>>();
    let first = lost(&pass(&desk, ORDERS[0]).1);
    let again = lost(&pass(&desk, ORDERS[0]).1);
    assert!(first.len() > 1_000, "{}", first.len());
    assert!(again.intersection(&first).count() < first.len() * 6 / 10, "mostly other ones");
    let mut missing = first.intersection(&again).copied().collect::<HashSet<_>>();
    for _ in 0..4 {
        let seen = pass(&desk, ORDERS[0]).1;
        missing.retain(|id| !seen.contains(id));
    }
    assert!(missing.len() > 100, "six passes in one order still miss {}", missing.len());
    for order in ORDERS.iter().cycle().take(12) {
        let seen = pass(&desk, *order).1;
        missing.retain(|id| !seen.contains(id));
    }
    assert!(missing.is_empty(), "rounds through all orders get everything");
}

#[test]
fn with_stable_ties_nothing_is_lost_in_any_order() {
    let desk = with_ties(3_000, Ties::Stable);
    let listed: HashSet<u64> = desk.listed_ids().into_iter().collect();
    for order in ORDERS {
        assert_eq!(pass(&desk, order), (listed.len(), listed.clone()), "{order:?}");
    }
}

#[test]
fn a_small_account_loses_contacts_too() {
    let desk = with_ties(300, Ties::Kept);
    let (rows, seen) = pass(&desk, ORDERS[0]);
    assert!(rows == 295 && seen.len() < 295, "{}", seen.len());
}

#[tokio::test]
async fn a_wrong_key_is_401_and_an_unknown_path_404() {
    let desk = desk(50, LiveDeskSwitches { api_secret: "other".to_owned(), ..LiveDeskSwitches::default() });
    let (status, body) = call_json(&desk.router(), "GET", "/api/v2/accounts/contacts", None).await;
    assert_eq!((status, body), (401, json!({ "error": "Invalid Access Token" })));
    assert_eq!(call(&desk.router(), "GET", "/api/v2/accounts/contacts/1", None).await.0, 401);
    assert_eq!(call(&desk.router(), "GET", "/nowhere", None).await.0, 404);
    assert_eq!(call(&desk.router(), "POST", "/api/v2/accounts/contacts", Some(json!({}))).await.0, 405);
    assert_eq!(desk.counts()["served"]["unauthorized"], 2);
}

#[test]
fn base64_is_the_standard_one() {
    for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
        assert_eq!(api::base64(plain.as_bytes()), text);
    }
}

#[tokio::test]
async fn page_one_has_fifteen_rows_and_the_page_after_the_last_is_empty_with_the_full_count() {
    let desk = desk(50, LiveDeskSwitches::default());
    let first = get(&desk, "page=1&sort=created_at&page_size=10").await;
    assert_eq!(first["payload"].as_array().unwrap().len(), 15);
    assert_eq!(first["meta"], json!({ "count": 49, "current_page": "1" }), "one of 50 is hidden");
    let past = get(&desk, "page=9&sort=created_at").await;
    assert_eq!(past, json!({ "meta": { "count": 49, "current_page": "9" }, "payload": [] }));
    for page in ["page=0", "page=-3", "page=x"] {
        assert_eq!(ids(&desk, page).await, ids(&desk, "page=1").await);
    }
    assert_eq!(get(&desk, "sort=created_at").await["meta"]["current_page"], 1, "a number when nothing was sent");
}

#[tokio::test]
async fn both_spellings_of_descending_can_be_switched() {
    let desk = with_ties(50, Ties::Stable);
    let ascending = ids(&desk, "sort=created_at").await;
    let minus = ids(&desk, "sort=-created_at").await;
    assert_ne!(ascending, minus);
    assert_eq!(ids(&desk, "sort=created_at&direction=desc").await, minus);
    desk.set_switches(LiveDeskSwitches { direction: DirectionStyle::Minus, ties: Ties::Stable, ..desk.switches() });
    assert_eq!(ids(&desk, "sort=created_at&direction=desc").await, ascending);
    assert_eq!(ids(&desk, "sort=-created_at").await, minus);
    desk.set_switches(LiveDeskSwitches { direction: DirectionStyle::Parameter, ..desk.switches() });
    assert_eq!(ids(&desk, "sort=created_at&direction=desc").await, minus);
    assert_eq!(ids(&desk, "sort=-created_at").await, ids(&desk, "").await, "an unknown key is unsorted, not an error");
    desk.set_switches(LiveDeskSwitches { ignore_sort: true, ..desk.switches() });
    assert_eq!(ids(&desk, "sort=name").await, ids(&desk, "sort=nonsense").await);
}

#[tokio::test]
async fn an_unsorted_scan_moves_an_edited_row_to_the_end() {
    let desk = desk(60, LiveDeskSwitches { page_size: 100, ..LiveDeskSwitches::default() });
    let before = ids(&desk, "").await;
    assert!(desk.edit(before[0], |contact| drop(contact.insert("name".to_owned(), "Edited".into()))));
    let after = ids(&desk, "").await;
    assert_eq!(after.last(), Some(&before[0]));
    assert_eq!(after[..after.len() - 1], before[1..]);
}

#[tokio::test]
async fn types_clash_as_the_switches_say() {
    let clashing = LiveDeskSwitches {
        ids: Spelling::Mixed,
        timestamps: Spelling::Text,
        blocked_as_text: true,
        current_page: PageStyle::Number,
        count_offset: -4,
        ..LiveDeskSwitches::default()
    };
    let desk = desk(200, clashing);
    let body = get(&desk, "page=8&sort=created_at&include_contact_inboxes=false").await;
    assert_eq!(body["meta"], json!({ "count": 191, "current_page": 8 }));
    let rows = body["payload"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["id"].is_string()) && rows.iter().any(|row| row["id"].is_number()));
    assert!(rows.iter().all(|row| row["created_at"].is_string() && row["blocked"].is_string()));
    assert!(rows.iter().all(|row| row.get("contact_inboxes").is_none()), "absent, not empty");
    assert!(rows.iter().any(|row| row.get("last_activity_at").is_none()), "absent, not null");
}

#[tokio::test]
async fn hidden_contacts_are_served_by_id_and_not_listed() {
    let desk = desk(200, LiveDeskSwitches::default());
    let dump = desk.dump();
    let hidden = id(&dump["hidden"][0]);
    assert!(!desk.listed_ids().contains(&hidden));
    let path = format!("/api/v2/accounts/contacts/{hidden}");
    assert_eq!(call_json(&desk.router(), "GET", &path, None).await.1["payload"]["id"], hidden);
    desk.set_switches(LiveDeskSwitches { by_id: false, ..desk.switches() });
    assert_eq!(call(&desk.router(), "GET", &path, None).await.0, 404);
}

#[tokio::test]
async fn search_is_a_substring_with_wildcards_and_labels_filter() {
    let desk = desk(400, LiveDeskSwitches::default());
    let found = get(&desk, "q=UNDER_SCORE&sort=created_at").await;
    assert_eq!(found["meta"]["count"], 1);
    assert_eq!(found["payload"][0]["email"], "under_score@example.com");
    assert_eq!(get(&desk, "q=tagged%2Bnews").await["meta"]["count"], 1);
    assert_eq!(get(&desk, "q=TestIdent").await["meta"]["count"], 1, "an identifier minds its case");
    assert_eq!(get(&desk, "q=jhn%25example").await["meta"]["count"], 1, "% is a wildcard");
    let labelled = get(&desk, "labels[]=vip&labels[]=wholesale").await["meta"]["count"].as_u64().unwrap();
    assert!((20..200).contains(&labelled), "{labelled}");
    assert_eq!(get(&desk, "labels=vip,wholesale").await["meta"]["count"], labelled);
    desk.set_switches(LiveDeskSwitches { search_counts_page: true, ..desk.switches() });
    let newer = get(&desk, "q=anonymous").await;
    assert_eq!(newer["meta"], json!({ "count": 1, "current_page": 1, "has_more": false }));
}

#[tokio::test]
async fn a_stuck_server_answers_the_same_page_again() {
    let desk = desk(100, LiveDeskSwitches { stuck_page: 2, ties: Ties::Stable, ..LiveDeskSwitches::default() });
    assert_eq!(ids(&desk, "page=5&sort=created_at").await, ids(&desk, "page=2&sort=created_at").await);
    assert_ne!(ids(&desk, "page=1&sort=created_at").await, ids(&desk, "page=2&sort=created_at").await);
}

#[test]
fn a_merge_fills_the_blanks_of_the_survivor_and_the_other_id_vanishes() {
    let desk = desk(0, LiveDeskSwitches::default());
    let add = |contact| desk.add_contact(contact);
    let base = add(json!({ "name": "Base", "email": "b@example.com", "custom_attributes": { "a": 1 } }));
    let other = add(json!({ "name": "Other", "email": "o@example.com", "phone_number": "+886912000999",
        "custom_attributes": { "a": 2, "b": 3 } }));
    let listed = desk.listed_ids();
    assert!(base < other && desk.merge(base, other) && !desk.merge(base, other) && !desk.merge(base, base));
    let merged = Value::Object(desk.contact(base).unwrap());
    assert_eq!((&merged["name"], &merged["email"]), (&json!("Base"), &json!("b@example.com")));
    assert_eq!(
        (&merged["phone_number"], &merged["custom_attributes"]),
        (&json!("+886912000999"), &json!({ "a": 1, "b": 3 }))
    );
    assert_eq!((desk.contact(other), desk.deleted_ids()), (None, vec![other]));
    assert_eq!(desk.survivors(&listed).len(), listed.len() - 1);
}

#[test]
fn indexes_follow_every_change_as_if_they_were_built_anew() {
    let drift = DriftSwitches { every: 1, ..DriftSwitches::default() };
    let desk = desk(400, LiveDeskSwitches { ties: Ties::Stable, drift, ..LiveDeskSwitches::default() });
    let fields = [Field::Created, Field::LastActivity, Field::Email, Field::Phone, Field::Name, Field::City];
    let start = desk.listed_ids();
    for number in 1..300 {
        desk.page(Sort { field: fields[number % fields.len()], descending: false }, 1, 15);
    }
    let counts = desk.counts();
    assert_eq!(counts["drift_operations"], 299);
    for kind in ["drift_insert", "drift_edit", "drift_delete", "drift_merge", "drift_message", "drift_swap"] {
        assert!(counts["served"][kind].as_u64().unwrap() > 5, "{counts}");
    }
    let deleted: HashSet<u64> = desk.deleted_ids().into_iter().collect();
    let survivors = desk.survivors(&start);
    assert!(survivors.len() < start.len() && survivors.iter().all(|id| !deleted.contains(id)));
    let mut state = desk.state();
    let listed = state.model.listed();
    for field in fields {
        let sort = Sort { field, descending: false };
        let followed = state.model.order(field).rows(sort, 0..listed, None);
        assert_eq!(followed.len(), listed);
        state.model.forget_orders();
        assert_eq!(state.model.order(field).rows(sort, 0..listed, None), followed, "{field:?}");
    }
}

#[test]
fn a_delete_before_the_cursor_skips_a_survivor_and_a_swap_hides_it_from_the_count() {
    let drift = DriftSwitches { every: 4, limit: 40, insert: 0, edit: 0, delete: 0, merge: 0, message: 0, swap: 1 };
    let desk = desk(3_000, LiveDeskSwitches { ties: Ties::Stable, drift, ..LiveDeskSwitches::default() });
    let start = desk.listed_ids();
    let count = desk.counts()["listed"].clone();
    let (_, seen) = pass(&desk, (Field::Created, false));
    let missed = desk.survivors(&start).iter().filter(|id| !seen.contains(id)).count();
    assert!(missed > 5, "{missed}");
    assert_eq!(desk.counts()["listed"], count);
}
