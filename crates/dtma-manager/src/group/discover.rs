//! Asking MCP servers what they offer: one follower for each member, what it hears goes to the desk.

use super::GroupTask;
use super::attend::Sign;
use crate::discovery::{Heard, Wanted};
use crate::event::EventKind;
use dtma_core::catalogue::Catalogue;
use dtma_core::contract::Drift;
use dtma_core::id::{InstanceName, Member};
use dtma_core::observation::ContainerObservation;
use dtma_mcp::discovery::{Bounds, Follower, Found, News};
use dtma_mcp::{Ready, ServerHandle, ToolList};
use std::sync::Arc;

/// Drifts that one event tells.
const TOLD: usize = 20;

impl GroupTask {
    /// The desk knows of every server that is wanted.
    pub(super) fn keep_discovery(&mut self) {
        let (now, mut owed) = (self.now(), Vec::new());
        for spec in &self.record.spec.servers {
            let instance = &spec.instance;
            let door = self.servers.get(instance).and_then(|server| server.door.as_ref());
            let Some((door, record)) = door.zip(self.record.servers.get(instance)) else { continue };
            let wanted = Wanted {
                group: self.group_id(),
                instance,
                config: &record.config_hash,
                pinning: spec.pinning,
                door,
            };
            owed.push((instance.clone(), self.registry.discovery.want(&wanted, now)));
        }
        for (instance, heard) in owed {
            self.hear_of(&instance, heard);
        }
    }

    /// Whether a member is asked what its server offers. What a session's process says may depend on its client, so that it
    /// counts only where nobody else is there.
    pub(super) fn tells_what_it_offers(&self, member: &Member) -> bool {
        !member.replica.is_place() || self.spec_of(member).is_some_and(|spec| spec.count() == 0)
    }

    /// What a member lists is held against the contract before the member is given any work.
    pub(super) fn judge_tools(&mut self, member: &Member, ready: &Ready) {
        let ToolList::Listed(tools) = &ready.tools else { return };
        if !self.tells_what_it_offers(member) {
            return;
        }
        let raw = tools.iter().map(|tool| String::from_utf8_lossy(&tool.raw).into_owned()).collect();
        let generation = self.live(member).map_or(self.record.generation, |seen| seen.generation);
        let heard = self.registry.discovery.listed(member, generation, raw, self.now());
        self.hear_of(&member.replica.instance, heard);
    }

    fn hear_of(&mut self, instance: &InstanceName, heard: Heard) {
        self.tell_drift(instance, heard.drift.as_deref());
        if heard.contract.is_some() || heard.catalogue.is_some() {
            let store = Arc::clone(&self.registry.backends.store);
            self.watch_for(async move {
                heard.keep(&*store).await;
                Sign::Kept
            });
        }
    }

    pub(super) fn follow(&mut self, member: &Member, server: ServerHandle) {
        let follower = Box::new(Follower::new(server, Bounds::default()));
        self.follow_on(member.clone(), follower, Heard::default());
    }

    fn follow_on(&mut self, member: Member, mut follower: Box<Follower>, heard: Heard) {
        let store = Arc::clone(&self.registry.backends.store);
        self.watch_for(async move {
            heard.keep(&*store).await;
            match follower.next().await {
                Some(news) => Sign::Discovered(member, follower, news),
                None => Sign::Undiscovered(member),
            }
        });
    }

    pub(super) fn discovered(&mut self, member: Member, follower: Box<Follower>, news: News) {
        if let News::Found(found) = &news
            && let Some(attendance) = self.attendance_mut(&member)
        {
            attendance.asked = Some(found.lists);
        }
        let (desk, now) = (&self.registry.discovery, self.now());
        let heard = match news {
            News::Found(found) => match self.catalogue(&member, *found) {
                Some(catalogue) => desk.found(&member, catalogue),
                None => Heard::default(),
            },
            News::Failed(problem) => {
                tracing::warn!(%member, problem, "what it offers could not be asked");
                desk.failed(&member, problem, now)
            }
            News::Down => desk.down(&member, now),
        };
        self.tell_drift(&member.replica.instance, heard.drift.as_deref());
        self.follow_on(member, follower, heard);
    }

    pub(super) fn undiscovered(&mut self, member: &Member) {
        let heard = self.registry.discovery.down(member, self.now());
        self.hear_of(&member.replica.instance, heard);
    }

    /// What was found at a member that is still there.
    fn catalogue(&self, member: &Member, found: Found) -> Option<Catalogue> {
        self.attendance(member)?;
        let live = self.live(member);
        let generation = live.map(|seen| seen.generation);
        Some(Catalogue {
            instance: member.replica.instance.clone(),
            config: member.config.clone(),
            image: live.map(|seen: &ContainerObservation| seen.image_id.clone()),
            generation: generation.unwrap_or(self.record.generation),
            at: self.now(),
            offers: found.offers,
        })
    }

    fn tell_drift(&self, instance: &InstanceName, drift: Option<&[Drift]>) {
        let Some(drift) = drift else { return };
        let lines = drift.iter().take(TOLD).flat_map(Drift::lines).collect();
        if !drift.is_empty() {
            tracing::warn!(server = %instance, tools = drift.len(), "tools are not as approved");
        }
        self.emit(Some(instance), EventKind::Contract { differs: drift.len(), lines });
    }
}
