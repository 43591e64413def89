//! What a crate needs to test itself against DTMA's ports without an engine, a disk or a network.
//!
//! Three kinds of thing for each port of [`dtma_core::port`]:
//! * a **fake** that behaves, with a remote control that scripts it: [`FakeRuntime`], [`MemoryStore`],
//!   [`FakeMeter`], [`FakeVault`];
//! * a **mock** that accuses, for "this must never be called": [`MockContainerRuntime`], [`MockStateStore`],
//!   [`MockSecretVault`];
//! * a **suite** of behaviour ([`suite`]) that runs over the fake and over the real thing, which is what keeps the
//!   fake honest.
//!
//! Time is tokio's throughout, so a test that pauses it pauses the fakes too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test support: a broken test should stop where it broke"
)]

pub mod fake_runtime;
mod mcp_server;
mod memory_store;
mod meter;
mod mock;
pub mod sample;
pub mod suite;
mod vault;

pub use fake_runtime::{FakeRuntime, FakeRuntimeRemote};
pub use mcp_server::{FakeMcpServer, FakeMcpServerRemote};
pub use memory_store::{MemoryStore, MemoryStoreRemote, StoreCall};
pub use meter::{FakeMeter, FakeMeterRemote};
pub use mock::{MockContainerRuntime, MockSecretVault, MockStateStore};
pub use vault::{FakeVault, FakeVaultRemote, VaultCall, VaultFault};
