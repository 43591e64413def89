//! What agents may reach.

use crate::client::Client;
use crate::error::Error;
use crate::query::escape;
use dtma_api_types::{ConnectionList, ConnectionRequest, ConnectionView};
use http::header::IF_MATCH;
use http::{HeaderValue, Method};

fn path(connection: &str) -> String {
    format!("/gateway/connections/{}", escape(connection))
}

fn tag(seen: Option<u64>) -> Option<HeaderValue> {
    seen.and_then(|revision| HeaderValue::from_str(&format!("\"{revision}\"")).ok())
}

/// Each method fails with [`Error`]; what the daemon refuses is [`Error::Refused`].
impl Client {
    /// `GET /gateway/connections`: what is granted to agents.
    pub async fn list_connections(&self) -> Result<ConnectionList, Error> {
        self.call(Method::GET, "/gateway/connections".to_owned()).data().await
    }

    /// `GET /gateway/connections/{connectionId}`: one connection.
    pub async fn get_connection(&self, connection: &str) -> Result<ConnectionView, Error> {
        self.call(Method::GET, path(connection)).data().await
    }

    /// `PUT /gateway/connections/{connectionId}`: makes a connection or replaces what it grants; only the revision that
    /// was `seen`, where there is one.
    pub async fn put_connection(
        &self,
        connection: &str,
        body: &ConnectionRequest,
        seen: Option<u64>,
    ) -> Result<ConnectionView, Error> {
        let mut call = self.call(Method::PUT, path(connection));
        call.headers.extend(tag(seen).map(|tag| (IF_MATCH, tag)));
        call.json(body)?.data().await
    }

    /// `DELETE /gateway/connections/{connectionId}`: takes it away; answers what it granted.
    pub async fn remove_connection(
        &self,
        connection: &str,
        seen: Option<u64>,
    ) -> Result<ConnectionView, Error> {
        let mut call = self.call(Method::DELETE, path(connection));
        call.headers.extend(tag(seen).map(|tag| (IF_MATCH, tag)));
        call.data().await
    }
}
