//! What is allowed and probably not meant.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a broken test should stop where it broke, and cases are written in place"
)]

mod support;

use dtma_core::spec::{
    Condition, Dependency, GroupSpec, Mount, MountSource, NetworkMode, SessionMode, SessionSpec,
};
use serde_json::json;
use support::{MIB, configurator, pair, places};

#[track_caller]
fn check(change: impl Fn(&mut GroupSpec), expected: &[(&str, &str)]) {
    let mut spec = pair();
    change(&mut spec);
    assert_eq!(configurator().validate(&spec), [], "a warning is about something allowed");
    assert_eq!(places(&configurator().warnings(&spec)), expected);
}

#[test]
fn a_sound_group_has_no_warnings() {
    check(|_| {}, &[]);
}

#[test]
fn a_moving_tag_is_mentioned() {
    check(|group| group.servers[0].image = "busybox".into(), &[("/servers/0/image", "image.unpinned")]);
    check(
        |group| group.servers[0].image = "busybox:latest".into(),
        &[("/servers/0/image", "image.unpinned")],
    );
}

#[test]
fn a_secret_in_plain_environment_is_mentioned_without_its_value() {
    let set = |group: &mut GroupSpec| {
        group.servers[1].environment = [("GITHUB_TOKEN".to_owned(), "hunter2".to_owned())].into();
    };
    check(set, &[("/servers/1/environment/GITHUB_TOKEN", "environment.secret")]);
    let mut spec = pair();
    set(&mut spec);
    assert!(!format!("{:?}", configurator().warnings(&spec)).contains("hunter2"));
    check(
        |group| group.servers[1].overrides = json!({"Env": ["DB_PASSWORD=x"]}).as_object().cloned(),
        &[("/servers/1/overrides", "environment.secret")],
    );
}

#[test]
fn a_stdio_server_on_a_network_is_mentioned() {
    check(
        |group| group.servers[0].network = Some(NetworkMode::Group),
        &[("/servers/0/network", "network.host-reachable")],
    );
}

#[test]
fn a_memory_disk_larger_than_the_memory_is_mentioned() {
    let tmpfs = |size| {
        let source = MountSource::Tmpfs { size };
        vec![Mount { target: "/x".to_owned(), source, read_only: false }]
    };
    check(move |group| group.servers[1].mounts = tmpfs(256 * MIB), &[]);
    check(
        move |group| group.servers[1].mounts = tmpfs(257 * MIB),
        &[("/servers/1/mounts/0/target", "resources.tmpfs-over-memory")],
    );
}

#[test]
fn waiting_for_the_end_of_an_mcp_server_is_mentioned() {
    let depend = |group: &mut GroupSpec| {
        let instance = "time".parse().unwrap();
        group.servers[1].depends_on =
            vec![Dependency { instance, condition: Condition::Completed, connect: None }];
    };
    check(depend, &[("/servers/1/dependsOn/0/condition", "graph.never-completes")]);
}

#[test]
fn a_volume_that_sessions_share_is_mentioned() {
    let with = |mode, read_only| {
        move |group: &mut GroupSpec| {
            let source = MountSource::Volume("v".parse().unwrap());
            group.servers[0].mounts = vec![Mount { target: "/v".to_owned(), source, read_only }];
            group.servers[0].session = SessionSpec { mode, ..SessionSpec::default() };
        }
    };
    check(with(SessionMode::PerSession, false), &[("/servers/0/mounts/0/target", "session.volume")]);
    check(with(SessionMode::PerSession, true), &[]);
    check(with(SessionMode::Shared, false), &[]);
}
