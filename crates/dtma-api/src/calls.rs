//! What agents ask MCP servers: who asked which server for what, when, how long it took, how it ended and how big it was,
//! in an audit log of its own, of the same kind as the one of changes. What is asked and answered is not in it; the
//! arguments of calls are where the operator wants them there.
//!
//! Nobody waits for it. The way of a message costs a note of where its texts lie; a thread reads them afterwards and
//! writes many lines in one go. Where more is asked than can be written down, lines are left out and counted. So this log
//! says less than that of changes: a daemon that is killed takes the last moments along.

mod call;
mod scribe;
mod seconds;
mod sink;

pub(crate) use call::Pending;
pub use sink::{CallOver, CallSink, SpanCounts, SpanFate};

use crate::audit::{AuditBounds, AuditLog};
use crate::auth::Caller;
use crate::gateway::Target;
use bytes::Bytes;
use call::Call;
use dtma_manager::wall::Wall;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use scribe::{Note, Scribe};
use seconds::Seconds;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Calls that wait to be written down; beyond, they are counted only.
const WAITING: usize = 4096;
/// Bytes of texts that wait with them.
const HELD: usize = 32 << 20;

/// The door by which a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Http,
    Sse,
    WebSocket,
}

impl By {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Sse => "sse",
            Self::WebSocket => "websocket",
        }
    }
}

/// Writes down what agents ask. Cheap to clone; its thread ends with the last clone.
#[derive(Clone)]
pub struct CallJournal(Arc<Inner>);

struct Inner {
    log: AuditLog,
    wall: Wall,
    notes: mpsc::Sender<Note>,
    load: Arc<Load>,
}

/// What is on its way to the thread.
#[derive(Debug, Default)]
struct Load {
    /// Bytes of texts.
    held: AtomicUsize,
    /// Calls without a line, since the last line.
    left_out: AtomicU64,
    /// The same since the start.
    missed: Counter,
    /// How long calls took.
    seconds: Seconds,
    /// What became of the spans of calls, where there are any.
    spans: Option<SpanCounts>,
}

impl fmt::Debug for CallJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallJournal").finish_non_exhaustive()
    }
}

/// What is written down besides the usual, and who else is told.
#[derive(Default)]
pub struct CallOptions {
    /// The arguments of calls are in the log, too.
    pub arguments: bool,
    /// Makes spans of them.
    pub sink: Option<Box<dyn CallSink>>,
}

impl CallJournal {
    /// Goes on with the log in `dir`, as [`AuditLog::open`] does.
    ///
    /// # Errors
    /// The directory or its files cannot be made or read.
    pub fn open(dir: &Path, bounds: AuditBounds, wall: Wall, options: CallOptions) -> io::Result<Self> {
        let log = AuditLog::open(dir, bounds, wall())?;
        let (notes, waiting) = mpsc::channel(WAITING);
        let spans = options.sink.as_ref().map(|sink| sink.spans());
        let load = Arc::new(Load { spans, ..Load::default() });
        let scribe = Scribe::new(log.clone(), Arc::clone(&load), options);
        std::thread::Builder::new().name("calls".to_owned()).spawn(move || scribe.run(waiting))?;
        Ok(Self(Arc::new(Inner { log, wall, notes, load })))
    }

    /// Waits until everything that was asked before is written down.
    pub async fn finish(&self) {
        let (done, finished) = oneshot::channel();
        if self.0.notes.send(Note::Finish(done)).await.is_ok() {
            let _gone = finished.await;
        }
    }

    pub(crate) fn log(&self) -> &AuditLog {
        &self.0.log
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Calls of agents that are not in their log because it could not keep up";
        registry.register("audit_calls_left_out", help, self.0.load.missed.clone());
        self.0.load.seconds.register(registry);
        if let Some(spans) = &self.0.load.spans {
            spans.register(registry);
        }
    }

    /// A message is on its way.
    pub(crate) fn asked(&self, caller: &Caller, target: &Target, by: By, text: &Bytes) -> Pending {
        Pending::new(self.clone(), Arc::clone(&caller.name), target.clone(), by, text.clone())
    }

    /// Never waits.
    fn note(&self, call: Call) {
        let Inner { notes, load, .. } = &*self.0;
        let size = call.size();
        let held = load.held.fetch_add(size, Ordering::Relaxed);
        if held > HELD || notes.try_send(Note::Call(Box::new(call))).is_err() {
            load.held.fetch_sub(size, Ordering::Relaxed);
            load.left_out.fetch_add(1, Ordering::Relaxed);
            load.missed.inc();
        }
    }
}

#[cfg(test)]
mod tests;
