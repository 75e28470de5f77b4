//! The adapter against a scripted server: what is asked, and what every kind of answer means.

use std::error::Error as _;
use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{ByIdSupport, CredentialsError, LiveDesk, LiveDeskSettings};
use crate::clock::TestClock;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::{DirectionStyle, Order, Verdict};
use crate::http::observe::Silent;
use crate::http::testserver::{Act, Seen, TestServer, answer, json as json_answer};
use crate::http::{HttpClient, HttpSettings, Secret};
use crate::sync::ports::{ByIdAnswer, ContactSource as _, LabelStyle, PageRequest, PortError};
use crate::sync::scan::{Goal, Sweep, SweepPlan, SweepStep};

const SECRET: &str = "s3cr3t-of-the-api";

fn settings() -> LiveDeskSettings {
    LiveDeskSettings {
        api_key: Secret::new("key"),
        api_secret: Secret::new(SECRET),
        include_contact_inboxes: false,
        page_size: None,
    }
}

fn client(server: &TestServer) -> HttpClient {
    let settings = HttpSettings::without_delays("LiveDesk", server.base_url.clone());
    HttpClient::new(&settings, Arc::new(TestClock::default()), Arc::new(Silent), CancellationToken::new()).unwrap()
}

fn adapter(server: &TestServer) -> LiveDesk {
    LiveDesk::new(client(server), &settings()).unwrap()
}

fn request(order: usize, style: DirectionStyle, page: u32) -> PageRequest {
    PageRequest { order: Order::ROUND[order], style, page }
}

fn page_of(ids: &[i64], current_page: u32) -> Act {
    let rows: Vec<_> = ids.iter().map(|id| json!({ "id": id, "created_at": id })).collect();
    json_answer(200, &json!({ "meta": { "count": ids.len(), "current_page": current_page }, "payload": rows }))
}

#[tokio::test]
async fn the_list_is_asked_for_as_documented() {
    let server = TestServer::scripted(vec![page_of(&[1], 3)]).await;
    let page = adapter(&server).page(request(2, DirectionStyle::Parameter, 3)).await.unwrap();
    assert_eq!((page.rows.len(), page.count), (1, Some(1)));
    let seen = &server.seen()[0];
    assert_eq!(seen.line(), "GET /contacts");
    assert_eq!(seen.raw_query, "page=3&include_contact_inboxes=false&sort=created_at&direction=desc");
    // key:s3cr3t-of-the-api
    assert_eq!(seen.header("authorization"), "Basic a2V5OnMzY3IzdC1vZi10aGUtYXBp");
    assert_eq!(seen.header("content-type"), "application/json");
}

#[tokio::test]
async fn both_spellings_of_direction_and_the_settings_reach_the_query() {
    let server = TestServer::with(|seen| page_of(&[1], seen.param("page").unwrap().parse().unwrap())).await;
    let settings = LiveDeskSettings { include_contact_inboxes: true, page_size: Some(50), ..settings() };
    let livedesk = LiveDesk::new(client(&server), &settings).unwrap();
    for (order, style) in [(3, DirectionStyle::Minus), (1, DirectionStyle::Minus), (1, DirectionStyle::Parameter)] {
        livedesk.page(request(order, style, 1)).await.unwrap();
    }
    let queries: Vec<String> = server.seen().into_iter().map(|seen| seen.raw_query).collect();
    assert_eq!(
        queries,
        [
            "page=1&include_contact_inboxes=true&sort=-last_activity_at&page_size=50",
            "page=1&include_contact_inboxes=true&sort=email&page_size=50",
            "page=1&include_contact_inboxes=true&sort=email&direction=asc&page_size=50",
        ]
    );
}

#[tokio::test]
async fn an_answer_that_is_not_the_page_asked_for_is_asked_for_again() {
    for odd in [page_of(&[1], 1), json_answer(200, &json!({ "error": "x" }))] {
        let server = TestServer::scripted(vec![odd, page_of(&[16], 2)]).await;
        let page = adapter(&server).page(request(0, DirectionStyle::Parameter, 2)).await.unwrap();
        assert_eq!(page.rows[0].id, LiveDeskId(16));
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_server_that_always_names_page_one_is_believed_by_its_rows() {
    let server = TestServer::scripted(vec![page_of(&[16], 1)]).await;
    let livedesk = adapter(&server);
    for page in [2, 3] {
        assert_eq!(livedesk.page(request(0, DirectionStyle::Parameter, page)).await.unwrap().rows.len(), 1);
    }
    assert_eq!(server.seen().len(), 3, "asked again once, not for every page");
}

#[tokio::test]
async fn a_page_that_alone_is_never_answered_is_named_with_what_may_help() {
    let server = TestServer::with(|seen| match seen.param("page") {
        Some("3") => answer(504, &[], ""),
        _ => page_of(&[1], 1),
    })
    .await;
    let error = adapter(&server).page(request(2, DirectionStyle::Parameter, 3)).await.unwrap_err();
    assert!(matches!(error, PortError::Unavailable { .. }), "{error:?}");
    for named in ["page 3 of the contact list", "created_at", "livedesk.timeout", "livedesk.page_size"] {
        assert!(error.to_string().contains(named), "{named}: {error}");
    }
    let seen = server.seen();
    let known = seen.iter().find(|seen| seen.param("page") == Some("1")).unwrap();
    assert_eq!(known.raw_query, "page=1&include_contact_inboxes=false&sort=created_at&direction=asc");
    assert_eq!(known.header("authorization"), seen[0].header("authorization"));
}

#[tokio::test]
async fn every_failure_of_the_list_says_what_to_do_and_tells_no_secret() {
    let rows: [(Act, &str); 8] = [
        (json_answer(401, &json!({ "error": "x" })), "check livedesk.api_key and livedesk.api_secret"),
        (json_answer(403, &json!({})), "give the key of livedesk.api_key access"),
        (json_answer(404, &json!({})), "check that livedesk.base_url ends in /api/v2/accounts"),
        (answer(302, &[("location", "https://login.example.com/")], ""), "set livedesk.base_url"),
        (json_answer(200, &json!({ "hello": 1 })), "check that livedesk.base_url ends in /api/v2/accounts"),
        (json_answer(422, &json!({ "error": "x" })), "status 422"),
        (answer(200, &[("content-type", "text/html")], "<html>"), "could not be read"),
        (json_answer(200, &json!({ "code": 4001, "message": "x" })), "could not be read"),
    ];
    for (row, (act, expected)) in rows.into_iter().enumerate() {
        let server = TestServer::scripted(vec![act]).await;
        let error = adapter(&server).page(request(0, DirectionStyle::Parameter, 1)).await.unwrap_err();
        assert!(error.to_string().contains(expected), "row {row}: {error}");
        assert!(matches!(error, PortError::Stop { .. } | PortError::Unavailable { .. }), "row {row}: {error:?}");
        let mut chain = format!("{error:?}");
        let mut cause = error.source();
        while let Some(error) = cause {
            chain.push_str(&error.to_string());
            cause = error.source();
        }
        assert!(!chain.contains(SECRET) && !chain.contains("a2V5"), "row {row}: {chain}");
    }
}

#[tokio::test]
async fn a_later_page_that_is_not_found_has_no_rows() {
    let server = TestServer::scripted(vec![json_answer(404, &json!({ "error": "x" }))]).await;
    let page = adapter(&server).page(request(0, DirectionStyle::Parameter, 2)).await.unwrap();
    assert!(page.is_empty() && page.count.is_none());
    let first = adapter(&server).page(request(0, DirectionStyle::Parameter, 1)).await;
    assert!(matches!(first, Err(PortError::Stop { .. })), "page 1 always exists");
}

#[tokio::test]
async fn only_a_minus_is_refused_rather_than_a_reason_to_stop() {
    let refused = |act: Act, order: usize, style| async move {
        let server = TestServer::scripted(vec![act]).await;
        match adapter(&server).page(request(order, style, 1)).await {
            Err(PortError::Refused { status, .. }) => Some(status),
            Err(PortError::Stop { .. }) => None,
            other => panic!("{other:?}"),
        }
    };
    let no = |status| json_answer(status, &json!({ "error": "x" }));
    for status in [400, 422] {
        assert_eq!(refused(no(status), 2, DirectionStyle::Minus).await, Some(status));
        assert_eq!(refused(no(status), 2, DirectionStyle::Parameter).await, None);
        assert_eq!(refused(no(status), 1, DirectionStyle::Minus).await, None, "ascending has no minus");
    }
    for status in [401, 403] {
        assert_eq!(refused(no(status), 2, DirectionStyle::Minus).await, None);
    }
}

fn by_id(act: impl Fn(&str) -> Act + Send + Sync + 'static) -> impl Fn(&Seen) -> Act + Send + Sync + 'static {
    move |seen| act(seen.path.trim_start_matches("/contacts/"))
}

fn contact(id: &str) -> Act {
    json_answer(200, &json!({ "payload": { "id": id, "name": "x" } }))
}

#[tokio::test]
async fn a_read_by_id_is_tried_once_on_a_contact_that_exists() {
    let server = TestServer::with(by_id(|id| match id {
        "1" | "2" => contact(id),
        _ => json_answer(404, &json!({ "error": "x" })),
    }))
    .await;
    let livedesk = adapter(&server);
    assert_eq!(livedesk.by_id_support(), ByIdSupport::Unknown);
    let known = LiveDeskId(1);
    assert!(matches!(livedesk.by_id(LiveDeskId(2), known).await, Ok(ByIdAnswer::Found(found)) if found.id.0 == 2));
    assert_eq!(livedesk.by_id_support(), ByIdSupport::Supported);
    assert!(matches!(livedesk.by_id(LiveDeskId(3), known).await, Ok(ByIdAnswer::Missing)));
    assert!(matches!(livedesk.by_id(known, known).await, Ok(ByIdAnswer::Found(_))));
    assert_eq!(server.lines(), ["GET /contacts/1", "GET /contacts/2", "GET /contacts/3", "GET /contacts/1"]);
}

#[tokio::test]
async fn a_read_by_id_asks_for_inboxes_as_the_list_does() {
    for include_contact_inboxes in [true, false] {
        let server = TestServer::with(by_id(|_| contact("2"))).await;
        let settings = LiveDeskSettings { include_contact_inboxes, ..settings() };
        let livedesk = LiveDesk::new(client(&server), &settings).unwrap();
        assert!(matches!(livedesk.by_id(LiveDeskId(2), LiveDeskId(2)).await, Ok(ByIdAnswer::Found(_))));
        let asked = server.seen()[0].param("include_contact_inboxes").map(str::to_owned);
        assert_eq!(asked, Some(include_contact_inboxes.to_string()));
    }
}

#[tokio::test]
async fn a_contact_that_cannot_be_carried_still_shows_that_there_is_a_read_by_id() {
    let server = TestServer::with(by_id(|id| match id {
        "1" => json_answer(200, &json!({ "payload": { "id": 1, "email": ["x"] } })),
        _ => contact(id),
    }))
    .await;
    let livedesk = adapter(&server);
    let known = LiveDeskId(1);
    assert!(matches!(livedesk.by_id(LiveDeskId(2), known).await, Ok(ByIdAnswer::Found(_))));
    assert_eq!(livedesk.by_id_support(), ByIdSupport::Supported);
    assert!(matches!(livedesk.by_id(known, known).await, Err(PortError::Refused { status: 200, .. })));
}

#[tokio::test]
async fn without_a_read_by_id_an_absence_is_never_believed() {
    let refusals: [fn(&str) -> Act; 6] = [
        |_| json_answer(404, &json!({})),
        |_| json_answer(405, &json!({})),
        |_| json_answer(403, &json!({})),
        |_| answer(200, &[("content-type", "text/html")], "<html>"),
        |_| answer(302, &[("location", "https://login.example.com/")], ""),
        |_| contact("99"),
    ];
    for (row, refusal) in refusals.into_iter().enumerate() {
        let server = TestServer::with(by_id(refusal)).await;
        let livedesk = adapter(&server);
        assert!(matches!(livedesk.by_id(LiveDeskId(2), LiveDeskId(1)).await, Ok(ByIdAnswer::Unsupported)), "row {row}");
        assert_eq!(livedesk.by_id_support(), ByIdSupport::Unsupported);
        let asked = server.seen().len();
        assert!(matches!(livedesk.by_id(LiveDeskId(3), LiveDeskId(1)).await, Ok(ByIdAnswer::Unsupported)));
        assert_eq!(server.seen().len(), asked, "row {row}: remembered");
        assert!(server.lines().iter().all(|line| line == "GET /contacts/1"));
    }
}

#[tokio::test]
async fn a_probe_that_fails_for_another_reason_settles_nothing() {
    for status in [401, 500] {
        let server = TestServer::with(by_id(move |_| json_answer(status, &json!({})))).await;
        let livedesk = adapter(&server);
        assert!(livedesk.by_id(LiveDeskId(2), LiveDeskId(1)).await.is_err());
        assert_eq!(livedesk.by_id_support(), ByIdSupport::Unknown);
    }
}

#[tokio::test]
async fn a_single_contact_that_is_refused_does_not_stop_the_run() {
    let refusals = [(json_answer(410, &json!({})), 410), (json_answer(200, &json!({ "payload": [] })), 200)];
    for (act, expected) in refusals {
        let server = TestServer::scripted(vec![act]).await;
        let livedesk = adapter(&server);
        livedesk.set_by_id_support(ByIdSupport::Supported);
        let error = livedesk.by_id(LiveDeskId(2), LiveDeskId(1)).await.unwrap_err();
        assert!(matches!(error, PortError::Refused { status, .. } if status == expected), "{error}");
    }
}

#[tokio::test]
async fn what_an_earlier_run_found_out_spares_the_probe() {
    let server = TestServer::with(by_id(contact)).await;
    let livedesk = adapter(&server);
    livedesk.set_by_id_support(ByIdSupport::Supported);
    assert!(livedesk.by_id(LiveDeskId(2), LiveDeskId(1)).await.is_ok());
    assert_eq!(server.lines(), ["GET /contacts/2"]);
}

#[tokio::test]
async fn credentials_that_cannot_be_sent_are_refused_at_once() {
    let server = TestServer::scripted(vec![page_of(&[], 1)]).await;
    for (key, secret) in [("", "x"), ("a:b", "x"), ("a", "")] {
        let settings = LiveDeskSettings { api_key: Secret::new(key), api_secret: Secret::new(secret), ..settings() };
        let error = LiveDesk::new(client(&server), &settings).err();
        assert!(matches!(error, Some(CredentialsError::Key | CredentialsError::Secret)));
    }
}

/// A small LiveDesk: 32 contacts, sorted by whatever key, page size 15.
fn small_account(seen: &Seen) -> Act {
    let page: usize = seen.param("page").unwrap().parse().unwrap();
    let mut ids: Vec<i64> = (1..=32).collect();
    if seen.param("direction") == Some("desc") {
        ids.reverse();
    }
    let rows: Vec<_> =
        ids.iter().skip((page - 1) * 15).take(15).map(|id| json!({ "id": id, "created_at": id })).collect();
    json_answer(200, &json!({ "meta": { "count": 32, "current_page": page.to_string() }, "payload": rows }))
}

#[tokio::test]
async fn a_sweep_over_the_wire_is_proven() {
    let server = TestServer::with(small_account).await;
    let livedesk = Arc::new(adapter(&server));
    let mut sweep = Sweep::start(livedesk, SweepPlan::new(Goal::Proven), None).await.unwrap();
    let mut seen = 0;
    let report = loop {
        match sweep.next().await.unwrap() {
            SweepStep::Page(page) => seen += page.fresh.len(),
            SweepStep::Finished(report) => break report,
        }
    };
    assert_eq!((seen, report.verdict), (32, Verdict::Proven));
}

#[tokio::test]
async fn the_contacts_of_a_label_are_asked_for_in_both_spellings_and_without_inboxes() {
    let server = TestServer::with(|_| page_of(&[1], 1)).await;
    let settings = LiveDeskSettings { include_contact_inboxes: true, ..settings() };
    let livedesk = LiveDesk::new(client(&server), &settings).unwrap();
    for style in [LabelStyle::List, LabelStyle::Text] {
        let page = livedesk.labelled_page("a & b", style, request(0, DirectionStyle::Parameter, 1)).await.unwrap();
        assert_eq!(page.len(), 1);
    }
    let seen = server.seen();
    assert_eq!((seen[0].param("labels[]"), seen[1].param("labels")), (Some("a & b"), Some("a & b")));
    assert_eq!(seen[0].param("include_contact_inboxes"), Some("false"));
}

#[tokio::test]
async fn a_filter_by_label_that_is_refused_stops_no_run() {
    for (status, refused) in [(400, true), (422, true), (403, false), (404, false)] {
        let server = TestServer::with(move |_| json_answer(status, &json!({ "error": "labels" }))).await;
        let style = DirectionStyle::Parameter;
        let error = adapter(&server).labelled_page("vip", LabelStyle::List, request(0, style, 1)).await.unwrap_err();
        assert_eq!(matches!(error, PortError::Refused { .. }), refused, "{status}: {error}");
    }
}
