//! Where a server may connect to: what a person may name, what an operator allows, and which addresses nobody reaches
//! unless an operator opens them. Pure; the proxy that holds to it is `dtma-egress`.
//!
//! A [`Host`] is a name or an address in the one form that means the same to everybody: what a resolver, a browser or
//! the C library would read differently (`0x7f.1`, `0127.0.0.1`, `2130706433`) is no host here.

mod ceiling;
mod cidr;
mod host;
mod range;
mod rule;

pub use ceiling::Ceiling;
pub use cidr::{Cidr, CidrError};
pub use host::{Authority, Host, HostError};
pub use range::{Ranges, Special};
pub use rule::{EgressRule, EgressRuleError};

/// The port of 127.0.0.1 inside a container behind which the way out is.
pub const PROXY_PORT: u16 = 3128;
