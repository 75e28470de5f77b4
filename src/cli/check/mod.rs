//! `deskferry check`: everything that would stop or spoil a backfill, found at once. Only reads, on both sides and on
//! disk.
//!
//! Each part goes on with what the part before could make out: a key that is wrong keeps only that from being checked
//! which needs it.

mod findings;
mod lists;
mod mapping;
mod platforms;
mod profile;
mod state;

use std::sync::Arc;

use super::output::{COULD_NOT_RUN, DONE, Failure, INTERRUPTED, say};
use super::{Context, start_log};
use crate::app::{self, Surroundings};
use crate::config::load::{Examined, examine, process_environment};
use crate::config::settings::{LogFormat, Settings};
use crate::domain::field::FieldDefinition;
use crate::domain::tenant::TenantReport;
use crate::mapping::tags::TagLine;
use crate::sync::progress::Silent;
use crate::telemetry;
use findings::{Findings, Level};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Requests per second up to which no trouble is known (platform notes: LiveDesk 2, FIRST LINE 1.6).
const KNOWN_SAFE: [(&str, f64); 2] = [("livedesk.requests_per_second", 5.0), ("firstline.requests_per_second", 1.0)];

/// Runs the command.
pub async fn run(_args: Args, context: &Context) -> Result<u8, Failure> {
    let examined = examine(&context.config, process_environment())?;
    let shape = match examined.settings.log.format {
        LogFormat::Human => telemetry::Shape::Human,
        LogFormat::Json => telemetry::Shape::Json,
    };
    start_log(shape, examined.settings.log.level)?;
    let mut findings = Findings::default();
    configuration(&examined, &mut findings);
    let settings = &examined.settings;
    let spec = examined.mapping.as_ref().map(|source| mapping::Draft::read(source, &mut findings));
    let wished = spec.as_ref().map(mapping::Draft::lists).unwrap_or_default();
    let (definitions, seen) = connect(&examined, &wished, context, &mut findings).await;
    if context.stop.is_cancelled() {
        return Ok(INTERRUPTED);
    }
    match spec {
        Some(mut draft) => {
            if let Some(definitions) = definitions.as_deref().filter(|_| examined.is_sound("state.path"))
                && let Ok(store) = app::read_state(&settings.state.path, Arc::clone(&context.clock)).await
            {
                draft.pass_gate(definitions, &store).await;
                store.close().await;
            }
            draft.check(settings, definitions.as_deref(), &mut findings);
        }
        None => findings.not_checked("mapping", "the mapping file cannot be read"),
    }
    let mut probed = None;
    if examined.is_sound("state.path") {
        probed = state::check(settings, context, &mut findings).await;
    } else {
        findings.not_checked("state", "state.path is wrong");
    }
    profile::check(settings, probed, &seen, &mut findings);
    report(&findings, context);
    Ok(if findings.count(Level::Problem) == 0 { DONE } else { COULD_NOT_RUN })
}

fn configuration(examined: &Examined, findings: &mut Findings) {
    let settings = &examined.settings;
    for problem in &examined.problems.0 {
        let area = if problem.file == settings.mapping { "mapping" } else { "configuration" };
        findings.in_file(Level::Problem, area, problem.clone());
    }
    for problem in settings.missing_credentials() {
        // A key that is there but wrong has been reported as what it is.
        if examined.is_sound(&problem.key) && examined.is_sound(&format!("{}_file", problem.key)) {
            findings.in_file(Level::Problem, "credentials", problem);
        }
    }
    for warning in &examined.warnings {
        findings.in_file(Level::Warning, "configuration", warning.clone());
    }
    let rates = [settings.livedesk.limits.requests_per_second, settings.firstline.limits.requests_per_second];
    for ((key, safe), rate) in KNOWN_SAFE.into_iter().zip(rates) {
        if rate > safe {
            let text = format!("{key} is {rate}, more than the {safe} that are known to be safe");
            findings.warning("configuration", text, "raise it in steps and watch for status 429");
        }
    }
    if findings.count(Level::Problem) == 0 {
        findings.good("configuration", format!("{} is in order", settings.file.display()));
    }
}

/// Looks at both platforms at once; gives the definitions when they can be read, and which filters were seen to be ignored.
async fn connect(
    examined: &Examined,
    (tags, companies): &(Vec<TagLine>, bool),
    context: &Context,
    findings: &mut Findings,
) -> (Option<Vec<FieldDefinition>>, TenantReport) {
    let settings = &examined.settings;
    // A check says what it cannot reach; it does not wait for it.
    let around = Surroundings { no_wait: true, ..context.surroundings(Arc::new(Silent)) };
    let learned = app::Learned::default();
    let mut livedesk_findings = Findings::default();
    let livedesk = async {
        if let Some(why) = unusable(examined, settings, "livedesk", &["base_url", "api_key", "api_secret"]) {
            livedesk_findings.not_checked("LiveDesk", why);
            return;
        }
        match app::connect_livedesk(settings, false, &learned, &around) {
            Ok((source, _)) => {
                platforms::livedesk(Arc::clone(&source), &mut livedesk_findings).await;
                if livedesk_findings.count(Level::Problem) == 0 {
                    lists::labels(source, tags, &mut livedesk_findings).await;
                }
            }
            Err(error) => livedesk_findings.problem("LiveDesk", Failure::chain(&error).to_string(), ""),
        }
    };
    let mut firstline_findings = Findings::default();
    let firstline = async {
        if let Some(why) = unusable(examined, settings, "firstline", &["base_url", "token", "name", "password"]) {
            firstline_findings.not_checked("FIRST LINE", why);
            return (None, TenantReport::default());
        }
        match app::connect_firstline(settings, &learned, &around) {
            Ok((target, _)) => {
                let definitions = platforms::firstline(target.as_ref(), &mut firstline_findings).await;
                if definitions.is_some() {
                    lists::tags(target.as_ref(), tags, &mut firstline_findings).await;
                    lists::companies(target.as_ref(), *companies, &mut firstline_findings).await;
                }
                let seen = match &definitions {
                    Some(_) => platforms::ignored_filters(target.as_ref(), settings).await,
                    None => TenantReport::default(),
                };
                (definitions, seen)
            }
            Err(error) => {
                firstline_findings.problem("FIRST LINE", Failure::chain(&error).to_string(), "");
                (None, TenantReport::default())
            }
        }
    };
    let ((), answer) = tokio::join!(livedesk, firstline);
    findings.0.append(&mut livedesk_findings.0);
    findings.0.append(&mut firstline_findings.0);
    answer
}

/// Why a platform cannot be called with this configuration.
fn unusable(examined: &Examined, settings: &Settings, section: &str, keys: &[&str]) -> Option<String> {
    let ways = ["allow_http", "proxy", "ca_file"];
    let own = keys.iter().chain(&ways).flat_map(|key| [format!("{section}.{key}"), format!("{section}.{key}_file")]);
    let shared = ["http.proxy", "http.ca_file"].map(String::from);
    if let Some(key) = own.chain(shared).find(|key| !examined.is_sound(key)) {
        return Some(format!("{key} is wrong"));
    }
    let missing = settings.missing_credentials().into_iter().find(|problem| problem.key.starts_with(section))?;
    Some(format!("{} {}", missing.key, missing.message))
}

fn report(findings: &Findings, context: &Context) {
    if context.json {
        say(findings.json());
        return;
    }
    findings.0.iter().for_each(say);
    let (problems, warnings) = (findings.count(Level::Problem), findings.count(Level::Warning));
    let of = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    say(match (problems, warnings) {
        (0, 0) => String::from("all is well"),
        (0, warnings) => format!("no problems, {}", of(warnings, "warning")),
        (problems, warnings) => format!("{}, {}", of(problems, "problem"), of(warnings, "warning")),
    });
}
