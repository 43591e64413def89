//! Changes of what is wanted: accepting a new generation, seeing it through, and the way back when it fails.
//!
//! A change is checked, its names and ports are claimed and its ports opened, and it is durable with its revision and
//! its operation, before the next plan sees it. What the plan then says of it ([`Progress`]) is acted on here.

use super::GroupTask;
use super::orders::{Accepted, Until};
use crate::error::ManagerError;
use crate::forward::Forward;
use dtma_config::Rendered;
use dtma_core::change::{self, ServerChange};
use dtma_core::id::{Generation, InstanceName};
use dtma_core::plan::Progress;
use dtma_core::port::StoreError;
use dtma_core::record::{
    Cause, Fate, GroupRecord, Journal, Operation, Outcome, Previous, Revision, Rollout, ServerGoal,
    ServerRecord, Update,
};
use dtma_core::spec::{GroupSpec, ServerSpec};
use std::collections::{BTreeMap, BTreeSet};

/// What a caller wants changed.
pub(crate) enum Wish {
    /// This spec.
    Apply(Box<GroupSpec>),
    /// So many replicas of a server.
    Scale(InstanceName, u32),
    /// The spec of an earlier generation; `None`: of the last one that stood before this one.
    Rollback(Option<Generation>),
}

/// What must hold of the present generation for a change to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expect {
    /// The number the new generation is to bear. The present one's with the same spec changes nothing, with another
    /// it is a conflict; a lower one is outdated. `None`: the next one.
    pub generation: Option<Generation>,
    /// The generation the caller has seen (`If-Match`).
    pub seen: Option<Generation>,
}

impl Expect {
    /// Whether the change is one at all.
    ///
    /// # Errors
    /// `Stale`, `Outdated`, `GenerationTaken`.
    pub(crate) fn judge(&self, present: Generation, same: bool) -> Result<bool, ManagerError> {
        if self.seen.is_some_and(|seen| seen != present) {
            return Err(ManagerError::Stale { present });
        }
        match self.generation {
            Some(wanted) if wanted < present => Err(ManagerError::Outdated { present }),
            Some(wanted) if wanted == present && !same => Err(ManagerError::GenerationTaken { present }),
            Some(wanted) => Ok(wanted != present || !same),
            None => Ok(!same),
        }
    }
}

impl GroupTask {
    pub(super) async fn want_changed(
        &mut self,
        operation: &Operation,
        wish: Wish,
        expect: Expect,
    ) -> Result<(Until, Accepted), ManagerError> {
        let revisions = self.registry.backends.store.revisions(self.group_id()).await?;
        let (spec, cause) = self.wished(wish, &revisions)?;
        if !expect.judge(self.record.generation, spec == self.record.spec)? {
            self.registry.backends.store.put_operation(operation).await?;
            return Ok((Until::RolledOut, self.accepted(operation, false)));
        }
        let rendered = self.registry.backends.configurator.render(&spec, &self.registry.owner);
        let rendered = rendered.map_err(ManagerError::Invalid)?;
        self.registry.claim(&spec)?;
        let opened = match self.open_new_ports(&spec) {
            Ok(opened) => opened,
            Err(error) => {
                self.registry.publish(self.desired());
                return Err(error);
            }
        };
        let generation = expect.generation.unwrap_or_else(|| next(&revisions, self.record.generation));
        let record = self.changed(spec, rendered, generation);
        let journal = self.revisions_of(&record, operation, cause, &revisions);
        let before = self.before();
        self.start_anew(&record);
        self.record = record;
        if let Err(error) = self.keep_change_or_restore(before, Some(operation), &journal).await {
            self.registry.publish(self.desired());
            return Err(error.into());
        }
        self.rolling = journal.into_iter().next_back();
        self.take_up(opened).await;
        Ok((Until::RolledOut, self.accepted(operation, true)))
    }

    fn accepted(&self, operation: &Operation, changed: bool) -> Accepted {
        Accepted { operation: operation.id.clone(), changed, generation: self.record.generation }
    }

    /// The spec that follows from a wish, and why.
    fn wished(&self, wish: Wish, revisions: &[Revision]) -> Result<(GroupSpec, Cause), ManagerError> {
        match wish {
            Wish::Apply(spec) => Ok((*spec, Cause::Apply)),
            Wish::Scale(instance, replicas) => {
                let mut spec = self.record.spec.clone();
                let server = spec.servers.iter_mut().find(|server| server.instance == instance);
                server.ok_or_else(|| ManagerError::NoSuchServer(instance.clone()))?.replicas = replicas;
                Ok((spec, Cause::Scale { instance, replicas }))
            }
            Wish::Rollback(to) => {
                let present = self.record.generation;
                let stood = |revision: &&Revision| matches!(revision.fate, Fate::Established { .. });
                let found = match to {
                    Some(to) => revisions.iter().find(|revision| revision.generation == to),
                    None => {
                        revisions.iter().rev().filter(|revision| revision.generation < present).find(stood)
                    }
                };
                let unknown =
                    || ManagerError::NoSuchGeneration { group: self.group_id().clone(), generation: to };
                let found = found.ok_or_else(unknown)?;
                Ok((found.spec.clone(), Cause::Rollback { to: found.generation }))
            }
        }
    }

    /// The record of a new generation.
    fn changed(
        &self,
        spec: GroupSpec,
        rendered: BTreeMap<InstanceName, Rendered>,
        generation: Generation,
    ) -> GroupRecord {
        let present = &self.record;
        let now = self.now();
        let servers = succession(&present.as_previous(), &spec, rendered, generation);
        let from = match present.update() {
            Some(update) if update.reverting.is_none() => update.from.clone(),
            // What the group is going back to stood before.
            Some(_) => Previous { stood: true, ..present.as_previous() },
            None => present.as_previous(),
        };
        GroupRecord {
            servers,
            spec,
            generation,
            goal: present.goal.clone(),
            rollout: Rollout::Updating(Box::new(Update { from, since: now, reverting: None, failed: None })),
            created_at: present.created_at,
            updated_at: now,
        }
    }

    /// The new revision, and what becomes of those before it.
    fn revisions_of(
        &self,
        record: &GroupRecord,
        operation: &Operation,
        cause: Cause,
        known: &[Revision],
    ) -> Vec<Revision> {
        let at = self.now();
        let rolling = known.iter().filter(|revision| revision.fate == Fate::Rolling);
        let mut revisions: Vec<_> =
            rolling.map(|revision| Revision { fate: Fate::Superseded { at }, ..revision.clone() }).collect();
        // A group of an earlier version has none yet: there must be a way back to what stands.
        if known.iter().all(|revision| revision.generation != self.record.generation) {
            revisions.push(self.revision(
                Cause::Deploy,
                Fate::Established { at: self.record.updated_at },
                "",
            ));
        }
        revisions.push(Revision {
            generation: record.generation,
            spec: record.spec.clone(),
            at,
            author: operation.author.clone(),
            cause,
            fate: Fate::Rolling,
        });
        revisions
    }

    fn revision(&self, cause: Cause, fate: Fate, author: &str) -> Revision {
        let GroupRecord { generation, spec, updated_at, .. } = &self.record;
        let (spec, author) = (spec.clone(), author.to_owned());
        Revision { generation: *generation, spec, at: *updated_at, author, cause, fate }
    }

    /// What is replaced begins with an untouched budget, and may run to completion again.
    fn start_anew(&mut self, to: &GroupRecord) {
        let now = self.now();
        for (instance, server) in &to.servers {
            let before = self.record.servers.get(instance).map(|before| &before.config_hash);
            if before != Some(&server.config_hash) {
                self.history.reset(instance, now);
                self.unsaved = true;
            }
        }
    }

    /// Everybody hears of the new generation, and nothing is put off any longer.
    async fn take_up(&mut self, opened: Vec<(InstanceName, Forward)>) {
        for spec in self.record.spec.servers.clone() {
            self.furnish_server(&spec, &[]);
        }
        for (instance, forward) in opened {
            if let Some(server) = self.servers.get_mut(&instance) {
                server.forwards.push(forward);
            }
        }
        self.registry.publish(self.desired());
        self.warm_up(|_| true);
        let over = ManagerError::ChangeSuperseded(self.group_id().clone());
        self.finish_all(|until| matches!(until, Until::RolledOut | Until::Reverted), &over).await;
    }

    /// Acts on what the plan says of an update. True when there is something else to plan now.
    pub(super) async fn turn(&mut self, progress: &Progress) -> bool {
        match progress {
            Progress::Steady | Progress::Rolling => false,
            Progress::Through => self.established().await,
            Progress::Failed { instance, reason } => {
                let reason = match instance {
                    Some(instance) => format!("{instance}: {reason}"),
                    None => reason.clone(),
                };
                self.failed_update(&reason).await
            }
        }
    }

    /// The update is through: what it replaced is forgotten.
    async fn established(&mut self) -> bool {
        let Rollout::Updating(update) = std::mem::replace(&mut self.record.rollout, Rollout::Established)
        else {
            return false;
        };
        let fates = match update.reverting {
            Some(_) => Vec::new(),
            None => self.fates(&Fate::Established { at: self.now() }).await,
        };
        let journal = Journal { operation: None, revisions: &fates };
        if let Err(error) = self.registry.backends.store.put_group(&self.record, journal).await {
            self.record.rollout = Rollout::Updating(update);
            self.trouble_with("that the update is through could not be kept", &error);
            return false;
        }
        self.forget_gone().await;
        true
    }

    /// The revision of the present generation with another fate; it is read from the store only when an earlier run
    /// of the daemon wrote it.
    pub(super) async fn fates(&mut self, fate: &Fate) -> Vec<Revision> {
        let rolling = self.rolling.take().filter(|rolling| rolling.generation == self.record.generation);
        if let Some(rolling) = rolling {
            return vec![Revision { fate: fate.clone(), ..rolling }];
        }
        let known = match self.registry.backends.store.revisions(self.group_id()).await {
            Ok(known) => known,
            Err(error) => {
                self.trouble_with("the revisions could not be read", &error);
                return Vec::new();
            }
        };
        let present = known.into_iter().filter(|revision| revision.generation == self.record.generation);
        present.map(|revision| Revision { fate: fate.clone(), ..revision }).collect()
    }

    /// Servers that the spec does not know any more leave nothing behind but their volumes.
    async fn forget_gone(&mut self) {
        let gone: Vec<_> =
            self.servers.keys().filter(|name| !self.record.servers.contains_key(name)).cloned().collect();
        self.close_unwanted_ports().await;
        for instance in &gone {
            if let Some(door) = self.servers.remove(instance).and_then(|server| server.door) {
                door.close();
            }
            self.registry.discovery.forget(instance);
            if let Err(error) = self.registry.backends.store.forget_server(instance).await {
                self.trouble_with("a removed server could not be forgotten", &error);
            }
        }
        let places: BTreeSet<_> = self.record.spec.servers.iter().flat_map(ServerSpec::places).collect();
        let before = self.history.servers.len();
        self.history
            .servers
            .retain(|replica, _| places.contains(replica) || !gone.contains(&replica.instance));
        self.unsaved |= self.history.servers.len() != before;
        self.registry.publish(self.desired());
    }

    /// The update failed: back to what stood, when that is wanted and there is something to go back to.
    async fn failed_update(&mut self, reason: &str) -> bool {
        let Rollout::Updating(update) = &self.record.rollout else { return false };
        if update.reverting.is_some() || update.failed.is_some() {
            return false;
        }
        let (at, generation) = (self.now(), self.record.generation);
        let back = (self.record.spec.options.auto_revert && update.from.stood).then(|| update.from.clone());
        let why = ManagerError::UpdateFailed {
            group: self.group_id().clone(),
            generation,
            reason: reason.to_owned(),
            back_to: back.as_ref().map(|back| back.generation),
        };
        tracing::warn!(group = %self.group_id(), %generation, reason, "the update failed");
        let fates = self.fates(&Fate::Failed { at, reason: reason.to_owned() }).await;
        let before = self.before();
        match &back {
            Some(back) => self.go_back(back, reason),
            None => self.mark_failed(reason),
        }
        let outcome = Outcome::Failed { at, message: why.to_string() };
        let operation = self.fail_pending(&why, &outcome);
        if let Err(error) = self.keep_change_or_restore(before, operation.as_ref(), &fates).await {
            self.trouble_with("that the update failed could not be kept", &error);
            return false;
        }
        self.registry.publish(self.desired());
        self.warm_up(|_| true);
        true
    }

    fn mark_failed(&mut self, reason: &str) {
        if let Rollout::Updating(update) = &mut self.record.rollout {
            update.failed = Some(reason.to_owned());
        }
    }

    /// What stood is wanted again, with what people asked of its servers meanwhile.
    fn go_back(&mut self, to: &Previous, reason: &str) {
        let failed = self.record.as_previous();
        let now = self.now();
        let mut servers = to.servers.clone();
        for (instance, server) in &mut servers {
            if let Some(present) = self.record.servers.get(instance) {
                (server.goal, server.restart) = (present.goal, present.restart.clone());
                if present.config_hash != server.config_hash {
                    self.history.reset(instance, now);
                    self.unsaved = true;
                }
            }
        }
        let reverting = Some(reason.to_owned());
        self.record.spec = to.spec.clone();
        self.record.servers = servers;
        self.record.generation = to.generation;
        self.record.updated_at = now;
        self.record.rollout =
            Rollout::Updating(Box::new(Update { from: failed, since: now, reverting, failed: None }));
    }

    async fn keep_change_or_restore(
        &mut self,
        before: (GroupRecord, dtma_core::history::GroupHistory),
        operation: Option<&Operation>,
        revisions: &[Revision],
    ) -> Result<(), StoreError> {
        self.keep_or_restore(before, Journal { operation, revisions }).await
    }
}

/// One more than any number that was given before.
fn next(revisions: &[Revision], present: Generation) -> Generation {
    let highest = revisions.iter().map(|revision| revision.generation).max();
    Generation(highest.unwrap_or(present).max(present).0 + 1)
}

/// What a change would mean, for people to read before.
pub(crate) fn preview(
    present: Option<&Previous>,
    spec: &GroupSpec,
    rendered: &BTreeMap<InstanceName, Rendered>,
) -> Vec<ServerChange> {
    let Some(present) = present else { return change::between(None, spec) };
    let mut to = Previous { spec: spec.clone(), ..present.clone() };
    to.servers.extend(succession(present, spec, rendered.clone(), present.generation));
    change::rendered(present, &to)
}

/// The servers of the generation that follows. What of a spec is unchanged keeps what it was rendered to: a newer
/// daemon with a newer template replaces nothing by itself.
fn succession(
    present: &Previous,
    spec: &GroupSpec,
    rendered: BTreeMap<InstanceName, Rendered>,
    generation: Generation,
) -> BTreeMap<InstanceName, ServerRecord> {
    let surroundings = present.spec.labels == spec.labels
        && present.spec.options.shared_networking == spec.options.shared_networking;
    let successor = |(instance, rendered): (InstanceName, Rendered)| {
        let before = present.servers.get(&instance);
        let same_spec = surroundings && present.spec.server(&instance) == spec.server(&instance);
        let kept = before.filter(|before| same_spec || before.config_hash == rendered.hash).cloned();
        let record = kept.unwrap_or_else(|| ServerRecord {
            goal: before.map_or(ServerGoal::Run, |before| before.goal),
            config: rendered.config,
            config_hash: rendered.hash,
            generation,
            restart: BTreeSet::new(),
        });
        (instance, record)
    };
    rendered.into_iter().map(successor).collect()
}
