//! `deskferry demo`: the whole story against the sandbox, without any credentials.
//!
//! Starts both simulated platforms with moderate faults, backfills as an operator would, and at the end compares what
//! both sides hold. Everything happens on loopback and in a temporary folder.

use std::path::PathBuf;

use serde_json::json;

use super::compare::compare;
use super::output::{DONE, Failure, LEFT_OVER, note, say};
use super::{Context, session, start_log};
use crate::app;
use crate::config::load::{Loaded, parse};
use crate::config::mapping_file::MappingSource;
use crate::config::template::MAPPING;
use crate::sandbox::faults::FaultSettings;
use crate::sandbox::{Sandbox, SandboxConfig};
use crate::sync::pipeline::Entrants;
use crate::telemetry::Shape;

/// Customers that FIRST LINE has before the migration.
const EARLIER_CUSTOMERS: usize = 40;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many contacts LiveDesk holds
    #[arg(long, default_value_t = 2_400, value_name = "N")]
    contacts: u32,
    /// Everything random comes from here
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the configuration and the state in this folder instead of a temporary one
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    start_log(Shape::Human, tracing::level_filters::LevelFilter::WARN)?;
    let temporary = tempfile::tempdir()?;
    let folder = args.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    let sandbox = Sandbox::start(SandboxConfig {
        seed: args.seed,
        contacts: args.contacts,
        livedesk_faults: livedesk_faults(),
        firstline_faults: firstline_faults(),
        ..SandboxConfig::default()
    })
    .await?;
    let earlier: Vec<String> = (0..EARLIER_CUSTOMERS).map(|number| format!("earlier{number}@example.org")).collect();
    let earlier: Vec<&str> = earlier.iter().map(String::as_str).collect();
    sandbox.firstline().seed_customers(EARLIER_CUSTOMERS, args.seed, &earlier, &[]);
    note(format_args!(
        "sandbox: LiveDesk with {} contacts (40 kinds of edge cases among them, unstable paging), FIRST LINE with \
         {EARLIER_CUSTOMERS} earlier customers;\nboth answer late, fail, lose answers and ask to slow down now and then",
        args.contacts
    ));
    let path = folder.join("deskferry.toml");
    let text = configuration(&sandbox);
    std::fs::write(&path, &text)?;
    std::fs::write(folder.join("mapping.toml"), MAPPING)?;
    let loaded = Loaded {
        settings: parse(&path, &text, std::iter::empty())?,
        mapping: MappingSource::from_text(&folder.join("mapping.toml"), MAPPING.to_owned())?,
        warnings: Vec::new(),
    };
    let settings = loaded.settings.clone();
    let mapping_source = loaded.mapping.clone();
    let (session, mapping) = session::begin(context, loaded, "demo", &json!({})).await?;
    let pipeline = session.pipeline(mapping).await?;
    if let Err(error) = pipeline.preflight(&Entrants::All).await {
        return Err(session.refuse(error.into()).await);
    }
    let end = pipeline.run(Entrants::All).await;
    let set_aside = end.summary.set_aside_rows.iter().filter_map(|row| row.id).map(|id| id.0).collect::<Vec<_>>();
    let interrupted = end.summary.interrupted;
    let definitions = session.store.definitions().await?;
    let exit = session.end(end, context.json).await?;
    if interrupted {
        return Ok(exit);
    }
    let mapping = app::compile_mapping(&settings, &mapping_source, Some(&definitions))?;
    let found = compare(
        &sandbox.livedesk().dump(),
        &sandbox.firstline().dump(),
        &mapping,
        &app::stamp_scheme(&settings),
        settings.identity.phone_country,
    );
    let forgotten: Vec<i64> = found.unmappable.iter().filter(|id| !set_aside.contains(id)).copied().collect();
    let right = found.is_right() && forgotten.is_empty();
    let verdict = if right { "right" } else { "WRONG" };
    let line = format!(
        "compared both sides: {verdict}; of {} listed contacts {} are there exactly once with the mapped values, {} are \
         not selected, {} cannot be mapped and were set aside; missing {}, twice {}, wrong {}",
        found.listed,
        found.right,
        found.not_selected,
        found.unmappable.len(),
        found.missing.len(),
        found.duplicated.len(),
        found.wrong.len(),
    );
    if context.json {
        note(line);
    } else {
        say(line);
    }
    if let Some(folder) = &args.keep {
        note(format_args!("configuration and state are kept in {}", folder.display()));
    }
    sandbox.shut_down().await;
    Ok(if right && exit <= LEFT_OVER { DONE } else { LEFT_OVER })
}

fn livedesk_faults() -> FaultSettings {
    FaultSettings {
        latency_ms: 4,
        error_rate: 0.01,
        reset_rate: 0.005,
        truncated_rate: 0.005,
        html_rate: 0.003,
        throttle_rate: 0.004,
        ..FaultSettings::default()
    }
}

fn firstline_faults() -> FaultSettings {
    FaultSettings {
        latency_ms: 6,
        error_rate: 0.006,
        lost_ack_rate: 0.004,
        reset_rate: 0.002,
        reset_after_rate: 0.003,
        truncated_rate: 0.002,
        html_rate: 0.001,
        throttle_rate: 0.003,
        late_rate: 0.001,
        late_ms: 400,
        late_hold_ms: 50,
        ..FaultSettings::default()
    }
}

/// As an operator would write it, but for rates and waits, which the sandbox makes short.
fn configuration(sandbox: &Sandbox) -> String {
    format!(
        r#"mapping = "mapping.toml"

[livedesk]
base_url = "{}"
api_key = "sandbox-key"
api_secret = "sandbox-secret"
requests_per_second = 0.0
concurrency = 4
throttle_wait = "300ms"

[firstline]
base_url = "{}"
token = "sandbox-token"
requests_per_second = 0.0
concurrency = 8
throttle_wait = "300ms"

[http]
retry_first = "20ms"
retry_ceiling = "500ms"

[identity]
stamp = {{ membership_no = "LD-" }}
settle = "200ms"
doubt_horizon = "2s"
"#,
        sandbox.livedesk_url(),
        sandbox.firstline_url(),
    )
}
