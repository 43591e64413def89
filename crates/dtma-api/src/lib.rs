//! The daemon's HTTP door: routes, auth, conversion between wire and domain, and the accept loop.
//!
//! [`serve`] takes a listener and an [`App`]; [`openapi`] is the contract as a pure function. The table in
//! `routes.rs` says which route exists, which scope it needs and who answers it; `error.rs` is the one place that
//! chooses HTTP status codes.
//!
//! A request goes: accept loop ([`serve`]) → request id, log line, metrics (`observe.rs`) → route table → Host,
//! Origin and token ([`auth`]) → body against the JSON Schema of the document (`body.rs`, `schema.rs`) → domain
//! (`convert.rs`) → manager → wire (`view.rs`). Around every change stand its audit lines and its idempotency key
//! (`audit.rs`, `mutation.rs`).
//!
//! Left to others: where tokens come from and which address is listened on (the daemon), every decision about
//! servers (the manager).

mod answer;
mod app;
mod asker;
mod audit;
pub mod auth;
mod body;
mod calls;
mod compat;
mod convert;
mod discovery;
mod duration;
mod egress;
mod error;
mod front;
mod gateway;
mod journal;
pub mod limit;
mod locate;
mod metrics;
mod mutation;
mod observe;
mod openapi;
mod path;
mod query;
#[expect(unused_qualifications, reason = "utoipa's macro writes query types with a path")]
mod routes;
mod schema;
mod serve;
mod sse;
mod suggest;
pub mod tls;
mod view;

pub use app::{App, HeartbeatProbe, Parts, SystemProbe};
pub use audit::{AuditBounds, AuditLog};
pub use calls::{CallJournal, CallOptions, CallOver, CallSink, SpanCounts, SpanFate};
pub use compat::view::{ToolReport, instances as tool_instances, reports as tool_reports};
pub use egress::{EgressJournal, Exit, Passage, Passed};
pub use front::{Front, WebUrl};
pub use observe::AccessLines;
pub use openapi::{openapi, openapi_json};
pub use serve::{Door, ServeLimits, serve};
