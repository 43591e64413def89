//! Streamable HTTP: a POST for each message, answered with JSON or a stream of events, and a GET stream for what the
//! server says by itself.

use super::client::{Answer, Body, Client};
use super::ear::Ear;
use super::refusal::Trouble;
use super::stateless::{self, Hangers, Mirrors};
use super::{Crew, INITIALISED};
use crate::envelope::{Kind, Message};
use crate::json::member;
use crate::trace;
use bytes::Bytes;
use dtma_sse::{Events, Trail};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// Requests that may wait for their answers at the same time; beyond, they wait for a place.
const AT_ONCE: usize = 64;
/// How often a stream is taken up again without anything new on it.
const RESUMPTIONS: u32 = 5;
/// Before a stream is taken up again, unless the server says how long.
const RETRY: Duration = Duration::from_secs(1);
/// Longest pause before another GET stream.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How long a stream may go on that has given its answer.
const TAIL: Duration = Duration::from_secs(5);
/// How often, and with which pauses, a server that is starting is greeted.
const GREETINGS: u32 = 100;
const GREET_AGAIN: Duration = Duration::from_millis(100);

/// One session with a server.
pub(super) struct Session {
    client: Client,
    ear: Ear,
    path: String,
    limit: usize,
    crew: Crew,
    known: Mutex<Known>,
    places: Semaphore,
    hangers: Hangers,
    mirrors: Mirrors,
}

/// What every later request bears.
#[derive(Default, Clone)]
struct Known {
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
}

impl Session {
    pub(super) fn new(client: Client, ear: Ear, path: String, limit: usize, crew: Crew) -> Self {
        let (known, places) = (Mutex::default(), Semaphore::new(AT_ONCE));
        let (hangers, mirrors) = (Hangers::default(), Mirrors::default());
        Self { client, ear, path, limit, crew, known, places, hangers, mirrors }
    }

    /// Sends what is to be said, each message by itself: an answer that takes long holds up no other.
    pub(super) async fn run(self: &Arc<Self>, mut said: mpsc::Receiver<Bytes>) {
        while let Some(line) = said.recv().await {
            let Ok(message) = Message::read(line, usize::MAX) else { continue };
            let session = self.clone();
            if message.is("notifications/initialized") {
                // Servers refuse what comes before it.
                let _ = tokio::time::timeout(INITIALISED, self.tell(&message)).await;
                self.crew.spawn(async move { session.listen().await });
            } else {
                self.crew.spawn(async move { session.deliver(&message).await });
            }
        }
    }

    /// Tells the server that nobody needs the session any more.
    pub(super) async fn farewell(&self) {
        if self.known().session.is_some() && !self.ear.has_ended() {
            self.client.send_last(self.request(Method::DELETE, Bytes::new())).await;
        }
    }

    async fn deliver(self: &Arc<Self>, message: &Message) {
        let cancelled = message.raw(message.envelope.request_id);
        if cancelled.is_some_and(|id| self.hangers.hang_up(id)) {
            return;
        }
        match message.raw(message.envelope.id).filter(|_| message.kind() == Kind::Request) {
            Some(id) => self.ask(message, id).await,
            None => self.tell(message).await,
        }
    }

    async fn ask(self: &Arc<Self>, message: &Message, id: &[u8]) {
        // Never closed. Only requests wait: answers to the server's own and cancellations would wait for themselves.
        let _place = self.places.acquire().await;
        let hangs_up = stateless::is_stateless(message).then(|| self.hangers.enter(id));
        if message.is("tools/list") {
            self.mirrors.expect(id);
        }
        let answered = async {
            match hangs_up {
                Some(hangs_up) => {
                    hangs_up.run_until_cancelled(self.answered(message, id)).await.unwrap_or(Ok(()))
                }
                None => self.answered(message, id).await,
            }
        };
        let answered = answered.await;
        self.hangers.leave(id);
        self.mirrors.leave(id);
        if let Err(trouble) = answered {
            self.ear.say(&trouble.answer(id)).await;
            self.end_with(trouble);
        }
    }

    fn end_with(&self, trouble: Trouble) {
        if let Trouble::Gone { why, .. } = trouble {
            self.ear.end(why);
        }
    }

    /// Sends a request and passes on all that comes of it.
    async fn answered(self: &Arc<Self>, message: &Message, id: &[u8]) -> Result<(), Trouble> {
        let greeting = message.is("initialize");
        let mut answer = self.post(message, greeting).await?;
        if greeting {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).session =
                answer.headers.get(SESSION).cloned();
        }
        match answer.kind() {
            Body::Events => self.follow(answer, id).await,
            Body::Json => {
                let body = answer.whole(self.limit).await?;
                match self.hear(body, Some(id)).await {
                    true => Ok(()),
                    false => Err(Trouble::unanswered("the server's answer is about something else")),
                }
            }
            Body::Other => {
                let status = answer.status;
                Err(Trouble::unanswered(format!("the server answered with status {status} and no message")))
            }
        }
    }

    /// POSTs a message; a server that is greeted may say for a while that it is not there yet.
    async fn post(&self, message: &Message, patient: bool) -> Result<Answer, Trouble> {
        let text = message.to_text(&mut []);
        let mut attempts = 0;
        loop {
            let mut request = self.request(Method::POST, text.clone());
            request.headers_mut().extend(trace::headers(message));
            if let Some(claims) = stateless::claims(message) {
                request.headers_mut().remove(SESSION);
                request.headers_mut().extend(claims);
                request.headers_mut().extend(self.mirrors.headers(message));
            }
            let answer = self.client.send(request).await?;
            attempts += 1;
            let away = matches!(answer.status.as_u16(), 502..=504);
            if !(patient && away && attempts < GREETINGS) {
                return self.accepted(answer).await;
            }
            tokio::time::sleep(GREET_AGAIN).await;
        }
    }

    async fn accepted(&self, mut answer: Answer) -> Result<Answer, Trouble> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        if answer.status == StatusCode::NOT_FOUND && self.known().session.is_some() {
            let why = std::io::Error::other("the server does not know the session any more");
            return Err(Trouble::Gone { why, sent: false });
        }
        let status = answer.status;
        let body = answer.whole(self.limit).await.unwrap_or_default();
        Err(Trouble::Refused { status, body })
    }

    /// Sends what has no answer. What comes all the same is passed on.
    async fn tell(self: &Arc<Self>, message: &Message) {
        let heard = async {
            let mut answer = self.post(message, false).await?;
            match answer.kind() {
                Body::Events => drop(self.events(&mut answer, None, &mut Events::new(self.limit)).await?),
                Body::Json => drop(self.hear(answer.whole(self.limit).await?, None).await),
                Body::Other => drop(answer.whole(self.limit).await?),
            }
            Ok(())
        };
        if let Err(trouble) = heard.await {
            tracing::debug!(?trouble, "a notification or an answer to the server was not taken");
            self.end_with(trouble);
        }
    }

    /// Reads the answer from a stream, and from the next one where the server lets it be taken up again.
    async fn follow(self: &Arc<Self>, mut answer: Answer, id: &[u8]) -> Result<(), Trouble> {
        let mut trail = Trail::default();
        let mut fruitless = 0;
        loop {
            let mut events = Events::new(self.limit);
            // One that breaks off is taken up like one that ends.
            if let Ok(true) = self.events(&mut answer, Some(id), &mut events).await {
                self.read_on(answer, events);
                return Ok(());
            }
            let found = events.trail;
            fruitless = if found.last_id.is_some() { 0 } else { fruitless + 1 };
            trail = Trail { last_id: found.last_id.or(trail.last_id), retry: found.retry.or(trail.retry) };
            let last = trail.last_id.as_deref().filter(|_| fruitless < RESUMPTIONS);
            let last = last.ok_or_else(|| Trouble::unanswered("the server's answer ended early"))?;
            tokio::time::sleep(trail.retry.unwrap_or(RETRY)).await;
            answer = self.accepted(self.client.send(self.get(Some(last))).await?).await?;
            if answer.kind() != Body::Events {
                return Err(Trouble::unanswered("the server's answer ended early and cannot be taken up"));
            }
        }
    }

    /// Passes on the messages of a stream until it ends, or the answer to `awaited` was among them.
    async fn events(
        &self,
        answer: &mut Answer,
        awaited: Option<&[u8]>,
        events: &mut Events,
    ) -> Result<bool, Trouble> {
        let mut answered = false;
        while let Some(piece) = answer.next().await {
            let pushed = events.push(&piece?);
            while let Some(event) = events.pop() {
                if event.is_message() {
                    answered |= self.hear(event.data, awaited).await;
                }
            }
            pushed.map_err(|problem| Trouble::unanswered(problem.to_string()))?;
            if answered {
                break;
            }
        }
        Ok(answered)
    }

    /// What comes after the answer is nobody's to wait for; at the end the connection serves others.
    fn read_on(self: &Arc<Self>, mut answer: Answer, mut events: Events) {
        let session = self.clone();
        self.crew.spawn(async move {
            let _ = tokio::time::timeout(TAIL, session.events(&mut answer, None, &mut events)).await;
        });
    }

    /// Passes on the messages of a text. Whether the answer to `awaited` is among them.
    async fn hear(&self, text: Bytes, awaited: Option<&[u8]>) -> bool {
        let mut answered = false;
        for message in self.ear.read(text).await {
            if message.kind() == Kind::Response && message.raw(message.envelope.id) == awaited {
                answered = awaited.is_some();
                self.note_version(&message);
                self.mirrors.learn(&message);
            }
            self.ear.pass(&message).await;
        }
        answered
    }

    /// Only the first answer of a session is to `initialize`. Noted before anybody can answer to it.
    fn note_version(&self, message: &Message) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.version.is_none() {
            let result = message.raw(message.envelope.result);
            let version = result.and_then(|result| member(result, "protocolVersion"));
            let version = version.and_then(|raw| serde_json::from_slice::<String>(raw).ok());
            known.version = version.and_then(|version| HeaderValue::from_str(&version).ok());
        }
    }

    /// Hears what the server says by itself, where it offers that, and notices when it is gone.
    async fn listen(self: Arc<Self>) {
        let (mut trail, mut pause) = (Trail::default(), RETRY);
        loop {
            let heard = self.listen_once(&mut trail).await;
            match heard {
                Ok(Heard::Something) => pause = RETRY,
                Ok(Heard::Nothing) => pause = (pause * 2).min(LONGEST_RETRY),
                Ok(Heard::NotOffered) => return,
                Err(trouble) => return self.end_with(trouble),
            }
            // A server that ended takes no connection any more: calls need not find that out.
            match self.client.dial().await {
                Ok(_) => tokio::time::sleep(trail.retry.unwrap_or(pause)).await,
                Err(trouble) => return self.end_with(trouble),
            }
        }
    }

    async fn listen_once(&self, trail: &mut Trail) -> Result<Heard, Trouble> {
        let mut answer = match self.client.send(self.get(trail.last_id.as_deref())).await {
            Ok(answer) => answer,
            Err(gone @ Trouble::Gone { .. }) => return Err(gone),
            Err(_) => return Ok(Heard::Nothing),
        };
        if answer.status.is_server_error() && answer.status != StatusCode::NOT_IMPLEMENTED {
            return Ok(Heard::Nothing);
        }
        if answer.status == StatusCode::NOT_FOUND && trail.last_id.is_some() {
            // It was offered before: what is not found is the session.
            self.accepted(answer).await?;
            return Ok(Heard::NotOffered);
        }
        if !answer.status.is_success() || answer.kind() != Body::Events {
            return Ok(Heard::NotOffered);
        }
        let mut events = Events::new(self.limit);
        // However it ends, another one is asked for.
        let _ = self.events(&mut answer, None, &mut events).await;
        let found = events.trail;
        let something = found != Trail::default();
        *trail =
            Trail { last_id: found.last_id.or(trail.last_id.take()), retry: found.retry.or(trail.retry) };
        Ok(if something { Heard::Something } else { Heard::Nothing })
    }

    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn get(&self, last_event: Option<&str>) -> Request<Full<Bytes>> {
        let mut request = self.request(Method::GET, Bytes::new());
        let events = HeaderValue::from_static("text/event-stream");
        request.headers_mut().insert(header::ACCEPT, events);
        if let Some(last) = last_event.and_then(|last| HeaderValue::from_str(last).ok()) {
            request.headers_mut().insert(LAST_EVENT, last);
        }
        request
    }

    fn request(&self, method: Method, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = super::client::request(method, &self.path, body);
        let known = self.known();
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.extend(known.session.map(|session| (SESSION, session)));
        headers.extend(known.version.map(|version| (VERSION, version)));
        request
    }
}

/// What came of a GET stream.
enum Heard {
    Something,
    Nothing,
    NotOffered,
}
