//! A file that is whole at its place, and its owner's alone; or not there.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::output::Failure;

/// A file that takes its place at the end. Dropped before, it leaves nothing.
pub struct Pending {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl Pending {
    /// Begins a file. That it cannot be written there is found now.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.is_dir() {
            return Err(failed(path, &"it is a folder; name a file"));
        }
        // Made readable for its owner alone.
        let file = tempfile::Builder::new().prefix(".deskferry-").tempfile_in(folder);
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file.map_err(|error| failed(path, &error))?) })
    }

    /// What is said when it cannot be written.
    pub fn failed(&self, error: &dyn Display) -> Failure {
        failed(&self.path, error)
    }

    /// Puts it in its place, over what stands there.
    pub fn finish(self) -> Result<PathBuf, Failure> {
        let (path, file) = self.whole()?;
        file.persist(&path).map_err(|error| failed(&path, &error.error))?;
        Ok(path)
    }

    /// Puts it in its place, if nothing stands there.
    pub fn finish_new(self) -> Result<PathBuf, Failure> {
        let (path, file) = self.whole()?;
        file.persist_noclobber(&path).map_err(|error| failed(&path, &error.error))?;
        Ok(path)
    }

    fn whole(self) -> Result<(PathBuf, NamedTempFile), Failure> {
        let path = self.path;
        let file = self.file.into_inner().map_err(|error| failed(&path, &error))?;
        file.as_file().sync_all().map_err(|error| failed(&path, &error))?;
        Ok((path, file))
    }
}

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn failed(path: &Path, error: &dyn Display) -> Failure {
    Failure::new(format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_whole_and_its_owners_alone_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        let mut file = Pending::open(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let mut file = Pending::open(&path).unwrap();
        file.write_all(b"whole").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn nothing_is_written_over_unless_it_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        fs::write(&path, "theirs").unwrap();
        assert!(Pending::open(&path).unwrap().finish_new().is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        Pending::open(&path).unwrap().finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert!(Pending::open(folder.path()).is_err());
        assert!(Pending::open(&folder.path().join("nowhere/list")).is_err());
    }
}
