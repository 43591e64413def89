//! The ports on which a process of the engine in memory listens: real sockets on this machine's loopback, found by the
//! port the process believes to have.

use super::world::{World, wanted_network};
use dtma_core::id::ContainerId;
use dtma_core::port::RuntimeError;
use std::collections::BTreeMap;
use std::net::{self, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;

const CALL: &str = "dial";

/// Where one process listens. Nobody reaches it when it has ended.
#[derive(Debug, Clone, Default)]
pub struct Ports {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    of_port: BTreeMap<u16, SocketAddr>,
    any_other: Option<SocketAddr>,
    /// Listened on inside for whoever watches from outside.
    inside: BTreeMap<u16, net::TcpListener>,
}

impl Ports {
    /// Listens on this port of the container, until the listener is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime with IO, and where loopback has no free port.
    #[must_use]
    pub fn listen(&self, port: u16) -> TcpListener {
        let (listener, address) = bind();
        self.table().of_port.insert(port, address);
        listener
    }

    /// Listens on every port that has no listener of its own.
    ///
    /// # Panics
    /// As [`listen`](Self::listen).
    #[must_use]
    pub fn listen_to_all(&self) -> TcpListener {
        let (listener, address) = bind();
        self.table().any_other = Some(address);
        listener
    }

    /// Where this process finds a port of its own loopback that somebody outside listens on (`connect`, `egress`).
    #[must_use]
    pub fn inside(&self, port: u16) -> Option<SocketAddr> {
        self.table().inside.get(&port).and_then(|listener| listener.local_addr().ok())
    }

    fn listen_inside(&self, port: u16) -> std::io::Result<net::TcpListener> {
        let mut table = self.table();
        if let Some(listener) = table.inside.get(&port) {
            return listener.try_clone();
        }
        let listener = net::TcpListener::bind("127.0.0.1:0")?;
        let copy = listener.try_clone()?;
        table.inside.insert(port, listener);
        Ok(copy)
    }

    pub(super) fn address_of(&self, port: u16) -> Option<SocketAddr> {
        let table = self.table();
        table.of_port.get(&port).copied().or(table.any_other)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no panic while the table is held")
    }
}

impl World {
    /// The socket behind a port of this container.
    pub(super) fn dial(&mut self, id: &ContainerId, port: u16) -> Result<SocketAddr, RuntimeError> {
        let container = self.container(id)?;
        if container.run.is_none() {
            let problem = "the container is not running".to_owned();
            return Err(RuntimeError::Conflict { call: CALL, problem });
        }
        // The shim is a way in, too.
        if wanted_network(&container.request).is_none() && !container.request.config.shim {
            let problem = "the container joins no network".to_owned();
            return Err(RuntimeError::Refused { call: CALL, problem });
        }
        let closed = || RuntimeError::PortClosed { port, problem: "connection refused".to_owned() };
        container.ports.address_of(port).ok_or_else(closed)
    }
}

impl World {
    /// Listeners on ports inside this container, for whoever serves them from outside.
    pub(super) fn listen_inside(
        &mut self,
        id: &ContainerId,
        ports: &[u16],
    ) -> Result<Vec<net::TcpListener>, RuntimeError> {
        const CALL: &str = "listen inside";
        let container = self.container(id)?;
        if !container.request.config.shim && !ports.is_empty() {
            let problem = "nothing leads from inside the container to here".to_owned();
            return Err(RuntimeError::Refused { call: CALL, problem });
        }
        let broken = |error: std::io::Error| RuntimeError::Broken { call: CALL, problem: error.to_string() };
        ports.iter().map(|port| container.ports.listen_inside(*port).map_err(broken)).collect()
    }
}

fn bind() -> (TcpListener, SocketAddr) {
    let listener = net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    listener.set_nonblocking(true).expect("any socket can be asked not to block");
    (TcpListener::from_std(listener).expect("a runtime with IO"), address)
}
