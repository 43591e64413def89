//! The proof of an image: one container, as tightly shut as the hardened template makes it, that answers.

use super::recipe::{Proof, Recipe};
use crate::engine::Engine;
use crate::process;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// For one answer, a cold start at half a CPU included.
const PATIENCE: Duration = Duration::from_secs(30);

const HARDENED: &[&str] = &[
    "run",
    "--rm",
    "--interactive",
    "--init",
    "--network=none",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--tmpfs=/tmp:noexec,nosuid,nodev,size=64m",
    "--memory=256m",
    "--memory-swap=256m",
    "--cpus=0.5",
    "--pids-limit=128",
    "--user=65532:65532",
    "--log-driver=none",
    "--tmpfs=/run:noexec,nosuid,nodev,size=16m",
];

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"xtask","version":"0"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{}}"#;

pub(crate) fn prove(engine: &Engine, recipe: &Recipe) -> Result<()> {
    let label = format!("prove {}", recipe.tag());
    match &recipe.proof {
        Proof::Base => Ok(()),
        Proof::Exits(command) => process::timed(&label, || exits(engine, recipe, command)),
        Proof::Lists(tool) => process::timed(&label, || lists(engine, recipe, tool, None)),
        Proof::ListsWith(cases) => process::timed(&label, || {
            cases.iter().try_for_each(|(variable, tool)| lists(engine, recipe, tool, Some(variable)))
        }),
    }
}

fn exits(engine: &Engine, recipe: &Recipe, command: &[&str]) -> Result<()> {
    process::output(PATIENCE, hardened(engine, recipe, None)?.args(command)).map(drop)
}

fn hardened(engine: &Engine, recipe: &Recipe, variable: Option<&str>) -> Result<Command> {
    let mut command = engine.docker()?;
    command.args(HARDENED);
    if let Some(variable) = variable {
        command.args(["--env", variable]);
    }
    command.arg(recipe.tag());
    Ok(command)
}

fn lists(engine: &Engine, recipe: &Recipe, tool: &str, variable: Option<&str>) -> Result<()> {
    let mut server = Server::start(&mut hardened(engine, recipe, variable)?)?;
    let answer = server.converse();
    let said = server.end()?;
    let answer = answer.with_context(|| format!("the server said on stderr: {}", said.trim()))?;
    let tools = answer["result"]["tools"].as_array().context("tools/list gave no tools")?;
    if !tools.iter().any(|listed| listed["name"] == tool) {
        bail!("no tool named {tool} among {} tools", tools.len());
    }
    eprintln!("    {} tools, {tool} among them", tools.len());
    Ok(())
}

/// A running server with its pipes.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Server {
    fn start(command: &mut Command) -> Result<Self> {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().context("cannot run docker")?;
        let output = child.stdout.take().context("no standard output")?;
        let input = child.stdin.take();
        Ok(Self { child, input, lines: line_by_line(output) })
    }

    fn converse(&mut self) -> Result<serde_json::Value> {
        self.say(&[INITIALIZE])?;
        self.answer(1)?;
        self.say(&[INITIALIZED, LIST])?;
        self.answer(2)
    }

    fn say(&mut self, messages: &[&str]) -> Result<()> {
        let input = self.input.as_mut().context("standard input is closed")?;
        for message in messages {
            writeln!(input, "{message}").context("the server closed its input")?;
        }
        Ok(input.flush()?)
    }

    /// The answer with this id; notifications and the server's own requests are passed over.
    fn answer(&self, id: u32) -> Result<serde_json::Value> {
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).with_context(|| format!("no answer to request {id}"))?;
            let message: serde_json::Value =
                serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
            if message["id"] == id && message.get("method").is_none() {
                return Ok(message);
            }
        }
    }

    /// Ends the server by closing its input, by force if need be, and returns what it said on stderr.
    fn end(mut self) -> Result<String> {
        drop(self.input.take());
        process::end_within(self.child, Duration::from_secs(10))
    }
}

fn line_by_line(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
