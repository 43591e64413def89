//! The daemon dies at every named failpoint, and at random instants, in the middle of deploy, apply, scale, rollback,
//! restart and removal. Each time the next daemon brings the group to its goal within ten seconds, and the engine shows
//! no orphan.
//!
//! `DTMA_TEST_KILLS` says at how many random instants it dies (12 by default; `cargo xtask soak` asks for 200).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test stops where something is broken"
)]

#[path = "failpoints/lane.rs"]
mod lane;
#[path = "failpoints/scene.rs"]
mod scene;

use dtma_manager::failpoint::POINTS;
use dtma_tests::shims;
use lane::{Change, Death};
use scene::{Act, Case, all_of, random};
use std::collections::BTreeSet;
use std::time::Duration;

/// Groups that are changed by daemons which are killed, side by side.
const LANES: usize = 2;

/// Points that no scenario can reach, with the reason.
const NEVER_REACHED: &[(&str, &str)] = &[
    // The manager stops a container with a grace of zero where a person wants it killed.
    ("runtime.kill", "no code of the manager calls it"),
    ("runtime.pause", "the test `rest` has the daemon die there"),
    ("runtime.unpause", "the test `rest` has the daemon die there"),
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
    Case::accepted(Act::Deploy, "runtime.listen:before"),
    Case::accepted(Act::Deploy, "runtime.listen:after"),
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
    Case::accepted(Act::Restart, "runtime.end_process:before"),
    Case::accepted(Act::Restart, "runtime.end_process:after"),
    Case::accepted(Act::Restart, "runtime.start:before"),
    Case::accepted(Act::Restart, "runtime.start:after"),
    Case::accepted(Act::Restart, "store.put_operation:before"),
    Case::accepted(Act::Restart, "store.put_operation:after"),
    Case::refused(Act::OpenSession, "store.put_session:before"),
    Case::accepted(Act::OpenSession, "store.put_session:after"),
    Case::refused(Act::CloseSession, "store.remove_session:before"),
    Case::accepted(Act::CloseSession, "store.remove_session:after"),
];

/// Changes of a group that stands; those of one lane happen to one group, one after the other.
const APPLIED: &[Death] = &[
    Death::refused(Change::Apply, "store.put_group:before"),
    Death::accepted(Change::Apply, "store.put_group:after"),
    Death::accepted(Change::Apply, "runtime.ensure_image:before"),
    Death::accepted(Change::Apply, "runtime.ensure_volume:after"),
    Death::accepted(Change::Apply, "runtime.create:before"),
    Death::accepted(Change::Apply, "runtime.create:after"),
    Death::accepted(Change::Apply, "runtime.create:after:2"),
    Death::accepted(Change::Apply, "runtime.create:after:3"),
    Death::accepted(Change::Apply, "runtime.start:before"),
    Death::accepted(Change::Apply, "runtime.start:after"),
    Death::accepted(Change::Apply, "runtime.start:after:2"),
    Death::accepted(Change::Apply, "runtime.start:after:3"),
    Death::somewhere(Change::Apply, "store.put_history:after"),
    Death::accepted(Change::Apply, "store.put_handshake:after"),
];
const REPLACED: &[Death] = &[
    Death::accepted(Change::Apply, "runtime.stop:before"),
    Death::accepted(Change::Apply, "runtime.stop:after"),
    Death::accepted(Change::Apply, "runtime.stop:after:2"),
    Death::accepted(Change::Apply, "runtime.stop:after:3"),
    Death::accepted(Change::Apply, "runtime.remove:before"),
    Death::accepted(Change::Apply, "runtime.remove:after"),
    Death::accepted(Change::Apply, "runtime.remove:after:2"),
    Death::accepted(Change::Apply, "runtime.rename:before"),
    Death::accepted(Change::Apply, "runtime.rename:after"),
    Death::accepted(Change::Apply, "runtime.rename:after:2"),
    Death::accepted(Change::Apply, "store.forget_handshake:before"),
    Death::accepted(Change::Apply, "store.put_group:before:2"),
    Death::accepted(Change::Apply, "store.put_group:after:2"),
    Death::accepted(Change::Apply, "store.forget_server:before"),
    Death::accepted(Change::Apply, "store.forget_server:after"),
];
const SCALED: &[Death] = &[
    Death::refused(Change::ScaleUp, "store.put_group:before"),
    Death::accepted(Change::ScaleUp, "store.put_group:after"),
    Death::accepted(Change::ScaleDown, "store.put_group:after"),
    Death::accepted(Change::ScaleUp, "runtime.create:before"),
    Death::accepted(Change::ScaleDown, "runtime.stop:before"),
    Death::accepted(Change::ScaleUp, "runtime.create:after"),
    Death::accepted(Change::ScaleDown, "runtime.stop:after"),
    Death::accepted(Change::ScaleUp, "runtime.start:after:2"),
    Death::accepted(Change::ScaleDown, "runtime.stop:after:2"),
    Death::accepted(Change::ScaleUp, "store.put_group:before:2"),
    Death::accepted(Change::ScaleDown, "runtime.remove:before"),
    Death::accepted(Change::ScaleUp, "store.put_group:after:2"),
    Death::accepted(Change::ScaleDown, "runtime.remove:after"),
    Death::accepted(Change::ScaleDown, "store.put_group:before:2"),
];
const ROLLED_BACK: &[Death] = &[
    Death::refused(Change::Rollback, "store.put_group:before"),
    Death::accepted(Change::Rollback, "store.put_group:after"),
    Death::accepted(Change::Rollback, "runtime.create:after"),
    Death::accepted(Change::Rollback, "runtime.start:after"),
    Death::accepted(Change::Rollback, "runtime.stop:after"),
    Death::accepted(Change::Rollback, "runtime.remove:after"),
    Death::accepted(Change::Rollback, "runtime.rename:before"),
    Death::accepted(Change::Rollback, "store.put_group:before:2"),
];
/// The server's container is to run on, whenever the daemon dies.
const RENEWED: &[Death] = &[
    Death::refused(Change::Renew, "store.put_group:before"),
    Death::accepted(Change::Renew, "store.put_group:after"),
    Death::accepted(Change::Renew, "runtime.end_process:before"),
    Death::accepted(Change::Renew, "runtime.end_process:after"),
    Death::accepted(Change::Renew, "runtime.start:before"),
    Death::accepted(Change::Renew, "runtime.start:after"),
    Death::accepted(Change::Renew, "store.put_handshake:before"),
    Death::accepted(Change::Renew, "store.put_group:before:2"),
    Death::accepted(Change::Renew, "store.put_group:after:2"),
];
/// The second record says that the change failed, the third that what stood before stands again.
const REVERTED: &[Death] = &[
    Death::refused(Change::Fails, "store.put_group:before"),
    Death::accepted(Change::Fails, "store.put_group:after"),
    Death::accepted(Change::Fails, "runtime.ensure_image:before"),
    Death::accepted(Change::Fails, "runtime.ensure_image:after:2"),
    Death::accepted(Change::Fails, "runtime.create:after"),
    Death::accepted(Change::Fails, "store.put_group:before:2"),
    Death::accepted(Change::Fails, "store.put_group:after:2"),
    Death::accepted(Change::Fails, "runtime.stop:before"),
    Death::accepted(Change::Fails, "runtime.remove:before"),
    Death::accepted(Change::Fails, "runtime.remove:after"),
    Death::accepted(Change::Fails, "store.put_group:before:3"),
    Death::accepted(Change::Fails, "store.put_group:after:3"),
];
const DEATHS: &[(&str, &[Death])] = &[
    ("applied", APPLIED),
    ("replaced", REPLACED),
    ("scaled", SCALED),
    ("rolled back", ROLLED_BACK),
    ("reverted", REVERTED),
];

#[test]
fn every_failpoint_is_reached_by_some_scenario_before_and_after() {
    let changed = DEATHS.iter().flat_map(|(_, deaths)| *deaths).map(Death::point_and_moment);
    let reached: BTreeSet<String> = CASES.iter().map(Case::point_and_moment).chain(changed).collect();
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
    // Without a shim nobody listens inside.
    let cases = CASES.iter().filter(|case| shims() || !case.point_and_moment().starts_with("runtime.listen"));
    all_of(cases.map(|case| (case.name(), scene::dies_at(*case)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_daemon_that_dies_while_it_changes_a_group_is_made_good_by_the_next() {
    let lane = |(name, deaths): &(&str, &[Death])| ((*name).to_owned(), lane::dies_at_each(deaths.to_vec()));
    // Without a shim there is no other process in the same container.
    let renewed = shims().then_some(&("renewed", RENEWED));
    all_of(DEATHS.iter().chain(renewed).map(lane)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_daemon_that_is_killed_at_any_instant_is_made_good_by_the_next() {
    let acts = [Act::Deploy, Act::Remove, Act::Restart];
    let kills = (0..kills() / 2).map(|number| (acts[number % acts.len()], random(1200)));
    all_of(kills.map(|(act, after)| (format!("{act:?} killed after {after:?}"), scene::killed(act, after))))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_daemon_that_is_killed_while_it_changes_a_group_is_made_good_by_the_next() {
    let changes =
        [Change::Apply, Change::Renew, Change::ScaleUp, Change::Rollback, Change::ScaleDown, Change::Fails];
    let kills = (0..kills().div_ceil(2)).map(|number| (changes[number % changes.len()], random(3000)));
    let kills: Vec<(Change, Duration)> = kills.collect();
    let lanes = kills.chunks(kills.len().div_ceil(LANES)).map(<[_]>::to_vec).enumerate();
    all_of(lanes.map(|(number, kills)| (format!("lane {number}"), lane::killed_at_each(kills)))).await;
}

fn kills() -> usize {
    let wanted = std::env::var("DTMA_TEST_KILLS").ok();
    wanted.map_or(12, |text| text.parse().expect("DTMA_TEST_KILLS is a number"))
}
