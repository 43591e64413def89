//! Cases of mounts.

use crate::case::{Case, case, set_bind, set_target, set_tmpfs, tool_case, words};
use crate::support::MIB;
use dtma_config::rule;
use dtma_core::spec::ServerSpec;

pub(crate) fn mount_cases() -> Vec<Case> {
    let at = "/servers/1/mounts/0/target";
    let targets = |server: &mut ServerSpec, targets: Vec<String>| {
        targets.iter().for_each(|target| set_target(server, target));
    };
    let numbered = |count: usize| (0..count).map(|n| format!("/m{n}")).collect::<Vec<_>>();
    let bad_targets = ["data", "", "/", "/a/../b", "/a/./b", "/a//b", "/a/", "/a\n", "/a\0"];
    let bad = bad_targets.map(|bad| tool_case(rule::MOUNTS_TARGET, at, set_target, (bad, "/a/b..c")));
    let reserved =
        [("/proc", "/process"), ("/sys/fs", "/system"), ("/dev/shm", "/data/dev"), ("/.dtma/x", "/.dtmax")];
    let reserved = reserved.map(|pair| tool_case(rule::MOUNTS_RESERVED, at, set_target, pair));
    let binds = ["/var/run/docker.sock", "/run/containerd/containerd.sock", "/"];
    let sockets = binds.map(|path| {
        case(
            rule::NEVER_ENGINE_SOCKET,
            "/servers/1/mounts/0/source",
            move |group| set_bind(&mut group.servers[1], path),
            |group| set_target(&mut group.servers[1], "/x"),
        )
    });
    let others = [
        case(
            rule::POLICY_BIND,
            "/servers/1/mounts/0/source",
            |group| set_bind(&mut group.servers[1], "/srv"),
            |group| set_target(&mut group.servers[1], "/srv"),
        ),
        tool_case(
            rule::MOUNTS_DUPLICATE,
            "/servers/1/mounts/1/target",
            targets,
            (words(&["/a", "/a"]), words(&["/a", "/a/b"])),
        ),
        tool_case(rule::MOUNTS_TOO_MANY, "/servers/1/mounts", targets, (numbered(33), numbered(32))),
        tool_case(
            rule::MOUNTS_READ_ONLY_TMPFS,
            "/servers/1/mounts/0/readOnly",
            set_tmpfs,
            ((MIB, true), (MIB, false)),
        ),
    ];
    bad.into_iter().chain(reserved).chain(sockets).chain(others).collect()
}
