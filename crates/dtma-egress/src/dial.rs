//! A connection to one of a host's addresses: one after the other, without waiting long for any (RFC 8305).

use crate::judge::Cleared;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Before the next address is tried beside those that have not answered yet.
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses that are tried.
const MOST_TRIED: usize = 8;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("no connection within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("no connection: {0}")]
    Refused(io::Error),
}

/// Connects to what was judged, and to nothing else.
pub(crate) async fn dial(
    cleared: &Cleared,
    patience: Duration,
) -> Result<(TcpStream, SocketAddr), DialError> {
    match tokio::time::timeout(patience, race(cleared.addresses())).await {
        Ok(result) => result.map_err(DialError::Refused),
        Err(_) => Err(DialError::Timeout(patience)),
    }
}

async fn race(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let mut waiting = addresses.iter().copied().take(MOST_TRIED);
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::other("there is no address");
    loop {
        let next = waiting.next();
        match next {
            Some(address) => drop(attempts.spawn(connect(address))),
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        tokio::select! {
            // Both may be dropped: an attempt stays in the set, and the next address is not due yet.
            Some(outcome) = attempts.join_next() => match outcome.unwrap_or_else(|lost| Err(lost.into())) {
                Ok(connected) => return Ok(connected),
                Err(error) => failure = error,
            },
            () = tokio::time::sleep(HEAD_START), if next.is_some() => {}
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok((stream, address))
}
