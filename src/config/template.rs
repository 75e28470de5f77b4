//! The files that `deskferry init` writes: the commented samples of this repository, word for word.
//!
//! An existing file is never touched, not even an empty one.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The sample configuration.
pub const SETTINGS: &str = include_str!("../../config/deskferry.toml");

/// The sample mapping.
pub const MAPPING: &str = include_str!("../../config/mapping.toml");

/// A sample could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct TemplateError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// Writes the samples into `folder`, creating it where needed. Returns the files written; those that existed
/// are left as they are and not named. The settings may come to hold secrets: only their owner can read them.
pub fn write(folder: &Path) -> Result<Vec<PathBuf>, TemplateError> {
    std::fs::create_dir_all(folder).map_err(|source| TemplateError { path: folder.to_owned(), source })?;
    let mut written = Vec::new();
    for (name, text, mode) in [("deskferry.toml", SETTINGS, 0o600), ("mapping.toml", MAPPING, 0o644)] {
        let path = folder.join(name);
        match create(&path, text, mode) {
            Ok(()) => written.push(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(TemplateError { path, source }),
        }
    }
    Ok(written)
}

/// Writes a file that must not be there yet, with these permissions.
pub fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)?.write_all(text.as_bytes())
}
