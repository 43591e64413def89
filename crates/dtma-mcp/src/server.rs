//! One server on its standard streams, shared by many client sessions.
//!
//! One task owns a server: the attached process of its present run, the client sessions, the calls in flight. The
//! manager makes it with [`StdioServer::pair`], runs [`StdioServer::run`] in a task of its own, and hands it every
//! new process with [`ServerHandle::connect`]. Sessions outlive processes: they go on with the next run.

pub(crate) mod call;
pub(crate) mod handle;
pub(crate) mod reply;
pub(crate) mod session;
pub(crate) mod state;

use crate::ServerHandle;
use dtma_core::Timestamp;
use dtma_core::id::InstanceName;
use dtma_core::port::store::StateStore;
use dtma_core::record::Handshake;
use std::sync::Arc;
use std::time::Duration;

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

/// How much of everything, for one server. What happens at each bound stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Client sessions; at the bound the one unused for longest makes way, unless all have calls or streams open.
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
            ready_wait: Duration::from_secs(30),
            handshake: Duration::from_secs(60),
            listing: Duration::from_secs(10),
            log_lines: 10_000,
            log_bytes: 4 << 20,
        }
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
pub struct StdioServer {}

impl StdioServer {
    /// A server without a process, and the handle to it.
    #[must_use]
    pub fn pair(instance: InstanceName, parts: Parts) -> (ServerHandle, Self) {
        (ServerHandle::new(instance, parts), Self {})
    }

    /// Does the work. Spawn it in the manager's set of tasks; it never fails.
    pub async fn run(self) {}
}
