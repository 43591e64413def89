//! Reaching the daemon: never given up, never hurried.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(100);

/// Where the daemon is, and when it is tried next.
#[derive(Debug)]
pub(crate) struct Dial {
    path: PathBuf,
    at: Instant,
    pause: Duration,
}

impl Dial {
    pub(crate) fn new(path: PathBuf, now: Instant) -> Self {
        Self { path, at: now, pause: FIRST }
    }

    /// When it is tried next.
    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// It was not there, or is not any more.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.at = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST);
    }

    /// It believed us: the next time may be soon again.
    pub(crate) fn welcomed(&mut self) {
        self.pause = FIRST;
    }

    /// Tries it. A full queue is an error like any other, so this never waits.
    pub(crate) fn connect(&self) -> nix::Result<UnixStream> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(fd.as_raw_fd(), &UnixAddr::new(&self.path)?)?;
        Ok(fd.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn pauses_double_up_to_a_tenth_of_a_second_until_somebody_welcomes() {
        let now = clock::now();
        let mut dial = Dial::new("/nowhere".into(), now);
        let mut pause = || {
            dial.failed(now);
            (dial.at() - now).as_millis()
        };
        assert_eq!([(); 7].map(|()| pause()), [20, 40, 80, 100, 100, 100, 100]);
        dial.welcomed();
        dial.failed(now);
        assert_eq!(dial.at() - now, FIRST);
    }
}
