//! A whole copy of the state, taken while others read and write it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sqlx::SqliteConnection;

use super::Store;
use super::error::StoreError;

impl Store {
    /// Copies the state as it is at one moment to `path`, where nothing may be yet. The copy is its owner's alone. Whoever
    /// writes to the state meanwhile is not held up.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        copy_database(&mut *self.reader().await?, path).await
    }
}

/// Copies the database of a connection to a file that is made for it.
pub(super) async fn copy_database(conn: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::from_io(path, source);
    // VACUUM takes an empty file as it is, so the copy is its owner's alone from its first byte on.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let name = path.to_str().ok_or_else(|| failed(std::io::ErrorKind::InvalidFilename.into()))?;
    sqlx::query("VACUUM INTO ?1")
        .bind(name)
        .execute(conn)
        .await
        .map_err(|source| StoreError::from_sql(path, source))?;
    file.sync_all().map_err(failed)
}
