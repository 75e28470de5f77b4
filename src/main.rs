//! The `deskferry` binary: parse, dispatch, exit code.

fn main() {}
