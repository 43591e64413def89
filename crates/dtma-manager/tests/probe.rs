//! The probe's suite over the real prober and real sockets.

#![expect(clippy::expect_used, reason = "a machine without loopback must say so")]

use async_trait::async_trait;
use dtma_core::port::HealthProbe;
use dtma_manager::probe::TcpProbe;
use dtma_testing::suite::probe::ProbeHarness;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Sockets of this machine's loopback, open as long as the harness lives.
#[derive(Default)]
struct Loopback {
    listeners: Mutex<Vec<TcpListener>>,
    clients: Mutex<Vec<TcpStream>>,
}

impl Loopback {
    fn keep(&self, listener: TcpListener) -> SocketAddr {
        let address = listener.local_addr().expect("a bound socket has an address");
        self.listeners.lock().expect("nobody panics while it is held").push(listener);
        address
    }
}

#[async_trait]
impl ProbeHarness for Loopback {
    fn probe(&self) -> &dyn HealthProbe {
        &TcpProbe
    }
    async fn listening(&self) -> SocketAddr {
        self.keep(TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port"))
    }
    async fn closed(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        listener.local_addr().expect("a bound socket has an address")
    }
    /// A listener whose queue is full: Linux drops what else knocks, so it hears neither yes nor no.
    async fn silent(&self) -> SocketAddr {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback has a free port");
        let address = self.keep(socket.listen(0).expect("it listens"));
        let waiting = TcpStream::connect(address).await.expect("the queue holds one");
        self.clients.lock().expect("nobody panics while it is held").push(waiting);
        address
    }
}

dtma_testing::probe_suite!(Loopback::default());
