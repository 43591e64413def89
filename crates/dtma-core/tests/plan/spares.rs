//! Places of sessions that are still to come: their processes are made beforehand, frozen, and handed out.

use crate::group::{group, name};
use crate::places::live;
use crate::world::World;
use dtma_core::id::ReplicaId;
use dtma_core::observation::{Asker, ContainerObservation, ContainerState, Readiness, Subject};
use dtma_core::plan::{Action, Plan};
use dtma_core::record::ServerGoal;
use dtma_core::rest::Depth;
use dtma_core::spec::Condition;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// One server, and spares asked for.
fn keeping(spares: &[u32]) -> World {
    let mut world = World::new(group(&[(0, Condition::Started)], false));
    world.desired.spec.servers[0].restart.attempts = 1000;
    world.ask(Asker::Spare, spares);
    world
}

fn place(number: u32) -> ReplicaId {
    ReplicaId::new(name(0), number)
}

impl World {
    /// What the daemon does with a spare that is ready.
    fn put_by(&mut self, number: u32) {
        let now = self.now;
        let run =
            self.seen.at(&place(number)).find(|seen| seen.is_live()).and_then(ContainerObservation::run);
        let Some(run) = run else { return };
        self.history.of_mut(&place(number)).put_to_rest(run, Depth::Paused, now);
    }

    /// What it does with one for which a session has come.
    fn hand_out(&mut self, number: u32) {
        self.seen.asked.entry(name(0)).or_default().insert(number, Asker::Session);
        self.history.of_mut(&place(number)).wake();
    }

    fn frozen(&self) -> BTreeSet<u32> {
        let frozen = |state| matches!(state, ContainerState::Paused { .. });
        self.seen.containers.iter().filter(|seen| frozen(seen.state)).map(|seen| seen.slot.replica).collect()
    }
}

fn words_of(plan: &Plan, number: u32) -> Vec<&'static str> {
    let is_its =
        |action: &&Action| matches!(action.subject(), Subject::Member(of) if of.replica == place(number));
    plan.actions.iter().filter(is_its).map(Action::word).collect()
}

#[test]
fn a_spare_is_frozen_handed_out_and_the_sessions_from_then_on() {
    let mut world = keeping(&[1000]);
    drop(world.settle());
    assert_eq!((live(&world), world.frozen()), ([0, 1000].into(), [].into()));
    world.put_by(1000);
    assert_eq!(words_of(&world.step(), 1000), ["pause"]);
    let plan = world.settle();
    assert_eq!((world.frozen(), plan.replicas[&place(1000)].word()), ([1000].into(), "idle"));
    assert_eq!(plan.phases[&name(0)].word(), "ready", "it is no matter of its server's");
    world.hand_out(1000);
    assert_eq!(words_of(&world.step(), 1000), ["unpause"]);
    let plan = world.settle();
    assert_eq!((world.frozen(), plan.replicas[&place(1000)].word()), ([].into(), "ready"));
    assert_eq!(world.made, 2, "the same container");
    world.seen.asked.clear();
    drop(world.settle());
    assert_eq!(live(&world), [0].into());
}

#[test]
fn one_that_dies_is_started_again_though_nobody_needs_it_yet() {
    let mut world = keeping(&[1000]);
    drop(world.settle());
    world.put_by(1000);
    drop(world.settle());
    let at = world.seen.containers.iter().position(|seen| seen.slot.replica == 1000).unwrap();
    world.exit(at, 137);
    let plan = world.settle();
    assert_eq!((live(&world), plan.replicas[&place(1000)].word()), ([0, 1000].into(), "ready"));
    assert_eq!(world.history.of(&place(1000)).rest, None, "the next one is not frozen unasked");
}

#[test]
fn spares_are_begun_when_no_session_waits_for_its_process() {
    let mut world = keeping(&[1001]);
    drop(world.settle());
    // The spare was taken before it answered; the next one waits for it.
    world.hand_out(1001);
    world.ask(Asker::Spare, &[1002]);
    let run = world.seen.at(&place(1001)).next().unwrap().run().unwrap();
    let waits = Readiness::NotReady { asked_since: world.now, reason: "silence".to_owned() };
    world.seen.readiness.insert(run.clone(), waits);
    world.ask(Asker::Session, &[1001, 1003]);
    let (mut begun, mut sessions) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let plan = world.step();
        begun.extend(words_of(&plan, 1002));
        sessions.extend(words_of(&plan, 1003));
    }
    assert_eq!((begun.len(), &sessions[..]), (0, &["create", "start"][..]));
    world.seen.readiness.insert(run, Readiness::Ready { since: world.now });
    drop(world.settle());
    assert_eq!(live(&world), [0, 1001, 1002, 1003].into());
}

#[test]
fn a_session_that_fails_for_good_does_not_keep_spares_from_being_made() {
    let mut world = keeping(&[1000]);
    world.desired.spec.servers[0].restart.attempts = 0;
    world.ask(Asker::Session, &[1001]);
    drop(world.settle());
    let at = world.seen.containers.iter().position(|seen| seen.slot.replica == 1001).unwrap();
    world.exit(at, 1);
    world.ask(Asker::Spare, &[1000, 1002]);
    let plan = world.settle();
    assert_eq!((live(&world), plan.replicas[&place(1001)].word()), ([0, 1000, 1002].into(), "failed"));
}

#[test]
fn an_update_discards_spares_when_it_is_proved_and_begins_others_no_sooner() {
    let mut world = keeping(&[1000]);
    drop(world.settle());
    world.put_by(1000);
    drop(world.settle());
    world.apply(&name(0), "newer", 1, false);
    // The daemon asks for another place: what stands in this one is of no use any more.
    world.ask(Asker::Spare, &[1001]);
    let mut done = Vec::new();
    for _ in 0..20 {
        let plan = world.pass();
        let proved = world.serving() == ["newer"];
        for number in [1000, 1001] {
            let words = words_of(&plan, number);
            assert!(proved || words.is_empty(), "{number}: {words:?}");
            done.extend(words);
        }
        plan.actions.iter().for_each(|action| world.act(action, false));
    }
    assert_eq!(live(&world), [0, 1001].into());
    assert_eq!(done.iter().filter(|word| **word == "create").count(), 1, "{done:?}");
    assert!(world.seen.at(&place(1000)).next().is_none());
}

#[test]
fn one_that_takes_long_to_come_up_is_not_ended_for_it() {
    let mut world = keeping(&[1000]);
    drop(world.settle());
    let run = world.seen.at(&place(1000)).next().unwrap().run().unwrap();
    let silent = Readiness::NotReady { asked_since: world.now, reason: "silence".to_owned() };
    world.seen.readiness.insert(run, silent);
    world.tick(Duration::from_secs(3600));
    let plan = world.pass();
    assert_eq!((words_of(&plan, 1000), plan.wake_at), (vec![], None));
    world.hand_out(1000);
    assert_eq!(words_of(&world.pass(), 1000), ["stop"], "a session's is");
}

#[test]
fn a_server_that_stands_still_keeps_none() {
    let mut world = keeping(&[1000]);
    drop(world.settle());
    world.person(&name(0), ServerGoal::Stop, false);
    // The daemon asks for none then.
    world.ask(Asker::Spare, &[]);
    drop(world.settle());
    assert_eq!((live(&world), world.seen.containers.len()), ([].into(), 1));
}

/// What happens to places between two passes.
#[derive(Debug, Clone)]
enum Event {
    Spare(u32),
    Session(u32),
    HandOut(u32),
    PutBy(u32),
    End(u32),
    Exit(usize, i64),
    Fail(usize),
    Pass,
    Later(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let number = 1000..1004_u32;
    prop_oneof![
        number.clone().prop_map(Event::Spare),
        number.clone().prop_map(Event::Session),
        number.clone().prop_map(Event::HandOut),
        number.clone().prop_map(Event::PutBy),
        number.prop_map(Event::End),
        (0..6_usize, 0..3_i64).prop_map(|(n, code)| Event::Exit(n, code)),
        (0..6_usize).prop_map(Event::Fail),
        Just(Event::Pass),
        (1..700_u64).prop_map(Event::Later),
    ]
}

impl World {
    fn befall(&mut self, event: &Event) {
        let asked = |world: &Self, number: &u32| world.seen.asker_of(&place(*number));
        // The daemon gives out no number at which something stands.
        let is_free = |n: &u32| asked(self, n).is_none() && self.seen.at(&place(*n)).next().is_none();
        match event {
            Event::Spare(n) | Event::Session(n) if is_free(n) => {
                let asker = if matches!(event, Event::Spare(_)) { Asker::Spare } else { Asker::Session };
                self.seen.asked.entry(name(0)).or_default().insert(*n, asker);
            }
            Event::HandOut(n) if asked(self, n) == Some(Asker::Spare) => self.hand_out(*n),
            Event::PutBy(n) if asked(self, n) == Some(Asker::Spare) => self.put_by(*n),
            Event::End(n) => drop(self.seen.asked.entry(name(0)).or_default().remove(n)),
            Event::Exit(n, code) if !self.seen.containers.is_empty() => {
                let index = n % self.seen.containers.len();
                if self.seen.containers[index].is_live() {
                    self.exit(index, *code);
                }
            }
            Event::Fail(n) => {
                let plan = self.pass();
                for (index, action) in plan.actions.iter().enumerate() {
                    self.act(action, index == n % plan.actions.len());
                }
            }
            Event::Pass => drop(self.step()),
            Event::Later(seconds) => self.tick(Duration::from_secs(*seconds)),
            Event::Spare(_) | Event::Session(_) | Event::HandOut(_) | Event::PutBy(_) | Event::Exit(..) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_place_comes_to_stand_and_no_session_is_left_frozen(
        events in proptest::collection::vec(event(), 0..60),
    ) {
        let mut world = keeping(&[]);
        for event in &events {
            world.befall(event);
        }
        let last = world.settle();
        let asked: BTreeSet<u32> = world.seen.asked_of(&name(0)).map(|(place, _)| place.replica).collect();
        let standing: BTreeSet<u32> = asked.iter().copied().chain([0]).collect();
        prop_assert_eq!(live(&world), standing.clone(), "{:?}", last.replicas);
        prop_assert_eq!(world.seen.containers.len(), standing.len(), "one for each");
        for number in world.frozen() {
            prop_assert_eq!(world.seen.asker_of(&place(number)), Some(Asker::Spare));
        }
        prop_assert_eq!(world.pass(), last);
    }
}
