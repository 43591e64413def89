//! One daemon and the names of everything a test deploys through it; nothing of it is left when it is dropped.

use crate::daemon::{Daemon, Launch};
use crate::mcp::McpClient;
use crate::{engine, groups};
use dtma_client::mcp::McpSession;
use dtma_client::types::{GroupState, GroupView, PhaseWord, ServerView};
use dtma_client::{Client, Mutation, RemoveOptions, Wait};
use serde_json::{Value, json};
use std::ops::{Deref, DerefMut};
use std::time::Duration;
use tempfile::TempDir;

/// How long a deployment may take on a busy machine.
const DEPLOY: Duration = Duration::from_secs(120);
/// How long one tool call may take.
pub const CALL: Duration = Duration::from_secs(30);

/// A test's own daemon with its own names.
pub struct Toolbox {
    // Dropped in this order: first the daemon ends, then what it made is removed, then its files.
    daemon: Daemon,
    leftovers: Leftovers,
    _dir: TempDir,
}

/// Removes what bears the tag.
struct Leftovers(String);

impl Drop for Leftovers {
    fn drop(&mut self) {
        engine::remove_tagged(&self.0);
    }
}

impl Toolbox {
    /// A daemon on a fresh state directory.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// The same, started otherwise than usual.
    #[must_use]
    pub fn start_with(change: impl FnOnce(&mut Launch)) -> Self {
        engine::docker(&["version"]);
        let dir = tempfile::Builder::new().prefix("dtma-test-").tempdir().expect("a temporary directory");
        let mut launch = Launch::new(dir.path());
        change(&mut launch);
        let tag = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        Self { daemon: launch.start(), leftovers: Leftovers(tag), _dir: dir }
    }

    /// A name of this test's own: `demo` becomes `demo-t1a2b3c4d`. Groups must be named so, for only they are removed
    /// in the end.
    #[must_use]
    pub fn named(&self, name: &str) -> String {
        format!("{name}-{}", self.leftovers.0)
    }

    /// A group document of that name.
    #[must_use]
    pub fn group(&self, name: &str, servers: &[Value]) -> Value {
        json!({"groupId": self.named(name), "servers": servers})
    }

    /// Deploys a group and waits until it is ready.
    pub async fn deploy(&self, group: &Value) -> GroupView {
        let mutation = Mutation { wait: Wait::Until(DEPLOY), ..Mutation::default() };
        let change = self.client().deploy_group(group, &mutation).await;
        let change = change.unwrap_or_else(|error| panic!("deploy: {error:#?}"));
        assert_eq!(change.group.state, GroupState::Ready, "{:#?}", change.group);
        change.group
    }

    /// Removes a group and waits until it is gone.
    pub async fn down(&self, group: &str, volumes: bool) {
        let options = RemoveOptions { volumes, ..RemoveOptions::default() };
        let removal = self.client().remove_group(group, &options).await;
        assert!(removal.unwrap_or_else(|error| panic!("remove: {error:#?}")).gone);
    }

    /// How a group stands.
    pub async fn view(&self, group: &str) -> GroupView {
        self.client().get_group(group).await.unwrap_or_else(|error| panic!("{group}: {error:#?}"))
    }

    /// How a server stands.
    pub async fn server(&self, group: &str, instance: &str) -> ServerView {
        groups::server(&self.view(group).await, instance).clone()
    }

    /// Waits until every server of a group is ready.
    pub async fn ready(&self, group: &str, patience: Duration) -> GroupView {
        let client = self.client();
        crate::eventually(&format!("{group} is ready"), patience, || settled(&client, group)).await
    }

    /// A session with a server through the gateway, by the project's own client.
    pub async fn mcp(&self, instance: &str) -> McpSession {
        let session = McpSession::open(&self.client(), instance, CALL).await;
        session.unwrap_or_else(|error| panic!("{instance}: {error:#?}"))
    }

    /// A session with a server through the gateway, message by message.
    pub async fn raw_mcp(&self, instance: &str) -> McpClient {
        McpClient::open(&self.client(), instance).await
    }
}

async fn settled(client: &Client, group: &str) -> Result<GroupView, String> {
    let view = client.get_group(group).await.map_err(|error| format!("{error:?}"))?;
    let ready = |server: &ServerView| {
        matches!(server.phase, PhaseWord::Ready | PhaseWord::Idle | PhaseWord::Completed)
    };
    if view.state == GroupState::Ready && view.servers.iter().all(ready) {
        return Ok(view);
    }
    Err(groups::summary(&view))
}

impl Deref for Toolbox {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl DerefMut for Toolbox {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}
