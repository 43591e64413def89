//! The groups' networks. The engine's own pools run dry at the 31st network, so ranges are chosen here.

use crate::connect::Link;
use crate::dialect::Dialect;
use crate::errors::{Op, path_segment};
use crate::observe::{in_scope, label_filter};
use crate::pool::{NetworkPool, Subnet, routed};
use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use dtma_core::id::NetworkId;
use dtma_core::label;
use dtma_core::observation::NetworkObservation;
use dtma_core::port::runtime::{CreateNetwork, RuntimeError, Scope};
use dtma_core::spec::NetworkMode;
use std::time::Duration;
use tokio::sync::Mutex;

const CALL: &str = "create network";
/// Ranges tried when others take what looked free.
const ATTEMPTS: usize = 16;
/// How long the engine may take to list a network whose range it has given away.
const UNLISTED: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

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
        let (mut taken, mut waited) = (Vec::new(), false);
        for _ in 0..ATTEMPTS {
            let existing = all(link, None).await?;
            if let Some(found) = named(&existing, request) {
                return adopt(found, request);
            }
            taken.extend(ranges(&existing));
            let subnet = self.pool.free_for(&request.name, &taken).ok_or_else(|| self.exhausted())?;
            if waited || !subnet.overlaps_any(&host_routes(link)) {
                match create_in(link, request, subnet).await {
                    Err(error) if overlaps(&error) => {}
                    done => return done,
                }
            }
            if !waited {
                waited = true;
                if let Some(found) = appears(link, request).await? {
                    return adopt(&found, request);
                }
                taken.extend(host_routes(link));
            }
            taken.push(subnet);
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

fn named<'a>(existing: &'a [Network], request: &CreateNetwork) -> Option<&'a Network> {
    existing.iter().find(|network| network.name.as_ref() == Some(&request.name))
}

/// Waits for a network that takes a range and is not listed yet. It may be the very one that is wanted: the engine
/// goes on with a call whose caller was killed, and would make a second network of the same name if it were given
/// another range.
async fn appears(link: &Link, request: &CreateNetwork) -> Result<Option<Network>, RuntimeError> {
    let deadline = tokio::time::Instant::now() + UNLISTED;
    while tokio::time::Instant::now() < deadline {
        let existing = all(link, None).await?;
        if let Some(found) = named(&existing, request) {
            return Ok(Some(found.clone()));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(None)
}

fn ranges(existing: &[Network]) -> impl Iterator<Item = Subnet> {
    let configs = existing.iter().filter_map(|network| network.ipam.as_ref()?.config.as_ref()).flatten();
    configs.filter_map(|config| Subnet::parse(config.subnet.as_deref()?))
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
        | RuntimeError::PortClosed { .. }
        | RuntimeError::PullStalled { .. }
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
        internal: Some(request.mode != NetworkMode::Open),
        attachable: Some(false),
        ingress: Some(false),
        enable_ipv6: Some(false),
        ipam: Some(Ipam { config: Some(vec![range]), ..Ipam::default() }),
        labels: Some(request.labels.clone().into_iter().chain([label::network(request.mode)]).collect()),
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
        let said = network.labels.as_ref().and_then(|labels| labels.get(label::NETWORK));
        let mode = label::network_of(said.map(String::as_str));
        Some(NetworkObservation { id: network.id?.into(), name: network.name.unwrap_or_default(), mode })
    };
    let ours = |network: &Network| network.labels.as_ref().is_some_and(|labels| in_scope(scope, labels));
    Ok(all(link, Some(scope)).await?.into_iter().filter(ours).filter_map(observe).collect())
}

pub(crate) async fn remove(link: &Link, id: &NetworkId) -> Result<(), RuntimeError> {
    let op = Op::new("remove network", "network", id.as_str());
    path_segment(op)?;
    let name = match link.dialect(op).await? {
        Dialect::Docker => id.to_string(),
        // Asked by id, it (4.3, measured) does not see who uses the network and removes it below them.
        Dialect::Podman => name_of(link, op, id).await?,
    };
    link.mutate(op, |docker| async move { docker.remove_network(&name).await }).await
}

async fn name_of(link: &Link, op: Op<'_>, id: &NetworkId) -> Result<String, RuntimeError> {
    let existing = all(link, None).await?;
    let found = existing.into_iter().find(|network| network.id.as_deref() == Some(id.as_str()));
    found.and_then(|network| network.name).ok_or_else(|| op.not_found())
}
