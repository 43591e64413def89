//! `dtma`: the command line of the daemon. Whatever it can do, the HTTP API can do; it imports no manager.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let _ = cli;
    ExitCode::FAILURE
}
