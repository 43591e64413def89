//! Cases of sizes, numbers and times.

use crate::case::{Case, case, set_publish, set_replicas, set_restart, set_tmpfs, tool_case};
use crate::support::MIB;
use dtma_config::rule;
use dtma_core::restart::RestartPolicy;
use dtma_core::spec::{
    Condition, Dependency, GroupSpec, IdleSpec, NetworkMode, ServerKind, ServerSpec, Transport,
};
use std::time::Duration;

pub(crate) fn size_cases() -> Vec<Case> {
    let memory = |server: &mut ServerSpec, memory| server.resources.memory = Some(memory);
    let cpu = |server: &mut ServerSpec, cpu| server.resources.cpu_millis = Some(cpu);
    let pids = |server: &mut ServerSpec, pids| server.resources.pids = Some(pids);
    let (at_memory, at_cpus, at_pids) =
        ("/servers/1/resources/memory", "/servers/1/resources/cpus", "/servers/1/resources/pids");
    vec![
        tool_case(rule::RESOURCES_TOO_SMALL, at_memory, memory, (6 * MIB - 1, 6 * MIB)),
        tool_case(rule::RESOURCES_TOO_SMALL, at_cpus, cpu, (0, 10)),
        tool_case(rule::RESOURCES_TOO_SMALL, at_pids, pids, (0, 2)),
        tool_case(
            rule::RESOURCES_TOO_SMALL,
            "/servers/1/mounts/0/size",
            set_tmpfs,
            ((0, false), (4096, false)),
        ),
        tool_case(rule::POLICY_CEILING, at_memory, memory, (2_147_483_649, 2_147_483_648)),
        tool_case(rule::POLICY_CEILING, at_memory, memory, (u64::MAX, 2_147_483_648)),
        tool_case(rule::POLICY_CEILING, at_cpus, cpu, (2001, 2000)),
        tool_case(rule::POLICY_CEILING, at_pids, pids, (513, 512)),
        tool_case(
            rule::POLICY_CEILING,
            "/servers/1/mounts/0/size",
            set_tmpfs,
            ((2_147_483_649, false), (2_147_483_648, false)),
        ),
    ]
}

/// What nobody needs: the first server, or, where `second`, the other one, changed in another way, too.
fn resting(
    second: bool,
    (pause, stop): (Option<u64>, Option<u64>),
    change: impl Fn(&mut GroupSpec) + 'static,
) -> impl Fn(&mut GroupSpec) {
    move |group| {
        change(group);
        let after = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        group.servers[usize::from(second)].idle =
            IdleSpec { pause_after: after(pause), stop_after: after(stop) };
    }
}

pub(crate) fn idle_cases() -> Vec<Case> {
    let at = "/servers/0/idle";
    let plain = |_: &mut GroupSpec| {};
    let month = 30 * 24 * 3600;
    let depends = |condition| {
        move |group: &mut GroupSpec| {
            let instance = group.servers[0].instance.clone();
            group.servers[1].depends_on = vec![Dependency { instance, condition, connect: None }];
        }
    };
    let publishes = |group: &mut GroupSpec| {
        group.servers[0].kind = ServerKind::Mcp(Transport::StreamableHttp);
        group.servers[0].network = Some(NetworkMode::Group);
        group.servers[0].port = Some(80);
        set_publish(&mut group.servers[0], vec![(8080, 80)]);
    };
    let asked = (Some(60), Some(600));
    vec![
        case(
            rule::DURATION_RANGE,
            "/servers/0/idle/pauseAfterSecs",
            resting(false, (Some(0), None), plain),
            resting(false, (Some(1), None), plain),
        ),
        case(
            rule::DURATION_RANGE,
            "/servers/0/idle/stopAfterSecs",
            resting(false, (None, Some(month + 1)), plain),
            resting(false, (None, Some(month)), plain),
        ),
        case(
            rule::IDLE_ORDER,
            "/servers/0/idle/stopAfterSecs",
            resting(false, (Some(60), Some(59)), plain),
            resting(false, (Some(60), Some(60)), plain),
        ),
        case(
            rule::IDLE_KIND,
            "/servers/1/idle",
            resting(true, asked, plain),
            resting(true, (None, None), plain),
        ),
        case(
            rule::IDLE_PUBLISHED,
            at,
            resting(false, asked, publishes),
            resting(false, (None, None), publishes),
        ),
        case(
            rule::IDLE_NEEDED,
            at,
            resting(false, asked, depends(Condition::Started)),
            resting(false, (None, None), depends(Condition::Started)),
        ),
        case(
            rule::IDLE_NEEDED,
            at,
            resting(false, asked, depends(Condition::Healthy)),
            resting(false, asked, plain),
        ),
    ]
}

/// The second server awaits the first one's completion.
fn awaited_replicas(replicas: u32) -> impl Fn(&mut GroupSpec) {
    move |group| {
        let instance = group.servers[0].instance.clone();
        group.servers[1].depends_on =
            vec![Dependency { instance, condition: Condition::Completed, connect: None }];
        group.servers[0].replicas = replicas;
    }
}

pub(crate) fn time_cases() -> Vec<Case> {
    let ms = Duration::from_millis;
    let base = RestartPolicy::default();
    let restart = |pointer, bad, good| tool_case(rule::DURATION_RANGE, pointer, set_restart, (bad, good));
    let grace = |server: &mut ServerSpec, grace| server.stop_grace = grace;
    let timeout = |server: &mut ServerSpec, timeout| server.readiness.start_timeout = timeout;
    let settle = |server: &mut ServerSpec, settle| server.readiness.settle = settle;
    vec![
        tool_case(
            rule::RESTART_ATTEMPTS,
            "/servers/1/restart/attempts",
            set_restart,
            (RestartPolicy { attempts: 101, ..base }, RestartPolicy { attempts: 100, ..base }),
        ),
        case(
            rule::REPLICAS_RANGE,
            "/servers/0/replicas",
            |group| set_replicas(&mut group.servers[0], 33),
            |group| set_replicas(&mut group.servers[0], 32),
        ),
        tool_case(rule::REPLICAS_RANGE, "/servers/1/replicas", set_replicas, (0, 1)),
        case(rule::REPLICAS_ONCE, "/servers/0/replicas", awaited_replicas(2), awaited_replicas(1)),
        tool_case(
            rule::RESTART_DELAY_ORDER,
            "/servers/1/restart/maxDelayMs",
            set_restart,
            (RestartPolicy { max_delay: ms(999), ..base }, RestartPolicy { max_delay: ms(1000), ..base }),
        ),
        restart(
            "/servers/1/restart/intervalMs",
            RestartPolicy { interval: ms(999), ..base },
            RestartPolicy { interval: ms(1000), ..base },
        ),
        restart(
            "/servers/1/restart/delayMs",
            RestartPolicy { delay: ms(99), ..base },
            RestartPolicy { delay: ms(100), ..base },
        ),
        restart(
            "/servers/1/restart/maxDelayMs",
            RestartPolicy { max_delay: ms(86_400_001), ..base },
            RestartPolicy { max_delay: ms(86_400_000), ..base },
        ),
        restart(
            "/servers/1/restart/cleanRunMs",
            RestartPolicy { clean_run: ms(0), ..base },
            RestartPolicy { clean_run: ms(1000), ..base },
        ),
        tool_case(rule::DURATION_RANGE, "/servers/1/stopGraceMs", grace, (ms(600_001), ms(600_000))),
        tool_case(rule::DURATION_RANGE, "/servers/1/stopGraceMs", grace, (Duration::MAX, ms(0))),
        tool_case(
            rule::DURATION_RANGE,
            "/servers/1/health/startTimeoutMs",
            timeout,
            (ms(3_600_001), ms(3_600_000)),
        ),
        tool_case(rule::HEALTH_UNREACHABLE, "/servers/1/health/settleMs", settle, (ms(60_000), ms(59_999))),
    ]
}
