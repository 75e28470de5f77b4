//! Every key there is, its type and its default. `config/deskferry.toml` explains them to the operator.
//!
//! Plain types; `read` fills them in, and `check` holds the rules between them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::tz::TimeZone;
use tracing::level_filters::LevelFilter;
use url::Url;

use super::secret::SecretString;
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
    /// What becomes of contacts that were set aside.
    pub failures: Failures,
    /// When the service works.
    pub schedule: Schedule,
    /// How the service works.
    pub service: Service,
    /// What happens to contacts that are gone.
    pub deletes: Deletes,
    /// How a run is taken back.
    pub undo: Undo,
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
    /// Way out.
    pub route: Route,
}

/// Rows a page to ask FIRST LINE for while neither the operator nor the profile says how many.
pub const USUAL_PER_PAGE: u32 = 50;

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
    /// Rows a page to ask for; `None` takes what the profile knows, or [`USUAL_PER_PAGE`].
    pub per_page: Option<u32>,
    /// How a boolean is written.
    pub boolean_form: BooleanForm,
    /// How a field is cleared.
    pub clear_form: ClearForm,
    /// Way out.
    pub route: Route,
}

/// Pace and patience towards one platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The budget; 0 is no limit.
    pub requests_per_second: f64,
    /// Hours of the day with another budget, in the zone of the schedule: `22:00-07:00`.
    pub quiet_hours: Option<String>,
    /// That budget; set where the hours are.
    pub quiet_requests_per_second: Option<f64>,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Limit of one attempt.
    pub timeout: Duration,
    /// Pause after a 429 that does not say how long.
    pub throttle_wait: Duration,
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
    /// Limit of all attempts of one request together.
    pub total_timeout: Duration,
    /// Ceiling of the first wait between two attempts; it doubles from there. Default 500 ms.
    pub retry_first: Duration,
    /// Highest ceiling of a wait between two attempts. Default 1 minute.
    pub retry_ceiling: Duration,
    /// Longest pause that a platform may ask for.
    pub max_wait: Duration,
}

/// `[state]`.
#[derive(Clone, Debug)]
pub struct State {
    /// The SQLite file.
    pub path: PathBuf,
    /// The same, also where a command works on a copy: beside it commands find each other.
    pub home: PathBuf,
    /// How long before-images are kept.
    pub journal_retention: Duration,
    /// How long runs are kept that nothing refers to.
    pub runs_retention: Duration,
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
    /// Creates in a row without an answer after which they go one at a time; after so many more a run creates nothing.
    pub doubts_in_a_row: u32,
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

/// `[failures]`.
#[derive(Clone, Copy, Debug)]
pub struct Failures {
    /// Distance between the first try of a contact and the second; it doubles from there.
    pub retry_first: Duration,
    /// Longest distance.
    pub retry_ceiling: Duration,
    /// Tries after which only a change or `retry` helps.
    pub poison_after: u32,
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

/// `[service]`.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// How long what is in flight is waited for once the service is asked to stop.
    pub drain: Duration,
    /// How far a sync looks back behind what the last one carried.
    pub overlap: Duration,
    /// Whether a first start with an empty state begins with a backfill.
    pub startup_backfill: bool,
}

/// What `deletes.i_understand` must say before anything is deleted.
pub const I_UNDERSTAND: &str =
    "deleting a customer deletes its conversations and channel identities, which the API does not show";

/// `[deletes]`.
#[derive(Clone, Debug)]
pub struct Deletes {
    /// What happens to a contact that is proven gone.
    pub policy: DeletePolicy,
    /// Proven sweeps that must have missed it.
    pub absences: u32,
    /// Most records that one run marks or deletes.
    pub ceiling: u64,
    /// The same in percent of all links, whichever is less; `None` where the operator named a number for one run.
    pub ceiling_percent: Option<f64>,
    /// Time between the first judgement and a deletion.
    pub grace: Duration,
    /// Name of the tag that marks the record of such a contact.
    pub tag: Option<String>,
    /// The custom field that does, instead of a tag.
    pub field: Option<i64>,
    /// What the operator knows about deletions.
    pub i_understand: Option<String>,
}

impl Deletes {
    /// Allows this many for one run, whatever their share.
    pub fn allow_for_one_run(&mut self, ceiling: u64) {
        (self.ceiling, self.ceiling_percent) = (ceiling, None);
    }
}

/// `[undo]`.
#[derive(Clone, Debug)]
pub struct Undo {
    /// Beginning of the tag for customers that a run made which is taken back; its number follows. `None`: they are only listed.
    pub tag: Option<String>,
}

/// `[ops]`.
#[derive(Clone, Debug)]
pub struct Ops {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Bearer token that requests must carry.
    pub token: Option<SecretString>,
    /// How long a platform may be asked without an answer before the service is not ready.
    pub reached_within: Duration,
    /// Age of the last complete sweep past which the service is not ready.
    pub sweep_within: Duration,
    /// Contacts that may be set aside before it is an alarm.
    pub dead_letters_above: u64,
    /// Free space below which it is an alarm.
    pub disk_low: ByteSize,
    /// Where alarms are sent; secret, because its address may hold a token.
    pub webhook: Option<SecretString>,
    /// Way out, to the webhook: that of `[http]`.
    pub route: Route,
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
            pub(super) const WORDS: &[(&str, Self)] = &[$(($word, Self::$variant)),+];

            /// The word of the file.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
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
        /// As the profile knows, else 1 and 0.
        Auto = "auto",
        /// 1 and 0.
        Number = "number",
        /// true and false.
        Bool = "bool",
        /// "1" and "0".
        Text = "text",
    }
);
words!(
    /// How a field is cleared.
    ClearForm {
        /// As the profile knows, else `null`.
        Auto = "auto",
        /// `null`.
        Null = "null",
        /// An empty string.
        Empty = "empty",
        /// Not at all: what the source emptied stays.
        Leave = "leave",
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
    /// What is sent as `include_contact_inboxes`.
    Include {
        /// True where the mapping reads `contact_inboxes`, else false.
        Auto = "auto",
        /// Sent as true.
        Yes = "true",
        /// Sent as false.
        No = "false",
    }
);
