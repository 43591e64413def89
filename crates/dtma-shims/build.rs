//! Builds the shim as containers need it, static and small, so that it can be embedded. By a cargo of its own: only
//! the shim is to be linked statically.

#![expect(clippy::disallowed_methods, reason = "cargo tells a build script everything by variables")]

use sha2::{Digest, Sha256};
use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What cargo, or clippy through it, tells its compilers, and what must not be told to those of the shim.
const NOT_FOR_THE_SHIM: &[&str] = &[
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MAKEFLAGS",
    "CARGO_BUILD_TARGET",
    "CLIPPY_ARGS",
    "MAKEFLAGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for input in ["bins/dtma-shim", "crates/dtma-wire/src", "crates/dtma-wire/Cargo.toml", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let program = build(&root)?;
    let hash: String = Sha256::digest(fs::read(&program)?).iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=DTMA_SHIM_PROGRAM={}", program.display());
    println!("cargo::rustc-env=DTMA_SHIM_SHA256={hash}");
    Ok(())
}

fn build(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let (target, out) = (env::var("TARGET")?, PathBuf::from(env::var("OUT_DIR")?));
    // `<target>/<profile>/build/<package>/out`: all profiles share what is built for the shim.
    let shared = out.ancestors().nth(4).unwrap_or(&out).join("shim");
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo.current_dir(root).args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "dtma-shim",
        "--profile",
        "shim",
    ]);
    cargo.args(["--target", &target]).arg("--target-dir").arg(&shared);
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    for name in NOT_FOR_THE_SHIM {
        cargo.env_remove(name);
    }
    if !cargo.status()?.success() {
        return Err("the shim cannot be built; the lines above say why".into());
    }
    // A name of its own, so that a later build for somebody else cannot change what is embedded here.
    let program = out.join("dtma-shim");
    fs::copy(shared.join(&target).join("shim/dtma-shim"), &program)?;
    Ok(program)
}
