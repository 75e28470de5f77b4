//! Sort orders, positions and verdicts of passes and sweeps (design, section 3 and 4, Scan).

use std::fmt;

/// A sort key of LiveDesk's contact list (platform notes LiveDesk 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SortKey {
    /// `created_at`.
    CreatedAt,
    /// `last_activity_at`.
    LastActivityAt,
    /// `email`.
    Email,
    /// `phone_number`.
    PhoneNumber,
    /// `name`.
    Name,
}

impl SortKey {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::LastActivityAt => "last_activity_at",
            Self::Email => "email",
            Self::PhoneNumber => "phone_number",
            Self::Name => "name",
        }
    }
}

/// Ascending or descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// A sort order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Order {
    /// What is sorted by.
    pub key: SortKey,
    /// Which way.
    pub direction: Direction,
}

impl Order {
    /// The orders of a sweep, one round. The first is the best single order against live writes.
    pub const ROUND: [Self; 6] = [
        Self { key: SortKey::CreatedAt, direction: Direction::Ascending },
        Self { key: SortKey::Email, direction: Direction::Ascending },
        Self { key: SortKey::CreatedAt, direction: Direction::Descending },
        Self { key: SortKey::LastActivityAt, direction: Direction::Descending },
        Self { key: SortKey::PhoneNumber, direction: Direction::Ascending },
        Self { key: SortKey::Name, direction: Direction::Ascending },
    ];

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ROUND.into_iter().find(|order| order.to_string() == text)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Ascending => "asc",
            Direction::Descending => "desc",
        };
        write!(f, "{} {direction}", self.key.as_str())
    }
}

/// How descending order is asked for (platform notes LiveDesk 3.1: both readings must work).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectionStyle {
    /// `sort=created_at&direction=desc`, as LiveDesk documents.
    Parameter,
    /// `sort=-created_at`, as Chatwoot does.
    Minus,
}

/// Where a sweep stands: the first page that is not wholly recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanPosition {
    /// Number of the pass in its sweep, from 1.
    pub pass: u32,
    /// Page number, from 1.
    pub page: u32,
}

/// How complete a sweep was (design, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every contact that existed when the sweep (or one of its later passes) began was seen.
    Proven,
    /// One pass ended on an empty page and its distinct ids equal the count.
    Counted,
    /// Whole rounds through all orders add nothing more, and at most this many are still unseen.
    Short {
        /// Upper bound of the contacts that were not seen.
        missing: u64,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven => f.write_str("proven"),
            Self::Counted => f.write_str("counted"),
            Self::Short { missing } => write!(f, "short by {missing}"),
        }
    }
}

/// What a sweep says of itself at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepReport {
    /// The verdict.
    pub verdict: Verdict,
    /// The orders walked, one entry per pass.
    pub passes: Vec<PassReport>,
    /// Distinct contact ids seen in the whole sweep.
    pub distinct: u64,
    /// The last `meta.count`, if the platform gave one.
    pub count: Option<u64>,
    /// Rows that could not be read as contacts (no usable id).
    pub malformed: u64,
}

/// One pass of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassReport {
    /// Its order.
    pub order: Order,
    /// Pages read, re-reads included.
    pub pages: u64,
    /// Contacts that no earlier pass had seen.
    pub added: u64,
    /// Times it stepped back because the count fell.
    pub steps_back: u64,
}
