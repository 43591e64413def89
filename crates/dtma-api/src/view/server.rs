//! One server.

use super::phase;
use dtma_api_types as wire;
use dtma_core::Timestamp;
use dtma_core::history::{Exit, Refusal};
use dtma_core::id::{GroupId, InstanceName};
use dtma_core::observation::Asker;
use dtma_core::phase::{Phase, Unmet};
use dtma_core::spec::{Condition, NetworkMode, ServerKind, Transport};
use dtma_manager::{McpSummary, PublishStatus, ReplicaStatus, ServerStatus, SparesStatus};
use serde::Deserialize;

pub(crate) fn server(group: &GroupId, status: &ServerStatus) -> wire::ServerView {
    let (retry_at, attempt) = retry(&status.phase).unzip();
    wire::ServerView {
        instance_name: status.instance.to_string(),
        group_id: group.to_string(),
        kind: kind(status.kind),
        transport: transport(status.kind),
        image: status.image.to_string(),
        image_id: status.image_id.as_ref().map(ToString::to_string),
        phase: phase(&status.phase),
        phase_since: since(&status.phase).map(|at| at.to_string()),
        reason: status.phase.reason(),
        activity: status.activity.clone(),
        waiting_for: waiting_for(&status.phase),
        retry_at,
        attempt,
        generation: status.generation.0,
        container: status
            .container
            .as_ref()
            .map(|id| wire::ContainerView { id: id.to_string(), name: status.container_name.clone() }),
        replicas: status.wanted_replicas,
        replica_status: replicas(status),
        spares: status.spares.map(|SparesStatus { wanted, ready }| wire::SparesView { wanted, ready }),
        network: network(status.network),
        restarts: status.restarts,
        crashes: status.crashes,
        last_exit: status.last_exit.as_ref().map(exit),
        refusal: status.refusal.as_ref().map(refusal),
        ports: status.publish.iter().map(port).collect(),
        contract: status.contract.clone(),
        mcp: status.mcp.as_deref().map(|summary| mcp(&status.instance, summary)),
    }
}

/// Told apart where there is something to tell apart.
fn replicas(status: &ServerStatus) -> Vec<wire::ReplicaView> {
    let updating = matches!(status.phase, Phase::Updating { .. });
    let several = status.wanted_replicas > 1 || status.replicas.len() > 1 || updating;
    let view = |replica: &ReplicaStatus| wire::ReplicaView {
        replica: replica.replica,
        role: replica.asker.map(role),
        phase: phase(&replica.phase),
        reason: replica.phase.reason(),
        container: replica
            .container
            .as_ref()
            .map(|id| wire::ContainerView { id: id.to_string(), name: replica.container_name.clone() }),
        generation: replica.generation.map(|generation| generation.0),
        restarts: replica.restarts,
    };
    status.replicas.iter().filter(|replica| several || replica.asker.is_some()).map(view).collect()
}

fn role(asker: Asker) -> wire::PlaceRole {
    match asker {
        Asker::Session => wire::PlaceRole::Session,
        Asker::Spare => wire::PlaceRole::Spare,
    }
}

fn kind(kind: ServerKind) -> wire::Kind {
    match kind {
        ServerKind::Mcp(_) => wire::Kind::Mcp,
        ServerKind::Tool => wire::Kind::Tool,
    }
}

pub(crate) fn transport(kind: ServerKind) -> Option<wire::Transport> {
    match kind {
        ServerKind::Mcp(Transport::Stdio) => Some(wire::Transport::Stdio),
        ServerKind::Mcp(Transport::StreamableHttp) => Some(wire::Transport::StreamableHttp),
        ServerKind::Mcp(Transport::Sse) => Some(wire::Transport::Sse),
        ServerKind::Mcp(Transport::Websocket) => Some(wire::Transport::Websocket),
        ServerKind::Tool => None,
    }
}

fn network(network: NetworkMode) -> wire::Network {
    match network {
        NetworkMode::None => wire::Network::None,
        NetworkMode::Group => wire::Network::Group,
        NetworkMode::Open => wire::Network::Open,
    }
}

fn condition(condition: Condition) -> wire::Condition {
    match condition {
        Condition::Started => wire::Condition::Started,
        Condition::Healthy => wire::Condition::Healthy,
        Condition::Completed => wire::Condition::Completed,
    }
}

fn since(phase: &Phase) -> Option<Timestamp> {
    match phase {
        Phase::Starting { run, .. } => run.as_ref().map(|run| run.started_at),
        Phase::Ready { since, .. } | Phase::Idle { since, .. } => Some(*since),
        Phase::Completed { at } | Phase::Failed { at, .. } => Some(*at),
        Phase::Creating
        | Phase::Waiting { .. }
        | Phase::OnDemand
        | Phase::Updating { .. }
        | Phase::Backoff { .. }
        | Phase::Stopping
        | Phase::Stopped
        | Phase::Removing => None,
    }
}

fn waiting_for(phase: &Phase) -> Vec<wire::UnmetView> {
    let Phase::Waiting { on } = phase else { return Vec::new() };
    let unmet = |unmet: &Unmet| wire::UnmetView {
        instance: unmet.instance.to_string(),
        condition: condition(unmet.condition),
    };
    on.iter().map(unmet).collect()
}

fn retry(phase: &Phase) -> Option<(String, u32)> {
    let Phase::Backoff { until, attempt, .. } = phase else { return None };
    Some((until.to_string(), *attempt))
}

fn exit(exit: &Exit) -> wire::ExitView {
    wire::ExitView {
        at: exit.at.to_string(),
        code: exit.code,
        out_of_memory: exit.oom,
        asked: exit.asked,
        ran_for_ms: u64::try_from(exit.ran_for().as_millis()).unwrap_or(u64::MAX),
    }
}

fn refusal(refusal: &Refusal) -> wire::RefusalView {
    wire::RefusalView {
        at: refusal.at.to_string(),
        count: refusal.count,
        action: refusal.action.clone(),
        message: refusal.message.clone(),
    }
}

fn port(status: &PublishStatus) -> wire::PortView {
    wire::PortView {
        host_port: status.publish.host_port,
        container_port: status.publish.container_port,
        listening: status.listening,
    }
}

fn mcp(instance: &InstanceName, summary: &McpSummary) -> wire::McpView {
    wire::McpView {
        endpoint: format!("/gateway/servers/{instance}/mcp"),
        protocol_version: summary.protocol_version.clone(),
        server_name: summary.server_name.clone(),
        server_version: summary.server_version.clone(),
        capabilities: summary.capabilities.clone(),
        tools: summary.tools.iter().map(|(name, raw)| tool(name, raw)).collect(),
    }
}

/// What of a tool's own description is shown. A server may write anything there; what does not fit is left out.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Described {
    title: Option<serde_json::Value>,
    description: Option<serde_json::Value>,
    input_schema: Option<serde_json::Value>,
}

fn tool(name: &str, raw: &str) -> wire::ToolView {
    let described: Described = serde_json::from_str(raw).unwrap_or_default();
    let text = |value: Option<serde_json::Value>| value.and_then(|value| value.as_str().map(str::to_owned));
    wire::ToolView {
        name: name.to_owned(),
        title: text(described.title),
        description: text(described.description),
        input_schema: described.input_schema,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_shown_as_far_as_it_can_be_understood() {
        let shown =
            tool("echo", r#"{"name":"echo","description":"Says it","inputSchema":{"type":"object"}}"#);
        assert_eq!(shown.description.as_deref(), Some("Says it"));
        assert_eq!(shown.input_schema, Some(serde_json::json!({"type": "object"})));
        for odd in ["", "[]", r#"{"description":7}"#] {
            assert_eq!(tool("echo", odd).name, "echo", "{odd}");
        }
    }
}
