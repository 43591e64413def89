//! One request, one answer: sending, deadlines, the envelope, and what counts as an error.

use crate::client::Client;
use crate::error::{Error, Refusal};
use bytes::Bytes;
use dtma_api_types::{Envelope, ErrorBody};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The biggest answer that is read into memory.
const MAX_ANSWER: usize = 64 << 20;

/// A request under construction.
pub(crate) struct Call<'a> {
    pub(crate) client: &'a Client,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Option<Bytes>,
    pub(crate) headers: HeaderMap,
    pub(crate) timeout: Duration,
}

impl Client {
    pub(crate) fn call(&self, method: Method, path: impl Into<String>) -> Call<'_> {
        let headers = HeaderMap::new();
        Call { client: self, method, path: path.into(), body: None, headers, timeout: self.timeout }
    }
}

impl Call<'_> {
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(body)
            .map_err(|problem| Error::Unexpected { status: 0, problem: problem.to_string() })?;
        self.body = Some(bytes.into());
        Ok(self)
    }

    /// The caller's own name for the request. One that cannot stand in a header is left out; the daemon would refuse
    /// it.
    pub(crate) fn key(mut self, key: Option<&str>) -> Self {
        if let Some(key) = key.and_then(|key| http::HeaderValue::from_str(key).ok()) {
            self.headers.insert(http::HeaderName::from_static("idempotency-key"), key);
        }
        self
    }

    /// Adds the time a mutation may take in the daemon.
    pub(crate) fn patience(mut self, more: Duration) -> Self {
        self.timeout = self.timeout.saturating_add(more);
        self
    }

    /// The `data` of a successful answer.
    pub(crate) async fn data<T: DeserializeOwned>(self) -> Result<T, Error> {
        let (status, body) = self.bytes().await?;
        let envelope: Envelope<T> = serde_json::from_slice(&body)
            .map_err(|problem| Error::Unexpected { status, problem: problem.to_string() })?;
        Ok(envelope.data)
    }

    /// A successful answer that is a JSON document without our envelope.
    pub(crate) async fn document(self) -> Result<serde_json::Value, Error> {
        let (status, body) = self.bytes().await?;
        serde_json::from_slice(&body)
            .map_err(|problem| Error::Unexpected { status, problem: problem.to_string() })
    }

    pub(crate) async fn text(self) -> Result<String, Error> {
        let (status, body) = self.bytes().await?;
        String::from_utf8(body.into())
            .map_err(|problem| Error::Unexpected { status, problem: problem.to_string() })
    }

    async fn bytes(self) -> Result<(u16, Bytes), Error> {
        let after = self.timeout;
        let read = async {
            let response = self.send().await?;
            let status = response.status().as_u16();
            Ok((status, whole(response.into_body()).await?))
        };
        tokio::time::timeout(after, read).await.unwrap_or(Err(Error::Timeout { after }))
    }

    /// The answer's head, its body still to be read; an answer that is not 2xx is an error.
    pub(crate) async fn send(self) -> Result<Response<Incoming>, Error> {
        let after = self.timeout;
        let response =
            tokio::time::timeout(after, self.exchange()).await.unwrap_or(Err(Error::Timeout { after }))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    /// The connection after an answer that switches protocols; any other answer is an error.
    pub(crate) async fn upgrade(self) -> Result<TokioIo<Upgraded>, Error> {
        let after = self.timeout;
        let switch = async {
            let response = self.exchange().await?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(refused(response).await);
            }
            let upgraded = hyper::upgrade::on(response).await;
            upgraded.map(TokioIo::new).map_err(|error| Error::Broken(error.into()))
        };
        tokio::time::timeout(after, switch).await.unwrap_or(Err(Error::Timeout { after }))
    }

    async fn exchange(self) -> Result<Response<Incoming>, Error> {
        let client = self.client;
        let request = self.request()?;
        let again = is_repeatable(&request).then(|| request.clone());
        let answer = match (client.pool.request(request).await, again) {
            // A pooled connection may belong to a daemon that is gone. Not a byte of the answer came.
            (Err(error), Some(again)) if !error.is_connect() => client.pool.request(again).await,
            (answer, _) => answer,
        };
        answer.map_err(|error| {
            if error.is_connect() {
                Error::Unreachable { url: client.base.clone(), source: error.into() }
            } else {
                Error::Broken(error.into())
            }
        })
    }

    fn request(self) -> Result<Request<Full<Bytes>>, Error> {
        let uri = format!("{}{}", self.client.base, self.path);
        let mut request = Request::new(Full::new(self.body.clone().unwrap_or_default()));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri.parse().map_err(|problem: http::uri::InvalidUri| Error::Url {
            url: uri.clone(),
            problem: problem.to_string(),
        })?;
        *request.headers_mut() = self.headers;
        let headers = request.headers_mut();
        headers.entry(ACCEPT).or_insert(http::HeaderValue::from_static("application/json"));
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = &self.client.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }
}

/// True when sending it twice does what sending it once does. What was never sent is repeated by the pool itself.
fn is_repeatable(request: &Request<Full<Bytes>>) -> bool {
    request.method().is_safe() || request.headers().contains_key("idempotency-key")
}

/// The whole body, bounded.
pub(crate) async fn whole(body: Incoming) -> Result<Bytes, Error> {
    Ok(Limited::new(body, MAX_ANSWER).collect().await.map_err(Error::Broken)?.to_bytes())
}

/// What a refusal says. Some answers (the gateway's) are not ours; their text is kept as it is.
async fn refused(response: Response<Incoming>) -> Error {
    let status = response.status().as_u16();
    let id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("").to_owned();
    let body = match whole(response.into_body()).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| foreign(status, id, &body));
    Error::Refused(Box::new(Refusal::new(status, body)))
}

fn foreign(status: u16, request_id: String, body: &[u8]) -> ErrorBody {
    let text: String = String::from_utf8_lossy(body).chars().take(500).collect();
    let rpc: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = rpc.as_ref().and_then(|rpc| rpc.pointer("/error/message")?.as_str()).unwrap_or(text.trim());
    let message = if message.is_empty() { format!("HTTP {status}") } else { message.to_owned() };
    let error = message.clone();
    let code = format!("http_{status}");
    ErrorBody { success: false, message, error, code, request_id, operation_id: None, details: vec![] }
}
