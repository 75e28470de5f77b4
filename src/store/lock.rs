//! One writer per state file: a lock of the operating system on `<state>.lock`.
//!
//! The kernel frees it when its holder dies, however it dies, so it never expires and is never stale. The text
//! inside the file is for people only: it outlives its writer and says nothing once the lock is free.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

pub(super) use crate::beside::path as beside;
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
    /// Closing the file frees the lock.
    _file: File,
}

impl StateLock {
    /// Takes the lock of the state at `path` for `holder`, or says who has it.
    pub(super) async fn take(path: &Path, holder: &str, since: Timestamp) -> Result<Self, StoreError> {
        let mut file = crate::beside::open(path, LOCK).map_err(|source| StoreError::from_io(path, source))?;
        let mut tries = 0;
        loop {
            tries += 1;
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < TRIES => tokio::time::sleep(PAUSE).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Locked { path: path.to_owned(), holder: describe(&mut file) });
                }
                Err(TryLockError::Error(source)) => return Err(StoreError::from_io(path, source)),
            }
        }
        let since = jiff::Timestamp::from_millisecond(since.0).map_or_else(|_| String::from("?"), |at| at.to_string());
        let text = format!("process {} ({holder}), since {since}\n", std::process::id());
        // On a full disk the text may fail. It is only for people; the lock holds all the same.
        let _described = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
        Ok(Self { _file: file })
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

fn describe(file: &mut File) -> String {
    let mut text = String::new();
    // The holder may be between emptying the file and writing it.
    let read = file.rewind().and_then(|()| file.take(500).read_to_string(&mut text));
    match (read, text.trim()) {
        (Ok(_), text) if !text.is_empty() => text.to_owned(),
        _ => String::from("another process"),
    }
}
