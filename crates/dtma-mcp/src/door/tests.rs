//! Several processes behind one door.

mod cost;
mod filter;
mod interleaving;
mod moving;
mod news;
mod own;
mod repeat;
mod serving;
mod stateless;
mod switching;
mod unused;

use super::Door;
use super::member::MemberId;
use crate::server::tests::harness::*;
use crate::{Attachment, Limits, Parts, PostReply, ServerHandle};
use dtma_core::Timestamp;
use dtma_core::id::Generation;
use dtma_core::log::Origin;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// A door, its store, and the tasks of its members.
struct Fleet {
    door: Door,
    store: Arc<Memory>,
    tasks: JoinSet<()>,
    runs: u64,
}

impl Fleet {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let store = Arc::<Memory>::default();
        let parts = Parts { store: store.clone(), wall: Arc::new(|| Timestamp::UNIX_EPOCH), limits };
        Self { door: Door::new(instance(), parts), store, tasks: JoinSet::new(), runs: 0 }
    }

    /// Two members, `a` and `b`, that serve and answer.
    async fn pair() -> (Self, Process, Process) {
        let mut fleet = Self::new();
        let (a, b) = (fleet.member("a").await, fleet.member("b").await);
        fleet.door.serve(&["a".into(), "b".into()]);
        (fleet, a, b)
    }

    fn admit(&mut self, name: &str) -> ServerHandle {
        let (handle, owner) = self.door.admit(name.into(), origin(name)).unwrap();
        self.tasks.spawn(owner.run());
        handle
    }

    /// A member whose process answers; it does not serve yet.
    async fn member(&mut self, name: &str) -> Process {
        let handle = self.admit(name);
        self.start(&handle).await
    }

    async fn start(&mut self, handle: &ServerHandle) -> Process {
        self.start_as(handle, r#"[{"name":"echo","x":1.0}]"#).await
    }

    /// The same with these tools.
    async fn start_as(&mut self, handle: &ServerHandle, tools: &str) -> Process {
        self.runs += 1;
        let (mut process, attached) = Process::new();
        handle.connect(run(self.runs), attached, Attachment::Fresh).await.unwrap();
        process.greet_as(GREETING, tools).await;
        handle.state().wait_for(|state| state.ready().is_some()).await.unwrap();
        process
    }

    async fn client(&self) -> Client {
        match self.door.post(None, hello().into()).await {
            PostReply::Opened { session, .. } => Client { door: self.door.clone(), id: session.to_string() },
            other => panic!("no session: {other:?}"),
        }
    }

    fn load(&self, name: &str) -> usize {
        self.door.table().members[&MemberId::from(name)].load().sessions
    }
}

/// `a` is replica 0, `b` replica 1.
fn origin(name: &str) -> Origin {
    let replica = u32::from(name.as_bytes()[0].saturating_sub(b'a'));
    Origin { replica, generation: Generation(1) }
}

fn hello() -> String {
    json!({"jsonrpc":"2.0","id":0,"method":"initialize","params":{
        "protocolVersion":"2025-11-25","capabilities":{"elicitation":{}}}})
    .to_string()
}

fn call(id: u64) -> String {
    json!({"jsonrpc":"2.0","id":id,"method":"x","params":{"n":id}}).to_string()
}

fn json_of(reply: PostReply) -> Value {
    serde_json::from_str(&body(reply)).unwrap()
}

/// Answers the next request with the name of its process.
async fn answer(process: &mut Process, name: &str) {
    let id = process.asked("x").await;
    process.answer(&id, &json!(name).to_string());
}

/// Long enough for everything that can happen without anybody's doing to have happened.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}
