//! The pure heart of DTMA: what may be wanted, what may be seen, and what follows from both.
//!
//! Nothing in this crate reads a clock, opens a file or talks to an engine. [`plan::plan`] is the one place that
//! decides what happens to a group's containers; [`restart::decide`] is the one place that decides whether and
//! when a server that exited starts again. The world is behind the traits of [`port`], which other crates
//! implement.
//!
//! Words: a *spec* is wanted, an *observation* seen, a *plan* decided, a *status* reported.

pub mod catalogue;
pub mod change;
pub mod connection;
pub mod container;
pub mod contract;
pub mod credential;
pub mod distance;
pub mod egress;
pub mod graph;
pub mod hash;
pub mod history;
pub mod id;
pub mod idempotency;
pub mod image_gc;
pub mod label;
pub mod log;
pub mod observation;
pub mod phase;
pub mod plan;
pub mod platform;
pub mod port;
pub mod record;
pub mod rest;
pub mod restart;
pub mod shim;
pub mod spec;
pub mod violation;

/// A point on the wall clock, UTC. Always passed in as an argument, never read here.
pub use jiff::Timestamp;
