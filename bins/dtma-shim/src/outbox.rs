//! What is on its way to the daemon: frames, and sockets that go with them.

use crate::sockets::Answer;
use dtma_wire::{FromShim, WireError};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// While so much waits, nothing more is made, and nothing more is read that would have to be answered.
pub(crate) const MOST: usize = 64 << 10;

#[derive(Debug)]
struct Passing {
    request: u32,
    port: u16,
    socket: OwnedFd,
}

/// Frames not sent yet.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) bytes: Vec<u8>,
    /// What lies before is sent.
    at: usize,
    passing: VecDeque<Passing>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len() && self.passing.is_empty()
    }

    /// Sockets that wait.
    pub(crate) fn passing(&self) -> usize {
        self.passing.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() - self.at >= MOST
    }

    /// Takes in an answer.
    pub(crate) fn answer(&mut self, answer: Answer) -> Result<(), WireError> {
        let Answer { request, port, socket } = answer;
        match socket {
            Ok(socket) => {
                self.passing.push_back(Passing { request, port, socket });
                Ok(())
            }
            Err(errno) => FromShim::NoSocket { request, errno: errno as u32 }.encode(&mut self.bytes),
        }
    }

    /// Sends what the connection takes. Each socket goes with the first byte of its own frame.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn flush(&mut self, to: &mut UnixStream) -> nix::Result<()> {
        loop {
            match self.flush_some(to) {
                Ok(true) => {}
                Ok(false) | Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// True when something was sent.
    fn flush_some(&mut self, to: &mut UnixStream) -> nix::Result<bool> {
        if self.at < self.bytes.len() {
            self.at += write(to, &self.bytes[self.at..])?;
        } else if let Some(passing) = self.passing.pop_front() {
            self.clear();
            self.pass(passing, to)?;
        } else {
            return Ok(false);
        }
        if self.at == self.bytes.len() {
            self.clear();
        }
        Ok(true)
    }

    /// The memory of a burst is kept: it has a bound, and the next burst comes.
    fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }

    fn pass(&mut self, passing: Passing, to: &UnixStream) -> nix::Result<()> {
        let Passing { request, port, .. } = passing;
        self.frame(&FromShim::Socket { request, port })?;
        match send_with(to, &self.bytes, &passing.socket) {
            Ok(count) => self.at = count,
            Err(Errno::EAGAIN) => {
                self.clear();
                self.passing.push_front(passing);
                return Err(Errno::EAGAIN);
            }
            // Too many of this user's sockets are on their way to somebody, perhaps not by our doing.
            Err(Errno::ETOOMANYREFS) => {
                self.clear();
                self.frame(&FromShim::NoSocket { request, errno: Errno::ETOOMANYREFS as u32 })?;
            }
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    fn frame(&mut self, frame: &FromShim<'_>) -> nix::Result<()> {
        frame.encode(&mut self.bytes).map_err(|_| Errno::EMSGSIZE)
    }
}

fn write(to: &mut UnixStream, bytes: &[u8]) -> nix::Result<usize> {
    loop {
        match to.write(bytes) {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
        }
    }
}

fn send_with(to: &UnixStream, bytes: &[u8], socket: &OwnedFd) -> nix::Result<usize> {
    let rights = [socket.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&rights)];
    sendmsg::<UnixAddr>(to.as_raw_fd(), &[IoSlice::new(bytes)], &message, MsgFlags::MSG_NOSIGNAL, None)
}
