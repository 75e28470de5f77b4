//! Settings: one TOML file, the environment, and secret files, made into types that cannot be wrong.
//!
//! `tree` merges file and environment, `schema` takes keys out of the tree, `read` says which keys there are,
//! `settings` what becomes of them, `check` holds the rules between keys, `load` ties them together, and
//! `mapping_file` reads the mapping file.
//! Every problem is reported, not only the first. Nothing here connects to anything.

use std::fmt;
use std::path::PathBuf;

pub mod check;
pub mod cron;
pub mod load;
pub mod mapping_file;
mod read;
mod schema;
pub mod secret;
pub mod settings;
pub mod template;
mod tree;
mod values;

/// One thing that is wrong with the configuration, and what to do about it. Never holds a secret's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or `environment`.
    pub file: PathBuf,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// The dotted key, or the variable's name; empty when the problem has none.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead; empty when the message says it all.
    pub remedy: String,
}

impl Problem {
    /// Whether it is about this key or something inside it, wherever that was written.
    pub fn concerns(&self, key: &str) -> bool {
        let variable = format!("{}{}", tree::PREFIX, key.to_uppercase().replace('.', "__"));
        let inside = |name: &str, outer: &str, mark: &str| {
            name.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(mark))
        };
        inside(&self.key, key, ".") || inside(&self.key, &variable, "__")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Everything that is wrong, in the order of files and lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// In the order in which people read them.
    pub(crate) fn sorted(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (&a.file, a.line, &a.key).cmp(&(&b.file, b.line, &b.key)));
        Self(problems)
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(problem, f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
