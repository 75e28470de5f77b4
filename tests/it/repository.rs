//! The repository's own promises: what the README says to run is what CI runs, and every sample loads.

use std::fs;
use std::path::{Path, PathBuf};

use deskferry::config::load::load;
use deskferry::config::mapping_file::MappingSource;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// Lines of the fenced block that follows this heading.
fn block_after<'t>(text: &'t str, heading: &str) -> Vec<&'t str> {
    let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("no heading {heading}"));
    let inside = section.lines().skip_while(|line| !line.starts_with("```")).skip(1);
    inside.take_while(|line| !line.starts_with("```")).filter(|line| !line.is_empty()).collect()
}

#[test]
fn ci_runs_the_test_command_of_the_readme() {
    let (readme, ci) = (read("README.md"), read(".ci/run"));
    let commands = block_after(&readme, "## Development\n");
    assert!(commands.contains(&"cargo test"), "{commands:?}");
    for command in commands {
        let command = command.split(" #").next().unwrap_or_default().trim_end();
        assert!(ci.lines().any(|line| line.ends_with(command)), "`{command}` is in README.md but not in .ci/run");
    }
}

#[test]
fn the_readme_names_the_two_commands() {
    let readme = read("README.md");
    assert_eq!(block_after(&readme, "## Try it\n"), ["cargo run --release -- demo", "cargo test"]);
}

#[test]
fn the_readme_names_only_files_that_exist() {
    let readme = read("README.md");
    let targets = readme.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
        assert!(root().join(target).exists(), "README.md links {target}");
    }
}

#[test]
fn ci_is_strict_locked_and_names_no_registry() {
    let ci = read(".ci/run");
    assert!(ci.contains("set -euo pipefail"));
    for needed in ["cargo fmt", "-D warnings", "cargo sqlx prepare --check", "check bans licenses sources"] {
        assert!(ci.contains(needed), "{needed}");
    }
    assert!(!ci.contains("://"), "a registry's host belongs into the machine's own configuration");
}

#[test]
fn every_file_in_config_loads_as_it_is() {
    let files: Vec<PathBuf> = fs::read_dir(root().join("config")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 2, "{files:?}");
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let is_mapping = path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains("mapping"));
        if is_mapping {
            MappingSource::read(path).unwrap().unwrap();
        } else {
            load(path, std::iter::empty()).unwrap_or_else(|problems| panic!("{problems}"));
        }
    }
}
