//! A daemon as small as it can be: it speaks the wire synchronously and remembers what it was told.

use dtma_wire::{
    Child, Decoder, FromDaemon, FromShim, Hello, INPUT_WINDOW, MAX_DATA, Mode, Phase, SendBuffer, Spawn,
    Welcome,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::collections::{BTreeMap, VecDeque};
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

/// Longest wait for anything in a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How much output a daemon lets come before it has taken care of it.
const WINDOW: u64 = 256 << 10;

/// What is known of a run's streams, whichever connection it came by.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) run: u32,
    /// Everything the server wrote so far that is not looked at yet.
    pub(crate) output: Vec<u8>,
    /// How much came in all.
    pub(crate) received: u64,
    /// How far it may come.
    limit: u64,
    pub(crate) output_end: Option<u64>,
    pub(crate) input: SendBuffer,
    pub(crate) input_closed: bool,
}

impl Book {
    fn new(run: u32) -> Self {
        let input = SendBuffer::new(0, 64 << 20);
        Self { run, output: Vec::new(), received: 0, limit: 0, output_end: None, input, input_closed: false }
    }
}

/// A connection that a shim made.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: UnixStream,
    decoder: Decoder,
    passed: VecDeque<OwnedFd>,
    pub(crate) hello: Option<Hello>,
    pub(crate) child: Child,
    /// Every state that was told, in order.
    pub(crate) states: Vec<Phase>,
    pub(crate) book: Book,
    /// Standard error, and where it is words the standard output, by sequence number.
    pub(crate) log: Vec<(u64, bool, Vec<u8>)>,
    pub(crate) sockets: BTreeMap<u32, Result<(u16, OwnedFd), u32>>,
    /// How far the next window goes; a slow daemon makes it small.
    pub(crate) window: u64,
    /// Log records were told before the server's end.
    pub(crate) closed: bool,
}

impl Peer {
    /// Waits for a shim and takes its hello.
    pub(crate) fn accept(listener: &UnixListener) -> Self {
        let mut poll =
            [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(listener), nix::poll::PollFlags::POLLIN)];
        let millis = u16::try_from(PATIENCE.as_millis()).unwrap();
        assert_eq!(nix::poll::poll(&mut poll, millis), Ok(1), "no shim dialled");
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut peer = Self {
            stream,
            decoder: Decoder::default(),
            passed: VecDeque::new(),
            hello: None,
            child: Child::default(),
            states: Vec::new(),
            book: Book::new(0),
            log: Vec::new(),
            sockets: BTreeMap::new(),
            window: WINDOW,
            closed: false,
        };
        peer.until("hello", |peer| peer.hello.is_some());
        peer
    }

    pub(crate) fn said(&self) -> &Hello {
        self.hello.as_ref().unwrap()
    }

    /// Goes on where the shim is, with what an earlier connection left.
    pub(crate) fn welcome_with(&mut self, book: Book) {
        let hello = self.said().clone();
        self.book = book;
        self.child = hello.child;
        assert_eq!(self.book.run, self.child.run);
        self.book.output_end = None;
        let from = self.book.received;
        self.book.limit = from + self.window;
        let welcome = Welcome { version: 2, output: from, limit: self.book.limit, log: hello.log };
        self.send(&FromDaemon::Welcome(welcome));
        self.book.input.resume(hello.input, hello.input).unwrap();
    }

    /// As a daemon that knows nothing but what the hello says, and wants nothing that was taken care of.
    pub(crate) fn welcome(&mut self) {
        self.welcome_from(self.said().output.acknowledged);
    }

    /// The same, from that place of the output on.
    pub(crate) fn welcome_from(&mut self, received: u64) {
        let hello = self.said();
        let input = SendBuffer::new(hello.input, 64 << 20);
        let book = Book { received, input, ..Book::new(hello.child.run) };
        self.welcome_with(book);
    }

    pub(crate) fn spawn(&mut self, run: u32, mode: Mode, argv: &[&str]) {
        self.spawn_as(Spawn {
            run,
            mode,
            argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
            environment: Vec::new(),
            linger: 60,
            tag: None,
        });
    }

    pub(crate) fn spawn_as(&mut self, spawn: Spawn) {
        let run = spawn.run;
        self.send(&FromDaemon::Spawn(spawn));
        self.book = Book::new(run);
        self.book.limit = self.window;
        self.book.input.resume(0, INPUT_WINDOW as u64).unwrap();
        self.send(&FromDaemon::OutputWindow { run, consumed: 0, limit: self.window });
    }

    /// Starts a shell with this script, whose output is messages, and waits until it runs.
    pub(crate) fn shell(&mut self, run: u32, script: &str) {
        self.spawn(run, Mode::Messages, &["/bin/sh", "-c", script]);
        self.until_running(run);
    }

    /// Waits until it is told to run; perhaps it has ended since.
    pub(crate) fn until_running(&mut self, run: u32) {
        self.until("running", |peer| {
            let begun = matches!(peer.child.phase, Phase::Running { .. } | Phase::Exited { .. });
            peer.child.run == run && begun
        });
    }

    /// Waits for the end of this run, and says its code.
    pub(crate) fn until_exited(&mut self, run: u32) -> u8 {
        self.until("exited", |peer| {
            peer.child.run == run && matches!(peer.child.phase, Phase::Exited { .. })
        });
        let Phase::Exited { code, .. } = self.child.phase else { unreachable!() };
        code
    }

    pub(crate) fn until_line(&mut self) -> String {
        self.until("a line", |peer| peer.book.output.contains(&b'\n'));
        let at = self.book.output.iter().position(|byte| *byte == b'\n').unwrap();
        let line = self.book.output.drain(..=at).collect::<Vec<_>>();
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    /// Everything it wrote for people so far.
    pub(crate) fn words(&self) -> String {
        String::from_utf8_lossy(&self.log.iter().flat_map(|(_, _, bytes)| bytes.clone()).collect::<Vec<_>>())
            .into()
    }

    pub(crate) fn send(&mut self, frame: &FromDaemon<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes).unwrap();
        self.send_bytes(&bytes);
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Gives the server input, as far as the window goes; the rest follows when it moves.
    pub(crate) fn input(&mut self, bytes: &[u8]) {
        assert_eq!(self.book.input.push(bytes), bytes.len());
        self.send_input();
    }

    fn send_input(&mut self) {
        while let Some((offset, bytes)) = self.book.input.chunk() {
            let (mut frame, count) = (Vec::new(), bytes.len());
            FromDaemon::Input { run: self.book.run, offset, bytes }.encode(&mut frame).unwrap();
            self.book.input.sent(count);
            if self.stream.write_all(&frame).is_err() {
                return;
            }
        }
    }

    pub(crate) fn end_input(&mut self) {
        let (run, offset) = (self.book.run, self.book.input.end());
        assert!(self.book.input.is_sent());
        self.send(&FromDaemon::InputEnd { run, offset });
    }

    pub(crate) fn stop(&mut self, grace: u32) {
        let run = self.book.run;
        self.send(&FromDaemon::Stop { run, grace });
    }

    /// Waits until the shim has done everything that it was told so far: a run that cannot be is answered.
    pub(crate) fn barrier(&mut self) {
        let before = self.states.len();
        let nothing = Spawn {
            run: 0,
            mode: Mode::Log,
            argv: Vec::new(),
            environment: Vec::new(),
            linger: 0,
            tag: None,
        };
        self.send(&FromDaemon::Spawn(nothing));
        self.until("an answer", |peer| peer.states.len() > before);
    }

    /// Receives until this holds; panics when it does not in time.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        while !holds(self) {
            assert!(self.receive(), "{what}: the shim closed the connection; {:?}", self.states);
        }
    }

    /// Receives until the shim closes the connection.
    pub(crate) fn until_closed(&mut self) {
        while self.receive() {}
    }

    /// Receives something: false when the connection is over.
    pub(crate) fn receive(&mut self) -> bool {
        let mut scratch = [0; 64 << 10];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut scratch)];
        let received = match recvmsg(&self.stream, parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => message.bytes,
            Err(rustix::io::Errno::AGAIN) => panic!("nothing came in time; {:?}", self.states),
            // With a timeout, a test that was stopped and goes on hears this.
            Err(rustix::io::Errno::INTR) => return true,
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(error) => panic!("{error}"),
        };
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = part {
                self.passed.extend(fds);
            }
        }
        self.decoder.push(&scratch[..received]);
        self.take_all();
        self.closed = received == 0;
        !self.closed
    }

    fn take_all(&mut self) {
        let mut decoder = std::mem::take(&mut self.decoder);
        while let Some(frame) = decoder.next_frame().unwrap() {
            self.take(FromShim::decode(frame).unwrap());
        }
        self.decoder = decoder;
        self.send_input();
    }

    fn take(&mut self, frame: FromShim<'_>) {
        match frame {
            FromShim::Hello(hello) => self.hello = Some(hello),
            FromShim::Child(child) => {
                self.states.push(child.phase.clone());
                self.child = child;
            }
            FromShim::Output { run, offset, bytes } => self.output(run, offset, bytes),
            FromShim::OutputEnd { run, offset } => {
                assert_eq!((run, offset), (self.book.run, self.book.received));
                assert_eq!(self.book.output_end.replace(offset), None, "told twice");
            }
            FromShim::Log { sequence, stderr, bytes, .. } => {
                self.log.push((sequence, stderr, bytes.to_vec()));
            }
            FromShim::InputWindow { run, accepted, limit } if run == self.book.run => {
                self.book.input.window(accepted, limit).unwrap();
            }
            FromShim::InputClosed { run } if run == self.book.run => self.book.input_closed = true,
            FromShim::InputWindow { .. } | FromShim::InputClosed { .. } => {}
            FromShim::Socket { request, port } => {
                let socket = self.passed.pop_front().expect("a socket comes with its frame");
                self.sockets.insert(request, Ok((port, socket)));
            }
            FromShim::NoSocket { request, errno } => drop(self.sockets.insert(request, Err(errno))),
        }
    }

    fn output(&mut self, run: u32, offset: u64, bytes: &[u8]) {
        assert_eq!((run, offset), (self.book.run, self.book.received), "a gap or a repetition");
        assert!(bytes.len() <= MAX_DATA);
        self.book.output.extend_from_slice(bytes);
        self.book.received += bytes.len() as u64;
        if self.book.received + self.window - self.book.limit >= self.window / 2 {
            self.acknowledge();
        }
    }

    /// Says that everything so far was taken care of.
    pub(crate) fn acknowledge(&mut self) {
        let (run, consumed) = (self.book.run, self.book.received);
        self.book.limit = consumed + self.window;
        let mut frame = Vec::new();
        FromDaemon::OutputWindow { run, consumed, limit: self.book.limit }.encode(&mut frame).unwrap();
        // A connection that is being cut may refuse it.
        let _ = self.stream.write_all(&frame);
    }

    /// Cuts the connection and keeps the book.
    pub(crate) fn cut(self) -> Book {
        self.book
    }

    /// Says as much as the shim takes without reading what it says. True when it takes no more.
    pub(crate) fn send_until_full(&mut self, frame: &FromDaemon<'_>, most: usize) -> usize {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes).unwrap();
        self.stream.set_nonblocking(true).unwrap();
        let taken =
            (0..most).take_while(|_| self.stream.write(&bytes).is_ok_and(|count| count == bytes.len()));
        let taken = taken.count();
        self.stream.set_nonblocking(false).unwrap();
        taken
    }

    /// The connection itself, to ask the system about it.
    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }
}
