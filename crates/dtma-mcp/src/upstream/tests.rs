//! Servers on real sockets, spoken to as the owner of a process speaks.

mod fake;
mod http;
mod sse;
mod websocket;
