//! `MultiMcpManager`: keeps groups of MCP servers and tools as they are wanted.
//!
//! [`Manager::start`] takes settings and [`Backends`] (the engine, the store, the clock) and gives back a
//! [`ManagerHandle`] to ask things of and a [`Drain`] to end it by. One owner task per group observes the engine,
//! asks `dtma_core::plan` what follows and begins those actions; what it decides is durable before the engine hears
//! of it, so the daemon may be killed at any instant. Ending the manager leaves every container running.
//!
//! What is *not* here: no decision (they are in `dtma-core`), no HTTP (`dtma-api`), no engine (`dtma-docker`).

pub mod connections;
pub mod discovery;
pub mod error;
pub mod event;
pub mod failpoint;
pub mod handle;
pub mod operations;
pub mod pressure;
pub mod settings;
pub mod status;
pub mod wall;

mod forward;
mod group;
mod images;
mod registry;
mod start;
mod starts;
mod unused;

pub use connections::{ConnectionChanges, PutConnection, Seen};
pub use discovery::{Approval, Discovered};
pub use error::ManagerError;
pub use event::{Event, EventKind};
pub use group::Expect;
pub use handle::{Applied, Asking, Deployed, LogStream, ManagerHandle, Preview, Removed, Validation, Wait};
pub use operations::{OperationFilter, OperationState};
pub use registry::ENGINE_KNOWN_FOR;
pub use settings::{Backends, Settings};
pub use start::{Drain, Manager};
pub use status::{
    ContainerStatus, GroupState, GroupStatus, McpSummary, PublishStatus, ReplicaStatus, ServerStatus,
    SparesStatus,
};
