//! A request whose process ended before it answered, and which may be made again without its client's doing.
//!
//! That is done once, and only where doing it twice is as good as once: what the protocol itself only reads, and tools that
//! say so of themselves (`readOnlyHint`, `idempotentHint`). Everybody else is told that it may have been executed, and so
//! is a client that heard something in the course of its call already.

use crate::envelope::Message;
use crate::json::{self, member, members};
use crate::server::post::{Passed, Prepared};
use crate::{PostReply, Ready, ServerHandle};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Methods that only read.
const READING: [&str; 7] = [
    "tools/list",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
];

/// How long a process whose connection broke is given until it is seen to have ended.
const ENDING: Duration = Duration::from_secs(1);

/// The attempts at one request.
pub(crate) struct Attempts<'a> {
    request: &'a Message,
    /// What the client would have been told after the first, whose process was lost.
    lost: Option<Bytes>,
}

/// What became of one attempt.
pub(crate) enum Attempted {
    /// This goes back to the client.
    Reply(PostReply),
    /// It may be made at the next process.
    Again,
    /// The session is not there.
    Unknown,
}

impl<'a> Attempts<'a> {
    pub(crate) fn at(request: &'a Message) -> Self {
        Self { request, lost: None }
    }

    pub(crate) async fn make(&mut self, handle: &ServerHandle, prepared: &Prepared) -> Attempted {
        let asked = handle.ready();
        match handle.request(prepared).await {
            Passed::Reply(reply) => Attempted::Reply(reply),
            Passed::Refused(reply) => Attempted::Reply(self.in_the_end(reply)),
            Passed::NotReady => Attempted::Again,
            Passed::Unknown => Attempted::Unknown,
            Passed::Lost(error) if self.lost.is_none() && is_repeatable(asked.as_deref(), self.request) => {
                tracing::info!(server = %handle.instance(), "a request of a lost process is made again");
                ended(handle, asked).await;
                self.lost = Some(error);
                Attempted::Again
            }
            Passed::Lost(error) => Attempted::Reply(PostReply::Body(error)),
        }
    }

    /// What a client is told whose request nobody takes any more.
    pub(crate) fn in_the_end(&mut self, reply: PostReply) -> PostReply {
        match (self.lost.take(), reply) {
            (Some(lost), PostReply::Body(_)) => PostReply::Body(lost),
            (_, reply) => reply,
        }
    }
}

/// `ready`: what the server said of itself before.
fn is_repeatable(ready: Option<&Ready>, request: &Message) -> bool {
    match request.is("tools/call") {
        true => ready.is_some_and(|ready| is_harmless(ready, request.raw(request.envelope.params))),
        false => READING.iter().any(|method| request.is(method)),
    }
}

/// The same of a request of the house's own.
pub(super) fn is_repeatable_call(ready: Option<&Ready>, method: &str, params: Option<&[u8]>) -> bool {
    match method {
        "tools/call" => ready.is_some_and(|ready| is_harmless(ready, params)),
        method => READING.contains(&method),
    }
}

fn is_harmless(ready: &Ready, params: Option<&[u8]>) -> bool {
    let name = params.and_then(|params| member(params, "name")).and_then(json::read::<String>);
    let tools = ready.tools.known().iter().filter(|tool| Some(&tool.name) == name.as_ref());
    let annotations = tools.map(|tool| member(&tool.raw, "annotations").unwrap_or(b"{}"));
    // Of two tools with one name nobody knows which is called.
    let mut says = annotations.map(|annotations| {
        let hints = members(annotations, ["readOnlyHint", "idempotentHint"]);
        hints.contains(&Some(b"true"))
    });
    says.next() == Some(true) && says.next().is_none()
}

/// Waits for the end of what was asked: a connection to a port breaks before the process is known to have ended.
pub(super) async fn ended(handle: &ServerHandle, asked: Option<Arc<Ready>>) {
    let Some(asked) = asked else { return };
    let mut state = handle.state();
    let is_over = state.wait_for(|state| state.ready().is_none_or(|ready| ready.run != asked.run));
    // Not seen to end: then it is asked again as it is. A closed owner is the door's business.
    let _seen = timeout(ENDING, is_over).await;
}
