//! The daemon's side of the shims: one unix socket for each container, what was said over it, and a
//! [`ContainerRuntime`](dtma_core::port::ContainerRuntime) that looks like the engine's and goes through the shim
//! wherever that is quicker, safer, or possible at all.
//!
//! ```text
//!   manager ──> ShimRuntime ──> engine: create, start, remove, look
//!                    └────────> Session: spawn, streams, sockets inside, logs <── unix socket ── shim (PID 1)
//! ```
//!
//! `docs/shim.md` describes the wire and what each side may do to the other.

mod attachment;
mod descriptors;
mod desk;
mod error;
mod intake;
mod key;
mod launch;
mod lines;
mod logbook;
mod overlay;
mod peer;
mod places;
mod program;
mod request;
mod runtime;
mod session;
mod versions;

pub use error::OpenError;
pub use runtime::{Settings, ShimRuntime};
