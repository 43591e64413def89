//! What a server without a network finds on its own loopback, served from here: its way out, and the ports of its
//! dependencies. Opened before its process begins, and again for one that ran before this daemon did.

use super::GroupTask;
use super::attend::Sign;
use crate::forward::{Forward, Target, Traffic};
use crate::registry::Registry;
use dtma_core::container::ContainerConnect;
use dtma_core::egress::{EgressRule, PROXY_PORT};
use dtma_core::id::{ContainerId, Member, RunKey, SlotId};
use dtma_core::observation::Subject;
use dtma_core::port::RuntimeError;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The ways of one member; closed when dropped.
#[derive(Default)]
pub(super) struct Ways {
    connects: Vec<(ContainerConnect, Forward)>,
    egress: JoinSet<()>,
}

/// The ways that a member is to have, and who is behind each of its dependencies' ports now.
pub(super) struct WantedWays {
    slot: SlotId,
    egress: Vec<EgressRule>,
    connects: Vec<(ContainerConnect, Vec<Target>)>,
}

impl WantedWays {
    /// Begins the container where it does not run, and serves what is to be found inside.
    pub(super) async fn open(
        self,
        registry: &Registry,
        container: &ContainerId,
    ) -> Result<Ways, RuntimeError> {
        let proxy = (!self.egress.is_empty()).then_some(PROXY_PORT);
        let local = self.connects.iter().map(|(connect, _)| connect.local_port);
        let ports: Vec<u16> = proxy.into_iter().chain(local).collect();
        let mut listeners = registry.backends.runtime.listen(container, &ports).await?.into_iter();
        let mut ways = Ways::default();
        if let Some(listener) = proxy.and_then(|_| listeners.next()) {
            ways.let_out(registry, self.slot, self.egress, listener);
        }
        for ((connect, targets), listener) in self.connects.into_iter().zip(listeners) {
            let forward = Forward::inside(&registry.backends.runtime, listener, connect.local_port)?;
            forward.serve(&targets);
            ways.connects.push((connect, forward));
        }
        Ok(ways)
    }
}

impl Ways {
    fn let_out(&mut self, registry: &Registry, slot: SlotId, rules: Vec<EgressRule>, listener: TcpListener) {
        let proxy = Arc::clone(&registry.backends.egress);
        self.egress.spawn(async move { proxy.serve(&slot, &rules, listener).await });
    }

    fn traffic(&self) -> impl Iterator<Item = Arc<Traffic>> {
        self.connects.iter().map(|(_, forward)| forward.traffic())
    }
}

impl GroupTask {
    /// The ways that a member is to have, if any.
    pub(super) fn wanted_ways(&self, member: &Member) -> Option<WantedWays> {
        let config = &self.record_of(member)?.config;
        if config.egress.is_empty() && config.connects.is_empty() {
            return None;
        }
        let connects = config.connects.iter().map(|connect| (connect.clone(), self.behind(connect)));
        Some(WantedWays {
            slot: self.slot(&member.replica),
            egress: config.egress.clone(),
            connects: connects.collect(),
        })
    }

    /// Who serves behind a dependency's port.
    fn behind(&self, connect: &ContainerConnect) -> Vec<Target> {
        let serving = self.servers.get(&connect.instance).map(|server| server.serving.as_slice());
        let live = serving.unwrap_or_default().iter().filter_map(|member| self.live(member));
        live.map(|live| Target { container: live.id.clone(), port: connect.port }).collect()
    }

    /// Points the ways to dependencies at whoever serves there.
    pub(super) fn direct_ways(&self) {
        for (connect, forward) in self.ways().flat_map(|ways| &ways.connects) {
            forward.serve(&self.behind(connect));
        }
    }

    /// What goes through the ways to dependencies.
    pub(super) fn traffic_inside(&self) -> impl Iterator<Item = Arc<Traffic>> {
        self.ways().flat_map(Ways::traffic)
    }

    fn ways(&self) -> impl Iterator<Item = &Ways> {
        let attended = self.servers.values().flat_map(|server| server.members.values());
        attended.filter_map(|attendance| attendance.ways.as_ref())
    }

    /// Opens the ways of a run that has none yet.
    pub(super) fn open_ways_again(&mut self, member: &Member, run: &RunKey) {
        if self.attendance(member).is_none_or(|attendance| attendance.opened.as_ref() == Some(run)) {
            return;
        }
        let wanted = self.wanted_ways(member);
        self.have_ways(member, Some(run.clone()), None);
        let Some(wanted) = wanted else { return };
        let (registry, member, run) = (Arc::clone(&self.registry), member.clone(), run.clone());
        self.watch_for(async move {
            let opened = wanted.open(&registry, &run.container).await;
            Sign::Opened(member, run, opened)
        });
    }

    /// Takes note of which run has ways, or is being given them.
    pub(super) fn have_ways(&mut self, member: &Member, run: Option<RunKey>, ways: Option<Ways>) {
        if let Some(attendance) = self.attendance_mut(member) {
            (attendance.opened, attendance.ways) = (run, ways);
        }
    }

    /// Takes in what became of opening the ways of a run.
    pub(super) fn opened(&mut self, member: &Member, run: RunKey, opened: Result<Ways, RuntimeError>) {
        // Another run may have begun meanwhile, with ways of its own.
        if self.attendance(member).is_none_or(|attendance| attendance.opened.as_ref() != Some(&run)) {
            return;
        }
        match opened {
            Ok(ways) => {
                self.have_ways(member, Some(run), Some(ways));
                self.direct_ways();
            }
            Err(error) => {
                tracing::warn!(%member, %error, "its ways to hosts and dependencies cannot be served");
                self.have_ways(member, None, None);
                let problem = format!("its ways to hosts and dependencies cannot be served: {error}");
                self.cool_down(Subject::Member(member.clone()), problem);
            }
        }
    }
}
