//! The `deskferry` binary: everything is in the library.

use std::process::ExitCode;

/// One heap for all threads: see docs/adr/0015.
#[global_allocator]
static MEMORY: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    deskferry::cli::main()
}
