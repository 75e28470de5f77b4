//! What a check found: one line each, with file, line and remedy where it has them.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::config::Problem;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// As it should be.
    Good,
    /// Could not be looked at.
    NotChecked,
    /// Allowed, but deserves a second look.
    Warning,
    /// Has to be mended.
    Problem,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::NotChecked => "not checked",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at.
    area: &'static str,
    file: Option<PathBuf>,
    line: Option<usize>,
    key: String,
    text: String,
    remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12}{:<14}", self.level.as_str(), self.area)?;
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// Everything that was found, in the order of looking.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn good(&mut self, area: &'static str, text: impl Into<String>) {
        self.add(Level::Good, area, text, "");
    }

    pub(super) fn not_checked(&mut self, area: &'static str, why: impl Into<String>) {
        self.add(Level::NotChecked, area, why, "");
    }

    pub(super) fn warning(&mut self, area: &'static str, text: impl Into<String>, remedy: &str) {
        self.add(Level::Warning, area, text, remedy);
    }

    pub(super) fn problem(&mut self, area: &'static str, text: impl Into<String>, remedy: &str) {
        self.add(Level::Problem, area, text, remedy);
    }

    /// Something that stands in a file.
    pub(super) fn in_file(&mut self, level: Level, area: &'static str, problem: Problem) {
        let Problem { file, line, key, message, remedy } = problem;
        self.0.push(Finding { level, area, file: Some(file), line, key, text: message, remedy });
    }

    pub(super) fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    pub(super) fn json(&self) -> Value {
        let finding = |finding: &Finding| {
            json!({
                "level": finding.level.as_str(),
                "area": finding.area,
                "file": finding.file,
                "line": finding.line,
                "key": finding.key,
                "text": finding.text,
                "remedy": finding.remedy,
            })
        };
        json!({
            "problems": self.count(Level::Problem),
            "warnings": self.count(Level::Warning),
            "findings": self.0.iter().map(finding).collect::<Vec<_>>(),
        })
    }

    fn add(&mut self, level: Level, area: &'static str, text: impl Into<String>, remedy: &str) {
        let (text, remedy) = (text.into(), remedy.to_owned());
        self.0.push(Finding { level, area, file: None, line: None, key: String::new(), text, remedy });
    }
}
