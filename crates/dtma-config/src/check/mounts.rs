//! Rules about mounts: where they may be, what may be mounted.

use crate::check::limits;
use crate::policy::Policy;
use crate::report::{Report, shown};
use crate::rule;
use crate::wanted::Wanted;
use dtma_core::shim;
use dtma_core::spec::{Mount, MountSource};
use std::collections::BTreeSet;

const MAX_MOUNTS: usize = 32;
/// Longest path Linux takes.
const MAX_PATH: usize = 4095;
/// What the engine mounts there itself keeps the container apart from the host.
const RESERVED: [&str; 3] = ["/proc", "/sys", "/dev"];

pub(crate) fn mounts(report: &mut Report, at: &str, mounts: &[Mount], policy: &Policy) {
    for (index, mount) in mounts.iter().enumerate() {
        let at = format!("{at}/{index}");
        target(report, &format!("{at}/target"), &mount.target);
        match &mount.source {
            MountSource::Volume(_) => {}
            MountSource::Tmpfs { size } => {
                limits::tmpfs(report, &format!("{at}/size"), *size, policy);
                read_only_tmpfs(report, &at, mount.read_only);
            }
            MountSource::Bind(path) => bind(report, &format!("{at}/source"), path),
        }
    }
}

fn read_only_tmpfs(report: &mut Report, at: &str, read_only: bool) {
    if read_only {
        let message = "a tmpfs without writes stays empty for ever";
        let at = format!("{at}/readOnly");
        report.refuse_with(&at, rule::MOUNTS_READ_ONLY_TMPFS, message, "leave readOnly out");
    }
}

/// Judges a path inside the container on which something is mounted.
pub(crate) fn target(report: &mut Report, at: &str, target: &str) {
    if let Some(problem) = target_problem(target) {
        report.refuse(at, rule::MOUNTS_TARGET, format!("{} {problem}", shown(target)));
    } else if let Some(reserved) = RESERVED.iter().find(|root| is_below(target, root)) {
        let message = format!("{} lies in {reserved}, which the engine mounts itself", shown(target));
        report.refuse(at, rule::MOUNTS_RESERVED, message);
    } else if shim::owns(target) {
        let message = format!("{} lies in {}, which is the daemon's own", shown(target), shim::ROOT);
        report.refuse(at, rule::MOUNTS_RESERVED, message);
    }
}

fn target_problem(target: &str) -> Option<&'static str> {
    if !target.starts_with('/') {
        return Some("is not an absolute path");
    }
    if target == "/" {
        return Some("is the whole container");
    }
    if target.len() > MAX_PATH || target.contains(char::is_control) {
        return Some("is longer than 4095 bytes or contains control characters");
    }
    let detour = target[1..].split('/').any(|part| matches!(part, "" | "." | ".."));
    detour.then_some("is not in its shortest form: no '..', '.', '//' or '/' at the end")
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path of the host. Refused whichever it is; an engine's socket would be the whole machine.
pub(crate) fn bind(report: &mut Report, at: &str, source: &str) {
    if is_engine_socket(source) {
        let message =
            format!("{} gives a container the container engine, and with it the machine", shown(source));
        return report.refuse(at, rule::NEVER_ENGINE_SOCKET, message);
    }
    let message = format!("{} is a path of the host, and policy allows none to be mounted", shown(source));
    report.refuse_with(at, rule::POLICY_BIND, message, "mount a named volume instead");
}

/// The sockets engines listen on by default, and the folders they lie in.
fn is_engine_socket(source: &str) -> bool {
    let parts: Vec<_> = source.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let Some(name) = parts.last() else { return source.starts_with('/') };
    let socket = name.ends_with(".sock") || name.contains(".sock.");
    let engine = ["docker", "containerd", "podman", "crio", "dockershim", "buildkit", "balena"];
    let folder = ["run", "var", "var/run", "run/docker", "run/containerd", "run/podman", "run/crio"];
    let path = parts.join("/");
    let path = path.strip_prefix("var/run/").map_or(path.clone(), |rest| format!("run/{rest}"));
    (socket && engine.iter().any(|engine| name.contains(engine))) || folder.contains(&path.as_str())
}

/// Judges the mounts of the spec and of its overrides together: how many, and two on one target (the later one is
/// at fault).
pub(crate) fn together(report: &mut Report, at: &str, wanted: &Wanted) {
    let count = wanted.spec.mounts.len();
    if count > MAX_MOUNTS {
        report.refuse(at, rule::MOUNTS_TOO_MANY, format!("{count} mounts are more than {MAX_MOUNTS}"));
    }
    let mut seen = BTreeSet::new();
    for (mount, at) in wanted.spec.mounts.iter().zip(&wanted.mount_pointers) {
        if !seen.insert(mount.target.as_str()) {
            let message = format!("something is mounted on {} already", shown(&mount.target));
            report.refuse(at, rule::MOUNTS_DUPLICATE, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_sockets_are_known_by_name_and_by_folder() {
        for path in
            ["/var/run/docker.sock", "/run/docker.sock", "//run/./docker.sock", "/mnt/docker.sock.raw"]
                .into_iter()
                .chain(["/run/containerd/containerd.sock", "/run/podman/podman.sock", "/run/crio/crio.sock"])
                .chain(["/", "/run", "/var/run/", "/var", "/run/containerd", "/var/run/docker"])
        {
            assert!(is_engine_socket(path), "{path}");
        }
        for path in ["/srv/data", "/run/user", "/home/docker", "relative", ""] {
            assert!(!is_engine_socket(path), "{path}");
        }
    }
}
