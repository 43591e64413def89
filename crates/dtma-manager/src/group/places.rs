//! Places of sessions with a process of their own: who asks for one gets a number that nobody else has, and what stands
//! in a place that nobody asks for any more is as good as a replica too many.
//!
//! Nothing of it is durable. A session ends with the daemon, so after a kill nobody asks, and the next plan clears away.

use super::GroupTask;
use super::attend::Sign;
use super::members::id;
use dtma_core::id::{FIRST_PLACE, InstanceName, Member, ReplicaId};
use dtma_core::observation::{Asker, Subject};
use dtma_core::spec::ServerSpec;
use dtma_mcp::{Door, OwnProcesses, Ticket};
use tokio::sync::watch;

/// What a spec says of sessions with a process of their own, where they have one.
pub(super) fn own_processes(spec: &ServerSpec) -> Option<OwnProcesses> {
    let (most, only) = (spec.session.most() as usize, spec.count() == 0);
    spec.session.is_own().then_some(OwnProcesses { most, idle: spec.session.idle(), only })
}

impl GroupTask {
    /// Hears of it when places of a server are asked for or given back.
    pub(super) fn watch_places(
        &mut self,
        instance: InstanceName,
        door: Door,
        mut changes: watch::Receiver<()>,
    ) {
        self.watch_for(async move {
            match door.await_places(&mut changes).await {
                true => Sign::Places(instance, door, changes),
                false => Sign::Closed,
            }
        });
    }

    /// Takes in what sessions ask for, before each plan.
    pub(super) fn keep_places(&mut self) {
        let doors: Vec<(InstanceName, Door)> = self
            .servers
            .iter()
            .filter_map(|(name, server)| Some((name.clone(), server.door.clone()?)))
            .collect();
        for (instance, door) in doors {
            let own = self.record.spec.server(&instance).and_then(own_processes);
            self.share_out(&door, own);
            self.keep_places_of(&instance, &door);
        }
        self.forget_places();
    }

    /// Has sessions have processes of their own, or not; those that shared one until now are over.
    pub(super) fn share_out(&mut self, door: &Door, own: Option<OwnProcesses>) {
        let ended = door.give_own(own);
        if !ended.is_empty() {
            let door = door.clone();
            self.watch_for(async move {
                door.forget_all(ended).await;
                Sign::Kept
            });
        }
    }

    fn keep_places_of(&mut self, instance: &InstanceName, door: &Door) {
        self.give_up_places(instance);
        let asked = door.places().asked();
        if let Some(server) = self.servers.get_mut(instance) {
            server.places.retain(|ticket, _| asked.contains(ticket));
        }
        for ticket in asked {
            if let Some(member) = self.place_of(instance, ticket) {
                door.assign(ticket, &id(&member));
            }
        }
        self.keep_spares(instance);
        let Some(server) = self.servers.get(instance) else { return };
        let for_sessions = server.places.values().map(|member| (member.replica.replica, Asker::Session));
        let kept_ready = server.spares.iter().map(|member| (member.replica.replica, Asker::Spare));
        let asked = kept_ready.chain(for_sessions).collect();
        self.seen.asked.insert(instance.clone(), asked);
        self.seen.asked.retain(|_, asked| !asked.is_empty());
    }

    /// A process of a former configuration is not begun again: the session that had it is over.
    fn give_up_places(&mut self, instance: &InstanceName) {
        let Some(server) = self.servers.get(instance) else { return };
        let lost = server.places.values().filter(|member| !self.is_to_stay(member));
        let lost: Vec<Member> = lost.cloned().collect();
        if let Some(server) = self.servers.get_mut(instance) {
            server.places.retain(|_, member| !lost.contains(member));
            lost.iter().for_each(|member| server.dismiss(member));
        }
    }

    fn is_to_stay(&self, member: &Member) -> bool {
        let wanted = self.record.servers.get(&member.replica.instance);
        wanted.is_some_and(|wanted| wanted.config_hash == member.config) || self.live(member).is_some()
    }

    /// Who stands in the place of that ticket; a spare where nobody does, or else a new one as soon as it is known which
    /// are free.
    fn place_of(&mut self, instance: &InstanceName, ticket: Ticket) -> Option<Member> {
        if let Some(member) = self.servers.get(instance)?.places.get(&ticket) {
            return Some(member.clone());
        }
        if self.blind {
            return None;
        }
        let member = match self.take_spare(instance) {
            Some(spare) => spare,
            None => self.new_place(instance)?,
        };
        self.servers.get_mut(instance)?.places.insert(ticket, member.clone());
        Some(member)
    }

    /// A place of the wanted configuration in which nobody stands.
    pub(super) fn new_place(&self, instance: &InstanceName) -> Option<Member> {
        let config = self.record.servers.get(instance)?.config_hash.clone();
        Some(Member { replica: self.free_place(instance), config })
    }

    /// The lowest number at which nobody stands, stood a moment ago or is about to.
    fn free_place(&self, instance: &InstanceName) -> ReplicaId {
        let server = self.servers.get(instance).into_iter();
        let members = server
            .flat_map(|server| server.members.keys().chain(server.places.values()).chain(&server.spares));
        let busy = self.seen.busy.iter().filter_map(|subject| match subject {
            Subject::Member(member) if member.replica.instance == *instance => Some(member),
            Subject::Member(_) | Subject::Network | Subject::Volumes => None,
        });
        let seen = self.seen.of(instance).map(|seen| seen.slot.replica);
        let taken: Vec<u32> = members.chain(busy).map(|member| member.replica.replica).chain(seen).collect();
        let free = (FIRST_PLACE..).find(|number| !taken.contains(number)).unwrap_or(u32::MAX);
        ReplicaId::new(instance.clone(), free)
    }

    /// What happened in a place is nobody's business when it is empty again.
    fn forget_places(&mut self) {
        let known = self.history.servers.len();
        let seen = &self.seen;
        self.history.servers.retain(|replica, _| {
            !replica.is_place() || seen.asker_of(replica).is_some() || seen.at(replica).next().is_some()
        });
        self.unsaved |= self.history.servers.len() != known;
    }
}
