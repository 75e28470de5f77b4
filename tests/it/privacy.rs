//! Privacy: whatever goes wrong, nothing that the program leaves behind says who the contacts are.
//!
//! The real program runs at its most talkative through faults, refusals, conflicts, doubts and edits. Its output, its CSV and
//! the raw bytes of its state (the journal's before-images aside) are searched for every value of a person and every secret
//! of the scenario, in every spelling; and so is all that the service shows: answers, metrics, alarms, errors.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use deskferry::app;
use deskferry::clock::{Clock, SystemClock, Timestamp};
use deskferry::ops::board::HeldDeletes;
use deskferry::ops::trigger::{Kind, Refused, Trigger};
use deskferry::ops::{Ops, Platform};
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::FaultSettings;
use deskferry::sandbox::firstline::FirstLineSwitches;
use deskferry::sync::pipeline::Entrants;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ops::get_with;
use crate::unhappy::{program, text};
use crate::world::World;

const TOKEN: &str = "tok-5f2c-first-line-7d";
const KEY: &str = "key-91ab-live-desk";
const SECRET: &str = "sec-77c0-live-desk";
const OPS_TOKEN: &str = "ops-3a9e-operators-only";
const HOOK: &str = "hook-81d2-secret-path";

/// Every text in a document that could say who somebody is.
fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(found.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => {
            for key in ["name", "email", "phone_number", "identifier", "first_name", "last_name", "address", "number"] {
                fields.get(key).into_iter().for_each(|field| texts(field, found));
            }
            for key in ["emails", "phones", "additional_attributes"] {
                fields.get(key).into_iter().for_each(|field| texts(field, found));
            }
            for key in ["city", "company_name", "description", "created_at_ip", "custom_attributes", "birthday", "note"]
            {
                fields.get(key).into_iter().for_each(|field| texts(field, found));
            }
        }
        _ => {}
    }
}

/// The spellings of a value that could stand in a log, an address or a body.
fn spellings(value: &str) -> Vec<String> {
    let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    let national = digits.strip_prefix("886").map(|rest| format!("0{rest}"));
    let is_phone = value.starts_with(['+', '0']) && digits.len() >= 9;
    let escaped = serde_json::to_string(value).unwrap().trim_matches('"').to_owned();
    let unicode: Vec<String> = value.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let encoded_space = encoded.replace('+', "%20");
    let mut all = vec![value.to_owned(), value.to_lowercase(), encoded, encoded_space, escaped, unicode.concat()];
    all.extend([digits].into_iter().chain(national).filter(|_| is_phone));
    all
}

/// Values that cannot stand in a text for another reason: long enough, and no plain English word.
fn is_telling(value: &str) -> bool {
    let telling = |c: char| !c.is_ascii_alphabetic() && c != '-' && c != '_';
    value.len() >= 5 && value.chars().any(telling) && value.trim() == value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_left_behind_says_who_anybody_is() {
    for shape in ["human", "json"] {
        let world = troubled().await;
        let mut needles = BTreeSet::new();
        gather(&world, &mut needles);
        let mut left = Vec::new();
        for args in [["--no-wait", "backfill"].as_slice(), &["--json", "backfill"], &["retry"], &["state", "check"]] {
            if args == ["retry"] {
                // What was carried changes on both sides: from here on there are before-images.
                edit(&world);
                gather(&world, &mut needles);
                run_program(&world, &["--no-wait", "backfill"], shape, &mut left).await;
            }
            run_program(&world, args, shape, &mut left).await;
        }
        let forms = forms(needles);
        let held = put_journal_aside(&world.state_path()).await;
        assert!(held > 0, "there was something to put aside");
        let words: Vec<String> = left.iter().map(|(_, bytes)| text(bytes)).collect();
        let spans = if shape == "json" {
            ["\"name\":\"contact\"", "\"name\":\"run\""]
        } else {
            ["contact{contact=", "run{run="]
        };
        for said in
            ["run began", "run ended", "contacts set aside", "contact carried", "/contact"].into_iter().chain(spans)
        {
            assert!(words.iter().any(|word| word.contains(said)), "no line says {said:?} ({shape})");
        }
        let own = ["deskferry.toml", "mapping.toml"];
        let mut states = 0;
        for entry in std::fs::read_dir(world.folder()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if own.contains(&name.as_str()) {
                continue;
            }
            if name.starts_with("deskferry.db") {
                states += 1;
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{name}");
            }
            left.push((name, std::fs::read(entry.path()).unwrap()));
        }
        assert!(states >= 1 && left.iter().any(|(name, _)| name.contains("set-aside")), "state and CSV were written");
        search(&left, &forms, shape);
    }
}

/// Runs the program at its most talkative and keeps what it said.
async fn run_program(world: &World, args: &[&str], shape: &str, left: &mut Vec<(String, Vec<u8>)>) {
    let mut command = program(world, args);
    command.env("DESKFERRY_LOG", "trace").env("DESKFERRY__LOG__FORMAT", shape);
    let output = command.output().await.unwrap();
    assert!(matches!(output.status.code(), Some(0..=2)), "{args:?}: {}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
    left.push((format!("stdout of {args:?}"), output.stdout));
    left.push((format!("stderr of {args:?}"), output.stderr));
}

/// Every value of a person that either side holds now.
fn gather(world: &World, needles: &mut BTreeSet<String>) {
    texts(&world.sandbox.livedesk().dump()["contacts"], needles);
    texts(&world.sandbox.firstline().dump(), needles);
    needles.retain(|value| is_telling(value));
    assert!(needles.len() > 300, "{}", needles.len());
}

/// Everything to search for: values and secrets in all their spellings.
fn forms(mut needles: BTreeSet<String>) -> Vec<String> {
    needles.extend([TOKEN, KEY, SECRET, OPS_TOKEN, HOOK].map(str::to_owned));
    let basic = format!("{KEY}:{SECRET}");
    let mut forms: Vec<String> = needles.iter().flat_map(|value| spellings(value)).collect();
    forms.push(base64(basic.as_bytes()));
    forms.sort_unstable();
    forms.dedup();
    forms
}

fn search(left: &[(String, Vec<u8>)], forms: &[String], shape: &str) {
    for (place, bytes) in left {
        let index = Index::of(bytes);
        for form in forms {
            assert!(!index.holds(form.as_bytes()), "{place} ({shape}) holds a value of {} bytes: {form}", form.len());
        }
    }
}

/// Changes contacts at the source, so that records that were carried are updated.
fn edit(world: &World) {
    let livedesk = world.sandbox.livedesk();
    for (number, id) in livedesk.listed_ids().into_iter().take(40).enumerate() {
        assert!(livedesk.edit(id, |contact| {
            contact.insert("name".to_owned(), json!(format!("Renamed {number}")));
            contact.insert("email".to_owned(), json!(format!("renamed.{number}@example.com")));
        }));
    }
}

/// Takes the before-images out of the state, and whatever they leave behind in its file. Says how many there were.
async fn put_journal_aside(state: &Path) -> u64 {
    let options = SqliteConnectOptions::new().filename(state);
    let mut state = SqliteConnection::connect_with(&options).await.unwrap();
    let deleted = sqlx::query("DELETE FROM journal").execute(&mut state).await.unwrap().rows_affected();
    for statement in ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"] {
        sqlx::query(statement).execute(&mut state).await.unwrap();
    }
    state.close().await.unwrap();
    deleted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_the_service_shows_says_who_anybody_is() {
    let mut world = troubled().await;
    world.wait = false;
    let mut needles = BTreeSet::new();
    gather(&world, &mut needles);
    let mut left: Vec<(String, Vec<u8>)> = Vec::new();
    let note = |error: &dyn std::fmt::Debug| format!("{error:?}").into_bytes();
    left.push((String::from("first run"), note(&world.run(Entrants::All).await)));
    edit(&world);
    gather(&world, &mut needles);

    let (hook, notices) = receiver().await;
    world.choices.instead.push((
        "[ops]",
        format!(
            "[ops]\ntoken = \"{OPS_TOKEN}\"\nwebhook = \"{hook}\"\ndead_letters_above = 0\n\
             disk_low = \"900PiB\"\nsweep_within = \"1m\""
        ),
    ));
    let settings = world.settings();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = app::read_state(&world.state_path(), Arc::clone(&clock)).await.unwrap();
    let webhook = app::ops::webhook(&settings, Arc::clone(&clock)).unwrap();
    let trigger = Trigger::new(|_| Err(Refused::Stopping));
    let opened = Ops::open(app::ops::settings(&settings), store, Arc::clone(&clock), trigger, webhook).await;
    let (ops, server, sender) = opened.unwrap();
    world.requests = Some(ops.watch());
    let end = world.run(Entrants::All).await;
    let (_, end) = end.as_ref().map_err(|error| left.push((String::from("second run"), note(error)))).unwrap();
    let counts = json!(end.summary);
    left.push((String::from("failure of the second run"), note(&end.failure)));
    ops.run_ended("backfill", end.verdict(), &counts);
    // Everything that can be an alarm and is not one yet.
    let long_ago = Timestamp(clock.now().0 - 3_600_000);
    // What is due has its turn right after a run, so that one ended a while ago.
    ops.board.ran("backfill", long_ago);
    ops.board.next(BTreeMap::from([(Kind::Sync, long_ago)]), long_ago);
    ops.board.deletes(HeldDeletes { held: 9, ceiling: 1 });
    // While a platform is away no run is missed, so that comes first.
    for platform in Platform::ALL {
        ops.board.answered(platform, clock.now(), false);
    }
    ops.tick().await;
    ops.board.unanswered(Platform::LiveDesk, long_ago);
    ops.tick().await;
    sender.unwrap().deliver().await;

    let (address, stop, mut tasks) = (server.local_addr().unwrap(), CancellationToken::new(), JoinSet::new());
    tasks.spawn(server.run(stop.clone()));
    let token = format!("Authorization: Bearer {OPS_TOKEN}\r\n");
    let paths = ["/healthz", "/readyz", "/metrics", "/api/status", "/api/runs", "/api/runs/1", "/api/runs/x", "/x"];
    for path in paths {
        for headers in [token.as_str(), ""] {
            let answer = get_with(address, path, headers).await;
            left.push((
                format!("{path} {}", answer.status),
                format!("{}\r\n{}", answer.head, answer.body).into_bytes(),
            ));
        }
    }
    stop.cancel();
    let notices = notices.lock().unwrap().clone();
    let alarms = ["run_missed", "delete_ceiling", "dead_letters", "disk_low", "platform_down"];
    for alarm in alarms {
        assert!(notices.iter().any(|notice| notice.contains(alarm)), "{alarm} was not sent: {notices:?}");
    }
    left.extend(notices.into_iter().map(|notice| (String::from("notice"), notice.into_bytes())));
    let metrics = left.iter().find(|(place, _)| place == "/metrics 200").map(|(_, bytes)| text(bytes)).unwrap();
    assert!(
        metrics.contains("deskferry_http_requests_total{platform=\"firstline\",route=\"/contact/{id}\""),
        "{metrics}"
    );
    search(&left, &forms(needles), "service");
}

/// Takes notices, and keeps their bodies.
async fn receiver() -> (String, Arc<Mutex<Vec<String>>>) {
    let notices = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&notices);
    let take = async move |body: String| kept.lock().unwrap().push(body);
    let router = axum::Router::new().route(&format!("/{HOOK}"), axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await });
    tasks.detach_all();
    (format!("http://{address}/{HOOK}"), notices)
}

/// Both platforms with everything that can be complained about.
async fn troubled() -> World {
    let config = SandboxConfig {
        contacts: 200,
        firstline: FirstLineSwitches {
            tokens: vec![TOKEN.to_owned()],
            name_max: 12,
            email_unique: true,
            ..FirstLineSwitches::default()
        },
        firstline_faults: FaultSettings {
            error_rate: 0.02,
            lost_ack_rate: 0.02,
            reset_after_rate: 0.02,
            html_rate: 0.01,
            truncated_rate: 0.01,
            throttle_rate: 0.01,
            ..FaultSettings::default()
        },
        livedesk_faults: FaultSettings {
            error_rate: 0.05,
            html_rate: 0.02,
            truncated_rate: 0.02,
            ..FaultSettings::default()
        },
        ..SandboxConfig::default()
    };
    let mut world = World::start(config).await;
    let livedesk = world.sandbox.livedesk();
    let mut switches = livedesk.switches();
    KEY.clone_into(&mut switches.api_key);
    SECRET.clone_into(&mut switches.api_secret);
    livedesk.set_switches(switches);
    world.choices.instead = vec![
        ("\"sandbox-key\"", format!("\"{KEY}\"")),
        ("\"sandbox-secret\"", format!("\"{SECRET}\"")),
        ("\"sandbox-token\"", format!("\"{TOKEN}\"")),
    ];
    world.choices.shared_keys = "conflict";
    let both = "several.candidates@example.com";
    let firstline = world.sandbox.firstline();
    for name in ["Earlier Customer-1", "Earlier Customer-2"] {
        firstline.add_contact(&json!({ "first_name": name }), &[both], &["0912999888"], &[]);
    }
    firstline.seed_customers(40, 5, &[], &[]);
    livedesk.add_contact(json!({ "name": "Amalia Conflict 7", "email": both, "phone_number": "+886912999888" }));
    livedesk.add_contact(json!({ "name": "Bartholomew-Maximilian O'Refused", "email": "refused.one@example.com" }));
    livedesk
        .add_contact(json!({ "name": "Carla Bad 9", "email": "not an address 9@", "phone_number": "+886912777666" }));
    world
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(DIGITS[(word >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

/// Where each pair of bytes stands: thousands of forms are searched for in every file.
struct Index<'a> {
    bytes: &'a [u8],
    pairs: std::collections::HashMap<[u8; 4], Vec<usize>>,
}

impl<'a> Index<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let mut pairs: std::collections::HashMap<[u8; 4], Vec<usize>> = std::collections::HashMap::new();
        for (at, window) in bytes.windows(4).enumerate() {
            pairs.entry([window[0], window[1], window[2], window[3]]).or_default().push(at);
        }
        Self { bytes, pairs }
    }

    fn holds(&self, form: &[u8]) -> bool {
        let Some(first) = form.first_chunk::<4>() else { return false };
        self.pairs.get(first).into_iter().flatten().any(|at| self.bytes[*at..].starts_with(form))
    }
}

#[test]
fn the_search_finds_what_is_there() {
    let index = Index::of(b"a log line with amy%40example.com in it");
    assert!(spellings("amy@example.com").iter().any(|form| index.holds(form.as_bytes())));
    assert!(!index.holds(b"ben@example.com"));
    assert!(spellings("+886912345678").contains(&String::from("0912345678")));
    assert_eq!(base64(b"key:secret"), "a2V5OnNlY3JldA==".trim_end_matches('='));
}
