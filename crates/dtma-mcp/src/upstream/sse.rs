//! HTTP+SSE: one stream of events brings all messages, and says first where to POST.

use super::client::{Body, Client};
use super::ear::Ear;
use super::refusal::Trouble;
use super::{Crew, INITIALISED};
use crate::envelope::{Kind, Message};
use crate::trace;
use bytes::Bytes;
use dtma_sse::{Event, Events};
use http::{HeaderValue, Method, Uri, header};
use std::io;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// One session with a server.
pub(super) struct Session {
    client: Client,
    ear: Ear,
    path: String,
    limit: usize,
    crew: Crew,
    endpoint: watch::Sender<Option<String>>,
}

impl Session {
    pub(super) fn new(client: Client, ear: Ear, path: String, limit: usize, crew: Crew) -> Self {
        Self { client, ear, path, limit, crew, endpoint: watch::Sender::default() }
    }

    /// Listens, and says what is to be said once it is known where to.
    pub(super) async fn run(self: Arc<Self>, mut said: mpsc::Receiver<Bytes>) {
        let session = self.clone();
        self.crew.spawn(async move { session.listen().await });
        while let Some(line) = said.recv().await {
            let Ok(message) = Message::read(line, usize::MAX) else { continue };
            let session = self.clone();
            if message.is("notifications/initialized") {
                // Servers refuse what comes before it.
                let _ = tokio::time::timeout(INITIALISED, self.deliver(&message)).await;
            } else {
                self.crew.spawn(async move { session.deliver(&message).await });
            }
        }
    }

    async fn listen(&self) {
        let why = match self.heard().await {
            Ok(()) => io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended its stream of events"),
            Err(Trouble::Gone { why, .. }) => why,
            Err(Trouble::Unanswered { why, .. }) => io::Error::other(why),
            Err(Trouble::Refused { status, .. }) => {
                io::Error::other(format!("the server answered with status {status} to GET {}", self.path))
            }
        };
        self.ear.end(why);
    }

    async fn heard(&self) -> Result<(), Trouble> {
        let mut request = super::client::request(Method::GET, &self.path, Bytes::new());
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        let mut answer = self.client.send(request).await?;
        if !answer.status.is_success() || answer.kind() != Body::Events {
            return Err(Trouble::Refused { status: answer.status, body: Bytes::new() });
        }
        let mut events = Events::new(self.limit);
        while let Some(piece) = answer.next().await {
            let pushed = events.push(&piece?);
            while let Some(event) = events.pop() {
                self.hear(event).await;
            }
            pushed.map_err(|problem| Trouble::unanswered(problem.to_string()))?;
        }
        Ok(())
    }

    async fn hear(&self, event: Event) {
        if event.name == "endpoint" && !event.data.is_empty() {
            let target = target(&self.path, &String::from_utf8_lossy(&event.data));
            self.endpoint.send_replace(Some(target));
        } else if event.is_message() {
            for message in self.ear.read(event.data).await {
                self.ear.pass(&message).await;
            }
        }
    }

    /// Sends a message. A request that is not taken is answered, others are lost.
    async fn deliver(&self, message: &Message) {
        let Err(trouble) = self.post(message).await else { return };
        tracing::debug!(?trouble, "a message was not taken");
        if let Some(id) = message.raw(message.envelope.id).filter(|_| message.kind() == Kind::Request) {
            self.ear.say(&trouble.answer(id)).await;
        }
        if let Trouble::Gone { why, .. } = trouble {
            self.ear.end(why);
        }
    }

    async fn post(&self, message: &Message) -> Result<(), Trouble> {
        let mut endpoint = self.endpoint.subscribe();
        // The sender lives as long as the session.
        let known = endpoint.wait_for(Option::is_some).await.ok().and_then(|target| target.clone());
        let mut request =
            super::client::request(Method::POST, &known.unwrap_or_default(), message.to_text(&mut []));
        request.headers_mut().extend(trace::headers(message));
        let mut answer = self.client.send(request).await?;
        let (status, body) = (answer.status, answer.whole(self.limit).await);
        match status.is_success() {
            true => Ok(()),
            false => Err(Trouble::Refused { status, body: body.unwrap_or_default() }),
        }
    }
}

/// Where to POST: path and query of what the server says, relative to where that was heard. Another host is never gone to.
fn target(heard_at: &str, said: &str) -> String {
    let said = said.trim();
    let path = heard_at.split('?').next().unwrap_or_default();
    if said.starts_with('?') {
        return format!("{path}{said}");
    }
    if said.starts_with('/') && !said.starts_with("//") {
        return said.to_owned();
    }
    let absolute = if said.starts_with("//") { format!("http:{said}") } else { said.to_owned() };
    if absolute.contains("://") {
        let uri = absolute.parse::<Uri>().ok();
        let inside = uri.as_ref().and_then(Uri::path_and_query);
        return inside.map_or_else(|| "/".to_owned(), ToString::to_string);
    }
    let folder = path.rfind('/').and_then(|at| path.get(..=at)).unwrap_or("/");
    format!("{folder}{said}")
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn an_endpoint_is_on_the_same_server_however_it_is_written() {
        for (said, wanted) in [
            ("/messages?sessionId=1", "/messages?sessionId=1"),
            ("http://elsewhere:99/messages/?s=1", "/messages/?s=1"),
            ("//elsewhere/m?s=1", "/m?s=1"),
            ("https://elsewhere", "/"),
            ("messages?s=1", "/v1/messages?s=1"),
            ("?s=1", "/v1/sse?s=1"),
        ] {
            assert_eq!(target("/v1/sse?x=2", said), wanted, "{said}");
        }
    }
}
