//! The task of one container: listens for its shim, lets in nobody else, and carries what is said.

use crate::descriptors::try_read;
use crate::desk::{Desk, Turn};
use crate::key::Key;
use crate::logbook::Logbook;
use crate::places::Places;
use crate::request::Answer;
use dtma_core::container::Launch;
use dtma_core::port::runtime::ContainerChange;
use dtma_wire::{Child, Decoder, FromDaemon, FromShim, Phase};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long somebody who has dialled may take to say who he is.
const HELLO: Duration = Duration::from_secs(5);
/// Between the output that was taken care of and telling so, when nothing else is to be said.
const ACKNOWLEDGE: Duration = Duration::from_millis(5);
/// After a failed accept.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes read at once.
const READ: usize = 16 << 10;

/// Whether somebody who has dialled may be a shim.
pub(crate) type Check = fn(&UnixStream) -> Result<(), String>;

/// What is told of a container to whoever watches the engine.
pub(crate) type Tell = Box<dyn Fn(ContainerChange) + Send + Sync>;

/// What is known of a shim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Known {
    /// It is there.
    pub(crate) connected: bool,
    /// What it last said of the server; `None` before it said anything in this daemon's life.
    pub(crate) child: Option<Child>,
    /// Why it was turned away, when it was.
    pub(crate) refused: Option<Arc<str>>,
}

pub(crate) struct Session {
    pub(crate) key: Key,
    nonce: [u8; 16],
    check: Check,
    tell: Tell,
    desk: Mutex<Desk>,
    /// There is something to write that the socket did not take.
    nudge: Notify,
    known: watch::Sender<Known>,
    since: Instant,
    closing: CancellationToken,
}

impl Session {
    pub(crate) fn new(key: Key, nonce: [u8; 16], check: Check, tell: Tell) -> Arc<Self> {
        Arc::new(Self {
            key,
            nonce,
            check,
            tell,
            desk: Mutex::new(Desk::new()),
            nudge: Notify::new(),
            known: watch::Sender::new(Known::default()),
            since: Instant::now(),
            closing: CancellationToken::new(),
        })
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is done at the desk, and what is to be written because of it.
    fn at_desk<T>(&self, work: impl FnOnce(&mut Desk) -> T) -> T {
        let mut desk = self.desk();
        let done = work(&mut desk);
        if !matches!(desk.flush(), Ok(false)) {
            self.nudge.notify_one();
        }
        done
    }

    pub(crate) fn known(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    pub(crate) fn logbook(&self) -> Arc<Logbook> {
        self.desk().logbook()
    }

    /// Since when its shim can have dialled.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Listens no more; everybody who waits is at the end.
    pub(crate) fn close(&self) {
        self.closing.cancel();
        let mut desk = self.desk();
        desk.died();
        desk.logbook().close();
        drop(desk);
        // Whoever closes it knows.
        self.publish();
    }

    /// The engine says that the container does not run.
    pub(crate) fn died(&self) {
        self.desk().seen_dead();
        self.learn();
    }

    // --- what is asked of it ---

    /// Begins the next run and says its number.
    pub(crate) fn spawn(&self, launch: &Launch, linger: Duration) -> io::Result<u32> {
        let linger = u32::try_from(linger.as_secs()).unwrap_or(u32::MAX);
        let run = self.at_desk(|desk| desk.spawn(launch, linger));
        self.learn();
        run
    }

    /// Asks for the end of the server, which the shim survives.
    pub(crate) fn stop(&self, grace: Duration) -> io::Result<()> {
        let grace = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
        self.at_desk(|desk| desk.say_of_run(|run| FromDaemon::Stop { run, grace }))
    }

    /// Asks for a connection to a port inside.
    pub(crate) fn connect(&self, port: u16) -> io::Result<oneshot::Receiver<Answer>> {
        self.at_desk(|desk| {
            let (request, answer) = desk.requests().open();
            desk.say(&FromDaemon::Connect { request, port })?;
            Ok(answer)
        })
    }

    /// Asks for a listener on a port inside.
    pub(crate) fn listen(&self, port: u16) -> io::Result<oneshot::Receiver<Answer>> {
        self.at_desk(|desk| {
            let (request, answer) = desk.requests().open();
            desk.say(&FromDaemon::Listen { request, port })?;
            Ok(answer)
        })
    }

    pub(crate) fn attach(&self) -> Turn {
        self.at_desk(|desk| {
            let turn = desk.attach();
            // A socket that is gone or full is the task's business.
            let _ = desk.acknowledge();
            if !desk.is_connected() {
                self.nudge.notify_one();
            }
            turn
        })
    }

    /// See [`Desk::take`], [`Desk::write`] and [`Desk::detach`].
    pub(crate) fn with_desk<T>(&self, work: impl FnOnce(&mut Desk) -> T) -> T {
        self.at_desk(work)
    }

    // --- the task ---

    /// Runs until the session is closed.
    pub(crate) async fn run(self: Arc<Self>, mut listener: UnixListener, places: Arc<Places>) {
        let closing = self.closing.clone();
        closing.run_until_cancelled(self.serve(&mut listener, &places)).await;
    }

    async fn serve(&self, listener: &mut UnixListener, places: &Places) {
        let mut next = None;
        loop {
            let socket = match next.take() {
                Some(socket) => socket,
                None => self.accept(listener, places).await,
            };
            let mut decoder = Decoder::default();
            let mut descriptors = VecDeque::new();
            let greeted =
                tokio::time::timeout(HELLO, self.greet(&socket, &mut decoder, &mut descriptors)).await;
            match greeted {
                Ok(Ok(())) => {
                    self.learn();
                    let connection = self.carry(&socket, decoder, descriptors);
                    // Both may be dropped: what was read is at the desk, what was not accepted is in the queue.
                    tokio::select! {
                        ended = connection => self.ended(&ended),
                        newer = self.accept(listener, places) => next = Some(newer),
                    }
                    self.desk().lost();
                    self.learn();
                }
                Ok(Err(problem)) => self.turn_away(&problem),
                Err(_) => tracing::warn!(container = %self.key, "a dialler did not say who it is"),
            }
        }
    }

    /// Somebody whom the check lets in.
    async fn accept(&self, listener: &mut UnixListener, places: &Places) -> Arc<UnixStream> {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => match (self.check)(&socket) {
                    Ok(()) => return Arc::new(socket),
                    Err(problem) => self.turn_away(&problem),
                },
                Err(error) => {
                    tracing::warn!(container = %self.key, %error, "nobody can be heard on its socket");
                    tokio::time::sleep(PAUSE).await;
                    if let Ok(anew) = places.listen(&self.key) {
                        *listener = anew;
                    }
                }
            }
        }
    }

    fn turn_away(&self, problem: &str) {
        tracing::warn!(container = %self.key, problem, "a dialler was turned away");
    }

    /// Hears who it is, and answers.
    async fn greet(
        &self,
        socket: &Arc<UnixStream>,
        decoder: &mut Decoder,
        descriptors: &mut VecDeque<OwnedFd>,
    ) -> Result<(), String> {
        let mut buffer = vec![0; READ];
        loop {
            if let Some(frame) = decoder.next_frame().map_err(|error| error.to_string())? {
                let frame = FromShim::decode(frame).map_err(|error| error.to_string())?;
                let FromShim::Hello(hello) = frame else { return Err("it did not say hello".into()) };
                if hello.nonce != self.nonce {
                    return Err("it is of another container".into());
                }
                let Some(version) = hello.version() else { return Err(self.refuse(socket, &hello)) };
                let mut desk = self.desk();
                return desk
                    .welcome(Arc::clone(socket), hello, version)
                    .and_then(|()| desk.flush().map(drop))
                    .map_err(|error| error.to_string());
            }
            socket.readable().await.map_err(|error| error.to_string())?;
            match try_read(socket, &mut buffer, descriptors) {
                Ok(0) => return Err("it hung up".into()),
                Ok(count) => decoder.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn refuse(&self, socket: &UnixStream, hello: &dtma_wire::Hello) -> String {
        let ours = dtma_wire::VERSIONS;
        let text = format!(
            "shim {} speaks versions {} to {} of the wire and this daemon {} to {}: replace the container",
            hello.build,
            hello.lowest,
            hello.highest,
            ours.start(),
            ours.end()
        );
        let (mut out, frame) = (Vec::new(), FromDaemon::Refuse { text: text.clone() });
        if frame.encode(&mut out).is_ok() {
            // Whether it hears why is its own business.
            let _ = socket.try_write(&out);
        }
        self.known.send_modify(|known| known.refused = Some(text.as_str().into()));
        text
    }

    /// Reads and writes until the connection ends.
    async fn carry(
        &self,
        socket: &UnixStream,
        mut decoder: Decoder,
        mut descriptors: VecDeque<OwnedFd>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; READ];
        let mut acknowledge: Option<Instant> = None;
        self.hear(&mut decoder, &mut descriptors)?;
        loop {
            let full = self.desk().flush()?;
            if !self.desk().is_connected() {
                return Ok(());
            }
            let interest = if full { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            let due = acknowledge.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            // Dropped: readiness is kept by the socket, a nudge by its permit.
            let ready = tokio::select! {
                ready = socket.ready(interest) => ready?,
                () = self.nudge.notified() => continue,
                () = tokio::time::sleep_until(due), if acknowledge.is_some() => {
                    acknowledge = None;
                    self.desk().acknowledge()?;
                    continue;
                }
            };
            if ready.is_readable() {
                match try_read(socket, &mut buffer, &mut descriptors) {
                    Ok(0) => return Ok(()),
                    Ok(count) => {
                        decoder.push(&buffer[..count]);
                        self.hear(&mut decoder, &mut descriptors)?;
                        acknowledge.get_or_insert_with(|| Instant::now() + ACKNOWLEDGE);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn hear(&self, decoder: &mut Decoder, descriptors: &mut VecDeque<OwnedFd>) -> io::Result<()> {
        let mut desk = self.desk();
        let mut changed = false;
        while let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
            let frame = FromShim::decode(frame).map_err(io::Error::other)?;
            changed |= matches!(frame, FromShim::Child(_));
            desk.hear(frame, descriptors)?;
        }
        drop(desk);
        if changed {
            self.learn();
        }
        Ok(())
    }

    fn ended(&self, how: &io::Result<()>) {
        match how {
            Ok(()) => tracing::debug!(container = %self.key, "its shim hung up"),
            Err(error)
                if [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&error.kind()) =>
            {
                tracing::debug!(container = %self.key, "its shim is gone");
            }
            Err(error) => tracing::warn!(container = %self.key, %error, "its shim cannot be understood"),
        }
    }

    /// Tells what is known now, and what happened.
    fn learn(&self) {
        if let Some(change) = self.publish() {
            (self.tell)(change);
        }
    }

    /// Publishes what is known now; what happened is for whoever watches the engine.
    fn publish(&self) -> Option<ContainerChange> {
        let (connected, child) = {
            let desk = self.desk();
            (desk.is_connected(), desk.child().cloned())
        };
        let before = self.known.borrow().child.clone();
        self.known.send_if_modified(|known| {
            let refused = known.refused.clone().filter(|_| !connected);
            let now = Known { connected, child: child.clone(), refused };
            let news = *known != now;
            if news {
                tracing::debug!(container = %self.key, connected, ?child, "the shim");
            }
            *known = now;
            news
        });
        change(before.as_ref(), child.as_ref())
    }
}

/// What an engine would have said of it.
fn change(before: Option<&Child>, now: Option<&Child>) -> Option<ContainerChange> {
    let now = now.filter(|now| Some(*now) != before)?;
    let same_run = before.is_some_and(|before| before.run == now.run);
    match now.phase {
        Phase::Idle => None,
        Phase::Running { .. }
            if same_run && before.is_some_and(|before| now.oom_kills > before.oom_kills) =>
        {
            Some(ContainerChange::OutOfMemory)
        }
        Phase::Running { .. } => Some(ContainerChange::Started),
        Phase::Exited { .. } | Phase::Failed { .. } => Some(ContainerChange::Died),
    }
}

#[cfg(test)]
mod tests;
