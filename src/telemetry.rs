//! Log lines: to standard error, for people or as JSON.
//!
//! What is logged is decided where it happens; the rule everywhere is ids, counts and reasons, never a name,
//! e-mail, phone, token or secret. Dependencies are held to warnings, because they do not know that rule.

use std::ffi::OsString;
use std::io::IsTerminal;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Variable that goes before flag and settings: a level, or directives such as `deskferry::sync=debug`.
pub const VARIABLE: &str = "DESKFERRY_LOG";

/// The shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The variable does not hold a filter.
    #[error("{VARIABLE} is not a level or a filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// It was set up before.
    #[error("logging is already set up")]
    Twice(#[source] TryInitError),
}

/// Sends log lines of the whole process to standard error. `variable` is the value of [`VARIABLE`]; without
/// it, `level` (of the flag, else of the settings) decides.
pub fn init(shape: Shape, level: LevelFilter, variable: Option<&str>) -> Result<(), TelemetryError> {
    let colour = std::io::stderr().is_terminal() && wants_colour(|name| std::env::var_os(name));
    match shape {
        Shape::Human => human(filter(level, variable)?, std::io::stderr, colour).try_init(),
        Shape::Json => json(filter(level, variable)?, std::io::stderr).try_init(),
    }
    .map_err(TelemetryError::Twice)
}

/// Whether whoever looks at the terminal wants colours, by what is customary (no-color.org; `TERM=dumb` shows none).
fn wants_colour(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    variable("NO_COLOR").is_none_or(|said| said.is_empty()) && variable("TERM").is_none_or(|term| term != "dumb")
}

fn filter(level: LevelFilter, variable: Option<&str>) -> Result<EnvFilter, TelemetryError> {
    let directives = match variable.map(str::trim).filter(|text| !text.is_empty()) {
        // A bare level is ours alone; directives are taken as they are.
        Some(text) if text.parse::<LevelFilter>().is_err() => text.to_owned(),
        Some(level) => ours_at(level),
        None => ours_at(&level.to_string()),
    };
    EnvFilter::builder().parse(directives).map_err(TelemetryError::Filter)
}

fn ours_at(level: &str) -> String {
    if level == "off" { String::from("off") } else { format!("warn,deskferry={level}") }
}

fn human<W>(filter: EnvFilter, writer: W, colour: bool) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::registry()
        .with(filter)
        .with(fmt::layer().with_writer(writer).with_ansi(colour).with_target(false))
}

fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::registry().with(filter).with(fmt::layer().json().flatten_event(true).with_writer(writer))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex, PoisonError};

    use tracing::level_filters::LevelFilter;

    use super::{TelemetryError, filter, human, json, wants_colour};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_who_asks_for_none_gets_colours() {
        let wants =
            |name: &'static str, value: &'static str| wants_colour(|asked| (asked == name).then(|| value.into()));
        assert!(wants("TERM", "xterm-256color") && wants("NO_COLOR", ""));
        assert!(!wants("NO_COLOR", "1") && !wants("TERM", "dumb"));
    }

    fn speak() {
        tracing::info!(run = 7, "run started");
        tracing::debug!("detail");
        tracing::info!(target: "hyper", "chatter");
    }

    #[test]
    fn a_json_line_is_one_object_with_its_fields() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = json(filter(LevelFilter::INFO, None).unwrap(), move || writer.clone());
        tracing::subscriber::with_default(subscriber, speak);
        let text = sink.text();
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&line["run"], &line["message"]), (&7.into(), &"run started".into()));
    }

    #[test]
    fn people_get_plain_lines_of_our_own_modules_only() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = human(filter(LevelFilter::INFO, Some("debug")).unwrap(), move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, speak);
        let text = sink.text();
        assert!(text.contains("run started") && text.contains("run=7") && text.contains("detail"), "{text}");
        assert!(!text.contains("chatter") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_filter_that_is_none_is_an_error() {
        assert!(matches!(filter(LevelFilter::INFO, Some("deskferry=loud")), Err(TelemetryError::Filter(_))));
    }
}
