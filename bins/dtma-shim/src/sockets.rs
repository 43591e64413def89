//! TCP sockets of this container's network namespace, made here and handed to the daemon.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage,
    connect, getpeername, getsockname, getsockopt, socket, sockopt,
};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Most sockets that are being connected or wait for the daemon to take them.
pub(crate) const MOST: usize = 64;
/// Most ports that are listened on for the daemon.
const MOST_PORTS: usize = 64;
/// How long a connection may take; over loopback only a server that accepts nobody takes any time.
const PATIENCE: Duration = Duration::from_secs(5);

/// What becomes of a request for a socket.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) request: u32,
    pub(crate) port: u16,
    pub(crate) socket: nix::Result<OwnedFd>,
}

#[derive(Debug)]
struct Connecting {
    request: u32,
    port: u16,
    socket: OwnedFd,
    until: Instant,
    /// There is another loopback to be tried.
    first: bool,
}

/// The sockets that are not the daemon's yet, and copies of those that are to survive it.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    connecting: Vec<Connecting>,
    listening: BTreeMap<u16, TcpListener>,
}

impl Sockets {
    /// How many are being connected.
    pub(crate) fn connecting(&self) -> usize {
        self.connecting.len()
    }

    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.connecting.iter().map(|one| one.socket.as_fd())
    }

    /// When the oldest is given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.connecting.first().map(|one| one.until)
    }

    /// Nobody waits for them any more.
    pub(crate) fn forget_connecting(&mut self) {
        self.connecting.clear();
    }

    /// Begins to connect to a port of loopback; an answer only where that cannot be.
    pub(crate) fn connect(&mut self, request: u32, port: u16, now: Instant) -> Option<Answer> {
        match begin(&v4(port)) {
            Ok(socket) => {
                let until = now + PATIENCE;
                self.connecting.push(Connecting { request, port, socket, until, first: true });
                None
            }
            Err(errno) => Some(Answer { request, port, socket: Err(errno) }),
        }
    }

    /// The connection at this place is through, or has failed. A server that listens on `localhost` may have taken that
    /// for IPv6's: no answer yet where this is to be tried.
    pub(crate) fn ready(&mut self, index: usize) -> Option<Answer> {
        let one = self.connecting.get_mut(index)?;
        let error = getsockopt(&one.socket, sockopt::SocketError).map_or_else(|errno| errno, Errno::from_raw);
        if error == Errno::ECONNREFUSED
            && std::mem::take(&mut one.first)
            && let Ok(other) = begin(&v6(one.port))
        {
            one.socket = other;
            return None;
        }
        let Connecting { request, port, socket, .. } = self.connecting.remove(index);
        let socket = if error as i32 == 0 { no_echo(socket) } else { Err(error) };
        Some(Answer { request, port, socket })
    }

    /// Those that took too long.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<Answer> {
        let late = self.connecting.extract_if(.., |one| one.until <= now);
        late.map(|one| Answer { request: one.request, port: one.port, socket: Err(Errno::ETIMEDOUT) })
            .collect()
    }

    /// Listens on a port of loopback, or goes on with a listener that is there.
    pub(crate) fn listen(&mut self, request: u32, port: u16) -> Answer {
        match self.listener(port) {
            Ok((port, socket)) => Answer { request, port, socket: Ok(socket) },
            Err(error) => {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32));
                Answer { request, port, socket: Err(errno) }
            }
        }
    }

    fn listener(&mut self, port: u16) -> io::Result<(u16, OwnedFd)> {
        if let Some(listener) = self.listening.get(&port) {
            return Ok((port, listener.try_clone()?.into()));
        }
        if self.listening.len() >= MOST_PORTS {
            return Err(Errno::EMFILE.into());
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let (port, copy) = (listener.local_addr()?.port(), listener.try_clone()?);
        self.listening.insert(port, listener);
        Ok((port, copy.into()))
    }
}

fn v4(port: u16) -> SockaddrIn {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into()
}

fn v6(port: u16) -> SockaddrIn6 {
    SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0).into()
}

fn begin(to: &impl SockaddrLike) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let family = to.family().unwrap_or(AddressFamily::Inet);
    let fd = socket(family, SockType::Stream, flags, SockProtocol::Tcp)?;
    match connect(fd.as_raw_fd(), to) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(fd),
        Err(errno) => Err(errno),
    }
}

/// Where nobody listens, the system may connect a socket of the ephemeral ports with itself.
fn no_echo(socket: OwnedFd) -> nix::Result<OwnedFd> {
    let here: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let there: SockaddrStorage = getpeername(socket.as_raw_fd())?;
    if here == there { Err(Errno::ECONNREFUSED) } else { Ok(socket) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use nix::poll::{PollFd, PollFlags, poll};
    use std::net::TcpStream;

    fn connected(port: u16) -> Answer {
        let mut sockets = Sockets::default();
        assert!(sockets.connect(3, port, clock::now()).is_none());
        loop {
            let mut wait: Vec<_> =
                sockets.descriptors().map(|fd| PollFd::new(fd, PollFlags::POLLOUT)).collect();
            assert_eq!(poll(&mut wait, 5_000_u16), Ok(1));
            if let Some(answer) = sockets.ready(0) {
                return answer;
            }
        }
    }

    #[test]
    fn a_port_that_is_listened_on_is_reached_on_either_loopback() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            let answer = connected(port);
            let there = TcpStream::from(answer.socket.unwrap());
            assert_eq!(there.peer_addr().unwrap(), listener.local_addr().unwrap());
            assert_eq!(answer.request, 3);
        }
    }

    #[test]
    fn nobody_there_is_told_at_once() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert_eq!(connected(port).socket.unwrap_err(), Errno::ECONNREFUSED);
    }

    #[test]
    fn a_listener_is_the_same_for_whoever_asks_again() {
        let mut sockets = Sockets::default();
        let first = sockets.listen(1, 0);
        let second = sockets.listen(2, first.port);
        let address = |answer: Answer| TcpListener::from(answer.socket.unwrap()).local_addr().unwrap();
        assert_eq!(second.port, first.port);
        assert_eq!(address(first), address(second));
        assert_eq!(sockets.listening.len(), 1);
    }

    #[test]
    fn listening_has_a_bound() {
        let mut sockets = Sockets::default();
        let errors = (0..=MOST_PORTS).filter_map(|_| sockets.listen(1, 0).socket.err());
        assert_eq!(errors.collect::<Vec<_>>(), [Errno::EMFILE]);
    }
}
