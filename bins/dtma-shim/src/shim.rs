//! The loop: what is due, what is to be said, what is ready. Everything the shim has is here, owned by one thread.

use crate::dial::Dial;
use crate::link::{Link, Lost};
use crate::oom::Counter;
use crate::run::Run;
use crate::signals::Signals;
use crate::sockets::Sockets;
use crate::stop::{Leave, exit_code};
use crate::streams::{Got, read};
use crate::tree::{self, Tree};
use crate::{clock, say};
use dtma_wire::{FromShim, Hello, LOG_BYTES, LogRing, Output, SHIM_VERSIONS};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const SCRATCH: usize = 64 << 10;
/// How often a memory cgroup is asked that does not tell by itself.
const ASK: Duration = Duration::from_secs(1);

/// What can become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Link,
    Stdin,
    Stdout,
    Log(usize),
    Counter,
    Connecting(usize),
}

impl Source {
    /// True for those that another run has, too.
    fn is_pipe(self) -> bool {
        matches!(self, Self::Stdin | Self::Stdout | Self::Log(_))
    }
}

/// Everything.
#[derive(Debug)]
pub(crate) struct Shim {
    pub(crate) argv: Vec<OsString>,
    pub(crate) nonce: [u8; 16],
    pub(crate) signals: Signals,
    pub(crate) tree: Tree,
    pub(crate) dial: Dial,
    pub(crate) link: Option<Link>,
    pub(crate) run: Run,
    pub(crate) log: LogRing,
    pub(crate) sockets: Sockets,
    pub(crate) counter: Counter,
    /// When it was asked last.
    asked: Instant,
    pub(crate) leave: Leave,
    /// The daemon knows how the present run ended.
    pub(crate) heard: bool,
    scratch: Box<[u8]>,
}

impl Shim {
    pub(crate) fn new(argv: Vec<OsString>, nonce: [u8; 16], signals: Signals, dial: Dial) -> Self {
        Self {
            argv,
            nonce,
            signals,
            tree: Tree::ours(),
            dial,
            link: None,
            run: Run::default(),
            log: LogRing::new(LOG_BYTES),
            sockets: Sockets::default(),
            counter: Counter::open(),
            asked: clock::now(),
            leave: Leave::Stay,
            heard: false,
            scratch: vec![0; SCRATCH].into(),
        }
    }

    /// Runs until there is nothing left to be done, and says with which code to leave.
    pub(crate) fn run(mut self) -> u8 {
        loop {
            let now = clock::now();
            self.tend(now);
            let more = self.tell(now);
            if self.is_done(now) {
                return exit_code(&self.run.child);
            }
            let deadline = if more { Some(now) } else { self.deadline() };
            let run = self.run.child.run;
            for (source, events) in self.wait(now, deadline).into_iter().rev() {
                // What was seen of one run's pipes says nothing of the next one's.
                if run == self.run.child.run || !source.is_pipe() {
                    self.serve(source, events);
                }
            }
        }
    }

    /// Does what is due.
    fn tend(&mut self, now: Instant) {
        if self.link.is_none() && self.dial.at() <= now {
            self.call(now);
        }
        self.run.tend(now, self.tree);
        if self.run.deadline().is_some() {
            self.reap(now);
        }
        if self.run.is_over() {
            self.run.stdout.pump_rest(&mut self.scratch);
        }
        if self.ask_at().is_some_and(|at| at <= now) {
            self.asked = now;
            self.count_kills();
        }
        let overdue = self.sockets.overdue(now);
        if let Some(link) = &mut self.link {
            let _ = overdue.into_iter().try_for_each(|answer| link.talk.outbox.answer(answer));
        }
        self.leave = self.leave.next(now, self.run.is_over());
    }

    /// Tries to reach the daemon, and says hello.
    fn call(&mut self, now: Instant) {
        let mut link = match self.dial.connect() {
            Ok(stream) => Link::new(stream),
            Err(_) => return self.dial.failed(now),
        };
        match FromShim::Hello(self.hello()).encode(&mut link.talk.outbox.bytes) {
            Ok(()) => self.link = Some(link),
            Err(_) => self.dial.failed(now),
        }
    }

    fn hello(&self) -> Hello {
        let (input, buffer) = (self.run.stdin.input(), &self.run.stdout.buffer);
        Hello {
            lowest: *SHIM_VERSIONS.start(),
            highest: *SHIM_VERSIONS.end(),
            nonce: self.nonce,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            child: self.run.child.clone(),
            output: Output {
                base: buffer.base(),
                acknowledged: buffer.acknowledged(),
                end: buffer.end(),
                torn: buffer.is_torn(),
            },
            input: input.accepted(),
            torn: input.is_torn(),
            log: self.log.first(),
        }
    }

    fn tell(&mut self, now: Instant) -> bool {
        let Some(link) = &mut self.link else { return false };
        match link.tell(&mut self.run, &mut self.log) {
            Ok(more) => more,
            Err(lost) => {
                self.lost(now, &lost);
                false
            }
        }
    }

    /// The connection is over: whatever was half said on it is forgotten.
    fn lost(&mut self, now: Instant, why: &Lost) {
        match why {
            Lost::Gone => {}
            Lost::Wire(_) | Lost::Refused(_) => say(&why.to_string()),
        }
        self.link = None;
        self.run.stdin.lost_sender();
        // Whole lines that came before whatever was wrong are the server's all the same.
        self.run.stdin.pump();
        self.sockets.forget_connecting();
        self.dial.failed(now);
    }

    fn is_done(&self, now: Instant) -> bool {
        match self.leave {
            Leave::Flush(until) => until <= now || self.is_flushed(),
            Leave::Stay | Leave::WhenOver | Leave::Linger(_) => false,
        }
    }

    fn is_flushed(&self) -> bool {
        self.link.as_ref().is_none_or(|link| {
            let empty = link.talk.welcomed && link.talk.outbox.is_empty();
            empty && (self.heard || link.talk.told.is_all(&self.run, &self.log))
        })
    }

    fn deadline(&self) -> Option<Instant> {
        let dial = self.link.is_none().then(|| self.dial.at());
        let others = [self.run.deadline(), self.sockets.deadline(), self.leave.deadline(), self.ask_at()];
        dial.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// When a counter is asked that does not tell by itself.
    fn ask_at(&self) -> Option<Instant> {
        let wanted = self.counter.must_be_asked() && self.run.server().is_some();
        wanted.then(|| self.asked + ASK)
    }

    /// Waits until something is ready or due. The last in the list comes first: whoever ended, and what the daemon wants.
    fn wait(&self, now: Instant, deadline: Option<Instant>) -> Vec<(Source, PollFlags)> {
        let (sources, mut fds): (Vec<Source>, Vec<PollFd<'_>>) = self.interests().into_iter().unzip();
        let timeout = deadline.map_or(PollTimeout::NONE, |at| timeout(at.saturating_duration_since(now)));
        if poll(&mut fds, timeout).is_err() {
            return Vec::new();
        }
        let ready = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        sources.into_iter().zip(ready).filter(|(_, events)| !events.is_empty()).collect()
    }

    fn interests(&self) -> Vec<(Source, PollFd<'_>)> {
        let mut all = Vec::with_capacity(8 + self.sockets.connecting());
        let connecting = self.sockets.descriptors().enumerate();
        all.extend(connecting.map(|(at, fd)| (Source::Connecting(at), PollFd::new(fd, PollFlags::POLLOUT))));
        all.extend(self.counter.tells().map(|fd| (Source::Counter, PollFd::new(fd, PollFlags::POLLPRI))));
        for (at, pipe) in self.run.logs.iter().enumerate() {
            all.extend(
                pipe.as_ref().map(|pipe| (Source::Log(at), PollFd::new(pipe.as_fd(), PollFlags::POLLIN))),
            );
        }
        let stdout = self.run.stdout.readable();
        all.extend(stdout.map(|pipe| (Source::Stdout, PollFd::new(pipe.as_fd(), PollFlags::POLLIN))));
        // Without a wish, too: that nobody reads it any more is always told.
        let full = if self.run.stdin.is_full() { PollFlags::POLLOUT } else { PollFlags::empty() };
        all.extend(self.run.stdin.pipe().map(|pipe| (Source::Stdin, PollFd::new(pipe.as_fd(), full))));
        all.extend(
            self.link.as_ref().map(|link| (Source::Link, PollFd::new(link.stream.as_fd(), wish(link)))),
        );
        all.push((Source::Signals, PollFd::new(self.signals.readable(), PollFlags::POLLIN)));
        all
    }

    fn serve(&mut self, source: Source, events: PollFlags) {
        match source {
            Source::Signals => self.hear_signals(),
            // What is to be written is written before the next wait anyway.
            Source::Link if events == PollFlags::POLLOUT => {}
            Source::Link => self.hear(),
            Source::Stdin if events.contains(PollFlags::POLLERR) => self.run.stdin.close(),
            Source::Stdin => self.run.stdin.pump(),
            Source::Stdout => drop(self.run.stdout.pump(&mut self.scratch)),
            Source::Log(at) => drop(self.run.pump_log(at, &mut self.log, &mut self.scratch)),
            Source::Counter => self.count_kills(),
            Source::Connecting(at) => self.connected(at),
        }
    }

    /// Reads once from the daemon, and does what it says.
    fn hear(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        let heard = match read(&mut link.stream, &mut self.scratch) {
            Got::Nothing => Ok(()),
            Got::End => Err(Lost::Gone),
            Got::Bytes(count) => {
                link.decoder.push(&self.scratch[..count]);
                self.obey_all(&mut link.decoder, &mut link.talk)
            }
        };
        match heard {
            Ok(()) => self.link = Some(link),
            Err(lost) => self.lost(clock::now(), &lost),
        }
    }

    fn connected(&mut self, at: usize) {
        if let Some(answer) = self.sockets.ready(at)
            && let Some(link) = &mut self.link
        {
            // An answer is far shorter than a frame may be.
            let _ = link.talk.outbox.answer(answer);
        }
    }

    fn hear_signals(&mut self) {
        for signal in self.signals.take() {
            match signal {
                Signal::SIGCHLD => self.reap(clock::now()),
                Signal::SIGTERM | Signal::SIGINT => self.leave_soon(signal),
                _ => self.run.server().into_iter().for_each(|pid| tree::signal_one(pid, signal)),
            }
        }
    }

    /// The engine wants the container to end. How long that may take is its business.
    fn leave_soon(&mut self, signal: Signal) {
        if !self.leave.is_decided() {
            self.leave = Leave::WhenOver;
        }
        if let Some(pid) = self.run.server() {
            tree::signal_group(pid, signal);
        }
    }

    fn reap(&mut self, now: Instant) {
        if self.run.reap(now, self.tree) {
            self.run.close(&mut self.counter, &mut self.log, &mut self.scratch);
            if self.leave == Leave::Stay {
                self.leave = Leave::Linger(now + self.run.linger);
            }
            self.child_changed();
        }
    }

    fn count_kills(&mut self) {
        if self.run.server().is_some() && self.run.count_kills(&mut self.counter) {
            self.child_changed();
        } else {
            // Read all the same: otherwise it would be told again.
            self.counter.read();
        }
    }

    fn child_changed(&mut self) {
        if let Some(link) = &mut self.link {
            link.talk.told.child_changed(&self.run, &self.log);
        }
    }
}

/// Whole milliseconds, rounded up: a timeout that is short by a little would spin.
fn timeout(wait: Duration) -> PollTimeout {
    let millis = wait.as_micros().div_ceil(1000);
    PollTimeout::try_from(millis.min(i32::MAX as u128) as i32).unwrap_or(PollTimeout::MAX)
}

fn wish(link: &Link) -> PollFlags {
    let read = if link.is_busy() { PollFlags::empty() } else { PollFlags::POLLIN };
    let write = if link.talk.outbox.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
    read | write
}
