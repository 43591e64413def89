//! The decision for a place: the process that one session has for itself.
//!
//! A place is made, started and started again as a replica is, with two differences. It serves nobody else, so neither
//! its server's phase nor an update depends on how it fares. And nothing takes its place while its session lasts: one
//! of a former configuration is let finish once what changed is proved, and what stands still of it goes.
//!
//! A spare is the place of a session that is still to come. It holds nobody up: it is begun only when what changed is
//! proved and no session waits for its own process.

use super::{Action, Context, Plan, Step};
use crate::id::ReplicaId;
use crate::observation::{Asker, ContainerObservation, Readiness};
use crate::phase::Phase;
use crate::record::{ServerGoal, ServerRecord};
use crate::spec::ServerSpec;

impl Context<'_> {
    /// Whether somebody asks for it.
    pub(super) fn is_asked(&self, place: &ReplicaId) -> bool {
        self.desired.servers.contains_key(&place.instance) && self.observed.asker_of(place).is_some()
    }

    /// The places of a server that are asked for, for sessions or for spares.
    pub(super) fn asked(&self, spec: &ServerSpec, asker: Asker) -> impl Iterator<Item = ReplicaId> {
        let asked = self.observed.asked_of(&spec.instance);
        asked.filter(move |(_, of)| *of == asker).map(|(place, _)| place)
    }

    /// What is to be done for the place of a session that is still to come.
    pub(super) fn spare(
        &self,
        place: &ReplicaId,
        record: &ServerRecord,
        proved: bool,
        may_begin: bool,
    ) -> Step {
        let mut step = self.place(place, record, proved);
        let begins = |action: &Action| matches!(action, Action::Create { .. } | Action::Start { .. });
        step.actions.retain(|action| may_begin || !begins(action));
        step
    }

    pub(super) fn is_spare(&self, place: &ReplicaId) -> bool {
        self.observed.asker_of(place) == Some(Asker::Spare)
    }

    /// Whether a session waits for its process to answer.
    pub(super) fn sessions_come_up(&self, plan: &Plan) -> bool {
        let answers = |place: &ReplicaId| self.observed.at(place).any(|seen| self.observed.is_ready(seen));
        self.servers().flat_map(|(spec, _)| self.asked(spec, Asker::Session)).any(|place| {
            let phase = plan.replicas.get(&place);
            matches!(phase, Some(Phase::Creating | Phase::Starting { .. })) && !answers(&place)
        })
    }

    /// What is to be done for a place; `proved`: what an update changed stands.
    pub(super) fn place(&self, place: &ReplicaId, record: &ServerRecord, proved: bool) -> Step {
        if record.goal == ServerGoal::Stop {
            return self.stand_still(place, record);
        }
        match self.former(place, record) {
            None => self.replica(place, record),
            Some(former) if !former.is_live() => Step::act(self.discard(former), Phase::Creating),
            Some(former) if proved => Step::act(self.retire(former), Phase::Stopping),
            Some(former) => Step::rest(self.as_it_is(former)),
        }
    }

    /// A container there that is not of the wanted configuration.
    pub(super) fn former<'a>(
        &'a self,
        place: &'a ReplicaId,
        record: &ServerRecord,
    ) -> Option<&'a ContainerObservation> {
        let mut others = self.observed.at(place).filter(|seen| !seen.in_doubt && !record.is_of(seen));
        others.next()
    }

    fn as_it_is(&self, former: &ContainerObservation) -> Phase {
        let Some(run) = former.run() else { return Phase::Creating };
        match self.observed.readiness_of(&run) {
            Some(Readiness::Ready { since }) => Phase::Ready { run, since: *since },
            Some(Readiness::NotReady { .. }) | None => Phase::Starting { run: Some(run), reason: None },
        }
    }
}
