//! When a cron expression of the schedule comes round next.

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
