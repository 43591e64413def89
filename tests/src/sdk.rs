//! Clients of MCP's official SDKs, which are none of ours: programs that tell step by step what they do and what came of
//! it, and wait where the test has something to do. `cargo xtask test` installs the SDKs and says where they are
//! (`DTMA_TEST_NODE`, `DTMA_TEST_SDK_TYPESCRIPT`, `DTMA_TEST_SDK_PYTHON`).

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// No step takes longer, also on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// An official SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    /// `mcp` of PyPI.
    Python,
    /// `@modelcontextprotocol/sdk`, which has the versions with a handshake.
    TypeScript1,
    /// `@modelcontextprotocol/client`, which has 2026-07-28, too.
    TypeScript2,
}

/// One client. Dropping it kills it.
pub struct SdkClient {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run `cargo xtask test`, which sets it"))
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sdk").join(name)
}

impl Sdk {
    fn command(self, mut plan: Value) -> Command {
        if self == Self::Python {
            let mut command = Command::new("python3");
            command.env("PYTHONPATH", setting("DTMA_TEST_SDK_PYTHON"));
            command.env("PYTHONDONTWRITEBYTECODE", "1").arg(script("client.py")).arg(plan.to_string());
            return command;
        }
        plan["sdk"] = setting("DTMA_TEST_SDK_TYPESCRIPT").into();
        plan["generation"] = if self == Self::TypeScript1 { 1 } else { 2 }.into();
        let mut command = Command::new(setting("DTMA_TEST_NODE"));
        command.arg(script("client.mjs")).arg(plan.to_string());
        command
    }
}

impl SdkClient {
    /// Starts a client with this plan (see the scripts).
    #[must_use]
    pub fn start(sdk: Sdk, plan: Value) -> Self {
        let mut command = sdk.command(plan);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let input = child.stdin.take().expect("a pipe");
        let (lines, errors) = (lines(child.stdout.take()), lines(child.stderr.take()));
        Self { child, input, lines, errors }
    }

    /// What came of the next step, which must be this one.
    pub fn step(&mut self, name: &str) -> Value {
        let line = match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("{name}: nothing in time\n{}", self.last_words()),
            Err(RecvTimeoutError::Disconnected) => panic!("{name}: it ended\n{}", self.last_words()),
        };
        let value = line.strip_prefix(name).and_then(|value| serde_json::from_str(value.trim()).ok());
        value.unwrap_or_else(|| panic!("{name}: {line}\n{}", self.last_words()))
    }

    /// Lets it go on.
    pub fn go_on(&mut self) {
        self.input.write_all(b"\n").and_then(|()| self.input.flush()).expect("it reads");
    }

    fn last_words(&self) -> String {
        self.errors.try_iter().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for SdkClient {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    let pipe = BufReader::new(pipe.expect("a pipe"));
    std::thread::spawn(move || pipe.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
    receiver
}
