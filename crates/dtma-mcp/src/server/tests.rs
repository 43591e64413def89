//! The server as its callers see it, against a scripted process.

mod calls;
mod deadline;
pub(crate) mod harness;
mod life;
mod questions;
mod sessions;
mod stress;
mod wishes;
