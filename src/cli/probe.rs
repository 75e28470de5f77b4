//! `deskferry probe`: settles on scratch contacts what FIRST LINE's documents leave open, and keeps it for every later run.
//!
//! It writes to FIRST LINE, so it asks first. Exit codes: 0 settled as far as it can be, nothing left behind; 1 something is
//! left over at FIRST LINE, and named; 2 it could not be done.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Context;
use super::consent::ask;
use super::output::{COULD_NOT_RUN, DONE, Failure, INTERRUPTED, LEFT_OVER, not_over_ours, note, say};
use super::pending::Pending;
use super::progress::Bar;
use crate::app::probe;
use crate::config::Problems;
use crate::config::settings::Settings;
use crate::domain::tenant::ScratchKind;
use crate::sync::progress::Progress;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask before the first write
    #[arg(long, short)]
    yes: bool,
    /// Write the report into a file, too (JSON with --json)
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How long search is given to find a scratch contact
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    max_wait: Duration,
}

/// Requests of a probe, for the question before it.
const REQUESTS: u32 = 90;

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let settings = context.load()?.settings;
    let missing: Vec<_> =
        settings.missing_credentials().into_iter().filter(|problem| problem.key.starts_with("firstline")).collect();
    if !missing.is_empty() {
        return Err(Problems(missing).into());
    }
    if let Some(path) = &args.output {
        not_over_ours(path, &settings)?;
    }
    if !args.yes {
        note(question(&settings));
        ask(context, "pass --yes", "nothing was sent").await?;
    }
    // Before anything is sent: a report that cannot be written should not cost a probe.
    let file = match &args.output {
        None => None,
        Some(path) => {
            let file = Pending::open(path, &[]);
            Some(file.map_err(|failure| Failure::new(format!("{failure}; nothing was sent")))?)
        }
    };
    let store = context.open_state(&settings, "probe").await?;
    let bar = Arc::new(Bar::on_stderr());
    let around = context.surroundings(Arc::clone(&bar) as Arc<dyn Progress>);
    let probed = probe::run(&settings, &store, &around, args.max_wait).await;
    bar.finish();
    let path = store.path().display().to_string();
    store.close().await;
    let report = Report { probed: probed?, settings: &settings, state: path };
    let text = if context.json { report.json().to_string() } else { report.text() };
    if let Some(mut file) = file {
        writeln!(file, "{text}").map_err(|error| file.failed(&error))?;
        file.finish()?;
    }
    say(text);
    if let Some(failure) = report.failure() {
        note(format_args!("error: {failure}"));
    }
    for left in &report.probed.ended.left_over {
        note(format_args!("left over: {left}"));
    }
    Ok(report.exit())
}

fn question(settings: &Settings) -> String {
    let rate = settings.firstline.limits.requests_per_second;
    let time = if rate > 0.0 {
        let time = Duration::from_secs(Duration::from_secs_f64(f64::from(REQUESTS) / rate).as_secs());
        format!(", about {}", humantime::format_duration(time))
    } else {
        String::new()
    };
    format!(
        "A probe makes two or three customers named deskferry-probe-..., an e-mail and two tags in FIRST LINE at {}, changes \
         them, and deletes them again. It touches no other record. About {REQUESTS} requests{time}.",
        settings.firstline.base_url.host_str().unwrap_or_default()
    )
}

struct Report<'a> {
    probed: probe::Probed,
    settings: &'a Settings,
    state: String,
}

impl Report<'_> {
    fn failure(&self) -> Option<Failure> {
        self.probed.ended.failure.as_ref().map(|failure| Failure::chain(failure))
    }

    fn exit(&self) -> u8 {
        let ended = &self.probed.ended;
        match &ended.failure {
            Some(failure) if failure.is_interruption() => INTERRUPTED,
            Some(_) => COULD_NOT_RUN,
            None if ended.left_over.is_empty() => DONE,
            None => LEFT_OVER,
        }
    }

    fn json(&self) -> Value {
        let ended = &self.probed.ended;
        let mut json = ended.report.json();
        json["missing"] = probe::missing(self.settings, &ended.report)
            .into_iter()
            .map(|missing| json!({ "what": missing.what, "instead": missing.instead }))
            .collect();
        json["differences"] = probe::differences(self.settings, &ended.report).into();
        json["left_over"] = (ended.left_over.iter())
            .map(|left| {
                let kind = match left.scratch.kind {
                    ScratchKind::Contact => "contact",
                    ScratchKind::Tag => "tag",
                };
                json!({ "kind": kind, "id": left.scratch.id, "name": left.scratch.stamp, "reason": left.reason })
            })
            .collect();
        json["cleared"] = json!(ended.cleared);
        json["requests"] = json!(self.probed.requests);
        json["stored"] = json!(self.probed.stored);
        json["error"] = json!(self.failure().map(|failure| failure.to_string()));
        json["exit_code"] = json!(self.exit());
        json
    }

    fn text(&self) -> String {
        let ended = &self.probed.ended;
        let mut lines = probe::lines(&ended.report);
        lines.push(String::new());
        for missing in probe::missing(self.settings, &ended.report) {
            lines.push(format!("{}; {}", missing.what, missing.instead));
        }
        lines.extend(probe::differences(self.settings, &ended.report));
        if ended.cleared > 0 {
            lines.push(format!("{} records of an earlier probe are gone", ended.cleared));
        }
        lines.push(match ended.left_over.len() {
            0 => String::from("nothing is left over at FIRST LINE"),
            count => format!("{count} scratch records are left over at FIRST LINE, see below"),
        });
        lines.push(if self.probed.stored {
            format!("{} requests; stored in {} for every later run", self.probed.requests, self.state)
        } else {
            format!("{} requests; nothing is stored, because the probe did not come to its end", self.probed.requests)
        });
        lines.join("\n")
    }
}
