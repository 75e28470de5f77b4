//! Rules between keys, and what is still missing before anything can be connected to.
//!
//! Missing credentials are a class of their own: a file without them loads (the sample does), and only what
//! connects asks for them.

use url::{Host, Url};

use super::schema::Report;
use super::settings::{DeletePolicy, I_UNDERSTAND, Include, Settings};
use super::{Problem, cron};

/// Host of the sample's `firstline.base_url`.
const PLACEHOLDER: &str = "your-tenant.example";

/// A token of the ops server that is shorter deserves a second look.
const SHORT_TOKEN: usize = 16;

/// Both addresses, by key, and whether plain http is allowed for them.
fn base_urls(settings: &Settings) -> [(&'static str, &Url, bool); 2] {
    let (livedesk, firstline) = (&settings.livedesk, &settings.firstline);
    [
        ("livedesk.base_url", &livedesk.base_url, livedesk.allow_http),
        ("firstline.base_url", &firstline.base_url, firstline.allow_http),
    ]
}

/// Notes every rule that `settings` breaks.
pub(super) fn rules(settings: &Settings, report: &mut Report) {
    stamp(settings, report);
    deletes(settings, report);
    for (key, url, allowed) in base_urls(settings) {
        if url.scheme() == "http" && !allowed && !is_loopback(url) {
            report.add(
                key,
                "plain http would show credentials and contacts to the network",
                "write https, or set allow_http = true",
            );
        }
    }
    let firstline = &settings.firstline;
    if firstline.token.is_some() {
        for (key, set) in
            [("firstline.name", firstline.name.is_some()), ("firstline.password", firstline.password.is_some())]
        {
            if set {
                report.add(key, "both a token and a login are set", "keep firstline.token, or name and password");
            }
        }
    }
    // A time that was written wrongly has been reported as what it is; its default says nothing.
    let times_are_as_written =
        ["settle", "doubt_horizon"].iter().all(|key| !report.has_problem_in(&format!("identity.{key}")));
    if times_are_as_written && settings.identity.settle > settings.identity.doubt_horizon {
        report.add("identity.settle", "longer than identity.doubt_horizon", "write a shorter time");
    }
    let failures = &settings.failures;
    if !report.has_problem_in("failures") && failures.retry_first > failures.retry_ceiling {
        report.add("failures.retry_first", "longer than failures.retry_ceiling", "write a shorter time");
    }
    for (section, limits) in [("livedesk", &settings.livedesk.limits), ("firstline", &firstline.limits)] {
        let (hours, rate) = (format!("{section}.quiet_hours"), format!("{section}.quiet_requests_per_second"));
        match (&limits.quiet_hours, limits.quiet_requests_per_second) {
            (Some(_), None) if !report.has_problem_in(&rate) => {
                report.add(&hours, "quiet hours without a rate", format!("set {rate}, such as 0.5"));
            }
            (None, Some(_)) if !report.has_problem_in(&hours) => {
                report.add(&rate, "a rate without quiet hours", format!("set {hours}, such as \"22:00-07:00\""));
            }
            _ => {}
        }
    }
    if !settings.ops.listen.ip().is_loopback() && settings.ops.token.is_none() {
        report.add("ops.listen", "open to the network without a token", "set ops.token_file, or listen on 127.0.0.1");
    }
    if settings.ops.token.as_ref().is_some_and(|token| !token.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
        report.add("ops.token", "holds what a header cannot carry", "write letters, digits and signs, without spaces");
    }
    if settings.ops.webhook.is_some() && settings.webhook_url().is_none() {
        report.add("ops.webhook", "not an http or https URL", "write it as in \"https://host.example/alarms\"");
    }
}

fn deletes(settings: &Settings, report: &mut Report) {
    let deletes = &settings.deletes;
    match deletes.policy {
        DeletePolicy::Tag if deletes.tag.is_none() && deletes.field.is_none() => {
            if !report.has_problem_in("deletes.field") && !report.has_problem_in("deletes.tag") {
                let remedy = "write tag = \"gone from LiveDesk\", or the id of a boolean or text field: field = 33";
                report.add("deletes.tag", "the policy is to tag, and neither tag nor field is set", remedy);
            }
        }
        DeletePolicy::Delete if deletes.i_understand.as_deref() != Some(I_UNDERSTAND) => {
            let remedy = format!("write i_understand = \"{I_UNDERSTAND}\", if you do");
            report.add("deletes.i_understand", "deletions need your word that you know what they take along", remedy);
        }
        DeletePolicy::Ignore | DeletePolicy::Tag | DeletePolicy::Delete => {}
    }
    if deletes.tag.is_some() && deletes.field.is_some() {
        report.add("deletes.field", "both a tag and a field are set", "keep one of them");
    }
    if deletes.field.is_some() && deletes.field == settings.identity.stamp.cz_col {
        report.add("deletes.field", "is the field of the stamp", "name a field of its own");
    }
}

fn stamp(settings: &Settings, report: &mut Report) {
    let stamp = &settings.identity.stamp;
    // A stamp that was written wrongly has been reported as what it is.
    if report.has_problem_in("identity.stamp") {
        return;
    }
    match &stamp.membership_no {
        None if stamp.cz_col.is_none() => {
            report.add("identity.stamp", "no stamp, no backfill", "write stamp = { membership_no = \"LD-\" }");
        }
        Some(prefix) if prefix.trim().is_empty() => {
            report.add("identity.stamp.membership_no", "the prefix is empty", "write a prefix such as \"LD-\"");
        }
        // FIRST LINE may search with LIKE, where these two stand for anything.
        Some(prefix) if prefix.contains(['%', '_']) => {
            report.add("identity.stamp.membership_no", "the prefix holds a wildcard", "leave out % and _");
        }
        Some(prefix) if prefix.trim() != prefix => {
            report.add("identity.stamp.membership_no", "the prefix begins or ends with a space", "leave it out");
        }
        _ => {}
    }
}

/// What deserves a second look although it is allowed.
pub(super) fn warnings(settings: &Settings, report: &Report) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (key, limits) in [
        ("livedesk.requests_per_second", &settings.livedesk.limits),
        ("firstline.requests_per_second", &settings.firstline.limits),
    ] {
        if limits.requests_per_second == 0.0 {
            warnings.push(report.problem(key, "no limit", "only a sandbox should be used without one"));
        }
    }
    for (key, url, allowed) in base_urls(settings) {
        if url.scheme() == "http" && allowed && !is_loopback(url) {
            warnings.push(report.problem(key, "plain http, as allow_http permits", "use https where you can"));
        }
    }
    let ops = &settings.ops;
    let schedule = &settings.schedule;
    let distance = schedule.sweep.as_deref().and_then(|sweep| cron::longest_distance(sweep, &schedule.time_zone));
    if let Some(distance) = distance.filter(|distance| *distance >= ops.sweep_within) {
        let (distance, within) = (humantime::format_duration(distance), humantime::format_duration(ops.sweep_within));
        warnings.push(report.problem(
            "schedule.sweep",
            format!("comes round up to {distance} after the one before it, and ops.sweep_within is {within}: an alarm each time"),
            "raise ops.sweep_within above that, with room for the sweep itself",
        ));
    }
    if !ops.listen.ip().is_loopback() && ops.token.as_ref().is_some_and(|token| token.expose().len() < SHORT_TOKEN) {
        warnings.push(report.problem(
            "ops.token",
            "short enough to be guessed",
            "write a random one, as `openssl rand -hex 32` does",
        ));
    }
    if settings.webhook_url().is_some_and(|url| url.scheme() == "http" && !is_loopback(&url)) {
        warnings.push(report.problem("ops.webhook", "plain http", "use https where you can"));
    }
    warnings
}

impl Settings {
    /// Inboxes that the mapping reads and LiveDesk must not be asked for: the fields made of them would be unknown for ever.
    pub fn inboxes_problem(&self, mapping_reads_them: bool) -> Option<Problem> {
        let never = mapping_reads_them && self.livedesk.include_inboxes == Include::No;
        never.then(|| {
            let message = "false, but a line of the mapping reads contact_inboxes, which are then never sent";
            let remedy = "write \"auto\", or take the line out of the mapping";
            Report::new(&self.file).problem("livedesk.include_inboxes", message, remedy)
        })
    }

    /// Where alarms are sent, when it is an address.
    pub fn webhook_url(&self) -> Option<Url> {
        let url = Url::parse(self.ops.webhook.as_ref()?.expose().trim()).ok()?;
        (matches!(url.scheme(), "http" | "https") && url.host().is_some()).then_some(url)
    }

    /// What is still missing before both platforms can be connected to.
    pub fn missing_credentials(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut missing = |key: &str, message: &str, remedy: String| {
            let problem = Report::new(&self.file).problem(key, message, remedy);
            problems.push(problem);
        };
        let variable =
            |key: &str| format!("set it, {key}_file, or DESKFERRY__{}", key.to_uppercase().replace('.', "__"));
        for (key, secret) in
            [("livedesk.api_key", &self.livedesk.api_key), ("livedesk.api_secret", &self.livedesk.api_secret)]
        {
            if secret.is_none() {
                missing(key, "is missing", variable(key));
            }
        }
        if self.firstline.base_url.host_str() == Some(PLACEHOLDER) {
            missing("firstline.base_url", "is still the sample's", String::from("write your tenant's host"));
        }
        match (&self.firstline.token, &self.firstline.name, &self.firstline.password) {
            (Some(_), ..) | (None, Some(_), Some(_)) => {}
            (None, None, None) => missing("firstline.token", "is missing", variable("firstline.token")),
            (None, None, Some(_)) => {
                missing("firstline.name", "is missing beside the password", String::from("set it"));
            }
            (None, Some(_), None) => {
                missing("firstline.password", "is missing beside the name", variable("firstline.password"));
            }
        }
        problems
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
