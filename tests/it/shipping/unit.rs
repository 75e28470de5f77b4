//! The systemd unit: what it starts is a command, what it sets is a key, and a stop has time to finish.

use std::collections::BTreeSet;
use std::path::Path;

use super::{assert_understood, drain, read, settings_with};

const UNIT: &str = "deploy/deskferry.service";

/// Every value of a setting, in order.
fn values(key: &str) -> Vec<String> {
    let text = read(UNIT);
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned).collect()
}

fn value(key: &str) -> String {
    let mut all = values(key);
    assert_eq!(all.len(), 1, "{UNIT}: {key}");
    all.remove(0)
}

#[test]
fn the_unit_starts_a_command_of_the_program() {
    let start = value("ExecStart");
    let words: Vec<&str> = start.split(' ').collect();
    let binary = Path::new(env!("CARGO_BIN_EXE_deskferry")).file_name().unwrap();
    assert_eq!(Path::new(words[0]).file_name().unwrap(), binary);
    assert_understood(&words[1..], UNIT);
    assert_eq!(words.last(), Some(&"run"));
}

#[test]
fn a_stop_has_time_to_finish_and_wrong_settings_are_not_tried_again() {
    let stop = humantime::parse_duration(&value("TimeoutStopSec")).unwrap();
    assert!(stop > drain(), "{stop:?} is not above service.drain");
    let exits =
        [deskferry::cli::output::COULD_NOT_RUN, deskferry::cli::output::INTERRUPTED].map(|code| code.to_string());
    assert_eq!([value("RestartPreventExitStatus"), value("SuccessExitStatus")], exits);
    assert_eq!([value("Type"), value("Restart")], ["notify", "on-failure"]);
    assert!(!value("WatchdogSec").is_empty());
}

#[test]
fn every_secret_is_handed_over_under_a_key_that_exists() {
    let folder = tempfile::tempdir().unwrap();
    let credentials: BTreeSet<String> =
        values("LoadCredential").iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    for name in &credentials {
        std::fs::write(folder.path().join(name), "secret").unwrap();
        let line = format!("{name}:/etc/deskferry/secrets/{name}");
        assert!(values("LoadCredential").contains(&line), "{line}");
    }
    let variables: Vec<(String, String)> = values("Environment")
        .iter()
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.replace("%d", folder.path().to_str().unwrap())))
        .collect();
    assert_eq!(variables.len(), credentials.len(), "each credential is named to the program, and nothing else is");
    let settings = settings_with(&variables, UNIT);
    let secrets = [settings.livedesk.api_key, settings.livedesk.api_secret, settings.firstline.token];
    assert!(secrets.iter().all(|secret| secret.as_ref().is_some_and(|secret| secret.expose() == "secret")));
    // The guide's line for a login must be one too.
    assert!(read(UNIT).contains("DESKFERRY__FIRSTLINE__PASSWORD_FILE"));
    let login = ("DESKFERRY__FIRSTLINE__PASSWORD_FILE", folder.path().join("firstline_token"));
    let login = [(login.0.to_owned(), login.1.to_str().unwrap().to_owned())];
    assert!(settings_with(&login, UNIT).firstline.password.is_some());
}

/// What systemd makes of a setting that may be given several times, in the unit and then in a drop-in: an empty one takes back
/// those before it.
fn with_drop_in(key: &str, drop_in: &str) -> Vec<String> {
    let mut all = values(key);
    for value in drop_in.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')) {
        match value {
            "" => all.clear(),
            value => all.push(value.to_owned()),
        }
    }
    all
}

#[test]
fn the_guides_drop_in_for_a_login_needs_no_token_and_starts() {
    let guide = read("docs/operations.md");
    let drop_in = guide.split("```ini\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(inside, _)| inside);
    let drop_in =
        drop_in.into_iter().find(|inside| inside.contains("firstline_password")).expect("no drop-in for a login");
    let folder = tempfile::tempdir().unwrap();
    for line in with_drop_in("LoadCredential", drop_in) {
        let (name, file) = line.split_once(':').unwrap();
        assert_ne!(name, "firstline_token", "systemd does not start a unit whose credential has no file");
        assert_eq!(file, format!("/etc/deskferry/secrets/{name}"));
        std::fs::write(folder.path().join(name), "secret").unwrap();
    }
    let variables: Vec<(String, String)> = with_drop_in("Environment", drop_in)
        .iter()
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.replace("%d", folder.path().to_str().unwrap())))
        .chain([(String::from("DESKFERRY__FIRSTLINE__NAME"), String::from("service"))])
        // The last one of a name is what the program sees.
        .collect::<std::collections::BTreeMap<_, _>>()
        .into_iter()
        .collect();
    let settings = settings_with(&variables, "docs/operations.md");
    assert!(settings.firstline.password.is_some() && settings.firstline.token.is_none());
    let missing = settings.missing_credentials().into_iter().map(|problem| problem.key);
    assert_eq!(missing.collect::<Vec<_>>(), ["firstline.base_url"], "which is the sample's");
}

#[test]
fn the_unit_is_hardened() {
    for (key, wanted) in [
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("CapabilityBoundingSet", ""),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("MemoryDenyWriteExecute", "yes"),
        ("SystemCallArchitectures", "native"),
        ("LimitCORE", "0"),
        ("UMask", "0077"),
        ("StateDirectory", "deskferry"),
        ("StateDirectoryMode", "0700"),
        ("User", "deskferry"),
    ] {
        assert_eq!(value(key), wanted, "{key}");
    }
    assert_eq!(values("SystemCallFilter"), ["@system-service", "~@privileged @resources"]);
}
