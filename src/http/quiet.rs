//! Quiet hours: a part of each day with a rate of its own, by the clock on the wall.
//!
//! They may cross midnight. On the days when the clocks change the hours are those that the wall shows, so that a night
//! is an hour longer or shorter, and an hour that comes twice is quiet twice.

use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// A part of each day.
#[derive(Clone, Debug)]
pub struct QuietHours {
    from: Time,
    until: Time,
    zone: TimeZone,
    /// Requests per second in them.
    pub rate: f64,
}

impl QuietHours {
    /// Reads `22:00-07:00`. `None` for anything else, and for hours without length.
    pub fn parse(text: &str, zone: TimeZone, rate: f64) -> Option<Self> {
        let (from, until) = text.split_once('-')?;
        let time = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let digits = |text: &str| (text.len() == 2).then(|| text.parse::<i8>().ok()).flatten();
            Time::new(digits(hour)?, digits(minute)?, 0, 0).ok()
        };
        let (from, until) = (time(from)?, time(until)?);
        (from != until).then_some(Self { from, until, zone, rate })
    }

    /// Whether they hold at this moment: from the first minute on, and no longer in the last.
    pub fn hold_at(&self, now: Timestamp) -> bool {
        let Ok(moment) = jiff::Timestamp::from_millisecond(now.0) else { return false };
        let wall = self.zone.to_datetime(moment).time();
        if self.from < self.until {
            (self.from..self.until).contains(&wall)
        } else {
            wall >= self.from || wall < self.until
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::QuietHours;
    use crate::clock::Timestamp;

    fn quiet(hours: &str, zone: &str, moment: &str) -> bool {
        let at: jiff::Timestamp = moment.parse().unwrap();
        let hours = QuietHours::parse(hours, TimeZone::get(zone).unwrap(), 0.5).unwrap();
        hours.hold_at(Timestamp(at.as_millisecond()))
    }

    #[test]
    fn they_may_cross_midnight_or_not() {
        let rows = [
            ("22:00-07:00", "2026-03-02T21:59:59Z", false),
            ("22:00-07:00", "2026-03-02T22:00:00Z", true),
            ("22:00-07:00", "2026-03-03T00:00:00Z", true),
            ("22:00-07:00", "2026-03-03T06:59:59Z", true),
            ("22:00-07:00", "2026-03-03T07:00:00Z", false),
            ("09:30-18:00", "2026-03-02T09:29:59Z", false),
            ("09:30-18:00", "2026-03-02T12:00:00Z", true),
            ("09:30-18:00", "2026-03-02T18:00:00Z", false),
            ("00:00-06:00", "2026-03-02T00:00:00Z", true),
            ("23:00-00:00", "2026-03-02T00:00:00Z", false),
        ];
        for (hours, moment, expected) in rows {
            assert_eq!(quiet(hours, "UTC", moment), expected, "{hours} at {moment}");
        }
        assert!(quiet("22:00-07:00", "Asia/Taipei", "2026-03-02T14:00:00Z"), "22:00 in Taipei");
        assert!(!quiet("22:00-07:00", "Asia/Taipei", "2026-03-02T23:00:00Z"), "07:00 in Taipei");
    }

    #[test]
    fn when_the_clocks_change_the_wall_counts() {
        // Berlin goes from 02:00 to 03:00 on 29 March 2026, and from 03:00 back to 02:00 on 25 October.
        let rows = [
            ("02:30-06:00", "2026-03-29T00:59:59Z", false),
            ("02:30-06:00", "2026-03-29T01:00:00Z", true),
            ("02:30-06:00", "2026-03-29T03:59:59Z", true),
            ("02:30-06:00", "2026-03-29T04:00:00Z", false),
            ("22:00-02:30", "2026-10-25T00:29:59Z", true),
            ("22:00-02:30", "2026-10-25T00:30:00Z", false),
            ("22:00-02:30", "2026-10-25T01:00:00Z", true),
            ("22:00-02:30", "2026-10-25T01:30:00Z", false),
        ];
        for (hours, moment, expected) in rows {
            assert_eq!(quiet(hours, "Europe/Berlin", moment), expected, "{hours} at {moment}");
        }
    }

    #[test]
    fn what_are_no_hours_is_refused() {
        for text in
            ["", "22:00", "22-07", "24:00-07:00", "22:60-07:00", "7:00-9:00", "07:00-07:00", "a-b", "-1:00-02:00"]
        {
            assert!(QuietHours::parse(text, TimeZone::UTC, 1.0).is_none(), "{text:?}");
        }
    }
}
