//! A client of OAuth 2.1 providers: discovery, the ways to a grant, its refresh and its end.
//!
//! `oauth/reply.rs` reads answers, `oauth/metadata.rs` what a provider says of itself, `oauth/authorize.rs` makes and checks
//! what passes through a browser; all three are pure. `web.rs` sends, `oauth/client.rs` puts it together,
//! `oauth/preset.rs` knows four providers.
//!
//! Why not the crate `oauth2`, which is well kept: what it gives beyond HTTP is types for requests that are a form of five
//! fields, and readers of answers. Those readers are strict where providers are not (GitHub's errors with 200 and forms,
//! Slack's `ok: false`, negative and textual `expires_in`), so ours would be written anyway; its parse errors carry the
//! answer's whole body, tokens included, in their `Debug`; and its tokens are plain strings that are not wiped. Encoding,
//! digests, TLS and HTTP come from the crates the workspace has.
//!
//! Left to others: whether an address may be talked to at all (only `https`, or `http` to loopback, is demanded here),
//! where tokens are kept, and dynamic registration of clients.

mod authorize;
mod client;
mod metadata;
mod preset;
mod reply;

pub use authorize::{Authorization, CallbackError, Pending, Verifier};
pub use client::{Client, ClientAuth, ClientParts, ExchangeError, discover};
pub use metadata::{Metadata, MetadataError};
pub use preset::{PRESETS, Preset, preset};
pub use reply::{DeviceCode, Polled, Reply};
