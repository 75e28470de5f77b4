//! Takes keys out of the tree, one section at a time, and remembers what was asked for.
//!
//! What is left in a section when its reader is done is unknown, and the nearest key that was asked for is
//! suggested: there is no second list of keys that could fall out of step with the first.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use url::Url;

use super::secret::SecretString;
use super::tree::{PREFIX, Place, Raw, Table};
use super::values::{self, Wrong, text, wrong};
use super::{Problem, Problems};

/// How alike two keys must be (Jaro-Winkler) for one to be suggested for the other.
const ALIKE: f64 = 0.75;

/// What has been found so far, and where each key was written.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) file: PathBuf,
    pub(super) problems: Vec<Problem>,
    /// What deserves a second look.
    pub(super) doubts: Vec<Problem>,
    places: BTreeMap<String, Place>,
}

impl Report {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), problems: Vec::new(), doubts: Vec::new(), places: BTreeMap::new() }
    }

    /// A problem at the place where `key` was written, or else where its section begins.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        let mut known = key;
        let place = loop {
            match (self.places.get(known), known.rsplit_once('.')) {
                (Some(place), _) => break place,
                (None, Some((section, _))) => known = section,
                (None, None) => break &Place::File(None),
            }
        };
        let (file, line, key) = match place {
            Place::File(line) => (self.file.clone(), *line, key.to_owned()),
            // A variable that belongs to another key only proves that the section exists; the key is what is wrong.
            Place::Variable(name) if known == key => (PathBuf::from("environment"), None, name.clone()),
            Place::Variable(_) => (self.file.clone(), None, key.to_owned()),
        };
        Problem { file, line, key, message: message.into(), remedy: remedy.into() }
    }

    /// Notes a problem.
    pub(super) fn add(&mut self, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let problem = self.problem(key, message, remedy);
        self.problems.push(problem);
    }

    /// Whether something has been found wrong with `key` or with what is inside it.
    pub(super) fn has_problem_in(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.concerns(key))
    }

    /// Whether `key` was written in the file itself.
    pub(super) fn in_file(&self, key: &str) -> bool {
        matches!(self.places.get(key), Some(Place::File(_)))
    }

    /// The result, unless there are problems.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Problems> {
        if self.problems.is_empty() { Ok(value) } else { Err(self.into_problems()) }
    }

    /// The problems, sorted.
    pub(super) fn into_problems(self) -> Problems {
        Problems::sorted(self.problems)
    }

    /// Resolves a path against the folder of the configuration file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }
}

/// A table while its keys are taken out.
#[derive(Debug)]
pub(super) struct Section<'r> {
    name: String,
    table: Table,
    asked: Vec<&'static str>,
    pub(super) report: &'r mut Report,
}

impl Section<'_> {
    /// Reads a whole document.
    pub(super) fn document<T>(table: Table, report: &mut Report, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        Section { name: String::new(), table, asked: Vec::new(), report }.run(read)
    }

    /// Reads the table `key`; an absent one reads as empty.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let name = self.dotted(key);
        let table = match self.take(key) {
            Some(Raw::Table(table)) => table,
            None => Table::default(),
            Some(_) => {
                let example = format!("write [{name}] and its keys below");
                self.report.add(&name, "not a table", example);
                Table::default()
            }
        };
        Section { name, table, asked: Vec::new(), report: &mut *self.report }.run(read)
    }

    /// Takes a key that may be absent; empty text counts as absent.
    pub(super) fn optional<T>(&mut self, key: &'static str, read: impl FnOnce(&Raw) -> Result<T, Wrong>) -> Option<T> {
        let raw = self.take(key)?;
        if text(&raw).is_ok_and(str::is_empty) {
            return None;
        }
        self.read(key, &raw, read)
    }

    /// Takes a key that has a default.
    pub(super) fn value<T>(&mut self, key: &'static str, default: T, read: impl FnOnce(&Raw) -> Result<T, Wrong>) -> T {
        let Some(raw) = self.take(key) else { return default };
        self.read(key, &raw, read).unwrap_or(default)
    }

    /// Takes the root of an API that must be given.
    pub(super) fn required_url(&mut self, key: &'static str, remedy: &str) -> Option<Url> {
        let name = self.dotted(key);
        let before = self.report.problems.len();
        let value = self.optional(key, values::base_url);
        if value.is_none() && self.report.problems.len() == before {
            self.report.add(&name, "is required", remedy);
        }
        value
    }

    /// Takes a path; a relative one starts at the folder of the configuration file.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let written = self.optional(key, |raw| text(raw).map(str::to_owned))?;
        Some(self.report.resolve(&written))
    }

    /// Takes a secret, given as `key` or in the file named by `file_key`.
    pub(super) fn secret(&mut self, key: &'static str, file_key: &'static str) -> Option<SecretString> {
        let value = self.optional(key, |raw| text(raw).map(SecretString::new));
        let Some(path) = self.path(file_key) else { return value };
        if value.is_some() {
            let name = self.dotted(file_key);
            self.report.add(&name, format!("both {key} and {file_key} are set"), "keep one of them");
            return value;
        }
        if fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o007 != 0) {
            let name = self.dotted(file_key);
            let message = format!("everybody on this machine can read the secret file {}", path.display());
            let doubt = self.report.problem(&name, message, "chmod 640, or 600");
            self.report.doubts.push(doubt);
        }
        self.read(file_key, &Raw::Other, |_| secret_file(&path))
    }

    fn run<T>(mut self, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let value = read(&mut self);
        for (key, (place, raw)) in std::mem::take(&mut self.table.0) {
            self.unknown(&key, place, &raw);
        }
        value
    }

    fn unknown(&mut self, key: &str, place: Place, raw: &Raw) {
        // A table of variables alone is no table of the file: name the variables themselves.
        if let (Place::Variable(_), Raw::Table(inner)) = (&place, raw) {
            for (inner_key, (inner_place, inner_raw)) in &inner.0 {
                self.unknown(&format!("{key}.{inner_key}"), inner_place.clone(), inner_raw);
            }
            return;
        }
        let nearest = nearest(&self.asked, key.split('.').next().unwrap_or(key));
        let name = self.dotted(key);
        let remedy = match (nearest, &place) {
            (Some(known), Place::File(_)) => format!("did you mean \"{known}\"?"),
            (Some(known), Place::Variable(_)) => {
                let variable = self.dotted(known).to_uppercase().replace('.', "__");
                format!("did you mean \"{PREFIX}{variable}\"?")
            }
            (None, _) => format!("known here: {}", self.asked.join(", ")),
        };
        self.report.places.insert(name.clone(), place);
        self.report.add(&name, "unknown key", remedy);
    }

    fn take(&mut self, key: &'static str) -> Option<Raw> {
        self.asked.push(key);
        let (place, raw) = self.table.0.remove(key)?;
        let name = self.dotted(key);
        self.report.places.insert(name, place);
        Some(raw)
    }

    fn read<T>(&mut self, key: &str, raw: &Raw, read: impl FnOnce(&Raw) -> Result<T, Wrong>) -> Option<T> {
        match read(raw) {
            Ok(value) => Some(value),
            Err(Wrong { message, remedy }) => {
                let name = self.dotted(key);
                self.report.add(&name, message, remedy);
                None
            }
        }
    }

    fn dotted(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

/// The known key that `key` was probably meant to be.
pub(super) fn nearest<'k>(known: &[&'k str], key: &str) -> Option<&'k str> {
    let scored = known.iter().map(|known| (strsim::jaro_winkler(known, key), *known));
    let (score, best) = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (score >= ALIKE).then_some(best)
}

/// A secret as containers mount it; the newline that editors put at the end is not part of it.
fn secret_file(path: &Path) -> Result<SecretString, Wrong> {
    let shown = path.display();
    match fs::read_to_string(path) {
        Ok(text) => {
            let secret = text.trim_end_matches(['\r', '\n']);
            if secret.is_empty() {
                return wrong(format!("the secret file {shown} is empty"), "write the secret into it");
            }
            Ok(SecretString::new(secret))
        }
        Err(error) => wrong(format!("cannot read the secret file {shown}: {error}"), "check its name and permissions"),
    }
}
