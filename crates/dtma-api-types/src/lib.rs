//! What goes over the wire between the daemon and its callers: plain structs with serde and an OpenAPI schema.
//!
//! No rule lives here: a value of these types is well formed, not yet valid. The documentation of each field is its
//! description in the OpenAPI document. Requests refuse unknown fields; responses do not, so that an older client
//! can read a newer daemon's answers.

mod audit;
mod change;
pub mod compat;
mod connection;
mod discovery;
pub mod duration;
mod envelope;
mod event;
pub mod explain;
mod gateway;
mod group;
mod idle;
mod log;
mod meta;
mod mutation;
mod request;
mod server;
mod server_request;
mod session;
mod size;
mod stats;
mod status;
mod template;
mod validation;

pub use audit::{AuditEntryView, AuditList, AuditOutcome, CallView, EgressView};
pub use change::{
    ApplyView, ChangeAction, Fate, FieldDiff, HistoryView, PlanView, PutGroupView, RevisionView, ServerDiff,
};
pub use connection::{ConnectionList, ConnectionRequest, ConnectionView, GrantBody, RateBody};
pub use discovery::{
    ApproveRequest, ApprovedView, ContractView, DiscoveredView, DiscoveryView, DriftKind, DriftView,
};
pub use envelope::{Envelope, ErrorBody, ErrorDetail, JsonRpcError, JsonRpcFailure};
pub use event::{EventKind, EventView};
pub use gateway::{GroupGateway, GroupTools};
pub use group::{GroupList, GroupState, GroupView};
pub use idle::Idle;
pub use log::{LogLineView, LogStreamName, LogView};
pub use meta::{HealthView, IndexEntry, IndexView, ReadyView};
pub use mutation::{
    GroupChangeView, OperationKind, OperationList, OperationState, OperationView, RemovalView,
    ServerChangeView,
};
pub use request::{GroupOptions, GroupRequest, RollbackRequest, ScaleRequest};
pub use server::{
    ContainerView, ExitView, McpView, PhaseWord, PlaceRole, PortView, RefusalView, ReplicaView, ServerView,
    SparesView, ToolView, UnmetView,
};
pub use server_request::{
    Condition, Connect, Dependency, Health, Kind, Mount, MountType, Network, Pinning, Publish, PullPolicy,
    Resources, Restart, RestartMode, ServerRequest, Transport, UpdateOrder, UpdatePolicy,
};
pub use session::{SessionMode, SessionRequest, SessionRules};
pub use size::ByteSize;
pub use stats::{ServerStats, StatsView};
pub use status::{DaemonView, EngineView, GroupTotals, ServerTotals, StatusView};
pub use template::{TemplateList, TemplateSummary, TemplateView};
pub use validation::ValidationView;
