//! What a group says of itself to a client that comes: what its servers can, together, and what they want to be known.

use super::Aggregate;
use super::gather::COMING;
use super::members::Member;
use super::post::Asked;
use super::sessions::Session;
use super::way::Way;
use crate::envelope::Message;
use crate::json::member;
use crate::{Greeting, PostReply, rpc, version};
use bytes::Bytes;
use futures_util::future;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Longest instructions of one server that are passed on, in characters.
const INSTRUCTIONS: usize = 8192;
/// Lists of which a group tells that they changed: servers come and go.
const LISTS: [&str; 3] = ["tools", "prompts", "resources"];

impl Aggregate {
    /// `initialize`.
    pub(super) async fn open_session(&self, message: &Message) -> PostReply {
        let params = message.raw(message.envelope.params).unwrap_or(b"{}");
        let id = message.raw(message.envelope.id).unwrap_or(b"null");
        let asked = member(params, "protocolVersion").and_then(|raw| serde_json::from_slice(raw).ok());
        let asked: String = asked.unwrap_or_default();
        let version = version::agree(&asked, version::LATEST);
        let session = Arc::new(Session::new(Bytes::copy_from_slice(params), version == version::BATCHING));
        let id_of_session = session.id;
        let mut told = self.introduction().await;
        told.insert("protocolVersion".to_owned(), version.into());
        told.insert("serverInfo".to_owned(), self.server_info());
        if !self.inner.sessions.add(session, self.inner.limits.sessions).await {
            return PostReply::Body(rpc::lost(id, "too many clients use this group", false));
        }
        let body = rpc::result(id, Value::Object(told).to_string().as_bytes());
        PostReply::Opened { session: id_of_session, body }
    }

    /// `server/discover`.
    pub(super) async fn discover(&self, asked: &Asked<'_>) -> PostReply {
        let Way::Guest(_) = asked.way else {
            return asked.wrong("server/discover is not for clients with a session");
        };
        let mut told = self.introduction().await;
        told.insert("supportedVersions".to_owned(), json!([version::STATELESS]));
        told.insert("_meta".to_owned(), self.own_meta());
        let mut result = Value::Object(told).to_string().into_bytes();
        result.pop();
        result.extend_from_slice(&super::lists::holds(asked.way));
        result.push(b'}');
        PostReply::Body(rpc::result(asked.id, &result))
    }

    /// Who answers, as the stateless version has it in every result.
    pub(super) fn own_meta(&self) -> Value {
        json!({"io.modelcontextprotocol/serverInfo": self.server_info()})
    }

    fn server_info(&self) -> Value {
        let title = format!("{}, a group of MCP servers", self.group());
        json!({"name": self.group().as_str(), "title": title, "version": env!("CARGO_PKG_VERSION")})
    }

    /// `capabilities` and `instructions`, once all servers answer that do within a moment.
    async fn introduction(&self) -> Map<String, Value> {
        let members = self.members();
        let unknown = members.iter().filter(|member| !member.door.tells());
        future::join_all(unknown.map(|member| member.door.ready_within(COMING))).await;
        let greetings: Vec<(Arc<Member>, Option<Arc<Greeting>>)> = members
            .into_iter()
            .map(|member| {
                let greeting = member.door.known().map(|ready| Arc::clone(&ready.greeting));
                (member, greeting)
            })
            .collect();
        let mut told = Map::new();
        told.insert(
            "capabilities".to_owned(),
            capabilities(greetings.iter().map(|(_, greeting)| greeting.as_deref())),
        );
        let instructions: Vec<String> =
            greetings.iter().filter_map(|(member, greeting)| said(member, greeting.as_deref()?)).collect();
        if !instructions.is_empty() {
            told.insert("instructions".to_owned(), instructions.join("\n\n").into());
        }
        told
    }
}

/// What any of them can. Of one that does not answer (`None`) nobody knows: it may have every list.
fn capabilities<'a>(greetings: impl Iterator<Item = Option<&'a Greeting>>) -> Value {
    let mut all = Map::from_iter([("tools".to_owned(), json!({"listChanged": true}))]);
    for greeting in greetings {
        let raw = greeting.and_then(|greeting| member(&greeting.raw, "capabilities"));
        let own: Map<String, Value> =
            raw.and_then(|raw| serde_json::from_slice(raw).ok()).unwrap_or_default();
        for list in LISTS.iter().filter(|list| greeting.is_none() || own.contains_key(**list)) {
            all.entry(*list).or_insert_with(|| json!({"listChanged": true}));
        }
        for other in ["logging", "completions"].into_iter().filter(|other| own.contains_key(*other)) {
            all.insert(other.to_owned(), json!({}));
        }
        if own.get("resources").is_some_and(|resources| resources["subscribe"] == true) {
            all.insert("resources".to_owned(), json!({"listChanged": true, "subscribe": true}));
        }
    }
    Value::Object(all)
}

/// Its instructions, under its name.
fn said(server: &Member, greeting: &Greeting) -> Option<String> {
    let text: String = serde_json::from_slice(member(&greeting.raw, "instructions")?).ok()?;
    let text: String = text.trim().chars().take(INSTRUCTIONS).collect();
    (!text.is_empty()).then(|| format!("# {} (names begin with {}__)\n\n{text}", server.name, server.alias))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(capabilities: &Value) -> Greeting {
        let raw = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities,
            "serverInfo": {"name": "s", "version": "1"}});
        Greeting::read(raw.to_string().into()).unwrap()
    }

    #[test]
    fn a_group_can_what_any_of_its_servers_can() {
        let changing = json!({"listChanged": true});
        assert_eq!(capabilities([].into_iter()), json!({"tools": changing}));
        let one = greeting(&json!({"prompts": {}, "completions": {}, "tasks": {"list": {}}}));
        let two = greeting(&json!({"resources": {"subscribe": true}, "logging": {}}));
        let three = greeting(&json!({"resources": {}}));
        let all = capabilities([Some(&one), Some(&two), Some(&three)].into_iter());
        let expected = json!({"tools": changing, "prompts": changing, "completions": {}, "logging": {},
            "resources": {"listChanged": true, "subscribe": true}});
        assert_eq!(all, expected);
        let unknown = capabilities([None].into_iter());
        assert_eq!(unknown, json!({"tools": changing, "prompts": changing, "resources": changing}));
    }
}
