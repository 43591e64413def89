//! Clients of the stateless version (2026-07-28) of a whole group: their requests go by the stateless way of the door
//! that they are about, so what becomes of questions, of cancelling and of servers of the other era is the same as there.

use super::Aggregate;
use super::listen::gone;
use super::members::{Member, Members};
use super::names;
use super::post::{Asked, refuse, too_long};
use super::rewrite::Voice;
use super::sessions::request;
use super::way::{Guest, Way};
use crate::door::stateless::Asked as Checked;
use crate::envelope::{Kind, Message};
use crate::json::member;
use crate::{Claims, MessageStream, PostReply, rpc};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future;
use futures_util::stream::{self, BoxStream};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

const LISTEN: &str = "subscriptions/listen";
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
const SUBSCRIPTION: &str = crate::envelope::SUBSCRIPTION;
/// What lists a client may want to hear of.
const LISTS: [(&str, &str); 3] = [
    ("toolsListChanged", "notifications/tools/list_changed"),
    ("promptsListChanged", "notifications/prompts/list_changed"),
    ("resourcesListChanged", "notifications/resources/list_changed"),
];
/// How long a server may take to say that it was heard.
const WITHIN: Duration = Duration::from_secs(10);

/// What a client wants to hear of.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wanted {
    resource_subscriptions: Vec<String>,
    #[serde(flatten)]
    lists: Map<String, Value>,
}

impl Aggregate {
    /// What a client of the stateless version sent by POST, and what the request's headers claim of it. As
    /// [`Door::post_stateless`](crate::Door::post_stateless).
    pub async fn post_stateless(&self, claims: &Claims, body: Bytes) -> PostReply {
        if self.inner.closed.is_cancelled() {
            return PostReply::Closed;
        }
        let message = match Message::read(body, self.inner.limits.message) {
            Ok(message) => message,
            Err(problem) => return PostReply::Refused(rpc::unreadable(&problem)),
        };
        match message.kind() {
            Kind::Request if too_long(&message) => refuse(&message, "its id or progress token is too long"),
            Kind::Request => match Checked::check(claims, &message, |tool| self.listed_by_owner(tool)) {
                Ok(_) => self.answer_guest(claims, &message).await,
                Err(fault) => fault.reply(&message),
            },
            Kind::Notification | Kind::Response => PostReply::Accepted,
        }
    }

    async fn answer_guest(&self, claims: &Claims, message: &Message) -> PostReply {
        let params = message.raw(message.envelope.params).unwrap_or(b"{}");
        let way = Way::Guest(Guest::new(claims.clone(), params));
        self.answer(&way, message).await
    }

    /// The tool as its server lists it.
    fn listed_by_owner(&self, tool: &str) -> Option<Bytes> {
        if let Some((member, own)) = self.renamed(tool) {
            return member.door.listed(&own);
        }
        let (member, part) = self.owner(tool)?;
        member.door.listed(part)
    }

    /// A stream with what every server tells of what the client wants to hear of.
    pub(super) async fn subscribe(&self, asked: &Asked<'_>) -> PostReply {
        let Way::Guest(guest) = asked.way else {
            return asked.wrong("subscriptions/listen is not for clients with a session");
        };
        let wanted = member(asked.params, "notifications").and_then(|raw| serde_json::from_slice(raw).ok());
        let wanted: Wanted = wanted.unwrap_or_default();
        let members = self.members();
        let said = |member| said_by(guest, self.inner.members.subscribe(), member, &wanted, asked.id);
        let streams = members.iter().map(|member| timeout(WITHIN, said(member)));
        let streams = future::join_all(streams).await.into_iter().filter_map(|stream| stream.ok().flatten());
        let first = self.acknowledged(&wanted, asked.id);
        let changes = self.changes(&wanted, asked.id);
        let all = stream::select_all(streams.chain([changes]));
        let closed = self.inner.closed.clone();
        let messages = stream::iter([first]).chain(all.take_until(async move { closed.cancelled().await }));
        PostReply::Stream(MessageStream::merged(messages.boxed()))
    }

    /// What is told of: lists in any case, because servers come and go; resources of servers that are there.
    fn acknowledged(&self, wanted: &Wanted, id: &[u8]) -> Bytes {
        let lists = LISTS.iter().filter(|(list, _)| wanted.has(list));
        let mut told: Map<String, Value> = lists.map(|(list, _)| ((*list).to_owned(), true.into())).collect();
        let there =
            |uri: &&String| names::split_uri(uri).is_some_and(|(server, _)| self.named(server).is_some());
        let resources: Vec<&String> = wanted.resource_subscriptions.iter().filter(there).collect();
        if !resources.is_empty() {
            told.insert("resourceSubscriptions".to_owned(), json!(resources));
        }
        notification(ACKNOWLEDGED, id, json!({"notifications": told}))
    }

    /// That other servers are there than before.
    fn changes(&self, wanted: &Wanted, id: &[u8]) -> BoxStream<'static, Bytes> {
        let lists = LISTS.into_iter().filter(|(list, _)| wanted.has(list));
        let news: Vec<Bytes> = lists.map(|(_, method)| notification(method, id, json!({}))).collect();
        let changes = stream::unfold(self.inner.members.subscribe(), async |mut changes| {
            changes.changed().await.ok()?;
            Some(((), changes))
        });
        changes.flat_map(move |()| stream::iter(news.clone())).boxed()
    }
}

impl Wanted {
    fn has(&self, list: &str) -> bool {
        self.lists.get(list) == Some(&Value::Bool(true))
    }

    /// What of it is of that server: its lists, and its resources as it knows them. `None`: nothing.
    fn of(&self, server: &Member) -> Option<Value> {
        let own = |uri: &String| {
            let (of, own) = names::split_uri(uri)?;
            (of == server.name.as_str()).then(|| own.to_owned())
        };
        let resources: Vec<String> = self.resource_subscriptions.iter().filter_map(own).collect();
        let mut wanted: Map<String, Value> = LISTS
            .iter()
            .filter(|(list, _)| self.has(list))
            .map(|(list, _)| ((*list).to_owned(), true.into()))
            .collect();
        if !resources.is_empty() {
            wanted.insert("resourceSubscriptions".to_owned(), json!(resources));
        }
        (!wanted.is_empty()).then_some(Value::Object(wanted))
    }
}

/// What one server tells after it has said that it was asked. `None`: there is nothing to hear of it, or it is down.
async fn said_by(
    guest: &Guest,
    members: watch::Receiver<Arc<Members>>,
    member: &Arc<Member>,
    wanted: &Wanted,
    id: &[u8],
) -> Option<BoxStream<'static, Bytes>> {
    let wanted = wanted.of(member).filter(|_| member.door.is_ready())?;
    let params = format!("{{\"_meta\":{},\"notifications\":{wanted}}}", String::from_utf8_lossy(&guest.meta));
    let text = request(id, LISTEN, params.as_bytes());
    let reply = member.door.post_stateless(&guest.claims(LISTEN, None), text).await;
    let PostReply::Stream(mut messages) = reply else { return None };
    // Said once for all.
    let _acknowledged = messages.next().await?;
    let voice = Voice::of(&member.name);
    let gone = gone(members, member.door.clone());
    Some(messages.map(move |text| voice.message(text)).take_until(gone).boxed())
}

fn notification(method: &str, id: &[u8], mut params: Value) -> Bytes {
    let id: Value = serde_json::from_slice(id).unwrap_or_default();
    params["_meta"] = json!({SUBSCRIPTION: id});
    rpc::notification(method, Some(params.to_string().as_bytes())).into()
}
