//! What every handler can reach.

use crate::asker::Asker;
use crate::audit::AuditLog;
use crate::auth::{Auth, Hosts};
use crate::calls::CallJournal;
use crate::compat::Claims;
use crate::discovery::Prepared;
use crate::egress::EgressJournal;
use crate::error::ApiError;
use crate::front::Front;
use crate::gateway::access::Spent;
use crate::gateway::pair::Streams;
use crate::journal::Journal;
use crate::limit::{Limiter, Rates};
use crate::metrics::Metrics;
use crate::mutation::keys::Keys;
use crate::observe::AccessLines;
use crate::routes::status::Glance;
use crate::schema::Schemas;
use dtma_api_types::compat::{HeartbeatView, SystemMetrics};
use dtma_core::Timestamp;
use dtma_core::port::Meter;
use dtma_manager::wall::Wall;
use dtma_manager::{Asking, ManagerError, ManagerHandle, Wait};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What an [`App`] is made from.
pub struct Parts {
    /// The manager.
    pub manager: ManagerHandle,
    /// Who may ask.
    pub auth: Arc<Auth>,
    /// By which names the daemon is called.
    pub hosts: Hosts,
    /// What is told about the daemon's own address.
    pub front: Front,
    /// How often they may ask.
    pub rates: Rates,
    /// Where a line about each request goes.
    pub access: Option<AccessLines>,
    /// Where changes and refusals are written down.
    pub audit: AuditLog,
    /// Where what servers reach outside is written down.
    pub egress: EgressJournal,
    /// Where what agents ask servers for is written down.
    pub calls: CallJournal,
    /// The wall clock.
    pub wall: Wall,
    /// Reads what containers use; none when the engine is not on this machine.
    pub meter: Option<Arc<dyn Meter>>,
    /// How the machine does.
    pub system: SystemProbe,
    /// How the reports to the backend fare; none when there is no backend.
    pub heartbeat: Option<HeartbeatProbe>,
}

/// Looks at the machine; asked once for every status, so it must be quick.
pub type SystemProbe = Arc<dyn Fn() -> SystemMetrics + Send + Sync>;

/// Tells how the reports to the backend fare.
pub type HeartbeatProbe = Arc<dyn Fn() -> HeartbeatView + Send + Sync>;

/// Everything that handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    parts: Parts,
    started_at: Timestamp,
    journal: Arc<Journal>,
    limiter: Limiter,
    metrics: Metrics,
    schemas: Schemas,
    glance: Glance,
    streams: Streams,
    spent: Spent,
    prepared: Prepared,
    tasks: TaskTracker,
    keys: Keys,
    claims: Claims,
    closing: CancellationToken,
}

impl App {
    /// An app around a running manager. Events are kept from now on.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            started_at: (parts.wall)(),
            journal: Arc::new(Journal::new()),
            limiter: Limiter::new(parts.rates),
            metrics: Metrics::new(
                parts.manager.clone(),
                &parts.egress,
                &parts.calls,
                parts.heartbeat.clone(),
            ),
            schemas: Schemas::new(),
            glance: Glance::default(),
            streams: Streams::default(),
            spent: Spent::default(),
            prepared: Prepared::default(),
            tasks: TaskTracker::new(),
            keys: Keys::default(),
            claims: Claims::default(),
            closing: CancellationToken::new(),
            parts,
        }))
    }

    pub(crate) fn manager(&self) -> &ManagerHandle {
        &self.0.parts.manager
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.0.parts.auth
    }

    pub(crate) fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    pub(crate) fn access(&self) -> Option<&AccessLines> {
        self.0.parts.access.as_ref()
    }

    pub(crate) fn audit(&self) -> &AuditLog {
        &self.0.parts.audit
    }

    pub(crate) fn egress(&self) -> &AuditLog {
        self.0.parts.egress.log()
    }

    pub(crate) fn calls(&self) -> &CallJournal {
        &self.0.parts.calls
    }

    pub(crate) fn hosts(&self) -> &Hosts {
        &self.0.parts.hosts
    }

    pub(crate) fn front(&self) -> &Front {
        &self.0.parts.front
    }

    pub(crate) fn meter(&self) -> Option<&dyn Meter> {
        self.0.parts.meter.as_deref()
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0.parts.wall)()
    }

    pub(crate) fn system_metrics(&self) -> SystemMetrics {
        (self.0.parts.system)()
    }

    pub(crate) fn heartbeat(&self) -> Option<HeartbeatView> {
        self.0.parts.heartbeat.as_ref().map(|probe| probe())
    }

    pub(crate) fn started_at(&self) -> Timestamp {
        self.0.started_at
    }

    /// Whole seconds since the start, 0 when the clock went backwards.
    pub(crate) fn uptime_seconds(&self) -> u64 {
        u64::try_from(self.now().duration_since(self.started_at()).as_secs()).unwrap_or(0)
    }

    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.0.journal
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn glance(&self) -> &Glance {
        &self.0.glance
    }

    /// Streams of clients that post to them.
    pub(crate) fn streams(&self) -> &Streams {
        &self.0.streams
    }

    /// What agents have used up of what they are granted.
    pub(crate) fn spent(&self) -> &Spent {
        &self.0.spent
    }

    pub(crate) fn prepared(&self) -> &Prepared {
        &self.0.prepared
    }

    pub(crate) fn schemas(&self) -> &Schemas {
        &self.0.schemas
    }

    /// Does something to its end even when the client hangs up before. A client that waits while the daemon ends
    /// is told so at once: what it asked for is durable and goes on with the daemon's next start.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ManagerError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        // Dropping the handle leaves the task to itself; it ends with the manager.
        tokio::select! {
            done = self.0.tasks.spawn(work) => match done {
                Ok(done) => Ok(done?),
                Err(error) => Err(ApiError::Internal(format!("a request's task ended: {error}"))),
            },
            () = self.closing().cancelled() => Err(ManagerError::ShuttingDown.into()),
        }
    }

    /// The same for a question to the manager.
    pub(crate) async fn ask<T, W>(
        &self,
        asker: &Asker,
        wait: Wait,
        question: impl FnOnce(ManagerHandle, Asking) -> W,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, ManagerError>> + Send + 'static,
    {
        self.finish(question(self.manager().clone(), asker.asking(wait))).await
    }

    /// What is done even when its client hangs up.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// What deployments under way ask for.
    pub(crate) fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// Requests with a key that are under way.
    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Cancelled when the daemon ends: streams end then.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }
}
