//! The older families of routes are doors onto the same operations: their words are read here into the canonical
//! request (`read.rs`, `docker.rs`), what is wrong is said at the place where the caller wrote it (`notes.rs`), and
//! what became of it is told in their words (`view.rs`). No decision about servers is taken here.

mod claims;
mod deploy;
mod docker;
mod execute;
mod find;
mod notes;
mod read;
pub(crate) mod view;

pub(crate) use claims::Claims;
pub(crate) use deploy::{deploy, remove};
pub(crate) use execute::execute;
pub(crate) use find::{Found, find};
pub(crate) use notes::Notes;
pub(crate) use read::{Family, group, tool};

/// Labels that carry what the older callers say of a server and the canonical spec has no field for. They are part of
/// the spec, so they outlive restarts, and they are shown by the engine: nothing secret belongs there.
pub(crate) mod label {
    /// The caller's own id of the instance.
    pub(crate) const ACCOUNT_ID: &str = "dtma.account-tool-instance-id";
    /// How the MCP server is spoken to, whether or not the gateway serves that.
    pub(crate) const TRANSPORT: &str = "dtma.mcp-transport";
    pub(crate) const ENDPOINT: &str = "dtma.mcp-endpoint-path";
    pub(crate) const CAPABILITIES: &str = "dtma.mcp-server-capabilities";
    pub(crate) const METADATA: &str = "dtma.mcp-discovery-metadata";
    pub(crate) const OAUTH: &str = "dtma.oauth-connection-ids";
    pub(crate) const PROVIDERS: &str = "dtma.required-oauth-providers";
    pub(crate) const CREDENTIALS: &str = "dtma.credential-requirements";
}
