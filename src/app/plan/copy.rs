//! A copy of the state to plan on: in a folder of its own beside the state, gone when the plan is made.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::store::{Access, Store, StoreError};

/// What a folder's name begins with, behind the name of the state; the process that made it follows.
pub const MARK: &str = ".plan-";

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder.
    #[error("the folder {folder} for a copy of the state cannot be made")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The folder with the copy. Removed when it is dropped; one that a killed process left is removed by the next plan.
#[derive(Debug)]
pub struct Copy {
    folder: PathBuf,
}

impl Copy {
    /// Copies the state at `path`. Nothing is changed there, and whoever writes to it goes on.
    pub async fn of(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, CopyError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        remove_left_overs(path);
        let folder = path.with_file_name(format!("{name}{MARK}{}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|source| CopyError::Folder { folder: folder.clone(), source })?;
        let copy = Self { folder };
        let store = Store::open(path, Access::ReadOnly, clock).await?;
        let result = store.copy_to(&copy.state()).await;
        store.close().await;
        result?;
        Ok(copy)
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

/// Removes what killed processes left: folders of processes that are no more.
pub fn remove_left_overs(path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let Ok(entries) = fs::read_dir(beside) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        let process = found.strip_prefix(&*name).and_then(|rest| rest.strip_prefix(MARK));
        let Some(process) = process.and_then(|process| process.parse::<u32>().ok()) else { continue };
        let alive = process != std::process::id() && Path::new(&format!("/proc/{process}")).exists();
        if !alive {
            let _next_time = fs::remove_dir_all(entry.path());
        }
    }
}
