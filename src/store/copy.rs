//! A copy of the state as it is at one moment, taken while others write: what `state backup` makes, what is put beside
//! the state before a migration, and what a run on trial works on.
//!
//! SQLite reads within one transaction, so the copy is of one moment; it holds what the state holds, the key of its hashes
//! included, and is its owner's alone from its first byte on. It is whole at its place, or not there.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::Store;
use super::error::StoreError;
use super::lock::beside;
use super::open::{APPLICATION_ID, options};

/// Suffix of a copy before a migration that is not whole yet.
pub(super) const BACKUP_PART: &str = ".backup-part";
/// Suffix of any other copy that is not whole yet.
const PART: &str = ".part";

impl Store {
    /// Copies the state to `path`, where nothing may be, and checks the copy. Works while another process writes.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(StoreError::Exists { path: path.to_owned() });
        }
        let part = beside(path, PART);
        let made = self.copy_by_way_of(&part, path).await;
        if made.is_err() {
            let _was_not_made = fs::remove_file(&part);
        }
        made
    }

    async fn copy_by_way_of(&self, part: &Path, path: &Path) -> Result<(), StoreError> {
        write_copy(&mut *self.reader().await?, part).await?;
        check_copy(part).await?;
        put_in_place(part, path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Exists { path: path.to_owned() },
            _ => StoreError::from_io(path, source),
        })
    }
}

/// Writes what `conn` sees to the new file `part`, down to the disk. What an earlier try left there is replaced.
pub(super) async fn write_copy(conn: &mut SqliteConnection, part: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::from_io(part, source);
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    // VACUUM takes an empty file as it is, so the copy is its owner's alone from its first byte on.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part).map_err(failed)?;
    let name = part.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
    let copied = sqlx::query("VACUUM INTO ?1").bind(name).execute(conn).await;
    copied.map_err(|source| StoreError::from_sql(part, source))?;
    file.sync_all().map_err(failed)
}

/// Reads the copy from end to end.
async fn check_copy(part: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::from_sql(part, source);
    let bad = |problem: String| StoreError::BadCopy { path: part.to_owned(), problem };
    let mut conn = options(part).read_only(true).connect().await.map_err(failed)?;
    let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut conn).await.map_err(failed)?;
    if application != APPLICATION_ID {
        return Err(bad(String::from("it lacks the mark of a state")));
    }
    let complaints: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_all(&mut conn).await.map_err(failed)?;
    conn.close().await.map_err(failed)?;
    match complaints.into_iter().find(|line| line != "ok") {
        Some(complaint) => Err(bad(complaint.split_whitespace().collect::<Vec<_>>().join(" "))),
        None => Ok(()),
    }
}

/// Gives the file its name, never over another file, and writes that down to the disk too.
pub(super) fn put_in_place(part: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(part, path) {
        Ok(()) => fs::remove_file(part)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // A file system without hard links.
        Err(_) if fs::symlink_metadata(path).is_ok() => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(part, path)?,
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}
