//! The traits behind which the world is. Each is object-safe, has one behavioural suite in `dtma-testing` that runs
//! over its fake and over the real thing, and speaks the words of this crate only.

pub mod egress;
pub mod images;
pub mod meter;
pub mod runtime;
pub mod store;
pub mod vault;

pub use egress::{EgressProxy, NoEgress};
pub use images::ImageShelf;
pub use meter::Meter;
pub use runtime::{ContainerRuntime, RuntimeError};
pub use store::{StateStore, StoreError};
pub use vault::{SecretVault, VaultError};
