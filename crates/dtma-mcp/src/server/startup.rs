//! What is said to a process before clients may speak to it: the handshake (or, to one that had it, a ping; or a ping
//! before it, to one whose client is still to come), then the listing of its tools. Runs beside the owner and asks it
//! to write.

use super::Shared;
use super::call::CallError;
use super::command::{Aside, AsideKind, HouseAnswer, HouseCall};
use super::state::{Greeting, Tool, ToolList};
use crate::json::{Cursor, Fault, member};
use crate::rpc;
use bytes::Bytes;
use dtma_core::id::RunKey;
use dtma_core::record::Handshake;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Most pages and tools of a listing.
const MAX_PAGES: usize = 200;
const MAX_TOOLS: usize = 10_000;

/// A client for whom a process is made has come by then: it is not pinged.
const COMES_WITH_IT: Duration = Duration::from_millis(100);
/// How long a process that is greeted later is waited for until it answers a ping.
const UP: Duration = Duration::from_secs(30);
/// The time that is given to one that must not be asked.
const UNASKED: Duration = Duration::from_secs(5);

/// Servers that change several tools say so several times; one listing is enough.
pub(crate) const SETTLE: Duration = Duration::from_millis(100);

/// What the start-up found.
pub(crate) struct Started {
    pub(crate) greeting: Arc<Greeting>,
    pub(crate) tools: ToolList,
    pub(crate) handshake: Handshake,
}

/// The start-up's line to the owner.
pub(crate) struct Talk {
    pub(crate) turn: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) owner: mpsc::Sender<Aside>,
}

/// Gets a process ready. `known` is the handshake that was done with this very run.
pub(crate) async fn start(
    talk: &Talk,
    shared: &Shared,
    run: RunKey,
    known: Option<Handshake>,
) -> Result<Started, String> {
    let greeting = Arc::new(match known.and_then(recall) {
        Some(greeting) => check_alive(talk, shared).await.map(|()| greeting)?,
        None => initialise(talk, shared, &run).await?,
    });
    if shared.host.is_session() {
        // Whatever it asks its client before it lists its tools, the client can answer when it was greeted itself.
        let tools = ToolList::Unknown { reason: "it was not asked yet".into() };
        return Ok(started(run, greeting, tools));
    }
    let tools = list_tools(talk, &greeting, shared.limits.listing).await;
    if let ToolList::Unknown { reason } = &tools {
        tracing::warn!(server = %shared.instance, %reason, "its tools cannot be listed");
    }
    Ok(started(run, greeting, tools))
}

fn started(run: RunKey, greeting: Arc<Greeting>, tools: ToolList) -> Started {
    let handshake = Handshake { run, result: String::from_utf8_lossy(&greeting.raw).into_owned() };
    Started { greeting, tools, handshake }
}

/// A kept handshake that cannot be read is as good as none.
fn recall(handshake: Handshake) -> Option<Greeting> {
    Greeting::read(handshake.result.into()).ok()
}

async fn check_alive(talk: &Talk, shared: &Shared) -> Result<(), String> {
    match talk.call("ping", None, shared.limits.handshake).await {
        // Any answer shows that it reads, works and writes.
        Ok(_) | Err(CallError::Rpc { .. }) => Ok(()),
        Err(problem) => Err(format!("it did not answer a ping: {problem}")),
    }
}

async fn initialise(talk: &Talk, shared: &Shared, run: &RunKey) -> Result<Greeting, String> {
    let hello = hello(talk, shared).await?;
    let answer = talk.call("initialize", Some(&hello), shared.limits.handshake).await;
    let result = answer.map_err(|problem| format!("the handshake failed: {problem}"))?;
    let greeting = Greeting::read(result)?;
    talk.notify("notifications/initialized").await;
    if shared.host.is_session() {
        // The session ends with the daemon, and its process with it.
        return Ok(greeting);
    }
    let handshake =
        Handshake { run: run.clone(), result: String::from_utf8_lossy(&greeting.raw).into_owned() };
    if let Err(problem) = shared.store.put_handshake(&shared.instance, &handshake).await {
        // The server is fine; after a restart of the daemon it will be initialised a second time.
        tracing::warn!(server = %shared.instance, %problem, "the handshake could not be kept");
    }
    Ok(greeting)
}

/// What the process is greeted with. Until its client has come, it comes up by itself.
async fn hello(talk: &Talk, shared: &Shared) -> Result<Bytes, String> {
    tokio::select! {
        biased;
        hello = shared.host.hello() => return Ok(hello),
        // Dropped: nobody awaits the answer to its ping then.
        up = come_up(talk, shared) => up?,
    }
    talk.aside(AsideKind::Expect).await;
    Ok(shared.host.hello().await)
}

/// Waits until a process works that nobody has greeted yet. A client may ping before it greets, but some servers end
/// of that: these are given a while instead.
async fn come_up(talk: &Talk, shared: &Shared) -> Result<(), String> {
    tokio::time::sleep(COMES_WITH_IT).await;
    if !shared.host.may_be_pinged() {
        tokio::time::sleep(UNASKED).await;
        return Ok(());
    }
    match talk.call("ping", None, UP).await {
        Err(CallError::Lost { may_have_executed }) => {
            if may_have_executed {
                shared.host.died_of_a_ping();
            }
            Err("it ended before it was greeted".to_owned())
        }
        // Any answer shows that it reads and writes; one that gives none had its time.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// All pages of `tools/list`, within a time for the whole.
pub(crate) async fn list_tools(talk: &Talk, greeting: &Greeting, within: Duration) -> ToolList {
    if !greeting.can("tools") {
        return ToolList::Listed(Arc::new([]));
    }
    let listing = tokio::time::timeout(within, all_pages(talk, within)).await;
    match listing.unwrap_or_else(|_| Err(format!("tools/list took longer than {within:?}"))) {
        Ok(tools) => ToolList::Listed(tools.into()),
        Err(reason) => ToolList::Unknown { reason: reason.into() },
    }
}

async fn all_pages(talk: &Talk, within: Duration) -> Result<Vec<Tool>, String> {
    let (mut tools, mut params) = (Vec::new(), b"{}".to_vec());
    for _ in 0..MAX_PAGES {
        let page = talk.call("tools/list", Some(&params), within).await;
        let page = page.map_err(|problem| format!("tools/list failed: {problem}"))?;
        read_page(&page, &mut tools)?;
        if tools.len() > MAX_TOOLS {
            return Err(format!("it lists more than {MAX_TOOLS} tools"));
        }
        match member(&page, "nextCursor").filter(|cursor| cursor.starts_with(b"\"")) {
            Some(cursor) => params = [br#"{"cursor":"#, cursor, b"}"].concat(),
            None => return Ok(tools),
        }
    }
    Err(format!("its list of tools has more than {MAX_PAGES} pages"))
}

/// Adds the tools of one page. What has no name cannot be called and is left out.
fn read_page(page: &[u8], tools: &mut Vec<Tool>) -> Result<(), String> {
    let list = member(page, "tools").ok_or("tools/list answered without tools")?;
    let mut cursor = Cursor::new(list);
    let walked: Result<(), Fault> = cursor.array(|cursor| {
        let raw = cursor.value(1)?.of(list);
        let name = member(raw, "name").and_then(|name| serde_json::from_slice(name).ok());
        tools.extend(name.map(|name| Tool { name, raw: Bytes::copy_from_slice(raw) }));
        Ok(())
    });
    walked.map_err(|_| "tools/list answered with something else than a list".to_owned())
}

impl Talk {
    async fn call(&self, method: &str, params: Option<&[u8]>, within: Duration) -> Result<Bytes, CallError> {
        let (reply, answer) = oneshot::channel();
        let id = self.shared.ids.next();
        let line = rpc::line(rpc::request(id, method, params));
        self.aside(AsideKind::Call(HouseCall { id, line, may_ask: false, reply })).await;
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(answer)) => answer.into_result(),
            // The owner dropped the question: the connection is another by now.
            Ok(Err(_)) => Err(CallError::Lost { may_have_executed: false }),
            Err(_) => Err(CallError::Timeout { after: within }),
        }
    }

    async fn notify(&self, method: &str) {
        self.aside(AsideKind::Notify(rpc::line(rpc::notification(method, None)))).await;
    }

    async fn aside(&self, what: AsideKind) {
        // It fails only when the owner is gone, and this with it.
        let _gone = self.owner.send(Aside { turn: self.turn, what }).await;
    }
}

impl HouseAnswer {
    pub(crate) fn into_result(self) -> Result<Bytes, CallError> {
        use super::command::Refusal;
        match self {
            Self::Result(result) => Ok(result),
            Self::Error(raw) => Err(CallError::from_rpc(raw)),
            Self::Lost { may_have_executed } => Err(CallError::Lost { may_have_executed }),
            Self::Refused(Refusal::NotReady) => {
                Err(CallError::NotReady { reason: "no process is attached".to_owned() })
            }
            Self::Refused(
                Refusal::Backlog
                | Refusal::TooManyCalls
                | Refusal::TooManyCallsOfSession
                | Refusal::DuplicateId
                | Refusal::UnknownSession,
            ) => Err(CallError::Busy),
        }
    }
}
