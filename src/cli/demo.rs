//! `deskferry demo`: the whole story against the sandbox.

use super::Context;
use super::output::Failure;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(_args: Args, _context: &Context) -> Result<u8, Failure> {
    Err(Failure::new("not yet"))
}
