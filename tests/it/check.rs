//! `deskferry check`: every mistake at once, and nothing written.

use deskferry::config::template;
use deskferry::sandbox::firstline::{Category, Column, ColumnKind, default_definitions};
use serde_json::Value;

use crate::cli_support::Desk;

#[tokio::test]
async fn a_configuration_in_order_is_found_so_and_nothing_is_written() {
    let desk = Desk::new().await;
    let before = desk.files();
    let ended = desk.run(&["check"]).await.expect(0);
    ended.says("20 contacts listed");
    ended.says("sorts by created_at in both directions");
    ended.says("it shows 0 customers");
    ended.says("5 of 5 tests could be run and pass");
    ended.says("is not there yet");
    assert_eq!(desk.files(), before);
    assert_eq!(desk.sandbox.firstline().tally().writes(), 0);
}

/// Eight mistakes and more, each of another kind, in the configuration, the credentials, the mapping file and the
/// state.
#[tokio::test]
async fn all_planted_mistakes_are_named_in_one_go() {
    let desk = Desk::new().await;
    desk.replace(
        "api_secret = \"sandbox-secret\"\nrequests_per_second = 0\ntimeout = \"5s\"",
        "api_secret = \"wrong\"\ntimout = \"5s\"",
    );
    desk.replace("settle = \"10ms\"", "settle = \"soon\"");
    desk.replace("membership_no = \"LD-\"", "cz_col = 31");
    let mapping = template::MAPPING
        .replace("id = 33 # Points, number", "id = 3300 # Points, number")
        .replace("options = { VIP = \"gold\" }", "options = { VIP = \"gild\" }")
        .replace("custom_attributes.newsletter | boolean", "custom_attributes.newsletter | bolean")
        .replace("value = \"custom_attributes.last_order | date\"", "value = \"custom_attributes.last_order |\"")
        .replace("first_name = \"歐陽\", last_name", "first_name = \"歐\", last_name")
        + "\n[[cz_cols]]\nid = 31\nvalue = \"id\"\n";
    desk.write("mapping.toml", &mapping);
    desk.make_foreign_state().await;

    let ended = desk.run(&["check", "--json"]).await.expect(2);
    let report = ended.json();
    let problems: Vec<&Value> =
        report["findings"].as_array().unwrap().iter().filter(|finding| finding["level"] == "problem").collect();
    let named = |area: &str, part: &str, line: bool| {
        let found = problems.iter().any(|problem| {
            let all = format!("{} {} {}", problem["key"], problem["text"], problem["remedy"]);
            problem["area"] == area && all.contains(part) && problem["line"].is_u64() == line
        });
        assert!(found, "{area}: {part} is not among\n{problems:#?}");
    };
    named("configuration", "did you mean \\\"timeout\\\"", true);
    named("configuration", "identity.settle", true);
    named("LiveDesk", "does not accept the API key", false);
    named("mapping", "3300", true);
    named("mapping", "gild", true);
    named("mapping", "bolean", true);
    named("mapping", "cz_cols[4]", true);
    named("mapping", "cz_cols[11]", true);
    named("mapping tests", "compound surname", true);
    named("state", "other.example", false);
    assert_eq!(problems.len(), 10, "{problems:#?}");
    assert_eq!(report["problems"], 10);
    assert_eq!(desk.sandbox.firstline().tally().writes(), 0);
}

#[tokio::test]
async fn mistakes_of_the_tenant_are_named_too() {
    let desk = Desk::new().await;
    desk.replace("membership_no = \"LD-\"", "cz_col = 33");
    let mut definitions = default_definitions();
    definitions[0].columns.retain(|column| column.id != 41);
    definitions[0].columns.push(Column { allows_null: false, ..Column::new(77, "Region", ColumnKind::Text) });
    definitions.push(Category::new(90, "Later", 2, Vec::new()));
    desk.sandbox.firstline().set_definitions(definitions);
    let ended = desk.run(&["check"]).await.expect(2);
    ended.says("cz_col 33 is a number field; the stamp needs a text field");
    ended.says("41");
    ended.says("FIRST LINE requires custom field 77 (Customer form / Region), and no line writes it");
}

#[tokio::test]
async fn a_wrong_token_is_one_problem_and_the_rest_is_still_checked() {
    let desk = Desk::new().await;
    desk.replace("token = \"sandbox-token\"", "token = \"stale\"");
    let ended = desk.run(&["check"]).await.expect(2);
    ended.says("FIRST LINE refuses the token (status 401)");
    ended.says("20 contacts listed");
    ended.says("5 of 5 tests could be run and pass");
    ended.says("1 problem, ");
    let ended = desk.run(&["check", "--json"]).await.expect(2);
    assert_eq!(ended.json()["problems"], 1);
    assert!(!ended.out.contains("stale") && !ended.err.contains("stale"));
}

#[tokio::test]
async fn a_platform_that_is_not_there_is_said_and_not_waited_for() {
    let desk = Desk::new().await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = desk.sandbox.firstline_url();
    desk.replace(&url, &format!("http://{dead}/api/v1"));
    desk.replace("[firstline]", "[http]\nretry_first = \"1ms\"\nretry_ceiling = \"1ms\"\n\n[firstline]");
    let ended = desk.run(&["check"]).await.expect(2);
    ended.says("FIRST LINE");
    ended.says("against FIRST LINE's custom fields, which could not be read");
    ended.says("20 contacts listed");
}

#[tokio::test]
async fn missing_credentials_do_not_keep_the_other_side_from_being_checked() {
    let desk = Desk::new().await;
    desk.replace("api_secret = \"sandbox-secret\"\n", "");
    let ended = desk.run(&["check"]).await.expect(2);
    ended.says("livedesk.api_secret: is missing");
    ended.says("DESKFERRY__LIVEDESK__API_SECRET");
    ended.says("it shows 0 customers");
}

#[tokio::test]
async fn a_syntax_error_in_either_file_is_named_with_its_line() {
    let desk = Desk::new().await;
    desk.write("mapping.toml", "[contact\nfirst_name = \"name\"\n");
    let ended = desk.run(&["check"]).await.expect(2);
    ended.says("mapping.toml:1");
    ended.says("it shows 0 customers");
    desk.write("deskferry.toml", "= 1\n");
    desk.run(&["check"]).await.expect(2).says("deskferry.toml:1");
}
