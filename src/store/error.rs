//! What can go wrong with the state, in words that say what to do.
//!
//! Every variant can be cloned, because one failed commit answers many callers. SQLite's own messages name
//! tables and columns, never values, so they may be shown.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Which account a state was bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The source.
    LiveDesk,
    /// The target.
    FirstLine,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::LiveDesk => "LiveDesk",
            Self::FirstLine => "FIRST LINE",
        })
    }
}

/// A failure of the state.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process writes to this state.
    #[error("the state {} is in use by {holder}; stop it first, or wait until it is done (a service is asked for a run by POST /api/runs)", .path.display())]
    Locked {
        /// The state file.
        path: PathBuf,
        /// Process id, command and since when, as far as known.
        holder: String,
    },
    /// The file of the lock was deleted, and somebody else may have written since.
    #[error(
        "the lock of the state {} was deleted or replaced under the process that held it, and another one may have written \
         since: nothing more is written; start this process again, and leave the .lock file where it is", .path.display()
    )]
    Displaced {
        /// The state file.
        path: PathBuf,
    },
    /// Nothing to read there.
    #[error("there is no state file {} yet; a backfill makes one (check [state] path if there should be)", .path.display())]
    Missing {
        /// The state file.
        path: PathBuf,
    },
    /// The file, or one beside it, could not be made, opened or written for reasons of the file system.
    #[error(
        "the state {} cannot be opened for writing; check that its folder exists and that this user may write to \
         the folder and the file", .path.display()
    )]
    NotWritable {
        /// The state file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The file could not be opened for reading.
    #[error("the state {} cannot be opened; check that it is a file and that this user may read it", .path.display())]
    NotReadable {
        /// The state file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A database, but of another program.
    #[error("{} is a database of another program; check [state] path", .path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// Written by a later version of this program.
    #[error(
        "the state {} has version {found}, this program knows versions up to {known}; use the newer deskferry \
         that wrote it", .path.display()
    )]
    Newer {
        /// The state file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest version known.
        known: i64,
    },
    /// Written by an earlier version, and opened only for reading.
    #[error(
        "the state {} has the older version {found} of {known}; run `deskferry state check`, or any command that \
         writes, to bring it up to date", .path.display()
    )]
    Older {
        /// The state file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version needed.
        known: i64,
    },
    /// Not a database at all, or a damaged one.
    #[error(
        "the state {} is damaged or no state file: {problem}; move it away together with its -wal and -shm files and \
         run `deskferry state rebuild`, which finds the links again from the stamps in FIRST LINE", .path.display()
    )]
    Corrupt {
        /// The state file.
        path: PathBuf,
        /// What the check found.
        problem: String,
    },
    /// No room left. The transaction was rolled back.
    #[error(
        "the disk that holds the state {} is full; nothing that was recorded is lost: free some space and run the \
         same command again", .path.display()
    )]
    DiskFull {
        /// The state file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// The system failed to read or write.
    #[error("the state {} could not be read or written; check the disk, then run the same command again", .path.display())]
    Io {
        /// The state file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The state belongs to another account.
    #[error(
        "the state was made for the {side} account {bound}, not for {given}; use another [state] path, or the \
         credentials that it was made with"
    )]
    OtherAccount {
        /// Which side differs.
        side: Side,
        /// What the state was made with.
        bound: String,
        /// What the configuration gives now.
        given: String,
    },
    /// A rule of the schema refused one write (for example: a target that is linked to another contact). Only the
    /// call that broke it fails.
    #[error("the state refuses the write")]
    Refused {
        /// The cause.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// A stored value does not have the form that this program writes.
    #[error("the state holds an unexpected value in {place}")]
    Unexpected {
        /// Table and column.
        place: &'static str,
    },
    /// There is something where a copy was to go.
    #[error("{} exists already, and nothing is written over it; name another file", .path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// A copy of the state that is not what it was made from.
    #[error("the copy {} is not sound ({problem}) and was removed; check the disk that it was written to", .path.display())]
    BadCopy {
        /// The copy.
        path: PathBuf,
        /// What the check found.
        problem: String,
    },
    /// The store was opened for reading, or its writer has ended.
    #[error("the state is not open for writing")]
    NotWriting,
    /// The store was closed.
    #[error("the state is closed")]
    Closed,
    /// Anything else that SQLite says.
    #[error("the state could not be used")]
    Sql {
        /// The cause.
        #[source]
        source: Arc<sqlx::Error>,
    },
}

/// Result codes of SQLite (sqlite.org/rescode.html).
mod code {
    pub(super) const READONLY: i32 = 8;
    pub(super) const IOERR: i32 = 10;
    /// The -shm file could not grow: how a full disk shows when it is full before the first write.
    pub(super) const IOERR_SHMSIZE: i32 = 0x130a;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const NOTADB: i32 = 26;
}

impl StoreError {
    /// Whether it may pass by itself: another process ends, somebody frees space.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::DiskFull { .. } | Self::Io { .. })
    }

    /// What a failure of SQLite means for the state at `path`.
    pub(super) fn from_sql(path: &std::path::Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        let extended = source
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .and_then(|code| code.parse::<i32>().ok());
        if extended == Some(code::IOERR_SHMSIZE) {
            return Self::DiskFull { path, source: Arc::new(source) };
        }
        match extended.map(|extended| extended & 0xff) {
            Some(code::FULL) => Self::DiskFull { path, source: Arc::new(source) },
            Some(code::CORRUPT | code::NOTADB) => Self::Corrupt { path, problem: source.to_string() },
            Some(code::READONLY) => Self::NotWritable { path, source: Arc::new(source) },
            Some(code::CANTOPEN) => Self::NotReadable { path, source: Arc::new(source) },
            Some(code::IOERR) => Self::Io { path, source: Arc::new(source) },
            Some(code::CONSTRAINT) => Self::Refused { source: Arc::new(source) },
            _ => Self::Sql { source: Arc::new(source) },
        }
    }

    /// What a failure to make or open a file beside or at `path` means.
    pub(super) fn from_io(path: &std::path::Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source: Arc::new(sqlx::Error::Io(source)) }
            }
            _ => Self::NotWritable { path, source: Arc::new(source) },
        }
    }
}
