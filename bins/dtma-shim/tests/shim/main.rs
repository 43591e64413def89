//! The built shim as an ordinary process, real servers below it, and a tiny daemon on the other side of the wire.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is broken"
)]

mod daemon;
mod fixture;
mod hostile;
mod life;
mod net;
mod rules;
mod streams;
