//! Putting the parts together: from checked settings to a state, two connected platforms and a run.
//!
//! The only place that knows all parts. It decides nothing; commands call it and the engine does the work.

mod assembly;
pub mod deletes;
pub mod gate;
pub mod health;
mod mapping;
pub mod ops;
pub mod plan;
pub mod probe;
pub mod runs;
mod sides;
pub mod verify;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock::Clock;
use crate::config::secret::SecretString;
use crate::config::settings::{self, Include, Settings};
use crate::domain::contact::Contact;
use crate::domain::tenant::TenantReport;
use crate::firstline::auth::BadToken;
use crate::firstline::profile::{PhoneOwner, Profile, UpdateChoice, UpdateMethod};
use crate::firstline::settings::{Credentials, FirstLineSettings};
use crate::firstline::shared::SharedLogin;
use crate::firstline::target::FirstLine;
use crate::http::client::BuildError;
pub use crate::http::limit::Budgets;
pub use crate::http::limit::PaceView;
use crate::http::observe::{HttpCounts, HttpObserver, WaitReason, Watch};
use crate::http::quiet::QuietHours;
use crate::http::retry::RetryPolicy;
use crate::http::{HttpClient, HttpSettings, Secret};
use crate::livedesk::api::{CredentialsError, LiveDeskSettings};
use crate::livedesk::source::{ByIdSupport, LiveDesk};
use crate::livedesk::wire;
use crate::store::{Access, Accounts, Store, StoreError, resolved};
use crate::sync::engine::{self, Engine};
use crate::sync::pipeline::Pipeline;
use crate::sync::ports::MalformedRow;
use crate::sync::progress::{Progress, ProgressEvent};

pub use assembly::{engine, pipeline, pipeline_of, stamp_scheme};
pub use mapping::{compile_context, compile_mapping, placed, stamp_problem};
pub use sides::Sides;

use assembly::{engine_over, engine_settings};
use mapping::compile_with;

/// What a command brings along: time, eyes, and the signal to stop.
#[derive(Clone)]
pub struct Surroundings {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
    /// Cancelled at the first signal.
    pub stop: CancellationToken,
    /// Whether to fail instead of waiting for a platform that is down or a doubt that could be settled.
    pub no_wait: bool,
    /// What the process may ask of each platform: one budget for everything in it, for as long as it lives.
    pub budgets: Budgets,
    /// Who counts what is asked of the platforms, in a process that shows it.
    pub requests: Option<Arc<dyn Watch>>,
    /// Whether doubts at the end of a run are left to the next one, as the service does: it always has a next one.
    pub leaves_doubts: bool,
}

/// Why the parts could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A client could not be built.
    #[error("the connection to {platform} could not be set up")]
    Client {
        /// Which platform.
        platform: &'static str,
        /// Why.
        #[source]
        source: BuildError,
    },
    /// The FIRST LINE token cannot be sent.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The LiveDesk credentials cannot be sent.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A proxy address is none.
    #[error("the proxy of {platform} is not a URL")]
    Proxy {
        /// Which platform.
        platform: &'static str,
    },
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Both platforms, connected.
pub struct Platforms {
    /// LiveDesk.
    pub livedesk: Arc<LiveDesk>,
    /// FIRST LINE.
    pub firstline: Arc<FirstLine>,
    livedesk_http: HttpClient,
    firstline_http: HttpClient,
}

impl Platforms {
    /// What was sent to LiveDesk and to FIRST LINE.
    pub fn counts(&self) -> (HttpCounts, HttpCounts) {
        (self.livedesk_http.counts(), self.firstline_http.counts())
    }

    /// The budgets of LiveDesk and of FIRST LINE, and what is used of them now.
    pub fn paces(&self) -> (PaceView, PaceView) {
        (self.livedesk_http.pace(), self.firstline_http.pace())
    }
}

/// A run over both platforms.
pub type Run = Pipeline<LiveDesk, FirstLine>;

/// The engine of a run that writes to FIRST LINE.
pub type TargetEngine = Engine<FirstLine>;

/// A LiveDesk row as the adapter reads it; for what compares the two sides without asking them.
pub fn read_row(row: Value) -> Result<Contact, MalformedRow> {
    wire::contact(row)
}

/// Opens the state for writing and binds it to both accounts.
pub async fn open_state(settings: &Settings, holder: &str, clock: Arc<dyn Clock>) -> Result<Store, AppError> {
    let access = Access::Exclusive { holder: holder.to_owned() };
    let store = Store::open(&settings.state.path, access, clock).await?;
    store.bind_accounts(&accounts(settings)).await?;
    Ok(store)
}

/// Opens the state for reading.
pub async fn read_state(path: &Path, clock: Arc<dyn Clock>) -> Result<Store, AppError> {
    Ok(Store::open(path, Access::ReadOnly, clock).await?)
}

/// The two accounts of a configuration. Keys and tokens change, addresses do not; that the contacts behind them are
/// the same is checked by the pipeline, on both sides.
pub fn accounts(settings: &Settings) -> Accounts {
    Accounts {
        livedesk: settings.livedesk.base_url.as_str().trim_end_matches('/').to_owned(),
        firstline: settings.firstline.base_url.as_str().trim_end_matches('/').to_owned(),
    }
}

/// Connects both platforms. Sends nothing. `learned` is what earlier runs found out; `inboxes` whether the mapping reads
/// `contact_inboxes`.
pub fn connect(
    settings: &Settings,
    inboxes: bool,
    learned: &Learned,
    around: &Surroundings,
) -> Result<Platforms, AppError> {
    let (livedesk, livedesk_http) = connect_livedesk(settings, inboxes, learned, around)?;
    let (firstline, firstline_http) = connect_firstline(settings, learned, around)?;
    Ok(Platforms { livedesk, firstline, livedesk_http, firstline_http })
}

/// Connects LiveDesk alone.
pub fn connect_livedesk(
    settings: &Settings,
    inboxes: bool,
    learned: &Learned,
    around: &Surroundings,
) -> Result<(Arc<LiveDesk>, HttpClient), AppError> {
    let livedesk = &settings.livedesk;
    let livedesk_http = client("LiveDesk", &livedesk.base_url, &livedesk.limits, &livedesk.route, settings, around)?;
    let source = LiveDesk::new(
        livedesk_http.clone(),
        &LiveDeskSettings {
            api_key: secret(livedesk.api_key.as_ref()),
            api_secret: secret(livedesk.api_secret.as_ref()),
            include_contact_inboxes: match livedesk.include_inboxes {
                Include::Auto => inboxes,
                Include::Yes => true,
                Include::No => false,
            },
            page_size: livedesk.page_size,
        },
    )?;
    source.set_by_id_support(learned.by_id);
    Ok((Arc::new(source), livedesk_http))
}

/// Connects FIRST LINE alone.
pub fn connect_firstline(
    settings: &Settings,
    learned: &Learned,
    around: &Surroundings,
) -> Result<(Arc<FirstLine>, HttpClient), AppError> {
    let firstline = &settings.firstline;
    let firstline_http =
        client("FIRST LINE", &firstline.base_url, &firstline.limits, &firstline.route, settings, around)?;
    let credentials = match (&firstline.token, &firstline.name, &firstline.password) {
        (None, Some(name), Some(password)) => {
            Credentials::Login { name: secret(Some(name)), password: secret(Some(password)), ttl: firstline.ttl }
        }
        (token, ..) => Credentials::Token(secret(token.as_ref())),
    };
    let shared = match &credentials {
        Credentials::Login { name, .. } => {
            Some(SharedLogin::beside(&resolved(&settings.state.home), &accounts(settings).firstline, name))
        }
        Credentials::Token(_) => None,
    };
    let update = match firstline.update_method {
        settings::UpdateMethod::Auto => learned.firstline.update,
        settings::UpdateMethod::PostBody => UpdateChoice::Fixed(UpdateMethod::PostBody),
        settings::UpdateMethod::PostQuery => UpdateChoice::Fixed(UpdateMethod::PostQuery),
        settings::UpdateMethod::Put => UpdateChoice::Fixed(UpdateMethod::Put),
    };
    for difference in probe::differences(settings, &learned.tenant) {
        tracing::warn!("{difference}");
    }
    let target = FirstLine::new(
        firstline_http.clone(),
        FirstLineSettings {
            credentials,
            shared,
            per_page: probe::per_page(firstline, &learned.tenant),
            boolean_form: probe::boolean_form(firstline, &learned.tenant),
            clear_form: probe::clear_form(firstline, &learned.tenant),
            profile: Profile { update, ..learned.firstline },
        },
        Arc::clone(&around.clock),
    )?;
    Ok((Arc::new(target), firstline_http))
}

fn secret(text: Option<&SecretString>) -> Secret {
    Secret::new(text.map_or("", SecretString::expose))
}

fn client(
    platform: &'static str,
    base_url: &Url,
    limits: &settings::Limits,
    route: &settings::Route,
    shared: &Settings,
    around: &Surroundings,
) -> Result<HttpClient, AppError> {
    let http = &shared.http;
    let proxy = match &route.proxy {
        Some(proxy) => Some(Url::parse(proxy.expose()).map_err(|_| AppError::Proxy { platform })?),
        None => None,
    };
    let retry = RetryPolicy::new(http.retry_first, http.retry_ceiling.max(http.retry_first), 5)
        .expect("config refuses what makes no policy");
    let settings = HttpSettings {
        timeout: limits.timeout,
        total_timeout: http.total_timeout,
        requests_per_second: limits.requests_per_second,
        quiet_hours: quiet_hours(limits, shared),
        budgets: around.budgets.clone(),
        concurrency: limits.concurrency,
        proxy,
        ca_file: route.ca_file.clone(),
        max_response_bytes: usize::try_from(http.max_response.as_u64()).unwrap_or(usize::MAX),
        max_outage: around.no_wait.then_some(Duration::ZERO),
        throttle_wait: limits.throttle_wait,
        max_wait: http.max_wait,
        retry,
        ..HttpSettings::new(platform, base_url.clone())
    };
    let requests = around.requests.as_ref().map(|watch| watch.of(platform));
    let observer = Arc::new(Observer { platform, progress: Arc::clone(&around.progress), requests });
    HttpClient::new(&settings, Arc::clone(&around.clock), observer, around.stop.clone())
        .map_err(|source| AppError::Client { platform, source })
}

fn quiet_hours(limits: &settings::Limits, shared: &Settings) -> Option<QuietHours> {
    let rate = limits.quiet_requests_per_second.unwrap_or(limits.requests_per_second);
    QuietHours::parse(limits.quiet_hours.as_deref()?, shared.schedule.time_zone.clone(), rate)
}

/// Passes a platform's pauses on to whoever watches the run, and everything to whoever counts requests.
struct Observer {
    platform: &'static str,
    progress: Arc<dyn Progress>,
    requests: Option<Arc<dyn HttpObserver>>,
}

impl HttpObserver for Observer {
    fn waiting(&self, reason: WaitReason, wait: Duration) {
        let why = format!("{} is {reason}", self.platform);
        self.progress.event(ProgressEvent::Waiting { why, wait: Some(wait) });
        if let Some(requests) = &self.requests {
            requests.waiting(reason, wait);
        }
    }

    fn resumed(&self) {
        self.progress.event(ProgressEvent::Resumed);
        if let Some(requests) = &self.requests {
            requests.resumed();
        }
    }

    fn answered(&self, route: &str, status: Option<u16>, took: Duration) {
        if let Some(requests) = &self.requests {
            requests.answered(route, status, took);
        }
    }
}

/// What earlier runs found out about the platforms.
#[derive(Clone, Debug)]
pub struct Learned {
    firstline: Profile,
    tenant: TenantReport,
    by_id: ByIdSupport,
}

impl Default for Learned {
    fn default() -> Self {
        Self { firstline: Profile::default(), tenant: TenantReport::default(), by_id: ByIdSupport::Unknown }
    }
}

/// Profile keys in the state.
const UPDATE_METHOD: &str = "update_method";
const PHONE_OWNER: &str = "phone_owner";
const BY_ID: &str = "livedesk_by_id";

/// Reads what earlier runs found out.
pub async fn learned(store: &Store) -> Result<Learned, StoreError> {
    let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let mut learned = Learned { tenant: probe::stored(store).await?.unwrap_or_default(), ..Learned::default() };
    if let Some(method) = UpdateMethod::parse(&text(store.profile_get(UPDATE_METHOD).await?)) {
        learned.firstline.update = UpdateChoice::Found(method);
    }
    if text(store.profile_get(PHONE_OWNER).await?) == "profile_id" {
        learned.firstline.phone_owner = PhoneOwner::Profile;
    }
    learned.firstline.shown = engine::shown(store).await?;
    learned.by_id = match text(store.profile_get(BY_ID).await?).as_str() {
        "supported" => ByIdSupport::Supported,
        "unsupported" => ByIdSupport::Unsupported,
        _ => ByIdSupport::Unknown,
    };
    Ok(learned)
}

/// Stores what this run found out.
pub async fn remember(store: &Store, platforms: &Platforms) -> Result<(), StoreError> {
    let profile = platforms.firstline.profile();
    probe::note_method(store, profile.update).await?;
    if let UpdateChoice::Found(method) = profile.update {
        store.profile_put(UPDATE_METHOD, &json!(method.as_str())).await?;
    }
    if profile.phone_owner == PhoneOwner::Profile {
        store.profile_put(PHONE_OWNER, &json!("profile_id")).await?;
    }
    let by_id = match platforms.livedesk.by_id_support() {
        ByIdSupport::Unknown => return Ok(()),
        ByIdSupport::Supported => "supported",
        ByIdSupport::Unsupported => "unsupported",
    };
    store.profile_put(BY_ID, &json!(by_id)).await
}
