//! `deskferry sync`: one quick cycle, now.

use serde_json::json;

use super::output::Failure;
use super::{Context, session};
use crate::sync::pipeline::Entrants;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(_args: Args, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load_to_connect()?;
    let (session, mapping) = session::begin(context, loaded, "sync", &json!({})).await?;
    let session = session.unless_held().await?;
    let pipeline = session.pipeline(mapping).await?;
    if let Err(error) = pipeline.preflight(&Entrants::Recent).await {
        return Err(session.refuse(error.into()).await);
    }
    let end = pipeline.run(Entrants::Recent).await;
    session.end(end, context.json).await
}
