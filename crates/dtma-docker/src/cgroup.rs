//! [`Meter`] over the kernel's cgroup files, version 1 and 2: microseconds for each container, where the engine's own
//! statistics take a second.
//!
//! Works on the engine's machine only. A container's cgroup is looked for where the engines put it (Docker and Podman,
//! with the `cgroupfs` and the `systemd` driver); a file that is not there is a value that is not known.

use dtma_core::id::ContainerId;
use dtma_core::port::meter::{Meter, Usage};
use std::path::{Path, PathBuf};

/// Above this a version 1 limit means that there is none (the kernel shows a page-aligned maximum).
const UNLIMITED: u64 = 1 << 60;

/// Reads cgroup files below one root.
#[derive(Debug, Clone)]
pub struct CgroupMeter {
    root: PathBuf,
}

impl CgroupMeter {
    /// A reader of the cgroups mounted at `root`, usually `/sys/fs/cgroup`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn unified(&self, id: &ContainerId) -> Option<Usage> {
        if !self.root.join("cgroup.controllers").exists() {
            return None;
        }
        let dir = place(&self.root, id)?;
        let current = number(&dir, "memory.current");
        Some(Usage {
            cpu_micros: field(&dir, "cpu.stat", "usage_usec"),
            cpu_limit_millis: text(&dir, "cpu.max").and_then(|text| quota_of_pair(&text)),
            memory: current.map(|all| all.saturating_sub(cache(&dir, "inactive_file"))),
            memory_limit: number(&dir, "memory.max"),
            pids: number(&dir, "pids.current"),
            pids_limit: number(&dir, "pids.max"),
        })
    }

    fn version_one(&self, id: &ContainerId) -> Option<Usage> {
        let controller = |name: &str| place(&self.root.join(name), id);
        let (cpu, memory) = (controller("cpuacct"), controller("memory"));
        let (quota, pids) = (controller("cpu"), controller("pids"));
        let first = [&cpu, &memory, &quota, &pids].into_iter().flatten().next();
        first?;
        let at = |dir: &Option<PathBuf>, file: &str| dir.as_deref().and_then(|dir| number(dir, file));
        let dropped = memory.as_deref().map_or(0, |dir| cache(dir, "total_inactive_file"));
        Some(Usage {
            cpu_micros: at(&cpu, "cpuacct.usage").map(|nanos| nanos / 1000),
            cpu_limit_millis: share(at(&quota, "cpu.cfs_quota_us"), at(&quota, "cpu.cfs_period_us")),
            memory: at(&memory, "memory.usage_in_bytes").map(|all| all.saturating_sub(dropped)),
            memory_limit: at(&memory, "memory.limit_in_bytes").filter(|limit| *limit < UNLIMITED),
            pids: at(&pids, "pids.current"),
            pids_limit: at(&pids, "pids.max"),
        })
    }
}

impl Meter for CgroupMeter {
    fn read(&self, container: &ContainerId) -> Option<Usage> {
        self.unified(container).or_else(|| self.version_one(container))
    }
}

/// Where this container's directory is below one hierarchy.
fn place(hierarchy: &Path, id: &ContainerId) -> Option<PathBuf> {
    let id = id.to_string();
    // An id comes from the engine; one that is not plain letters and digits is no directory's name.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let places = [
        format!("docker/{id}"),
        format!("system.slice/docker-{id}.scope"),
        format!("machine.slice/libpod-{id}.scope"),
        format!("libpod_parent/libpod-{id}"),
    ];
    places.into_iter().map(|place| hierarchy.join(place)).find(|dir| dir.is_dir())
}

fn text(dir: &Path, file: &str) -> Option<String> {
    Some(std::fs::read_to_string(dir.join(file)).ok()?.trim().to_owned())
}

/// The number in a file; `max` and `-1`, which mean that there is no limit, are none.
fn number(dir: &Path, file: &str) -> Option<u64> {
    text(dir, file)?.parse().ok()
}

/// The number behind a word in a file of pairs.
fn field(dir: &Path, file: &str, word: &str) -> Option<u64> {
    let text = text(dir, file)?;
    text.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
}

/// What of the memory is page cache that could be dropped at once.
fn cache(dir: &Path, word: &str) -> u64 {
    field(dir, "memory.stat", word).unwrap_or(0)
}

/// `50000 100000`, quota and period; `max` is no limit.
fn quota_of_pair(text: &str) -> Option<u64> {
    let (quota, period) = text.split_once(' ')?;
    share(quota.parse().ok(), period.parse().ok())
}

fn share(quota: Option<u64>, period: Option<u64>) -> Option<u64> {
    quota?.checked_mul(1000)?.checked_div(period?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123abcd";

    fn write(dir: &Path, file: &str, text: &str) {
        let path = dir.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    }

    fn expected() -> Usage {
        Usage {
            cpu_micros: Some(1500),
            cpu_limit_millis: Some(500),
            memory: Some(900),
            memory_limit: Some(4096),
            pids: Some(3),
            pids_limit: Some(128),
        }
    }

    fn read(root: &Path) -> Option<Usage> {
        CgroupMeter::new(root).read(&ContainerId::from(ID.to_owned()))
    }

    #[test]
    fn version_two_is_read_under_both_drivers() {
        for place in [format!("docker/{ID}"), format!("system.slice/docker-{ID}.scope")] {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), "cgroup.controllers", "cpu memory pids");
            let dir = root.path().join(place);
            write(&dir, "cpu.stat", "usage_usec 1500\nuser_usec 1000");
            write(&dir, "cpu.max", "50000 100000");
            write(&dir, "memory.current", "1000");
            write(&dir, "memory.stat", "anon 800\ninactive_file 100");
            write(&dir, "memory.max", "4096");
            write(&dir, "pids.current", "3");
            write(&dir, "pids.max", "128");
            assert_eq!(read(root.path()), Some(expected()));
        }
    }

    #[test]
    fn version_one_is_read_controller_by_controller() {
        let root = tempfile::tempdir().unwrap();
        let dir = |controller: &str| root.path().join(controller).join("docker").join(ID);
        write(&dir("cpuacct"), "cpuacct.usage", "1500000");
        write(&dir("cpu"), "cpu.cfs_quota_us", "50000");
        write(&dir("cpu"), "cpu.cfs_period_us", "100000");
        write(&dir("memory"), "memory.usage_in_bytes", "1000");
        write(&dir("memory"), "memory.stat", "cache 200\ntotal_inactive_file 100");
        write(&dir("memory"), "memory.limit_in_bytes", "4096");
        write(&dir("pids"), "pids.current", "3");
        write(&dir("pids"), "pids.max", "128");
        assert_eq!(read(root.path()), Some(expected()));
    }

    #[test]
    fn no_limit_and_no_file_are_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = |controller: &str| root.path().join(controller).join("docker").join(ID);
        write(&dir("cpu"), "cpu.cfs_quota_us", "-1");
        write(&dir("cpu"), "cpu.cfs_period_us", "100000");
        write(&dir("memory"), "memory.limit_in_bytes", "9223372036854771712");
        write(&dir("pids"), "pids.max", "max");
        assert_eq!(read(root.path()), Some(Usage::default()));
    }

    #[test]
    fn a_container_that_is_not_here_is_nothing() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(root.path()), None);
        let outside = ContainerId::from("../../etc".to_owned());
        assert_eq!(CgroupMeter::new(root.path()).read(&outside), None);
    }
}
