//! The client's session with one server, kept through whatever happens to server and daemon.

use super::message::{Envelope, failed};
use bytes::Bytes;
use dtma_client::mcp::{Target, raw_messages};
use dtma_client::{Client, Error};
use futures_util::StreamExt;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// A call takes as long as it takes: the client is who gives it up.
const CALL: Duration = Duration::from_secs(24 * 3600);
/// Between two attempts to reach the daemon.
const AGAIN: Duration = Duration::from_millis(250);
/// The same where it says no each time.
const SELDOM: Duration = Duration::from_secs(5);

pub(super) struct Session {
    client: Client,
    target: Target,
    patience: Duration,
    known: Mutex<Known>,
    /// Held by whoever begins it anew.
    renewing: tokio::sync::Mutex<()>,
}

/// What was agreed on.
#[derive(Debug, Clone, Default)]
struct Known {
    headers: HeaderMap,
    /// The client's `initialize`.
    hello: Option<Bytes>,
    /// How often it was begun.
    turn: u64,
}

impl Session {
    pub(super) fn new(client: Client, target: Target, patience: Duration) -> Self {
        Self { client, target, patience, known: Mutex::default(), renewing: tokio::sync::Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does it again while the daemon cannot be reached.
    pub(super) async fn reaching<T>(&self, work: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
        let deadline = Instant::now() + self.patience;
        loop {
            match work().await {
                Err(Error::Unreachable { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(AGAIN).await;
                }
                done => return done,
            }
        }
    }

    async fn post(&self, headers: &HeaderMap, message: &Bytes) -> Result<Response<Incoming>, Error> {
        self.reaching(async || {
            let (headers, message) = (headers.clone(), message.clone());
            self.client.post_to(&self.target, headers, message, CALL).await
        })
        .await
    }

    /// Shakes hands for the client, who hears the answer.
    pub(super) async fn begin(&self, hello: Bytes, out: &mpsc::Sender<Bytes>) -> Result<(), String> {
        let response = self.post(&HeaderMap::new(), &hello).await.map_err(|error| told(&error))?;
        let mut headers = agreed(&response);
        let mut messages = raw_messages(response);
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| told(&error))?;
            headers.extend(version(&message));
            self.learn(&headers, Some(&hello));
            // Nobody reads: the end is near.
            let _ = out.send(message).await;
        }
        Ok(())
    }

    fn learn(&self, headers: &HeaderMap, hello: Option<&Bytes>) {
        let mut known = self.known();
        known.headers.clone_from(headers);
        known.turn += 1;
        if let Some(hello) = hello {
            known.hello = Some(hello.clone());
        }
    }

    /// The same once more, in place of a session that the daemon does not know any more. Of many who find that out one
    /// does it.
    async fn renew(&self, found: u64) -> Result<(), Error> {
        let _alone = self.renewing.lock().await;
        let Known { hello: Some(hello), turn, .. } = self.known().clone() else { return Ok(()) };
        if turn != found {
            return Ok(());
        }
        let response = self.post(&HeaderMap::new(), &hello).await?;
        let mut headers = agreed(&response);
        let mut messages = raw_messages(response);
        while let Some(message) = messages.next().await {
            headers.extend(version(&message?));
        }
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        self.post(&headers, &Bytes::from(ready)).await?;
        self.learn(&headers, None);
        Ok(())
    }

    /// In the session, or in the next one where that is gone.
    async fn in_session<T>(&self, work: impl AsyncFn(HeaderMap) -> Result<T, Error>) -> Result<T, Error> {
        let Known { headers, turn, .. } = self.known().clone();
        let lives = headers.contains_key(SESSION);
        match work(headers).await {
            Err(Error::Refused(refusal)) if lives && refusal.status == StatusCode::NOT_FOUND => {
                self.renew(turn).await?;
                let headers = self.known().headers.clone();
                work(headers).await
            }
            done => done,
        }
    }

    /// Passes a request on and its answer back; an answer there is in any case.
    pub(super) async fn call(&self, request: Bytes, id: Value, out: &mpsc::Sender<Bytes>) {
        if let Err(problem) = self.answered(&request, &id, out).await {
            let _ = out.send(failed(&id, &problem)).await;
        }
    }

    async fn answered(&self, request: &Bytes, id: &Value, out: &mpsc::Sender<Bytes>) -> Result<(), String> {
        let response = self.in_session(async |headers| self.post(&headers, request).await).await;
        let mut messages = raw_messages(response.map_err(|error| told(&error))?);
        let mut answered = false;
        while let Some(message) = messages.next().await {
            let cut_off = |error| format!("{}; the server may have done what was asked", told(&error));
            let message = message.map_err(cut_off)?;
            answered |= is_answer(&message, id);
            let _ = out.send(message).await;
        }
        match answered {
            true => Ok(()),
            false => {
                Err("the connection ended before the answer; the server may have done what was asked".into())
            }
        }
    }

    /// Passes on what has no answer. That it did not get there nobody can be told but a person.
    pub(super) async fn tell(&self, message: Bytes) {
        let told = self.in_session(async |headers| self.post(&headers, &message).await).await;
        if let Err(error) = told {
            remark(&error);
        }
    }

    /// Passes on what belongs to no call, for ever.
    pub(super) async fn listen(&self, out: &mpsc::Sender<Bytes>) {
        let (mut last, mut trouble, mut pause) = (None::<String>, String::new(), AGAIN);
        loop {
            let listen = async |headers: HeaderMap| {
                let listen =
                    async || self.client.listen_to(&self.target, headers.clone(), last.as_deref()).await;
                self.reaching(listen).await
            };
            match self.in_session(listen).await {
                Ok(mut events) => {
                    (trouble, pause) = (String::new(), AGAIN);
                    while let Some(Ok(event)) = events.next().await {
                        if !event.data.is_empty() {
                            let _ = out.send(event.data.into()).await;
                        }
                        last = event.id;
                    }
                }
                Err(Error::Refused(refusal)) if refusal.status == StatusCode::METHOD_NOT_ALLOWED => return,
                // What stays as it is is said once, and looked at ever more rarely.
                Err(error) => {
                    let again = std::mem::replace(&mut trouble, told(&error));
                    if again != trouble {
                        remark(&error);
                    }
                    pause = (pause * 2).min(SELDOM);
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Says goodbye.
    pub(super) async fn close(&self) {
        let headers = self.known().headers.clone();
        if headers.contains_key(SESSION) {
            // One that is not closed ends by itself.
            let _ = self.client.end_at(&self.target, headers).await;
        }
    }
}

fn agreed(response: &Response<Incoming>) -> HeaderMap {
    let session = response.headers().get(SESSION).cloned();
    session.map(|session| (SESSION, session)).into_iter().collect()
}

/// What every later request says of the version, if this is the answer to a handshake.
fn version(message: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let message: Value = serde_json::from_slice(message).ok()?;
    let version = message["result"]["protocolVersion"].as_str()?;
    Some((PROTOCOL, HeaderValue::from_str(version).ok()?))
}

fn is_answer(message: &[u8], id: &Value) -> bool {
    Envelope::read(message)
        .is_some_and(|envelope| envelope.method.is_none() && envelope.id.as_ref() == Some(id))
}

/// With its causes, in one line.
fn told(error: &Error) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(because) = cause {
        told = format!("{told}: {because}");
        cause = because.source();
    }
    told
}

/// To standard error, which clients keep as the server's log.
fn remark(error: &Error) {
    anstream::eprintln!("dtma: {}", crate::output::text::line(&told(error)));
}
