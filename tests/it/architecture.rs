//! Who may name whom, as data, held against `src/` (docs/ARCHITECTURE.md has the table for people).
//!
//! Tests inside modules may name what they like; the wall is around what ships. Fails with file and line.

use std::fs;
use std::path::{Path, PathBuf};

use crate::source_text::{crate_uses, paths, production, word_lines};

/// Module, and the modules it may name. `sync::ports` means that part of `sync` alone.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &[]),
    ("beside", &[]),
    ("telemetry", &[]),
    ("http", &["clock"]),
    ("mapping", &["domain"]),
    ("store", &["beside", "domain", "clock"]),
    ("sync", &["domain", "mapping", "store", "clock"]),
    ("livedesk", &["domain", "clock", "http", "sync::ports"]),
    ("firstline", &["beside", "domain", "clock", "http", "sync::ports"]),
    ("config", &["domain", "mapping"]),
    ("ops", &["beside", "domain", "store", "clock", "http"]),
    ("sandbox", &[]),
    (
        "app",
        &["beside", "config", "clock", "domain", "http", "livedesk", "firstline", "mapping", "ops", "store", "sync"],
    ),
    ("daemon", &["app", "clock", "config", "domain", "mapping", "ops", "store", "sync"]),
    (
        "cli",
        &["app", "beside", "clock", "daemon", "config", "store", "sync", "domain", "mapping", "sandbox", "telemetry"],
    ),
    ("main", &["cli"]),
];

/// External crate, and the only folders or files that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("reqwest", &["http"]),
    ("rustls", &["http"]),
    ("backoff", &["http/retry.rs"]),
    ("clap", &["cli", "main.rs"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("indicatif", &["cli"]),
    ("axum", &["ops", "sandbox"]),
    ("minijinja", &["mapping"]),
    ("phonenumber", &["domain"]),
    ("toml", &["config"]),
    ("croner", &["config"]),
    ("tokio_cron_scheduler", &["daemon/schedule.rs"]),
    ("chrono_tz", &["daemon/schedule.rs"]),
    ("prometheus_client", &["ops"]),
    ("sd_notify", &["daemon"]),
    ("rustix", &["ops/disk.rs"]),
    ("subtle", &["ops"]),
    ("tracing_subscriber", &["telemetry"]),
];

/// Where nothing waits: these are pure.
const WITHOUT_ASYNC: &[&str] = &["domain", "mapping", "sync/decide.rs"];

/// Production lines past which a file is listed.
const MANY_LINES: usize = 500;

#[derive(Debug)]
struct File {
    /// Relative to `src`, with slashes.
    path: String,
    text: String,
}

impl File {
    /// Top-level module: `sync/decide.rs` and `sync.rs` both belong to `sync`.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    fn is_test_code(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// Whether it is the file or lies in the folder (or module) `place`.
    fn is_in(&self, place: &str) -> bool {
        self.path == place || self.path.starts_with(&format!("{place}/")) || self.path == format!("{place}.rs")
    }

    /// How many modules deep it lies: 1 for `clock.rs` and `sync/mod.rs`, 2 for `sync/decide.rs`.
    fn depth(&self) -> usize {
        self.path.split('/').filter(|part| *part != "mod.rs").count()
    }
}

fn violations(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        if !file.text.starts_with("//!") {
            found.push(format!("src/{}:1: does not say what it is for (//!)", file.path));
        }
        if file.path == "lib.rs" || file.is_test_code() {
            continue;
        }
        let Some((_, allowed)) = MAY_NAME.iter().find(|(module, _)| *module == file.module()) else {
            found.push(format!("src/{}:1: module {} is not in the table", file.path, file.module()));
            continue;
        };
        let code = production(&file.text);
        found.extend(forbidden_modules(file, &code, allowed));
        found.extend(forbidden_crates(file, &code));
        if WITHOUT_ASYNC.iter().any(|place| file.is_in(place)) {
            let lines = word_lines(&code, "async").into_iter();
            found.extend(lines.map(|line| format!("src/{}:{line}: async in a pure module", file.path)));
        }
    }
    found
}

fn forbidden_modules(file: &File, code: &str, allowed: &[&str]) -> Vec<String> {
    let mut used = paths(code, "crate");
    if file.path == "main.rs" {
        used.extend(paths(code, "deskferry"));
    }
    used.extend(paths(code, "super").into_iter().filter_map(|mut path| {
        // Enough `super`s in a row reach the root of the crate.
        let more = path.segments.iter().take_while(|segment| *segment == "super").count();
        let escapes = more + 1 >= file.depth();
        path.segments.drain(..more);
        let top = path.segments.first().is_some_and(|name| MAY_NAME.iter().any(|(module, _)| module == name));
        (escapes && top).then_some(path)
    }));
    let forbidden = used.into_iter().filter(|path| {
        let mut segments = path.segments.iter().map(String::as_str);
        let (first, second) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        let is_module = MAY_NAME.iter().any(|(module, _)| *module == first);
        let fits = |allowed: &&str| *allowed == first || *allowed == format!("{first}::{second}");
        is_module && first != file.module() && !allowed.iter().any(fits)
    });
    forbidden
        .map(|path| {
            format!("src/{}:{}: {} may not name {}", file.path, path.line, file.module(), path.segments.join("::"))
        })
        .collect()
}

fn forbidden_crates(file: &File, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, owners) in OWNERS {
        if !owners.iter().any(|owner| file.is_in(owner)) {
            let lines = crate_uses(code, name).into_iter();
            found
                .extend(lines.map(|line| format!("src/{}:{line}: {name} belongs to {}", file.path, owners.join(", "))));
        }
    }
    found
}

fn production_lines(text: &str) -> usize {
    // Comments count, tests do not: they are what blanking tests takes away from the lines with code.
    let code = production(text);
    let last = code.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).last();
    last.map_or(0, |(at, _)| at + 1)
}

fn source_files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
                files.push(File { path: relative, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

#[test]
fn every_module_names_only_what_its_row_allows() {
    let found = violations(&source_files());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Who deletes a contact's record: docs/adr/0011, 0012 and 0013. A probe has a request of its own for its scratch customers;
/// what a plan runs over (`recording`) writes down and sends nothing.
const DELETES: &[&str] =
    &["firstline/target.rs", "sync/ports.rs", "sync/recording.rs", "sync/absence/act.rs", "sync/undo/delete.rs"];

#[test]
fn a_record_is_deleted_in_three_places_and_nowhere_else() {
    let places = |word: &str| -> Vec<String> {
        let files =
            source_files().into_iter().filter(|file| !file.is_test_code() && !file.path.starts_with("sandbox/"));
        files.filter(|file| production(&file.text).contains(word)).map(|file| file.path).collect()
    };
    let mut found = places("delete_contact(");
    found.sort_by_key(|path| DELETES.iter().position(|place| place == path));
    assert_eq!(found, DELETES, "a deletion needs a word in docs/ARCHITECTURE.md and a decision");
    let probe = ["firstline/probe/calls.rs", "firstline/probe/cleanup.rs"];
    assert_eq!(places("probe_delete("), probe, "a probe deletes only its own");
}

#[test]
#[expect(clippy::print_stderr, reason = "the list is for people and fails nothing")]
fn long_files_are_listed() {
    for file in source_files() {
        let lines = production_lines(&file.text);
        if lines > MANY_LINES {
            eprintln!("src/{} has {lines} production lines", file.path);
        }
    }
}

fn planted(path: &str, text: &str) -> Vec<String> {
    violations(&[File { path: path.to_owned(), text: text.to_owned() }])
}

#[test]
fn planted_violations_are_found_with_file_and_line() {
    for (path, text, expected) in [
        ("domain/a.rs", "//! x\nuse crate::sync::ports;", "src/domain/a.rs:2: domain may not name sync::ports"),
        ("http/a.rs", "//! x\n\nfn f() { crate::store::x() }", "src/http/a.rs:3: http may not name store::x"),
        (
            "livedesk/a.rs",
            "//! x\nuse crate::{http, sync::scan};",
            "src/livedesk/a.rs:2: livedesk may not name sync::scan",
        ),
        ("livedesk/a.rs", "//! x\nuse crate::sync;", "src/livedesk/a.rs:2: livedesk may not name sync"),
        ("store/a.rs", "//! x\nuse super::super::sync::y;", "src/store/a.rs:2: store may not name sync::y"),
        ("sandbox/mod.rs", "//! x\nuse super::domain::y;", "src/sandbox/mod.rs:2: sandbox may not name domain::y"),
        ("main.rs", "//! x\nuse deskferry::store::y;", "src/main.rs:2: main may not name store::y"),
        ("sync/a.rs", "//! x\nuse sqlx::Row;", "src/sync/a.rs:2: sqlx belongs to store"),
        ("http/b.rs", "//! x\nfn f() -> backoff::X {}", "src/http/b.rs:2: backoff belongs to http/retry.rs"),
        ("mapping/a.rs", "//! x\npub async fn f() {}", "src/mapping/a.rs:2: async in a pure module"),
        ("clock.rs", "use std::fmt;", "src/clock.rs:1: does not say what it is for (//!)"),
        ("utils/mod.rs", "//! x", "src/utils/mod.rs:1: module utils is not in the table"),
    ] {
        assert_eq!(planted(path, text), [expected], "{path}: {text}");
    }
}

#[test]
fn clean_code_is_left_in_peace() {
    for (path, text) in [
        ("livedesk/a.rs", "//! [`crate::store`]\nuse crate::sync::ports::{self, X};\nuse super::wire::Y;"),
        ("http/retry.rs", "//! x\nuse backoff::Y;\nuse crate::clock::Clock;\nuse super::error::Z;"),
        ("http/a.rs", "//! x\n#[cfg(test)]\nmod tests {\n    use axum::Router;\n    use crate::sandbox::x;\n}\n"),
        ("config/toml.rs", "//! x\nuse toml::de;\nuse crate::config::check;\nuse crate::SOMETHING;"),
        ("store/tests.rs", "//! x\nuse crate::sandbox;"),
        ("lib.rs", "//! x\npub mod whatever;"),
    ] {
        assert_eq!(planted(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn lines_of_tests_do_not_count() {
    assert_eq!(production_lines("//! x\nfn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n"), 2);
}
