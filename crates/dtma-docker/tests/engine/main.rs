//! The adapter against a real Docker Engine, found through `DOCKER_HOST`: `cargo xtask test` provides it and the
//! images. Without one these tests fail, they are never skipped.
#![expect(clippy::expect_used, clippy::panic, reason = "a broken test should stop where it broke")]

mod dial;
mod events;
mod exec;
mod hardened;
mod harness;
mod meter;
mod networks;
mod private_registry;
mod pull;
mod registry;
mod relay;
mod shelf;
mod shim;
mod suite;
mod volumes;
