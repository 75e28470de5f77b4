//! The list of known keys: how each one is taken out of the document, and its default.
//!
//! One function per section. Rules between keys are in `check`.

use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::tz::TimeZone;
use tracing::level_filters::LevelFilter;
use url::Url;

use super::schema::Section;
use super::secret::SecretString;
use super::settings::{
    BooleanForm, ClearForm, DeletePolicy, Deletes, Failures, FirstLine, Http, Identity, Include, Limits, LiveDesk, Log,
    LogFormat, MatchKey, Ops, Route, Schedule, Service, Settings, SharedKeys, Stamp, State, Sweep, Undo, UpdateMethod,
};
use super::values;
use crate::domain::phone::Country;

/// The shortest time limit that makes sense: with none at all nothing can succeed.
const INSTANT: Duration = Duration::from_millis(1);

impl Settings {
    /// Takes every key out of the document.
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        let file = root.report.file.clone();
        let mapping = root.path("mapping").unwrap_or_else(|| root.report.resolve("mapping.toml"));
        let (http, shared) = root.section("http", |http| {
            let limits = Http {
                max_response: http.value("max_response", ByteSize::mib(16), values::bytes),
                total_timeout: http.value("total_timeout", Duration::from_mins(10), values::duration_from(INSTANT)),
                retry_first: http.value("retry_first", Duration::from_millis(500), values::duration_from(INSTANT)),
                retry_ceiling: http.value("retry_ceiling", Duration::from_mins(1), values::duration_from(INSTANT)),
                max_wait: http.value("max_wait", Duration::from_mins(15), values::duration),
            };
            (limits, route(http))
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
            failures: root.section("failures", |failures| Failures {
                retry_first: failures.value("retry_first", Duration::from_mins(15), values::duration_from(INSTANT)),
                retry_ceiling: failures.value(
                    "retry_ceiling",
                    Duration::from_hours(24),
                    values::duration_from(INSTANT),
                ),
                poison_after: failures.value("poison_after", 8, values::whole(1..=1000)),
            }),
            schedule: root.section("schedule", schedule),
            service: root.section("service", |service| Service {
                drain: service.value("drain", Duration::from_mins(1), values::duration),
                overlap: service.value("overlap", Duration::from_mins(10), values::duration),
                startup_backfill: service.value("startup_backfill", true, values::boolean),
            }),
            deletes: root.section("deletes", deletes),
            undo: root.section("undo", undo),
            ops: root.section("ops", |section| ops(section, shared)),
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
                .or_else(|_| values::wrong("not one of the choices", "write \"auto\", true or false"))
        }),
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
        per_page: section.value("per_page", None, |raw| {
            if matches!(values::text(raw).as_deref(), Ok("auto")) {
                Ok(None)
            } else {
                values::whole(1..=1000)(raw).map(Some)
            }
        }),
        boolean_form: section.value("boolean_form", BooleanForm::Auto, values::one_of(BooleanForm::WORDS)),
        clear_form: section.value("clear_form", ClearForm::Auto, values::one_of(ClearForm::WORDS)),
        route: route(section).or(shared),
    }
}

fn limits(section: &mut Section<'_>, requests_per_second: f64) -> Limits {
    Limits {
        requests_per_second: section.value("requests_per_second", requests_per_second, values::rate),
        quiet_hours: section.optional("quiet_hours", values::hours),
        quiet_requests_per_second: section.optional("quiet_requests_per_second", values::rate_above_zero),
        concurrency: section.value("concurrency", 2, values::whole(1..=256)),
        timeout: section.value("timeout", Duration::from_secs(20), values::duration_from(INSTANT)),
        throttle_wait: section.value("throttle_wait", Duration::from_mins(1), values::duration),
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
    let path = section.path("path").unwrap_or_else(|| section.report.resolve("deskferry.db"));
    State {
        home: path.clone(),
        path,
        journal_retention: section.value(
            "journal_retention",
            Duration::from_hours(90 * 24),
            values::duration_from(Duration::from_hours(24)),
        ),
        runs_retention: section.value(
            "runs_retention",
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
        doubts_in_a_row: section.value("doubts_in_a_row", 5, values::whole(1..=1_000_000)),
    }
}

fn deletes(section: &mut Section<'_>) -> Deletes {
    let text = |raw: &_| values::text(raw).map(str::to_owned);
    Deletes {
        policy: section.value("policy", DeletePolicy::Ignore, values::one_of(DeletePolicy::WORDS)),
        // One absence proves nothing, however complete the sweep.
        absences: section.value("absences", 2, values::whole(2..=100)),
        ceiling: section.value("ceiling", 20, values::whole(0..=i64::MAX)),
        ceiling_percent: section.value("ceiling_percent", Some(1.0), |raw| values::percent(raw).map(Some)),
        grace: section.value("grace", Duration::from_hours(7 * 24), values::duration),
        tag: section.optional("tag", text),
        field: section.optional("field", values::whole(1..=i64::MAX)),
        i_understand: section.optional("i_understand", text),
    }
}

fn undo(section: &mut Section<'_>) -> Undo {
    let text = |raw: &_| values::text(raw).map(|text| (!text.trim().is_empty()).then(|| text.to_owned()));
    Undo { tag: section.value("tag", Some(String::from("deskferry-undone")), text) }
}

fn ops(section: &mut Section<'_>, shared: Route) -> Ops {
    let minute = Duration::from_mins(1);
    Ops {
        listen: section.value("listen", SocketAddr::from(([127, 0, 0, 1], 8787)), values::listen),
        token: section.secret("token", "token_file"),
        reached_within: section.value("reached_within", Duration::from_mins(15), values::duration_from(minute)),
        sweep_within: section.value("sweep_within", Duration::from_hours(36), values::duration_from(minute)),
        dead_letters_above: section.value("dead_letters_above", 50, values::whole(0..=i64::MAX)),
        disk_low: section.value("disk_low", ByteSize::mib(500), values::bytes),
        webhook: section.secret("webhook", "webhook_file"),
        route: shared,
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
