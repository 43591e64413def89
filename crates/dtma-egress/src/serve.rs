//! The accept loop.

use crate::egress::Egress;
use crate::proxy::converse;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
    Proxy-Status: dtma; error=connection_limit_reached\r\n\
    Content-Type: text/plain\r\nContent-Length: 44\r\n\r\ntoo many connections are open on this proxy\n";

/// Serves until `shutdown`; then, or when the future is dropped, every connection is ended at once.
pub async fn serve(listener: TcpListener, egress: Arc<Egress>, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        // All may be dropped: a connection is taken whole or stays in the queue, an end stays in the set.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => hear(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < egress.limits().connections => {
                    connections.spawn(converse(stream, Arc::clone(&egress)));
                }
                Ok((stream, _)) => turn_away(stream),
                Err(error) => pause(&error).await,
            },
        }
    }
    connections.shutdown().await;
}

/// A task that was ended did not fail.
pub(crate) fn hear(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task failed");
    }
}

/// Out of file descriptors, mostly: trying again at once would spin.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Says no without waiting for anything. What has come is read first: unread, it would make the answer be lost.
fn turn_away(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(FULL);
    }
}

#[cfg(test)]
mod tests {
    use super::FULL;

    #[test]
    fn the_answer_of_a_full_proxy_is_as_long_as_it_says() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let said = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        assert_eq!(said, Some(body.len().to_string().as_str()));
    }
}
