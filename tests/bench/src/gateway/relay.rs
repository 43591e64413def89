//! The least that a process in between can cost: it passes bytes on between one connection and a container's streams, as the
//! engine's attach gives them, and looks at none of them.

use super::process::Program;
use crate::Args;
use crate::raw::RawEngine;
use anyhow::{Context, Result};
use bytes::BytesMut;
use dtma_core::id::ContainerId;
use dtma_core::port::runtime::OutputStream;
use futures_util::StreamExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What one read may bring.
const READ: usize = 16 << 10;
const AGAIN: Duration = Duration::from_millis(20);
const UP: u32 = 500;

/// What `dtma-bench relay` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The container
    #[arg(long)]
    container: String,
    /// Where its one client comes, on loopback
    #[arg(long)]
    port: u16,
}

/// Until either side ends.
pub(crate) async fn run(args: &Args, options: &Options) -> Result<()> {
    let engine = RawEngine::connect(&args.docker_host)?;
    let attached = engine.runtime.attach(&ContainerId::from(options.container.clone())).await?;
    let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
    let (client, _) = listener.accept().await?;
    client.set_nodelay(true)?;
    let (mut asks, mut hears) = client.into_split();
    let (mut input, mut output) = (attached.input, attached.output);
    let there = async {
        let mut buffer = BytesMut::new();
        while asks.read_buf(&mut buffer).await? > 0 {
            input.send(buffer.split().freeze()).await?;
            buffer.reserve(READ);
        }
        anyhow::Ok(())
    };
    let back = async {
        while let Some(chunk) = output.next().await {
            let chunk = chunk?;
            if chunk.stream == OutputStream::Stdout {
                hears.write_all(&chunk.bytes).await?;
            }
        }
        anyhow::Ok(())
    };
    // Whichever ends first, the other has nobody to talk to any more.
    tokio::select! {
        done = there => done,
        done = back => done,
    }
}

/// Starts one before a running container, and connects to it.
pub(super) async fn start(args: &Args, container: &str, dir: &Path) -> Result<(Program, TcpStream)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--daemon").arg(&args.daemon).args(["--docker-host", &args.docker_host, "relay"]);
    command.args(["--container", container, "--port", &port.to_string()]);
    let mut program = Program::start(command, dir.join(format!("relay-{port}.log")))?;
    for _ in 0..UP {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
            stream.set_nodelay(true)?;
            return Ok((program, stream));
        }
        program.is_up().context("the relay")?;
        tokio::time::sleep(AGAIN).await;
    }
    anyhow::bail!("the relay does not listen: {}", program.last_words())
}
