//! The groups' internal networks. The engine's own pools run dry at the 31st network, so ranges are chosen here.

use crate::connect::Link;
use crate::errors::{Op, path_segment};
use crate::observe::label_filter;
use crate::pool::{NetworkPool, Subnet, routed};
use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use dtma_core::id::NetworkId;
use dtma_core::label;
use dtma_core::observation::NetworkObservation;
use dtma_core::port::runtime::{CreateNetwork, RuntimeError, Scope};
use tokio::sync::Mutex;

const CALL: &str = "create network";
/// Ranges tried when others take what looked free.
const ATTEMPTS: usize = 16;

/// Makes networks one after the other: two at once would choose the same range, and the engine allows one name twice.
#[derive(Debug)]
pub(crate) struct Allocator {
    pool: NetworkPool,
    alone: Mutex<()>,
}

impl Allocator {
    pub(crate) fn new(pool: NetworkPool) -> Self {
        Self { pool, alone: Mutex::new(()) }
    }

    pub(crate) async fn create(
        &self,
        link: &Link,
        request: &CreateNetwork,
    ) -> Result<NetworkId, RuntimeError> {
        path_segment(Op::new(CALL, "network", &request.name))?;
        let _alone = self.alone.lock().await;
        let existing = all(link, None).await?;
        if let Some(found) = existing.iter().find(|network| network.name.as_ref() == Some(&request.name)) {
            return adopt(found, request);
        }
        let mut taken = taken(&existing, link);
        for _ in 0..ATTEMPTS {
            let subnet = self.pool.first_free(&taken).ok_or_else(|| self.exhausted())?;
            match create_in(link, request, subnet).await {
                Err(error) if overlaps(&error) => taken.push(subnet),
                done => return done,
            }
        }
        Err(self.exhausted())
    }

    fn exhausted(&self) -> RuntimeError {
        let problem = format!("no free /27 is left in {}: choose another network pool", self.pool);
        RuntimeError::Refused { call: CALL, problem }
    }
}

/// An earlier call whose reply was lost made it, or somebody else did.
fn adopt(found: &Network, request: &CreateNetwork) -> Result<NetworkId, RuntimeError> {
    let has = |key: &str| found.labels.as_ref().and_then(|labels| labels.get(key)) == request.labels.get(key);
    let ours = [label::MANAGED, label::OWNER, label::GROUP].into_iter().all(has);
    match &found.id {
        Some(id) if ours => Ok(NetworkId::from(id.as_str())),
        Some(_) | None => Err(RuntimeError::NameTaken { name: request.name.clone() }),
    }
}

fn taken(existing: &[Network], link: &Link) -> Vec<Subnet> {
    let configs = existing.iter().filter_map(|network| network.ipam.as_ref()?.config.as_ref()).flatten();
    let by_networks = configs.filter_map(|config| Subnet::parse(config.subnet.as_deref()?));
    by_networks.chain(host_routes(link)).collect()
}

/// Where the engine is elsewhere, our routes say nothing about it.
fn host_routes(link: &Link) -> Vec<Subnet> {
    let table = link.is_local().then(|| std::fs::read_to_string("/proc/net/route").ok()).flatten();
    table.map(|table| routed(&table)).unwrap_or_default()
}

fn overlaps(error: &RuntimeError) -> bool {
    let problem = match error {
        RuntimeError::Refused { problem, .. }
        | RuntimeError::Broken { problem, .. }
        | RuntimeError::Conflict { problem, .. } => problem,
        RuntimeError::NotFound { .. }
        | RuntimeError::NameTaken { .. }
        | RuntimeError::PortTaken { .. }
        | RuntimeError::ImageMissing { .. }
        | RuntimeError::EngineAway { .. }
        | RuntimeError::Timeout { .. }
        | RuntimeError::OutOfSpace { .. } => return false,
    };
    problem.to_lowercase().contains("overlaps")
}

async fn create_in(link: &Link, request: &CreateNetwork, subnet: Subnet) -> Result<NetworkId, RuntimeError> {
    let op = Op::new(CALL, "network", &request.name);
    let body = body(request, subnet);
    let made = link.mutate(op, |docker| async move { docker.create_network(body).await }).await?;
    Ok(made.id.into())
}

fn body(request: &CreateNetwork, subnet: Subnet) -> NetworkCreateRequest {
    let range = IpamConfig { subnet: Some(subnet.to_string()), ..IpamConfig::default() };
    NetworkCreateRequest {
        name: request.name.clone(),
        driver: Some("bridge".to_owned()),
        internal: Some(true),
        attachable: Some(false),
        ingress: Some(false),
        enable_ipv6: Some(false),
        ipam: Some(Ipam { config: Some(vec![range]), ..Ipam::default() }),
        labels: Some(request.labels.clone().into_iter().collect()),
        ..NetworkCreateRequest::default()
    }
}

async fn all(link: &Link, scope: Option<&Scope>) -> Result<Vec<Network>, RuntimeError> {
    let op = Op::new("list networks", "engine", link.endpoint());
    let options = scope
        .map(|scope| ListNetworksOptionsBuilder::default().filters(&label_filter(scope)).build())
        .unwrap_or_default();
    link.read(op, |docker| async move { docker.list_networks(Some(options)).await }).await
}

pub(crate) async fn list(link: &Link, scope: &Scope) -> Result<Vec<NetworkObservation>, RuntimeError> {
    let observe = |network: Network| {
        Some(NetworkObservation { id: network.id?.into(), name: network.name.unwrap_or_default() })
    };
    Ok(all(link, Some(scope)).await?.into_iter().filter_map(observe).collect())
}

pub(crate) async fn remove(link: &Link, id: &NetworkId) -> Result<(), RuntimeError> {
    let op = Op::new("remove network", "network", id.as_str());
    let id = path_segment(op)?;
    link.mutate(op, |docker| async move { docker.remove_network(id).await }).await
}
