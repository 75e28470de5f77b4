//! Files beside the state: what they are called, and whose they are.
//!
//! Locks and the shared login lie there. Whatever account makes one, it is for its owner alone and belongs to whom the state
//! belongs to, as SQLite's own files do: what root leaves there must not lock the service out.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// What stands there of a state that is in use, the state itself included.
pub const OWN: [&str; 6] = ["", "-wal", "-shm", ".lock", ".login", ".login-turn"];

/// Links that are followed to a file that is not there yet; what SQLite and the system follow, too.
const LINKS: u32 = 40;

/// Where the state at `path` really is, or would be made: links in the path are followed, one that leads nowhere yet too, so that
/// everybody finds the same lock, login and copies beside it. A path that cannot be followed is given back as it is.
pub fn resolved(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        if let Ok(real) = path.canonicalize() {
            return real;
        }
        let Ok(to) = fs::read_link(&path) else { break };
        path = folder(&path).join(to);
    }
    match (folder(&path).canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// What stands beside `state`, wherever that really is: its whole name with `suffix` behind it.
pub fn path(state: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(resolved(state));
    name.push(suffix);
    PathBuf::from(name)
}

/// The folder that a file lies in, or would.
pub fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Opens the file beside the state to read and write; makes it where there is none.
pub fn open(state: &Path, suffix: &str) -> io::Result<File> {
    open_with(state, suffix, OpenOptions::new().create(true))
}

/// Makes the file beside the state, to read and write; an error where there is one.
pub fn open_new(state: &Path, suffix: &str) -> io::Result<File> {
    open_with(state, suffix, OpenOptions::new().create_new(true))
}

fn open_with(state: &Path, suffix: &str, options: &mut OpenOptions) -> io::Result<File> {
    let path = path(state, suffix);
    // Nothing is written to where somebody's link leads.
    if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let file = options.read(true).write(true).truncate(false).mode(0o600).open(&path)?;
    follow_owner(&file, state);
    Ok(file)
}

/// Whether the file that stands there is this one: somebody may have taken it away, or put another in its place.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (ours, found) = (file.metadata()?, fs::metadata(path)?);
    Ok((ours.dev(), ours.ino()) == (found.dev(), found.ino()))
}

/// Gives the file to whom the state belongs to, or its folder where there is no state yet. Only root may; for everybody else
/// it stays as it is.
fn follow_owner(file: &File, state: &Path) {
    let Ok(owner) = fs::metadata(state).or_else(|_| fs::metadata(folder(state))) else { return };
    // One with a second name may be anybody's.
    if file.metadata().is_ok_and(|found| found.uid() != owner.uid() && found.nlink() == 1) {
        let _stays_ours = fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.db");
        let file = open(&state, ".lock").unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(folder.path().join("victim"), "theirs").unwrap();
        std::os::unix::fs::symlink(folder.path().join("victim"), path(&state, ".login")).unwrap();
        assert!(open(&state, ".login").is_err());
    }

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_state() {
        const SERVICE: u32 = 65_534;
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.db");
        fs::write(&state, "").unwrap();
        // Only root can play both parts; for others there is nothing to be given away.
        let is_root = chown(&state, Some(SERVICE), Some(SERVICE)).is_ok();
        let before = fs::metadata(&state).unwrap();
        let made = open(&state, ".login").unwrap().metadata().unwrap();
        assert_eq!((made.uid(), made.uid() == SERVICE), (before.uid(), is_root));
        // One that an earlier version left is given back by whoever opens it next.
        fs::write(path(&state, ".lock"), "root's").unwrap();
        assert_eq!(open(&state, ".lock").unwrap().metadata().unwrap().uid(), before.uid());
        // Before there is a state, the folder says whose it is going to be.
        if is_root {
            chown(folder.path(), Some(SERVICE), Some(SERVICE)).unwrap();
            assert_eq!(open(&folder.path().join("next.db"), ".lock").unwrap().metadata().unwrap().uid(), SERVICE);
        }
        // A second name of somebody else's file is not given away.
        fs::write(folder.path().join("roots"), "").unwrap();
        fs::hard_link(folder.path().join("roots"), path(&state, ".other")).unwrap();
        let mine = fs::metadata(folder.path().join("roots")).unwrap().uid();
        assert_eq!(open(&state, ".other").unwrap().metadata().unwrap().uid(), mine);
    }
}
