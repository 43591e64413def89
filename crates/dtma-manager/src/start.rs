//! Bringing a manager up and down: adopt what the store knows, sweep what it does not, and leave everything running
//! at the end.

use crate::handle::ManagerHandle;
use crate::registry::Registry;
use crate::settings::{Backends, Settings};
use crate::unused;
use dtma_core::port::runtime::{EngineEvent, Scope};
use dtma_core::record::{GroupRecord, Operation, Outcome};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Starts managers.
pub struct Manager;

impl Manager {
    /// Takes over: every group of the store is adopted (its running containers keep running), containers and
    /// networks of ours that no group claims are swept. Returns at once, with every group listed; statuses tell how
    /// far it is. Must be called inside a tokio runtime.
    pub fn start(settings: Settings, mut backends: Backends) -> (ManagerHandle, Drain) {
        let groups = std::mem::take(&mut backends.loaded.groups);
        let mut histories: BTreeMap<_, _> =
            std::mem::take(&mut backends.loaded.histories).into_iter().collect();
        let registry = Arc::new(Registry::new(settings, backends));
        for damaged in &registry.backends.loaded.damaged {
            tracing::error!(
                table = damaged.table,
                key = damaged.key,
                problem = damaged.problem,
                "a stored record cannot be read and was left alone"
            );
        }
        let orphans = orphans(&registry, &groups);
        for record in groups {
            let history = histories.remove(&record.spec.group_id).unwrap_or_default();
            registry.adopt(record, history);
        }
        let closing = Arc::clone(&registry);
        registry.tasks.spawn(async move { close(&closing, orphans).await });
        let events = Arc::clone(&registry);
        registry.tasks.spawn(async move { until_cancelled(&events, route_events(&events)).await });
        let sweeper = Arc::clone(&registry);
        registry.tasks.spawn(async move { until_cancelled(&sweeper, sweep_for_ever(&sweeper)).await });
        let keeper = Arc::clone(&registry);
        registry.tasks.spawn(async move { until_cancelled(&keeper, unused::end_for_ever(&keeper)).await });
        (ManagerHandle { registry: Arc::clone(&registry) }, Drain { registry })
    }
}

/// Operations under way whose group is not there: nobody else would ever end them.
fn orphans(registry: &Registry, groups: &[GroupRecord]) -> Vec<Operation> {
    let known = |operation: &Operation| {
        let id = &operation.group;
        groups.iter().any(|record| record.spec.group_id == *id) || registry.claims(id)
    };
    let open = registry.backends.loaded.operations.iter().filter(|operation| operation.outcome.is_none());
    open.filter(|operation| !known(operation)).cloned().collect()
}

async fn close(registry: &Registry, orphans: Vec<Operation>) {
    for mut operation in orphans {
        let message = "the daemon ended before it was over, and its group is not there any more".to_owned();
        operation.outcome = Some(Outcome::Failed { at: (registry.backends.wall)(), message });
        if let Err(error) = registry.backends.store.put_operation(&operation).await {
            tracing::warn!(operation = %operation.id, %error, "an interrupted operation could not be ended");
        }
    }
}

/// Ends a manager.
#[must_use = "dropping it leaves the manager running"]
pub struct Drain {
    registry: Arc<Registry>,
}

impl Drain {
    /// Begins nothing new, lets engine calls under way finish (at most for `patience`), and ends. Every container
    /// is left as it is. Returns false when something was still under way.
    pub async fn drain(self, patience: Duration) -> bool {
        self.registry.cancel.cancel();
        self.registry.tasks.close();
        tokio::time::timeout(patience, self.registry.tasks.wait()).await.is_ok()
    }
}

async fn until_cancelled(registry: &Registry, work: impl Future<Output = ()>) {
    // Both may be dropped at any await: they hold nothing that outlives the daemon.
    tokio::select! {
        () = registry.cancel.cancelled() => {}
        () = work => {}
    }
}

/// Tells each group what the engine says about its containers.
async fn route_events(registry: &Registry) {
    let mut events = registry.backends.runtime.events(&registry.owner);
    while let Some(event) = events.next().await {
        match event {
            EngineEvent::Container { id, group, .. } => registry.tell(&group, id),
            EngineEvent::Resync => {
                registry.introduction.forget();
                registry.tell_all_to_resync();
            }
        }
    }
}

async fn sweep_for_ever(registry: &Registry) {
    loop {
        sweep(registry).await;
        tokio::time::sleep(registry.settings.resync).await;
    }
}

/// Removes containers and networks that bear our owner id and belong to no group: what a lost reply or a kill left
/// behind. Volumes stay: they hold data and outlive their group on purpose.
async fn sweep(registry: &Registry) {
    let runtime = &registry.backends.runtime;
    let scope = Scope { owner: registry.owner.clone(), group: None };
    let Ok(containers) = runtime.containers(&scope).await else { return };
    for orphan in containers.iter().filter(|seen| !registry.claims(&seen.slot.group)) {
        tracing::warn!(container = orphan.name, slot = %orphan.slot, "removing a container that no group claims");
        if let Err(error) = runtime.remove(&orphan.id).await {
            tracing::warn!(container = orphan.name, %error, "could not remove it");
        }
    }
    let Ok(networks) = runtime.networks(&scope).await else { return };
    for orphan in networks.iter().filter(|seen| !registry.claims_network(&seen.name)) {
        tracing::warn!(network = orphan.name, "removing a network that no group claims");
        if let Err(error) = runtime.remove_network(&orphan.id).await {
            tracing::warn!(network = orphan.name, %error, "could not remove it");
        }
    }
}
