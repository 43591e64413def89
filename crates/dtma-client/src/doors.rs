//! The other doors of MCP servers, and what the daemon publishes about all of them. These documents are not the daemon's
//! own words: other people wrote down what stands in them.

use crate::client::Client;
use crate::error::Error;
use crate::mcp::Target;
use crate::query::{Query, escape};
use crate::sse::SseEvent;
use crate::stream::sse;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::header::{
    ACCEPT, CONNECTION, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, Method};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;

fn server(instance: &str, rest: &str) -> String {
    Target::Server(instance.to_owned()).door(rest)
}

fn group(group: &str, rest: &str) -> String {
    Target::Group(group.to_owned()).door(rest)
}

/// Each method fails with [`Error`]; what the daemon refuses is [`Error::Refused`].
impl Client {
    /// `GET /.well-known/ai-catalog.json`: which servers there are for whoever asks.
    pub async fn get_catalogue(&self) -> Result<Value, Error> {
        self.call(Method::GET, "/.well-known/ai-catalog.json").document().await
    }

    /// `GET /.well-known/oauth-protected-resource`: how the doors are protected.
    pub async fn get_protection(&self) -> Result<Value, Error> {
        self.call(Method::GET, "/.well-known/oauth-protected-resource").document().await
    }

    /// `GET /.well-known/oauth-protected-resource/gateway/servers/{instanceName}/{door}`: how one door (`mcp`, `sse`,
    /// `ws`) is protected.
    pub async fn get_door_protection(&self, instance: &str, door: &str) -> Result<Value, Error> {
        let path = format!("/.well-known/oauth-protected-resource{}", server(instance, &escape(door)));
        self.call(Method::GET, path).document().await
    }

    /// `GET /.well-known/oauth-protected-resource/gateway/groups/{groupId}/{door}`: how a door to a group is protected.
    pub async fn get_group_door_protection(&self, group_id: &str, door: &str) -> Result<Value, Error> {
        let path = format!("/.well-known/oauth-protected-resource{}", group(group_id, &escape(door)));
        self.call(Method::GET, path).document().await
    }

    /// `GET /gateway/servers/{instanceName}/mcp/server-card`: who a server is and what it offers.
    pub async fn get_server_card(&self, instance: &str) -> Result<Value, Error> {
        self.call(Method::GET, server(instance, "mcp/server-card")).document().await
    }

    /// `GET /gateway/servers/{instanceName}/sse`: a session over HTTP+SSE. The first event, `endpoint`, says where to
    /// POST, the session's id included; the session lives as long as the stream.
    pub async fn gateway_sse(
        &self,
        instance: &str,
    ) -> Result<BoxStream<'static, Result<SseEvent, Error>>, Error> {
        self.open_stream(server(instance, "sse")).await
    }

    /// `GET /gateway/groups/{groupId}/sse`: the same with all MCP servers of a group.
    pub async fn gateway_group_sse(
        &self,
        group_id: &str,
    ) -> Result<BoxStream<'static, Result<SseEvent, Error>>, Error> {
        self.open_stream(group(group_id, "sse")).await
    }

    async fn open_stream(&self, path: String) -> Result<BoxStream<'static, Result<SseEvent, Error>>, Error> {
        let mut call = self.call(Method::GET, path);
        call.headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        Ok(sse(call.send().await?.into_body()))
    }

    /// `POST /gateway/servers/{instanceName}/messages`: one JSON-RPC message of such a session; what answers it comes on
    /// the stream.
    pub async fn gateway_messages(&self, instance: &str, session: &str, body: Bytes) -> Result<(), Error> {
        self.say_on(&server(instance, "messages"), session, body).await
    }

    /// `POST /gateway/groups/{groupId}/messages`: the same with all MCP servers of a group.
    pub async fn gateway_group_messages(
        &self,
        group_id: &str,
        session: &str,
        body: Bytes,
    ) -> Result<(), Error> {
        self.say_on(&group(group_id, "messages"), session, body).await
    }

    async fn say_on(&self, path: &str, session: &str, body: Bytes) -> Result<(), Error> {
        let query = Query::default().with("sessionId", Some(session));
        let mut call = self.call(Method::POST, query.onto(path));
        call.body = Some(body);
        call.send().await.map(drop)
    }

    /// `GET /gateway/servers/{instanceName}/ws`: a session over WebSocket, sub-protocol `mcp`. What comes back is the
    /// bare connection after the handshake: its frames are the caller's. `key` is 16 random bytes in base64.
    pub async fn gateway_ws(&self, instance: &str, key: &str) -> Result<TokioIo<Upgraded>, Error> {
        self.upgraded(server(instance, "ws"), key).await
    }

    /// `GET /gateway/groups/{groupId}/ws`: the same with all MCP servers of a group.
    pub async fn gateway_group_ws(&self, group_id: &str, key: &str) -> Result<TokioIo<Upgraded>, Error> {
        self.upgraded(group(group_id, "ws"), key).await
    }

    async fn upgraded(&self, path: String, key: &str) -> Result<TokioIo<Upgraded>, Error> {
        let mut call = self.call(Method::GET, path);
        call.headers = handshake(key);
        call.upgrade().await
    }
}

/// A key that cannot stand in a header is left out; the daemon refuses what is without one.
fn handshake(key: &str) -> HeaderMap {
    let fixed = [
        (CONNECTION, "upgrade"),
        (UPGRADE, "websocket"),
        (SEC_WEBSOCKET_VERSION, "13"),
        (SEC_WEBSOCKET_PROTOCOL, "mcp"),
    ];
    let mut headers: HeaderMap =
        fixed.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
    headers.extend(HeaderValue::from_str(key).ok().map(|key| (SEC_WEBSOCKET_KEY, key)));
    headers
}
