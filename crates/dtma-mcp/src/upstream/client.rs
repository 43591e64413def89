//! Requests to one server over connections that are used again.

use super::refusal::Trouble;
use super::{Crew, Dial};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a server that was there may refuse a connection before it counts as gone.
const REFUSALS: u32 = 5;
/// Connections kept for the next request.
const KEPT: usize = 16;
/// For how long: many servers hang up after five seconds, and a request that meets that is lost.
const KEPT_FOR: Duration = Duration::from_secs(3);

type Sender = SendRequest<Full<Bytes>>;

/// Talks HTTP/1.1 to one port.
pub(super) struct Client {
    dial: Dial,
    host: HeaderValue,
    crew: Crew,
    idle: Arc<Idle>,
    reached: AtomicBool,
}

#[derive(Default)]
struct Idle(Mutex<Vec<(Sender, Instant)>>);

/// The head of an answer, and its body to come.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Incoming,
    connection: Option<(Sender, Arc<Idle>)>,
}

/// What the body of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Json,
    Events,
    Other,
}

impl Client {
    pub(super) fn new(dial: Dial, port: u16, crew: Crew) -> Self {
        let host = HeaderValue::from_str(&format!("localhost:{port}"));
        let host = host.unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        Self { dial, host, crew, idle: Arc::default(), reached: AtomicBool::new(false) }
    }

    /// What the server takes us to have called it.
    pub(super) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, Trouble> {
        request.headers_mut().insert(header::HOST, self.host());
        while let Some(mut kept) = self.idle.take().await {
            match kept.try_send_request(request).await {
                Ok(response) => return Ok(self.answer(response, kept)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(&failed.into_error())),
                },
            }
        }
        let (mut sender, connection) = self.connect().await?;
        self.crew.spawn(async move {
            // Whoever waits for an answer on it hears of its end.
            let _ = connection.await;
        });
        let response = sender.send_request(request).await.map_err(|problem| broken(&problem))?;
        Ok(self.answer(response, sender))
    }

    /// Sends a last request, on a connection of its own and in nobody's task.
    pub(super) async fn send_last(&self, mut request: Request<Full<Bytes>>) {
        request.headers_mut().insert(header::HOST, self.host());
        let Ok((mut sender, connection)) = self.connect().await else { return };
        tokio::select! {
            // Dropped: the request was answered.
            _ = connection => {}
            // Dropped: the connection is gone.
            _ = sender.send_request(request) => {}
        }
    }

    /// Connects, patiently as long as the server never took a connection.
    pub(super) async fn dial(&self) -> Result<TcpStream, Trouble> {
        let mut refusals = 0;
        loop {
            match (self.dial)().await {
                Ok(stream) => {
                    self.reached.store(true, Ordering::Relaxed);
                    // Without it small messages wait for each other; one that cannot have it is slow, not broken.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(problem) if self.may_come(&problem, refusals) => refusals += 1,
                Err(problem) => return Err(Trouble::Gone { why: problem, sent: false }),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn may_come(&self, problem: &io::Error, refusals: u32) -> bool {
        let refused = problem.kind() == io::ErrorKind::ConnectionRefused;
        refused && (!self.reached.load(Ordering::Relaxed) || refusals < REFUSALS)
    }

    async fn connect(&self) -> Result<(Sender, Connection<TokioIo<TcpStream>, Full<Bytes>>), Trouble> {
        let stream = self.dial().await?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        shaken.map_err(|problem| Trouble::Unanswered { why: in_words(&problem), sent: false })
    }

    fn answer(&self, response: Response<Incoming>, sender: Sender) -> Answer {
        let (head, body) = response.into_parts();
        let connection = Some((sender, self.idle.clone()));
        Answer { status: head.status, headers: head.headers, body, connection }
    }
}

fn broken(problem: &hyper::Error) -> Trouble {
    Trouble::unanswered(in_words(problem))
}

fn in_words(problem: &hyper::Error) -> String {
    format!("the connection to the server broke: {problem}")
}

impl Idle {
    async fn take(&self) -> Option<Sender> {
        loop {
            let (mut sender, since) = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if since.elapsed() < KEPT_FOR && sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    fn keep(&self, sender: Sender) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(sender, since)| since.elapsed() < KEPT_FOR && !sender.is_closed());
        if kept.len() < KEPT && !sender.is_closed() {
            kept.push((sender, Instant::now()));
        }
    }
}

impl Answer {
    /// What its head says its body is.
    pub(super) fn kind(&self) -> Body {
        let value = self.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let word = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if word.eq_ignore_ascii_case(b"application/json") {
            Body::Json
        } else if word.eq_ignore_ascii_case(b"text/event-stream") {
            Body::Events
        } else {
            Body::Other
        }
    }

    /// The next piece of the body; `None` at its end, after which the connection serves others.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Trouble>> {
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_trailers) => {}
                },
                Some(Err(problem)) => return Some(Err(broken(&problem))),
                None => {
                    if let Some((sender, idle)) = self.connection.take() {
                        idle.keep(sender);
                    }
                    return None;
                }
            }
        }
    }

    /// The whole body.
    pub(super) async fn whole(&mut self, limit: usize) -> Result<Bytes, Trouble> {
        let Some(first) = self.next().await.transpose()? else { return Ok(Bytes::new()) };
        let Some(second) = self.next().await.transpose()? else { return within(first, limit) };
        let mut all = [first, second].concat();
        while let Some(piece) = self.next().await {
            all.extend_from_slice(&piece?);
            if all.len() > limit {
                break;
            }
        }
        within(all.into(), limit)
    }
}

fn within(body: Bytes, limit: usize) -> Result<Bytes, Trouble> {
    match body.len() > limit {
        true => Err(Trouble::unanswered(format!("the server's answer is longer than {limit} bytes"))),
        false => Ok(body),
    }
}

/// A request with a body of JSON, or without one.
pub(super) fn request(method: http::Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
    let has_body = !body.is_empty();
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    // A path that is none was refused before; the root is as good as any other then.
    *request.uri_mut() = path.parse().unwrap_or_default();
    if has_body {
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    request
}
