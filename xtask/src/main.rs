//! `cargo xtask`: everything a contributor runs besides plain cargo.
//!
//! The story is one line per command; the work lives in the modules. This package imports no crate of
//! the project, so it builds when the project does not.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command-line tool: it prints, reads its environment and looks at the clock"
)]

mod apt;
mod bench;
mod ci;
mod demo;
mod engine;
mod images;
mod node;
mod openapi;
mod package;
mod peers;
mod pip;
mod process;
mod schemathesis;
mod soak;
mod test;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, engine, images, checks and tests of the project")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Use, start or stop a Docker Engine
    #[command(subcommand)]
    Engine(engine::Command),
    /// Bake the images that tests and the demo run
    Images(images::Args),
    /// Run MCP's official inspector, installing it first if need be
    Inspector(node::Args),
    /// Check the house rules: arrows between crates, headers, documents, lengths
    Tidy,
    /// Show everything on this machine: servers, tool calls, a crash, a kill -9, and nothing left
    Demo(demo::Args),
    /// Run all tests against a real engine
    Test(test::Args),
    /// Run the long forms of tests: updates under load, random kills, conflict, an engine that stands still
    Soak(soak::Args),
    /// Measure deployments, gateway calls and the idle daemon beside the raw engine
    Bench(bench::Args),
    /// Write docs/openapi.json anew
    Openapi,
    /// Make the Debian package
    Package(package::Args),
    /// Run everything that must hold before a merge
    Ci,
}

fn main() -> std::process::ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Engine(command) => engine::run(&command),
        Command::Images(args) => images::run(&args),
        Command::Inspector(args) => node::run(&args),
        Command::Tidy => tidy::run(),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Openapi => openapi::run(),
        Command::Package(args) => package::run(&args),
        Command::Ci => ci::run(),
    }
}
