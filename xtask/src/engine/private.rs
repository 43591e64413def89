//! A Docker Engine of our own: every path it uses lies in the work directory, and it outlives this process.
//!
//! A second engine in one network namespace harms the first (it deletes `docker0` or rewrites the packet
//! filter), so next to another engine ours gets a namespace of its own. Containers are then reached by
//! programs that enter it, see `Engine::beside`.

use super::{Engine, probe};
use crate::{apt, process, workspace};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const READY: Duration = Duration::from_secs(30);
/// Containers get 10 s to end, and the engine stops them side by side.
const STOPPED: Duration = Duration::from_secs(30);
/// `containerd-debug.sock` and its directory are added to the engine's own, of 107 bytes in all.
const LONGEST_DIR: usize = 107 - 38;

pub(crate) struct PrivateEngine {
    dir: PathBuf,
    /// In a network namespace of its own, whoever else is there.
    apart: bool,
}

impl PrivateEngine {
    pub(crate) fn new() -> Result<Self> {
        Self::at(workspace::work_subdir("engine")?, false)
    }

    /// One for a single purpose, in this directory and in a network namespace of its own.
    pub(crate) fn apart(dir: PathBuf) -> Result<Self> {
        Self::at(dir, true)
    }

    fn at(dir: PathBuf, apart: bool) -> Result<Self> {
        if dir.as_os_str().len() > LONGEST_DIR {
            bail!("{} is too long for a unix socket: set DTMA_WORK_DIR to a shorter path", dir.display());
        }
        Ok(Self { dir, apart })
    }

    pub(crate) fn docker_host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("dockerd.log")
    }

    pub(crate) fn as_engine(&self) -> Engine {
        Engine { docker_host: self.docker_host(), netns: self.foreign_netns() }
    }

    fn pidfile(&self) -> PathBuf {
        self.dir.join("docker.pid")
    }

    /// Our engine's process, proved by its command line: a number in a file may belong to anyone by now.
    fn pid(&self) -> Option<u32> {
        let pid = read_pid(&self.pidfile())?;
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let mine = self.pidfile().display().to_string();
        (alive(pid) && String::from_utf8_lossy(&cmdline).contains(&mine)).then_some(pid)
    }

    /// The engine's network namespace when it is not this process's.
    pub(crate) fn foreign_netns(&self) -> Option<PathBuf> {
        let theirs = format!("/proc/{}/ns/net", self.pid()?);
        (fs::read_link(&theirs).ok()? != own_netns().ok()?).then(|| PathBuf::from(theirs))
    }

    /// The network namespace it lives in, while it runs.
    pub(crate) fn netns(&self) -> Result<PathBuf> {
        let pid = self.pid().context("the engine does not run")?;
        Ok(PathBuf::from(format!("/proc/{pid}/ns/net")))
    }

    pub(crate) fn start(&self) -> Result<()> {
        self.remove_stale_pidfiles();
        let config = self.dir.join("daemon.json");
        fs::write(&config, "{}\n").with_context(|| format!("cannot write {}", config.display()))?;
        eprintln!("    its log: {}", self.log().display());
        let child = self.launch(&config)?;
        self.wait_until_ready(child)
    }

    /// A session of its own (`setsid`): neither our end nor a Ctrl-C in the terminal reaches it.
    fn launch(&self, config: &Path) -> Result<Child> {
        let log = File::create(self.log())?;
        let mut command = Command::new("setsid");
        command.args(namespace_prefix(self.apart)?).arg("dockerd").arg("--config-file").arg(config);
        command.arg("--data-root").arg(self.dir.join("data")).arg("--exec-root").arg(self.dir.join("exec"));
        command.arg("--pidfile").arg(self.pidfile()).args(["--host", &self.docker_host()]);
        command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().context("cannot start dockerd")
    }

    fn wait_until_ready(&self, mut child: Child) -> Result<()> {
        let mut ended = false;
        let answered = probe::until(READY, || {
            ended = matches!(child.try_wait(), Ok(Some(_)));
            ended || probe::answers(&self.docker_host())
        });
        if answered && !ended {
            return Ok(());
        }
        eprintln!("{}", process::tail(&self.log()));
        bail!("the engine did not come up; its log is {}", self.log().display())
    }

    /// After a kill -9 or a reboot the files stay behind and would stop the next start for 15 s.
    fn remove_stale_pidfiles(&self) {
        for file in [self.pidfile(), self.dir.join("exec/containerd/containerd.pid")] {
            if read_pid(&file).is_some_and(|pid| !alive(pid)) {
                eprintln!("    removing {}: its process is gone", file.display());
                // If it cannot be removed, dockerd says so in its log.
                let _ = fs::remove_file(&file);
            }
        }
    }

    pub(crate) fn stop(&self) -> Result<()> {
        let Some(pid) = self.pid() else {
            eprintln!("    no engine of ours runs");
            return Ok(());
        };
        process::timed(&format!("stop the private engine (pid {pid})"), || {
            process::signal(pid, "TERM");
            if probe::until(STOPPED, || !alive(pid)) {
                self.unmount_data();
                return Ok(());
            }
            process::signal(pid, "KILL");
            bail!("it did not end within {} s and was killed", STOPPED.as_secs())
        })
    }
}

impl PrivateEngine {
    /// Ends it when it runs, and forgets its images and containers.
    pub(crate) fn remove(&self) -> Result<()> {
        if self.pid().is_some() {
            self.stop()?;
        }
        self.unmount_data();
        fs::remove_dir_all(&self.dir).with_context(|| format!("cannot remove {}", self.dir.display()))?;
        Ok(fs::create_dir_all(&self.dir)?)
    }

    /// An engine that was killed once leaves its data mounted on itself, and then nobody can delete it.
    fn unmount_data(&self) {
        let data = self.dir.join("data");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        if mounts.contains(&format!(" {} ", data.display())) {
            process::succeeds(STOPPED, Command::new("umount").arg(data));
        }
    }
}

/// What stands before `dockerd`: nothing, or a new network namespace with its loopback up.
fn namespace_prefix(apart: bool) -> Result<Vec<&'static str>> {
    if !apart {
        if !another_engine_here()? {
            return Ok(Vec::new());
        }
        eprintln!("    another engine runs in this network namespace: ours gets one of its own");
    }
    if workspace::find_program("ip").is_none() {
        apt::install(&["iproute2"])?;
    }
    Ok(vec!["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
}

fn another_engine_here() -> Result<bool> {
    let here = own_netns()?;
    let same_namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|ns| ns == here);
    Ok(processes_named("dockerd")?.into_iter().any(|pid| alive(pid) && same_namespace(pid)))
}

fn own_netns() -> Result<PathBuf> {
    fs::read_link("/proc/self/ns/net").context("cannot read this process's network namespace")
}

fn processes_named(name: &str) -> Result<Vec<u32>> {
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == name);
    Ok(pids.filter(is_it).collect())
}

fn read_pid(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// A zombie holds its number until PID 1 gets round to it, but it does nothing any more.
fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !is_zombie(&stat))
}

/// The state is the first field after the name, which stands in parentheses and may hold anything.
fn is_zombie(stat: &str) -> bool {
    stat.rsplit_once(')').is_some_and(|(_, rest)| matches!(rest.trim_start().chars().next(), Some('Z' | 'X')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_is_told_by_the_state_after_the_name() {
        assert!(is_zombie("12 (dockerd) Z 1 12"));
        assert!(!is_zombie("12 (a Z) b) S 1 12"));
    }

    #[test]
    fn this_process_is_alive_and_an_impossible_one_is_not() {
        assert!(alive(std::process::id()));
        assert!(!alive(u32::MAX));
    }
}
