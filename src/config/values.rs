//! From a value as written to a value of the right type: one function per type of key.
//!
//! A function never repeats the value in its complaint: it could be a secret that slipped into the wrong line.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use croner::parser::{CronParser, Seconds};
use jiff::tz::TimeZone;
use tracing::level_filters::LevelFilter;
use url::Url;

use super::cron;
use super::tree::Raw;
use crate::domain::phone::Country;

/// What is wrong with a value, and what to write instead.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) remedy: String,
}

/// A complaint.
pub(super) fn wrong<T>(message: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { message: message.into(), remedy: remedy.into() })
}

/// Text.
pub(super) fn text(raw: &Raw) -> Result<&str, Wrong> {
    match raw {
        Raw::Text(text) | Raw::Variable(text) => Ok(text),
        _ => wrong("not text", "put it in quotation marks"),
    }
}

/// Yes or no.
pub(super) fn boolean(raw: &Raw) -> Result<bool, Wrong> {
    match raw {
        Raw::Boolean(yes) => Ok(*yes),
        Raw::Variable(text) if text == "true" => Ok(true),
        Raw::Variable(text) if text == "false" => Ok(false),
        _ => wrong("neither true nor false", "write true or false, without quotation marks"),
    }
}

/// A whole number within limits.
pub(super) fn whole<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> impl Fn(&Raw) -> Result<T, Wrong> {
    move |raw| {
        let number = match raw {
            Raw::Integer(number) => Some(*number),
            Raw::Variable(text) => text.parse().ok(),
            _ => None,
        };
        let fitting = number.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        fitting.map_or_else(
            || wrong("not a whole number in range", format!("write {} to {}", range.start(), range.end())),
            Ok,
        )
    }
}

/// Requests per second; 0 is no limit.
pub(super) fn rate(raw: &Raw) -> Result<f64, Wrong> {
    let number = match raw {
        Raw::Float(number) => Some(*number),
        Raw::Integer(number) => u32::try_from(*number).ok().map(f64::from),
        Raw::Variable(text) => text.parse().ok(),
        _ => None,
    };
    let fitting = number.filter(|number| number.is_finite() && *number >= 0.0);
    fitting.map_or_else(|| wrong("not a rate", "write requests per second, such as 2.5; 0 means no limit"), Ok)
}

/// Requests per second where no limit is no choice.
pub(super) fn rate_above_zero(raw: &Raw) -> Result<f64, Wrong> {
    match rate(raw) {
        Ok(rate) if rate > 0.0 => Ok(rate),
        _ => wrong("not a rate above 0", "write requests per second, such as 0.5"),
    }
}

/// A part of each day.
pub(super) fn hours(raw: &Raw) -> Result<String, Wrong> {
    const REMEDY: &str = "write two times of the day, such as \"22:00-07:00\"";
    let written = text(raw)?.trim();
    let is_time = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let digits = |text: &str, below: u8| text.len() == 2 && text.parse::<u8>().is_ok_and(|number| number < below);
        (digits(hour, 24) && digits(minute, 60)).then_some(())
    };
    match written.split_once('-') {
        Some((from, until)) if is_time(from).and(is_time(until)).is_some() => {
            if from.trim() == until.trim() {
                return wrong("begins when it ends", REMEDY);
            }
            Ok(written.to_owned())
        }
        _ => wrong("not a part of the day", REMEDY),
    }
}

/// A share, 0 to 100.
pub(super) fn percent(raw: &Raw) -> Result<f64, Wrong> {
    match rate(raw) {
        Ok(number) if number <= 100.0 => Ok(number),
        _ => wrong("not a share", "write percent, 0 to 100, such as 1.5"),
    }
}

/// A span of time; may be zero.
pub(super) fn duration(raw: &Raw) -> Result<Duration, Wrong> {
    match text(raw).map(humantime::parse_duration) {
        Ok(Ok(duration)) => Ok(duration),
        _ => wrong("not a duration", "write a time such as \"20s\", \"5m\" or \"12h\""),
    }
}

/// A span of time of at least this length.
pub(super) fn duration_from(least: Duration) -> impl Fn(&Raw) -> Result<Duration, Wrong> {
    move |raw| {
        let duration = duration(raw)?;
        if duration < least {
            return wrong("too short", format!("write at least \"{}\"", humantime::format_duration(least)));
        }
        Ok(duration)
    }
}

/// A number of bytes, at least one.
pub(super) fn bytes(raw: &Raw) -> Result<ByteSize, Wrong> {
    match text(raw).map(str::parse::<ByteSize>) {
        Ok(Ok(size)) if size.as_u64() > 0 => Ok(size),
        _ => wrong("not a size", "write a size such as \"16MiB\""),
    }
}

/// The root of an API: http or https, a host, nothing secret, nothing behind the path, no slash at its end.
pub(super) fn base_url(raw: &Raw) -> Result<Url, Wrong> {
    const REMEDY: &str = "write it as in \"https://host.example/api/v1\"";
    let Ok(mut url) = Url::parse(text(raw)?.trim()) else { return wrong("not a URL", REMEDY) };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return wrong("not an http or https URL", REMEDY);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("holds credentials", "take them out of the URL; they have keys of their own");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("holds a query or a fragment", "cut it off before the ? or #");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// A proxy's URL; it may hold credentials.
pub(super) fn proxy(raw: &Raw) -> Result<&str, Wrong> {
    let written = text(raw)?.trim();
    match Url::parse(written) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() => Ok(written),
        _ => wrong("not the URL of a proxy", "write it as in \"http://proxy.example:3128\""),
    }
}

/// A time zone of the IANA database.
pub(super) fn time_zone(raw: &Raw) -> Result<TimeZone, Wrong> {
    match TimeZone::get(text(raw)?) {
        Ok(zone) => Ok(zone),
        Err(_) => wrong("not a time zone", "write an IANA name such as \"Asia/Taipei\""),
    }
}

/// A cron expression with seconds that comes round.
pub(super) fn cron(raw: &Raw) -> Result<String, Wrong> {
    let written = text(raw)?.trim();
    match CronParser::builder().seconds(Seconds::Required).build().parse(written) {
        Ok(_) if cron::next_after(written, &TimeZone::UTC, cron::SOME_DAY_MS).is_some() => Ok(written.to_owned()),
        Ok(_) => wrong("never comes round", "write a day that exists, or \"\" to switch it off"),
        Err(_) => wrong("not a cron expression with seconds", "write six fields such as \"0 */5 * * * *\""),
    }
}

/// An address to listen on.
pub(super) fn listen(raw: &Raw) -> Result<SocketAddr, Wrong> {
    match text(raw).map(str::parse) {
        Ok(Ok(address)) => Ok(address),
        _ => wrong("not an address", "write an IP address and a port such as \"127.0.0.1:8787\""),
    }
}

/// A country.
pub(super) fn country(raw: &Raw) -> Result<Country, Wrong> {
    match text(raw).map(Country::parse) {
        Ok(Some(country)) => Ok(country),
        _ => wrong("not a country", "write two letters (ISO 3166) such as \"TW\""),
    }
}

/// How much is logged.
pub(super) fn level(raw: &Raw) -> Result<LevelFilter, Wrong> {
    const LEVELS: [(&str, LevelFilter); 6] = [
        ("off", LevelFilter::OFF),
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
    one_of(&LEVELS)(raw)
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&Raw) -> Result<T, Wrong> {
    move |raw| {
        let written = text(raw)?;
        let found = choices.iter().find(|(word, _)| *word == written);
        found.map_or_else(|| wrong("not one of the choices", choose(choices)), |(_, choice)| Ok(*choice))
    }
}

/// A list of such words, each at most once. A variable separates them by commas.
pub(super) fn list_of<T: Copy + PartialEq>(choices: &[(&str, T)]) -> impl Fn(&Raw) -> Result<Vec<T>, Wrong> {
    move |raw| {
        let items = match raw {
            Raw::List(items) => items.clone(),
            Raw::Variable(text) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                words.map(|word| Raw::Text(word.to_owned())).collect()
            }
            _ => return wrong("not a list", "put the entries in square brackets"),
        };
        let found = items.iter().map(one_of(choices)).collect::<Result<Vec<T>, Wrong>>()?;
        if found.iter().enumerate().any(|(at, item)| found[..at].contains(item)) {
            return wrong("names an entry twice", "name each entry once");
        }
        Ok(found)
    }
}

fn choose<T>(choices: &[(&str, T)]) -> String {
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    format!("write {}", words.join(" or "))
}
