//! A process's three streams over one hijacked connection.

use crate::connect::Link;
use crate::errors::{Op, path_segment};
use async_trait::async_trait;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::query_parameters::AttachContainerOptionsBuilder;
use bytes::Bytes;
use dtma_core::id::ContainerId;
use dtma_core::port::runtime::{AttachInput, Attached, OutputChunk, OutputStream, RuntimeError};
use futures_util::StreamExt;
use std::io;
use std::pin::Pin;
use tokio::io::{AsyncWrite, AsyncWriteExt};

pub(crate) async fn attach(link: &Link, id: &ContainerId) -> Result<Attached, RuntimeError> {
    let op = Op::new("attach to container", "container", id.as_str());
    let id = path_segment(op)?;
    let options =
        AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true).build();
    let ask = |docker: bollard::Docker| async move { docker.attach_container(id, Some(options)).await };
    let AttachContainerResults { output, input } = link.read(op, ask).await?;
    let output = output.filter_map(async |frame| chunk(frame).transpose());
    Ok(Attached { output: output.boxed(), input: Box::new(Input(input)), exact: false })
}

/// One frame of the multiplexed stream.
pub(crate) fn chunk(frame: Result<LogOutput, Error>) -> io::Result<Option<OutputChunk>> {
    let of = |stream, bytes| Ok(Some(OutputChunk::new(stream, bytes)));
    match frame.map_err(io::Error::other)? {
        LogOutput::StdOut { message } => of(OutputStream::Stdout, message),
        LogOutput::StdErr { message } => of(OutputStream::Stderr, message),
        LogOutput::StdIn { .. } => Ok(None),
        // Without a terminal everything is framed: what is not is the rest of a frame that was cut off.
        LogOutput::Console { .. } => {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the engine's stream broke off"))
        }
    }
}

struct Input(Pin<Box<dyn AsyncWrite + Send>>);

#[async_trait]
impl AttachInput for Input {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.write_all(&bytes).await?;
        self.0.flush().await
    }
}
