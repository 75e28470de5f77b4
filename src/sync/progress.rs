//! What the engine tells whoever watches it. The terminal, the log and the tests implement this; the engine knows none of them.

use std::time::Duration;

/// Something worth showing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgressEvent {
    /// A new stretch of work begins.
    Phase(Phase),
    /// How many contacts this stretch is expected to handle.
    Expect(u64),
    /// That many more contacts are handled.
    Advance(u64),
    /// One more page of a list was read.
    PageRead,
    /// The run waits, and why.
    Waiting {
        /// In words for people, without personal data.
        why: String,
        /// How long, when known.
        wait: Option<Duration>,
    },
    /// The wait is over.
    Resumed,
    /// Something an operator should read; without personal data.
    Notice(String),
}

/// The stretches of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Settling what an earlier run left in doubt.
    LeftOvers,
    /// Reading the target's own list.
    Survey,
    /// Reading who has which label at the source.
    Labels,
    /// Carrying contacts.
    Carry,
    /// Waiting for doubts to be settled.
    Settle,
    /// Looking for twins of records that were created again.
    Audit,
    /// Taking a run back.
    Undo,
    /// Reading every customer of the target, to compare.
    Customers,
    /// Comparing contacts with customers.
    Compare,
    /// Looking again at contacts that differ.
    Again,
}

impl Phase {
    /// In words for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeftOvers => "settling what an earlier run left open",
            Self::Survey | Self::Customers => "reading FIRST LINE's customers",
            Self::Labels => "reading LiveDesk's labels",
            Self::Carry => "carrying contacts",
            Self::Settle => "settling doubtful creates",
            Self::Audit => "looking for twins",
            Self::Undo => "taking a run back",
            Self::Compare => "comparing LiveDesk's contacts",
            Self::Again => "looking again at what differs",
        }
    }

    /// The same of a plan or a look ahead, which goes the way of a run and writes nothing.
    pub fn as_planned(self) -> &'static str {
        match self {
            Self::LeftOvers => "looking at what an earlier run left open",
            Self::Carry => "working out what would be done with each contact",
            Self::Settle => "looking at doubtful creates",
            other => other.as_str(),
        }
    }

    /// Whether its end is known beforehand, so that what is left can be told.
    pub fn is_counted(self) -> bool {
        matches!(self, Self::Carry | Self::Undo | Self::Customers | Self::Compare | Self::Again)
    }
}

/// A watcher.
pub trait Progress: Send + Sync + 'static {
    /// Called from any task; must not block.
    fn event(&self, event: ProgressEvent);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: ProgressEvent) {}
}
