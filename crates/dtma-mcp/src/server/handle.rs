//! The handle to one server process and its owner: what the manager calls. Clients come through the
//! [`Door`](crate::Door).

use super::call::{CallError, Closed};
use super::command::{Command, Connect, HouseAnswer, HouseCall};
use super::reply::SessionError;
use super::session::SessionId;
use super::state::{Ready, ServerState};
use super::{Attachment, Shared};
use crate::envelope::{Kind, Message};
use crate::ring::LogReader;
use crate::rpc;
use bytes::Bytes;
use dtma_core::id::{InstanceName, RunKey};
use dtma_core::port::runtime::Attached;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Talks to the owner of one server. Cheap to clone; when the last one is dropped, the owner ends.
#[derive(Clone)]
pub struct ServerHandle {
    pub(super) shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<ServerState>,
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

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
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
    /// goes on over restarts and ends with the owner.
    pub(crate) fn reader(&self) -> &LogReader {
        &self.logs
    }

    /// Whether calls go through at the moment.
    pub(crate) fn is_ready(&self) -> bool {
        self.takes_new() && self.state.borrow().ready().is_some()
    }

    /// What is known of the server while it answers.
    pub(crate) fn ready(&self) -> Option<Arc<Ready>> {
        self.state.borrow().ready().cloned()
    }

    /// Whether the owner is there and takes new sessions.
    pub(crate) fn takes_new(&self) -> bool {
        !self.commands.is_closed() && !self.shared.draining.load(Ordering::Relaxed)
    }

    /// Whether the owner is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    /// Whether new sessions and calls are refused while those in flight are answered.
    pub(crate) fn set_draining(&self, draining: bool) {
        self.shared.draining.store(draining, Ordering::Relaxed);
    }

    /// The session that its processes belong to has come, with these parameters of `initialize`.
    pub(crate) fn is_greeted_with(&self, params: Bytes) {
        self.shared.host.is_greeted_with(params);
    }

    /// For how long a session was not used; `None`: it is not here.
    pub(crate) async fn unused_for(&self, session: SessionId) -> Result<Option<Duration>, Closed> {
        self.ask(|reply| Command::Unused { session, reply }).await
    }

    /// Ends the owner. Sessions stay in the store and processes are left running.
    pub fn close(&self) {
        self.shared.closing.cancel();
    }

    /// A call of the house's own to a server that is ready; does not wait for one that is not.
    pub(crate) async fn call_now(
        &self,
        method: &str,
        params: Option<&[u8]>,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let id = self.shared.ids.next();
        let request = checked(rpc::request(id, method, params), self.shared.limits.message)?;
        let (reply, answer) = oneshot::channel();
        let (line, may_ask) = (request.to_line(&mut []), !is_asked_nothing(method));
        self.order(Command::House(HouseCall { id, line, may_ask, reply })).await?;
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(HouseAnswer::Refused(super::command::Refusal::NotReady))) => {
                Err(CallError::NotReady { reason: self.state.borrow().why_not_ready().to_string() })
            }
            Ok(Ok(answer)) => answer.into_result(),
            Ok(Err(_)) => Err(CallError::Closed(Closed)),
            Err(_) => {
                self.order(Command::GiveUp { id, why: "it took too long" }).await?;
                Err(CallError::Timeout { after: within })
            }
        }
    }

    /// Nobody waits for a client's call any more: the server is told, unless it has answered meanwhile. Where the owner has
    /// no room for the order the call is forgotten as soon as there is none for another one.
    pub(crate) fn give_up(&self, id: u64) {
        let _ = self.commands.try_send(Command::GiveUp { id, why: "the client has left" });
    }

    /// The same of a session that nobody needs any more.
    pub(crate) fn drop_session(&self, session: SessionId) {
        let (reply, _) = oneshot::channel();
        let _ = self.commands.try_send(Command::Close { session, reply });
    }

    /// Clients see other tools than before, though the server lists the same. Where the owner has no room for the order they
    /// are not told.
    pub(crate) fn tools_show_otherwise(&self) {
        let _ = self.commands.try_send(Command::ToolsShowOtherwise);
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

/// Methods in whose course a server has nothing to ask its client.
fn is_asked_nothing(method: &str) -> bool {
    method == "ping" || method.ends_with("/list")
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
