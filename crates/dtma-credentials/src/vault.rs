//! Where credentials are kept: vaults behind [`SecretVault`](dtma_core::port::SecretVault).

mod disk;
mod environment;
mod file;
mod format;
mod key;
mod memory;
mod open;
mod plain;
mod records;

pub use disk::ReadError;
pub use environment::{EnvironmentVault, PREFIX};
pub use file::{FileVault, Places};
pub use key::{KeyBytes, KeyError, PassphraseCost, VaultKey};
pub use open::{OpenError, Rollback};
pub use plain::PlainFileVault;

/// What the fuzz target reads with: the parsers of the file and of what is sealed in it.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    /// Reads what is sealed in a vault and writes it again; `None` where it cannot be understood.
    #[must_use]
    pub fn records(bytes: &[u8]) -> Option<Vec<u8>> {
        let records = super::records::read(bytes).ok()?;
        let mut out = vec![0; super::records::size(&records)];
        super::records::write(&records, &mut out);
        Some(out)
    }

    /// Reads the head of a vault's file and writes it again.
    #[must_use]
    pub fn header(bytes: &[u8]) -> Option<Vec<u8>> {
        super::format::parse(bytes).ok().map(|(header, _)| header.encode().to_vec())
    }
}
