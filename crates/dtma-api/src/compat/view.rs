//! What became of servers, in the older words.

use super::find::account_id;
use super::label;
use crate::view::group_state;
use dtma_api_types::compat::{
    ContainerGroupView, DockerPort, DockerState, PortBinding, ToolInstanceView, TransportDistribution,
};
use dtma_core::Timestamp;
use dtma_core::phase::{Phase, Trouble};
use dtma_core::spec::{ServerKind, ServerSpec};
use dtma_manager::{GroupState, GroupStatus, ManagerHandle, PublishStatus, ServerStatus};
use std::collections::BTreeMap;

/// Where the daemon publishes ports.
const LOOPBACK: &str = "127.0.0.1";

/// A container's state in Docker's words, and two more for what Docker does not know.
pub(crate) fn word(phase: &Phase) -> &'static str {
    match phase {
        Phase::Creating | Phase::Waiting { .. } | Phase::Starting { .. } => "starting",
        // What rests, or waits for a client, answers when it is asked; while an update is under way what stood before
        // serves.
        Phase::OnDemand
        | Phase::Ready { .. }
        | Phase::Idle { .. }
        | Phase::Updating { serving: Some(_), .. } => "running",
        Phase::Updating { serving: None, .. } => "starting",
        Phase::Backoff { .. } | Phase::Failed { .. } => "error",
        Phase::Completed { .. } | Phase::Stopped => "exited",
        Phase::Stopping => "stopping",
        Phase::Removing => "removing",
    }
}

/// The short form for MCP servers.
pub(crate) fn mcp_status(word: &str) -> &'static str {
    match word {
        "running" => "active",
        "exited" => "stopped",
        "starting" => "starting",
        "error" => "error",
        _ => "unknown",
    }
}

/// The richer form: state and health.
pub(crate) fn mcp_state(word: &str) -> (&'static str, &'static str) {
    match word {
        "running" => ("running", "healthy"),
        "exited" => ("stopped", "unhealthy"),
        "starting" => ("starting", "unknown"),
        "error" => ("error", "unhealthy"),
        _ => ("unknown", "unknown"),
    }
}

/// How an MCP server is spoken to; `None` for what is none.
pub(crate) fn transport(spec: Option<&ServerSpec>, kind: ServerKind) -> Option<String> {
    match kind {
        ServerKind::Mcp(transport) => Some(transport.as_str().to_owned()),
        ServerKind::Tool => spec?.labels.get(label::TRANSPORT).cloned(),
    }
}

fn started_at(phase: &Phase) -> Option<Timestamp> {
    match phase {
        Phase::Starting { run, .. } => run.as_ref().map(|run| run.started_at),
        Phase::Ready { run, .. } => Some(run.started_at),
        Phase::Updating { serving, .. } => serving.as_ref().map(|run| run.started_at),
        Phase::Creating
        | Phase::Waiting { .. }
        | Phase::Idle { .. }
        | Phase::OnDemand
        | Phase::Backoff { .. }
        | Phase::Completed { .. }
        | Phase::Stopping
        | Phase::Stopped
        | Phase::Failed { .. }
        | Phase::Removing => None,
    }
}

pub(crate) fn state(server: &ServerStatus) -> DockerState {
    let exit = server.last_exit.as_ref();
    let trouble = match &server.phase {
        Phase::Backoff { reason, .. } | Phase::Failed { reason, .. } => Some(reason),
        Phase::Creating
        | Phase::Waiting { .. }
        | Phase::Starting { .. }
        | Phase::OnDemand
        | Phase::Ready { .. }
        | Phase::Idle { .. }
        | Phase::Updating { .. }
        | Phase::Completed { .. }
        | Phase::Stopping
        | Phase::Stopped
        | Phase::Removing => None,
    };
    DockerState {
        status: word(&server.phase).to_owned(),
        running: word(&server.phase) == "running",
        restarting: matches!(server.phase, Phase::Backoff { .. }),
        oom_killed: exit.is_some_and(|exit| exit.oom),
        exit_code: exit.map_or(0, |exit| exit.code),
        error: trouble.map(Trouble::to_string).unwrap_or_default(),
        started_at: started_at(&server.phase).map(|at| at.to_string()),
        finished_at: exit.map(|exit| exit.at.to_string()),
    }
}

/// As `NetworkSettings.Ports` has them.
pub(crate) fn bindings(publish: &[PublishStatus]) -> BTreeMap<String, Vec<PortBinding>> {
    let mut ports: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for PublishStatus { publish, .. } in publish {
        let binding = PortBinding { host_ip: LOOPBACK.to_owned(), host_port: publish.host_port.to_string() };
        ports.entry(format!("{}/tcp", publish.container_port)).or_default().push(binding);
    }
    ports
}

fn port(status: &PublishStatus) -> DockerPort {
    DockerPort {
        ip: LOOPBACK.to_owned(),
        private_port: status.publish.container_port,
        public_port: status.publish.host_port,
        kind: "tcp".to_owned(),
    }
}

pub(crate) fn instance(
    group: &GroupStatus,
    spec: Option<&ServerSpec>,
    server: &ServerStatus,
) -> ToolInstanceView {
    let transport = transport(spec, server.kind);
    let (word, mcp) = (word(&server.phase), transport.is_some());
    let container = server.container.as_ref().map(ToString::to_string);
    let (state, health) = mcp_state(word);
    ToolInstanceView {
        account_tool_instance_id: spec.and_then(account_id).map(str::to_owned),
        instance_name_on_toolbox: server.instance.to_string(),
        container_id: container.clone(),
        status: word.to_owned(),
        image: server.image.to_string(),
        ports: server.publish.iter().map(port).collect(),
        created: group.created_at.as_second(),
        id: container,
        names: server.container_name.iter().map(|name| format!("/{name}")).collect(),
        image_id: server.image_id.as_ref().map(ToString::to_string),
        command: spec.map(command).unwrap_or_default(),
        state: word.to_owned(),
        started_at: started_at(&server.phase).map(|at| at.to_string()),
        reason: server.phase.reason(),
        group_id: group.group_id.to_string(),
        mcp_status: mcp.then(|| mcp_status(word).to_owned()),
        mcp_state: mcp.then(|| state.to_owned()),
        mcp_health: mcp.then(|| health.to_owned()),
        endpoint: server.kind.is_mcp().then(|| format!("/gateway/servers/{}/mcp", server.instance)),
        mcp_transport_type: transport,
    }
}

fn command(spec: &ServerSpec) -> String {
    let words = spec.command.iter().chain(&spec.args).flatten();
    words.map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Every server of every group, in the older words: for `/status` and for the heartbeat.
#[must_use]
pub fn instances(manager: &ManagerHandle) -> Vec<ToolInstanceView> {
    manager.groups().iter().flat_map(|group| of_group(manager, group)).collect()
}

fn of_group(manager: &ManagerHandle, group: &GroupStatus) -> Vec<ToolInstanceView> {
    let spec = manager.spec(&group.group_id);
    let wanted = |server: &ServerStatus| spec.as_ref().and_then(|spec| spec.server(&server.instance));
    group.servers.iter().map(|server| instance(group, wanted(server), server)).collect()
}

/// A server as the backend is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolReport {
    /// In the older words.
    pub tool: ToolInstanceView,
    /// Its container, in Docker's words.
    pub state: DockerState,
    /// Its status, one of those that the backend knows.
    pub word: &'static str,
}

/// Every server of every group, for the heartbeat.
#[must_use]
pub fn reports(manager: &ManagerHandle) -> Vec<ToolReport> {
    manager.groups().iter().flat_map(|group| reports_of(manager, group)).collect()
}

fn reports_of(manager: &ManagerHandle, group: &GroupStatus) -> Vec<ToolReport> {
    let views = of_group(manager, group).into_iter().zip(&group.servers);
    let report = |(tool, server): (ToolInstanceView, &ServerStatus)| ToolReport {
        word: backend_word(word(&server.phase), tool.mcp_transport_type.is_some()),
        state: state(server),
        tool,
    };
    views.map(report).collect()
}

/// The backend's list of statuses has neither `exited` nor `removing` nor `unknown`.
fn backend_word(word: &'static str, mcp: bool) -> &'static str {
    match (word, mcp) {
        ("running", true) => "active",
        ("exited", _) => "stopped",
        ("removing", _) => "deleting",
        (word, _) => word,
    }
}

pub(crate) fn distribution(servers: &[ToolInstanceView]) -> TransportDistribution {
    let count = |word: &str| {
        let of = servers.iter().filter(|server| server.mcp_transport_type.as_deref() == Some(word));
        u64::try_from(of.count()).unwrap_or(u64::MAX)
    };
    TransportDistribution {
        stdio: count("stdio"),
        sse: count("sse"),
        websocket: count("websocket"),
        streamable_http: count("streamable-http"),
    }
}

pub(crate) fn container_group(manager: &ManagerHandle, group: &GroupStatus) -> ContainerGroupView {
    let health = match group.state {
        GroupState::Ready | GroupState::Updating => "healthy",
        GroupState::Degraded => "degraded",
        GroupState::Failed => "unhealthy",
        GroupState::Deploying | GroupState::Removing => "unknown",
    };
    ContainerGroupView {
        id: group.group_id.to_string(),
        mcp_servers: of_group(manager, group),
        status: group_state(group.state),
        health_state: health.to_owned(),
        network: group.network.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backend_hears_only_words_of_its_list() {
        let list = ["running", "active", "starting", "stopped", "stopping", "error", "deleting"];
        for docker in ["starting", "running", "error", "exited", "stopping", "removing"] {
            for mcp in [true, false] {
                assert!(list.contains(&backend_word(docker, mcp)), "{docker}");
            }
        }
        assert_eq!((backend_word("running", true), backend_word("running", false)), ("active", "running"));
        assert_eq!(backend_word("exited", false), "stopped");
    }

    #[test]
    fn the_words_for_mcp_follow_from_dockers() {
        let table = [
            ("running", "active", ("running", "healthy")),
            ("exited", "stopped", ("stopped", "unhealthy")),
            ("starting", "starting", ("starting", "unknown")),
            ("error", "error", ("error", "unhealthy")),
            ("stopping", "unknown", ("unknown", "unknown")),
        ];
        for (docker, short, rich) in table {
            assert_eq!((mcp_status(docker), mcp_state(docker)), (short, rich), "{docker}");
        }
    }
}
