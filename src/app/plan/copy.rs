//! A copy of the state to plan on: in a folder of its own beside the state, gone when the plan is made.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::beside;
use crate::clock::Clock;
use crate::store::{Access, Store, StoreError};

/// What a folder's name begins with, behind the name of the state; letters that no other has follow.
pub const MARK: &str = ".plan-";
/// How many letters: more than a person's word or date has.
const LETTERS: usize = 12;
/// The file in it that whoever works there has locked.
const LOCK: &str = "lock";
/// Nobody else looks into it.
const MODE: u32 = 0o700;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder.
    #[error("a folder for a copy of the state cannot be made in {beside}")]
    Folder {
        /// Where.
        beside: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The folder with the copy. Removed when it is dropped; one that a killed process left is removed by the next plan.
#[derive(Debug)]
pub struct Copy {
    folder: PathBuf,
    /// Held as long as the folder is used. The kernel frees it, however the process ends: a number of a process says nothing
    /// where each command has a container of its own.
    _lock: File,
}

impl Copy {
    /// Copies the state at `path`. Nothing is changed there, and whoever writes to it goes on.
    pub async fn of(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, CopyError> {
        remove_left_overs(path);
        let copy = Self::empty(&beside::resolved(path))?;
        let store = Store::open(path, Access::ReadOnly, clock).await?;
        let result = store.copy_to(&copy.state()).await;
        store.close().await;
        result?;
        Ok(copy)
    }

    /// A folder that nobody else has.
    fn empty(path: &Path) -> Result<Self, CopyError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = beside::folder(path);
        let failed = |source| CopyError::Folder { beside: beside.to_owned(), source };
        loop {
            let made = tempfile::Builder::new()
                .prefix(&format!("{name}{MARK}"))
                .rand_bytes(LETTERS)
                .permissions(Permissions::from_mode(MODE))
                .tempdir_in(beside);
            let folder = made.map_err(failed)?;
            // Before it is locked it looks like a left-over: somebody may be removing it.
            match lock(folder.path()) {
                Ok(Some(lock)) => return Ok(Self { folder: folder.keep(), _lock: lock }),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// The copied state.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state.db")
    }

    /// Where lines wait until the plan is whole.
    pub fn lines(&self) -> PathBuf {
        self.folder.join("lines")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "the copy of the state could not be removed");
        }
    }
}

/// Removes what killed processes left: folders with a lock that nobody holds, and those that had none yet, with nothing in
/// them. What else has such a name is somebody's own.
pub fn remove_left_overs(path: &Path) {
    let path = &beside::resolved(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Ok(entries) = fs::read_dir(beside::folder(path)) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = found.strip_prefix(&*name).and_then(|rest| rest.strip_prefix(MARK)) else { continue };
        let folder = entry.path();
        if folder.join(LOCK).exists() {
            if let Ok(Some(_lock)) = lock(&folder) {
                let _next_time = fs::remove_dir_all(&folder);
            }
        } else if is_as_made(rest, &folder) {
            // Nothing goes that holds anything; whoever is about to lock it makes another.
            let _is_in_use = fs::remove_dir(&folder);
        }
    }
}

/// Whether a folder is called as ours are and is closed to others, as no person makes one.
fn is_as_made(letters: &str, folder: &Path) -> bool {
    letters.len() == LETTERS
        && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && found.mode() & 0o777 == MODE)
}

/// The lock of a folder; `None` where somebody has it, or has removed the folder with it.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let is_there = beside::is_at(&file, &path).unwrap_or(false);
    Ok(is_there.then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn a_second_look_leaves_the_copy_of_the_first_alone_whatever_its_process_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let access = Access::Exclusive { holder: String::from("a test") };
        Store::open(&path, access, Arc::new(SystemClock)).await.unwrap().close().await;
        // Every first process of a container has the same number, as these two have.
        let first = Copy::of(&path, Arc::new(SystemClock)).await.unwrap();
        let second = Copy::of(&path, Arc::new(SystemClock)).await.unwrap();
        remove_left_overs(&path);
        assert!(first.state().exists() && second.state().exists());
        assert_ne!(first.state(), second.state());
        drop(first);
        assert!(second.state().exists());
        drop(second);
        let named: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(named.iter().all(|name| !name.to_string_lossy().contains(".plan-")), "{named:?}");
    }

    #[test]
    fn what_killed_processes_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let of = |name: &str| folder.path().join(name);
        for name in ["state.db.plan-1", "state.db.plan-x7", "other.db.plan-1", "state.db.plan-20261123"] {
            fs::create_dir(of(name)).unwrap();
            fs::write(of(name).join("state.db"), "half").unwrap();
        }
        for name in ["state.db.plan-1", "state.db.plan-x7"] {
            fs::write(of(name).join("lock"), "").unwrap();
        }
        // Killed before it had locked its folder.
        let early = tempfile::Builder::new()
            .prefix("state.db.plan-")
            .rand_bytes(12)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&folder)
            .unwrap()
            .keep();
        fs::write(of("state.db.plan-notes"), "a person's").unwrap();
        fs::create_dir(of("state.db.plan-monday")).unwrap();
        remove_left_overs(&path);
        let left = |name: &str| of(name).exists();
        assert!(!left("state.db.plan-1") && !left("state.db.plan-x7") && !early.exists());
        assert!(left("state.db.plan-20261123"), "a person's own copy");
        assert!(left("other.db.plan-1") && left("state.db.plan-notes") && left("state.db.plan-monday"));
    }
}
