//! What is allowed and probably not meant.

use crate::check::image;
use crate::place::Place;
use crate::render;
use crate::report::Report;
use crate::rule;
use crate::wanted::Wanted;
use dtma_core::spec::{
    Condition, Dependency, GroupSpec, Mount, MountSource, NetworkMode, ServerKind, ServerSpec,
};
use dtma_core::violation::pointer_token;

/// Parts of names that secrets go by.
const SECRET: [&str; 8] =
    ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "APIKEY", "PRIVATE_KEY"];

/// Warns about one server; `wanted` is the same with its overrides applied, `memory` what it will have.
pub(crate) fn server(report: &mut Report, at: &str, written: &ServerSpec, (wanted, memory): (&Wanted, u64)) {
    let spec = &wanted.spec;
    if image::is_unpinned(&spec.image) {
        let message = format!("{} can mean another image tomorrow", spec.image);
        let at = format!("{at}/image");
        report.refuse_with(&at, rule::WARN_IMAGE_UNPINNED, message, "name a version or a digest");
    }
    network(report, &format!("{at}/network"), spec);
    secrets(report, at, (written, spec));
    shared_volumes(report, wanted);
    sizes(report, wanted, memory);
}

/// About one that was asked for.
fn network(report: &mut Report, at: &str, spec: &ServerSpec) {
    match spec.network {
        Some(NetworkMode::Group) if spec.kind.is_stdio() => {
            let message =
                "on a group's network a server can reach services of the host that listen on all addresses";
            let hint = "leave it out unless it needs its peers";
            report.refuse_with(at, rule::WARN_NETWORK_HOST, message, hint);
        }
        Some(NetworkMode::Open) => {
            let message = "on it a server reaches everything that this machine reaches";
            let hint = "name what it needs in \"egress\" and leave network out";
            report.refuse_with(at, rule::WARN_NETWORK_OPEN, message, hint);
        }
        Some(NetworkMode::Group | NetworkMode::None) | None => {}
    }
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

/// What one session writes there the others read.
fn shared_volumes(report: &mut Report, wanted: &Wanted) {
    let written = |mount: &Mount| matches!(mount.source, MountSource::Volume(_)) && !mount.read_only;
    for (mount, at) in wanted.spec.mounts.iter().zip(&wanted.mount_pointers) {
        if wanted.spec.session.is_own() && written(mount) {
            let message = "each session has a process of its own, and all of them write to this volume";
            let hint = "use a tmpfs for what is the session's alone";
            report.refuse_with(at, rule::WARN_SESSION_VOLUME, message, hint);
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
pub(crate) fn graph(report: &mut Report, group: &GroupSpec, place: Place) {
    for (index, server) in group.servers.iter().enumerate() {
        for (number, wanted) in server.depends_on.iter().enumerate() {
            let at = format!("/servers/{index}/dependsOn/{number}");
            let Some(other) = group.server(&wanted.instance) else { continue };
            if wanted.condition == Condition::Completed && matches!(other.kind, ServerKind::Mcp(_)) {
                let message = format!("{} is an MCP server, which ends only when told to", wanted.instance);
                report.refuse(&format!("{at}/condition"), rule::WARN_NEVER_COMPLETES, message);
            }
            no_way(report, &at, group, (server, wanted, other), place);
        }
    }
}

/// A dependency that listens somewhere is there to be connected to.
fn no_way(
    report: &mut Report,
    at: &str,
    group: &GroupSpec,
    (server, wanted, other): (&ServerSpec, &Dependency, &ServerSpec),
    place: Place,
) {
    let mode = |server| render::network(group, server, place);
    let on_one = mode(server) != NetworkMode::None && mode(server) == mode(other);
    if let Some(port) = other.port.filter(|_| wanted.connect.is_none() && !on_one) {
        let message = format!("nothing leads from {} to port {port} of {}", server.instance, other.instance);
        let hint = format!("say \"connect\": {{\"port\": {port}}}, or give both \"network\": \"group\"");
        report.refuse_with(at, rule::WARN_NO_WAY, message, &hint);
    }
}
