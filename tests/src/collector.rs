//! A collector of OpenTelemetry's: it takes spans over OTLP/HTTP and remembers what was said of them. It can be told to
//! refuse them, or not to answer at all.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::future::pending;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How a delivery is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// With thanks.
    Takes,
    /// With this status.
    Refuses(u16),
    /// Not at all; the connection stays open.
    Hangs,
}

/// What was said of one span.
#[derive(Debug, Clone)]
pub struct Told {
    /// In hex digits.
    pub trace: String,
    /// The span that it is part of, in hex digits; empty: none.
    pub parent: String,
    /// What else is said of the trace.
    pub state: String,
    /// Its name.
    pub name: String,
    /// The number of its kind; 2 is a server's.
    pub kind: i32,
    /// The number of its status; 2 is an error.
    pub status: i32,
    /// How long it took, in nanoseconds.
    pub nanos: u64,
    /// Its attributes, all of which are texts.
    pub attributes: BTreeMap<String, String>,
    /// Those of the program that it is of.
    pub resource: BTreeMap<String, String>,
}

/// The collector; it ends when dropped.
pub struct Collector {
    port: u16,
    state: Arc<State>,
    _accepting: JoinSet<()>,
}

struct State {
    mood: Mutex<Mood>,
    told: Mutex<Vec<Told>>,
    struck: Mutex<usize>,
}

impl Collector {
    /// Listens on a free port and takes what comes.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = State { mood: Mutex::new(Mood::Takes), told: Mutex::default(), struck: Mutex::default() };
        let state = Arc::new(state);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&state)));
        Self { port, state, _accepting: accepting }
    }

    /// What to say where spans go.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Answers otherwise from now on.
    pub fn be(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    /// What it took, in the order it came.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        self.state.told.lock().unwrap().clone()
    }

    /// How many deliveries it did not take.
    #[must_use]
    pub fn struck(&self) -> usize {
        *self.state.struck.lock().unwrap()
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        connections.spawn(serve(connection, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(connection: TcpStream, state: Arc<State>) {
    let answering = service_fn(|request| answer(request, &state));
    // A client that goes away in the middle is no news.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), answering).await;
}

async fn answer(request: Request<Incoming>, state: &State) -> Result<Response<Full<Bytes>>, Infallible> {
    let mood = *state.mood.lock().unwrap();
    if mood != Mood::Takes {
        *state.struck.lock().unwrap() += 1;
    }
    let status = match mood {
        Mood::Takes => take(request, state).await,
        Mood::Refuses(status) => StatusCode::from_u16(status).expect("a status"),
        Mood::Hangs => pending().await,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}

/// As the specification of OTLP/HTTP has it, and as strictly as a real one.
async fn take(request: Request<Incoming>, state: &State) -> StatusCode {
    let kind = request.headers().get(http::header::CONTENT_TYPE).cloned();
    if (request.method(), request.uri().path()) != (&Method::POST, "/v1/traces") {
        return StatusCode::NOT_FOUND;
    }
    if kind.is_none_or(|kind| kind != "application/x-protobuf") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let Ok(body) = request.into_body().collect().await else { return StatusCode::BAD_REQUEST };
    let Ok(export) = ExportTraceServiceRequest::decode(body.to_bytes()) else {
        return StatusCode::BAD_REQUEST;
    };
    state.told.lock().unwrap().extend(export.resource_spans.into_iter().flat_map(spans));
    StatusCode::OK
}

fn spans(of: ResourceSpans) -> impl Iterator<Item = Told> {
    let resource = texts(of.resource.map(|resource| resource.attributes).unwrap_or_default());
    let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(move |span| told(span, resource.clone()))
}

fn told(span: Span, resource: BTreeMap<String, String>) -> Told {
    Told {
        trace: hex(&span.trace_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state,
        name: span.name,
        kind: span.kind,
        status: span.status.map_or(0, |status| status.code),
        nanos: span.end_time_unix_nano - span.start_time_unix_nano,
        attributes: texts(span.attributes),
        resource,
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |one: KeyValue| match one.value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => (one.key, text),
        other => (one.key, format!("{other:?}")),
    };
    attributes.into_iter().map(text).collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("a string takes everything");
        digits
    })
}
