//! The real prober: does the port accept?

use async_trait::async_trait;
use dtma_core::port::{HealthProbe, ProbeTarget};
use std::time::Duration;
use tokio::net::TcpStream;

/// Connects and hangs up.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpProbe;

#[async_trait]
impl HealthProbe for TcpProbe {
    async fn probe(&self, target: ProbeTarget, timeout: Duration) -> Result<(), String> {
        let ProbeTarget::Tcp(address) = target;
        match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("port {}: {error}", address.port())),
            Err(_) => Err(format!("port {}: no answer within {timeout:?}", address.port())),
        }
    }
}
