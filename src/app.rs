//! Putting the parts together: from checked settings to a state, two connected platforms and a run.
//!
//! The only place that knows all parts. It decides nothing; commands call it and the engine does the work.

pub mod deletes;
pub mod gate;
pub mod health;
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
use crate::config::mapping_file::MappingSource;
use crate::config::secret::SecretString;
use crate::config::settings::{self, Include, Settings};
use crate::config::{Problem, Problems};
use crate::domain::contact::Contact;
use crate::domain::field::{FieldDefinition, FieldKind};
use crate::domain::ids::RunId;
use crate::domain::tenant::TenantReport;
use crate::firstline::auth::BadToken;
use crate::firstline::profile::{PhoneOwner, Profile, UpdateChoice, UpdateMethod};
use crate::firstline::settings::{Credentials, FirstLineSettings};
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
use crate::mapping::compile::compile;
use crate::mapping::spec::MappingSpec;
use crate::mapping::{CompileContext, Mapping, MappingProblem, StampFields};
use crate::store::{Access, Accounts, Store, StoreError};
use crate::sync::engine::{self, Engine, EngineSettings, MatchKey, SharedKeys};
use crate::sync::failures::FailurePolicy;
use crate::sync::pipeline::Pipeline;
use crate::sync::ports::{ContactSource, ContactTarget, MalformedRow};
use crate::sync::progress::{Progress, ProgressEvent};
use crate::sync::stamp::StampScheme;

pub use sides::Sides;

/// Contacts worked on per request that may be under way: while two wait for the disk, one can send.
const JOBS_PER_REQUEST: usize = 3;

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

/// Compiles the mapping; without definitions, what depends on them is not checked.
pub fn compile_mapping(
    settings: &Settings,
    source: &MappingSource,
    definitions: Option<&[FieldDefinition]>,
) -> Result<Mapping, Problems> {
    compile_with(settings, source, &source.parse()?, definitions)
}

fn compile_with(
    settings: &Settings,
    source: &MappingSource,
    spec: &MappingSpec,
    definitions: Option<&[FieldDefinition]>,
) -> Result<Mapping, Problems> {
    let mut problems: Vec<Problem> = Vec::new();
    if let Some(definitions) = definitions {
        problems.extend(stamp_problem(settings, definitions));
        problems.extend(deletes::field_problem(settings, definitions));
    }
    match compile(spec, &compile_context(settings, definitions)) {
        Ok(mapping) => {
            problems.extend(settings.inboxes_problem(mapping.needs_inboxes()));
            problems.extend(deletes::mapped_problem(settings, &mapping));
            if problems.is_empty() { Ok(mapping) } else { Err(Problems(problems)) }
        }
        Err(found) => {
            problems.extend(found.into_iter().map(|problem| {
                let place = problem.place.clone();
                placed(source, &place, problem)
            }));
            Err(Problems(problems))
        }
    }
}

/// What a mapping is compiled against.
pub fn compile_context<'a>(settings: &Settings, definitions: Option<&'a [FieldDefinition]>) -> CompileContext<'a> {
    let stamp = &settings.identity.stamp;
    CompileContext {
        definitions,
        stamp: StampFields { membership_no: stamp.membership_no.is_some(), cz_col: stamp.cz_col },
        time_zone: settings.firstline.time_zone.clone(),
        phone_country: settings.identity.phone_country,
    }
}

/// The compiler's complaint with file and line; `place` is where in the file it stands.
pub fn placed(source: &MappingSource, place: &str, problem: MappingProblem) -> Problem {
    let message = match problem.column {
        Some(column) => format!("{} (column {column})", problem.message),
        None => problem.message,
    };
    source.problem(place, message, problem.help.unwrap_or_default())
}

/// The stamp's own field must exist and be a text.
pub fn stamp_problem(settings: &Settings, definitions: &[FieldDefinition]) -> Option<Problem> {
    let id = settings.identity.stamp.cz_col?;
    let (message, remedy) = match definitions.iter().find(|definition| definition.id == id) {
        Some(definition) if definition.kind == FieldKind::Text => return None,
        Some(definition) => (
            format!("cz_col {id} is a {} field; the stamp needs a text field", definition.kind.as_str()),
            "make a text field for customers in FIRST LINE and name its id",
        ),
        None => (
            format!("FIRST LINE has no custom field {id} for customers"),
            "`deskferry fields` lists the ids; make a text field for the stamp, or use membership_no",
        ),
    };
    Some(Problem {
        file: settings.file.clone(),
        line: None,
        key: String::from("identity.stamp.cz_col"),
        message,
        remedy: remedy.to_owned(),
    })
}

/// Where the stamp is written.
pub fn stamp_scheme(settings: &Settings) -> StampScheme {
    StampScheme {
        membership_prefix: settings.identity.stamp.membership_no.clone(),
        custom_field: settings.identity.stamp.cz_col,
    }
}

/// A run over both platforms, ready to begin.
pub async fn pipeline(
    settings: &Settings,
    platforms: &Platforms,
    store: Store,
    mapping: Mapping,
    around: &Surroundings,
    run: RunId,
) -> Result<Run, StoreError> {
    let engine = engine(settings, platforms, store, mapping, around, run).await?;
    Ok(pipeline_of(settings, Arc::clone(&platforms.livedesk), engine))
}

/// A run of this engine.
pub fn pipeline_of<S: ContactSource, T: ContactTarget>(
    settings: &Settings,
    source: Arc<S>,
    engine: Engine<T>,
) -> Pipeline<S, T> {
    Pipeline::new(source, Arc::new(engine), settings.sweep.max_rounds).with_overlap(settings.service.overlap)
}

/// The engine of one run.
pub async fn engine<P: Sides>(
    settings: &Settings,
    platforms: &P,
    store: Store,
    mapping: impl Into<Arc<Mapping>>,
    around: &Surroundings,
    run: RunId,
) -> Result<Engine<P::Target>, StoreError> {
    platforms.before_run(&store).await?;
    engine_over(settings, Arc::clone(platforms.target()), store, mapping, around, run).await
}

/// The engine of one run over this target.
async fn engine_over<T: ContactTarget>(
    settings: &Settings,
    target: Arc<T>,
    store: Store,
    mapping: impl Into<Arc<Mapping>>,
    around: &Surroundings,
    run: RunId,
) -> Result<Engine<T>, StoreError> {
    Engine::new(
        target,
        store,
        mapping.into(),
        stamp_scheme(settings),
        engine_settings(settings, around),
        Arc::clone(&around.clock),
        Arc::clone(&around.progress),
        around.stop.clone(),
        run,
    )
    .await
}

/// The engine's part of the settings.
fn engine_settings(settings: &Settings, around: &Surroundings) -> EngineSettings {
    let identity = &settings.identity;
    EngineSettings {
        match_keys: identity
            .match_keys
            .iter()
            .map(|key| match key {
                settings::MatchKey::Email => MatchKey::Email,
                settings::MatchKey::Phone => MatchKey::Phone,
            })
            .collect(),
        shared_keys: match identity.shared_keys {
            settings::SharedKeys::Create => SharedKeys::Create,
            settings::SharedKeys::Conflict => SharedKeys::Conflict,
        },
        settle: identity.settle,
        doubt_horizon: identity.doubt_horizon,
        id_walk_limit: usize::try_from(identity.id_walk_limit).unwrap_or(usize::MAX),
        phone_country: identity.phone_country,
        clears: settings.firstline.clear_form != settings::ClearForm::Leave,
        failures: FailurePolicy {
            retry_first: settings.failures.retry_first,
            retry_ceiling: settings.failures.retry_ceiling,
            poison_after: settings.failures.poison_after,
        },
        jobs: settings.firstline.limits.concurrency * JOBS_PER_REQUEST,
        wait: !around.no_wait && !around.leaves_doubts,
        deletes: deletes::rules(&settings.deletes),
    }
}
