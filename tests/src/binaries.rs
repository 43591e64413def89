//! Where the project's own programs are: beside the running test, built on the spot when they are not up to date.

use crate::program;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

const BUILD: Duration = Duration::from_secs(30 * 60);

/// What cargo tells a test that it runs. A cargo below it must not hear it: some build scripts (ring's) would run again
/// with everything that stands on them, because it was another word the last time.
const OF_CARGO: [&str; 7] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_PKG_NAME",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
];

/// The daemon's program.
#[must_use]
pub fn daemon() -> PathBuf {
    directory().join("dtma-daemon")
}

/// The daemon's program with a feature that it is not built with otherwise, apart from the usual one, which other tests
/// run: only what is made on the way there is shared.
#[must_use]
pub fn daemon_with(feature: &str) -> PathBuf {
    let directory = beside_this_test();
    let target = directory.parent().expect("the target directory");
    let apart = target.join("with").join(feature);
    let mut cargo = cargo_of(&directory, &["--workspace", "--bins"], &apart);
    cargo.args(["--features", &format!("dtma-daemon/{feature}")]).env("CARGO_BUILD_BUILD_DIR", target);
    built(&mut cargo);
    apart.join(directory.file_name().expect("the profile")).join("dtma-daemon")
}

/// The command line's program.
#[must_use]
pub fn cli() -> PathBuf {
    directory().join("dtma")
}

/// The directory they are in. The first call has cargo look whether they are up to date: a test must never run
/// against the daemon of yesterday.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = beside_this_test();
        build(&directory);
        directory
    })
}

/// `target/debug` of `target/debug/deps/lifecycle-0123456789abcdef`.
fn beside_this_test() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let deps = test.parent().expect("a test lies in a directory");
    deps.parent().expect("that directory lies in another").to_owned()
}

/// An example of this package, built on the spot.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let directory = beside_this_test();
    cargo_build(&directory, &["-p", "dtma-tests", "--example", name]);
    directory.join("examples").join(name)
}

/// The static shim, as it lies in containers.
#[must_use]
pub fn shim() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build_shim).clone()
}

/// The command is explained in the shim's own manifest.
fn build_shim() -> PathBuf {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let target = beside_this_test().parent().expect("the target directory").join("shim");
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "-p", "dtma-shim", "--profile", "shim", "--target", &triple]);
    cargo.arg("--target-dir").arg(&target).env("RUSTFLAGS", "-C target-feature=+crt-static");
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS").current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = program::run(&mut cargo, BUILD);
    assert!(built.status.success(), "the shim does not build:\n{}", built.stderr);
    target.join(triple).join("shim").join("dtma-shim")
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in OF_CARGO {
        cargo.env_remove(name);
    }
    cargo
}

fn build(directory: &Path) {
    // The whole workspace's bins, so that features are chosen as for the tests and nothing is built twice.
    cargo_build(directory, &["--workspace", "--bins"]);
}

fn cargo_build(directory: &Path, what: &[&str]) {
    built(&mut cargo_of(directory, what, directory.parent().expect("the target directory")));
}

/// Builds as the tests in `directory` were built.
fn cargo_of(directory: &Path, what: &[&str], target: &Path) -> Command {
    let mut cargo = cargo();
    cargo.args(["build", "--quiet"]).args(what).arg("--target-dir").arg(target);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    if directory.file_name().is_some_and(|profile| profile == "release") {
        cargo.arg("--release");
    }
    cargo
}

fn built(cargo: &mut Command) {
    let built = program::run(cargo, BUILD);
    assert!(built.status.success(), "{cargo:?} fails:\n{}", built.stderr);
}
