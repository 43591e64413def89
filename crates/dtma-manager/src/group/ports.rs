//! The published ports of a group: opened before a spec that wants them is accepted, pointed at what serves, given
//! back when nobody wants them any more.

use super::GroupTask;
use crate::error::ManagerError;
use crate::forward::{Forward, Target, Traffic};
use dtma_core::id::{ContainerId, InstanceName};
use dtma_core::plan::Plan;
use dtma_core::spec::GroupSpec;
use std::collections::BTreeSet;
use std::sync::Arc;

impl GroupTask {
    /// Opens the ports of a new spec that are not open yet, all of them or none.
    pub(super) fn open_new_ports(
        &self,
        spec: &GroupSpec,
    ) -> Result<Vec<(InstanceName, Forward)>, ManagerError> {
        let open: BTreeSet<u16> = self.forwards().map(Forward::port).collect();
        let mut new = Vec::new();
        for server in &spec.servers {
            for publish in server.publish.iter().filter(|publish| !open.contains(&publish.host_port)) {
                new.push((server.instance.clone(), self.registry.forward(publish.host_port)?));
            }
        }
        Ok(new)
    }

    /// Tries ports again that somebody else held when they were to be opened.
    pub(super) fn open_ports(&mut self) {
        for spec in &self.record.spec.servers {
            for publish in &spec.publish {
                if self
                    .servers
                    .values()
                    .flat_map(|server| &server.forwards)
                    .all(|open| open.port() != publish.host_port)
                    && let Some(server) = self.servers.get_mut(&spec.instance)
                {
                    server.forwards.extend(self.registry.forward(publish.host_port).ok());
                }
            }
        }
    }

    /// Points every port at the containers that serve behind it. A port may change hands within a group.
    pub(super) fn direct_ports(&self, plan: &Plan) {
        for forward in self.forwards() {
            forward.serve(&self.targets(forward.port(), plan));
        }
    }

    fn targets(&self, host_port: u16, plan: &Plan) -> Vec<Target> {
        let serving = plan.serving.values().flatten();
        serving.filter_map(|container| self.target(container, host_port)).collect()
    }

    fn target(&self, container: &ContainerId, host_port: u16) -> Option<Target> {
        let seen = self.seen.containers.iter().find(|seen| seen.id == *container)?;
        let spec = self.spec_of(&seen.member())?;
        let publish = spec.publish.iter().find(|publish| publish.host_port == host_port)?;
        Some(Target { container: container.clone(), port: publish.container_port })
    }

    /// Gives back the ports that the spec does not want.
    pub(super) async fn close_unwanted_ports(&mut self) {
        let wanted: BTreeSet<u16> = self
            .record
            .spec
            .servers
            .iter()
            .flat_map(|spec| &spec.publish)
            .map(|publish| publish.host_port)
            .collect();
        let mut unwanted = Vec::new();
        for server in self.servers.values_mut() {
            let (keep, close) =
                server.forwards.drain(..).partition(|forward: &Forward| wanted.contains(&forward.port()));
            server.forwards = keep;
            unwanted.extend::<Vec<Forward>>(close);
        }
        for forward in unwanted {
            forward.close().await;
        }
    }

    /// Gives all ports back.
    pub(super) async fn close_ports(&mut self) {
        for server in self.servers.values_mut() {
            for forward in server.forwards.drain(..) {
                forward.close().await;
            }
        }
    }

    /// What goes to containers of the group, through published ports and from those that depend on them.
    pub(super) fn traffic(&self) -> Vec<Arc<Traffic>> {
        self.forwards().map(Forward::traffic).chain(self.traffic_inside()).collect()
    }

    pub(super) fn forwards(&self) -> impl Iterator<Item = &Forward> {
        self.servers.values().flat_map(|server| &server.forwards)
    }
}
