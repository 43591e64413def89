//! Names as the machine's own resolver knows them.

use crate::port::Resolver;
use async_trait::async_trait;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Threads that wait for answers at the same moment; further questions wait for one of them.
const MOST_LOOKUPS: usize = 64;

/// Asks the C library, as every program of the machine does: hosts file, DNS, what else it is set up for.
#[derive(Debug, Clone)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { lookups: Arc::new(Semaphore::new(MOST_LOOKUPS)) }
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let question = (name.to_owned(), 0);
        // The place is given back when the thread is, not when whoever asked has lost patience.
        let lookup = tokio::task::spawn_blocking(move || {
            let answer = question.to_socket_addrs().map(|found| found.map(|address| address.ip()).collect());
            drop(permit);
            answer
        });
        lookup.await.map_err(io::Error::other)?
    }

    /// The way to one's own address begins there; no packet is sent to find that out.
    fn is_own(&self, address: IpAddr) -> bool {
        let any: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let source = || {
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect((address, 9))?;
            socket.local_addr()
        };
        source().is_ok_and(|source| source.ip() == address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_machines_own_names_and_addresses_are_known() {
        let resolver = SystemResolver::default();
        let found = resolver.resolve("localhost").await.unwrap();
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
        assert!(resolver.is_own([127, 0, 0, 1].into()));
        assert!(!resolver.is_own([192, 0, 2, 1].into()) && !resolver.is_own([8, 8, 8, 8].into()));
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_is_an_error() {
        assert!(SystemResolver::default().resolve("no-such-name.invalid").await.is_err());
    }

    /// The address a packet to the outside would leave from is the machine's own; without any way out there is none.
    #[test]
    fn the_address_packets_leave_from_is_ones_own() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("192.0.2.1:9").is_ok() {
            let own = socket.local_addr().unwrap().ip();
            assert!(SystemResolver::default().is_own(own), "{own}");
        }
    }
}
