//! Connections to ports inside, by the container's address on its group's network.
//!
//! An address is asked for once in a run: every look at a container notes it on the way, and whatever may have ended
//! the run forgets it, a gap in the events included. So a connection goes on being made while the engine hangs.

use crate::connect::Link;
use crate::observe;
use dtma_core::id::{ContainerId, OwnerId};
use dtma_core::observation::ContainerObservation;
use dtma_core::port::runtime::{ContainerChange, RuntimeError};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

const CALL: &str = "dial";
/// How long a server may take to take a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// Addresses remembered; past that the memory is cleared, and each is asked for anew.
const MOST: usize = 4096;

/// The addresses of containers that run.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Mutex<HashMap<ContainerId, IpAddr>>);

impl Addresses {
    /// What a look at a container showed.
    pub(crate) fn note(&self, seen: &ContainerObservation, address: Option<IpAddr>) {
        match address.filter(|_| seen.is_live()) {
            Some(address) => {
                let mut known = self.known();
                if known.len() >= MOST {
                    known.clear();
                }
                known.insert(seen.id.clone(), address);
            }
            None => self.forget(&seen.id),
        }
    }

    pub(crate) fn heard(&self, id: &ContainerId, change: ContainerChange) {
        match change {
            ContainerChange::Started | ContainerChange::Died | ContainerChange::Destroyed => self.forget(id),
            ContainerChange::OutOfMemory | ContainerChange::Other => {}
        }
    }

    pub(crate) fn forget(&self, id: &ContainerId) {
        self.known().remove(id);
    }

    /// Something may have happened that nobody told.
    pub(crate) fn forget_all(&self) {
        self.known().clear();
    }

    fn of(&self, id: &ContainerId) -> Option<IpAddr> {
        self.known().get(id).copied()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ContainerId, IpAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) async fn dial(
    link: &Link,
    owner: &OwnerId,
    id: &ContainerId,
    port: u16,
) -> Result<TcpStream, RuntimeError> {
    let address = match link.addresses.of(id) {
        Some(address) => address,
        None => ask(link, owner, id).await?,
    };
    connect(address, port).await.map_err(|error| {
        // A refusal is an answer, and whoever waits for a server hears many; silence may mean that it has gone.
        if error.kind() != ErrorKind::ConnectionRefused {
            link.addresses.forget(id);
        }
        RuntimeError::PortClosed { port, problem: error.to_string() }
    })
}

/// Looking at it notes its address.
async fn ask(link: &Link, owner: &OwnerId, id: &ContainerId) -> Result<IpAddr, RuntimeError> {
    let seen = observe::inspect(link, owner, id).await?;
    let problem = |text: &str| text.to_owned();
    if !seen.is_live() {
        return Err(RuntimeError::Conflict { call: CALL, problem: problem("the container is not running") });
    }
    let none = || RuntimeError::Refused { call: CALL, problem: problem("the container joins no network") };
    link.addresses.of(id).ok_or_else(none)
}

async fn connect(address: IpAddr, port: u16) -> std::io::Result<TcpStream> {
    let late = |_| std::io::Error::new(ErrorKind::TimedOut, format!("no answer within {PATIENCE:?}"));
    let stream = timeout(PATIENCE, tokio::net::TcpStream::connect((address, port))).await.map_err(late)??;
    stream.into_std()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_core::Timestamp;
    use dtma_core::id::Generation;
    use dtma_core::observation::ContainerState;
    use dtma_core::spec::NetworkMode;
    use dtma_testing::sample;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 249, 0, 2));

    fn seen(state: ContainerState) -> ContainerObservation {
        ContainerObservation {
            id: "ab12".into(),
            name: String::new(),
            slot: sample::slot("g", "a"),
            generation: Generation(1),
            config_hash: "h".into(),
            made_from: "h".into(),
            shape: None,
            in_doubt: false,
            image_id: "i".into(),
            state,
            joined: Some(NetworkMode::Group),
            shim: false,
        }
    }

    fn running() -> ContainerObservation {
        seen(ContainerState::Running { started_at: Timestamp::UNIX_EPOCH })
    }

    fn noted() -> Addresses {
        let addresses = Addresses::default();
        addresses.note(&running(), Some(HERE));
        addresses
    }

    #[track_caller]
    fn check(addresses: &Addresses, expected: Option<IpAddr>) {
        assert_eq!(addresses.of(&"ab12".into()), expected);
    }

    #[test]
    fn an_address_is_known_until_the_run_ends() {
        check(&noted(), Some(HERE));
        for end in [ContainerChange::Died, ContainerChange::Started, ContainerChange::Destroyed] {
            let addresses = noted();
            addresses.heard(&"cd34".into(), end);
            check(&addresses, Some(HERE));
            addresses.heard(&"ab12".into(), end);
            check(&addresses, None);
        }
        let addresses = noted();
        addresses.heard(&"ab12".into(), ContainerChange::Other);
        check(&addresses, Some(HERE));
        addresses.note(&seen(ContainerState::Dead), Some(HERE));
        check(&addresses, None);
        let addresses = noted();
        addresses.note(&running(), None);
        check(&addresses, None);
        let addresses = noted();
        addresses.forget_all();
        check(&addresses, None);
    }

    #[test]
    fn not_more_addresses_are_kept_than_memory_is_meant_for() {
        let addresses = Addresses::default();
        for number in 0..3 * MOST {
            addresses.note(&ContainerObservation { id: number.to_string().into(), ..running() }, Some(HERE));
            assert!(addresses.known().len() <= MOST);
        }
    }
}
