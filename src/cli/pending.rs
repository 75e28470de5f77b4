//! A file that is whole at its place, and its owner's alone; or not there. It takes the place of an earlier one of its own
//! kind, and of nothing else: somebody's notes are not written over because their name was given.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::output::{Failure, note};
use crate::beside;

/// How an earlier file of the same kind is known: what every one begins with, in any version. `&[]`: none may stand there.
pub type Ours = &'static [&'static str];

/// A file that takes its place at the end. Dropped before, it leaves nothing.
pub struct Pending {
    path: PathBuf,
    ours: Ours,
    file: BufWriter<NamedTempFile>,
}

impl Pending {
    /// Begins a file. That it cannot be written there is found now.
    pub fn open(path: &Path, ours: Ours) -> Result<Self, Failure> {
        let folder = beside::folder(path);
        if path.is_dir() {
            return Err(failed(path, &"it is a folder; name a file"));
        }
        may_replace(path, ours)?;
        // Made readable for its owner alone.
        let file = tempfile::Builder::new().prefix(".deskferry-").tempfile_in(folder);
        Ok(Self { path: path.to_owned(), ours, file: BufWriter::new(file.map_err(|error| failed(path, &error))?) })
    }

    /// What is said when it cannot be written.
    pub fn failed(&self, error: &dyn Display) -> Failure {
        failed(&self.path, error)
    }

    /// Puts it in its place.
    pub fn finish(self) -> Result<PathBuf, Failure> {
        let Self { path, ours, file } = self;
        let file = file.into_inner().map_err(|error| failed(&path, &error))?;
        file.as_file().sync_all().map_err(|error| failed(&path, &error))?;
        // Somebody may have put theirs there meanwhile.
        if may_replace(&path, ours)? {
            file.persist(&path).map_err(|error| failed(&path, &error.error))?;
            note(format_args!("{} took the place of an earlier one", path.display()));
        } else {
            file.persist_noclobber(&path).map_err(|error| failed(&path, &error.error))?;
        }
        Ok(path)
    }
}

/// Whether an earlier file of this kind stands there; an error where anything else does.
fn may_replace(path: &Path, ours: Ours) -> Result<bool, Failure> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(path, &error)),
        Ok(_) => {}
    }
    let begins = path.metadata().is_ok_and(|found| found.is_file()).then(|| beginning(path, ours)).flatten();
    // Of an empty one nothing is lost.
    let is_ours = |begins: &[u8]| begins.is_empty() || ours.iter().any(|known| begins.starts_with(known.as_bytes()));
    if begins.is_some_and(|begins| is_ours(&begins)) {
        Ok(true)
    } else {
        let what = if ours.is_empty() { "a file" } else { "something else than an earlier one" };
        Err(failed(path, &format_args!("{what} stands there, and is not written over: name another file")))
    }
}

/// As much of a file as says of which kind it is.
fn beginning(path: &Path, ours: Ours) -> Option<Vec<u8>> {
    let longest = ours.iter().map(|known| known.len()).max()?;
    let mut begins = Vec::new();
    File::open(path).ok()?.take(longest as u64).read_to_end(&mut begins).ok()?;
    Some(begins)
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

    const OURS: Ours = &["id,", "other,"];

    #[test]
    fn a_file_is_whole_and_its_owners_alone_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        let mut file = Pending::open(&path, OURS).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let mut file = Pending::open(&path, OURS).unwrap();
        file.write_all(b"whole").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn nothing_is_written_over_but_an_earlier_file_of_the_same_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        for theirs in ["theirs", "ids", "i"] {
            fs::write(&path, theirs).unwrap();
            let failure = Pending::open(&path, OURS).err().unwrap();
            assert!(failure.to_string().contains("name another file"), "{failure}");
            assert_eq!(fs::read_to_string(&path).unwrap(), theirs);
        }
        for ours in ["", "other,list", "id,name of last week"] {
            fs::write(&path, ours).unwrap();
            Pending::open(&path, OURS).unwrap();
        }
        assert!(Pending::open(&path, &[]).is_err(), "where nothing may stand");
        let mut file = Pending::open(&path, OURS).unwrap();
        file.write_all(b"id,name of today").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "id,name of today");
        // What somebody put there while the file was made stays.
        let file = Pending::open(&path, OURS).unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(file.finish().is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert!(Pending::open(folder.path(), OURS).is_err());
        assert!(Pending::open(&folder.path().join("nowhere/list"), OURS).is_err());
        assert!(Pending::open(Path::new("/dev/null"), OURS).is_err());
    }
}
