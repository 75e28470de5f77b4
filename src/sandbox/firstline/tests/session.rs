//! Tokens, headers, methods, error bodies, definitions, tags, companies, counts.

use super::*;

/// `exp` of a token.
fn claims(token: &str) -> Option<Value> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let payload = token.split('.').nth(1)?;
    let mut bits = 0u32;
    let (mut count, mut bytes) = (0, Vec::new());
    for character in payload.chars() {
        bits = bits << 6 | u32::try_from(ALPHABET.find(character)?).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 255).ok()?);
        }
    }
    serde_json::from_slice(&bytes).ok()
}

async fn log_in(tenant: &Tenant, ttl: Value) -> Reply {
    let body = json!({ "name": "ferry", "password": "sandbox-password", "ttl": ttl });
    tenant.call_as("none", "POST", "auth", body).await
}

#[tokio::test]
async fn a_login_gives_a_jwt_whose_exp_holds() {
    let tenant = Tenant::new();
    let reply = log_in(&tenant, json!(30)).await;
    assert_eq!((reply.status, &reply.body["expires_in"]), (200, &json!(1800)));
    let token = reply.body["access_token"].as_str().unwrap().to_owned();
    let claims = claims(&token).expect("a JWT");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 1800);
    assert_eq!(tenant.call_as(&token, "GET", "contact", Value::Null).await.status, 200);
    tenant.world.advance_ms(1_800_001);
    assert_eq!(tenant.call_as(&token, "GET", "contact", Value::Null).await.status, 401);
}

#[tokio::test]
async fn a_new_login_kills_the_token_before_it() {
    let tenant = Tenant::new();
    let first = log_in(&tenant, json!(60)).await.body["access_token"].as_str().unwrap().to_owned();
    let second = log_in(&tenant, json!(60)).await.body["access_token"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(tenant.call_as(&first, "GET", "contact", Value::Null).await.status, 401);
    assert_eq!(tenant.call_as(&second, "GET", "auth/me", Value::Null).await.body["name"], "ferry");
    assert_eq!(tenant.get("contact").await.status, 200, "the permanent token lives");
    tenant.switch(json!({ "login_kills_permanent": true }));
    log_in(&tenant, json!(60)).await;
    assert_eq!(tenant.get("contact").await.status, 401);
}

#[tokio::test]
async fn a_refresh_replaces_the_token_and_a_logout_ends_it() {
    let tenant = Tenant::new();
    let first = log_in(&tenant, json!(60)).await.body["access_token"].as_str().unwrap().to_owned();
    let reply = tenant.call_as(&first, "POST", "auth?_method=put", Value::Null).await;
    let second = reply.body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(tenant.call_as(&first, "GET", "contact", Value::Null).await.status, 401);
    assert_eq!(tenant.call_as(&second, "POST", "auth/logout", Value::Null).await.status, 200);
    assert_eq!(tenant.call_as(&second, "GET", "contact", Value::Null).await.status, 401);
    assert_eq!(tenant.call_as(&second, "PUT", "auth", Value::Null).await.status, 405);
}

#[tokio::test]
async fn a_wrong_login_and_a_bad_ttl_are_refused() {
    let tenant = Tenant::new();
    let wrong = json!({ "name": "ferry", "password": "guess" });
    assert_eq!(tenant.call_as("none", "POST", "auth", wrong).await.status, 401);
    assert_eq!(log_in(&tenant, json!("soon")).await.errors(), ["ttl"]);
}

#[tokio::test]
async fn the_life_of_a_token_is_told_in_three_ways() {
    for (form, expected, jwt) in [("seconds", 60, true), ("milliseconds", 60_000, true), ("opaque_token", 60, false)] {
        let tenant = Tenant::with(json!({ "expires_in": form, "token_ttl_seconds": 60 }));
        let reply = log_in(&tenant, json!(600)).await;
        assert_eq!(reply.body["expires_in"], expected, "{form}");
        assert_eq!(claims(reply.body["access_token"].as_str().unwrap()).is_some(), jwt, "{form}");
    }
    let dead = Tenant::with(json!({ "token_ttl_seconds": 0 }));
    let token = log_in(&dead, json!(600)).await.body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(dead.call_as(&token, "GET", "contact", Value::Null).await.status, 401);
}

#[tokio::test]
async fn a_wrong_token_gets_the_configured_status() {
    for status in [401, 403, 419] {
        let tenant = Tenant::with(json!({ "auth_status": status }));
        let reply = tenant.call_as("wrong", "GET", "contact", Value::Null).await;
        assert_eq!(reply.status, status);
        assert!(reply.body["message"].is_string());
    }
}

#[tokio::test]
async fn a_revoked_login_is_dead_until_the_next() {
    let tenant = Tenant::new();
    let token = log_in(&tenant, json!(60)).await.body["access_token"].as_str().unwrap().to_owned();
    tenant.world.revoke_login();
    assert_eq!(tenant.call_as(&token, "GET", "contact", Value::Null).await.status, 401);
}

#[tokio::test]
async fn without_the_accept_header_the_answer_is_no_json() {
    for (form, status, json_body) in [("html", 200, false), ("redirect", 302, false), ("json", 401, true)] {
        let tenant = Tenant::with(json!({ "no_accept": form }));
        let reply = tenant.send(Request::get("/api/v1/contact").body(Body::empty()).unwrap()).await;
        assert_eq!((reply.status, reply.body.is_object()), (status, json_body), "{form}");
        assert_eq!(reply.location.is_some(), form == "redirect");
    }
}

#[tokio::test]
async fn a_token_in_the_address_works_and_is_counted() {
    let tenant = Tenant::new();
    let request = Request::get("/api/v1/contact?token=sandbox-token").header("accept", "application/json");
    assert_eq!(tenant.send(request.body(Body::empty()).unwrap()).await.status, 200);
    let counts = tenant.world.tally();
    assert_eq!((counts.token_in_query, counts.lookups), (1, 0));
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let tenant = Tenant::new();
    let request = Request::post("/api/v1/contact").header("accept", "application/json");
    let form = request.header("content-type", "application/x-www-form-urlencoded").body(Body::from("first_name=a"));
    assert_eq!(tenant.send(form.unwrap()).await.status, 406);
    let reply = tenant.post("contact", json!(["first_name"])).await;
    assert_eq!(reply.status, 400);
    assert!(tenant.world.is_empty());
}

#[tokio::test]
async fn an_update_works_only_by_the_method_that_the_tenant_takes() {
    // switch, put, body, query
    let table = [
        (json!({}), 405, 200, 200),
        (json!({ "update_override": "body" }), 405, 200, 405),
        (json!({ "update_override": "query" }), 405, 405, 200),
        (json!({ "update_override": "nowhere", "update_put": true }), 200, 405, 405),
    ];
    for (changes, real, in_body, in_query) in table {
        let tenant = Tenant::with(changes.clone());
        let path = format!("contact/{}", tenant.named("A"));
        let body = json!({ "first_name": "B" });
        assert_eq!(tenant.call("PUT", &path, body.clone()).await.status, real, "{changes} real");
        assert_eq!(tenant.put(&path, body.clone()).await.status, in_body, "{changes} body");
        let query = tenant.post(&format!("{path}?_method=PUT"), body.clone()).await;
        assert_eq!(query.status, in_query, "{changes} query");
        assert_eq!(tenant.post(&path, body).await.status, 405, "{changes} plain POST");
    }
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405() {
    let tenant = Tenant::new();
    for path in ["kb", "contact/x", "kb/1/2", "contact/99"] {
        assert_eq!(tenant.get(path).await.status, 404, "{path}");
    }
    assert_eq!(tenant.call("DELETE", "contact", Value::Null).await.status, 405);
    assert_eq!(tenant.post("company", json!({ "name": "x" })).await.status, 405);
    let counts = tenant.world.tally();
    assert_eq!((counts.unknown, counts.method_refused, counts.contact_get), (3, 2, 1));
}

#[tokio::test]
async fn a_refusal_takes_four_shapes() {
    for form in ["laravel", "text", "error", "html"] {
        let tenant = Tenant::with(json!({ "error_body": form }));
        let reply = tenant.post("contact", json!({})).await;
        assert_eq!(reply.status, 422);
        assert_eq!(reply.body["errors"]["first_name"].is_array(), form == "laravel");
        assert_eq!(reply.body["error"].is_string(), form == "error");
        assert_eq!(reply.text.starts_with("<!DOCTYPE"), form == "html");
        assert!(reply.text.contains("first_name"), "{form}");
    }
}

#[tokio::test]
async fn definitions_come_by_category_and_by_column() {
    let tenant = Tenant::new();
    let categories = tenant.get("cz-col-category").await;
    assert_eq!(categories.ids(), [10, 20, 30]);
    let form = &categories.data()[0];
    assert_eq!((form["type"].as_i64(), form["cols"].as_array().unwrap().len()), (Some(0), 12));
    assert_eq!(form["cols"][1]["options"][0], json!({ "text": "Gold", "value": "gold" }));
    assert_eq!(form["cols"][0]["options"], Value::Null);
    assert_eq!(tenant.get("cz-col-category?per_page=2&page=2").await.ids(), [30]);

    let columns = tenant.get("cz-col?category_id=10&types=0").await;
    assert_eq!((columns.total(), columns.data()[1].get("options")), (12, None));
    assert_eq!(tenant.get("cz-col?types=1").await.ids(), [51]);
    tenant.switch(json!({ "cz_col_omits_options": false }));
    assert!(tenant.get("cz-col").await.data()[1]["options"].is_array());

    tenant.world.set_definitions(vec![Category::new(1, "Only", 0, vec![Column::new(9, "X", ColumnKind::Text)])]);
    assert_eq!(tenant.get("cz-col").await.ids(), [9]);
    assert_eq!(tenant.world.tally().definitions, 6);
}

#[tokio::test]
async fn tags_are_made_found_by_part_of_their_name_and_changed() {
    let tenant = Tenant::new();
    let id = tenant.post("contact-tag", json!({ "name": "VIP", "description": "d" })).await.id();
    let twin = tenant.post("contact-tag", json!({ "name": "vip" })).await;
    assert_eq!((twin.status, &twin.data()["contacts_count"]), (201, &json!(0)));
    tenant.post("contact-tag", json!({ "name": "other" })).await;
    assert_eq!(tenant.get("contact-tag?name=IP").await.ids(), [id, twin.id()]);
    assert_eq!(tenant.put(&format!("contact-tag/{id}"), json!({})).await.errors(), ["name"]);
    let changed = tenant.put(&format!("contact-tag/{id}"), json!({ "name": "Gold" })).await;
    assert_eq!(changed.data()["description"], "d");
    let contact = tenant.named("A");
    tenant.put(&format!("contact/{contact}"), json!({ "tag_ids": [id] })).await;
    assert_eq!(tenant.get(&format!("contact-tag/{id}")).await.data()["contacts_count"], 1);
    tenant.switch(json!({ "tag_name_unique": true }));
    assert_eq!(tenant.post("contact-tag", json!({ "name": "OTHER" })).await.errors(), ["name"]);
}

#[tokio::test]
async fn companies_are_read_and_missing_on_an_old_tenant() {
    let tenant = Tenant::new();
    let id = tenant.world.add_company("Acme", Some("12345678"), &["acme.example"]);
    tenant.world.add_company("Beta", None, &[]);
    assert_eq!(tenant.get("company?search=acme.ex").await.ids(), [id]);
    assert_eq!(tenant.get("company?name=cm").await.ids(), [id]);
    assert_eq!(tenant.get("company?sn=1234").await.ids(), [0u64; 0]);
    assert_eq!(tenant.get(&format!("company/{id}")).await.data()["domains"], json!(["acme.example"]));
    let contact = tenant.post("contact", json!({ "first_name": "A", "company_ids": [id] })).await.id();
    assert_eq!(tenant.world.contact(contact).unwrap().company_ids, [id]);
    tenant.switch(json!({ "companies_shown": true }));
    assert_eq!(tenant.get(&format!("contact/{contact}")).await.data()["companies"][0]["name"], "Acme");
    tenant.switch(json!({ "company_missing": true }));
    assert_eq!(tenant.get("company").await.status, 404);
}

#[tokio::test]
async fn requests_are_counted_by_route_method_and_status() {
    let tenant = Tenant::new();
    let id = tenant.post("contact", json!({ "first_name": "A" })).await.id();
    tenant.put(&format!("contact/{id}"), json!({ "last_name": "B" })).await;
    tenant.get("contact?page=1&per_page=5").await;
    tenant.get("contact?membership_no=x").await;
    tenant.get("email-contact?contact_id=1").await;
    tenant.call("DELETE", &format!("contact/{id}"), Value::Null).await;
    let counts = tenant.world.tally();
    let by_route =
        (counts.contact_create, counts.contact_update, counts.contact_list, counts.email_list, counts.contact_delete);
    assert_eq!(by_route, (1, 1, 2, 1, 1));
    assert_eq!((counts.lookups, counts.writes(), counts.total), (2, 3, 6));
    assert_eq!((counts.by_method["POST"], counts.by_status[&200], counts.by_status[&201]), (2, 5, 1));
    assert_eq!(tenant.world.counts()["contact_create"], 1);
    tenant.world.reset_counts();
    assert_eq!(tenant.world.tally(), Counts::default());
}

#[tokio::test]
async fn the_accounts_are_those_of_the_switches() {
    let tenant = Tenant::with(json!({ "tokens": ["one", "two"], "login_name": "n", "login_password": "p" }));
    for (token, status) in [("one", 200), ("two", 200), ("sandbox-token", 401), ("", 401)] {
        assert_eq!(tenant.call_as(token, "GET", "contact", Value::Null).await.status, status, "{token}");
    }
    assert_eq!(log_in(&tenant, json!(60)).await.status, 401);
    let reply = tenant.call_as("", "POST", "auth", json!({ "name": "n", "password": "p" })).await;
    assert_eq!((reply.status, &reply.body["expires_in"]), (200, &json!(3600)));
    let missing = tenant.call_as("", "POST", "auth", json!({ "name": "n" })).await;
    assert_eq!(missing.errors(), ["password"]);
}
