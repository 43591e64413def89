//! The attached process: lines in, lines out. Knows nothing of what they mean.
//!
//! Writing never blocks reading: while one write is under way, further lines queue up and go out together in the
//! next one.

use crate::line::{Framed, Framer, Overlong};
use crate::ring::MAX_LINE;
use bytes::Bytes;
use dtma_core::id::RunKey;
use dtma_core::port::runtime::{AttachInput, Attached, OutputChunk, OutputStream};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::collections::VecDeque;
use std::io;

/// Most bytes that several short lines are put together to for one write.
const BATCH: usize = 256 << 10;

/// A process and its three streams.
pub(crate) struct Link {
    pub(crate) run: RunKey,
    /// The first line of output may be the tail of one that was begun before we came.
    pub(crate) after_gap: bool,
    output: BoxStream<'static, io::Result<OutputChunk>>,
    stdout: Framer,
    stderr: Framer,
    pen: Pen,
    queue: VecDeque<Bytes>,
    queued: usize,
    backlog: usize,
    /// Lines ever pushed, and how many of them were given to a write.
    pushed: u64,
    taken: u64,
}

enum Pen {
    Idle(Box<dyn AttachInput>),
    Writing(BoxFuture<'static, (Box<dyn AttachInput>, io::Result<()>)>),
    Broken,
}

/// Something happened on the link.
pub(crate) enum LinkEvent {
    Output(OutputChunk),
    /// The output ended, with the reason when there is one.
    Ended(Option<io::Error>),
    Written,
    /// Nothing can be written any more; there may still be output.
    InputBroke(io::Error),
}

/// A line of the server's.
pub(crate) struct Heard {
    pub(crate) stream: OutputStream,
    pub(crate) framed: Framed,
    /// Where in all of the output it ends, where that is known.
    pub(crate) place: Option<u64>,
    /// It was heard by a former life of the daemon already.
    pub(crate) again: bool,
}

impl Link {
    pub(crate) fn new(
        run: RunKey,
        attached: Attached,
        after_gap: bool,
        message: usize,
        backlog: usize,
    ) -> Self {
        Self {
            run,
            after_gap,
            output: attached.output,
            stdout: Framer::new(message, Overlong::Drop),
            stderr: Framer::new(MAX_LINE, Overlong::Cut),
            pen: Pen::Idle(attached.input),
            queue: VecDeque::new(),
            queued: 0,
            backlog,
            pushed: 0,
            taken: 0,
        }
    }

    /// What happens next. May be dropped at any await: the write under way is kept in `self`, and the stream gives
    /// a chunk only when it is polled to the end.
    pub(crate) async fn event(&mut self) -> LinkEvent {
        let Self { pen, output, .. } = self;
        tokio::select! {
            // Dropped: nothing is lost, the write itself lives in the pen.
            result = written(pen) => match result {
                Ok(()) => LinkEvent::Written,
                Err(problem) => LinkEvent::InputBroke(problem),
            },
            // Dropped: nothing is lost, a chunk not yielded is still in the stream.
            chunk = output.next() => match chunk {
                Some(Ok(chunk)) => LinkEvent::Output(chunk),
                Some(Err(problem)) => LinkEvent::Ended(Some(problem)),
                None => LinkEvent::Ended(None),
            },
        }
    }

    /// Queues a line (with its newline) and says its place in the order of writing; `None` when the server has not
    /// read what is queued already, or never will.
    pub(crate) fn push(&mut self, line: Bytes) -> Option<u64> {
        let room = self.queue.is_empty() || self.queued + line.len() <= self.backlog;
        if !room || matches!(self.pen, Pen::Broken) {
            return None;
        }
        self.queued += line.len();
        self.queue.push_back(line);
        self.pushed += 1;
        Some(self.pushed)
    }

    /// Begins the next write when none is under way. Called after a round of pushes, so that they go out together.
    pub(crate) fn kick(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        match std::mem::replace(&mut self.pen, Pen::Broken) {
            Pen::Idle(input) => {
                let batch = self.next_batch();
                self.pen = Pen::Writing(Box::pin(write(input, batch)));
            }
            other @ (Pen::Writing(_) | Pen::Broken) => self.pen = other,
        }
    }

    /// Bytes that wait to be written.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Whether the line at this place can have reached the server.
    pub(crate) fn may_have_sent(&self, place: u64) -> bool {
        place <= self.taken
    }

    /// Cuts a chunk into lines.
    pub(crate) fn frame(&mut self, chunk: OutputChunk, lines: &mut Vec<Heard>) {
        let OutputChunk { stream, bytes, offset, again } = chunk;
        let end = offset.map(|offset| offset + bytes.len() as u64);
        let framer = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        framer.push(bytes, |framed, left| {
            let place = end.map(|end| end - left as u64);
            lines.push(Heard { stream, framed, place, again });
        });
    }

    /// What was written without a newline when the output ended.
    pub(crate) fn rest(&mut self) -> Vec<(OutputStream, Bytes)> {
        let stdout = self.stdout.rest().map(|rest| (OutputStream::Stdout, rest));
        let stderr = self.stderr.rest().map(|rest| (OutputStream::Stderr, rest));
        stdout.into_iter().chain(stderr).collect()
    }

    /// One line as it is, or as many short ones as fit.
    fn next_batch(&mut self) -> Bytes {
        let Some(first) = self.pop() else { return Bytes::new() };
        if !self.next_fits(first.len()) {
            return first;
        }
        let mut batch = Vec::with_capacity(BATCH.min(first.len() + self.queued));
        batch.extend_from_slice(&first);
        while self.next_fits(batch.len()) {
            let Some(line) = self.pop() else { break };
            batch.extend_from_slice(&line);
        }
        batch.into()
    }

    fn next_fits(&self, so_far: usize) -> bool {
        self.queue.front().is_some_and(|line| so_far + line.len() <= BATCH)
    }

    fn pop(&mut self) -> Option<Bytes> {
        let line = self.queue.pop_front()?;
        self.queued -= line.len();
        self.taken += 1;
        Some(line)
    }
}

async fn write(mut input: Box<dyn AttachInput>, bytes: Bytes) -> (Box<dyn AttachInput>, io::Result<()>) {
    let result = input.send(bytes).await;
    (input, result)
}

/// Waits for the end of the write under way, for ever when there is none.
async fn written(pen: &mut Pen) -> io::Result<()> {
    let Pen::Writing(writing) = pen else { return std::future::pending().await };
    let (input, result) = writing.await;
    *pen = if result.is_ok() { Pen::Idle(input) } else { Pen::Broken };
    result
}
