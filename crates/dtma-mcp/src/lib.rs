//! The Model Context Protocol as bytes: messages are scanned for their envelope and passed on, never decoded and
//! written anew, so that methods, fields and versions nobody here has heard of arrive as they were sent.
//!
//! [`StdioServer`] owns one server that speaks over its standard streams and lets any number of client sessions
//! share it; [`ServerHandle`] is how the rest of the house talks to it. HTTP is left to the door that calls
//! [`ServerHandle::post`] and [`ServerHandle::listen`]; containers are left to the manager that calls
//! [`ServerHandle::connect`].

mod envelope;
mod json;
mod line;
mod ring;
mod rpc;
mod server;
mod splice;
pub mod version;

pub use server::call::{CallError, Closed};
pub use server::handle::ServerHandle;
pub use server::reply::{MessageStream, PostReply, SessionError};
pub use server::session::SessionId;
pub use server::state::{Greeting, Ready, ServerState, Tool, ToolList};
pub use server::{Attachment, Limits, Parts, StdioServer, Wall};
