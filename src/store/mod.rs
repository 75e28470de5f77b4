//! The state: one SQLite file that holds everything which must survive (design, section 5).
//!
//! The only module that speaks SQL; one file per table or group of tables. Writes of the engine are [`WriteOp`]s,
//! committed together per call and, with other calls, per fsync ([`Store::write`]). Reads use connections of their
//! own and see every write that was acknowledged. No transaction is ever open while a request is under way.

mod absence;
mod account;
mod check;
mod checkpoints;
mod conflicts;
mod copy;
mod dead_letters;
mod decisions;
mod error;
mod export;
mod failures;
mod forget;
mod import;
mod index;
mod intents;
mod journal;
mod lane;
mod links;
mod links_vanished;
mod lock;
mod near;
mod op;
mod open;
mod profile;
mod prune;
mod repair;
mod rows;
mod runs;
mod scratch;
#[cfg(test)]
mod tests;
mod traces;
mod undo;
mod vitals;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use futures::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, OnceCell, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Timestamp};
use crate::domain::hash::HashKey;

pub use absence::{Absence, AbsenceCounts, Deletion, Finding, Mark, ProvenSweep, Seen, Standings};
pub use account::Accounts;
pub use check::{CheckReport, Sizes};
pub use checkpoints::{FinishedSweep, OpenSweep};
pub use conflicts::{Conflict, Decision, Leaving, SHARED, STAMP, TWINS};
pub use dead_letters::DeadLetter;
pub use decisions::{DecisionMade, Made};
pub use error::{Side, StoreError};
pub use export::{ExportError, Exported};
pub use failures::FailureGroup;
pub use forget::{Forgotten, Traced};
pub use import::{ImportError, Inspected, inspect};
pub use index::{IndexKind, IndexState};
pub use intents::{Intent, IntentKind, IntentState};
pub use journal::{JournalEntry, Journalled};
pub use lane::LaneMark;
pub use links::{ChildKind, Link, LinkChild, Origin, Standing};
pub use lock::holder;
pub use op::WriteOp;
pub use open::{Access, MIGRATOR};
pub use profile::UPDATE_TRIAL;
pub use repair::Repaired;
pub use runs::{DIED, Run, RunResult};
pub use scratch::{Note, NotedChild, NotedCustomer, Scratch};
pub use traces::Traces;
pub use undo::{BuiltUpon, Hold, RunTraces};
pub use vitals::{EndedRun, Vitals};

use lock::StateLock;
use writer::{Message, Request, Task};

/// The open state. Clones share it; it is closed when the last one is gone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

struct Inner {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    hash_key: HashKey,
    readers: Readers,
    next_seq: AtomicI64,
    commits: Arc<AtomicU64>,
    /// Whether anybody was ever forgotten; asked once.
    forgets: OnceCell<bool>,
    /// `None` when opened to read.
    write: Option<WriteHalf>,
}

/// Connections that read; `None` once closed. Two, because reads are short and each has a thread of its own.
///
/// No sqlx pool: its waits have time limits on tokio's clock, which a test that pauses that clock would run into.
type Readers = [Mutex<Option<SqliteConnection>>; 2];

/// The way to the writer.
struct WriteHalf {
    outbox: mpsc::Sender<Message>,
    tasks: TaskTracker,
    /// Held by every handle and by every write under way.
    lock: Arc<StateLock>,
}

impl Store {
    /// Commits all of `ops` or none, in their order, and returns when they are on disk.
    ///
    /// Writes about one contact or one intent take effect in the order given, also across calls that share a
    /// transaction. A caller that stops waiting does not stop the write.
    pub async fn write(&self, ops: Vec<WriteOp>) -> Result<(), StoreError> {
        if ops.is_empty() {
            return Ok(());
        }
        let half = self.inner.write.as_ref().ok_or(StoreError::NotWriting)?;
        half.lock.keep()?;
        let (done, answer) = oneshot::channel();
        let request = Request { ops, done, _lock: Arc::clone(&half.lock) };
        half.outbox.send(Message::Write(request)).await.map_err(|_| StoreError::NotWriting)?;
        answer.await.map_err(|_| StoreError::NotWriting)?
    }

    /// The next number for an intent. After a restart it goes on above every number that was ever committed.
    pub fn next_intent_seq(&self) -> i64 {
        self.inner.next_seq.fetch_add(1, Ordering::Relaxed)
    }

    /// Transactions of [`Store::write`] that were committed since the state was opened.
    pub fn commits(&self) -> u64 {
        self.inner.commits.load(Ordering::Relaxed)
    }

    /// Whether no read and no write that was asked for is under way: a test that lives through a month lets the next thing
    /// happen then, so that its order never depends on SQLite's threads.
    pub fn is_idle(&self) -> bool {
        let reads = self.inner.readers.iter().all(|reader| reader.try_lock().is_ok());
        // Every write under way holds the lock, too.
        reads && self.inner.write.as_ref().is_none_or(|half| Arc::strong_count(&half.lock) == 1)
    }

    /// Where the state is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Closes the state in good order: every write that was asked for before is done, the write-ahead log is
    /// folded into the file. Later writes fail. Without it nothing is lost; the next open reads the log.
    pub async fn close(self) {
        // The writer goes last: only a connection that may write folds the log in.
        for reader in &self.inner.readers {
            if let Some(conn) = reader.lock().await.take() {
                let _closed = conn.close().await;
            }
        }
        if let Some(half) = &self.inner.write {
            let _ended_already = half.outbox.send(Message::Close).await;
            half.tasks.wait().await;
        }
    }

    /// Does `work` in a transaction of its own on the writing connection.
    async fn transact<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
    {
        self.on_writer(move |conn| {
            Box::pin(async move {
                match writer::begin(conn).await {
                    Ok(()) => {
                        let result = work(conn).await;
                        writer::end(conn, result).await
                    }
                    Err(source) => Err(source),
                }
            })
        })
        .await?
        .map_err(|source| self.failed(source))
    }

    /// Does `work` on the writing connection, in no transaction.
    async fn on_writer<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, T> + Send + 'static,
    {
        let half = self.inner.write.as_ref().ok_or(StoreError::NotWriting)?;
        half.lock.keep()?;
        let (done, answer) = oneshot::channel();
        let task: Task = Box::new(move |conn| {
            Box::pin(async move {
                let _caller_left = done.send(work(conn).await);
            })
        });
        half.outbox.send(Message::Task(task, Arc::clone(&half.lock))).await.map_err(|_| StoreError::NotWriting)?;
        answer.await.map_err(|_| StoreError::NotWriting)
    }

    /// A connection for one read.
    async fn reader(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, StoreError> {
        let [first, second] = &self.inner.readers;
        let guard = match first.try_lock() {
            Ok(guard) => guard,
            Err(_) => second.lock().await,
        };
        MutexGuard::try_map(guard, Option::as_mut).map_err(|_| StoreError::Closed)
    }

    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    fn failed(&self, source: sqlx::Error) -> StoreError {
        StoreError::from_sql(&self.inner.path, source)
    }
}
