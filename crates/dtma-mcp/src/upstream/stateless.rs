//! A server that knows no handshake (2026-07-28 only), made to look like one that does. Whether it is one shows when it
//! refuses `initialize` and answers `server/discover`; everybody else's bytes pass as they are.
//!
//! Behind its own streams or behind a port: here are lines in and lines out, and [`Translator`] says what becomes of them.

mod form;
mod mirrors;
mod posted;
#[cfg(test)]
mod tests;
mod translator;

pub(crate) use self::form::offers;
pub(super) use self::mirrors::Mirrors;
pub(super) use self::posted::{Hangers, claims, is_stateless};
use self::translator::{Out, Translator};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use dtma_core::port::runtime::{AttachInput, Attached, OutputChunk, OutputStream};
use dtma_core::record::Handshake;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Batches of lines that may wait to be written in answer to what the server said.
const QUEUE: usize = 64;

/// How long a server that refused the handshake may take to say that it knows none.
const DISCOVERING: Duration = Duration::from_secs(3);

/// The same streams, in front of a server of either era. `known` is the handshake that was done with the process.
pub(crate) fn with_handshake(attached: Attached, known: Option<&Handshake>, limit: usize) -> Attached {
    let Attached { output, input, exact } = attached;
    let translator = match known {
        None => Translator::new(),
        Some(handshake) => match Translator::adopted(&handshake.result) {
            Some(translator) => translator,
            None => return Attached { output, input, exact },
        },
    };
    let shared = Arc::new(Shared {
        translator: Mutex::new(translator),
        plain: AtomicBool::new(false),
        said: Mutex::default(),
        news: Notify::new(),
        input: tokio::sync::Mutex::new(input),
    });
    let (write, writing) = mpsc::channel(QUEUE);
    let ear = Ear {
        output,
        shared: Arc::clone(&shared),
        line: BytesMut::new(),
        at: None,
        limit,
        write,
        pump: pump(Arc::clone(&shared), writing),
        ready: VecDeque::new(),
        deadline: None,
    };
    let output = stream::unfold(ear, |mut ear| async move { ear.next().await.map(|chunk| (chunk, ear)) });
    Attached { output: output.boxed(), input: Box::new(Pen { shared }), exact }
}

struct Shared {
    translator: Mutex<Translator>,
    /// It shook hands: nothing is looked at any more.
    plain: AtomicBool,
    /// Lines for the other side that came of what it wrote.
    said: Mutex<VecDeque<Bytes>>,
    news: Notify,
    input: tokio::sync::Mutex<Box<dyn AttachInput>>,
}

impl Shared {
    fn translator(&self) -> MutexGuard<'_, Translator> {
        self.translator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self) -> MutexGuard<'_, VecDeque<Bytes>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Acquire)
    }

    async fn write(&self, lines: Vec<Bytes>) -> io::Result<()> {
        match lines.is_empty() {
            true => Ok(()),
            false => self.input.lock().await.send(lines.concat().into()).await,
        }
    }
}

/// Writes what follows from what the server said. Ends when nobody listens to the server any more.
fn pump(shared: Arc<Shared>, mut writing: mpsc::Receiver<Vec<Bytes>>) -> BoxFuture<'static, io::Result<()>> {
    Box::pin(async move {
        while let Some(lines) = writing.recv().await {
            shared.write(lines).await?;
        }
        Ok(())
    })
}

/// Takes what is written to the server: whole lines.
struct Pen {
    shared: Arc<Shared>,
}

#[async_trait]
impl AttachInput for Pen {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        if self.shared.is_plain() {
            return self.shared.input.lock().await.send(bytes).await;
        }
        let mut out = Out::default();
        {
            let mut translator = self.shared.translator();
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                translator.written(&bytes.slice_ref(line), &mut out);
            }
        }
        if !out.back.is_empty() {
            self.shared.said().extend(out.back);
            self.shared.news.notify_one();
        }
        self.shared.write(out.on).await
    }
}

/// Gives what the server says.
struct Ear {
    output: BoxStream<'static, io::Result<OutputChunk>>,
    shared: Arc<Shared>,
    /// The line that has begun, and where in the output it did.
    line: BytesMut,
    at: Option<u64>,
    limit: usize,
    write: mpsc::Sender<Vec<Bytes>>,
    pump: BoxFuture<'static, io::Result<()>>,
    ready: VecDeque<OutputChunk>,
    /// When it has to have said what it is.
    deadline: Option<Instant>,
}

impl Ear {
    async fn next(&mut self) -> Option<io::Result<OutputChunk>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(Ok(chunk));
            }
            if self.shared.is_plain() {
                return self.output.next().await;
            }
            let Self { output, shared, pump, deadline, .. } = self;
            // Dropped, all: what was not taken is still where it was, and a write under way lives in the pump.
            let heard = tokio::select! {
                problem = pump => return Some(Err(problem.err()?)),
                () = shared.news.notified() => {
                    self.ready.extend(shared.said().drain(..).map(chunk_of));
                    continue;
                }
                heard = output.next() => heard,
                () = passed(*deadline) => {
                    self.give_up();
                    continue;
                }
            };
            let Some(heard) = heard else { return self.rest().map(Ok) };
            match heard {
                Ok(chunk) => self.heard(chunk).await,
                Err(problem) => return Some(Err(problem)),
            }
        }
    }

    /// It does not say either what it is.
    fn give_up(&mut self) {
        let refusal = self.shared.translator().give_up();
        self.deadline = None;
        self.ready.extend(refusal.map(chunk_of));
        self.shared.plain.store(true, Ordering::Release);
    }

    /// What was begun when the output ended.
    fn rest(&mut self) -> Option<OutputChunk> {
        let bytes = self.line.split().freeze();
        let (stream, offset) = (OutputStream::Stdout, self.at.take());
        (!bytes.is_empty()).then_some(OutputChunk { stream, bytes, offset, again: false })
    }

    async fn heard(&mut self, chunk: OutputChunk) {
        if chunk.stream == OutputStream::Stderr {
            return self.ready.push_back(chunk);
        }
        let OutputChunk { bytes, offset, again, .. } = chunk;
        let mut at = offset;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.is_empty() {
                self.at = at;
            }
            at = at.map(|at| at + part.len() as u64);
            self.line.extend_from_slice(part);
            let is_whole = part.ends_with(b"\n") || self.line.len() > self.limit;
            if is_whole || self.shared.is_plain() {
                let line = self.line.split().freeze();
                self.line_of(line, again).await;
            }
        }
    }

    /// What is passed on unchanged keeps its place in the output.
    async fn line_of(&mut self, line: Bytes, again: bool) {
        let mut out = Out::default();
        let passes = {
            let mut translator = self.shared.translator();
            let passes = again || translator.heard(&line, &mut out);
            self.shared.plain.store(translator.is_plain(), Ordering::Release);
            self.deadline = match translator.is_asking() {
                true => self.deadline.or_else(|| Some(Instant::now() + DISCOVERING)),
                false => None,
            };
            passes
        };
        if passes {
            let (stream, offset) = (OutputStream::Stdout, self.at.take());
            self.ready.push_back(OutputChunk { stream, bytes: line, offset, again });
        }
        self.ready.extend(out.back.into_iter().map(chunk_of));
        if !out.on.is_empty() {
            self.hand_over(out.on).await;
        }
    }

    /// To the pump, which goes on meanwhile.
    async fn hand_over(&mut self, lines: Vec<Bytes>) {
        let Self { write, pump, .. } = self;
        tokio::select! {
            // It has ended by an error, which shows when the next is written.
            _ = write.send(lines) => {}
            _ = pump => {}
        }
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn chunk_of(line: Bytes) -> OutputChunk {
    OutputChunk::new(OutputStream::Stdout, line)
}
