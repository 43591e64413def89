//! Messages as lines: to a process on a pipe, to a container by the engine's attach, or to a relay that passes them on.

use super::super::message;
use super::super::process::Program;
use super::Load;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use dtma_core::port::runtime::{Attached, OutputStream};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// One stream of lines there, one back.
pub(in super::super) struct Lines {
    way: Way,
    next: u64,
}

enum Way {
    Pipe { child: Box<Child>, input: ChildStdin, output: BufReader<ChildStdout> },
    Attached { streams: Attached, buffer: Vec<u8> },
    Relayed { program: Program, stream: BufReader<TcpStream> },
}

impl Lines {
    /// Starts the command and shakes hands.
    pub(in super::super) async fn start(command: std::process::Command) -> Result<Self> {
        let mut command = Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("no stdin")?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?);
        Self::greet(Way::Pipe { child: Box::new(child), input, output }).await
    }

    /// Shakes hands with a container's process.
    pub(in super::super) async fn attached(streams: Attached) -> Result<Self> {
        Self::greet(Way::Attached { streams, buffer: Vec::new() }).await
    }

    /// Shakes hands with whoever is behind the relay.
    pub(in super::super) async fn relayed(program: Program, stream: TcpStream) -> Result<Self> {
        Self::greet(Way::Relayed { program, stream: BufReader::new(stream) }).await
    }

    async fn greet(way: Way) -> Result<Self> {
        let mut lines = Self { way, next: 1 };
        lines.send(message::hello()).await?;
        message::version(&lines.answer().await?.1)?;
        lines.send(message::ready()).await?;
        Ok(lines)
    }

    /// The process at the other end of the pipe or connection.
    pub(in super::super) fn pid(&self) -> Option<u32> {
        match &self.way {
            Way::Pipe { child, .. } => child.id(),
            Way::Relayed { program, .. } => Some(program.pid()),
            Way::Attached { .. } => None,
        }
    }

    pub(super) async fn call(&mut self, client: usize, id: u64) -> Result<Duration> {
        let body = message::call(client, id);
        let began = Instant::now();
        self.send(body).await?;
        loop {
            let (answered, answer) = self.answer().await?;
            if answered == id {
                let took = began.elapsed();
                message::check(client, id, &answer)?;
                return Ok(took);
            }
        }
    }

    /// So many calls under way at once on this one stream, which is all that there is of clients here.
    pub(in super::super) async fn abreast(&mut self, load: Load) -> Result<(Vec<Duration>, Duration)> {
        self.all(load.clients, load.calls / super::WARM_UP).await?;
        let began = Instant::now();
        let took = self.all(load.clients, load.calls).await?;
        Ok((took, began.elapsed()))
    }

    async fn all(&mut self, abreast: usize, calls: usize) -> Result<Vec<Duration>> {
        let (mut took, mut open, last) =
            (Vec::with_capacity(calls), HashMap::new(), self.next + calls as u64);
        while took.len() < calls {
            while self.next < last && open.len() < abreast {
                let body = message::call(0, self.next);
                open.insert(self.next, Instant::now());
                self.next += 1;
                self.send(body).await?;
            }
            let (id, answer) = self.answer().await?;
            let began: Instant = open.remove(&id).with_context(|| format!("nobody asked {id}"))?;
            took.push(began.elapsed());
            message::check(0, id, &answer)?;
        }
        Ok(took)
    }

    async fn send(&mut self, mut line: Vec<u8>) -> Result<()> {
        line.push(b'\n');
        match &mut self.way {
            Way::Pipe { input, .. } => Ok(input.write_all(&line).await?),
            Way::Attached { streams, .. } => Ok(streams.input.send(Bytes::from(line)).await?),
            Way::Relayed { stream, .. } => Ok(stream.write_all(&line).await?),
        }
    }

    async fn answer(&mut self) -> Result<(u64, serde_json::Value)> {
        loop {
            if let Some(answer) = message::answer(&self.line().await?) {
                return Ok(answer);
            }
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>> {
        match &mut self.way {
            Way::Pipe { output, .. } => next(output).await,
            Way::Relayed { stream, .. } => next(stream).await,
            Way::Attached { streams, buffer } => loop {
                if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                    let rest = buffer.split_off(end + 1);
                    return Ok(std::mem::replace(buffer, rest));
                }
                let chunk = streams.output.next().await.context("its output ended")??;
                if chunk.stream == OutputStream::Stdout {
                    buffer.extend_from_slice(&chunk.bytes);
                }
            },
        }
    }
}

async fn next(output: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    match output.read_until(b'\n', &mut line).await? {
        0 => bail!("its output ended"),
        _ => Ok(line),
    }
}
