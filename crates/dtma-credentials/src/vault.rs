//! Where credentials are kept: vaults behind [`SecretVault`](dtma_core::port::SecretVault).

mod backend;
mod disk;
mod document;
mod environment;
mod file;
mod format;
mod hashi;
mod key;
mod memory;
mod open;
mod place;
mod plain;
mod records;
mod remote;
mod reply;
mod supabase;

pub use backend::{BackendQuestion, BackendQuestions, BackendVault};
pub use disk::ReadError;
pub use environment::{EnvironmentVault, PREFIX};
pub use file::{FileVault, Places};
pub use hashi::{HashiParts, HashiVault, KvVersion, Login};
pub use key::{KeyBytes, KeyError, PassphraseCost, VaultKey};
pub use open::{OpenError, Rollback};
pub use plain::PlainFileVault;
pub use supabase::SupabaseVault;

/// What the fuzz target reads with: the parsers of the file and of what is sealed in it.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    use dtma_core::credential::{Credential, Secret};

    /// Reads what is sealed in a vault and writes it again; `None` where it cannot be understood.
    #[must_use]
    pub fn records(bytes: &[u8]) -> Option<Vec<u8>> {
        let records = super::records::read(bytes).ok()?;
        let mut out = vec![0; super::records::size(&records)];
        super::records::write(&records, &mut out);
        Some(out)
    }

    /// Reads an answer as each vault over HTTP does. For each credential that is found: its shape, and the shape of what is
    /// read after it was written as such a vault is given it.
    #[must_use]
    pub fn replies(bytes: &[u8]) -> Vec<(String, Option<String>)> {
        let fields = super::backend::values(bytes).ok().map(|fields| Secret::Fields(fields).into());
        let row = super::supabase::row(bytes).ok().flatten().and_then(|row| row.credential().ok().flatten());
        let found = [super::document::read(bytes).ok(), fields, row];
        let found = found.into_iter().chain(super::hashi::fuzzing::all(bytes)).flatten();
        found.map(|credential| (shape(&credential), again(&credential).as_ref().map(shape))).collect()
    }

    fn again(credential: &Credential) -> Option<Credential> {
        super::document::read(&super::document::written(&super::document::document(credential))).ok()
    }

    /// All of a credential but its values.
    fn shape(credential: &Credential) -> String {
        let names: Vec<_> = match &credential.secret {
            Secret::Fields(fields) => fields.keys().collect(),
            Secret::OAuth(tokens) => tokens.scopes.iter().collect(),
            Secret::ApiKey(_) | Secret::Certificate(_) => Vec::new(),
        };
        format!("{} {:?} {names:?}", credential.secret.kind(), credential.attributes)
    }

    /// Reads the head of a vault's file and writes it again.
    #[must_use]
    pub fn header(bytes: &[u8]) -> Option<Vec<u8>> {
        super::format::parse(bytes).ok().map(|(header, _)| header.encode().to_vec())
    }
}
