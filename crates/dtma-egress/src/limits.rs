//! How much and how long.

use std::time::Duration;

/// The bounds of one server's way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same moment; further ones are answered 503.
    pub connections: usize,
    /// Names looked up at the same moment; further ones wait, within [`resolve`](Self::resolve).
    pub lookups: usize,
    /// From a connection, or the end of the request before, to the end of a request's head; then it is closed.
    pub head: Duration,
    /// For looking up a name.
    pub resolve: Duration,
    /// For a connection to any of a host's addresses.
    pub connect: Duration,
    /// Without a byte either way; ended after this at the earliest and twice this at the latest.
    pub idle: Duration,
    /// For a tunnel or a request with its answer, however busy.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            lookups: 16,
            head: Duration::from_secs(30),
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(15 * 60),
            total: Duration::from_secs(24 * 60 * 60),
        }
    }
}
