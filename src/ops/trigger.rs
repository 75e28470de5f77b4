//! Asking the running service for a run: a handle to ask with, and the inbox that the service owns.
//!
//! One of each kind may wait; who asks again while it does is told so. Asking never waits for a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One quick cycle.
    Sync,
    /// Everything.
    Sweep,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sync, Self::Sweep];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Sweep => "sweep",
        }
    }

    /// Reads the stable word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    fn place(self) -> usize {
        match self {
            Self::Sync => 0,
            Self::Sweep => 1,
        }
    }
}

/// What became of the wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It runs as soon as nothing else does.
    Queued,
    /// One like it waits already; that one serves both.
    AlreadyWaiting,
}

impl Accepted {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::AlreadyWaiting => "already_waiting",
        }
    }
}

/// Why nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The service is stopping, or has stopped.
    #[error("the service is stopping")]
    Stopping,
}

type Waiting = Arc<[AtomicBool; 2]>;

/// The handle. Clones share it.
#[derive(Clone, Debug)]
pub struct Trigger {
    outbox: mpsc::Sender<Kind>,
    waiting: Waiting,
}

/// Where wishes arrive.
#[derive(Debug)]
pub struct Inbox {
    inbox: mpsc::Receiver<Kind>,
    waiting: Waiting,
}

/// A handle and its inbox.
pub fn channel() -> (Trigger, Inbox) {
    // One place for each kind: what waits already is not sent again, so there is always room.
    let (outbox, inbox) = mpsc::channel(Kind::ALL.len());
    let waiting = Waiting::default();
    (Trigger { outbox, waiting: Arc::clone(&waiting) }, Inbox { inbox, waiting })
}

impl Trigger {
    /// Asks for a run.
    pub async fn ask(&self, kind: Kind) -> Result<Accepted, Refused> {
        if self.outbox.is_closed() {
            return Err(Refused::Stopping);
        }
        let waiting = &self.waiting[kind.place()];
        if waiting.swap(true, Ordering::SeqCst) {
            return Ok(Accepted::AlreadyWaiting);
        }
        match self.outbox.send(kind).await {
            Ok(()) => Ok(Accepted::Queued),
            Err(_) => Err(Refused::Stopping),
        }
    }
}

impl Inbox {
    /// Waits for the next wish; `None` when nobody can ask any more. What was taken no longer counts as waiting.
    pub async fn recv(&mut self) -> Option<Kind> {
        let kind = self.inbox.recv().await?;
        self.waiting[kind.place()].store(false, Ordering::SeqCst);
        Some(kind)
    }

    /// Takes a wish if one waits.
    pub fn try_recv(&mut self) -> Option<Kind> {
        let kind = self.inbox.try_recv().ok()?;
        self.waiting[kind.place()].store(false, Ordering::SeqCst);
        Some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::{Accepted, Kind, Refused, channel};

    #[tokio::test]
    async fn one_of_a_kind_waits_and_the_second_is_told_so() {
        let (trigger, mut inbox) = channel();
        assert_eq!(trigger.ask(Kind::Sync).await, Ok(Accepted::Queued));
        assert_eq!(trigger.ask(Kind::Sync).await, Ok(Accepted::AlreadyWaiting));
        assert_eq!(trigger.ask(Kind::Sweep).await, Ok(Accepted::Queued));
        assert_eq!(inbox.recv().await, Some(Kind::Sync));
        assert_eq!(trigger.ask(Kind::Sync).await, Ok(Accepted::Queued), "the first one was taken");
        assert_eq!((inbox.try_recv(), inbox.try_recv(), inbox.try_recv()), (Some(Kind::Sweep), Some(Kind::Sync), None));
    }

    #[tokio::test]
    async fn a_service_that_stopped_takes_nothing() {
        let (trigger, inbox) = channel();
        drop(inbox);
        assert_eq!(trigger.ask(Kind::Sweep).await, Err(Refused::Stopping));
    }
}
