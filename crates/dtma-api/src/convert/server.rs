//! One server.

use super::number::Numbers;
use super::{Finder, mount, placeholder, session};
use dtma_api_types as wire;
use dtma_core::contract::Pinning;
use dtma_core::egress::{EgressRule, EgressRuleError};
use dtma_core::platform::{Platform, PlatformError};
use dtma_core::restart::{RestartMode, RestartPolicy};
use dtma_core::spec::{
    Condition, Connect, Dependency, IdleSpec, NetworkMode, Publish, PullPolicy, ReadinessSpec, Resources,
    ServerKind, ServerSpec, SessionSpec, Transport, UpdateOrder, UpdateSpec, default_stop_grace,
};

pub(super) fn convert(
    wire: wire::ServerRequest,
    index: usize,
    template: Option<&str>,
    finder: &mut Finder<'_>,
) -> Option<ServerSpec> {
    let kind = kind(&wire, finder);
    let instance = finder.at("instanceName").name(&wire.instance_name);
    Some(ServerSpec {
        instance: instance.or_else(|| placeholder(&format!("unnamed-{index}")))?,
        kind,
        port: port(&wire, kind, finder),
        publish: publish(&wire.publish, &mut finder.at("publish")),
        mounts: mounts(&wire.mounts, &mut finder.at("mounts"))?,
        depends_on: depends_on(&wire.depends_on, &mut finder.at("dependsOn")),
        resources: resources(&wire.resources.unwrap_or_default(), &mut finder.at("resources")),
        readiness: readiness(&wire.health.unwrap_or_default(), &mut finder.at("health")),
        restart: restart(&wire.restart.unwrap_or_default(), &mut finder.at("restart")),
        replicas: finder.at("replicas").within(wire.replicas.map(u64::from), 0, 32).unwrap_or(1),
        session: wire
            .session
            .map_or_else(SessionSpec::default, |wire| session::convert(wire, &mut finder.at("session"))),
        update: update(&wire.update.unwrap_or_default(), &mut finder.at("update")),
        pinning: wire.pinning.map_or_else(Pinning::default, pinning),
        idle: idle(&wire.idle.unwrap_or_default(), &mut finder.at("idle")),
        network: wire.network.map(network),
        egress: egress(&wire.egress, &mut finder.at("egress")),
        pull: wire.pull_policy.map_or_else(PullPolicy::default, pull),
        stop_grace: finder.at("stopGraceMs").millis(wire.stop_grace_ms).unwrap_or_else(default_stop_grace),
        template: wire.template.or_else(|| template.map(str::to_owned)),
        platform: platform(wire.platform.as_deref(), &mut finder.at("platform")),
        shim: wire.shim,
        endpoint_path: wire.endpoint_path,
        image: wire.image.into(),
        command: wire.command,
        args: wire.args,
        environment: wire.environment,
        overrides: wire.overrides,
        labels: wire.labels,
    })
}

fn kind(wire: &wire::ServerRequest, finder: &mut Finder<'_>) -> ServerKind {
    match (wire.kind.unwrap_or(wire::Kind::Mcp), wire.transport) {
        (wire::Kind::Mcp, spoken) => ServerKind::Mcp(spoken.map_or(Transport::Stdio, transport)),
        (wire::Kind::Tool, None) => ServerKind::Tool,
        (wire::Kind::Tool, Some(_)) => {
            let hint = "leave it out, or set kind to \"mcp\"";
            finder.at("transport").report_with_hint("kind.transport", "a tool has no transport", hint);
            ServerKind::Tool
        }
    }
}

fn transport(wire: wire::Transport) -> Transport {
    match wire {
        wire::Transport::Stdio => Transport::Stdio,
        wire::Transport::StreamableHttp => Transport::StreamableHttp,
        wire::Transport::Sse => Transport::Sse,
        wire::Transport::Websocket => Transport::Websocket,
    }
}

fn port(wire: &wire::ServerRequest, kind: ServerKind, finder: &mut Finder<'_>) -> Option<u16> {
    let mut finder = finder.at("port");
    if wire.port.is_some() && kind.is_stdio() {
        let hint = "leave it out, name another transport, or set kind to \"tool\"";
        finder.report_with_hint("kind.port", "a stdio server is not spoken to over a port", hint);
        return None;
    }
    tcp_port(wire.port, &mut finder)
}

fn tcp_port(value: Option<u32>, finder: &mut Finder<'_>) -> Option<u16> {
    finder.within(value.map(u64::from), 1, u64::from(u16::MAX))
}

fn publish(wire: &[wire::Publish], finder: &mut Finder<'_>) -> Vec<Publish> {
    let convert = |(index, publish): (usize, &wire::Publish)| {
        let mut finder = finder.at(index);
        let host_port = tcp_port(Some(publish.host_port), &mut finder.at("hostPort"));
        let container_port = tcp_port(Some(publish.container_port), &mut finder.at("containerPort"));
        Some(Publish { host_port: host_port?, container_port: container_port? })
    };
    wire.iter().enumerate().filter_map(convert).collect()
}

fn mounts(wire: &[wire::Mount], finder: &mut Finder<'_>) -> Option<Vec<dtma_core::spec::Mount>> {
    let convert = |(index, mount)| mount::convert(mount, &mut finder.at(index));
    let converted: Vec<Option<_>> = wire.iter().enumerate().map(convert).collect();
    converted.into_iter().collect()
}

fn depends_on(wire: &[wire::Dependency], finder: &mut Finder<'_>) -> Vec<Dependency> {
    let convert = |(index, dependency): (usize, &wire::Dependency)| {
        let mut finder = finder.at(index);
        let connect = connect(dependency.connect.as_ref(), &mut finder.at("connect"));
        let instance = finder.at("instance").name(&dependency.instance)?;
        let condition = dependency.condition.map_or_else(Condition::default, condition);
        Some(Dependency { instance, condition, connect })
    };
    wire.iter().enumerate().filter_map(convert).collect()
}

fn connect(wire: Option<&wire::Connect>, finder: &mut Finder<'_>) -> Option<Connect> {
    let wire = wire?;
    let local_port = tcp_port(wire.local_port, &mut finder.at("localPort"));
    let port = tcp_port(Some(wire.port), &mut finder.at("port"))?;
    Some(Connect { port, local_port })
}

fn egress(wire: &[String], finder: &mut Finder<'_>) -> Vec<EgressRule> {
    let convert = |(index, text): (usize, &String)| {
        let refuse = |error: EgressRuleError| finder.at(index).report("egress.syntax", error.to_string());
        text.parse().map_err(refuse).ok()
    };
    wire.iter().enumerate().filter_map(convert).collect()
}

fn resources(wire: &wire::Resources, finder: &mut Finder<'_>) -> Resources {
    Resources {
        memory: finder.at("memory").bytes(wire.memory.as_ref()),
        cpu_millis: finder.at("cpus").cpus(wire.cpus),
        pids: finder.at("pids").within(wire.pids, 1, u64::from(u32::MAX)),
    }
}

fn readiness(wire: &wire::Health, finder: &mut Finder<'_>) -> ReadinessSpec {
    let default = ReadinessSpec::default();
    ReadinessSpec {
        settle: finder.at("settleMs").millis(wire.settle_ms).unwrap_or(default.settle),
        start_timeout: finder
            .at("startTimeoutMs")
            .millis(wire.start_timeout_ms)
            .unwrap_or(default.start_timeout),
    }
}

fn restart(wire: &wire::Restart, finder: &mut Finder<'_>) -> RestartPolicy {
    let default = RestartPolicy::default();
    let mut millis = |field: &str, value, default| finder.at(field).millis(value).unwrap_or(default);
    RestartPolicy {
        interval: millis("intervalMs", wire.interval_ms, default.interval),
        delay: millis("delayMs", wire.delay_ms, default.delay),
        max_delay: millis("maxDelayMs", wire.max_delay_ms, default.max_delay),
        clean_run: millis("cleanRunMs", wire.clean_run_ms, default.clean_run),
        attempts: finder
            .at("attempts")
            .within(wire.attempts, 0, u64::from(u32::MAX))
            .unwrap_or(default.attempts),
        mode: wire.mode.map_or(default.mode, mode),
    }
}

fn idle(wire: &wire::Idle, finder: &mut Finder<'_>) -> IdleSpec {
    IdleSpec {
        pause_after: finder.at("pauseAfterSecs").seconds(wire.pause_after_secs),
        stop_after: finder.at("stopAfterSecs").seconds(wire.stop_after_secs),
    }
}

fn update(wire: &wire::UpdatePolicy, finder: &mut Finder<'_>) -> UpdateSpec {
    let default = UpdateSpec::default();
    UpdateSpec {
        order: wire.order.map(|order| match order {
            wire::UpdateOrder::StartFirst => UpdateOrder::StartFirst,
            wire::UpdateOrder::StopFirst => UpdateOrder::StopFirst,
        }),
        drain: finder.at("drainMs").millis(wire.drain_ms).unwrap_or(default.drain),
    }
}

fn mode(wire: wire::RestartMode) -> RestartMode {
    match wire {
        wire::RestartMode::Fail => RestartMode::Fail,
        wire::RestartMode::Delay => RestartMode::Delay,
    }
}

fn condition(wire: wire::Condition) -> Condition {
    match wire {
        wire::Condition::Started => Condition::Started,
        wire::Condition::Healthy => Condition::Healthy,
        wire::Condition::Completed => Condition::Completed,
    }
}

fn network(wire: wire::Network) -> NetworkMode {
    match wire {
        wire::Network::None => NetworkMode::None,
        wire::Network::Group => NetworkMode::Group,
        wire::Network::Open => NetworkMode::Open,
    }
}

fn platform(wire: Option<&str>, finder: &mut Finder<'_>) -> Option<Platform> {
    let hint = "write it as linux/amd64 or linux/arm/v7, or leave it out";
    let refuse = |error: PlatformError| finder.report_with_hint("platform.syntax", error.to_string(), hint);
    wire?.parse().map_err(refuse).ok()
}

fn pinning(wire: wire::Pinning) -> Pinning {
    match wire {
        wire::Pinning::Off => Pinning::Off,
        wire::Pinning::Warn => Pinning::Warn,
        wire::Pinning::Quarantine => Pinning::Quarantine,
    }
}

fn pull(wire: wire::PullPolicy) -> PullPolicy {
    match wire {
        wire::PullPolicy::Always => PullPolicy::Always,
        wire::PullPolicy::Missing => PullPolicy::Missing,
        wire::PullPolicy::Never => PullPolicy::Never,
    }
}
