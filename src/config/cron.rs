//! When a cron expression of the schedule comes round next.

use std::time::Duration;

use croner::parser::{CronParser, Seconds};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The first activation after `after_ms` (milliseconds since the epoch), or none.
///
/// Days of the month and of the week must both fit, as the scheduler reads them.
pub fn next_after(expression: &str, zone: &TimeZone, after_ms: i64) -> Option<i64> {
    let parser = CronParser::builder().seconds(Seconds::Required).dom_and_dow(true).build();
    let after = Timestamp::from_millisecond(after_ms).ok()?.to_zoned(zone.clone());
    let next = parser.parse(expression).ok()?.find_next_occurrence(&after, false).ok()?;
    Some(next.timestamp().as_millisecond())
}

/// Where the activations of an expression are looked at that nobody has begun to keep: 2026-01-01T00:00:00Z.
pub(super) const SOME_DAY_MS: i64 = 1_767_225_600_000;
/// Activations whose distances are looked at: every day of a month, and its ends.
const LOOKED_AT: usize = 64;

/// The longest distance between two activations, as far as the next ones show.
pub(super) fn longest_distance(expression: &str, zone: &TimeZone) -> Option<Duration> {
    let first = next_after(expression, zone, SOME_DAY_MS)?;
    let all = std::iter::successors(Some(first), |at| next_after(expression, zone, *at));
    let all: Vec<i64> = all.take(LOOKED_AT).collect();
    let longest = all.windows(2).map(|pair| pair[1] - pair[0]).max()?;
    Some(Duration::from_millis(longest.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_activation_is_in_the_zone_of_the_schedule() {
        let zone = TimeZone::get("Asia/Taipei").unwrap();
        // 2026-03-01T00:00:00Z is eight in the morning there.
        let at = 1_772_323_200_000;
        assert_eq!(next_after("0 0 3 * * *", &zone, at), Some(at + 19 * 3_600_000));
        assert_eq!(next_after("0 */5 * * * *", &zone, at), Some(at + 300_000), "an activation is not its own next one");
        assert_eq!(next_after("no cron", &zone, at), None);
    }

    #[test]
    fn a_change_to_summer_time_moves_the_activation_with_the_clock_on_the_wall() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        // 2026-03-28T12:00:00Z, the day before the change: three in the morning is then 01:00Z.
        let at = 1_774_699_200_000;
        assert_eq!(next_after("0 0 4 * * *", &zone, at), Some(at + 14 * 3_600_000));
    }
}
