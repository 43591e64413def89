//! Clients of the stateless version (2026-07-28): there is no handshake and no session, each request says itself what it
//! needs to be understood.
//!
//! | the server | what becomes of a request |
//! |---|---|
//! | answers `server/discover` | it is passed on as it is, its answer too |
//! | does not | it is one call of a guest, made into what the server knows ([`translate`]) |
//!
//! Either way the process is the one that all share, and whoever hangs up has cancelled.

mod ask;
mod check;
mod guest;
pub(crate) mod header;
mod listen;
mod translate;

pub(crate) use self::ask::Held;
pub(crate) use self::check::Asked;
pub use self::check::Claims;
use super::Door;
use super::member::Member;
use super::own::ONLY_SESSIONS;
use super::repeat::Attempts;
use super::table::Table;
use crate::envelope::{Kind, Message};
use crate::json::{self, member};
use crate::upstream::stateless::offers;
use crate::{CallError, PostReply, rpc};
use bytes::Bytes;
use dtma_core::id::RunKey;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The prefix of the protocol's own names in `_meta`.
pub(crate) const PREFIX: &str = "io.modelcontextprotocol/";
/// How long a server may take to say that it knows the stateless version.
const DISCOVERING: Duration = Duration::from_secs(3);

impl Door {
    /// What a client of the stateless version sent by POST, and what the request's headers claim of it. Dropping the
    /// future or the stream cancels the call. Which status goes with the reply, [`stateless_status`] says.
    pub async fn post_stateless(&self, claims: &Claims, body: Bytes) -> PostReply {
        let message = match Message::read(body, self.inner.parts.limits.message) {
            Ok(message) => message,
            Err(problem) => return PostReply::Refused(rpc::unreadable(&problem)),
        };
        match message.kind() {
            Kind::Request if super::post::too_long(&message) => {
                super::post::refuse(&message, "its id or progress token is too long")
            }
            Kind::Request => match Asked::check(claims, &message, |tool| self.listed(tool)) {
                Ok(asked) => self.answered(&asked, &message).await,
                Err(fault) => fault.reply(&message),
            },
            // Nobody waits for one: cancelling is done by hanging up, answers come with the next request.
            Kind::Notification | Kind::Response => PostReply::Accepted,
        }
    }

    pub(crate) fn listed(&self, tool: &str) -> Option<Bytes> {
        let listed = self.table().listed(None, tool).into_iter().next();
        listed.or_else(|| self.remembered_tool(tool))
    }

    async fn answered(&self, asked: &Asked, message: &Message) -> PostReply {
        let id = message.raw(message.envelope.id).unwrap_or(b"null");
        if let Some(held) = asked.state.as_ref().and_then(|state| self.inner.held.take(state)) {
            return self.go_on(held, asked, id).await;
        }
        if self.serves_sessions_only() {
            return PostReply::Body(rpc::error(Some(id), rpc::code::INVALID_REQUEST, ONLY_SESSIONS));
        }
        if let Some(reply) = self.recalled(asked, message).await {
            return reply;
        }
        let deadline = self.patience();
        let mut attempts = Attempts::at(message);
        loop {
            let seat = match self.until(deadline, |table: &mut Table| table.seat()).await {
                Ok(_) if Instant::now() >= deadline => {
                    let keeps_ending = super::post::not_up(id, "its processes keep ending");
                    return attempts.in_the_end(PostReply::Body(keeps_ending));
                }
                Ok(seat) => seat,
                Err(unserved) => return attempts.in_the_end(unserved.reply(id)),
            };
            let done = match self.is_stateless(&seat).await {
                true => self.passed(&seat, asked, message, &mut attempts).await,
                false => self.translated(&seat, asked, message, &mut attempts).await,
            };
            if let Some(reply) = done {
                return reply;
            }
        }
    }

    /// Passes it on as it is. `None`: it may be made at the next process.
    async fn passed(
        &self,
        member: &Arc<Member>,
        asked: &Asked,
        message: &Message,
        attempts: &mut Attempts<'_>,
    ) -> Option<PostReply> {
        self.gated(message, async || {
            let call = self.guest_call(member, asked, message, attempts).await?;
            Some(call.reply())
        })
        .await
    }

    /// Whether the present process of a member takes requests of the stateless version beside the others. Asked once,
    /// when the first client needs to know.
    async fn is_stateless(&self, member: &Arc<Member>) -> bool {
        let run = member.handle.state().borrow().run().cloned();
        let Some(run) = run else { return false };
        let mut known = member.stateless.lock().await;
        if let Some((of, takes)) = &*known
            && *of == run
        {
            return *takes;
        }
        let params = format!(r#"{{"_meta":{{{}}}}}"#, rpc::introduction("{}").trim_end_matches(','));
        let answer = member.handle.call_now("server/discover", Some(params.as_bytes()), DISCOVERING).await;
        let takes = match answer {
            Ok(result) => offers(&result),
            Err(CallError::Rpc { .. } | CallError::Timeout { .. }) => false,
            // It was not asked, or ended: that says nothing of what it takes.
            Err(_) => return false,
        };
        *known = Some((run, takes));
        takes
    }
}

/// What is known of a member's process: which, and whether it takes requests of the stateless version.
pub(crate) type Known = tokio::sync::Mutex<Option<(RunKey, bool)>>;

/// The status of HTTP that goes with a reply to a client of the stateless version.
pub fn stateless_status(reply: &PostReply) -> StatusCode {
    let code = |response| member(member(response, "error")?, "code").and_then(json::read::<i64>);
    match reply {
        PostReply::Accepted => StatusCode::ACCEPTED,
        PostReply::Body(body) | PostReply::Refused(body) => match code(body) {
            Some(rpc::code::METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
            Some(
                rpc::code::HEADER_MISMATCH | rpc::code::MISSING_CAPABILITY | rpc::code::UNSUPPORTED_VERSION,
            ) => StatusCode::BAD_REQUEST,
            _ if matches!(reply, PostReply::Refused(_)) => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        },
        PostReply::Opened { .. } | PostReply::Stream(_) => StatusCode::OK,
        // There are none in this version.
        PostReply::UnknownSession => StatusCode::NOT_FOUND,
        PostReply::Closed | PostReply::Crowded { .. } => StatusCode::SERVICE_UNAVAILABLE,
    }
}
