//! Asking the running service for a run. What is asked goes straight to the service's own list of what is due, so that a
//! wish and an activation of the schedule are the same thing; asking never waits for a run.

use std::fmt;
use std::sync::Arc;

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

    /// Which kind a run of this name serves: the first sweep of a state is its backfill.
    pub fn of_run(name: &str) -> Option<Self> {
        if name == "backfill" { Some(Self::Sweep) } else { Self::parse(name) }
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

/// The handle. Clones share it.
#[derive(Clone)]
pub struct Trigger(Arc<dyn Fn(Kind) -> Result<Accepted, Refused> + Send + Sync>);

impl fmt::Debug for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trigger(..)")
    }
}

impl Trigger {
    /// Hands wishes to `ask`, which must not block.
    pub fn new(ask: impl Fn(Kind) -> Result<Accepted, Refused> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// Asks for a run.
    pub fn ask(&self, kind: Kind) -> Result<Accepted, Refused> {
        (self.0)(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn a_backfill_serves_a_sweep_that_was_due_and_a_retry_serves_nothing() {
        let found = ["sync", "sweep", "backfill", "retry"].map(Kind::of_run);
        assert_eq!(found, [Some(Kind::Sync), Some(Kind::Sweep), Some(Kind::Sweep), None]);
    }
}
