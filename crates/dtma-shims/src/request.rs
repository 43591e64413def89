//! Sockets that were asked for: who waits, and what came.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use tokio::sync::oneshot;

/// What became of a request.
pub(crate) type Answer = io::Result<OwnedFd>;

/// Requests under way on one connection.
#[derive(Default)]
pub(crate) struct Requests {
    waiting: BTreeMap<u32, oneshot::Sender<Answer>>,
    last: u32,
}

impl Requests {
    /// A new request's number and where its answer comes. Dropping that gives it up.
    pub(crate) fn open(&mut self) -> (u32, oneshot::Receiver<Answer>) {
        self.waiting.retain(|_, reply| !reply.is_closed());
        self.last = self.last.wrapping_add(1);
        let (reply, answer) = oneshot::channel();
        self.waiting.insert(self.last, reply);
        (self.last, answer)
    }

    /// Its answer came. Of one that was given up nothing is left.
    pub(crate) fn answer(&mut self, request: u32, answer: Answer) {
        if let Some(reply) = self.waiting.remove(&request) {
            let _ = reply.send(answer);
        }
    }

    /// The connection is gone: nothing comes any more.
    pub(crate) fn fail(&mut self) {
        self.waiting.clear();
    }
}

/// A connected TCP socket, and nothing else that a shim may have sent.
pub(crate) fn stream(descriptor: OwnedFd) -> io::Result<TcpStream> {
    is_tcp(&descriptor)?;
    let stream = TcpStream::from(descriptor);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// A TCP socket that listens, and nothing else that a shim may have sent.
pub(crate) fn listener(descriptor: OwnedFd) -> io::Result<TcpListener> {
    is_tcp(&descriptor)?;
    if !rustix::net::sockopt::socket_acceptconn(&descriptor)? {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "what came does not listen"));
    }
    Ok(descriptor.into())
}

fn is_tcp(descriptor: &OwnedFd) -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    let family = sockopt::socket_domain(descriptor)?;
    let kind = sockopt::socket_type(descriptor)?;
    match family == AddressFamily::INET && kind == SocketType::STREAM {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "what came is no TCP socket")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn only_tcp_sockets_are_taken() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        assert!(listener(connected.into()).is_err());
        assert!(listener(socket.try_clone().unwrap().into()).is_ok());
        assert!(stream(socket.into()).is_ok());
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        assert!(stream(file).is_err());
        let unix: OwnedFd = std::os::unix::net::UnixStream::pair().unwrap().0.into();
        assert!(stream(unix).is_err());
    }

    #[tokio::test]
    async fn whoever_gave_up_is_forgotten() {
        let mut requests = Requests::default();
        let (first, gone) = requests.open();
        drop(gone);
        let (second, answer) = requests.open();
        assert_eq!(requests.waiting.len(), 1);
        requests.answer(first, Err(io::ErrorKind::Other.into()));
        requests.answer(second, Err(io::ErrorKind::ConnectionRefused.into()));
        assert_eq!(answer.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let (_, answer) = requests.open();
        requests.fail();
        assert!(answer.await.is_err());
    }
}
