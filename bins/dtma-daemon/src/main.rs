//! `dtma-daemon`: settings, backends, manager, door, drain. The story is told here; the parts are chosen in
//! `backends.rs`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a daemon says where it listens, and why it does not"
)]

mod access_log;
mod backends;
mod cli;
mod engine_settings;
mod log;
mod run;
mod settings;
mod tls;
mod token_file;
mod tokens;

use clap::{CommandFactory, FromArgMatches};
use cli::{Cli, Command};
use settings::Settings;
use std::process::ExitCode;

/// A setting is wrong or missing, or the command line is.
const USAGE: u8 = 2;
/// The state directory is in use by another daemon, or cannot be used.
const STATE: u8 = 3;

fn main() -> ExitCode {
    // Exits by itself with 2 on a wrong command line and with 0 after --help.
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let settings = match Settings::resolve(&cli.settings, &matches) {
        Ok(settings) => settings,
        Err(mistakes) => return wrong_settings(&mistakes),
    };
    let result = match cli.command.unwrap_or(Command::Run) {
        Command::Run => run::run(&settings),
        Command::Token(command) => tokens::manage(&command, &settings),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn wrong_settings(mistakes: &[settings::Mistake]) -> ExitCode {
    for mistake in mistakes {
        eprintln!("error: {mistake}");
    }
    eprintln!("{} setting(s) to mend; see dtma-daemon --help", mistakes.len());
    ExitCode::from(USAGE)
}

fn exit_code(error: &anyhow::Error) -> u8 {
    use dtma_core::port::StoreError;
    if error.is::<tokens::NoToken>() {
        return USAGE;
    }
    if error.is::<StoreError>() { STATE } else { 1 }
}
