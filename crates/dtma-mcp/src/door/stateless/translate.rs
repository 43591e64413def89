//! A server of the handshake era for clients of the stateless version: its results get what they need there, what it said
//! in its handshake answers `server/discover`, and what it asks becomes part of an answer ([`super::ask`]).

use super::{Asked, PREFIX};
use crate::door::Door;
use crate::door::member::Member;
use crate::door::repeat::Attempts;
use crate::door::stateless::guest::Begun;
use crate::envelope::Message;
use crate::json::{self, Span, find, find_all, member, members};
use crate::rpc::{self, code};
use crate::splice::{Edit, splice, with_members};
use crate::wish::rank;
use crate::{Greeting, PostReply, version};
use bytes::Bytes;
use std::sync::Arc;

/// Methods whose results say how long they hold. Nobody knows: no longer than now, and for nobody else.
const CACHED: [&str; 6] = [
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
];
const HOLDS: &str = r#""ttlMs":0,"cacheScope":"private","#;
/// What a server of the handshake era answers for a resource that is not there.
const NO_RESOURCE: i64 = -32002;

impl Door {
    /// What a server of the handshake era that rests would answer, where that is known. `None`: it has to be asked, or
    /// nobody knows of which era it is.
    pub(super) async fn recalled(&self, asked: &Asked, message: &Message) -> Option<PostReply> {
        let known = self.known().filter(|_| self.lies_down() && self.is_of_handshakes())?;
        let result = match asked.method.as_str() {
            "server/discover" => discovered(&known.greeting).into(),
            _ => self.remembered(message)?,
        };
        let id = message.raw(message.envelope.id).unwrap_or(b"null");
        let shape = Shape::new(&known.greeting, &asked.method, None);
        let body = rpc::result(id, &shape.result(&result));
        self.gated(message, async || Some(PostReply::Body(body))).await
    }

    /// Whether its processes are known to take no requests of the stateless version.
    fn is_of_handshakes(&self) -> bool {
        let table = self.table();
        let takes =
            |member: &Arc<Member>| member.stateless.try_lock().ok()?.as_ref().map(|(_, takes)| *takes);
        !table.serving.is_empty() && table.serving.iter().all(|member| takes(member) == Some(false))
    }

    /// `None`: it may be made at the next process.
    pub(super) async fn translated(
        &self,
        member: &Arc<Member>,
        asked: &Asked,
        message: &Message,
        attempts: &mut Attempts<'_>,
    ) -> Option<PostReply> {
        let greeting = member.handle.state().borrow().ready().map(|ready| Arc::clone(&ready.greeting))?;
        let id = message.raw(message.envelope.id).unwrap_or(b"null");
        let shape = Shape::new(&greeting, &asked.method, asked.log_level.clone());
        match asked.method.as_str() {
            "server/discover" => {
                Some(PostReply::Body(rpc::result(id, &shape.result(&discovered(&greeting)))))
            }
            "subscriptions/listen" => self.subscription(member, message, &greeting).await,
            _ if asked.state.is_some() => {
                let why = "this requestState is of no call that waits for an answer";
                Some(PostReply::Body(rpc::error(Some(id), code::INVALID_PARAMS, why)))
            }
            _ => {
                let plain = without_envelope(message);
                let call = async || {
                    Some(match self.guest_call(member, asked, &plain, attempts).await? {
                        Begun::Over(PostReply::Body(body)) => PostReply::Body(shape.response(body)),
                        Begun::Over(reply) => reply,
                        Begun::Streams(call) => self.asking(call, id, shape.clone()),
                    })
                };
                self.gated(message, call).await
            }
        }
    }
}

/// The request without what a server of the handshake era was told in its handshake; one that knows the other era
/// refuses it.
fn without_envelope(message: &Message) -> Message {
    let params = message.raw(message.envelope.params).unwrap_or_default();
    let Some(meta) = find(params, "_meta") else { return message.clone() };
    let plain = json::without(meta.of(params), |name| name.starts_with(PREFIX));
    let params = splice(params, &mut [Edit { at: meta, text: &plain }], 0);
    let edit = message.envelope.params.map(|at| Edit { at, text: &params });
    let text: Bytes = splice(&message.text, &mut edit.into_iter().collect::<Vec<_>>(), 0).into();
    let limit = text.len();
    Message::read(text, limit).unwrap_or_else(|_| message.clone())
}

/// What the server said of itself.
fn discovered(greeting: &Greeting) -> Vec<u8> {
    let versions = format!("[{}]", rpc::quoted(version::STATELESS));
    let [capabilities, instructions] = members(&greeting.raw, ["capabilities", "instructions"]);
    let capabilities = capabilities.unwrap_or(b"{}");
    let mut out =
        [br#"{"supportedVersions":"#, versions.as_bytes(), br#","capabilities":"#, capabilities].concat();
    if let Some(instructions) = instructions {
        out.extend_from_slice(br#","instructions":"#);
        out.extend_from_slice(instructions);
    }
    out.push(b'}');
    out
}

/// What is added to the answers of a call.
#[derive(Clone)]
pub(super) struct Shape {
    /// `"key":value,` of the server, raw.
    server: Arc<str>,
    method: Arc<str>,
    log_level: Option<String>,
}

impl Shape {
    fn new(greeting: &Greeting, method: &str, log_level: Option<String>) -> Self {
        let info = member(&greeting.raw, "serverInfo").map(String::from_utf8_lossy);
        let server = info.map(|info| format!(r#""{PREFIX}serverInfo":{info}"#)).unwrap_or_default();
        Self { server: server.into(), method: method.into(), log_level }
    }

    /// Whether a log message is one that the client wants to hear of.
    pub(super) fn wants(&self, log: &Message) -> bool {
        let params = log.raw(log.envelope.params).unwrap_or_default();
        let level = member(params, "level").and_then(json::read::<String>);
        let wanted = self.log_level.as_deref().and_then(rank);
        wanted.is_some_and(|wanted| level.as_deref().and_then(rank).is_none_or(|level| level >= wanted))
    }

    /// A whole response.
    pub(super) fn response(&self, text: Bytes) -> Bytes {
        match find_all(&text, ["result", "error"]) {
            [Some(at), _] => {
                let result = self.result(at.of(&text));
                splice(&text, &mut [Edit { at, text: &result }], 0).into()
            }
            [None, Some(at)] => self.error(&text, at),
            [None, None] => text,
        }
    }

    fn error(&self, text: &Bytes, error: Span) -> Bytes {
        let code = find(error.of(text), "code")
            .filter(|at| at.of(error.of(text)) == NO_RESOURCE.to_string().as_bytes());
        let Some(code) = code.filter(|_| &*self.method == "resources/read") else { return text.clone() };
        let at = Span { start: error.start + code.start, end: error.start + code.end };
        let now = code::INVALID_PARAMS.to_string();
        splice(text, &mut [Edit { at, text: now.as_bytes() }], 0).into()
    }

    /// A result with what this version wants of every one.
    pub(super) fn result(&self, result: &[u8]) -> Vec<u8> {
        let mut front = String::new();
        let [kind, lifetime, meta] = find_all(result, ["resultType", "ttlMs", "_meta"]);
        if kind.is_none() {
            front.push_str(r#""resultType":"complete","#);
        }
        if CACHED.contains(&&*self.method) && lifetime.is_none() {
            front.push_str(HOLDS);
        }
        if self.server.is_empty() {
            return with_members(result, &front);
        }
        let Some(at) = meta.filter(|at| at.of(result).starts_with(b"{")) else {
            front.push_str(&format!(r#""_meta":{{{}}},"#, self.server));
            return with_members(result, &front);
        };
        let meta = with_members(at.of(result), &format!("{},", self.server));
        with_members(&splice(result, &mut [Edit { at, text: &meta }], 0), &front)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(method: &str) -> Shape {
        let raw = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}"#;
        Shape::new(&Greeting::read(Bytes::from(raw)).unwrap(), method, None)
    }

    #[track_caller]
    fn check(method: &str, response: &str, expected: &str) {
        let shaped = shape(method).response(Bytes::copy_from_slice(response.as_bytes()));
        assert_eq!(String::from_utf8(shaped.into()).unwrap(), expected);
    }

    #[test]
    fn a_request_loses_what_belongs_to_the_version_and_nothing_else() {
        let text = r#"{"id":1,"jsonrpc":"2.0","method":"x","params":{"n":1.0,"_meta":{"progressToken":"t","io.modelcontextprotocol/protocolVersion":"v", "io\u002emodelcontextprotocol/x":{},"own" : 2.0}}}"#;
        let message = Message::read(Bytes::from(text), text.len()).unwrap();
        let plain = without_envelope(&message);
        let expected = r#"{"id":1,"jsonrpc":"2.0","method":"x","params":{"n":1.0,"_meta":{"progressToken":"t","own":2.0}}}"#;
        assert_eq!(plain.text, expected);
        let bare = Bytes::from(r#"{"id":1,"jsonrpc":"2.0","method":"x"}"#);
        assert_eq!(without_envelope(&Message::read(bare.clone(), 99).unwrap()).text, bare);
    }

    #[test]
    fn results_get_what_the_version_wants_and_keep_what_they_have() {
        let info = r#""io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}"#;
        check(
            "tools/call",
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            &format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"complete","_meta":{{{info}}}}}}}"#),
        );
        check(
            "tools/list",
            r#"{"result":{ "tools":[1.0], "_meta":{"x":1}},"id":"a"}"#,
            &format!(
                r#"{{"result":{{"resultType":"complete","ttlMs":0,"cacheScope":"private", "tools":[1.0], "_meta":{{{info},"x":1}}}},"id":"a"}}"#
            ),
        );
        let error = r#"{"id":1,"error":{"code":-32002,"message":"no"}}"#;
        check("tools/call", error, error);
        check("resources/read", error, &error.replace("-32002", "-32602"));
    }
}
