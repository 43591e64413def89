//! By which way a client's request reaches a server: in the session that the client has there, or without any, as
//! clients of the stateless version come.

use super::members::Member;
use super::sessions::{Session, request};
use crate::json::member;
use crate::{Claims, PostReply, rpc};
use bytes::Bytes;
use std::sync::Arc;

/// Who asks.
#[derive(Clone)]
pub(super) enum Way {
    Session(Arc<Session>),
    Guest(Guest),
}

/// One without a session.
#[derive(Clone)]
pub(super) struct Guest {
    /// What the headers of its request claim.
    pub(super) claims: Claims,
    /// What its request says beside its parameters (`_meta`), raw.
    pub(super) meta: Bytes,
}

/// A request for one server.
pub(super) struct Ask<'a> {
    /// As the client gave it, raw.
    pub(super) id: &'a [u8],
    pub(super) method: &'a str,
    /// The tool, prompt or resource that it names, as its server knows it.
    pub(super) name: Option<&'a str>,
    pub(super) text: Bytes,
}

impl Way {
    /// Asks a server. One that is gone is an error answer: the others are there.
    pub(super) async fn ask(&self, at: &Member, ask: &Ask<'_>) -> PostReply {
        let reply = match self {
            Self::Session(session) => in_session(session, at, ask).await,
            Self::Guest(guest) => guest.ask(at, ask).await,
        };
        match reply {
            PostReply::Closed | PostReply::UnknownSession => {
                PostReply::Body(rpc::lost(ask.id, &format!("the server {} is gone", at.name), false))
            }
            reply => reply,
        }
    }

    /// A request of our own in that client's name, `params` without their braces.
    pub(super) fn text(&self, id: &[u8], method: &str, params: &str) -> Bytes {
        let meta = match self {
            Self::Session(_) => String::new(),
            Self::Guest(guest) => format!("\"_meta\":{}", String::from_utf8_lossy(&guest.meta)),
        };
        let comma = if meta.is_empty() || params.is_empty() { "" } else { "," };
        request(id, method, format!("{{{meta}{comma}{params}}}").as_bytes())
    }

    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Session(session) => Some(session),
            Self::Guest(_) => None,
        }
    }
}

/// A seat that was lost is taken again, once.
async fn in_session(session: &Session, at: &Member, ask: &Ask<'_>) -> PostReply {
    for _ in 0..2 {
        let seat = match session.sit(at).await {
            Ok(seat) => seat,
            Err(why) => return PostReply::Body(rpc::lost(ask.id, &format!("{}: {why}", at.name), false)),
        };
        match at.door.post(Some(&seat), ask.text.clone()).await {
            PostReply::UnknownSession => session.stand_up(at, &seat),
            reply => return reply,
        }
    }
    PostReply::UnknownSession
}

impl Guest {
    pub(super) fn new(claims: Claims, params: &[u8]) -> Self {
        let meta = member(params, "_meta").unwrap_or(b"{}");
        Self { claims, meta: Bytes::copy_from_slice(meta) }
    }

    /// The same claims about what that server is asked.
    pub(super) fn claims(&self, method: &str, name: Option<&str>) -> Claims {
        let (method, name) = (Some(method.to_owned()), name.map(str::to_owned));
        Claims { method, name, ..self.claims.clone() }
    }

    async fn ask(&self, at: &Member, ask: &Ask<'_>) -> PostReply {
        at.door.post_stateless(&self.claims(ask.method, ask.name), ask.text.clone()).await
    }
}
