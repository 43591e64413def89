//! What happened to each server so far: runs, exits, refusals. Durable, bounded, and enough for every decision
//! about restarts to be made again after the daemon was killed.

use crate::Timestamp;
use crate::id::{ConfigHash, ContainerId, InstanceName, ReplicaId, RunKey};
use crate::observation::{ContainerObservation, ContainerState};
use crate::rest::{Depth, Rest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Exits remembered per server; older ones are dropped (no policy may count more, see `dtma-config`).
pub const MAX_EXITS: usize = 128;

/// Runs remembered besides those whose exits are.
const MAX_KNOWN: usize = 16;

/// The history of a group's servers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GroupHistory {
    /// By replica.
    pub servers: BTreeMap<ReplicaId, ServerHistory>,
}

impl GroupHistory {
    /// The history of one replica, empty when nothing happened yet.
    #[must_use]
    pub fn of(&self, replica: &ReplicaId) -> &ServerHistory {
        static EMPTY: ServerHistory = ServerHistory::EMPTY;
        self.servers.get(replica).unwrap_or(&EMPTY)
    }

    /// The same, to change.
    pub fn of_mut(&mut self, replica: &ReplicaId) -> &mut ServerHistory {
        self.servers.entry(replica.clone()).or_default()
    }

    /// The histories of all replicas a server ever had; what sessions' own processes did is not in it.
    pub fn all_of<'a>(&'a self, instance: &'a InstanceName) -> impl Iterator<Item = &'a ServerHistory> {
        let own = move |id: &ReplicaId| id.instance == *instance && !id.is_place();
        self.servers.iter().filter(move |(id, _)| own(id)).map(|(_, history)| history)
    }

    /// True when the server ran to completion and nobody asked for another run since.
    #[must_use]
    pub fn completed(&self, instance: &InstanceName) -> bool {
        self.all_of(instance).any(ServerHistory::completed)
    }

    /// How often a server was started again, by whomever, all replicas together. Never falls.
    #[must_use]
    pub fn restarts(&self, instance: &InstanceName) -> u64 {
        self.all_of(instance).map(ServerHistory::restarts).sum()
    }

    /// A person wants the server to run (again), see [`ServerHistory::reset`].
    pub fn reset(&mut self, instance: &InstanceName, now: Timestamp) {
        let of_server = self.servers.iter_mut().filter(|(id, _)| id.instance == *instance);
        of_server.for_each(|(_, history)| history.reset(now));
    }
}

/// One process that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Which run it was.
    pub run: RunKey,
    /// When it ended.
    pub at: Timestamp,
    /// Its exit code; 128 + n after signal n.
    pub code: i64,
    /// Killed for want of memory.
    pub oom: bool,
    /// Somebody asked for it (stop, restart, removal): it does not count against the budget.
    pub asked: bool,
    /// The configuration of the process, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigHash>,
}

impl Exit {
    /// How long the process ran; zero when the engine's clock went backwards.
    #[must_use]
    pub fn ran_for(&self) -> Duration {
        Duration::try_from(self.at.duration_since(self.run.started_at)).unwrap_or_default()
    }
}

/// An engine call that was refused or failed, counted until one succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When it last failed.
    pub at: Timestamp,
    /// How often in a row.
    pub count: u32,
    /// What was tried, `create`.
    pub action: String,
    /// What the engine said.
    pub message: String,
    /// Trying the same again will not help.
    #[serde(default)]
    pub permanent: bool,
}

/// What happened to one server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServerHistory {
    /// Processes seen running, ever. Never falls.
    pub runs: u64,
    /// Restarts a person asked for, ever.
    pub manual_restarts: u64,
    /// Exits that nobody asked for and that were not its goal, ever. Never falls.
    #[serde(default)]
    pub crashes: u64,
    /// The last process seen.
    pub last_run: Option<RunKey>,
    /// The processes seen lately, the last one included: during an update two of them take turns.
    #[serde(default)]
    pub known: Vec<RunKey>,
    /// The configuration of the newest container that was seen running.
    #[serde(default)]
    pub config: Option<ConfigHash>,
    /// The configuration of the last process of each container that is known: in one with a shim another may follow.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub configs: BTreeMap<ContainerId, ConfigHash>,
    /// Runs that began because the configuration changed: they are no restarts. Never falls.
    #[serde(default)]
    pub replacements: u64,
    /// Exits, oldest first.
    pub exits: Vec<Exit>,
    /// Exits before this do not count: a person reset the budget.
    pub reset_at: Option<Timestamp>,
    /// When it ran to completion.
    pub completed_at: Option<Timestamp>,
    /// The engine's last refusal, when nothing succeeded since.
    pub refusal: Option<Refusal>,
    /// What was put to rest, until it runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
    /// Runs that began because what had been ended for rest was needed again: they are no restarts. Never falls.
    #[serde(default)]
    pub wakes: u64,
}

impl ServerHistory {
    const EMPTY: Self = Self {
        runs: 0,
        manual_restarts: 0,
        crashes: 0,
        last_run: None,
        known: Vec::new(),
        config: None,
        configs: BTreeMap::new(),
        replacements: 0,
        exits: Vec::new(),
        reset_at: None,
        completed_at: None,
        refusal: None,
        rest: None,
        wakes: 0,
    };

    /// How often it was started again, by whomever. Never falls.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.runs.saturating_sub(1).saturating_sub(self.replacements).saturating_sub(self.wakes)
    }

    /// When the run before the present one wrote its log: from there to there. Between two runs the border lies halfway
    /// from the exit to the start, because neither moment is exact.
    #[must_use]
    pub fn previous_run(&self) -> Option<(Option<Timestamp>, Timestamp)> {
        let present = self.last_run.as_ref()?;
        let over: Vec<&Exit> = self.exits.iter().filter(|exit| exit.run != *present).collect();
        let (previous, before) = over.split_last()?;
        let begin = before.last().map(|exit| between(exit.at, previous.run.started_at));
        Some((begin, between(previous.at, present.started_at)))
    }

    /// True when it ran to completion and nobody asked for another run since.
    #[must_use]
    pub fn completed(&self) -> bool {
        self.completed_at.is_some()
    }

    /// The exits that count against the restart budget, oldest first.
    #[must_use]
    pub fn counted(&self) -> Vec<Exit> {
        let counts = |exit: &&Exit| !exit.asked && self.reset_at.is_none_or(|reset| exit.at > reset);
        self.exits.iter().filter(counts).cloned().collect()
    }

    /// The same, of one configuration's processes in one container: whatever is new begins with an untouched budget.
    #[must_use]
    pub fn counted_of(&self, container: &ContainerId, config: &ConfigHash) -> Vec<Exit> {
        let theirs = |exit: &Exit| exit.config.as_ref().is_none_or(|of| of == config);
        let counted = self.counted().into_iter();
        counted.filter(|exit| exit.run.container == *container && theirs(exit)).collect()
    }

    /// The exit of this very run, when it was noted.
    #[must_use]
    pub fn exit_of(&self, run: &RunKey) -> Option<&Exit> {
        self.exits.iter().rev().find(|exit| exit.run == *run)
    }

    /// Takes down what a container shows: a new run, an exit. `asked` says whether somebody wanted this run ended;
    /// `once` that exit 0 is this server's goal. Returns true when something new was noted. Noting twice is noting
    /// once, so it may be repeated after any interruption.
    pub fn note(&mut self, seen: &ContainerObservation, asked: bool, once: bool) -> bool {
        let Some(run) = seen.run() else { return false };
        if self.is_frozen(seen) {
            // By whatever name its run goes while its shim is not heard: nothing of it is new.
            return false;
        }
        let config = (!seen.in_doubt).then_some(&seen.config_hash);
        let mut news = false;
        if !self.knows(&run) {
            self.begin(run.clone(), config);
            news = true;
        }
        if let ContainerState::Exited { finished_at, code, oom, .. } = seen.state
            && self.exit_of(&run).is_none()
        {
            let (config, asked) = (config.cloned(), asked || self.is_ended_for_rest(&seen.id));
            self.push_exit(Exit { run, at: finished_at, code, oom, asked, config }, once);
            news = true;
        }
        news
    }

    fn knows(&self, run: &RunKey) -> bool {
        self.last_run.as_ref() == Some(run) || self.known.contains(run) || self.exit_of(run).is_some()
    }

    fn begin(&mut self, run: RunKey, config: Option<&ConfigHash>) {
        let replaced = config.is_some_and(|config| self.begin_as(&run.container, config));
        let rested = self.rest.take_if(|rest| rest.run.container == run.container);
        if !replaced && rested.is_some_and(|rest| rest.depth == Depth::Stopped) {
            self.wakes += 1;
        }
        self.runs += 1;
        if self.known.len() >= MAX_KNOWN {
            self.known.remove(0);
        }
        self.known.push(run.clone());
        let known = &self.known;
        self.configs.retain(|container, _| known.iter().any(|run| run.container == *container));
        self.last_run = Some(run);
        self.refusal = None;
    }

    /// Another configuration in the place is a replacement, whether its container is another one or the same. True when
    /// it is.
    fn begin_as(&mut self, container: &ContainerId, config: &ConfigHash) -> bool {
        let before = self.known.iter().chain(&self.last_run).chain(self.exits.iter().map(|exit| &exit.run));
        let is_new = before.into_iter().all(|known| known.container != *container);
        let last = if is_new { self.config.as_ref() } else { self.configs.get(container) };
        let changed = last.is_some_and(|last| last != config);
        if changed {
            self.replacements += 1;
        }
        if is_new || changed {
            self.config = Some(config.clone());
        }
        self.configs.insert(container.clone(), config.clone());
        changed
    }

    fn push_exit(&mut self, exit: Exit, once: bool) {
        if once && exit.code == 0 && !exit.asked {
            self.completed_at = Some(exit.at);
        } else if !exit.asked {
            self.crashes += 1;
        }
        if self.exits.len() >= MAX_EXITS {
            self.exits.remove(0);
        }
        self.exits.push(exit);
    }

    /// Nobody needs this process: it is put to rest, or deeper.
    pub fn put_to_rest(&mut self, run: RunKey, depth: Depth, now: Timestamp) {
        self.rest = Some(Rest { run, depth, since: now, woken: false });
    }

    /// Somebody needs what rests. True when it did.
    pub fn wake(&mut self) -> bool {
        let rest = self.rest.as_mut().filter(|rest| !rest.woken);
        rest.map(|rest| rest.woken = true).is_some()
    }

    /// What this container was put to rest as.
    #[must_use]
    pub fn rest_in(&self, container: &ContainerId) -> Option<&Rest> {
        self.rest.as_ref().filter(|rest| rest.run.container == *container)
    }

    fn is_frozen(&self, seen: &ContainerObservation) -> bool {
        matches!(seen.state, ContainerState::Paused { .. }) && self.rest_in(&seen.id).is_some()
    }

    fn is_ended_for_rest(&self, container: &ContainerId) -> bool {
        self.rest_in(container).is_some_and(|rest| rest.depth == Depth::Stopped)
    }

    /// What was woken runs, and nothing is being done to it: its rest is over. True when it is just now.
    pub fn is_up_again(&mut self, seen: &ContainerObservation) -> bool {
        let runs = matches!(seen.state, ContainerState::Running { .. });
        self.rest.take_if(|rest| runs && rest.woken && rest.run.container == seen.id).is_some()
    }

    /// A person wants it to run (again): the budget starts anew, refusals and completion are forgotten.
    pub fn reset(&mut self, now: Timestamp) {
        self.reset_at = Some(now);
        self.completed_at = None;
        self.refusal = None;
        self.wake();
    }

    /// The engine refused `action`.
    pub fn refuse(&mut self, action: &str, message: String, permanent: bool, now: Timestamp) {
        let count = self.refusal.as_ref().map_or(0, |refusal| refusal.count).saturating_add(1);
        self.refusal = Some(Refusal { at: now, count, action: action.to_owned(), message, permanent });
    }
}

/// Halfway from one moment to the other.
fn between(from: Timestamp, to: Timestamp) -> Timestamp {
    from.checked_add(to.duration_since(from) / 2).unwrap_or(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::testing::{at, container, exited, running};

    #[test]
    fn the_same_exit_is_noted_once() {
        let mut history = ServerHistory::default();
        let seen = container("c", exited(10, 20, 1));
        assert!(history.note(&seen, false, false));
        assert!(!history.note(&seen, false, false));
        assert_eq!((history.runs, history.exits.len(), history.restarts()), (1, 1, 0));
        assert!(history.note(&container("c", running(21)), false, false));
        assert_eq!((history.runs, history.restarts()), (2, 1));
    }

    #[test]
    fn a_daemon_that_was_away_for_an_exit_notes_run_and_exit_together() {
        let mut history = ServerHistory::default();
        history.note(&container("c", running(10)), false, false);
        history.note(&container("c", exited(10, 20, 1)), false, false);
        history.note(&container("c", exited(30, 40, 1)), false, false);
        assert_eq!((history.runs, history.counted().len(), history.crashes), (2, 2, 2));
    }

    #[test]
    fn the_run_before_the_present_one_has_its_place_in_the_log() {
        let mut history = ServerHistory::default();
        history.note(&container("c", exited(10, 20, 1)), false, false);
        assert_eq!(history.previous_run(), None, "the only run is the present one");
        history.note(&container("c", running(22)), false, false);
        assert_eq!(history.previous_run(), Some((None, at(21))));
        history.note(&container("c", exited(22, 30, 1)), false, false);
        assert_eq!(
            history.previous_run(),
            Some((None, at(21))),
            "one that ended last is still the present one"
        );
        history.note(&container("c", running(34)), false, false);
        assert_eq!(history.previous_run(), Some((Some(at(21)), at(32))));
    }

    #[test]
    fn two_runs_side_by_side_are_two_runs_however_often_they_are_seen() {
        let mut history = ServerHistory::default();
        let (old, mut new) = (container("old", running(10)), container("new", running(20)));
        new.config_hash = "other".into();
        for _ in 0..3 {
            history.note(&old, false, false);
            history.note(&new, false, false);
        }
        assert_eq!((history.runs, history.restarts()), (2, 0), "an update is no restart");
        history.note(&container("old", running(30)), false, false);
        assert_eq!((history.runs, history.restarts()), (3, 1));
    }

    #[test]
    fn another_process_in_the_same_container_is_a_replacement_with_a_budget_of_its_own() {
        let mut history = ServerHistory::default();
        history.note(&container("c", exited(10, 12, 1)), false, false);
        let mut renewed = container("c", exited(20, 22, 2));
        renewed.config_hash = "other".into();
        history.note(&renewed, false, false);
        assert_eq!((history.runs, history.restarts()), (2, 0));
        let counted = |config: &str| {
            let exits = history.counted_of(&"c".into(), &config.into());
            exits.iter().map(|exit| exit.code).collect::<Vec<_>>()
        };
        assert_eq!((counted("h"), counted("other")), (vec![1], vec![2]));
        let back = container("c", running(30));
        history.note(&back, false, false);
        assert_eq!((history.runs, history.restarts()), (3, 0), "and so is the way back");
    }

    #[test]
    fn nothing_is_concluded_from_a_configuration_that_is_in_doubt() {
        let mut history = ServerHistory::default();
        let mut seen = container("c", running(10));
        seen.config_hash = "other".into();
        history.note(&seen, false, false);
        let doubted = ContainerObservation { in_doubt: true, ..container("c", running(20)) };
        history.note(&doubted, false, false);
        assert_eq!((history.runs, history.restarts(), &history.config), (2, 1, &Some("other".into())));
    }

    #[test]
    fn a_row_of_an_earlier_version_is_read() {
        let old = r#"{"servers":{"a":{"runs":2,"manual_restarts":0,"last_run":null,"exits":[],"reset_at":null,
            "completed_at":null,"refusal":null}}}"#;
        let history: GroupHistory = serde_json::from_str(old).unwrap();
        assert_eq!(history.restarts(&"a".parse().unwrap()), 1);
    }

    #[test]
    fn asked_exits_and_exits_before_a_reset_do_not_count() {
        let mut history = ServerHistory::default();
        history.note(&container("c", exited(1, 2, 1)), false, false);
        history.note(&container("c", exited(3, 4, 137)), true, false);
        history.note(&container("c", exited(5, 6, 1)), false, false);
        assert_eq!(history.counted().len(), 2);
        history.reset(at(5));
        assert_eq!((history.counted().len(), history.crashes), (1, 2), "crashes are counted for ever");
    }

    #[test]
    fn only_a_clean_unasked_exit_completes() {
        let completed = |code, asked, once| {
            let mut history = ServerHistory::default();
            history.note(&container("c", exited(1, 2, code)), asked, once);
            history.completed()
        };
        assert!(completed(0, false, true));
        assert!(!completed(1, false, true) && !completed(0, true, true) && !completed(0, false, false));
    }
}
