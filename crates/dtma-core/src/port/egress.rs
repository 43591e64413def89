//! The way out of servers that have no network.

use crate::egress::EgressRule;
use crate::id::SlotId;
use async_trait::async_trait;
use std::net::TcpListener;

/// Lets servers reach what their rules name, and nothing else.
#[async_trait]
pub trait EgressProxy: Send + Sync {
    /// Serves one server's way out on a listener of its own loopback: an HTTP proxy, `CONNECT` and `http://` in full.
    /// Goes on until it is dropped, which ends every connection; a listener that cannot be used ends it at once.
    async fn serve(&self, server: &SlotId, rules: &[EgressRule], listener: TcpListener);
}

/// Lets nobody out: for a manager whose servers have no shim, and so no `egress`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEgress;

#[async_trait]
impl EgressProxy for NoEgress {
    async fn serve(&self, _server: &SlotId, _rules: &[EgressRule], _listener: TcpListener) {}
}
