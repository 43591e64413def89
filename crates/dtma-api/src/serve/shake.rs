//! The first moments of a connection that should speak TLS. One that speaks plain HTTP is told so in plain HTTP.

use crate::tls::Tls;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What a TLS connection begins with: a handshake record.
const HANDSHAKE: u8 = 0x16;
/// How long and how much is read of a request that cannot be answered.
const LINGER: (Duration, u64) = (Duration::from_secs(1), 64 << 10);

const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\
    Content-Length: 40\r\n\r\nthis port speaks https; use https://...\n";

/// The TLS side of the connection, unless it is none.
pub(super) async fn shake(
    mut stream: TcpStream,
    tls: &Tls,
    patience: Duration,
) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    let peeked = tokio::time::timeout(patience, stream.peek(&mut first)).await;
    match peeked.unwrap_or(Err(io::ErrorKind::TimedOut.into()))? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if first[0] == HANDSHAKE => tls.shake(stream, patience).await,
        _ => {
            let _ = tokio::time::timeout(LINGER.0, refuse(&mut stream)).await;
            Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP on a TLS port"))
        }
    }
}

/// What was sent is read before the connection is closed; else the answer would be lost in a reset.
async fn refuse(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(PLAIN).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(LINGER.1), &mut tokio::io::sink()).await?;
    Ok(())
}
