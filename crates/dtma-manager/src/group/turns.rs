//! Starting in turn: what is planned begins when the start queue has a turn for it. Until then it is not under way, so
//! another plan may leave it out.

use super::GroupTask;
use crate::starts::{LOOK, Place, Rank, Turn};
use dtma_core::id::{ContainerId, Member};
use dtma_core::observation::{Asker, Subject};
use dtma_core::plan::Action;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A group's part of the start queue.
#[derive(Default)]
pub(super) struct Turns {
    waiting: BTreeMap<Member, Place>,
    coming_up: BTreeMap<Member, Turn>,
    /// Told when it is worth asking again.
    pub(super) wake: Arc<Notify>,
}

impl Turns {
    /// When a pass is due though nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let asking = (!self.waiting.is_empty()).then(|| now + LOOK);
        self.coming_up.values().map(Turn::over).chain(asking).min()
    }
}

impl GroupTask {
    /// What of it may begin now.
    pub(super) fn in_turn(&mut self, actions: Vec<Action>) -> Vec<Action> {
        self.give_back_turns();
        let members: BTreeSet<_> = actions.iter().filter_map(started).map(|(member, _)| member).collect();
        let left: Vec<_> =
            self.turns.waiting.keys().filter(|member| !members.contains(member)).cloned().collect();
        left.iter().for_each(|member| self.leave_line(member));
        let mut begun = actions;
        begun.retain(|action| {
            started(action).is_none_or(|(member, container)| self.has_turn(member, container))
        });
        begun
    }

    fn has_turn(&mut self, member: &Member, container: &ContainerId) -> bool {
        let image = self.seen.containers.iter().find(|seen| seen.id == *container);
        // The plan starts only what was seen.
        let Some(image) = image.map(|seen| seen.image_id.clone()) else { return true };
        let rank = match self.seen.asker_of(&member.replica) {
            Some(Asker::Spare) => Rank::Spare,
            Some(Asker::Session) | None => Rank::Needed,
        };
        let starts = &self.registry.starts;
        let (waiting, wake) = (&mut self.turns.waiting, &self.turns.wake);
        let place = waiting.entry(member.clone()).or_insert_with(|| starts.line_up(rank, wake));
        let turn = place.ask(&image);
        let has = turn.is_some();
        match turn {
            Some(turn) => {
                self.turns.coming_up.insert(member.clone(), turn);
                self.leave_line(member);
            }
            None => self.say_that_it_waits(member),
        }
        has
    }

    fn leave_line(&mut self, member: &Member) {
        self.turns.waiting.remove(member);
        let mut activities = self.activities.lock().unwrap_or_else(PoisonError::into_inner);
        activities.remove(&member.replica.instance);
    }

    fn say_that_it_waits(&self, member: &Member) {
        let (under_way, _) = self.registry.starts.count();
        let text = format!("waiting for its turn to start: {under_way} others are coming up");
        let mut activities = self.activities.lock().unwrap_or_else(PoisonError::into_inner);
        activities.insert(member.replica.instance.clone(), text);
    }

    /// Of those that answer, have ended, or take longer than they usually do.
    fn give_back_turns(&mut self) {
        let now = Instant::now();
        for (member, turn) in std::mem::take(&mut self.turns.coming_up) {
            let live = self.live(&member);
            match live {
                Some(live) if self.seen.is_ready(live) => turn.came_up(),
                None if !self.seen.busy.contains(&Subject::Member(member.clone())) => drop(turn),
                _ if turn.over() <= now => drop(turn),
                _ => drop(self.turns.coming_up.insert(member, turn)),
            }
        }
    }
}

/// Whose start it is, if it is one.
fn started(action: &Action) -> Option<(&Member, &ContainerId)> {
    match action {
        Action::Start { member, container, .. } => Some((member, container)),
        Action::EnsureNetwork { .. }
        | Action::RemoveNetwork { .. }
        | Action::RemoveVolume { .. }
        | Action::Create { .. }
        | Action::Stop { .. }
        | Action::Pause { .. }
        | Action::Unpause { .. }
        | Action::Rename { .. }
        | Action::Remove { .. } => None,
    }
}
