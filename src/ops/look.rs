//! All facts at one moment: the board, the state's numbers and the disk. What metrics, readiness and alarms judge.
//!
//! A state or a disk that does not answer in time leaves its part out; nobody who looks is kept waiting for it, and
//! however many look at once, the state is asked once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::clock::{Clock, Timestamp};
use crate::store::{Store, Vitals};

use super::board::{Board, Snapshot};
use super::disk;

/// A scraper gives up after ten seconds; the rest of the answer is to reach it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When.
    pub now: Option<Timestamp>,
    /// The board.
    pub board: Snapshot,
    /// Numbers of the state; `None` when it could not be read in time.
    pub vitals: Option<Vitals>,
    /// Bytes of the state's files.
    pub state_bytes: Option<u64>,
    /// Bytes that are free on their disk.
    pub disk_free: Option<u64>,
}

/// Looks.
pub struct Looker {
    store: Store,
    path: PathBuf,
    board: Board,
    clock: Arc<dyn Clock>,
    /// One look at a time: those who come meanwhile wait for their turn, and no longer than [`PATIENCE`].
    turn: Mutex<()>,
}

impl Looker {
    /// Looks at these.
    pub fn new(store: Store, board: Board, clock: Arc<dyn Clock>) -> Self {
        let path = store.path().to_owned();
        Self { store, path, board, clock, turn: Mutex::new(()) }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The facts of now.
    pub async fn look(&self) -> Facts {
        let mut facts = Facts { now: Some(self.now()), board: self.board.snapshot(), ..Facts::default() };
        let seen = timeout(PATIENCE, async {
            let _turn = self.turn.lock().await;
            let path = self.path.clone();
            let disk = tokio::task::spawn_blocking(move || disk::look(&path));
            let vitals = self.store.vitals().await;
            if let Err(error) = &vitals {
                tracing::warn!(%error, "the state could not be read for metrics and alarms");
            }
            facts.vitals = vitals.ok();
            disk.await.unwrap_or_default()
        });
        if let Ok(disk) = seen.await {
            facts.state_bytes = disk.state;
            facts.disk_free = disk.free;
        }
        facts
    }
}
