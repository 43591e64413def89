//! The manager over an engine, a store and a prober that behave until told otherwise, under paused time.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a broken promise must say where")]

mod discovery;
mod faults;
mod house;
mod images;
mod logs;
mod operations;
mod promises;
mod rest;
mod sessions;
mod simulation;
mod spares;
mod turns;
mod unused;
mod updates;
