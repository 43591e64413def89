//! What the handle and the start-up ask of the owner. Everything that needs no table of the owner's (scanning,
//! splicing, waiting) is done before, in the asker's own task.

use super::Attachment;
use super::reply::{Event, EventId, MessageStream};
use super::session::SessionId;
use crate::envelope::Message;
use crate::wish::Wish;
use bytes::Bytes;
use dtma_core::id::RunKey;
use dtma_core::port::runtime::Attached;
use dtma_core::record::GatewaySession;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// One thing asked. Where there is a `reply`, an asker that no longer waits is fine.
pub(crate) enum Command {
    Connect(Box<Connect>),
    Disconnect {
        reason: Arc<str>,
    },
    /// A session comes here: a new one, or one that was elsewhere.
    Open {
        session: Arc<GatewaySession>,
        id: SessionId,
        reply: oneshot::Sender<Opened>,
    },
    /// A session goes elsewhere: its stream ends, its calls in flight are still answered.
    Release {
        session: SessionId,
    },
    /// All sessions go elsewhere. From now on `left` says how many calls are still to be answered.
    Leave {
        left: watch::Sender<Option<usize>>,
    },
    /// Which sessions have calls or streams open.
    InUse {
        reply: oneshot::Sender<Vec<SessionId>>,
    },
    /// Answered with `false` when there is no such session; so are the next three, in their ways.
    Close {
        session: SessionId,
        reply: oneshot::Sender<bool>,
    },
    /// What was said after that is said again.
    Listen {
        session: SessionId,
        after: Option<EventId>,
        reply: oneshot::Sender<Option<Listening>>,
    },
    /// The session is in use.
    Touch {
        session: SessionId,
        reply: oneshot::Sender<bool>,
    },
    /// For how long it was not used; `None`: there is no such session.
    Unused {
        session: SessionId,
        reply: oneshot::Sender<Option<Duration>>,
    },
    /// The server granted it.
    Wish {
        session: SessionId,
        wish: Wish,
    },
    /// A notification or an answer from a client.
    Notice {
        session: SessionId,
        message: Message,
        reply: oneshot::Sender<bool>,
    },
    /// The same, if it is about a call or a question of this owner's; else answered with `false` and left alone.
    Claim {
        session: SessionId,
        message: Message,
        reply: oneshot::Sender<bool>,
    },
    Call(ClientCall),
    /// A call of the house's own to a server that is ready.
    House(HouseCall),
    /// Nobody waits for this call any more.
    GiveUp {
        id: u64,
        why: &'static str,
    },
    /// Clients see other tools, whatever the server lists.
    ToolsShowOtherwise,
    /// From now on no call is passed on, if nobody has used it since then and nobody uses it now. Answered with `false`
    /// where somebody does.
    Rest {
        unused_since: Instant,
        reply: oneshot::Sender<bool>,
    },
    /// Calls are passed on again.
    GoOn,
}

/// The stream of a session's GET.
pub(crate) struct Listening {
    pub(crate) events: mpsc::Receiver<Event>,
    /// The last of what was said before.
    pub(crate) last: EventId,
}

/// Whether a session was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It is here. One that was unused for long may have made way: it is closed and no longer in the store.
    Here { evicted: Option<SessionId> },
    /// Every session is in use.
    Full,
    /// No more sessions come here.
    Draining,
}

/// A process to talk to.
pub(crate) struct Connect {
    pub(crate) run: RunKey,
    pub(crate) attached: Attached,
    pub(crate) how: Attachment,
}

/// A client's request, ready to be written.
pub(crate) struct ClientCall {
    /// Ours, also the progress token.
    pub(crate) id: u64,
    pub(crate) session: SessionId,
    /// The session is there for this call alone.
    pub(crate) guest: Option<Guest>,
    /// The client's id, raw.
    pub(crate) client_id: Bytes,
    /// The client's progress token, raw.
    pub(crate) client_token: Option<Bytes>,
    /// With our id and token and a newline.
    pub(crate) line: Bytes,
    /// It is answered when its client has heard enough, which nobody calls late.
    pub(crate) endless: bool,
    pub(crate) reply: oneshot::Sender<First>,
}

/// A client without a session: each of its requests says itself what a handshake would have said.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    /// The object of its capabilities, raw.
    pub(crate) capabilities: Bytes,
    /// It wants to hear what the server logs meanwhile.
    pub(crate) logs: bool,
}

/// The first thing a client hears of its request.
#[derive(Debug)]
pub(crate) enum First {
    Response(Bytes),
    Stream(MessageStream),
    Refused(Refusal),
    /// The server can have received it, and did not say anything; the error that says so.
    Lost(Bytes),
}

/// Why a call was not taken. The server has seen nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No process answers, or it ended before the call was written: wait and ask again.
    NotReady,
    UnknownSession,
    DuplicateId,
    TooManyCalls,
    TooManyCallsOfSession,
    /// The server does not read what was written to it.
    Backlog,
}

/// A request in our own name.
pub(crate) struct HouseCall {
    pub(crate) id: u64,
    pub(crate) line: Bytes,
    /// Whether the server may ask something in its course. Then a question of the server's is not surely about a
    /// client's call.
    pub(crate) may_ask: bool,
    pub(crate) reply: oneshot::Sender<HouseAnswer>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum HouseAnswer {
    /// The raw `result`.
    Result(Bytes),
    /// The raw `error`.
    Error(Bytes),
    Lost {
        may_have_executed: bool,
    },
    Refused(Refusal),
}

/// What the start-up asks while the server is not ready yet. Of no effect when the connection is another by then.
pub(crate) struct Aside {
    pub(crate) turn: u64,
    pub(crate) what: AsideKind,
}

pub(crate) enum AsideKind {
    Call(HouseCall),
    Notify(Bytes),
    /// It has come up, and there is nobody yet to greet it.
    Expect,
}
