//! What the proxy needs of the world, and whom it tells.

use async_trait::async_trait;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Names and the addresses behind them.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The addresses of a name, best first.
    ///
    /// # Errors
    /// When there is no such name or nobody to ask.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;

    /// Whether the address is one of the machine the daemon runs on.
    fn is_own(&self, address: IpAddr) -> bool;
}

/// Who hears what was decided, and what came of it. A server decides how often it asks, so whoever writes this down has
/// to bound how much of it.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Called once for each request, before anything is connected to.
    ///
    /// # Errors
    /// What could not be noted is not let through: the request is answered 503.
    async fn decided(&self, decision: &Decision) -> io::Result<()>;

    /// Called once for each decision that was [`Verdict::Allowed`].
    fn ended(&self, end: &Ended);
}

/// What was asked for and what was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Number of the request; [`Ended::trip`] repeats it.
    pub trip: u64,
    /// Tunnel or single request.
    pub way: Way,
    /// `host:port` in canonical form; as far as it could not be read, as written, escaped and shortened.
    pub target: String,
    /// The answer.
    pub verdict: Verdict,
}

/// How a server wants to get out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `CONNECT`.
    Connect,
    /// Plain HTTP, and whatever else was sent instead.
    Http,
}

impl Way {
    /// A word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Http => "http",
        }
    }
}

/// Whether it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// To one of these addresses.
    Allowed {
        /// All that the name has; each was judged.
        addresses: Vec<IpAddr>,
    },
    /// Not at all.
    Refused {
        /// What the client was told.
        reason: String,
    },
}

/// What came of a request that was allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// As in [`Decision::trip`].
    pub trip: u64,
    /// As in [`Decision::target`].
    pub target: String,
    /// Where it was connected to, if it was.
    pub address: Option<SocketAddr>,
    /// Bytes sent to that address.
    pub sent: u64,
    /// Bytes received from it.
    pub received: u64,
    /// Why it ended.
    pub how: How,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// In order.
    Closed,
    /// Nobody answered at any address.
    Unreachable(String),
    /// One side broke off.
    Broken(String),
    /// Nothing was said for too long.
    Idle,
    /// It went on for too long.
    TooLong,
    /// The client left, or the proxy was shut down.
    Abandoned,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Unreachable(problem) => write!(f, "unreachable: {problem}"),
            Self::Broken(problem) => write!(f, "broken off: {problem}"),
            Self::Idle => f.write_str("idle for too long"),
            Self::TooLong => f.write_str("open for too long"),
            Self::Abandoned => f.write_str("abandoned"),
        }
    }
}
