//! Who stands behind each server: the door its MCP clients come in by, its members (one for each container it has or
//! is to have), and which of them are given work.

use super::GroupTask;
use super::attend::Sign;
use super::places::own_processes;
use super::reach::Session;
use super::rest::Bed;
use super::ways::Ways;
use crate::forward::Forward;
use crate::status::McpSummary;
use dtma_core::id::{InstanceName, Member, RunKey};
use dtma_core::log::Origin;
use dtma_core::observation::{ContainerObservation, Subject};
use dtma_core::plan::Plan;
use dtma_core::record::{GatewaySession, Handshake, Previous, ServerRecord};
use dtma_core::spec::ServerSpec;
use dtma_mcp::{Door, MemberId, MemberTaken, Parts, ServerHandle, StdioServer, Ticket};
use futures_util::FutureExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::task::AbortHandle;

/// What the task keeps of a server besides record and history.
#[derive(Default)]
pub(super) struct Server {
    pub(super) door: Option<Door>,
    pub(super) members: BTreeMap<Member, Attendance>,
    /// Who stands in the places that sessions have asked for.
    pub(super) places: BTreeMap<Ticket, Member>,
    /// Who is kept ready for sessions to come.
    pub(super) spares: BTreeSet<Member>,
    /// Who was given work last.
    pub(super) serving: Vec<Member>,
    pub(super) handshakes: Vec<Handshake>,
    pub(super) forwards: Vec<Forward>,
    pub(super) bed: Bed,
}

/// Who listens to a member or asks it.
#[derive(Default)]
pub(super) struct Attendance {
    pub(super) mcp: Option<ServerHandle>,
    /// The run whose streams its MCP owner holds.
    pub(super) linked: Option<RunKey>,
    /// Where it is spoken to over a port.
    pub(super) session: Option<Session>,
    /// The run that is being probed, and how to end that.
    pub(super) probed: Option<(RunKey, AbortHandle)>,
    pub(super) summary: Option<Arc<McpSummary>>,
    /// The run whose ways are open, or being opened.
    pub(super) opened: Option<RunKey>,
    pub(super) ways: Option<Ways>,
    /// How often it had said that its lists changed when it was last asked for them.
    pub(super) asked: Option<u64>,
    /// The engine could not freeze it.
    pub(super) stays_awake: bool,
}

impl Server {
    /// What an MCP server said about itself: one that serves, or else any.
    pub(super) fn summary(&self) -> Option<Arc<McpSummary>> {
        let serving = self.serving.iter().filter_map(|member| self.members.get(member));
        serving.chain(self.members.values()).find_map(|attendance| attendance.summary.clone())
    }
}

/// The name a member has at its door.
pub(super) fn id(member: &Member) -> MemberId {
    MemberId::from(member.to_string())
}

impl GroupTask {
    /// Makes what every server needs besides its containers.
    pub(super) fn furnish(
        &mut self,
        mut forwards: BTreeMap<InstanceName, Vec<Forward>>,
        handshakes: Vec<(InstanceName, Handshake)>,
        sessions: &[GatewaySession],
    ) {
        let before = self.record.update().map(|update| update.from.spec.servers.clone()).unwrap_or_default();
        for spec in self.record.spec.servers.clone().iter().chain(&before) {
            self.furnish_server(spec, sessions);
            if let Some(server) = self.servers.get_mut(&spec.instance) {
                server.forwards.extend(forwards.remove(&spec.instance).unwrap_or_default());
            }
        }
        for (instance, handshake) in handshakes {
            if let Some(server) = self.servers.get_mut(&instance) {
                server.handshakes.push(handshake);
            }
        }
    }

    /// The same for one server; what is there stays.
    pub(super) fn furnish_server(&mut self, spec: &ServerSpec, sessions: &[GatewaySession]) {
        let (backends, settings) = (&self.registry.backends, &self.registry.settings);
        let parts = || Parts {
            store: Arc::clone(&backends.store),
            wall: Arc::clone(&backends.wall),
            limits: settings.mcp.clone(),
        };
        let server = self.servers.entry(spec.instance.clone()).or_default();
        if spec.kind.is_mcp() && server.door.is_none() {
            let door = Door::new(spec.instance.clone(), parts());
            door.restore(sessions.iter().filter(|kept| kept.instance == spec.instance).cloned());
            server.door = Some(door.clone());
            let changes = door.places().changes();
            // Before any client is let in.
            self.share_out(&door, own_processes(spec));
            self.watch_places(spec.instance.clone(), door, changes);
        }
    }

    /// The spec that a member was made from, as far as it is still known.
    pub(super) fn spec_of(&self, member: &Member) -> Option<&ServerSpec> {
        let instance = &member.replica.instance;
        let now = self.record.servers.get(instance).is_some_and(|server| server.config_hash == member.config);
        let before = self.record.update().map(|update| &update.from);
        let of_before = |before: &Previous| {
            before.servers.get(instance).is_some_and(|server| server.config_hash == member.config)
        };
        match before.filter(|before| !now && of_before(before)) {
            Some(before) => before.spec.server(instance),
            None => {
                let known = || before.and_then(|before| before.spec.server(instance));
                self.record.spec.server(instance).or_else(known)
            }
        }
    }

    /// What it was made from, as far as that is still known.
    pub(super) fn record_of(&self, member: &Member) -> Option<&ServerRecord> {
        let update = self.record.update().map(|update| &update.from.servers);
        let known = [Some(&self.record.servers), update].into_iter().flatten();
        let mut of = known.filter_map(|servers| servers.get(&member.replica.instance));
        of.find(|server| server.config_hash == member.config)
    }

    /// What its lines are told apart by.
    fn origin_of(&self, member: &Member) -> Origin {
        let instance = &member.replica.instance;
        let seen = self.seen.of(instance).find(|seen| seen.member() == *member).map(|seen| seen.generation);
        let known = || self.record_of(member).map(|server| server.generation);
        let generation = seen.or_else(known).unwrap_or(self.record.generation);
        Origin { replica: member.replica.replica, generation }
    }

    /// The members that are to be.
    fn wanted_members(&self) -> impl Iterator<Item = Member> + '_ {
        self.record.spec.servers.iter().flat_map(|spec| {
            let record = self.record.servers.get(&spec.instance);
            let of = |record: &ServerRecord| record.config_hash.clone();
            let config = record.map(of);
            let own =
                spec.places().filter_map(move |replica| Some(Member { replica, config: config.clone()? }));
            let server = self.servers.get(&spec.instance).into_iter();
            own.chain(server.flat_map(|server| server.places.values().chain(&server.spares).cloned()))
        })
    }

    /// Sees to it that everybody who is there or is to be has somebody who attends to it, and nobody else.
    pub(super) fn keep_members(&mut self) {
        let mut needed: BTreeSet<Member> = self.wanted_members().collect();
        needed.extend(self.seen.containers.iter().map(ContainerObservation::member));
        needed.extend(self.seen.busy.iter().filter_map(|subject| match subject {
            Subject::Member(member) => Some(member.clone()),
            Subject::Network | Subject::Volumes => None,
        }));
        for member in &needed {
            self.admit(member);
        }
        for server in self.servers.values_mut() {
            let gone: Vec<Member> =
                server.members.keys().filter(|member| !needed.contains(member)).cloned().collect();
            for member in gone {
                server.dismiss(&member);
            }
        }
    }

    fn admit(&mut self, member: &Member) {
        let is_mcp = self.spec_of(member).is_some_and(|spec| spec.kind.is_mcp());
        let is_asked = self.tells_what_it_offers(member);
        let origin = self.origin_of(member);
        let Some(server) = self.servers.get_mut(&member.replica.instance) else { return };
        if server.members.contains_key(member) {
            return;
        }
        let mut attendance = Attendance::default();
        if let Some(door) = server.door.as_ref().filter(|_| is_mcp)
            // Never taken: a name is admitted once and dismissed before it is admitted again.
            && let Ok((handle, owner)) = admitted(door, member, origin)
        {
            self.watchers.spawn(owner.run().map(|()| Sign::Closed));
            attendance.mcp = Some(handle);
        }
        let mcp = attendance.mcp.clone();
        server.members.insert(member.clone(), attendance);
        if let Some(mcp) = mcp {
            self.watch_mcp(member.clone(), mcp.state());
            if is_asked {
                self.follow(member, mcp);
            }
        }
    }

    /// Gives work to those who are to serve, before anybody else is told to go.
    pub(super) fn direct(&mut self, plan: &Plan) {
        let wanted: Vec<Member> = self.wanted_members().collect();
        for (instance, server) in &mut self.servers {
            let chosen = plan.serving.get(instance).map(|ids| {
                let seen = self.seen.containers.iter().filter(|seen| ids.contains(&seen.id));
                seen.map(ContainerObservation::member).collect::<Vec<_>>()
            });
            let first = || wanted.iter().filter(|member| serves(member, instance)).cloned().collect();
            let lost = server.serving.iter().all(|member| !server.members.contains_key(member));
            // Where nobody runs, those who served last are waited for.
            let chosen = match chosen {
                Some(chosen) => chosen,
                None if lost => first(),
                None => continue,
            };
            if chosen != server.serving {
                if let Some(door) = &server.door {
                    door.serve(&chosen.iter().map(id).collect::<Vec<_>>());
                }
                server.serving = chosen;
            }
        }
        self.direct_ports(plan);
        self.direct_ways();
    }

    pub(super) fn attendance(&self, member: &Member) -> Option<&Attendance> {
        self.servers.get(&member.replica.instance)?.members.get(member)
    }

    pub(super) fn attendance_mut(&mut self, member: &Member) -> Option<&mut Attendance> {
        self.servers.get_mut(&member.replica.instance)?.members.get_mut(member)
    }
}

fn admitted(
    door: &Door,
    member: &Member,
    origin: Origin,
) -> Result<(ServerHandle, StdioServer), MemberTaken> {
    match member.replica.is_place() {
        true => door.admit_for_session(id(member), origin),
        false => door.admit(id(member), origin),
    }
}

/// Who stands in a session's place serves nobody else.
fn serves(member: &Member, instance: &InstanceName) -> bool {
    member.replica.instance == *instance && !member.replica.is_place()
}

impl Server {
    pub(super) fn dismiss(&mut self, member: &Member) {
        if let Some(Attendance { probed: Some((_, probe)), .. }) = self.members.remove(member) {
            probe.abort();
        }
        if let Some(door) = &self.door {
            door.dismiss(&id(member));
        }
    }
}
