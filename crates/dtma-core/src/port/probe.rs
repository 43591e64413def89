//! Asking a running server whether it answers.

use async_trait::async_trait;
use std::net::SocketAddr;
use std::time::Duration;

/// What to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeTarget {
    /// The TCP port accepts a connection.
    Tcp(SocketAddr),
}

/// Asks once.
#[async_trait]
pub trait HealthProbe: Send + Sync {
    /// Ok when the target answered within `timeout`.
    ///
    /// # Errors
    /// What a person should read: `connection refused`, `no answer within 1s`.
    async fn probe(&self, target: ProbeTarget, timeout: Duration) -> Result<(), String>;
}
