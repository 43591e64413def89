//! `dtma`: the command line of the daemon. Whatever it can do, the HTTP API can do; it imports no manager.
//!
//! A command line is read ([`cli`]), done ([`commands`]) and ends as a number ([`exit`]). Only this file looks at
//! the environment and the clock.

mod app;
mod cli;
mod commands;
mod exit;
mod failure;
mod file;
mod output;
mod progress;

use app::{App, World};
use clap::Parser;
use cli::Cli;
use exit::Exit;
use failure::Failure;
use output::time::Clock;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let colours = (takes_colours(&std::io::stdout()), takes_colours(&std::io::stderr()));
    let ink = app::output(&cli.global, colours).remark_ink;
    match run(cli, colours) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(ink).exit().map_or(ExitCode::SUCCESS, ExitCode::from),
    }
}

fn run(cli: Cli, colours: (bool, bool)) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Exit::Failed, "the system lets this program do nothing").cause(error.to_string())
    })?;
    let done = runtime.block_on(async {
        let app = App::new(&cli.global, World { token: token(), colours, clock: clock() })?;
        commands::run(&app, cli.command).await
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
fn token() -> Option<String> {
    std::env::var("DTMA_TOKEN").ok()
}

#[expect(clippy::disallowed_methods, reason = "the clock is read here and nowhere else")]
fn clock() -> Clock {
    Clock::starting_at(jiff::Timestamp::now())
}
