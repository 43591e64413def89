//! A command in a container of the engine in memory: the image's program, run once more with the command as its
//! arguments and streams of its own.

use super::ports::Ports;
use super::program::{Process, ProcessOutput, Program, Sinks, Stdin};
use bytes::{Bytes, BytesMut};
use dtma_core::container::CreateContainer;
use dtma_core::port::runtime::{ExecRequest, ExecResult, OutputChunk, OutputStream, RuntimeError};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Chunks on their way from the command to us.
const PIPE_CHUNKS: usize = 64;

/// Unlike a real command, one that is late ends there.
pub(super) async fn run(
    program: Arc<dyn Program>,
    mut container: CreateContainer,
    request: &ExecRequest,
) -> Result<ExecResult, RuntimeError> {
    container.config.command = Some(request.argv.clone());
    container.config.environment.extend(request.environment.clone());
    let (sink, output) = mpsc::channel(PIPE_CHUNKS);
    let attached = vec![(sink, CancellationToken::new())];
    let sinks = Arc::new(Mutex::new(Sinks { attached, log: None }));
    let stream = |stream| ProcessOutput { stream, sinks: Arc::downgrade(&sinks) };
    let process = Process {
        container,
        stdin: Stdin::new(whole(request.stdin.clone())),
        stdout: stream(OutputStream::Stdout),
        stderr: stream(OutputStream::Stderr),
        ports: Ports::default(),
        terminated: CancellationToken::new(),
    };
    let ended = async {
        let code = program.run(process).await;
        drop(sinks);
        code
    };
    let both = async { tokio::join!(ended, collect(output, request.output_limit)) };
    let after = request.deadline;
    let late = |_| RuntimeError::Timeout { call: "execute", after };
    let (exit_code, kept) = tokio::time::timeout(after, both).await.map_err(late)?;
    let [stdout, stderr] = [kept.stdout, kept.stderr].map(BytesMut::freeze);
    Ok(ExecResult { exit_code, stdout, stderr, truncated: kept.truncated })
}

/// An input that says this and ends.
fn whole(stdin: Option<Bytes>) -> mpsc::Receiver<Bytes> {
    let (input, read) = mpsc::channel(1);
    let _ = input.try_send(stdin.unwrap_or_default());
    read
}

#[derive(Default)]
struct Kept {
    stdout: BytesMut,
    stderr: BytesMut,
    truncated: bool,
}

async fn collect(mut output: mpsc::Receiver<OutputChunk>, limit: usize) -> Kept {
    let mut kept = Kept::default();
    while let Some(chunk) = output.recv().await {
        let side = match chunk.stream {
            OutputStream::Stdout => &mut kept.stdout,
            OutputStream::Stderr => &mut kept.stderr,
        };
        let room = limit.saturating_sub(side.len()).min(chunk.bytes.len());
        side.extend_from_slice(&chunk.bytes[..room]);
        kept.truncated |= room < chunk.bytes.len();
    }
    kept
}
