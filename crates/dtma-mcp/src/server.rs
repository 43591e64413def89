//! One server on its standard streams, shared by many client sessions.
//!
//! One task owns a server: the attached process of its present run, the client sessions that are there now, the
//! calls in flight. [`Door::admit`](crate::Door::admit) makes it; the manager runs [`StdioServer::run`] in a task of
//! its own and hands it every new process with [`ServerHandle::connect`]. Sessions outlive processes: they go on
//! with the next run. They outlive the owner too: the door knows them all and opens them again where they go.

pub(crate) mod call;
mod calls;
mod clients;
pub(crate) mod command;
mod deadline;
pub(crate) mod handle;
pub(crate) mod host;
mod ids;
mod link;
mod owner;
pub(crate) mod post;
mod questions;
mod quickness;
mod recent;
pub(crate) mod reply;
mod rest;
mod route;
pub(crate) mod session;
mod sessions;
mod startup;
pub(crate) mod state;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod watched;
mod wishes;

use self::host::Host;
pub(crate) use self::ids::Ids;
use self::owner::Owner;
use self::quickness::Quickness;
use self::rest::Use;
use crate::ring::ring;
use crate::{ServerHandle, ServerState};
use dtma_core::Timestamp;
use dtma_core::id::InstanceName;
use dtma_core::port::store::StateStore;
use dtma_core::record::Handshake;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Says what time it is. Given by whoever may read the wall clock.
pub type Wall = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a server needs from the house.
#[derive(Clone)]
pub struct Parts {
    /// Where handshakes and sessions are kept.
    pub store: Arc<dyn StateStore>,
    /// Stamps log lines and states.
    pub wall: Wall,
    /// How much of everything.
    pub limits: Limits,
}

/// How much of everything, for one member of a server. What happens at each bound stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Client sessions of one member; at the bound the one unused for longest makes way, unless all have calls or
    /// streams open.
    pub sessions: usize,
    /// Calls in flight; at the bound those whose client has left make way, else the new one is answered an error.
    pub calls: usize,
    /// Calls in flight of one session; beyond, an error.
    pub calls_per_session: usize,
    /// Bytes of one message, both ways. A client's is refused, a server's dropped and counted.
    pub message: usize,
    /// Bytes waiting for the server to read them; beyond, new calls are answered an error.
    pub backlog: usize,
    /// Messages waiting on a stream for its client; beyond, notifications to it are dropped.
    pub stream: usize,
    /// How long a client's call may take once the server has it; `None`: as long as it does. Beyond, the client gets an
    /// error, and the server is told that the call is cancelled.
    pub deadline: Option<CallDeadline>,
    /// How long a call waits for a server that is not up.
    pub ready_wait: Duration,
    /// How long a process may take to answer `initialize`, or `ping` when adopted.
    pub handshake: Duration,
    /// How long all of `tools/list` may take.
    pub listing: Duration,
    /// Log lines kept.
    pub log_lines: usize,
    /// Bytes of log text kept.
    pub log_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 1024,
            calls: 1024,
            calls_per_session: 512,
            message: 16 << 20,
            backlog: 32 << 20,
            stream: 256,
            deadline: None,
            ready_wait: Duration::from_secs(30),
            handshake: Duration::from_secs(60),
            listing: Duration::from_secs(10),
            log_lines: 10_000,
            log_bytes: 4 << 20,
        }
    }
}

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallDeadline {
    /// From when the server was given it, and from each time it told of progress.
    pub quiet: Duration,
    /// In all, whatever it told.
    pub longest: Duration,
}

/// How much a server has to do at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Calls that were passed on and not answered.
    pub calls: usize,
    /// Bytes that wait for the server to read them.
    pub queued: usize,
}

/// The same, published by an owner.
#[derive(Debug, Default)]
pub(crate) struct Depths {
    calls: AtomicUsize,
    queued: AtomicUsize,
}

impl Depths {
    pub(crate) fn set(&self, depth: Depth) {
        self.calls.store(depth.calls, Ordering::Relaxed);
        self.queued.store(depth.queued, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Depth {
        Depth { calls: self.calls.load(Ordering::Relaxed), queued: self.queued.load(Ordering::Relaxed) }
    }
}

/// How the attached process was come by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// Attached before its process started: nothing was said to it yet.
    Fresh,
    /// It ran already: the daemon or the engine was restarted. Half a line may stand in either direction.
    Adopted {
        /// The handshake kept in the store. One done in this daemon's life is remembered here anyway; one of
        /// another run is ignored.
        handshake: Option<Handshake>,
    },
}

/// The owner of one server. Runs until [`ServerHandle::close`] or until the last handle is dropped; the container
/// is left as it is.
pub struct StdioServer {
    owner: Owner,
}

impl StdioServer {
    /// A server without a process, and the handle to it. The ids are those of all owners behind one door: a client
    /// that goes from one to another must never meet an id twice.
    pub(crate) fn pair(
        instance: InstanceName,
        parts: Parts,
        ids: Arc<Ids>,
        host: Host,
    ) -> (ServerHandle, Self) {
        let Parts { store, wall, limits } = parts;
        let (log, logs) = ring(limits.log_lines, limits.log_bytes);
        let closing = CancellationToken::new();
        let draining = AtomicBool::new(false);
        let lists_changed = watch::Sender::new(0);
        let depth = Depths::default();
        let used = Use::new();
        let shared = Arc::new(Shared {
            instance,
            host,
            store,
            wall,
            limits,
            ids,
            closing,
            draining,
            depth,
            used,
            quickness: Quickness::default(),
            lists_changed,
        });
        let (state, seen) = watch::channel(ServerState::Down { reason: "it was not started yet".into() });
        let (commands, orders) = mpsc::channel(QUEUE);
        let handle = ServerHandle::new(shared.clone(), commands, seen, logs);
        (handle, Self { owner: Owner::new(shared, state, log, orders) })
    }

    /// Does the work. Spawn it in the manager's set of tasks; it never fails. Dropping it ends the server as
    /// [`ServerHandle::close`] does.
    pub async fn run(self) {
        self.owner.run().await;
    }
}

/// Commands that may wait for the owner; beyond, whoever asks waits too.
const QUEUE: usize = 1024;

/// What the owner, its start-ups and its handles all need.
pub(crate) struct Shared {
    pub(crate) instance: InstanceName,
    /// In whose name its processes are greeted.
    pub(crate) host: Host,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) wall: Wall,
    pub(crate) limits: Limits,
    pub(crate) ids: Arc<Ids>,
    pub(crate) closing: CancellationToken,
    /// Answers what is in flight and takes no new session or call.
    pub(crate) draining: AtomicBool,
    /// How much there is to do.
    pub(crate) depth: Depths,
    /// When somebody last used it.
    pub(crate) used: Use,
    pub(crate) quickness: Quickness,
    /// How often the server said that one of its lists changed.
    pub(crate) lists_changed: watch::Sender<u64>,
}
