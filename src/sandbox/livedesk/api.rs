//! The HTTP face of the simulated LiveDesk: the contact list with its search, and GET by id.
//!
//! It writes nothing: the program under test never writes to LiveDesk, so any other method is refused and seen.

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::order::{Field, Sort};
use super::switches::{DirectionStyle, LabelFilter, LiveDeskSwitches};
use super::{LiveDesk, wire};
use crate::sandbox::people::{ContactObject, is_listed};

/// The largest page that a honoured `page_size` gets.
const LARGEST_PAGE: u32 = 100;

pub(super) fn router(desk: LiveDesk) -> Router {
    Router::new()
        .route("/api/v2/accounts/contacts", get(list))
        .route("/api/v2/accounts/contacts/{id}", get(by_id))
        .fallback(async || not_found())
        .method_not_allowed_fallback(async || {
            (StatusCode::METHOD_NOT_ALLOWED, Json(json!({ "error": "Method not allowed" }))).into_response()
        })
        .with_state(desk)
}

async fn list(State(desk): State<LiveDesk>, headers: HeaderMap, RawQuery(raw): RawQuery) -> Response {
    let switches = desk.switches();
    if let Some(refusal) = refuse(&desk, &headers, &switches) {
        return refusal;
    }
    let mut query = Query::parse(raw.as_deref().unwrap_or_default(), &switches);
    match switches.labels {
        LabelFilter::Refused if !query.labels.is_empty() => {
            let refusal = Json(json!({ "error": "labels is invalid" }));
            return (StatusCode::UNPROCESSABLE_ENTITY, refusal).into_response();
        }
        LabelFilter::UnknownIgnored => query.labels.retain(|label| desk.has_label(label)),
        _ => {}
    }
    let searched = query.q.is_some() || !query.labels.is_empty();
    let page = if searched {
        desk.count("search");
        let q = query.q.clone().unwrap_or_default();
        desk.search(query.sort, query.number, query.size, &query.labels, |contact| found(contact, &q))
    } else {
        desk.count("list");
        desk.page(query.sort, query.number, query.size)
    };
    let echo = wire::Echo { page: query.page, number: query.number, inboxes: query.inboxes, searched };
    Json(wire::list(&page, desk.0.people, query.size, &echo)).into_response()
}

async fn by_id(
    State(desk): State<LiveDesk>,
    headers: HeaderMap,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Response {
    let switches = desk.switches();
    let inboxes = Query::parse(&raw.unwrap_or_default(), &switches).inboxes;
    if let Some(refusal) = refuse(&desk, &headers, &switches) {
        return refusal;
    }
    desk.count("by_id");
    let failing = id.parse().ok().and_then(|id: u64| switches.by_id_fails.get(&id).copied());
    if let Some(status) = failing.and_then(|status| StatusCode::from_u16(status).ok()) {
        return (status, Json(json!({ "error": "This contact cannot be shown" }))).into_response();
    }
    let contact = id.parse().ok().filter(|_| switches.by_id).and_then(|id| desk.contact(id));
    match contact {
        Some(contact) => Json(json!({ "payload": wire::contact(contact, &switches, 0, inboxes) })).into_response(),
        None => not_found(),
    }
}

fn refuse(desk: &LiveDesk, headers: &HeaderMap, switches: &LiveDeskSwitches) -> Option<Response> {
    let expected = base64(format!("{}:{}", switches.api_key, switches.api_secret).as_bytes());
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let right =
        given.split_once(' ').is_some_and(|(scheme, it)| scheme.eq_ignore_ascii_case("basic") && it == expected);
    (!right).then(|| {
        desk.count("unauthorized");
        (StatusCode::UNAUTHORIZED, Json(json!({ "error": "Invalid Access Token" }))).into_response()
    })
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "Resource could not be found" }))).into_response()
}

/// What was asked for, as the real server would take it: nothing is ever refused.
struct Query {
    page: Option<String>,
    number: u64,
    size: u32,
    sort: Sort,
    q: Option<String>,
    labels: Vec<String>,
    inboxes: bool,
}

impl Query {
    fn parse(raw: &str, switches: &LiveDeskSwitches) -> Self {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(raw.as_bytes()).into_owned().collect();
        let one = |name: &str| pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let page = one("page");
        let asked = page.as_deref().and_then(|text| text.parse().ok()).filter(|number| *number > 0).unwrap_or(1);
        let number = if switches.stuck_page > 0 { asked.min(switches.stuck_page) } else { asked };
        let wanted =
            one("page_size").and_then(|text| text.parse().ok()).filter(|size| (1..=LARGEST_PAGE).contains(size));
        let size = wanted.filter(|_| switches.honour_page_size).unwrap_or(switches.page_size.max(1));
        let style = switches.labels;
        let labels = pairs.iter().filter(|(key, _)| match key.as_str() {
            "labels" => !matches!(style, LabelFilter::List | LabelFilter::Ignored),
            "labels[]" => !matches!(style, LabelFilter::Text | LabelFilter::Ignored),
            _ => false,
        });
        let labels = labels.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|it| !it.is_empty());
        Self {
            number,
            size,
            sort: sort(one("sort"), one("direction"), switches),
            q: one("q").filter(|text| !text.is_empty()),
            labels: labels.map(str::to_owned).collect(),
            inboxes: one("include_contact_inboxes").is_none_or(|text| text == "true"),
            page,
        }
    }
}

/// An unknown key is no error: the answer is simply unsorted.
fn sort(key: Option<String>, direction: Option<String>, switches: &LiveDeskSwitches) -> Sort {
    let key = key.unwrap_or_default();
    let (name, minus) = match key.strip_prefix('-') {
        Some(name) if switches.direction != DirectionStyle::Parameter => (name, true),
        _ => (key.as_str(), false),
    };
    let asked =
        switches.direction != DirectionStyle::Minus && direction.is_some_and(|it| it.eq_ignore_ascii_case("desc"));
    match Field::named(name).filter(|_| !switches.ignore_sort) {
        Some(field) => Sort { field, descending: minus || asked },
        None => Sort { field: Field::Unsorted, descending: false },
    }
}

/// The real search: substring, wildcards included; only the identifier minds its case.
fn found(contact: &ContactObject, q: &str) -> bool {
    let text = |key: &str| contact.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    let lower = q.to_lowercase();
    ["name", "email", "phone_number"].iter().any(|key| like(&text(key).to_lowercase(), &lower))
        || like(text("identifier"), q)
}

/// SQL's `LIKE '%pattern%'`: `%` is any run, `_` any one character.
fn like(text: &str, pattern: &str) -> bool {
    let pattern: Vec<char> = format!("%{pattern}%").chars().collect();
    // Which prefixes of the pattern match the text read so far.
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    let close = |reached: &mut Vec<bool>| {
        for (at, wanted) in pattern.iter().enumerate() {
            if *wanted == '%' && reached[at] {
                reached[at + 1] = true;
            }
        }
    };
    close(&mut reached);
    for letter in text.chars() {
        let mut next = vec![false; reached.len()];
        for (at, wanted) in pattern.iter().enumerate().filter(|(at, _)| reached[*at]) {
            match wanted {
                '%' => next[at] = true,
                wanted if *wanted == '_' || *wanted == letter => next[at + 1] = true,
                _ => {}
            }
        }
        close(&mut next);
        reached = next;
    }
    reached[pattern.len()]
}

/// Standard base64 with padding: enough to compare a Basic credential, and no dependency for it.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let six = (word >> (18 - 6 * place) & 63) as usize;
            text.push(if place <= chunk.len() { char::from(ALPHABET[six]) } else { '=' });
        }
    }
    text
}

/// [`LiveDesk::dump`] as a stream of pieces, so that a million contacts are never one string.
pub(crate) fn dump_body(desk: &LiveDesk) -> Body {
    const PIECE: usize = 256;
    let deleted = json!(desk.deleted_ids()).to_string();
    let mut contacts = desk.contacts();
    // The few that the list hides wait here until all others are out.
    let mut hidden = Vec::new();
    let mut begun = false;
    let mut ended = false;
    let pieces = std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let mut piece = if begun { String::new() } else { "{\"contacts\":[".to_owned() };
        for _ in 0..PIECE {
            let Some(contact) = contacts.next() else {
                ended = true;
                let hidden = serde_json::Value::Array(std::mem::take(&mut hidden));
                piece.extend(["],\"hidden\":", &hidden.to_string(), ",\"deleted\":", &deleted, "}"]);
                break;
            };
            let contact_is_listed = is_listed(&contact);
            let contact = serde_json::Value::Object(contact);
            if contact_is_listed {
                if std::mem::replace(&mut begun, true) {
                    piece.push(',');
                }
                piece.push_str(&contact.to_string());
            } else {
                hidden.push(contact);
            }
        }
        begun = true;
        Some(piece)
    });
    Body::from_stream(futures::stream::iter(pieces.map(Ok::<_, std::convert::Infallible>)))
}
