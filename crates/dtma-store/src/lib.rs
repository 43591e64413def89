//! Durable desired state in one file, `state.redb`: groups, histories, operations, answers to questions
//! with a key, gateway sessions, handshakes, what servers offer and what was approved of it.
//!
//! Every call returns only when its effect survives a power cut (redb's immediate durability: an fsync for each
//! commit). A record that cannot be read is skipped, reported in [`LoadedState::damaged`] and left as it is; a file
//! that cannot be trusted as a whole is refused with what to do, because starting with an empty one would orphan
//! every container this installation made.
//!
//! Values are JSON, so that a person with a hex editor can rescue what a bug has spoilt, and so that a field added
//! with a default needs no new schema. What does need one is described in `tests/fixtures/README.md`.
//!
//! # No secret can get in
//! Only the record types of [`dtma_core`] are stored, and a type that carries a
//! secret cannot become one of them: secrets are values of the crate `secrecy`, which do not
//! serialise.
//!
//! ```compile_fail,E0277
//! #[derive(serde::Serialize)]
//! struct Record {
//!     token: secrecy::SecretString,
//! }
//! ```
//!
//! The same record with plain text compiles, so the failure above is the secret's:
//!
//! ```
//! #[derive(serde::Serialize)]
//! struct Record {
//!     token_id: String,
//! }
//! ```
//!
//! Left to others: when to write what, and what a damaged record means for the group it belonged to.
//!
//! [`LoadedState::damaged`]: dtma_core::port::store::LoadedState::damaged

mod answers;
mod backup;
mod catalogues;
mod connections;
mod error;
mod file;
mod journal;
mod load;
mod lock;
mod meta;
mod migrate;
mod revisions;
mod rows;
mod store;
mod strict;
mod table;

pub use backup::{BackupError, Import, StateCopy, import};
pub use file::FILE_NAME;
pub use lock::LOCK_NAME;
pub use meta::SCHEMA;
pub use store::RedbStore;
