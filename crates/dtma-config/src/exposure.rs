//! What a server can reach, and what can reach it: in sentences, for whoever is to agree to it.

use dtma_core::container::ContainerConfig;
use dtma_core::spec::{NetworkMode, ServerSpec};

/// A sentence for each way in or out; none when there is no way but the daemon's own.
#[must_use]
pub fn exposure(server: &ServerSpec, config: &ContainerConfig) -> Vec<String> {
    let network = match config.network {
        NetworkMode::None => None,
        NetworkMode::Group => Some(
            "is on its group's network: reaches its peers, and services of the host that listen on all addresses"
                .to_owned(),
        ),
        NetworkMode::Open => Some(
            "is on an open network: reaches everything that this machine reaches, the internet included, and is \
             reached by its peers there"
                .to_owned(),
        ),
    };
    let hosts: Vec<String> = config.egress.iter().map(ToString::to_string).collect();
    let outside =
        (!hosts.is_empty()).then(|| format!("reaches {} through the daemon's proxy", hosts.join(", ")));
    let connects = config.connects.iter().map(|connect| {
        format!("reaches port {} of {} at 127.0.0.1:{}", connect.port, connect.instance, connect.local_port)
    });
    let published = server.publish.iter().map(|publish| {
        format!("is reached at port {} of the host: its port {}", publish.host_port, publish.container_port)
    });
    network.into_iter().chain(outside).chain(connects).chain(published).collect()
}
