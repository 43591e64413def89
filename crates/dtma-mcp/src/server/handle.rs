//! The handle to a server: what the manager and the doors call.

use super::call::{CallError, Closed};
use super::reply::{MessageStream, PostReply, SessionError};
use super::state::ServerState;
use super::{Attachment, Parts};
use bytes::Bytes;
use dtma_core::id::{InstanceName, RunKey};
use dtma_core::port::runtime::{Attached, LogLine, LogQuery};
use dtma_core::record::GatewaySession;
use futures_util::stream::BoxStream;
use std::time::Duration;
use tokio::sync::watch;

/// Talks to the owner of one server. Cheap to clone.
#[derive(Clone)]
pub struct ServerHandle {
    instance: InstanceName,
    #[expect(dead_code, reason = "first the shape")]
    parts: Parts,
    state: watch::Receiver<ServerState>,
}

impl ServerHandle {
    pub(crate) fn new(instance: InstanceName, parts: Parts) -> Self {
        let state = watch::channel(ServerState::Down { reason: "it was not started yet".into() }).1;
        Self { instance, parts, state }
    }

    /// Which server this is.
    #[must_use]
    pub fn instance(&self) -> &InstanceName {
        &self.instance
    }

    /// Gives the server a process: greets it (or, when adopted, checks that it still answers), then lists its
    /// tools. Returns when the owner has taken it; watch [`state`](Self::state) for the rest. A process that was
    /// attached before is let go, its calls in flight are answered with an error.
    ///
    /// # Errors
    /// [`Closed`] when the owner is gone.
    pub async fn connect(&self, run: RunKey, attached: Attached, how: Attachment) -> Result<(), Closed> {
        let _ = (run, attached, how);
        Err(Closed)
    }

    /// Lets the process go without waiting for the end of its output, saying why.
    ///
    /// # Errors
    /// [`Closed`] when the owner is gone.
    pub async fn disconnect(&self, reason: &str) -> Result<(), Closed> {
        let _ = reason;
        Err(Closed)
    }

    /// Where the connection stands, now and from now on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ServerState> {
        self.state.clone()
    }

    /// Takes back the sessions that the store kept, at start-up, before any client is let in. Those of other
    /// servers are ignored.
    ///
    /// # Errors
    /// [`Closed`] when the owner is gone.
    pub async fn restore(&self, sessions: Vec<GatewaySession>) -> Result<(), Closed> {
        let _ = sessions;
        Err(Closed)
    }

    /// What a client sent by POST: any JSON-RPC message, `initialize` without a session included.
    ///
    /// Resolves with the first thing to send back, which for a slow call may be long: a door that wants to send
    /// keep-alives polls the future beside its timer. Dropping the future (or the stream it gave) gives the answer
    /// up but does not cancel the call; clients cancel with `notifications/cancelled`.
    pub async fn post(&self, session: Option<&str>, body: Bytes) -> PostReply {
        let _ = (session, body);
        PostReply::UnknownSession
    }

    /// The stream of a client's GET: what the server says that belongs to no call. A second one replaces the
    /// first, whose stream ends: the client that comes back after a broken connection must not be locked out by it.
    ///
    /// # Errors
    /// [`SessionError`] when there is no such session or no owner.
    pub async fn listen(&self, session: &str) -> Result<MessageStream, SessionError> {
        let _ = session;
        Err(SessionError::Closed)
    }

    /// A session as it stands (its protocol version, for the check of the header).
    ///
    /// # Errors
    /// [`SessionError`] when there is no such session or no owner.
    pub async fn session(&self, session: &str) -> Result<GatewaySession, SessionError> {
        let _ = session;
        Err(SessionError::Closed)
    }

    /// Ends a session (DELETE): its calls are cancelled, its streams end, the store forgets it.
    ///
    /// # Errors
    /// [`SessionError`] when there is no such session or no owner.
    pub async fn close_session(&self, session: &str) -> Result<(), SessionError> {
        let _ = session;
        Err(SessionError::Closed)
    }

    /// A call of the house's own. `params` is raw JSON; the result is the raw `result`. Waits for a server that is
    /// not up; all of it takes at most `within`.
    ///
    /// # Errors
    /// [`CallError`]; an error that the server answered is [`CallError::Rpc`].
    pub async fn call(
        &self,
        method: &str,
        params: Option<&[u8]>,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let _ = (method, params, within);
        Err(CallError::Closed(Closed))
    }

    /// Whether the server answers right now; does not wait for one that is not up.
    ///
    /// # Errors
    /// [`CallError`], but any answer will do: an error answer to `ping` is an answer.
    pub async fn ping(&self, within: Duration) -> Result<(), CallError> {
        let _ = within;
        Err(CallError::Closed(Closed))
    }

    /// What the server wrote that is no protocol: its stderr, and what is not JSON-RPC on its stdout. Following
    /// goes on over restarts and ends with the owner.
    #[must_use]
    pub fn logs(&self, query: &LogQuery) -> BoxStream<'static, LogLine> {
        let _ = query;
        Box::pin(futures_util::stream::empty())
    }

    /// Ends the owner. Sessions stay in the store and processes are left running.
    pub fn close(&self) {}
}
