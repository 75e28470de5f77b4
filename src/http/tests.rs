//! Wire tests of the client core against a scripted server: one row per kind of answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::client::BuildError;
use super::error::{ApiError, BadBody, Decision};
use super::observe::{HttpCounts, Silent};
use super::request::{Repeat, Request};
use super::retry::RetryPolicy;
use super::secret::AuthHeader;
use super::settings::HttpSettings;
use super::testserver::{Act, TestServer, answer, json as json_answer};
use super::{HttpClient, classify};
use crate::clock::TestClock;

fn settings(base_url: &Url) -> HttpSettings {
    HttpSettings::without_delays("LiveDesk", base_url.clone())
}

fn build(settings: &HttpSettings) -> HttpClient {
    HttpClient::new(settings, Arc::new(TestClock::default()), Arc::new(Silent), CancellationToken::new()).unwrap()
}

fn good() -> Act {
    json_answer(200, &json!({"data": {"id": 1}}))
}

fn get() -> Request {
    Request::get("/contact")
}

fn create() -> Request {
    Request::post("/contact", Repeat::OnlyIfNotApplied).json("{}")
}

/// Asks once against this script; gives the result and how often the server was asked.
async fn ask(acts: Vec<Act>, request: &Request) -> (Result<Value, ApiError>, usize) {
    let server = TestServer::scripted(acts).await;
    let client = build(&HttpSettings { timeout: Duration::from_millis(300), ..settings(&server.base_url) });
    let result = client.json::<Value>(request).await.map(|reply| reply.value);
    (result, server.seen().len())
}

/// An answer that promises more than it sends.
fn truncated(status: u16) -> Act {
    Act::SendAndClose(format!("HTTP/1.1 {status} X\r\ncontent-length: 500\r\n\r\n{{\"data\":").into_bytes())
}

#[tokio::test]
async fn an_update_that_waited_for_too_long_is_not_sent_again() {
    let update = || Request::put("/contact/1").json("{}").fresh_for(Duration::ZERO);
    for act in [answer(503, &[], ""), answer(429, &[("retry-after", "0")], ""), Act::Reset] {
        let (result, asked) = ask(vec![act, good()], &update()).await;
        assert!(matches!(result.as_ref().map_err(ApiError::decision), Err(Decision::Stale)), "{result:?}");
        assert_eq!(asked, 1);
    }
    let (result, asked) = ask(vec![good()], &update()).await;
    assert_eq!((result.is_ok(), asked), (true, 1), "one that need not wait is sent");
}

#[tokio::test]
async fn a_read_is_repeated_after_everything_that_may_pass() {
    let passing = [
        json_answer(408, &json!({})),
        json_answer(425, &json!({})),
        json_answer(429, &json!({})),
        answer(429, &[("retry-after", "17")], "Retry later"),
        answer(429, &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], ""),
        json_answer(500, &json!({})),
        json_answer(502, &json!({})),
        answer(503, &[("retry-after", "5")], ""),
        json_answer(504, &json!({})),
        json_answer(599, &json!({})),
        truncated(200),
        truncated(500),
        answer(200, &[("content-type", "text/html")], "<html>login</html>"),
        answer(200, &[], ""),
        answer(200, &[], "hello"),
        answer(200, &[], "{\"data\": [1,"),
        json_answer(200, &json!({"code": 20001, "message": "busy", "data": null})),
        Act::Reset,
        Act::Silence,
    ];
    for (row, act) in passing.into_iter().enumerate() {
        let (result, asked) = ask(vec![act, good()], &get()).await;
        assert_eq!((result.unwrap(), asked), (json!({"data": {"id": 1}}), 2), "row {row}");
    }
}

#[tokio::test]
async fn a_refusal_is_not_repeated_and_says_what_to_do() {
    let rows = [
        (400, Decision::GiveUp),
        (401, Decision::Stop),
        (403, Decision::Stop),
        (404, Decision::NotFound),
        (405, Decision::GiveUp),
        (406, Decision::GiveUp),
        (409, Decision::GiveUp),
        (410, Decision::GiveUp),
        (415, Decision::GiveUp),
        (418, Decision::GiveUp),
        (419, Decision::Stop),
        (422, Decision::GiveUp),
        (501, Decision::GiveUp),
    ];
    for (status, decision) in rows {
        let (result, asked) = ask(vec![json_answer(status, &json!({"message": "no"})), good()], &get()).await;
        let error = result.unwrap_err();
        assert_eq!((error.decision(), error.status(), asked), (decision, Some(status), 1), "status {status}");
    }
}

#[tokio::test]
async fn a_create_whose_outcome_is_not_known_is_never_sent_twice() {
    let unclear = [
        json_answer(408, &json!({})),
        json_answer(409, &json!({})),
        json_answer(500, &json!({})),
        json_answer(501, &json!({})),
        json_answer(502, &json!({})),
        json_answer(503, &json!({})),
        json_answer(504, &json!({})),
        truncated(201),
        answer(200, &[("content-type", "text/html")], "<html>"),
        answer(201, &[], ""),
        json_answer(200, &json!({"code": 1})),
        Act::Reset,
        Act::Silence,
    ];
    for (row, act) in unclear.into_iter().enumerate() {
        let (result, asked) = ask(vec![act, good()], &create()).await;
        assert_eq!((result.unwrap_err().decision(), asked), (Decision::Doubt, 1), "row {row}");
    }
}

#[tokio::test]
async fn a_create_that_was_surely_not_applied_is_refused_or_sent_again() {
    let (result, asked) = ask(vec![json_answer(429, &json!({})), good()], &create()).await;
    assert!(result.is_ok());
    assert_eq!(asked, 2);
    for (status, decision) in [(400, Decision::GiveUp), (401, Decision::Stop), (422, Decision::GiveUp)] {
        let (result, asked) = ask(vec![json_answer(status, &json!({})), good()], &create()).await;
        assert_eq!((result.unwrap_err().decision(), asked), (decision, 1));
    }
}

#[tokio::test]
async fn a_refused_connection_is_an_outage_for_reads_and_creates_alike() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let base = Url::parse(&format!("http://{unused}/")).unwrap();
    for request in [get(), create()] {
        let client = build(&HttpSettings { max_outage: Some(Duration::ZERO), ..settings(&base) });
        let error = client.send(&request).await.err().unwrap();
        assert_eq!(error.decision(), Decision::Unavailable);
        assert!(error.to_string().starts_with("LiveDesk has not been answering"), "{error}");
        assert_eq!(client.counts(), HttpCounts { requests: 3, retries: 2, throttled: 0 });
    }
}

#[tokio::test]
async fn a_platform_that_comes_back_serves_everybody_who_waited() {
    let down = || answer(503, &[], "");
    let server = TestServer::scripted([vec![down(); 40], vec![good()]].concat()).await;
    let client = build(&settings(&server.base_url));
    let (a, b, c) = (get(), get(), get());
    let (a, b, c) = tokio::join!(client.send(&a), client.send(&b), client.send(&c));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(server.seen().len(), 43);
}

#[tokio::test]
async fn a_request_that_alone_gets_500_is_given_up_and_stops_nobody() {
    let server = TestServer::with(|seen| match seen.path.as_str() {
        "/contact/7" => json_answer(500, &json!({"message": "Undefined index"})),
        _ => good(),
    })
    .await;
    let client = build(&settings(&server.base_url));
    let bad = Request::get("/contact/7");
    let others = async {
        for _ in 0..50 {
            client.send(&get()).await.unwrap();
        }
    };
    let (result, ()) = tokio::join!(client.send(&bad), others);
    let error = result.err().unwrap();
    assert_eq!((error.decision(), error.status()), (Decision::GiveUp, Some(500)));
    // Nobody else asks: more patience, but not for ever.
    let error = client.send(&bad).await.err().unwrap();
    assert!(matches!(error, ApiError::Exhausted { attempts: 20, .. }), "{error}");
}

#[tokio::test]
async fn a_platform_that_answers_everybody_with_500_is_out_of_order_and_no_record_is_blamed() {
    let server = TestServer::with(|_| json_answer(500, &json!({}))).await;
    let client = build(&settings(&server.base_url));
    let requests: Vec<Request> = (1..=4).map(|id| Request::get(&format!("/contact/{id}"))).collect();
    let all = futures::future::join_all(requests.iter().map(|request| client.send(request))).await;
    for result in all {
        assert_eq!(result.unwrap_err().decision(), Decision::Unavailable);
    }
    // One after the other: two may be bad records.
    let client = build(&settings(&server.base_url));
    let mut decisions = Vec::new();
    for request in &requests {
        decisions.push(client.send(request).await.unwrap_err().decision());
    }
    assert_eq!(decisions, [Decision::GiveUp, Decision::GiveUp, Decision::Unavailable, Decision::Unavailable]);
    // An answer between them, even a refusal, shows that it works.
    let refusal = TestServer::with(|seen| json_answer(if seen.path == "/ok" { 422 } else { 500 }, &json!({}))).await;
    let client = build(&settings(&refusal.base_url));
    for request in &requests {
        assert_eq!(client.send(request).await.unwrap_err().decision(), Decision::GiveUp);
        assert!(client.send(&Request::get("/ok")).await.is_err());
    }
}

#[tokio::test]
async fn redirects_are_not_followed_and_only_the_host_is_told() {
    let elsewhere = [("location", "https://evil.example/x?token=secret")];
    let (result, asked) = ask(vec![answer(302, &elsewhere, ""), good()], &get()).await;
    let error = result.unwrap_err();
    assert_eq!((error.decision(), asked), (Decision::Stop, 1));
    assert_eq!(error.to_string(), "redirected (status 302) to evil.example");
    // A framework may redirect after it has created.
    let (result, asked) = ask(vec![answer(302, &elsewhere, ""), good()], &create()).await;
    let error = result.unwrap_err();
    assert_eq!((error.decision(), asked), (Decision::Doubt, 1));
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    let (result, _) = ask(vec![answer(301, &[("location", "/login")], "")], &get()).await;
    assert_eq!(result.unwrap_err().to_string(), "redirected (status 301) to 127.0.0.1");
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_read() {
    let server = TestServer::scripted(vec![answer(200, &[], &format!("\"{}\"", "x".repeat(300_000)))]).await;
    let client = build(&HttpSettings { max_response_bytes: 100_000, ..settings(&server.base_url) });
    let error = client.send(&get()).await.err().unwrap();
    assert!(matches!(error, ApiError::TooLarge { status: 200, limit: 100_000 }), "{error}");
    assert_eq!(client.send(&create()).await.err().unwrap().decision(), Decision::Doubt);
    let roomy = build(&HttpSettings { max_response_bytes: 300_002, ..settings(&server.base_url) });
    assert_eq!(roomy.json::<String>(&get()).await.unwrap().value.len(), 300_000);
}

#[tokio::test]
async fn errors_name_fields_and_never_values() {
    let body = json!({
        "message": "The email has already been taken: a@b.example",
        "errors": {"cz_cols.0.value": ["secret value"], "first_name": ["x"], "not a name": ["y"], "a@b.example": [""]},
        "attributes": ["email"],
    });
    let (result, _) = ask(vec![json_answer(422, &body)], &get()).await;
    let error = result.unwrap_err();
    let expected = ["cz_cols.0.value", "email", "first_name"].map(String::from);
    assert_eq!(error.fields(), BTreeSet::from(expected));
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("secret") && !shown.contains("a@b") && !shown.contains("taken"), "{shown}");
}

#[tokio::test]
async fn an_error_never_shows_the_query() {
    for act in [Act::Reset, Act::Silence, answer(200, &[], "<html>")] {
        let server = TestServer::scripted(vec![act]).await;
        let client = build(&HttpSettings {
            timeout: Duration::from_millis(50),
            max_outage: Some(Duration::ZERO),
            ..settings(&server.base_url)
        });
        let error = client.send(&get().query("email", "person@x.example")).await.err().unwrap();
        let shown = [format!("{error:#?}"), format!("{:?}", anyhow::Error::new(error))].concat();
        assert!(!shown.contains("person"), "{shown}");
    }
}

#[tokio::test]
async fn another_shape_of_json_is_not_asked_for_again() {
    let server = TestServer::scripted(vec![json_answer(200, &json!({"data": "text"}))]).await;
    let error = build(&settings(&server.base_url)).json::<Vec<u8>>(&get()).await.err().unwrap();
    assert!(matches!(error, ApiError::BadBody { why: BadBody::Shape, .. }), "{error}");
    assert_eq!((error.decision(), server.seen().len()), (Decision::GiveUp, 1));
}

#[tokio::test]
async fn a_byte_order_mark_before_the_json_is_no_defect() {
    let (result, asked) = ask(vec![answer(200, &[], "\u{feff}{\"data\": 1}")], &get()).await;
    assert_eq!((result.unwrap(), asked), (json!({"data": 1}), 1));
    let (result, _) = ask(vec![answer(422, &[], "\u{feff}{\"errors\": {\"gender\": []}}")], &get()).await;
    assert_eq!(result.unwrap_err().fields(), BTreeSet::from([String::from("gender")]));
    let (result, asked) = ask(vec![answer(200, &[], "\u{feff}\u{feff}1"), good()], &get()).await;
    assert_eq!((result.is_ok(), asked), (true, 2), "one mark, not two");
    let server = TestServer::scripted(vec![answer(200, &[], "\u{feff}[]")]).await;
    let body = build(&settings(&server.base_url)).body(&get(), |bytes| Ok::<_, ()>(bytes.to_vec())).await;
    assert_eq!(body.ok().unwrap().unwrap(), b"[]");
}

#[tokio::test]
async fn what_a_lenient_reader_cannot_read_is_asked_for_again_only_when_it_is_no_json() {
    let read = |bytes: &[u8]| if bytes == b"[1]" { Ok(()) } else { Err(()) };
    let server =
        TestServer::scripted(vec![answer(200, &[], "[1"), answer(200, &[], ""), answer(200, &[], "[1]")]).await;
    let body = build(&settings(&server.base_url)).body(&get(), read).await;
    assert_eq!((body.ok(), server.seen().len()), (Some(Ok(())), 3));
    let server = TestServer::scripted(vec![answer(200, &[], "[2]"), answer(200, &[], "[1]")]).await;
    let body = build(&settings(&server.base_url)).body(&get(), read).await;
    assert_eq!((body.ok(), server.seen().len()), (Some(Err(())), 1), "JSON of another shape stays what it is");
}

#[tokio::test]
async fn an_empty_success_is_fine_only_where_it_is_expected() {
    let server = TestServer::scripted(vec![answer(204, &[], "")]).await;
    let client = build(&settings(&server.base_url));
    client.send(&Request::put("/x")).await.unwrap();
    assert_eq!(client.json_if_any::<Value>(&Request::put("/x")).await.unwrap(), None);
    assert!(client.json::<Value>(&Request::put("/x")).await.is_err());
}

#[tokio::test]
async fn the_request_arrives_as_described_and_connections_are_reused() {
    let server = TestServer::scripted(vec![answer(200, &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")], "{}")]).await;
    let client = build(&settings(&server.base_url));
    let auth = AuthHeader::new("Bearer t").unwrap();
    let request = Request::post("/contact", Repeat::Safe).query("_method", "put").json("{\"a\":1}").auth(auth);
    let response = client.json::<Value>(&request).await.unwrap();
    client.send(&get().query("number", "+886 1")).await.unwrap();
    assert_eq!(response.server_date, Some(784_111_777));
    let seen = server.seen();
    assert_eq!((seen[0].line(), seen[0].json()), ("POST /contact".into(), json!({"a": 1})));
    assert_eq!(seen[0].param("_method"), Some("put"));
    for seen in &seen {
        assert_eq!((seen.header("accept"), seen.header("content-type")), ("application/json", "application/json"));
        assert!(seen.header("user-agent").starts_with("deskferry/"));
        assert!(seen.header("accept-encoding").contains("gzip"));
    }
    assert_eq!(seen[0].header("authorization"), "Bearer t");
    assert_eq!(seen[1].raw_query, "number=%2B886%201");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_compressed_answer_is_read() {
    // `{"data": "gz"}`
    const ZIPPED: [u8; 34] = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 74, 73, 44, 73, 84, 178, 82, 80, 74, 175, 82, 170, 5, 0, 163, 46, 6,
        212, 14, 0, 0, 0,
    ];
    let head = format!("HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", ZIPPED.len());
    let server = TestServer::scripted(vec![Act::Send([head.as_bytes(), &ZIPPED].concat())]).await;
    let reply = build(&settings(&server.base_url)).json::<Value>(&get()).await.unwrap();
    assert_eq!(reply.value, json!({"data": "gz"}));
}

#[tokio::test]
async fn all_work_shares_one_limiter_and_one_set_of_permits() {
    let server = TestServer::with(|_| good()).await;
    let client = build(&HttpSettings { concurrency: 1, requests_per_second: 100.0, ..settings(&server.base_url) });
    let started = tokio::time::Instant::now();
    let (one, two) = (client.clone(), client.clone());
    let (a, b, c) = (get(), get(), get());
    let (a, b, c) = tokio::join!(client.send(&a), one.send(&b), two.send(&c));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert!(started.elapsed() >= Duration::from_millis(20), "three requests take two distances of 10 ms");
    assert_eq!((server.connections(), client.counts().requests), (1, 3));
}

/// A platform on a socket that serves so many requests per second, in windows of a second; the limit can be changed.
async fn counting(limit: Arc<AtomicU32>) -> TestServer {
    let (start, window) = (tokio::time::Instant::now(), std::sync::Mutex::new((0, 0)));
    TestServer::with(move |_| {
        let mut window = window.lock().unwrap();
        let second = start.elapsed().as_secs();
        if window.0 != second {
            *window = (second, 0);
        }
        window.1 += 1;
        if window.1 <= limit.load(Ordering::Relaxed) { good() } else { answer(429, &[("retry-after", "1")], "") }
    })
    .await
}

/// Sends so many requests, sixteen at once; gives how many were refused.
async fn send_many(client: &HttpClient, requests: u32) -> u64 {
    let (left, before) = (AtomicU32::new(requests), client.counts().throttled);
    let work = (0..16).map(|_| async {
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            client.send(&get()).await.unwrap();
        }
    });
    futures::future::join_all(work).await;
    client.counts().throttled - before
}

/// Real sockets and real time: a few seconds of it by default. With `DESKFERRY_SLOW_TESTS=1` it is the whole of what is
/// promised: 2,000 requests at 5 and at 50 a second, and a limit that changes in mid-run (fourteen minutes).
#[tokio::test]
#[expect(clippy::print_stderr, reason = "the figures are what the slow case is run for")]
async fn a_ceiling_ten_times_too_high_is_lowered_to_what_the_platform_takes() {
    let wanted = std::env::var("DESKFERRY_SLOW_TESTS").unwrap_or_default();
    let slow = !wanted.is_empty();
    let rows: &[(u32, u32)] = if slow { &[(5, 2_000), (50, 2_000)] } else { &[(50, 250)] };
    // `DESKFERRY_SLOW_TESTS=50` is that limit alone.
    let chosen = rows.iter().copied().filter(|(limit, _)| !slow || wanted == "1" || wanted == limit.to_string());
    for (limit, requests) in chosen {
        let server_limit = Arc::new(AtomicU32::new(limit));
        let server = counting(Arc::clone(&server_limit)).await;
        let client = build(&HttpSettings {
            requests_per_second: f64::from(limit) * 10.0,
            concurrency: 16,
            max_wait: Duration::from_mins(1),
            ..settings(&server.base_url)
        });
        let started = tokio::time::Instant::now();
        let early = send_many(&client, 100).await;
        let refused = send_many(&client, requests - 100).await;
        let reached = f64::from(requests) / started.elapsed().as_secs_f64();
        let pace = client.pace();
        let told = format!("{limit}/s: {reached:.2}/s, {early} + {refused} refused, {pace:?}");
        assert!(reached >= 0.85 * f64::from(limit) && reached <= 1.1 * f64::from(limit), "{told}");
        assert!(refused <= u64::from(requests) / 50, "{told}");
        assert_eq!(pace.ceiling, Some(f64::from(limit) * 10.0));
        assert!(pace.current < Some(f64::from(limit) * 1.2), "{told}");
        if slow {
            eprintln!("{told}");
            assert!(reached >= 0.9 * f64::from(limit) && refused * 100 < u64::from(requests), "{told}");
            for changed in [limit / 2, limit] {
                server_limit.store(changed, Ordering::Relaxed);
                send_many(&client, changed * 60).await;
                let started = tokio::time::Instant::now();
                let refused = send_many(&client, changed * 30).await;
                let reached = f64::from(changed * 30) / started.elapsed().as_secs_f64();
                let told = format!("{changed}/s: {reached:.2}/s, {refused} refused");
                eprintln!("in mid-run {told}");
                assert!(reached >= 0.85 * f64::from(changed), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn a_429_costs_a_request_no_attempt() {
    let throttled = || answer(429, &[("retry-after", "0")], "");
    // Nine pauses, more than the attempts that a request has; then an error, and it still has all of them.
    let acts = [vec![throttled(); 9], vec![json_answer(500, &json!({}))], vec![throttled(); 9], vec![good()]].concat();
    let (result, asked) = ask(acts, &get()).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(asked, 20);
}

#[tokio::test]
async fn shutdown_interrupts_waiting() {
    let server = TestServer::scripted(vec![answer(429, &[("retry-after", "600")], ""), good()]).await;
    let shutdown = CancellationToken::new();
    let settings = HttpSettings { max_wait: Duration::from_mins(10), ..settings(&server.base_url) };
    let client =
        HttpClient::new(&settings, Arc::new(TestClock::default()), Arc::new(Silent), shutdown.clone()).unwrap();
    let request = create();
    let (result, ()) = tokio::join!(client.send(&request), async {
        while client.counts().throttled == 0 {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
    });
    assert_eq!(result.err().unwrap().decision(), Decision::Interrupted);
}

#[test]
fn retry_after_is_read_in_both_forms() {
    let clock = TestClock::default();
    clock.advance_ms(784_111_777_000);
    let rows = [
        (Some("17"), Some(17_000)),
        (Some("0.5"), Some(500)),
        (Some("1.25"), Some(1250)),
        (Some("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30_000)),
        (Some("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0)),
        (Some("soon"), None),
        (Some("-5"), None),
        (Some("inf"), None),
        (Some("NaN"), None),
        (None, None),
    ];
    for (text, expected) in rows {
        let headers = text.map(|text| (reqwest::header::RETRY_AFTER, text.parse().unwrap())).into_iter().collect();
        let read = classify::retry_after(&headers, &clock);
        assert_eq!(read, expected.map(Duration::from_millis), "{text:?}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused_when_the_client_is_built() {
    let base = |text: &str| Url::parse(text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let good = settings(&base("https://x.example/api"));
    let built = |settings: HttpSettings| {
        HttpClient::new(&settings, Arc::new(TestClock::default()), Arc::new(Silent), CancellationToken::new()).err()
    };
    assert!(matches!(built(settings(&base("ftp://x.example/"))), Some(BuildError::BaseUrl)));
    assert!(matches!(built(settings(&base("https://x.example/?a=b"))), Some(BuildError::BaseUrl)));
    assert!(matches!(built(settings(&base("https://me:pw@x.example/"))), Some(BuildError::BaseUrl)));
    assert!(matches!(built(HttpSettings { concurrency: 0, ..good.clone() }), Some(BuildError::Concurrency)));
    let agent = HttpSettings { user_agent: "a\nb".into(), ..good.clone() };
    assert!(matches!(built(agent), Some(BuildError::UserAgent(_))));
    let missing = HttpSettings { ca_file: Some(folder.path().join("none.pem")), ..good.clone() };
    assert!(matches!(built(missing), Some(BuildError::CaFile { .. })));
    assert!(matches!(built(HttpSettings { ca_file: Some(empty), ..good }), Some(BuildError::NoCertificate { .. })));
    assert!(RetryPolicy::new(Duration::from_secs(2), Duration::from_secs(1), 5).is_err());
}

/// Keeps what it hears of answers.
#[derive(Default)]
struct Ear(std::sync::Mutex<Vec<String>>);

impl super::observe::HttpObserver for Ear {
    fn waiting(&self, _reason: super::observe::WaitReason, _wait: Duration) {}
    fn resumed(&self) {}
    fn answered(&self, route: &str, status: Option<u16>, _took: Duration) {
        self.0.lock().unwrap().push(format!("{route} {status:?}"));
    }
}

#[tokio::test]
async fn the_observer_hears_of_every_attempt_by_its_route_and_status() {
    let server =
        TestServer::scripted(vec![json_answer(429, &json!({})), Act::Reset, answer(500, &[], ""), good()]).await;
    let ear = Arc::new(Ear::default());
    let observer = Arc::<Ear>::clone(&ear);
    let settings = settings(&server.base_url);
    let client =
        HttpClient::new(&settings, Arc::new(TestClock::default()), observer, CancellationToken::new()).unwrap();
    let request = Request::get("/contact/12/email").query("q", "amy@example.com");
    client.json::<Value>(&request).await.unwrap();
    let route = "/contact/{id}/email";
    let expected = ["Some(429)", "None", "Some(500)", "Some(200)"].map(|status| format!("{route} {status}"));
    assert_eq!(*ear.0.lock().unwrap(), expected);
}

/// A client that knows a request which the server surely answers, and a request that has credentials.
fn knowing(settings: &HttpSettings) -> HttpClient {
    let client = build(settings);
    client.know(&Request::get("/contacts").query("page", "1"));
    client
}

fn with_key(request: Request) -> Request {
    request.auth(AuthHeader::new("Basic a2V5").unwrap())
}

fn asked_for(server: &TestServer, path: &str) -> usize {
    server.seen().iter().filter(|seen| seen.path == path).count()
}

#[tokio::test]
async fn a_request_that_alone_looks_like_an_outage_is_given_up_where_the_known_one_is_answered() {
    let throttled = answer(429, &[("retry-after", "0")], "");
    let outages = [answer(502, &[], ""), answer(504, &[], "<html>"), Act::Reset].map(|act| (act, false));
    for (act, is_throttled) in outages.into_iter().chain([(throttled, true)]) {
        let server = TestServer::with(move |seen| if seen.path == "/contacts" { good() } else { act.clone() }).await;
        let client = knowing(&settings(&server.base_url));
        let error = client.send(&with_key(Request::get("/contact/7"))).await.unwrap_err();
        match error {
            // A record pays nothing for it: the run ends, and a later one goes on.
            ApiError::Unavailable { .. } if is_throttled => {}
            ApiError::Exhausted { attempts, .. } if !is_throttled => {
                assert!((20..=21).contains(&attempts), "{attempts}");
            }
            error => panic!("{error}"),
        }
        // Once when it looked like an outage, and before and after the last try.
        let known = asked_for(&server, "/contacts");
        assert!((2..=3).contains(&known), "{known}");
        let seen = server.seen();
        assert_eq!(seen.last().unwrap().path, "/contacts", "the last that is heard of the platform is that it answers");
        assert!(seen.iter().all(|seen| seen.header("authorization") == "Basic a2V5"));
        assert_eq!(seen.iter().find(|seen| seen.path == "/contacts").unwrap().raw_query, "page=1");
    }
}

#[tokio::test]
async fn a_platform_that_is_down_is_asked_the_known_request_and_nobody_pays_for_it() {
    let down = Arc::new(AtomicU32::new(60));
    let left = Arc::clone(&down);
    let server = TestServer::with(move |_| {
        let is_down = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if is_down { answer(503, &[], "") } else { good() }
    })
    .await;
    let client = knowing(&settings(&server.base_url));
    let requests: Vec<Request> = (1..=3).map(|id| with_key(Request::put(&format!("/contact/{id}")))).collect();
    let all = futures::future::join_all(requests.iter().map(|request| client.send(request))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let writes = server.seen().iter().filter(|seen| seen.method == "PUT").count();
    assert!(writes <= 9, "nobody's record is what a platform is tried with: {writes}");
    assert_eq!(down.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_platform_whose_known_request_alone_is_broken_is_found_to_be_there() {
    let down = Arc::new(AtomicU32::new(5));
    let left = Arc::clone(&down);
    let server = TestServer::with(move |seen| {
        let is_down = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if is_down || seen.path == "/contacts" { answer(504, &[], "") } else { good() }
    })
    .await;
    let client = knowing(&settings(&server.base_url));
    assert!(client.send(&with_key(Request::get("/contact/7"))).await.is_ok());
}

#[tokio::test]
async fn one_that_does_not_wait_for_a_platform_gives_up_the_bad_request_and_not_the_platform() {
    let server = TestServer::with(|seen| if seen.path == "/contact/7" { answer(502, &[], "") } else { good() }).await;
    let client = knowing(&HttpSettings { max_outage: Some(Duration::ZERO), ..settings(&server.base_url) });
    let error = client.send(&with_key(Request::get("/contact/7"))).await.unwrap_err();
    assert!(matches!(error, ApiError::Exhausted { .. }), "{error}");
    let server = TestServer::with(|_| answer(502, &[], "")).await;
    let client = knowing(&HttpSettings { max_outage: Some(Duration::ZERO), ..settings(&server.base_url) });
    let error = client.send(&with_key(Request::get("/contact/7"))).await.unwrap_err();
    assert!(matches!(error, ApiError::Unavailable { .. }), "{error}");
    assert_eq!((asked_for(&server, "/contact/7"), asked_for(&server, "/contacts")), (3, 1));
}

#[tokio::test]
async fn writes_that_all_fail_while_reads_are_answered_are_the_platforms_fault_and_no_records() {
    let server = TestServer::with(|seen| if seen.method == "GET" { good() } else { answer(504, &[], "") }).await;
    let client = knowing(&settings(&server.base_url));
    let requests: Vec<Request> = (1..=4).map(|id| with_key(Request::put(&format!("/contact/{id}")))).collect();
    let all = futures::future::join_all(requests.iter().map(|request| client.send(request))).await;
    assert!(all.into_iter().all(|result| result.unwrap_err().decision() == Decision::Unavailable));
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_stays_in_doubt_whatever_the_known_request_says() {
    let server = TestServer::with(|seen| if seen.method == "GET" { good() } else { answer(504, &[], "") }).await;
    let client = knowing(&settings(&server.base_url));
    for _ in 0..5 {
        assert_eq!(client.send(&with_key(create())).await.unwrap_err().decision(), Decision::Doubt);
    }
    assert_eq!(asked_for(&server, "/contact"), 5);
}

#[tokio::test]
async fn an_update_that_is_too_old_to_be_sent_again_leaves_no_doubt_about_the_platform() {
    let server = TestServer::with(|seen| if seen.method == "GET" { good() } else { Act::Reset }).await;
    let client = knowing(&settings(&server.base_url));
    let update = with_key(Request::put("/contact/1").json("{}").fresh_for(Duration::ZERO));
    assert!(matches!(client.send(&update).await, Err(ApiError::Stale)));
    assert_eq!(server.lines(), ["PUT /contact/1", "GET /contacts"]);
}
