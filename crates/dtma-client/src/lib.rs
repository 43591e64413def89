//! Typed client of the daemon's HTTP API: one method for each operation of `docs/openapi.json`.
//!
//! [`Client`] is cheap to clone and pools its connections. Errors keep what the daemon said: status, code, request
//! id and every mistake ([`Refusal`]). [`mcp::McpSession`] speaks to an MCP server through the gateway.
//!
//! Left to callers: retrying, and reconnecting a stream that broke (its events carry ids for that). `https://` is
//! spoken with the authority given to the builder.

mod audit;
mod changes;
mod client;
mod compat;
mod connections;
mod discovery;
mod doors;
mod error;
pub mod mcp;
mod operations;
mod query;
pub mod sse;
mod stream;
mod tls;
mod transport;

pub use audit::AuditQuery;
pub use changes::ChangeOptions;
pub use client::{Client, ClientBuilder};
pub use discovery::DiscoveryQuery;
pub use error::{Error, Refusal};
pub use operations::{LogOptions, Mutation, OperationQuery, RemoveOptions, Wait};
pub use stream::{EventMessage, EventStream, LogLines};

/// The wire types, for callers who depend on this crate alone.
pub use dtma_api_types as types;
