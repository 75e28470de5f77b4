//! A copy of the state to plan on: in a folder of its own beside the state, gone when the plan is made.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::store::{Access, Store, StoreError, resolved};

/// What a folder's name begins with, behind the name of the state; letters that no other has follow.
pub const MARK: &str = ".plan-";
/// The file in it that whoever works there has locked.
const LOCK: &str = "lock";

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
        let copy = Self::empty(&resolved(path))?;
        let store = Store::open(path, Access::ReadOnly, clock).await?;
        let result = store.copy_to(&copy.state()).await;
        store.close().await;
        result?;
        Ok(copy)
    }

    /// A folder that nobody else has.
    fn empty(path: &Path) -> Result<Self, CopyError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = folder_of(path);
        let failed = |source| CopyError::Folder { beside: beside.to_owned(), source };
        loop {
            let made = tempfile::Builder::new()
                .prefix(&format!("{name}{MARK}"))
                .permissions(Permissions::from_mode(0o700))
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

/// Removes what killed processes left: folders that nobody has locked.
pub fn remove_left_overs(path: &Path) {
    let path = &resolved(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Ok(entries) = fs::read_dir(folder_of(path)) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = found.strip_prefix(&*name).and_then(|rest| rest.strip_prefix(MARK)) else { continue };
        // Earlier versions named them by the process alone. What else has such a name is somebody's own.
        let is_ours = entry.path().join(LOCK).exists() || rest.bytes().all(|byte| byte.is_ascii_digit());
        if is_ours && let Ok(Some(_lock)) = lock(&entry.path()) {
            let _next_time = fs::remove_dir_all(entry.path());
        }
    }
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
    let is_there = fs::metadata(&path).is_ok_and(|found| file.metadata().is_ok_and(|ours| ours.ino() == found.ino()));
    Ok(is_there.then_some(file))
}

/// The folder that the state lies in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
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
        for name in ["state.db.plan-1", "state.db.plan-x7", "other.db.plan-1"] {
            fs::create_dir(of(name)).unwrap();
            fs::write(of(name).join("state.db"), "half").unwrap();
        }
        fs::write(of("state.db.plan-x7").join("lock"), "").unwrap();
        fs::write(of("state.db.plan-notes"), "a person's").unwrap();
        fs::create_dir(of("state.db.plan-monday")).unwrap();
        remove_left_overs(&path);
        let left = |name: &str| of(name).exists();
        assert!(!left("state.db.plan-1") && !left("state.db.plan-x7"));
        assert!(left("other.db.plan-1") && left("state.db.plan-notes") && left("state.db.plan-monday"));
    }
}
