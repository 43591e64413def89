//! A server that answers as it is told and notes what it was asked.

use crate::upstream::{Dial, Protocol, Upstream};
use bytes::Bytes;
use dtma_core::port::runtime::{AttachInput, Attached, OutputChunk};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) type Reply = Response<BoxBody<Bytes, Infallible>>;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn called(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }
}

/// The server. It ends with all its connections when it is dropped.
pub(super) struct Fake {
    pub(super) port: u16,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    pub(super) connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Fake {
    pub(super) async fn serve(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, answer)
    }

    pub(super) fn on(listener: TcpListener, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let port = listener.local_addr().unwrap().port();
        let (seen, answer, mut tasks) = (Arc::default(), Arc::new(answer), JoinSet::new());
        let connections = Arc::new(AtomicUsize::new(0));
        let (noted, counted) = (Arc::clone(&seen), connections.clone());
        tasks.spawn(async move {
            let mut inner = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                let (noted, answer, open) = (Arc::clone(&noted), answer.clone(), Open(counted.clone()));
                inner.spawn(async move {
                    let service = service_fn(|request| respond(request, &noted, &*answer));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    drop(open);
                });
            }
        });
        Self { port, seen, connections, _tasks: tasks }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) async fn until_seen(&self, wanted: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        until(|| wanted(&self.seen())).await;
        self.seen()
    }

    pub(super) fn attach(&self, protocol: Protocol, path: &str) -> Talk {
        attach(protocol, self.port, path)
    }
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn respond(
    request: Request<Incoming>,
    noted: &Mutex<Vec<Seen>>,
    answer: &(impl Fn(&Seen) -> Reply + Send + Sync),
) -> Result<Reply, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let seen = Seen {
        method: head.method,
        path: head.uri.to_string(),
        headers: head.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    noted.lock().unwrap().push(seen.clone());
    Ok(answer(&seen))
}

pub(super) async fn until(mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("it holds in time");
}

pub(super) fn dial(port: u16) -> Dial {
    Arc::new(move || Box::pin(TcpStream::connect(("127.0.0.1", port))))
}

pub(super) fn attach(protocol: Protocol, port: u16, path: &str) -> Talk {
    let path = path.to_owned();
    let Attached { output, input, exact } =
        Upstream { protocol, dial: dial(port), port, path, message: 1 << 20 }.attach();
    assert!(exact);
    Talk { output, input }
}

/// One side of a conversation.
pub(super) struct Talk {
    output: BoxStream<'static, io::Result<OutputChunk>>,
    input: Box<dyn AttachInput>,
}

impl Talk {
    pub(super) async fn say(&mut self, message: &Value) {
        self.say_raw(&format!("{message}\n")).await;
    }

    pub(super) async fn say_raw(&mut self, lines: &str) {
        self.input.send(Bytes::copy_from_slice(lines.as_bytes())).await.unwrap();
    }

    /// The next line, which is whole and one.
    pub(super) async fn line(&mut self) -> String {
        let chunk = tokio::time::timeout(PATIENCE, self.output.next()).await.expect("a line in time");
        let bytes = chunk.expect("not the end").expect("no error").bytes;
        let text = std::str::from_utf8(&bytes).unwrap().strip_suffix('\n').expect("a newline").to_owned();
        assert!(!text.contains(['\n', '\r']), "{text}");
        text
    }

    pub(super) async fn heard(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    /// Why it ended, which it does once.
    pub(super) async fn end(&mut self) -> io::Error {
        let ended = tokio::time::timeout(PATIENCE, self.output.next()).await.expect("an end in time");
        let why = ended.expect("a reason").expect_err("an end");
        assert!(self.output.next().await.is_none());
        why
    }

    /// The handshake.
    pub(super) async fn greet(&mut self) {
        self.say(&request(1, "initialize")).await;
        assert_eq!(self.heard().await["id"], 1);
        self.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    }
}

pub(super) fn request(id: u64, method: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method})
}

pub(super) fn answer_to(id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"protocolVersion": "2025-06-18"}})
}

pub(super) fn status(status: u16) -> Reply {
    text(status, "text/plain", "")
}

pub(super) fn text(status: u16, kind: &str, body: &str) -> Reply {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes())).boxed();
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(status).unwrap();
    reply.headers_mut().insert("content-type", kind.parse().unwrap());
    reply
}

pub(super) fn json_of(message: &Value) -> Reply {
    text(200, "application/json; charset=utf-8", &serde_json::to_string_pretty(message).unwrap())
}

/// A stream that is open until the sender is dropped.
pub(super) fn open_stream() -> (mpsc::UnboundedSender<String>, Reply) {
    let (send, mut pieces) = mpsc::unbounded_channel::<String>();
    let pieces = futures_util::stream::poll_fn(move |cx| pieces.poll_recv(cx));
    let body = StreamBody::new(pieces.map(|piece| Ok(Frame::data(Bytes::from(piece)))));
    let mut reply = Response::new(BodyExt::boxed(body));
    reply.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    (send, reply)
}

/// A stream that says this and ends.
pub(super) fn stream_of(pieces: &[&str]) -> Reply {
    let (send, reply) = open_stream();
    for piece in pieces {
        send.send((*piece).to_owned()).unwrap();
    }
    reply
}

pub(super) fn event(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}
