//! The documents: commands that can be typed, keys that exist, links that lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{read, root, understood};

/// Keys that the brief of issue 4 gives to others, until the branches meet.
const PENDING_KEYS: &[&str] = &[
    "service.drain",
    "service.overlap",
    "service.startup_backfill",
    "deletes.absences",
    "deletes.ceiling",
    "deletes.ceiling_percent",
    "deletes.grace",
    "deletes.tag",
    "deletes.field",
    "deletes.i_understand",
    "livedesk.quiet_hours",
    "livedesk.quiet_requests_per_second",
    "firstline.quiet_hours",
    "firstline.quiet_requests_per_second",
    "failures.retry_first",
    "failures.retry_ceiling",
    "failures.poison_after",
    "ops.reached_within",
    "ops.sweep_within",
    "ops.dead_letters_above",
    "ops.disk_low",
    "ops.webhook",
    "ops.webhook_file",
];

/// README and everything in `docs`, but the decisions: those speak of their day.
fn documents() -> Vec<String> {
    let folder = fs::read_dir(root().join("docs")).unwrap();
    let names = folder.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    let mut found: Vec<String> =
        names.filter(|name| Path::new(name).extension().is_some_and(|it| it == "md")).collect();
    found.extend(["README.md", "CONTRIBUTING.md"].map(str::to_owned));
    found.sort();
    assert!(found.len() > 4, "{found:?}");
    found
}

/// Lines of fenced shell blocks (continued ones joined) and texts between backticks.
fn code(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fence: Option<bool> = None;
    for line in text.replace("\\\n", " ").lines() {
        match (fence, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => fence = Some(language == "sh"),
            (Some(_), Some(_)) => fence = None,
            (Some(true), None) => found.push(line.to_owned()),
            (Some(false), None) => {}
            (None, None) => found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned)),
        }
    }
    found
}

/// The arguments that a line gives to our program: behind the last word `deskferry`, up to what belongs to the shell.
/// Words in capitals stand for a value, an ellipsis for nothing.
fn arguments(line: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
    // `--user deskferry` is a person and `--tag deskferry` an image.
    let is_value =
        |at: usize| at > 0 && matches!(words[at - 1], "-u" | "--unit" | "--owner" | "--group" | "--tag" | "--name");
    let is_ours = |at: &usize| (words[*at] == "deskferry" || words[*at].ends_with("/bin/deskferry")) && !is_value(*at);
    let at = (0..words.len()).rev().find(is_ours)?;
    let of_shell = |word: &&&str| !matches!(**word, "|" | ">" | "&&" | ";" | "||" | "2>&1" | "\\");
    let ours = words[at + 1..].iter().take_while(of_shell).filter(|word| !word.starts_with('…') && **word != "...");
    let ours = ours.map(|word| match word.trim_matches(['[', ']', '.']) {
        bare if bare.len() > 1 && bare.chars().all(|next| next.is_ascii_uppercase()) => String::from("1"),
        "N" => String::from("1"),
        _ => (*word).to_owned(),
    });
    Some(ours.collect()).filter(|words: &Vec<String>| !words.is_empty())
}

#[test]
fn every_command_in_the_documents_can_be_typed() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for document in documents() {
        for line in code(&read(&document)) {
            let Some(arguments) = arguments(&line) else { continue };
            seen += 1;
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            // A group is named without its command (`deskferry map`), an option without its value.
            if let Err(complaint) = understood(&arguments)
                && understood(&[&arguments[..], &["--help"]].concat()).is_err()
                && understood(&[&arguments[..], &["1"]].concat()).is_err()
            {
                wrong.push(format!("{document}: `{line}`: {complaint}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 40, "only {seen} commands were found");
}

/// `section.key` of the sample, those that are commented out included.
fn known_keys() -> BTreeSet<String> {
    let (sample, mut section) = (read("config/deskferry.toml"), String::new());
    let mut known = BTreeSet::new();
    for line in sample.lines() {
        if let Some(name) = line.strip_prefix('[') {
            name.split(']').next().unwrap().clone_into(&mut section);
        } else if let Some((keys, _)) = line.split(" # ").next().unwrap().trim_start_matches("# ").split_once(" = ") {
            known.insert(format!("{section}.{keys}"));
        }
    }
    for (section, key) in
        [("livedesk", "api_key_file"), ("livedesk", "api_secret_file"), ("firstline", "token_file"), ("ops", "token")]
    {
        known.insert(format!("{section}.{key}"));
    }
    for section in ["livedesk", "firstline"] {
        known.extend(["proxy", "ca_file"].map(|key| format!("{section}.{key}")));
    }
    known
}

#[test]
fn every_key_in_the_guide_exists() {
    let known = known_keys();
    assert!(known.contains("schedule.sweep") && known.contains("ops.token_file") && known.contains("http.ca_file"));
    let sections: BTreeSet<&str> =
        known.iter().map(|key| key.split('.').next().unwrap()).chain(["service", "failures"]).collect();
    for document in documents() {
        for text in code(&read(&document)) {
            let Some((section, key)) = text.split_once('.') else { continue };
            let plain = |part: &str| part.chars().all(|next| next.is_ascii_lowercase() || next == '_');
            let file = Path::new(key).extension().is_some() || matches!(key, "toml" | "md" | "rs" | "db" | "csv");
            if section.is_empty() || !sections.contains(section) || !plain(key) || key.is_empty() || file {
                continue;
            }
            let exists = known.contains(&text) || PENDING_KEYS.contains(&text.as_str());
            assert!(exists, "{document}: there is no key {text}");
        }
    }
}

/// The anchor of a heading, as the usual renderers make it.
pub(super) fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|next| next.is_alphanumeric() || matches!(next, ' ' | '-' | '_'));
    kept.map(|next| if next == ' ' { '-' } else { next }).collect()
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    for document in documents() {
        let text = read(&document);
        let folder = root().join(&document).parent().unwrap().to_owned();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.contains("://")) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let full = if path.is_empty() { root().join(&document) } else { folder.join(path) };
            assert!(full.exists(), "{document} links {target}");
            if !heading.is_empty() {
                let there = fs::read_to_string(full).unwrap();
                let found = there.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
                assert!(found, "{document} links {target}: there is no such heading");
            }
        }
    }
}

#[test]
fn every_file_that_the_guide_takes_from_here_is_there() {
    let guide = read("docs/operations.md");
    for text in code(&guide) {
        let words = text.split_whitespace().map(|word| word.trim_matches(['"', ',']));
        for word in words.filter(|word| word.starts_with("deploy/") || word.starts_with("config/")) {
            // The operator's own configuration folder is called config, too.
            let own = word.starts_with("config/") && !["config/deskferry.toml", "config/mapping.toml"].contains(&word);
            assert!(own || root().join(word).exists(), "docs/operations.md names {word}");
        }
    }
}

#[test]
fn readme_and_architecture_lead_to_the_guide() {
    assert!(read("README.md").contains("](docs/operations.md)"));
    assert!(read("docs/ARCHITECTURE.md").contains("](operations.md)"));
}

#[test]
fn arguments_are_read_as_a_shell_would() {
    let read = |line: &str| arguments(line).map(|words| words.join(" "));
    assert_eq!(
        read("sudo -u deskferry deskferry --config a.toml retry ID # again").as_deref(),
        Some("--config a.toml retry 1")
    );
    assert_eq!(read("docker compose exec deskferry deskferry status | head").as_deref(), Some("status"));
    assert_eq!(read("docker build --tag deskferry ."), None);
    assert_eq!(read("systemctl restart deskferry"), None);
    assert_eq!(read("cargo build"), None);
}
