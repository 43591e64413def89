//! How the MCP owner of a member gets at its process: by the streams of its container, or through a port inside.

use super::GroupTask;
use dtma_core::id::{ContainerId, Member, RunKey};
use dtma_core::port::runtime::Attached;
use dtma_core::port::{ContainerRuntime, RuntimeError};
use dtma_core::record::Handshake;
use dtma_core::spec::{ServerKind, ServerSpec, Transport};
use dtma_mcp::upstream::{Dial, Protocol, Upstream};
use dtma_mcp::{Attachment, Limits, ServerHandle};
use futures_util::StreamExt;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

/// An MCP owner, and the way to the process it is to be given.
pub(super) struct Reach {
    mcp: ServerHandle,
    way: Way,
}

enum Way {
    Streams,
    Port(Upstream, CancellationToken),
}

/// Ends a session over a port when it is dropped: no stream that ends says that the process did.
pub(super) type Session = DropGuard;

impl GroupTask {
    /// How this container is to be reached by the owner of its member, if it has one. A session that it had before
    /// over a port ends.
    pub(super) fn reach(&mut self, member: &Member, container: &ContainerId) -> Option<Reach> {
        let runtime = Arc::clone(&self.registry.backends.runtime);
        let upstream = self.spec_of(member).and_then(|spec| upstream(runtime, spec, container));
        let attendance = self.attendance_mut(member)?;
        let mcp = attendance.mcp.clone()?;
        attendance.session = None;
        let Some(upstream) = upstream else { return Some(Reach { mcp, way: Way::Streams }) };
        let token = CancellationToken::new();
        attendance.session = Some(token.clone().drop_guard());
        Some(Reach { mcp, way: Way::Port(upstream, token) })
    }
}

impl Reach {
    /// Takes hold of what has to be held before the process starts, so that not a byte is missed.
    pub(super) async fn prepare(
        self,
        runtime: &dyn ContainerRuntime,
        container: &ContainerId,
    ) -> Result<Prepared, RuntimeError> {
        let attached = match &self.way {
            Way::Streams => Some(runtime.attach(container).await?),
            Way::Port(..) => None,
        };
        Ok(Prepared { reach: self, attached })
    }
}

/// A way that waits for its process.
pub(super) struct Prepared {
    reach: Reach,
    attached: Option<Attached>,
}

impl Prepared {
    /// Gives the owner a process that has just begun.
    pub(super) async fn begin(self, run: RunKey) {
        self.connect(run, Attachment::Fresh).await;
    }

    /// Gives the owner a process that ran before. To one that is spoken to over a port nothing was said in this session.
    pub(super) async fn adopt(self, run: RunKey, handshake: Option<Handshake>) {
        let how = match self.reach.way {
            Way::Streams => Attachment::Adopted { handshake },
            Way::Port(..) => Attachment::Fresh,
        };
        self.connect(run, how).await;
    }

    async fn connect(self, run: RunKey, how: Attachment) {
        let attached = match (self.attached, self.reach.way) {
            (Some(attached), _) => attached,
            (None, Way::Port(upstream, token)) => until(upstream.attach(), token),
            (None, Way::Streams) => return,
        };
        // A closed owner means that the group is going: nobody will ask for this server.
        let _ = self.reach.mcp.connect(run, attached, how).await;
    }
}

fn until(attached: Attached, token: CancellationToken) -> Attached {
    Attached { output: attached.output.take_until(token.cancelled_owned()).boxed(), ..attached }
}

fn upstream(
    runtime: Arc<dyn ContainerRuntime>,
    spec: &ServerSpec,
    container: &ContainerId,
) -> Option<Upstream> {
    let protocol = match spec.kind {
        ServerKind::Mcp(Transport::StreamableHttp) => Protocol::StreamableHttp,
        ServerKind::Mcp(Transport::Sse) => Protocol::Sse,
        ServerKind::Mcp(Transport::Websocket) => Protocol::WebSocket,
        ServerKind::Mcp(Transport::Stdio) | ServerKind::Tool => return None,
    };
    // A spec without it was refused.
    let port = spec.port.unwrap_or_default();
    let container = container.clone();
    let dial: Dial = Arc::new(move || {
        let (runtime, container) = (Arc::clone(&runtime), container.clone());
        Box::pin(async move { dialled(runtime.dial(&container, port).await) })
    });
    let path = spec.endpoint().unwrap_or_default().to_owned();
    Some(Upstream { protocol, dial, port, path, message: Limits::default().message })
}

fn dialled(answer: Result<std::net::TcpStream, RuntimeError>) -> io::Result<TcpStream> {
    let stream = answer.map_err(|error| match error {
        RuntimeError::PortClosed { .. } => io::Error::new(io::ErrorKind::ConnectionRefused, error),
        other => io::Error::other(other),
    })?;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}
