//! What is allowed and probably not meant.

use crate::check::image;
use crate::render;
use crate::report::Report;
use crate::rule;
use crate::wanted::Wanted;
use dtma_core::spec::{Condition, GroupSpec, MountSource, NetworkMode, ServerKind, ServerSpec};
use dtma_core::violation::pointer_token;

/// Parts of names that secrets go by.
const SECRET: [&str; 8] =
    ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "APIKEY", "PRIVATE_KEY"];

/// Warns about one server; `wanted` is the same with its overrides applied, `memory` what it will have.
pub(crate) fn server(
    report: &mut Report,
    at: &str,
    (group, written): (&GroupSpec, &ServerSpec),
    (wanted, memory): (&Wanted, u64),
) {
    let spec = &wanted.spec;
    if image::is_unpinned(&spec.image) {
        let message = format!("{} can mean another image tomorrow", spec.image);
        let at = format!("{at}/image");
        report.refuse_with(&at, rule::WARN_IMAGE_UNPINNED, message, "name a version or a digest");
    }
    if spec.kind.is_stdio() && render::network(group, spec) == NetworkMode::Group {
        let message =
            "on a group's network a server can reach services of the host that listen on all addresses";
        let at = format!("{at}/network");
        report.refuse_with(&at, rule::WARN_NETWORK_HOST, message, "leave it out unless it needs its peers");
    }
    secrets(report, at, (written, spec));
    sizes(report, wanted, memory);
}

fn secrets(report: &mut Report, at: &str, (written, spec): (&ServerSpec, &ServerSpec)) {
    for name in spec.environment.keys() {
        let upper = name.to_uppercase();
        if SECRET.iter().any(|word| upper.contains(word)) {
            let message =
                format!("{name} looks like a secret, and the engine shows it to everyone who may inspect");
            let at = match written.environment.contains_key(name) {
                true => format!("{at}/environment/{}", pointer_token(name)),
                false => format!("{at}/overrides"),
            };
            report.refuse(&at, rule::WARN_ENVIRONMENT_SECRET, message);
        }
    }
}

fn sizes(report: &mut Report, wanted: &Wanted, memory: u64) {
    for (mount, at) in wanted.spec.mounts.iter().zip(&wanted.mount_pointers) {
        if matches!(mount.source, MountSource::Tmpfs { size } if size > memory) {
            let message =
                "it counts against the server's memory, which is smaller: a full one kills the server";
            report.refuse(at, rule::WARN_TMPFS_OVER_MEMORY, message);
        }
    }
}

/// Warns about who waits for whom.
pub(crate) fn graph(report: &mut Report, group: &GroupSpec) {
    for (index, server) in group.servers.iter().enumerate() {
        for (number, wanted) in server.depends_on.iter().enumerate() {
            let of = group.server(&wanted.instance).map(|server| server.kind);
            if wanted.condition == Condition::Completed && matches!(of, Some(ServerKind::Mcp(_))) {
                let at = format!("/servers/{index}/dependsOn/{number}/condition");
                let message = format!("{} is an MCP server, which ends only when told to", wanted.instance);
                report.refuse(&at, rule::WARN_NEVER_COMPLETES, message);
            }
        }
    }
}
