//! Signals as something to be polled. They are caught, not blocked: the server would inherit a mask, but what is caught
//! here has its default disposition there.

use nix::sys::signal::{SigSet, Signal};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

const OURS: [Signal; 8] = [
    Signal::SIGCHLD,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// The signals that came.
#[derive(Debug)]
pub(crate) struct Signals(SignalDelivery<UnixStream, SignalOnly>);

impl Signals {
    /// Begins to catch them, whatever mask the shim was started with.
    pub(crate) fn catch() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let numbers = OURS.map(|signal| signal as i32);
        let caught = SignalDelivery::with_pipe(read, write, SignalOnly, numbers)?;
        SigSet::empty().thread_set_mask()?;
        Ok(Self(caught))
    }

    /// What becomes readable when one came.
    pub(crate) fn readable(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }

    /// Those that came since, each once.
    pub(crate) fn take(&mut self) -> Vec<Signal> {
        self.0.pending().filter_map(|number| Signal::try_from(number).ok()).collect()
    }
}
