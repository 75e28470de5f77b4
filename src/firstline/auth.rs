//! The token: fixed, or from a login that is renewed before it expires.
//!
//! A new login kills the previous token at once (notes FIRST LINE 1.2), so there is one login at a time, and all commands of
//! one state use the same token (`shared`). One that was refused is renewed once; when that happens again soon, somebody else
//! is using the account, and fighting in a loop would help nobody. A renewed token that has served for a while is no fight.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;

use super::error::{Failure, PLATFORM};
use super::settings::Credentials;
use super::shared::{InUse, SharedLogin};
use super::wire::{Claims, LoginAnswer};
use crate::clock::{Clock, Timestamp, millis};
use crate::http::secret::AuthHeader;
use crate::http::{ApiError, Decision, HttpClient, Repeat, Reply, Request};

/// A token is renewed this long before it expires, or a tenth of its life, whichever is less.
const MARGIN_MAX: Duration = Duration::from_mins(5);
/// A refused token is renewed at most once in this time, ..
const RENEWAL_DISTANCE: Duration = Duration::from_mins(10);
/// .. or in this, once the renewed one has been taken: then tokens simply expire early, while two programs that
/// fight over the account undo each other's logins at once.
const SERVED_DISTANCE: Duration = Duration::from_secs(30);

/// The token is no text that a header can carry.
#[derive(Debug, thiserror::Error)]
#[error("the FIRST LINE token has characters that no token has (a line break, a space, a quote)")]
pub struct BadToken;

/// Hands out the `Authorization` header.
pub(super) struct Auth {
    credentials: Credentials,
    shared: Option<SharedLogin>,
    clock: Arc<dyn Clock>,
    /// Held during a login, so that there is one at a time and everybody waits for it.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// The last time that a refused token was renewed.
    renewal: Option<Renewal>,
    /// What is shared with other commands, once a token was needed.
    in_use: Option<InUse>,
    /// That nothing can be shared was said.
    is_alone: bool,
}

struct Renewal {
    at: Timestamp,
    /// The renewed token has been taken.
    has_served: bool,
}

impl Renewal {
    fn is_too_recent(&self, now: Timestamp) -> bool {
        let distance = if self.has_served { SERVED_DISTANCE } else { RENEWAL_DISTANCE };
        // One that lies ahead was made before the clock was set back.
        self.at.unless_ahead_of(now).is_some_and(|at| now.0 - at.0 < millis(distance))
    }
}

struct Token {
    header: AuthHeader,
    /// When to renew it; `None`: it does not expire, or nobody knows when.
    renew_at: Option<Timestamp>,
}

impl Auth {
    pub(super) fn new(
        credentials: Credentials,
        shared: Option<SharedLogin>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BadToken> {
        let token = match &credentials {
            Credentials::Token(token) => {
                Some(Token { header: bearer(token.expose()).ok_or(BadToken)?, renew_at: None })
            }
            Credentials::Login { .. } => None,
        };
        Ok(Self { credentials, shared, clock, state: Mutex::new(State { token, ..State::default() }) })
    }

    /// The header for the next request; logs in when there is no token or it is about to expire.
    pub(super) async fn header(&self, http: &HttpClient) -> Result<AuthHeader, Failure> {
        let mut state = self.state.lock().await;
        match &state.token {
            Some(token) if token.renew_at.is_none_or(|at| self.clock.now() < at) => Ok(token.header.clone()),
            _ => self.renew(http, &mut state, None).await,
        }
    }

    /// A request with this header was answered.
    pub(super) fn worked(&self, header: &AuthHeader) {
        // Nobody waits for this: during a login there is no token to speak for, and the next success comes soon.
        let Ok(mut state) = self.state.try_lock() else { return };
        if state.token.as_ref().is_some_and(|token| token.header == *header)
            && let Some(renewal) = &mut state.renewal
        {
            renewal.has_served = true;
        }
    }

    /// After a 401 or 419: another header to try, or the error that stops the run.
    pub(super) async fn after_refusal(
        &self,
        http: &HttpClient,
        refused: &AuthHeader,
        cause: ApiError,
    ) -> Result<AuthHeader, Failure> {
        let mut state = self.state.lock().await;
        match &state.token {
            // Another request was refused too, and has renewed it already.
            Some(token) if token.header != *refused => return Ok(token.header.clone()),
            _ => {}
        }
        if matches!(self.credentials, Credentials::Token(_)) {
            let message = format!(
                "{PLATFORM} refuses the token (status {}): make a new one under System > Employee (a newer one kills \
                 the older), or configure name and password",
                cause.status().unwrap_or(401)
            );
            return Err(Failure::Account { message, source: cause });
        }
        self.renew(http, &mut state, Some((refused, cause))).await
    }

    /// The token that other commands use by now, if it is not the refused one; else that of a login.
    async fn renew(
        &self,
        http: &HttpClient,
        state: &mut State,
        refused: Option<(&AuthHeader, ApiError)>,
    ) -> Result<AuthHeader, Failure> {
        http.or_stopped(self.join(state)).await?;
        let _turn = match &state.in_use {
            // Whoever has it for longer waits for the platform, as this one will.
            Some(in_use) => http.or_stopped(in_use.turn(http.timeout())).await?,
            None => None,
        };
        let now = self.clock.now();
        if let Some(lent) = state.in_use.as_ref().and_then(InUse::read)
            && now.0 < lent.renew_at
            && let Some(header) = bearer(&lent.token)
            && refused.as_ref().is_none_or(|(refused, _)| header != **refused)
        {
            state.token = Some(Token { header: header.clone(), renew_at: Some(Timestamp(lent.renew_at)) });
            return Ok(header);
        }
        if let Some((_, cause)) = refused {
            if state.renewal.as_ref().is_some_and(|renewal| renewal.is_too_recent(now)) {
                return Err(still_refused(cause));
            }
            state.renewal = Some(Renewal { at: now, has_served: false });
            // Should the login fail, nobody borrows what was refused.
            if let Some(in_use) = &state.in_use {
                in_use.empty();
            }
        }
        self.log_in(http, state).await
    }

    /// Joins the commands that share the login. Who cannot goes on alone: one that works is worth more than one that is shared.
    async fn join(&self, state: &mut State) {
        let has_joined = state.in_use.as_ref().is_some_and(InUse::is_there);
        let Some(shared) = self.shared.as_ref().filter(|_| !has_joined) else { return };
        match shared.join().await {
            Ok(in_use) => state.in_use = Some(in_use),
            // A login ends the token of whoever else uses the file.
            Err(error) if shared.path().exists() => {
                if !std::mem::replace(&mut state.is_alone, true) {
                    tracing::warn!(
                        "the {PLATFORM} login that commands of this state share cannot be used ({}: {error}): this one logs in \
                         for itself, and so ends the token of any other that runs; delete the file",
                        shared.path().display()
                    );
                }
            }
            Err(error) => tracing::debug!(%error, "the login is not shared with other commands"),
        }
    }

    async fn log_in(&self, http: &HttpClient, state: &mut State) -> Result<AuthHeader, Failure> {
        let Credentials::Login { name, password, ttl } = &self.credentials else {
            unreachable!("a fixed token is there from the start and never expires");
        };
        state.token = None;
        let minutes = ttl.as_secs().div_ceil(60).max(1);
        let body = json!({"name": name.expose(), "password": password.expose(), "ttl": minutes}).to_string();
        // Asking twice does no harm: the later token is the one that counts.
        let request = Request::post("/auth", Repeat::Safe).json(body);
        let reply: Reply<LoginAnswer> = http.json(&request).await.map_err(login_failure)?;
        let header = bearer(reply.value.token()).ok_or_else(|| {
            Failure::Tenant(format!("{PLATFORM} answers the login with a token that no header can carry"))
        })?;
        let life = lifetime(&reply, self.clock.now()).unwrap_or(*ttl);
        let margin = MARGIN_MAX.min(life / 10);
        let renew_at = self.clock.now().later_by(life.saturating_sub(margin));
        tracing::info!(valid_for_s = life.as_secs(), "logged in to FIRST LINE");
        if let Some(in_use) = &state.in_use {
            in_use.write(reply.value.token(), renew_at.0);
        }
        state.token = Some(Token { header: header.clone(), renew_at: Some(renew_at) });
        Ok(header)
    }
}

/// Whether the token is refused. Laravel says 419 of a session that has expired.
pub(super) fn is_refusal(error: &ApiError) -> bool {
    matches!(error.status(), Some(401 | 419))
}

/// A fresh token is refused as well.
fn still_refused(source: ApiError) -> Failure {
    let message = format!(
        "{PLATFORM} refuses a token that it has just given (status {}). Most likely something else logs in with the same \
         account, and each login ends the token before it: another program, a person, or deskferry with another state file. \
         Give deskferry an account of its own; nothing is lost, the next run goes on",
        source.status().unwrap_or(401)
    );
    Failure::Account { message, source }
}

fn login_failure(error: ApiError) -> Failure {
    let message = match (error.decision(), error.status()) {
        (Decision::GiveUp | Decision::Stop, Some(status @ (400..=403 | 419 | 422))) => {
            format!("{PLATFORM} refuses name and password (status {status}): check firstline.name and password")
        }
        (Decision::GiveUp, _) => format!("{PLATFORM} answers the login in a way that cannot be used ({error})"),
        (Decision::NotFound, _) => {
            format!("{PLATFORM} has no /auth under firstline.base_url (status 404): check the address, or use a token")
        }
        _ => return Failure::Api(error),
    };
    Failure::Account { message, source: error }
}

fn bearer(token: &str) -> Option<AuthHeader> {
    let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    plain.then(|| AuthHeader::new(&format!("Bearer {token}")).ok()).flatten()
}

/// How long a token lives: by its own `exp` against the server's clock, else by `expires_in`, which is seconds
/// whatever one sample says (notes FIRST LINE 1.2).
fn lifetime(reply: &Reply<LoginAnswer>, now: Timestamp) -> Option<Duration> {
    let server_now = reply.server_date.unwrap_or(now.0 / 1000);
    let by_claim = expiry(reply.value.token()).map(|exp| exp - server_now);
    let seconds = by_claim.filter(|life| *life > 0).or_else(|| reply.value.expires_in())?;
    u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// `exp` of a JWT, epoch seconds.
fn expiry(token: &str) -> Option<i64> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice::<Claims>(&decode_base64_url(payload)?).ok()?.exp()
}

/// Base 64 in the alphabet for addresses, with or without padding.
fn decode_base64_url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut buffer, mut bits) = (0_u32, 0);
    for symbol in text.trim_end_matches('=').bytes() {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        buffer = (buffer << 6 | u32::from(value)) & 0xFFFF;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(buffer >> bits & 0xFF).expect("eight bits fit a byte"));
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Renewal, SERVED_DISTANCE, bearer, decode_base64_url, expiry};
    use crate::clock::Timestamp;

    #[test]
    fn a_renewal_of_before_the_clock_was_set_back_is_not_taken_for_a_recent_one() {
        let renewal = Renewal { at: Timestamp(100 * 3_600_000), has_served: true };
        assert!(renewal.is_too_recent(renewal.at));
        assert!(!renewal.is_too_recent(renewal.at.later_by(SERVED_DISTANCE)));
        assert!(!renewal.is_too_recent(Timestamp(3_600_000)));
    }

    #[test]
    fn base64_for_addresses_is_decoded() {
        let rows = [("", ""), ("Zg", "f"), ("Zg==", "f"), ("Zm9vYg", "foob"), ("Pz8_Pj4-", "???>>>")];
        for (text, expected) in rows {
            assert_eq!(decode_base64_url(text), Some(expected.as_bytes().to_vec()), "{text}");
        }
        assert_eq!(decode_base64_url("a+b/"), None);
    }

    #[test]
    fn the_expiry_is_read_from_the_payload() {
        // {"iat":1,"exp":1700000000}
        assert_eq!(expiry("e30.eyJpYXQiOjEsImV4cCI6MTcwMDAwMDAwMH0.sig"), Some(1_700_000_000));
        for other in ["opaque", "a.b.c", "", "e30.e30."] {
            assert_eq!(expiry(other), None, "{other}");
        }
    }

    #[test]
    fn a_token_is_one_word() {
        assert!(bearer("abc.def-_~+/=").is_some());
        for bad in ["", "a b", "a\n", "\"a\"", "é"] {
            assert!(bearer(bad).is_none(), "{bad:?}");
        }
    }
}
