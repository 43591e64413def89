//! HTTP+SSE: a stream that says where to POST, and on which the answers come.

use super::super::message;
use super::http::{Address, Connection};
use anyhow::{Context, Result, bail};
use dtma_client::sse::{SseEvent, SseParser};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use std::time::{Duration, Instant};

/// One session.
pub(in super::super) struct Sse {
    events: Events,
    posts: Connection,
    path: String,
    headers: HeaderMap,
    /// The connection of the stream lives as long as the session.
    _stream: Connection,
}

struct Events {
    body: Incoming,
    parser: SseParser,
}

impl Events {
    async fn next(&mut self) -> Result<SseEvent> {
        loop {
            if let Some(event) = self.parser.pop() {
                return Ok(event);
            }
            let frame = self.body.frame().await.context("the stream ended")??;
            if let Ok(data) = frame.into_data() {
                self.parser.push(&data)?;
            }
        }
    }

    async fn answer(&mut self, id: u64) -> Result<(Instant, Value)> {
        loop {
            let event = self.next().await?;
            if let Some((answered, answer)) = message::answer(event.data.as_bytes())
                && answered == id
            {
                return Ok((Instant::now(), answer));
            }
        }
    }
}

impl Sse {
    /// Opens the stream and shakes hands.
    pub(in super::super) async fn open(address: &Address) -> Result<Self> {
        let mut headers = address.headers()?;
        headers.insert("accept", HeaderValue::from_static("text/event-stream"));
        let mut stream = Connection::open(address).await?;
        let response = stream.send(Method::GET, address.uri()?.path(), &headers, Vec::new()).await?;
        if !response.status().is_success() {
            bail!("{}", response.status());
        }
        let mut events = Events { body: response.into_body(), parser: SseParser::default() };
        let endpoint = events.next().await?;
        let path = path(&endpoint.data)?;
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let posts = Connection::open(address).await?;
        let mut sse = Self { events, posts, path, headers, _stream: stream };
        let (_, greeting) = sse.exchange(message::hello(), 0).await?;
        message::version(&greeting)?;
        post(&mut sse.posts, &sse.path, &sse.headers, message::ready()).await?;
        Ok(sse)
    }

    pub(super) async fn call(&mut self, client: usize, id: u64) -> Result<Duration> {
        let body = message::call(client, id);
        let began = Instant::now();
        let (at, answer) = self.exchange(body, id).await?;
        message::check(client, id, &answer)?;
        Ok(at - began)
    }

    /// The answer may be there before the POST is through.
    async fn exchange(&mut self, body: Vec<u8>, id: u64) -> Result<(Instant, Value)> {
        let posted = post(&mut self.posts, &self.path, &self.headers, body);
        let (posted, answer) = tokio::join!(posted, self.events.answer(id));
        posted?;
        answer
    }
}

async fn post(posts: &mut Connection, path: &str, headers: &HeaderMap, body: Vec<u8>) -> Result<()> {
    let response = posts.send(Method::POST, path, headers, body).await?;
    let status = response.status();
    response.into_body().collect().await?;
    if status.is_success() { Ok(()) } else { bail!("{status}") }
}

/// Where to POST: a path, or a whole address.
fn path(endpoint: &str) -> Result<String> {
    let uri: http::Uri = endpoint.parse().with_context(|| format!("no endpoint: {endpoint}"))?;
    Ok(uri.path_and_query().context("no path")?.to_string())
}
