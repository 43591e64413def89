//! `dtma`: the command line of the daemon. Whatever it can do, the HTTP API can do; it imports no manager.
//!
//! A command line is read ([`cli`]), done ([`commands`]) and ends as a number ([`exit`]). Only this file looks at
//! the environment and the clock.

mod app;
mod bake;
mod cli;
mod clients;
mod commands;
mod contexts;
mod exit;
mod failure;
mod file;
mod output;
mod progress;
mod redact;

use app::{App, Screens, World};
use clap::Parser;
use cli::{Cli, Command, Global};
use clients::place::Homes;
use exit::Exit;
use failure::Failure;
use output::time::Clock;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let screens = screens();
    let ink = app::output(&cli.global, screens).remark_ink;
    match run(cli, screens) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.tell(ink).code()),
    }
}

fn run(cli: Cli, screens: Screens) -> Result<(), Failure> {
    let (token, ci) = (environment("DTMA_TOKEN"), environment("CI").is_some());
    let world = World { token, contexts: contexts_file(), homes: homes(), ci, screens, clock: clock() };
    let output = app::output(&cli.global, screens);
    match commands::alone(&output, &cli.global, &world, &cli.command) {
        Some(done) => done,
        None => ask(&cli.global, &world, cli.command),
    }
}

/// What needs a daemon.
fn ask(global: &Global, world: &World, command: Command) -> Result<(), Failure> {
    let foretells = commands::foretells(&command);
    let done = asked(global, world, command);
    // Changes and no plan at all must be told apart.
    if foretells { done.map_err(|failure| failure.ending(Exit::NoPlan)) } else { done }
}

fn asked(global: &Global, world: &World, command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Exit::Failed, "the system lets this program do nothing").cause(error.to_string())
    })?;
    let done = runtime.block_on(async {
        let app = App::new(global, world)?;
        commands::run(&app, command).await
    });
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    done
}

/// A terminal that takes colours, and a person who wants them (`NO_COLOR`, `CLICOLOR`, `TERM`).
fn takes_colours(stream: &impl anstream::stream::RawStream) -> bool {
    anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
}

#[expect(clippy::disallowed_methods, reason = "the environment is read here and nowhere else")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `$XDG_CONFIG_HOME`, and the place the XDG rules name when that is not set.
fn config_folder() -> Option<PathBuf> {
    let home = || environment("HOME").map(|home| PathBuf::from(home).join(".config"));
    let folder = environment("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    folder.or_else(home)
}

fn contexts_file() -> Option<PathBuf> {
    config_folder().map(|folder| folder.join("dtma/config.toml"))
}

fn homes() -> Homes {
    let home = environment("HOME").map(PathBuf::from);
    Homes { home, config: config_folder(), program: std::env::current_exe().ok() }
}

fn screens() -> Screens {
    let colours = (takes_colours(&std::io::stdout()), takes_colours(&std::io::stderr()));
    let width = terminal_size::terminal_size_of(std::io::stdout());
    Screens { colours, width: width.map(|(width, _)| usize::from(width.0)) }
}

#[expect(clippy::disallowed_methods, reason = "the clock is read here and nowhere else")]
fn clock() -> Clock {
    Clock::starting_at(jiff::Timestamp::now())
}
