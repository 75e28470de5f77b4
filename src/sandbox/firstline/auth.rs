//! Tokens: permanent ones from the switches, and the one of the latest login, which kills the login before it.
//!
//! Tokens look like JWTs so that a client can read `exp`; nothing is signed, and they are recognised by equality.

use serde_json::{Value, json};

use super::FirstLine;
use super::model::mix;
use super::switches::{ExpiresIn, FirstLineSwitches};
use super::wire::{Answer, Call, Refusal, Verb};

/// Life of a token when the login does not say, in minutes.
const TTL_DEFAULT_MINUTES: i64 = 60;

/// State of the account's tokens.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    login: Option<Login>,
    permanent_dead: bool,
    issued: u64,
}

#[derive(Debug)]
struct Login {
    token: String,
    expires_ms: i64,
}

impl Tokens {
    /// Whether the request carries a token that lives.
    pub(super) fn accepts(&self, call: &Call) -> bool {
        let Some(token) = call.token.as_deref() else { return false };
        let permanent = !self.permanent_dead && call.switches.tokens.iter().any(|known| known == token);
        let login = self.login.as_ref().is_some_and(|login| login.token == token && call.now_ms < login.expires_ms);
        permanent || login
    }

    /// Ends the login's token, as an administrator or a login elsewhere would.
    pub(super) fn revoke_login(&mut self) {
        self.login = None;
    }

    fn issue(&mut self, now_ms: i64, ttl_seconds: i64, switches: &FirstLineSwitches) -> Value {
        self.issued += 1;
        self.permanent_dead |= switches.login_kills_permanent;
        let opaque = switches.expires_in == ExpiresIn::OpaqueToken;
        let token = if opaque { opaque_token(self.issued) } else { jwt(self.issued, now_ms, ttl_seconds) };
        let answer = json!({
            "access_token": token,
            "token_type": "bearer",
            "expires_in": if switches.expires_in == ExpiresIn::Milliseconds { ttl_seconds * 1000 } else { ttl_seconds },
        });
        self.login = Some(Login { token, expires_ms: now_ms.saturating_add(ttl_seconds.saturating_mul(1000)) });
        answer
    }
}

/// `POST /auth`, `PUT /auth`, `POST /auth/logout`, `GET /auth/me`
pub(super) fn handle(world: &FirstLine, call: &Call, rest: &[&str]) -> Result<Answer, Refusal> {
    if !matches!((call.verb, rest), (Verb::Post | Verb::Put, []) | (Verb::Post, ["logout"]) | (Verb::Get, ["me"])) {
        return Err(Refusal::method());
    }
    let mut tokens = world.tokens();
    match (call.verb, rest) {
        (Verb::Post, []) => {
            let text = |key: &str| call.body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
            let (Some(name), Some(password)) = (text("name"), text("password")) else {
                let missing = if text("name").is_none() { "name" } else { "password" };
                return Err(Refusal::field(missing, "is required"));
            };
            if name != call.switches.login_name || password != call.switches.login_password {
                return Err(Refusal::new(401, "Unauthenticated."));
            }
            let minutes = match call.body.get("ttl") {
                None | Some(Value::Null) => TTL_DEFAULT_MINUTES,
                Some(ttl) => match ttl.as_i64() {
                    Some(minutes) if minutes > 0 => minutes,
                    _ => return Err(Refusal::field("ttl", "must be a positive integer")),
                },
            };
            let ttl_seconds = call.switches.token_ttl_seconds.unwrap_or(minutes.saturating_mul(60));
            Ok(plain(tokens.issue(call.now_ms, ttl_seconds, &call.switches)))
        }
        _ if !tokens.accepts(call) => Err(refused(&call.switches)),
        (Verb::Put, []) => {
            let ttl_seconds = call.switches.token_ttl_seconds.unwrap_or(TTL_DEFAULT_MINUTES * 60);
            Ok(plain(tokens.issue(call.now_ms, ttl_seconds, &call.switches)))
        }
        (Verb::Post, ["logout"]) => {
            tokens.revoke_login();
            Ok(plain(json!({ "message": "Successfully logged out" })))
        }
        _ => Ok(plain(json!({
            "id": 1, "name": call.switches.login_name, "email": "ferry@example.com", "is_active": true,
            "instance_id": 1, "instance_type": "App\\Employee",
        }))),
    }
}

/// What a request without a living token gets.
pub(super) fn refused(switches: &FirstLineSwitches) -> Refusal {
    Refusal::new(switches.auth_status, "Unauthenticated.")
}

fn plain(body: Value) -> Answer {
    Answer { status: 200, body: Some(body) }
}

fn opaque_token(number: u64) -> String {
    format!("{:016x}{:016x}", mix(number), mix(!number))
}

fn jwt(number: u64, now_ms: i64, ttl_seconds: i64) -> String {
    let now = now_ms.div_euclid(1000);
    let header = json!({ "typ": "JWT", "alg": "HS256" });
    let claims = json!({
        "iss": "http://sandbox.invalid/api/v1/auth", "iat": now, "nbf": now, "exp": now.saturating_add(ttl_seconds),
        "jti": opaque_token(number), "sub": 1,
    });
    let signature: Vec<u8> = (0..4).flat_map(|part| mix(number * 4 + part).to_be_bytes()).collect();
    let part = |value: &Value| base64_url(value.to_string().as_bytes());
    format!("{}.{}.{}", part(&header), part(&claims), base64_url(&signature))
}

/// Base64 for URLs without padding.
fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for sextet in 0..=chunk.len() {
            let index = group >> (18 - 6 * sextet) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}
