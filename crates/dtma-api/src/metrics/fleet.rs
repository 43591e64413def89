//! Groups and servers, counted at the moment somebody asks.

use crate::gateway::Target;
use crate::view::{group_totals, phase, server_totals};
use dtma_manager::{GroupStatus, ManagerHandle};
use dtma_mcp::Door;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::Arc;

/// Told of groups as one, too: their calls are those of their servers.
const SESSIONS: &str = "gateway_sessions";

pub(super) struct Fleet {
    manager: ManagerHandle,
}

impl Fleet {
    pub(super) fn new(manager: ManagerHandle) -> Self {
        Self { manager }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

impl Collector for Fleet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let groups = self.manager.groups();
        encode_groups(&mut encoder, &groups)?;
        encode_servers(&mut encoder, &groups)?;
        encode_restarts(&mut encoder, &groups)?;
        encode_ready(&mut encoder, &groups)?;
        let (under_way, waiting) = self.manager.starts();
        let help = "Processes that come up, and those that wait for their turn to";
        let starts = [("under_way", number(under_way)), ("waiting", number(waiting))];
        gauges(&mut encoder, "starts", help, "state", &starts)?;
        let help = "MCP sessions of clients";
        self.encode_doors(&mut encoder, &groups, SESSIONS, help, Door::sessions)?;
        let help = "Calls of agents that were passed on and are not answered yet";
        let calls = |door: &Door| door.depth().calls;
        self.encode_doors(&mut encoder, &groups, "gateway_calls_in_flight", help, calls)?;
        let help = "Bytes that wait for their server to read them";
        let queued = |door: &Door| door.depth().queued;
        self.encode_doors(&mut encoder, &groups, "gateway_queued_bytes", help, queued)?;
        self.encode_expired(&mut encoder, &groups)
    }
}

impl Fleet {
    fn encode_doors(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        groups: &[Arc<GroupStatus>],
        name: &str,
        help: &str,
        count: impl Fn(&Door) -> usize,
    ) -> fmt::Result {
        let kind = ConstGauge::new(0_u64).metric_type();
        let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
        for server in groups.iter().flat_map(|group| &group.servers) {
            let Some(door) = self.manager.mcp(&server.instance) else { continue };
            let counted = number(count(&door));
            let labels = [("instance", server.instance.as_str())];
            ConstGauge::new(counted).encode(metric.encode_family(&labels)?)?;
        }
        for group in groups.iter().filter(|_| name == SESSIONS) {
            let Some(together) = self.manager.mcp_group(&group.group_id) else { continue };
            let sessions = number(together.sessions());
            // One that nobody uses as one need not be told.
            if sessions > 0 {
                let target = Target::Group(group.group_id.clone()).to_string();
                ConstGauge::new(sessions).encode(metric.encode_family(&[("instance", target.as_str())])?)?;
            }
        }
        Ok(())
    }
}

impl Fleet {
    fn encode_expired(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        groups: &[Arc<GroupStatus>],
    ) -> fmt::Result {
        let help = "MCP sessions ended because nobody used them";
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut metric = encoder.encode_descriptor("gateway_sessions_expired", help, None, kind)?;
        let doors = groups.iter().flat_map(|group| &group.servers).filter_map(|server| {
            let expired = self.manager.mcp(&server.instance)?.expired();
            Some((server.instance.to_string(), expired))
        });
        let together = groups.iter().filter_map(|group| {
            let expired = self.manager.mcp_group(&group.group_id)?.expired();
            Some((Target::Group(group.group_id.clone()).to_string(), expired)).filter(|_| expired > 0)
        });
        for (target, expired) in doors.chain(together) {
            ConstCounter::new(expired).encode(metric.encode_family(&[("instance", target.as_str())])?)?;
        }
        Ok(())
    }
}

fn encode_groups(encoder: &mut DescriptorEncoder<'_>, groups: &[Arc<GroupStatus>]) -> fmt::Result {
    let totals = group_totals(groups.iter().map(Arc::as_ref));
    let by_state = [
        ("deploying", totals.deploying),
        ("ready", totals.ready),
        ("degraded", totals.degraded),
        ("failed", totals.failed),
        ("removing", totals.removing),
    ];
    gauges(encoder, "groups", "Groups by state", "state", &by_state)
}

fn encode_servers(encoder: &mut DescriptorEncoder<'_>, groups: &[Arc<GroupStatus>]) -> fmt::Result {
    let totals = server_totals(groups.iter().flat_map(|group| &group.servers).map(|server| &server.phase));
    let by_phase = [
        ("creating", totals.creating),
        ("waiting", totals.waiting),
        ("starting", totals.starting),
        ("ready", totals.ready),
        ("idle", totals.idle),
        ("backoff", totals.backoff),
        ("completed", totals.completed),
        ("stopping", totals.stopping),
        ("stopped", totals.stopped),
        ("failed", totals.failed),
        ("removing", totals.removing),
    ];
    gauges(encoder, "servers", "Servers by phase", "phase", &by_phase)
}

fn number(counted: usize) -> u64 {
    u64::try_from(counted).unwrap_or(u64::MAX)
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    values: &[(&'static str, u64)],
) -> fmt::Result {
    let gauge = |value| ConstGauge::new(value);
    let mut metric = encoder.encode_descriptor(name, help, None, gauge(0_u64).metric_type())?;
    for (word, value) in values {
        gauge(*value).encode(metric.encode_family(&[(label, *word)])?)?;
    }
    Ok(())
}

fn encode_restarts(encoder: &mut DescriptorEncoder<'_>, groups: &[Arc<GroupStatus>]) -> fmt::Result {
    let help = "How often a server was started again, by whomever";
    let kind = ConstCounter::new(0_u64).metric_type();
    let mut metric = encoder.encode_descriptor("server_restarts", help, None, kind)?;
    for group in groups {
        for server in &group.servers {
            let labels = [("group", group.group_id.as_str()), ("instance", server.instance.as_str())];
            ConstCounter::new(server.restarts).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_ready(encoder: &mut DescriptorEncoder<'_>, groups: &[Arc<GroupStatus>]) -> fmt::Result {
    let kind = ConstGauge::new(0_u64).metric_type();
    let mut metric = encoder.encode_descriptor("server_ready", "1 while a server answers", None, kind)?;
    for group in groups {
        for server in &group.servers {
            let labels = [("group", group.group_id.as_str()), ("instance", server.instance.as_str())];
            let ready = phase(&server.phase) == dtma_api_types::PhaseWord::Ready;
            ConstGauge::new(u64::from(ready)).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
