//! The first look of a sweep: the newest contacts.
//!
//! It shows how descending order is spelled (platform notes LiveDesk 3.1), how many rows a page has, and the largest
//! id and creation time, which tell contacts that existed when the sweep began from those created since.

use super::ScanError;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::{Direction, DirectionStyle, Order, SortKey};
use crate::sync::ports::{ContactSource, PageRequest, PortError, SourcePage, SourceRow};

const OLDEST_FIRST: Order = Order { key: SortKey::CreatedAt, direction: Direction::Ascending };
const NEWEST_FIRST: Order = Order { key: SortKey::CreatedAt, direction: Direction::Descending };

/// What the first look showed.
#[derive(Debug)]
pub(super) struct Head {
    /// How descending is spelled.
    pub(super) style: DirectionStyle,
    /// Whether that was seen; else it is only the documented way.
    pub(super) told: bool,
    /// Rows on the page.
    pub(super) page_size: usize,
    /// Largest id on it, as a set member.
    pub(super) max_id: Option<u64>,
    /// Largest creation time on it.
    pub(super) newest: Option<i64>,
    /// `meta.count`.
    pub(super) count: Option<u64>,
    /// Some contact on it.
    pub(super) known: Option<LiveDeskId>,
}

impl Head {
    /// Reads page 1, newest first, in the documented spelling and, when that has no effect, in the other.
    pub(super) async fn read(source: &impl ContactSource) -> Result<Self, ScanError> {
        let mut documented = read_first(source, NEWEST_FIRST, DirectionStyle::Parameter).await?;
        if documented.is_empty() {
            documented = read_first(source, NEWEST_FIRST, DirectionStyle::Parameter).await?;
        }
        let slope = slope(&documented);
        if slope == Slope::Falling {
            return Ok(Self::of(&documented, DirectionStyle::Parameter));
        }
        if documented.is_empty() {
            return Ok(Self { told: false, ..Self::of(&documented, DirectionStyle::Parameter) });
        }
        if slope == Slope::Level {
            // All of one instant (an import, or a single row): only the other end of the list can tell.
            let oldest = read_first(source, OLDEST_FIRST, DirectionStyle::Parameter).await?;
            if newest(&documented) > first_time(&oldest) {
                return Ok(Self::of(&documented, DirectionStyle::Parameter));
            }
        }
        match read_first(source, NEWEST_FIRST, DirectionStyle::Minus).await {
            Ok(minus) if self::slope(&minus) != Slope::Rising && newest(&minus) > first_time(&documented) => {
                return Ok(Self::of(&minus, DirectionStyle::Minus));
            }
            // A spelling that is refused is only no spelling.
            Ok(_) | Err(PortError::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        match slope {
            // Every contact seen is of one instant, so the direction cannot be told and does not matter here.
            // Should it matter later, the order check of the descending passes says so.
            Slope::Level | Slope::Falling => {
                Ok(Self { told: false, ..Self::of(&documented, DirectionStyle::Parameter) })
            }
            Slope::Rising => Err(ScanError::DirectionIgnored),
        }
    }

    fn of(page: &SourcePage, style: DirectionStyle) -> Self {
        let ids = page.rows.iter().map(|row| row.id).chain(page.malformed.iter().filter_map(|row| row.id));
        Self {
            style,
            told: true,
            page_size: page.len(),
            max_id: ids.map(|id| id.0.cast_unsigned()).max(),
            newest: newest(page),
            count: page.count,
            known: page.rows.first().map(|row| row.id),
        }
    }
}

/// How descending order is spelled, by the activity of contacts that were all created at one time. `None`: that does not tell either.
pub(super) async fn by_activity(source: &impl ContactSource) -> Result<Option<DirectionStyle>, ScanError> {
    let order = Order { key: SortKey::LastActivityAt, direction: Direction::Descending };
    for style in [DirectionStyle::Parameter, DirectionStyle::Minus] {
        match read_first(source, order, style).await {
            Ok(page) if slope_of(&page, |row| row.last_activity_at) == Slope::Falling => return Ok(Some(style)),
            Ok(_) => {}
            // A spelling that is refused is only no spelling.
            Err(PortError::Refused { .. }) if style == DirectionStyle::Minus => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

async fn read_first(source: &impl ContactSource, order: Order, style: DirectionStyle) -> Result<SourcePage, PortError> {
    source.page(PageRequest { order, style, page: 1 }).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slope {
    Falling,
    Level,
    Rising,
}

/// Which way the creation times of a page go.
fn slope(page: &SourcePage) -> Slope {
    slope_of(page, |row| row.created_at)
}

/// Which way the times of a page go. One step up is enough for rising: one answer is one query.
fn slope_of(page: &SourcePage, time: impl Fn(&SourceRow) -> Option<i64>) -> Slope {
    let times: Vec<i64> = page.rows.iter().filter_map(time).collect();
    if times.windows(2).any(|pair| pair[0] < pair[1]) {
        Slope::Rising
    } else if times.first() > times.last() {
        Slope::Falling
    } else {
        Slope::Level
    }
}

fn newest(page: &SourcePage) -> Option<i64> {
    page.rows.iter().filter_map(|row| row.created_at).max()
}

fn first_time(page: &SourcePage) -> Option<i64> {
    page.rows.iter().find_map(|row| row.created_at)
}
