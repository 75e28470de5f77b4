//! `deskferry health`: whether the running service is well, as an exit code. What a container's health check runs, so
//! that the image needs no other program for it.

use std::sync::Arc;

use serde_json::json;
use url::Url;

use super::Context;
use super::output::{DONE, Failure, LEFT_OVER, note, say};
use crate::app::health::{self, Question, Unwell};
use crate::config::load::{examine, process_environment};
use crate::sync::progress::Silent;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask whether it is ready (state open, both platforms reached lately, last sweep not too old), not only alive
    #[arg(long)]
    ready: bool,
    /// Ask this address instead of the service of the configuration; any success will do
    #[arg(long, value_name = "URL", conflicts_with = "ready", value_parser = address)]
    url: Option<Url>,
}

/// An address that can be asked.
fn address(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err(String::from("write it as http://HOST:PORT/PATH")),
    }
}

/// Runs the command. Whatever is wrong is exit code 1: that of 2 is reserved where containers are checked.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let failure = match ask(&args, context).await {
        Ok(()) => None,
        Err(failure) => Some(failure.to_string()),
    };
    if context.json {
        say(json!({ "well": failure.is_none(), "error": failure }));
    } else if let Some(failure) = &failure {
        note(format_args!("not well: {failure}"));
    } else {
        say(if args.ready { "ready" } else { "well" });
    }
    Ok(if failure.is_none() { DONE } else { LEFT_OVER })
}

async fn ask(args: &Args, context: &Context) -> Result<(), Failure> {
    let around = context.surroundings(Arc::new(Silent));
    if let Some(url) = &args.url {
        return health::ask_url(url, &around).await.map_err(|unwell| Failure::chain(&unwell));
    }
    // Problems elsewhere in the files are none of a running service, which read them when it started.
    let examined = examine(&context.config, process_environment())?;
    if !["ops.listen", "ops.token", "ops.token_file"].into_iter().all(|key| examined.is_sound(key)) {
        return Err(examined.problems.into());
    }
    let ops = &examined.settings.ops;
    let question = if args.ready { Question::Ready } else { Question::Alive };
    health::ask(ops, question, &around).await.map_err(|unwell| {
        let message = Failure::chain(&unwell);
        match unwell {
            Unwell::Unreachable(_) => Failure::new(format!("{message}; ops.listen is {}", ops.listen)),
            Unwell::Status { status: 503 } => {
                Failure::new(format!("{message}: `deskferry status` says where it stands"))
            }
            _ => message,
        }
    })
}
