//! What others have to put a stdio server on a port, from npm and PyPI, to be measured beside our doors; and the server
//! that is put there.

use crate::{node, pip, workspace};
use anyhow::Result;
use std::path::PathBuf;

/// The same version as that of the image.
const EVERYTHING: &str = "2026.8.31";
/// From npm: as it is called here, there, and which version.
const NPM: [(&str, &str, &str); 2] =
    [("supergateway", "supergateway", "4.0.0"), ("npm-mcp-proxy", "mcp-proxy", "6.7.19")];
/// From PyPI.
const PYPI: [(&str, &str, &str); 2] = [
    ("pypi-mcp-proxy", "mcp-proxy", "0.13.0"),
    ("contextforge", "mcp-contextforge-gateway", "1.0.7.post20260921"),
];

/// The script of server-everything, installed into the work directory when absent.
pub(crate) fn everything() -> Result<PathBuf> {
    let package = "@modelcontextprotocol/server-everything";
    let dir = npm("server-everything", package, EVERYTHING)?;
    Ok(dir.join("node_modules").join(package).join("dist/index.js"))
}

/// Each of them, installed into the work directory when absent, or why it could not be.
pub(crate) fn all() -> Vec<(&'static str, Result<PathBuf>)> {
    let from_npm = NPM.map(|(name, package, version)| (name, npm(name, package, version)));
    let from_pypi = PYPI.map(|(name, package, version)| (name, pypi(name, package, version)));
    from_npm.into_iter().chain(from_pypi).collect()
}

fn npm(name: &str, package: &str, version: &str) -> Result<PathBuf> {
    workspace::made_once(&format!("{name}-{version}"), |dir| {
        node::npm_install(dir, &[&format!("{package}@{version}")])
    })
}

fn pypi(name: &str, package: &str, version: &str) -> Result<PathBuf> {
    workspace::made_once(&format!("{name}-{version}"), |dir| {
        pip::install_whole(&format!("{package}=={version}"), dir)
    })
}
