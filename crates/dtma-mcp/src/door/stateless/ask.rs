//! What a server of the handshake era asks in the course of a call, for a client of the stateless version: the question is
//! the answer (`input_required`), the call is held, and the client's next request goes on with it.

use super::Asked;
use super::guest::Ongoing;
use super::translate::Shape;
use crate::door::Door;
use crate::envelope::{Kind, Message};
use crate::json::member;
use crate::rpc::{self, code};
use crate::splice::Edit;
use crate::{MessageStream, PostReply};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Calls that may wait for answers; beyond, the one that waited longest is cancelled.
const MOST: usize = 256;
/// How long a call waits for its client to come back.
const PATIENCE: Duration = Duration::from_secs(600);
/// How the question is called towards the client. There is one at a time.
const KEY: &str = "request";

/// The calls of one door that wait for answers, by what their clients were given.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<HashMap<String, Waits>>>);

/// A call that waits.
pub(crate) struct Waits {
    call: Ongoing,
    shape: Shape,
    /// The id of the question, raw.
    question: Bytes,
    /// The question without its envelope, raw.
    asked: Bytes,
    since: Instant,
}

impl Held {
    fn table(&self) -> MutexGuard<'_, HashMap<String, Waits>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self, state: &str) -> Option<Waits> {
        self.table().remove(state)
    }

    /// What the client has to bring along.
    fn put(&self, waits: Waits) -> String {
        let state = format!("dtma-{}", Uuid::new_v4().simple());
        // Dropped after the lock: a call that is dropped tells its owner.
        let mut late = Vec::new();
        let mut table = self.table();
        late.extend(table.extract_if(|_, held| held.since.elapsed() > PATIENCE));
        if table.len() >= MOST {
            let oldest = table.iter().min_by_key(|(_, held)| held.since).map(|(state, _)| state.clone());
            late.extend(oldest.and_then(|state| table.remove_entry(&state)));
        }
        table.insert(state.clone(), waits);
        drop(table);
        state
    }
}

impl Door {
    /// The messages of a call up to its response, or up to a question, which is a response, too.
    pub(super) fn asking(&self, call: Ongoing, id: &[u8], shape: Shape) -> PostReply {
        let state = (Some((call, shape)), self.inner.held.clone(), Bytes::copy_from_slice(id));
        let limit = self.inner.parts.limits.message;
        let messages = stream::unfold(state, move |(call, held, id)| async move {
            let (mut call, shape) = call?;
            loop {
                let text = call.next().await?;
                let Ok(message) = Message::read(text, limit) else { continue };
                match message.kind() {
                    Kind::Notification if message.is("notifications/message") && !shape.wants(&message) => {}
                    Kind::Notification => return Some((message.text, (Some((call, shape)), held, id))),
                    Kind::Response => {
                        let edit = message.envelope.id.map(|at| Edit { at, text: &id });
                        let text = message.to_text(&mut edit.into_iter().collect::<Vec<_>>());
                        // Also so that the call is known to be over.
                        let _end = call.next().await;
                        return Some((shape.response(text), (None, held, id)));
                    }
                    Kind::Request => {
                        let answer = question(&held, call, shape, &message, &id);
                        return Some((answer, (None, held, id)));
                    }
                }
            }
        });
        PostReply::Stream(MessageStream::merged(messages.boxed()))
    }

    /// The client is back.
    pub(super) async fn go_on(&self, waits: Waits, asked: &Asked, id: &[u8]) -> PostReply {
        let answer = asked.responses.as_deref().and_then(|responses| member(responses, KEY));
        let Some(answer) = answer.filter(|answer| answer.starts_with(b"{")) else {
            return PostReply::Body(again(&self.inner.held, waits, id));
        };
        let response = Message::read(rpc::result(&waits.question, answer), self.inner.parts.limits.message);
        let Ok(response) = response else {
            let why = "the answer is too long";
            return PostReply::Body(rpc::error(Some(id), code::INVALID_PARAMS, why));
        };
        let Waits { call, shape, .. } = waits;
        match call.member.handle.notice(call.session, response).await {
            Ok(_) => self.asking(call, id, shape),
            Err(_) => PostReply::Closed,
        }
    }
}

fn question(held: &Held, call: Ongoing, shape: Shape, message: &Message, id: &[u8]) -> Bytes {
    let part = |part| message.raw(part).unwrap_or(b"null");
    let (method, params) =
        (part(message.envelope.method), message.raw(message.envelope.params).unwrap_or(b"{}"));
    let asked = [br#"{"method":"#, method, br#","params":"#, params, b"}"].concat().into();
    let question = Bytes::copy_from_slice(part(message.envelope.id));
    again(held, Waits { call, shape, question, asked, since: Instant::now() }, id)
}

/// The question as an answer to that request.
fn again(held: &Held, waits: Waits, id: &[u8]) -> Bytes {
    let (asked, shape) = (waits.asked.clone(), waits.shape.clone());
    let state = held.put(waits);
    let requests =
        [br#"{"resultType":"input_required","inputRequests":{""#, KEY.as_bytes(), br#"":"#, &asked].concat();
    let result = [&requests[..], br#"},"requestState":""#, state.as_bytes(), br#""}"#].concat();
    rpc::result(id, &shape.result(&result))
}
