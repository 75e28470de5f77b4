//! From a path and an environment to settings, or to the list of everything that is wrong.
//!
//! The environment is a parameter, so that a test can give its own. Relative paths in the file, and in
//! variables, start at the folder of the configuration file, wherever the program is started from.

use std::fs;
use std::path::Path;

use super::mapping_file::MappingSource;
use super::schema::{Report, Section};
use super::settings::Settings;
use super::{Problem, Problems, check, tree};

/// A configuration that holds together.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The mapping file, read but not yet understood: `mapping.parse::<MappingSpec>()`.
    pub mapping: MappingSource,
    /// What is allowed but deserves a second look.
    pub warnings: Vec<Problem>,
}

/// A configuration as far as it can be understood, and everything that is wrong with it: what `deskferry check` goes
/// on with. A key that is wrong has its default.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The settings.
    pub settings: Settings,
    /// The mapping file, when it can be read and its syntax is right.
    pub mapping: Option<MappingSource>,
    /// What is wrong.
    pub problems: Problems,
    /// What is allowed but deserves a second look.
    pub warnings: Vec<Problem>,
}

impl Examined {
    /// Whether nothing is wrong with this key.
    pub fn is_sound(&self, key: &str) -> bool {
        !self.problems.0.iter().any(|problem| problem.concerns(key))
    }
}

/// Reads the configuration file and the mapping file that it names.
pub fn load(path: &Path, env: impl Iterator<Item = (String, String)>) -> Result<Loaded, Problems> {
    match examine(path, env)? {
        Examined { settings, mapping: Some(mapping), problems, warnings } if problems.0.is_empty() => {
            Ok(Loaded { settings, mapping, warnings })
        }
        examined => Err(examined.problems),
    }
}

/// The same, going on after each problem. Fails only when the configuration file cannot be read at all.
pub fn examine(path: &Path, env: impl Iterator<Item = (String, String)>) -> Result<Examined, Problems> {
    let text = read(path).map_err(|(message, remedy)| {
        let problem = Report::new(path).problem("", message, remedy);
        Problems::from(problem)
    })?;
    let (settings, mut report) = interpret(path, &text, env);
    let mut warnings = check::warnings(&settings, &report);
    warnings.extend(report.doubts.iter().cloned());
    warnings.extend(readable_by_others(path, &report));
    let mapping = match MappingSource::read(&settings.mapping) {
        Ok(Ok(mapping)) => Some(mapping),
        Ok(Err(problems)) => {
            report.problems.extend(problems.0);
            None
        }
        Err(error) => {
            let message = format!("cannot read {}: {error}", settings.mapping.display());
            report.add("mapping", message, "name a mapping file; `deskferry init` writes one");
            None
        }
    };
    Ok(Examined { settings, mapping, problems: report.into_problems(), warnings })
}

/// Reads settings from text, as if it stood in the file `path`; the mapping file is not touched.
pub fn parse(path: &Path, text: &str, env: impl Iterator<Item = (String, String)>) -> Result<Settings, Problems> {
    let (settings, report) = interpret(path, text, env);
    report.finish(settings)
}

/// The process's environment, as far as it is text: a variable that is not is none of ours.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn interpret(path: &Path, text: &str, env: impl Iterator<Item = (String, String)>) -> (Settings, Report) {
    let mut report = Report::new(path);
    let mut document = tree::parse(text, &mut report);
    tree::overlay(&mut document, env, &mut report);
    let settings = Section::document(document, &mut report, Settings::read);
    check::rules(&settings, &mut report);
    (settings, report)
}

fn read(path: &Path) -> Result<String, (String, &'static str)> {
    fs::read_to_string(path)
        .map_err(|error| (format!("cannot read it: {error}"), "check its name; `deskferry init` writes a new one"))
}

#[cfg(unix)]
fn readable_by_others(path: &Path, report: &Report) -> Option<Problem> {
    use std::os::unix::fs::PermissionsExt;

    const SECRETS: [&str; 7] = [
        "livedesk.api_key",
        "livedesk.api_secret",
        "firstline.token",
        "firstline.password",
        "ops.token",
        "ops.webhook",
        "http.proxy",
    ];
    let mode = fs::metadata(path).ok()?.permissions().mode();
    let key = SECRETS.into_iter().find(|key| report.in_file(key))?;
    (mode & 0o077 != 0)
        .then(|| report.problem(key, "the file can be read by others", "chmod 600, or use a secret file"))
}

#[cfg(not(unix))]
fn readable_by_others(_path: &Path, _report: &Report) -> Option<Problem> {
    None
}
