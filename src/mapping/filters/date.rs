//! Dates and times: the filters `date`, `time`, `datetime`, `epoch`, and the readers behind them.
//!
//! What is ambiguous is refused, not guessed: 03/04/2024 needs a format, a bare number needs `epoch`, a year of
//! two or three digits needs `calendar='roc'`. The same readers serve fields of these types.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use minijinja::value::{Value, ValueKind};

use super::{FilterError, FilterResult, Settings, arguments, scalar_text, word};

/// Years of the Republic of China calendar begin here: its year 1 is 1912.
const ROC_EPOCH: i16 = 1911;
const NOT_A_DATE: &str = "is not a date or time that can be read; give its form, as in date('%d/%m/%Y')";
const AMBIGUOUS: &str = "may be day/month or month/day; give its form, as in date('%d/%m/%Y')";
const SHORT_YEAR: &str = "has a year of fewer than four digits; for the Taiwanese calendar use date(calendar='roc')";
const OUT_OF_RANGE: &str = "is outside the years 1000 to 9999";

/// A date or time as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::mapping) enum Moment {
    /// A point in time.
    Instant(Timestamp),
    /// Date and time of an unnamed place: the tenant's.
    Civil(DateTime),
    /// A date alone.
    Date(Date),
    /// A time of day alone.
    Time(Time),
}

impl Moment {
    /// Reads the forms that need no hint.
    pub(in crate::mapping) fn read(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        // Without a colon there is no time of day, and the parsers below need not be tried.
        if text.contains(':') {
            if let Some(time) = read_time(text) {
                return Ok(Self::Time(time));
            }
            if let Ok(instant) = text.parse::<Timestamp>() {
                return Ok(Self::Instant(instant));
            }
            let with_offset = || strtime::parse("%Y-%m-%d %H:%M:%S %z", text).and_then(|parts| parts.to_timestamp());
            if text.contains(['+', '-'])
                && let Ok(instant) = with_offset()
            {
                return Ok(Self::Instant(instant));
            }
        }
        match text.split_once([' ', 'T']) {
            Some((date, time)) => {
                let time = read_time(time.trim()).ok_or(NOT_A_DATE)?;
                Ok(Self::Civil(read_date(date)?.to_datetime(time)))
            }
            None => read_date(text).map(Self::Date),
        }
    }

    /// Its date in `zone`.
    pub(in crate::mapping) fn date(&self, zone: &TimeZone) -> Result<String, &'static str> {
        let date = match self {
            Self::Instant(instant) => zone.to_datetime(*instant).date(),
            Self::Civil(civil) => civil.date(),
            Self::Date(date) => *date,
            Self::Time(_) => return Err("is a time of day without a date"),
        };
        if date.year() < 1000 { Err(OUT_OF_RANGE) } else { Ok(date.strftime("%Y-%m-%d").to_string()) }
    }

    /// Its time of day in `zone`, to the minute.
    pub(in crate::mapping) fn time(&self, zone: &TimeZone) -> Result<String, &'static str> {
        let time = match self {
            Self::Instant(instant) => zone.to_datetime(*instant).time(),
            Self::Civil(civil) => civil.time(),
            Self::Time(time) => *time,
            Self::Date(_) => return Err("is a date without a time of day"),
        };
        Ok(time.strftime("%H:%M").to_string())
    }

    /// Date and time in `zone`; a date alone is its first second.
    pub(in crate::mapping) fn date_time(&self, zone: &TimeZone) -> Result<String, &'static str> {
        let civil = match self {
            Self::Instant(instant) => zone.to_datetime(*instant),
            Self::Civil(civil) => *civil,
            Self::Date(date) => date.to_datetime(Time::midnight()),
            Self::Time(_) => return Err("is a time of day without a date"),
        };
        if civil.year() < 1000 { Err(OUT_OF_RANGE) } else { Ok(civil.strftime("%Y-%m-%d %H:%M:%S").to_string()) }
    }
}

/// `8:30`, `08:30:15`, `8:30 PM`, fractions of seconds dropped.
fn read_time(text: &str) -> Option<Time> {
    let lower = text.to_ascii_lowercase();
    let (clock, half) = match (lower.strip_suffix("am"), lower.strip_suffix("pm")) {
        (Some(clock), _) => (clock.trim_end(), Some(0)),
        (_, Some(clock)) => (clock.trim_end(), Some(12)),
        _ => (lower.as_str(), None),
    };
    let number = |part: &str| -> Option<i8> {
        let plain = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if plain { part.parse().ok() } else { None }
    };
    let mut parts = clock.split(':');
    let hour = number(parts.next()?)?;
    let minute = number(parts.next()?)?;
    let second = match parts.next() {
        Some(part) => number(part.split_once('.').map_or(part, |(whole, _)| whole))?,
        None => 0,
    };
    let hour = match half {
        None => hour,
        Some(half) if (1..=12).contains(&hour) => hour % 12 + half,
        Some(_) => return None,
    };
    if parts.next().is_some() { None } else { Time::new(hour, minute, second, 0).ok() }
}

/// `2022-01-19`, `2022/1/9`, `2022年1月19日`, `民國79年1月2日`, `31/12/2024`.
fn read_date(text: &str) -> Result<Date, &'static str> {
    let (text, roc) = match text.strip_prefix("民國").or_else(|| text.strip_prefix("民国")) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let parts = date_parts(text).ok_or(NOT_A_DATE)?;
    if roc {
        return roc_date(parts);
    }
    let [(first, first_digits), (second, _), (third, third_digits)] = parts;
    let (year, month, day) = match (first_digits, third_digits) {
        (4, 1..=2) => (first, second, third),
        (1..=2, 4) if first == second || first > 12 => (third, second, first),
        (1..=2, 4) if second > 12 => (third, first, second),
        (1..=2, 4) => return Err(AMBIGUOUS),
        (1..=3, 1..=2) => return Err(SHORT_YEAR),
        _ => return Err(NOT_A_DATE),
    };
    new_date(year, month, day)
}

/// Three numbers and how many digits each has.
fn date_parts(text: &str) -> Option<[(i16, usize); 3]> {
    let text = text.strip_suffix('日').unwrap_or(text);
    let mut parts = text.split(['-', '/', '.', '年', '月']).map(|part| {
        let part = part.trim();
        let plain = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if plain { Some((part.parse().ok()?, part.len())) } else { None }
    });
    let three = [parts.next()??, parts.next()??, parts.next()??];
    if parts.next().is_some() { None } else { Some(three) }
}

fn roc_date([(year, _), (month, _), (day, _)]: [(i16, usize); 3]) -> Result<Date, &'static str> {
    new_date(year + ROC_EPOCH, month, day)
}

fn new_date(year: i16, month: i16, day: i16) -> Result<Date, &'static str> {
    const NO_SUCH_DAY: &str = "is a day that the calendar does not have";
    let (Ok(month), Ok(day)) = (i8::try_from(month), i8::try_from(day)) else { return Err(NO_SUCH_DAY) };
    Date::new(year, month, day).map_err(|_| NO_SUCH_DAY)
}

/// `date(format, calendar='gregorian' | 'roc')`: `YYYY-MM-DD` in the tenant's zone.
pub(super) fn date(settings: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    convert(value, given, &|moment| moment.date(&settings.zone))
}

/// `time(format)`: `HH:MM` in the tenant's zone.
pub(super) fn time(settings: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    convert(value, given, &|moment| moment.time(&settings.zone))
}

/// `datetime(format, calendar=...)`: `YYYY-MM-DD HH:MM:SS` in the tenant's zone.
pub(super) fn datetime(settings: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    convert(value, given, &|moment| moment.date_time(&settings.zone))
}

/// `epoch(unit='s' | 'ms')`: seconds since 1970, as number or text, made a point in time.
pub(super) fn epoch(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    let [unit] = arguments(given, ["unit"])?;
    let unit = word(unit.as_ref(), "unit", ["s", "ms"])?;
    let Some(text) = scalar_text(value)? else { return Ok(Value::UNDEFINED) };
    match instant(&text, unit)? {
        Some(instant) => Ok(Value::from(instant.to_string())),
        None => Ok(Value::UNDEFINED),
    }
}

/// Zero is how a time that never was is written.
fn instant(text: &str, unit: &str) -> Result<Option<Timestamp>, FilterError> {
    let not_epoch = || FilterError::Value(String::from("is not a number of seconds since 1970"));
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let number: i64 = whole.parse().map_err(|_| not_epoch())?;
    let instant = if unit == "ms" { Timestamp::from_millisecond(number) } else { Timestamp::from_second(number) };
    if number == 0 { Ok(None) } else { instant.map(Some).map_err(|_| not_epoch()) }
}

type Render<'a> = &'a dyn Fn(&Moment) -> Result<String, &'static str>;

fn convert(value: &Value, given: &[Value], render: Render<'_>) -> FilterResult {
    let [format, calendar] = arguments(given, ["format", "calendar"])?;
    let calendar = word(calendar.as_ref(), "calendar", ["gregorian", "roc"])?;
    let format = format.map(|format| checked_format(&format)).transpose()?;
    let Some(text) = scalar_text(value)? else { return Ok(Value::UNDEFINED) };
    let refuse = |problem: &str| FilterError::Value(problem.to_owned());
    let moment = if let Some(format) = format {
        read_as(&format, &text).ok_or_else(|| refuse("does not have the form that the filter expects"))?
    } else if calendar == "roc" {
        let bare = text.trim_start_matches("民國").trim_start_matches("民国");
        Moment::Date(date_parts(bare).ok_or(NOT_A_DATE).and_then(roc_date).map_err(refuse)?)
    } else if value.kind() == ValueKind::Number {
        match instant(&text, "s")? {
            Some(instant) => Moment::Instant(instant),
            None => return Ok(Value::UNDEFINED),
        }
    } else {
        Moment::read(&text).map_err(refuse)?
    };
    render(&moment).map(Value::from).map_err(refuse)
}

/// A format is tried on some day, so that a wrong one is found before the first contact.
fn checked_format(format: &Value) -> Result<String, FilterError> {
    let wrong = || FilterError::Argument(String::from("`format` is not a date format such as '%d/%m/%Y'"));
    let format = format.as_str().ok_or_else(wrong)?;
    let some_day = Zoned::new(Timestamp::UNIX_EPOCH, TimeZone::UTC);
    let tried = strtime::format(format, &some_day).map_err(|_| wrong())?;
    if !format.contains('%') || tried.is_empty() { Err(wrong()) } else { Ok(format.to_owned()) }
}

fn read_as(format: &str, text: &str) -> Option<Moment> {
    let parts = strtime::parse(format, text).ok()?;
    if let Ok(instant) = parts.to_timestamp() {
        return Some(Moment::Instant(instant));
    }
    match (parts.to_date(), parts.hour()) {
        (Ok(date), None) => Some(Moment::Date(date)),
        (Ok(date), Some(_)) => parts.to_time().ok().map(|time| Moment::Civil(date.to_datetime(time))),
        (Err(_), _) => parts.to_time().ok().map(Moment::Time),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{check, run};

    #[test]
    fn dates_are_read_in_the_forms_that_cannot_be_misread() {
        check([
            ("name | date", json!("2022-01-19"), json!("2022-01-19")),
            ("name | date", json!("2022/1/9"), json!("2022-01-09")),
            ("name | date", json!("2024-02-01T00:00:00.000Z"), json!("2024-02-01")),
            ("name | date", json!("2024-02-01T20:00:00Z"), json!("2024-02-02")),
            ("name | date", json!("2024-02-01T23:59:59"), json!("2024-02-01")),
            ("name | date", json!("2024-02-01 23:00:00 +0000"), json!("2024-02-02")),
            ("name | date", json!("31/12/2024"), json!("2024-12-31")),
            ("name | date", json!("12/31/2024"), json!("2024-12-31")),
            ("name | date", json!("05.05.2024"), json!("2024-05-05")),
            ("name | date", json!("2022年1月19日"), json!("2022-01-19")),
            ("name | date", json!("民國79年1月2日"), json!("1990-01-02")),
            ("name | date(calendar='roc')", json!("112/03/04"), json!("2023-03-04")),
            ("name | date('%d/%m/%Y')", json!("03/04/2024"), json!("2024-04-03")),
            ("name | date('%Y%m%d')", json!(20_240_403), json!("2024-04-03")),
            ("name | date", json!(1_706_817_600), json!("2024-02-02")),
            ("name | date", json!(0), json!(null)),
            ("name | date", json!(""), json!(null)),
        ]);
    }

    #[test]
    fn what_could_be_misread_is_refused_and_the_value_not_quoted() {
        for input in
            ["03/04/2024", "79/01/02", "112/03/04", "2023-02-29", "2024-13-01", "yesterday", "20240403", "10:00"]
        {
            let problem = run("name | date", &json!(input)).expect_err(input);
            assert!(!problem.contains(input), "{problem}");
        }
    }

    #[test]
    fn times_and_date_times_are_of_the_tenants_zone() {
        check([
            ("name | time", json!("8:30"), json!("08:30")),
            ("name | time", json!("08:30:59"), json!("08:30")),
            ("name | time", json!("8:30 PM"), json!("20:30")),
            ("name | time", json!("12:05 am"), json!("00:05")),
            ("name | time", json!("2024-02-01T00:00:00Z"), json!("08:00")),
            ("name | datetime", json!("2024-02-01"), json!("2024-02-01 00:00:00")),
            ("name | datetime", json!("2024-02-01 10:00"), json!("2024-02-01 10:00:00")),
            ("name | datetime", json!("2024-02-01T00:00:00.123Z"), json!("2024-02-01 08:00:00")),
            ("name | datetime", json!(1_706_745_600), json!("2024-02-01 08:00:00")),
            ("name | datetime('%d/%m/%Y %H:%M')", json!("03/04/2024 09:05"), json!("2024-04-03 09:05:00")),
            ("name | time('%H.%M')", json!("09.05"), json!("09:05")),
            ("name | epoch", json!("1706745600"), json!("2024-02-01T00:00:00Z")),
            ("name | epoch('ms') | datetime", json!(1_706_745_600_000_i64), json!("2024-02-01 08:00:00")),
        ]);
        for input in ["25:00", "8:60", "noon", "13:00 PM", "2024-02-01"] {
            assert!(run("name | time", &json!(input)).is_err(), "{input}");
        }
        assert!(run("name | date('soon')", &json!("x")).is_err());
    }
}
