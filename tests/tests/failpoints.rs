//! The daemon dies at every named failpoint, and at random instants, in the middle of deploy, removal and restart.
//! Each time the next daemon brings the group to its goal within ten seconds, and the engine shows no orphan.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

#[path = "failpoints/scene.rs"]
mod scene;

use dtma_manager::failpoint::POINTS;
use scene::{Act, Case, all_of, random};
use std::collections::BTreeSet;

/// Points that no scenario can reach, with the reason.
const NEVER_REACHED: &[(&str, &str)] = &[
    // The manager stops a container with a grace of zero where a person wants it killed.
    ("runtime.kill", "no code of the manager calls it"),
    ("runtime.rename", "no code of the manager calls it yet"),
];

/// What happens, where the daemon dies, and whether the request had been accepted by then.
const CASES: &[Case] = &[
    Case::refused(Act::Deploy, "store.put_group:before"),
    Case::accepted(Act::Deploy, "store.put_group:after"),
    Case::accepted(Act::Deploy, "runtime.create_network:before"),
    Case::accepted(Act::Deploy, "runtime.create_network:after"),
    Case::accepted(Act::Deploy, "runtime.ensure_image:before"),
    Case::accepted(Act::Deploy, "runtime.ensure_image:after"),
    Case::accepted(Act::Deploy, "runtime.ensure_volume:before"),
    Case::accepted(Act::Deploy, "runtime.ensure_volume:after"),
    Case::accepted(Act::Deploy, "runtime.create:before"),
    Case::accepted(Act::Deploy, "runtime.create:after"),
    Case::accepted(Act::Deploy, "runtime.create:after:2"),
    Case::accepted(Act::Deploy, "runtime.start:before"),
    Case::accepted(Act::Deploy, "runtime.start:after"),
    Case::accepted(Act::Deploy, "runtime.start:after:2"),
    Case::accepted(Act::Deploy, "store.put_history:before"),
    Case::accepted(Act::Deploy, "store.put_history:after"),
    Case::accepted(Act::Deploy, "store.put_handshake:before"),
    Case::accepted(Act::Deploy, "store.put_handshake:after"),
    Case::accepted(Act::Deploy, "store.put_group:before:2"),
    Case::accepted(Act::Deploy, "store.put_group:after:2"),
    Case::accepted(Act::Deploy, "store.put_answer:before"),
    Case::accepted(Act::Deploy, "store.put_answer:after"),
    // A deployment that the engine refuses is undone; the daemon dies while it undoes.
    Case::accepted(Act::Undo, "store.put_group:before:2"),
    Case::accepted(Act::Undo, "store.put_group:after:2"),
    Case::accepted(Act::Undo, "runtime.remove:before"),
    Case::accepted(Act::Undo, "runtime.remove_volume:after"),
    Case::accepted(Act::Undo, "store.remove_group:before"),
    Case::accepted(Act::Undo, "store.remove_group:after"),
    Case::refused(Act::Remove, "store.put_group:before"),
    Case::accepted(Act::Remove, "store.put_group:after"),
    Case::accepted(Act::Remove, "runtime.stop:before"),
    Case::accepted(Act::Remove, "runtime.stop:after"),
    Case::accepted(Act::Remove, "runtime.stop:after:2"),
    Case::accepted(Act::Remove, "runtime.remove:before"),
    Case::accepted(Act::Remove, "runtime.remove:after"),
    Case::accepted(Act::Remove, "runtime.remove:after:2"),
    Case::accepted(Act::Remove, "runtime.remove_network:before"),
    Case::accepted(Act::Remove, "runtime.remove_network:after"),
    Case::accepted(Act::Remove, "runtime.remove_volume:before"),
    Case::accepted(Act::Remove, "runtime.remove_volume:after"),
    Case::accepted(Act::Remove, "store.forget_handshake:before"),
    Case::accepted(Act::Remove, "store.forget_handshake:after"),
    Case::accepted(Act::Remove, "store.forget_server:before"),
    Case::accepted(Act::Remove, "store.forget_server:after"),
    Case::accepted(Act::Remove, "store.remove_group:before"),
    Case::accepted(Act::Remove, "store.remove_group:after"),
    Case::refused(Act::Restart, "store.put_group:before"),
    Case::accepted(Act::Restart, "store.put_group:after"),
    Case::accepted(Act::Restart, "runtime.stop:before"),
    Case::accepted(Act::Restart, "runtime.stop:after"),
    Case::accepted(Act::Restart, "runtime.start:before"),
    Case::accepted(Act::Restart, "runtime.start:after"),
    Case::accepted(Act::Restart, "store.put_operation:before"),
    Case::accepted(Act::Restart, "store.put_operation:after"),
    Case::refused(Act::OpenSession, "store.put_session:before"),
    Case::accepted(Act::OpenSession, "store.put_session:after"),
    Case::refused(Act::CloseSession, "store.remove_session:before"),
    Case::accepted(Act::CloseSession, "store.remove_session:after"),
];

#[test]
fn every_failpoint_is_reached_by_some_scenario_before_and_after() {
    let reached: BTreeSet<String> = CASES.iter().map(Case::point_and_moment).collect();
    let excused = |point: &&str| NEVER_REACHED.iter().any(|(name, _)| name == point);
    for point in POINTS.iter().filter(|point| !excused(point)) {
        for moment in ["before", "after"] {
            let name = format!("{point}:{moment}");
            assert!(reached.contains(&name), "no scenario dies at {name}");
        }
    }
    for (point, _) in NEVER_REACHED {
        assert!(POINTS.contains(point), "{point} is no failpoint any more");
        assert!(!reached.iter().any(|name| name.starts_with(point)), "{point} is reached after all");
    }
}

/// Each case asserts that the daemon died at its point, so a point that is passed by no longer is a failure here.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_daemon_that_dies_at_a_failpoint_is_made_good_by_the_next() {
    all_of(CASES.iter().map(|case| (case.name(), scene::dies_at(*case)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_daemon_that_is_killed_at_any_instant_is_made_good_by_the_next() {
    let acts = [Act::Deploy, Act::Remove, Act::Restart];
    let kills = (0..12).map(|number| (acts[number % acts.len()], random(1200)));
    all_of(kills.map(|(act, after)| (format!("{act:?} killed after {after:?}"), scene::killed(act, after))))
        .await;
}
