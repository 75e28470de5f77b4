//! Every class of mistake, each with the file and line that it is reported at.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::load::{load, parse};
use super::settings::{DeletePolicy, Include, LogFormat, MatchKey, Settings, SharedKeys, Stamp, UpdateMethod};
use super::{Problems, template};

/// The least that loads; further lines go behind it.
const LEAST: &str = "firstline.base_url = \"https://t.example/api/v1\"\nidentity.stamp = { membership_no = \"LD-\" }\n";

fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
}

fn read_with(text: &str, env: &[(&str, &str)]) -> Result<Settings, Problems> {
    parse(Path::new("config/deskferry.toml"), text, variables(env))
}

fn complaints(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    read_with(text, env).unwrap_err().0.iter().map(ToString::to_string).collect()
}

/// Adds lines to the least file, from line 3 on, and expects exactly one complaint.
fn one(lines: &str) -> String {
    let all = complaints(&format!("{LEAST}{lines}"), &[]);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].strip_prefix("config/deskferry.toml:").unwrap_or(&all[0]).to_owned()
}

#[test]
fn the_least_file_gets_the_defaults_of_the_design() {
    let settings = read_with(LEAST, &[]).unwrap();
    assert_eq!(settings.livedesk.base_url.as_str(), "https://livedesk-api.engagelab.com/api/v2/accounts");
    assert!((settings.livedesk.limits.requests_per_second - 4.0).abs() < f64::EPSILON);
    assert!((settings.firstline.limits.requests_per_second - 1.0).abs() < f64::EPSILON);
    assert_eq!(settings.livedesk.limits.timeout, Duration::from_secs(20));
    assert_eq!(settings.livedesk.include_inboxes, Include::Auto);
    assert_eq!(settings.livedesk.limits.throttle_wait, Duration::from_mins(1));
    assert_eq!(settings.firstline.update_method, UpdateMethod::Auto);
    assert_eq!(settings.firstline.ttl, Duration::from_hours(12));
    assert_eq!(settings.firstline.time_zone.iana_name(), Some("Asia/Taipei"));
    assert_eq!(settings.identity.match_keys, [MatchKey::Email, MatchKey::Phone]);
    assert_eq!(settings.identity.shared_keys, SharedKeys::Create);
    assert_eq!(settings.deletes.policy, DeletePolicy::Ignore);
    assert_eq!(
        (settings.deletes.absences, settings.deletes.ceiling, settings.deletes.ceiling_percent),
        (2, 20, Some(1.0))
    );
    assert_eq!(
        (settings.deletes.grace, settings.deletes.i_understand.as_deref()),
        (Duration::from_hours(7 * 24), None)
    );
    assert_eq!(settings.http.max_response.as_u64(), 16 << 20);
    assert_eq!(settings.ops.reached_within, Duration::from_mins(15));
    assert_eq!(settings.ops.sweep_within, Duration::from_hours(36));
    assert_eq!((settings.ops.dead_letters_above, settings.ops.disk_low.as_u64()), (50, 500 << 20));
    assert!(settings.ops.webhook.is_none() && settings.webhook_url().is_none());
    assert_eq!(settings.schedule.sync.as_deref(), Some("0 */5 * * * *"));
    assert_eq!(settings.log.format, LogFormat::Human);
    assert_eq!(settings.state.path, Path::new("config/deskferry.db"));
    assert_eq!(settings.mapping, Path::new("config/mapping.toml"));
}

#[test]
fn the_sample_says_the_defaults_and_nothing_else() {
    let sample = format!("{:?}", read_with(template::SETTINGS, &[]).unwrap());
    let least = LEAST.replace("https://t.example", "https://your-tenant.example");
    assert_eq!(sample, format!("{:?}", read_with(&least, &[]).unwrap()));
}

#[test]
fn the_sample_names_every_key() {
    let sections = ["livedesk", "firstline", "http", "state", "identity", "sweep", "schedule", "deletes", "ops", "log"];
    for section in
        sections.iter().map(|name| format!("{name}.")).chain([String::from("identity.stamp."), String::new()])
    {
        let all = complaints(&format!("{section}qqqq = 1\n"), &[]);
        let known = all.iter().find_map(|complaint| complaint.split_once("known here: ")).unwrap().1;
        for key in known.split(", ") {
            let named = template::SETTINGS.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == key);
            assert!(named, "{section}{key}");
        }
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    assert_eq!(one("firstline.tokn = 1"), "3: firstline.tokn: unknown key; did you mean \"token\"?");
    assert_eq!(one("[livedesc]\n"), "3: livedesc: unknown key; did you mean \"livedesk\"?");
    assert!(one("[log]\nxyzzy = 1\n").starts_with("4: log.xyzzy: unknown key; known here: format, level"));
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_on_its_line() {
    for (lines, complaint) in [
        (
            "[livedesk]\ntimeout = 20",
            "4: livedesk.timeout: not a duration; write a time such as \"20s\", \"5m\" or \"12h\"",
        ),
        ("[livedesk]\ntimeout = \"0s\"", "4: livedesk.timeout: too short; write at least \"1ms\""),
        (
            "[livedesk]\nrequests_per_second = -1.0",
            "4: livedesk.requests_per_second: not a rate; write requests per second, such as 2.5; 0 means no limit",
        ),
        (
            "[livedesk]\nrequests_per_second = nan",
            "4: livedesk.requests_per_second: not a rate; write requests per second, such as 2.5; 0 means no limit",
        ),
        ("[livedesk]\nconcurrency = 0", "4: livedesk.concurrency: not a whole number in range; write 1 to 256"),
        ("[livedesk]\nconcurrency = 257", "4: livedesk.concurrency: not a whole number in range; write 1 to 256"),
        ("[livedesk]\napi_key = 7", "4: livedesk.api_key: not text; put it in quotation marks"),
        (
            "[livedesk]\nallow_http = \"yes\"",
            "4: livedesk.allow_http: neither true nor false; write true or false, without quotation marks",
        ),
        (
            "[livedesk]\ninclude_inboxes = 3",
            "4: livedesk.include_inboxes: not one of the choices; write \"auto\", true or false",
        ),
        ("[http]\nmax_response = \"lots\"", "4: http.max_response: not a size; write a size such as \"16MiB\""),
        (
            "[http]\nproxy = \"proxy\"",
            "4: http.proxy: not the URL of a proxy; write it as in \"http://proxy.example:3128\"",
        ),
        (
            "[schedule]\ntime_zone = \"Asia/Taipeh\"",
            "4: schedule.time_zone: not a time zone; write an IANA name such as \"Asia/Taipei\"",
        ),
        (
            "[schedule]\n\nsync = \"*/5 * * * *\"",
            "5: schedule.sync: not a cron expression with seconds; write six fields such as \"0 */5 * * * *\"",
        ),
        (
            "[deletes]\npolicy = \"purge\"",
            "4: deletes.policy: not one of the choices; write \"ignore\" or \"tag\" or \"delete\"",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "4: log.level: not one of the choices; write \"off\" or \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\"",
        ),
        (
            "[ops]\nlisten = \"8787\"",
            "4: ops.listen: not an address; write an IP address and a port such as \"127.0.0.1:8787\"",
        ),
        ("identity.match = [\"mail\"]", "3: identity.match: not one of the choices; write \"email\" or \"phone\""),
        ("identity.match = [\"email\", \"email\"]", "3: identity.match: names an entry twice; name each entry once"),
        ("identity.match = \"email\"", "3: identity.match: not a list; put the entries in square brackets"),
        (
            "identity.phone_country = \"Taiwan\"",
            "3: identity.phone_country: not a country; write two letters (ISO 3166) such as \"TW\"",
        ),
        ("sweep = 4", "3: sweep: not a table; write [sweep] and its keys below"),
        ("state.path = 2020-01-01", "3: state.path: not text; put it in quotation marks"),
    ] {
        assert_eq!(one(lines), complaint, "{lines}");
    }
}

#[test]
fn a_base_url_must_be_one_that_is_safe_to_send_a_key_to() {
    for (url, complaint) in [
        ("t.example", "not a URL"),
        ("ftp://t.example", "not an http or https URL"),
        ("https://me:hunter2@t.example", "holds credentials"),
        ("https://t.example/api?token=hunter2", "holds a query"),
        ("http://t.example/api", "plain http would show"),
        ("http://127.0.0.1.example/api", "plain http would show"),
    ] {
        let complaint_of = one(&format!("[livedesk]\nbase_url = \"{url}\""));
        assert!(complaint_of.starts_with(&format!("4: livedesk.base_url: {complaint}")), "{complaint_of}");
        assert!(!complaint_of.contains("hunter2"), "{complaint_of}");
    }
    for url in ["http://127.0.0.1:9/x/", "http://localhost/x", "http://[::1]:9/x", "https://t.example/x/"] {
        let settings = read_with(&format!("{LEAST}[livedesk]\nbase_url = \"{url}\""), &[]).unwrap();
        assert!(settings.livedesk.base_url.path().ends_with("/x"), "{url}");
    }
    let open = format!("{LEAST}[livedesk]\nallow_http = true\nbase_url = \"http://t.example/x\"");
    assert!(read_with(&open, &[]).is_ok());
}

#[test]
fn the_targets_base_url_is_required() {
    let text = "[firstline]\nbase_url = \"\"\n[identity]\nstamp = { cz_col = 31 }";
    assert_eq!(
        complaints(text, &[]),
        [
            "config/deskferry.toml:2: firstline.base_url: is required; write the tenant's API, https://<tenant host>/api/v1"
        ]
    );
}

#[test]
fn no_stamp_no_backfill() {
    let start = "firstline.base_url = \"https://t.example/api/v1\"\n[identity]\n";
    let complaint = |line: &str| complaints(&format!("{start}{line}"), &[]).join("\n");
    let remedy = "no stamp, no backfill; write stamp = { membership_no = \"LD-\" }";
    assert_eq!(complaint(""), format!("config/deskferry.toml:2: identity.stamp: {remedy}"));
    assert_eq!(complaint("stamp = {}"), format!("config/deskferry.toml:3: identity.stamp: {remedy}"));
    for (stamp, message) in [
        ("{ membership_no = \"\" }", "membership_no: the prefix is empty; write a prefix such as \"LD-\""),
        ("{ membership_no = \"L_\" }", "membership_no: the prefix holds a wildcard; leave out % and _"),
        ("{ membership_no = \"LD%\" }", "membership_no: the prefix holds a wildcard; leave out % and _"),
        ("{ membership_no = \"LD- \" }", "membership_no: the prefix begins or ends with a space; leave it out"),
        ("{ membership_no = 7 }", "membership_no: not text; put it in quotation marks"),
        ("{ cz_co = 7 }", "cz_co: unknown key; did you mean \"cz_col\"?"),
    ] {
        let expected = format!("config/deskferry.toml:3: identity.stamp.{message}");
        assert_eq!(complaint(&format!("stamp = {stamp}")), expected, "{stamp}");
    }
    let both = read_with(&format!("{start}stamp = {{ membership_no = \"LD-\", cz_col = 31 }}"), &[]).unwrap();
    assert_eq!(both.identity.stamp, Stamp { membership_no: Some("LD-".to_owned()), cz_col: Some(31) });
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    let quiet = |keys: &str| one(&format!("[livedesk]\n{keys}"));
    assert!(quiet("quiet_hours = \"22:00-07:00\"").starts_with("4: livedesk.quiet_hours: quiet hours without a rate"));
    assert!(quiet("quiet_requests_per_second = 1").contains("a rate without quiet hours"));
    assert!(quiet("quiet_hours = \"22-7\"").contains("not a part of the day"));
    assert!(quiet("quiet_hours = \"07:00-07:00\"").contains("begins when it ends"));
    assert!(quiet("quiet_hours = \"22:00-07:00\"\nquiet_requests_per_second = 0").contains("not a rate above 0"));
    assert!(one("[failures]\nretry_first = \"2d\"").contains("longer than failures.retry_ceiling"));
    let night = "[firstline]\nquiet_hours = \"22:00-07:00\"\nquiet_requests_per_second = 0.5";
    let text =
        format!("identity.stamp = {{ membership_no = \"LD-\" }}\n{night}\nbase_url = \"https://t.example/api/v1\"");
    let limits = read_with(&text, &[]).unwrap().firstline.limits;
    assert_eq!((limits.quiet_hours.as_deref(), limits.quiet_requests_per_second), (Some("22:00-07:00"), Some(0.5)));
    assert_eq!(
        one("firstline.token = \"t\"\nfirstline.name = \"n\""),
        "4: firstline.name: both a token and a login are set; keep firstline.token, or name and password"
    );
    assert_eq!(
        one("identity.settle = \"6m\""),
        "3: identity.settle: longer than identity.doubt_horizon; write a shorter time"
    );
    assert_eq!(
        one("[ops]\nlisten = \"0.0.0.0:8787\""),
        "4: ops.listen: open to the network without a token; set ops.token_file, or listen on 127.0.0.1"
    );
}

#[test]
fn a_variable_goes_before_the_file_and_has_the_type_of_its_key() {
    let text = format!("{LEAST}[livedesk]\nconcurrency = 3\napi_key = \"of the file\"\n");
    let settings = read_with(
        &text,
        &[
            ("DESKFERRY__LIVEDESK__API_KEY", "of the environment"),
            ("DESKFERRY__LIVEDESK__CONCURRENCY", "8"),
            ("DESKFERRY__LIVEDESK__REQUESTS_PER_SECOND", "0.5"),
            ("DESKFERRY__LIVEDESK__INCLUDE_INBOXES", "false"),
            ("DESKFERRY__IDENTITY__STAMP__CZ_COL", "31"),
            ("DESKFERRY__IDENTITY__MATCH", "phone, email"),
            ("DESKFERRY__LOG__FORMAT", "json"),
            ("DESKFERRY_LOG", "debug"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(settings.livedesk.api_key.unwrap().expose(), "of the environment");
    assert_eq!(settings.livedesk.limits.concurrency, 8);
    assert!((settings.livedesk.limits.requests_per_second - 0.5).abs() < f64::EPSILON);
    assert_eq!(settings.livedesk.include_inboxes, Include::No);
    assert_eq!(settings.identity.stamp.cz_col, Some(31));
    assert_eq!(settings.identity.match_keys, [MatchKey::Phone, MatchKey::Email]);
    assert_eq!(settings.log.format, LogFormat::Json);
    let empty = read_with(LEAST, &[("DESKFERRY__IDENTITY__MATCH", "")]).unwrap();
    assert!(empty.identity.match_keys.is_empty());
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, complaint) in [
        ("DESKFERRY__LIVEDESK__CONCURRENCY", "many", "not a whole number in range; write 1 to 256"),
        ("DESKFERRY__FIRSTLINE__TOKN", "x", "unknown key; did you mean \"DESKFERRY__FIRSTLINE__TOKEN\"?"),
        ("DESKFERRY__FRSTLINE__TOKEN", "x", "unknown key; did you mean \"DESKFERRY__FIRSTLINE\"?"),
        (
            "DESKFERRY__MAPPING__X",
            "x",
            "does not name a key; write DESKFERRY__SECTION__KEY, as in DESKFERRY__FIRSTLINE__TOKEN",
        ),
        (
            "DESKFERRY_FIRSTLINE__TOKEN",
            "x",
            "does not name a key; write DESKFERRY__SECTION__KEY, as in DESKFERRY__FIRSTLINE__TOKEN",
        ),
        ("DESKFERRY__", "x", "does not name a key; write DESKFERRY__SECTION__KEY, as in DESKFERRY__FIRSTLINE__TOKEN"),
        ("DESKFERRY__LIVEDESK", "x", "not a table; write [livedesk] and its keys below"),
    ] {
        let text = format!("mapping = \"m.toml\"\n{LEAST}");
        assert_eq!(complaints(&text, &[(name, value)]), [format!("environment: {name}: {complaint}")]);
    }
}

#[test]
fn a_secret_file_is_read_without_its_last_newline_and_faults_name_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "hunter2\r\n").unwrap();
    fs::write(folder.path().join("empty"), "\n").unwrap();
    let path = folder.path().join("deskferry.toml");
    let read = |lines: &str| parse(&path, &format!("{LEAST}{lines}"), variables(&[]));
    let settings = read("firstline.token_file = \"token\"").unwrap();
    assert_eq!(settings.firstline.token.unwrap().expose(), "hunter2");
    for (lines, complaint) in [
        ("firstline.token_file = \"gone\"", ":3: firstline.token_file: cannot read the secret file "),
        ("[livedesk]\napi_key_file = \"empty\"", ":4: livedesk.api_key_file: the secret file "),
        (
            "[livedesk]\napi_secret = \"hunter3\"\napi_secret_file = \"token\"",
            ":5: livedesk.api_secret_file: both api_secret and api_secret_file are set; keep one of them",
        ),
        ("firstline.password_file = \"gone\"", ":3: firstline.password_file: cannot read the secret file "),
        ("[ops]\ntoken_file = \"gone\"", ":4: ops.token_file: cannot read the secret file "),
    ] {
        let complaint_of = read(lines).unwrap_err().to_string();
        assert!(complaint_of.contains(complaint), "{complaint_of}");
        assert!(!complaint_of.contains("hunter"), "{complaint_of}");
    }
}

#[test]
fn settings_do_not_print_their_secrets() {
    let lines = "firstline.name = \"hunter2\"\nfirstline.password = \"hunter2\"\n[livedesk]\napi_key = \"hunter2\"\napi_secret = \"hunter2\"\nproxy = \"http://u:hunter2@p.example\"\n\
                 [ops]\ntoken = \"hunter2\"\nwebhook = \"https://w.example/hunter2\"\n";
    let settings = read_with(&format!("{LEAST}{lines}"), &[]).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn what_a_platform_does_not_say_of_its_route_comes_from_the_common_section() {
    let lines =
        "[http]\nca_file = \"ca.pem\"\nproxy = \"http://p.example:1\"\n[livedesk]\nproxy = \"http://q.example:1\"\n";
    let settings = read_with(&format!("{LEAST}{lines}"), &[]).unwrap();
    assert_eq!(settings.livedesk.route.proxy.unwrap().expose(), "http://q.example:1");
    assert_eq!(settings.firstline.route.proxy.unwrap().expose(), "http://p.example:1");
    assert_eq!(settings.livedesk.route.ca_file.as_deref(), Some(Path::new("config/ca.pem")));
}

#[test]
fn broken_lines_do_not_hide_the_other_problems() {
    let text =
        "mapping = \nlog.level = \"loud\"\n[firstline]\nbase_url = \"https://t.example\"\nbase_url = \"twice\"\n";
    let lines: Vec<_> = read_with(text, &[]).unwrap_err().0.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [None, Some(1), Some(2), Some(5)], "no stamp, syntax, level, duplicate");
}

#[test]
fn no_complaint_repeats_what_may_be_a_secret() {
    for lines in [
        "firstline.token = hunter2",
        "firstline.token = \"hunter2",
        "firstline.token = \"hunter2\" hunter2",
        "firstline.token = [\"hunter2\"]",
        "firstline.token = \"\\hunter2\"",
        "firstline.timeout = \"hunter2\"",
        "firstline.update_method = \"hunter2\"",
        "http.proxy = \"hunter2\"",
        "identity.match = [\"hunter2\"]",
        "ops.webhook = \"hunter2\"",
        "ops.webhook = \"ftp://hunter2.example\"",
        "ops.token = \"hunter2 hunter2\"",
    ] {
        let all = complaints(&format!("{LEAST}{lines}\n"), &[]).join("\n");
        assert!(all.contains(":3: ") && !all.contains("hunter"), "{lines}: {all}");
    }
    let env = [("DESKFERRY__FIRSTLINE__TOKN", "hunter2"), ("DESKFERRY__FIRSTLINE__TIMEOUT", "hunter2")];
    let all = complaints(LEAST, &env).join("\n");
    assert!(all.contains("TOKN") && !all.contains("hunter"), "{all}");
}

#[test]
fn all_problems_of_file_mapping_and_environment_come_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deskferry.toml");
    fs::write(&path, "mapping = \"m.toml\"\n[firstline]\ntokn = \"x\"\n[livedesk]\ntimeout = 3\n").unwrap();
    fs::write(folder.path().join("m.toml"), "[contact\n").unwrap();
    let env = variables(&[("DESKFERRY__LOG__LEVL", "x")]);
    let problems = load(&path, env).unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "");
    let starts: Vec<_> = problems.lines().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect();
    assert_eq!(
        starts,
        [
            "deskferry.toml: identity.stamp",
            "deskferry.toml:2: firstline.base_url",
            "deskferry.toml:3: firstline.tokn",
            "deskferry.toml:5: livedesk.timeout",
            "m.toml:1: not TOML",
            "environment: DESKFERRY__LOG__LEVL",
        ]
    );
}

#[test]
fn files_that_are_not_there_are_named_with_the_way_to_get_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deskferry.toml");
    let missing = load(&path, variables(&[])).unwrap_err().to_string();
    assert!(missing.contains("deskferry.toml: cannot read it:") && missing.contains("deskferry init"), "{missing}");
    fs::write(&path, format!("{LEAST}mapping = \"gone.toml\"")).unwrap();
    let missing = load(&path, variables(&[])).unwrap_err().to_string();
    assert!(missing.contains("deskferry.toml:3: mapping: cannot read "), "{missing}");
}

#[test]
fn the_samples_load_as_they_are_and_only_credentials_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let written = template::write(&folder.path().join("config")).unwrap();
    assert_eq!(written.len(), 2);
    let loaded = load(&written[0], variables(&[])).unwrap();
    assert_eq!(loaded.warnings, []);
    let missing: Vec<_> = loaded.settings.missing_credentials().into_iter().map(|problem| problem.key).collect();
    assert_eq!(missing, ["livedesk.api_key", "livedesk.api_secret", "firstline.base_url", "firstline.token"]);
}

#[test]
fn init_never_writes_over_a_file_and_keeps_settings_to_their_owner() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mapping.toml"), "").unwrap();
    let written = template::write(folder.path()).unwrap();
    assert_eq!(written, [folder.path().join("deskferry.toml")]);
    assert_eq!(fs::read_to_string(folder.path().join("mapping.toml")).unwrap(), "");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&written[0]).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(template::write(folder.path()).unwrap(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_half_login_is_missing_its_other_half() {
    let key = |lines: &str| {
        let text = format!("{LEAST}{lines}\n[livedesk]\napi_key = \"k\"\napi_secret = \"s\"\n");
        let missing = read_with(&text, &[]).unwrap().missing_credentials();
        missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(key("firstline.token = \"t\""), "");
    assert_eq!(key("firstline.name = \"n\"\nfirstline.password = \"p\""), "");
    assert_eq!(
        key("firstline.password = \"p\""),
        "config/deskferry.toml: firstline.name: is missing beside the password; set it"
    );
    assert!(key("firstline.name = \"n\"").contains("firstline.password: is missing beside the name; set it, firstline.password_file, or DESKFERRY__FIRSTLINE__PASSWORD"));
}

#[test]
fn the_address_of_the_webhook_may_stand_in_a_file_and_must_be_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hook"), "https://w.example/services/T0?sig=x\n").unwrap();
    let path = folder.path().join("deskferry.toml");
    let read = |lines: &str| parse(&path, &format!("{LEAST}[ops]\n{lines}\n"), variables(&[]));
    let url = read("webhook_file = \"hook\"").unwrap().webhook_url().unwrap();
    assert_eq!(url.as_str(), "https://w.example/services/T0?sig=x");
    fs::write(folder.path().join("hook"), "w.example/services\n").unwrap();
    let complaint = read("webhook_file = \"hook\"").unwrap_err().to_string();
    assert!(complaint.contains("ops.webhook: not an http or https URL"), "{complaint}");
}

#[test]
fn a_short_token_in_front_of_the_network_and_a_plain_webhook_are_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deskferry.toml");
    fs::write(folder.path().join("mapping.toml"), "").unwrap();
    for (name, text) in [("token", "short"), ("hook", "http://w.example/x")] {
        fs::write(folder.path().join(name), text).unwrap();
        fs::set_permissions(folder.path().join(name), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    }
    let warned = |lines: &str| {
        fs::write(&path, format!("{LEAST}[ops]\n{lines}\n")).unwrap();
        let warnings = load(&path, variables(&[])).unwrap().warnings;
        warnings.into_iter().map(|warning| warning.key).collect::<Vec<_>>()
    };
    assert_eq!(warned("listen = \"0.0.0.0:1\"\ntoken_file = \"token\""), ["ops.token"]);
    assert_eq!(warned("token_file = \"token\""), [""; 0], "on loopback it is one door more");
    assert_eq!(warned("webhook_file = \"hook\""), ["ops.webhook"]);
}

#[test]
fn what_is_allowed_but_risky_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deskferry.toml");
    let lines =
        "[livedesk]\nallow_http = true\nbase_url = \"http://t.example/x\"\nrequests_per_second = 0\napi_key = \"k\"\n";
    fs::write(&path, format!("{LEAST}{lines}")).unwrap();
    fs::write(folder.path().join("mapping.toml"), "").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let warnings = load(&path, variables(&[])).unwrap().warnings;
    let keys: Vec<_> = warnings.iter().map(|warning| (warning.key.as_str(), warning.line)).collect();
    let expected =
        [("livedesk.requests_per_second", Some(6)), ("livedesk.base_url", Some(5)), ("livedesk.api_key", Some(7))];
    assert_eq!(keys, expected);
}

#[test]
fn a_deletion_needs_a_word_and_a_mark_needs_a_place() {
    let delete = "[deletes]\npolicy = \"delete\"";
    for (lines, complaint) in [
        (delete, "3: deletes.i_understand: deletions need your word that you know what they take along; write "),
        (&format!("{delete}\ni_understand = \"yes\""), "5: deletes.i_understand: deletions need your word"),
        ("[deletes]\npolicy = \"tag\"", "3: deletes.tag: the policy is to tag, and neither tag nor field is set; "),
        ("[deletes]\ntag = \"gone\"\nfield = 33", "5: deletes.field: both a tag and a field are set; keep one of them"),
        ("[deletes]\nabsences = 1", "4: deletes.absences: not a whole number in range; write 2 to 100"),
        ("[deletes]\nceiling_percent = 101", "4: deletes.ceiling_percent: not a share; write percent, 0 to 100"),
    ] {
        let found = one(lines);
        assert!(found.starts_with(complaint), "{lines}: {found}");
    }
    let word = format!("{delete}\ni_understand = \"{}\"", super::settings::I_UNDERSTAND);
    assert_eq!(read_with(&format!("{LEAST}{word}"), &[]).unwrap().deletes.policy, DeletePolicy::Delete);
}

#[test]
fn an_expression_that_never_comes_round_is_refused() {
    for line in ["sync = \"0 0 0 31 2 *\"", "sweep = \"0 0 3 31 4,6,9,11 *\""] {
        let found = one(&format!("[schedule]\n{line}"));
        assert!(found.contains("never comes round"), "{line}: {found}");
    }
    let text = format!("{LEAST}[schedule]\nsweep = \"0 0 3 29 2 *\"\n[ops]\nsweep_within = \"1500days\"\n");
    assert!(read_with(&text, &[]).unwrap().schedule.sweep.is_some(), "every four years is rare, and not never");
}

#[test]
fn sweeps_that_are_further_apart_than_ops_sweep_within_are_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deskferry.toml");
    fs::write(folder.path().join("mapping.toml"), "").unwrap();
    let warned = |schedule: &str, within: &str| {
        let text = format!("{LEAST}[schedule]\nsweep = \"{schedule}\"\n[ops]\nsweep_within = \"{within}\"\n");
        fs::write(&path, text).unwrap();
        let warnings = load(&path, variables(&[])).unwrap().warnings;
        warnings.into_iter().map(|warning| warning.to_string()).collect::<Vec<_>>().join("; ")
    };
    for (schedule, within) in
        [("0 0 3 * * 0", "36h"), ("0 0 3 * * 1-5", "48h"), ("0 0 3 1 * *", "30days"), ("0 0 3 * * *", "24h")]
    {
        let text = warned(schedule, within);
        assert!(text.contains("ops.sweep_within"), "{schedule} {within}: {text}");
    }
    for (schedule, within) in [
        ("0 0 3 * * *", "36h"),
        ("0 0 3 * * 0", "8days"),
        ("0 0 3 * * 1-5", "4days"),
        ("", "36h"),
        ("0 0 3 1 * *", "32days"),
    ] {
        assert_eq!(warned(schedule, within), "", "{schedule} {within}");
    }
}
