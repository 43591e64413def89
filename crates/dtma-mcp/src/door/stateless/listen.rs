//! `subscriptions/listen` onto a server of the handshake era: a session of its own that hears what the server says to
//! everybody, and passes on what its client asked for.

use crate::door::Door;
use crate::door::member::Member;
use crate::envelope::{Message, SUBSCRIPTION};
use crate::json::{find, member};
use crate::rpc;
use crate::server::command::Opened;
use crate::splice::{Edit, splice, with_members};
use crate::{Greeting, MessageStream, PostReply, SessionId, version};
use bytes::Bytes;
use dtma_core::record::{GatewaySession, Wishes};
use futures_util::StreamExt;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Resources that one client may watch on one stream.
const MOST: usize = 100;

/// What a client wants to hear of.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wanted {
    tools_list_changed: bool,
    prompts_list_changed: bool,
    resources_list_changed: bool,
    resource_subscriptions: Vec<String>,
}

impl Wanted {
    fn read(message: &Message) -> Self {
        let params = message.raw(message.envelope.params).unwrap_or_default();
        let wanted = member(params, "notifications").and_then(|raw| serde_json::from_slice(raw).ok());
        wanted.unwrap_or_default()
    }

    /// As far as the server tells of it at all.
    fn of(self, greeting: &Greeting) -> Self {
        let tells = |list: &str| greeting.list_changed.iter().any(|declared| declared == list);
        let mut uris = self.resource_subscriptions;
        uris.truncate(if subscribes(greeting) { MOST } else { 0 });
        Self {
            tools_list_changed: self.tools_list_changed && tells("tools"),
            prompts_list_changed: self.prompts_list_changed && tells("prompts"),
            resources_list_changed: self.resources_list_changed && tells("resources"),
            resource_subscriptions: uris,
        }
    }

    fn told(&self) -> Value {
        let mut told = Map::new();
        for (name, wanted) in [
            ("toolsListChanged", self.tools_list_changed),
            ("promptsListChanged", self.prompts_list_changed),
            ("resourcesListChanged", self.resources_list_changed),
        ] {
            if wanted {
                told.insert(name.to_owned(), true.into());
            }
        }
        if !self.resource_subscriptions.is_empty() {
            told.insert("resourceSubscriptions".to_owned(), json!(self.resource_subscriptions));
        }
        Value::Object(told)
    }

    fn wants(&self, message: &Message) -> bool {
        let lists = [
            ("notifications/tools/list_changed", self.tools_list_changed),
            ("notifications/prompts/list_changed", self.prompts_list_changed),
            ("notifications/resources/list_changed", self.resources_list_changed),
        ];
        if message.is("notifications/resources/updated") {
            let params = message.raw(message.envelope.params).unwrap_or_default();
            let uri = member(params, "uri").and_then(|raw| serde_json::from_slice::<String>(raw).ok());
            return uri.is_some_and(|uri| self.resource_subscriptions.contains(&uri));
        }
        lists.iter().any(|(method, wanted)| *wanted && message.is(method))
    }
}

fn subscribes(greeting: &Greeting) -> bool {
    let resources = member(&greeting.raw, "capabilities").and_then(|raw| member(raw, "resources"));
    resources.and_then(|raw| member(raw, "subscribe")) == Some(b"true")
}

/// Closed when it is dropped.
struct Listener {
    member: Arc<Member>,
    session: SessionId,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.member.handle.drop_session(self.session);
    }
}

impl Door {
    /// `None`: the member has just gone.
    pub(super) async fn subscription(
        &self,
        member: &Arc<Member>,
        message: &Message,
        greeting: &Greeting,
    ) -> Option<PostReply> {
        let id = Bytes::copy_from_slice(message.raw(message.envelope.id).unwrap_or(b"null"));
        let session = SessionId::random();
        let wanted = Wanted::read(message).of(greeting);
        // What cannot be watched is not heard of.
        let wishes =
            Wishes { log_level: None, watched: wanted.resource_subscriptions.iter().cloned().collect() };
        match member.handle.open(session, Arc::new(self.visitor(session, wishes))).await {
            Ok(Opened::Here { .. }) => {}
            Ok(Opened::Full) => return Some(super::super::post::too_many(&id)),
            Ok(Opened::Draining) | Err(_) => return None,
        }
        let listener = Listener { member: Arc::clone(member), session };
        let mut events = member.handle.listen(session, None).await.ok()??.events;
        let taken = json!({"notifications": wanted.told()}).to_string();
        let params = marked(taken.as_bytes(), &id);
        let first = rpc::notification("notifications/subscriptions/acknowledged", Some(&params)).into();
        let limit = self.inner.parts.limits.message;
        let rest = stream::poll_fn(move |context| events.poll_recv(context)).filter_map(move |event| {
            let _held = &listener;
            let message = Message::read(event.text, limit).ok().filter(|message| wanted.wants(message));
            std::future::ready(message.map(|message| of_subscription(&message, &id)))
        });
        Some(PostReply::Stream(MessageStream::merged(stream::iter([first]).chain(rest).boxed())))
    }

    fn visitor(&self, id: SessionId, wishes: Wishes) -> GatewaySession {
        GatewaySession {
            id: id.to_string(),
            instance: self.inner.instance.clone(),
            protocol_version: version::STATELESS.to_owned(),
            capabilities: "{}".to_owned(),
            list_changed: Vec::new(),
            wishes,
            opened_at: (self.inner.parts.wall)(),
        }
    }
}

/// A notification with the mark of its subscription.
fn of_subscription(message: &Message, id: &[u8]) -> Bytes {
    match message.envelope.params.filter(|at| at.of(&message.text).starts_with(b"{")) {
        Some(at) => {
            let params = marked(at.of(&message.text), id);
            message.to_text(&mut [Edit { at, text: &params }])
        }
        None => {
            let mark = [br#""params":"#, &marked(b"{}", id)[..], b","].concat();
            with_members(&message.text, &String::from_utf8_lossy(&mark)).into()
        }
    }
}

/// Parameters with the mark of their subscription.
fn marked(params: &[u8], id: &[u8]) -> Vec<u8> {
    let mark = format!(r#""{SUBSCRIPTION}":{},"#, String::from_utf8_lossy(id));
    match find(params, "_meta").filter(|at| at.of(params).starts_with(b"{")) {
        Some(at) => {
            let meta = with_members(at.of(params), &mark);
            splice(params, &mut [Edit { at, text: &meta }], 0)
        }
        None => with_members(params, &format!(r#""_meta":{{{}}},"#, mark.trim_end_matches(','))),
    }
}
