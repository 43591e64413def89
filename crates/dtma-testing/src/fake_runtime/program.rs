//! What runs inside a container of the engine in memory: an async function from a process's streams to its exit
//! code.

use super::logbook::Logbook;
use super::ports::Ports;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use dtma_core::container::CreateContainer;
use dtma_core::port::runtime::{OutputChunk, OutputStream};
use std::future::Future;
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A program that an image contains. It is run anew for every start of every container of that image.
///
/// A closure `Fn(Process) -> impl Future<Output = i64>` is one:
///
/// ```
/// # use dtma_testing::{FakeRuntime, fake_runtime::Process};
/// let (runtime, remote) = FakeRuntime::new();
/// remote.add_image_running("upper", |mut process: Process| async move {
///     while let Some(line) = process.stdin.line().await {
///         process.stdout.line(&line.to_uppercase()).await;
///     }
///     0
/// });
/// ```
#[async_trait]
pub trait Program: Send + Sync + 'static {
    /// Runs to its end and says the exit code. May be dropped at any await: that is SIGKILL.
    async fn run(&self, process: Process) -> i64;
}

#[async_trait]
impl<F, End> Program for F
where
    F: Fn(Process) -> End + Send + Sync + 'static,
    End: Future<Output = i64> + Send + 'static,
{
    async fn run(&self, process: Process) -> i64 {
        self(process).await
    }
}

/// Does nothing until it is told to end, and then ends like a program without a handler for SIGTERM.
#[derive(Debug, Clone, Copy)]
pub struct Idle;

#[async_trait]
impl Program for Idle {
    async fn run(&self, process: Process) -> i64 {
        process.terminated.cancelled().await;
        143
    }
}

/// Takes connections to any port and hangs up at once, until it is told to end.
#[derive(Debug, Clone, Copy)]
pub struct Open;

#[async_trait]
impl Program for Open {
    async fn run(&self, process: Process) -> i64 {
        let listener = process.ports.listen_to_all();
        let hang_up = async {
            while let Ok((connection, _)) = listener.accept().await {
                drop(connection);
            }
        };
        process.terminated.run_until_cancelled(hang_up).await;
        143
    }
}

/// One run of a program.
#[derive(Debug)]
pub struct Process {
    /// What it was made from: its arguments, its environment, its name.
    pub container: CreateContainer,
    /// What it reads.
    pub stdin: Stdin,
    /// Where it writes.
    pub stdout: ProcessOutput,
    /// Where it complains.
    pub stderr: ProcessOutput,
    /// Where it listens.
    pub ports: Ports,
    /// Cancelled by SIGTERM. A program that ignores it is killed after its grace.
    pub terminated: CancellationToken,
}

/// The reading end of a process's standard input. A container's process never sees its end: with `StdinOnce` off, the
/// engine keeps it open when a client detaches. A command run in the container does.
#[derive(Debug)]
pub struct Stdin {
    pub(super) chunks: mpsc::Receiver<Bytes>,
    pub(super) rest: BytesMut,
    /// Nothing is read while this says so.
    frozen: Option<watch::Receiver<bool>>,
}

impl Stdin {
    pub(super) fn new(chunks: mpsc::Receiver<Bytes>) -> Self {
        Self { chunks, rest: BytesMut::new(), frozen: None }
    }

    pub(super) fn freezing_with(self, frozen: watch::Receiver<bool>) -> Self {
        Self { frozen: Some(frozen), ..self }
    }

    async fn next(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.recv().await;
        if let Some(frozen) = &mut self.frozen {
            // One whose container is gone is over, frozen or not.
            let _ = frozen.wait_for(|frozen| !frozen).await;
        }
        chunk
    }

    /// The next line, without its newline. A half line stays for the next call.
    pub async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let chunk = self.next().await?;
            self.rest.extend_from_slice(&chunk);
        }
    }

    /// Whatever comes next.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() { self.next().await } else { Some(self.rest.split().freeze()) }
    }
}

/// The writing end of one of a process's outputs. Like a pipe it blocks while a client that is attached does not
/// read.
#[derive(Debug, Clone)]
pub struct ProcessOutput {
    pub(super) stream: OutputStream,
    pub(super) sinks: Weak<Mutex<Sinks>>,
}

/// Where output goes: to everybody who is attached, and into the log.
#[derive(Debug)]
pub(super) struct Sinks {
    pub(super) attached: Vec<(mpsc::Sender<OutputChunk>, CancellationToken)>,
    pub(super) log: Option<Logbook>,
}

impl ProcessOutput {
    /// Writes bytes as they are.
    pub async fn write(&self, bytes: impl Into<Bytes>) {
        let Some(sinks) = self.sinks.upgrade() else { return };
        let chunk = OutputChunk::new(self.stream, bytes.into());
        for (sink, cut) in self.note(&sinks, &chunk) {
            // A client that detaches while we wait for it to read is not waited for.
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                _ = sink.send(chunk.clone()) => {}
            }
        }
    }

    /// Writes a line.
    pub async fn line(&self, text: &str) {
        self.write(format!("{text}\n")).await;
    }

    fn note(
        &self,
        sinks: &Arc<Mutex<Sinks>>,
        chunk: &OutputChunk,
    ) -> Vec<(mpsc::Sender<OutputChunk>, CancellationToken)> {
        let mut sinks = sinks.lock().expect("no panic while the sinks are held");
        if let Some(log) = &mut sinks.log {
            log.write(chunk);
        }
        sinks.attached.retain(|(sink, cut)| !sink.is_closed() && !cut.is_cancelled());
        sinks.attached.clone()
    }
}
