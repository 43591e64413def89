//! A command inside a running container: as its user, without privileges, without a terminal.

use crate::attach;
use crate::connect::Link;
use crate::errors::{Op, path_segment};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bytes::{Bytes, BytesMut};
use dtma_core::id::ContainerId;
use dtma_core::port::runtime::{ExecRequest, ExecResult, OutputChunk, OutputStream, RuntimeError};
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};

const CALL: &str = "execute";
/// The engine notes the exit code a moment after the last byte.
const EXIT_POLL: Duration = Duration::from_millis(5);
/// What `exec` in a shell answers for a program that cannot be run or is not there, and the engine too.
const NOT_STARTED: [i64; 2] = [126, 127];

pub(crate) async fn exec(
    link: &Link,
    id: &ContainerId,
    request: &ExecRequest,
) -> Result<ExecResult, RuntimeError> {
    let op = Op::new(CALL, "container", id.as_str());
    let id = path_segment(op)?;
    let done = link.call(op, request.deadline, |docker| run(docker, id, request)).await?;
    match refusal(&done) {
        Some(problem) => Err(RuntimeError::Refused { call: CALL, problem }),
        None => Ok(done),
    }
}

async fn run(docker: Docker, id: &str, request: &ExecRequest) -> Result<ExecResult, Error> {
    let exec = docker.create_exec(id, options(request)).await?.id;
    let StartExecResults::Attached { output, input } = docker.start_exec(&exec, None).await? else {
        return Err(Error::IOError { err: std::io::ErrorKind::UnexpectedEof.into() });
    };
    let feed = feed(input, request.stdin.as_ref());
    let mut kept = Kept::new(request.output_limit);
    // A command that ends without reading everything is fine, so the feeding is given up with the output's end; the
    // arm that collects is never dropped.
    tokio::select! {
        biased;
        collected = kept.collect(output) => collected?,
        never = feed => match never {},
    }
    Ok(kept.result(exit_code(&docker, &exec).await?))
}

/// No user or privileges are named: the container's own hold.
fn options(request: &ExecRequest) -> CreateExecOptions<String> {
    CreateExecOptions {
        attach_stdin: Some(request.stdin.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        privileged: Some(false),
        cmd: Some(request.argv.clone()),
        env: Some(request.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        ..CreateExecOptions::default()
    }
}

/// Writes everything and ends the input; then waits for ever, for the output has the last word.
async fn feed(mut input: Pin<Box<dyn AsyncWrite + Send>>, stdin: Option<&Bytes>) -> std::convert::Infallible {
    if let Some(bytes) = stdin {
        // A broken pipe is a command that does not want to read on.
        let _ = input.write_all(bytes).await;
        let _ = input.shutdown().await;
    }
    std::future::pending().await
}

async fn exit_code(docker: &Docker, exec: &str) -> Result<i64, Error> {
    loop {
        let seen = docker.inspect_exec(exec).await?;
        if let (Some(false), Some(code)) = (seen.running, seen.exit_code) {
            return Ok(code);
        }
        tokio::time::sleep(EXIT_POLL).await;
    }
}

/// The engine tells in the output what kept it from starting the command.
fn refusal(done: &ExecResult) -> Option<String> {
    let said = String::from_utf8_lossy(&done.stdout);
    let said = said.trim();
    let engine_speaks = said.starts_with("OCI runtime exec failed") || said.starts_with("runc did not");
    (NOT_STARTED.contains(&done.exit_code) && engine_speaks).then(|| said.to_owned())
}

/// The beginning of both outputs.
struct Kept {
    limit: usize,
    stdout: BytesMut,
    stderr: BytesMut,
    truncated: bool,
}

impl Kept {
    fn new(limit: usize) -> Self {
        Self { limit, stdout: BytesMut::new(), stderr: BytesMut::new(), truncated: false }
    }

    async fn collect(
        &mut self,
        mut output: impl Stream<Item = Result<LogOutput, Error>> + Unpin,
    ) -> Result<(), Error> {
        while let Some(frame) = output.next().await {
            if let Some(chunk) = attach::chunk(frame).map_err(|err| Error::IOError { err })? {
                self.keep(&chunk);
            }
        }
        Ok(())
    }

    fn keep(&mut self, chunk: &OutputChunk) {
        let kept = match chunk.stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        let room = self.limit.saturating_sub(kept.len()).min(chunk.bytes.len());
        kept.extend_from_slice(&chunk.bytes[..room]);
        self.truncated |= room < chunk.bytes.len();
    }

    fn result(self, exit_code: i64) -> ExecResult {
        let Self { stdout, stderr, truncated, .. } = self;
        ExecResult { exit_code, stdout: stdout.freeze(), stderr: stderr.freeze(), truncated }
    }
}
