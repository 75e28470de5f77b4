//! `deskferry probe`: what it finds out about a tenant, what it leaves behind (nothing), and what later runs make of it.

use deskferry::domain::tenant::{Scratch, ScratchKind};
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::FaultSettings;
use deskferry::sandbox::firstline::{
    Category, Column, ColumnKind, FirstLineSwitches, MethodOverride, default_definitions,
};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::cli_support::{Desk, Ended};
use crate::world::World;

/// A desk whose FIRST LINE has some switches changed, and two customers who are nobody's business.
async fn desk(changes: &Value) -> Desk {
    let desk = Desk::new().await;
    let mut switches = json!(FirstLineSwitches::default());
    for (key, value) in changes.as_object().unwrap() {
        assert!(switches.get(key).is_some(), "there is no switch {key}");
        switches[key] = value.clone();
    }
    let firstline = desk.sandbox.firstline();
    firstline.set_switches(serde_json::from_value(switches).unwrap());
    firstline.add_contact(&json!({ "first_name": "林", "membership_no": "7001" }), &["lin@x.example"], &[], &[]);
    firstline.add_contact(&json!({ "first_name": "Amy" }), &[], &[], &[]);
    desk
}

/// Runs a probe and holds FIRST LINE's customers against what they were.
async fn probe(desk: &Desk, arguments: &[&str]) -> Ended {
    let before = desk.sandbox.firstline().dump();
    let all: Vec<&str> = ["probe", "--yes", "--json"].iter().chain(arguments).copied().collect();
    let ended = desk.run(&all).await;
    desk.sandbox.firstline().settle();
    assert_eq!(desk.sandbox.firstline().dump(), before, "{}{}", ended.out, ended.err);
    ended
}

/// What a tenant with the sandbox's defaults is like.
fn usual() -> Value {
    json!({
        "update_method": "post_body", "update_semantics": "partial", "tags_on_create": "ignored",
        "tags_on_update": "replace", "boolean_form": "number", "clear_form": "null", "per_page_max": 100,
        "filter_membership_no": "works", "filter_cz_cols": "brackets", "filter_email": "works",
        "filter_address": "works", "filter_created_at": "works", "membership_no_unique": false,
        "email_unique": false, "create_status": 201, "error_body": "laravel", "search_lag_ms": "known",
    })
}

/// Name, switches, and what the profile says differently from the usual one.
fn tenants() -> Vec<(&'static str, Value, Value)> {
    vec![
        ("the documented one", json!({}), json!({})),
        (
            "a real PUT that replaces",
            json!({ "update_put": true, "update_override": "nowhere", "update_replaces": true }),
            json!({ "update_method": "put", "update_semantics": "replace" }),
        ),
        (
            "_method in the query, columns replaced, tags united",
            json!({ "update_override": "query", "update_replaces_cz_cols": true, "tags_on_update": "union" }),
            json!({ "update_method": "post_query", "update_semantics": "replace", "tags_on_update": "union" }),
        ),
        (
            "unique numbers and addresses, refusals as pages",
            json!({ "membership_no_unique": true, "email_unique": true, "error_body": "html", "create_status": 200 }),
            json!({ "membership_no_unique": true, "email_unique": true, "error_body": "html", "create_status": 200 }),
        ),
        (
            "every filter ignored",
            json!({
                "filter_membership_no": "ignored", "filter_cz_cols": "ignored", "filter_email": "ignored",
                "filter_address": "ignored", "filter_created_at": "ignored",
            }),
            json!({
                "filter_membership_no": "ignored", "filter_cz_cols": "ignored", "filter_email": "ignored",
                "filter_address": "ignored", "filter_created_at": "ignored", "search_lag_ms": null,
            }),
        ),
        (
            "filters refused or fuzzy, columns as JSON",
            json!({
                "filter_membership_no": "substring", "filter_cz_cols": "json", "filter_email": "rejected",
                "filter_address": "prefix", "filter_created_at": "rejected", "error_body": "text",
            }),
            json!({
                "filter_membership_no": "fuzzy", "filter_cz_cols": "json", "filter_email": "refused",
                "filter_address": "fuzzy", "filter_created_at": "refused", "error_body": "text",
            }),
        ),
        (
            "booleans as true and false, cleared by an empty text",
            json!({ "boolean_form": "bool", "clear_by": "empty_text", "per_page_max": 37, "per_page_above": "reject" }),
            json!({ "boolean_form": "bool", "clear_form": "empty", "per_page_max": 37 }),
        ),
        (
            "booleans as text, cleared by leaving out",
            json!({
                "boolean_form": "text", "clear_by": "neither", "update_replaces": true, "per_page_max": 60,
                "per_page_above": "ignore", "per_page_as_text": true,
            }),
            json!({
                "boolean_form": "text", "clear_form": "left_out", "update_semantics": "replace", "per_page_max": 60,
            }),
        ),
        (
            "a search that lags",
            json!({ "search_lag_ms": 400, "tags_on_create": "accepted", "clear_by": "null", "filter_cz_cols": "both" }),
            json!({ "tags_on_create": "accepted", "filter_cz_cols": "both", "search_lag_ms": "late" }),
        ),
        (
            "tags that are refused in a create and shown nowhere but in their count",
            json!({ "tags_on_create": "rejected", "tags_shown": "left_out", "tags_on_update": "union" }),
            json!({ "tags_on_create": "rejected", "tags_on_update": "union" }),
        ),
        (
            "answers that leave out what they can",
            json!({
                "write_omits_cz_cols": true, "write_omits_children": true, "list_omits_cz_cols": true,
                "list_omits_children": true, "nulls_left_out": true, "unset_cz_cols": "left_out",
                "numbers_as_text": false, "delete_contact_status": 204, "links": "foreign", "per_page_max": 2000,
                "membership_no_unique": true, "error_body": "error", "id_gap": 9, "tags_shown": "tag_id",
            }),
            json!({ "per_page_max": 1000, "membership_no_unique": true, "error_body": "other_json" }),
        ),
        (
            "lenient types, an unstable order, no pages, no way to update",
            json!({
                "types": "lenient", "sort": "unstable_ties", "meta_left_out": true, "update_override": "nowhere",
                "filter_cz_cols": "rejected",
            }),
            json!({
                "per_page_max": null, "update_method": null, "update_semantics": null, "tags_on_update": null,
                "boolean_form": null, "clear_form": null, "filter_cz_cols": "refused",
            }),
        ),
    ]
}

#[tokio::test]
async fn twelve_tenants_get_twelve_right_profiles() {
    let tenants = tenants();
    assert_eq!(tenants.len(), 12);
    assert_right_profiles(tenants).await;
}

/// Tenants whose readings are easily taken for others.
#[tokio::test]
async fn tenants_that_are_easily_misread_get_right_profiles_too() {
    let lists_reset = json!({ "update_semantics": "replace" });
    assert_right_profiles(vec![
        ("fields survive, tags do not", json!({ "update_resets_lists": true }), lists_reset.clone()),
        (
            "fields survive, tags do not, and only their count shows it",
            json!({ "update_resets_lists": true, "tags_shown": "left_out" }),
            lists_reset.clone(),
        ),
        (
            "tags do not survive, and are named in the answers to writes alone",
            json!({ "update_resets_lists": true, "lists_shown_in": "writes" }),
            lists_reset.clone(),
        ),
        (
            "tags do not survive, and are named in list rows alone",
            json!({ "update_resets_lists": true, "lists_shown_in": "rows", "tags_on_update": "union" }),
            json!({ "update_semantics": "replace", "tags_on_update": "union" }),
        ),
        ("refusals with a message alone", json!({ "error_body": "message" }), json!({ "error_body": "message" })),
        (
            "refusals without a body, and a unique number",
            json!({ "error_body": "empty", "membership_no_unique": true, "tags_on_create": "rejected" }),
            json!({ "error_body": "empty", "membership_no_unique": true, "tags_on_create": "rejected" }),
        ),
        ("a number of 32 characters", json!({ "membership_no_max": 32 }), json!({})),
        (
            "a short number, unique, without a word on what is refused",
            json!({ "membership_no_max": 12, "membership_no_unique": true, "error_body": "text" }),
            json!({ "membership_no_unique": true, "error_body": "text" }),
        ),
        (
            "a number of twenty characters, and tags refused in a create",
            json!({ "membership_no_max": 20, "tags_on_create": "rejected", "filter_membership_no": "prefix" }),
            json!({ "tags_on_create": "rejected", "filter_membership_no": "fuzzy" }),
        ),
    ])
    .await;
}

async fn assert_right_profiles(tenants: Vec<(&'static str, Value, Value)>) {
    join_all(tenants.into_iter().map(async |(name, switches, differs)| {
        let desk = desk(&switches).await;
        let report = probe(&desk, &[]).await.expect(0).json();
        let mut expected = usual();
        for (key, value) in differs.as_object().unwrap() {
            expected[key] = value.clone();
        }
        let mut found = report["profile"].clone();
        if let Some(lag) = found["search_lag_ms"].as_u64() {
            let late = report["details"]["search_lag_ms"] == "not there at the first look";
            assert!(lag >= 300 || !late, "{name}: {lag} ms");
            // On a machine that is very slow the first look comes after the lag.
            let is_late = expected["search_lag_ms"] == "late" && (late || lag >= 300);
            found["search_lag_ms"] = json!(if is_late { "late" } else { "known" });
        }
        assert_eq!(found, expected, "{name}: {report:#}");
        // What is not known has a reason, and nothing else has one.
        let unknown: Vec<&String> = report["unknown"].as_object().unwrap().keys().collect();
        let nulls = expected.as_object().unwrap().iter().filter(|(_, value)| value.is_null());
        assert_eq!(unknown, nulls.map(|(key, _)| key).collect::<Vec<_>>(), "{name}");
        assert_eq!((&report["left_over"], &report["stored"]), (&json!([]), &json!(true)), "{name}");
        let tally = desk.sandbox.firstline().tally();
        assert_eq!(tally.table_delete + tally.phone_create + tally.phone_delete, 0, "{name}");
    }))
    .await;
}

#[tokio::test]
async fn nobody_is_asked_without_a_terminal_and_then_nothing_is_sent() {
    let desk = desk(&json!({})).await;
    let ended = desk.run(&["probe"]).await.expect(2);
    ended.says("pass --yes");
    assert_eq!(desk.sandbox.firstline().tally().total, 0);
}

#[tokio::test]
async fn a_role_that_only_reads_is_said_and_no_profile_is_stored() {
    let desk = desk(&json!({ "role_reads_only": true })).await;
    let ended = probe(&desk, &[]).await.expect(2);
    ended.says("does not let this account make a customer (status 403)");
    assert_eq!((ended.json()["stored"].clone(), ended.json()["exit_code"].clone()), (json!(false), json!(2)));
    desk.run(&["check"]).await.expect(0).says("not probed");
}

#[tokio::test]
async fn a_create_that_is_refused_is_said_with_the_fields_that_it_names() {
    let desk = desk(&json!({ "name_max": 10 })).await;
    let ended = probe(&desk, &[]).await.expect(2);
    ended.says("did not make the scratch contact: refused with status 422 (first_name, membership_no)");
}

#[tokio::test]
async fn required_fields_are_filled_and_missing_kinds_of_fields_are_unknown() {
    let desk = desk(&json!({ "required_columns": true })).await;
    let mut columns = vec![
        Column::new(31, "Note", ColumnKind::Text),
        Column::new(32, "Level", ColumnKind::SingleChoice).options(&["gold", "silver"]),
    ];
    for column in &mut columns {
        column.allows_null = false;
    }
    desk.sandbox.firstline().set_definitions(vec![Category::new(10, "Form", 0, columns)]);
    let report = probe(&desk, &[]).await.expect(0).json();
    assert_eq!(report["profile"]["boolean_form"], Value::Null);
    assert_eq!(report["unknown"]["boolean_form"], "there is no boolean custom field");
    assert_eq!(report["profile"]["update_method"], "post_body");
}

/// A probe that must not clean up: what it made is named, and the next probe removes it and nothing else.
#[tokio::test]
async fn what_cannot_be_deleted_is_named_and_a_later_probe_removes_it() {
    let desk = desk(&json!({ "delete_contact_status": 403 })).await;
    let before = desk.sandbox.firstline().dump();
    let ended = desk.run(&["probe", "--yes", "--json"]).await.expect(1);
    let left = ended.json()["left_over"].as_array().unwrap().clone();
    assert_eq!(left.len(), 2, "{left:?}");
    for scratch in &left {
        ended.says(&format!("customer {}: its deletion was refused with status 403; delete it by hand", scratch["id"]));
    }
    // As long as they are there, no further ones are made.
    let creates = desk.creates();
    desk.run(&["probe", "--yes"]).await.expect(2).says("what an earlier probe made is still there");
    assert_eq!(desk.creates(), creates);

    let switches = FirstLineSwitches { delete_contact_status: 204, ..desk.sandbox.firstline().switches() };
    desk.sandbox.firstline().set_switches(switches);
    let report = desk.run(&["probe", "--yes", "--json"]).await.expect(0).json();
    assert_eq!(report["cleared"], 2);
    assert_eq!(desk.sandbox.firstline().dump(), before);
}

/// The state says what was about to be made when the probe was killed.
#[tokio::test]
async fn a_scratch_contact_of_a_killed_probe_is_found_by_its_stamp_and_a_customer_is_not() {
    let desk = desk(&json!({})).await;
    let firstline = desk.sandbox.firstline();
    let before = firstline.dump();
    let stamps =
        ["0123456789abcdef", "fedcba9876543210", "00000000deadbeef"].map(|hex| format!("deskferry-probe-{hex}"));
    // Killed before the answer: the state knows no id. And one whose id a customer has got.
    firstline.add_contact(&json!({ "first_name": stamps[0], "membership_no": stamps[0] }), &[], &[], &[]);
    let tag = firstline.add_tag(&stamps[1]);
    let customer = firstline.contacts()[0].id;
    let row = |kind, stamp: &str, id: Option<u64>| {
        Scratch { kind, stamp: stamp.to_owned(), id: id.map(|id| i64::try_from(id).unwrap()) }.json()
    };
    let store = desk.lock().await;
    let rows = json!([row(ScratchKind::Contact, &stamps[0], None), row(ScratchKind::Tag, &stamps[1], Some(tag))]);
    store.profile_put("probe_scratches", &rows).await.unwrap();
    store.close().await;
    let report = desk.run(&["probe", "--yes", "--json"]).await.expect(0).json();
    assert_eq!(report["cleared"], 2);
    assert_eq!(firstline.dump(), before);

    let store = desk.lock().await;
    let rows = json!([row(ScratchKind::Contact, &stamps[2], Some(customer))]);
    store.profile_put("probe_scratches", &rows).await.unwrap();
    store.close().await;
    let ended = desk.run(&["probe", "--yes"]).await.expect(2);
    ended.says("it does not carry the stamp of a scratch contact any more");
    assert_eq!(firstline.dump(), before);
}

/// The answer to the create is lost: the contact is there, and nobody knows its id.
#[tokio::test]
async fn a_create_without_an_id_in_its_answer_is_cleaned_up_by_its_stamp() {
    let desk = desk(&json!({ "create_omits_id": true })).await;
    probe(&desk, &[]).await.expect(2).says("without an id");
}

#[tokio::test]
async fn a_filter_that_is_ignored_is_said_by_probe_and_check_with_what_is_done_instead() {
    let desk = desk(&json!({ "filter_membership_no": "ignored", "filter_address": "ignored" })).await;
    for command in [&["check"][..], &["probe", "--yes"], &["check"]] {
        let ended = desk.run(command).await.expect(0);
        ended.says("FIRST LINE ignores the filter on membership_no, which the stamp needs");
        ended.says("looked up in FIRST LINE's own list, read once a run and compared here");
        ended.says("FIRST LINE ignores the filter on e-mail addresses, which identity.match needs");
        assert_eq!(ended.out.matches("the filter on membership_no").count(), 1, "{}", ended.out);
    }
    desk.replace("membership_no = \"LD-\"", "membership_no = \"LD-\", cz_col = 31");
    desk.run(&["check"]).await.says("instead the stamp is looked up by its custom field");
}

#[tokio::test]
async fn what_the_operator_fixed_wins_and_the_difference_is_said() {
    let desk = desk(&json!({ "update_put": true, "update_override": "nowhere", "boolean_form": "bool" })).await;
    desk.replace(
        "token = \"sandbox-token\"",
        "token = \"sandbox-token\"\nupdate_method = \"post_body\"\nper_page = 500",
    );
    let ended = desk.run(&["probe", "--yes"]).await.expect(0);
    ended.says("firstline.update_method is \"post_body\", and the probe found \"put\"; the configuration holds");
    ended.says("firstline.per_page is 500, and the probe found that FIRST LINE gives 100 at most");
    desk.run(&["check"]).await.expect(0).says("firstline.update_method is \"post_body\", and the probe found \"put\"");
}

/// After a probe nothing is tried that is known: no 405, no refused boolean, no trial of a partial update.
#[tokio::test]
async fn a_backfill_after_a_probe_writes_at_once_as_this_tenant_wants_it() {
    let desk = desk(&json!({
        "update_put": true, "update_override": "nowhere", "boolean_form": "bool", "per_page_max": 200,
    }))
    .await;
    desk.run(&["probe", "--yes"]).await.expect(0);
    let firstline = desk.sandbox.firstline();
    firstline.reset_counts();
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let tally = firstline.tally();
    let refused: Vec<_> = tally.by_status.iter().filter(|(status, _)| **status >= 400).collect();
    assert_eq!(refused, Vec::new(), "{tally:?}");
    assert_eq!(tally.method_refused, 0);
}

#[tokio::test]
async fn the_report_goes_into_a_file_too() {
    let desk = desk(&json!({})).await;
    let file = desk.path("report.json");
    let ended = probe(&desk, &["--output", file.to_str().unwrap()]).await.expect(0);
    assert_eq!(std::fs::read_to_string(file).unwrap(), ended.out);
    // As the question before it says.
    let requests = ended.json()["requests"].as_u64().unwrap();
    assert!((80..=100).contains(&requests), "{requests}");
    let nowhere = desk.path("no/folder/report.json");
    desk.sandbox.firstline().reset_counts();
    desk.run(&["probe", "--yes", "-o", nowhere.to_str().unwrap()]).await.expect(2).says("nothing was sent");
    assert_eq!(desk.sandbox.firstline().tally().total, 0);
}

#[tokio::test]
async fn the_stamps_own_field_is_left_alone_where_there_is_another_text_field() {
    let desk = desk(&json!({})).await;
    desk.replace("membership_no = \"LD-\"", "cz_col = 31");
    assert_eq!(default_definitions()[0].columns[0].id, 31);
    let report = probe(&desk, &[]).await.expect(0).json();
    assert_eq!(report["profile"]["filter_cz_cols"], "brackets");
}

/// With pages of two customers a look-up by filter would be the cheaper way, were the filter not known to be ignored.
#[tokio::test]
async fn a_filter_that_a_probe_has_seen_ignored_is_not_asked_again() {
    let mut lookups = Vec::new();
    for probed in [false, true] {
        let desk = desk(&json!({ "filter_membership_no": "ignored", "per_page_max": 2 })).await;
        if probed {
            let report = probe(&desk, &[]).await.expect(0).json();
            assert_eq!(report["profile"]["per_page_max"], 2);
        }
        desk.run(&["backfill", "--yes", "--limit", "6"]).await.expect(0);
        let newest = desk.sandbox.livedesk().contacts().max_by_key(|contact| contact["created_at"].as_i64()).unwrap();
        desk.sandbox.firstline().reset_counts();
        desk.run(&["backfill", "--yes", "--only", &newest["id"].to_string()]).await.expect(0);
        assert_eq!(desk.creates(), 1);
        lookups.push(desk.sandbox.firstline().tally().lookups);
    }
    assert!(lookups[0] > 0 && lookups[1] == 0, "{lookups:?}");
}

/// Slow answers, 5xx and lost connections: what was made is removed, or named.
#[tokio::test]
async fn a_probe_on_a_bad_day_leaves_nothing_that_it_does_not_name() {
    join_all((0..2).map(async |seed| {
        let firstline_faults = FaultSettings { error_rate: 0.05, reset_after_rate: 0.05, ..FaultSettings::default() };
        let world =
            World::start(SandboxConfig { seed, contacts: 20, firstline_faults, ..SandboxConfig::default() }).await;
        let firstline = world.sandbox.firstline();
        firstline.add_contact(&json!({ "first_name": "林", "membership_no": "7001" }), &[], &[], &[]);
        let customers = firstline.len();
        let ended = world.command(&["probe", "--yes", "--json"]).await;
        let report = ended.json();
        let named = report["left_over"].as_array().unwrap().iter().filter(|left| left["kind"] == "contact").count();
        assert!(firstline.len() <= customers + named, "{ended:?}");
        for (key, reading) in report["profile"].as_object().unwrap() {
            let usual = &usual()[key];
            assert!(reading.is_null() || usual == "known" || reading == usual, "{key}: {ended:?}");
        }
    }))
    .await;
}

/// A world whose search never catches up: a probe in it waits, with its scratch contact made.
async fn waiting_world() -> World {
    let world = World::with(20).await;
    let firstline = world.sandbox.firstline();
    firstline.add_contact(&json!({ "first_name": "林", "membership_no": "7001" }), &["lin@x.example"], &[], &[]);
    firstline.set_switches(FirstLineSwitches { search_lag_ms: 600_000, ..firstline.switches() });
    world
}

#[tokio::test]
async fn an_interrupted_probe_cleans_up_before_it_ends() {
    let world = waiting_world().await;
    let firstline = world.sandbox.firstline();
    let before = firstline.dump();
    let mut process = world.spawn(&["probe", "--yes", "--json"]);
    assert!(process.until(|| firstline.tally().lookups > 2).await);
    assert_ne!(firstline.dump(), before);
    process.signal("INT").await;
    let ended = process.end().await;
    assert_eq!(ended.code(), Some(130), "{ended:?}");
    assert_eq!((firstline.dump(), ended.json()["left_over"].clone()), (before, json!([])));
}

#[tokio::test]
async fn what_a_killed_probe_left_is_removed_by_the_next_one() {
    let world = waiting_world().await;
    let firstline = world.sandbox.firstline();
    let before = firstline.dump();
    let mut process = world.spawn(&["probe", "--yes"]);
    assert!(process.until(|| firstline.tally().lookups > 2).await);
    process.kill().await;
    assert_ne!(firstline.dump(), before, "a customer and two tags are left");
    firstline.set_switches(FirstLineSwitches { search_lag_ms: 0, ..firstline.switches() });
    let ended = world.command(&["probe", "--yes", "--json"]).await;
    assert_eq!((ended.code(), &ended.json()["cleared"]), (Some(0), &json!(3)), "{ended:?}");
    assert_eq!(firstline.dump(), before);
    assert_eq!(firstline.tally().tag_delete, 4);
}

/// A gateway in front of FIRST LINE that answers with an id of its own, which a customer happens to have.
#[tokio::test]
async fn a_customer_whose_id_is_in_the_answer_to_a_create_is_not_written_to() {
    let desk = desk(&json!({})).await;
    let firstline = desk.sandbox.firstline();
    let customer = firstline.contacts()[1].id;
    firstline.set_switches(FirstLineSwitches { create_answers_id: Some(customer), ..firstline.switches() });
    let ended = probe(&desk, &[]).await.expect(2);
    ended.says(&format!("names customer {customer}, which is not the scratch contact"));
    assert_eq!(ended.json()["left_over"], json!([]));
    let tally = firstline.tally();
    assert_eq!((tally.email_create, tally.contact_update, tally.contact_delete), (0, 0, 1));
    // Nothing of it stands in the way of the next one.
    firstline.set_switches(FirstLineSwitches { create_answers_id: None, ..firstline.switches() });
    probe(&desk, &[]).await.expect(0);
}

#[tokio::test]
async fn an_id_that_nobody_has_in_the_answer_to_a_create_leaves_nothing_behind() {
    let desk = desk(&json!({ "create_answers_id": 987_654 })).await;
    let ended = probe(&desk, &[]).await.expect(2);
    ended.says("customer 987654 of the answer to its create does not show");
    assert_eq!(ended.json()["left_over"], json!([]));
}

/// POST changes parts of a record and PUT replaces it: what was seen of one says nothing of the other.
#[tokio::test]
async fn updates_are_judged_by_the_method_that_the_operator_fixed() {
    let desk = desk(&json!({ "update_put": true, "put_replaces": true })).await;
    let report = probe(&desk, &[]).await.expect(0).json();
    let word = |report: &Value| report["profile"]["update_semantics"].clone();
    assert_eq!((word(&report), &report["profile"]["update_method"]), (json!("partial"), &json!("post_body")));
    desk.replace("token = \"sandbox-token\"", "token = \"sandbox-token\"\nupdate_method = \"put\"");
    let report = probe(&desk, &[]).await.expect(0).json();
    assert_eq!((word(&report), &report["profile"]["update_method"]), (json!("replace"), &json!("post_body")));
    assert!(report["details"]["update_semantics"].as_str().unwrap().ends_with("by put"), "{report}");
    assert_eq!(report["differences"], json!([]), "put works as well");
}

#[tokio::test]
async fn what_is_known_of_updates_is_forgotten_with_the_method_that_it_was_seen_with() {
    let desk = desk(&json!({ "update_put": true, "put_replaces": true })).await;
    let stored = async || {
        let store = desk.lock().await;
        let word = store.profile_get("update_semantics").await.unwrap();
        store.close().await;
        word.filter(|word| !word.is_null())
    };
    probe(&desk, &[]).await.expect(0);
    assert_eq!(stored().await, Some(json!("partial")));
    desk.run(&["backfill", "--yes", "--limit", "2"]).await;
    assert_eq!(stored().await, Some(json!("partial")));
    desk.replace("token = \"sandbox-token\"", "token = \"sandbox-token\"\nupdate_method = \"put\"");
    desk.run(&["backfill", "--yes", "--limit", "2"]).await;
    assert_eq!(stored().await, None, "seen with POST, and PUT is another thing");
}

#[tokio::test]
async fn a_probe_that_cannot_tell_takes_back_what_an_earlier_one_said_of_updates() {
    let desk = desk(&json!({})).await;
    probe(&desk, &[]).await.expect(0);
    let firstline = desk.sandbox.firstline();
    // No update reaches the contact any more.
    firstline.set_switches(FirstLineSwitches { update_override: MethodOverride::Nowhere, ..firstline.switches() });
    let report = probe(&desk, &[]).await.expect(0).json();
    assert_eq!(report["profile"]["update_semantics"], Value::Null);
    let store = desk.lock().await;
    assert_eq!(store.profile_get("update_semantics").await.unwrap().filter(|word| !word.is_null()), None);
    store.close().await;
}

#[tokio::test]
async fn a_search_that_lags_longer_than_the_settings_wait_is_said_by_probe_and_check() {
    let desk = desk(&json!({ "search_lag_ms": 1500 })).await;
    let ended = desk.run(&["probe", "--yes"]).await.expect(0);
    ended.says("identity.settle is 10ms, and the probe found that search shows a new customer only after");
    desk.run(&["check"]).await.expect(0).says("identity.settle is 10ms, and the probe found");
    desk.replace("settle = \"10ms\"\ndoubt_horizon = \"1s\"", "settle = \"60s\"\ndoubt_horizon = \"60s\"");
    let out = desk.run(&["check"]).await.expect(0).out;
    assert!(!out.contains("identity.settle"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_empty_keys_are_left_out_a_probe_shows_that_the_stamps_field_is_there() {
    let world = World::start(SandboxConfig {
        contacts: 20,
        edge_cases: false,
        firstline: FirstLineSwitches { nulls_left_out: true, ..FirstLineSwitches::default() },
        ..SandboxConfig::default()
    })
    .await;
    world.sandbox.firstline().add_contact(&json!({ "first_name": "Amy" }), &["amy@x.example"], &[], &[]);
    let end = world.command(&["--json", "backfill"]).await;
    assert_eq!(end.json()["created"], 0, "nobody knows whether a customer bears a stamp: {end:?}");
    assert_eq!(world.command(&["probe", "--yes"]).await.code(), Some(0));
    let end = world.command(&["--json", "backfill"]).await;
    assert_eq!((end.code(), &end.json()["created"]), (Some(0), &json!(20)), "{end:?}");
}
