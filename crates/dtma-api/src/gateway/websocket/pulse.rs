//! A connection that knows whether its client gives a sign of life, and fails when the client does not take what is
//! written to it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a client may take nothing at all of what is written to it.
const STALLED: Duration = Duration::from_secs(30);

/// Whether something came.
#[derive(Debug, Clone, Default)]
pub(super) struct Signs(Arc<AtomicBool>);

impl Signs {
    /// Whether something came since this was asked the last time.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    /// Nobody looked for one in the meantime.
    pub(super) fn excuse(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The connection.
pub(super) struct Pulse<S> {
    stream: S,
    signs: Signs,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Pulse<S> {
    pub(super) fn new(stream: S) -> (Self, Signs) {
        let signs = Signs::default();
        (Self { stream, signs: signs.clone(), stalled: None }, signs)
    }

    /// What came of a write; one that waits for too long fails.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Pulse<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.signs.excuse();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Pulse<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut client, server) = tokio::io::duplex(8);
        let (mut pulse, _) = Pulse::new(server);
        let began = Instant::now();
        let written = pulse.write_all(&[0; 64]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), STALLED);
        client.read_exact(&mut [0; 8]).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_is_not() {
        let (mut client, server) = tokio::io::duplex(8);
        let (mut pulse, _) = Pulse::new(server);
        let reading = async {
            for _ in 0..8 {
                sleep(STALLED / 2).await;
                client.read_exact(&mut [0; 8]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(pulse.write_all(&[0; 64]), reading);
        written.unwrap();
    }

    #[tokio::test]
    async fn whatever_comes_is_a_sign_of_life() {
        let (mut client, server) = tokio::io::duplex(8);
        let (mut pulse, signs) = Pulse::new(server);
        assert!(!signs.take());
        client.write_all(b"x").await.unwrap();
        pulse.read_exact(&mut [0; 1]).await.unwrap();
        assert!(signs.take() && !signs.take());
    }
}
