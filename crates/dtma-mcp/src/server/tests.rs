//! The server as its callers see it, against a scripted process.

mod calls;
mod harness;
mod life;
mod questions;
mod sessions;
mod stress;
