//! The handle to a server: what the manager and the doors call.

use super::call::{CallError, Closed};
use super::command::{Command, Connect, HouseAnswer, HouseCall};
use super::reply::{MessageStream, SessionError};
use super::session::SessionId;
use super::state::ServerState;
use super::{Attachment, Shared};
use crate::envelope::{Kind, Message};
use crate::ring::LogReader;
use crate::rpc;
use bytes::Bytes;
use dtma_core::id::{InstanceName, RunKey};
use dtma_core::port::runtime::{Attached, LogLine, LogQuery};
use dtma_core::record::GatewaySession;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Talks to the owner of one server. Cheap to clone; when the last one is dropped, the owner ends.
#[derive(Clone)]
pub struct ServerHandle {
    pub(super) shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    pub(super) state: watch::Receiver<ServerState>,
    logs: LogReader,
}

impl ServerHandle {
    pub(crate) fn new(
        shared: Arc<Shared>,
        commands: mpsc::Sender<Command>,
        state: watch::Receiver<ServerState>,
        logs: LogReader,
    ) -> Self {
        Self { shared, commands, state, logs }
    }

    /// Which server this is.
    #[must_use]
    pub fn instance(&self) -> &InstanceName {
        &self.shared.instance
    }

    /// Gives the server a process: greets it (or, when adopted, checks that it still answers), then lists its
    /// tools. Returns when the order is given; watch [`state`](Self::state) for the rest. A process that was
    /// attached before is let go, its calls in flight are answered with an error.
    ///
    /// # Errors
    /// [`Closed`] when the owner is gone.
    pub async fn connect(&self, run: RunKey, attached: Attached, how: Attachment) -> Result<(), Closed> {
        self.order(Command::Connect(Box::new(Connect { run, attached, how }))).await
    }

    /// Lets the process go without waiting for the end of its output, saying why.
    ///
    /// # Errors
    /// [`Closed`] when the owner is gone.
    pub async fn disconnect(&self, reason: &str) -> Result<(), Closed> {
        self.order(Command::Disconnect { reason: reason.into() }).await
    }

    /// Where the connection stands, now and from now on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ServerState> {
        self.state.clone()
    }

    /// Takes back the sessions that the store kept, at start-up, before any client is let in. Those of other
    /// servers are ignored; where there are more than the limit, the oldest make way.
    ///
    /// # Errors
    /// [`Closed`] when the owner is gone.
    pub async fn restore(&self, mut sessions: Vec<GatewaySession>) -> Result<(), Closed> {
        sessions.retain(|session| session.instance == self.shared.instance);
        sessions.sort_by_key(|session| session.opened_at);
        self.order(Command::Restore(sessions)).await
    }

    /// The stream of a client's GET: what the server says that belongs to no call. A second one replaces the
    /// first, whose stream ends: the client that comes back after a broken connection must not be locked out by it.
    ///
    /// # Errors
    /// [`SessionError`] when there is no such session or no owner.
    pub async fn listen(&self, session: &str) -> Result<MessageStream, SessionError> {
        let session = SessionId::parse(session).ok_or(SessionError::Unknown)?;
        self.ask(|reply| Command::Listen { session, reply }).await?.ok_or(SessionError::Unknown)
    }

    /// A session as it stands (its protocol version, for the check of the header).
    ///
    /// # Errors
    /// [`SessionError`] when there is no such session or no owner.
    pub async fn session(&self, session: &str) -> Result<GatewaySession, SessionError> {
        let session = SessionId::parse(session).ok_or(SessionError::Unknown)?;
        self.ask(|reply| Command::Look { session, reply }).await?.ok_or(SessionError::Unknown)
    }

    /// Ends a session (DELETE): its calls are cancelled, its streams end, the store forgets it.
    ///
    /// # Errors
    /// [`SessionError`] when there is no such session or no owner.
    pub async fn close_session(&self, session: &str) -> Result<(), SessionError> {
        let session = SessionId::parse(session).ok_or(SessionError::Unknown)?;
        let known = self.ask(|reply| Command::Close { session, reply }).await?;
        if known { Ok(()) } else { Err(SessionError::Unknown) }
    }

    /// A call of the house's own. `params` is raw JSON; the result is the raw `result`. Waits for a server that is
    /// not up; all of it takes at most `within`, after which the server is told that the call is cancelled. What
    /// the server asks or notes in its course goes nowhere: there is no client to hear it.
    ///
    /// # Errors
    /// [`CallError`]; an error that the server answered is [`CallError::Rpc`].
    pub async fn call(
        &self,
        method: &str,
        params: Option<&[u8]>,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let deadline = tokio::time::Instant::now() + within;
        self.await_ready(deadline).await.map_err(|reason| CallError::NotReady { reason })?;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        self.call_now(method, params, left).await.map_err(|problem| match problem {
            // What the caller gave, not what was left of it.
            CallError::Timeout { .. } => CallError::Timeout { after: within },
            other => other,
        })
    }

    /// Whether the server answers right now; does not wait for one that is not up.
    ///
    /// # Errors
    /// [`CallError`], but any answer will do: an error answer to `ping` is an answer.
    pub async fn ping(&self, within: Duration) -> Result<(), CallError> {
        match self.call_now("ping", None, within).await {
            Ok(_) | Err(CallError::Rpc { .. }) => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    /// What the server wrote that is no protocol: its stderr, and what is not JSON-RPC on its stdout. Following
    /// goes on over restarts and ends with the owner, or past a line that is not before `until`.
    #[must_use]
    pub fn logs(&self, query: &LogQuery) -> BoxStream<'static, LogLine> {
        self.logs.query(query)
    }

    /// Ends the owner. Sessions stay in the store and processes are left running.
    pub fn close(&self) {
        self.shared.closing.cancel();
    }

    async fn call_now(
        &self,
        method: &str,
        params: Option<&[u8]>,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let id = self.shared.ids.next();
        let request = checked(rpc::request(id, method, params), self.shared.limits.message)?;
        let (reply, answer) = oneshot::channel();
        let (line, may_ask) = (request.to_line(&mut []), method != "ping");
        self.order(Command::House(HouseCall { id, line, may_ask, reply })).await?;
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(HouseAnswer::Refused(super::command::Refusal::NotReady))) => {
                Err(CallError::NotReady { reason: self.why_not_ready() })
            }
            Ok(Ok(answer)) => answer.into_result(),
            Ok(Err(_)) => Err(CallError::Closed(Closed)),
            Err(_) => {
                self.order(Command::GiveUp { id }).await?;
                Err(CallError::Timeout { after: within })
            }
        }
    }

    /// Waits for a server that answers; else says why it does not.
    pub(super) async fn await_ready(&self, deadline: tokio::time::Instant) -> Result<(), String> {
        let mut state = self.state.clone();
        let settled = |state: &ServerState| match state {
            ServerState::Ready(_) | ServerState::Failed { .. } => true,
            ServerState::Down { .. } | ServerState::Connecting { .. } => false,
        };
        let ready = match tokio::time::timeout_at(deadline, state.wait_for(settled)).await {
            Ok(Ok(state)) => state.ready().is_some(),
            Ok(Err(_)) | Err(_) => false,
        };
        if ready { Ok(()) } else { Err(self.why_not_ready()) }
    }

    fn why_not_ready(&self) -> String {
        match &*self.state.borrow() {
            ServerState::Down { reason } | ServerState::Failed { reason, .. } => reason.to_string(),
            ServerState::Connecting { .. } => "it has not completed its handshake yet".to_owned(),
            ServerState::Ready(_) => "its process has just changed".to_owned(),
        }
    }

    /// Gives the owner an order.
    pub(super) async fn order(&self, command: Command) -> Result<(), Closed> {
        self.commands.send(command).await.map_err(|_| Closed)
    }

    /// Asks the owner something.
    pub(super) async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.order(ask(reply)).await?;
        answer.await.map_err(|_| Closed)
    }
}

impl From<Closed> for SessionError {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

/// Raw parameters could be anything, even half of another message: the whole must be one request.
fn checked(request: Vec<u8>, limit: usize) -> Result<Message, CallError> {
    let message = Message::read(request.into(), limit);
    let message = message.map_err(|problem| CallError::Invalid { problem: problem.to_string() })?;
    match message.kind() {
        Kind::Request => Ok(message),
        Kind::Notification | Kind::Response => {
            Err(CallError::Invalid { problem: "it is not a request".to_owned() })
        }
    }
}
