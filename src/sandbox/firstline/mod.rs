//! FIRST LINE, simulated: the REST API that `platforms/firstline.md` describes, over an in-memory tenant.
//!
//! [`FirstLine`] is a shared model with an axum router and with verbs for tests. What the documents leave open is
//! a switch ([`FirstLineSwitches`]). Faults of the network and of the rate (latency, 429, 5xx, resets, late
//! application) are not made here: they belong in front of the router. Nothing here knows the client side.

mod auth;
mod child_writes;
mod children;
mod contacts;
mod counts;
mod definitions;
mod directory;
mod index;
mod lag;
mod model;
mod records;
mod search;
mod switches;
mod tables;
#[cfg(test)]
mod tests;
mod validate;
mod verbs;
mod wire;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::Response;
use axum::routing::any;
use serde_json::{Map, Value};

use auth::Tokens;
use counts::Route;
use lag::Lag;
use model::{Model, Write, mix};
use wire::{Answer, Call, Refusal, Verb};

pub use counts::Counts;
pub use definitions::{Category, Column, ColumnKind, default_definitions};
pub use records::{Contact, Email, Phone, TableRow};
pub use switches::{
    BooleanForm, ClearBy, ColumnFilter, ErrorBody, ExpiresIn, FilterMode, FirstLineSwitches, Links, ListSync,
    ListsShownIn, MethodOverride, NoAccept, PerPageAbove, PhoneCheck, PhoneOwner, SWITCHES, Sort, TagNames,
    TagsOnCreate, TagsShown, TimesShown, Types, UnsetColumns,
};

/// The simulated tenant. A clone is another handle to the same tenant.
#[derive(Clone)]
pub struct FirstLine(Arc<Inner>);

impl std::fmt::Debug for FirstLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstLine").finish_non_exhaustive()
    }
}

struct Inner {
    seed: u64,
    model: RwLock<Model>,
    switches: RwLock<Arc<FirstLineSwitches>>,
    tokens: Mutex<Tokens>,
    counts: Mutex<Counts>,
    nonce: AtomicU64,
    offset_ms: AtomicI64,
}

impl FirstLine {
    /// An empty tenant with the default definitions. Everything random in it comes from the seed.
    pub fn new(switches: FirstLineSwitches, seed: u64) -> Self {
        Self(Arc::new(Inner {
            seed,
            model: RwLock::new(Model::new(seed, default_definitions())),
            switches: RwLock::new(Arc::new(switches)),
            tokens: Mutex::new(Tokens::default()),
            counts: Mutex::new(Counts::default()),
            nonce: AtomicU64::new(seed),
            offset_ms: AtomicI64::new(0),
        }))
    }

    /// The API, under `/api/v1`.
    pub fn router(&self) -> Router {
        Router::new().route("/api/v1/{*path}", any(entry)).with_state(self.clone())
    }

    /// The readings in force.
    pub fn switches(&self) -> FirstLineSwitches {
        self.shared_switches().as_ref().clone()
    }

    /// Changes the readings; requests that are being answered keep the old ones.
    pub fn set_switches(&self, switches: FirstLineSwitches) {
        *self.0.switches.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(switches);
    }

    /// Moves the tenant's clock.
    pub fn advance_ms(&self, ms: i64) {
        self.0.offset_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Requests since the start or the last reset.
    pub fn tally(&self) -> Counts {
        self.counting().clone()
    }

    /// The same as JSON.
    pub fn counts(&self) -> Value {
        serde_json::to_value(self.tally()).unwrap_or_default()
    }

    /// Starts counting from zero.
    pub fn reset_counts(&self) {
        *self.counting() = Counts::default();
    }

    fn shared_switches(&self) -> Arc<FirstLineSwitches> {
        self.0.switches.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn counting(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Model> {
        self.0.model.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Model> {
        self.0.model.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        system_now_ms() + self.0.offset_ms.load(Ordering::SeqCst)
    }

    fn api_write(&self, call: &Call) -> Write {
        let _ = self;
        Write { now_ms: call.now_ms, longest_lag: Some(Lag::longest(&call.switches)) }
    }

    /// Whether the role behind the token may see a contact: its own always, of the others a share.
    fn visible(&self, contact: &Contact, call: &Call) -> bool {
        let share = call.switches.hidden_share;
        if share <= 0.0 || contact.own {
            return true;
        }
        let place = mix(contact.id ^ mix(self.0.seed)) % 1_000_000;
        f64::from(u32::try_from(place).unwrap_or(u32::MAX)) >= share * 1_000_000.0
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of the sandbox's FIRST LINE that reads the clock")]
fn system_now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Every request comes in here, so that `_method`, headers and counts are treated in one place.
async fn entry(State(world): State<FirstLine>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let switches = world.shared_switches();
    let response = match read(&world, switches.clone(), &method, &uri, &headers, &body) {
        Ok(call) => answer(&world, &call, &headers),
        Err(refusal) => Err(refusal),
    };
    let response = match response {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(switches.error_body),
    };
    let mut counts = world.counting();
    counts.total += 1;
    *counts.by_method.entry(method.to_string()).or_default() += 1;
    *counts.by_status.entry(response.status().as_u16()).or_default() += 1;
    response
}

fn read(
    world: &FirstLine,
    switches: Arc<FirstLineSwitches>,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Call, Refusal> {
    let mut query: Vec<(String, String)> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let mut body: Map<String, Value> = if body.is_empty() || method == Method::GET {
        Map::new()
    } else {
        if !text(headers, header::CONTENT_TYPE).starts_with("application/json") {
            return Err(Refusal::new(406, "Not Acceptable."));
        }
        serde_json::from_slice(body).map_err(|_| Refusal::new(400, "Bad Request."))?
    };
    let bearer = text(headers, header::AUTHORIZATION).strip_prefix("Bearer ").map(str::to_owned);
    let switches = if method == Method::PUT && switches.put_replaces {
        Arc::new(FirstLineSwitches { update_replaces: true, ..switches.as_ref().clone() })
    } else {
        switches
    };
    let in_query = query.iter().find(|(key, _)| key == "token").map(|(_, value)| value.clone());
    if in_query.is_some() {
        world.counting().token_in_query += 1;
    }
    let verb = match method.as_str() {
        "GET" | "HEAD" => Verb::Get,
        "POST" => overridden(switches.update_override, &query, &body),
        "PUT" if switches.update_put => Verb::Put,
        "DELETE" => Verb::Delete,
        _ => Verb::Other,
    };
    query.retain(|(key, _)| key != "_method");
    body.remove("_method");
    Ok(Call {
        verb,
        path: uri.path().strip_prefix("/api/v1/").unwrap_or_default().trim_end_matches('/').to_owned(),
        query,
        body,
        host: text(headers, header::HOST).to_owned(),
        token: bearer.or(in_query),
        now_ms: world.now_ms(),
        nonce: world.0.nonce.fetch_add(1, Ordering::Relaxed),
        switches,
    })
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).map(HeaderValue::to_str).and_then(Result::ok).unwrap_or_default()
}

/// What a POST is once `_method` was looked for where the tenant looks for it.
fn overridden(place: MethodOverride, query: &[(String, String)], body: &Map<String, Value>) -> Verb {
    let put = |text: &str| text.eq_ignore_ascii_case("put");
    let in_query = || query.iter().any(|(key, value)| key == "_method" && put(value));
    let in_body = || body.get("_method").and_then(Value::as_str).is_some_and(put);
    let found = match place {
        MethodOverride::Body => in_body(),
        MethodOverride::Query => in_query(),
        MethodOverride::Both => in_body() || in_query(),
        MethodOverride::Nowhere => false,
    };
    if found { Verb::Put } else { Verb::Post }
}

fn answer(world: &FirstLine, call: &Call, headers: &HeaderMap) -> Result<Response, Refusal> {
    if !text(headers, header::ACCEPT).contains("application/json") {
        match call.switches.no_accept {
            NoAccept::Json => {}
            NoAccept::Html => return Ok(wire::respond(200, "text/html; charset=utf-8", wire::page("Log in"))),
            NoAccept::Redirect => {
                let mut response = wire::respond(302, "text/html; charset=utf-8", wire::page("Redirecting"));
                response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/login"));
                return Ok(response);
            }
        }
    }
    let segments: Vec<&str> = call.path.split('/').collect();
    let result = if let ["auth", rest @ ..] = segments.as_slice() {
        world.counting().add(Route::auth);
        auth::handle(world, call, rest)
    } else {
        dispatch(world, call, &segments)
    };
    result.map(Answer::into_response)
}

fn dispatch(world: &FirstLine, call: &Call, segments: &[&str]) -> Result<Answer, Refusal> {
    let (route, id) = counts::route(call.verb, segments).inspect_err(|refusal| {
        world.counting().add(if refusal.status == 405 { Route::method_refused } else { Route::unknown });
    })?;
    let list = matches!(route, Route::contact_list | Route::email_list | Route::phone_list);
    let mut counts = world.counting();
    counts.add(route);
    counts.lookups += u64::from(list && search::is_lookup(call));
    drop(counts);
    if !world.tokens().accepts(call) {
        return Err(auth::refused(&call.switches));
    }
    if call.switches.role_reads_only && call.verb != Verb::Get {
        return Err(Refusal::new(403, "This action is unauthorized."));
    }
    match route {
        Route::contact_list => contacts::list(world, call),
        Route::contact_create => contacts::create(world, call),
        Route::contact_get => contacts::get(world, call, id),
        Route::contact_update => contacts::update(world, call, id),
        Route::contact_delete => contacts::delete(world, call, id),
        Route::email_list => children::list::<Email>(world, call),
        Route::email_create => child_writes::create_email(world, call),
        Route::email_get => children::get::<Email>(world, call, id),
        Route::email_update => child_writes::update_email(world, call, id),
        Route::email_delete => children::delete::<Email>(world, call, id),
        Route::phone_list => children::list::<Phone>(world, call),
        Route::phone_create => child_writes::create_phone(world, call),
        Route::phone_get => children::get::<Phone>(world, call, id),
        Route::phone_update => child_writes::update_phone(world, call, id),
        Route::phone_delete => children::delete::<Phone>(world, call, id),
        Route::tag_list => directory::list_tags(world, call),
        Route::tag_create => directory::create_tag(world, call),
        Route::tag_get => directory::get_tag(world, id),
        Route::tag_update => directory::update_tag(world, call, id),
        Route::tag_delete => directory::delete_tag(world, call, id),
        Route::company_list => directory::list_companies(world, call),
        Route::company_get => directory::get_company(world, call, id),
        Route::definitions if segments == ["cz-col"] => definitions::columns(world, call),
        Route::definitions => definitions::categories(world, call),
        Route::table | Route::table_delete => tables::handle(world, call, id, &segments[2..]),
        Route::auth | Route::method_refused | Route::unknown => Err(Refusal::not_found()),
    }
}
