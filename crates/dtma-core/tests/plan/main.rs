//! Properties of the plan, over a small world in which every call may fail, every reply may be lost, and processes
//! die when they like.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing property must say where"
)]

mod checks;
mod faults;
mod group;
mod in_place;
mod networks;
mod one_server;
mod owner;
mod places;
mod properties;
mod rest;
mod rollout;
mod spares;
mod world;
