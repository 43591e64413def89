//! How many connections there may be: in all, where further ones wait in the system's queue, and of one peer, whose
//! further ones are told so and closed.

use std::collections::HashMap;
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Everything a connection needs while it is there.
pub(super) struct Seat {
    _place: OwnedSemaphorePermit,
    peers: Arc<Peers>,
    peer: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.peers.leave(self.peer);
    }
}

/// The seats there are.
pub(super) struct Seats {
    places: Arc<Semaphore>,
    peers: Arc<Peers>,
    per_peer: usize,
}

#[derive(Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

impl Peers {
    fn enter(&self, peer: IpAddr, most: usize) -> bool {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(peer).or_insert(0);
        let fits = *count < most;
        *count += usize::from(fits);
        fits
    }

    fn leave(&self, peer: IpAddr) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&peer);
            }
        }
    }
}

impl Seats {
    pub(super) fn new(places: usize, per_peer: usize) -> Self {
        let per_peer = per_peer.max(1);
        Self { places: Arc::new(Semaphore::new(places)), peers: Arc::default(), per_peer }
    }

    /// Waits until there is a place.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// A seat, unless the peer has as many as it may have.
    pub(super) fn seat(&self, place: OwnedSemaphorePermit, peer: IpAddr) -> Option<Seat> {
        let fits = self.peers.enter(peer, self.per_peer);
        fits.then(|| Seat { _place: place, peers: Arc::clone(&self.peers), peer })
    }
}

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nContent-Length: 30\r\n\r\ntoo many connections from here";

/// Says no without waiting for anything; in clear only where that is what is spoken.
pub(super) fn turn_away(stream: TcpStream, is_tls: bool) {
    if !is_tls && let Ok(mut stream) = stream.into_std() {
        // What does not fit into the empty send buffer of a new connection will not be waited for.
        let _ = stream.write_all(FULL);
    }
}
