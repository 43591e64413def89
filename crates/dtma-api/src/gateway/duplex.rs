//! A session on one ordered stream, as HTTP+SSE and WebSocket have it: what a client says goes in one message at a
//! time, everything that is said to it comes out of one place in its order.
//!
//! The session ends with its stream, so the store never hears of it. What waits is bounded by what the server's door
//! lets be in flight: nothing is taken from there before the client took what came before. How messages are framed and
//! when a client counts as gone is left to the two doors.

use super::access::{self, Reached};
use super::target::{Entrance, Target};
use crate::app::App;
use crate::auth::Caller;
use crate::calls::By;
use crate::error::ApiError;
use crate::metrics::GatewayOutcome;
use bytes::Bytes;
use dtma_mcp::demand::{too_often, unanswerable};
use dtma_mcp::{MessageStream, PostReply, SessionError, SessionId};
use futures_util::future::{BoxFuture, FutureExt, poll_immediate};
use futures_util::stream::{self, BoxStream, FuturesUnordered, SelectAll, Stream, StreamExt};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages on their way to the server; beyond, nothing more is read from the client until one is answered. The server's
/// door refuses earlier ([`calls_per_session`](dtma_mcp::Limits::calls_per_session)).
const IN_FLIGHT: usize = 1024;

/// Messages handed over and not looked at yet, because the client does not take what is said to it.
const HANDED_OVER: usize = 64;

/// So many messages that belong to no call may go before an answer that is there.
const IN_A_ROW: u8 = 32;

/// Between two tries to listen to a server that nobody serves at the moment.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

/// After a session went to another member: whatever may be wrong there, nobody listens in a loop without a pause.
const PAUSE: Duration = Duration::from_millis(10);

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client left.
    Left,
    /// The session made way for another one.
    Lost,
    /// The server was removed.
    Closed,
    /// The client shook hands a second time.
    Twice,
    /// The client does not take what is said to it.
    Slow,
    /// Nothing of the server is granted to the client any more.
    Ungranted,
    /// The client's token opens nothing any more.
    Revoked,
    /// The daemon ends.
    Shutdown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "the client left",
            Self::Lost => "the session made way for another; connect again",
            Self::Closed => "the server was removed",
            Self::Twice => "initialize came a second time",
            Self::Slow => "what was said was not read in time",
            Self::Ungranted => "nothing of this server is granted to this token any more",
            Self::Revoked => "the token is none any more",
            Self::Shutdown => "the daemon ends; connect again",
        })
    }
}

/// A message of a client's on its way.
pub(super) enum Posted {
    /// It was answered at once.
    Answered(PostReply),
    /// The server has it, or will when its turn comes.
    Awaited(BoxFuture<'static, PostReply>),
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub(super) struct Line {
    app: App,
    target: Target,
    door: Entrance,
    caller: Caller,
    by: By,
    session: Arc<OnceLock<SessionId>>,
}

impl Line {
    /// Both ends of a stream with this server, or with all of a group.
    pub(super) fn new(
        app: &App,
        target: Target,
        door: &Entrance,
        caller: Caller,
        by: By,
    ) -> (Self, mpsc::Sender<Posted>, Told) {
        let (sender, posted) = mpsc::channel(HANDED_OVER);
        let (door, session) = (door.passing(), Arc::default());
        let line = Self { app: app.clone(), target, door, caller, by, session };
        (line.clone(), sender, Told::new(line, posted))
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn is_open(&self) -> bool {
        self.session.get().is_some()
    }

    /// Sends a message. It has its place in the order when this returns; what becomes of it is to be handed over.
    pub(super) async fn post(&self, message: Bytes, reached: &Reached) -> Posted {
        let (door, session) =
            (access::limited(&self.door, reached), self.session.get().map(ToString::to_string));
        let call = self.app.calls().asked(&self.caller, &self.target, self.by, &message);
        let call = call.called(door.naming());
        if let Err(wait) = access::charge(&self.app, &door, reached, &message) {
            let error = ApiError::TooMany("calls", wait);
            call.barred(error.code());
            return Posted::Answered(too_often(&message, &error.message(), wait));
        }
        if let Err(error) = self.door.answers(&self.app)
            && let Some(refused) = unanswerable(&message, &error.message())
        {
            call.barred(error.code());
            return Posted::Answered(refused);
        }
        let mut reply = async move { call.answered(door.post(session.as_deref(), message).await) }.boxed();
        match poll_immediate(&mut reply).await {
            Some(reply) => Posted::Answered(reply),
            None => Posted::Awaited(reply),
        }
    }

    /// What its client may reach now.
    pub(super) fn reached(&self) -> Result<Reached, ApiError> {
        access::reached(&self.app, &self.caller, &self.target)
    }

    /// Notes that a message was not passed on.
    pub(super) fn barred(&self, message: &Bytes, error: &ApiError) {
        self.app.calls().asked(&self.caller, &self.target, self.by, message).barred(error.code());
    }

    /// Ends when its client may not reach any more what it could, and says why.
    pub(super) fn over(&self) -> BoxFuture<'static, End> {
        access::over(self.app.clone(), self.caller.clone(), self.target.clone()).boxed()
    }

    pub(super) fn count(&self, outcome: GatewayOutcome) {
        self.app.metrics().gateway(&self.target, outcome);
    }

    /// What the server says that belongs to no call, wherever the session lives. It ends with the session.
    fn listen(&self, session: SessionId) -> BoxStream<'static, Bytes> {
        let first = (self.door.clone(), session.to_string(), Duration::ZERO);
        let streams = stream::unfold(first, |(door, session, pause)| async move {
            tokio::time::sleep(pause).await;
            let stream = listen(&door, &session).await.ok()?;
            Some((stream, (door, session, PAUSE)))
        });
        streams.flatten().boxed()
    }
}

async fn listen(door: &Entrance, session: &str) -> Result<MessageStream, SessionError> {
    loop {
        match door.listen(session).await {
            // Nobody serves, or nobody ever will: only in the second case the session is lost.
            Err(SessionError::Closed) => door.session(session).await?,
            listening => return listening,
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

/// The way out.
pub(super) struct Told {
    line: Line,
    posted: mpsc::Receiver<Posted>,
    awaited: FuturesUnordered<BoxFuture<'static, PostReply>>,
    answers: SelectAll<MessageStream>,
    heard: Option<BoxStream<'static, Bytes>>,
    in_a_row: u8,
    /// Opened by a client that shook hands twice.
    surplus: Option<SessionId>,
}

impl Told {
    fn new(line: Line, posted: mpsc::Receiver<Posted>) -> Self {
        let (awaited, answers) = (FuturesUnordered::new(), SelectAll::new());
        Self { line, posted, awaited, answers, heard: None, in_a_row: 0, surplus: None }
    }

    /// The next message for the client. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Bytes, End> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// What belongs to no call goes first, for it was said before the answers that are there by now; a flood of it
    /// holds no answer up.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
        if self.in_a_row < IN_A_ROW
            && let Poll::Ready(heard) = self.poll_heard(cx)
        {
            self.in_a_row += 1;
            return Poll::Ready(heard);
        }
        self.in_a_row = 0;
        match self.poll_answers(cx) {
            Poll::Pending => self.poll_heard(cx),
            answer @ Poll::Ready(_) => answer,
        }
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
        let Some(heard) = &mut self.heard else { return Poll::Pending };
        heard.as_mut().poll_next(cx).map(|message| message.ok_or(End::Lost))
    }

    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
        loop {
            if let Poll::Ready(Some(message)) = Pin::new(&mut self.answers).poll_next(cx) {
                return Poll::Ready(Ok(message));
            }
            let reply = match Pin::new(&mut self.awaited).poll_next(cx) {
                Poll::Ready(Some(reply)) => reply,
                Poll::Ready(None) | Poll::Pending if self.awaited.len() >= IN_FLIGHT => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => match std::task::ready!(self.posted.poll_recv(cx)) {
                    Some(Posted::Answered(reply)) => reply,
                    Some(Posted::Awaited(reply)) => {
                        self.awaited.push(reply);
                        continue;
                    }
                    None => return Poll::Ready(Err(End::Left)),
                },
            };
            if let Some(told) = self.take(reply) {
                return Poll::Ready(told);
            }
        }
    }

    fn take(&mut self, reply: PostReply) -> Option<Result<Bytes, End>> {
        let (outcome, told) = match reply {
            PostReply::Opened { session, body } => (GatewayOutcome::Opened, self.opened(session, body)),
            PostReply::Accepted => (GatewayOutcome::Accepted, None),
            PostReply::Body(body) => (GatewayOutcome::Answered, Some(Ok(body))),
            PostReply::Refused(body) | PostReply::Crowded { body, .. } => {
                (GatewayOutcome::Refused, Some(Ok(body)))
            }
            PostReply::Stream(messages) => {
                self.answers.push(messages);
                (GatewayOutcome::Streamed, None)
            }
            PostReply::UnknownSession => (GatewayOutcome::UnknownSession, Some(Err(End::Lost))),
            PostReply::Closed => (GatewayOutcome::Closed, Some(Err(End::Closed))),
        };
        self.line.count(outcome);
        told
    }

    fn opened(&mut self, session: SessionId, body: Bytes) -> Option<Result<Bytes, End>> {
        if self.line.session.set(session).is_err() {
            self.surplus = Some(session);
            return Some(Err(End::Twice));
        }
        self.heard = Some(self.line.listen(session));
        Some(Ok(body))
    }

    /// Ends the session. One that is being opened is ended as soon as it is there.
    pub(super) async fn finish(mut self, end: End) {
        tracing::debug!(server = %self.line.target, %end, "a client's stream ended");
        let open = self.line.session.get().copied();
        let sessions = if open.is_some() { vec![open, self.surplus] } else { self.opening().await };
        for session in sessions.into_iter().flatten() {
            // One that is not there any more is closed.
            let _unknown = self.line.door.close_session(&session.to_string()).await;
            self.line.app.metrics().session_closed(&self.line.target);
        }
    }

    /// What comes of the handshakes under way.
    async fn opening(&mut self) -> Vec<Option<SessionId>> {
        self.posted.close();
        while let Some(posted) = self.posted.recv().await {
            match posted {
                Posted::Awaited(reply) => self.awaited.push(reply),
                Posted::Answered(_) => {}
            }
        }
        let mut sessions = Vec::new();
        while let Some(reply) = self.awaited.next().await {
            if let PostReply::Opened { session, .. } = reply {
                sessions.push(Some(session));
            }
        }
        sessions
    }
}
