//! The door of HTTP+SSE, the pair of paths that protocol version 2024-11-05 has: a stream that a client opens, and a
//! path on it to which that client posts. The session lives as long as the stream.

use super::access::{self, Reached};
use super::duplex::{End, Line, Posted, Told};
use super::header;
use super::target::Target;
use crate::answer::{Answer, json};
use crate::app::App;
use crate::auth::Caller;
use crate::body::{GATEWAY_LIMIT, expect_json, read};
use crate::calls::By;
use crate::error::ApiError;
use crate::metrics::{GatewayOutcome, StreamDoor};
use crate::path::Named;
use crate::query::Asked;
use crate::sse;
use axum::Extension;
use axum::extract::{Request, State};
use bytes::Bytes;
use dtma_core::id::InstanceName;
use dtma_manager::ManagerError;
use dtma_mcp::{PostReply, SessionId, TraceContext};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream, StreamExt};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use utoipa::IntoParams;

/// A piece of a message; a client is slow when it does not take one of these in time, however big the whole is.
const PIECE: usize = 64 << 10;
/// Pieces that wait for the connection.
const PIECES: usize = 4;
/// How long a client may take over one piece.
const SLOW: Duration = Duration::from_secs(30);
/// When too many messages wait.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Open a session with a server over HTTP+SSE
///
/// The transport of protocol version 2024-11-05. The first event, `endpoint`, says where to POST; answers and whatever
/// else the server says come as events `message`. The session ends with the stream.
#[utoipa::path(get, path = "/gateway/servers/{instanceName}/sse", operation_id = "gatewaySse", tag = "gateway",
    params(("instanceName" = String, Path, description = "The server")),
    responses((status = 200, description = "Messages until either side ends the stream", body = String,
               content_type = "text/event-stream")))]
pub(crate) async fn gateway_sse(
    State(app): State<App>,
    Named(instance): Named<InstanceName>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Answer {
    open(&app, &Target::Server(instance), None, caller, &headers)
}

/// Opens the stream.
pub(super) fn open(
    app: &App,
    target: &Target,
    most_tools: Option<usize>,
    caller: Caller,
    headers: &HeaderMap,
) -> Answer {
    header::accepts(headers, &["text/event-stream"])?;
    let reached = access::reached(app, &caller, target)?;
    let server = access::opened(target.answering(app)?.with_most_tools(most_tools), &reached);
    let (line, posted, told) = Line::new(app, target.clone(), &server, caller.clone(), By::Sse);
    let seat = app.streams().enter(app, Client { line: line.clone(), posted, caller });
    let endpoint = format!("{}/messages?sessionId={}", target.path(), seat.id);
    let (out, pieces) = mpsc::channel(PIECES);
    let last = Arc::<Last>::default();
    app.tasks().spawn(carry(seat, told, out, line.over(), Arc::clone(&last)));
    let events = stream::iter([sse::event("endpoint", None, endpoint.as_bytes())]);
    Ok(sse::answer(app, events.chain(received(pieces)).chain(stream::once(async move { last.words() }))))
}

/// Send an MCP message on a session over HTTP+SSE
///
/// One JSON-RPC message a request; its answer comes on the stream.
#[utoipa::path(post, path = "/gateway/servers/{instanceName}/messages", operation_id = "gatewayMessages", tag = "gateway",
    params(("instanceName" = String, Path, description = "The server"), MessagesQuery),
    request_body(content = Object, description = "A JSON-RPC message",
        example = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})),
    responses((status = 202, description = "The message was taken")))]
pub(crate) async fn gateway_messages(
    State(app): State<App>,
    Named(instance): Named<InstanceName>,
    Asked(query): Asked<MessagesQuery>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    message(&app, &Target::Server(instance), &query, &caller, request).await
}

/// Takes a message for such a stream.
pub(super) async fn message(
    app: &App,
    target: &Target,
    query: &MessagesQuery,
    caller: &Caller,
    request: Request,
) -> Answer {
    expect_json(request.headers())?;
    let id = SessionId::parse(&query.session_id).ok_or(ApiError::NoSession)?;
    let client = app.streams().find(id, target, caller).ok_or(ApiError::NoSession)?;
    let reached = match access::reached(app, caller, target) {
        Ok(reached) => reached,
        Err(error) => {
            client.line.barred(&read(request, GATEWAY_LIMIT).await?, &error);
            return Err(error);
        }
    };
    target.entrance(app)?;
    let trace = TraceContext::of(request.headers());
    client.take(access::traced(trace, read(request, GATEWAY_LIMIT).await?), &reached).await
}

/// Which stream.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct MessagesQuery {
    /// As the event `endpoint` of the stream gave it.
    session_id: String,
}

/// Every stream that is open. Connections are bounded, and so are they.
#[derive(Default)]
pub(crate) struct Streams(Mutex<HashMap<SessionId, Arc<Client>>>);

/// Who posts to a stream.
struct Client {
    line: Line,
    posted: mpsc::Sender<Posted>,
    /// Who opened it; nobody else may post to it.
    caller: Caller,
}

/// The place of an open stream, until it is dropped.
struct Seat {
    app: App,
    id: SessionId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.app.streams().table().remove(&self.id);
        self.app.metrics().stream_ended(StreamDoor::Sse);
    }
}

impl Streams {
    fn enter(&self, app: &App, client: Client) -> Seat {
        let id = SessionId::random();
        self.table().insert(id, Arc::new(client));
        app.metrics().stream_began(StreamDoor::Sse);
        Seat { app: app.clone(), id }
    }

    fn find(&self, id: SessionId, target: &Target, caller: &Caller) -> Option<Arc<Client>> {
        let client = self.table().get(&id).map(Arc::clone);
        client.filter(|client| client.line.target() == target && client.caller.name == caller.name)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Client>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// What is wrong with a message itself is told whoever posts it, everything else on the stream.
    async fn take(&self, message: Bytes, reached: &Reached) -> Answer {
        // A place first: a message must not be sent whose answer nobody would await.
        let place = self.posted.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => ApiError::TooMany("messages on one stream", TRY_AGAIN),
            mpsc::error::TrySendError::Closed(()) => ApiError::NoSession,
        })?;
        match self.line.post(message, reached).await {
            Posted::Answered(PostReply::Refused(body)) => {
                self.line.count(GatewayOutcome::Refused);
                return Ok(json(StatusCode::BAD_REQUEST, body));
            }
            Posted::Answered(PostReply::UnknownSession) => return Err(ApiError::NoSession),
            Posted::Answered(PostReply::Closed) => return Err(ApiError::Manager(ManagerError::ShuttingDown)),
            posted => place.send(posted),
        }
        Ok(super::empty(StatusCode::ACCEPTED))
    }
}

/// Brings what is said to the client until either side ends the stream; then the session ends, too.
async fn carry(
    seat: Seat,
    mut told: Told,
    out: mpsc::Sender<Bytes>,
    over: BoxFuture<'static, End>,
    last: Arc<Last>,
) {
    let closing = seat.app.closing().clone();
    let end = tokio::select! {
        // Dropped, all: with the stream everything ends that was said on it.
        () = out.closed() => End::Left,
        () = closing.cancelled() => End::Shutdown,
        end = over => end,
        end = tell(&mut told, &out, &last) => end,
    };
    let _is_first = last.end.set(end);
    drop((out, seat));
    told.finish(end).await;
}

async fn tell(told: &mut Told, out: &mpsc::Sender<Bytes>, last: &Last) -> End {
    loop {
        let mut event = match told.next().await {
            Ok(message) => sse::event("message", None, &message),
            Err(end) => return end,
        };
        while !event.is_empty() {
            let piece = event.split_to(event.len().min(PIECE));
            match tokio::time::timeout(SLOW, out.send(piece)).await {
                Ok(Ok(())) => last.torn.store(!event.is_empty(), Ordering::Relaxed),
                Ok(Err(_)) => return End::Left,
                Err(_) => return End::Slow,
            }
        }
    }
}

fn received(mut pieces: mpsc::Receiver<Bytes>) -> impl Stream<Item = Bytes> {
    stream::poll_fn(move |cx| pieces.poll_recv(cx))
}

/// What is said last to a client that is still there, or comes back to reading.
#[derive(Default)]
struct Last {
    end: OnceLock<End>,
    /// Half an event was said: clients forget it when nothing follows, and must not take words of ours for its rest.
    torn: AtomicBool,
}

impl Last {
    fn words(&self) -> Bytes {
        let end = self.end.get().filter(|_| !self.torn.load(Ordering::Relaxed));
        end.map_or_else(Bytes::new, |end| format!(": {end}\n\n").into())
    }
}
