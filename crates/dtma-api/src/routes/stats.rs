//! What servers use of the machine.

use crate::answer::{Answer, ok};
use crate::app::App;
use axum::extract::State;
use dtma_api_types::{Envelope, ServerStats, StatsView};
use dtma_core::port::meter::{Meter, Usage};
use dtma_manager::{ContainerStatus, GroupStatus, ServerStatus};

/// Look at what servers use
///
/// CPU time, memory and processes of every container, read from the kernel: cheap enough to be asked
/// every second. Two readings of the CPU time give the share in between. Absent values are not known.
#[utoipa::path(get, path = "/mcp/stats", operation_id = "getStats", tag = "servers",
    responses((status = 200, description = "All servers at one moment", body = Envelope<StatsView>)))]
pub(crate) async fn get_stats(State(app): State<App>) -> Answer {
    let meter = app.meter();
    let groups = app.manager().groups();
    let servers = groups.iter().flat_map(|group| rows(group, meter)).collect();
    let view = StatsView { at: app.now().to_string(), unavailable: reason(meter.is_some()), servers };
    ok(format!("{} container(s)", view.servers.len()), view)
}

fn reason(readable: bool) -> Option<String> {
    (!readable).then(|| "the engine is not on the daemon's machine, so its cgroups cannot be read".into())
}

fn rows(group: &GroupStatus, meter: Option<&dyn Meter>) -> Vec<ServerStats> {
    let all = group.servers.iter().flat_map(|server| server.containers.iter().map(move |one| (server, one)));
    all.map(|(server, container)| row(group, server, container, meter)).collect()
}

fn row(
    group: &GroupStatus,
    server: &ServerStatus,
    container: &ContainerStatus,
    meter: Option<&dyn Meter>,
) -> ServerStats {
    let usage: Usage = meter.and_then(|meter| meter.read(&container.id)).unwrap_or_default();
    ServerStats {
        group_id: group.group_id.to_string(),
        instance_name: server.instance.to_string(),
        replica: container.origin.replica,
        generation: container.origin.generation.0,
        container_id: container.id.to_string(),
        cpu_micros: usage.cpu_micros,
        cpu_limit_millis: usage.cpu_limit_millis,
        memory_bytes: usage.memory,
        memory_limit_bytes: usage.memory_limit,
        pids: usage.pids,
        pids_limit: usage.pids_limit,
    }
}
