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
//! wake the task is in [`Order`], [`Wake`], [`Done`], [`Sign`], the plan's timer and the resync interval.

mod attend;
mod begin;
mod change;
mod discover;
mod hand;
mod look;
mod members;
mod orders;
mod places;
mod ports;
mod reach;
mod report;
mod rest;
mod spares;
mod turns;
mod wants;
mod ways;

use crate::error::ManagerError;
use crate::event::EventKind;
use crate::forward::Forward;
use crate::registry::{Desired, Registry};
use crate::status::GroupStatus;
use attend::Sign;
use begin::Done;
pub use change::Expect;
pub(crate) use change::{Wish, preview};
use dtma_core::Timestamp;
use dtma_core::graph::Graph;
use dtma_core::history::GroupHistory;
use dtma_core::id::{ContainerId, GroupId, InstanceName, ReplicaId};
use dtma_core::observation::{Observation, Subject};
use dtma_core::phase::Phase;
use dtma_core::plan::{Plan, plan};
use dtma_core::record::{GatewaySession, GroupRecord, Handshake, Operation, Revision};
use members::Server;
pub(crate) use orders::{Accepted, Order, Want};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// How long the task waits before it tries again what failed for everybody (the engine is away, the disk is full).
const RETRY: Duration = Duration::from_secs(1);
/// Nothing is planned later than this ahead; the resync comes long before.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// What the engine tells a group's task.
pub(crate) enum Wake {
    /// The engine says something about this container.
    Container(ContainerId),
    /// The engine's event stream had a gap.
    Resync,
}

/// The receiving ends of everything that comes to a group's task from outside.
pub(crate) struct Inbox {
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) mailbox: mpsc::Receiver<Wake>,
    /// Told when the mailbox had no room: whoever looks at everything then has missed nothing.
    pub(crate) gap: Arc<Notify>,
}

/// What a group's task begins with.
pub(crate) struct Seed {
    pub(crate) record: GroupRecord,
    pub(crate) history: GroupHistory,
    pub(crate) seen: Observation,
    pub(crate) forwards: BTreeMap<InstanceName, Vec<Forward>>,
    pub(crate) sessions: Vec<GatewaySession>,
    pub(crate) handshakes: Vec<(InstanceName, Handshake)>,
    /// Operations that an earlier daemon accepted and did not end.
    pub(crate) interrupted: Vec<Operation>,
    /// The order that made the group, when it is new.
    pub(crate) order: Option<Order>,
}

/// What the daemon is doing for a server right now, in words; written by actions, read by reports.
type Activities = Arc<Mutex<BTreeMap<InstanceName, String>>>;

/// The owner of one group.
pub(crate) struct GroupTask {
    registry: Arc<Registry>,
    /// Apart from what the engine says: an order waits neither behind events nor for an engine that hangs.
    orders: mpsc::Receiver<Order>,
    mailbox: mpsc::Receiver<Wake>,
    /// Told when the mailbox had no room.
    gap: Arc<Notify>,
    status: watch::Sender<Arc<GroupStatus>>,
    record: GroupRecord,
    history: GroupHistory,
    seen: Observation,
    phases: BTreeMap<InstanceName, Phase>,
    replicas: BTreeMap<ReplicaId, Phase>,
    servers: BTreeMap<InstanceName, Server>,
    pending: Vec<orders::Pending>,
    /// The revision of a change under way, as it was kept.
    rolling: Option<Revision>,
    /// Why a first deployment is being undone.
    undoing: Option<ManagerError>,
    /// The engine could not be looked at: what is in `seen` may be old, nothing is begun.
    blind: bool,
    /// After a look that failed: not before then.
    next_look: Option<tokio::time::Instant>,
    /// The history in memory is newer than the one in the store.
    unsaved: bool,
    /// And nothing may be begun before that is mended: it holds what cannot be seen again.
    owed: bool,
    trouble: Option<String>,
    /// Failed actions in a row, by subject, for their cool-down.
    failures: BTreeMap<Subject, Failures>,
    /// Subjects that are busy only because of a pause.
    cooling: BTreeSet<Subject>,
    /// Ended when the group is to go: nobody needs the images any more.
    pulls: CancellationToken,
    actions: JoinSet<Done>,
    watchers: JoinSet<Sign>,
    activities: Activities,
    permits: Arc<Semaphore>,
    turns: turns::Turns,
    resync: Interval,
    /// When a server may have gone unused for long enough.
    rest_due: Option<tokio::time::Instant>,
}

/// What went wrong on a subject since something last succeeded there.
#[derive(Default)]
struct Failures {
    count: usize,
    last: String,
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
        inbox: Inbox,
        seed: Seed,
    ) -> (Self, watch::Receiver<Arc<GroupStatus>>) {
        let (status, watched) = watch::channel(Arc::new(report::initial(&seed.record)));
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
            orders: inbox.orders,
            mailbox: inbox.mailbox,
            gap: inbox.gap,
            status,
            // Nothing was seen yet of a group that comes from the store; and what stood there before a new one may
            // have changed since, unheard.
            blind: seed.order.is_none() || !seed.seen.containers.is_empty(),
            next_look: None,
            record: seed.record,
            history: seed.history,
            seen: seed.seen,
            phases: BTreeMap::new(),
            replicas: BTreeMap::new(),
            servers: BTreeMap::new(),
            pending: Vec::new(),
            rolling: None,
            undoing: None,
            unsaved: false,
            owed: false,
            trouble: None,
            failures: BTreeMap::new(),
            cooling: BTreeSet::new(),
            pulls: CancellationToken::new(),
            actions: JoinSet::new(),
            watchers: JoinSet::new(),
            activities: Activities::default(),
            turns: turns::Turns::default(),
            resync,
            rest_due: None,
        };
        task.furnish(seed.forwards, seed.handshakes, &seed.sessions);
        task.keep_discovery();
        task.reopen(seed.interrupted);
        task.pending.extend(seed.order.map(orders::Pending::from));
        (task, watched)
    }

    pub(crate) fn group_id(&self) -> &GroupId {
        &self.record.spec.group_id
    }

    /// What others may know of what is wanted.
    pub(crate) fn desired(&self) -> Desired {
        let doors =
            self.servers.iter().filter_map(|(name, server)| Some((name.clone(), server.door.clone()?)));
        Desired::new(&self.record, doors.collect())
    }

    fn now(&self) -> Timestamp {
        (self.registry.backends.wall)()
    }

    fn emit(&self, instance: Option<&InstanceName>, kind: EventKind) {
        self.registry.events.emit(self.group_id(), instance, kind);
    }

    /// Works until the group is gone or the daemon ends.
    pub(crate) async fn run(mut self) {
        let (cancel, gap) = (self.registry.cancel.clone(), Arc::clone(&self.gap));
        let turn = Arc::clone(&self.turns.wake);
        self.announce();
        loop {
            let until = match self.pass().await {
                Flow::Gone => return,
                Flow::Until(until) => until,
            };
            // Every arm may be dropped: queues and sets keep what was not taken, timers are set anew.
            tokio::select! {
                () = cancel.cancelled() => break,
                order = self.orders.recv() => match order {
                    Some(order) => self.accept(order).await,
                    None => break,
                },
                Some(wake) = self.mailbox.recv() => self.woken(wake).await,
                Some(done) = self.actions.join_next() => self.done(done).await,
                Some(sign) = self.watchers.join_next() => self.signed(sign).await,
                () = turn.notified() => {}
                () = gap.notified() => self.look_at_everything().await,
                _ = self.resync.tick() => self.resync().await,
                () = tokio::time::sleep_until(until) => {}
            }
        }
        // Engine calls under way are let finish; containers stay.
        while self.actions.join_next().await.is_some() {}
    }

    async fn resync(&mut self) {
        self.open_ports();
        self.look_at_everything().await;
    }

    async fn woken(&mut self, wake: Wake) {
        match wake {
            Wake::Container(id) => self.look_at(&id).await,
            Wake::Resync => self.look_at_everything().await,
        }
    }

    /// Looks (when it has to), notes, decides, begins, reports.
    async fn pass(&mut self) -> Flow {
        if self.blind && self.next_look.is_none_or(|at| at <= tokio::time::Instant::now()) {
            self.look_at_everything().await;
        }
        self.owed |= self.note();
        if !self.blind {
            self.keep_rest().await;
        }
        if self.owed && !self.save_history().await {
            self.report(&self.plan());
            return self.later(None);
        }
        self.settle();
        self.keep_places();
        let mut plan = self.plan();
        if plan.gone && !self.blind {
            // Volumes, and what a lost reply made, are seen only by looking.
            self.look_at_everything().await;
            plan = self.plan();
        }
        if plan.gone && !self.blind {
            return self.vanish().await;
        }
        if !self.blind && self.turn(&plan.progress).await {
            plan = self.plan();
        }
        if !self.blind {
            self.keep_members();
            self.keep_discovery();
            self.direct(&plan);
            for action in self.in_turn(std::mem::take(&mut plan.actions)) {
                self.begin(&action);
            }
            // Where nothing is under way or to be tried again, nothing fails any more.
            self.failures.retain(|subject, _| self.seen.busy.contains(subject));
            self.attend();
        }
        self.report(&plan);
        if !self.blind {
            self.answer().await;
        }
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
        let at = tokio::time::Instant::now() + planned.min(retry);
        // Who does not see neither begins anything nor puts anything to rest.
        let due = [self.turns.due(), self.rest_due].into_iter().flatten().filter(|_| !self.blind);
        Flow::Until(due.fold(at, tokio::time::Instant::min))
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
            let asked = seen.run().is_some_and(|run| {
                self.record.asked_to_end(instance, &run) || self.seen.ending.contains(&run)
            });
            let once = graph.runs_once(instance) && self.record.is_wanted(seen);
            let news = self.history.of_mut(&seen.replica()).note(seen, asked, once);
            self.unsaved |= news;
            exits |= news && !seen.is_live();
        }
        exits
    }

    /// Makes the history durable; false when the store refused.
    async fn save_history(&mut self) -> bool {
        let saved = self.registry.backends.store.put_history(self.group_id(), &self.history).await;
        self.unsaved = saved.is_err();
        self.owed &= self.unsaved;
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
