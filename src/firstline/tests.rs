//! Wire tests of the adapter against a scripted server: the request's shape, and each answer that matters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::profile::{PhoneOwner, Profile, UpdateChoice, UpdateMethod};
use super::shared::SharedLogin;
use super::{Credentials, FirstLine, FirstLineSettings};
use crate::clock::TestClock;
use crate::domain::ids::{ChildId, FirstLineId};
use crate::domain::record::{FieldKey, FieldValue};
use crate::domain::target::{ContactWrite, WriteValue};
use crate::http::observe::Silent;
use crate::http::testserver::{Act, Seen, TestServer, answer, json as json_answer};
use crate::http::{HttpClient, HttpSettings, Secret};
use crate::sync::ports::{ChildFilter, ContactFilter, ContactTarget, FilterEncoding, Named, PortError};

fn token() -> FirstLineSettings {
    FirstLineSettings::new(Credentials::Token(Secret::new("tok")))
}

fn login() -> FirstLineSettings {
    let (name, password) = (Secret::new("robot"), Secret::new("hunter2"));
    FirstLineSettings::new(Credentials::Login { name, password, ttl: Duration::from_hours(12) })
}

fn connect_at(server: &TestServer, settings: FirstLineSettings, clock: &TestClock) -> FirstLine {
    let http = HttpSettings::without_delays("FIRST LINE", server.base_url.clone());
    let clock = Arc::new(clock.clone());
    let http = HttpClient::new(&http, Arc::<TestClock>::clone(&clock), Arc::new(Silent), CancellationToken::new());
    FirstLine::new(http.unwrap(), settings, clock).unwrap()
}

fn connect(server: &TestServer, settings: FirstLineSettings) -> FirstLine {
    connect_at(server, settings, &TestClock::default())
}

fn write() -> ContactWrite {
    let text = |text: &str| WriteValue::Typed(FieldValue::Text(text.into()));
    ContactWrite {
        fields: [
            (FieldKey::FirstName, text("陳")),
            (FieldKey::Custom(31), text("LD-1")),
            (FieldKey::Custom(32), WriteValue::Typed(FieldValue::Number(60.into()))),
        ]
        .into(),
        ..ContactWrite::default()
    }
}

fn contact(id: i64) -> Act {
    json_answer(200, &json!({"data": {"id": id, "first_name": "陳", "profile_id": 70}}))
}

fn refused_field(field: &str) -> Act {
    json_answer(422, &json!({"message": "The given data was invalid.", "errors": {field: ["is required"]}}))
}

/// A server that hands out `t1`, `t2`, .. by login, and takes only the newest unless `also` says otherwise.
async fn server_with_logins(expires_in: Value, takes_newest: bool) -> TestServer {
    let logins = AtomicU32::new(0);
    TestServer::with(move |seen| {
        if seen.path == "/auth" {
            let number = logins.fetch_add(1, Ordering::SeqCst) + 1;
            return json_answer(200, &json!({"access_token": format!("t{number}"), "expires_in": expires_in}));
        }
        let newest = format!("Bearer t{}", logins.load(Ordering::SeqCst));
        if takes_newest && seen.header("authorization") == newest {
            contact(1)
        } else {
            json_answer(401, &json!({"message": "Unauthenticated."}))
        }
    })
    .await
}

fn auth_headers(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| format!("{} {}", seen.path, seen.header("authorization")).trim().to_owned()).collect()
}

#[tokio::test]
async fn a_create_sends_one_json_body_with_numbers_as_numbers() {
    let server = TestServer::scripted(vec![json_answer(201, &json!({"data": {"id": "9"}}))]).await;
    let created = connect(&server, token()).create(&write()).await.unwrap();
    assert_eq!(created.id, FirstLineId(9));
    let seen = server.seen();
    assert_eq!(seen[0].line(), "POST /contact");
    assert_eq!(seen[0].raw_query, "");
    let body = json!({"first_name": "陳", "cz_cols": [{"id": 31, "value": "LD-1"}, {"id": 32, "value": 60}]});
    assert_eq!(seen[0].json(), body);
    assert_eq!(seen[0].header("authorization"), "Bearer tok");
    assert_eq!((seen[0].header("accept"), seen[0].header("content-type")), ("application/json", "application/json"));
}

#[tokio::test]
async fn a_create_without_a_readable_id_is_in_doubt_and_never_sent_twice() {
    let rows = [
        json_answer(201, &json!({"data": {}})),
        json_answer(201, &json!({"data": {"status": 201}})),
        json_answer(200, &json!({"message": "created"})),
        answer(201, &[], ""),
        answer(200, &[("content-type", "text/html")], "<html>"),
        json_answer(500, &json!({})),
        json_answer(503, &json!({})),
        Act::Reset,
    ];
    for (row, act) in rows.into_iter().enumerate() {
        let server = TestServer::scripted(vec![act, contact(1)]).await;
        let target = connect(&server, token());
        let error = target.create(&write()).await.unwrap_err();
        assert!(matches!(error, PortError::Doubt { source: Some(_) }), "row {row}: {error:?}");
        assert_eq!(server.lines(), ["POST /contact"], "row {row}");
    }
}

#[tokio::test]
async fn every_status_has_its_meaning_for_the_engine() {
    for (status, expected) in [
        (400, "refused"),
        (401, "stop"),
        (403, "stop"),
        (404, "stop"),
        (406, "refused"),
        (419, "stop"),
        (422, "refused"),
        (302, "doubt"),
        (409, "doubt"),
    ] {
        let server = TestServer::scripted(vec![json_answer(status, &json!({"errors": {"gender": ["x"]}}))]).await;
        let error = connect(&server, token()).create(&write()).await.unwrap_err();
        let kind = match &error {
            PortError::Refused { status: told, fields } => {
                assert_eq!((*told, fields.contains("gender")), (status, true));
                "refused"
            }
            PortError::Stop { message, .. } => {
                assert!(message.contains("FIRST LINE"), "{message}");
                "stop"
            }
            PortError::Doubt { .. } => "doubt",
            other => panic!("{status}: {other:?}"),
        };
        assert_eq!((kind, server.seen().len()), (expected, 1), "status {status}");
    }
}

#[tokio::test]
async fn an_unknown_id_is_none_for_a_read_and_not_found_for_an_update() {
    let server = TestServer::scripted(vec![json_answer(404, &json!({}))]).await;
    let target = connect(&server, token());
    assert!(target.contact(FirstLineId(5)).await.unwrap().is_none());
    assert!(matches!(target.update(FirstLineId(5), &write()).await, Err(PortError::NotFound)));
    assert!(matches!(target.contacts(None, 1).await, Err(PortError::Stop { .. })), "a list that does not exist");
}

#[tokio::test]
async fn an_update_finds_its_method_once_and_remembers_it() {
    for works in UpdateMethod::ALL {
        let server = TestServer::with(move |seen| {
            let method = match (seen.method.as_str(), seen.param("_method"), seen.json()["_method"].as_str()) {
                ("PUT", None, None) => UpdateMethod::Put,
                ("POST", Some("put"), None) => UpdateMethod::PostQuery,
                ("POST", None, Some("put")) => UpdateMethod::PostBody,
                other => panic!("{other:?}"),
            };
            if method == works { contact(5) } else { json_answer(405, &json!({"message": "not allowed"})) }
        })
        .await;
        let target = connect(&server, token());
        target.update(FirstLineId(5), &write()).await.unwrap();
        assert_eq!(target.profile().update, UpdateChoice::Found(works));
        let tried = server.seen().len();
        target.update_email(ChildId(3), "a@x.example").await.unwrap();
        assert_eq!(server.seen().len(), tried + 1, "{works}");
        // A later run starts with what this one found out; a wrong memory is corrected.
        for known in UpdateMethod::ALL {
            let profile = Profile { update: UpdateChoice::Found(known), ..Profile::default() };
            let target = connect(&server, FirstLineSettings { profile, ..token() });
            target.update(FirstLineId(5), &write()).await.unwrap();
            assert_eq!(target.profile().update, UpdateChoice::Found(works));
        }
    }
}

#[tokio::test]
async fn a_wrong_method_may_be_answered_with_not_found() {
    let server = TestServer::with(|seen| match seen.method.as_str() {
        "PUT" => contact(5),
        _ => json_answer(404, &json!({})),
    })
    .await;
    let target = connect(&server, token());
    target.update(FirstLineId(5), &write()).await.unwrap();
    assert_eq!(target.profile().update, UpdateChoice::Found(UpdateMethod::Put));
    // What has worked, or was fixed, is believed when it says so.
    for update in [UpdateChoice::Found(UpdateMethod::PostBody), UpdateChoice::Fixed(UpdateMethod::PostBody)] {
        let asked = server.seen().len();
        let target =
            connect(&server, FirstLineSettings { profile: Profile { update, ..Profile::default() }, ..token() });
        assert!(matches!(target.update(FirstLineId(5), &write()).await, Err(PortError::NotFound)));
        assert_eq!(server.seen().len(), asked + 1);
    }
}

#[tokio::test]
async fn a_contact_that_no_method_finds_is_not_found() {
    for put in [404, 405] {
        let server = TestServer::with(move |seen| match seen.method.as_str() {
            "PUT" => json_answer(put, &json!({})),
            _ => json_answer(404, &json!({})),
        })
        .await;
        let target = connect(&server, token());
        assert!(matches!(target.update(FirstLineId(5), &write()).await, Err(PortError::NotFound)), "{put}");
        assert_eq!((server.seen().len(), target.profile().update), (3, UpdateChoice::Open));
    }
}

#[tokio::test]
async fn a_method_that_the_operator_fixed_is_the_only_one_tried() {
    let server = TestServer::scripted(vec![json_answer(405, &json!({}))]).await;
    let profile = Profile { update: UpdateChoice::Fixed(UpdateMethod::Put), ..Profile::default() };
    let error = connect(&server, FirstLineSettings { profile, ..token() }).update(FirstLineId(5), &write()).await;
    let Err(PortError::Stop { message, .. }) = error else { panic!("not a stop") };
    assert!(message.contains("by put") && message.contains("auto"), "{message}");
    assert_eq!(server.lines(), ["PUT /contact/5"]);
}

#[tokio::test]
async fn an_update_that_does_not_show_the_contact_is_read_back() {
    for bare in [answer(204, &[], ""), json_answer(200, &json!({"data": {"status": 200}})), contact(6)] {
        let server = TestServer::scripted(vec![bare, contact(5)]).await;
        let updated = connect(&server, token()).update(FirstLineId(5), &write()).await.unwrap();
        assert_eq!(updated.id, FirstLineId(5));
        assert_eq!(server.lines(), ["POST /contact/5", "GET /contact/5"]);
    }
}

#[tokio::test]
async fn updates_are_repeated_and_the_body_stays_the_same() {
    let server = TestServer::scripted(vec![json_answer(500, &json!({})), Act::Reset, contact(5)]).await;
    connect(&server, token()).update(FirstLineId(5), &write()).await.unwrap();
    let bodies: Vec<Value> = server.seen().iter().map(Seen::json).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0] && body["_method"] == "put"));
}

#[tokio::test]
async fn filters_travel_in_the_query_in_both_encodings() {
    let page = json!({"data": [{"id": 1}], "meta": {"total": "31", "last_page": "3", "per_page": "50"}});
    let server = TestServer::scripted(vec![json_answer(200, &page)]).await;
    let target = connect(&server, token());
    let custom = |encoding| ContactFilter::CustomField { field: 31, value: "LD-+1".into(), encoding };
    let read = target.contacts(Some(&ContactFilter::MembershipNo("LD-+1".into())), 2).await.unwrap();
    assert_eq!((read.rows.len(), read.total, read.last_page), (1, Some(31), Some(3)));
    target.contacts(Some(&custom(FilterEncoding::Brackets)), 1).await.unwrap();
    target.contacts(Some(&custom(FilterEncoding::Json)), 1).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].raw_query, "page=2&per_page=50&membership_no=LD-%2B1");
    let pair = |name: &str| seen[1].param(name).unwrap().to_owned();
    assert_eq!((pair("cz_cols[0][id]"), pair("cz_cols[0][op]")), ("31".into(), "=".into()));
    assert_eq!(pair("cz_cols[0][val]"), "LD-+1");
    let json: Value = serde_json::from_str(seen[2].param("cz_cols").unwrap()).unwrap();
    assert_eq!(json, json!([{"id": 31, "op": "=", "val": "LD-+1"}]));
}

#[tokio::test]
async fn children_are_found_by_value_or_contact() {
    let page = json!({"data": [{"id": 4, "address": "A@x.example", "number": "0912", "contact_id": "5"}]});
    let server = TestServer::scripted(vec![json_answer(200, &page)]).await;
    let target = connect(&server, token());
    let email = target.emails(&ChildFilter::Value("a+b@x.example".into()), 1).await.unwrap();
    assert_eq!((email.rows[0].contact, email.total), (Some(FirstLineId(5)), None));
    let phone = target.phones(&ChildFilter::Contact(FirstLineId(5)), 1).await.unwrap();
    assert_eq!((phone.rows[0].number.as_str(), phone.rows[0].kind), ("0912", None));
    target.phones(&ChildFilter::All, 3).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen[0].line(), seen[0].param("address")), ("GET /email-contact".into(), Some("a+b@x.example")));
    assert_eq!((seen[1].line(), seen[1].param("contact_id")), ("GET /phone-number".into(), Some("5")));
    assert_eq!(seen[2].raw_query, "page=3&per_page=50");
}

#[tokio::test]
async fn a_tenant_that_refuses_per_page_is_asked_without_it() {
    let server = TestServer::with(|seen| match seen.param("per_page") {
        Some(_) => refused_field("per_page"),
        None => json_answer(200, &json!({"data": []})),
    })
    .await;
    let target = connect(&server, token());
    target.contacts(None, 1).await.unwrap();
    target.contacts(None, 2).await.unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn per_page_may_be_refused_without_its_name() {
    for refusal in [json_answer(400, &json!({})), answer(422, &[], "no"), refused_field("per_page")] {
        let server = TestServer::with(move |seen| match seen.param("per_page") {
            Some(_) => refusal.clone(),
            None => json_answer(200, &json!({"data": []})),
        })
        .await;
        let target = connect(&server, token());
        for page in [1, 2, 3] {
            target.contacts(None, page).await.unwrap();
        }
        assert_eq!(server.seen().len(), 4, "remembered");
    }
}

#[tokio::test]
async fn a_filter_that_is_refused_does_not_cost_per_page() {
    let server = TestServer::with(|seen| match seen.param("membership_no") {
        Some(_) => json_answer(400, &json!({})),
        None => json_answer(200, &json!({"data": []})),
    })
    .await;
    let target = connect(&server, token());
    let filter = ContactFilter::MembershipNo("LD-1".into());
    assert!(matches!(target.contacts(Some(&filter), 1).await, Err(PortError::Refused { status: 400, .. })));
    target.contacts(None, 1).await.unwrap();
    let sent: Vec<bool> = server.seen().iter().map(|seen| seen.param("per_page").is_some()).collect();
    assert_eq!(sent, [true, false, true]);
}

#[tokio::test]
async fn a_list_that_ignores_the_page_is_an_error_and_not_an_endless_walk() {
    let first = json!({"data": [{"id": 1}], "meta": {"current_page": 1, "last_page": 9}});
    let server = TestServer::scripted(vec![json_answer(200, &first)]).await;
    let target = connect(&server, token());
    assert!(target.contacts(None, 1).await.is_ok());
    assert!(matches!(target.contacts(None, 2).await, Err(PortError::Stop { .. })));
}

#[tokio::test]
async fn a_list_with_a_row_that_has_no_id_is_not_believed() {
    let server = TestServer::scripted(vec![json_answer(200, &json!({"data": [{"id": 1}, {"first_name": "x"}]}))]).await;
    let error = connect(&server, token()).contacts(None, 1).await.unwrap_err();
    assert!(matches!(error, PortError::Stop { .. }), "{error:?}");
}

#[tokio::test]
async fn phones_hang_on_the_contact_or_where_asked_on_the_profile() {
    let server = TestServer::with(|seen| match (seen.method.as_str(), seen.json()["profile_id"].as_i64()) {
        ("GET", _) => contact(5),
        (_, Some(_)) => json_answer(201, &json!({"data": {"id": 44}})),
        (_, None) => refused_field("profile_id"),
    })
    .await;
    let target = connect(&server, token());
    let id = target.create_phone(FirstLineId(5), Some(70), "0912", 2).await.unwrap();
    assert_eq!((id, target.profile().phone_owner), (ChildId(44), PhoneOwner::Profile));
    let bodies: Vec<Value> = server.seen().iter().map(Seen::json).collect();
    let expected =
        [json!({"contact_id": 5, "type": 2, "number": "0912"}), json!({"profile_id": 70, "type": 2, "number": "0912"})];
    assert_eq!(bodies, expected);
    // Remembered; and where the caller does not know the profile, the contact does.
    target.update_phone(ChildId(44), FirstLineId(5), "0913", 2).await.unwrap();
    assert_eq!(server.lines()[2..], ["GET /contact/5", "POST /phone-number/44"]);
    assert_eq!(server.seen()[3].json()["profile_id"], 70);
}

#[tokio::test]
async fn a_phone_that_is_refused_for_its_number_is_refused_once() {
    let server = TestServer::scripted(vec![refused_field("number")]).await;
    let target = connect(&server, token());
    let error = target.create_phone(FirstLineId(5), Some(70), "x", 2).await.unwrap_err();
    assert!(matches!(&error, PortError::Refused { status: 422, fields } if fields.contains("number")), "{error:?}");
    assert_eq!((server.seen().len(), target.profile().phone_owner), (1, PhoneOwner::Contact));
}

#[tokio::test]
async fn a_phone_that_is_refused_without_a_name_tries_the_other_key_once() {
    let mute = || answer(422, &[], "no");
    let server = TestServer::with(move |seen| match seen.json()["profile_id"].as_i64() {
        Some(_) => json_answer(201, &json!({"data": {"id": 44}})),
        None => mute(),
    })
    .await;
    let target = connect(&server, token());
    target.create_phone(FirstLineId(5), Some(70), "0912", 2).await.unwrap();
    assert_eq!((server.seen().len(), target.profile().phone_owner), (2, PhoneOwner::Profile));
    // Where neither helps, the phone is refused.
    let server = TestServer::scripted(vec![mute()]).await;
    let target = connect(&server, token());
    let error = target.create_phone(FirstLineId(5), Some(70), "x", 2).await.unwrap_err();
    assert!(matches!(&error, PortError::Refused { status: 422, .. }), "{error:?}");
    assert_eq!((server.seen().len(), target.profile().phone_owner), (2, PhoneOwner::Contact));
    // And where a key has worked, it is not the key.
    let works = json_answer(201, &json!({"data": {"id": 44}}));
    let server = TestServer::scripted(vec![works, mute()]).await;
    let target = connect(&server, token());
    target.create_phone(FirstLineId(5), Some(70), "0912", 2).await.unwrap();
    assert!(target.create_phone(FirstLineId(5), Some(70), "x", 2).await.is_err());
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn emails_are_created_with_their_contact_and_always_sent_with_the_address() {
    let server = TestServer::scripted(vec![json_answer(200, &json!({"data": {"id": 8}})), answer(204, &[], "")]).await;
    let target = connect(&server, token());
    assert_eq!(target.create_email(FirstLineId(5), "a@x.example").await.unwrap(), ChildId(8));
    target.update_email(ChildId(8), "b@x.example").await.unwrap();
    let seen = server.seen();
    assert_eq!((seen[0].line(), seen[1].line()), ("POST /email-contact".into(), "POST /email-contact/8".into()));
    assert_eq!(seen[0].json(), json!({"contact_id": 5, "address": "a@x.example"}));
    assert_eq!(seen[1].json(), json!({"_method": "put", "address": "b@x.example"}));
}

#[tokio::test]
async fn definitions_are_read_to_the_last_page() {
    let server = TestServer::with(|seen| {
        let page: i64 = seen.param("page").unwrap().parse().unwrap();
        let category = json!({"id": page, "name": "C", "type": page % 2, "cols": [{"id": 10 + page, "type": 1}]});
        json_answer(200, &json!({"data": [category], "meta": {"last_page": "4"}, "links": {"next": "http://x/"}}))
    })
    .await;
    let fields = connect(&server, token()).definitions().await.unwrap();
    assert_eq!(fields.iter().map(|field| field.id).collect::<Vec<_>>(), [12, 14]);
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn without_categories_the_flat_list_of_fields_is_read() {
    let server = TestServer::with(|seen| {
        if seen.path == "/cz-col-category" {
            return json_answer(404, &json!({}));
        }
        assert_eq!(seen.param("types"), Some("0"));
        let table = json!({"id": 2, "type": 1, "category": {"id": 7, "name": "T", "type": 1}});
        json_answer(200, &json!({"data": [{"id": 1, "type": 1, "category_id": 6}, table]}))
    })
    .await;
    let fields = connect(&server, token()).definitions().await.unwrap();
    assert_eq!((fields.len(), fields[0].id, fields[0].category_id), (1, 1, 6));
    assert_eq!(server.lines(), ["GET /cz-col-category", "GET /cz-col", "GET /cz-col"], "until nothing is added");
}

#[tokio::test]
async fn an_odd_row_of_the_definitions_takes_no_other_with_it() {
    let cols = json!([{"id": 31, "type": 1}, {"id": {}, "type": 1}, "odd", {"id": 32, "type": 6, "options": [
        {"text": {}, "value": 1}, {"text": "Gold", "value": 2},
    ]}]);
    let list = json!({"data": ["odd", {"id": 2, "type": 0, "cols": cols}], "meta": {"last_page": 1}});
    let server = TestServer::scripted(vec![json_answer(200, &list)]).await;
    let fields = connect(&server, token()).definitions().await.unwrap();
    assert_eq!(fields.iter().map(|field| (field.id, field.options.len())).collect::<Vec<_>>(), [(31, 0), (32, 1)]);
    assert_eq!(server.lines(), ["GET /cz-col-category"]);
}

#[tokio::test]
async fn a_category_without_its_fields_is_completed_by_the_flat_list() {
    let categories = json!({"data": [
        {"id": 2, "name": "VIP", "type": 0},
        {"id": 3, "name": "Old", "type": 0, "cols": [{"id": 33, "type": 6, "name": "Level"}]},
        {"id": 4, "name": "Table", "type": 1},
    ], "meta": {"last_page": 1}});
    let options = json!([{"text": "Gold", "value": 1}]);
    let server = TestServer::with(move |seen| {
        if seen.path == "/cz-col-category" {
            return json_answer(200, &categories);
        }
        assert_eq!(seen.param("types"), Some("0"));
        let rows = match seen.param("page") {
            Some("1") => json!([{"id": 31, "type": 1, "category_id": 2}, "odd"]),
            _ => json!([{"id": 33, "type": 6, "name": "x", "category_id": 3, "options": options},
                        {"id": 34, "type": 1, "category_id": 4}]),
        };
        json_answer(200, &json!({"data": rows, "meta": {"last_page": 2}}))
    })
    .await;
    let fields = connect(&server, token()).definitions().await.unwrap();
    let read = |index: usize| (fields[index].id, fields[index].category.as_str(), fields[index].name.as_str());
    assert_eq!((fields.len(), read(0), read(1)), (2, (33, "Old", "Level"), (31, "VIP", "")));
    assert_eq!(fields[0].options.len(), 1);
}

#[tokio::test]
async fn an_empty_category_is_no_reason_to_stop_where_there_is_no_flat_list() {
    for status in [403, 404, 422] {
        let server = TestServer::with(move |seen| match seen.path.as_str() {
            "/cz-col-category" => json_answer(200, &json!({"data": [{"id": 2, "type": 0}], "meta": {"last_page": 1}})),
            _ => json_answer(status, &json!({})),
        })
        .await;
        assert!(connect(&server, token()).definitions().await.unwrap().is_empty(), "{status}");
    }
}

#[tokio::test]
async fn a_fixed_token_that_is_refused_stops_with_the_remedy() {
    let server = TestServer::scripted(vec![json_answer(401, &json!({"message": "Unauthenticated."}))]).await;
    let error = connect(&server, token()).contact(FirstLineId(1)).await.unwrap_err();
    assert!(matches!(&error, PortError::Stop { message, .. } if message.contains("System > Employee")), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn one_login_serves_everybody() {
    let server = server_with_logins(json!(3600), true).await;
    let target = connect(&server, login());
    let reads = (0..6).map(|_| target.contact(FirstLineId(1)));
    assert!(futures::future::join_all(reads).await.into_iter().all(|read| read.is_ok()));
    let seen = server.seen();
    assert_eq!((seen[0].line(), seen.len()), ("POST /auth".into(), 7));
    assert_eq!(seen[0].json(), json!({"name": "robot", "password": "hunter2", "ttl": 720}));
    assert_eq!(seen[0].header("authorization"), "");
}

#[tokio::test]
async fn the_token_is_renewed_before_it_expires() {
    let server = server_with_logins(json!("3600"), true).await;
    let clock = TestClock::default();
    let target = connect_at(&server, login(), &clock);
    target.contact(FirstLineId(1)).await.unwrap();
    clock.advance_ms(3_290_000);
    target.contact(FirstLineId(1)).await.unwrap();
    clock.advance_ms(20_000);
    target.contact(FirstLineId(1)).await.unwrap();
    let expected = ["/auth", "/contact/1 Bearer t1", "/contact/1 Bearer t1", "/auth", "/contact/1 Bearer t2"];
    assert_eq!(auth_headers(&server.seen()), expected);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_a_second_refusal_stops() {
    // Somebody else has logged in with the same account: t1 is dead, t2 works.
    let server = server_with_logins(json!(3600), true).await;
    let clock = TestClock::default();
    let (ours, theirs) = (connect_at(&server, login(), &clock), connect_at(&server, login(), &clock));
    ours.contact(FirstLineId(1)).await.unwrap();
    theirs.contact(FirstLineId(1)).await.unwrap();
    ours.contact(FirstLineId(1)).await.unwrap();
    theirs.contact(FirstLineId(1)).await.unwrap();
    let error = ours.contact(FirstLineId(1)).await.unwrap_err();
    assert!(matches!(&error, PortError::Stop { message, .. } if message.contains("same account")), "{error:?}");
    // And a server that takes no token at all gets one renewal, not a loop.
    let server = server_with_logins(json!(3600), false).await;
    let target = connect(&server, login());
    assert!(matches!(target.contact(FirstLineId(1)).await, Err(PortError::Stop { .. })));
    let expected = ["/auth", "/contact/1 Bearer t1", "/auth", "/contact/1 Bearer t2"];
    assert_eq!(auth_headers(&server.seen()), expected);
}

#[tokio::test]
async fn commands_beside_each_other_use_one_login_and_after_a_stranger_s_one_more() {
    let server = server_with_logins(json!(3600), true).await;
    let (clock, folder) = (TestClock::default(), tempfile::tempdir().unwrap());
    let sharing = || {
        let shared = SharedLogin::beside(&folder.path().join("state.db"), "https://a", &Secret::new("robot"));
        FirstLineSettings { shared: Some(shared), ..login() }
    };
    let (one, other) = (connect_at(&server, sharing(), &clock), connect_at(&server, sharing(), &clock));
    let stranger = connect_at(&server, login(), &clock);
    one.contact(FirstLineId(1)).await.unwrap();
    other.contact(FirstLineId(1)).await.unwrap();
    stranger.contact(FirstLineId(1)).await.unwrap();
    one.contact(FirstLineId(1)).await.unwrap();
    other.contact(FirstLineId(1)).await.unwrap();
    let of = ["/auth", "/contact/1 Bearer t1", "/contact/1 Bearer t1", "/auth", "/contact/1 Bearer t2"];
    let after =
        ["/contact/1 Bearer t1", "/auth", "/contact/1 Bearer t3", "/contact/1 Bearer t1", "/contact/1 Bearer t3"];
    assert_eq!(auth_headers(&server.seen()), [&of[..], &after].concat());
    // Shortly before its end it is renewed by whoever comes first, for both.
    clock.advance_ms(3_310_000);
    other.contact(FirstLineId(1)).await.unwrap();
    one.contact(FirstLineId(1)).await.unwrap();
    let seen = auth_headers(&server.seen());
    assert_eq!(seen[10..], ["/auth", "/contact/1 Bearer t4", "/contact/1 Bearer t4"]);
}

#[tokio::test]
async fn a_token_that_was_refused_is_not_borrowed_after_a_login_that_failed() {
    let token = |name: &str| json_answer(200, &json!({"access_token": name, "expires_in": 3600}));
    let refusal = || json_answer(401, &json!({"message": "Unauthenticated."}));
    let forbidden = json_answer(403, &json!({"message": "Forbidden"}));
    let answers = vec![token("t1"), contact(1), refusal(), forbidden, token("t2"), contact(1)];
    let (server, folder) = (TestServer::scripted(answers).await, tempfile::tempdir().unwrap());
    let shared = Some(SharedLogin::beside(&folder.path().join("state.db"), "https://a", &Secret::new("robot")));
    let target = connect(&server, FirstLineSettings { shared, ..login() });
    target.contact(FirstLineId(1)).await.unwrap();
    target.contact(FirstLineId(1)).await.unwrap_err();
    target.contact(FirstLineId(1)).await.unwrap();
    let expected = ["/auth", "/contact/1 Bearer t1", "/contact/1 Bearer t1", "/auth", "/auth", "/contact/1 Bearer t2"];
    assert_eq!(auth_headers(&server.seen()), expected);
}

#[tokio::test]
async fn a_shared_login_that_cannot_be_used_stops_nobody() {
    let server = server_with_logins(json!(3600), true).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("state.db.login")).unwrap();
    let shared = Some(SharedLogin::beside(&folder.path().join("state.db"), "https://a", &Secret::new("robot")));
    connect(&server, FirstLineSettings { shared, ..login() }).contact(FirstLineId(1)).await.unwrap();
    assert_eq!(auth_headers(&server.seen()), ["/auth", "/contact/1 Bearer t1"]);
    // Where nobody can leave anything, there is nobody beside.
    let shared = Some(SharedLogin::beside(std::path::Path::new("/nowhere/x"), "https://a", &Secret::new("robot")));
    connect(&server, FirstLineSettings { shared, ..login() }).contact(FirstLineId(1)).await.unwrap();
}

#[tokio::test]
async fn waiting_for_the_turn_to_log_in_ends_when_a_person_asks() {
    let server = server_with_logins(json!(3600), true).await;
    let folder = tempfile::tempdir().unwrap();
    let shared = SharedLogin::beside(&folder.path().join("state.db"), "https://a", &Secret::new("robot"));
    let other = shared.join().await.unwrap();
    let turn = other.turn(Duration::ZERO).await.unwrap();
    let mut http = HttpSettings::without_delays("FIRST LINE", server.base_url.clone());
    http.timeout = Duration::from_hours(1);
    let (clock, stop) = (Arc::new(TestClock::default()), CancellationToken::new());
    let http = HttpClient::new(&http, Arc::<TestClock>::clone(&clock), Arc::new(Silent), stop.clone()).unwrap();
    let target = FirstLine::new(http, FirstLineSettings { shared: Some(shared), ..login() }, clock).unwrap();
    let reading = async { tokio::join!(target.contact(FirstLineId(1)), async { stop.cancel() }) };
    let (read, ()) = tokio::time::timeout(Duration::from_secs(10), reading).await.expect("it waits for its turn");
    assert!(matches!(read, Err(PortError::Interrupted)), "{read:?}");
    drop(turn);
    assert_eq!(server.seen().len(), 0);
}

/// A server whose tokens die, with this status, after so many answers.
async fn server_with_short_sessions(status: u16, answers: u32) -> TestServer {
    let (logins, used) = (AtomicU32::new(0), AtomicU32::new(0));
    TestServer::with(move |seen| {
        if seen.path == "/auth" {
            used.store(0, Ordering::SeqCst);
            let number = logins.fetch_add(1, Ordering::SeqCst) + 1;
            return json_answer(200, &json!({"access_token": format!("t{number}"), "expires_in": 3600}));
        }
        let newest = format!("Bearer t{}", logins.load(Ordering::SeqCst));
        if seen.header("authorization") == newest && used.fetch_add(1, Ordering::SeqCst) < answers {
            contact(1)
        } else {
            json_answer(status, &json!({"message": "expired"}))
        }
    })
    .await
}

#[tokio::test]
async fn a_session_that_expires_early_is_renewed_whatever_its_status() {
    for status in [401, 419] {
        let server = server_with_short_sessions(status, 3).await;
        let clock = TestClock::default();
        let target = connect_at(&server, login(), &clock);
        // Every token serves for 40 s or more and then dies: no fight, however often.
        for _ in 0..12 {
            target.contact(FirstLineId(1)).await.unwrap();
            target.update(FirstLineId(1), &write()).await.unwrap();
            clock.advance_ms(40_000);
        }
        assert!(server.lines().iter().filter(|line| *line == "POST /auth").count() >= 6);
    }
}

#[tokio::test]
async fn a_token_that_dies_in_mid_run_is_renewed_by_one_login_for_all_who_wait() {
    for status in [401, 419] {
        let server = server_with_short_sessions(status, 8).await;
        let target = connect(&server, login());
        for _ in 0..8 {
            target.contact(FirstLineId(1)).await.unwrap();
        }
        let reads = (0..6).map(|_| target.contact(FirstLineId(1)));
        assert!(futures::future::join_all(reads).await.into_iter().all(|read| read.is_ok()));
        assert_eq!(server.lines().iter().filter(|line| *line == "POST /auth").count(), 2, "one login each time");
    }
}

#[tokio::test]
async fn a_session_that_expires_at_once_stops() {
    for status in [401, 419] {
        let server = server_with_short_sessions(status, 3).await;
        let target = connect(&server, login());
        let mut reads = 0;
        let error = loop {
            match target.contact(FirstLineId(1)).await {
                Ok(_) => reads += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, PortError::Stop { message, .. } if message.contains("same account")), "{error:?}");
        assert_eq!(reads, 6, "one renewal");
    }
}

#[tokio::test]
async fn a_login_that_is_refused_stops_and_shows_no_secret() {
    for status in [401, 403, 404, 422] {
        let server = TestServer::scripted(vec![json_answer(status, &json!({"message": "bad hunter2"}))]).await;
        let error = connect(&server, login()).contact(FirstLineId(1)).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(matches!(error, PortError::Stop { .. }), "{status}");
        assert!(!shown.contains("hunter2") && !shown.contains("robot"), "{shown}");
        assert_eq!(server.lines(), ["POST /auth"]);
    }
}

#[tokio::test]
async fn a_login_may_answer_wrapped_and_with_a_jwt() {
    // {"iat":1,"exp":1700000000}
    let jwt = "e30.eyJpYXQiOjEsImV4cCI6MTcwMDAwMDAwMH0.sig";
    let server = TestServer::with(move |seen| match seen.path.as_str() {
        "/auth" => json_answer(200, &json!({"data": {"access_token": jwt, "expires_in": 216_000_000}})),
        _ => contact(1),
    })
    .await;
    let clock = TestClock::default();
    clock.advance_ms(1_699_999_000_000);
    let target = connect_at(&server, login(), &clock);
    for expected in [2, 3, 5] {
        target.contact(FirstLineId(1)).await.unwrap();
        assert_eq!(server.seen().len(), expected);
        clock.advance_ms(800_000);
    }
}

#[tokio::test]
async fn a_create_after_a_renewed_token_is_sent_once_with_effect() {
    let server = server_with_logins(json!(3600), true).await;
    let clock = TestClock::default();
    let (ours, theirs) = (connect_at(&server, login(), &clock), connect_at(&server, login(), &clock));
    ours.contact(FirstLineId(1)).await.unwrap();
    theirs.contact(FirstLineId(1)).await.unwrap();
    ours.create(&write()).await.unwrap();
    let creates = server.seen().into_iter().filter(|seen| seen.method == "POST" && seen.path == "/contact");
    assert_eq!(
        creates.map(|seen| seen.header("authorization").to_owned()).collect::<Vec<_>>(),
        ["Bearer t1", "Bearer t3"]
    );
}

#[test]
fn a_token_with_a_line_break_is_refused_at_once() {
    let base = url::Url::parse("http://127.0.0.1:9/api/v1").unwrap();
    let http = HttpSettings::without_delays("FIRST LINE", base);
    let clock = Arc::new(TestClock::default());
    let http = HttpClient::new(&http, Arc::<TestClock>::clone(&clock), Arc::new(Silent), CancellationToken::new());
    let settings = FirstLineSettings::new(Credentials::Token(Secret::new("tok\n")));
    let error = FirstLine::new(http.unwrap(), settings, clock).err().unwrap();
    assert!(!error.to_string().contains("tok\n"));
}

#[tokio::test]
async fn tags_and_companies_are_searched_by_name_to_the_last_page() {
    let server = TestServer::with(|seen| {
        let page: u32 = seen.param("page").unwrap().parse().unwrap();
        let rows = json!([{ "id": page.to_string(), "name": "VIP", "contacts_count": 3 }]);
        json_answer(200, &json!({ "data": rows, "meta": { "current_page": page, "last_page": 2 } }))
    })
    .await;
    let firstline = connect(&server, token());
    let named = |id| Named { id, name: String::from("VIP") };
    assert_eq!(firstline.tags("VIP").await.unwrap(), Some(vec![named(1), named(2)]));
    assert_eq!(firstline.companies("VIP").await.unwrap(), Some(vec![named(1), named(2)]));
    let seen = server.seen();
    assert_eq!((seen[0].line(), seen[2].line()), (String::from("GET /contact-tag"), String::from("GET /company")));
    assert!(seen.iter().all(|seen| seen.param("name") == Some("VIP")));
}

#[tokio::test]
async fn a_tenant_that_has_or_shows_no_tags_and_companies_stops_no_run() {
    for status in [404, 403, 422] {
        let server = TestServer::with(move |_| json_answer(status, &json!({ "message": "no" }))).await;
        let firstline = connect(&server, token());
        for found in [firstline.tags("a").await, firstline.companies("a").await] {
            match (status, found) {
                (404, Ok(None)) | (403 | 422, Err(PortError::Refused { .. })) => {}
                (_, other) => panic!("{status}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_tag_is_created_once_whatever_the_answer() {
    for (status, doubt) in [(201, false), (503, true), (422, false), (403, false)] {
        let server =
            TestServer::with(move |_| json_answer(status, &json!({ "data": { "id": "7", "name": "VIP" } }))).await;
        match connect(&server, token()).create_tag("VIP").await {
            Ok(made) => assert_eq!((status, made.id), (201, 7)),
            Err(PortError::Doubt { .. }) => assert!(doubt, "{status}"),
            Err(PortError::Refused { .. }) => assert!(!doubt, "{status}"),
            Err(other) => panic!("{status}: {other}"),
        }
        assert_eq!(server.seen().len(), 1);
        assert_eq!(server.seen()[0].json(), json!({ "name": "VIP" }));
    }
}

#[tokio::test]
async fn what_alone_is_never_answered_costs_a_record_and_a_page_of_a_list_is_named() {
    let server = TestServer::with(|seen| match (seen.path.as_str(), seen.param("page")) {
        ("/contact", Some("1")) if seen.param("membership_no").is_none() => json_answer(200, &json!({"data": []})),
        _ => answer(504, &[], ""),
    })
    .await;
    let firstline = connect(&server, token());
    let error = firstline.contact(FirstLineId(7)).await.unwrap_err();
    assert!(matches!(error, PortError::Refused { status: 504, .. }), "{error:?}");
    firstline.contacts(None, 1).await.unwrap();
    let filter = ContactFilter::MembershipNo(String::from("LD-1"));
    let error = firstline.contacts(Some(&filter), 1).await.unwrap_err();
    assert!(
        matches!(error, PortError::Refused { status: 504, .. }),
        "a filter that is not answered is none: {error:?}"
    );
    firstline.contacts(None, 1).await.unwrap();
    let error = firstline.contacts(None, 2).await.unwrap_err();
    assert!(matches!(error, PortError::Unavailable { .. }), "{error:?}");
    for named in ["page 2 of /contact", "firstline.timeout", "firstline.per_page"] {
        assert!(error.to_string().contains(named), "{named}: {error}");
    }
}
