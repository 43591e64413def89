//! What an engine cannot give a server that asks for it: a shim where there is none, and on another machine a way from the
//! daemon to a container's address, and files on the engine's disk. Everything that goes over the engine's own connection (standard input and output, logs) works there.

use crate::place::Place;
use crate::report::Report;
use crate::rule;
use dtma_core::spec::{MountSource, ServerSpec};

/// Judges a server that insists on a shim.
pub(crate) fn shim(report: &mut Report, at: &str, server: &ServerSpec, place: Place) {
    if server.shim == Some(true)
        && let Some((rule, message, hint)) = place.obstacle(server)
    {
        report.refuse_with(&format!("{at}/shim"), rule, message, hint);
    }
}

/// Judges a server, with its overrides applied, that is to run on another machine.
pub(crate) fn remote(report: &mut Report, at: &str, server: &ServerSpec) {
    for index in 0..server.publish.len() {
        let message = "the engine is on another machine: the daemon has no way to the container's address";
        let hint = "leave publish out, or run a daemon on the engine's machine";
        report.refuse_with(&format!("{at}/publish/{index}"), rule::ENGINE_REMOTE, message, hint);
    }
    if server.port.is_some() && !server.kind.is_stdio() {
        let message = "the engine is on another machine: the daemon cannot see whether the port accepts";
        let hint = match server.kind.is_mcp() {
            true => "use a server that speaks stdio, or run a daemon on the engine's machine",
            false => "leave port out (the tool is ready once it has run for health.settleMs)",
        };
        report.refuse_with(&format!("{at}/port"), rule::ENGINE_REMOTE, message, hint);
    }
    for (index, mount) in server.mounts.iter().enumerate() {
        if let MountSource::Volume(_) = mount.source {
            let message = "the engine is on another machine: the volume cannot be given to the server's user";
            let hint = "mount a tmpfs instead, or run a daemon on the engine's machine";
            report.refuse_with(&format!("{at}/mounts/{index}"), rule::ENGINE_REMOTE, message, hint);
        }
    }
}
