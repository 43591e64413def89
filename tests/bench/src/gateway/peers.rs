//! What others have to put a stdio server on a port: how each is started in front of a process, in the way its own
//! documents recommend and that does best here.

use super::process::Program;
use super::{Options, Server};
use anyhow::{Context, Result};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// One of them.
pub(super) struct Peer {
    /// As the installation is called on the command line.
    pub(super) key: &'static str,
    /// As a row is called.
    pub(super) name: &'static str,
    path: &'static str,
    command: fn(&Place<'_>) -> Command,
}

struct Place<'a> {
    options: &'a Options,
    installed: &'a Path,
    server: &'a Server,
    port: u16,
    dir: &'a Path,
}

pub(super) const PEERS: [Peer; 4] = [
    Peer { key: "supergateway", name: "npm supergateway, stateful", path: "/mcp", command: supergateway },
    Peer { key: "npm-mcp-proxy", name: "npm mcp-proxy", path: "/mcp", command: npm_proxy },
    Peer { key: "pypi-mcp-proxy", name: "PyPI mcp-proxy", path: "/mcp", command: pypi_proxy },
    Peer { key: "contextforge", name: "ContextForge translate", path: "/mcp", command: contextforge },
];

impl Peer {
    /// Starts it; the address is where it will be.
    pub(super) fn start(
        &self,
        options: &Options,
        installed: &Path,
        server: &Server,
        dir: &Path,
    ) -> Result<(Program, String)> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let dir = dir.join(format!("{}-{}", self.key, server.name));
        std::fs::create_dir_all(&dir)?;
        let mut command = (self.command)(&Place { options, installed, server, port, dir: &dir });
        command.current_dir(&dir);
        let program = Program::start(command, dir.join("log")).context(self.name)?;
        Ok((program, format!("http://127.0.0.1:{port}{}", self.path)))
    }
}

fn node(place: &Place<'_>, script: &str) -> Command {
    let mut command = Command::new(&place.options.node);
    command.arg(place.installed.join("node_modules").join(script));
    command
}

fn python(place: &Place<'_>, module: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", module]).env("PYTHONPATH", place.installed);
    command
}

/// A process for each session; without `--stateful` it would be one for each request.
fn supergateway(place: &Place<'_>) -> Command {
    let mut command = node(place, "supergateway/dist/index.js");
    command.args(["--stdio", &place.server.process.join(" "), "--outputTransport", "streamableHttp"]);
    command.args(["--stateful", "--logLevel", "none", "--port", &place.port.to_string()]);
    command
}

fn npm_proxy(place: &Place<'_>) -> Command {
    let mut command = node(place, "mcp-proxy/dist/bin/mcp-proxy.mjs");
    command.args(["--host", "127.0.0.1", "--port", &place.port.to_string(), "--server", "stream", "--"]);
    command.args(&place.server.process);
    command
}

fn pypi_proxy(place: &Place<'_>) -> Command {
    let mut command = python(place, "mcp_proxy");
    command.args(["--port", &place.port.to_string(), "--log-level", "WARNING", "--"]);
    command.args(&place.server.process);
    command
}

/// It does not begin without secrets of its own, although none of them is used here.
fn contextforge(place: &Place<'_>) -> Command {
    let mut command = python(place, "mcpgateway.translate");
    command.args(["--stdio", &place.server.process.join(" "), "--expose-streamable-http"]);
    command.args(["--logLevel", "error", "--port", &place.port.to_string()]);
    for name in ["JWT_SECRET_KEY", "AUTH_ENCRYPTION_SECRET", "BASIC_AUTH_PASSWORD", "PLATFORM_ADMIN_PASSWORD"]
    {
        command.env(name, format!("Aa1!{}", uuid::Uuid::new_v4()));
    }
    command.env("DATABASE_URL", format!("sqlite:///{}", place.dir.join("mcp.db").display()));
    command.env("LOG_LEVEL", "ERROR");
    command
}
