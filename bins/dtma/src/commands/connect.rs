//! `mcp connect`: a server, or all of a group, on standard input and output for a client that only starts commands. Its messages go through
//! the gateway as the bytes they are, and what comes back goes out, one message a line.
//!
//! Requests are under way side by side; everything else goes one after the other, in the order in which it came. A daemon
//! that cannot be reached is waited for, and a session that it does not know any more is begun anew with the client's own
//! handshake: the client notices neither.

mod message;
mod session;

use crate::app::{App, server, there_is};
use crate::cli::McpConnectArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use bytes::Bytes;
use dtma_client::Error;
use dtma_client::mcp::Target;
use dtma_client::types::Kind;
use http::StatusCode;
use message::{Envelope, failed, line, unreadable};
use session::Session;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};

/// The longest message, in bytes; the daemon's own limit.
const LONGEST: u64 = 16 << 20;
/// Messages that wait for the client to read.
const WAITING: usize = 64;
/// Requests under way at once; a client that asks for more waits.
const MOST: usize = 256;
/// At the end, for the client to read what is left and for the daemon to hear of it.
const GOODBYE: Duration = Duration::from_secs(2);

/// `dtma mcp connect`.
pub(super) async fn connect(app: &App, args: McpConnectArgs) -> Result<(), Failure> {
    LocalSet::new().run_until(carry(app, args)).await
}

async fn carry(app: &App, args: McpConnectArgs) -> Result<(), Failure> {
    let (out, lines) = mpsc::channel(WAITING);
    let mut writer = JoinSet::new();
    writer.spawn(write(lines));
    let McpConnectArgs { instance, group, patience } = args;
    let target = match group {
        Some(group) => Target::Group(group),
        None => Target::Server(instance.unwrap_or_default()),
    };
    let session = Arc::new(Session::new(app.client.clone(), target.clone(), patience));
    look(app, &session, &target).await?;
    let mut bridge =
        Bridge { session: Arc::clone(&session), out, calls: JoinSet::new(), listening: JoinSet::new() };
    let served = tokio::select! {
        served = bridge.serve() => served,
        // Nobody reads any more; dropping the bridge gives up what is under way.
        _ = writer.join_next() => Err(Failure::Pipe),
        ended = told_to_end() => ended,
    };
    drop(bridge);
    let goodbye = async {
        writer.join_next().await;
        session.close().await;
    };
    // A session that is not closed ends by itself.
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    served
}

/// Says at once, and to a person, that there is no such MCP server or group. An agent's token may not let it look: then the
/// handshake tells.
async fn look(app: &App, session: &Session, target: &Target) -> Result<(), Failure> {
    let status = match session.reaching(async || app.client.get_status().await).await {
        Err(Error::Refused(refusal)) if refusal.status == StatusCode::FORBIDDEN => return Ok(()),
        status => status?,
    };
    let instance =
        match target {
            Target::Server(instance) => instance,
            Target::Group(name) => {
                let known = || status.groups.iter().map(|group| group.group_id.as_str());
                return match known().any(|group| group == name) {
                    true => Ok(()),
                    false => Err(Failure::new(Exit::NotFound, format!("there is no group {name}"))
                        .hint(there_is(known()))),
                };
            }
        };
    match server(&status, instance)?.kind {
        Kind::Mcp => Ok(()),
        Kind::Tool => {
            Err(Failure::new(Exit::NotFound, format!("{instance} is a tool: it does not speak MCP")))
        }
    }
}

async fn told_to_end() -> Result<(), Failure> {
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = term.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Between a client and the daemon.
struct Bridge {
    session: Arc<Session>,
    out: mpsc::Sender<Bytes>,
    calls: JoinSet<()>,
    listening: JoinSet<()>,
}

impl Bridge {
    /// Until the client has nothing more to say, and was answered.
    async fn serve(&mut self) -> Result<(), Failure> {
        let mut input = BufReader::new(tokio::io::stdin());
        let mut text = Vec::new();
        loop {
            // May be dropped: what was read stays in `text`.
            tokio::select! {
                read = next_line(&mut input, &mut text) => match read? {
                    true => self.take(Bytes::from(std::mem::take(&mut text))).await?,
                    false => break,
                },
                Some(_) = self.calls.join_next() => {}
            }
        }
        while self.calls.join_next().await.is_some() {}
        Ok(())
    }

    async fn take(&mut self, message: Bytes) -> Result<(), Failure> {
        if message.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let Some(envelope) = Envelope::read(&message) else {
            return self.say(unreadable()).await;
        };
        match (envelope.method.as_deref(), envelope.id) {
            (Some("initialize"), Some(id)) => {
                let begun = self.session.begin(message, &self.out).await;
                match begun {
                    Ok(()) => Ok(()),
                    Err(problem) => self.say(failed(&id, &problem)).await,
                }
            }
            (Some(_), Some(id)) => {
                while self.calls.len() >= MOST {
                    self.calls.join_next().await;
                }
                let (session, out) = (Arc::clone(&self.session), self.out.clone());
                self.calls.spawn_local(async move { session.call(message, id, &out).await });
                Ok(())
            }
            (method, _) => {
                let is_ready = method == Some("notifications/initialized");
                self.session.tell(message).await;
                if is_ready && self.listening.is_empty() {
                    let (session, out) = (Arc::clone(&self.session), self.out.clone());
                    self.listening.spawn_local(async move { session.listen(&out).await });
                }
                Ok(())
            }
        }
    }

    async fn say(&self, message: Bytes) -> Result<(), Failure> {
        self.out.send(message).await.map_err(|_| Failure::Pipe)
    }
}

/// Adds the next line to `text`; false at the end of the input.
async fn next_line(input: &mut BufReader<tokio::io::Stdin>, text: &mut Vec<u8>) -> Result<bool, Failure> {
    let read = input.take(LONGEST + 1).read_until(b'\n', text).await;
    let read = read.map_err(|error| unreadable_input(&error.to_string()))?;
    if text.len() as u64 > LONGEST {
        return Err(unreadable_input(&format!("a message is longer than {LONGEST} bytes")));
    }
    Ok(read > 0 || !text.is_empty())
}

fn unreadable_input(problem: &str) -> Failure {
    Failure::new(Exit::Failed, "standard input cannot be read").cause(problem)
}

/// Writes messages until nobody has any, or nobody reads.
async fn write(mut messages: mpsc::Receiver<Bytes>) {
    let mut output = tokio::io::stdout();
    let mut batch = Vec::new();
    while messages.recv_many(&mut batch, WAITING).await > 0 {
        let text: Vec<u8> = batch.drain(..).flat_map(|message| line(&message)).collect();
        if output.write_all(&text).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}
