//! What a manager is started with.

use crate::pressure::Gauge;
use crate::wall::Wall;
use dtma_config::Configurator;
use dtma_core::port::store::LoadedState;
use dtma_core::port::{ContainerRuntime, EgressProxy, StateStore};
use dtma_mcp::Limits;
use std::net::IpAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

/// Plain values. [`Settings::default`] is what the daemon uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The engine is looked at anew this often even when it says nothing.
    pub resync: Duration,
    /// The address on which published ports are opened.
    pub publish_address: IpAddr,
    /// How often an unready tool's port is tried.
    pub probe_interval: Duration,
    /// Most containers created or started at the same moment over all groups.
    pub max_concurrent: usize,
    /// Processes that may be coming up at the same moment on a machine that does not keep up, over all groups; one that
    /// does is given more.
    pub least_starting: usize,
    /// Events kept for late subscribers.
    pub event_buffer: usize,
    /// How much MCP clients may have of a server.
    pub mcp: Limits,
    /// A client's session that nobody uses for so long ends, at the latest an eighth of that time later; `None`: never.
    pub session_idle: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resync: Duration::from_secs(30),
            publish_address: IpAddr::from([127, 0, 0, 1]),
            probe_interval: Duration::from_millis(100),
            max_concurrent: 16,
            least_starting: 2 * std::thread::available_parallelism().map_or(1, NonZero::get),
            event_buffer: 4096,
            mcp: Limits::default(),
            session_idle: Some(Duration::from_secs(24 * 3600)),
        }
    }
}

/// The world, behind ports.
#[derive(Clone)]
pub struct Backends {
    /// The container engine.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// The way out of servers that name hosts in their `egress`.
    pub egress: Arc<dyn EgressProxy>,
    /// Durable desired state.
    pub store: Arc<dyn StateStore>,
    /// What the store held when it was opened; its owner id marks everything the manager makes.
    pub loaded: LoadedState,
    /// Templates and policy.
    pub configurator: Arc<Configurator>,
    /// The wall clock.
    pub wall: Wall,
    /// How busy the machine is.
    pub pressure: Gauge,
}
