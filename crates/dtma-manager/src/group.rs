//! One task owns one group: it looks, decides, begins, and hears what became of it.
//!
//! ```text
//!            orders ─┐                             ┌─> actions (engine calls, one per subject)
//!     engine events ─┼─> look ─> note ─> plan() ───┼─> watchers (MCP owners, probes, re-attachments)
//!    actions' ends  ─┤    ^        │ durable first  └─> status, events, answers to orders
//!  watchers' signs  ─┤    └────────┴── again, on every wake
//!    timer, resync  ─┘
//! ```
//!
//! A pass never fails: what goes wrong becomes part of the status and is tried again later. Everything that can
//! wake the task is in [`Wake`], [`Done`], [`Sign`], the plan's timer and the resync interval.

mod attend;
mod begin;
mod look;
mod orders;
mod report;

use crate::error::ManagerError;
use crate::event::EventKind;
use crate::forward::Forward;
use crate::registry::Registry;
use crate::status::{GroupStatus, McpSummary};
use attend::Sign;
use begin::Done;
use dtma_core::Timestamp;
use dtma_core::graph::Graph;
use dtma_core::history::GroupHistory;
use dtma_core::id::{ContainerId, GroupId, InstanceName, RunKey};
use dtma_core::observation::{Observation, Subject};
use dtma_core::phase::Phase;
use dtma_core::plan::{Plan, plan};
use dtma_core::record::{GatewaySession, GroupRecord, Handshake, Operation};
use dtma_core::spec::GroupSpec;
pub(crate) use orders::{Order, Want};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

/// How long the task waits before it tries again what failed for everybody (the engine is away, the disk is full).
const RETRY: Duration = Duration::from_secs(1);
/// Nothing is planned later than this ahead; the resync comes long before.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// What comes to a group's task from outside.
pub(crate) enum Wake {
    /// Somebody wants something.
    Order(Box<Order>),
    /// The engine says something about this container.
    Container(ContainerId),
    /// The engine's event stream had a gap.
    Resync,
}

/// What a group's task begins with.
pub(crate) struct Seed {
    pub(crate) record: GroupRecord,
    pub(crate) history: GroupHistory,
    pub(crate) seen: Observation,
    pub(crate) forwards: BTreeMap<InstanceName, Vec<Forward>>,
    pub(crate) sessions: Vec<GatewaySession>,
    pub(crate) handshakes: BTreeMap<InstanceName, Handshake>,
    /// Operations that an earlier daemon accepted and did not end.
    pub(crate) interrupted: Vec<Operation>,
    /// The order that made the group, when it is new.
    pub(crate) order: Option<Order>,
}

/// What the task keeps of a server besides record and history.
#[derive(Default)]
struct Server {
    mcp: Option<dtma_mcp::ServerHandle>,
    /// The run whose streams its MCP owner holds.
    linked: Option<RunKey>,
    /// The run that is being probed, and how to end that.
    probed: Option<(RunKey, tokio::task::AbortHandle)>,
    handshake: Option<Handshake>,
    forwards: Vec<Forward>,
    summary: Option<Arc<McpSummary>>,
}

/// What the daemon is doing for a server right now, in words; written by actions, read by reports.
type Activities = Arc<Mutex<BTreeMap<InstanceName, String>>>;

/// The owner of one group.
pub(crate) struct GroupTask {
    registry: Arc<Registry>,
    mailbox: mpsc::Receiver<Wake>,
    status: watch::Sender<GroupStatus>,
    record: GroupRecord,
    history: GroupHistory,
    seen: Observation,
    phases: BTreeMap<InstanceName, Phase>,
    servers: BTreeMap<InstanceName, Server>,
    pending: Vec<orders::Pending>,
    /// Why a first deployment is being undone.
    undoing: Option<ManagerError>,
    /// The engine could not be looked at: what is in `seen` may be old, nothing is begun.
    blind: bool,
    /// The history in memory is newer than the one in the store.
    unsaved: bool,
    trouble: Option<String>,
    /// Failed actions in a row, by subject, for their cool-down.
    failures: BTreeMap<Subject, usize>,
    actions: JoinSet<Done>,
    watchers: JoinSet<Sign>,
    activities: Activities,
    permits: Arc<Semaphore>,
    resync: Interval,
}

/// Whether the task goes on after a pass.
enum Flow {
    /// Until then, unless something happens before.
    Until(tokio::time::Instant),
    /// The group is gone.
    Gone,
}

impl GroupTask {
    pub(crate) fn new(
        registry: Arc<Registry>,
        mailbox: mpsc::Receiver<Wake>,
        seed: Seed,
    ) -> (Self, watch::Receiver<GroupStatus>, Arc<BTreeMap<InstanceName, dtma_mcp::ServerHandle>>) {
        let (status, watched) = watch::channel(report::initial(&seed.record));
        let mut resync = tokio::time::interval_at(
            tokio::time::Instant::now() + registry.settings.resync,
            registry.settings.resync,
        );
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut task = Self {
            permits: Arc::new(Semaphore::new(
                seed.record.spec.options.max_concurrent_deployments.max(1) as usize
            )),
            registry,
            mailbox,
            status,
            // Nothing was seen yet of a group that comes from the store.
            blind: seed.order.is_none(),
            record: seed.record,
            history: seed.history,
            seen: seed.seen,
            phases: BTreeMap::new(),
            servers: BTreeMap::new(),
            pending: Vec::new(),
            undoing: None,
            unsaved: false,
            trouble: None,
            failures: BTreeMap::new(),
            actions: JoinSet::new(),
            watchers: JoinSet::new(),
            activities: Activities::default(),
            resync,
        };
        task.furnish(seed.forwards, seed.handshakes, &seed.sessions);
        task.reopen(seed.interrupted);
        task.pending.extend(seed.order.map(orders::Pending::from));
        let mcp = task.servers.iter().filter_map(|(name, server)| Some((name.clone(), server.mcp.clone()?)));
        let mcp = Arc::new(mcp.collect());
        (task, watched, mcp)
    }

    pub(crate) fn group_id(&self) -> &GroupId {
        &self.record.spec.group_id
    }

    pub(crate) fn spec(&self) -> &GroupSpec {
        &self.record.spec
    }

    fn now(&self) -> Timestamp {
        (self.registry.backends.wall)()
    }

    fn emit(&self, instance: Option<&InstanceName>, kind: EventKind) {
        self.registry.events.emit(self.group_id(), instance, kind);
    }

    /// Works until the group is gone or the daemon ends.
    pub(crate) async fn run(mut self) {
        let cancel = self.registry.cancel.clone();
        loop {
            let until = match self.pass().await {
                Flow::Gone => return,
                Flow::Until(until) => until,
            };
            // Every arm may be dropped: queues and sets keep what was not taken, timers are set anew.
            tokio::select! {
                () = cancel.cancelled() => break,
                wake = self.mailbox.recv() => match wake {
                    Some(wake) => self.woken(wake).await,
                    None => break,
                },
                Some(done) = self.actions.join_next() => self.done(done).await,
                Some(sign) = self.watchers.join_next() => self.signed(sign).await,
                _ = self.resync.tick() => self.look_at_everything().await,
                () = tokio::time::sleep_until(until) => {}
            }
        }
        // Engine calls under way are let finish; containers stay.
        while self.actions.join_next().await.is_some() {}
    }

    async fn woken(&mut self, wake: Wake) {
        match wake {
            Wake::Order(order) => self.accept(*order).await,
            Wake::Container(id) => self.look_at(&id).await,
            Wake::Resync => self.look_at_everything().await,
        }
    }

    /// Looks (when it has to), notes, decides, begins, reports.
    async fn pass(&mut self) -> Flow {
        if self.blind {
            self.look_at_everything().await;
        }
        if self.note() && !self.save_history().await {
            return self.later(None);
        }
        let mut plan = self.plan();
        if plan.gone && !self.blind {
            // Volumes, and what a lost reply made, are seen only by looking.
            self.look_at_everything().await;
            plan = self.plan();
        }
        if plan.gone && !self.blind {
            return self.vanish().await;
        }
        if !self.blind {
            for action in &plan.actions {
                self.begin(action);
            }
            self.attend();
        }
        self.report(&plan);
        self.answer().await;
        // A run that was only seen is seen again after a kill: it is kept when there is nothing better to do.
        if self.unsaved && self.actions.is_empty() {
            self.save_history().await;
        }
        self.later(Some(&plan))
    }

    fn plan(&self) -> Plan {
        plan(&self.record, &self.seen, &self.history, self.now())
    }

    fn later(&self, plan: Option<&Plan>) -> Flow {
        let now = self.now();
        let planned = plan.and_then(|plan| plan.wake_at).map(|at| until(now, at)).unwrap_or(FAR);
        let retry = if self.blind || self.unsaved || plan.is_none() { RETRY } else { FAR };
        Flow::Until(tokio::time::Instant::now() + planned.min(retry))
    }

    /// Takes down runs and exits. True when an exit was noted: that must be durable before it is answered.
    fn note(&mut self) -> bool {
        let graph = Graph::unchecked(&self.record.spec.servers);
        let mut exits = false;
        for seen in &self.seen.containers {
            let instance = &seen.slot.instance;
            if !self.record.servers.contains_key(instance) {
                continue;
            }
            let asked = seen.run().is_some_and(|run| self.record.asked_to_end(instance, &run));
            let news = self.history.server_mut(instance).note(seen, asked, graph.runs_once(instance));
            self.unsaved |= news;
            exits |= news && !seen.is_live();
        }
        exits
    }

    /// Makes the history durable; false when the store refused.
    async fn save_history(&mut self) -> bool {
        let saved = self.registry.backends.store.put_history(self.group_id(), &self.history).await;
        self.unsaved = saved.is_err();
        if let Err(error) = saved {
            self.trouble_with("its history could not be kept", &error);
        }
        !self.unsaved
    }

    fn trouble_with(&mut self, what: &str, error: &dyn std::error::Error) {
        let text = format!("{what}: {error}");
        if self.trouble.as_ref() != Some(&text) {
            tracing::warn!(group = %self.group_id(), %error, "{what}");
        }
        self.trouble = Some(text);
    }
}

/// From now to then, at least a millisecond, so that a timer never spins.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default().max(Duration::from_millis(1))
}
