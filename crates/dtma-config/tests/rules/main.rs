//! One case for each rule: what breaks it, and its good neighbour.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a broken test should stop where it broke, and cases are written in place"
)]

mod beside;
mod case;
mod gateway;
mod groups;
mod mounts;
mod overrides;
mod ports;
mod sessions;
mod sizes;
#[path = "../support/mod.rs"]
mod support;
mod texts;
mod told;

use case::Case;
use dtma_config::rule;
use gateway::gateway_cases;
use groups::group_cases;
use mounts::mount_cases;
use overrides::override_cases;
use ports::port_cases;
use sessions::session_cases;
use sizes::{idle_cases, size_cases, time_cases};
use std::collections::BTreeSet;
use support::{configurator, pair, places};
use texts::text_cases;

fn cases() -> Vec<Case> {
    let of_servers = [text_cases(), size_cases(), port_cases(), mount_cases(), time_cases()];
    let of_groups = [group_cases(), gateway_cases()].into_iter();
    of_groups.chain(of_servers).chain([idle_cases(), session_cases(), override_cases()]).flatten().collect()
}

#[test]
fn each_bad_value_is_refused_once_and_its_good_neighbour_is_not() {
    for case in cases() {
        let (mut bad, mut good) = (pair(), pair());
        (case.bad)(&mut bad);
        (case.good)(&mut good);
        let found = configurator().validate(&bad);
        assert_eq!(places(&found), [(case.pointer, case.rule)], "{found:#?}");
        let found = configurator().validate(&good);
        assert_eq!(found, [], "the good neighbour of {} at {}", case.rule, case.pointer);
    }
}

#[test]
fn every_rule_has_a_case() {
    let mut tried: BTreeSet<_> = cases().iter().map(|case| case.rule).collect();
    // What depends on the engine has a test of its own.
    tried.extend([rule::ENGINE_REMOTE, rule::SHIM_PLATFORM]);
    // What needs a shim has tests of its own, in `egress.rs` beside this.
    tried.extend([rule::EGRESS_NETWORK, rule::EGRESS_REPEATED, rule::EGRESS_TOO_MANY, rule::POLICY_EGRESS]);
    tried.extend([rule::POLICY_EGRESS_RANGE, rule::CONNECT_COMPLETED, rule::CONNECT_NAME, rule::PORT_INSIDE]);
    assert_eq!(tried, rule::ALL.iter().copied().collect());
}
