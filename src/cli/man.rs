//! `deskferry man`: the manual pages, made from the same description as `--help`.

use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;

use super::output::{DONE, Failure, note, said};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command whose page is wanted, such as `conflicts list`; without one, the page of the program
    #[arg(conflicts_with = "out")]
    command: Vec<String>,
    /// Write every page into this folder, which is made if need be, where `man` finds them by name
    #[arg(long, short, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let mut program = super::Cli::command();
    program.build();
    if let Some(folder) = &args.out {
        let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(program, folder));
        written.map_err(|error| {
            Failure::new(format!("the manual pages cannot be written to {}: {error}", folder.display()))
        })?;
        note(format_args!("the manual pages are in {}: `man -l {}/deskferry.1`", folder.display(), folder.display()));
        return Ok(DONE);
    }
    let mut page = &program;
    for name in &args.command {
        page = page.find_subcommand(name).ok_or_else(|| {
            let names: Vec<&str> =
                page.get_subcommands().map(clap::Command::get_name).filter(|name| *name != "help").collect();
            let known = if names.is_empty() { String::from("none") } else { names.join(", ") };
            Failure::new(format!("{} has no command {name:?}; it has: {known}", page.get_name()))
        })?;
    }
    said(clap_mangen::Man::new(page.clone()).render(&mut std::io::stdout()));
    Ok(DONE)
}
