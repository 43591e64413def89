//! Plain HTTP, for what the typed client would never send.

use bytes::Bytes;
use http::header::{ACCEPT, HeaderValue};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::time::Duration;

/// No request of a test waits longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// One daemon, with or without a token.
#[derive(Clone)]
pub struct Rest {
    http: Client<HttpConnector, Full<Bytes>>,
    base: String,
    token: Option<String>,
    key: Option<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header `X-Request-Id`.
    pub request_id: Option<String>,
    /// The header `X-Operation-Id`.
    pub operation: Option<String>,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// Whether it is the answer to an earlier request.
    pub replayed: bool,
    /// The body as it came.
    pub text: String,
    /// The body as JSON; null when it is none.
    pub json: Value,
}

impl Rest {
    /// Speaks to the daemon at `base`.
    #[must_use]
    pub fn new(base: &str, token: Option<&str>) -> Self {
        let http = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { http, base: base.to_owned(), token: token.map(str::to_owned), key: None }
    }

    /// The same daemon, spoken to with another token or none.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// The same, with an `Idempotency-Key` on every request.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// `DELETE path`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, Bytes::new()).await
    }

    /// `POST path` with JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, body.to_string()).await
    }

    /// `POST path` with an MCP message, as its clients do.
    pub async fn post_message(&self, path: &str, body: &Value) -> Answer {
        let mut request = self.request(Method::POST, path, body.to_string().into());
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        request.headers_mut().insert(ACCEPT, accept);
        let answer = tokio::time::timeout(PATIENCE, self.exchange(request)).await;
        answer.expect("an answer in time").unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Any request; a body is said to be JSON.
    pub async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        self.try_send(method, path, body).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Any request, to a daemon that may be dying.
    ///
    /// # Errors
    /// What went wrong with the connection.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let request = self.request(method, path, body.into());
        tokio::time::timeout(PATIENCE, self.exchange(request))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let response = self.http.request(request).await.map_err(|error| format!("{error:?}"))?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let (request_id, operation) = (header("x-request-id"), header("x-operation-id"));
        let retry_after = header("retry-after");
        let replayed = header("idempotent-replayed").is_some();
        let body = response.into_body().collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, request_id, operation, retry_after, replayed, text, json })
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = &self.key {
            request = request.header("idempotency-key", key);
        }
        request.body(Full::new(body)).expect("a well-formed request")
    }
}

impl Answer {
    /// Panics unless the status is this.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The stable word of a failure.
    #[must_use]
    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    /// `rule pointer` of every mistake, sorted.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let details = self.json["details"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut mistakes: Vec<String> = details
            .iter()
            .map(|detail| format!("{} {}", text(&detail["rule"]), text(&detail["pointer"])))
            .collect();
        mistakes.sort();
        mistakes
    }
}
