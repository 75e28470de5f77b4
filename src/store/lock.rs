//! One writer per state file: a lock of the operating system on `<state>.lock`.
//!
//! The kernel frees it when its holder dies, however it dies, so it never expires and is never stale. The text
//! inside the file is for people only: it outlives its writer and says nothing once the lock is free. It stands beside
//! the database file itself, whichever links lead there, and who holds it sees before each write that it is still there.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub(super) use crate::beside::path as beside;
use crate::beside::{is_at, open, open_new};
use crate::clock::Timestamp;

use super::error::StoreError;

/// Behind the name of the state.
const LOCK: &str = ".lock";
/// [`holder`] has the lock for a moment when it looks; a writer must not be refused because of that.
const TRIES: u32 = 4;
/// Between two tries; a look takes microseconds.
const PAUSE: Duration = Duration::from_millis(5);

/// Held while this value lives.
#[derive(Debug)]
pub(super) struct StateLock {
    /// The state, as a person wrote it.
    path: PathBuf,
    /// The file of the lock.
    at: PathBuf,
    /// What it says of us.
    text: String,
    /// Closing the file frees the lock.
    file: Mutex<File>,
}

impl StateLock {
    /// Takes the lock of the state at `path` for `holder`, or says who has it.
    pub(super) async fn take(path: &Path, holder: &str, since: Timestamp) -> Result<Self, StoreError> {
        let failed = |source| StoreError::from_io(path, source);
        let at = beside(path, LOCK);
        let mut tries = 0;
        let mut file = loop {
            tries += 1;
            let mut file = open(path, LOCK).map_err(failed)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &at).unwrap_or(false) => break file,
                // Somebody took it away meanwhile: another one would not meet this lock.
                Ok(()) if tries < TRIES => {}
                Err(TryLockError::WouldBlock) if tries < TRIES => tokio::time::sleep(PAUSE).await,
                Ok(()) => return Err(StoreError::Displaced { path: path.to_owned() }),
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Locked { path: path.to_owned(), holder: describe(&mut file) });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        };
        let since = jiff::Timestamp::from_millisecond(since.0).map_or_else(|_| String::from("?"), |at| at.to_string());
        let text = format!("process {} ({holder}), since {since}\n", std::process::id());
        sign(&mut file, &text);
        Ok(Self { path: path.to_owned(), at, text, file: Mutex::new(file) })
    }

    /// Sees that the lock still stands where others look for it. One that was deleted is put back, if nobody was there
    /// since; whoever was has left a file of its own, and then nothing is written any more: what this process knows of the
    /// state may be old.
    pub(super) fn keep(&self) -> Result<(), StoreError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let displaced = || StoreError::Displaced { path: self.path.clone() };
        match is_at(&file, &self.at) {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(displaced()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::from_io(&self.path, error)),
        }
        let mut again = match open_new(&self.path, LOCK) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(displaced()),
            Err(error) => return Err(StoreError::from_io(&self.path, error)),
        };
        again.try_lock().map_err(|_| displaced())?;
        sign(&mut again, &self.text);
        *file = again;
        drop(file);
        tracing::warn!(lock = %self.at.display(), "the lock of the state was deleted; it was put back");
        Ok(())
    }
}

/// Who writes to the state at `path` now, in words; `None` when nobody does.
pub fn holder(path: &Path) -> Option<String> {
    let mut file = File::open(beside(path, LOCK)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(describe(&mut file)),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// On a full disk the text may fail. It is only for people; the lock holds all the same.
fn sign(file: &mut File, text: &str) {
    let _signed = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
}

fn describe(file: &mut File) -> String {
    let mut text = String::new();
    // The holder may be between emptying the file and writing it.
    let read = file.rewind().and_then(|()| file.take(500).read_to_string(&mut text));
    match (read, text.trim()) {
        (Ok(_), text) if !text.is_empty() => text.to_owned(),
        _ => String::from("another process"),
    }
}
