//! Streamable HTTP: a POST for each message over one kept connection, the answer as JSON or as an event.

use super::super::message;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use dtma_client::sse::SseParser;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// An address, and the token it wants.
#[derive(Debug, Clone)]
pub(in super::super) struct Address {
    pub(in super::super) url: String,
    pub(in super::super) token: Option<&'static str>,
}

impl Address {
    pub(super) fn uri(&self) -> Result<Uri> {
        Ok(self.url.parse()?)
    }

    pub(super) async fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.uri()?.authority().context("no host")?.as_str()).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The headers of every request to it.
    pub(super) fn headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_str(self.uri()?.authority().context("no host")?.as_str())?);
        if let Some(token) = self.token {
            headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}"))?);
        }
        Ok(headers)
    }
}

/// One kept connection.
pub(super) struct Connection {
    address: Address,
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

impl Connection {
    pub(super) async fn open(address: &Address) -> Result<Self> {
        let stream = TokioIo::new(address.connect().await?);
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its end is the end of the measurement; an error shows up in the request that suffers it.
            let _ = connection.await;
        });
        Ok(Self { address: address.clone(), sender, _driver: driver })
    }

    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>> {
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse()?;
        *request.headers_mut() = headers.clone();
        // A server may have closed a connection that was idle while other sessions were opened.
        if self.sender.ready().await.is_err() {
            *self = Self::open(&self.address.clone()).await?;
        }
        Ok(self.sender.send_request(request).await?)
    }
}

/// One session.
pub(in super::super) struct Http {
    connection: Connection,
    path: String,
    headers: HeaderMap,
}

impl Http {
    /// Shakes hands.
    pub(in super::super) async fn open(address: &Address) -> Result<Self> {
        let uri = address.uri()?;
        let path = uri.path().to_owned();
        let mut headers = address.headers()?;
        headers.insert("accept", HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let mut http = Self { connection: Connection::open(address).await?, path, headers };
        let response = http.post(message::hello()).await?;
        if let Some(session) = response.headers().get(SESSION) {
            http.headers.insert(SESSION, session.clone());
        }
        let version = message::version(&read(response, 0).await?.1)?;
        http.headers.insert(PROTOCOL, HeaderValue::from_str(&version)?);
        let accepted = http.post(message::ready()).await?;
        accepted.into_body().collect().await?;
        Ok(http)
    }

    async fn post(&mut self, body: Vec<u8>) -> Result<Response<Incoming>> {
        self.connection.send(Method::POST, &self.path, &self.headers, body).await
    }

    pub(super) async fn call(&mut self, client: usize, id: u64) -> Result<Duration> {
        let body = message::call(client, id);
        let began = Instant::now();
        let response = self.post(body).await?;
        let (at, answer) = read(response, id).await?;
        message::check(client, id, &answer)?;
        Ok(at - began)
    }
}

/// The answer of that id and when it was there; what is left of the body is read, too, so that the connection stays.
async fn read(response: Response<Incoming>, id: u64) -> Result<(Instant, Value)> {
    let status = response.status();
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let streamed = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
    let (mut body, mut found) = (response.into_body(), None);
    let (mut whole, mut events) = (Vec::new(), SseParser::default());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if streamed {
            events.push(&data)?;
            while let Some(event) = events.pop() {
                let answer = message::answer(event.data.as_bytes()).filter(|(answered, _)| *answered == id);
                found = found.or(answer.map(|(_, answer)| (Instant::now(), answer)));
            }
        } else {
            whole.extend_from_slice(&data);
        }
    }
    let at = Instant::now();
    let found = found.or_else(|| message::answer(&whole).map(|(_, answer)| (at, answer)));
    match found {
        Some(found) if status.is_success() => Ok(found),
        _ => bail!("{status} {:.200}", String::from_utf8_lossy(&whole)),
    }
}
