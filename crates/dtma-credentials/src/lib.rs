//! Credentials: where they are kept, and how they come from there without a secret touching a disk in the clear.
//!
//! Left to others: who may have which credential, and how it gets into a container.

pub mod oauth;
pub mod refresh;
pub mod vault;
pub mod web;
