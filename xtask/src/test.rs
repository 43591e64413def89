//! `cargo xtask test`: all tests of the workspace, with a real engine, real images, the official inspector, the official
//! SDKs and the official conformance suite.
//!
//! Nothing is skipped where something is missing: it is installed, baked or started first.

use crate::engine::Engine;
use crate::{apt, engine, images, node, peers, pip, process, schemathesis, workspace};
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const BUILD: Duration = Duration::from_secs(40 * 60);
const RUN: Duration = Duration::from_secs(40 * 60);

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Given to `cargo test`, for example `-p dtma-docker` or a test's name
    #[arg(last = true)]
    cargo: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let engine = engine::ensure()?;
    images::ensure(&engine)?;
    let inspector = node::inspector()?;
    let [released, next] = node::CONFORMANCE;
    let (conformance, next) = (node::conformance(released)?, node::conformance(next)?);
    let schemathesis = schemathesis::installed()?;
    let (typescript, python) = (node::sdk()?, pip::sdk()?);
    let everything = peers::everything()?;
    programs()?;
    // The black-box tests would build the programs themselves, but where nobody sees how far that is.
    if selection(args).iter().any(|word| word == "--workspace" || word == "dtma-tests") {
        let mut build = Command::new(workspace::cargo());
        build.args(["build", "--workspace", "--bins"]).current_dir(workspace::root());
        process::shown("build the programs under test", BUILD, &mut build)?;
        process::shown("build the daemon with OpenTelemetry", BUILD, &mut with_opentelemetry()?)?;
    }
    // In the engine's own network namespace nothing can be fetched, so what has to be is fetched before.
    let build: Vec<String> = selection(args).into_iter().take_while(|word| word != "--").collect();
    process::shown(
        "build the tests",
        BUILD,
        cargo(Command::new(workspace::cargo())).args(build).arg("--no-run"),
    )?;
    let mut command = cargo(engine.beside(&workspace::cargo()));
    command.args(selection(args)).env("DTMA_TEST_NODE", inspector.node);
    command.env("DTMA_TEST_INSPECTOR", inspector.script);
    command.env("DTMA_TEST_CONFORMANCE", conformance).env("DTMA_TEST_CONFORMANCE_NEXT", next);
    command.env("DTMA_TEST_SCHEMATHESIS", schemathesis);
    command.env("DTMA_TEST_EVERYTHING", everything);
    command.env("DTMA_TEST_SDK_TYPESCRIPT", typescript).env("DTMA_TEST_SDK_PYTHON", python);
    let mut output = process::shown_and_kept("run the tests", RUN, &mut command)?;
    if args.cargo.is_empty() {
        output += &without_shims(&engine)?;
    }
    close(&engine, &Totals::of(&output))
}

/// What is about a server's life, its streams and its ports. The rest of the black-box tests is the same with and
/// without a shim; `DTMA_TEST_SHIMS=off cargo xtask test -- -p dtma-tests` runs them all without.
const ABOUT_SERVERS: [&str; 10] = [
    "lifecycle",
    "hardening",
    "sessions",
    "per_session",
    "spares",
    "rest",
    "leaks",
    "interrupted",
    "engine_restart",
    "rollout",
];

/// The same again where every server is begun by the engine's own init.
fn without_shims(engine: &Engine) -> Result<String> {
    let mut command = cargo(engine.beside(&workspace::cargo()));
    command.args(["-p", "dtma-tests"]).args(ABOUT_SERVERS.iter().flat_map(|name| ["--test", name]));
    command.env("DTMA_TEST_SHIMS", "off");
    process::shown_and_kept("run the tests about servers without the shim", RUN, &mut command)
}

/// Where Debian puts what Podman makes networks with.
const NETAVARK: &str = "/usr/lib/podman/netavark";

/// What tests start themselves: a real registry for pulls, Podman with its init and its networks, OpenSSL as the
/// operating document uses it, and systemd's own judge of unit files.
fn programs() -> Result<()> {
    let missing = |program: &str| workspace::find_program(program).is_none();
    let podman = missing("podman") || missing("catatonit") || !Path::new(NETAVARK).exists();
    let wanted = [
        (missing("docker-registry"), &["docker-registry"][..]),
        (podman, &["podman", "catatonit", "netavark", "aardvark-dns"]),
        (missing("openssl"), &["openssl"]),
        (missing("systemd-analyze"), &["systemd"]),
    ];
    let packages: Vec<&str> =
        wanted.iter().filter(|(missing, _)| *missing).flat_map(|(_, packages)| *packages).copied().collect();
    if packages.is_empty() { Ok(()) } else { apt::install(&packages) }
}

/// As the tests build it themselves (`dtma_tests::binaries::daemon_with`): apart from the usual one, of the same parts.
fn with_opentelemetry() -> Result<Command> {
    let target = workspace::target_dir()?;
    let mut build = Command::new(workspace::cargo());
    build.args(["build", "--workspace", "--bins", "--features", "dtma-daemon/otel", "--target-dir"]);
    build.arg(target.join("with").join("otel")).env("CARGO_BUILD_BUILD_DIR", &target);
    build.current_dir(workspace::root());
    Ok(build)
}

fn cargo(mut command: Command) -> Command {
    command.arg("test").current_dir(workspace::root());
    command
}

/// What cargo is to test: everything, unless packages are named.
fn selection(args: &Args) -> Vec<String> {
    let mut words = args.cargo.clone();
    let names_a_package = |word: &String| word.starts_with("-p") || word.starts_with("--package");
    if !words.iter().take_while(|word| *word != "--").any(names_a_package) {
        words.insert(0, "--workspace".to_owned());
    }
    words
}

fn close(engine: &Engine, totals: &Totals) -> Result<()> {
    if totals.ignored > 0 {
        bail!("{} tests were skipped, and none may be", totals.ignored);
    }
    println!("tests: {} passed, 0 failed, 0 skipped, in {} programs", totals.passed, totals.programs);
    println!("engine: {} (left running)", engine.docker_host);
    Ok(())
}

/// The sum of the lines `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
#[derive(Default, Debug, PartialEq, Eq)]
struct Totals {
    programs: usize,
    passed: usize,
    ignored: usize,
}

impl Totals {
    fn of(output: &str) -> Self {
        let results = output.lines().filter(|line| line.starts_with("test result: "));
        results.fold(Self::default(), |sum, line| Self {
            programs: sum.programs + 1,
            passed: sum.passed + number_before(line, " passed"),
            ignored: sum.ignored + number_before(line, " ignored"),
        })
    }
}

fn number_before(line: &str, word: &str) -> usize {
    let before = line.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_summed_over_the_programs() {
        let output = "test a ... ok\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        assert_eq!(Totals::of(output), Totals { programs: 2, passed: 15, ignored: 1 });
    }

    #[test]
    fn the_whole_workspace_is_tested_unless_a_package_is_named() {
        let words =
            |cargo: &[&str]| selection(&Args { cargo: cargo.iter().map(ToString::to_string).collect() });
        assert_eq!(words(&["name"]), ["--workspace", "name"]);
        assert_eq!(words(&["-p", "dtma-core"]), ["-p", "dtma-core"]);
        assert_eq!(words(&["--", "--p"]), ["--workspace", "--", "--p"]);
    }
}
