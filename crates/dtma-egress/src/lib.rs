//! The way out: an HTTP proxy that lets a server reach what its rules name, and nothing else.
//!
//! [`Egress`] judges by the rules of one server ([`Rules`]), by the addresses that may be reached ([`Ranges`]) and by
//! what the [`Resolver`] says; [`serve`] accepts on a listener of the server's own network. A name is resolved once
//! for each request, *all* of its addresses are judged, and the connection goes to the very addresses that were judged:
//! [`Cleared`] is the only thing that can be connected to, and only [`judge`] makes one. Every decision and every end
//! is told to the [`Sink`].
//!
//! `CONNECT` makes a tunnel; `http://` in full is forwarded request by request. A redirect is the client's business:
//! following it is a request like any other.
//!
//! Left to others: the sockets ([`serve`] is given one), the audit log (behind [`Sink`]), what rules an operator
//! permits a server to have (`dtma-config`).

mod copy;
mod dial;
mod egress;
mod fault;
mod forward;
mod judge;
mod limits;
mod metered;
mod port;
mod proxy;
mod serve;
mod system;
mod target;
mod trip;

pub use dtma_core::egress::{Authority, Ceiling, Cidr, EgressRule, Host, Ranges};
pub use egress::{Egress, Parts};
pub use judge::{Cleared, Refusal, Rules, judge};
pub use limits::Limits;
pub use port::{Decision, Ended, How, Resolver, Sink, Verdict, Way};
pub use serve::serve;
pub use system::SystemResolver;
