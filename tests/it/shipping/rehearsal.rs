//! `docker compose up`: every path is there, every command is one, and the settings work against the sandbox that the file starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;

use deskferry::sandbox::SandboxConfig;
use serde_json::json;

use super::{assert_exists, assert_understood, drain, read, root};
use crate::cli_support::{Desk, deskferry};

const COMPOSE: &str = "docker-compose.yml";
const SETTINGS: &str = "deploy/compose/deskferry.toml";

/// The lines of a service, without its name; two spaces deep in the file.
fn service(name: &str) -> Vec<String> {
    let text = read(COMPOSE);
    let (_, services) = text.split_once("\nservices:\n").unwrap();
    let mut lines = services.lines().skip_while(|line| *line != format!("  {name}:"));
    assert!(lines.next().is_some(), "{COMPOSE} has no service {name}");
    let inside = lines.take_while(|line| line.starts_with("    ") || line.trim().is_empty());
    inside.filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

fn value<'l>(lines: &'l [String], key: &str) -> Option<&'l str> {
    lines.iter().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "))
}

/// The items of a list: `key: [a, b]`, or `- a` on lines of their own.
fn list(lines: &[String], key: &str) -> Vec<String> {
    let unquoted = |item: &str| item.trim().trim_matches('"').to_owned();
    if let Some(inline) = value(lines, key) {
        return inline.trim_start_matches('[').trim_end_matches(']').split(',').map(unquoted).collect();
    }
    let after = lines.iter().skip_while(|line| line.trim() != format!("{key}:")).skip(1);
    after.map_while(|line| line.trim().strip_prefix("- ")).map(unquoted).collect()
}

/// Where each secret comes from.
fn secrets() -> BTreeMap<String, String> {
    let text = read(COMPOSE);
    let (_, secrets) = text.split_once("\nsecrets:\n").unwrap();
    let entries = secrets.lines().filter_map(|line| line.trim().split_once(": { file: "));
    entries.map(|(name, file)| (name.to_owned(), file.trim_end_matches(" }").to_owned())).collect()
}

fn sandbox_flag(name: &str) -> String {
    let command = list(&service("sandbox"), "command");
    let prefix = format!("--{name}=");
    command.iter().find_map(|word| word.strip_prefix(&prefix)).unwrap().to_owned()
}

#[test]
fn every_file_that_the_rehearsal_mounts_is_there_and_can_be_read_by_the_image_s_user() {
    let text = read(COMPOSE);
    let mounts = text.lines().filter_map(|line| line.trim().strip_prefix("- ./"));
    let mounted: Vec<&str> = mounts.map(|line| line.split(':').next().unwrap()).collect();
    assert!(mounted.len() >= 6, "{mounted:?}");
    for path in mounted.into_iter().map(str::to_owned).chain(secrets().into_values()) {
        let full = assert_exists(&path, COMPOSE);
        let mode = fs::metadata(full).unwrap().permissions().mode();
        assert!(mode & 0o004 != 0, "{path} cannot be read by others ({mode:o})");
    }
}

#[test]
fn every_command_of_the_rehearsal_is_one_of_the_program() {
    for name in ["sandbox", "deskferry"] {
        let lines = service(name);
        let command = list(&lines, "command");
        assert_understood(&command.iter().map(String::as_str).collect::<Vec<_>>(), COMPOSE);
        if value(&lines, "test").is_some() {
            let check = list(&lines, "test");
            assert_eq!(check[..2], ["CMD", "deskferry"]);
            assert_understood(&check[2..].iter().map(String::as_str).collect::<Vec<_>>(), COMPOSE);
        }
        assert!(lines.iter().any(|line| line.trim() == "<<: *image"), "{name} is of the same build");
    }
    let text = read(COMPOSE);
    assert!(text.contains("x-image: &image\n  build: .\n"), "{COMPOSE}");
}

#[tokio::test]
async fn the_sandbox_takes_the_switches_of_the_rehearsal() {
    let switches = list(&service("sandbox"), "command").into_iter().filter(|word| word.starts_with("--set="));
    let mut arguments: Vec<String> = vec!["sandbox".into(), "--livedesk-port=1".into()];
    arguments.extend(switches);
    assert!(arguments.iter().any(|word| word.starts_with("--set=livedesk.drift.every=")), "a sandbox with drift");
    // Port 1 cannot be had by this user, or ends at once: what matters is that no switch was refused before.
    arguments.push(String::from("--listen=192.0.2.1"));
    let ended = deskferry(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await.expect(2);
    ended.says("the sandbox could not listen");
}

#[test]
fn the_rehearsal_publishes_on_this_machine_alone() {
    for name in ["sandbox", "deskferry", "prometheus", "grafana"] {
        for port in list(&service(name), "ports") {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port}");
        }
    }
}

#[test]
fn a_stopped_container_has_time_to_finish() {
    let lines = service("deskferry");
    let grace = humantime::parse_duration(value(&lines, "stop_grace_period").unwrap()).unwrap();
    assert!(grace > drain(), "{grace:?} is not above service.drain");
}

#[test]
fn the_rehearsal_s_secrets_are_the_sandbox_s_and_every_one_is_granted() {
    let sandbox = json!(SandboxConfig::default());
    let secrets = secrets();
    let content = |name: &str| read(&secrets[name]).trim_end().to_owned();
    assert_eq!(content("livedesk_api_key"), sandbox["livedesk"]["api_key"]);
    assert_eq!(content("livedesk_api_secret"), sandbox["livedesk"]["api_secret"]);
    assert_eq!(content("firstline_token"), sandbox["firstline"]["tokens"][0]);
    let granted: BTreeSet<String> = list(&service("deskferry"), "secrets").into_iter().collect();
    let named: BTreeSet<String> =
        read(SETTINGS).split("/run/secrets/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert_eq!(granted, named, "granted in {COMPOSE}, named in {SETTINGS}");
    assert!(granted.iter().all(|name| secrets.contains_key(name)), "{granted:?}");
    let scrape = read("deploy/prometheus/prometheus.yml");
    assert!(scrape.contains("/run/secrets/ops_token") && list(&service("prometheus"), "secrets") == ["ops_token"]);
}

#[test]
fn the_dashboard_and_the_rules_are_where_their_programs_look() {
    let volumes = |name| list(&service(name), "volumes").join("\n");
    let provider = read("deploy/grafana/provisioning/dashboards/deskferry.yml");
    let folder = provider.lines().find_map(|line| line.trim().strip_prefix("path: ")).unwrap();
    assert!(volumes("grafana").contains(&format!("./deploy/grafana/deskferry.json:{folder}/deskferry.json:ro")));
    let home = value(&service("grafana"), "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH").unwrap().to_owned();
    assert_eq!(home, format!("{folder}/deskferry.json"));
    let scrape = read("deploy/prometheus/prometheus.yml");
    for file in ["prometheus.yml", "deskferry.rules.yml"] {
        assert!(volumes("prometheus").contains(&format!("./deploy/prometheus/{file}:/etc/prometheus/{file}:ro")));
    }
    assert!(scrape.contains("- deskferry.rules.yml\n") && scrape.contains("job_name: deskferry\n"));
    assert!(scrape.contains(&format!("\"deskferry:{}\"", listen_port())), "the service's port");
}

fn listen_port() -> String {
    let settings = read(SETTINGS);
    let line = settings.lines().find_map(|line| line.strip_prefix("listen = ")).unwrap();
    line.split('"').nth(1).unwrap().rsplit(':').next().unwrap().to_owned()
}

#[test]
fn the_settings_of_the_rehearsal_name_the_ports_of_its_sandbox() {
    let settings = read(SETTINGS);
    for flag in ["livedesk-port", "firstline-port"] {
        let url = format!("\"http://sandbox:{}/api/", sandbox_flag(flag));
        assert!(settings.contains(&url), "{SETTINGS} does not name {url}");
    }
    let lines = service("sandbox");
    let control = sandbox_flag("control-port");
    assert!(list(&lines, "test").contains(&format!("http://127.0.0.1:{control}/health")));
    assert_eq!(list(&lines, "ports"), [format!("127.0.0.1:{control}:{control}")]);
    let port = listen_port();
    assert_eq!(list(&service("deskferry"), "ports"), [format!("127.0.0.1:{port}:{port}")]);
}

/// The real thing, short of containers: the same settings and secrets, with addresses that exist here.
#[tokio::test]
async fn the_settings_of_the_rehearsal_work_against_the_sandbox() {
    let desk = Desk::new().await;
    let folder = root().join("deploy/compose/secrets");
    let livedesk = format!("http://sandbox:{}/api/v2/accounts", sandbox_flag("livedesk-port"));
    let firstline = format!("http://sandbox:{}/api/v1", sandbox_flag("firstline-port"));
    let text = read(SETTINGS)
        .replace("/run/secrets", folder.to_str().unwrap())
        .replace(&livedesk, &desk.sandbox.livedesk_url())
        .replace(&firstline, &desk.sandbox.firstline_url());
    assert!(!text.contains("//sandbox:"), "{text}");
    desk.write("deskferry.toml", &text);
    desk.write("mapping.toml", &read("config/mapping.toml"));
    desk.run(&["check"]).await.expect(0);
    let ended = desk.run(&["backfill", "--yes"]).await.expect(0);
    ended.says("proven");
    assert_eq!(desk.creates(), 20);
}
