//! The one connection that writes, and group commit.
//!
//! Calls that arrive while a commit is under way share the next transaction, so that many workers share one fsync.
//! Within a group, writes are batched by kind ([`super::op::arrange`]). A group fails as a whole and nothing of it
//! is applied; only when a rule of the schema refused it are its calls tried one by one, so that a call that breaks
//! a rule fails alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::clock::{Clock, Timestamp};

use super::error::StoreError;
use super::lock::StateLock;
use super::op::{WriteOp, arrange};
use super::rows::Statement;
use super::{absence, checkpoints, conflicts, dead_letters, index, intents, journal, links, runs};

/// How long a crowded writer waits for company: less than a request over the internet takes, and far fewer commits, which cost more
/// than what is in them. Measured at 20 ms latency and 32 requests at once: 3 ms 0.27 s of CPU per 1,000 contacts, 10 ms
/// 0.21, 15 ms 0.20, 20 ms 0.19 but a tenth slower.
const LINGER: Duration = Duration::from_millis(15);

/// Writes in one transaction at most. It bounds memory and the time that a waiting task may have to wait.
const OPS_AT_ONCE: usize = 4096;

/// Work on the writing connection that is no [`WriteOp`].
pub(super) type Task = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, ()> + Send>;

/// What the writer is asked.
pub(super) enum Message {
    /// A call of [`super::Store::write`].
    Write(Request),
    /// Other work, in a transaction of its own.
    Task(Task, Arc<StateLock>),
    /// Close the connection.
    Close,
}

/// A call of [`super::Store::write`].
pub(super) struct Request {
    /// Its writes.
    pub(super) ops: Vec<WriteOp>,
    /// Where the answer goes.
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
    /// Nobody else may write while this is under way, even when every handle of the store is gone.
    pub(super) _lock: Arc<StateLock>,
}

/// The writer: owns the connection, runs as one task until the last handle of the store is gone.
pub(super) struct Writer {
    pub(super) conn: SqliteConnection,
    pub(super) path: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) commits: Arc<AtomicU64>,
}

impl Writer {
    /// Serves until the inbox closes.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut put_back = None;
        let mut crowded = false;
        loop {
            let message = match put_back.take() {
                Some(message) => Some(message),
                None => inbox.recv().await,
            };
            match message {
                Some(Message::Write(first)) => {
                    let mut group = vec![first];
                    put_back = gather(&mut inbox, &mut group, crowded).await;
                    crowded = group.len() > 1;
                    self.commit(group).await;
                }
                Some(Message::Task(task, _lock)) => task(&mut self.conn).await,
                Some(Message::Close) | None => break,
            }
        }
        // A failure to close leaves the write-ahead log, which the next open reads.
        let _closed = self.conn.close().await;
    }

    async fn commit(&mut self, group: Vec<Request>) {
        let ops: Vec<&WriteOp> = group.iter().flat_map(|request| &request.ops).collect();
        let result = self.apply(&ops).await;
        if matches!(result, Err(StoreError::Refused { .. })) && group.len() > 1 {
            for request in group {
                let ops: Vec<&WriteOp> = request.ops.iter().collect();
                let result = self.apply(&ops).await;
                let _caller_left = request.done.send(result);
            }
            return;
        }
        for request in group {
            let _caller_left = request.done.send(result.clone());
        }
    }

    /// One transaction.
    async fn apply(&mut self, ops: &[&WriteOp]) -> Result<(), StoreError> {
        let now = self.clock.now();
        let statements: Vec<Statement> = arrange(ops).iter().filter_map(|kind| statement(kind, now)).collect();
        let done = execute_together(&mut self.conn, statements).await;
        done.map_err(|source| StoreError::from_sql(&self.path, source))?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Adds the calls that wait already; gives back the first message that is no such call.
async fn gather(inbox: &mut mpsc::Receiver<Message>, group: &mut Vec<Request>, crowded: bool) -> Option<Message> {
    if crowded {
        // Where many write at once more are about to: they share this fsync then.
        tokio::time::sleep(LINGER).await;
    } else {
        tokio::task::yield_now().await;
    }
    let mut ops = group.iter().map(|request| request.ops.len()).sum::<usize>();
    while ops < OPS_AT_ONCE {
        match inbox.try_recv() {
            Ok(Message::Write(request)) => {
                ops += request.ops.len();
                group.push(request);
            }
            Ok(other) => return Some(other),
            Err(_) => break,
        }
    }
    None
}

// Transactions are plain statements: SQLite ends a transaction by itself when the disk is full, and sqlx's own
// `Transaction` counts its depth without noticing, after which no further one can begin.

/// Begins a transaction that writes.
pub(super) async fn begin(conn: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("BEGIN IMMEDIATE").execute(conn).await?;
    Ok(())
}

/// Commits when `result` is good and the commit succeeds; rolls back otherwise.
pub(super) async fn end<T>(conn: &mut SqliteConnection, result: sqlx::Result<T>) -> sqlx::Result<T> {
    let result = match result {
        Ok(value) => sqlx::query("COMMIT").execute(&mut *conn).await.map(|_| value),
        Err(source) => Err(source),
    };
    if result.is_err() {
        roll_back(conn).await;
    }
    result
}

async fn roll_back(conn: &mut SqliteConnection) {
    // Fails when SQLite has rolled back already; then there is nothing left to undo.
    let _rolled_back = sqlx::query("ROLLBACK").execute(conn).await;
}

/// Executes all of them or none.
///
/// Each is prepared once and kept: as one text of all they would be prepared, and kept, for each combination of kinds.
async fn execute_together(conn: &mut SqliteConnection, statements: Vec<Statement>) -> sqlx::Result<()> {
    // One statement is a transaction by itself.
    let alone = statements.len() == 1;
    if !alone {
        begin(conn).await?;
    }
    let mut done = Ok(());
    for statement in statements {
        done = execute(conn, statement).await;
        if done.is_err() {
            break;
        }
    }
    if alone { done } else { end(conn, done).await }
}

async fn execute(conn: &mut SqliteConnection, statement: Statement) -> sqlx::Result<()> {
    let query = sqlx::query(statement.sql);
    let query = match statement.bytes {
        Some(bytes) => query.bind(bytes).bind(statement.rows),
        None => query.bind(statement.rows),
    };
    query.execute(conn).await.map(|_| ())
}

/// Writes of one kind as one statement.
fn statement(ops: &[&WriteOp], now: Timestamp) -> Option<Statement> {
    Some(match ops.first()? {
        WriteOp::OpenIntent(_) => intents::open(ops),
        WriteOp::ParkIntent { .. } => intents::park(ops),
        WriteOp::CloseIntent { .. } => intents::close(ops),
        WriteOp::AbsentIntent { .. } => intents::absent(ops),
        WriteOp::AuditIntent { .. } => intents::audit(ops),
        WriteOp::PutLink(_) => links::put(ops),
        WriteOp::RemoveLink(_) => links::remove(ops),
        WriteOp::PutChild(_) => links::put_child(ops),
        WriteOp::RemoveChild { .. } => links::remove_child(ops),
        WriteOp::PutAbsence(_) => absence::put(ops),
        WriteOp::ClearAbsence(_) => absence::clear(ops),
        WriteOp::Journal(_) => journal::add(ops),
        WriteOp::TakenBack { .. } => journal::take_back(ops),
        WriteOp::NotDone { .. } => journal::not_done(ops),
        WriteOp::PutDeadLetter(_) => dead_letters::put(ops),
        WriteOp::ClearDeadLetter(_) => dead_letters::clear(ops),
        WriteOp::PutConflict(_) => conflicts::put(ops),
        WriteOp::ClearConflict(_) => conflicts::clear(ops),
        WriteOp::DecisionCarried { .. } => conflicts::carried(ops),
        WriteOp::Sight { .. } => checkpoints::sight(ops),
        WriteOp::Checkpoint { .. } => checkpoints::checkpoint(ops, now),
        WriteOp::IndexAdd { .. } => index::add(ops),
        WriteOp::CountRun { .. } => runs::count(ops),
    })
}
