//! The Model Context Protocol as bytes: messages are scanned for their envelope and passed on, never decoded and
//! written anew, so that methods, fields and versions nobody here has heard of arrive as they were sent.
//!
//! [`StdioServer`] owns one process that speaks over its standard streams and lets any number of client sessions
//! share it; [`ServerHandle`] is how the manager gives it containers ([`ServerHandle::connect`]). An [`upstream`] is a
//! process that listens on a port and is made to look like one of these. [`Door`] is one MCP server as its clients see
//! it, however many processes stand behind it. Its clients' HTTP is left to whoever calls [`Door::post`] and
//! [`Door::listen`]. [`discovery`] asks servers what they offer.

mod aggregate;
pub mod demand;
pub mod discovery;
pub(crate) mod door;
mod envelope;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod interleave;
mod json;
mod line;
mod ring;
mod rpc;
mod server;
mod splice;
mod trace;
pub mod upstream;
pub mod version;
mod wish;

pub use aggregate::{Aggregate, GroupFilter, MOST_TOOLS, Naming, named_server};
pub use door::Door;
pub use door::drain::Drained;
pub use door::filter::ToolFilter;
pub use door::member::{MemberId, MemberTaken};
pub use door::places::{OwnProcesses, Places, Ticket};
pub use door::rest::Memory;
pub use door::stateless::{Claims, stateless_status};
pub use door::unused::UNUSED_INTERVALS;
pub use server::call::{CallError, Closed};
pub use server::handle::ServerHandle;
pub use server::reply::{Event, EventId, EventStream, MessageStream, PostReply, SessionError};
pub use server::session::SessionId;
pub use server::state::{Greeting, Ready, ServerState, Tool, ToolList};
pub use server::watched::Watcher;
pub use server::{Attachment, CallDeadline, Depth, Limits, Parts, StdioServer, Wall};
pub use trace::TraceContext;
