//! Every key there is, its type and its default. `config/deskferry.toml` explains them to the operator.
//!
//! The reading functions below are the list of known keys; rules between keys are in `check`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::tz::TimeZone;
use tracing::level_filters::LevelFilter;
use url::Url;

use super::schema::Section;
use super::secret::SecretString;
use super::values;
use crate::domain::phone::Country;

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration file itself.
    pub file: PathBuf,
    /// The mapping file.
    pub mapping: PathBuf,
    /// The source.
    pub livedesk: LiveDesk,
    /// The target.
    pub firstline: FirstLine,
    /// Both platforms' connections.
    pub http: Http,
    /// The state file.
    pub state: State,
    /// How a contact is found again.
    pub identity: Identity,
    /// How a sweep ends.
    pub sweep: Sweep,
    /// When the service works.
    pub schedule: Schedule,
    /// What happens to contacts that are gone.
    pub deletes: Deletes,
    /// The service's own HTTP server.
    pub ops: Ops,
    /// Logging.
    pub log: Log,
}

/// `[livedesk]`.
#[derive(Clone, Debug)]
pub struct LiveDesk {
    /// Root of the API.
    pub base_url: Url,
    /// Plain http to hosts that are not loopback.
    pub allow_http: bool,
    /// User part of Basic authentication.
    pub api_key: Option<SecretString>,
    /// Password part of Basic authentication.
    pub api_secret: Option<SecretString>,
    /// Pace and patience.
    pub limits: Limits,
    /// Rows a page to ask for; `None` asks for nothing and learns what comes.
    pub page_size: Option<u32>,
    /// `include_contact_inboxes`.
    pub include_inboxes: Include,
    /// Pause after a 429 that does not say how long.
    pub throttle_wait: Duration,
    /// Way out.
    pub route: Route,
}

/// `[firstline]`.
#[derive(Clone, Debug)]
pub struct FirstLine {
    /// Root of the tenant's API.
    pub base_url: Url,
    /// Plain http to hosts that are not loopback.
    pub allow_http: bool,
    /// Fixed token.
    pub token: Option<SecretString>,
    /// Login name, when there is no fixed token.
    pub name: Option<SecretString>,
    /// Password of that login.
    pub password: Option<SecretString>,
    /// Lifetime to ask for when logging in.
    pub ttl: Duration,
    /// Pace and patience.
    pub limits: Limits,
    /// How an update is sent.
    pub update_method: UpdateMethod,
    /// Zone of the tenant's dates and times.
    pub time_zone: TimeZone,
    /// Rows a page to ask for.
    pub per_page: u32,
    /// How a boolean is written.
    pub boolean_form: BooleanForm,
    /// How a field is cleared.
    pub clear_form: ClearForm,
    /// Way out.
    pub route: Route,
}

/// Pace and patience towards one platform.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The budget; 0 is no limit.
    pub requests_per_second: f64,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Limit of one attempt.
    pub timeout: Duration,
}

/// Proxy and private CA towards one platform; what the platform's section does not say comes from `[http]`.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// URL of the proxy; secret, because it may hold credentials. `None` leaves it to the environment.
    pub proxy: Option<SecretString>,
    /// PEM file with further root certificates.
    pub ca_file: Option<PathBuf>,
}

/// `[http]`.
#[derive(Clone, Debug)]
pub struct Http {
    /// Largest body that is read.
    pub max_response: ByteSize,
}

/// `[state]`.
#[derive(Clone, Debug)]
pub struct State {
    /// The SQLite file.
    pub path: PathBuf,
    /// How long before-images are kept.
    pub journal_retention: Duration,
}

/// `[identity]`.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Where the LiveDesk id is written in the FIRST LINE record.
    pub stamp: Stamp,
    /// Match keys after link and stamp, in order.
    pub match_keys: Vec<MatchKey>,
    /// What an e-mail or phone that several contacts share means.
    pub shared_keys: SharedKeys,
    /// Country of phone numbers that name none.
    pub phone_country: Country,
    /// Wait before a fresh write is looked for.
    pub settle: Duration,
    /// Age from which an absent doubtful create may be sent again.
    pub doubt_horizon: Duration,
    /// Most ids that are walked to settle one doubt where no filter can be trusted.
    pub id_walk_limit: u64,
}

/// The stamp; at least one of its parts is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Prefix of `membership_no`.
    pub membership_no: Option<String>,
    /// Id of a text custom field.
    pub cz_col: Option<i64>,
}

/// `[sweep]`.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// Most rounds through all orders.
    pub max_rounds: u32,
}

/// `[schedule]`.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Zone of the expressions.
    pub time_zone: TimeZone,
    /// Cron expression with seconds; `None` is off.
    pub sync: Option<String>,
    /// Cron expression with seconds; `None` is off.
    pub sweep: Option<String>,
}

/// `[deletes]`.
#[derive(Clone, Copy, Debug)]
pub struct Deletes {
    /// What happens to a contact that is proven gone.
    pub policy: DeletePolicy,
}

/// `[ops]`.
#[derive(Clone, Debug)]
pub struct Ops {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Bearer token that requests must carry.
    pub token: Option<SecretString>,
}

/// `[log]`.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// How much.
    pub level: LevelFilter,
}

/// Declares an enumeration whose variants are words of the file.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            const WORDS: &[(&str, Self)] = &[$(($word, Self::$variant)),+];
        }
    };
}

words!(
    /// How an update is sent to FIRST LINE.
    UpdateMethod {
        /// Found out on the first 405.
        Auto = "auto",
        /// POST with `_method` in the body.
        PostBody = "post_body",
        /// POST with `_method` in the query.
        PostQuery = "post_query",
        /// A real PUT.
        Put = "put",
    }
);
words!(
    /// How a boolean custom field is written.
    BooleanForm {
        /// 1 and 0.
        Number = "number",
        /// true and false.
        Bool = "bool",
    }
);
words!(
    /// How a field is cleared.
    ClearForm {
        /// `null`.
        Null = "null",
        /// An empty string.
        Empty = "empty",
    }
);
words!(
    /// What a contact may be matched by.
    MatchKey {
        /// E-mail address.
        Email = "email",
        /// Phone number.
        Phone = "phone",
    }
);
words!(
    /// What it means that a matching record belongs to another source contact.
    SharedKeys {
        /// It is no candidate; create.
        Create = "create",
        /// A person decides.
        Conflict = "conflict",
    }
);
words!(
    /// What happens to a contact that is proven gone at the source.
    DeletePolicy {
        /// Nothing.
        Ignore = "ignore",
        /// It is tagged.
        Tag = "tag",
        /// It is deleted.
        Delete = "delete",
    }
);
words!(
    /// The shape of log lines.
    LogFormat {
        /// For people.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
);
words!(
    /// Whether `include_contact_inboxes` is sent.
    Include {
        /// Not sent: the platform's default.
        Auto = "auto",
        /// Sent as true.
        Yes = "true",
        /// Sent as false.
        No = "false",
    }
);

impl Settings {
    /// Takes every key out of the document.
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        let file = root.report.file.clone();
        let mapping = root.path("mapping").unwrap_or_else(|| root.report.resolve("mapping.toml"));
        let (http, shared) = root.section("http", |http| {
            let max_response = http.value("max_response", ByteSize::mib(16), values::bytes);
            (Http { max_response }, route(http))
        });
        Self {
            file,
            mapping,
            livedesk: root.section("livedesk", |section| livedesk(section, &shared)),
            firstline: root.section("firstline", |section| firstline(section, &shared)),
            http,
            state: root.section("state", state),
            identity: root.section("identity", identity),
            sweep: root
                .section("sweep", |sweep| Sweep { max_rounds: sweep.value("max_rounds", 4, values::whole(2..=100)) }),
            schedule: root.section("schedule", schedule),
            deletes: root.section("deletes", |deletes| Deletes {
                policy: deletes.value("policy", DeletePolicy::Ignore, values::one_of(DeletePolicy::WORDS)),
            }),
            ops: root.section("ops", |ops| Ops {
                listen: ops.value("listen", SocketAddr::from(([127, 0, 0, 1], 8787)), values::listen),
                token: ops.secret("token", "token_file"),
            }),
            log: root.section("log", |log| Log {
                format: log.value("format", LogFormat::Human, values::one_of(LogFormat::WORDS)),
                level: log.value("level", LevelFilter::INFO, values::level),
            }),
        }
    }
}

fn livedesk(section: &mut Section<'_>, shared: &Route) -> LiveDesk {
    let default = Url::parse("https://livedesk-api.engagelab.com/api/v2/accounts").expect("a constant that parses");
    LiveDesk {
        base_url: section.value("base_url", default, values::base_url),
        allow_http: section.value("allow_http", false, values::boolean),
        api_key: section.secret("api_key", "api_key_file"),
        api_secret: section.secret("api_secret", "api_secret_file"),
        limits: limits(section, 4.0),
        page_size: section.optional("page_size", values::whole(1..=1000)),
        include_inboxes: section.value("include_inboxes", Include::Auto, |raw| {
            values::boolean(raw)
                .map(|yes| if yes { Include::Yes } else { Include::No })
                .or_else(|_| values::one_of(Include::WORDS)(raw))
        }),
        throttle_wait: section.value("throttle_wait", Duration::from_mins(1), values::duration),
        route: route(section).or(shared),
    }
}

fn firstline(section: &mut Section<'_>, shared: &Route) -> FirstLine {
    let missing = Url::parse("https://missing.invalid").expect("a constant that parses");
    let base_url = section.required_url("base_url", "write the tenant's API, https://<tenant host>/api/v1");
    FirstLine {
        base_url: base_url.unwrap_or(missing),
        allow_http: section.value("allow_http", false, values::boolean),
        token: section.secret("token", "token_file"),
        name: section.optional("name", |raw| values::text(raw).map(SecretString::new)),
        password: section.secret("password", "password_file"),
        ttl: section.value("ttl", Duration::from_hours(12), values::duration_from(Duration::from_mins(1))),
        limits: limits(section, 1.0),
        update_method: section.value("update_method", UpdateMethod::Auto, values::one_of(UpdateMethod::WORDS)),
        time_zone: section.value("time_zone", taipei(), values::time_zone),
        per_page: section.value("per_page", 50, values::whole(1..=1000)),
        boolean_form: section.value("boolean_form", BooleanForm::Number, values::one_of(BooleanForm::WORDS)),
        clear_form: section.value("clear_form", ClearForm::Null, values::one_of(ClearForm::WORDS)),
        route: route(section).or(shared),
    }
}

fn limits(section: &mut Section<'_>, requests_per_second: f64) -> Limits {
    Limits {
        requests_per_second: section.value("requests_per_second", requests_per_second, values::rate),
        concurrency: section.value("concurrency", 2, values::whole(1..=256)),
        timeout: section.value("timeout", Duration::from_secs(20), values::duration_from(Duration::from_millis(1))),
    }
}

fn route(section: &mut Section<'_>) -> Route {
    Route {
        proxy: section.optional("proxy", |raw| values::proxy(raw).map(SecretString::new)),
        ca_file: section.path("ca_file"),
    }
}

impl Route {
    fn or(self, shared: &Self) -> Self {
        Self {
            proxy: self.proxy.or_else(|| shared.proxy.clone()),
            ca_file: self.ca_file.or_else(|| shared.ca_file.clone()),
        }
    }
}

fn state(section: &mut Section<'_>) -> State {
    State {
        path: section.path("path").unwrap_or_else(|| section.report.resolve("deskferry.db")),
        journal_retention: section.value(
            "journal_retention",
            Duration::from_hours(90 * 24),
            values::duration_from(Duration::from_hours(24)),
        ),
    }
}

fn identity(section: &mut Section<'_>) -> Identity {
    Identity {
        stamp: section.section("stamp", |stamp| Stamp {
            membership_no: stamp
                .value("membership_no", None, |raw| values::text(raw).map(|text| Some(text.to_owned()))),
            cz_col: stamp.optional("cz_col", values::whole(1..=i64::MAX)),
        }),
        match_keys: section.value("match", vec![MatchKey::Email, MatchKey::Phone], values::list_of(MatchKey::WORDS)),
        shared_keys: section.value("shared_keys", SharedKeys::Create, values::one_of(SharedKeys::WORDS)),
        phone_country: section.value("phone_country", Country::TAIWAN, values::country),
        settle: section.value("settle", Duration::from_secs(2), values::duration),
        doubt_horizon: section.value("doubt_horizon", Duration::from_mins(5), values::duration),
        id_walk_limit: section.value("id_walk_limit", 2000, values::whole(1..=1_000_000)),
    }
}

fn schedule(section: &mut Section<'_>) -> Schedule {
    Schedule {
        time_zone: section.value("time_zone", taipei(), values::time_zone),
        sync: when(section, "sync", "0 */5 * * * *"),
        sweep: when(section, "sweep", "0 0 3 * * *"),
    }
}

/// An empty expression switches the job off; an absent one leaves it at its default.
fn when(section: &mut Section<'_>, key: &'static str, default: &str) -> Option<String> {
    section.value(key, Some(default.to_owned()), |raw| match values::text(raw)? {
        "" => Ok(None),
        _ => values::cron(raw).map(Some),
    })
}

fn taipei() -> TimeZone {
    TimeZone::get("Asia/Taipei").expect("the zone database is bundled")
}
