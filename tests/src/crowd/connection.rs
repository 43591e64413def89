//! One kept connection to the daemon, and what comes over it, as JSON or as events.

use crate::Toolbox;
use bytes::Bytes;
use dtma_client::sse::SseParser;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A server behind the daemon, and who asks.
#[derive(Debug, Clone)]
pub struct Address {
    /// `127.0.0.1:PORT`.
    pub host: String,
    /// What must be sent to it.
    pub token: String,
    /// The server's name.
    pub instance: String,
}

impl Address {
    /// Of a server of this daemon, asked with its own token.
    #[must_use]
    pub fn of(toolbox: &Toolbox, instance: &str) -> Self {
        let host = toolbox.url().trim_start_matches("http://").to_owned();
        Self { host, token: toolbox.token().to_owned(), instance: instance.to_owned() }
    }

    pub(super) fn path(&self, door: &str) -> String {
        format!("/gateway/servers/{}/{door}", self.instance)
    }

    pub(super) async fn connect(&self) -> Result<TcpStream, String> {
        let stream = TcpStream::connect(&self.host).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(stream)
    }

    /// The headers of every request to it.
    pub(super) fn headers(&self) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).expect("a header");
        HeaderMap::from_iter([
            (HeaderName::from_static("host"), value(&self.host)),
            (HeaderName::from_static("authorization"), value(&format!("Bearer {}", self.token))),
            (HeaderName::from_static("accept"), value("application/json, text/event-stream")),
            (HeaderName::from_static("content-type"), value("application/json")),
        ])
    }
}

/// One kept connection. Dropping it closes it, whatever is on its way.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

impl Connection {
    pub(super) async fn open(address: &Address) -> Result<Self, String> {
        let stream = TokioIo::new(address.connect().await?);
        let (sender, connection) = handshake(stream).await.map_err(|error| error.to_string())?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // An error shows in the request that suffers it.
            let _ = connection.await;
        });
        Ok(Self { sender, _driver: driver })
    }

    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, String> {
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error| format!("{error}"))?;
        *request.headers_mut() = headers.clone();
        self.sender.ready().await.map_err(|error| format!("{error:?}"))?;
        let response = self.sender.send_request(request).await.map_err(|error| format!("{error:?}"))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        Err(format!("{status}: {:.300}", String::from_utf8_lossy(&body)))
    }
}

/// Everything that an answer has in it, whether it came as JSON or as events.
pub(super) async fn read(response: Response<Incoming>) -> Result<Vec<Value>, String> {
    if is_stream(&response) {
        let (mut events, mut messages) = (Events::of(response), Vec::new());
        while let Some(data) = events.next().await? {
            messages.extend(message(&data)?);
        }
        return Ok(messages);
    }
    let body = response.into_body().collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
    Ok(message(std::str::from_utf8(&body).map_err(|error| error.to_string())?)?.into_iter().collect())
}

fn is_stream(response: &Response<Incoming>) -> bool {
    response
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// A message; `None` for an empty text.
pub(super) fn message(text: &str) -> Result<Option<Value>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|error| format!("{error}: {text:.300}"))
}

/// A stream of events, as it comes.
pub(super) struct Events {
    body: Incoming,
    parser: SseParser,
}

impl Events {
    pub(super) fn of(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), parser: SseParser::default() }
    }

    /// The data of the next event; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<String>, String> {
        loop {
            if let Some(event) = self.parser.pop() {
                return Ok(Some(event.data));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame.map_err(|error| format!("{error:?}"))?.into_data() {
                self.parser.push(&data).map_err(|error| error.to_string())?;
            }
        }
    }
}
