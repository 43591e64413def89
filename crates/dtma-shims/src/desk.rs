//! One container's conversation: everything that is known and on its way, under one lock. Nothing here waits.

use crate::intake::Intake;
use crate::launch;
use crate::logbook::Logbook;
use crate::overlay::time;
use crate::request::Requests;
use bytes::Bytes;
use dtma_core::Timestamp;
use dtma_core::container::Launch;
use dtma_core::port::runtime::OutputChunk;
use dtma_wire::{
    Child, FromDaemon, FromShim, Hello, INPUT_WINDOW, LOG_BYTES, Mode, Phase, SendBuffer, Spawn, TAGGED,
    Welcome, WireError,
};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Waker};
use tokio::net::UnixStream;

/// Bytes that may wait for the socket before no more input is made into frames.
const OUT: usize = 64 << 10;

/// Which attachment: counted, so that one that was followed by another hears nothing more.
pub(crate) type Turn = u64;

pub(crate) struct Desk {
    socket: Option<Arc<UnixStream>>,
    out: Vec<u8>,
    sent: usize,
    /// `None` before the shim said anything in this daemon's life.
    child: Option<Child>,
    input: SendBuffer,
    /// The last byte that whoever is attached gave was a newline.
    input_rests: bool,
    input_open: bool,
    writer: Option<Waker>,
    intake: Intake,
    attached: Turn,
    turns: Turn,
    /// The next run's attachment, made before the run is, and whoever reads there already.
    awaited: Option<Turn>,
    reader: Option<Waker>,
    /// The run that was asked for and of which nothing was heard yet.
    spawn: Option<Spawn>,
    requests: Requests,
    /// The next log record that was not heard yet.
    log: u64,
    logbook: Arc<Logbook>,
    /// The engine said that the container does not run.
    doomed: bool,
    /// As far as is known the shim lives, connected or not.
    lives: bool,
    /// Of the wire, as agreed with the shim.
    version: u16,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            socket: None,
            out: Vec::new(),
            sent: 0,
            child: None,
            input: SendBuffer::new(0, INPUT_WINDOW),
            input_rests: true,
            input_open: false,
            writer: None,
            intake: Intake::default(),
            attached: 0,
            turns: 0,
            awaited: None,
            reader: None,
            spawn: None,
            requests: Requests::default(),
            log: 0,
            logbook: Logbook::new(LOG_BYTES),
            doomed: false,
            lives: false,
            version: 0,
        }
    }

    pub(crate) fn child(&self) -> Option<&Child> {
        self.child.as_ref()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    pub(crate) fn logbook(&self) -> Arc<Logbook> {
        Arc::clone(&self.logbook)
    }

    pub(crate) fn requests(&mut self) -> &mut Requests {
        &mut self.requests
    }

    fn run(&self) -> u32 {
        self.child.as_ref().map_or(0, |child| child.run)
    }

    fn runs(&self) -> bool {
        self.lives && matches!(self.child, Some(Child { phase: Phase::Running { .. }, .. }))
    }

    // --- the connection ---

    /// A shim that is believed is here: says how to go on.
    pub(crate) fn welcome(&mut self, socket: Arc<UnixStream>, hello: Hello, version: u16) -> io::Result<()> {
        self.hang_up();
        let told = hello.child.run;
        let unheard = self.spawn.clone().filter(|spawn| spawn.run == told + 1);
        if unheard.is_none() {
            match told > 0 && told == self.run() {
                true => self.input.resume(hello.input, hello.input).map_err(invalid)?,
                false => self.begin_anew(&hello),
            }
        }
        let output = self.intake.received().clamp(hello.output.base, hello.output.end);
        let limit = if self.attached == 0 { output } else { self.intake.limit() };
        self.intake.told(limit);
        self.socket = Some(socket);
        (self.doomed, self.lives, self.version) = (false, true, version);
        self.say(&FromDaemon::Welcome(Welcome { version, output, limit, log: self.log }))?;
        match unheard {
            Some(spawn) => {
                self.say(&FromDaemon::Spawn(spawn))?;
                // Of a run that it has not begun it knows nothing.
                self.intake.told(0);
                self.add_news()
            }
            None => self.learn(hello.child),
        }
    }

    /// Goes on from where the shim says it is: it was known to nobody, or is another one.
    fn begin_anew(&mut self, hello: &Hello) {
        self.input = SendBuffer::new(hello.input, INPUT_WINDOW);
        self.input_open = true;
        self.input_rests = true;
        self.spawn = None;
        if hello.torn {
            self.input.push(b"\n");
        }
        if hello.child.run == 0 {
            self.log = 0;
        }
        self.intake.end();
        self.intake = Intake::after(&hello.output);
        self.attached = 0;
        self.wake_writer();
    }

    /// The engine says that the container does not run. It may have said so of a former life: a shim that is connected
    /// lives, and if it does not, its end of the connection is about to be seen.
    pub(crate) fn seen_dead(&mut self) {
        match self.socket {
            Some(_) => self.doomed = true,
            None => self.died(),
        }
    }

    /// The connection ended by itself.
    pub(crate) fn lost(&mut self) {
        self.hang_up();
        if std::mem::take(&mut self.doomed) {
            self.died();
        }
    }

    /// The connection is gone. The shim will dial again, if it lives.
    fn hang_up(&mut self) {
        self.socket = None;
        self.out.clear();
        self.sent = 0;
        self.requests.fail();
    }

    /// The container does not run: nothing more comes, whatever was promised.
    pub(crate) fn died(&mut self) {
        self.hang_up();
        self.lives = false;
        self.intake.end();
        self.close_input();
        self.logbook.end_lines();
    }

    /// Says something. It goes out with the next [`flush`](Self::flush).
    pub(crate) fn say(&mut self, frame: &FromDaemon<'_>) -> io::Result<()> {
        match self.socket {
            Some(_) => frame.encode(&mut self.out).map_err(invalid),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Writes what is to be said; true when the socket takes no more for now.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        let Some(socket) = self.socket.clone() else { return Ok(false) };
        loop {
            self.compose()?;
            if self.sent == self.out.len() {
                self.out.clear();
                self.sent = 0;
                return Ok(false);
            }
            match socket.try_write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes frames of what waits; news of the output go along.
    fn compose(&mut self) -> io::Result<()> {
        let run = self.run();
        while self.out.len() - self.sent < OUT
            && let Some((offset, bytes)) = self.input.chunk()
        {
            let count = bytes.len();
            FromDaemon::Input { run, offset, bytes }.encode(&mut self.out).map_err(invalid)?;
            self.input.sent(count);
            self.add_news()?;
        }
        Ok(())
    }

    fn add_news(&mut self) -> io::Result<()> {
        if self.attached == 0 || self.socket.is_none() {
            return Ok(());
        }
        let run = self.run();
        match self.intake.news() {
            Some((consumed, limit)) => self.say(&FromDaemon::OutputWindow { run, consumed, limit }),
            None => Ok(()),
        }
    }

    /// Tells the shim what was taken care of.
    pub(crate) fn acknowledge(&mut self) -> io::Result<()> {
        self.add_news()?;
        self.flush().map(drop)
    }

    // --- what the shim says ---

    /// Takes in a frame. An error means that this connection cannot be used any more.
    pub(crate) fn hear(
        &mut self,
        frame: FromShim<'_>,
        descriptors: &mut VecDeque<OwnedFd>,
    ) -> io::Result<()> {
        let now = self.run();
        match frame {
            FromShim::Hello(_) => return Err(broken("a second hello")),
            FromShim::Child(child) => return self.learn(child),
            FromShim::Output { run, offset, bytes } if run == now => {
                // Also where nobody is attached any more: it was asked for before.
                if !self.intake.output(offset, bytes) {
                    return Err(broken("output that was not asked for"));
                }
            }
            FromShim::OutputEnd { run, offset } if run == now => {
                if offset == self.intake.received() {
                    self.intake.end();
                }
            }
            FromShim::Log { sequence, run, at, stderr, bytes } => {
                self.heard(sequence, run, at, stderr, bytes);
            }
            FromShim::InputWindow { run, accepted, limit } if run == now => {
                self.input.window(accepted, limit).map_err(invalid)?;
                self.wake_writer();
            }
            FromShim::InputClosed { run } if run == now => self.close_input(),
            FromShim::Socket { request, .. } => {
                let socket = descriptors.pop_front().ok_or_else(|| broken("no socket came"))?;
                self.requests.answer(request, Ok(socket));
            }
            FromShim::NoSocket { request, errno } => {
                let errno = i32::try_from(errno).unwrap_or(0);
                self.requests.answer(request, Err(io::Error::from_raw_os_error(errno)));
            }
            // Of a run that nobody asks for any more.
            FromShim::Output { .. }
            | FromShim::OutputEnd { .. }
            | FromShim::InputWindow { .. }
            | FromShim::InputClosed { .. } => {}
        }
        Ok(())
    }

    fn learn(&mut self, child: Child) -> io::Result<()> {
        let over = !matches!(child.phase, Phase::Running { .. });
        let run = child.run;
        self.child = Some(child);
        self.spawn.take_if(|spawn| spawn.run <= run);
        if over && run > 0 {
            self.close_input();
            self.say(&FromDaemon::Heard { run })?;
        }
        Ok(())
    }

    fn heard(&mut self, sequence: u64, run: u32, at: u64, stderr: bool, bytes: &[u8]) {
        if sequence < self.log {
            return;
        }
        self.log = sequence.saturating_add(1);
        if self.attached != 0 && stderr && run == self.run() {
            return self.intake.errors(bytes);
        }
        self.logbook.write(time(at).unwrap_or(Timestamp::UNIX_EPOCH), stderr, bytes);
    }

    // --- a new run ---

    /// Begins the next run, with everything at its beginning, and says its number. Whoever attached for it is attached
    /// to it, and its output is messages then.
    pub(crate) fn spawn(&mut self, launch: &Launch, linger: u32) -> io::Result<u32> {
        if self.socket.is_none() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let run = self.run() + 1;
        let tag = (self.version >= TAGGED).then(|| launch::tag(launch));
        let (argv, environment) = launch::said(launch);
        self.intake.end();
        self.logbook.end_lines();
        let attached = self.awaited.take();
        let mode = if attached.is_some() { Mode::Messages } else { Mode::Log };
        self.attached = attached.unwrap_or(0);
        self.intake = Intake::new(0);
        self.input = SendBuffer::new(0, INPUT_WINDOW);
        self.input.resume(0, INPUT_WINDOW as u64).map_err(invalid)?;
        self.input_open = true;
        self.input_rests = true;
        self.child = Some(Child { run, phase: Phase::Idle, oom_kills: 0, tag: tag.clone() });
        let spawn = Spawn { run, mode, argv, environment, linger, tag };
        self.say(&FromDaemon::Spawn(spawn.clone()))?;
        self.spawn = Some(spawn);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        self.acknowledge()?;
        Ok(run)
    }

    /// Says something about the run that is now.
    pub(crate) fn say_of_run(&mut self, frame: impl FnOnce(u32) -> FromDaemon<'static>) -> io::Result<()> {
        self.say(&frame(self.run()))?;
        self.flush().map(drop)
    }

    // --- attachments ---

    /// Attaches to what runs, or to what runs next. Whoever was attached before is at the end.
    pub(crate) fn attach(&mut self) -> Turn {
        self.turns += 1;
        if !self.runs() {
            self.awaited = Some(self.turns);
            return self.turns;
        }
        self.attached = self.turns;
        // Whoever was there before is to see that.
        self.intake.wake();
        self.wake_writer();
        if !self.input_rests {
            // What the last one left unfinished ends here.
            self.input.push(b"\n");
            self.input_rests = true;
        }
        match self.intake.rewind() {
            // What the last one did not take care of has to come again.
            Some(from) => {
                self.intake.end();
                self.intake = Intake::new(from);
                self.hang_up();
            }
            None => self.logbook.drain().iter().for_each(|line| self.intake.errors(line.as_bytes())),
        }
        self.turns
    }

    pub(crate) fn detach(&mut self, turn: Turn) {
        if self.attached == turn {
            self.attached = 0;
        }
        if self.awaited == Some(turn) {
            self.awaited = None;
        }
    }

    /// The next piece of output, `Some(None)` at the end, `None` when there is nothing yet.
    pub(crate) fn take(&mut self, turn: Turn, context: &Context<'_>) -> Option<Option<OutputChunk>> {
        if self.awaited == Some(turn) {
            self.reader = Some(context.waker().clone());
            return None;
        }
        if self.attached != turn {
            return Some(None);
        }
        let taken = self.intake.take(context);
        if self.intake.is_urgent() {
            // A socket that is gone or full is its task's business.
            let _ = self.acknowledge();
        }
        taken
    }

    /// Gives the server input: as much of it as there is room for is taken off `bytes`. `None` when the rest has to
    /// wait.
    pub(crate) fn write(
        &mut self,
        turn: Turn,
        bytes: &mut Bytes,
        context: &Context<'_>,
    ) -> Option<io::Result<()>> {
        if self.attached != turn || !self.input_open {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = self.input.push(bytes);
        let taken = bytes.split_to(taken);
        if let Some(last) = taken.last() {
            self.input_rests = *last == b'\n';
        }
        if bytes.is_empty() {
            return Some(Ok(()));
        }
        self.writer = Some(context.waker().clone());
        None
    }

    fn close_input(&mut self) {
        self.input_open = false;
        self.wake_writer();
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn invalid(error: WireError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
