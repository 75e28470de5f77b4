//! `deskferry verify`: compares both platforms as they are now, and says what is not as the mapping wants it.
//!
//! Writes to neither platform and not to the state, so it may run beside the service.

mod files;
mod groups;
mod report;
mod text;

use std::path::PathBuf;
use std::sync::Arc;

use super::output::{DONE, Failure, LEFT_OVER, note, say};
use super::progress::Bar;
use super::{Context, runs};
use crate::app::verify::{Comparison, VerifyError};
use crate::domain::causes::with_causes;
use crate::sync::progress::Progress;
use crate::sync::verify::Options;

use files::Files;
use groups::Groups;

/// Contacts that are looked at a second time before they are called faulty, unless somebody says otherwise.
const AGAIN: u64 = 5_000;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Compare N contacts drawn at random instead of all; duplicates and strangers among the others are not looked for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// Draw the sample that an earlier run drew: the seed that it printed
    #[arg(long, value_name = "SEED", requires = "sample")]
    seed: Option<u64>,
    /// Look a second time at up to N contacts that differ, so that what changed meanwhile is no fault
    #[arg(long, value_name = "N", default_value_t = AGAIN)]
    recheck: u64,
    /// Judge without the state: nothing is explained by who changed a field since, or by what was set aside
    #[arg(long)]
    ignore_state: bool,
    /// Show the values that differ too, on the terminal and in the lists: personal data. Never in the report
    #[arg(long)]
    show_values: bool,
    /// Write every finding to a CSV file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write every finding to a file of JSON lines
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Write the protocol of the comparison: one HTML page that needs nothing else
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Run(error) => error.into(),
            VerifyError::Problems(problems) => problems.into(),
            other => Self::new(with_causes(&other)),
        }
    }
}

/// What is said of a comparison beside its findings.
struct Occasion {
    /// When it began, and when it ended.
    began: String,
    ended: String,
    /// The addresses of both sides, without their scheme.
    livedesk: String,
    firstline: String,
    mapping_version: String,
    /// Requests to each side.
    requests: (u64, u64),
    without_state: Option<&'static str>,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load_to_connect()?;
    // What cannot be written is known before the work, not after it.
    let mut files = Files::open(&args, &loaded.settings)?;
    let bar = Arc::new(Bar::on_stderr());
    let around = context.surroundings(Arc::clone(&bar) as Arc<dyn Progress>);
    let options = Options {
        sample: args.sample.map(|size| usize::try_from(size).unwrap_or(usize::MAX)),
        // Small enough to be typed again.
        seed: args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        again: args.recheck,
        values: args.show_values,
        max_rounds: loaded.settings.sweep.max_rounds,
    };
    let began = context.clock.now();
    let mut comparison = Comparison::prepare(&loaded, &around, options, args.ignore_state).await?;
    let found = comparison.verifier.run().await;
    bar.finish();
    let found = found?;
    let mut groups = Groups::default();
    comparison
        .verifier
        .findings::<Failure>(|finding| {
            groups.add(finding);
            files.row(finding)
        })
        .await?;
    let (livedesk, firstline) = comparison.platforms.counts();
    let occasion = Occasion {
        began: runs::moment(began),
        ended: runs::moment(context.clock.now()),
        livedesk: place(&comparison.accounts.livedesk),
        firstline: place(&comparison.accounts.firstline),
        mapping_version: comparison.mapping_version.clone(),
        requests: (livedesk.requests, firstline.requests),
        without_state: comparison.without_state,
    };
    comparison.close().await;
    let written = files.finish(|| report::page(&found, &groups, &occasion))?;
    if context.json {
        say(text::as_json(&found, &groups, &occasion, &written));
    } else {
        text::lines(&found, &groups, &occasion).into_iter().for_each(say);
        for path in &written {
            note(format_args!("written: {}", path.display()));
        }
    }
    Ok(if found.is_clean() { DONE } else { LEFT_OVER })
}

/// An address without its scheme: what a page names and does not point to.
fn place(address: &str) -> String {
    address.split_once("://").map_or(address, |(_, rest)| rest).to_owned()
}
