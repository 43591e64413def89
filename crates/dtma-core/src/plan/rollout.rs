//! The decisions of an update: who serves meanwhile, when what is left over may go, when it is through or has failed.
//!
//! ```text
//!   old serves ── new made ── new started ── new ready: serves ── old drained, stopped, removed ── through
//!                    │            │              (stop-first: old stopped before new is started)
//!                    │            └ in place: of one shape and stop-first, the old one's container is the new one's
//!                    └────────────┴─ refused, crashed twice, too late: failed ── the way back is an update, too
//! ```

use super::{Action, Context, Plan, StopReason, earliest};
use crate::Timestamp;
use crate::graph::Graph;
use crate::id::{ContainerId, InstanceName, ReplicaId};
use crate::observation::{ContainerObservation, ContainerState};
use crate::phase::Phase;
use crate::record::{ServerRecord, Update};
use crate::restart::after;
use crate::spec::{ServerSpec, UpdateOrder, UpdateSpec};
use std::collections::BTreeMap;
use std::time::Duration;

/// A new container that exits so often has failed: one exit may be bad luck.
const CANDIDATE_EXITS: usize = 2;

/// How far an update is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Progress {
    /// None is under way.
    #[default]
    Steady,
    /// On its way.
    Rolling,
    /// Everything that changed is proved and nothing is left of what it replaced.
    Through,
    /// It will not succeed.
    Failed {
        /// Because of which server, when because of one.
        instance: Option<InstanceName>,
        /// Why.
        reason: String,
    },
}

/// The containers of one replica by what they are good for.
pub(super) struct Slot<'a> {
    /// Made from the wanted configuration, or running its process, or to be given it.
    pub(super) wanted: Option<&'a ContainerObservation>,
    /// What stood before and stays until the wanted one is ready.
    pub(super) standing: Option<&'a ContainerObservation>,
    /// Good for nothing.
    pub(super) surplus: Vec<&'a ContainerObservation>,
}

impl Context<'_> {
    fn update(&self) -> Option<&Update> {
        self.desired.update()
    }

    /// Sorts the containers of a replica.
    pub(super) fn slot<'a>(&'a self, replica: &'a ReplicaId, record: &ServerRecord) -> Slot<'a> {
        let made = self
            .observed
            .at(replica)
            .filter(|seen| record.is_of(seen) && seen.state != ContainerState::Dead)
            .max_by_key(|seen| (!seen.in_doubt, seen.is_live(), seen.run().map(|run| run.started_at)));
        let wanted = made.or_else(|| self.vessel(replica, record));
        let standing = self.standing(replica, record, wanted);
        let kept = |seen: &ContainerObservation| {
            [wanted, standing].into_iter().flatten().any(|kept| kept.id == seen.id)
        };
        let surplus = self.observed.at(replica).filter(|seen| !kept(seen)).collect();
        Slot { wanted, standing, surplus }
    }

    /// A container in which nothing runs and the wanted process can, when there is none that has to be emptied first.
    fn vessel<'a>(
        &'a self,
        replica: &'a ReplicaId,
        record: &ServerRecord,
    ) -> Option<&'a ContainerObservation> {
        let good =
            |seen: &&ContainerObservation| seen.state != ContainerState::Dead && self.renews(record, seen);
        let best = self
            .observed
            .at(replica)
            .filter(good)
            .max_by_key(|seen| (seen.is_live(), seen.run().map(|run| run.started_at)));
        best.filter(|seen| !seen.is_live())
    }

    /// True where a container is given the wanted process instead of being replaced: it was made for it, or for one of
    /// the same shape, and nothing is to serve beside it. What runs to completion always gets a container of its own,
    /// whose exit nobody can take for another's.
    pub(super) fn renews(&self, record: &ServerRecord, seen: &ContainerObservation) -> bool {
        let instance = &seen.slot.instance;
        let alone = self.update().is_none() || self.order(instance) == UpdateOrder::StopFirst;
        // There cannot be a second one with the same labels.
        let its_own = seen.made_from == record.config_hash;
        (alone || its_own) && !self.graph.runs_once(instance) && record.fits(seen)
    }

    /// What stood in a place before the update, or what of a later generation serves there already.
    fn standing<'a>(
        &'a self,
        replica: &'a ReplicaId,
        record: &ServerRecord,
        wanted: Option<&ContainerObservation>,
    ) -> Option<&'a ContainerObservation> {
        let before = self.update()?.from.servers.get(&replica.instance).map(|server| &server.config_hash);
        let stood = |seen: &ContainerObservation| Some(&seen.config_hash) == before;
        self.observed
            .at(replica)
            .filter(|seen| !record.is_of(seen) && seen.state != ContainerState::Dead)
            .filter(|seen| wanted.is_none_or(|wanted| wanted.id != seen.id))
            .filter(|seen| stood(seen) || self.observed.is_ready(seen))
            .max_by_key(|seen| {
                (self.observed.is_ready(seen), stood(seen), seen.run().map(|run| run.started_at))
            })
    }

    /// The containers that are to be given work: of each replica the wanted one as soon as it is ready, else what
    /// stood before, else whatever runs; and of these, where one is known to be ready, not those that are not.
    pub(super) fn serving(&self) -> BTreeMap<InstanceName, Vec<ContainerId>> {
        let mut serving = BTreeMap::new();
        for spec in &self.desired.spec.servers {
            let chosen: Vec<_> = spec.places().filter_map(|replica| self.server_of(&replica)).collect();
            let ready: Vec<_> = chosen.iter().filter(|(_, ready)| *ready).cloned().collect();
            let best = if ready.is_empty() { chosen } else { ready };
            if !best.is_empty() {
                serving.insert(spec.instance.clone(), best.into_iter().map(|(id, _)| id).collect());
            }
        }
        serving
    }

    /// The container that serves for a replica, and whether it is ready.
    fn server_of(&self, replica: &ReplicaId) -> Option<(ContainerId, bool)> {
        let record = self.desired.servers.get(&replica.instance)?;
        let slot = self.slot(replica, record);
        let runs_on = |seen: &&ContainerObservation| self.observed.runs_on(seen);
        let ready = slot.wanted.filter(|seen| self.observed.is_ready(seen));
        let chosen = ready.or(slot.standing.filter(runs_on)).or(slot.wanted.filter(runs_on))?;
        Some((chosen.id.clone(), self.observed.is_ready(chosen)))
    }

    /// How this server is updated. On the way back the failed generation's wish has no say.
    pub(super) fn order(&self, instance: &InstanceName) -> UpdateOrder {
        self.desired.spec.server(instance).map_or(UpdateOrder::StartFirst, ServerSpec::update_order)
    }

    /// Ends what was replaced: its process first, which may finish what it has begun.
    pub(super) fn retire(&self, old: &ContainerObservation) -> Action {
        if !old.is_live() {
            return Action::Remove { member: old.member(), container: old.id.clone() };
        }
        self.end(old, StopReason::Replaced { drain: self.drain(old) })
    }

    /// Ends what is to be followed by another process in the same container.
    pub(super) fn vacate(&self, old: &ContainerObservation) -> Action {
        self.end(old, StopReason::Renewed { drain: self.drain(old) })
    }

    fn end(&self, old: &ContainerObservation, reason: StopReason) -> Action {
        let grace = self.grace_before(old);
        Action::Stop { member: old.member(), container: old.id.clone(), grace, reason }
    }

    fn drain(&self, old: &ContainerObservation) -> Duration {
        self.before(&old.slot.instance).map_or(UpdateSpec::default().drain, |spec| spec.update.drain)
    }

    fn before(&self, instance: &InstanceName) -> Option<&ServerSpec> {
        self.update()?.from.spec.server(instance)
    }

    fn grace_before(&self, old: &ContainerObservation) -> Duration {
        let before = self.update().and_then(|update| update.from.servers.get(&old.slot.instance));
        before.map_or_else(crate::spec::default_stop_grace, |server| server.config.stop_grace)
    }

    /// Lets go of what the spec does not know any more, once what changed is proved; says how far it all is.
    pub(super) fn see_update_through(&self, plan: &mut Plan) {
        let Some(update) = self.update() else {
            plan.actions.extend(self.leavers().map(|leaver| self.discard(leaver)));
            return;
        };
        let changed: Vec<_> = self.changed(update).collect();
        plan.progress = if self.proved(plan) {
            let before = plan.actions.len();
            plan.actions.extend(self.leave(update));
            let busy = changed.iter().any(|name| self.observed.is_busy(name));
            match self.leavers().next().is_none()
                && plan.actions.len() == before
                && !busy
                && !self.stands_any()
            {
                true => Progress::Through,
                false => Progress::Rolling,
            }
        } else {
            self.verdict(update, &changed, plan)
        };
    }

    fn changed<'a>(&'a self, update: &'a Update) -> impl Iterator<Item = &'a InstanceName> {
        self.desired.servers.keys().filter(|name| update.changes(self.desired, name))
    }

    /// True where nothing is being changed, or what is changed stands.
    pub(super) fn proved(&self, plan: &Plan) -> bool {
        let stands = |name: &InstanceName| plan.phases.get(name).is_some_and(Phase::is_as_wanted);
        self.update().is_none_or(|update| self.changed(update).all(stands))
    }

    fn stands_any(&self) -> bool {
        let stands = |(instance, record): (&InstanceName, &ServerRecord)| {
            let replicas = self.desired.spec.server(instance).into_iter().flat_map(ServerSpec::places);
            let mut places = self.observed.asked_of(instance);
            replicas.into_iter().any(|replica| self.slot(&replica, record).standing.is_some())
                || places.any(|(place, _)| self.former(&place, record).is_some())
        };
        self.desired.servers.iter().any(stands)
    }

    /// What the new spec does not know goes, dependents before what they depend on.
    fn leave<'a>(&'a self, update: &'a Update) -> impl Iterator<Item = Action> + 'a {
        let graph = Graph::unchecked(&update.from.spec.servers);
        let gone = |name: &InstanceName| !self.desired.servers.contains_key(name);
        let lives = |name: &InstanceName| self.observed.of(name).any(ContainerObservation::is_live);
        let needed = move |seen: &ContainerObservation| {
            let mut dependents = graph.dependents(&seen.slot.instance);
            gone(&seen.slot.instance) && dependents.any(|name| gone(name) && lives(name))
        };
        self.leavers().filter(move |seen| !seen.is_live() || !needed(seen)).map(|seen| self.retire(seen))
    }

    fn verdict(&self, update: &Update, changed: &[&InstanceName], plan: &mut Plan) -> Progress {
        let failed = |name: &&&InstanceName| Some(((**name).clone(), self.why_failed(name, plan)?));
        if let Some((instance, reason)) = changed.iter().find_map(|name| failed(&name)) {
            return Progress::Failed { instance: Some(instance), reason };
        }
        let deadline = self.deadline(update);
        if self.now >= deadline {
            let after = self.desired.spec.options.progress_deadline;
            let unproved =
                changed.iter().filter(|name| !plan.phases.get(**name).is_some_and(Phase::is_as_wanted));
            let names: Vec<_> = unproved.map(|name| name.as_str()).collect();
            let reason = format!("{} not ready within {} s", names.join(", "), after.as_secs());
            return Progress::Failed { instance: None, reason };
        }
        plan.wake_at = earliest(plan.wake_at, Some(deadline));
        Progress::Rolling
    }

    fn deadline(&self, update: &Update) -> Timestamp {
        after(update.since, self.desired.spec.options.progress_deadline)
    }

    /// Why a changed server will not become ready, when it will not.
    fn why_failed(&self, instance: &InstanceName, plan: &Plan) -> Option<String> {
        let record = self.desired.servers.get(instance)?;
        self.desired.spec.server(instance)?.places().find_map(|replica| {
            let history = self.history.of(&replica);
            if let Some(refusal) = history.refusal.as_ref().filter(|refusal| refusal.permanent) {
                return Some(format!("{} failed: {}", refusal.action, refusal.message));
            }
            let phase = plan.replicas.get(&replica)?;
            let candidate = self.slot(&replica, record).wanted?;
            let failed = match phase {
                Phase::Updating { candidate, .. } => matches!(**candidate, Phase::Failed { .. }),
                other => matches!(other, Phase::Failed { .. }),
            };
            let exits = history.counted_of(&candidate.id, &record.config_hash);
            let last = exits.last()?;
            (failed || exits.len() >= CANDIDATE_EXITS).then(|| super::server::trouble(last).to_string())
        })
    }
}
