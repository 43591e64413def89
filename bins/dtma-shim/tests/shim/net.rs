//! Sockets of the shim's network namespace, in the daemon's hands.

use crate::daemon::Peer;
use crate::fixture::Fixture;
use dtma_wire::FromDaemon;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

impl Peer {
    fn socket(&mut self, request: u32) -> Result<(u16, OwnedFd), Errno> {
        self.until("an answer", |peer| peer.sockets.contains_key(&request));
        self.sockets.remove(&request).unwrap().map_err(|errno| Errno::from_raw(errno.cast_signed()))
    }

    fn connect(&mut self, request: u32, port: u16) -> Result<TcpStream, Errno> {
        self.send(&FromDaemon::Connect { request, port });
        self.socket(request).map(|(_, socket)| blocking(socket.into()))
    }

    fn listen(&mut self, request: u32, port: u16) -> Result<(u16, TcpListener), Errno> {
        self.send(&FromDaemon::Listen { request, port });
        self.socket(request).map(|(port, socket)| (port, socket.into()))
    }
}

fn blocking(stream: TcpStream) -> TcpStream {
    stream.set_nonblocking(false).unwrap();
    stream
}

#[test]
fn a_port_inside_is_reached_by_a_socket_of_the_daemons_own() {
    let (_fixture, mut peer) = Fixture::welcomed();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    for request in [7, 8, 9] {
        let mut here = peer.connect(request, port).unwrap();
        let (mut there, _) = server.accept().unwrap();
        here.write_all(b"ping").unwrap();
        let mut heard = [0; 4];
        there.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"ping");
        drop(there);
        assert_eq!(here.read(&mut heard).unwrap(), 0, "nobody else holds it");
    }
    drop(server);
    assert_eq!(peer.connect(10, port).unwrap_err(), Errno::ECONNREFUSED);
}

#[test]
fn a_port_is_listened_on_inside_and_survives_the_daemon() {
    let (fixture, mut peer) = Fixture::welcomed();
    let (port, listener) = peer.listen(1, 0).unwrap();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
    drop(listener);
    drop(peer.cut());
    // While no daemon is there, who comes waits.
    let waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut peer = Peer::accept(&fixture.listener);
    peer.welcome();
    let (same, listener) = peer.listen(1, port).unwrap();
    assert_eq!((same, listener.accept().unwrap().1), (port, waiting.local_addr().unwrap()));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = peer.listen(2, taken.local_addr().unwrap().port());
    assert_eq!(refused.unwrap_err(), Errno::EADDRINUSE);
}

#[test]
fn sockets_come_with_their_own_frames_among_many() {
    let (_fixture, mut peer) = Fixture::shell("exec cat");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    for request in 0..60 {
        peer.send(&FromDaemon::Connect { request, port: if request % 3 == 0 { 1 } else { port } });
        peer.input(format!("line {request}\n").as_bytes());
    }
    for request in 0..60 {
        match peer.socket(request) {
            Err(errno) => assert_eq!((request % 3, errno), (0, Errno::ECONNREFUSED)),
            Ok((to, socket)) => {
                assert_eq!((to, TcpStream::from(socket).peer_addr().unwrap().port()), (port, port));
            }
        }
    }
    peer.until("all lines", |peer| peer.book.output.ends_with(b"line 59\n"));
}

/// Listens, and never accepts: its queue is full.
fn deaf() -> (OwnedFd, u16, Vec<TcpStream>) {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&fd, Backlog::new(0).unwrap()).unwrap();
    let port = getsockname::<SockaddrIn>(fd.as_raw_fd()).unwrap().port();
    let queued = TcpStream::connect(("127.0.0.1", port)).unwrap();
    (fd, port, vec![queued])
}

#[test]
fn who_accepts_nobody_costs_a_bounded_number_of_sockets_and_five_seconds() {
    let (_fixture, mut peer) = Fixture::shell("exec cat");
    let (_deaf, port, _queue) = deaf();
    for request in 0..65 {
        peer.send(&FromDaemon::Connect { request, port });
    }
    assert_eq!(peer.socket(64).unwrap_err(), Errno::EAGAIN, "at once");
    peer.input(b"meanwhile\n");
    assert_eq!(peer.until_line(), "meanwhile");
    assert_eq!(peer.connect(100, 1).unwrap_err(), Errno::EAGAIN);
    let late = (0..64).map(|request| peer.socket(request).unwrap_err());
    assert!(late.collect::<Vec<_>>().iter().all(|errno| *errno == Errno::ETIMEDOUT));
    assert_eq!(peer.connect(101, 1).unwrap_err(), Errno::ECONNREFUSED);
}
