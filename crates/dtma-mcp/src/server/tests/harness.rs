//! A server under test: a scripted process at one end, clients at the other.

use crate::{Attachment, Door, Limits, MemberId, MessageStream, Parts, PostReply, ServerHandle, ServerState};
use async_trait::async_trait;
use bytes::Bytes;
use dtma_core::Timestamp;
use dtma_core::catalogue::Catalogue;
use dtma_core::connection::Connection;
use dtma_core::contract::Contract;
use dtma_core::history::GroupHistory;
use dtma_core::id::{ConnectionId, ContainerId, Generation, GroupId, InstanceName, OwnerId, RunKey};
use dtma_core::idempotency::KeptAnswer;
use dtma_core::log::Origin;
use dtma_core::port::runtime::{AttachInput, Attached, LogQuery, OutputChunk, OutputStream};
use dtma_core::port::store::{LoadedState, StateStore, StoreError};
use dtma_core::record::{GatewaySession, GroupRecord, Handshake, Journal, Operation, Revision};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Keeps sessions and handshakes in memory.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) sessions: Mutex<Vec<GatewaySession>>,
    pub(crate) handshakes: Mutex<Vec<Handshake>>,
}

#[async_trait]
impl StateStore for Memory {
    async fn load(&self) -> Result<LoadedState, StoreError> {
        Ok(LoadedState {
            owner: OwnerId::from("test"),
            groups: Vec::new(),
            histories: Vec::new(),
            operations: Vec::new(),
            sessions: self.sessions.lock().unwrap().clone(),
            handshakes: Vec::new(),
            catalogues: Vec::new(),
            contracts: Vec::new(),
            connections: Vec::new(),
            governed: Vec::new(),
            damaged: Vec::new(),
        })
    }
    async fn put_group(&self, _: &GroupRecord, _: Journal<'_>) -> Result<(), StoreError> {
        Ok(())
    }
    async fn revisions(&self, _: &GroupId) -> Result<Vec<Revision>, StoreError> {
        Ok(Vec::new())
    }
    async fn remove_group(&self, _: &GroupId, _: Option<&Operation>) -> Result<(), StoreError> {
        Ok(())
    }
    async fn put_history(&self, _: &GroupId, _: &GroupHistory) -> Result<(), StoreError> {
        Ok(())
    }
    async fn put_operation(&self, _: &Operation) -> Result<(), StoreError> {
        Ok(())
    }
    async fn put_answer(&self, _: &KeptAnswer) -> Result<(), StoreError> {
        Ok(())
    }
    async fn answer(&self, _: &str, _: &str) -> Result<Option<KeptAnswer>, StoreError> {
        Ok(None)
    }
    async fn put_session(&self, session: &GatewaySession) -> Result<(), StoreError> {
        self.sessions.lock().unwrap().push(session.clone());
        Ok(())
    }
    async fn remove_session(&self, id: &str) -> Result<(), StoreError> {
        self.sessions.lock().unwrap().retain(|session| session.id != id);
        Ok(())
    }
    async fn put_catalogue(&self, _: &Catalogue) -> Result<(), StoreError> {
        Ok(())
    }
    async fn put_contract(&self, _: &Contract) -> Result<(), StoreError> {
        Ok(())
    }
    async fn put_connection(&self, _: &Connection) -> Result<(), StoreError> {
        Ok(())
    }
    async fn remove_connection(&self, _: &ConnectionId) -> Result<(), StoreError> {
        Ok(())
    }
    async fn put_handshake(&self, _: &InstanceName, handshake: &Handshake) -> Result<(), StoreError> {
        self.handshakes.lock().unwrap().push(handshake.clone());
        Ok(())
    }
    async fn forget_handshake(&self, _: &InstanceName, _: &ContainerId) -> Result<(), StoreError> {
        Ok(())
    }
    async fn forget_server(&self, _: &InstanceName) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The daemon's side.
pub(crate) struct House {
    pub(crate) door: Door,
    pub(crate) handle: ServerHandle,
    pub(crate) store: Arc<Memory>,
    pub(crate) tasks: JoinSet<()>,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default(), Arc::default())
    }

    pub(crate) fn with(limits: Limits, store: Arc<Memory>) -> Self {
        let wall = Arc::new(|| Timestamp::UNIX_EPOCH);
        let parts = Parts { store: store.clone(), wall, limits };
        let door = Door::new(instance(), parts);
        let origin = Origin { replica: 0, generation: Generation(1) };
        let (handle, server) = door.admit(MemberId::from("0"), origin).unwrap();
        door.serve(&[MemberId::from("0")]);
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run());
        Self { door, handle, store, tasks }
    }

    /// A house whose server is ready.
    pub(crate) async fn ready() -> (Self, Process) {
        let mut house = Self::new();
        let process = house.start(1).await;
        (house, process)
    }

    /// Gives the server its `number`th process and has it greeted.
    pub(crate) async fn start(&mut self, number: u64) -> Process {
        let mut process = self.attach(number, Attachment::Fresh).await;
        process.greet().await;
        self.until_ready().await;
        process
    }

    pub(crate) async fn attach(&self, number: u64, how: Attachment) -> Process {
        let (process, attached) = Process::new();
        self.handle.connect(run(number), attached, how).await.unwrap();
        process
    }

    pub(crate) async fn until_ready(&self) {
        self.until(|state| state.ready().is_some()).await;
    }

    pub(crate) async fn until(&self, wanted: impl FnMut(&ServerState) -> bool) -> ServerState {
        self.handle.state().wait_for(wanted).await.unwrap().clone()
    }

    /// A client session with these capabilities.
    pub(crate) async fn client(&self, capabilities: Value) -> Client {
        let hello = json!({"jsonrpc":"2.0","id":0,"method":"initialize","params":{
            "protocolVersion":"2025-11-25","capabilities":capabilities,"clientInfo":{"name":"t","version":"1"}}});
        match self.door.post(None, hello.to_string().into()).await {
            PostReply::Opened { session, .. } => Client { door: self.door.clone(), id: session.to_string() },
            other => panic!("no session: {other:?}"),
        }
    }

    pub(crate) async fn log(&self) -> Vec<String> {
        self.door.logs(&LogQuery::default(), None).map(|told| told.line.text).collect().await
    }
}

/// One client session.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) door: Door,
    pub(crate) id: String,
}

impl Client {
    pub(crate) async fn post(&self, text: impl Into<String>) -> PostReply {
        self.door.post(Some(&self.id), Bytes::from(text.into())).await
    }

    /// A call that is polled on its own; its answer comes from the set.
    pub(crate) fn begin(&self, calls: &mut JoinSet<PostReply>, text: impl Into<String>) {
        let (client, text) = (self.clone(), text.into());
        calls.spawn(async move { client.post(text).await });
    }

    pub(crate) async fn listen(&self) -> MessageStream {
        self.door.listen(&self.id).await.unwrap()
    }
}

/// The only call of a set.
pub(crate) async fn outcome(calls: &mut JoinSet<PostReply>) -> PostReply {
    let joined = tokio::time::timeout(PATIENCE, calls.join_next()).await;
    joined.expect("no answer").unwrap().unwrap()
}

/// Longer than anything here takes. Where time is paused it passes at once when nothing else can happen.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn body(reply: PostReply) -> String {
    match reply {
        PostReply::Body(body) => text(body),
        other => panic!("no body: {other:?}"),
    }
}

pub(crate) fn refusal(reply: PostReply) -> Value {
    match reply {
        PostReply::Refused(body) => serde_json::from_slice(&body).unwrap(),
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn messages(reply: PostReply) -> MessageStream {
    match reply {
        PostReply::Stream(stream) => stream,
        other => panic!("no stream: {other:?}"),
    }
}

pub(crate) fn text(bytes: Bytes) -> String {
    String::from_utf8(bytes.into()).unwrap()
}

pub(crate) async fn next(stream: &mut MessageStream) -> String {
    text(stream.next().await.expect("the stream ended"))
}

pub(crate) fn instance() -> InstanceName {
    "everything".parse().unwrap()
}

pub(crate) fn run(number: u64) -> RunKey {
    RunKey { container: format!("c{number}").into(), started_at: Timestamp::UNIX_EPOCH }
}

/// What the scripted process answers to `initialize`.
pub(crate) const GREETING: &str = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true},"logging":{}},"serverInfo":{"name":"scripted","version":"1.2","x":1},"unknown":[1.0]}"#;

/// The scripted process's side.
pub(crate) struct Process {
    input: BufReader<DuplexStream>,
    output: mpsc::UnboundedSender<io::Result<OutputChunk>>,
}

impl Process {
    pub(crate) fn new() -> (Self, Attached) {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (output, chunks) = mpsc::unbounded_channel();
        let chunks = futures_util::stream::unfold(chunks, |mut chunks| async move {
            let chunk = chunks.recv().await?;
            Some((chunk, chunks))
        });
        let attached = Attached { output: chunks.boxed(), input: Box::new(Pipe(theirs)), exact: false };
        (Self { input: BufReader::new(ours), output }, attached)
    }

    /// The next line it reads, without the newline.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.input.read_line(&mut line);
        tokio::time::timeout(PATIENCE, read).await.expect("nothing is said to the process").unwrap();
        assert!(line.ends_with('\n'), "its input ended: {line:?}");
        line.pop();
        line
    }

    /// The next message, `None` when its input has ended.
    pub(crate) async fn heard(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.input.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        serde_json::from_str(&line).ok()
    }

    pub(crate) async fn read(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|problem| panic!("{line:?}: {problem}"))
    }

    /// Whether there is something to read soon.
    pub(crate) async fn has_more(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(1), self.input.fill_buf()).await.is_ok()
    }

    /// The id of the next line, which must be a request of this method.
    pub(crate) async fn asked(&mut self, method: &str) -> Value {
        let request = self.read().await;
        assert_eq!(request["method"], method, "{request}");
        request["id"].clone()
    }

    /// Writes a line.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        self.write(format!("{}\n", line.as_ref()));
    }

    pub(crate) fn write(&self, bytes: impl Into<Bytes>) {
        self.chunk(OutputStream::Stdout, bytes.into());
    }

    /// What a former life of the daemon has heard, from that place of the output on.
    pub(crate) fn say_again(&self, offset: u64, text: &str) {
        self.counted(offset, text, true);
    }

    /// The same for what nobody has heard yet.
    pub(crate) fn say_at(&self, offset: u64, text: &str) {
        self.counted(offset, text, false);
    }

    fn counted(&self, offset: u64, text: &str, again: bool) {
        let chunk = OutputChunk::new(OutputStream::Stdout, Bytes::copy_from_slice(text.as_bytes()));
        // The daemon may have let go of it.
        let _gone = self.output.send(Ok(OutputChunk { offset: Some(offset), again, ..chunk }));
    }

    pub(crate) fn cry(&self, line: &str) {
        self.chunk(OutputStream::Stderr, format!("{line}\n").into());
    }

    fn chunk(&self, stream: OutputStream, bytes: Bytes) {
        // The daemon may have let go of it.
        let _gone = self.output.send(Ok(OutputChunk::new(stream, bytes)));
    }

    pub(crate) fn answer(&self, id: &Value, result: &str) {
        self.say(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
    }

    /// Answers the handshake and the listing, with one tool.
    pub(crate) async fn greet(&mut self) {
        self.greet_as(GREETING, r#"[{"name":"echo","x":1.0}]"#).await;
    }

    /// The same as another server.
    pub(crate) async fn greet_as(&mut self, greeting: &str, tools: &str) {
        let id = self.asked("initialize").await;
        self.answer(&id, greeting);
        assert_eq!(self.read().await["method"], "notifications/initialized");
        self.list(tools).await;
    }

    pub(crate) async fn list(&mut self, tools: &str) {
        let id = self.asked("tools/list").await;
        self.answer(&id, &format!(r#"{{"tools":{tools}}}"#));
    }
}

struct Pipe(DuplexStream);

#[async_trait]
impl AttachInput for Pipe {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.write_all(&bytes).await?;
        self.0.flush().await
    }
}
