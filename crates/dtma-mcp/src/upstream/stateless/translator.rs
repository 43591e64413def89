//! What becomes of each line between a client that shakes hands and a server that does not.
//!
//! | client | server |
//! |---|---|
//! | `initialize` | refused; `server/discover` answers it |
//! | any request | with what a handshake would have said in its `_meta` |
//! | `ping` | `server/discover` |
//! | `logging/setLevel` | remembered, said with each request |
//! | `resources/subscribe`, lists that change | one `subscriptions/listen` |
//! | is asked by a request, answers it | `input_required`, and the request again with the answers |
//!
//! A request that says itself what it must is of a client without a handshake and passes as it is.

use super::form::{self, LISTS, PREFIX, announced, entries, offers, read, welcome, with_newline};
use crate::envelope::{Kind, Message};
use crate::json::{self, find, member, members};
use crate::rpc;
use crate::splice::{Edit, splice, with_members};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

/// What may be asked of a client in the course of a request.
const CAPABILITIES: &str = r#"{"sampling":{},"elicitation":{}}"#;
/// Requests that are remembered until they are answered. Beyond, what one needs of its client passes as it is.
const MOST: usize = 4096;
/// Nothing of these is for a server without a handshake.
const OURS: [&str; 3] =
    ["notifications/initialized", "notifications/roots/list_changed", "notifications/progress"];

/// Lines that follow from a line.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// To the server.
    pub(super) on: Vec<Bytes>,
    /// To whoever speaks to it.
    pub(super) back: Vec<Bytes>,
}

/// Both directions of one process.
pub(super) struct Translator {
    phase: Phase,
    /// In all ids of ours: another life of the daemon has used others.
    tag: String,
    count: u64,
    level: Option<String>,
    watched: BTreeSet<String>,
    /// Lists of which the server says that it tells when they change.
    announced: Vec<&'static str>,
    /// The subscription that counts.
    listening: Option<String>,
    /// Requests in flight that may turn out to need something of the client, by the id that it gave them.
    calls: HashMap<Bytes, Call>,
    /// Requests of ours, by their ids.
    sent: HashMap<String, Sent>,
}

enum Phase {
    /// The id of `initialize`, once that was written, and how it was refused.
    Greeting {
        id: Option<Bytes>,
        refusal: Option<Bytes>,
    },
    /// It shook hands.
    Plain,
    Stateless,
}

/// A request and the answers collected for it.
struct Call {
    request: Message,
    /// As what it was sent last, where that is not its own id.
    again: Option<String>,
    state: Option<Bytes>,
    /// What the client said so far, by the server's names.
    answers: BTreeMap<String, Bytes>,
    open: usize,
}

enum Sent {
    Discover,
    /// In place of the ping with this id.
    Ping(Bytes),
    Listen,
    /// In place of the request with this id.
    Again(Bytes),
    /// To the client: what is asked under this name for the request with this id.
    Question {
        call: Bytes,
        name: String,
    },
}

impl Translator {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Greeting { id: None, refusal: None },
            tag: Uuid::new_v4().simple().to_string().get(..8).unwrap_or_default().to_owned(),
            count: 0,
            level: None,
            watched: BTreeSet::new(),
            announced: Vec::new(),
            listening: None,
            calls: HashMap::new(),
            sent: HashMap::new(),
        }
    }

    /// In front of a process that was greeted by somebody else; `None` when it shook hands.
    pub(super) fn adopted(handshake: &str) -> Option<Self> {
        let announced = form::recalled(handshake)?;
        Some(Self { phase: Phase::Stateless, announced, ..Self::new() })
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self.phase, Phase::Plain)
    }

    /// It refused the handshake, and was asked what it is.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Greeting { refusal: Some(_), .. })
    }

    /// It does not say. Gives back how it refused the handshake.
    pub(super) fn give_up(&mut self) -> Option<Bytes> {
        match std::mem::replace(&mut self.phase, Phase::Plain) {
            Phase::Greeting { refusal, .. } => refusal,
            Phase::Plain | Phase::Stateless => None,
        }
    }

    fn next(&mut self, sent: Sent) -> String {
        self.count += 1;
        let id = format!("dtma-{}-{}", self.tag, self.count);
        self.sent.insert(id.clone(), sent);
        id
    }

    /// A line for the server.
    pub(super) fn written(&mut self, line: &Bytes, out: &mut Out) {
        let message = match read(line) {
            Ok(message) if !self.is_plain() => message,
            _ => return out.on.push(line.clone()),
        };
        if let Phase::Greeting { id, .. } = &mut self.phase {
            if message.is("initialize") {
                *id = message.raw(message.envelope.id).map(Bytes::copy_from_slice);
            }
            return out.on.push(line.clone());
        }
        match message.kind() {
            Kind::Request => self.requested(message, line, out),
            Kind::Notification => self.noted(&message, line, out),
            Kind::Response => self.responded(&message, line, out),
        }
    }

    fn requested(&mut self, message: Message, line: &Bytes, out: &mut Out) {
        let params = message.raw(message.envelope.params).unwrap_or(b"{}");
        let [meta, uri, level] = members(params, ["_meta", "uri", "level"]);
        if meta.is_some_and(|meta| member(meta, &format!("{PREFIX}protocolVersion")).is_some()) {
            return out.on.push(line.clone());
        }
        let Some(id) = message.raw(message.envelope.id).map(Bytes::copy_from_slice) else { return };
        let (uri, level) = (uri.and_then(json::read::<String>), level.and_then(json::read::<String>));
        if message.is("ping") {
            let ours = self.next(Sent::Ping(id));
            return out.on.push(self.request(&ours, "server/discover", b"{}"));
        }
        let changed = match () {
            () if message.is("logging/setLevel") => {
                self.level = level;
                false
            }
            () if message.is("resources/subscribe") => uri.is_some_and(|uri| self.watched.insert(uri)),
            () if message.is("resources/unsubscribe") => uri.is_some_and(|uri| self.watched.remove(&uri)),
            () => {
                out.on.push(self.introduced(&message));
                let may_ask = ["tools/call", "prompts/get", "resources/read"];
                if may_ask.iter().any(|method| message.is(method)) && self.calls.len() < MOST {
                    self.calls.insert(id, Call::of(message));
                }
                return;
            }
        };
        out.back.push(with_newline(&rpc::result(&id, b"{}")));
        if changed {
            self.listen(out);
        }
    }

    fn noted(&mut self, message: &Message, line: &Bytes, out: &mut Out) {
        if message.is("notifications/initialized") {
            self.listen(out);
        }
        if OURS.iter().any(|method| message.is(method)) {
            return;
        }
        let cancelled = message.envelope.request_id.filter(|_| message.is("notifications/cancelled"));
        let call = cancelled.and_then(|at| Some((at, self.forget(at.of(&message.text))?)));
        match call {
            Some((at, Call { again: Some(again), .. })) => {
                let id = rpc::quoted(&again);
                out.on.push(message.to_line(&mut [Edit { at, text: id.as_bytes() }]));
            }
            Some(_) | None => out.on.push(line.clone()),
        }
    }

    /// A client answered: a question of ours, as a rule.
    fn responded(&mut self, message: &Message, line: &Bytes, out: &mut Out) {
        let id = message.raw(message.envelope.id).and_then(json::read::<String>).unwrap_or_default();
        let Some(Sent::Question { call, name }) = self.sent.remove(&id) else {
            // To a question of a call that is over: the server never knew of it.
            if !id.starts_with(&format!("dtma-{}-", self.tag)) {
                out.on.push(line.clone());
            }
            return;
        };
        let Some(asking) = self.calls.get_mut(&call) else { return };
        match message.raw(message.envelope.result) {
            Some(result) => {
                asking.answers.insert(name, Bytes::copy_from_slice(result));
                asking.open = asking.open.saturating_sub(1);
                if asking.open == 0 {
                    self.again(&call, out);
                }
            }
            None => {
                self.forget(&call);
                let error = message.raw(message.envelope.error).unwrap_or(b"{}");
                out.back.push(
                    [br#"{"jsonrpc":"2.0","id":"#, &call[..], br#","error":"#, error, b"}\n"].concat().into(),
                );
            }
        }
    }

    /// A request is over, and with it all that its client was asked.
    fn forget(&mut self, id: &[u8]) -> Option<Call> {
        let call = self.calls.remove(id)?;
        if call.open > 0 {
            self.sent.retain(|_, sent| !matches!(sent, Sent::Question { call, .. } if call[..] == *id));
        }
        Some(call)
    }

    /// The request with all that its client was asked for.
    fn again(&mut self, id: &Bytes, out: &mut Out) {
        let ours = self.next(Sent::Again(id.clone()));
        let Some(call) = self.calls.get_mut(id) else { return };
        let answers = std::mem::take(&mut call.answers);
        let answers = answers.iter().map(|(name, raw)| [rpc::quoted(name).as_bytes(), b":", raw].concat());
        let answers = answers.collect::<Vec<_>>().join(&b',');
        let mut more = [br#""inputResponses":{"#, &answers[..], b"},"].concat();
        if let Some(state) = call.state.take() {
            more.extend_from_slice(&[br#""requestState":"#, &state[..], b","].concat());
        }
        call.again = Some(ours.clone());
        let params = call.request.raw(call.request.envelope.params).unwrap_or(b"{}");
        let params = with_members(params, &String::from_utf8_lossy(&more));
        let method = call.request.raw(call.request.envelope.method).and_then(json::read::<String>);
        out.on.push(self.request(&ours, &method.unwrap_or_default(), &params));
    }

    /// A line of the server's. `true`: it passes as it is.
    pub(super) fn heard(&mut self, line: &Bytes, out: &mut Out) -> bool {
        let Ok(message) = read(line) else { return true };
        match (&self.phase, message.kind()) {
            (Phase::Plain, _) | (_, Kind::Request) => true,
            (Phase::Greeting { .. }, Kind::Response) => self.greeted(&message, line, out),
            (Phase::Greeting { .. }, Kind::Notification) => true,
            (Phase::Stateless, Kind::Response) => self.answered(&message, out),
            (Phase::Stateless, Kind::Notification) => self.told(&message, out),
        }
    }

    fn greeted(&mut self, message: &Message, line: &Bytes, out: &mut Out) -> bool {
        let Phase::Greeting { id: Some(id), refusal } = &mut self.phase else { return true };
        let (of, id) = (message.raw(message.envelope.id).unwrap_or_default(), id.clone());
        let result = message.raw(message.envelope.result);
        if of == &id[..] && refusal.is_none() {
            if result.is_some() {
                self.phase = Phase::Plain;
                return true;
            }
            *refusal = Some(line.clone());
            let ours = self.next(Sent::Discover);
            out.on.push(self.request(&ours, "server/discover", b"{}"));
            return false;
        }
        let ours = json::read::<String>(of).and_then(|of| self.sent.remove(&of));
        let Some(Sent::Discover) = ours else { return true };
        match result.filter(|result| offers(result)) {
            Some(discovered) => {
                self.announced = announced(member(discovered, "capabilities").unwrap_or(b"{}"));
                self.phase = Phase::Stateless;
                out.back.push(with_newline(&rpc::result(&id, &welcome(discovered))));
            }
            None => out.back.extend(self.give_up()),
        }
        false
    }

    fn answered(&mut self, message: &Message, out: &mut Out) -> bool {
        let Some(at) = message.envelope.id else { return true };
        let raw = at.of(&message.text);
        let ours = json::read::<String>(raw).and_then(|id| Some((self.sent.remove(&id)?, id)));
        let id = match ours {
            None => Bytes::copy_from_slice(raw),
            Some((Sent::Again(id), _)) => id,
            Some((Sent::Ping(id), _)) => {
                out.back.push(with_newline(&rpc::result(&id, b"{}")));
                return false;
            }
            Some((Sent::Listen, id)) => {
                self.listening.take_if(|listening| *listening == id);
                return false;
            }
            Some((Sent::Discover | Sent::Question { .. }, _)) => return false,
        };
        let result = message.raw(message.envelope.result).unwrap_or_default();
        let kind = member(result, "resultType").and_then(json::read::<String>);
        if kind.as_deref() == Some("input_required") && self.calls.contains_key(&id) {
            self.ask(&id, result, out);
            return false;
        }
        self.calls.remove(&id);
        if raw == &id[..] {
            return true;
        }
        out.back.push(message.to_line(&mut [Edit { at, text: &id }]));
        false
    }

    /// Asks the client what the server needs to know.
    fn ask(&mut self, id: &Bytes, result: &[u8], out: &mut Out) {
        let [requests, state] = members(result, ["inputRequests", "requestState"]);
        let asked = entries(requests.unwrap_or(b"{}"));
        if let Some(call) = self.calls.get_mut(id) {
            call.state = state.map(Bytes::copy_from_slice);
            call.open = asked.len();
        }
        if asked.is_empty() {
            return self.again(id, out);
        }
        for (name, request) in asked {
            let ours = self.next(Sent::Question { call: id.clone(), name });
            let [method, params] = members(&request, ["method", "params"]);
            let id = rpc::quoted(&ours);
            let text = [
                br#"{"jsonrpc":"2.0","id":"#,
                id.as_bytes(),
                br#","method":"#,
                method.unwrap_or(b"\"\""),
                br#","params":"#,
                params.unwrap_or(b"{}"),
                b"}\n",
            ];
            out.back.push(text.concat().into());
        }
    }

    /// What comes of our subscription is for everybody.
    fn told(&mut self, message: &Message, out: &mut Out) -> bool {
        let mark = message.raw(message.envelope.subscription).and_then(json::read::<String>);
        if !mark.is_some_and(|mark| mark.starts_with("dtma-")) {
            return true;
        }
        if !message.is("notifications/subscriptions/acknowledged") {
            let params = message.raw(message.envelope.params).unwrap_or_default();
            let meta = find(params, "_meta");
            let plain = meta.map(|at| (at, json::without(at.of(params), |name| name.starts_with(PREFIX))));
            let edit = plain.as_ref().map(|(at, text)| Edit { at: *at, text });
            let params = splice(params, &mut edit.into_iter().collect::<Vec<_>>(), 0);
            let edit = message.envelope.params.map(|at| Edit { at, text: &params });
            out.back.push(message.to_line(&mut edit.into_iter().collect::<Vec<_>>()));
        }
        false
    }

    /// Subscribes to all that is wanted now, and only then no longer to what was wanted before.
    fn listen(&mut self, out: &mut Out) {
        let mut wanted = Map::new();
        for (_, word) in LISTS.iter().filter(|(list, _)| self.announced.contains(list)) {
            wanted.insert((*word).to_owned(), true.into());
        }
        if !self.watched.is_empty() {
            wanted.insert("resourceSubscriptions".to_owned(), json!(self.watched));
        }
        let before = self.listening.take();
        if !wanted.is_empty() {
            let ours = self.next(Sent::Listen);
            let params = json!({"notifications": Value::Object(wanted)}).to_string();
            out.on.push(self.request(&ours, "subscriptions/listen", params.as_bytes()));
            self.listening = Some(ours);
        }
        if let Some(before) = before {
            let params =
                json!({"requestId": before, "reason": "another subscription took its place"}).to_string();
            out.on.push(rpc::line(rpc::notification("notifications/cancelled", Some(params.as_bytes()))));
        }
    }

    fn request(&self, id: &str, method: &str, params: &[u8]) -> Bytes {
        let params = self.with_introduction(params);
        let (id, method) = (rpc::quoted(id), rpc::quoted(method));
        let head = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":"#);
        [head.as_bytes(), &params, b"}\n"].concat().into()
    }

    /// The same request with what the server has to know of its client.
    fn introduced(&self, message: &Message) -> Bytes {
        match message.envelope.params {
            Some(at) => {
                let params = self.with_introduction(at.of(&message.text));
                message.to_line(&mut [Edit { at, text: &params }])
            }
            None => {
                let params = String::from_utf8_lossy(&self.with_introduction(b"{}")).into_owned();
                with_members(&message.text, &format!(r#""params":{params},"#)).into()
            }
        }
    }

    fn with_introduction(&self, params: &[u8]) -> Vec<u8> {
        let level = self.level.as_ref().map(|level| format!(r#""{PREFIX}logLevel":{},"#, rpc::quoted(level)));
        let own = rpc::introduction(CAPABILITIES) + &level.unwrap_or_default();
        match find(params, "_meta").filter(|at| at.of(params).starts_with(b"{")) {
            Some(at) => {
                let meta = with_members(at.of(params), &own);
                splice(params, &mut [Edit { at, text: &meta }], 0)
            }
            None => with_members(params, &format!(r#""_meta":{{{}}},"#, own.trim_end_matches(','))),
        }
    }
}

impl Call {
    fn of(request: Message) -> Self {
        Self { request, again: None, state: None, answers: BTreeMap::new(), open: 0 }
    }
}
