//! Opening a state file: who may, whether it is ours, sound and of our version, and with which settings.
//!
//! Nothing is changed in a file before it is known to be ours. A crash at any point leaves a file that the next
//! open completes: the file is made empty, each migration is one transaction, the key is one row.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, OnceCell, mpsc};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::hash::HashKey;

use super::copy::{BACKUP_PART, write_copy};
use super::error::StoreError;
use super::lock::{StateLock, beside};
use super::writer::Writer;
use super::{Inner, Readers, Store, WriteHalf};
use crate::beside::resolved;

/// Every migration there is. Forward only; an old one is never edited.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// How a state is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// To write; one process at a time.
    Exclusive {
        /// Who we are, for the person whose second process is refused: the command line without secrets.
        holder: String,
    },
    /// To look. Never waits for a writer and never keeps one waiting.
    ReadOnly,
}

/// `application_id` of our files ("dfer"; set by the first migration).
pub(super) const APPLICATION_ID: i64 = 0x6466_6572;
/// Calls that may wait for the writer before callers are held up.
const WAITING_WRITES: usize = 1024;
/// Only another program's tools (a backup, a person's shell) can hold the database's own lock for longer.
const BUSY: Duration = Duration::from_secs(5);
/// Pages that each of the three connections keeps in memory, in KiB (SQLite: a negative `cache_size`). By default it
/// would be 2 MiB each, filled over a day by a page per run; what is not kept is in the system's cache of the file.
const CACHE: &str = "-64";

/// Settings of the writing connection.
///
/// FULL: a link that is lost in a power cut is a duplicate at the next run. `secure_delete`: a pruned before-image
/// must not stay in the file's free space. Temporary data stays in memory for the same reason.
const WRITER_SETTINGS: [&str; 4] = [
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA journal_size_limit = 67108864",
];

impl Store {
    /// Opens the state file at `path`. With [`Access::Exclusive`] it is made when it is not there (its folder is
    /// not), checked for integrity and brought to the current version.
    ///
    /// To read only does not check the integrity: that would take seconds on a large file at every look.
    pub async fn open(path: &Path, access: Access, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        match access {
            Access::Exclusive { holder } => open_to_write(path, &holder, clock).await,
            Access::ReadOnly => open_to_read(path, clock).await,
        }
    }
}

async fn open_to_write(path: &Path, holder: &str, clock: Arc<dyn Clock>) -> Result<Store, StoreError> {
    if path.is_dir() {
        return Err(StoreError::from_io(path, std::io::ErrorKind::IsADirectory.into()));
    }
    let lock = StateLock::take(path, holder, clock.now()).await?;
    prepare_files(path).map_err(|source| StoreError::from_io(path, source))?;

    let failed = |source| StoreError::from_sql(path, source);
    let mut conn = options(path).connect().await.map_err(failed)?;
    let (known, found) = check_identity(&mut conn, path).await?;
    check_integrity(&mut conn, path).await?;
    if found > 0 && found < known {
        back_up(&mut conn, path, found).await?;
    }
    sqlx::query("PRAGMA journal_mode = WAL").execute(&mut conn).await.map_err(failed)?;
    for setting in WRITER_SETTINGS {
        sqlx::query(setting).execute(&mut conn).await.map_err(failed)?;
    }
    MIGRATOR.run(&mut conn).await.map_err(|source| match source {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => failed(source),
        other => failed(other.into()),
    })?;
    let hash_key = make_account(&mut conn, clock.as_ref()).await.map_err(failed)?;
    let last_seq = sqlx::query_scalar!(r#"SELECT max(seq) AS "seq: i64" FROM sqlite_sequence WHERE name = 'intent'"#)
        .fetch_one(&mut conn)
        .await
        .map_err(failed)?;

    let readers = readers(path).await?;
    let commits = Arc::new(AtomicU64::new(0));
    let (outbox, inbox) = mpsc::channel(WAITING_WRITES);
    let tasks = TaskTracker::new();
    let writer = Writer { conn, path: path.to_owned(), clock: Arc::clone(&clock), commits: Arc::clone(&commits) };
    tasks.spawn(writer.run(inbox));
    tasks.close();
    Ok(Store {
        inner: Arc::new(Inner {
            path: path.to_owned(),
            clock,
            hash_key,
            readers,
            next_seq: AtomicI64::new(last_seq.unwrap_or(0) + 1),
            commits,
            forgets: OnceCell::new(),
            write: Some(WriteHalf { outbox, tasks, lock: Arc::new(lock) }),
        }),
    })
}

async fn open_to_read(path: &Path, clock: Arc<dyn Clock>) -> Result<Store, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    if path.is_dir() {
        let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
        return Err(StoreError::NotReadable { path: path.to_owned(), source: Arc::new(source) });
    }
    let failed = |source| StoreError::from_sql(path, source);
    let mut conn = options(path).read_only(true).connect().await.map_err(failed)?;
    let (known, found) = check_identity(&mut conn, path).await?;
    if found == 0 {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    if found < known {
        return Err(StoreError::Older { path: path.to_owned(), found, known });
    }
    let hash_key = read_key(&mut conn).await.map_err(failed)?;
    conn.close().await.map_err(failed)?;
    Ok(Store {
        inner: Arc::new(Inner {
            path: path.to_owned(),
            clock,
            hash_key: hash_key.ok_or_else(|| StoreError::Missing { path: path.to_owned() })?,
            readers: readers(path).await?,
            next_seq: AtomicI64::new(0),
            commits: Arc::default(),
            forgets: OnceCell::new(),
            write: None,
        }),
    })
}

/// Copies the state to `<state>.backup-v<version>` before it is brought to a newer version. The copy is whole or not
/// there; one of an earlier try is replaced.
async fn back_up(conn: &mut SqliteConnection, path: &Path, version: i64) -> Result<(), StoreError> {
    let (copy, part) = (beside(path, &format!(".backup-v{version}")), beside(path, BACKUP_PART));
    write_copy(conn, &part).await?;
    fs::rename(&part, &copy).map_err(|source| StoreError::from_io(&part, source))?;
    tracing::info!(copy = %copy.display(), version, "the state was copied before it is brought to a newer version");
    Ok(())
}

/// Makes the file when it is not there, sees that we may write it, and shuts others out of it. SQLite gives its
/// -wal and -shm files the mode of the database file.
fn prepare_files(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    for file in ["", "-wal", "-shm", ".lock"].map(|suffix| beside(path, suffix)) {
        match fs::metadata(&file) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                fs::set_permissions(&file, Permissions::from_mode(0o600))?;
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(resolved(path))
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .pragma("cache_size", CACHE)
        .disable_statement_logging()
}

async fn readers(path: &Path) -> Result<Readers, StoreError> {
    let options = options(path).read_only(true);
    let opened = async { sqlx::Result::Ok([options.connect().await?, options.connect().await?]) };
    let opened = opened.await.map_err(|source| StoreError::from_sql(path, source))?;
    Ok(opened.map(|conn| Mutex::new(Some(conn))))
}

/// Whether the file is ours or new, and not newer than we are. Gives the version known and the one found.
async fn check_identity(conn: &mut SqliteConnection, path: &Path) -> Result<(i64, i64), StoreError> {
    let failed = |source| StoreError::from_sql(path, source);
    let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *conn).await.map_err(failed)?;
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *conn)
        .await
        .map_err(failed)?;
    // The migrator makes its own table before the first migration: a kill between the two leaves only that.
    let has_versions = tables.iter().any(|table| table == "_sqlx_migrations");
    let is_new = tables.iter().all(|table| table == "_sqlx_migrations");
    if application != APPLICATION_ID && !(application == 0 && is_new) {
        return Err(StoreError::NotOurs { path: path.to_owned() });
    }
    let found = if has_versions {
        sqlx::query_scalar!(r#"SELECT max(version) AS "version: i64" FROM _sqlx_migrations"#)
            .fetch_one(conn)
            .await
            .map_err(failed)?
            .unwrap_or(0)
    } else {
        0
    };
    let known = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    Ok((known, found))
}

async fn check_integrity(conn: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let complaints: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_all(conn)
        .await
        .map_err(|source| StoreError::from_sql(path, source))?;
    match complaints.into_iter().find(|line| line != "ok") {
        None => Ok(()),
        Some(complaint) => {
            let problem = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
            Err(StoreError::Corrupt { path: path.to_owned(), problem })
        }
    }
}

/// Makes the key of the hashes if there is none yet.
async fn make_account(conn: &mut SqliteConnection, clock: &dyn Clock) -> sqlx::Result<HashKey> {
    let key: [u8; 32] = rand::random();
    let (key, now) = (key.as_slice(), clock.now().0);
    sqlx::query!(
        "INSERT INTO account (id, hash_key, created_at) VALUES (1, ?1, ?2) ON CONFLICT (id) DO NOTHING",
        key,
        now
    )
    .execute(&mut *conn)
    .await?;
    read_key(conn).await?.ok_or(sqlx::Error::RowNotFound)
}

pub(super) async fn read_key(conn: &mut SqliteConnection) -> sqlx::Result<Option<HashKey>> {
    let stored = sqlx::query_scalar!("SELECT hash_key FROM account").fetch_optional(conn).await?;
    // The schema checks the length.
    Ok(stored.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(HashKey::new))
}
