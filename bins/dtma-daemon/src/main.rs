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
mod config_file;
mod egress;
mod engine_settings;
mod heartbeat;
mod log;
mod log_file;
mod man;
mod otel;
mod run;
mod settings;
mod show;
mod state;
mod system;
mod systemd;
mod template_dir;
mod tls;
mod token_file;
mod tokens;
mod watched;

use clap::{CommandFactory, FromArgMatches};
use cli::{Cli, Command, ConfigCommand};
use settings::Settings;
use std::process::ExitCode;
use systemd::Service;

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
    let command = cli.command.unwrap_or(Command::Run);
    // Shown as they are said, so that they can be looked at while they are wrong.
    if let Command::Config(ConfigCommand::Show { origin, output }) = command {
        return ended(show::show(&cli.settings, &matches, origin, output));
    }
    if let Command::Man { dir } = &command {
        return ended(man::write(dir));
    }
    let service = match &command {
        Command::Run => Service::of_this_process(),
        Command::Token(_) | Command::Config(_) | Command::State(_) | Command::Man { .. } => {
            Ok(Service::default())
        }
    };
    let service = match service {
        Ok(service) => service,
        Err(problem) => return wrong_settings(&[settings::Mistake::of_socket(problem)]),
    };
    let passed = service.socket.as_ref().and_then(|socket| socket.local_addr().ok());
    let settings = match Settings::resolve(&cli.settings, &matches, passed) {
        Ok(settings) => settings,
        Err(mistakes) => {
            let usage = wrong_settings(&mistakes);
            return if matches!(command, Command::Config(_)) { ExitCode::FAILURE } else { usage };
        }
    };
    ended(match command {
        Command::Run => run::run(&settings, service),
        Command::Token(command) => tokens::manage(&command, &settings),
        Command::State(command) => state::manage(&command, &settings),
        Command::Config(_) => {
            println!("the settings are sound");
            Ok(())
        }
        Command::Man { dir } => man::write(&dir),
    })
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
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
