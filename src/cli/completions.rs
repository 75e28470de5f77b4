//! `deskferry completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::output::{DONE, Failure};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8, Failure> {
    clap_complete::generate(args.shell, &mut super::Cli::command(), "deskferry", &mut std::io::stdout());
    Ok(DONE)
}
