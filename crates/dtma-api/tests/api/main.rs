//! The HTTP door over a manager whose engine, store and servers are fakes; the sockets are real.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken test should stop where it broke"
)]

mod access;
mod aggregate;
mod audit;
mod compat;
mod contract;
mod cost;
mod discovery;
mod doors;
mod gateway;
mod grants;
mod groups;
mod house;
mod limits;
mod malformed;
mod operations;
mod streams;
mod tls;
mod well_known;
mod wire;
