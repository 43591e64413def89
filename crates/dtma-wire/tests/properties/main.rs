//! What must hold for all frames and all streams, however connections are cut.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is broken")]

mod frames;
mod streams;
