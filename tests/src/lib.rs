//! The black-box harness: a real daemon process, a real engine, and tests that read as scripts.
//!
//! A [`Toolbox`] is one daemon with a state directory of its own; everything deployed through it bears a tag in its
//! names, so that tests run side by side on one engine and each removes what it made. What is true is asked of the
//! engine itself ([`engine`]), never of the daemon alone. Nothing sleeps to hope: [`wait`] polls with a deadline and
//! says at the end what it saw.
//!
//! The engine is found as Docker's own tools find it (`DOCKER_HOST`). Where none answers a test fails and says so;
//! `cargo xtask test` brings one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "test support: it starts processes, looks at the clock, and stops where something is broken"
)]

pub mod binaries;
pub mod certificates;
pub mod collector;
pub mod command_line;
pub mod crowd;
pub mod daemon;
pub mod engine;
pub mod fault_proxy;
pub mod groups;
pub mod inspector;
pub mod mcp;
pub mod podman;
pub mod private_engine;
pub mod program;
pub mod rest;
pub mod sdk;
pub mod standing;
pub mod toolbox;
pub mod wait;
pub mod websocket;

pub use daemon::{Daemon, Launch, shims};
pub use mcp::{McpClient, text};
pub use rest::Answer;
pub use toolbox::Toolbox;
pub use wait::eventually;
pub use websocket::WsClient;
