//! Every group there is: who owns which name and port, and how to reach the task that owns the group.

mod admission;
mod introduction;
mod logs;
mod requests;

pub use introduction::ENGINE_KNOWN_FOR;

use crate::connections::{Connections, Kept};
use crate::discovery::Desk;
use crate::event::EventBus;
use crate::group::{GroupTask, Inbox, Order, Seed, Wake};
use crate::operations::{NotedStore, Operations};
use crate::settings::{Backends, Settings};
use crate::starts::Starts;
use crate::status::GroupStatus;
use dtma_core::history::GroupHistory;
use dtma_core::id::{ContainerId, GroupId, InstanceName, OwnerId, network_name};
use dtma_core::observation::Observation;
use dtma_core::record::{GatewaySession, GroupRecord, Handshake, Operation, Previous};
use dtma_core::spec::{GroupSpec, NetworkMode};
use dtma_mcp::{Aggregate, Door};
use futures_util::FutureExt;
use introduction::Introduction;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, RwLock, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the engine said and a group's task has not heard yet; at the bound it looks at everything instead, so that
/// a slow group delays no other.
const MAILBOX: usize = 256;
/// Orders waiting for a group's task; at the bound the caller waits.
const ORDERS: usize = 64;

/// What all groups share.
pub(crate) struct Registry {
    pub(crate) settings: Settings,
    pub(crate) backends: Backends,
    pub(crate) owner: OwnerId,
    pub(crate) events: EventBus,
    pub(crate) operations: Arc<Operations>,
    pub(crate) discovery: Desk,
    pub(crate) connections: Connections,
    pub(crate) cancel: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Bounds creates and starts over all groups.
    pub(crate) permits: Arc<Semaphore>,
    /// Bounds what comes up over all groups.
    pub(crate) starts: Starts,
    /// Who the engine is.
    pub(crate) introduction: Introduction,
    /// Held, together with others, from when an image is made sure of until there is a container made from it.
    pub(crate) making: RwLock<()>,
    groups: Mutex<BTreeMap<GroupId, Entry>>,
}

/// A group's place in the registry.
enum Entry {
    /// Being accepted: its names and ports are taken, nothing is durable yet.
    Reserved(GroupSpec),
    /// Owned by a task.
    Live(Live),
}

/// What of a group is wanted, for everybody to see.
pub(crate) struct Desired {
    /// The generation that is wanted.
    pub(crate) now: Previous,
    /// The same spec, to be shared.
    pub(crate) spec: Arc<GroupSpec>,
    /// What stands until that does: its names and ports stay taken.
    before: Option<GroupSpec>,
    /// The doors of its MCP servers.
    pub(crate) doors: BTreeMap<InstanceName, Door>,
}

impl Desired {
    pub(crate) fn new(record: &GroupRecord, doors: BTreeMap<InstanceName, Door>) -> Self {
        let before = record.update().map(|update| update.from.spec.clone());
        Self { now: record.as_previous(), spec: Arc::new(record.spec.clone()), before, doors }
    }

    fn specs(&self) -> impl Iterator<Item = &GroupSpec> {
        std::iter::once(&self.now.spec).chain(&self.before)
    }
}

/// How to reach a group.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) desired: Arc<Desired>,
    /// A spec that is about to be accepted: its names and ports are taken.
    claimed: Option<Arc<GroupSpec>>,
    pub(crate) orders: mpsc::Sender<Order>,
    mailbox: mpsc::Sender<Wake>,
    gap: Arc<Notify>,
    pub(crate) status: watch::Receiver<Arc<GroupStatus>>,
    /// All its MCP servers as one.
    together: Aggregate,
}

impl Entry {
    /// Whose names and ports are taken.
    fn specs(&self) -> Vec<&GroupSpec> {
        match self {
            Self::Reserved(spec) => vec![spec],
            Self::Live(live) => live.desired.specs().chain(live.claimed.as_deref()).collect(),
        }
    }
}

impl Live {
    fn wake(&self, wake: Wake) {
        // A task that just ended with its group need not know.
        if let Err(TrySendError::Full(_)) = self.mailbox.try_send(wake) {
            self.gap.notify_one();
        }
    }
}

impl Registry {
    pub(crate) fn new(settings: Settings, mut backends: Backends) -> Self {
        let operations = Arc::new(Operations::new(&backends.loaded.operations));
        backends.store = Arc::new(NotedStore::new(backends.store, Arc::clone(&operations)));
        let catalogues = std::mem::take(&mut backends.loaded.catalogues);
        let contracts = std::mem::take(&mut backends.loaded.contracts);
        let discovery = Desk::new(Arc::clone(&backends.store), catalogues, contracts);
        let kept = Kept {
            connections: std::mem::take(&mut backends.loaded.connections),
            governed: std::mem::take(&mut backends.loaded.governed),
            damaged: &backends.loaded.damaged,
        };
        let connections = Connections::new(Arc::clone(&backends.store), kept);
        Self {
            operations,
            discovery,
            connections,
            owner: backends.loaded.owner.clone(),
            events: EventBus::new(settings.event_buffer, backends.wall.clone()),
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
            permits: Arc::new(Semaphore::new(settings.max_concurrent)),
            starts: Starts::new(settings.least_starting, Arc::clone(&backends.pressure)),
            introduction: Introduction::default(),
            making: RwLock::default(),
            groups: Mutex::default(),
            settings,
            backends,
        }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<GroupId, Entry>> {
        // A panic while it was held left the map whole: every change is one insert or remove.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn live(&self, group: &GroupId) -> Option<Live> {
        match self.groups().get(group)? {
            Entry::Live(live) => Some(live.clone()),
            Entry::Reserved(_) => None,
        }
    }

    fn all_live(&self) -> Vec<Live> {
        let live = |entry: &Entry| match entry {
            Entry::Live(live) => Some(live.clone()),
            Entry::Reserved(_) => None,
        };
        self.groups().values().filter_map(live).collect()
    }

    /// Every way in for MCP clients: to single servers, and to groups as one.
    pub(crate) fn doors(&self) -> (Vec<Door>, Vec<Aggregate>) {
        let live = self.all_live();
        let doors = live.iter().flat_map(|live| live.desired.doors.values().cloned()).collect();
        (doors, live.into_iter().map(|live| live.together).collect())
    }

    /// True when the group is known, even if its record cannot be read: what runs may be wanted.
    pub(crate) fn claims(&self, group: &GroupId) -> bool {
        self.groups().contains_key(group) || self.damaged().any(|damaged| damaged == *group)
    }

    pub(crate) fn claims_network(&self, name: &str) -> bool {
        let named = |group: &GroupId| {
            NetworkMode::JOINED.into_iter().any(|mode| network_name(&self.owner, group, mode) == name)
        };
        self.groups().keys().any(named) || self.damaged().any(|group| named(&group))
    }

    /// True when something is kept that cannot be read: nobody knows what it wants.
    pub(crate) fn is_damaged(&self) -> bool {
        !self.backends.loaded.damaged.is_empty()
    }

    /// Every spec that is wanted, about to be, or left for another.
    pub(crate) fn each_spec(&self, mut look: impl FnMut(&GroupId, &GroupSpec)) {
        for (group, entry) in &*self.groups() {
            entry.specs().into_iter().for_each(|spec| look(group, spec));
        }
    }

    /// Groups of which something is kept that cannot be read.
    fn damaged(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.backends.loaded.damaged.iter().filter_map(|damaged| damaged.key.parse().ok())
    }

    pub(crate) fn group_status(&self, group: &GroupId) -> Option<Arc<GroupStatus>> {
        Some(self.live(group)?.status.borrow().clone())
    }

    pub(crate) fn statuses(&self) -> Vec<Arc<GroupStatus>> {
        self.all_live().iter().map(|live| live.status.borrow().clone()).collect()
    }

    pub(crate) fn group_of(&self, instance: &InstanceName) -> Option<GroupId> {
        let groups = self.groups();
        let owns = |(_, entry): &(&GroupId, &Entry)| matches!(entry, Entry::Live(live) if live.desired.now.spec.server(instance).is_some());
        groups.iter().find(owns).map(|(id, _)| id.clone())
    }

    /// Asked at every message of the gateway, so nothing is cloned but the handle.
    pub(crate) fn mcp(&self, instance: &InstanceName) -> Option<Door> {
        self.groups().values().find_map(|entry| match entry {
            Entry::Live(live) => live.desired.doors.get(instance).cloned(),
            Entry::Reserved(_) => None,
        })
    }

    /// All MCP servers of a group as one.
    pub(crate) fn mcp_group(&self, group: &GroupId) -> Option<Aggregate> {
        match self.groups().get(group)? {
            Entry::Live(live) => Some(live.together.clone()),
            Entry::Reserved(_) => None,
        }
    }

    /// A container of the group changed.
    pub(crate) fn tell(&self, group: &GroupId, container: ContainerId) {
        if let Some(live) = self.live(group) {
            live.wake(Wake::Container(container));
        }
    }

    pub(crate) fn tell_all_to_resync(&self) {
        self.all_live().iter().for_each(|live| live.wake(Wake::Resync));
    }

    /// Gives a group of the store its task again.
    pub(crate) fn adopt(self: &Arc<Self>, record: GroupRecord, history: GroupHistory) {
        let loaded = &self.backends.loaded;
        let open =
            |operation: &&Operation| operation.group == record.spec.group_id && operation.outcome.is_none();
        let seed = Seed {
            interrupted: loaded.operations.iter().filter(open).cloned().collect(),
            sessions: self.sessions_of(&record),
            handshakes: self.handshakes_of(&record),
            forwards: self.reopen(&record),
            seen: Observation::default(),
            history,
            order: None,
            record,
        };
        self.spawn(seed);
    }

    fn sessions_of(&self, record: &GroupRecord) -> Vec<GatewaySession> {
        let ours = |session: &&GatewaySession| knows(record, &session.instance);
        self.backends.loaded.sessions.iter().filter(ours).cloned().collect()
    }

    fn handshakes_of(&self, record: &GroupRecord) -> Vec<(InstanceName, Handshake)> {
        let ours = |(instance, _): &&(InstanceName, Handshake)| knows(record, instance);
        self.backends.loaded.handshakes.iter().filter(ours).cloned().collect()
    }

    /// Starts the task that owns a group and lists it as live.
    pub(crate) fn spawn(self: &Arc<Self>, seed: Seed) {
        let (orders, ordered) = mpsc::channel(ORDERS);
        let (mailbox, received) = mpsc::channel(MAILBOX);
        let gap = Arc::new(Notify::new());
        let inbox = Inbox { orders: ordered, mailbox: received, gap: Arc::clone(&gap) };
        let (task, status) = GroupTask::new(Arc::clone(self), inbox, seed);
        let group = task.group_id().clone();
        let (desired, claimed) = (Arc::new(task.desired()), None);
        let together = Aggregate::new(group.clone(), self.settings.mcp.clone());
        together.set_servers(desired.doors.values().cloned(), &desired.spec.gateway);
        let live = Live { desired, claimed, orders, mailbox, gap, status, together };
        self.groups().insert(group.clone(), Entry::Live(live));
        self.tasks.spawn(supervised(group, task.run()));
    }

    /// Everybody sees from now on what is wanted of a group; what was claimed and is not part of it is free again.
    pub(crate) fn publish(&self, desired: Desired) {
        if let Some(Entry::Live(live)) = self.groups().get_mut(&desired.now.spec.group_id) {
            live.together.set_servers(desired.doors.values().cloned(), &desired.spec.gateway);
            (live.desired, live.claimed) = (Arc::new(desired), None);
        }
    }

    pub(crate) fn forget(&self, group: &GroupId) {
        // Dropped after the lock.
        let gone = self.groups().remove(group);
        if let Some(Entry::Live(live)) = &gone {
            live.together.close();
        }
    }
}

/// True for a server of this generation or of the one before.
fn knows(record: &GroupRecord, instance: &InstanceName) -> bool {
    let before = record.update().is_some_and(|update| update.from.servers.contains_key(instance));
    before || record.servers.contains_key(instance)
}

/// Runs a group's task and hears of its panic: the group stays listed, requests to it are answered with
/// [`ManagerError::Defect`](crate::ManagerError::Defect), its containers are left alone.
async fn supervised(group: GroupId, task: impl Future<Output = ()>) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        tracing::error!(%group, "the owner of this group ended by a defect; its containers are left as they are");
    }
}
